"""SDEdit: noise the data part of the way, and walk back.

What is finer than the noise is painted anew, what is coarser stays: a sketch becomes a picture of the same layout. Diffusers calls it
image-to-image. Stands on `samplers`. Read `inversion` next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_batch, check_numbers, draw
from minidiff.diffusion.editing.source import noise_source
from minidiff.diffusion.forward import q_sample
from minidiff.diffusion.process import Process, check_process, path
from minidiff.diffusion.samplers.ancestral import DDPM
from minidiff.diffusion.samplers.plan import Sampler, plan_of
from minidiff.diffusion.samplers.walk import Model, sample

__all__ = ["sdedit", "sdedit_times"]


def sdedit_times(times: Sequence[float], strength: float) -> Sequence[float]:
    """The part of a list of times that an edit of this strength walks: its last floor(strength S) entries.

    strength: in [0, 1]; 1 walks all of it, 0 nothing. So in diffusers, but that 0.29 of 100 steps is 29 here (the product in floats is
    28.999999999999996, of which int() leaves 28). Raises ValueError for another strength.
    """
    check_numbers("sdedit", strength=strength)
    if np.ndim(times) != 1:
        raise ValueError(f"sdedit: expected a list of times, got {times!r}")
    if not 0 <= strength <= 1:
        raise ValueError(f"sdedit: expected a strength between 0 (nothing changes) and 1 (nothing is kept), got {strength}")
    count = int(strength * len(times) + 1e-9)
    return times[len(times) - count:]


def sdedit(
    model: Model,
    process: Process,
    x_start: Any,
    times: Sequence[float],
    strength: float,
    sampler: Sampler = DDPM,
    *,
    generator: Any = None,
    noise: Sequence[Any] | None = None,
    set_alpha_to_one: bool = True,
    **options: Any,
) -> Any:
    """Noise data to a level of the walk, and take the rest of the walk.

        x_t = alpha_t x_0 + sigma_t z,   t = sdedit_times(times, strength)[0],   then down        Meng et al. 2022 (SDEdit), Algorithm 1

    At strength 1 the walk begins at times[0], like all sampling, but what signal is left there is that of x_start; at strength 0, or one
    so small that it makes no step, the result is x_start itself.

    x_start: (N, ...), data. model, process, times, sampler, set_alpha_to_one: as for `sample`. generator, or noise: the arrays
    themselves: first z, then those of the walk. options: further ones of `sample`. Returns data, like x_start.
    Raises ValueError for a strength outside [0, 1], missing noise; else as `sample`.
    """
    check_batch("sdedit", x_start, "x_start")
    check_process("sdedit", process)
    process.check_times(times)
    times = sdedit_times(times, strength)
    if len(times) == 0:
        return x_start
    way = path(process, times, set_alpha_to_one)
    source = noise_source("sdedit", x_start, 1 + plan_of("sdedit", sampler, way).draws, generator, noise)
    x = q_sample(process, x_start, way.levels[0].time, draw("sdedit", x_start, source))
    return sample(model, process, x, times, sampler, generator=source, set_alpha_to_one=set_alpha_to_one, **options)
