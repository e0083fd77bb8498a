"""`Module` and `Parameter`: functions that own numbers to be learned, and the names by which those numbers are found."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor
from minidiff.random import Generator


class Parameter(Tensor):
    """A Tensor that a Module owns and an optimizer changes. The optimizer is the only one who writes into its `data`."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


def generator_or_fresh(generator: Generator | None) -> Generator:
    """The generator given, or one seeded by the operating system: what is to be repeatable passes its own."""
    return generator if generator is not None else Generator(secrets.randbits(63))


class Module:
    """A function with parameters. Subclasses set parameters and modules as attributes and define `forward`.

    Names are torch's: a parameter's name is the path of attributes that leads to it, such as `down_blocks.0.norm1.weight`.
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes; every kind of module has its own."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) for the modules directly inside, in the order in which they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, depth first."""
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) for all parameters, each once, in the order in which they were set."""
        seen: set[int] = set()
        for name, parameter in self._walk(prefix):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def _walk(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}{name}.")

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once, in the order of `named_parameters`."""
        for _, parameter in self.named_parameters():
            yield parameter

    def state_dict(self) -> dict[str, Any]:
        """name -> array (on the module's device; not a copy) for every parameter, shared ones under each of their names."""
        return {name: parameter.data for name, parameter in self._walk("")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the values of all parameters from name -> array; they are copied, converted to each parameter's dtype and device.

        Raises ValueError that lists names that are missing, unexpected or of the wrong shape; then nothing has been changed.
        """
        own = dict(self._walk(""))
        problems = [f"missing {name}" for name in own if name not in state]
        problems += [f"unexpected {name}" for name in state if name not in own]
        problems += [
            f"{name} has shape {tuple(state[name].shape)}, expected {parameter.shape}"
            for name, parameter in own.items() if name in state and tuple(state[name].shape) != parameter.shape
        ]
        if problems:
            shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
            raise ValueError(f"load_state_dict: the weights are not of this {type(self).__name__}: {shown}")
        for name, parameter in own.items():
            values = backend.to_numpy(state[name]).astype(parameter.dtype)
            parameter.data = backend.asarray(values, parameter.device)

    def to(self, device: str | None = None, dtype: Any = None) -> Module:
        """Move all parameters to a device ('cpu', 'cuda') or dtype; returns the module. DeviceError if it is not there."""
        for parameter in self.parameters():
            parameter.data = backend.asarray(parameter.data, device, None if dtype is None else np.dtype(dtype))
            parameter.grad = None
        return self

    def train(self, mode: bool = True) -> Module:
        """Switch to training (dropout is active), or with False to evaluation; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def count_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters())


class ModuleList(Module):
    """Modules in a row, named 0, 1, 2 ...; what is done with them is up to the owner."""

    def __init__(self, modules: Any = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """Put a module at the end."""
        setattr(self, str(len(self)), module)

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class Sequential(ModuleList):
    """Modules applied one after the other."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        """f_n(... f_2(f_1(x)))."""
        for module in self:
            x = module(x)
        return x
