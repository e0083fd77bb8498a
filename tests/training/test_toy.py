"""Training in the plane: one short loop, and what it learns."""

import numpy as np

from minidiff.autograd import check_gradients, no_grad
from minidiff.diffusion import DDIM, Gaussian, make_schedule, sample, timesteps
from minidiff.models import MLP
from minidiff.random import Generator
from minidiff.training import train_toy
from minidiff.training.toy import PREDICTION_TYPE

SCHEDULE = make_schedule("squaredcos_cap_v2", 1000)


def test_training_approaches_the_perfect_model():
    """Gaussian data, whose perfect model is known: a short training comes near it, and an untrained network is far away."""
    mean, std = np.array([0.4, -0.3]), np.array([0.5, 0.2])
    seen = []
    network = train_toy(lambda count, g: mean + std * g.standard_normal((count, 2), "float64"), SCHEDULE, generator=Generator(0), steps=400,
                        progress=lambda done, loss: seen.append((done, loss)))
    exact = Gaussian(mean, std).model(SCHEDULE, PREDICTION_TYPE)

    def distance(model):
        g = Generator(1)
        t = g.integers(0, 1000, 2000)
        x = (SCHEDULE.alpha(t)[:, None] * (mean + std * g.standard_normal((2000, 2), "float64"))
             + SCHEDULE.sigma(t)[:, None] * g.standard_normal((2000, 2), "float64"))
        with no_grad():
            return np.abs(model(x.astype(np.float32), t).numpy() - exact(x, t)).mean()

    assert distance(network) < 0.1 < 0.3 < distance(MLP(generator=Generator(2)))
    assert [done for done, _ in seen] == [k / 400 for k in range(1, 401)] and seen[-1][1] < seen[0][1]
    with no_grad():
        x = sample(network, SCHEDULE, Generator(3).standard_normal((500, 2)), timesteps(1000, 30), DDIM, prediction_type=PREDICTION_TYPE)
    assert np.abs(x.mean(axis=0) - mean).max() < 0.15 and np.abs(x.std(axis=0) - std).max() < 0.15


def test_the_same_generator_gives_the_same_network():
    """Bit for bit."""
    draw = lambda count, g: g.standard_normal((count, 2), "float64")
    one, other = (train_toy(draw, SCHEDULE, generator=Generator(5), steps=5).state_dict() for _ in range(2))
    assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_the_network_takes_any_dimension_dtype_and_form_of_time():
    """One time for all or one for each; derivatives by finite differences."""
    mlp = MLP(3, width=7, depth=2, generator=Generator(0)).to(dtype="float64")
    x = Generator(1).standard_normal((4, 3), "float64")
    assert np.array_equal(mlp(x, 7).numpy(), mlp(x, np.full(4, 7)).numpy())
    assert not np.array_equal(mlp(x, 7).numpy(), mlp(x, 8).numpy())
    check_gradients(lambda x: mlp(x, np.array([0, 5, 500, 999])), [x], order=2)
