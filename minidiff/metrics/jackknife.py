"""The jackknife: what a figure that compares two sets owes to chance, and to their sizes.

Leave a tenth of the data out and look how far the figure moves; repeat with every tenth. Needs no formula of the figure, and no data
twice. Stands on `intervals`. Read `blocks` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from minidiff.metrics.door import check_count, check_generator, check_share
from minidiff.metrics.intervals import Estimate, wilson

Statistic = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass(frozen=True)
class Jackknife:
    """A figure of two sets, its standard error, and its bias: what it has too much because the sets are finite.

    groups: into how many parts each set was cut; count, against: the sizes of the sets.
    """

    value: float
    standard_error: float
    bias: float
    groups: int
    count: int
    against: int

    def estimate(self, confidence: float = 0.95) -> Estimate:
        """The figure for sets of these sizes: value +- t standard errors, t the quantile of Student's t with groups - 1 degrees."""
        return self._around(self.value, confidence)

    def unbiased(self, confidence: float = 0.95) -> Estimate:
        """The figure for infinite sets, value - bias, if it depends on the sizes like a + b / N + c / M; the same width."""
        return self._around(self.value - self.bias, confidence)

    def _around(self, value: float, confidence: float) -> Estimate:
        check_share("Jackknife", "confidence", confidence)
        half = float(stdtrit(self.groups - 1, (1 + confidence) / 2)) * self.standard_error
        return Estimate(value, value - half, value + half, self.count, self.against, confidence)


def jackknife(
    statistic: Statistic, samples: np.ndarray, real: np.ndarray, generator: Any, groups: int = 10,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Jackknife]:
    """Figures of two sets, with errors and biases from leaving out one of `groups` random parts of one of the sets at a time.

        variance = sum over both sets of (G - 1) / G sum_g (theta_g - mean theta)^2          Tukey 1958
        bias     = sum over both sets of (G - 1) (mean theta - theta)                        Quenouille 1956

    theta_g is the figure without part g. The variance is right for smooth figures and on average not too small for any (Efron & Stein
    1981). The bias is exact if the figure depends on the sizes like a + b / N + c / M.
    statistic: called 2 G + 1 times, statistic(samples, real) -> {name: number}. samples, real: (N, ...) and (M, ...), in any order.
    generator: draws the parts by permutation(n). progress: called after each call with the fraction done, in (0, 1].
    Raises ValueError unless there are at least 2 groups and as many rows of both; TypeError for a generator that cannot draw.
    """
    check_count("jackknife", "groups", groups, 2, min(len(samples), len(real)), "each set is cut into that many parts")
    check_generator("jackknife", generator, "permutation")
    calls = 2 * groups + 1

    def figures(call: int, samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        result = statistic(samples, real)
        if progress is not None:
            progress((call + 1) / calls)
        return result

    whole = figures(0, samples, real)
    parts = [np.array_split(generator.permutation(len(data)), groups) for data in (samples, real)]
    without = [[figures(1 + g, np.delete(samples, part, axis=0), real) for g, part in enumerate(parts[0])],
               [figures(1 + groups + g, samples, np.delete(real, part, axis=0)) for g, part in enumerate(parts[1])]]
    results = {}
    for name, value in whole.items():
        theta = np.array([[figures[name] for figures in of_one] for of_one in without])           # (2, G)
        mean = theta.mean(axis=1, keepdims=True)
        variance = (groups - 1) / groups * ((theta - mean) ** 2).sum()
        bias = (groups - 1) * (mean - value).sum()
        results[name] = Jackknife(float(value), math.sqrt(variance), float(bias), groups, len(samples), len(real))
    return results


def share_of_two(figure: Jackknife, tries: int, confidence: float = 0.95) -> Estimate:
    """A share with the wider of two intervals: the jackknife's within [0, 1], and that of as many independent tries (`wilson`).

    The jackknife alone would call a share of 1 certain, because leaving out hits changes nothing; the tries alone would forget that the
    other set is a draw, too.
    """
    estimate = figure.estimate(confidence)
    low, high = wilson(figure.value, tries, confidence)
    return replace(estimate, low=max(0.0, min(estimate.low, low)), high=min(1.0, max(estimate.high, high)))
