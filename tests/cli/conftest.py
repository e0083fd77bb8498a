"""Data and a trained run so small that commands take a second."""

import numpy as np
import pytest

from minidiff.cli import main

CLASS_NAMES = ("Bag", "T-shirt/top", "Ankle boot")


def write_data(path):
    """30 training and 12 test images of 8 x 8 in three classes, noise of different brightness."""
    rng = np.random.default_rng(5)
    splits = {}
    for split, count in (("train", 30), ("test", 12)):
        labels = np.arange(count) % 3
        splits[f"{split}_images"] = (rng.integers(0, 80, (count, 8, 8)) + 80 * labels[:, None, None]).astype(np.uint8)
        splits[f"{split}_labels"] = labels
    np.savez(path, class_names=np.array(CLASS_NAMES), **splits)
    return path


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


def contents(folder):
    """Every file under a folder, hidden ones too: name -> bytes; folders -> None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


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
