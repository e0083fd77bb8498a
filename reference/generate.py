"""`python -m reference.generate`: the suite, from the cases.

For each case: the answer, by minidiff in float64; its noise; the mutants' answers and how far they are; what the oracle says. A case whose
mutant is too near, whose expected value no oracle confirms, or whose value is not the one that was released is refused, and
nothing is written. A file is written only if its values changed by more than float64's own rounding, so that another machine leaves the
same bytes. `--family NAME` makes the cases of one file, `--out DIR` puts them elsewhere. `--check` makes everything
anew, writes nothing, and says where v1 is another: what CI runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache
from itertools import chain, combinations, repeat
from pathlib import Path
from typing import Any

import numpy as np

from minidiff.verify.adapters.minidiff import Minidiff
from minidiff.verify.implementation import by_name
from minidiff.verify.judge import FAR, LIMITS, distance
from minidiff.verify.suite import VERSION, Task, arrays_from_json, arrays_from_safetensors, cotangent_of
from reference.case import Case, Mutant
from reference.cases import modules
from reference.certify import Uncertified, certify
from reference.noise import RUNS, measured

CATALOGUE = "OPERATIONS.md"
FOLDER = Path(__file__).parent / f"v{VERSION}"
SMALL = 64
"""Numbers up to which a case is a JSON table that people can read, if it has no gradients."""
SAME = 1e-3
"""Noise units within which a value made anew is the one that was released."""


class Refused(ValueError):
    """A case that may not enter the suite."""


@cache
def all_cases(families: tuple[str, ...] = ()) -> dict[str, Case]:
    """The cases by id, in the order of the manifest. Raises Refused for an id that two cases have, or a name that cannot be."""
    cases: dict[str, Case] = {}
    for module in modules(families):
        for case in module.cases():
            if case.id in cases:
                raise Refused(f"{case.id}: two cases have this id")
            if any("." in name for name in case.mutants):
                raise Refused(f"{case.id}: a mutant's name has a dot; it is a part of names in the file, mutant.NAME.OUTPUT")
            cases[case.id] = case
    return cases


class Mutated(Minidiff):
    """minidiff with a mistake in one operation."""

    def __init__(self, operation: str, mutant: Mutant, dtype: str = "float64") -> None:
        super().__init__("cpu", dtype)
        right = self.operations[operation]
        wrong = mutant.compute or (lambda inputs, settings: right(inputs, {**settings, **mutant.settings}))
        self.operations = {**self.operations, operation: wrong}


def answer(case: Case, mutant: Mutant | None = None) -> dict[str, np.ndarray]:
    """What minidiff answers in float64, or what it would with a mistake."""
    implementation = Minidiff("cpu", "float64") if mutant is None else Mutated(case.operation, mutant)
    arrays = {name: implementation.array(x, False) for name, x in case.inputs.items() if cotangent_of(name) is None}
    names = list(by_name(implementation.operations[case.operation](arrays, dict(case.settings))))
    names += [f"grad.{name}" for name in case.gradients if f"grad.{name}" not in names]
    return {name: np.asarray(x) for name, x in implementation.run(_task(case, names)).items()}


def _task(case: Case, names: Sequence[str]) -> Task:
    return Task(case.id, case.operation, case.settings, case.inputs, {name: ((), "float64") for name in names})


def made(case: Case) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(the manifest's entry, but for the file; the arrays of the file). Raises Refused, or Uncertified."""
    for name, x in case.inputs.items():
        if x.dtype not in (np.float32, np.int64):
            raise Refused(f"{case.id}: input {name} is {x.dtype}; float32, so that every precision can have it, or int64")
    expected = answer(case)
    for name, x in expected.items():
        if x.dtype not in (np.float64, np.int64) or not np.isfinite(x).all():
            raise Refused(f"{case.id}: {name} is {x.dtype}, or not finite")
    noise = _noise(case, expected)
    if not all(np.isfinite(size) for told in noise.values() for key, of in told.items() if key != "kind" for size in of.values()):
        raise Refused(f"{case.id}: noise that is not finite: {noise}")
    mutants, arrays = {}, {f"input.{name}": x for name, x in case.inputs.items()} | {f"expected.{name}": x for name, x in expected.items()}
    for name, mutant in case.mutants.items():
        wrong = answer(case, mutant)
        far = {key: _distance(wrong[key], expected[key], noise[key]) for key in expected}
        if max(far.values()) < FAR:
            raise Refused(f"{case.id}: the mutant {name} is {max(far.values()):.3g} noise units away, not {FAR:g}; choose other inputs")
        values = [key for key in expected if not key.startswith("grad.") and far[key] >= FAR]
        kept = values or [key for key in expected if far[key] >= FAR]
        mutants[name] = {"words": mutant.words, "flag": mutant.flag, "distance": {key: _short(far[key]) for key in kept}}
        arrays |= {f"mutant.{name}.{key}": wrong[key] for key in kept}
    _check_apart(case, mutants, arrays, noise)
    entry = {
        "id": case.id, "operation": case.operation, "reason": case.reason, "settings": dict(case.settings),
        "inputs": {name: _told(x) for name, x in case.inputs.items()},
        "outputs": {name: {**_told(x), "noise": noise[name]} for name, x in expected.items()},
        "flags": sorted({*case.flags, *(mutant.flag for mutant in case.mutants.values())}),
        "mutants": mutants, "certified": certify(case, expected, noise),
    }
    return entry, arrays


def _check_apart(case: Case, mutants: Mapping[str, Any], arrays: Mapping[str, np.ndarray], noise: Mapping[str, Any]) -> None:
    """Refuse two mutants of a case that answer the same: neither could be the diagnosis."""
    for one, other in combinations(mutants, 2):
        shared = mutants[one]["distance"].keys()
        if shared == mutants[other]["distance"].keys():
            far = max(_distance(arrays[f"mutant.{one}.{key}"], arrays[f"mutant.{other}.{key}"], noise[key]) for key in shared)
            if far < FAR:
                raise Refused(f"{case.id}: the mutants {one} and {other} are {far:.3g} noise units apart, less than {FAR:g}; keep one")


def _distance(wrong: np.ndarray, expected: np.ndarray, noise: Mapping[str, Any]) -> float:
    return distance(wrong, expected, noise).rms if wrong.shape == expected.shape else float("inf")


def _short(x: float) -> float | None:
    return None if x == float("inf") else float(f"{x:.3g}")  # JSON has no infinity


def _told(x: np.ndarray) -> dict[str, Any]:
    return {"dtype": str(x.dtype), "shape": list(x.shape)}


def _noise(case: Case, expected: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """An entry for each output: see `judge.distance`."""
    found = measured(_task(case, list(expected)), expected) if case.noise == "measured" else {}
    return {name: {"kind": "exact"} if x.dtype.kind in "iu" else {"kind": "measured", **found[name]} if found else {"kind": "relative"}
            for name, x in expected.items()}


def to_bytes(arrays: Mapping[str, np.ndarray], small: bool) -> bytes:
    """A case's file: a JSON table with hexadecimal floats, or safetensors. The same arrays give the same bytes."""
    if small:
        table = {name: {**_told(x), "data": [v.hex() if x.dtype.kind == "f" else int(v) for v in x.ravel().tolist()]}
                 for name, x in arrays.items()}
        return (json.dumps(table, indent=1) + "\n").encode()
    from safetensors.numpy import save

    return save({name: np.asarray(x, order="C") for name, x in arrays.items()})


def settled(case: Case, folder: Path) -> tuple[dict[str, Any], bytes]:
    """(the manifest's entry, the file) of a case made anew, with the released bits wherever the new ones say the same.

    Raises Refused for a changed value without an erratum.
    """
    entry, arrays = made(case)
    small = not case.gradients and sum(x.size for x in arrays.values()) <= SMALL
    name = f"cases/{case.id}.{'json' if small else 'safetensors'}"
    path = folder / name
    if path.exists():
        old = arrays_from_json(json.loads(path.read_bytes())) if small else arrays_from_safetensors(path.read_bytes())
        arrays = _with_released_bits(case.id, old, arrays, entry)
    data = to_bytes(arrays, small)
    return {**entry, "file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}, data


def written(case: Case, folder: Path) -> dict[str, Any]:
    """Make a case, write its file if it is another, and return its entry. Raises as `settled`."""
    entry, data = settled(case, folder)
    path = folder / entry["file"]
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".new").write_bytes(data)
        os.replace(path.with_suffix(".new"), path)
    return entry


def differences(case: Case, released: Mapping[str, Any] | None, folder: Path = FOLDER) -> list[str]:
    """Where a case made anew is not the one that was released; its entry in the manifest, None if it has none."""
    if released is None:
        return [f"{case.id}: not in the manifest"]
    try:
        entry, _ = settled(case, folder)
    except (Refused, Uncertified) as error:
        return [str(error)]
    measured = ("certified", "mutants", "outputs")  # but for these, whose last digits are another machine's, all must be equal
    found = [f"{case.id}: {key} is {entry[key]!r}, released {released.get(key)!r}" for key in entry
             if key not in measured and entry[key] != released.get(key)]
    for name, told in entry["outputs"].items():
        before = released["outputs"].get(name, {}).get("noise", {})
        if {**told["noise"], **before} != before and not _alike(told["noise"], before):
            found.append(f"{case.id}: the noise of {name} is {told['noise']}, released {before}")
    if entry["mutants"].keys() != released["mutants"].keys():
        found.append(f"{case.id}: mutants {sorted(entry['mutants'])}, released {sorted(released['mutants'])}")
    return found


def _alike(noise: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether two measurements of noise agree to a tenth: the same random numbers, another machine's rounding."""
    return noise.keys() == before.keys() and all(
        told == before[key] if key == "kind" else all(abs(told[x] - before[key][x]) <= 0.1 * before[key][x] for x in told)
        for key, told in noise.items())


def _with_released_bits(id: str, old: Mapping[str, np.ndarray], new: dict[str, np.ndarray],
                        entry: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The new arrays, with the released bits wherever they say the same. Raises Refused for a released value that would change."""
    kept = dict(new)
    for name, x in old.items():
        kind, _, output = name.partition(".")
        if name not in new or (kind == "mutant" and new[name].shape != x.shape):
            continue
        if kind == "input":
            if not np.array_equal(x, new[name]):
                raise Refused(f"{id}: {name} is not what was released; an id never changes its meaning: give the new case a new id")
            continue
        noise = entry["outputs"][output.split(".", 1)[1] if kind == "mutant" else output]["noise"]
        if distance(new[name], x, noise).rms <= (SAME if kind == "expected" else LIMITS["rms"]):  # a mutant may be badly conditioned
            kept[name] = x
        elif kind == "expected":
            raise Refused(f"{id}: {name} is not the value that was released; a correction gets a new id, and the old one an erratum")
    return kept


def generate(folder: Path = FOLDER, families: tuple[str, ...] = (), workers: int = 2) -> dict[str, Any]:
    """Make the suite in a folder, all families or some, and return the manifest. Raises Refused or Uncertified."""
    cases = all_cases(families)
    with ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
        entries = list(pool.map(_entry, cases, repeat(folder), repeat(families), chunksize=4))
    return release(entries, folder, families)


def release(entries: Sequence[Mapping[str, Any]], folder: Path, families: tuple[str, ...] = ()) -> dict[str, Any]:
    """Write what belongs to a suite beside its cases: the manifest of these entries, which is returned, the page for people, the sums."""
    path = folder / "manifest.json"
    manifest = manifest_of(entries, families)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.with_suffix(".new").write_text(to_text(manifest), encoding="utf-8")
    os.replace(path.with_suffix(".new"), path)
    (folder / CATALOGUE).write_text(catalogue(manifest), encoding="utf-8")
    others = [name for name in ("errata.json", "manifest.json", CATALOGUE) if (folder / name).exists()]
    sums = {entry["file"]: entry["sha256"] for entry in entries}
    sums |= {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in others}
    (folder / "SHA256SUMS").write_text("".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()), encoding="utf-8")
    return manifest


def check(folder: Path = FOLDER, workers: int = 2) -> list[str]:
    """Make every case anew and say where the suite in the folder is another; nothing is written."""
    released = {entry["id"]: entry for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["cases"]}
    cases = all_cases()
    with ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
        found = list(chain.from_iterable(pool.map(_differences, cases, map(released.get, cases), repeat(folder), chunksize=4)))
    return found + [f"{id}: in the manifest, but no longer made" for id in released if id not in cases]


def _differences(id: str, released: Mapping[str, Any] | None, folder: Path) -> list[str]:
    return differences(all_cases()[id], released, folder)


def _one_thread() -> None:
    from minidiff import backend

    backend.set_threads(1)


def _entry(id: str, folder: Path, families: tuple[str, ...]) -> dict[str, Any]:
    return written(all_cases(families)[id], folder)


def manifest_of(entries: Sequence[Mapping[str, Any]], families: tuple[str, ...] = ()) -> dict[str, Any]:
    """The manifest with these entries."""
    used = {entry["operation"] for entry in entries}
    operations, notes = {}, {}
    for module in modules(families):
        operations |= {name: asdict(told) for name, told in module.OPERATIONS.items() if name in used}
        notes |= {flag: asdict(note) for flag, note in module.NOTES.items()}
    flags = {flag for entry in entries for flag in entry["flags"]}
    return {
        "suite": "minidiff reference", "version": VERSION, "count": len(entries),
        "limits": {**LIMITS, "mutant": FAR}, "runs": RUNS,
        "operations": operations, "notes": {flag: note for flag, note in notes.items() if flag in flags},
        "errata": json.loads((FOLDER / "errata.json").read_text(encoding="utf-8")) if (FOLDER / "errata.json").exists() else [],
        "cases": list(entries),
    }


def to_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as JSON, each case on a line of its own, so that a change is a line."""
    head = json.dumps({**manifest, "cases": []}, indent=1, ensure_ascii=False)
    lines = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in manifest["cases"])
    return head.removesuffix("[]\n}") + f"[\n{lines}\n ]\n}}\n"


def catalogue(manifest: Mapping[str, Any]) -> str:
    """Every operation of the suite for people: equation, inputs, settings, outputs, chapter, how many cases and mistakes."""
    lines = ["# The operations of the suite", "", "Made by `python -m reference.generate` from the manifest.", ""]
    for name, told in manifest["operations"].items():
        cases = [entry for entry in manifest["cases"] if entry["operation"] == name]
        mistakes = sum(len(entry["mutants"]) for entry in cases)
        equation = told["equation"]
        lines += [f"## {name}", "", f"```text\n{equation}\n```" if "\n" in equation else equation, "",
                  f"Cases: {len(cases)}, with {mistakes} mistakes told apart. Chapter: [{told['chapter']}](../../{told['chapter']})", ""]
        for part in ("inputs", "settings", "outputs"):
            lines += [f"- {part.removesuffix('s')} `{key}`: {text}" for key, text in told[part].items()]
        lines += [""]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m reference.generate", description="Make the reference suite.")
    parser.add_argument("--family", action="append", default=[], help="only the cases of this file in reference/cases (again for another)")
    parser.add_argument("--out", type=Path, help="into this folder; needed with --family")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the suite in v1 is not what the cases say")
    a = parser.parse_args(argv)
    if a.check:
        found = check()
        print("\n".join(found) or f"{len(all_cases())} cases made anew are those of v{VERSION}")
        return 1 if found else 0
    if a.family and a.out is None:
        parser.error("--family makes a part of the suite: give it a folder of its own with --out")
    try:
        manifest = generate(a.out or FOLDER, tuple(a.family))
    except (Refused, Uncertified) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    size = sum(entry["bytes"] for entry in manifest["cases"])
    print(f"{manifest['count']} cases, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
