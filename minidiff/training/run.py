"""`Run`: the folder of a training run, and the names of what lies in it.

    config.json         what is computed: `TrainConfig`
    model.safetensors   the last checkpoint: `checkpoint.py`
    metrics.jsonl       one line a step: step, epoch, loss, learning_rate, grad_norm. Nothing in it depends on the clock, so a
                        run that was killed and resumed ends with the same bytes as an unbroken one
    timing.jsonl        one line a session of training: what depends on the clock

Pictures and the report get their names here too, but are made by others. Read `loop.py` next.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from minidiff.diffusion import Schedule
from minidiff.models import UNet
from minidiff.random import Generator
from minidiff.training.checkpoint import check_same_config, check_tensors, read_checkpoint, replace_file
from minidiff.training.config import TrainConfig
from minidiff.training.trainer import Trainer


class Run:
    """The folder of a training run: made by `create`, found by `open`. Attributes: path, config."""

    def __init__(self, path: Path, config: TrainConfig) -> None:
        self.path, self.config = path, config
        self.config_path = path / "config.json"
        self.checkpoint_path = path / "model.safetensors"
        self.metrics_path = path / "metrics.jsonl"
        self.timing_path = path / "timing.jsonl"
        self.samples_path = path / "samples.png"
        self.forward_path = path / "forward.png"
        self.reverse_path = path / "reverse.png"
        self.loss_path = path / "loss.png"
        self.report_path = path / "report.html"

    @classmethod
    def create(cls, path: str | os.PathLike, config: TrainConfig) -> Run:
        """A new folder with its config.json. Raises FileExistsError for one that exists: it stays as it is."""
        path = Path(path)
        if path.exists():
            raise FileExistsError(f"{path}: exists already; choose another name, or go on with that run: --resume {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Filled before it gets its name: a run folder always has its settings
        unfinished = path.with_name(f".{path.name}.tmp")
        unfinished.mkdir(exist_ok=True)
        try:
            replace_file(unfinished / "config.json", (json.dumps(config.to_json(), indent=2) + "\n").encode())
            os.rename(unfinished, path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return cls(path, config)

    @classmethod
    def open(cls, path: str | os.PathLike) -> Run:
        """An existing run. Raises FileNotFoundError for a folder that is none, ValueError for a damaged config.json."""
        path = Path(path)
        config_path = path / "config.json"
        if not config_path.is_file():
            what = "a folder without config.json, so no run" if path.is_dir() else "no such run folder"
            raise FileNotFoundError(f"{path}: {what}; give the folder that `minidiff train` made")
        try:
            return cls(path, TrainConfig.from_json(json.loads(config_path.read_text(encoding="utf-8"))))
        except ValueError as error:
            raise ValueError(f"{config_path}: cannot be used: {error}") from None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, that of label 0 first."""
        return self.config.class_names

    def schedule(self) -> Schedule:
        """The forward process that the model was trained on."""
        return self.config.schedule()

    def load_model(self, device: str = "cpu", ema: bool = True) -> UNet:
        """The model of the last checkpoint in evaluation mode, with the averaged weights or (ema=False) the raw ones.

        Raises FileNotFoundError without a checkpoint, CheckpointError for one that is damaged or not of this configuration.
        """
        checkpoint = read_checkpoint(self.checkpoint_path)
        check_same_config(str(self.checkpoint_path), self.config.to_json(), checkpoint.config)
        model = UNet(self.config.unet, generator=Generator(0)).to(dtype=self.config.dtype)
        weights = checkpoint.group("ema" if ema else "model")
        shapes = {name: array.shape for name, array in model.state_dict().items()}
        check_tensors(str(self.checkpoint_path), weights, shapes, np.dtype(self.config.dtype))
        model.load_state_dict(weights)
        return model.to(device).eval()

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: {"step", "epoch", "loss", "learning_rate", "grad_norm"} for each step from 1."""
        return _json_lines(self.metrics_path)

    def timing(self) -> list[dict[str, Any]]:
        """The lines of timing.jsonl: {"from_step", "to_step", "seconds", "images_per_second", "device", "threads"} for each session."""
        return _json_lines(self.timing_path)

    def restore(self, trainer: Trainer) -> None:
        """Put a new trainer where the last checkpoint was taken, and cut metrics.jsonl to what was known then.

        A run that was killed before its first checkpoint begins again. Raises CheckpointError for a checkpoint that is damaged
        or not of this configuration; then neither trainer nor log has been changed.
        """
        if self.checkpoint_path.exists():
            trainer.load_state(read_checkpoint(self.checkpoint_path), str(self.checkpoint_path))
        if self.metrics_path.exists():
            lines = self.metrics_path.read_bytes().splitlines(keepends=True)
            # One line a step; what was written after the checkpoint will be computed, and written, again
            replace_file(self.metrics_path, b"".join(lines[:trainer.step_count]))


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines, [] if there is none; a last line that was not finished is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
