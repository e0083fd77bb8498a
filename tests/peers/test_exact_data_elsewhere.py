"""Exactly known data asked by PyTorch and JAX: their arrays in, their arrays out, and their own derivatives agree with the score."""

import numpy as np
import pytest

from minidiff.diffusion import PREDICTION_TYPES, Gaussian, Level, Mixture, Points, Rotated, make_schedule

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytestmark = pytest.mark.peers

RNG = np.random.default_rng()
SCHEDULE = make_schedule("linear", 20)
KINDS = {
    "gaussian": Gaussian([0.3, -1.0], [0.5, 1.2]),
    "mixture": Mixture([0.4, 0.6], [[0.0, 1.0], [2.0, -1.0]], [[0.1, 0.9], [0.5, 0.2]]),
    "points": Points([[0.1, 0.2], [1.0, -1.0], [0.0, 0.5]]),
    "rotated": Rotated(Gaussian([0.0, 0.0], [0.5, 1.2]), [[0.6, 0.8], [-0.8, 0.6]]),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("t", [7, [3, 3, 3], [0, 3, 19]], ids=["one", "the same", "each"])
def test_models_answer_torch_and_jax(kind, prediction_type, t):
    """The numbers of NumPy; float32 and float64 of PyTorch as exact, JAX (which has float32 only, as it is delivered) to its rounding."""
    model, x = KINDS[kind].model(SCHEDULE, prediction_type), RNG.standard_normal((3, 2))
    t = t if isinstance(t, int) else np.array(t)
    expected = model(x, t)
    for dtype, rtol in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        exact = model(torch.tensor(x).to(dtype).double().numpy(), t)
        got = model(torch.tensor(x, dtype=dtype), t)
        assert type(got) is torch.Tensor and got.dtype == dtype
        np.testing.assert_allclose(got.numpy(), exact, rtol=rtol, atol=rtol)
    got = model(jax.numpy.asarray(x, dtype="float32"), t)
    assert isinstance(got, jax.Array) and got.dtype == "float32"
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * abs(expected).max())


@every_kind
def test_their_derivatives_of_the_density_are_the_score(kind):
    """torch.autograd and jax.grad of log_prob; and once more, the Hessian of the one against that of the other."""
    data, x = KINDS[kind], RNG.standard_normal((3, 2))
    score, density = data.score(x, 0.8, 0.6), lambda x: data.log_prob(x, 0.8, 0.6).sum()
    leaf = torch.tensor(x, requires_grad=True)
    (slope,) = torch.autograd.grad(density(leaf), leaf)
    np.testing.assert_allclose(slope.numpy(), score, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(jax.grad(density)(jax.numpy.asarray(x)), score, rtol=1e-4, atol=1e-4)
    hessian = torch.autograd.functional.hessian(density, leaf).numpy()
    np.testing.assert_allclose(jax.hessian(density)(jax.numpy.asarray(x)), hessian, rtol=1e-3, atol=1e-3)
    derivative = torch.autograd.functional.jacobian(lambda x: data.score(x, 0.8, 0.6), leaf).numpy()
    np.testing.assert_allclose(derivative, hessian, rtol=1e-9, atol=1e-9)


def test_the_score_of_a_mixture_can_be_compiled_by_jax():
    """No formula looks at the values: jax.jit traces them."""
    data, x = KINDS["mixture"], RNG.standard_normal((3, 2)).astype(np.float32)
    got = jax.jit(lambda x: data.score(x, 0.8, 0.6))(x)
    np.testing.assert_allclose(got, data.score(x, 0.8, 0.6), rtol=1e-4, atol=1e-4)


def test_transport_takes_torch_and_jax():
    """The flow of a Gaussian, and its derivative."""
    data, t, s = KINDS["gaussian"], Level(0.0, 0.6, 0.8), Level(0.0, 0.8, 0.6)
    x = RNG.standard_normal((3, 2))
    expected = data.transport(x, 0.5, t, s, 0.7)
    got = data.transport(torch.tensor(x), torch.full((3, 2), 0.5, dtype=torch.float64), t, s, 0.7)
    for one, other in zip(got, expected):
        np.testing.assert_allclose(one.numpy(), np.broadcast_to(other, (3, 2)), rtol=1e-12)
    np.testing.assert_allclose(data.flow(jax.numpy.asarray(x), t, s), data.flow(x, t, s), rtol=1e-4, atol=1e-5)
    volumes = torch.linalg.slogdet(torch.autograd.functional.jacobian(lambda x: data.flow(x, t, s), torch.tensor(x[0])))[1]
    assert float(volumes) == pytest.approx(data.flow_log_determinant((2,), t, s), rel=1e-12)


@pytest.mark.parametrize("kind", ["mixture", "points"])
def test_the_exact_classifier_guides_torch(kind):
    """The gradient of log p(k | x), as classifier guidance takes it, through a float32 batch."""
    x = torch.tensor(RNG.standard_normal((3, 2)), dtype=torch.float32, requires_grad=True)
    chosen = KINDS[kind].log_responsibilities(x, 0.8, 0.6)[:, 1].sum()
    (slope,) = torch.autograd.grad(chosen, x)
    point, h = x.detach().double().numpy(), 1e-6
    for d, e in enumerate(np.eye(2)):
        sides = [KINDS[kind].log_responsibilities(point + side * h * e, 0.8, 0.6)[:, 1] for side in (1, -1)]
        np.testing.assert_allclose(slope[:, d].numpy(), (sides[0] - sides[1]) / (2 * h), rtol=1e-3, atol=1e-3)
