"""The Frechet distance of two sets of features: fit a Gaussian to each, take the distance of the Gaussians.

With the features of an Inception network it is the FID; with any others it is a number of its own, comparable only with numbers from the
same features, the same real images and the same counts. `frechet_curve`, `frechet_floor` and `frechet_distance_infinite` are about what
the counts do. Stands on `door`. Read `kernel` next.

Decompositions run on one thread of BLAS: the bits are the same on any number of cores, and many small ones do not wait for each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidiff.backend import one_blas_thread, to_numpy
from minidiff.metrics.door import check_count, check_features, check_generator


class Moments(NamedTuple):
    """A Gaussian: its mean (D,), and a square root (D, D) of its covariance, S = root^T root."""

    mean: np.ndarray
    root: np.ndarray


@one_blas_thread()
def fit_gaussian(features: Any) -> Moments:
    """Mean and covariance of features, the latter with N - 1 as in the field (`numpy.cov`), as a root that is never squared.

        x - mean = Q R,   S = (x - mean)^T (x - mean) / (N - 1) = R^T R / (N - 1)

    features: (N, D) floats, N at least 2. With N <= D the covariance is singular: N points span N - 1 dimensions, and the Gaussian has no
    width in all others. Everything below works, but says more about N than about the features. Memory: 5 D rows in float64.
    Raises ValueError or TypeError for others.
    """
    (x,) = check_features("fit_gaussian", 2, features=features)
    n, d = x.shape
    mean = x.mean(axis=0, dtype=np.float64)
    root = np.zeros((d, d))
    for start in range(0, n, 4 * d):                          # R of the rows so far, with the next ones below, is R of them all
        root = np.linalg.qr(np.concatenate([root, x[start:start + 4 * d] - mean]), mode="r")
    return Moments(mean, root / np.sqrt(n - 1))


@one_blas_thread()
def moments(mean: Any, covariance: Any) -> Moments:
    """The Gaussian with a known mean (D,) and covariance (D, D): statistics that others have published.

    S = V diag(l) V^T, root = diag(sqrt(l)) V^T. Raises ValueError or TypeError for a covariance that is not symmetric, or has negative
    eigenvalues beyond rounding (1e-6 of the largest: published statistics are float32).
    """
    mean, covariance = to_numpy(mean), to_numpy(covariance)
    if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
        raise ValueError(f"moments: expected a mean (D,) and a covariance (D, D), got shapes {mean.shape} and {covariance.shape}")
    mean, covariance = (check_features("moments", **{name: np.atleast_2d(x)})[0].astype(np.float64)
                        for name, x in (("mean", mean), ("covariance", covariance)))
    lopsided, largest = abs(covariance - covariance.T).max(), abs(covariance).max()
    if lopsided > 1e-6 * largest:
        raise ValueError(f"moments: expected a symmetric covariance, but entries differ from their mirror images by up to {lopsided:.2g}")
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if values[0] < -1e-6 * values[-1]:
        raise ValueError(f"moments: expected a covariance, whose eigenvalues are at least 0, but the smallest is {values[0]:.2g}")
    return Moments(mean[0], np.sqrt(values.clip(0))[:, None] * vectors.T)


@one_blas_thread()
def frechet_distance(samples: Any, real: Any) -> float:
    """The squared Frechet distance (also: 2-Wasserstein) of two Gaussians, in the square of the features' unit: what is called FID.

        d^2 = |m - m'|^2 + tr(S + S' - 2 (S^{1/2} S' S^{1/2})^{1/2})                    Dowson & Landau 1982; Heusel et al. 2017, Eq. 6
            = |m - m'|^2 + min_Q |R - Q R'|^2,   S = R^T R,   S' = R'^T R',   Q orthogonal

    The second form loses no digits where the two are close, needs no square root of a matrix that may be singular, and is never negative.
    The best Q is U V^T, from the singular values R R'^T = U diag(s) V^T; the trace of the root in the first form is the sum of s.
    samples, real: (N, D) features, N at least 2, or Moments. Raises ValueError or TypeError for others.
    """
    (m, root), (m_real, root_real) = (_gaussian("frechet_distance", name, x) for name, x in (("samples", samples), ("real", real)))
    if m.shape != m_real.shape:
        raise ValueError(f"frechet_distance: expected as many features in samples as in real, got {len(m)} and {len(m_real)}; both must "
                         "come from the same network")
    u, _, vt = np.linalg.svd(root @ root_real.T)
    return float(((m - m_real) ** 2).sum() + ((root - (u @ vt) @ root_real) ** 2).sum())


def _gaussian(where: str, name: str, features: Any) -> Moments:
    if isinstance(features, Moments):
        return features
    (features,) = check_features(where, 2, **{name: features})
    return fit_gaussian(features)


# -- what the number of samples does ---------------------------------------------------------------------------------


@one_blas_thread()
def frechet_floor(real: Any, count: int, real_count: int) -> float:
    """The distance to expect of a perfect model: of two sets, of `count` and `real_count` images, drawn from the same Gaussian.

        E d^2 = (1 / N + 1 / M) [tr S + 1/2 sum_ij l_i l_j / (l_i + l_j) + 1/4 tr S] + O(1 / N^2)

    l: the eigenvalues of S. The first term is the error of the means, the others that of the covariances; for D equal eigenvalues l
    it is (1 / N + 1 / M) l (D + D (D + 1) / 4), growing with D^2. Good to some percent from N = 4 D on.
    real: (n, D) features, or Moments. Raises ValueError or TypeError for others.
    """
    check_count("frechet_floor", "count", count)
    check_count("frechet_floor", "real_count", real_count)
    values = np.linalg.svd(_gaussian("frechet_floor", "real", real).root, compute_uv=False) ** 2
    sums = values[:, None] + values
    pairs = np.divide(np.outer(values, values), sums, out=np.zeros_like(sums), where=sums > 0)
    return float((1 / count + 1 / real_count) * (1.25 * values.sum() + pairs.sum() / 2))


def frechet_curve(samples: Any, real: Any, counts: Any, generator: Any) -> np.ndarray:
    """The distance when only so many samples are taken: the first of them, in a random order drawn anew for each count.

    If real are features, they are made fewer in the same proportion, so that all biases are b / N; if Moments, they stay as they are.
    samples: (N, D) floats. counts: from 2 to N. generator: draws the orders by permutation(n). Returns (len(counts),).
    Raises ValueError or TypeError for others.
    """
    sets = _sets("frechet_curve", samples, real, generator)
    n = len(sets[0])
    for count in counts:
        check_count("frechet_curve", "counts", count, 2, n, f"there are {n} samples")
        if min(len(x) * count // n for x in sets) < 2:
            raise ValueError(f"frechet_curve: {count} of {n} samples leave less than 2 of {len(sets[1])} real images")
    distances = []
    for count in counts:
        fewer = [fit_gaussian(x[generator.permutation(len(x))[:len(x) * count // n]]) for x in sets]
        distances.append(frechet_distance(*fewer, *([real] if len(fewer) == 1 else [])))
    return np.array(distances)


def _sets(where: str, samples: Any, real: Any, generator: Any) -> list[np.ndarray]:
    """The sets that are made smaller: samples, and real if that is no Gaussian."""
    check_generator(where, generator, "permutation")
    if not isinstance(real, Moments):
        return check_features(where, 2, samples=samples, real=real)
    return check_features(where, 2, samples=samples, real=real.mean[None].repeat(2, axis=0))[:1]


def frechet_distance_infinite(samples: Any, real: Any, generator: Any, points: int = 15, smallest: int | None = None) -> float:
    """The distance that infinitely many samples would have: FID_infinity (Chong & Forsyth 2020).

    Distances of fewer samples, at `points` counts evenly from `smallest` to N (`frechet_curve`), lie on a line in 1 / N; here is the
    line at 1 / N = 0, by least squares. The paper has 15 points from 5,000 to 50,000 samples, Inception features, and fixed statistics of
    the real images, which are Moments here; of features, the number of real images goes to infinity, too.
    smallest: a tenth of N, but at least 2 D, unless given. May be negative where the distance is near 0.
    `jackknife(...).unbiased()` has the same limit with less noise, and an interval.
    Raises ValueError or TypeError for other arguments, and for fewer than 4 D samples or real images: the line bends.
    """
    sets = _sets("frechet_distance_infinite", samples, real, generator)
    (n, d), least = sets[0].shape, min(map(len, sets))
    if least < 4 * d:
        raise ValueError(f"frechet_distance_infinite: {least} samples or real images are too few for {d} features, the distance is not yet "
                         f"a line in 1 / N; draw at least {4 * d}, or take features of fewer dimensions, or kernel_distance")
    check_count("frechet_distance_infinite", "points", points, 2)
    smallest = max(n // 10, 2 * d * n // least) if smallest is None else smallest
    check_count("frechet_distance_infinite", "smallest", smallest, 2, n - 1, "the line needs different counts")
    counts = np.linspace(smallest, n, points).astype(int)
    return float(np.polyfit(1 / counts, frechet_curve(samples, real, counts, generator), 1)[1])
