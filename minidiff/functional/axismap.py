"""Linear maps along one axis: y_i = sum_j w_ij x_j with few weights that are not 0. Resampling and padding are made of them.

Such a map is a sparse matrix, and its gradient is the transposed one: the same operation with targets and sources exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minidiff.autograd import operation

from .precision import narrow, wide
from .shape import along


@dataclass(frozen=True, eq=False)
class AxisMap:
    """A sparse matrix (length, width) for `axis`: y[targets] += weights * x[sources]. The arrays are the host's; weights None: all 1."""

    axis: int
    length: int
    width: int
    targets: np.ndarray
    sources: np.ndarray
    weights: np.ndarray | None = None

    @cached_property
    def transposed(self) -> AxisMap:
        """The map of the gradient."""
        return AxisMap(self.axis, self.width, self.length, self.sources, self.targets, self.weights)

    @cached_property
    def changes_nothing(self) -> bool:
        """Whether it is the identity."""
        return self.length == self.width and self.weights is None and all(
            np.array_equal(places, np.arange(self.width)) for places in (self.targets, self.sources))

    @cached_property
    def complete(self) -> bool:
        """Whether every target occurs; then the first of the rounds has them all."""
        return len(np.unique(self.targets)) == self.length > 0

    @cached_property
    def rounds(self) -> list[tuple]:
        """(targets, sources, weights) in groups in which no target occurs twice, so that each can be added at once."""
        order = np.argsort(self.targets, kind="stable")
        targets = self.targets[order]
        rank = np.arange(len(targets)) - np.searchsorted(targets, targets)
        groups = (order[rank == k] for k in range(rank.max(initial=-1) + 1))
        return [(_stepping(self.targets[group]), _stepping(self.sources[group]), None if self.weights is None else self.weights[group])
                for group in groups]


def _stepping(places):
    """Places at equal distances as a slice, which needs no copy; others as they are."""
    steps = np.diff(places)
    if len(places) == 1:
        return slice(int(places[0]), int(places[0]) + 1)
    if len(places) and steps[0] > 0 and (steps == steps[0]).all():
        return slice(int(places[0]), int(places[-1]) + 1, int(steps[0]))
    return places


def _share(xp, x, axis, sources, weights):
    """weights * x[sources] along the axis, as a new array."""
    if isinstance(sources, slice):
        part = x[along(axis, sources)]
        if weights is None:
            return part.copy("K")
    else:
        order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))  # as in memory: long rows are copied, and the layout stays
        part = x.transpose(order).take(xp.asarray(sources), order.index(axis)).transpose(np.argsort(order).tolist())
    return part if weights is None else part * xp.asarray(weights, x.dtype).reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def _applied(xp, x, line):
    """One AxisMap of an array."""
    rounds, shape = line.rounds, (*x.shape[:line.axis], line.length, *x.shape[line.axis + 1:])
    complete = line.complete  # then nothing has to be added to zeros
    y = _share(xp, x, line.axis, *rounds[0][1:]) if complete else xp.zeros(shape, x.dtype)
    for targets, *parts in rounds[complete:]:
        y[along(line.axis, targets if isinstance(targets, slice) else xp.asarray(targets))] += _share(xp, x, line.axis, *parts)
    return y


def _mapped(xp, input, *, maps):
    x = wide(input)
    for line in maps:
        x = _applied(xp, x, line)
    return narrow(x, input.dtype)


mapped = operation(_mapped, "One AxisMap after the other.",
                   input=lambda g, maps: mapped(g, maps=tuple(line.transposed for line in reversed(maps))))
