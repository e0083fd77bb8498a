"""Activations: 50-digit arithmetic at every size, kinks, softmax with infinities, float16, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import erf, exp, log, mp, mpf, sqrt, tanh

from minidiff import functional as F
from minidiff.autograd import gradient, tensor

SIGMOID = lambda x: 1 / (1 + exp(-x))
PLACES = [-1e4, -800.0, -100.0, -30.0, -3.0, -0.7, -1e-9, 1e-9, 0.0, 0.7, 3.0, 30.0, 100.0, 800.0, 1e4]

DEFINITIONS = {
    "relu": (F.relu, lambda x: max(x, mpf(0))),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.25), lambda x: x if x > 0 else x / 4),
    "silu": (F.silu, lambda x: x * SIGMOID(x)),
    "gelu": (F.gelu, lambda x: x / 2 * (1 + erf(x / sqrt(2)))),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda x: x / 2 * (1 + tanh(sqrt(2 / mp.pi) * (x + mpf("0.044715") * x ** 3)))),
    "quick_gelu": (F.quick_gelu, lambda x: x * SIGMOID(mpf("1.702") * x)),
    "softplus": (lambda x: F.softplus(x, 1.0, 1e5), lambda x: log(1 + exp(x)) if x < 1000 else x),
    "logsigmoid": (F.logsigmoid, lambda x: -log(1 + exp(-x)) if x > -1000 else x),
}


@pytest.mark.parametrize(("function", "definition"), DEFINITIONS.values(), ids=DEFINITIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_right_at_every_size(function, definition, dtype):
    """Against mpmath from -10^4 to 10^4, without a warning; the error is some roundings of the larger of input and result."""
    x = np.array(PLACES, dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = function(x)
    with mp.workdps(500):  # 1 + exp(-800) is not 1 there
        expected = np.array([float(definition(mpf(float(v)))) for v in x])
    assert found.dtype == dtype
    assert (np.abs(found - expected) <= 6 * np.finfo(dtype).eps * np.maximum(np.abs(x), np.abs(expected))).all()


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_geglu_gates_the_first_half_with_the_second(dim):
    """Element by element in 50 digits, along any dimension."""
    x = np.random.default_rng().normal(size=(4, 6))
    found = np.moveaxis(F.geglu(x, dim), dim, 0)
    values, gates = np.split(np.moveaxis(x, dim, 0), 2)
    for i in np.ndindex(values.shape):
        expected = mpf(values[i]) * mpf(gates[i]) / 2 * (1 + erf(mpf(gates[i]) / sqrt(2)))
        assert abs(found[i] - expected) <= 1e-15 * max(1, abs(expected))


def test_logarithms_of_sigmoids_keep_their_digits():
    """softplus(-40) is exp(-40), not 0: relative accuracy, where log(1 + exp(x)) has none left."""
    x = np.array([-40.0, -100.0, -700.0])
    np.testing.assert_allclose(F.softplus(x), np.exp(x), rtol=1e-14)
    np.testing.assert_allclose(F.logsigmoid(-x), -np.exp(x), rtol=1e-14)


def test_gradients_at_the_kinks_are_torchs():
    """relu and leaky_relu at 0 take the left slope; softplus above its threshold has slope 1 and curvature 0."""
    x = tensor(np.array([-1.0, 0.0, 1.0]), requires_grad=True)
    assert gradient(F.relu(x).sum(), x).data.tolist() == [0, 0, 1]
    assert gradient(F.leaky_relu(x, 0.25).sum(), x).data.tolist() == [0.25, 0.25, 1]
    slope = gradient(F.softplus(x, 2.0, 1.5).sum(), x, create_graph=True)
    np.testing.assert_allclose(slope.data, [1 / (1 + math.exp(2)), 0.5, 1.0], rtol=1e-15)
    assert gradient(slope.sum(), x).data[2] == 0


@given(st.lists(st.one_of(st.floats(-1e4, 1e4), st.just(-math.inf)), min_size=1, max_size=6).filter(lambda v: max(v) > -math.inf))
def test_softmax_gives_forbidden_places_nothing(v):
    """By mpmath, with some inputs at -inf: they get 0 and no gradient; the others sum to one. log_softmax is its logarithm."""
    x = tensor(np.array(v), requires_grad=True)
    y, logs = F.softmax(x, 0), F.log_softmax(x, 0)
    with mp.workdps(50):
        terms = [exp(mpf(e) - mpf(max(v))) for e in v]
        expected = [term / sum(terms) for term in terms]
        np.testing.assert_allclose(y.data, [float(e) for e in expected], rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(logs.data, [float(log(e)) if e else -math.inf for e in expected], rtol=1e-12, atol=1e-12)
    out = np.isneginf(v)
    slope = gradient((y * y).sum(), x).data
    assert np.isfinite(slope).all() and not slope[out].any()
    assert not gradient(logs[0] if not out[0] else logs[int(np.argmin(out))], x).data[out].any()


def test_softmax_of_nothing_allowed_is_not_a_number():
    """All -inf: NaN, as in torch (attention gives zeros there); an empty dimension stays empty."""
    with np.errstate(invalid="ignore"):
        assert np.isnan(F.softmax(np.full((2, 3), -math.inf), 1)).all()
        assert np.isnan(F.log_softmax(np.full((2, 3), -math.inf), 1)).all()
    for shape, dim in [((2, 0), 1), ((0, 3), 1), ((0,), 0)]:
        assert F.softmax(np.ones(shape), dim).shape == F.log_softmax(np.ones(shape), dim).shape == shape


def test_softmax_sums_float16_in_float32():
    """4096 equal numbers, whose sum stalls at 2048 in float16: each gets 1 / 4096. A dtype converts before."""
    x = np.zeros(4096, np.float16)
    assert set(F.softmax(x, 0).tolist()) == {1 / 4096}
    assert F.softmax(x, 0).dtype == F.log_softmax(x, 0).dtype == np.float16
    assert float(F.log_softmax(x, 0)[0]) == pytest.approx(-math.log(4096), rel=1e-3)
    assert F.softmax(x, 0, dtype="float32").dtype == np.float32
    integers = np.array([[1, 2, 4]])
    for dtype in ("float32", "float64"):
        for function in (F.softmax, F.log_softmax):
            found = function(integers, -1, dtype=dtype)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, function(integers.astype(float), -1), rtol=1e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_float16_has_slopes_where_its_cube_is_infinite(approximate):
    """41**3 is above 65504; the slope is 1 and 0 all the same."""
    x = tensor(np.array([41.0, -41.0, 3e4, -3e4], np.float16), requires_grad=True)
    y = F.gelu(x, approximate=approximate)
    assert y.dtype == np.float16 and y.data.tolist() == [41.0, 0.0, 3e4, 0.0]
    assert gradient(y.sum(), x).data.tolist() == [1.0, 0.0, 1.0, 0.0]


X = np.ones((2, 3))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.softmax(X, None), TypeError, "softmax: dim=None; expected one dimension as an int, such as dim=-1"),
    (lambda: F.log_softmax(X, (0, 1)), TypeError, r"log_softmax: dim=\(0, 1\)"),
    (lambda: F.softmax(X), TypeError, "dim"),
    (lambda: F.softmax(X.astype(int), 0), TypeError, "softmax: expected floating-point numbers, got input of int64"),
    (lambda: F.softmax(X, 2), IndexError, "softmax"),
    (lambda: F.gelu(X, approximate="erf"), ValueError, "gelu: approximate='erf'; expected 'none' or 'tanh'"),
    (lambda: F.leaky_relu(X.astype(int)), TypeError, "leaky_relu: expected floating-point numbers"),
    (lambda: F.silu(X.astype(int)), TypeError, "silu: expected floating-point numbers"),
    (lambda: F.quick_gelu(X.astype(int)), TypeError, "quick_gelu: expected floating-point numbers"),
    (lambda: F.relu(X > 0), TypeError, "relu: expected numbers, got booleans"),
    (lambda: F.geglu(X), ValueError, r"geglu: 3 elements along dim=-1 cannot be halved \(input shape \(2, 3\)\)"),
    (lambda: F.geglu(X.astype(int), 0), TypeError, "geglu: expected floating-point numbers"),
    (lambda: F.geglu(X, 2), IndexError, "geglu: dimension 2"),
])
def test_what_does_not_fit_is_refused(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
