"""`CLIP`: a `CLIPConfig` come to life. Read `files.py` for weights of others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff import functional as F
from minidiff.random import Generator

from .config import CLIPConfig, ConvConfig, ViTConfig
from .contrast import clip_logits
from .image import ConvEncoder, VisionTransformer
from .text import TextTransformer
from .transformer import linear

IMAGE_ENCODERS = {ViTConfig: VisionTransformer, ConvConfig: ConvEncoder}


class CLIP(nn.Module):
    """Two encoders, each with a projection into the space in which pictures and texts are compared; and the temperature of that.

    Called as clip(images, tokens) -> (logits_per_image, logits_per_text); `clip_loss(logits_per_image)` is what it learns by.
    text_model(tokens) gives a vector for each token, which a text-to-image model attends to. generator: of the initial values.
    """

    def __init__(self, config: CLIPConfig, *, generator: Generator | None = None) -> None:
        generator = nn.generator_or_fresh(generator)
        self.config = config
        self.text_model = TextTransformer(config.text, generator)
        self.vision_model = IMAGE_ENCODERS[type(config.image)](config.image, generator)
        self.text_projection, self.visual_projection = (
            linear(width, config.embed_dim, width**-0.5, generator, bias=False) for width in (config.text.width, config.image.width))
        self.logit_scale = nn.Parameter(np.array(-math.log(config.temperature), np.float32))

    def encode_text(self, tokens: Any) -> Any:
        """The vectors of texts, not normalized: (N, L) integers -> (N, embed_dim).

        Each is read at its end-of-text token (`text.end_of_text`). Raises ValueError for tokens of another shape, kind or range, and for a
        text without its end.
        """
        return self.text_projection(self.text_model.pooled(tokens))

    def encode_image(self, images: Any) -> Any:
        """The vectors of images, not normalized: (N, in_channels, image_size, image_size) -> (N, embed_dim).

        Raises ValueError for another shape.
        """
        return self.visual_projection(self.vision_model(images))

    def forward(self, images: Any, tokens: Any) -> tuple[Any, Any]:
        """How well each of N images and each of M texts fit: `clip_logits` (N, M), a row for each image, and the same as (M, N)."""
        logits = clip_logits(self.encode_image(images), self.encode_text(tokens), self.logit_scale)
        return logits, F.transpose(logits, 0, 1)

    def bound_temperature(self) -> None:
        """Bring exp(logit_scale) back to at most `config.max_scale`: to be called after every step of the optimizer.

            logit_scale <- min(logit_scale, log max_scale)                                          Radford et al. 2021, Sec. 2.5

        The bound is on the parameter, as in OpenAI's training, not in `forward`: there a scale beyond it would get no gradient, and never
        come back; and the logits of a loaded checkpoint are those of its own code, whatever its scale. Written in place, so that a
        parameter that is a view (`training.FlatParameters`) stays one.
        """
        scale = self.logit_scale.data
        backend.array_module(scale).minimum(scale, math.log(self.config.max_scale), out=scale)
