"""Layers that look up or mix features: a matrix, a table of vectors, nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend
from minidiff import functional as F
from minidiff.random import Generator

from . import init
from .module import Module, Parameter, generator_or_fresh

__all__ = ["Embedding", "Identity", "Linear"]


def empty(*shape: int) -> Parameter:
    """A parameter that waits for its initial values: zeros in float32."""
    return Parameter(np.zeros(shape, np.float32))


def must_be_sizes(kind: str, **sizes: Any) -> None:
    """TypeError for sizes that are no integers, ValueError below 0."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)):
            raise TypeError(f"{kind}: {name}={size!r}; expected an integer")
        if size < 0:
            raise ValueError(f"{kind}: {name}={size}; expected an integer of at least 0")


def uniform_fan_in(weight: Parameter, bias: Parameter | None, fan_in: int, generator: Generator | None) -> None:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what torch's linear and convolution layers start from (LeCun et al. 1998, Sec. 4.6)."""
    generator = generator_or_fresh(generator)
    bound = 1.0 / math.sqrt(fan_in) if fan_in else 0.0
    init.uniform_(weight, -bound, bound, generator)
    if bias is not None:
        init.uniform_(bias, -bound, bound, generator)


class Linear(Module):
    """y = x W^T + b; weight (out_features, in_features), bias (out_features,)."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None, *,
        generator: Generator | None = None,
    ) -> None:
        must_be_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = empty(out_features, in_features)
        self.bias = empty(out_features) if bias else None
        self.reset_parameters(generator)
        self.to(device, dtype)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """New initial values: `uniform_fan_in`."""
        uniform_fan_in(self.weight, self.bias, self.in_features, generator)

    def forward(self, input: Any) -> Any:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of vectors, weight (num_embeddings, embedding_dim), started from N(0, 1).

    padding_idx: a row that starts at 0 and gets no gradient.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, device: Any = None, dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        must_be_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx={padding_idx}; the table has rows 0 to {num_embeddings - 1}")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = empty(num_embeddings, embedding_dim)
        self.reset_parameters(generator)
        self.to(device, dtype)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """New initial values: N(0, 1), and 0 for the row padding_idx."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            rows = np.arange(self.num_embeddings)[:, None] != self.padding_idx
            self.weight.data = self.weight.data * backend.asarray(rows, self.weight.device, self.weight.dtype)

    def forward(self, input: Any) -> Any:
        """Integers (...) -> (..., embedding_dim)."""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Identity(Module):
    """y = x. Takes any arguments and does nothing with them, to stand in for another layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        """Any shape -> the same shape."""
        return input
