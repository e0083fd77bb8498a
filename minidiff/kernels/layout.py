"""How the CPU kernels see an image batch: (N, H, W, C) in memory under the (N, C, H, W) face that the rest of minidiff sees.

Channels last makes every convolution one matrix product over rows of pixels. Elementwise operations keep the layout, so a
network converts at its entrance and nowhere else. Work is cut into blocks of whole images that fit a core's cache.
"""

from __future__ import annotations

import numpy as np

BLOCK_ROWS = 256  # pixels in a block: enough for the matrix product to be efficient, few enough for the cache
ACCUMULATORS = 8  # partial sums over the batch: a fixed number, so that the result does not depend on the number of threads


def channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C), contiguous; no copy if the memory is already so."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x: np.ndarray) -> np.ndarray:
    """(N, H, W, C) -> (N, C, H, W), a view: only the face changes."""
    return x.transpose(0, 3, 1, 2)


def image_blocks(count: int, pixels: int) -> list[slice]:
    """Whole images in blocks of about BLOCK_ROWS pixels."""
    size = max(1, BLOCK_ROWS // max(pixels, 1))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def shares(blocks: list[slice]) -> list[list[slice]]:
    """The blocks in at most ACCUMULATORS neighbouring groups, each of which is summed up by one thread."""
    size = -(-len(blocks) // ACCUMULATORS)
    return [blocks[start:start + size] for start in range(0, len(blocks), size)]


def takes(*arrays: np.ndarray | None) -> bool:
    """Whether the CPU kernels take these arrays: NumPy, float32 or float64, all of one dtype; None is no array."""
    first = arrays[0]
    return type(first) is np.ndarray and first.dtype.char in "fd" and all(
        x is None or (type(x) is np.ndarray and x.dtype == first.dtype) for x in arrays)


def same_memory(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays as vectors in one common order of elements: the first one's order in memory. Copies only what is laid out otherwise."""
    first = arrays[0]
    axes = sorted(range(first.ndim), key=lambda i: -abs(first.strides[i]))
    return [np.ascontiguousarray(x.transpose(axes)).reshape(-1) for x in arrays]


def like_memory(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A new array of the shape, dtype and memory order of `first`, and the vector of its elements in that order."""
    out = np.empty_like(first, order="K")
    axes = sorted(range(first.ndim), key=lambda i: -abs(first.strides[i]))
    vector = out.transpose(axes).reshape(-1)
    assert vector.base is not None, "empty_like(order='K') is always dense"
    return out, vector
