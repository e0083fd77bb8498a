"""One case in full, for someone who wants to know what is asked and what comes out."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .judge import LIMITS, units
from .suite import PRECISIONS, Case, Suite, description

SMALL = 64
"""Numbers up to which an array is printed in full."""


def show(case: Case, suite: Suite) -> str:
    """Everything about a case, as text. Raises SuiteError if it is damaged."""
    entry = case.entry
    operation = suite.manifest["operations"][case.operation]
    pieces = [
        _section(case.id, [_text(entry["reason"])]),
        _section("equation", [*_lines(operation["equation"]), _text(f"derived in {operation['chapter']}")]),
        _section("settings", [_text(f"{name} = {json.dumps(value)}" + _about(operation["settings"], name))
                              for name, value in entry["settings"].items()]),
        _section("inputs", [_array(name, case.task.inputs[name], _about(operation["inputs"], name)) for name in entry["inputs"]]),
        _section("outputs: expected", [_output(name, case.expected[name], entry, operation) for name in entry["outputs"]]),
        _section("common mistakes", _mistakes(case, suite)),
        _section("certified", [_text(f"{entry['certified']['oracle']}; {entry['certified']['distance']:.1g} float32 noise units away")]),
        _section("files", [_text((suite.folder / entry["file"]).as_posix()), _text(f"SHA-256 {entry['sha256']}")]),
    ]
    return "\n\n".join(filter(None, pieces)) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *lines]) if lines else ""


def _text(text: str, indent: str = "  ") -> str:
    return textwrap.fill(" ".join(text.split()), 110, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False,
                         break_on_hyphens=False)


def _lines(text: str) -> list[str]:
    """A text that has lines of its own, which mean something: each as it begins."""
    return [_text(line, "  " + line[:len(line) - len(line.lstrip())]) for line in text.splitlines() if line.strip()]


def _about(told: Mapping[str, str], name: str) -> str:
    text = description(told, name)
    return f": {text}" if text else ""


def _array(name: str, values: np.ndarray, about: str) -> str:
    """Name, kind and shape, what it is, and the numbers: all of them, if they are few, else the first and last of each axis."""
    numbers = np.array2string(values, threshold=SMALL, edgeitems=2, max_line_width=106, floatmode="unique", prefix="    ")
    return _text(f"{name}  {values.dtype} {list(values.shape)}{about}") + "\n    " + numbers


def _output(name: str, values: np.ndarray, entry: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    right = _text(f"right: {_tolerance(entry['outputs'][name]['noise'])}", "    ")
    return _array(name, values, _about(operation["outputs"], name)) + "\n" + right


def _tolerance(noise: Mapping[str, Any]) -> str:
    """What an error may be at most, in absolute numbers where these exist."""
    if noise["kind"] == "exact":
        return "every element is equal"
    if noise["kind"] == "relative":
        return f"rms error up to {LIMITS['rms']:g}, worst up to {LIMITS['worst']:g}, in units of u times each element; " + ", ".join(
            f"{precision} u = {u:.3g}" for precision, u in PRECISIONS.items())
    return "; ".join(f"{precision}: rms error up to {LIMITS['rms'] * noise[precision]['rms']:.2g}, worst "
                     f"{LIMITS['worst'] * noise[precision]['worst']:.2g}" for precision in PRECISIONS)


def _mistakes(case: Case, suite: Suite) -> list[str]:
    """Each mutant with its distance and note, and the notes that have no mutant here."""
    lines, notes = [], suite.manifest["notes"]
    for told in case.entry["mutants"].values():
        far = ", ".join(f"{output} another answer" if x is None else f"{output} {units(x)}" for output, x in told["distance"].items())
        lines.append(_text(f"{told['words']} ({far} noise units away)"))
        lines += _note(notes[told["flag"]])
    named = {told["flag"] for told in case.entry["mutants"].values()}
    for flag in case.entry["flags"]:
        lines += [_text(flag), *_note(notes[flag])] if flag not in named else []
    return lines


def _note(note: Mapping[str, Any]) -> list[str]:
    return [_text(note["about"], "    "), _text(note["effect"], "    "), *(_text(f"seen: {seen}", "    ") for seen in note["seen"])]
