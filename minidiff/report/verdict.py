"""What an independent classifier recognizes in real and in drawn images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minidiff.data import Dataset
from minidiff.models import Classifier
from minidiff.training import accuracy, accuracy_per_class


@dataclass(frozen=True)
class Verdict:
    """For each set of images, by its name: the share that was recognized, in [0, 1], and the same for every class, (K,)."""

    overall: Mapping[str, float]
    per_class: Mapping[str, np.ndarray]

    def sentence(self) -> str:
        """The shares of the whole sets in one line of text."""
        return ", ".join(f"{100 * share:.1f} % of {name}" for name, share in self.overall.items())


def judge(classifier: Classifier, sets: Mapping[str, Dataset]) -> Verdict:
    """Show a classifier several sets of labelled images. sets: name -> images and the classes that they should be."""
    images = {name: (a_set.floats(slice(None)), a_set.labels) for name, a_set in sets.items()}
    return Verdict({name: accuracy(classifier, *shown) for name, shown in images.items()},
                   {name: accuracy_per_class(classifier, *shown) for name, shown in images.items()})
