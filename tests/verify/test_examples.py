"""The programs in C and JavaScript that come with the suite join in both ways: nothing that they answer is wrong."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("reference", reason="the examples are not in the installed package: run the tests in a checkout")

from minidiff.verify import check, export, load_suite, verify
from minidiff.verify.process import Program

EXAMPLES = Path(__file__).parents[2] / "reference" / "examples"
COMPILER = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SUITE = load_suite()


@pytest.fixture(scope="module")
def in_c(tmp_path_factory):
    """The example in C, compiled as its first lines say, without a warning."""
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("c") / "answer"
    source = EXAMPLES / "c" / "answer.c"
    subprocess.run([COMPILER, "-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-o", program, source, "-lm"], check=True)
    return [str(program)]


@pytest.fixture(scope="module")
def in_javascript():
    """The example in JavaScript."""
    if shutil.which("node") is None:
        pytest.skip("needs Node")
    return ["node", str(EXAMPLES / "javascript" / "answer.mjs")]


@pytest.mark.parametrize("language, operations", [
    ("in_c", {"conv2d", "ddim", "group_norm", "linear", "silu"}),
    ("in_javascript", {"conv2d", "ddim", "group_norm", "relu", "silu", "softmax"}),
])
@pytest.mark.parametrize("way", ["process", "files"])
def test_an_example_answers_rightly_in_both_ways(language, operations, way, request, tmp_path):
    """No failure, no error; it answers some cases of each of its operations."""
    command = request.getfixturevalue(language)
    if way == "process":
        with Program(command) as program:
            report = verify(program, SUITE)
    else:
        folder = tmp_path / "tasks"
        export(SUITE, SUITE, folder)
        subprocess.run([*command, folder], check=True)
        report = check(folder, SUITE)
    assert [(v.id, v.status, v.message, v.worst) for v in report.verdicts if v.status not in ("passed", "skipped")] == []
    assert {v.operation for v in report.verdicts if v.status == "passed"} == operations
    assert report.count("passed") >= 3 * len(operations)
