"""Multistep DPM-Solvers: integrals against mpmath, published algorithms written out, orders of convergence with perfect models."""

import math
from itertools import accumulate, pairwise

import numpy as np
import pytest
from convergence import global_errors, moments, slope, uniform_in_lambda, weak_errors
from diffusion_laws import MP
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.diffusion import (
    DDIM,
    DDPM,
    DPM_SOLVER_2M,
    DPM_SOLVER_3M,
    DPMPP_2M,
    DPMPP_2M_SDE,
    DPMPP_3M,
    DPMPP_3M_SDE,
    EDM,
    Ancestral,
    Gaussian,
    Level,
    Mixture,
    Multistep,
    Path,
    Schedule,
    StraightLine,
    VariancePreserving,
    make_schedule,
    path,
    sample,
    timesteps,
)
from minidiff.diffusion.samplers.multistep import moment

VP = VariancePreserving()
KINDS = [("sample", 0.0), ("sample", 0.7), ("epsilon", 0.0)]
SAMPLERS = [Multistep(order, predicts, eta) for order in (1, 2, 3) for predicts, eta in KINDS]
MIXTURE = Mixture([0.3, 0.7], [[-1.0, 0.5], [0.8, -0.4]], [[0.4, 0.6], [0.5, 0.9]])
PAIR = Gaussian([0.3, -0.2], [0.5, 1.2])


def step_lengths(low, high):
    return st.floats(math.log10(low), math.log10(high)).map(lambda exponent: 10.0**exponent)


@st.composite
def paths(draw, low=0.05, high=2.0, size=6):
    """Variance preserving levels whose lambdas are any distances apart; the steps are exactly those distances."""
    steps = draw(st.lists(step_lengths(low, high), min_size=size, max_size=size))
    lambdas = accumulate(steps, initial=draw(st.floats(-4, 1)))
    return Path(None, tuple(preserving(lam) for lam in lambdas), tuple(steps))


def preserving(lam):
    """The level of a variance preserving process with this lambda; its time does not matter."""
    return Level(-lam, 1 / math.sqrt(1 + math.exp(-2 * lam)), 1 / math.sqrt(1 + math.exp(2 * lam)))


def numbers(row):
    return [row.x, *row.predictions, row.noise]


def integral(weight, n, h):
    """The integral of weight(u) u^n over 0 <= u <= h, by quadrature."""
    return MP.quad(lambda u: weight(u) * u**n, MP.linspace(0, h, 5))


def bumpy(x, lam):
    """A model that is not linear in anything."""
    return math.tanh(x) + 0.3 * math.sin(lam + 2 * x)


def walked(plan, x, levels, noise):
    """Carry a plan without stages out on a number, with `bumpy`; noise: one number a step."""
    past = []
    for move, level, z in zip(plan.moves, levels, noise):
        past.insert(0, bumpy(x, level.half_log_snr))
        row = move.settle
        x = row.x * x + sum(w * m for w, m in zip(row.predictions, past)) + row.noise * z
    return x


# -- the integrals ---------------------------------------------------------------------------------------------------


@given(step_lengths(1e-8, 2000), st.integers(0, 4), st.integers(0, 2))
def test_moments_are_the_integrals_at_any_length(z, n, m):
    """Kummer's function at 50 digits: a few ulps for small steps, where phi functions cancel, and for large ones."""
    exact = MP.mpf(z) * MP.beta(n + 1, m + 1) * MP.hyp1f1(m + 1, n + m + 2, -MP.mpf(z))
    assert float(abs(moment(z, n, m) / exact - 1)) < min(10 + z, 100) * 2.0**-52


@pytest.mark.parametrize(("n", "m"), [(0, 0), (1, 0), (3, 0), (1, 1), (0, 1)])
def test_moments_at_the_ends(n, m):
    """z = 0: no weight. z = inf: all weight on the end of the step, tau = 1."""
    assert moment(0.0, n, m) == 0
    assert moment(math.inf, n, m) == (m == 0)


@settings(max_examples=30)
@given(paths(low=1e-8, high=20, size=4), st.sampled_from([s for s in SAMPLERS if s.order > 1]),
       st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_polynomials_in_lambda_of_degree_below_the_order_are_integrated_exactly(walk, sampler, coefficients):
    """Each full-order step, with predictions c_0 + c_1 lambda + c_2 lambda^2, against quadrature of the equation at 50 digits.

    Relative to the terms that are added up: with steps of 1e-8 beside steps of 20 these are far larger than their sum.
    """
    coefficients = coefficients[: sampler.order]
    for k in range(sampler.order - 1, len(walk)):
        t, s, h = walk.levels[k], walk.levels[k + 1], MP.mpf(walk.steps[k])
        since = [-sum((MP.mpf(step) for step in walk.steps[k - i: k]), MP.mpf(0)) for i in range(sampler.order)]  # lambda - lambda_t
        row = sampler.plan(walk).moves[k].settle
        scale = sum(abs(w) * sum(abs(c * u**n) for n, c in enumerate(coefficients)) for w, u in zip(row.predictions, since))
        got = sum(MP.mpf(w) * MP.polyval(coefficients[::-1], u) for w, u in zip(row.predictions, since))
        if sampler.predicts == "sample":
            eta, rate, factor = MP.mpf(sampler.eta), 1 + MP.mpf(sampler.eta), MP.mpf(s.alpha)
            integrals = [integral(lambda u, h=h, rate=rate: rate * MP.exp(-rate * (h - u)), n, h) for n in range(sampler.order)]
            assert row.x == pytest.approx(float(MP.mpf(s.sigma) / t.sigma * MP.exp(-eta * h)), rel=1e-14)
            assert row.noise == pytest.approx(float(s.sigma * MP.sqrt(-MP.expm1(-2 * eta * h))), rel=1e-14)
        else:
            factor = -MP.mpf(s.alpha) * t.sigma / t.alpha
            integrals = [integral(lambda u: MP.exp(-u), n, h) for n in range(sampler.order)]
            assert row.x == pytest.approx(s.alpha / t.alpha, rel=1e-15)
        exact = factor * sum(c * moment for c, moment in zip(coefficients, integrals))
        assert abs(got - exact) <= 1e-13 * scale


@given(paths(low=1e-8, high=20), st.sampled_from(SAMPLERS))
def test_a_right_prediction_keeps_the_marginals(walk, sampler):
    """Predictions of the true x_0 (the true eps): x_s has mean alpha_s x_0 and variance sigma_s^2, for every eta and order."""
    for (t, s), move in zip(pairwise(walk.levels), sampler.plan(walk).moves):
        row, rounding = move.settle, 1e-13 * (1 + sum(abs(w) for w in move.settle.predictions))
        total = math.fsum(row.predictions)
        of_start, of_noise = (row.x * t.alpha, row.x * t.sigma)
        if sampler.predicts == "sample":
            of_start += total
        else:
            of_noise += total
        assert of_start == pytest.approx(s.alpha, rel=1e-13, abs=rounding)
        assert of_noise**2 + row.noise**2 == pytest.approx(s.sigma**2, rel=1e-12, abs=rounding)


# -- against what is published ---------------------------------------------------------------------------------------


def published_2m(levels, x):
    """DPM-Solver++(2M): Lu et al. 2022b, Algorithm 2."""
    lam = [level.half_log_snr for level in levels]
    before = None
    for i in range(1, len(levels)):
        h, now = lam[i] - lam[i - 1], bumpy(x, lam[i - 1])
        d = now
        if before is not None:
            r = (lam[i - 1] - lam[i - 2]) / h
            d = (1 + 1 / (2 * r)) * now - 1 / (2 * r) * before
        x = levels[i].sigma / levels[i - 1].sigma * x - levels[i].alpha * (math.exp(-h) - 1) * d
        before = now
    return x


def published_noise_2m(levels, x):
    """DPM-Solver-2, multistep, of noise predictions: a first-order step along eps + D / 2."""
    lam = [level.half_log_snr for level in levels]
    before = None
    for i in range(1, len(levels)):
        h, now = lam[i] - lam[i - 1], bumpy(x, lam[i - 1])
        slope = 0.0 if before is None else h / (lam[i - 1] - lam[i - 2]) * (now - before)
        x = levels[i].alpha / levels[i - 1].alpha * x - levels[i].sigma * (math.exp(h) - 1) * (now + slope / 2)
        before = now
    return x


def published_sde(levels, x, noise, eta, kind, order, curvature=0.5):
    """DPM-Solver++ SDE in Newton's form, order 2 "midpoint" or "heun", order 3; curvature 1 is the second derivative, 1/2 what code has."""
    lam = [level.half_log_snr for level in levels]
    past = []
    for i, z in zip(range(1, len(levels)), noise):
        h = lam[i] - lam[i - 1]
        hh = h * (1 + eta)
        past.append(bumpy(x, lam[i - 1]))
        x = levels[i].sigma / levels[i - 1].sigma * math.exp(-eta * h) * x
        alpha, rise, phi = levels[i].alpha, 1 - math.exp(-hh), 1 + (math.exp(-hh) - 1) / hh
        x += alpha * rise * past[-1]
        if len(past) > 1:
            slope = (past[-1] - past[-2]) * h / (lam[i - 1] - lam[i - 2])
        if len(past) > 2 and order == 3:
            slope_before = (past[-2] - past[-3]) * h / (lam[i - 2] - lam[i - 3])
            r0, r1 = (lam[i - 1] - lam[i - 2]) / h, (lam[i - 2] - lam[i - 3]) / h
            d2 = 2 * (slope - slope_before) / (r0 + r1)
            x += alpha * phi * (slope + r0 * d2 / 2) + alpha * (0.5 - phi / hh) * d2 * curvature
        elif len(past) > 1:
            x += alpha * (rise / 2 if kind == "midpoint" else phi) * slope
        x += levels[i].sigma * math.sqrt(1 - math.exp(-2 * eta * h)) * z
    return x


@given(paths(), st.floats(-3, 3))
def test_2m_is_algorithm_2(walk, x):
    """The paper's loop on numbers, with a model that is linear in nothing."""
    assert walked(DPMPP_2M.plan(walk), x, walk.levels, [0.0] * 6) == pytest.approx(published_2m(walk.levels, x), rel=1e-10, abs=1e-10)


@given(paths(), st.floats(-3, 3))
def test_noise_2m_is_the_published_one(walk, x):
    """The same for noise predictions."""
    expected = published_noise_2m(walk.levels, x)
    assert walked(DPM_SOLVER_2M.plan(walk), x, walk.levels, [0.0] * 6) == pytest.approx(expected, rel=1e-10, abs=1e-9)


@given(paths(), st.floats(-3, 3), st.lists(st.floats(-2, 2), min_size=6, max_size=6), st.sampled_from([0.0, 0.6, 1.0]),
       st.sampled_from(["exact", "midpoint", "heun"]), st.sampled_from([2, 3]))
def test_the_sde_family_is_the_published_one(walk, x, noise, eta, solver_type, order):
    """Both published types at orders 2 and 3, and the exact one, which is Newton's form with the whole second derivative."""
    sampler = Multistep(order, eta=eta, solver_type=solver_type)
    expected = published_sde(walk.levels, x, noise, eta, solver_type, order, curvature=1.0 if solver_type == "exact" else 0.5)
    assert walked(sampler.plan(walk), x, walk.levels, noise) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(paths(low=1e-8, high=20))
def test_heun_is_the_exact_integral_of_a_line(walk):
    """At order 2 diffusers' "heun" and "exact" are one; "midpoint" is not."""
    rows = {kind: [move.settle for move in Multistep(2, solver_type=kind).plan(walk).moves] for kind in ("exact", "heun", "midpoint")}
    assert rows["heun"] == rows["exact"] and rows["midpoint"][1:] != rows["exact"][1:]


@given(paths(low=1e-8, high=20))
def test_order_one_is_ddim_and_with_eta_one_ddpm(walk):
    """The same rows, to rounding, as the one-step family has."""
    for multistep, known in ((Multistep(1), DDIM), (Multistep(1, eta=1.0), DDPM)):
        for a, b in zip(multistep.plan(walk).moves, known.plan(walk).moves):
            assert a.to == b.to and a.level == b.level
            np.testing.assert_allclose(numbers(a.settle), numbers(b.settle), rtol=1e-14)


@given(step_lengths(1e-3, 3), st.floats(0.01, 1))
def test_eta_between_is_song_s_under_another_name(h, eta):
    """exp(-2 eta h) = 1 - eta_song^2 (1 - exp(-2 h)): on one step both families are the same set of samplers."""
    levels = tuple(Level(0.0, 1.0, math.exp(-lam)) for lam in (0.0, h))
    song = math.sqrt(math.expm1(-2 * eta * h) / math.expm1(-2 * h))
    (a,), (b,) = (sampler.plan(Path(None, levels, (h,))).moves for sampler in (Multistep(1, eta=eta), Ancestral(min(song, 1.0))))
    np.testing.assert_allclose(numbers(a.settle), numbers(b.settle), rtol=1e-9)


def test_noise_prediction_of_order_one_is_ddim():
    """Whole walks, to the data: the same samples from eps as from x_0."""
    schedule, times = make_schedule("linear", 50), timesteps(50, 9)
    x = np.random.default_rng().standard_normal((5, 2))
    results = [sample(PAIR.model(schedule), schedule, x, times, sampler) for sampler in (DDIM, Multistep(1), Multistep(1, "epsilon"))]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sampler", [*SAMPLERS, DPMPP_2M, Multistep(3, solver_type="heun")], ids=str)
def test_the_process_does_not_matter_only_the_signal_to_noise_ratio(sampler):
    """x of the VP process, x / alpha at EDM's sigma / alpha, straight lines: the same samples from the same noise."""
    times = np.linspace(0.98, 0.02, 12)
    alpha, sigma = VP.alpha(times), VP.sigma(times)
    rng = np.random.default_rng()
    x, noise = rng.standard_normal((4, 2)), list(rng.standard_normal((sampler.plan(path(VP, times)).draws, 4, 2)))
    expected = sample(MIXTURE.model(VP), VP, x, times, sampler, noise=noise)
    in_edm = sample(MIXTURE.model(EDM), EDM, x / alpha[0], sigma / alpha, sampler, noise=noise)
    straight = StraightLine()
    on_lines = sample(MIXTURE.model(straight), straight, x / (alpha[0] + sigma[0]), sigma / (alpha + sigma), sampler, noise=noise)
    np.testing.assert_allclose(in_edm, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(on_lines, expected, rtol=1e-9, atol=1e-9)


# -- the beginning and the end ---------------------------------------------------------------------------------------


def used(plan):
    """How many predictions each step adds up."""
    return [len(move.settle.predictions) for move in plan.moves]


def test_orders_of_the_steps():
    """Warm-up, the step to the data of order 1, and the descent that lower_order_final adds."""
    walk = path(VP, np.linspace(1, 0.1, 6))
    assert used(Multistep(3).plan(walk)) == [1, 2, 3, 3, 3, 1]
    assert used(Multistep(3, lower_order_final=True).plan(walk)) == [1, 2, 3, 3, 2, 1]
    ends_in_noise = path(make_schedule("linear", 50), [49, 40, 30, 20, 10], set_alpha_to_one=False)
    assert used(Multistep(3).plan(ends_in_noise)) == [1, 2, 3, 3, 3]
    assert used(Multistep(3, lower_order_final=True).plan(ends_in_noise)) == [1, 2, 3, 2, 1]


@pytest.mark.parametrize("sampler", [*SAMPLERS, DPMPP_2M_SDE], ids=str)
def test_the_last_step_gives_the_predicted_data(sampler):
    """Neither a no-op, nor noise, nor a polynomial drawn on to infinity: the result is the last x_0."""
    told = []
    for process, times in ((VP, [1.0, 0.5, 0.2]), (VP, [0.7]), (EDM, [5.0, 1.0, 0.2, 0.0]), (make_schedule("linear", 50), [40, 7, 0])):
        x, rng = np.full((2, 2), 0.8), np.random.default_rng()
        result = sample(PAIR.model(process), process, x, times, sampler, generator=Drawn(rng), callback=lambda *news: told.append(news))
        np.testing.assert_allclose(result, told[-1][3], rtol=1e-12, atol=1e-12)
        assert np.abs(result - told[-1][2]).max() > 1e-6


class Drawn:
    """NumPy's generator with the library's arguments."""

    def __init__(self, rng):
        self.standard_normal = lambda shape, dtype: rng.standard_normal(shape).astype(dtype)


def test_a_step_of_no_length_changes_nothing():
    """A walk that ends at the first time of its schedule, where it already is: h = 0, no division by it."""
    schedule = make_schedule("linear", 50)
    for sampler in SAMPLERS:
        last = sampler.plan(path(schedule, [40, 20, 0], set_alpha_to_one=False)).moves[-1].settle
        assert last.x == 1 and last.predictions == (0.0,) and last.noise == 0


@pytest.mark.parametrize("sampler", [Multistep(order, eta=eta) for order in (1, 2, 3) for eta in (0.0, 1.0)], ids=str)
def test_from_pure_noise(sampler):
    """Zero terminal SNR, v-prediction: the first step is DDIM's (DDPM's), and the walk goes on as one that begins there."""
    schedule = Schedule.from_alphas_cumprod([0.9, 0.6, 0.3, 0.1, 0.0])
    plan = sampler.plan(path(schedule, [4, 3, 2, 1, 0]))
    first = (DDPM if sampler.eta else DDIM).plan(path(schedule, [4, 3])).moves[0].settle
    np.testing.assert_allclose(numbers(plan.moves[0].settle), numbers(first), rtol=1e-15)
    rest = sampler.plan(path(schedule, [3, 2, 1, 0]))
    assert plan.moves[1:] == rest.moves
    model, drawn = PAIR.model(schedule, "v_prediction"), Drawn(np.random.default_rng())
    result = sample(model, schedule, np.ones((2, 2)), [4, 3, 2, 1, 0], sampler, generator=drawn, prediction_type="v_prediction")
    assert np.isfinite(result).all()


def test_noise_prediction_refuses_pure_noise():
    """Nothing is left of the data there: eps alone does not say x_0, whatever the model predicts."""
    schedule = Schedule.from_alphas_cumprod([0.9, 0.6, 0.0])
    with pytest.raises(ValueError, match="choose one that works in x_0"):
        sample(PAIR.model(schedule, "sample"), schedule, np.ones((1, 2)), [2, 1, 0], DPM_SOLVER_2M, prediction_type="sample")


# -- orders of convergence -------------------------------------------------------------------------------------------


def flow_errors(sampler, data=PAIR, first=80.0, last=0.02, counts=(40, 80, 160), times=uniform_in_lambda, process=EDM):
    x = np.array([[1.0, -2.0], [-0.5, 0.3]]) * first
    return counts, global_errors(sampler, data, process, first, last, counts, x, times=times)


@pytest.mark.parametrize("predicts", ["sample", "epsilon"])
@pytest.mark.parametrize("order", [1, 2])
def test_order_of_convergence(order, predicts):
    """Slope of log error over log steps, equal steps in lambda, for data whose flow is known exactly."""
    assert slope(*flow_errors(Multistep(order, predicts))) == pytest.approx(order, abs=0.15)
    assert slope(*flow_errors(Multistep(order, predicts, solver_type="midpoint"))) == pytest.approx(order, abs=0.15)


def short_first_step(process, first, last, steps):
    """Equal steps h in lambda, but a first one of h^2."""
    lambdas = np.linspace(-math.log(first), -math.log(last), steps + 1)
    return np.exp(-np.insert(lambdas[1:], 0, [lambdas[0], lambdas[0] + (lambdas[1] - lambdas[0]) ** 2]))


@pytest.mark.parametrize("predicts", ["sample", "epsilon"])
def test_third_order_is_lost_in_the_first_step(predicts):
    """From sigma = 2 the first step, of order 1, leaves an error h^2 for good. Make it as short as h^2, and the order is 3."""
    counts = (40, 80, 160)
    assert slope(*flow_errors(Multistep(3, predicts), first=2.0, counts=counts)) == pytest.approx(2, abs=0.15)
    assert slope(*flow_errors(Multistep(3, predicts), first=2.0, counts=counts, times=short_first_step)) == pytest.approx(3, abs=0.25)


@pytest.mark.parametrize("whole", [DPMPP_3M, DPM_SOLVER_3M], ids=str)
def test_published_third_order_is_second(whole):
    """The curvature at half its weight: no short first step helps."""
    counts = (160, 320, 640)
    published, exact = (flow_errors(sampler, first=2.0, counts=counts, times=short_first_step)[1]
                        for sampler in (Multistep(3, whole.predicts, solver_type="heun"), whole))
    assert slope(counts, published) == pytest.approx(2, abs=0.2)
    assert published[-1] > 8 * exact[-1]


@pytest.mark.parametrize(("order", "expected"), [(1, 1), (2, 2), (3, 3)])
def test_order_of_convergence_on_a_mixture(order, expected):
    """Two modes: a flow that is not linear, the truth by a fine integration."""
    x = np.array([[1.0, -2.0], [-0.5, 0.3]])
    counts = (40, 80, 160)
    errors = global_errors(Multistep(order), MIXTURE, VP, 0.9, 0.05, counts, x, times=lambda p, a, b, n: short_start(p, a, b, n))
    assert slope(counts, errors) == pytest.approx(expected, abs=0.3)


def short_start(process, first, last, steps):
    """Equal steps h in lambda, but a first one of h^2, of any process."""
    times = uniform_in_lambda(process, first, last, steps)
    lambdas = process.log_snr(times) / 2
    return np.insert(times, 1, process.time_of(2 * (lambdas[0] + (lambdas[1] - lambdas[0]) ** 2)))


@pytest.mark.parametrize(("sampler", "order"), [
    (Multistep(1, eta=1.0), 1), (DPMPP_2M_SDE, 2), (Multistep(2, eta=0.5), 2), (DPMPP_3M_SDE, 2),
    (Multistep(3, eta=1.0, solver_type="heun"), 2),
], ids=str)
def test_weak_order_with_noise(sampler, order):
    """Exact mean and variance of the end, on Gaussian data. One number of noise a step caps the order at 2, whatever the polynomial."""
    counts = (40, 80, 160)
    assert slope(counts, weak_errors(sampler, Gaussian(0.3, 0.5), EDM, 20.0, 0.02, counts)) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_mean_of_the_reverse_sde_is_exact(order):
    """eta = 1: E[x_0 | x] is a martingale along the reverse SDE, so its mean is constant, and every order integrates a constant exactly.

    From the wrong mean, too: x_T shifted by d arrives shifted by what the exact map says, the product of the posterior means.
    """
    data, times, std = Gaussian(0.3, 0.5), np.array([20.0, 6.0, 1.0, 0.3, 0.1]), 0.5
    mean, _ = moments(Multistep(order, eta=1.0), data, EDM, times)
    assert mean == pytest.approx(0.3, abs=1e-13)
    silence = [np.zeros((2, 1))] * Multistep(order, eta=1.0).plan(path(EDM, times)).draws
    ends = sample(data.model(EDM), EDM, np.array([[0.0], [1.0]]), times, Multistep(order, eta=1.0), noise=silence)
    assert ends[1, 0] - ends[0, 0] == pytest.approx(std**2 / (std**2 + 20.0**2), rel=1e-12)


# -- the door --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "message"), [
    ({"order": 4}, "Multistep: unknown order 4; choose from 1, 2, 3"),
    ({"order": 0}, "unknown order 0"),
    ({"predicts": "v_prediction"}, "unknown predicts 'v_prediction'; choose from sample, epsilon"),
    ({"solver_type": "bh2"}, "unknown solver_type 'bh2'; choose from exact, midpoint, heun"),
    ({"eta": -0.1}, "expected eta of at least 0"),
    ({"eta": math.nan}, "expected eta of at least 0"),
    ({"eta": 1.0, "predicts": "epsilon"}, "goes with predicts 'sample' only"),
])
def test_unknown_settings_are_refused(settings, message):
    """One message each, that names the choices."""
    with pytest.raises(ValueError, match=message):
        Multistep(**settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_for_any_layout(dtype):
    """A transposed batch of odd shape, both dtypes."""
    x = np.random.default_rng().standard_normal((3, 5, 2)).astype(dtype).transpose(1, 2, 0)
    model = Gaussian(0.1, 0.5).model(VP)
    for sampler in SAMPLERS:
        result = sample(model, VP, x, np.linspace(1, 0.1, 5), sampler, generator=Drawn(np.random.default_rng()))
        assert result.dtype == dtype and result.shape == x.shape
