"""The walls that docs/architecture.md draws are where it draws them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "minidiff"
ROOMS = ("backend", "random", "autograd", "functional", "kernels", "nn", "optim", "diffusion", "metrics", "models", "data", "training",
         "report", "bench", "verify", "cli")
FORBIDDEN = {("diffusion", "nn"), ("diffusion", "models"), ("diffusion", "functional"), ("data", "models"),
             ("data", "nn"), ("data", "diffusion"),
             ("metrics", "functional"), ("metrics", "nn"), ("metrics", "diffusion")}
OUTSIDE = {"__init__", "__main__", "version"}      # the doors, and the number that everybody may read


def room_of(path: Path) -> str:
    """minidiff/nn/layers.py -> nn, minidiff/backend.py -> backend."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(path: Path) -> dict[str, int]:
    """The rooms that a file imports from, at its top or inside functions, with the line of the first import of each."""
    module = ["minidiff", *path.relative_to(PACKAGE).with_suffix("").parts]
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = module[:len(module) - node.level] if node.level else []
            names = [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            room = rest.partition(".")[0]
            if package == "minidiff" and room in ROOMS:
                found.setdefault(room, node.lineno)
    return found


def test_a_room_imports_only_from_rooms_above_it():
    """Read every import in the package, those inside functions too."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path)
        if room in OUTSIDE:
            continue
        for other, line in rooms_imported(path).items():
            if ROOMS.index(other) > ROOMS.index(room) or (room, other) in FORBIDDEN:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_every_room_is_known():
    """What lies in the package is a room of the list, and every room of the list is there."""
    found = {room_of(path) for path in PACKAGE.rglob("*.py")} - OUTSIDE
    assert found == set(ROOMS)


def test_the_page_lists_the_rooms_in_order():
    """The first column of the table in docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `minidiff/(\w+)(?:\.py|/)` \|", text, re.MULTILINE)) == ROOMS


@pytest.mark.parametrize("line, room", [
    ("import minidiff.nn", "nn"), ("from minidiff import nn as n", "nn"), ("from minidiff.nn.layers import Linear", "nn"),
    ("def f():\n    from ..nn import Linear", "nn"), ("from .. import nn", "nn"), ("from .lookup import extract", "diffusion"),
    ("import numpy", None), ("from minidiff import __version__", None),
])
def test_the_reader_of_imports_sees_every_way_to_write_one(line, room, monkeypatch):
    """A file that imports in this way, as if it lay in minidiff/diffusion."""
    monkeypatch.setattr(Path, "read_text", lambda self, **options: line)
    assert list(rooms_imported(PACKAGE / "diffusion" / "new.py")) == ([] if room is None else [room])
