"""The operators and NumPy's methods of `Tensor`: each is one of the functions of this room."""

from __future__ import annotations

from minidiff.autograd import Tensor

from . import elementwise as e
from . import linear as l
from . import reduction as r
from . import shape as s


def _shape_arguments(sizes):
    """x.reshape(2, 3) and x.reshape((2, 3)) are the same."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def _numpy_reduction(function):
    return lambda self, axis=None, keepdims=False: function(self, axis, keepdims)


_METHODS = {
    "__add__": e.add.__call__, "__sub__": e.sub.__call__, "__mul__": e.mul.__call__, "__truediv__": e.div.__call__,
    "__radd__": lambda self, other: e.add(other, self),
    "__rsub__": lambda self, other: e.sub(other, self),
    "__rmul__": lambda self, other: e.mul(other, self),
    "__rtruediv__": lambda self, other: e.div(other, self),
    "__neg__": e.neg.__call__, "__pow__": e.pow, "__abs__": e.abs.__call__,
    "__matmul__": l.matmul, "__rmatmul__": lambda self, other: l.matmul(other, self),
    "__eq__": e.eq.__call__, "__ne__": e.ne.__call__, "__lt__": e.lt.__call__,
    "__le__": e.le.__call__, "__gt__": e.gt.__call__, "__ge__": e.ge.__call__,
    "__getitem__": s.getitem,
    "astype": lambda self, dtype: e.astype(self, dtype=dtype),
    "clip": lambda self, min=None, max=None: e.clamp(self, min=min, max=max),
    "sum": _numpy_reduction(r.sum), "mean": _numpy_reduction(r.mean),
    "max": _numpy_reduction(r.amax), "min": _numpy_reduction(r.amin),
    "var": lambda self, axis=None, ddof=0, keepdims=False: r.var(self, axis, ddof, keepdims),
    "std": lambda self, axis=None, ddof=0, keepdims=False: r.std(self, axis, ddof, keepdims),
    "argmax": lambda self, axis=None: r.argmax(self, axis),
    "reshape": lambda self, *shape: s.reshape(self, _shape_arguments(shape)),
    "transpose": lambda self, *axes: s.permute(self, _shape_arguments(axes) or tuple(range(self.ndim))[::-1]),
    "squeeze": lambda self, axis=None: s.squeeze(self, axis),
}


def _as_method(function):
    if hasattr(function, "__self__"):  # a bound Operation.__call__ would not bind to the Tensor
        return lambda self, *others: function(self, *others)
    return function


for _name, _function in _METHODS.items():
    setattr(Tensor, _name, _as_method(_function))
Tensor.T = property(lambda self: s.permute(self, tuple(range(self.ndim))[::-1]))
Tensor.__hash__ = object.__hash__
Tensor.__iter__ = lambda self: (self[i] for i in range(len(self)))
