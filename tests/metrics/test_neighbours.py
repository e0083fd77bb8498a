"""Nearest neighbours and balls: the same numbers, to the last bit, as loops over all pairs."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_sets import point_sets
from scipy.spatial import cKDTree

from minidiff import backend
from minidiff.metrics import blocks, count_within, nearest
from minidiff.metrics.neighbours import Distances


def table(a, b):
    """All distances in float64, one pair at a time."""
    return np.array([[np.sqrt(((x.astype(np.float64) - y) ** 2).sum()) for y in b] for x in a])


@given(point_sets(), st.data())
def test_neighbours_are_those_of_a_loop_to_the_last_bit(sets, data):
    """Sort each row of the table, equal distances by index."""
    queries, points = sets
    k = data.draw(st.integers(1, len(points)))
    found, all_pairs = nearest(queries, points, k), table(queries, points)
    expected = np.array([sorted(range(len(points)), key=lambda j, row=row: (row[j], j))[:k] for row in all_pairs])
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.distances, np.take_along_axis(all_pairs, expected, axis=1))


@given(point_sets(), st.data())
def test_balls_hold_what_a_loop_says_also_on_their_edge(sets, data):
    """Radii are distances of the table, so that points lie on edges; one ulp less, and they are outside."""
    points, centres = sets
    all_pairs = table(points, centres)
    radii = np.array([data.draw(st.sampled_from(list(column))) for column in all_pairs.T])
    radii = np.where(data.draw(st.booleans()), radii, np.nextafter(radii, 0))
    of_points, of_balls = count_within(points, centres, radii)
    np.testing.assert_array_equal(of_points, (all_pairs <= radii).sum(axis=1))
    np.testing.assert_array_equal(of_balls, (all_pairs <= radii).sum(axis=0))


@given(point_sets())
def test_the_bound_of_the_rounding_holds(sets):
    """Against rational arithmetic, and for the sums of squares themselves, too: each is within the margin of the true squared distance."""
    table = Distances(*sets)
    rounded, margin = table.rounded(slice(None))
    i, j = np.indices(rounded.shape).reshape(2, -1)
    for one, other, value, exact in zip(i, j, rounded.ravel(), table.exact(i, j)):
        truth = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(sets[0][one], sets[1][other]))
        assert abs(Fraction(float(value)) - truth) + abs(Fraction(float(exact)) - truth) <= Fraction(float(margin[one, 0]))


def test_any_rounding_within_its_bound_gives_the_same(rng, monkeypatch):
    """Put the worst on it: every distance off by up to 0.4, in either direction. Only what is computed again may decide."""
    queries, points, radii = rng.standard_normal((60, 2)), rng.standard_normal((50, 2)), rng.uniform(0.2, 1, 50)
    expected = [*nearest(queries, points, 4), *count_within(queries, points, radii)]
    rounded = Distances.rounded

    def worse(self, rows):
        squares, margin = rounded(self, rows)
        return squares + rng.choice([-0.4, 0.0, 0.4], squares.shape), margin + 0.4

    monkeypatch.setattr(Distances, "rounded", worse)
    for _ in range(20):
        for one, two in zip(expected, [*nearest(queries, points, 4), *count_within(queries, points, radii)]):
            np.testing.assert_array_equal(one, two)


@given(point_sets(count=1))
def test_a_point_is_its_own_nearest_neighbour_at_distance_zero(sets):
    """The first column is 0, and the smallest index of an equal point."""
    (points,) = sets
    found = nearest(points, points)
    assert (found.distances == 0).all()
    assert (points[found.indices[:, 0]] == points).all() or abs(points).max() < 1e-100  # squares of tiny differences are 0, too


def test_many_points_are_cut_into_blocks_and_agree_with_a_tree(rng):
    """Another library's search; more queries than fit into a block."""
    queries, points = rng.standard_normal((3000, 4)), rng.standard_normal((2000, 4))
    found = nearest(queries, points, 4)
    distances, indices = cKDTree(points).query(queries, 4)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
    radii = rng.uniform(0, 1, 2000)
    of_points, of_balls = count_within(queries, points, radii)
    balls = cKDTree(queries).query_ball_point(points, radii, return_length=True)
    np.testing.assert_array_equal(of_balls, balls)
    assert of_points.sum() == balls.sum() and of_points.dtype == of_balls.dtype == np.int64


def test_the_size_of_blocks_and_the_number_of_threads_change_nothing(rng, monkeypatch):
    """Blocks of one row and of all rows; one, two and three threads: the same bits."""
    queries, points = rng.standard_normal((40, 3)).round(1), rng.standard_normal((30, 3)).round(1)
    radii = nearest(points, points, 4).distances[:, 3]
    results = []
    try:
        for block, threads in ((1, 1), (70, 3), (1 << 20, 2)):
            monkeypatch.setattr(blocks, "BLOCK", block)
            backend.set_threads(threads)
            results.append((*nearest(queries, points, 5), *count_within(queries, points, radii)))
    finally:
        backend.set_threads(None)
    for other in results[1:]:
        for one, two in zip(results[0], other):
            np.testing.assert_array_equal(one, two)


def test_the_table_of_all_pairs_is_never_held(rng, monkeypatch):
    """2,000 x 2,000 distances would be 32 MB; small blocks take less than 6, also if all points are equal and every pair is a tie."""
    monkeypatch.setattr(blocks, "BLOCK", 1 << 15)
    monkeypatch.setattr("minidiff.metrics.neighbours.BLOCK", 1 << 15)
    different = rng.standard_normal((2000, 8))
    for points in (different, np.zeros((2000, 8))):
        backend.set_threads(2)
        tracemalloc.start()
        try:
            nearest(points, points, 3)
            count_within(points, points, np.zeros(len(points)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            backend.set_threads(None)
        assert peak < 6e6


def test_bad_arguments_are_refused():
    """k, radii and sets that do not fit."""
    points = np.zeros((3, 2))
    with pytest.raises(ValueError, match="nearest: expected k from 1 to 3, got 4; there are 3 points"):
        nearest(points, points, 4)
    with pytest.raises(TypeError, match=r"nearest: expected k to be an int, got 1\.5"):
        nearest(points, points, 1.5)
    with pytest.raises(ValueError, match="nearest: expected points and queries to have the same features, got 3 and 2 of them"):
        nearest(points, np.zeros((3, 3)))
    for radii in ([1.0, 1.0], [1.0, 1.0, -0.1]):
        with pytest.raises(ValueError, match="count_within: expected a radius of at least 0 for each of 3 centres"):
            count_within(points, points, np.array(radii))
