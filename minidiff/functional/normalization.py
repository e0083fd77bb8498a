"""Normalization: subtract a mean, divide by a standard deviation, taken over a set of elements that gives the member its name.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    group_norm      each sample, each group of channels     over its channels and positions
    instance_norm   each sample, each channel               over its positions
    layer_norm      each place of the leading dimensions    over the normalized shape
    batch_norm      each channel                            over samples and positions

All four are `grouped` with the dimensions in other roles. Variance is taken in two passes: E x^2 - (E x)^2 would lose everything at a
large mean. `rms_norm` and `normalize` divide by a size without subtracting a mean.
"""

from __future__ import annotations

import math

import numpy as np

from minidiff.autograd import composite, no_grad

from .door import must_be_real
from .elementwise import clamp, sqrt
from .precision import narrow, wide
from .reduction import axes, mean, norm, sum, var
from .shape import expand, permute, reshape

__all__ = ["batch_norm", "cosine_similarity", "group_norm", "instance_norm", "layer_norm", "normalize", "rms_norm", "running_statistics"]


@composite
def grouped(input, weight, bias, *, num_groups, eps):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and variance over each group of channels. (N, C, ...)"""
    n, c = input.shape[:2]
    x = reshape(wide(input), (n, num_groups, math.prod(input.shape[1:]) // num_groups))  # -1 cannot be told for an empty batch
    centred = x - mean(x, 2, keepdim=True)
    variance = mean(centred * centred, 2, keepdim=True)
    y = reshape(centred / sqrt(variance + eps), input.shape)
    return narrow(affine(y, weight, bias, (c, *(1,) * (len(input.shape) - 2))), input.dtype)


def affine(y, weight, bias, shape):
    """y weight + bias, both seen in this shape; None leaves one out."""
    y = y if weight is None else y * reshape(weight, shape)
    return y if bias is None else y + reshape(bias, shape)


def _must_have_shape(name, input, expected, **parameters):
    for what, x in parameters.items():
        if x is not None and tuple(x.shape) != tuple(expected):
            raise ValueError(f"{name}: {what} of shape {tuple(x.shape)}; an input of shape {tuple(input.shape)} asks for {tuple(expected)}")


def group_norm(input, num_groups: int, weight=None, bias=None, eps: float = 1e-5):
    """y = (x - mean) / sqrt(var + eps) * weight + bias                    Wu & He 2018, Eqs. 1-3

    Mean and (biased) variance are taken for each sample over each of num_groups groups of neighbouring channels and all
    positions. weight and bias are one number a channel.
    Shapes: input (N, C, ...), weight (C,), bias (C,) -> like input. Raises ValueError when they do not fit, or when there is but one
    element in all; TypeError unless the input is floating point.
    """
    if len(input.shape) < 2:
        raise ValueError(f"group_norm: expected an input (N, C, ...), got shape {tuple(input.shape)}")
    must_be_real("group_norm", input=input)
    c = input.shape[1]
    if num_groups < 1 or c % num_groups:
        divisors = ", ".join(str(d) for d in range(1, c + 1) if c % d == 0)
        raise ValueError(f"group_norm: {c} channels do not divide into {num_groups} groups (input shape {tuple(input.shape)}); "
                         f"choose num_groups from {divisors}")
    if math.prod(input.shape) == num_groups:
        raise ValueError(f"group_norm: expected more than 1 element to normalize, got one in each of {num_groups} groups "
                         f"(input shape {tuple(input.shape)}); choose fewer groups")
    _must_have_shape("group_norm", input, (c,), weight=weight, bias=bias)
    return grouped(input, weight, bias, num_groups=num_groups, eps=eps)


def _normalized_size(name, input, normalized_shape, **parameters):
    """How many elements are normalized together: the trailing dimensions of the input, which must be `normalized_shape`."""
    if not isinstance(normalized_shape, (tuple, list)) or not normalized_shape:
        raise TypeError(f"{name}: normalized_shape={normalized_shape!r}; expected a tuple or list of at least one size, "
                        f"such as {tuple(input.shape[-1:])}")
    shape = tuple(normalized_shape)
    if tuple(input.shape[-len(shape):]) != shape:
        raise ValueError(f"{name}: normalized_shape={shape}; the input has shape {tuple(input.shape)}, "
                         f"which ends in {tuple(input.shape[-len(shape):])}")
    must_be_real(name, input=input)
    _must_have_shape(name, input, shape, **parameters)
    return math.prod(shape)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps: float = 1e-5):
    """y = (x - mean) / sqrt(var + eps) * weight + bias                    Ba, Kiros & Hinton 2016, Eq. 4

    Mean and (biased) variance over the last dimensions, whose sizes are normalized_shape (a tuple or list).
    Shapes: input (..., *normalized_shape), weight and bias normalized_shape -> like input. Raises ValueError when they do not fit,
    TypeError for a normalized_shape that is none, or unless the input is floating point.
    """
    size = _normalized_size("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    rows = reshape(input, (math.prod(input.shape[:len(input.shape) - len(normalized_shape)]), size))
    weight, bias = (x if x is None else reshape(x, (size,)) for x in (weight, bias))
    return reshape(grouped(rows, weight, bias, num_groups=1, eps=eps), input.shape)


def _channels(name, input, least, running_mean, running_var, weight, bias):
    """The number of channels, after the checks that `instance_norm` and `batch_norm` share."""
    if len(input.shape) < least:
        raise ValueError(f"{name}: expected an input (N, C{', L' if least == 3 else ''}, ...), got shape {tuple(input.shape)}")
    must_be_real(name, input=input)
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{name}: running_mean and running_var belong together: give both or neither")
    c = input.shape[1]
    _must_have_shape(name, input, (c,), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    return c


def _by_known_statistics(name, use, input, running_mean, running_var, weight, bias, eps):
    """y = (x - running_mean) / sqrt(running_var + eps) * weight + bias, one number a channel each."""
    if running_mean is None:
        raise ValueError(f"{name}: without {use} it normalizes by running_mean and running_var; give them, or {use}=True")
    if eps < 0.0:
        raise ValueError(f"{name}: eps={eps}; expected at least 0")
    shape = (input.shape[1], *(1,) * (len(input.shape) - 2))
    scale = 1.0 / sqrt(wide(running_var) + eps)
    scale = scale if weight is None else scale * weight
    return narrow(affine(wide(input) - reshape(wide(running_mean), shape), scale, bias, shape), input.dtype)


def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats: bool = True, momentum: float = 0.1,
    eps: float = 1e-5,
):
    """y = (x - mean) / sqrt(var + eps) * weight + bias                    Ulyanov et al. 2016, Eq. 5

    Mean and (biased) variance are taken over the positions of each channel of each sample; without use_input_stats they are
    running_mean and running_var. Neither is written to, so momentum has no effect here: see `running_statistics`.
    Shapes: input (N, C, L, ...), the others (C,) -> like input. Raises ValueError when they do not fit, or for a single position.
    """
    c = _channels("instance_norm", input, 3 if use_input_stats else 2, running_mean, running_var, weight, bias)
    if not use_input_stats:
        return _by_known_statistics("instance_norm", "use_input_stats", input, running_mean, running_var, weight, bias, eps)
    if math.prod(input.shape[2:]) == 1:
        raise ValueError(f"instance_norm: expected more than 1 position to normalize over, got input shape {tuple(input.shape)}")
    return grouped(input, weight, bias, num_groups=max(c, 1), eps=eps)


def batch_norm(
    input, running_mean, running_var, weight=None, bias=None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
):
    """y = (x - mean) / sqrt(var + eps) * weight + bias                    Ioffe & Szegedy 2015, Algorithm 1

    In training, mean and (biased) variance are taken over the samples and positions of each channel; else they are running_mean and
    running_var. Neither is written to, so momentum has no effect here: see `running_statistics`.
    Shapes: input (N, C, ...), the others (C,) or None -> like input. Raises ValueError when they do not fit, or for one value a channel.
    """
    c = _channels("batch_norm", input, 2, running_mean, running_var, weight, bias)
    if not training:
        return _by_known_statistics("batch_norm", "training", input, running_mean, running_var, weight, bias, eps)
    size = input.shape[0] * math.prod(input.shape[2:])
    if size == 1:
        raise ValueError(f"batch_norm: expected more than 1 value per channel when training, got input shape {tuple(input.shape)}")
    if eps <= 0.0:
        raise ValueError(f"batch_norm: eps={eps}; expected a positive number when training")
    n, last = len(input.shape), permute(input, (0, *range(2, len(input.shape)), 1))  # a view of channels-last memory, as is all of this
    one_sample = permute(reshape(last, (1, size, 1, c)), (0, 3, 1, 2))
    y = grouped(one_sample, weight, bias, num_groups=max(c, 1), eps=eps)
    return permute(reshape(permute(y, (0, 2, 3, 1)), last.shape), (0, n - 1, *range(1, n - 1)))


def running_statistics(input, running_mean, running_var, momentum: float = 0.1, *, each_sample: bool = False) -> tuple:
    """The running mean and variance after a batch: (1 - momentum) old + momentum new, of each channel's mean and unbiased variance.

    each_sample: the mean over the samples of each one's statistics, as `instance_norm` wants them. An empty batch changes nothing.
    Shapes: input (N, C, ...), running_mean and running_var (C,) -> the same two. No gradients. Raises ValueError when they do not fit.
    """
    _channels("running_statistics", input, 2, running_mean, running_var, None, None)
    with no_grad():
        if not math.prod(input.shape):
            return running_mean, running_var
        x = wide(input)
        over = tuple(range(2, len(input.shape))) if each_sample else (0, *range(2, len(input.shape)))
        statistics = mean(x, over), var(x, over, correction=1)
        return tuple(narrow((1.0 - momentum) * wide(old) + momentum * (mean(new, 0) if each_sample else new), old.dtype)
                     for old, new in zip((running_mean, running_var), statistics))


# -- divided by a size -----------------------------------------------------------------------------------------------


def rms_norm(input, normalized_shape, weight=None, eps: float | None = None):
    """y = x / sqrt(mean(x^2) + eps) * weight                              Zhang & Sennrich 2019, Eq. 4

    The mean is over the last dimensions, whose sizes are normalized_shape (a tuple or list). eps: None is the spacing of the input's
    dtype at 1. Shapes: input (..., *normalized_shape), weight normalized_shape -> like input. Raises as `layer_norm` does.
    """
    _normalized_size("rms_norm", input, normalized_shape, weight=weight)
    x, over = wide(input), tuple(range(-len(normalized_shape), 0))
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    return narrow(affine(x / sqrt(mean(x * x, over, keepdim=True) + eps), weight, None, normalized_shape), input.dtype)


def normalize(input, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12):
    """y = x / max(||x||_p, eps), the norm along `dim` (an int or several).

    Any shape with that dimension -> like input. Raises IndexError for a wrong dim, TypeError unless the input is floating point.
    """
    must_be_real("normalize", input=input)
    over = axes(dim, len(input.shape), "normalize")
    if not math.prod(input.shape):
        return input
    x = wide(input)
    return narrow(x / clamp(norm(x, p, over, keepdim=True), min=eps), input.dtype)


def cosine_similarity(x1, x2, dim: int = 1, eps: float = 1e-8):
    """cos(x1, x2) = sum_i x1_i / max(||x1||, eps) x2_i / max(||x2||, eps) along `dim`.

    Shapes broadcast; the result has theirs without `dim`. Raises ValueError when they do not, IndexError for a wrong dim,
    TypeError unless both are floating point.
    """
    try:
        shape = np.broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
    except ValueError:
        raise ValueError(f"cosine_similarity: shapes {tuple(x1.shape)} and {tuple(x2.shape)} do not broadcast") from None
    must_be_real("cosine_similarity", x1=x1, x2=x2)
    over = axes(dim, len(shape), "cosine_similarity")
    directions = [normalize(expand(wide(x), shape), 2.0, over, eps) for x in (x1, x2)]
    return narrow(sum(directions[0] * directions[1], over), np.promote_types(x1.dtype, x2.dtype))
