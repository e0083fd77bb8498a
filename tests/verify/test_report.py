"""Reports say what came of a run, to people and to machines; one case can be shown in full."""

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from tiny_suite import Right, X

import minidiff.verify.report as report_module
from minidiff.verify import NoAnswer, Report, Unsupported, as_badge, as_json, as_junit, as_text, load_suite, show, verify
from minidiff.verify.judge import Error, Verdict

WRONG = {
    "times/two": {"output": 1.5 * X, "grad.x": np.zeros((2, 3))}, "floor/halves": {"output": np.array([0, 0, 3])},
    "times/zero-d": Unsupported("no numbers"), "powers/table": NoAnswer("it fell \x00\x1b[31m over <&>\n twice \ufffe"),
}


@pytest.fixture
def wrong(suite):
    """One failed with a known mistake, one failed without, one skipped, one error."""
    return verify(Right(WRONG, "wrong <one>"), suite)


def test_the_text_has_a_table_and_each_failure_in_words(wrong, suite):
    """Counts, the worst error and where; the mistake and its note; what was skipped and why."""
    text = as_text(wrong, suite)
    rows = [line.split() for line in text.splitlines()[:5]]
    assert rows[0] == ["operation", "passed", "failed", "skipped", "error", "rms", "worst", "in", "noise", "units,", "at"]
    assert rows[1][:5] == ["times", "0", "1", "1", "0"] and rows[1][-3:] == ["times/two", "grad.x[1,", "1]"]
    assert rows[2][:7] == ["floor", "0", "1", "0", "0", "inf", "inf"] and text.splitlines()[2].endswith("floor/halves output[1]")
    assert rows[3] == ["powers", "0", "0", "0", "1"] and rows[4][:5] == ["all", "0", "2", "1", "1"]
    failed = text[text.index("FAILED times/two"):text.index("FAILED floor/halves")]
    for line in ("the case: sizes 2 and 3, a cotangent without symmetry",
                 "your product uses 3/2: 0 noise units from that, 8,443,045 from right",
                 "what it is: about wrong-factor", "what it does: effect of wrong-factor", "seen: seen wrong-factor",
                 "all of it: minidiff verify show times/two", "output: rms 8,443,045 noise units, right up to 4; worst element",
                 "at [1, 2], where it is -9.75 in the place of -13.0", "grad.x: rms"):
        assert line in " ".join(failed.split()), line
    floor = " ".join(text[text.index("FAILED floor/halves"):].split())
    assert "output: another value at [1], where it is 0 in the place of -1" in floor and "none of the known mistakes gives this" in floor
    assert "skipped 1: no numbers" in text and "ERROR powers/table" in text
    assert text.rstrip().endswith("reference suite v1: 0 passed, 2 failed, 1 skipped, 1 error, 0.0 s: 3 NOT AS THEY SHOULD BE")


def test_the_text_of_a_good_run_is_a_table_and_a_line(suite):
    text = as_text(verify(Right(), suite), suite)
    assert text.rstrip().endswith("GOOD") and len(text.splitlines()) == 7


def test_what_is_not_seen_in_the_table_is_said(suite, folder):
    """Gradients left out, expected failures and one that passed, damage, remarks, nothing judged."""
    functions = {"times": lambda inputs, settings: settings["factor"] * inputs["x"], "floor": lambda inputs, settings: inputs["x"]}
    report = verify(functions, suite, expected_failures=["floor/halves", "times/zero-d"])
    text = as_text(Report(report.implementation, "float32", report.verdicts, report.expected, ("it never exits",)), suite)
    for line in ("no gradients in 1 of the cases judged", "failed as expected 1", "remark: it never exits",
                 "PASSED, BUT EXPECTED TO FAIL times/zero-d", "skipped 1: functions has no powers"):
        assert line in text, line
    assert "FAILED floor/halves" not in text
    assert as_text(verify({}, suite), suite).rstrip().endswith("NOTHING WAS JUDGED")
    (folder / "cases" / "times" / "two.safetensors").write_bytes(b"")
    damaged = load_suite(folder)
    text = as_text(verify(Right(), damaged), damaged)
    assert "DAMAGED times/two" in text and "1 damaged" in text and "damaged" in text.splitlines()[0]


def test_an_answer_to_nothing_is_reported(suite):
    """Its id is no case: nothing is looked up."""
    report = Report("x", "float32", (Verdict("answers.jsonl:5", "(answers)", "error", "gibberish"),))
    for write in (as_text, as_json, as_junit, as_badge):
        assert write(report, suite)
    assert "ERROR answers.jsonl:5" in as_text(report, suite)


def test_the_json_has_everything_and_no_infinity(wrong, suite):
    told = json.loads(as_json(wrong, suite), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (told["implementation"], told["precision"], told["good"]) == ("wrong <one>", "float32", False)
    assert told["suite"] == {"version": 1, "manifest_sha256": suite.sha256}
    assert told["counts"] == {"passed": 0, "failed": 2, "skipped": 1, "error": 1, "damaged": 0}
    verdicts = {verdict["id"]: verdict for verdict in told["verdicts"]}
    assert verdicts["times/two"]["diagnosis"]["mutant"] == "three-halves" and verdicts["times/two"]["diagnosis"]["certain"]
    assert verdicts["times/two"]["errors"]["output"]["at"] == [1, 2] and verdicts["times/two"]["errors"]["output"]["got"] == -9.75
    assert verdicts["floor/halves"]["errors"]["output"]["rms"] is None and verdicts["floor/halves"]["diagnosis"] is None
    assert [verdict["as_expected"] for verdict in told["verdicts"]] == [False, True, False, False]


def test_junit_is_xml_whatever_a_program_wrote(wrong, suite):
    """Counts agree with the elements, and control characters are gone."""
    root = ElementTree.fromstring(as_junit(wrong, suite))
    assert root.tag == "testsuites" and root.get("name") == "wrong <one>"
    groups = {group.get("name"): group for group in root}
    assert list(groups) == ["times", "floor", "powers"]
    for group in root:
        assert int(group.get("tests")) == len(group)
        for kind, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(group.get(kind)) == len(group.findall(f"testcase/{element}"))
    (failure,) = groups["times"].findall("testcase/failure")
    assert failure.get("message").startswith("your product uses 3/2") and "about wrong-factor" in failure.text
    (error,) = groups["powers"].findall("testcase/error")
    assert "it fell ??[31m over <&>" in error.get("message") and error.text.startswith("ERROR powers/table")
    (skipped,) = groups["times"].findall("testcase/skipped")
    assert skipped.get("message") == "no numbers"


def test_junit_counts_what_was_expected_as_skipped_and_what_was_not_as_failed(suite):
    """A case that passed though it was expected to fail is a failure; so CI says the same as the exit status."""
    report = verify(Right({"times/two": WRONG["times/two"]}), suite, expected_failures=["times/two", "times/zero-d"])
    times = ElementTree.fromstring(as_junit(report, suite))[0]
    assert [child.tag for case in times for child in case] == ["skipped", "failure"]
    assert times[1][0].get("message").startswith("PASSED, BUT EXPECTED TO FAIL")


@pytest.mark.parametrize(("statuses", "text", "color"), [
    (["passed"] * 3, "3 of 3 pass", "#2e7d32"), (["passed", "failed", "error"], "1 of 3 pass", "#b3261e"),
    (["passed", "skipped", "skipped"], "1 of 1 pass, 2 skipped", "#2e7d32"), (["skipped"], "0 of 0 pass, 1 skipped", "#b3261e"),
])
def test_the_badge_is_an_svg_of_what_passed(suite, statuses, text, color):
    report = Report("x", "float32", tuple(Verdict(f"x/{i}", "x", status) for i, status in enumerate(statuses)))
    root = ElementTree.fromstring(as_badge(report, suite))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["minidiff reference v1", text] and color in as_badge(report, suite)
    width = sum(float(element.get("width")) for element in root.findall("{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}rect"))
    assert width == float(root.get("width"))


def test_the_badge_of_expected_failures_is_neither_red_nor_green(suite):
    report = verify(Right({"times/two": WRONG["times/two"]}), suite, expected_failures=["times/two"])
    assert "#b26a00" in as_badge(report, suite) and "3 of 4 pass" in as_badge(report, suite)


def test_the_worst_error_is_the_one_nearest_to_its_limit():
    """8 of 16 in one element is less than 3 of 4 in all, and 15 of 16 is more."""
    verdict = Verdict("x/y", "x", "passed", errors={"a": Error(1.0, 8.0), "b": Error(3.0, 4.0), "c": Error(0.0, 0.0)})
    assert verdict.worst[0] == "b"
    assert Verdict("x/y", "x", "passed", errors={**verdict.errors, "d": Error(1.0, 15.0)}).worst[0] == "d"
    assert not Error(math.nan, 0.0).right and not Error(0.0, math.inf).right and Error(4.0, 16.0).right


def test_a_case_is_shown_in_full(suite):
    """Everything that the issue of a porter may need, and small arrays in full."""
    text = show(suite["times/two"], suite)
    flat = " ".join(text.split())
    for piece in ("times/two", "sizes 2 and 3", "y = factor x", "derived in docs/verify.md#when-is-an-answer-right",
                  "factor = 2.0: the factor", "x float32 [2, 3]: (...)", "cotangent float32 [2, 3]", "[ 4. 5. -6.5]",
                  "output float64 [2, 3]: like x", "[ 8. 10. -13.]",
                  "grad.x float64 [2, 3]", "float32: rms error up to 9.5e-07, worst 7.6e-06", "bfloat16: rms error up to 0.062, worst 0.5",
                  "your product uses 3/2", "about wrong-factor", "effect of transposed",
                  "seen: seen transposed", "by hand; 0 float32 noise units away", "cases/times/two.safetensors",
                  suite["times/two"].entry["sha256"]):
        assert piece in flat, piece
    assert "every element is equal" in show(suite["floor/halves"], suite)
    table = " ".join(show(suite["powers/table"], suite).split())
    assert "in units of u times each element; float32 u = 5.96e-08" in table and "[1. 0.5 0.25 0.125]" in table
    assert "\ninputs" not in show(suite["powers/table"], suite), "no heading without anything below"


def test_an_equation_keeps_its_lines(suite):
    """And what they are indented by; a long one is broken, and indented further where it goes on."""
    long = " + ".join(f"x_{k}" for k in range(30))
    suite.manifest["operations"]["times"]["equation"] = f"first\n  second  line\n\ny = {long}"
    lines = show(suite["times/two"], suite).split("\nequation\n")[1].split("\n\nsettings")[0].splitlines()
    assert lines[:2] == ["  first", "    second line"] and lines[2].startswith("  y = x_0 + x_1 +") and lines[3].startswith("    x_")
    assert lines[-1] == "  derived in docs/verify.md#when-is-an-answer-right" and max(map(len, lines)) <= 110


def test_cases_of_an_operation_point_to_the_one_whose_mistake_is_known(suite):
    """The diagnosed one comes first; one that the suite cannot diagnose says where to look."""
    report = verify({"times": lambda inputs, settings: 0.75 * settings["factor"] * inputs["x"]}, suite)
    text = " ".join(as_text(report, suite).split())
    assert text.index("FAILED times/two") < text.index("FAILED times/zero-d")
    assert "perhaps, as in times/two: your product uses 3/2" in text


def test_cases_that_end_alike_are_told_together(suite, monkeypatch):
    """More than FEW of them: one entry with their number and ids, of many the first; FEW of them one by one."""
    broken = {operation: lambda inputs, settings: 1 / 0 for operation in ("times", "floor", "powers")}
    report = verify(broken, suite)
    monkeypatch.setattr(report_module, "FEW", 4)
    assert as_text(report, suite).count("ZeroDivisionError") == 4 and "ERROR times/two" in as_text(report, suite)
    monkeypatch.setattr(report_module, "FEW", 3)
    text = as_text(report, suite)
    assert text.count("ZeroDivisionError") == 1 and "ERROR times/two" not in text
    assert ("ERROR in 4 cases\n  ZeroDivisionError: division by zero\n"
            "  the cases: times/two, times/zero-d, floor/halves, powers/table\n") in text
    monkeypatch.setattr(report_module, "NAMED", 2)
    assert "  the cases: times/two, times/zero-d and 2 more, which --json has\n" in as_text(report, suite)
