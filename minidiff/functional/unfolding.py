"""Windows of a signal, and `unfold` and `fold`, which lay them out as columns and add them up again.

This is the ground of convolution and pooling: both say what to do with each window. The two operations are each other's gradient:

    unfolded    x -> v      v[n, c, p, i] = x[n, c, stride p + dilation i]               every window p, element i
    folded      v -> x      x[n, c, q] = the sum of all v[n, c, p, i] that were taken from q
"""

from __future__ import annotations

import math
from numbers import Integral

import numpy as np

from minidiff.autograd import operation

from .door import must_be_arrays
from .padding import pad
from .precision import narrow, wide
from .shape import permute, reshape

__all__ = ["fold", "unfold"]


def per_dimension(value, dims: int, name: str, least: int = 0) -> tuple[int, ...]:
    """An int, or one for each dimension, as a tuple of `dims` ints of at least `least`; ValueError otherwise."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    if len(values) != dims or any(not isinstance(v, Integral) or isinstance(v, bool) or v < least for v in values):
        raise ValueError(f"{name}: expected an int of at least {least}, or {dims} of them, got {value!r}")
    return tuple(int(v) for v in values)


def batched(name: str, input, dims: int):
    """The input (N, C, *size), also where it was given as one sample (C, *size); ValueError unless there is something in each sample."""
    must_be_arrays(name, input=input)
    size = ("L", "H, W", "D, H, W")[dims - 1]
    if len(input.shape) not in (dims + 1, dims + 2) or 0 in input.shape[-dims - 1:]:
        raise ValueError(f"{name}: expected an input (N, C, {size}) or (C, {size}), where only N may be 0; got shape {tuple(input.shape)}")
    return input if len(input.shape) == dims + 2 else reshape(input, (1, *input.shape))


def unbatched(out, input, dims: int):
    """A result without its batch dimension if the input had none."""
    return out if len(input.shape) == dims + 2 else reshape(out, out.shape[1:])


def as_given(out, input, dims: int):
    """A result in the dtype of the input, and without its batch dimension if the input had none."""
    return unbatched(narrow(out, input.dtype), input, dims)


def pad_each(x, widths, value: float = 0.0):
    """(N, C, *size) with (before, after) rows of `value` around each dimension of `size`."""
    return pad(x, [w for pair in reversed(widths) for w in pair], value=value) if any(map(any, widths)) else x


def named(function, name: str, dims: int):
    """One member of a family of functions for 1, 2 and 3 dimensions: its name, and its number of dimensions in the documentation."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = function.__doc__.replace("{dims}", str(dims))
    return function


# -- windows ---------------------------------------------------------------------------------------------------------


def count(size, kernel, stride, dilation) -> tuple[int, ...]:
    """How many windows there are in each dimension: (size - dilation (kernel - 1) - 1) // stride + 1."""
    return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(size, kernel, stride, dilation))


def windows(xp, x, kernel, stride, dilation):
    """Every window of a signal: (N, C, *size) -> (N, C, *count, *kernel), a view."""
    n, c, *size = x.shape
    steps = x.strides[2:]
    return xp.lib.stride_tricks.as_strided(
        x, (n, c, *count(size, kernel, stride, dilation), *kernel),
        (*x.strides[:2], *(s * t for s, t in zip(steps, stride)), *(s * d for s, d in zip(steps, dilation))))


def add_windows(xp, parts, stride, dilation, size):
    """Add up windows where they overlap, in at least float32: (N, C, *count, *kernel) -> (N, C, *size)."""
    dtype, parts = parts.dtype, wide(parts)
    dims = len(size)
    n, c, *out = parts.shape[:-dims]
    x = xp.zeros((n, c, *size), parts.dtype)
    for tap in np.ndindex(*parts.shape[-dims:]):
        place = tuple(slice(i * d, i * d + (m - 1) * s + 1, s) for i, d, m, s in zip(tap, dilation, out, stride))
        x[(..., *place)] += parts[(..., *tap)]
    return narrow(x, dtype)


unfolded = operation(lambda xp, input, *, kernel, stride, dilation: windows(xp, input, kernel, stride, dilation),
                     input=lambda g, like_input, stride, dilation: folded(g, stride=stride, dilation=dilation, size=like_input.shape[2:]))

folded = operation(lambda xp, input, *, stride, dilation, size: add_windows(xp, input, stride, dilation, size),
                   input=lambda g, like_input, stride, dilation: unfolded(
                       g, kernel=like_input.shape[2 + len(stride):], stride=stride, dilation=dilation))


# -- columns ---------------------------------------------------------------------------------------------------------


def _geometry(name, kernel_size, dilation, padding, stride, size):
    """kernel, dilation, padding and stride as pairs, and how many windows there are; ValueError if there is none."""
    kernel = per_dimension(kernel_size, 2, f"{name}: kernel_size", 1)
    dilation = per_dimension(dilation, 2, f"{name}: dilation", 1)
    padding = per_dimension(padding, 2, f"{name}: padding")
    stride = per_dimension(stride, 2, f"{name}: stride", 1)
    out = count([n + 2 * p for n, p in zip(size, padding)], kernel, stride, dilation)
    if min(out) < 1:
        raise ValueError(f"{name}: a window of {kernel} at dilation {dilation} does not fit into {tuple(size)} with padding {padding}")
    return kernel, dilation, padding, stride, out


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Every window of an image as a column (im2col): (N, C, H, W) -> (N, C kh kw, L) with L = H' W' windows.

        column[c kh kw + i kw + j, p W' + q] = x[c, stride p + dilation i - padding, stride q + dilation j - padding], 0 outside

    With the windows as columns a convolution is one matrix product, each row of the matrix one kernel:

        conv2d(x, w)[n] = (w.reshape(K, C kh kw) @ unfold(x, (kh, kw))[n]).reshape(K, H', W')

    `fold` is the transpose of this linear map, not its inverse. kernel_size, dilation, padding, stride: an int or a pair; one image
    (C, H, W) gives (C kh kw, L). H' = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1. Raises ValueError where no window fits.
    """
    x = batched("unfold", input, 2)
    kernel, dilation, padding, stride, out = _geometry("unfold", kernel_size, dilation, padding, stride, x.shape[2:])
    parts = unfolded(pad_each(x, [(p, p) for p in padding]), kernel=kernel, stride=stride, dilation=dilation)
    columns = reshape(permute(parts, (0, 1, 4, 5, 2, 3)), (x.shape[0], x.shape[1] * math.prod(kernel), math.prod(out)))
    return as_given(columns, input, 2)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Put columns back where `unfold` took them from, adding where windows overlap (col2im): (N, C kh kw, L) -> (N, C, H, W).

        x[c, stride p + dilation i - padding, stride q + dilation j - padding] += column[c kh kw + i kw + j, p W' + q]

    It is the transpose of `unfold`, <unfold(x), y> = <x, fold(y)>, so each is the gradient of the other, and a transposed
    convolution is a matrix product, then fold:

        conv_transpose2d(y, w)[n] = fold(w.reshape(K, C kh kw)^T @ y[n].reshape(K, H' W'), (H, W), (kh, kw))

    fold(unfold(x)) is x times the number of windows that hold each pixel. output_size (H, W) and the others: an int or a pair.
    One image's columns (C kh kw, L) give (C, H, W). Raises ValueError when the columns do not fit.
    """
    size = per_dimension(output_size, 2, "fold: output_size", 1)
    kernel, dilation, padding, stride, out = _geometry("fold", kernel_size, dilation, padding, stride, size)
    columns = batched("fold", input, 1)
    n, rows, length = columns.shape
    if rows % math.prod(kernel) or length != math.prod(out):
        raise ValueError(f"fold: expected C {math.prod(kernel)} rows and {math.prod(out)} columns, as many as there are windows of "
                         f"{kernel} in {size}; got shape {tuple(input.shape)}")
    parts = permute(reshape(columns, (n, rows // math.prod(kernel), *kernel, *out)), (0, 1, 4, 5, 2, 3))
    x = folded(parts, stride=stride, dilation=dilation, size=tuple(s + 2 * p for s, p in zip(size, padding)))
    return as_given(pad_each(x, [(-p, -p) for p in padding]), input, 1)
