"""`Item`: one thing that is measured, and the clocks that measure it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .sides import Ours, Torch

Step = Callable[[], Any]


def wall_clock(step: Step) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def own_clock(step: Step) -> float:
    """Seconds that the call itself reports."""
    return step()


@dataclass(frozen=True)
class Item:
    """One row of the table.

    build: (name of a side, batch) -> the step to be timed. Both sides compute the same; nothing that is not needed at every step
    is done in it. batch: of the full measurement. parts: how many equal parts a step has, the time is that of one.
    flop, bytes: floating-point operations, or bytes that must go through memory at least, in a step of the full batch.
    memory: whether peak memory is measured too. sides: which libraries have this item. clock: seconds of a step.
    """

    name: str
    build: Callable[[str, int], Step]
    batch: int = 1
    parts: int = 1
    flop: float | None = None
    bytes: float | None = None
    images: int | None = None
    memory: bool = False
    sides: tuple[str, ...] = (Ours.name, Torch.name)
    clock: Callable[[Step], float] = wall_clock
