"""`profile`: what it counts is exact, what it times adds up."""

import dataclasses
import re
import time

import numpy as np
import pytest

from minidiff import backend
from minidiff import functional as F
from minidiff.autograd import checkpoint, composite, gradient, operation, profile, tensor

X = np.ones((50, 40))

naps = operation(lambda xp, x, *, seconds: time.sleep(seconds) or x * 1.0, x=lambda g: naps(g, seconds=0.03))
naps.__name__ = "naps"


def by_name(p):
    return {(row.operation, row.part): (row.calls, row.bytes) for row in p.rows}


def test_calls_and_bytes_are_exact():
    """sum(sin(x w) + x) by hand: three elementwise results, one number, and the gradients of each."""
    x, w = tensor(X, requires_grad=True), tensor(X[0], requires_grad=True)
    with profile() as p:
        y = (F.sin(x * w) + x).sum()
        for _ in range(2):
            x + 1.0
    size = X.nbytes
    assert by_name(p) == {("mul", "forward"): (1, size), ("sin", "forward"): (1, size), ("add", "forward"): (3, 3 * size),
                          (p_name(y), "forward"): (1, 8)}
    with profile() as p:
        gradient(y, [x, w])
        F.tanh(X)
    rows = by_name(p)
    assert {name for name, part in rows if part == "backward"} == {"mul", "sin", "add", p_name(y)}
    assert rows["mul", "backward"] == (1, 2 * size)     # before broadcasting is undone
    assert rows["add", "backward"] == (1, 2 * size)
    assert rows["sin", "backward"] == (1, size)
    assert ("cos", "in backward") in rows and [name for name, part in rows if part == "forward"] == ["tanh"]


def p_name(tensor):
    return tensor.node.name


def test_nothing_is_counted_twice_and_nothing_outside():
    """A rule that computes with operations: each has its own time, and the sum is the time that was slept."""
    x = tensor(np.ones(3), requires_grad=True)
    naps(x, seconds=0.0)
    start = time.perf_counter()
    with profile() as p:
        y = naps(x, seconds=0.02)
        time.sleep(0.01)
        gradient(y.sum(), x)
    assert p.seconds <= time.perf_counter() - start
    naps(x, seconds=0.0)
    rows = {(row.operation, row.part): row for row in p.rows}
    assert rows["naps", "forward"].calls == rows["naps", "backward"].calls == rows["naps", "in backward"].calls == 1
    assert 0.02 <= rows["naps", "forward"].seconds and 0.03 <= rows["naps", "in backward"].seconds
    assert rows["naps", "backward"].seconds < rows["naps", "in backward"].seconds      # the rule itself only calls
    inside = sum(row.seconds for row in p.rows)
    assert inside + 0.01 <= p.seconds
    assert p.rows == sorted(p.rows, key=lambda row: -row.seconds)


def test_a_kernel_is_one_row_and_its_refusal_none():
    """A composite whose kernel takes float64 only; what the twin computes has rows of its own."""
    @composite
    def doubled_exp(x):
        return F.mul(F.exp(x), 2.0)

    class Kernel:
        forward = staticmethod(lambda x: (2.0 * np.exp(x), (x, x)) if x.dtype == np.float64 else NotImplemented)
        backward = staticmethod(lambda g, saved, needs: [g * 2.0 * np.exp(saved[0])])

    doubled_exp.kernel = Kernel
    x = tensor(X, requires_grad=True)
    with profile() as p:
        gradient(doubled_exp(x), x, X)
    assert by_name(p) == {("doubled_exp", "forward"): (1, X.nbytes), ("doubled_exp", "backward"): (1, X.nbytes)}
    with profile() as p:
        doubled_exp(X.astype(np.float32))
    assert by_name(p) == {("exp", "forward"): (1, X.nbytes // 2), ("mul", "forward"): (1, X.nbytes // 2)}


def test_what_a_checkpoint_computes_again_is_part_of_the_backward_pass():
    """exp runs twice, the second time in backward."""
    x = tensor(X, requires_grad=True)
    with profile() as p:
        gradient(checkpoint(F.exp, x), x, X)
    calls = {key: found[0] for key, found in by_name(p).items()}
    assert calls["exp", "forward"] == calls["exp", "in backward"] == calls["exp", "backward"] == 1
    assert calls["checkpoint", "backward"] == 2


def test_the_table_shows_the_rows_and_the_whole():
    """Sorted, aligned; shares add up to 100 % of the time inside the context."""
    x = tensor(X, requires_grad=True)
    with profile() as p:
        gradient(F.exp(x * x).sum(), x)
    head, *lines = p.table().splitlines()
    assert head.split() == ["operation", "part", "calls", "ms", "share", "MB"]
    assert len(lines) == len(p.rows) + 2
    assert lines[-1].startswith("total") and "100.0%" in lines[-1] and f"{1e3 * p.seconds:.3f}" in lines[-1]
    shares = [float(re.search(r"(-?[\d.]+)%", line)[1]) for line in lines[:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares) + 1e-9)
    assert [line.split()[0] for line in lines[:-2]] == [row.operation for row in p.rows]
    assert dataclasses.astuple(p.rows[0])[:2] == (p.rows[0].operation, p.rows[0].part)
    with profile() as p:
        pass
    assert p.rows == [] and "total" in p.table()


def test_every_device_is_waited_for_around_each_operation(monkeypatch):
    """A library that counts: once before and once after each of two operations."""
    waits = []
    monkeypatch.setattr(backend, "_by_name", dict(backend._by_name))
    backend._by_name["far"] = dataclasses.replace(backend.NUMPY, name="far", synchronize=lambda: waits.append(1))
    with profile():
        F.exp(F.exp(X))
    assert len(waits) == 4


def test_an_error_inside_ends_the_profile_and_passes_through():
    """The rows so far are there; operations afterwards are not observed."""
    with pytest.raises(ValueError, match="broadcast"), profile() as p:
        F.exp(X)
        F.add(X, np.ones(3))
    F.exp(X)
    assert by_name(p) == {("exp", "forward"): (1, X.nbytes)} and p.seconds > 0
