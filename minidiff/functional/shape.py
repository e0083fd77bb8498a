"""Operations that move elements without changing them: reshape, permute, repeat, slice, join.

Their gradients are moves too: backwards. Names and arguments are `torch`'s. Picking single elements is in `indexing.py`.
"""

from __future__ import annotations

import builtins
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import operation
from minidiff.autograd.promotion import promoted
from minidiff.autograd.walk import unbroadcast

__all__ = [
    "broadcast_to", "cat", "chunk", "diagonal", "expand", "flatten", "flip", "meshgrid", "movedim", "permute", "repeat_interleave",
    "reshape", "roll", "split", "squeeze", "stack", "swapaxes", "t", "tile", "transpose", "tril", "triu", "unbind", "unflatten",
    "unsqueeze",
]

# -- the moves -------------------------------------------------------------------------------------------------------

reshaped = operation(lambda xp, input, *, shape: input.reshape(shape),
                     "The same elements, in the same (row-major) order, in another shape",
                     input=lambda g, like_input: reshaped(g, shape=like_input.shape))

permuted = operation(lambda xp, input, *, dims: input.transpose(dims),
                     "Dimension i of the result is dimension dims[i] of the input",
                     input=lambda g, dims: permuted(g, dims=tuple(sorted(range(len(dims)), key=dims.__getitem__))))

expanded = operation(lambda xp, input, *, shape: xp.broadcast_to(input, shape),
                     "Repeated along dimensions of size 1 and new leading ones",
                     input=lambda g, like_input: unbroadcast(g, like_input.shape))

rolled = operation(lambda xp, input, *, shifts, dims: xp.roll(input, shifts, dims),
                   "y[(i + shift) mod n] = x[i]",
                   input=lambda g, shifts, dims: rolled(g, shifts=tuple(-shift for shift in shifts), dims=dims))

lower = operation(lambda xp, input, *, diagonal: xp.tril(input, diagonal),
                  "Zeros above a diagonal of the last two dimensions",
                  input=lambda g, diagonal: lower(g, diagonal=diagonal))

upper = operation(lambda xp, input, *, diagonal: xp.triu(input, diagonal),
                  "Zeros below a diagonal of the last two dimensions",
                  input=lambda g, diagonal: upper(g, diagonal=diagonal))


def _is_basic(index: tuple) -> bool:
    """Slices, ints, None and ... pick each element at most once; arrays may pick it several times."""
    return all(part is None or part is Ellipsis or isinstance(part, (slice, int)) for part in index)


def summed(xp, values, index, shape):
    """Zeros of this shape with the values added at an index, in at least float32."""
    out = xp.zeros(shape, np.float32 if values.dtype == np.float16 else values.dtype)
    backend.add_at(out, index, values)
    return out.astype(values.dtype, copy=False)


def _scatter(xp, input, *, index, shape):
    if not _is_basic(index):
        return summed(xp, input, index, shape)
    out = xp.zeros(shape, input.dtype)
    out[index] = input
    return out


picked = operation(lambda xp, input, *, index: input[index],
                   "input[index] for a tuple of slices, ints, None, ... and arrays",
                   input=lambda g, like_input, index: scattered(g, index=index, shape=like_input.shape))

scattered = operation(_scatter,
                      "Zeros, to which the input is added at an index: the transpose of `picked`",
                      input=lambda g, index: picked(g, index=index))


def _piece(g, i, like_tensors, dim):
    """The part of a joined array that came from the i-th one."""
    start = builtins.sum(like.shape[dim] for like in like_tensors[:i])
    return picked(g, index=along(dim, slice(start, start + like_tensors[i].shape[dim])))


joined = operation(lambda xp, *tensors, dim: xp.concatenate(promoted(list(tensors)), axis=dim),
                   "One after the other along a dimension, in the dtype in which they meet",
                   tensors=_piece)

# -- the door --------------------------------------------------------------------------------------------------------


def along(dim: int, part: Any) -> tuple:
    """The index that is `part` in dimension `dim` and takes the whole of all others."""
    return (slice(None),) * dim + (part,)


def axis_of(dim: int, ndim: int, name: str) -> int:
    """`dim`, which may count from the end, as an int from 0 to ndim - 1; IndexError otherwise, TypeError if it is no integer."""
    try:
        found = operator.index(dim)
    except TypeError:
        raise TypeError(f"{name}: a dimension must be an integer, got {dim!r}") from None
    if not ndim:
        raise IndexError(f"{name}: dimension {dim} of an input without dimensions")
    if not -ndim <= found < ndim:
        raise IndexError(f"{name}: dimension {dim} of an input with {ndim} dimensions; expected {-ndim} to {ndim - 1}")
    return found % ndim


def axes_of(dims: Sequence[int], ndim: int, name: str) -> tuple[int, ...]:
    """Several dimensions as distinct ints from 0 to ndim - 1. ValueError for one that occurs twice."""
    found = tuple(axis_of(dim, builtins.max(ndim, 1), name) for dim in integers(name, dims))  # a single number may be called dimension 0
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: a dimension occurs twice in {tuple(dims)} (input with {ndim} dimensions)")
    return found


def integers(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """A sequence of integers as a tuple of ints; TypeError for anything else."""
    try:
        return tuple(map(operator.index, values))
    except TypeError:
        raise TypeError(f"{name}: expected a tuple of integers, got {values!r}") from None


# -- shapes ----------------------------------------------------------------------------------------------------------


def reshape(input, shape: Sequence[int]):
    """The same elements, in the same (row-major) order, in another shape; one size may be -1. ValueError if they don't fit."""
    return in_shape("reshape", input, shape)


def in_shape(name: str, input, shape: Sequence[int]):
    """`reshape`, for a function of this name."""
    shape = integers(name, shape)
    size, known = math.prod(input.shape), math.prod(n for n in shape if n != -1)
    open_ = shape.count(-1)
    if builtins.min(shape, default=0) < -1 or open_ > 1 or (size % known if open_ and known else open_ or size != known):
        raise ValueError(f"{name}: {size} elements of shape {tuple(input.shape)} do not fit shape {shape}")
    return reshaped(input, shape=tuple(size // known if n == -1 else n for n in shape) if open_ else shape)


def flatten(input, start_dim: int = 0, end_dim: int = -1):
    """Merge the dimensions from start_dim to end_dim into one: (N, C, H, W) -> (N, C H W) for start_dim=1."""
    ndim = len(input.shape)
    start, end = (axis_of(dim, builtins.max(ndim, 1), "flatten") for dim in (start_dim, end_dim))
    if start > end:
        raise ValueError(f"flatten: start_dim={start_dim} comes after end_dim={end_dim} in shape {tuple(input.shape)}")
    return reshaped(input, shape=(*input.shape[:start], math.prod(input.shape[start:end + 1]), *input.shape[end + 1:]))


def unflatten(input, dim: int, sizes: Sequence[int]):
    """Cut one dimension into several, the inverse of `flatten`: (N, C H W) -> (N, C, H, W) for dim=1, sizes=(C, H, W).

    One size may be -1. ValueError unless their product is shape[dim].
    """
    dim, sizes = axis_of(dim, len(input.shape), "unflatten"), integers("unflatten", sizes)
    n, known = input.shape[dim], math.prod(size for size in sizes if size != -1)
    if not sizes or sizes.count(-1) > 1 or builtins.min(sizes) < -1 or (n % known if -1 in sizes and known else known != n):
        raise ValueError(f"unflatten: sizes {sizes} do not multiply to {n}, the size of dimension {dim} of shape {tuple(input.shape)}")
    return reshaped(input, shape=(*input.shape[:dim], *(n // known if m == -1 else m for m in sizes), *input.shape[dim + 1:]))


def squeeze(input, dim: int | Sequence[int] | None = None):
    """Drop dimensions of size 1: all of them, or those of `dim` (one or several) whose size is 1. (N, 1, H) -> (N, H)."""
    ndim = len(input.shape)
    dropped = range(ndim) if dim is None else axes_of(dim if isinstance(dim, (tuple, list)) else (dim,), ndim, "squeeze")
    return reshaped(input, shape=tuple(n for i, n in enumerate(input.shape) if n != 1 or i not in dropped))


def unsqueeze(input, dim: int):
    """A new dimension of size 1 in place `dim`: (N, C) -> (N, C, 1) for dim=-1."""
    dim = axis_of(dim, len(input.shape) + 1, "unsqueeze")
    return reshaped(input, shape=(*input.shape[:dim], 1, *input.shape[dim:]))


def permute(input, dims: Sequence[int]):
    """Dimension i of the result is dimension dims[i] of the input. ValueError unless dims is a permutation."""
    ndim = len(input.shape)
    found = tuple(d % ndim if -ndim <= d < ndim else ndim for d in integers("permute", dims))
    if sorted(found) != list(range(ndim)):
        raise ValueError(f"permute: dims {tuple(dims)} are not a permutation of the {ndim} dimensions of shape {tuple(input.shape)}")
    return permuted(input, dims=found)


def transpose(input, dim0: int, dim1: int):
    """Swap the dimensions dim0 and dim1 of the input, whose shape (..., a, ..., b, ...) becomes (..., b, ..., a, ...)."""
    return _swap("transpose", input, dim0, dim1)


def swapaxes(input, axis0: int, axis1: int):
    """NumPy's name for `transpose`: swap the dimensions axis0 and axis1, (..., a, ..., b, ...) -> (..., b, ..., a, ...)."""
    return _swap("swapaxes", input, axis0, axis1)


def _swap(name, input, dim0, dim1):
    dims = list(range(len(input.shape)))
    a, b = (axis_of(dim, builtins.max(len(dims), 1), name) for dim in (dim0, dim1))
    if a != b:
        dims[a], dims[b] = b, a
    return permuted(input, dims=tuple(dims))


def t(input):
    """The transpose of a matrix: (n, m) -> (m, n); a vector or a number stays. ValueError for more than two dimensions."""
    if len(input.shape) > 2:
        raise ValueError(f"t: expected at most two dimensions, got shape {tuple(input.shape)}; transpose(dim0, dim1) swaps any two")
    return permuted(input, dims=tuple(range(len(input.shape)))[::-1])


def movedim(input, source: int | Sequence[int], destination: int | Sequence[int]):
    """Put the dimensions `source` in the places `destination`; the others keep their order. (N, C, H, W) -> (N, H, W, C) for 1, -1."""
    if isinstance(source, (tuple, list)) != isinstance(destination, (tuple, list)):
        raise TypeError(f"movedim: expected two integers or two sequences, got source={source!r}, destination={destination!r}")
    ndim = len(input.shape)
    source, destination = (axes_of(d if isinstance(d, (tuple, list)) else (d,), ndim, "movedim") for d in (source, destination))
    if len(source) != len(destination):
        raise ValueError(f"movedim: {len(source)} dimensions {source} cannot go to {len(destination)} places {destination}")
    moved = dict(zip(destination, source))
    rest = iter([d for d in range(ndim) if d not in source])
    return permuted(input, dims=tuple(moved[i] if i in moved else next(rest) for i in range(ndim)))


# -- repeating -------------------------------------------------------------------------------------------------------


def expand(input, shape: Sequence[int]):
    """Repeat along dimensions of size 1 (and new leading ones) to `shape`, without copying; -1 keeps a size.

    Raises ValueError when the shape (..., 1, ...) cannot be repeated to it.
    """
    return _expand("expand", input, shape)


def broadcast_to(input, size: Sequence[int]):
    """NumPy's name for `expand`: (..., 1, ...) -> (..., n, ...) and new leading dimensions, without copying; -1 keeps a size."""
    return _expand("broadcast_to", input, size)


def _expand(name, input, shape):
    shape = integers(name, shape)
    lead = len(shape) - len(input.shape)
    target = tuple(input.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if lead < 0 or builtins.min(target, default=0) < 0 or any(n not in (1, m) for n, m in zip(input.shape, target[builtins.max(lead, 0):])):
        raise ValueError(f"{name}: shape {tuple(input.shape)} cannot be repeated to {shape}")
    return input if target == tuple(input.shape) else expanded(input, shape=target)


def tile(input, dims: Sequence[int]):
    """The input side by side, dims[i] times along dimension i, counted from the last: (n, m) -> (n, 3 m) for dims=(3,).

    Raises ValueError for a negative number.
    """
    dims = integers("tile", dims)
    if builtins.min(dims, default=0) < 0:
        raise ValueError(f"tile: expected numbers of repetitions of at least 0, got {dims}")
    ndim = builtins.max(len(dims), len(input.shape))
    pairs = list(zip((1,) * (ndim - len(dims)) + dims, (1,) * (ndim - len(input.shape)) + tuple(input.shape)))  # (times, size)
    apart = reshaped(input, shape=tuple(n for _, size in pairs for n in (1, size)))
    return reshaped(expanded(apart, shape=tuple(itertools.chain(*pairs))), shape=tuple(times * size for times, size in pairs))


def repeat_interleave(input, repeats, dim: int | None = None):
    """Every element `repeats` times in a row along `dim` (None: in the flattened input): (n, m) -> (n, 2 m) for 2, dim=1.

    repeats: an int, or integers on the host or a device, one for each place of the dimension or one for all. Raises ValueError for
    negative ones or a wrong number of them, TypeError unless they are integers.
    """
    if dim is None:
        return repeat_interleave(reshaped(input, shape=(math.prod(input.shape),)), repeats, 0)
    dim = axis_of(dim, len(input.shape), "repeat_interleave")
    n = input.shape[dim]
    counts = backend.to_numpy(repeats)
    if counts.dtype.kind not in "iu":
        raise TypeError(f"repeat_interleave: repeats must be integers, got {counts.dtype}")
    if counts.ndim > 1 or counts.size not in (1, n) or (counts < 0).any():
        raise ValueError(f"repeat_interleave: expected repeats of at least 0, one or {n} of them, for dimension {dim} of shape "
                         f"{tuple(input.shape)}; got {counts.tolist()}")
    if counts.size != 1:
        return picked(input, index=along(dim, np.repeat(np.arange(n), counts)))
    times = int(counts.item())
    before, after = tuple(input.shape[:dim + 1]), tuple(input.shape[dim + 1:])
    apart = expanded(reshaped(input, shape=(*before, 1, *after)), shape=(*before, times, *after))
    return reshaped(apart, shape=(*before[:-1], n * times, *after))


def meshgrid(*tensors, indexing: str = "ij"):
    """The coordinates of a grid: k vectors of sizes n1, ..., nk -> k arrays (n1, ..., nk); the i-th varies along dimension i alone.

    indexing="xy": the first two dimensions swapped, as for pictures. The vectors may come as one list; a number is a vector of
    one. Raises ValueError for no vectors, more dimensions, another indexing, or two dtypes.
    """
    vectors = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing={indexing!r}; expected 'ij' or 'xy'")
    if not vectors or any(len(x.shape) > 1 for x in vectors) or len({x.dtype for x in vectors}) > 1:
        raise ValueError("meshgrid: expected vectors of one dtype, got "
                         f"{[f'{x.dtype} of shape {tuple(x.shape)}' for x in vectors] or 'none'}")
    backend.array_module(*vectors)  # on one device
    order = list(range(len(vectors)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    shape = tuple(math.prod(vectors[i].shape) for i in order)
    one_side = lambda i: tuple(n if order[k] == i else 1 for k, n in enumerate(shape))
    return tuple(expanded(reshaped(x, shape=one_side(i)), shape=shape) for i, x in enumerate(vectors))


# -- joining and cutting ---------------------------------------------------------------------------------------------


def cat(tensors: Sequence, dim: int = 0):
    """Join along an existing dimension: shapes (N, C1, H, W) and (N, C2, H, W) -> (N, C1 + C2, H, W) for dim=1.

    The dtype is the one in which they meet (`autograd/promotion.py`); vectors without elements fit everywhere, as in torch. Raises
    ValueError when the other sizes differ, or when there is nothing to join.
    """
    tensors = _several("cat", tensors)
    filled = [x for x in tensors if tuple(x.shape) != (0,)]
    ndim = len((filled or tensors)[0].shape)
    dim = axis_of(dim, ndim, "cat")
    like = (filled or tensors)[0].shape
    if any(len(x.shape) != ndim or any(a != b for i, (a, b) in enumerate(zip(x.shape, like)) if i != dim) for x in filled):
        raise ValueError(f"cat: shapes {[tuple(x.shape) for x in tensors]} differ outside dimension {dim}")
    none = (*like[:dim], 0, *like[dim + 1:])
    return joined(*[x if tuple(x.shape) != (0,) else reshaped(x, shape=none) for x in tensors], dim=dim)


def stack(tensors: Sequence, dim: int = 0):
    """Join along a new dimension: k tensors of shape (N, C) -> (k, N, C) for dim=0. ValueError when shapes differ."""
    tensors = _several("stack", tensors)
    dim = axis_of(dim, len(tensors[0].shape) + 1, "stack")
    if len({tuple(x.shape) for x in tensors}) > 1:
        raise ValueError(f"stack: shapes {[tuple(x.shape) for x in tensors]} differ")
    return joined(*[unsqueeze(x, dim) for x in tensors], dim=dim)


def _several(name, tensors):
    tensors = tensors if hasattr(tensors, "shape") else list(tensors)
    if not isinstance(tensors, list) or not all(hasattr(x, "shape") for x in tensors):
        raise TypeError(f"{name}: expected a sequence of tensors or arrays, got {type(tensors).__name__}"
                        + (f" of {', '.join(type(x).__name__ for x in tensors)}" if isinstance(tensors, list) else ""))
    if not tensors:
        raise ValueError(f"{name}: expected at least one tensor, got none")
    return tensors


def split(tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple:
    """Cut along `dim` into pieces of one size (the last may be smaller), or of the sizes given. Inverse of `cat`.

    Raises ValueError when given sizes do not add up to shape[dim].
    """
    dim = axis_of(dim, len(tensor.shape), "split")
    n = tensor.shape[dim]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = integers("split", split_size_or_sections)
        if builtins.sum(sizes) != n or builtins.min(sizes, default=0) < 0:
            raise ValueError(f"split: sizes {sizes} do not add up to {n}, the size of dimension {dim} of shape {tuple(tensor.shape)}")
        return _cut(tensor, sizes, dim)
    (size,) = integers("split", (split_size_or_sections,))
    if size < (n > 0):
        raise ValueError(f"split: expected pieces of at least 1, got split_size={size} for shape {tuple(tensor.shape)}")
    return _cut(tensor, [builtins.min(size, n - k) for k in range(0, n, size)] if n else [0], dim)


def _cut(input, sizes, dim):
    ends = itertools.accumulate(sizes)
    return tuple(picked(input, index=along(dim, slice(end - size, end))) for size, end in zip(sizes, ends))


def chunk(input, chunks: int, dim: int = 0) -> tuple:
    """Cut along `dim` into `chunks` equal pieces; the last may be smaller, and there may be fewer: pieces of ceil(shape[dim] / chunks)."""
    (chunks,) = integers("chunk", (chunks,))
    if chunks < 1:
        raise ValueError(f"chunk: expected at least 1 piece, got chunks={chunks}")
    dim = axis_of(dim, len(input.shape), "chunk")
    n = input.shape[dim]
    return split(input, -(-n // chunks), dim) if n else _cut(input, [0] * chunks, dim)


def unbind(input, dim: int = 0) -> tuple:
    """The pieces along `dim`, each without it: (k, N, C) -> k of shape (N, C) for dim=0. Inverse of `stack`."""
    dim = axis_of(dim, len(input.shape), "unbind")
    return tuple(picked(input, index=along(dim, i)) for i in range(input.shape[dim]))


# -- the order of elements -------------------------------------------------------------------------------------------


def flip(input, dims: Sequence[int]):
    """Reverse the order along each of `dims`: y[i] = x[n - 1 - i]. The shape stays."""
    turned = axes_of(dims, len(input.shape), "flip")
    return picked(input, index=tuple(slice(None, None, -1) if i in turned else slice(None) for i in range(len(input.shape))))


def roll(input, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None):
    """Move elements along; what leaves at the end comes back at the beginning: y[(i + shift) mod n] = x[i].

    shifts, dims: an int each or as many of each; dims=None rolls the flattened input. A dimension may occur several times.
    Raises ValueError for different numbers of shifts and dims.
    """
    shifts = integers("roll", shifts if isinstance(shifts, (tuple, list)) else (shifts,))
    if dims is None and len(shifts) == 1:
        flat = reshaped(input, shape=(math.prod(input.shape),))
        return reshaped(rolled(flat, shifts=shifts, dims=(0,)), shape=tuple(input.shape))
    dims = () if dims is None else dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(shifts) != len(dims):
        raise ValueError(f"roll: {len(shifts)} shifts {shifts}, but {len(dims)} dimensions {tuple(dims)}; expected as many of each")
    return rolled(input, shifts=shifts, dims=tuple(axis_of(dim, len(input.shape), "roll") for dim in dims))


def tril(input, diagonal: int = 0):
    """The lower triangle of matrices (..., n, m): y_ij = x_ij where j - i <= diagonal, else 0. ValueError for fewer than two dimensions."""
    return _triangle("tril", lower, input, diagonal)


def triu(input, diagonal: int = 0):
    """The upper triangle of matrices (..., n, m): y_ij = x_ij where j - i >= diagonal, else 0. ValueError for fewer than two dimensions."""
    return _triangle("triu", upper, input, diagonal)


def _triangle(name, triangle, input, diagonal):
    if len(input.shape) < 2:
        raise ValueError(f"{name}: expected matrices (..., n, m), got shape {tuple(input.shape)}")
    return triangle(input, diagonal=integers(name, (diagonal,))[0])


def diagonal(input, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """The elements of two dimensions with i2 - i1 = offset, as a new last dimension: (n, m, C) -> (C, min(n, m)) for offset 0.

    Raises ValueError when dim1 and dim2 are the same.
    """
    ndim = len(input.shape)
    a, b = axis_of(dim1, ndim, "diagonal"), axis_of(dim2, ndim, "diagonal")
    if a == b:
        raise ValueError(f"diagonal: dim1={dim1} and dim2={dim2} are the same dimension of shape {tuple(input.shape)}")
    start1, start2 = builtins.max(-offset, 0), builtins.max(offset, 0)
    steps = np.arange(builtins.max(builtins.min(input.shape[a] - start1, input.shape[b] - start2), 0))
    last = permuted(input, dims=(*(i for i in range(ndim) if i not in (a, b)), a, b))
    return picked(last, index=(Ellipsis, steps + start1, steps + start2))
