"""A figure and how sure it is: `Estimate`, intervals for shares (Wilson) and for means (bootstrap).

A figure of 100 images is not the figure of a million. An interval says between which values the latter lies, in 95 of 100 such
experiments. Stands on `door`. Read `jackknife` next: figures that compare two sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from minidiff.metrics.door import check_count, check_generator, check_share, check_values


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval, the number of samples that it is made of, and of the real images they were compared with, if any."""

    value: float
    low: float
    high: float
    count: int
    against: int | None = None
    confidence: float = 0.95

    def __str__(self) -> str:
        """value (low to high; counts), with two digits of half the interval."""
        half = (self.high - self.low) / 2
        digits = min(15, max(0, 1 - math.floor(math.log10(half)))) if 0 < half < math.inf else 3
        counts = f"n = {self.count:,}" if self.against is None else f"{self.count:,} against {self.against:,}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f}; {counts})"


def wilson(share: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a probability p of which `count` tries showed the share s: all p from which s is no more than z sigmas away.

        (s - p)^2 <= z^2 p (1 - p) / n,   so   p = (s + z^2 / 2n +- z sqrt(s (1 - s) / n + z^2 / 4n^2)) / (1 + z^2 / n)     Wilson 1927

    Never empty and never outside [0, 1], also for s = 0 and s = 1. share: in [0, 1]. z is the normal quantile of (1 + confidence) / 2.
    Raises ValueError or TypeError for other arguments.
    """
    check_count("wilson", "count", count)
    check_share("wilson", "confidence", confidence)
    if not 0 <= share <= 1:
        raise ValueError(f"wilson: expected a share between 0 and 1, got {share}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, min(share, (centre - half) / scale)), min(1.0, max(share, (centre + half) / scale))


def share(hits: Any, confidence: float = 0.95) -> Estimate:
    """How often: the mean of hits, with Wilson's interval. The accuracy of a classifier is share(predicted == labels).

    hits: (N,) booleans, or numbers in [0, 1]: half a hit counts half, and the interval is then rather too wide, since no numbers in [0, 1]
    vary more than zeros and ones. The tries must be independent. Raises ValueError or TypeError for others.
    """
    (hits,) = check_values("share", hits=hits)
    if hits.min() < 0 or hits.max() > 1:
        raise ValueError(f"share: expected hits between 0 and 1, got numbers from {hits.min():g} to {hits.max():g}")
    value = float(hits.mean())
    return Estimate(value, *wilson(value, len(hits), confidence), count=len(hits), confidence=confidence)


def bootstrap(
    values: Any, generator: Any, statistic: Callable[[np.ndarray], float] = np.mean, resamples: int = 2000, confidence: float = 0.95
) -> Estimate:
    """A mean (or another statistic) of independent values, with the percentile interval of the bootstrap (Efron 1979).

        low, high = quantiles (1 -+ confidence) / 2 of statistic(values[i]),   i: N integers drawn anew, with repetition

    For statistics of one set that do not mind repetition. Distances to nearest neighbours do: a repeated point is its own neighbour; and
    the Frechet distance of repeated points is too large. For those: `jackknife`.
    values: (N,) numbers. generator: draws the integers by integers(low, high, size).
    Raises ValueError or TypeError for other values, and a generator that cannot draw.
    """
    (values,) = check_values("bootstrap", values=values)
    check_count("bootstrap", "resamples", resamples)
    check_share("bootstrap", "confidence", confidence)
    check_generator("bootstrap", generator, "integers")
    n = len(values)
    repeated = [float(statistic(values[generator.integers(0, n, n)])) for _ in range(resamples)]
    low, high = np.quantile(repeated, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(statistic(values)), float(low), float(high), count=n, confidence=confidence)
