"""Declaring operations and composites: what is called when, and on what."""

import copy
import dataclasses

import numpy as np
import pytest

from minidiff import backend
from minidiff import functional as F
from minidiff.autograd import Tensor, check_gradients, composite, gradient, operation, tensor

X, Y = np.array([0.5, -1.5, 2.0]), np.array([1.0, 2.0, -3.0])


# -- operations ------------------------------------------------------------------------------------------------------


def test_a_rule_gets_what_it_names():
    """Inputs, result, options (given, and by default) and shapes, by name; all first derivatives in closed form."""
    seen = {}

    def rule(g, x, out, like_y, scale, shift):
        seen.update(x=x, out=out, like_y=like_y, scale=scale, shift=shift)
        return g * y_of(scale)

    y_of = lambda scale: scale * Y
    scaled = operation(lambda xp, x, y, *, scale, shift=1.0: scale * x * y + shift, x=rule)
    x = tensor(X, requires_grad=True)
    out = scaled(x, Y, scale=3.0)
    np.testing.assert_array_equal(gradient(out.sum(), x).data, 3 * Y)
    np.testing.assert_array_equal(seen["x"], X)
    np.testing.assert_array_equal(seen["out"], 3 * X * Y + 1)
    assert (seen["like_y"].shape, seen["like_y"].dtype, seen["scale"], seen["shift"]) == ((3,), np.float64, 3.0, 1.0)
    assert not hasattr(seen["like_y"], "data")


def test_any_number_of_inputs():
    """A variadic product of three: rule number i is the product of the others, twice differentiable."""
    def others(g, i, xs):
        for j, x in enumerate(xs):
            g = g if i == j else g * x
        return g

    product = operation(lambda xp, *xs: xs[0] * xs[1] * xs[2], xs=others)
    check_gradients(product, [X, Y, X + Y])
    check_gradients(lambda x: product(x, Y, x), [X])


def test_rules_that_cannot_work_are_refused_when_declared():
    """Unknown inputs, and needs that nothing can meet."""
    with pytest.raises(TypeError, match=r"rules for \['y'\], but the inputs are \['x'\]"):
        operation(lambda xp, x: x, y=lambda g: g)
    with pytest.raises(TypeError, match=r"asks for \['weight'\]"):
        operation(lambda xp, x: x, x=lambda g, weight: g * weight)


def test_arrays_in_arrays_out_and_tensors_in_tensors_out():
    """One Tensor among the inputs is enough; whether it is recorded depends on requires_grad."""
    assert type(F.add(X, Y)) is np.ndarray
    for mixed in (F.add(tensor(X), Y), F.add(X, tensor(Y))):
        assert isinstance(mixed, Tensor) and not mixed.requires_grad
    assert F.add(X, tensor(Y, requires_grad=True)).requires_grad


def test_a_kernel_computes_when_it_can():
    """It is asked first; on NotImplemented the readable forward runs; the rules are the operation's."""
    doubled = operation(lambda xp, x: x + x, x=lambda g: g + g)
    calls = []

    def kernel(x):
        calls.append(x.dtype)
        return 2.0 * x if x.dtype == np.float64 else NotImplemented

    doubled.kernel = kernel
    for dtype in (np.float64, np.float32):
        x = tensor(X.astype(dtype), requires_grad=True)
        np.testing.assert_array_equal(doubled(x).data, 2 * x.data)
        np.testing.assert_array_equal(gradient(doubled(x).sum(), x).data, [2.0, 2.0, 2.0])
    assert set(calls) == {np.dtype("float32"), np.dtype("float64")}


class FarArray:
    """An array of a library of its own, for the meeting of two devices."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.shape, self.dtype, self.ndim = self.values.shape, self.values.dtype, self.values.ndim


@pytest.fixture
def far(monkeypatch):
    monkeypatch.setattr(backend, "_by_type", dict(backend._by_type))
    monkeypatch.setattr(backend, "_by_name", dict(backend._by_name))
    backend.register(dataclasses.replace(
        backend.NUMPY, name="far", array_type=FarArray, from_numpy=FarArray, to_numpy=lambda x: x.values))
    return FarArray


@pytest.mark.parametrize("function", [F.add, F.mul, F.maximum, lambda x, y: F.cat([x, y]), lambda x, y: F.where(x > 0, x, y)])
def test_two_devices_do_not_meet(far, function):
    """Nothing is moved silently: the error names both devices and what to do."""
    there = Tensor(far(Y))
    assert there.device == "far"
    for x in (X, tensor(X), tensor(X, requires_grad=True)):
        with pytest.raises(backend.DeviceError, match=r"cpu and far.*move one of them first"):
            function(x, there)


# -- composites ------------------------------------------------------------------------------------------------------


class Counting:
    """A kernel of y = x tanh(w) that counts its calls and takes float64 only."""

    def __init__(self):
        self.forwards = self.backwards = 0
        self.needs = None

    def forward(self, x, w, *, scale):
        if x.dtype != np.float64:
            return NotImplemented
        self.forwards += 1
        t = np.tanh(w)
        return scale * x * t, (x, t)

    def backward(self, g, saved, needs, *, scale):
        assert isinstance(g, np.ndarray)
        self.backwards += 1
        self.needs = needs
        x, t = saved
        return scale * g * t if needs[0] else None, (scale * g * x * (1 - t * t)).sum(0) if needs[1] else None


@pytest.fixture
def gated():
    @composite
    def gated(x, w, *, scale):
        return scale * x * F.tanh(w)

    gated.twin = gated.function
    gated.kernel = Counting()
    return gated


XX = np.stack([X, Y])


def test_kernel_and_twin_agree(gated):
    """Values and gradients of both orders."""
    inputs = [tensor(XX, requires_grad=True), tensor(Y, requires_grad=True)]
    results, calls = [], []
    for function in (gated.twin, gated):
        out = function(*inputs, scale=2.0)
        first = gradient((out * out).sum(), inputs, retain_graph=True)
        recorded = gradient((out * out).sum(), inputs, create_graph=True)
        calls.append(gated.kernel.backwards)
        second = gradient(sum((g * g).sum() for g in recorded), inputs)
        results.append([out, *first, *recorded, *second])
    for a, b in zip(*results):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.data, b.data, rtol=1e-13)
    assert calls == [0, 1]  # one for the plain pass; the recorded pass goes through the twin


def test_finite_differences_agree_with_the_kernel(gated):
    """Both orders; shared input; one constant input."""
    check_gradients(lambda x, w: gated(x, w, scale=2.0), [XX, Y])
    check_gradients(lambda x: gated(x * x, x, scale=2.0), [Y])
    check_gradients(lambda w: gated(XX, w, scale=2.0), [Y])
    check_gradients(lambda x: gated(x, x, scale=2.0), [Y])
    check_gradients(lambda x, w: gated(F.sin(x), F.exp(w), scale=0.5), [XX, 0.1 * Y], order=3)


def test_the_kernel_computes_first_gradients_and_only_those_needed(gated):
    """One forward, one backward; the twin is not called."""
    gated.function = None
    w = tensor(Y, requires_grad=True)
    np.testing.assert_allclose(gradient(gated(tensor(XX), w, scale=1.0).sum(), w).data, XX.sum(0) / np.cosh(Y) ** 2)
    assert (gated.kernel.forwards, gated.kernel.backwards, gated.kernel.needs) == (1, 1, [False, True])


def test_without_a_fitting_kernel_the_twin_runs(gated):
    """float32 is NotImplemented here; arrays give arrays either way; no graph under constants."""
    x = tensor(XX.astype(np.float32), requires_grad=True)
    y = gated(x, Y.astype(np.float32), scale=1.0)
    assert gated.kernel.forwards == 0 and y.dtype == np.float32
    assert gradient(y.sum(), x).dtype == np.float32
    assert type(gated(XX, Y, scale=1.0)) is np.ndarray
    constant = gated(tensor(XX), tensor(Y), scale=1.0)
    assert isinstance(constant, Tensor) and not constant.requires_grad


def test_a_walked_composite_is_freed(gated):
    """Like every node."""
    x = tensor(XX, requires_grad=True)
    y = gated(x, Y, scale=1.0).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_a_copied_model_computes_with_the_same_operations():
    """copy and deepcopy leave operations and composites what they are, as they leave functions: kernels and rules stay theirs."""
    for function in (F.relu, F.mul, F.silu):
        assert copy.copy(function) is function and copy.deepcopy({"activation": [function]})["activation"][0] is function
