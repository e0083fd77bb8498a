"""Files and folders of a report: whole or not there, and never over others."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minidiff.training.checkpoint import replace_file


def check_free(path: str | os.PathLike) -> None:
    """Raise FileExistsError if there is something already: to be asked before the work begins."""
    if Path(path).exists():
        raise FileExistsError(f"{path}: exists already, and nothing is overwritten; move it away, or choose another name")


def write_new(path: str | os.PathLike, content: bytes) -> None:
    """Write a new file. Raises FileExistsError if there is one already (it stays), OSError if it cannot be written."""
    path = Path(path)
    check_free(path)
    replace_file(path, content)


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder to write into; it gets its name when the `with` ends, and nothing is left of it if that fails. Raises as `write_new`."""
    path = Path(path)
    check_free(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def free_name(path: str | os.PathLike) -> Path:
    """The path itself, or if there is something already, the first of name-2, name-3, ... (name-2.png) where there is nothing."""
    path, number = Path(path), 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
