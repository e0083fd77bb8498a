"""Scaled dot-product attention."""

from __future__ import annotations

import math

import numpy as np

from minidiff import backend
from minidiff.autograd import composite

from .activation import normalized_exp
from .door import must_be_real
from .dropout import dropout
from .elementwise import where
from .linear import matmul
from .precision import narrow, wide
from .shape import repeat_interleave, transpose

__all__ = ["scaled_dot_product_attention"]


def attention_weights(query, key, mask, scale):
    """softmax(Q K^T scale + mask): one row for each query; zeros in the row of a query that may see no key."""
    scores = matmul(query * scale, transpose(key, -1, -2))
    if mask is not None:
        scores = where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    return normalized_exp(scores, dim=-1, masked=True)


@composite
def attended(query, key, value, mask, *, scale):
    """softmax(Q K^T scale + mask) V, shapes as in `scaled_dot_product_attention`."""
    return matmul(attention_weights(query, key, mask, scale), value)


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
    enable_gqa: bool = False, generator=None,
):
    """softmax(Q K^T scale + mask) V                                       Vaswani et al. 2017, Eq. 1

    Shapes: query (..., L, E), key (..., S, E), value (..., S, Ev) -> (..., L, Ev), leading dimensions broadcast.
    attn_mask, broadcast to (..., L, S): booleans (True takes part) or numbers that are added. is_causal: query i sees the keys 0 to i.
    A query that sees no key gets zeros. scale: None means 1 / sqrt(E). dropout_p: the weights go through `dropout`, with `generator`.
    enable_gqa: key and value (..., H, S, E) have fewer heads than query; each serves several in a row (Ainslie et al. 2023).
    Raises ValueError when the shapes do not fit, or for a mask together with is_causal; TypeError for dtypes that do not fit.
    """
    name = "scaled_dot_product_attention"
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}"
    if min(len(x.shape) for x in (query, key, value)) < 2 or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(f"{name}: {shapes} do not fit; expected (..., L, E), (..., S, E), (..., S, Ev)")
    must_be_real(name, query=query)
    if not query.dtype == key.dtype == value.dtype:
        raise TypeError(f"{name}: query is {query.dtype}, key {key.dtype}, value {value.dtype}; expected the same dtype")
    if not 0.0 <= dropout_p <= 1.0:
        raise ValueError(f"{name}: dropout_p={dropout_p}; expected a probability, 0 to 1")
    if enable_gqa:
        heads = [x.shape[-3] if len(x.shape) > 2 else 0 for x in (query, key, value)]
        if not all(heads) or heads[0] % heads[1] or heads[0] % heads[2]:
            raise ValueError(f"{name}: {shapes} with enable_gqa; expected (..., H, L, E) with a number of heads H that those of key and "
                             "value divide")
        key, value = (repeat_interleave(x, heads[0] // h, -3) for x, h in zip((key, value), heads[1:]))
    lead = [tuple(x.shape[:-2]) for x in (query, key, value)]
    try:
        scores = (*np.broadcast_shapes(*lead), query.shape[-2], key.shape[-2])
    except ValueError:
        raise ValueError(f"{name}: the leading dimensions of {shapes} do not broadcast") from None
    mask = _mask(name, attn_mask, is_causal, scores, query)
    scale = 1.0 / math.sqrt(max(query.shape[-1], 1)) if scale is None else scale
    q, k, v = (wide(x) for x in (query, key, value))
    if dropout_p == 0.0:
        return narrow(attended(q, k, v, mask, scale=scale), query.dtype)
    return narrow(matmul(dropout(attention_weights(q, k, mask, scale), dropout_p, generator=generator), v), query.dtype)


def _mask(name, attn_mask, is_causal, scores, query):
    """What is to be added to the scores, or where they count; None for all."""
    if is_causal:
        if attn_mask is not None:
            raise ValueError(f"{name}: attn_mask and is_causal=True exclude each other; put the causal mask into attn_mask")
        return backend.array_module(backend.to_array(query)).tri(*scores[-2:], dtype=bool)
    if attn_mask is None:
        return None
    if attn_mask.dtype != bool and attn_mask.dtype != query.dtype and attn_mask.dtype != "float32":
        raise TypeError(f"{name}: attn_mask holds {attn_mask.dtype}; expected bool, or {query.dtype} like query")
    padded = (1,) * (len(scores) - len(attn_mask.shape)) + tuple(attn_mask.shape)
    if len(padded) > len(scores) or any(n not in (1, m) for n, m in zip(padded, scores)):
        raise ValueError(f"{name}: attn_mask of shape {tuple(attn_mask.shape)} does not broadcast to the scores {scores}")
    return attn_mask if attn_mask.dtype == bool else wide(attn_mask)
