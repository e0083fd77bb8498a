"""Max pooling over windows that do not overlap, on the CPU: the windows' taps as strided views, compared one after the other.

The readable twin is `pooled_max` in `minidiff.functional.resampling`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import channels_first, channels_last, shares, takes


class MaxPool:
    """Forward and backward of max pooling; see `functional.max_pool2d`."""

    def forward(self, input: Any, *, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Any:
        """The result, and what the backward needs: the input and the result."""
        if kernel != stride or any(padding) or not takes(input) or not input.size:
            return NotImplemented
        x = channels_last(input)
        n, h, w, c = x.shape
        out = np.empty((n, h // kernel[0], w // kernel[1], c), x.dtype)
        _, groups = shares(n, x[0].nbytes)

        def share(index: int) -> None:
            part = slice(groups[index][0].start, groups[index][-1].stop)
            first, *others = _taps(x[part], kernel)
            np.copyto(out[part], first)
            for tap in others:
                np.maximum(out[part], tap, out=out[part])

        parallel(share, len(groups))
        return channels_first(out), (x, out)

    def backward(
        self, g: np.ndarray, saved: Any, needs: list[bool], *, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int],
    ) -> tuple[np.ndarray]:
        """The gradient goes to the first tap of each window that equals the maximum."""
        x, out = saved
        y = channels_last(g)
        dx = np.zeros_like(x)
        _, groups = shares(len(x), x[0].nbytes)

        def share(index: int) -> None:
            part = slice(groups[index][0].start, groups[index][-1].stop)
            here = scratch("here", out[part].shape, bool)
            free = scratch("free", out[part].shape, bool)
            free[...] = True
            for tap, target in zip(_taps(x[part], kernel), _taps(dx[part], kernel)):
                np.equal(tap, out[part], out=here)
                here &= free
                free ^= here
                np.multiply(y[part], here, out=target)

        parallel(share, len(groups))
        return (channels_first(dx),)


def _taps(x: np.ndarray, kernel: tuple[int, int]) -> list[np.ndarray]:
    """For each place in a window, row by row, the view (n, H', W', C) of that place in every window."""
    rows, columns = x.shape[1] // kernel[0], x.shape[2] // kernel[1]
    return [x[:, i:rows * kernel[0]:kernel[0], j:columns * kernel[1]:kernel[1]] for i in range(kernel[0]) for j in range(kernel[1])]


max_pool = MaxPool()
