"""What a model is trained on.

A model makes an error at x_t; L_simple is its mean square, in the units of what the model predicts. Every other loss of the
field is this one with another weight for each time (`weighting`), or with a term that trains the variance (`hybrid_loss`).
Stands on `forward`, `parameterization` and `bound`. Read `weighting` next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minidiff.diffusion.arrays import check_alike, check_batch, check_numbers, constant, like, mean_flat
from minidiff.diffusion.bound import vb_terms_bpd
from minidiff.diffusion.forward import q_sample
from minidiff.diffusion.lookup import model_times, times_within, to_multiply
from minidiff.diffusion.parameterization import training_target
from minidiff.diffusion.process import Process
from minidiff.diffusion.schedules import Schedule, check_schedule
from minidiff.diffusion.variance import LEARNED, split_learned

__all__ = ["HybridTerms", "hybrid_loss", "hybrid_terms", "simple_loss", "training_losses"]

Model = Callable[[Any, np.ndarray], Any]
"""A model: called with x_t (N, ...) and times (N,) (host int64 or float64), it returns an array like x_t."""


def simple_loss(
    model: Model, process: Process, x_start: Any, t: Any, noise: Any, prediction_type: str = "epsilon", weight: Any = None
) -> Any:
    """The simplified training objective: the mean squared error of the model's prediction.

        L_simple = E || eps - eps_theta(alpha_t x_0 + sigma_t eps, t) ||^2                    Ho et al. 2020, Eq. 14

    as a mean over the batch and all elements, where the paper sums over the elements. With another prediction_type the
    error is that of x_0, v ... This is the whole of Algorithm 1 but for drawing x_0, t and eps, which are the caller's.
    x_start, noise: (N, ...), alike in shape and dtype. t: a time of the process, or (N,) of them on the host. weight: what the
    squared errors of each time count, a number or (N,) of them, as `weighting` and `importance` give them; they are not normalized.
    Returns a scalar of the kind the model returns (a Tensor that `backward` starts from, if the model returns Tensors).
    Raises ValueError or TypeError for bad times, arrays that are not alike, an unknown prediction_type, or a model
    whose answer is not like x_t: it would broadcast to a wrong loss silently; ValueError for an empty batch, which has no mean.
    """
    check_batch("simple_loss", x_start, "x_start", of_something=True)
    target = training_target(process, prediction_type, x_start, noise, t)
    error = prediction_error("simple_loss", model, process, x_start, t, noise, target)
    return weighted_mean(error * error, weight)


def training_losses(model: Model, process: Process, x_start: Any, t: Any, noise: Any, prediction_type: str = "epsilon") -> Any:
    """The simple loss of each of the batch, (N,): what a `LossHistory` learns from. Arguments and errors are those of `simple_loss`."""
    check_batch("training_losses", x_start, "x_start", of_something=0 in getattr(x_start, "shape", ())[1:])
    check_batch("training_losses", x_start, "x_start")
    target = training_target(process, prediction_type, x_start, noise, t)
    error = prediction_error("training_losses", model, process, x_start, t, noise, target)
    return mean_flat(error * error)


def prediction_error(where: str, model: Model, process: Process, x_start: Any, t: Any, noise: Any, target: Any) -> Any:
    """What the model says about x_t, minus what it should say."""
    x_t = q_sample(process, x_start, t, noise)
    prediction = model(x_t, model_times(times_within(process, t), x_t))
    check_alike(where, x_t=x_t, model_output=prediction)
    return prediction - target


def weighted_mean(losses: Any, weight: Any) -> Any:
    """The mean over the batch and all elements, each of the batch times its weight: a number or (N,) of them, None for 1."""
    return losses.mean() if weight is None else (to_multiply(weight, losses) * losses).mean()


class HybridTerms(NamedTuple):
    """The two parts of `hybrid_loss` for each of the batch, (N,): the squared error, and one term of the bound in bits per dimension."""

    mse: Any
    vb: Any


def hybrid_terms(
    model: Model, schedule: Schedule, x_start: Any, t: Any, noise: Any, prediction_type: str = "epsilon",
    variance_type: str = "learned_range", *, min_variance: float | None = None, decoder: str = "discretized_gaussian",
) -> HybridTerms:
    """The squared error of a model that learns its variance, and the term of the variational bound at t, each for each of the batch.

    In the bound the prediction is held constant, so that it trains the variance alone (Nichol & Dhariwal 2021, Section 3.1).
    model: answers with twice the channels of x. variance_type: "learned" or "learned_range". The other arguments are those of `simple_loss`
    and of `vb_terms_bpd`. Raises as they do.
    """
    if variance_type not in LEARNED:
        raise ValueError(f"hybrid_terms: expected a learned variance_type, {' or '.join(LEARNED)}, got {variance_type!r}")
    check_schedule("hybrid_terms", schedule)
    check_batch("hybrid_terms", x_start, "x_start")
    target = training_target(schedule, prediction_type, x_start, noise, t)
    x_t = q_sample(schedule, x_start, t, noise)
    output = model(x_t, model_times(times_within(schedule, t), x_t))
    prediction, _ = split_learned("hybrid_terms", output, x_t)
    error = prediction - target
    # o - constant(o) is 0 and has o's gradient: kept for the second half of the channels, the variance.
    held = constant(output)
    learns = np.repeat([0.0, 1.0], x_t.shape[1]).reshape(1, -1, *[1] * (len(x_t.shape) - 2))
    output = held + like(learns, x_t) * (output - held)
    vb = vb_terms_bpd(schedule, output, x_start, x_t, t, prediction_type, variance_type, min_variance=min_variance, decoder=decoder)
    return HybridTerms(mean_flat(error * error), vb)


def hybrid_loss(
    model: Model, schedule: Schedule, x_start: Any, t: Any, noise: Any, prediction_type: str = "epsilon",
    variance_type: str = "learned_range", *, vlb_weight: float = 0.001, vlb: str = "sum", weight: Any = None,
    min_variance: float | None = None, decoder: str = "discretized_gaussian",
) -> Any:
    """The loss of a model that learns its variance: L_simple trains the prediction, the variational bound the variance.

        L_hybrid = L_simple + lambda L_vlb,   lambda = vlb_weight = 0.001                   Nichol & Dhariwal 2021, Eq. 16

    L_vlb is a sum over all T times, of which a batch has one drawn for each. vlb: how the one stands for all.
        "sum": T times the drawn term, whose expectation is L_vlb. With lambda = 0.001 that is OpenAI's factor T / 1000 ("rescaled").
        "term": the drawn term itself: L_vlb / T, so with the same lambda T times less (1000 times, usually). denoising-diffusion-pytorch's.
    Either way it is in bits per dimension, as in OpenAI's code. weight: for each of the batch, as in `simple_loss`; both parts take it.
    The other arguments are those of `hybrid_terms`. Returns a scalar. Raises as `hybrid_terms`; ValueError for another vlb.
    """
    check_schedule("hybrid_loss", schedule)
    check_batch("hybrid_loss", x_start, "x_start", of_something=True)
    check_numbers("hybrid_loss", vlb_weight=vlb_weight)
    factors = {"sum": schedule.num_train_timesteps, "term": 1}
    if vlb not in factors:
        raise ValueError(f"hybrid_loss: unknown vlb {vlb!r}; choose from {', '.join(factors)}")
    mse, vb = hybrid_terms(model, schedule, x_start, t, noise, prediction_type, variance_type, min_variance=min_variance, decoder=decoder)
    return weighted_mean(mse + float(vlb_weight * factors[vlb]) * vb, weight)
