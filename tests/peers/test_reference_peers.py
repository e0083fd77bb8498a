"""The libraries for which adapters ship, asked the reference suite: what passes and what fails is what docs/peers.md says.

Its tables name every case that fails; so a library that mends something, or a case that changes its mind, is noticed.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from minidiff.verify import SuiteError, load_suite, verify
from minidiff.verify.adapters import ADAPTERS, adapter

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

PAGE = (Path(__file__).parents[2] / "docs" / "peers.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| \[(?P<title>[^]]*)\]\(#\S+ \| (?P<version>[^|]*) \| (?P<passed>\d+) \| (?P<failed>\d+) \| (?P<error>\d+) \| "
                 r"(?P<skipped>\d+) \| `minidiff verify run --adapter (?P<adapter>\w+)` \|")
ROWS = {row["adapter"]: row for row in ROW.finditer(PAGE)}


def section(title):
    """The ids of cases in the tables below a heading."""
    text = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [id for line in text.splitlines() if line.startswith("| ") for id in re.findall(r"`(\w+/[^`\s]+)`", line.split("|")[2])]


@pytest.fixture(scope="module")
def suite():
    try:
        return load_suite()
    except SuiteError as error:
        pytest.skip(str(error))


def test_the_page_is_about_every_adapter_of_another_library():
    assert set(ROWS) == set(ADAPTERS) - {"minidiff"}


@pytest.mark.parametrize("name", ROWS)
def test_a_case_is_explained_once(name):
    ids = section(ROWS[name]["title"])
    assert len(ids) == len(set(ids)) == int(ROWS[name]["failed"]) + int(ROWS[name]["error"])


@pytest.mark.parametrize("name", ROWS)
def test_a_library_fails_where_the_page_says(name, suite):
    """Of the version that is on the page; another may have changed."""
    row = ROWS[name]
    try:
        library = adapter(name)
    except ImportError as error:
        pytest.skip(str(error))
    if not library.name.startswith(f"{row['version']} "):
        pytest.skip(f"docs/peers.md is about {row['version']}, this is {library.name}")
    expected = section(row["title"])
    report = verify(library, suite, expected_failures=expected)
    assert [(verdict.id, verdict.status, verdict.message) for verdict in report.unexpected] == []
    assert {status: report.count(status) for status in ("passed", "failed", "error", "skipped")} == {
        status: int(row[status]) for status in ("passed", "failed", "error", "skipped")}


def test_pytorch_is_asked_without_a_warning():
    """In a process of its own, because PyTorch gives some of its warnings only once."""
    pytest.importorskip("torch")
    code = ("from minidiff.verify import load_suite, verify\nfrom minidiff.verify.adapters import adapter\nsuite = load_suite()\n"
            "assert verify(adapter('torch'), suite, suite.matching(['kl_div', 'conv1d', 'conv2d', 'conv3d'])).good")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_walk_with_a_network_is_skipped_without_diffusers(suite, monkeypatch):
    """k-diffusion's samplers walk with diffusers' U-Net, for they bring none."""
    try:
        library = adapter("k_diffusion")
    except ImportError as error:
        pytest.skip(str(error))
    monkeypatch.setitem(sys.modules, "minidiff.verify.adapters.diffusers.networks", None)
    (verdict,) = verify(library, suite, [suite["heun/unet"]]).verdicts
    assert (verdict.status, verdict.message) == ("skipped", "PyTorch alone has no U-Net: install diffusers")
