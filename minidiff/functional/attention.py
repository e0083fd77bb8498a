"""Scaled dot-product attention."""

from __future__ import annotations

import math

from minidiff.autograd import composite

from .activation import softmax
from .elementwise import where
from .linear import matmul
from .shape import transpose

__all__ = ["scaled_dot_product_attention"]


@composite
def attended(query, key, value, mask, *, scale):
    """softmax(Q K^T scale + mask) V, shapes as in `scaled_dot_product_attention`."""
    scores = matmul(query * scale, transpose(key, -1, -2))
    if mask is not None:
        scores = where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    return matmul(softmax(scores, -1), value)


def scaled_dot_product_attention(query, key, value, attn_mask=None, *, scale: float | None = None):
    """softmax(Q K^T scale + mask) V                                       Vaswani et al. 2017, Eq. 1

    Shapes: query (..., L, E), key (..., S, E), value (..., S, Ev) -> (..., L, Ev). scale: None means 1 / sqrt(E).
    attn_mask, broadcast to (..., L, S): booleans (True takes part) or numbers that are added.
    Raises ValueError when the shapes do not fit.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(f"scaled_dot_product_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} "
                         "do not fit; expected (..., L, E), (..., S, E), (..., S, Ev)")
    return attended(query, key, value, attn_mask, scale=1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
