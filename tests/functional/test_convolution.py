"""Convolution and its transpose: nested loops, the worked examples of the course, adjointness, errors."""

import functools
import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import gradient, tensor

CHECKERED = np.array([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])[None, None]
QUARTERS = np.full((1, 1, 2, 2), 0.25)


def loops_conv(x, w, b, stride, padding, dilation, groups):
    """The definition, one multiplication at a time."""
    n, _, *size = x.shape
    k, c, *kernel = w.shape
    out = [(s + 2 * p - d * (e - 1) - 1) // t + 1 for s, p, d, e, t in zip(size, padding, dilation, kernel, stride)]
    y = np.zeros((n, k, *out))
    for i, f, *p in np.ndindex(y.shape):
        y[(i, f, *p)] = b[f]
        for ch, *u in np.ndindex(c, *kernel):
            q = tuple(t * o + d * e - z for t, o, d, e, z in zip(stride, p, dilation, u, padding))
            if all(0 <= place < m for place, m in zip(q, size)):
                y[(i, f, *p)] += w[(f, ch, *u)] * x[(i, f // (k // groups) * c + ch, *q)]
    return y


def loops_conv_transpose(y, w, b, stride, padding, output_padding, groups, dilation):
    """Every element of y stamps the kernel, scaled, onto the result; then the padding is cut off."""
    n, k, *size = y.shape
    _, c, *kernel = w.shape
    out = [(s - 1) * t + d * (e - 1) + 1 + o for s, t, d, e, o in zip(size, stride, dilation, kernel, output_padding)]
    x = np.zeros((n, c * groups, *out))
    for i, f, *p in np.ndindex(y.shape):
        for ch, *u in np.ndindex(c, *kernel):
            q = tuple(t * o + d * e for t, o, d, e in zip(stride, p, dilation, u))
            x[(i, f // (k // groups) * c + ch, *q)] += w[(f, ch, *u)] * y[(i, f, *p)]
    x = x[(..., *(slice(z, m - z) for z, m in zip(padding, out)))]
    return x + b.reshape(-1, *(1 for _ in size))


def each(draw, dims, low, high):
    return tuple(draw(st.integers(low, high)) for _ in range(dims))


@st.composite
def convolutions(draw):
    """x, w, b and the options of a convolution that fits, in 1 to 3 dimensions; numbers at random."""
    dims, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    most = 3 if dims < 3 else 2
    kernel, stride, padding, dilation = each(draw, dims, 1, 3), each(draw, dims, 1, 3), each(draw, dims, 0, most), each(draw, dims, 1, most)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    size = [draw(st.integers(max(1, s - 2 * p), max(1, s - 2 * p) + 2 * (4 - dims))) for s, p in zip(spans, padding)]
    n, c, k = draw(st.sampled_from([2, 1, 0, 2, 2])), draw(st.integers(1, 2)), draw(st.integers(1, 2)) * groups
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return (rng.normal(size=(n, c * groups, *size)), rng.normal(size=(k, c, *kernel)), rng.normal(size=k),
            dict(stride=stride, padding=padding, dilation=dilation, groups=groups))


@st.composite
def transposed_convolutions(draw):
    """y, w, b and the options of a transposed convolution that fits."""
    dims, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    most = 3 if dims < 3 else 2
    kernel, stride, dilation = each(draw, dims, 1, 3), each(draw, dims, 1, 3), each(draw, dims, 1, most)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    size = each(draw, dims, 1, 5 - dims)
    full = [(n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(size, stride, dilation, kernel, extra)]
    padding = tuple(draw(st.integers(0, min(2, (n - 1) // 2))) for n in full)
    n, c, k = draw(st.sampled_from([2, 1, 0, 2, 2])), draw(st.integers(1, 2)), draw(st.integers(1, 2)) * groups
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return (rng.normal(size=(n, k, *size)), rng.normal(size=(k, c, *kernel)), rng.normal(size=c * groups),
            dict(stride=stride, padding=padding, output_padding=extra, groups=groups, dilation=dilation))


def conv(x):
    """The convolution of this many dimensions."""
    return getattr(F, f"conv{x.ndim - 2}d")


def conv_transpose(x):
    return getattr(F, f"conv_transpose{x.ndim - 2}d")


@settings(max_examples=200)
@given(convolutions())
def test_convolution_is_its_definition(example):
    """Nested loops over everything, in float64, float32 and float16; a sample alone is a batch of one."""
    x, w, b, options = example
    expected = loops_conv(x, w, b, **options)
    found = conv(x)(x, w, b, **options)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(conv(x)(x, w, None, **options), conv(x)(x, w, 0 * b, **options), rtol=1e-12, atol=1e-12)
    for alone, y in zip(x, expected):
        np.testing.assert_allclose(conv(x)(alone, w, b, **options), y, rtol=1e-12, atol=1e-12)
    single = conv(x)(*(a.astype(np.float32) for a in (x, w, b)), **options)
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=200)
@given(transposed_convolutions())
def test_transposed_convolution_is_its_definition(example):
    """Stamps, cut, in float64 and float32; a sample alone is a batch of one."""
    y, w, b, options = example
    expected = loops_conv_transpose(y, w, b, **options)
    found = conv_transpose(y)(y, w, b, **options)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    for alone, x in zip(y, expected):
        np.testing.assert_allclose(conv_transpose(y)(alone, w, b, **options), x, rtol=1e-12, atol=1e-12)
    single = conv_transpose(y)(*(a.astype(np.float32) for a in (y, w, b)), **options)
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-5)


@given(convolutions())
def test_convolution_and_transposed_convolution_are_adjoint(example):
    """<conv(x), y> = <x, conv_transpose(y)>, where output_padding makes up for rows that the stride skipped."""
    x, w, _, options = example
    out = conv(x)(x, w, **options)
    y = np.cos(np.arange(out.size)).reshape(out.shape)
    covered = [(o - 1) * s - 2 * p + d * (k - 1) + 1 for o, s, p, d, k in
               zip(out.shape[2:], options["stride"], options["padding"], options["dilation"], w.shape[2:])]
    extra = tuple(n - m for n, m in zip(x.shape[2:], covered))
    back = conv_transpose(x)(y, w, output_padding=extra, **options)
    assert back.shape == x.shape
    assert np.vdot(out, y) == pytest.approx(np.vdot(x, back), rel=1e-10, abs=1e-10)
    slope = gradient(conv(x)(tx := tensor(x, requires_grad=True), w, **options), tx, y)
    np.testing.assert_allclose(slope.data, back, rtol=1e-12, atol=1e-12)


@given(convolutions(), st.floats(-3, 3))
def test_convolution_is_linear_in_the_signal_and_in_the_kernel(example, a):
    """conv(a x + x', w) = a conv(x, w) + conv(x', w), and the same in w."""
    x, w, _, options = example
    f, x2, w2 = functools.partial(conv(x), **options), np.sin(x), np.sin(w)
    np.testing.assert_allclose(f(a * x + x2, w), a * f(x, w) + f(x2, w), atol=1e-11)
    np.testing.assert_allclose(f(x, a * w + w2), a * f(x, w) + f(x, w2), atol=1e-11)


@given(st.integers(1, 3), st.data())
def test_one_convolution_after_another_is_one_with_the_kernels_convolved(dims, data):
    """conv(conv(x, v), w) = conv(x, v * w), where v * w is v stamped by w: the transposed convolution of the one by the other."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    a, b = each(data.draw, dims, 1, 3), each(data.draw, dims, 1, 3)
    size = [i + j - 1 + data.draw(st.integers(0, 2)) for i, j in zip(a, b)]
    x, v, w = rng.normal(size=(2, 1, *size)), rng.normal(size=(1, 1, *a)), rng.normal(size=(1, 1, *b))
    np.testing.assert_allclose(conv(x)(conv(x)(x, v), w), conv(x)(x, conv_transpose(x)(v, w)), atol=1e-11)


@given(convolutions())
def test_groups_are_convolutions_side_by_side(example):
    """Cut channels and kernels into groups, convolve each, and join."""
    x, w, b, options = example
    groups = options.pop("groups")
    parts = [np.split(a, groups, axis) for a, axis in ((x, 1), (w, 0), (b, 0))]
    apart = np.concatenate([conv(x)(*part, **options) for part in zip(*parts)], 1)
    np.testing.assert_allclose(conv(x)(x, w, b, groups=groups, **options), apart, rtol=1e-12, atol=1e-12)


@given(convolutions())
def test_same_padding_keeps_the_size_and_one_more_goes_to_the_end(example):
    """Zeros by hand: half of dilation (kernel - 1) before, what is left after; also even kernels."""
    x, w, b, options = example
    reach = [d * (k - 1) for d, k in zip(options["dilation"], w.shape[2:])]
    around = np.pad(x, ((0, 0), (0, 0), *((r // 2, r - r // 2) for r in reach)))
    options = {"dilation": options["dilation"], "groups": options["groups"]}
    same = conv(x)(x, w, b, padding="same", **options)
    assert same.shape[2:] == x.shape[2:]
    np.testing.assert_allclose(same, conv(x)(around, w, b, padding="valid", **options), rtol=1e-12, atol=1e-12)


@settings(max_examples=20)
@given(convolutions())
def test_gradients_in_lower_precision_are_those_in_double(example):
    """Input, weight and bias, to the rounding of float32 and float16: the fast kernels against the readable forward in float64."""
    x, w, b, options = example
    x, w, b = (a.astype(np.float16) for a in (x, w, b))
    results = []
    for dtype in (np.float64, np.float32, np.float16):
        inputs = [tensor(a.astype(dtype), requires_grad=True) for a in (x, w, b)]
        out = conv(x)(*inputs, **options)
        g = np.cos(np.arange(out.size)).reshape(out.shape).astype(np.float16).astype(dtype)
        results.append([out, *gradient(out, inputs, g)])
        assert all(a.dtype == dtype for a in results[-1])
    for double, single, half in zip(*results):
        np.testing.assert_allclose(single.data, double.data, rtol=1e-4, atol=3e-5)
        np.testing.assert_allclose(half.data, double.data.astype(np.float16), rtol=2e-3, atol=1e-4)


def test_float16_is_added_up_in_float32():
    """4096 ones and then ones: float16 alone stops at 2048, where 2048 + 1 rounds to 2048."""
    assert F.conv1d(np.ones((1, 4100), np.float16), np.ones((1, 1, 4100), np.float16)).item() == 4100
    assert F.conv_transpose1d(np.ones((1, 4100, 1), np.float16), np.ones((4100, 1, 1), np.float16)).item() == 4100


def test_integers_convolve_exactly():
    """As in torch; the dtype stays."""
    out = F.conv2d(CHECKERED.astype(np.int64), np.ones((1, 1, 2, 2), np.int64))
    assert out.dtype == np.int64 and out.tolist() == [[[[2, 2], [2, 2]]]]


@pytest.mark.parametrize("name", ["conv1d", "conv3d", "conv_transpose2d"])
def test_each_function_knows_its_name_and_its_dimensions(name):
    """In `help` as in errors."""
    function = getattr(F, name)
    assert function.__name__ == name and function.__doc__ and "{" not in function.__doc__
    assert list(inspect.signature(function).parameters)[:3] == ["input", "weight", "bias"]
    with pytest.raises(ValueError, match=rf"^{name}: expected an input \(N, C, "):
        function(np.ones(3), np.ones((1, 1, 1)))


# -- the course ------------------------------------------------------------------------------------------------------


def test_the_worked_convolution_of_the_course():
    """A checkered image under quarters: one half everywhere."""
    np.testing.assert_array_equal(F.conv2d(CHECKERED, QUARTERS)[0, 0], [[0.5, 0.5], [0.5, 0.5]])


def test_the_worked_transposed_convolution_of_the_course():
    """Zeros between the pixels (5x5), then the 2x2 kernel; the same by conv_transpose2d with padding 1, because padding crops."""
    spread = np.zeros((1, 1, 5, 5))
    spread[..., ::2, ::2] = CHECKERED
    expected = [[0.25, 0, 0, 0.25], [0, 0.25, 0.25, 0], [0, 0.25, 0.25, 0], [0.25, 0, 0, 0.25]]
    np.testing.assert_array_equal(F.conv2d(spread, QUARTERS)[0, 0], expected)
    np.testing.assert_array_equal(F.conv_transpose2d(CHECKERED, QUARTERS, stride=2, padding=1)[0, 0], expected)


@pytest.mark.parametrize(("stride", "size"), [(2, 5), (3, 7)])
def test_transposed_convolution_inserts_zeros(stride, size):
    """With a 1x1 kernel of one, stride 2 gives 5x5 and stride 3 gives 7x7, zeros between."""
    out = F.conv_transpose2d(CHECKERED, np.ones((1, 1, 1, 1)), stride=stride)
    assert out.shape == (1, 1, size, size)
    np.testing.assert_array_equal(out[..., ::stride, ::stride], CHECKERED)
    assert out.sum() == CHECKERED.sum()


@pytest.mark.parametrize(("padding", "extra"), list(itertools.product([0, 2], [0, 1, 2])))
def test_padding_crops_and_output_padding_adds_at_the_end(padding, extra):
    """The result is a window into the uncropped one, whose bottom and right are rows and columns of zeros."""
    full = np.zeros((1, 1, 10 + extra, 10 + extra))
    full[..., :10, :10] = F.conv_transpose2d(CHECKERED, np.ones((1, 1, 4, 4)), stride=3)
    out = F.conv_transpose2d(CHECKERED, np.ones((1, 1, 4, 4)), stride=3, padding=padding, output_padding=extra)
    np.testing.assert_array_equal(out, full[..., padding:10 + extra - padding, padding:10 + extra - padding])


def test_the_checkerboard_problem():
    """Kernel 3 at stride 2 covers the result unevenly (1, 2 and 4 times), kernel 2 at stride 2 once everywhere."""
    flat = np.ones((1, 1, 4, 4))
    assert set(F.conv_transpose2d(flat, np.ones((1, 1, 3, 3)), stride=2)[0, 0, 1:-1, 1:-1].ravel()) == {1.0, 2.0, 4.0}
    assert set(F.conv_transpose2d(flat, np.ones((1, 1, 2, 2)), stride=2).ravel()) == {1.0}


# -- errors ----------------------------------------------------------------------------------------------------------

X, W = np.ones((2, 3, 5, 5)), np.ones((8, 3, 3, 3))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.conv2d(X, np.ones((8, 4, 3, 3))), ValueError,
     r"conv2d: input has 3 channels, weight expects 4 \(input shape \(2, 3, 5, 5\), weight shape \(8, 4, 3, 3\), groups=1\)"),
    (lambda: F.conv2d(X, W, groups=3), ValueError, "8 channels do not divide into 3 groups"),
    (lambda: F.conv2d(X, W, groups=0), ValueError, "into 0 groups"),
    (lambda: F.conv2d(X[0, 0], W), ValueError, r"expected an input \(N, C, H, W\) or \(C, H, W\), where only N may be 0"),
    (lambda: F.conv2d(X[:, :0], W[:, :0]), ValueError, "where only N may be 0"),
    (lambda: F.conv1d(X[:, :, 0], W[:, :, 0], padding="same", stride=2), ValueError, r"'same' asks for stride 1, got \(2,\)"),
    (lambda: F.conv2d(X, W, groups=1.0), ValueError, "into 1.0 groups"),
    (lambda: F.conv2d(X > 0, W > 0), TypeError, "conv2d: expected numbers, got bool"),
    (lambda: F.conv2d(X[0], W[0]), ValueError, "weight of 4 dimensions"),
    (lambda: F.conv2d(X, W, np.ones(3)), ValueError, r"bias of shape \(3,\); the weight asks for \(8,\)"),
    (lambda: F.conv2d(X[:, :, :2], W), ValueError, "spans 3 does not fit into a padded size of 2"),
    (lambda: F.conv2d(X[:, :, :1], W, dilation=(2, 1), padding=1), ValueError, "spans 5 does not fit into a padded size of 3"),
    (lambda: F.conv2d(X[:, :, :2], W, dilation=(2, 1), padding=1), ValueError, "spans 5 does not fit into a padded size of 4"),
    (lambda: F.conv2d(X, W, dilation=3), ValueError, "spans 7"),
    (lambda: F.conv2d(X, W, stride=0), ValueError, "conv2d: stride: expected an int of at least 1, or 2 of them, got 0"),
    (lambda: F.conv2d(X, W, stride=1.5), ValueError, "got 1.5"),
    (lambda: F.conv2d(X, W, padding=(1, 1, 1)), ValueError, "conv2d: padding: expected"),
    (lambda: F.conv2d(X, W, padding="full"), ValueError, "conv2d: padding 'full'; expected numbers, 'same' or 'valid'"),
    (lambda: F.conv2d(X, W, padding=-1), ValueError, "at least 0"),
    (lambda: F.conv2d(X, W.astype(np.float32)), TypeError, "input is float64, weight is float32"),
    (lambda: F.conv2d(X, W, np.ones(8, np.float32)), TypeError, "input is float64, bias is float32"),
    (lambda: F.conv_transpose2d(X, W), ValueError, "input has 3 channels, weight expects 8"),
    (lambda: F.conv_transpose2d(X, W[:3], output_padding=1), ValueError,
     r"output_padding \(1, 1\) must be smaller than stride \(1, 1\) or dilation"),
    (lambda: F.conv_transpose2d(X, W[:3], np.ones(4)), ValueError, r"bias of shape \(4,\); the weight asks for \(3,\)"),
    (lambda: F.conv_transpose2d(X[..., :1], W[:3], padding=2), ValueError, "would have size"),
])
def test_what_does_not_fit_is_refused(call, error, message):
    """At the door, with the shapes."""
    with pytest.raises(error, match=message):
        call()


def test_numpy_integers_are_integers():
    """A stride that came out of an array."""
    np.testing.assert_array_equal(F.conv2d(X, W, stride=np.int64(2)), F.conv2d(X, W, stride=2))
