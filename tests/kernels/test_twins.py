"""Each kernel computes what its readable twin computes: same arguments, generated, on both routes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import backend, functional, gradient, tensor
from minidiff.functional import activation, attention, convolution, normalization, pooling
from minidiff.functional.linear import product

DTYPES = st.sampled_from([np.float32, np.float64])
TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}


def array(data, shape, dtype):
    """Normal numbers, channels first or last in memory."""
    values = np.random.default_rng(data.draw(st.integers(0, 2**32))).normal(size=shape).astype(dtype)
    if len(shape) > 2 and data.draw(st.booleans()):
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    return values


# How much rounding may grow, on either route: GroupNorm divides by a deviation that may be small; a rounding of attention's
# logits, of size up to 40 here, is as large a relative error of its weights
GROWTH = {normalization.grouped: 100, attention.attended: 40}


def assert_same_on_threads(run, threads):
    """run() gives the same bits on one thread and on several."""
    try:
        backend.set_threads(1)
        expected = run()
        backend.set_threads(threads)
        for got, want in zip(run(), expected):
            np.testing.assert_array_equal(got, want)
    finally:
        backend.set_threads(None)


def assert_same(got, expected, dtype, growth=1):
    """Equal to rounding, relative to the largest element."""
    assert got is not NotImplemented and got.dtype == expected.dtype == dtype and got.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(got, expected, rtol=0, atol=growth * TOLERANCE[dtype] * scale)


@st.composite
def geometries(draw):
    """A convolution's kernel, stride, padding, dilation and an input size that it fits into, in 1 to 3 dimensions."""
    dims = draw(st.integers(1, 3))
    kernel, stride, padding, dilation, size = [], [], [], [], []
    for _ in range(dims):
        k, s, p, d = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
        least = max(1, d * (k - 1) + 1 - 2 * p)
        kernel, stride, padding, dilation = [*kernel, k], [*stride, s], [*padding, p], [*dilation, d]
        size.append(draw(st.integers(least, least + (8 if dims < 3 else 3))))
    return tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), tuple(size)


@given(geometries(), st.integers(1, 40), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), DTYPES, st.data())
@settings(max_examples=120)
def test_convolution_its_transpose_and_its_weight_gradient(geometry, n, c, k, groups, dtype, data):
    """The three kernels against the three window sums, every stride, padding, dilation, groups."""
    kernel, stride, padding, dilation, size = geometry
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    n = n if len(size) < 3 else 1 + n % 4
    x, w = array(data, (n, groups * c, *size), dtype), array(data, (groups * k, c, *kernel), dtype)
    bias = array(data, (groups * k,), dtype) if data.draw(st.booleans()) else None
    y = convolution.convolution.forward(np, x, w, bias, **options)
    assert_same(convolution.convolution.kernel(x, w, bias, **options), y, dtype)
    g = array(data, y.shape, dtype)
    other = array(data, (groups * c,), dtype) if bias is not None else None
    assert_same(convolution.convolution_input.kernel(g, w, other, size=size, **options),
                convolution.convolution_input.forward(np, g, w, other, size=size, **options), dtype)
    assert_same(convolution.convolution_weight.kernel(x, g, kernel=kernel, **options),
                convolution.convolution_weight.forward(np, x, g, kernel=kernel, **options), dtype)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.integers(1, 2), st.integers(1, 9), DTYPES, st.data())
def test_transposed_convolution_whose_windows_lie_side_by_side(kernel, groups, n, dtype, data):
    """Kernel size equal to stride, no padding, with and without a bias: the kernel writes each pixel once."""
    none, size = tuple(0 for _ in kernel), tuple(range(4, 4 + len(kernel)))
    y, w = array(data, (n, 3 * groups, *size), dtype), array(data, (3 * groups, 2, *kernel), dtype)
    options = {"stride": kernel, "padding": none, "dilation": tuple(1 for _ in kernel), "groups": groups,
               "size": tuple(m * k for m, k in zip(size, kernel))}
    for bias in (None, array(data, (2 * groups,), dtype)):
        assert_same(convolution.convolution_input.kernel(y, w, bias, **options),
                    convolution.convolution_input.forward(np, y, w, bias, **options), dtype)


def composite_cases(data, dtype):
    """(composite, inputs, options) for every composite that has a kernel."""
    n, g, per, h, w = (data.draw(st.integers(1, m)) for m in (9, 3, 4, 9, 9))
    image = (n, g * per, h, w)
    length, other, size = (data.draw(st.integers(1, 9)) for _ in range(3))
    yield (normalization.grouped, [array(data, image, dtype), array(data, image[1:2], dtype), array(data, image[1:2], dtype)],
           {"num_groups": g, "eps": 1e-5})
    yield (normalization.grouped, [array(data, shape, dtype) for shape in ((n * h, per), (per,), (per,))], {"num_groups": 1, "eps": 1e-5})
    columns = (1, g * per, data.draw(st.integers(1, 600)), 1)
    yield (normalization.grouped, [array(data, columns, dtype), array(data, columns[1:2], dtype), array(data, columns[1:2], dtype)],
           {"num_groups": columns[1], "eps": 1e-5})
    for composite in (activation.silu, activation.gelu_erf, activation.gelu_tanh):
        yield composite, [3 * array(data, image, dtype)], {}
    pooled = data.draw(st.sampled_from([(n, per, w + 3), (n, per, h + 3, w + 3), (n, per, 4, h + 3, w + 3)]))
    windows = data.draw(st.sampled_from([(1, 1, 0, 1), (2, 2, 0, 1), (3, 3, 0, 1), (3, 2, 1, 1), (2, 3, 1, 1), (4, 1, 2, 1), (2, 2, 1, 3)]))
    ties = tensor(np.round(2 * array(data, pooled, dtype)))
    geometry = pooling._geometry("max_pool", ties, *windows, data.draw(st.booleans()))
    yield pooling.pooled_max, [ties.data], geometry
    yield (attention.attended,
           [*(array(data, (n, g, *shape), dtype) for shape in ((length, size), (other, size), (other, per))), None],
           {"scale": 0.7})


@given(DTYPES, st.data())
def test_composites_value_and_first_gradients(dtype, data):
    """Kernel forward and backward against the twin's value and the gradients of the recorded twin."""
    for composite, arrays, options in composite_cases(data, dtype):
        if composite is activation.gelu_erf and dtype is np.float64:
            assert composite.kernel.forward(*arrays) is NotImplemented
            continue
        inputs = [None if x is None else tensor(x, requires_grad=True) for x in arrays]
        twin = composite.function(*inputs, **options)
        value, saved = composite.kernel.forward(*arrays, **options)
        assert_same(value, twin.data, dtype, GROWTH.get(composite, 1))
        g = array(data, twin.shape, dtype)
        wanted = [x for x in inputs if x is not None]
        expected = gradient(twin, wanted, tensor(g))
        got = composite.kernel.backward(g, saved, [x is not None for x in inputs], **options)
        for ours, theirs in zip([x for x in got if x is not None], expected):
            assert_same(ours, theirs.data, dtype, GROWTH.get(composite, 1))


@pytest.mark.parametrize("shapes", [((3000, 20), (20, 40)), ((7, 50000), (50000, 3)), ((5, 300, 70), (5, 70, 90)), ((4, 5), (5, 6)),
                                    ((2, 3, 4, 5), (2, 3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_however_they_are_cut(shapes, dtype):
    """By rows, by parts of the sum, by samples: numpy.matmul is the twin."""
    rng = np.random.default_rng()
    a, b = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    expected = product.forward(np, a, b)
    atol = TOLERANCE[dtype] * (np.abs(a) @ np.abs(b)).max()  # the sum of the sizes of its terms bounds a sum's rounding
    for right in (b, np.asfortranarray(b)):
        np.testing.assert_allclose(product.kernel(a, right), expected, rtol=0, atol=atol)


def test_gelu_of_every_magnitude_is_right_in_float32():
    """The polynomial normal distribution function against scipy's in float64, on a fine grid and far outside; no warnings."""
    from scipy.special import ndtr

    x = np.concatenate([np.linspace(-12, 12, 400001), np.geomspace(1e-30, 1e30, 999), -np.geomspace(1e-30, 1e30, 999)]).astype(np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        got = functional.gelu(x)
    expected = x.astype(np.float64) * ndtr(x.astype(np.float64))
    assert np.abs(got - expected).max(where=np.abs(x) < 12, initial=0) <= 1e-6
    large = np.abs(x) > 1e-3
    assert np.abs(got[large] / x[large] - ndtr(x[large].astype(np.float64))).max() <= 2e-7


@pytest.mark.parametrize("threads", [2, 3])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    """Bit for bit: value and gradients of a block of layers on one thread and on several."""
    rng = np.random.default_rng()
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in
              ((13, 8, 14, 14), (16, 8, 3, 3), (16,), (16,), (16,), (40, 16 * 196))]

    def run():
        x, w, b, scale, shift, matrix = (tensor(a, requires_grad=True) for a in arrays)
        h = functional.silu(functional.group_norm(functional.conv2d(x, w, b, padding=1), 4, scale, shift))
        q = functional.rearrange(h, "n (heads c) h w -> n heads (h w) c", heads=2)
        h = h + functional.rearrange(functional.scaled_dot_product_attention(q, q, q), "n heads (h w) c -> n (heads c) h w", h=14)
        out = functional.linear(functional.gelu(functional.flatten(h, 1)), matrix)
        (out * out).sum().backward()
        return [out.numpy(), *(t.grad.numpy() for t in (x, w, b, scale, shift, matrix))]

    assert_same_on_threads(run, threads)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolution_and_pooling_do_not_depend_on_the_number_of_threads(dims, threads):
    """Bit for bit: value and gradients in every number of dimensions, in groups, with windows that overlap."""
    rng = np.random.default_rng()
    x, w, back = (rng.normal(size=shape).astype(np.float32) for shape in
                  ((13, 8) + (9,) * dims, (12, 4) + (3,) * dims, (12, 3) + (2,) * dims))
    conv, transposed, largest, average, adapted = (
        getattr(functional, name.format(dims)) for name in
        ("conv{}d", "conv_transpose{}d", "max_pool{}d", "avg_pool{}d", "adaptive_avg_pool{}d"))

    def run():
        a, v, u = (tensor(array, requires_grad=True) for array in (x, w, back))
        h = largest(conv(a, v, stride=2, padding=2, groups=2), 3, 2, 1)
        h = adapted(average(transposed(h, u, stride=3, groups=4), 3, 2, 1), 4)
        (h * h).sum().backward()
        return [h.numpy(), *(t.grad.numpy() for t in (a, v, u))]

    assert_same_on_threads(run, threads)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_sums_products_joins_and_rearrangements(dtype):
    """Against NumPy, exactly: sizes on both sides of where the kernels begin, both memory layouts, slices."""
    rng = np.random.default_rng()
    for n in (2, 45):
        x, y = (rng.normal(size=(n, 13, 30, 36)).astype(dtype) for _ in range(2))
        xl, yl = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, y))
        for a, b in ((x, y), (xl, yl), (x, yl), (x[:, ::2], y[:, ::2]), (xl[:, :7], yl[:, :7])):
            np.testing.assert_array_equal(functional.add(a, b), a + b)
            np.testing.assert_array_equal(functional.mul(a, b), a * b)
            np.testing.assert_array_equal(functional.cat([a, b, a], 1), np.concatenate([a, b, a], 1))
            expected = a.reshape(n, -1, 15, 2, 18, 2).transpose(0, 1, 3, 5, 2, 4).reshape(n, -1, 15, 18)
            np.testing.assert_array_equal(functional.rearrange(a, "n c (h p) (w q) -> n (c p q) h w", p=2, q=2), expected)
    assert functional.rearrange(xl, "n c (h p) (w q) -> n (c p q) h w", p=2, q=2).strides[1] == x.itemsize


def test_batch_norm_of_many_pixels_keeps_its_digits():
    """Three blocks of rows around a mean of 100 deviations, float32 against float64: value and gradients to a few roundings (of 100)."""
    rng = np.random.default_rng()
    shape = (3, 4, 250, 181)
    x, g = rng.normal(100.0, 1.0, shape).astype(np.float32), rng.normal(size=shape).astype(np.float32)
    weight, bias = rng.normal(size=(2, 4)).astype(np.float32)

    def run(dtype):
        leaves = [tensor(a.astype(dtype), requires_grad=True) for a in (x, weight, bias)]
        out = functional.batch_norm(leaves[0], None, None, *leaves[1:], training=True)
        out.backward(g.astype(dtype))
        return [out.numpy(), *(leaf.grad.numpy() for leaf in leaves)]

    for found, expected in zip(run(np.float32), run(np.float64)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
