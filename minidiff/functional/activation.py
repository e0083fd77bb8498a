"""Activations. Names, arguments and values are `torch.nn.functional`'s."""

from __future__ import annotations

import math

import numpy as np

from minidiff.autograd import composite, operation

from .door import must_be_real
from .elementwise import erf, exp, gt, sigmoid, tanh, where
from .precision import narrow, wide
from .reduction import axes, sum
from .shape import axis_of, chunk

__all__ = ["geglu", "gelu", "leaky_relu", "log_softmax", "logsigmoid", "quick_gelu", "relu", "silu", "softmax", "softplus"]


def _relu(xp, input):
    if input.dtype == bool:
        raise TypeError("relu: expected numbers, got booleans; convert them with astype")
    return xp.maximum(input, 0)


relu = operation(_relu, "y = max(x, 0). Any shape.",
                 input=lambda g, out: g * positive(out))

positive = operation(lambda xp, input: (input > 0).astype(input.dtype))

leaky = operation(lambda xp, input, *, slope: xp.where(input > 0, input, input * slope),
                  input=lambda g, input, slope: where(gt(input, 0), g, g * slope))


def leaky_relu(input, negative_slope: float = 0.01):
    """y = x where x > 0, else negative_slope x                            Maas, Hannun & Ng 2013. Any shape."""
    must_be_real("leaky_relu", input=input)
    if not isinstance(negative_slope, (int, float, np.number)):
        raise TypeError(f"leaky_relu: negative_slope={negative_slope!r}; expected a number")
    return leaky(input, slope=negative_slope)


@composite
def silu(input):
    """y = x sigmoid(x), also called swish (Elfwing et al. 2017). Any shape. Raises TypeError unless the input is floating point."""
    must_be_real("silu", input=input)
    return input * sigmoid(input)


@composite
def gelu_erf(input):
    """y = x Phi(x) = x/2 (1 + erf(x / sqrt 2)). Any shape."""
    return 0.5 * input * (1.0 + erf(input * math.sqrt(0.5)))


@composite
def gelu_tanh(input):
    """y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Any shape."""
    return 0.5 * input * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (input + 0.044715 * (input * input * input))))


def gelu(input, *, approximate: str = "none"):
    """y = x Phi(x), Phi the standard normal distribution function          Hendrycks & Gimpel 2016

    approximate: "none" is x/2 (1 + erf(x / sqrt 2)); "tanh" is x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), at most 4.8e-4 away.
    Any shape. Raises ValueError for another `approximate`, TypeError unless the input is floating point.
    """
    must_be_real("gelu", input=input)
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r}; expected 'none' or 'tanh'")
    x = wide(input)  # in float16 the cube of 41 is infinite, and the slope with it NaN
    return narrow(gelu_erf(x) if approximate == "none" else gelu_tanh(x), input.dtype)


def quick_gelu(input):
    """y = x sigmoid(1.702 x), the approximation of GELU in CLIP            Hendrycks & Gimpel 2016, Sec. 2. Any shape.

    Raises TypeError unless the input is floating point.
    """
    must_be_real("quick_gelu", input=input)
    return input * sigmoid(1.702 * input)


def geglu(input, dim: int = -1):
    """y = u gelu(v), u the first and v the second half of the input along `dim`                     Shazeer 2020, Eq. 5

    The halves stand as in diffusers; the paper's gate is the first factor. Shapes: (..., 2 C, ...) -> (..., C, ...).
    Raises ValueError for an odd number of elements along `dim`, IndexError for a wrong dim, TypeError unless the input is floating point.
    """
    must_be_real("geglu", input=input)
    count = input.shape[axis_of(dim, len(input.shape), "geglu")]
    if count % 2:
        raise ValueError(f"geglu: {count} elements along dim={dim} cannot be halved (input shape {tuple(input.shape)})")
    values, gates = chunk(input, 2, dim)
    return values * gelu(gates)


log1pexp = operation(lambda xp, input: xp.logaddexp(input, xp.zeros_like(input)), "y = log(1 + exp(x)), safe at any size. Any shape.",
                     input=lambda g, input: g * sigmoid(input))


def softplus(input, beta: float = 1.0, threshold: float = 20.0):
    """y = log(1 + exp(beta x)) / beta, a smooth max(x, 0); y = x where beta x > threshold, as in torch. Any shape.

    Raises TypeError unless the input is floating point.
    """
    must_be_real("softplus", input=input)
    scaled = input * beta
    return where(gt(scaled, threshold), input, log1pexp(scaled) * (1.0 / beta))


def logsigmoid(input):
    """y = log sigmoid(x) = -log(1 + exp(-x)). Any shape. Raises TypeError unless the input is floating point."""
    must_be_real("logsigmoid", input=input)
    return -log1pexp(-input)


# -- along a dimension -----------------------------------------------------------------------------------------------


def _normalized_exp(xp, input, *, dim, masked):
    if not input.size:
        return xp.zeros_like(input)
    peak = input.max(axis=dim, keepdims=True)
    if masked:
        peak = xp.maximum(peak, float(np.finfo(input.dtype).min))  # -inf less a number is -inf, whose exp is 0
    e = xp.exp(input - peak)
    sums = e.sum(axis=dim, keepdims=True)
    e /= xp.maximum(sums, 1.0) if masked else sums  # the peak adds exp(0) = 1: below 1 are only rows without a peak
    return e


normalized_exp = operation(_normalized_exp, "exp(x_i - m) / sum_j exp(x_j - m), m = max_j x_j. masked: 0, not NaN, where all x are -inf.",
                           input=lambda g, out, dim: out * (g - sum(g * out, dim, keepdim=True)))


def _log_normalized_exp(xp, input, *, dim):
    if not input.size:
        return xp.zeros_like(input)
    below = input - input.max(axis=dim, keepdims=True)
    return below - xp.log(xp.exp(below).sum(axis=dim, keepdims=True))


log_normalized_exp = operation(_log_normalized_exp, "x_i - m - log sum_j exp(x_j - m), m = max_j x_j.",
                               input=lambda g, out, dim: g - exp(out) * sum(g, dim, keepdim=True))


def _along(name, function, input, dim, dtype, **options):
    """The function along one dimension, computed in at least float32."""
    if not isinstance(dim, int):
        raise TypeError(f"{name}: dim={dim!r}; expected one dimension as an int, such as dim=-1")
    x = input if dtype is None else input.astype(dtype)
    must_be_real(name, input=x)
    return narrow(function(wide(x), dim=axes(dim, len(x.shape), name), **options), x.dtype)


def softmax(input, dim: int, *, dtype=None):
    """y_i = exp(x_i) / sum_j exp(x_j) along `dim`; the largest x is subtracted first, so nothing overflows.

    dtype: what the input is converted to before. Any shape. Where all x are -inf, y is NaN.
    Raises TypeError unless dim is an int and the input is floating point (or a dtype is given), IndexError for a wrong dim.
    """
    return _along("softmax", normalized_exp, input, dim, dtype, masked=False)


def log_softmax(input, dim: int, *, dtype=None):
    """y_i = x_i - log sum_j exp(x_j) along `dim`. dtype, shapes and errors as in `softmax`."""
    return _along("log_softmax", log_normalized_exp, input, dim, dtype)
