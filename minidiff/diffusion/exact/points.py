"""A finite data set taken for the whole truth: what a model learns that fits its training images perfectly.

With q(x_0) = 1/K sum_k delta(x_0 - y_k) every walk ends at one of the y_k: the perfect denoiser of the training set
memorizes it, and a network makes new images only because it is not that denoiser. Stands on `data`. Read `rotated` next.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import apply, check_batch, is_tensor, like, log_softmax, log_sum_exp, namespace
from minidiff.diffusion.exact.data import ExactData, check_draw, factors

__all__ = ["Points"]

BLOCK = 1 << 20
"""How many differences of x and the points are held at a time."""


class Points(ExactData):
    """x_0 is one of the given points, each equally likely: the mixture with weights 1/K whose components have std 0.

    data: (K, *shape), K >= 1. sigma must be above 0. Distances are taken difference by difference, so they keep their digits at every
    sigma, and block by block, so 6,000 images of 28 x 28 need no more memory than their own and N K numbers (a Tensor's graph keeps
    N K D). Raises ValueError for data without points.
    """

    def __init__(self, data: Any) -> None:
        self.data = np.asarray(data, dtype=np.float64)
        if self.data.ndim == 0 or self.data.size == 0:
            raise ValueError(f"Points: expected data of shape (K, ...) with at least one point, got shape {self.data.shape}")
        if not np.isfinite(self.data).all():
            raise ValueError("Points: expected finite points, got NaN or infinity")

    def log_responsibilities(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """log p(k | x), which point x came from: (N, K).

            p(k | x) = softmax_k(-|x - alpha y_k|^2 / (2 sigma^2))
        """
        return log_softmax(self._exponents(x, alpha, sigma), axis=1)

    def start(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """sum_k p(k | x) y_k: attention to the data set, with x as the query."""
        shares = apply("exp", self.log_responsibilities(x, alpha, sigma))
        return (shares @ like(self.data.reshape(len(self.data), -1), x)).reshape(x.shape)

    def score(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """(alpha E[x_0 | x] - x) / sigma^2, by Tweedie's formula, whose difference is exact here: E[x_0 | x] is between the points."""
        alpha, sigma = factors("Points", alpha, sigma)
        return (alpha * self.start(x, alpha, sigma) - x) / sigma / sigma

    def log_prob(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """log 1/K sum_k N(x; alpha y_k, sigma^2 I)."""
        _, sigma = factors("Points", alpha, sigma)
        variance = 2 * math.pi * sigma * sigma
        log_variance = math.log(variance) if isinstance(variance, float) else apply("log", variance).reshape(-1)
        total = log_sum_exp(self._exponents(x, alpha, sigma), axis=1)[:, 0]
        return total - math.log(len(self.data)) - log_variance * (math.prod(self.data.shape[1:]) / 2)

    def sample(self, count: int, generator: Any) -> Any:
        """Points drawn with replacement: (count, *shape), float64 on the host."""
        check_draw("Points.sample", count, generator, "integers")
        return self.data[generator.integers(0, len(self.data), count)]

    def _exponents(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """-|x - alpha y_k|^2 / (2 sigma^2): (N, K)."""
        check_batch("Points", x)
        if tuple(x.shape[1:]) != self.data.shape[1:]:
            raise ValueError(f"Points: the data has shape {self.data.shape[1:]}, got x of shape {tuple(x.shape)}")
        alpha, sigma = factors("Points", alpha, sigma)
        queries, points = x.reshape(x.shape[0], 1, math.prod(x.shape[1:])), like(self.data.reshape(1, len(self.data), -1), x)
        if not isinstance(alpha, float):
            alpha = alpha.reshape(-1, 1, 1)
        if not isinstance(sigma, float):
            sigma = sigma.reshape(-1, 1, 1)
        # Tensors are concatenated nowhere in this room: theirs is one block.
        size = len(self.data) if is_tensor(x) else max(1, BLOCK // max(1, math.prod(x.shape)))
        blocks = []
        for first in range(0, len(self.data), size):
            steps = (queries - alpha * points[:, first:first + size]) / sigma
            blocks.append((steps * steps).sum(axis=2) / -2)
        return blocks[0] if len(blocks) == 1 else namespace(x).concatenate(blocks, axis=1)
