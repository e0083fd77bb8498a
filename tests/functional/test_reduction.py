"""Sums, means, variances, extremes: against exact arithmetic and loops."""

import fractions
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minidiff import functional as F
from minidiff.autograd import grad, tensor

numbers = arrays(np.float64, array_shapes(max_dims=4, max_side=4), elements=st.integers(-50, 50).map(float))


@st.composite
def array_and_dims(draw):
    """An array, and some of its dimensions, of either sign."""
    x = draw(numbers)
    dims = draw(st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1, max_size=x.ndim))
    return x, tuple(d - x.ndim * draw(st.booleans()) for d in dims)


def lines(x, dims):
    """Where each result goes, and the list of elements that it is made of, by walking over all places."""
    dims = {d % x.ndim for d in dims}
    found = {}
    for place in np.ndindex(x.shape):
        found.setdefault(tuple(0 if i in dims else p for i, p in enumerate(place)), []).append(x[place])
    return found


EXACT = {
    F.sum: lambda v: float(sum(map(fractions.Fraction, v))),
    F.mean: lambda v: float(sum(map(fractions.Fraction, v)) / len(v)),
    F.amax: max,
    F.amin: min,
    lambda x, d, k: F.var(x, d, 0, k): lambda v: float(statistics.pvariance(map(fractions.Fraction, v))),
    lambda x, d, k: F.std(x, d, 0, k): lambda v: float(statistics.pvariance(map(fractions.Fraction, v))) ** 0.5,
    lambda x, d, k: F.logsumexp(x, d, k): lambda v: max(v) + np.log(sum(np.exp(np.array(v) - max(v)))),
}


@pytest.mark.parametrize(("function", "exact"), list(EXACT.items()), ids=["sum", "mean", "amax", "amin", "var", "std", "logsumexp"])
@given(array_and_dims())
def test_reductions_are_those_of_each_line_alone(function, exact, example):
    """Element by element with fractions; with and without the reduced dimensions."""
    x, dims = example
    kept, dropped = function(x, dims, True), function(x, dims, False)
    for place, line in lines(x, dims).items():
        assert kept[place] == pytest.approx(exact(line), rel=1e-13, abs=1e-13)
    assert dropped.shape == tuple(n for i, n in enumerate(x.shape) if i not in {d % x.ndim for d in dims})
    np.testing.assert_array_equal(dropped.ravel(), kept.ravel())


def test_variance_survives_a_large_mean():
    """Integers around 10^8: exact by `statistics`; the one-pass formula has no correct digit in float64 there."""
    x = 1e8 + np.array([0.0, 1.0, 3.0, 7.0, 1.0])
    assert float(F.var(x)) == pytest.approx(statistics.variance(x - 1e8), rel=1e-12)
    assert F.var(np.float32(1e4) + np.arange(8, dtype=np.float32)) == pytest.approx(6.0, rel=1e-5)


@given(arrays(np.float64, (3, 5), elements=st.integers(0, 2).map(float)))
def test_ties_share_the_gradient_of_an_extreme(x):
    """Each of k equal maxima gets 1/k, counted by hand."""
    for function, best in ((F.amax, np.max), (F.amin, np.min)):
        t = tensor(x, requires_grad=True)
        g = grad(function(t, 1).sum(), t).data
        for row, slopes in zip(x, g):
            winners = row == best(row)
            np.testing.assert_allclose(slopes, winners / winners.sum(), rtol=1e-15)


def test_argmax_is_the_first_and_has_no_gradient():
    """A tie goes to the lowest index, along any dimension or in the flattened input."""
    x = tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0]], requires_grad=True)
    assert F.argmax(x, 1).data.tolist() == [1, 0]
    assert F.argmax(x, -2).data.tolist() == [1, 0, 0]
    assert F.argmax(x).item() == 1
    assert not F.argmax(x).requires_grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_and_logsumexp_are_safe_at_ten_thousand(dtype):
    """Hand values at +-1e4, without a warning; gradients too."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        x = tensor(np.array([[1e4, 1e4], [-1e4, -1e4], [1e4, -1e4]], dtype), requires_grad=True)
        assert F.softmax(x, 1).data.tolist() == [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]
        np.testing.assert_allclose(F.logsumexp(x, 1).data, np.array([1e4 + np.log(2), -1e4 + np.log(2), 1e4], dtype), rtol=1e-7)
        np.testing.assert_allclose(F.log_softmax(x, 1).data[2], [0.0, -2e4])
        assert grad(F.logsumexp(x, 1).sum(), x).data.tolist() == [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]
        assert np.isfinite(grad((F.softmax(x, 1) ** 2).sum(), x).data).all()


@given(arrays(np.float64, (2, 5), elements=st.floats(-50, 50)), st.floats(-1e3, 1e3), st.sampled_from([0, 1, -1]))
def test_softmax_is_a_distribution_that_forgets_shifts(x, shift, dim):
    """It sums to 1, is positive, and x + c gives the same; its logarithm is log_softmax."""
    y = F.softmax(x, dim)
    np.testing.assert_allclose(y.sum(dim), 1.0, rtol=1e-14)
    assert (y >= 0).all()
    np.testing.assert_allclose(F.softmax(x + shift, dim), y, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(np.exp(F.log_softmax(x, dim)), y, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("function", [F.sum, F.mean, F.var, F.std, F.amax, F.amin, F.logsumexp, F.softmax, F.log_softmax])
def test_a_dimension_that_is_not_there_is_refused(function):
    """Above and below, and twice."""
    x = tensor(np.ones((2, 3)))
    for dim in (2, -3):
        with pytest.raises(IndexError, match=rf"dimension {dim} of an input with 2 dimensions; expected -2 to 1"):
            function(x, dim)
    with pytest.raises(IndexError, match="occurs twice"):
        function(x, (1, -1))
