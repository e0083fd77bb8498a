"""Which dtype the result of several inputs has: PyTorch's rule, which never turns float32 into float64 unasked."""

from __future__ import annotations

from typing import Any

import numpy as np

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def _category(x: Any) -> int:
    """0 for booleans, 1 for integers, 2 for real numbers."""
    if isinstance(x, bool):
        return 0
    return 1 if isinstance(x, int) else 2 if isinstance(x, float) else _CATEGORY.get(x.dtype.kind, 3)


def result_type(*values: Any) -> np.dtype:
    """The dtype in which arrays and numbers meet.

    The category (boolean, integer, real) is the highest among all; within it arrays with dimensions decide, then arrays without,
    then Python numbers, of which a float alone means float32 and an int int64. So int64 with float32 gives float32, and
    so does float32 with the number 0.1.
    """
    categories = [_category(x) for x in values]
    highest = max(categories)
    if highest == 3:
        strange = next(x for x, c in zip(values, categories) if c == 3)
        raise TypeError(f"expected numbers, got elements of type {strange.dtype}")
    deciding = [(x.ndim > 0, x.dtype) for x, c in zip(values, categories) if c == highest and hasattr(x, "dtype")]
    if not deciding:
        return np.dtype((np.bool_, np.int64, np.float32)[highest])
    rank = max(has_dimensions for has_dimensions, _ in deciding)
    return np.result_type(*[dtype for has_dimensions, dtype in deciding if has_dimensions == rank])


def promoted(values: list[Any], floating: bool = False) -> list[Any]:
    """The values as arrays of one dtype (`result_type`; for `floating` functions of integers float32). NumPy scalars count as Python's.

    Python numbers stay as they are where the library takes them without changing the dtype.
    """
    values = [x.item() if isinstance(x, np.generic) else x for x in values]
    if not any(hasattr(x, "dtype") for x in values):
        return values
    dtype = result_type(*values)
    if floating and dtype.kind != "f":
        dtype = np.dtype(np.float32)
    return [x.astype(dtype) if hasattr(x, "dtype") and x.dtype != dtype else x for x in values]
