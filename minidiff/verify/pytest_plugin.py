"""A pytest test for each case of the reference suite:

    pytest -p minidiff.verify.pytest_plugin --minidiff-verify=package.module:OBJECT

OBJECT is what `implementation_at` takes. Without --minidiff-verify nothing is added. Cases that the implementation does not have are
skipped, the text of a failure is that of the report, and -k chooses cases by id.
"""

from __future__ import annotations

from typing import Any

import pytest

from .implementation import implementation_at
from .report import details
from .runner import Report, check_names, verdict_on
from .suite import PRECISIONS, load_suite


class NotPassed(Exception):
    """A case that did not pass; carries the text that says why."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("minidiff", "minidiff's reference suite")
    group.addoption("--minidiff-verify", metavar="MODULE:OBJECT",
                    help="a mapping of operation names to functions, or an object with name and run(task): each case becomes a test")
    group.addoption("--minidiff-reference", metavar="DIR", help="the folder of the suite")
    group.addoption("--minidiff-cases", metavar="PATTERN", action="append", default=[], help="only these cases (again for more)")
    group.addoption("--minidiff-precision", choices=PRECISIONS, default="float32", help="what is computed in (default: float32)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the cases to whatever else was collected, before -k and -m choose."""
    place = config.getoption("--minidiff-verify")
    if place is None:
        return
    try:
        implementation = implementation_at(place)
        suite = load_suite(config.getoption("--minidiff-reference"))
        check_names(implementation, suite)
        cases = suite.matching(config.getoption("--minidiff-cases"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    parent = Collected.from_parent(session, name="minidiff-verify", nodeid="minidiff-verify")
    parent.implementation, parent.suite, parent.precision = implementation, suite, config.getoption("--minidiff-precision")
    items += [Item.from_parent(parent, name=case.id, case=case) for case in cases]


class Collected(pytest.Collector):
    """What the cases hang on."""

    def collect(self) -> list[pytest.Item]:
        """Nothing: the cases are added as a whole."""
        return []


class Item(pytest.Item):
    """One case."""

    def __init__(self, *, case: Any, **options: Any) -> None:
        super().__init__(**options)
        self.case = case

    def runtest(self) -> None:
        """Ask and judge."""
        parent = self.parent
        verdict = verdict_on(self.case, parent.implementation, parent.precision)
        if verdict.status == "skipped":
            pytest.skip(verdict.message)
        if verdict.status != "passed":
            raise NotPassed(details(verdict, Report(parent.implementation.name, parent.precision, (verdict,)), parent.suite))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The text of the report; for a defect of this plugin, the traceback."""
        return str(excinfo.value) if isinstance(excinfo.value, NotPassed) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the case lies, and its name."""
        return self.parent.suite.folder / self.case.entry["file"], None, self.case.id
