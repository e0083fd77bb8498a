"""DPM-Solver-1, -2, -3, DPM-Solver++(2S), their ancestral forms: the papers' pseudo-code, 50 digits, and the orders of convergence."""

import math
from itertools import pairwise

import numpy as np
import pytest
from convergence import global_errors, moments, slope, uniform_in_lambda, weak_errors
from diffusion_laws import MP
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import (
    DDIM,
    DPM_2_ANCESTRAL,
    DPM_SOLVER_1,
    DPM_SOLVER_2,
    DPM_SOLVER_3,
    DPMPP_2S,
    DPMPP_2S_ANCESTRAL,
    DPMPP_3S,
    DPMPP_SDE,
    EDM,
    EULER,
    Ancestral,
    Gaussian,
    Level,
    Mixture,
    Plan,
    SingleStep,
    StraightLine,
    VariancePreserving,
    make_schedule,
    path,
    sample,
)

MIXTURE = Mixture([0.4, 0.6], [[-1.0], [0.8]], [0.2, 0.3])
PROCESSES = {"edm": (EDM, 80.0, 0.02), "vp": (VariancePreserving(), 1.0, 0.01), "line": (StraightLine(), 0.98, 0.02),
             "schedule": (make_schedule("linear", 1000), 999, 0)}
processes = pytest.mark.parametrize("process, first, last", PROCESSES.values(), ids=PROCESSES)
DETERMINISTIC = {"1": DPM_SOLVER_1, "2": DPM_SOLVER_2, "3": DPM_SOLVER_3, "2S": DPMPP_2S, "3S": DPMPP_3S}


class Told:
    """The world as DPM-Solver's papers write it: functions of lambda, and a model that is not linear, told in eps and in x_0."""

    def __init__(self, process):
        self.process = process

    def t(self, lam):
        return float(self.process.time_of(2 * lam))

    def alpha(self, lam):
        return float(self.process.alpha(self.t(lam)))

    def sigma(self, lam):
        return float(self.process.sigma(self.t(lam)))

    def lam(self, t):
        return float(self.process.log_snr(t)) / 2

    def x_start(self, x, lam):
        return np.tanh(x * self.alpha(lam)) / (1 + 0.3 * self.sigma(lam))

    def eps(self, x, lam):
        return (x - self.alpha(lam) * self.x_start(x, lam)) / self.sigma(lam)


def solver_1(w, x, t, s):
    """Lu et al. 2022a, DPM-Solver-1."""
    h = s - t
    return w.alpha(s) / w.alpha(t) * x - w.sigma(s) * (math.exp(h) - 1) * w.eps(x, t)


def solver_2(w, x, t, s, r1=0.5):
    """Lu et al. 2022a, DPM-Solver-2, for any r1."""
    h = s - t
    s1 = t + r1 * h
    u = w.alpha(s1) / w.alpha(t) * x - w.sigma(s1) * (math.exp(r1 * h) - 1) * w.eps(x, t)
    d = w.eps(u, s1) - w.eps(x, t)
    factor = w.sigma(s) * (math.exp(h) - 1)
    return w.alpha(s) / w.alpha(t) * x - factor * w.eps(x, t) - factor / (2 * r1) * d


def solver_3(w, x, t, s, r1=1 / 3, r2=2 / 3):
    """Lu et al. 2022a, DPM-Solver-3."""
    h = s - t
    s1, s2 = t + r1 * h, t + r2 * h
    u1 = w.alpha(s1) / w.alpha(t) * x - w.sigma(s1) * (math.exp(r1 * h) - 1) * w.eps(x, t)
    d1 = w.eps(u1, s1) - w.eps(x, t)
    u2 = (w.alpha(s2) / w.alpha(t) * x - w.sigma(s2) * (math.exp(r2 * h) - 1) * w.eps(x, t)
          - w.sigma(s2) * r2 / r1 * ((math.exp(r2 * h) - 1) / (r2 * h) - 1) * d1)
    d2 = w.eps(u2, s2) - w.eps(x, t)
    return (w.alpha(s) / w.alpha(t) * x - w.sigma(s) * (math.exp(h) - 1) * w.eps(x, t)
            - w.sigma(s) / r2 * ((math.exp(h) - 1) / h - 1) * d2)


def solver_pp_2s(w, x, t, s, r1=0.5):
    """Lu et al. 2022b, DPM-Solver++(2S)."""
    h = s - t
    s1 = t + r1 * h
    u = w.sigma(s1) / w.sigma(t) * x - w.alpha(s1) * (math.exp(-r1 * h) - 1) * w.x_start(x, t)
    d = (1 - 1 / (2 * r1)) * w.x_start(x, t) + 1 / (2 * r1) * w.x_start(u, s1)
    return w.sigma(s) / w.sigma(t) * x - w.alpha(s) * (math.exp(-h) - 1) * d


@pytest.mark.parametrize("process, times", [(EDM, [20.0, 3.0, 0.7, 0.1]), (VariancePreserving(), [0.9, 0.5, 0.2, 0.01]),
                                            (StraightLine(), [0.95, 0.6, 0.59, 0.1])], ids=["edm", "vp", "line"])
@pytest.mark.parametrize(
    "sampler, step",
    [
        (DPM_SOLVER_1, solver_1), (DPM_SOLVER_2, solver_2), (DPM_SOLVER_3, solver_3), (DPMPP_2S, solver_pp_2s),
        (SingleStep((0.3,), "epsilon"), lambda *a: solver_2(*a, r1=0.3)), (SingleStep((0.8,)), lambda *a: solver_pp_2s(*a, r1=0.8)),
        (SingleStep((0.2, 2 / 3), "epsilon"), lambda *a: solver_3(*a, r1=0.2)),
    ],
    ids=["1", "2", "3", "++2S", "2 r1=.3", "++2S r1=.8", "3 r1=.2"],
)
def test_every_step_is_the_paper_s_pseudo_code(process, times, sampler, step):
    """A model that is not linear; all steps but the last, which ends at the predicted data."""
    world, states = Told(process), []
    x = np.random.default_rng().standard_normal((3, 4))
    result = sample(lambda x, t: world.x_start(x, world.lam(t[0])), process, x, times, sampler, prediction_type="sample",
                    arrived=lambda i, level, x: states.append(x) or x)
    for before, after, (t, s) in zip([x, *states], states, pairwise(times)):
        np.testing.assert_allclose(after, step(world, before, world.lam(t), world.lam(s)), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result, world.x_start(states[-2], world.lam(times[-1])), rtol=1e-9, atol=1e-12)


def ancestral_step(sigma, sigma_next, eta):
    """(down, up) of k-diffusion, in the sigmas of x^."""
    up = min(sigma_next, eta * math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2))
    return math.sqrt(sigma_next**2 - up**2), up


def stochastic(sampler, denoise, sigmas, x, draws):
    """k-diffusion's three loops from their description, for x^ = x, sigma = t; dpmpp_sde with the noise of one Brownian motion in sigma."""
    draws = iter(draws)
    for sigma, following in pairwise([*sigmas, 0.0]):
        first = denoise(x, sigma)
        if following == 0:
            return first
        if sampler.noisy_stages:
            middle = math.sqrt(sigma * following)
            down, up = ancestral_step(sigma, middle, sampler.eta)
            z = next(draws)
            second = denoise(down / sigma * x + (1 - down / sigma) * first + up * z, middle)
            down, up = ancestral_step(sigma, following, sampler.eta)
            shared = (sigma - middle) / (sigma - following)
            x = down / sigma * x + (1 - down / sigma) * second + up * (math.sqrt(shared) * z + math.sqrt(1 - shared) * next(draws))
            continue
        down, up = ancestral_step(sigma, following, sampler.eta)
        middle = math.sqrt(sigma * down)
        second = denoise(middle / sigma * x + (1 - middle / sigma) * first, middle)
        if sampler.predicts == "epsilon":
            slope_there = (middle / sigma * x + (1 - middle / sigma) * first - second) / middle
            x = x + (down - sigma) * slope_there + up * next(draws)
        else:
            x = down / sigma * x + (1 - down / sigma) * second + up * next(draws)


@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("sampler", [DPM_2_ANCESTRAL, DPMPP_2S_ANCESTRAL, DPMPP_SDE], ids=["dpm_2_a", "dpmpp_2s_a", "dpmpp_sde"])
def test_ancestral_walks_are_k_diffusion_s(sampler, eta):
    """Written out once more in sigmas, where the code here works in lambda; a model that is not linear."""
    sampler, sigmas = SingleStep(sampler.stages, sampler.predicts, eta, sampler.noisy_stages), [14.0, 3.0, 0.7, 0.05]
    rng = np.random.default_rng()
    x, noise = 14 * rng.standard_normal((2, 3)), rng.standard_normal((sampler.plan(path(EDM, sigmas)).draws, 2, 3))
    assert len(noise) == (6 if sampler.noisy_stages else 3)

    def denoise(x, sigma):
        return np.tanh(x / (1 + sigma)) / (1 + 0.1 * sigma)

    got = sample(lambda x, t: denoise(x, t[0]), EDM, x, sigmas, sampler, noise=noise, prediction_type="sample")
    np.testing.assert_allclose(got, stochastic(sampler, denoise, sigmas, x, noise), rtol=1e-9, atol=1e-12)


@given(st.floats(-8, math.log10(20)), st.floats(-3, 3), st.sampled_from(list(DETERMINISTIC.values())))
def test_coefficients_of_short_and_long_steps_are_right(log_h, log_sigma, sampler):
    """The pseudo-code's factors of x and of each prediction in 50 digits, h from 1e-8 to 20: within 100 ulps of their sum.

    A coefficient may be the difference of two (or vanish); what the samples notice is its error beside the whole weight of the step.
    """
    h, sigma = 10.0**log_h, 10.0**log_sigma
    t, s = Level(sigma, 1.0, sigma), Level(sigma * math.exp(-h), 1.0, sigma * math.exp(-h))
    rows = [row for move in sampler.step(path(EDM, [sigma]), t, s, h) for row in move.rows]
    z = MP.mpf(h) if sampler.predicts == "epsilon" else -MP.mpf(h)
    scale = -MP.mpf(s.sigma) if sampler.predicts == "epsilon" else MP.mpf(-1)
    stages = [MP.mpf(r) for r in sampler.stages]

    def exact(part):
        """(e^z - 1, (e^z - 1) / z - 1) of a part of the step, with the factor that belongs to its end."""
        there = scale * (MP.exp((1 - part) * MP.mpf(h)) if sampler.predicts == "epsilon" else 1)
        return there * MP.expm1(part * z), there * (MP.expm1(part * z) / (part * z) - 1)

    weights = []
    for r in stages[:1]:
        weights.append([exact(r)[0]])
    if len(stages) == 2:
        slope_2 = exact(stages[1])[1] * stages[1] / stages[0]
        weights.append([slope_2, exact(stages[1])[0] - slope_2])
    whole, slope_whole = exact(MP.mpf(1))
    if len(stages) == 0:
        weights.append([whole])
    elif len(stages) == 1:
        weights.append([whole / (2 * stages[0]), whole - whole / (2 * stages[0])])
    else:
        weights.append([slope_whole / stages[1], MP.mpf(0), whole - slope_whole / stages[1]])
    for row, expected, part in zip(rows, weights, [*stages, MP.mpf(1)], strict=True):
        factor = MP.mpf(1) if sampler.predicts == "epsilon" else MP.exp(-part * MP.mpf(h))
        assert row.x == pytest.approx(float(factor), rel=1e-13)
        np.testing.assert_allclose(row.predictions, [float(w) for w in expected], rtol=0, atol=100 * 2.0**-52 * float(abs(sum(expected))))


@processes
@pytest.mark.parametrize("data", [Gaussian(0.3, 0.5), Gaussian(-0.1, 2.0), MIXTURE], ids=["narrow", "wide", "mixture"])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_error_falls_with_the_order(process, first, last, data, name):
    """Against the exact solution of the probability-flow ODE at a fixed level, steps of equal length in lambda: slopes 1, 2, 3."""
    sampler, counts = DETERMINISTIC[name], [80, 160] if data is MIXTURE else [40, 80, 160]
    x = process.level(first).sigma * np.array([[-2.0], [0.3], [1.5]])
    errors = global_errors(sampler, data, process, first, last, counts, x)
    assert abs(slope(counts, errors) - sampler.order) < 0.25


@processes
@pytest.mark.parametrize("sampler", [DPM_2_ANCESTRAL, DPMPP_2S_ANCESTRAL, DPMPP_SDE, SingleStep(eta=0.5)], ids=["2a", "2sa", "sde", "eta"])
def test_mean_and_variance_converge_with_order_two(process, first, last, sampler):
    """Exact moments on Gaussian data, without drawing."""
    counts = [80, 160, 320]
    assert abs(slope(counts, weak_errors(sampler, Gaussian(0.3, 0.5), process, first, last, counts)) - 2) < 0.2


def test_independent_noise_within_a_step_costs_an_order():
    """DPMPP_SDE with stage and step noise drawn independently (as with a plain random source in k-diffusion): weak order 1."""

    class Independent(SingleStep):
        def plan(self, path):
            plan = super().plan(path)
            apart = lambda row: row and row._replace(noise=math.hypot(row.noise, row.last_noise), last_noise=0.0)
            return Plan(plan.predicts, [move._replace(settle=apart(move.settle)) for move in plan.moves])

    counts = [80, 160, 320]
    errors = weak_errors(Independent((0.5,), eta=1.0, noisy_stages=True), Gaussian(0.3, 0.5), EDM, 80.0, 0.02, counts)
    assert 0.8 < slope(counts, errors) < 1.1


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_stochastic_walks_have_no_bias_of_the_mean(std):
    """A walk whose noise is all zero, from the mean of x_T, ends near the mean of the data's marginal."""
    mean, _ = moments(DPMPP_SDE, Gaussian(1.0, std), EDM, uniform_in_lambda(EDM, 80.0, 0.02, 200))
    assert mean == pytest.approx(1.0, abs=1e-3)


@processes
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_order_one_is_the_ancestral_sampler(process, first, last, eta):
    """SingleStep without stages is Ancestral(eta), told in x_0; told in eps it is the same walk, and DPM-Solver-1 is DDIM and Euler."""
    way = path(process, uniform_in_lambda(process, first, last, 9))
    for ours, theirs in zip(SingleStep((), eta=eta).plan(way).moves, Ancestral(eta).plan(way).moves):
        np.testing.assert_allclose([ours.settle.x, *ours.settle.predictions, ours.settle.noise],
                                   [theirs.settle.x, *theirs.settle.predictions, theirs.settle.noise], rtol=1e-12, atol=1e-300)
    for ours, theirs in zip(DPM_SOLVER_1.plan(way).moves, EULER.plan(way).moves):
        np.testing.assert_allclose([ours.settle.x, *ours.settle.predictions], [theirs.settle.x, *theirs.settle.predictions], rtol=1e-13)
    model, x = Gaussian(0.3, 0.5).model(process), np.array([[1.0], [-2.0]])
    noise = [z for z in np.random.default_rng().standard_normal((SingleStep((), eta=eta).plan(way).draws, 2, 1))]
    times = [level.time for level in way.levels if level.sigma > 0]
    walks = [sample(model, process, x, times, sampler, noise=noise)
             for sampler in (SingleStep((), eta=eta), SingleStep((), "epsilon", eta), Ancestral(eta))]
    np.testing.assert_allclose(walks[1:], [walks[0]] * 2, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("sampler", [*DETERMINISTIC.values(), DPM_2_ANCESTRAL, DPMPP_2S_ANCESTRAL, DPMPP_SDE], ids=str)
def test_only_the_step_to_the_data_is_of_order_one(sampler):
    """Calls of the model: the order of the method at each step but the last, one at the last; and that one goes to the data."""
    plan = sampler.plan(path(EDM, [10.0, 5.0, 1.0, 0.1]))
    assert len(plan.moves) == 3 * sampler.order + 1
    last = plan.moves[-1]
    assert last.to.sigma == 0 and last.level.time == 0.1 and last.settle.noise == 0
    assert len(sampler.plan(path(EDM, [0.1])).moves) == 1


@pytest.mark.parametrize("sampler", [DPMPP_2S, DPMPP_3S, DPMPP_2S_ANCESTRAL, DPMPP_SDE], ids=str)
def test_the_step_out_of_pure_noise_is_of_order_one(sampler):
    """At zero terminal SNR the first step is DDIM's, or DDPM's; every other is of full order."""
    schedule = make_schedule("linear", 50, rescale_betas_zero_snr=True)
    way = path(schedule, [49, 30, 10])
    first, *others = sampler.plan(way).moves
    expected = Ancestral(sampler.eta).plan(way).moves[0].settle
    np.testing.assert_allclose([first.settle.x, *first.settle.predictions, first.settle.noise],
                               [expected.x, *expected.predictions, expected.noise], rtol=1e-12, atol=1e-15)
    assert len(others) == sampler.order + 1


def test_stages_are_asked_at_their_own_level():
    """r h further in lambda; for eta = 1 the middle of the longer way down is the end of the step itself, an integer time again."""
    schedule, seen = make_schedule("linear", 50), []
    model = lambda x, t: seen.append(t[0]) or 0 * x
    sample(model, schedule, np.zeros((1, 1)), [40, 20], DPM_SOLVER_3)
    lambdas = schedule.log_snr(np.array(seen[:3], dtype=float)) / 2
    h = (schedule.log_snr(20) - schedule.log_snr(40)) / 2
    np.testing.assert_allclose(lambdas - lambdas[0], [0, h / 3, 2 * h / 3], rtol=1e-9, atol=1e-12)
    seen.clear()
    sample(model, schedule, np.zeros((1, 1)), [40, 20], DPMPP_2S_ANCESTRAL, generator=np.random.default_rng())
    assert seen == [40, 20, 20]


def test_a_walk_that_ends_with_noise_takes_full_order_to_its_end():
    """set_alpha_to_one=False: the last step is finite, so it has its stages too."""
    schedule = make_schedule("linear", 50)
    assert len(DPM_SOLVER_3.plan(path(schedule, [40, 20], set_alpha_to_one=False)).moves) == 6


def test_higher_orders_are_closer_for_the_same_calls_of_the_model():
    """24 calls from sigma = 80 to 0.02 on a mixture of two Gaussians: DPM-Solver-3 before -2 before DDIM."""
    x = 80 * np.array([[-2.0], [0.3], [1.5]])
    errors = [global_errors(sampler, MIXTURE, EDM, 80.0, 0.02, [24 // order], x)[0]
              for sampler, order in ((DPM_SOLVER_3, 3), (DPM_SOLVER_2, 2), (DDIM, 1))]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(predicts="v"), "unknown predicts 'v'; choose from sample, epsilon"),
        (dict(stages=(0.1, 0.2, 0.3)), "expected no, one or two stages"),
        (dict(stages=(0.0,)), r"each in \(0, 1\], got \(0.0,\)"),
        (dict(stages=(1.1,)), r"each in \(0, 1\]"),
        (dict(stages=(0.3, 0.5)), "expected the second stage at 2/3, without which the order is 2, got 0.5"),
        (dict(eta=1.5), "expected eta between 0 .* and 1, got 1.5"),
        (dict(eta=math.nan), "got nan"),
        (dict(eta=1.0, stages=(1 / 3, 2 / 3)), "with eta > 0 expected one stage"),
        (dict(eta=1.0, stages=(0.7,)), "with eta > 0 expected one stage, up to 1/2"),
        (dict(noisy_stages=True), "noisy_stages go with eta > 0 and a stage"),
        (dict(noisy_stages=True, eta=1.0, stages=()), "noisy_stages go with eta > 0 and a stage"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    """One clear message each."""
    with pytest.raises(ValueError, match=f"SingleStep: .*{message}"):
        SingleStep(**arguments)
