"""The reference suite as it lies on disk: a manifest, and for each case a file of vectors.

`load_suite` reads it and believes nothing: the manifest's version and form, every file's SHA-256. A `Case` is one question with its answer;
its `Task` is the question alone, as an implementation gets it. Read `judge` next.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
"""Of the format; a suite of another version is refused."""

PRECISIONS = {"float32": 2.0 ** -24, "tf32": 2.0 ** -24, "float16": 2.0 ** -11, "bfloat16": 2.0 ** -8}
"""What an implementation may compute in, and the rounding error u of one result. tf32: its matrix products see 11 bits of their factors."""

ID = re.compile(r"\w+/\w[\w.,=+-]*", re.ASCII)
"""What a case's id looks like: it is also the name of files."""


def cotangent_of(name: str) -> str | None:
    """The output that this input is the factor of: "cotangent" of "output", "cotangent.NAME" of "NAME"; None for any other input."""
    first, _, output = name.partition(".")
    return (output or "output") if first == "cotangent" else None


class SuiteError(ValueError):
    """A reference suite that is missing, damaged, or of another version, and a case that it does not have."""


@dataclass(frozen=True)
class Task:
    """What an implementation is asked.

    inputs: arrays by name, float32 or int64; "cotangent" or "cotangent.NAME" is the factor of an output in the scalar whose gradients are
    asked for. settings: JSON values; every default is written out. outputs: shape and dtype of each answer by name. gradients: the inputs
    whose gradients are asked for, as outputs named "grad.INPUT".
    """

    id: str
    operation: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, tuple[tuple[int, ...], str]]

    @property
    def gradients(self) -> tuple[str, ...]:
        """The inputs whose gradients are asked for."""
        return tuple(name.removeprefix("grad.") for name in self.outputs if name.startswith("grad."))


class Case:
    """One question and its answer: its entry in the manifest, and its vectors, read from the suite's folder when first asked for."""

    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        self.folder, self.entry = folder, entry

    @property
    def id(self) -> str:
        """The name of the case, "operation/what-is-special": it never changes its meaning."""
        return self.entry["id"]

    @property
    def operation(self) -> str:
        """What is computed."""
        return self.entry["operation"]

    @cached_property
    def task(self) -> Task:
        """The question without its answer."""
        outputs = {name: (tuple(told["shape"]), told["dtype"]) for name, told in self.entry["outputs"].items()}
        return Task(self.id, self.operation, self.entry["settings"], self._part("input."), outputs)

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """The answer: arrays by name, float64 or int64."""
        return self._part("expected.")

    @cached_property
    def mutants(self) -> dict[str, dict[str, np.ndarray]]:
        """What known mistakes answer instead: for each mutant the outputs by which it is told apart."""
        arrays = self._part("mutant.")
        return {name: {key[len(name) + 1:]: array for key, array in arrays.items() if key.startswith(f"{name}.")}
                for name in self.entry["mutants"]}

    def _part(self, prefix: str) -> dict[str, np.ndarray]:
        return {name[len(prefix):]: array for name, array in self._arrays.items() if name.startswith(prefix)}

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        path = self.folder / self.entry["file"]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SuiteError(f"{self.id}: {path} cannot be read ({error.strerror}); the suite is incomplete, get it anew") from error
        found, told = hashlib.sha256(data).hexdigest(), self.entry["sha256"]
        if found != told:
            raise SuiteError(f"{self.id}: {path} is damaged: its SHA-256 is {found[:12]}..., the manifest says {told[:12]}...; get it anew")
        return arrays_from_json(json.loads(data)) if path.suffix == ".json" else arrays_from_safetensors(data)


def arrays_from_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Arrays by name from the bytes of a safetensors file. Raises safetensors.SafetensorError for what is none."""
    from safetensors.numpy import load

    return load(data)


def arrays_from_json(table: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays by name from {"name": {"dtype", "shape", "data"}}, where floats are hexadecimal, so that nothing is lost: "0x1.8p+1"."""
    arrays = {}
    for name, told in table.items():
        values = [float.fromhex(x) for x in told["data"]] if told["dtype"].startswith("float") else told["data"]
        arrays[name] = np.array(values, dtype=told["dtype"]).reshape(told["shape"])
    return arrays


def description(told: Mapping[str, str], name: str) -> str:
    """What the catalogue says of a name: under itself, or under its family, such as "parameters.NAME" or "gradient.I"; empty if nothing."""
    families = (text for key, text in told.items() if re.search(r"\.[A-Z]+$", key) and name.startswith(key.rpartition(".")[0] + "."))
    return told.get(name) or next(families, "")


class Suite:
    """A reference suite: its manifest with the SHA-256 of that file, and its cases in order. Read by `load_suite`."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], sha256: str) -> None:
        self.folder, self.manifest, self.sha256 = folder, manifest, sha256
        self._cases = {entry["id"]: Case(folder, entry) for entry in manifest["cases"]}

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self._cases.values())

    def __contains__(self, id: object) -> bool:
        return id in self._cases

    def __getitem__(self, id: str) -> Case:
        """The case with this id. Raises SuiteError, with what replaced it or the ids that come nearest."""
        if id in self._cases:
            return self._cases[id]
        for erratum in self.manifest["errata"]:
            if erratum["id"] == id:
                raise SuiteError(f"the case {id!r} was withdrawn: {erratum['reason']}; {erratum['replaced_by']} is in its place")
        import difflib

        near = difflib.get_close_matches(id, self._cases, 3, 0.4) or sorted(self._cases)[:3]
        raise SuiteError(f"no case {id!r} in this suite; nearest: {', '.join(near)}")

    def matching(self, patterns: Sequence[str]) -> list[Case]:
        """The cases whose id one of these shell patterns matches; all, if there are none. Raises ValueError for one without a case."""
        from fnmatch import fnmatchcase

        chosen = [case for case in self if not patterns or any(fnmatchcase(case.id, p) or case.operation == p for p in patterns)]
        for pattern in patterns:
            if not any(fnmatchcase(case.id, pattern) or case.operation == pattern for case in self):
                raise ValueError(f"no case matches {pattern!r}; give an operation, a case's id or a pattern such as 'conv2d/*'")
        return chosen


def load_suite(folder: str | os.PathLike[str] | None = None) -> Suite:
    """The suite in a folder: one with a manifest.json, or one that has it in v1/.

    folder: None looks at the environment variable MINIDIFF_REFERENCE, else beside the package, where a checkout has it, and then in the
    current folder, for who works in a checkout with an installed package.
    Raises SuiteError if there is none, if the manifest is damaged or of another version.
    """
    told = folder or os.environ.get("MINIDIFF_REFERENCE")
    roots = [Path(told)] if told else [Path(__file__).parents[2] / "reference", Path("reference").absolute()]
    path = next((p for root in roots for p in (root / "manifest.json", root / f"v{VERSION}" / "manifest.json") if p.is_file()), None)
    if path is None:
        places = " or ".join(map(str, dict.fromkeys(roots)))
        raise SuiteError(
            f"no reference suite in {places}: expected manifest.json or v{VERSION}/manifest.json there; the suite is not part of the "
            "installed package: unpack its archive, or clone the repository, and give the folder with --reference or MINIDIFF_REFERENCE")
    try:
        data = path.read_bytes()
        manifest = json.loads(data)
        version = manifest["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"{path}: not a manifest of a reference suite ({error})") from error
    if version != VERSION:
        raise SuiteError(f"{path}: a suite of version {version}, this verifier reads version {VERSION}; use the minidiff that goes with it")
    wrong = _wrong(manifest)
    if wrong:
        raise SuiteError(f"{path}: damaged: {wrong}; get it anew")
    return Suite(path.parent, manifest, hashlib.sha256(data).hexdigest())


def _wrong(manifest: Mapping[str, Any]) -> str:
    """What a manifest lacks that everything here relies on; empty if nothing. All that must be true is in reference/check.py."""
    parts = {"operations": dict, "notes": dict, "errata": list, "cases": list}
    if any(not isinstance(manifest.get(key), kind) for key, kind in parts.items()):
        return f"it needs {', '.join(parts)}"
    ids = set()
    for entry in manifest["cases"]:
        id = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(id, str) or not ID.fullmatch(id):
            return f"{id!r} is not the id of a case"
        if id in ids:
            return f"the id {id!r} is there twice"
        ids.add(id)
        parts = {"operation": str, "reason": str, "file": str, "sha256": str, "settings": dict, "inputs": dict, "outputs": dict,
                 "mutants": dict}
        if any(not isinstance(entry.get(key), kind) for key, kind in parts.items()):
            return f"the entry of {id} needs {', '.join(parts)}"
    return ""
