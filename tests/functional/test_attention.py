"""Attention and products of matrices: loops, masks, laws, dropout, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from minidiff import functional as F
from minidiff.autograd import gradient, tensor
from minidiff.functional.attention import attended
from minidiff.random import Generator


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


def added(mask):
    """A boolean mask as numbers."""
    return np.where(mask, 0.0, -np.inf)


@given(attentions())
def test_causal_queries_see_the_first_keys(example):
    """Query i sees the keys 0 to i, also where there are more keys than queries, or fewer; by loops."""
    q, k, v = example
    allowed = np.array([[j <= i for j in range(k.shape[-2])] for i in range(q.shape[-2])])
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(found, loops_attention(q, k, v, q.shape[-1] ** -0.5, added(allowed)), rtol=1e-11, atol=1e-12)


@given(st.sampled_from([(1, 1, 1), (4, 2, 2), (6, 2, 3), (6, 6, 1)]), st.booleans(), st.integers(0, 2**32))
def test_grouped_queries_share_keys_and_values(heads, causal, seed):
    """Head h of the query meets head h // (heads / key heads) of the key, and so for the value: one head after the other."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(2, h, n, 3)) for h, n in zip(heads, (4, 5, 5)))
    found = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    for h in range(heads[0]):
        one = F.scaled_dot_product_attention(q[:, h], k[:, h * heads[1] // heads[0]], v[:, h * heads[2] // heads[0]], is_causal=causal)
        np.testing.assert_allclose(found[:, h], one, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(3, 4), (1, 2, 3, 4)], ids=["twin", "kernel"])
@pytest.mark.parametrize("boolean", [True, False])
def test_a_query_that_sees_no_key_gets_zeros(shape, boolean):
    """Not NaN; and neither it nor the others get or give a gradient that is none. Its row is as if it was not there."""
    q, k, v = (tensor(np.random.default_rng().normal(size=shape), requires_grad=True) for _ in range(3))
    allowed = np.array([[True, False, True], [False, False, False], [True, True, True]])
    mask = allowed if boolean else added(allowed)
    out = F.scaled_dot_product_attention(q, k, v, mask)
    assert not out.data[..., 1, :].any()
    without = [0, 2]
    rest = F.scaled_dot_product_attention(q[..., without, :], k, v, mask[without])
    np.testing.assert_allclose(out.data[..., without, :], rest.data, rtol=1e-12)
    for g, expected in zip(gradient(out.sum(), [q, k, v]), gradient(rest.sum(), [q, k, v])):
        np.testing.assert_allclose(g.data, expected.data, rtol=1e-11, atol=1e-13)


@given(st.sampled_from([(1, 1), (2, 3), (3, 1)]), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32))
def test_the_kernel_takes_masks_as_its_twin_does(lead, length, source, seed):
    """Boolean masks that broadcast, with forbidden rows: value and gradients of the kernel and of the twin, which a recorded
    backward pass takes."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(rng.choice([1, n])) for n in (*lead, length, source))
    mask = rng.random(shape[rng.integers(0, 3):]) < 0.5
    inputs = [rng.normal(size=(*lead, *own)) for own in ((length, 3), (source, 3), (source, 2))]
    assert attended.kernel.forward(*inputs, mask, scale=0.7) is not NotImplemented
    np.testing.assert_allclose(F.scaled_dot_product_attention(*inputs, mask, scale=0.7), attended.function(*inputs, mask, scale=0.7),
                               rtol=1e-12, atol=1e-13)
    inputs = [tensor(x, requires_grad=True) for x in inputs]
    out = F.scaled_dot_product_attention(*inputs, mask, scale=0.7)
    g = rng.normal(size=out.shape)
    for kernel, twin in zip(gradient(out, inputs, g, retain_graph=True), gradient(out, inputs, g, create_graph=True)):
        np.testing.assert_allclose(kernel.data, twin.data, rtol=1e-11, atol=1e-12)


def test_without_keys_there_is_nothing_to_see():
    """S = 0 gives zeros, L = 0 nothing; both with gradients of the right shapes."""
    for length, source in [(3, 0), (0, 3), (0, 0)]:
        q, k, v = (tensor(np.ones((2, 2, n, 4)), requires_grad=True) for n in (length, source, source))
        out = F.scaled_dot_product_attention(q, k, v)
        assert out.shape == (2, 2, length, 4) and not out.data.any()
        assert [g.shape for g in gradient(out.sum(), [q, k, v])] == [q.shape, k.shape, v.shape]


def test_float16_attends_in_float32():
    """Scores in the hundreds, whose sums over 512 products overflow float16's digits: as good as float64, rounded once."""
    q, k, v = (np.random.default_rng().normal(size=(2, 7, 512)).astype(np.float16) for _ in range(3))
    found = F.scaled_dot_product_attention(q, k, v, scale=0.5)
    exact = F.scaled_dot_product_attention(*(x.astype(np.float64) for x in (q, k, v)), scale=0.5)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=2e-3, atol=2e-3)


def test_dropout_of_weights_keeps_the_mean_and_drops_the_right_share():
    """Equal scores and values 1: each result is the number of kept weights / (S (1 - p)). Mean 1; more than 5.5 deviations off happens
    once in 2.6e7 runs. The same generator drops the same; p = 1 drops all."""
    length, source, p = 200, 500, 0.3
    q, k, v = np.zeros((length, 2)), np.zeros((source, 2)), np.ones((source, 1))
    seed = int(np.random.default_rng().integers(2**31))
    attend = lambda p: F.scaled_dot_product_attention(q, k, v, dropout_p=p, generator=Generator(seed))
    out = attend(p)
    counts = out[:, 0] * source * (1 - p)
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    n = length * source
    assert abs(counts.sum() - n * (1 - p)) < 5.5 * math.sqrt(n * p * (1 - p))
    assert len(np.unique(np.round(counts))) > 5  # each query has a mask of its own
    np.testing.assert_array_equal(attend(p), out)
    assert not attend(1.0).any()


def test_dropped_weights_get_no_gradient():
    """The gradient of the values is the dropped, rescaled weights: what they are multiplied with."""
    rng = np.random.default_rng()
    q, k = rng.normal(size=(2, 5, 3))
    v = tensor(np.eye(5), requires_grad=True)
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, generator=Generator(5))
    np.testing.assert_allclose(gradient(out.sum(), v).data, np.repeat(out.data.sum(0)[:, None], 5, 1), rtol=1e-12)
    kept = out.data != 0
    np.testing.assert_allclose(out.data[kept], 2 * F.scaled_dot_product_attention(q, k, np.eye(5))[kept], rtol=1e-12)


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
    for g in gradient(F.scaled_dot_product_attention(q, k, v, allowed[None]), [k, v], np.ones((3, 4))):
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
    gx, gy = gradient(out.sum(), [x, y])
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
    (lambda x: F.linear(x, np.ones((4, 2))), r"input of shape \(2, 3\) does not fit a weight of shape \(4, 2\)"),
    (lambda x: F.linear(x, np.ones((4, 3)), np.ones(3)), r"bias of shape \(3,\); the weight asks for \(4,\)"),
    (lambda x: F.scaled_dot_product_attention(x, np.ones((2, 4)), x), r"query \(2, 3\), key \(2, 4\) and value \(2, 3\) do not fit"),
    (lambda x: F.scaled_dot_product_attention(x, x, np.ones((3, 3))), "do not fit"),
    (lambda x: F.scaled_dot_product_attention(x, x, x, np.ones((3, 2), bool)),
     r"attn_mask of shape \(3, 2\) does not broadcast to the scores"),
    (lambda x: F.scaled_dot_product_attention(x, x, x, np.ones((2, 2), bool), is_causal=True), "attn_mask and is_causal=True exclude"),
    (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), "needs generator="),
    (lambda x: F.scaled_dot_product_attention(x, x, x, enable_gqa=True), "expected .* a number of heads H"),
])
def test_what_does_not_fit_is_refused(call, message):
    """With all shapes."""
    with pytest.raises(ValueError, match=message):
        call(np.ones((2, 3)))
