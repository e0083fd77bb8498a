"""A report as text for people, as JSON and JUnit XML for machines, and as a badge.

Read `show` next, which prints one case in full.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from .judge import LIMITS, Error, Verdict, units
from .runner import Report
from .suite import Suite

REASONS = 8
"""Why cases were skipped: the text names the most common reasons."""

STATUSES = ("passed", "failed", "skipped", "error", "damaged")
WIDTH = 110
FEW = 5
"""Cases that end with the same error are told one by one up to so many, else together."""
NAMED = 20
"""Of cases that are told together the text names so many."""


# -- text -------------------------------------------------------------------------------------------------------------


def as_text(report: Report, suite: Suite) -> str:
    """The table, what is wrong one by one, what was left out, and a line that sums up."""
    alike = _breaking_alike(report.unexpected)
    one_by_one = [verdict for verdict in report.unexpected if verdict.status != "error" or verdict.message not in alike]
    wrong = [*(details(verdict, report, suite) for verdict in _diagnosed_first(one_by_one)), *(_together(*each) for each in alike.items())]
    pieces = ["\n".join(_table(report)), *wrong, "\n".join(_left_out(report)), _summary(report, suite)]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _diagnosed_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Of each operation the cases whose mistake is known first."""
    operations = list(dict.fromkeys(verdict.operation for verdict in verdicts))
    return sorted(verdicts, key=lambda verdict: (operations.index(verdict.operation), not _known(verdict)))


def _known(verdict: Verdict) -> bool:
    return verdict.diagnosis is not None and verdict.diagnosis.certain


def _breaking_alike(verdicts: Sequence[Verdict]) -> dict[str, list[str]]:
    """Messages that more than FEW cases end with, and their ids."""
    ids: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.status == "error":
            ids.setdefault(verdict.message, []).append(verdict.id)
    return {message: found for message, found in ids.items() if len(found) > FEW}


def _together(message: str, ids: Sequence[str]) -> str:
    """All the cases that end with the same message."""
    more = f" and {len(ids) - NAMED} more, which --json has" if len(ids) > NAMED else ""
    return "\n".join([f"ERROR in {len(ids)} cases", *_wrapped("", message), *_wrapped("the cases: ", ", ".join(ids[:NAMED]) + more)])


def _table(report: Report) -> list[str]:
    """A row for each operation: how many of each status, the worst error and where it is."""
    statuses = [status for status in STATUSES if status != "damaged" or report.count(status)]
    rows = [["operation", *statuses, "rms", "worst", "in noise units, at"]]
    operations = list(dict.fromkeys(verdict.operation for verdict in report.verdicts))
    for operation in operations:
        verdicts = [verdict for verdict in report.verdicts if verdict.operation == operation]
        rows.append([operation, *_counts(verdicts, statuses), *_worst(verdicts)])
    rows.append(["all", *_counts(report.verdicts, statuses), *_worst(report.verdicts)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) if i in (0, len(row) - 1) else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
                      ).rstrip() for row in rows]


def _counts(verdicts: Iterable[Verdict], statuses: Iterable[str]) -> list[str]:
    found = Counter(verdict.status for verdict in verdicts)
    return [str(found[status]) for status in statuses]


def _worst(verdicts: Iterable[Verdict]) -> list[str]:
    judged = [(verdict, *verdict.worst) for verdict in verdicts if verdict.worst is not None]
    if not judged:
        return ["", "", ""]
    verdict, output, error = max(judged, key=lambda item: item[2].size)
    return [units(error.rms), units(error.worst), f"{verdict.id} {place(output, error)}"]


def place(output: str, error: Error) -> str:
    """Where an error is largest: output[0, 2, 1]."""
    return f"{output}[{', '.join(map(str, error.at))}]" if error.at else output


def details(verdict: Verdict, report: Report, suite: Suite) -> str:
    """All about one case that is not as it should be, on a few lines."""
    lines = [f"{_heading(verdict, report)} {verdict.id}"]
    if verdict.id in suite:
        lines += _wrapped("the case: ", suite[verdict.id].entry["reason"])
    if verdict.message:
        lines += _wrapped("", verdict.message)
    for output, error in (verdict.errors or {}).items():
        if not error.right:
            lines += _wrapped(f"{output}: ", _far(error))
    if verdict.status == "failed":
        lines += _diagnosed(verdict, report, suite)
    if verdict.id in suite and verdict.status != "damaged":
        lines += _wrapped("all of it: ", f"minidiff verify show {verdict.id}")
    return "\n".join(lines)


def _heading(verdict: Verdict, report: Report) -> str:
    return "PASSED, BUT EXPECTED TO FAIL" if verdict.status == "passed" and verdict.id in report.expected else verdict.status.upper()


def _far(error: Error) -> str:
    """How far, in words; integers have no noise."""
    where = f"at [{', '.join(map(str, error.at))}], where it is" if error.at else "where it is"
    values = f"{error.got!r} in the place of {error.expected!r}"
    if math.isinf(error.rms):
        return f"another value {where} {values}"
    return (f"rms {units(error.rms)} noise units, right up to {LIMITS['rms']:g}; worst element {units(error.worst)}, right up to "
            f"{LIMITS['worst']:g}, {where} {values}")


def _diagnosed(verdict: Verdict, report: Report, suite: Suite) -> list[str]:
    """The mistake in words, and if it is just that one, its note; else what another case of the operation says."""
    if not _known(verdict):
        others: dict[str, str] = {}
        for other in report.verdicts:
            if other.operation == verdict.operation and _known(other):
                others.setdefault(other.diagnosis.words, other.id)
        if others:
            return _wrapped("", "; ".join(f"perhaps, as in {id}: {words}" for words, id in others.items()))
    if verdict.diagnosis is None or (verdict.message and not _known(verdict)):
        return _wrapped("", "none of the known mistakes gives this") if suite[verdict.id].entry["mutants"] and not verdict.message else []
    lines = _wrapped("", str(verdict.diagnosis))
    if verdict.diagnosis.certain:
        note = suite.manifest["notes"][verdict.diagnosis.flag]
        lines += [*_wrapped("what it is: ", note["about"]), *_wrapped("what it does: ", note["effect"])]
        for seen in note["seen"]:
            lines += _wrapped("seen: ", seen)
    return lines


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(label + " ".join(text.split()), WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
                         break_on_hyphens=False)


def _left_out(report: Report) -> list[str]:
    """Why cases were skipped, which had no gradients, which failed as expected, and the remarks."""
    skipped = Counter(verdict.message for verdict in report.verdicts if verdict.status == "skipped")
    reasons = skipped.most_common()
    lines = [f"skipped {count}: {' '.join(message.split())}" for message, count in reasons[:REASONS]]
    others = [count for _, count in reasons[REASONS:]]
    lines += [f"skipped {sum(others)}: for {len(others)} other reasons, which --json has"] if others else []
    without = sum(bool(verdict.missing) for verdict in report.verdicts if verdict.status in ("passed", "failed"))
    lines += [f"no gradients in {without} of the cases judged: only the values were"] if without else []
    known = sum(verdict.status in ("failed", "error") and verdict.id in report.expected for verdict in report.verdicts)
    lines += [f"failed as expected {known}"] if known else []
    return lines + [f"remark: {remark}" for remark in report.remarks]


def _summary(report: Report, suite: Suite) -> str:
    counts = ", ".join(f"{report.count(status)} {status}" for status in STATUSES if status != "damaged" or report.count(status))
    seconds = sum(verdict.seconds for verdict in report.verdicts)
    wrong = len(report.unexpected)
    result = "GOOD" if report.good else f"{wrong} NOT AS THEY SHOULD BE" if wrong else "NOTHING WAS JUDGED"
    title = f"{report.implementation}, judged as {report.precision}, reference suite v{suite.manifest['version']}"
    return f"{title}: {counts}, {seconds:.1f} s: {result}"


# -- JSON -------------------------------------------------------------------------------------------------------------


def as_json(report: Report, suite: Suite) -> str:
    """Everything. null stands for an infinite or undefined number."""
    unexpected = {verdict.id for verdict in report.unexpected}
    told = {
        "implementation": report.implementation, "precision": report.precision, "good": report.good,
        "suite": {"version": suite.manifest["version"], "manifest_sha256": suite.sha256},
        "limits": LIMITS, "counts": {status: report.count(status) for status in STATUSES}, "remarks": list(report.remarks),
        "verdicts": [{**_verdict(verdict), "as_expected": verdict.id not in unexpected} for verdict in report.verdicts],
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    found = verdict.diagnosis
    return {
        "id": verdict.id, "operation": verdict.operation, "status": verdict.status, "message": verdict.message, "seconds": verdict.seconds,
        "missing": list(verdict.missing),
        "errors": {output: _finite({**asdict(error), "at": list(error.at)}) for output, error in (verdict.errors or {}).items()},
        "diagnosis": None if found is None else _finite({
            "mutant": found.mutant, "words": found.words, "flag": found.flag, "certain": found.certain, "from_mutant": found.from_mutant,
            "from_right": found.from_right}),
    }


def _finite(told: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in told.items()}


# -- JUnit ------------------------------------------------------------------------------------------------------------


def as_junit(report: Report, suite: Suite) -> str:
    """JUnit XML, a test suite for each operation. What failed as expected is skipped there."""
    root = ElementTree.Element("testsuites", name=_legal(report.implementation))
    unexpected = {verdict.id for verdict in report.unexpected}
    for operation in dict.fromkeys(verdict.operation for verdict in report.verdicts):
        verdicts = [verdict for verdict in report.verdicts if verdict.operation == operation]
        group = ElementTree.SubElement(root, "testsuite", name=operation)
        found = Counter(_junit_case(group, verdict, verdict.id in unexpected, report, suite) for verdict in verdicts)
        group.attrib |= {"tests": str(len(verdicts)), "failures": str(found["failure"]), "errors": str(found["error"]),
                         "skipped": str(found["skipped"]), "time": f"{sum(verdict.seconds for verdict in verdicts):.3f}"}
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _junit_case(group: ElementTree.Element, verdict: Verdict, unexpected: bool, report: Report, suite: Suite) -> str:
    """Add a case; what it counts as."""
    element = ElementTree.SubElement(group, "testcase", classname=verdict.operation, name=_legal(verdict.id), time=f"{verdict.seconds:.3f}")
    if unexpected:
        kind = "error" if verdict.status in ("error", "damaged") else "failure"
        text = details(verdict, report, suite)
        message = verdict.message or str(verdict.diagnosis or text.partition("\n")[0])
        ElementTree.SubElement(element, kind, message=_legal(message)).text = _legal(text)
        return kind
    if verdict.status != "passed":
        ElementTree.SubElement(element, "skipped", message=_legal(verdict.message if verdict.status == "skipped" else "fails as expected"))
        return "skipped"
    return "passed"


def _legal(text: str) -> str:
    """A text without the characters that XML cannot have, which a program may well have written."""
    legal = lambda c: c in "\t\n\r" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE or ord(c) > 0xFFFF
    return "".join(c if legal(c) else "?" for c in text)


# -- badge ------------------------------------------------------------------------------------------------------------


def as_badge(report: Report, suite: Suite) -> str:
    """An SVG of one line: how many of the cases that were judged passed, and how many were skipped."""
    judged = len(report.verdicts) - report.count("skipped")
    label = f"minidiff reference v{suite.manifest['version']}"
    skipped = f", {report.count('skipped')} skipped" if report.count("skipped") else ""
    text = f"{report.count('passed')} of {judged} pass{skipped}"
    color = "#2e7d32" if report.good and report.count("passed") == judged else "#b26a00" if report.good else "#b3261e"
    left, right = (round(5.9 * len(words)) + 14 for words in (label, text))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{label}: {text}">
<title>{label}: {text}</title>
<clipPath id="round"><rect width="{left + right}" height="20" rx="3"/></clipPath>
<g clip-path="url(#round)"><rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{color}"/></g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2:g}" y="14" textLength="{left - 14}">{label}</text>
<text x="{left + right / 2:g}" y="14" textLength="{right - 14}">{text}</text>
</g>
</svg>
"""
