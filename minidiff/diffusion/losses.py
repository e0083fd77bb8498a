"""What a model is trained on.

Stands on `forward` and `parameterization`. Read `spacing` next, the first half of sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.diffusion.forward import q_sample
from minidiff.diffusion.lookup import check_alike, model_times
from minidiff.diffusion.parameterization import training_target
from minidiff.diffusion.schedules import Schedule

Model = Callable[[Any, np.ndarray], Any]
"""A model: called with x_t (N, ...) and times (N,) (int64, on the host), it returns an array like x_t."""


def simple_loss(
    model: Model, schedule: Schedule, x_start: Any, t: Any, noise: Any, prediction_type: str = "epsilon"
) -> Any:
    """The simplified training objective: the mean squared error of the model's prediction.

        L_simple = E || eps - eps_theta(sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, t) ||^2      Ho et al. 2020, Eq. 14

    as a mean over the batch and all elements, where the paper sums over the elements. With another prediction_type the
    error is that of x_0 or v. This is the whole of Algorithm 1 but for drawing x_0, t and eps, which are the caller's.
    x_start, noise: (N, ...), alike in shape and dtype. t: an int, or (N,) host integers, in [0, T). Returns a scalar of
    the kind the model returns (a Tensor that `backward` starts from, if the model returns Tensors).
    Raises ValueError or TypeError for bad times, arrays that are not alike, an unknown prediction_type, or a model
    whose answer is not like x_t: it would broadcast to a wrong loss silently.
    """
    target = training_target(schedule, prediction_type, x_start, noise, t)
    x_t = q_sample(schedule, x_start, t, noise)
    prediction = model(x_t, model_times(t, x_t, schedule.num_train_timesteps))
    check_alike("simple_loss", x_t=x_t, model_output=prediction)
    error = prediction - target
    return (error * error).mean()
