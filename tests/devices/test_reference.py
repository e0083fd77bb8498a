"""The whole reference suite on another device: the stand-in for CuPy and, with a GPU, CuPy itself pass it as NumPy does."""

import pytest

pytest.importorskip("reference", reason="the reference suite is not in the installed package: run the tests in a checkout")

from minidiff.verify import load_suite, verify
from minidiff.verify.adapters import adapter


@pytest.mark.parametrize("device", ["standin", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_device_passes_the_suite(device):
    """In float32: no failure, no error, no skip."""
    report = verify(adapter("minidiff", device=device), load_suite())
    assert [(v.id, v.status, v.message, v.worst) for v in report.verdicts if v.status != "passed"] == []
