"""Arithmetic and functions of one element, with broadcasting; the gradient rules are the derivatives one learns at school.

Names and arguments are `torch`'s. Every function takes Tensors (then it is recorded) or plain arrays (then it returns one), and
numbers beside them. Shapes broadcast, dtypes meet by `minidiff.autograd.promotion`; functions that leave the integers (`exp`, `div`) give
float32 for them. Where a function has a corner, its slope there is PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd.operation import Elementwise, elementwise, operation
from minidiff.autograd.promotion import result_type

__all__ = [
    "abs", "acos", "add", "allclose", "asin", "atan", "atan2", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "ceil", "clamp",
    "cos", "cosh", "div", "eq", "erf", "exp", "expm1", "floor", "floor_divide", "fmod", "ge", "gt", "isclose", "isfinite", "isinf", "isnan",
    "le", "lerp", "log", "log1p", "log2", "log10", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "maximum",
    "minimum", "mul", "ne", "neg", "pow", "reciprocal", "remainder", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square",
    "sub", "tan", "tanh", "trunc", "where",
]

# -- arithmetic ------------------------------------------------------------------------------------------------------

plus = elementwise(lambda xp, input, other: input + other, "z = x + y",
                   input=lambda g: g,
                   other=lambda g: g)

minus = elementwise(lambda xp, input, other: input - other, "z = x - y",
                    input=lambda g: g,
                    other=lambda g: -g)

plus_scaled = elementwise(lambda xp, input, other, *, alpha: input + alpha * other, "z = x + alpha y",
                          input=lambda g: g,
                          other=lambda g, alpha: g * alpha)

minus_scaled = elementwise(lambda xp, input, other, *, alpha: input - alpha * other, "z = x - alpha y",
                           input=lambda g: g,
                           other=lambda g, alpha: g * -alpha)

mul = elementwise(lambda xp, input, other: input * other, "z = x y",
                  input=lambda g, other: g * other,
                  other=lambda g, input: g * input)

quotient = elementwise(lambda xp, input, other: input / other, "z = x / y", floating=True,
                       input=lambda g, other: g / other,
                       other=lambda g, input, other: -g * (input / other / other))  # other * other may overflow

neg = elementwise(lambda xp, input: -input, "y = -x",
                  input=lambda g: -g)

flat = operation(lambda xp, input: xp.zeros_like(input), "0: the slope of a staircase")

floor_divide = elementwise(lambda xp, input, other: input // other, "z = floor(x / y)",
                           input=lambda g: flat(g),
                           other=lambda g: flat(g))


def _towards_zero(xp, input, other):
    down = input // other
    return xp.trunc(input / other) if down.dtype.kind == "f" else down + ((down < 0) & (down * other != input))


truncated_quotient = elementwise(_towards_zero, "z = x / y without its fraction",
                                 input=lambda g: flat(g),
                                 other=lambda g: flat(g))

remainder = elementwise(lambda xp, input, other: xp.remainder(input, other), "z = x - y floor(x / y), Python's x % y: the sign is y's",
                        input=lambda g: g,
                        other=lambda g, input, other: -g * floor_divide(input, other))

fmod = elementwise(lambda xp, input, other: xp.fmod(input, other), "z = x - y trunc(x / y), C's fmod: the sign is x's",
                   input=lambda g: g,
                   other=lambda g, input, other: -g * truncated_quotient(input, other))


def add(input, other, *, alpha: float = 1):
    """z = x + alpha y. Shapes broadcast."""
    return plus(input, other) if alpha == 1 else plus_scaled(input, other, alpha=alpha)


def sub(input, other, *, alpha: float = 1):
    """z = x - alpha y. Shapes broadcast."""
    return minus(input, other) if alpha == 1 else minus_scaled(input, other, alpha=alpha)


def div(input, other, *, rounding_mode: str | None = None):
    """z = x / y; rounding_mode "floor" rounds it down, "trunc" towards zero (integers stay integers). ValueError for another mode."""
    if rounding_mode not in (None, "floor", "trunc"):
        raise ValueError(f"div: rounding_mode={rounding_mode!r}; expected None, 'floor' or 'trunc'")
    divide = {None: quotient, "floor": floor_divide, "trunc": truncated_quotient}[rounding_mode]
    return divide(input, other)


def _between(xp, input, end, weight):
    near, far = input + weight * (end - input), end - (1 - weight) * (end - input)
    return (near if weight < 0.5 else far) if isinstance(weight, (int, float)) else xp.where(weight < 0.5, near, far)


lerp = elementwise(_between, "z = x + w (y - x), exact for w = 0 and w = 1", floating=True,
                   input=lambda g, weight: g * (1 - weight),
                   end=lambda g, weight: g * weight,
                   weight=lambda g, input, end: g * (end - input))


# -- powers, exponentials, logarithms --------------------------------------------------------------------------------


def _power(xp, input, exponent):
    if np.bool_ in (getattr(input, "dtype", None), getattr(exponent, "dtype", None)):
        raise TypeError("booleans have no powers; convert them first")
    # x**3 through the library's pow costs a hundred times as much as two products
    return input * input * input if isinstance(exponent, (int, float)) and exponent == 3 else input ** exponent


def _slope_of_base(g, input, exponent):
    if isinstance(exponent, (int, float)):
        return g * (exponent * power(input, exponent - 1)) if exponent else flat(g)
    flat_at_zero = logical_and(eq(input, 0), eq(exponent, 0))  # x**0 is 1 there as well, but 0 * 0**-1 is not 0
    return g * (exponent * power(where(flat_at_zero, 1.0, input), exponent - 1))


def _slope_of_exponent(g, input, exponent, out):
    if isinstance(input, (int, float)):
        return g * (out * (math.log(input) if input > 0 else math.nan if input < 0 else 0.0))
    flat_at_zero = logical_and(eq(input, 0), ge(exponent, 0))  # the limit of x**e log x
    return g * (out * log(where(flat_at_zero, 1.0, input)))


power = elementwise(_power, "y = x**e",
                    input=_slope_of_base,
                    exponent=_slope_of_exponent)


def pow(input, exponent):
    """y = x**e, both numbers or arrays that broadcast; dy/dx = e x**(e - 1) and dy/de = x**e log x, 0 where x = 0 <= e (so is 0**0's).

    Raises ValueError for a negative power of integers.
    """
    if isinstance(exponent, int) and exponent < 0 and getattr(input, "dtype", np.dtype(float)).kind in "biu":
        raise ValueError(f"pow: integers have no power {exponent}; convert the input to floating point, or use a float as exponent")
    return power(input, exponent)


square = elementwise(lambda xp, input: input * input, "y = x**2",
                     input=lambda g, input: g * (2 * input))

sqrt = elementwise(lambda xp, input: xp.sqrt(input), "y = x**(1/2)", floating=True,
                   input=lambda g, out: g / (2.0 * out))

rsqrt = elementwise(lambda xp, input: 1.0 / xp.sqrt(input), "y = x**(-1/2)", floating=True,
                    input=lambda g, out: g * (-0.5 * (out * out * out)))

reciprocal = elementwise(lambda xp, input: 1.0 / input, "y = 1 / x", floating=True,
                         input=lambda g, out: -g * (out * out))

exp = elementwise(lambda xp, input: xp.exp(input), "y = e**x", floating=True,
                  input=lambda g, out: g * out)

expm1 = elementwise(lambda xp, input: xp.expm1(input), "y = e**x - 1, with all digits near 0", floating=True,
                    input=lambda g, out: g * (out + 1.0))

log = elementwise(lambda xp, input: xp.log(input), "y = log x, to base e", floating=True,
                  input=lambda g, input: g / input)

log1p = elementwise(lambda xp, input: xp.log1p(input), "y = log(1 + x), with all digits near 0", floating=True,
                    input=lambda g, input: g / (1.0 + input))

log2 = elementwise(lambda xp, input: xp.log2(input), "y = log x, to base 2", floating=True,
                   input=lambda g, input: g / (math.log(2.0) * input))

log10 = elementwise(lambda xp, input: xp.log10(input), "y = log x, to base 10", floating=True,
                    input=lambda g, input: g / (math.log(10.0) * input))

logaddexp = elementwise(lambda xp, input, other: xp.logaddexp(input, other), "z = log(e**x + e**y), without overflow", floating=True,
                        input=lambda g, input, other: g * sigmoid(input - other),
                        other=lambda g, input, other: g * sigmoid(other - input))

# -- circular and hyperbolic functions, and two S-shaped ones --------------------------------------------------------

sin = elementwise(lambda xp, input: xp.sin(input), "y = sin x", floating=True,
                  input=lambda g, input: g * cos(input))

cos = elementwise(lambda xp, input: xp.cos(input), "y = cos x", floating=True,
                  input=lambda g, input: -g * sin(input))

tan = elementwise(lambda xp, input: xp.tan(input), "y = tan x", floating=True,
                  input=lambda g, out: g * (1.0 + out * out))

asin = elementwise(lambda xp, input: xp.arcsin(input), "y in [-pi/2, pi/2] with sin y = x", floating=True,
                   input=lambda g, input: g * rsqrt((1.0 - input) * (1.0 + input)))

acos = elementwise(lambda xp, input: xp.arccos(input), "y in [0, pi] with cos y = x", floating=True,
                   input=lambda g, input: -g * rsqrt((1.0 - input) * (1.0 + input)))

atan = elementwise(lambda xp, input: xp.arctan(input), "y in [-pi/2, pi/2] with tan y = x", floating=True,
                   input=lambda g, input: g / (1.0 + input * input))


def _distance_squared(x, y):
    """x^2 + y^2, but infinite at the origin, where an angle has no slope: 0, as in torch."""
    squared = x * x + y * y
    return where(eq(squared, 0), math.inf, squared)


atan2 = elementwise(lambda xp, input, other: xp.arctan2(input, other), "the angle in [-pi, pi] of the point (other, input)", floating=True,
                    input=lambda g, input, other: g * other / _distance_squared(input, other),
                    other=lambda g, input, other: -g * input / _distance_squared(input, other))

sinh = elementwise(lambda xp, input: xp.sinh(input), "y = (e**x - e**-x) / 2", floating=True,
                   input=lambda g, input: g * cosh(input))

cosh = elementwise(lambda xp, input: xp.cosh(input), "y = (e**x + e**-x) / 2", floating=True,
                   input=lambda g, input: g * sinh(input))

tanh = elementwise(lambda xp, input: xp.tanh(input), "y = sinh x / cosh x", floating=True,
                   input=lambda g, out: g * (1.0 - out * out))

erf = elementwise(lambda xp, input: xp.asarray(backend.erf(input), getattr(input, "dtype", None)),
                  "y = 2/sqrt(pi) times the integral of e**(-t**2) from 0 to x", floating=True,
                  input=lambda g, input: g * (2.0 / math.sqrt(math.pi) * exp(-input * input)))


def _sigmoid(xp, input):
    e = xp.exp(-xp.abs(input))  # never above 1; and small results keep their digits, which (1 + tanh(x/2)) / 2 would lose
    return xp.where(input < 0, e, 1.0) / (1.0 + e)


sigmoid = elementwise(_sigmoid, "y = 1 / (1 + e**-x)", floating=True,
                      input=lambda g, out: g * (out * (1.0 - out)))

# -- corners, steps, choices -----------------------------------------------------------------------------------------

sign = elementwise(lambda xp, input: xp.sign(input), "-1, 0 or 1",
                   input=lambda g: flat(g))

abs = elementwise(lambda xp, input: xp.abs(input), "y = |x|; slope 0 at 0",
                  input=lambda g, input: g * sign(input))


def _is_whole(x) -> bool:
    return not isinstance(x, float) and getattr(x, "dtype", np.dtype(int)).kind in "iu"


def _staircase(function, doc):
    """A function that rounds; integers are what they are."""
    return elementwise(lambda xp, input: input if _is_whole(input) else getattr(xp, function)(input), doc,
                       input=lambda g: flat(g))


floor = _staircase("floor", "the largest integer that is not above x")
ceil = _staircase("ceil", "the smallest integer that is not below x")
trunc = _staircase("trunc", "x without its fraction")
nearest = _staircase("rint", "the nearest integer, of two the even one")

rounded = elementwise(lambda xp, input, *, decimals: xp.round(input, decimals), "the nearest number with so many decimals",
                      input=lambda g: flat(g))


def round(input, *, decimals: int = 0):
    """The nearest integer, of two the even one; or the nearest multiple of 10**-decimals. Slope 0."""
    return rounded(input, decimals=decimals) if decimals else nearest(input)



def _if_above(g, x, y):
    """g where x is above y, half of it at a tie. Where one is NaN so is the extreme, and both have the gradient, as in torch."""
    return where(lt(x, y), 0.0, where(eq(x, y), 0.5 * g, g))


maximum = elementwise(lambda xp, input, other: xp.maximum(input, other), "the larger of x and y; equals share the gradient",
                      input=lambda g, input, other: _if_above(g, input, other),
                      other=lambda g, input, other: _if_above(g, other, input))

minimum = elementwise(lambda xp, input, other: xp.minimum(input, other), "the smaller of x and y; equals share the gradient",
                      input=lambda g, input, other: _if_above(g, other, input),
                      other=lambda g, input, other: _if_above(g, input, other))

at_least = elementwise(lambda xp, input, min: xp.maximum(input, min), "x, or the bound where x is below it",
                       input=lambda g, input, min: where(ge(input, min), g, 0.0),
                       min=lambda g, input, min: where(lt(input, min), g, 0.0))

at_most = elementwise(lambda xp, input, max: xp.minimum(input, max), "x, or the bound where x is above it",
                      input=lambda g, input, max: where(le(input, max), g, 0.0),
                      max=lambda g, input, max: where(gt(input, max), g, 0.0))


def clamp(input, min=None, max=None):
    """y = min if x < min, max if x > max, else x; None leaves a side open. min, max: numbers, or arrays that broadcast.

    The gradient goes to x where it is inside or on the border, else to the bound. If min > max, y = max. ValueError without bounds.
    """
    if min is None and max is None:
        raise ValueError("clamp: expected min, max or both, got neither")
    bounded = input if min is None else at_least(input, min)
    return bounded if max is None else at_most(bounded, max)


class _Choice(Elementwise):
    """An elementwise operation whose first input, the condition, keeps its dtype: boolean."""

    def prepared(self, arrays: list[Any]) -> list[Any]:
        condition = arrays[0]
        if getattr(condition, "dtype", None) != np.bool_:
            raise TypeError(f"{self.__name__}: expected a condition of booleans, got {getattr(condition, 'dtype', type(condition))}")
        return [arrays[0], *super().prepared(arrays[1:])]


def _where(xp, condition, input, other):
    out = xp.where(condition, input, other)
    numbers = isinstance(input, (bool, int, float)) and isinstance(other, (bool, int, float))
    return out.astype(result_type(input, other)) if numbers else out


where = _Choice(_where,
                "x where the condition holds, y elsewhere; no gradient goes through the side that was not taken",
                {"input": lambda g, condition: where(condition, g, 0.0),
                 "other": lambda g, condition: where(condition, 0.0, g)})

# -- questions: the answers are booleans, without gradients -----------------------------------------------------------

eq = elementwise(lambda xp, input, other: input == other, "x = y?")
ne = elementwise(lambda xp, input, other: input != other, "x != y?")
lt = elementwise(lambda xp, input, other: input < other, "x < y?")
le = elementwise(lambda xp, input, other: input <= other, "x <= y?")
gt = elementwise(lambda xp, input, other: input > other, "x > y?")
ge = elementwise(lambda xp, input, other: input >= other, "x >= y?")

isnan = elementwise(lambda xp, input: xp.isnan(input), "is x not a number?")
isinf = elementwise(lambda xp, input: xp.isinf(input), "is x infinite, of either sign?")
isfinite = elementwise(lambda xp, input: xp.isfinite(input), "is x a number, and not infinite?")

logical_and = elementwise(lambda xp, input, other: xp.logical_and(input, other), "are both different from 0?")
logical_or = elementwise(lambda xp, input, other: xp.logical_or(input, other), "is one of them different from 0?")
logical_xor = elementwise(lambda xp, input, other: xp.logical_xor(input, other), "is exactly one of them different from 0?")
logical_not = elementwise(lambda xp, input: xp.logical_not(input), "is x 0?")

close = elementwise(lambda xp, input, other, *, rtol, atol, equal_nan: xp.isclose(input, other, rtol, atol, equal_nan),
                    "|x - y| <= atol + rtol |y|?")


def isclose(input, other, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False):
    """|x - y| <= atol + rtol |y|, for each element? Equal infinities are close; NaNs are if equal_nan."""
    return close(input, other, rtol=rtol, atol=atol, equal_nan=equal_nan)


def allclose(input, other, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close (see `isclose`), as Python's True or False."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


# -- bits, and other dtypes ------------------------------------------------------------------------------------------

bitwise_and = elementwise(lambda xp, input, other: input & other, "x & y, of booleans or integers")
bitwise_or = elementwise(lambda xp, input, other: input | other, "x | y, of booleans or integers")
bitwise_xor = elementwise(lambda xp, input, other: input ^ other, "x ^ y, of booleans or integers")
bitwise_not = elementwise(lambda xp, input: ~input, "~x, of booleans or integers")

real = operation(lambda xp, input, *, dtype: input.astype(dtype, copy=False), "x in another floating-point dtype",
                 input=lambda g, like_input: real(g, dtype=like_input.dtype))

whole = operation(lambda xp, input, *, dtype: input.astype(dtype, copy=False), "x as integers or booleans: no gradient")


def astype(input, dtype):
    """The elements in another dtype. Floating-point numbers hand their gradient back, integers and booleans have none."""
    return (real if np.dtype(dtype).kind == "f" else whole)(input, dtype=dtype)


# What errors and the profiler call the operations that stand behind a function of another name
for _name, _operations in {"add": [plus, plus_scaled], "sub": [minus, minus_scaled], "div": [quotient, truncated_quotient], "pow": [power],
                           "lerp": [lerp], "round": [nearest, rounded], "clamp": [at_least, at_most], "isclose": [close],
                           "astype": [real, whole]}.items():
    for _operation in _operations:
        _operation.__name__ = _operation.__qualname__ = _name
