"""Embeddings, one-hot vectors and time sinusoids."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import gradient, tensor


def test_rows_asked_for_twice_add_up():
    """Row i is input[i]'s; gradients count; the index may be a Tensor of any shape."""
    weight = tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    index = np.array([[1, 1, 3], [0, 1, 3]])
    out = F.embedding(tensor(index), weight)
    for place in np.ndindex(index.shape):
        np.testing.assert_array_equal(out.data[place], weight.data[index[place]])
    np.testing.assert_array_equal(gradient(out.sum(), weight).data[:, 0], [1, 3, 0, 2])


@pytest.mark.parametrize("padding", [1, -3])
def test_the_row_for_padding_gets_no_gradient(padding):
    """Row 1 of 4, also counted from the end; its values are there all the same. Nor has it a second derivative."""
    weight = tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    index = np.array([[1, 1, 3], [0, 1, 3]])
    out = F.embedding(index, weight, padding_idx=padding)
    np.testing.assert_array_equal(out.data, weight.data[index])
    slope = gradient((out * out * out).sum(), weight, create_graph=True)
    np.testing.assert_array_equal(slope.data, 3 * weight.data ** 2 * np.array([[1.0], [0], [0], [2]]))
    np.testing.assert_array_equal(gradient(slope.sum(), weight).data, 6 * weight.data * np.array([[1.0], [0], [0], [2]]))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_a_one_hot_vector_times_a_table_is_an_embedding(index):
    """one_hot(i) W = W[i]; every vector sums to one."""
    index, table = np.array(index), np.cos(np.arange(21.0)).reshape(7, 3)
    hot = F.one_hot(index, 7)
    assert hot.dtype == np.int64 and (hot.sum(-1) == 1).all()
    np.testing.assert_array_equal(hot @ table, F.embedding(index, table))


@given(st.integers(0, 1000), st.integers(4, 9), st.booleans(), st.sampled_from([0.0, 1.0]), st.sampled_from([100.0, 10000.0]))
def test_sinusoids_are_their_formula(t, dim, flip, shift, period):
    """By math, one number at a time; cosine first if flipped; an odd dimension ends in zero."""
    found = F.timestep_embedding(np.array([t]), dim, period, flip, shift)
    half = dim // 2
    frequencies = [period ** (-i / (half - shift)) for i in range(half)]
    first, second = (math.cos, math.sin) if flip else (math.sin, math.cos)
    expected = [first(t * f) for f in frequencies] + [second(t * f) for f in frequencies] + [0.0] * (dim % 2)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [expected], rtol=1e-9, atol=1e-9)


@given(st.integers(0, 500), st.integers(0, 500))
def test_sinusoids_know_distances(t, s):
    """<e(t), e(s)> = sum_i cos(f_i (t - s)): it depends on the difference of the times alone."""
    e = F.timestep_embedding(np.array([t, s, abs(t - s), 0]), 16)
    assert e[0] @ e[1] == pytest.approx(e[2] @ e[3], abs=1e-9)


def test_the_two_conventions_are_different_functions():
    """OpenAI's and Ho's are up to 1.93 apart, which is why a port must choose (dimension 128, T = 1000)."""
    t = np.arange(1000)
    ours, ho = F.timestep_embedding(t, 128), F.timestep_embedding(t, 128, flip_sin_to_cos=False, downscale_freq_shift=1.0)
    swapped = np.concatenate([ho[:, 64:], ho[:, :64]], 1)
    assert 1.5 < np.abs(ours - swapped).max() < 2.0


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.embedding(np.array([0.5]), np.ones((2, 3))), TypeError, "expected integers, got float64"),
    (lambda: F.embedding(np.array([2]), np.ones((2, 3))), IndexError, "indices from 2 to 2; the table has rows 0 to 1"),
    (lambda: F.embedding(np.array([-1]), np.ones((2, 3))), IndexError, "indices from -1"),
    (lambda: F.embedding(np.array([0]), np.ones(3)), ValueError, r"weight of shape \(3,\); expected \(rows, D\)"),
    (lambda: F.embedding(np.array([0]), np.ones((2, 3)), 2), ValueError, "padding_idx=2; the table has rows 0 to 1"),
    (lambda: F.one_hot(np.array([], int)), ValueError, "one_hot: num_classes=-1 for values from 0 to -1"),
    (lambda: F.one_hot(np.array([0]), -2), ValueError, "num_classes=-2"),
    (lambda: F.one_hot(np.array([0, 3]), 3), IndexError, "values from 0 to 3 with num_classes=3"),
    (lambda: F.one_hot(np.array([0.5]), 3), TypeError, "one_hot: expected integers, got float64"),
    (lambda: F.timestep_embedding(np.array([0]), 1), ValueError, "dim=1 is too small"),
    (lambda: F.timestep_embedding(np.array([0]), 2, downscale_freq_shift=1.0), ValueError, "too small"),
])
def test_bad_arguments_are_refused(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
