"""Normalization: loops, invariances, precision, the family and its members, running statistics, lengths, errors."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mpmath import mp, mpf

from minidiff import functional as F
from minidiff.autograd import gradient, tensor
from minidiff.functional.normalization import grouped


@st.composite
def grouped_inputs(draw):
    """An input whose channels divide into groups of at least two elements."""
    groups, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    positions = draw(st.sampled_from([(), (3,), (2, 3), (2, 1, 2)]) if each > 1 else st.sampled_from([(3,), (2, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(1.0, 2.0, size=(draw(st.integers(1, 3)), groups * each, *positions))
    assume(x.reshape(len(x), groups, -1).std(-1).min() > 0.1)  # no two elements are so close that eps, or rounding, shows
    return x, groups


@given(grouped_inputs(), st.sampled_from([1e-5, 0.1]))
def test_group_norm_is_its_definition(example, eps):
    """Each group of each sample on its own, with math.fsum."""
    x, groups = example
    c = x.shape[1]
    weight, bias = np.cos(np.arange(c)), np.sin(np.arange(c))
    y = F.group_norm(x, groups, weight, bias, eps)
    plain = F.group_norm(x, groups, eps=eps)
    for n in range(len(x)):
        for group in range(groups):
            channels = range(group * c // groups, (group + 1) * c // groups)
            elements = x[n, list(channels)].ravel().tolist()
            mean = math.fsum(elements) / len(elements)
            variance = math.fsum((e - mean) ** 2 for e in elements) / len(elements)
            for ch in channels:
                expected = (x[n, ch] - mean) / math.sqrt(variance + eps)
                np.testing.assert_allclose(plain[n, ch], expected, rtol=1e-11, atol=1e-12)
                np.testing.assert_allclose(y[n, ch], expected * weight[ch] + bias[ch], rtol=1e-11, atol=1e-12)


@given(grouped_inputs(), st.floats(0.1, 10), st.floats(-10, 10))
def test_scaling_and_shifting_a_group_changes_nothing(example, scale, shift):
    """y(a x + b) = y(x) for a > 0, up to eps; with a < 0 the sign turns."""
    x, groups = example
    np.testing.assert_allclose(F.group_norm(scale * x + shift, groups, eps=1e-12), F.group_norm(x, groups, eps=1e-12), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(F.group_norm(-x, groups), -F.group_norm(x, groups), rtol=1e-9, atol=1e-10)


@given(grouped_inputs())
def test_every_group_has_mean_zero_and_variance_one(example):
    """Before weight and bias, up to eps."""
    x, groups = example
    y = F.group_norm(x, groups, eps=1e-12).reshape(len(x), groups, -1)
    np.testing.assert_allclose(y.mean(2), 0, atol=1e-11)
    np.testing.assert_allclose(y.var(2), 1, rtol=1e-6)


def by_loops(x, over, eps):
    """(x - mean) / sqrt(var + eps), each set of elements on its own: those that share their indices outside the axes `over`."""
    out = np.empty_like(x)
    rest = [i for i in range(x.ndim) if i not in over]
    for place in np.ndindex(*(x.shape[i] for i in rest)):
        index = [slice(None)] * x.ndim
        for axis, i in zip(rest, place):
            index[axis] = i
        elements = x[tuple(index)].ravel().tolist()
        mean = math.fsum(elements) / len(elements)
        variance = math.fsum((e - mean) ** 2 for e in elements) / len(elements)
        out[tuple(index)] = (x[tuple(index)] - mean) / math.sqrt(variance + eps)
    return out


@given(st.sampled_from([(2, 3, 4), (1, 2, 3, 2), (3, 1, 2, 2, 2), (2, 3, 1, 5)]), st.sampled_from([1e-5, 0.1]), st.integers(0, 2**32))
def test_each_member_is_its_definition(shape, eps, seed):
    """Layers over the last dimensions, instances over the positions, batches over samples and positions: by loops with math.fsum."""
    x = np.random.default_rng(seed).normal(1.0, 2.0, size=shape)
    per_channel = (-1, *(1,) * (x.ndim - 2))
    w, b = np.cos(np.arange(shape[1])), np.sin(np.arange(shape[1]))
    positions = tuple(range(2, x.ndim))
    close = lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    for k in range(1, x.ndim):
        last = tuple(range(x.ndim - k, x.ndim))
        lw, lb = (np.cos(c + np.arange(math.prod(shape[-k:]))).reshape(shape[-k:]) for c in (0, 1))
        close(F.layer_norm(x, shape[-k:], lw, lb, eps), by_loops(x, last, eps) * lw + lb)
        root = np.sqrt(np.square(x).mean(last, keepdims=True) + eps)
        close(F.rms_norm(x, shape[-k:], lw, eps), x / root * lw)
        tiny = x * 1e-6  # so small that the default eps shows
        close(F.rms_norm(tiny, shape[-k:]), tiny / np.sqrt(np.square(tiny).mean(last, keepdims=True) + 2.0 ** -52))
    affine = lambda y: y * w.reshape(per_channel) + b.reshape(per_channel)
    close(F.instance_norm(x, None, None, w, b, eps=eps), affine(by_loops(x, positions, eps)))
    close(F.batch_norm(x, None, None, w, b, True, eps=eps), affine(by_loops(x, (0, *positions), eps)))


@given(grouped_inputs())
def test_the_members_are_one_family(example):
    """One group: a layer. As many groups as channels: an instance. Batch and instance agree on a batch of one. Dimensions may be joined."""
    x, _ = example
    close = lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    close(F.group_norm(x, 1), F.layer_norm(x, x.shape[1:]))
    if x.ndim > 2 and math.prod(x.shape[2:]) > 1:
        close(F.group_norm(x, x.shape[1]), F.instance_norm(x))
        close(F.batch_norm(x[:1], None, None, training=True), F.instance_norm(x[:1]))
        close(F.layer_norm(x, x.shape[2:]), F.instance_norm(x))
    if x.size > x.shape[1]:
        joined = x.reshape(*x.shape[:2], -1)
        close(F.batch_norm(x, None, None, training=True), F.batch_norm(joined, None, None, training=True).reshape(x.shape))


@given(grouped_inputs(), st.sampled_from([0.1, 0.5, 1.0]))
def test_known_statistics_give_what_the_batch_would(example, momentum):
    """With momentum 1 the running statistics are the batch's: the same result, but for the unbiased variance. None is written to."""
    x, _ = example
    c, n = x.shape[1], x.size // x.shape[1]
    if n < 2:
        return
    mean, var = np.cos(np.arange(c)), 1.5 + np.sin(np.arange(c))
    before = mean.copy(), var.copy()
    F.batch_norm(x, mean, var, training=True, momentum=momentum)
    np.testing.assert_array_equal((mean, var), before)
    new_mean, new_var = F.running_statistics(x, mean, var, momentum)
    for channel in range(c):
        elements = x[:, channel].ravel().tolist()
        m = math.fsum(elements) / n
        v = math.fsum((e - m) ** 2 for e in elements) / (n - 1)
        assert new_mean[channel] == pytest.approx((1 - momentum) * before[0][channel] + momentum * m, rel=1e-12)
        assert new_var[channel] == pytest.approx((1 - momentum) * before[1][channel] + momentum * v, rel=1e-12)
    if x[0, 0].size > 1:
        each = [F.running_statistics(x[i:i + 1], mean, var, momentum) for i in range(len(x))]
        np.testing.assert_allclose(F.running_statistics(x, mean, var, momentum, each_sample=True), np.mean(each, 0), rtol=1e-12)
    np.testing.assert_allclose(F.instance_norm(x, mean, var, use_input_stats=False), F.batch_norm(x, mean, var), rtol=1e-12)
    if momentum == 1.0:
        known = F.batch_norm(x, new_mean, new_var * (n - 1) / n)
        np.testing.assert_allclose(known, F.batch_norm(x, None, None, training=True), rtol=1e-10, atol=1e-11)


def test_running_statistics_are_outside_the_graph():
    """Tensors in, Tensors out, without gradients; an empty batch changes nothing."""
    x, mean, var = (tensor(np.arange(1.0, n + 1).reshape(shape), requires_grad=True) for n, shape in [(6, (3, 2)), (2, (2,)), (2, (2,))])
    assert not any(new.requires_grad for new in F.running_statistics(x, mean, var))
    empty = F.running_statistics(np.ones((0, 2, 3)), mean.data, var.data)
    np.testing.assert_array_equal(empty, (mean.data, var.data))


@pytest.mark.parametrize("normalize", [
    lambda x, w, b: F.group_norm(x, 2, w, b), lambda x, w, b: F.layer_norm(x, (4, 64), None if w is None else w[:, None] + 0 * x[0]),
    lambda x, w, b: F.instance_norm(x, None, None, w, b), lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
    lambda x, w, b: F.batch_norm(x, 0 * x[0, :, 0] + 300, 0 * x[0, :, 0] + 1, w, b), lambda x, w, b: F.rms_norm(x, (64,)),
    lambda x, w, b: F.normalize(x), lambda x, w, b: F.cosine_similarity(x, x + 1),
    lambda x, w, b: F.running_statistics(x, w, b)[1],
], ids=["group", "layer", "instance", "batch", "known", "rms", "normalize", "cosine", "running"])
def test_float16_is_summed_in_float32(normalize):
    """At a mean of 300, where squares overflow float16 and its sums stall: as good as float64, rounded once. Gradients are float16."""
    x = (300 + np.random.default_rng().normal(size=(3, 4, 64))).astype(np.float16)
    w, b = (np.linspace(low, 1, 4).astype(np.float16) for low in (0.5, -1))
    found, exact = normalize(x, w, b), normalize(x.astype(np.float64), w.astype(np.float64), b.astype(np.float64))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=2e-3, atol=2e-3)
    t = tensor(x, requires_grad=True)
    out = normalize(t, w, b)
    if out.requires_grad:
        assert gradient(out.sum(), t).dtype == np.float16


@given(st.lists(st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=4),
       st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0, -1.0, np.inf, -np.inf, 0.0]))
def test_a_normalized_vector_has_length_one(v, p):
    """The p-norm in 30 digits; every vector with the same direction has the same normalized vector."""
    with mp.workdps(30):
        sizes = [abs(mpf(x)) for x in v]
        special = {np.inf: max(sizes), -np.inf: min(sizes), 0.0: mpf(len(v))}
        norm = special[p] if p in special else sum(s ** mpf(p) for s in sizes) ** (1 / mpf(p))
        expected = [float(mpf(x) / norm) for x in v]
    x = np.array(v)
    np.testing.assert_allclose(F.normalize(x, p, 0), expected, rtol=1e-12)
    if p:
        np.testing.assert_allclose(F.normalize(3 * x, p, 0), F.normalize(x, p, 0), rtol=1e-12)


def test_vectors_of_no_length_stay_and_have_gradients():
    """x = 0: y = 0 and dy/dx = 1 / eps, not NaN; cosine similarity with nothing is 0. Second derivatives are finite too."""
    x = tensor(np.zeros((2, 3)), requires_grad=True)
    for p in (1.0, 2.0, 3.0, 2.5):
        y = F.normalize(x, p, eps=0.5)
        assert not y.data.any()
        first = gradient(y.sum(), x, create_graph=True)
        np.testing.assert_array_equal(first.data, 2.0)
    assert np.isfinite(gradient((first * first).sum(), x, allow_unused=True).data).all()
    similar = F.cosine_similarity(x, np.ones((2, 3)))
    assert not similar.data.any() and np.isfinite(gradient(similar.sum(), x).data).all()


@given(st.integers(0, 2**32))
def test_cosine_similarity_is_the_cosine_of_the_angle(seed):
    """Of unit vectors in the plane at given angles, whatever their lengths."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 2 * np.pi, size=(2, 5))
    lengths = rng.uniform(0.1, 10, size=(2, 5, 1))
    vectors = [np.stack([np.cos(t), np.sin(t)], 1) * size for t, size in zip((a, b), lengths)]
    np.testing.assert_allclose(F.cosine_similarity(*vectors), np.cos(a - b), rtol=1e-12, atol=1e-12)


def test_a_mean_of_a_thousand_costs_no_more_than_the_rounding_of_the_input():
    """float32 at mean 1000, deviation 1: one rounding of x is 6e-5; the one-pass variance would be off by 0.1 and more. Gradients too."""
    x = (1000 + np.random.default_rng().normal(size=(2, 8, 16, 16))).astype(np.float32)
    w = np.cos(np.arange(x.size)).reshape(x.shape)
    results = []
    for dtype in (np.float32, np.float64):
        t = tensor(x.astype(dtype), requires_grad=True)
        y = F.group_norm(t, 4)
        results.append((y.data, gradient(y, t, w).data))
    for single, double in zip(*results):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, atol=2e-4)


def test_a_mean_of_ten_million_costs_nothing_in_double_precision():
    """Eighths plus 1e7 are exact in float64, so nothing may change; E x^2 - (E x)^2 would lose all but two digits. The twin as well."""
    x = np.random.default_rng().integers(-16, 17, size=(2, 4, 3, 4)) / 8
    for function in (F.group_norm, lambda x, groups: grouped.function(x, None, None, num_groups=groups, eps=1e-5)):
        np.testing.assert_allclose(function(x + 1e7, 2), F.group_norm(x, 2), rtol=1e-7, atol=1e-8)


def test_a_constant_group_becomes_zero():
    """eps keeps 0 / 0 away; the gradient is finite."""
    x = tensor(np.full((1, 2, 3), 5.0), requires_grad=True)
    y = F.group_norm(x, 1)
    assert not y.data.any()
    assert np.isfinite(gradient(y.sum(), x).data).all()


X = np.ones((2, 7, 5, 5))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: F.group_norm(X, 4), r"7 channels do not divide into 4 groups \(input shape \(2, 7, 5, 5\)\); choose num_groups from 1, 7"),
    (lambda: F.group_norm(X, 7, np.ones(6)), r"weight of shape \(6,\); an input of shape \(2, 7, 5, 5\) asks for \(7,\)"),
    (lambda: F.group_norm(X[0, 0, 0], 1), r"expected an input \(N, C, ...\)"),
    (lambda: F.group_norm(X[:1, :, 0, 0], 7), r"more than 1 element to normalize, got one in each of 7 groups"),
    (lambda: F.layer_norm(X, 5), r"layer_norm: normalized_shape=5; expected a tuple or list of at least one size, such as \(5,\)"),
    (lambda: F.layer_norm(X, (7, 5)), r"normalized_shape=\(7, 5\); the input has shape \(2, 7, 5, 5\), which ends in \(5, 5\)"),
    (lambda: F.rms_norm(X, (5,), np.ones(7)), r"rms_norm: weight of shape \(7,\).* asks for \(5,\)"),
    (lambda: F.instance_norm(X[:, :, :1, :1]), r"instance_norm: expected more than 1 position .* got input shape \(2, 7, 1, 1\)"),
    (lambda: F.instance_norm(X[:, :, 0, 0]), r"instance_norm: expected an input \(N, C, L, ...\)"),
    (lambda: F.batch_norm(X[:1, :, 0, 0], None, None, training=True), "batch_norm: expected more than 1 value per channel when training"),
    (lambda: F.batch_norm(X, None, None), "without training it normalizes by running_mean and running_var; give them, or training=True"),
    (lambda: F.batch_norm(X, np.ones(7), None), "running_mean and running_var belong together"),
    (lambda: F.batch_norm(X, np.ones(5), np.ones(7)), r"running_mean of shape \(5,\).* asks for \(7,\)"),
    (lambda: F.batch_norm(X, None, None, training=True, eps=0.0), "eps=0.0; expected a positive number"),
    (lambda: F.group_norm(X.astype(int), 1), "expected floating-point numbers, got input of int64"),
    (lambda: F.cosine_similarity(X, X[:, :2]), "do not broadcast"),
])
def test_what_does_not_fit_is_refused(call, message):
    """With the choices there are."""
    with pytest.raises((ValueError, TypeError), match=message):
        call()
