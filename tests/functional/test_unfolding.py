"""Unfold and fold: loops over windows, each the transpose of the other, convolutions as matrix products."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import gradient, tensor


def pair(draw, low, high):
    return draw(st.integers(low, high)), draw(st.integers(low, high))


@st.composite
def geometries(draw):
    """A batch of images, and windows that fit: kernel, dilation, padding, stride."""
    kernel, dilation, padding, stride = pair(draw, 1, 3), pair(draw, 1, 3), pair(draw, 0, 2), pair(draw, 1, 3)
    size = [max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 4)) for d, k, p in zip(dilation, kernel, padding)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(size=(draw(st.sampled_from([2, 1, 0])), draw(st.integers(1, 2)), *size))
    return x, kernel, {"dilation": dilation, "padding": padding, "stride": stride}


def places(size, kernel, dilation, padding, stride):
    """(row of the matrix within a channel, column, pixel or None) for every element of every window."""
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, padding, dilation, kernel, stride)]
    for column, window in enumerate(np.ndindex(*out)):
        for row, tap in enumerate(np.ndindex(*kernel)):
            pixel = tuple(s * w + d * t - p for s, w, d, t, p in zip(stride, window, dilation, tap, padding))
            yield row, column, pixel if all(0 <= q < n for q, n in zip(pixel, size)) else None


@settings(max_examples=150)
@given(geometries())
def test_unfold_and_fold_are_their_definitions(example):
    """Pixel by pixel, window by window: out of the image, and back into it; an image alone is a batch of one."""
    x, kernel, options = example
    n, c, *size = x.shape
    taps, where = math.prod(kernel), list(places(size, kernel, **options))
    expected = np.zeros((n, c * taps, 1 + max(column for _, column, _ in where)))
    columns = np.cos(np.arange(expected.size)).reshape(expected.shape)
    back = np.zeros(x.shape)
    for channel in range(c):
        for row, column, pixel in where:
            if pixel is not None:
                expected[:, channel * taps + row, column] = x[(slice(None), channel, *pixel)]
                back[(slice(None), channel, *pixel)] += columns[:, channel * taps + row, column]
    np.testing.assert_array_equal(F.unfold(x, kernel, **options), expected)
    np.testing.assert_allclose(F.fold(columns, tuple(size), kernel, **options), back, rtol=1e-12, atol=1e-12)
    for i in range(n):
        np.testing.assert_array_equal(F.unfold(x[i], kernel, **options), expected[i])
        np.testing.assert_allclose(F.fold(columns[i], tuple(size), kernel, **options), back[i], rtol=1e-12, atol=1e-12)


@given(geometries())
def test_fold_is_the_transpose_of_unfold(example):
    """<unfold(x), y> = <x, fold(y)>; so each is the other's gradient."""
    x, kernel, options = example
    size = x.shape[2:]
    a = tensor(x, requires_grad=True)
    columns = F.unfold(a, kernel, **options)
    y = tensor(np.cos(np.arange(columns.data.size)).reshape(columns.shape), requires_grad=True)
    back = F.fold(y, size, kernel, **options)
    assert np.vdot(columns.data, y.data) == pytest.approx(np.vdot(x, back.data), rel=1e-10, abs=1e-10)
    np.testing.assert_allclose(gradient(columns, a, y.data).data, back.data, atol=1e-12)
    np.testing.assert_allclose(gradient(back, y, x).data, columns.data, atol=1e-12)


@given(geometries())
def test_folding_what_was_unfolded_counts_the_windows_of_each_pixel(example):
    """fold(unfold(x)) = x times fold(unfold(1))."""
    x, kernel, options = example
    counts = F.fold(F.unfold(np.ones(x.shape), kernel, **options), x.shape[2:], kernel, **options)
    np.testing.assert_array_equal(counts, counts.round())
    np.testing.assert_allclose(F.fold(F.unfold(x, kernel, **options), x.shape[2:], kernel, **options), x * counts, atol=1e-12)


@given(geometries(), st.integers(1, 3))
def test_a_convolution_is_unfold_and_a_matrix_product(example, k):
    """And its transpose a matrix product and fold."""
    x, kernel, options = example
    n, c, *size = x.shape
    w = np.sin(np.arange(float(k * c * math.prod(kernel)))).reshape(k, c, *kernel)
    matrix = w.reshape(k, -1)
    y = F.conv2d(x, w, **options)
    np.testing.assert_allclose((matrix @ F.unfold(x, kernel, **options)).reshape(y.shape), y, atol=1e-11)
    covered = [(o - 1) * s - 2 * p + d * (e - 1) + 1
               for o, s, p, d, e in zip(y.shape[2:], options["stride"], options["padding"], options["dilation"], kernel)]
    back = F.conv_transpose2d(y, w, output_padding=tuple(m - e for m, e in zip(size, covered)), **options)
    columns = matrix.T @ y.reshape(n, k, math.prod(y.shape[2:]))
    np.testing.assert_allclose(F.fold(columns, tuple(size), kernel, **options), back, atol=1e-11)


def test_patches_are_unfolded_without_overlap():
    """Stride equal to the kernel: each pixel once, and fold is the inverse. What a vision transformer does first."""
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    patches = F.unfold(x, 2, stride=2)
    assert patches[0].T.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    np.testing.assert_array_equal(F.fold(patches, 4, 2, stride=2), x)


def test_fold_adds_float16_up_in_float32():
    """4096 windows over one pixel, each with 1, and one with 1 more: float16 alone stops at 2048."""
    columns = np.ones((64 * 64, 64 * 64), np.float16)
    assert F.fold(columns, 127, 64)[0, 63, 63] == 4096


def test_the_gradient_of_unfold_adds_float16_up_in_float32():
    """The same sum, as the gradient of the pixel that is in 64 x 64 windows."""
    x = tensor(np.ones((1, 127, 127), np.float16), requires_grad=True)
    g = gradient(F.unfold(x, 64), x, np.ones((64 * 64, 64 * 64), np.float16))
    assert g.dtype == np.float16 and g.data[0, 63, 63] == 4096


@pytest.mark.parametrize(("call", "message"), [
    (lambda: F.unfold(np.ones((1, 1, 3, 3)), 4), r"^unfold: a window of \(4, 4\) at dilation \(1, 1\) does not fit into \(3, 3\)"),
    (lambda: F.unfold(np.ones((3, 3)), 2), r"^unfold: expected an input \(N, C, H, W\) or \(C, H, W\)"),
    (lambda: F.fold(np.ones((4, 4)), 3, 3), r"^fold: expected C 9 rows and 1 columns, .* windows of \(3, 3\) in .* got shape \(4, 4\)"),
    (lambda: F.fold(np.ones((4, 4)), 3, 2, stride=2), r"^fold: expected C 4 rows and 1 columns"),
])
def test_what_does_not_fit_is_refused(call, message):
    """One clear ValueError."""
    with pytest.raises(ValueError, match=message):
        call()
