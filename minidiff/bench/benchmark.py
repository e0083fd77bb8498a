"""The benchmark itself: every item, both sides in turn, then their memory."""

from __future__ import annotations

from collections.abc import Callable

from minidiff import backend

from .item import Item
from .items import chosen
from .machine import describe, limits
from .memory import peak_memory
from .report import Report, Row
from .sides import Torch, available_sides, same_threads
from .timing import Times, in_turn


def _measured(item: Item, sides: list[str], threads: int, quick: bool) -> Row:
    own = [side for side in sides if side in item.sides]
    steps = [item.build(side, item.batch) for side in own]
    times = in_turn(steps, rounds=2 if quick else 7, slice_seconds=0.0 if quick else 0.15, clock=item.clock)
    del steps
    memory = {side: peak_memory(item.name, side, threads, quick) for side in own} if item.memory else {}
    return Row(item, {side: Times(tuple(s / item.parts for s in found.seconds)) for side, found in zip(own, times)},
               {side: found for side, found in memory.items() if found is not None})


def run(only: str | None = None, quick: bool = False, progress: Callable[[str], None] | None = None) -> Report:
    """Measure all items, or those whose name begins with `only`.

    quick: tiny sizes, a few seconds in all; it shows that everything works. progress: told the name of each item before it is measured.
    All run on `backend.get_threads()` threads. Raises ValueError if no item begins with `only`.
    """
    items = chosen(only, quick)
    backend.keep_freed_memory()  # as in training and drawing; it is a setting of the process, so PyTorch has it too
    sides, threads = available_sides(), backend.get_threads()
    rows = []
    with same_threads(threads, sides):
        machine, before = describe(threads, Torch.name in sides), limits(quick)
        for item in items:
            if progress is not None:
                progress(item.name)
            rows.append(_measured(item, sides, threads, quick))
        after = limits(quick)
    return Report(machine, {name: max(before[name], after[name]) for name in before}, quick, rows)
