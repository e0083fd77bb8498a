"""The forward process and its posterior, against composition and Bayes' rule in 50 digits."""

import numpy as np
import pytest
from diffusion_laws import MP, bayes, exact_alphas, exact_alphas_cumprod, schedules
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import (
    Schedule,
    make_schedule,
    q_mean_variance,
    q_posterior_mean_from_epsilon,
    q_posterior_mean_variance,
    q_sample,
    q_step,
)

ONE, ZERO = np.ones(1), np.zeros(1)
numbers = st.floats(-3, 3)


@given(schedules(), st.data())
def test_skipping_ahead_equals_taking_every_step(schedule, data):
    """Compose t+1 single Gaussian steps in 50 digits; compare the factor of x_0 and the variance of the noise."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    factor, variance = MP.mpf(1), MP.mpf(0)
    for alpha in exact_alphas(schedule)[: t + 1]:
        factor, variance = MP.sqrt(alpha) * factor, alpha * variance + (1 - alpha)
    assert q_sample(schedule, ONE, t, ZERO)[0] == pytest.approx(float(factor), rel=1e-12)
    assert q_sample(schedule, ZERO, t, ONE)[0] ** 2 == pytest.approx(float(variance), rel=1e-14)
    mean, got_variance, log_variance = q_mean_variance(schedule, 2 * ONE, t)
    assert mean[0] == pytest.approx(2 * float(factor), rel=1e-12)
    assert got_variance == pytest.approx(float(variance), rel=1e-14)
    assert log_variance == pytest.approx(float(MP.log(variance)), rel=1e-14, abs=1e-14)


@given(schedules(max_steps=20), st.data())
def test_single_steps_add_up_to_the_jump(schedule, data):
    """Walk with q_step, the noise of step j only: the squares of what arrives add up to the variance of q_sample."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    steps = t + 1
    x = np.append(1.0, np.zeros(steps))  # first the signal, then one row for each step's noise
    for j in range(steps):
        x = q_step(schedule, x, j, np.eye(steps + 1)[j + 1])
    assert x[0] == pytest.approx(q_sample(schedule, ONE, t, ZERO)[0], rel=1e-12)
    assert (x[1:] ** 2).sum() == pytest.approx(q_mean_variance(schedule, ONE, t)[1], rel=1e-12)


@given(schedules(), numbers, st.data())
def test_a_step_has_the_variance_beta(schedule, x, data):
    """Ho et al. Eq. 2, with sqrt(beta), not beta, before the noise."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    beta = float(schedule.betas[t])
    there = q_step(schedule, np.array([x]), t, ZERO)[0]
    assert there**2 == pytest.approx((1 - beta) * x * x, rel=1e-12) and there * x >= 0
    assert q_step(schedule, ZERO, t, ONE)[0] ** 2 == pytest.approx(beta, rel=1e-14)


@given(schedules(max_beta=0.9), numbers, numbers, st.data())
def test_posterior_is_bayes_rule(schedule, x_start, x_t, data):
    """Add the precisions of prior and likelihood in 50 digits."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    mean, variance, log_variance = q_posterior_mean_variance(schedule, np.array([x_start]), np.array([x_t]), t)
    if t == 0:
        assert variance == 0 and mean[0] == pytest.approx(x_start, rel=1e-14)
        return
    abars = exact_alphas_cumprod(schedule)
    exact_mean, exact_variance = bayes(x_start, x_t, abars[t - 1], abars[t])
    assert mean[0] == pytest.approx(float(exact_mean), rel=1e-12, abs=1e-12 * (abs(x_start) + abs(x_t)))
    assert variance == pytest.approx(float(exact_variance), rel=1e-14)
    assert log_variance == pytest.approx(float(MP.log(exact_variance)), rel=1e-13, abs=1e-13)


def test_posterior_is_the_normalized_product_of_densities():
    """Brute force: multiply the two densities on a grid and measure mean and variance of the product."""
    schedule = Schedule.from_betas([0.1, 0.25, 0.4])
    x_start, x_t, t = 0.7, -0.4, 2
    grid = np.linspace(-8, 8, 20001)
    prior = np.exp(-((grid - np.sqrt(0.9 * 0.75) * x_start) ** 2) / (2 * (1 - 0.9 * 0.75)))
    likelihood = np.exp(-((x_t - np.sqrt(0.6) * grid) ** 2) / (2 * 0.4))
    weight = prior * likelihood / (prior * likelihood).sum()
    mean, variance, _ = q_posterior_mean_variance(schedule, np.array([x_start]), np.array([x_t]), t)
    assert mean[0] == pytest.approx((weight * grid).sum(), rel=1e-10)
    assert variance == pytest.approx((weight * (grid - mean[0]) ** 2).sum(), rel=1e-10)


@given(schedules(max_beta=0.9, max_steps=10), numbers, numbers, st.data())
def test_both_forms_of_the_posterior_mean_agree(schedule, x_start, noise, data):
    """With x_t made from x_0 and eps, the mean through x_0 (Eq. 7) is the mean through eps (Eq. 11)."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x_start, noise = np.array([x_start]), np.array([noise])
    x_t = q_sample(schedule, x_start, t, noise)
    through_start = q_posterior_mean_variance(schedule, x_start, x_t, t)[0]
    through_noise = q_posterior_mean_from_epsilon(schedule, x_t, t, noise)
    np.testing.assert_allclose(through_noise, through_start, rtol=1e-11, atol=1e-11)


def test_noising_then_stepping_back_keeps_the_distribution():
    """Marginalize the posterior over q(x_t | x_0), in closed form: what results is q(x_{t-1} | x_0)."""
    schedule = make_schedule("squaredcos_cap_v2", 50)
    for t in range(1, 50):
        of_start = q_posterior_mean_variance(schedule, ONE, ZERO, t)[0][0]
        of_x_t = q_posterior_mean_variance(schedule, ZERO, ONE, t)[0][0]
        mean, variance, _ = q_mean_variance(schedule, ONE, t)
        before, before_variance, _ = q_mean_variance(schedule, ONE, t - 1)
        assert of_start + of_x_t * mean[0] == pytest.approx(before[0], rel=1e-12)
        assert of_x_t**2 * variance + schedule.posterior_variance[t] == pytest.approx(before_variance, rel=1e-12)


def test_times_of_a_batch_give_variances_of_its_shape():
    """With (N,) times, variance and log variance are (N, 1, ..., 1) and broadcast to the mean."""
    schedule, x = make_schedule("linear", 10), np.ones((3, 2, 4), np.float32)
    for mean, variance, log_variance in (
        q_mean_variance(schedule, x, [0, 4, 9]),
        q_posterior_mean_variance(schedule, x, x, [0, 4, 9]),
    ):
        assert mean.shape == (3, 2, 4)
        assert variance.shape == log_variance.shape == (3, 1, 1)
        assert mean.dtype == variance.dtype == log_variance.dtype == np.float32
