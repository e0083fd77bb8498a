"""One move of a walk in one pass over the memory: for large NumPy arrays, the same bits as array by array.

A move reads x, the model's answer, earlier predictions and noise, and writes x again. With whole arrays each multiplication and each sum is
a journey through the memory of its own. Here all of them are done for one piece of the arrays, which fits into the cache, before the
next. `walk` does the same with whole arrays of any library where this does not serve. Stands on `arrays`. Read `ancestral` next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidiff.backend import parallel, scratch
from minidiff.diffusion import arrays
from minidiff.diffusion.arrays import add_up, all_finite, fits

NEWEST = object()
"""Stands for the newest prediction in a list of terms, before it is known."""

class Reading(NamedTuple):
    """A way to read an answer: a * x + b * answer, clipped to [-1, 1] or not."""

    a: float
    b: float
    clip: bool = False


def check_finite(where: str, output: Any) -> None:
    """Raise FloatingPointError, which begins with `where`, for a model's answer with NaN or infinity."""
    if not all_finite(output):
        raise FloatingPointError(f"{where}: the model returned NaN or infinity; the samples of this walk are lost")


def read_and_combine(
    where: str, readings: Sequence[Reading], at: np.ndarray, answer: np.ndarray, terms: Sequence[tuple[float, Any]], wanted: bool,
    spare: list[np.ndarray],
) -> tuple[np.ndarray | None, np.ndarray]:
    """(prediction if it is wanted else None, c_1 x_1 + c_2 x_2 + ...), where the prediction stands in the sum as NEWEST.

    at: the x that the model was asked about. prediction: the readings of its answer, one after the other. spare: arrays to write the
    prediction to. All arrays belong together, see `fits`. Raises as `check_finite`.
    """
    total, kept, size = np.empty_like(at), None, arrays.BLOCK
    if wanted:
        kept = spare.pop() if spare and fits(at, spare[-1]) else np.empty_like(at)
    readings = [reading for reading in readings if reading != (0.0, 1.0, False)]
    terms = [(c, x if x is NEWEST else x.reshape(-1)) for c, x in terms if c != 0] or [(0.0, at.reshape(-1))]
    flat_at, flat_answer, flat_total, flat_kept = (None if x is None else x.reshape(-1) for x in (at, answer, total, kept))

    def one_piece(i: int) -> None:
        piece = slice(i * size, (i + 1) * size)
        prediction = flat_answer[piece]
        one, other, scaled = scratch("read_and_combine", (3, size), at.dtype)[:, :prediction.size]
        check_finite(where, prediction)
        for a, b, clip in readings:
            prediction = add_up(((a, flat_at[piece]), (b, prediction)), one, scaled)
            if clip:
                prediction.clip(-1, 1, out=prediction)
            one, other = other, one
        if kept is not None:
            flat_kept[piece] = prediction
        add_up([(c, prediction if x is NEWEST else x[piece]) for c, x in terms], flat_total[piece], scaled)

    parallel(one_piece, -(-at.size // size))
    return kept, total
