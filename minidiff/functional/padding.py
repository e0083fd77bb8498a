"""Padding: rows and columns added around an array, or taken away.

Around lies a constant, or the array continues: mirrored, with its border, or from the start. Then each new place along an axis is one
of the old ones, which one is a formula (`_PLACES`), and the gradient adds up what came from the same place (`axismap.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np

from minidiff.autograd import operation

from .axismap import AxisMap, mapped

__all__ = ["pad"]


def _pad(xp, input, *, widths, value):
    out = xp.full_like(input, value, shape=tuple(a + n + b for n, (a, b) in zip(input.shape, widths)))  # the layout in memory stays
    inside = tuple(slice(max(a, 0), m - max(b, 0)) for m, (a, b) in zip(out.shape, widths))
    kept = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(input.shape, widths))
    out[inside] = input[kept]
    return out


padded = operation(_pad, "`value` around the array; a negative width crops. Cropping and padding with 0 are each other's gradients.",
                   input=lambda g, widths: padded(g, widths=tuple((-a, -b) for a, b in widths), value=0))

# The old place for each new place i, counted from the first old one; n: how many old ones there are
_PLACES = {
    "reflect": lambda i, n: n - 1 - np.abs(n - 1 - np.abs(i)),
    "replicate": lambda i, n: np.clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
}


def _continued(input, pairs, mode):
    """What lies around is made of what is inside."""
    if mode == "circular":  # goes round what is left after cropping; the others continue what they crop
        input = padded(input, widths=[(min(a, 0), min(b, 0)) for a, b in pairs], value=0)
        pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    maps = []
    for axis, (n, (a, b)) in enumerate(zip(input.shape, pairs)):
        most = {"reflect": n - 1, "replicate": math.inf, "circular": n}[mode]
        if (a or b) and (max(a, b) > most or n + a + b < 1):
            raise ValueError(f"pad: widths {(a, b)} do not fit a size of {n} in dimension {axis}: in mode {mode!r} a width is at most "
                             f"{most}, and something must be left")
        if a or b:
            new = np.arange(n + a + b)
            maps.append(AxisMap(axis, len(new), n, new, _PLACES[mode](new - a, n)))
    return mapped(input, maps=tuple(maps))


def pad(input, pad: Sequence[int], mode: str = "constant", value: float | None = None):
    """Add to the sides: pad = (left, right, top, bottom, ...), pairs from the last dimension forwards; a negative width crops.

        constant     5 5 | 0 1 2 3 | 5 5      value=5; None means 0; any number of dimensions
        reflect      2 1 | 0 1 2 3 | 2 1      widths below the size
        replicate    0 0 | 0 1 2 3 | 3 3
        circular     2 3 | 0 1 2 3 | 0 1      widths up to the size

    Shapes: (..., H, W) -> (..., H + top + bottom, W + left + right). All modes but constant need pairs for all dimensions of (N, C, ...)
    or (C, ...) after C. Raises ValueError for widths that do not fit, TypeError for widths that are no ints.
    """
    shape = tuple(input.shape)
    if not isinstance(pad, (tuple, list)) or not all(isinstance(width, Integral) for width in pad):
        raise TypeError(f"pad: expected the widths as a tuple of ints, got {pad!r}")
    if mode not in ("constant", *_PLACES):
        raise ValueError(f"pad: mode {mode!r} is not offered; expected constant, {', '.join(_PLACES)}")
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        raise ValueError(f"pad: expected a pair for each of at most {len(shape)} dimensions of shape {shape}, got {tuple(pad)}")
    count = len(pad) // 2
    pairs = [(0, 0)] * (len(shape) - count) + [(int(pad[i]), int(pad[i + 1])) for i in range(len(pad) - 2, -1, -2)]
    if any(n + min(a, 0) + min(b, 0) < 0 for n, (a, b) in zip(shape, pairs)) and mode in ("constant", "circular"):
        raise ValueError(f"pad: {tuple(pad)} crops more than there is in shape {shape}")
    if mode == "constant":
        return padded(input, widths=tuple(pairs), value=0 if value is None else value)
    if not 1 <= count <= 3 or len(shape) not in (count + 1, count + 2):
        raise ValueError(f"pad: mode {mode!r} takes 1 to 3 pairs, for inputs (N, C, ...) or (C, ...) with as many dimensions after C, "
                         f"got {count} pairs for shape {shape}")
    if value:
        raise ValueError(f"pad: value={value!r} has no meaning with mode {mode!r}; leave it out")
    if mode != "circular" and 0 in shape[-count - 1:]:
        raise ValueError(f"pad: mode {mode!r}: only the batch may be empty, got shape {shape}")
    return _continued(input, pairs, mode)
