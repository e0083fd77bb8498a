"""How a task becomes a line and a file, and an answer becomes arrays again: what the ways through files and through a process share.

reference/PROTOCOL.md specifies it. Nothing that comes in is believed: whatever is wrong with it ends as `NoAnswer`, which says what.
Read `files`, then `process`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .implementation import NoAnswer, Unsupported
from .suite import Task, arrays_from_safetensors

PROTOCOL = 1
"""The version of the requests and answers."""

LINE = 2**16
"""Bytes that a line may have, in both directions."""


def line(message: Mapping[str, Any]) -> str:
    """A message as one line of ASCII, its keys in the order given. Raises ValueError if it is longer than LINE."""
    text = json.dumps(message) + "\n"
    if len(text) > LINE:
        raise ValueError(f"a message of {len(text)} bytes; the protocol allows {LINE}")
    return text


def request(task: Task, number: int, inputs: str, outputs: str) -> str:
    """The line that asks for a task. inputs, outputs: the paths of its files.

    The keys that every request has come first, so that whoever searches for the first `"case":` cannot find a setting of that name.
    """
    shapes = {name: list(shape) for name, (shape, _) in task.outputs.items()}
    return line({"cmd": "run", "seq": number, "case": task.id, "operation": task.operation, "inputs": inputs, "outputs": outputs,
                 "gradients": list(task.gradients), "settings": task.settings, "shapes": shapes})


def write_inputs(task: Task, path: Path) -> None:
    """The arrays of a task as a safetensors file."""
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save({name: np.asarray(values, order="C") for name, values in task.inputs.items()}))


def answer_in(text: bytes | str) -> dict[str, Any]:
    """The JSON object on a line. Raises NoAnswer for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise NoAnswer(f"{shortened(text)} is not a JSON object")
    return found


def shortened(text: Any, size: int = 120) -> str:
    """The beginning of a text from outside, quoted, on one line."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    text = text.rstrip("\n")
    return repr(text if len(text) <= size else text[:size] + "...")


def settle(answer: Mapping[str, Any]) -> None:
    """What an answer says of itself. Raises Unsupported if it is "skipped", NoAnswer if it is "error" or none of these."""
    status = answer.get("status")
    if status == "done":
        return
    needed = {"skipped": "reason", "error": "context"}.get(status) if isinstance(status, str) else None
    if needed is None:
        raise NoAnswer(f"the status is {shortened(status)}; expected 'done', 'skipped' or 'error'")
    told = answer.get(needed)
    if not isinstance(told, str) or not told.strip():
        raise NoAnswer(f"the status is '{status}', but there is no \"{needed}\"")
    raise (Unsupported if status == "skipped" else NoAnswer)(told.strip()[:2000])


def read_outputs(path: Path, task: Task) -> dict[str, np.ndarray]:
    """The arrays of an answer's file. Raises NoAnswer if it is missing, malformed, or far larger than what was asked for."""
    most = 2**20 + 16 * sum(math.prod(shape) for shape, _ in task.outputs.values())
    if not path.is_file():
        raise NoAnswer(f"there is no file {path}")
    try:
        size = path.stat().st_size
        if size > most:
            raise NoAnswer(f"the file {path} has {size:,} bytes; what was asked for needs at most {most:,}")
        data = path.read_bytes()
    except OSError as error:
        raise NoAnswer(f"the file {path} cannot be read ({error.strerror})") from error
    try:
        return arrays_from_safetensors(data)
    except KeyError as error:
        raise NoAnswer(f"the file {path} holds the dtype {error}; write F16, F32, F64, or integers") from error
    except Exception as error:  # of several kinds, each a reason not to be a safetensors file
        raise NoAnswer(f"the file {path} is not in the safetensors format ({error})") from error
