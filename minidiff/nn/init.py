"""Initial values, with the names, arguments and formulas of `torch.nn.init`.

Each function gives a Tensor new values (its dtype and device stay) and returns it. `generator` draws them; without one they differ from
run to run. fan_in and fan_out: how many inputs feed an output, and the reverse (`fans`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor
from minidiff.random import Generator

from .module import generator_or_fresh

__all__ = [
    "calculate_gain", "constant_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_", "orthogonal_", "trunc_normal_", "uniform_",
    "xavier_normal_", "xavier_uniform_", "zeros_",
]


def _set(tensor: Tensor, values: Any) -> Tensor:
    tensor.data = backend.asarray(values, tensor.device, tensor.dtype)
    return tensor


def _check(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a Tensor, whose values are to be set, got {type(tensor).__name__}; give a parameter itself, "
                        "not its .data")
    if tensor.node is not None or tensor.dtype.kind != "f":
        raise TypeError(f"{name}: expected a floating-point Tensor that was not computed from others, such as a Parameter")


def _drawn(tensor: Tensor, draw: str, generator: Generator | None) -> Any:
    """Numbers of a kind ("random": uniform in [0, 1), "standard_normal") in the shape of a Tensor; float16 is drawn as float32."""
    return getattr(generator_or_fresh(generator), draw)(tensor.shape, dtype="float64" if tensor.dtype == np.float64 else "float32")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """U(a, b)."""
    _check("uniform_", tensor)
    return _set(tensor, (b - a) * _drawn(tensor, "random", generator) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """N(mean, std^2)."""
    _check("normal_", tensor)
    return _set(tensor, std * _drawn(tensor, "standard_normal", generator) + mean)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator | None = None,
) -> Tensor:
    """N(mean, std^2) without what lies outside [a, b] (not in units of std): Phi^-1 of a uniform number between Phi(a) and Phi(b).

    Raises ValueError unless a < b.
    """
    _check("trunc_normal_", tensor)
    if not a < b:
        raise ValueError(f"trunc_normal_: a={a}, b={b}; expected an interval, a below b")
    from scipy.special import log_ndtr, ndtri_exp

    # Far out, the lower tail keeps its digits, in logarithms: what lies above the mean is mirrored
    side = -1.0 if (a + b) / 2 > mean else 1.0
    low, high = sorted(side * (bound - mean) / std for bound in (a, b))
    uniform = backend.to_numpy(generator_or_fresh(generator).random(tensor.shape, dtype="float64"))
    with np.errstate(divide="ignore"):
        log_probability = np.logaddexp(np.log1p(-uniform) + log_ndtr(low), np.log(uniform) + log_ndtr(high))
    return _set(tensor, np.clip(mean + side * std * ndtri_exp(log_probability), a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All val."""
    _check("constant_", tensor)
    return _set(tensor, backend.array_module(tensor).full(tensor.shape, val, tensor.dtype))


def zeros_(tensor: Tensor) -> Tensor:
    """All 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All 1."""
    return constant_(tensor, 1.0)


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel): in and out, times the size of the kernel. ValueError below two dimensions."""
    if tensor.ndim < 2:
        raise ValueError(f"fan_in and fan_out are those of a weight (out, in, ...), got shape {tensor.shape}")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights are to be larger so that a signal keeps its size through a nonlinearity.

    1 for linear functions and sigmoid, 5/3 for tanh, sqrt(2) for relu, sqrt(2 / (1 + param^2)) for leaky_relu (He et al. 2015, Eq. 14;
    param: its slope, 0.01), 3/4 for selu. Raises ValueError for others.
    """
    slope = 0.01 if param is None else param
    gains = {"sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "leaky_relu": math.sqrt(2.0 / (1.0 + slope**2)), "selu": 0.75}
    gains |= dict.fromkeys(["linear", *(f"conv{kind}{d}d" for kind in ("", "_transpose") for d in (1, 2, 3))], 1.0)
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: nonlinearity={nonlinearity!r}; expected one of {', '.join(gains)}")
    return gains[nonlinearity]


def _xavier_std(name: str, tensor: Tensor, gain: float) -> float:
    """gain sqrt(2 / (fan_in + fan_out))                                  Glorot & Bengio 2010, Eq. 12"""
    _check(name, tensor)
    return gain * math.sqrt(2.0 / sum(fans(tensor)))


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """gain / sqrt(fan)                                                   He et al. 2015, Eqs. 10 and 14"""
    _check(name, tensor)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode={mode!r}; expected fan_in or fan_out")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans(tensor)[mode == "fan_out"])


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """U(-b, b) with b = gain sqrt(6 / (fan_in + fan_out))                Glorot & Bengio 2010, Eq. 16"""
    bound = math.sqrt(3.0) * _xavier_std("xavier_uniform_", tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """N(0, s^2) with s = gain sqrt(2 / (fan_in + fan_out))               Glorot & Bengio 2010, Eq. 12"""
    return normal_(tensor, 0.0, _xavier_std("xavier_normal_", tensor, gain), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None,
) -> Tensor:
    """U(-b, b) with b = gain sqrt(3 / fan); a: the slope of leaky_relu   He et al. 2015, Eqs. 10 and 14"""
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None,
) -> Tensor:
    """N(0, s^2) with s = gain / sqrt(fan); a: the slope of leaky_relu    He et al. 2015, Eqs. 10 and 14"""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """gain Q, with Q (rows, all the rest) uniform among the matrices of orthonormal rows or columns    Saxe et al. 2014; Mezzadri 2007

    Q is that of the QR factorization of a Gaussian matrix, with the signs that make R's diagonal positive.
    """
    _check("orthogonal_", tensor)
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: expected at least two dimensions, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    normal = generator_or_fresh(generator).standard_normal((max(rows, columns), min(rows, columns)), dtype="float64")
    q, r = np.linalg.qr(backend.to_numpy(normal))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return _set(tensor, (gain * (q if rows >= columns else q.T)).reshape(tensor.shape))
