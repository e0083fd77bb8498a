"""Losses. Names, arguments and reductions are `torch.nn.functional`'s."""

from __future__ import annotations

import numpy as np

from minidiff import backend

from .activation import log_softmax
from .reduction import mean, sum
from .shape import gather

__all__ = ["cross_entropy", "mse_loss"]


def _reduced(name, losses, reduction):
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction={reduction!r}; expected 'mean', 'sum' or 'none'")
    return mean(losses) if reduction == "mean" else sum(losses)


def mse_loss(input, target, *, reduction: str = "mean"):
    """(x - y)^2, averaged over all elements (or "sum", "none"). input, target: the same shape; ValueError otherwise."""
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(f"mse_loss: input has shape {tuple(input.shape)}, target {tuple(target.shape)}; they must be the same")
    difference = input - target
    return _reduced("mse_loss", difference * difference, reduction)


def cross_entropy(input, target, *, reduction: str = "mean"):
    """-log softmax(x)[y], averaged over the samples (or "sum", "none").

    Shapes: input (N, classes) of unnormalized log-probabilities, target (N,) of integers in [0, classes).
    Raises ValueError when the shapes do not fit, IndexError for a class out of range, TypeError unless targets are integers.
    """
    labels = backend.to_array(target)
    if len(input.shape) != 2 or tuple(labels.shape) != (input.shape[0],):
        raise ValueError(f"cross_entropy: input of shape {tuple(input.shape)} and target of shape {tuple(labels.shape)}; "
                         "expected (N, classes) and (N,)")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: expected integer classes, got {labels.dtype}")
    if isinstance(labels, np.ndarray) and labels.size and not (0 <= labels.min() and labels.max() < input.shape[1]):
        raise IndexError(f"cross_entropy: classes from {labels.min()} to {labels.max()}; the input has classes 0 to {input.shape[1] - 1}")
    labels = backend.asarray(labels, backend.device_of(input))
    losses = -gather(log_softmax(input, 1), 1, labels[:, None])
    return _reduced("cross_entropy", losses.reshape((-1,)), reduction)
