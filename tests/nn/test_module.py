"""Modules: names, weights in and out, modes."""

import numpy as np
import pytest

from minidiff import nn
from minidiff.random import Generator


class Pair(nn.Module):
    """Two linear layers that share one weight, and a list."""

    def __init__(self):
        self.first = nn.Linear(3, 3, generator=Generator(0))
        self.second = nn.Linear(3, 3, generator=Generator(1))
        self.second.weight = self.first.weight
        self.rest = nn.ModuleList([nn.GroupNorm(1, 2), nn.Sequential(nn.Conv2d(1, 2, 3), nn.Function(abs))])

    def forward(self, x):
        """(N, 3) -> (N, 3)."""
        return self.second(self.first(x))


def test_names_are_the_paths_of_attributes_and_shared_parameters_occur_once():
    """Against the list written by hand, in the order of setting."""
    names = [name for name, _ in Pair().named_parameters()]
    assert names == ["first.weight", "first.bias", "second.bias", "rest.0.weight", "rest.0.bias", "rest.1.0.weight", "rest.1.0.bias"]
    assert "second.weight" in Pair().state_dict()
    assert Pair().count_parameters() == 9 + 3 + 3 + 2 + 2 + 18 + 2


def test_a_shared_parameter_gets_the_gradient_of_both_uses():
    """d sum(W W x) / dW by the product rule, with the biases off."""
    pair = Pair()
    pair.first.bias = pair.second.bias = None
    x = np.array([[1.0, 2.0, -1.0]], np.float32)
    pair(x).sum().backward()
    w, ones = pair.first.weight.data.astype(float), np.ones(3)
    expected = np.outer(ones, x[0] @ w.T) + np.outer(w.T @ ones, x[0])
    np.testing.assert_allclose(pair.first.weight.grad.numpy(), expected, rtol=1e-5)


def test_weights_go_out_and_come_back():
    """Into another module with other weights: then both compute the same."""
    one, other = Pair(), Pair()
    other.first.weight.data = one.first.weight.data + 1
    assert not np.allclose(one(np.eye(3, dtype=np.float32)).numpy(), other(np.eye(3, dtype=np.float32)).numpy())
    other.load_state_dict({name: array.astype(np.float64) for name, array in one.state_dict().items()})
    np.testing.assert_array_equal(one(np.eye(3, dtype=np.float32)).numpy(), other(np.eye(3, dtype=np.float32)).numpy())
    assert {p.dtype for p in other.parameters()} == {np.dtype(np.float32)}


def test_wrong_weights_are_refused_by_name_and_change_nothing():
    """Missing, unexpected and misshapen, all in one message."""
    pair = Pair()
    before = {name: array.copy() for name, array in pair.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    del state["first.bias"]
    state["third.weight"] = np.zeros(3)
    state["rest.0.weight"] = np.zeros(5)
    with pytest.raises(ValueError, match=r"Pair: missing first.bias; unexpected third.weight; "
                                         r"rest.0.weight has shape \(5,\), expected \(2,\)"):
        pair.load_state_dict(state)
    for name, array in pair.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_train_and_eval_reach_every_module_and_dropout_obeys():
    """Dropout drops in training and is the identity in evaluation."""
    net = nn.Sequential(nn.Dropout(0.5, generator=Generator(0)), nn.Sequential(nn.Dropout(0.5, generator=Generator(1))))
    x = np.ones((4, 1000), np.float32)
    assert set(np.unique(net(x))) == {0.0, 2.0, 4.0} or set(np.unique(net(x))) == {0.0, 4.0}
    assert all(not module.training for module in net.eval().modules())
    np.testing.assert_array_equal(net(x), x)


def test_to_changes_the_dtype_and_drops_gradients():
    """All parameters; float64 in, float64 out."""
    pair = Pair()
    pair(np.ones((1, 3), np.float32)).sum().backward()
    pair.to(dtype="float64")
    assert {p.dtype for p in pair.parameters()} == {np.dtype(np.float64)}
    assert all(p.grad is None for p in pair.parameters())
    assert pair(np.ones((1, 3))).dtype == np.float64


@pytest.mark.parametrize(("layer", "fan_in"), [
    (lambda g: nn.Linear(50, 400, generator=g), 50),
    (lambda g: nn.Conv2d(20, 200, (3, 2), groups=2, generator=g), 10 * 6),
    (lambda g: nn.ConvTranspose2d(30, 60, 3, groups=3, generator=g), 20 * 9),
])
def test_layers_start_from_torchs_uniform_distribution(layer, fan_in):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): never outside, variance bound^2/3 within 6 standard errors (false alarm below 1e-8)."""
    built = layer(Generator(int(np.random.default_rng().integers(2**32))))
    bound = fan_in**-0.5
    values = built.weight.data.astype(np.float64).ravel()
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert abs(values.mean()) < 6 * bound / (3 * values.size) ** 0.5
    assert abs(values.var() / (bound**2 / 3) - 1) < 6 * (0.8 / values.size) ** 0.5
    assert np.abs(built.bias.data).max() <= bound * (1 + 1e-6)


def test_the_same_generator_gives_the_same_layer_and_none_gives_a_fresh_one():
    """Bit for bit, and not."""
    make = lambda g: nn.Embedding(5, 7, generator=g).weight.data
    np.testing.assert_array_equal(make(Generator(3)), make(Generator(3)))
    assert not np.array_equal(make(None), make(None))


def test_a_module_without_forward_says_so():
    """Instead of returning None."""
    with pytest.raises(TypeError, match="Module defines no forward"):
        nn.Module()(1)
