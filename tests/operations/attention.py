"""Scaled dot-product attention: leading dimensions, masks of every kind, causal, grouped heads, nothing to attend to."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, values


@st.composite
def sizes(draw):
    """(leading dimensions, L, S, E, Ev)"""
    lead = draw(st.sampled_from([(), (1,), (3,), (0,), (2, 3), (1, 2), (0, 2), (2, 1, 2)]))
    return lead, draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))


def broadcast(draw, shape):
    """A shape that broadcasts to this one."""
    return tuple(1 if draw(st.booleans()) else n for n in shape)[draw(st.integers(0, len(shape) - 2)):]


@st.composite
def attentions(draw, kind):
    (lead, length, source, e, ev), draws = draw(sizes()), draw(values())
    q, k, v = draws(*lead, length, e), draws(*lead, source, e), draws(*lead, source, ev)
    options = {"scale": draw(st.sampled_from([None, 0.3, 2.0, 0.0, -1.0]))} if draw(st.booleans()) else {}
    if kind == "causal":
        return Call((q, k, v, None, 0.0, True), options) if draw(st.booleans()) else Call((q, k, v), {"is_causal": True, **options})
    if kind == "none":
        return Call((q, k), {"value": v, **options}) if draw(st.booleans()) else Call((q, k, v), options)
    shape = broadcast(draw, (*lead, length, source))
    if kind == "added":
        return Call((q, k, v, draws(*shape)), options)
    allowed = draws.booleans(shape) if draw(st.booleans()) else np.zeros(shape, bool)
    return Call((q, k, v, allowed), options) if draw(st.booleans()) else Call((q, k, v), {"attn_mask": allowed, **options})


@st.composite
def broadcast_leads(draw):
    """One query for many, keys for many."""
    (lead, length, source, e, ev), draws = draw(sizes().filter(lambda s: 0 not in (*s[0], s[1], s[2]))), draw(values())
    shapes = [(*(1 if draw(st.booleans()) else n for n in lead), *own) for own in ((length, e), (source, e), (source, ev))]
    return Call(tuple(draws(*shape) for shape in shapes))


@st.composite
def grouped_heads(draw):
    (lead, length, source, e, ev), draws = draw(sizes()), draw(values())
    heads = draw(st.sampled_from([(1, 1, 1), (2, 1, 1), (4, 2, 2), (6, 2, 3), (3, 3, 1)]))
    q, k, v = (draws(*lead[:-1], h, *own) for h, own in zip(heads, ((length, e), (source, e), (source, ev))))
    return Call((q, k, v), {"enable_gqa": True, **({"is_causal": True} if draw(st.booleans()) else {})})


@st.composite
def infinite_masks(draw):
    """Added masks of 0 and -inf: whole rows may be forbidden."""
    (lead, length, source, e, ev), draws = draw(sizes()), draw(values())
    mask = np.where(draws.booleans((length, source)), 0.0, -np.inf)
    q, k, v = draws(*lead, length, e), draws(*lead, source, e), draws(*lead, source, ev)
    return Call((q, k, v), {"attn_mask": mask})


Q, K, V = np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones((2, 5, 6))
NAME = "scaled_dot_product_attention"

CASES = [
    Case(NAME, attentions("none"), refused=(
        Call((Q, np.ones((2, 5, 3)), V)), Call((Q, K, np.ones((2, 4, 6)))), Call((Q[0, 0], K, V)), Call((Q, np.ones((3, 5, 4)), V)),
        Call((Q.astype(np.int64), K.astype(np.int64), V.astype(np.int64))), Call((Q.astype(np.float32), K, V)),
        Call((Q, K, V), {"dropout_p": 1.5}))),
    Case(NAME, attentions("allowed"), label="with booleans", refused=(
        Call((Q, K, V, np.ones((3, 4), bool))), Call((Q, K, V, np.ones((2, 2, 3, 5), bool))), Call((Q, K, V, np.ones((3, 5), np.int64))),
        Call((Q, K, V), {"attn_mask": np.ones((3, 5), bool), "is_causal": True}), Call((Q[:1], K[:1], V[:1], np.ones((2, 3, 5), bool))))),
    Case(NAME, attentions("added"), label="with added numbers"),
    Case(NAME, infinite_masks(), label="with added infinities", order=0, examples=10),
    Case(NAME, attentions("causal"), label="causal"),
    Case(NAME, grouped_heads(), label="with grouped heads", refused=(
        Call((Q[0], K[0], V[0]), {"enable_gqa": True}), Call((np.ones((3, 3, 4)), K, V), {"enable_gqa": True}))),
    Case(NAME, broadcast_leads(), label="broadcast", examples=10),
]
