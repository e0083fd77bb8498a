"""What docs/verify.md shows of a report is what its own example and command give; its limits are the judge's."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from minidiff.cli import main
from minidiff.verify import load_suite
from minidiff.verify.judge import FAR, LIMITS, NEARER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")


def block(language, words):
    """The fenced block of the page that contains these words."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(text for kind, text in blocks if kind == language and words in text)


def pieces(text):
    """The paragraphs of a report, without line breaks and the seconds that it took."""
    return [re.sub(r"[\d.]+ s:", "# s:", " ".join(piece.split())) for piece in text.split("\n\n")]


def alike(shown, printed):
    """Whether the words are the same, and the numbers but for the last bits of another machine's sums."""
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    one, other = ([float(x.replace(",", "")) for x in NUMBER.findall(text)] for text in (shown, printed))
    return all(a == pytest.approx(b, rel=0.02, abs=1e-6) for a, b in zip(one, other))


def test_the_report_on_the_page_is_that_of_its_example(tmp_path, monkeypatch, capsys):
    """The example in the file where the page puts it, asked by the page's command: each piece that is shown is printed, in this order."""
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "port.py").write_text(block("python", "OPERATIONS = {"))
    command = next(line for line in block("sh", "--cases").splitlines() if "--cases" in line)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MINIDIFF_REFERENCE", str(load_suite().folder))
    for name in ("mypackage", "mypackage.port"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert main(shlex.split(command)[1:]) == 1
    printed = pieces(capsys.readouterr().out.strip())
    shown = pieces(block("text", "FAILED group_norm/tiny").strip())
    assert "..." in shown and len(shown) >= 5
    at = 0
    for piece in shown:
        if piece == "...":
            continue
        found = [i for i in range(at, len(printed)) if alike(piece, printed[i])]
        assert found, f"docs/verify.md shows\n{piece}\nbut the command prints\n" + "\n\n".join(printed[at:])
        at = found[0] + 1
    rows = printed[0].split()
    passed, failed = (int(x) for x in rows[rows.index("group_norm") + 1:][:2])
    assert f"it has one mistake, which shows in {failed} of the {passed + failed}." in PAGE


def test_the_limits_on_the_page_are_the_judge_s():
    """In words and in numbers."""
    text = " ".join(PAGE.split())
    rms, worst = (f"{LIMITS[name]:g}" for name in ("rms", "worst"))
    for words in (f"right up to {rms};", f"right up to {worst}.", f"nearer than {FAR:g}.", f"*From that* at most {rms},"):
        assert words in text, words
    assert (FAR, NEARER) == (100, 3) and "a hundredth of *from right* or less" in text and "more than three times nearer" in text
