"""Gradients: one walk through the recorded graph, from the last node to the first.

The chain rule, backwards: every node is handed the whole gradient of its result and hands each of its inputs a share; what
several nodes hand to one place is added up. A node is visited when nothing that depends on it is left, which the numbers
of the nodes tell (they grow with time), so the walk needs no recursion and takes graphs of any depth.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidiff.backend import array_module

from .mode import enable_grad, no_grad, observers, watched
from .operation import Node, identity, operation
from .tensor import Tensor

_FREED = "backward: this graph was walked before and freed; pass retain_graph=True the first time to walk it twice"


def _summed(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    wide = np.float32 if x.dtype == np.float16 else x.dtype
    return x.sum(axis=axis, keepdims=keepdims, dtype=wide).astype(x.dtype, copy=False)


summed = operation(_summed, "the sum of a plain array, as the walk needs it")  # its kernel is that of functional's `total`


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: sum `g` over the axes along which an array of `shape` was repeated.

        y_ij = x_j for all i   =>   dL/dx_j = sum_i dL/dy_ij
    """
    extra = len(g.shape) - len(shape)
    copies = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1))
    if not copies:
        return g
    total = g.sum(axis=copies) if isinstance(g, Tensor) else summed.compute([g], {"axis": copies, "keepdims": False})
    return total.reshape(shape)


def backward(output: Tensor, gradient: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False) -> None:
    """Add the derivative of `output` to `leaf.grad` of every leaf that it was computed from and that requires it.

    gradient: dL/d(output), same shape; None means 1 and needs an output of one element. create_graph: record the walk
    itself, so that the gradients can be differentiated. The graph is freed as it is walked unless `retain_graph`
    (default: the same as create_graph). Raises ValueError for a wrong shape, RuntimeError for an output without a graph, or
    one that was freed.
    """
    leaves = _walk([output], [gradient], None, create_graph, retain_graph)
    if not create_graph:
        for leaf, g in leaves:
            leaf.grad = g if leaf.grad is None else Tensor(leaf.grad.data + g.data)
        return
    with enable_grad():
        for leaf, g in leaves:  # `identity`: two leaves may have been handed the same Tensor
            leaf.grad = identity(g) if leaf.grad is None else leaf.grad + g


def gradient(
    outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None, *,
    create_graph: bool = False, retain_graph: bool | None = None, allow_unused: bool = False,
) -> Any:
    """d(sum of outputs * grad_outputs) / d(inputs), as one Tensor for each input; `.grad` is left alone.

    A single Tensor as `inputs` gives a single Tensor. grad_outputs: like outputs; None means 1 for outputs of one
    element. create_graph: the result can be differentiated again. Raises RuntimeError if an input was not used (with
    allow_unused: None in its place).
    """
    single = isinstance(inputs, Tensor)
    inputs = [inputs] if single else list(inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    seeds = [grad_outputs] if len(outputs) == 1 and not isinstance(grad_outputs, (list, tuple)) else grad_outputs
    seeds = [None] * len(outputs) if seeds is None else list(seeds)
    if len(seeds) != len(outputs):
        raise ValueError(f"gradient: {len(outputs)} outputs, but {len(seeds)} grad_outputs")
    for x in inputs:
        if not isinstance(x, Tensor) or not x.requires_grad:
            raise RuntimeError("gradient: an input does not require gradients: make it with requires_grad=True")
    found = {id(source): g for source, g in _walk(outputs, seeds, inputs, create_graph, retain_graph)}
    gradients = [found.get(id(x.node or x)) for x in inputs]
    if not allow_unused and any(g is None for g in gradients):
        missing = [i for i, g in enumerate(gradients) if g is None]
        raise RuntimeError(f"gradient: inputs {missing} were not used to compute the outputs; allow_unused=True gives None for them")
    return gradients[0] if single else gradients


def grad(
    outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None, retain_graph: bool | None = None,
    create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None, *, materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """`gradient` in the form of torch.autograd.grad: always a tuple, also for a single input.

    materialize_grads: zeros, instead of None, for an input that was not used. Raises as `gradient` does; ValueError for
    only_inputs=False or for materialize_grads with allow_unused=False, which torch refuses too.
    """
    if not only_inputs:
        raise ValueError("grad: only_inputs=False is not offered: call backward for the gradients of all leaves")
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads=True asks for zeros where allow_unused=False asks for an error; give one of them")
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    found = gradient(outputs, inputs, grad_outputs, create_graph=create_graph, retain_graph=retain_graph,
                     allow_unused=bool(allow_unused) or materialize_grads)
    if materialize_grads:
        found = [Tensor(array_module(x.data).zeros_like(x.data)) if g is None else g for x, g in zip(inputs, found)]
    return tuple(found)


def _seed(output: Tensor, gradient: Any) -> Tensor:
    if not isinstance(output, Tensor) or not output.requires_grad:
        raise RuntimeError("backward: the output does not depend on anything that requires gradients")
    if gradient is None:
        if output.size != 1:
            raise ValueError(f"backward: an output of shape {output.shape} is not one number; give its gradient, or sum it")
        return Tensor(array_module(output.data).ones_like(output.data))
    gradient = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if gradient.shape != output.shape:
        raise ValueError(f"backward: the gradient has shape {gradient.shape}, the output {output.shape}")
    return gradient


def _walk(
    outputs: list[Tensor], seeds: list[Any], targets: list[Tensor] | None, create_graph: bool, retain_graph: bool | None, since: int = 0,
) -> list[tuple[Any, Tensor]]:
    """(source, gradient) for the targets (nodes or leaves), or for all leaves when there are none given.

    Nodes with a number up to `since` are leaves to this walk.
    """
    keep = create_graph if retain_graph is None else retain_graph
    wanted = None if targets is None else {id(t.node or t) for t in targets}
    pending: dict[int, tuple[Any, Any]] = {}  # a place's number -> (node or leaf, its gradient so far)
    heap: list[int] = []
    found: dict[int, tuple[Any, Any]] = {}

    def hand(source: Any, g: Any) -> None:
        """Add `g` to what has arrived at `source`."""
        if g.shape != source.shape:
            g = unbroadcast(g, source.shape)
        if g.dtype != source.dtype:
            g = g.astype(source.dtype)
        is_node = isinstance(source, Node) and source.order > since
        place, key = (pending, source.order) if is_node else (found, id(source))
        arrived = place.get(key)
        if arrived is not None:
            g = arrived[1] + g
        elif is_node:
            heapq.heappush(heap, -key)
        place[key] = (source, g)

    with enable_grad() if create_graph else no_grad():
        for output, seed in zip(outputs, seeds):
            seed = _seed(output, seed)
            hand(output.node or output, seed if create_graph else seed.data)
        useful = None if targets is None else _leading_to(wanted, [o.node for o in outputs if o.node is not None], targets)
        while heap:
            node, g = pending.pop(-heapq.heappop(heap))
            if wanted is not None:
                if id(node) in wanted:
                    found[id(node)] = (node, g)
                if node.order not in useful:
                    continue
            if node.parents is None:
                raise RuntimeError(_FREED)
            for source, share in _pulled(node, g, create_graph) if observers else node.pull(g, create_graph):
                hand(source, share)
            if not keep:
                node.release()
    return [
        (source, g if isinstance(g, Tensor) else Tensor(g)) for source, g in found.values()
        if wanted is None or id(source) in wanted
    ]


def _pulled(node: Node, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
    """node.pull, with the observers around it."""
    return watched("backward", node, g, lambda: node.pull(g, create_graph))


def _leading_to(wanted: set[int], roots: list[Node], targets: list[Tensor]) -> set[int]:
    """The numbers of the nodes from which a target can be reached: the only ones worth walking."""
    floor = min((t.node.order if t.node is not None else 0) for t in targets)
    reachable: dict[int, Node] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node.order in reachable or node.order <= floor:
            continue
        if node.parents is None:
            raise RuntimeError(_FREED)
        reachable[node.order] = node
        stack.extend(parent for parent in node.parents if isinstance(parent, Node))
    useful: set[int] = set()
    for number in sorted(reachable):
        node = reachable[number]
        if any(
            parent is not None and (id(parent) in wanted or (isinstance(parent, Node) and parent.order in useful))
            for parent in node.parents
        ):
            useful.add(number)
    return useful
