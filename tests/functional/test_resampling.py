"""Pooling, interpolation and rearranging: nested loops, adjoints, the worked numbers of the course, errors."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import check_gradients, grad, tensor

pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def poolings(draw):
    """An image and a window that fits."""
    kernel, stride = draw(pairs(1, 4)), draw(pairs(1, 3))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = [draw(st.integers(max(1, k - 2 * p), 7)) for k, p in zip(kernel, padding)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.normal(size=(draw(st.integers(0, 2)), draw(st.integers(1, 2)), *size)) - 2, kernel, stride, padding


def windows(x, kernel, stride, padding):
    """(place of the result, elements of the window inside the image, their places), one window after the other."""
    n, c, *size = x.shape
    out = [(s + 2 * p - k) // t + 1 for s, p, k, t in zip(size, padding, kernel, stride)]
    for i, ch, p, q in itertools.product(range(n), range(c), *map(range, out)):
        top, left = p * stride[0] - padding[0], q * stride[1] - padding[1]
        places = [(i, ch, r, s) for r in range(top, top + kernel[0]) for s in range(left, left + kernel[1])
                  if 0 <= r < size[0] and 0 <= s < size[1]]
        yield (i, ch, p, q), places


@given(poolings())
def test_pooling_is_its_definition(example):
    """Windows one by one: the largest inside the image; the sum inside, divided by the whole window. Gradients too."""
    image, kernel, stride, padding = example
    x = tensor(image, requires_grad=True)
    largest, average = F.max_pool2d(x, kernel, stride, padding), F.avg_pool2d(x, kernel, stride, padding)
    assert largest.shape == average.shape
    to_largest, to_all = np.zeros(image.shape), np.zeros(image.shape)
    count = 0
    for place, sources in windows(image, kernel, stride, padding):
        best = max(sources, key=lambda source: image[source])
        assert largest.data[place] == image[best]
        assert average.data[place] == pytest.approx(sum(image[s] for s in sources) / np.prod(kernel), rel=1e-12)
        to_largest[best] += 1
        for source in sources:
            to_all[source] += 1 / np.prod(kernel)
        count += 1
    assert count == largest.size
    np.testing.assert_array_equal(grad(largest.sum(), x).data, to_largest)
    np.testing.assert_allclose(grad(average.sum(), x).data, to_all, rtol=1e-12)


def test_the_first_of_equal_maxima_gets_the_gradient():
    """As in torch, and unlike amax."""
    x = tensor(np.ones((1, 1, 2, 4)), requires_grad=True)
    np.testing.assert_array_equal(grad(F.max_pool2d(x, 2).sum(), x).data[0, 0], [[1, 0, 1, 0], [0, 0, 0, 0]])


def test_the_window_is_the_default_stride():
    """Also for a pair."""
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    for pool in (F.max_pool2d, F.avg_pool2d):
        np.testing.assert_array_equal(pool(x, (3, 2)), pool(x, (3, 2), (3, 2)))
    assert F.avg_pool2d(x, 6).item() == x.mean()


# -- interpolation ---------------------------------------------------------------------------------------------------


@given(pairs(1, 3), pairs(1, 4), st.booleans())
def test_nearest_neighbours_are_floors(factors, size, by_size):
    """y[p, q] = x[floor(p / f), floor(q / f)], place by place, given as sizes or as factors."""
    x = np.arange(2.0 * size[0] * size[1]).reshape(1, 2, *size)
    target = tuple(n * f for n, f in zip(size, factors))
    y = F.interpolate(x, size=target) if by_size else F.interpolate(x, scale_factor=factors)
    assert y.shape == (1, 2, *target)
    for n, c, p, q in np.ndindex(y.shape):
        assert y[n, c, p, q] == x[n, c, p * size[0] // target[0], q * size[1] // target[1]]


@given(pairs(1, 3), pairs(1, 4))
def test_interpolation_and_its_gradient_are_adjoint(factors, size):
    """<up(x), y> = <x, up^T(y)>, and up^T is the average pooling times the number of copies."""
    x = tensor(np.sin(np.arange(2.0 * size[0] * size[1])).reshape(2, 1, *size), requires_grad=True)
    up = F.interpolate(x, scale_factor=factors)
    y = np.cos(np.arange(up.size)).reshape(up.shape)
    back = grad(up, x, y).data
    assert np.vdot(up.data, y) == pytest.approx(np.vdot(x.data, back), rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(back, F.avg_pool2d(y, factors) * np.prod(factors), atol=1e-13)


# -- rearrange -------------------------------------------------------------------------------------------------------


SIXTEEN = np.arange(1.0, 17.0).reshape(1, 4, 4)


def test_the_worked_rearrange_pooling_of_the_course():
    """1..16 in a square become four channels of neighbours' places."""
    y = F.rearrange(SIXTEEN, "c (h p1) (w p2) -> (c p1 p2) h w", p1=2, p2=2)
    assert y.reshape(4, 4).tolist() == [[1, 3, 9, 11], [2, 4, 10, 12], [5, 7, 13, 15], [6, 8, 14, 16]]


def test_the_order_in_brackets_matters():
    """(h p1) takes neighbours, (p1 h) takes halves."""
    neighbours = F.rearrange(SIXTEEN, "c (h p1) w -> p1 c h w", p1=2)
    halves = F.rearrange(SIXTEEN, "c (p1 h) w -> p1 c h w", p1=2)
    np.testing.assert_array_equal(neighbours[0, 0], SIXTEEN[0, ::2])
    np.testing.assert_array_equal(halves[0, 0], SIXTEEN[0, :2])


@given(pairs(1, 3), pairs(1, 3), st.integers(1, 3), st.integers(0, 2))
def test_rearrange_pooling_moves_each_pixel_where_it_says(patches, cells, channels, batch):
    """Pixel by pixel; and back by the pattern turned round."""
    (p1, p2), (h, w) = patches, cells
    x = np.arange(1.0 * batch * channels * h * p1 * w * p2).reshape(batch, channels, h * p1, w * p2)
    there = F.rearrange(x, "b c (h p1) (w p2) -> b (c p1 p2) h w", p1=p1, p2=p2)
    for b, c, i, u, j, v in np.ndindex(batch, channels, h, p1, w, p2):
        assert there[b, (c * p1 + u) * p2 + v, i, j] == x[b, c, i * p1 + u, j * p2 + v]
    back = F.rearrange(there, "b (c p1 p2) h w -> b c (h p1) (w p2)", p1=p1, p2=p2, c=channels)
    np.testing.assert_array_equal(back, x)


@given(st.permutations("abc"), st.integers(0, 2), st.data())
def test_any_rearrangement_is_a_permutation_of_names(order, cut, data):
    """Split into three names, permute, merge two: against an index by name. Its gradient moves back."""
    sizes = {name: data.draw(st.integers(1, 3)) for name in "abc"}
    x = np.arange(float(np.prod(list(sizes.values())))).reshape(sizes["a"] * sizes["b"], sizes["c"])
    right = f"{order[0]} ({order[1]} {order[2]}) 1" if cut else f"({order[0]} {order[1]}) {order[2]} ()"
    y = F.rearrange(tensor(x), f"(a b) c -> {right}", a=sizes["a"]).data
    flat = y.reshape([sizes[name] for name in order])
    for place in itertools.product(*(range(sizes[name]) for name in order)):
        at = dict(zip(order, place))
        assert flat[place] == x[at["a"] * sizes["b"] + at["b"], at["c"]]
    split = [sizes[name] for name in order]
    assert y.shape == ((split[0], split[1] * split[2], 1) if cut else (split[0] * split[1], split[2], 1))


def test_rearranging_has_the_gradient_of_a_move():
    """Finite differences."""
    check_gradients(lambda x: F.rearrange(x, "(a b) c -> c (b a)", a=2) ** 2, [np.arange(12.0).reshape(4, 3)])


# -- errors ----------------------------------------------------------------------------------------------------------

X = np.ones((1, 2, 4, 6))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: F.max_pool2d(X, 5), r"a \(5, 5\) window does not fit an input of shape \(1, 2, 4, 6\)"),
    (lambda: F.avg_pool2d(X[0], 2), r"expected \(N, C, H, W\)"),
    (lambda: F.max_pool2d(X, 3, padding=2), "more than half of the kernel"),
    (lambda: F.avg_pool2d(X, 0), "kernel_size: expected an int of at least 1"),
    (lambda: F.interpolate(X, scale_factor=2, mode="bilinear"), "mode 'bilinear' is not offered; expected 'nearest'"),
    (lambda: F.interpolate(X), "either size or scale_factor"),
    (lambda: F.interpolate(X, 8, 2), "either size or scale_factor"),
    (lambda: F.interpolate(X[0], scale_factor=2), r"expected an input \(N, C, H, W\)"),
    (lambda: F.interpolate(X, scale_factor=1.5), "only whole factors"),
    (lambda: F.interpolate(X, scale_factor=0), "only whole factors"),
    (lambda: F.interpolate(X, scale_factor=(2,)), "only whole factors"),
    (lambda: F.interpolate(X, size=7), "only whole factors"),
    (lambda: F.rearrange(X, "b c h w"), "expected one '->'"),
    (lambda: F.rearrange(X, "b c h w -> b c h"), "must have the same names"),
    (lambda: F.rearrange(X, "b c h -> b c h"), r"describes 3 dimensions, the input has shape \(1, 2, 4, 6\)"),
    (lambda: F.rearrange(X, "b c h h -> b c h h"), "expected different names"),
    (lambda: F.rearrange(X, "b c (h -> b c h"), "cannot read"),
    (lambda: F.rearrange(X, "b c ... -> ... b c"), "cannot read"),
    (lambda: F.rearrange(X, "b c h (w p) -> b c h w p"), r"a dimension of size 6 does not split into \(w p\)"),
    (lambda: F.rearrange(X, "b c h (w p) -> b c h w p", p=4), "does not split"),
    (lambda: F.rearrange(X, "b c h (w p) -> b c h w p", p=2, w=2), "does not split"),
    (lambda: F.rearrange(X, "b c h w -> b c h w", p=2), r"sizes for \['p'\], which"),
    (lambda: F.rearrange(X, "1 1 h w -> h w"), "a dimension of size 2 does not split"),
])
def test_what_does_not_fit_is_refused(call, message):
    """One clear ValueError."""
    with pytest.raises(ValueError, match=message):
        call()
