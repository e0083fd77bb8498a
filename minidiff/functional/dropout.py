"""Dropout, with its randomness as an argument."""

from __future__ import annotations

from minidiff import backend

__all__ = ["dropout"]


def dropout(input, p: float = 0.5, training: bool = True, *, generator=None):
    """y_i = x_i m_i / (1 - p), m_i = 1 with probability 1 - p, else 0       Srivastava et al. 2014

    The mean is kept; outside training y = x. generator: a `minidiff.random.Generator`, needed when something is to be dropped.
    Any shape. Raises ValueError for p outside [0, 1], or without a generator.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p={p}; expected a probability, 0 to 1")
    if not training or p == 0.0:
        return input
    if generator is None:
        raise ValueError("dropout: needs generator=, a minidiff.random.Generator: nothing reads a global random state")
    if p == 1.0:
        return input * 0.0
    keep = backend.asarray(generator.random(tuple(input.shape)), backend.device_of(input)) >= p
    return input * (keep.astype(input.dtype) * (1.0 / (1.0 - p)))
