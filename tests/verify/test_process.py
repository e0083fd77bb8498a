"""A program at the other end of a pipe: whatever it does, the run goes on, each case says what happened, and no process is left."""

import contextlib
import os
import re
import subprocess
import time

import pytest

from minidiff.verify import Program, process, verify

REST = ["times/two", "times/zero-d", "powers/table"]


@pytest.fixture(autouse=True)
def processes(monkeypatch):
    """All processes that a test starts; at its end none is left, not even a zombie."""
    started = []

    class Watched(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(process.subprocess, "Popen", Watched)
    yield started
    assert all(one.returncode is not None for one in started), "not waited for"


def run(program, how, suite, timeout=20.0):
    """The report of a program, with its remarks."""
    with Program([*program, how], timeout) as running:
        report = verify(running, suite)
    return report, running.remarks


def test_a_program_answers_and_stops(program, suite, processes):
    """Each request is a line, each answer a line; the name is the program's own."""
    report, remarks = run(program, "right", suite)
    assert report.good and report.count("passed") == 4 and remarks == []
    assert report.implementation == "tiny (Python)" and len(processes) == 1


@pytest.mark.parametrize(("how", "says"), [
    ("crashes", "broke off: it ended with exit status 7 and gave no answer; its last words on stderr: out of paper"),
    ("is killed", "broke off: it was ended by SIGSEGV and gave no answer"),
    ("chats", "its answer 'loading weights...' is not a JSON object"),
    ("is binary", "is not a JSON object"),
    ("nests", "is not a JSON object"),
    ("miscounts", "its answer has seq '4', the request had 3"),
    ("is long-winded", "its answer is longer than 65536 bytes"),
    ("floods", "its answer 'y' is not a JSON object"),
    ("stops short", "in the middle of its answer"),
    ("closes", "it closed its output and gave no answer"),
])
def test_a_program_that_breaks_off_is_started_again(program, suite, processes, how, says):
    """One case is an error that says what happened; all others are answered, by a second process."""
    report, _ = run(program, how, suite)
    verdicts = {v.id: v for v in report.verdicts}
    assert verdicts["floor/halves"].status == "error" and says in verdicts["floor/halves"].message, verdicts["floor/halves"].message
    assert [verdicts[id].status for id in REST] == ["passed"] * 3 and len(processes) == 2


@pytest.mark.parametrize(("how", "status", "says"), [
    ("writes nothing", "error", "there is no file"), ("writes junk", "error", "is not in the safetensors format"),
    ("writes much", "error", "has 100,000,000 bytes"), ("writes bfloat16", "error", "holds the dtype 'BF16'; write F16, F32, F64"),
    ("skips", "skipped", "no floors here"), ("skips silently", "error", 'there is no "reason"'), ("fails", "error", "the floor is wet"),
    ("improvises", "error", "the status is 'fine'"),
])
def test_a_program_that_answers_badly_goes_on(program, suite, processes, how, status, says):
    """It is not started again: it still understands."""
    report, remarks = run(program, how, suite)
    verdicts = {v.id: v for v in report.verdicts}
    assert verdicts["floor/halves"].status == status and says in verdicts["floor/halves"].message, verdicts["floor/halves"].message
    assert [verdicts[id].status for id in REST] == ["passed"] * 3 and len(processes) == 1 and remarks == []


def test_a_program_that_hangs_is_ended_with_its_children(program, suite, capfd):
    """After the timeout; what it wrote to stderr is passed on."""
    start = time.perf_counter()
    report, _ = run(program, "hangs with a child", suite, timeout=1.5)
    assert time.perf_counter() - start < 15
    verdict = {v.id: v for v in report.verdicts}["floor/halves"]
    assert verdict.status == "error" and "no answer within 1.5 s (it must flush its output" in verdict.message
    assert report.count("passed") == 3
    child = int(re.search(r"child (\d+)", capfd.readouterr().err)[1])
    for _ in range(50):  # an orphan is cleared away by another process
        with contextlib.suppress(OSError, IndexError):
            if os.path.exists("/proc/self/stat") and open(f"/proc/{child}/stat").read().rsplit(")", 1)[1].split()[0] == "Z":
                return
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the child lives")


@pytest.mark.parametrize(("how", "says"), [
    ("never starts", "it ended with exit status 3 and gave no answer; its last words on stderr: no licence"),
    ("is old", "it speaks version '0' of the protocol; this is version 1"), ("is nameless", 'does not say {"implementation": {"name"'),
])
def test_a_program_that_never_starts_is_an_error_in_each_case(program, suite, how, says):
    report, remarks = run(program, how, suite)
    assert [v.status for v in report.verdicts] == ["error"] * 4 and all(says in v.message for v in report.verdicts) and remarks == []


def test_a_program_that_says_nothing_is_not_waited_for_again_and_again(program, suite, processes, monkeypatch):
    """It is given up after BREAKS times in a row."""
    monkeypatch.setattr(process, "BREAKS", 2)
    report, _ = run(program, "is silent", suite, timeout=0.3)
    assert ["no answer within 0.3 s" in v.message for v in report.verdicts] == [True, True, False, False]
    assert report.verdicts[3].message == "not asked: the program broke off 2 times in a row" and len(processes) == 2


def test_only_breaks_in_a_row_count(program, suite, monkeypatch):
    """A program that crashes in every second case is asked all of them."""
    monkeypatch.setattr(process, "BREAKS", 2)
    with Program([*program, "crashes"]) as running:
        report = verify(running, suite, [suite["floor/halves"], suite["times/two"]] * 3)
    assert [v.status for v in report.verdicts] == ["error", "passed"] * 3


@pytest.mark.parametrize(("how", "says"), [("stays", "did not exit within 0.3 s"), ("ends badly", 'ended with exit status 5 after "stop"')])
def test_a_program_that_does_not_stop_well_is_remarked(program, suite, monkeypatch, how, says):
    """And ended."""
    if how == "stays":
        monkeypatch.setattr(process, "GRACE", 0.3)
    report, remarks = run(program, how, suite)
    assert report.count("passed") == 4 and len(remarks) == 1 and says in remarks[0]


def test_a_program_that_is_not_there_is_said_so_at_once(suite, tmp_path):
    with pytest.raises(FileNotFoundError), Program([str(tmp_path / "nothing")]):
        pass
    (tmp_path / "plain.txt").write_text("not a program")
    with pytest.raises(PermissionError), Program([str(tmp_path / "plain.txt")]):
        pass


def test_a_program_that_vanishes_is_an_error(suite, tmp_path):
    """It cannot be started a second time."""
    script = tmp_path / "once"
    script.write_text("#!/bin/sh\nrm -- \"$0\"\n")
    script.chmod(0o755)
    with Program([str(script)]) as running:
        report = verify(running, suite)
    assert "ended with exit status 0 and gave no answer" in report.verdicts[0].message
    assert "it cannot be started again (No such file" in report.verdicts[1].message


def test_an_interrupted_run_leaves_no_process(program, suite):
    """Ctrl-C between two cases."""
    def interrupt(verdict):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Program([*program, "right"]) as running:
        verify(running, suite, progress=interrupt)
