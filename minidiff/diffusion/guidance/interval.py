"""Guidance in an interval: only where there is neither too much nor too little noise.

In the strongest noise guidance throws away variety, in the weakest it does nothing, and both cost a call of the model. Stands
on `process`. Read `editing` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.backend import to_numpy
from minidiff.diffusion.arrays import check_batch, check_numbers, column
from minidiff.diffusion.lookup import times_within
from minidiff.diffusion.process import Process
from minidiff.diffusion.samplers.walk import Model

__all__ = ["guidance_interval"]


def guidance_interval(guided: Model, unguided: Model, process: Process, sigma_low: float, sigma_high: float) -> Model:
    """A model that is guided in an interval of noise levels, and elsewhere not.

        guided   where sigma_low < sigma(t) / alpha(t) <= sigma_high                     Kynkaanniemi et al. 2024, Section 3
        unguided elsewhere

    guided: a model with any guidance; unguided: the plain conditional one, `lambda x, t: model(x, t, context)`. Only the one that is
    needed is called; for a batch whose times lie on both sides of an end, both. process: the models' own. sigma_low, sigma_high: in
    units of the data, sigma / alpha, the sigma of EDM, for every process; 0 and infinity guide everywhere.
    Raises ValueError unless 0 <= sigma_low < sigma_high.
    """
    check_numbers("guidance_interval", sigma_low=sigma_low, sigma_high=sigma_high)
    if not 0 <= sigma_low < sigma_high:
        raise ValueError(f"guidance_interval: expected 0 <= sigma_low < sigma_high, got {sigma_low} and {sigma_high}")

    def chosen(x: Any, t: Any) -> Model:
        check_batch("guidance_interval", x)
        t = times_within(process, to_numpy(t))
        if t.ndim and t.shape != tuple(x.shape[:1]):
            raise ValueError(f"guidance_interval: expected one time for each of a batch of {x.shape[0]}, got shape {t.shape}")
        with np.errstate(divide="ignore"):  # pure noise has an infinite sigma, which lies below an infinite sigma_high
            noise = np.divide(process.sigma(t), process.alpha(t))
        inside = np.broadcast_to((sigma_low < noise) & (noise <= sigma_high), x.shape[:1])
        if inside.all():
            return guided
        if not inside.any():
            return unguided
        share = column(inside.astype(np.float64), x)
        return lambda x, t: share * guided(x, t) + (1 - share) * unguided(x, t)

    return lambda x, t: chosen(x, t)(x, t)
