"""The variational bound: how many bits per dimension a model needs, at most, to describe data.

The negative log-likelihood is at most L_T + L_{T-1} + ... + L_0: what is left of the data at the end, a divergence of two
Gaussians for each step, and a decoder for the last. `vb_terms_bpd` is one of them, for training; `calc_bpd_loop` all of them,
for evaluation. Stands on `backward` and `gaussians`. Read `losses` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidiff.backend import to_array
from minidiff.diffusion.arrays import all_finite, check_alike, check_batch, concatenate, fresh_noise, like, mean_flat, where
from minidiff.diffusion.backward import StepBack, p_mean_variance
from minidiff.diffusion.forward import q_sample
from minidiff.diffusion.gaussians import (
    discretized_gaussian_log_likelihood,
    nats_to_bits_per_dim,
    normal_kl,
    normal_log_prob,
    prior_kl,
    sum_flat,
)
from minidiff.diffusion.lookup import check_times, model_times
from minidiff.diffusion.parameterization import convert
from minidiff.diffusion.posterior import q_posterior_mean_variance
from minidiff.diffusion.schedules import Schedule, check_schedule

__all__ = ["DECODERS", "Bound", "calc_bpd_loop", "vb_terms_bpd"]

DECODERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "discretized_gaussian": lambda x, mean, log_variance: discretized_gaussian_log_likelihood(x, mean, log_variance / 2),
    "discretized_gaussian_approximate":
        lambda x, mean, log_variance: discretized_gaussian_log_likelihood(x, mean, log_variance / 2, approximate=True),
    "gaussian": normal_log_prob,
}
"""log p(x_0 | x_1), in nats, elementwise, from x_0, mean and log variance: the mass of an 8-bit grey level's bin, exactly or as in OpenAI's
code (no bin costs more than log 1e12); or a density, for data that is not pixels."""


def vb_terms_bpd(
    schedule: Schedule, model_output: Any, x_start: Any, x_t: Any, t: Any, prediction_type: str = "epsilon",
    variance_type: str = "fixed_small", *, clip_denoised: bool = False, min_variance: float | None = None,
    decoder: str = "discretized_gaussian",
) -> Any:
    """The term of the variational bound that belongs to time t, of each of the batch, in bits per dimension.

        t > 0:  L_t = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))                    Ho et al. 2020, Eq. 5 (their L_{t-1})
        t = 0:  L_0 = -log p(x_0 | x_t)

    model_output: what the model said about x_t, with twice its channels if the variance is learned. x_start, x_t: (N, C, ...), alike. t: an
    int, or (N,) host integers, in [0, T). decoder: one of DECODERS. prediction_type, variance_type, clip_denoised, min_variance: as in
    `p_mean_variance`. min_variance matters at t = 0 alone, and much: diffusers' 1e-20 makes every pixel free that is predicted to within
    half a grey level, and every other one as dear as the decoder can make it; OpenAI's, the variance of t = 1, asks 1.3 bits even for
    perfectly predicted pixels under the schedule of Ho et al.
    Returns (N,). Raises ValueError for an unknown decoder; otherwise as `p_mean_variance`.
    """
    step = p_mean_variance(schedule, model_output, x_t, t, prediction_type, variance_type, clip_denoised=clip_denoised,
                           min_variance=min_variance)
    return _term("vb_terms_bpd", schedule, step, x_start, x_t, t, min_variance, decoder)


def _term(
    place: str, schedule: Schedule, step: StepBack, x_start: Any, x_t: Any, t: Any, min_variance: float | None, decoder: str
) -> Any:
    if decoder not in DECODERS:
        raise ValueError(f"{place}: unknown decoder {decoder!r}; choose from {', '.join(DECODERS)}")
    check_alike(place, x_t=x_t, x_start=x_start)
    last = np.equal(check_times(t, schedule.num_train_timesteps), 0)
    dimensions = math.prod(x_start.shape[1:])
    divergence = reconstruction = None
    if not last.all():
        mean, _, log_variance = q_posterior_mean_variance(schedule, x_start, x_t, t, min_variance)
        divergence = nats_to_bits_per_dim(sum_flat(normal_kl(mean, log_variance, step.mean, step.log_variance)), dimensions)
    if last.any():
        reconstruction = nats_to_bits_per_dim(-sum_flat(DECODERS[decoder](x_start, step.mean, step.log_variance)), dimensions)
    if divergence is None or reconstruction is None:
        return reconstruction if divergence is None else divergence
    return where(like(last, x_start) > 0, reconstruction, divergence)


class Bound(NamedTuple):
    """The variational bound of each of a batch, in bits per dimension, and what it is made of; names as in OpenAI's code."""

    total_bpd: Any
    """(N,): the prior's term and all of vb."""
    prior_bpd: Any
    """(N,): L_T, of which a model knows nothing."""
    vb: Any
    """(N, T): the terms of `vb_terms_bpd`, column t that of time t."""
    xstart_mse: Any
    """(N, T): mean squared errors of the predicted x_0."""
    mse: Any
    """(N, T): mean squared errors of the eps that goes with it."""


def calc_bpd_loop(
    model: Callable[[Any, Any], Any], schedule: Schedule, x_start: Any, *, generator: Any = None, noise: Sequence[Any] | None = None,
    prediction_type: str = "epsilon", variance_type: str = "fixed_small", clip_denoised: bool = False, min_variance: float | None = None,
    decoder: str = "discretized_gaussian",
) -> Bound:
    """The whole variational bound, one draw of x_t for each time: an unbiased estimate, in bits per dimension.

        -log p(x_0) <= KL(q(x_T | x_0) || N(0, I)) + sum_t E KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) - E log p(x_0 | x_1)

    model: as for `sample`; it is called T times. x_start: (N, C, ...); pixels as k / 127.5 - 1 for the discretized decoders.
    generator: draws the noise, by its method standard_normal(shape, dtype), from the last time to the first; or
    noise: T arrays like x_start, noise[t] of time t.
    The other arguments are those of `vb_terms_bpd`; OpenAI's code clips (clip_denoised=True). The bound for fewer steps is that of
    `respace(schedule, times)`, with a model that is told the times of the full schedule.
    Returns a `Bound` of plain arrays: evaluate networks of minidiff under `no_grad`.
    Raises ValueError for missing or double noise, FloatingPointError for a model that returns NaN or infinity; otherwise as `vb_terms_bpd`.
    """
    check_schedule("calc_bpd_loop", schedule)
    check_batch("calc_bpd_loop", x_start, "x_start", of_something=0 in getattr(x_start, "shape", ())[1:])
    T, columns = schedule.num_train_timesteps, []
    fresh = fresh_noise("calc_bpd_loop", x_start, T, generator, list(reversed(noise)) if hasattr(noise, "__len__") else noise)
    for t, eps in zip(reversed(range(T)), fresh):
        x_t = q_sample(schedule, x_start, t, eps)
        output = model(x_t, model_times(t, x_t))
        step = p_mean_variance(schedule, output, x_t, t, prediction_type, variance_type,
                               clip_denoised=clip_denoised, min_variance=min_variance)
        if not all_finite(output):
            raise FloatingPointError(f"calc_bpd_loop: at time {t} the model returned NaN or infinity")
        predicted_eps = convert(step.pred_xstart, x_t, schedule, t, "sample", "epsilon")
        columns.append([
            _term("calc_bpd_loop", schedule, step, x_start, x_t, t, min_variance, decoder),
            mean_flat((step.pred_xstart - x_start) * (step.pred_xstart - x_start)),
            mean_flat((predicted_eps - eps) * (predicted_eps - eps)),
        ])
    vb, xstart_mse, mse = (concatenate([c.reshape(-1, 1) for c in kind], axis=1) for kind in zip(*reversed(columns)))
    prior = to_array(nats_to_bits_per_dim(prior_kl(schedule, x_start), math.prod(x_start.shape[1:])))
    return Bound(vb.sum(axis=1) + prior, prior, vb, xstart_mse, mse)
