"""Scaled dot-product attention on the CPU: a few heads of one sample at a time, so that their weights never leave the cache.

The readable twin is `attended` in `minidiff.functional.attention`. Nothing of size (L, S) is kept for the backward pass: the weights are
computed again there (Dao et al. 2022, "FlashAttention", Sec. 3.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import takes

BLOCK = 1 << 18  # elements of the weights that are worked on at once


def _scores(q: np.ndarray, k: np.ndarray, forbidden: np.ndarray | None, scale: float) -> np.ndarray:
    """q k^T scale, -inf where forbidden, in this thread's buffer: (heads, L, E), (heads, S, E) -> (heads, L, S)."""
    s = scratch("scores", (*q.shape[:2], k.shape[1]), q.dtype)
    np.matmul(q * q.dtype.type(scale), k.transpose(0, 2, 1), out=s)  # scaling q is a pass over E columns instead of S
    if forbidden is not None:
        np.copyto(s, -np.inf, where=forbidden)
    return s


def _blocks(query: np.ndarray, key: np.ndarray) -> list[tuple[int, slice]]:
    """(sample, some of its heads) for the work of one call each."""
    n, heads, length, _ = query.shape
    size = max(1, min(heads, BLOCK // (length * key.shape[2])))
    return [(i, slice(first, first + size)) for i in range(n) for first in range(0, heads, size)]


def _heads_last(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A new (N, heads, L, E) array whose memory is (N, L, heads, E), as the projections around an attention have it."""
    n, heads, length, size = shape
    return np.empty((n, length, heads, size), dtype).transpose(0, 2, 1, 3)


class Attention:
    """Forward and backward of softmax(Q K^T scale) V for (N, heads, L, E) arrays, without a mask or with one of booleans."""

    def forward(self, query: Any, key: Any, value: Any, mask: Any, *, scale: float) -> Any:
        """The result; and for the backward the inputs, the result and the logarithm of each softmax's denominator."""
        if not takes(query, key, value) or query.ndim != 4 or not (query.size and key.size and value.size):
            return NotImplemented
        if mask is not None and (type(mask) is not np.ndarray or mask.dtype != bool):
            return NotImplemented
        if not query.shape[:2] == key.shape[:2] == value.shape[:2]:
            return NotImplemented
        out = _heads_last((*query.shape[:3], value.shape[3]), query.dtype)
        log_sums = np.empty((*query.shape[:3], 1), query.dtype)
        forbidden = None if mask is None else np.broadcast_to(~mask, (*query.shape[:3], key.shape[2]))
        blocks = _blocks(query, key)

        def block(index: int) -> None:
            at = blocks[index]
            p = _scores(query[at], key[at], None if mask is None else forbidden[at], scale)
            peak = p.max(axis=2, keepdims=True)
            if mask is not None:
                np.maximum(peak, np.finfo(p.dtype).min, out=peak)  # a query that sees no key: all weights become exp(-inf)
            np.subtract(p, peak, out=p)
            np.exp(p, out=p)
            sums = p @ np.ones((p.shape[2], 1), p.dtype)
            if mask is not None:
                np.maximum(sums, 1.0, out=sums)
            np.matmul(p, value[at], out=out[at])
            np.divide(out[at], sums, out=out[at])  # dividing the result is a pass over E columns instead of S
            np.add(peak, np.log(sums), out=log_sums[at])

        parallel(block, len(blocks))
        return out, (query, key, value, forbidden, out, log_sums)

    def backward(self, g: np.ndarray, saved: Any, needs: list[bool], *, scale: float) -> tuple[Any, ...]:
        """dV = P^T g,  dS = P * (g V^T - sum_j g o),  dQ = dS K scale,  dK = dS^T Q scale,  with P the weights and o the result."""
        query, key, value, forbidden, out, log_sums = saved
        dq, dk, dv = (_heads_last(x.shape, x.dtype) for x in (query, key, value))
        blocks = _blocks(query, key)

        def block(index: int) -> None:
            at = blocks[index]
            p = _scores(query[at], key[at], None if forbidden is None else forbidden[at], scale)
            np.subtract(p, log_sums[at], out=p)
            np.exp(p, out=p)
            np.matmul(p.transpose(0, 2, 1), g[at], out=dv[at])
            ds = scratch("of scores", p.shape, p.dtype)
            np.matmul(g[at], value[at].transpose(0, 2, 1), out=ds)
            np.subtract(ds, (g[at] * out[at]).sum(axis=2, keepdims=True), out=ds)
            np.multiply(ds, p, out=ds)
            np.matmul(ds, key[at], out=dq[at])
            np.matmul(ds.transpose(0, 2, 1), query[at], out=dk[at])
            for gradient in (dq[at], dk[at]):
                np.multiply(gradient, scale, out=gradient)

        parallel(block, len(blocks))
        return dq, dk, dv, None


attention = Attention()
