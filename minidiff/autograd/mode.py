"""Whether operations are recorded, and who watches them.

Recording is a matter of a thread (`no_grad`, `enable_grad`). Observers, which the debug mode and the profiler are, see every operation
of the process; while there are none, they cost a look at an empty list.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


class _Mode(threading.local):
    recording = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return mode.recording


@contextlib.contextmanager
def _recording(enabled: bool) -> Iterator[None]:
    before, mode.recording = mode.recording, enabled
    try:
        yield
    finally:
        mode.recording = before


def no_grad() -> contextlib.AbstractContextManager[None]:
    """A context (or decorator) in which nothing is recorded: for evaluation, sampling and optimizer steps."""
    return _recording(False)


def enable_grad() -> contextlib.AbstractContextManager[None]:
    """A context (or decorator) in which operations are recorded, also inside `no_grad`."""
    return _recording(True)


class Observer:
    """One who stands around each computation of an operation: forward, and backward the rules of a node.

    forward(name, compute) and backward(node, compute) call `compute()` and return what it returns. `recorded(node)` is told of every new node.
    """

    def forward(self, name: str, compute: Callable[[], Any]) -> Any:
        """An operation of this name computes a value (or, with a kernel, a value and what it keeps)."""
        return compute()

    def backward(self, node: Any, compute: Callable[[], Any]) -> Any:
        """A node computes (parent, gradient) pairs."""
        return compute()

    def recorded(self, node: Any) -> None:
        """A node has been made."""


observers: list[Observer] = []


@contextlib.contextmanager
def observed_by(observer: Observer) -> Iterator[Observer]:
    """A context in which `observer` watches; the innermost stands closest to the computation."""
    observers.append(observer)
    try:
        yield observer
    finally:
        observers.remove(observer)


def watched(method: str, subject: Any, compute: Callable[[], Any]) -> Any:
    """compute(), with every observer around it."""
    for observer in reversed(observers):
        compute = _around(getattr(observer, method), subject, compute)
    return compute()


def _around(watch: Callable[..., Any], subject: Any, compute: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: watch(subject, compute)
