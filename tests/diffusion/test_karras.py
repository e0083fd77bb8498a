"""Euler, Heun and churn: against EDM's Algorithm 2 written out, exact Gaussian solutions, and the orders that theory promises."""

import math
from itertools import pairwise

import numpy as np
import pytest
from convergence import flow, global_errors, slope, state_at_last_time, uniform_in_lambda, weak_errors
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import EDM, EULER, HEUN, Gaussian, Karras, Mixture, StraightLine, VariancePreserving, make_schedule, path, sample

MIXTURE = Mixture([0.4, 0.6], [[-1.0], [0.8]], [0.2, 0.3])
PROCESSES = {"edm": (EDM, 80.0, 0.02), "vp": (VariancePreserving(), 1.0, 0.01), "line": (StraightLine(), 0.98, 0.02)}
processes = pytest.mark.parametrize("process, first, last", PROCESSES.values(), ids=PROCESSES)


def karras_sigmas(process, first, last, steps, rho=7.0):
    """EDM's own grid, Karras et al. 2022, Eq. 5, without the zero."""
    sigmas = (np.linspace(first ** (1 / rho), last ** (1 / rho), steps + 1)) ** rho
    sigmas[0], sigmas[-1] = first, last
    return sigmas


def algorithm_2(denoise, sigmas, x, draws, order, s_churn, s_tmin, s_tmax, s_noise):
    """Karras et al. 2022, Algorithm 2, line by line; sigma(t) = t, s(t) = 1. sigmas end with 0; order 1 leaves lines 9 to 12 out."""
    n = len(sigmas) - 1
    draws = iter(draws)
    for i in range(n):
        gamma = min(s_churn / n, math.sqrt(2) - 1) if s_tmin <= sigmas[i] <= s_tmax else 0
        t_hat = sigmas[i] + gamma * sigmas[i]
        x_hat = x + math.sqrt(t_hat**2 - sigmas[i] ** 2) * s_noise * next(draws) if gamma > 0 else x
        d = (x_hat - denoise(x_hat, t_hat)) / t_hat
        x = x_hat + (sigmas[i + 1] - t_hat) * d
        if order == 2 and sigmas[i + 1] != 0:
            d_prime = (x - denoise(x, sigmas[i + 1])) / sigmas[i + 1]
            x = x_hat + (sigmas[i + 1] - t_hat) * (d / 2 + d_prime / 2)
    return x


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "s_churn, s_tmin, s_tmax, s_noise", [(0, 0, math.inf, 1), (4, 0.05, 20, 1.007), (100, 0, math.inf, 1), (1, 0, 5, 0)])
def test_a_walk_is_algorithm_2(order, s_churn, s_tmin, s_tmax, s_noise):
    """A model that is not linear, on EDM's grid: the same numbers as the pseudo-code, and as many draws as steps with churn."""
    sigmas = karras_sigmas(EDM, 80.0, 0.002, 9)
    sampler = Karras(order, s_churn, s_tmin, s_tmax, s_noise)
    rng = np.random.default_rng()
    draws = sampler.plan(path(EDM, sigmas)).draws
    assert draws == (0 if s_churn == 0 or s_noise == 0 else sum(s_tmin <= sigma <= s_tmax for sigma in sigmas))
    x, noise = 80 * rng.standard_normal((3, 4)), rng.standard_normal((draws, 3, 4))

    def denoise(x, sigma):
        return np.tanh(x / (1 + sigma)) / (1 + 0.1 * sigma)

    zeros = np.zeros((len(sigmas), 3, 4)) if s_noise == 0 else noise
    expected = algorithm_2(denoise, [*sigmas, 0.0], x, zeros, order, s_churn, s_tmin, s_tmax, s_noise)
    got = sample(lambda x, t: denoise(x, t[0]), EDM, x, sigmas, sampler, noise=noise, prediction_type="sample")
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_the_model_hears_the_raised_level(order):
    """Noise first, then the question: the first time that the model is told is (1 + gamma) sigma, and x has that much noise."""
    seen = []
    x, z = np.full((1, 1), 3.0), np.full((1, 1), 2.0)
    sampler = Karras(order, s_churn=0.4)
    sample(lambda x, t: seen.append((t[0], x[0, 0])) or 0 * x, EDM, x, [2.0, 1.0], sampler, noise=[z, z], prediction_type="sample")
    assert seen[0] == pytest.approx((2.0 * 1.2, 3.0 + 2.0 * math.sqrt(2.4**2 - 2.0**2)), rel=1e-13)
    assert [t for t, _ in seen] == pytest.approx([2.4, 1.0, 1.2] if order == 2 else [2.4, 1.2], rel=1e-13)


@processes
@pytest.mark.parametrize("order", [1, 2])
def test_churn_keeps_the_marginals(process, first, last, order):
    """x = alpha x_0 + sigma z lifted by a churn row has alpha and sigma of the level that the model is told."""
    way = path(process, uniform_in_lambda(process, first, last, 7))
    moves = [move for move in Karras(order, s_churn=2.0).plan(way).moves if move.churn is not None]
    assert len(moves) == (8 if math.isinf(process.last_time) or first < process.last_time else 7)
    starts = way.levels[8 - len(moves):]
    for t, move in zip(starts, moves):
        up = process.level(move.level.time)
        assert move.churn.x * t.alpha == pytest.approx(up.alpha, rel=1e-12)
        assert math.hypot(move.churn.x * t.sigma, move.churn.noise) == pytest.approx(up.sigma, rel=1e-12)
        assert 0 < move.level.sigma / move.level.alpha / (t.sigma / t.alpha) <= 1.25 * (1 + 1e-9)


def test_churn_stops_at_the_last_time_of_the_process():
    """A schedule has no level beyond T - 1: there is no churn there, and less than wanted just before."""
    schedule = make_schedule("linear", 100)
    plan = Karras(1, s_churn=100.0).plan(path(schedule, [99, 98, 50]))
    assert plan.moves[0].churn is None and plan.moves[0].level.time == 99
    assert plan.moves[1].level.time == pytest.approx(99) and plan.moves[1].churn.noise > 0
    assert plan.moves[2].level.sigma / plan.moves[2].level.alpha == pytest.approx(
        math.sqrt(2) * schedule.level(50).sigma / schedule.level(50).alpha, rel=1e-9)


@given(st.floats(-8, 1.0), st.floats(-3, 3))
def test_short_steps_keep_their_digits(log_h, log_sigma):
    """The factor of eps is sigma_s - sigma_t = sigma_t (exp(-h) - 1), though the difference of the sigmas has lost it."""
    sigma, h = 10.0**log_sigma, 10.0**log_h
    (move, *_), step = EULER.plan(path(EDM, [sigma, sigma * math.exp(-h)])).moves, path(EDM, [sigma, sigma * math.exp(-h)]).steps[0]
    assert move.settle.predictions[0] == pytest.approx(sigma * math.expm1(-step), rel=1e-15, abs=0) and move.settle.x == 1


@processes
@pytest.mark.parametrize("data", [Gaussian(0.3, 0.5), MIXTURE], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("sampler, order", [(EULER, 1), (HEUN, 2)], ids=["euler", "heun"])
def test_the_error_falls_with_the_order(process, first, last, data, sampler, order):
    """Against the exact solution of the probability-flow ODE, at a fixed level, steps of equal length in lambda."""
    counts, x = [40, 80, 160], process.level(first).sigma * np.array([[-2.0], [0.3], [1.5]])
    errors = global_errors(sampler, data, process, first, last, counts, x)
    assert abs(slope(counts, errors) - order) < 0.15


@pytest.mark.parametrize("sampler, order", [(EULER, 1), (HEUN, 2)], ids=["euler", "heun"])
def test_the_order_is_the_same_on_edm_s_grid(sampler, order):
    """rho = 7 is a smooth change of the variable: another constant, the same slope."""
    counts, x = [40, 80, 160], 80 * np.array([[-2.0], [0.3], [1.5]])
    errors = global_errors(sampler, Gaussian(0.3, 0.5), EDM, 80.0, 0.02, counts, x, times=karras_sigmas)
    assert abs(slope(counts, errors) - order) < 0.15


def test_the_step_to_the_data_leaves_an_error_that_more_steps_do_not_mend():
    """From sigma_min Euler goes to D(x), not to x_0: s^2 / (s^2 + sigma^2) instead of its root; the floor sigma_min^2 / (2 s^2)."""
    std, x = 0.5, np.array([[40.0]])
    data, model = Gaussian(0.0, std), Gaussian(0.0, std).model(EDM)
    for sigma_min in (0.05, 0.02):
        exact = flow(data, EDM, 80.0, 1e-9, x)
        errors = [abs(sample(model, EDM, x, karras_sigmas(EDM, 80.0, sigma_min, n), HEUN) / exact - 1).max() for n in (400, 800)]
        assert errors == pytest.approx([sigma_min**2 / (2 * std**2)] * 2, rel=0.1)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-15)])
def test_the_step_to_the_data_ends_at_the_prediction(dtype, tolerance):
    """x - sigma (x - D) / sigma is D, to rounding of D and not of sigma: one step from sigma = 80."""
    x = 80 * np.random.default_rng().standard_normal((5, 3)).astype(dtype)
    predicted = np.tanh(x)
    for sampler in (EULER, HEUN):
        got = sample(lambda x, t: np.tanh(x), EDM, x, [80.0], sampler, prediction_type="sample")
        np.testing.assert_allclose(got, predicted, rtol=tolerance, atol=100 * tolerance * 1e-2)


@processes
@pytest.mark.parametrize("order", [1, 2])
def test_with_churn_mean_and_variance_converge_with_the_order(process, first, last, order):
    """Exact moments. s_churn / N must be below sqrt(2) - 1, or gamma no longer falls with N and nothing converges."""
    counts = [80, 160, 320]
    errors = weak_errors(Karras(order, s_churn=20.0), Gaussian(0.3, 0.5), process, first, last, counts)
    assert abs(slope(counts, errors) - order) < 0.25
    capped = weak_errors(Karras(1, s_churn=1e9), Gaussian(0.3, 0.5), process, first, last, counts)
    assert slope(counts, capped) < 0.5


def test_euler_on_gaussian_data_is_the_known_product():
    """x^ - m shrinks by 1 - (1 - sigma'/sigma) sigma^2 / (s^2 + sigma^2) at every step."""
    data, sigmas, x = Gaussian(0.3, 0.5), karras_sigmas(EDM, 80.0, 0.02, 12), np.array([[-30.0], [90.0]])
    expected = x
    for a, b in pairwise(sigmas):
        expected = 0.3 + (1 + (b - a) * a / (0.25 + a * a)) * (expected - 0.3)
    np.testing.assert_allclose(state_at_last_time(EULER, data, EDM, sigmas, x), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(order=3), r"expected order 1 \(Euler\) or 2 \(Heun\), got 3"),
        (dict(s_churn=-1), "expected s_churn of at least 0, got -1"),
        (dict(s_churn=math.nan), "expected s_churn of at least 0, got nan"),
        (dict(s_noise=-0.1), "expected s_noise of at least 0, got -0.1"),
        (dict(s_tmin=2, s_tmax=1), "expected 0 <= s_tmin <= s_tmax, got 2 and 1"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    """One clear message each."""
    with pytest.raises(ValueError, match=f"Karras: {message}"):
        Karras(**arguments)
