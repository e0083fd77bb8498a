"""Classifier guidance: the gradient of a log-probability, added to the score.

By Bayes' rule the score of p(x_t | y) is that of p(x_t) plus the gradient of log p(y | x_t). The gradient, a `cond_fn(x, t)`
(OpenAI's name), may be that of a classifier or of any energy, and enters in two ways: as a change of what the model predicts
(`classifier_guidance`, for every sampler), or as a shift of the mean of a random step (`shifted_mean`). Stands on `lookup`,
`parameterization` and `minidiff.autograd`. Read `interval` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidiff.autograd import Tensor, enable_grad, gradient
from minidiff.backend import is_foreign, to_array, to_numpy
from minidiff.diffusion.arrays import check_alike, check_batch, check_numbers, is_tensor
from minidiff.diffusion.lookup import model_times, signal_and_noise
from minidiff.diffusion.parameterization import MIXTURES, check_prediction_type, weights_of_start
from minidiff.diffusion.process import Process, check_decreasing
from minidiff.diffusion.samplers.walk import Model

__all__ = ["classifier_guidance", "log_prob_gradient", "log_prob_of_start", "shifted_mean", "weight_of_score"]

Gradient = Callable[[Any, Any], Any]
"""cond_fn(x_t, t): the gradient of log p(y | x_t) with respect to x_t, like x_t."""


def weight_of_score(prediction_type: str, alpha: Any, sigma: Any) -> Any:
    """How far a prediction moves when the score moves by one: the derivative of p x_0 + q eps at a fixed x_t.

        eps = -sigma score,   x_0 = (x_t + sigma^2 score) / alpha,   so   p sigma^2 / alpha - q sigma

    alpha, sigma: numbers, or (N, 1, ..., 1). Raises ValueError for an unknown prediction_type, and at alpha = 0 for predictions with a part
    of x_0 in them.
    """
    check_prediction_type("weight_of_score", prediction_type)
    if prediction_type == "score":
        return 1.0
    p, q = MIXTURES[prediction_type](alpha, sigma)
    if isinstance(p, float) and p == 0:
        return -q * sigma
    if isinstance(alpha, float) and alpha == 0:
        raise ValueError(
            f"weight_of_score: nothing is left of the data (alpha = 0), so no score moves prediction_type {prediction_type!r}; "
            "use epsilon or score, or a smaller time"
        )
    return p * sigma * sigma / alpha - q * sigma


def classifier_guidance(
    model: Model, process: Process, cond_fn: Gradient, scale: float = 1.0, prediction_type: str = "epsilon"
) -> Model:
    """A model that leans towards what a gradient points to.

        eps' = eps - s sigma_t grad log p(y | x_t)                                   Dhariwal & Nichol 2021, Algorithm 2

    and whatever else the model predicts moves so that it stays the same prediction (`weight_of_score`): samples do not depend on
    the prediction type. Serves every sampler, above all the deterministic ones, whose steps have no variance to shift a mean by.

    cond_fn: called as cond_fn(x_t, t) with what the model gets; returns an array like x_t. With the exact log p(y | x_t) and s = 1 the
    result is the exact model of the data with the label y. s > 1 sharpens: p(y | x_t)^s. process, prediction_type: the model's.
    Raises ValueError for a scale that is not finite or an unknown prediction_type; when called, ValueError or TypeError for answers
    that are not like x_t, and ValueError where nothing is left of the data (zero terminal SNR) unless the model predicts epsilon or score.
    """
    check_prediction_type("classifier_guidance", prediction_type)
    scale = _checked_scale("classifier_guidance", scale)

    def guided(x: Any, t: Any) -> Any:
        check_batch("classifier_guidance", x)
        alpha, sigma = _signal_and_noise(process, t, x)
        if prediction_type not in ("epsilon", "score") and np.any(process.alpha(to_numpy(t)) == 0):
            raise ValueError(
                "classifier_guidance: at a time where nothing is left of the data (zero terminal SNR) a gradient cannot move "
                f"prediction_type {prediction_type!r}; begin at a smaller time"
            )
        output, slope = (_beside(x, answer) for answer in (model(x, t), cond_fn(x, t)))
        check_alike("classifier_guidance", x=x, model_output=output, gradient=slope)
        return output + scale * weight_of_score(prediction_type, alpha, sigma) * slope

    return guided


def shifted_mean(
    cond_fn: Gradient, scale: float = 1.0, gradient_at: str = "x_t", times: Sequence[float] | None = None
) -> Callable[..., Any]:
    """Classifier guidance as a shift of the mean of each step: for `sample(..., shift_mean=)`.

        mean' = mean + s Sigma grad log p(y | x)                                     Dhariwal & Nichol 2021, Algorithm 1

    The paper's derivation (Section 4.1) expands log p around the mean, a point of the *next* level; OpenAI's code takes the gradient at
    x_t. The two, and `classifier_guidance`, differ by a fraction of the shift that falls with the size of the step.
    A step without fresh noise (DDIM, and the last step of DDPM) has Sigma = 0 and is not shifted at all: use `classifier_guidance` there.
    With a learned variance the last step is shifted by the model's, although it adds no noise (so in OpenAI's code).

    gradient_at: "x_t" (at the time t), or "mean" (at the time that the step leads to; at t itself after the last of the list). times: the
    list of the walk; needed for "mean".
    Raises ValueError for a scale that is not finite, an unknown gradient_at, "mean" without times; when called, ValueError or TypeError
    for a gradient that is not like x_t.
    """
    scale = _checked_scale("shifted_mean", scale)
    if gradient_at not in ("x_t", "mean"):
        raise ValueError(f"shifted_mean: unknown gradient_at {gradient_at!r}; choose from x_t, mean")
    if gradient_at == "mean" and times is None:
        raise ValueError("shifted_mean: the mean belongs to the next time of the walk; give the list of times")
    if times is not None:
        check_decreasing(times, -math.inf, math.inf)
    next_time = {} if times is None else dict(zip(np.asarray(times).tolist(), np.asarray(times).tolist()[1:]))

    def shift_mean(mean: Any, variance: Any, *, x_t: Any, t: float) -> Any:
        if isinstance(variance, float) and variance == 0:
            return mean
        at, time = (x_t, t) if gradient_at == "x_t" else (mean, next_time.get(t, t))
        slope = _beside(mean, cond_fn(at, model_times(time, x_t)))
        check_alike("shifted_mean", x=mean, gradient=slope)
        return mean + scale * variance * slope

    return shift_mean


def log_prob_gradient(log_prob: Callable[[Any, Any], Any]) -> Gradient:
    """A cond_fn from log p(y | x_t) itself, differentiated by minidiff's autograd.

    log_prob: called as log_prob(x, t) with a Tensor x (N, ...), returns a Tensor: (N,), or one number, the sum. Up to any constant, and
    so any energy, with its sign turned. Returns a function of x, an array or a Tensor, and t, with a result like x; it works
    under `no_grad` too, and its own result is not differentiated further. (Models of other libraries bring their own gradient:
    a cond_fn is any function.) Called, it raises TypeError for x of another library and for a log_prob that does not depend on x.
    """

    def cond_fn(x: Any, t: Any) -> Any:
        if is_foreign(x):
            raise TypeError(f"log_prob_gradient: x is a {type(x).__module__}.{type(x).__name__}; differentiate it by its own library")
        check_batch("log_prob_gradient", x)
        with enable_grad():
            leaf = Tensor(to_array(x), requires_grad=True)
            value = log_prob(leaf, t)
            if not is_tensor(value) or not value.requires_grad:
                raise TypeError("log_prob_gradient: expected log_prob to return a Tensor that it has made of x, (N,) or one number")
            slope = gradient(value.sum(), leaf)
        return slope if is_tensor(x) else slope.data

    return cond_fn


def log_prob_of_start(
    log_prob: Callable[[Any], Any], model: Model, process: Process, prediction_type: str = "epsilon"
) -> Callable[[Any, Any], Any]:
    """log p(y | x_t), taken to be log p(y | x_0) at the x_0 that a model predicts from x_t: reconstruction guidance.

        log p(y | x_t) ~ log p(y | x^_0(x_t, t))                                     Chung et al. 2023 (DPS)

    So anything that can be said about clean data guides a walk without having been trained on noise: a measurement |y - A x_0|^2 (DPS), a
    classifier (universal guidance). Its gradient with respect to x_t goes through the model, `log_prob_gradient(log_prob_of_start(...))`
    for models of Tensors. It is exact only where p(x_0 | x_t) is narrow; then guidance is too strong in the noise rather than too weak.

    log_prob: called with the predicted x_0. Returns a function of (x_t, t). Raises ValueError for an unknown prediction_type; called, for a
    time at which the prediction does not give x_0 (zero terminal SNR), ValueError or TypeError for an answer that is not like x.
    """
    check_prediction_type("log_prob_of_start", prediction_type)

    def log_prob_of_noisy(x: Any, t: Any) -> Any:
        check_batch("log_prob_of_start", x)
        a, b = weights_of_start(prediction_type, *_signal_and_noise(process, t, x))
        output = model(x, t)
        check_alike("log_prob_of_start", x=x, model_output=output)
        return log_prob(a * x + b * output)

    return log_prob_of_noisy


def _signal_and_noise(process: Process, t: Any, x: Any) -> tuple[Any, Any]:
    """(alpha, sigma) at the times that a model was given: floats where all are one time, else (N, 1, ..., 1)."""
    t = to_numpy(t)
    return signal_and_noise(process, t.flat[0] if t.size and t.shape == x.shape[:1] and (t == t.flat[0]).all() else t, like=x)


def _beside(x: Any, answer: Any) -> Any:
    """An answer as what x is: a network of minidiff answers an array with a Tensor."""
    return answer if is_tensor(x) else to_array(answer)


def _checked_scale(where: str, scale: float) -> float:
    check_numbers(where, scale=scale)
    if not math.isfinite(scale):
        raise ValueError(f"{where}: expected a finite scale, got {scale}")
    return float(scale)
