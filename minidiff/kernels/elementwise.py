"""Sums and products of large arrays, and moving their elements, on several threads.

Their readable twins: `add`, `mul` in `minidiff.functional.elementwise` and `joined`, `reshaped` in `minidiff.functional.shape`. NumPy
would use one core, and these are bound by memory, of which one core does not get all that there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.backend import parallel

from .layout import channels_first, even_blocks, like_memory, same_memory, takes

LARGE = 1 << 18  # elements: of a block; below two of them, handing out the work costs as much as it saves


def blockwise(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """The kernel of a function of two large arrays of one shape and one memory layout."""

    def kernel(input: Any, other: Any) -> Any:
        if type(other) is not np.ndarray or type(input) is not np.ndarray or input.size < 2 * LARGE:
            return NotImplemented
        if input.shape != other.shape or input.strides != other.strides or not takes(input, other):
            return NotImplemented
        out, target = like_memory(input)
        if out.strides != input.strides:  # not dense: a slice, or repeated
            return NotImplemented
        left, right = same_memory(input, other)

        blocks = even_blocks(target.size, LARGE)

        def block(index: int) -> None:
            part = blocks[index]
            ufunc(left[part], right[part], out=target[part])

        parallel(block, len(blocks))
        return out

    return kernel


def join_channels(*tensors: Any, dim: int) -> Any:
    """Kernel of `functional.shape.joined` for images joined by their channels, in channels-last memory."""
    if dim != 1 or not takes(*tensors) or tensors[0].ndim != 4 or sum(x.size for x in tensors) < 2 * LARGE:
        return NotImplemented
    images = [x.transpose(0, 2, 3, 1) for x in tensors]
    ends = np.cumsum([x.shape[3] for x in images]).tolist()
    out = np.empty((*images[0].shape[:3], ends[-1]), images[0].dtype)

    def image(index: int) -> None:
        for x, end in zip(images, ends):
            out[index, :, :, end - x.shape[3]:end] = x[index]

    parallel(image, len(out))
    return channels_first(out)


def merge_into_channels(input: Any, *, shape: tuple[int, ...]) -> Any:
    """Kernel of `functional.shape.reshaped` for (N, a, b, ..., H, W) -> (N, a b ..., H, W) that must copy: into channels-last memory."""
    if len(shape) != 4 or not takes(input) or input.ndim < 5 or input.size < 2 * LARGE or input.flags.c_contiguous:
        return NotImplemented
    if (input.shape[0], *input.shape[-2:]) != (shape[0], *shape[-2:]):
        return NotImplemented
    n, *parts, h, w = input.shape
    out = np.empty((n, h, w, math.prod(parts)), input.dtype)
    axes = tuple(range(3, 3 + len(parts)))
    target = out.reshape(n, h, w, *parts).transpose(0, *axes, 1, 2)
    parallel(lambda i: np.copyto(target[i], input[i]), n)
    return channels_first(out)


add = blockwise(np.add)
mul = blockwise(np.multiply)
