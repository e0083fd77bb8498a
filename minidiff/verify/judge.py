"""Is an answer right? Errors are measured in units of the noise of correct arithmetic, and wrong answers compared with known mistakes.

The manifest holds for each output how much correct arithmetic of a precision deviates from the exact answer: the root of the mean square
(rms) over the elements, and the largest of them (worst). An error is divided by that. Correct code lands near 1; the limits are the
manifest's, 4 and 16. Read `implementation` next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .suite import PRECISIONS, Case

LIMITS = {"rms": 4.0, "worst": 16.0}
"""Noise units up to which an answer is right: the whole output, and its worst element."""

FAR = 100.0
"""Noise units by which a case must tell a mutant from the right answer."""


NEARER = 3.0
"""How many times nearer to a mutant than to the right answer a wrong one must be for the mutant to be worth a mention."""


@dataclass(frozen=True)
class Error:
    """How far an array is from another, in noise units: all of it (rms), its worst element, where that is, and what is there in each."""

    rms: float
    worst: float
    at: tuple[int, ...] = ()
    got: float = math.nan
    expected: float = math.nan

    @property
    def size(self) -> float:
        """As a part of what is allowed: right up to 1."""
        return max(self.rms / LIMITS["rms"], self.worst / LIMITS["worst"])

    @property
    def right(self) -> bool:
        """Whether it is within the limits."""
        return self.size <= 1


def distance(got: np.ndarray, expected: np.ndarray, noise: Mapping[str, Any], precision: str = "float32") -> Error:
    """How far `got` is from `expected`, alike in shape. noise: an output's in the manifest, {"kind": "exact" | "relative" | "measured"}.

    exact: integers, and what is only moved; any difference is infinite. relative: the noise of each element is u times its size. measured:
    {"float32": {"rms", "worst"}, ...} as numbers for the whole array. NaN where the other has none is infinitely far.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if expected.size == 0:
        return Error(0.0, 0.0)
    equal = (got == expected) | ((got != got) & (expected != expected))
    if noise["kind"] == "exact":
        rms, worst, off = 1.0, 1.0, np.where(equal, 0.0, math.inf)
    else:
        wide, right = got.astype(np.float64), expected.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            off = np.where(equal, 0.0, np.abs(wide - right))
            if noise["kind"] == "relative":
                rms, worst, off = 1.0, 1.0, np.where(equal, 0.0, off / (PRECISIONS[precision] * np.abs(right)))
            else:
                rms, worst = noise[precision]["rms"], noise[precision]["worst"]
            off = np.where(np.isnan(off), math.inf, off)
    largest = float(off.max())
    size = largest * math.sqrt(float(np.mean((off / largest) ** 2))) if 0 < largest < math.inf else largest  # no square overflows
    at = _position(off)
    return Error(size / rms, largest / worst, at, got[at].item(), expected[at].item())


def _position(off: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))


@dataclass(frozen=True)
class Diagnosis:
    """The known mistake that a wrong answer comes nearest to: how far it is from that, and from the right answer."""

    mutant: str
    words: str
    flag: str
    from_mutant: float
    from_right: float

    @property
    def certain(self) -> bool:
        """Whether the answer is that of the mistake: within the limit for a right answer, or FAR times nearer to it than to the right one.

        A mistake may be of another size than the right answer, or worse conditioned, and then has more noise than the case's.
        """
        return self.from_mutant <= max(LIMITS["rms"], self.from_right / FAR if math.isfinite(self.from_right) else 0.0)

    def __str__(self) -> str:
        right = "" if math.isinf(self.from_right) else f", {units(self.from_right)} from right"
        far = f"{units(self.from_mutant)} noise units from that{right}"
        return f"{self.words}: {far}" if self.certain else f"nearest known mistake, but not it: {self.words} ({far})"


def units(x: float) -> str:
    """A number of noise units for people to read."""
    return f"{x:,.0f}" if 10 <= x < 1e7 else f"{x:.2g}"


@dataclass(frozen=True)
class Verdict:
    """What came of one case.

    status: "passed", "failed", "skipped" (the implementation says it does not have this, `message` says why), "error" (it gave no answer
    that could be judged; `message` says what happened), or "damaged" (the suite's own vectors are). errors: of each output that could be
    compared. missing: gradients that were not given. message: of a failure, what is wrong with the form of the answer.
    """

    id: str
    operation: str
    status: str
    message: str = ""
    errors: Mapping[str, Error] | None = None
    diagnosis: Diagnosis | None = None
    missing: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def worst(self) -> tuple[str, Error] | None:
        """The output that is furthest off, and how far."""
        return max(self.errors.items(), key=lambda item: item[1].size) if self.errors else None


def judge(case: Case, outputs: Mapping[str, Any], precision: str = "float32") -> Verdict:
    """The verdict on an implementation's outputs.

    A missing or unknown name, another shape, another kind of number and NaN are failures that say so. An implementation without gradients
    may leave all of them out; then the values are judged and `missing` names the rest.
    """
    told = case.entry["outputs"]
    missing = tuple(name for name in told if name not in outputs)
    wrong = _wrong_names(outputs, told, missing)
    if wrong:
        return Verdict(case.id, case.operation, "failed", wrong)
    arrays = {name: np.asarray(got) for name, got in outputs.items()}
    forms = {name: _wrong_form(name, got, case.expected[name]) for name, got in arrays.items()}
    errors = {name: distance(got, case.expected[name], told[name]["noise"], precision) for name, got in arrays.items() if not forms[name]}
    message = "; ".join(filter(None, forms.values()))
    right = not message and all(error.right for error in errors.values())
    diagnosis = None if right else diagnose(case, arrays, errors, precision)
    return Verdict(case.id, case.operation, "passed" if right else "failed", message, errors, diagnosis, missing)


def _wrong_names(outputs: Mapping[str, Any], told: Mapping[str, Any], missing: tuple[str, ...]) -> str:
    unknown = sorted(set(outputs) - set(told))
    if unknown:
        return f"unknown output {', '.join(unknown)}; expected {', '.join(told)}"
    gradients = [name for name in told if name.startswith("grad.")]
    values_too = any(name not in gradients for name in missing)
    if values_too or (missing and (len(missing) < len(gradients) or len(gradients) == len(told))):
        return f"no output {', '.join(missing)}; got {', '.join(outputs) or 'none'}"
    return ""


def _wrong_form(name: str, got: np.ndarray, expected: np.ndarray) -> str:
    if got.shape != expected.shape:
        return f"{name} has shape {got.shape}, expected {expected.shape}"
    if got.dtype.kind not in "iuf" or (got.dtype.kind in "iu") != (expected.dtype.kind in "iu"):
        return f"{name} holds {got.dtype}, expected {'integers' if expected.dtype.kind in 'iu' else 'floating-point numbers'}"
    if got.dtype.kind == "f" and np.isnan(got).any() and not np.isnan(expected).any():
        return f"{name} has NaN at {_position(np.isnan(got))}"
    return ""


def diagnose(case: Case, arrays: Mapping[str, np.ndarray], errors: Mapping[str, Error], precision: str = "float32") -> Diagnosis | None:
    """The mutant that these wrong outputs come nearest to; None if none is clearly nearer than the right answer.

    errors: of the outputs that could be compared with the right answer; the others are infinitely far from it. A mutant has the
    outputs that tell it apart; the values that it leaves out it leaves right.
    """
    noise = {name: told["noise"] for name, told in case.entry["outputs"].items()}
    found = []
    for name, known in case.mutants.items():
        off = [(_from_mutant(arrays[output], wrong, noise[output], precision), errors[output].rms if output in errors else math.inf)
               for output, wrong in known.items() if output in arrays]
        left_right = [error.rms for output, error in errors.items() if output not in known and not output.startswith("grad.")]
        if any(output not in errors or not errors[output].right for output in known if output in arrays):
            told, from_right = case.entry["mutants"][name], max(b for _, b in off)
            from_mutant = max([a for a, _ in off] + [rms for rms in left_right if rms >= FAR])
            found.append(Diagnosis(name, told["words"], told["flag"], from_mutant, from_right))
    nearest = min(found, key=lambda d: d.from_mutant, default=None)
    return nearest if nearest is not None and nearest.from_mutant < nearest.from_right / NEARER else None


def _from_mutant(got: np.ndarray, wrong: np.ndarray, noise: Mapping[str, Any], precision: str) -> float:
    alike = got.shape == wrong.shape and got.dtype.kind in "iuf"
    return distance(got, wrong, noise, precision).rms if alike else math.inf
