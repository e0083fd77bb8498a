"""Precision, recall, density and coverage: loops over balls, examples by hand, and the laws of a perfect model."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_sets import point_sets

from minidiff.metrics import density_and_coverage, expected_coverage, precision, radii, recall


def distance(a, b):
    return np.sqrt(((a.astype(np.float64) - b) ** 2).sum())


def balls(points, k):
    """Centres and radii, one at a time."""
    return [(y, sorted(distance(y, z) for i, z in enumerate(points) if i != j)[k - 1]) for j, y in enumerate(points)]


@given(point_sets(smallest=2), st.data())
def test_all_four_are_what_loops_over_balls_say(sets, data):
    """Membership of each point in each ball, by the definitions."""
    samples, real = sets
    k, l = data.draw(st.integers(1, len(real) - 1)), data.draw(st.integers(1, len(samples) - 1))
    of_real, of_samples = balls(real, k), balls(samples, l)
    inside = [[distance(x, y) <= radius for y, radius in of_real] for x in samples]
    assert radii(real, k).tolist() == [radius for _, radius in of_real]
    assert precision(samples, real, k) == np.mean([any(row) for row in inside])
    assert recall(samples, real, l) == np.mean([any(distance(y, x) <= radius for x, radius in of_samples) for y in real])
    density, coverage = density_and_coverage(samples, real, k)
    assert density == pytest.approx(np.mean([sum(row) for row in inside]) / k, rel=1e-13)
    assert coverage == np.mean([any(column) for column in zip(*inside)])


def test_an_example_on_a_line():
    """Real images at 0, 1, 2, 10 with k = 1: balls [-1, 1], [0, 2], [1, 3], [2, 18]. Samples at 0.5, 2.5, 17, 30."""
    real, samples = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([[0.5], [2.5], [17.0], [30.0]])
    assert radii(real, 1).tolist() == [1, 1, 1, 8]
    assert precision(samples, real, 1) == 3 / 4                     # 30 is in no ball; 17 is in that of the outlier
    assert radii(samples, 1).tolist() == [2, 2, 13, 13]             # [-1.5, 2.5], [0.5, 4.5], [4, 30], [17, 43]
    assert recall(samples, real, 1) == 1
    density, coverage = density_and_coverage(samples, real, 1)
    assert density == (2 + 2 + 1 + 0) / 4                           # 0.5: two balls, 2.5: two, 17: one, 30: none
    assert coverage == 1


def test_what_lies_on_the_edge_is_inside():
    """Points of a grid: each lies on the edges of its neighbours' balls. Without the edges all four would be 0."""
    grid = np.array([[i, j] for i in range(4) for j in range(4)], float)
    shifted = grid + np.array([1.0, 0.0])
    assert precision(shifted, grid, 1) == recall(shifted, grid, 1) == 1
    assert density_and_coverage(shifted[-4:], grid, 1) == (1.0, 0.25)


@given(point_sets(smallest=6, count=1))
def test_a_set_compared_with_itself_is_perfect(sets):
    """Precision, recall and coverage 1, also with repetitions; every point has at least k others and itself... so density at least 1."""
    (points,) = sets
    assert precision(points, points) == recall(points, points) == 1
    density, coverage = density_and_coverage(points, points)
    assert coverage == 1 and density >= 6 / 5 - 1e-12


@given(point_sets(smallest=6))
def test_shares_are_shares_and_recall_is_precision_the_other_way_round(sets):
    """In [0, 1]; recall(x, y) = precision(y, x)."""
    samples, real = sets
    density, coverage = density_and_coverage(samples, real)
    assert all(0 <= figure <= 1 for figure in (precision(samples, real), recall(samples, real), coverage)) and density >= 0
    assert recall(samples, real) == precision(real, samples)


def test_turning_moving_and_stretching_change_nothing(rng):
    """Only ratios of distances count."""
    samples, real = rng.standard_normal((60, 3)), rng.standard_normal((50, 3)) * 1.2
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    moved = [7 * (x @ q + [1, 2, 3]) for x in (samples, real)]
    assert precision(*moved) == precision(samples, real) and recall(*moved) == recall(samples, real)
    assert density_and_coverage(*moved) == density_and_coverage(samples, real)


def test_a_collapsed_model_is_precise_and_a_spread_one_recalls(rng):
    """Real images on a grid, whose balls reach the next ones. Samples in the middle of it: all in balls, and few real images near any. The
    grid ten times as wide: its balls hold every real image, and few of its points are in balls."""
    places = np.linspace(-1, 1, 20)
    real = np.array([[x, y] for x in places for y in places])
    narrow, wide = rng.uniform(-0.1, 0.1, (300, 2)), 10 * real
    assert precision(narrow, real) == 1 and recall(narrow, real) < 0.05 and density_and_coverage(narrow, real)[1] < 0.1
    assert precision(wide, real) < 0.05 and recall(wide, real) == 1


def test_one_outlier_spoils_precision_but_hardly_density(rng):
    """Samples where nothing is, around one stray real image far away (Naeem et al. 2020, Figure 3)."""
    real, samples = rng.standard_normal((200, 2)), rng.standard_normal((200, 2))
    samples[:100] += 100                                             # half of the samples are nowhere near
    stray = np.concatenate([real, [[100.0, 100.0]]])
    assert precision(samples, real) < 0.6 and precision(samples, stray) > 0.85
    without, _ = density_and_coverage(samples, real)
    with_stray, _ = density_and_coverage(samples, stray)
    assert with_stray < without + 0.2


# -- a perfect model -------------------------------------------------------------------------------------------------


def test_density_is_one_and_coverage_its_formula_for_a_perfect_model(rng):
    """600 draws of both sets, of two different distributions and sizes."""
    for draw, n, m, k in ((lambda n: rng.standard_normal((n, 2)), 12, 20, 5), (lambda n: rng.exponential(size=(n, 3)) ** 2, 25, 10, 3)):
        found = np.array([density_and_coverage(draw(n), draw(m), k) for _ in range(600)])
        errors = 6 * found.std(axis=0) / math.sqrt(600)
        assert (abs(found.mean(axis=0) - [1, expected_coverage(n, m, k)]) < errors).all()


@given(st.integers(1, 6), st.integers(2, 6), st.data())
def test_expected_coverage_is_the_share_of_orders(n, m, data):
    """Of the others around a real image, sorted by distance, any M - 1 of the N + M - 1 places may be the real ones: enumerate."""
    k = data.draw(st.integers(1, m - 1))
    orders = list(combinations(range(n + m - 1), m - 1))
    covered = Fraction(sum(places[:k] != tuple(range(k)) for places in orders), len(orders))
    assert expected_coverage(n, m, k) == pytest.approx(float(covered), rel=1e-13)


def test_five_neighbours_cover_more_than_95_in_100():
    """Why the paper takes k = 5: with as many samples as real images the coverage of a perfect model is 1 - 2^-5."""
    assert expected_coverage(10**6, 10**6, 5) == pytest.approx(1 - 2**-5, abs=1e-5)
    assert expected_coverage(10**6, 10**6, 4) < 0.95


def test_bad_arguments_are_refused():
    """k, and sets that are too small for it."""
    x = np.random.default_rng().standard_normal((5, 2))
    with pytest.raises(ValueError, match="radii: expected k from 1 to 4, got 5; each of 5 points has 4 others"):
        density_and_coverage(x, x)
    for function in (precision, recall):
        with pytest.raises(ValueError, match="radii: expected k from 1 to 4, got 0"):
            function(x, x, 0)
    with pytest.raises(ValueError, match="expected_coverage: expected real_count of at least 6, got 5"):
        expected_coverage(10, 5)
    with pytest.raises(ValueError, match="expected_coverage: expected count of at least 1, got 0"):
        expected_coverage(0, 10)
