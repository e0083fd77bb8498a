"""DPM-Solver, UniPC, PNDM and PLMS as diffusers' schedulers do them: whole walks of a model that is not linear.

Theirs compute in float32; PNDM is compared on a list on which theirs means what it says.
"""

import numpy as np
import pytest

from minidiff.diffusion import PLMS, PNDM, Multistep, UniPC, make_schedule, sample

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.peers

BETAS = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULE = make_schedule("scaled_linear", 1000, beta_start=0.00085, beta_end=0.012)


TOLERANCE = 5e-4
"""Their sigmas, and each step of DPM-Solver, are in float32."""


def model(x, t):
    """Bounded and bent, for arrays of NumPy and of PyTorch."""
    tanh, t = (np.tanh, float(np.asarray(t).flat[0])) if isinstance(x, np.ndarray) else (torch.tanh, float(t))
    return 0.7 * x + 0.4 * tanh(2 * x - t / 500)


def theirs(scheduler, x, noise=None, **settings):
    """The walk of a scheduler, as its pipelines walk; noise: one array a step."""
    scheduler.set_timesteps(**settings)
    x = torch.from_numpy(x)
    for i, t in enumerate(scheduler.timesteps):
        extra = {} if noise is None else {"variance_noise": torch.from_numpy(noise[i])}
        x = scheduler.step(model(x, t), t, x, **extra).prev_sample
    return x.numpy()


def states(count=6):
    return np.random.default_rng().standard_normal((count, 3))


@pytest.mark.parametrize("steps", [8, 20])
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
def test_multistep_is_their_dpm_solver_plus_plus(algorithm, order, solver_type, steps):
    """Both published solver types, with noise and without, to the data; lower order at the end below 15 steps, as theirs.

    Their SDE of order 3 has its curvature's factor with a wrong sign, (1 - e^-z - z) / z^2 - 1/2 for + 1/2, z = 2 h: too small by 1.
    """
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS, algorithm_type=algorithm, solver_type=solver_type, solver_order=order, timestep_spacing="trailing",
        final_sigmas_type="zero",
    )
    eta = 1.0 if algorithm.startswith("sde") else 0.0
    family = WrongSign if eta and order == 3 else Multistep
    sampler = family(order, "sample", eta, solver_type, lower_order_final=steps < 15)
    x, noise = states(), np.random.default_rng().standard_normal((steps, 6, 3))
    expected = theirs(scheduler, x, noise if eta else None, num_inference_steps=steps)
    options = {"noise": list(noise[:-1])} if eta else {}
    got = sample(model, SCHEDULE, x, scheduler.timesteps.numpy(), sampler, **options)
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)


class WrongSign(Multistep):
    """Their third order with noise."""

    def moments(self, step, order):
        integrals = super().moments(step, order)
        return [*integrals[:2], *(integral - 1 for integral in integrals[2:])]


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_multistep_is_their_dpm_solver(order, solver_type):
    """Noise prediction, which theirs ends at the first noise level."""
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS, algorithm_type="dpmsolver", solver_type=solver_type, solver_order=order, timestep_spacing="linspace",
        final_sigmas_type="sigma_min",
    )
    x = states()
    expected = theirs(scheduler, x, num_inference_steps=20)
    sampler = Multistep(order, "epsilon", 0.0, solver_type)
    got = sample(model, SCHEDULE, x, scheduler.timesteps.numpy(), sampler, set_alpha_to_one=False)
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("steps", [8, 20])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("predicts", "solver_type", "to_data"), [
    ("sample", "bh2", True), ("sample", "bh2", False), ("sample", "bh1", False), ("epsilon", "bh2", False), ("epsilon", "bh1", False),
])
def test_unipc_is_theirs(predicts, solver_type, to_data, order, steps):
    """Both predictions, both B(h), to the data and to the first noise level. Their bh1 is NaN at the data: B = -h is infinite."""
    scheduler = diffusers.UniPCMultistepScheduler(
        **BETAS, solver_order=order, solver_type=solver_type, predict_x0=predicts == "sample", timestep_spacing="trailing",
        final_sigmas_type="zero" if to_data else "sigma_min",
    )
    x = states()
    expected = theirs(scheduler, x, num_inference_steps=steps)
    got = sample(model, SCHEDULE, x, scheduler.timesteps.numpy(), UniPC(order, predicts, solver_type), set_alpha_to_one=to_data)
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("sampler", [PNDM, PLMS], ids=["PNDM", "PLMS"])
def test_pndm_and_plms_are_theirs(sampler):
    """10 of 1000 steps, so that t - T // N is the next entry of the list and half of it a whole number."""
    scheduler = diffusers.PNDMScheduler(**BETAS, skip_prk_steps=sampler.skip_prk_steps, set_alpha_to_one=True, timestep_spacing="leading")
    x = states()
    expected = theirs(scheduler, x, num_inference_steps=10)
    got = sample(model, SCHEDULE, x, range(900, -1, -100), sampler)
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)
