"""The cases, one file for each family. Each has OPERATIONS, NOTES and `cases()`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def modules(families: Sequence[str] = ()) -> Iterator[Any]:
    """The files, all or some, in the order of the manifest: the alphabet's."""
    names = families or [file.name for file in iter_modules(__path__)]
    return (import_module(f"{__name__}.{name}") for name in sorted(names))
