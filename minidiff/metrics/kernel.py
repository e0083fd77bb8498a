"""The kernel distance of two sets of features, which needs no Gaussians and has no bias: for small sets.

With Inception features it is the KID. Stands on `door` and `blocks`. Read `manifold` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.metrics.blocks import each_block
from minidiff.metrics.door import check_features


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """k(x, y) = (x . y / D + 1)^3 for all pairs: (N, D), (M, D) -> (N, M).                            Binkowski et al. 2018"""
    values = x @ y.T / x.shape[1] + 1
    return values * values * values


def kernel_distance(samples: Any, real: Any) -> float:
    """The squared maximum mean discrepancy of two sets, estimated without bias: with Inception features, KID.

        E k(x, x') + E k(y, y') - 2 E k(x, y)                                   Gretton et al. 2012, Lemma 6

    over all pairs of different samples x, x', of different real images y, y', and of a sample and a real image,
    with the polynomial kernel, which compares means, covariances and third moments. On average the same for any number of samples, 0
    for a perfect model; so about half of all perfect models have a negative one. Depends on the scale of the features, and not like a
    square: x -> 2 x is another kernel. Others average over random subsets of 1,000; all pairs have the same expectation and vary less.
    samples: (N, D), real: (M, D) floats, N and M at least 2. Raises ValueError or TypeError for others.
    """
    x, y = check_features("kernel_distance", 2, samples=samples, real=real)
    return _mean_kernel(x, x, others=True) + _mean_kernel(y, y, others=True) - 2 * _mean_kernel(x, y)


def _mean_kernel(x: np.ndarray, y: np.ndarray, others: bool = False) -> float:
    """The mean of k over all pairs; others: of two sets that are one, the pairs of a point with itself left out."""
    y64, sums = y.astype(np.float64), np.empty(len(x))

    def work(rows: slice) -> None:
        x64 = x[rows].astype(np.float64)
        sums[rows] = polynomial_kernel(x64, y64).sum(axis=1)
        if others:
            with_itself = (x64 * x64).sum(axis=1) / x.shape[1] + 1
            sums[rows] -= with_itself * with_itself * with_itself

    each_block(work, len(x), len(y))
    return float(sums.sum() / (len(x) * (len(y) - others)))
