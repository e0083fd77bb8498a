"""`profile`: where the time goes, operation by operation."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minidiff import backend

from .mode import Observer, observed_by


@dataclass(frozen=True)
class Row:
    """One operation in one part of the program.

    part: "forward": computed by the program; "backward": the gradient rule of a recorded operation; "in backward": an operation that
    such a rule computes with. seconds: without what the operation had other rows do. bytes: of its results.
    """

    operation: str
    part: str
    calls: int
    seconds: float
    bytes: int


class _Time(threading.local):
    """Of this thread: the seconds that inner computations took from each one under way, outermost first, and how many of them are rules."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.rules = 0


class Profile(Observer):
    """What `profile` yields: `rows`, `table`, and `seconds`, the time spent inside the context."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._found: dict[tuple[str, str], tuple[int, float, int]] = {}
        self._time, self._lock = _Time(), threading.Lock()

    def forward(self, operation: Any, inputs: Sequence[Any], options: dict[str, Any], compute: Callable[[], Any]) -> Any:
        return self._measured(operation.__name__, "in backward" if self._time.rules else "forward", compute)

    def backward(self, node: Any, gradient: Any, compute: Callable[[], Any]) -> Any:
        self._time.rules += 1
        try:
            return self._measured(node.name, "backward", compute)
        finally:
            self._time.rules -= 1

    def _measured(self, name: str, part: str, compute: Callable[[], Any]) -> Any:
        taken = self._time.taken
        taken.append(0.0)
        backend.synchronize()
        start = time.perf_counter()
        try:
            result = compute()
            backend.synchronize()
        finally:
            seconds = time.perf_counter() - start
            inner = taken.pop()
            if taken:
                taken[-1] += seconds
        if result is not NotImplemented:
            with self._lock:
                calls, before, size = self._found.get((name, part), (0, 0.0, 0))
                self._found[name, part] = calls + 1, before + seconds - inner, size + _bytes(result, part)
        return result

    @property
    def rows(self) -> list[Row]:
        """All rows, those that took longest first."""
        return sorted((Row(*key, *found) for key, found in self._found.items()), key=lambda row: -row.seconds)

    def table(self) -> str:
        """The rows as text, with shares of the whole; what is left over is the walk, the recording and the program itself."""
        rows = self.rows
        rest = self.seconds - sum(row.seconds for row in rows)
        lines = [("operation", "part", "calls", "ms", "share", "MB")]
        lines += [(row.operation, row.part, str(row.calls), *self._times(row.seconds), f"{row.bytes / 1e6:.2f}") for row in rows]
        lines += [("outside operations", "", "", *self._times(rest), ""), ("total", "", "", *self._times(self.seconds), "")]
        widths = [max(map(len, column)) for column in zip(*lines)]
        aligned = [[cell.ljust(width) if number < 2 else cell.rjust(width) for number, (cell, width) in enumerate(zip(line, widths))]
                   for line in lines]
        return "\n".join("  ".join(line).rstrip() for line in aligned)

    def _times(self, seconds: float) -> tuple[str, str]:
        return f"{1e3 * seconds:.3f}", f"{seconds / self.seconds:.1%}" if self.seconds else ""


def _bytes(result: Any, part: str) -> int:
    """The size of a value, of the first of (value, what a kernel keeps), or of the gradients in (parent, gradient) pairs."""
    values = [gradient for _, gradient in result] if part == "backward" else [result[0] if isinstance(result, tuple) else result]
    return sum(int(getattr(backend.to_array(value), "nbytes", 0)) for value in values)


@contextlib.contextmanager
def profile() -> Iterator[Profile]:
    """A context that measures every operation, forward and backward: time, calls, bytes of the results.

        with profile() as p:
            loss(model(x)).backward()
        print(p.table())

    On a GPU each operation is waited for, so their times are right and the whole takes longer than without.
    """
    measured = Profile()
    start = time.perf_counter()
    try:
        with observed_by(measured):
            yield measured
    finally:
        measured.seconds = time.perf_counter() - start
