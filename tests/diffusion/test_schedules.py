"""Schedules and their tables, against 50-digit arithmetic and the worked numbers of the course."""

import math
from itertools import pairwise

import numpy as np
import pytest
from diffusion_laws import (
    MP,
    ULP,
    exact_alphas,
    exact_alphas_cumprod,
    regression,
    schedules,
    schedules_to_pure_noise,
    ulps,
    ulps_near_zero,
    walks,
)
from hypothesis import example, given
from hypothesis import strategies as st

from minidiff.diffusion import BETA_SCHEDULES, Schedule, make_schedule, rescale_zero_terminal_snr, respace

pytestmark = pytest.mark.filterwarnings("error")
NAMED = [("linear", 1000), ("linear", 10), ("squaredcos_cap_v2", 1000), ("squaredcos_cap_v2", 7), ("linear", 1),
         ("scaled_linear", 100), ("sigmoid", 100)]


def log(x):
    return MP.log(x) if x > 0 else -MP.inf


def check_tables(schedule, alphas=None, abars=None):
    """Every table within 4 units in the last place; log-SNR, which passes through 0, within 4 of max(1, |log-SNR|)."""
    alphas = exact_alphas(schedule) if alphas is None else alphas
    abars = exact_alphas_cumprod(schedule) if abars is None else abars
    before = [MP.mpf(1), *abars[:-1]]
    of_start, of_x_t, variances = zip(*map(regression, before, abars), strict=True)
    exact = {
        "betas": [1 - alpha for alpha in alphas],
        "alphas": alphas,
        "log_alphas": [log(a) for a in alphas],
        "alphas_cumprod": abars,
        "alphas_cumprod_prev": before,
        "log_alphas_cumprod": [log(a) for a in abars],
        "one_minus_alphas_cumprod": [1 - a for a in abars],
        "one_minus_alphas_cumprod_prev": [1 - a for a in before],
        "sqrt_alphas": map(MP.sqrt, alphas),
        "sqrt_betas": [MP.sqrt(1 - alpha) for alpha in alphas],
        "sqrt_alphas_cumprod": map(MP.sqrt, abars),
        "sqrt_alphas_cumprod_prev": map(MP.sqrt, before),
        "sqrt_one_minus_alphas_cumprod": [MP.sqrt(1 - a) for a in abars],
        "log_one_minus_alphas_cumprod": [log(1 - a) for a in abars],
        "snr": [a / (1 - a) for a in abars],
        "posterior_mean_coef1": of_start,
        "posterior_mean_coef2": of_x_t,
        "posterior_variance": variances,
        "posterior_log_variance_clipped": [log(v) for v in ([*variances[1:2], *variances[1:]] if len(variances) > 1 else [1 - alphas[0]])],
    }
    for name, values in exact.items():
        assert ulps(getattr(schedule, name), values) <= 4, name
    assert ulps_near_zero(schedule.log_snrs, [log(a / (1 - a)) for a in abars]) <= 4


@given(schedules() | schedules_to_pure_noise())
@example(Schedule.from_betas([1.0]))
@example(Schedule.from_betas([1e-300, 1e-30, 1e-20]))
@example(Schedule.from_betas([1e-18, 3e-18, 1e-300, 0.5, 1e-18, 0.999999999999]))
def test_tables_are_right_to_four_units_in_the_last_place(schedule):
    """Every table against products, differences and regression in 50 digits, from betas down to 1e-8, with and without a last beta of 1."""
    with MP.workdps(400 if schedule.betas.min() < 1e-40 else 50):
        check_tables(schedule)


@pytest.mark.parametrize("name, steps", NAMED)
def test_tables_of_named_schedules_are_right_to_four_units_in_the_last_place(name, steps):
    """The same for the schedules that people use."""
    check_tables(make_schedule(name, steps))


@pytest.mark.parametrize("name", ["linear", "sigmoid"])
def test_ten_thousand_steps_lose_no_digit(name):
    """abar and 1 - abar of T = 10,000 are the float64 nearest to the exact products, so errors do not grow with T."""
    schedule = make_schedule(name, 10_000)
    abars = exact_alphas_cumprod(schedule)
    assert schedule.alphas_cumprod.tolist() == [float(a) for a in abars]
    assert schedule.one_minus_alphas_cumprod.tolist() == [float(1 - a) for a in abars]


@given(schedules(max_steps=20))
def test_a_table_of_alphas_cumprod_makes_its_schedule(schedule):
    """from_alphas_cumprod: the table comes back bit for bit, and all else follows from it in 50 digits."""
    given_table = np.unique(schedule.alphas_cumprod)[::-1]
    given_table = given_table[given_table < 1]
    if given_table.size == 0:
        return
    again = Schedule.from_alphas_cumprod(given_table)
    np.testing.assert_array_equal(again.alphas_cumprod, given_table)
    abars = [MP.mpf(float(a)) for a in given_table]
    check_tables(again, [a / b for a, b in zip(abars, [1, *abars[:-1]], strict=True)], abars)


def test_a_table_that_falls_steeply_keeps_the_digits_of_alpha():
    """0.9 and then 1e-12: alpha is their quotient, not 1 minus a beta that rounds to 1."""
    abars = [MP.mpf(0.9), MP.mpf(1e-12), MP.mpf(1e-30)]
    check_tables(Schedule.from_alphas_cumprod([0.9, 1e-12, 1e-30]), [a / b for a, b in zip(abars, [1, *abars[:-1]], strict=True)], abars)


def test_a_table_may_end_at_zero():
    """The last of alphas_cumprod may be 0, and only the last."""
    schedule = Schedule.from_alphas_cumprod([0.9, 0.5, 0.0])
    assert schedule.betas[-1] == 1 and schedule.snr[-1] == 0
    refused = {
        (0.5, 0.0, 0.0): "got 0.0 at t = 1",
        (0.9, 0.9): "got 0.9 and then 0.9 at t = 1",
        (1.0, 0.5): "got 1.0 at t = 0",
        (0.5, 0.6): "strictly decreasing alphas_cumprod, got 0.5 and then 0.6",
    }
    for table, message in refused.items():
        with pytest.raises(ValueError, match=message):
            Schedule.from_alphas_cumprod(table)


# -- as a process ----------------------------------------------------------------------------------------------------------


def exact_half_log_snr(abars, t):
    """lambda at a real time, as the docstring of Schedule.log_snr says it, in 50 digits."""
    t = MP.mpf(float(t))
    cell = min(int(t), len(abars) - 1)
    if t == cell:
        return log(abars[cell] / (1 - abars[cell])) / 2
    if abars[cell + 1] == 0:
        abar = abars[cell] * (cell + 1 - t) ** 2
        return log(abar / (1 - abar)) / 2
    a, b = (log(abars[i] / (1 - abars[i])) / 2 for i in (cell, cell + 1))
    return a + (t - cell) * (b - a)


@given(schedules(max_steps=12) | schedules_to_pure_noise(max_steps=12), st.data())
def test_real_times_lie_between_the_integers(schedule, data):
    """log_snr, alpha, sigma and the inverse at real times, against 50 digits; at whole numbers exactly the tables."""
    abars = exact_alphas_cumprod(schedule)
    last = schedule.last_time
    times = np.array(data.draw(st.lists(st.floats(0, last) | st.integers(0, last).map(float), min_size=1)))
    times[times < 1e-300] = 0.0
    exact = [2 * exact_half_log_snr(abars, t) for t in times]
    log_snrs = schedule.log_snr(times)
    for t, one, got, alpha, sigma in zip(times, exact, log_snrs, schedule.alpha(times), schedule.sigma(times), strict=True):
        neighbours = np.abs(schedule.log_snrs[[math.floor(t), math.ceil(t)]])
        largest = max(1, abs(float(one)), *neighbours[np.isfinite(neighbours)]) if math.isfinite(one) else 1
        assert got == one or abs(MP.mpf(float(got)) - one) <= 8 * ULP * largest
        bound = 4 + 4 * largest  # half of what log-SNR is off by
        assert ulps([alpha], [MP.sqrt(1 / (1 + MP.exp(-one)))]) <= bound
        assert ulps([sigma], [MP.sqrt(1 / (1 + MP.exp(one)))]) <= bound
        if t == int(t):
            assert (alpha, sigma) == (schedule.alpha(int(t)), schedule.sigma(int(t)))
    for t, one, back in zip(times, log_snrs, schedule.log_snr(schedule.time_of(log_snrs)), strict=True):
        steep = 2 / (last - t) if schedule.snr[-1] == 0 and t < last else 0  # an ulp of t is that many of log-SNR before pure noise
        assert back == one or abs(back - one) <= 1e-13 * (max(1, *np.abs(schedule.log_snrs[:-1]), abs(one)) + steep * (1 + last))
    assert schedule.time_of(math.inf) == 0 and schedule.time_of(-math.inf) == last
    assert (np.diff(schedule.log_snr(np.linspace(0, last, 50))) <= 1e-14 * max(1, abs(log_snrs[0]))).all()


@given(schedules(max_steps=12) | schedules_to_pure_noise(max_steps=12), st.data())
def test_steps_keep_all_digits(schedule, data):
    """h = lambda_s - lambda_t between integer and between real times, against 50 digits: 8 units in the last place, however short."""
    abars = exact_alphas_cumprod(schedule)
    integers = data.draw(walks(schedule.num_train_timesteps))
    reals = sorted({max(t, 1e-20) for t in data.draw(st.lists(st.floats(0, schedule.last_time), min_size=1))}, reverse=True)
    if schedule.num_train_timesteps == 1:
        reals = [0.0]
    for times in (integers, reals, [float(t) for t in integers]):
        exact = [exact_half_log_snr(abars, t) for t in times]
        got = schedule.steps(schedule.check_times(times))
        assert ulps(got, [s - t for t, s in pairwise(exact)]) <= 10


def test_the_fall_to_pure_noise_begins_without_a_loss():
    """Just after T - 2, where 1 - alpha^2 is a sum of two small numbers: log-SNR and steps to a few units in the last place."""
    schedule = Schedule.from_betas([1e-12, 1.0])
    times = [1e-10, 1e-12, 1e-14, 0.0]
    exact = [exact_half_log_snr(exact_alphas_cumprod(schedule), t) for t in times]
    assert ulps(schedule.log_snr(times), [2 * h for h in exact]) <= 4
    assert ulps(schedule.steps(np.array(times)), [s - t for t, s in pairwise(exact)]) <= 10


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_pure_noise_at_the_end_needs_no_special_care(steps):
    """A last beta of 1: every table finite or the right infinity, no warning (they are errors in this file), and a way out of it."""
    schedule = make_schedule("linear", steps, beta_end=0.5)
    schedule = Schedule.from_betas([*schedule.betas, 1.0])
    assert schedule.alphas_cumprod[-1] == schedule.snr[-1] == schedule.alpha(steps) == 0
    assert schedule.log_snrs[-1] == schedule.log_alphas[-1] == schedule.log_alphas_cumprod[-1] == -math.inf
    assert schedule.sigma(steps) == 1 and schedule.posterior_variance[-1] == schedule.one_minus_alphas_cumprod[-2]
    assert schedule.posterior_mean_coef1[-1] == schedule.sqrt_alphas_cumprod[-2] and schedule.posterior_mean_coef2[-1] == 0
    assert np.isfinite(schedule.posterior_log_variance_clipped).all()
    assert schedule.alpha(steps - 0.25) == pytest.approx(schedule.alpha(steps - 1) / 4, rel=1e-14)
    chain = respace(schedule, [steps, 0])
    assert chain.alphas_cumprod[-1] == 0 and chain.betas[-1] == 1


def test_nothing_cancels_near_the_data():
    """1 - abar for betas of 1e-18, which 1 - beta cannot even represent."""
    schedule = Schedule.from_betas([1e-18, 3e-18])
    assert ulps(schedule.one_minus_alphas_cumprod, [1 - a for a in exact_alphas_cumprod(schedule)]) <= 4


@given(schedules())
def test_log_variance_repeats_its_second_value_at_zero(schedule):
    """OpenAI's clipping: everywhere the log of the variance, at t = 0 that of t = 1."""
    log_variance = schedule.posterior_log_variance_clipped
    assert np.isfinite(log_variance).all()
    np.testing.assert_allclose(np.exp(log_variance[1:]), schedule.posterior_variance[1:], rtol=1e-13)
    if schedule.num_train_timesteps > 1:
        assert log_variance[0] == log_variance[1]
    else:
        assert log_variance[0] == np.log(schedule.betas[0])


def test_log_variance_of_the_ddpm_schedule_is_that_of_openai():
    """The number that tells the conventions apart: -9.82, not log 1e-20 = -46.05."""
    assert make_schedule().posterior_log_variance_clipped[0] == pytest.approx(-9.82, abs=0.005)


def test_worked_linear_betas():
    """The course's T = 10: 0.0001, 0.00231, 0.00452, 0.00673, ... 0.02."""
    betas = make_schedule("linear", 10).betas
    assert np.round(betas[:4], 5).tolist() == [0.0001, 0.00231, 0.00452, 0.00673]
    assert betas[-1] == 0.02
    np.testing.assert_allclose(np.diff(betas), 0.0199 / 9, rtol=1e-12)
    assert make_schedule("linear", 10).alphas_cumprod[-1] == pytest.approx(np.prod(1 - betas), rel=1e-14)


def test_linear_ends_are_options():
    """beta_start and beta_end are the first and the last value."""
    betas = make_schedule("linear", 5, beta_start=0.01, beta_end=0.03).betas
    np.testing.assert_allclose(betas, [0.01, 0.015, 0.02, 0.025, 0.03], rtol=1e-14)


def exact_betas(name, steps, start=None, end=None):
    """The families as their sources print them, in 50 digits."""
    start, end = MP.mpf(1e-4 if start is None else start), MP.mpf(0.02 if end is None else end)

    def f(i):
        return MP.cos((MP.mpf(i) / steps + MP.mpf("0.008")) / MP.mpf("1.008") * MP.pi / 2) ** 2

    u = [MP.mpf(t) / max(steps - 1, 1) for t in range(steps)]
    if name == "linear":
        return [start + (end - start) * x for x in u]
    if name in ("scaled_linear", "quadratic"):
        return [(MP.sqrt(start) + (MP.sqrt(end) - MP.sqrt(start)) * x) ** 2 for x in u]
    if name == "sigmoid":
        return [start + (end - start) / (1 + MP.exp(6 - 12 * x)) for x in u]
    return [min(1 - f(i + 1) / f(i), MP.mpf(0.999)) for i in range(steps)]


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
@pytest.mark.parametrize("name", BETA_SCHEDULES)
def test_betas_are_those_of_the_papers(name, steps):
    """Every family as printed, in 50 digits: 4 units in the last place, and for cosine no digit lost in 1 - f/f or near its end."""
    assert ulps(make_schedule(name, steps).betas, exact_betas(name, steps)) <= 4
    if name != "squaredcos_cap_v2":
        options = {"beta_start": 0.00085, "beta_end": 0.012}
        assert ulps(make_schedule(name, steps, **options).betas, exact_betas(name, steps, *options.values())) <= 4


def test_cosine_falls_like_a_squared_cosine_until_its_cap():
    """abar_t = f((t + 1) / T) / f(0), and the last beta is 0.999."""
    schedule = make_schedule("squaredcos_cap_v2", 100)
    angle = (np.arange(101) / 100 + 0.008) / 1.008 * np.pi / 2
    np.testing.assert_allclose(schedule.alphas_cumprod[:-1], (np.cos(angle) ** 2 / np.cos(angle[0]) ** 2)[1:-1], rtol=1e-12)
    assert schedule.betas[-1] == 0.999


def test_scaled_linear_is_stable_diffusion_s():
    """The known number of Stable Diffusion's schedule: it ends at sigma / alpha = 14.6146, as in k-diffusion."""
    schedule = make_schedule("scaled_linear", 1000, beta_start=0.00085, beta_end=0.012)
    assert schedule.snr[-1] ** -0.5 == pytest.approx(14.6146, abs=5e-5)
    assert schedule.snr[0] ** -0.5 == pytest.approx(0.0292, abs=5e-5)
    np.testing.assert_array_equal(make_schedule("quadratic", 1000, beta_start=0.00085, beta_end=0.012).betas, schedule.betas)


def test_cosine_cap_is_an_option():
    """max_beta bounds every beta."""
    assert make_schedule("squaredcos_cap_v2", 20, max_beta=0.5).betas.max() == 0.5


@given(schedules())
def test_log_alphas_make_the_same_schedule(schedule):
    """from_log_alphas undoes the logarithm of from_betas."""
    again = Schedule.from_log_alphas(schedule.log_alphas)
    np.testing.assert_allclose(again.betas, schedule.betas, rtol=4e-15)
    np.testing.assert_allclose(again.alphas, schedule.alphas, rtol=1e-14)
    np.testing.assert_allclose(again.alphas_cumprod, schedule.alphas_cumprod, rtol=1e-13)
    np.testing.assert_allclose(again.one_minus_alphas_cumprod, schedule.one_minus_alphas_cumprod, rtol=4e-15)


def test_a_schedule_cannot_be_written_to():
    """Tables are read-only, kept, and independent of the list that they were made from."""
    betas = np.array([0.1, 0.2])
    schedule = Schedule.from_betas(betas)
    betas[0] = 0.9
    assert schedule.betas[0] == 0.1
    for table in (schedule.betas, schedule.alphas, schedule.log_alphas, schedule.alphas_cumprod, schedule.snr):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 0.5
    assert schedule.alphas_cumprod is schedule.alphas_cumprod
    with pytest.raises(AttributeError):
        schedule.betas = betas
    assert repr(schedule) == "<Schedule: 2 steps, betas 0.1 ... 0.2>"
    assert schedule.num_train_timesteps == 2


@pytest.mark.parametrize(
    "betas, message",
    [
        ([0.1, 0.0], "strictly between 0.0 and 1.0, got 0.0 at t = 1"),
        ([1.0, 0.5], "got 1.0 at t = 0"),
        ([0.5, 1.1], "got 1.1 at t = 1"),
        ([1.0, 1.0], "got 1.0 at t = 0"),
        ([0.1, -0.1], "got -0.1 at t = 1"),
        ([0.1, float("nan")], "got nan at t = 1"),
        ([], r"shape \(T,\) with T >= 1, got shape \(0,\)"),
        ([[0.1, 0.2]], r"got shape \(1, 2\)"),
        (0.1, r"got shape \(\)"),
        (["a"], "list of real numbers"),
        ([0.9] * 400, "no data is left"),
    ],
)
def test_bad_betas_are_refused(betas, message):
    """One message at the door: what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        Schedule.from_betas(betas)


@pytest.mark.parametrize("log_alphas", [[0.0], [0.1], [-np.inf, -0.1], [np.nan], [], [-1000.0]])
def test_bad_log_alphas_are_refused(log_alphas):
    """Logarithms of numbers strictly between 0 and 1 only."""
    with pytest.raises(ValueError, match="log_alphas"):
        Schedule.from_log_alphas(log_alphas)


def test_bad_families_are_refused():
    """Unknown names list the known ones; unknown options list the family's; T is an int of at least 1."""
    with pytest.raises(ValueError, match="unknown beta_schedule 'cosine'; choose from linear, scaled_linear, quadratic, squared"):
        make_schedule("cosine", 10)
    with pytest.raises(ValueError, match="'squaredcos_cap_v2' has no option 'beta_start'; it has max_beta"):
        make_schedule("squaredcos_cap_v2", 10, beta_start=1e-4)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        make_schedule("linear", 0)
    for steps in (10.0, True, "10"):
        with pytest.raises(TypeError, match="to be an int"):
            make_schedule("linear", steps)
    with pytest.raises(ValueError, match="strictly between"):
        make_schedule("linear", 10, beta_end=1.5)


# -- zero terminal SNR -----------------------------------------------------------------------------------------------------


def lin_algorithm_1(schedule):
    """Lin et al. 2023, Algorithm 1, line by line, in 50 digits: the new betas."""
    roots = [MP.sqrt(a) for a in exact_alphas_cumprod(schedule)]
    first, last = roots[0], roots[-1]
    roots = [root - last for root in roots]
    roots = [root * first / (first - last) for root in roots]
    abars = [root**2 for root in roots]
    return [1 - a / b for a, b in zip(abars, [MP.mpf(1), *abars[:-1]], strict=True)], abars


@given(schedules(max_steps=20))
@example(make_schedule("linear", 1000))
@example(make_schedule("linear", 10))
@example(make_schedule("squaredcos_cap_v2", 100))
def test_rescaling_is_algorithm_1(schedule):
    """Lin et al.'s five lines in 50 digits: the first abar is kept, the last is exactly 0, and no digit of 1 - abar is lost."""
    if schedule.num_train_timesteps == 1:
        return
    rescaled = rescale_zero_terminal_snr(schedule)
    betas, abars = lin_algorithm_1(schedule)
    assert rescaled.alphas_cumprod[0] == schedule.alphas_cumprod[0]
    assert rescaled.alphas_cumprod[-1] == rescaled.alphas[-1] == 0 and rescaled.betas[-1] == 1
    assert ulps(rescaled.betas, betas) <= 10
    assert ulps(rescaled.alphas[:-1], [1 - b for b in betas[:-1]]) <= 10
    assert ulps(rescaled.alphas_cumprod, abars) <= 10
    assert ulps(rescaled.one_minus_alphas_cumprod, [1 - a for a in abars]) <= 10
    assert rescale_zero_terminal_snr(rescaled) is rescaled


def test_rescaling_is_an_option():
    """rescale_betas_zero_snr, diffusers' name; a single step has nothing to rescale."""
    schedule = make_schedule("scaled_linear", 50, rescale_betas_zero_snr=True, beta_end=0.3)
    again = rescale_zero_terminal_snr(make_schedule("scaled_linear", 50, beta_end=0.3))
    np.testing.assert_array_equal(schedule.betas, again.betas)
    with pytest.raises(ValueError, match="at least 2 steps, got 1"):
        make_schedule("linear", 1, rescale_betas_zero_snr=True)
