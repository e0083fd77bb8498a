"""`python -m reference.check` finds each thing that must not be in a suite; the protocol is what its schema and its page say."""

import json
import re
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import load, save
from tiny_suite import ARRAYS, write_manifest, write_suite

pytest.importorskip("reference", reason="the reference suite is not in the installed package: run the tests in a checkout")

from minidiff.verify import exchange, export
from reference import check

ROOT = Path(__file__).parents[2]


def test_the_tiny_suite_is_sound(folder, capsys):
    assert list(check.problems(folder)) == []
    assert check.main([str(folder)]) == 0 and capsys.readouterr().out == "4 cases, nothing wrong\n"


def test_the_released_suite_is_sound():
    assert list(check.problems()) == []


def entry(change, index=0):
    """Change an entry of the manifest."""
    def damage(folder, manifest):
        change(manifest["cases"][index])
        write_manifest(folder, manifest)

    return damage


def manifest(change):
    """Change the manifest."""
    def damage(folder, manifest):
        change(manifest)
        write_manifest(folder, manifest)

    return damage


def errata(*pairs):
    """Errata that say what replaces what."""
    return manifest(lambda m: m["errata"].extend({"id": old, "reason": "wrong", "replaced_by": new} for old, new in pairs))


def file(change):
    """Change a file of the suite behind the back of the sums."""
    return lambda folder, manifest: change(folder)


def arrays(**changed):
    """Other arrays in times/two, with all hashes right."""
    def damage(folder, manifest):
        path = folder / "cases/times/two.safetensors"
        data = save({name: np.ascontiguousarray(x) for name, x in {**load(path.read_bytes()), **changed}.items() if x is not None})
        path.write_bytes(data)
        manifest["cases"][0] |= {"sha256": check.hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        write_manifest(folder, manifest)

    return damage


RIGHT = ARRAYS["times/two"]["expected.output"]


@pytest.mark.parametrize(("damage", "says"), [
    (manifest(lambda m: m.update(count=5)), "count is 5, there are 4 cases"),
    (manifest(lambda m: m.update(extra=1)), "Additional properties are not allowed"),
    (manifest(lambda m: m.update(version=2)), "a suite of version 2"),
    (manifest(lambda m: m["notes"].update(spare=m["notes"]["late"])), "note spare: no case uses it"),
    (manifest(lambda m: m["notes"].pop("late")), "flag late: no note"),
    (manifest(lambda m: m["operations"].update(spare=m["operations"]["times"])), "operation spare: no case"),
    (manifest(lambda m: m["operations"]["times"].update(chapter="docs/verify.md#nowhere")), "docs/verify.md#nowhere is no heading"),
    (manifest(lambda m: m["operations"]["times"].update(chapter="docs/nowhere.md#x")), "docs/nowhere.md#x is no heading"),
    (manifest(lambda m: m["operations"].pop("floor")), "floor/halves: its operation is floor, which is not"),
    (manifest(lambda m: m["operations"]["times"]["settings"].clear()), "times/two: factor of its settings is not described"),
    (manifest(lambda m: m["operations"]["times"]["inputs"].clear()), "times/two: x of its inputs is not described"),
    (manifest(lambda m: m["operations"]["times"]["outputs"].clear()), "times/two: output of its outputs is not described"),
    (errata(("times/two", "times/zero-d")), "the case is still there"), (errata(("times/old", "times/new")), "times/new, which is no case"),
    (errata(("times/old", "times/two"), ("times/old", "times/zero-d")), "there are 2"),
    (errata(("times/old", "times/two")), "errata.json: missing"),
    (entry(lambda e: e.update(operation="floor")), "its operation is floor, which is not that of its id"),
    (entry(lambda e: e.update(flags=["transposed"])), "the flag wrong-factor of a mutant is not among its flags"),
    (entry(lambda e: e["certified"].update(distance=0.01)), "its oracle is 0.01 noise units away"),
    (entry(lambda e: e.pop("certified")), "'certified' is a required property"),
    (entry(lambda e: e["mutants"]["transposed"]["distance"].update(output=99)), "99 is less than the minimum of 100"),
    (entry(lambda e: e.update(bytes=200_001)), "200,001 bytes, more than 200,000"),
    (entry(lambda e: e.update(bytes=1)), "bytes, the manifest says 1"),
    (entry(lambda e: e["settings"].update(case="x")), "its request is not that of the protocol"),
    (entry(lambda e: e["settings"].update(factor="x" * 70000)), "its request is longer than the 65536 bytes"),
    (entry(lambda e: e["inputs"]["x"].update(shape=[3, 2])), "x is float32 [2, 3], not what the manifest says"),
    (entry(lambda e: e["outputs"]["output"].update(dtype="int64")), "output is float64 [2, 3], not what the manifest says"),
    (entry(lambda e: e["inputs"].pop("x")), "its inputs are cotangent, x; the manifest says cotangent"),
    (entry(lambda e: e["mutants"]["transposed"]["distance"].update(x=None)), "transposed has output; the manifest says output, x"),
    (arrays(**{"expected.output": RIGHT * np.nan}), "output is not finite"),
    (arrays(**{"mutant.three-halves.output": RIGHT * (1 + 1e-6)}), "the mutant three-halves is"),
    (arrays(**{"expected.output": None}), "its outputs are grad.x; the manifest says"),
    (file(lambda folder: (folder / "notes.txt").write_text("x")), "notes.txt: does not belong to the suite"),
    (file(lambda folder: (folder / "notes.txt").write_text("x")), "SHA256SUMS: notes.txt is not in it"),
    (file(lambda folder: (folder / "cases/floor/halves.json").write_text("{}")), "another hash than that of cases/floor/halves.json"),
    (file(lambda folder: (folder / "cases/floor/halves.json").write_text("{}")), "halves.json is damaged"),
    (file(lambda folder: (folder / "cases/floor/halves.json").unlink()), "cases/floor/halves.json: missing"),
    (file(lambda folder: (folder / "SHA256SUMS").unlink()), "SHA256SUMS: missing"),
    (file(lambda folder: (folder / "SHA256SUMS").write_text("")), "SHA256SUMS: manifest.json is not in it"),
    (file(lambda folder: (folder / "manifest.json").unlink()), "no reference suite"),
])
def test_each_thing_that_must_not_be_is_found(folder, damage, says, capsys):
    damage(folder, write_suite(folder))
    assert any(says in problem for problem in check.problems(folder)), list(check.problems(folder))
    assert check.main([str(folder)]) == 1 and says in capsys.readouterr().out


def test_a_large_file_may_say_why_and_the_suite_has_a_limit(folder, monkeypatch):
    manifest = write_suite(folder)
    largest = max(manifest["cases"], key=lambda e: e["bytes"])
    monkeypatch.setattr(check, "FILE_BYTES", largest["bytes"] - 1)
    assert [problem.partition(":")[0] for problem in check.problems(folder)] == [largest["id"]]
    largest["large"] = "a whole network"
    write_manifest(folder, manifest)
    assert list(check.problems(folder)) == []
    monkeypatch.setattr(check, "SUITE_BYTES", 1000)
    assert any("more than 1,000" in problem for problem in check.problems(folder))


# -- the protocol -----------------------------------------------------------------------------------------------------


def valid(message):
    """Whether the schema takes it."""
    return check.schema("protocol").is_valid(message)


def test_what_is_sent_and_what_the_tiny_program_says_has_the_form_of_the_schema(suite, tmp_path, program, monkeypatch):
    """Every line in both directions, of both ways."""
    from minidiff.verify import Program, process, verify

    lines = []
    ask, stop = process.Process.ask, process.Process._write
    monkeypatch.setattr(process.Process, "ask", lambda self, *a: lines.append(ask(self, *a)) or lines[-1])
    monkeypatch.setattr(process.Process, "_write", lambda self, text: lines.append(json.loads(text)) or stop(self, text))
    with Program([*program, "right"]) as running:
        assert verify(running, suite).good
    export(suite, suite, tmp_path / "tasks")
    lines += [json.loads(line) for line in (tmp_path / "tasks" / "tasks.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 5 + 1 + 4
    for line in lines:
        check.schema("protocol").validate(line)


def test_the_page_quotes_messages_that_the_schema_takes():
    """Every json block of reference/PROTOCOL.md, and the keys stand in the order in which they are sent."""
    blocks = re.findall(r"^```json\n(.*?)^```$", (ROOT / "reference" / "PROTOCOL.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 9
    for block in blocks:
        assert len(block.splitlines()) == 1
        check.schema("protocol").validate(json.loads(block))
    (quoted,) = [json.loads(block) for block in blocks if '"cmd": "run"' in block]
    task = exchange.Task("a/b", "a", {}, {}, {})
    assert list(quoted) == list(json.loads(exchange.request(task, 1, "x", "y")))
    page = (ROOT / "reference" / "PROTOCOL.md").read_text(encoding="utf-8")
    assert f"{exchange.LINE:,} bytes" in page


@pytest.mark.parametrize("message", [
    {}, {"cmd": "start"}, {"cmd": "start", "version": 2}, {"cmd": "go"}, {"seq": 1}, {"seq": 1, "status": "fine"},
    {"seq": 1, "status": "skipped"}, {"seq": 1, "status": "error", "context": " "}, {"seq": "1", "status": "done"}, {"status": "done"},
    {"version": 1}, {"version": 1, "implementation": {}}, [], "done", {"case": "x/y", "status": "skipped", "reason": 3},
])
def test_the_schema_refuses_what_is_no_message(message):
    assert not valid(message)


def test_the_schemas_are_schemas():
    for path in (ROOT / "reference" / "schema").glob("*.schema.json"):
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))
    assert "jsonschema" in sys.modules
