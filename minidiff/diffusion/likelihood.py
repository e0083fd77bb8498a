"""How probable the model finds an image: log p(x) along the probability-flow ODE, and bits per dimension.

The flow carries data to noise one to one, so the density of the data is that of its latent times the change of volume on the way: the
divergence of the velocity, summed up. Stands on `samplers.adaptive`, `sde` and `minidiff.autograd`. Read `guidance` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidiff import autograd
from minidiff.backend import is_foreign, to_numpy
from minidiff.diffusion.arrays import check_alike, check_batch, check_counts, check_generator, check_numbers
from minidiff.diffusion.gaussians import nats_to_bits_per_dim
from minidiff.diffusion.process import Process
from minidiff.diffusion.samplers.adaptive import AngularFlow, beside, check_flow, integrate
from minidiff.diffusion.sde import prior_logp

__all__ = ["PROBES", "Likelihood", "bits_per_dim", "divergence", "hutchinson_probes", "log_likelihood", "uniform_dequantization"]

PROBES = ("rademacher", "gaussian")
"""What random vectors Hutchinson's estimator may use."""


class Likelihood(NamedTuple):
    """log p(x) in nats, (N,) float64 on the host; the latent at the noisy end, like x; how many times the model was asked."""

    log_prob: np.ndarray
    latent: Any
    calls: int


def log_likelihood(
    model: Callable[[Any, Any], Any],
    process: Process,
    x: Any,
    start: float,
    end: float,
    *,
    probes: Sequence[Any] | None = None,
    prior: Callable[[Any], Any] | None = None,
    vjp: Callable[..., tuple[Any, Any]] | None = None,
    prediction_type: str = "epsilon",
    method: str = "RK45",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_calls: int = 10_000,
) -> Likelihood:
    """log p(x) by the instantaneous change of variables (Chen et al. 2018, Theorem 1; Song et al. 2021, Eq. 39).

        d log p / dphi = -div u along dy / dphi = u(y, phi),   y = x / r,   r = sqrt(alpha^2 + sigma^2)
        log p_start(x) = log prior(x_end) + D log(r_end / r_start) + the integral of div u from start to end

    in the coordinate of `AngularFlow`; the middle term is the volume between x and y. The flow is encoded and its divergence summed up in
    one adaptive solution.
    x: (N, ...), floats of any library, data at the time `start`. start, end: times, start < end; end where the prior takes over.
        p_start is the density of alpha x_0 + sigma eps at `start`, not of x_0. Where data has a density that is smooth on the scale of
        sigma the two differ by O(sigma^2); for data on a surface of d < D dimensions (or a list of points: images that were not
        dequantized) log p_start grows like -(D - d) log sigma without bound, and says more about `start` than about the model.
    probes: arrays like x for Hutchinson's estimator, see `hutchinson_probes`, kept along the whole way so that the solver sees an ODE; None
        for the exact divergence, at the price of D rows of the batch for each sample.
    prior: log density of the latent, a function of an array like x giving (N,); None for `prior_logp` at `end`.
    vjp: vjp(function, x, v) -> (function(x), v^T J), as `torch.autograd.functional.vjp` does; None for minidiff's own, for which the model
        must take and return Tensors. Not to be left out for the arrays of other libraries.
    prediction_type, method, rtol, atol, max_calls, and how the model is called: see `probability_flow`. The model's answer for one sample
        must not depend on the others.

    Returns Likelihood(log_prob, latent, calls). With random probes log_prob is random and its mean is right (but for the solver's error).
    Raises as `probability_flow`, and ValueError for start >= end; TypeError for another library's arrays without a vjp.
    """
    start, end = check_flow("log_likelihood", process, x, start, end, prediction_type)
    if start > end:
        raise ValueError(f"log_likelihood: expected start, the time of the data, before end, that of the noise; got {start} and {end}")
    if vjp is None and is_foreign(x):
        raise TypeError(f"log_likelihood: x is a {type(x).__module__}.{type(x).__name__}; give the vjp of its library")
    _check_probes("log_likelihood", x, probes)
    flow = AngularFlow(model, process, prediction_type)
    first, last = process.level(start), process.level(end)
    log_growth = math.log(math.hypot(last.alpha, last.sigma) / math.hypot(first.alpha, first.sigma))
    count, dimensions = x.shape[0], math.prod(x.shape[1:])

    def derivative(angle: float, state: np.ndarray) -> np.ndarray:
        level = flow.level(angle)
        y = beside(state[:-count].reshape(x.shape), x)
        velocity, change = divergence(lambda y: flow.velocity(y, level), y, probes, vjp)
        return np.append(velocity, change)

    state = np.append(to_numpy(x).astype(np.float64).ravel() / math.hypot(first.alpha, first.sigma), np.zeros(count))
    state, calls = integrate(derivative, state, flow.angle(start), flow.angle(end), method, rtol, atol, max_calls)
    latent = math.hypot(last.alpha, last.sigma) * state[:-count].reshape(x.shape)
    log_prior = prior_logp(process, latent, end) if prior is None else np.asarray(to_numpy(prior(beside(latent, x))), dtype=np.float64)
    if log_prior.shape != (count,):
        raise ValueError(f"log_likelihood: expected prior to return one number for each of the batch, ({count},), got {log_prior.shape}")
    return Likelihood(log_prior + dimensions * log_growth + state[-count:], beside(latent, x), calls)


def divergence(
    function: Callable[[Any], Any], x: Any, probes: Sequence[Any] | None = None, vjp: Callable[..., tuple[Any, Any]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The divergence of a function, the trace of its Jacobian J: for each of the batch, without making J.

        div = the sum over coordinates i of e_i^T J e_i        exactly, with the unit vectors e_i
        div = E[z^T J z],  E[z z^T] = I                        Hutchinson 1990, Skilling 1989: the mean over probes z

    function: from arrays like x to arrays like x, one row of the batch independent of the others. x: (N, ...). probes, vjp: as in
    `log_likelihood`. All vectors go through one call, as a batch of N times as many rows.
    Returns (function(x), div), (N, ...) and (N,), on the host, the second in float64. Raises ValueError or TypeError for x that is no
    batch, probes that are not like x, and an answer that is not.
    """
    check_batch("divergence", x)
    _check_probes("divergence", x, probes)
    count, dimensions = x.shape[0], math.prod(x.shape[1:])
    if probes is None:
        vectors = np.repeat(np.eye(dimensions), count, axis=0)
    else:
        vectors = np.concatenate([to_numpy(probe).reshape(count, dimensions) for probe in probes])
    copies = dimensions if probes is None else len(probes)
    many = beside(np.tile(to_numpy(x).reshape(count, dimensions), (copies, 1)).reshape(-1, *x.shape[1:]), x)

    def checked(many: Any) -> Any:
        values = function(many)
        check_alike("divergence", x=many, its_answer=values)
        return values

    values, products = (vjp or autograd.vjp)(checked, many, beside(vectors.reshape(many.shape), x))
    sums = (to_numpy(products).reshape(vectors.shape) * vectors).sum(axis=1, dtype=np.float64).reshape(copies, count)
    return to_numpy(values)[:count], sums.sum(axis=0) if probes is None else sums.mean(axis=0)


def _check_probes(where: str, x: Any, probes: Sequence[Any] | None) -> None:
    if probes is not None and len(probes) == 0:
        raise ValueError(f"{where}: expected at least one probe, or None for the exact divergence, got none")
    for probe in () if probes is None else probes:
        check_alike(where, x=x, probe=probe)


def hutchinson_probes(x: Any, count: int, generator: Any, kind: str = "rademacher") -> list[Any]:
    """Random vectors with E[z z^T] = I: `count` arrays like x.

    kind: "rademacher", +1 or -1 with equal probability: the diagonal of J is seen without error, and the variance of z^T J z, for symmetric
    J, is 2 (sum of the squares of the other elements), the least that is possible; or "gaussian", standard normal: 2 (sum of all squares).
    generator: has integers(low, high, size) or standard_normal(size, dtype). Raises ValueError for another kind or a count below 1.
    """
    if kind not in PROBES:
        raise ValueError(f"hutchinson_probes: unknown kind {kind!r}; choose from {', '.join(PROBES)}")
    check_batch("hutchinson_probes", x)
    check_counts("hutchinson_probes", count=count)
    check_generator("hutchinson_probes", generator, "integers" if kind == "rademacher" else "standard_normal")
    shape = tuple(x.shape)
    if kind == "rademacher":
        return [beside(2.0 * to_numpy(generator.integers(0, 2, shape)) - 1, x) for _ in range(count)]
    return [beside(to_numpy(generator.standard_normal(shape, "float64")), x) for _ in range(count)]


# -- images of 8 bits ------------------------------------------------------------------------------------------------


def uniform_dequantization(images: Any, noise: Any) -> Any:
    """Integers 0 ... 255 spread evenly over the intervals they stand for, scaled to [-1, 1).

        x = 2 (k + u) / 256 - 1,   u ~ U[0, 1)                                       Uria et al. 2013; Theis et al. 2016

    The mean over u of a density's log p(x) + D log(2 / 256) is a lower bound of the log-probability of the integers.
    images: (N, ...), integers in [0, 255] on the host. noise: u, floats of the same shape, of any library. Returns an array like noise.
    Raises TypeError for images that are not integers, ValueError for values out of range or another shape.
    """
    check_batch("uniform_dequantization", noise, "noise")
    images, drawn = np.asarray(to_numpy(images)), to_numpy(noise)
    if images.dtype.kind not in "iu":
        raise TypeError(f"uniform_dequantization: expected integers 0 ... 255, got dtype {images.dtype}")
    if images.shape != drawn.shape:
        raise ValueError(f"uniform_dequantization: expected noise of the shape of the images, {images.shape}, got {drawn.shape}")
    if images.size and not (0 <= images.min() and images.max() <= 255):
        raise ValueError(f"uniform_dequantization: expected integers 0 ... 255, got {images.min()} ... {images.max()}")
    if not ((drawn >= 0) & (drawn < 1)).all():
        raise ValueError("uniform_dequantization: expected noise in [0, 1)")
    return (beside(images, noise) + noise) / 128 - 1


def bits_per_dim(log_prob: Any, dimensions: int, width: float = 2 / 256) -> Any:
    """The negative log-likelihood of integer data in bits for each dimension.

        -log_prob / (D log 2) - log2(width)

    because an integer stands for an interval of this width in x: probability = density times width. For 256 levels over [-1, 1] the width
    is 2 / 256 and the second term 7 bits; over [0, 1] it is 1 / 256 and 8 bits; width = 1 leaves the density as it is.
    log_prob: in nats, summed over the D dimensions. dimensions: D, channels times height times width. Raises ValueError for a D below 1, a
    width <= 0.
    """
    check_counts("bits_per_dim", dimensions=dimensions)
    check_numbers("bits_per_dim", width=width)
    if not 0 < width < math.inf:
        raise ValueError(f"bits_per_dim: expected width > 0, got {width}")
    return nats_to_bits_per_dim(-log_prob, dimensions) - math.log2(width)
