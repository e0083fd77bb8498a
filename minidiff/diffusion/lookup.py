"""Where the tables meet the data: the value of a float64 host table at a time, cast and shaped to multiply a batch.

`extract` is used by every formula of this room; the checks of times and of shapes that the formulas share stand beside
it. Stands on `minidiff.backend`. Read `forward` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import array_module, asarray, device_of


def check_times(t: Any, num_train_timesteps: int) -> int | np.ndarray:
    """`t` as an int or as a (N,) int64 host array, every entry in [0, num_train_timesteps).

    t: an int, or (N,) integers as a NumPy array or list. Raises TypeError for what is not integer or not on the host,
    ValueError for another shape or a time outside the schedule.
    """
    if not isinstance(t, (int, np.integer, np.ndarray, list, tuple)) or isinstance(t, bool):
        raise TypeError(
            f"times live on the host: expected an int or a NumPy array of integers, got {type(t).__module__}."
            f"{type(t).__name__}; convert it first (int(t), backend.to_numpy(t))"
        )
    times = np.asarray(t)
    if times.dtype.kind not in "iu":
        raise TypeError(f"times are integers 0 ... T-1: expected an integer dtype, got {times.dtype}")
    if times.ndim > 1:
        raise ValueError(f"expected one time, or one for each of the batch, shape (N,); got shape {times.shape}")
    outside = (times < 0) | (times >= num_train_timesteps)
    if outside.any():
        raise ValueError(
            f"time {times[outside].flat[0]} is outside the schedule: expected 0 ... {num_train_timesteps - 1} "
            f"(T = {num_train_timesteps}; times are 0-based)"
        )
    return times.astype(np.int64) if times.ndim else int(times)


def extract(table: np.ndarray, t: Any, like: Any) -> Any:
    """The entries of a table at the times t, ready to multiply `like`.

    table: (T,) float64 on the host. t: an int, or (N,) host integers, in [0, T). like: (N, ...) floats.
    For an int, returns a Python float: it multiplies any array without changing its dtype. For (N,) times, returns
    (N, 1, ..., 1) in the dtype, array library and device of `like`. Both give the same bits in the product.
    Raises TypeError for times that are not host integers and for a `like` that is not floating-point, ValueError for
    times outside the table or a number of times that is not N.
    """
    times = check_times(t, len(table))
    if getattr(getattr(like, "dtype", None), "kind", "f") != "f":
        raise TypeError(
            f"expected floating-point data, got dtype {like.dtype}; convert images to floats in [-1, 1] first"
        )
    if isinstance(times, int):
        return float(table[times])
    if len(times) != like.shape[0]:
        raise ValueError(
            f"got {len(times)} times for data of shape {tuple(like.shape)}: "
            "expected one for each of the batch, or one int"
        )
    column = table[times].reshape((-1,) + (1,) * (len(like.shape) - 1))
    return asarray(column, device=device_of(like), dtype=like.dtype)


def model_times(t: Any, x: Any, num_train_timesteps: int) -> np.ndarray:
    """The times as a model receives them: (N,) int64 on the host, an int repeated for the whole batch x (N, ...)."""
    times = check_times(t, num_train_timesteps)
    return np.full(x.shape[0], times, dtype=np.int64) if isinstance(times, int) else times


def check_alike(where: str, **arrays: Any) -> None:
    """Refuse arrays of different shapes or dtypes, which would broadcast or upcast silently, and of different devices.

    Raises ValueError (shapes), TypeError (dtypes), backend.DeviceError (devices); `where` begins the message.
    """
    (first_name, first), *others = arrays.items()
    for name, other in others:
        for what, error in {"shape": ValueError, "dtype": TypeError}.items():
            expected, got = getattr(first, what, "a plain number"), getattr(other, what, "a plain number")
            if expected != got:
                raise error(f"{where}: expected {name} to have the {what} of {first_name}, {expected}, got {got}")
        array_module(first, other)
