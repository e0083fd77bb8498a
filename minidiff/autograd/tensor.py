"""`Tensor`: an array of NumPy or CuPy, perhaps with a place in a graph.

The arithmetic operators and the methods are attached by `minidiff.functional`, where the operations live; here are
only the value, its graph node and the ways in and out: numbers, lists, arrays, and by DLPack other libraries' arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidiff import backend

from .promotion import result_type


class Size(int):
    """The number of elements, NumPy's `x.size`. Called it is PyTorch's: the sizes, or that of one dimension."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        if dim is None:
            return self.shape
        if not -len(self.shape) <= operator.index(dim) < len(self.shape):
            raise IndexError(f"size: dimension {dim} of shape {self.shape}")
        return self.shape[dim]


class Tensor:
    """An array that can take part in differentiation.

    data: the array (NumPy or CuPy), or what `tensor` makes one of. requires_grad: whether gradients are wanted for it; only real
    floating-point arrays can have them (TypeError otherwise). grad: the gradient that `backward` left here (a Tensor), or None.
    Arrays are values: no operation writes into `data`.
    """

    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad")
    __array_ufunc__ = None  # so that `array * tensor` asks the Tensor, not NumPy

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data = array_of(data)
        if not isinstance(requires_grad, bool):
            raise TypeError("Tensor: expected one array; minidiff.zeros(...) makes a Tensor of sizes")
        if isinstance(data, (list, tuple)) and self.data.dtype.kind == "i":
            raise TypeError("Tensor: integers in a list would be real numbers in PyTorch; minidiff.tensor(...) keeps them integers")
        self.grad: Tensor | None = None
        self.node = None  # what made it: a node of the graph; None for a leaf
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients of this leaf from now on, or no longer; returns the tensor itself.

        Raises TypeError unless it is floating point, RuntimeError to stop for the result of an operation, which `detach` is for.
        """
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors have gradients, this one is {self.data.dtype}: convert it first")
        if not requires_grad and self.node is not None:
            raise RuntimeError("requires_grad_: this is the result of an operation; x.detach() has its values without its graph")
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no operation made it that was recorded."""
        return self.node is None

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.data.ndim

    @property
    def size(self) -> Size:
        """The number of elements; as a method, the sizes: x.size() == x.shape, x.size(0) == x.shape[0]."""
        size = Size(self.data.size)
        size.shape = self.data.shape
        return size

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """Where the elements live: 'cpu' or 'cuda'."""
        return backend.device_of(self.data)

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len: a Tensor without dimensions has no length")
        return len(self.data)

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ValueError(f"bool: a Tensor of shape {self.shape} is neither true nor false; use any() or all()")
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iub" or self.data.size != 1:
            raise TypeError(f"only a Tensor of one integer is an index, this one has shape {self.shape} and dtype {self.dtype}")
        return int(self.item())

    def __format__(self, form: str) -> str:
        return format(self.item(), form) if form and self.data.size == 1 else format(repr(self), form)

    def __repr__(self) -> str:
        array = self.numpy()
        notes = [np.array2string(array, separator=", ", prefix="tensor(", threshold=1000)] if array.size else ["[]"]
        notes += [f"shape={self.shape}"] * (not array.size)
        notes += [f"dtype={self.dtype}"] * (self.dtype not in (np.float32, np.int64, np.bool_) or not array.size)
        notes += [f"device={self.device!r}"] * (self.device != "cpu")
        notes += [f"made_by={self.node.name}"] if self.node is not None else ["requires_grad=True"] * self.requires_grad
        return f"tensor({', '.join(notes)})"

    def __getattr__(self, name: str) -> Any:
        """Called for names that are not there. PyTorch's operations in place end in one underscore."""
        if name.endswith("_") and not name.endswith("__"):
            instead = (f"x = x.{name[:-1]}(...)" if hasattr(Tensor, name[:-1])
                       else "an expression that gives the new values; those of a Parameter p are set by nn.init, or by p.data = ...")
            raise AttributeError(f"Tensor has no {name}: Tensors are values, nothing is written in place; write {instead}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("x[index] = value: Tensors are values, nothing is written in place; write x = where(mask, value, x), "
                        "x.masked_fill(mask, value), x.scatter(dim, index, value), or join the pieces with cat or stack")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """What np.asarray(x) takes: the array itself. TypeError on a device, from which x.numpy() copies."""
        if self.device != "cpu":
            raise TypeError(f"a Tensor on {self.device!r} does not become a NumPy array unasked: x.numpy() copies it to the host")
        if copy is False and dtype is not None and self.dtype != dtype:
            raise ValueError(f"a Tensor of {self.dtype} becomes {np.dtype(dtype)} only by a copy, and copy=False forbids it")
        array = self.data if dtype is None else self.data.astype(dtype, copy=False)
        return array.copy() if copy and array is self.data else array

    def __dlpack__(self, **options: Any) -> Any:
        """The memory of the array, for `from_dlpack` of any library. Copied only if it runs backwards, which others do not take, or if it
        is read-only and the other side (or NumPy before 2.1) knows nothing of that."""
        if self.requires_grad:
            raise BufferError("a Tensor that requires gradients cannot be given away with its graph: give x.detach()")
        data = self.data.copy() if min(self.data.strides, default=0) < 0 else self.data
        try:
            return data.__dlpack__(**options)
        except BufferError:
            return data.copy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's kind and number of the device."""
        return self.data.__dlpack_device__()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array on the host (on the CPU: the array itself, not a copy)."""
        return backend.to_numpy(self.data)

    def item(self) -> float:
        """The one element as a Python number; ValueError if there are several."""
        if self.data.size != 1:
            raise ValueError(f"item: expected one element, got shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers; one number without dimensions."""
        return self.data.tolist()

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


def array_of(data: Any, device: str | None = None, dtype: Any = None) -> Any:
    """A plain array of numbers: from an array, a Tensor, another library's array (DLPack), a number, or nested lists of all these.

    Numbers and arrays in lists meet in one dtype as they do in arithmetic (`promotion.py`): Python floats alone become float32. A list
    with arrays of a device in it becomes an array of that device. Raises TypeError for what is no number, ValueError for
    lists of unequal lengths.
    """
    if hasattr(data, "dtype"):
        return backend.asarray(data, device, dtype)
    if not isinstance(data, (bool, int, float, list, tuple)):
        return backend.asarray(np.asarray(data), device, dtype)
    parts = [backend.asarray(part) if hasattr(part, "dtype") else part for part in _parts(data)]
    arrays = [part for part in parts if hasattr(part, "dtype")]
    backend.array_module(*arrays)  # on one device
    numbers = {type(part): part for part in parts if not hasattr(part, "dtype")}.values()
    meeting = result_type(*arrays, *numbers) if parts else np.float32
    if arrays:
        device, data = device or backend.device_of(arrays[0]), _with_parts(data, map(backend.to_numpy, parts))
    try:
        return backend.asarray(np.array(data, meeting if dtype is None else dtype), device)
    except ValueError as error:
        raise ValueError(f"the parts of a list must have one shape: {error}") from None


def _parts(data: Any) -> Iterator[Any]:
    """What stands in nested lists, from the first to the last."""
    if isinstance(data, (list, tuple)):
        for item in data:
            yield from _parts(item)
    else:
        yield data


def _with_parts(data: Any, parts: Iterator[Any]) -> Any:
    """The nested lists with other parts in their places."""
    return [_with_parts(item, parts) for item in data] if isinstance(data, (list, tuple)) else next(parts)


def tensor(data: Any, requires_grad: bool = False, device: str | None = None, dtype: Any = None) -> Tensor:
    """A Tensor of the given values; Python floats become float32.

    data: an array (also another library's: PyTorch, JAX ...), a Tensor, a number, or nested lists of these, which are stacked. Memory
    is shared where dtype and device stay. device: 'cpu', 'cuda'; None leaves an array where it is. dtype: None keeps an array's
    own. Raises DeviceError for a missing device, TypeError for values that are no numbers, ValueError for lists of unequal lengths.
    """
    try:
        array = array_of(data, device, dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"tensor: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensor: expected numbers, got elements of type {array.dtype}")
    return Tensor(array, requires_grad)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A Tensor in the memory of another library's array, which offers it by DLPack (PyTorch, JAX, NumPy, CuPy ...).

    Raises TypeError for an object without `__dlpack__`, for one that requires gradients there, and for elements that neither NumPy nor
    CuPy has, such as bfloat16; DeviceError for a device that is neither a CPU nor an NVIDIA GPU.
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack: expected an array that offers __dlpack__, got {type(ext_tensor).__name__}")
    return tensor(ext_tensor)
