"""Scaled dot-product attention."""

from __future__ import annotations

import math

from .activation import softmax
from .elementwise import where
from .linear import matmul
from .shape import transpose


def scaled_dot_product_attention(query, key, value, attn_mask=None, scale: float | None = None):
    """softmax(Q K^T scale + mask) V                                       Vaswani et al. 2017, Eq. 1

    Shapes: query (..., L, E), key (..., S, E), value (..., S, Ev) -> (..., L, Ev). scale: None means 1 / sqrt(E).
    attn_mask, broadcast to (..., L, S): booleans (True takes part) or numbers that are added.
    Raises ValueError when the shapes do not fit.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(f"scaled_dot_product_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} "
                         "do not fit; expected (..., L, E), (..., S, E), (..., S, Ev)")
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = matmul(query * scale, transpose(key, -1, -2))
    if attn_mask is not None:
        scores = where(attn_mask, scores, -math.inf) if attn_mask.dtype == bool else scores + attn_mask
    return matmul(softmax(scores, -1), value)
