"""`BagOfWords`: how far does one get from pictures to texts without learning anything deep? What a CLIP is compared with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from minidiff.data import Dataset, captions_of, to_floats

SIDE = 8  # pixels of the small picture that the prediction is made from
RIDGE = 0.01  # lambda for each picture


class BagOfWords:
    """Which words belong to a picture, by linear regression from its pixels.

        W = argmin sum_n |W x_n - y_n|^2 + lambda |W|^2,   score(image, text) = cos(W x, y)

    x: the picture in 8 x 8 pixels, and a 1. y: a number for each word of the training captions, 0 if it is absent, else
    log(N / number of pictures with it), so that rare words count for more; a word's neighbours count for nothing. lambda = N / 100.
    dataset: at least two pictures with captions, or with the names of classes. Raises ValueError for pictures smaller than 8 x 8.
    """

    def __init__(self, dataset: Dataset) -> None:
        bags = [Counter(word for caption in captions for word in words(caption)) for captions in captions_of(dataset)]
        number = Counter(word for bag in bags for word in bag)
        self.places = {word: place for place, word in enumerate(sorted(number))}
        self.rarity = np.array([math.log(len(bags) / number[word]) for word in self.places])
        x, y = self._pixels(dataset.images), self._bags([" ".join(bag) for bag in bags])
        ridge = RIDGE * len(x) * np.eye(x.shape[1])
        self.weight = np.linalg.solve(x.T @ x + ridge, x.T @ y)

    def similarity(self, images: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """How well they fit: uint8 (N, C, H, W), M texts -> (N, M), in [-1, 1]; 0 for a text without a known word."""
        return _directions(self._pixels(images) @ self.weight) @ _directions(self._bags(texts)).T

    def _bags(self, texts: Sequence[str]) -> np.ndarray:
        bags = np.zeros((len(texts), len(self.places)))
        for row, text in zip(bags, texts):
            for word in words(text):
                if word in self.places:
                    row[self.places[word]] = self.rarity[self.places[word]]
        return bags

    @staticmethod
    def _pixels(images: np.ndarray) -> np.ndarray:
        """(N, C 8 8 + 1): each pixel the mean of a part of the picture; sides that 8 does not divide lose their last pixels."""
        n, channels, height, width = images.shape
        if min(height, width) < SIDE:
            raise ValueError(f"BagOfWords: the pictures are {height} x {width}; it looks at {SIDE} x {SIDE} pixels")
        h, w = height // SIDE, width // SIDE
        parts = to_floats(images[:, :, : SIDE * h, : SIDE * w]).reshape(n, channels, SIDE, h, SIDE, w)
        return np.concatenate([parts.mean((3, 5)).reshape(n, -1), np.ones((n, 1))], axis=1)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without marks: letters and digits that stand together."""
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


def _directions(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths == 0, 1, lengths)
