"""Is an implementation right? The reference suite against anything that answers.

    suite.py           the suite on disk: cases, their vectors, and their hashes
    judge.py           errors in noise units; the mistake that a wrong answer comes nearest to
    implementation.py  what can be verified; mappings of functions; what adapters have in common
    runner.py          `verify`: every case, a verdict each
    exchange.py        tasks and answers as lines and files, for programs in any language
    files.py           the way through a folder: `export` and `check`
    process.py         the way through a pipe: `Program`
    report.py          a report as text, JSON, JUnit XML and a badge
    show.py            one case in full
    pytest_plugin.py   a test for each case
    adapters/          minidiff itself, PyTorch, JAX, diffusers, transformers, k-diffusion

There is no formula of diffusion in this room: it would be tested with itself. The suite is made in `reference/`.
"""

from .files import check, export
from .implementation import Differentiable, Functions, Implementation, NoAnswer, Unsupported, implementation_at
from .judge import Diagnosis, Error, Verdict, distance, judge
from .process import Program
from .report import as_badge, as_json, as_junit, as_text
from .runner import Report, verdict_on, verify
from .show import show
from .suite import PRECISIONS, Case, Suite, SuiteError, Task, load_suite

__all__ = [
    "PRECISIONS", "Case", "Diagnosis", "Differentiable", "Error", "Functions", "Implementation", "NoAnswer", "Program", "Report", "Suite",
    "SuiteError", "Task", "Unsupported", "Verdict", "as_badge", "as_json", "as_junit", "as_text", "check", "distance", "export",
    "implementation_at", "judge", "load_suite", "show", "verdict_on", "verify",
]
