"""Tasks out, answers in: every bad answer is named, and none passes."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from tiny_suite import COTANGENT, X, write_manifest

from minidiff.verify import Task, check, export, load_suite
from minidiff.verify.exchange import write_inputs

IDS = ["times/two", "times/zero-d", "floor/halves", "powers/table"]


@pytest.fixture
def tasks(suite, tmp_path):
    """The folder of the exported tiny suite."""
    export(suite, suite, tmp_path / "tasks")
    return tmp_path / "tasks"


@pytest.fixture
def answered(tasks, program):
    """The same with all answers, and answers.jsonl."""
    subprocess.run([*program, "told", str(tasks)], check=True, timeout=60)
    return tasks


def verdicts(folder, suite):
    """id -> (status, message) of those that did not pass."""
    return {v.id: (v.status, v.message) for v in check(folder, suite).verdicts if v.status != "passed"}


def test_the_questions_are_there_and_the_answers_are_not(tasks):
    """Requests as in the protocol, with relative paths; inputs bit for bit; no expected value anywhere."""
    lines = [json.loads(line) for line in (tasks / "tasks.jsonl").read_text(encoding="ascii").splitlines()]
    assert [line["case"] for line in lines] == IDS and [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert lines[0] == {
        "cmd": "run", "seq": 1, "case": "times/two", "operation": "times", "inputs": "inputs/times/two.safetensors",
        "outputs": "outputs/times/two.safetensors", "gradients": ["x"], "settings": {"factor": 2.0},
        "shapes": {"output": [2, 3], "grad.x": [2, 3]}}
    inputs = load((tasks / lines[0]["inputs"]).read_bytes())
    assert inputs.keys() == {"x", "cotangent"} and (inputs["x"] == X).all() and (inputs["cotangent"] == COTANGENT).all()
    zero = load((tasks / lines[1]["inputs"]).read_bytes())["x"]
    assert zero.shape == () and zero == 3
    assert all((tasks / line["outputs"]).parent.is_dir() and not (tasks / line["outputs"]).exists() for line in lines)


@pytest.mark.parametrize("how", ["told", "untold"])
def test_a_program_without_numpy_answers_all_of_it(tasks, suite, program, how):
    """With and without answers.jsonl."""
    subprocess.run([*program, how, str(tasks)], check=True, timeout=60)
    assert (tasks / "answers.jsonl").exists() == (how == "told")
    report = check(tasks, suite)
    assert report.good and report.count("passed") == 4


def test_without_answers_each_task_is_an_error(tasks, suite):
    assert {id: status for id, (status, _) in verdicts(tasks, suite).items()} == dict.fromkeys(IDS, "error")
    assert "there is no file" in verdicts(tasks, suite)["times/two"][1]


def test_some_of_the_cases_can_be_exported(suite, tmp_path):
    export(suite, suite.matching(["floor"]), tmp_path / "some")
    assert len((tmp_path / "some" / "tasks.jsonl").read_text().splitlines()) == 1
    assert list(verdicts(tmp_path / "some", suite)) == ["floor/halves"]


def junk(text):
    """Write a text in the place of the output of times/two."""
    return lambda folder: (folder / "outputs" / "times" / "two.safetensors").write_bytes(text)


def outputs(**arrays):
    """Write these arrays in its place."""
    return junk(save({name.replace("__", "."): x for name, x in arrays.items()}))


def lines(change):
    """Change the lines of answers.jsonl."""
    def damage(folder):
        path = folder / "answers.jsonl"
        path.write_text("".join(line + "\n" for line in change(path.read_text().splitlines())))

    return damage


Y = 2 * X


@pytest.mark.parametrize(("damage", "id", "status", "says"), [
    (junk(b""), "times/two", "error", "two.safetensors is not in the safetensors format"),
    (junk(b"junk, and more of it"), "times/two", "error", "is not in the safetensors format"),
    (junk(save({"output": Y})[:-3]), "times/two", "error", "is not in the safetensors format"),
    (junk(bytes(2**21)), "times/two", "error", "has 2,097,152 bytes; what was asked for needs at most"),
    (outputs(), "times/two", "failed", "no output output, grad.x; got none"),
    (outputs(result=Y), "times/two", "failed", "unknown output result"),
    (outputs(output=Y.T.copy(), grad__x=Y), "times/two", "failed", "output has shape (3, 2), expected (2, 3)"),
    (outputs(output=Y.astype(int), grad__x=Y), "times/two", "failed", "output holds int64"),
    (outputs(output=Y > 0, grad__x=Y), "times/two", "failed", "output holds bool"),
    (outputs(output=Y * np.float32("nan"), grad__x=Y), "times/two", "failed", "output has NaN at (0, 0)"),
    (outputs(output=Y, grad__x=Y), "times/two", "failed", ""),
    (lambda folder: (folder / "outputs" / "times" / "two.safetensors").unlink(), "times/two", "error", "there is no file"),
    (lambda folder: shutil.rmtree(folder / "outputs"), "times/two", "error", "there is no file"),
    (lines(lambda x: x[1:]), "times/two", "error", "answers.jsonl has no answer for this case"),
    (lines(lambda x: [*x, x[0]]), "times/two", "error", "has 2 answers for this case"),
    (lines(lambda x: [x[0].replace("done", "splendid"), *x[1:]]), "times/two", "error", "the status is 'splendid'"),
    (lines(lambda x: ['{"case": "times/two", "status": "error", "context": "no paper"}', *x[1:]]), "times/two", "error", "no paper"),
    (lines(lambda x: ['{"case": "times/two", "status": "error"}', *x[1:]]), "times/two", "error", 'there is no "context"'),
    (lines(lambda x: ['{"case": "times/two", "status": "skipped", "reason": 7}', *x[1:]]), "times/two", "error", 'there is no "reason"'),
    (lines(lambda x: ['{"case": "times/two", "status": "skipped", "reason": "no"}', *x[1:]]), "times/two", "skipped", "no"),
    (lines(lambda x: [*x, "gibberish"]), "answers.jsonl:5", "error", "'gibberish' is not a JSON object"),
    (lines(lambda x: [*x, "[" * 100000]), "answers.jsonl:5", "error", "is not a JSON object"),
    (lines(lambda x: [*x, '{"status": "done"}']), "answers.jsonl:5", "error", 'has no "case"'),
    (lines(lambda x: [*x, '{"case": "times/three", "status": "done"}']), "answers.jsonl:5", "error",
     "an answer for 'times/three', which was not asked for"),
    (lambda folder: (folder / "outputs" / "times" / "three.safetensors").write_bytes(b""), "outputs/times/three.safetensors", "error",
     "an answer for a case that was not asked for"),
    (lambda folder: (folder / "outputs" / "times" / "two.npy").write_bytes(b""), "outputs/times/two.npy", "error", "not an answer"),
])
def test_every_bad_answer_is_named(answered, suite, damage, id, status, says):
    """One thing wrong at a time; whatever was asked besides still passes."""
    damage(answered)
    found = verdicts(answered, suite)
    assert found[id][0] == status and says in found[id][1], found
    if "rmtree" not in str(damage.__code__.co_names):
        assert found.keys() == {id}, found
    assert status == "skipped" or not check(answered, suite).good


def test_an_input_goes_out_as_it_reads_however_it_lies_in_memory(tmp_path):
    """safetensors writes the memory as it lies; a number without axes stays one."""
    inputs = {"x": X.T, "y": X[:, ::2], "z": X[::-1], "n": np.array(2.5, np.float32)}
    write_inputs(Task("a/b", "a", {}, inputs, {}), tmp_path / "x.safetensors")
    back = load((tmp_path / "x.safetensors").read_bytes())
    assert all(np.array_equal(back[name], x) and back[name].shape == x.shape for name, x in inputs.items())


def test_blank_lines_and_hidden_files_are_no_answers(answered, suite):
    lines(lambda x: [*x, "", "  "])(answered)
    (answered / "outputs" / ".hidden").write_text("")
    assert check(answered, suite).good


@pytest.mark.parametrize(("damage", "says"), [
    (lambda told: told.update(version=2), "tasks of version 2 of the suite, this is version 1"),
    (lambda told: told.update(manifest_sha256="0" * 64), "the tasks are of another suite"),
    (lambda told: told.pop("cases"), "damaged"), (lambda told: told.update(cases=["times/three"]), "damaged"),
    (lambda told: told.update(cases=[]), "damaged"), (lambda told: told.update(cases=[["times/two"]]), "damaged"),
    (lambda told: told.update(cases=["times/two"] * 2), "damaged"), (lambda told: told.update(cases="times/two"), "damaged"),
])
def test_answers_to_another_suite_are_refused(answered, suite, damage, says):
    told = json.loads((answered / "suite.json").read_text())
    damage(told)
    (answered / "suite.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=rf"suite\.json: {says}"):
        check(answered, suite)


@pytest.mark.parametrize("text", ["", "{", "7", "[]"])
def test_a_damaged_suite_json_is_refused(answered, suite, text):
    (answered / "suite.json").write_text(text)
    with pytest.raises(ValueError, match=r"suite\.json: damaged"):
        check(answered, suite)


def test_a_suite_that_changed_since_the_export_is_another(answered, folder):
    """By its manifest's hash, of which suite.json has a copy."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["cases"][0]["reason"] = "another"
    write_manifest(folder, manifest)
    with pytest.raises(ValueError, match="of another suite"):
        check(answered, load_suite(folder))
    told = json.loads((answered / "suite.json").read_text())
    assert told["manifest_sha256"] != hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_a_folder_that_was_not_exported_is_refused(suite, tmp_path):
    with pytest.raises(ValueError, match=r"there is no suite\.json"):
        check(tmp_path / "nowhere", suite)


def test_nothing_is_written_over_and_nothing_of_a_damaged_suite(suite, folder, tmp_path):
    """A folder with something in it is left alone; an empty one is taken."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(FileExistsError, match=f"{name}: exists already"):
            export(suite, suite, tmp_path / name)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["diary.txt"]
    (folder / "cases" / "times" / "two.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"times/two: .* is damaged"):
        export(load_suite(folder), load_suite(folder), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    export(suite, suite, tmp_path / "empty")
    assert (tmp_path / "empty" / "suite.json").is_file()


def test_the_tiny_program_stands_alone():
    """It is what another language would be: nothing but the standard library."""
    source = (Path(__file__).parent / "tiny_program.py").read_text()
    names = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert names <= sys.stdlib_module_names
