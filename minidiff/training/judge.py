"""The judge: a small classifier that has only ever seen real images says what it sees in drawn ones.

Its accuracy on drawn images, beside its accuracy on real ones that it has not seen, is a number for "every class is
recognizable". Stands on `models.Classifier` and the optimizer of this room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff import backend
from minidiff import functional as F
from minidiff.autograd import no_grad
from minidiff.data import Dataset
from minidiff.diffusion import Schedule, q_sample
from minidiff.models import Classifier
from minidiff.random import Generator
from minidiff.training.flat import FlatParameters
from minidiff.training.optimizer import AdamW, learning_rate_at

WEIGHTS, CHOICES = 101, 102  # streams of random numbers, none of them a trainer's
BATCH_SIZE = 32
TIME_FEATURES = 32
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1


def train_classifier(
    dataset: Dataset, seed: int = 0, epochs: int = 8, device: str = "cpu", progress: Callable[[float], None] | None = None,
    schedule: Schedule | None = None,
) -> Classifier:
    """A `Classifier` trained on real images by cross entropy, AdamW and mirroring, in evaluation mode.

    dataset: square images with a side divisible by 4. seed: the same gives the same classifier. progress: called after each step with
    the fraction done, in (0, 1]. schedule: to train it on noisy images, x_t at times drawn for each, for `diffusion.classifier_guidance`:
    then it is called as classifier(x_t, t). Raises ValueError for other images, or fewer than one epoch; FloatingPointError if it diverges.
    """
    _, channels, height, width = dataset.images.shape
    if height != width:
        raise ValueError(f"train_classifier: the images are {height} x {width}; the classifier needs square ones")
    if epochs < 1:
        raise ValueError(f"train_classifier: epochs={epochs}; expected at least 1")
    time_features = 0 if schedule is None else TIME_FEATURES
    classifier = Classifier(len(dataset.class_names), channels, height, time_features=time_features,
                            generator=Generator((seed, WEIGHTS))).to(device)
    parameters = FlatParameters(classifier)
    optimizer = AdamW(parameters, weight_decay=WEIGHT_DECAY)
    choices = Generator((seed, CHOICES))
    batches = -(-len(dataset) // BATCH_SIZE)
    for epoch in range(epochs):
        for i, indices in enumerate(np.array_split(choices.permutation(len(dataset)), batches)):
            step = epoch * batches + i + 1
            images = dataset.floats(indices)
            mirrored = choices.random(len(indices)) < 0.5
            images[mirrored] = images[mirrored, :, :, ::-1]
            t = None
            if schedule is not None:
                t = choices.integers(0, schedule.num_train_timesteps, len(images))
                images = q_sample(schedule, images, t, choices.standard_normal(images.shape, images.dtype))
            loss = F.cross_entropy(classifier(backend.asarray(images, device), t), dataset.labels[indices])
            loss.backward()
            rate = learning_rate_at(step, LEARNING_RATE, batches // 2, "cosine", epochs * batches)
            optimizer.step(parameters.take_gradient(), rate)
            if progress is not None:
                progress(step / (epochs * batches))
    if not np.isfinite(loss.item()):
        raise FloatingPointError("train_classifier: the loss became NaN or infinite; are the images sound?")
    return classifier.eval()


def predict(classifier: Classifier, images: np.ndarray, batch_size: int = 250) -> np.ndarray:
    """The class that the classifier sees in each image. images: floats in [-1, 1] (N, C, H, W). Returns int64 (N,)."""
    return _in_batches(classifier, classifier, images, batch_size).argmax(axis=1)


def embed(classifier: Classifier, images: np.ndarray, batch_size: int = 250) -> np.ndarray:
    """What the classifier says of each image before it decides, `Classifier.embed`. Shapes: see `predict`. Returns (N, 128) floats."""
    return _in_batches(classifier, classifier.embed, images, batch_size)


def _in_batches(classifier: Classifier, function: Callable[[Any], Any], images: np.ndarray, batch_size: int) -> np.ndarray:
    weight = classifier.output.weight
    with no_grad():
        parts = [backend.to_numpy(function(backend.asarray(images[start : start + batch_size], weight.device, weight.dtype)))
                 for start in range(0, len(images), batch_size)]
    return np.concatenate(parts)


def accuracy(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of images, in [0, 1], in which the classifier sees the class that they are of. Shapes: see `predict`; labels (N,)."""
    return float((predict(classifier, images) == np.asarray(labels)).mean())


def accuracy_per_class(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The same for each class by itself: (num_classes,), NaN for a class without images."""
    labels = np.asarray(labels)
    right = predict(classifier, images) == labels
    return np.array([right[labels == label].mean() if (labels == label).any() else np.nan
                     for label in range(classifier.output.weight.shape[0])])
