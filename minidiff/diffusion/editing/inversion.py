"""Inversion: the noise from which DDIM would make given data; with another condition on the way back, a counterfactual.

DDIM is a discretized differential equation, and an equation can be solved in both directions. Stands on `samplers`. Read `exact` next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minidiff.diffusion.arrays import apply, check_counts, mean_flat
from minidiff.diffusion.process import Path, Process
from minidiff.diffusion.samplers.ancestral import DDIM
from minidiff.diffusion.samplers.plan import Move, Plan, Row
from minidiff.diffusion.samplers.walk import Model, sample

__all__ = ["Inversion", "counterfactual", "ddim_inversion", "reconstruction_error"]


@dataclass(frozen=True)
class Inversion:
    """DDIM upwards: a sampler whose walk leads from the data at the end of a path to the noise at its beginning.

        x_t / alpha_t = x_s / alpha_s + (sigma_t / alpha_t - sigma_s / alpha_s) eps         Song et al. 2021, Eq. 13, from s up to t

    The step down takes eps = eps(x_t, t). The step up would need the same, but has no x_t yet; what it takes instead makes inversion
    inexact, by O(1/S) in all for S steps:

        asked_at "start"   eps(x_s, s): Euler's method upwards. The first step begins at the data, where no model can be asked, and takes
                           eps(x_0, t) with the last time t of the list.
        asked_at "end"     eps(x_s, t), the right time with the wrong x, at every step: diffusers' inverse scheduler, and most code for
                           null-text inversion. Better where x hardly changes on its way (variance-preserving schedules: for data of
                           unit variance x_t = x_s but for O(h^2)), much worse where x grows with the noise (sigmas).

    corrections: solves x_t = (the step with eps(x_t, t)) by so many further calls of the model a step, each of which puts the last x_t
    in. They converge, for steps that are small enough, to the exact inverse of DDIM; but not up to pure noise, alpha_t = 0, where the
    equation is x_t = x_t.
    Raises ValueError for an unknown asked_at or negative corrections.
    """

    asked_at: str = "start"
    corrections: int = 0

    def __post_init__(self) -> None:
        if self.asked_at not in ("start", "end"):
            raise ValueError(f"Inversion: unknown asked_at {self.asked_at!r}; choose from start, end")
        check_counts("Inversion", 0, corrections=self.corrections)

    def plan(self, path: Path) -> Plan:
        """1 + corrections moves a step, from the last level of the path to its first."""
        moves = []
        for s, t, h in zip(path.levels[:0:-1], path.levels[-2::-1], path.steps[::-1]):
            row = Row(t.alpha / s.alpha, (-t.sigma * math.expm1(-h),))  # alpha_t (sigma_t / alpha_t - sigma_s / alpha_s), all digits kept
            asked = [t if self.asked_at == "end" or s.sigma == 0 else s, *[t] * self.corrections]
            moves += [Move(level, ahead=row) for level in asked[:-1]] + [Move(asked[-1], settle=row, to=t)]
        return Plan("epsilon", moves)


def ddim_inversion(
    model: Model, process: Process, x_start: Any, times: Sequence[float], *, asked_at: str = "start", corrections: int = 0, **options: Any
) -> Any:
    """From data up to the noise at times[0] from which `sample(model, process, noise, times, DDIM)` leads back to about the data.

    times: the list of the way down, in its order. asked_at, corrections: see `Inversion`. options: those of `sample`
    (prediction_type, callback, ...). Returns x at times[0], like x_start. Raises as `Inversion` and `sample`.
    """
    return sample(model, process, x_start, times, Inversion(asked_at, corrections), **options)


def reconstruction_error(
    model: Model, process: Process, x_start: Any, times: Sequence[float], *, asked_at: str = "start", corrections: int = 0, **options: Any
) -> Any:
    """How far inversion and DDIM back miss the data: the root mean square over each sample's elements, (N,).

    Arguments and errors as for `ddim_inversion`.
    """
    noise = ddim_inversion(model, process, x_start, times, asked_at=asked_at, corrections=corrections, **options)
    missed = sample(model, process, noise, times, DDIM, **options) - x_start
    return apply("sqrt", mean_flat(missed * missed))


def counterfactual(
    model: Model, other_model: Model, process: Process, x_start: Any, times: Sequence[float], *, asked_at: str = "start",
    corrections: int = 0, **options: Any
) -> Any:
    """What data would be under another condition: inverted under its own, decoded under the other.

    model: under the condition that x_start fulfils; other_model: under the other. What neither condition says stays: it is in the noise.
    Arguments else as for `ddim_inversion`. Returns data, like x_start. Raises as `ddim_inversion`.
    """
    noise = ddim_inversion(model, process, x_start, times, asked_at=asked_at, corrections=corrections, **options)
    return sample(other_model, process, noise, times, DDIM, **options)
