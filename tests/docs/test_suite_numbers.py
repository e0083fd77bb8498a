"""The pages say how many cases, operations and known mistakes the reference suite has: as many as are in its manifest."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CHANGELOG.md", "docs/verify.md", "docs/peers.md", "reference/README.md", "reference/PROTOCOL.md"]
MANIFEST = json.loads((ROOT / "reference" / "v1" / "manifest.json").read_text(encoding="utf-8"))
COUNTS = {
    "cases": MANIFEST["count"],
    "golden vectors": MANIFEST["count"],
    "operations": len(MANIFEST["operations"]),
    "known mistakes": sum(len(entry["mutants"]) for entry in MANIFEST["cases"]) // 100 * 100,  # told in hundreds
}
CLAIM = re.compile(r"(\d[\d,]*)\s+(" + "|".join(COUNTS).replace(" ", r"\s+") + r")\b")
"""A number and what it counts, also over the end of a line."""


def claims(page):
    """(the line, the words, the number, what is counted) wherever a page gives one of the counts."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start()) + 1, " ".join(found[0].split()), int(found[1].replace(",", "")), " ".join(found[2].split()))
            for found in CLAIM.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_the_counts_on_a_page_are_those_of_the_manifest(page):
    """Who adds cases is told which lines to change."""
    wrong = [f"{page}:{line}: change {words!r}: there are {COUNTS[what]:,}"
             for line, words, number, what in claims(page) if number != COUNTS[what]]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_pages_do_give_counts():
    """So that the test above does not look for words that nobody writes any more."""
    assert {what for page in PAGES for *_, what in claims(page)} == set(COUNTS)
    assert [what for *_, what in claims("README.md")] == ["cases", "known mistakes"]


def test_each_row_of_the_libraries_adds_up_to_all_cases():
    """In docs/peers.md: passed, failed, broken off and skipped."""
    wrong, rows = [], 0
    for number, line in enumerate((ROOT / "docs" / "peers.md").read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("| [") and "`minidiff verify run --adapter" in line:
            cells = [int(cell) for cell in re.findall(r"(?<=\| )\d+(?= \|)", line)]
            rows += 1
            if len(cells) != 4 or sum(cells) != MANIFEST["count"]:
                wrong.append(f"docs/peers.md:{number}: {cells} are {sum(cells)}, there are {MANIFEST['count']}: run its command again")
    assert rows >= 6 and not wrong, "\n" + "\n".join(wrong)
