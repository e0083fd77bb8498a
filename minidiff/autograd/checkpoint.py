"""`checkpoint`: compute again instead of remembering.

A graph keeps what its rules will need. Under `checkpoint` a function keeps its arguments only; when its gradient is asked for, the
function is computed a second time, now with its graph, and that small graph is walked and dropped. Memory falls to that of one such
function at a time, for one forward pass more (Chen et al. 2016, "Training deep nets with sublinear memory cost").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.backend import array_module
from minidiff.random.replay import noted, replayed

from .mode import recomputing
from .operation import Node, attached, ticket
from .tensor import Tensor
from .walk import _walk

_PARTS = 16


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """function(*args, **kwargs), a Tensor or a (named) tuple or list of them, keeping the arguments but nothing from inside the function.

    Values and gradients are those of the plain call, to any order, also nested: bit for bit, but for the order in which shares from inside
    and outside the function are added. Gradients reach what is among the arguments and what the function finds elsewhere, such as
    the parameters of a Module. Numbers drawn from a `minidiff.random.Generator` (dropout), wherever the function has it from, are the
    same the second time, and the generators stand afterwards where they stood. Running statistics follow a batch once
    (`mode.is_recomputing`).

    The function must otherwise compute the same when it is called again: RuntimeError in the backward pass if the sums of a result's
    parts are others. TypeError for results that are neither Tensors, arrays nor None.
    """
    since = ticket()
    with noted() as draws:
        result = function(*args, **kwargs)
    outputs = _outputs(result)
    inside = [isinstance(output, Tensor) and output.node is not None and output.node.order > since for output in outputs]
    sources = _sources([output.node for output, is_inside in zip(outputs, inside) if is_inside], since)
    if not sources:
        return result
    repeat = _Repeat(lambda: _outputs(function(*args, **kwargs)), draws, [_mark(output) for output in outputs])
    node = _CheckpointNode(sources, repeat)
    outputs = [
        attached(output.data, _OutputNode(node, number, output)) if is_inside else output
        for number, (output, is_inside) in enumerate(zip(outputs, inside))
    ]
    if not isinstance(result, (tuple, list)):
        return outputs[0]
    return getattr(type(result), "_make", type(result))(outputs)  # `_make`: a named tuple


def _outputs(result: Any) -> list[Any]:
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    for output in outputs:
        if output is not None and not hasattr(output, "dtype"):
            raise TypeError(f"checkpoint: the function must return a Tensor or a tuple of Tensors, got {type(output).__name__}")
    return outputs


def _sources(nodes: list[Node], since: int) -> list[Any]:
    """What the graph above these nodes hangs on: leaves, and nodes that were there before."""
    sources: dict[int, Any] = {}
    seen = {node.order for node in nodes}
    while nodes:
        for parent in nodes.pop().parents:
            if isinstance(parent, Node) and parent.order > since:
                if parent.order not in seen:
                    seen.add(parent.order)
                    nodes.append(parent)
            elif parent is not None:
                sources[id(parent)] = parent
    return list(sources.values())


def _mark(output: Any) -> Any:
    """A few numbers to know a result by, on its device: the sums of its parts."""
    if not _is_real(output):
        return None
    flat, each = output.data.reshape(-1), output.size // _PARTS
    sums = [flat[:_PARTS * each].reshape(_PARTS, each).sum(axis=1, dtype=np.float64), flat[_PARTS * each:].sum(dtype=np.float64).reshape(1)]
    return array_module(flat).concatenate(sums)


def _differs(mark: Any, output: Any) -> bool:
    """Whether a sum is another. Other random numbers move the sum of n elements by about sqrt(n) of them, a device that adds in
    another order by eps of that; the bound lies between the two."""
    if mark is None or not _is_real(output):
        return (mark is None) == _is_real(output)
    xp, n = array_module(output.data), max(output.size, 1)
    element = float(xp.abs(output.data).sum(dtype=np.float64)) / n
    moved = float(xp.abs(mark - _mark(output)).max())
    return moved > math.sqrt(np.finfo(output.dtype).eps * max(n // _PARTS, 1)) * element


def _is_real(output: Any) -> bool:
    return isinstance(output, Tensor) and output.dtype.kind == "f"


class _Shares:
    """The gradients of some of a function's outputs, by number; the walk adds up what the outputs hand down."""

    __slots__ = ("gradients",)
    shape, dtype = (), None

    def __init__(self, gradients: dict[int, Any]) -> None:
        self.gradients = gradients

    def __add__(self, other: _Shares) -> _Shares:
        return _Shares(self.gradients | other.gradients)


class _Repeat:
    """The function, ready to be called once more."""

    def __init__(self, compute: Callable[[], list[Tensor]], draws: dict[Any, dict], marks: list[Any]) -> None:
        self.compute, self.draws, self.marks = compute, draws, marks

    def __call__(self) -> list[Tensor]:
        with recomputing(), replayed(self.draws):
            outputs = self.compute()
        if len(outputs) != len(self.marks):
            raise RuntimeError(f"checkpoint: the function gave {len(self.marks)} results, and {len(outputs)} when it was computed again")
        for number, (mark, output) in enumerate(zip(self.marks, outputs)):
            if _differs(mark, output):
                raise RuntimeError(
                    f"checkpoint: result {number} was another when it was computed again; the function must depend only on its arguments, "
                    "parameters and minidiff.random generators, and nothing may change these before the backward pass"
                )
        return outputs


class _OutputNode(Node):
    """One of the results; hands its gradient on."""

    __slots__ = ("number",)
    name = "checkpoint"

    def __init__(self, node: _CheckpointNode, number: int, out: Tensor) -> None:
        self.number = number
        Node.__init__(self, [node], out)

    def pull(self, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
        return [(self.parents[0], _Shares({self.number: g}))]


class _CheckpointNode(Node):
    """The function: collects the gradients of all its results, then computes again."""

    __slots__ = ("repeat",)
    name = "checkpoint"

    def __init__(self, sources: list[Any], repeat: _Repeat) -> None:
        self.repeat = repeat
        Node.__init__(self, sources, _Shares)

    def pull(self, g: _Shares, create_graph: bool) -> list[tuple[Any, Any]]:
        since = ticket()
        outputs = self.repeat()
        shares = [(outputs[number], share) for number, share in g.gradients.items() if outputs[number].requires_grad]
        found = _walk([output for output, _ in shares], [share for _, share in shares], None, create_graph, None, since)
        known = {id(parent) for parent in self.parents}
        for source, _ in found:
            if isinstance(source, Node) and id(source) not in known:
                raise RuntimeError("checkpoint: the function used other Tensors when it was computed again; give them as arguments")
        # leaves that the function made for itself are nobody's
        return [(source, gradient if create_graph else gradient.data) for source, gradient in found if id(source) in known]

    def release(self) -> None:
        self.parents = self.repeat = None
