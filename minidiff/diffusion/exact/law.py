"""The exact law of what a sampler gives, without drawing: for Gaussian data every sampler is an affine map of its noise.

With the perfect model of Gaussian data a prediction is an affine function of x, and a sampler's steps are linear, so its
output is c + a_0 z_0 + a_1 z_1 + ... with standard normal z. One batch, a row for each z, measures all factors; the
output is Gaussian with mean c and variance a_0^2 + a_1^2 + .... Stands on `gaussian` and `samplers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidiff.diffusion.exact.gaussian import Gaussian
from minidiff.diffusion.process import Process, path
from minidiff.diffusion.samplers import Sampler, sample
from minidiff.diffusion.samplers.plan import plan_of

__all__ = ["sampler_law", "wasserstein"]


def sampler_law(sampler: Sampler, process: Process, times: Sequence[float], data: Gaussian) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a sampler's output, per coordinate, if it begins at the true q(x) of the first time.

    times, process: as `samplers.sample` takes them. data: (D,) means and stds. Returns two (D,) arrays, exact but for rounding.
    Takes (draws + 2)^2 D numbers of memory, where draws is how often the sampler draws noise.
    Raises TypeError for data that is not Gaussian, and as `sample`.
    """
    if not isinstance(data, Gaussian):
        raise TypeError(f"sampler_law: expected Gaussian data, of which alone every sampler is an affine map, got {data!r}")
    mean, std = (np.broadcast_to(value, np.broadcast_shapes(data.mean.shape, data.std.shape, (1,))) for value in (data.mean, data.std))
    walk = path(process, times)
    _, alpha, sigma = walk.levels[0]
    draws = plan_of("sampler_law", sampler, walk).draws
    x = np.tile(alpha * mean, (draws + 2, 1))                       # row 0: no noise at all
    x[1] += np.sqrt(alpha**2 * std**2 + sigma**2)                   # row 1: one standard deviation away at the start
    noise = [np.zeros_like(x) for _ in range(draws)]
    for j, one in enumerate(noise):
        one[2 + j] = 1                                              # row 2 + j: 1 in the j-th noise
    rows = sample(data.model(process, "sample"), process, x, times, sampler, noise=noise, prediction_type="sample")
    return rows[0], np.sqrt(((rows[1:] - rows[0]) ** 2).sum(axis=0))


def wasserstein(mean: np.ndarray, std: np.ndarray, data: Gaussian) -> float:
    """The 2-Wasserstein distance between N(mean, diag(std^2)) and Gaussian data, per coordinate (root mean square).

        W_2^2 = |mean - mean'|^2 + |std - std'|^2                              Dowson & Landau 1982
    """
    return float(np.sqrt(np.mean((mean - data.mean) ** 2 + (std - data.std) ** 2)))
