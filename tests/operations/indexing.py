"""Picking elements by index, and putting them into places."""

import functools
import math

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, broadcastable, values
from .shape import built, call, dim_of

# -- x[index] --------------------------------------------------------------------------------------------------------


def positions(draw, source, n, shape):
    """Integers that name places of a dimension of size n, counted from either end; none where there are no places."""
    shape = tuple(shape) if n else (*shape[:-1], 0) if shape else (0,)
    return np.asarray(source.integers(-n, max(n, 1), shape), draw(st.sampled_from(["int64", "int32"])))


@st.composite
def indices(draw, shape, ints=True, arrays=True, backwards=True):
    """An index with all that NumPy takes: ints, slices, None, ..., integer and boolean arrays and lists that broadcast, in any order.

    ints: also together with arrays, where PyTorch may put the picked dimension elsewhere. backwards: negative steps.
    """
    source, dim, parts, ndim = draw(values()), 0, [], len(shape)
    mask_dims = draw(st.integers(0, min(2, ndim))) if arrays and draw(st.integers(0, 3)) == 0 else 0
    mask_at = draw(st.integers(0, ndim - mask_dims)) if mask_dims else -1
    mask = source.booleans(shape[mask_at:mask_at + mask_dims]) if mask_dims else None
    common = (int(mask.sum()),) if mask_dims else tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    kinds = ["slice", "slice", "None"] + ["array"] * 2 * arrays + ["int"] * (ints or not arrays)
    open_ = not draw(st.booleans())  # whether ... has stood
    while dim < ndim:
        if dim == mask_at:
            parts.append(mask.tolist() if draw(st.booleans()) and mask.size and mask_dims == 1 else mask)
            dim += mask_dims
            continue
        until = mask_at if mask_at > dim else ndim
        kind = draw(st.sampled_from(kinds if open_ else [*kinds, "..."]))
        n = shape[dim]
        if kind == "None":
            if len(parts) > 6:
                break
            parts.append(None)
            continue
        if kind == "...":
            parts.append(Ellipsis)
            open_, dim = True, draw(st.integers(dim, until))
            continue
        if kind == "int" and n:
            parts.append(draw(st.sampled_from([int, np.int64]))(draw(st.integers(-n, n - 1))))
        elif kind == "array" and n:
            sizes = [1 if draw(st.integers(0, 3)) == 0 else m for m in common][draw(st.integers(0, len(common))):]
            places = positions(draw, source, n, sizes)
            parts.append(places.tolist() if draw(st.booleans()) and places.ndim and places.size else places)
        else:
            end = st.none() | st.integers(-n - 1, n + 1)
            step = st.sampled_from([None, 1, 2, 3, -1, -2] if backwards else [None, 1, 2, 3])
            parts.append(slice(draw(end), draw(end), draw(step)))
        dim += 1
        if not draw(st.integers(0, 5)) and mask_at < dim and not any(part is Ellipsis for part in parts):
            break  # the other dimensions are taken whole
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def getitems(**options):
    def made(draw, source, shape):
        index = draw(indices(shape, **options))
        return Call((source(*shape), index)) if draw(st.booleans()) else Call((source(*shape),), {"index": index})

    return built(made)


# -- along one dimension ---------------------------------------------------------------------------------------------


def smaller(draw, shape, dim, most=None):
    """A shape that is nowhere larger, except along dim, where it has up to `most` places."""
    n = shape[dim]
    sizes = [draw(st.integers(m and 1, m)) for m in shape]
    sizes[dim] = draw(st.integers(0, 4 if most is None else most)) if n else 0
    return tuple(sizes)


def gathers(draw, source, shape):
    dim = dim_of(draw, len(shape))
    index = source.integers(0, max(shape[dim], 1), smaller(draw, shape, dim))
    return call(draw, source(*shape), dim=dim, index=index)


def source_sizes(draw, sizes, larger):
    return [n + draw(st.integers(0, 2)) for n in sizes] if larger else sizes


def scatters(draw, source, shape, larger=False):
    dim = dim_of(draw, len(shape))
    if not larger and draw(st.booleans()):
        index = source.integers(0, max(shape[dim], 1), smaller(draw, shape, dim))
        number = draw(st.sampled_from([0.5, 2, -1.0]))
        return Call((source(*shape), dim, index, number)) if draw(st.booleans()) else Call((source(*shape), dim, index), {"value": number})
    sizes = smaller(draw, shape, dim, shape[dim])
    order = np.argsort(source(*[shape[dim] if i == dim % len(shape) else n for i, n in enumerate(sizes)]), axis=dim)  # no place twice
    index = np.take(order, np.arange(sizes[dim]), axis=dim)
    return call(draw, source(*shape), dim=dim, index=index, src=source(*source_sizes(draw, sizes, larger)))


def additions(draw, source, shape, larger=False):
    dim = dim_of(draw, len(shape))
    sizes = smaller(draw, shape, dim)
    index = source.integers(0, max(shape[dim], 1), sizes)
    return call(draw, source(*shape), dim=dim, index=index, src=source(*source_sizes(draw, sizes, larger)))


@st.composite
def along(draw):
    source, (one, two) = draw(values()), draw(broadcastable(least=1, smallest=0))
    ndim = max(len(one), len(two))
    one, two = ((1,) * (ndim - len(shape)) + tuple(shape) for shape in (one, two))
    if draw(st.integers(0, 3)) == 0:
        size = math.prod(one)
        return Call((source(*one), source.integers(0, max(size, 1), two if size else (0,))))
    dim = dim_of(draw, ndim)
    n, two = one[dim], list(two)
    two[dim] = draw(st.integers(0, 4)) if n else 0
    return call(draw, source(*one), indices=source.integers(-n, max(n, 1), tuple(two)), dim=dim)


def selections(draw, source, shape):
    dim = dim_of(draw, len(shape))
    n = shape[dim]
    index = source.integers(0, max(n, 1), draw(st.sampled_from([(), (1,), (3,), (0,)])) if n else (0,))
    return call(draw, source(*shape), dim=dim, index=np.asarray(index, draw(st.sampled_from(["int64", "int32"]))))


# -- masks -----------------------------------------------------------------------------------------------------------


@st.composite
def fills(draw, infinite=False):
    source, (one, two) = draw(values()), draw(broadcastable(smallest=0))
    value = draw(st.sampled_from([-math.inf] if infinite else [0.5, 2, -8, "array"]))
    return call(draw, source(*one), mask=np.asarray(source.booleans(two)), value=source() if value == "array" else value)


@st.composite
def integer_fills(draw):
    source, (one, two) = draw(values()), draw(broadcastable(smallest=0))
    x = np.asarray(source.integers(0, 2, one)).astype(draw(st.sampled_from(["int64", "uint8", "bool", "int32"])))
    return Call((x, np.asarray(source.booleans(two)), draw(st.sampled_from([1, True, 1.75, 0]))))


@st.composite
def masked(draw):
    source, (one, two) = draw(values()), draw(broadcastable(smallest=0))
    return call(draw, source(*one), mask=np.asarray(source.booleans(two)))


def zeros_among(draw, source, shape):
    x = source(*shape) * source.booleans(shape)
    return np.asarray(draw(st.sampled_from([x, x > 0, np.trunc(x).astype(int)])))


X, S = np.arange(6.0).reshape(2, 3), np.ones(())
I = np.zeros((2, 3), int)
M = X > 1

CASES = [
    Case("getitem", getitems(), examples=60, waits=True, no_peer="negative steps, and NumPy's rules for an int beside an array", refused=(
        Call((X, 2)), Call((X, (0, 3))), Call((X, (0, 0, 0))), Call((X, np.array([0, 2]))), Call((X, np.array([True]))), Call((X, X)),
        Call((X, (np.array([0, 1]), np.array([0, 1, 2])))), Call((X, "a")), Call((X, 1.0)), Call((X, (..., ...))),
        Call((X, slice(None, None, 0))), Call((X, slice(0.5))), Call((X, [0, 2])), Call((X, -3)))),
    Case("getitem", getitems(ints=False, backwards=False), label="arrays", examples=40, waits=True,
         theirs=lambda torch: lambda input, index: input[index],
         refused=(Call((X, np.array([0, 2]))), Call((X, X)))),
    Case("getitem", getitems(arrays=False, backwards=False), label="slices",
         theirs=lambda torch: lambda input, index: input[index],
         refused=(Call((X, 2)), Call((X, (0, 0, 0))), Call((X, 1.0)))),
    Case("gather", built(gathers, least=1), refused=(
        Call((X, 0, np.zeros(3, int))), Call((X, 2, I)), Call((X, 1, np.zeros((3, 3), int))), Call((X, 1, I + 3)), Call((X, 1, I - 1)),
        Call((X, 1, X)))),
    Case("scatter", built(scatters, least=1), refused=(
        Call((X, 0, np.zeros(3, int), X)), Call((X, 2, I, X)), Call((X, 1, np.zeros((3, 3), int), X)), Call((X, 1, I + 3, X)),
        Call((X, 1, I, X[:1])), Call((X, 1, I, X.astype(int))), Call((X, 1, I)), Call((X, 1, X, X)), Call((X, 1, I, X), {"value": 1.0}))),
    Case("scatter_add", built(additions, least=1), refused=(
        Call((X, 0, np.zeros(3, int), X)), Call((X, 2, I, X)), Call((X, 1, I + 3, X)), Call((X, 1, I, X[:1])),
        Call((X, 1, I, X.astype(int))), Call((X, 1, X, X)))),
    *[Case(name, built(functools.partial(calls, larger=True), least=1), label="from a larger src", peer_order=0)  # no gradient there
      for name, calls in (("scatter", scatters), ("scatter_add", additions))],
    Case("take_along_dim", along(), refused=(
        Call((X, I[0], 1)), Call((X, I, 2)), Call((X, np.zeros((3, 1), int), 1)), Call((X, I - 1)), Call((X, I + 6)), Call((X, X, 1)))),
    Case("index_select", built(selections, least=1), refused=(
        Call((X, 2, I[0])), Call((X, 1, I)), Call((X, 1, I[0] + 3)), Call((X, 1, I[0] - 1)), Call((X, 1, X[0])))),
    Case("masked_fill", fills(), refused=(
        Call((X, I, 1.0)), Call((X, M[:, :2], 1.0)), Call((X, M, X[0])), Call((I.astype(np.int8), M, 300)))),
    Case("masked_fill", fills(infinite=True), label="with infinity", order=0),
    Case("masked_fill", integer_fills(), label="of integers", order=0),
    Case("masked_select", masked(), waits=True, refused=(Call((X, I)), Call((X, M[:, :2])))),
    Case("argwhere", built(lambda draw, source, shape: Call((zeros_among(draw, source, shape),))), order=0, waits=True),
    Case("nonzero", built(lambda draw, source, shape: Call(
        (zeros_among(draw, source, shape),), draw(st.sampled_from([{}, {"as_tuple": True}, {"as_tuple": False}])))), order=0, waits=True),
]
