"""Losses: hand values, laws, safety, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minidiff import functional as F
from minidiff.autograd import grad, tensor


@given(arrays(np.float64, (4, 5), elements=st.floats(-30, 30)), st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_cross_entropy_is_minus_the_log_of_the_right_probability(x, labels):
    """By math, row by row; its gradient is (softmax - one_hot) / N."""
    y = np.array(labels)
    rows = [math.log(math.fsum(math.exp(v - row[label]) for v in row)) for row, label in zip(x.tolist(), labels)]
    np.testing.assert_allclose(F.cross_entropy(x, y, reduction="none"), rows, rtol=1e-10, atol=1e-13)
    assert float(F.cross_entropy(x, y)) == pytest.approx(math.fsum(rows) / 4, abs=1e-13)
    assert float(F.cross_entropy(x, y, reduction="sum")) == pytest.approx(math.fsum(rows), abs=1e-13)
    t = tensor(x, requires_grad=True)
    np.testing.assert_allclose(grad(F.cross_entropy(t, tensor(y)), t).data, (F.softmax(x, 1) - F.one_hot(y, 5)) / 4, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_is_safe_at_ten_thousand(dtype):
    """Sure and right costs 0, sure and wrong 2e4, without a warning."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        x = tensor(np.array([[1e4, -1e4], [1e4, -1e4]], dtype), requires_grad=True)
        losses = F.cross_entropy(x, np.array([0, 1]), reduction="none")
        assert losses.data.tolist() == [0.0, 2e4]
        assert grad(losses.sum(), x).data.tolist() == [[0, 0], [1, -1]]


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    """log 10 for ten classes."""
    assert float(F.cross_entropy(np.zeros((3, 10)), np.array([0, 5, 9]))) == pytest.approx(math.log(10))


@given(array_shapes(max_dims=3, max_side=4))
def test_mean_squared_error_is_a_mean_of_squares(shape):
    """By math.fsum; symmetric; zero only at equality; gradient 2 (x - y) / n."""
    x = np.sin(np.arange(1.0, 1 + np.prod(shape))).reshape(shape)
    y = np.cos(2.0 * x)
    squares = [(a - b) ** 2 for a, b in zip(x.ravel().tolist(), y.ravel().tolist())]
    assert float(F.mse_loss(x, y)) == pytest.approx(math.fsum(squares) / x.size, rel=1e-13)
    assert float(F.mse_loss(x, y, reduction="sum")) == pytest.approx(math.fsum(squares), rel=1e-13)
    assert F.mse_loss(x, y) == F.mse_loss(y, x) > 0 == F.mse_loss(x, x)
    t = tensor(x, requires_grad=True)
    np.testing.assert_allclose(grad(F.mse_loss(t, y), t).data, 2 * (x - y) / x.size, rtol=1e-13)


X = np.zeros((2, 3))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.mse_loss(X, X[0]), ValueError, r"input has shape \(2, 3\), target \(3,\); they must be the same"),
    (lambda: F.mse_loss(X, X, reduction="average"), ValueError, "reduction='average'; expected 'mean', 'sum' or 'none'"),
    (lambda: F.cross_entropy(X, np.array([0])), ValueError, r"expected \(N, classes\) and \(N,\)"),
    (lambda: F.cross_entropy(X, X), ValueError, "expected"),
    (lambda: F.cross_entropy(X, np.array([0.0, 1.0])), TypeError, "expected integer classes, got float64"),
    (lambda: F.cross_entropy(X, np.array([0, 3])), IndexError, "classes from 0 to 3; the input has classes 0 to 2"),
    (lambda: F.cross_entropy(X, np.array([0, -1])), IndexError, "classes from -1 to 0"),
    (lambda: F.cross_entropy(X, np.array([0, 1]), reduction=None), ValueError, "reduction=None"),
])
def test_what_does_not_fit_is_refused(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
