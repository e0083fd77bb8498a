"""Intervals hold what they promise: exactly, by summing probabilities; and against SciPy."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minidiff.metrics import Estimate, bootstrap, share, wilson
from minidiff.random import Generator

counts = st.integers(1, 400)


# -- shares ----------------------------------------------------------------------------------------------------------


@given(counts, st.data(), st.floats(0.5, 0.999))
def test_wilsons_interval_is_scipys(count, data, confidence):
    """Another library's."""
    hits = data.draw(st.integers(0, count))
    expected = stats.binomtest(hits, count).proportion_ci(confidence, method="wilson")
    assert wilson(hits / count, count, confidence) == pytest.approx(tuple(expected), abs=1e-12)


@given(counts, st.data())
def test_the_ends_of_the_interval_are_z_sigmas_from_the_share(count, data):
    """Wilson's defining equation, and no end outside [0, 1] or on the wrong side of the share."""
    s = data.draw(st.integers(0, count)) / count
    z = NormalDist().inv_cdf(0.975)
    low, high = wilson(s, count)
    assert 0 <= low <= s <= high <= 1 and low < high
    for p in (low, high):
        assert (s - p) ** 2 == pytest.approx(z * z * p * (1 - p) / count, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("count", [20, 100, 500])
def test_ninety_five_of_a_hundred_intervals_hold_the_truth(count):
    """Sum the binomial probabilities of all outcomes whose interval holds p, averaged over p: 95 %, where the plain interval has less."""
    hits, p = np.arange(count + 1), np.linspace(0.005, 0.995, 199)[:, None]
    probability = stats.binom.pmf(hits, count, p)
    ends = np.array([wilson(h / count, count) for h in hits])
    covered = (probability * ((ends[:, 0] <= p) & (p <= ends[:, 1]))).sum(axis=1)
    half = 1.96 * np.sqrt(hits / count * (1 - hits / count) / count)
    plain = (probability * (abs(hits / count - p) <= half)).sum(axis=1)
    assert abs(covered.mean() - 0.95) < 0.008 and covered.min() > 0.8
    assert plain.mean() < covered.mean() and plain.min() < covered.min() - 0.05


def test_a_share_of_all_is_not_certain():
    """Ten of ten: the probability may still be 0.72; hits may be booleans, integers, or halves."""
    everything = share(np.ones(10, dtype=bool))
    assert everything == Estimate(1.0, wilson(1.0, 10)[0], 1.0, 10) and 0.7 < everything.low < 0.73
    assert share([1, 0, 0, 1]).value == 0.5 and share(np.array([0.5, 1.0])).value == 0.75
    assert share(np.arange(10) < 3, confidence=0.5).confidence == 0.5


# -- means -----------------------------------------------------------------------------------------------------------


def test_the_bootstraps_interval_of_a_mean_is_the_normal_one(rng):
    """mean +- 1.96 std / sqrt(N), to the accuracy of 4,000 resamples."""
    values = rng.standard_normal(400)
    found = bootstrap(values, Generator(int(rng.integers(2**31))), resamples=4000)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean(), rel=1e-12) and found.count == 400
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_the_bootstrap_of_two_values_is_known():
    """Of 0 and 1 the mean of two draws is 0, 1/2, 1/2 or 1: the interval to 40 % confidence lies within the halves, to 60 % outside."""
    narrow = bootstrap([0.0, 1.0], Generator(1), resamples=4000, confidence=0.4)
    wide = bootstrap([0.0, 1.0], Generator(1), resamples=4000, confidence=0.6)
    assert (narrow.low, narrow.high) == (0.5, 0.5) and (wide.low, wide.high) == (0, 1)


def test_another_statistic_and_numpys_generator(rng):
    """The median; any generator with integers(low, high, size)."""
    values = rng.exponential(size=301)
    found = bootstrap(values, np.random.default_rng(), np.median, resamples=500)
    assert found.low < found.value == np.median(values) < found.high


def test_the_same_generator_gives_the_same_interval():
    """Nothing is drawn from anywhere else."""
    assert bootstrap(np.arange(9.0), Generator(4), resamples=50) == bootstrap(np.arange(9.0), Generator(4), resamples=50)


# -- how they look ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimate, text", [
    (Estimate(0.91234, 0.8931, 0.9281, 1000), "0.912 (0.893 to 0.928; n = 1,000)"),
    (Estimate(3.5178, 3.2123, 3.8312, 1000, 10_000), "3.52 (3.21 to 3.83; 1,000 against 10,000)"),
    (Estimate(1234.4, 1178.2, 1290.6, 7), "1234 (1178 to 1291; n = 7)"),
    (Estimate(0.5, 0.5, 0.5, 3), "0.500 (0.500 to 0.500; n = 3)"),
    (Estimate(1e-5, 0.9e-5, 1.1e-5, 3), "0.0000100 (0.0000090 to 0.0000110; n = 3)"),
])
def test_an_estimate_shows_two_digits_of_its_uncertainty(estimate, text):
    """And its counts."""
    assert str(estimate) == text


def test_bad_arguments_are_refused():
    """Each by name."""
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="wilson: expected a share between 0 and 1"):
            wilson(value, 10)
    with pytest.raises(ValueError, match="wilson: expected count of at least 1, got 0"):
        wilson(0.5, 0)
    for confidence in (0, 1, math.nan, 95):
        with pytest.raises(ValueError, match="wilson: expected confidence between 0 and 1"):
            wilson(0.5, 10, confidence)
    with pytest.raises(TypeError, match="wilson: expected confidence to be a number, got '95%'"):
        wilson(0.5, 10, "95%")
    with pytest.raises(ValueError, match="share: expected hits between 0 and 1, got numbers from 0 to 3"):
        share([0, 3])
    with pytest.raises(ValueError, match=r"share: expected hits of shape \(N,\), at least one number, got \(0,\)"):
        share(np.zeros(0))
    with pytest.raises(ValueError, match="bootstrap: 1 rows of values are not finite"):
        bootstrap([1.0, math.nan], Generator(0))
    with pytest.raises(TypeError, match="bootstrap: expected a generator with the method integers"):
        bootstrap([1.0, 2.0], 0)
    with pytest.raises(ValueError, match="bootstrap: expected resamples of at least 1, got 0"):
        bootstrap([1.0, 2.0], Generator(0), resamples=0)
