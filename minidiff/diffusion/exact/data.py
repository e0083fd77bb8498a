"""What every exactly known data distribution offers, whatever its formulas.

x = alpha x_0 + sigma eps has, for simple data, a density in closed form, and with it the score and the perfect denoiser.
Stands on `lookup` and `parameterization`. Read `gaussian` next.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.backend import to_numpy
from minidiff.diffusion.arrays import astype, check_batch, check_counts, check_generator, number
from minidiff.diffusion.lookup import signal_and_noise
from minidiff.diffusion.parameterization import MIXTURES, check_prediction_type
from minidiff.diffusion.process import Process

__all__ = ["ExactData"]


class ExactData(ABC):
    """A distribution of data x_0 for which q(x), x = alpha x_0 + sigma eps, is known.

    alpha, sigma: numbers, or (N, 1, ..., 1) for a batch x (N, ...), of any array library. The formulas compute in the dtype of x; where
    alpha^2 std^2 + sigma^2 is 0 there is no density, and they raise ValueError (NaN, if alpha and sigma are arrays on another device).
    """

    @abstractmethod
    def start(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """E[x_0 | x], the perfect denoiser: like x."""

    @abstractmethod
    def score(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """The gradient of log q(x) with respect to x: like x."""

    @abstractmethod
    def log_prob(self, x: Any, alpha: Any, sigma: Any) -> Any:
        """log q(x), in nats, summed over the dimensions: (N,)."""

    @abstractmethod
    def sample(self, count: int, generator: Any) -> Any:
        """`count` draws of x_0: (count, ...)."""

    def model(self, process: Process, prediction_type: str = "epsilon") -> Callable[[Any, Any], Any]:
        """The perfect model for this data: a function of (x, t), like any network.

            E[p x_0 + q eps | x_t],   E[eps | x_t] = -sigma score(x_t)

        t: a number, or (N,) numbers. It computes in float64 and answers in the dtype of x: so exact answers to float32 questions.
        Raises ValueError for an unknown prediction_type.
        """
        check_prediction_type("ExactData.model", prediction_type)

        def model(x: Any, t: Any) -> Any:
            check_batch("ExactData.model", x)
            t = np.asarray(to_numpy(t))
            t = t[0] if t.size and t.shape == x.shape[:1] and (t == t[0]).all() else t  # one time for all: plain numbers as factors
            wide = astype(x, float)
            alpha, sigma = signal_and_noise(process, t, like=wide)
            if prediction_type == "score":
                return astype(self.score(wide, alpha, sigma), x.dtype)
            p, q = MIXTURES[prediction_type](alpha, sigma)
            if isinstance(p, float) and p == 0:
                return astype(-q * sigma * self.score(wide, alpha, sigma), x.dtype)
            if isinstance(q, float) and q == 0:
                return astype(p * self.start(wide, alpha, sigma), x.dtype)
            return astype(p * self.start(wide, alpha, sigma) - q * sigma * self.score(wide, alpha, sigma), x.dtype)

        return model


def check_draw(where: str, count: int, generator: Any, *methods: str) -> None:
    """Raise TypeError or ValueError for a count that is no int of at least 0, or a generator without one of the methods."""
    check_counts(where, 0, count=count)
    for method in methods or ("standard_normal",):
        check_generator(where, generator, method)


def factors(where: str, alpha: Any, sigma: Any, std: float = 0.0) -> tuple[Any, Any]:
    """alpha and sigma as floats or arrays. Raises ValueError where alpha^2 std^2 + sigma^2 is 0, unless they are arrays of a device."""
    alpha, sigma = number(alpha), number(sigma)
    variance = (alpha * std) ** 2 + sigma * sigma
    if isinstance(variance, (float, np.ndarray)) and not np.all(variance > 0):
        raise ValueError(f"{where}: at sigma = 0, data of std 0 has no density; expected sigma > 0, got sigma = {np.min(sigma)}")
    return alpha, sigma
