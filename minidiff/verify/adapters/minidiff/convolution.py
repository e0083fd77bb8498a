"""Convolution, products of matrices, pooling and resampling of the suite in minidiff."""

from __future__ import annotations

from minidiff import functional as F
from minidiff.verify.adapters import by_names
from minidiff.verify.adapters.composed import factors, resizing


def rearrange(inputs, settings):
    """`F.rearrange`, the lengths of axes by name."""
    return F.rearrange(inputs["input"], settings["pattern"], **settings["axes_lengths"])


OPERATIONS = {
    **{function.__name__: by_names(function) for function in (
        F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.linear, F.matmul, F.unfold, F.fold,
        F.avg_pool2d, F.adaptive_avg_pool2d, F.interpolate, F.pixel_shuffle, F.pixel_unshuffle, F.pad)},
    **resizing(F),
    "einsum": lambda inputs, settings: F.einsum(settings["equation"], *factors(inputs)),
    "rearrange": rearrange,
}
