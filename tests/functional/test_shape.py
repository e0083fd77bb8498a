"""Moving elements: laws of there and back, indices against NumPy, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices

from minidiff import functional as F
from minidiff.autograd import check_gradients, grad, tensor

shapes = array_shapes(max_dims=4, max_side=4)


def counting(shape):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@given(shapes, st.data())
def test_splitting_is_undone_by_joining(shape, data):
    """cat(split(x)) = x, for a size, for sizes and for chunks; each piece is the slice it should be."""
    x = counting(shape)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[dim]
    size = data.draw(st.integers(1, n + 1))
    cut = data.draw(st.integers(0, n))
    for pieces in (F.split(x, size, dim), F.split(x, [cut, n - cut], dim), F.chunk(x, size, dim)):
        np.testing.assert_array_equal(F.cat(pieces, dim), x)
    assert [p.shape[dim] for p in F.split(x, size, dim)] == [min(size, n - k) for k in range(0, n, size)]
    assert [p.shape[dim] for p in F.split(x, [cut, n - cut], dim)] == [cut, n - cut]


@given(shapes, st.data())
def test_padding_is_undone_by_cropping(shape, data):
    """pad by p, then by -p; what was added is the value, and adding it keeps the sum of the rest."""
    x = counting(shape)
    widths = data.draw(st.lists(st.integers(0, 3), min_size=0, max_size=len(shape)).map(lambda w: [v for p in w for v in (p, 3 - p)]))
    wide = F.pad(x, widths, value=7.0)
    np.testing.assert_array_equal(F.pad(wide, [-w for w in widths]), x)
    assert wide.sum() == x.sum() + 7.0 * (wide.size - x.size)
    for i in range(len(widths) // 2):
        assert wide.shape[-1 - i] == x.shape[-1 - i] + 3


def test_padding_starts_at_the_last_dimension():
    """(left, right, top, bottom), by hand."""
    np.testing.assert_array_equal(F.pad(np.array([[1.0, 2.0]]), (1, 0, 0, 2)), [[0, 1, 2], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(F.pad(np.array([[1.0, 2.0, 3.0]]), (-1, 1, 1, 0), value=9.0), [[9, 9, 9], [2, 3, 9]])


@given(shapes, st.data())
def test_moves_there_and_back_change_nothing(shape, data):
    """permute and its inverse, transpose twice, flip twice, unsqueeze and squeeze, reshape and back."""
    x = counting(shape)
    dims = data.draw(st.permutations(range(len(shape))))
    y = F.permute(x, dims)
    for place in np.ndindex(y.shape):
        assert y[place] == x[tuple(place[dims.index(i)] for i in range(len(shape)))]
    np.testing.assert_array_equal(F.permute(y, np.argsort(dims).tolist()), x)
    d0, d1 = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    np.testing.assert_array_equal(F.transpose(F.transpose(x, d0, d1), d0, d1), x)
    np.testing.assert_array_equal(F.transpose(x, d0, d1), np.swapaxes(x, d0, d1))
    np.testing.assert_array_equal(F.flip(F.flip(x, [d0]), [d0]), x)
    np.testing.assert_array_equal(F.flip(x, {d0 % x.ndim, d1 % x.ndim}), np.flip(x, tuple({d0 % x.ndim, d1 % x.ndim})))
    new = data.draw(st.integers(-len(shape) - 1, len(shape)))
    assert F.unsqueeze(x, new).shape == np.expand_dims(x, new).shape
    np.testing.assert_array_equal(F.squeeze(F.unsqueeze(x, new), new), x)
    np.testing.assert_array_equal(F.squeeze(x), np.squeeze(x))
    np.testing.assert_array_equal(F.reshape(F.flatten(x), shape), x)
    start = data.draw(st.integers(0, x.ndim - 1))
    end = data.draw(st.integers(start, x.ndim - 1))
    assert F.flatten(x, start, end).shape == (*shape[:start], int(np.prod(shape[start:end + 1])), *shape[end + 1:])


@given(shapes.flatmap(lambda s: st.tuples(st.just(s), st.one_of(
    basic_indices(s, allow_newaxis=True), integer_array_indices(s, result_shape=array_shapes(max_dims=2, max_side=3))))))
def test_indexing_is_numpys_and_its_gradient_counts_the_picks(example):
    """An element that is picked k times has the derivative k (weighted by what it met)."""
    shape, index = example
    x = tensor(counting(shape), requires_grad=True)
    y = F.getitem(x, index)
    expected = x.data[index]
    np.testing.assert_array_equal(y.data, expected)
    assert y.shape == expected.shape
    w = np.cos(np.arange(expected.size)).reshape(expected.shape)
    sums = np.zeros(x.size)
    for place, weight in zip(np.asarray(expected).ravel(), w.ravel()):
        sums[int(place)] += weight  # the values of `counting` are their own flat places
    np.testing.assert_allclose(grad(y, x, w).data.ravel(), sums, atol=1e-14)


def test_an_index_may_be_a_tensor():
    """Integers and booleans."""
    x = counting((3, 4))
    np.testing.assert_array_equal(F.getitem(tensor(x), tensor(np.array([2, 0]))).data, x[[2, 0]])
    np.testing.assert_array_equal(tensor(x)[tensor(x) > 5].data, x[x > 5])


@given(array_shapes(min_dims=1, max_dims=3, max_side=4), st.data())
def test_gather_picks_along_one_dimension(shape, data):
    """Place by place; the index may be smaller than the input in the other dimensions, as torch has it; picks add up backwards."""
    x = tensor(counting(shape), requires_grad=True)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = [data.draw(st.integers(1, n)) for n in shape]
    sizes[dim] = data.draw(st.integers(1, 5))
    index = np.array(data.draw(st.lists(st.integers(0, shape[dim] - 1), min_size=int(np.prod(sizes)),
                                        max_size=int(np.prod(sizes))))).reshape(sizes)
    y = F.gather(x, dim, index)
    counts = np.zeros(shape)
    assert y.shape == tuple(sizes)
    for place in np.ndindex(*sizes):
        source = list(place)
        source[dim] = index[place]
        assert y.data[place] == x.data[tuple(source)]
        counts[tuple(source)] += 1
    np.testing.assert_array_equal(grad(y.sum(), x).data, counts)


def test_gather_of_a_smaller_index_has_both_derivatives():
    """By finite differences; this case is not NumPy's take_along_axis."""
    check_gradients(lambda x: F.gather(x, 1, np.array([[3, 0, 3]])) ** 2, [counting((3, 4)) / 7 + 0.3])


def test_stack_is_cat_of_new_dimensions():
    """Each piece is found again where it was put."""
    a, b = counting((2, 3)), -counting((2, 3))
    for dim in (0, 1, 2, -1, -3):
        y = F.stack([a, b], dim)
        np.testing.assert_array_equal(np.take(y, 0, dim), a)
        np.testing.assert_array_equal(np.take(y, 1, dim), b)


X = tensor(np.ones((2, 3)))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.reshape(X, (4, 2)), ValueError, r"6 elements of shape \(2, 3\) do not fit shape \(4, 2\)"),
    (lambda: F.reshape(X, (4, -1)), ValueError, "do not fit"),
    (lambda: F.reshape(X, (-1, -1)), ValueError, "do not fit"),
    (lambda: F.permute(X, (0, 0)), ValueError, "not a permutation of the 2 dimensions"),
    (lambda: F.permute(X, (0, 2)), ValueError, "not a permutation"),
    (lambda: F.expand(X, (3, 3)), ValueError, r"shape \(2, 3\) cannot be repeated to \(3, 3\)"),
    (lambda: F.expand(X, (3,)), ValueError, "cannot be repeated"),
    (lambda: F.cat([]), ValueError, "at least one"),
    (lambda: F.cat([X, tensor(np.ones((2, 4)))]), ValueError, r"\[\(2, 3\), \(2, 4\)\] differ outside dimension 0"),
    (lambda: F.cat([X, tensor(np.ones(3))]), ValueError, "differ"),
    (lambda: F.stack([X, tensor(np.ones((3, 2)))]), ValueError, "differ"),
    (lambda: F.split(X, [1, 1], 1), ValueError, r"sizes \[1, 1\] do not add up to 3"),
    (lambda: F.pad(X, (1, 1), mode="reflect"), ValueError, "mode 'reflect' is not offered"),
    (lambda: F.pad(X, (1,)), ValueError, "expected pairs for at most 2 dimensions"),
    (lambda: F.pad(X, (1,) * 6), ValueError, "expected pairs for at most 2 dimensions"),
    (lambda: F.pad(X, (-2, -2)), ValueError, "pad"),
    (lambda: F.gather(X, 0, np.zeros(3, int)), ValueError, "same number of dimensions"),
    (lambda: F.cat([X, X], 2), IndexError, "cat: dimension 2 of an input with 2 dimensions; expected -2 to 1"),
    (lambda: F.stack([X, X], 3), IndexError, "dimension 3"),
    (lambda: F.split(X, 1, 2), IndexError, "split: dimension 2"),
    (lambda: F.split(X, 0), ValueError, "split"),
    (lambda: F.chunk(X, 2, -3), IndexError, "dimension -3"),
    (lambda: F.chunk(X, 0), ValueError, "chunk"),
    (lambda: F.flip(X, [2]), IndexError, "flip: dimension 2"),
    (lambda: F.transpose(X, 0, 2), IndexError, "transpose: dimension 2"),
    (lambda: F.unsqueeze(X, 3), IndexError, "unsqueeze: dimension 3 of"),
    (lambda: F.squeeze(X, 2), IndexError, "squeeze: dimension 2"),
    (lambda: F.flatten(X, 2), IndexError, "flatten: dimension 2"),
    (lambda: F.flatten(X, 1, 0), ValueError, "flatten"),
    (lambda: F.gather(X, 2, np.zeros((2, 3), int)), IndexError, "gather: dimension 2"),
])
def test_what_does_not_fit_is_refused(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
