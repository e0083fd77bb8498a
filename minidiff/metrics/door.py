"""The door of the room: what comes in is checked once, here, and named when it is refused.

Stands on `backend`. Read `intervals` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import to_numpy

LARGEST = 1e50  # the kernel takes the third power of products of two features; beyond, it would be infinite


def check_features(where: str, least: int = 1, **arrays: Any) -> list[np.ndarray]:
    """Each of the arrays as (N, D) floats on the host, if all are finite, have `least` rows or more, and the same number of features.

    Raises TypeError for what are no real floats, ValueError for the rest; `where` begins the message.
    """
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        x = _floats(where, name, array)
        if x.ndim != 2 or 0 in x.shape:
            raise ValueError(f"{where}: expected {name} of shape (N, D), a row an image, got {x.shape}; "
                             "images become rows by images.reshape(len(images), -1)")
        if len(x) < least:
            raise ValueError(f"{where}: expected at least {least} rows of {name}, got {len(x)}; draw more")
        for other, y in found.items():
            if x.shape[1] != y.shape[1]:
                raise ValueError(f"{where}: expected {name} and {other} to have the same features, got {x.shape[1]} and {y.shape[1]} of "
                                 "them; both must come from the same network")
        found[name] = x
    return list(found.values())


def check_values(where: str, **arrays: Any) -> list[np.ndarray]:
    """Each of the arrays as (N,) float64 on the host, N at least 1, all finite. Raises as `check_features`; booleans are numbers, too."""
    found = []
    for name, array in arrays.items():
        x = to_numpy(array)
        x = x.astype(np.float64) if x.dtype.kind in "biu" else _floats(where, name, x).astype(np.float64)
        if x.ndim != 1 or x.size == 0:
            raise ValueError(f"{where}: expected {name} of shape (N,), at least one number, got {x.shape}")
        found.append(x)
    return found


def check_table(where: str, name: str, table: Any) -> np.ndarray:
    """A table (N, M) of finite floats on the host. Raises as `check_features`."""
    table = _floats(where, name, table)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"{where}: expected {name} of shape (N, M), a row a query and a column a candidate, got {table.shape}")
    return table


def _floats(where: str, name: str, array: Any) -> np.ndarray:
    x = to_numpy(array)
    if x.dtype.kind != "f":
        raise TypeError(f"{where}: expected {name} to be floating-point numbers, got dtype {x.dtype}; convert, so that all sets have one "
                        "scale: astype")
    sound = abs(x) <= min(LARGEST, float(np.finfo(x.dtype).max))    # false for NaN, too
    if not sound.all():
        rows = np.flatnonzero(~sound.reshape(len(x), -1).all(axis=1)) if x.ndim else [0]
        raise ValueError(f"{where}: {len(rows)} rows of {name} are not finite or beyond {LARGEST:.0e}, the first is row {rows[0]}; what "
                         "made them has diverged")
    return x


def check_count(where: str, name: str, value: Any, least: int = 1, most: int | None = None, why: str = "") -> None:
    """Raise TypeError for a count that is no int, ValueError for one outside least ... most; `why` ends the message."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{where}: expected {name} to be an int, got {value!r}")
    if value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{where}: expected {name} {limits}, got {value}{why and '; ' + why}")


def check_share(where: str, name: str, value: Any) -> None:
    """Raise TypeError for what is no number, ValueError for one outside the open interval (0, 1)."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise TypeError(f"{where}: expected {name} to be a number, got {value!r}")
    if not 0 < value < 1:
        raise ValueError(f"{where}: expected {name} between 0 and 1, got {value}")


def check_generator(where: str, generator: Any, method: str) -> None:
    """Raise TypeError for what cannot draw."""
    if not hasattr(generator, method):
        raise TypeError(f"{where}: expected a generator with the method {method}, such as minidiff.random.Generator(seed), "
                        f"got {generator!r}")
