"""Fidelity and diversity as two figures: precision and recall, density and coverage.

Where real images are is not known, but around each of them there is a ball that reaches to its k-th nearest neighbour; together they
stand for the manifold of real images. Stands on `neighbours`. Read `memorization` next.

    precision   the share of samples in some ball of a real image
    recall      the share of real images in some ball of a sample
    density     how many balls of real images hold a sample, on average, in units of k
    coverage    the share of real images whose ball holds some sample

All balls are closed (Kynkaanniemi et al. 2019, Eq. 1; the code of Naeem et al. has open ones): a set compared with itself has precision,
recall and coverage 1 also where points repeat, as in discrete data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff.metrics.door import check_count, check_features
from minidiff.metrics.neighbours import count_within, nearest


def radii(points: Any, k: int) -> np.ndarray:
    """The distance of each point to its k-th nearest other point: (N, D) -> (N,). k from 1 to N - 1, or ValueError."""
    (points,) = check_features("radii", 2, points=points)
    check_count("radii", "k", k, 1, len(points) - 1, f"each of {len(points)} points has {len(points) - 1} others")
    return nearest(points, points, k + 1).distances[:, k]             # the nearest, at distance 0, is the point itself


def precision(samples: Any, real: Any, k: int = 3) -> float:
    """The share of samples that look real: that lie in the ball of some real image.

        1/N sum_j 1[ x_j in union_i B(y_i, NND_k(y_i)) ]             Kynkaanniemi et al. 2019, Eq. 2, with their k = 3

    One real image far from all others has a large ball, in which much that is not real can hide: `density` counts balls instead.
    samples: (N, D), real: (M, D) floats, M > k. Raises ValueError or TypeError for others.
    """
    samples, real = check_features("precision", 1, samples=samples, real=real)
    per_sample, _ = count_within(samples, real, radii(real, k))
    return float((per_sample > 0).mean())


def recall(samples: Any, real: Any, k: int = 3) -> float:
    """The share of real images that could have been drawn: that lie in the ball of some sample.

        1/M sum_i 1[ y_i in union_j B(x_j, NND_k(x_j)) ]             Kynkaanniemi et al. 2019, Eq. 2, with their k = 3

    Samples that are spread too widely have large balls, and a recall that is too high: `coverage` has the balls of real images instead.
    samples: (N, D), real: (M, D) floats, N > k. Raises ValueError or TypeError for others.
    """
    samples, real = check_features("recall", 1, samples=samples, real=real)
    return precision(real, samples, k)


def density_and_coverage(samples: Any, real: Any, k: int = 5) -> tuple[float, float]:
    """How densely the samples lie where real images are, and what share of real images has a sample near it.

        density  = 1/(k N) sum_j sum_i 1[ x_j in B(y_i, NND_k(y_i)) ]         Naeem et al. 2020
        coverage = 1/M sum_i 1[ some x_j in B(y_i, NND_k(y_i)) ]              the same, with their k = 5

    For a perfect model the density is 1 on average, whatever the sizes, and the coverage `expected_coverage(N, M, k)`. The density of
    samples that gather where real images lie closest is greater than 1, without limit.
    samples: (N, D), real: (M, D) floats, M > k. Raises ValueError or TypeError for others.
    """
    samples, real = check_features("density_and_coverage", 1, samples=samples, real=real)
    per_sample, per_ball = count_within(samples, real, radii(real, k))
    return float(per_sample.mean() / k), float((per_ball > 0).mean())


def expected_coverage(count: int, real_count: int, k: int = 5) -> float:
    """The coverage of a perfect model, on average: samples and real images from one distribution, of any shape and dimension.

        1 - (M - 1) (M - 2) ... (M - k) / ((N + M - 1) (N + M - 2) ... (N + M - k))              Naeem et al. 2020, Lemma 2

    N = count samples, M = real_count: the ball of y_i holds no sample if its k nearest among the N + M - 1 others are all real.
    Raises ValueError or TypeError unless N is at least 1 and M > k > 0.
    """
    check_count("expected_coverage", "count", count)
    check_count("expected_coverage", "k", k)
    check_count("expected_coverage", "real_count", real_count, k + 1)
    return 1 - math.prod((real_count - i) / (count + real_count - i) for i in range(1, k + 1))
