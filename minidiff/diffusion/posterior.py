"""One step back, when the clean data is known: the forward process posterior.

q(x_{t-1} | x_t) would need the distribution of all data; q(x_{t-1} | x_t, x_0) follows from Bayes' rule on three
Gaussians,

    q(x_{t-1} | x_t, x_0) = q(x_t | x_{t-1}) q(x_{t-1} | x_0) / q(x_t | x_0),

and a model that predicts x_0 (or, the same, the noise) turns it into a way back. Stands on `schedules` and `lookup`.
Read `parameterization` next.
"""

from __future__ import annotations

from typing import Any

from minidiff.diffusion.lookup import check_alike, extract
from minidiff.diffusion.schedules import Schedule


def q_posterior_mean_variance(schedule: Schedule, x_start: Any, x_t: Any, t: Any) -> tuple[Any, Any, Any]:
    """The distribution of x_{t-1} between clean data and x_t.

        q(x_{t-1} | x_t, x_0) = N(mu~, beta~_t I)                                   Ho et al. 2020, Eq. 6, 7
        mu~     = sqrt(abar_{t-1}) beta_t / (1 - abar_t) x_0  +  sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t) x_t
        beta~_t = (1 - abar_{t-1}) / (1 - abar_t) beta_t

    The denominators hold 1 - abar_t, not 1 - alpha_t. At t = 0 the mean is x_0 and the variance 0; only the log
    variance is clipped there (`Schedule.posterior_log_variance_clipped`).
    x_start, x_t: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns (mean,
    variance, log_variance): the mean like x_t, the others a float (int t) or (N, 1, ..., 1).
    Raises ValueError or TypeError for times outside the schedule and for arrays that are not alike.
    """
    check_alike("q_posterior_mean_variance", x_t=x_t, x_start=x_start)
    mean = (extract(schedule.posterior_mean_coef1, t, like=x_t) * x_start
            + extract(schedule.posterior_mean_coef2, t, like=x_t) * x_t)
    return (mean,
            extract(schedule.posterior_variance, t, like=x_t),
            extract(schedule.posterior_log_variance_clipped, t, like=x_t))


def q_posterior_mean_from_epsilon(schedule: Schedule, x_t: Any, t: Any, noise: Any) -> Any:
    """The same mean, written with the noise in x_t instead of the clean data.

        mu~ = (x_t - beta_t / sqrt(1 - abar_t) eps) / sqrt(alpha_t)                 Ho et al. 2020, Eq. 11

    x_t, noise: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T).
    Returns the mean, like x_t.
    Raises ValueError or TypeError for times outside the schedule and for arrays that are not alike.
    """
    check_alike("q_posterior_mean_from_epsilon", x_t=x_t, noise=noise)
    weight = schedule.betas / schedule.sqrt_one_minus_alphas_cumprod
    return (x_t - extract(weight, t, like=x_t) * noise) / extract(schedule.sqrt_alphas, t, like=x_t)
