"""One step back, as a model takes it: the posterior with the predicted data in the place of the clean data.

Stands on `posterior`, `parameterization` and `variance`. Read `gaussians` next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minidiff.diffusion.arrays import apply, check_alike
from minidiff.diffusion.lookup import extract
from minidiff.diffusion.parameterization import convert
from minidiff.diffusion.posterior import posterior_log_variance, q_posterior_mean_variance
from minidiff.diffusion.schedules import Schedule, check_schedule
from minidiff.diffusion.variance import LEARNED, check_variance_type, learned_log_variance, split_learned

__all__ = ["StepBack", "p_mean_variance"]


def fixed_log_variance(schedule: Schedule, variance_type: str, min_variance: float | None = None) -> np.ndarray:
    """The table log Sigma, (T,), of a variance that no model says: log beta~_t (fixed_small) or log beta_t (fixed_large).

    At t = 0 it is a convention, see `p_mean_variance`.
    """
    small = posterior_log_variance(schedule, min_variance)
    if variance_type == "fixed_small":
        return small
    large = np.log(schedule.betas)
    return large if min_variance is not None else np.append(small[:1], large[1:])


class StepBack(NamedTuple):
    """p(x_{t-1} | x_t) = N(mean, variance I), and the x_0 it rests on. Both variances are floats or broadcast to the mean."""

    mean: Any
    variance: Any
    log_variance: Any
    pred_xstart: Any


def p_mean_variance(
    schedule: Schedule,
    model_output: Any,
    x_t: Any,
    t: Any,
    prediction_type: str = "epsilon",
    variance_type: str = "fixed_small",
    *,
    clip_denoised: bool = False,
    denoised_fn: Callable[[Any], Any] | None = None,
    min_variance: float | None = None,
) -> StepBack:
    """The distribution of x_{t-1} that a model's answer about x_t stands for.

        p(x_{t-1} | x_t) = N(mu~(x_t, x_0^), Sigma I),   x_0^ the predicted data           Ho et al. 2020, Section 3.2

    variance_type: Sigma is beta~_t (fixed_small), beta_t (fixed_large), or the model's (learned, learned_range: see
    `learned_log_variance`).
    beta~_0 = 0, so at t = 0 the log variance is a convention. min_variance None is OpenAI's: fixed_small and fixed_large both take that of
    beta~_1, and learned_range chooses between it and beta_0. A number is diffusers' (1e-20): log max(beta~_t, min_variance), and beta_0 for
    fixed_large. The variance itself stays 0 at t = 0 for fixed_small.
    model_output: like x_t, or with twice its channels if the variance is learned. x_t: (N, C, ...). t: an int, or (N,) host integers, in
    [0, T). clip_denoised, denoised_fn: as in `sample`.
    Raises ValueError or TypeError for unknown types, bad times, and arrays that are not alike.
    """
    check_schedule("p_mean_variance", schedule)
    check_variance_type("p_mean_variance", variance_type)
    learned = None
    if variance_type in LEARNED:
        model_output, learned = split_learned("p_mean_variance", model_output, x_t)
    pred_xstart = convert(model_output, x_t, schedule, t, prediction_type, "sample")
    if denoised_fn is not None:
        predicted, pred_xstart = pred_xstart, denoised_fn(pred_xstart)
        check_alike("p_mean_variance: denoised_fn", predicted_start=predicted, its_result=pred_xstart)
    if clip_denoised:
        pred_xstart = pred_xstart.clip(-1, 1)
    mean, variance, log_variance = q_posterior_mean_variance(schedule, pred_xstart, x_t, t, min_variance)
    if variance_type == "fixed_large":
        table = fixed_log_variance(schedule, variance_type, min_variance)
        log_variance, variance = extract(table, t, like=x_t), extract(np.exp(table), t, like=x_t)
    elif learned is not None:
        log_variance = learned_log_variance(variance_type, learned, log_variance, extract(np.log(schedule.betas), t, like=x_t))
        variance = apply("exp", log_variance)
    return StepBack(mean, variance, log_variance, pred_xstart)
