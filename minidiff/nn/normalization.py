"""Normalization layers, thin over `functional.normalization`; those with running statistics keep them as buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.autograd.mode import is_recomputing
from minidiff.functional.normalization import running_statistics

from . import init
from .linear import empty, must_be_sizes
from .module import Module

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "RMSNorm",
]


class _Normalization(Module):
    """weight (starts at 1) and bias (starts at 0), which may be missing. shown: what is printed, the first `sizes` without their names."""

    sizes = 1
    shown: tuple[str, ...] = ()

    def _sizes(self, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
        sizes = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        for size in sizes:
            must_be_sizes(type(self).__name__, normalized_shape=size)
        return sizes

    def _affine(self, shape: tuple[int, ...], weight: bool, bias: bool) -> None:
        self.weight = empty(*shape) if weight else None
        self.bias = empty(*shape) if weight and bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return ", ".join(f"{vars(self)[name]}" if i < self.sizes else f"{name}={vars(self)[name]}" for i, name in enumerate(self.shown))


class GroupNorm(_Normalization):
    """Group normalization; weight and bias (num_channels,). See `functional.group_norm`."""

    sizes, shown = 2, ("num_groups", "num_channels", "eps", "affine")

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None, dtype: Any = None, *,
        bias: bool = True,
    ) -> None:
        must_be_sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._affine((num_channels,), affine, bias)
        self.to(device, dtype)

    def forward(self, input: Any) -> Any:
        """(N, num_channels, ...) -> the same shape."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class LayerNorm(_Normalization):
    """Layer normalization; weight and bias have the normalized shape. See `functional.layer_norm`."""

    shown = ("normalized_shape", "eps", "elementwise_affine")

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:
        self.normalized_shape = self._sizes(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._affine(self.normalized_shape, elementwise_affine, bias)
        self.to(device, dtype)

    def forward(self, input: Any) -> Any:
        """(..., *normalized_shape) -> the same shape."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(_Normalization):
    """Root mean square normalization; weight has the normalized shape. See `functional.rms_norm`."""

    shown = ("normalized_shape", "eps", "elementwise_affine")

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = self._sizes(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._affine(self.normalized_shape, elementwise_affine, False)
        self.to(device, dtype)

    def forward(self, input: Any) -> Any:
        """(..., *normalized_shape) -> the same shape."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class _Running(_Normalization):
    """One number a channel each: weight, bias and, with track_running_stats, the buffers running_mean and running_var.

    In training they move towards the statistics of each batch by `momentum`. In evaluation they take the place of the batch's statistics.
    """

    shown = ("num_features", "eps", "momentum", "affine", "track_running_stats")
    ranks: tuple[int, ...] = ()

    def _prepare(self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool, bias: bool,
                 device: Any, dtype: Any) -> None:
        must_be_sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, np.zeros(num_features, np.float32) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", np.array(0) if track_running_stats else None)
        self._affine((num_features,), affine, bias)
        self.to(device, dtype)

    def reset_running_stats(self) -> None:
        """running_mean 0, running_var 1, and no batches tracked."""
        if self.running_mean is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            self.num_batches_tracked = self.num_batches_tracked * 0

    def reset_parameters(self) -> None:
        """weight 1, bias 0, and the running statistics at their beginning."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check(self, input: Any) -> None:
        if len(input.shape) not in self.ranks:
            raise ValueError(f"{type(self).__name__}: expected an input of {' or '.join(map(str, self.ranks))} dimensions, "
                             f"got shape {tuple(input.shape)}")

    def _track(self, input: Any, momentum: float, each_sample: bool) -> None:
        """Let the running statistics follow a batch."""
        self.running_mean, self.running_var = running_statistics(
            input, self.running_mean, self.running_var, momentum, each_sample=each_sample)


class _BatchNorm(_Running):
    """Batch normalization; all its numbers are (num_features,). See `functional.batch_norm`.

    momentum=None: the running statistics are the mean over all batches so far, which num_batches_tracked counts.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:
        self._prepare(num_features, eps, momentum, affine, track_running_stats, bias, device, dtype)

    def forward(self, input: Any) -> Any:
        """(N, num_features, ...) -> the same shape."""
        self._check(input)
        by_batch = self.training or self.running_mean is None
        output = F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, by_batch, 0.0, self.eps)
        if self.training and self.running_mean is not None and not is_recomputing():
            self.num_batches_tracked = self.num_batches_tracked + 1
            momentum = 1.0 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            self._track(input, momentum, each_sample=False)
        return output


class BatchNorm1d(_BatchNorm):
    ranks = (2, 3)
    __doc__ = _BatchNorm.__doc__


class BatchNorm2d(_BatchNorm):
    ranks = (4,)
    __doc__ = _BatchNorm.__doc__


class BatchNorm3d(_BatchNorm):
    ranks = (5,)
    __doc__ = _BatchNorm.__doc__


class _InstanceNorm(_Running):
    """Instance normalization; all its numbers are (num_features,). See `functional.instance_norm`."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False, track_running_stats: bool = False,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:
        self._prepare(num_features, eps, momentum, affine, track_running_stats, bias, device, dtype)

    def forward(self, input: Any) -> Any:
        """(N, num_features, ...) -> the same shape; N may be missing."""
        self._check(input)
        batch = input if len(input.shape) == self.ranks[1] else F.unsqueeze(input, 0)
        by_sample = self.training or self.running_mean is None
        output = F.instance_norm(batch, self.running_mean, self.running_var, self.weight, self.bias, by_sample, 0.0, self.eps)
        if self.training and self.running_mean is not None and not is_recomputing():
            self._track(batch, self.momentum, each_sample=True)
        return output if batch is input else F.squeeze(output, 0)


class InstanceNorm1d(_InstanceNorm):
    ranks = (2, 3)
    __doc__ = _InstanceNorm.__doc__


class InstanceNorm2d(_InstanceNorm):
    ranks = (3, 4)
    __doc__ = _InstanceNorm.__doc__


class InstanceNorm3d(_InstanceNorm):
    ranks = (4, 5)
    __doc__ = _InstanceNorm.__doc__
