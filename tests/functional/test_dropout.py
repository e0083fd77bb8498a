"""Dropout of elements and of channels: statistics, gradients, errors."""

import math

import numpy as np
import pytest

from minidiff import functional as F
from minidiff.autograd import gradient, tensor
from minidiff.random import Generator

CHANNELS = {"1d": (F.dropout1d, (3,)), "2d": (F.dropout2d, (3, 2)), "3d": (F.dropout3d, (2, 3, 2))}


def fresh():
    """A generator that no other run has."""
    return Generator(int(np.random.default_rng().integers(2**31)))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    """Of 10^5 elements a binomial number survives; a count more than 5.5 deviations off happens once in 2.6e7 runs."""
    n = 100_000
    y = F.dropout(np.ones(n, np.float32), p, generator=fresh())
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {0.0, np.float32(1.0 / (1.0 - p))}
    assert abs(np.count_nonzero(y) - n * (1 - p)) < 5.5 * math.sqrt(n * p * (1 - p))


def test_dropout_multiplies_gradients_by_the_same_mask():
    """What was dropped gets no gradient; the same generator drops the same."""
    x = tensor(np.linspace(1, 2, 50), requires_grad=True)
    y = F.dropout(x, 0.5, generator=Generator(3))
    np.testing.assert_allclose(gradient(y.sum(), x).data, y.data / x.data, rtol=1e-14)
    np.testing.assert_array_equal(F.dropout(x, 0.5, generator=Generator(3)).data, y.data)


def test_dropout_can_do_nothing_or_everything():
    """p = 0 and evaluation need no generator and are the identity; p = 1 leaves zeros."""
    x = np.ones(5)
    assert F.dropout(x, 0.0) is x and F.dropout(x, 0.5, training=False) is x
    assert not F.dropout(x, 1.0, generator=Generator(0)).any()


@pytest.mark.parametrize(("dropout", "positions"), CHANNELS.values(), ids=CHANNELS)
def test_whole_channels_are_dropped(dropout, positions):
    """All positions of a channel share its fate, channels and samples do not: of 20000 a binomial number survives (5.5 deviations)."""
    n, c, p = 100, 200, 0.3
    x = tensor(1.0 + np.arange(float(n * c * math.prod(positions))).reshape(n, c, *positions), requires_grad=True)
    y = dropout(x, p, generator=fresh())
    kept = y.data / x.data * (1 - p)
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-12)
    fates = kept.reshape(n, c, -1).round()
    assert (fates == fates[..., :1]).all()
    assert abs(fates[..., 0].sum() - n * c * (1 - p)) < 5.5 * math.sqrt(n * c * p * (1 - p))
    assert 0 < fates[0, :, 0].sum() < c and 0 < fates[:, 0, 0].sum() < n
    np.testing.assert_allclose(gradient(y.sum(), x).data, y.data / x.data, rtol=1e-14)
    assert dropout(x, p, False) is x and dropout(x, 0.0) is x


@pytest.mark.parametrize("dropout", [F.dropout1d, F.dropout3d])
def test_a_single_sample_needs_no_batch(dropout):
    """(C, ...) drops what (1, C, ...) drops."""
    x = np.ones((5, 4) if dropout is F.dropout1d else (5, 2, 3, 4))
    np.testing.assert_array_equal(dropout(x, generator=Generator(1)), dropout(x[None], generator=Generator(1))[0])


def test_integers_pass_and_are_not_dropped():
    """Where nothing is to be dropped they stay integers; otherwise they would become float64, and are refused."""
    x = np.ones(3, np.int32)
    assert F.dropout(x, 0.5, False) is x
    with pytest.raises(TypeError, match=r"^dropout: expected floating-point numbers, got input of int32"):
        F.dropout(x, 0.5, generator=Generator(0))


def test_an_empty_batch_stays_empty():
    """Nothing to drop, in the input's dtype, also in float16."""
    y = F.dropout(np.ones((0, 3), np.float16), 0.5, generator=Generator(0))
    assert y.shape == (0, 3) and y.dtype == np.float16


@pytest.mark.parametrize(("call", "message"), [
    (lambda: F.dropout(np.ones(3), 1.5, generator=Generator(0)), "dropout: p=1.5; expected a probability"),
    (lambda: F.dropout(np.ones(3), -0.1), "expected a probability"),
    (lambda: F.dropout(np.ones(3), 0.5), "dropout: needs generator="),
    (lambda: F.dropout2d(np.ones((2, 3, 4, 4)), 2.0), "dropout2d: p=2.0"),
    (lambda: F.dropout1d(np.ones(3)), r"dropout1d: expected an input \(N, C, L\) or \(C, L\), got shape \(3,\)"),
    (lambda: F.dropout2d(np.ones((2, 3, 4))), r"dropout2d: expected an input \(N, C, H, W\), got shape \(2, 3, 4\)"),
    (lambda: F.dropout3d(np.ones((2, 3))), r"dropout3d: expected an input \(N, C, D, H, W\) or \(C, D, H, W\)"),
])
def test_bad_arguments_are_refused(call, message):
    """One clear error each."""
    with pytest.raises(ValueError, match=message):
        call()
