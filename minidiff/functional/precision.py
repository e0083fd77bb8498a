"""float16 is for storage: what puts many elements together is computed in float32 and comes back as float16."""

from __future__ import annotations

import numpy as np


def wide(x):
    """x as float32 if it is float16, else as it is."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def narrow(y, dtype):
    """y in this dtype: that of the input it was computed from."""
    return y if y.dtype == dtype else y.astype(dtype)


def must_be_real(name: str, **arrays) -> None:
    """TypeError unless all arrays hold floating-point numbers."""
    for what, x in arrays.items():
        if x.dtype.kind != "f":
            raise TypeError(f"{name}: expected floating-point numbers, got {what} of {x.dtype}; convert it first: .astype('float32')")
