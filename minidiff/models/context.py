"""What a U-Net is told to draw besides the time: a class, a vector, or the tokens of a text.

    setting                context                               no condition                   read by
    num_classes K          labels, (N,) integers below K         the label K, or None           a table, or as one-hot vectors
    context_features D     vectors, (N, D), such as CLIP's       the zero vector, or None       two linear layers
    cross_attention_dim D  tokens of a text, (N, L, D)           the tokens of the empty text   cross-attention

A network has at most one of the settings. Here a context is checked at the door and made ready for the layers. Read `unet` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor

CONDITIONS = ("num_classes", "context_features", "cross_attention_dim")


def check_conditions(config: Any) -> None:
    """Refuse a `UNetConfig` with two ways to be told what to draw, or tokens that nothing would read. Raises ValueError."""
    chosen = [f"{name}={getattr(config, name)}" for name in CONDITIONS if getattr(config, name) is not None]
    if len(chosen) > 1:
        raise ValueError(f"UNetConfig: {' and '.join(chosen)}; a network is told what to draw in one way, leave the others None")
    for name in ("context_features", "cross_attention_dim"):
        size = getattr(config, name)
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(f"UNetConfig: {name}={size!r}; expected a whole number of at least 1, or None")
    if config.cross_attention_dim is not None:
        if config.block != "resnet":
            raise ValueError("UNetConfig: cross_attention_dim needs block='resnet'; conv blocks have no attention")
        if not config.attention_levels and not (config.middle == "resnet" and config.middle_attention):
            raise ValueError("UNetConfig: with cross_attention_dim some attention must read the tokens: set attention_levels or "
                             "middle_attention")


def read_context(config: Any, context: Any, count: int, like: Any) -> tuple[Any, tuple[Any, ...]]:
    """A context for `count` images as (what the embedding is made of, what cross-attention reads).

    The first is labels (N,) on the host, or vectors (N, D), which labels are too for conditioning="multiply_add", or None; the second is
    () or (tokens,). like: a weight, whose dtype and device vectors and tokens must have. Raises ValueError for what does not fit.
    """
    if config.num_classes is not None:
        labels = _labels(context, count, config.num_classes)
        return one_hot(labels, config.num_classes, like) if config.conditioning == "multiply_add" else labels, ()
    if config.context_features is not None:
        return _vectors(context, count, config.context_features, like), ()
    if config.cross_attention_dim is not None:
        return None, (_tokens(context, count, config.cross_attention_dim, like),)
    if context is not None:
        raise ValueError("UNet: a context was given, but this network is told nothing: it has no classes (num_classes), no "
                         "context_features and no cross_attention_dim")
    return None, ()


def one_hot(labels: np.ndarray, num_classes: int, like: Any) -> Any:
    """Labels (N,) as vectors (N, num_classes), with a 1 in the place of the class; no class is the zero vector."""
    return _beside(labels[:, None] == np.arange(num_classes), like)


def _labels(context: Any, count: int, num_classes: int) -> np.ndarray:
    """Integers on the host; None means no class for any image."""
    if context is None:
        return np.full(count, num_classes)
    labels = backend.to_numpy(context)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(f"UNet: expected {count} integer labels, got {labels.dtype} of shape {labels.shape}")
    if count and not (0 <= labels.min() and labels.max() <= num_classes):
        raise ValueError(f"UNet: labels from {labels.min()} to {labels.max()}; the classes are 0 to {num_classes - 1}, "
                         f"and {num_classes} for no class")
    return labels


def _vectors(context: Any, count: int, features: int, like: Any) -> Any:
    """A vector for each image; None means the zero vector for all."""
    if context is None:
        return _beside(np.zeros((count, features)), like)
    vectors = _array(context)
    if tuple(vectors.shape) != (count, features) or vectors.dtype != like.dtype:
        raise ValueError(f"UNet: expected a vector for each image, {like.dtype} of shape ({count}, {features}), got {_told(vectors)}")
    return vectors


def _tokens(context: Any, count: int, features: int, like: Any) -> Any:
    """The tokens of a text for each image; there is none for nothing but those of the empty text."""
    shape = f"({count}, L, {features})"
    if context is None:
        raise ValueError(f"UNet: this network reads the tokens of a text, of shape {shape}; for nothing give those of the empty text")
    tokens = _array(context)
    wrong = len(tokens.shape) != 3 or (tokens.shape[0], tokens.shape[2]) != (count, features) or not tokens.shape[1]
    if wrong or tokens.dtype != like.dtype:
        raise ValueError(f"UNet: expected the tokens of a text for each image, {like.dtype} of shape {shape}, got {_told(tokens)}")
    return tokens


def _array(context: Any) -> Any:
    """A Tensor, which may want gradients, as it is; anything else as an array."""
    return context if isinstance(context, Tensor) else backend.asarray(context)


def _beside(array: np.ndarray, like: Any) -> Any:
    """An array of the host with the dtype and on the device of `like`."""
    return backend.asarray(array.astype(like.dtype), backend.device_of(like))


def _told(array: Any) -> str:
    return f"{array.dtype} of shape {tuple(array.shape)}"
