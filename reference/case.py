"""What a case is made of, before it becomes a file.

The inputs follow `facts`: sizes that are different and prime where possible, weights without symmetry, no bias of zero, numbers
that float32 holds exactly. Everything random comes from `draw`, which is seeded by the case's own id: cases never change because others
come or go.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Note:
    """A mistake that people make. kind: "default", "formula", "convention", "numerics" or "indexing".

    about: what the mistake is. effect: what it does to images or training. seen: who made it, with the thread or file, or where a library
    differs on purpose; empty if nobody is known to have.
    """

    kind: str
    about: str
    effect: str
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """What is computed, for someone who has only this. Sizes are written as in (N, C, H, W).

    equation: the formula in one or a few lines of text. chapter: where the documentation derives it, "docs/PAGE.md#heading".
    inputs, settings, outputs: what each one is, by name. A setting's text says its range and what its values mean.
    """

    equation: str
    chapter: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mutant:
    """A mistake, as an implementation would make it in one operation.

    words: what is wrong, addressed to its author: "your GroupNorm uses eps=1e-6". flag: the `Note` it belongs to.
    settings: these settings are used in the place of the case's; or
    compute: called in the place of the operation, as compute(inputs, settings) -> outputs, on minidiff Tensors.
    """

    words: str
    flag: str
    settings: Mapping[str, Any] | None = None
    compute: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Case:
    """One question.

    id: "operation/what-is-special". reason: why this case exists, what it exposes. inputs: arrays by name, float32 or int64, with
    "cotangent" (or "cotangent.OUTPUT") where gradients are asked for. gradients: names of the inputs whose gradients are expected.
    mutants: by name; each must be FAR away from the right answer. noise: "measured", or "relative" for tables that everybody computes in
    float64 and rounds at the end. flags: notes that belong to the case without a mutant.
    """

    id: str
    reason: str
    inputs: Mapping[str, np.ndarray]
    settings: Mapping[str, Any] = field(default_factory=dict)
    gradients: tuple[str, ...] = ()
    mutants: Mapping[str, Mutant] = field(default_factory=dict)
    noise: str = "measured"
    flags: tuple[str, ...] = ()

    @property
    def operation(self) -> str:
        """What is computed: the part of the id before the slash."""
        return self.id.partition("/")[0]


def draw(id: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
    """Normal numbers that float32 holds exactly, float32, from a seed that is the id's: "CASE:NAME" gives each array numbers of its own."""
    generator = np.random.Generator(np.random.Philox(key=zlib.crc32(id.encode())))
    return (mean + scale * generator.standard_normal(shape)).astype(np.float32)
