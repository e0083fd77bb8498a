"""`minidiff verify`: is an implementation right? The reference suite against a program, a folder of answers, or functions."""

import argparse
from pathlib import Path

from .arguments import amount

SUMMARY = "check an implementation of diffusion models, in any language, against the reference suite"
EXAMPLES = """\
  minidiff verify run -- ./my-program --fast            a program that speaks the protocol (reference/PROTOCOL.md)
  minidiff verify run --python mypackage.port:OPERATIONS
  minidiff verify run --adapter torch --cases "group_norm/*" --cases conv2d
  minidiff verify export tasks --cases conv2d           the questions as files, for a program that cannot be started here
  minidiff verify check tasks --json report.json        its answers
  minidiff verify list --cases group_norm               what there is, and why
  minidiff verify show group_norm/tiny                  one of them in full
"""
PATTERN = "an operation, an id, or a pattern like 'conv2d/*'"
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff verify` and its sub-commands."""
    parser.description += "\n\nExit status: 0 if nothing is wrong but what was expected to be, 1 if something is, 2 for bad input."
    commands = parser.add_subparsers(title="commands", dest="way", metavar="COMMAND", required=True)
    _add_run(commands.add_parser("run", help="ask a program, a mapping of functions, or a library"))
    export = commands.add_parser("export", help="write the tasks without their answers into a folder")
    export.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
    check = commands.add_parser("check", help="judge the answers in such a folder")
    check.add_argument("folder", metavar="DIR", type=Path, help="the folder that minidiff verify export made")
    _add_report(check)
    listing = commands.add_parser("list", help="print the cases and why each exists")
    show = commands.add_parser("show", help="print a case in full: equation, inputs, expected outputs, common mistakes")
    show.add_argument("id", metavar="ID", help="a case, such as group_norm/tiny")
    for command in (commands.choices["run"], export, listing):
        command.add_argument("--cases", action="append", default=[], metavar="PATTERN", help=f"only these: {PATTERN} (again for more)")
    for command in commands.choices.values():
        command.add_argument("--reference", metavar="DIR", help="folder of the suite (default: MINIDIFF_REFERENCE, or the checkout's)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", metavar="-- PROGRAM", nargs="*", help="a program and its arguments, after --")
    parser.add_argument("--python", metavar="MODULE:OBJECT", help="a mapping of operation names to functions, or an object that answers")
    parser.add_argument("--adapter", metavar="NAME", help="a library that minidiff can call, such as torch; an unknown name lists them")
    parser.add_argument("--device", help="with --adapter: cpu or cuda")
    parser.add_argument("--dtype", help="with --adapter: float32 or float64")
    parser.add_argument("--timeout", type=amount, metavar="S", help="seconds that a program may take for one answer (default: 60)")
    _add_report(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--precision", default="float32", metavar="NAME",
                        help="what was computed in, by whose noise errors are judged: float32, tf32, float16, bfloat16 (default: float32)")
    parser.add_argument("--expected-failures", metavar="FILE", type=Path, help="cases known to fail: an id a line, # begins a remark")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write everything as JSON")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="also write JUnit XML")
    parser.add_argument("--badge", metavar="FILE", type=Path, help="also write a badge (SVG)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff import verify

    a = arguments
    suite = verify.load_suite(a.reference)
    if a.way == "list":
        for case in suite.matching(a.cases):
            print(f"{case.id:<40} {case.entry['reason']}")
        return 0
    if a.way == "show":
        print(verify.show(suite[a.id], suite), end="")
        return 0
    if a.way == "export":
        cases = suite.matching(a.cases)
        verify.export(suite, cases, a.folder)
        print(f"{len(cases)} tasks in {a.folder / 'tasks.jsonl'}; write the answers into {a.folder / 'outputs'}, then: "
              f"minidiff verify check {a.folder}")
        return 0
    return _report(a, suite)


def _report(a: argparse.Namespace, suite) -> int:
    """Judge, print the report, write what was asked for."""
    from minidiff import verify
    from minidiff.training.checkpoint import replace_file

    from .main import BAD_INPUT

    files = [(a.json, verify.as_json), (a.junit, verify.as_junit), (a.badge, verify.as_badge)]
    for path, _ in files:
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise ValueError(f"{path}: {'is a folder' if path.is_dir() else f'there is no folder {path.parent}; make it first'}")
    options = {"precision": a.precision, "expected_failures": _ids(a.expected_failures)}
    report = verify.check(a.folder, suite, **options) if a.way == "check" else _run(a, suite, options)
    print(verify.as_text(report, suite), end="")
    for path, write in files:
        if path is not None:
            replace_file(path, write(report, suite).encode())
    return BAD_INPUT if report.count("damaged") else 0 if report.good else FAILED


def _ids(path: Path | None) -> list[str]:
    """The ids in a file, a line each, without remarks."""
    lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
    return [id for line in lines if (id := line.partition("#")[0].strip())]


def _run(a: argparse.Namespace, suite, options: dict):
    """Ask whoever is to be verified."""
    from dataclasses import replace

    from tqdm import tqdm

    from minidiff import verify

    if (bool(a.program) + (a.python is not None) + (a.adapter is not None)) != 1:
        raise ValueError("verify run: give one of: a program after --, --python MODULE:OBJECT, --adapter NAME")
    if a.adapter is None and (a.device or a.dtype):
        raise ValueError("verify run: --device and --dtype belong to --adapter")
    if a.timeout is not None and not a.program:
        raise ValueError("verify run: --timeout belongs to a program")
    cases = suite.matching(a.cases)
    with tqdm(total=len(cases), disable=None, leave=False, dynamic_ncols=True) as bar:
        options = {**options, "progress": lambda verdict: bar.update()}
        if not a.program:
            return verify.verify(_adapter(a) if a.adapter else verify.implementation_at(a.python), suite, cases, **options)
        with verify.Program(a.program, **({} if a.timeout is None else {"timeout": a.timeout})) as program:
            report = verify.verify(program, suite, cases, **options)
        return replace(report, remarks=tuple(program.remarks))


def _adapter(a: argparse.Namespace):
    import numpy as np

    from minidiff.verify import Differentiable
    from minidiff.verify.adapters import adapter

    given = {name: value for name, value in (("device", a.device), ("dtype", a.dtype)) if value is not None}
    try:
        found = adapter(a.adapter, **given)
        if isinstance(found, Differentiable):
            found.array(np.zeros(1, np.float32), False)  # a device that is not there is found out before the first case
    except ImportError as error:
        raise ValueError(f"the adapter {a.adapter} needs a library that is not installed: {error}") from error
    except Exception as error:  # each library has its own for a device or dtype that it does not have
        raise ValueError(f"the adapter {a.adapter}{f' with {given}' if given else ''}: {error}") from error
    return found
