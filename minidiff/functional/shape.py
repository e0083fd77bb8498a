"""Operations that move elements without changing them: reshape, permute, slice, join, pad.

Their gradients are moves too: backwards. Names and arguments are `torch`'s.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence

from minidiff import backend
from minidiff.autograd import operation
from minidiff.autograd.walk import unbroadcast

__all__ = ["cat", "chunk", "expand", "flatten", "flip", "gather", "getitem", "pad", "permute", "reshape", "split", "squeeze", "stack", "transpose", "unsqueeze"]

reshaped = operation(lambda xp, input, *, shape: input.reshape(shape),
                     input=lambda g, like_input: reshaped(g, shape=like_input.shape))

permuted = operation(lambda xp, input, *, dims: input.transpose(dims),
                     input=lambda g, dims: permuted(g, dims=tuple(sorted(range(len(dims)), key=dims.__getitem__))))

expanded = operation(lambda xp, input, *, shape: xp.broadcast_to(input, shape),
                     input=lambda g, like_input: unbroadcast(g, like_input.shape))


def axis_of(dim: int, ndim: int, name: str) -> int:
    """`dim`, which may count from the end, as an int from 0 to ndim - 1; IndexError otherwise."""
    if not -ndim <= dim < ndim:
        raise IndexError(f"{name}: dimension {dim} of an input with {ndim} dimensions; expected {-ndim} to {ndim - 1}")
    return dim % ndim


def reshape(input, shape: Sequence[int]):
    """The same elements, in the same (row-major) order, in another shape; one size may be -1. ValueError if they don't fit."""
    shape = tuple(shape)
    known = math.prod(n for n in shape if n != -1)
    size = math.prod(input.shape)
    if shape.count(-1) > 1 or (size % known if -1 in shape and known else size != known and -1 not in shape):
        raise ValueError(f"reshape: {size} elements of shape {tuple(input.shape)} do not fit shape {shape}")
    return reshaped(input, shape=shape)


def flatten(input, start_dim: int = 0, end_dim: int = -1):
    """Merge the dimensions from start_dim to end_dim into one: (N, C, H, W) -> (N, C H W) for start_dim=1."""
    ndim = len(input.shape)
    start, end = axis_of(start_dim, ndim, "flatten"), axis_of(end_dim, ndim, "flatten")
    if start > end:
        raise ValueError(f"flatten: start_dim={start_dim} comes after end_dim={end_dim} in shape {tuple(input.shape)}")
    return reshape(input, (*input.shape[:start], math.prod(input.shape[start:end + 1]), *input.shape[end + 1:]))


def permute(input, dims: Sequence[int]):
    """Dimension i of the result is dimension dims[i] of the input. ValueError unless dims is a permutation."""
    ndim = len(input.shape)
    found = tuple(d % ndim if -ndim <= d < ndim else ndim for d in dims)
    if sorted(found) != list(range(ndim)):
        raise ValueError(f"permute: dims {tuple(dims)} are not a permutation of the {ndim} dimensions of shape {tuple(input.shape)}")
    return permuted(input, dims=found)


def transpose(input, dim0: int, dim1: int):
    """Swap the dimensions dim0 and dim1 of the input, whose shape (..., a, ..., b, ...) becomes (..., b, ..., a, ...)."""
    ndim = len(input.shape)
    dims = list(range(ndim))
    a, b = axis_of(dim0, ndim, "transpose"), axis_of(dim1, ndim, "transpose")
    dims[a], dims[b] = b, a
    return permute(input, dims)


def expand(input, shape: Sequence[int]):
    """Repeat along dimensions of size 1 (and new leading ones) to `shape`, without copying; -1 keeps a size.

    Raises ValueError when the shape (..., 1, ...) cannot be repeated to it.
    """
    shape = tuple(shape)
    lead = len(shape) - len(input.shape)
    target = tuple(input.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if lead < 0 or any(n not in (1, m) for n, m in zip(input.shape, target[max(lead, 0):])):
        raise ValueError(f"expand: shape {tuple(input.shape)} cannot be repeated to {shape}")
    return input if target == tuple(input.shape) else expanded(input, shape=target)


def squeeze(input, dim: int | None = None):
    """Drop dimensions of size 1: all of them, or `dim` if its size is 1. (N, 1, H) -> (N, H)."""
    dropped = range(len(input.shape)) if dim is None else (axis_of(dim, len(input.shape), "squeeze"),)
    return reshape(input, tuple(n for i, n in enumerate(input.shape) if n != 1 or i not in dropped))


def unsqueeze(input, dim: int):
    """A new dimension of size 1 in place `dim`: (N, C) -> (N, C, 1) for dim=-1."""
    dim = axis_of(dim, len(input.shape) + 1, "unsqueeze")
    return reshape(input, (*input.shape[:dim], 1, *input.shape[dim:]))


# -- indexing --------------------------------------------------------------------------------------------------------


def _is_basic(index) -> bool:
    """Slices, ints, None and ... pick each element at most once; arrays and lists may pick it several times."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (slice, int)) for part in parts)


def _scatter(xp, input, *, index, shape):
    out = xp.zeros(shape, input.dtype)
    if _is_basic(index):
        out[index] = input
    else:
        backend.add_at(out, index, input)
    return out


picked = operation(lambda xp, input, *, index: input[index],
                   input=lambda g, like_input, index: scattered(g, index=index, shape=like_input.shape))

scattered = operation(_scatter,
                      input=lambda g, index: picked(g, index=index))


def getitem(input, index):
    """input[index] with NumPy's rules: slices, ints, None, ..., integer and boolean arrays, shape by shape. Gradients of
    elements that are picked several times add up."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(backend.to_array(part) for part in parts)
    return picked(input, index=parts if isinstance(index, tuple) else parts[0])


def _places(xp, indices, axis):
    """The full index of each place that `indices` names along `axis`."""
    place = [xp.arange(n).reshape([-1 if i == k else 1 for i in range(indices.ndim)]) for k, n in enumerate(indices.shape)]
    place[axis] = indices
    return tuple(place)


def _along(xp, input, indices, *, axis):
    return input[_places(xp, indices, axis)]


def _scatter_along(xp, input, indices, *, axis, shape):
    out = xp.zeros(shape, input.dtype)
    backend.add_at(out, _places(xp, indices, axis), input)
    return out


taken_along = operation(_along,
                        input=lambda g, indices, like_input, axis: scattered_along(g, indices, axis=axis, shape=like_input.shape))

scattered_along = operation(_scatter_along,
                            input=lambda g, indices, axis: taken_along(g, indices, axis=axis))


def gather(input, dim: int, index):
    """out[i, j, k] = input[i, index[i, j, k], k] for dim=1, and so on; index has as many dimensions as the input."""
    if len(index.shape) != len(input.shape):
        raise ValueError(f"gather: index of shape {tuple(index.shape)} for an input of shape {tuple(input.shape)}; "
                         "both need the same number of dimensions")
    return taken_along(input, index, axis=axis_of(dim, len(input.shape), "gather"))


# -- joining ---------------------------------------------------------------------------------------------------------


def _piece(g, i, like_tensors, dim):
    """The part of a joined array that came from the i-th one."""
    start = builtins.sum(like.shape[dim] for like in like_tensors[:i])
    index = (slice(None),) * dim + (slice(start, start + like_tensors[i].shape[dim]),)
    return picked(g, index=index)


joined = operation(lambda xp, *tensors, dim: xp.concatenate(tensors, axis=dim),
                   tensors=_piece)


def cat(tensors: Sequence, dim: int = 0):
    """Join along an existing dimension: shapes (N, C1, H, W) and (N, C2, H, W) -> (N, C1 + C2, H, W) for dim=1.

    Raises ValueError when the other sizes differ, or when there is nothing to join.
    """
    tensors = list(tensors)
    if not tensors:
        raise ValueError("cat: expected at least one tensor, got none")
    ndim = len(tensors[0].shape)
    dim = axis_of(dim, ndim, "cat")
    for x in tensors[1:]:
        if len(x.shape) != ndim or any(a != b for i, (a, b) in enumerate(zip(x.shape, tensors[0].shape)) if i != dim):
            raise ValueError(f"cat: shapes {[tuple(x.shape) for x in tensors]} differ outside dimension {dim}")
    return joined(*tensors, dim=dim)


def stack(tensors: Sequence, dim: int = 0):
    """Join along a new dimension: k tensors of shape (N, C) -> (k, N, C) for dim=0. ValueError when shapes differ."""
    return cat([unsqueeze(x, dim) for x in tensors], dim)


def split(input, split_size: int | Sequence[int], dim: int = 0) -> tuple:
    """Cut along `dim` into pieces of split_size (the last may be smaller), or of the sizes given. Inverse of `cat`.

    Raises ValueError when given sizes do not add up to shape[dim].
    """
    dim = axis_of(dim, len(input.shape), "split")
    n = input.shape[dim]
    if isinstance(split_size, int) and split_size < 1:
        raise ValueError(f"split: expected pieces of at least 1, got split_size={split_size}")
    sizes = [builtins.min(split_size, n - k) for k in range(0, n, split_size)] if isinstance(split_size, int) else list(split_size)
    if builtins.sum(sizes) != n:
        raise ValueError(f"split: sizes {sizes} do not add up to {n}, the size of dimension {dim} of shape {tuple(input.shape)}")
    ends = [builtins.sum(sizes[:i + 1]) for i in range(len(sizes))]
    return tuple(picked(input, index=(slice(None),) * dim + (slice(end - size, end),)) for size, end in zip(sizes, ends))


def chunk(input, chunks: int, dim: int = 0) -> tuple:
    """Cut along `dim` into `chunks` equal pieces (the last may be smaller): shape[dim] = chunks * ceil(shape[dim] / chunks)."""
    if chunks < 1:
        raise ValueError(f"chunk: expected at least 1 piece, got chunks={chunks}")
    dim = axis_of(dim, len(input.shape), "chunk")
    return split(input, builtins.max(-(-input.shape[dim] // chunks), 1), dim)


def _pad(xp, input, *, widths, value):
    return xp.pad(input, widths, constant_values=value)


padded = operation(_pad,
                   input=lambda g, like_input, widths: picked(g, index=tuple(
                       slice(before, before + n) for (before, _), n in zip(widths, like_input.shape))))


def pad(input, pad: Sequence[int], mode: str = "constant", value: float = 0.0):
    """Add rows and columns of `value`. pad = (left, right, top, bottom, ...): pairs, from the last dimension forwards.

    A negative width crops. Shapes: (..., H, W) -> (..., H + top + bottom, W + left + right). Only mode="constant".
    """
    if mode != "constant":
        raise ValueError(f"pad: mode {mode!r} is not offered; expected 'constant'")
    ndim = len(input.shape)
    if len(pad) % 2 or len(pad) > 2 * ndim:
        raise ValueError(f"pad: expected pairs for at most {ndim} dimensions, got {tuple(pad)}")
    pairs = [(0, 0)] * (ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if any(n + builtins.min(a, 0) + builtins.min(b, 0) < 0 for n, (a, b) in zip(input.shape, pairs)):
        raise ValueError(f"pad: {tuple(pad)} crops more than there is in shape {tuple(input.shape)}")
    crop = tuple(slice(-builtins.min(a, 0), n + builtins.min(b, 0)) for n, (a, b) in zip(input.shape, pairs))
    cropped = picked(input, index=crop) if any(a < 0 or b < 0 for a, b in pairs) else input
    return padded(cropped, widths=tuple((builtins.max(a, 0), builtins.max(b, 0)) for a, b in pairs), value=value)


def flip(input, dims: Sequence[int]):
    """Reverse the order along each of `dims`: y[i] = x[n - 1 - i]. The shape stays."""
    turned = {axis_of(d, len(input.shape), "flip") for d in dims}
    return picked(input, index=tuple(slice(None, None, -1) if i in turned else slice(None) for i in range(len(input.shape))))
