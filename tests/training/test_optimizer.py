"""AdamW, clipping and the learning rate, against their equations in 40 digits, closed forms, and torch."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import backend, nn
from minidiff.training import AdamW, FlatParameters, clip_grad_norm, learning_rate_at
from minidiff.training.flat import BLOCK
from minidiff.training.optimizer import warmup


class Two(nn.Module):
    """Two parameters of different shapes."""

    def __init__(self, dtype="float64", random=None, rows=3):
        random = random or np.random.default_rng()
        self.a = nn.Parameter(random.standard_normal((rows, 2)).astype(dtype))
        self.b = nn.Parameter(random.standard_normal(4).astype(dtype))


def adamw_in_40_digits(theta, gradients, lr, beta1, beta2, eps, wd):
    """Algorithm 2 of Loshchilov & Hutter for one number, line by line as printed (no algebra done)."""
    with mpmath.workdps(40):
        theta, m, v = mpmath.mpf(theta), mpmath.mpf(0), mpmath.mpf(0)
        lr, beta1, beta2, eps, wd = (mpmath.mpf(x) for x in (lr, beta1, beta2, eps, wd))
        for t, g in enumerate(map(mpmath.mpf, gradients), start=1):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
            theta = theta - lr * m_hat / (mpmath.sqrt(v_hat) + eps) - lr * wd * theta
        return float(theta)


@given(lr=st.floats(1e-5, 0.5), beta1=st.floats(0, 0.99), beta2=st.floats(0, 0.999), eps=st.floats(1e-8, 1e-2), wd=st.floats(0, 0.5),
       steps=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_adamw_is_its_algorithm_in_40_digits(lr, beta1, beta2, eps, wd, steps, seed):
    """Every number of two parameters, by the printed algorithm in mpmath."""
    random = np.random.default_rng(seed)
    model = Two(random=random)
    parameters = FlatParameters(model)
    start = parameters.data.copy()
    optimizer = AdamW(parameters, lr, (beta1, beta2), eps, wd)
    gradients = random.standard_normal((steps, start.size))
    for gradient in gradients:
        optimizer.step(gradient)
    expected = [adamw_in_40_digits(start[i], gradients[:, i], lr, beta1, beta2, eps, wd) for i in range(start.size)]
    np.testing.assert_allclose(parameters.data, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(np.concatenate([model.a.data.ravel(), model.b.data]), parameters.data)


def test_the_first_step_is_as_long_as_the_learning_rate_whatever_the_gradient():
    """m^ / sqrt(v^) = sign(g) at step 1."""
    parameters = FlatParameters(Two())
    start = parameters.data.copy()
    gradient = np.array([1e-5, -1e-5, 3.0, -3.0, 1e5, -1e5, 2.0, 2.0, -7.0, 1e-3])
    AdamW(parameters, 0.1, eps=1e-16, weight_decay=0.0).step(gradient)
    np.testing.assert_allclose(start - parameters.data, 0.1 * np.sign(gradient), rtol=1e-9)


def test_without_a_gradient_all_weights_decay_geometrically():
    """theta_k = theta_0 (1 - lr wd)^k; the adaptive part must not see the decay (that would be L2 regularization)."""
    parameters = FlatParameters(Two())
    start = parameters.data.copy()
    optimizer = AdamW(parameters, 0.1, weight_decay=0.3)
    for _ in range(7):
        optimizer.step(np.zeros(10))
    np.testing.assert_allclose(parameters.data, start * (1 - 0.03) ** 7, rtol=1e-13)


def test_a_step_gives_the_same_bits_however_many_threads_work_at_it():
    """Four blocks and a rest, 1, 2 and 3 threads; and the same as the first elements updated alone."""
    rows = 2 * BLOCK + 77
    results = []
    try:
        for threads in (1, 2, 3):
            backend.set_threads(threads)
            parameters = FlatParameters(Two("float32", np.random.default_rng(1), rows))
            optimizer = AdamW(parameters, 0.01)
            gradient = np.random.default_rng(2).standard_normal(parameters.data.size).astype("float32")
            length = clip_grad_norm(gradient, 1.0)
            optimizer.step(gradient)
            results.append((parameters.data, optimizer.second_moment, length, gradient))
    finally:
        backend.set_threads(None)
    for other in results[1:]:
        for one, two in zip(results[0], other):
            np.testing.assert_array_equal(one, two)
    short = FlatParameters(Two("float32", np.random.default_rng(1), rows))
    start = short.data[-5:].copy()
    g = results[0][3][-5:]
    m, v = np.float32(1 - 0.9) * g / (1 - 0.9), (1 - 0.999) * g * g / (1 - 0.999)
    np.testing.assert_allclose(results[0][0][-5:], start * (1 - 1e-4) - 0.01 * m / (np.sqrt(v) + 1e-8), rtol=1e-5)


@pytest.mark.parametrize("options", [{"learning_rate": -1.0}, {"learning_rate": math.nan}, {"eps": -1e-8}, {"weight_decay": -0.1},
                                     {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}])
def test_adamw_refuses_settings_without_meaning(options):
    """Named in the message."""
    with pytest.raises(ValueError, match=next(iter(options))):
        AdamW(FlatParameters(Two()), **options)


@given(max_norm=st.floats(1e-3, 1e3), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 2**32 - 1))
def test_clipping_shortens_what_is_too_long_and_leaves_the_rest_alone(max_norm, scale, seed):
    """Length and direction by math.fsum and a cosine; a short gradient keeps its bits."""
    gradient = scale * np.random.default_rng(seed).standard_normal(50)
    before = gradient.copy()
    norm = clip_grad_norm(gradient, max_norm)
    length = math.sqrt(math.fsum(x * x for x in before))
    assert norm == pytest.approx(length, rel=1e-12)
    if length + 1e-6 <= max_norm:
        np.testing.assert_array_equal(gradient, before)
    else:
        np.testing.assert_allclose(gradient, before * (max_norm / (length + 1e-6)), rtol=1e-12)
        assert math.sqrt(math.fsum(x * x for x in gradient)) <= max_norm


def test_the_norm_of_a_long_float32_gradient_keeps_its_digits():
    """Three blocks against math.fsum of exact squares."""
    gradient = np.random.default_rng().standard_normal(2 * BLOCK + 1000).astype("float32")
    exact = math.sqrt(math.fsum(float(x) ** 2 for x in gradient))
    assert clip_grad_norm(gradient, math.inf) == pytest.approx(exact, rel=1e-7)


def test_a_nan_in_the_gradient_is_not_hidden_by_clipping():
    """The length says NaN, so the loop can stop."""
    assert math.isnan(clip_grad_norm(np.array([1.0, math.nan]), 1.0))


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_clipping_refuses_a_length_that_is_none(max_norm):
    """0, negative, NaN."""
    with pytest.raises(ValueError, match="max_norm"):
        clip_grad_norm(np.ones(3), max_norm)


@given(warmup_steps=st.integers(1, 50))
def test_warm_up_is_a_straight_line_from_0_that_ends_at_1(warmup_steps):
    """Equal differences up to the end, then nothing but 1."""
    rates = [0.0] + [warmup(step, warmup_steps) for step in range(1, warmup_steps + 1)]
    np.testing.assert_allclose(np.diff(rates), 1 / warmup_steps, rtol=1e-9, atol=1e-15)
    assert rates[-1] == 1 == warmup(10 * warmup_steps, warmup_steps) == warmup(1, 0)


@given(warmup_steps=st.integers(0, 20), falling=st.integers(2, 60), peak=st.floats(1e-5, 1))
def test_a_falling_learning_rate_starts_at_its_peak_and_ends_at_0(warmup_steps, falling, peak):
    """linear: equal steps down; cosine: its two halves mirror each other about half the peak. Both 0 after total_steps."""
    total = warmup_steps + falling
    first = warmup_steps + 1
    for kind in ("linear", "cosine"):
        rates = [learning_rate_at(step, peak, warmup_steps, kind, total) for step in range(first, total + 2)]
        assert rates[0] == pytest.approx(peak) and rates[-1] == pytest.approx(0, abs=1e-12)
        assert rates == sorted(rates, reverse=True) and len(set(rates)) == len(rates)
        np.testing.assert_allclose(np.add(rates, rates[::-1]), peak, rtol=1e-9)
        if kind == "linear":
            np.testing.assert_allclose(np.diff(rates), -peak / falling, rtol=1e-6)
        assert learning_rate_at(total + 100, peak, warmup_steps, kind, total) == pytest.approx(0, abs=1e-12)
    assert learning_rate_at(total, peak, warmup_steps) == peak


def test_cosine_is_slow_at_its_ends():
    """A quarter of the way down in time is cos(45 degrees) down, not a quarter."""
    assert learning_rate_at(26, 1.0, 0, "cosine", 100) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_a_learning_rate_that_falls_needs_to_know_when():
    """And an unknown schedule is named."""
    with pytest.raises(ValueError, match="total_steps"):
        learning_rate_at(1, 0.1, 0, "cosine")
    with pytest.raises(ValueError, match=r"'exponential'.*constant, linear, cosine"):
        learning_rate_at(1, 0.1, 0, "exponential")


@pytest.mark.peers
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("float32", 2e-6)])
def test_adamw_and_clipping_do_what_torch_does(dtype, tolerance):
    """Twenty steps of both with the same gradients, some of them clipped."""
    import torch

    random = np.random.default_rng(3)
    model = Two(dtype, random)
    theirs = [torch.nn.Parameter(torch.tensor(p.data.copy())) for p in model.parameters()]
    parameters = FlatParameters(model)
    ours, other = AdamW(parameters, 0.05, weight_decay=0.1), torch.optim.AdamW(theirs, lr=0.05, weight_decay=0.1)
    for _ in range(20):
        gradient = random.standard_normal(10).astype(dtype)
        theirs[0].grad, theirs[1].grad = torch.tensor(gradient[:6].reshape(3, 2)), torch.tensor(gradient[6:])
        norm = torch.nn.utils.clip_grad_norm_(theirs, 3.0)
        assert float(clip_grad_norm(gradient, 3.0)) == pytest.approx(float(norm), rel=10 * tolerance)
        ours.step(gradient)
        other.step()
    expected = np.concatenate([p.detach().numpy().ravel() for p in theirs])
    np.testing.assert_allclose(parameters.data, expected, rtol=tolerance, atol=tolerance)
