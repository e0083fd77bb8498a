"""Numbers for things that are not numbers: rows of a table, one-hot vectors, sinusoids for a point in time."""

from __future__ import annotations

import math

import numpy as np

from minidiff import backend

from .shape import getitem

__all__ = ["embedding", "one_hot", "timestep_embedding"]


def embedding(input, weight):
    """Row input[i] of a table for each i. Rows that are asked for several times add up their gradients.

    Shapes: input (...) of integers in [0, rows), weight (rows, D) -> (..., D). Raises TypeError unless the input holds integers,
    IndexError for one outside the table.
    """
    index = backend.to_array(input)
    if index.dtype.kind not in "iu":
        raise TypeError(f"embedding: expected integers, got {index.dtype}")
    if isinstance(index, np.ndarray) and index.size and not (0 <= index.min() and index.max() < weight.shape[0]):
        raise IndexError(f"embedding: indices from {index.min()} to {index.max()}; the table has rows 0 to {weight.shape[0] - 1}")
    return getitem(weight, backend.asarray(index, backend.device_of(weight)))


def one_hot(input, num_classes: int):
    """A vector with a 1 in place input[i], 0 elsewhere. Shapes: (...) integers -> (..., num_classes) int64.

    Raises TypeError unless the input holds integers, IndexError for one outside [0, num_classes).
    """
    index = backend.to_array(input)
    if index.dtype.kind not in "iu":
        raise TypeError(f"one_hot: expected integers, got {index.dtype}")
    if index.size and not (0 <= int(index.min()) and int(index.max()) < num_classes):
        raise IndexError(f"one_hot: values from {int(index.min())} to {int(index.max())} with num_classes={num_classes}")
    xp = backend.array_module(index)
    return (index[..., None] == xp.arange(num_classes)).astype(np.int64)


def timestep_embedding(
    timesteps, dim: int, max_period: float = 10000.0, flip_sin_to_cos: bool = True, downscale_freq_shift: float = 0.0,
) -> np.ndarray:
    """Sinusoids of a time at geometrically spaced frequencies              Vaswani et al. 2017, Sec. 3.5; Ho et al. 2020

        f_i = max_period^(-i / (dim/2 - downscale_freq_shift)),  i = 0 .. dim/2 - 1;      [cos(t f), sin(t f)]

    flip_sin_to_cos=True with shift 0 is OpenAI's embedding, [sin, cos] (False) with shift 1 is Ho's: up to 1.93 apart.
    Shapes: timesteps (N,) -> (N, dim) float64 on the host; an odd dim ends in a column of zeros. Raises ValueError for dim < 2.
    """
    half = dim // 2
    if half < 1 or half <= downscale_freq_shift:
        raise ValueError(f"timestep_embedding: dim={dim} is too small")
    frequencies = np.exp(-math.log(max_period) * np.arange(half) / (half - downscale_freq_shift))
    angles = np.asarray(timesteps, np.float64)[:, None] * frequencies
    waves = [np.cos(angles), np.sin(angles)] if flip_sin_to_cos else [np.sin(angles), np.cos(angles)]
    return np.concatenate([*waves, np.zeros((len(angles), dim % 2))], axis=1)
