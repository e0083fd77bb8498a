"""The jackknife: exact where statistics has a formula, and right about figures that have none."""

import math

import numpy as np
import pytest
from scipy import stats

from minidiff.metrics import density_and_coverage, frechet_distance, jackknife, precision, recall
from minidiff.metrics.jackknife import Jackknife, share_of_two
from minidiff.random import Generator


def test_of_means_it_is_the_textbooks_standard_error(rng):
    """Leaving out one at a time: sqrt(s^2 / N + s'^2 / M), with N - 1 in s^2, and no bias."""
    x, y = rng.standard_normal((2, 12)) * 3
    found = jackknife(lambda x, y: {"gap": x.mean() - y.mean()}, x, y, Generator(0), groups=12)["gap"]
    assert found.standard_error == pytest.approx(math.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 12), rel=1e-12)
    assert found.value == x.mean() - y.mean() and found.bias == pytest.approx(0, abs=1e-13)


def test_it_makes_the_variance_unbiased(rng):
    """The variance with 1 / N is too small by 1 / N of the right one; leaving out one at a time finds the right one, with N - 1."""
    x, y = rng.standard_normal((2, 9))
    found = jackknife(lambda x, y: {"product": x.var() + 5 * y.var()}, x, y, Generator(0), groups=9)["product"]
    assert found.unbiased().value == pytest.approx(x.var(ddof=1) + 5 * y.var(ddof=1), rel=1e-12)
    assert found.unbiased().high - found.unbiased().value == pytest.approx(found.estimate().high - found.estimate().value, rel=1e-12)


@pytest.mark.parametrize("groups", [2, 5, 10])
def test_a_bias_in_one_over_n_is_found_exactly(groups):
    """5 + 3 / N + 7 / M, whatever the data, for parts of equal size."""
    figures = lambda x, y: {"a": 5 + 3 / len(x) + 7 / len(y)}
    found = jackknife(figures, np.zeros(20), np.zeros(50), Generator(0), groups)["a"]
    assert found.unbiased().value == pytest.approx(5, rel=1e-12) and found.standard_error < 1e-12


def test_the_quantile_is_students(rng):
    """value +- t s with groups - 1 degrees of freedom; the counts go along."""
    found = Jackknife(2.0, 0.5, 0.1, 10, 30, 40).estimate(0.9)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.9, 9, 2.0, 0.5), rel=1e-9)
    assert (found.count, found.against, found.confidence) == (30, 40, 0.9)


def test_every_sample_is_left_out_once_and_progress_is_told():
    """The parts are a partition of each set; 2 G + 1 calls; the last fraction is 1."""
    calls, told = [], []

    def statistic(x, y):
        calls.append((x.copy(), y.copy()))
        return {"n": 0.0}

    x, y = np.arange(23), np.arange(100, 117)
    jackknife(statistic, x, y, Generator(3), 5, told.append)
    assert len(calls) == 11 and told == pytest.approx(np.arange(1, 12) / 11)
    assert (calls[0][0] == x).all() and (calls[0][1] == y).all()
    left_out_x = np.concatenate([np.setdiff1d(x, one) for one, _ in calls[1:6]])
    left_out_y = np.concatenate([np.setdiff1d(y, two) for _, two in calls[6:]])
    assert sorted(left_out_x) == x.tolist() and sorted(left_out_y) == y.tolist()
    assert left_out_x.tolist() != x.tolist()        # parts are drawn: a set sorted by class must not be cut into classes
    assert all((two == y).all() for _, two in calls[1:6]) and all((one == x).all() for one, _ in calls[6:])


def test_intervals_of_figures_without_a_formula_hold_their_mean(rng):
    """Forty experiments: the expected figure lies in the interval at least 30 times (if 95 in 100 do, fewer do one time in 10^5)."""
    def figures(x, y):
        density, coverage = density_and_coverage(x, y)
        return {"frechet": frechet_distance(x, y), "precision": precision(x, y), "recall": recall(x, y), "density": density,
                "coverage": coverage}

    def draw():
        return 0.8 * rng.standard_normal((60, 3)) + 0.3, rng.standard_normal((60, 3))

    means = {name: np.mean([one[name] for one in [figures(*draw()) for _ in range(300)]]) for name in figures(*draw())}
    held = dict.fromkeys(means, 0)
    for _ in range(40):
        for name, found in jackknife(figures, *draw(), rng).items():
            estimate = found.estimate()
            held[name] += estimate.low <= means[name] <= estimate.high
    assert min(held.values()) >= 30, held


def test_a_share_has_the_wider_of_two_intervals():
    """All of 100: the jackknife says certain, the tries say 0.963; half of them, with a large error: the jackknife's, within [0, 1]."""
    certain = share_of_two(Jackknife(1.0, 0.0, 0.0, 10, 100, 50), 100)
    assert certain.high == 1 and 0.96 < certain.low < 0.97
    unsure = share_of_two(Jackknife(0.5, 0.4, 0.0, 10, 100, 50), 100)
    assert (unsure.low, unsure.high) == (0, 1)
    between = Jackknife(0.5, 0.1, 0.0, 10, 100, 50)
    assert share_of_two(between, 100) == between.estimate()


def test_bad_arguments_are_refused():
    """Groups that are none, too many groups, nothing that draws, a confidence of 95."""
    x = np.zeros(8)
    for groups in (1, 9):
        with pytest.raises(ValueError, match="jackknife: expected groups from 2 to 8, got"):
            jackknife(lambda x, y: {}, x, x, Generator(0), groups)
    with pytest.raises(TypeError, match="jackknife: expected a generator with the method permutation"):
        jackknife(lambda x, y: {}, x, x, None, 4)
    with pytest.raises(ValueError, match="Jackknife: expected confidence between 0 and 1, got 95"):
        Jackknife(1.0, 1.0, 0.0, 10, 5, 5).estimate(95)
