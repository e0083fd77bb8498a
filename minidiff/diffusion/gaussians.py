"""What Gaussians have to do with each other: log-densities, divergences, and the mass of a pixel's bin.

A variational bound is a sum of these, one for each step, because every distribution of a diffusion model is Gaussian. All are elementwise,
since the coordinates are independent: `sum_flat` adds them up, `nats_to_bits_per_dim` changes the unit. Log variances may be numbers or
arrays that broadcast, as `q_mean_variance`, `q_posterior_mean_variance` and `p_mean_variance` return them:

    mean, _, log_variance = q_mean_variance(process, x_start, t)
    log_density = sum_flat(normal_log_prob(x_t, mean, log_variance))

Stands on `arrays` and `forward`. Read `thresholding` next.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import apply, check_alike, check_batch, where
from minidiff.diffusion.forward import q_mean_variance
from minidiff.diffusion.lookup import end_of
from minidiff.diffusion.process import Process

__all__ = ["discretized_gaussian_log_likelihood", "nats_to_bits_per_dim", "normal_kl", "normal_log_prob", "prior_kl", "sum_flat"]


def normal_log_prob(x: Any, mean: Any, log_variance: Any) -> Any:
    """log N(x; mean, exp(log_variance)), in nats, elementwise.

        -(log 2 pi + log_variance + (x - mean)^2 exp(-log_variance)) / 2
    """
    distance = x - mean
    return -(math.log(2 * math.pi) + log_variance + distance * distance * apply("exp", -log_variance)) / 2


def normal_kl(mean1: Any, logvar1: Any, mean2: Any, logvar2: Any) -> Any:
    """KL(N(mean1, exp(logvar1)) || N(mean2, exp(logvar2))), in nats, elementwise: never negative.

        (exp(d) - 1 - d + (mean1 - mean2)^2 exp(-logvar2)) / 2,   d = logvar1 - logvar2
    """
    distance = mean1 - mean2
    return (exp_beyond_tangent(logvar1 - logvar2) + distance * distance * apply("exp", -logvar2)) / 2


def exp_beyond_tangent(d: Any) -> Any:
    """exp(d) - 1 - d, how far the exponential lies above its tangent at 0: about d^2 / 2 near 0, and there with all its digits."""
    d = np.float64(d) if isinstance(d, (int, float)) else d
    near = d.clip(-0.1, 0.1)
    series = 1 + near / 11
    for k in range(10, 2, -1):
        series = 1 + near / k * series  # 2 (exp(d) - 1 - d) / d^2 = 1 + d/3 (1 + d/4 (1 + ...))
    # Beyond +-0.1 the subtraction is safe; within, its two occurrences are the same and cancel.
    total = near * near / 2 * series + ((apply("expm1", d) - d) - (apply("expm1", near) - near))
    return float(total) if isinstance(d, float) else total


def prior_kl(process: Process, x_start: Any, t: float | None = None) -> Any:
    """KL(q(x_T | x_0) || N(0, I)), what the end of the forward process still knows of the data: (N,), in nats.

    No model can change it. x_start: (N, ...). t: the time T at which sampling starts, by default the last of the process.
    Raises ValueError for a process without a last time (EDM) if none is given; ValueError or TypeError for a bad time.
    """
    check_batch("prior_kl", x_start, "x_start")
    mean, _, log_variance = q_mean_variance(process, x_start, end_of("prior_kl", process, t))
    return sum_flat(normal_kl(mean, log_variance, 0.0, 0.0))


def sum_flat(x: Any) -> Any:
    """The sum over all dimensions but the batch's: (N, ...) to (N,). Raises ValueError for a single number."""
    if len(getattr(x, "shape", ())) == 0:
        raise ValueError(f"sum_flat: expected an array of shape (N, ...), got {x!r}")
    return x.reshape(x.shape[0], math.prod(x.shape[1:])).sum(axis=1)


def nats_to_bits_per_dim(nats: Any, dimensions: int) -> Any:
    """Nats for each of a batch as bits per dimension, nats / (D log 2), for D dimensions of one of the batch."""
    return nats / (dimensions * math.log(2))


# -- pixels: the mass of a bin -----------------------------------------------------------------------------------------

HALF_BIN = 1 / 255
"""Half the distance between two grey levels of 8 bits, k / 127.5 - 1 in [-1, 1]."""


def discretized_gaussian_log_likelihood(x: Any, means: Any, log_scales: Any, approximate: bool = False) -> Any:
    """The log-probability, in nats, that a Gaussian falls into the bin of an 8-bit grey level: elementwise, like x.

        log(Phi((x + 1/255 - mean) / s) - Phi((x - 1/255 - mean) / s)),   s = exp(log_scale)      Ho et al. 2020, Eq. 13

    The lowest and the highest of the 256 bins are open, so that all 256 probabilities add up to 1. Far from the mean both Phi are 0 or 1 to
    all digits and their difference is lost; here it is formed from the ratio of the tails, so it is right as far out as the numbers
    go. (A scale much wider than a bin costs digits: at s = 10, where no decoder is, all but 1e-12, and in float32 all but 5e-4.)
    approximate: as OpenAI's code, Phi by a formula with tanh (off by up to 1.8e-4) and no probability below 1e-12.

    x: (N, ...), grey levels k / 127.5 - 1. means: like x. log_scales: log standard deviations (half of the log variances), a number or an
    array that broadcasts. Raises ValueError or TypeError for arrays that are not alike.
    """
    check_alike("discretized_gaussian_log_likelihood", x=x, means=means)
    inverse_scale = apply("exp", -log_scales)
    centered = x - means
    if approximate:
        return _approximate_bin(x, centered, inverse_scale)
    # Turned so that the open side of an outermost bin, or the far side of any other, is the upper one.
    outward = where(x < 0, -centered, centered)
    away = where(centered < 0, -centered, centered)
    return where(abs(x) > 0.999, log_upper_tail((outward - HALF_BIN) * inverse_scale), _log_bin(away, inverse_scale))


def _log_bin(away: Any, inverse_scale: Any) -> Any:
    """log of the standard normal mass between a and b, the edges of a bin whose middle is `away` >= 0 above the mean.

    a < 0, the mean inside:  1 - Q(-a) - Q(b).   Else Q(a) - Q(b) = Q(a) (1 - Q(b) / Q(a)), and log(Q(a) / Q(b)) is a sum of positive terms,

        (b^2 - a^2) / 2 + log(erfcx(a / sqrt 2) / erfcx(b / sqrt 2)),   Q(z) = erfcx(z / sqrt 2) exp(-z^2 / 2) / 2
    """
    a, b = (away - HALF_BIN) * inverse_scale, (away + HALF_BIN) * inverse_scale
    inside = a < 0
    a = where(inside, -a, a)
    tail_a, tail_b = erfcx(a / math.sqrt(2)), erfcx(b / math.sqrt(2))
    both_tails = (tail_a * apply("exp", -a * a / 2) + tail_b * apply("exp", -b * b / 2)) / 2
    # Where the mean is inside any ratio but 0 will do: its logarithm is not read there, but its gradient must not be NaN.
    log_ratio = where(inside, 1 + 0 * a, 2 * away * HALF_BIN * inverse_scale * inverse_scale + apply("log", tail_a / tail_b))
    beyond_a = apply("log", tail_a / 2) - a * a / 2
    return where(inside, apply("log1p", -both_tails), beyond_a + apply("log", -apply("expm1", -log_ratio)))


def log_upper_tail(z: Any) -> Any:
    """log Q(z) = log(1 - Phi(z)), the log-probability that a standard normal number exceeds z, elementwise."""
    size = where(z < 0, -z, z)
    tail = apply("log", erfcx(size / math.sqrt(2)) / 2) - size * size / 2
    return where(z < 0, apply("log1p", -apply("exp", tail)), tail)


def erfcx(x: Any) -> Any:
    """exp(x^2) erfc(x) for x >= 0, elementwise, with arithmetic only: erfc without its fall, which the libraries do not share.

    (1 + 2 x) erfcx(x) is smooth in u = (x - m) / (x + m), which takes [0, inf) to [-1, 1) (Schonfelder 1978): a sum of Chebyshev
    polynomials, by Clenshaw's recurrence. Relative error 1e-14.
    """
    u = 1 - 2 * _MIDDLE / (x + _MIDDLE)
    first, *others = _erfcx_coefficients()
    total = before = 0.0
    for coefficient in reversed(others):
        total, before = 2 * u * total - before + coefficient, total
    return (u * total - before + first) / (1 + 2 * x)


_MIDDLE, _DEGREE = 3.75, 24  # beyond this degree the coefficients are below rounding


@cache
def _erfcx_coefficients() -> list[float]:
    from scipy.special import erfcx  # a quarter of a second of import, for likelihoods only

    def function(u: np.ndarray) -> np.ndarray:
        x = _MIDDLE * (1 + u) / (1 - u)
        return (1 + 2 * x) * erfcx(x)

    return np.polynomial.chebyshev.chebinterpolate(function, _DEGREE).tolist()


def _approximate_bin(x: Any, centered: Any, inverse_scale: Any) -> Any:
    """OpenAI's form of the same: Phi(z) as (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2, each probability at least 1e-12."""

    def phi(z: Any) -> Any:
        return (1 + apply("tanh", math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z))) / 2

    above, below = phi((centered + HALF_BIN) * inverse_scale), phi((centered - HALF_BIN) * inverse_scale)
    mass = where(x < -0.999, above, where(x > 0.999, 1 - below, above - below))
    return apply("log", mass.clip(1e-12, 1.0))
