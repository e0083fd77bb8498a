"""The state of a training run in one safetensors file that is whole or not there.

    model.<name>                        the weights
    ema.<name>                          their moving average: what to sample with
    optimizer.first_moment.<name>       AdamW's m
    optimizer.second_moment.<name>      AdamW's v
    metadata                            one JSON text under the key "minidiff": format version, step, states of the
                                        generators, configuration

Nothing is pickled. What is written is checked first, what is read is checked before anything is changed. Read `run.py` next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FORMAT_VERSION = 1
GROUPS = ("model", "ema", "optimizer.first_moment", "optimizer.second_moment")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, of another configuration, or holding NaN or infinity."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a training run is between two steps.

    step: how many have been done. config: `TrainConfig.to_json()`. generators: name -> `Generator.get_state()`.
    tensors: "<group>.<parameter>" -> array, for each of GROUPS.
    """

    step: int
    config: Mapping[str, Any]
    generators: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray] = field(repr=False)

    def group(self, group: str) -> dict[str, np.ndarray]:
        """parameter -> array, for one of GROUPS."""
        return {name.removeprefix(f"{group}."): array for name, array in self.tensors.items() if name.startswith(f"{group}.")}


def write_checkpoint(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Put a checkpoint in the place of the one at `path`, at once: a reader, or a crash, finds the old or the new one whole.

    Raises CheckpointError for NaN or infinity, OSError for a full disk or a folder that cannot be written to. Then the old file is
    as it was.
    """
    from safetensors.numpy import save

    path = Path(path)
    _check_finite(f"{path}: not saved, the old checkpoint stays", checkpoint.tensors)
    about = {"format_version": FORMAT_VERSION, "step": checkpoint.step, "generators": dict(checkpoint.generators),
             "config": dict(checkpoint.config)}
    # safetensors writes the memory as it lies, whatever its strides: a transposed array would come back scrambled
    tensors = {name: np.asarray(array, order="C") for name, array in checkpoint.tensors.items()}
    # One key, because safetensors writes several in an order that changes from run to run
    content = save(tensors, metadata={"minidiff": json.dumps(about)})
    try:
        replace_file(path, content)
    except OSError as error:
        raise OSError(error.errno, f"the checkpoint could not be saved ({error.strerror}); the last one that was saved is whole: "
                      "see that the folder has room and can be written to, then resume", str(path)) from error


def replace_file(path: Path, content: bytes) -> None:
    """Give a file a new content at once. If that fails (OSError), the old content stays and nothing else is left behind."""
    temporary = path.with_name(f".{path.name}.tmp")  # always the same: what a kill leaves behind, the next one clears away
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """The checkpoint in a file. Raises FileNotFoundError, and CheckpointError, which names the file and says what to do, for a
    file that is cut short, is no checkpoint, is of another version, or holds NaN or infinity."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; a run that was only begun has none, go on training it")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("minidiff")
            tensors = {name: file.get_tensor(name) for name in file.keys()} if text is not None else {}
    except (SafetensorError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: cut short, damaged, or no safetensors file ({error}); take a copy of it, if there is one, "
                              "or train again into another folder") from None
    if text is None:
        raise CheckpointError(f"{path}: a safetensors file, but not written by minidiff; give a run folder that `minidiff train` made")
    step, config, generators = _parse_about(path, text)
    _check_finite(str(path), tensors)
    return Checkpoint(step, config, generators, tensors)


def _parse_about(path: Path, text: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    try:
        about = json.loads(text)
        version, step, config, generators = (about[key] for key in ("format_version", "step", "config", "generators"))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its description is damaged ({error!r}); take a copy of the file, if there is one") from None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: checkpoint format {version}, this minidiff reads format {FORMAT_VERSION}; "
                              "use the version of minidiff that wrote it")
    if not isinstance(step, int) or step < 0 or not isinstance(config, dict) or not isinstance(generators, dict):
        raise CheckpointError(f"{path}: its description is damaged (step {step!r}); take a copy of the file, if there is one")
    return step, config, generators


def _check_finite(where: str, tensors: Mapping[str, np.ndarray]) -> None:
    wrong = [name for name, array in tensors.items() if not np.isfinite(array).all()]
    if wrong:
        raise CheckpointError(f"{where}: NaN or infinity in {len(wrong)} of {len(tensors)} tensors, the first is {wrong[0]}; "
                              "the training diverged: train again with a lower learning rate")


def check_same_config(where: str, expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
    """Raise CheckpointError with the settings in which two configurations (JSON) differ."""
    ours, theirs = _flat(expected), _flat(got)
    differing = [name for name in {**ours, **theirs} if ours.get(name, "not set") != theirs.get(name, "not set")]
    if differing:
        shown = "; ".join(f"{name}: {theirs.get(name, 'not set')!r}, here {ours.get(name, 'not set')!r}" for name in differing)
        raise CheckpointError(f"{where} is from another configuration: {shown}; go on with the one it was made with, "
                              "or train a new run")


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return flat


def check_tensors(where: str, tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], dtype: Any) -> None:
    """Raise CheckpointError that lists tensors that are missing, unexpected, misshapen or of another dtype."""
    problems = [f"missing {name}" for name in shapes if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in shapes]
    problems += [f"{name} has shape {tensors[name].shape}, expected {shape}"
                 for name, shape in shapes.items() if name in tensors and tensors[name].shape != shape]
    problems += [f"{name} is {tensors[name].dtype}, expected {dtype}"
                 for name in shapes if name in tensors and tensors[name].dtype != dtype]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{where} does not hold the tensors of this run: {'; '.join(problems[:5])}{more}; "
                              "take a copy of it, if there is one, or train again into another folder")
