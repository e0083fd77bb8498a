"""Convolutions and their transposes in 1 to 3 dimensions; unfold and fold."""

import math

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, values

ones = np.ones


def form(draw, numbers):
    """One number for each dimension as it may be written: a tuple, a list, or an int where all are equal."""
    if len(set(numbers)) == 1 and draw(st.booleans()):
        return numbers[0]
    return draw(st.sampled_from([tuple, list]))(numbers)


def written(draw, required, options):
    """A call: `options` (name, value, default) in order, some of them by position, the others by name or, at the default, not at all."""
    count = draw(st.integers(0, len(options)))
    return Call((*required, *(value for _, value, _ in options[:count])),
                {name: value for name, value, default in options[count:] if value is not default or draw(st.booleans())})


def each(draw, dims, low, high):
    """One number for each dimension; often the same."""
    first = draw(st.integers(low, high))
    return (first,) * dims if draw(st.booleans()) else tuple(draw(st.integers(low, high)) for _ in range(dims))


def batch(draw):
    """The batch dimension: none, empty, 1, 2."""
    return draw(st.sampled_from([(), (0,), (1,), (2,), (2,)]))


@st.composite
def convolutions(draw, dims):
    source, most = draw(values()), 3 if dims < 3 else 2
    groups, kernel, stride, dilation = draw(st.integers(1, 3)), each(draw, dims, 1, most), each(draw, dims, 1, 3), each(draw, dims, 1, most)
    padding = draw(st.sampled_from(["same", "valid", "numbers", "numbers"]))
    stride = (1,) * dims if padding == "same" else stride
    pads = each(draw, dims, 0, 2) if padding == "numbers" else (0,) * dims
    least = [1 if padding == "same" else max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, pads)]
    size = [n + draw(st.integers(0, 3 if dims < 3 else 1)) for n in least]
    c, k = draw(st.integers(1, 2)), draw(st.integers(1, 2)) * groups
    bias = draw(st.sampled_from([None, source(k)]))
    return written(draw, (source(*batch(draw), c * groups, *size), source(k, c, *kernel)), [
        ("bias", bias, None), ("stride", form(draw, stride), 1), ("padding", form(draw, pads) if padding == "numbers" else padding, 0),
        ("dilation", form(draw, dilation), 1), ("groups", groups, 1)])


@st.composite
def transposed(draw, dims):
    source, most = draw(values()), 3 if dims < 3 else 2
    groups, kernel, stride, dilation = draw(st.integers(1, 3)), each(draw, dims, 1, most), each(draw, dims, 1, 3), each(draw, dims, 1, most)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    size = each(draw, dims, 1, 4 if dims < 3 else 2)
    full = [(n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(size, stride, dilation, kernel, extra)]
    padding = tuple(draw(st.integers(0, min(2, (n - 1) // 2))) for n in full)
    c, k = draw(st.integers(1, 2)), draw(st.integers(1, 2)) * groups
    bias = draw(st.sampled_from([None, source(c * groups)]))
    return written(draw, (source(*batch(draw), k, *size), source(k, c, *kernel)), [
        ("bias", bias, None), ("stride", form(draw, stride), 1), ("padding", form(draw, padding), 0),
        ("output_padding", form(draw, extra), 0), ("groups", groups, 1), ("dilation", form(draw, dilation), 1)])


@st.composite
def foldings(draw, back):
    """Calls of unfold, and of fold with columns that fit."""
    source = draw(values())
    kernel, dilation, padding, stride = each(draw, 2, 1, 3), each(draw, 2, 1, 3), each(draw, 2, 0, 2), each(draw, 2, 1, 3)
    size = tuple(max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 3)) for d, k, p in zip(dilation, kernel, padding))
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, padding, dilation, kernel, stride)]
    shape, c = batch(draw), draw(st.integers(1, 2))
    required = ((source(*shape, c * math.prod(kernel), math.prod(out)), form(draw, size), form(draw, kernel)) if back else
                (source(*shape, c, *size), form(draw, kernel)))
    return written(draw, required, [
        ("dilation", form(draw, dilation), 1), ("padding", form(draw, padding), 0), ("stride", form(draw, stride), 1)])


def refused(dims):
    """What a convolution refuses; the weight makes 4 channels of 6 in 2 groups."""
    x, w = ones((2, 6) + (5,) * dims), ones((4, 3) + (3,) * dims)
    return (
        Call((x, w)), Call((x, w), {"groups": 3}), Call((x, w), {"groups": 0}), Call((x, w), {"groups": 2.0}),
        Call((x[0, 0], w), {"groups": 2}), Call((x[None], w), {"groups": 2}), Call((x, w[0]), {"groups": 2}),
        Call((x, w, ones(3)), {"groups": 2}), Call((x, w, ones((4, 1))), {"groups": 2}),
        Call((x[..., :2], w), {"groups": 2}), Call((x, w), {"groups": 2, "dilation": 3}),
        Call((x, w), {"groups": 2, "stride": 0}), Call((x, w), {"groups": 2, "stride": -1}), Call((x, w), {"groups": 2, "stride": 1.5}),
        Call((x, w), {"groups": 2, "stride": (1,) * (dims + 1)}), Call((x, w), {"groups": 2, "dilation": 0}),
        Call((x, w), {"groups": 2, "padding": -1}), Call((x, w), {"groups": 2, "padding": (1,) * (dims + 1)}),
        Call((x, w), {"groups": 2, "padding": "full"}), Call((x, w), {"groups": 2, "padding": "same", "stride": 2}),
        Call((x, w.astype(np.float32)), {"groups": 2}), Call((x, w.astype(int)), {"groups": 2}),
        Call((x, w, ones(4, np.float32)), {"groups": 2}), Call((x > 0, w > 0), {"groups": 2}),
        Call((x, w[:0]), {"groups": 2}), Call((x[..., :0], w), {"groups": 2, "padding": 2}),
        Call((x, w), {"groups": 2, "padding_mode": "zeros"}),
    )


def refused_transposed(dims):
    """The same for the transpose: the weight makes 6 channels of 4 in 2 groups."""
    y, w = ones((2, 4) + (3,) * dims), ones((4, 3) + (3,) * dims)
    return (
        Call((y[:, :3], w), {"groups": 2}), Call((y, w), {"groups": 3}), Call((y, w), {"groups": 0}), Call((y[0, 0], w), {"groups": 2}),
        Call((y, w[0]), {"groups": 2}), Call((y, w, ones(4)), {"groups": 2}), Call((y, w), {"groups": 2, "stride": 0}),
        Call((y, w), {"groups": 2, "padding": -1}), Call((y, w), {"groups": 2, "padding": "same"}),
        Call((y, w), {"groups": 2, "dilation": 0}), Call((y, w), {"groups": 2, "output_padding": 1}),
        Call((y, w), {"groups": 2, "output_padding": 2, "stride": 2}),
        Call((y, w), {"groups": 2, "output_padding": -1}), Call((y, w), {"groups": 2, "padding": 3}),
        Call((y, w.astype(np.float32)), {"groups": 2}), Call((y > 0, w > 0), {"groups": 2}), Call((y[..., :0], w), {"groups": 2}),
        Call((y, w[:0]), {"groups": 2}),
    )


X = ones((2, 3, 5, 5))
COLUMNS = ones((2, 12, 16))  # 2 x 2 windows of 5 x 5, 3 channels

CASES = [
    *(Case(f"conv{dims}d", convolutions(dims), examples=40, refused=refused(dims)) for dims in (1, 2, 3)),
    *(Case(f"conv_transpose{dims}d", transposed(dims), examples=40, refused=refused_transposed(dims)) for dims in (1, 2, 3)),
    Case("unfold", foldings(back=False), examples=30, refused=(
        Call((X, 6)), Call((X, 3), {"dilation": 3}), Call((X, 0)), Call((X, (2, 2, 2))), Call((X, 2), {"stride": 0}),
        Call((X, 2), {"padding": -1}), Call((X, 2), {"dilation": 0}), Call((X[0, 0], 2)), Call((X[None], 2)), Call((X[:, :0], 2)),
        Call((X[..., :0], 2)))),
    Case("fold", foldings(back=True), examples=30, refused=(
        Call((COLUMNS, 6, 2)), Call((COLUMNS, 5, 3)), Call((COLUMNS, 5, (2, 4))), Call((COLUMNS[:, :11], 5, 2)),
        Call((COLUMNS[..., :9], 5, 2)), Call((COLUMNS, 5, 2), {"stride": 2}), Call((COLUMNS, 5, 6)), Call((COLUMNS, (5,), 2)),
        Call((COLUMNS, 5, 0)),
        Call((COLUMNS[0, 0], 5, 2)), Call((COLUMNS[None], 5, 2)), Call((COLUMNS[:, :0], 5, 2)))),
]
