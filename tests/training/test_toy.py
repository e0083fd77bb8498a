"""Training in the plane: one short loop, and what it learns."""

import numpy as np

from minidiff import optim
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


def test_the_weights_are_the_mean_of_those_of_the_last_steps(monkeypatch):
    """Of ten steps the last four: kept here after every step, and averaged at once."""
    kept = []

    class Watched(optim.Adam):
        def step(self, closure=None):
            super().step(closure)
            kept.append([p.numpy().copy() for p in self.param_groups[0]["params"]])

    monkeypatch.setattr(optim, "Adam", Watched)
    network = train_toy(lambda count, g: g.standard_normal((count, 2), "float64"), SCHEDULE, generator=Generator(4), steps=10)
    assert len(kept) == 10
    for i, p in enumerate(network.parameters()):
        np.testing.assert_allclose(p.numpy(), np.mean([weights[i] for weights in kept[6:]], axis=0), atol=1e-7)


def test_the_waves_of_the_network_have_their_periods():
    """Blind to the coordinates themselves, it sees a point and one 4 away as the same, but not one 2 away."""
    mlp = MLP(2, width=16, generator=Generator(0)).to(dtype="float64")
    mlp.hidden[0].weight.data[:, :2] = 0
    x = Generator(1).standard_normal((5, 2), "float64")
    np.testing.assert_allclose(mlp(x + 4, 3).numpy(), mlp(x, 3).numpy(), atol=1e-12)
    assert np.abs(mlp(x + 2, 3).numpy() - mlp(x, 3).numpy()).min(axis=0).max() > 1e-4


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
