"""The suite on disk, believed only where it says what its hashes say; verdicts and diagnoses."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from tiny_suite import Right, right, write_manifest, write_suite

import minidiff.verify.suite as suite_module
from minidiff.verify import Diagnosis, Functions, SuiteError, Unsupported, distance, implementation_at, judge, load_suite, verify
from minidiff.verify.suite import cotangent_of, description


def verdict_on(suite, id, outputs, **options):
    """The verdict on outputs of a case, merged into the right ones; None takes one away."""
    merged = {**right(suite[id].task), **outputs}
    return judge(suite[id], {name: x for name, x in merged.items() if x is not None}, **options)


def test_the_right_answers_pass(suite):
    """Every case, in every precision."""
    for precision in ("float32", "tf32", "float16", "bfloat16"):
        report = verify(Right(), suite, precision=precision)
        assert report.good and report.count("passed") == len(suite) == 4


@pytest.mark.parametrize(("damage", "says"), [
    (lambda m: m.update(version=2), "a suite of version 2"), (lambda m: m.pop("version"), "not a manifest"),
    (lambda m: m.pop("notes"), "damaged"), (lambda m: m["cases"].append(m["cases"][0]), "times/two' is there twice"),
    (lambda m: m["cases"][0].update(id="../../x"), "is not the id of a case"),
    (lambda m: m["cases"][0].pop("outputs"), "the entry of times/two"),
    (lambda m: m["cases"].append(7), "is not the id of a case"), (lambda m: m["cases"][0].update(id=["x"]), "is not the id of a case"),
])
def test_a_damaged_manifest_is_refused(folder, damage, says):
    """Named with its file."""
    manifest = json.loads((folder / "manifest.json").read_text())
    damage(manifest)
    write_manifest(folder, manifest)
    with pytest.raises(ValueError, match=rf"manifest\.json.*{says}"):
        load_suite(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"', "\x00"])
def test_what_is_no_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest"):
        load_suite(folder)


def test_a_folder_without_a_suite_says_where_to_get_one(tmp_path):
    with pytest.raises(ValueError, match=r"no reference suite in .* unpack its archive"):
        load_suite(tmp_path)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x01"), lambda path: path.unlink()])
def test_a_damaged_vector_is_named_and_the_run_goes_on(folder, damage):
    """It counts as damaged even where a failure is expected."""
    damage(folder / "cases" / "times" / "two.safetensors")
    report = verify(Right(), load_suite(folder), expected_failures=["times/two"])
    (verdict,) = report.unexpected
    assert (verdict.id, verdict.status) == ("times/two", "damaged") and "two.safetensors" in verdict.message
    assert report.count("passed") == 3 and not report.good


@pytest.mark.parametrize(("name", "text"), [
    ("x", "its own"), ("x.weight", ""), ("parameters.a.b", "a family"), ("parameters", ""), ("parametersx", ""),
    ("gradient.0", "another"), ("y", ""),
])
def test_names_have_descriptions_of_their_own_or_of_their_family(name, text):
    assert description({"x": "its own", "parameters.NAME": "a family", "gradient.I": "another"}, name) == text


def test_unknown_cases_are_answered_with_near_ones_or_what_replaced_them(folder):
    manifest = write_suite(folder)
    manifest["errata"] = [{"id": "times/too", "reason": "it was wrong", "replaced_by": "times/two"}]
    write_manifest(folder, manifest)
    suite = load_suite(folder)
    with pytest.raises(ValueError, match=r"no case 'tiems/two'.*nearest: times/two"):
        suite["tiems/two"]
    with pytest.raises(ValueError, match="'times/too' was withdrawn: it was wrong; times/two is in its place"):
        verify(Right(), suite, expected_failures=["times/too"])
    with pytest.raises(ValueError, match="no case matches 'conv'"):
        suite.matching(["times", "conv"])
    assert [case.id for case in suite.matching(["times/z*", "floor"])] == ["times/zero-d", "floor/halves"]


X = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(("outputs", "says"), [
    ({"output": None}, "no output output; got grad.x"), ({"grad.x": X, "grad.y": X}, "unknown output grad.y; expected output, grad.x"),
    ({"output": X.T}, r"output has shape \(3, 2\), expected \(2, 3\)"), ({"output": X[0]}, r"output has shape \(3,\)"),
    ({"output": X.astype(int)}, "output holds int64, expected floating-point numbers"),
    ({"output": X.astype(complex)}, "output holds complex128"),
    ({"output": X > 1}, "output holds bool"), ({"output": X.astype(str)}, "output holds <U"),
    ({"output": np.where(X == 4, np.nan, X)}, r"output has NaN at \(1, 1\)"),
])
def test_the_form_of_an_answer_is_judged(suite, outputs, says):
    """Names, shapes, kinds of numbers, NaN: failed, with the reason."""
    verdict = verdict_on(suite, "times/two", outputs)
    assert verdict.status == "failed" and re.search(says, verdict.message), verdict.message


def test_integers_are_integers(suite):
    """Of any size, and not floats; one off is infinitely far."""
    assert verdict_on(suite, "floor/halves", {"output": np.array([0, -1, 2], np.int8)}).status == "passed"
    assert "expected integers" in verdict_on(suite, "floor/halves", {"output": np.array([0.0, -1, 2])}).message
    verdict = verdict_on(suite, "floor/halves", {"output": np.array([0, -1, 3])})
    assert verdict.status == "failed" and verdict.worst[1].rms == math.inf and verdict.worst[1].at == (2,)
    assert (verdict.worst[1].got, verdict.worst[1].expected) == (3, 2)


def test_a_cotangent_says_whose_it_is():
    names = ("cotangent", "cotangent.x", "cotangent.a.b", "cotangents", "x", "x.cotangent")
    assert [cotangent_of(name) for name in names] == ["output", "x", "a.b", None, None, None]


def test_gradients_may_be_left_out_all_or_none(suite):
    """And a case of gradients alone cannot pass without them."""
    case, answer = suite["times/two"], right(suite["times/two"].task)
    verdict = judge(case, {"output": answer["output"]})
    assert verdict.status == "passed" and verdict.missing == ("grad.x",)
    case.entry["outputs"]["grad.y"], case.expected["grad.y"] = case.entry["outputs"]["grad.x"], case.expected["grad.x"]
    assert judge(case, {"output": answer["output"]}).missing == ("grad.x", "grad.y")
    verdict = judge(case, answer)
    assert verdict.status == "failed" and verdict.message == "no output grad.y; got output, grad.x"
    del case.entry["outputs"]["output"]
    assert judge(case, {}).message == "no output grad.x, grad.y; got none"


def test_infinities_are_far(suite):
    for value in (math.inf, 1e300, -1e200):
        assert verdict_on(suite, "times/two", {"output": np.full((2, 3), value)}).status == "failed"


@pytest.mark.parametrize(("id", "outputs", "words"), [
    ("times/two", lambda x: {"output": 1.5 * x}, "your product uses 3/2: 0 noise units from that, 8,443,045 from right"),
    ("times/two", lambda x: {"output": 2 * x.T}, "your product is transposed: 0 noise units from that"),
    ("floor/halves", lambda x: {"output": np.trunc(x).astype(int)}, "your floor truncates: 0 noise units from that"),
    ("powers/table", lambda x: {"output": 0.5 ** np.arange(1, 5)}, "your table begins at 1: 0 noise units from that, 8,388,608 from right"),
    ("times/two", lambda x: {"output": 1.49 * x}, "nearest known mistake, but not it: your product uses 3/2"),
    ("times/two", lambda x: {"output": 3 * x}, ""),
])
def test_a_wrong_answer_is_compared_with_known_mistakes(suite, id, outputs, words):
    """Also where the mistake has another shape."""
    verdict = verdict_on(suite, id, outputs(suite[id].task.inputs.get("x")))
    assert verdict.status == "failed"
    assert str(verdict.diagnosis or "").startswith(words) and (verdict.diagnosis is None) == (words == "")


@pytest.mark.parametrize(("way", "said"), [(0.3, None), (0.74, None), (0.76, False), (0.98, False), (0.995, True), (1.0, True)])
def test_a_mistake_is_mentioned_from_three_times_nearer_on_and_certain_from_a_hundred(suite, way, said):
    """Part of the way from the right answer to a mutant's, all of it far beyond the limits: to 3/4 of the way nothing is said."""
    answer = suite["times/two"].task.inputs["x"].astype(float) * (2 - way / 2)  # right is 2 x, the mutant answers 3/2 x
    verdict = verdict_on(suite, "times/two", {"output": answer})
    assert verdict.status == "failed" and (verdict.diagnosis and verdict.diagnosis.certain) is said
    if way == 0.995:
        assert verdict.diagnosis.from_mutant > 1000, "only that right is further off makes it certain"


@pytest.mark.parametrize(("from_mutant", "from_right", "certain"), [
    (3.99, 20.0, True), (4.01, 20.0, False), (4.01, 400.0, False), (4.01, 402.0, True), (99.0, 10_000.0, True), (101.0, 10_000.0, False),
    (3.99, math.inf, True), (4.01, math.inf, False), (1e9, math.inf, False)])
def test_a_diagnosis_is_certain_within_the_limit_or_a_hundred_times_nearer_than_right(from_mutant, from_right, certain):
    """Where the right answer has another shape, and so is infinitely far, only the limit counts."""
    diagnosis = Diagnosis("m", "your code", "flag", from_mutant, from_right)
    assert diagnosis.certain == certain and str(diagnosis).startswith("your code: " if certain else "nearest known mistake, but not it")


def test_the_limits_are_in_noise_units(suite):
    """Just inside and just outside, for the whole and for one element, in two precisions."""
    expected, unit = suite["times/two"].expected["output"], 2.0 ** -22
    one = np.zeros((2, 3))
    one[1, 0] = 1
    for off, status in ((3.99 * unit, "passed"), (4.01 * unit, "failed")):
        assert verdict_on(suite, "times/two", {"output": expected + off}).status == status
    noise = {"kind": "measured", "float32": {"rms": 1.0, "worst": 1.0}}
    error = distance(np.where(np.arange(100) == 7, 17.0, 0.0), np.zeros(100), noise)
    assert error.rms == pytest.approx(1.7) and error.worst == 17 and error.at == (7,) and not error.right
    assert distance(np.where(np.arange(100) == 7, 15.9, 0.0), np.zeros(100), noise).right
    assert verdict_on(suite, "times/two", {"output": expected + 2.0 ** -8}).status == "failed"
    assert verdict_on(suite, "times/two", {"output": expected + 2.0 ** -8}, precision="float16").status == "passed"


def test_relative_noise_has_the_size_of_each_element(suite):
    expected = suite["powers/table"].expected["output"]
    assert distance(expected * (1 + 3 * 2.0 ** -24), expected, {"kind": "relative"}).rms == pytest.approx(3, rel=1e-6)
    assert distance(np.zeros(1), np.zeros(1), {"kind": "relative"}).right
    assert not distance(np.full(1, 1e-300), np.zeros(1), {"kind": "relative"}).right


def test_whatever_an_implementation_raises_the_run_goes_on(suite):
    wrong = {"times/two": ZeroDivisionError("why not"), "times/zero-d": SystemExit(3), "floor/halves": Unsupported("no floors"),
             "powers/table": {"output": object()}}
    report = verify(Right(wrong), suite)
    assert [(v.status, v.message) for v in report.verdicts] == [
        ("error", "ZeroDivisionError: why not"), ("error", "SystemExit: 3"), ("skipped", "no floors"),
        ("failed", "output has shape (), expected (4,)")]
    assert not report.good


def test_expected_failures(suite):
    """What fails as expected is good; what passes though expected to fail is not; a skip is neither."""
    wrong = {"times/two": {"output": np.zeros((2, 3))}, "floor/halves": Unsupported("no")}
    assert verify(Right(wrong), suite, expected_failures=["times/two", "floor/halves"]).good
    report = verify(Right(wrong), suite, expected_failures=["times/two", "times/zero-d"])
    assert [v.id for v in report.unexpected] == ["times/zero-d"] and not report.good
    assert not verify({}, suite).good, "nothing was judged"
    with pytest.raises(ValueError, match="precision"):
        verify({}, suite, precision="float8")


def test_functions_take_inputs_and_settings_by_name(suite):
    """A single output needs no name; what is not in the mapping is skipped."""
    report = verify({"times": lambda inputs, settings: settings["factor"] * inputs["x"]}, suite)
    assert [v.status for v in report.verdicts] == ["passed", "passed", "skipped", "skipped"]
    assert report.verdicts[2].message == "functions has no floor" and report.good


@pytest.mark.parametrize(("functions", "says"), [
    ({"tims": right, "floor": right}, r"functions: no operation of the suite is called 'tims' \(nearest: times\); "),
    ({"conv2d": right}, "is called 'conv2d'; "), ({"Floor": right, 7: right}, r"'Floor' \(nearest: floor\), 7; minidiff verify list has"),
])
def test_a_name_that_is_no_operation_is_refused_before_anything_is_asked(suite, functions, says):
    """It would be skipped in silence; so too where the mapping comes ready made."""
    for implementation in (functions, Functions(functions)):
        with pytest.raises(ValueError, match=says):
            verify(implementation, suite, progress=pytest.fail)


@pytest.mark.parametrize(("answer", "says"), [
    (None, "the function of times returned None; expected arrays; leave out gradients"),
    ({"output": None}, "returned None as output"), ({"output": X, "grad.x": None, "grad.y": None}, "returned None as grad.x, grad.y"),
])
def test_a_function_that_returns_nothing_is_an_error_of_its_cases(suite, answer, says):
    """Of each, by name; the others are judged."""
    report = verify({"times": lambda inputs, settings: answer, "floor": lambda inputs, settings: np.floor(inputs["x"]).astype(int)}, suite)
    verdicts = {v.id: v for v in report.verdicts}
    assert verdicts["times/two"].status == "error" and says in verdicts["times/two"].message and verdicts["floor/halves"].status == "passed"


@pytest.mark.parametrize("answer", [None, X, [X]])
def test_an_implementation_that_returns_no_mapping_is_an_error(suite, answer):
    careless = Right()
    careless.run = lambda task: answer
    for verdict in verify(careless, suite).verdicts:
        assert verdict.status == "error"
        assert verdict.message == f"run(task) returned {type(answer).__name__}; expected the outputs by name, a mapping"


@pytest.mark.parametrize(("place", "says"), [
    ("tiny_suite", "expected package.module:OBJECT"), (":x", "expected"), ("no_such_module_anywhere:x", "ModuleNotFoundError"),
    ("tiny_suite:nothing", "AttributeError"), ("tiny_suite:right", "neither a mapping"), ("tiny_suite:Right", "neither a mapping"),
])
def test_an_implementation_that_cannot_be_found_says_why(place, says):
    with pytest.raises(ValueError, match=says):
        implementation_at(place)


def test_an_implementation_is_found_in_the_current_folder(tmp_path, monkeypatch):
    """As `python -m` would; broken modules are named."""
    (tmp_path / "ported_here.py").write_text("class A:\n    name = 'a'\n    def run(self, task): ...\nO = {}\na = A()\n")
    (tmp_path / "broken_here.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert isinstance(implementation_at("ported_here:O"), Functions) and implementation_at("ported_here:a").name == "a"
    with pytest.raises(ValueError, match="broken_here:x: ZeroDivisionError"):
        implementation_at("broken_here:x")


def test_importing_it_costs_nothing():
    """`import minidiff` leaves it alone, and it adds no library to what `import minidiff` has loaded."""
    code = ("import sys, minidiff\nassert not any(name.startswith('minidiff.verify') for name in sys.modules)\nbefore = set(sys.modules)\n"
            "import minidiff.verify\nprint(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["minidiff"], result.stdout + result.stderr


def test_the_suite_is_found_in_the_current_folder(tmp_path, monkeypatch):
    """With an installed package, which has none beside it; the environment and an argument come first."""
    monkeypatch.setattr(suite_module, "__file__", str(tmp_path / "site-packages" / "minidiff" / "verify" / "suite.py"))
    monkeypatch.delenv("MINIDIFF_REFERENCE", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match=r"site-packages.reference or .*reference: expected manifest\.json"):
        load_suite()
    (tmp_path / "reference" / "v1").mkdir(parents=True)
    write_suite(tmp_path / "reference" / "v1")
    assert len(load_suite()) == 4
    with pytest.raises(SuiteError, match="no reference suite in elsewhere"):
        load_suite("elsewhere")
