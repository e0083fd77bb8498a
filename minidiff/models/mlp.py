"""A small network for points instead of images."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff import functional as F
from minidiff.random import Generator


class MLP(nn.Module):
    """Linear layers with SiLU between them, of a point and a time, both told in sines and cosines.

    A network learns a function's slow waves first; sines and cosines of the coordinates, of periods 4, 2, 1 ..., make fine structure in
    a picture of size 2 slow (Tancik et al. 2020). Called as mlp(x, t): x (N, dimensions), t a number or (N,), a time in 0 ... 999 or so.
    Returns (N, dimensions).
    """

    TIME_FEATURES = 32
    PERIODS = tuple(4 / 2**k for k in range(5))

    def __init__(self, dimensions: int = 2, width: int = 192, depth: int = 3, *, generator: Generator | None = None) -> None:
        generator = nn.generator_or_fresh(generator)
        widths = [dimensions * (1 + 2 * len(self.PERIODS)) + self.TIME_FEATURES, *[width] * depth]
        self.hidden = nn.ModuleList([nn.Linear(a, b, generator=generator) for a, b in pairwise(widths)])
        self.output = nn.Linear(width, dimensions, generator=generator)

    def forward(self, x: Any, t: Any) -> Any:
        """(N, dimensions), (N,) -> (N, dimensions)."""
        times = np.broadcast_to(backend.to_numpy(t), (x.shape[0],))
        embedding = backend.asarray(F.timestep_embedding(times, self.TIME_FEATURES), device=backend.device_of(x), dtype=x.dtype)
        angles = [(2 * math.pi / period) * x for period in self.PERIODS]
        h = F.cat([x, *(wave(angle) for angle in angles for wave in (F.sin, F.cos)), embedding], dim=1)
        for layer in self.hidden:
            h = F.silu(layer(h))
        return self.output(h)
