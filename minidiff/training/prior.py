"""`PriorLearner`: a `Learner` of the step between a sentence and a picture's embedding; `imagine`: that step taken.

The second of unCLIP's three models (Ramesh et al. 2022): CLIP, the prior, and a U-Net that is told embeddings of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import no_grad
from minidiff.data import Dataset
from minidiff.diffusion import DDIM, Schedule, classifier_free_guidance, make_schedule, sample, simple_loss, timesteps
from minidiff.models import Prior, PriorConfig
from minidiff.random import Generator
from minidiff.training.captions import Wording
from minidiff.training.condition import scaled
from minidiff.training.config import LearnerConfig
from minidiff.training.embedder import Embedder
from minidiff.training.learner import Learner

PREDICTION_TYPE = "sample"  # unCLIP, Section 2.2: the embedding itself
STEPS = 50


@dataclass(frozen=True, kw_only=True)
class PriorTrainConfig(LearnerConfig):
    """The settings of the training of a prior: those of `LearnerConfig`, and

    prior: the network. images: (channels, height, width) of the pictures. num_train_timesteps: of a cosine schedule (squaredcos_cap_v2).
    context_dropout: probability in [0, 1] that the sentence is left out, so that guidance is possible.
    """

    NETWORK = ("prior", PriorConfig)

    prior: PriorConfig
    images: tuple[int, int, int]
    num_train_timesteps: int = 1000
    context_dropout: float = 0.1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the pictures."""
        return self.images

    def network(self, generator: Generator) -> Prior:
        """The prior, with fresh weights."""
        return Prior(self.prior, generator=generator)

    def schedule(self) -> Schedule:
        """The forward process that is trained on."""
        return make_schedule("squaredcos_cap_v2", self.num_train_timesteps)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "images", tuple(self.images))
        self._check_integer("num_train_timesteps", 1)
        self._check_number("context_dropout", most=1)


class PriorLearner(Learner):
    """A prior in training. embedder: the CLIP in whose space it lives. The rest: see `Learner`."""

    config: PriorTrainConfig

    def __init__(self, config: PriorTrainConfig, dataset: Dataset, embedder: Embedder, device: str = "cpu") -> None:
        if config.prior.features != embedder.features:
            raise ValueError(f"PriorLearner: the prior is for embeddings of {config.prior.features} numbers, the CLIP's have "
                             f"{embedder.features}")
        super().__init__(config, dataset, device)
        self.schedule, self.embedder, self.wording = config.schedule(), embedder, Wording(dataset)
        self.pictures = scaled(embedder.images(dataset.images))

    def _loss(self, indices: np.ndarray) -> Any:
        """The mean squared error of the predicted embedding, at a time of its own for each pair."""
        choices = self.generators["choices"]
        sentences = scaled(self.embedder.texts(self.wording.draw(indices, choices)))
        sentences[choices.random(len(indices)) < self.config.context_dropout] = 0
        t = choices.integers(0, self.schedule.num_train_timesteps, len(indices))
        noise = self.generators["noise"].standard_normal((len(indices), self.config.prior.features), self.config.dtype)
        z, y = (backend.asarray(vectors, self.device, self.config.dtype) for vectors in (self.pictures[indices], sentences))
        return simple_loss(lambda x, t: self.model(x, t, y), self.schedule, z, t, noise, PREDICTION_TYPE)


def imagine(
    prior: Prior, schedule: Schedule, embedder: Embedder, prompts: Sequence[str], *, generator: Generator, guidance: float = 1.0,
) -> np.ndarray:
    """An embedding of a picture for each sentence: (N, E) of length sqrt(E), what `Embeddings` tells a U-Net. By DDIM in 50 steps.

    generator: on the prior's device. guidance: classifier-free, towards the sentence.
    """
    weight = prior.exit.weight
    sentences = backend.asarray(scaled(embedder.texts(prompts)), weight.device, weight.dtype)
    guided = ((lambda x, t: prior(x, t, sentences)) if guidance == 1.0
              else classifier_free_guidance(prior, sentences, guidance, np.zeros(prior.config.features, np.float32)))
    noise = generator.standard_normal(sentences.shape, weight.dtype)
    with no_grad():
        z = sample(guided, schedule, noise, timesteps(schedule.num_train_timesteps, STEPS), DDIM, prediction_type=PREDICTION_TYPE)
    z = backend.to_numpy(z)
    return scaled(z / np.linalg.norm(z, axis=1, keepdims=True))
