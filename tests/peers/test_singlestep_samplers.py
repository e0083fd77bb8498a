"""Samplers that ask several times a step, beside k-diffusion's and diffusers'; and every family on PyTorch tensors and JAX arrays."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from peers.k_diffusion_alone import SIGMAS, denoise, load  # noqa: E402

from minidiff.diffusion import (  # noqa: E402
    DDIM,
    DDPM,
    DPM_2_ANCESTRAL,
    DPM_SOLVER_2,
    DPM_SOLVER_3,
    DPMPP_2S,
    DPMPP_2S_ANCESTRAL,
    DPMPP_3M,
    DPMPP_SDE,
    EDM,
    EULER,
    HEUN,
    Karras,
    make_schedule,
    path,
    sample,
)
from minidiff.verify.adapters.k_diffusion import unit_increments  # noqa: E402

pytestmark = pytest.mark.peers


def ours(sampler, x, noise=()):
    def model(x, t):
        return denoise(torch.from_numpy(x), torch.from_numpy(t)).numpy()

    return sample(model, EDM, x.numpy(), SIGMAS, sampler, noise=[z.numpy() for z in noise], prediction_type="sample")


@pytest.mark.parametrize(
    "name, sampler", [("sample_euler", EULER), ("sample_heun", HEUN), ("sample_dpm_2", DPM_SOLVER_2)], ids=["euler", "heun", "dpm_2"])
def test_deterministic_samplers_are_k_diffusion_s(name, sampler):
    """The same list of sigmas, 0 at its end, in float64: equal to rounding."""
    x = 14 * torch.randn(3, 4, dtype=torch.float64)
    theirs = getattr(load("sampling"), name)(denoise, x, torch.tensor([*SIGMAS, 0.0], dtype=torch.float64), disable=True)
    np.testing.assert_allclose(ours(sampler, x), theirs.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name, sampler", [("sample_euler_ancestral", DDPM), ("sample_dpm_2_ancestral", DPM_2_ANCESTRAL),
                      ("sample_dpmpp_2s_ancestral", DPMPP_2S_ANCESTRAL)], ids=["euler_a", "dpm_2_a", "dpmpp_2s_a"])
def test_ancestral_samplers_are_k_diffusion_s(name, sampler):
    """With the same noise. Euler ancestral is DDPM."""
    x = 14 * torch.randn(3, 4, dtype=torch.float64)
    noise = torch.randn(len(SIGMAS) - 1, 3, 4, dtype=torch.float64)
    draws = iter(noise)
    theirs = getattr(load("sampling"), name)(
        denoise, x, torch.tensor([*SIGMAS, 0.0], dtype=torch.float64), disable=True, noise_sampler=lambda a, b: next(draws))
    np.testing.assert_allclose(ours(sampler, x, noise), theirs.numpy(), rtol=1e-9, atol=1e-12)


def test_dpmpp_sde_is_k_diffusion_s_with_a_brownian_motion():
    """k-diffusion asks its noise sampler for W(a) - W(b), made unit: two draws with the correlation that its Brownian tree gives them."""
    x = 14 * torch.randn(3, 4, dtype=torch.float64)
    noise = torch.randn(2 * (len(SIGMAS) - 1), 3, 4, dtype=torch.float64)
    theirs = load("sampling").sample_dpmpp_sde(
        denoise, x, torch.tensor([*SIGMAS, 0.0], dtype=torch.float64), disable=True, noise_sampler=unit_increments(noise))
    np.testing.assert_allclose(ours(DPMPP_SDE, x, noise), theirs.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_churn_is_k_diffusion_s(order, monkeypatch):
    """s_churn, s_tmin, s_tmax, s_noise; its noise comes from randn_like, replaced by ours, one draw a step whether used or not."""
    x = 14 * torch.randn(3, 4, dtype=torch.float64)
    settings = dict(s_churn=1.5, s_tmin=0.1, s_tmax=10.0, s_noise=1.007)
    drawn = torch.randn(len(SIGMAS), 3, 4, dtype=torch.float64)
    used = [z for sigma, z in zip(SIGMAS, drawn) if 0.1 <= sigma <= 10]
    sampling, draws = load("sampling"), iter(drawn)
    monkeypatch.setattr(torch, "randn_like", lambda x: next(draws))
    theirs = (sampling.sample_euler if order == 1 else sampling.sample_heun)(
        denoise, x, torch.tensor([*SIGMAS, 0.0], dtype=torch.float64), disable=True, **settings)
    np.testing.assert_allclose(ours(Karras(order, **settings), x, used), theirs.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
def test_dpm_solver_singlestep_is_k_diffusion_s(order):
    """Its class for DPM-Solver-2 and -3, one step at a time between two sigmas; x^ = x."""
    solver = load("sampling").DPMSolver(denoise)
    x = expected = 14 * torch.randn(3, 4, dtype=torch.float64)
    sigmas = torch.tensor(SIGMAS, dtype=torch.float64)
    for a, b in pairwise(sigmas):
        expected, _ = getattr(solver, f"dpm_solver_{order}_step")(expected, -a.log(), -b.log())
    expected = denoise(expected, SIGMAS[-1])
    np.testing.assert_allclose(ours({2: DPM_SOLVER_2, 3: DPM_SOLVER_3}[order], x), expected.numpy(), rtol=1e-9, atol=1e-12)


FAMILIES = [DDIM, DDPM, HEUN, Karras(2, s_churn=20.0), DPM_SOLVER_3, DPMPP_2S, DPMPP_SDE, DPMPP_3M]


@pytest.mark.parametrize("sampler", FAMILIES, ids=str)
def test_pytorch_tensors_walk_as_arrays_do(sampler):
    """float32, float64 and bfloat16 tensors keep their dtype; a gradient with respect to x_T flows through the walk."""
    schedule, times = make_schedule("linear", 50), [40, 20, 5]
    x, *noise = np.random.default_rng().standard_normal((1 + sampler.plan(path(schedule, times)).draws, 2, 3))
    expected = sample(lambda x, t: 0.2 * x, schedule, x, times, sampler, noise=noise, clip_denoised=True)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4), (torch.bfloat16, 0.2)):
        leaf = torch.tensor(x, dtype=dtype, requires_grad=True)
        got = sample(lambda x, t: 0.2 * x, schedule, leaf, times, sampler, noise=[torch.tensor(z, dtype=dtype) for z in noise],
                     clip_denoised=True)
        assert got.dtype == dtype
        np.testing.assert_allclose(got.detach().double().numpy(), expected, rtol=tolerance, atol=tolerance)
        got.sum().backward()
        assert leaf.grad is not None and torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("sampler", FAMILIES, ids=str)
def test_jax_arrays_walk_as_arrays_do(sampler):
    """float32, as JAX is delivered."""
    jnp = pytest.importorskip("jax.numpy")
    schedule, times = make_schedule("linear", 50), [40, 20, 5]
    x, *noise = np.random.default_rng().standard_normal((1 + sampler.plan(path(schedule, times)).draws, 2, 3)).astype(np.float32)
    expected = sample(lambda x, t: 0.2 * x, schedule, x, times, sampler, noise=noise, clip_denoised=True)
    got = sample(lambda x, t: 0.2 * x, schedule, jnp.asarray(x), times, sampler, noise=[jnp.asarray(z) for z in noise], clip_denoised=True)
    assert isinstance(got, type(jnp.asarray(x))) and got.dtype == np.float32
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-4, atol=1e-5)
