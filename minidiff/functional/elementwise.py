"""Arithmetic and functions of one element, with broadcasting; the gradient rules are the derivatives one learns at school.

Names and arguments are `torch`'s. Every function takes Tensors (then it is recorded) or plain arrays (then it returns one).
"""

from __future__ import annotations

import math

from minidiff import backend
from minidiff.autograd import operation

__all__ = ["abs", "add", "clamp", "cos", "div", "erf", "exp", "log", "maximum", "minimum", "mul", "neg", "pow", "sigmoid", "sin", "sqrt", "sub", "tanh", "where"]

add = operation(lambda xp, input, other: input + other,
                input=lambda g: g,
                other=lambda g: g)

sub = operation(lambda xp, input, other: input - other,
                input=lambda g: g,
                other=lambda g: -g)

mul = operation(lambda xp, input, other: input * other,
                input=lambda g, other: g * other,
                other=lambda g, input: g * input)

div = operation(lambda xp, input, other: input / other,
                input=lambda g, other: g / other,
                other=lambda g, input, other: -g * input / (other * other))

neg = operation(lambda xp, input: -input,
                input=lambda g: -g)


def _power(xp, input, *, exponent):
    # x**3 through the library's pow costs a hundred times as much as two products
    return input * input * input if exponent == 3 else input ** exponent


power = operation(_power,
                  input=lambda g, input, exponent: g * (exponent * power(input, exponent=exponent - 1)) if exponent else g * 0)


def pow(input, exponent: float):
    """input ** exponent for a number as exponent; derivative exponent * input**(exponent - 1). Any shape.

    Raises TypeError for an exponent that is not a number.
    """
    if not isinstance(exponent, (int, float)):
        raise TypeError(f"pow: the exponent must be a Python number, got {type(exponent).__name__}")
    return power(input, exponent=exponent if isinstance(exponent, int) else float(exponent))  # a NumPy float would make float32 float64


exp = operation(lambda xp, input: xp.exp(input),
                input=lambda g, out: g * out)

log = operation(lambda xp, input: xp.log(input),
                input=lambda g, input: g / input)

sqrt = operation(lambda xp, input: xp.sqrt(input),
                 input=lambda g, out: g / (2.0 * out))

sin = operation(lambda xp, input: xp.sin(input),
                input=lambda g, input: g * cos(input))

cos = operation(lambda xp, input: xp.cos(input),
                input=lambda g, input: -g * sin(input))

tanh = operation(lambda xp, input: xp.tanh(input),
                 input=lambda g, out: g * (1.0 - out * out))

erf = operation(lambda xp, input: backend.erf(input),
                input=lambda g, input: g * (2.0 / math.sqrt(math.pi) * exp(-input * input)))


def _sigmoid(xp, input):
    e = xp.exp(-xp.abs(input))  # never above 1; and small results keep their digits, which (1 + tanh(x/2)) / 2 would lose
    return xp.where(input < 0, e, 1.0) / (1.0 + e)


sigmoid = operation(_sigmoid,
                    input=lambda g, out: g * (out * (1.0 - out)))

sign = operation(lambda xp, input: xp.sign(input))

abs = operation(lambda xp, input: xp.abs(input),
                input=lambda g, input: g * sign(input))

where = operation(lambda xp, condition, input, other: xp.where(condition, input, other),
                  input=lambda g, condition: where(condition, g, 0.0),
                  other=lambda g, condition: where(condition, 0.0, g))


def _share(xp, input, other):
    """1 where the input is larger, 1/2 at a tie, 0 where it is smaller."""
    return 0.5 * (xp.sign(input - other) + 1.0)


share = operation(_share)

maximum = operation(lambda xp, input, other: xp.maximum(input, other),
                    input=lambda g, input, other: g * share(input, other),
                    other=lambda g, input, other: g * share(other, input))

minimum = operation(lambda xp, input, other: xp.minimum(input, other),
                    input=lambda g, input, other: g * share(other, input),
                    other=lambda g, input, other: g * share(input, other))

clipped = operation(lambda xp, input, *, min, max: xp.clip(input, min, max),
                    input=lambda g, input, min, max: g * inside(input, min=min, max=max))

inside = operation(lambda xp, input, *, min, max: (
    (input >= (-math.inf if min is None else min)) & (input <= (math.inf if max is None else max))).astype(input.dtype))


def clamp(input, min: float | None = None, max: float | None = None):
    """y = min if x < min, max if x > max, else x; None leaves a side open. The gradient passes where x is inside. Any shape."""
    return clipped(input, min=min, max=max)


astype = operation(lambda xp, input, *, dtype: input.astype(dtype, copy=False),
                   input=lambda g, like_input: astype(g, dtype=like_input.dtype))

eq = operation(lambda xp, input, other: input == other)
ne = operation(lambda xp, input, other: input != other)
lt = operation(lambda xp, input, other: input < other)
le = operation(lambda xp, input, other: input <= other)
gt = operation(lambda xp, input, other: input > other)
ge = operation(lambda xp, input, other: input >= other)
