"""Operations that move elements without changing them. Many are not in `torch` under our name and form: `theirs` says what is the same."""

import math

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, shapes, values


def built(function, **options):
    """Calls made by function(draw, source, shape) from a shape with sizes from 0 up."""

    @st.composite
    def calls(draw):
        shape = draw(shapes(**{"smallest": 0, "largest": 4, **options}))
        return function(draw, draw(values()), shape)

    return calls()


def call(draw, x, *args, **named):
    """Some of the trailing arguments positional, the others by name, in torch's order."""
    names = list(named)
    cut = draw(st.integers(0, len(names)))
    return Call((x, *args, *(named[name] for name in names[:cut])), {name: named[name] for name in names[cut:]})


def dim_of(draw, ndim):
    return draw(st.integers(-ndim, ndim - 1))


def signed(draw, dims, ndim):
    """Each dimension counted from the front or from the end."""
    return [d - ndim if draw(st.booleans()) else d for d in dims]


def some_dims(draw, ndim, least=0):
    return signed(draw, draw(st.lists(st.integers(0, ndim - 1), unique=True, min_size=least, max_size=ndim)), ndim)


def sequence(draw, items):
    return draw(st.sampled_from([tuple, list]))(items)


def factors(draw, n):
    """Sizes whose product is n, perhaps with one left open."""
    sizes = []
    while n > 1 and draw(st.booleans()):
        divisor = draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
        sizes.append(divisor)
        n //= divisor
    sizes.insert(draw(st.integers(0, len(sizes))), n)
    sizes = draw(st.permutations(sizes))
    if math.prod(sizes) and draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    return sizes


@st.composite
def reshapes(draw):
    sizes = draw(shapes(smallest=0))
    return call(draw, draw(values())(*sizes), shape=sequence(draw, factors(draw, math.prod(sizes))))


def flattens(draw, source, shape):
    ndim = max(len(shape), 1)
    start = draw(st.integers(0, ndim - 1))
    end = draw(st.integers(start, ndim - 1))
    start, end = signed(draw, (start, end), ndim)
    return call(draw, source(*shape), start_dim=start, end_dim=end)


def unflattens(draw, source, shape):
    dim = dim_of(draw, len(shape))
    return call(draw, source(*shape), dim, sizes=sequence(draw, factors(draw, shape[dim])))


@st.composite
def squeezes(draw):
    shape = draw(st.lists(st.sampled_from([1, 1, 3, 0]), max_size=4).map(tuple))
    x = draw(values())(*shape)
    if draw(st.booleans()):
        return Call((x,))
    ndim = max(len(shape), 1)
    return call(draw, x, dim=dim_of(draw, ndim) if draw(st.booleans()) else sequence(draw, some_dims(draw, ndim)))


def movedims(draw, source, shape):
    if draw(st.booleans()):
        return call(draw, source(*shape), source=dim_of(draw, len(shape)), destination=dim_of(draw, len(shape)))
    origin = some_dims(draw, len(shape))
    places = signed(draw, draw(st.permutations(range(len(shape))))[:len(origin)], len(shape))
    return call(draw, source(*shape), source=sequence(draw, origin), destination=sequence(draw, places))


@st.composite
def expands(draw, name):
    target = draw(shapes(smallest=0))
    shape = tuple(1 if draw(st.booleans()) else n for n in target)[draw(st.integers(0, len(target))):]
    lead = len(target) - len(shape)
    given = [-1 if i >= lead and shape[i - lead] == n and draw(st.booleans()) else n for i, n in enumerate(target)]
    return Call((draw(values())(*shape),), {name: tuple(given)}) if draw(st.booleans()) else Call((draw(values())(*shape), given))


def repeats(draw, source, shape):
    x = source(*shape)
    form = draw(st.sampled_from(["all", "one", "number", "each"]))
    if form == "all" or not shape:
        return Call((x, draw(st.integers(0, 3))))
    dim = dim_of(draw, len(shape))
    number = {"one": lambda: draw(st.integers(0, 3)), "number": lambda: np.array([2]),
              "each": lambda: source.integers(0, 3, (shape[dim],))}[form]()
    return call(draw, x, repeats=number, dim=dim)


@st.composite
def grids(draw):
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 3, None]), min_size=1, max_size=4))
    source = draw(values())
    vectors = [source() if n is None else source(n) for n in sizes]
    indexing = {"indexing": draw(st.sampled_from(["ij", "xy"]))} if draw(st.booleans()) else {}
    return Call((vectors,), indexing) if draw(st.booleans()) else Call(tuple(vectors), indexing)


@st.composite
def cats(draw):
    shape, source = draw(shapes(1, 4, smallest=0)), draw(values())
    dim, pieces = dim_of(draw, len(shape)), []
    for n in draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)):
        sizes = list(shape)
        sizes[dim] = n
        pieces.append(source(*sizes))
        if draw(st.integers(0, 4)) == 0:
            pieces.append(source(0))  # fits everywhere
    return call(draw, sequence(draw, pieces), dim=dim) if dim or draw(st.booleans()) else Call((pieces,))


@st.composite
def mixed_cats(draw):
    """Integers, booleans and real numbers meet in one dtype."""
    source, dtypes = draw(values()), ["int64", "uint8", "int32", "bool", "float16", "float64"]
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))
    return Call(([source.integers(0, 2, (2, n)).astype(draw(st.sampled_from(dtypes))) for n in sizes], 1))


def stacks(draw, source, shape):
    return call(draw, [source(*shape) for _ in range(draw(st.integers(1, 3)))], dim=dim_of(draw, len(shape) + 1))


def splits(draw, source, shape):
    dim = dim_of(draw, len(shape))
    n = shape[dim]
    if draw(st.booleans()):
        size = draw(st.integers(1 if n else 0, n + 1))
    else:
        cuts = sorted(draw(st.lists(st.integers(0, n), max_size=3)))
        size = sequence(draw, [b - a for a, b in zip([0, *cuts], [*cuts, n])])
    return call(draw, source(*shape), split_size_or_sections=size, dim=dim)


def unbinds(draw, source, shape):
    dim = dim_of(draw, len(shape))
    sizes = list(shape)
    sizes[dim] = max(1, sizes[dim])  # of nothing there are no pieces
    return call(draw, source(*sizes), dim=dim)


def rolls(draw, source, shape):
    x = source(*shape)
    if not shape or draw(st.integers(0, 3)) == 0:
        return Call((x, draw(st.integers(-9, 9))))
    if draw(st.booleans()):
        return call(draw, x, shifts=draw(st.integers(-9, 9)), dims=dim_of(draw, len(shape)))
    dims = draw(st.lists(st.integers(-len(shape), len(shape) - 1), max_size=3))  # one may occur twice
    shifts = [draw(st.integers(-9, 9)) for _ in dims]
    return call(draw, x, shifts=sequence(draw, shifts), dims=sequence(draw, dims)) if dims else Call((x, 3))


def diagonals(draw, source, shape):
    dim1, dim2 = signed(draw, draw(st.permutations(range(len(shape))))[:2], len(shape))
    return call(draw, source(*shape), offset=draw(st.integers(-4, 4)), dim1=dim1, dim2=dim2)


X, S = np.ones((2, 3)), np.ones(())

CASES = [
    Case("reshape", reshapes(), refused=(Call((X, (4, 2))), Call((X, (4, -1))), Call((X, (-1, -1))), Call((X, (-2, 3))), Call((X, 6)),
                                         Call((X[:0], (-1, 0))), Call((X, (6.0,))))),
    Case("flatten", built(flattens), refused=(Call((X, 2)), Call((X, 1, 0)), Call((X, 0, 2)))),
    Case("unflatten", built(unflattens, least=1), refused=(
        Call((X, 1, (2, 2))), Call((X, 2, (1, 1))), Call((X, 1, ())), Call((X, 1, (-1, -1))), Call((X, 1, 3)))),
    Case("squeeze", squeezes(), refused=(Call((X, 2)), Call((X, (0, 0))))),
    Case("unsqueeze", built(lambda draw, source, shape: call(draw, source(*shape), dim=dim_of(draw, len(shape) + 1))),
         refused=(Call((X, 3)), Call((X, -4)))),
    Case("permute", built(lambda draw, source, shape: call(
        draw, source(*shape), dims=sequence(draw, signed(draw, draw(st.permutations(range(len(shape)))), len(shape))))),
        refused=(Call((X, (0, 0))), Call((X, (0, 2))), Call((X, (0,))), Call((X, 1)))),
    Case("transpose", built(lambda draw, source, shape: call(
        draw, source(*shape), dim0=dim_of(draw, max(len(shape), 1)), dim1=dim_of(draw, max(len(shape), 1)))), refused=(Call((X, 0, 2)),)),
    Case("swapaxes", built(lambda draw, source, shape: call(
        draw, source(*shape), axis0=dim_of(draw, max(len(shape), 1)), axis1=dim_of(draw, max(len(shape), 1)))), refused=(Call((X, 0, 2)),)),
    Case("t", built(lambda draw, source, shape: Call((source(*shape),)), most=2), refused=(Call((X[None],)),)),
    Case("movedim", built(movedims, least=1), refused=(
        Call((X, (0, 0), (0, 1))), Call((X, (0,), (0, 1))), Call((X, 2, 0)), Call((X, 0, (1,))))),
    Case("expand", expands("shape"), theirs=lambda torch: lambda input, shape: input.expand(shape),
         refused=(Call((X, (3, 3))), Call((X, (3,))), Call((X, (-1, 2, 3))), Call((X, (2, -2))))),
    Case("broadcast_to", expands("size"), refused=(Call((X, (3, 3))), Call((X, (3,))))),
    Case("tile", built(lambda draw, source, shape: call(
        draw, source(*shape), dims=sequence(draw, draw(st.lists(st.integers(0, 3), max_size=4)))), most=3, largest=3),
         refused=(Call((X, (-1,))), Call((X, 2)))),
    Case("repeat_interleave", built(repeats, most=3), waits=True, refused=(
        Call((X, -1, 0)), Call((X, np.array([1, 2]), 1)), Call((X, np.array([1, -2]), 0)), Call((X, 2, 2)), Call((X, 1.5, 0)))),
    Case("meshgrid", grids(), theirs=lambda torch: lambda *tensors, indexing="ij": torch.meshgrid(*tensors, indexing=indexing), refused=(
        Call((X,)), Call(()), Call((X[0],), {"indexing": "ji"}), Call((X[0], np.arange(3))))),
    Case("cat", cats(), refused=(
        Call(([],)), Call(([X, np.ones((2, 4))],)), Call(([X, np.ones(3)],)), Call(([X, X], 2)), Call(([S, S],)), Call((X,)),
        Call(([X, 1.0],)))),
    Case("cat", mixed_cats(), label="of several dtypes", order=0),
    Case("stack", built(stacks), refused=(Call(([],)), Call(([X, X.T],)), Call(([X, X], 3)))),
    Case("split", built(splits, least=1), refused=(
        Call((X, [1, 1], 1)), Call((X, [-1, 3], 0)), Call((X, 1, 2)), Call((X, 0)), Call((X, -1)), Call((S, 1)))),
    Case("chunk", built(lambda draw, source, shape: call(
        draw, source(*shape), chunks=draw(st.integers(1, 6)), dim=dim_of(draw, len(shape))), least=1),
         refused=(Call((X, 2, -3)), Call((X, 0)), Call((S, 1)))),
    Case("unbind", built(unbinds, least=1), refused=(Call((S,)), Call((X, 2)))),
    Case("flip", built(lambda draw, source, shape: call(draw, source(*shape), dims=sequence(draw, some_dims(draw, max(len(shape), 1))))),
         refused=(Call((X, [2])), Call((X, (0, 0))), Call((X, 0)))),
    Case("roll", built(rolls), refused=(
        Call((X, (1, 2))), Call((X, 1, (0, 1))), Call((X, (1, 2), 0)), Call((X, 1, 3)), Call((S, 1, 0)), Call((X, 1.5)))),
    Case("tril", built(lambda draw, source, shape: call(draw, source(*shape), diagonal=draw(st.integers(-3, 3))), least=2), examples=60,
         refused=(Call((X[0],)),)),
    Case("triu", built(lambda draw, source, shape: call(draw, source(*shape), diagonal=draw(st.integers(-3, 3))), least=2), examples=60,
         refused=(Call((X[0],)),)),
    Case("diagonal", built(diagonals, least=2), refused=(Call((X[0],)), Call((X, 0, 1, 1)), Call((X, 0, 0, 2)))),
]
