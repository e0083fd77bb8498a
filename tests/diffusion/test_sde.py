"""The SDEs, by their moments: for Gaussian data every solution is Gaussian, so mean and variance say everything, without drawing."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import norm

from minidiff import tensor
from minidiff.diffusion import (
    EDM,
    PREDICTION_TYPES,
    Cosine,
    Gaussian,
    Mixture,
    StraightLine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    drift_and_diffusion,
    euler_maruyama,
    forward_sde,
    make_schedule,
    marginal_prob,
    prior_logp,
    prior_sampling,
    probability_flow_velocity,
    reverse_drift,
    reverse_sde,
    score_function,
)
from minidiff.random import Generator

#            process                 from  to     a part of its time where nothing is infinite
PROCESSES = {
    "vp":      (VariancePreserving(),    0.0, 1.0),
    "sub_vp":  (SubVariancePreserving(), 0.0, 1.0),
    "ve":      (VarianceExploding(),     0.0, 1.0),
    "cosine":  (Cosine(),                0.0, 0.9),
    "line":    (StraightLine(),          0.0, 0.9),
    "edm":     (EDM,                     0.0, 5.0),
}
processes = pytest.mark.parametrize("process, first, last", PROCESSES.values(), ids=PROCESSES)
DATA = Gaussian(0.4, 0.7)


def moments(rate, constant, noise, start, times):
    """Solve dm/dt = rate m + constant, dP/dt = 2 rate P + noise, between two times."""
    solution = solve_ivp(lambda t, y: [rate(t) * y[0] + constant(t), 2 * rate(t) * y[1] + noise(t)], times, start, "DOP853",
                         rtol=1e-10, atol=1e-12)
    return solution.y[:, -1]


# -- the equations ---------------------------------------------------------------------------------------------------


@processes
def test_the_moments_of_the_forward_sde_are_alpha_and_sigma_squared(process, first, last):
    """Its linear moment equations, solved numerically from the first time on."""
    rate = lambda t: float(drift_and_diffusion(process, np.ones(1), t)[0][0])
    noise = lambda t: drift_and_diffusion(process, np.ones(1), t)[1] ** 2
    for t in (last, (first + last) / 3):
        mean, variance = moments(rate, lambda t: 0.0, noise, [1.0, float(process.sigma(first)) ** 2], (first, t))
        got, std = marginal_prob(process, np.ones((1, 1)), t)
        assert got[0, 0] == pytest.approx(mean, rel=1e-8)
        assert std**2 == pytest.approx(variance, rel=1e-8)


@processes
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_every_eta_runs_backwards_through_the_same_marginals(process, first, last, eta):
    """With the exact score the drift is affine in x; its moment equations, solved backwards, give the moments of alpha x_0 + sigma eps."""
    score = score_function(DATA.model(process), process)

    def drift(x, t):
        x = np.array([x])
        return float(reverse_drift(process, x, t, score(x, t), eta)[0])

    noise = lambda t: -(eta**2) * drift_and_diffusion(process, np.ones(1), t)[1] ** 2
    levels = [process.level(t) for t in (last, first + 0.02 * (last - first))]
    (mean, variance), (mean_end, variance_end) = ((0.4 * a, (0.7 * a) ** 2 + s**2) for _, a, s in levels)
    got = moments(lambda t: drift(1.0, t) - drift(0.0, t), lambda t: drift(0.0, t), noise, [mean, variance], [l.time for l in levels])
    np.testing.assert_allclose(got, [mean_end, variance_end], rtol=1e-7)


def test_the_velocity_is_the_reverse_drift_without_noise_and_moves_the_solution():
    """Along x_t = the closed-form flow of a Gaussian, central differences in t."""
    process, x, step = VariancePreserving(), np.array([[0.3], [-2.0]]), 1e-4
    score = score_function(DATA.model(process), process)
    at = lambda t: DATA.flow(x, process.level(0.9), process.level(t))
    velocity = probability_flow_velocity(process, at(0.5), 0.5, score(at(0.5), 0.5))
    np.testing.assert_allclose(velocity, (at(0.5 + step) - at(0.5 - step)) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_every_prediction_is_turned_into_the_score(prediction_type):
    """The density's own gradient, by central differences; one time for all, and one for each sample."""
    data, process, step = Mixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], [0.3, 0.6]), SubVariancePreserving(), 1e-5
    x = np.random.default_rng().standard_normal((3, 2))
    score = score_function(data.model(process, prediction_type), process, prediction_type)
    for times in (0.4, [0.1, 0.5, 1.0]):
        alpha, sigma = (np.broadcast_to(f(np.asarray(times)), 3).reshape(3, 1) for f in (process.alpha, process.sigma))
        slopes = [(data.log_prob(x + step * e, alpha, sigma) - data.log_prob(x - step * e, alpha, sigma)) / (2 * step) for e in np.eye(2)]
        np.testing.assert_allclose(score(x, times), np.stack(slopes, 1), rtol=1e-6, atol=1e-6)


def test_the_prior_is_normal_with_the_last_sigma():
    """scipy's normal density, summed up; odd shapes; a time of one's own for a process without end."""
    z = np.random.default_rng().standard_normal((5, 3, 1, 2))
    for process, t in ((VarianceExploding(), None), (VariancePreserving(), 0.7), (EDM, 80.0)):
        std = float(process.sigma(process.last_time if t is None else t))
        exact = norm.logpdf(std * z, scale=std).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(prior_logp(process, prior_sampling(process, z, t), t), exact, rtol=1e-12)
    with pytest.raises(ValueError, match=r"prior_logp: this process has no last time; give the time t"):
        prior_logp(EDM, z)
    with pytest.raises(ValueError, match=r"prior_sampling: this process has no last time"):
        prior_sampling(EDM, z)


# -- Euler and Maruyama ----------------------------------------------------------------------------------------------


def law(sde, times, mean, std):
    """Mean and variance of the solver's end, exactly: a row of the batch for the mean, for the start, and for each step's noise."""
    draws = len(times) - 1
    rows = np.eye(2 + draws)
    x = mean + std * rows[1][:, None]
    noise = [row[:, None] for row in rows[2:]] if sde.diffusion(times[0]) > 0 else []
    end = euler_maruyama(sde, x, times, noise=noise)[:, 0]
    return end[0], ((end[1:] - end[0]) ** 2).sum()


def errors_fall_like_the_step(sde, first, last, mean, std, exact):
    """The errors of mean and variance, times the number of steps, tend to constants, of which one at least is not 0."""
    per_step = [np.subtract(law(sde, np.linspace(first, last, n + 1), mean, std), exact) * n for n in (80, 160)]
    assert (np.abs(per_step[1]) > 1e-3).any()
    np.testing.assert_allclose(per_step[1], per_step[0], rtol=0.1, atol=1e-3)


@processes
def test_the_forward_solver_has_weak_order_one(process, first, last):
    """Exact moments of the computed end against alpha x_0 and sigma^2, for halved steps."""
    first = first + 0.1 * (last - first)
    a, s = process.alpha(last), process.sigma(last)
    exact = (0.4 * a, (0.7 * a) ** 2 + s**2)
    level = process.level(first)
    start = (0.4 * level.alpha, np.sqrt((0.7 * level.alpha) ** 2 + level.sigma**2))
    errors_fall_like_the_step(forward_sde(process), first, last, *start, exact)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("name", ["vp", "sub_vp", "cosine", "line", "edm"])
def test_the_reverse_solver_has_weak_order_one(name, eta):
    """The same, backwards with the exact score."""
    process, first, last = PROCESSES[name]
    last, first = process.level(last), process.level(first + 0.1 * (last - first))
    marginal = lambda level: (0.4 * level.alpha, (0.7 * level.alpha) ** 2 + level.sigma**2)
    mean, variance = marginal(last)
    sde = reverse_sde(DATA.model(process), process, eta=eta)
    errors_fall_like_the_step(sde, last.time, first.time, mean, np.sqrt(variance), marginal(first))


def test_the_solver_is_the_loop_one_writes_down():
    """x + (s - t) (f x - g^2 score) + g sqrt(t - s) z, in a plain loop; the same numbers whether given or drawn."""
    process, x = VariancePreserving(), np.random.default_rng().standard_normal((3, 2))
    times, noise = [0.9, 0.5, 0.45, 0.01], list(np.random.default_rng().standard_normal((3, 3, 2)))
    model = DATA.model(process)
    expected, seen = x, []
    for (t, s), z in zip(pairwise(times), noise):
        f, g2, sigma = process.drift_rate(t), process.diffusion_squared(t), process.sigma(t)
        mean = expected + (s - t) * (f * expected + g2 * model(expected, t) / sigma)
        seen.append(expected)
        expected = mean + np.sqrt(g2 * (t - s)) * z
    calls = []
    sde = reverse_sde(model, process)
    got = euler_maruyama(sde, x, times, noise=noise, callback=lambda k, t, x: calls.append((k, t, x)))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert [(k, t) for k, t, _ in calls] == [(0, 0.9), (1, 0.5), (2, 0.45)]
    np.testing.assert_allclose([x for *_, x in calls], seen, rtol=1e-12)
    np.testing.assert_allclose(euler_maruyama(sde, x, times, noise=noise[:2], denoise=True), mean, rtol=1e-12)

    drawing = Generator(1)
    drawn = [drawing.standard_normal((3, 2), "float64") for _ in range(3)]
    np.testing.assert_array_equal(euler_maruyama(sde, x, times, generator=Generator(1)), euler_maruyama(sde, x, times, noise=drawn))


@pytest.mark.parametrize("kind", ["float32", "non-contiguous", "Tensor"])
def test_arrays_come_back_as_they_came(kind):
    """float32 stays, strides do not matter, and a Tensor is differentiable through the whole walk."""
    process, base = VariancePreserving(), np.random.default_rng().standard_normal((4, 3, 2))
    sde, times = reverse_sde(DATA.model(process), process, eta=0.0), [0.9, 0.4, 0.1]
    expected = euler_maruyama(sde, base, times)
    if kind == "float32":
        got = euler_maruyama(sde, base.astype(np.float32), times)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    elif kind == "non-contiguous":
        np.testing.assert_array_equal(euler_maruyama(sde, np.asfortranarray(base), times), expected)
    else:
        x = tensor(base, requires_grad=True)
        got = euler_maruyama(sde, x, times)
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
        got.sum().backward()
        slope = (euler_maruyama(sde, base + 1, times) - expected)  # affine, so any difference is the slope
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-9)


def test_bad_input_is_refused_by_name():
    """Each with the function's name, or the model's time, and what to do."""
    process, x = VariancePreserving(), np.zeros((2, 3))
    model = DATA.model(process)
    sde = reverse_sde(model, process)
    for times, words in (([0.1, 0.5], r"euler_maruyama: expected strictly decreasing times for this SDE, got 0.1 before 0.5"),
                         ([0.5], "at least two times"), ([0.5, np.nan], "decreasing"), (["a", "b"], "at least two")):
        with pytest.raises(ValueError, match=words):
            euler_maruyama(sde, x, times, generator=Generator(0))
    with pytest.raises(ValueError, match="expected strictly increasing times"):
        euler_maruyama(forward_sde(process), x, [0.5, 0.1], generator=Generator(0))
    with pytest.raises(ValueError, match="euler_maruyama: fresh noise is drawn 2 times; give a generator"):
        euler_maruyama(sde, x, [0.5, 0.3, 0.1])
    with pytest.raises(ValueError, match="euler_maruyama: expected 2 arrays of noise, one for each draw, got 1"):
        euler_maruyama(sde, x, [0.5, 0.3, 0.1], noise=[x])
    with pytest.raises(ValueError, match="either a generator or noise, got both"):
        euler_maruyama(sde, x, [0.5, 0.3], noise=[x], generator=Generator(0))
    with pytest.raises(TypeError, match="expected a process in continuous time"):
        drift_and_diffusion(make_schedule("linear", 10), x, 3)
    with pytest.raises(ValueError, match=r"at time 1\.0 the drift or the diffusion of the SDE is infinite"):
        drift_and_diffusion(StraightLine(), x, [0.5, 1.0])
    with pytest.raises(ValueError, match="outside the process"):
        drift_and_diffusion(process, x, 1.5)
    with pytest.raises(ValueError, match="reverse_drift: expected eta >= 0"):
        reverse_drift(process, x, 0.5, x, eta=-1)
    with pytest.raises(TypeError, match="reverse_drift: expected score to have the dtype of x"):
        reverse_drift(process, x, 0.5, x.astype(np.float32))
    with pytest.raises(ValueError, match="score_function: sigma is 0 at time 0"):
        score_function(model, process)(x, 0.0)
    with pytest.raises(ValueError, match="score_function: alpha is 0 at time 1"):
        score_function(model, StraightLine())(x, [0.5, 1.0])
    with pytest.raises(ValueError, match="score_function: unknown prediction_type 'noise'"):
        score_function(model, process, "noise")
    with pytest.raises(ValueError, match=r"score_function: expected model_output to have the shape of x"):
        score_function(lambda x, t: x[:, :1], process)(x, 0.5)
    with pytest.raises(FloatingPointError, match=r"the model returned NaN or infinity at time 0\.5"):
        score_function(lambda x, t: x * np.nan, process)(x, 0.5)
