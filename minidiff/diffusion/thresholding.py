"""Keeping the predicted data in the range of images, [-1, 1].

Guidance pushes x_0 out of it, and a walk fed with such predictions saturates. Both functions here are a `denoised_fn` of `sample` and of
`p_mean_variance`, as they are or with `functools.partial`. Stands on `arrays`. Read `bound` next.
"""

from __future__ import annotations

import math
from typing import Any

from minidiff.diffusion.arrays import check_batch, check_numbers, sort

__all__ = ["dynamic_threshold", "static_threshold"]


def static_threshold(x_start: Any, max_value: float = 1.0) -> Any:
    """Clip to [-max_value, max_value]; with 1 the same as `clip_denoised`. Saharia et al. 2022 (Imagen), Section 2.3.

    x_start: (N, ...). Raises ValueError for a max_value that is not above 0.
    """
    check_batch("static_threshold", x_start, "x_start")
    check_numbers("static_threshold", max_value=max_value)
    if not max_value > 0:
        raise ValueError(f"static_threshold: expected a max_value above 0, got {max_value}")
    return x_start.clip(-max_value, max_value)


def dynamic_threshold(x_start: Any, ratio: float = 0.995, max_value: float = math.inf) -> Any:
    """Clip to a range that holds most of each sample, and shrink that range to [-1, 1]. Saharia et al. 2022 (Imagen), Section 2.3.

        s = the quantile `ratio` of |x_0| over one sample, at least 1, at most max_value
        x_0 <- clip(x_0, -s, s) / s

    A sample whose s is 1 is only clipped. max_value is diffusers' `sample_max_value`; its default there, 1, leaves nothing of the method.
    x_start: (N, ...), samples not empty. Returns an array like x_start, in [-1, 1].
    Raises ValueError for a ratio outside [0, 1], a max_value below 1, or empty samples.
    """
    check_batch("dynamic_threshold", x_start, "x_start")
    check_numbers("dynamic_threshold", ratio=ratio, max_value=max_value)
    if not 0 <= ratio <= 1:
        raise ValueError(f"dynamic_threshold: expected a ratio between 0 and 1, got {ratio}")
    if not max_value >= 1:
        raise ValueError(f"dynamic_threshold: expected a max_value of at least 1, got {max_value}")
    s = quantile(x_start, ratio).clip(1.0, max_value)
    return (x_start / s).clip(-1.0, 1.0)


def quantile(x: Any, ratio: float) -> Any:
    """The quantile of |x| over each of the batch, interpolated between neighbours: (N, 1, ..., 1) for x (N, ...)."""
    size = math.prod(x.shape[1:])
    if size == 0:
        raise ValueError(f"dynamic_threshold: expected samples that are not empty, got shape {tuple(x.shape)}")
    ordered = sort(abs(x).reshape(x.shape[0], size))
    place = ratio * (size - 1)
    below = int(place)
    above = min(below + 1, size - 1)
    low, high = ordered[:, below:below + 1], ordered[:, above:above + 1]
    return (low + (place - below) * (high - low)).reshape(x.shape[0], *(1,) * (len(x.shape) - 1))
