"""Lists of sigmas against their formulas in 50 digits, and the times that they stand for."""

import math

import numpy as np
import pytest
from diffusion_laws import MP, schedules, ulps
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import (
    EDM,
    HEUN,
    SIGMAS,
    Cosine,
    Gaussian,
    StraightLine,
    VarianceExploding,
    VariancePreserving,
    exponential_sigmas,
    karras_sigmas,
    make_schedule,
    path,
    rescale_zero_terminal_snr,
    sample,
    sigma_range,
    times_of_sigmas,
    uniform_sigmas,
)

pytestmark = pytest.mark.filterwarnings("error")


def eq_5(n, low, high, rho):
    """Karras et al. 2022, Eq. 5, as printed."""
    low, high, rho = MP.mpf(low), MP.mpf(high), MP.mpf(rho)
    steps = max(n - 1, 1)
    return [(high ** (1 / rho) + MP.mpf(i) / steps * (low ** (1 / rho) - high ** (1 / rho))) ** rho for i in range(n)] + [0]


ENDS = st.tuples(st.floats(-6, 2), st.floats(-6, 3)).filter(lambda e: e[0] < e[1] - 0.01).map(lambda e: (10.0 ** e[0], 10.0 ** e[1]))


@given(st.integers(1, 60), ENDS, st.floats(0.5, 20))
def test_karras_sigmas_are_equation_5(n, ends, rho):
    """Every sigma is the nearest float64 to Eq. 5 in 50 digits (1/2 unit, 1 in ours), and the list ends at sigma_min and 0."""
    sigmas = karras_sigmas(n, *ends, rho)
    assert ulps(sigmas, eq_5(n, *ends, rho)) <= 1
    assert sigmas[0] == ends[1] and (n == 1 or sigmas[-2] == ends[0])


@given(st.integers(1, 60), ENDS)
def test_exponential_and_uniform_sigmas_are_evenly_spaced(n, ends):
    """In log sigma, and in sigma; 50 digits. Uniform is Karras's with rho = 1, exponential its limit for large rho."""
    low, high = map(MP.mpf, ends)
    u = [MP.mpf(i) / max(n - 1, 1) for i in range(n)]
    assert ulps(exponential_sigmas(n, *ends), [*(high * (low / high) ** x for x in u), 0]) <= 1
    assert ulps(uniform_sigmas(n, *ends), [*(high + x * (low - high) for x in u), 0]) <= 1
    np.testing.assert_allclose(uniform_sigmas(n, *ends), karras_sigmas(n, *ends, rho=1), rtol=3e-16)
    np.testing.assert_allclose(exponential_sigmas(n, *ends), karras_sigmas(n, *ends, rho=1e9), rtol=1e-6)


@pytest.mark.parametrize("name", SIGMAS)
def test_every_list_falls_from_sigma_max_to_sigma_min_to_zero(name):
    """(n + 1,) float64, strictly decreasing, for every n up to 1000; one step is at sigma_max."""
    for n in (*range(1, 60), 999, 1000):
        sigmas = SIGMAS[name](n, 0.02, 14.6)
        assert sigmas.shape == (n + 1,) and sigmas.dtype == np.float64
        assert (np.diff(sigmas) < 0).all()
        assert sigmas[0] == 14.6 and sigmas[-1] == 0 and (n == 1 or sigmas[-2] == 0.02)
    assert SIGMAS[name](1, 3.0, 3.0).tolist() == [3.0, 0.0]


def test_worked_karras_sigmas():
    """EDM's own list of 5: 80, 17.5, 2.5, 0.17, 0.002, 0."""
    assert np.round(karras_sigmas(5), 3).tolist() == [80.0, 17.528, 2.515, 0.17, 0.002, 0.0]


PROCESSES = [make_schedule(), make_schedule("squaredcos_cap_v2", 50),
             make_schedule("scaled_linear", 20, rescale_betas_zero_snr=True, beta_end=0.4), VariancePreserving(),
             VarianceExploding(), Cosine(), StraightLine(), EDM]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@given(st.integers(1, 30))
def test_times_of_sigmas_have_these_sigmas(process, n):
    """sigma(t) / alpha(t) at the times is the sigma asked for, with and without the 0 at the end, ends of the range included."""
    low, high = sigma_range(process)
    sigmas = karras_sigmas(n, max(low, 1e-3), min(high, 60.0))
    times = times_of_sigmas(process, sigmas)
    np.testing.assert_array_equal(times, times_of_sigmas(process, sigmas[:-1]))
    np.testing.assert_allclose(process.sigma(times) / process.alpha(times), sigmas[:-1], rtol=1e-12)
    assert len(path(process, times)) == n


@given(schedules())
def test_a_schedule_s_own_sigmas_are_its_integer_times(schedule):
    """The sigmas of the tables stand for T - 1, ..., 0 where they can be told apart."""
    sigmas = np.exp(-schedule.log_snrs / 2)[::-1]
    if (np.diff(sigmas) < -1e-6 * sigmas[1:]).all():
        np.testing.assert_allclose(times_of_sigmas(schedule, sigmas), np.arange(len(sigmas))[::-1], atol=1e-7)


def test_the_ends_of_a_schedule_are_its_first_and_last_time():
    """sigma_range gives them, exactly; a rounding beyond is forgiven, more is not."""
    schedule = make_schedule("scaled_linear", 1000, beta_start=0.00085, beta_end=0.012)
    low, high = sigma_range(schedule)
    for tiny in (0, 1e-15, 1e-13):
        assert times_of_sigmas(schedule, [high * (1 + tiny), low * (1 - tiny)]) == pytest.approx([999, 0], abs=1e-9)
        path(schedule, times_of_sigmas(schedule, [high * (1 + tiny), low * (1 - tiny)]))
    for sigmas in ([high * 1.001, 1.0], [1.0, low * 0.999], karras_sigmas(10, low / 2, high)):
        with pytest.raises(ValueError, match=r"times_of_sigmas: expected sigmas from 14\.6146412293 down to 0\.0291671581517, which this"):
            times_of_sigmas(schedule, sigmas)
    assert sigma_range(rescale_zero_terminal_snr(schedule)) == (low, math.inf)
    assert sigma_range(EDM) == (0, math.inf)


def test_a_walk_in_sigmas_is_the_same_for_every_process():
    """Heun's method through the same sigmas gives the same x / alpha on a schedule, in time and in sigmas: Gaussian data, exact model."""
    sigmas = karras_sigmas(12, 0.05, 10.0)
    x = np.random.default_rng().standard_normal((3, 4)) * 10
    data = Gaussian(0.4, 0.7)
    expected = sample(data.model(EDM), EDM, x, sigmas[:-1], HEUN)
    for process in PROCESSES[:1] + PROCESSES[3:7]:
        times = times_of_sigmas(process, sigmas)
        result = sample(data.model(process), process, x * float(process.alpha(times[0])), times, HEUN)
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    "sigmas, error, message",
    [
        ([1.0, 2.0, 0.0], ValueError, "strictly decreasing sigmas, the noisiest first, got 1 before 2"),
        ([1.0, 0.0, 0.0], ValueError, "got 0 before 0"),
        ([1.0, -0.5], ValueError, "sigmas: -0.5 is outside"),
        ([math.nan], ValueError, "sigmas: nan is outside"),
        ([math.inf, 1.0], ValueError, "sigmas: inf is outside"),
        ([0.0], ValueError, "got only 0"),
        ([], ValueError, "at least one"),
        (["a"], TypeError, "sigmas: expected numbers"),
    ],
)
def test_bad_lists_are_refused(sigmas, error, message):
    """Unsorted, repeated, negative, not finite, empty."""
    with pytest.raises(error, match=message):
        times_of_sigmas(VariancePreserving(), sigmas)


@pytest.mark.parametrize("name", SIGMAS)
def test_bad_requests_are_refused(name):
    """Numbers of steps and ranges that make no list."""
    make = SIGMAS[name]
    for n, error in ((0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match=f"{name}_sigmas: expected n"):
            make(n)
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, 1.0), (0.1, math.inf), (math.nan, 1.0)):
        with pytest.raises(ValueError, match=f"{name}_sigmas: expected 0 < sigma_min < sigma_max, got {low} and {high}"):
            make(3, low, high)
    with pytest.raises(ValueError, match="karras_sigmas: expected rho above 0, got 0"):
        karras_sigmas(3, rho=0)
