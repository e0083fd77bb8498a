"""Tensors from sizes and numbers: zeros, ranges, random numbers. Names and arguments are `torch`'s; the results are Tensors.

What is random takes `generator=`, a `minidiff.random.Generator`: nothing reads a global random state. float32 unless asked otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor, operation, tensor
from minidiff.autograd.tensor import array_of
from minidiff.random import Generator

from .elementwise import astype
from .indexing import fitting
from .shape import integers

__all__ = [
    "arange", "as_tensor", "bernoulli", "eye", "from_numpy", "full", "full_like", "linspace", "ones", "ones_like", "rand", "rand_like",
    "randint", "randn", "randn_like", "randperm", "zeros", "zeros_like",
]


def sizes_of(name: str, size: tuple) -> tuple[int, ...]:
    """zeros(2, 3) and zeros((2, 3)) are the same. Raises TypeError for no size, ValueError for a negative one."""
    if not size:
        raise TypeError(f"{name}: expected sizes, {name}(2, 3) or {name}((2, 3)); {name}(()) is a single number")
    found = integers(name, size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size)
    if min(found, default=0) < 0:
        raise ValueError(f"{name}: sizes must not be negative, got {found}")
    return found


def _filled(name, size, value, dtype, device, requires_grad):
    dtype = np.dtype(dtype)
    array = backend.get_library(device or "cpu").full(size, fitting(name, dtype, value), dtype)
    return Tensor(array, requires_grad)


# -- one number everywhere -------------------------------------------------------------------------------------------


def zeros(*size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros: zeros(2, 3) or zeros((2, 3)), float32 unless asked otherwise."""
    return _filled("zeros", sizes_of("zeros", size), 0, dtype or np.float32, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones: ones(2, 3) or ones((2, 3)), float32 unless asked otherwise."""
    return _filled("ones", sizes_of("ones", size), 1, dtype or np.float32, device, requires_grad)


def full(size: Any, fill_value: float, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """One number everywhere; its dtype is that of tensor(fill_value). ValueError if the dtype cannot hold it."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"full: expected a tuple of sizes, got {size!r}")
    value = array_of(fill_value)
    if value.ndim:
        raise ValueError(f"full: expected one number, got shape {value.shape}")
    return _filled("full", sizes_of("full", (size,)), value.item(), dtype or value.dtype, device, requires_grad)


def zeros_like(input: Any, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros with the shape of the input, and its dtype and device unless asked otherwise."""
    return _like("zeros_like", input, 0, dtype, device, requires_grad)


def ones_like(input: Any, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones with the shape of the input, and its dtype and device unless asked otherwise."""
    return _like("ones_like", input, 1, dtype, device, requires_grad)


def full_like(input: Any, fill_value: float, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """One number everywhere, with the shape of the input, and its dtype and device unless asked otherwise."""
    return _like("full_like", input, fill_value, dtype, device, requires_grad)


def _like(name, input, value, dtype, device, requires_grad):
    return _filled(name, tuple(input.shape), value, dtype or input.dtype, device or backend.device_of(input), requires_grad)


# -- rows of numbers -------------------------------------------------------------------------------------------------


def arange(start: float, end: float | None = None, step: float = 1, *, dtype: Any = None, device: str | None = None,
           requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below end: arange(end) starts at 0. int64 for integers, else float32.

    x_i = start + i step for i < (end - start) / step, computed in float64. Raises ValueError for a step of 0 or away from the end.
    """
    start, end = (0, start) if end is None else (start, end)
    numbers = [array_of(x).item() for x in (start, end, step)]
    start, end, step = numbers
    if step == 0 or (end - start) * step < 0 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"arange: no steps of {step} lead from {start} to {end}")
    dtype = np.dtype(dtype or (np.int64 if all(isinstance(x, int) for x in numbers) else np.float32))
    count = math.ceil((end - start) / step)
    values = start + np.arange(count, dtype=np.int64 if dtype.kind in "iu" and isinstance(step, int) else np.float64) * step
    return Tensor(backend.asarray(values.astype(dtype), device or "cpu"), requires_grad)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """`steps` numbers at equal distances, both ends among them: x_i = start + i (end - start) / (steps - 1). ValueError for steps < 0."""
    (steps,) = integers("linspace", (steps,))
    if steps < 0:
        raise ValueError(f"linspace: expected steps of at least 0, got {steps}")
    values = np.linspace(array_of(start, dtype=np.float64), array_of(end, dtype=np.float64), steps)
    return Tensor(backend.asarray(values.astype(dtype or np.float32), device or "cpu"), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """The identity matrix, (n, n) or (n, m): y_ij = 1 where i = j, else 0. ValueError for a negative size."""
    n, m = sizes_of("eye", (n, n if m is None else m))
    return Tensor(backend.get_library(device or "cpu").eye(n, m, dtype=np.dtype(dtype or np.float32)), requires_grad)


# -- random numbers --------------------------------------------------------------------------------------------------


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None, device: str | None = None,
         requires_grad: bool = False) -> Tensor:
    """Independent uniforms in [0, 1). device: None is the generator's. TypeError without a generator."""
    return _drawn("rand", "random", generator, sizes_of("rand", size), dtype, device, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None, device: str | None = None,
          requires_grad: bool = False) -> Tensor:
    """Independent standard normals. device: None is the generator's. TypeError without a generator."""
    return _drawn("randn", "standard_normal", generator, sizes_of("randn", size), dtype, device, requires_grad)


def rand_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: str | None = None,
              requires_grad: bool = False) -> Tensor:
    """`rand` with the shape of the input, and its dtype and device unless asked otherwise."""
    return _drawn("rand_like", "random", generator, tuple(input.shape), dtype or input.dtype, device or backend.device_of(input),
                  requires_grad)


def randn_like(input: Any, *, generator: Generator | None = None, dtype: Any = None, device: str | None = None,
               requires_grad: bool = False) -> Tensor:
    """`randn` with the shape of the input, and its dtype and device unless asked otherwise."""
    return _drawn("randn_like", "standard_normal", generator, tuple(input.shape), dtype or input.dtype,
                  device or backend.device_of(input), requires_grad)


def _drawn(name, method, generator, size, dtype, device, requires_grad):
    dtype = np.dtype(dtype or np.float32)
    if dtype.kind != "f":
        raise TypeError(f"{name}: expected a floating-point dtype, got {dtype}")
    values = getattr(_given(name, generator), method)(size, np.float32 if dtype == np.float16 else dtype)
    if dtype == np.float16 and method == "random":
        values = values.clip(0, 1 - 2.0**-11)  # the largest float16 below 1, so that nothing is rounded up to 1
    return Tensor(backend.asarray(values, device, dtype), requires_grad)


def _given(name: str, generator: Generator | None) -> Generator:
    if not isinstance(generator, Generator):
        raise TypeError(f"{name}: expected generator=minidiff.Generator(seed), got {generator!r}; there is no global random state")
    return generator


def randint(low: int = 0, high: int | None = None, size: Any = None, *, generator: Generator | None = None, dtype: Any = None,
            device: str | None = None) -> Tensor:
    """Independent integers of low ... high - 1, each with the same probability; randint(high, size) starts at 0. int64.

    Raises ValueError for an empty range, TypeError without a generator or a tuple of sizes.
    """
    if size is None and isinstance(high, (tuple, list)):
        high, size = None, high
    low, high = (0, low) if high is None else (low, high)
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint: expected a tuple of sizes, got {size!r}")
    low, high = integers("randint", (low, high))
    if low >= high:
        raise ValueError(f"randint: low must be below high, which is not drawn; got low={low}, high={high}")
    values = _given("randint", generator).integers(low, high, sizes_of("randint", (size,)))
    return Tensor(backend.asarray(values, device or "cpu", np.dtype(dtype or np.int64)))


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: str | None = None) -> Tensor:
    """0 ... n - 1 in random order, each order with the same probability. int64. TypeError without a generator."""
    (n,) = sizes_of("randperm", (n,))
    return Tensor(backend.asarray(_given("randperm", generator).permutation(n), device or "cpu", np.dtype(dtype or np.int64)))


def bernoulli(input: Any, *, generator: Generator | None = None) -> Tensor:
    """1 with probability p, else 0, independently for each p of the input, in its shape, dtype and device. No gradient.

    Raises ValueError for a p outside [0, 1] on the host, TypeError unless the input is floating point.
    """
    p = backend.to_array(input)
    if p.dtype.kind != "f":
        raise TypeError(f"bernoulli: expected floating-point probabilities, got {p.dtype}")
    if isinstance(p, np.ndarray) and not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"bernoulli: probabilities must lie in [0, 1], got {p.min()} to {p.max()}")
    wide = np.float64 if p.dtype == np.float64 else np.float32
    uniform = backend.asarray(_given("bernoulli", generator).random(p.shape, wide), backend.device_of(p))
    return Tensor((uniform < p).astype(p.dtype))


# -- from what there is ----------------------------------------------------------------------------------------------

moved = operation(lambda xp, input, *, device, source: backend.asarray(input, device),
                  "The same values on another device",
                  input=lambda g, device, source: moved(g, device=source, source=device))


def as_tensor(data: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """The data as a Tensor of this dtype on this device. A Tensor keeps its place in the graph, and stays itself if nothing changes.

    Raises what `tensor` raises.
    """
    if not isinstance(data, Tensor):
        return tensor(data, device=device, dtype=dtype)
    if device is not None and device != data.device:
        data = moved(data, device=device, source=data.device)
    return data if dtype is None or data.dtype == dtype else astype(data, dtype=np.dtype(dtype))


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A Tensor in the memory of a NumPy array. TypeError for anything else."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(ndarray).__name__}")
    return tensor(ndarray)
