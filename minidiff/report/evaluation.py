"""The figures of an evaluation: as a table for people, and in a folder as JSON with pictures."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from minidiff.metrics import Estimate
from minidiff.training.evaluation import Table

from .files import new_folder, write_new
from .pictures import save_png


def table_text(table: Table) -> str:
    """A line for each figure, a column for everything that was judged; beside a value its interval."""
    columns = list(dict.fromkeys(name for values in table.values() for name in values))
    lines = [["", *columns], *([figure, *(_told(values.get(name)) for name in columns)] for figure, values in table.items())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def _told(value: Estimate | float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, Estimate) else f"{value:.3g}"


def write_evaluation(folder: str | os.PathLike, about: Mapping[str, Any], table: Table, pictures: Mapping[str, Image.Image]) -> Path:
    """A new folder with evaluation.json and the pictures, PNG, by name. about: what was evaluated and how, JSON values.

    It appears when all of it is there. Raises FileExistsError if it exists already.
    """
    figures = {figure: {name: asdict(value) if isinstance(value, Estimate) else value for name, value in values.items()}
               for figure, values in table.items()}
    with new_folder(folder) as part:
        content = json.dumps({**about, "figures": figures}, indent=2) + "\n"
        write_new(part / "evaluation.json", content.encode())
        for name, picture in pictures.items():
            save_png(picture, part / f"{name}.png")
    return Path(folder)
