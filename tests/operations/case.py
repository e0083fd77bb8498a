"""What a case is, and the numbers that its calls are made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Fixed:
    """A floating-point array that is an argument but is not differentiated: class weights, running statistics."""

    array: np.ndarray


@dataclass(frozen=True)
class Call:
    """One call: what is written between the brackets. Floating-point arrays (also in lists) are differentiated, others are not."""

    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """An operation and the calls it is tested with.

    name: in `minidiff.functional`; `label` distinguishes several cases of one operation.
    calls: a hypothesis strategy for `Call`, wide: shapes (also empty batches, batch 1), every option, every form of its value.
    theirs: (torch) -> PyTorch's function for the same arguments; None: torch.nn.functional's or torch's of the same name.
        `no_peer` says why there is none.
    refused: calls that both libraries refuse, ours with a message that begins with the name.
    order: how often it can be differentiated (0: not at all). peer_order: the same in PyTorch.
    examples: how many calls are generated in the tests that are quick; `share` is for the others.
    tolerance: relative to the scale of the result, in float64, against PyTorch.
    waits: whether a GPU must be waited for, because values decide what is done (a mask's count, the largest class).
    """

    name: str
    calls: st.SearchStrategy[Call]
    label: str = ""
    theirs: Callable[[Any], Callable[..., Any]] | None = None
    no_peer: str = ""
    refused: tuple[Call, ...] = ()
    order: int = 2
    peer_order: int = 2
    examples: int = 20
    tolerance: float = 1e-12
    waits: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.label}".strip()

    def share(self, part: int) -> int:
        """How many calls are generated in a test that takes `part` times as long: at least 3."""
        return max(3, self.examples // part)


class Values:
    """Arrays of numbers that keep a distance from each other, from 0 and from each multiple of 1/256.

    So no finite difference crosses a kink, and no maximum is a tie. They are odd multiples of 1/512, exact in every dtype
    up to 2 in size for arrays of up to 256 elements (then the range grows). Up to four arrays have no value in common.
    """

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        self._numbers = itertools.count()

    def __call__(self, *shape: int, positive: bool = False) -> np.ndarray:
        """The next array. positive: above 0."""
        size = math.prod(shape)
        half = max(128, -(-size // 2))
        places = self._draw.permutation(2 * half)[:size] + (0 if positive else -half)
        return np.asarray(((4 * places + next(self._numbers) % 4) * 2 + 1) / 512.0).reshape(shape)

    def integers(self, low: int, high: int, shape: tuple[int, ...] | int) -> np.ndarray:
        """Integers from low to high - 1."""
        return self._draw.integers(low, high, shape)

    def booleans(self, shape: tuple[int, ...] | int) -> np.ndarray:
        """True or False with equal probability."""
        return self._draw.random(shape) < 0.5


def values() -> st.SearchStrategy[Values]:
    """Sources of arrays."""
    return st.integers(0, 2**32 - 1).map(Values)


def shapes(least: int = 0, most: int = 4, smallest: int = 1, largest: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of `least` to `most` dimensions."""
    return st.lists(st.integers(smallest, largest), min_size=least, max_size=most).map(tuple)


@st.composite
def broadcastable(draw: Any, count: int = 2, **options: int) -> list[tuple[int, ...]]:
    """`count` shapes that broadcast against each other."""
    whole = draw(shapes(**options))
    found = []
    for _ in range(count):
        shape = tuple(1 if draw(st.booleans()) else n for n in whole)
        found.append(shape[draw(st.integers(0, len(shape))):])
    found[draw(st.integers(0, count - 1))] = whole
    return found
