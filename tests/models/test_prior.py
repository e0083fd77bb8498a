"""The diffusion prior: a network from noisy embeddings, times and sentences to clean embeddings."""

import numpy as np
import pytest

from minidiff.autograd import check_gradients
from minidiff.models import Prior, PriorConfig
from minidiff.random import Generator


def small(**settings):
    """6 numbers, two blocks, float64, no parameter zero."""
    prior = Prior(PriorConfig(**{"features": 6, "width": 8, "depth": 2, **settings}), generator=Generator(1)).to(dtype="float64")
    for i, parameter in enumerate(prior.parameters()):
        parameter.data[...] += 0.3 * Generator((2, i)).standard_normal(parameter.shape, "float64")
    return prior


def drawn(seed, *shape):
    return Generator(seed).standard_normal(shape, "float64")


def norm(x, layer):
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return x * layer.weight.numpy() + layer.bias.numpy()


def silu(x):
    return x / (1 + np.exp(-x))


def test_it_is_its_formula_written_out():
    """Every layer by hand, with times of their own for each row."""
    prior, z, y, t = small(), drawn(3, 5, 6), drawn(4, 5, 6), np.array([0, 3, 40, 500, 999])
    linear = lambda layer, x: x @ layer.weight.numpy().T + layer.bias.numpy()
    angles = t[:, None] * 10000.0 ** (-np.arange(4) / 4)
    c = silu(linear(prior.time, np.concatenate([np.cos(angles), np.sin(angles)], axis=1)) + linear(prior.text, y))
    h = linear(prior.entrance, z)
    for block in prior.blocks:
        h = h + linear(block.linear_2, silu(linear(block.linear_1, norm(h, block.norm)) + linear(block.condition, c)))
    np.testing.assert_allclose(prior(z, t, y).numpy(), linear(prior.exit, norm(h, prior.norm)), rtol=1e-10, atol=1e-10)


def test_no_sentence_is_the_zero_vector_and_one_time_serves_all():
    """What guidance leads away from."""
    prior, z = small(), drawn(5, 4, 6)
    np.testing.assert_array_equal(prior(z, 7).numpy(), prior(z, np.full(4, 7), np.zeros((4, 6))).numpy())


def test_its_gradients_are_right():
    """By finite differences, towards the noisy embedding and the sentence."""
    prior = small()
    check_gradients(lambda z, y: prior(z, 30, y), [drawn(6, 2, 6), drawn(7, 2, 6)])


@pytest.mark.parametrize("settings, message", [
    ({"features": 0}, "features=0; expected a whole number of at least 1"),
    ({"features": 6, "depth": 1.5}, "depth=1.5"),
    ({"features": 6, "width": 7}, "width=7 must be even"),
])
def test_settings_that_are_none_are_refused(settings, message):
    """At the door."""
    with pytest.raises(ValueError, match=message):
        PriorConfig(**settings)


def test_vectors_of_another_size_are_refused():
    """Both of them."""
    with pytest.raises(ValueError, match=r"expected embeddings \(N, 6\), got shape \(2, 5\)"):
        small()(drawn(8, 2, 5), 3)
    with pytest.raises(ValueError, match=r"a sentence's embedding for each, \(2, 6\), got shape \(3, 6\)"):
        small()(drawn(8, 2, 6), 3, drawn(9, 3, 6))
