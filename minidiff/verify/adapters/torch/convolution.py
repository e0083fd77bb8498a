"""Convolution, products of matrices, pooling and resampling of the suite in PyTorch."""

from __future__ import annotations

import warnings

import torch
from torch.nn import functional as F

from minidiff.verify.adapters import by_names
from minidiff.verify.adapters.composed import factors, resizing


def conv(function):
    """A convolution. Padding "same" of an even kernel needs one more row on one side, and PyTorch warns that it copies the input for it."""
    def operation(inputs, settings):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths", UserWarning)
            return function(**inputs, **settings)

    return operation


CALLED = {
    "conv_transpose1d": F.conv_transpose1d, "conv_transpose2d": F.conv_transpose2d, "conv_transpose3d": F.conv_transpose3d,
    "linear": F.linear, "matmul": torch.matmul, "unfold": F.unfold, "fold": F.fold, "avg_pool2d": F.avg_pool2d,
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d, "interpolate": F.interpolate, "pixel_shuffle": F.pixel_shuffle,
    "pixel_unshuffle": F.pixel_unshuffle, "pad": F.pad,
}

OPERATIONS = {
    "conv1d": conv(F.conv1d), "conv2d": conv(F.conv2d), "conv3d": conv(F.conv3d),
    **{name: by_names(function) for name, function in CALLED.items()},
    **resizing(F),
    "einsum": lambda inputs, settings: torch.einsum(settings["equation"], *factors(inputs)),
}
