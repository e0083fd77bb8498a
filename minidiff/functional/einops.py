"""Reordering, splitting, merging, reducing and repeating dimensions by name, in the notation of einops (Rogozhnikov, ICLR 2022).

    rearrange(x, "b c (h p) (w q) -> b (c p q) h w", p=2, q=2)      patches of 2x2 become channels
    reduce(x, "b c (h p) (w q) -> b c h w", "max", p=2, q=2)        max pooling
    repeat(x, "b c h w -> b c (h p) (w q)", p=2, q=2)               every pixel four times

A name is an axis; brackets merge several into one dimension, the last varies fastest: "(h p)" and "(p h)" differ. `...` stands for any
number of axes, 1 and () for a dimension of size 1, a larger number for an axis of that size without a name. One parser and one plan
serve the three functions: split into axes, reduce those that are gone, permute, repeat along those that are new, merge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from numbers import Integral
from typing import Any, NamedTuple

from . import reduction
from .door import must_be_real
from .shape import expand, permute, reshape, stack

__all__ = ["rearrange", "reduce", "repeat"]


# -- the notation ----------------------------------------------------------------------------------------------------

_DIMENSION = re.compile(r"\(([^()]*)\)|([^ ()]+)")  # what is in brackets, or one token
_ELLIPSIS = re.compile(r"(?<![^ ()])\.\.\.(?![^ ()])")


def _size_of(axis: str) -> int | None:
    """The size of an axis that is a number; None for a name."""
    token = axis.partition(" ")[0]
    return int(token) if token.isdecimal() else None


def _flat(dimensions: Sequence[Sequence[str]]) -> list[str]:
    return [axis for axes in dimensions for axis in axes]


def _dimensions(side: str, where: str) -> list[list[str]]:
    """'b (h p) 2 1' -> [['b'], ['h', 'p'], ['2 on the right, 3'], []]: the axes of each dimension. A number becomes a name of its own."""
    found = [[token for token in (inner or single).split(" ") if token] for inner, single in _DIMENSION.findall(side)]
    for token in _flat(found):
        is_name = token.replace("...", "").isidentifier() and token.strip("_") == token
        if not is_name and not (token.isdecimal() and int(token)):
            raise ValueError(f"{token!r} is no name (letters, digits and '_', which is not at the ends), no size above 0 and not '...'")
        if is_name and _flat(found).count(token) > 1:
            raise ValueError(f"{token!r} stands twice on the {where}")
    numbers = iter(range(len(side)))
    return [[f"{token} on the {where}, {next(numbers)}" if token.isdecimal() else token for token in axes if token != "1"]
            for axes in found]


def _read(pattern: str, ndim: int) -> list[list[list[str]]]:
    """The dimensions of the left and of the right side, with a name for each axis of `...`."""
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ValueError("expected one '->'")
    dots = [len(_ELLIPSIS.findall(side)) for side in sides]
    if any(n > 1 or side.count(".") > 3 * n for n, side in zip(dots, sides)):
        raise ValueError("'...' stands by itself, and once on a side")
    if not all(re.fullmatch(r"(\([^()]*\)|[^()])*", side) for side in sides):
        raise ValueError("brackets must open and close, and none stands in another")
    described = _DIMENSION.findall(sides[0])
    if dots[0] and ("", "...") not in described:
        raise ValueError("'...' may stand in brackets on the right only")
    if dots[1] > dots[0]:
        raise ValueError("'...' stands on the right only")
    hidden = ndim - len(described) + dots[0]
    if hidden < 0 or (hidden and not dots[0]):
        raise ValueError(f"the left describes {len(described) - dots[0]} dimensions{' or more' * dots[0]}")
    names = " ".join(f"axis...{i}" for i in range(hidden))
    return [_dimensions(_ELLIPSIS.sub(names, side), where) for side, where in zip(sides, ("left", "right"))]


def _sizes(dimensions: Sequence[Sequence[str]], shape: Sequence[int], lengths: dict[str, int]) -> dict[str, int]:
    """The size of every axis: given by name, a number, or what the shape leaves for the one that is unknown in a dimension."""
    found = {}
    for axes, n in zip(dimensions, shape):
        known = {axis: lengths.get(axis, _size_of(axis)) for axis in axes}
        missing = [axis for axis in axes if known[axis] is None]
        product = math.prod(size for size in known.values() if size is not None)
        if len(missing) > 1 or (missing and not product):
            raise ValueError(f"a dimension of size {n} does not tell the sizes of ({' '.join(axes)}); give {' or '.join(missing)} by name")
        if n % product if missing else n != product:
            raise ValueError(f"a dimension of size {n} does not split into ({' '.join(axes)}) with {known}")
        found |= {axis: n // product if size is None else size for axis, size in known.items()}
    return found


# -- the plan --------------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """The steps for inputs of one shape, in their order."""

    split: tuple[int, ...]
    gone: tuple[int, ...]
    order: tuple[int, ...]
    spaced: tuple[int, ...]
    repeated: tuple[int, ...]
    merged: tuple[int, ...]


@lru_cache(maxsize=1024)
def _plan(function: str, pattern: str, shape: tuple[int, ...], given: tuple[tuple[str, int], ...]) -> _Plan:
    """What `pattern` means for `function` and this shape."""
    try:
        left, right = _read(pattern, len(shape))
        lengths, before, after = dict(given), _flat(left), _flat(right)
        gone, new = [a for a in before if a not in after], [a for a in after if a not in before]
        alone = gone * (function != "reduce") + new * (function != "repeat")
        if alone:
            raise ValueError(f"{alone} may not stand on one side only (reduce lets axes go, repeat makes new ones)")
        strange = sorted(lengths.keys() - {*before, *after})
        if strange:
            raise ValueError(f"sizes are given for {strange}, which it does not have")
        sizes = _sizes(left, shape, lengths)
        sizes |= {axis: lengths.get(axis, _size_of(axis)) for axis in new}
        if None in sizes.values():
            raise ValueError(f"give the sizes of the new axes {[axis for axis in new if sizes[axis] is None]} by name")
    except ValueError as error:
        raise ValueError(f"{function}: {pattern!r} with {dict(given)} for an input of shape {shape}: {error}") from None
    kept = [axis for axis in before if axis in after]
    return _Plan(
        split=tuple(sizes[axis] for axis in before),
        gone=tuple(i for i, axis in enumerate(before) if axis in gone),
        order=tuple(kept.index(axis) for axis in after if axis in kept),
        spaced=tuple(1 if axis in new else sizes[axis] for axis in after),
        repeated=tuple(sizes[axis] for axis in after),
        merged=tuple(math.prod(sizes[axis] for axis in axes) for axes in right),
    )


def _transformed(function: str, tensor: Any, pattern: str, lengths: dict[str, int], reduction: Callable[..., Any] | None = None) -> Any:
    """The three functions in one."""
    if isinstance(tensor, (list, tuple)):
        shapes = [tuple(x.shape) for x in tensor]
        if len(set(shapes)) != 1:
            raise ValueError(f"{function}: a list needs at least one array, and all of one shape, got {shapes}")
        tensor = stack(tensor)
    wrong = {name: n for name, n in lengths.items() if not isinstance(n, Integral) or n < 0}
    if wrong:
        raise ValueError(f"{function}: sizes are whole numbers, 0 or more, got {wrong}")
    plan = _plan(function, pattern, tuple(tensor.shape), tuple((name, int(n)) for name, n in lengths.items()))
    x = _reshaped(tensor, plan.split)
    if plan.gone:
        x = reduction(x, plan.gone)
    if plan.order != tuple(sorted(plan.order)):
        x = permute(x, plan.order)
    return _reshaped(expand(_reshaped(x, plan.spaced), plan.repeated), plan.merged)


def _reshaped(x, shape):
    return x if tuple(x.shape) == shape else reshape(x, shape)


# -- the functions ---------------------------------------------------------------------------------------------------


def rearrange(tensor, pattern: str, **axes_lengths: int):
    """Reorder, split and merge dimensions by name; no element is lost and none is new.

        rearrange(x, "b c (h p1) (w p2) -> b (c p1 p2) h w", p1=2, p2=2)          rearrange pooling: (N, C, H, W) -> (N, 4 C, H/2, W/2)

    tensor: an array, or a list of arrays, which gets a new first dimension. Sizes that the shape does not tell are given by name.
    Raises ValueError for a pattern that cannot be read, or that does not fit the shape.
    """
    return _transformed("rearrange", tensor, pattern, axes_lengths)


def _prod(x, dims):
    """The product over several dimensions, one after the other."""
    for dim in reversed(dims):
        x = reduction.prod(x, dim)
    return x


_REDUCTIONS = {
    "sum": reduction.sum, "mean": reduction.mean, "max": reduction.amax, "min": reduction.amin, "prod": _prod, "any": reduction.any,
    "all": reduction.all,
}


def reduce(tensor, pattern: str, reduction: str | Callable[..., Any], **axes_lengths: int):
    """`rearrange`, where axes that are missing on the right are put together by `reduction`.

        reduce(x, "b c h w -> b c", "mean")                   global average pooling: (N, C, H, W) -> (N, C)
        reduce(x, "b c h w -> b c () ()", "mean")             the same, with the dimensions kept: (N, C, 1, 1)

    reduction: "sum", "mean", "max", "min", "prod", "any", "all", or a function of (x, dims). Raises ValueError as `rearrange` does,
    TypeError for the mean of integers.
    """
    if not callable(reduction) and reduction not in _REDUCTIONS:
        raise ValueError(f"reduce: reduction {reduction!r} is not offered; expected one of {', '.join(_REDUCTIONS)}, "
                         "or a function of (x, dims)")
    if reduction == "mean":
        must_be_real("reduce", tensor=tensor[0] if isinstance(tensor, (list, tuple)) and tensor else tensor)
    return _transformed("reduce", tensor, pattern, axes_lengths, reduction if callable(reduction) else _REDUCTIONS[reduction])


def repeat(tensor, pattern: str, **axes_lengths: int):
    """`rearrange`, where the elements are repeated along axes that are new on the right.

        repeat(x, "b c h w -> b c (h 2) (w 2)")               nearest-neighbour upsampling: (N, C, H, W) -> (N, C, 2 H, 2 W)
        repeat(x, "c -> b c", b=8)                            one row for each of a batch: (C,) -> (8, C)

    Raises ValueError as `rearrange` does. (PyTorch's and NumPy's `tile` repeats by numbers.)
    """
    return _transformed("repeat", tensor, pattern, axes_lengths)
