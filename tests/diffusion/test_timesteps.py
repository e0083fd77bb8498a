"""Lists of times, for every number of steps, and the process that visits only them."""

from fractions import Fraction

import numpy as np
import pytest
from diffusion_laws import exact_alphas_cumprod, schedules, ulps, walks
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import SPACINGS, make_schedule, respace, timesteps


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


@pytest.mark.parametrize("T", [999, 1000, 1024])
def test_rounding_is_to_the_nearest_integer_and_halves_to_even(T):
    """Every N of large T without fractions: n is round(p / q) if 2 |n q - p| < q, or if they are equal and n is even."""
    for N in range(1, T + 1):
        i = np.arange(N)[::-1]
        checks = [(timesteps(T, N, "trailing") + 1, T * (i + 1), N)]
        if N > 1:
            checks.append((timesteps(T, N, "linspace"), (T - 1) * i, N - 1))
        for n, p, q in checks:
            off = 2 * abs(n * q - p)
            assert ((off < q) | ((off == q) & (n % 2 == 0))).all()


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


def test_steps_offset_shifts_leading_within_the_schedule():
    """Stable Diffusion's list (offset 1), and the offsets that diffusers would let run past the end."""
    assert timesteps(1000, 50, "leading", steps_offset=1).tolist() == [20 * i + 1 for i in reversed(range(50))]
    for N in range(1, 1001):
        room = 999 - (N - 1) * (1000 // N)
        assert timesteps(1000, N, "leading", steps_offset=room)[0] == 999
        with pytest.raises(ValueError, match=rf"steps_offset in 0 \.\.\. {room}, to stay below 1000 with {N} steps, got {room + 1}"):
            timesteps(1000, N, "leading", steps_offset=room + 1)
    with pytest.raises(ValueError, match="got -1"):
        timesteps(1000, 10, "leading", steps_offset=-1)
    with pytest.raises(TypeError, match="steps_offset to be an int, got 1"):
        timesteps(1000, 10, "leading", steps_offset=1.0)
    for spacing in ("trailing", "linspace"):
        with pytest.raises(ValueError, match=f"steps_offset belongs to 'leading' alone, got 1 with '{spacing}'"):
            timesteps(1000, 10, spacing, steps_offset=1)


@given(schedules(), st.data())
def test_a_respaced_process_has_the_same_marginals(schedule, data):
    """Its alphas_cumprod are those of the visited times, and its betas 1 - abar_t / abar_s, in 50 digits."""
    times = data.draw(walks(schedule.num_train_timesteps))
    chain = respace(schedule, times)
    abars = [exact_alphas_cumprod(schedule)[t] for t in reversed(times)]
    assert chain.num_train_timesteps == len(times)
    assert ulps(chain.alphas_cumprod, abars) <= 4
    assert ulps(chain.one_minus_alphas_cumprod, [1 - a for a in abars]) <= 4
    assert ulps(chain.betas, [1 - a / b for a, b in zip(abars, [1, *abars[:-1]], strict=True)]) <= 4
    assert ulps(chain.alphas, [a / b for a, b in zip(abars, [1, *abars[:-1]], strict=True)]) <= 4


def test_respacing_to_every_time_changes_nothing():
    """All times: the same schedule, to rounding."""
    schedule = make_schedule("squaredcos_cap_v2", 100)
    chain = respace(schedule, range(99, -1, -1))
    np.testing.assert_array_equal(chain.alphas_cumprod, schedule.alphas_cumprod)
    np.testing.assert_allclose(chain.betas, schedule.betas, rtol=4 * 2**-52)


def test_only_integer_times_make_a_schedule():
    """A process cannot stop between the steps of a schedule."""
    with pytest.raises(TypeError, match="respace: expected integer times, got dtype float64"):
        respace(make_schedule("linear", 10), [5.0, 2.0])
    with pytest.raises(ValueError, match=r"10 is outside the process, expected 0 \.\.\. 9"):
        respace(make_schedule("linear", 10), [10, 2])
