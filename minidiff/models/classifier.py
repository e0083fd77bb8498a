"""A small convolutional classifier: the independent judge of what a diffusion model draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff import functional as F
from minidiff.random import Generator


class Classifier(nn.Module):
    """conv, norm, relu, pool, twice; then two linear layers: images to class scores.

    Built for images of sample_size x sample_size (divisible by 4). Called as classifier(x) -> unnormalized log-probabilities.
    time_features: for noisy images, whose noise it then has to know: so many sinusoids of the time stand beside what the first linear
    layer reads, and it is called as classifier(x, t). 0 for clean images.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 1, sample_size: int = 28, width: int = 24, time_features: int = 0, *,
        generator: Generator | None = None,
    ) -> None:
        if sample_size % 4:
            raise ValueError(f"Classifier: sample_size {sample_size} must be divisible by 4")
        generator = nn.generator_or_fresh(generator)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, generator=generator), nn.GroupNorm(4, width), nn.Function(F.relu),
            nn.Function(F.max_pool2d, 2),
            nn.Conv2d(width, 2 * width, 3, padding=1, generator=generator), nn.GroupNorm(4, 2 * width), nn.Function(F.relu),
            nn.Function(F.max_pool2d, 2))
        self.time_features = time_features
        self.hidden = nn.Linear(2 * width * (sample_size // 4) ** 2 + time_features, 128, generator=generator)
        self.dropout = nn.Dropout(0.3, generator=generator)
        self.output = nn.Linear(128, num_classes, generator=generator)

    def forward(self, x: Any, t: Any = None) -> Any:
        """(N, in_channels, H, W), for noisy images with a number or (N,) times -> (N, num_classes)."""
        return self.output(self.dropout(self.embed(x, t)))

    def embed(self, x: Any, t: Any = None) -> Any:
        """What it says of an image before it decides: (N, in_channels, H, W) -> (N, 128). What Frechet distances are taken of."""
        if (t is None) != (self.time_features == 0):
            raise ValueError("Classifier: one of noisy images is called as classifier(x, t), one of clean images (time_features=0) "
                             "as classifier(x)")
        h = F.flatten(self.features(x), 1)
        if t is not None:
            times = np.broadcast_to(backend.to_numpy(t), (x.shape[0],))
            weight = self.hidden.weight
            h = F.cat([h, backend.asarray(F.timestep_embedding(times, self.time_features), weight.device, weight.dtype)], dim=1)
        return F.relu(self.hidden(h))
