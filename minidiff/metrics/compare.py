"""The figures of two sets of features, together, with their intervals: what an evaluation calls.

Stands on everything in this room. The floor is the same call with real images in the place of the samples: real images that the
classifier and the model may have seen, as many as there are samples, against the same test set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minidiff.metrics.door import check_features, check_generator, check_share
from minidiff.metrics.frechet import frechet_distance
from minidiff.metrics.intervals import Estimate
from minidiff.metrics.jackknife import jackknife, share_of_two
from minidiff.metrics.kernel import kernel_distance
from minidiff.metrics.manifold import density_and_coverage, precision, recall


def compare(
    samples: Any, real: Any, generator: Any, confidence: float = 0.95, progress: Callable[[float], None] | None = None
) -> dict[str, Estimate]:
    """Every figure of this room that compares two sets, each with an interval.

    frechet_distance, and frechet_distance_infinite, the same for infinite sets (`Jackknife.unbiased`; left out unless both sets have at
    least 2 rows a feature); kernel_distance; precision and recall with k = 3; density and coverage with k = 5.

    The intervals are the jackknife's, for both sets drawn anew, as large as they are; a share's is at least as wide as Wilson's.
    samples: (N, D), real: (M, D) floats, at least 10 of each; real images that nothing was trained on. generator: draws the parts of the
    jackknife. Takes 21 times the time of computing the figures once; progress: called now and then with the fraction done.
    Raises ValueError or TypeError for other arguments.
    """
    samples, real = check_features("compare", 10, samples=samples, real=real)
    check_share("compare", "confidence", confidence)
    check_generator("compare", generator, "permutation")
    found = jackknife(figures, samples, real, generator, progress=progress)
    shares = {"precision": len(samples), "recall": len(real), "coverage": len(real)}
    result = {}
    for name, figure in found.items():
        result[name] = share_of_two(figure, shares[name], confidence) if name in shares else figure.estimate(confidence)
        if name in ("frechet_distance", "density"):             # no number of these is negative, so no mean of them is
            result[name] = replace(result[name], low=max(0.0, result[name].low))
        if name == "frechet_distance" and min(len(samples), len(real)) >= 2 * samples.shape[1]:
            result["frechet_distance_infinite"] = figure.unbiased(confidence)
    return result


def figures(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """The figures by name, without intervals. samples: (N, D), real: (M, D) floats, at least 6 of each."""
    density, coverage = density_and_coverage(samples, real)
    return {"frechet_distance": frechet_distance(samples, real), "kernel_distance": kernel_distance(samples, real),
            "precision": precision(samples, real), "recall": recall(samples, real), "density": density, "coverage": coverage}
