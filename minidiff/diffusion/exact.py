"""Data so simple that the perfect model is known: an oracle for samplers, with no network.

For Gaussian data every q(x_t) is Gaussian, and for a mixture of Gaussians a mixture, so that E[x_0 | x_t] and E[eps |
x_t], which a network learns to approximate, have closed forms. A sampler fed with them has to produce the data's
distribution; what it does not is the sampler's own error. Stands on `schedules` and `lookup`. This is the last file of
the room.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import array_module, asarray, device_of
from minidiff.diffusion.lookup import extract
from minidiff.diffusion.losses import Model
from minidiff.diffusion.schedules import Schedule


def gaussian_marginal(schedule: Schedule, mean: Any, std: float, t: int) -> tuple[Any, float]:
    """Mean and variance of x_t when x_0 ~ N(mean, std^2 I).

        E x_t = sqrt(abar_t) mean,    Var x_t = abar_t std^2 + 1 - abar_t

    mean: a number or an array. std: >= 0. t: an int in [0, T). Returns (mean, variance). Raises ValueError for a time
    outside the schedule.
    """
    return (extract(schedule.sqrt_alphas_cumprod, t, like=mean) * mean,
            extract(schedule.alphas_cumprod, t, like=mean) * std**2
            + extract(schedule.one_minus_alphas_cumprod, t, like=mean))


def gaussian_denoiser(schedule: Schedule, mean: Any, std: float) -> Model:
    """The perfect model of prediction_type "sample" for data x_0 ~ N(mean, std^2 I).

        E[x_0 | x_t] = mean + sqrt(abar_t) std^2 / (abar_t std^2 + 1 - abar_t) (x_t - sqrt(abar_t) mean)

    mean: a number, or an array that broadcasts to x. std: >= 0 (0: all data is `mean`). Returns a model (x, t) -> array
    like x.
    """
    gain = schedule.sqrt_alphas_cumprod * std**2 / (
        schedule.alphas_cumprod * std**2 + schedule.one_minus_alphas_cumprod)

    def model(x: Any, t: Any) -> Any:
        return mean + extract(gain, t, like=x) * (x - extract(schedule.sqrt_alphas_cumprod, t, like=x) * mean)

    return model


def gaussian_epsilon(schedule: Schedule, mean: Any, std: float) -> Model:
    """The perfect model of prediction_type "epsilon" for data x_0 ~ N(mean, std^2 I).

        E[eps | x_t] = sqrt(1 - abar_t) / (abar_t std^2 + 1 - abar_t) (x_t - sqrt(abar_t) mean)

    and so sqrt(1 - abar_t) x_t for standard normal data. mean: a number, or an array that broadcasts to x. std: >= 0.
    Returns a model (x, t) -> array like x.
    """
    gain = schedule.sqrt_one_minus_alphas_cumprod / (
        schedule.alphas_cumprod * std**2 + schedule.one_minus_alphas_cumprod)

    def model(x: Any, t: Any) -> Any:
        return extract(gain, t, like=x) * (x - extract(schedule.sqrt_alphas_cumprod, t, like=x) * mean)

    return model


def mixture_epsilon(schedule: Schedule, weights: Any, means: Any, stds: Any) -> Model:
    """The perfect model of prediction_type "epsilon" for data from a mixture of K Gaussians, sum_k w_k N(m_k, s_k^2 I).

        v_k = abar_t s_k^2 + 1 - abar_t
        r_k = w_k N(x_t; sqrt(abar_t) m_k, v_k I) / sum_j w_j N(x_t; sqrt(abar_t) m_j, v_j I)
        E[eps | x_t] = sqrt(1 - abar_t) sum_k r_k (x_t - sqrt(abar_t) m_k) / v_k

    that is -sqrt(1 - abar_t) times the score of q(x_t). weights: (K,), positive, summing to 1. means: (K, ...), the
    shape of one x after K.
    stds: (K,), >= 0. Returns a model (x, t) -> array like x; it computes in float64 and uses N K D numbers of memory
    for x of N times D.
    Raises ValueError if the three do not belong together or the weights are not such.
    """
    weights, means, stds = (np.asarray(values, dtype=np.float64) for values in (weights, means, stds))
    count = len(weights) if weights.ndim == 1 else 0
    if count == 0 or means.shape[:1] != (count,) or stds.shape != (count,):
        raise ValueError(
            "mixture_epsilon: expected weights (K,), means (K, ...) and stds (K,), got shapes "
            f"{weights.shape}, {means.shape}, {stds.shape}"
        )
    if not (weights > 0).all() or abs(weights.sum() - 1) > 1e-9:
        raise ValueError(f"mixture_epsilon: expected positive weights that sum to 1, got {weights.tolist()}")

    def model(x: Any, t: Any) -> Any:
        if tuple(x.shape[1:]) != means.shape[1:]:
            raise ValueError(f"mixture_epsilon: the data has shape {means.shape[1:]}, got x of shape {tuple(x.shape)}")
        xp = array_module(x)
        rows = x.astype(np.float64).reshape(x.shape[0], 1, -1)                             # (N, 1, D)
        centers = asarray(means.reshape(1, count, -1), device_of(x))                       # (1, K, D)
        variances = asarray(stds.reshape(1, count, 1) ** 2, device_of(x))                  # (1, K, 1)
        log_weights = asarray(np.log(weights).reshape(1, count, 1), device_of(x))

        v = (extract(schedule.alphas_cumprod, t, like=rows) * variances
             + extract(schedule.one_minus_alphas_cumprod, t, like=rows))
        offset = rows - extract(schedule.sqrt_alphas_cumprod, t, like=rows) * centers      # (N, K, D)
        dimensions = rows.shape[2]
        log_r = (log_weights - dimensions / 2 * xp.log(v)
                 - (offset * offset).sum(axis=2, keepdims=True) / (2 * v))                 # (N, K, 1)
        r = xp.exp(log_r - log_r.max(axis=1, keepdims=True))
        r = r / r.sum(axis=1, keepdims=True)
        epsilon = (extract(schedule.sqrt_one_minus_alphas_cumprod, t, like=rows)
                   * (r * offset / v).sum(axis=1, keepdims=True))
        return epsilon.reshape(x.shape).astype(x.dtype)

    return model
