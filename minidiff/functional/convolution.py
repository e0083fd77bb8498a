"""Convolution and transposed convolution in any number of dimensions.

Three operations on a signal x, a kernel w and a result y are each other's gradients, because y is linear in x and in w:

    convolution         x, w -> y      y[n, k, p] = sum over c, i of  w[k, c, i] x[n, c, stride p + dilation i - padding]
    convolution_input   y, w -> x      the same sum, read from y to x: the transposed convolution
    convolution_weight  x, y -> w      the same sum, read from x and y to w

(`convolution` is what signal processing calls a cross-correlation; deep learning never flips the kernel.) The forward
functions here are readable; `minidiff.kernels` has fast ones for the CPU.
"""

from __future__ import annotations

from numbers import Integral

from minidiff.autograd import operation
from minidiff.backend import one_blas_thread

from .reduction import sum
from .shape import getitem

__all__ = ["conv2d", "conv_transpose2d"]


def windows(xp, x, kernel, stride, dilation):
    """Every window of a signal: (N, C, *size) -> (N, C, *out, *kernel), a view; out = (size - dilation (kernel - 1) - 1) // stride + 1."""
    n, c, *size = x.shape
    out = [(s - d * (k - 1) - 1) // t + 1 for s, k, t, d in zip(size, kernel, stride, dilation)]
    steps = x.strides[2:]
    return xp.lib.stride_tricks.as_strided(
        x, (n, c, *out, *kernel),
        (*x.strides[:2], *(s * t for s, t in zip(steps, stride)), *(s * d for s, d in zip(steps, dilation))))


def _padded(xp, x, padding):
    return xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding))) if any(padding) else x


def _groups(x, groups):
    """Cut the channels (dimension 1) into groups."""
    size = x.shape[1] // groups
    return [x[:, i * size:(i + 1) * size] for i in range(groups)]


@one_blas_thread()  # so that the bits do not depend on the machine
def _convolve(xp, input, weight, bias, *, stride, padding, dilation, groups):
    dims = len(stride)
    kernel = weight.shape[2:]
    views = windows(xp, _padded(xp, input, padding), kernel, stride, dilation)
    size = weight.shape[0] // groups
    parts = []
    for i, view in enumerate(_groups(views, groups)):
        w = weight[i * size:(i + 1) * size]
        over = [1, *range(2 + dims, 2 + 2 * dims)]
        parts.append(xp.tensordot(view, w, axes=(over, [1, *range(2, 2 + dims)])))  # (N, *out, K / groups)
    out = xp.concatenate(parts, axis=-1)
    return xp.moveaxis(out if bias is None else out + bias, -1, 1)


@one_blas_thread()  # so that the bits do not depend on the machine
def _convolve_input(xp, input, weight, bias, *, stride, padding, dilation, groups, size):
    dims = len(stride)
    n, _, *out = input.shape
    kernel = weight.shape[2:]
    share = weight.shape[0] // groups
    parts = []
    for i, y in enumerate(_groups(input, groups)):
        w = weight[i * share:(i + 1) * share]
        columns = xp.tensordot(y, w, axes=([1], [0]))  # (N, *out, C / groups, *kernel)
        x = xp.zeros((n, *(s + 2 * p for s, p in zip(size, padding)), weight.shape[1]), columns.dtype)
        for tap in _indices(kernel):
            place = tuple(slice(k * d, k * d + (o - 1) * t + 1, t) if o else slice(0, 0)
                          for k, d, o, t in zip(tap, dilation, out, stride))
            x[(slice(None), *place)] += columns[(..., *tap)]
        parts.append(x[(slice(None), *(slice(p, p + s) for p, s in zip(padding, size)))])
    x = xp.concatenate(parts, axis=-1)
    return xp.moveaxis(x if bias is None else x + bias, 1 + dims, 1)


@one_blas_thread()  # so that the bits do not depend on the machine
def _convolve_weight(xp, input, output, *, stride, padding, dilation, groups, kernel):
    dims = len(stride)
    out = output.shape[2:]
    views = windows(xp, _padded(xp, input, padding), kernel, stride, dilation)
    views = views[(slice(None), slice(None), *(slice(0, o) for o in out))]
    over = [0, *range(2, 2 + dims)]
    return xp.concatenate([xp.tensordot(y, view, axes=(over, over))
                           for y, view in zip(_groups(output, groups), _groups(views, groups))], axis=0)


def _indices(shape):
    """Every multi-index of an array of this shape."""
    if not shape:
        return [()]
    return [(i, *rest) for i in range(shape[0]) for rest in _indices(shape[1:])]


def _first(y, size):
    """The first positions of a result: output_padding of a stride or more makes room for windows that y never had."""
    return y if tuple(y.shape[2:]) == tuple(size) else getitem(y, (slice(None), slice(None), *(slice(n) for n in size)))


convolution = operation(
    _convolve,
    input=lambda g, weight, like_input, stride, padding, dilation, groups: convolution_input(
        g, weight, None, stride=stride, padding=padding, dilation=dilation, groups=groups, size=like_input.shape[2:]),
    weight=lambda g, input, like_weight, stride, padding, dilation, groups: convolution_weight(
        input, g, stride=stride, padding=padding, dilation=dilation, groups=groups, kernel=like_weight.shape[2:]),
    bias=lambda g: sum(g, (0, *range(2, len(g.shape)))))

convolution_input = operation(
    _convolve_input,
    input=lambda g, weight, like_input, stride, padding, dilation, groups: _first(convolution(
        g, weight, None, stride=stride, padding=padding, dilation=dilation, groups=groups), like_input.shape[2:]),
    weight=lambda g, input, like_weight, stride, padding, dilation, groups: convolution_weight(
        g, input, stride=stride, padding=padding, dilation=dilation, groups=groups, kernel=like_weight.shape[2:]),
    bias=lambda g: sum(g, (0, *range(2, len(g.shape)))))

convolution_weight = operation(
    _convolve_weight,
    input=lambda g, output, like_input, stride, padding, dilation, groups: convolution_input(
        output, g, None, stride=stride, padding=padding, dilation=dilation, groups=groups, size=like_input.shape[2:]),
    output=lambda g, input, like_output, stride, padding, dilation, groups: _first(convolution(
        input, g, None, stride=stride, padding=padding, dilation=dilation, groups=groups), like_output.shape[2:]))


def per_dimension(value, dims: int, name: str, least: int = 0) -> tuple[int, ...]:
    """An int, or one for each dimension, as a tuple of `dims` ints of at least `least`; ValueError otherwise."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    if len(values) != dims or any(not isinstance(v, Integral) or v < least for v in values):
        raise ValueError(f"{name}: expected an int of at least {least}, or {dims} of them, got {value!r}")
    return values


def _checked(name, input, weight, bias, groups, in_axis):
    """Refuse at the door what does not fit; in_axis is the weight's axis of input channels."""
    shapes = f"(input shape {tuple(input.shape)}, weight shape {tuple(weight.shape)}, groups={groups})"
    if len(input.shape) != 4 or len(weight.shape) != 4:
        raise ValueError(f"{name}: expected an input (N, C, H, W) and a weight of 4 dimensions {shapes}")
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"{name}: {weight.shape[0]} channels do not divide into {groups} groups {shapes}")
    expected = weight.shape[1] * groups if in_axis == 1 else weight.shape[0]
    if input.shape[1] != expected:
        raise ValueError(f"{name}: input has {input.shape[1]} channels, weight expects {expected} {shapes}")
    made = weight.shape[0] if in_axis == 1 else weight.shape[1] * groups
    if bias is not None and tuple(bias.shape) != (made,):
        raise ValueError(f"{name}: bias of shape {tuple(bias.shape)}; the weight asks for ({made},) {shapes}")
    for other, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.dtype != input.dtype:
            raise TypeError(f"{name}: input is {input.dtype}, {other} is {parameter.dtype}; convert one of them")


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """y[n, k, p] = b[k] + sum over c, i of w[k, c, i] x[n, c, stride p + dilation i - padding], zeros outside.

    Shapes: input (N, C, H, W), weight (K, C / groups, kh, kw), bias (K,) -> (N, K, H', W') with
    H' = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1. stride, padding, dilation: an int or a pair.
    Raises ValueError when the shapes do not fit, TypeError for mixed dtypes.
    """
    _checked("conv2d", input, weight, bias, groups, in_axis=1)
    stride = per_dimension(stride, 2, "conv2d: stride", 1)
    padding = per_dimension(padding, 2, "conv2d: padding")
    dilation = per_dimension(dilation, 2, "conv2d: dilation", 1)
    for n, p, d, k in zip(input.shape[2:], padding, dilation, weight.shape[2:]):
        if n + 2 * p < d * (k - 1) + 1:
            raise ValueError(f"conv2d: a kernel that spans {d * (k - 1) + 1} does not fit into a padded size of {n + 2 * p} "
                             f"(input shape {tuple(input.shape)}, weight shape {tuple(weight.shape)})")
    return convolution(input, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1):
    """The transpose of `conv2d` as a linear map: x[n, c, stride p + dilation i - padding] += w[k, c, i] y[n, k, p].

    Padding crops here; output_padding adds rows and columns at the bottom and right.
    Shapes: input (N, K, H, W), weight (K, C / groups, kh, kw), bias (C,) -> (N, C, H', W') with
    H' = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1. The argument order is torch's: groups before dilation.
    Raises ValueError when the shapes do not fit, or output_padding is not smaller than stride or dilation.
    """
    _checked("conv_transpose2d", input, weight, bias, groups, in_axis=0)
    stride = per_dimension(stride, 2, "conv_transpose2d: stride", 1)
    padding = per_dimension(padding, 2, "conv_transpose2d: padding")
    extra = per_dimension(output_padding, 2, "conv_transpose2d: output_padding")
    dilation = per_dimension(dilation, 2, "conv_transpose2d: dilation", 1)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"conv_transpose2d: output_padding {extra} must be smaller than stride {stride} or dilation {dilation}")
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1
                 for n, s, p, d, k, e in zip(input.shape[2:], stride, padding, dilation, weight.shape[2:], extra))
    if min(size) < 1:
        raise ValueError(f"conv_transpose2d: the result would have size {size} (input shape {tuple(input.shape)}, padding={padding})")
    return convolution_input(input, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size)
