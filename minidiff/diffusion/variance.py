"""The variance of the way back: fixed at one of two ends, or said by the model.

Between beta~_t, right if the data were one point, and beta_t, right if it were standard normal, lies the best variance
of the ancestral step (Ho et al. 2020, Section 3.2). Stands on `posterior`. Read `backward` next.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from minidiff.diffusion.forward import transition
from minidiff.diffusion.posterior import posterior_weights
from minidiff.diffusion.process import Level

__all__ = ["VARIANCE_TYPES", "learned_log_variance"]

VARIANCE_TYPES = ("fixed_small", "fixed_large", "learned", "learned_range")
"""Values of `variance_type`, diffusers' names: the posterior's variance beta~; the step's own beta; the model's answer."""
LEARNED = ("learned", "learned_range")


def check_variance_type(where: str, variance_type: str) -> None:
    """Raise ValueError for a variance_type that is not one of VARIANCE_TYPES."""
    if variance_type not in VARIANCE_TYPES:
        raise ValueError(f"{where}: unknown variance_type {variance_type!r}; choose from {', '.join(VARIANCE_TYPES)}")


def log_variance_range(t: Level, s: Level, h: float) -> tuple[float, float]:
    """(log beta~, log beta) of the step from level t to level s, h = lambda_s - lambda_t apart.

        beta = sigma_t^2 kappa,   beta~ = sigma_s^2 kappa,   kappa = 1 - exp(-2 h):   the variances of `transition`, `posterior_weights`

    At a step that ends at the data, which adds no noise, both are log beta.
    """
    tiny = sys.float_info.min  # for a step of length 0, which has no variance
    large = 2 * math.log(max(transition(s, t, h)[1], tiny))
    return (2 * math.log(max(posterior_weights(s, t, h)[2], tiny)) if s.sigma > 0 else large), large


def learned_log_variance(variance_type: str, output: Any, log_small: Any, log_large: Any) -> Any:
    """The log variance that a model's second half of channels stands for.

        learned:        log Sigma = output
        learned_range:  log Sigma = u log beta + (1 - u) log beta~,   u = (output + 1) / 2      Nichol & Dhariwal 2021, Eq. 15

    The output is a log-variance, never a variance. log_small, log_large: log beta~ and log beta, numbers or arrays that broadcast.
    Returns an array like output. Raises ValueError for a variance_type that is not learned.
    """
    if variance_type not in LEARNED:
        raise ValueError(f"learned_log_variance: expected a learned variance_type, {' or '.join(LEARNED)}, got {variance_type!r}")
    if variance_type == "learned":
        return output
    u = (output + 1) / 2
    return u * log_large + (1 - u) * log_small


def split_learned(where: str, output: Any, x: Any) -> tuple[Any, Any]:
    """(prediction, variance output): the two halves of the channels of a model that learns its variance.

    output: (N, 2C, ...) for x (N, C, ...). Raises ValueError for another shape; `where` begins the message.
    """
    expected = (x.shape[0], 2 * x.shape[1], *x.shape[2:]) if len(x.shape) > 1 else None
    if expected is None:
        raise ValueError(f"{where}: to learn the variance x must have channels, (N, C, ...); got x of shape {tuple(x.shape)}")
    got = tuple(output.shape) if hasattr(output, "shape") else f"a {type(output).__name__}"
    if got != expected:
        raise ValueError(f"{where}: a model that learns its variance answers with twice the channels of x, {expected}; got {got}")
    return output[:, :x.shape[1]], output[:, x.shape[1]:]
