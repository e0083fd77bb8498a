"""Layers: a function of `minidiff.functional` with the parameters it needs.

Names, arguments, parameter layouts and the distribution of the initial values are torch's. `generator` draws the initial
values; without one they differ from run to run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.functional.convolution import per_dimension
from minidiff.random import Generator

from .module import Module, Parameter, generator_or_fresh


def uniform_fan_in(shape: tuple[int, ...], fan_in: int, generator: Generator) -> Parameter:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what torch's linear and convolution layers start from (LeCun et al. 1998, Sec. 4.6)."""
    bound = 1.0 / math.sqrt(fan_in)
    return Parameter((2.0 * bound) * generator.random(shape) - np.float32(bound))


class Linear(Module):
    """y = x W^T + b; weight (out_features, in_features), bias (out_features,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, generator: Generator | None = None) -> None:
        generator = generator_or_fresh(generator)
        self.weight = uniform_fan_in((out_features, in_features), in_features, generator)
        self.bias = uniform_fan_in((out_features,), in_features, generator) if bias else None

    def forward(self, x: Any) -> Any:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(x, self.weight, self.bias)


class Conv2d(Module):
    """A convolution; weight (out_channels, in_channels / groups, kh, kw), bias (out_channels,). See `functional.conv2d`."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0, dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool = True, *,
        generator: Generator | None = None,
    ) -> None:
        generator = generator_or_fresh(generator)
        kernel = per_dimension(kernel_size, 2, "Conv2d: kernel_size", 1)
        fan_in = in_channels // groups * kernel[0] * kernel[1]
        self.weight = uniform_fan_in((out_channels, in_channels // groups, *kernel), fan_in, generator)
        self.bias = uniform_fan_in((out_channels,), fan_in, generator) if bias else None
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def forward(self, x: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        return F.conv2d(x, self.weight, self.bias, **self.options)


class ConvTranspose2d(Module):
    """A transposed convolution; weight (in_channels, out_channels / groups, kh, kw), bias (out_channels,).

    See `functional.conv_transpose2d`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0, output_padding: int | tuple[int, int] = 0, groups: int = 1, bias: bool = True,
        dilation: int | tuple[int, int] = 1, *, generator: Generator | None = None,
    ) -> None:
        generator = generator_or_fresh(generator)
        kernel = per_dimension(kernel_size, 2, "ConvTranspose2d: kernel_size", 1)
        fan_in = out_channels // groups * kernel[0] * kernel[1]  # torch counts the weight's second axis here too
        self.weight = uniform_fan_in((in_channels, out_channels // groups, *kernel), fan_in, generator)
        self.bias = uniform_fan_in((out_channels,), fan_in, generator) if bias else None
        self.options = {"stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups, "dilation": dilation}

    def forward(self, x: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        return F.conv_transpose2d(x, self.weight, self.bias, **self.options)


class GroupNorm(Module):
    """Group normalization; weight and bias (num_channels,). See `functional.group_norm`."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5) -> None:
        self.num_groups, self.eps = num_groups, eps
        self.weight = Parameter(np.ones(num_channels, np.float32))
        self.bias = Parameter(np.zeros(num_channels, np.float32))

    def forward(self, x: Any) -> Any:
        """(N, num_channels, ...) -> the same shape."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class Embedding(Module):
    """A table of vectors, weight (num_embeddings, embedding_dim), started from N(0, 1)."""

    def __init__(self, num_embeddings: int, embedding_dim: int, *, generator: Generator | None = None) -> None:
        self.weight = Parameter(generator_or_fresh(generator).standard_normal((num_embeddings, embedding_dim)))

    def forward(self, index: Any) -> Any:
        """Integers (...) -> (..., embedding_dim)."""
        return F.embedding(index, self.weight)


class Dropout(Module):
    """Dropout while training; the identity in evaluation. The generator is used, and moved on, at every call."""

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        self.p, self.generator = p, generator_or_fresh(generator)

    def forward(self, x: Any) -> Any:
        """Any shape -> the same shape."""
        return F.dropout(x, self.p, self.training, generator=self.generator)


class Function(Module):
    """A function without parameters as a module, with fixed options: Function(F.gelu), Function(F.max_pool2d, 2)."""

    def __init__(self, function: Any, *args: Any, **options: Any) -> None:
        self.function, self.args, self.options = function, args, options

    def forward(self, x: Any) -> Any:
        """function(x, *args, **options)."""
        return self.function(x, *self.args, **self.options)
