"""Schedules, times and sigmas beside diffusers: the same numbers, to float32, and each known difference pinned down."""

import numpy as np
import pytest

from minidiff.diffusion import exponential_sigmas, karras_sigmas, make_schedule, sigma_range, timesteps

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.peers


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("steps", [10, 1000])
def test_betas_are_those_of_diffusers(name, steps):
    """Every family at diffusers' defaults; its tables are float32."""
    theirs = diffusers.DDPMScheduler(num_train_timesteps=steps, beta_schedule=name)
    ours = make_schedule(name, steps)
    np.testing.assert_allclose(theirs.betas.numpy(), ours.betas, rtol=3e-6)
    np.testing.assert_allclose(theirs.alphas_cumprod.numpy(), ours.alphas_cumprod, rtol=2e-4)


def test_zero_terminal_snr_is_that_of_diffusers():
    """rescale_betas_zero_snr, to what float32 differences of square roots allow."""
    options = {"beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012}
    theirs = diffusers.DDIMScheduler(**options, rescale_betas_zero_snr=True)
    ours = make_schedule(**options, rescale_betas_zero_snr=True)
    assert float(theirs.alphas_cumprod[-1]) == ours.alphas_cumprod[-1] == 0
    np.testing.assert_allclose(theirs.alphas_cumprod.numpy(), ours.alphas_cumprod, atol=1e-5)


@pytest.mark.parametrize("offset", [0, 1])
def test_leading_is_that_of_diffusers_until_it_runs_out_of_the_schedule(offset):
    """Every N; with an offset diffusers visits a time T for N = T, which we refuse."""
    for N in range(1, 1001):
        scheduler = diffusers.DDIMScheduler(steps_offset=offset, timestep_spacing="leading")
        scheduler.set_timesteps(N)
        theirs = scheduler.timesteps.tolist()
        if theirs[0] > 999:
            with pytest.raises(ValueError, match="steps_offset in 0"):
                timesteps(1000, N, "leading", steps_offset=offset)
        else:
            assert theirs == timesteps(1000, N, "leading", steps_offset=offset).tolist()


def test_trailing_and_linspace_are_those_of_diffusers_but_where_it_fails():
    """trailing: 62 values of N have one time too many, -1, there; otherwise all but ties agree. linspace: N = 1 is [0] there."""
    too_long = 0
    for N in range(1, 1001):
        for spacing in ("trailing", "linspace"):
            scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing)
            scheduler.set_timesteps(N)
            theirs, ours = scheduler.timesteps.numpy(), timesteps(1000, N, spacing)
            if spacing == "linspace" and N == 1:
                assert theirs.tolist() == [0] and ours.tolist() == [999]
            elif len(theirs) != N:
                too_long += 1
                assert len(theirs) == N + 1 and theirs[-1] == -1
            else:
                assert abs(theirs - ours).max() <= 1 and (theirs != ours).mean() <= 0.5
    assert too_long == 62


def test_sigmas_are_those_of_diffusers():
    """Karras's and the exponential list between the ends of Stable Diffusion's schedule."""
    options = {"beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012}
    low, high = sigma_range(make_schedule(**options))
    for N in (2, 10, 33):
        for kind, make in {"karras": karras_sigmas, "exponential": exponential_sigmas}.items():
            scheduler = diffusers.EulerDiscreteScheduler(**options, **{f"use_{kind}_sigmas": True})
            scheduler.set_timesteps(N)
            np.testing.assert_allclose(scheduler.sigmas.numpy(), make(N, low, high), rtol=1e-4)
