"""Samplers: from noise back to data, by a walk through a list of times.

DDPM and DDIM are one family. Both predict (x_0, eps) from x_t, then put x_0 and eps together again at the previous
time, with a part of eps replaced by fresh noise; eta says how large a part. The walk visits any strictly decreasing
list of times. "Previous" always means the next entry of that list, and after the last entry it means the data itself,
abar = 1. Stands on `spacing` and `parameterization`. Read `guidance` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff.backend import to_array
from minidiff.diffusion.lookup import check_alike, extract
from minidiff.diffusion.losses import Model
from minidiff.diffusion.parameterization import check_prediction_type, predict_noise_from_start, predict_start_and_noise
from minidiff.diffusion.schedules import Schedule
from minidiff.diffusion.spacing import check_timesteps, respace

VARIANCE_TYPES = ("fixed_small", "fixed_large")
"""Values of `variance_type`, diffusers' names: the posterior's variance beta~, or the step's own beta."""


@dataclass(frozen=True)
class Ancestral:
    """The samplers that go from (x_0, eps) at time t to the previous time s with fresh noise of variance sigma^2.

        x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s - sigma^2) eps + sigma z                     Song et al. 2021, Eq. 12
        sigma = eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)               Song et al. 2021, Eq. 16

    For every eta the marginals q(x_s | x_0) are those of the forward process. eta = 0 adds no noise (DDIM): the same
    x_T gives the same image. eta = 1 is the forward process posterior of the visited times, so DDPM's ancestral step
    (Ho et al. 2020, Algorithm 2), in which sigma^2 = beta~. variance_type "fixed_large" keeps the mean of eta = 1 and
    adds noise of the step's own variance 1 - abar_t / abar_s (Ho et al.'s other choice; sigma-hat in Song et al.,
    Section 5), except at the last step, which adds none.

    eta: in [0, 1]. Raises ValueError for another eta, an unknown variance_type, or "fixed_large" with eta other than 1.
    """

    eta: float
    variance_type: str = "fixed_small"

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"Ancestral: expected eta between 0 (DDIM) and 1 (DDPM), got {self.eta}")
        if self.variance_type not in VARIANCE_TYPES:
            raise ValueError(
                f"Ancestral: unknown variance_type {self.variance_type!r}; choose from {', '.join(VARIANCE_TYPES)}"
            )
        if self.variance_type == "fixed_large" and self.eta != 1:
            raise ValueError(f"Ancestral: variance_type 'fixed_large' belongs to DDPM, eta = 1; got eta = {self.eta}")

    def sigma(self, chain: Schedule) -> np.ndarray:
        """The standard deviation of the fresh noise at each step of a respaced schedule: (S,) float64, 0 at step 0."""
        if self.variance_type == "fixed_large":
            return np.append(0.0, chain.sqrt_betas[1:])  # z = 0 at the last step of the walk
        return self.eta * np.sqrt(chain.posterior_variance)

    def direction(self, chain: Schedule) -> np.ndarray:
        """The factor of eps, sqrt(1 - abar_s - eta^2 beta~), at each step of a respaced schedule: (S,) float64."""
        before, after = chain.one_minus_alphas_cumprod_prev, chain.one_minus_alphas_cumprod
        # 1 - abar_t = alpha (1 - abar_s) + beta makes the difference a sum of positive terms, which keeps its digits.
        return np.sqrt(before * (chain.alphas * before + (1 - self.eta**2) * chain.betas) / after)

    def step(self, chain: Schedule, k: int, x_start: Any, epsilon: Any, noise: Any) -> Any:
        """One step: x at the previous entry of the chain, from the predicted x_0 and eps at its entry k.

        chain: the (respaced) schedule of the walk. k: an int in [0, S). x_start, epsilon: (N, ...). noise: like
        x_start, N(0, I); None where sigma is 0, which is at k = 0 (there the result is x_start) and for eta = 0.
        Returns an array like x_start.
        """
        x = (extract(chain.sqrt_alphas_cumprod_prev, k, like=x_start) * x_start
             + extract(self.direction(chain), k, like=x_start) * epsilon)
        return x if noise is None else x + extract(self.sigma(chain), k, like=x_start) * noise


#                      eta    noise                              the member
DDPM = Ancestral(eta=1.0)                                      # Ho et al. 2020, Algorithm 2, sigma^2 = beta~
DDPM_LARGE = Ancestral(eta=1.0, variance_type="fixed_large")   # the same with sigma^2 = beta
DDIM = Ancestral(eta=0.0)                                      # Song et al. 2021, Eq. 12: deterministic


def sample(
    model: Model,
    schedule: Schedule,
    x: Any,
    timesteps: Sequence[int] | np.ndarray,
    sampler: Ancestral = DDPM,
    *,
    generator: Any = None,
    noise: Sequence[Any] | None = None,
    prediction_type: str = "epsilon",
    clip_denoised: bool = False,
    callback: Callable[[int, int, Any, Any], None] | None = None,
) -> Any:
    """Walk from noise to data.

    model: called at every step with x_t and the time, (N,) int64 on the host; answers in the manner of prediction_type
        ("epsilon", "sample", "v_prediction"), an array or Tensor like x_t. (With Tensors, call under `no_grad`.)
    x: (N, ...), floats: where the walk begins, N(0, I) for new data. It is not written to.
    timesteps: S times, strictly decreasing, in [0, T), for example from `spacing.timesteps`.
    sampler: DDPM, DDPM_LARGE, DDIM or another Ancestral.
    generator: draws the fresh noise, by its method standard_normal(shape, dtype); or
    noise: the S - 1 arrays of fresh noise themselves, each like x, in the order of the walk. A sampler with eta = 0
        needs neither, nor does the last step of any.
    clip_denoised: clip every predicted x_0 to [-1, 1], the range of images. eps is then computed again from the clipped
        x_0, so that both still agree with x_t (so does GLIDE; diffusers' DDIM keeps the old eps unless told otherwise).
        Only then is the step of eta = 1 DDPM's posterior of the clipped x_0.
    callback: called after each prediction as callback(i, t, x_t, x_start), i = 0 ... S-1 counting the steps.

    Returns x_0, like x. The time of a step is an entry of `timesteps`, and the formulas of the step are those of the
    process that visits only these times (`spacing.respace`).
    Raises, before the first step, ValueError or TypeError for a bad list of times, x or noise of a wrong shape or
    dtype, an unknown prediction_type, missing or double noise; at a step, ValueError, TypeError or FloatingPointError,
    with the step and its time, for a model that answers with another shape, another dtype, or NaN or infinity.
    """
    times = check_timesteps(timesteps, schedule.num_train_timesteps)
    check_prediction_type("sample", prediction_type)
    x = to_array(x)
    _check_start(x)
    fresh_noise = _noise_source(x, len(times) - 1 if sampler.eta > 0 else 0, generator, noise)
    chain = respace(schedule, times)

    for i, t in enumerate(times.tolist()):
        k = len(times) - 1 - i  # the place of t in the chain
        output = to_array(model(x, np.full(x.shape[0], t, dtype=np.int64)))
        _check_output(output, x, i, t)
        x_start, epsilon = predict_start_and_noise(chain, prediction_type, output, x, k)
        if clip_denoised:
            x_start = x_start.clip(-1, 1)
            epsilon = predict_noise_from_start(chain, x, k, x_start)
        if callback is not None:
            callback(i, t, x, x_start)
        x = sampler.step(chain, k, x_start, epsilon, next(fresh_noise) if sampler.eta > 0 and k > 0 else None)
    return x


def _check_start(x: Any) -> None:
    if len(getattr(x, "shape", ())) == 0:
        raise ValueError(f"sample: expected x of shape (N, ...), got {x!r}")
    if getattr(x.dtype, "kind", "f") != "f":
        raise TypeError(f"sample: expected x to be floating-point noise, got dtype {x.dtype}")


def _noise_source(x: Any, needed: int, generator: Any, noise: Sequence[Any] | None) -> Iterator[Any]:
    """The fresh noise, one array a step, from the one source that was given."""
    if noise is None:
        if generator is None and needed > 0:
            raise ValueError(
                f"sample: eta > 0 adds fresh noise at {needed} steps; give a generator, or the arrays as noise"
            )
        return _drawn(x, generator)
    if generator is not None:
        raise ValueError("sample: expected either a generator or noise, got both")
    if len(noise) != needed:
        raise ValueError(
            f"sample: expected {needed} arrays of noise, one for each step but the last (none for eta = 0), "
            f"got {len(noise)}"
        )
    for one in noise:
        check_alike("sample", x=x, noise=to_array(one))
    return (to_array(one) for one in noise)


def _drawn(x: Any, generator: Any) -> Iterator[Any]:
    while True:
        noise = generator.standard_normal(x.shape, x.dtype)
        check_alike("sample", x=x, noise=noise)
        yield noise


def _check_output(output: Any, x: Any, i: int, t: int) -> None:
    where = f"sample: step {i} (time {t})"
    check_alike(where, x=x, model_output=output)
    if not bool((abs(output) < math.inf).all()):  # false for NaN too
        raise FloatingPointError(f"{where}: the model returned NaN or infinity; the samples of this walk are lost")
