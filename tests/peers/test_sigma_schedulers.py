"""diffusers' schedulers that walk in sigma or on a straight line beside ours: Euler, Heun, DPM-2, EDM, flow matching.

On their own lists of sigmas, so that only the steps are compared. The lists are in `test_schedules_and_timesteps`; the same samplers beside
k-diffusion's, in float64, in `test_singlestep_samplers`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from peers.scheduler_walks import BETAS, ROUNDING, T, drawing, normal, walked  # noqa: E402

from minidiff.diffusion import (  # noqa: E402
    DDIM,
    DDPM,
    DPM_2_ANCESTRAL,
    DPM_SOLVER_2,
    EDM,
    EULER,
    HEUN,
    Gaussian,
    Karras,
    Move,
    Multistep,
    Plan,
    Row,
    StraightLine,
    edm_precondition,
    path,
    sample,
)
from minidiff.diffusion.samplers.karras import euler_row  # noqa: E402

pytestmark = pytest.mark.peers


# -- samplers that walk in sigma -----------------------------------------------------------------------------------------


def denoise(x, sigma):
    """A model that is not linear; sigma: a number or (N,)."""
    tanh = np.tanh if isinstance(x, np.ndarray) else torch.tanh
    sigma = float(np.asarray(sigma).flat[0])
    return tanh(x / (1 + sigma)) / (1 + 0.1 * sigma)


def epsilon(x, sigma):
    sigma = float(np.asarray(sigma).flat[0])
    return (x - denoise(x, sigma)) / sigma


def walked_in_sigma(scheduler, x, asked, predict=epsilon, **options):
    """The walk of a scheduler whose k-th call of the model is at the sigma asked[k]. x is x_0 + sigma eps, as theirs."""
    x = torch.from_numpy(np.asarray(x))
    scheduler.is_scale_input_called = True
    for t, sigma in zip(scheduler.timesteps, asked, strict=True):
        x = scheduler.step(predict(x, sigma), t, x, **options).prev_sample
    return x.numpy()


def each_once(sigmas):
    return np.unique(sigmas.double().numpy())[:0:-1]


@pytest.mark.parametrize("name, sampler, tolerance, options", [
    ("EulerDiscreteScheduler", EULER, 1e-5, {}), ("EulerDiscreteScheduler", EULER, 1e-5, {"use_karras_sigmas": True}),
    ("HeunDiscreteScheduler", HEUN, 1e-9, {}), ("HeunDiscreteScheduler", HEUN, 1e-9, {"use_karras_sigmas": True}),
    ("KDPM2DiscreteScheduler", DPM_SOLVER_2, 1e-6, {}), ("KDPM2DiscreteScheduler", DPM_SOLVER_2, 1e-6, {"use_karras_sigmas": True}),
    ("EulerAncestralDiscreteScheduler", DDPM, 1e-5, {}), ("KDPM2AncestralDiscreteScheduler", DPM_2_ANCESTRAL, 1e-5, {}),
    ("KDPM2AncestralDiscreteScheduler", DPM_2_ANCESTRAL, 1e-5, {"use_karras_sigmas": True}),
])
def test_sigma_samplers_are_theirs(name, sampler, tolerance, options, monkeypatch):
    """On their own list of sigmas, without schedule. Their Heun computes in the dtype of x; Euler rounds x to float32, others their sigmas.

    What they call KDPM2 is DPM-Solver-2, and Euler ancestral is DDPM.
    """
    scheduler = getattr(diffusers, name)(**BETAS, **options)
    scheduler.set_timesteps(8)
    for table in ("sigmas", "sigmas_interpol", "sigmas_up", "sigmas_down"):
        if hasattr(scheduler, table):
            setattr(scheduler, table, getattr(scheduler, table).double())
    sigmas = each_once(scheduler.sigmas)
    between = sigmas[1:]
    if name.startswith("KDPM2"):
        down = sigmas[1:] ** 2 / sigmas[:-1] if "Ancestral" in name else sigmas[1:]
        between = np.sqrt(sigmas[:-1] * down)
    twice = name.startswith(("Heun", "KDPM2"))
    asked = [sigmas[0], *np.stack([between, sigmas[1:]], 1).ravel()] if twice else sigmas
    x, noise = sigmas[0] * normal(4, 3), normal(8, 4, 3)
    drawing(monkeypatch, scheduler, noise)
    drawn = {"noise": list(noise[:7])} if "Ancestral" in name else {}
    got = sample(epsilon, EDM, x, sigmas, sampler, **drawn)
    np.testing.assert_allclose(got, walked_in_sigma(scheduler, x, asked), rtol=tolerance, atol=tolerance)


@dataclass(frozen=True)
class ChurnAfterwards(Karras):
    """Euler with its noise added when the model has spoken: the answer at sigma carried on from the raised level."""

    def plan(self, path):
        moves = []
        for t, s, h in zip(path.levels, path.levels[1:], path.steps):
            up, churn, rise = self.churn(path, t)
            x, predictions, *_ = euler_row(up, s, h + rise)
            moves.append(Move(t, Row(x, predictions, churn.noise if churn else 0.0), to=s))
        return Plan("epsilon", moves)


SETTINGS = {"s_churn": 3.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.01}


def test_their_churn_comes_after_the_model_has_been_asked(monkeypatch):
    """EDM's Algorithm 2 asks at the raised level. A scheduler is called when the model has spoken: the variant that does so is theirs."""
    scheduler = diffusers.EulerDiscreteScheduler()
    scheduler.set_timesteps(8)
    sigmas = each_once(scheduler.sigmas)
    x, noise = sigmas[0] * normal(4, 3), normal(8, 4, 3)
    drawing(monkeypatch, scheduler, noise)
    theirs = walked_in_sigma(scheduler, x, sigmas, **SETTINGS)
    late = ChurnAfterwards(1, **SETTINGS)
    used = list(noise[:late.plan(path(EDM, sigmas)).draws])
    np.testing.assert_allclose(sample(epsilon, EDM, x, sigmas, late, noise=used), theirs, rtol=1e-5, atol=1e-5)
    assert abs(sample(epsilon, EDM, x, sigmas, Karras(1, **SETTINGS), noise=used) - theirs).max() > 1e-3


def spread(sampler, data, sigmas):
    """The std of the samples for Gaussian data of mean 0, from sigma_max z: each output is linear in the start and each draw."""
    draws = sampler.plan(path(EDM, sigmas)).draws
    unit = np.eye(1 + draws)[:, :, None]
    return np.linalg.norm(sample(data.model(EDM), EDM, sigmas[0] * unit[0], sigmas, sampler, noise=list(unit[1:])))


def test_late_churn_leaves_too_much_noise():
    """Gaussian data of std 0.5, 40 steps, full churn: 0.59 if asked before it; after it Euler 0.43, by its own error, and Heun 0.52."""
    sigmas = np.geomspace(80, 0.002, 40)
    samplers = ChurnAfterwards(1, s_churn=40.0), Karras(1, s_churn=40.0), Karras(2, s_churn=40.0)
    assert [spread(sampler, Gaussian(0.0, 0.5), sigmas) for sampler in samplers] == pytest.approx([0.590, 0.432, 0.516], abs=1e-3)


def test_their_heun_and_dpm_2_cannot_churn():
    """gamma is 0 there, whatever one wishes; k-diffusion's can, see `test_singlestep_samplers`."""
    for name in ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler"):
        with pytest.raises(TypeError, match="s_churn"):
            getattr(diffusers, name)().step(torch.zeros(1), 999, torch.zeros(1), s_churn=1.0)


# -- EDM's schedulers ----------------------------------------------------------------------------------------------------


def network(x, c_noise):
    """Between preconditioning coefficients; bounded."""
    tanh, c_noise = (np.tanh, float(np.asarray(c_noise).flat[0])) if isinstance(x, np.ndarray) else (torch.tanh, float(c_noise))
    return tanh(x - 0.3 * c_noise)


def walked_preconditioned(scheduler, x, **options):
    """The network is asked with the scaled x, as their pipelines do."""
    x = torch.from_numpy(np.asarray(x))
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x, **options).prev_sample
    return x.numpy()


@pytest.mark.parametrize("kind", ["karras", "exponential"])
def test_edm_euler_is_theirs(kind):
    """With EDM's preconditioning around the network, on their list of sigmas. Theirs computes in float32."""
    scheduler = diffusers.EDMEulerScheduler(sigma_schedule=kind)
    scheduler.set_timesteps(12)
    x = 80 * normal(4, 3)
    got = sample(edm_precondition(network), EDM, x, each_once(scheduler.sigmas), EULER, prediction_type="sample")
    np.testing.assert_allclose(got, walked_preconditioned(scheduler, x), rtol=1e-5, atol=1e-5)


def test_churn_of_edm_euler_is_late_and_reads_the_network_with_another_level(monkeypatch):
    """Asked at sigma with c_in(sigma), its answer put between c_skip and c_out of the raised level: the loop that does so is theirs."""
    scheduler = diffusers.EDMEulerScheduler()
    scheduler.set_timesteps(8)
    x = expected = 80 * normal(4, 3)
    noise = normal(8, 4, 3)
    drawing(monkeypatch, scheduler, noise)
    draws = iter(noise)
    sigmas = [*each_once(scheduler.sigmas), 0.0]
    for sigma, following in pairwise(sigmas):
        answer, up = network(expected / np.hypot(sigma, 0.5), np.log(sigma) / 4), sigma
        if 0.1 <= sigma <= 10:
            up = sigma * (1 + 3 / 8)
            expected = expected + 1.01 * np.sqrt(up**2 - sigma**2) * next(draws)
        start = 0.25 / (up**2 + 0.25) * expected + up * 0.5 / np.hypot(up, 0.5) * answer
        expected = expected + (following - up) / up * (expected - start)
    np.testing.assert_allclose(walked_preconditioned(scheduler, x, **SETTINGS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [8, 20])
@pytest.mark.parametrize("algorithm, order, solver_type", [
    ("dpmsolver++", 1, "midpoint"), ("dpmsolver++", 2, "midpoint"), ("dpmsolver++", 2, "heun"), ("dpmsolver++", 3, "midpoint"),
    ("sde-dpmsolver++", 1, "midpoint"), ("sde-dpmsolver++", 2, "midpoint"), ("sde-dpmsolver++", 2, "heun"),
])
def test_edm_dpm_solver_is_theirs(algorithm, order, solver_type, steps, monkeypatch):
    """The same on their sigmas in float64; order 3 with half of the curvature, as `Multistep` with a published solver_type."""
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(algorithm_type=algorithm, solver_order=order, solver_type=solver_type)
    scheduler.set_timesteps(steps)
    scheduler.sigmas = scheduler.sigmas.double()
    sigmas = each_once(scheduler.sigmas)
    scheduler.timesteps = torch.from_numpy(np.log(sigmas) / 4)
    x, noise, eta = 80 * normal(4, 3), normal(steps, 4, 3), float(algorithm.startswith("sde"))
    drawing(monkeypatch, scheduler, noise)
    sampler = Multistep(order, eta=eta, solver_type=solver_type, lower_order_final=steps < 15)
    options = {"noise": list(noise[:-1])} if eta else {}
    got = sample(edm_precondition(network), EDM, x, sigmas, sampler, prediction_type="sample", **options)
    np.testing.assert_allclose(got, walked_preconditioned(scheduler, x), **ROUNDING)


def test_their_third_order_with_noise_breaks_off():
    """EDMDPMSolverMultistepScheduler has no such formula: an UnboundLocalError in its third step. `Multistep(3, eta=1.0)` is ours."""
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=3)
    scheduler.set_timesteps(20)
    with pytest.raises(UnboundLocalError, match="x_t"):
        walked_preconditioned(scheduler, 80 * normal(4, 3))


# -- flow matching -------------------------------------------------------------------------------------------------------


def velocity(x, t):
    """A model of flow matching, of x and a time in [0, 1]."""
    tanh, t = (np.tanh, float(np.asarray(t).flat[0])) if isinstance(x, np.ndarray) else (torch.tanh, float(t) / T)
    return 0.8 * x - tanh(2 * x + t)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_is_ddim_on_a_straight_line(shift):
    """Euler's step in x and t, x + (s - t) v, is DDIM's with flow_prediction; from pure noise, on their list, in float32 there."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(12)
    x = normal(4, 3)
    got = sample(velocity, StraightLine(), x, scheduler.sigmas[:-1].double().numpy(), DDIM, prediction_type="flow_prediction")
    np.testing.assert_allclose(got, walked(scheduler, x, velocity), rtol=1e-5, atol=1e-5)


class AllFresh:
    """To the data and back up with noise that is all new: more than eta = 1, which keeps what is left of the old."""

    def plan(self, path):
        return Plan("sample", [Move(t, Row(0.0, (s.alpha,), s.sigma), to=s) for t, s in pairwise(path.levels)])


def test_their_stochastic_flow_matching_draws_all_noise_afresh(monkeypatch):
    """Consistency models' sampling; `Ancestral` at eta = 1 is the reverse SDE's and another."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    scheduler.set_timesteps(6)
    x, noise = normal(4, 3).astype(np.float32), normal(6, 4, 3).astype(np.float32)
    drawing(monkeypatch, scheduler, noise)
    times = scheduler.sigmas[:-1].double().numpy()
    theirs = walked(scheduler, x, velocity)
    options = {"noise": list(noise[:5]), "prediction_type": "flow_prediction"}
    np.testing.assert_allclose(sample(velocity, StraightLine(), x, times, AllFresh(), **options), theirs, rtol=1e-4, atol=1e-5)
    assert abs(sample(velocity, StraightLine(), x, times, DDPM, **options) - theirs).max() > 1e-3
