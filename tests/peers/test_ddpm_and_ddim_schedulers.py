"""diffusers' DDPM, DDIM, inverse DDIM and PNDM beside ours: the same model, the same noise, whole walks."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from peers.scheduler_walks import BETAS, FLOAT32, ROUNDING, SCHEDULE, T, drawing, in_float64, model, normal, walked, with_variance  # noqa: E402

from minidiff.diffusion import (  # noqa: E402
    DDIM,
    DDPM,
    PLMS,
    PNDM,
    Ancestral,
    Gaussian,
    ddim_inversion,
    dynamic_threshold,
    make_schedule,
    path,
    sample,
    timesteps,
)

pytestmark = pytest.mark.peers


# -- DDPM ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_small_log", "fixed_large", "learned_range"])
def test_ddpm_is_theirs(variance_type, prediction_type, clip, monkeypatch):
    """10 of 1000 steps that end at time 0, each variance, each prediction, clipped or not; "fixed_small_log" is the same as fixed_small."""
    learned = variance_type == "learned_range"
    asked = with_variance if learned else model
    x, noise = normal(4, 3, 2), normal(10, 4, 3, 2)
    sampler = Ancestral(1.0, variance_type.removesuffix("_log"))
    scheduler = diffusers.DDPMScheduler(**BETAS, variance_type=variance_type, prediction_type=prediction_type, clip_sample=clip)
    scheduler.set_timesteps(10)
    got = sample(asked, SCHEDULE, x, scheduler.timesteps.numpy(), sampler, noise=list(noise[:9]), prediction_type=prediction_type,
                 clip_denoised=clip)
    drawing(monkeypatch, scheduler, noise)
    np.testing.assert_allclose(got, walked(scheduler, x, asked), **FLOAT32)
    in_float64(scheduler)
    drawing(monkeypatch, scheduler, noise)
    np.testing.assert_allclose(got, walked(scheduler, x, asked), **ROUNDING)


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_ddpm_takes_the_next_of_the_list_as_we_do(spacing, monkeypatch):
    """7 steps, which do not divide 1000: since diffusers #9384 DDPM looks the time before up, as we do."""
    x, noise = normal(4, 3), normal(7, 4, 3)
    scheduler = diffusers.DDPMScheduler(**BETAS, clip_sample=False, timestep_spacing=spacing)
    scheduler.set_timesteps(7)
    in_float64(scheduler)
    drawing(monkeypatch, scheduler, noise)
    got = sample(model, SCHEDULE, x, scheduler.timesteps.numpy(), DDPM, noise=list(noise[:6]))
    np.testing.assert_allclose(got, walked(scheduler, x), **ROUNDING)


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large", "learned_range"])
def test_their_ddpm_adds_noise_to_the_finished_data_unless_the_list_ends_at_time_0(variance_type, monkeypatch):
    """Ho et al.'s Algorithm 2 adds none at the last step. Theirs asks whether t > 0, and "trailing" ends at 99 of 1000 in 10 steps.

    With fixed_large the noise left on the data is that of the whole last step, sqrt(1 - abar_99) = 0.32; with learned_range a power of it
    that the model chooses; fixed_small adds 1e-10.
    """
    learned = variance_type == "learned_range"
    asked = with_variance if learned else model
    x, noise = normal(4, 3), normal(10, 4, 3)
    scheduler = diffusers.DDPMScheduler(**BETAS, variance_type=variance_type, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    in_float64(scheduler)
    drawing(monkeypatch, scheduler, noise)
    states = []
    got = sample(asked, SCHEDULE, x, timesteps(T, 10), Ancestral(1.0, variance_type), noise=list(noise[:9]),
                 callback=lambda i, t, x, start: states.append(x))
    left = SCHEDULE.one_minus_alphas_cumprod[99]
    std = {"fixed_small": 1e-10, "fixed_large": np.sqrt(left)}.get(variance_type)
    if learned:
        u = (with_variance(states[-1], 99)[:, 3:] + 1) / 2
        std = np.exp((u * np.log(left) + (1 - u) * np.log(1e-20)) / 2)
    np.testing.assert_allclose(walked(scheduler, x, asked), got + std * noise[9], **ROUNDING)
    assert np.sqrt(left) == pytest.approx(0.32, abs=0.005)


def test_their_learned_variance_is_a_variance_and_ours_its_logarithm(monkeypatch):
    """Nichol & Dhariwal's models say log variances. Given exp of what ours is given, theirs does the same."""
    x, noise = normal(4, 3), normal(10, 4, 3)
    scheduler = diffusers.DDPMScheduler(**BETAS, variance_type="learned", clip_sample=False)
    scheduler.set_timesteps(10)
    in_float64(scheduler)
    drawing(monkeypatch, scheduler, noise)

    def variances(x, t):
        return torch.cat([model(x, t), torch.exp(torch.tanh(x - 0.3))], 1)

    got = sample(with_variance, SCHEDULE, x, scheduler.timesteps.numpy(), Ancestral(1.0, "learned"), noise=list(noise[:9]))
    np.testing.assert_allclose(got, walked(scheduler, x, variances), **ROUNDING)


def test_their_fixed_large_log_is_nan(monkeypatch):
    """diffusers #14569: the square root of a negative logarithm. fixed_large is what it means."""
    scheduler = diffusers.DDPMScheduler(**BETAS, variance_type="fixed_large_log")
    scheduler.set_timesteps(10)
    drawing(monkeypatch, scheduler, normal(10, 4, 3))
    assert np.isnan(walked(scheduler, normal(4, 3))).all()


def test_dynamic_thresholding_is_theirs():
    """Any ratio and any largest value. Their default, sample_max_value = 1, only clips."""
    x = 3 * normal(4, 3, 5)
    for ratio, largest in ((0.995, 1.0), (0.9, 1.5), (0.7, 10.0)):
        scheduler = diffusers.DDPMScheduler(thresholding=True, dynamic_thresholding_ratio=ratio, sample_max_value=largest)
        theirs = scheduler._threshold_sample(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(dynamic_threshold(x, ratio, largest), theirs, rtol=1e-12)
        assert largest > 1 or (theirs == x.clip(-1, 1)).all()


# -- DDIM ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_data", [True, False])
@pytest.mark.parametrize("clip, rederive", [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim_is_theirs(eta, prediction_type, clip, rederive, to_data):
    """10 steps, any noise; use_clipped_model_output is our rederive_epsilon, with another default; set_alpha_to_one has its name."""
    x, noise = normal(4, 3), normal(10, 4, 3)
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=clip, set_alpha_to_one=to_data, prediction_type=prediction_type)
    scheduler.set_timesteps(10)
    options = {"noise": list(noise[:9])} if eta else {}
    got = sample(model, SCHEDULE, x, scheduler.timesteps.numpy(), Ancestral(eta), prediction_type=prediction_type, clip_denoised=clip,
                 rederive_epsilon=rederive, set_alpha_to_one=to_data, **options)

    def theirs():
        walk, draws = torch.from_numpy(x), iter(torch.from_numpy(noise))
        for t in scheduler.timesteps:
            options = {"eta": eta, "use_clipped_model_output": rederive, "variance_noise": next(draws)}
            walk = scheduler.step(model(walk, t), t, walk, **options).prev_sample
        return walk.numpy()

    np.testing.assert_allclose(got, theirs(), **FLOAT32)
    in_float64(scheduler, last=1.0 if to_data else SCHEDULE.alphas_cumprod[0])
    np.testing.assert_allclose(got, theirs(), **ROUNDING)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_from_zero_terminal_snr_is_theirs(eta):
    """alpha = 0 at the first step, with v_prediction."""
    schedule, x, noise = make_schedule(**BETAS, rescale_betas_zero_snr=True), normal(4, 3), normal(10, 4, 3)
    scheduler = diffusers.DDIMScheduler(**BETAS, rescale_betas_zero_snr=True, clip_sample=False, timestep_spacing="trailing",
                                        prediction_type="v_prediction")
    scheduler.set_timesteps(10)
    in_float64(scheduler, schedule)
    walk, draws = torch.from_numpy(x), iter(torch.from_numpy(noise))
    for t in scheduler.timesteps:
        walk = scheduler.step(model(walk, t), t, walk, eta=eta, variance_noise=next(draws)).prev_sample
    options = {"noise": list(noise[:9])} if eta else {}
    got = sample(model, schedule, x, timesteps(T, 10), Ancestral(eta), prediction_type="v_prediction", **options)
    np.testing.assert_allclose(got, walk.numpy(), **ROUNDING)


def ddim_from_to(x, steps, model=model):
    """DDIM as printed, from each time to the one beside it; a negative time before is the data, a negative time counts from the end."""
    for t, before in steps:
        abar, abar_before = SCHEDULE.alphas_cumprod[t], SCHEDULE.alphas_cumprod[before] if before >= 0 else 1.0
        eps = model(x, t)
        x = np.sqrt(abar_before) * (x - np.sqrt(1 - abar) * eps) / np.sqrt(abar) + np.sqrt(1 - abar_before) * eps
    return x


@pytest.mark.parametrize("spacing, offset, N", [
    ("trailing", 0, 7), ("trailing", 0, 30), ("trailing", 0, 61), ("linspace", 0, 10), ("linspace", 0, 50), ("leading", 1, 600),
])
def test_their_ddim_steps_to_t_minus_T_over_N_and_ours_to_the_next_of_the_list(spacing, offset, N):
    """diffusers #9261, #11347, #12633. One loop, two lists of the times before: with t - T // N it is theirs, with the next entry ours.

    61 steps of "trailing" are 62 there, the last at time -1: the noisiest of the table.
    """
    x = normal(4, 3)
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, timestep_spacing=spacing, steps_offset=offset)
    scheduler.set_timesteps(N)
    in_float64(scheduler)
    times = scheduler.timesteps.tolist()
    np.testing.assert_allclose(walked(scheduler, x), ddim_from_to(x, [(t, t - T // N) for t in times]), **ROUNDING)
    own = [t for t in times if t >= 0]
    got = sample(model, SCHEDULE, x, own, DDIM)
    np.testing.assert_allclose(got, ddim_from_to(x, zip(own, [*own[1:], -1])), **ROUNDING)
    assert abs(got - walked(scheduler, x)).max() > 1e-4


@pytest.mark.parametrize("spacing, N, factor", [("linspace", 10, 3.51), ("linspace", 25, 1.74), ("trailing", 7, 1.02)])
def test_the_model_is_told_less_noise_than_their_ddim_has_left(spacing, N, factor):
    """The sigma of the time stepped to, over that of the time told next, at its worst: with 10 steps of linspace, time 11 and time 0."""
    scheduler = diffusers.DDIMScheduler(**BETAS, timestep_spacing=spacing)
    scheduler.set_timesteps(N)
    times = scheduler.timesteps.numpy()
    assert (SCHEDULE.sigma(times[:-1] - T // N) / SCHEDULE.sigma(times[1:])).max() == pytest.approx(factor, rel=0.05)


def test_their_62nd_step_of_61_destroys_the_samples():
    """Gaussian data of std 1/2, the perfect model: theirs ends with a std of 0.008, ours with 0.475 and the exact flow with 0.501."""
    data, x = Gaussian(0.0, 0.5), np.ones((1, 1))
    perfect = data.model(SCHEDULE)
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(61)
    in_float64(scheduler)
    theirs = walked(scheduler, x, lambda x, t: torch.from_numpy(perfect(x.numpy(), int(t) % T)))
    ours = sample(perfect, SCHEDULE, x, timesteps(T, 61), DDIM)
    exact = data.flow(x, SCHEDULE.level(T - 1), path(SCHEDULE, [0]).levels[-1])
    assert (theirs.item(), ours.item(), exact.item()) == pytest.approx((0.0083, 0.4749, 0.5009), abs=1e-4)


@pytest.mark.parametrize("to_data", [True, False])
def test_ddim_inversion_is_theirs_asked_at_the_end(to_data):
    """From data up to time 900 in 10 steps; each asks eps at the time to which it leads, our asked_at="end"."""
    x = normal(4, 3)
    scheduler = diffusers.DDIMInverseScheduler(**BETAS, clip_sample=False, set_alpha_to_one=to_data)
    scheduler.set_timesteps(10)
    in_float64(scheduler, last=1.0 if to_data else SCHEDULE.alphas_cumprod[0])
    times = scheduler.timesteps.numpy()[::-1]
    got = ddim_inversion(model, SCHEDULE, x, times, asked_at="end", set_alpha_to_one=to_data)
    np.testing.assert_allclose(got, walked(scheduler, x), **ROUNDING)


def test_their_inversion_reads_v_at_the_level_of_x_and_ours_at_the_time_asked():
    """v means eps only together with a level. Told the time above, the model speaks of that level; theirs reads it with the level below."""
    x = normal(4, 3)
    scheduler = diffusers.DDIMInverseScheduler(**BETAS, clip_sample=False, prediction_type="v_prediction")
    scheduler.set_timesteps(10)
    in_float64(scheduler)
    times = scheduler.timesteps.numpy()[::-1]
    below = dict(pairwise([*times.tolist(), None]))

    def read_below(x, t):
        """eps as theirs reads it."""
        t = int(np.asarray(t).flat[0])
        alpha, sigma = (1.0, 0.0) if below[t] is None else (SCHEDULE.alpha(below[t]), SCHEDULE.sigma(below[t]))
        return alpha * model(x, t) + sigma * x

    theirs = walked(scheduler, x)
    np.testing.assert_allclose(ddim_inversion(read_below, SCHEDULE, x, times, asked_at="end"), theirs, **ROUNDING)
    ours = ddim_inversion(model, SCHEDULE, x, times, asked_at="end", prediction_type="v_prediction")
    assert abs(ours - theirs).max() > 1e-2


@pytest.mark.parametrize("sampler", [PNDM, PLMS], ids=["PNDM", "PLMS"])
def test_pndm_and_plms_in_float64_are_theirs(sampler):
    """10 of 1000 steps, where their time before is the next of the list."""
    scheduler = diffusers.PNDMScheduler(**BETAS, skip_prk_steps=sampler.skip_prk_steps, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    in_float64(scheduler)
    x = normal(4, 3)
    np.testing.assert_allclose(sample(model, SCHEDULE, x, range(900, -1, -100), sampler), walked(scheduler, x), **ROUNDING)
