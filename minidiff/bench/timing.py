"""Fair timing of two things on a machine that does other things too: in turn, many times, and the median."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Times:
    """Seconds of all repetitions of one side."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return float(np.median(self.seconds))

    def to_json(self) -> dict[str, Any]:
        """Median, quartiles, number of repetitions."""
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return {"median_s": self.median, "quartile_low_s": float(low), "quartile_high_s": float(high), "repetitions": len(self.seconds)}


def in_turn(
    steps: Sequence[Callable[[], Any]], rounds: int, slice_seconds: float, clock: Callable[[Callable[[], Any]], float],
) -> list[Times]:
    """Time several steps A B A B ..., each for a slice of time in each round.

    A slice begins with one call that does not count (caches and the other library's threads come to rest), then has at least one
    that does, and goes on until it is slice_seconds long.
    """
    found: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, seconds in zip(steps, found):
            clock(step)
            start = time.perf_counter()
            while True:
                seconds.append(clock(step))
                if time.perf_counter() - start >= slice_seconds:
                    break
    return [Times(tuple(seconds)) for seconds in found]
