"""Pooling: of each window the largest element, or the average. Windows lie at regular steps, or, adaptive, divide the input evenly.

What is written here for windows of any number of dimensions becomes a function each for 1, 2 and 3, with `torch`'s names and arguments.
The largest elements are found first (`first_largest`), then fetched, so that the gradient goes where they stand. Sums, like maxima, are
taken along one dimension after the other.
"""

from __future__ import annotations

import functools
import math
from numbers import Integral

import numpy as np

from minidiff import backend
from minidiff.autograd import composite, operation

from .door import must_be_arrays
from .indexing import gather
from .precision import wide
from .reduction import mean
from .shape import cat, flatten, reshape
from .unfolding import as_given, batched, named, pad_each, per_dimension, unbatched

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
           "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"]


# -- which windows ---------------------------------------------------------------------------------------------------


def _geometry(name, x, kernel_size, stride, padding, dilation, ceil_mode):
    """kernel, stride, padding and dilation for each dimension, and how many windows there are (`size`); ValueError if they don't fit."""
    dims = len(x.shape) - 2
    kernel = per_dimension(kernel_size, dims, f"{name}: kernel_size", 1)
    stride = kernel if stride is None else per_dimension(stride, dims, f"{name}: stride", 1)
    padding = per_dimension(padding, dims, f"{name}: padding")
    dilation = per_dimension(dilation, dims, f"{name}: dilation", 1)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"{name}: padding {padding} is more than half of the kernel {kernel}")
    size = tuple(_count(*each, ceil_mode) for each in zip(x.shape[2:], kernel, stride, padding, dilation))
    if min(size) < 1:
        raise ValueError(f"{name}: a {kernel} window with dilation {dilation} does not fit an input of shape {tuple(x.shape)} "
                         f"with padding {padding}")
    if max(dilation) > 1 and any(_places(*each).min() < 0 for each in zip(x.shape[2:], kernel, stride, padding, dilation, size)):
        raise ValueError(f"{name}: with dilation {dilation} and padding {padding} a {kernel} window has no element of an input of shape "
                         f"{tuple(x.shape)} under it; expected less padding")
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "size": size}


def _count(n, kernel, stride, padding, dilation, ceil_mode):
    """How many windows fit; ceil_mode: also one that ends outside, if it begins inside or in the padding before."""
    room = n + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    last = -(-room // stride)
    return last + 1 if last * stride < n + padding else last


def _places(n, kernel, stride, padding, dilation, size):
    """(size, kernel) places of the elements of each window along one dimension; in the padding, the window's nearest inside instead."""
    start = np.arange(size)[:, None] * stride - padding
    first, last = -(np.minimum(start, 0) // dilation), (n - 1 - start) // dilation
    return start + dilation * np.clip(np.arange(kernel), first, last)


def _adaptive_places(n, size):
    """The same for window i from floor(i n / size) to ceil((i + 1) n / size); at the end of shorter ones, their last again."""
    start, stop = _sections(n, size)
    longest = int((stop - start).max(initial=1))
    return np.minimum(start[:, None] + np.arange(longest), stop[:, None] - 1)


def _sections(n, size):
    """Where `size` windows that divide n elements evenly begin and end."""
    i = np.arange(size)
    return i * n // max(size, 1), -(-(i + 1) * n // max(size, 1))


def _adapted(name, x, output_size):
    """The output size as a tuple; None keeps the input's."""
    size = output_size
    if isinstance(size, (tuple, list)):
        size = tuple(n if m is None else m for n, m in zip(x.shape[2:], size)) if len(size) == len(x.shape) - 2 else size
    return per_dimension(size, len(x.shape) - 2, f"{name}: output_size")


# -- the largest -----------------------------------------------------------------------------------------------------


def _first_largest(xp, input, *, places):
    value, where = input, xp.broadcast_to(xp.arange(math.prod(input.shape[2:])).reshape(input.shape[2:]), input.shape)
    for axis in range(input.ndim - 1, 1, -1):  # along each row, then among rows: the first of the largest is in the first row that has one
        best = None
        for place in places[axis - 2].T:
            at = (*(slice(None),) * axis, place)
            if best is None:
                best, best_where = value[at], where[at]
            else:
                other = value[at]
                better = (other > best) | (other != other)  # what differs from itself is NaN
                best, best_where = xp.where(better, other, best), xp.where(better, where[at], best_where)
        value, where = best, best_where
    return where


first_largest = operation(_first_largest, "Where the largest element of each window stands in the flattened sample; at a tie, the first.")


def _at(input, where):
    """input (N, C, *size) at places (N, C, *out) of the flattened `size`."""
    return reshape(gather(flatten(input, 2), 2, flatten(where, 2)), where.shape)


@composite
def pooled_max(input, *, kernel, stride, padding, dilation, size):
    """y[p] = x at the first largest element of window p: (N, C, *input size) -> (N, C, *size)."""
    places = tuple(map(_places, input.shape[2:], kernel, stride, padding, dilation, size))
    return _at(input, first_largest(input, places=places))


def _numbers(name, input, kinds="f", expected="floating-point numbers"):
    """TypeError unless the elements can be pooled."""
    must_be_arrays(name, input=input)
    if input.dtype.kind not in kinds:
        raise TypeError(f"{name}: expected {expected}, got {input.dtype}")


def _max_pool(dims):
    def pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False, return_indices: bool = False):
        """y[p] = max over i of x[stride p + dilation i - padding], over what lies inside; the gradient goes to the first largest element.

        Shapes: (N, C, *size) or one sample (C, *size), with {dims} dimension(s) of size, each of which becomes
        (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down, or up with ceil_mode: then a last window may reach
        over the end, if it begins inside. kernel_size, stride (None: kernel_size), padding (at most half of kernel_size), dilation: an int,
        or one for each dimension. return_indices: also where each largest element stands in the flattened sample, as integers like y.
        NaN is larger than anything. Raises ValueError for windows that do not fit, TypeError for booleans.
        """
        name = pool.__name__
        _numbers(name, input, "fiu", "numbers")
        x = batched(name, input, dims)
        geometry = _geometry(name, x, kernel_size, stride, padding, dilation, ceil_mode)
        if not return_indices:
            return unbatched(pooled_max(x, **geometry), input, dims)
        where = first_largest(x, places=tuple(map(_places, x.shape[2:], *geometry.values())))
        return unbatched(_at(x, where), input, dims), unbatched(where, input, dims)

    return named(pool, f"max_pool{dims}d", dims)


def _adaptive_max_pool(dims):
    def pool(input, output_size, return_indices: bool = False):
        """y[i] = max of x from floor(i size / output_size) to ceil((i + 1) size / output_size): as many windows as are asked for.

        Shapes: (N, C, *size) or (C, *size) -> the same with `output_size` (an int, or {dims}; None in a tuple keeps a size). return_indices
        and the gradient are those of max_pool{dims}d. Raises ValueError for an output_size that is none, TypeError for booleans.
        """
        name = pool.__name__
        _numbers(name, input, "fiu", "numbers")
        x = batched(name, input, dims)
        where = first_largest(x, places=tuple(map(_adaptive_places, x.shape[2:], _adapted(name, x, output_size))))
        out = unbatched(_at(x, where), input, dims)
        return (out, unbatched(where, input, dims)) if return_indices else out

    return named(pool, f"adaptive_max_pool{dims}d", dims)


# -- the average -----------------------------------------------------------------------------------------------------


def _window_sum(xp, input, *, axis, kernel, stride):
    pieces = [input[at] for at, _ in _meetings(input.shape[axis], axis, kernel, stride)]
    if len(pieces) < kernel:
        return xp.concatenate([piece.sum(axis=axis, keepdims=True) for piece in pieces], axis=axis)
    out = pieces[0].copy(order="K")
    for piece in pieces[1:]:
        out += piece
    return out


def _window_spread(xp, input, *, axis, kernel, stride, size):
    out = xp.zeros((*input.shape[:axis], size, *input.shape[axis + 1:]), input.dtype)
    for at, of in _meetings(size, axis, kernel, stride):
        out[at] += input[of]
    return out


def _meetings(n, axis, kernel, stride):
    """Where windows along an axis get their elements, as indices of the whole and of the windows: element by element of all windows, or
    window by window, whichever takes fewer steps."""
    count = (n - kernel) // stride + 1
    at = lambda *ends: (*(slice(None),) * axis, slice(*ends))
    if count < kernel:
        return [(at(p * stride, p * stride + kernel), at(p, p + 1)) for p in range(count)]
    return [(at(i, i + (count - 1) * stride + 1, stride), at(None)) for i in range(kernel)]


window_sum = operation(_window_sum, "The sum of each window along one axis.",
                       input=lambda g, like_input, axis, kernel, stride: window_spread(
                           g, axis=axis, kernel=kernel, stride=stride, size=like_input.shape[axis]))

window_spread = operation(_window_spread, "Each number to all elements of its window along one axis, added up where windows overlap.",
                          input=lambda g, axis, kernel, stride: window_sum(g, axis=axis, kernel=kernel, stride=stride))


def _covered(n, kernel, stride, padding, dilation, size, margin):
    """How many places of each window along one dimension are at most `margin` outside."""
    start = np.arange(size) * stride - padding
    return np.minimum(start + kernel, n + margin) - np.maximum(start, -margin)


def _averaged(name, dims, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    _numbers(name, input)
    x = batched(name, input, dims)
    if divisor_override is not None and (not isinstance(divisor_override, Integral) or divisor_override == 0):
        raise ValueError(f"{name}: divisor_override: expected an int other than 0, got {divisor_override!r}")
    geometry = _geometry(name, x, kernel_size, stride, padding, 1, ceil_mode)
    kernel, stride, padding, _, size = geometry.values()
    ends = [max((m - 1) * s + k - n - p, 0) for n, k, s, p, m in zip(x.shape[2:], kernel, stride, padding, size)]
    total = pad_each(wide(x), list(zip(padding, ends)))
    for axis, (k, s) in enumerate(zip(kernel, stride), 2):
        total = window_sum(total, axis=axis, kernel=k, stride=s)
    if divisor_override is None:
        margins = padding if count_include_pad else (0,) * dims
        counts = functools.reduce(np.multiply.outer, map(_covered, x.shape[2:], *geometry.values(), margins))
        divisor = backend.asarray(counts.astype(total.dtype), backend.device_of(total))
    return as_given(total / (divisor if divisor_override is None else int(divisor_override)), input, dims)


def _avg_pool(dims):
    def pool(input, kernel_size, stride=None, padding=0, ceil_mode: bool = False, count_include_pad: bool = True, divisor_override=None):
        """y[p] = (1 / count) sum over i of x[stride p + i - padding], zeros outside.

        count is the size of the window, as far as it lies inside the input or its padding (a last window of ceil_mode may reach further);
        without count_include_pad, inside the input; or divisor_override, an int. Shapes, sizes and the other arguments are those of
        max_pool{dims}d. Raises ValueError for windows that do not fit, TypeError for integers, whose averages are none. float16 is added up
        in float32.
        """
        return _averaged(pool.__name__, dims, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    return named(pool, f"avg_pool{dims}d", dims)


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode: bool = False, count_include_pad: bool = True):
    """y[p] = (1 / count) sum over i of x[stride p + i - padding]: (N, C, L) -> (N, C, L'). As avg_pool2d, which also takes a divisor.

    Raises ValueError for windows that do not fit, TypeError for integers, whose averages are none.
    """
    return _averaged("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def _adaptive_avg_pool(dims):
    def pool(input, output_size):
        """y[i] = mean of x from floor(i size / output_size) to ceil((i + 1) size / output_size): as many windows as are asked for.

        Shapes: (N, C, *size) or (C, *size) -> the same with `output_size` (an int, or {dims}; None in a tuple keeps a size); 1 is the
        global average. Raises ValueError for an output_size that is none, TypeError for integers. float16 is added up in float32.
        """
        name = pool.__name__
        _numbers(name, input)
        x = batched(name, input, dims)
        out = wide(x)
        for axis, (n, m) in enumerate(zip(x.shape[2:], _adapted(name, x, output_size)), 2):
            if n != m:  # along one dimension after the other: the mean of a window is the mean of its rows' means
                parts = [out[(*(slice(None),) * axis, slice(a, b))] for a, b in zip(*map(np.ndarray.tolist, _sections(n, m)))]
                out = cat([mean(part, axis, keepdim=True) for part in parts] or [out[(*(slice(None),) * axis, slice(0))]], axis)
        return as_given(out, input, dims)

    return named(pool, f"adaptive_avg_pool{dims}d", dims)


max_pool1d, max_pool2d, max_pool3d = map(_max_pool, (1, 2, 3))
avg_pool2d, avg_pool3d = map(_avg_pool, (2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = map(_adaptive_avg_pool, (1, 2, 3))
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = map(_adaptive_max_pool, (1, 2, 3))
