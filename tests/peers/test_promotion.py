"""The dtype of results, against PyTorch's: of `result_type`, and of every function of one and of two arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import tensor
from minidiff.autograd.promotion import result_type

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
arrays = st.builds(lambda dtype, shape: np.ones(shape, dtype), st.sampled_from(DTYPES), st.sampled_from([(), (2,), (3, 1)]))
operands = arrays | st.sampled_from([True, 1, 2, 1.0])

OF_ONE = ["abs", "acos", "asin", "atan", "bitwise_not", "ceil", "cos", "cosh", "erf", "exp", "expm1", "floor", "isfinite", "isinf", "isnan",
          "log", "log1p", "log2", "log10", "logical_not", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sin", "sinh", "sqrt", "square",
          "tan", "tanh", "trunc", "sum", "mean", "var", "prod", "amax", "amin", "max", "min", "all", "any", "norm", "std"]
OF_TWO = ["add", "atan2", "bitwise_and", "bitwise_or", "bitwise_xor", "div", "eq", "floor_divide", "fmod", "ge", "gt", "le", "logaddexp",
          "logical_and", "logical_or", "logical_xor", "lt", "maximum", "minimum", "mul", "ne", "pow", "remainder", "sub"]


def as_torch(x):
    return torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x


def expected_dtype(name, *operands):
    """PyTorch's, or None for what it refuses."""
    try:
        return getattr(torch, name)(*map(as_torch, operands)).numpy().dtype
    except (RuntimeError, TypeError, NotImplementedError):
        return None


@settings(max_examples=300)
@given(operands, operands)
def test_two_values_meet_in_the_dtype_in_which_they_meet_in_pytorch(a, b):
    """All dtypes, arrays with and without dimensions, numbers; also with a Tensor of ours."""
    expected = torch.empty((), dtype=torch.result_type(as_torch(a), as_torch(b))).numpy().dtype
    assert result_type(a, b) == expected
    assert result_type(tensor(a) if isinstance(a, np.ndarray) else a, b) == expected


@pytest.mark.parametrize("name", OF_ONE)
def test_functions_of_one_array_have_pytorchs_dtype(name):
    """Of every dtype that PyTorch takes; `square` and `all` keep booleans booleans, where PyTorch has int64 and uint8."""
    for dtype in DTYPES:
        x = np.ones((2, 2), dtype)
        expected = expected_dtype(name, x)
        if expected is not None and (name, dtype) not in {("square", "bool"), ("all", "uint8"), ("any", "uint8")}:
            with np.errstate(all="ignore"):
                found = getattr(F, name)(x)
            assert found.dtype == expected, dtype


@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_arrays_have_pytorchs_dtype(name):
    """Of all pairs of arrays and numbers that PyTorch takes, in either order; powers of booleans are refused here."""

    @settings(max_examples=60)
    @given(arrays, operands, st.booleans())
    def run(a, b, turned):
        pair = (b, a) if turned else (a, b)
        expected = expected_dtype(name, *pair)
        if expected is not None and not (name == "pow" and expected.kind == "b"):
            with np.errstate(all="ignore"):
                found = getattr(F, name)(*(tensor(x) if isinstance(x, np.ndarray) else x for x in pair))
            assert found.dtype == expected

    run()
