"""Are samples copies? A model that repeats its training images has the best figures of all; only their neighbours tell.

Two questions, both asked of distances to the training set: do samples lie closer to it than real images that the model has not seen, and
closer than training images lie to each other? Stands on `neighbours`. Read `retrieval` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.metrics.door import check_features, check_share, check_values
from minidiff.metrics.intervals import Estimate, share
from minidiff.metrics.jackknife import jackknife, share_of_two
from minidiff.metrics.neighbours import nearest


def closer_share(sample_distances: Any, test_distances: Any, generator: Any, quantile: float = 0.05, confidence: float = 0.95) -> Estimate:
    """The share of samples closer to their nearest training image than all but a share q of unseen real images are.

        1/N sum_j 1[ d(x_j) < Q ],   Q the q-quantile of d(test image),   d(x) = min_i |x - training image i|

    About q if samples are as new as real images; more is memorization: of a share of `excess` copies among otherwise new samples remains
    q + excess (1 - q). A share below q is no virtue: the samples are then far from all real images.
    sample_distances: (N,), test_distances: (M,): `nearest(..., training).distances[:, 0]` of samples and of real images that were not
    trained on, in the same features or pixels. Q is interpolated so that a new real distance is below it with probability q exactly
    (Weibull's plotting positions i / (M + 1)), which needs M + 1 >= 1 / q. generator: draws the parts of the jackknife.
    Raises ValueError or TypeError for other arguments.
    """
    check_share("closer_share", "quantile", quantile)
    samples, test = check_values("closer_share", sample_distances=sample_distances, test_distances=test_distances)
    if len(test) + 1 < 1 / quantile:
        raise ValueError(f"closer_share: {len(test)} test images say nothing about their {quantile:g}-quantile; give at least "
                         f"{int(np.ceil(1 / quantile)) - 1}, or a larger quantile")

    def closer(samples: np.ndarray, test: np.ndarray) -> dict[str, float]:
        return {"closer": float((samples < np.quantile(test, quantile, method="weibull")).mean())}

    return share_of_two(jackknife(closer, samples, test, generator)["closer"], len(samples), confidence)


def authenticity(samples: Any, training: Any, confidence: float = 0.95) -> Estimate:
    """The share of samples that are further from their nearest training image than that image is from its nearest other.

        1/N sum_j 1[ |x_j - y_i| > min_{l != i} |y_l - y_i| ],   i the nearest training image of x_j          Alaa et al. 2022

    Not 1 for a perfect model: a new real image is as likely as any to be the closer one. What real images that were not trained on have is
    the figure to compare with: 1/3 on a line, 0.38 in the plane, 0.41 in space, towards 1/2 in many dimensions. Copies have 0;
    but not those of a training image that is there twice: leave repetitions out of the training set first.
    samples: (N, D), training: (M, D) floats, M at least 2. The interval is for other samples and the same training set.
    Raises ValueError or TypeError for others.
    """
    samples, training = check_features("authenticity", 1, samples=samples, training=training)
    check_features("authenticity", 2, training=training)
    distances, indices = (column[:, 0] for column in nearest(samples, training))
    asked, place = np.unique(indices, return_inverse=True)
    to_another = nearest(training[asked], training, 2).distances[:, 1][place]
    return share(distances > to_another, confidence)
