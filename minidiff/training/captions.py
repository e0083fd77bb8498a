"""With which words an image is shown at a step. Read `embedder.py` next."""

from __future__ import annotations

import numpy as np

from minidiff.data import Dataset, captions_of
from minidiff.random import Generator

MOST = 3  # captions in one text


class Wording:
    """The texts for the images of a data set, new ones at every step.

    Captions that came with an image: one, two or three of them (`MOST`), equally often as far as there are as many, in any order,
    with commas: "heart, red". So a model meets words with and without their neighbours. Prompts made of a class's name: one of them.
    captions: all of each image, the most telling first.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.captions = captions_of(dataset)
        self.most = 1 if dataset.captions is None else MOST

    def draw(self, indices: np.ndarray, choices: Generator) -> list[str]:
        """A text for each of the images with these indices. choices: on the host."""
        numbers = choices.integers(1, self.most + 1, len(indices))
        texts = []
        for i, number in zip(indices.tolist(), numbers.tolist()):
            captions = self.captions[i]
            texts.append(", ".join(captions[k] for k in choices.permutation(len(captions))[:number].tolist()))
        return texts
