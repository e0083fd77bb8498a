"""What can be verified: anything that answers a `Task`.

`Functions` makes an implementation of a mapping from operation names to functions on NumPy arrays. `Differentiable` is what the adapters
of array libraries with derivatives have in common: they state how each operation is written there, and it asks for the gradients.
Read `runner` next.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from .suite import Task, cotangent_of


class Unsupported(Exception):
    """Raised by an implementation that does not have what a task asks for; says why. The case is then reported as skipped."""


class NoAnswer(Exception):
    """Raised by an implementation that tried and has no answer that could be judged; says what happened. The case is then an error."""


class Implementation(Protocol):
    """Anything with a name that answers tasks."""

    name: str

    def run(self, task: Task) -> Mapping[str, Any]:
        """The outputs by name. Raises Unsupported to skip; NoAnswer, or any other exception, is reported as an error of this case."""
        ...


class Functions:
    """An implementation from a mapping of operation names to functions.

    Each is called as function(inputs, settings), the inputs NumPy arrays by name, and returns the outputs by name, or the array alone if
    the only output is "output". Gradients may be left out. An operation that is not in the mapping is skipped; a name in it that is no
    operation is refused by `verify`.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]], name: str = "functions") -> None:
        self.functions, self.name = functions, name

    def run(self, task: Task) -> Mapping[str, Any]:
        """The outputs by name. Raises Unsupported for an operation that is not in the mapping, NoAnswer for None instead of an array."""
        if task.operation not in self.functions:
            raise Unsupported(f"{self.name} has no {task.operation}")
        found = self.functions[task.operation](dict(task.inputs), dict(task.settings))
        outputs = by_name(found)
        nothing = [name for name, x in outputs.items() if x is None]
        if nothing:
            what = "None" if found is None else f"None as {', '.join(nothing)}"
            raise NoAnswer(f"the function of {task.operation} returned {what}; expected arrays; leave out gradients that it does not have")
        return outputs


def implementation_at(place: str) -> Implementation:
    """The implementation called "package.module:OBJECT": a mapping as `Functions` takes it, or an `Implementation`.

    Modules are found as `python -m` finds them: in the current folder, too. Raises ValueError, which says what is wrong.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise ValueError(f"{place!r}: expected package.module:OBJECT")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = attrgetter(name)(import_module(module))
    except Exception as error:  # whatever the module does when it is imported
        raise ValueError(f"{place}: {type(error).__name__}: {error}") from error
    if isinstance(found, Mapping):
        return Functions(found, place)
    if not callable(getattr(found, "run", None)) or not isinstance(getattr(found, "name", None), str):
        raise ValueError(f"{place}: neither a mapping of operation names to functions nor an object with `name` and `run(task)`: {found!r}")
    return found


def by_name(result: Any) -> dict[str, Any]:
    """Outputs by name: a single one is called "output"."""
    return dict(result) if isinstance(result, Mapping) else {"output": result}


class Differentiable(ABC):
    """An array library with derivatives. operations: functions of (inputs, settings), both by name, on arrays of the library.

    Inputs whose gradients are asked for arrive ready for it. An operation returns what `Functions` describes, in arrays of the library;
    where it is defined by itself in terms of gradients, it returns them under their names.
    """

    name: str
    operations: Mapping[str, Callable[..., Any]]

    @abstractmethod
    def array(self, values: np.ndarray, differentiate: bool) -> Any:
        """An array of the library, with gradients if `differentiate`."""

    @abstractmethod
    def gradients(self, outputs: Sequence[tuple[Any, Any]], inputs: Sequence[Any]) -> Sequence[Any]:
        """The gradients of the sum over (output, cotangent) of (output * cotangent).sum()."""

    @abstractmethod
    def numpy(self, array: Any) -> np.ndarray:
        """The values as a NumPy array."""

    def run(self, task: Task) -> dict[str, np.ndarray]:
        """The outputs by name. Raises Unsupported for an operation that this library does not have."""
        if task.operation not in self.operations:
            raise Unsupported(f"{self.name} has no {task.operation}")
        wanted = task.gradients
        inputs = {name: self.array(values, name in wanted) for name, values in task.inputs.items()}
        cotangents = {output: inputs.pop(name) for name in task.inputs if (output := cotangent_of(name))}
        outputs = by_name(self.operations[task.operation](inputs, dict(task.settings)))
        open_ = [name for name in wanted if f"grad.{name}" not in outputs]
        if open_:
            pairs = [(outputs[name], cotangent) for name, cotangent in cotangents.items()]
            for name, gradient in zip(open_, self.gradients(pairs, [inputs[name] for name in open_])):
                outputs[f"grad.{name}"] = gradient
        return {name: self.numpy(outputs[name]) for name in task.outputs if name in outputs}
