"""Activations. Names, arguments and values are `torch.nn.functional`'s."""

from __future__ import annotations

import math

from minidiff.autograd import composite, operation

from .elementwise import erf, exp, sigmoid, tanh
from .reduction import amax, logsumexp, sum

__all__ = ["gelu", "log_softmax", "relu", "silu", "softmax"]

relu = operation(lambda xp, input: xp.maximum(input, 0),
                 input=lambda g, out: g * positive(out))

positive = operation(lambda xp, input: (input > 0).astype(input.dtype))


@composite
def silu(input):
    """y = x sigmoid(x), also called swish (Elfwing et al. 2017). Any shape."""
    return input * sigmoid(input)


@composite
def gelu_erf(input):
    """y = x Phi(x) = x/2 (1 + erf(x / sqrt 2)). Any shape."""
    return 0.5 * input * (1.0 + erf(input * math.sqrt(0.5)))


@composite
def gelu_tanh(input):
    """y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Any shape."""
    return 0.5 * input * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (input + 0.044715 * (input * input * input))))


def gelu(input, approximate: str = "none"):
    """y = x Phi(x), Phi the standard normal distribution function          Hendrycks & Gimpel 2016

    approximate: "none" is x/2 (1 + erf(x / sqrt 2)); "tanh" is x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), at most 4.8e-4 away.
    Any shape. Raises ValueError for another `approximate`.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r}; expected 'none' or 'tanh'")
    return gelu_erf(input) if approximate == "none" else gelu_tanh(input)


def softmax(input, dim: int):
    """y_i = exp(x_i) / sum_j exp(x_j) along `dim`; the largest x is subtracted first, so nothing overflows. Any shape."""
    return normalized_exp(input, dim=dim)


@composite
def normalized_exp(input, *, dim):
    """y_i = exp(x_i - m) / sum_j exp(x_j - m), m = max_j x_j along `dim`. Any shape."""
    peak = amax(input, dim, keepdim=True)
    peak = peak.detach() if hasattr(peak, "detach") else peak  # m cancels: its gradient is zero
    e = exp(input - peak)
    return e / sum(e, dim, keepdim=True)


def log_softmax(input, dim: int):
    """y_i = x_i - log sum_j exp(x_j) along `dim`. Any shape."""
    return input - logsumexp(input, dim, keepdim=True)
