"""What all samplers have in common: each is a list of linear combinations, computed before the walk begins.

Between two noise levels every sampler adds up the same things with different factors: where it stands, what the model has
predicted here and before, and fresh noise. So a sampler is a rule that turns a `Path` into a list of `Move`s, plain
numbers in float64; `walk.sample` carries them out. Stands on `process`. Read `walk` next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from minidiff.diffusion.process import Level, Path

__all__ = ["Move", "Plan", "Row", "Sampler"]


class Row(NamedTuple):
    """The linear combination  x * (the base of the walk) + predictions[0] * (newest prediction) + predictions[1] * (the one before) + ...
    + noise * z + last_noise * z',  with fresh z ~ N(0, I), and z' the one that was drawn before it."""

    x: float
    predictions: tuple[float, ...] = ()
    noise: float = 0.0
    last_noise: float = 0.0


class Move(NamedTuple):
    """Ask the model at `level`; then `settle`, the row that makes the new base; then `ahead`, the row from that base to where to ask next.

    A stage inside a step has no `settle`: the base stays where the step began. Without `ahead` the model is next asked at the base.
    to: the level that the walk has reached when it settles; None inside a step. log_variances: for a model that learns its variance, the
    logarithms of the two between which it chooses. churn: the row, of x and noise alone, that lifts the base to `level` before the model
    is asked.
    """

    level: Level
    settle: Row | None = None
    ahead: Row | None = None
    to: Level | None = None
    log_variances: tuple[float, float] | None = None
    churn: Row | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of this move, in the order in which the walk follows them."""
        return tuple(row for row in (self.churn, self.settle, self.ahead) if row is not None)


@dataclass(frozen=True)
class Plan:
    """A walk, ready to be carried out.

    predicts: what the rows multiply, "sample" (predictions of x_0) or "epsilon".
    learns: "learned" or "learned_range" for a model that answers with its variance too, in twice as many channels; else None.
    """

    predicts: str
    moves: Sequence[Move]
    learns: str | None = None

    @property
    def draws(self) -> int:
        """How many arrays of fresh noise the walk needs."""
        return sum(row.noise != 0 for move in self.moves for row in move.rows)


class Sampler(Protocol):
    """A rule that turns a path into a plan."""

    def plan(self, path: Path) -> Plan:
        """The moves along a path. Raises ValueError where this sampler cannot go."""
        ...


def plan_of(where: str, sampler: Any, path: Path) -> Plan:
    """The moves of a sampler along a path. Raises TypeError, which begins with `where`, for what is no sampler."""
    if isinstance(sampler, type) or not hasattr(sampler, "plan"):
        raise TypeError(f"{where}: expected a sampler, such as DDIM or Ancestral(0.5), got {sampler!r}; member(name) finds one by its name")
    return sampler.plan(path)
