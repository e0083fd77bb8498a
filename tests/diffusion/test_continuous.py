"""Continuous processes against their defining equations in 50 digits, with derivatives taken by mpmath and not by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from diffusion_laws import MP, ulps, ulps_near_zero
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import EDM, Cosine, StraightLine, SubVariancePreserving, VarianceExploding, VariancePreserving, make_schedule

pytestmark = pytest.mark.filterwarnings("error")


def integral(p, t):
    """The integral of beta from 0 to t."""
    low, high = MP.mpf(p.beta_min), MP.mpf(p.beta_max)
    return low * t + (high - low) * t * t / 2


def angle(p, t):
    s = MP.mpf(p.s)
    return (t + s) / (1 + s) * MP.pi / 2


# (alpha, sigma^2) of a process at t, as the papers print them.
EXACT = {
    VariancePreserving: lambda p, t: (MP.exp(-integral(p, t) / 2), 1 - MP.exp(-integral(p, t))),
    SubVariancePreserving: lambda p, t: (MP.exp(-integral(p, t) / 2), (1 - MP.exp(-integral(p, t))) ** 2),
    VarianceExploding: lambda p, t: (MP.mpf(1), (MP.mpf(p.sigma_min) * (MP.mpf(p.sigma_max) / MP.mpf(p.sigma_min)) ** t) ** 2),
    Cosine: lambda p, t: (MP.cos(angle(p, t)) / MP.cos(angle(p, 0)), 1 - (MP.cos(angle(p, t)) / MP.cos(angle(p, 0))) ** 2),
    StraightLine: lambda p, t: (1 - t, t**2),
    type(EDM): lambda p, t: (MP.mpf(1), t**2),
}
PROCESSES = [VariancePreserving(), SubVariancePreserving(), VarianceExploding(), Cosine(), StraightLine(), EDM]
OTHERS = [VariancePreserving(3.0, 3.0), SubVariancePreserving(0.5, 8.0), VarianceExploding(0.002, 80.0), Cosine(0.0), Cosine(0.1)]
ALL = [*PROCESSES, *OTHERS]
TIMES = st.floats(1e-12, 1.0) | st.floats(-12, 0).map(lambda e: 10.0**e) | st.floats(-15, -0.31).map(lambda e: 1 - 10.0**e)


def exact(process, t):
    """(alpha, sigma) in 50 digits."""
    alpha, variance = EXACT[type(process)](process, MP.mpf(t))
    return alpha, MP.sqrt(variance)


def exact_log_snr(process, t):
    alpha, sigma = exact(process, t)
    return 2 * MP.log(alpha / sigma)


@pytest.mark.parametrize("process", ALL, ids=repr)
@given(TIMES)
def test_alpha_and_sigma_are_right_to_four_units_in_the_last_place(process, t):
    """Both against the printed formulas, also where 1 - alpha^2 cancels; exp(-B/2) to 1 + B units, because B is rounded first."""
    if t == 1.0:
        return  # alpha = 0 there for some: test_the_ends_of_time
    alpha, sigma = exact(process, t)
    bound = 1 + float(process.beta_integral(t)) if hasattr(process, "beta_integral") else 0
    assert ulps([process.alpha(t)], [alpha]) <= max(4, bound)
    assert ulps([process.sigma(t)], [sigma]) <= 4
    assert ulps_near_zero([process.log_snr(t)], [2 * MP.log(alpha / sigma)]) <= 8


@pytest.mark.parametrize("process", ALL, ids=repr)
@given(TIMES)
def test_drift_and_diffusion_are_the_derivatives_of_alpha_and_sigma(process, t):
    """f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2, with derivatives by mpmath, never seen by the closed forms."""
    t = min(max(t, 1e-9), 1 - 1e-6)
    with MP.workdps(70):
        drift = MP.diff(lambda u: MP.log(EXACT[type(process)](process, u)[0]), MP.mpf(t), h=MP.mpf(10) ** -25)
        slope = MP.diff(lambda u: EXACT[type(process)](process, u)[1], MP.mpf(t), h=MP.mpf(10) ** -25)
        squared = slope - 2 * drift * exact(process, t)[1] ** 2
    drift = MP.mpf(0) if abs(drift) < 1e-30 else drift
    assert ulps([process.drift_rate(t)], [drift]) <= 4
    assert ulps([process.diffusion_squared(t)], [squared]) <= 8


@pytest.mark.parametrize("process", ALL, ids=repr)
@given(TIMES)
def test_time_of_undoes_log_snr(process, t):
    """The exact log-SNR of a time, rounded once, comes back as that time: to 4 units in the last place and what its rounding moved."""
    if t == 1.0:
        return
    rounded = float(exact_log_snr(process, t))
    back = float(process.time_of(rounded))
    # d t / d log_snr, from the exact function, times half a unit in the last place of log_snr.
    slope = float(abs(1 / MP.diff(lambda u: exact_log_snr(process, u), MP.mpf(t), h=MP.mpf(10) ** -20)))
    assert abs(back - t) <= 2.0**-52 * (6 * t + slope * max(1, abs(rounded)))
    assert process.first_time <= back <= process.last_time


@pytest.mark.parametrize("process", ALL, ids=repr)
@given(st.lists(TIMES, min_size=2, max_size=5, unique=True))
def test_steps_keep_all_digits(process, times):
    """lambda_s - lambda_t in 50 digits: 10 units in the last place of the step, however short it is."""
    times = sorted((t for t in times if t < 1), reverse=True)
    with MP.workdps(100):
        halves = [exact_log_snr(process, t) / 2 for t in times]
        steps = [s - t for t, s in pairwise(halves)]
    if len(times) > 1:
        assert ulps(process.steps(process.check_times(times)), steps) <= 10


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_noise_grows_and_signal_fades(process):
    """alpha does not grow, sigma does not fall (but by a rounding), log-SNR falls, f <= 0, g^2 >= 0; on a grid that crowds both ends."""
    u = np.linspace(0, 1, 400)
    t = np.unique(np.concatenate([u**6, 1 - u**6]))
    alpha, sigma = process.alpha(t), process.sigma(t)
    assert (np.diff(alpha) <= 0).all() and (np.diff(sigma) >= -4e-16 * sigma[1:]).all()
    assert (np.diff(process.log_snr(t)) <= 0).all()
    assert (process.drift_rate(t) <= 0).all() and (process.diffusion_squared(t) >= 0).all()
    assert alpha.dtype == sigma.dtype == np.float64 and alpha.shape == sigma.shape == t.shape


def test_the_ends_of_time():
    """t = 0 and t = 1: exact values and infinities, without a warning (warnings are errors in this file)."""
    end = {  # (alpha, sigma, log-SNR, f, g^2) at t = 0 and at t = 1, to 15 digits
        VariancePreserving(): [(1, 0, math.inf, -0.05, 0.1), (math.exp(-5.025), math.sqrt(1 - math.exp(-10.05)), None, -10, 20)],
        SubVariancePreserving(): [(1, 0, math.inf, -0.05, 0),
                                  (math.exp(-5.025), 1 - math.exp(-10.05), None, -10, 20 - 20 * math.exp(-20.1))],
        VarianceExploding(): [(1, 0.01, 2 * math.log(100), 0, 2e-4 * math.log(5000)), (1, 50, -2 * math.log(50), 0, 5000 * math.log(5000))],
        Cosine(0.0): [(1, 0, math.inf, 0, 0), (0, 1, -math.inf, -math.inf, math.inf)],
        StraightLine(): [(1, 0, math.inf, -1, 0), (0, 1, -math.inf, -math.inf, math.inf)],
        EDM: [(1, 0, math.inf, 0, 0), (1, 1, 0, 0, 2)],
    }
    with np.errstate(all="raise"):
        for process, rows in end.items():
            for t, row in zip((0.0, 1.0), rows, strict=True):
                got = [f(t) for f in (process.alpha, process.sigma, process.log_snr, process.drift_rate, process.diffusion_squared)]
                for value, wanted in zip(got, row, strict=True):
                    assert wanted is None or value == pytest.approx(wanted, rel=1e-14, abs=0), (process, t, got)
    cosine = Cosine()
    assert (cosine.alpha(0.0), cosine.sigma(0.0), cosine.alpha(1.0)) == (1, 0, 0) and cosine.sigma(1.0) == pytest.approx(1, abs=3e-16)
    assert cosine.drift_rate(1.0) == -math.inf and cosine.log_snr(1.0) == -math.inf


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_a_log_snr_that_is_never_reached_is_the_nearest_end(process):
    """time_of of +-infinity and of what lies beyond the ends; and steps into the data and out of pure noise are infinite."""
    assert process.time_of(math.inf) == 0
    last = process.time_of(-math.inf)
    assert last == (math.inf if process is EDM else pytest.approx(1, abs=1e-15)) and last <= process.last_time
    assert process.time_of(-1e9) == last or process is EDM
    ends = process.steps(np.array([1.0, 0.5, 0.0]))
    assert (ends > 0).all()
    assert math.isinf(ends[0]) == (process.alpha(1.0) == 0) and math.isinf(ends[1]) == (process.sigma(0.0) == 0)


def test_linear_betas_are_the_variance_preserving_process():
    """Ho et al.'s T betas are beta(t / (T - 1)) / T; with growing T, abar_t tends to alpha^2 at (t + 1) / T, with an error like 1 / T."""
    process, errors = VariancePreserving(), []
    for T in (1000, 2000, 4000):
        t = np.arange(T)
        schedule = make_schedule("linear", T, beta_start=0.1 / T, beta_end=20 / T)
        np.testing.assert_allclose(schedule.betas, process.beta(t / (T - 1)) / T, rtol=1e-14)
        errors.append(abs(schedule.alphas_cumprod - process.alpha((t + 1) / T) ** 2).max())
    assert 0.0005 < errors[0] < 0.005
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.02)
    np.testing.assert_allclose(make_schedule("linear", 1000).betas, process.beta(np.arange(1000) / 999) / 1000, rtol=1e-14)


def test_cosine_steps_are_the_continuous_process_at_equal_times():
    """squaredcos_cap_v2 before its cap is Cosine at (t + 1) / T: all digits of abar and of 1 - abar."""
    schedule, process = make_schedule("squaredcos_cap_v2", 1000), Cosine()
    t = (np.arange(999) + 1) / 1000
    np.testing.assert_allclose(schedule.sqrt_alphas_cumprod[:-1], process.alpha(t), rtol=1e-12)
    np.testing.assert_allclose(schedule.sqrt_one_minus_alphas_cumprod[:-1], process.sigma(t), rtol=1e-14)


def test_variance_is_preserved_exactly_by_those_that_say_so():
    """alpha^2 + sigma^2 = 1 for VP and Cosine; less for sub-VP, whose sigma is VP's sigma^2."""
    t = np.linspace(0, 1, 101)
    for process in (VariancePreserving(), Cosine()):
        np.testing.assert_allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, 1, rtol=1e-15)
    below = SubVariancePreserving()
    assert (below.alpha(t[1:]) ** 2 + below.sigma(t[1:]) ** 2 < 1).all()
    np.testing.assert_allclose(below.sigma(t), VariancePreserving().sigma(t) ** 2, rtol=1e-15)


def test_the_sde_started_at_data_has_less_noise_than_variance_exploding_says():
    """Integrating g^2 from 0 gives sigma(t)^2 - sigma_min^2 (Song et al. 2021, Eq. 29): what the process, as Song's code, leaves out."""
    process = VarianceExploding()
    rate = MP.log(MP.mpf(process.sigma_max) / MP.mpf(process.sigma_min))
    grown = MP.quad(lambda t: 2 * rate * EXACT[VarianceExploding](process, t)[1], [0, 1])
    assert float(grown) == pytest.approx(process.sigma(1.0) ** 2 - process.sigma_min**2, rel=1e-14)
    steps = np.linspace(0, 1, 100_001)
    middle = (steps[1:] + steps[:-1]) / 2
    assert (process.diffusion_squared(middle) * np.diff(steps)).sum() == pytest.approx(float(grown), rel=1e-8)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: VariancePreserving(0.0, 20.0), "VariancePreserving: expected 0 < beta_min <= beta_max, got 0.0 and 20.0"),
        (lambda: SubVariancePreserving(2.0, 1.0), "SubVariancePreserving: expected 0 < beta_min <= beta_max, got 2.0 and 1.0"),
        (lambda: VariancePreserving(0.1, math.inf), "got 0.1 and inf"),
        (lambda: VarianceExploding(1.0, 1.0), "VarianceExploding: expected 0 < sigma_min < sigma_max, got 1.0 and 1.0"),
        (lambda: VarianceExploding(math.nan, 1.0), "got nan and 1.0"),
        (lambda: Cosine(-0.1), "Cosine: expected s of at least 0, got -0.1"),
    ],
)
def test_bad_processes_are_refused(make, message):
    """Parameters that make no forward process: one message with both."""
    with pytest.raises(ValueError, match=message):
        make()
