"""Make `standin` a device of minidiff for the tests of this folder, and importable by them.

pytest's importlib mode adds no paths.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import standin

from minidiff import backend


@pytest.fixture(scope="module", autouse=True)
def standin_is_a_device():
    """Registered while a module of this folder runs, forgotten after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_by_type", dict(backend._by_type))
        patch.setattr(backend, "_by_name", dict(backend._by_name))
        backend.register(standin.LIBRARY)
        yield


@pytest.fixture
def transfers():
    """What has been copied from the stand-in to the host in this test."""
    standin.transfers.clear()
    return standin.transfers
