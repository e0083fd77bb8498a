"""How a `Call` is run: its arrays converted for a library, its results laid flat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import Call, Fixed

Convert = Callable[[np.ndarray, bool], Any]
LAYOUTS = ("dense", "transposed", "strided", "reversed", "repeated")


def convert(value: Any, one: Convert) -> Any:
    """The argument with every array converted by one(array, differentiated)."""
    if isinstance(value, np.ndarray):
        return one(value, value.dtype.kind == "f")
    if isinstance(value, Fixed):
        return one(value.array, False)
    if isinstance(value, (list, tuple)) and any(isinstance(part, (np.ndarray, Fixed, list, tuple)) for part in value):
        return type(value)(convert(part, one) for part in value)
    return value


def converted(call: Call, one: Convert) -> tuple[tuple, dict[str, Any]]:
    """The arguments of a call, with every array converted."""
    return convert(call.args, one) if call.args else (), {name: convert(value, one) for name, value in call.kwargs.items()}


def differentiated(call: Call) -> list[np.ndarray]:
    """The arrays of a call that have gradients, in order."""
    found: list[np.ndarray] = []

    def note(x: np.ndarray, wanted: bool) -> np.ndarray:
        if wanted:
            found.append(x)
        return x

    converted(call, note)
    return found


def with_inputs(call: Call, inputs: Any, other: Convert = lambda x, wanted: x) -> tuple[tuple, dict[str, Any]]:
    """The arguments of a call with the differentiated arrays replaced by `inputs`, in order, and the others converted by `other`."""
    rest = iter(inputs)
    return converted(call, lambda x, wanted: next(rest) if wanted else other(x, wanted))


def flat(result: Any) -> list[Any]:
    """A result as a list of arrays: most operations return one, some several."""
    return [part for item in result for part in flat(item)] if isinstance(result, (tuple, list)) else [result]


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another order in memory. "repeated": one row stands for all (it changes the values), read-only."""
    if layout == "transposed":
        return x.copy(order="F")
    if layout == "strided" and x.ndim:
        roomy = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        roomy[..., ::2] = x
        return roomy[..., ::2]
    if layout == "reversed" and x.ndim:
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    if layout == "repeated" and x.ndim and x.shape[0]:
        return np.broadcast_to(x[:1], x.shape)
    return x.copy()


def as_dtype(call: Call, dtype: Any) -> Call:
    """The call with its floating-point arrays in another dtype."""
    one: Convert = lambda x, wanted: x.astype(dtype) if x.dtype.kind == "f" else x
    fixed = lambda value: Fixed(value.array.astype(dtype)) if isinstance(value, Fixed) and value.array.dtype.kind == "f" else value
    keep = lambda value: fixed(value) if isinstance(value, Fixed) else convert(value, one)
    return Call(tuple(map(keep, call.args)), {name: keep(value) for name, value in call.kwargs.items()})


def weights(shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """Fixed numbers without symmetry: sum(weights * result) is the one number that is differentiated."""
    return np.cos(1.0 + 1.7 * np.arange(float(np.prod(shape)))).reshape(shape).astype(dtype)
