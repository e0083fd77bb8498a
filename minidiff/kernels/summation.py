"""Sums over long axes on the CPU that keep their digits.

The readable twin is `total` in `minidiff.functional.reduction`. NumPy adds pairwise along the innermost axis of memory, but one after the
other along any other: of a million float32 numbers of one sign, four digits are left. Here, ROWS are added one after the other, then
their sums.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .layout import takes

ROWS = 128
FEW = 1 << 10  # elements that are not worth looking at
LONG = 1 << 8  # numbers that may be added one after the other without a loss worth the trouble


def total(input: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Kernel of `functional.reduction.total` for sums of many elements that NumPy would not add pairwise."""
    if type(input) is not np.ndarray or input.size < FEW or not takes(input):
        return NotImplemented
    pairwise, others = _split(input, axis)
    if math.prod(input.shape[i] for i in others) < LONG:
        return NotImplemented
    out = input.sum(axis=pairwise, keepdims=True) if pairwise else input
    for i in others:
        out = _by_rows(out, i)
    return out if keepdims else out.reshape([n for i, n in enumerate(input.shape) if i not in axis])


def _split(x: np.ndarray, axis: tuple[int, ...]) -> tuple[tuple[int, ...], list[int]]:
    """The axes that NumPy adds pairwise, the innermost of memory as far as they are reduced, and the others, from the inside."""
    inwards = sorted((i for i in range(x.ndim) if x.shape[i] > 1), key=lambda i: abs(x.strides[i]))
    pairwise = []
    for i in inwards:
        if i not in axis or (pairwise and abs(x.strides[i]) != abs(x.strides[pairwise[-1]]) * x.shape[pairwise[-1]]):
            break
        pairwise.append(i)
    return tuple(pairwise), [i for i in inwards if i in axis and i not in pairwise]


def _by_rows(x: np.ndarray, axis: int) -> np.ndarray:
    """Sums of ROWS rows, then sums of these, and so on."""
    n = x.shape[axis]
    if n <= ROWS:
        return x.sum(axis=axis, keepdims=True)
    before, after = x.shape[:axis], x.shape[axis + 1:]
    blocks = n // ROWS
    whole = x[(slice(None),) * axis + (slice(blocks * ROWS),)]
    out = _by_rows(whole.reshape(*before, blocks, ROWS, *after).sum(axis=axis + 1), axis)
    rest = x[(slice(None),) * axis + (slice(blocks * ROWS, None),)]
    return out + rest.sum(axis=axis, keepdims=True) if rest.size else out
