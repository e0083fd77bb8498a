"""float16 is for storage: what puts many elements together is computed in float32 and comes back as float16."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np


def wide(x):
    """x as float32 if it is float16, else as it is."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def narrow(y, dtype):
    """y in this dtype: that of the input it was computed from."""
    return y if y.dtype == dtype else y.astype(dtype)


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that computes with float16 in float32."""

    @wraps(function)
    def accumulating(input, **options):
        if input.dtype != np.float16:
            return function(input, **options)
        out = function(wide(input), **options)
        return tuple(narrow(part, input.dtype) for part in out) if isinstance(out, tuple) else narrow(out, input.dtype)

    return accumulating
