"""Normalization: subtract a mean, divide by a standard deviation, taken over a set of elements that gives the member its name."""

from __future__ import annotations

import math

from minidiff.autograd import composite

from .elementwise import sqrt
from .reduction import mean
from .shape import reshape

__all__ = ["group_norm"]


@composite
def grouped(input, weight, bias, *, num_groups, eps):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and variance over each group of channels. (N, C, ...)"""
    n, c = input.shape[:2]
    x = reshape(input, (n, num_groups, math.prod(input.shape[1:]) // num_groups))  # -1 cannot be told for an empty batch
    centred = x - mean(x, 2, keepdim=True)
    variance = mean(centred * centred, 2, keepdim=True)
    y = reshape(centred / sqrt(variance + eps), input.shape)
    per_channel = (1, c, *(1,) * (len(input.shape) - 2))
    y = y if weight is None else y * reshape(weight, per_channel)
    return y if bias is None else y + reshape(bias, per_channel)


def group_norm(input, num_groups: int, weight=None, bias=None, eps: float = 1e-5):
    """y = (x - mean) / sqrt(var + eps) * weight + bias                    Wu & He 2018, Eqs. 1-3

    Mean and (biased) variance are taken for each sample over each of num_groups groups of neighbouring channels and all
    positions, in two passes: E x^2 - (E x)^2 would lose everything at a large mean. weight and bias are one number a channel.
    Shapes: input (N, C, ...), weight (C,), bias (C,) -> like input. Raises ValueError when they do not fit.
    """
    if len(input.shape) < 2:
        raise ValueError(f"group_norm: expected an input (N, C, ...), got shape {tuple(input.shape)}")
    c = input.shape[1]
    if num_groups < 1 or c % num_groups:
        divisors = ", ".join(str(d) for d in range(1, c + 1) if c % d == 0)
        raise ValueError(f"group_norm: {c} channels do not divide into {num_groups} groups (input shape {tuple(input.shape)}); "
                         f"choose num_groups from {divisors}")
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and tuple(parameter.shape) != (c,):
            raise ValueError(f"group_norm: {name} of shape {tuple(parameter.shape)}; "
                             f"an input of shape {tuple(input.shape)} asks for ({c},)")
    return grouped(input, weight, bias, num_groups=num_groups, eps=eps)
