"""Modules that hold modules: in a row, one after the other, by name, and beside a shortcut."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .module import Module


class _Row(Module):
    """Modules in a row, named 0, 1, 2 ... unless they were given names."""

    def append(self, module: Module) -> _Row:
        """Put a module at the end; returns the row."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> _Row:
        """Put several modules at the end; returns the row."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at `index`, as in a list; those behind it move up."""
        row = list(self)
        row.insert(index, module)
        self._renumber(row)

    def _renumber(self, row: list[Module]) -> None:
        for name, _ in list(self.named_children()):
            delattr(self, name)
        self.extend(row)

    def _name(self, index: int) -> str:
        try:
            return [name for name, _ in self.named_children()][operator.index(index)]
        except IndexError:
            raise IndexError(f"{type(self).__name__}: index {index} of {len(self)} modules") from None

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)._of(list(self.named_children())[index])
        return vars(self)[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name(index), module)

    def __delitem__(self, index: int) -> None:
        row = list(self)
        del row[index]
        self._renumber(row)

    @classmethod
    def _of(cls, named: list[tuple[str, Module]]) -> Module:
        return cls([module for _, module in named])


class ModuleList(_Row):
    """Modules in a row, named 0, 1, 2 ...; what is done with them is up to the owner."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(() if modules is None else modules)


class Sequential(_Row):
    """Modules applied one after the other: Sequential(f_1, f_2, ...), or of a dict, which names them."""

    def __init__(self, *args: Any) -> None:
        named = args[0].items() if len(args) == 1 and isinstance(args[0], Mapping) else ((str(i), f) for i, f in enumerate(args))
        for name, module in named:
            self.add_module(name, module)

    @classmethod
    def _of(cls, named: list[tuple[str, Module]]) -> Module:
        return cls(dict(named))

    def forward(self, input: Any) -> Any:
        """f_n(... f_2(f_1(x)))."""
        for module in self:
            input = module(input)
        return input


class ModuleDict(Module):
    """Modules by name; what is done with them is up to the owner."""

    def __init__(self, modules: Any = None) -> None:
        self.update({} if modules is None else modules)

    def update(self, modules: Any) -> None:
        """Set the modules of a dict, or of (name, module) pairs."""
        for name, module in dict(modules).items():
            self[name] = module

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __getitem__(self, key: str) -> Module:
        return dict(self.named_children())[key]

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def pop(self, key: str) -> Module:
        """Remove a module and return it; KeyError if there is none of this name."""
        module = self[key]
        delattr(self, key)
        return module

    def __len__(self) -> int:
        return len(dict(self.named_children()))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.named_children()))

    def __contains__(self, key: str) -> bool:
        return key in dict(self.named_children())

    def keys(self) -> Iterable[str]:
        """The names, in order."""
        return dict(self.named_children()).keys()

    def values(self) -> Iterable[Module]:
        """The modules, in order."""
        return dict(self.named_children()).values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """(name, module) pairs, in order."""
        return dict(self.named_children()).items()


class ResidualBlock(Module):
    """y = body(x) + shortcut(x)                                          He et al. 2016, Eqs. 1 and 2

    shortcut: None is the identity; a 1x1 convolution, say, where the body changes the shape. Further arguments go to the body.
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body, self.shortcut = body, shortcut

    def forward(self, input: Any, *args: Any) -> Any:
        """Any shape -> the shape of body(input)."""
        return self.body(input, *args) + (input if self.shortcut is None else self.shortcut(input))
