"""`detect_anomaly`: where the first NaN or infinity came from.

An observer looks at every value and every gradient as it is computed. What it finds it reports with the operation, the functions through
which that was called, and the line of the program: the first line outside this package, which for a gradient is the line that called
the operation on the way forward.

What counts as found:

- A NaN, always; if an input had one already, the report says so.
- An infinity that was made: by overflow, log(0), a division by zero. Infinities among the inputs or options of an operation, such as
  the -inf of a mask, are taken as meant, unless the input is a leaf that requires a gradient: no weight is meant to be infinite.
- In a function of `minidiff.functional` only what comes out of it: a log(0) that is cut off or masked out there is part of its formula. It
  has come out when the next operation is computed, so that is where the error is raised.
- In a backward pass what leaves the rules of a recorded operation, not what they compute with.
"""

from __future__ import annotations

import contextlib
import functools
import linecache
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from minidiff.backend import array_module, to_array

from .composite import _CompositeNode
from .mode import Observer, observed_by
from .operation import Elementwise, _OperationNode
from .tensor import Tensor
from .walk import _walk

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_AUTOGRAD = os.path.join(_PACKAGE, "autograd", "")
_FUNCTIONAL = os.path.join(_PACKAGE, "functional", "")
_RULES = (_OperationNode.pull.__code__, _CompositeNode.pull.__code__)
_BETWEEN = (contextlib.__file__, functools.__file__)  # decorators: neither ours nor the program's


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """A context in which the first NaN or infinity, forward or backward, is a FloatingPointError that says where it came from.

    The head of `minidiff/autograd/anomaly.py` says what counts. NumPy's own warnings are silent in this thread. It looks at every value,
    so it is for finding an error, not for every day; outside of it nothing is looked at.
    """
    detector = _Detector()
    with observed_by(detector), np.errstate(all="ignore"):
        yield
        detector.settle([])


@dataclass(frozen=True)
class _Site:
    """A line of the program, and the functions of this package through which it led to an operation, outermost first."""

    file: str
    line: int
    through: tuple[str, ...]

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line}" + (f": {text}" if text else "")


def _stack() -> tuple[_Site | None, bool, list[FrameType]]:
    """The line of the program that is at work; whether a walk through the graph is; the functions of `functional` under way."""
    frame, site, in_walk, through, functions = sys._getframe(1), None, False, [], []
    while frame is not None:
        code, file, name = frame.f_code, frame.f_code.co_filename, frame.f_code.co_name
        if code in _RULES:
            return site, True, functions
        in_walk = in_walk or (code is _walk.__code__ and site is None)
        if not file.startswith(_PACKAGE) and file not in _BETWEEN:
            site = site or _Site(file, frame.f_lineno, tuple(reversed(through)))
        elif site is None:
            if name == "__call__":  # an operation, a composite, a module
                owner = frame.f_locals["self"]
                name = getattr(owner, "__name__", type(owner).__name__)
            elif file.startswith(_AUTOGRAD) or name == "forward" or name[0] in "<_":
                name = None
            elif file.startswith(_FUNCTIONAL):
                functions.append(frame)
            if name is not None and name not in through[-1:]:
                through.append(name)
        frame = frame.f_back
    return site, in_walk, functions


@dataclass(frozen=True)
class _Finding:
    """Elements that are not finite: whether one is NaN, and how many of them there are, where."""

    is_nan: bool
    text: str


def _found(x: Any) -> _Finding | None:
    """What is not finite in an array; NaN first."""
    x = to_array(x)
    if getattr(getattr(x, "dtype", None), "kind", None) != "f":
        return None
    xp = array_module(x)
    where = ~xp.isfinite(x)
    if not bool(where.any()):
        return None
    is_nan = bool(xp.isnan(x).any())
    if is_nan:
        where = xp.isnan(x)
    first = tuple(int(i) for i in np.unravel_index(int(where.reshape(-1).argmax()), x.shape))
    what = "NaN" if is_nan else "inf" if float(x[first]) > 0 else "-inf"
    return _Finding(is_nan, f"{what} in {int(where.sum())} of {x.size} elements, the first at {first}, shape {tuple(x.shape)}, {x.dtype}")


def _infinite(x: Any) -> Any:
    """Where a number or an array is infinite."""
    if isinstance(x, (int, float)):
        return math.isinf(x)
    x = to_array(x)
    return array_module(x).isinf(x) if getattr(getattr(x, "dtype", None), "kind", None) == "f" else False


def _any(mask: Any) -> bool:
    return bool(mask if isinstance(mask, bool) else mask.any())


def _input_name(owner: Any, number: int) -> str:
    """What an operation or composite calls its input of this number."""
    variadic = getattr(owner, "variadic", None)
    return f"{variadic}[{number}]" if variadic else owner.inputs[number]


def _cause(operation: Any, inputs: Sequence[Any], options: dict[str, Any], value: Any, is_nan: bool) -> str | None:
    """Whether it was made or was there before; None for infinities that are meant."""
    for number, x in enumerate(inputs):
        if is_nan and (math.isnan(x) if isinstance(x, float) else getattr(_found(x), "is_nan", False)):
            return f"{_input_name(operation, number)} had NaN already"
    infinite = [_infinite(x) for x in inputs]
    before = [_input_name(operation, number) for number, mask in enumerate(infinite) if _any(mask)]
    if is_nan:
        return f"made here from infinities in {' and '.join(before)}" if before else "made here: all inputs are finite"
    for number, (x, mask) in enumerate(zip(inputs, infinite)):
        if isinstance(x, Tensor) and x.requires_grad and x.node is None and _any(mask):
            return f"{_input_name(operation, number)}, a leaf that requires a gradient, had infinities already"
    meant = [*infinite, *map(_infinite, {**getattr(operation, "defaults", {}), **options}.values())]
    if not any(map(_any, meant)):
        return "made here: all inputs are finite"
    if isinstance(operation, Elementwise):
        made = _infinite(value)
        for mask in meant:
            made = made & (not mask if isinstance(mask, bool) else ~mask)
        if _any(made):
            return "made here, where all inputs are finite"
    return None


@dataclass
class _Suspect:
    """What was found inside a function that had not returned, and whether the latest value in there is still not finite."""

    report: str
    function: FrameType
    remains: bool = True


class _State(threading.local):
    """Of this thread: the nodes whose rules are being computed, outermost first, and the suspect."""

    suspect: _Suspect | None = None

    def __init__(self) -> None:
        self.walked: list[Any] = []


class _Detector(Observer):
    def __init__(self) -> None:
        self.sites: weakref.WeakKeyDictionary[Any, _Site] = weakref.WeakKeyDictionary()
        self.state = _State()

    def recorded(self, node: Any) -> None:
        site, in_walk, _ = _stack()
        if in_walk and self.state.walked:  # it belongs to the line of the operation whose rule it is
            site = self.sites.get(self.state.walked[-1])
        if site is not None:
            self.sites[node] = site

    def forward(self, operation: Any, inputs: Sequence[Any], options: dict[str, Any], compute: Callable[[], Any]) -> Any:
        site, in_walk, functions = _stack()
        if in_walk:
            return compute()
        self.settle(functions)
        computed = compute()
        value = computed[0] if isinstance(computed, tuple) else computed
        if value is NotImplemented:
            return computed
        found = _found(value)
        if self.state.suspect is not None:
            self.state.suspect.remains = found is not None
        elif found is not None:
            cause = _cause(operation, inputs, options, value, found.is_nan)
            if cause is not None:
                report = _report(found, f"the result of {operation.__name__}", "forward", cause, site, operation.__name__)
                if not functions:
                    raise FloatingPointError(report)
                self.state.suspect = _Suspect(report, functions[-1])
        return computed

    def backward(self, node: Any, gradient: Any, compute: Callable[[], Any]) -> Any:
        self.settle([])
        self.state.walked.append(node)
        try:
            pairs = compute()
        finally:
            self.state.walked.pop()
        for parent, share in pairs:
            found = _found(share)
            if found is not None:
                came = _found(gradient)
                cause = "made here: the gradient of its result is finite" if came is None else f"the gradient of its result had {came.text}"
                owner = getattr(node, "operation", None) or getattr(node, "composite", None)
                number = next((k for k, known in enumerate(node.parents) if known is parent), None)
                to = "an input" if owner is None or number is None else _input_name(owner, number)
                subject = f"the gradient of {to} in {node.name}"
                raise FloatingPointError(_report(found, subject, "backward", cause, self.sites.get(node), node.name))
        return pairs

    def settle(self, functions: list[FrameType]) -> None:
        """Report the suspect if its function has returned something that is not finite; forget it if it returned otherwise."""
        suspect = self.state.suspect
        if suspect is not None and not any(frame is suspect.function for frame in functions):
            self.state.suspect = None
            if suspect.remains:
                raise FloatingPointError(suspect.report)


def _report(found: _Finding, subject: str, direction: str, cause: str, site: _Site | None, name: str) -> str:
    through = [outer for outer in site.through if outer != name] if site is not None else []
    called = f", called through {' > '.join(through)}" if through else ""
    line = "an operation from before detect_anomaly began" if site is None else str(site)
    return f"{direction}: {found.text}, in {subject}{called}; {cause}\n  {line}"
