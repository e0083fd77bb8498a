"""What docs/functional.md lists and counts is what there is."""

import inspect
import re
from pathlib import Path

from operations import CASES

from minidiff import functional as F

# How often the tests generate calls of a case: the arguments of `Case.share` in the files named.
DEFAULT_SUITE = (4, 1, 3, 4, 4)  # tests/functional/test_every_operation.py
STAND_IN = (3,)  # tests/devices/test_every_operation.py
PEERS = (1,)  # tests/peers/test_every_operation.py


def options(function):
    """How many arguments may be left out."""
    return sum(p.default is not p.empty for p in inspect.signature(function).parameters.values())


def counts():
    """What is counted, and the figures."""
    compared = [case for case in CASES if not case.no_peer]
    return {
        "operations": len(F.__all__),
        "optional arguments": sum(options(getattr(F, name)) for name in F.__all__),
        "cases": len(CASES),
        "calls generated for finite differences, layouts, dtypes and kernels": sum(
            case.share(part) for case in CASES for part in DEFAULT_SUITE),
        "calls generated on the stand-in for CuPy": sum(case.share(part) for case in CASES for part in STAND_IN),
        "calls generated and compared with PyTorch": sum(case.share(part) for case in compared for part in PEERS),
        "operations compared with PyTorch": len({case.name for case in compared}),
        "refusals, most of them PyTorch's too": sum(len(case.refused) for case in CASES),
    }


PAGE = (Path(__file__).parents[2] / "docs" / "functional.md").read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_page():
    """Each row of the table "what is counted"."""
    stated = {what.strip(): int(number.replace(",", "")) for what, number in re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", PAGE, re.M)}
    assert stated == counts()


def test_every_function_is_listed_with_its_file():
    """Each row of the table of families has the names of the file's `__all__`."""
    listed = {file: re.findall(r"`(\w+)`", names) for names, file in re.findall(r"^\| [^|]+ \| ([^|]+) \| `(\w+)\.py` \|$", PAGE, re.M)}
    assert listed == {family.__name__.rpartition(".")[2]: family.__all__ for family in F._FAMILIES}
