"""Picking and putting: indices against NumPy, places by loops from the definitions, transposes of each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from operations.case import shapes
from operations.indexing import indices

from minidiff import functional as F
from minidiff.autograd import gradient, tensor


def counting(shape):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


def with_tensors(index):
    """The index with its arrays as Tensors."""
    parts = [tensor(part) if isinstance(part, np.ndarray) else part for part in (index if isinstance(index, tuple) else (index,))]
    return tuple(parts) if isinstance(index, tuple) else parts[0]


@settings(max_examples=300)
@given(shapes(smallest=0).flatmap(lambda shape: st.tuples(st.just(shape), indices(shape))))
def test_indexing_is_numpys_and_its_gradient_counts_the_picks(example):
    """Whatever NumPy takes; an element that is picked k times has the derivative k (weighted by what it met)."""
    shape, index = example
    x = tensor(counting(shape), requires_grad=True)
    expected = x.data[index]
    for y in (F.getitem(x, index), F.getitem(x, with_tensors(index))):
        np.testing.assert_array_equal(y.data, expected)
        assert y.shape == expected.shape
    w = np.cos(np.arange(expected.size)).reshape(expected.shape)
    sums = np.zeros(x.data.size)
    for place, weight in zip(np.asarray(expected).ravel(), w.ravel()):
        sums[int(place)] += weight  # the values of `counting` are their own flat places
    np.testing.assert_allclose(gradient(y, x, w).data.ravel(), sums, atol=1e-14)


@pytest.mark.parametrize("index", [
    True, False, (0, True), (..., None, False), (np.True_, [1, 0]), np.array(1), [True, False], [[0, 1], [1, 0]], ([0, 1], [[2], [0]]), [],
    ((0, 1),), (slice(np.int64(1)), np.uint8(2)), (),
], ids=str)
def test_rare_indices_are_numpys(index):
    """Booleans without dimensions, lists of lists, sizes that were computed."""
    x = counting((2, 3))
    np.testing.assert_array_equal(F.getitem(tensor(x), index).data, x[index])


def test_an_index_may_be_made_of_tensors():
    """Integers, booleans, in lists and slices; an integer Tensor counts rows of a list as well."""
    x = counting((3, 4))
    t = tensor(x)
    np.testing.assert_array_equal(F.getitem(t, tensor([2, 0])).data, x[[2, 0]])
    np.testing.assert_array_equal(t[t > 5].data, x[x > 5])
    np.testing.assert_array_equal(t[[tensor(2), 0]].data, x[[2, 0]])
    np.testing.assert_array_equal(t[tensor(1):tensor(3)].data, x[1:3])
    assert ["a", "b"][tensor(1)] == "b"


@given(array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
def test_gather_and_scatter_go_place_by_place(shape, data):
    """By loops from the definition; the index may be smaller than the input in the other dimensions; picks add up backwards."""
    x = tensor(counting(shape), requires_grad=True)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = [data.draw(st.integers(1, n)) for n in shape]
    sizes[dim] = data.draw(st.integers(0, 5))
    count = int(np.prod(sizes))
    index = np.array(data.draw(st.lists(st.integers(0, shape[dim] - 1), min_size=count, max_size=count)), int).reshape(sizes)
    src = -1.0 - counting(sizes)
    picked, added, counts, filled = np.zeros(sizes), x.data.copy(), np.zeros(shape), x.data.copy()
    for place in np.ndindex(*sizes):
        there = list(place)
        there[dim] = index[place]
        picked[place] = x.data[tuple(there)]
        added[tuple(there)] += src[place]
        filled[tuple(there)] = 0.5
        counts[tuple(there)] += 1
    y = F.gather(x, dim, index)
    np.testing.assert_array_equal(y.data, picked)
    np.testing.assert_array_equal(gradient(y.sum(), x).data, counts)
    np.testing.assert_array_equal(F.scatter_add(x, dim, index, src).data, added)
    filled_tensor = F.scatter(x, dim, index, 0.5)
    np.testing.assert_array_equal(filled_tensor.data, filled)
    np.testing.assert_array_equal(gradient(filled_tensor.sum(), x).data, counts == 0)
    if counts.max() <= 1:
        y = F.scatter(x, dim, index, tensor(src, requires_grad=True))
        np.testing.assert_array_equal(y.data, np.where(counts, added - x.data, x.data))
        np.testing.assert_array_equal(F.gather(y, dim, index).data, src)
    else:
        with pytest.raises(ValueError, match="scatter: the index names a place twice"):
            F.scatter(x, dim, index, src)


@given(array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
def test_taking_along_a_dimension_is_numpys(shape, data):
    """take_along_axis with indices from either end that broadcast; index_select is take."""
    x = counting(shape)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[dim]
    order = data.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=4))
    index = np.array(order).reshape([-1 if i == dim % len(shape) else 1 for i in range(len(shape))])
    np.testing.assert_array_equal(F.take_along_dim(x, index, dim), np.take_along_axis(x, index, dim))
    np.testing.assert_array_equal(F.take_along_dim(x, np.argsort(-x, dim), dim), -np.sort(-x, dim))
    np.testing.assert_array_equal(F.index_select(x, dim, index.ravel() % n), np.take(x, index.ravel(), dim))


@given(array_shapes(min_dims=0, max_dims=3, max_side=4), st.data())
def test_masks_choose_and_places_find(shape, data):
    """masked_select is x[mask], masked_fill where, nonzero and argwhere NumPy's."""
    x = counting(shape) % 3
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=x.size, max_size=x.size)), bool).reshape(shape)
    np.testing.assert_array_equal(F.masked_select(x, mask), x[mask])
    np.testing.assert_array_equal(F.masked_fill(x, mask, 7), np.where(mask, 7, x))
    np.testing.assert_array_equal(F.argwhere(x), np.argwhere(x))
    np.testing.assert_array_equal(F.nonzero(x), np.argwhere(x))
    for a, b in zip(F.nonzero(x, as_tuple=True), np.atleast_1d(x).nonzero(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_value_of_a_fill_gets_the_sum_of_the_gradients():
    """d sum(w y) / d value is the sum of w where the mask is True; elsewhere the input has w."""
    x, value = tensor(counting((2, 3)), requires_grad=True), tensor(0.5, requires_grad=True)
    mask, w = np.array([[True, False, True], [False, False, True]]), 1.0 + counting((2, 3))
    for_x, for_value = gradient(F.masked_fill(x, mask, value), [x, value], w)
    np.testing.assert_array_equal(for_x.data, np.where(mask, 0, w))
    assert for_value.item() == w[mask].sum()


def test_a_fill_keeps_the_dtype():
    """And what it cannot hold is refused."""
    assert F.masked_fill(np.zeros(2, np.float16), np.array([True, False]), -np.inf).dtype == np.float16
    assert F.masked_fill(np.zeros(2, np.float32), np.array([True, False]), np.float64(0.1)).dtype == np.float32
    assert F.masked_fill(np.zeros(2, np.int64), np.array([True, False]), tensor(1.5)).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"masked_fill: 1000000000.0 does not fit float16, which holds up to 65504"):
        F.masked_fill(np.zeros(2, np.float16), np.array([True, False]), 1e9)


def test_sums_of_many_picks_keep_their_digits_in_float16():
    """5000 times 1 is not 2048, where float16 stops counting."""
    x = tensor(np.ones(2, np.float16), requires_grad=True)
    places = np.arange(5000) % 2
    for picked in (F.getitem(x, places), F.gather(x, 0, places)):
        assert gradient(picked.sum(), x).numpy().tolist() == [2500, 2500]
    assert F.scatter_add(np.zeros(2, np.float16), 0, places, np.ones(5000, np.float16)).tolist() == [2500, 2500]


X, I = tensor(counting((2, 3))), np.zeros((2, 3), int)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.getitem(X, 2), IndexError, r"getitem: index 2 is out of bounds for axis 0 with size 2 \(input of shape \(2, 3\)\)"),
    (lambda: F.getitem(X, X), IndexError, "getitem: expected ints, slices, None, ..., and arrays of integers or booleans, got float64"),
    (lambda: X[np.array([True])], IndexError, "getitem: boolean index did not match"),
    (lambda: F.gather(X, 0, np.zeros(3, int)), ValueError, r"gather: index of shape \(3,\) for an input of shape \(2, 3\); both"),
    (lambda: F.gather(X, 1, I + 3), IndexError, r"gather: indices from 3 to 3; dimension 1 of shape \(2, 3\) has places 0 to 2"),
    (lambda: F.gather(X, 1, X), TypeError, "gather: the index must hold integers, got float64"),
    (lambda: F.take_along_dim(X, I - 4, 1), IndexError, r"take_along_dim: indices from -4 to -4; dimension 1 .* has places -3 to 2"),
    (lambda: F.take_along_dim(X, I + 3, 1), IndexError, "take_along_dim: indices from 3 to 3"),
    (lambda: F.scatter(X, 1, I, X.numpy()[:1]), ValueError, r"scatter: src of shape \(1, 3\) for an index of shape \(2, 3\)"),
    (lambda: F.scatter(X, 1, I, value=None), TypeError, "scatter: expected src or value, one of them"),
    (lambda: F.masked_fill(X, I, 1.0), TypeError, "masked_fill: the mask must be an array of booleans, got int64"),
    (lambda: F.masked_select(X, np.ones((4, 1, 2), bool)), ValueError, r"masked_select: shapes \(2, 3\) and \(4, 1, 2\) do not broadcast"),
])
def test_errors_say_what_was_expected_and_what_came(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
