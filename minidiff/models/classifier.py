"""A small convolutional classifier: the independent judge of what a diffusion model draws."""

from __future__ import annotations

from typing import Any

from minidiff import functional as F
from minidiff import nn
from minidiff.random import Generator


class Classifier(nn.Module):
    """conv, norm, relu, pool, twice; then two linear layers: images to class scores.

    Built for images of sample_size x sample_size (divisible by 4). Called as classifier(x) -> unnormalized log-probabilities.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 1, sample_size: int = 28, width: int = 24, *, generator: Generator | None = None,
    ) -> None:
        if sample_size % 4:
            raise ValueError(f"Classifier: sample_size {sample_size} must be divisible by 4")
        generator = nn.generator_or_fresh(generator)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, generator=generator), nn.GroupNorm(4, width), nn.Function(F.relu),
            nn.Function(F.max_pool2d, 2),
            nn.Conv2d(width, 2 * width, 3, padding=1, generator=generator), nn.GroupNorm(4, 2 * width), nn.Function(F.relu),
            nn.Function(F.max_pool2d, 2))
        self.hidden = nn.Linear(2 * width * (sample_size // 4) ** 2, 128, generator=generator)
        self.dropout = nn.Dropout(0.3, generator=generator)
        self.output = nn.Linear(128, num_classes, generator=generator)

    def forward(self, x: Any) -> Any:
        """(N, in_channels, H, W) -> (N, num_classes)."""
        h = F.flatten(self.features(x), 1)
        return self.output(self.dropout(F.relu(self.hidden(h))))
