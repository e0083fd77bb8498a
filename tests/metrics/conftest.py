"""What the tests of the metrics share: fresh random numbers, and this folder's module of point sets on the path."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no paths


@pytest.fixture
def rng():
    """Fresh random numbers in every run."""
    return np.random.default_rng()
