"""`check_gradients` must catch what is wrong: it is the judge of every other rule."""

import numpy as np
import pytest

from minidiff import functional as F
from minidiff.autograd import check_gradients, operation

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


def test_float32_is_refused():
    """Finite differences have no digits to spare."""
    with pytest.raises(TypeError, match="input 1 is float32"):
        check_gradients(lambda x, y: x * y, [X, X.astype(np.float32)])
