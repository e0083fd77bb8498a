"""`check_gradients` must catch what is wrong: it is the judge of every other rule."""

import numpy as np
import pytest

from minidiff import functional as F
from minidiff.autograd import KinkError, Tensor, check_gradients, operation

X = np.array([[0.4, -1.2, 0.9], [1.7, 0.3, -0.6]])

square = operation(lambda xp, x: x * x, x=lambda g, x: g * 2.0 * x)
square_with_a_slope_3x = operation(lambda xp, x: x * x, x=lambda g, x: g * 3.0 * x)
off_by_a_trifle = operation(lambda xp, x: x * x, x=lambda g, x: g * (2.0 + 1e-5) * x)
wrong_in_one_place = operation(
    lambda xp, x: x * x, x=lambda g, x: g * 2.0 * x * (1.0 + (np.arange(6).reshape(2, 3) == 4)))
twice_without_a_rule = operation(lambda xp, x: 2.0 * x)
# the value of the slope is right, but 2 x comes from an operation that hides its dependence on x
square_with_a_constant_slope = operation(lambda xp, x: x * x, x=lambda g, x: g * twice_without_a_rule(x))
forgets_g = operation(lambda xp, x: x * x, x=lambda g, x: 2.0 * x)


def test_right_rules_pass():
    """One and two orders, several inputs, several outputs, linear functions, outputs that ignore an input."""
    check_gradients(square, [X])
    check_gradients(lambda x, y: [x * y, F.exp(x)], [X, X + 1.0], order=3)
    check_gradients(lambda x: 3.0 * x, [X])
    check_gradients(lambda x, y: x * 2.0 + 0.0 * y.sum(), [X, X])
    check_gradients(lambda x, y: square(x), [X, X])


@pytest.mark.parametrize("wrong", [square_with_a_slope_3x, off_by_a_trifle, forgets_g])
def test_a_wrong_first_derivative_is_caught(wrong):
    """At first order already, in any input."""
    with pytest.raises(AssertionError, match=r"^input 0 \(shape \(2, 3\)\), element .*: gradient .*, finite difference"):
        check_gradients(wrong, [X], order=1)
    with pytest.raises(AssertionError, match=r"^input 1"):
        check_gradients(lambda x, y: square(x) + wrong(y), [X, X])


def test_the_wrong_element_is_named():
    """Element (1, 1) and no other, with both values: cos(1 + 1.7 * 4) * 2 x twice, and once."""
    slope = np.cos(1.0 + 1.7 * 4) * 2 * X[1, 1]
    with pytest.raises(AssertionError) as error:
        check_gradients(wrong_in_one_place, [X])
    message = str(error.value)
    assert "element (1, 1)" in message and "1 of 6 elements" in message
    assert f"gradient {2 * slope:.10g}" in message and f"finite difference {slope:.6g}"[:-1] in message


def test_a_wrong_second_derivative_is_caught_at_order_two_only():
    """The first derivative is right, so order 1 passes."""
    check_gradients(square_with_a_constant_slope, [X], order=1)
    with pytest.raises(AssertionError, match=r"^derivative of the derivative: input 0"):
        check_gradients(square_with_a_constant_slope, [X], order=2)


def test_nan_is_wrong():
    """A comparison with NaN must not pass by being false."""
    nan = operation(lambda xp, x: x * x, x=lambda g, x: g * x * np.nan)
    with pytest.raises(AssertionError, match="6 of 6"):
        check_gradients(nan, [X], order=1)


def test_a_scale_error_at_a_large_derivative_is_caught():
    """The tolerance is relative to the largest derivative: 1e5 x^2 off by 1e-5 fails, a right one passes."""
    check_gradients(lambda x: 1e5 * square(x), [X])
    with pytest.raises(AssertionError):
        check_gradients(lambda x: 1e5 * off_by_a_trifle(x), [X], order=1)


@pytest.mark.parametrize(("inputs", "message"), [
    ([X, X.astype(np.float32)], "input 1 is float32"), ([X, X.astype(np.float16)], "input 1 is float16"),
    ([X, np.arange(3)], "input 1 is int64"), ([np.array([True]), X], "input 0 is bool"), ([X, 1.5], "input 1 is float;"),
])
def test_inputs_other_than_float64_are_refused(inputs, message):
    """Finite differences have no digits to spare, and integers cannot be moved by a little."""
    with pytest.raises(TypeError, match=f"^check_gradients: {message}"):
        check_gradients(lambda x, y: x * y, inputs)


def test_outputs_other_than_float64_are_refused():
    """A cast on the way, an output that left the graph, nothing but integers; integers beside others are left out."""
    with pytest.raises(TypeError, match=r"^check_gradients: output 1 is float32; finite differences need float64 all"):
        check_gradients(lambda x: (x, x.astype(np.float32)), [X])
    for left in (lambda x: x.data * 2.0, lambda x: [x, x.data.sum()]):
        with pytest.raises(TypeError, match=r"^check_gradients: output [01] is a \w+, not a Tensor"):
            check_gradients(left, [X])
    with pytest.raises(TypeError, match="no output is float64"):
        check_gradients(lambda x: Tensor(np.arange(3)), [X])
    check_gradients(lambda x: (F.exp(x), Tensor(np.arange(3))), [X])
    with pytest.raises(ValueError, match="order 0; expected 1 or more"):
        check_gradients(F.exp, [X], order=0)


def test_inputs_may_lie_in_memory_in_any_way_and_are_not_modified():
    """Transposed, strided, reversed, read-only, of one row that stands for all, without dimensions, without elements."""
    wide = np.linspace(0.3, 1.7, 24).reshape(4, 6)
    read_only = X.copy()
    read_only.flags.writeable = False
    repeated = np.broadcast_to(X[0], (2, 3))
    for x in (X.T, wide[::2, 1::3], X[::-1, ::-1], read_only, repeated, np.array(0.7), np.zeros((0, 3))):
        before = x.copy()
        check_gradients(lambda x: F.exp(x) * x, [x])
        np.testing.assert_array_equal(x, before)
        if x.ndim == 2 and x.size:
            with pytest.raises(AssertionError, match="input 0"):
                check_gradients(off_by_a_trifle, [x])
    check_gradients(lambda x, y: (x * y.sum(), y), [X, np.zeros((0, 3))])


# -- kinks -----------------------------------------------------------------------------------------------------------

ATZERO = np.array([[0.4, -1.2, 0.9], [1.7, 0.3, 0.0]])
relu_from_the_right = operation(lambda xp, x: xp.maximum(x, 0), x=lambda g, x: g * (x >= 0))
relu_from_the_left = operation(lambda xp, x: xp.maximum(x, 0), x=lambda g, x: g * (x > 0))


@pytest.mark.parametrize(("function", "left", "right"), [
    (F.abs, -1, 1), (F.relu, 0, 1), (relu_from_the_right, 0, 1), (relu_from_the_left, 0, 1), (lambda x: F.maximum(x, 0.5 * x), 0.5, 1),
])
def test_a_kink_is_named_with_both_slopes(function, left, right):
    """Whatever the gradient is there: one of the slopes, or, as for |x|, their mean, which a central difference would agree with."""
    weight = np.cos(1.0 + 1.7 * 5)
    with pytest.raises(KinkError) as error:
        check_gradients(function, [ATZERO], order=1)
    message = str(error.value)
    assert message.startswith("kink at input 0 (shape (2, 3)), element (1, 2): left slope ")
    slopes = [float(part.split()[0].strip(",;")) for part in message.split("slope ")[1:]]
    assert slopes == pytest.approx([left * weight, right * weight], abs=1e-8)


def test_a_kink_in_the_derivative_is_found_at_order_two():
    """relu(x)^2 has a slope everywhere and no bend at 0."""
    smooth_once = lambda x: F.relu(x) * F.relu(x)
    check_gradients(smooth_once, [ATZERO], order=1)
    with pytest.raises(KinkError, match=r"^derivative of the derivative: kink at input 0 .* element \(1, 2\)"):
        check_gradients(smooth_once, [ATZERO], order=2)


@pytest.mark.parametrize("beside", [0.1e-6, -0.3e-6, 0.5e-6, 2e-6 / 3, -8e-6 / 9, 0.97e-6])
def test_a_kink_within_the_step_is_a_kink(beside):
    """The difference steps over it, so it would accuse a right gradient."""
    with pytest.raises(KinkError, match=r"element \(1, 2\)"):
        check_gradients(F.abs, [ATZERO + beside * (ATZERO == 0)], order=1)


def test_a_jump_is_no_derivative_either():
    """A step function, whose gradient is 0 on both sides."""
    stairs = operation(lambda xp, x: x + xp.floor(x), x=lambda g: g)
    check_gradients(stairs, [X], order=1)
    with pytest.raises(KinkError):
        check_gradients(stairs, [ATZERO], order=1)


@pytest.mark.parametrize("function", [
    lambda x: x * x * 300.0, lambda x: F.exp(3.0 * x), lambda x: F.sin(30.0 * x), lambda x: F.sqrt(x * x + 1e-3), lambda x: 1.0 / (x + 1.3),
    lambda x: F.tanh(20.0 * x), lambda x: F.log(x + 1.21),
])
def test_curvature_is_no_kink(function):
    """Strongly bent functions pass, and a wrong slope of theirs is called wrong, not a kink."""
    check_gradients(function, [ATZERO], order=2)
    wrong = operation(lambda xp, x: x * x * 300.0, x=lambda g, x: g * 601.0 * x)
    with pytest.raises(AssertionError, match="gradient") as error:
        check_gradients(lambda x: wrong(x) + function(x) * 0.0, [ATZERO])
    assert not isinstance(error.value, KinkError)


def test_an_ordinary_check_costs_two_values_an_element():
    """One more than twice the number of elements, and one for the gradient: looking for kinks is free where there are none."""
    calls = []
    check_gradients(lambda x: calls.append(1) or F.sin(x), [X], order=1)
    assert len(calls) == 2 * X.size + 2
