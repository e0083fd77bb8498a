"""SDEs, likelihood, adaptive ODE and Langevin dynamics on PyTorch's and JAX's arrays, and beside diffusers' ScoreSdeVeScheduler."""

import sys

import numpy as np
import pytest

from minidiff.diffusion import (
    REVERSE_DIFFUSION,
    AnnealedLangevin,
    LangevinCorrector,
    Mixture,
    VarianceExploding,
    VariancePreserving,
    divergence,
    euler_maruyama,
    forward_sde,
    hutchinson_probes,
    langevin_step,
    langevin_step_size,
    log_likelihood,
    predictor_corrector,
    prior_logp,
    probability_flow,
    reverse_sde,
    sample,
)
from minidiff.random import Generator

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

DATA = Mixture([0.3, 0.7], [[-0.5, 0.5], [0.5, 0.0]], [0.6, 0.8])  # one hill, so that roundings are not driven apart
PROCESS = VariancePreserving()


@pytest.fixture(autouse=True)
def jax_as_delivered():
    """Float64 is switched on for JAX where a test needs it, and off again for the tests of other files."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", False)


def arrays(library, *values):
    if library == "torch":
        return [torch.tensor(value) for value in values]
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return [jax.numpy.asarray(value) for value in values]


def jax_vjp(function, x, v):
    jax = pytest.importorskip("jax")
    value, back = jax.vjp(function, x)
    return value, back(v)[0]


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_gives_numpy_s_numbers(library, dtype):
    """The same input in both libraries; library and dtype are kept."""
    rng = np.random.default_rng()
    x, *noise = rng.standard_normal((6, 3, 2)).astype(dtype)
    foreign, *foreign_noise = arrays(library, x, *noise)
    model, times = DATA.model(PROCESS), [1.0, 0.6, 0.2]
    functions = {
        "reverse": lambda x, z: euler_maruyama(reverse_sde(model, PROCESS), x, times, noise=z[:2]),
        "forward": lambda x, z: euler_maruyama(forward_sde(PROCESS), x, times[::-1], noise=z[:2]),
        "annealed": lambda x, z: sample(model, PROCESS, x, times[:2], AnnealedLangevin(1e-2, 2), noise=z[:4]),
        "corrector": lambda x, z: predictor_corrector(model, PROCESS, x, times, corrector=LangevinCorrector(batch_mean=True),
                                                      noise=z[:2], corrector_noise=z[2:4]),
        "each": lambda x, z: predictor_corrector(model, PROCESS, x, times, noise=z[:2], corrector_noise=z[2:4]),
        "flow": lambda x, z: probability_flow(model, PROCESS, x, 1.0, 0.01, rtol=1e-4, atol=1e-4).x,
        "prior": lambda x, z: prior_logp(PROCESS, x),
    }
    for name, function in functions.items():
        expected, got = function(x, noise), function(foreign, foreign_noise)
        assert type(got) is type(foreign) and str(got.dtype).endswith(dtype), name
        tolerance = 1e-4 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(np.asarray(got), expected, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_likelihood_takes_another_library_s_vjp(library):
    """Exact and estimated divergences, through PyTorch's and JAX's own differentiation."""
    vjp = torch.autograd.functional.vjp if library == "torch" else jax_vjp
    x = np.random.default_rng().standard_normal((3, 2))
    foreign, = arrays(library, x)
    model = DATA.model(PROCESS)
    if library == "jax":  # times must not be traced
        model = lambda x, t, perfect=model: perfect(x, np.asarray(t))
    for probes in (None, hutchinson_probes(x, 2, Generator(4), "gaussian")):
        given = None if probes is None else arrays(library, *probes)
        expected = log_likelihood(DATA.model(PROCESS), PROCESS, x, 1e-3, 1.0, probes=probes, rtol=1e-8, atol=1e-8)
        got = log_likelihood(model, PROCESS, foreign, 1e-3, 1.0, probes=given, vjp=vjp, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(got.log_prob, expected.log_prob, rtol=1e-9)
        assert type(got.latent) is type(foreign)
    with pytest.raises(TypeError, match="give the vjp of its library"):
        log_likelihood(model, PROCESS, foreign, 1e-3, 1.0)


def test_the_divergence_of_a_torch_network():
    """The trace of the Jacobian that torch makes as a whole."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.SiLU(), torch.nn.Linear(16, 3)).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    found = divergence(network, x, vjp=torch.autograd.functional.vjp)[1]
    exact = [torch.autograd.functional.jacobian(network, row[None]).reshape(3, 3).trace().item() for row in x]
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_predictor_and_corrector_are_diffusers_score_sde_ve():
    """One correction and one prediction; diffusers draws the noise itself, from a seeded generator, and takes means of norms."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.ScoreSdeVeScheduler(snr=0.15, sigma_min=0.01, sigma_max=50.0)
    scheduler.set_timesteps(20)
    scheduler.set_sigmas(20)
    sigmas = scheduler.discrete_sigmas.double().numpy()[::-1]
    x, score = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64)
    generator, again = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)

    theirs = scheduler.step_correct(score, x, generator=generator).prev_sample
    z = torch.randn(x.shape, generator=again).double()
    ours = langevin_step(x, score, langevin_step_size(score, z, 0.15, batch_mean=True), z)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)

    k = 7
    theirs = scheduler.step_pred(score, scheduler.timesteps[k], x, generator=generator).prev_sample
    process = VarianceExploding(0.01, 50.0)
    times = process.time_of(-2 * np.log(sigmas[k:k + 2]))
    states, z = [], torch.randn(x.shape, generator=again, dtype=x.dtype)
    sample(lambda x, t: score, process, x, times, REVERSE_DIFFUSION, noise=[z], prediction_type="score",
           arrived=lambda i, level, x: states.append(x) or x)
    np.testing.assert_allclose(states[0].numpy(), theirs.numpy(), rtol=1e-4, atol=1e-4)
