"""How the CPU kernels see an image batch: (N, H, W, C) in memory under the (N, C, H, W) face that the rest of minidiff sees.

Channels last makes every convolution one matrix product over rows of pixels. Elementwise operations keep the layout, so a
network converts at its entrance and nowhere else. Here is also how work is cut into blocks.
"""

from __future__ import annotations

import numpy as np

BLOCK_BYTES = 3 << 18  # of a block's rows: three quarters of a second-level cache of 1 MiB
BLOCK = 1 << 19  # elements of a formula of many steps. Larger than a second-level cache on purpose: every call of NumPy gives Python's
# lock away and waits for it, and two threads that do so every few microseconds stand in each other's way
FEWEST, MOST = 8, 64  # shares: enough for many cores, but not so many small ones that handing them out costs more than the work


def channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, *size) -> (N, *size, C), contiguous; no copy if the memory is already so."""
    return np.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1))


def channels_first(x: np.ndarray) -> np.ndarray:
    """(N, *size, C) -> (N, C, *size), a view: only the face changes."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def shares(count: int, bytes_per_image: int, most: int = MOST) -> tuple[int, list[list[slice]]]:
    """Cut a batch into blocks of whole images that fill at most BLOCK_BYTES, and the blocks into neighbouring groups, the shares.

    Returns the images in a full block, and the shares, each of which is the work of one thread. There are FEWEST to `most` of them,
    about one for four full blocks, whatever the number of threads.
    """
    wanted = min(most, max(FEWEST, count * bytes_per_image // (4 * BLOCK_BYTES)))
    size = max(1, min(BLOCK_BYTES // max(bytes_per_image, 1), -(-count // wanted)))
    blocks = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    each = -(-len(blocks) // wanted)
    return size, [blocks[start:start + each] for start in range(0, len(blocks), each)]


def even_blocks(count: int, most: int) -> list[slice]:
    """Cut `count` things into blocks of at most `most`, as equal as can be."""
    blocks = max(1, -(-count // max(most, 1)))
    size = -(-count // blocks)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)] if count else []


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
    assert not first.size or np.may_share_memory(vector, out), "empty_like(order='K') is always dense"
    return out, vector
