"""Normalization on the CPU: a block of images (GroupNorm) or rows (LayerNorm) at a time, all passes over it before the next; where
the statistics are over a whole batch (BatchNorm) one pass over all blocks after the other.

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


class Images:
    """Forward and backward for (N, C, H, W) with per-channel weight and bias; see `functional.group_norm`."""

    def forward(self, input: Any, weight: Any, bias: Any, *, num_groups: int, eps: float) -> Any:
        """The result, and what the backward needs: the input, and mean and 1 / standard deviation for each image and channel."""
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


class Rows:
    """Forward and backward for (N, C) in one group, each row on its own, with per-column weight and bias; see `functional.layer_norm`."""

    def forward(self, x: Any, weight: Any, bias: Any, *, num_groups: int, eps: float) -> Any:
        """The result, and what the backward needs: the input, and mean and 1 / standard deviation of each row."""
        n, c = x.shape
        out = np.empty((n, c), x.dtype)
        means, factors = np.empty((n, 1), x.dtype), np.empty((n, 1), x.dtype)
        blocks = even_blocks(n, BLOCK // c)

        def block(index: int) -> None:
            part = blocks[index]
            target = out[part]
            np.mean(x[part], axis=1, keepdims=True, out=means[part])
            np.subtract(x[part], means[part], out=target)
            factors[part, 0] = 1.0 / np.sqrt(np.einsum("nc,nc->n", target, target) / c + eps)
            np.multiply(target, factors[part], out=target)
            if weight is not None:
                np.multiply(target, weight, out=target)
            if bias is not None:
                np.add(target, bias, out=target)

        parallel(block, len(blocks))
        return out, (x, weight, means, factors)

    def backward(self, g: np.ndarray, saved: Any, needs: list[bool], *, num_groups: int, eps: float) -> tuple[Any, Any, Any]:
        """dx = f (w g - mean(w g) - y mean(w g y)),  dweight = sum g y,  dbias = sum g, with y = f (x - m) and mean() over a row."""
        x, weight, means, factors = saved
        n, c = x.shape
        dx = np.empty((n, c), x.dtype)
        blocks = even_blocks(n, BLOCK // c)
        sums = np.empty((2, len(blocks), c), x.dtype)

        def block(index: int) -> None:
            part = blocks[index]
            target = dx[part]
            y, ones = scratch("centred", target.shape, x.dtype), np.ones(len(target), x.dtype)
            np.subtract(x[part], means[part], out=y)
            np.multiply(y, factors[part], out=y)
            np.multiply(g[part], y, out=target)
            np.matmul(ones, target, out=sums[0, index])
            np.matmul(ones, g[part], out=sums[1, index])
            wg = g[part] if weight is None else np.multiply(g[part], weight, out=target)
            mean_g, mean_gy = wg.mean(axis=1, keepdims=True), np.einsum("nc,nc->n", wg, y)[:, None] / c
            np.multiply(y, mean_gy, out=y)
            np.add(y, mean_g, out=y)
            np.subtract(wg, y, out=target)
            np.multiply(target, factors[part], out=target)

        parallel(block, len(blocks))
        dweight, dbias = (total if need else None for total, need in zip(sums.sum(1), needs[1:]))
        return dx, dweight, dbias


ROWS = 256  # that BLAS may add up in the array's own dtype


def _column_sums(x: np.ndarray) -> np.ndarray:
    """(n, C) -> (C,) in float64: ROWS rows are added up at a time, their sums in double precision."""
    n, c = x.shape
    whole = n // ROWS
    sums = np.matmul(np.ones((1, ROWS), x.dtype), x[:whole * ROWS].reshape(whole, ROWS, c)).sum((0, 1), dtype=np.float64)
    return sums + x[whole * ROWS:].sum(0, dtype=np.float64) if n % ROWS else sums


class Columns:
    """Forward and backward for one image with a group for each channel: columns of a matrix (pixels, C); see `functional.batch_norm`."""

    def forward(self, input: Any, weight: Any, bias: Any, *, num_groups: int, eps: float) -> Any:
        """The result, and what the backward needs: the input, and mean and 1 / standard deviation of each column, in float64."""
        x = _pixels(input)[0]
        n, c = x.shape
        out = np.empty_like(x)
        blocks = even_blocks(n, BLOCK // c)
        sums, rests, squares = np.empty((3, len(blocks), c))

        def add(index: int) -> None:
            sums[index] = _column_sums(x[blocks[index]])

        parallel(add, len(blocks))
        mean = sums.sum(0) / n
        rounded = mean.astype(x.dtype)

        def add_squares(index: int) -> None:
            part = blocks[index]
            target = out[part]
            square = scratch("centred", target.shape, x.dtype)
            np.subtract(x[part], rounded, out=target)
            np.multiply(target, target, out=square)
            rests[index], squares[index] = _column_sums(target), _column_sums(square)

        parallel(add_squares, len(blocks))
        rest = rests.sum(0) / n  # what rounding left of a large mean
        factor = 1.0 / np.sqrt(squares.sum(0) / n - rest * rest + eps)
        scale = factor if weight is None else factor * weight
        shift = (-rest * scale if bias is None else bias - rest * scale).astype(x.dtype)
        scale = scale.astype(x.dtype)

        def finish(index: int) -> None:
            target = out[blocks[index]]
            np.multiply(target, scale, out=target)
            np.add(target, shift, out=target)

        parallel(finish, len(blocks))
        return channels_first(out.reshape(1, *input.shape[2:], c)), (x, weight, rounded, rest, factor)

    def backward(self, g: np.ndarray, saved: Any, needs: list[bool], *, num_groups: int, eps: float) -> tuple[Any, Any, Any]:
        """dx = f w (g - mean(g) - f^2 (x - m) mean(g (x - m))),  dweight = sum f g (x - m),  dbias = sum g, with mean() over a column."""
        x, weight, rounded, rest, f = saved
        y = _pixels(g)[0]
        n, c = x.shape
        dx = np.empty_like(x)
        blocks = even_blocks(n, BLOCK // c)
        sums, products = np.empty((2, len(blocks), c))

        def add(index: int) -> None:
            part = blocks[index]
            product = scratch("centred", dx[part].shape, x.dtype)
            np.subtract(x[part], rounded, out=product)
            np.multiply(y[part], product, out=product)
            sums[index], products[index] = _column_sums(y[part]), _column_sums(product)

        parallel(add, len(blocks))
        sum_g = sums.sum(0)
        sum_gx = products.sum(0) - rest * sum_g
        scale = f if weight is None else f * weight
        slope = scale * f * f * sum_gx / n
        factor, slope, shift = (v.astype(x.dtype) for v in (scale, slope, scale * sum_g / n - slope * rest))

        def finish(index: int) -> None:
            part = blocks[index]
            target = dx[part]
            centred = scratch("centred", target.shape, x.dtype)
            np.subtract(x[part], rounded, out=centred)
            np.multiply(centred, slope, out=centred)
            np.multiply(y[part], factor, out=target)
            np.subtract(target, centred, out=target)
            np.subtract(target, shift, out=target)

        parallel(finish, len(blocks))
        dweight, dbias = ((total.astype(x.dtype) if need else None) for total, need in zip((f * sum_gx, sum_g), needs[1:]))
        return channels_first(dx.reshape(1, *g.shape[2:], c)), dweight, dbias


class Normalization:
    """The kernel of `grouped`: by images, by rows or by columns."""

    def forward(self, input: Any, weight: Any, bias: Any, *, num_groups: int, eps: float) -> Any:
        """The result, and what the backward needs."""
        if not takes(input, weight, bias) or not input.size:
            return NotImplemented
        if input.ndim == 4:
            kernel = columns if len(input) == 1 and num_groups == input.shape[1] else images
        elif input.ndim == 2 and num_groups == 1:
            kernel = rows
        else:
            return NotImplemented
        out, saved = kernel.forward(input, weight, bias, num_groups=num_groups, eps=eps)
        return out, (kernel, saved)

    def backward(self, g: np.ndarray, saved: Any, needs: list[bool], *, num_groups: int, eps: float) -> tuple[Any, Any, Any]:
        """The gradients of input, weight and bias."""
        kernel, saved = saved
        return kernel.backward(g, saved, needs, num_groups=num_groups, eps=eps)


images, rows, columns, group_norm = Images(), Rows(), Columns(), Normalization()
