"""Inpainting: part of the data is known, a model that was never told so fills in the rest.

After each step the known part is put back, with the noise of the level just reached (replacement). The unknown part was made by
a model that did not see the known part of the same level, so the two need not agree; going some levels up and down again lets the
model harmonize them (RePaint). Stands on `samplers`. Read `renoising` next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from minidiff.backend import is_foreign
from minidiff.diffusion.arrays import check_alike, check_batch, check_counts, concatenate, draw, like, namespace
from minidiff.diffusion.editing.source import noise_source
from minidiff.diffusion.forward import transition
from minidiff.diffusion.process import Level, Path, Process, path
from minidiff.diffusion.samplers.ancestral import DDPM
from minidiff.diffusion.samplers.plan import Move, Plan, Sampler, plan_of
from minidiff.diffusion.samplers.walk import Model, sample

__all__ = ["inpaint", "outpainting_canvas", "repaint_schedule"]


def inpaint(
    model: Model,
    process: Process,
    x: Any,
    times: Sequence[float],
    known: Any,
    mask: Any,
    sampler: Sampler = DDPM,
    *,
    jump_length: int = 1,
    jump_n_sample: int = 1,
    generator: Any = None,
    noise: Sequence[Any] | None = None,
    set_alpha_to_one: bool = True,
    **options: Any,
) -> Any:
    """Walk from noise to data that agrees with known data where the mask is 1.

        x_s <- m (alpha_s known + sigma_s z) + (1 - m) x_s        after each step            Lugmayr et al. 2022 (RePaint), Eq. 8
        x_t <- alpha_t / alpha_s x_s + (noise up to sigma_t)      at a jump                  Lugmayr et al. 2022, Algorithm 1

    jump_n_sample = 1 is inpainting by replacement, which is biased: the unknown part hardly knows of the known one. With
    jump_n_sample > 1 the walk goes over its levels again and again (`repaint_schedule`), with so many times the calls of the
    model, and the bias falls; RePaint takes jump_length = 10 and jump_n_sample = 10 with 250 steps. A jump up adds the variance beta,
    a step of DDPM down only beta~, and where steps are repeated often the result becomes too narrow; with DDPM_LARGE, which adds beta,
    and short steps and jumps it tends to the exact p(unknown | known).
    The known part is noised to the level at which x then is, by the standard deviation sigma_s (Eq. 8a; line 5 of the paper's
    Algorithm 1 lacks the square root), freshly each time. A jump draws one noise for all the levels that it goes up.

    model, process, x, times, sampler, set_alpha_to_one: as for `sample`. known: like x. mask: numbers in [0, 1], of a shape that
    broadcasts to x's (of x's library, or on the host): 1 where the data is known, as in the paper; Stable Diffusion's pipelines
    take 1 for what shall be painted. Between 0 and 1 the two are mixed. generator, or noise: the arrays themselves, in the order of
    use: for each step the sampler's, that of the known part unless the step ends at the data, that of the jump. options: further
    ones of `sample`.

    Returns x_0, like x; where the mask is 1 it is exactly `known` (if the walk ends at the data). Raises ValueError or TypeError for a
    bad mask, bad jumps, known unlike x, missing noise; ValueError for jumps with a sampler that remembers earlier steps; else as `sample`.
    """
    check_batch("inpaint", x)
    check_alike("inpaint", x=x, known=known)
    mask = _checked_mask(mask, x)
    way = path(process, times, set_alpha_to_one)
    visits = repaint_schedule(len(way), jump_length, jump_n_sample)
    starts = [here for here, after in pairwise(visits) if after == here + 1]
    walk = sampler if len(starts) == len(way) else Resampled(sampler, tuple(starts))
    landings = [start + 1 for start in starts]
    jumps = sum(start < landed for start, landed in zip(starts[1:], landings))
    draws = plan_of("inpaint", walk, way).draws
    source = noise_source("inpaint", x, draws + sum(way.levels[k].sigma > 0 for k in landings) + jumps, generator, noise)

    def arrived(step: int, level: Level, x: Any) -> Any:
        at_level = level.alpha * known
        if level.sigma > 0:
            at_level = at_level + level.sigma * draw("inpaint", x, source)
        x = mask * at_level + (1 - mask) * x
        landed, start = landings[step], [*starts, len(way)][step + 1]
        if start == landed:
            return x
        signal, std = noising(way, landed, start)
        return signal * x + std * draw("inpaint", x, source)

    return sample(model, process, x, times, walk, generator=source, arrived=arrived, set_alpha_to_one=set_alpha_to_one, **options)


def noising(way: Path, low: int, high: int) -> tuple[float, float]:
    """`transition` from level number `low` of a path up to the noisier level number `high`, as factors of arrays."""
    factor, std = transition(way.levels[low], way.levels[high], sum(way.steps[high:low]))
    return factor, float(std)


def repaint_schedule(num_steps: int, jump_length: int, jump_n_sample: int) -> list[int]:
    """The levels that RePaint visits, as positions in a list of num_steps times: 0 is the noisiest, num_steps the data.

    Each jump_length levels, counted from the last time up, the walk goes jump_length levels back, jump_n_sample - 1 times, and comes
    down again; no jump begins at the data itself. Lugmayr et al. 2022, Appendix; the paper's code lists num_steps - 1 - position.
    Neighbours in the list differ by 1. Returns 0, 1, ..., num_steps for jump_n_sample = 1.
    Raises TypeError for what is not an int, ValueError unless jump_n_sample >= 1 and 1 <= jump_length (< num_steps, if there are jumps).
    """
    check_counts("repaint_schedule", num_steps=num_steps, jump_length=jump_length, jump_n_sample=jump_n_sample)
    if jump_n_sample > 1 and jump_length >= num_steps:
        raise ValueError(f"repaint_schedule: a jump of {jump_length} levels does not fit into {num_steps} steps; take a smaller one")
    left = dict.fromkeys(range(num_steps - 1, jump_length - 1, -jump_length), jump_n_sample - 1)
    visits = [0]
    while visits[-1] < num_steps:
        here = visits[-1]
        if left.get(here, 0) > 0:
            left[here] -= 1
            visits += range(here - 1, here - jump_length - 1, -1)
        visits.append(visits[-1] + 1)
    return visits


@dataclass(frozen=True)
class Resampled:
    """A sampler that takes the steps of another in another order: step number starts[0], then starts[1], ..., each perhaps many times."""

    sampler: Sampler
    starts: tuple[int, ...]

    def plan(self, path: Path) -> Plan:
        """The moves of the steps. Raises ValueError for a sampler whose steps use what happened before them."""
        plan = plan_of("inpaint", self.sampler, path)
        steps: list[list[Move]] = [[]]
        for move in plan.moves:
            steps[-1].append(move)
            if move.to is not None:
                steps.append([])
        steps.pop()
        if len(steps) != len(path) or any(_remembers(step) for step in steps):
            raise ValueError(
                f"inpaint: jumps repeat single steps, but {self.sampler} uses in a step what happened before it; "
                "choose DDPM, DDIM, EULER or HEUN, or jump_n_sample = 1"
            )
        return replace(plan, moves=[move for start in self.starts for move in steps[start]])


def _remembers(step: list[Move]) -> bool:
    """Whether a step uses predictions from before it, or goes on into the next one."""
    return step[-1].ahead is not None or any(len(row.predictions) > asked for asked, move in enumerate(step, 1) for row in move.rows)


def outpainting_canvas(x: Any, padding: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """(known, mask) for `inpaint`, to paint beyond the edges of data: x with zeros around it, and 1 where x is.

    x: (N, ...). padding: (before, after) for each of the last dimensions, ((top, bottom), (left, right)) for images. The mask has the
    padded last dimensions, and 1 for each of the others. Raises ValueError for a padding that is not such pairs of ints >= 0.
    """
    check_batch("outpainting_canvas", x)
    pairs = [tuple(pair) if isinstance(pair, (tuple, list)) else () for pair in padding] if isinstance(padding, (tuple, list)) else []
    if not 0 < len(pairs) < len(x.shape) or not all(len(pair) == 2 and all(type(n) is int and n >= 0 for n in pair) for pair in pairs):
        raise ValueError(
            f"outpainting_canvas: expected padding as 1 to {len(x.shape) - 1} pairs (before, after) of ints of at least 0, got {padding}"
        )
    sizes = x.shape[len(x.shape) - len(pairs):]
    mask = np.pad(np.ones(sizes), pairs)
    for axis, (before, after) in zip(range(-len(pairs), 0), pairs):
        shapes = [tuple(n if i == axis + len(x.shape) else size for i, size in enumerate(x.shape)) for n in (before, after)]
        x = concatenate([like(np.zeros(shapes[0]), x), x, like(np.zeros(shapes[1]), x)], axis)
    return x, like(mask.reshape((1,) * (len(x.shape) - len(pairs)) + mask.shape), x)


def _checked_mask(mask: Any, x: Any) -> Any:
    """The mask in the library, device and dtype of x."""
    if is_foreign(mask):
        mask = namespace(x).asarray(mask, dtype=x.dtype, device=getattr(x, "device", None))  # what jax.jit traces is nowhere yet
    else:
        mask = like(mask, x)
    try:
        fits = np.broadcast_shapes(tuple(mask.shape), tuple(x.shape)) == tuple(x.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"inpaint: expected a mask of a shape that broadcasts to that of x, {tuple(x.shape)}, got {tuple(mask.shape)}")
    if not bool(((0 <= mask) & (mask <= 1)).all()):
        raise ValueError("inpaint: expected a mask of numbers between 0 (paint) and 1 (known)")
    return mask
