"""Derivatives of functions: against finite differences, closed forms, 40 digits and PyTorch."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import Tensor, checkpoint, gradient, hessian, hessian_vector_product, jacobian, jvp, no_grad, tensor, vjp

X, Y = np.array([[0.4, -1.2, 0.9], [1.7, 0.3, -0.6]]), np.array([0.7, -0.2, 1.1])


def two_outputs(x, y):
    """(2, 3), (3,) -> (2,), (3, 1): every output depends on every input, and bends."""
    return F.sin(x @ y), F.exp(x * y).sum(axis=0).reshape(3, 1) * y[0]


def one_number(x, y):
    """A function with a full Hessian."""
    return (F.sin(x @ y) * F.exp(y).sum()).sum() + (x * x * x).sum()


def differences(function, inputs, output, number, step=1e-6):
    """The Jacobian of one output of a function of arrays with respect to one input, column by column."""
    columns = []
    for index in np.ndindex(inputs[number].shape):
        ends = []
        for sign in (1, -1):
            moved = [x.copy() for x in inputs]
            moved[number][index] += sign * step
            ends.append(np.asarray(function(*moved)[output]))
        columns.append((ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, -1).reshape(columns[0].shape + inputs[number].shape)


def test_the_jacobian_is_the_finite_difference():
    """Block by block, for two outputs of two inputs."""
    blocks = jacobian(two_outputs, (X, Y))
    for i in range(2):
        for j in range(2):
            expected = differences(two_outputs, (X, Y), i, j)
            assert blocks[i][j].shape == expected.shape
            np.testing.assert_allclose(blocks[i][j].data, expected, atol=1e-8)


def test_products_are_products_with_the_jacobian():
    """v^T J and J v, written out with the blocks."""
    blocks = jacobian(two_outputs, (X, Y))
    vs, us = (np.array([0.3, -2.0]), np.array([[1.0], [0.5], [-1.5]])), (np.cos(X), np.sin(Y))
    outputs, rows = vjp(two_outputs, (X, Y), vs)
    again, columns = jvp(two_outputs, (X, Y), us)
    for out, same, expected in zip(outputs, again, two_outputs(X, Y)):
        np.testing.assert_array_equal(out.data, expected)
        np.testing.assert_array_equal(same.data, expected)
    for j in range(2):
        np.testing.assert_allclose(rows[j].data, sum(np.tensordot(v, blocks[i][j].data, v.ndim) for i, v in enumerate(vs)), rtol=1e-13)
    for i in range(2):
        expected = sum(np.tensordot(blocks[i][j].data, u, u.ndim) for j, u in enumerate(us))
        np.testing.assert_allclose(columns[i].data, expected, rtol=1e-13)


def test_the_hessian_is_the_difference_of_the_gradient():
    """Symmetric, block by block; its products are products with it."""
    blocks = hessian(one_number, (X, Y))
    slopes = lambda *xs: [g.data for g in vjp(one_number, xs)[1]]
    us = (np.cos(X), np.sin(Y))
    value, products = hessian_vector_product(one_number, (X, Y), us)
    assert value.item() == one_number(X, Y)
    for i in range(2):
        for j in range(2):
            np.testing.assert_allclose(blocks[i][j].data, differences(slopes, (X, Y), i, j), atol=1e-7)
        np.testing.assert_allclose(
            products[i].data, sum(np.tensordot(blocks[i][j].data, u, u.ndim) for j, u in enumerate(us)), rtol=1e-12)
    np.testing.assert_allclose(blocks[0][1].data, np.moveaxis(blocks[1][0].data, 0, -1), rtol=1e-12)


def test_one_input_gives_no_tuple_and_a_tuple_gives_one():
    """The form of what is returned is the form of what was given, as in torch."""
    double = lambda x: x * 2.0
    single = tensor(Y)
    for function in (vjp, jvp):
        assert all(isinstance(result, Tensor) for result in function(double, single, Y))
    assert isinstance(vjp(double, (single,), Y)[1], tuple) and isinstance(jvp(lambda x: (x,), single, Y)[1], tuple)
    assert isinstance(jacobian(double, single), Tensor)
    assert isinstance(jacobian(double, (single,))[0], Tensor)
    assert isinstance(jacobian(lambda x: (x, x), single)[1], Tensor)
    assert isinstance(jacobian(lambda x: (x, x), (single,))[1][0], Tensor)
    assert isinstance(hessian(lambda x: (x * x).sum(), (single,))[0][0], Tensor)


def test_what_an_output_does_not_depend_on_has_the_derivative_zero():
    """An unused input, a constant output, a linear function's Hessian, an empty input and an empty output."""
    unused = lambda x, y: x * 3.0
    assert not vjp(unused, (X, Y), X)[1][1].data.any()
    assert not jvp(lambda x: tensor(Y), X, X)[1].data.any()
    assert not jacobian(unused, (X, Y))[1].data.any()
    assert not hessian(lambda x: x.sum() * 2.0, Y).data.any()
    assert not hessian_vector_product(lambda x: x.sum(), Y, Y)[1].data.any()
    assert jacobian(F.exp, np.zeros((0, 2))).shape == (0, 2, 0, 2)
    assert jacobian(lambda x: x[:0], Y).shape == (0, 3)
    assert vjp(F.exp, np.zeros((0, 2)), np.zeros((0, 2)))[1].shape == (0, 2)


def test_a_number_needs_no_vector():
    """v is 1 where it can be nothing else."""
    assert vjp(lambda x: x * x, tensor(3.0))[1].item() == 6.0
    assert jvp(lambda x: F.stack([x, x * x]), tensor(3.0))[1].data.tolist() == [1.0, 6.0]
    assert hessian_vector_product(lambda x: x * x * x, tensor(3.0))[1].item() == 18.0


def test_results_are_constants_unless_a_graph_is_asked_for():
    """With create_graph the derivatives depend on the inputs and on v, whose own derivatives are known: f = x^3, f' v = 3 x^2 v."""
    x, v = tensor(Y, requires_grad=True), tensor(np.ones(3), requires_grad=True)
    cube = lambda x: x * x * x
    for function in (vjp, jvp):
        out, product = function(cube, x, v)
        assert not out.requires_grad and not product.requires_grad
        out, product = function(cube, x, v, create_graph=True)
        by_x, by_v = gradient(product.sum(), [x, v], retain_graph=True)
        np.testing.assert_allclose(by_x.data, 6 * Y, rtol=1e-14)
        np.testing.assert_allclose(by_v.data, 3 * Y**2, rtol=1e-14)
        np.testing.assert_allclose(gradient(out.sum(), x).data, 3 * Y**2, rtol=1e-14)
    _, product = hessian_vector_product(lambda x: cube(x).sum(), x, v, create_graph=True)
    np.testing.assert_allclose(gradient(product.sum(), x).data, np.full(3, 6.0), rtol=1e-14)
    np.testing.assert_allclose(gradient(jacobian(cube, x, create_graph=True).sum(), x).data, 6 * Y, rtol=1e-14)
    np.testing.assert_allclose(gradient(hessian(lambda x: cube(x).sum(), x, create_graph=True).sum(), x).data, np.full(3, 6.0), rtol=1e-14)
    assert not jacobian(cube, x).requires_grad and x.grad is None
    plain = tensor(Y)
    vjp(cube, plain, v, create_graph=True)
    assert not plain.requires_grad


def test_derivatives_stand_inside_one_another_and_inside_no_grad():
    """The Jacobian of the Jacobian of the gradient of sum x^4 is 24 x on the diagonal; all of it without recording outside."""
    with no_grad():
        third = jacobian(lambda x: hessian(lambda z: (z * z * z * z).sum(), x, create_graph=True), Y)
    expected = np.zeros((3, 3, 3))
    expected[range(3), range(3), range(3)] = 24 * Y
    np.testing.assert_allclose(third.data, expected, rtol=1e-13)
    along = jvp(lambda x: jvp(F.sin, x, np.ones(3), create_graph=True)[1], Y, np.ones(3))[1]
    np.testing.assert_allclose(along.data, -np.sin(Y), rtol=1e-14)
    _, product = hessian_vector_product(lambda x: checkpoint(lambda z: F.exp(z * z), x).sum(), Y, np.ones(3))
    np.testing.assert_allclose(product.data, (2 + 4 * Y**2) * np.exp(Y**2), rtol=1e-13)


def test_what_does_not_fit_is_refused():
    """The function's name first, then what was expected and what came."""
    for name, function in (("vjp", vjp), ("jvp", jvp)):
        with pytest.raises(ValueError, match=rf"^{name}: v can be left out only for one"):
            function(F.exp, Y)
        with pytest.raises(ValueError, match=rf"^{name}: v has shapes \[\(2,\)\], expected .*\[\(3,\)\]"):
            function(F.exp, Y, np.ones(2))
        with pytest.raises(TypeError, match=rf"^{name}: func must return a Tensor or a tuple of Tensors, got ndarray"):
            function(lambda x: x.data, Y, Y)
    with pytest.raises(ValueError, match=r"^hessian_vector_product: func must return one number, got shapes \[\(3,\)\]"):
        hessian_vector_product(F.exp, Y, Y)
    with pytest.raises(ValueError, match=r"^hessian: func must return one number"):
        hessian(F.exp, Y)
    with pytest.raises(TypeError, match="convert it first"):
        jacobian(F.exp, np.arange(3))
    with pytest.raises(TypeError, match="strict"):
        vjp(F.exp, Y, Y, strict=True)


def test_results_are_torchs():
    """Values, forms and shapes of all five, with tuples."""
    torch = pytest.importorskip("torch")
    peer = torch.autograd.functional

    def theirs(x, y):
        return torch.sin(x @ y), torch.exp(x * y).sum(axis=0).reshape(3, 1) * y[0]

    def their_number(x, y):
        return (torch.sin(x @ y) * torch.exp(y).sum()).sum() + (x * x * x).sum()

    def same(ours, expected):
        assert isinstance(ours, tuple) == isinstance(expected, tuple)
        if isinstance(ours, tuple):
            assert len(ours) == len(expected)
            for a, b in zip(ours, expected):
                same(a, b)
        else:
            np.testing.assert_allclose(ours.data, expected.numpy(), rtol=1e-12, atol=1e-14)

    t = lambda *arrays: tuple(torch.from_numpy(a) for a in arrays)
    inputs, us, vs = (X, Y), (np.cos(X), np.sin(Y)), (np.array([0.3, -2.0]), np.array([[1.0], [0.5], [-1.5]]))
    same(vjp(two_outputs, inputs, vs), peer.vjp(theirs, t(*inputs), t(*vs)))
    same(jvp(two_outputs, inputs, us), peer.jvp(theirs, t(*inputs), t(*us)))
    same(jacobian(two_outputs, inputs), peer.jacobian(theirs, t(*inputs)))
    same(hessian_vector_product(one_number, inputs, us), peer.hvp(their_number, t(*inputs), t(*us)))
    same(hessian(one_number, inputs), peer.hessian(their_number, t(*inputs)))
    same(vjp(lambda x: x * 2.0, Y, Y), peer.vjp(lambda x: x * 2.0, *t(Y, Y)))


# -- derivatives of any order ----------------------------------------------------------------------------------------

# (of Tensors, of mpmath numbers); every one is smooth on all of the real line and tame on [-2, 2]
STEPS = {
    "sin": (F.sin, mpmath.sin), "cos": (F.cos, mpmath.cos), "tanh": (F.tanh, mpmath.tanh),
    "exp(x/2)": (lambda x: F.exp(x * 0.5), lambda x: mpmath.exp(x / 2)),
    "polynomial": (lambda x: x * x * x * 0.1 - x * x * 0.5 + x, lambda x: x**3 / 10 - x**2 / 2 + x),
    "power": (lambda x: x**4 * 0.05, lambda x: x**4 / 20),
    "rational": (lambda x: x / (1.0 + x * x), lambda x: x / (1 + x * x)),
    "sqrt": (lambda x: F.sqrt(x * x + 1.0), lambda x: mpmath.sqrt(x * x + 1)),
    "silu": (F.silu, lambda x: x / (1 + mpmath.exp(-x))),
}


@settings(max_examples=150)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3), st.floats(-2, 2), st.integers(1, 5), st.booleans())
def test_the_nth_derivative_of_a_composition_is_right_to_order_five(names, point, order, checkpointed):
    """grad of grad of ... against mpmath.diff in 60 digits, also through a checkpoint."""
    def ours(x):
        for name in names:
            x = STEPS[name][0](x)
        return x

    def exact(x):
        for name in names:
            x = STEPS[name][1](x)
        return x

    derivative = (lambda x: checkpoint(ours, x)) if checkpointed else ours
    for _ in range(order):
        derivative = lambda x, below=derivative: vjp(below, x, create_graph=True)[1]
    found = derivative(tensor(np.array(point), requires_grad=True))
    with mpmath.workdps(60):
        terms = [abs(mpmath.diff(exact, mpmath.mpf(point), k)) for k in range(1, order + 1)]
        expected = float(mpmath.diff(exact, mpmath.mpf(point), order))
    # Faa di Bruno's sum has terms larger than its value; they are products of lower derivatives
    scale = float(max(1, *terms)) * math.factorial(order)
    assert found.item() == pytest.approx(expected, rel=1e-11, abs=1e-12 * scale)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=7), st.integers(1, 5))
def test_the_nth_derivative_of_a_polynomial_is_its_closed_form(coefficients, order):
    """sum_k c_k k! / (k - n)! x^(k - n), by Horner's scheme and by powers, at many points at once."""
    points = np.linspace(-1.5, 1.5, 7)
    expected = sum((c * math.perm(k, order) * points ** (k - order) for k, c in enumerate(coefficients) if k >= order), np.zeros(7))

    def horner(x):
        value = x * 0.0
        for c in reversed(coefficients):
            value = value * x + c
        return value

    for polynomial in (horner, lambda x: sum((x**k * c for k, c in enumerate(coefficients)), x * 0.0)):
        derivative = polynomial
        for _ in range(order):
            derivative = lambda x, below=derivative: vjp(below, x, np.ones(7), create_graph=True)[1]
        derivative = derivative(tensor(points, requires_grad=True))
        np.testing.assert_allclose(derivative.data, expected, rtol=1e-11, atol=1e-9)
