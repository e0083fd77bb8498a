"""Convolutions and transposed convolutions, one class for each direction; the number of dimensions is data."""

from __future__ import annotations

import math
from typing import Any

from minidiff import functional as F
from minidiff.functional.convolution import per_dimension
from minidiff.random import Generator

from .linear import empty, must_be_sizes, uniform_fan_in
from .module import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Weighted(Module):
    """What both directions share: options as tuples, weight and bias, how they print."""

    dimensions = 0

    def _prepare(
        self, in_channels: int, out_channels: int, weight_shape: tuple[int, int], groups: int, bias: bool, generator: Generator | None,
        **per_dimension_options: Any,
    ) -> None:
        kind = type(self).__name__
        must_be_sizes(kind, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{kind}: in_channels={in_channels} and out_channels={out_channels} do not both divide into {groups} groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        for name, value in per_dimension_options.items():
            least = 0 if name.endswith("padding") else 1
            setattr(self, name, value if isinstance(value, str) else per_dimension(value, self.dimensions, f"{kind}: {name}", least))
        first, second = weight_shape
        self.weight = empty(first, second // groups, *self.kernel_size)
        self.bias = empty(out_channels) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """New initial values: `uniform_fan_in`, where fan_in counts the weight's second axis, as in torch."""
        uniform_fan_in(self.weight, self.bias, math.prod(self.weight.shape[1:]), generator)

    def extra_repr(self) -> str:
        ones, zeros = (1,) * self.dimensions, (0,) * self.dimensions
        defaults = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1, "padding_mode": "zeros"}
        options = {name: vars(self)[name] for name, default in defaults.items() if vars(self).get(name, default) != default}
        options |= {"bias": False} if self.bias is None else {}
        return ", ".join([f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}",
                          *(f"{name}={value}" for name, value in options.items())])


class _Convolution(_Weighted):
    """A convolution; weight (out_channels, in_channels / groups, *kernel), bias (out_channels,).

    padding: an int, one a dimension, "same" (the size stays; stride 1) or "valid" (none); padding_mode: what is put there, "zeros" or
    a mode of `functional.pad`. See `functional.conv2d` for the rest.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None, *,
        generator: Generator | None = None,
    ) -> None:
        kind = type(self).__name__
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"{kind}: padding_mode={padding_mode!r}; expected one of {', '.join(PADDING_MODES)}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"{kind}: padding={padding!r}; expected numbers, 'same' or 'valid'")
        self.padding_mode = padding_mode
        self._prepare(in_channels, out_channels, (out_channels, in_channels), groups, bias, generator,
                      kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        if padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError(f"{kind}: padding='same' needs stride 1, got {self.stride}")
        self.to(device, dtype)

    def forward(self, input: Any) -> Any:
        """(N, in_channels, *size) -> (N, out_channels, *size'); N may be missing."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._widths(), mode=self.padding_mode), 0
        return type(self).function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _widths(self) -> tuple[int, ...]:
        """The padding as `functional.pad` wants it: before and after, from the last dimension forwards."""
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(p, p) for p in ((0,) * self.dimensions if self.padding == "valid" else self.padding)]
        return tuple(width for pair in reversed(pairs) for width in pair)


class _Transposed(_Weighted):
    """A transposed convolution; weight (in_channels, out_channels / groups, *kernel), bias (out_channels,).

    See `functional.conv_transpose2d`. padding_mode can only be "zeros".
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
        groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None, *,
        generator: Generator | None = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f"{type(self).__name__}: padding_mode={padding_mode!r}; a transposed convolution has only 'zeros'")
        self._prepare(in_channels, out_channels, (in_channels, out_channels), groups, bias, generator,
                      kernel_size=kernel_size, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation)
        self.to(device, dtype)

    def forward(self, input: Any, output_size: Any = None) -> Any:
        """(N, in_channels, *size) -> (N, out_channels, *size'); N may be missing. output_size: size', instead of output_padding."""
        output_padding = self.output_padding if output_size is None else self._reaching(tuple(output_size), input)
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation)

    def _reaching(self, output_size: tuple[int, ...], input: Any) -> tuple[int, ...]:
        """The output_padding that makes the output as large as asked for."""
        dims, size = self.dimensions, tuple(input.shape[-self.dimensions:])
        smallest = [(n - 1) * t - 2 * p + d * (k - 1) + 1
                    for n, t, p, d, k in zip(size, self.stride, self.padding, self.dilation, self.kernel_size)]
        wanted = output_size[len(output_size) - dims:] if len(output_size) in (dims, len(input.shape)) else ()
        if len(wanted) != dims or any(not 0 <= n - s < t for n, s, t in zip(wanted, smallest, self.stride)):
            largest = tuple(s + t - 1 for s, t in zip(smallest, self.stride))
            raise ValueError(f"{type(self).__name__}: output_size={output_size}; an input of size {size} can become "
                             f"{tuple(smallest)} to {largest}")
        return tuple(n - s for n, s in zip(wanted, smallest))


class Conv1d(_Convolution):
    dimensions, function = 1, staticmethod(F.conv1d)
    __doc__ = _Convolution.__doc__


class Conv2d(_Convolution):
    dimensions, function = 2, staticmethod(F.conv2d)
    __doc__ = _Convolution.__doc__


class Conv3d(_Convolution):
    dimensions, function = 3, staticmethod(F.conv3d)
    __doc__ = _Convolution.__doc__


class ConvTranspose1d(_Transposed):
    dimensions, function = 1, staticmethod(F.conv_transpose1d)
    __doc__ = _Transposed.__doc__


class ConvTranspose2d(_Transposed):
    dimensions, function = 2, staticmethod(F.conv_transpose2d)
    __doc__ = _Transposed.__doc__


class ConvTranspose3d(_Transposed):
    dimensions, function = 3, staticmethod(F.conv_transpose3d)
    __doc__ = _Transposed.__doc__
