"""Pooling in 1 to 3 dimensions: the largest or the average, of windows at regular steps or adapted to an output size."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, values
from .convolution import batch, each, form, written

ones = np.ones


@st.composite
def poolings(draw, dims, dilated, options):
    """An input and windows that fit. options: (draw) -> the options after ceil_mode."""
    source, most = draw(values()), 4 if dims < 3 else 3
    kernel, dilation = each(draw, dims, 1, most), each(draw, dims, 1, 3) if dilated else (1,) * dims
    stride = each(draw, dims, 1, 4)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    ceil_mode = draw(st.booleans())
    least = [max(d, d * (k - 1) + 1 - 2 * p - (s - 1) * (ceil_mode and p > 0)) for k, d, p, s in zip(kernel, dilation, padding, stride)]
    size = [n + draw(st.integers(0, 4 if dims < 3 else 2)) for n in least]
    if dims == 3 and not dilated:
        size = list(map(max, size, kernel))  # PyTorch has no gradient of avg_pool3d for smaller inputs
    stride = draw(st.sampled_from([None, form(draw, stride)])) if all(n >= d * (k - 1) + 1 - 2 * p for n, d, k, p in zip(
        size, dilation, kernel, padding)) else form(draw, stride)
    return written(draw, (source(*batch(draw), draw(st.integers(1, 2)), *size), form(draw, kernel)), [
        ("stride", stride, None), ("padding", form(draw, padding), 0), *([("dilation", form(draw, dilation), 1)] if dilated else []),
        ("ceil_mode", ceil_mode, False), *options(draw)])


def indices(draw):
    return [("return_indices", draw(st.booleans()), False)]


def divisors(dims):
    return lambda draw: [("count_include_pad", draw(st.booleans()), True), *(
        [("divisor_override", draw(st.sampled_from([None, None, 1, 5, -3])), None)] if dims > 1 else [])]


@st.composite
def adaptive(draw, dims, options=lambda draw: []):
    """Any output size: smaller, larger, equal; None keeps the input's."""
    source, most = draw(values()), 8 if dims < 3 else 4
    size, out = each(draw, dims, 1, most), each(draw, dims, 1, most)
    if dims > 1 and draw(st.booleans()):
        out = tuple(None if draw(st.booleans()) else n for n in out)
    wanted = form(draw, out) if None not in out else out
    return written(draw, (source(*batch(draw), draw(st.integers(1, 2)), *size), wanted), options(draw))


def refused(dims, more):
    x = ones((2, 3) + (6,) * dims)
    return (
        Call((x, 7)), Call((x, 3), {"padding": 2}), Call((x, 2), {"padding": -1}), Call((x, 0)), Call((x, 2.0)),
        Call((x, 2), {"stride": 0}), Call((x, (2,) * (dims + 1))), Call((x, 2), {"stride": (1,) * (dims + 1)}), Call((x[0, 0], 2)),
        Call((x[None], 2)), Call((x[..., :0], 2)), Call((x[:, :0], 2)), Call((x > 0, 2)), *(Call((x, 2), options) for options in more))


def refused_adaptive(dims):
    x = ones((2, 3) + (6,) * dims)
    return (Call((x, -1)), Call((x, 2.5)), Call((x, (2,) * (dims + 1))), Call((x, None)), Call((x[0, 0], 2)), Call((x[None], 2)),
            Call((x[..., :0], 2)), Call((x > 0, 2)))


DIMENSIONS = (1, 2, 3)
CASES = [
    *(Case(f"max_pool{dims}d", poolings(dims, True, indices), examples=40,
           refused=refused(dims, [{"dilation": 0}, {"dilation": 6}, {"return_index": True}])) for dims in DIMENSIONS),
    *(Case(f"avg_pool{dims}d", poolings(dims, False, divisors(dims)), examples=40,
           refused=refused(dims, [{"dilation": 1}, {"divisor_override": 0 if dims > 1 else 2}, {"divisor_override": 1.5}]))
      for dims in DIMENSIONS),
    *(Case(f"adaptive_max_pool{dims}d", adaptive(dims, indices), examples=30, refused=refused_adaptive(dims)) for dims in DIMENSIONS),
    *(Case(f"adaptive_avg_pool{dims}d", adaptive(dims), examples=30, refused=refused_adaptive(dims)) for dims in DIMENSIONS),
]
