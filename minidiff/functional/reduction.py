"""Sums, products, means, extremes, lengths: many elements become one. The gradient goes back to the places that the result came from.

Names and arguments are `torch`'s (`dim`, `keepdim`, `dtype`); dim is an int, several, or None for all, of either sign. Sums and products of
integers are int64; those of float16 are computed in float32 and come back as float16, so a mean does not overflow. What keeps
its shape, running sums and sorting, is in `order.py`.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidiff.autograd import operation

from .door import must_be_real
from .elementwise import abs as magnitude
from .elementwise import astype, eq, exp, flat, isinf, maximum, minimum, mul, pow, quotient, sign, where
from .indexing import taken_along
from .precision import in_float32
from .shape import along, axes_of, axis_of, cat, expand, picked, reshape

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "logsumexp", "max", "mean", "min", "norm", "prod", "std", "sum", "var", "var_mean",
]

# -- the door --------------------------------------------------------------------------------------------------------


def axes(dim: int | Sequence[int] | None, ndim: int, name: str) -> tuple[int, ...]:
    """`dim` (int, several, None or () for all) as a tuple of distinct non-negative ints below ndim.

    Raises IndexError for a dimension that is not there, ValueError for one that occurs twice, TypeError unless they are integers.
    """
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    found = axes_of(dim if isinstance(dim, (tuple, list)) else (_integer(dim, name),), ndim, name)
    return found if ndim else ()


def _integer(dim: Any, name: str) -> int:
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)):
        raise TypeError(f"{name}: dim must be an integer, got {dim!r}")
    return int(dim)


def one_axis(input, dim: int, name: str) -> int:
    """A single dimension; a number without dimensions may be called dimension 0."""
    return axis_of(_integer(dim, name), builtins.max(len(input.shape), 1), name)


def _size(input, axis: tuple[int, ...]) -> int:
    """How many elements a reduction over `axis` puts together."""
    return math.prod(input.shape[i] for i in axis)


def _something(input, axis: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The axes of a reduction that has no result for no elements."""
    if not _size(input, axis):
        raise ValueError(f"{name}: an input of shape {tuple(input.shape)} has no elements along {axis}, of nothing there is no {name}")
    return axis


def spread(g, like, axis):
    """Undo a reduction's shape: put the axes back with size 1, then repeat along them to the shape of `like`."""
    kept = tuple(1 if i in axis else n for i, n in enumerate(like.shape))
    return expand(reshape(g, kept), like.shape)


# -- sums ------------------------------------------------------------------------------------------------------------

total = operation(lambda xp, input, *, axis, keepdims: input.sum(axis=axis, keepdims=keepdims), "y = sum_i x_i",
                  input=lambda g, like_input, axis: spread(g, like_input, axis))

counted = operation(lambda xp, input, *, axis, keepdims, dtype: input.sum(axis=axis, keepdims=keepdims, dtype=dtype),
                    "y = sum_i x_i of integers, in dtype")

_sum = in_float32(total)


def sum(input, dim=None, keepdim: bool = False, *, dtype=None):
    """y = sum_i x_i over the dimensions `dim`, kept with size 1 if keepdim; 0 for no elements. dtype: to convert to first."""
    axis = axes(dim, len(input.shape), "sum")
    input = input if dtype is None else astype(input, dtype)
    if input.dtype.kind == "f":
        return _sum(input, axis=axis, keepdims=keepdim)
    return counted(input, axis=axis, keepdims=keepdim, dtype=np.int64 if dtype is None else dtype)


@in_float32
def _mean(input, axis, keepdims):
    return quotient(total(input, axis=axis, keepdims=keepdims), _size(input, axis) or math.nan)  # 0 / NaN: NaN without a warning


def mean(input, dim=None, keepdim: bool = False, *, dtype=None):
    """y = (1/n) sum_i x_i over the dimensions `dim`, kept with size 1 if keepdim; NaN for no elements. dtype: to convert to first.

    Raises TypeError for integers and booleans, whose mean has no dtype of its own: give one.
    """
    axis = axes(dim, len(input.shape), "mean")
    input = input if dtype is None else astype(input, dtype)
    if input.dtype.kind != "f":
        raise TypeError(f"mean: the mean of {input.dtype} is no {input.dtype}: give dtype='float32', or convert the input")
    return _mean(input, axis=axis, keepdims=keepdim)


@in_float32
def _moments(input, axis, keepdims, correction):
    """Variance and mean."""
    average = _mean(input, axis=axis, keepdims=True)
    centred = input - average
    freedom = _size(input, axis) - correction
    variance = total(centred * centred, axis=axis, keepdims=keepdims) * (1.0 / freedom if freedom > 0 else math.nan)
    return variance, average if keepdims else reshape(average, variance.shape)


def _spread_of(name, input, dim, unbiased, keepdim, correction):
    """The checked arguments of `_moments`."""
    if not (unbiased is None or isinstance(unbiased, bool)):
        raise TypeError(f"{name}: unbiased must be True or False, got {unbiased!r}; a number is given as correction=")
    if unbiased is not None and correction is not None:
        raise TypeError(f"{name}: unbiased={unbiased} and correction={correction} say the same; give one of them")
    must_be_real(name, input=input)
    correction = (1 if unbiased in (None, True) else 0) if correction is None else correction
    return _moments(input, axis=axes(dim, len(input.shape), name), keepdims=keepdim, correction=correction)


def var(input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """y = sum_i (x_i - mean)^2 / (n - correction), in two passes: the one-pass form E x^2 - (E x)^2 cancels at large means.

    dim: an int, several or None for all. correction 1, or unbiased=True, is the unbiased estimate and the default; 0, or unbiased=False,
    the variance itself. NaN unless n > correction. Raises TypeError for integers.
    """
    return _spread_of("var", input, dim, unbiased, keepdim, correction)[0]


def var_mean(input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None) -> tuple:
    """The variance, as `var` has it, and the mean."""
    return _spread_of("var_mean", input, dim, unbiased, keepdim, correction)


root = operation(lambda xp, input: xp.sqrt(input), "y = x**(1/2), but with slope 0 at 0",
                 input=lambda g, out: g / (2.0 * where(eq(out, 0), math.inf, out)))


def std(input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """y = sqrt(var(x)), with gradient 0 where all elements are the same. See `var` for the arguments."""
    return root(_spread_of("std", input, dim, unbiased, keepdim, correction)[0])


@in_float32
def _product(input, axis):
    """Products of pairs, then of pairs of those: the gradient needs no division, so zeros do no harm."""
    n = input.shape[axis]
    if n == 0:
        return sum(input, axis, keepdim=True) + 1
    while n > 1:
        half = n // 2
        pairs = mul(picked(input, index=along(axis, slice(half))), picked(input, index=along(axis, slice(half, 2 * half))))
        input = cat([pairs, picked(input, index=along(axis, slice(2 * half, n)))], axis) if n % 2 else pairs
        n = half + n % 2
    return input


def prod(input, dim: int | None = None, keepdim: bool = False, *, dtype=None):
    """y = x_0 x_1 ... along `dim` (one, or None for all), kept with size 1 if keepdim; 1 for no elements. dtype: to convert to first."""
    axis = None if dim is None else one_axis(input, dim, "prod")
    input = input if dtype is None else astype(input, dtype)
    if input.dtype.kind != "f" and dtype is None:
        input = astype(input, np.int64)
    shape = input.shape
    if axis is None or not shape:
        return reshape(_product(reshape(input, (math.prod(shape),)), axis=0), (1,) * len(shape) if keepdim else ())
    return reshape(_product(input, axis=axis), (*shape[:axis], *(1,) * keepdim, *shape[axis + 1:]))


# -- extremes --------------------------------------------------------------------------------------------------------


def _to_the_extreme(g, input, out, axis):
    """Where the extreme stands; shared evenly where it stands several times."""
    here = eq(input, spread(out, input, axis)).astype(input.dtype)
    return spread(g, input, axis) * here / spread(sum(here, axis), input, axis)


largest = operation(lambda xp, input, *, axis, keepdims: input.max(axis=axis, keepdims=keepdims), "y = max_i x_i",
                    input=_to_the_extreme)

smallest = operation(lambda xp, input, *, axis, keepdims: input.min(axis=axis, keepdims=keepdims), "y = min_i x_i",
                     input=_to_the_extreme)


def amax(input, dim=None, keepdim: bool = False):
    """y = max_i x_i over the dimensions `dim`. Equals share the gradient evenly. ValueError where there are no elements."""
    return largest(input, axis=_something(input, axes(dim, len(input.shape), "amax"), "amax"), keepdims=keepdim)


def amin(input, dim=None, keepdim: bool = False):
    """y = min_i x_i over the dimensions `dim`. Equals share the gradient evenly. ValueError where there are no elements."""
    return smallest(input, axis=_something(input, axes(dim, len(input.shape), "amin"), "amin"), keepdims=keepdim)


where_largest = operation(lambda xp, input, *, axis, keepdims: input.argmax(axis=axis, keepdims=keepdims), "the place of the maximum")
where_smallest = operation(lambda xp, input, *, axis, keepdims: input.argmin(axis=axis, keepdims=keepdims), "the place of the minimum")


def _place(name, place, input, dim, keepdim):
    axis = None if dim is None else one_axis(input, dim, name)
    _something(input, tuple(range(len(input.shape))) if axis is None else (axis,) * bool(input.shape), name)
    return place(input, axis=axis if input.shape else None, keepdims=keepdim)


def argmax(input, dim: int | None = None, keepdim: bool = False):
    """The index (int64) of the largest element along `dim` (None: in the flattened input); the first one at a tie. No gradient."""
    return _place("argmax", where_largest, input, dim, keepdim)


def argmin(input, dim: int | None = None, keepdim: bool = False):
    """The index (int64) of the smallest element along `dim` (None: in the flattened input); the first one at a tie. No gradient."""
    return _place("argmin", where_smallest, input, dim, keepdim)


class ValuesAndIndices(NamedTuple):
    """Elements, and where they stand along a dimension."""

    values: Any
    indices: Any


def values_at(input, indices, axis):
    """The elements at these places along an axis."""
    return ValuesAndIndices(taken_along(input, indices, axis=axis) if input.shape else input, indices)


def _extreme(name, input, dim, keepdim, other, of_two, of_all, place):
    """The three forms of max and min."""
    if other is not None or (hasattr(dim, "dtype") and not isinstance(dim, np.integer)):
        if other is not None and dim is not None:
            raise TypeError(f"{name}: expected dim or other, got both")
        return of_two(input, dim if other is None else other)
    if dim is None:
        axis = _something(input, tuple(range(len(input.shape))), name)
        return of_all(input, axis=axis, keepdims=keepdim)
    axis = one_axis(input, dim, name)
    values, indices = values_at(input, _place(name, place, input, dim, True), axis)
    shape = input.shape if keepdim or not input.shape else (*input.shape[:axis], *input.shape[axis + 1:])
    shape = tuple(1 if keepdim and i == axis else n for i, n in enumerate(shape))
    return ValuesAndIndices(reshape(values, shape), reshape(indices, shape))


def max(input, dim=None, keepdim: bool = False, *, other=None):
    """The largest element, in three forms:

        max(x)              of all; equals share the gradient, as in `amax`
        max(x, dim)         along one dimension: (values, indices); of equals the first, which has the whole gradient
        max(x, other)       of two arrays, element by element: `maximum`

    Raises ValueError where there are no elements.
    """
    return _extreme("max", input, dim, keepdim, other, maximum, largest, where_largest)


def min(input, dim=None, keepdim: bool = False, *, other=None):
    """The smallest element: of all, along a dimension with its index, or of two arrays. See `max`."""
    return _extreme("min", input, dim, keepdim, other, minimum, smallest, where_smallest)


# -- logarithms of sums, lengths, truths -----------------------------------------------------------------------------


def _logsumexp(xp, input, *, axis, keepdims):
    if not _size(input, axis):
        return input.sum(axis=axis, keepdims=keepdims) - math.inf  # log 0
    peak = input.max(axis=axis, keepdims=True)
    peak = xp.where(xp.isfinite(peak), peak, xp.zeros_like(peak))
    sums = xp.exp(input - peak).sum(axis=axis, keepdims=True)
    nothing = sums == 0  # log 0 without NumPy's warning
    out = xp.where(nothing, -math.inf, xp.log(xp.where(nothing, 1.0, sums)) + peak)
    return out if keepdims else out.reshape([n for i, n in enumerate(input.shape) if i not in axis])


def _softmax_of(g, input, out, axis):
    e = exp(input - spread(where(isinf(out), 0.0, out), input, axis))
    sums = sum(e, axis, keepdim=True)  # 1, but for the rounding of a large y; 0 where all x are -inf: gradient 0 instead of NaN
    return spread(g, input, axis) * (e / where(eq(sums, 0), 1.0, sums))


log_of_sum = operation(_logsumexp, "y = log sum_i e^x_i", input=_softmax_of)
_log_of_sum = in_float32(log_of_sum)


def logsumexp(input, dim, keepdim: bool = False):
    """y = log sum_i e^x_i = m + log sum_i e^(x_i - m), m = max_i x_i: nothing overflows. dim: an int or several.

    -inf for no elements, and where all are -inf (with gradient 0). Integers become float32.
    """
    axis = axes(dim, len(input.shape), "logsumexp")
    return _log_of_sum(input if input.dtype.kind == "f" else astype(input, np.float32), axis=axis, keepdims=keepdim)


def _length(xp, input, *, p, axis, keepdims):
    if p == 0:
        return (input != 0).sum(axis=axis, keepdims=keepdims).astype(input.dtype)
    if p == 2:
        return xp.sqrt((input * input).sum(axis=axis, keepdims=keepdims))
    return (xp.abs(input) ** p).sum(axis=axis, keepdims=keepdims) ** (1.0 / p)


def _direction(g, input, out, p, axis):
    """dy/dx_i = sign(x_i) (|x_i| / y)^(p - 1), and 0 where y is: towards no side."""
    g, out = spread(g, input, axis), spread(where(eq(out, 0), math.inf, out), input, axis)
    if p == 0:
        return flat(input)
    if p == 2:
        return g * (input / out)
    share = where(eq(input, 0), 1.0, magnitude(input)) / out
    return g * (sign(input) * pow(where(eq(share, 0), 1.0, share), p - 1.0))


length = operation(_length, "y = (sum_i |x_i|**p)**(1/p)", input=_direction)
_norm = in_float32(length)


def norm(input, p: float | str = "fro", dim=None, keepdim: bool = False):
    """y = (sum_i |x_i|^p)^(1/p) over the dimensions `dim`: the length of a vector, whatever its shape.

    p: "fro" and 2 are the Euclidean length, inf the largest |x_i|, -inf the smallest, 0 how many are not 0. The gradient is 0 where
    all elements are. Raises ValueError for another string (a norm of matrices such as "nuc"), TypeError for integers.
    """
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: p={p!r}; expected 'fro' or a number")
    must_be_real("norm", input=input)
    axis, p = axes(dim, len(input.shape), "norm"), 2.0 if p in ("fro", None) else float(p)
    if math.isinf(p) or p < 0:
        _something(input, axis, "norm")
    if math.isinf(p):
        return (largest if p > 0 else smallest)(magnitude(input), axis=axis, keepdims=keepdim)
    return _norm(input, p=p, axis=axis, keepdims=keepdim)


every = operation(lambda xp, input, *, axis, keepdims: input.all(axis=axis, keepdims=keepdims), "are all different from 0?")
some = operation(lambda xp, input, *, axis, keepdims: input.any(axis=axis, keepdims=keepdims), "is one different from 0?")


def all(input, dim=None, keepdim: bool = False):
    """Whether all elements over the dimensions `dim` are different from 0, as booleans; True for no elements."""
    return every(input, axis=axes(dim, len(input.shape), "all"), keepdims=keepdim)


def any(input, dim=None, keepdim: bool = False):
    """Whether an element over the dimensions `dim` is different from 0, as booleans; False for no elements."""
    return some(input, axis=axes(dim, len(input.shape), "any"), keepdims=keepdim)
