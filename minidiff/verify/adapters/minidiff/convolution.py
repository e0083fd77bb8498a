"""Convolution, products of matrices, pooling and resampling of the suite in minidiff."""

from __future__ import annotations

from minidiff import functional as F
from minidiff.verify.adapters import by_names

FACTORS = ("first", "second", "third")
"""The operands of einsum by name, in order."""


def downsample_conv2d(inputs, settings):
    padded = F.pad(inputs["input"], settings["padding"])
    return F.conv2d(padded, inputs["weight"], inputs["bias"], stride=settings["stride"])


def upsample_conv2d(inputs, settings):
    larger = F.interpolate(inputs["input"], scale_factor=settings["scale_factor"], mode="nearest")
    return F.conv2d(larger, inputs["weight"], inputs["bias"], padding=settings["padding"])


def max_pool2d(inputs, settings):
    found = F.max_pool2d(**inputs, **settings)
    return dict(zip(("output", "indices"), found)) if settings["return_indices"] else found


def einsum(inputs, settings):
    return F.einsum(settings["equation"], *(inputs[name] for name in FACTORS if name in inputs))


def rearrange(inputs, settings):
    return F.rearrange(inputs["input"], settings["pattern"], **settings["axes_lengths"])


OPERATIONS = {
    **{function.__name__: by_names(function) for function in (
        F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.linear, F.matmul, F.unfold, F.fold,
        F.avg_pool2d, F.adaptive_avg_pool2d, F.interpolate, F.pixel_shuffle, F.pixel_unshuffle, F.pad)},
    **{function.__name__: function for function in (downsample_conv2d, upsample_conv2d, max_pool2d, einsum, rearrange)},
}
