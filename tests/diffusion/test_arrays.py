"""What arithmetic does not say: columns, functions, sums and checks of arrays. Other libraries: tests/peers/test_any_library.py."""

import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.autograd import Tensor, check_gradients, tensor
from minidiff.diffusion import arrays
from minidiff.diffusion.arrays import BLOCK

DTYPES = [np.float32, np.float64]
shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
factors = st.sampled_from([0, 0.0, 1, 1.0, -1.0, -0.0]) | st.floats(-3, 3)


def random(shape, dtype):
    return np.random.default_rng().standard_normal(shape).astype(dtype)


# -- host numbers beside data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@given(shape=shapes)
def test_a_column_multiplies_each_of_the_batch_by_its_number(shape, dtype):
    """A loop over the batch; the dtype of the data, whatever that of the numbers; beside Tensors it is a plain array."""
    x, values = random(shape, dtype), np.random.default_rng().standard_normal(shape[0])
    for data in (x, tensor(x)):
        column = arrays.column(values, data)
        assert isinstance(column, np.ndarray) and column.dtype == dtype and column.shape == (shape[0],) + (1,) * (len(shape) - 1)
    for i in range(shape[0]):
        np.testing.assert_array_equal((column * x)[i], values.astype(dtype)[i] * x[i])


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_become_arrays_like_the_data(dtype):
    """`like`: the dtype of the data, a float64 table cast once; `number` and `apply`: nothing that upcasts float32."""
    x = random((2, 3), dtype)
    for data in (x, tensor(x)):
        found = arrays.like([[0.1, 0.2]], data)
        assert type(found) is np.ndarray and found.dtype == dtype and found.tolist() == [[dtype(0.1), dtype(0.2)]]
    for plain in (1, 0.5, np.float64(0.5), np.float32(0.5), np.array(0.5)):
        assert type(arrays.number(plain)) is float and (arrays.number(plain) * x).dtype == dtype
    assert arrays.number(x) is x
    for plain in (1, 0.5, np.float64(0.5)):
        assert type(arrays.apply("exp", plain)) is float and arrays.apply("exp", plain) == math.exp(plain)


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "sqrt", "tanh"])
def test_a_function_is_that_of_the_array_s_library(name):
    """NumPy's on arrays and numbers; on a Tensor the operation, with its gradient."""
    x = np.random.default_rng().uniform(0.1, 2, (2, 3))
    np.testing.assert_array_equal(arrays.apply(name, x), getattr(np, name)(x))
    assert isinstance(arrays.apply(name, tensor(x)), Tensor)
    np.testing.assert_allclose(arrays.apply(name, tensor(x)).numpy(), getattr(np, name)(x), rtol=1e-14)
    check_gradients(lambda x: arrays.apply(name, x), [x])
    assert arrays.namespace(x) is arrays.namespace(tensor(x)) is np


# -- choosing and ordering -------------------------------------------------------------------------------------------


@given(shapes)
def test_where_and_sort_go_element_by_element(shape):
    """Loops in Python; on Tensors the same values, and gradients to what was chosen."""
    x, y = random((2, *shape), np.float64)
    chosen = arrays.where(x < y, x, y)
    assert chosen.ravel().tolist() == [min(pair) for pair in zip(x.ravel().tolist(), y.ravel().tolist())]
    np.testing.assert_array_equal(arrays.where(tensor(x) < y, tensor(x), y).numpy(), chosen)
    rows = x.reshape(math.prod(shape[:-1]), shape[-1]).tolist()
    assert arrays.sort(x).reshape(math.prod(shape[:-1]), shape[-1]).tolist() == [sorted(row) for row in rows]
    np.testing.assert_array_equal(arrays.sort(tensor(x)).numpy(), arrays.sort(x))


def test_gradients_of_chosen_and_ordered_elements():
    """Finite differences."""
    x, y = np.random.default_rng().permutation(np.linspace(-1, 1, 12)).reshape(2, 2, 3)
    check_gradients(lambda x, y: arrays.where(x < y, x * x, y * y * y), [x, y])
    check_gradients(lambda x: arrays.sort(x) * np.arange(3.0), [x])


@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=6))
def test_log_sum_exp_neither_overflows_nor_underflows(values):
    """The sum of what is relative to the largest, exactly rounded."""
    expected = max(values) + math.log(math.fsum(math.exp(v - max(values)) for v in values))
    found = arrays.log_sum_exp(np.array([values]), 1)
    assert found.shape == (1, 1) and found[0, 0] == pytest.approx(expected, rel=1e-14, abs=1e-14)


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=6), st.integers(-100_000, 100_000), st.sampled_from([np.float32, np.float64]))
def test_shares_sum_to_one_wherever_their_logarithms_lie(values, shift, dtype):
    """Of integers, which float32 holds and subtracts exactly: the quotients as they are, to the dtype's rounding at any shift."""
    powers = [math.exp(v - max(values)) for v in values]
    found = arrays.log_softmax(np.array([values], dtype) + dtype(shift), 1)
    assert found.dtype == dtype
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found[0], [math.log(p / math.fsum(powers)) for p in powers], rtol=4 * eps, atol=4 * eps)
    assert abs(np.exp(found).sum() - 1) < 20 * eps


@pytest.mark.parametrize("axis", [0, 1])
def test_concatenation_is_numpy_s(axis):
    """Arrays and Tensors, one after the other; the result is a plain array."""
    x, y = random((2, 3, 3), np.float32)
    expected = np.concatenate([x, y], axis)
    for pair in ((x, y), (tensor(x), y), (x, tensor(y))):
        found = arrays.concatenate(pair, axis)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)


# -- sums -------------------------------------------------------------------------------------------------------------


def layouts(size, dtype):
    """Arrays of `size` elements: in order, transposed, every second, reversed, read-only."""
    square = random((2, size // 2), dtype)
    frozen = square.copy()
    frozen.setflags(write=False)
    return [square, np.asfortranarray(square), random((2, size), dtype)[:, : 2 * (size // 2) : 2], square[:, ::-1], frozen]


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("size", [2, BLOCK, BLOCK + 2, 3 * BLOCK, 3 * BLOCK + 14], ids=lambda size: f"{size} elements")
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_combine_is_the_plain_sum_bit_for_bit(count, size, dtype):
    """Small, of whole blocks and with a rest; every layout; nothing is written to, and the result is new."""
    rng = np.random.default_rng()
    for xs in ([x] * count for x in layouts(size, dtype)):
        xs = [x if i == 0 else random(x.shape, dtype) for i, x in enumerate(xs)]
        before = [x.copy() for x in xs]
        for cs in (rng.standard_normal(count).tolist(), [1.0] * count, [1, *rng.standard_normal(count - 1)]):
            found = arrays.combine(*zip(cs, xs))
            expected = reduce(lambda total, term: total + term, [float(c) * x for c, x in zip(cs, xs)])
            assert found.dtype == dtype and not any(np.shares_memory(found, x) for x in xs)
            np.testing.assert_array_equal(found, expected)
        for x, y in zip(xs, before):
            np.testing.assert_array_equal(x, y)


@given(st.lists(factors, min_size=1, max_size=4))
def test_what_is_multiplied_by_zero_is_not_read(cs):
    """NaN behind a zero does not spread, unless nothing else is there to say what an array of zeros looks like."""
    for size in (3, BLOCK + 1):
        xs = [np.full(size, np.nan if c == 0 else 2.0) for c in cs]
        found = arrays.combine(*zip(cs, xs))
        if any(c != 0 for c in cs):
            np.testing.assert_allclose(found, 2 * math.fsum(cs), rtol=0, atol=1e-14)
        assert found.shape == (size,)


def test_combine_serves_tensors():
    """The same values, with gradients: the factors."""
    x, y = (tensor(random((2, BLOCK), np.float64), requires_grad=True) for _ in range(2))
    out = arrays.combine((2.0, x), (-0.5, y), (0.0, x))
    np.testing.assert_array_equal(out.numpy(), 2.0 * x.numpy() + -0.5 * y.numpy())
    out.sum().backward()
    assert (x.grad.numpy() == 2).all() and (y.grad.numpy() == -0.5).all()


# -- checks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_element_anywhere_is_found(bad, dtype):
    """In every layout, also beside numbers whose squares overflow; and finite arrays pass."""
    big = np.finfo(dtype).max
    for x in layouts(34, dtype):
        for filler in (x, np.full_like(x, big), 0 * x):
            assert arrays.all_finite(filler) and arrays.all_finite(tensor(filler))
            spoiled = filler.copy(order="K")
            spoiled[np.random.default_rng().integers(0, 2), np.random.default_rng().integers(0, x.shape[1])] = bad
            assert not arrays.all_finite(spoiled) and not arrays.all_finite(tensor(spoiled))
    assert arrays.all_finite(np.zeros((0, 3), dtype))


def test_arrays_that_are_not_alike_are_named():
    """Shape, dtype, a plain number, another library; the first difference, with the place that asked."""
    x = np.zeros((2, 3), np.float32)
    arrays.check_alike("here", x=x, y=tensor(x), z=x[::-1])
    with pytest.raises(ValueError, match=r"^here: expected z to have the shape of x, \(2, 3\), got \(2, 1\)$"):
        arrays.check_alike("here", x=x, y=x, z=x[:, :1])
    with pytest.raises(TypeError, match=r"^here: expected y to have the dtype of x, float32, got float64$"):
        arrays.check_alike("here", x=x, y=x.astype(np.float64))
    with pytest.raises(ValueError, match="got a plain number"):
        arrays.check_alike("here", x=x, y=1.0)


def test_what_is_floating():
    """Plain numbers and real floats are, integers and booleans are not."""
    assert all(arrays.is_floating(x) for x in (1.0, np.zeros(2, np.float16), tensor([1.0])))
    assert not any(arrays.is_floating(x) for x in (np.zeros(2, np.uint8), np.zeros(2, bool), np.arange(3)))


def test_gradients_end_at_a_constant():
    """A Tensor is detached, an array is itself."""
    x = tensor([1.0, 2.0], requires_grad=True)
    (x * arrays.constant(x)).sum().backward()
    assert x.grad.numpy().tolist() == [1, 2]
    assert arrays.constant(x.data) is x.data
