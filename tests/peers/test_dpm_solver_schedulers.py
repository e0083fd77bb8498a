"""diffusers' DPM-Solver and UniPC beside ours, with our sigmas in float64 in the place of theirs; and its single-step family.

With their own sigmas, and DPM-Solver's SDE, in `test_multistep_schedulers`.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from peers.scheduler_walks import BETAS, ROUNDING, SCHEDULE, drawing, model, normal, walked  # noqa: E402

from minidiff.diffusion import (  # noqa: E402
    DPMPP_SDE,
    Move,
    Multistep,
    Row,
    SingleStep,
    UniPC,
    sample,
)
from minidiff.diffusion.samplers.multistep import exact_step, fitted  # noqa: E402
from minidiff.diffusion.samplers.singlestep import order_1, sloped  # noqa: E402

pytestmark = pytest.mark.peers


# -- DPM-Solver ----------------------------------------------------------------------------------------------------------


def sigmas_of(times):
    return np.exp(-np.asarray(SCHEDULE.log_snr(np.asarray(times))) / 2)


def their_own_in_float64(scheduler, times, last):
    """The sigmas of a multistep scheduler replaced by ours at the same times, sigma = last at the end."""
    scheduler.sigmas = torch.from_numpy(np.append(sigmas_of(times), last))


@pytest.mark.parametrize("algorithm, order, solver_type", [
    ("dpmsolver++", 1, "midpoint"), ("dpmsolver++", 2, "midpoint"), ("dpmsolver++", 2, "heun"), ("dpmsolver++", 3, "midpoint"),
    ("dpmsolver", 1, "midpoint"), ("dpmsolver", 2, "midpoint"), ("dpmsolver", 2, "heun"), ("dpmsolver", 3, "heun"),
])
def test_dpm_solver_multistep_in_float64_is_theirs(algorithm, order, solver_type):
    """20 steps, to the data (++) or to the first noise level; the walk rounds x to float32 in each step."""
    to_data = algorithm == "dpmsolver++"
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS, algorithm_type=algorithm, solver_order=order, solver_type=solver_type, timestep_spacing="linspace",
        final_sigmas_type="zero" if to_data else "sigma_min")
    scheduler.set_timesteps(20)
    times = scheduler.timesteps.numpy()
    their_own_in_float64(scheduler, times, 0.0 if to_data else sigmas_of([0])[0])
    x = normal(4, 3)
    sampler = Multistep(order, "sample" if to_data else "epsilon", 0.0, solver_type)
    got = sample(model, SCHEDULE, x, times, sampler, set_alpha_to_one=to_data)
    np.testing.assert_allclose(got, walked(scheduler, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("predicts, solver_type, to_data", [
    ("sample", "bh2", True), ("sample", "bh2", False), ("sample", "bh1", False), ("epsilon", "bh2", False), ("epsilon", "bh1", False),
])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_in_float64_is_theirs(order, predicts, solver_type, to_data):
    """12 steps."""
    scheduler = diffusers.UniPCMultistepScheduler(
        **BETAS, solver_order=order, solver_type=solver_type, predict_x0=predicts == "sample", timestep_spacing="trailing",
        final_sigmas_type="zero" if to_data else "sigma_min")
    scheduler.set_timesteps(12)
    times = scheduler.timesteps.numpy()
    their_own_in_float64(scheduler, times, 0.0 if to_data else sigmas_of([0])[0])
    x = normal(4, 3)
    got = sample(model, SCHEDULE, x, times, UniPC(order, predicts, solver_type), set_alpha_to_one=to_data)
    np.testing.assert_allclose(got, walked(scheduler, x), rtol=1e-6, atol=1e-6)


def test_their_unipc_with_bh1_is_nan_at_the_data():
    """B(h) = -h is infinite there and divided by; it divides out of our `UniPC`."""
    scheduler = diffusers.UniPCMultistepScheduler(**BETAS, solver_type="bh1", final_sigmas_type="zero")
    scheduler.set_timesteps(12)
    x = normal(4, 3)
    assert np.isnan(walked(scheduler, x)).all()
    assert np.isfinite(sample(model, SCHEDULE, x, scheduler.timesteps.numpy(), UniPC(2, "sample", "bh1"))).all()


OUTER = [900, 700, 450, 200, 50]


@dataclass(frozen=True)
class Theirs(SingleStep):
    """Their single-step family: one of two rules for the slope in every formula, where DPM-Solver-3 has one in each."""

    solver_type: str = "midpoint"

    def step(self, path, t, s, h):
        if math.isinf(h):
            return super().step(path, t, s, h)
        whole = exact_step(t, s, h, self.predicts)
        levels = [path.between(t.half_log_snr + r * h) for r in self.stages]
        parts = [exact_step(t, level, r * h, self.predicts) for r, level in zip(self.stages, levels)]
        first = Move(t, ahead=order_1(parts[0]))
        halves = self.solver_type == "midpoint"
        if len(self.stages) == 1:
            return [first, Move(levels[0], settle=sloped(whole, self.slope(whole, 1 / 2)), to=s)]
        if halves:
            last = sloped(whole, whole.moment(1) * 3 / 2, between=1)
        else:
            moments, nodes = [whole.moment(n) for n in range(3)], [-2 / 3, -1 / 3, 0.0]
            last = Row(whole.x, tuple(whole.scale * fitted(moments, nodes, j) for j in range(3)))
        return [first, Move(levels[0], ahead=sloped(parts[1], self.slope(parts[1], 1 / 2))), Move(levels[1], settle=last, to=s)]

    def slope(self, step, r):
        """The weight of D_1 - D_t in a step whose other prediction lies r of it ahead."""
        return (step.moment(0) / 2 if self.solver_type == "midpoint" else step.moment(1)) / r


def walked_single_step(scheduler, stages, x, steps=OUTER):
    """Their states at the times of `steps`, with as many stages between them as the order asks for, at these fractions in lambda."""
    lambdas = np.asarray(SCHEDULE.log_snr(np.array(steps, dtype=float))) / 2
    inner = [t + r * (s - t) for t, s in pairwise(lambdas) for r in (0.0, *stages)]
    sigmas = np.exp(-np.array([*inner, lambdas[-1]]))
    times = np.asarray(SCHEDULE.time_of(-2 * np.log(sigmas)))
    scheduler.set_timesteps(len(times))
    scheduler.sigmas, scheduler.timesteps = torch.from_numpy(np.append(sigmas, 0.0)), torch.from_numpy(times)
    scheduler.set_begin_index(0)
    x, states = torch.from_numpy(x), []
    for k, t in enumerate(scheduler.timesteps[:-1], start=1):
        x = scheduler.step(model(x, t), t, x).prev_sample
        if k % (1 + len(stages)) == 0:
            states.append(x.numpy())
    return states


def our_states(sampler, x, **options):
    states = []
    sample(model, SCHEDULE, x, OUTER, sampler, arrived=lambda i, level, x: states.append(x) or x, **options)
    return states[:len(OUTER) - 1]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "dpmsolver"])
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
def test_single_step_dpm_solver_is_theirs(solver_type, algorithm, order):
    """On a list with the stages where the paper has them. Order 2 "midpoint" is ours; the others take another slope, put into a variant.

    As published, DPM-Solver-3 has the exact integral in its second stage and a two-point slope at its end. Theirs has half the constant's
    integral and the two-point slope (midpoint), or the exact integral and the whole parabola (heun). All three are of order 3.
    """
    predicts, stages = "sample" if algorithm == "dpmsolver++" else "epsilon", {1: (), 2: (1 / 2,), 3: (1 / 3, 2 / 3)}[order]
    scheduler = diffusers.DPMSolverSinglestepScheduler(
        **BETAS, algorithm_type=algorithm, solver_order=order, solver_type=solver_type, lower_order_final=True,
        final_sigmas_type="zero" if predicts == "sample" else "sigma_min")
    x = normal(4, 3)
    theirs = walked_single_step(scheduler, stages, x)
    sampler = SingleStep(stages, predicts)
    np.testing.assert_allclose(our_states(Theirs(stages, predicts, solver_type=solver_type) if stages else sampler, x), theirs, **ROUNDING)
    if order == 1 or (order == 2 and solver_type == "midpoint"):
        np.testing.assert_allclose(our_states(sampler, x), theirs, **ROUNDING)


def test_their_single_step_sde_draws_independent_noise_and_ours_a_brownian_motion(monkeypatch):
    """Given draws correlated as one Brownian motion is at the middle and at the end of a step, theirs is k-diffusion's and ours."""
    scheduler = diffusers.DPMSolverSinglestepScheduler(**BETAS, algorithm_type="sde-dpmsolver++", lower_order_final=True,
                                                       final_sigmas_type="zero")
    x, noise = normal(4, 3), normal(8, 4, 3)
    lambdas = np.asarray(SCHEDULE.log_snr(np.array(OUTER, dtype=float))) / 2
    correlated = []
    for (a, b), h in zip(noise.reshape(4, 2, 4, 3), np.diff(lambdas)):
        shared = np.sqrt(np.expm1(-h / 2) / np.expm1(-h))
        correlated += [a, shared * a + np.sqrt(1 - shared**2) * b]
    drawing(monkeypatch, scheduler, correlated)
    np.testing.assert_allclose(our_states(DPMPP_SDE, x, noise=list(noise)), walked_single_step(scheduler, (1 / 2,), x), **ROUNDING)
