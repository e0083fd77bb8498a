"""Scaled dot-product attention on the CPU: one head of one sample at a time, so that the (L, S) matrix of weights never leaves the cache.

The readable twin is `attended` in `minidiff.functional.attention`. Nothing of size (L, S) is kept for the backward pass: the weights are
computed again there (Dao et al. 2022, "FlashAttention", Sec. 3.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import parallel, scratch

from .layout import takes


def _weights(q: np.ndarray, k: np.ndarray, scale: float) -> np.ndarray:
    """softmax(q k^T scale), in this thread's buffer: (L, E), (S, E) -> (L, S)."""
    p = scratch("weights", (q.shape[0], k.shape[0]), q.dtype)
    np.matmul(q, k.T, out=p)
    p *= scale
    p -= p.max(axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    return p


def _heads_last(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """A new (N, heads, L, E) array whose memory is (N, L, heads, E), as the projections around an attention have it."""
    n, heads, length, size = shape
    return np.empty((n, length, heads, size), dtype).transpose(0, 2, 1, 3)


class Attention:
    """Forward and backward of softmax(Q K^T scale) V for (N, heads, L, E) arrays without a mask."""

    def forward(self, query: Any, key: Any, value: Any, mask: Any, *, scale: float) -> Any:
        """The result, and the inputs for the backward."""
        if mask is not None or not takes(query, key, value) or query.ndim != 4 or not (query.size and key.size and value.size):
            return NotImplemented
        if not query.shape[:2] == key.shape[:2] == value.shape[:2]:
            return NotImplemented
        heads = query.shape[1]
        out = _heads_last((*query.shape[:3], value.shape[3]), query.dtype)

        def head(index: int) -> None:
            at = divmod(index, heads)
            np.matmul(_weights(query[at], key[at], scale), value[at], out=out[at])

        parallel(head, query.shape[0] * heads)
        return out, (query, key, value, out)

    def backward(self, g: np.ndarray, saved: Any, needs: list[bool], *, scale: float) -> tuple[Any, ...]:
        """dV = P^T g,  dS = P * (g V^T - sum_j g o),  dQ = dS K scale,  dK = dS^T Q scale,  with P the weights and o the result."""
        query, key, value, out = saved
        heads = query.shape[1]
        dq, dk, dv = (_heads_last(x.shape, x.dtype) for x in (query, key, value))

        def head(index: int) -> None:
            at = divmod(index, heads)
            p = _weights(query[at], key[at], scale)
            np.matmul(p.T, g[at], out=dv[at])
            ds = scratch("of weights", p.shape, p.dtype)
            np.matmul(g[at], value[at].T, out=ds)
            ds -= np.vecdot(g[at], out[at])[:, None]
            ds *= p
            ds *= scale
            np.matmul(ds, key[at], out=dq[at])
            np.matmul(ds.T, query[at], out=dk[at])

        parallel(head, query.shape[0] * heads)
        return dq, dk, dv, None


attention = Attention()
