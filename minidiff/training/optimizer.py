"""AdamW, gradient clipping, and the learning rate of a step.

Each works on all parameters at once, laid end to end (`flat.py`), and in place, since nothing else may hold a second copy of a
model. `minidiff.optim` has the same update for one parameter after the other, with torch's interface. Read `ema.py` next.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.nn.utils import clip_factor
from minidiff.optim import adam_update, check_setting
from minidiff.training.flat import FlatParameters, block_count, by_blocks

LR_SCHEDULES = ("constant", "linear", "cosine")


class AdamW:
    """Adam with decoupled weight decay; the update is that of torch.optim.AdamW.

        theta <- theta (1 - lr wd)                                          Loshchilov & Hutter 2019, Algorithm 2
        m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2      Kingma & Ba 2015, Algorithm 1
        theta <- theta - lr m^ / (sqrt(v^) + eps),   m^ = m / (1 - beta1^k),   v^ = v / (1 - beta2^k)

    at step k = 1, 2, ... parameters: what is changed by `step`. All of them decay, biases and norms too, as in torch.
    learning_rate, eps, weight_decay: at least 0; betas: in [0, 1). Raises ValueError for others.
    first_moment, second_moment: m and v, (P,); with step_count, the number of steps done, they are the whole state.
    """

    def __init__(
        self, parameters: FlatParameters, learning_rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        for name, value in {"learning_rate": learning_rate, "eps": eps, "weight_decay": weight_decay, "betas": betas}.items():
            check_setting("AdamW", name, value)
        self.parameters, self.learning_rate, self.betas, self.eps, self.weight_decay = parameters, learning_rate, betas, eps, weight_decay
        xp = backend.array_module(parameters.data)
        self.first_moment, self.second_moment = xp.zeros_like(parameters.data), xp.zeros_like(parameters.data)
        self.step_count = 0

    def step(self, gradient: Any, learning_rate: float | None = None) -> None:
        """Change the parameters by their gradient (P,). learning_rate: of this step, if not the one given at the beginning."""
        lr = self.learning_rate if learning_rate is None else learning_rate
        self.step_count += 1
        xp = backend.array_module(gradient)

        def update(index: int, scratch: Any, theta: Any, m: Any, v: Any, g: Any) -> None:
            theta *= 1 - lr * self.weight_decay
            adam_update(xp, theta, m, v, g, scratch, step=self.step_count, lr=lr, betas=self.betas, eps=self.eps)

        by_blocks(update, self.parameters.data, self.first_moment, self.second_moment, gradient)


def clip_grad_norm(gradient: Any, max_norm: float) -> Any:
    """Shorten a gradient that is longer than max_norm, in place; returns the length it had.

        g <- g min(1, max_norm / (|g| + 1e-6))                    Pascanu et al. 2013, Algorithm 1; the 1e-6 is torch's

    gradient: (P,), all parameters end to end, so |g| is the norm over all of them. max_norm: above 0; infinity only measures.
    Returns a 0-d array on the gradient's device: nothing waits for a GPU. A NaN in the gradient makes all of it NaN.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm={max_norm}; expected a number above 0")
    norm = global_norm(gradient)
    if max_norm < math.inf:
        factor = clip_factor(norm, max_norm).astype(gradient.dtype)
        xp = backend.array_module(gradient)
        by_blocks(lambda index, scratch, g: xp.multiply(g, factor, out=g), gradient)
    return norm


def global_norm(x: Any) -> Any:
    """|x| = sqrt(sum x_i^2) of a (P,) array: a float64 0-d array on its device."""
    xp = backend.array_module(x)
    sums = xp.zeros(block_count(x))

    def sum_of_squares(index: int, scratch: Any, block: Any) -> None:
        xp.multiply(block, block, out=scratch)
        sums[index] = scratch.sum(dtype=np.float64)

    by_blocks(sum_of_squares, x)
    return xp.sqrt(sums.sum())


def warmup(step: int, warmup_steps: int) -> float:
    """The share of the learning rate at step 1, 2, ...: it grows linearly and is whole from step warmup_steps on.

        min(1, k / warmup_steps)                                            Goyal et al. 2017, Section 2.2
    """
    return min(1.0, step / warmup_steps) if warmup_steps > 0 else 1.0


def learning_rate_at(
    step: int, learning_rate: float, warmup_steps: int = 0, lr_schedule: str = "constant", total_steps: int | None = None,
) -> float:
    """The learning rate of step k = 1, 2, ...: warm-up, then constant or falling to 0, which it reaches after total_steps.

        lr min(1, k / W) f(u),   u = (k - 1 - W) / (total_steps - W) in [0, 1],   W = warmup_steps
        constant: f = 1      linear: f = 1 - u      cosine: f = (1 + cos(pi u)) / 2     Loshchilov & Hutter 2017, Eq. 5

    Raises ValueError for an unknown lr_schedule, or for one that falls when total_steps is None.
    """
    if lr_schedule not in LR_SCHEDULES:
        raise ValueError(f"learning_rate_at: lr_schedule={lr_schedule!r}; expected one of {', '.join(LR_SCHEDULES)}")
    warm = learning_rate * warmup(step, warmup_steps)
    if lr_schedule == "constant":
        return warm
    if total_steps is None:
        raise ValueError(f"learning_rate_at: lr_schedule={lr_schedule!r} falls to 0 at total_steps; say when that is")
    u = min(1.0, max(0.0, (step - 1 - warmup_steps) / max(1, total_steps - warmup_steps)))
    return warm * (1 - u if lr_schedule == "linear" else (1 + math.cos(math.pi * u)) / 2)
