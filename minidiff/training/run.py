"""`Run`: the folder of a training run, and the names of what lies in it.

    config.json         what is computed: `TrainConfig`, or what another kind of training has
    model.safetensors   the last checkpoint: `checkpoint.py`
    metrics.jsonl       one line a step: step, epoch, loss, learning_rate, grad_norm. Nothing in it depends on the clock, so a
                        run that was killed and resumed ends with the same bytes as an unbroken one
    timing.jsonl        one line a session of training: what depends on the clock

Pictures and the report get their names here too, but are made by others. Read `loop.py` next.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minidiff.diffusion import Schedule
from minidiff.random import Generator
from minidiff.training.checkpoint import check_same_config, check_tensors, read_checkpoint, replace_file, write_checkpoint
from minidiff.training.config import MADE_BY, LearnerConfig, TrainConfig
from minidiff.training.learner import Learner

PRETRAINED = Path(__file__).parent.parent / "pretrained"  # runs that come with the package, exported, a folder each


def find_run(path: str | os.PathLike) -> Path:
    """The folder of a run: itself, or if there is none of that name, that of the pretrained model that is called so."""
    shipped = PRETRAINED / path
    return shipped if not Path(path).exists() and shipped.parent == PRETRAINED and shipped.is_dir() else Path(path)


def pretrained() -> list[str]:
    """The names of the models that come with minidiff."""
    return sorted(folder.name for folder in PRETRAINED.iterdir() if folder.is_dir()) if PRETRAINED.is_dir() else []


def kind_of(path: str | os.PathLike) -> str:
    """What was trained in a folder, or in a pretrained model: a key of MADE_BY.

    Raises FileNotFoundError for a folder that is no run, ValueError for a damaged config.json.
    """
    return _read_config(find_run(path), tuple(MADE_BY))[0]


def _read_config(folder: Path, wanted: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """(what was trained, the settings) in the config.json of a run. wanted: the kinds of runs that would do. Raises as `Run.open`."""
    path, makers = folder / "config.json", " or ".join(f"`{MADE_BY[kind]}`" for kind in wanted)
    if not path.is_file():
        what = "a folder without config.json, so no run" if folder.is_dir() else "no such run folder"
        names = f", or the name of a model that comes with minidiff: {', '.join(pretrained())}" if pretrained() else ""
        raise FileNotFoundError(f"{folder}: {what}; give the folder that {makers} made{names}")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"expected a JSON object with the settings of a run, got {settings!r:.80}")
        kind = next((name for name in MADE_BY if name in settings), None)
        if kind is None:
            raise ValueError(f"the settings lack the network, which is one of {', '.join(MADE_BY)}")
        if kind not in wanted:
            raise ValueError(f"it is a run of `{MADE_BY[kind]}`; give one that {makers} made")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be used: {error}") from None
    return kind, settings


def check_new(path: str | os.PathLike) -> None:
    """Raise FileExistsError where a run cannot be created: to be asked before the work begins."""
    if Path(path).exists():
        raise FileExistsError(f"{path}: exists already; choose another name, or go on with that run: --resume {path}")


class Run:
    """The folder of a training run: made by `create`, found by `open`. Attributes: path, config."""

    def __init__(self, path: Path, config: LearnerConfig) -> None:
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
    def create(cls, path: str | os.PathLike, config: LearnerConfig, fill: Callable[[Path], None] | None = None) -> Run:
        """A new folder with its config.json. Raises FileExistsError for one that exists: it stays as it is.

        fill: called with the folder before it gets its name, to write into it whatever else the run needs.
        """
        path = Path(path)
        check_new(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Filled before it gets its name: a run folder always has its settings
        unfinished = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            replace_file(unfinished / "config.json", (json.dumps(config.to_json(), indent=2) + "\n").encode())
            if fill is not None:
                fill(unfinished)
            os.rename(unfinished, path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return cls(path, config)

    @classmethod
    def open(cls, path: str | os.PathLike, kind: type[LearnerConfig] = TrainConfig) -> Run:
        """An existing run, or a pretrained one by its name. kind: what was trained, `TrainConfig` for a diffusion model.

        Raises FileNotFoundError for a folder that is no run, ValueError for a damaged config.json and for the run of another kind.
        """
        path = find_run(path)
        _, settings = _read_config(path, (kind.NETWORK[0],))
        try:
            return cls(path, kind.from_json(settings))
        except ValueError as error:
            raise ValueError(f"{path / 'config.json'}: cannot be used: {error}") from None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, that of label 0 first."""
        return self.config.class_names

    def schedule(self) -> Schedule:
        """The forward process that a diffusion model was trained on."""
        return self.config.schedule()

    def load_model(self, device: str = "cpu", ema: bool = True) -> Any:
        """The model of the last checkpoint in evaluation mode, with the averaged weights or (ema=False) the raw ones.

        Raises FileNotFoundError without a checkpoint, CheckpointError for one that is damaged, not of this configuration, or, with
        ema=False, exported and so without raw weights.
        """
        checkpoint = read_checkpoint(self.checkpoint_path)
        check_same_config(str(self.checkpoint_path), self.config.to_json(), checkpoint.config)
        dtype = np.dtype(self.config.dtype)
        model = self.config.network(Generator(0)).to(dtype=self.config.dtype)
        weights = {name: array.astype(dtype) if array.dtype == np.float16 else array
                   for name, array in checkpoint.group("ema" if ema else "model").items()}
        shapes = {name: array.shape for name, array in model.state_dict().items()}
        check_tensors(str(self.checkpoint_path), weights, shapes, dtype)
        model.load_state_dict(weights)
        return model.to(device).eval()

    def export(self, path: str | os.PathLike, half: bool = False, fill: Callable[[Path], None] | None = None) -> Run:
        """A new folder with what drawing needs: the settings and the averaged weights, a fourth of the checkpoint, or (half) an eighth.

        half: weights as float16, which rounds them by up to 2^-11 of their size. It can be used like any run, but not trained further.
        fill: see `create`. Raises what `create` and `read_checkpoint` raise, and ValueError for weights too large for float16.
        """
        checkpoint = read_checkpoint(self.checkpoint_path)
        weights = checkpoint.group("ema")
        largest = max(abs(array).max() for array in weights.values())
        if half and largest > np.finfo(np.float16).max:
            raise ValueError(f"{self.checkpoint_path}: a weight is {largest:g}, more than float16 holds; export it without half")
        tensors = {f"ema.{name}": array.astype(np.float16) if half else array for name, array in weights.items()}

        def write(folder: Path) -> None:
            write_checkpoint(folder / self.checkpoint_path.name, dataclasses.replace(checkpoint, generators={}, tensors=tensors))
            if fill is not None:
                fill(folder)

        return Run.create(path, self.config, write)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: {"step", "epoch", "loss", "learning_rate", "grad_norm"} for each step from 1."""
        return _json_lines(self.metrics_path)

    def timing(self) -> list[dict[str, Any]]:
        """The lines of timing.jsonl: {"from_step", "to_step", "seconds", "images_per_second", "device", "threads"} for each session."""
        return _json_lines(self.timing_path)

    def restore(self, trainer: Learner) -> None:
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
