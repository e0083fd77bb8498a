"""Convolution on the CPU: per block of images, lay the windows out as rows, then one matrix product for each group of channels.

The readable twins are `_convolve`, `_convolve_input` and `_convolve_weight` in `minidiff.functional.convolution`. The rows of a block
(im2col) stay in a core's cache, threads take shares of the blocks, and nothing larger than the result is ever allocated.
In shapes, `size`, `out`, `kernel` stand for one number for each dimension, G for the groups, c and k for the channels of a group.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import channels_first, channels_last, shares, takes

Sizes = tuple[int, ...]  # one for each dimension
ACCUMULATORS = 8  # partial sums of a weight gradient


def _fits(*arrays: np.ndarray | None) -> bool:
    return takes(*arrays) and all(x is None or x.size for x in arrays)


def _by_group(x: np.ndarray, groups: int) -> np.ndarray:
    """(n, *size, channels) -> (G, n size, channels / G), a view: the matrices of a product for each group."""
    return x.reshape(-1, groups, x.shape[-1] // groups).transpose(1, 0, 2)


def _matrices(weight: np.ndarray, groups: int) -> np.ndarray:
    """(G k, c, *kernel) -> (G, k, kernel c)."""
    return channels_last(weight).reshape(groups, weight.shape[0] // groups, -1)


class _Windows:
    """The windows of a block of images as rows: (n, *size, channels) -> (G, n out, kernel c), in this thread's buffers.

    Made once for all blocks of a share: the border of zeros is written once, each call only fills in the images.
    """

    def __init__(
        self, images: int, x: np.ndarray, kernel: Sizes, out: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int,
    ) -> None:
        _, *size, channels = x.shape
        self.groups = groups
        self.plain = out == tuple(size) and max(kernel) == max(stride) == 1 and not any(padding)
        if self.plain:
            return
        c = channels // groups
        padded = scratch("padded", (images, *(n + 2 * p for n, p in zip(size, padding)), channels), x.dtype)
        for axis, (n, p) in enumerate(zip(size, padding), 1):
            along = padded.swapaxes(0, axis)
            along[:p] = along[p + n:] = 0
        self.inside = padded[(slice(None), *(slice(p, p + n) for n, p in zip(size, padding)))]
        self.rows = scratch("rows", (images, *out, groups, *kernel, c), x.dtype)
        image, *steps, item = padded.strides
        self.windows = np.lib.stride_tricks.as_strided(
            padded, self.rows.shape,
            (image, *(a * s for a, s in zip(steps, stride)), c * item, *(a * d for a, d in zip(steps, dilation)), item), writeable=False)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.plain:
            return _by_group(x, self.groups)
        n = len(x)
        self.inside[:n] = x
        rows = self.rows[:n]
        np.copyto(rows, self.windows[:n])
        dims = self.inside.ndim - 2
        return rows.reshape(math.prod(rows.shape[:1 + dims]), self.groups, -1).transpose(1, 0, 2)


def _out_size(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Sizes:
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation))


def convolve(input: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Kernel of `functional.convolution.convolution`."""
    if not _fits(input, weight, bias):
        return NotImplemented
    x = channels_last(input)
    n, *size, _ = x.shape
    channels, _, *kernel = weight.shape
    out = _out_size(size, kernel, stride, padding, dilation)
    matrices = np.ascontiguousarray(_matrices(weight, groups).transpose(0, 2, 1))
    result = np.empty((n, *out, channels), x.dtype)
    images, work = shares(n, math.prod(out) * matrices.shape[1] * groups * x.itemsize)

    def share(index: int) -> None:
        windows = _Windows(images, x, kernel, out, stride, padding, dilation, groups)
        for part in work[index]:
            target = result[part]
            np.matmul(windows(x[part]), matrices, out=_by_group(target, groups))
            if bias is not None:
                np.add(target, bias, out=target)

    parallel(share, len(work))
    return channels_first(result)


def convolve_input(input: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int, size: Any) -> Any:
    """Kernel of `functional.convolution.convolution_input`.

    At stride 1 it is the convolution with the kernel turned round, in and out exchanged. At other strides each pixel of the
    input spreads its window over the result.
    """
    if not _fits(input, weight, bias):
        return NotImplemented
    channels, c, *kernel = weight.shape
    turned = tuple(d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding))
    if max(stride) == 1 and min(turned) >= 0 and _out_size(input.shape[2:], kernel, stride, turned, dilation) == tuple(size):
        flipped = np.flip(weight, range(2, weight.ndim)).reshape(groups, channels // groups, c, *kernel).swapaxes(1, 2)
        return convolve(input, flipped.reshape(groups * c, channels // groups, *kernel), bias,
                        stride=stride, padding=turned, dilation=dilation, groups=groups)
    return _spread(channels_last(input), weight, bias, stride, padding, dilation, groups, tuple(size))


def _spread(
    y: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int, size: Sizes,
) -> np.ndarray:
    n, *out, _ = y.shape
    _, c, *kernel = weight.shape
    dims, pixels = len(out), math.prod(out)
    matrices = _matrices(weight, groups)
    width = matrices.shape[2]
    # what the windows reach, and what is asked for: either may be larger (a crop, output_padding)
    reach = tuple((o - 1) * s + d * (t - 1) + 1 for o, s, d, t in zip(out, stride, dilation, kernel))
    padded = tuple(max(r, m + 2 * p) for r, m, p in zip(reach, size, padding))
    result = np.empty((n, *size, groups, c), y.dtype)
    images, work = shares(n, pixels * groups * width * y.itemsize)
    bias = np.zeros((groups, c), y.dtype) if bias is None else bias.reshape(groups, c)
    side_by_side = stride == tuple(kernel) and max(dilation) == 1 and not any(padding) and size == reach
    apart = [m for o, k in zip(out, kernel) for m in (o, k)]  # a result of windows side by side: (n, out, kernel, out, kernel, ..., G, c)
    in_turn = [0, *(axis for i in range(dims) for axis in (1 + i, 2 + dims + i)), 1 + dims, 2 + 2 * dims]
    inside = (slice(None), *(slice(p, p + m) for p, m in zip(padding, size)))

    def share(index: int) -> None:
        rows = scratch("rows", (images * pixels, groups * width), y.dtype)
        image = None if side_by_side else scratch("padded", (images, *padded, groups, c), y.dtype)
        for part in work[index]:
            count = part.stop - part.start
            columns = rows[:count * pixels]
            np.matmul(_by_group(y[part], groups), matrices, out=_by_group(columns, groups))
            columns = columns.reshape(count, *out, groups, *kernel, c)
            if side_by_side:
                np.add(columns.transpose(in_turn), bias, out=result[part].reshape(count, *apart, groups, c))
                continue
            image[...] = 0
            for tap in np.ndindex(*kernel):
                place = (slice(i * d, i * d + (o - 1) * s + 1, s) for i, d, o, s in zip(tap, dilation, out, stride))
                image[(slice(count), *place)] += columns[(..., *tap, slice(None))]
            np.add(image[:count][inside], bias, out=result[part])

    parallel(share, len(work))
    return channels_first(result.reshape(n, *size, groups * c))


def convolve_weight(input: Any, output: Any, *, stride: Any, padding: Any, dilation: Any, groups: int, kernel: Any) -> Any:
    """Kernel of `functional.convolution.convolution_weight`: rows^T @ output, block by block, added up in a fixed order."""
    if not _fits(input, output):
        return NotImplemented
    x, y = channels_last(input), channels_last(output)
    n, *out, channels = y.shape
    c, k = x.shape[-1] // groups, channels // groups
    kernel, out = tuple(kernel), tuple(out)
    width = math.prod(kernel) * c
    images, work = shares(n, math.prod(out) * width * groups * x.itemsize, ACCUMULATORS)
    sums = np.empty((len(work), groups, width, k), x.dtype)

    def share(index: int) -> None:
        windows = _Windows(images, x, kernel, out, stride, padding, dilation, groups)
        product = scratch("product", (groups, width, k), x.dtype)
        for number, part in enumerate(work[index]):
            np.matmul(windows(x[part]).swapaxes(1, 2), _by_group(y[part], groups), out=product if number else sums[index])
            if number:
                np.add(sums[index], product, out=sums[index])

    parallel(share, len(work))
    total = sums[0]
    for part in sums[1:]:
        total += part
    return channels_first(total.reshape(groups, width, k).swapaxes(1, 2).reshape(channels, *kernel, c))
