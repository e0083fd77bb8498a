"""Matrix products on the CPU, cut into pieces that do not depend on the number of threads, so that neither do the bits.

The readable twin is `product` in `minidiff.functional.linear`: `numpy.matmul`, whose BLAS cuts by the number of its own threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import one_blas_thread, parallel

from .layout import takes

ROWS = 1024  # of the left matrix in one piece
PARTS = 8  # of a long sum
SMALL = 1 << 20  # multiplications below which a product is not worth cutting


def matmul(input: Any, other: Any) -> Any:
    """Kernel of `functional.linear.product`: by rows, by samples, or (a long sum with a small result) by parts of the sum."""
    if not takes(input, other):
        return NotImplemented
    if input.ndim == other.ndim == 2:
        m, k = input.shape
        n = other.shape[1]
        if m * k * n < SMALL:
            pass
        elif k >= 4 * ROWS and m * n <= k * 64:
            return _by_sum(input, other)
        elif m > ROWS:
            return _by_rows(input, other)
    elif input.ndim == other.ndim == 3 and input.shape[0] == other.shape[0] > 1 and input.size * other.shape[2] >= SMALL:
        out = np.empty((input.shape[0], input.shape[1], other.shape[2]), input.dtype)
        parallel(lambda i: np.matmul(input[i], other[i], out=out[i]), input.shape[0])
        return out
    with one_blas_thread():
        return np.matmul(input, other)


def _by_rows(input: np.ndarray, other: np.ndarray) -> np.ndarray:
    out = np.empty((input.shape[0], other.shape[1]), input.dtype)

    def piece(index: int) -> None:
        rows = slice(index * ROWS, (index + 1) * ROWS)
        np.matmul(input[rows], other, out=out[rows])

    parallel(piece, -(-input.shape[0] // ROWS))
    return out


def _by_sum(input: np.ndarray, other: np.ndarray) -> np.ndarray:
    size = -(-input.shape[1] // PARTS)
    sums = np.empty((-(-input.shape[1] // size), input.shape[0], other.shape[1]), input.dtype)

    def piece(index: int) -> None:
        part = slice(index * size, (index + 1) * size)
        np.matmul(input[:, part], other[part], out=sums[index])

    parallel(piece, len(sums))
    return sums.sum(axis=0)
