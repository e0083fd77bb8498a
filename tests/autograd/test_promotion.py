"""Which dtype comes out: the rule by its cases, without PyTorch (tests/peers/test_promotion.py compares the two)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import tensor
from minidiff.autograd.promotion import promoted, result_type

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
operands = st.one_of(
    st.builds(lambda dtype, shape: np.ones(shape, dtype), st.sampled_from(DTYPES), st.sampled_from([(), (1,), (2, 1)])),
    st.sampled_from([True, 3, 2.5]))


@pytest.mark.parametrize(("values", "expected"), [
    ((np.ones(2, np.int64), np.ones(2, np.float32)), "float32"),
    ((np.ones(2, np.float32), np.float64(0.1)), "float32"),
    ((np.ones(2, np.float32), np.ones((), np.float64)), "float32"),
    ((np.ones(2, np.float16), 1e-3), "float16"),
    ((np.ones(2, np.int32), 2.5), "float32"),
    ((np.ones(2, np.int32), np.float64(2.5)), "float32"),
    ((np.ones(2, np.uint8), 2), "uint8"),
    ((np.ones(2, np.uint8), np.ones(2, np.int8)), "int16"),
    ((np.ones(2, bool), True), "bool"),
    ((np.ones(2, bool), 2), "int64"),
    ((np.ones(2, bool), np.ones((), np.int8)), "int8"),
    ((np.float32(1), np.float32(2)), "float32"),
    ((np.float32(1), 2.0), "float32"),
], ids=str)
def test_the_rule_by_its_cases(values, expected):
    """Category first, then dimensions; a number of Python or NumPy beside an array decides nothing."""
    assert F.add(*values).dtype == expected
    if any(isinstance(x, np.ndarray) for x in values):
        assert (tensor(values[0]) + values[1]).dtype == expected


@given(operands, operands, operands)
def test_the_order_of_the_values_does_not_matter(a, b, c):
    """And naming one twice changes nothing."""
    expected = result_type(a, b, c)
    assert {result_type(c, a, b), result_type(b, a, c), result_type(a, b, c, a, b)} == {expected}


@given(operands, operands, st.booleans())
def test_values_meet_in_the_dtype_of_the_rule(a, b, floating):
    """All arrays have it; numbers are what they were; `floating` makes float32 of what is not real."""
    found = promoted([a, b], floating)
    expected = result_type(a, b)
    expected = np.dtype(np.float32) if floating and expected.kind != "f" else expected
    for before, after in zip((a, b), found):
        if isinstance(before, np.ndarray):
            assert after.dtype == expected and after.shape == before.shape
        else:
            assert after is before


def test_what_is_no_number_is_refused_by_the_name_of_the_function():
    """Lists, strings, None, complex numbers, dates."""
    x = tensor([1.0, 2.0])
    for other in ([1.0, 2.0], "1", None, 1j, np.array([1j]), np.array(["2020-01-01"], "datetime64[D]")):
        with pytest.raises(TypeError, match=r"^mul: expected "):
            F.mul(x, other)
    foreign = type("Foreign", (), {"dtype": "float32", "shape": (2,), "ndim": 1})()
    with pytest.raises(TypeError, match=r"^exp: expected Tensors, arrays or numbers, got .*Foreign; minidiff.tensor\(x\) takes it"):
        F.exp(foreign)
    with pytest.raises(TypeError, match=r"^exp: expected Tensors, arrays or numbers, got list"):
        F.exp([1.0])


def test_a_number_that_the_dtype_does_not_hold_is_refused():
    """PyTorch wraps it around silently."""
    with pytest.raises(OverflowError, match=r"^add: .*300"):
        F.add(np.ones(2, np.uint8), 300)


def test_a_chain_on_plain_arrays_keeps_float32():
    """NumPy makes scalars of sums over everything; beside numbers and each other they stay what they are."""
    x = np.linspace(0.5, 2.0, 6, dtype=np.float32)
    assert F.sqrt(F.mean(x)).dtype == np.float32
    assert F.exp(0.5 * F.log(F.add(F.sum(x), F.amax(x)))).dtype == np.float32
    assert (F.sum(x) * tensor(x)).dtype == np.float32
