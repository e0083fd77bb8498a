"""Nearest neighbours, and balls that hold points: exact, and in little memory.

A matrix product gives all squared distances at once, |a|^2 + |b|^2 - 2 a.b, but rounded: where two points are close the three terms
cancel. It is used to say which pairs cannot matter. The few that may are computed again from their differences. So the result is that of
a plain loop in float64, ties included, at the speed of a matrix product. Stands on `door` and `blocks`. Read `frechet` next.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from minidiff.metrics.blocks import BLOCK, each_block
from minidiff.metrics.door import check_count, check_features, check_values

ROUNDING = float(np.finfo(np.float64).eps)


class Neighbours(NamedTuple):
    """The nearest points of each query: distances (N, k), ascending, and indices (N, k) into the points."""

    distances: np.ndarray
    indices: np.ndarray


class Distances:
    """|a_i - b_j|^2 - c_j for all pairs of two sets of points, with a bound of the rounding; |a_i - b_j|^2 exactly for chosen pairs."""

    def __init__(self, a: np.ndarray, b: np.ndarray, c: Any = 0.0):
        self.a, self.b = a, b
        centre = b.mean(axis=0, dtype=np.float64)   # distances do not depend on it, but smaller numbers cancel less
        a, b = a - centre, b - centre
        a_squares, b_squares = ((x * x).sum(axis=1, keepdims=True) for x in (a, b))
        # |a|^2 + |b|^2 - 2 a.b - c as one product of matrices
        self.left = np.concatenate([-2 * a, a_squares, np.ones_like(a_squares)], axis=1)
        self.right = np.concatenate([b, np.ones_like(b_squares), b_squares - np.reshape(c, (-1, 1))], axis=1)
        # A sum of n products is off by at most n eps times the sum of their sizes (Higham 2002, Section 3.1); what the centring and
        # the squares lose, and what `exact` loses, is of the same kind. The tiny number is for squares too small to be numbers.
        size = a_squares + b_squares.max() + np.max(c)
        self.margin = 8 * (self.a.shape[1] + 8) * ROUNDING * size + 1e-300

    def rounded(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """(n, M), these rows of a with all of b, and (n, 1), by how much they may be off."""
        return self.left[rows] @ self.right.T, self.margin[rows]

    def exact(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """sum (a_i - b_j)^2 for the pairs (i, j): the same bits for the same two points, in either order."""
        squares = np.empty(len(i))
        step = max(1, BLOCK // self.a.shape[1])
        for start in range(0, len(i), step):
            piece = slice(start, start + step)
            difference = self.a[i[piece]].astype(np.float64) - self.b[j[piece]]
            squares[piece] = (difference * difference).sum(axis=1)
        return squares


def nearest(queries: Any, points: Any, k: int = 1) -> Neighbours:
    """The k nearest points of each query, by Euclidean distance; of equally near ones those with the smaller index.

    queries: (N, D), points: (M, D) floats, k from 1 to M. A set's neighbours in itself begin with the points themselves, at distance 0.
    Exactly what comparing all sums of squared differences in float64 gives. Memory: a float64 copy of both sets, and some 30 MB a thread.
    Raises ValueError or TypeError for other arguments.
    """
    queries, points = check_features("nearest", queries=queries, points=points)
    check_count("nearest", "k", k, 1, len(points), f"there are {len(points)} points")
    table = Distances(queries, points)
    distances, indices = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)

    def work(rows: slice) -> None:
        squares, margin = table.rounded(rows)
        enough = np.partition(squares, k - 1, axis=1)[:, k - 1:k] + margin      # k points are certainly no further than this
        i, j = np.nonzero(squares <= enough + margin)
        squares = table.exact(i + rows.start, j)
        order = np.lexsort((j, squares, i))
        first = np.searchsorted(i, np.arange(len(margin)))                      # where the candidates of each query begin
        chosen = order[first[:, None] + np.arange(k)]
        distances[rows], indices[rows] = np.sqrt(squares[chosen]), j[chosen]

    each_block(work, len(queries), len(points))
    return Neighbours(distances, indices)


def count_within(points: Any, centres: Any, radii: Any) -> tuple[np.ndarray, np.ndarray]:
    """How many balls hold each point, and how many points each ball holds. Balls are closed: a point on the edge is inside.

    points: (N, D), centres: (M, D) floats; radii: (M,), at least 0. Returns (N,) and (M,) int64, exact as `nearest`.
    Raises ValueError or TypeError for other arguments.
    """
    points, centres = check_features("count_within", points=points, centres=centres)
    (radii,) = check_values("count_within", radii=radii)
    if radii.shape != (len(centres),) or radii.min() < 0:
        raise ValueError(f"count_within: expected a radius of at least 0 for each of {len(centres)} centres, got shape {radii.shape}, "
                         f"the smallest {radii.min():g}")
    table = Distances(points, centres, radii**2)
    of_points, of_balls, lock = np.empty(len(points), dtype=np.int64), np.zeros(len(centres), dtype=np.int64), Lock()

    def work(rows: slice) -> None:
        beyond, margin = table.rounded(rows)
        inside = beyond <= -margin
        i, j = np.nonzero(inside != (beyond <= margin))
        inside[i, j] = np.sqrt(table.exact(i + rows.start, j)) <= radii[j]
        of_points[rows] = inside.sum(axis=1)
        with lock:
            np.add(of_balls, inside.sum(axis=0), out=of_balls)

    each_block(work, len(points), len(centres))
    return of_points, of_balls
