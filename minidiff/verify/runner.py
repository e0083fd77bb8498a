"""Every case to an implementation, and a verdict on each answer. Nothing that an implementation does stops the run.

Read `report` next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .implementation import Functions, Implementation, NoAnswer, Unsupported
from .judge import Verdict, judge
from .suite import PRECISIONS, Case, Suite, SuiteError, load_suite


@dataclass(frozen=True)
class Report:
    """What came of a run.

    implementation: its name. precision: the noise it was judged by. expected: ids of cases expected to fail.
    remarks: what happened besides, such as a program that did not exit.
    """

    implementation: str
    precision: str
    verdicts: tuple[Verdict, ...]
    expected: frozenset[str] = field(default_factory=frozenset)
    remarks: tuple[str, ...] = ()

    def count(self, status: str) -> int:
        """How many cases have this status."""
        return sum(verdict.status == status for verdict in self.verdicts)

    @property
    def unexpected(self) -> list[Verdict]:
        """Failures and errors that were not expected, cases that were expected to fail but passed, and those that are damaged."""
        as_expected = lambda v: v.status == "skipped" or (v.status != "damaged" and (v.status != "passed") == (v.id in self.expected))
        return [v for v in self.verdicts if not as_expected(v)]

    @property
    def good(self) -> bool:
        """Whether something was judged and nothing was unexpected."""
        return not self.unexpected and any(v.status in ("passed", "failed") for v in self.verdicts)


def verify(
    implementation: Implementation | Mapping[str, Callable[..., Any]],
    suite: Suite | None = None,
    cases: Iterable[Case] | None = None,
    *,
    precision: str = "float32",
    expected_failures: Iterable[str] = (),
    progress: Callable[[Verdict], None] | None = None,
) -> Report:
    """Run cases of a suite on an implementation and judge its answers.

    implementation: an `Implementation`, or a mapping as `Functions` takes it. suite: None loads the one that `load_suite` finds. cases: of
    it; None are all. precision: what it computes in, one of PRECISIONS, by whose noise it is judged. expected_failures: ids of cases
    that are known to fail. progress: called with each verdict. Raises ValueError for an unknown precision, for an expected failure
    that is no case, and for a mapping with a name that is no operation; SuiteError for a suite that is missing or damaged.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"verify: unknown precision {precision!r}; choose from {', '.join(PRECISIONS)}")
    suite = load_suite() if suite is None else suite
    implementation = Functions(implementation) if isinstance(implementation, Mapping) else implementation
    check_names(implementation, suite)
    expected = frozenset(expected_failures)
    for id in sorted(expected):
        suite[id]  # raises for one that is no case
    verdicts = []
    for case in suite if cases is None else cases:
        verdicts.append(verdict_on(case, implementation, precision))
        if progress is not None:
            progress(verdicts[-1])
    return Report(implementation.name, precision, tuple(verdicts), expected)


def check_names(implementation: Implementation, suite: Suite) -> None:
    """Raise ValueError for a mapping with a name that is no operation of the suite: misspelled, it would be skipped without a word."""
    import difflib

    known = suite.manifest["operations"]
    unknown = [name for name in implementation.functions if name not in known] if isinstance(implementation, Functions) else []
    if unknown:
        near = {name: difflib.get_close_matches(str(name), known, 3) for name in unknown}
        told = [f"{name!r} (nearest: {', '.join(names)})" if names else repr(name) for name, names in near.items()]
        raise ValueError(f"{implementation.name}: no operation of the suite is called {', '.join(told)}; minidiff verify list has them all")


def verdict_on(case: Case, implementation: Implementation, precision: str = "float32") -> Verdict:
    """Ask for one case and judge the answer: whatever the implementation raises becomes a verdict, and so does a damaged case."""
    start = time.perf_counter()
    try:
        answer = implementation.run(case.task)
        if not isinstance(answer, Mapping):
            raise NoAnswer(f"run(task) returned {type(answer).__name__}; expected the outputs by name, a mapping")
        verdict = judge(case, answer, precision)
    except Unsupported as reason:
        verdict = Verdict(case.id, case.operation, "skipped", str(reason))
    except NoAnswer as reason:
        verdict = Verdict(case.id, case.operation, "error", str(reason))
    except SuiteError as error:
        verdict = Verdict(case.id, case.operation, "damaged", str(error))
    except (Exception, SystemExit) as error:
        verdict = Verdict(case.id, case.operation, "error", f"{type(error).__name__}: {error}")
    return replace(verdict, seconds=time.perf_counter() - start)
