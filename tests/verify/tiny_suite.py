"""A reference suite of four cases, written by hand: each kind of noise, gradients, both formats of files, mutants of every sort."""

import hashlib
import json
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from reference.generate import CATALOGUE, catalogue

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, -6.5]], np.float32)
COTANGENT = np.array([[1.0, 0.5, 2.0], [-1.0, 3.0, 0.25]], np.float32)
MEASURED = {"kind": "measured", **{name: {"rms": u, "worst": 2 * u} for name, u in (
    ("float32", 2.0 ** -22), ("tf32", 2.0 ** -22), ("float16", 2.0 ** -9), ("bfloat16", 2.0 ** -6))}}

ARRAYS = {
    "times/two": {"input.x": X, "input.cotangent": COTANGENT, "expected.output": 2.0 * X.astype(float),
                  "expected.grad.x": 2.0 * COTANGENT.astype(float),
                  "mutant.three-halves.output": 1.5 * X.astype(float), "mutant.transposed.output": 2.0 * X.T.astype(float, order="C")},
    "times/zero-d": {"input.x": np.array(3.0, np.float32), "expected.output": np.array(0.75)},
    "floor/halves": {"input.x": np.array([0.5, -0.5, 2.0], np.float32), "expected.output": np.array([0, -1, 2]),
                     "mutant.truncated.output": np.array([0, 0, 2])},
    "powers/table": {"expected.output": np.array([1.0, 0.5, 0.25, 0.125]), "mutant.late.output": np.array([0.5, 0.25, 0.125, 0.0625])},
}
ENTRIES = {
    "times/two": dict(reason="sizes 2 and 3, a cotangent without symmetry", settings={"factor": 2.0}, noise=MEASURED, mutants={
        "three-halves": dict(words="your product uses 3/2", flag="wrong-factor"),
        "transposed": dict(words="your product is transposed", flag="transposed")}),
    "times/zero-d": dict(reason="a number without axes", settings={"factor": 0.25}, noise=MEASURED, mutants={}),
    "floor/halves": dict(reason="negative numbers", settings={}, noise={"kind": "exact"}, mutants={
        "truncated": dict(words="your floor truncates", flag="truncation")}),
    "powers/table": dict(reason="a table without inputs", settings={"count": 4}, noise={"kind": "relative"}, mutants={
        "late": dict(words="your table begins at 1", flag="late")}),
}
OPERATIONS = {
    "times": dict(equation="y = factor x", inputs={"x": "(...)"}, outputs={"output": "like x"}, settings={"factor": "the factor"}),
    "floor": dict(equation="y = the largest integer up to x", inputs={"x": "(K,)"}, outputs={"output": "like x, integers"}, settings={}),
    "powers": dict(equation="y_k = 2^-k", inputs={}, outputs={"output": "(count,)"}, settings={"count": "how many"}),
}
NOTES = {flag: dict(kind="formula", about=f"about {flag}", effect=f"effect of {flag}", seen=[f"seen {flag}"])
         for flag in ("wrong-factor", "transposed", "truncation", "late")}


def right(task):
    """The right answer in NumPy, float32."""
    if task.operation == "powers":
        return {"output": 0.5 ** np.arange(task.settings["count"])}
    x = task.inputs["x"]
    if task.operation == "floor":
        return {"output": np.floor(x).astype(np.int64)}
    factor = np.float32(task.settings["factor"])
    return {"output": factor * x, **({"grad.x": factor * task.inputs["cotangent"]} if task.gradients else {})}


class Right:
    """The right answers as an implementation; `wrong` replaces those of some cases: an output, or an exception to be raised."""

    def __init__(self, wrong=None, name="tiny"):
        self.name, self.wrong = name, wrong or {}

    def run(self, task):
        answer = self.wrong.get(task.id)
        if isinstance(answer, BaseException):
            raise answer
        return right(task) if answer is None else answer


def write_suite(folder):
    """Write the suite into a folder and return the manifest."""
    entries = []
    for id, arrays in ARRAYS.items():
        told, table = ENTRIES[id], "input.cotangent" not in arrays
        data = as_table(arrays) if table else save(arrays)
        file = f"cases/{id}.{'json' if table else 'safetensors'}"
        Path(folder, file).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, file).write_bytes(data)
        form = lambda part, arrays=arrays: {name.removeprefix(part): {"dtype": str(x.dtype), "shape": list(x.shape)}
                                            for name, x in arrays.items() if name.startswith(part)}
        entries.append({
            "id": id, "operation": id.split("/")[0], "reason": told["reason"], "settings": told["settings"], "inputs": form("input."),
            "outputs": {name: {**x, "noise": told["noise"]} for name, x in form("expected.").items()},
            "flags": sorted(mutant["flag"] for mutant in told["mutants"].values()),
            "mutants": {name: {**mutant, "distance": {"output": None}} for name, mutant in told["mutants"].items()},
            "certified": {"oracle": "by hand", "distance": 0.0}, "file": file, "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest()})
    manifest = deepcopy({
        "suite": "minidiff reference", "version": 1, "count": len(entries), "limits": {"rms": 4.0, "worst": 16.0, "mutant": 100.0},
        "runs": {"float32": 64, "tf32": 16, "float16": 16, "bfloat16": 16},
        "operations": {name: {**told, "chapter": "docs/verify.md#when-is-an-answer-right"} for name, told in OPERATIONS.items()},
        "notes": NOTES, "errata": [], "cases": entries})
    write_manifest(folder, manifest)
    return manifest


def as_table(arrays):
    """A JSON table with hexadecimal floats."""
    values = lambda x: [v.hex() if x.dtype.kind == "f" else v for v in x.ravel().tolist()]
    table = {name: {"dtype": str(x.dtype), "shape": list(x.shape), "data": values(x)} for name, x in arrays.items()}
    return json.dumps(table).encode()


def write_manifest(folder, manifest):
    """The manifest, the page for people, and the sums of all files."""
    Path(folder, "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with suppress(KeyError, TypeError, AttributeError):  # of a manifest without its form no page can be made
        Path(folder, CATALOGUE).write_text(catalogue(manifest), encoding="utf-8")
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    Path(folder, "SHA256SUMS").write_text("".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files))
