"""`python -m reference.check`: what must be true of a released suite, read from the folder alone.

The manifest has the form of its schema; ids, counts, files, hashes and sizes are right; arrays are what the manifest says; every pointer
leads somewhere; every flag has a note and every note is used; every mutant is far away; every value is certified; everything has a
description; requests fit into a line of the protocol. Whether the values are those of the cases is for `reference.generate --check` to say.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

from minidiff.verify.exchange import LINE, request
from minidiff.verify.judge import FAR, distance
from minidiff.verify.suite import VERSION, Case, Suite, SuiteError, cotangent_of, description, load_suite
from reference.certify import ALLOWED
from reference.generate import CATALOGUE, catalogue

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / f"v{VERSION}"
SCHEMAS = Path(__file__).parent / "schema"
FILE_BYTES, SUITE_BYTES = 200_000, 25_000_000
SUMS = "SHA256SUMS"


def problems(folder: Path = FOLDER) -> Iterator[str]:
    """What is wrong with the suite in a folder, one line each."""
    try:
        suite = load_suite(folder)
    except SuiteError as error:
        yield str(error)
        return
    schema_problems = list(_schema(suite.manifest))
    yield from schema_problems
    if schema_problems:
        return  # what follows relies on the form
    yield from _catalogue(suite.manifest)
    yield from _files(suite)
    yield from _page(suite)
    for case in suite:
        yield from (f"{case.id}: {problem}" for problem in _case(case, suite.manifest))


@cache
def schema(name: str) -> Draft202012Validator:
    """The validator of schema/NAME.schema.json."""
    told = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(told)
    return Draft202012Validator(told)


def _schema(manifest: Mapping[str, Any]) -> Iterator[str]:
    for error in schema("manifest").iter_errors(manifest):
        yield f"manifest.json: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"


def _catalogue(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Operations, notes, errata and counts."""
    cases = manifest["cases"]
    ids = {entry["id"] for entry in cases}
    if manifest["count"] != len(cases):
        yield f"manifest.json: count is {manifest['count']}, there are {len(cases)} cases"
    for name in sorted(manifest["operations"].keys() - {entry["operation"] for entry in cases}):
        yield f"operation {name}: no case"
    for name, told in manifest["operations"].items():
        page, _, anchor = told["chapter"].partition("#")
        if anchor not in _anchors(ROOT / page):
            yield f"operation {name}: {told['chapter']} is no heading of the documentation"
    used = {flag for entry in cases for flag in entry["flags"]}
    yield from (f"flag {flag}: no note" for flag in sorted(used - manifest["notes"].keys()))
    yield from (f"note {flag}: no case uses it" for flag in sorted(manifest["notes"].keys() - used))
    withdrawn = Counter(erratum["id"] for erratum in manifest["errata"])
    yield from (f"erratum {id}: there are {count}" for id, count in withdrawn.items() if count > 1)
    for erratum in manifest["errata"]:
        if erratum["id"] in ids:
            yield f"erratum {erratum['id']}: the case is still there"
        if erratum["replaced_by"] not in ids:
            yield f"erratum {erratum['id']}: replaced by {erratum['replaced_by']}, which is no case"


@cache
def _anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page; none, if there is no page."""
    if not page.is_file():
        return frozenset()
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings)


def _page(suite: Suite) -> Iterator[str]:
    """The page for people says what the manifest says."""
    page = suite.folder / CATALOGUE
    if page.is_file() and page.read_text(encoding="utf-8") != catalogue(suite.manifest):
        yield f"{CATALOGUE}: not what the manifest says; python -m reference.generate writes it"


def _files(suite: Suite) -> Iterator[str]:
    """Every file is one that belongs there, and has the hash that SHA256SUMS says; none is too large."""
    folder, entries = suite.folder, suite.manifest["cases"]
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    belongs = {entry["file"] for entry in entries} | {"manifest.json", CATALOGUE, SUMS}
    if suite.manifest["errata"]:
        belongs.add("errata.json")
    yield from (f"{name}: does not belong to the suite" for name in sorted(found.keys() - belongs))
    yield from (f"{name}: missing" for name in sorted(belongs - found.keys()))
    if SUMS in found:
        lines = found[SUMS].read_text(encoding="utf-8").splitlines()
        told = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
        actual = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if name != SUMS}
        yield from (f"{SUMS}: {name} is not in it" for name in sorted(actual.keys() - told.keys()))
        yield from (f"{SUMS}: {name} does not exist" for name in sorted(told.keys() - actual.keys()))
        shared = sorted(actual.keys() & told.keys())
        yield from (f"{SUMS}: another hash than that of {name}" for name in shared if actual[name] != told[name])
    total = sum(path.stat().st_size for path in found.values())
    if total > SUITE_BYTES:
        yield f"the suite has {total:,} bytes, more than {SUITE_BYTES:,}"


def _case(case: Case, manifest: Mapping[str, Any]) -> Iterator[str]:
    """One case: its entry, its arrays, its mutants, its request."""
    entry = case.entry
    operation = manifest["operations"].get(case.operation)
    if operation is None or case.operation != case.id.partition("/")[0]:
        yield f"its operation is {case.operation}, which is not that of its id, or not described"
        return
    for part in ("inputs", "settings", "outputs"):
        names = [name for name in entry[part] if cotangent_of(name) is None and not name.startswith("grad.")]
        yield from (f"{name} of its {part} is not described" for name in names if not description(operation[part], name))
    flags = {told["flag"] for told in entry["mutants"].values()}
    yield from (f"the flag {flag} of a mutant is not among its flags" for flag in sorted(flags - set(entry["flags"])))
    if not entry["certified"]["distance"] <= ALLOWED:
        yield f"its oracle is {entry['certified']['distance']} noise units away, more than {ALLOWED}"
    if entry["bytes"] > FILE_BYTES and "large" not in entry:
        yield f"{entry['bytes']:,} bytes, more than {FILE_BYTES:,}, and its entry does not say why (\"large\")"
    try:
        yield from _arrays(case)
        yield from _request(case)
    except SuiteError as error:
        yield str(error)


def _arrays(case: Case) -> Iterator[str]:
    """The arrays of the file are those of the entry, and the mutants are far away."""
    entry = case.entry
    parts = (("inputs", entry["inputs"], case.task.inputs), ("outputs", entry["outputs"], case.expected))
    size = (case.folder / entry["file"]).stat().st_size
    if size != entry["bytes"]:
        yield f"{entry['file']} has {size} bytes, the manifest says {entry['bytes']}"
    for part, told, arrays in parts:
        if told.keys() != arrays.keys():
            yield f"its {part} are {', '.join(sorted(arrays))}; the manifest says {', '.join(sorted(told))}"
            return
        for name, values in arrays.items():
            if (str(values.dtype), list(values.shape)) != (told[name]["dtype"], told[name]["shape"]):
                yield f"{name} is {values.dtype} {list(values.shape)}, not what the manifest says"
                return
            if not np.isfinite(values).all():
                yield f"{name} is not finite"
    for name, told in entry["mutants"].items():
        known = case.mutants[name]
        if known.keys() != told["distance"].keys():
            yield f"the mutant {name} has {', '.join(sorted(known))}; the manifest says {', '.join(sorted(told['distance']))}"
            continue
        alike = {output: wrong for output, wrong in known.items() if wrong.shape == case.expected[output].shape}
        for output, wrong in alike.items():
            far = distance(wrong, case.expected[output], entry["outputs"][output]["noise"]).rms
            if not far >= FAR:
                yield f"the mutant {name} is {far:.3g} noise units away in {output}, less than {FAR:g}"


def _request(case: Case) -> Iterator[str]:
    """What a program is asked fits into a line and has the form of the schema."""
    try:
        text = request(case.task, 10**6, "x" * 1000, "x" * 1000)  # with long paths
    except ValueError:
        yield f"its request is longer than the {LINE} bytes of the protocol"
        return
    for error in schema("protocol").iter_errors(json.loads(text)):
        yield f"its request is not that of the protocol: {error.message[:300]}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m reference.check", description="Check what must be true of the released suite.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: v1")
    folder = parser.parse_args(argv).folder
    found = list(problems(folder))
    print("\n".join(found) or f"{len(load_suite(folder))} cases, nothing wrong")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
