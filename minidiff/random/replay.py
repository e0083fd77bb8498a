"""Drawing the same numbers again: which generators a piece of work draws from, and where each of them stood when it began.

A computation that is to be repeated exactly (`autograd.checkpoint`) need not say which generators it uses: they report to `noted`
themselves.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .generator import Generator


class _Notes(threading.local):
    open: tuple[dict[Generator, dict], ...] = ()  # one for each `noted` that this thread is in


_notes = _Notes()


def note(generator: Generator) -> None:
    """Called by a generator that is about to draw."""
    for states in _notes.open:
        if generator not in states:
            states[generator] = generator.get_state()


@contextlib.contextmanager
def noted() -> Iterator[dict[Generator, dict]]:
    """A context that yields a dict: every generator that this thread draws from inside, and its state before the first draw."""
    before, states = _notes.open, {}
    _notes.open = (*before, states)
    try:
        yield states
    finally:
        _notes.open = before


@contextlib.contextmanager
def replayed(states: dict[Generator, dict]) -> Iterator[None]:
    """A context in which the generators begin again at these states; afterwards they stand where they stood before."""
    before, _notes.open = _notes.open, ()  # an outer `noted` must not take the states of a repetition for its own
    stood = {generator: generator.get_state() for generator in states}
    for generator, state in states.items():
        generator.set_state(state)
    try:
        yield
    finally:
        for generator, state in stood.items():
            generator.set_state(state)
        _notes.open = before
