"""`minidiff verify`: exit status 0 if all is well, 1 if something is wrong with the implementation, 2 if something is with the words."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from minidiff.cli import main

PORT = """
import numpy as np
OPERATIONS = {
    "times": lambda inputs, settings: np.float32(settings["factor"]) * inputs["x"],
    "floor": lambda inputs, settings: np.floor(inputs["x"]).astype(int),
}
WRONG = {**OPERATIONS, "floor": lambda inputs, settings: np.trunc(inputs["x"]).astype(int)}
NOTHING = {}
MISSPELLED = {"flor": OPERATIONS["floor"]}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, folder, monkeypatch):
    """A folder with a port in it; the tiny suite is the one that is found."""
    (tmp_path / "tiny_port.py").write_text(PORT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MINIDIFF_REFERENCE", str(folder))
    monkeypatch.delitem(sys.modules, "tiny_port", raising=False)
    return tmp_path


def verify(*words):
    """The exit status."""
    return main(["verify", *map(str, words)])


@pytest.mark.parametrize(("words", "status"), [
    (["--python", "tiny_port:OPERATIONS"], 0), (["--python", "tiny_port:WRONG"], 1), (["--python", "tiny_port:NOTHING"], 1),
    (["--python", "tiny_port:WRONG", "--cases", "times"], 0), (["--python", "tiny_port:WRONG", "--expected-failures", "known"], 0),
    (["--python", "tiny_port:OPERATIONS", "--expected-failures", "known"], 1),
])
def test_the_exit_status_says_how_it_went(here, words, status, capsys):
    (here / "known").write_text("# what we know\nfloor/halves   # truncates\n\n")
    assert verify("run", *words) == status
    assert "reference suite v1" in capsys.readouterr().out


def test_a_program_is_run(program, capsys):
    """With words of its own that look like options of ours."""
    assert verify("run", "--timeout", "20", "--", *program, "right") == 0
    assert "tiny (Python), judged as float32, reference suite v1: 4 passed, 0 failed" in capsys.readouterr().out
    assert verify("run", "--cases", "floor/*", "--", *program, "crashes") == 1
    assert "out of paper" in " ".join(capsys.readouterr().out.split())
    assert verify("run", "--", *program, "ends badly") == 0
    assert 'remark: the program ended with exit status 5 after "stop"' in capsys.readouterr().out


def test_tasks_go_out_and_answers_come_in(here, program, capsys):
    assert verify("export", "tasks", "--cases", "times", "--cases", "powers/*") == 0
    assert "3 tasks in tasks/tasks.jsonl" in capsys.readouterr().out
    assert verify("check", "tasks") == 1
    subprocess.run([*program, "told", "tasks"], check=True, timeout=60, cwd=here)
    assert verify("check", "tasks") == 0
    assert "3 passed" in capsys.readouterr().out


def test_reports_are_written_over_old_ones(here):
    """JSON, JUnit and the badge, with any exit status."""
    files = ("--json", "r.json", "--junit", "r.xml", "--badge", "r.svg")
    for _ in range(2):
        assert verify("run", "--python", "tiny_port:WRONG", "--precision", "float16", *files) == 1
    assert json.loads((here / "r.json").read_text())["precision"] == "float16"
    assert ElementTree.parse(here / "r.xml").getroot().tag == "testsuites"
    assert "2 of 3 pass, 1 skipped" in (here / "r.svg").read_text()
    assert sorted(path.name for path in here.iterdir() if path.name.startswith(("r.", "."))) == ["r.json", "r.svg", "r.xml"]


def test_a_damaged_suite_is_judged_as_far_as_it_goes_and_is_bad_input(folder, capsys):
    (folder / "cases" / "times" / "two.safetensors").write_bytes(b"")
    assert verify("run", "--python", "tiny_port:OPERATIONS") == 2
    assert "DAMAGED times/two" in capsys.readouterr().out


def test_cases_are_listed_and_shown(capsys):
    assert verify("list", "--cases", "times") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].split(None, 1) == ["times/two", "sizes 2 and 3, a cotangent without symmetry"]
    assert verify("show", "floor/halves") == 0
    assert "your floor truncates" in capsys.readouterr().out


WRONG = ["run", "--python", "tiny_port:WRONG"]


@pytest.mark.parametrize(("words", "says"), [
    ([], "COMMAND"), (["run"], "give one of"), ([*WRONG, "--", "x"], "give one of"), ([*WRONG, "--adapter", "torch"], "give one of"),
    ([*WRONG, "--dtype", "float64"], "belong to --adapter"), ([*WRONG, "--timeout", "3"], "--timeout belongs to a program"),
    (["run", "--timeout", "0", "--", "x"], "--timeout"), (["run", "--", "./nothing-here"], "nothing-here"),
    (["run", "--adapter", "abacus"], "choose from minidiff"), (["run", "--adapter", "minidiff", "--dtype", "float7"], "float7"),
    (["run", "--adapter", "minidiff", "--device", "abacus"], "abacus"),
    (["run", "--python", "tiny_port:MISSPELLED"], "no operation of the suite is called 'flor' (nearest: floor)"),
    (["run", "--python", "nowhere:X"], "ModuleNotFoundError"), (["run", "--python", "tiny_port:X"], "AttributeError"),
    ([*WRONG, "--cases", "conv"], "no case matches 'conv'"), ([*WRONG, "--precision", "int4"], "choose from float32"),
    ([*WRONG, "--expected-failures", "bad"], "no case 'floor/halfs' in this suite; nearest: floor/halves"),
    ([*WRONG, "--expected-failures", "none"], "none"), ([*WRONG, "--json", "no/r.json"], "there is no folder no"),
    ([*WRONG, "--badge", "."], ".: is a folder"), (["show", "times/too"], "nearest: times/two"),
    (["list", "--cases", "conv"], "no case matches"), (["export", "new", "--cases", "conv"], "no case matches"),
    (["list", "times"], "unrecognized arguments: times"),
    (["check", "."], "there is no suite.json"), (["export", "."], "exists already"),
    (["list", "--reference", "nowhere"], "no reference suite in nowhere"),
])
def test_bad_words_are_refused_on_one_line(here, words, says, capsys):
    (here / "bad").write_text("floor/halfs\n")
    before = sorted(here.rglob("*"))
    assert verify(*words) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("minidiff: error: ") and len(captured.err.splitlines()) == 1
    assert [path for path in sorted(here.rglob("*")) if "__pycache__" not in path.parts] == before and captured.out == ""
