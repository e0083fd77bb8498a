"""How an operation and its gradient rules are declared, and what is recorded when it is called.

An operation is a forward function on arrays and, for each input that has a gradient, a rule:

    multiply = operation(lambda xp, x, y: x * y,
                         x=lambda g, y: g * y,
                         y=lambda g, x: g * x)

The forward takes the array library `xp`, the inputs by position and its options by keyword. A rule takes the gradient `g` of
the result and, by name, what it needs: an input (`x`), the result (`out`), an option, or `like_x`, which has only the shape and dtype
of an input. What no rule names is not kept in memory. Rules are written with operations and arithmetic, and those work on
arrays and on Tensors alike: a plain backward pass runs the rule on arrays, a pass that is to be differentiated again runs the
same rule on Tensors. Broadcasting is undone in the walk (`walk.py`), not here.

Given only arrays, an operation returns an array; given a Tensor among them, a Tensor.

`composite` is for functions that are written in operations (their derivatives of any order follow) but have a kernel
that computes value and first gradients in one go: the function is the readable twin of its kernel.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidiff.backend import array_module

from .tensor import Tensor

_order = itertools.count(1)


class _Mode(threading.local):
    recording = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return _mode.recording


@contextlib.contextmanager
def _recording(enabled: bool) -> Iterator[None]:
    before, _mode.recording = _mode.recording, enabled
    try:
        yield
    finally:
        _mode.recording = before


def no_grad() -> contextlib.AbstractContextManager[None]:
    """A context (or decorator) in which nothing is recorded: for evaluation, sampling and optimizer steps."""
    return _recording(False)


def enable_grad() -> contextlib.AbstractContextManager[None]:
    """A context (or decorator) in which operations are recorded, also inside `no_grad`."""
    return _recording(True)


class Like:
    """The shape and dtype of an array, without its values."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Any) -> None:
        self.shape = getattr(array, "shape", ())
        self.dtype = getattr(array, "dtype", None)


def _attached(data: Any, source: Any) -> Tensor:
    """A Tensor of these values at the place in the graph that `source` is: a node, or a leaf."""
    if isinstance(source, Tensor):
        return source
    result = Tensor(data)
    if source is not None:
        result.node, result.requires_grad = source, True
    return result


class Node:
    """One recorded call. `parents`: for each input its node, its leaf Tensor, or None where no gradient goes.

    `order` grows with time, so a node's number is higher than that of everything it depends on.
    """

    __slots__ = ("__weakref__", "dtype", "order", "parents", "shape")

    def __init__(self, parents: list[Any], out: Any) -> None:
        self.order = next(_order)
        self.parents = parents
        self.shape = out.shape
        self.dtype = out.dtype

    def pull(self, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
        """(parent, gradient) pairs for the gradient `g` of this node's result."""
        raise AssertionError("every kind of node has its own pull")

    def release(self) -> None:
        """Forget everything that was kept for the backward pass."""
        self.parents = None


class _OperationNode(Node):
    __slots__ = ("operation", "options", "saved")

    def pull(self, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
        operation, parents, saved = self.operation, self.parents, self.saved
        if create_graph:
            sources = parents if operation.variadic is None else [tuple(parents)]
            saved = [operation.revive(name, value, sources, self) for name, value in zip(operation.keeps, saved)]
        pairs = []
        if operation.variadic is not None:
            rule, picks = operation.rules[0]
            values = [saved[k] for k in picks]
            return [(parent, rule(g, i, *values)) for i, parent in enumerate(parents) if parent is not None]
        for parent, declared in zip(parents, operation.rules):
            if parent is not None:
                rule, picks = declared
                pairs.append((parent, rule(g, *[saved[k] for k in picks])))
        return pairs

    def release(self) -> None:
        self.parents = self.saved = self.options = None


class Operation:
    """A forward function with its gradient rules; see the head of this file. Made by `operation`.

    kernel: a faster forward, `kernel(*arrays, **options) -> array | NotImplemented`, put there by `minidiff.kernels`.
    """

    def __init__(self, forward: Callable[..., Any], gradients: dict[str, Callable[..., Any]]) -> None:
        self.forward = forward
        self.kernel: Callable[..., Any] | None = None
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        variadic = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        self.variadic = variadic[0] if variadic else None
        inputs = variadic or [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.inputs = inputs
        self.defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}
        known = {*inputs, *(f"like_{name}" for name in inputs), "out",
                 *(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)}
        unknown = gradients.keys() - set(inputs)
        if unknown:
            raise TypeError(f"operation: gradient rules for {sorted(unknown)}, but the inputs are {inputs}")
        skip = 1 if self.variadic is None else 2  # g; for a variadic input also the number of the input
        needs = {name: list(inspect.signature(rule).parameters)[skip:] for name, rule in gradients.items()}
        for name, wanted in needs.items():
            if not known.issuperset(wanted):
                raise TypeError(f"operation: the rule for {name} asks for {sorted(set(wanted) - known)}; known: {sorted(known)}")
        self.keeps = list(dict.fromkeys(name for wanted in needs.values() for name in wanted))
        self.rules = [(gradients[name], [self.keeps.index(k) for k in needs[name]]) if name in gradients else None
                      for name in inputs]
        self.differentiable = [rule is not None for rule in self.rules]

    def compute(self, arrays: list[Any], options: dict[str, Any]) -> Any:
        """The value for plain arrays: by the kernel if there is one that takes them, else by the readable forward."""
        if self.kernel is not None:
            out = self.kernel(*arrays, **options)
            if out is not NotImplemented:
                return out
        first = arrays[0]
        if type(first) is np.ndarray and (len(arrays) == 1 or type(arrays[1]) in (np.ndarray, float, int)) and len(arrays) < 3:
            return self.forward(np, *arrays, **options)  # the common case, without looking further
        return self.forward(array_module(*arrays), *arrays, **options)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        arrays, tensors, tracked = [], False, False
        for x in inputs:
            if isinstance(x, Tensor):
                tensors = True
                tracked = tracked or x.requires_grad
                arrays.append(x.data)
            else:
                arrays.append(x)
        out = self.compute(arrays, options)
        if not tensors:
            return out
        result = Tensor(out)
        if tracked and _mode.recording:
            self.record(inputs, arrays, result, options)
        return result

    def record(self, inputs: tuple[Any, ...], arrays: list[Any], result: Tensor, options: dict[str, Any]) -> None:
        """Give `result` its place in the graph, keeping what the rules of the inputs will ask for."""
        differentiable = self.differentiable if self.variadic is None else self.differentiable * len(inputs)
        parents = [
            (x.node or x) if wanted and isinstance(x, Tensor) and x.requires_grad else None
            for x, wanted in zip(inputs, differentiable)
        ]
        if not any(parent is not None for parent in parents):
            return
        node = _OperationNode(parents, result.data)
        node.operation = self
        node.options = options
        if self.variadic is not None:
            arrays = [tuple(arrays)]
        needed = range(len(self.keeps))
        if self.variadic is None and any(parent is None for parent in parents):  # x * 3.0 asks for 3.0, not for x
            needed = {k for parent, rule in zip(parents, self.rules) if parent is not None for k in rule[1]}
        saved = []
        for number, name in enumerate(self.keeps):
            if number not in needed:
                saved.append(None)
            elif name in self.inputs:
                saved.append(arrays[self.inputs.index(name)])
            elif name == "out":
                saved.append(result.data)
            elif name.startswith("like_"):
                value = arrays[self.inputs.index(name[5:])]
                saved.append([Like(x) for x in value] if type(value) is tuple else Like(value))
            else:
                saved.append(options[name] if name in options else self.defaults[name])
        node.saved = saved
        result.node = node
        result.requires_grad = True

    def revive(self, name: str, value: Any, sources: list[Any], node: Node) -> Any:
        """A kept value as a Tensor in its place in the graph, for a backward pass that is itself recorded."""
        if value is None:
            return None
        if name == "out":
            return _attached(value, node)
        if name not in self.inputs:
            return value
        source = sources[self.inputs.index(name)]
        if self.variadic is not None:
            return tuple(_attached(v, s) for v, s in zip(value, source))
        return value if source is None else _attached(value, source)


def operation(forward: Callable[..., Any], **gradients: Callable[..., Any]) -> Operation:
    """Declare an operation: `forward(xp, *inputs, *, **options)` on arrays, and a gradient rule for each input by name.

    A forward with `*xs` takes any number of inputs; its rule is then called as `rule(g, i, ...)` for input number i.
    An input without a rule has no gradient. Raises TypeError for a rule that names what the forward does not have.
    """
    return Operation(forward, gradients)


class _CompositeNode(Node):
    __slots__ = ("composite", "inputs", "options", "saved")

    def pull(self, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
        needs = [parent is not None for parent in self.parents]
        if create_graph:
            return self._pull_recorded(g, needs)
        gradients = self.composite.kernel.backward(g, self.saved, needs, **self.options)
        return [(parent, gradient) for parent, gradient in zip(self.parents, gradients) if parent is not None]

    def _pull_recorded(self, g: Any, needs: list[bool]) -> list[tuple[Any, Any]]:
        """Differentiate the readable twin instead of the kernel, so that the result can be differentiated again."""
        from .walk import grad

        with enable_grad():
            # `identity` makes each input a place of its own: only the partial derivatives are wanted here
            inputs = [identity(_attached(x, parent)) if need else x
                      for x, parent, need in zip(self.inputs, self.parents, needs)]
            out = self.composite.function(*inputs, **self.options)
            wanted = [x for x, need in zip(inputs, needs) if need]
            gradients = iter(grad(out, wanted, g, create_graph=True))
        return [(parent, next(gradients)) for parent in self.parents if parent is not None]

    def release(self) -> None:
        self.parents = self.inputs = self.saved = self.options = None


class Composite:
    """A function of operations with an optional kernel; see `composite`.

    kernel: an object with `forward(*arrays, **options) -> (out, saved) | NotImplemented` and
    `backward(g, saved, needs, **options) -> one array an input (None where needs is False)`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.kernel: Any = None
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if self.kernel is None:
            return self.function(*inputs, **options)
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        computed = self.kernel.forward(*arrays, **options)
        if computed is NotImplemented:
            return self.function(*inputs, **options)
        out, saved = computed
        if not any(isinstance(x, Tensor) for x in inputs):
            return out
        result = Tensor(out)
        if _mode.recording:
            parents = [(x.node or x) if isinstance(x, Tensor) and x.requires_grad else None for x in inputs]
            if any(parent is not None for parent in parents):
                node = _CompositeNode(parents, out)
                node.composite, node.inputs, node.options, node.saved = self, arrays, options, saved
                result.node, result.requires_grad = node, True
        return result


def composite(function: Callable[..., Any]) -> Composite:
    """Declare that `function(*inputs, **options)`, written in operations, may have a kernel in `minidiff.kernels`.

    Without a kernel for the given arrays the function itself runs; with one, it is still what second derivatives use.
    """
    return Composite(function)


identity = operation(lambda xp, x: x, x=lambda g: g)
