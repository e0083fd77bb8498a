"""The exponential moving average of the weights: what one samples with.

A single step's weights carry that step's noise; their average over the last few hundred steps draws better images
(Ho et al. 2020, Appendix B). Stands on `flat.py`. Read `trainer.py` next.
"""

from __future__ import annotations

from typing import Any

from minidiff import backend
from minidiff.training.flat import FlatParameters, by_blocks


def ema_decay_at(step: int, decay: float) -> float:
    """The decay in use at step k = 1, 2, ...: small at first, so that the initial weights are soon forgotten.

        min(decay, (1 + k) / (10 + k))                      the warm-up of TensorFlow's ExponentialMovingAverage
    """
    return min(decay, (1 + step) / (10 + step))


class EMA:
    """The moving average of all parameters.

        a_0 = theta_0,   a_k = d_k a_{k-1} + (1 - d_k) theta_k,   d_k = `ema_decay_at(k, decay)`

    parameters: what is averaged. decay: in [0, 1]; 0.995 averages over about 200 steps. ValueError for another.
    data: (P,), the average; parameters.views(ema.data) takes it apart. With the step number it is the whole state.
    """

    def __init__(self, parameters: FlatParameters, decay: float = 0.995) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"EMA: decay={decay}; expected a number in [0, 1]")
        self.parameters, self.decay = parameters, decay
        self.data = parameters.data.copy()

    def update(self, step: int) -> None:
        """Take in the parameters as they are after step k = 1, 2, ..."""
        fresh = 1 - ema_decay_at(step, self.decay)
        xp = backend.array_module(self.data)

        def move(index: int, scratch: Any, average: Any, theta: Any) -> None:
            xp.subtract(theta, average, out=scratch)
            scratch *= fresh
            average += scratch

        by_blocks(move, self.data, self.parameters.data)
