"""`Tensor`: an array of NumPy or CuPy, perhaps with a place in a graph.

The arithmetic operators and NumPy's methods are attached by `minidiff.functional`, where the operations live; here are
only the value, its graph node and the ways in and out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff import backend


class Tensor:
    """An array that can take part in differentiation.

    data: the array (NumPy or CuPy). requires_grad: whether gradients are wanted for it; only real floating-point
    arrays can have them (TypeError otherwise). grad: the gradient that `backward` left here (a Tensor), or None.
    Arrays are values: no operation writes into `data`.
    """

    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad")
    __array_ufunc__ = None  # so that `array * tensor` asks the Tensor, not NumPy

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data = backend.asarray(data)
        self.grad: Tensor | None = None
        self.node = None  # what made it: a node of the graph; None for a leaf
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()

    def requires_grad_(self) -> Tensor:
        """Ask for gradients of this leaf from now on; returns the tensor itself. TypeError unless it is floating point."""
        if self.data.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors have gradients, this one is {self.data.dtype}: convert it first")
        self.requires_grad = True
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """Where the elements live: 'cpu' or 'cuda'."""
        return backend.device_of(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=1000)
        notes = [str(self.dtype)] * (self.dtype != np.float32)
        notes += [f"device={self.device!r}"] * (self.device != "cpu")
        notes += ["requires_grad=True"] * self.requires_grad
        return f"tensor({', '.join([values, *notes])})"

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array on the host (on the CPU: the array itself, not a copy)."""
        return backend.to_numpy(self.data)

    def item(self) -> float:
        """The one element as a Python number; ValueError if there are several."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same values without a place in the graph."""
        return Tensor(self.data)

    def backward(self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `leaf.grad` for every leaf this was computed from. See `minidiff.autograd.backward`."""
        from .walk import backward

        backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)


def of_array(data: Any) -> Tensor:
    """A Tensor around the result of a computation, without a place in a graph and without looking at it twice."""
    result = object.__new__(Tensor)
    result.data = data if type(data) is np.ndarray else backend.asarray(data)
    result.grad = result.node = None
    result.requires_grad = False
    return result


def tensor(data: Any, requires_grad: bool = False, device: str | None = None, dtype: Any = None) -> Tensor:
    """A Tensor of the given values; Python floats become float32.

    data: an array, a Tensor, a nested list or a number. device: 'cpu', 'cuda'; None leaves an array where it is.
    dtype: None keeps an array's own. Raises DeviceError for a missing device, TypeError for values that are no numbers.
    """
    if dtype is None and not hasattr(data, "dtype"):
        data = np.asarray(data)
        dtype = np.float32 if data.dtype == np.float64 else data.dtype
    array = backend.asarray(data, device, dtype)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: expected numbers, got elements of type {array.dtype}")
    return Tensor(array, requires_grad)
