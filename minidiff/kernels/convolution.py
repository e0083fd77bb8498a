"""Two-dimensional convolution on the CPU: per block of images, lay the windows out as rows, then one matrix product.

The readable twins are `_convolve`, `_convolve_input` and `_convolve_weight` in `minidiff.functional.convolution`. The rows of a block
(im2col) stay in a core's cache, threads take blocks, and nothing larger than the result is ever allocated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import channels_first, channels_last, image_blocks, shares, takes

Pair = tuple[int, int]


def _fits(groups: int, *arrays: np.ndarray | None) -> bool:
    return groups == 1 and takes(*arrays) and arrays[0].ndim == 4 and all(x is None or x.size for x in arrays)


def _rows(x: np.ndarray, kernel: Pair, out: Pair, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    """The windows of a block of images as rows: (n, H, W, C) -> (n * out, kh * kw * C), in this thread's buffer."""
    n, h, w, c = x.shape
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    if kernel == (1, 1) and stride == (1, 1) and padding == (0, 0):
        return x.reshape(n * h * w, c)
    if ph or pw:
        padded = scratch("padded", (n, h + 2 * ph, w + 2 * pw, c), x.dtype)
        padded[:, :ph] = 0
        padded[:, h + ph:] = 0
        padded[:, ph:h + ph, :pw] = 0
        padded[:, ph:h + ph, w + pw:] = 0
        padded[:, ph:h + ph, pw:w + pw] = x
        x = padded
    rows = scratch("rows", (n, *out, kh, kw, c), x.dtype)
    s0, s1, s2, s3 = x.strides
    windows = np.lib.stride_tricks.as_strided(x, rows.shape, (s0, s1 * sh, s2 * sw, s1 * dh, s2 * dw, s3), writeable=False)
    np.copyto(rows, windows)
    return rows.reshape(n * out[0] * out[1], kh * kw * c)


def _out_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation))


def convolve(input: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Kernel of `functional.convolution.convolution`."""
    if not _fits(groups, input, weight, bias):
        return NotImplemented
    x = channels_last(input)
    n, h, w, c = x.shape
    k, _, *kernel = weight.shape
    kernel = tuple(kernel)
    out = _out_size((h, w), kernel, stride, padding, dilation)
    matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, k)
    result = np.empty((n, *out, k), x.dtype)
    blocks = image_blocks(n, out[0] * out[1])

    def block(index: int) -> None:
        part = blocks[index]
        target = result[part].reshape(-1, k)
        np.matmul(_rows(x[part], kernel, out, stride, padding, dilation), matrix, out=target)
        if bias is not None:
            np.add(target, bias, out=target)

    parallel(block, len(blocks))
    return channels_first(result)


def convolve_input(input: Any, weight: Any, *, stride: Any, padding: Any, dilation: Any, groups: int, size: Any) -> Any:
    """Kernel of `functional.convolution.convolution_input`.

    At stride 1 it is the convolution with the kernel turned round, in and out exchanged. At other strides each pixel of the
    input spreads its window over the result.
    """
    if not _fits(groups, input, weight):
        return NotImplemented
    kernel = tuple(weight.shape[2:])
    turned = tuple(d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding))
    if stride == (1, 1) and min(turned) >= 0 and _out_size(input.shape[2:], kernel, stride, turned, dilation) == tuple(size):
        flipped = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        return convolve(input, flipped, None, stride=stride, padding=turned, dilation=dilation, groups=1)
    return _spread(channels_last(input), weight, kernel, stride, padding, dilation, tuple(size))


def _spread(y: np.ndarray, weight: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, size: Pair) -> np.ndarray:
    n, h, w, k = y.shape
    c = weight.shape[1]
    matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(k, -1)
    # a window may end beyond the padded size that was asked for (output_padding below 0 never happens, a crop does)
    reach = tuple((o - 1) * s + d * (t - 1) + 1 for o, s, d, t in zip((h, w), stride, dilation, kernel))
    padded = tuple(max(r, m + 2 * p) for r, m, p in zip(reach, size, padding))
    result = np.empty((n, *size, c), y.dtype)
    blocks = image_blocks(n, h * w)

    def block(index: int) -> None:
        part = blocks[index]
        count = part.stop - part.start
        rows = scratch("rows", (count * h * w, matrix.shape[1]), y.dtype)
        np.matmul(y[part].reshape(-1, k), matrix, out=rows)
        rows = rows.reshape(count, h, w, *kernel, c)
        image = scratch("padded", (count, *padded, c), y.dtype)
        image[...] = 0
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                top, left = i * dilation[0], j * dilation[1]
                image[:, top:top + (h - 1) * stride[0] + 1:stride[0], left:left + (w - 1) * stride[1] + 1:stride[1]] += rows[:, :, :, i, j]
        result[part] = image[:, padding[0]:padding[0] + size[0], padding[1]:padding[1] + size[1]]

    parallel(block, len(blocks))
    return channels_first(result)


def convolve_weight(input: Any, output: Any, *, stride: Any, padding: Any, dilation: Any, groups: int, kernel: Any) -> Any:
    """Kernel of `functional.convolution.convolution_weight`: rows^T @ output, block by block, added up in a fixed order."""
    if not _fits(groups, input, output):
        return NotImplemented
    x, y = channels_last(input), channels_last(output)
    n, h, w, k = y.shape
    c = x.shape[3]
    kernel = tuple(kernel)
    groups_of_blocks = shares(image_blocks(n, h * w))
    sums = np.empty((len(groups_of_blocks), kernel[0] * kernel[1] * c, k), x.dtype)

    def share(index: int) -> None:
        product = scratch("product", sums.shape[1:], x.dtype)
        for number, part in enumerate(groups_of_blocks[index]):
            rows = _rows(x[part], kernel, (h, w), stride, padding, dilation)
            target = product if number else sums[index]
            np.matmul(rows.T, y[part].reshape(-1, k), out=target)
            if number:
                np.add(sums[index], product, out=sums[index])

    parallel(share, len(groups_of_blocks))
    total = sums[0]
    for part in sums[1:]:
        total += part
    return total.reshape(*kernel, c, k).transpose(3, 2, 0, 1)
