"""`Trainer`: a `Learner` that learns to predict what is in a noisy image.

Its loss is Algorithm 1 of Ho et al. 2020 with conditions that are dropped now and then (Ho & Salimans 2022, Algorithm 1).
Read `checkpoint.py` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff import backend
from minidiff.data import Dataset
from minidiff.diffusion import simple_loss
from minidiff.training.condition import condition, on_device
from minidiff.training.config import TrainConfig
from minidiff.training.embedder import Embedder
from minidiff.training.learner import Learner


class Trainer(Learner):
    """A U-Net in training. embedder: the CLIP for a network that is told embeddings or captions (ValueError without).

    Has also: schedule, the forward process that is trained on; condition, what the network is told. The rest: see `Learner`.
    """

    config: TrainConfig

    def __init__(self, config: TrainConfig, dataset: Dataset, device: str = "cpu", embedder: Embedder | None = None) -> None:
        super().__init__(config, dataset, device)
        self.schedule = config.schedule()
        self.condition = condition(config, dataset, embedder)

    def _loss(self, indices: np.ndarray) -> Any:
        """The mean squared error of the prediction, at a time of its own for each image."""
        x_start, context = self._batch(indices)
        t = self.generators["choices"].integers(0, self.schedule.num_train_timesteps, len(x_start))
        noise = self.generators["noise"].standard_normal(x_start.shape, self.config.dtype)
        return simple_loss(lambda x, t: self.model(x, t, context), self.schedule, x_start, t, noise, self.config.prediction_type)

    def _batch(self, indices: np.ndarray) -> tuple[Any, Any]:
        """Images (B, C, H, W) on the device, some mirrored, and what the network is told of them, sometimes nothing."""
        x_start = backend.asarray(self._images(indices), self.device, self.config.dtype)
        if self.condition is None:
            return x_start, None
        return x_start, on_device(self.condition.batch(indices, self.generators["choices"]), self.device, self.config.dtype)
