"""The tiny suite in a folder, and a program that answers it or misbehaves."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no paths

from tiny_suite import write_suite

from minidiff.verify import load_suite


@pytest.fixture
def folder(tmp_path):
    """The folder of the tiny suite; a test may damage it."""
    write_suite(tmp_path / "suite")
    return tmp_path / "suite"


@pytest.fixture
def suite(folder):
    """The tiny suite."""
    return load_suite(folder)


@pytest.fixture(scope="session")
def program():
    """The words that start the program which answers the tiny suite; its next argument is how it misbehaves."""
    return [sys.executable, "-S", "-E", str(Path(__file__).parent / "tiny_program.py")]
