"""Functions of one element, and activations: special values, extremes, ties, errors. Ordinary values are in test_every_function.py."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import grad, tensor

EXTREMES = np.array([-1e4, -800.0, -100.0, -30.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 30.0, 100.0, 800.0, 1e4])
finite = st.floats(-700, 700)


def slope(function, x):
    x = tensor(np.array(x, np.float64), requires_grad=True)
    return grad(function(x).sum(), x).data


# -- values ----------------------------------------------------------------------------------------------------------


@given(finite)
def test_the_sigmoid_keeps_its_digits(x):
    """Against 50 digits, relative: also where 1 + tanh(x/2) would cancel. And s(-x) = 1 - s(x)."""
    with mpmath.workdps(50):
        expected = 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
    assert float(F.sigmoid(np.array(x))) == pytest.approx(float(expected), rel=1e-15, abs=0)
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
        g = grad(y.sum(), x).data
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
    assert F.gelu(np.array([x]), "tanh")[0] == pytest.approx(approximate, rel=1e-13, abs=1e-15)


# -- slopes at kinks and ties ----------------------------------------------------------------------------------------


def test_slopes_at_kinks_are_torchs():
    """relu 0 at 0, abs 0 at 0, clamp 1 at its borders and 0 beyond, pow 0 flat."""
    assert slope(F.relu, [-1, 0, 1]).tolist() == [0, 0, 1]
    assert slope(F.abs, [-1, 0, 1]).tolist() == [-1, 0, 1]
    assert slope(lambda x: F.clamp(x, -1.0, 1.0), [-2, -1, 0, 1, 2]).tolist() == [0, 1, 1, 1, 0]
    assert slope(lambda x: x**0, [0, 2]).tolist() == [0, 0]
    assert slope(lambda x: x**1, [0, 2]).tolist() == [1, 1]
    assert slope(lambda x: x**2, [0, 2]).tolist() == [0, 4]


def test_ties_share_the_gradient():
    """maximum and minimum of equals: half each, so that the shares add to one."""
    for function in (F.maximum, F.minimum):
        x, y = (tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
        for g in grad(function(x, y).sum(), [x, y]):
            assert g.data.tolist() == [0.5, 0.5, 0.5]


def test_where_takes_no_gradient_through_the_other_side():
    """An infinite slope on the side that was not taken does not become NaN."""
    x = tensor([0.0, 4.0], requires_grad=True)
    safe = F.where(x > 0, x, 1.0)
    assert grad(F.where(x > 0, F.sqrt(safe), 0.0).sum(), x).data.tolist() == [0.0, 0.25]


# -- dtype and errors ------------------------------------------------------------------------------------------------


def test_a_numpy_exponent_does_not_change_the_dtype():
    """np.float64 is a float to Python but a dtype to NumPy."""
    assert F.pow(np.ones(2, np.float32), np.float64(0.5)).dtype == np.float32


def test_bad_arguments_are_refused():
    """One error each."""
    x = tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="exponent must be a Python number, got Tensor"):
        F.pow(x, x)
    with pytest.raises(ValueError, match="approximate='exact'; expected 'none' or 'tanh'"):
        F.gelu(x, "exact")
