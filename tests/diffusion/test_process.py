"""Levels and paths: where a walk goes, how far its steps are, and which lists of times are refused at the door."""

import math
from itertools import pairwise

import numpy as np
import pytest
from diffusion_laws import MP, exact_alphas_cumprod, schedules, schedules_to_pure_noise, ulps, walks
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import CLEAN, EDM, Cosine, Level, Schedule, StraightLine, VariancePreserving, make_schedule, path

pytestmark = pytest.mark.filterwarnings("error")


@given(schedules() | schedules_to_pure_noise(), st.data())
def test_a_path_visits_the_levels_of_its_times_and_ends_at_the_data(schedule, data):
    """Levels from the tables, steps h_k = lambda_{k+1} - lambda_k in 50 digits, and the clean data, infinitely far, at the end."""
    times = data.draw(walks(schedule.num_train_timesteps))
    way = path(schedule, times)
    abars = exact_alphas_cumprod(schedule)
    halves = [MP.log(abars[t] / (1 - abars[t])) / 2 if abars[t] > 0 else -MP.inf for t in times]
    assert len(way) == len(times) and len(way.levels) == len(times) + 1
    assert way.levels[:-1] == tuple(Level(t, schedule.sqrt_alphas_cumprod[t], schedule.sqrt_one_minus_alphas_cumprod[t]) for t in times)
    assert way.levels[-1] is CLEAN and way.steps[-1] == math.inf
    assert ulps(way.steps[:-1], [s - t for t, s in pairwise(halves)]) <= 4
    assert all(type(h) is float for h in way.steps) and all(type(t) is int for t, _, _ in way.levels[:-1])


@given(schedules(), st.data())
def test_without_alpha_one_the_walk_ends_at_the_first_time(schedule, data):
    """set_alpha_to_one=False: the last level is that of time 0, and the last step as far as that; 0 if the walk is there already."""
    times = data.draw(walks(schedule.num_train_timesteps))
    way = path(schedule, times, set_alpha_to_one=False)
    assert way.levels[-1] == schedule.level(0)
    abars = exact_alphas_cumprod(schedule)
    halves = [MP.log(abars[t] / (1 - abars[t])) / 2 for t in [*times, 0]]
    assert ulps(way.steps, [s - t for t, s in pairwise(halves)]) <= 4
    assert (way.steps[-1] == 0) == (times[-1] == 0)


def test_a_list_that_reaches_the_data_ends_there():
    """Continuous times down to 0: no further level; the step into the data and the step out of pure noise are infinite."""
    for process in (StraightLine(), Cosine(), VariancePreserving(), EDM):
        for choice in (True, False):
            way = path(process, [1.0, 0.5, 0.0], choice)
            assert len(way) == 2 and way.levels[-1].sigma == 0 and way.levels[-1].alpha == 1
            assert math.isinf(way.steps[1]) and math.isinf(way.steps[0]) == (process.alpha(1.0) == 0)
        with pytest.raises(ValueError, match="the only time, 0, is that of clean data; there is no way to go"):
            path(process, [0.0])


def test_half_log_snr_of_a_level():
    """log(alpha / sigma), infinite at both ends."""
    assert Level(0.5, 0.6, 0.8).half_log_snr == pytest.approx(math.log(0.75), rel=1e-15)
    assert CLEAN.half_log_snr == math.inf and Level(1.0, 0.0, 1.0).half_log_snr == -math.inf


@given(schedules(max_steps=20).filter(lambda s: s.num_train_timesteps > 1), st.floats(0, 1))
def test_between_finds_the_level_with_a_log_snr(schedule, fraction):
    """Path.between(lambda) has that lambda, for every lambda of the process."""
    halves = schedule.log_snrs[[0, -1]] / 2
    wanted = halves[1] + fraction * (halves[0] - halves[1])
    level = path(schedule, [schedule.last_time, 0]).between(wanted)
    assert level.half_log_snr == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert 0 <= level.time <= schedule.last_time


def test_whole_numbers_as_floats_are_the_same_levels():
    """5.0 is 5: the same alpha, sigma and steps, to the last bit or a rounding."""
    schedule = make_schedule("linear", 20)
    whole, real = path(schedule, [19, 7, 0]), path(schedule, [19.0, 7.0, 0.0])
    assert [level[1:] for level in whole.levels] == [level[1:] for level in real.levels]
    np.testing.assert_allclose(whole.steps, real.steps, rtol=1e-14)


SCHEDULE = Schedule.from_betas(np.full(10, 0.1))


@pytest.mark.parametrize(
    "process, times, error, message",
    [
        (SCHEDULE, [], ValueError, r"times: expected a list of at least one, got shape \(0,\)"),
        (SCHEDULE, 5, ValueError, r"got shape \(\)"),
        (SCHEDULE, [[3, 2]], ValueError, r"got shape \(1, 2\)"),
        (SCHEDULE, [3, 3], ValueError, "strictly decreasing times, the noisiest first, got 3 before 3; sort them in descending order"),
        (SCHEDULE, [7, 2, 5], ValueError, "got 2 before 5"),
        (SCHEDULE, [5, -1], ValueError, "-1 is outside the process, expected 0 ... 9"),
        (SCHEDULE, [10, 5], ValueError, "10 is outside the process"),
        (SCHEDULE, [9.5, 5.0], ValueError, "9.5 is outside the process"),
        (SCHEDULE, [math.nan, 5.0], ValueError, "nan is outside the process"),
        (SCHEDULE, [5.0, math.nan], ValueError, "nan is outside the process"),
        (SCHEDULE, [True, False], TypeError, "expected numbers, got dtype bool"),
        (SCHEDULE, ["a"], TypeError, "expected numbers"),
        (SCHEDULE, np.array([2, 3], np.uint8), ValueError, "got 2 before 3"),
        (StraightLine(), [1.5, 0.5], ValueError, "1.5 is outside the process, expected 0 ... 1"),
        (StraightLine(), [0.5, -0.1], ValueError, "-0.1 is outside"),
        (EDM, [math.inf, 1.0], ValueError, "inf is outside the process"),
    ],
)
def test_bad_lists_are_refused(process, times, error, message):
    """Unsorted, repeated, out of range, empty, infinite or not numbers: one message with the offender, from path and from check_times."""
    for door in (path, lambda process, times: process.check_times(times)):
        with pytest.raises(error, match=message):
            door(process, times)


def test_checked_times_keep_their_kind():
    """Integers stay int64 and mean table entries; reals become float64; the list given is not written to."""
    given_times = np.array([9, 5, 0], np.uint8)
    checked = SCHEDULE.check_times(given_times)
    assert checked.dtype == np.int64 and checked.tolist() == [9, 5, 0]
    assert SCHEDULE.check_times([9, 5.5]).dtype == np.float64
    assert SCHEDULE.check_times(range(9, -1, -1)).tolist() == list(range(9, -1, -1))
    assert EDM.check_times([3, 2]).dtype == np.float64
