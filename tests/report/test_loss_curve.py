"""The loss curve: axes that map right, ticks that are round, a mean that is the mean, and a line where the values are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.report.loss_curve import LEFT, MEAN, RIGHT, SIZE, Axis, curve, round_values, running_mean

values = st.floats(1e-6, 1e6)


@given(values, st.floats(1.01, 1e6), st.integers(0, 8))
def test_a_logarithmic_axis_gives_equal_ratios_equal_lengths(low, ratio, part):
    """The value low * ratio^(part / 8) lies at part / 8 of the way."""
    axis = Axis(low, low * ratio, 100.0, 900.0, logarithmic=True)
    assert axis(low * ratio ** (part / 8)) == pytest.approx(100 + 100 * part, abs=1e-3)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(0, 8))
def test_a_linear_axis_gives_equal_differences_equal_lengths(low, span, part):
    """The value low + span part / 8 lies at part / 8 of the way, also on an axis that runs backwards."""
    axis = Axis(low, low + span, 900.0, 100.0)
    assert axis(low + span * part / 8) == pytest.approx(900 - 100 * part, abs=1e-2)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_round_values_are_few_evenly_spaced_and_inside(low, span):
    """Three to eight of them, in the interval, their distance 1, 2 or 5 times a power of ten."""
    ticks = round_values(low, low + span)
    assert 3 <= len(ticks) <= 8
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    assert np.allclose(np.diff(ticks), step, rtol=1e-6)
    digit = step / 10 ** math.floor(math.log10(step * (1 + 1e-9)))
    assert min(abs(digit - d) for d in (1, 2, 5, 10)) < 1e-3


@given(values, st.floats(1.01, 1e8))
def test_logarithmic_ticks_lie_on_the_axis(low, ratio):
    """In order, inside, and each with one digit that is not zero: 1, 2 or 5."""
    ticks = Axis(low, low * ratio, 0, 1, logarithmic=True).ticks()
    assert ticks == sorted(set(ticks)) and all(low <= tick <= low * ratio for tick in ticks)
    assert all(f"{tick:e}".replace(".000000", "")[0] in "125" and float(f"{tick:.0e}") == tick for tick in ticks)
    if ratio > 10:
        assert ticks


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(1, 60))
def test_the_running_mean_is_the_mean_of_the_neighbours(losses, window):
    """A loop over slices, against the difference of two sums."""
    before, after = (window - 1) // 2, window // 2
    expected = [np.mean(losses[max(0, i - before) : i + after + 1]) for i in range(len(losses))]
    assert np.allclose(running_mean(np.array(losses), window), expected, atol=1e-8)


@pytest.mark.parametrize("losses", [np.geomspace(2.0, 0.02, 400), np.linspace(0.5, 0.2, 400)], ids=["logarithmic", "linear"])
def test_a_falling_loss_is_drawn_as_a_straight_falling_line(losses):
    """A geometric fall is straight on the logarithmic axis, an arithmetic one on the linear: the line's pixels fit a straight line."""
    image = np.asarray(curve(np.arange(1, 401), losses)).astype(int)
    assert image.shape == (SIZE[1], SIZE[0], 3)
    colour = np.array([int(MEAN[i : i + 2], 16) for i in (1, 3, 5)])
    y, x = np.nonzero((abs(image - colour) < 12).all(axis=-1) & (np.arange(SIZE[1])[:, None] > 60))
    middle = (x > LEFT + 40) & (x < SIZE[0] - RIGHT - 40)           # the mean bends at the ends, where neighbours are missing
    slope, offset = np.polyfit(x[middle], y[middle], 1)
    assert slope > 0.1 and np.ptp(x) > 1200 and abs(y[middle] - offset - slope * x[middle]).max() < 4


def test_constant_and_negative_losses_can_be_drawn():
    """No division by a zero range, no logarithm of what has none."""
    assert curve([1, 2, 3], [0.5, 0.5, 0.5]).size == curve([5, 9], [-1.0, 1.0]).size == SIZE


@pytest.mark.parametrize(("steps", "losses"), [([1], [1.0]), ([1, 2], [1.0]), ([1, 2], [1.0, math.nan]), ([1, 2], [math.inf, 1.0])])
def test_what_cannot_be_drawn_is_refused(steps, losses):
    """One point, unequal lengths, NaN, infinity."""
    with pytest.raises(ValueError, match="curve"):
        curve(steps, losses)
