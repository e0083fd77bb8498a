"""The image encoders: from pixels to one vector. Read `contrast.py` next."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff import nn
from minidiff.random import Generator

from ..blocks import ConvDownsample, ResidualConvBlock
from .config import ConvConfig, ViTConfig
from .transformer import Encoder


def _check(images: Any, config: ViTConfig | ConvConfig) -> None:
    expected, shape = (config.in_channels, config.image_size, config.image_size), getattr(images, "shape", None)
    if shape is None or len(shape) != 4 or not shape[0] or tuple(shape[1:]) != expected:
        found = f"a {type(images).__name__}" if shape is None else f"shape {tuple(shape)}"
        raise ValueError(f"CLIP: expected images (N, {', '.join(map(str, expected))}), got {found}")


class PatchEmbeddings(nn.Module):
    """A vector for each patch plus one for its place, and before them a vector that belongs to no patch: the class token.

    The class token sees all patches and ends as the vector of the image (Dosovitskiy et al. 2021, Eq. 1).
    """

    def __init__(self, config: ViTConfig, generator: Generator) -> None:
        c = config
        self.class_embedding = nn.Parameter(np.zeros(c.width, np.float32))
        self.patch_embedding = nn.Conv2d(c.in_channels, c.width, c.patch_size, c.patch_size, bias=False, generator=generator)
        self.position_embedding = nn.Embedding(1 + (c.image_size // c.patch_size) ** 2, c.width, generator=generator)
        for parameter in (self.class_embedding, self.position_embedding.weight):
            nn.init.normal_(parameter, std=c.width**-0.5, generator=generator)

    def forward(self, images: Any) -> Any:
        """(N, C, H, W) -> (N, 1 + patches, width): the class token, then the patches row by row."""
        patches = F.rearrange(self.patch_embedding(images), "n c h w -> n (h w) c")
        first = F.expand(self.class_embedding, (len(patches), 1, patches.shape[2]))
        return F.cat([first, patches], dim=1) + self.position_embedding.weight


class VisionTransformer(nn.Module):
    """norm(first token of transformer(norm(patches + places))). `pre_layrnorm` is spelled as in transformers, so that weights load."""

    def __init__(self, config: ViTConfig, generator: Generator) -> None:
        self.config = config
        self.embeddings = PatchEmbeddings(config, generator)
        self.pre_layrnorm = nn.LayerNorm(config.width)
        self.encoder = Encoder(config, is_causal=False, generator=generator)
        self.post_layernorm = nn.LayerNorm(config.width)

    def forward(self, images: Any) -> Any:
        """(N, in_channels, image_size, image_size) -> (N, width). Raises ValueError for another shape."""
        _check(images, self.config)
        tokens = self.encoder(self.pre_layrnorm(self.embeddings(images)))
        return self.post_layernorm(tokens[:, 0])


class ConvEncoder(nn.Module):
    """norm(mean over all pixels of a network of residual convolution blocks, the resolution halved between them).

    It knows from the start that near pixels belong together, which a vision transformer has to learn: the better choice for small
    images and few of them.
    """

    def __init__(self, config: ConvConfig, generator: Generator) -> None:
        self.config = config
        options = {"groups": config.norm_num_groups, "eps": 1e-5, "activation": "gelu", "generator": generator}
        widths = pairwise((config.in_channels, *config.channels))
        self.blocks = nn.ModuleList([ResidualConvBlock(n_in, n_out, **options) for n_in, n_out in widths])
        self.downsamplers = nn.ModuleList([ConvDownsample(n, 1, generator=generator) for n in config.channels[:-1]])
        self.post_layernorm = nn.LayerNorm(config.width)

    def forward(self, images: Any) -> Any:
        """(N, in_channels, image_size, image_size) -> (N, width). Raises ValueError for another shape."""
        _check(images, self.config)
        h = self.blocks[0](images)
        for halve, block in zip(self.downsamplers, list(self.blocks)[1:]):
            h = block(halve(h))
        return self.post_layernorm(F.mean(h, dim=(2, 3)))
