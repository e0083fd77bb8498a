"""What is done with all gradients of a network at once, with the names of `torch.nn.utils`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor

__all__ = ["clip_factor", "clip_grad_norm_"]


def clip_factor(norm: Any, max_norm: float) -> Any:
    """What shortens a gradient of length `norm` to max_norm, and leaves a shorter one as it is.

        min(1, max_norm / (norm + 1e-6))                                  Pascanu et al. 2013, Algorithm 1; the 1e-6 is torch's
    """
    return (max_norm / (norm + 1e-6)).clip(None, 1.0)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
) -> Tensor:
    """Shorten the gradients of all parameters together, if they are longer than max_norm; returns the length that they had.

        g <- g min(1, max_norm / (|g| + 1e-6)),   |g| = (sum over all parameters of |g_i|^p)^(1/p),   p = norm_type

    norm_type: above 0; infinity for the largest element. Parameters without a gradient are passed over. A NaN in one makes all of them
    NaN, or with error_if_nonfinite raises RuntimeError. Raises ValueError for a norm_type or max_norm without meaning.
    """
    if not norm_type > 0 or not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm={max_norm}, norm_type={norm_type}; expected numbers of at least 0, and above 0")
    gradients = [p.grad for p in ([parameters] if isinstance(parameters, Tensor) else parameters) if p.grad is not None and p.size]
    if not gradients:
        return Tensor(np.zeros((), np.float32))
    xp = backend.array_module(*gradients)
    sizes = [xp.abs(g.data).astype(np.float64) for g in gradients]
    if math.isinf(norm_type):
        norm = xp.stack([size.max() for size in sizes]).max()
    else:
        norm = xp.stack([(size**norm_type).sum() for size in sizes]).sum() ** (1.0 / norm_type)
    if error_if_nonfinite and not bool(xp.isfinite(norm)):
        raise RuntimeError(f"clip_grad_norm_: the length of the gradients is {norm}; they cannot be shortened to {max_norm}")
    factor = clip_factor(norm, max_norm)
    for gradient in gradients:
        gradient.data = gradient.data * factor.astype(gradient.dtype)
    return Tensor(norm.astype(gradients[0].dtype))
