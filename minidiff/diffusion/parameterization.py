"""Epsilon, sample, v_prediction, score, flow_prediction: five names for one prediction.

x_t = alpha x_0 + sigma eps is one equation between x_t, x_0 and eps: with x_t known, each of x_0 and eps gives the
other, and so does any mixture p x_0 + q eps of the two. A model may predict any of them (`prediction_type`, diffusers'
values); `MIXTURES` is the table of p and q, and everything else here follows from it. Stands on `process` and `lookup`.
Read `variance` next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_alike
from minidiff.diffusion.lookup import extract, times_within, to_multiply
from minidiff.diffusion.process import Process
from minidiff.diffusion.schedules import Schedule, check_schedule

__all__ = [
    "MIXTURES", "PREDICTION_TYPES", "convert", "predict_noise_from_start", "predict_noise_from_v", "predict_start_and_noise",
    "predict_start_from_noise", "predict_start_from_v", "predict_v", "training_target", "weights_between",
    "weights_of_noise", "weights_of_start",
]

MIXTURES: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    #                    alpha, sigma          p          q            prediction = p x_0 + q eps
    "epsilon":         lambda alpha, sigma: (0.0,       1.0),        # Ho et al. 2020
    "sample":          lambda alpha, sigma: (1.0,       0.0),
    "v_prediction":    lambda alpha, sigma: (-sigma,    alpha),      # Salimans & Ho 2022, App. D
    "score":           lambda alpha, sigma: (0.0,      -1 / sigma),  # the gradient of log q(x_t | x_0): Song et al. 2021, Eq. 7
    "flow_prediction": lambda alpha, sigma: (-1.0,      1.0),        # eps - x_0, the velocity of a straight line: Lipman et al. 2023
}
PREDICTION_TYPES = tuple(MIXTURES)
"""What a model may predict."""

NOISE_ONLY = ("epsilon", "score")
"""The types that say nothing about the data where nothing of it is left."""


def weights_between(from_type: str, to_type: str, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """(a, b) with  one prediction = a x_t + b other prediction.

    x_t = alpha x_0 + sigma eps and p x_0 + q eps are two equations for x_0 and eps; put into p' x_0 + q' eps they give

        ((p' q - q' p) x_t + (alpha q' - sigma p') prediction) / (alpha q - sigma p)

    alpha, sigma: numbers or arrays. Raises ValueError for an unknown type and, unless they are arrays of a device, where the denominator
    is 0: see `convert`.
    """
    for kind in (from_type, to_type):
        check_prediction_type("weights_between", kind)
    if "score" in (from_type, to_type):
        _check_not_zero(sigma, f"at sigma = 0 the score is infinite, so {from_type!r} does not give {to_type!r}")
    (p, q), (p_to, q_to) = MIXTURES[from_type](alpha, sigma), MIXTURES[to_type](alpha, sigma)
    if from_type in NOISE_ONLY and to_type in NOISE_ONLY:
        return 0.0, q_to / q  # alpha cancels, and may be 0
    determinant = alpha * q - sigma * p
    _check_not_zero(determinant, f"{from_type!r} does not give {to_type!r} at this noise level (alpha or sigma is 0)")
    return (p_to * q - q_to * p) / determinant, (alpha * q_to - sigma * p_to) / determinant


def _check_not_zero(x: Any, message: str) -> None:
    zero = x == 0 if isinstance(x, (int, float)) else isinstance(x, (np.generic, np.ndarray)) and not np.all(x)
    if zero:
        raise ValueError(f"weights_between: {message}")


def weights_of_start(prediction_type: str, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """(a, b) with x_0 = a x_t + b prediction:  (q x_t - sigma prediction) / (alpha q - sigma p). Raises as `weights_between`."""
    return weights_between(prediction_type, "sample", alpha, sigma)


def weights_of_noise(prediction_type: str, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """(a, b) with eps = a x_t + b prediction:  (alpha prediction - p x_t) / (alpha q - sigma p). Raises as `weights_between`."""
    return weights_between(prediction_type, "epsilon", alpha, sigma)


def check_prediction_type(where: str, prediction_type: str) -> None:
    """Raise ValueError for a prediction_type that is not one of PREDICTION_TYPES."""
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f"{where}: unknown prediction_type {prediction_type!r}; choose from {', '.join(PREDICTION_TYPES)}"
        )


def convert(prediction: Any, x_t: Any, process: Process, t: Any, from_type: str, to_type: str) -> Any:
    """What a model of one prediction type said about x_t, as a model of another type would say it: see `weights_between`.

    prediction, x_t: (N, ...), alike in shape and dtype. t: a time of the process, or (N,) of them on the host. from_type, to_type: of
    PREDICTION_TYPES. Returns an array like x_t.
    Raises ValueError for an unknown type and where the answer does not exist: epsilon and score say nothing of the data where alpha = 0
    (zero terminal SNR), a sample nothing of the noise where sigma = 0, and the score is infinite there. Raises ValueError or TypeError
    for bad times and arrays that are not alike.
    """
    return _convert("convert", prediction, x_t, process, t, from_type, to_type)


def _convert(where: str, prediction: Any, x_t: Any, process: Process, t: Any, from_type: str, to_type: str) -> Any:
    check_prediction_type(where, from_type)
    check_prediction_type(where, to_type)
    check_alike(where, x_t=x_t, prediction=prediction)
    times = times_within(process, t)
    if from_type == to_type:
        return prediction
    _check_solvable(where, process, times, from_type, to_type)
    a, b = weights_between(from_type, to_type, process.alpha(times), process.sigma(times))
    return _mixture(a, x_t, b, prediction)


def _check_solvable(where: str, process: Process, times: np.ndarray, from_type: str, to_type: str) -> None:
    if from_type in NOISE_ONLY and to_type not in NOISE_ONLY:
        _refuse(where, times, process.alpha(times) == 0, "nothing is left of the data (alpha = 0, zero terminal SNR)",
                f"{from_type!r} does not give {to_type!r}; use a model of v_prediction or sample, or a smaller time")
    if from_type == "sample" or "score" in (from_type, to_type):
        _refuse(where, times, process.sigma(times) == 0, "there is no noise (sigma = 0)",
                f"{from_type!r} does not give {to_type!r}; use a larger time")


def _refuse(where: str, times: np.ndarray, which: Any, why: str, so: str) -> None:
    """Raise ValueError with the first of the times at which `which` is true."""
    if np.any(which):
        raise ValueError(f"{where}: at time {times[which].flat[0]} {why}, so there {so}")


def _mixture(a: Any, x: Any, b: Any, y: Any) -> Any:
    """a x + b y; a or b: one host number, or (N,) of them. What is multiplied by 0 is not read, what is multiplied by 1 not copied."""
    terms = [z if isinstance(c, float) and c == 1 else c * z
             for c, z in ((to_multiply(a, x), x), (to_multiply(b, y), y)) if not (isinstance(c, float) and c == 0)]
    return terms[0] + terms[1] if len(terms) == 2 else terms[0]


def predict_start_from_noise(schedule: Schedule, x_t: Any, t: Any, noise: Any) -> Any:
    """Clean data from its noisy version and the noise.

        x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)                           Ho et al. 2020, Eq. 15

    x_t, noise: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns x_0, like x_t.
    The division enlarges errors in eps by sqrt(1/snr_t). Raises ValueError or TypeError for bad times and arrays that
    are not alike, ValueError where abar_t = 0 (zero terminal SNR).
    """
    check_schedule("predict_start_from_noise", schedule)
    check_alike("predict_start_from_noise", x_t=x_t, noise=noise)
    _check_solvable("predict_start_from_noise", schedule, times_within(schedule, t), "epsilon", "sample")
    return ((x_t - extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_t) * noise)
            / extract(schedule.sqrt_alphas_cumprod, t, like=x_t))


def predict_noise_from_start(schedule: Schedule, x_t: Any, t: Any, x_start: Any) -> Any:
    """The noise from noisy and clean data.

        eps = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t)                           Ho et al. 2020, Eq. 4, for eps

    x_t, x_start: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T).
    Returns eps, like x_t.
    Raises ValueError or TypeError for bad times and arrays that are not alike.
    """
    check_schedule("predict_noise_from_start", schedule)
    check_alike("predict_noise_from_start", x_t=x_t, x_start=x_start)
    return ((x_t - extract(schedule.sqrt_alphas_cumprod, t, like=x_t) * x_start)
            / extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_t))


def predict_v(schedule: Schedule, x_start: Any, t: Any, noise: Any) -> Any:
    """v, the velocity: clean data and noise turned by the angle whose cosine is sqrt(abar_t).

        v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0                                Salimans & Ho 2022, Section 4, App. D

    x_start, noise: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T).
    Returns v, like x_start.
    Raises ValueError or TypeError for bad times and arrays that are not alike.
    """
    check_schedule("predict_v", schedule)
    check_alike("predict_v", x_start=x_start, noise=noise)
    return (extract(schedule.sqrt_alphas_cumprod, t, like=x_start) * noise
            - extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_start) * x_start)


def predict_start_from_v(schedule: Schedule, x_t: Any, t: Any, v: Any) -> Any:
    """Clean data from noisy data and v: the turn back. Nothing is divided by, so it works at every noise level.

        x_0 = sqrt(abar_t) x_t - sqrt(1 - abar_t) v                                 Salimans & Ho 2022, App. D

    x_t, v: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns x_0, like x_t.
    Raises ValueError or TypeError for bad times and arrays that are not alike.
    """
    check_schedule("predict_start_from_v", schedule)
    check_alike("predict_start_from_v", x_t=x_t, v=v)
    return (extract(schedule.sqrt_alphas_cumprod, t, like=x_t) * x_t
            - extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_t) * v)


def predict_noise_from_v(schedule: Schedule, x_t: Any, t: Any, v: Any) -> Any:
    """The noise from noisy data and v.

        eps = sqrt(1 - abar_t) x_t + sqrt(abar_t) v                                 Salimans & Ho 2022, App. D

    x_t, v: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns eps, like x_t.
    Raises ValueError or TypeError for bad times and arrays that are not alike.
    """
    check_schedule("predict_noise_from_v", schedule)
    check_alike("predict_noise_from_v", x_t=x_t, v=v)
    return (extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_t) * x_t
            + extract(schedule.sqrt_alphas_cumprod, t, like=x_t) * v)


def predict_start_and_noise(process: Process, prediction_type: str, model_output: Any, x_t: Any, t: Any) -> tuple[Any, Any]:
    """(x_0, eps) from what a model said about x_t, whatever it predicts.

    prediction_type: one of PREDICTION_TYPES. model_output, x_t: (N, ...), alike in shape and dtype. t: a time of the process, or (N,) of
    them on the host. Returns two arrays like x_t that satisfy x_t = alpha x_0 + sigma eps. Raises as `convert`.
    """
    start, noise = (_convert("predict_start_and_noise", model_output, x_t, process, t, prediction_type, wanted)
                    for wanted in ("sample", "epsilon"))
    return start, noise


def training_target(process: Process, prediction_type: str, x_start: Any, noise: Any, t: Any) -> Any:
    """What a model of this prediction_type should say about q_sample(process, x_start, t, noise): p x_0 + q eps, see MIXTURES.

    x_start, noise: (N, ...), alike in shape and dtype. t: a time of the process, or (N,) of them on the host. Returns an array like
    x_start. Raises ValueError for an unknown prediction_type and for the score of data without noise; ValueError or TypeError for bad
    times and arrays that are not alike.
    """
    check_prediction_type("training_target", prediction_type)
    check_alike("training_target", x_start=x_start, noise=noise)
    times = times_within(process, t)
    alpha, sigma = process.alpha(times), process.sigma(times)
    if prediction_type == "score":
        _refuse("training_target", times, sigma == 0, "there is no noise (sigma = 0)", "the score is infinite; use a larger time")
    p, q = MIXTURES[prediction_type](alpha, sigma)
    return _mixture(p, x_start, q, noise)
