"""The forward process: data becomes noise, one step at a time, all steps at once, or from any noise level to a later one.

Stands on `process` and `lookup`. Read `posterior` next: the way back when the clean data is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_alike
from minidiff.diffusion.lookup import extract, signal_and_noise, times_within, to_multiply
from minidiff.diffusion.process import Level, Process
from minidiff.diffusion.schedules import Schedule, check_schedule

__all__ = ["q_mean_variance", "q_mean_variance_between", "q_sample", "q_sample_between", "q_step", "transition"]


def q_step(schedule: Schedule, x_prev: Any, t: Any, noise: Any) -> Any:
    """Take one step of the forward process, from x_{t-1} to x_t.

        x_t = sqrt(alpha_t) x_{t-1} + sqrt(beta_t) eps                              Ho et al. 2020, Eq. 2

    The factor of the noise is sqrt(beta_t), a standard deviation; beta_t is the variance. t = 0 is the step that leaves
    the data.
    x_prev, noise: (N, ...), alike in shape and dtype; noise ~ N(0, I). t: an int, or (N,) host integers, in [0, T).
    Returns x_t, like x_prev. Raises ValueError or TypeError for times outside the schedule and for arrays that are not
    alike.
    """
    check_schedule("q_step", schedule)
    check_alike("q_step", x_prev=x_prev, noise=noise)
    return (extract(schedule.sqrt_alphas, t, like=x_prev) * x_prev
            + extract(schedule.sqrt_betas, t, like=x_prev) * noise)


def q_sample(process: Process, x_start: Any, t: Any, noise: Any) -> Any:
    """Jump from clean data to time t: the forward process, all steps at once ("skip ahead").

        x_t = alpha(t) x_0 + sigma(t) eps
            = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps       for a Schedule          Ho et al. 2020, Eq. 4

    x_start, noise: (N, ...), alike in shape and dtype; noise ~ N(0, I). t: a time of the process, or (N,) of them on the
    host; at time t of a `Schedule` t + 1 steps have been taken. Returns x_t, like x_start.
    Raises ValueError or TypeError for times outside the process and for arrays that are not alike.
    """
    check_alike("q_sample", x_start=x_start, noise=noise)
    alpha, sigma = signal_and_noise(process, t, like=x_start)
    return alpha * x_start + sigma * noise


def q_mean_variance(process: Process, x_start: Any, t: Any) -> tuple[Any, Any, Any]:
    """The distribution that `q_sample` draws from.

        q(x_t | x_0) = N(alpha(t) x_0, sigma(t)^2 I)

    x_start: (N, ...). t: a time of the process, or (N,) of them on the host. Returns (mean, variance, log_variance): the mean
    like x_start, the others a float (one t) or (N, 1, ..., 1). Raises as `signal_and_noise` does.
    """
    times = times_within(process, t)
    return to_multiply(process.alpha(times), x_start) * x_start, *variance_of(process.sigma(times), x_start)


def variance_of(std: Any, like: Any) -> tuple[Any, Any]:
    """(variance, log variance) as factors of a batch, of a standard deviation on the host."""
    with np.errstate(divide="ignore"):  # log 0 = -inf, where there is no noise
        return to_multiply(np.square(std), like), to_multiply(2 * np.log(std), like)


# -- from one noise level to a later one -----------------------------------------------------------------------------


def transition(s: Level, t: Level, h: Any) -> tuple[Any, Any]:
    """The step forward from level s to level t, h = lambda_s - lambda_t apart: (factor of x_s, standard deviation of fresh noise).

        q(x_t | x_s) = N(alpha_t / alpha_s x_s, (sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) I)    Kingma et al. 2021, App. A

    alpha_t sigma_s / (alpha_s sigma_t) = exp(-h), so the variance is sigma_t^2 (1 - exp(-2 h)), in which nothing cancels.
    Levels of numbers or of host arrays. Raises ValueError for an h below 0.
    """
    if not np.all(np.greater_equal(h, 0)):
        raise ValueError(f"transition: expected a step h >= 0, from less noise to more, got {h}")
    return t.alpha / s.alpha, t.sigma * np.sqrt(-np.expm1(-2 * h))


def q_sample_between(process: Process, x_s: Any, s: Any, t: Any, noise: Any) -> Any:
    """Go on from time s to a later time t: more noise on what is noisy already (the jump back of RePaint, Lugmayr et al. 2022).

        x_t = alpha_t / alpha_s x_s + sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) eps          see `transition`

    Neighbouring times of a `Schedule` make it `q_step`.
    x_s, noise: (N, ...), alike in shape and dtype. s, t: times of the process, s < t, or (N,) of them on the host. Returns x_t, like x_s.
    Raises ValueError or TypeError for bad times and for arrays that are not alike.
    """
    check_alike("q_sample_between", x_s=x_s, noise=noise)
    factor, std = transition(*levels_and_step("q_sample_between", process, s, t))
    return to_multiply(factor, x_s) * x_s + to_multiply(std, x_s) * noise


def q_mean_variance_between(process: Process, x_s: Any, s: Any, t: Any) -> tuple[Any, Any, Any]:
    """The distribution that `q_sample_between` draws from: (mean, variance, log_variance), as `q_mean_variance` returns them.

    Arguments and errors as there.
    """
    factor, std = transition(*levels_and_step("q_mean_variance_between", process, s, t))
    return to_multiply(factor, x_s) * x_s, *variance_of(std, x_s)


def levels_and_step(where: str, process: Process, s: Any, t: Any) -> tuple[Level, Level, Any]:
    """(level s, level t, h = lambda_s - lambda_t), on the host, of shape () or (N,).

    Raises ValueError unless s < t, and as `times_within`; `where` begins the message.
    """
    s, t = np.broadcast_arrays(times_within(process, s), times_within(process, t))
    if (s >= t).any():
        i = int(np.argmax(s >= t))
        raise ValueError(f"{where}: expected s < t, from less noise to more; got s = {s.flat[i]} and t = {t.flat[i]}")
    # `steps` keeps the digits that the difference of two neighbouring lambdas loses.
    pairs = list(zip(t.ravel().tolist(), s.ravel().tolist()))
    steps = {pair: process.steps(np.array(pair))[0] for pair in set(pairs)}
    h = np.array([steps[pair] for pair in pairs]).reshape(t.shape)
    return _level(process, s), _level(process, t), h


def _level(process: Process, times: np.ndarray) -> Level:
    return Level(times, process.alpha(times), process.sigma(times))
