"""A diffusion prior: which embedding would the picture of this sentence have?

The embeddings of sentences and of pictures lie in different parts of the space that they share (the modality gap, Liang et al. 2022), so
a U-Net that was told pictures' embeddings in training does not know sentences'. A prior draws a picture's embedding for a
sentence's, by diffusion in the space of embeddings (unCLIP, Ramesh et al. 2022, Section 2.2).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff import functional as F
from minidiff.random import Generator


@dataclass(frozen=True)
class PriorConfig:
    """What a `Prior` is made of, JSON values.

    features: size of an embedding. width: of the vectors inside. depth: how many residual blocks. Raises ValueError for numbers below 1,
    and for an odd width, which sinusoids cannot fill.
    """

    features: int
    width: int = 256
    depth: int = 4

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"PriorConfig: {name}={value!r}; expected a whole number of at least 1")
        if self.width % 2:
            raise ValueError(f"PriorConfig: width={self.width} must be even: half of it are sines, half cosines")

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary of JSON values."""
        return asdict(self)


class _Block(nn.Module):
    """h + W_2 silu(W_1 norm(h) + W_c c): a residual block that is told a condition c."""

    def __init__(self, width: int, *, generator: Generator) -> None:
        self.norm = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, width, generator=generator)
        self.condition = nn.Linear(width, width, generator=generator)
        self.linear_2 = nn.Linear(width, width, generator=generator)

    def forward(self, h: Any, c: Any) -> Any:
        """(N, width), (N, width) -> (N, width)."""
        return h + self.linear_2(F.silu(self.linear_1(self.norm(h)) + self.condition(c)))


class Prior(nn.Module):
    """z_0 from z_t, t and a sentence's embedding: residual blocks on vectors. Called as prior(z, t, context).

        c = silu(W_t sinusoids(t) + W_y y),   h = W_in z,   h <- block(h, c) depth times,   z_0 = W_out norm(h)

    It predicts the clean embedding itself (prediction_type "sample"), as unCLIP's does.
    """

    def __init__(self, config: PriorConfig, *, generator: Generator | None = None) -> None:
        generator = nn.generator_or_fresh(generator)
        self.config = config
        features, width = config.features, config.width
        self.time = nn.Linear(width, width, generator=generator)
        self.text = nn.Linear(features, width, generator=generator)
        self.entrance = nn.Linear(features, width, generator=generator)
        self.blocks = nn.ModuleList(_Block(width, generator=generator) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, features, generator=generator)

    def forward(self, x: Any, t: Any, context: Any = None) -> Any:
        """(N, features) noisy embeddings, a number or (N,) times, (N, features) sentences' embeddings (None: no sentence) -> (N, features).

        Raises ValueError for other shapes.
        """
        features = self.config.features
        if len(x.shape) != 2 or x.shape[1] != features:
            raise ValueError(f"Prior: expected embeddings (N, {features}), got shape {tuple(x.shape)}")
        weight = self.exit.weight
        context = backend.asarray(np.zeros(x.shape), weight.device, weight.dtype) if context is None else context
        if tuple(context.shape) != tuple(x.shape):
            raise ValueError(f"Prior: expected a sentence's embedding for each, {tuple(x.shape)}, got shape {tuple(context.shape)}")
        times = np.broadcast_to(backend.to_numpy(t), (x.shape[0],))
        waves = backend.asarray(F.timestep_embedding(times, self.config.width), weight.device, weight.dtype)
        c = F.silu(self.time(waves) + self.text(context))
        h = self.entrance(x)
        for block in self.blocks:
            h = block(h, c)
        return self.exit(self.norm(h))
