from __future__ import annotations
from collections.abc import Callable
import numpy as np
from minidiff.data import Dataset
from minidiff.models import Classifier

def train_classifier(dataset: Dataset, seed: int = 0, epochs: int = 4, device: str = "cpu",
                     progress: Callable[[float], None] | None = None) -> Classifier:
    """A Classifier trained on real images. progress: called with the fraction done, 0 to 1."""
def predict(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """The class of each image; images: float (N, C, H, W) in [-1, 1] -> int64 (N,)."""
def accuracy(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose class is recognized, 0 to 1."""
def accuracy_per_class(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The same for every class: (num_classes,), NaN for a class without images."""
