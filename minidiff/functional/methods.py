"""The operators and methods of `Tensor`: each is one of the functions of this room, with the tensor first.

A formula for arrays runs on Tensors, so methods have NumPy's names (`axis`, `keepdims`); a model for PyTorch runs as well, so they have
PyTorch's (`dim`, `keepdim`). Where the same words mean two things, the keyword says whose they are: `axis`, `keepdims`, `ddof` are
NumPy's, `dim`, `keepdim`, `correction`, `unbiased` PyTorch's; and where nothing says it and the results would differ, the method
refuses. What has no such question is taken over from the families as it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.autograd import Tensor, tensor
from minidiff.autograd.operation import identity

from . import activation, creation, indexing, linear, order, reduction, shape
from . import elementwise as e

# -- whose words -----------------------------------------------------------------------------------------------------

_NUMPY = {"axis": "dim", "keepdims": "keepdim", "axis1": "dim1", "axis2": "dim2"}


def said_once(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options in PyTorch's words. NumPy's own functions (`np.mean(x)`) pass out=None and dtype=None along."""
    found = {key: value for key, value in options.items() if value is not None or key not in ("out", "dtype")}
    for theirs, ours in _NUMPY.items():
        if theirs in found:
            if ours in found:
                raise TypeError(f"{name}: {theirs} and {ours} say the same; give one of them")
            found[ours] = found.pop(theirs)
    return found


def method_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a method; if it takes a dimension, in NumPy's words too."""
    name, parameters = function.__name__.strip("_"), list(inspect.signature(function).parameters)
    if not {"dim", "dim1", "dims"}.intersection(parameters):
        return function
    keepdim = parameters.index("keepdim") - 1 if "keepdim" in parameters else len(parameters)

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        if len(args) > keepdim and not isinstance(args[keepdim], (bool, np.bool_)):
            raise TypeError(f"{name}: positional argument {keepdim + 1} is keepdim, True or False; got {args[keepdim]!r}")
        return function(self, *args, **(said_once(name, options) if options else options))

    return method


def with_sizes(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that takes several integers or one tuple of them: x.reshape(2, 3), x.reshape((2, 3))."""

    @functools.wraps(function)
    def method(self: Tensor, *sizes: Any, **options: Any) -> Any:
        if not sizes:
            return function(self, **options)
        return function(self, sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes, **options)

    return method


def _whose(options: dict[str, Any]) -> str:
    """"NumPy" or "PyTorch", by the keywords; "" if they do not say, or say both."""
    numpy, torch = bool({"axis", "keepdims"} & options.keys()), bool({"dim", "keepdim"} & options.keys())
    return "" if numpy == torch else "NumPy" if numpy else "PyTorch"


def _spread(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """var, std: NumPy divides by n, PyTorch by n - 1."""

    def method(self: Tensor, *dim: Any, **options: Any) -> Tensor:
        whose = _whose(options)
        options = said_once(name, options)
        said = [int(options.pop(word)) if word == "unbiased" else options.pop(word)
                for word in ("ddof", "correction", "unbiased") if word in options]
        if len(said) > 1:
            raise TypeError(f"{name}: ddof, correction and unbiased say the same; give one of them")
        if any(isinstance(part, bool) for part in dim):
            raise TypeError(f"{name}: expected a dimension first, got {dim[0]}; write unbiased={dim[0]}")
        if not said and not whose:
            raise TypeError(f"{name}: NumPy divides by n here, PyTorch by n - 1; say which: {name}(ddof=0) or {name}(correction=1), or "
                            f"name the dimensions, {name}(axis=...) for NumPy's, {name}(dim=...) for PyTorch's")
        return function(self, *dim, correction=said[0] if said else int(whose == "PyTorch"), **options)

    return method


def _extreme(name: str, values: Callable[..., Any], of_two: Callable[..., Any], both: Callable[..., Any]) -> Callable[..., Any]:
    """max, min: along a dimension NumPy returns values, PyTorch values and indices."""

    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        whose = _whose(options)
        options = said_once(name, options)
        if len(args) == 1 and hasattr(args[0], "shape") and not options:
            return of_two(self, args[0])
        if whose == "PyTorch" or len(args) > 1 or "other" in options:
            return both(self, *args, **options)
        if whose == "NumPy" or not args:
            return values(self, *args, **options)
        raise TypeError(f"{name}: along a dimension NumPy returns the values, PyTorch the values and their indices; write "
                        f"{name}(axis={args[0]!r}) or {name}(dim={args[0]!r})")

    return method


# -- methods that are more than their function -----------------------------------------------------------------------


def _getitem(self: Tensor, index: Any) -> Tensor:
    parts = indexing.index_parts(index)
    if any(hasattr(part, "shape") for part in parts):
        _refuse_two_places(self.ndim, parts)
    return indexing.pick(self, parts)


def _refuse_two_places(ndim: int, parts: tuple) -> None:
    """x[0, :, [1, 2]]: where arrays stand apart, what they pick comes first. To NumPy an int is one of the arrays, and a `...` that
    stands for nothing is between them; to PyTorch neither."""
    is_array = lambda part: hasattr(part, "shape") and (part.ndim > 0 or part.dtype.kind == "b")
    is_int = lambda part: isinstance(part, int) or (hasattr(part, "shape") and not is_array(part))
    together = lambda places: places[-1] - places[0] == len(places) - 1
    used = sum(part.ndim if is_array(part) and part.dtype.kind == "b" else part is not None and part is not Ellipsis for part in parts)
    numpys = [i for i, part in enumerate(parts) if is_int(part) or is_array(part)]
    rest = [part for part in parts if not is_int(part) and (part is not Ellipsis or used < ndim)]
    arrays = [i for i, part in enumerate(rest) if is_array(part)]
    if arrays and not together(numpys) and together(arrays) and arrays[0]:
        raise TypeError("x[index] with arrays that stand apart for NumPy, which puts what they pick first, and not for PyTorch, which "
                        "leaves it in its place: index in two steps, as in x[0][:, places], or write [0] for 0, which is NumPy's")


def _repeat(self: Tensor, *sizes: Any, repeats: Any = None, axis: int | None = None, dim: Any = None) -> Tensor:
    if dim is not None:
        raise TypeError("repeat: NumPy's has axis, PyTorch's has neither axis nor dim; repeat_interleave has dim")
    if repeats is not None or axis is not None:
        (repeats,) = sizes if repeats is None else (repeats,)
        return shape.repeat_interleave(self, tensor(repeats) if isinstance(repeats, (tuple, list)) else repeats, axis)
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    if len(given) < 3 or (given is not sizes and len(given) == self.data.size):
        raise TypeError("repeat: NumPy repeats each element, PyTorch the whole; write repeat(n, axis=...) or repeat_interleave(n, dim) for "
                        "NumPy's, tile(sizes) for PyTorch's")
    if len(given) < self.ndim:
        raise ValueError(f"repeat: {len(given)} numbers for an input with {self.ndim} dimensions; expected one for each, or more")
    return shape.tile(self, given)


def _transpose(self: Tensor, *axes: Any, dim0: int | None = None, dim1: int | None = None) -> Tensor:
    axes = (*axes, *(dim for dim in (dim0, dim1) if dim is not None))
    if len(axes) == 2:
        return shape.transpose(self, *axes)
    axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    return shape.permute(self, axes or tuple(range(self.ndim))[::-1])


def _squeeze(self: Tensor, *dim: Any, **options: Any) -> Tensor:
    """Unlike PyTorch's, NumPy's refuses to drop a dimension that is not of size 1."""
    axis = options.get("axis")
    if axis is not None:
        for i in shape.axes_of(axis if isinstance(axis, (tuple, list)) else (axis,), self.ndim, "squeeze"):
            if self.shape[i] != 1:
                raise ValueError(f"squeeze: axis {i} of shape {self.shape} is not of size 1")
    return shape.squeeze(self, *dim, **said_once("squeeze", options))


def _running(function: Callable[..., Any]) -> Callable[..., Any]:
    """cumsum, cumprod: without a dimension NumPy's go through all elements."""

    def method(self: Tensor, *dim: Any, **options: Any) -> Tensor:
        options = said_once(function.__name__, options)
        if not dim and options.get("dim") is None:
            return function(shape.flatten(self), **{**options, "dim": 0})
        return function(self, *dim, **options)

    return method


def _sort(self: Tensor, *args: Any, **options: Any) -> Any:
    if not {"dim", "descending", "stable"} & options.keys():
        raise TypeError("sort: NumPy's sorts in place, PyTorch's returns values and indices; write sort(dim=-1) for these")
    return order.sort(self, *args, **options)


def _nonzero(self: Tensor, *, as_tuple: bool | None = None) -> Any:
    if as_tuple is None:
        raise TypeError("nonzero: NumPy returns a vector for each dimension, PyTorch one matrix; write nonzero(as_tuple=True) for NumPy's "
                        "or argwhere() for PyTorch's")
    return indexing.nonzero(self, as_tuple=as_tuple)


def _take(self: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    if axis is None:
        return indexing.getitem(shape.flatten(self), tensor(indices))
    return indexing.getitem(self, shape.along(shape.axis_of(axis, self.ndim, "take"), tensor(indices)))


def _view(self: Tensor, *sizes: Any) -> Tensor:
    if len(sizes) == 1 and not isinstance(sizes[0], (tuple, list, int, np.integer, Tensor)):
        raise TypeError(f"view: expected sizes, got {sizes[0]!r}; the bits of elements are not read as another dtype here, "
                        "astype converts values")
    return shape.in_shape("view", self, sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes)


def _split(self: Tensor, split_size: Any, dim: int = 0) -> tuple:
    return shape.split(self, split_size, dim)


def _to(self: Tensor, *target: Any, device: str | None = None, dtype: Any = None) -> Tensor:
    """x.to("cuda"), x.to(float64), x.to("cuda", float64), x.to(like)."""
    for part in target:
        if isinstance(part, Tensor):
            device, dtype = part.device, part.dtype
        elif isinstance(part, str) and not hasattr(np, part):
            device = part
        else:
            dtype = part
    return creation.as_tensor(self, dtype, device)


_DTYPES = {"half": np.float16, "float": np.float32, "double": np.float64, "byte": np.uint8, "char": np.int8, "short": np.int16,
           "int": np.int32, "long": np.int64, "bool": np.bool_}


def _as(dtype: Any) -> Callable[[Tensor], Tensor]:
    return lambda self: creation.as_tensor(self, dtype)


def _like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """new_zeros and its kind: in the dtype and on the device of the tensor."""

    def method(self: Tensor, *args: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
        return make(*args, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)

    return method


# -- operators -------------------------------------------------------------------------------------------------------

_OPERANDS = (Tensor, float, int, np.ndarray, np.generic)


def _is_operand(other: Any) -> bool:
    return isinstance(other, _OPERANDS) or hasattr(getattr(other, "dtype", None), "kind")


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """x op other; Python asks further, and says what is wrong, where `other` is neither number nor array."""
    return lambda self, other: function(self, other) if _is_operand(other) else NotImplemented


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    """other op x."""
    return lambda self, other: function(other, self) if _is_operand(other) else NotImplemented


_TWO = {"add": e.plus, "sub": e.minus, "mul": e.mul, "truediv": e.quotient, "floordiv": e.floor_divide, "mod": e.remainder, "pow": e.pow,
        "matmul": linear.matmul, "and": e.bitwise_and, "or": e.bitwise_or, "xor": e.bitwise_xor}

_OWN = {
    "__getitem__": _getitem, "__iter__": lambda self: (self[i] for i in range(len(self))),
    "__contains__": lambda self, value: bool(e.eq(self, value).data.any()),
    "__neg__": e.neg, "__abs__": e.abs, "__invert__": e.bitwise_not, "__pos__": lambda self: self, "__hash__": object.__hash__,
    "max": _extreme("max", reduction.amax, e.maximum, reduction.max), "min": _extreme("min", reduction.amin, e.minimum, reduction.min),
    "var": _spread("var", reduction.var), "std": _spread("std", reduction.std),
    "cumsum": _running(order.cumsum), "cumprod": _running(order.cumprod), "sort": _sort, "nonzero": _nonzero, "take": _take,
    "repeat": _repeat, "transpose": _transpose, "squeeze": _squeeze,
    "reshape": with_sizes(shape.reshape), "view": _view, "permute": with_sizes(shape.permute), "expand": with_sizes(shape.expand),
    "flip": with_sizes(shape.flip), "tile": with_sizes(shape.tile), "ravel": lambda self: shape.flatten(self),
    "view_as": lambda self, other: shape.reshape(self, other.shape), "reshape_as": lambda self, other: shape.reshape(self, other.shape),
    "expand_as": lambda self, other: shape.expand(self, other.shape),
    "split": method_of(_split),
    "clip": e.clamp, "round": lambda self, decimals=0: e.round(self, decimals=decimals),
    "where": lambda self, condition, other: e.where(condition, self, other),
    "clone": lambda self: identity(self), "copy": lambda self: identity(self), "contiguous": lambda self: self,
    "to": _to, "cpu": lambda self: _to(self, "cpu"), "cuda": lambda self: _to(self, "cuda"),
    "type_as": lambda self, other: _to(self, other),
    "astype": lambda self, dtype: creation.as_tensor(self, dtype), "type": lambda self, dtype: creation.as_tensor(self, dtype),
    "new_zeros": _like(creation.zeros), "new_ones": _like(creation.ones), "new_full": _like(creation.full),
    "new_tensor": _like(lambda data, **options: tensor(data, **options)),
    "dim": lambda self: self.ndim, "numel": lambda self: int(self.data.size), "nelement": lambda self: int(self.data.size),
    "is_floating_point": lambda self: self.dtype.kind == "f",
    "T": property(lambda self: shape.permute(self, tuple(range(self.ndim))[::-1])),
    "mT": property(lambda self: shape.transpose(self, -2, -1)),
    "is_cuda": property(lambda self: self.device == "cuda"),
}

_NO_METHODS = {"cat", "getitem", "meshgrid", "stack", "var_mean"}  # the tensor is not what comes first, or torch has no such method
_SAME = [(name, function) for family in (e, reduction, order, shape, indexing) for name in family.__all__ if name not in _NO_METHODS
         for function in (getattr(family, name),)]
_SAME += [(name, getattr(activation, name)) for name in ("log_softmax", "relu", "softmax")]
_SAME += [(name, getattr(linear, name)) for name in ("bmm", "dot", "matmul", "mm", "outer")]

for _name, _function in _SAME:
    setattr(Tensor, _name, method_of(_function))
for _name, _function in _TWO.items():
    setattr(Tensor, f"__{_name}__", _operator(_function))
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Tensor, f"__{_name}__", _operator(getattr(e, _name)))
for _name, _dtype in _DTYPES.items():
    setattr(Tensor, _name, _as(_dtype))
for _name, _function in _OWN.items():
    if getattr(_function, "__module__", None) == __name__:
        _function.__name__ = _function.__qualname__ = _name  # what their errors say
    setattr(Tensor, _name, _function)
