"""The way through files: tasks without their answers go out as a folder, answers come back into it.

    DIR/suite.json      which suite this is, and which cases
    DIR/tasks.jsonl     a request a line, as the process protocol has them
    DIR/inputs/         CASE.safetensors
    DIR/outputs/        CASE.safetensors, written by the program
    DIR/answers.jsonl   a line for each case, by the program; without this file, each file in outputs/ is an answer

Read `process` next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .exchange import answer_in, read_outputs, request, settle, shortened, write_inputs
from .implementation import NoAnswer
from .judge import Verdict
from .runner import Report, verify
from .suite import ID, Case, Suite, Task

EXTENSION = ".safetensors"


def export(suite: Suite, cases: Iterable[Case], folder: str | Path) -> None:
    """Write tasks into a new or empty folder. Raises FileExistsError for any other, SuiteError for a damaged case."""
    folder, tasks = Path(folder), [case.task for case in cases]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists already and is not an empty folder; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, task in enumerate(tasks, 1):
        inputs, outputs = (f"{part}/{task.id}{EXTENSION}" for part in ("inputs", "outputs"))
        write_inputs(task, folder / inputs)
        (folder / outputs).parent.mkdir(parents=True, exist_ok=True)  # C has no function that makes folders
        lines.append(request(task, number, inputs, outputs))
    (folder / "tasks.jsonl").write_text("".join(lines), encoding="ascii")
    told = {"suite": suite.manifest["suite"], "version": suite.manifest["version"], "manifest_sha256": suite.sha256,
            "cases": [task.id for task in tasks]}
    (folder / "suite.json").write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")  # the last: without it, nothing is checked


def check(folder: str | Path, suite: Suite, **options: Any) -> Report:
    """Judge the answers in a folder that `export` made of this suite. options: those of `verify`.

    Raises ValueError for a folder that is none, or was made of another suite. An answer to what was not asked is an error of its own.
    """
    folder = Path(folder)
    ids = _exported(folder, suite)
    answers = Answers(folder, ids)
    report = verify(answers, suite, [suite[id] for id in ids], **options)
    return replace(report, verdicts=report.verdicts + answers.strays())


def _exported(folder: Path, suite: Suite) -> list[str]:
    """The cases that the folder asks for."""
    path = folder / "suite.json"
    if not path.is_file():
        raise ValueError(f"{folder}: there is no suite.json; give the folder that minidiff verify export made")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        version, sha256, ids = told["version"], told["manifest_sha256"], told["cases"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error}); export the tasks anew") from error
    if version != suite.manifest["version"]:
        raise ValueError(f"{path}: tasks of version {version} of the suite, this is version {suite.manifest['version']}; export them anew")
    if sha256 != suite.sha256:
        raise ValueError(f"{path}: the tasks are of another suite than {suite.folder} (another SHA-256 of manifest.json); export them anew")
    if not isinstance(ids, list) or not ids or len(set(map(str, ids))) < len(ids) or any(id not in suite for id in map(str, ids)):
        raise ValueError(f"{path}: damaged (its cases are not those of the suite); export the tasks anew")
    return ids


class Answers:
    """The answers in a folder, as an implementation. ids: the cases that were asked for."""

    def __init__(self, folder: Path, ids: Iterable[str]) -> None:
        self.name = f"the answers in {folder}"
        self.folder, self.ids = folder, set(ids)
        self.table = folder / "answers.jsonl"
        self.told = self.table.exists()
        self._lines: dict[str, list[Mapping[str, Any]]] = {}
        self._wrong: list[Verdict] = []
        if self.told:
            self._read_table()

    def _read_table(self) -> None:
        for number, text in enumerate(self.table.read_bytes().splitlines(), 1):
            if not text.strip():
                continue
            try:
                answer = answer_in(text)
                id = answer.get("case")
                if not isinstance(id, str):
                    raise NoAnswer(f'{shortened(text)} has no "case"')
                if id not in self.ids:
                    raise NoAnswer(f"an answer for {shortened(id)}, which was not asked for")
                self._lines.setdefault(id, []).append(answer)
            except NoAnswer as reason:
                self._wrong.append(Verdict(f"{self.table.name}:{number}", "(answers)", "error", str(reason)))

    def run(self, task: Task) -> Mapping[str, Any]:
        """The outputs that the folder has. Raises Unsupported or NoAnswer where answers.jsonl says so, NoAnswer if there are none."""
        lines = self._lines.get(task.id, [])
        if self.told and len(lines) != 1:
            raise NoAnswer(f"{self.table} has {'no answer' if not lines else f'{len(lines)} answers'} for this case")
        if self.told:
            settle(lines[0])
        return read_outputs(self.folder / "outputs" / f"{task.id}{EXTENSION}", task)

    def strays(self) -> tuple[Verdict, ...]:
        """Errors: the lines of answers.jsonl that answer nothing, and the files in outputs/ that do."""
        found = list(self._wrong)
        root = self.folder / "outputs"
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_dir() or name.removesuffix(EXTENSION) in self.ids or path.name.startswith("."):
                continue
            case = ID.fullmatch(name.removesuffix(EXTENSION)) and name.endswith(EXTENSION)
            message = "an answer for a case that was not asked for" if case else f"not an answer: the files are called CASE{EXTENSION}"
            found.append(Verdict(f"outputs/{name}", "(answers)", "error", message))
        return tuple(found)
