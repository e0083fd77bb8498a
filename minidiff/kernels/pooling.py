"""Max pooling on the CPU: the places of a window as strided views of the input, compared one after the other.

The readable twin is `pooled_max` in `minidiff.functional.pooling`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import channels_first, channels_last, shares, takes

Sizes = tuple[int, ...]  # one for each dimension


class MaxPool:
    """Forward and backward of max pooling; see `functional.max_pool2d`."""

    def forward(self, input: Any, *, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: Sizes) -> Any:
        """The result, and what the backward needs: the input and the result."""
        if not takes(input) or not input.size:
            return NotImplemented
        x = channels_last(input)
        n, *within, c = x.shape
        out = np.empty((n, *size, c), x.dtype)
        taps = _taps(within, kernel, stride, padding, dilation, size)
        _, groups = shares(n, x[0].nbytes)

        def share(index: int) -> None:
            part = slice(groups[index][0].start, groups[index][-1].stop)
            mine, largest = x[part], out[part]
            largest[...] = -np.inf if any(padding) else mine[taps[0][0]]
            for source, of in taps if any(padding) else taps[1:]:
                np.maximum(largest[of], mine[source], out=largest[of])

        parallel(share, len(groups))
        return channels_first(out), (x, out)

    def backward(
        self, g: np.ndarray, saved: Any, needs: list[bool], *, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: Sizes,
    ) -> tuple[np.ndarray]:
        """The gradient goes to the first tap of each window that equals the maximum (if that is NaN, is NaN)."""
        x, out = saved
        y = channels_last(g)
        dx = np.zeros_like(x)
        taps = _taps(x.shape[1:-1], kernel, stride, padding, dilation, size)
        apart = kernel == stride and max(dilation) == 1  # no two windows share an element
        _, groups = shares(len(x), x[0].nbytes)

        def share(index: int) -> None:
            part = slice(groups[index][0].start, groups[index][-1].stop)
            mine, largest, theirs, to = x[part], out[part], y[part], dx[part]
            here = scratch("here", largest.shape, bool)
            free = scratch("free", largest.shape, bool)
            taken = None if apart else scratch("taken", largest.shape, x.dtype)
            free[...] = True
            nan = np.isnan(np.sum(largest))  # or opposite infinities; then the slower way does no harm
            for source, of in taps:
                tap, first, target = mine[source], here[of], to[source]
                np.equal(tap, largest[of], out=first)
                if nan:
                    first |= np.isnan(tap)
                first &= free[of]
                free[of] ^= first
                if apart:
                    np.multiply(theirs[of], first, out=target)
                else:
                    np.add(target, np.multiply(theirs[of], first, out=taken[of]), out=target)

        parallel(share, len(groups))
        return (channels_first(dx),)


def _taps(within: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: Sizes) -> list[tuple[Any, Any]]:
    """For each place in a window, row by row: where its elements are in (n, *within, C), and in (n, *size, C) the windows that have it
    inside the input."""
    along = []
    for n, k, s, p, d, m in zip(within, kernel, stride, padding, dilation, size):
        ends = [(max(0, -((i * d - p) // s)), min(m, (n - 1 + p - i * d) // s + 1), i * d - p) for i in range(k)]
        along.append([(slice(first * s + shift, (last - 1) * s + shift + 1, s), slice(first, last))
                      for first, last, shift in ends if first < last])
    return [((slice(None), *(source for source, _ in tap)), (slice(None), *(of for _, of in tap))) for tap in itertools.product(*along)]


max_pool = MaxPool()
