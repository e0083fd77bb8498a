"""Two-dimensional convolution on the CPU: per block of images, lay the windows out as rows, then one matrix product.

The readable twins are `_convolve`, `_convolve_input` and `_convolve_weight` in `minidiff.functional.convolution`. The rows of a block
(im2col) stay in a core's cache, threads take shares of the blocks, and nothing larger than the result is ever allocated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import channels_first, channels_last, shares, takes

Pair = tuple[int, int]
ACCUMULATORS = 8  # partial sums of a weight gradient


def _fits(groups: int, *arrays: np.ndarray | None) -> bool:
    return groups == 1 and takes(*arrays) and arrays[0].ndim == 4 and all(x is None or x.size for x in arrays)


class _Windows:
    """The windows of a block of images as rows: (n, H, W, C) -> (n out, kh kw C), in this thread's buffers.

    Made once for all blocks of a share: the border of zeros is written once, each call only fills in the images.
    """

    def __init__(self, count: int, x: np.ndarray, kernel: Pair, out: Pair, stride: Pair, padding: Pair, dilation: Pair) -> None:
        _, h, w, c = x.shape
        (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
        self.plain = kernel == stride == (1, 1) and padding == (0, 0) and out == (h, w)
        if self.plain:
            return
        padded = scratch("padded", (count, h + 2 * ph, w + 2 * pw, c), x.dtype)
        if ph or pw:
            padded[:, :ph] = padded[:, ph + h:] = 0
            padded[:, :, :pw] = padded[:, :, pw + w:] = 0
        self.inside = padded[:, ph:h + ph, pw:w + pw]
        self.rows = scratch("rows", (count, *out, *kernel, c), x.dtype)
        s0, s1, s2, s3 = padded.strides
        self.windows = np.lib.stride_tricks.as_strided(
            padded, self.rows.shape, (s0, s1 * sh, s2 * sw, s1 * dh, s2 * dw, s3), writeable=False)
        self.matrix = (out[0] * out[1], kernel[0] * kernel[1] * c)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        n = len(x)
        if self.plain:
            return x.reshape(-1, x.shape[3])
        self.inside[:n] = x
        rows = self.rows[:n]
        np.copyto(rows, self.windows[:n])
        pixels, width = self.matrix
        return rows.reshape(n * pixels, width)


def _out_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation))


def convolve(input: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Kernel of `functional.convolution.convolution`."""
    if not _fits(groups, input, weight, bias):
        return NotImplemented
    x = channels_last(input)
    n, h, w, _ = x.shape
    k = weight.shape[0]
    kernel = tuple(weight.shape[2:])
    out = _out_size((h, w), kernel, stride, padding, dilation)
    matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, k)
    result = np.empty((n, *out, k), x.dtype)
    size, work = shares(n, out[0] * out[1] * matrix.nbytes // k)

    def share(index: int) -> None:
        windows = _Windows(size, x, kernel, out, stride, padding, dilation)
        for part in work[index]:
            target = result[part].reshape(-1, k)
            np.matmul(windows(x[part]), matrix, out=target)
            if bias is not None:
                np.add(target, bias, out=target)

    parallel(share, len(work))
    return channels_first(result)


def convolve_input(input: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int, size: Any) -> Any:
    """Kernel of `functional.convolution.convolution_input`.

    At stride 1 it is the convolution with the kernel turned round, in and out exchanged. At other strides each pixel of the
    input spreads its window over the result.
    """
    if not _fits(groups, input, weight, bias):
        return NotImplemented
    kernel = weight.shape[2:]
    turned = tuple(d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding))
    if stride == (1, 1) and min(turned) >= 0 and _out_size(input.shape[2:], kernel, stride, turned, dilation) == tuple(size):
        flipped = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        return convolve(input, flipped, bias, stride=stride, padding=turned, dilation=dilation, groups=1)
    return _spread(channels_last(input), weight, bias, stride, padding, dilation, tuple(size))


def _spread(
    y: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: Pair, padding: Pair, dilation: Pair, size: Pair,
) -> np.ndarray:
    n, h, w, k = y.shape
    _, c, kh, kw = weight.shape
    matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(k, -1)
    # what the windows reach, and what is asked for: either may be larger (a crop, output_padding)
    reach = tuple((o - 1) * s + d * (t - 1) + 1 for o, s, d, t in zip((h, w), stride, dilation, (kh, kw)))
    padded = tuple(max(r, m + 2 * p) for r, m, p in zip(reach, size, padding))
    result = np.empty((n, *size, c), y.dtype)
    images, work = shares(n, h * w * matrix.nbytes // k)
    bias = np.zeros(c, y.dtype) if bias is None else bias
    tiled = stride == (kh, kw) and dilation == (1, 1) and padding == (0, 0) and size == (h * kh, w * kw)  # windows side by side

    def tile(index: int) -> None:
        rows = scratch("rows", (images * h * w, kh * kw * c), y.dtype)
        for part in work[index]:
            count = part.stop - part.start
            np.matmul(y[part].reshape(-1, k), matrix, out=rows[:count * h * w])
            taps = rows[:count * h * w].reshape(count, h, w, kh, kw, c).transpose(0, 1, 3, 2, 4, 5)
            np.add(taps, bias, out=result[part].reshape(count, h, kh, w, kw, c))

    def share(index: int) -> None:
        rows = scratch("rows", (images * h * w, kh * kw * c), y.dtype)
        image = scratch("padded", (images, *padded, c), y.dtype)
        for part in work[index]:
            count = part.stop - part.start
            image[...] = 0
            np.matmul(y[part].reshape(-1, k), matrix, out=rows[:count * h * w])
            taps = rows[:count * h * w].reshape(count, h, w, kh, kw, c)
            for i in range(kh):
                for j in range(kw):
                    top, left = i * dilation[0], j * dilation[1]
                    image[:count, top:top + (h - 1) * stride[0] + 1:stride[0],
                          left:left + (w - 1) * stride[1] + 1:stride[1]] += taps[:, :, :, i, j]
            np.add(image[:count, padding[0]:padding[0] + size[0], padding[1]:padding[1] + size[1]], bias, out=result[part])

    parallel(tile if tiled else share, len(work))
    return channels_first(result)


def convolve_weight(input: Any, output: Any, *, stride: Any, padding: Any, dilation: Any, groups: int, kernel: Any) -> Any:
    """Kernel of `functional.convolution.convolution_weight`: rows^T @ output, block by block, added up in a fixed order."""
    if not _fits(groups, input, output):
        return NotImplemented
    x, y = channels_last(input), channels_last(output)
    n, h, w, k = y.shape
    c = x.shape[3]
    kernel = tuple(kernel)
    width = kernel[0] * kernel[1] * c
    size, work = shares(n, h * w * width * x.itemsize, ACCUMULATORS)
    sums = np.empty((len(work), width, k), x.dtype)

    def share(index: int) -> None:
        windows = _Windows(size, x, kernel, (h, w), stride, padding, dilation)
        product = scratch("product", (width, k), x.dtype)
        for number, part in enumerate(work[index]):
            np.matmul(windows(x[part]).T, y[part].reshape(-1, k), out=product if number else sums[index])
            if number:
                np.add(sums[index], product, out=sums[index])

    parallel(share, len(work))
    total = sums[0]
    for part in sums[1:]:
        total += part
    return total.reshape(*kernel, c, k).transpose(3, 2, 0, 1)
