"""The book is true: its code runs, prints what it says, quotes the source exactly, and its commands and links exist."""

import argparse
import ast
import contextlib
import io
import re
import runpy
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidiff import backend
from minidiff.report.plots import PlotsMissing

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FIGURES = runpy.run_path(str(ROOT / "docs" / "figures.py"))["FIGURES"]
INCLUDED = re.compile(r"# ((?:minidiff|docs)/\S+\.py): (\S+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line of the page on which the text begins, the text of the page before it."""

    page: Path
    language: str
    text: str
    line: int
    before: str

    @property
    def included(self) -> re.Match | None:
        """The file and the name that the block quotes, if it quotes the source."""
        return INCLUDED.match(self.text.partition("\n")[0])

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found, end = [], 0
    for fence in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        found.append(Block(page, fence[1], fence[2], text.count("\n", 0, fence.start(2)) + 1, text[end:fence.start()]))
        end = fence.end()
    return found


def names_of(node: ast.AST) -> list[str]:
    """What a piece of source defines: a function, a class, or the names left of an equals sign."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def source_of(path: Path, name: str) -> str:
    """The source of a definition by its dotted path in a file (`function`, `Class.method`, `function.inner`, `operation`), unindented."""
    text = path.read_text(encoding="utf-8")
    node = ast.parse(text)
    for part in name.split("."):
        node = next(child for child in ast.walk(node) if part in names_of(child))
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1:node.end_lineno]))


def run(page: Path) -> list[tuple[Block, str, str]]:
    """Run a page's code in one namespace. (block, what the page says it prints, what it prints) where the page says it."""
    namespace: dict = {"__name__": "__main__"}
    claims = []
    blocks = blocks_of(page)
    for block, following in zip(blocks, [*blocks[1:], None]):
        if block.language != "python" or block.included:
            continue
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")  # so that a traceback names the line of the page
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, namespace)
        if following is not None and following.language in ("text", "mermaid") and not following.before.strip():
            claims.append((block, following.text, printed.getvalue()))
    return claims


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, tmp_path, monkeypatch):
    """Every python block, in order, in one namespace, in an empty folder; a text or mermaid block directly below is its output."""
    monkeypatch.chdir(tmp_path)
    try:
        for block, said, printed in run(page):
            assert said == printed, f"{block}: the page says\n{said}but the code prints\n{printed}"
    finally:
        backend.set_threads(None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_quoted_functions_are_those_of_the_source(page):
    """A block that names a file and a function in its first line is, from the second line on, that function."""
    for block in blocks_of(page):
        if block.language == "python" and block.included:
            path, name = block.included.groups()
            assert block.text.partition("\n")[2] == source_of(ROOT / path, name), f"{block}: {name} has changed, quote it again"


def test_quoting_is_what_inspect_says():
    """The source found by name is the one that Python knows for the function itself."""
    import inspect

    from minidiff.diffusion import Ancestral, Schedule, q_sample

    room = ROOT / "minidiff" / "diffusion"
    assert source_of(room / "forward.py", "q_sample") == inspect.getsource(q_sample)
    assert source_of(room / "samplers" / "ancestral.py", "Ancestral.row") == textwrap.dedent(inspect.getsource(Ancestral.row))
    table = inspect.unwrap(Schedule.__dict__["posterior_variance"].func)
    assert source_of(room / "schedules.py", "Schedule.posterior_variance") == textwrap.dedent(inspect.getsource(table))


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors_of(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Every relative link of a page names a file of the repository, and every anchor a heading."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target} does not exist"
        assert not anchor or anchor in anchors_of(file), f"{page.name}: {target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_has_a_known_language(page):
    """So that no code escapes the tests because its block is not called python or sh."""
    assert {block.language for block in blocks_of(page)} <= {"python", "sh", "text", "json", "mermaid"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_the_prose_names_exist(page):
    """Every `minidiff/...py`, `tests/...` and `docs/...` in the text is there."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for path in re.findall(r"`((?:minidiff|tests|docs)/[\w./]*)`", text):
        assert (ROOT / path).exists(), f"{page.name}: `{path}` does not exist"


def strings_of_the_package() -> str:
    """All pieces of text in the source of minidiff, one a line."""
    nodes = (node for path in sorted((ROOT / "minidiff").rglob("*.py")) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_error_messages_that_the_guide_explains_exist():
    """What the table of troubles quotes, with ... for what varies, is a message somewhere in the source."""
    text = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8").partition("## When something fails")[2]
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    known = strings_of_the_package()
    assert len(quoted) >= 10
    for message in quoted:
        for piece in message.split("..."):
            assert piece.strip() in known, f"no message says {piece.strip()!r}"


# -- commands --------------------------------------------------------------------------------------------------------

MAIN_JOB = "python3 -m venv .venv && .venv/bin/pip install --quiet . && .venv/bin/minidiff demo\n"
TESTS = "python3 -m venv .venv && .venv/bin/pip install --quiet '.[test]' && .venv/bin/python -m pytest\n"


def commands_of(page: Path) -> list[list[str]]:
    """The words after `minidiff` of every call of the command in a page's sh blocks."""
    found = []
    for block in blocks_of(page):
        if block.language != "sh":
            continue
        for line in block.text.splitlines():
            words: list[str] = []
            for word in [*shlex.split(line, comments=True), "&&"]:
                if word == "&&":
                    while words and "=" in words[0]:    # OMP_NUM_THREADS=1 minidiff ...
                        words.pop(0)
                    if words and Path(words[0]).name == "minidiff":
                        found.append(words[1:])
                    words = []
                else:
                    words.append(word)
    return found


COMMANDS = [pytest.param(words, id=f"{page.name}: minidiff {' '.join(words)}") for page in PAGES for words in commands_of(page)]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_are_understood(words, capsys):
    """The command's own parser takes every command line that is printed; those that only tell something are carried out."""
    from minidiff.cli.main import main, make_parser

    if "--help" in words:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0 and "usage: minidiff" in capsys.readouterr().out
    elif words == ["info"]:
        assert main(words) == 0 and "numpy" in capsys.readouterr().out
    else:
        make_parser().parse_args(words)


def test_the_readme_begins_with_the_main_job_and_the_tests():
    """Its first two sh blocks are one command line each, and these."""
    first, second, *_ = [block.text for block in blocks_of(ROOT / "README.md") if block.language == "sh"]
    assert (first, second) == (MAIN_JOB, TESTS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_the_prose_exist(page):
    """Every `minidiff something` in the text is a sub-command, every `--option` one of its options."""
    from minidiff.cli.main import COMMANDS as known

    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`minidiff ([a-z]\w*)", text)) <= set(known)
    options = {"--help", "--version"}
    for command in known.values():
        parser = argparse.ArgumentParser(description="")
        command.add_arguments(parser)
        nested = [each for action in parser._actions if isinstance(action, argparse._SubParsersAction) for each in action.choices.values()]
        options |= {option for each in (parser, *nested) for option in each._option_string_actions}
    assert set(re.findall(r"`(--[\w-]+)", text)) <= options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_that_are_installed_exist(page):
    """Every `.[extra]` is an extra of the package."""
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    for extra in re.findall(r"\.\[(\w+)\]", page.read_text(encoding="utf-8")):
        assert re.search(rf"^{extra} = ", extras, re.MULTILINE), f"{page.name}: no extra {extra}"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_one_that_the_library_makes(name):
    """Draw it again; averaged over 8 x 8 pixels (text may be rendered a little otherwise elsewhere) it is the file in docs."""
    try:
        drawn = FIGURES[name]()
    except PlotsMissing as missing:
        pytest.skip(str(missing))
    with Image.open(ROOT / "docs" / "figures" / name) as kept:
        small = (kept.width // 8, kept.height // 8)
        now, then = (np.asarray(picture.convert("RGB").resize(small, Image.Resampling.BOX), float) for picture in (drawn, kept))
    assert abs(now - then).mean() < 4, f"{name}: run python docs/figures.py, and look at it"
