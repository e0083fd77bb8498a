"""How well pictures and texts fit, and the loss that teaches it. Read `model.py` next."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff import functional as F


def clip_logits(image_embeds: Any, text_embeds: Any, logit_scale: Any) -> Any:
    """The cosine of the angle between each image and each text, divided by the temperature          Radford et al. 2021, Fig. 3

        logits[n, m] = exp(logit_scale) <image_n, text_m> / (|image_n| |text_m|)

    Shapes: (N, E), (M, E), () -> (N, M), a row for each image. Raises ValueError when they do not fit.
    """
    if len(image_embeds.shape) != 2 or len(text_embeds.shape) != 2 or image_embeds.shape[1] != text_embeds.shape[1]:
        raise ValueError(f"clip_logits: images of shape {tuple(image_embeds.shape)} and texts of shape {tuple(text_embeds.shape)}; "
                         "expected (N, E) and (M, E)")
    images, texts = F.normalize(image_embeds, dim=1), F.normalize(text_embeds, dim=1)
    return F.exp(logit_scale) * F.matmul(images, F.transpose(texts, 0, 1))


def clip_loss(logits: Any) -> Any:
    """Which text belongs to each image, which image to each text: the mean of the two cross-entropies   Radford et al. 2021, Fig. 3

        L = 1/(2N) sum_n ( -log softmax_m(logits[n, m])[n] - log softmax_m(logits[m, n])[n] )

    Image n belongs to text n, and the other N - 1 of the batch are the wrong answers. log N where nothing has been learned; at the scale s
    no vectors give less than log(1 + (N - 1) exp(-s N / (N - 1))). Shapes: (N, N) -> (). Raises ValueError for another shape.
    """
    if len(logits.shape) != 2 or logits.shape[0] != logits.shape[1] or not logits.shape[0]:
        raise ValueError(f"clip_loss: expected logits (N, N), image n beside text n, got shape {tuple(logits.shape)}")
    own = np.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(F.transpose(logits, 0, 1), own)) * 0.5
