"""Training a small network on points in the plane: Algorithm 1 of Ho et al. 2020, whole, in one short loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff import optim
from minidiff.diffusion import Schedule, simple_loss
from minidiff.models import MLP
from minidiff.random import Generator

PREDICTION_TYPE = "v_prediction"  # an error in epsilon would be divided by alpha, which is nearly 0 where a walk begins
BATCH_SIZE = 512
LEARNING_RATE = 3e-3
AVERAGED = 0.4  # the part of training, at its end, over which the weights are averaged


def train_toy(
    points: Callable[[int, Any], np.ndarray], schedule: Schedule, *, generator: Generator, steps: int = 3500,
    progress: Callable[[float, float], None] | None = None,
) -> MLP:
    """An `MLP` that predicts v (`PREDICTION_TYPE`) in noisy points, trained by Adam with a falling learning rate.

    points: draws the data, (count, generator) -> (count, 2). generator: of all random numbers. progress: called after each step with the
    fraction done, in (0, 1], and the loss. The weights are the mean of those of the last steps, which are less noisy than the last ones.
    Raises FloatingPointError if the loss becomes NaN or infinite.
    """
    model = MLP(generator=generator)
    optimizer = optim.Adam(model.parameters(), lr=LEARNING_RATE)
    first_averaged = int(steps * (1 - AVERAGED))
    mean = None
    for step in range(steps):
        x_start = points(BATCH_SIZE, generator).astype(np.float32)
        t = generator.integers(0, schedule.num_train_timesteps, BATCH_SIZE)
        noise = generator.standard_normal(x_start.shape)
        loss = simple_loss(model, schedule, x_start, t, noise, PREDICTION_TYPE)
        loss.backward()
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        optimizer.step()
        optimizer.zero_grad()
        if step >= first_averaged:
            weights = model.state_dict()
            part = 1 / (step - first_averaged + 1)
            mean = weights if mean is None else {name: mean[name] + part * (value - mean[name]) for name, value in weights.items()}
        if progress is not None:
            progress((step + 1) / steps, loss.item())
    if not np.isfinite(loss.item()):
        raise FloatingPointError("train_toy: the loss became NaN or infinite; are the points finite?")
    model.load_state_dict(mean)
    return model.eval()
