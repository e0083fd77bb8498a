"""Flow matching: training the velocity of a path from data to noise.

Along x_t = alpha(t) x_0 + sigma(t) eps a pair (x_0, eps) moves with the velocity alpha' x_0 + sigma' eps: one more mixture of
the two, so its loss is L_simple with another weight. What a model learns is the mean of the velocities of all pairs that pass
through x_t, and that is the velocity of the probability flow. Stands on `losses` and `continuous`. Read `importance` next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_alike, check_batch
from minidiff.diffusion.continuous import ContinuousProcess, StraightLine
from minidiff.diffusion.lookup import times_within, to_multiply
from minidiff.diffusion.losses import prediction_error, weighted_mean
from minidiff.diffusion.weighting import same_loss_weight, weight_from_start

__all__ = ["conditional_velocity", "flow_matching_loss", "path_derivatives", "velocity_weight"]


_NOT_CONTINUOUS = "{}: expected a continuous process, got a {}; the times of a Schedule are steps, without derivatives"


def path_derivatives(process: ContinuousProcess, t: Any) -> tuple[Any, Any]:
    """(alpha'(t), sigma'(t)), the derivatives of a path with respect to its time, from the coefficients of its SDE.

        alpha' = f alpha,    sigma' = f sigma + g^2 / (2 sigma),    f = alpha' / alpha,   g^2 = (sigma^2)' - 2 f sigma^2

    t: a number or (N,) host numbers. For a `StraightLine` they are -1 and 1 everywhere.
    Returns float64 numbers or arrays. Raises TypeError for a process without time derivatives (a `Schedule`), ValueError where alpha or
    sigma is 0: the SDE does not tell them there, and in some processes they are infinite.
    """
    if isinstance(process, StraightLine):
        times = times_within(process, t)
        return np.full(times.shape, -1.0), np.full(times.shape, 1.0)
    if not isinstance(process, ContinuousProcess):
        raise TypeError(_NOT_CONTINUOUS.format("path_derivatives", type(process).__name__))
    times = times_within(process, t)
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha, sigma, f, g2 = process.alpha(times), process.sigma(times), process.drift_rate(times), process.diffusion_squared(times)
        derivatives = f * alpha, f * sigma + g2 / (2 * sigma)
    wrong = ~(np.isfinite(derivatives[0]) & np.isfinite(derivatives[1]))
    if wrong.any():
        raise ValueError(
            f"path_derivatives: at time {times[wrong].flat[0]}, where alpha or sigma is 0, the velocity cannot be had from the SDE"
        )
    return derivatives


def conditional_velocity(process: ContinuousProcess, x_start: Any, t: Any, noise: Any) -> Any:
    """The velocity at which the pair (x_0, eps) passes time t.

        u_t(x_t | x_0) = alpha'(t) x_0 + sigma'(t) eps             eps - x_0 on a straight line      Lipman et al. 2023, Theorem 3

    x_start, noise: (N, ...), alike in shape and dtype. t: a time of the process, or (N,) of them on the host. Time runs from data to noise,
    as everywhere here; the paper's runs the other way, and its velocity has the other sign.
    Returns an array like x_start. Raises as `path_derivatives`, and ValueError or TypeError for arrays that are not alike.
    """
    check_alike("conditional_velocity", x_start=x_start, noise=noise)
    alpha_rate, sigma_rate = path_derivatives(process, t)
    return to_multiply(alpha_rate, x_start) * x_start + to_multiply(sigma_rate, x_start) * noise


def flow_matching_loss(
    model: Callable[[Any, Any], Any], x_start: Any, t: Any, noise: Any, process: ContinuousProcess | None = None, weight: Any = None
) -> Any:
    """Conditional flow matching: the mean squared error of a model of the velocity.

        L_CFM = E || u_theta(x_t, t) - (alpha'(t) x_0 + sigma'(t) eps) ||^2                              Lipman et al. 2023, Eq. 9

    The straight line (process None) is rectified flow: it equals simple_loss(..., StraightLine(), ..., "flow_prediction"). For alpha = cos,
    sigma = sin the velocity is v times the rate of the angle; in general L_CFM is the loss in eps times `velocity_weight`.
    x_start, noise: (N, ...), alike. t: a time, or (N,) of them on the host, in [0, 1]. weight: as in `simple_loss`. Returns a scalar of the
    kind the model returns. Raises as `conditional_velocity`; ValueError or TypeError for a model whose answer is not like x_t.
    """
    check_batch("flow_matching_loss", x_start, "x_start", of_something=True)
    process = StraightLine() if process is None else process
    velocity = conditional_velocity(process, x_start, t, noise)
    error = prediction_error("flow_matching_loss", model, process, x_start, t, noise, target=velocity)
    return weighted_mean(error * error, weight)


def velocity_weight(process: ContinuousProcess, t: Any, prediction_type: str = "epsilon") -> Any:
    """The weight with which a model of prediction_type is trained on L_CFM: velocities are mixtures of x_0 and eps like all predictions.

        ||error in u||^2 = (alpha g^2 / (2 sigma^2))^2 ||error in x_0||^2,   as alpha sigma' - sigma alpha' = alpha g^2 / (2 sigma)

    On a straight line: 1 / t^2 for x_0 and 1 / (1 - t)^2 for eps. t: a number or (N,) host numbers. Returns and raises as
    `weight_from_start`; TypeError for a process that is not continuous.
    """
    if isinstance(process, StraightLine):
        return same_loss_weight(process, t, "flow_prediction", prediction_type)
    if not isinstance(process, ContinuousProcess):
        raise TypeError(_NOT_CONTINUOUS.format("velocity_weight", type(process).__name__))
    times = times_within(process, t)
    alpha, sigma, g2 = process.alpha(times), process.sigma(times), process.diffusion_squared(times)
    if (sigma == 0).any() or not np.isfinite(g2).all():
        raise ValueError(f"velocity_weight: expected times inside of the process, where the velocity is finite, got {times.tolist()}")
    return weight_from_start((alpha * g2 / (2 * sigma * sigma)) ** 2, process, t, prediction_type)
