"""Functions of one element, with broadcasting: shapes of all kinds, numbers beside arrays, integers and booleans among them."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, broadcastable, shapes, values

TWO_BY_THREE, FOUR_BY_THREE = np.ones((2, 3)), np.ones((4, 3))
NO_BROADCAST = Call((TWO_BY_THREE, FOUR_BY_THREE))


def smooth(x):
    return x


def above_a_quarter(x):
    """Positive, and not so near 0 that a second derivative is all there is to see."""
    return np.asarray(np.abs(x) + 0.25)


def within_one(x):
    return np.asarray(0.45 * x)


def staircase(x):
    return np.asarray(3.0 * x + 1 / 1024)


@st.composite
def of_one(draw, domain=smooth):
    x = domain(draw(values())(*draw(shapes(smallest=0))))
    return Call((), {"input": x}) if draw(st.booleans()) else Call((x,))


@st.composite
def of_two(draw, left=smooth, right=smooth, others=True, first=True, whole=False, booleans=True):
    """Two arrays that broadcast; one of them may be of integers or booleans, or a number (the first only if `first`).

    others: whether anything but floating-point arrays is drawn. whole: arrays of whole numbers, so that equals occur. booleans: PyTorch
    has no differences of them.
    """
    source, pair = draw(values()), draw(broadcastable(smallest=0))
    operands = []
    for domain, shape in zip((left, right), pair):
        x = np.asarray(source.integers(-2, 3, shape), float) if whole else source(*shape)
        operands.append(domain(x))
    kind = draw(st.sampled_from(["floats", "floats", "number", "integers", "booleans", "int32"])) if others else "floats"
    place = draw(st.integers(0, 1)) if first or kind != "number" else 1
    domain, shape = (left, right)[place], pair[place]
    if kind == "number":
        numbers = [float(domain(np.float64(x))) for x in (-1.5, 0.40625, 2.0)]
        operands[place] = draw(st.sampled_from([*numbers, int(domain(np.array(2)) + 0.75)]))
    elif kind == "booleans" and domain is smooth and booleans:
        operands[place] = np.asarray(source.booleans(shape))
    elif kind != "floats":
        whole_numbers = np.asarray(domain(source.integers(-3, 4, shape) * 1.0) + 0.75)
        operands[place] = whole_numbers.astype(np.int32 if kind == "int32" else np.int64)
    if draw(st.booleans()):
        return Call((operands[0],), {"other": operands[1]})
    return Call(tuple(operands))


def with_options(calls, **options):
    """The calls with some of these keyword arguments, drawn from the strategies."""
    return st.builds(lambda call, more: Call(call.args, {**call.kwargs, **more}), calls, st.fixed_dictionaries({}, optional=options))


@st.composite
def powers(draw):
    """x**2, 2**x, x**y with positive bases, and whole exponents of any base."""
    source, pair = draw(values()), draw(broadcastable(smallest=0))
    base, exponent = above_a_quarter(source(*pair[0])), source(*pair[1])
    form = draw(st.sampled_from(["number", "whole number", "of a number", "arrays", "whole exponents"]))
    if form == "number":
        return Call((base, draw(st.sampled_from([0.5, -0.5, 1.5, -2.0, 2.5]))))
    if form == "whole number":
        return Call((np.asarray(source(*pair[0]) + 0.001), draw(st.sampled_from([0, 1, 2, 3, 4, 0.0, 1.0, 3.0]))))
    if form == "of a number":
        return Call((draw(st.sampled_from([2, 0.5, 1.0])), exponent))
    if form == "whole exponents":
        signs = np.where(source.booleans(pair[0]), 1.0, -1.0)
        return Call((np.asarray(base * signs), np.asarray(source.integers(0, 4, pair[1]))))
    return Call((base,), {"exponent": exponent})


@st.composite
def clamps(draw, whole=True):
    """Numbers or arrays as bounds, one or both, also the wrong way round. whole: no bound is larger than the input."""
    source, (x, low, high) = draw(values()), draw(broadcastable(3, smallest=0))
    x = np.broadcast_shapes(x, low, high) if whole else x
    if draw(st.booleans()):
        bounds = [draw(st.sampled_from([-0.75, 0.5, 0.0])), draw(st.sampled_from([-0.25, 0.25, 1.0]))]
    else:
        bounds = [np.asarray(source(*low) - 0.5), np.asarray(source(*high) + 0.5)]
    form = draw(st.sampled_from(["both", "min", "max", "positional", "None"]))
    kwargs = {"both": {"min": bounds[0], "max": bounds[1]}, "min": {"min": bounds[0]}, "max": {"max": bounds[1]}}.get(form, {})
    args = {"positional": tuple(bounds), "None": (None, bounds[1])}.get(form, ())
    return Call((source(*x), *args), kwargs)


@st.composite
def choices(draw):
    source, (condition, one, two) = draw(values()), draw(broadcastable(3, smallest=0))
    sides = [source(*one), source(*two)]
    number = draw(st.sampled_from([None, None, 0, 1]))
    if number is not None:
        sides[number] = draw(st.sampled_from([0.5, 2, True]))
    elif draw(st.booleans()):
        sides[draw(st.integers(0, 1))] = np.asarray(source.integers(-3, 4, one))
    return Call((np.asarray(source.booleans(condition)), *sides))


@st.composite
def lerps(draw):
    source, (one, two, weight) = draw(values()), draw(broadcastable(3, smallest=0))
    weight = draw(st.sampled_from([0.25, 1.0, -0.5])) if draw(st.booleans()) else source(*weight)
    return Call((source(*one), source(*two), weight))


@st.composite
def bits(draw, count=2):
    source, pair = draw(values()), draw(broadcastable(2, smallest=0))
    kinds = [draw(st.sampled_from(["bool", "uint8", "int32", "int64"])) for _ in range(count)]
    return Call(tuple(np.asarray(source.booleans(shape) if kind == "bool" else source.integers(0, 100, shape), kind)
                      for shape, kind in zip(pair, kinds)))


@st.composite
def strange_numbers(draw):
    """Infinities and NaN among numbers, some close to each other."""
    source, pair = draw(values()), draw(broadcastable(2, smallest=0))
    numbers = np.array([np.inf, -np.inf, np.nan, 0.0, 1.0, 1.0 + 1e-5, 1e-9, 3.0])
    return tuple(np.asarray(numbers[source.integers(0, 8, shape)]) for shape in pair)


SMOOTH = {"cos": smooth, "cosh": smooth, "erf": smooth, "exp": smooth, "expm1": smooth, "neg": smooth, "sigmoid": smooth, "sin": smooth,
          "sinh": smooth, "square": smooth, "tanh": smooth, "atan": smooth, "sign": smooth,
          "asin": within_one, "acos": within_one, "tan": within_one,
          "log": above_a_quarter, "log1p": above_a_quarter, "log2": above_a_quarter, "log10": above_a_quarter, "sqrt": above_a_quarter,
          "rsqrt": above_a_quarter, "reciprocal": above_a_quarter,
          "ceil": staircase, "floor": staircase, "trunc": staircase}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

CASES = [
    *(Case(name, of_one(domain), examples=16) for name, domain in SMOOTH.items()),
    Case("abs", of_one(), peer_order=1, examples=8),
    Case("round", with_options(of_one(staircase), decimals=st.sampled_from([0, 1, 2])), examples=8),
    Case("add", with_options(of_two(), alpha=st.sampled_from([2, -3])), examples=60, refused=(NO_BROADCAST, Call((TWO_BY_THREE, "1")))),
    Case("sub", with_options(of_two(booleans=False), alpha=st.sampled_from([2, -3])), examples=60, refused=(
        NO_BROADCAST, Call((np.ones(2, bool), np.ones(2, bool))))),
    Case("mul", of_two(), examples=40, refused=(NO_BROADCAST,)),
    Case("div", of_two(right=above_a_quarter), examples=40, refused=(NO_BROADCAST,)),
    Case("div", with_options(of_two(staircase, above_a_quarter, others=False), rounding_mode=st.sampled_from(["floor", "trunc", None])),
         "rounded", examples=40, refused=(Call((TWO_BY_THREE, 2.0), {"rounding_mode": "round"}),)),
    Case("floor_divide", of_two(staircase, above_a_quarter), order=0),
    Case("fmod", of_two(staircase, above_a_quarter, first=False), order=1, examples=40),
    Case("remainder", of_two(staircase, above_a_quarter, first=False), order=1, examples=40),
    Case("pow", powers(), examples=100, refused=(NO_BROADCAST, Call((np.arange(3), -1)))),
    Case("logaddexp", of_two(others=False), examples=40, refused=(NO_BROADCAST,)),
    Case("atan2", of_two(right=above_a_quarter, others=False), examples=40, refused=(NO_BROADCAST,)),
    Case("maximum", of_two(others=False), examples=40, refused=(NO_BROADCAST,)),
    Case("minimum", of_two(others=False), examples=40, refused=(NO_BROADCAST,)),
    Case("lerp", lerps(), examples=60, refused=(Call((TWO_BY_THREE, FOUR_BY_THREE, 0.5)),)),
    Case("clamp", clamps(), examples=80, refused=(Call((TWO_BY_THREE,)), Call((TWO_BY_THREE, FOUR_BY_THREE)))),
    Case("clamp", clamps(whole=False), "broadcast", no_peer="PyTorch's backward fails where a bound is larger than the input"),
    Case("where", choices(), examples=60, refused=(
        Call((TWO_BY_THREE, TWO_BY_THREE, TWO_BY_THREE)), Call((TWO_BY_THREE > 0, TWO_BY_THREE, FOUR_BY_THREE)),
        Call((TWO_BY_THREE > 0, 1.0)))),
    *(Case(name, of_two(first=False, whole=True), order=0, refused=(NO_BROADCAST,)) for name in COMPARISONS),
    *(Case(name, st.builds(lambda pair: Call(pair[:1]), strange_numbers()), order=0, examples=8)
      for name in ("isnan", "isinf", "isfinite")),
    Case("isclose", with_options(st.builds(Call, strange_numbers()), rtol=st.sampled_from([0.0, 1e-4]), atol=st.sampled_from([0.0, 1e-6]),
                                 equal_nan=st.booleans()), order=0, refused=(NO_BROADCAST,)),
    *(Case(name, of_two(others=False, whole=True), order=0) for name in ("logical_and", "logical_or", "logical_xor")),
    Case("logical_not", of_one(lambda x: np.asarray(np.round(x))), order=0),
    *(Case(name, bits(), order=0, refused=(NO_BROADCAST,)) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")),
    Case("bitwise_not", bits(1), order=0, refused=(Call((TWO_BY_THREE,)),)),
]
