"""Functions of one element, and activations: special values, extremes, ties, errors. Ordinary values are in test_every_function.py."""

import fractions
import math
import operator

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import gradient, tensor

EXTREMES = np.array([-1e4, -800.0, -100.0, -30.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 30.0, 100.0, 800.0, 1e4])
finite = st.floats(-700, 700)
positive = st.floats(1e-300, 1e300)
small = st.floats(-100, 100)
unit = st.floats(-1, 1)


def slope(function, x):
    x = tensor(np.array(x, np.float64), requires_grad=True)
    return gradient(function(x).sum(), x).data


# -- values ----------------------------------------------------------------------------------------------------------


# name: the function in 50 digits, and where it is asked
EXACT = {
    "exp": (mpmath.exp, finite), "expm1": (mpmath.expm1, finite), "log": (mpmath.log, positive), "log1p": (mpmath.log1p, positive),
    "log2": (lambda x: mpmath.log(x, 2), positive), "log10": (lambda x: mpmath.log(x, 10), positive),
    "sqrt": (mpmath.sqrt, positive), "rsqrt": (lambda x: 1 / mpmath.sqrt(x), positive), "reciprocal": (lambda x: 1 / x, positive),
    "sin": (mpmath.sin, small), "cos": (mpmath.cos, small), "tan": (mpmath.tan, small),
    "asin": (mpmath.asin, unit), "acos": (mpmath.acos, unit), "atan": (mpmath.atan, finite),
    "sinh": (mpmath.sinh, finite), "cosh": (mpmath.cosh, finite), "tanh": (mpmath.tanh, finite),
    "erf": (mpmath.erf, finite), "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), finite), "square": (lambda x: x * x, finite),
}


@pytest.mark.parametrize("name", EXACT)
def test_all_digits_are_right(name):
    """Relative to 50 digits, wherever the function is asked: near 0, where it is small, where it is large."""
    exact, arguments = EXACT[name]

    @given(arguments)
    def run(x):
        with mpmath.workdps(50):
            expected = float(exact(mpmath.mpf(x)))
        assert float(getattr(F, name)(np.array(x))) == pytest.approx(expected, rel=1e-15 if name != "tan" else 1e-14, abs=1e-300)

    run()


@given(finite, finite)
def test_functions_of_two_have_all_digits(x, y):
    """logaddexp does not overflow, atan2 knows the quadrant, lerp ends where it should."""
    x, y = x + 0.0, y + 0.0  # mpmath has no -0
    with mpmath.workdps(50):
        a, b = mpmath.mpf(x), mpmath.mpf(y)
        expected = float(mpmath.log(mpmath.exp(a) + mpmath.exp(b))), float(mpmath.atan2(a, b))
    assert float(F.logaddexp(np.array(x), y)) == pytest.approx(expected[0], rel=1e-15, abs=1e-15)
    assert float(F.atan2(np.array(x), y)) == pytest.approx(expected[1], rel=1e-15, abs=1e-300)
    assert F.lerp(np.array(x), np.array(y), 0.0) == x and F.lerp(np.array(x), np.array(y), 1.0) == y
    assert F.lerp(np.array(x), np.array(y), np.array(1.0)) == y


@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3).filter(lambda y: abs(y) > 1e-3))
def test_quotients_and_what_is_left_of_them_are_pythons(x, y):
    """Floor and remainder have the divisor's sign, trunc and fmod the dividend's; integers exactly."""
    array = np.array(x)
    assert F.remainder(array, y) == x % y and F.fmod(array, y) == math.fmod(x, y)
    assert F.floor_divide(array, y) == F.div(array, y, rounding_mode="floor") == x // y
    assert F.div(array, y, rounding_mode="trunc") == math.trunc(x / y)
    i, j = int(x), math.ceil(abs(y)) * (1 if y > 0 else -1)
    whole = np.array(i)
    assert (F.remainder(whole, j), F.fmod(whole, j), F.floor_divide(whole, j)) == (i % j, math.fmod(i, j), i // j)
    truncated = F.div(whole, np.array(j), rounding_mode="trunc")
    assert truncated == int(fractions.Fraction(i, j)) and truncated.dtype == np.int64


@given(st.floats(-1e3, 1e3))
def test_rounding_is_pythons(x):
    """To even at a half; integers are what they are."""
    half = np.array(math.floor(x) + 0.5)
    assert F.round(half) == round(float(half)) and F.round(np.array(x)) == round(x)
    assert (F.floor(np.array(x)), F.ceil(np.array(x)), F.trunc(np.array(x))) == (math.floor(x), math.ceil(x), math.trunc(x))
    assert float(F.round(np.array(x), decimals=2)) == pytest.approx(round(x, 2), abs=1e-12)
    for function in (F.floor, F.ceil, F.trunc, F.round):
        assert function(np.array([3, -2])).dtype == np.int64


@pytest.mark.parametrize("name", [*EXACT, "abs", "neg", "sign", "floor", "ceil", "trunc", "round"])
def test_float16_and_float32_agree_with_float64(name):
    """To a rounding or two of each dtype, and the dtype stays."""
    x = np.linspace(0.1, 0.9, 50)
    for dtype in (np.float16, np.float32):
        found = getattr(F, name)(x.astype(dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, getattr(F, name)(x.astype(dtype).astype(np.float64)), rtol=4 * np.finfo(dtype).eps)


def test_numbers_alone_are_taken_as_well():
    """Python's numbers, without any array."""
    assert F.add(2, 3) == 5 and F.mul(2.0, 3) == 6.0 and F.pow(2, 3) == 8 and F.maximum(1, 2) == 2
    assert F.exp(0.0) == F.cos(0) == F.sigmoid(800.0) == 1.0


@pytest.mark.parametrize(("name", "count"), [*((name, 1) for name in sorted(EXACT.keys() - {"square"})),
                                             ("atan2", 2), ("logaddexp", 2), ("div", 2)])
def test_integers_become_float32(name, count):
    """Of every width, and booleans: a function that leaves the integers does not lead to float64 unasked."""
    for dtype in (np.int64, np.uint8, np.bool_):
        found = getattr(F, name)(*[np.ones(2, dtype)] * count)
        assert found.dtype == np.float32
        with np.errstate(divide="ignore"):
            np.testing.assert_array_equal(found, getattr(F, name)(*[np.ones(2, np.float32)] * count))


QUESTIONS = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "logical_and": lambda x, y: bool(x and y), "logical_or": lambda x, y: bool(x or y), "logical_xor": lambda x, y: bool(x) != bool(y),
    "logical_not": operator.not_, "isnan": math.isnan, "isinf": math.isinf, "isfinite": math.isfinite,
}
BITS = {"bitwise_and": operator.and_, "bitwise_or": operator.or_, "bitwise_xor": operator.xor, "bitwise_not": operator.invert}


@pytest.mark.parametrize("name", [*QUESTIONS, *BITS])
def test_questions_and_bits_are_answered_as_by_python(name):
    """Every pair of a few numbers, NaN and infinities among them; integers for bits."""
    numbers = [-3, 0, 1, 6] if name in BITS else [-1.5, 0.0, 1.0, 2.0, math.nan, math.inf, -math.inf]
    exact = (QUESTIONS | BITS)[name]
    if name in ("logical_not", "isnan", "isinf", "isfinite", "bitwise_not"):
        found, expected = getattr(F, name)(np.array(numbers)), [exact(x) for x in numbers]
    else:
        found = getattr(F, name)(np.array(numbers)[:, None], np.array(numbers))
        expected = [[exact(x, y) for y in numbers] for x in numbers]
    assert found.tolist() == expected


@given(finite)
def test_the_sigmoid_is_odd_about_one_half(x):
    """s(-x) = 1 - s(x)."""
    assert F.sigmoid(np.array(-x)) == pytest.approx(1 - F.sigmoid(np.array(x)), abs=2e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [F.sigmoid, F.silu, F.tanh, F.erf, F.relu, F.gelu],
                         ids=["sigmoid", "silu", "tanh", "erf", "relu", "gelu"])
def test_nothing_overflows_at_ten_thousand(function, dtype):
    """Values and slopes reach their limits without a warning; underflow to zero is the right answer."""
    limits = {F.sigmoid: (0, 1), F.silu: (0, 1e4), F.tanh: (-1, 1), F.erf: (-1, 1), F.relu: (0, 1e4), F.gelu: (0, 1e4)}
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        x = tensor(EXTREMES.astype(dtype), requires_grad=True)
        y = function(x)
        g = gradient(y.sum(), x).data
    assert (y.data[0], y.data[-1]) == limits[function]
    assert (g[0], g[-1]) == (0, 1 if limits[function][1] > 1 else 0)
    assert np.isfinite(y.data).all() and np.isfinite(g).all()


def test_the_two_gelus_are_at_most_48e_5_apart():
    """And no closer than 4.7e-4 somewhere: the tanh form is another function."""
    x = np.linspace(-8, 8, 100_001)
    apart = np.abs(F.gelu(x) - F.gelu(x, approximate="tanh")).max()
    assert 4.7e-4 < apart <= 4.8e-4


@given(st.floats(-30, 30))
def test_gelu_is_x_times_the_normal_distribution(x):
    """x Phi(x) by 50 digits; the tanh form by its formula, with math."""
    with mpmath.workdps(50):
        exact = float(mpmath.mpf(x) * mpmath.ncdf(x))
    assert F.gelu(np.array([x]))[0] == pytest.approx(exact, rel=1e-13, abs=1e-15)
    approximate = x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    assert F.gelu(np.array([x]), approximate="tanh")[0] == pytest.approx(approximate, rel=1e-13, abs=1e-15)


# -- slopes at kinks and ties ----------------------------------------------------------------------------------------


def test_slopes_at_kinks_are_torchs():
    """relu 0 at 0, abs 0 at 0, clamp 1 at its borders and 0 beyond, pow 0 flat."""
    assert slope(F.relu, [-1, 0, 1]).tolist() == [0, 0, 1]
    assert slope(F.abs, [-1, 0, 1]).tolist() == [-1, 0, 1]
    assert slope(lambda x: F.clamp(x, -1.0, 1.0), [-2, -1, 0, 1, 2]).tolist() == [0, 1, 1, 1, 0]
    assert slope(lambda x: x**0, [0, 2]).tolist() == [0, 0]
    assert slope(lambda x: x**1, [0, 2]).tolist() == [1, 1]
    assert slope(lambda x: x**2, [0, 2]).tolist() == [0, 4]


def slopes(function, *values):
    leaves = [tensor(np.array(x, np.float64), requires_grad=True) for x in values]
    return [float(g.data) for g in gradient(function(*leaves), leaves)]


def test_powers_at_zero_are_torchs():
    """x**y at x = 0: no slope in y where y >= 0; in x that of the power, which is 0 at y = 0 and 1 at y = 1."""
    assert slopes(F.pow, 0.0, 0.0) == [0.0, 0.0]
    assert slopes(F.pow, 0.0, 1.0) == [1.0, 0.0]
    assert slopes(F.pow, 0.0, 2.0) == [0.0, 0.0]
    assert slopes(F.pow, 2.0, 0.0) == [0.0, math.log(2)]
    assert slopes(lambda y: F.pow(0, y), 1.5) == [0.0]
    assert slopes(lambda y: F.pow(2, y), 3.0) == [8 * math.log(2)]


def test_the_second_derivative_of_a_power_at_zero_is_finite():
    """d2/dxdy x**y = x**(y - 1) (1 + y log x): 1/x at y = 0, and no NaN at x = 0."""
    x, y = tensor([2.0, 0.0], requires_grad=True), tensor([0.0, 2.0], requires_grad=True)
    (first,) = gradient(F.pow(x, y).sum(), [x], create_graph=True)
    assert gradient(first.sum(), y, create_graph=True).data.tolist() == [0.5, 0.0]


def test_beyond_a_bound_the_gradient_is_the_bounds():
    """clamp hands it to x inside and on the border, else to the bound; where min > max, everything is max."""
    assert slopes(F.clamp, 0.5, 0.0, 1.0) == slopes(F.clamp, 0.0, 0.0, 1.0) == slopes(F.clamp, 1.0, 0.0, 1.0) == [1, 0, 0]
    assert slopes(F.clamp, -1.0, 0.0, 1.0) == [0, 1, 0]
    assert slopes(F.clamp, 2.0, 0.0, 1.0) == [0, 0, 1]
    for x in (0.0, 1.0, 1.5, 2.0, 3.0):
        assert F.clamp(np.array(x), 2.0, 1.0) == 1.0 and slopes(F.clamp, x, 2.0, 1.0) == [0, 0, 1]


def test_staircases_are_flat():
    """Rounding and signs have the gradient 0, not none: a network with one in it still trains."""
    for function in (F.floor, F.ceil, F.trunc, F.round, F.sign, lambda x: F.round(x, decimals=1), lambda x: F.floor_divide(x, 0.3)):
        assert slope(function, [-1.5, 0.2, 3.0]).tolist() == [0, 0, 0]


def test_conversion_hands_the_gradient_back_in_the_first_dtype():
    """float32 -> float64 and back; integers end it."""
    x = tensor(np.ones(3, np.float32), requires_grad=True)
    g = gradient((x.astype(np.float64) * 3.0).sum(), x)
    assert g.dtype == np.float32 and g.data.tolist() == [3, 3, 3]
    assert not x.astype(np.int64).requires_grad and not (x > 0).requires_grad


def test_ties_share_the_gradient():
    """maximum and minimum of equals: half each, so that the shares add to one."""
    for function in (F.maximum, F.minimum):
        x, y = (tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
        for g in gradient(function(x, y).sum(), [x, y]):
            assert g.data.tolist() == [0.5, 0.5, 0.5]


def test_a_number_may_be_one_of_two():
    """maximum and minimum of a number and a tensor: the slope is 0, a half at the tie, or 1."""
    slopes = [0.0, 0.5, 1.0]
    for function, expected in ((F.maximum, slopes), (F.minimum, slopes[::-1])):
        assert slope(lambda x, f=function: f(2.0, x), [1.0, 2.0, 3.0]).tolist() == expected
        assert slope(lambda x, f=function: f(x, 2), [1.0, 2.0, 3.0]).tolist() == expected


@pytest.mark.parametrize(("dtype", "x", "y"), [(np.float32, 1e25, 1e25), (np.float32, 1e-25, 1e-25), (np.float32, 0.0, 1e-25),
                                               (np.float16, 1.0, 300.0), (np.float16, 1e-4, 1e-4), (np.float16, 0.0, 1e-4)])
def test_the_slope_of_a_quotient_needs_no_square(dtype, x, y):
    """-x / y^2 where it can be written, though y^2 cannot."""
    x, y = np.array([x], dtype), tensor(np.array([y], dtype), requires_grad=True)
    expected = -x.astype(np.float64) / y.data.astype(np.float64)**2
    np.testing.assert_allclose(gradient(x / y, y).data, expected, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal)


def test_the_angle_of_the_origin_has_slope_0():
    """As in PyTorch; x / (x^2 + y^2) would be NaN."""
    x, y = (tensor(np.zeros(1), requires_grad=True) for _ in range(2))
    assert [g.item() for g in gradient(F.atan2(x, y), [x, y])] == [0.0, 0.0]


def test_where_takes_no_gradient_through_the_other_side():
    """An infinite slope on the side that was not taken does not become NaN."""
    x = tensor([0.0, 4.0], requires_grad=True)
    safe = F.where(x > 0, x, 1.0)
    assert gradient(F.where(x > 0, F.sqrt(safe), 0.0).sum(), x).data.tolist() == [0.0, 0.25]


# -- dtype and errors ------------------------------------------------------------------------------------------------


def test_a_numpy_exponent_does_not_change_the_dtype():
    """np.float64 is a float to Python but a dtype to NumPy."""
    assert F.pow(np.ones(2, np.float32), np.float64(0.5)).dtype == np.float32


def test_a_choice_between_numbers_has_pytorchs_dtype():
    """float32 of floats, int64 of integers, booleans of booleans; a number beside an array has the array's."""
    mask = np.array([True, False])
    assert [F.where(mask, a, b).dtype for a, b in ((1.0, 0), (2, 0), (True, False), (np.ones(2, np.float32), 0.5))] == [
        np.float32, np.int64, np.bool_, np.float32]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda x: F.add(x, np.ones((4, 3))), ValueError, r"add: shapes \(2, 3\) and \(4, 3\) do not broadcast: counted"),
    (lambda x: F.where(x > 0, x, np.ones((4, 3))), ValueError, r"where: shapes \(2, 3\) and \(2, 3\) and \(4, 3\) do not broadcast"),
    (lambda x: F.where(x, x, x), TypeError, "where: expected a condition of booleans, got float64"),
    (lambda x: F.pow(np.arange(3), -1), ValueError, "pow: integers have no power -1; convert the input"),
    (lambda x: F.pow(x > 0, x > 0), TypeError, "pow: booleans have no powers"),
    (lambda x: F.clamp(x), ValueError, "clamp: expected min, max or both, got neither"),
    (lambda x: F.div(x, 2, rounding_mode="up"), ValueError, "div: rounding_mode='up'; expected None, 'floor' or 'trunc'"),
    (lambda x: F.sub(x > 0, x > 0), TypeError, "sub: numpy boolean subtract"),
    (lambda x: F.bitwise_not(x), TypeError, "bitwise_not: "),
    (lambda x: F.mul(x, alpha=2), TypeError, "mul: "),
    (lambda x: F.gelu(x, approximate="exact"), ValueError, "approximate='exact'; expected 'none' or 'tanh'"),
])
def test_bad_arguments_are_refused(call, error, message):
    """By name: what was expected, what came."""
    with pytest.raises(error, match=message):
        call(np.ones((2, 3)))


@given(st.lists(st.sampled_from([0.0, 1.0, 1.0 + 1e-6, 1e-9, 2.0]), min_size=1, max_size=4), st.data())
def test_all_close_is_close_everywhere(x, data):
    """|x - y| <= atol + rtol |y| for each pair, by Python; a NaN is close to nothing unless it is asked to be."""
    y = data.draw(st.permutations(x))
    expected = [abs(a - b) <= 1e-8 + 1e-5 * abs(b) for a, b in zip(x, y)]
    assert F.isclose(np.array(x), np.array(y)).tolist() == expected
    assert F.allclose(tensor(x, dtype=np.float64), np.array(y)) is all(expected)
    nan = np.array([math.nan])
    assert not F.allclose(nan, nan) and F.allclose(nan, nan, equal_nan=True)
