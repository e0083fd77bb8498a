"""Diffusion as a stochastic differential equation, forwards and backwards: Song et al. 2021, with Song's names.

The forward process of continuous time is dx = f(t) x dt + g(t) dw, with f the `drift_rate` and g^2 the `diffusion_squared` of a continuous
process. The score, the gradient of log p_t, is all that is missing to run it backwards, and every model says it (`score_function`). Stands
on `lookup` and `parameterization`. Read `likelihood` next, what the same equation without noise tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from minidiff.backend import to_array
from minidiff.diffusion.arrays import all_finite, check_alike, check_batch, check_numbers, fresh_noise, is_tensor
from minidiff.diffusion.gaussians import normal_log_prob, sum_flat
from minidiff.diffusion.lookup import end_of, model_times, signal_and_noise, times_within, to_multiply
from minidiff.diffusion.parameterization import check_prediction_type, weights_of_noise
from minidiff.diffusion.process import Process

__all__ = [
    "SDE", "drift_and_diffusion", "euler_maruyama", "forward_sde", "marginal_prob", "prior_logp", "prior_sampling",
    "probability_flow_velocity", "reverse_drift", "reverse_sde", "score_function",
]


def drift_and_diffusion(process: Process, x: Any, t: Any) -> tuple[Any, Any]:
    """(f(t) x, g(t)) of the forward SDE, which Song's code calls `sde(x, t)`.

        dx = f(t) x dt + g(t) dw                                                                     Song et al. 2021, Eq. 5

    t: a number, or (N,) numbers on the host. Returns the drift like x, and g, a float or (N, 1, ..., 1).
    Raises TypeError for a process without such an equation (a `Schedule` has steps instead), ValueError for a time outside the process, or
    one where f or g is infinite (where alpha is 0, and at sigma = 0 of a few processes).
    """
    f, g_squared = _rates(process, x, t)
    return f * x, g_squared**0.5


def marginal_prob(process: Process, x_start: Any, t: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of p(x_t | x_0): alpha(t) x_0 and sigma(t).                      Song et al. 2021, Eq. 29

    t: a number, or (N,) numbers on the host. Returns the mean like x_start, and sigma, a float or (N, 1, ..., 1). Raises as
    `signal_and_noise`.
    """
    alpha, sigma = signal_and_noise(process, t, like=x_start)
    return alpha * x_start, sigma


def prior_sampling(process: Process, noise: Any, t: float | None = None) -> Any:
    """A draw from the prior N(0, sigma(T)^2 I), where the reverse process begins: sigma(T) noise.

    t: T, where the walk begins; None for the last time of the process. Raises ValueError for a process without a last time (`EDM`: give T).
    For variance preserving processes Song's code has 1 in place of sigma(T), which is sqrt(1 - alpha(T)^2), as good as 1.
    """
    return _prior_std("prior_sampling", process, t) * noise


def prior_logp(process: Process, z: Any, t: float | None = None) -> Any:
    """log N(z; 0, sigma(T)^2 I) in nats, summed over the dimensions: (N,).

    z: (N, ...). t: as in `prior_sampling`, and so are the errors. The true density at T is that of alpha(T) x_0 + sigma(T) eps; the prior
    forgets what is left of the data.
    """
    check_batch("prior_logp", z, "z")
    std = _prior_std("prior_logp", process, t)
    if std == 0:
        raise ValueError(f"prior_logp: at time {t} there is no noise (sigma = 0), and so no density; give a larger time")
    return sum_flat(normal_log_prob(z, 0.0, 2 * math.log(std)))


def _prior_std(where: str, process: Process, t: float | None) -> float:
    t = end_of(where, process, t)
    return float(process.sigma(t))


def _rates(process: Process, x: Any, t: Any) -> tuple[Any, Any]:
    """f(t) and g(t)^2, ready to multiply x."""
    if not hasattr(process, "drift_rate"):
        raise TypeError(
            f"expected a process in continuous time, with drift_rate and diffusion_squared, got a {type(process).__name__}, which has none"
        )
    times = times_within(process, t)
    f, g_squared = process.drift_rate(times), process.diffusion_squared(times)
    infinite = ~(np.isfinite(f) & np.isfinite(g_squared))
    if infinite.any():
        raise ValueError(f"at time {times[infinite].flat[0]} the drift or the diffusion of the SDE is infinite; stay away from the end")
    return to_multiply(f, x), to_multiply(g_squared, x)


# -- backwards -------------------------------------------------------------------------------------------------------


def reverse_drift(process: Process, x: Any, t: Any, score: Any, eta: float = 1.0) -> Any:
    """The drift of the process that runs backwards in time and has the same marginals.

        dx = [f x - (1 + eta^2) / 2 g^2 score] dt + eta g dw,   dt < 0

    eta = 1 is the reverse-time SDE (Anderson 1982; Song et al. 2021, Eq. 6), eta = 0 the probability-flow ODE (Eq. 13); every eta has the
    same marginals, because more noise is answered by more pull towards the data. score: the gradient of log p_t(x), like x.
    Returns an array like x. Raises as `drift_and_diffusion`, and ValueError for a negative eta.
    """
    _check_eta("reverse_drift", eta)
    check_alike("reverse_drift", x=x, score=score)
    f, g_squared = _rates(process, x, t)
    return f * x - (1 + eta * eta) / 2 * g_squared * score


def _check_eta(where: str, eta: float) -> None:
    check_numbers(where, eta=eta)
    if not 0 <= eta < math.inf:
        raise ValueError(f"{where}: expected eta >= 0 (0 the ODE, 1 the SDE), got {eta}")


def probability_flow_velocity(process: Process, x: Any, t: Any, score: Any) -> Any:
    """dx/dt of the probability-flow ODE: f x - g^2 / 2 score.                                       Song et al. 2021, Eq. 13

    Arguments, result and errors as `reverse_drift`, of which it is the case eta = 0.
    """
    return reverse_drift(process, x, t, score, eta=0.0)


def score_function(
    model: Callable[[Any, Any], Any], process: Process, prediction_type: str = "epsilon"
) -> Callable[[Any, Any], Any]:
    """The score of p_t, as a function of (x, t), from a model of any prediction type.

        score = -eps / sigma,   eps = a x + b prediction

    t: a number, or (N,) numbers on the host. Raises ValueError for an unknown prediction_type; the function raises ValueError where alpha
    or sigma is 0 and for a time outside the process, TypeError or ValueError for an answer unlike x,
    FloatingPointError for one with NaN or infinity.
    """
    check_prediction_type("score_function", prediction_type)

    def score(x: Any, t: Any) -> Any:
        check_batch("score_function", x)
        times = times_within(process, t)
        for name, factors in (("alpha", process.alpha(times)), ("sigma", process.sigma(times))):
            if not np.all(factors):
                raise ValueError(f"score_function: {name} is 0 at time {times[factors == 0].flat[0]}, where no score can be had")
        alpha, sigma = signal_and_noise(process, t, like=x)
        output = model(x, model_times(t, x))
        output = output if is_tensor(x) else to_array(output)
        check_alike("score_function", x=x, model_output=output)
        if not all_finite(output):
            raise FloatingPointError(f"score_function: the model returned NaN or infinity at time {t}")
        a, b = weights_of_noise(prediction_type, alpha, sigma)
        return -(a * x + b * output) / sigma

    return score


# -- both directions, step by step -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SDE:
    """dx = drift(x, t) dt + diffusion(t) dw, run forwards in time, or backwards.

    drift: a function of (x, t), like x. diffusion: a function of t, a float >= 0.
    """

    drift: Callable[[Any, float], Any]
    diffusion: Callable[[float], float]
    backwards: bool = False


def forward_sde(process: Process) -> SDE:
    """From data to noise: dx = f x dt + g dw. Song et al. 2021, Eq. 5. Raises as `drift_and_diffusion` where it is run."""
    return SDE(lambda x, t: drift_and_diffusion(process, x, t)[0], lambda t: _diffusion(process, t))


def reverse_sde(
    model: Callable[[Any, Any], Any], process: Process, prediction_type: str = "epsilon", eta: float = 1.0
) -> SDE:
    """From noise to data: `reverse_drift`, and noise eta g. eta = 1 the reverse SDE, 0 the probability-flow ODE.

    Raises as `score_function`, ValueError for a negative eta; where it is run, as `reverse_drift`.
    """
    _check_eta("reverse_sde", eta)
    score = score_function(model, process, prediction_type)
    return SDE(lambda x, t: reverse_drift(process, x, t, score(x, t), eta), lambda t: eta * _diffusion(process, t), backwards=True)


def _diffusion(process: Process, t: float) -> float:
    return float(_rates(process, np.zeros(1), t)[1]) ** 0.5


def euler_maruyama(
    sde: SDE,
    x: Any,
    times: Sequence[float],
    *,
    generator: Any = None,
    noise: Sequence[Any] | None = None,
    denoise: bool = False,
    callback: Callable[[int, float, Any], None] | None = None,
) -> Any:
    """Solve an SDE step by step (Maruyama 1955), from the first to the last of a list of times.

        x_{k+1} = x_k + (t_{k+1} - t_k) drift(x_k, t_k) + sqrt(|t_{k+1} - t_k|) diffusion(t_k) z_k

    The distribution of the end is wrong by O(step) (weak order 1), a single path by O(step) too, because the noise does not depend on x.
    x: (N, ...), at the first time. times: at least two, increasing for a forward SDE, decreasing for a backward one; the end is the last of
    them, and nothing is done to get from there to the data.
    generator: draws z, by its method standard_normal(shape, dtype); or noise: the z_k, each like x, one for each step whose diffusion is
    not 0. denoise: leave the noise of the last step out (x_mean in Song's code); else it is a step like every other.
    callback: called before each step as callback(k, t_k, x_k). Returns an array like x.
    Raises ValueError or TypeError for times in the wrong direction, missing or double noise, a drift that is not like x, a negative
    diffusion, and what drift and diffusion raise.
    """
    if not isinstance(sde, SDE):
        raise TypeError(f"euler_maruyama: expected an SDE, such as forward_sde(process) or reverse_sde(model, process), got {sde!r}")
    check_batch("euler_maruyama", x)
    times = _checked_times(sde, times)
    strengths = [math.sqrt(abs(s - t)) * sde.diffusion(t) for t, s in pairwise(times)]
    for t, strength in zip(times, strengths):
        if not 0 <= strength < math.inf:
            raise ValueError(f"euler_maruyama: expected a diffusion of at least 0, finite, got {sde.diffusion(t)} at time {t:.12g}")
    if denoise:
        strengths[-1] = 0.0
    fresh = fresh_noise("euler_maruyama", x, sum(strength != 0 for strength in strengths), generator, noise)
    for k, ((t, s), strength) in enumerate(zip(pairwise(times), strengths)):
        if callback is not None:
            callback(k, t, x)
        drift = sde.drift(x, t)
        check_alike("euler_maruyama", x=x, drift=drift)
        x = x + (s - t) * drift
        if strength != 0:
            x = x + strength * next(fresh)
    return x


def _checked_times(sde: SDE, times: Any) -> list[float]:
    times = np.asarray(times)
    if times.dtype.kind not in "iuf" or times.ndim != 1 or times.size < 2:
        raise ValueError(f"euler_maruyama: expected a list of at least two times, got {times!r}")
    times = times.astype(np.float64).tolist()
    order = "decreasing" if sde.backwards else "increasing"
    for t, s in pairwise(times):
        if not (s < t if sde.backwards else t < s):
            raise ValueError(f"euler_maruyama: expected strictly {order} times for this SDE, got {t:.12g} before {s:.12g}")
    if not (math.isfinite(times[0]) and math.isfinite(times[-1])):
        raise ValueError(f"euler_maruyama: expected finite times, got {times[0]} ... {times[-1]}")
    return times
