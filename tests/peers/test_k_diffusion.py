"""k-diffusion beside ours: lists of sigmas, sigmas and times of a discrete schedule, and its samplers that remember.

Its samplers that ask several times a step are in `test_singlestep_samplers`. It computes in the dtype it is given: in float64 what is left
is rounding, and every difference beyond that has a cause, named in the test.
"""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from peers.k_diffusion_alone import SIGMAS, denoise, load  # noqa: E402

from minidiff.diffusion import (  # noqa: E402
    DPMPP_2M,
    EDM,
    EULER,
    Cosine,
    Gaussian,
    Multistep,
    VariancePreserving,
    exponential_sigmas,
    karras_sigmas,
    make_schedule,
    sample,
    times_of_sigmas,
)

pytestmark = pytest.mark.peers


def ours(sampler, x, noise=()):
    return sample(denoise, EDM, x, SIGMAS, sampler, noise=list(noise), prediction_type="sample").numpy()


def theirs(name, x, **options):
    sigmas = torch.tensor([*SIGMAS, 0.0], dtype=torch.float64)
    return getattr(load("sampling"), name)(denoise, x, sigmas, disable=True, **options).numpy()


def states():
    return SIGMAS[0] * torch.randn(3, 4, dtype=torch.float64)


# -- samplers that remember ----------------------------------------------------------------------------------------------


def test_dpmpp_2m_is_theirs():
    """The published second-order method, in float64."""
    x = states()
    np.testing.assert_allclose(ours(DPMPP_2M, x), theirs("sample_dpmpp_2m", x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
def test_dpmpp_2m_sde_is_theirs(solver_type, eta):
    """Any amount of fresh noise, the same noise in both. Their "heun" is the exact integral: our default."""
    x, noise = states(), torch.randn(len(SIGMAS) - 1, 3, 4, dtype=torch.float64)
    draws = iter(noise)
    expected = theirs("sample_dpmpp_2m_sde", x, eta=eta, solver_type=solver_type, noise_sampler=lambda a, b: next(draws))
    noise = noise if eta else ()
    for name in (solver_type, "exact") if solver_type == "heun" else (solver_type,):
        np.testing.assert_allclose(ours(Multistep(2, eta=eta, solver_type=name), x, noise), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpmpp_3m_sde_is_theirs_with_half_of_the_curvature(eta):
    """Their d2 is half of a second derivative, used as the whole; so does our solver_type "heun". The whole gives something else."""
    x, noise = states(), torch.randn(len(SIGMAS) - 1, 3, 4, dtype=torch.float64)
    draws = iter(noise)
    expected = theirs("sample_dpmpp_3m_sde", x, eta=eta, noise_sampler=lambda a, b: next(draws))
    noise = noise if eta else ()
    np.testing.assert_allclose(ours(Multistep(3, eta=eta, solver_type="heun"), x, noise), expected, rtol=1e-9, atol=1e-12)
    assert abs(ours(Multistep(3, eta=eta), x, noise) - expected).max() > 1e-3


def test_dpmpp_3m_sde_is_of_order_two_there_and_three_here():
    """Errors on exact Gaussian data, without noise, from sigma 80 to 1: halved steps divide them by 4 there and by 8 here."""
    data, errors = Gaussian(0.3, 0.5), {"theirs": [], "ours": []}
    x = 80 * torch.randn(4, 3, dtype=torch.float64)
    model = data.model(EDM, "sample")
    for steps in (160, 320):
        sigmas = np.geomspace(80, 1, steps + 1)
        exact = data.flow(x.numpy(), EDM.level(80.0), EDM.level(1.0))
        walk = load("sampling").sample_dpmpp_3m_sde(
            lambda x, sigma: torch.from_numpy(model(x.numpy(), sigma.numpy())), x, torch.from_numpy(sigmas), disable=True, eta=0.0,
            noise_sampler=lambda a, b: 0.0)
        ends = []
        sample(model, EDM, x.numpy(), sigmas, Multistep(3), prediction_type="sample", arrived=lambda i, level, x, e=ends: e.append(x) or x)
        errors["theirs"].append(abs(walk.numpy() - exact).max())
        errors["ours"].append(abs(ends[steps - 1] - exact).max())
    orders = {name: math.log2(a / b) for name, (a, b) in errors.items()}
    assert orders["theirs"] < 2.3 and orders["ours"] > 2.7, orders


# -- lists of sigmas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 10, 100])
def test_sigma_lists_are_theirs_to_float32(n):
    """Karras's with any rho, and the exponential one; theirs begin with a float32 linspace. They end with the same 0."""
    sampling = load("sampling")
    for rho in (1.0, 3.0, 7.0):
        theirs = sampling.get_sigmas_karras(n, 0.02, 14.6, rho).numpy()
        rounded = rho * (14.6 / 0.02) ** (1 / rho) * 2**-24  # float32's rounding of the largest root, seen from the smallest
        np.testing.assert_allclose(theirs, karras_sigmas(n, 0.02, 14.6, rho), rtol=4 * rounded)
        assert theirs[-1] == 0
    np.testing.assert_allclose(sampling.get_sigmas_exponential(n, 0.02, 14.6).numpy(), exponential_sigmas(n, 0.02, 14.6), rtol=2e-6)
    np.testing.assert_allclose(sampling.get_sigmas_polyexponential(n, 0.02, 14.6).numpy(), exponential_sigmas(n, 0.02, 14.6), rtol=2e-6)


def test_one_karras_sigma_is_the_largest_in_both():
    """A list of one step."""
    np.testing.assert_allclose(load("sampling").get_sigmas_karras(1, 0.02, 14.6).numpy(), karras_sigmas(1, 0.02, 14.6), rtol=1e-6)


def test_vp_sigmas_are_those_of_the_continuous_process():
    """get_sigmas_vp: sigma / alpha of VariancePreserving at evenly spaced times down to 1e-3."""
    theirs = load("sampling").get_sigmas_vp(20).numpy()[:-1]
    process, times = VariancePreserving(), np.linspace(1, 1e-3, 20)
    np.testing.assert_allclose(theirs, process.sigma(times) / process.alpha(times), rtol=1e-3)  # expm1 in float32: exp(B) - 1 with B = 1e-4
    np.testing.assert_allclose(theirs[:-1], (process.sigma(times) / process.alpha(times))[:-1], rtol=1e-5)


# -- sigmas and times ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_times_of_sigmas_are_those_of_their_discrete_schedule(name):
    """Both interpolate log sigma between the steps of the schedule. In float64; their way back, t to sigma, rounds t to float32."""
    schedule = make_schedule(name, 1000)
    sigmas = schedule.sigma(np.arange(1000)) / schedule.alpha(np.arange(1000))
    discrete = load("external").DiscreteSchedule(torch.from_numpy(sigmas), quantize=False)
    wanted = karras_sigmas(50, sigmas[0], sigmas[-1])[:-1]
    times = times_of_sigmas(schedule, wanted)
    np.testing.assert_allclose(times, discrete.sigma_to_t(torch.from_numpy(wanted)).numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(discrete.t_to_sigma(torch.from_numpy(times)).numpy(), wanted, rtol=2e-3 if name[0] == "s" else 1e-4)


def test_a_discrete_schedule_walked_in_sigmas_is_the_schedule_walked_in_times():
    """Their denoiser around an epsilon network, on x / alpha, is the same walk as ours on x, with the network at the same times."""
    schedule = make_schedule("scaled_linear", 1000, beta_start=0.00085, beta_end=0.012)
    network = lambda x, t: torch.tanh(x - t[:, None] / 900)
    wrapped = load("external").DiscreteEpsDDPMDenoiser(network, torch.tensor(schedule.alphas_cumprod), quantize=False)
    sigmas = karras_sigmas(12, 0.05, 12.0)
    x = 12.0 * torch.randn(3, 4, dtype=torch.float64)
    theirs = load("sampling").sample_euler(wrapped, x, torch.from_numpy(sigmas), disable=True)
    times = times_of_sigmas(schedule, sigmas)
    got = sample(lambda x, t: network(x, t.double()), schedule, float(schedule.alpha(times[0])) * x, times, EULER)
    np.testing.assert_allclose(got.numpy(), theirs.numpy(), rtol=1e-8, atol=1e-10)


def test_the_v_denoiser_is_the_cosine_process():
    """VDenoiser's sigma = tan(t pi / 2): our `Cosine` without its offset; and one of its steps is ours with v_prediction."""
    wrapped = load("external").VDenoiser(lambda x, t: torch.tanh(2 * x + t[:, None]))
    x, sigma = torch.randn(3, 4, dtype=torch.float64), torch.full((3,), 1.7, dtype=torch.float64)
    t = float(wrapped.sigma_to_t(sigma)[0])
    process = Cosine(0.0)
    np.testing.assert_allclose(process.sigma(t) / process.alpha(t), 1.7, rtol=1e-12)
    x_t = float(process.alpha(t)) * x
    start = sample(lambda x, t: torch.tanh(2 * x + t[:, None]), process, x_t, [t], EULER, prediction_type="v_prediction")
    np.testing.assert_allclose(start.numpy(), wrapped(x, sigma).numpy(), rtol=1e-10)
