"""Convolution and transposed convolution in one, two and three dimensions.

Three operations on a signal x, a kernel w and a result y are each other's gradients, because y is linear in x and in w:

    convolution         x, w -> y      y[n, k, p] = sum over c, i of  w[k, c, i] x[n, c, stride p + dilation i - padding]
    convolution_input   y, w -> x      the same sum, read from y to x: the transposed convolution
    convolution_weight  x, y -> w      the same sum, read from x and y to w

(`convolution` is what signal processing calls a cross-correlation; deep learning never flips the kernel.) They do not ask how
many dimensions there are; the functions `conv1d`, `conv2d`, `conv3d` and their transposes only say how many they expect. The forward
functions here are readable; `minidiff.kernels` has fast ones for the CPU.
"""

from __future__ import annotations

from numbers import Integral

from minidiff.autograd import operation
from minidiff.backend import one_blas_thread

from .door import must_be_arrays
from .precision import wide
from .reduction import sum
from .unfolding import add_windows, as_given, batched, named, pad_each, per_dimension, windows

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


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
    padded = tuple(s + 2 * p for s, p in zip(size, padding))
    share = weight.shape[0] // groups
    parts = []
    for i, y in enumerate(_groups(input, groups)):
        w = weight[i * share:(i + 1) * share]
        columns = xp.tensordot(y, w, axes=([1], [0]))  # (N, *out, C / groups, *kernel)
        parts.append(add_windows(xp, xp.moveaxis(columns, 1 + dims, 1), stride, dilation, padded))
    x = xp.concatenate(parts, axis=1)[(..., *(slice(p, p + s) for p, s in zip(padding, size)))]
    return x if bias is None else x + bias.reshape(-1, *(1,) * dims)


@one_blas_thread()  # so that the bits do not depend on the machine
def _convolve_weight(xp, input, output, *, stride, padding, dilation, groups, kernel):
    dims = len(stride)
    out = output.shape[2:]
    views = windows(xp, _padded(xp, input, padding), kernel, stride, dilation)
    views = views[(slice(None), slice(None), *(slice(0, o) for o in out))]
    over = [0, *range(2, 2 + dims)]
    return xp.concatenate([xp.tensordot(y, view, axes=(over, over))
                           for y, view in zip(_groups(output, groups), _groups(views, groups))], axis=0)


def _first(y, size):
    """The first positions of a result: output_padding of a stride or more makes room for windows that y never had."""
    return y if tuple(y.shape[2:]) == tuple(size) else y[(..., *(slice(n) for n in size))]


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


# -- the functions ---------------------------------------------------------------------------------------------------


def _checked(name, dims, input, weight, bias, groups, in_axis):
    """The input with a batch dimension; refuses at the door what does not fit. in_axis is the weight's axis of input channels."""
    must_be_arrays(name, input=input, weight=weight, **({} if bias is None else {"bias": bias}))
    shapes = f"(input shape {tuple(input.shape)}, weight shape {tuple(weight.shape)}, groups={groups})"
    x = batched(name, input, dims)
    if len(weight.shape) != dims + 2 or 0 in weight.shape:
        raise ValueError(f"{name}: expected a weight of {dims + 2} dimensions, none of size 0 {shapes}")
    if not isinstance(groups, Integral) or groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"{name}: {weight.shape[0]} channels do not divide into {groups} groups {shapes}")
    expected = weight.shape[1] * groups if in_axis == 1 else weight.shape[0]
    if x.shape[1] != expected:
        raise ValueError(f"{name}: input has {x.shape[1]} channels, weight expects {expected} {shapes}")
    made = weight.shape[0] if in_axis == 1 else weight.shape[1] * groups
    if bias is not None and tuple(bias.shape) != (made,):
        raise ValueError(f"{name}: bias of shape {tuple(bias.shape)}; the weight asks for ({made},) {shapes}")
    for other, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.dtype != input.dtype:
            raise TypeError(f"{name}: input is {input.dtype}, {other} is {parameter.dtype}; convert one of them")
    if input.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got {input.dtype}")
    return x


def _convolved(name, dims, input, weight, bias, stride, padding, dilation, groups):
    x = _checked(name, dims, input, weight, bias, groups, in_axis=1)
    stride = per_dimension(stride, dims, f"{name}: stride", 1)
    dilation = per_dimension(dilation, dims, f"{name}: dilation", 1)
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]  # from the first element of a window to the last
    if padding == "same":
        if max(stride) > 1:
            raise ValueError(f"{name}: padding='same' asks for stride 1, got {stride}")
        x = pad_each(x, [(0, r % 2) for r in reach])  # an odd reach: one more at the end, as in torch
        padding = tuple(r // 2 for r in reach)
    elif isinstance(padding, str) and padding != "valid":
        raise ValueError(f"{name}: padding {padding!r}; expected numbers, 'same' or 'valid'")
    else:
        padding = per_dimension(0 if padding == "valid" else padding, dims, f"{name}: padding")
    for n, p, r in zip(x.shape[2:], padding, reach):
        if n + 2 * p <= r:
            raise ValueError(f"{name}: a kernel that spans {r + 1} does not fit into a padded size of {n + 2 * p} "
                             f"(input shape {tuple(input.shape)}, weight shape {tuple(weight.shape)})")
    out = convolution(wide(x), wide(weight), None if bias is None else wide(bias),
                      stride=stride, padding=padding, dilation=dilation, groups=int(groups))
    return as_given(out, input, dims)


def _transposed(name, dims, input, weight, bias, stride, padding, output_padding, groups, dilation):
    x = _checked(name, dims, input, weight, bias, groups, in_axis=0)
    stride = per_dimension(stride, dims, f"{name}: stride", 1)
    padding = per_dimension(padding, dims, f"{name}: padding")
    extra = per_dimension(output_padding, dims, f"{name}: output_padding")
    dilation = per_dimension(dilation, dims, f"{name}: dilation", 1)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"{name}: output_padding {extra} must be smaller than stride {stride} or dilation {dilation}")
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1
                 for n, s, p, d, k, e in zip(x.shape[2:], stride, padding, dilation, weight.shape[2:], extra))
    if min(size) < 1:
        raise ValueError(f"{name}: the result would have size {size} (input shape {tuple(input.shape)}, padding={padding})")
    out = convolution_input(wide(x), wide(weight), None if bias is None else wide(bias),
                            stride=stride, padding=padding, dilation=dilation, groups=int(groups), size=size)
    return as_given(out, input, dims)


def _conv(dims):
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
        """y[n, k, p] = b[k] + sum over c, i of w[k, c, i] x[n, c, stride p + dilation i - padding], zeros outside.

        p and i have {dims} component(s), one for each dimension of size. Shapes: input (N, C, *size) or one sample (C, *size),
        weight (K, C / groups, *kernel), bias (K,) -> (N, K, *size') or (K, *size') with, for each dimension,
        size' = (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1. stride, padding, dilation: an int, or one for each
        dimension. padding may be "valid", which is 0, or "same": as much as keeps the size at stride 1 (one more at the end than at the
        beginning if it is odd). The k-th of `groups` equal groups of output channels sees only the k-th group of input channels.
        Raises ValueError when the shapes do not fit, TypeError for mixed dtypes. float16 is added up in float32.
        """
        return _convolved(conv.__name__, dims, input, weight, bias, stride, padding, dilation, groups)

    return named(conv, f"conv{dims}d", dims)


def _conv_transpose(dims):
    def conv(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1):
        """The transpose of `conv{dims}d` as a linear map: x[n, c, stride p + dilation i - padding] += w[k, c, i] y[n, k, p].

        Padding crops here; output_padding adds at the end of each dimension, where the convolution's stride skipped something.
        Shapes: input (N, K, *size) or (K, *size), weight (K, C / groups, *kernel), bias (C,) -> (N, C, *size') or (C, *size') with
        size' = (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1 for each dimension. All but `groups` are an int
        or one for each dimension. The argument order is torch's: groups before dilation.
        Raises ValueError when the shapes do not fit, or output_padding is not smaller than stride or dilation.
        """
        return _transposed(conv.__name__, dims, input, weight, bias, stride, padding, output_padding, groups, dilation)

    return named(conv, f"conv_transpose{dims}d", dims)


conv1d, conv2d, conv3d = map(_conv, (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = map(_conv_transpose, (1, 2, 3))
