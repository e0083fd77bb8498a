"""Which dtype the result of several inputs has: PyTorch's rule, which never turns float32 into float64 unasked."""

from __future__ import annotations

from typing import Any

import numpy as np

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def _category(x: Any) -> int:
    """0 for booleans, 1 for integers, 2 for real numbers; TypeError for anything else."""
    if isinstance(x, bool):
        return 0
    if isinstance(x, (int, float)):
        return 1 if isinstance(x, int) else 2
    if not hasattr(x, "dtype"):
        raise TypeError(f"expected Tensors, arrays or numbers, got {type(x).__name__}")
    if not isinstance(x.dtype, np.dtype):
        raise TypeError(f"expected Tensors, arrays or numbers, got {type(x).__module__}.{type(x).__name__}; minidiff.tensor(x) takes it")
    if x.dtype.kind not in _CATEGORY:
        raise TypeError(f"expected real numbers, got elements of type {x.dtype}")
    return _CATEGORY[x.dtype.kind]


def result_type(*values: Any) -> np.dtype:
    """The dtype in which arrays, Tensors and numbers meet.

    The category (boolean, integer, real) is the highest among all; within it arrays with dimensions decide, then arrays without,
    then Python numbers, of which a float alone means float32 and an int int64. So int64 with float32 gives float32, and
    so does float32 with the number 0.1. Raises TypeError for what is neither.
    """
    categories = [_category(x) for x in values]
    highest = max(categories)
    deciding = [(x.ndim > 0, x.dtype) for x, c in zip(values, categories) if c == highest and hasattr(x, "dtype")]
    if not deciding:
        return np.dtype((np.bool_, np.int64, np.float32)[highest])
    rank = max(has_dimensions for has_dimensions, _ in deciding)
    return np.result_type(*[dtype for has_dimensions, dtype in deciding if has_dimensions == rank])


def promoted(values: list[Any], floating: bool = False) -> list[Any]:
    """The values as arrays of one dtype (`result_type`; for `floating` functions of integers float32).

    Python numbers stay as they are: the library takes them without changing the dtype. NumPy scalars count as Python's beside an
    array; among themselves, as what NumPy leaves of a sum over everything, they keep their dtype.
    """
    if any(hasattr(x, "dtype") and not isinstance(x, np.generic) for x in values):
        values = [x.item() if isinstance(x, np.generic) else x for x in values]
    dtype = result_type(*values)
    if floating and dtype.kind != "f":
        dtype = np.dtype(np.float32)
    return [x.astype(dtype) if hasattr(x, "dtype") and x.dtype != dtype else x for x in values]
