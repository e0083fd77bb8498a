"""`summary`: what a network is made of, and what it costs, by watching it compute once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor, no_grad
from minidiff.autograd.mode import Observer, observed_by
from minidiff.functional.attention import attended
from minidiff.functional.convolution import convolution, convolution_input
from minidiff.functional.linear import product

from .module import Module

Shape = tuple[int, ...]

# multiply-adds of an operation, from the shapes of its inputs and of its result
MULTIPLY_ADDS: dict[Any, Callable[[list[Shape], Shape], int]] = {
    product: lambda inputs, out: math.prod(out) * inputs[0][-1],
    convolution: lambda inputs, out: math.prod(out) * math.prod(inputs[1][1:]),
    convolution_input: lambda inputs, out: math.prod(inputs[0]) * math.prod(inputs[1][1:]),
    attended: lambda inputs, out: math.prod(out[:-1]) * inputs[1][-2] * (inputs[0][-1] + out[-1]),
}


@dataclass(frozen=True)
class Row:
    """One module: its path, its class, the shape (or shapes) of its result, and what is in it but not in the modules inside it."""

    path: str
    kind: str
    output_shape: Any
    parameters: int
    multiply_adds: int


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` returns: str() of it is the table, `rows` are its lines."""

    rows: tuple[Row, ...]
    trainable: int

    @property
    def parameters(self) -> int:
        """How many numbers the parameters are, shared ones counted once."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """How many multiply-adds the matrix products and convolutions take."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        table = [("module", "kind", "output shape", "parameters", "multiply-adds")]
        table += [(row.path or "(all)", row.kind, "-" if row.output_shape is None else str(row.output_shape), f"{row.parameters:,}",
                   f"{row.multiply_adds:,}") for row in self.rows]
        table += [("total", f"{self.trainable:,} trainable", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")]
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = ["  ".join(cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths)))
                 for line in table]
        rule = "-" * len(lines[0])
        return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:-1], rule, lines[-1]])

    __repr__ = __str__


class _Counter(Observer):
    """Adds the multiply-adds of each operation to the innermost module at work."""

    def __init__(self) -> None:
        self.at_work: list[Module] = []
        self.counts: dict[int, int] = {}

    def forward(self, operation: Any, inputs: Sequence[Any], options: dict[str, Any], compute: Callable[[], Any]) -> Any:
        result = compute()
        count = MULTIPLY_ADDS.get(operation)
        if count is not None and result is not NotImplemented:  # a kernel that declines leaves the work to operations, which come here
            out = result[0] if isinstance(result, tuple) else result
            shapes = [tuple(getattr(x, "shape", ())) for x in inputs]
            key = id(self.at_work[-1])
            self.counts[key] = self.counts.get(key, 0) + count(shapes, tuple(out.shape))
        return result


def summary(model: Module, *inputs: Any) -> Summary:
    """Run a network once, in evaluation and on zeros, and tell what each module gives, owns and computes.

    inputs: for each input of the network its shape (with the batch), or an array, which is needed where integers are expected:
    summary(net, (1, 3, 32, 32)), summary(unet, (1, 1, 28, 28), np.array([0])).
    Multiply-adds are those of matrix products and convolutions, seen as they run: whatever the network does, and no gradient.
    A module that runs several times adds up, and shows its last shape; one that does not run shows "-". Nothing of the network is
    changed: neither its mode nor its running statistics.
    """
    modules = list(model.named_modules())
    counter, shapes = _Counter(), {}
    tensors = (*model.parameters(), *model.buffers())
    device = backend.device_of(tensors[0]) if tensors else "cpu"
    dtype = next((tensor.dtype for tensor in tensors if tensor.dtype.kind == "f"), np.float32)
    arguments = [Tensor(backend.asarray(np.zeros(x, dtype), device)) if isinstance(x, (tuple, list)) else x for x in inputs]

    def watching(module: Module) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            counter.at_work.append(module)
            try:
                result = type(module).forward(module, *args, **kwargs)
            finally:
                counter.at_work.pop()
            shapes[id(module)] = _shape(result)
            return result

        return forward

    modes = [(module, vars(module).get("training")) for _, module in modules]
    try:
        model.eval()
        for _, module in modules:
            module.forward = watching(module)  # `__call__` finds it before the method of the class
        with no_grad(), observed_by(counter):
            model(*arguments)
    finally:
        for module, training in modes:
            vars(module).pop("forward", None)
            vars(module).pop("training", None)
            if training is not None:
                module.training = training
    seen: set[int] = set()
    rows = []
    for path, module in modules:
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in seen]
        seen.update(map(id, own))
        rows.append(Row(path, type(module).__name__, shapes.get(id(module)), sum(p.size for p in own), counter.counts.get(id(module), 0)))
    return Summary(tuple(rows), sum(p.size for p in model.parameters() if p.requires_grad))


def _shape(result: Any) -> Any:
    """The shape of an array; of several, their shapes."""
    if isinstance(result, (tuple, list)):
        return tuple(_shape(part) for part in result)
    return tuple(result.shape) if hasattr(result, "shape") else None
