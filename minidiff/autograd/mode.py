"""Whether operations are recorded, and who watches them.

Recording is a matter of a thread (`no_grad`, `enable_grad`). Observers, which the debug mode and the profiler are, see every operation
of the process; while there are none, they cost a look at an empty list.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class _Mode(threading.local):
    recording = True
    recomputing = False


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


def is_recomputing() -> bool:
    """Whether a checkpoint computes its function again in this thread: what is to happen once a call, such as following a batch with
    running statistics, has happened."""
    return mode.recomputing


@contextlib.contextmanager
def recomputing() -> Iterator[None]:
    """A context for computing again: recorded, in any mode."""
    before, mode.recomputing = mode.recomputing, True
    try:
        with enable_grad():
            yield
    finally:
        mode.recomputing = before


class set_grad_enabled:
    """Record operations in this thread from now on, or not; as a context, until its end."""

    def __init__(self, enabled: bool) -> None:
        self._before, mode.recording = mode.recording, bool(enabled)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        mode.recording = self._before


class Observer:
    """One who stands around each computation of an operation: forward, and backward the rules of a node.

    forward(...) and backward(...) call `compute()` and return what it returns; `recorded(node)` is told of every new node.
    """

    def forward(self, operation: Any, inputs: Sequence[Any], options: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """An operation computes a value; a composite a value and what its kernel keeps, or NotImplemented."""
        return compute()

    def backward(self, node: Any, gradient: Any, compute: Callable[[], Any]) -> Any:
        """A node, handed the gradient of its result, computes (parent, gradient) pairs."""
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


def watched(method: str, *subject: Any) -> Any:
    """compute(), the last of the arguments, with every observer around it."""
    *subject, compute = subject
    for observer in reversed(tuple(observers)):  # another thread may come or go meanwhile
        compute = functools.partial(getattr(observer, method), *subject, compute)
    return compute()
