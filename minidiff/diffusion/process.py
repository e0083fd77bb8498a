"""What every forward process is: x_t = alpha(t) x_0 + sigma(t) eps, and a walk's way through its noise levels.

A `Process` says how much signal, alpha, and how much noise, sigma, there is at a time. Everything that a sampler needs
follows from these two: a `Schedule` (discrete times) and the `continuous` processes are both Processes. A `Path` is a
list of noise levels to visit, noisiest first, with the data, alpha = 1 and sigma = 0, at its end. Stands on NumPy alone.
Read `schedules` next.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CLEAN", "Level", "Path", "Process", "path"]


class Level(NamedTuple):
    """A noise level: what the model is told (time), and x = alpha x_0 + sigma eps."""

    time: float
    alpha: float
    sigma: float

    @property
    def half_log_snr(self) -> float:
        """lambda = log(alpha / sigma), half of the log signal-to-noise ratio; +inf for clean data, -inf for pure noise."""
        if self.sigma == 0:
            return math.inf
        return math.log(self.alpha / self.sigma) if self.alpha > 0 else -math.inf


CLEAN = Level(math.nan, 1.0, 0.0)
"""The data itself. No model is ever asked here, so it has no time."""


class Process(ABC):
    """A Gaussian forward process, q(x_t | x_0) = N(alpha(t) x_0, sigma(t)^2 I).

    Times are numbers or float64 arrays on the host, and grow with the noise; so do the results.
    """

    first_time: float
    """The time with the least noise."""
    last_time: float
    """The time with the most noise."""

    @abstractmethod
    def alpha(self, t: Any) -> Any:
        """The factor of x_0 in x_t: in [0, 1], not growing."""

    @abstractmethod
    def sigma(self, t: Any) -> Any:
        """The standard deviation of the noise in x_t: not negative, growing."""

    @abstractmethod
    def log_snr(self, t: Any) -> Any:
        """log(alpha(t)^2 / sigma(t)^2): falling. Kingma et al. 2021."""

    @abstractmethod
    def time_of(self, log_snr: Any) -> Any:
        """The time with this log-SNR: the inverse of `log_snr`."""

    def level(self, t: float) -> Level:
        """The noise level at a time."""
        return Level(t, float(self.alpha(t)), float(self.sigma(t)))

    def check_times(self, times: Any) -> np.ndarray:
        """A list of times to visit as (S,) float64: strictly decreasing, within the process, not empty.

        Raises TypeError if they are not numbers, ValueError, with the first offending time or pair, if otherwise wrong.
        """
        return check_decreasing(times, self.first_time, self.last_time)

    def steps(self, times: np.ndarray) -> np.ndarray:
        """lambda_{k+1} - lambda_k between consecutive times, lambda = log_snr / 2: (S - 1,), positive."""
        return np.diff(self.log_snr(times)) / 2


def check_process(where: str, process: Any) -> None:
    """Raise TypeError, which begins with `where`, for what is no process."""
    if not isinstance(process, Process):
        raise TypeError(
            f"{where}: expected a process, such as make_schedule() or VariancePreserving(), got a {type(process).__module__}."
            f"{type(process).__name__}"
        )


def check_decreasing(times: Any, first: float, last: float, what: str = "times") -> np.ndarray:
    """(S,) float64, S >= 1, finite, strictly decreasing, in [first, last]; ValueError or TypeError otherwise."""
    times = np.asarray(times)
    if times.dtype.kind not in "iuf":
        raise TypeError(f"{what}: expected numbers, got dtype {times.dtype}")
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"{what}: expected a list of at least one, got shape {times.shape}")
    times = times.astype(np.float64)
    outside = ~((first <= times) & (times <= last) & (times < math.inf))  # written so that NaN is outside
    if outside.any():
        raise ValueError(f"{what}: {times[outside][0]:.12g} is outside the process, expected {first:.12g} ... {last:.12g}")
    wrong = np.flatnonzero(np.diff(times) >= 0)
    if wrong.size:
        a, b = times[wrong[0]], times[wrong[0] + 1]
        raise ValueError(
            f"{what}: expected strictly decreasing {what}, the noisiest first, got {a:.12g} before {b:.12g}; "
            "sort them in descending order, each once"
        )
    return times


@dataclass(frozen=True)
class Path:
    """The noise levels of a walk, from the noisiest to where it ends. Made by `path`.

    levels: S + 1 of them; the model is asked at the first S (and at levels in between, `between`).
    steps: (S,) floats, h_k = lambda_{k+1} - lambda_k > 0 with lambda = log(alpha / sigma); the step that ends at the data, or leaves pure
    noise, is infinite, and one from the first time to itself (`path` without the data at its end) is 0. They are computed without the
    cancellation of the difference.
    """

    process: Process
    levels: tuple[Level, ...]
    steps: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, half_log_snr: float) -> Level:
        """The level of the process with this lambda."""
        return self.process.level(float(self.process.time_of(2 * half_log_snr)))


def path(process: Process, times: Any, set_alpha_to_one: bool = True) -> Path:
    """The walk of a process through a list of times.

    times: strictly decreasing, within the process: integers for a `Schedule`, real numbers for a continuous process. set_alpha_to_one:
    whether the walk ends at the data, alpha = 1 and sigma = 0; False ends it at the first time of the process, where a little noise is left
    (diffusers' name and Stable Diffusion's choice). A list whose last time has sigma = 0 ends there.
    A list that ends at the first time has then a last step of length 0, from there to there, as in diffusers.
    Raises ValueError or TypeError for bad times, TypeError for what is no process.
    """
    check_process("path", process)
    times = process.check_times(times)
    levels = [process.level(t) for t in times.tolist()]
    steps = process.steps(times).tolist()
    if levels[-1].sigma == 0:
        if len(levels) == 1:
            raise ValueError(f"times: the only time, {times[0]:.12g}, is that of clean data; there is no way to go")
    elif set_alpha_to_one:
        levels.append(CLEAN)
        steps.append(math.inf)
    else:
        first = process.first_time
        levels.append(process.level(first))
        steps += process.steps(np.append(times[-1:], first)).tolist() if times[-1] > first else [0.0]
    return Path(process, tuple(levels), tuple(steps))
