"""Tensors from sizes and numbers: NumPy's values, torch's dtypes, random numbers only from a generator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidiff
from minidiff import tensor
from minidiff.autograd import Tensor, gradient
from minidiff.random import Generator

sizes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
dtypes = st.sampled_from([None, "float16", np.float32, np.float64, minidiff.int64, np.dtype("uint8"), bool])
LIKE = np.ones((2, 3), np.float64)


@given(sizes, dtypes)
def test_filled_arrays_are_numpys(size, dtype):
    """zeros, ones, full, with sizes as numbers or as one tuple; float32 is the default, full has its number's dtype."""
    forms = [(size,), (list(size),)] + [size] * bool(size)
    for found in (minidiff.zeros(*form, dtype=dtype) for form in forms):
        np.testing.assert_array_equal(found.numpy(), np.zeros(size), strict=False)
        assert type(found) is Tensor and found.shape == size and found.dtype == np.dtype(dtype or np.float32)
    found = minidiff.ones(size, dtype=dtype)
    assert (found.numpy() == 1).all() and found.shape == size and found.dtype == np.dtype(dtype or np.float32)
    for value, expected in ((1, np.int64), (True, np.bool_), (1.0, np.float32), (np.float64(1), np.float64), (tensor(1), np.int64)):
        found = minidiff.full(size, value, dtype=dtype)
        assert (found.numpy() == 1).all() and found.shape == size and found.dtype == (expected if dtype is None else np.dtype(dtype))


def test_what_is_like_another_has_its_shape_dtype_and_device():
    """Unless asked otherwise; of arrays and of Tensors."""
    for like in (LIKE, tensor(LIKE)):
        for make in (minidiff.zeros_like, minidiff.ones_like, lambda x, **o: minidiff.full_like(x, 3, **o),
                     lambda x, **o: minidiff.rand_like(x, generator=Generator(0), **o),
                     lambda x, **o: minidiff.randn_like(x, generator=Generator(0), **o)):
            assert (make(like).shape, make(like).dtype, make(like).device) == ((2, 3), np.float64, "cpu")
            assert make(like, dtype=np.float32).dtype == np.float32
            assert make(like, requires_grad=True).requires_grad


@given(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([-3, -1, 1, 2, 0.5, -0.25]))
def test_ranges_are_numpys(start, end, step):
    """arange with integers stays integer; linspace holds both ends."""
    if (end - start) * step >= 0:
        found = minidiff.arange(start, end, step)
        np.testing.assert_array_equal(found.numpy(), np.arange(start, end, step))
        assert found.dtype == (np.int64 if isinstance(step, int) else np.float32)
        assert minidiff.arange(start, end, step, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(minidiff.arange(abs(end)).numpy(), np.arange(abs(end)))
    steps = abs(start)
    np.testing.assert_allclose(minidiff.linspace(start, end, steps, dtype=np.float64).numpy(), np.linspace(start, end, steps), rtol=1e-15)
    assert minidiff.linspace(0, 1, 3).dtype == np.float32
    np.testing.assert_array_equal(minidiff.eye(steps, abs(end)).numpy(), np.eye(steps, abs(end)))
    np.testing.assert_array_equal(minidiff.eye(3, dtype="int64").numpy(), np.eye(3))


def test_random_numbers_are_the_generators():
    """The same as from the generator itself, one after the other."""
    g = Generator(5)
    np.testing.assert_array_equal(minidiff.rand(2, 3, generator=g).numpy(), Generator(5).random((2, 3)))
    again = Generator(5)
    again.random((2, 3))
    np.testing.assert_array_equal(minidiff.randn((4,), generator=g, dtype=np.float64).numpy(), again.standard_normal(4, "float64"))
    np.testing.assert_array_equal(minidiff.randint(3, 7, (9,), generator=Generator(1)).numpy(), Generator(1).integers(3, 7, 9))
    np.testing.assert_array_equal(minidiff.randint(7, (9,), generator=Generator(1)).numpy(), Generator(1).integers(0, 7, 9))
    np.testing.assert_array_equal(minidiff.randint(high=7, size=(9,), generator=Generator(1)).numpy(), Generator(1).integers(0, 7, 9))
    np.testing.assert_array_equal(minidiff.randperm(9, generator=Generator(1)).numpy(), Generator(1).permutation(9))
    p = np.array([0.0, 1.0, 0.5, 0.25])
    np.testing.assert_array_equal(minidiff.bernoulli(p, generator=Generator(2)).numpy(), Generator(2).random(4, "float64") < p)
    normal = minidiff.randn(50, generator=Generator(3), dtype="float16")
    np.testing.assert_array_equal(normal.numpy(), Generator(3).standard_normal(50).astype(np.float16))
    assert normal.dtype == np.float16


def test_uniforms_in_float16_stay_below_1():
    """One of 4096 float32 uniforms rounds to 1 in float16: of 2^18, some do with probability 1 - 1e-27."""
    x = minidiff.rand(2**18, generator=Generator(3), dtype=np.float16).numpy()
    assert x.dtype == np.float16 and 0 <= x.min() and x.max() == 1 - 2.0**-11


def test_what_is_there_is_not_copied():
    """as_tensor and from_numpy share memory; as_tensor of a Tensor is that Tensor, and a conversion keeps its place in the graph."""
    assert minidiff.as_tensor(LIKE).data is LIKE and minidiff.from_numpy(LIKE).data is LIKE
    x = tensor(LIKE, requires_grad=True)
    assert minidiff.as_tensor(x) is x and minidiff.as_tensor(x, np.float64, "cpu") is x
    assert gradient(minidiff.as_tensor(x, np.float32).sum(), x).dtype == np.float64


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: minidiff.zeros(), TypeError, r"zeros: expected sizes, zeros\(2, 3\) or zeros\(\(2, 3\)\)"),
    (lambda: minidiff.ones(-1), ValueError, r"ones: sizes must not be negative, got \(-1,\)"),
    (lambda: minidiff.ones(2.0), TypeError, "ones: expected a tuple of integers"),
    (lambda: minidiff.full(2, 3.0), TypeError, "full: expected a tuple of sizes, got 2"),
    (lambda: minidiff.full((2,), [1, 2]), ValueError, r"full: expected one number, got shape \(2,\)"),
    (lambda: minidiff.full((2,), 300, dtype=np.uint8), ValueError, "full: 300 does not fit uint8, which holds 0 to 255"),
    (lambda: minidiff.arange(5, 0), ValueError, "arange: no steps of 1 lead from 5 to 0"),
    (lambda: minidiff.arange(5, 0, 0), ValueError, "arange: no steps of 0"),
    (lambda: minidiff.arange(float("inf")), ValueError, "arange: no steps of 1 lead from 0 to inf"),
    (lambda: minidiff.linspace(0, 1, -1), ValueError, "linspace: expected steps of at least 0, got -1"),
    (lambda: minidiff.eye(-1), ValueError, "eye: sizes must not be negative"),
    (lambda: minidiff.ones(2, dtype=int, requires_grad=True), TypeError, "only floating-point tensors have gradients"),
    (lambda: minidiff.rand(2), TypeError, "rand: expected generator=.*, got None; there is no global random state"),
    (lambda: minidiff.randn(2, generator=np.random.default_rng()), TypeError, "randn: expected generator=minidiff.Generator"),
    (lambda: minidiff.randn_like(tensor([1]), generator=Generator(0)), TypeError, "randn_like: expected a floating-point dtype, got int64"),
    (lambda: minidiff.randint(3, 3, (2,), generator=Generator(0)), ValueError, "randint: low must be below high"),
    (lambda: minidiff.randint(3, generator=Generator(0)), TypeError, "randint: expected a tuple of sizes, got None"),
    (lambda: minidiff.randperm(-1, generator=Generator(0)), ValueError, "randperm: sizes must not be negative"),
    (lambda: minidiff.bernoulli(tensor([2.0]), generator=Generator(0)), ValueError, r"bernoulli: probabilities must lie in \[0, 1\]"),
    (lambda: minidiff.bernoulli(tensor([1]), generator=Generator(0)), TypeError, "bernoulli: expected floating-point prob"),
    (lambda: minidiff.from_numpy([1]), TypeError, "from_numpy: expected a NumPy array, got list"),
    (lambda: minidiff.as_tensor("a"), TypeError, "tensor: expected numbers"),
    (lambda: minidiff.zeros(2, out=None), TypeError, "out"),
])
def test_what_does_not_fit_is_refused(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
