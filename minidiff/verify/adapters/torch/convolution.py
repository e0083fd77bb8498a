"""Convolution, products of matrices, pooling and resampling of the suite in PyTorch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from minidiff.verify.adapters import by_names

FACTORS = ("first", "second", "third")
"""The operands of einsum by name, in order."""


def downsample_conv2d(inputs, settings):
    return F.conv2d(F.pad(inputs["input"], settings["padding"]), inputs["weight"], inputs["bias"], stride=settings["stride"])


def upsample_conv2d(inputs, settings):
    larger = F.interpolate(inputs["input"], scale_factor=settings["scale_factor"], mode="nearest")
    return F.conv2d(larger, inputs["weight"], inputs["bias"], padding=settings["padding"])


def max_pool2d(inputs, settings):
    found = F.max_pool2d(**inputs, **settings)
    return dict(zip(("output", "indices"), found)) if settings["return_indices"] else found


def einsum(inputs, settings):
    return torch.einsum(settings["equation"], *(inputs[name] for name in FACTORS if name in inputs))


CALLED = {
    "conv1d": F.conv1d, "conv2d": F.conv2d, "conv3d": F.conv3d, "conv_transpose1d": F.conv_transpose1d,
    "conv_transpose2d": F.conv_transpose2d, "conv_transpose3d": F.conv_transpose3d, "linear": F.linear, "matmul": torch.matmul,
    "unfold": F.unfold, "fold": F.fold, "avg_pool2d": F.avg_pool2d, "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "interpolate": F.interpolate, "pixel_shuffle": F.pixel_shuffle, "pixel_unshuffle": F.pixel_unshuffle, "pad": F.pad,
}

OPERATIONS = {
    **{name: by_names(function) for name, function in CALLED.items()},
    **{function.__name__: function for function in (downsample_conv2d, upsample_conv2d, max_pool2d, einsum)},
}
