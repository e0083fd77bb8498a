from __future__ import annotations
from typing import Any
from minidiff.data import Dataset
from minidiff.models import UNet
from minidiff.training.checkpoint import Checkpoint
from minidiff.training.config import TrainConfig

class Trainer:
    """A model in training: `step()` after `step()`.

    config: what to compute. dataset: the images; their size, channels and class names must be those of the configuration
    (ValueError otherwise). device: "cpu", "cuda", "cuda:N" (DeviceError).
    Attributes: config, dataset, device, schedule, model (the UNet with the raw weights), step_count (steps done so far).
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, device: str = "cpu") -> None: ...

    @property
    def epoch(self) -> int:
        """How many times the whole data set has been seen."""
    @property
    def steps_per_epoch(self) -> float:
        """Number of images / batch_size."""

    def step(self) -> tuple[Any, Any]:
        """One step of training -> (loss, norm of the gradient), 0-d arrays on the device (float() waits for the GPU)."""

    def ema_model(self) -> UNet:
        """A copy of the model with the averaged weights, in evaluation mode: what to sample with while training."""

    def state(self) -> Checkpoint:
        """Everything that the next step depends on, and the averaged weights."""

    def load_state(self, checkpoint: Checkpoint) -> None:
        """Continue where `state` was taken. CheckpointError, and nothing changed, if it does not fit this trainer."""
