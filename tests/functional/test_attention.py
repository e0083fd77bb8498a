"""Attention and products of matrices: loops, masks, laws, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from minidiff import functional as F
from minidiff.autograd import grad, tensor


@st.composite
def attentions(draw):
    """query, key, value with up to two leading dimensions."""
    lead = draw(st.sampled_from([(), (2,), (2, 3)]))
    length, source, e, ev = (draw(st.integers(1, 4)) for _ in range(4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [rng.normal(size=(*lead, *shape)) for shape in [(length, e), (source, e), (source, ev)]]


def loops_attention(q, k, v, scale, mask):
    """One query after the other, one key after the other; `mask` is added (-inf forbids)."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for lead in np.ndindex(q.shape[:-2]):
        for i in range(q.shape[-2]):
            scores = [scale * math.fsum(q[(*lead, i)] * k[(*lead, j)]) + mask[i, j] for j in range(k.shape[-2])]
            weights = [math.exp(s - max(scores)) for s in scores]
            for j, weight in enumerate(weights):
                out[(*lead, i)] += weight / math.fsum(weights) * v[(*lead, j)]
    return out


@given(attentions(), st.sampled_from([None, 0.0, 0.7]), st.integers(0, 2**32))
def test_attention_is_its_definition(example, scale, seed):
    """Without a mask, with an additive one, and with a boolean one that leaves every query a key."""
    q, k, v = example
    rng = np.random.default_rng(seed)
    used = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    additive = rng.normal(size=(q.shape[-2], k.shape[-2]))
    allowed = rng.random(additive.shape) < 0.5
    allowed[:, 0] = True
    for mask, added in [(None, 0 * additive), (additive, additive), (allowed, np.where(allowed, 0, -np.inf))]:
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        np.testing.assert_allclose(found, loops_attention(q, k, v, used, added), rtol=1e-11, atol=1e-12)
        as_tensors = F.scaled_dot_product_attention(*map(tensor, (q, k, v)), attn_mask=None if mask is None else tensor(mask), scale=scale)
        np.testing.assert_array_equal(as_tensors.data, found)


@given(attentions())
def test_attention_does_not_see_the_order_of_the_keys(example):
    """Keys and values permuted together give the same; a scale of 0 gives the mean of the values."""
    q, k, v = example
    order = np.random.default_rng().permutation(k.shape[-2])
    attend = F.scaled_dot_product_attention
    np.testing.assert_allclose(attend(q, k[..., order, :], v[..., order, :]), attend(q, k, v), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(attend(q, k, v, scale=0.0), np.broadcast_to(v.mean(-2, keepdims=True), attend(q, k, v).shape), atol=1e-13)


def test_a_forbidden_key_gets_no_gradient():
    """Neither through its value nor through its score."""
    q, k, v = (tensor(np.random.default_rng().normal(size=(3, 4)), requires_grad=True) for _ in range(3))
    allowed = np.array([True, False, True])
    for g in grad(F.scaled_dot_product_attention(q, k, v, allowed[None]), [k, v], np.ones((3, 4))):
        assert not g.data[1].any() and g.data[0].any()


# -- products --------------------------------------------------------------------------------------------------------


@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3), st.tuples(*[st.integers(1, 3)] * 3))
def test_matmul_is_a_sum_of_products(shapes, sizes):
    """By einsum over broadcast leading dimensions, values and both gradients."""
    (a, b), (n, k, m) = shapes.input_shapes, sizes
    rng = np.random.default_rng()
    x, y = tensor(rng.normal(size=(*a, n, k)), requires_grad=True), tensor(rng.normal(size=(*b, k, m)), requires_grad=True)
    out = F.matmul(x, y)
    np.testing.assert_allclose(out.data, np.einsum("...ik,...kj->...ij", x.data, y.data), rtol=1e-12, atol=1e-13)
    gx, gy = grad(out.sum(), [x, y])
    lead = shapes.result_shape
    full_x = np.broadcast_to(y.data.sum(-1)[..., None, :], (*lead, n, k))
    full_y = np.broadcast_to(x.data.sum(-2)[..., :, None], (*lead, k, m))
    for g, full in ((gx, full_x), (gy, full_y)):
        axes = tuple(i for i in range(full.ndim) if i < full.ndim - g.ndim or g.shape[i - full.ndim] == 1 != full.shape[i])
        np.testing.assert_allclose(g.data, full.sum(axes).reshape(g.shape), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: F.matmul(x, x), r"shapes \(2, 3\) and \(2, 3\) do not fit: 3 columns meet 2 rows"),
    (lambda x: F.matmul(x, np.ones(2)), "3 columns meet 2 rows"),
    (lambda x: F.matmul(x, np.ones(())), "at least one dimension"),
    (lambda x: F.linear(x, np.ones((4, 2))), r"has 3 features, weight of shape \(4, 2\) expects"),
    (lambda x: F.linear(x, np.ones((4, 3)), np.ones(3)), r"bias of shape \(3,\); the weight asks for \(4,\)"),
    (lambda x: F.linear(x, np.ones(3)), r"expects \(out, in\)"),
    (lambda x: F.scaled_dot_product_attention(x, np.ones((2, 4)), x), r"query \(2, 3\), key \(2, 4\) and value \(2, 3\) do not fit"),
    (lambda x: F.scaled_dot_product_attention(x, x, np.ones((3, 3))), "do not fit"),
])
def test_what_does_not_fit_is_refused(call, message):
    """With all shapes."""
    with pytest.raises(ValueError, match=message):
        call(np.ones((2, 3)))
