"""Activations in 50 digits, one element after the other: no largest element is subtracted, since nothing overflows there."""

from __future__ import annotations

import numpy as np
from mpmath import exp, log, log1p, mpf, ncdf, pi, sqrt

from reference.oracles.oracle import Oracle


def each(function):
    """An operation from a function of (x, settings) of one number."""
    def values(inputs, settings):
        x, out = inputs["input"], np.empty(inputs["input"].shape, dtype=object)
        for index in np.ndindex(x.shape):
            out[index] = function(x[index], settings)
        return {"output": out}

    return values


def logistic(x):
    """1 / (1 + exp(-x))"""
    return 1 / (1 + exp(-x))


def hyperbolic(x):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    return (exp(x) - exp(-x)) / (exp(x) + exp(-x))


def leaky_relu(x, settings):
    """x, and below 0 the slope times x."""
    return x if x > 0 else mpf(settings["negative_slope"]) * x


def gelu(x, settings):
    """x Phi(x), Phi the normal distribution function; or Hendrycks and Gimpel's approximation of it."""
    if settings["approximate"] == "none":
        return x * ncdf(x)
    return x * logistic(2 * sqrt(2 / pi) * (x + mpf("0.044715") * x ** 3))  # (1 + tanh z) / 2 is the logistic function of 2 z


def softplus(x, settings):
    """log(1 + exp(beta x)) / beta, and x itself above the threshold."""
    beta = mpf(settings["beta"])
    return x if beta * x > mpf(settings["threshold"]) else log1p(exp(beta * x)) / beta


ELEMENTS = {
    "relu": lambda x, settings: max(x, mpf(0)),
    "leaky_relu": leaky_relu,
    "silu": lambda x, settings: x * logistic(x),
    "gelu": gelu,
    "quick_gelu": lambda x, settings: x * logistic(mpf("1.702") * x),
    "sigmoid": lambda x, settings: logistic(x),
    "tanh": lambda x, settings: hyperbolic(x),
    "softplus": softplus,
    "logsigmoid": lambda x, settings: -log1p(exp(-x)),
}


def line(x, index, dim):
    """The elements of the line through an index along a dimension."""
    dim %= x.ndim
    return [x[(*index[:dim], i, *index[dim + 1:])] for i in range(x.shape[dim])]


def along(function):
    """An operation from a function of (an element, the elements of its line)."""
    def values(inputs, settings):
        x, out = inputs["input"], np.empty(inputs["input"].shape, dtype=object)
        for index in np.ndindex(x.shape):
            out[index] = function(x[index], line(x, index, settings["dim"]))
        return {"output": out}

    return values


def logsumexp(inputs, settings):
    """log of the sum of exp(x) over the listed dimensions."""
    x = inputs["input"]
    dims = {d % x.ndim for d in (settings["dim"] if isinstance(settings["dim"], list) else [settings["dim"]])}
    sums = {}
    for index in np.ndindex(x.shape):
        kept = tuple(0 if d in dims else i for d, i in enumerate(index))
        sums[kept] = sums.get(kept, mpf(0)) + exp(x[index])
    out = np.empty([1 if d in dims else n for d, n in enumerate(x.shape)], dtype=object)
    for index, total in sums.items():
        out[index] = log(total)
    return {"output": out if settings["keepdim"] else out.reshape([n for d, n in enumerate(x.shape) if d not in dims])}


KIND = "mpmath, 50 digits, naive loops"

ORACLES = {name: Oracle(KIND, each(function)) for name, function in ELEMENTS.items()}
ORACLES |= {
    "softmax": Oracle(KIND, along(lambda x, others: exp(x) / sum(exp(v) for v in others))),
    "log_softmax": Oracle(KIND, along(lambda x, others: x - log(sum(exp(v) for v in others)))),
    "logsumexp": Oracle(KIND, logsumexp),
}
