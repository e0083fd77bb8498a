"""An array library that behaves like CuPy on a machine without a GPU, so that the GPU's code paths cannot rot.

It computes with NumPy inside and is as strict as CuPy outside, or stricter:

- `standin.ndarray` is no NumPy array. NumPy's functions refuse it (CuPy passes some of them on to its own), and so does
  every implicit conversion; an operation with a NumPy array is a TypeError. Only an index may be one, as in CuPy.
- The module has functions that CuPy 14 has, with CuPy's arguments (`FUNCTIONS`). A call must suit NumPy as well, since
  it is passed on, so that what runs here is written for both. Any other name is an AttributeError.
- Results without dimensions are arrays of the device. What brings a value to the host (`float(x)`, `if x:`, `x.item()`,
  `x.get()`, printing, and what needs values to find a shape, such as `x[mask]`) is written down in `transfers`, with
  the line of code that asked for it: on a GPU each is a stop until all work is done.
- There are two devices. Arrays are made on the current one (`with cuda.Device(1):`), and an operation refuses arrays of
  another, as CuPy does without peer access.
- What CuPy leaves undefined is refused: duplicate indices in `a[i] = v` unless v is one number, indices out of range
  (CuPy wraps them around), strided views that leave the memory of their array.

`LIBRARY` is what `minidiff.backend.register` wants.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types

import numpy as np
import scipy.special

from minidiff import backend

transfers: list[str] = []
"""What came from the device to the host, oldest first: "float(x) at file:line"."""


def _count(what):
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__:
        frame = frame.f_back
    transfers.append(f"{what} at {frame.f_code.co_filename}:{frame.f_lineno}")


# -- devices ---------------------------------------------------------------------------------------------------------


_current_devices = [0]


class Device:
    """One of the two devices: the current one inside `with`."""

    def __init__(self, device=None):
        self.id = _current_devices[-1] if device is None else device
        if self.id not in (0, 1):
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __enter__(self):
        _current_devices.append(self.id)
        return self

    def __exit__(self, *error):
        _current_devices.pop()


cuda = types.SimpleNamespace(Device=Device)


# -- what goes in and what comes out ---------------------------------------------------------------------------------


def _operand(x):
    """The NumPy array inside, or the number, after the checks that CuPy makes for every operand."""
    if isinstance(x, ndarray):
        if x.device.id != Device().id:
            raise ValueError(
                f"The device where the array resides ({x.device.id}) is different from the current device "
                f"({Device().id}). Peer access is unavailable between these devices."
            )
        return x._host
    if isinstance(x, (bool, int, float, complex, np.generic)):
        return x
    raise TypeError(f"Unsupported type {type(x)}")


def _argument(x):
    """An argument for NumPy: an operand, an option, or a list of such."""
    if isinstance(x, (tuple, list)):
        return type(x)(_argument(item) for item in x)
    return x if x is None or isinstance(x, (str, type, np.dtype)) else _operand(x)


def _outer(x):
    """A result of NumPy as CuPy would return it: on the device, even a single number."""
    if isinstance(x, (np.ndarray, np.generic, bool)):
        x = np.asarray(x)
        if x.dtype.kind not in "fiubc" or x.dtype.itemsize > 16:
            raise ValueError(f"Unsupported dtype {x.dtype}")
        return ndarray._of(x)
    if isinstance(x, (tuple, list)):
        return type(x)(_outer(item) for item in x)
    return x


def _parsed(line):
    """The name and the signature in "name(a, b=1)"."""
    name, parameters = re.fullmatch(r"(\w+)\((.*)\)", line.strip()).groups()
    return name, inspect.signature(eval(f"lambda {parameters}: None"))


def _passed_on(name, signature, numpy_function, convert=_argument):
    """CuPy's function of this name and signature, computed by NumPy."""

    def function(*args, **kwargs):
        bound = signature.bind(*args, **kwargs).arguments  # TypeError for what CuPy does not take
        if name in SYNCHRONIZING or (name == "where" and "x" not in bound):
            _count(name)
        result = numpy_function(*map(convert, args), **{key: _argument(value) for key, value in kwargs.items()})
        return _outer(result) if bound.get("out") is None else bound["out"]

    function.__name__ = function.__qualname__ = name
    function.__signature__ = signature
    return function


def _routine(name, signature, numpy_function):
    """The same for a function that CuPy has for its own arrays only: the first argument is one, or a list of them."""
    passed_on = _passed_on(name, signature, numpy_function)

    @functools.wraps(passed_on)
    def function(*args, **kwargs):
        first = args[0] if args else next(iter(kwargs.values()), None)
        if not all(isinstance(x, ndarray) for x in (first if isinstance(first, (tuple, list)) else [first])):
            raise TypeError(f"standin.{name}: expected an array of the device first, got {type(first)}")
        return passed_on(*args, **kwargs)

    return function


# -- the array -------------------------------------------------------------------------------------------------------

# CuPy's methods that NumPy has too, without `self`; those that CuPy and NumPy both take by these names.
METHODS = """
all(axis=None, out=None, keepdims=False)
any(axis=None, out=None, keepdims=False)
argmax(axis=None, out=None, dtype=None, keepdims=False)
argmin(axis=None, out=None, dtype=None, keepdims=False)
argsort(axis=-1, kind=None)
clip(min=None, max=None, out=None)
copy(order='C')
cumprod(axis=None, dtype=None, out=None)
cumsum(axis=None, dtype=None, out=None)
diagonal(offset=0, axis1=0, axis2=1)
dot(b, out=None)
fill(value)
flatten(order='C')
max(axis=None, out=None, keepdims=False)
mean(axis=None, dtype=None, out=None, keepdims=False)
min(axis=None, out=None, keepdims=False)
nonzero()
prod(axis=None, dtype=None, out=None, keepdims=None)
ravel(order='C')
repeat(repeats, axis=None)
reshape(*shape, order='C', copy=None)
round(decimals=0, out=None)
searchsorted(v, side='left', sorter=None)
sort(axis=-1, kind=None)
squeeze(axis=None)
std(axis=None, dtype=None, out=None, ddof=0, keepdims=False)
sum(axis=None, dtype=None, out=None, keepdims=False)
swapaxes(axis1, axis2)
take(indices, axis=None, out=None)
trace(offset=0, axis1=0, axis2=1, dtype=None, out=None)
transpose(*axes)
var(axis=None, dtype=None, out=None, ddof=0, keepdims=False)
view(dtype=None, type=None)
"""

# Functions whose result has a shape that depends on values, which must come to the host first.
SYNCHRONIZING = {"argwhere", "bincount", "flatnonzero", "nonzero", "unique"}


class ndarray:
    """An array of the device; see the head of this file. Made by the functions of the module."""

    __slots__ = ("_host", "device")
    __array_ufunc__ = None  # NumPy's functions and operators do not know it
    __hash__ = None

    @classmethod
    def _of(cls, host):
        x = object.__new__(cls)
        x._host, x.device = host, Device()
        return x

    def __init__(self, *args, **kwargs):
        raise TypeError("standin.ndarray: make arrays with standin.asarray, empty, zeros, ...")

    def __array_function__(self, function, kinds, args, kwargs):
        raise TypeError(
            f"NumPy's {function.__name__} was given an array of the device: use the library that the array belongs to"
        )

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    T = property(lambda self: self.transpose())

    @property
    def flags(self):
        """What CuPy knows about the memory; nothing is read-only on a device."""
        flags = self._host.flags
        return types.SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata
        )

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        """As in CuPy, which knows neither casting nor subok."""
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        host = _operand(self).astype(dtype, order=order, copy=copy)
        return self if host is self._host else _outer(host)

    # To the host.

    def _taken(self, what):
        _count(what)
        return self._host

    def get(self, stream=None, order="C", out=None, blocking=True):
        """A copy on the host."""
        copy = self._taken("get()").copy(order)
        if out is None:
            return copy
        out[...] = copy
        return out

    def item(self):
        """The one element as a Python number."""
        return self._taken("item()").item()

    def tolist(self):
        """Nested lists of Python numbers."""
        return self._taken("tolist()").tolist()

    def __bool__(self):
        return self.size > 0 and bool(self._taken("bool(x)") if self.size == 1 else self._host)

    def __int__(self):
        return int(self._taken("int(x)"))

    def __float__(self):
        return float(self._taken("float(x)"))

    def __repr__(self):
        return repr(self._taken("repr(x)"))

    def __str__(self):
        return str(self._taken("str(x)"))

    # Elements.

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        parts = _index(index)
        _count_masks(parts)
        return _outer(_operand(self)[parts])

    def __setitem__(self, index, value):
        parts, value = _index(index), _operand(value)
        _count_masks(parts)
        if any(isinstance(part, np.ndarray) and part.dtype != bool for part in parts) and np.ndim(value):
            places = np.arange(self.size).reshape(self.shape)[parts]
            if np.unique(places).size < places.size:
                raise IndexError(
                    "a[i] = v with an index that occurs twice: on a GPU either value may win; use add.at to add"
                )
        _operand(self)[parts] = value


def _index(index):
    """An index as NumPy takes it, always ending in ... so that a single element is a view as well."""
    parts = []
    for part in index if isinstance(index, tuple) else (index,):
        if part is None or part is Ellipsis or isinstance(part, (slice, np.ndarray)):
            parts.append(part)
        elif isinstance(part, list):
            parts.append(np.array(part, dtype=None if part else int))
        elif isinstance(part, (int, np.integer, ndarray)) and not isinstance(part, bool):
            parts.append(_operand(part))
        else:
            raise IndexError(
                f"only integers, slices, ..., None and integer or boolean arrays are valid indices, got {type(part)}"
            )
    if any(isinstance(part, np.ndarray) for part in parts) or any(part is Ellipsis for part in parts):
        return tuple(parts)
    return (*parts, Ellipsis)


def _count_masks(parts):
    """CuPy asks how many elements a mask picks, when reading and when writing."""
    if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
        _count("x[mask]")


def _operator(name, compare):
    """x.__name__(y) for an operator of two operands."""
    host_operator = getattr(np.ndarray, name)

    def operator(self, other):
        if not isinstance(other, ndarray) and getattr(other, "__array_ufunc__", 0) is None:
            return NotImplemented  # it has operators of its own: a Tensor
        if compare and other is None:
            return _outer(np.full(self.shape, name == "__ne__"))
        return _outer(host_operator(_operand(self), _operand(other)))

    def in_place(self, other):
        host_operator(_operand(self), _operand(other))
        return self

    return in_place if name.startswith("__i") else operator


def _sign(name):
    """x.__name__() for an operator of one operand."""
    host_operator = getattr(np.ndarray, name)
    return lambda self: _outer(host_operator(_operand(self)))


for _symbol in "add sub mul matmul truediv floordiv mod pow lshift rshift and or xor".split():
    for _place in ("", "r", "i") if _symbol != "matmul" else ("", "r"):
        setattr(ndarray, f"__{_place}{_symbol}__", _operator(f"__{_place}{_symbol}__", compare=False))
for _symbol in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(ndarray, f"__{_symbol}__", _operator(f"__{_symbol}__", compare=True))
for _symbol in ("neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_symbol}__", _sign(f"__{_symbol}__"))


def _method(name, signature):
    host_method = getattr(np.ndarray, name)

    def method(self, *args, **kwargs):
        return _passed_on(name, signature, functools.partial(host_method, _operand(self)))(*args, **kwargs)

    method.__name__, method.__signature__ = name, signature
    return method


for _line in METHODS.strip().split("\n"):
    setattr(ndarray, _parsed(_line)[0], _method(*_parsed(_line)))


# -- the functions ---------------------------------------------------------------------------------------------------

ELEMENTWISE = {
    "x, /": """
        abs absolute arccos arcsin arctan cbrt ceil conj cos cosh exp exp2 expm1 floor invert isfinite isinf isnan log log10 log1p log2
        logical_not negative reciprocal rint sign sin sinh sqrt square tan tanh trunc""",
    "x1, x2, /": """
        add arctan2 bitwise_and bitwise_or bitwise_xor copysign divide equal floor_divide fmax fmin fmod greater greater_equal hypot
        ldexp left_shift less less_equal logaddexp logical_and logical_or logical_xor maximum minimum mod multiply
        nextafter not_equal power remainder right_shift subtract true_divide""",
}

# Made from numbers, on the current device.
MAKERS = """
arange(start, stop=None, step=1, dtype=None)
empty(shape, dtype=float, order='C')
eye(N, M=None, k=0, dtype=float, order='C')
full(shape, fill_value, dtype=None, order='C')
identity(n, dtype=float)
linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0)
ones(shape, dtype=float, order='C')
tri(N, M=None, k=0, dtype=float)
zeros(shape, dtype=float, order='C')
"""

# Their first argument is an array of the device, or a list of such.
ROUTINES = """
all(a, axis=None, out=None, keepdims=False)
allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
amax(a, axis=None, out=None, keepdims=False)
amin(a, axis=None, out=None, keepdims=False)
any(a, axis=None, out=None, keepdims=False)
argmax(a, axis=None, dtype=None, out=None, keepdims=False)
argmin(a, axis=None, dtype=None, out=None, keepdims=False)
argsort(a, axis=-1, kind=None)
argwhere(a)
array_equal(a1, a2, equal_nan=False)
array_split(ary, indices_or_sections, axis=0)
ascontiguousarray(a, dtype=None)
atleast_1d(*arys)
bincount(x, weights=None, minlength=None)
broadcast_arrays(*args)
broadcast_to(array, shape)
clip(a, a_min, a_max, out=None)
concatenate(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
copy(a, order='K')
copyto(dst, src, casting='same_kind', where=None)
count_nonzero(a, axis=None)
cumprod(a, axis=None, dtype=None, out=None)
cumsum(a, axis=None, dtype=None, out=None)
diag(v, k=0)
diff(a, n=1, axis=-1, prepend=None, append=None)
dot(a, b, out=None)
empty_like(prototype, dtype=None, order='K', subok=None, shape=None)
expand_dims(a, axis)
flatnonzero(a)
flip(a, axis=None)
full_like(a, fill_value, dtype=None, order='K', subok=None, shape=None)
hstack(tup, *, dtype=None, casting='same_kind')
isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
matmul(*args, axes=None, axis=None, keepdims=False, casting='same_kind', dtype=None, signature=None, order='K', out=None)
max(a, axis=None, out=None, keepdims=False)
mean(a, axis=None, dtype=None, out=None, keepdims=False)
min(a, axis=None, out=None, keepdims=False)
moveaxis(a, source, destination)
nonzero(a)
ones_like(a, dtype=None, order='K', subok=None, shape=None)
outer(a, b, out=None)
pad(array, pad_width, mode='constant', **kwargs)
prod(a, axis=None, dtype=None, out=None, keepdims=False)
ravel(a, order='C')
repeat(a, repeats, axis=None)
reshape(a, newshape, order='C', *, copy=None)
roll(a, shift, axis=None)
round(a, decimals=0, out=None)
searchsorted(a, v, side='left', sorter=None)
sort(a, axis=-1, kind=None)
split(ary, indices_or_sections, axis=0)
squeeze(a, axis=None)
stack(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
sum(a, axis=None, dtype=None, out=None, keepdims=False)
swapaxes(a, axis1, axis2)
take(a, indices, axis=None, out=None)
take_along_axis(a, indices, axis)
tensordot(a, b, axes=2)
tile(A, reps)
trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None)
transpose(a, axes=None)
tril(m, k=0)
triu(m, k=0)
unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True)
var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
vdot(a, b)
vstack(tup, *, dtype=None, casting='same_kind')
where(condition, x=None, y=None)
zeros_like(a, dtype=None, order='K', subok=None, shape=None)
"""

# What CuPy takes from NumPy as it is: types, constants, and questions about them.
FROM_NUMPY = """
    bool_ broadcast_shapes dtype e finfo float16 float32 float64 iinfo inf int16 int32 int64 int8 issubdtype nan ndindex
    newaxis pi uint16 uint32 uint64 uint8""".split()


def _einsum(*operands, **kwargs):
    """As in CuPy: the subscripts come first."""
    if not isinstance(operands[0], str) or not all(isinstance(x, ndarray) for x in operands[1:]):
        raise TypeError("standin.einsum: expected subscripts, then arrays of the device")
    if not kwargs.keys() <= {"dtype", "optimize"}:
        raise TypeError(f"standin.einsum: unknown among the options {sorted(kwargs)}")
    return _outer(np.einsum(operands[0], *map(_operand, operands[1:]), **kwargs))


def _array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """A new array from numbers, from a host array or from one of the device: the way to the device."""
    return _outer(np.array(_operand(obj) if isinstance(obj, ndarray) else obj, dtype=dtype, order=order, ndmin=ndmin))


def _asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """An array of the device as it is if it has the dtype; everything else is copied there."""
    if isinstance(a, ndarray) and not copy and (dtype is None or a.dtype == dtype):
        return a
    return _array(a, dtype, order=order or "K")


def _asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """A copy on the host."""
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a, order=order)


def _add_at(a, indices, b=None):
    """a[indices] += b, where indices that occur several times add up; for the types that the GPU can add atomically."""
    if a.dtype not in (np.float16, np.float32, np.float64, np.int32, np.uint32, np.uint64):
        raise TypeError(
            f"add.at only supports int32, float16, float32, float64, uint32, uint64 as data type, not {a.dtype}"
        )
    parts = _index(indices)
    _count_masks(parts)
    np.add.at(_operand(a), parts, _operand(b))


def _as_strided(x, shape=None, strides=None):
    """A view with these strides; one that leaves the memory of its array is refused; on a GPU it reads garbage."""
    host = _operand(x)
    view = np.lib.stride_tricks.as_strided(host, shape, strides)
    whole = host
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    (low, high), (first, last) = (np.lib.array_utils.byte_bounds(v) for v in (whole, view))
    if view.size and not low <= first <= last <= high:
        raise IndexError(
            f"as_strided: shape {view.shape} with strides {view.strides} leaves the memory of shape {whole.shape}"
        )
    return _outer(view)


lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=_as_strided))

FUNCTIONS = {"array": _array, "asarray": _asarray, "asnumpy": _asnumpy, "einsum": _einsum}
FUNCTIONS.update((_name, getattr(np, _name)) for _name in FROM_NUMPY)
for _parameters, _names in ELEMENTWISE.items():
    for _name in _names.split():
        _signature = _parsed(f"{_name}({_parameters}, out=None, *, casting='same_kind', dtype=None)")[1]
        FUNCTIONS[_name] = _passed_on(_name, _signature, getattr(np, _name), convert=_operand)
for _line in MAKERS.strip().split("\n"):
    _name, _signature = _parsed(_line)
    FUNCTIONS[_name] = _passed_on(_name, _signature, getattr(np, _name))
for _line in ROUTINES.strip().split("\n"):
    _name, _signature = _parsed(_line)
    FUNCTIONS[_name] = _routine(_name, _signature, getattr(np, _name))
FUNCTIONS["add"].at = _add_at


def __getattr__(name):
    """The functions are in a table, not in the module itself, where `any`, `max`, `sum` would hide Python's own."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise AttributeError(
        f"standin has no {name!r}; if CuPy has it, add it to tests/devices/standin.py, with CuPy's signature"
    )


LIBRARY = backend.Library(
    name="standin",
    module=sys.modules[__name__],
    array_type=ndarray,
    from_numpy=_asarray,
    to_numpy=_asnumpy,
    erf=lambda x: _outer(scipy.special.erf(_operand(x))),
)
