"""What goes along a dimension and keeps it: running sums and products, sorting. Names and arguments are `torch`'s.

Sums and products of integers are int64; float16 is added up in float64, multiplied in float32, and comes back as float16.
"""

from __future__ import annotations

import numpy as np

from minidiff.autograd import operation

from .elementwise import astype, mul
from .precision import in_float32, narrow
from .reduction import ValuesAndIndices, one_axis, values_at
from .shape import along, cat, flip, picked, reshape

__all__ = ["argsort", "cumprod", "cumsum", "sort", "topk"]

# -- running sums and products ---------------------------------------------------------------------------------------

running = operation(lambda xp, input, *, axis, dtype: xp.cumsum(input, axis=axis, dtype=dtype).reshape(input.shape),
                    "y_i = x_0 + ... + x_i, added up in dtype",
                    input=lambda g, axis, dtype: flip(running(flip(g, (axis,)), axis=axis, dtype=dtype), (axis,)) if g.shape else g)


def cumsum(input, dim: int, *, dtype=None):
    """y_i = x_0 + ... + x_i along `dim`, added up in float64. dtype: to convert to first. IndexError for a wrong dim."""
    axis = one_axis(input, dim, "cumsum")
    input = input if dtype is None else astype(input, dtype)
    if input.dtype.kind == "f":
        return narrow(running(input, axis=axis, dtype=np.float64), input.dtype)
    return running(input, axis=axis, dtype=np.int64 if dtype is None else dtype)


@in_float32
def _running_product(input, axis):
    """After step k, each element is the product of the 2^k up to it."""
    reach, n = 1, input.shape[axis]
    while reach < n:
        first, rest, before = (picked(input, index=along(axis, part)) for part in (slice(reach), slice(reach, n), slice(n - reach)))
        input = cat([first, mul(rest, before)], axis)
        reach *= 2
    return input


def cumprod(input, dim: int, *, dtype=None):
    """y_i = x_0 ... x_i along `dim`. dtype: to convert to first. IndexError for a wrong dim."""
    axis = one_axis(input, dim, "cumprod")
    input = input if dtype is None else astype(input, dtype)
    if input.dtype.kind != "f" and dtype is None:
        input = astype(input, np.int64)
    return _running_product(input, axis=axis) if input.shape else input


# -- sorting -----------------------------------------------------------------------------------------------------------


def _argsort(xp, input, *, axis, descending):
    if not descending:
        return xp.argsort(input, axis=axis, kind="stable")
    backwards = xp.argsort(xp.flip(input, axis), axis=axis, kind="stable")  # sorted backwards and read backwards: equals keep their order
    return input.shape[axis] - 1 - xp.flip(backwards, axis)


ordering = operation(_argsort, "the indices that sort")


def _order(name, input, dim, descending):
    """The sorting indices, and the axis."""
    axis = one_axis(input, dim, name)
    if input.shape:
        return ordering(input, axis=axis, descending=descending), axis
    return reshape(ordering(reshape(input, (1,)), axis=0, descending=descending), ()), axis


def argsort(input, dim: int = -1, descending: bool = False, *, stable: bool = False):
    """The indices (int64) that sort along `dim`. Equals keep their order, whether `stable` is asked for or not. NaN counts as largest."""
    return _order("argsort", input, dim, descending)[0]


def sort(input, dim: int = -1, descending: bool = False, *, stable: bool = False) -> ValuesAndIndices:
    """The elements in order along `dim`, and the indices at which they stood. Equals keep their order; NaN counts as largest."""
    return values_at(input, *_order("sort", input, dim, descending))


def topk(input, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """The k largest (or smallest) elements along `dim`, in order, and their indices. ValueError unless there are as many as k."""
    indices, axis = _order("topk", input, dim, largest)
    n = input.shape[axis] if input.shape else 1
    if not 0 <= k <= n:
        raise ValueError(f"topk: k={k}, but dimension {dim} of shape {tuple(input.shape)} has {n} elements")
    return values_at(input, picked(indices, index=along(axis, slice(k))) if input.shape else indices, axis)
