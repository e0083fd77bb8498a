"""`Embedder`: sentences and pictures in, vectors out: a trained CLIP with its tokenizer.

What a text-to-image model is told comes from it, and a search, and a CLIP score. Read `contrastive.py` for its training.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import no_grad
from minidiff.data import to_floats
from minidiff.models.clip import CLIP, CLIPConfig
from minidiff.models.tokenizer import Tokenizer

TOKENIZER = "tokenizer"  # the folder of the vocabulary, in that of a run
BATCH_SIZE = 256


class Embedder:
    """A CLIP in evaluation mode, and the tokenizer it was trained with. Results are arrays on the host, in the model's dtype."""

    def __init__(self, clip: CLIP, tokenizer: Tokenizer) -> None:
        check_tokenizer(clip.config, tokenizer)
        self.clip, self.tokenizer = clip.eval(), tokenizer

    @property
    def features(self) -> int:
        """E, the numbers in an embedding."""
        return self.clip.config.embed_dim

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """The directions of sentences: (N, E), of length 1. Raises what the tokenizer raises; it warns of texts that are cut off."""
        return _directions(backend.to_numpy(self._of_texts(self.clip.encode_text, texts)))

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """What each token of a sentence means after those before it: (N, L, width), L the context's length. What cross-attention reads."""
        return backend.to_numpy(self.tokens_on_device(texts))

    def tokens_on_device(self, texts: Sequence[str]) -> Any:
        """The same on the CLIP's device: a step of training does not wait for it."""
        return self._of_texts(self.clip.text_model, texts)

    def images(self, images: np.ndarray) -> np.ndarray:
        """The directions of pictures: uint8 (N, C, H, W) -> (N, E), of length 1. Raises ValueError for pictures of another size."""
        if not len(images):
            raise ValueError("Embedder: expected at least one picture")
        weight = self.clip.visual_projection.weight
        encode = lambda part: self.clip.encode_image(backend.asarray(to_floats(part), weight.device, weight.dtype))
        return _directions(backend.to_numpy(self._batches(encode, images)))

    def _of_texts(self, encode: Callable[[np.ndarray], Any], texts: Sequence[str]) -> Any:
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"Embedder: expected a list of at least one text, got {texts!r}")
        return self._batches(encode, self.tokenizer(list(texts), self.clip.config.text.context_length))

    @staticmethod
    def _batches(encode: Callable[[Any], Any], inputs: np.ndarray) -> Any:
        """The answers to all inputs, BATCH_SIZE at a time, on the CLIP's device."""
        with no_grad():
            parts = [backend.to_array(encode(inputs[start : start + BATCH_SIZE])) for start in range(0, len(inputs), BATCH_SIZE)]
        return backend.array_module(*parts).concatenate(parts)


def check_tokenizer(config: CLIPConfig, tokenizer: Tokenizer) -> None:
    """Raise ValueError for a tokenizer that is not the one of a CLIP: another number of tokens, or another end of the text."""
    known, there = (config.text.vocab_size, config.text.eos_token_id), (len(tokenizer), tokenizer.end)
    if known[0] != there[0] or known[1] not in (None, there[1]):
        raise ValueError(f"the tokenizer has {there[0]} tokens and ends a text with number {there[1]}, the CLIP knows {known[0]} and ends "
                         f"with {known[1]}; they do not belong together")


def _directions(x: np.ndarray) -> np.ndarray:
    """x / |x|, row by row."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def read_tokenizer(folder: str | os.PathLike) -> Tokenizer:
    """The tokenizer in the folder of a run. Raises what `Tokenizer.load` raises."""
    return Tokenizer.load(Path(folder) / TOKENIZER)
