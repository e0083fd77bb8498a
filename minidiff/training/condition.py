"""What a U-Net is told of an image, in training and in drawing: its class, the embedding of a picture, or a caption.

    num_classes           `Labels`: the number of the class
    context_features      `Embeddings`: where CLIP puts the picture itself in training, and a sentence in drawing
    cross_attention_dim   `Captions`: the tokens of one of its captions, as CLIP's text encoder understands them

Each knows a batch of training (`batch`) and what "nothing" is (`nothing`), by which it is replaced now and then, so that guidance is
possible. Read `trainer.py` next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.data import Dataset
from minidiff.diffusion import bernoulli_drop
from minidiff.random import Generator
from minidiff.training.captions import Wording
from minidiff.training.config import TrainConfig
from minidiff.training.embedder import Embedder


class Labels:
    """The class of an image: (N,) integers on the host; nothing is the number after the last class."""

    def __init__(self, config: TrainConfig, dataset: Dataset) -> None:
        self.labels, self.nothing, self.dropout = dataset.labels, config.unet.null_label, config.context_dropout

    def batch(self, indices: np.ndarray, choices: Generator) -> np.ndarray:
        """What the images with these indices are shown with."""
        return bernoulli_drop(self.labels[indices], self.nothing, self.dropout, choices)


class Embeddings:
    """Where CLIP puts a picture: (N, E), of length sqrt(E), so that a number in it is about 1; nothing is the zero vector.

    A model that has learned this can be told sentences, since they have a place in the same space: text to image without a single caption
    in its training.
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, embedder: Embedder) -> None:
        if config.flip:
            raise ValueError(f"Trainer: flip={config.flip}, but a mirrored picture has another embedding; train with flip=0")
        self.vectors, self.dropout = scaled(embedder.images(dataset.images)), config.context_dropout
        self.nothing = null_context_of(config.unet, embedder)

    def batch(self, indices: np.ndarray, choices: Generator) -> np.ndarray:
        """What the images with these indices are shown with."""
        dropped = choices.random(len(indices)) < self.dropout
        return np.where(dropped[:, None], self.nothing, self.vectors[indices])


class Captions:
    """The tokens of a caption: (N, L, D); nothing is the tokens of the empty text. Another of an image's captions at every step."""

    def __init__(self, config: TrainConfig, dataset: Dataset, embedder: Embedder) -> None:
        self.wording, self.embedder, self.dropout = Wording(dataset), embedder, config.context_dropout
        self.nothing = null_context_of(config.unet, embedder)

    def batch(self, indices: np.ndarray, choices: Generator) -> Any:
        """What the images with these indices are shown with, on the CLIP's device."""
        texts = self.wording.draw(indices, choices)
        dropped = choices.random(len(indices)) < self.dropout
        return self.embedder.tokens_on_device(["" if drop else text for drop, text in zip(dropped.tolist(), texts)])


def condition(config: TrainConfig, dataset: Dataset, embedder: Embedder | None) -> Labels | Embeddings | Captions | None:
    """What the network of a configuration is told; None if nothing. embedder: for embeddings and captions.

    Raises ValueError for an embedder that is missing, or whose vectors have another size than the network's.
    """
    unet = config.unet
    if unet.num_classes is not None:
        return Labels(config, dataset)
    if not reads_words(unet):
        return None
    check_embedder(unet, embedder)
    return (Embeddings if unet.context_features else Captions)(config, dataset, embedder)


def check_embedder(unet: Any, embedder: Embedder | None) -> None:
    """Refuse an embedder that does not go with a U-Net (its configuration): ValueError."""
    if embedder is None:
        raise ValueError("this U-Net is told what a CLIP makes of pictures or texts; give the CLIP it goes with")
    wanted, got = ((unet.context_features, embedder.features) if unet.context_features
                   else (unet.cross_attention_dim, embedder.clip.config.text.width))
    if wanted != got:
        raise ValueError(f"this U-Net is told vectors of {wanted} numbers, the CLIP's have {got}; give the CLIP it was made for")


def reads_words(unet: Any) -> bool:
    """Whether a U-Net (its configuration) can be told a sentence."""
    return unet.context_features is not None or unet.cross_attention_dim is not None


def contexts_of(unet: Any, prompts: Sequence[str], embedder: Embedder) -> np.ndarray:
    """What a U-Net (its configuration) is told for these sentences: (N, E) or (N, L, D). Raises ValueError as `check_embedder`."""
    check_embedder(unet, embedder)
    return scaled(embedder.texts(prompts)) if unet.context_features else embedder.tokens(prompts)


def null_context_of(unet: Any, embedder: Embedder) -> np.ndarray:
    """What a U-Net (its configuration) was told for nothing, from which guidance leads away: the zero vector (E,), or the tokens of the
    empty text (L, D). Raises ValueError as `check_embedder`.
    """
    check_embedder(unet, embedder)
    return np.zeros(embedder.features, np.float32) if unet.context_features else embedder.tokens([""])[0]


def scaled(directions: np.ndarray) -> np.ndarray:
    """Vectors of length 1 to length sqrt(E)."""
    return directions * np.asarray(directions.shape[1] ** 0.5, directions.dtype)


def on_device(context: Any, device: str, dtype: str) -> Any:
    """A context as the network takes it: labels stay on the host, vectors and tokens go to the device in its dtype."""
    return context if context is None or context.dtype.kind in "iu" else backend.asarray(context, device, dtype)
