"""Schedules and their tables, against 50-digit arithmetic and the worked numbers of the course."""

import numpy as np
import pytest
from diffusion_laws import MP, bayes, exact_alphas, exact_alphas_cumprod, schedules, ulps
from hypothesis import given

from minidiff.diffusion import Schedule, make_schedule

NAMED = [("linear", 1000), ("linear", 10), ("squaredcos_cap_v2", 1000), ("squaredcos_cap_v2", 7), ("linear", 1)]


def check_tables(schedule):
    alphas, abars = exact_alphas(schedule), exact_alphas_cumprod(schedule)
    before = [MP.mpf(1), *abars[:-1]]
    betas = [1 - alpha for alpha in alphas]
    decay = 1 - float(MP.log(abars[-1]))  # exp turns the rounding of a logarithm into |logarithm| times as much

    assert ulps(schedule.alphas, alphas) <= 1
    assert ulps(schedule.alphas_cumprod, abars) <= 2 + 2 * decay
    assert ulps(schedule.alphas_cumprod_prev, before) <= 2 + 2 * decay
    assert ulps(schedule.sqrt_alphas_cumprod, map(MP.sqrt, abars)) <= 2 + decay
    assert ulps(schedule.sqrt_alphas_cumprod_prev, map(MP.sqrt, before)) <= 2 + decay
    assert ulps(schedule.sqrt_alphas, map(MP.sqrt, alphas)) <= 2
    assert ulps(schedule.sqrt_betas, map(MP.sqrt, betas)) <= 2
    assert ulps(schedule.one_minus_alphas_cumprod, [1 - a for a in abars]) <= 4
    assert ulps(schedule.one_minus_alphas_cumprod_prev, [1 - a for a in before]) <= 4
    assert ulps(schedule.sqrt_one_minus_alphas_cumprod, [MP.sqrt(1 - a) for a in abars]) <= 3
    assert ulps(schedule.snr, [a / (1 - a) for a in abars]) <= 6 + 2 * decay
    np.testing.assert_allclose(
        schedule.log_one_minus_alphas_cumprod, [float(MP.log(1 - a)) for a in abars], rtol=1e-15, atol=2e-15
    )

    variances = [MP.mpf(0)] + [bayes(0, 0, s, t)[1] for s, t in zip(before[1:], abars[1:], strict=True)]
    of_start = [MP.mpf(1)] + [bayes(1, 0, s, t)[0] for s, t in zip(before[1:], abars[1:], strict=True)]
    of_x_t = [MP.mpf(0)] + [bayes(0, 1, s, t)[0] for s, t in zip(before[1:], abars[1:], strict=True)]
    assert ulps(schedule.posterior_variance, variances) <= 10
    assert ulps(schedule.posterior_mean_coef1, of_start) <= 8 + decay
    assert ulps(schedule.posterior_mean_coef2, of_x_t) <= 12


@given(schedules())
def test_tables_are_right_to_a_few_units_in_the_last_place(schedule):
    """Every table against products, differences and Bayes' rule in 50 digits, from betas down to 1e-8."""
    check_tables(schedule)


@pytest.mark.parametrize("name, steps", NAMED)
def test_tables_of_named_schedules_are_right_to_a_few_units_in_the_last_place(name, steps):
    """The same for the schedules that people use."""
    check_tables(make_schedule(name, steps))


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


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_cosine_betas_are_the_paper_s(steps):
    """Nichol & Dhariwal, Eq. 17, as printed, in 50 digits: no digit is lost in 1 - f/f, and the last beta is capped."""

    def f(i):
        return MP.cos((MP.mpf(i) / steps + MP.mpf("0.008")) / MP.mpf("1.008") * MP.pi / 2) ** 2

    exact = [min(1 - f(i + 1) / f(i), MP.mpf(0.999)) for i in range(steps)]
    schedule = make_schedule("squaredcos_cap_v2", steps)
    # cos(angle) near pi/2 enlarges the rounding of the angle: by at most 1 / (pi/2 - angle), about 2 T / pi.
    assert ulps(schedule.betas, exact) <= 10 + 2 * steps
    assert schedule.betas[-1] == 0.999
    for i in range(0, steps - 1, max(1, steps // 10)):
        assert schedule.alphas_cumprod[i] == pytest.approx(float(f(i + 1) / f(0)), rel=1e-9)


def test_cosine_cap_is_an_option():
    """max_beta bounds every beta."""
    assert make_schedule("squaredcos_cap_v2", 20, max_beta=0.5).betas.max() == 0.5


@given(schedules())
def test_log_alphas_make_the_same_schedule(schedule):
    """from_log_alphas undoes the logarithm of from_betas."""
    again = Schedule.from_log_alphas(schedule.log_alphas)
    np.testing.assert_allclose(again.betas, schedule.betas, rtol=1e-15 * 4)
    np.testing.assert_array_equal(again.alphas_cumprod, schedule.alphas_cumprod)
    np.testing.assert_allclose(again.alphas, schedule.alphas, rtol=1e-14)


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
        ([1.0], "got 1.0 at t = 0"),
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


@pytest.mark.parametrize("log_alphas", [[0.0], [0.1], [-np.inf], [np.nan], []])
def test_bad_log_alphas_are_refused(log_alphas):
    """Logarithms of numbers strictly between 0 and 1 only."""
    with pytest.raises(ValueError, match="log_alphas"):
        Schedule.from_log_alphas(log_alphas)


def test_bad_families_are_refused():
    """Unknown names list the known ones; unknown options list the family's; T is an int of at least 1."""
    with pytest.raises(ValueError, match="unknown beta_schedule 'cosine'; choose from linear, squaredcos_cap_v2"):
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
