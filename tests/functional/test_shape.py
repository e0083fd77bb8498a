"""Moving elements: laws of there and back, NumPy's functions of other names, errors that name everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from minidiff import functional as F
from minidiff.autograd import gradient, tensor

shapes = array_shapes(max_dims=4, max_side=4)


def counting(shape):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@given(shapes, st.data())
def test_splitting_is_undone_by_joining(shape, data):
    """cat(split(x)) = x, for a size, for sizes and for chunks; each piece is the slice it should be; stack(unbind(x)) = x."""
    x = counting(shape)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[dim]
    size = data.draw(st.integers(1, n + 1))
    cut = data.draw(st.integers(0, n))
    for pieces in (F.split(x, size, dim), F.split(x, [cut, n - cut], dim), F.chunk(x, size, dim)):
        np.testing.assert_array_equal(F.cat(pieces, dim), x)
    assert [p.shape[dim] for p in F.split(x, size, dim)] == [min(size, n - k) for k in range(0, n, size)]
    assert [p.shape[dim] for p in F.split(x, [cut, n - cut], dim)] == [cut, n - cut]
    np.testing.assert_array_equal(F.stack(F.unbind(x, dim), dim), x)
    np.testing.assert_array_equal(F.unbind(x, dim)[-1], x.take(-1, dim))


@given(shapes, st.data())
def test_moves_there_and_back_change_nothing(shape, data):
    """permute and its inverse, transpose, movedim, flip, roll, unsqueeze, flatten, each undone; places move as they should."""
    x = counting(shape)
    ndim = len(shape)
    dims = data.draw(st.permutations(range(ndim)))
    y = F.permute(x, dims)
    for place in np.ndindex(y.shape):
        assert y[place] == x[tuple(place[dims.index(i)] for i in range(ndim))]
    np.testing.assert_array_equal(F.permute(y, np.argsort(dims).tolist()), x)
    d0, d1 = (data.draw(st.integers(-ndim, ndim - 1)) for _ in range(2))
    np.testing.assert_array_equal(F.transpose(F.transpose(x, d0, d1), d0, d1), x)
    np.testing.assert_array_equal(F.swapaxes(x, d0, d1), np.swapaxes(x, d0, d1))
    plane = x.reshape(shape[0], -1)
    np.testing.assert_array_equal(F.t(plane), plane.T)
    np.testing.assert_array_equal(F.t(plane[0]), plane[0])
    np.testing.assert_array_equal(F.movedim(x, d0, d1), np.moveaxis(x, d0, d1))
    np.testing.assert_array_equal(F.movedim(F.movedim(x, d0, d1), d1, d0), x)
    np.testing.assert_array_equal(F.flip(F.flip(x, [d0]), [d0]), x)
    turned = tuple({d0 % ndim, d1 % ndim})
    np.testing.assert_array_equal(F.flip(x, turned), np.flip(x, turned))
    shift = data.draw(st.integers(-9, 9))
    np.testing.assert_array_equal(F.roll(x, shift, d0), np.roll(x, shift, d0))
    np.testing.assert_array_equal(F.roll(F.roll(x, (shift, 2), (d0, d1)), (-2, -shift), (d1, d0)), x)
    np.testing.assert_array_equal(F.roll(x, shift), np.roll(x, shift))
    new = data.draw(st.integers(-ndim - 1, ndim))
    assert F.unsqueeze(x, new).shape == np.expand_dims(x, new).shape
    np.testing.assert_array_equal(F.squeeze(F.unsqueeze(x, new), new), x)
    np.testing.assert_array_equal(F.squeeze(x), np.squeeze(x))
    start = data.draw(st.integers(0, ndim - 1))
    end = data.draw(st.integers(start, ndim - 1))
    flat = F.flatten(x, start, end)
    assert flat.shape == (*shape[:start], int(np.prod(shape[start:end + 1])), *shape[end + 1:])
    np.testing.assert_array_equal(F.unflatten(flat, start, shape[start:end + 1]), x)


@given(array_shapes(max_dims=3, max_side=3), st.data())
def test_repetitions_are_numpys(shape, data):
    """tile, repeat_interleave with one number or one for each place, expand; and each element gets the gradient of all its copies."""
    x = tensor(counting(shape), requires_grad=True)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    times = data.draw(st.lists(st.integers(0, 3), max_size=4))
    each = np.array(data.draw(st.lists(st.integers(0, 3), min_size=shape[dim], max_size=shape[dim])))
    wide = F.expand(x, (2, *shape))
    for found, expected in [
        (F.tile(x, times), np.tile(x.data, times)), (F.repeat_interleave(x, 3, dim), np.repeat(x.data, 3, dim)),
        (F.repeat_interleave(x, each, dim), np.repeat(x.data, each, dim)),
        (F.repeat_interleave(x, tensor(each), dim), np.repeat(x.data, each, dim)),
        (F.repeat_interleave(x, 2), np.repeat(x.data, 2)), (wide, np.stack([x.data, x.data])),
    ]:
        np.testing.assert_array_equal(found.data, expected)
        copies = np.array([(expected == value).sum() for value in x.data.ravel()]).reshape(shape)
        np.testing.assert_array_equal(gradient(found.sum(), x).data, copies)
    assert wide.data.strides[0] == 0  # without copying


@given(array_shapes(min_dims=2, max_dims=4, max_side=4), st.integers(-5, 5))
def test_triangles_are_parts_of_a_whole(shape, k):
    """tril up to a diagonal and triu from the next make up the matrix; both are NumPy's, and so is the diagonal."""
    x = counting(shape)
    np.testing.assert_array_equal(F.tril(x, k) + F.triu(x, k + 1), x)
    np.testing.assert_array_equal(F.tril(x, k), np.tril(x, k))
    np.testing.assert_array_equal(F.diagonal(x, k, -2, -1), np.diagonal(x, k, -2, -1))
    np.testing.assert_array_equal(F.diagonal(x), np.diagonal(x))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.sampled_from(["ij", "xy"]))
def test_grids_are_numpys(sizes, indexing):
    """meshgrid in both orders, from arguments or one list."""
    vectors = [np.arange(n) for n in sizes]
    for found in (F.meshgrid(*vectors, indexing=indexing), F.meshgrid(vectors, indexing=indexing)):
        for a, b in zip(found, np.meshgrid(*vectors, indexing=indexing), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_vector_without_elements_joins_with_everything():
    """As in torch; its gradient is empty. The dtype counts."""
    x, nothing = tensor(np.ones((2, 3), np.float32), requires_grad=True), tensor(np.ones(0), requires_grad=True)
    y = F.cat([nothing, x], 1)
    assert y.shape == (2, 3) and y.dtype == np.float64
    assert [g.shape for g in gradient(y.sum(), [x, nothing])] == [(2, 3), (0,)]
    assert [g.dtype for g in gradient(F.cat([nothing, x], 1).sum(), [x, nothing])] == [np.float32, np.float64]


def test_nothing_comes_in_no_pieces():
    """unbind of a dimension of size 0; split and chunk of it keep a piece, or as many as asked for."""
    x = np.zeros((0, 2))
    assert F.unbind(x) == () and [p.shape for p in F.split(x, 3)] == [(0, 2)] and [p.shape for p in F.chunk(x, 3)] == [(0, 2)] * 3


def test_sizes_may_be_numpys_integers_and_tensors():
    """Sizes that were computed are sizes."""
    x = tensor(counting((2, 3)))
    two = tensor(2)
    assert F.reshape(x, (np.int64(3), two)).shape == (3, 2)
    assert F.transpose(x, np.int32(0), tensor(1)).shape == (3, 2)
    assert [p.shape for p in F.split(x, two - 1)] == [(1, 3)] * 2


X = tensor(np.ones((2, 3)))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.reshape(X, (4, 2)), ValueError, r"reshape: 6 elements of shape \(2, 3\) do not fit shape \(4, 2\)"),
    (lambda: F.unflatten(X, 1, (2, 2)), ValueError, r"unflatten: sizes \(2, 2\) do not multiply to 3, the size of dimension 1"),
    (lambda: F.permute(X, (0, 0)), ValueError, r"permute: dims \(0, 0\) are not a permutation of the 2 dimensions of shape \(2, 3\)"),
    (lambda: F.expand(X, (3, 3)), ValueError, r"expand: shape \(2, 3\) cannot be repeated to \(3, 3\)"),
    (lambda: F.cat([X, tensor(np.ones((2, 4)))]), ValueError, r"cat: shapes \[\(2, 3\), \(2, 4\)\] differ outside dimension 0"),
    (lambda: F.stack([X, tensor(np.ones((3, 2)))]), ValueError, r"stack: shapes \[\(2, 3\), \(3, 2\)\] differ"),
    (lambda: F.cat([X, 1.0]), TypeError, "cat: expected a sequence of tensors or arrays, got list of Tensor, float"),
    (lambda: F.split(X, [1, 1], 1), ValueError, r"split: sizes \(1, 1\) do not add up to 3, the size of dimension 1"),
    (lambda: F.cat([X, X], 2), IndexError, "cat: dimension 2 of an input with 2 dimensions; expected -2 to 1"),
    (lambda: F.transpose(X, 0, 1.0), TypeError, "transpose: a dimension must be an integer, got 1.0"),
    (lambda: F.flip(X, (1, -1)), ValueError, r"flip: a dimension occurs twice in \(1, -1\)"),
    (lambda: F.roll(X, (1, 2), 0), ValueError, r"roll: 2 shifts \(1, 2\), but 1 dimensions \(0,\)"),
    (lambda: F.repeat_interleave(X, np.array([1, 2]), 1), ValueError, "repeat_interleave: expected repeats of at least 0, one or 3"),
    (lambda: F.meshgrid(X), ValueError, r"meshgrid: expected vectors of one dtype, got \['float64 of shape \(2, 3\)'\]"),
    (lambda: F.tril(X[0]), ValueError, r"tril: expected matrices \(..., n, m\), got shape \(3,\)"),
])
def test_errors_say_what_was_expected_and_what_came(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
