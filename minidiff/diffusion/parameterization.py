"""Epsilon, sample, v_prediction: three names for one prediction.

x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps is one equation between x_t, x_0 and eps: with x_t known, each of x_0 and
eps gives the other, and so does their mixture v. A model may predict any of them (`prediction_type`, diffusers'
values). Stands on `schedules` and `lookup`. Read `losses` next.
"""

from __future__ import annotations

from typing import Any

from minidiff.diffusion.lookup import check_alike, extract
from minidiff.diffusion.schedules import Schedule

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")
"""What a model may predict: the noise, the clean data, or v."""


def check_prediction_type(where: str, prediction_type: str) -> None:
    """Raise ValueError for a prediction_type that is not one of PREDICTION_TYPES."""
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f"{where}: unknown prediction_type {prediction_type!r}; choose from {', '.join(PREDICTION_TYPES)}"
        )


def predict_start_from_noise(schedule: Schedule, x_t: Any, t: Any, noise: Any) -> Any:
    """Clean data from its noisy version and the noise.

        x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)                           Ho et al. 2020, Eq. 15

    x_t, noise: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns x_0, like x_t.
    The division enlarges errors in eps by sqrt(1/snr_t). Raises ValueError or TypeError for bad times and arrays that
    are not alike.
    """
    check_alike("predict_start_from_noise", x_t=x_t, noise=noise)
    return ((x_t - extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_t) * noise)
            / extract(schedule.sqrt_alphas_cumprod, t, like=x_t))


def predict_noise_from_start(schedule: Schedule, x_t: Any, t: Any, x_start: Any) -> Any:
    """The noise from noisy and clean data.

        eps = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t)                           Ho et al. 2020, Eq. 4, for eps

    x_t, x_start: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T).
    Returns eps, like x_t.
    Raises ValueError or TypeError for bad times and arrays that are not alike.
    """
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
    check_alike("predict_v", x_start=x_start, noise=noise)
    return (extract(schedule.sqrt_alphas_cumprod, t, like=x_start) * noise
            - extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_start) * x_start)


def predict_start_from_v(schedule: Schedule, x_t: Any, t: Any, v: Any) -> Any:
    """Clean data from noisy data and v: the turn back. Nothing is divided by, so it works at every noise level.

        x_0 = sqrt(abar_t) x_t - sqrt(1 - abar_t) v                                 Salimans & Ho 2022, App. D

    x_t, v: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns x_0, like x_t.
    Raises ValueError or TypeError for bad times and arrays that are not alike.
    """
    check_alike("predict_start_from_v", x_t=x_t, v=v)
    return (extract(schedule.sqrt_alphas_cumprod, t, like=x_t) * x_t
            - extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_t) * v)


def predict_noise_from_v(schedule: Schedule, x_t: Any, t: Any, v: Any) -> Any:
    """The noise from noisy data and v.

        eps = sqrt(1 - abar_t) x_t + sqrt(abar_t) v                                 Salimans & Ho 2022, App. D

    x_t, v: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns eps, like x_t.
    Raises ValueError or TypeError for bad times and arrays that are not alike.
    """
    check_alike("predict_noise_from_v", x_t=x_t, v=v)
    return (extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=x_t) * x_t
            + extract(schedule.sqrt_alphas_cumprod, t, like=x_t) * v)


def predict_start_and_noise(
    schedule: Schedule, prediction_type: str, model_output: Any, x_t: Any, t: Any
) -> tuple[Any, Any]:
    """(x_0, eps) from what a model said about x_t, whatever it predicts.

    prediction_type: "epsilon", "sample" or "v_prediction". model_output, x_t: (N, ...), alike in shape and dtype. t: an
    int, or (N,) host integers, in [0, T).
    Returns two arrays like x_t that satisfy x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.
    Raises ValueError for an unknown prediction_type; ValueError or TypeError for bad times and arrays that are not
    alike.
    """
    check_prediction_type("predict_start_and_noise", prediction_type)
    if prediction_type == "epsilon":
        return predict_start_from_noise(schedule, x_t, t, model_output), model_output
    if prediction_type == "sample":
        return model_output, predict_noise_from_start(schedule, x_t, t, model_output)
    return predict_start_from_v(schedule, x_t, t, model_output), predict_noise_from_v(schedule, x_t, t, model_output)


def training_target(schedule: Schedule, prediction_type: str, x_start: Any, noise: Any, t: Any) -> Any:
    """What a model of this prediction_type should say about q_sample(schedule, x_start, t, noise).

        epsilon: eps        sample: x_0        v_prediction: v

    x_start, noise: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T).
    Returns an array like x_start.
    Raises ValueError for an unknown prediction_type; ValueError or TypeError for bad times and arrays that are not
    alike.
    """
    check_prediction_type("training_target", prediction_type)
    check_alike("training_target", x_start=x_start, noise=noise)
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "sample":
        return x_start
    return predict_v(schedule, x_start, t, noise)
