from __future__ import annotations
from pathlib import Path
from typing import Any
from minidiff.diffusion import Schedule
from minidiff.models import UNet
from minidiff.training.config import TrainConfig
from minidiff.training.trainer import Trainer

class Run:
    """The folder of a training run. Attributes: path (Path), config (TrainConfig).

    Files: config_path (config.json), metrics_path (metrics.jsonl), timing_path (timing.jsonl), checkpoint_path
    (model.safetensors), samples_path (samples.png), forward_path (forward.png), reverse_path (reverse.png),
    loss_path (loss.png), report_path (report.html).
    """

    @classmethod
    def create(cls, path: str | Path, config: TrainConfig) -> Run:
        """A new run folder with its config.json. FileExistsError if there is one (choose another name, or --resume)."""
    @classmethod
    def open(cls, path: str | Path) -> Run:
        """An existing run folder. FileNotFoundError if it is none, ValueError for a damaged config.json."""
    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, label 0 first."""
    def schedule(self) -> Schedule:
        """The forward process of the run."""
    def load_model(self, device: str = "cpu", ema: bool = True) -> UNet:
        """The trained model, averaged weights (or with ema=False the raw ones), in evaluation mode. CheckpointError, FileNotFoundError."""
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: {"step", "epoch", "loss", "learning_rate", "grad_norm"}, one for each step from 1."""
    def timing(self) -> list[dict[str, Any]]:
        """The lines of timing.jsonl, one a session: {"from_step", "to_step", "seconds", "images_per_second", "device", "threads"}."""
    def restore(self, trainer: Trainer) -> None:
        """Put a new trainer where the last checkpoint was taken (at step 0 if there is none), cut metrics.jsonl to it.
        Call before `train` to resume."""
