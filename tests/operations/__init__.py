"""Every operation of `minidiff.functional` as a `Case`: how to generate calls of it. One file a family; `CASES` is all of them.

The calls are data, so the same ones are run on tensors, on arrays, on the stand-in for CuPy and on PyTorch:

    tests/functional/test_every_operation.py   derivatives of both orders by finite differences; arrays, layouts, dtypes; nothing modified
    tests/devices/test_every_operation.py      the same results on the stand-in
    tests/peers/test_every_operation.py        the same results, gradients and refusals as PyTorch's
"""

from __future__ import annotations

import importlib
import pkgutil

from .case import Call, Case, Fixed, Values, values

CASES: list[Case] = []
for _module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
    CASES += getattr(importlib.import_module(f"{__name__}.{_module}"), "CASES", [])

__all__ = ["CASES", "Call", "Case", "Fixed", "Values", "values"]
