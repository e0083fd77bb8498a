"""How an operation and its gradient rules are declared, and what is recorded when it is called.

An operation is a forward function on arrays and, for each input that has a gradient, a rule:

    multiply = operation(lambda xp, x, y: x * y, "z = x y",
                         x=lambda g, y: g * y,
                         y=lambda g, x: g * x)

The forward takes the array library `xp`, the inputs and, keyword only, its options. A rule takes the gradient `g` of
the result and, by name, what it needs: an input (`x`), the result (`out`), an option, or `like_x`, which has only the shape and dtype
of an input. What no rule names is not kept in memory. Rules are written with operations and arithmetic, and those work on
arrays and on Tensors alike: a plain backward pass runs the rule on arrays, a pass that is to be differentiated again runs the
same rule on Tensors. Broadcasting is undone in the walk (`walk.py`), not here.

Given only arrays, an operation returns an array; given a Tensor among them, a Tensor.

`elementwise` declares an operation whose inputs broadcast against each other and are brought to one dtype first (`promotion.py`).
Functions that are written in operations, but have a kernel of their own, are in `composite.py`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy import ndarray

from minidiff.backend import array_module

from .mode import mode, observers, watched
from .promotion import promoted
from .tensor import Tensor, of_array

_order = itertools.count(1)
_HOST = frozenset((ndarray, float, int))
_PLAIN = np.dtype(float)


def ticket() -> int:
    """A number above those of all nodes there are, and below those of all to come."""
    return next(_order)


class Like:
    """The shape and dtype of an array, without its values."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Any) -> None:
        self.shape = getattr(array, "shape", ())
        self.dtype = getattr(array, "dtype", None)


def attached(data: Any, source: Any) -> Tensor:
    """A Tensor of these values at the place in the graph that `source` is: a node, or a leaf."""
    if isinstance(source, Tensor):
        return source
    result = of_array(data)
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
        if observers:
            for observer in tuple(observers):  # another thread may come or go meanwhile
                observer.recorded(self)

    @property
    def name(self) -> str:
        """The name of the operation."""
        raise AssertionError("every kind of node has its own name")

    def pull(self, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
        """(parent, gradient) pairs for the gradient `g` of this node's result."""
        raise AssertionError("every kind of node has its own pull")

    def release(self) -> None:
        """Forget everything that was kept for the backward pass."""
        self.parents = None


class _OperationNode(Node):
    __slots__ = ("operation", "saved")

    def __init__(self, operation: Operation, parents: list[Any], saved: list[Any], out: Any) -> None:
        self.operation = operation
        self.saved = saved
        Node.__init__(self, parents, out)

    @property
    def name(self) -> str:
        return self.operation.__name__

    def pull(self, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
        operation, parents, saved = self.operation, self.parents, self.saved
        if create_graph:
            sources = parents if operation.variadic is None else [tuple(parents)]
            saved = [operation.revive(name, value, sources, self) for name, value in zip(operation.keeps, saved)]
        if operation.variadic is not None:
            rule, picks = operation.rules[0]
            values = [saved[k] for k in picks]
            return [(parent, rule(g, i, *values)) for i, parent in enumerate(parents) if parent is not None]
        pairs = []
        for parent, declared in zip(parents, operation.rules):
            if parent is not None:
                rule, picks = declared
                pairs.append((parent, rule(g, *[saved[k] for k in picks]) if picks else rule(g)))
        return pairs

    def release(self) -> None:
        self.parents = self.saved = None


def named(owner: Any, function: Callable[..., Any], skip: int = 0) -> None:
    """Give a callable object the name, documentation and signature of a function, without its first `skip` parameters."""
    signature = inspect.signature(function)
    owner.__signature__ = signature.replace(parameters=list(signature.parameters.values())[skip:])
    owner.__name__ = owner.__qualname__ = function.__name__.strip("_")
    owner.__module__ = function.__module__


def bound(owner: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The inputs in their order, also those given by name, and the options; TypeError that names what does not belong."""
    try:
        arguments = owner.__signature__.bind(*inputs, **options)
    except TypeError as error:
        raise TypeError(f"{owner.__name__}: {error}; it takes {owner.__signature__}") from None
    arguments.apply_defaults()
    return list(arguments.args), arguments.kwargs


def _must_be_arrays(name: str, arrays: Iterable[Any]) -> None:
    """TypeError for lists, and for the arrays of other libraries, which would compute in their own way."""
    for x in arrays:
        if isinstance(x, (list, tuple)) or not isinstance(getattr(x, "dtype", _PLAIN), np.dtype):
            kind = type(x).__name__ if type(x).__module__ == "builtins" else f"{type(x).__module__}.{type(x).__name__}"
            raise TypeError(f"{name}: expected Tensors, arrays or numbers, got {kind}; minidiff.tensor(x) takes it")


def name_operations(names: dict[str, Any]) -> None:
    """Tell operations that were declared as lambdas the names under which a module has them (`vars(module)`)."""
    for name, value in names.items():
        if getattr(value, "__name__", None) == "<lambda>" and isinstance(value, Operation):
            value.__name__ = value.__qualname__ = name


class Operation:
    """A forward function with its gradient rules; see the head of this file. Made by `operation` and `elementwise`.

    kernel: a faster forward, `kernel(*arrays, **options) -> array | NotImplemented`, put there by `minidiff.kernels`.
    """

    def __init__(self, forward: Callable[..., Any], doc: str, gradients: dict[str, Callable[..., Any]]) -> None:
        named(self, forward, skip=1)
        self.__doc__ = doc
        self.forward = forward
        self.kernel: Callable[..., Any] | None = None
        parameters = list(self.__signature__.parameters.values())
        variadic = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        self.variadic = variadic[0] if variadic else None
        self.inputs = inputs = variadic or [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.required = sum(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in parameters)
        options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.defaults = {name: default for name, default in options.items() if default is not inspect.Parameter.empty}
        self.options = frozenset(options)
        known = {*inputs, *(f"like_{name}" for name in inputs), "out", *options}
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

    def __repr__(self) -> str:
        return f"<operation {self.__name__}{self.__signature__}>"

    def __copy__(self) -> Operation:
        """Itself, as a function is: a copied model computes with the same operations."""
        return self

    def __deepcopy__(self, memo: dict) -> Operation:
        return self

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method of Tensor: the tensor is the first input."""
        return self if instance is None else lambda *others, **options: self(instance, *others, **options)

    def prepared(self, arrays: list[Any]) -> list[Any]:
        """The inputs as the forward wants them."""
        return arrays

    def compute(self, arrays: list[Any], options: dict[str, Any]) -> Any:
        """The value for plain arrays: by the kernel if there is one that takes them, else by the readable forward."""
        try:
            if self.kernel is not None:
                out = self.kernel(*arrays, **options)
                if out is not NotImplemented:
                    return out
            first = arrays[0]
            if type(first) is ndarray and len(arrays) < 3 and type(arrays[-1]) in _HOST:
                return self.forward(np, *arrays, **options)  # the common case, without looking further
            _must_be_arrays(self.__name__, arrays)
            return self.forward(array_module(*arrays), *arrays, **options)
        except AttributeError:
            _must_be_arrays(self.__name__, arrays)  # a kernel's
            raise
        except (ValueError, TypeError, OverflowError) as error:
            explained = self.explained(error, arrays)
            if explained is error:
                raise
            raise explained from error

    def explained(self, error: Exception, arrays: list[Any]) -> Exception:
        """An error of the forward as the caller understands it."""
        return error

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if len(inputs) < self.required or (options and not self.options.issuperset(options)):
            inputs, options = bound(self, inputs, options)
        arrays, tensors, tracked = [], False, False
        for x in inputs:
            if isinstance(x, Tensor):
                tensors = True
                if x.requires_grad:
                    tracked = True
                arrays.append(x.data)
            else:
                arrays.append(x)
        arrays = self.prepared(arrays)
        if observers:
            out = watched("forward", self, inputs, options, lambda: self.compute(arrays, options))
        else:
            out = self.compute(arrays, options)
        if not tensors:
            return out
        result = of_array(out)
        if tracked and mode.recording:
            self.record(inputs, arrays, result, options)
        return result

    def record(self, inputs: Iterable[Any], arrays: list[Any], result: Tensor, options: dict[str, Any]) -> None:
        """Give `result` its place in the graph, keeping what the rules of the inputs will ask for."""
        differentiable = self.differentiable if self.variadic is None else self.differentiable * len(arrays)
        parents, incomplete, any_parent = [], False, False
        for x, wanted in zip(inputs, differentiable):
            if wanted and isinstance(x, Tensor) and x.requires_grad:
                parents.append(x.node or x)
                any_parent = True
            else:
                parents.append(None)
                incomplete = True
        if not any_parent:
            return
        saved = []
        if self.keeps:
            if self.variadic is not None:
                arrays = [tuple(arrays)]
            needed = None
            if self.variadic is None and incomplete:  # x * 3.0 asks for 3.0, not for x
                needed = {k for parent, rule in zip(parents, self.rules) if parent is not None for k in rule[1]}
            for number, name in enumerate(self.keeps):
                saved.append(None if needed is not None and number not in needed else self.kept(name, arrays, result.data, options))
        result.node = _OperationNode(self, parents, saved, result.data)
        result.requires_grad = True

    def kept(self, name: str, arrays: list[Any], out: Any, options: dict[str, Any]) -> Any:
        """What a rule asks for by this name."""
        if name in self.inputs:
            return arrays[self.inputs.index(name)]
        if name == "out":
            return out
        if name.startswith("like_"):
            value = arrays[self.inputs.index(name[5:])]
            return [Like(x) for x in value] if type(value) is tuple else Like(value)
        return options[name] if name in options else self.defaults[name]

    def revive(self, name: str, value: Any, sources: list[Any], node: Node) -> Any:
        """A kept value as a Tensor in its place in the graph, for a backward pass that is itself recorded."""
        if value is None:
            return None
        if name == "out":
            return attached(value, node)
        if name not in self.inputs:
            return value
        source = sources[self.inputs.index(name)]
        if self.variadic is not None:
            return tuple(attached(v, s) for v, s in zip(value, source))
        return value if source is None else attached(value, source)


class Elementwise(Operation):
    """An operation whose inputs broadcast against each other and meet in one dtype. floating: integers become float32."""

    floating = False

    def prepared(self, arrays: list[Any]) -> list[Any]:
        first, last = arrays[0], arrays[-1]
        if type(first) is ndarray and len(arrays) < 3:  # the common cases, without looking further
            dtype, kind = first.dtype, type(last)
            if dtype.kind == "f" and (kind is float or kind is int or (kind is ndarray and last.dtype is dtype)):
                return arrays
        try:
            return promoted(arrays, self.floating)
        except TypeError as error:
            raise TypeError(f"{self.__name__}: {error}") from None

    def explained(self, error: Exception, arrays: list[Any]) -> Exception:
        shapes = [tuple(getattr(x, "shape", ())) for x in arrays]
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            return ValueError(f"{self.__name__}: shapes {' and '.join(map(str, shapes))} do not broadcast: counted from the last, "
                              "sizes must be equal or 1")
        kind = next(kind for kind in (TypeError, OverflowError, ValueError) if isinstance(error, kind))
        return kind(f"{self.__name__}: {error}")  # the library's: an operator that booleans do not have, say


def operation(forward: Callable[..., Any], doc: str = "", /, **gradients: Callable[..., Any]) -> Operation:
    """Declare an operation: `forward(xp, *inputs, *, **options)` on arrays, and a gradient rule for each input by name.

    doc: what `help` shows. A forward with `*xs` takes any number of inputs; its rule is then called as `rule(g, i, ...)` for input
    number i. An input without a rule has no gradient. Raises TypeError for a rule that names what the forward does not have.
    """
    return Operation(forward, doc, gradients)


def elementwise(forward: Callable[..., Any], doc: str = "", /, *, floating: bool = False, **gradients: Callable[..., Any]) -> Elementwise:
    """Declare an operation of elements: its inputs broadcast and meet in one dtype. floating: integers become float32, as in exp."""
    declared = Elementwise(forward, doc, gradients)
    declared.floating = floating
    return declared


identity = operation(lambda xp, x: x, "y = x, as a new place in the graph", x=lambda g: g)
name_operations(globals())
