"""What all tests share: hypothesis without deadlines (shared machines are noisy), and skips that say what is missing."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # for `operations`; pytest's importlib mode adds no paths

settings.register_profile("minidiff", deadline=None, max_examples=50)
settings.load_profile("minidiff")


def _gpu_missing() -> str | None:
    """Why GPU tests cannot run here, or None if they can."""
    from minidiff import backend

    try:
        backend.get_library("cuda")
    except backend.DeviceError as error:
        return str(error)
    return None


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU or a peer library, with the reason."""
    if any(item.get_closest_marker("gpu") for item in items):
        reason = _gpu_missing()
        for item in items:
            if item.get_closest_marker("gpu") and reason:
                item.add_marker(pytest.mark.skip(reason=reason))
    if importlib.util.find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("peers"):
                item.add_marker(pytest.mark.skip(reason="needs PyTorch: pip install 'minidiff[peers]'"))
