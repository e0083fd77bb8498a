"""Numbers for things that are not numbers: rows of a table, one-hot vectors, sinusoids for a point in time."""

from __future__ import annotations

import math

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor

from .door import must_be_arrays
from .elementwise import where

__all__ = ["embedding", "one_hot", "timestep_embedding"]


def _integers(name, input):
    """The plain array of an input that must hold integers."""
    must_be_arrays(name, input=input)
    index = backend.to_array(input)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {index.dtype}")
    return index


def embedding(input, weight, padding_idx: int | None = None):
    """Row input[i] of a table for each i. Rows that are asked for several times add up their gradients.

    padding_idx: a row that gets no gradient; a negative one counts from the end.
    Shapes: input (...) of integers in [0, rows), weight (rows, D) -> (..., D). Raises TypeError unless the input holds integers,
    IndexError for one outside the table, ValueError for a weight that is no table or a padding_idx outside it.
    """
    index = _integers("embedding", input)
    if len(weight.shape) != 2:
        raise ValueError(f"embedding: weight of shape {tuple(weight.shape)}; expected (rows, D)")
    rows = weight.shape[0]
    if isinstance(index, np.ndarray) and index.size and not (0 <= index.min() and index.max() < rows):
        raise IndexError(f"embedding: indices from {index.min()} to {index.max()}; the table has rows 0 to {rows - 1}")
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx={padding_idx}; the table has rows 0 to {rows - 1}")
    index = backend.asarray(index, backend.device_of(weight))
    found = weight[index]
    if padding_idx is None:
        return found
    return where((index == padding_idx % rows)[..., None], backend.to_array(found), found)  # the same values, but no way back


def one_hot(input, num_classes: int = -1):
    """A vector with a 1 in place input[i], 0 elsewhere. num_classes: -1 is the greatest of the input, plus 1.

    Shapes: (...) integers -> (..., num_classes) int64. Raises TypeError unless the input holds integers,
    IndexError for one outside [0, num_classes), ValueError for a num_classes that is none or cannot be told from an empty input.
    """
    index = _integers("one_hot", input)
    least, greatest = (int(index.min()), int(index.max())) if index.size else (0, -1)
    count = greatest + 1 if num_classes == -1 else num_classes
    if count < 1:
        raise ValueError(f"one_hot: num_classes={num_classes} for values from {least} to {greatest}; expected at least 1, "
                         "or -1 for as many as the values need")
    if least < 0 or greatest >= count:
        raise IndexError(f"one_hot: values from {least} to {greatest} with num_classes={num_classes}")
    xp = backend.array_module(index)
    hot = (index[..., None] == xp.arange(count)).astype(np.int64)
    return Tensor(hot) if isinstance(input, Tensor) else hot


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
