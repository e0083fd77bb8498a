"""diffusers' tables, lists of times and lists of sigmas beside ours: how far apart for every N from 1 to 1000, and why.

What agrees simply is in `test_diffusion_schedules`. Here every difference is counted and has its cause: rounding to float32, a
convention that our functions reproduce, or a bug that a wrong variant reproduces.
"""

from fractions import Fraction

import numpy as np
import pytest

from minidiff.diffusion import (
    EDM,
    Schedule,
    StraightLine,
    exponential_sigmas,
    karras_sigmas,
    make_schedule,
    sigma_range,
    times_of_sigmas,
    timesteps,
)

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.peers

T = 1000
EVERY_N = range(1, T + 1)
STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "num_train_timesteps": T, "beta_start": 0.00085, "beta_end": 0.012}
FLOAT32 = 2.0**-24
"""Half a unit in the last place of float32, relative."""


def float64(tensor):
    return tensor.double().numpy()


def every_list(scheduler_class, **options):
    """(N, the list of N times) for every N, from one scheduler."""
    scheduler = scheduler_class(**options)
    for N in EVERY_N:
        scheduler.set_timesteps(N)
        yield N, scheduler.timesteps.numpy()


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, beta_0", [("linear", 1e-4), ("scaled_linear", 1e-4), ("sigmoid", 1.5e-4), ("squaredcos_cap_v2", 4e-5)])
def test_tables_differ_by_what_float32_loses(name, beta_0):
    """betas and abar: a few roundings. 1 - abar, a difference of numbers near 1: a rounding of 1, relative to beta_0; sigma half of it."""
    theirs, ours = diffusers.DDPMScheduler(beta_schedule=name), make_schedule(name, T)
    assert abs(ours.betas[0] / beta_0 - 1) < 0.05
    np.testing.assert_allclose(float64(theirs.betas), ours.betas, rtol=10 * FLOAT32)
    cosine = name == "squaredcos_cap_v2"  # whose last steps are long, and whose betas are differences from 1 as well
    np.testing.assert_allclose(float64(theirs.alphas_cumprod), ours.alphas_cumprod, rtol=300 * FLOAT32 if cosine else 20 * FLOAT32)
    noise = float64(1 - theirs.alphas_cumprod) / ours.one_minus_alphas_cumprod - 1
    assert abs(noise).max() == abs(noise[0]) < FLOAT32 / beta_0
    assert abs(noise[0]) > 1e-5, "their 1 - abar_0 has become better: say so on the page"
    sigmas = float64(((1 - theirs.alphas_cumprod) / theirs.alphas_cumprod) ** 0.5) / np.exp(-ours.log_snrs / 2) - 1
    assert abs(sigmas).max() < FLOAT32 / beta_0 / 2 * 1.1


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
def test_tables_from_their_betas_in_float64_are_ours(name):
    """So the products are the same function, and only float32 stands between them."""
    betas = float64(diffusers.DDPMScheduler(beta_schedule=name).betas)
    ours = Schedule.from_betas(betas)
    np.testing.assert_allclose(np.cumprod(1 - betas), ours.alphas_cumprod, rtol=1e-12)
    np.testing.assert_allclose(1 - np.cumprod(1 - betas), ours.one_minus_alphas_cumprod, rtol=1e-11)


@pytest.mark.parametrize("options", [{"beta_schedule": "linear"}, STABLE_DIFFUSION], ids=["ho", "stable diffusion"])
def test_zero_terminal_snr_differs_by_what_float32_loses(options):
    """abar to 5e-7; relative to what is left of it at the last times, 4e-5. EulerDiscreteScheduler puts 2^-24 in the place of 0."""
    theirs = diffusers.DDIMScheduler(**options, rescale_betas_zero_snr=True).alphas_cumprod
    ours = make_schedule(**options, rescale_betas_zero_snr=True)
    np.testing.assert_allclose(float64(theirs), ours.alphas_cumprod, rtol=1e-4, atol=1e-12)
    assert abs(float64(theirs) - ours.alphas_cumprod).max() < 5e-7 and theirs[-1] == 0 == ours.alphas_cumprod[-1]
    euler = diffusers.EulerDiscreteScheduler(**options, rescale_betas_zero_snr=True)
    assert float(euler.alphas_cumprod[-1]) == 2**-24 and float(euler.sigmas[0]) == 4096  # sqrt(1 - 2^-24) rounds to 1


# -- lists of times, for every N ------------------------------------------------------------------------------------------

SAME_LISTS = ["DDIMScheduler", "DDPMScheduler", "PNDMScheduler"]


def half(numerator, denominator):
    """Which of numerator / denominator lie exactly halfway between two integers."""
    return 2 * numerator % (2 * denominator) == denominator


@pytest.mark.parametrize("name", [*SAME_LISTS, "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_trailing_differs_for_62_lengths_and_where_a_half_is_rounded(name):
    """Of 1000 N: 889 the same; 62 one time too many, -1, from arange's rounding; 49 with a time one off, only where T i / N is a half."""
    kinds = {"same": 0, "one more": [], "a half": 0}
    options = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    for N, theirs in every_list(getattr(diffusers, name), timestep_spacing="trailing", **options):
        if name == "PNDMScheduler" and N > 1:
            theirs = np.delete(theirs, 1)  # its second time is there twice, for the first step asks twice
        ours = timesteps(T, N, "trailing")
        if len(theirs) == N + 1:
            kinds["one more"].append(N)
            assert theirs[-1] == -1
            theirs = theirs[:-1]
        elif (theirs == ours).all():
            kinds["same"] += 1
            continue
        else:
            kinds["a half"] += 1
        i = np.arange(N, 0, -1)
        assert (abs(theirs - ours) == half(T * i, N))[theirs != ours].all()
    assert (kinds["same"], len(kinds["one more"]), kinds["a half"]) == (889, 62, 49)
    assert kinds["one more"][:5] == [61, 103, 121, 122, 201]


def test_the_62_lengths_are_those_of_a_rounded_arange():
    """np.arange(T, 0, -T / N) has ceil(T / (T / N)) entries, one too many where the rounded quotient exceeds N: the cause, alone."""
    wrong = [N for N in EVERY_N if np.ceil(T / (T / N)) > N]
    assert len(wrong) == 62 and wrong[:5] == [61, 103, 121, 122, 201]
    assert all(Fraction(T) / (Fraction(T) / N) == N for N in wrong)


@pytest.mark.parametrize("name", SAME_LISTS)
def test_linspace_differs_for_one_step_and_where_a_half_is_rounded(name):
    """Of 1000 N: 907 the same; 92 with a time one off, only where (T - 1) i / (N - 1) is a half; N = 1 is [0] there, pure noise here."""
    same = halves = 0
    options = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    for N, theirs in every_list(getattr(diffusers, name), timestep_spacing="linspace", **options):
        if name == "PNDMScheduler" and N > 1:
            theirs = np.delete(theirs, 1)
        ours = timesteps(T, N, "linspace")
        if N == 1:
            assert theirs.tolist() == [0] and ours.tolist() == [T - 1]
            continue
        same += (theirs == ours).all()
        halves += (theirs != ours).any()
        assert (abs(theirs - ours) == half((T - 1) * np.arange(N - 1, -1, -1), N - 1))[theirs != ours].all()
    assert (same, halves) == (907, 92)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"])
def test_linspace_of_the_sigma_schedulers_is_not_rounded(name):
    """Their times are T - 1 times i / (N - 1) in float32: fractions for 991 N. Ours rounded are the nearest integers, ties apart."""
    fractions = 0
    for N, theirs in every_list(getattr(diffusers, name), timestep_spacing="linspace"):
        if N > 1:
            np.testing.assert_allclose(theirs, np.linspace(T - 1, 0, N), rtol=1e-6, atol=1e-4)
            assert abs(theirs - timesteps(T, N, "linspace")).max() <= 0.5 + 1e-4
            fractions += (theirs != np.round(theirs)).any()
    assert fractions == 991


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_multistep_schedulers_take_a_list_of_one_more_and_drop_its_last(name):
    """linspace and leading of N are ours of N + 1 without the last: the data has its place among the times. N = T has a time twice."""
    for spacing in ("linspace", "leading"):
        for N, theirs in every_list(getattr(diffusers, name), timestep_spacing=spacing):
            if N == T:
                assert len(set(theirs.tolist())) < N
            else:
                ours = timesteps(T, N + 1, spacing)[:-1]
                exact = Fraction(T - 1, N)
                halves = np.array([spacing == "linspace" and (2 * i * exact).denominator == 1 and (i * exact).denominator == 2
                                   for i in range(N, 0, -1)])
                assert (abs(theirs - ours) <= halves).all()


def test_leading_is_the_same_for_every_scheduler_of_a_list_and_every_length():
    """All 1000 N, in integers in both."""
    for name in (*SAME_LISTS, "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"):
        options = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
        for N, theirs in every_list(getattr(diffusers, name), timestep_spacing="leading", **options):
            if name == "PNDMScheduler" and N > 1:
                theirs = np.delete(theirs, 1)
            assert (theirs == timesteps(T, N, "leading")).all()


# -- the time before ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing, offset, wrong, unfinished", [
    ("leading", 0, 0, 0), ("leading", 1, 0, 500), ("trailing", 0, 984, 372), ("linspace", 0, 998, 0),
])
def test_their_time_before_is_the_next_of_the_list_for_few_lengths(spacing, offset, wrong, unfinished):
    """DDIM's t - T // N: for how many N it misses an entry of its own list, and for how many its last step ends short of the data.

    It then ends at time 0 or later, whatever set_alpha_to_one says: for leading with steps_offset 1 whenever N > 500, T // N being 1.
    """
    misses = short = 0
    for N, times in every_list(diffusers.DDIMScheduler, timestep_spacing=spacing, steps_offset=offset):
        before = times - T // N
        misses += (before[:-1] != times[1:]).any()
        short += before[-1] >= 0
    assert (misses, short) == (wrong, unfinished)


# -- lists of sigmas ------------------------------------------------------------------------------------------------------

SIGMA_SCHEDULERS = ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
                    "LMSDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler"]


def their_sigmas(scheduler):
    """Each once, noisiest first."""
    return np.unique(float64(scheduler.sigmas))[::-1]


@pytest.mark.parametrize("kind, make", [("karras", karras_sigmas), ("exponential", exponential_sigmas)])
@pytest.mark.parametrize("name", SIGMA_SCHEDULERS)
def test_sigma_lists_are_theirs_between_the_ends_of_the_schedule(name, kind, make):
    """To float32: 3e-4, almost all of it sigma_min's. Theirs differ only in the model's time: see the next test."""
    scheduler = getattr(diffusers, name)(**STABLE_DIFFUSION, **{f"use_{kind}_sigmas": True})
    for N in (5, 20):
        scheduler.set_timesteps(N)
        ours = make(N, *sigma_range(make_schedule(**STABLE_DIFFUSION)))
        theirs = their_sigmas(scheduler)
        np.testing.assert_allclose(theirs[:N], ours[:-1], rtol=3e-4, err_msg=name)


@pytest.mark.parametrize("kind, make", [("karras", karras_sigmas), ("exponential", exponential_sigmas)])
@pytest.mark.parametrize("name", SIGMA_SCHEDULERS)
def test_the_times_of_their_sigmas_are_ours_or_those_made_whole(name, kind, make):
    """log sigma is interpolated in both, theirs in float32. Some then round the time that the model is told, or cut it off.

    With Karras's list KDPM2, DPM-Solver and UniPC round, up to half a time off; with the exponential one DPM-Solver and UniPC cut off, up
    to a whole one: 998 for sigma_max, the sigma of 999. Euler, Heun and LMS keep the fraction, as k-diffusion and we do.
    """
    scheduler, schedule = getattr(diffusers, name)(**STABLE_DIFFUSION, **{f"use_{kind}_sigmas": True}), make_schedule(**STABLE_DIFFUSION)
    scheduler.set_timesteps(12)
    ours, theirs = times_of_sigmas(schedule, make(12, *sigma_range(schedule))), float64(scheduler.timesteps)
    theirs = theirs if len(theirs) == 12 else np.append(theirs[:1], theirs[2::2])  # those that ask twice a step
    whole = "Multistep" in name or "Singlestep" in name
    if kind == "karras" and (whole or "KDPM2" in name):
        assert (theirs == np.round(ours)).all()
    elif whole:
        assert (theirs == np.floor(ours - 2e-3)).sum() >= 11 and theirs[0] == T - 2 and ours[0] == T - 1
    else:
        np.testing.assert_allclose(theirs, ours, atol=3e-3)


def test_rounded_times_come_twice_with_the_cosine_schedule():
    """diffusers #12771: Karras's list of 20 between the ends of this schedule, whose sigmas reach 2e4; ours are 20 different times."""
    scheduler = diffusers.DPMSolverMultistepScheduler(beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    schedule = make_schedule("squaredcos_cap_v2", T)
    assert len(set(scheduler.timesteps.tolist())) < 20
    assert (np.diff(times_of_sigmas(schedule, karras_sigmas(20, *sigma_range(schedule)))) < 0).all()


def test_between_two_times_they_interpolate_sigma_and_we_its_logarithm():
    """linspace, 7 steps: the noise level at their fractional times is the chord's, above ours; found again by interpolating sigma."""
    schedule = make_schedule(**STABLE_DIFFUSION)
    scheduler = diffusers.EulerDiscreteScheduler(**STABLE_DIFFUSION, timestep_spacing="linspace")
    scheduler.set_timesteps(7)
    times, theirs = float64(scheduler.timesteps), float64(scheduler.sigmas)[:-1]
    every = np.exp(-schedule.log_snrs / 2)
    ours = np.exp(-np.asarray(schedule.log_snr(times)) / 2)
    np.testing.assert_allclose(theirs, np.interp(times, np.arange(T), every), rtol=1e-4)
    assert 0 < (theirs / ours - 1)[1:-1].max() < 1e-4  # neighbouring times of 1000 are too close for it to matter
    coarse = make_schedule("scaled_linear", 20)  # of 20 they are not
    scheduler = diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", num_train_timesteps=20, timestep_spacing="linspace")
    scheduler.set_timesteps(7)
    apart = float64(scheduler.sigmas)[:-1] / np.exp(-np.asarray(coarse.log_snr(float64(scheduler.timesteps))) / 2) - 1
    assert 1e-3 < apart.max() < 0.1


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
@pytest.mark.parametrize("kind, make", [("karras", karras_sigmas), ("exponential", exponential_sigmas)])
def test_edm_schedulers_have_our_sigmas(name, kind, make):
    """sigma 0.002 to 80, as in the paper; their time is c_noise, ln(sigma) / 4, of our EDM time sigma."""
    for N in (2, 18, 100):
        scheduler = getattr(diffusers, name)(sigma_schedule=kind)
        scheduler.set_timesteps(N)
        np.testing.assert_allclose(float64(scheduler.sigmas), make(N), rtol=2e-5)
        np.testing.assert_allclose(float64(scheduler.timesteps), np.log(times_of_sigmas(EDM, make(N))) / 4, rtol=1e-5, atol=1e-5)


def test_the_walk_begins_with_sigma_max_times_the_noise_in_the_paper():
    """EDM, Algorithm 2, line 2: N(0, t_0^2 I). Theirs is sqrt(sigma_max^2 + 1), right for x / alpha of a variance preserving process only.

    At sigma_max = 80 that is 8e-5 too much, at Stable Diffusion's 14.6 with "leading" 2e-3.
    """
    for scheduler in (diffusers.EDMEulerScheduler(), diffusers.EDMDPMSolverMultistepScheduler()):
        assert float(scheduler.init_noise_sigma) == pytest.approx(np.hypot(80, 1))
    for name in ("Euler", "EulerAncestral", "Heun"):
        options = STABLE_DIFFUSION | {"timestep_spacing": "linspace"}
        exact = sigma_range(make_schedule(**STABLE_DIFFUSION))[1]
        scheduler = getattr(diffusers, f"{name}DiscreteScheduler")
        assert float(scheduler(**options).init_noise_sigma) == pytest.approx(exact, rel=1e-6)
        assert float(scheduler(**options | {"timestep_spacing": "leading"}).init_noise_sigma) == pytest.approx(np.hypot(exact, 1), rel=1e-6)


# -- flow matching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 4, 28, 1000])
def test_flow_matching_s_times_are_evenly_spaced_down_to_the_first_of_training(N):
    """Without shift: from 1 to 1 / T in N times, then 0; they are times of a `StraightLine`. One step starts at 1."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(N)
    np.testing.assert_allclose(float64(scheduler.sigmas), [*np.linspace(1, 1 / T, N), 0], rtol=1e-6)
    np.testing.assert_allclose(float64(scheduler.timesteps), T * StraightLine().sigma(np.linspace(1, 1 / T, N)), rtol=1e-6)


@pytest.mark.parametrize("shift", [3.0, 0.5])
def test_their_shift_of_flow_matching_is_applied_twice_at_the_end(shift):
    """diffusers #13243: the ends of the list are shifted when it is made, and again when it is walked. A variant that does so is theirs."""

    def shifted(sigma):
        return shift * sigma / (1 + (shift - 1) * sigma)

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(10)
    theirs = float64(scheduler.sigmas)[:-1]
    np.testing.assert_allclose(theirs, shifted(np.linspace(1, shifted(1 / T), 10)), rtol=1e-5)
    once = shifted(np.linspace(1, 1 / T, 10))  # Esser et al. 2024, Eq. 23
    assert theirs[-1] / once[-1] == pytest.approx(shift, rel=0.01)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / T, 10))
    np.testing.assert_allclose(float64(scheduler.sigmas)[:-1], once, rtol=1e-5)  # a list that is given is shifted once
