"""Is it any good? Figures for what a model draws: features in, numbers out.

Features are (N, D) floats, a row an image: what an independent classifier says of it before its last layer, an embedding, or the pixels
themselves. Nothing here knows a network, reads a file or draws a picture. Reading order:

    door           what is refused, and with which words
    intervals      a figure with its interval: shares (Wilson), means (bootstrap)
    jackknife      the error and the bias of any figure that compares two sets
    blocks         tables that are too large to hold, a few rows at a time
    neighbours     nearest neighbours and balls that hold points, exactly
    frechet        the distance of two Gaussians fitted to features, and what the number of samples adds to it
    kernel         the kernel distance, which has no such bias
    manifold       precision, recall, density, coverage
    memorization   are samples copies of training images?
    retrieval      images and texts: retrieval, zero-shot classes, CLIP score
    compare        the figures of two sets together

Computes on the host in float64; arrays of any library come in. docs/quality.md derives it all.
"""

from minidiff.metrics.compare import compare
from minidiff.metrics.frechet import (
    Moments,
    fit_gaussian,
    frechet_curve,
    frechet_distance,
    frechet_distance_infinite,
    frechet_floor,
    moments,
)
from minidiff.metrics.intervals import Estimate, bootstrap, share, wilson
from minidiff.metrics.jackknife import Jackknife, jackknife
from minidiff.metrics.kernel import kernel_distance, polynomial_kernel
from minidiff.metrics.manifold import density_and_coverage, expected_coverage, precision, radii, recall
from minidiff.metrics.memorization import authenticity, closer_share
from minidiff.metrics.neighbours import Neighbours, count_within, nearest
from minidiff.metrics.retrieval import chance_of_recall_at_k, clip_scores, cosine_similarity, recall_at_k, zero_shot_accuracy

__all__ = [
    "Estimate", "Jackknife", "Moments", "Neighbours", "authenticity", "bootstrap", "chance_of_recall_at_k", "clip_scores", "closer_share",
    "compare", "cosine_similarity", "count_within", "density_and_coverage", "expected_coverage", "fit_gaussian", "frechet_curve",
    "frechet_distance", "frechet_distance_infinite", "frechet_floor", "jackknife", "kernel_distance", "moments", "nearest",
    "polynomial_kernel", "precision", "radii", "recall", "recall_at_k", "share", "wilson", "zero_shot_accuracy",
]
