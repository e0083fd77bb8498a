"""Dropout, of elements or of whole channels, with its randomness as an argument."""

from __future__ import annotations

from minidiff import backend

from .door import must_be_real

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]


def dropout(input, p: float = 0.5, training: bool = True, *, generator=None):
    """y_i = x_i m_i / (1 - p), m_i = 1 with probability 1 - p, else 0       Srivastava et al. 2014

    The mean is kept; outside training y = x. generator: a `minidiff.random.Generator`, needed when something is to be dropped.
    Any shape. Raises ValueError for p outside [0, 1], or without a generator; TypeError for integers, of which something is to be dropped.
    """
    return _dropped("dropout", input, p, training, generator, input.shape)


def _dropped(name, input, p, training, generator, shape):
    """The input with a mask drawn in this shape, which broadcasts to the input's."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: p={p}; expected a probability, 0 to 1")
    if not training or p == 0.0:
        return input
    must_be_real(name, input=input)
    if generator is None:
        raise ValueError(f"{name}: needs generator=, a minidiff.random.Generator: nothing reads a global random state")
    if p == 1.0:
        return input * 0.0
    keep = backend.asarray(generator.random(tuple(shape)), backend.device_of(input)) >= p
    return input * (keep.astype(input.dtype) * (1.0 / (1.0 - p)))


def _channel_dropout(name, input, p, training, generator, positions, *shapes):
    """Dropout of whole channels: one number is drawn for all positions of each."""
    ndim = len(input.shape)
    if ndim not in [shape.count(",") + 1 for shape in shapes]:
        raise ValueError(f"{name}: expected an input {' or '.join(shapes)}, got shape {tuple(input.shape)}")
    return _dropped(name, input, p, training, generator, (*input.shape[:ndim - positions], *(1,) * positions))


def dropout1d(input, p: float = 0.5, training: bool = True, *, generator=None):
    """`dropout` of whole channels (Tompson et al. 2015). Shapes: (N, C, L) or (C, L). Raises as `dropout` does."""
    return _channel_dropout("dropout1d", input, p, training, generator, 1, "(N, C, L)", "(C, L)")


def dropout2d(input, p: float = 0.5, training: bool = True, *, generator=None):
    """`dropout` of whole channels (Tompson et al. 2015). Shape: (N, C, H, W); ValueError for any other. Raises as `dropout` does.

    Three dimensions are refused, which PyTorch takes for (N, C, L) here: that is `dropout1d`.
    """
    return _channel_dropout("dropout2d", input, p, training, generator, 2, "(N, C, H, W)")


def dropout3d(input, p: float = 0.5, training: bool = True, *, generator=None):
    """`dropout` of whole channels (Tompson et al. 2015). Shapes: (N, C, D, H, W) or (C, D, H, W). Raises as `dropout` does."""
    return _channel_dropout("dropout3d", input, p, training, generator, 3, "(N, C, D, H, W)", "(C, D, H, W)")
