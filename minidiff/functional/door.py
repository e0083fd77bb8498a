"""The door of the functions: what is no array, or holds no real numbers, is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np


def must_be_arrays(name: str, **arrays) -> None:
    """TypeError for lists, numbers, and the arrays of other libraries."""
    for what, x in arrays.items():
        if not isinstance(getattr(x, "dtype", None), np.dtype):
            kind = type(x).__name__ if type(x).__module__ == "builtins" else f"{type(x).__module__}.{type(x).__name__}"
            raise TypeError(f"{name}: expected a Tensor or an array as {what}, got {kind}; minidiff.tensor(...) makes one of it")


def must_be_real(name: str, **arrays) -> None:
    """TypeError unless all are arrays of floating-point numbers."""
    must_be_arrays(name, **arrays)
    for what, x in arrays.items():
        if x.dtype.kind != "f":
            raise TypeError(f"{name}: expected floating-point numbers, got {what} of {x.dtype}; convert it first: .astype('float32')")


def _parts(x: Any) -> Iterator[Any]:
    yield x
    if isinstance(x, (tuple, list)):
        for part in x:
            yield from _parts(part)


def _no_array(error: Exception, function: Callable[..., Any], args: tuple, options: dict[str, Any]) -> dict[str, Any]:
    """The argument, by its name, that a call failed for because it is no array: what was asked for an array's attribute in vain, or is
    an array of another library; else nothing."""
    try:
        arguments = inspect.signature(function).bind(*args, **options).arguments
    except TypeError:
        return {}
    asked = getattr(error, "obj", error)
    for name, x in arguments.items():
        for part in _parts(x):
            foreign = hasattr(part, "dtype") and hasattr(part, "shape") and not isinstance(part, type)
            if (part is asked or foreign) and not isinstance(getattr(part, "dtype", None), np.dtype):
                return {name: part}
    return {}


def explaining_no_arrays(function: Callable[..., Any], module: str) -> Callable[..., Any]:
    """A function as its `module` offers it: if it fails for an argument that is no array, it says so (nothing is looked at before)."""

    @wraps(function)
    def explaining(*args, **options):
        try:
            return function(*args, **options)
        except (AttributeError, TypeError, ValueError) as error:
            found = _no_array(error, function, args, options)
            if not found:
                raise
        must_be_arrays(function.__name__, **found)

    explaining.__module__ = module
    return explaining
