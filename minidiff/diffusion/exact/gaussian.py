"""Gaussian data: everything about it is Gaussian for ever, so every equation of diffusion has its solution here.

The densities at every noise level; the probability-flow ODE solved; the reverse SDE solved, with any amount of fresh
noise. What a sampler makes of Gaussian data differs from `transport` by the sampler's own error alone. Stands on
`data`. Read `mixture` next.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import apply, check_batch, check_numbers, like, number
from minidiff.diffusion.exact.data import ExactData, check_draw, factors
from minidiff.diffusion.process import Level

__all__ = ["Gaussian"]


class Gaussian(ExactData):
    """x_0 ~ N(mean, diag(std^2)), independent coordinates.

    mean, std: numbers, or arrays of the shape of one x_0 (or broadcasting to it); std >= 0. Raises ValueError for a negative std.
    """

    def __init__(self, mean: Any = 0.0, std: Any = 1.0) -> None:
        self.mean, self.std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
        if not (self.std >= 0).all():
            raise ValueError(f"Gaussian: expected a std of at least 0, got {self.std.min()}")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all()):
            raise ValueError("Gaussian: expected a finite mean and std, got NaN or infinity")

    def marginal(self, alpha: Any, sigma: Any, x: Any) -> tuple[Any, Any]:
        """Mean and variance of x = alpha x_0 + sigma eps, as arrays beside x.

            alpha mean,    alpha^2 std^2 + sigma^2
        """
        check_batch("Gaussian", x)
        alpha, sigma = factors("Gaussian", alpha, sigma, float(self.std.min()))
        return alpha * like(self.mean, x), alpha * alpha * like(self.std**2, x) + sigma * sigma

    def start(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """mean + alpha std^2 / (alpha^2 std^2 + sigma^2) (x - alpha mean)."""
        mean, variance = self.marginal(alpha, sigma, x)
        return like(self.mean, x) + number(alpha) * like(self.std**2, x) / variance * (x - mean)

    def score(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """-(x - alpha mean) / (alpha^2 std^2 + sigma^2)."""
        mean, variance = self.marginal(alpha, sigma, x)
        return (mean - x) / variance

    def log_prob(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """log N(x; alpha mean, alpha^2 std^2 + sigma^2), summed over the dimensions."""
        mean, variance = self.marginal(alpha, sigma, x)
        terms = (x - mean) * (x - mean) / variance + apply("log", 2 * math.pi * variance)
        return -terms.reshape(x.shape[0], math.prod(x.shape[1:])).sum(axis=1) / 2

    def sample(self, count: int, generator: Any) -> Any:
        """mean + std z: (count, *shape), float64."""
        check_draw("Gaussian.sample", count, generator)
        shape = np.broadcast_shapes(self.mean.shape, self.std.shape)
        z = generator.standard_normal((count, *shape), "float64")
        return like(self.mean, z) + like(self.std, z) * z

    # -- from one level to another ---------------------------------------------------------------------------------------

    def transport(self, mean: Any, variance: Any, t: Level, s: Level, eta: float = 1.0) -> tuple[Any, Any]:
        """Mean and variance of x_s, if x_t ~ N(mean, variance) walks from level t down to level s by the reverse SDE of this data.

            dx = [f x - (1 + eta^2) / 2 g^2 score(x)] dt + eta g dw        Song et al. 2021 (score SDE), Eq. 6 (eta = 1), Eq. 13 (eta = 0)

        with any f, g whose marginals are alpha, sigma. Its solution, with v = alpha^2 std^2 + sigma^2 and
        c = (alpha_t / alpha_s)^2 v_s / v_t, the squared correlation of x_s and x_t in the forward process:

            x_s = alpha_s m + F (x_t - alpha_t m) + sqrt(v_s (1 - c^(eta^2))) z,       F = sqrt(v_s / v_t) c^(eta^2 / 2)

        eta = 1: the exact reverse transition q(x_s | x_t) for variance 0. eta = 0: the probability-flow ODE. It is the limit of many
        small steps of `Ancestral(eta)`. N(alpha_t m, v_t) arrives at N(alpha_s m, v_s) for every eta; another start, as N(0, 1) in
        the place of x_T, is forgotten by the factor F.
        mean, variance: numbers, or arrays of any library (variance 0: a point x_t). t, s: levels, s not noisier than t. Returns two like
        them. Raises ValueError for a negative eta or a level s noisier than t.
        """
        check_numbers("Gaussian.transport", eta=eta)
        if not eta >= 0:
            raise ValueError(f"Gaussian.transport: expected eta of at least 0, got {eta}")
        v_t, v_s = self._variances(t, s)
        log_c = self._log_correlation_squared(t, s)
        with np.errstate(invalid="ignore"):
            remembered = np.exp(eta**2 / 2 * log_c) if eta > 0 else np.ones_like(log_c)
            noise = -v_s * np.expm1(eta**2 * log_c) if eta > 0 else np.zeros_like(v_s)
        factor = np.sqrt(v_s / v_t) * remembered
        mean, variance = _array(mean), _array(variance)
        moved = like(s.alpha * self.mean, mean) + like(factor, mean) * (mean - like(t.alpha * self.mean, mean))
        return moved, like(factor * factor, variance) * variance + like(noise, variance)

    def flow(self, x: Any, t: Level, s: Level) -> Any:
        """The probability-flow ODE solved from level t down to s: what DDIM, Euler, Heun ... approximate.

            x_s = alpha_s m + sqrt(v_s / v_t) (x_t - alpha_t m)

        x: (N, ...) of any library. Returns x_s, like x. Raises as `transport`.
        """
        return self.transport(x, 0.0, t, s, eta=0.0)[0]

    def flow_log_determinant(self, shape: tuple[int, ...], t: Level, s: Level) -> float:
        """log |d x_s / d x_t| of the flow: log q_s(x_s) = log q_t(x_t) - this. The instantaneous change of variables, integrated.

            1/2 sum_d log(v_s / v_t)

        shape: of one x. Returns a float, the same for every x; -inf where data of std 0 is reached. Raises as `transport`.
        """
        v_t, v_s = self._variances(t, s)
        with np.errstate(divide="ignore"):
            return float(np.broadcast_to(np.log(v_s / v_t), shape).sum() / 2)

    def _variances(self, t: Level, s: Level) -> tuple[np.ndarray, np.ndarray]:
        """v_t and v_s on the host, for a step from t down to s."""
        if not (isinstance(t, Level) and isinstance(s, Level)):
            raise TypeError(f"Gaussian: expected two levels, process.level(time), got {t!r} and {s!r}")
        if s.sigma * t.alpha > t.sigma * s.alpha or s.alpha == 0:
            raise ValueError(f"Gaussian: expected a level s with less noise than t, got t = {t} and s = {s}")
        factors("Gaussian", t.alpha, t.sigma, float(self.std.min()))
        return (t.alpha * self.std)**2 + t.sigma**2, (s.alpha * self.std)**2 + s.sigma**2

    def _log_correlation_squared(self, t: Level, s: Level) -> np.ndarray:
        """log c with c = (alpha_t / alpha_s)^2 v_s / v_t = 1 - (1 - f^2) sigma_t^2 / v_t,   f = alpha_t sigma_s / (alpha_s sigma_t)."""
        v_t, v_s = self._variances(t, s)
        c = (t.alpha / s.alpha)**2 * v_s / v_t
        f = t.alpha * s.sigma / (s.alpha * t.sigma)
        with np.errstate(divide="ignore"):
            # Near 1 the logarithm needs 1 - c, near 0 it needs c.
            return np.where(c < 0.5, np.log(c), np.log1p(-np.minimum((1 - f) * (1 + f) * (t.sigma**2 / v_t), 1)))


def _array(x: Any) -> Any:
    return x if hasattr(x, "shape") else np.asarray(x, dtype=np.float64)
