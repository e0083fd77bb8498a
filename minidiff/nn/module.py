"""`Module` and `Parameter`: functions that own numbers, and the names by which those numbers are found.

A module is a plain object: what it owns are its attributes. Parameters are learned; buffers (`register_buffer`) are kept beside them,
such as running means. Names are torch's: the path of attributes, such as `down_blocks.0.norm1.weight`. Read `containers.py` next.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor
from minidiff.random import Generator


class Parameter(Tensor):
    """A Tensor that a Module owns and an optimizer changes: whoever changes it gives it a new `data`.

    data: an array or a Tensor. requires_grad=False: it keeps its value. Raises TypeError unless it is floating point.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)

    def __setattr__(self, name: str, value: Any) -> None:
        """p.data = tensor takes the values of the tensor: what is in `data` is an array."""
        super().__setattr__(name, value.data if name == "data" and isinstance(value, Tensor) else value)

    def _refuse_in_place(self, other: Any) -> Any:
        """`p -= lr * p.grad` would give the name p to a new Tensor, and leave the parameter as it was."""
        raise TypeError("Parameter: +=, -=, *= and the like do not write into it; give it new values: p.data = (p - lr * p.grad).data")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __ipow__ = __imatmul__ = _refuse_in_place

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class LoadedKeys(NamedTuple):
    """What `Module.load_state_dict(strict=False)` found no place or no value for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class _Fresh(Generator):
    """A generator that nobody asked to be repeatable, seeded by the operating system. A copied layer draws other numbers from its own."""

    def __init__(self) -> None:
        super().__init__(secrets.randbits(63))

    def __deepcopy__(self, memo: dict) -> _Fresh:
        return _Fresh()


def generator_or_fresh(generator: Generator | None) -> Generator:
    """The generator given, or one seeded by the operating system: what is to be repeatable passes its own."""
    return generator if generator is not None else _Fresh()


class Module:
    """A function with parameters. Subclasses set parameters and modules as attributes and define `forward`.

    `super().__init__()` may be called and need not be.
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes; every kind of module has its own."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # -- what it owns ------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. Raises TypeError where a parameter is, for anything but another Parameter or None: it would be lost."""
        if not (value is None or isinstance(value, Parameter)) and isinstance(vars(self).get(name), Parameter):
            raise TypeError(f"{type(self).__name__}: {name} is a parameter, it cannot become a {type(value).__name__}; give it new values, "
                            f".{name}.data = ..., or another one, .{name} = Parameter(...)")
        object.__setattr__(self, name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Set the attribute `name` to a parameter, or to None: a place that is left empty. The same as assigning it."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"register_parameter: expected a Parameter or None, got {type(param).__name__}")
        self._set(name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set the attribute `name` to a Tensor that is no parameter, but moves with the module.

        persistent: whether it is in `state_dict`. tensor: a Tensor, an array, or None. Raises as `add_module` does.
        """
        self._set(name, tensor if tensor is None else Tensor(tensor))
        vars(self).setdefault("_buffers", {})[name] = persistent

    def add_module(self, name: str, module: Module | None) -> None:
        """Set the attribute `name` to a module. Raises ValueError for a name that is taken, empty or has a dot, TypeError for no module."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: expected a Module for {name!r}, got {type(module).__name__}")
        self._set(name, module)

    def _set(self, name: str, value: Any) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{type(self).__name__}: {name!r} cannot be a name: expected a text without dots, since they make the paths")
        if hasattr(self, name) and not isinstance(vars(self).get(name, ""), (Module, Tensor, type(None))):
            raise ValueError(f"{type(self).__name__}: {name!r} is already the name of something else; choose another")
        setattr(self, name, value)

    def _parameters_here(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Parameter))

    def _buffers_here(self, persistent: bool = False) -> Iterator[tuple[str, Tensor]]:
        for name, kept in vars(self).get("_buffers", {}).items():
            value = vars(self).get(name)
            if value is not None and (kept or not persistent):
                if not isinstance(value, Tensor):
                    raise TypeError(f"{type(self).__name__}: the buffer {name} became a {type(value).__name__}; set it to a Tensor")
                yield name, value

    def _state_here(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._parameters_here()
        yield from self._buffers_here(persistent=True)

    def _walk(self, here: Callable[[Module], Iterator[tuple[str, Any]]], prefix: str, recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """(path, value) for what `here` finds in this module and in all inside it, under each of their names."""
        dot = f"{prefix}." if prefix else ""
        for name, value in here(self):
            yield dot + name, value
        if recurse:
            for name, child in self.named_children():
                yield from child._walk(here, dot + name)

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) for all parameters, each once, in the order in which they were set. recurse=False: only its own."""
        return once(self._walk(Module._parameters_here, prefix, recurse))

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, in the order of `named_parameters`."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) for all buffers, each once."""
        return once(self._walk(Module._buffers_here, prefix, recurse))

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, in the order of `named_buffers`."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) for the modules directly inside, in the order in which they were set."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The modules directly inside, each once."""
        return (child for _, child in once(self.named_children()))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) for this module (its path is the prefix) and all inside it, each once, depth first."""
        def paths(path: str, module: Module) -> Iterator[tuple[str, Module]]:
            yield path, module
            for name, child in module.named_children():
                yield from paths(f"{path}.{name}" if path else name, child)

        return once(paths(prefix, self))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, in the order of `named_modules`."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, target: str) -> Module:
        """The module at a path, such as "encoder.0". AttributeError that says where the path ends if there is none."""
        module: Any = self
        for name in filter(None, target.split(".")):
            inside = dict(module.named_children())
            if name not in inside:
                raise AttributeError(f"get_submodule: no {name!r} on the path {target!r}: {type(module).__name__} has "
                                     f"{', '.join(inside) or 'no modules'}")
            module = inside[name]
        return module

    def count_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters())

    # -- weights in and out ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """path -> array (on the module's device; not a copy) for every parameter and persistent buffer, under each of their names."""
        return {name: tensor.data for name, tensor in self._walk(Module._state_here, "")}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadedKeys:
        """Take the values of all parameters and buffers from path -> array; they are copied, converted to each one's dtype and device.

        Values: arrays, Tensors, or tensors of another library (PyTorch's weights go in as they are). strict=False: names that are
        missing or unexpected are passed over, and returned. Raises ValueError that lists names that are missing, unexpected or
        of the wrong shape; then nothing has been changed.
        """
        own = dict(self._walk(Module._state_here, ""))
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        values = {}
        for name in own:
            if name in state_dict:
                try:
                    values[name] = backend.to_numpy(state_dict[name])
                except TypeError as error:
                    raise TypeError(f"load_state_dict: {name}: {error}") from None
        problems = [f"missing {name}" for name in missing] + [f"unexpected {name}" for name in unexpected] if strict else []
        problems += [f"{name} has shape {value.shape}, expected {own[name].shape}"
                     for name, value in values.items() if value.shape != own[name].shape]
        if problems:
            shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
            raise ValueError(f"load_state_dict: the weights are not of this {type(self).__name__}: {shown}")
        for name, value in values.items():
            own[name].data = backend.asarray(value.astype(own[name].dtype), own[name].device)
        return LoadedKeys(missing, unexpected)

    # -- all at once -------------------------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Module:
        """fn(module) for every module inside, then for this one; returns the module. For initial values: see `nn.init`."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, device: Any = None, dtype: Any = None) -> Module:
        """Move parameters and buffers to a device ('cpu', 'cuda'), floating-point ones to a dtype; returns the module.

        A dtype may come first: to("float64"), to(np.float16). Gradients are forgotten. Raises DeviceError for a device that is not
        there, TypeError for a dtype that is not floating point.
        """
        if device is not None and (not isinstance(device, str) or device in ("float16", "float32", "float64")):
            device, dtype = None, device
        if dtype is not None and np.dtype(dtype).kind != "f":
            raise TypeError(f"to: dtype {np.dtype(dtype)}; a module can be float16, float32 or float64")
        for tensor in (*self.parameters(), *self.buffers()):
            tensor.data = backend.asarray(tensor.data, device, np.dtype(dtype) if dtype is not None and tensor.dtype.kind == "f" else None)
            tensor.grad = None
        return self

    def cpu(self) -> Module:
        """to("cpu")."""
        return self.to("cpu")

    def cuda(self) -> Module:
        """to("cuda")."""
        return self.to("cuda")

    def half(self) -> Module:
        """to(dtype="float16")."""
        return self.to(dtype=np.float16)

    def float(self) -> Module:
        """to(dtype="float32")."""
        return self.to(dtype=np.float32)

    def double(self) -> Module:
        """to(dtype="float64")."""
        return self.to(dtype=np.float64)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Whether gradients are wanted for the parameters: False freezes them; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def train(self, mode: bool = True) -> Module:
        """Switch to training (dropout is active), or with False to evaluation; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation; returns the module."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters. ValueError for set_to_none=False, which is not offered."""
        if not set_to_none:
            raise ValueError("zero_grad: set_to_none=False is not offered: a gradient that is forgotten is None")
        for parameter in self.parameters():
            parameter.grad = None

    # -- how it looks ------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands in the brackets when the module is printed: the options of a layer."""
        return ""

    def __repr__(self) -> str:
        extra, children = self.extra_repr(), list(self.named_children())
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = [extra] * bool(extra) + [f"({name}): {child!r}" for name, child in children]
        return "\n  ".join([f"{type(self).__name__}(", *"\n".join(lines).split("\n")]) + "\n)"


def once(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The pairs whose value has not come before."""
    seen: set[int] = set()
    for name, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
