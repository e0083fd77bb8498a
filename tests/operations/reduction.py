"""Sums, means, extremes, orders: all forms of `dim`, with and without keepdim, empty arrays where there is a result for them."""

import math

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, shapes, values

EMPTY = Call((np.ones((2, 0)), 1))
WRONG_DIM, TWICE, NOT_AN_INTEGER = Call((np.ones((2, 3)), 2)), Call((np.ones((2, 3)), (0, -2))), Call((np.ones((2, 3)), 0.5))
WRONG = (WRONG_DIM, TWICE, NOT_AN_INTEGER)


def away_from_zero(x):
    """PyTorch divides a product by its factors."""
    return np.asarray(np.sign(x) * (np.abs(x) + 0.25))


def single(ndim):
    """One dimension, of either sign; a number has dimension 0 too."""
    return st.integers(-max(ndim, 1), max(ndim, 1) - 1)


@st.composite
def several(draw, ndim, none=True):
    """None, one dimension, or several as tuple or list."""
    forms = [single(ndim)] + [st.none()] * none
    if ndim:
        some = st.lists(st.integers(0, ndim - 1), min_size=1, max_size=ndim, unique=True).flatmap(
            lambda dims: st.tuples(*(st.sampled_from([d, d - ndim]) for d in dims)))
        forms += [some, some.map(list)]
    return draw(st.one_of(forms))


@st.composite
def reductions(draw, dims=several, none=True, smallest=1, least=0, positional=True, kinds=("float",), transform=lambda x: x, **options):
    """f(x, dim, keepdim) in every spelling. positional: whether keepdim comes after dim. options: strategies for keywords."""
    source, shape = draw(values()), draw(shapes(least=least, smallest=smallest))
    kind = draw(st.sampled_from(kinds))
    x = transform(source(*shape)) if kind == "float" else np.asarray(
        source.booleans(shape) if kind == "bool" else source.integers(0, 9, shape), kind)
    keepdim = draw(st.sampled_from([None, True, False]))
    arguments = {"dim": draw(dims(len(shape), none=none) if dims is several else dims(len(shape)))}
    if keepdim is not None:
        arguments["keepdim"] = keepdim
    if arguments["dim"] is None and keepdim is None and draw(st.booleans()):
        del arguments["dim"]
    more = {name: draw(strategy) for name, strategy in options.items() if draw(st.booleans())}
    if draw(st.booleans()) and (positional or "keepdim" not in arguments):
        return Call((x, *arguments.values()), more)
    return Call((x,), {**arguments, **more})


@st.composite
def norms(draw, *orders):
    call, p = draw(reductions(positional=False)), draw(st.sampled_from(orders))
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    p = 2 if isinstance(dim, (tuple, list)) and len(dim) > 2 else p  # PyTorch takes "fro" for matrices
    keepdim = {name: value for name, value in call.kwargs.items() if name == "keepdim"}
    return Call((call.args[0], p, dim), keepdim) if draw(st.booleans()) else Call(call.args[:1], {"p": p, "dim": dim, **keepdim})


@st.composite
def unbiased(draw):
    """f(x, dim, unbiased, keepdim), the older form."""
    call = draw(reductions(smallest=2, least=1, positional=False))
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    arguments = {"dim": dim, "unbiased": draw(st.booleans()), "keepdim": draw(st.booleans())}
    return Call((call.args[0], *arguments.values())) if draw(st.booleans()) else Call(call.args[:1], arguments)


def along_one(none=False, **options):
    """Reductions over one dimension (None only where it is a form)."""
    return reductions(dims=lambda ndim: st.none() | single(ndim) if none else single(ndim), **options)


@st.composite
def scans(draw, kinds=("float",), smallest=0, change=np.asarray):
    source, shape = draw(values()), draw(shapes(smallest=smallest))
    kind = draw(st.sampled_from(kinds))
    x = change(source(*shape)) if kind == "float" else np.asarray(source.integers(0, 3, shape), kind)
    dim = draw(single(len(shape)))
    return Call((x, dim)) if draw(st.booleans()) else Call((x,), {"dim": dim})


@st.composite
def orders(draw):
    source, shape = draw(values()), draw(shapes(smallest=0))
    kwargs = {"descending": draw(st.booleans())} if draw(st.booleans()) else {}
    args = () if draw(st.booleans()) else (draw(single(len(shape))),)
    return Call((source(*shape), *args), kwargs)


@st.composite
def tops(draw):
    source, shape = draw(values()), draw(shapes())
    dim = draw(single(len(shape)))
    n = shape[dim] if shape else 1
    call = Call((source(*shape), draw(st.integers(0, n)), dim), {"largest": draw(st.booleans())})
    return call if draw(st.booleans()) or dim != -1 else Call(call.args[:2], {"sorted": True})


@st.composite
def of_two(draw):
    source, shape = draw(values()), draw(shapes(smallest=0))
    pair = source(*shape), source(*shape[1:])
    return Call(pair) if draw(st.booleans()) else Call(pair[:1], {"other": pair[1]})


INTEGERS = (*["float"] * 6, "int64", "int32", "uint8", "bool")
SPREADS = dict(correction=st.sampled_from([0, 1, 0.5]))
VECTOR = Call((np.ones((2, 3), np.int64),))

CASES = [
    Case("sum", reductions(smallest=0, kinds=INTEGERS), examples=60, refused=WRONG),
    Case("mean", reductions(smallest=0), examples=40, refused=(*WRONG, VECTOR, Call((np.ones(3, bool),)))),
    *(Case(name, reductions(smallest=2, least=1, positional=False, **SPREADS), examples=40, refused=(
        *WRONG, VECTOR, Call((np.ones((2, 3)), 1, 0)))) for name in ("var", "std", "var_mean")),
    *(Case(name, unbiased(), "unbiased", examples=8, refused=(
        Call((np.ones((2, 3)), 1, True), {"correction": 1}),)) for name in ("var", "std", "var_mean")),
    Case("var", reductions(smallest=0, positional=False), "of one or none", order=0, examples=8),
    *(Case(name, reductions(none=False, kinds=INTEGERS), examples=40, refused=(*WRONG, EMPTY, Call((np.ones((0,)),))))
      for name in ("amax", "amin")),
    *(Case(name, st.builds(lambda source, shape: Call((source(*shape),)), values(), shapes()), "of all", examples=8,
           refused=(Call((np.ones((0, 2)),)),)) for name in ("max", "min")),
    *(Case(name, along_one(kinds=INTEGERS[:-1]), "along a dimension", examples=40, refused=(
        EMPTY, WRONG_DIM, NOT_AN_INTEGER, Call((np.ones((2, 3)), (0, 1))))) for name in ("max", "min")),
    *(Case(name, of_two(), "of two", refused=(Call((np.ones((2, 3)), 1), {"other": np.ones((2, 3))}),)) for name in ("max", "min")),
    *(Case(name, along_one(none=True, kinds=INTEGERS[:-1]), order=0, refused=(
        EMPTY, WRONG_DIM, Call((np.ones((2, 3)), (0, 1))), Call((np.ones(0),)))) for name in ("argmax", "argmin")),
    Case("prod", along_one(smallest=0, kinds=INTEGERS, transform=away_from_zero), examples=60, refused=(
        WRONG_DIM, NOT_AN_INTEGER, Call((np.ones((2, 3)), (0, 1))))),
    Case("prod", st.builds(lambda source, shape: Call((away_from_zero(source(*shape)),)), values(), shapes(smallest=0, most=3)), "of all"),
    Case("cumsum", scans(kinds=INTEGERS), examples=60, refused=(WRONG_DIM, Call((np.ones(3),)))),
    Case("cumprod", scans(kinds=INTEGERS[:8], change=away_from_zero), examples=60, refused=(WRONG_DIM, Call((np.ones(3),)))),
    Case("logsumexp", reductions(none=False), examples=40, refused=(*WRONG, Call((np.ones(3),)))),
    Case("logsumexp", reductions(none=False, smallest=0), "of nothing", order=0, examples=8),
    Case("norm", norms("fro", 2, 3.0, 2.5), examples=60, refused=(
        Call((np.ones(3), "maximum")), Call((np.ones((2, 3)), 2, 2)), VECTOR, Call((np.ones((2, 0)), math.inf, 1)))),
    Case("norm", norms(0, 0.5, 1, -1.0, 1.5, math.inf, -math.inf), "with corners", examples=80, peer_order=1),
    *(Case(name, reductions(none=False, smallest=0, kinds=("int64", "bool", "float")), order=0, refused=WRONG) for name in ("all", "any")),
    *(Case(name, st.builds(lambda source, shape: Call((np.asarray(source.integers(0, 2, shape)),)), values(), shapes(smallest=0)), "of all",
           order=0, examples=8) for name in ("all", "any")),
    Case("sort", orders(), examples=40, refused=(WRONG_DIM, NOT_AN_INTEGER)),
    Case("argsort", orders(), order=0, refused=(WRONG_DIM, NOT_AN_INTEGER)),
    Case("topk", tops(), examples=40, refused=(
        Call((np.ones((2, 3)), 4)), Call((np.ones((2, 3)), -1)), Call((np.ones((2, 3)), 1, 2)), Call((np.array(1.0), 2)))),
]
