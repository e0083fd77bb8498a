"""One step back, when the clean data is known: the forward process posterior.

q(x_{t-1} | x_t) would need the distribution of all data; q(x_{t-1} | x_t, x_0) follows from Bayes' rule on three
Gaussians,

    q(x_{t-1} | x_t, x_0) = q(x_t | x_{t-1}) q(x_{t-1} | x_0) / q(x_t | x_0),

and a model that predicts x_0 (or, the same, the noise) turns it into a way back. It is one of a family: any share of the
noise in x_t may be kept instead of drawn afresh. Stands on `forward`. Read `parameterization` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_alike, check_numbers
from minidiff.diffusion.forward import levels_and_step, variance_of
from minidiff.diffusion.lookup import extract, to_multiply
from minidiff.diffusion.process import Level, Process
from minidiff.diffusion.schedules import Schedule, check_schedule

__all__ = ["posterior_weights", "q_posterior_mean_from_epsilon", "q_posterior_mean_variance", "q_posterior_mean_variance_between"]


def q_posterior_mean_variance(
    schedule: Schedule, x_start: Any, x_t: Any, t: Any, min_variance: float | None = None
) -> tuple[Any, Any, Any]:
    """The distribution of x_{t-1} between clean data and x_t.

        q(x_{t-1} | x_t, x_0) = N(mu~, beta~_t I)                                   Ho et al. 2020, Eq. 6, 7
        mu~     = sqrt(abar_{t-1}) beta_t / (1 - abar_t) x_0  +  sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t) x_t
        beta~_t = (1 - abar_{t-1}) / (1 - abar_t) beta_t

    The denominators hold 1 - abar_t, not 1 - alpha_t. At t = 0 the mean is x_0 and the variance 0; only the log variance is clipped there,
    see `posterior_log_variance`.
    x_start, x_t: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns (mean,
    variance, log_variance): the mean like x_t, the others a float (int t) or (N, 1, ..., 1).
    Raises ValueError or TypeError for times outside the schedule, arrays that are not alike, and a min_variance that is not above 0.
    """
    check_schedule("q_posterior_mean_variance", schedule)
    check_alike("q_posterior_mean_variance", x_t=x_t, x_start=x_start)
    mean = (extract(schedule.posterior_mean_coef1, t, like=x_t) * x_start
            + extract(schedule.posterior_mean_coef2, t, like=x_t) * x_t)
    return (mean,
            extract(schedule.posterior_variance, t, like=x_t),
            extract(posterior_log_variance(schedule, min_variance), t, like=x_t))


def posterior_log_variance(schedule: Schedule, min_variance: float | None = None) -> np.ndarray:
    """The table log beta~_t, (T,), finite at t = 0 although beta~_0 = 0.

    min_variance: None lets t = 0 repeat t = 1 (OpenAI; -9.82 for the schedule of Ho et al.); a number gives log max(beta~_t, min_variance),
    with 1e-20 diffusers' -46.05. It is the spread of the last step's decoder, so a likelihood depends on it. Raises ValueError unless it is
    above 0.
    """
    if min_variance is None:
        return schedule.posterior_log_variance_clipped
    check_numbers("min_variance", min_variance=min_variance)
    if not 0 < min_variance < np.inf:
        raise ValueError(f"min_variance: expected a number above 0, got {min_variance}; diffusers' is 1e-20")
    return np.log(np.maximum(schedule.posterior_variance, min_variance))


def q_posterior_mean_from_epsilon(schedule: Schedule, x_t: Any, t: Any, noise: Any) -> Any:
    """The same mean, written with the noise in x_t instead of the clean data.

        mu~ = (x_t - beta_t / sqrt(1 - abar_t) eps) / sqrt(alpha_t)                 Ho et al. 2020, Eq. 11

    x_t, noise: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T).
    Returns the mean, like x_t.
    Raises ValueError or TypeError for times outside the schedule and for arrays that are not alike, ValueError where alpha_t = 0 (zero
    terminal SNR): x_t is the noise there, and says nothing of x_{t-1}.
    """
    check_schedule("q_posterior_mean_from_epsilon", schedule)
    check_alike("q_posterior_mean_from_epsilon", x_t=x_t, noise=noise)
    root = extract(schedule.sqrt_alphas, t, like=x_t)
    if schedule.alphas[-1] == 0 and np.any(np.equal(t, schedule.last_time)):
        raise ValueError(
            f"q_posterior_mean_from_epsilon: alpha_t = 0 at time {schedule.last_time} (zero terminal SNR), where the noise "
            "says nothing of x_0; use q_posterior_mean_variance with a model of v_prediction or sample"
        )
    weight = schedule.betas / schedule.sqrt_one_minus_alphas_cumprod
    return (x_t - extract(weight, t, like=x_t) * noise) / root


# -- between any two levels, with any share of fresh noise ------------------------------------------------------------


def posterior_weights(s: Level, t: Level, h: Any, eta: float = 1.0) -> tuple[Any, Any, Any]:
    """(a, b, v) with q_eta(x_s | x_t, x_0) = N(a x_t + b x_0, v^2 I), from level t back to level s, h = lambda_s - lambda_t apart.

        x_s = alpha_s x_0 + sqrt(sigma_s^2 - v^2) eps + v z,   eps = (x_t - alpha_t x_0) / sigma_t    Song et al. 2021 (DDIM), Eq. 7
        v   = eta sigma_s sqrt(kappa),   kappa = 1 - f^2,   f = exp(-h) = alpha_t sigma_s / (alpha_s sigma_t)                 Eq. 16

    For every eta in [0, 1] the marginal q(x_s | x_0) is that of the forward process: v^2 of the variance sigma_s^2 is drawn afresh and the
    rest taken from x_t. eta = 1 is the posterior of the forward process, eta = 0 draws nothing. Collected,

        a = r sigma_s / sigma_t,   b = alpha_s (1 - f r),   r^2 = 1 - eta^2 kappa

    where 1 - f r is written as (1 - f^2 r^2) / (1 + f r), so that no difference of two close numbers is taken.
    Levels of numbers or of host arrays. Raises ValueError for an h below 0.
    """
    if not np.greater_equal(h, 0).all():
        raise ValueError(f"posterior_weights: expected a step h >= 0, from more noise to less, got {h}")
    f, kappa = np.exp(-h), -np.expm1(-2 * h)
    r = np.sqrt((1 - eta) * (1 + eta) + (eta * f) ** 2)
    return r * s.sigma / t.sigma, s.alpha * kappa * (1 + (eta * f) ** 2) / (1 + f * r), eta * s.sigma * np.sqrt(kappa)


def q_posterior_mean_variance_between(
    process: Process, x_start: Any, x_t: Any, t: Any, s: Any, eta: float = 1.0
) -> tuple[Any, Any, Any]:
    """The distribution of x_s between clean data and x_t, for any earlier time s: see `posterior_weights`.

    x_start, x_t: (N, ...), alike in shape and dtype. t, s: times of the process, s < t, or (N,) of them on the host. eta: in [0, 1].
    Returns (mean, variance, log_variance) as `q_posterior_mean_variance` does, the log variance -inf where the variance is 0.
    Raises ValueError or TypeError for bad times, another eta, and arrays that are not alike.
    """
    check_alike("q_posterior_mean_variance_between", x_t=x_t, x_start=x_start)
    check_numbers("q_posterior_mean_variance_between", eta=eta)
    if not 0 <= eta <= 1:
        raise ValueError(f"q_posterior_mean_variance_between: expected eta between 0 (DDIM) and 1 (DDPM), got {eta}")
    a, b, std = posterior_weights(*levels_and_step("q_posterior_mean_variance_between", process, s, t), eta)
    return to_multiply(b, x_t) * x_start + to_multiply(a, x_t) * x_t, *variance_of(std, x_t)
