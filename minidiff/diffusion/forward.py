"""The forward process: data becomes noise, one step at a time or all steps at once.

Stands on `schedules` and `lookup`. Read `posterior` next: the way back when the clean data is known.
"""

from __future__ import annotations

from typing import Any

from minidiff.diffusion.lookup import check_alike, extract
from minidiff.diffusion.schedules import Schedule


def q_step(schedule: Schedule, x_prev: Any, t: Any, noise: Any) -> Any:
    """Take one step of the forward process, from x_{t-1} to x_t.

        x_t = sqrt(alpha_t) x_{t-1} + sqrt(beta_t) eps                              Ho et al. 2020, Eq. 2

    The factor of the noise is sqrt(beta_t), a standard deviation; beta_t is the variance. t = 0 is the step that leaves
    the data.
    x_prev, noise: (N, ...), alike in shape and dtype; noise ~ N(0, I). t: an int, or (N,) host integers, in [0, T).
    Returns x_t, like x_prev. Raises ValueError or TypeError for times outside the schedule and for arrays that are not
    alike.
    """
    check_alike("q_step", x_prev=x_prev, noise=noise)
    return (extract(schedule.sqrt_alphas, t, like=x_prev) * x_prev
            + extract(schedule.sqrt_betas, t, like=x_prev) * noise)


def q_sample(schedule: Schedule, x_start: Any, t: Any, noise: Any) -> Any:
    """Jump from clean data to time t: the forward process, all steps at once ("skip ahead").

        x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps                               Ho et al. 2020, Eq. 4

    x_start, noise: (N, ...), alike in shape and dtype; noise ~ N(0, I). t: an int, or (N,) host integers, in [0, T);
    the result has been through t + 1 steps. Returns x_t, like x_start.
    Raises ValueError or TypeError for times outside the schedule and for arrays that are not alike.
    """
    check_alike("q_sample", x_start=x_start, noise=noise)
    return (extract(schedule.sqrt_alphas_cumprod, t, like=x_start) * x_start
            + extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_start) * noise)


def q_mean_variance(schedule: Schedule, x_start: Any, t: Any) -> tuple[Any, Any, Any]:
    """The distribution that `q_sample` draws from.

        q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I)                          Ho et al. 2020, Eq. 4

    x_start: (N, ...). t: an int, or (N,) host integers, in [0, T). Returns (mean, variance, log_variance): the mean
    like x_start, the others a float (int t) or (N, 1, ..., 1). Raises as `extract` does.
    """
    return (extract(schedule.sqrt_alphas_cumprod, t, like=x_start) * x_start,
            extract(schedule.one_minus_alphas_cumprod, t, like=x_start),
            extract(schedule.log_one_minus_alphas_cumprod, t, like=x_start))
