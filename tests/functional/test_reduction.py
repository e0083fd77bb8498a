"""Sums, means, variances, extremes: against exact arithmetic and loops."""

import fractions
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minidiff import functional as F
from minidiff.autograd import gradient, tensor

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
    lambda x, d, k: F.var(x, d, False, k): lambda v: float(statistics.pvariance(map(fractions.Fraction, v))),
    lambda x, d, k: F.std(x, d, keepdim=k, correction=0): lambda v: float(statistics.pvariance(map(fractions.Fraction, v))) ** 0.5,
    lambda x, d, k: F.var_mean(x, d, correction=0, keepdim=k)[0]: lambda v: float(statistics.pvariance(map(fractions.Fraction, v))),
    lambda x, d, k: F.var_mean(x, d, False, k)[1]: lambda v: float(sum(map(fractions.Fraction, v)) / len(v)),
    lambda x, d, k: F.logsumexp(x, d, k): lambda v: max(v) + math.log(sum(math.exp(a - max(v)) for a in v)),
    lambda x, d, k: F.norm(x, "fro", d, k): lambda v: math.hypot(*v),
    lambda x, d, k: F.norm(x, 1, d, k): lambda v: sum(map(abs, v)),
    lambda x, d, k: F.norm(x, 3, d, k): lambda v: sum(abs(a) ** 3 for a in v) ** (1 / 3),
    lambda x, d, k: F.norm(x, math.inf, d, k): lambda v: max(map(abs, v)),
    lambda x, d, k: F.norm(x, -math.inf, d, k): lambda v: min(map(abs, v)),
    lambda x, d, k: F.norm(x, 0, d, k): lambda v: sum(a != 0 for a in v),
    F.all: all,
    F.any: any,
}
NAMES = ["sum", "mean", "amax", "amin", "var", "std", "var_mean variance", "var_mean mean", "logsumexp", "norm", "norm 1", "norm 3",
         "norm inf", "norm -inf", "norm 0", "all", "any"]


@pytest.mark.parametrize(("function", "exact"), list(EXACT.items()), ids=NAMES)
@given(array_and_dims())
def test_reductions_are_those_of_each_line_alone(function, exact, example):
    """Element by element with fractions and math; with and without the reduced dimensions."""
    x, dims = example
    kept, dropped = function(x, dims, True), function(x, dims, False)
    for place, line in lines(x, dims).items():
        assert kept[place] == pytest.approx(exact(line), rel=1e-13, abs=1e-13)
    assert dropped.shape == tuple(n for i, n in enumerate(x.shape) if i not in {d % x.ndim for d in dims})
    np.testing.assert_allclose(dropped.ravel(), kept.ravel(), rtol=1e-15)  # a single power rounds otherwise than several


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
        g = gradient(function(t, 1).sum(), t).data
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
        assert gradient(F.logsumexp(x, 1).sum(), x).data.tolist() == [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]
        assert np.isfinite(gradient((F.softmax(x, 1) ** 2).sum(), x).data).all()


@given(arrays(np.float64, (2, 5), elements=st.floats(-50, 50)), st.floats(-1e3, 1e3), st.sampled_from([0, 1, -1]))
def test_softmax_is_a_distribution_that_forgets_shifts(x, shift, dim):
    """It sums to 1, is positive, and x + c gives the same; its logarithm is log_softmax."""
    y = F.softmax(x, dim)
    np.testing.assert_allclose(y.sum(dim), 1.0, rtol=1e-14)
    assert (y >= 0).all()
    np.testing.assert_allclose(F.softmax(x + shift, dim), y, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(np.exp(F.log_softmax(x, dim)), y, rtol=1e-12, atol=1e-300)


@st.composite
def array_and_dim(draw, elements=None):
    x = draw(numbers if elements is None else arrays(np.float64, array_shapes(max_dims=3, max_side=6), elements=elements))
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


def along(x, dim):
    """The lines along one dimension, as lists."""
    return np.moveaxis(x, dim, -1).reshape(-1, x.shape[dim]).tolist()


@given(array_and_dim(st.integers(-3, 3).map(float)))
def test_products_and_running_sums_are_those_of_each_line_alone(example):
    """prod, cumprod, cumsum by a loop over exact numbers; the product of everything too."""
    x, dim = example
    for function, combine in ((F.cumsum, lambda a, b: a + b), (F.cumprod, lambda a, b: a * b)):
        for line, found in zip(along(x, dim), along(function(x, dim), dim)):
            expected, so_far = [], None
            for value in line:
                so_far = value if so_far is None else combine(so_far, value)
                expected.append(so_far)
            assert found == expected
    assert along(F.prod(x, dim, keepdim=True), dim) == [[math.prod(line)] for line in along(x, dim)]
    assert F.prod(x) == math.prod(x.ravel().tolist())


@given(arrays(np.float64, st.integers(1, 6), elements=st.integers(-2, 2).map(float)))
def test_the_slope_of_a_product_is_the_product_of_the_others(x):
    """By leaving one factor out, and two for the second derivative: right with any number of zeros."""
    leaf = tensor(x, requires_grad=True)
    g = gradient(F.prod(leaf), leaf, create_graph=True)
    others = lambda *left_out: math.prod(value for k, value in enumerate(x.tolist()) if k not in left_out)
    assert g.data.tolist() == [others(i) for i in range(len(x))]
    if len(x) > 1:
        assert gradient(g[0], leaf).data.tolist() == [others(0, j) if j else 0.0 for j in range(len(x))]
    leaf = tensor(x, requires_grad=True)
    rows = gradient(F.cumprod(leaf, 0).sum(), leaf).data.tolist()
    assert rows == [sum(math.prod(x[:n].tolist()[:i] + x[:n].tolist()[i + 1:]) for n in range(i + 1, len(x) + 1)) for i in range(len(x))]


@given(array_and_dim(st.sampled_from([-1.0, 0.0, 1.0, 2.0, math.inf, -math.inf, math.nan])), st.booleans(), st.data())
def test_order_is_pythons(example, descending, data):
    """sort, argsort, topk by Python's sorted, which is stable; NaN counts as the largest."""
    x, dim = example
    key = lambda pair: (math.isnan(pair[1]), pair[1] if not math.isnan(pair[1]) else 0.0)
    values, indices = F.sort(x, dim, descending)
    np.testing.assert_array_equal(indices, F.argsort(x, dim, descending))
    k = data.draw(st.integers(0, x.shape[dim]))
    top = F.topk(x, k, dim, largest=descending)
    tops = along(top.values, dim) if k else [[]] * x.size
    for line, found, places, best in zip(along(x, dim), along(values, dim), along(indices, dim), tops):
        expected = sorted(enumerate(line), key=key, reverse=descending)
        assert places == [i for i, _ in expected]
        np.testing.assert_array_equal(found, [value for _, value in expected])
        np.testing.assert_array_equal(best, [value for _, value in expected[:k]])


@given(array_and_dim())
def test_an_extreme_along_a_dimension_is_the_first_and_has_the_whole_gradient(example):
    """max and min give values and places; of equals the first, where the gradient of all ones counts one."""
    x, dim = example
    for function, place, best in ((F.max, F.argmax, max), (F.min, F.argmin, min)):
        values, indices = function(x, dim)
        np.testing.assert_array_equal(indices, place(x, dim))
        leaf = tensor(x, requires_grad=True)
        g = gradient(function(leaf, dim).values.sum(), leaf).data
        for line, slopes, value, index in zip(along(x, dim), along(g, dim), values.ravel(), indices.ravel()):
            assert value == best(line) and index == line.index(value)
            assert slopes == [float(i == index) for i in range(len(line))]


# -- dtypes and digits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1_000_000,), (1_000_000, 2), (2, 1_000_000), (1000, 2, 1000), (20, 50_000)], ids=str)
def test_sums_of_a_million_keep_their_digits(shape):
    """Of float32 numbers of one sign, along every set of axes and in every layout: rounding of the result, not of a million steps."""
    x = np.full(shape, 0.1, np.float32) * np.random.default_rng().uniform(0.5, 1.5, shape).astype(np.float32)
    for layout in (x, np.asfortranarray(x), x[..., ::-1]):
        for axis in [None, *range(x.ndim), (0, x.ndim - 1), tuple(range(max(x.ndim - 1, 1)))][:None if x.ndim > 1 else 2]:
            exact = layout.astype(np.float64).sum(axis=axis)
            np.testing.assert_allclose(F.sum(layout, axis), exact, rtol=2e-6)
            np.testing.assert_allclose(F.mean(layout, axis), exact * (F.mean(layout, axis).size / x.size), rtol=2e-6)


def test_float16_is_added_up_in_float32():
    """A sum of ten thousand ones would stop at 2048, a mean of large numbers would overflow; results and gradients are float16."""
    ones, large = np.ones((10_000, 3), np.float16), np.full((100, 3), 60_000, np.float16)
    assert F.sum(ones, 0).tolist() == [10_000] * 3 and F.mean(large, 0).tolist() == [60_000] * 3
    x = np.random.default_rng().normal(size=(4000, 2)).astype(np.float16)
    for function in (F.mean, F.var, F.std, F.cumsum, F.logsumexp, lambda x, dim: F.norm(x, 2, dim), lambda x, dim: F.prod(x[:9], dim)):
        found = function(x, 0)
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, function(x.astype(np.float64), 0), rtol=2e-3, atol=2e-3)
        leaf = tensor(x, requires_grad=True)
        assert gradient(F.mean(function(leaf, 0)), leaf).dtype == np.float16


def test_integers_are_added_up_as_int64():
    """Unless a dtype is asked for; the mean has to be asked for one."""
    x = np.full((3, 4), 200, np.uint8)
    assert F.sum(x).dtype == F.prod(x[0]).dtype == F.cumsum(x, 0).dtype == F.cumprod(x[:, 0], 0).dtype == np.int64
    assert F.sum(x) == 2400 and F.cumsum(x, 1)[0].tolist() == [200, 400, 600, 800]
    assert F.sum(x, dtype=np.float64).dtype == F.mean(x, dtype=np.float64).dtype == np.float64
    assert F.sum(np.ones(3), dtype=np.int32).dtype == np.int32
    for function, expected in ((F.cumsum, [0.5, 1.0]), (F.cumprod, [0.5, 0.25])):
        found = function(np.full(2, 0.5), 0, dtype=np.float32)
        assert found.dtype == np.float32 and found.tolist() == expected
        assert function(x[0], 0, dtype=np.float64).dtype == np.float64
    assert (F.amin(x), F.amax(np.array([-128, 5], np.int8)), F.amin(np.array([0, 5], np.uint8))) == (200, 5, 0)


# -- nothing, infinity, zero -----------------------------------------------------------------------------------------


def test_what_nothing_adds_up_to():
    """0, 1, NaN, -inf, True, False; an extreme of nothing is refused. Without a warning."""
    x = np.ones((2, 0))
    with np.errstate(all="raise"):
        assert [F.sum(x), F.prod(x), F.norm(x), F.all(x), F.any(x)] == [0, 1, 0, True, False]
        assert F.logsumexp(x, 1).tolist() == [-math.inf] * 2 and np.isnan([F.mean(x), F.var(x), F.var(np.ones(1))]).all()
    for function in (F.amax, F.amin, F.max, F.min, F.argmax, F.argmin, lambda x: F.norm(x, math.inf)):
        with pytest.raises(ValueError, match=r"of nothing there is no|no elements along"):
            function(x)


def test_logsumexp_of_nan_is_nan():
    """A NaN is not taken for "all are -inf"; nor is its gradient."""
    x = tensor(np.array([[math.nan, 0.0], [-math.inf, math.nan]]), requires_grad=True)
    out = F.logsumexp(x, 1)
    assert np.isnan(out.data).all() and np.isnan(gradient(out.sum(), x).data).all()


def test_logsumexp_of_infinities():
    """All -inf: -inf with gradient 0; one +inf: +inf; a masked line beside ordinary ones does them no harm, in both orders."""
    x = tensor([[-math.inf, -math.inf], [-math.inf, 0.0]], requires_grad=True)
    out = F.logsumexp(x, 1)
    assert out.data.tolist() == [-math.inf, 0.0] and F.logsumexp(np.array([1.0, math.inf]), 0) == math.inf
    g = gradient(out.sum(), x, create_graph=True)
    assert g.data.tolist() == [[0, 0], [0, 1]]
    assert gradient((g * g).sum(), x).data.tolist() == [[0, 0], [0, 0]]


def test_a_length_of_zero_and_a_deviation_of_zero_have_no_slope():
    """Gradient 0, not NaN: the point of a cone."""
    for p in ("fro", 1, 3, 0.5, math.inf, 0):
        x = tensor(np.zeros((2, 3)), requires_grad=True)
        assert gradient(F.norm(x, p, 1).sum(), x).data.tolist() == [[0, 0, 0]] * 2
    x = tensor(np.full((2, 3), 0.25), requires_grad=True)
    assert gradient(F.std(x, 1).sum(), x).data.tolist() == [[0, 0, 0]] * 2


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [F.sum, F.mean, F.var, F.std, F.amax, F.amin, F.logsumexp, F.softmax, F.log_softmax])
def test_a_dimension_that_is_not_there_is_refused(function):
    """Above and below, and twice."""
    x = tensor(np.ones((2, 3)))
    for dim in (2, -3):
        with pytest.raises(IndexError, match=rf"dimension {dim} of an input with 2 dimensions; expected -2 to 1"):
            function(x, dim)
    if function not in (F.softmax, F.log_softmax):
        with pytest.raises(ValueError, match="occurs twice"):
            function(x, (1, -1))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda x: F.sum(x, True), TypeError, "sum: dim must be an integer, got True"),
    (lambda x: F.mean(x > 0), TypeError, "mean: the mean of bool is no bool: give dtype='float32'"),
    (lambda x: F.var(x, 1, 0), TypeError, "var: unbiased must be True or False, got 0; a number is given as correction="),
    (lambda x: F.var(x, 1, True, correction=0), TypeError, "var: unbiased=True and correction=0 say the same"),
    (lambda x: F.prod(x, (0, 1)), TypeError, "prod: dim must be an integer"),
    (lambda x: F.max(x, 1, other=x), TypeError, "max: expected dim or other, got both"),
    (lambda x: F.topk(x, 4), ValueError, r"topk: k=4, but dimension -1 of shape \(2, 3\) has 3 elements"),
    (lambda x: F.norm(x, "nuc"), ValueError, "norm: p='nuc'; expected 'fro' or a number"),
    (lambda x: F.amax(x[:0], 0), ValueError, r"amax: an input of shape \(0, 3\) has no elements along \(0,\)"),
])
def test_bad_arguments_are_refused(call, error, message):
    """By name: what was expected, what came."""
    with pytest.raises(error, match=message):
        call(np.ones((2, 3)))
