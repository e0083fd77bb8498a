"""The probability-flow ODE, solved to a tolerance: steps as long as the model allows, in both directions.

The way from noise to data without fresh noise is an ODE, so it can be left to scipy's solvers, and walked back: the same function decodes
noise and encodes data. Stands on `process`, `parameterization` and scipy. Read `langevin` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minidiff.autograd import Tensor
from minidiff.backend import to_array, to_numpy
from minidiff.diffusion.arrays import all_finite, check_alike, check_batch, check_counts, check_numbers, is_tensor, like
from minidiff.diffusion.lookup import model_times, times_within
from minidiff.diffusion.parameterization import check_prediction_type, weights_of_noise, weights_of_start
from minidiff.diffusion.process import Level, Process, check_process

__all__ = ["SOLVERS", "AngularFlow", "Flow", "integrate", "probability_flow"]

SOLVERS = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")
"""scipy's methods for an ODE; the last three are for stiff ones."""


@dataclass(frozen=True)
class AngularFlow:
    """The probability-flow ODE of any process, in the coordinate where it is smooth from end to end.

        phi = atan2(sigma, alpha),   y = x / sqrt(alpha^2 + sigma^2) = cos phi x_0 + sin phi eps
        dy / dphi = cos phi E[eps | x] - sin phi E[x_0 | x]

    that is, v of Salimans & Ho 2022 (App. D) for the process whose time is the angle. Against the other coordinates: in time t the velocity
    of a variance preserving process grows like 1 / sqrt(t) at the data, where sigma ~ sqrt(t), and f is infinite where alpha = 0; in
    sigma^ = sigma / alpha, where dx^ / dsigma^ = eps, noise is at infinity and a variance exploding x grows by orders of magnitude, so that
    no absolute tolerance fits both ends. The angle runs from 0 (data) to at most pi / 2 (noise), y has the size of the data everywhere, and
    nothing need be known of the process but alpha, sigma, and the time that belongs to their quotient.
    """

    model: Callable[[Any, Any], Any]
    process: Process
    prediction_type: str = "epsilon"

    def angle(self, t: float) -> float:
        """phi at a time."""
        return math.atan2(float(self.process.sigma(t)), float(self.process.alpha(t)))

    def level(self, angle: float) -> Level:
        """The noise level with this phi."""
        sine, cosine = math.sin(angle), math.cos(angle)
        half_log_snr = math.log(cosine / sine) if sine > 0 else math.inf
        return self.process.level(float(self.process.time_of(2 * half_log_snr)))

    def velocity(self, y: Any, level: Level) -> Any:
        """dy / dphi at a level: like y. Raises ValueError, TypeError or FloatingPointError for a bad answer of the model."""
        time, alpha, sigma = level
        size = math.hypot(alpha, sigma)
        x = size * y
        output = self.model(x, model_times(time, x))
        output = output if is_tensor(x) else to_array(output)
        where = f"probability flow: at time {time:.6g}"
        check_alike(where, x=x, model_output=output)
        if not all_finite(output):
            raise FloatingPointError(f"{where} the model returned NaN or infinity")
        start, noise = weights_of_start(self.prediction_type, alpha, sigma), weights_of_noise(self.prediction_type, alpha, sigma)
        of_x, of_output = ((alpha * b - sigma * a) / size for a, b in zip(start, noise))
        return of_x * x + of_output * output


def check_flow(where: str, process: Process, x: Any, start: float, end: float, prediction_type: str) -> tuple[float, float]:
    """The two ends of a flow as numbers, refused if no velocity can be had there.

    Raises ValueError for an unknown prediction_type, x without a batch, equal times, times that are no numbers, outside the process or
    infinite, and for an end where this prediction_type says nothing: sample and score where sigma = 0, epsilon and score where alpha = 0.
    TypeError for x of integers.
    """
    check_prediction_type(where, prediction_type)
    check_batch(where, x)
    check_process(where, process)
    if not all_finite(x):
        raise ValueError(f"{where}: expected x without NaN and infinity")
    for name, t in (("start", start), ("end", end)):
        if np.ndim(t) == 0:
            check_numbers(where, **{name: t})
        if np.ndim(t) or not math.isfinite(t):
            raise ValueError(f"{where}: expected {name} to be one finite time, got {t!r}")
        level = process.level(times_within(process, t))
        for factor, size, silent in (("sigma", level.sigma, ("sample", "score")), ("alpha", level.alpha, ("epsilon", "score"))):
            if size == 0 and prediction_type in silent:
                raise ValueError(
                    f"{where}: {factor} is 0 at {name} = {t}, where prediction_type {prediction_type!r} gives no velocity; "
                    "choose a time a little away from the end"
                )
    if start == end:
        raise ValueError(f"{where}: expected two different times, got {start} twice")
    return float(start), float(end)


class Flow(NamedTuple):
    """Where the probability flow led, and how many times the model was asked."""

    x: Any
    calls: int


def probability_flow(
    model: Callable[[Any, Any], Any],
    process: Process,
    x: Any,
    start: float,
    end: float,
    *,
    prediction_type: str = "epsilon",
    method: str = "RK45",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_calls: int = 10_000,
) -> Flow:
    """Carry x along the probability-flow ODE from one time to another, with steps chosen by the error: Song et al. 2021, App. D.4.

    start > end decodes (noise to data), start < end encodes (data to its latent, "inversion"); one undoes the other, to the tolerance.
    model: called as in `sample`, but at times that the solver chooses, real ones, between the integers of a `Schedule` too (log-SNR is
        linear there). Answers in float32 are rough at 1e-7, so tolerances close to that only cost steps.
    x: (N, ...), floats of any library, at the time `start`. The state is kept in float64 on the host; the model meets arrays like x.
    end: for samples the data, or a small time with sigma > 0 (Song's: 1e-3, 1e-5), because a model has learned nothing below some time.
        Noise of size sigma is then left in x, and nothing is done to it; E[x_0 | x], if wanted, is one more call of the model.
    method: one of SOLVERS. rtol, atol: the error allowed in a step is atol + rtol |y| in the coordinate y of `AngularFlow`, root mean
        square over the batch. All samples share their steps, so each depends on its companions, within the tolerance.
    max_calls: how often the model may be asked.

    Returns Flow(x, calls), x in the library and dtype that it came in; no gradients flow through it.
    Raises ValueError or TypeError for bad times, x, method, tolerances, and a prediction_type that this process cannot serve at an end;
    FloatingPointError for a model that returns NaN or infinity; RuntimeError if the tolerance cannot be reached, or not with max_calls.
    """
    start, end = check_flow("probability_flow", process, x, start, end, prediction_type)
    flow = AngularFlow(model, process, prediction_type)
    first, last = process.level(start), process.level(end)

    def velocity(angle: float, state: np.ndarray) -> np.ndarray:
        return to_numpy(flow.velocity(beside(state.reshape(x.shape), x), flow.level(angle))).ravel()

    y = to_numpy(x).astype(np.float64).ravel() / math.hypot(first.alpha, first.sigma)
    y, calls = integrate(velocity, y, flow.angle(start), flow.angle(end), method, rtol, atol, max_calls)
    return Flow(beside((math.hypot(last.alpha, last.sigma) * y).reshape(x.shape), x), calls)


def beside(values: np.ndarray, x: Any) -> Any:
    """Host numbers as an array in the library, device and dtype of x; a Tensor beside a Tensor."""
    return Tensor(like(values, x)) if is_tensor(x) else like(values, x)


def integrate(
    derivative: Callable[[float, np.ndarray], np.ndarray], state: np.ndarray, start: float, end: float,
    method: str, rtol: float, atol: float, max_calls: int,
) -> tuple[np.ndarray, int]:
    """(the state at the end, how often the derivative was asked for), by one of scipy's adaptive solvers.

    What `scipy.integrate.solve_ivp` does, but that it keeps the state of every step. Raises ValueError for an unknown method or a tolerance
    that is not positive, RuntimeError if the solver gives up or has used up max_calls.
    """
    import scipy.integrate  # a third of a second that most programs never need

    if method not in SOLVERS:
        raise ValueError(f"probability flow: unknown method {method!r}; choose from {', '.join(SOLVERS)}")
    check_numbers("probability flow", rtol=rtol, atol=atol)
    check_counts("probability flow", 0, max_calls=max_calls)
    if not (0 < rtol < 1 and 0 < atol < math.inf):
        raise ValueError(f"probability flow: expected 0 < rtol < 1 and atol > 0, got {rtol} and {atol}")
    calls = 0

    def counted(at: float, state: np.ndarray) -> np.ndarray:
        nonlocal calls
        if calls == max_calls:
            raise RuntimeError(
                f"probability flow: {calls} calls of the model have led to angle {at:.6g} of {start:.6g} ... {end:.6g}; allow larger rtol "
                "and atol, or more max_calls (a model with dropout answers differently every time: no step is small enough for that)"
            )
        calls += 1
        return derivative(at, state)

    solver = getattr(scipy.integrate, method)(counted, start, state, end, rtol=rtol, atol=atol)
    while solver.status == "running":
        message = solver.step()
    if solver.status == "failed":
        raise RuntimeError(f"probability flow: {method} failed at angle {solver.t:.6g} of {start:.6g} ... {end:.6g}: {message}")
    return solver.y, calls
