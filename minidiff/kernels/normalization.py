"""GroupNorm on the CPU: a block of images at a time, all passes over it before the next.

The readable twin is `grouped` in `minidiff.functional.normalization`. Sums over pixels are products with a vector of ones, which BLAS
does three times as fast as `sum` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import BLOCK, channels_first, channels_last, even_blocks, takes


def _pixels(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, H W, C), in channels-last memory."""
    x = channels_last(x)
    return x.reshape(x.shape[0], -1, x.shape[3])


def _averages(pixels: int, c: int, num_groups: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices: ones (1, pixels), so that ones @ x sums over pixels; and (C, C), so that sums @ it are the means of the groups."""
    group = np.arange(c) * num_groups // c
    same = (group[:, None] == group).astype(dtype)
    return np.ones((1, pixels), dtype), same / (pixels * (c // num_groups))


class GroupNorm:
    """Forward and backward of group normalization with per-channel weight and bias; see `functional.group_norm`."""

    def forward(self, input: Any, weight: Any, bias: Any, *, num_groups: int, eps: float) -> Any:
        """The result, and what the backward needs: the input, and mean and 1 / standard deviation for each image and channel."""
        if not takes(input, weight, bias) or input.ndim != 4 or not input.size:
            return NotImplemented
        x = _pixels(input)
        n, pixels, c = x.shape
        ones, averages = _averages(pixels, c, num_groups, x.dtype)
        out = np.empty_like(x)
        means, factors = np.empty((n, 1, c), x.dtype), np.empty((n, 1, c), x.dtype)
        blocks = even_blocks(n, BLOCK // (pixels * c))

        def block(index: int) -> None:
            part = blocks[index]
            target = out[part]
            centred = scratch("centred", target.shape, x.dtype)
            mean = ones @ x[part] @ averages
            np.subtract(x[part], mean, out=centred)
            rest = ones @ centred @ averages  # what rounding left of a large mean
            np.multiply(centred, centred, out=target)
            variance = ones @ target @ averages - rest * rest
            factor = 1.0 / np.sqrt(variance + eps)
            scale = factor if weight is None else factor * weight
            shift = -rest * scale if bias is None else bias - rest * scale
            np.multiply(centred, scale, out=target)
            np.add(target, shift, out=target)
            means[part], factors[part] = mean + rest, factor

        parallel(block, len(blocks))
        return channels_first(out.reshape(n, *input.shape[2:], c)), (x, weight, means, factors)

    def backward(self, g: np.ndarray, saved: Any, needs: list[bool], *, num_groups: int, eps: float) -> tuple[Any, Any, Any]:
        """dx = f w g - f mean(w g) - f^3 (x - m) mean(w g (x - m)),  dweight = sum f g (x - m),  dbias = sum g

        with f = 1 / standard deviation, m = mean, and mean() over the group (what follows from differentiating y = f w (x - m) + b).
        """
        x, weight, means, factors = saved
        y = _pixels(g)
        n, pixels, c = x.shape
        ones, averages = _averages(pixels, c, num_groups, x.dtype)
        w = np.ones(c, x.dtype) if weight is None else weight
        dx = np.empty_like(x)
        sums, products = np.empty((n, 1, c), x.dtype), np.empty((n, 1, c), x.dtype)
        blocks = even_blocks(n, BLOCK // (pixels * c))

        def block(index: int) -> None:
            part = blocks[index]
            target, f = dx[part], factors[part]
            centred = scratch("centred", target.shape, x.dtype)
            np.subtract(x[part], means[part], out=centred)
            np.multiply(y[part], centred, out=target)
            np.matmul(ones, y[part], out=sums[part])
            np.matmul(ones, target, out=products[part])
            mean_g, mean_gx = (sums[part] * w) @ averages, (products[part] * w) @ averages
            np.multiply(y[part], f * w, out=target)
            np.multiply(centred, f * f * f * mean_gx, out=centred)
            np.add(centred, f * mean_g, out=centred)
            np.subtract(target, centred, out=target)

        parallel(block, len(blocks))
        dweight = (products * factors).sum((0, 1)) if needs[1] else None
        dbias = sums.sum((0, 1)) if needs[2] else None
        return channels_first(dx.reshape(n, *g.shape[2:], c)), dweight, dbias


group_norm = GroupNorm()
