"""Lists of times, for every number of steps, and the process that visits only them."""

from fractions import Fraction

import numpy as np
import pytest
from diffusion_laws import exact_alphas_cumprod, schedules, ulps, walks
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import SPACINGS, check_timesteps, make_schedule, respace, timesteps


def exact_times(T, N, spacing):
    """The definitions in exact fractions; Python rounds them half to even."""
    if spacing == "leading":
        return [i * (T // N) for i in reversed(range(N))]
    if spacing == "trailing":
        return [round(T - i * Fraction(T, N)) - 1 for i in range(N)]
    return [round(Fraction(T - 1) * i / (N - 1)) for i in reversed(range(N))] if N > 1 else [T - 1]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("T", [1, 2, 10, 13, 100])
def test_times_are_the_exactly_rounded_fractions(T, spacing):
    """Every N, against fractions."""
    for N in range(1, T + 1):
        assert timesteps(T, N, spacing).tolist() == exact_times(T, N, spacing)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_number_of_steps_gives_that_many_different_times(spacing):
    """All N from 1 to T = 1000: N entries, strictly decreasing, in [0, T), int64; no wrap to -1, no duplicates."""
    for N in range(1, 1001):
        times = timesteps(1000, N, spacing)
        assert times.shape == (N,) and times.dtype == np.int64
        assert times[0] < 1000 and times[-1] >= 0
        assert (np.diff(times) < 0).all()
        if spacing != "leading":
            assert times[0] == 999
        if spacing != "trailing" and N > 1:
            assert times[-1] == 0


@pytest.mark.parametrize("spacing", SPACINGS)
def test_all_steps_are_all_times(spacing):
    """N = T visits T-1, ..., 0, whatever the spacing."""
    for T in (1, 2, 13, 1000):
        assert timesteps(T, T, spacing).tolist() == list(range(T - 1, -1, -1))


def test_worked_times():
    """The ten-step lists of Lin et al. 2023, Table 2, 0-based, and 13 of 1000, which T // N cannot space."""
    assert timesteps(1000, 10, "leading").tolist() == [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]
    assert timesteps(1000, 10, "trailing").tolist() == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert timesteps(1000, 10, "linspace").tolist() == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    assert timesteps(1000, 13, "trailing").tolist() == [999, 922, 845, 768, 691, 614, 537, 461, 384, 307, 230, 153, 76]
    assert len(timesteps(1000, 61, "trailing")) == 61


@pytest.mark.parametrize(
    "T, N, spacing, error, message",
    [
        (10, 0, "leading", ValueError, "1 <= num_inference_steps <= num_train_timesteps, got 0 and 10"),
        (10, 11, "leading", ValueError, "got 11 and 10"),
        (0, 1, "leading", ValueError, "got 1 and 0"),
        (10, 2.0, "leading", TypeError, "num_inference_steps to be an int, got 2.0"),
        (10.0, 2, "leading", TypeError, "num_train_timesteps to be an int, got 10.0"),
        (10, True, "leading", TypeError, "to be an int, got True"),
        (10, 2, "uniform", ValueError, "unknown timestep_spacing 'uniform'; choose from leading, trailing, linspace"),
    ],
)
def test_bad_requests_are_refused(T, N, spacing, error, message):
    """Numbers of steps that T does not have, and unknown spacings."""
    with pytest.raises(error, match=message):
        timesteps(T, N, spacing)


@pytest.mark.parametrize(
    "times, error, message",
    [
        ([], ValueError, "at least one time"),
        ([[3, 2]], ValueError, r"got shape \(1, 2\)"),
        ([3, 3], ValueError, "strictly decreasing times, the noisiest first, got 3 before 3"),
        ([7, 2, 5], ValueError, "got 2 before 5"),
        ([0, 1], ValueError, "got 0 before 1"),
        ([5, -1], ValueError, "-1 is outside the schedule, expected 0 ... 9"),
        ([10, 5], ValueError, "10 is outside the schedule"),
        ([3.0, 2.0], TypeError, "expected integers, got dtype float64"),
        (np.array([2, 3], np.uint8), ValueError, "got 2 before 3"),
    ],
)
def test_bad_lists_are_refused(times, error, message):
    """Unsorted, repeated, out of range, empty or fractional: one message with the offender."""
    with pytest.raises(error, match=message):
        check_timesteps(times, 10)


@given(schedules(), st.data())
def test_a_respaced_process_has_the_same_marginals(schedule, data):
    """Its alphas_cumprod are those of the visited times, and its betas 1 - abar_t / abar_s, in 50 digits."""
    times = data.draw(walks(schedule.num_train_timesteps))
    chain = respace(schedule, times)
    abars = [exact_alphas_cumprod(schedule)[t] for t in reversed(times)]
    decay = 1 - float(np.log(float(abars[-1])))
    assert chain.num_train_timesteps == len(times)
    assert ulps(chain.alphas_cumprod, abars) <= 4 + 4 * decay
    assert ulps(chain.one_minus_alphas_cumprod, [1 - a for a in abars]) <= 6
    assert ulps(chain.betas, [1 - a / b for a, b in zip(abars, [1, *abars[:-1]], strict=True)]) <= 6


def test_respacing_to_every_time_changes_nothing():
    """All times: the same schedule, to rounding."""
    schedule = make_schedule("squaredcos_cap_v2", 100)
    chain = respace(schedule, range(99, -1, -1))
    np.testing.assert_array_equal(chain.alphas_cumprod, schedule.alphas_cumprod)
    np.testing.assert_allclose(chain.betas, schedule.betas, rtol=1e-15)
