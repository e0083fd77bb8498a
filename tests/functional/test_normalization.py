"""Group normalization: loops, invariances, precision, the family of its members, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import grad, tensor
from minidiff.functional.normalization import grouped


@st.composite
def grouped_inputs(draw):
    """An input whose channels divide into groups of at least two elements."""
    groups, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    positions = draw(st.sampled_from([(), (3,), (2, 3), (2, 1, 2)]) if each > 1 else st.sampled_from([(3,), (2, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.normal(1.0, 2.0, size=(draw(st.integers(1, 3)), groups * each, *positions)), groups


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


def test_instance_and_layer_normalization_are_members():
    """One group a channel, and one group for all."""
    x = np.random.default_rng().normal(size=(2, 6, 4, 3))
    instance = (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    layer = (x - x.mean((1, 2, 3), keepdims=True)) / np.sqrt(x.var((1, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.group_norm(x, 6), instance, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(F.group_norm(x, 1), layer, rtol=1e-11, atol=1e-12)


def test_a_mean_of_a_thousand_costs_no_more_than_the_rounding_of_the_input():
    """float32 at mean 1000, deviation 1: one rounding of x is 6e-5; the one-pass variance would be off by 0.1 and more. Gradients too."""
    x = (1000 + np.random.default_rng().normal(size=(2, 8, 16, 16))).astype(np.float32)
    w = np.cos(np.arange(x.size)).reshape(x.shape)
    results = []
    for dtype in (np.float32, np.float64):
        t = tensor(x.astype(dtype), requires_grad=True)
        y = F.group_norm(t, 4)
        results.append((y.data, grad(y, t, w).data))
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
    assert np.isfinite(grad(y.sum(), x).data).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: F.group_norm(x, 4), r"7 channels do not divide into 4 groups \(input shape \(2, 7, 5, 5\)\); choose num_groups from 1, 7"),
    (lambda x: F.group_norm(x, 0), "do not divide into 0 groups"),
    (lambda x: F.group_norm(x, 7, np.ones(6)), r"weight of shape \(6,\); an input of shape \(2, 7, 5, 5\) asks for \(7,\)"),
    (lambda x: F.group_norm(x, 7, None, np.ones((7, 1))), r"bias of shape \(7, 1\)"),
    (lambda x: F.group_norm(x[0, 0, 0], 1), r"expected an input \(N, C, ...\)"),
])
def test_what_does_not_fit_is_refused(call, message):
    """With the choices there are."""
    with pytest.raises(ValueError, match=message):
        call(np.ones((2, 7, 5, 5)))
