"""Pooling: loops over windows in 1 to 3 dimensions, ties, NaN, adaptive windows, errors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import gradient, tensor


def each(draw, dims, low, high):
    return tuple(draw(st.integers(low, high)) for _ in range(dims))


def numbers(draw, shape):
    """Below zero mostly, so that a zero from the padding would be the largest; with ties if they are whole."""
    x = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=shape) - 2
    return np.round(2 * x) if draw(st.booleans()) else x


@st.composite
def poolings(draw, dilated):
    """An input and a window that fits: (x, kernel, stride, padding, dilation, ceil_mode)."""
    dims = draw(st.integers(1, 3))
    kernel, stride = each(draw, dims, 1, 4), each(draw, dims, 1, 4)
    padding, dilation = tuple(draw(st.integers(0, k // 2)) for k in kernel), each(draw, dims, 1, 3) if dilated else (1,) * dims
    size = [max(d, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 8 - 2 * dims)) for k, p, d in zip(kernel, padding, dilation)]
    shape = (draw(st.sampled_from([2, 1, 0])), draw(st.integers(1, 2)), *size)
    return numbers(draw, shape), kernel, stride, padding, dilation, draw(st.booleans())


def rows(n, kernel, stride, padding, dilation, ceil_mode):
    """For each window along one dimension the places under it, also outside: one more may begin with ceil_mode, in front of the end."""
    found = []
    for start in itertools.count(-padding, stride):
        last = start + dilation * (kernel - 1)
        if last >= n + padding and not (ceil_mode and found and start < n and found[-1][-1] < n + padding - 1):
            return found
        found.append([start + dilation * i for i in range(kernel)])


def windows(size, *geometry):
    """(place of the result, the places of its window inside and outside the input), window by window."""
    along = [rows(*one) for one in zip(size, *geometry)]
    for place in itertools.product(*(range(len(one)) for one in along)):
        yield place, list(itertools.product(*(one[i] for one, i in zip(along, place))))


def inside(places, size):
    return [p for p in places if all(0 <= q < n for q, n in zip(p, size))]


def pool(kind, x):
    """The function of this many dimensions."""
    return getattr(F, f"{kind}_pool{x.ndim - 2}d")


@settings(max_examples=150)
@given(poolings(dilated=True))
def test_max_pooling_is_its_definition(example):
    """The first of the largest inside the input: value, place, gradient. A sample alone is a batch of one."""
    x, kernel, stride, padding, dilation, ceil_mode = example
    size = x.shape[2:]
    t = tensor(x, requires_grad=True)
    found, where = pool("max", x)(t, kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    assert where.dtype == np.int64 and not where.requires_grad
    slope, count = np.zeros(x.shape), 0
    for place, sources in windows(size, kernel, stride, padding, dilation, (ceil_mode,) * len(size)):
        sources = inside(sources, size)
        for sample in np.ndindex(*x.shape[:2]):
            best = max(sources, key=lambda source: x[sample + source])  # the first of several
            assert found.data[sample + place] == x[sample + best]
            assert where.data[sample + place] == np.ravel_multi_index(best, size)
            slope[sample + best] += 1
            count += 1
    assert count == found.data.size
    np.testing.assert_array_equal(gradient(found.sum(), t).data, slope)
    alone = tensor(x, requires_grad=True)
    value = pool("max", x)(alone, kernel, stride, padding, dilation, ceil_mode)
    np.testing.assert_array_equal(value.data, found.data)
    np.testing.assert_array_equal(gradient(value.sum(), alone).data, slope)
    for sample, y in zip(x, found.data):
        np.testing.assert_array_equal(pool("max", x)(sample, kernel, stride, padding, dilation, ceil_mode), y)


@settings(max_examples=150)
@given(poolings(dilated=False), st.booleans(), st.sampled_from([None, 3, -2]))
def test_average_pooling_is_its_definition(example, count_include_pad, divisor):
    """The sum inside, divided by what lies inside the padding, or inside the input, or by what is said. Gradients too."""
    x, kernel, stride, padding, dilation, ceil_mode = example
    size = x.shape[2:]
    options = {} if x.ndim == 3 else {"divisor_override": divisor}
    t = tensor(x, requires_grad=True)
    found = pool("avg", x)(t, kernel, stride, padding, ceil_mode, count_include_pad, **options)
    slope, count = np.zeros(x.shape), 0
    for place, sources in windows(size, kernel, stride, padding, dilation, (ceil_mode,) * len(size)):
        padded = [p for p in sources if all(-e <= q < n + e for q, n, e in zip(p, size, padding))]
        real = inside(sources, size)
        over = options.get("divisor_override") or len(padded if count_include_pad else real)
        for sample in np.ndindex(*x.shape[:2]):
            assert found.data[sample + place] == pytest.approx(sum(x[sample + s] for s in real) / over, rel=1e-12, abs=1e-12)
            for source in real:
                slope[sample + source] += 1 / over
            count += 1
    assert count == found.data.size
    np.testing.assert_allclose(gradient(found.sum(), t).data, slope, rtol=1e-11, atol=1e-12)


@st.composite
def adaptations(draw):
    """An input and any output size: smaller, larger, or nothing at all."""
    dims = draw(st.integers(1, 3))
    shape = (draw(st.sampled_from([2, 1, 0])), draw(st.integers(1, 2)), *each(draw, dims, 1, 9 - 2 * dims))
    return numbers(draw, shape), each(draw, dims, 0, 9 - 2 * dims)


@settings(max_examples=150)
@given(adaptations())
def test_adaptive_pooling_divides_the_input_evenly(example):
    """Window i reaches from floor(i n / m) to ceil((i + 1) n / m): its mean, its largest element, and where that stands."""
    x, out = example
    size = x.shape[2:]
    average = pool("adaptive_avg", x)(x, out)
    largest, where = pool("adaptive_max", x)(x, out, return_indices=True)
    assert average.shape == largest.shape == where.shape == (*x.shape[:2], *out)
    for place in np.ndindex(*out):
        sources = list(itertools.product(*(range(i * n // m, math.ceil((i + 1) * n / m)) for i, n, m in zip(place, size, out))))
        for sample in np.ndindex(*x.shape[:2]):
            elements = [x[sample + source] for source in sources]
            assert average[sample + place] == pytest.approx(np.mean(elements), rel=1e-12, abs=1e-12)
            assert largest[sample + place] == max(elements)
            assert where[sample + place] == np.ravel_multi_index(sources[int(np.argmax(elements))], size)


@given(st.integers(1, 3), st.data())
def test_adaptive_pooling_of_a_multiple_is_pooling(dims, data):
    """n = k m: windows of k side by side."""
    kernel, out = each(data.draw, dims, 1, 3), each(data.draw, dims, 1, 3)
    x = numbers(data.draw, (2, 1, *(k * m for k, m in zip(kernel, out))))
    np.testing.assert_allclose(pool("adaptive_avg", x)(x, out), pool("avg", x)(x, kernel), atol=1e-13)
    np.testing.assert_array_equal(pool("adaptive_max", x)(x, out), pool("max", x)(x, kernel))


@given(st.integers(1, 3), st.data())
def test_averaging_is_a_convolution_with_equal_weights(dims, data):
    """Every channel alone with a kernel of 1 / k: groups are the channels."""
    kernel, stride = each(data.draw, dims, 1, 3), each(data.draw, dims, 1, 3)
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    x = numbers(data.draw, (2, 3, *(k + data.draw(st.integers(0, 3)) for k in kernel)))
    weight = np.full((3, 1, *kernel), 1 / math.prod(kernel))
    expected = getattr(F, f"conv{dims}d")(x, weight, stride=stride, padding=padding, groups=3)
    np.testing.assert_allclose(pool("avg", x)(x, kernel, stride, padding), expected, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("pooled", [lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
                                    lambda x: F.adaptive_max_pool2d(x, (1, 2))])
def test_the_first_of_equal_maxima_gets_the_gradient(pooled, dtype):
    """As in torch, and unlike amax."""
    x = tensor(np.ones((1, 1, 2, 4), dtype), requires_grad=True)
    np.testing.assert_array_equal(gradient(pooled(x).sum(), x).data[0, 0], [[1, 0, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_nan_is_the_largest_and_takes_the_gradient(dtype):
    """Also behind something larger, or in the kernel for windows side by side; the other windows don't notice."""
    x = np.array([[[5, np.nan, 2, 3], [7, 1, 4, 1]]], dtype)
    for pooled in (lambda t: F.max_pool2d(t, 2), lambda t: F.max_pool2d(t, 2, stride=2, dilation=1, return_indices=True)[0],
                   lambda t: F.adaptive_max_pool2d(t, (1, 2))):
        t = tensor(x, requires_grad=True)
        y = pooled(t)
        np.testing.assert_array_equal(y.data, [[[np.nan, 4]]])
        np.testing.assert_array_equal(gradient(y, t, np.ones((1, 1, 2), dtype)).data, [[[0, 1, 0, 0], [0, 0, 1, 0]]])
    assert np.isnan(F.avg_pool2d(x, 2)).tolist() == np.isnan(F.adaptive_avg_pool2d(x, (1, 2))).tolist() == [[[True, False]]]


def test_infinities_stay_in_their_windows():
    """-inf everywhere is no reason to look into the padding; an average with inf is inf, its neighbour is not NaN."""
    value, where = F.max_pool1d(np.full((1, 4), -np.inf), 2, padding=1, return_indices=True)
    assert value.tolist() == [[-np.inf] * 3] and where.tolist() == [[0, 1, 3]]
    assert F.avg_pool1d(np.array([[np.inf, 1, 2, 4]]), 2).tolist() == [[np.inf, 3]]
    assert F.adaptive_avg_pool1d(np.array([[np.inf, 1, 2]]), 2).tolist() == [[np.inf, 1.5]]


def test_the_window_is_the_default_stride():
    """Also for a pair."""
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    for pooled in (F.max_pool2d, F.avg_pool2d):
        np.testing.assert_array_equal(pooled(x, (3, 2)), pooled(x, (3, 2), (3, 2)))
    assert F.avg_pool2d(x, 6).item() == F.adaptive_avg_pool2d(x, 1).item() == x.mean()


@pytest.mark.parametrize("average", [lambda x: F.avg_pool1d(x, x.shape[-1]), lambda x: F.adaptive_avg_pool1d(x, 1)])
def test_float16_averages_are_formed_in_float32(average):
    """Ten thousand tens are more than float16 has; their mean is 10, and of numbers the float64 mean rounded once."""
    assert average(np.full((1, 10000), 10, np.float16)).item() == 10
    x = np.random.default_rng().random((4, 3000)).astype(np.float16)
    np.testing.assert_allclose(average(x)[:, 0], x.astype(np.float64).mean(1), rtol=2**-11)


def test_integers_have_a_maximum_but_no_average():
    """The maximum keeps the dtype."""
    x = np.array([[3, 1, 2, 5]])
    found = F.max_pool1d(x, 2, padding=1)
    assert found.dtype == x.dtype and found.tolist() == [[3, 2, 5]]
    with pytest.raises(TypeError, match=r"^avg_pool1d: expected floating-point numbers, got int64"):
        F.avg_pool1d(x, 2)


# -- errors ----------------------------------------------------------------------------------------------------------

X = np.ones((1, 2, 4, 6))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: F.max_pool2d(X, 5), r"^max_pool2d: a \(5, 5\) window with dilation \(1, 1\) does not fit an input of shape \(1, 2, 4, 6\)"),
    (lambda: F.max_pool2d(X, 3, dilation=2), "does not fit"),
    (lambda: F.max_pool1d(np.ones((1, 1, 2)), 2, padding=1, dilation=3), "has no element of an input of shape .* expected less padding"),
    (lambda: F.max_pool1d(np.ones((1, 1, 1)), 2, padding=1, dilation=2), "has no element of an input"),
    (lambda: F.avg_pool2d(X[0, 0], 2), r"^avg_pool2d: expected an input \(N, C, H, W\) or \(C, H, W\)"),
    (lambda: F.max_pool2d(X[:, :0], 2), "where only N may be 0"),
    (lambda: F.max_pool2d(X, 3, padding=2), "more than half of the kernel"),
    (lambda: F.avg_pool2d(X, 0), "kernel_size: expected an int of at least 1"),
    (lambda: F.avg_pool3d(X, 2, divisor_override=0), "avg_pool3d: divisor_override: expected an int other than 0, got 0"),
    (lambda: F.adaptive_avg_pool2d(X, (2, 2, 2)), r"adaptive_avg_pool2d: output_size: expected an int of at least 0, or 2 of them"),
    (lambda: F.adaptive_max_pool2d(X, -1), "adaptive_max_pool2d: output_size: expected an int of at least 0"),
])
def test_what_does_not_fit_is_refused(call, message):
    """One clear ValueError."""
    with pytest.raises(ValueError, match=message):
        call()
