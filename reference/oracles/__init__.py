"""The operations of the suite once more, naively: what certifies the expected values.

Nothing here imports minidiff, and no oracle imports another, but that of samplers that of networks, with which it walks: `tests/reference`
reads the imports. Each file has ORACLES, an `Oracle` for each operation of its family.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


@cache
def oracles() -> dict[str, Any]:
    """The oracle of every operation that has one."""
    found: dict[str, Any] = {}
    for name in sorted(file.name for file in iter_modules(__path__) if file.name != "oracle"):
        found |= import_module(f"{__name__}.{name}").ORACLES
    return found
