"""What a trained model is worth, in figures: `evaluate_images`, `evaluate_prompts`, `evaluate_clip`.

Each gives tables: for each figure, by its name, the value for what is judged, and beside it what it has to be compared with. The figures
themselves are in `minidiff.metrics`. Stands on `judge.py` and `embedder.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minidiff.data import Dataset, captions_of, class_captions, to_floats
from minidiff.metrics import (
    Estimate,
    authenticity,
    bootstrap,
    chance_of_recall_at_k,
    clip_scores,
    closer_share,
    compare,
    cosine_similarity,
    nearest,
    recall_at_k,
    share,
    zero_shot_accuracy,
)
from minidiff.models import Classifier
from minidiff.random import Generator
from minidiff.training.bag_of_words import BagOfWords
from minidiff.training.embedder import Embedder
from minidiff.training.judge import embed, predict

Table = dict[str, dict[str, "Estimate | float"]]
"""figure -> what was judged -> its value."""

LEAST, LEAST_TEST = 10, 19  # as many parts has the jackknife; the 5 % that `closer_share` asks for are one of 19 and a new one
MOST_PIXELS = 2000  # real test images of which the nearest training image is looked for, at most


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest training image of each sample, in pixels. distances: (N,), root mean square per pixel in [0, 2]. indices: (N,)."""

    distances: np.ndarray
    indices: np.ndarray


def evaluate_images(
    samples: np.ndarray, labels: np.ndarray | None, train: Dataset, test: Dataset, classifier: Classifier, generator: Generator,
    progress: Callable[[float], None] | None = None,
) -> tuple[Table, Nearest]:
    """Drawn images beside real ones: are they recognized, are they like real ones, are they copies?

    samples: uint8 (N, C, H, W), N at least 10. labels: (N,), the classes they were asked for; None if they were not. train: what
    the model was trained on, at least 10. test: what neither the model nor the classifier has seen, at least 19. classifier: trained on
    `train`.
    generator: draws parts for intervals, and the real training images that stand beside the samples, as many. progress: called now and
    then with the fraction done.
    Features are `Classifier.embed`. Raises ValueError for sets too small or of other shapes.
    """
    check_sets(len(samples), train, test)
    if samples.shape[1:] != test.images.shape[1:]:
        raise ValueError(f"evaluate: the samples are {samples.shape[1:]}, the test images {test.images.shape[1:]}; they must be alike")
    if labels is not None and np.shape(labels) != (len(samples),):
        raise ValueError(f"evaluate: labels of shape {np.shape(labels)} for {len(samples)} samples; expected one for each")
    report = progress or (lambda fraction: None)
    chosen = np.sort(generator.permutation(len(train))[: len(samples)])
    table: Table = {}
    if labels is not None:
        table["recognized"] = {"samples": _recognized(classifier, samples, labels), "test images": _recognized(
            classifier, test.images, test.labels), "training images": _recognized(classifier, train.images[chosen], train.labels[chosen])}
    real = embed(classifier, to_floats(test.images))
    sets = {"samples": samples, "training images": train.images[chosen]}
    for i, (name, images) in enumerate(sets.items()):
        found = compare(embed(classifier, to_floats(images)), real, generator, progress=lambda part, i=i: report((i + part) / 3))
        for figure, value in found.items():
            table.setdefault(figure, {})[name] = value
    pixels = lambda images: to_floats(images).reshape(len(images), -1) / images[0].size ** 0.5
    training, of_samples = pixels(train.images), pixels(samples)
    of_test = pixels(test.images[np.sort(generator.permutation(len(test))[:MOST_PIXELS])])
    distances, indices = (column[:, 0] for column in nearest(of_samples, training))
    report(0.8)
    to_training = nearest(of_test, training).distances[:, 0]
    table["closer to a training image than 95 % of test images"] = {"samples": closer_share(distances, to_training, generator)}
    table["authenticity"] = {"samples": authenticity(of_samples, training), "test images": authenticity(of_test, training)}
    report(1.0)
    return table, Nearest(distances, indices)


def check_sets(samples: int, train: Dataset, test: Dataset) -> None:
    """Refuse what `evaluate_images` cannot take, before anything is drawn: ValueError for fewer samples or images than the intervals need,
    and for images that the classifier cannot halve twice."""
    for what, count, least in (("samples", samples, LEAST), ("training images", len(train), LEAST), ("test images", len(test), LEAST_TEST)):
        if count < least:
            raise ValueError(f"evaluate: {count} {what}; the intervals need at least {least}")
    height, width = test.images.shape[2:]
    if height != width or height % 4:
        raise ValueError(f"evaluate: the images are {height} x {width}; the classifier needs square ones with a side divisible by 4")


def _recognized(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> Estimate:
    return share(predict(classifier, to_floats(images)) == labels)


def evaluate_prompts(samples: np.ndarray, prompts: Sequence[str], embedder: Embedder, generator: Generator,
                     real: np.ndarray | None = None) -> Table:
    """Does a picture show what its prompt says? By a CLIP that the model has not been trained with.

    samples: uint8 (N, C, H, W), one for each of the N prompts. real: real pictures of the same things, to compare with. generator: of
    the bootstrap. CLIP score: 2.5 max(cos, 0). Retrieval: how often the right prompt is among the first one, five or ten of all prompts.
    Raises ValueError for other shapes.
    """
    texts = embedder.texts(prompts)
    matches = np.array([[one == other for other in prompts] for one in prompts])
    table: Table = {}
    for name, images in {"samples": samples, "real images": real}.items():
        if images is None:
            continue
        vectors = embedder.images(images)
        table.setdefault("CLIP score", {})[name] = bootstrap(clip_scores(vectors, texts), generator)
        for figure, value in _recalls("prompt", cosine_similarity(vectors, texts), matches).items():
            table.setdefault(figure, {})[name] = value
    for k in _ranks(len(prompts)):
        table[f"prompt found, first {k}"]["chance"] = chance_of_recall_at_k(matches, k)
    return table


def evaluate_clip(embedder: Embedder, train: Dataset, test: Dataset) -> Table:
    """Does a CLIP know which text belongs to which picture, on pictures it has not seen? Beside it chance and `BagOfWords`.

    Pictures with captions of their own: retrieval, of a picture by its first caption and of the caption by the picture. Pictures with
    classes: zero-shot classification, by the direction of the mean of `class_captions`. train: what it was trained on.
    """
    words = BagOfWords(train)
    if test.captions is None:
        prompts = [class_captions(name) for name in test.class_names]
        means = np.stack([embedder.texts(of_class).mean(axis=0) for of_class in prompts])
        ours = zero_shot_accuracy(cosine_similarity(embedder.images(test.images), means), test.labels)
        theirs = zero_shot_accuracy(words.similarity(test.images, [of_class[-1] for of_class in prompts]), test.labels)
        return {"zero-shot accuracy": {"CLIP": ours, "bag of words": theirs, "chance": 1 / len(prompts)}}
    texts = [captions[0] for captions in captions_of(test)]
    matches = np.array([[one == other for other in texts] for one in texts])
    sides = {"CLIP": cosine_similarity(embedder.images(test.images), embedder.texts(texts)),
             "bag of words": words.similarity(test.images, texts)}
    table: Table = {}
    for name, similarity in sides.items():
        for figure, value in {**_recalls("caption", similarity, matches), **_recalls("picture", similarity.T, matches.T)}.items():
            table.setdefault(figure, {})[name] = value
    for k in _ranks(len(texts)):
        for what, right in {"caption": matches, "picture": matches.T}.items():
            table[f"{what} found, first {k}"]["chance"] = chance_of_recall_at_k(right, k)
    return table


def _ranks(count: int) -> list[int]:
    return [k for k in (1, 5, 10) if k <= count]


def _recalls(what: str, similarity: np.ndarray, matches: np.ndarray) -> dict[str, Estimate]:
    return {f"{what} found, first {k}": recall_at_k(similarity, matches, k) for k in _ranks(similarity.shape[1])}
