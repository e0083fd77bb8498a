"""Padding: place by place, against NumPy's, there and back, sums in float16, errors."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from operations.padding import constant, continued

from minidiff import functional as F
from minidiff.autograd import gradient, tensor

MODES = ("reflect", "replicate", "circular")


def arguments(call):
    """(input, widths, mode, value), whichever way the call is written."""
    found = dict(zip(("input", "pad", "mode", "value"), call.args)) | call.kwargs
    return found["input"], found["pad"], found.get("mode", "constant"), found.get("value")


def source(i, n, left, right, mode):
    """The old place, of n, that comes to the new place i; None: outside."""
    i -= left
    if mode == "constant":
        return i if 0 <= i < n else None
    first, last = (max(0, -left), n - 1 - max(0, -right)) if mode == "circular" else (0, n - 1)
    while not first <= i <= last:  # step by step back to the inside
        if mode == "replicate":
            i += 1 if i < first else -1
        elif mode == "reflect":
            i = 2 * first - i if i < first else 2 * last - i
        else:
            i += (last - first + 1) if i < first else -(last - first + 1)
    return i


@given(st.one_of(constant(), *map(continued, MODES)))
def test_every_place_holds_what_the_mode_says(call):
    """One place after the other; the gradient counts how often each place was copied."""
    input, widths, mode, value = arguments(call)
    pairs = [(0, 0)] * (input.ndim - len(widths) // 2) + [tuple(widths[i:i + 2]) for i in range(len(widths) - 2, -1, -2)]
    x = tensor(input, requires_grad=True)
    y = F.pad(x, widths, mode, value)
    assert y.shape == tuple(n + a + b for n, (a, b) in zip(input.shape, pairs))
    weights = np.cos(np.arange(y.data.size)).reshape(y.shape)
    sums = np.zeros(input.shape)
    for place in np.ndindex(y.shape):
        old = tuple(source(i, n, a, b, mode) for i, n, (a, b) in zip(place, input.shape, pairs))
        if None in old:
            assert y.data[place] == (0.0 if value is None else value)
        else:
            assert y.data[place] == input[old]
            sums[old] += weights[place]
    np.testing.assert_allclose(gradient(y, x, weights).data, sums, atol=1e-13)


@given(st.sampled_from(MODES), st.data())
def test_it_is_numpys_padding(mode, data):
    """Where NumPy offers the same: widths of 0 and more."""
    size = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    x = np.arange(2.0 * np.prod(size)).reshape(2, *size)
    pairs = [(data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))) for n in size]
    expected = np.pad(x, [(0, 0), *pairs], mode={"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode])
    np.testing.assert_array_equal(F.pad(x, [w for pair in pairs[::-1] for w in pair], mode), expected)


@given(array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
def test_padding_is_undone_by_cropping(shape, data):
    """pad by p, then by -p, in every mode; what a constant adds is the value, and the sum of the rest stays."""
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    widths = data.draw(st.lists(st.integers(0, 3), min_size=0, max_size=len(shape)).map(lambda w: [v for p in w for v in (p, 3 - p)]))
    wide = F.pad(x, widths, value=7.0)
    np.testing.assert_array_equal(F.pad(wide, [-w for w in widths]), x)
    assert wide.sum() == x.sum() + 7.0 * (wide.size - x.size)
    for mode, most in zip(MODES, (-1, 3, 0)):
        if len(shape) > 1:
            sides = [data.draw(st.integers(0, shape[-1] + most)) for _ in range(2)]
            x2 = x.reshape(-1, shape[-1])
            np.testing.assert_array_equal(F.pad(F.pad(x2, sides, mode), [-w for w in sides]), x2)


def test_padding_starts_at_the_last_dimension():
    """(left, right, top, bottom), by hand."""
    np.testing.assert_array_equal(F.pad(np.array([[1.0, 2.0]]), (1, 0, 0, 2)), [[0, 1, 2], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(F.pad(np.array([[1.0, 2.0, 3.0]]), (-1, 1, 1, 0), value=9.0), [[9, 9, 9], [2, 3, 9]])
    square = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    np.testing.assert_array_equal(F.pad(square, (1, 0, 0, 1), "reflect")[0], [[2, 1, 2], [4, 3, 4], [2, 1, 2]])


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_shift_of_a_circle_stays_a_shift(n, k, cut):
    """Circular padding commutes with rolling: the convolution after it knows no border."""
    left, right = min(k, n), min(cut, n)
    x = np.arange(2.0 * n).reshape(1, 2, n)
    whole = F.pad(x, (left, right), "circular")
    for shift in range(n):
        rolled = F.pad(np.roll(x, shift, -1), (left, right), "circular")
        np.testing.assert_array_equal(rolled[..., :n], np.roll(whole[..., :n], shift, -1))


def test_circular_padding_goes_round_what_cropping_leaves():
    """As in torch: first the crop, then the circle."""
    x = np.arange(5.0).reshape(1, 5)
    assert F.pad(x, (-1, 2), "circular").tolist() == [[1, 2, 3, 4, 1, 2]]
    assert F.pad(x, (2, -2), "circular").tolist() == [[1, 2, 0, 1, 2]]
    assert F.pad(x, (-2, -3), "circular").shape == (1, 0)
    assert F.pad(x, (-3, 4), "reflect").tolist() == [[3, 4, 3, 2, 1, 0]]


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16])
@pytest.mark.parametrize("mode", ["constant", *MODES])
def test_every_dtype_can_be_padded_and_stays(mode, dtype):
    """Places move; values are not touched."""
    x = np.array([[0, 1, 0, 1, 1]]).astype(dtype)
    y = F.pad(x, (2, 1), mode)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, F.pad(x.astype(np.float64), (2, 1), mode).astype(dtype))


def test_many_copies_add_up_in_float16():
    """3000 copies of one place: a sum in float16 itself would stay at 2048."""
    x = tensor(np.ones((1, 1), np.float16), requires_grad=True)
    y = F.pad(x, (2999, 0), "replicate")
    assert gradient(y, x, np.ones(y.shape, np.float16)).data.item() == 3000


@pytest.mark.parametrize(("pad", "mode", "message"), [
    ((1,), "constant", r"a pair for each of at most 3 dimensions of shape \(2, 3, 4\), got \(1,\)"),
    ((1.0, 1), "constant", r"expected the widths as a tuple of ints, got \(1.0, 1\)"),
    ((-3, -2), "constant", r"\(-3, -2\) crops more than there is in shape \(2, 3, 4\)"),
    ((1, 1), "mirror", "mode 'mirror' is not offered; expected constant, reflect, replicate, circular"),
    ((4, 0), "reflect", r"widths \(4, 0\) do not fit a size of 4 in dimension 2: in mode 'reflect' a width is at most 3"),
    ((5, 0), "circular", "a width is at most 4"),
    ((-3, 4), "circular", r"widths \(0, 4\) do not fit a size of 1"),
    ((-4, 0), "replicate", "something must be left"),
    ((1, 1, 1, 1, 1, 1), "circular", "got 3 pairs for shape"),
])
def test_widths_that_do_not_fit_are_refused(pad, mode, message):
    """The message says which, and what would fit."""
    with pytest.raises((ValueError, TypeError), match=f"^pad: .*{message}"):
        F.pad(np.ones((2, 3, 4)), pad, mode)


def test_a_value_is_for_the_constant():
    """0 may be written anywhere, as in torch."""
    for mode, value in itertools.product(MODES, (None, 0, 0.0)):
        F.pad(np.ones((2, 3)), (1, 1), mode, value)
    with pytest.raises(ValueError, match=r"^pad: value=2\.0 has no meaning with mode 'reflect'"):
        F.pad(np.ones((2, 3)), (1, 1), "reflect", 2.0)
