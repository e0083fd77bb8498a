"""Files of a report: whole or not there, and never over another one."""

import os
from pathlib import Path

from minidiff.training.checkpoint import replace_file


def write_new(path: str | os.PathLike, content: bytes) -> None:
    """Write a new file. Raises FileExistsError if there is one already (it stays), OSError if it cannot be written."""
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists already, and nothing is overwritten; move it away, or choose another name")
    replace_file(path, content)


def free_name(path: str | os.PathLike) -> Path:
    """The path itself, or if there is something already, the first of path-2, path-3, ... where there is nothing."""
    path, number = Path(path), 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
