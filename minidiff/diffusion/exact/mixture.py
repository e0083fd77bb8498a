"""Mixtures of Gaussians: the simplest data with several modes, and so the simplest with something to decide.

Stands on `data`. Read `points` next: the mixture whose components have no width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff.backend import to_numpy
from minidiff.diffusion.arrays import apply, check_batch, like, log_softmax, log_sum_exp, number
from minidiff.diffusion.exact.data import ExactData, check_draw, factors

__all__ = ["Mixture"]


class Mixture(ExactData):
    """x_0 ~ sum_k w_k N(m_k, diag(s_k^2)), so x = alpha x_0 + sigma eps ~ sum_k w_k N(alpha m_k, v_k) with v_k = alpha^2 s_k^2 + sigma^2.

    weights: (K,), positive, summing to 1. means: (K, *shape), the shape of one x_0 after K. stds: a number, (K,), or
    (K, *shape) or what broadcasts to it; at least 0. Raises ValueError if these do not belong together, or are not such.
    A batch x (N, *shape) takes N K D numbers of memory, D of them in one x.
    """

    def __init__(self, weights: Any, means: Any, stds: Any) -> None:
        weights, means, stds = (np.asarray(values, dtype=np.float64) for values in (weights, means, stds))
        count = len(weights) if weights.ndim == 1 else 0
        wide = stds.reshape(count, *(1,) * (means.ndim - 1)) if count and stds.shape == (count,) else stds
        if count == 0 or means.shape[:1] != (count,) or not _broadcasts(wide.shape, means.shape):
            raise ValueError(
                "Mixture: expected weights (K,), means (K, ...) and stds (K,) or like means, got shapes "
                f"{weights.shape}, {means.shape}, {stds.shape}"
            )
        if not (weights > 0).all() or abs(weights.sum() - 1) > 1e-9:
            raise ValueError(f"Mixture: expected positive weights that sum to 1, got {weights.tolist()}")
        if not (stds >= 0).all():
            raise ValueError(f"Mixture: expected stds of at least 0, got {stds.min()}")
        if not (np.isfinite(means).all() and np.isfinite(stds).all()):
            raise ValueError("Mixture: expected finite means and stds, got NaN or infinity")
        self.weights, self.means, self.stds = weights / weights.sum(), means, wide

    def log_responsibilities(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """log p(k | x), which component x came from: (N, K), log-probabilities. The exact classifier of noisy data.

            p(k | x) = w_k N(x; alpha m_k, v_k) / sum_j w_j N(x; alpha m_j, v_j)
        """
        return log_softmax(self._log_joint(*self._offsets(x, alpha, sigma)), axis=1)

    def log_prob(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """log sum_k w_k N(x; alpha m_k, v_k)."""
        return log_sum_exp(self._log_joint(*self._offsets(x, alpha, sigma)), axis=1)[:, 0]

    def score(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """sum_k p(k | x) (alpha m_k - x) / v_k: the components' scores, each with the probability that it is x's own."""
        offsets, variances = self._offsets(x, alpha, sigma)
        return self._average(-offsets / variances, offsets, variances)

    def start(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """sum_k p(k | x) E[x_0 | x, k],   E[x_0 | x, k] = m_k + alpha s_k^2 / v_k (x - alpha m_k)."""
        offsets, variances = self._offsets(x, alpha, sigma)
        answers = like(self.means, x) + _beside(number(alpha)) * like(self.stds**2, x) / variances * offsets
        return self._average(answers, offsets, variances)

    def sample(self, count: int, generator: Any) -> Any:
        """m_k + s_k z, with k drawn from the weights: (count, *shape), float64."""
        check_draw("Mixture.sample", count, generator, "random", "standard_normal")
        below = np.cumsum(self.weights)[:-1]
        k = np.searchsorted(below, to_numpy(generator.random((count,), "float64")), side="right")
        z = generator.standard_normal((count, *self.means.shape[1:]), "float64")
        return like(self.means[k], z) + like(np.broadcast_to(self.stds, self.means.shape)[k], z) * z

    def _offsets(self, x: Any, alpha: Any, sigma: Any) -> tuple[Any, Any]:
        """x - alpha m_k, (N, K, *shape), and v_k, which broadcasts to it."""
        check_batch("Mixture", x)
        if tuple(x.shape[1:]) != self.means.shape[1:]:
            raise ValueError(f"Mixture: the data has shape {self.means.shape[1:]}, got x of shape {tuple(x.shape)}")
        alpha, sigma = factors("Mixture", alpha, sigma, float(self.stds.min()))
        alpha, sigma = _beside(alpha), _beside(sigma)
        return x[:, None] - alpha * like(self.means, x), alpha * alpha * like(self.stds**2, x) + sigma * sigma

    def _log_joint(self, offsets: Any, variances: Any) -> Any:
        """log w_k N(x; alpha m_k, v_k): (N, K)."""
        terms = offsets * offsets / variances + apply("log", 2 * math.pi * variances)
        return like(np.log(self.weights), offsets) - terms.reshape(*offsets.shape[:2], math.prod(self.means.shape[1:])).sum(axis=2) / 2

    def _average(self, answers: Any, offsets: Any, variances: Any) -> Any:
        """sum_k p(k | x) answers_k, for answers (N, K, *shape)."""
        shares = apply("exp", log_softmax(self._log_joint(offsets, variances), axis=1))
        return (shares.reshape(*offsets.shape[:2], *(1,) * (len(offsets.shape) - 2)) * answers).sum(axis=1)


def _beside(factor: Any) -> Any:
    """alpha or sigma, a number or (N, 1, ..., 1), beside (N, K, ...)."""
    return factor if isinstance(factor, float) else factor[:, None]


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False
