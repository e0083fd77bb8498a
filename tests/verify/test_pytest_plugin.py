"""The plugin: a test for each case."""

import subprocess
import sys

import pytest

PORT = """
import numpy as np
OPERATIONS = {
    "times": lambda inputs, settings: np.float32(settings["factor"]) * inputs["x"],
    "floor": lambda inputs, settings: np.trunc(inputs["x"]).astype(int),
}
MISSPELLED = {"flor": OPERATIONS["floor"]}
"""


@pytest.fixture
def run(tmp_path, folder):
    """Run pytest in a folder with a port and one test of its own; (exit status, what it printed)."""
    (tmp_path / "port").mkdir()
    (tmp_path / "port" / "tiny_port.py").write_text(PORT)
    (tmp_path / "port" / "test_own.py").write_text("def test_own(): pass\n")

    def run(*words, place="tiny_port:OPERATIONS"):
        ours = ["-p", "minidiff.verify.pytest_plugin", *([f"--minidiff-verify={place}"] if place else []), f"--minidiff-reference={folder}"]
        command = [sys.executable, "-m", "pytest", "-rs", "-v", "-p", "no:cacheprovider", *ours, *words]
        result = subprocess.run(command, cwd=tmp_path / "port", capture_output=True, text=True, timeout=120)
        return result.returncode, result.stdout + result.stderr

    return run


def test_each_case_is_a_test(run):
    """Beside those of the project; a failure says what the report says, a case that is not there is skipped."""
    status, text = run()
    assert status == 1 and "1 failed, 3 passed, 1 skipped" in text, text
    assert "minidiff-verify::floor/halves FAILED" in text and "minidiff-verify::times/two PASSED" in text
    assert "your floor truncates: 0 noise units from that" in text and "what it does: effect of truncation" in text
    assert "has no powers" in text and "Traceback" not in text


def test_cases_are_chosen_by_pattern_by_keyword_and_by_precision(run):
    status, text = run("--minidiff-cases=times/*", "--minidiff-cases=powers")
    assert status == 0 and "3 passed, 1 skipped" in text, text
    status, text = run("-k", "zero-d", "--minidiff-precision=float16")
    assert status == 0 and "1 passed, 4 deselected" in text, text


def test_without_its_option_nothing_is_added(run):
    status, text = run(place=None)
    assert status == 0 and "1 passed" in text and "minidiff-verify" not in text


@pytest.mark.parametrize(("words", "says"), [
    (["--minidiff-cases=conv"], "no case matches 'conv'"), (["--minidiff-precision=int4"], "invalid choice: 'int4'"),
    (["--minidiff-verify=nowhere:X"], "nowhere:X: ModuleNotFoundError"),
    (["--minidiff-verify=tiny_port:MISSPELLED"], "no operation of the suite is called 'flor' (nearest: floor)"),
])
def test_bad_words_are_refused(run, words, says):
    status, text = run(*words, place=None if "verify" in words[0] else "tiny_port:OPERATIONS")
    assert status == 4 and says in text, text


def test_a_damaged_case_fails(run, folder):
    (folder / "cases" / "times" / "two.safetensors").write_bytes(b"")
    status, text = run("-k", "two")
    assert status == 1 and "DAMAGED times/two" in text, text
