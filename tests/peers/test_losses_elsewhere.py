"""The losses asked by PyTorch and JAX, with their own gradients; weights against diffusers."""

import functools

import numpy as np
import pytest

from minidiff.diffusion import (
    EDM,
    StraightLine,
    calc_bpd_loop,
    denoising_score_matching,
    edm_precondition,
    edm_weight,
    flow_matching_loss,
    hybrid_loss,
    implicit_score_matching,
    make_schedule,
    min_snr_weight,
    same_loss_weight,
    simple_loss,
    sliced_score_matching,
    training_losses,
)

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytestmark = pytest.mark.peers

SCHEDULE = make_schedule("linear", 20)
RNG = np.random.default_rng()
T = np.array([0, 7, 19])
X, NOISE = (RNG.integers(0, 256, (3, 2, 4)) / 127.5 - 1).astype(np.float32), RNG.standard_normal((3, 2, 4)).astype(np.float32)
V = np.where(RNG.random((3, 2, 4)) < 0.5, 1.0, -1.0).astype(np.float32)


def join(x, y):
    """The two along the channels."""
    if isinstance(x, torch.Tensor):
        return torch.cat([x, y], dim=1)
    return (jax.numpy if isinstance(x, jax.Array) else np).concatenate([x, y], axis=1)


def hybrid(k, x, n, decoder="discretized_gaussian", of_variance=0.0):
    """The hybrid loss of a model with the factor k in both answers."""
    model = lambda x, t: join(k * x, (k + of_variance) * x / 9)
    return hybrid_loss(model, SCHEDULE, x, T, n, "v_prediction", vlb_weight=0.1, decoder=decoder)


WEIGHT = min_snr_weight(SCHEDULE, T, "v_prediction")
LOSSES = {
    "simple": lambda k, x, n: simple_loss(lambda x, t: k * x, SCHEDULE, x, T, n, "v_prediction", WEIGHT),
    "training": lambda k, x, n: training_losses(lambda x, t: k * x, SCHEDULE, x, T, n).sum(),
    "hybrid": hybrid,
    "hybrid, approximate": functools.partial(hybrid, decoder="discretized_gaussian_approximate"),
    "flow": lambda k, x, n: flow_matching_loss(lambda x, t: k * x, x, T / 19, n),
    "edm": lambda k, x, n: simple_loss(edm_precondition(lambda x, c: k * x), EDM, x, T + 0.1, n, "sample", edm_weight(EDM, T + 0.1)),
    "denoising": lambda k, x, n: denoising_score_matching(lambda x, t: k * x, SCHEDULE, x, T, n),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_are_those_of_numpy_in_torch_and_jax_with_their_own_gradients(name):
    """The value in float64 arithmetic of NumPy; the gradient with respect to a factor in the model by finite differences of it."""
    loss, h = LOSSES[name], 1e-5
    k, x, n = 0.3, X.astype(np.float64), NOISE.astype(np.float64)
    value, slope = loss(k, x, n), (loss(k + h, x, n) - loss(k - h, x, n)) / (2 * h)
    leaf = torch.tensor(k, dtype=torch.float64, requires_grad=True)
    result = loss(leaf, torch.tensor(x), torch.tensor(n))
    result.backward()
    assert result.dtype == torch.float64 and result.item() == pytest.approx(value, rel=1e-9)
    single = loss(k, torch.tensor(X), torch.tensor(NOISE))
    assert torch.is_tensor(single) and single.dtype == torch.float32
    of_jax = jax.value_and_grad(loss)(jax.numpy.float32(k), jax.numpy.asarray(X), jax.numpy.asarray(NOISE))
    assert of_jax[0] == pytest.approx(value, rel=1e-3)
    if name.startswith("hybrid"):  # the bound holds the prediction constant: the slope of the loss is not its gradient
        frozen = [loss(k, x, n, of_variance=d) for d in (h, -h)]
        mse = [simple_loss(lambda x, t, d=d: (k + d) * x, SCHEDULE, x, T, n, "v_prediction") for d in (h, -h)]
        slope = (frozen[0] - frozen[1] + mse[0] - mse[1]) / (2 * h)
    assert leaf.grad.item() == pytest.approx(slope, rel=1e-5, abs=1e-7)
    assert of_jax[1] == pytest.approx(slope, rel=1e-2, abs=1e-3)


def jax_vjp(score, x, v):
    """jax.vjp in the form of `autograd.vjp`."""
    s, back = jax.vjp(score, x)
    return s, back(v)[0]


MATCHING = {
    "implicit": lambda score, x, v, **options: implicit_score_matching(score, x, **options),
    "sliced": sliced_score_matching,
    "plain": functools.partial(sliced_score_matching, variance_reduced=False),
}


@pytest.mark.parametrize("matching", MATCHING.values(), ids=MATCHING)
def test_score_matching_takes_the_derivatives_of_torch_and_jax(matching):
    """vjp = torch.autograd.functional.vjp with create_graph, or jax.vjp: the numbers of minidiff's own, and trainable."""
    x, v = X.astype(np.float64), V.astype(np.float64)
    score = lambda k: lambda x: -k * x + x * x * x / 5
    value = lambda k: matching(score(k), x, v).item()
    slope = (value(0.3 + 1e-5) - value(0.3 - 1e-5)) / 2e-5
    k = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    loss = matching(score(k), torch.tensor(x), torch.tensor(v), vjp=functools.partial(torch.autograd.functional.vjp, create_graph=True))
    loss.backward()
    assert loss.item() == pytest.approx(value(0.3), rel=1e-12) and k.grad.item() == pytest.approx(slope, rel=1e-6)
    of_k = lambda k: matching(score(k), jax.numpy.asarray(X), jax.numpy.asarray(V), vjp=jax_vjp)
    of_jax = jax.value_and_grad(of_k)(jax.numpy.float32(0.3))
    assert of_jax == pytest.approx((value(0.3), slope), rel=1e-3)


def test_the_bound_of_torch_and_jax_models_is_that_of_numpy():
    """calc_bpd_loop, every field."""
    schedule = make_schedule("linear", 5)
    noise = RNG.standard_normal((5, *X.shape)).astype(np.float32)
    expected = calc_bpd_loop(lambda x, t: 0.3 * x, schedule, X, noise=noise)
    for kind in (torch.tensor, jax.numpy.asarray):
        got = calc_bpd_loop(lambda x, t: 0.3 * x, schedule, kind(X), noise=[kind(n) for n in noise])
        for one, other in zip(got, expected, strict=True):
            assert type(one) is type(kind(X)) and tuple(one.shape) == other.shape
            np.testing.assert_allclose(np.asarray(one), other, rtol=2e-3)


def test_the_signal_to_noise_ratio_is_that_of_diffusers():
    """The weight of the loss in epsilon, for x_0, is what diffusers' training scripts call compute_snr."""
    training_utils = pytest.importorskip("diffusers.training_utils")
    from diffusers import DDPMScheduler

    t = torch.arange(1, 1000, 37)
    theirs = training_utils.compute_snr(DDPMScheduler(1000), t)
    np.testing.assert_allclose(same_loss_weight(make_schedule("linear", 1000), t.numpy(), "epsilon", "sample"), theirs.numpy(), rtol=1e-3)


def test_a_straight_line_of_torch_is_rectified_flow():
    """mean((v - (eps - x_0))^2) written in PyTorch."""
    x, n, t = torch.tensor(X), torch.tensor(NOISE), torch.tensor([0.1, 0.5, 0.9])
    noisy = torch.lerp(x, n, t.reshape(-1, 1, 1))
    expected = torch.nn.functional.mse_loss(torch.tanh(noisy), n - x)
    got = flow_matching_loss(lambda x, t: torch.tanh(x), x, t.numpy().astype(np.float64), n, StraightLine())
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=0)
