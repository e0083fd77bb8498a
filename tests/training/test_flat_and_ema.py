"""Parameters laid end to end, and their moving average."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import nn
from minidiff.random import Generator
from minidiff.training import EMA, FlatParameters
from minidiff.training.ema import ema_decay_at


class One(nn.Module):
    """A single parameter."""

    def __init__(self, values):
        self.weight = nn.Parameter(np.array(values))


def test_what_is_written_into_the_flat_array_is_what_the_model_computes_with():
    """A linear layer becomes the one whose weights were written."""
    layer = nn.Linear(3, 2, generator=Generator(0))
    parameters = FlatParameters(layer)
    parameters.data[...] = np.arange(8)
    np.testing.assert_array_equal(layer(np.ones((1, 3), "float32")).numpy(), [[0 + 1 + 2 + 6, 3 + 4 + 5 + 7]])


def test_each_gradient_comes_to_the_place_of_its_parameter_and_is_then_forgotten():
    """d(sum(x W^T + b))/dW = x in each row, /db = 1; an unused parameter counts as 0, also after it had a gradient."""
    layer = nn.Linear(3, 2, generator=Generator(0))
    parameters = FlatParameters(layer)
    layer(np.array([[5.0, 6.0, 7.0]], "float32")).sum().backward()
    np.testing.assert_array_equal(parameters.take_gradient(), [5, 6, 7, 5, 6, 7, 1, 1])
    assert layer.weight.grad is None
    layer.bias.sum().backward()
    np.testing.assert_array_equal(parameters.take_gradient(), [0, 0, 0, 0, 0, 0, 1, 1])


def test_a_shared_parameter_is_laid_out_once():
    """Both names lead to the same numbers."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    parameters = FlatParameters(module)
    assert parameters.data.size == 4 + 2 + 2
    parameters.data[...] = 7
    assert all((array == 7).all() for array in module.state_dict().values())


def test_parameters_of_two_dtypes_or_none_at_all_are_refused():
    """One array has one dtype."""
    with pytest.raises(ValueError, match="float32, float64"):
        FlatParameters(nn.Sequential(One(np.ones(2, "float32")), One(np.ones(2))))
    with pytest.raises(ValueError, match="no parameters"):
        FlatParameters(nn.Module())


@given(decay=st.floats(0, 1), values=st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_the_average_is_the_weighted_sum_of_all_weights_so_far(decay, values):
    """a_K = theta_0 d_1...d_K + sum_k theta_k (1 - d_k) d_{k+1}...d_K: written out, not stepped."""
    parameters = FlatParameters(One([values[0]]))
    ema = EMA(parameters, decay)
    for step, value in enumerate(values[1:], start=1):
        parameters.data[...] = value
        ema.update(step)
    d = [None] + [min(decay, (1 + k) / (10 + k)) for k in range(1, len(values))]
    shares = [np.prod(d[1:])] + [(1 - d[k]) * np.prod(d[k + 1:]) for k in range(1, len(values))]
    assert sum(shares) == pytest.approx(1)
    assert ema.data[0] == pytest.approx(np.dot(shares, values), abs=1e-12)
    assert ema.decay == decay  # the warm-up must not become the decay


def test_the_warm_up_of_the_average_rises_to_its_decay_and_stays():
    """2/11 at step 1; 0.99 is reached at step 890 and not before."""
    assert ema_decay_at(1, 0.99) == 2 / 11
    assert ema_decay_at(889, 0.99) < 0.99 and ema_decay_at(890, 0.99) == pytest.approx(0.99)
    assert ema_decay_at(10**9, 0.99) == 0.99
    assert all(ema_decay_at(k, 0.99) <= ema_decay_at(k + 1, 0.99) for k in range(1, 1000))


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_that_is_no_share_is_refused(decay):
    """0 to 1."""
    with pytest.raises(ValueError, match="decay"):
        EMA(FlatParameters(One([1.0])), decay)
