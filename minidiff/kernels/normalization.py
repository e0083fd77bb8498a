"""GroupNorm on the CPU: one image at a time, all its passes while it is in cache.

The readable twin is `grouped` in `minidiff.functional.normalization`. Sums over pixels are products with a vector of ones, which BLAS
does three times as fast as `sum` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import channels_first, channels_last, takes


BLOCK = 65536  # elements: a block of whole images, with its two buffers, stays in a core's second-level cache


def _pixels(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, H W, C), in channels-last memory."""
    x = channels_last(x)
    return x.reshape(x.shape[0], -1, x.shape[3])


def _blocks(shape: tuple[int, ...]) -> list[slice]:
    n, pixels, c = shape
    size = max(1, BLOCK // (pixels * c))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _over_pixels(x: np.ndarray) -> np.ndarray:
    """(n, pixels, C) -> (n, 1, C): sums over the pixels."""
    return np.ones((1, x.shape[1]), x.dtype) @ x


def _group_mean(sums: np.ndarray, num_groups: int, count: int) -> np.ndarray:
    """(n, 1, C) sums over pixels -> (n, 1, C): for each channel the mean over its group, of `count` elements."""
    n, _, c = sums.shape
    return np.repeat(sums.reshape(n, num_groups, -1).sum(2) / count, c // num_groups, axis=1)[:, None]


class GroupNorm:
    """Forward and backward of group normalization with per-channel weight and bias; see `functional.group_norm`."""

    def forward(self, input: Any, weight: Any, bias: Any, *, num_groups: int, eps: float) -> Any:
        """The result, and what the backward needs: the input, and mean and 1 / standard deviation for each image and channel."""
        if not takes(input, weight, bias) or input.ndim != 4 or not input.size:
            return NotImplemented
        x = _pixels(input)
        n, pixels, c = x.shape
        count = pixels * (c // num_groups)
        out = np.empty_like(x)
        means, factors = np.empty((n, 1, c), x.dtype), np.empty((n, 1, c), x.dtype)
        blocks = _blocks(x.shape)

        def block(index: int) -> None:
            part = blocks[index]
            target = out[part]
            centred = scratch("centred", target.shape, x.dtype)
            mean = _group_mean(_over_pixels(x[part]), num_groups, count)
            np.subtract(x[part], mean, out=centred)
            rest = _group_mean(_over_pixels(centred), num_groups, count)  # what rounding left of a large mean
            np.multiply(centred, centred, out=target)
            variance = _group_mean(_over_pixels(target), num_groups, count) - rest * rest
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
        count = pixels * (c // num_groups)
        w = np.ones(c, x.dtype) if weight is None else weight
        dx = np.empty_like(x)
        sums, products = np.empty((n, 1, c), x.dtype), np.empty((n, 1, c), x.dtype)
        blocks = _blocks(x.shape)

        def block(index: int) -> None:
            part = blocks[index]
            target, f = dx[part], factors[part]
            centred = scratch("centred", target.shape, x.dtype)
            np.subtract(x[part], means[part], out=centred)
            np.multiply(y[part], centred, out=target)
            sums[part], products[part] = _over_pixels(y[part]), _over_pixels(target)
            mean_g = _group_mean(sums[part] * w, num_groups, count)
            mean_gx = _group_mean(products[part] * w, num_groups, count)
            np.multiply(y[part], f * w, out=target)
            np.multiply(centred, f * f * f * mean_gx, out=centred)
            np.add(centred, f * mean_g, out=centred)
            np.subtract(target, centred, out=target)

        parallel(block, len(blocks))
        dweight = (products * factors).sum((0, 1)) if needs[1] else None
        dbias = sums.sum((0, 1)) if needs[2] else None
        return channels_first(dx.reshape(n, *g.shape[2:], c)), dweight, dbias


group_norm = GroupNorm()
