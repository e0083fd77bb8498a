"""Initial values: bounds, means and variances in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import nn, tensor
from minidiff.nn import init
from minidiff.random import Generator

SHAPE = (40, 30, 3, 2)  # fan_in 180, fan_out 240, 7,200 numbers


def check(values, mean, variance, kurtosis):
    """Mean and variance within 6 standard errors (false alarm below 1e-8 each); kurtosis: of the distribution, for the variance's error."""
    values = np.asarray(values, np.float64).ravel()
    assert abs(values.mean() - mean) < 6 * math.sqrt(variance / values.size)
    assert abs(values.var() / variance - 1) < 6 * math.sqrt((kurtosis - 1) / values.size)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(("name", "options", "bound"), [
    ("uniform_", {"a": -2.0, "b": 2.0}, 2.0),
    ("xavier_uniform_", {"gain": 2.0}, 2.0 * math.sqrt(6 / (180 + 240))),
    ("kaiming_uniform_", {}, math.sqrt(6 / 180)),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, 1 / math.sqrt(180)),
    ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "tanh"}, 5 / 3 * math.sqrt(3 / 240)),
])
def test_uniform_values_fill_their_interval(name, options, bound, dtype):
    """Never outside (but for rounding); mean 0, variance bound^2 / 3; the dtype stays."""
    p = nn.Parameter(np.zeros(SHAPE, dtype))
    assert getattr(init, name)(p, **options) is p and p.dtype == dtype and p.requires_grad
    assert np.abs(p.numpy()).max() <= bound * (1 + 2 * np.finfo(dtype).eps)
    check(p.numpy(), 0.0, bound**2 / 3, 1.8)


@pytest.mark.parametrize(("name", "options", "std"), [
    ("normal_", {"std": 0.3}, 0.3), ("xavier_normal_", {}, math.sqrt(2 / (180 + 240))), ("kaiming_normal_", {}, math.sqrt(2 / 180)),
    ("kaiming_normal_", {"a": 0.5, "mode": "fan_out"}, math.sqrt(2 / 1.25 / 240)),
])
def test_normal_values_have_their_standard_deviation(name, options, std):
    """And mean 0."""
    check(getattr(init, name)(nn.Parameter(np.zeros(SHAPE)), **options).numpy(), 0.0, std**2, 3.0)


@given(st.floats(-3, 3), st.floats(0.1, 3), st.floats(-6, 6), st.floats(0.1, 5))
def test_truncated_normals_stay_inside_and_have_their_median(mean, std, a, width):
    """In [a, b], also far out in a tail; half of them below the median of scipy's truncnorm (6 standard errors: false alarm 2e-9)."""
    from scipy.stats import truncnorm

    p = nn.Parameter(np.zeros(2000))
    values = init.trunc_normal_(p, mean, std, a, a + width).numpy()
    assert values.min() >= a and values.max() <= a + width
    median = truncnorm.median((a - mean) / std, (a + width - mean) / std, mean, std)
    assert abs((values < median).mean() - 0.5) < 6 * 0.5 / math.sqrt(2000)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 3), st.booleans())
def test_orthogonal_values_are_orthogonal(rows, columns, gain, kernel):
    """Q Q^T = gain^2 I over the shorter side; further dimensions count as columns."""
    shape = (rows, columns, 2) if kernel else (rows, columns)
    q = init.orthogonal_(nn.Parameter(np.zeros(shape)), gain).numpy().reshape(rows, -1)
    q = q if rows <= q.shape[1] else q.T
    np.testing.assert_allclose(q @ q.T, gain**2 * np.eye(len(q)), atol=1e-12 * gain**2)


def test_orthogonal_matrices_are_uniform():
    """The sum of the diagonal has mean 0 and variance 1 for every size (Diaconis & Mallows): without the signs of R it has not."""
    generator = Generator(int(np.random.default_rng().integers(2**32)))
    traces = [np.trace(init.orthogonal_(nn.Parameter(np.zeros((3, 3))), generator=generator).numpy()) for _ in range(4000)]
    check(traces, 0.0, 1.0, 3.0)


def test_constants():
    """Exactly; the device and dtype stay."""
    p = nn.Parameter(np.ones((2, 3), np.float16))
    assert (init.constant_(p, 0.5).numpy() == 0.5).all() and (init.zeros_(p).numpy() == 0).all() and (init.ones_(p).numpy() == 1).all()
    assert p.dtype == np.float16


def test_the_generator_decides():
    """The same one gives the same bits, none gives fresh ones; a captured array keeps its values."""
    draw = lambda generator: init.kaiming_normal_(nn.Parameter(np.zeros((4, 5))), generator=generator).numpy()
    np.testing.assert_array_equal(draw(Generator(3)), draw(Generator(3)))
    assert not np.array_equal(draw(None), draw(None))
    array = np.zeros(3)
    init.ones_(nn.Parameter(array))
    assert (array == 0).all()


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: init.uniform_(np.zeros(3)), TypeError, "uniform_: expected a Tensor"),
    (lambda: init.xavier_uniform_(np.zeros((3, 3))), TypeError, "^xavier_uniform_: expected a Tensor"),
    (lambda: init.kaiming_normal_(np.zeros((3, 3))), TypeError, "^kaiming_normal_: expected a Tensor"),
    (lambda: init.normal_(tensor([1, 2])), TypeError, "normal_: expected a floating-point Tensor"),
    (lambda: init.zeros_(tensor([1.0], requires_grad=True) * 2.0), TypeError, "not computed from others"),
    (lambda: init.xavier_uniform_(nn.Parameter(np.zeros(3))), ValueError, r"fan_in and fan_out .* got shape \(3,\)"),
    (lambda: init.kaiming_normal_(nn.Parameter(np.zeros((3, 3))), mode="fan"), ValueError, "mode='fan'; expected fan_in or fan_out"),
    (lambda: init.calculate_gain("swish"), ValueError, "calculate_gain: nonlinearity='swish'; expected one of sigmoid, tanh"),
    (lambda: init.orthogonal_(nn.Parameter(np.zeros(3))), ValueError, "orthogonal_: expected at least two dimensions"),
    (lambda: init.trunc_normal_(nn.Parameter(np.zeros(3)), a=1.0, b=1.0), ValueError, "trunc_normal_: a=1.0, b=1.0"),
])
def test_what_has_no_initial_values_is_refused(call, error, message):
    """By name."""
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("layer", "fan_in"), [
    (lambda g: nn.Linear(50, 400, generator=g), 50),
    (lambda g: nn.Conv1d(40, 200, 3, generator=g), 120),
    (lambda g: nn.Conv2d(20, 200, (3, 2), groups=2, generator=g), 10 * 6),
    (lambda g: nn.Conv3d(4, 100, (3, 2, 2), generator=g), 48),
    (lambda g: nn.ConvTranspose2d(30, 60, 3, groups=3, generator=g), 20 * 9),
])
def test_layers_start_from_torchs_uniform_distribution(layer, fan_in):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), weight and bias; another time after reset_parameters."""
    built = layer(Generator(int(np.random.default_rng().integers(2**32))))
    for _ in range(2):
        bound, before = fan_in**-0.5, built.weight.numpy()
        assert max(np.abs(p.numpy()).max() for p in built.parameters()) <= bound * (1 + 1e-6)
        check(built.weight.numpy(), 0.0, bound**2 / 3, 1.8)
        assert np.abs(built.bias.numpy()).max() > 0.5 * bound  # false alarm: 2^-60
        built.reset_parameters()
        assert not np.array_equal(before, built.weight.numpy())


def test_other_layers_start_as_torchs():
    """Embedding N(0, 1) but for the padding row; attention Xavier and zeros; norms 1 and 0."""
    table = nn.Embedding(100, 80, padding_idx=-1)
    check(table.weight.numpy()[:-1], 0.0, 1.0, 3.0)
    assert (table.weight.numpy()[-1] == 0).all()
    attention = nn.MultiheadAttention(60, 3)
    check(attention.in_proj_weight.numpy(), 0.0, 2 / (60 + 180), 1.8)
    check(attention.out_proj.weight.numpy(), 0.0, 1 / 60 / 3, 1.8)
    assert (attention.in_proj_bias.numpy() == 0).all() and (attention.out_proj.bias.numpy() == 0).all()
    for norm in (nn.GroupNorm(2, 4), nn.LayerNorm((2, 3)), nn.BatchNorm2d(4), nn.InstanceNorm1d(3, affine=True)):
        assert (norm.weight.numpy() == 1).all() and (norm.bias.numpy() == 0).all()


def test_the_same_generator_gives_the_same_layer_and_none_gives_a_fresh_one():
    """Bit for bit, and not; a whole transformer layer, too."""
    for make in (lambda g: nn.Embedding(5, 7, generator=g).weight, lambda g: nn.MultiheadAttention(6, 2, generator=g).in_proj_weight,
                 lambda g: nn.TransformerEncoderLayer(6, 2, 8, generator=g).linear2.weight):
        np.testing.assert_array_equal(make(Generator(3)).numpy(), make(Generator(3)).numpy())
        assert not np.array_equal(make(None).numpy(), make(None).numpy())
