"""Picking elements by index, and putting them into places: `x[index]`, gather, scatter, masks.

`getitem` has NumPy's rules, the others are `torch`'s. What picks and what puts are each other's gradients: an element that is picked
several times collects the sum. Indices on the host are checked; those on a device are not, since a look at them would stop it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import operation
from minidiff.autograd.tensor import array_of

from .door import must_be_arrays
from .elementwise import add, astype, where
from .shape import along, axis_of, expand, picked, reshape, summed, unbind

__all__ = [
    "argwhere", "gather", "getitem", "index_select", "masked_fill", "masked_select", "nonzero", "scatter", "scatter_add", "take_along_dim",
]

# -- x[index] --------------------------------------------------------------------------------------------------------


def getitem(input, index):
    """input[index] with NumPy's rules: slices, ints, None, ..., integer and boolean arrays, Tensors or lists, in any mixture.

    Gradients of elements that are picked several times add up. Raises IndexError for a place that is not there, DeviceError for an index
    on another device (NumPy's arrays serve on all).
    """
    must_be_arrays("getitem", input=input)
    return pick(input, index_parts(index))


def pick(input, parts: tuple):
    """The elements at an index that `index_parts` has read."""
    elsewhere = [part for part in parts if hasattr(part, "shape") and type(part) is not np.ndarray]
    if elsewhere:
        backend.array_module(input, *elsewhere)
    try:
        return picked(input, index=parts)
    except (IndexError, ValueError) as error:
        raise type(error)(f"getitem: {error} (input of shape {tuple(input.shape)})") from None


def index_parts(index: Any) -> tuple:
    """An index as both libraries take it: a tuple of None, ..., slices of ints, ints and arrays. IndexError for anything else."""
    try:
        return tuple(_part(part) for part in (index if isinstance(index, tuple) else (index,)))
    except (TypeError, ValueError) as error:
        raise IndexError(f"getitem: {error}") from None


def _part(part: Any) -> Any:
    if part is None or part is Ellipsis or type(part) is int:
        return part
    if isinstance(part, slice):
        return slice(*(end if end is None else operator.index(end) for end in (part.start, part.stop, part.step)))
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return int(part)
    array = array_of(part)
    if isinstance(part, (tuple, list)) and not array.size:
        array = array.astype(np.int64)  # an empty list picks nothing
    if array.dtype.kind not in "iub":
        raise TypeError(f"expected ints, slices, None, ..., and arrays of integers or booleans, got {array.dtype}")
    return int(array) if isinstance(array, np.ndarray) and not array.ndim and array.dtype.kind != "b" else array


# -- along one dimension ---------------------------------------------------------------------------------------------


def _places(xp, indices, axis):
    """The full index of each place that `indices` names along `axis`."""
    place = [xp.arange(n).reshape([-1 if i == k else 1 for i in range(indices.ndim)]) for k, n in enumerate(indices.shape)]
    place[axis] = indices
    return tuple(place)


def _replace(xp, input, index, src, *, axis):
    out = input.copy()
    out[_places(xp, index, axis)] = src
    return out


taken_along = operation(lambda xp, input, index, *, axis: input[_places(xp, index, axis)],
                        "y[i, j, k] = x[i, index[i, j, k], k] for axis 1",
                        input=lambda g, index, like_input, axis: scattered_along(g, index, axis=axis, shape=like_input.shape))

scattered_along = operation(lambda xp, input, index, *, axis, shape: summed(xp, input, _places(xp, index, axis), shape),
                            "Zeros, to which x[i, j, k] is added in place [i, index[i, j, k], k] for axis 1",
                            input=lambda g, index, axis: taken_along(g, index, axis=axis))

replaced_along = operation(_replace,
                           "x with src[i, j, k] in place [i, index[i, j, k], k] for axis 1",
                           input=lambda g, index, axis: replaced_along(g, index, 0.0, axis=axis),
                           src=lambda g, index, axis: taken_along(g, index, axis=axis))


def gather(input, dim: int, index):
    """out[i, j, k] = input[i, index[i, j, k], k] for dim=1, and so on; index has as many dimensions as the input.

    The result has the shape of the index, which is nowhere larger than the input, except along dim. Raises ValueError for
    shapes that do not fit, IndexError for a place that is not there, TypeError unless the index holds integers.
    """
    axis, index = _along_dim("gather", input, dim, index)
    return taken_along(input, index, axis=axis)


def scatter(input, dim: int, index, src=None, *, value: float | None = None):
    """The input with other elements in some places: out[i, index[i, j, k], k] = src[i, j, k] for dim=1, and so on.

    src: nowhere smaller than the index; or a number (`value`) for all places. Raises what `gather` raises, and ValueError for a
    place that two elements of src are to go to.
    """
    if (src is None) == (value is None):
        raise TypeError("scatter: expected src or value, one of them")
    axis, index = _along_dim("scatter", input, dim, index)
    if value is not None or not hasattr(src, "shape"):
        number = fitting("scatter", input.dtype, src if value is None else value)
        return replaced_along(input, index, number, axis=axis)
    src = _source("scatter", input, index, src)
    if isinstance(index, np.ndarray):
        meeting = np.zeros(tuple(input.shape), np.int32)
        np.add.at(meeting, _places(np, index, axis), 1)
        if meeting.max(initial=0) > 1:
            raise ValueError("scatter: the index names a place twice, and which element of src would stay there is not defined; "
                             "scatter_add puts their sum there")
    return replaced_along(input, index, src, axis=axis)


def scatter_add(input, dim: int, index, src):
    """out[i, index[i, j, k], k] = input[i, index[i, j, k], k] + src[i, j, k] for dim=1, and so on; what meets in one place adds up.

    src: nowhere smaller than the index. Raises what `gather` raises.
    """
    axis, index = _along_dim("scatter_add", input, dim, index)
    return add(input, scattered_along(_source("scatter_add", input, index, src), index, axis=axis, shape=tuple(input.shape)))


def take_along_dim(input, indices, dim: int | None = None):
    """`gather` for shapes that broadcast against each other outside `dim`; indices may count from the end. NumPy's take_along_axis.

    dim=None: places in the flattened input. Raises what `gather` raises.
    """
    index = _integers("take_along_dim", indices)
    if dim is None:
        flat = reshape(input, (-1,)) if math.prod(input.shape) else reshape(input, (0,))
        return taken_along(flat, _within("take_along_dim", index.reshape(-1), flat.shape, 0), axis=0)
    ndim = len(input.shape)
    axis = axis_of(dim, ndim, "take_along_dim")
    if index.ndim != ndim:
        raise ValueError(f"take_along_dim: indices of shape {index.shape} for an input of shape {tuple(input.shape)}; both need the "
                         "same number of dimensions")
    _within("take_along_dim", index, input.shape, axis, from_the_end=True)
    around = broadcast("take_along_dim", *[(*shape[:axis], 1, *shape[axis + 1:]) for shape in (tuple(input.shape), index.shape)])
    whole = lambda x: expand(x, (*around[:axis], x.shape[axis], *around[axis + 1:]))
    return taken_along(whole(input), whole(index), axis=axis)


def index_select(input, dim: int, index):
    """The places `index`, a vector, of one dimension: (N, C, H) -> (N, k, H) for dim=1. Raises what `gather` raises."""
    axis, index = axis_of(dim, len(input.shape), "index_select"), _integers("index_select", index)
    if index.ndim > 1:
        raise ValueError(f"index_select: expected a vector of indices, got shape {index.shape}")
    return picked(input, index=along(axis, _within("index_select", index.reshape(-1), input.shape, axis)))


def _integers(name, index):
    index = array_of(index)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: the index must hold integers, got {index.dtype}")
    return index


def _within(name, index, shape, axis, from_the_end=False):
    n = shape[axis]
    first = -n if from_the_end else 0
    if isinstance(index, np.ndarray) and index.size and not (first <= index.min() and index.max() < n):
        raise IndexError(f"{name}: indices from {index.min()} to {index.max()}; dimension {axis} of shape {tuple(shape)} has places "
                         f"{first} to {n - 1}")
    return index


def _along_dim(name, input, dim, index):
    axis, index = axis_of(dim, len(input.shape), name), _integers(name, index)
    if index.ndim != len(input.shape) or any(n > m for i, (n, m) in enumerate(zip(index.shape, input.shape)) if i != axis):
        raise ValueError(f"{name}: index of shape {tuple(index.shape)} for an input of shape {tuple(input.shape)}; both need the same "
                         f"number of dimensions, and only along dimension {axis} the index may be larger")
    return axis, _within(name, index, input.shape, axis)


def _source(name, input, index, src):
    if len(src.shape) != index.ndim or any(n > m for n, m in zip(index.shape, src.shape)):
        raise ValueError(f"{name}: src of shape {tuple(src.shape)} for an index of shape {index.shape}; src must be nowhere smaller")
    if src.dtype != input.dtype:
        raise TypeError(f"{name}: src is {src.dtype}, the input {input.dtype}; convert one of them first")
    return src if tuple(src.shape) == index.shape else picked(src, index=tuple(slice(n) for n in index.shape))


# -- masks -----------------------------------------------------------------------------------------------------------


def masked_fill(input, mask, value):
    """value where the mask is True, the input elsewhere, in the dtype of the input. The mask broadcasts against the input.

    value: a number, or a Tensor without dimensions, which gets the sum of the gradients. Raises TypeError unless the mask holds
    booleans, ValueError for shapes that do not fit and for a number that the dtype cannot hold.
    """
    _booleans("masked_fill", mask)
    broadcast("masked_fill", input.shape, mask.shape)
    if not hasattr(value, "shape"):
        return where(mask, fitting("masked_fill", input.dtype, value), input)
    if len(value.shape):
        raise ValueError(f"masked_fill: expected a number, or an array without dimensions, as value; got shape {tuple(value.shape)}")
    return where(mask, astype(value, dtype=input.dtype), input)


def masked_select(input, mask):
    """The elements for which the mask is True, in one row; the two broadcast against each other. (k,)

    Raises TypeError unless the mask holds booleans, ValueError for shapes that do not fit.
    """
    _booleans("masked_select", mask)
    shape = broadcast("masked_select", input.shape, mask.shape) or (1,)
    return picked(expand(input, shape), index=(expand(array_of(mask), shape),))


def _booleans(name, mask):
    if getattr(mask, "dtype", None) != np.bool_:
        raise TypeError(f"{name}: the mask must be an array of booleans, got {getattr(mask, 'dtype', type(mask).__name__)}")


def broadcast(name: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape in which shapes meet; ValueError if they do not."""
    try:
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        raise ValueError(f"{name}: shapes {' and '.join(str(tuple(shape)) for shape in shapes)} do not broadcast: counted from the last, "
                         "sizes must be equal or 1") from None


def fitting(name: str, dtype: np.dtype, value: Any) -> Any:
    """A number as the dtype holds it, as a Python number; ValueError where it is too large for it."""
    if dtype.kind in "iu":
        limits, value = np.iinfo(dtype), int(value)
        if limits.min <= value <= limits.max:
            return value
        raise ValueError(f"{name}: {value} does not fit {dtype}, which holds {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):
        held = np.asarray(value).astype(dtype)
    if dtype.kind == "f" and np.isinf(held) and not np.isinf(value):
        raise ValueError(f"{name}: {value} does not fit {dtype}, which holds up to {np.finfo(dtype).max}")
    return held.item()


# -- where something is ----------------------------------------------------------------------------------------------

argwhere = operation(lambda xp, input: xp.argwhere(input),
                     "The places of all elements that are not zero, as rows: (k, dimensions) int64, row by row")


def nonzero(input, *, as_tuple: bool = False):
    """The places of all elements that are not zero: (k, dimensions) int64; as_tuple: a vector for each dimension, as in NumPy."""
    must_be_arrays("nonzero", input=input)
    if as_tuple:
        return unbind(argwhere(input if len(input.shape) else reshape(input, (1,))), 1)
    return argwhere(input)
