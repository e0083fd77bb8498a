"""Data and trained runs so small that commands take a second."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no paths

from tiny_sets import TINY, contents, write_colours, write_data

from minidiff.cli import main


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """An .npz file with three classes and two splits."""
    return write_data(tmp_path_factory.mktemp("data") / "tiny.npz")


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    """A run folder, two steps old. Not to be written to."""
    path = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["train", "--data", str(data), "--out", str(path), "--steps", "2", "--batch-size", "4"]) == 0
    return path


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """An .npz file with captions and two splits."""
    return write_colours(tmp_path_factory.mktemp("data") / "colours.npz")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A file with TINY."""
    path = tmp_path_factory.mktemp("settings") / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture(scope="session")
def clip(colours, tmp_path_factory):
    """The run folder of a CLIP, two steps old. Not to be written to."""
    path = tmp_path_factory.mktemp("runs") / "clip"
    assert main(["clip", "train", "--data", str(colours), "--out", str(path), "--steps", "2", "--batch-size", "4"]) == 0
    return path


@pytest.fixture(scope="session", params=["caption", "embedding"])
def reader(request, colours, clip, tiny, tmp_path_factory):
    """The run folder of a model that is told captions or embeddings, two steps old. Not to be written to."""
    path = tmp_path_factory.mktemp("runs") / request.param
    assert main(["train", "--data", str(colours), "--clip", str(clip), "--condition", request.param, "--config", str(tiny),
                 "--out", str(path), "--steps", "2"]) == 0
    return path


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command line that must be refused: status 2, one line on stderr that is returned, nothing written in tmp_path."""
    def run(*words):
        before = contents(tmp_path)
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        captured = capsys.readouterr()
        lines = captured.err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("minidiff: error: "), captured.err
        assert contents(tmp_path) == before
        return lines[0]

    return run
