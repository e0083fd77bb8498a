"""Sums, means, extremes: many elements become one. The gradient goes back to the places that the result came from.

Names and arguments are `torch`'s (`dim`, `keepdim`); dim may be an int, several, or None for all.
"""

from __future__ import annotations

import math

from minidiff.autograd import operation

from .elementwise import eq, exp, log, sqrt
from .shape import axis_of, expand, reshape

__all__ = ["amax", "amin", "argmax", "logsumexp", "mean", "std", "sum", "var"]


def axes(dim, ndim: int, name: str) -> tuple[int, ...]:
    """`dim` (int, several, None for all) as a tuple of distinct non-negative ints below ndim; IndexError otherwise."""
    if dim is None:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    found = tuple(axis_of(d, max(ndim, 1), name) for d in dims)  # a single number may be called dimension 0, as in torch
    if len(set(found)) != len(found):
        raise IndexError(f"{name}: a dimension occurs twice in dim={dim}")
    return found if ndim else ()


def spread(g, like, axis):
    """Undo a reduction's shape: put the axes back with size 1, then repeat along them to the shape of `like`."""
    kept = tuple(1 if i in axis else n for i, n in enumerate(like.shape))
    return expand(reshape(g, kept), like.shape)


total = operation(lambda xp, input, *, axis, keepdims: input.sum(axis=axis, keepdims=keepdims),
                  input=lambda g, like_input, axis: spread(g, like_input, axis))

largest = operation(lambda xp, input, *, axis, keepdims: input.max(axis=axis, keepdims=keepdims),
                    input=lambda g, input, out, axis: _to_the_largest(g, input, out, axis))


def _to_the_largest(g, input, out, axis):
    """Where the maximum stands; shared evenly where it stands several times."""
    here = eq(input, spread(out, input, axis)).astype(input.dtype)
    return spread(g, input, axis) * here / spread(sum(here, axis), input, axis)


def sum(input, dim=None, keepdim: bool = False):
    """y = sum_i x_i over the dimensions `dim` (None: all), kept with size 1 if keepdim. IndexError for a wrong dim."""
    return total(input, axis=axes(dim, len(input.shape), "sum"), keepdims=keepdim)


def mean(input, dim=None, keepdim: bool = False):
    """y = (1/n) sum_i x_i over the dimensions `dim` (None: all), kept with size 1 if keepdim. IndexError for a wrong dim."""
    axis = axes(dim, len(input.shape), "mean")
    return total(input, axis=axis, keepdims=keepdim) * reciprocal(count(input, axis))


def count(input, axis: tuple[int, ...]) -> int:
    """How many elements a reduction over `axis` puts together."""
    return math.prod(input.shape[i] for i in axis)


def reciprocal(n: float) -> float:
    """1 / n; NaN where there is nothing to average over, n <= 0."""
    return 1.0 / n if n > 0 else math.nan


def var(input, dim=None, correction: float = 1, keepdim: bool = False):
    """y = sum_i (x_i - mean)^2 / (n - correction), in two passes: the one-pass form E x^2 - (E x)^2 cancels at large means.

    dim: int, several or None for all. correction 1 is the unbiased estimate (torch's default), 0 the variance itself.
    """
    axis = axes(dim, len(input.shape), "var")
    centred = input - mean(input, axis, keepdim=True)
    return total(centred * centred, axis=axis, keepdims=keepdim) * reciprocal(count(input, axis) - correction)


def std(input, dim=None, correction: float = 1, keepdim: bool = False):
    """y = sqrt(var(x)); see `var` for dim, correction and keepdim."""
    return sqrt(var(input, dim, correction, keepdim))


def amax(input, dim=None, keepdim: bool = False):
    """y = max_i x_i over the dimensions `dim` (None: all). Ties share the gradient evenly, as in torch."""
    return largest(input, axis=axes(dim, len(input.shape), "amax"), keepdims=keepdim)


def amin(input, dim=None, keepdim: bool = False):
    """y = min_i x_i = -max_i(-x_i) over the dimensions `dim` (None: all). Ties share the gradient evenly."""
    return -amax(-input, dim, keepdim)


_argmax = operation(lambda xp, input, *, axis: input.argmax(axis=axis))


def argmax(input, dim: int | None = None):
    """The index of the largest element along `dim` (None: in the flattened input); the first one at a tie. No gradient."""
    return _argmax(input, axis=dim)


def logsumexp(input, dim, keepdim: bool = False):
    """y = log sum_i exp(x_i) = m + log sum_i exp(x_i - m), m = max_i x_i: nothing overflows. dim: int or several."""
    peak = amax(input, dim, keepdim=True)
    peak = peak.detach() if hasattr(peak, "detach") else peak  # m cancels: its gradient is zero
    out = peak + log(sum(exp(input - peak), dim, keepdim=True))
    if keepdim:
        return out
    axis = axes(dim, len(input.shape), "logsumexp")
    return reshape(out, tuple(n for i, n in enumerate(input.shape) if i not in axis))
