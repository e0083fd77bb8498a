"""Editing with a given model: inpainting and RePaint, SDEdit, inversion. The models are exact, so the edits' errors are their own."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.autograd import Tensor
from minidiff.diffusion import (
    DDIM,
    DDPM,
    DDPM_LARGE,
    EDM,
    HEUN,
    PREDICTION_TYPES,
    Gaussian,
    Inversion,
    Mixture,
    Plan,
    Schedule,
    StraightLine,
    counterfactual,
    ddim_inversion,
    inpaint,
    make_schedule,
    outpainting_canvas,
    path,
    q_posterior_mean_variance,
    q_step,
    reconstruction_error,
    repaint_schedule,
    sample,
    sdedit,
    sdedit_times,
)
from minidiff.diffusion.editing.inpainting import noising
from minidiff.random import Generator

SHORT = make_schedule("linear", 12, beta_start=0.01, beta_end=0.7)
MIXTURE = Mixture([0.4, 0.6], [[-1.0, 0.5], [0.8, 0.0]], [0.4, 0.3])


class Counting:
    """A generator that counts its draws."""

    def __init__(self, value=None):
        self.count, self.value = 0, value

    def standard_normal(self, shape, dtype):
        self.count += 1
        return np.random.default_rng().standard_normal(shape).astype(dtype) if self.value is None else np.full(shape, self.value, dtype)


def points(n=3, dtype=np.float64):
    return np.random.default_rng().standard_normal((n, 2)).astype(dtype)


# -- the schedule of RePaint -------------------------------------------------------------------------------------------


def published_schedule(steps, jump_length, jump_n_sample):
    """The times t of the published code, in which t = -1 is the data: down one by one; a budget of jumps at every jump_length-th t."""
    budget = {t: jump_n_sample - 1 for t in range(0, steps - jump_length, jump_length)}
    t, visited = steps, []
    while t >= 1:
        t -= 1
        visited.append(t)
        if budget.get(t, 0) > 0:
            budget[t] -= 1
            for _ in range(jump_length):
                t += 1
                visited.append(t)
    return [*visited, -1]


@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 5))
def test_the_schedule_of_repaint_is_the_published_one(steps, jump_length, jump_n_sample):
    """A transcription of the published loop, in its own count of times."""
    jump_length = min(jump_length, steps - 1)
    visits = repaint_schedule(steps, jump_length, jump_n_sample)
    assert [steps - 1 - position for position in visits] == published_schedule(steps, jump_length, jump_n_sample)


def test_the_schedule_of_the_paper_s_setting():
    """250 steps, jumps of 10, 10 times: 2410 calls of the model, 9.6 times as many."""
    visits = repaint_schedule(250, 10, 10)
    assert visits[:12] == list(range(12)) and visits[-1] == 250
    assert sum(b > a for a, b in pairwise(visits)) == 250 + 24 * 9 * 10
    assert all(abs(a - b) == 1 for a, b in pairwise(visits))


# -- replacement and resampling ----------------------------------------------------------------------------------------


def naive_repaint(model, schedule, x, known, mask, jump_n_sample, noise):
    """Lugmayr et al. 2022, Algorithm 1, one step at a time, with Eq. 8a's square root; Ho's posterior of neighbouring times."""
    rest = iter(noise)
    ts = published_schedule(schedule.num_train_timesteps, 1, jump_n_sample)
    for t, after in pairwise(ts):
        if after < t:
            abar = schedule.alphas_cumprod[t]
            start = (x - np.sqrt(1 - abar) * model(x, np.full(len(x), t))) / np.sqrt(abar)
            mean, variance, _ = q_posterior_mean_variance(schedule, start, x, t)
            x = mean + (np.sqrt(variance) * next(rest) if t > 0 else 0)
            abar = schedule.alphas_cumprod_prev[t]
            x = mask * (np.sqrt(abar) * known + (np.sqrt(1 - abar) * next(rest) if t > 0 else 0)) + (1 - mask) * x
        else:
            x = q_step(schedule, x, after, next(rest))
    assert next(rest, None) is None
    return x


@pytest.mark.parametrize("jump_n_sample", [1, 2, 4])
def test_inpainting_is_the_paper_s_algorithm(jump_n_sample):
    """Algorithm 1 written out, with the same noise; a mask with a value in between."""
    x, known, mask = points(), points(), np.array([[1.0, 0.0], [0.0, 1.0], [0.3, 1.0]])
    ups = 11 * (jump_n_sample - 1)
    noise = list(np.random.default_rng().standard_normal((2 * (11 + ups) + ups, 3, 2)))
    arguments = MIXTURE.model(SHORT), SHORT, x
    got = inpaint(*arguments, range(11, -1, -1), known, mask, jump_n_sample=jump_n_sample, noise=noise)
    np.testing.assert_allclose(got, naive_repaint(*arguments, known, mask, jump_n_sample, noise), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(got[mask == 1], known[mask == 1])


@given(st.integers(0, 11), st.integers(1, 12))
def test_a_long_jump_is_many_steps_of_the_forward_process(high, length):
    """Factor and variance of one jump, and of the recursion over the betas."""
    low = min(high + length, 12)
    factor, variance = 1.0, 0.0
    for t in range(12 - low, 12 - high):
        factor, variance = factor * math.sqrt(SHORT.alphas[t]), variance * SHORT.alphas[t] + SHORT.betas[t]
    got_factor, got_std = noising(path(SHORT, range(11, -1, -1)), low, high)
    assert got_factor == pytest.approx(factor, rel=1e-13) and got_std**2 == pytest.approx(variance, rel=1e-13)


SHORT_WALKS = [(EDM, [8.0, 3.0, 1.0, 0.3, 0.1]), (StraightLine(), [1.0, 0.7, 0.4, 0.1]), (SHORT, [11, 8, 4, 1])]


@pytest.mark.parametrize("process, times", SHORT_WALKS)
@pytest.mark.parametrize("sampler", [DDPM, DDIM, HEUN], ids=["ddpm", "ddim", "heun"])
def test_what_is_known_stays_and_the_noise_is_counted(process, times, sampler):
    """Known data comes out bit for bit; generator and list draw equally often; the same noise gives the same result."""
    if process == StraightLine() and sampler is HEUN:
        times = times[1:]
    known, mask, draws = points(), np.array([[1, 0]]), Counting(0.5)
    options = {"jump_length": 2, "jump_n_sample": 3, "prediction_type": "v_prediction"}
    arguments = MIXTURE.model(process, "v_prediction"), process, points(), times, known, mask, sampler
    drawn = inpaint(*arguments, **options, generator=draws)
    given_ = inpaint(*arguments, **options, noise=[np.full((3, 2), 0.5)] * draws.count)
    np.testing.assert_array_equal(drawn, given_)
    np.testing.assert_array_equal(drawn[:, 0], known[:, 0])
    with pytest.raises(ValueError, match=f"inpaint: expected {draws.count} arrays of noise, one for each draw, got 1"):
        inpaint(*arguments, **options, noise=[points()])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masks_of_any_kind_mean_the_same(dtype):
    """Booleans, integers, floats, one for all or each its own; the dtype of x is kept and its memory untouched."""
    x, known = (np.random.default_rng().standard_normal((2, 3, 4, 5)).astype(dtype)[:, :, ::-1] for _ in range(2))
    x.setflags(write=False)
    model, keep = Gaussian().model(SHORT), np.arange(20).reshape(4, 5) % 3 == 0
    results = [
        inpaint(model, SHORT, x, [11, 5, 0], known, mask, generator=Counting(0.25))
        for mask in (keep, keep.astype(int), keep.astype(np.float32), np.broadcast_to(keep, x.shape), keep.tolist())
    ]
    for result in results:
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, results[0])
        np.testing.assert_array_equal(result[:, :, keep], known[:, :, keep])


def test_inpainting_works_on_tensors():
    """The result is a Tensor with the same numbers."""
    x, known = points(), points()
    arguments = SHORT, [11, 5, 0]
    got = inpaint(MIXTURE.model(SHORT), arguments[0], Tensor(x), arguments[1], Tensor(known), [1, 0], DDIM, noise=[Tensor(x)] * 2)
    expected = inpaint(MIXTURE.model(SHORT), arguments[0], x, arguments[1], known, [1, 0], DDIM, noise=[x] * 2)
    assert isinstance(got, Tensor)
    np.testing.assert_allclose(got.data, expected, rtol=1e-14)


# -- how wrong replacement is, and what resampling does about it -------------------------------------------------------

MEAN, COVARIANCE, KNOWN = np.array([0.3, -0.5]), np.array([[1.0, 0.9], [0.9, 1.0]]), 1.5
TRUTH = MEAN[1] + 0.9 * (KNOWN - MEAN[0]), 1 - 0.9**2
"""Mean and variance of the second coordinate when the first is known: textbook conditioning of a Gaussian."""


def correlated(schedule):
    """The perfect epsilon of N(MEAN, COVARIANCE): sigma (alpha^2 C + sigma^2)^-1 (x - alpha m)."""

    def model(x, t):
        alpha, sigma = float(schedule.alpha(t[0])), float(schedule.sigma(t[0]))
        return sigma * (x - alpha * MEAN) @ np.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * np.eye(2))

    return model


def law_of_inpainting(steps, jump_n_sample, sampler, jump_length=1):
    """Exact mean and variance of the inpainted coordinate: the walk is affine in its noise, so it is fed no noise and every unit vector."""
    schedule, times = make_schedule("linear", steps, beta_start=0.1 / steps, beta_end=min(0.9, 16 / steps)), range(steps - 1, -1, -1)
    options = {"jump_length": jump_length, "jump_n_sample": jump_n_sample}

    def run(x, **noise):
        known = np.broadcast_to([KNOWN, 0.0], x.shape)
        return inpaint(correlated(schedule), schedule, x, times, known, [1, 0], sampler, **options, **noise)[:, 1]

    draws = Counting(0.0)
    mean = run(np.zeros((1, 2)), generator=draws)
    units = np.eye(2 * (draws.count + 1)).reshape(-1, draws.count + 1, 2)
    change = run(units[:, 0], noise=[units[:, i] for i in range(1, draws.count + 1)]) - mean
    return mean.item(), (change**2).sum()


def test_replacement_is_biased_however_many_steps_it_takes():
    """The unknown part moves about two thirds of the way and is too spread out; the error hardly falls from 10 to 80 steps."""
    for steps in (10, 20, 40, 80):
        mean, variance = law_of_inpainting(steps, 1, DDPM_LARGE)
        assert 0.3 < (TRUTH[0] - mean) / (TRUTH[0] - MEAN[1]) < 0.45
        assert variance / TRUTH[1] > 1.7


@pytest.mark.parametrize("sampler", [DDPM, DDPM_LARGE, DDIM], ids=["ddpm", "ddpm_large", "ddim"])
def test_every_resampling_brings_the_mean_closer(sampler):
    """1, 2, 4, 8 times through: the error of the mean falls each time, by more than a third."""
    errors = [abs(law_of_inpainting(20, jump_n_sample, sampler)[0] - TRUTH[0]) for jump_n_sample in (1, 2, 4, 8)]
    assert all(b < a / 1.5 for a, b in pairwise(errors))


def test_resampling_converges_to_the_exact_conditional():
    """More passes with shorter steps, with the step's own variance beta: mean and variance both tend to those of p(unknown | known)."""
    errors = []
    for steps, jump_n_sample in ((5, 4), (10, 8), (20, 16), (40, 20)):
        mean, variance = law_of_inpainting(steps, jump_n_sample, DDPM_LARGE)
        errors.append((abs(mean - TRUTH[0]), abs(variance - TRUTH[1])))
    assert all(b[i] < a[i] / 1.6 for a, b in pairwise(errors) for i in (0, 1))
    assert errors[-1][0] < 0.03 and errors[-1][1] < 0.02


def test_resampling_with_the_posterior_s_variance_ends_too_narrow():
    """The noise beta~ of a step down is less than the beta of the jump up: what is resampled long enough loses a third of its variance."""
    assert law_of_inpainting(20, 16, DDPM)[1] / TRUTH[1] < 0.7
    assert law_of_inpainting(40, 20, DDPM)[1] / TRUTH[1] < 0.7


# -- outpainting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, padding", [((2, 3, 4, 5), [(1, 2), (0, 7)]), ((2, 4), [(3, 0)]), ((1, 2, 3), [(0, 1), (1, 0)])])
def test_the_canvas_is_padded_and_the_mask_says_where(dtype, shape, padding):
    """numpy.pad, and the walk that keeps the middle."""
    x = np.random.default_rng().standard_normal(shape).astype(dtype)
    known, mask = outpainting_canvas(x, padding)
    width = [(0, 0)] * (len(shape) - len(padding)) + padding
    np.testing.assert_array_equal(known, np.pad(x, width))
    np.testing.assert_array_equal(np.broadcast_to(mask, known.shape), np.pad(np.ones_like(x), width))
    assert known.dtype == mask.dtype == dtype
    painted = inpaint(Gaussian().model(SHORT), SHORT, known + 1, [11, 5, 0], known, mask, generator=Counting(0.5))
    np.testing.assert_array_equal(painted[tuple(slice(a, a + n) for (a, _), n in zip(width, shape))], x)
    assert (painted[np.broadcast_to(mask, known.shape) == 0] != 0).all()


# -- SDEdit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [DDPM, HEUN], ids=["ddpm", "heun"])
def test_sdedit_of_strength_one_is_sampling(sampler):
    """From noise on a process that ends in pure noise; elsewhere from the noised data."""
    noise = [points() for _ in range(12)]
    pure = Schedule.from_betas([0.1, 0.5, 1.0])
    for process, times in ((SHORT, range(11, -1, -1)), (pure, [2, 1, 0]), (StraightLine(), [1.0, 0.5, 0.1])):
        if sampler is HEUN and process.alpha(times[0]) == 0:
            continue
        used = noise[:1 + sampler.plan(path(process, times)).draws]
        alpha, sigma = process.alpha(times[0]), process.sigma(times[0])
        model, x_start = MIXTURE.model(process, "v_prediction"), points()
        edited = sdedit(model, process, x_start, times, 1.0, sampler, noise=used, prediction_type="v_prediction")
        x = alpha * x_start + sigma * used[0]
        if alpha == 0:
            np.testing.assert_array_equal(x, used[0])
        np.testing.assert_array_equal(edited, sample(model, process, x, times, sampler, noise=used[1:], prediction_type="v_prediction"))


def test_sdedit_of_strength_zero_changes_nothing():
    """No call of the model, no noise drawn."""
    x = points()
    for strength in (0, 0.0, 1e-3):
        assert sdedit(None, SHORT, x, [11, 6, 2], strength) is x


SHARES = [(100, 0.29, 29), (100, 0.57, 57), (50, 0.8, 40), (5, 0.5, 2), (3, 0.999, 2), (4, 1, 4), (4, 0, 0)]


@pytest.mark.parametrize("count, strength, steps", SHARES)
def test_the_strength_is_a_share_of_the_times(count, strength, steps):
    """The last floor(strength S) of the list, not a step less because 0.29 * 100 is 28.999999999999996."""
    times = list(range(count - 1, -1, -1))
    assert list(sdedit_times(times, strength)) == times[count - steps:]


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_every_share_of_the_times_can_be_asked_for(count, steps):
    """strength = k / S walks k steps, for every k and S."""
    steps = min(steps, count)
    assert len(sdedit_times(range(count, 0, -1), steps / count)) == steps


def test_the_stronger_the_edit_the_more_of_the_data_is_forgotten():
    """Gaussian data and DDIM: the result is affine in x_start, with a slope that falls from 1 to 0."""
    process, times = make_schedule("linear", 100, beta_end=0.2), range(99, -1, -1)
    model, z = Gaussian(0.0, 0.5).model(process), np.zeros((2, 1))
    kept = []
    for strength in (0.1, 0.3, 0.6, 1.0):
        ends = sdedit(model, process, np.array([[0.0], [1.0]]), times, strength, DDIM, noise=[z])
        kept.append((ends[1] - ends[0]).item())
    assert 1 > kept[0] > kept[1] > kept[2] > kept[3] > 0 and kept[3] < 0.02


# -- inversion ---------------------------------------------------------------------------------------------------------

LONG = make_schedule("linear", 1000)
WAYS = {
    "discrete": (LONG, lambda steps: np.linspace(800, 0, steps).round().astype(int)),
    "edm": (EDM, lambda steps: np.geomspace(8, 0.01, steps)),
}
ways = pytest.mark.parametrize("process, times_of", WAYS.values(), ids=WAYS)
SIDES = np.array([[0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]])
CORNERS = np.concatenate([mean + std * SIDES for mean, std in zip(MIXTURE.means, [0.4, 0.3])])
"""Where the data lie: each component's mean, and one standard deviation to all sides. Far out, rates show only with many more steps."""


@ways
@pytest.mark.parametrize("asked_at", ["start", "end"])
def test_inversion_misses_by_a_step_s_length(process, times_of, asked_at):
    """Up and down again: the error falls as 1 / S."""
    model = MIXTURE.model(process)
    errors = [reconstruction_error(model, process, CORNERS, times_of(steps), asked_at=asked_at).max() for steps in (40, 80, 160)]
    assert errors[-1] < 0.1
    assert all(1.7 < a / b < 2.3 for a, b in pairwise(errors)), errors


def test_which_time_to_ask_for_depends_on_the_process():
    """Unit Gaussian data: with a schedule, where x hardly moves, "end" is of second order; in sigmas, where x grows, "start" is better."""
    x, data = np.random.default_rng().standard_normal((50, 1)), Gaussian()

    def error(process, times, asked_at):
        return reconstruction_error(data.model(process), process, x, times, asked_at=asked_at).max()

    lists = [np.linspace(800, 0, steps).round().astype(int) for steps in (41, 81, 161)]
    ends = [error(LONG, times, "end") for times in lists]
    assert all(3 < a / b < 5 for a, b in pairwise(ends)) and ends[-1] < error(LONG, lists[-1], "start") / 20
    assert error(EDM, np.geomspace(8, 0.01, 80), "start") < error(EDM, np.geomspace(8, 0.01, 80), "end") / 2


def test_the_reconstruction_error_is_the_root_mean_square_of_each_sample():
    """Up and down by hand; images."""
    x = np.random.default_rng().standard_normal((3, 2, 4, 4))
    model, times = Gaussian(0.5, 0.3).model(SHORT, "v_prediction"), [11, 8, 4, 0]
    noise = ddim_inversion(model, SHORT, x, times, prediction_type="v_prediction")
    back = sample(model, SHORT, noise, times, DDIM, prediction_type="v_prediction")
    got = reconstruction_error(model, SHORT, x, times, prediction_type="v_prediction")
    np.testing.assert_allclose(got, [np.linalg.norm(a - b) / math.sqrt(32) for a, b in zip(back, x)], rtol=1e-12)


@ways
def test_corrections_make_inversion_exact(process, times_of):
    """Each further call of the model a step divides the error of reconstruction; thirty leave rounding."""
    model, times = MIXTURE.model(process), times_of(40)
    errors = [reconstruction_error(model, process, CORNERS, times, corrections=n).max() for n in (0, 1, 2, 30)]
    assert errors[1] < errors[0] / 2 and errors[2] < errors[1] / 2 and errors[3] < 1e-10


def test_up_to_pure_noise_corrections_change_nothing():
    """alpha_t = 0: DDIM upwards ends at eps(x_t, t) = x_t, whatever x_t is."""
    x, model = points(), MIXTURE.model(StraightLine(), "flow_prediction")
    invert = lambda times, n: ddim_inversion(model, StraightLine(), x, times, corrections=n, prediction_type="flow_prediction")
    first, corrected, lower = invert([1.0, 0.6], 0), invert([1.0, 0.6], 3), invert([0.6], 3)
    expected = lower + 0.4 * model(lower, np.full(3, 0.6))  # eps at 0.6
    np.testing.assert_allclose(corrected, expected, rtol=1e-12)
    assert np.abs(first - corrected).max() > 1e-4  # the steps below are still corrected


def test_inversion_takes_each_sample_to_its_quantile():
    """Gaussian data N(m, s^2): the exact flow takes x_0 to alpha m + sqrt(alpha^2 s^2 + sigma^2) (x_0 - m) / s."""
    x, data = np.array([[-1.0], [0.2], [2.0]]), Gaussian(0.4, 0.5)
    errors = []
    for steps in (100, 200, 400):
        times = np.geomspace(8, 0.001, steps)
        exact = 0.4 + math.hypot(0.5, 8) * (x - 0.4) / 0.5
        errors.append(np.abs(ddim_inversion(data.model(EDM), EDM, x, times) / exact - 1).max())
    np.testing.assert_allclose([a / b for a, b in pairwise(errors)], 2, rtol=0.15)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("asked_at", ["start", "end"])
def test_inversion_asks_where_it_says(asked_at):
    """DDIM upwards written out in the papers' own form, x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps; the times of the calls."""
    x, times, asked = points(), [11, 7, 2], []

    def model(x, t):
        asked.append(t[0])
        return MIXTURE.model(SHORT)(x, t)

    got = ddim_inversion(model, SHORT, x, times, asked_at=asked_at)
    assert asked == ([2, 2, 7] if asked_at == "start" else [2, 7, 11])
    abar = 1.0
    for t, at in zip(times[::-1], asked):
        eps = MIXTURE.model(SHORT)(x, np.full(3, at))
        start, abar = (x - np.sqrt(1 - abar) * eps) / np.sqrt(abar), SHORT.alphas_cumprod[t]
        x = np.sqrt(abar) * start + np.sqrt(1 - abar) * eps
    np.testing.assert_allclose(got, x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("asked_at, corrections", [("start", 0), ("end", 0), ("start", 2)])
def test_inversion_does_not_depend_on_the_prediction_type(asked_at, corrections):
    """Five kinds of model, one noise."""
    x, times = points(), [8.0, 3.0, 1.0, 0.3]
    first, *others = [
        ddim_inversion(MIXTURE.model(EDM, kind), EDM, x, times, asked_at=asked_at, corrections=corrections, prediction_type=kind)
        for kind in PREDICTION_TYPES
    ]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-9, atol=1e-9)


def test_inversion_of_a_walk_that_ends_in_a_little_noise_asks_there():
    """set_alpha_to_one=False, and a list that ends at sigma = 0."""
    asked = []

    def model(x, t):
        asked.append(t[0])
        return x

    ddim_inversion(model, SHORT, points(), [11, 7, 2], set_alpha_to_one=False)
    ddim_inversion(model, EDM, points(), [3.0, 1.0, 0.0])
    assert asked == [0, 2, 7, 1.0, 1.0]


def test_a_counterfactual_moves_to_the_other_component():
    """Two Gaussians: about m_b + s_b / s_a (x - m_a), less exactly the two flows between data and sigma = 20; the error falls as 1 / S."""
    (mean_a, std_a), (mean_b, std_b) = (np.array([-1.0, 0.5]), 0.4), (np.array([0.8, 0.0]), 0.2)
    a, b = Gaussian(mean_a, std_a), Gaussian(mean_b, std_b)
    x = a.sample(5, np.random.default_rng())
    noisy = mean_a + math.hypot(std_a, 20) * (x - mean_a) / std_a
    exact, errors = mean_b + std_b * (noisy - mean_b) / math.hypot(std_b, 20), []
    np.testing.assert_allclose(exact, mean_b + std_b / std_a * (x - mean_a), atol=0.02)
    for steps in (100, 200, 400):
        moved = counterfactual(a.model(EDM), b.model(EDM), EDM, x, np.geomspace(20, 0.001, steps))
        errors.append(np.abs(moved - exact).max())
    assert errors[-1] < 0.1 and all(1.5 < p / q < 2.5 for p, q in pairwise(errors)), errors
    mixture = Mixture([0.5, 0.5], [mean_a, mean_b], [std_a, std_b])
    assert (mixture.log_responsibilities(moved, 1.0, 1e-9)[:, 1] > math.log(0.9)).all()


# -- errors ------------------------------------------------------------------------------------------------------------

X = np.zeros((3, 2))
MODEL = Gaussian().model(SHORT)
TIMES = [11, 7, 3, 0]


class Remembers:
    """A sampler whose steps use the last prediction of the step before."""

    def plan(self, path):
        plan = DDIM.plan(path)
        return Plan("sample", [move._replace(settle=move.settle._replace(predictions=(1.0, 0.5))) for move in plan.moves])


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X[:, :1], [1, 0]), ValueError, r"inpaint: expected known to have the shape of x"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, [1, 0, 1]), ValueError, r"a mask .* broadcasts to that of x, \(3, 2\), got \(3,\)"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, np.ones((4, 3, 2))), ValueError, r"got \(4, 3, 2\)"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, [1, 2]), ValueError, r"a mask of numbers between 0 \(paint\) and 1 \(known\)"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, [math.nan, 0]), ValueError, "a mask of numbers between 0"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, [1, 0]), ValueError, "inpaint: fresh noise is drawn 6 times; give a generator"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, [1, 0], noise=[X] * 6, generator=Generator(0)), ValueError, "got both"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, [1, 0], noise=[X[:1]] * 6), ValueError, "expected noise to have the shape of x"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, 1, jump_length=4, jump_n_sample=2), ValueError, "a jump of 4 levels .* into 4 steps"),
        (lambda: inpaint(MODEL, SHORT, X, TIMES, X, 1, Remembers(), jump_n_sample=2), ValueError, "uses in a step what happened before it"),
        (lambda: repaint_schedule(10, 0, 2), ValueError, "repaint_schedule: expected jump_length of at least 1, got 0"),
        (lambda: repaint_schedule(10, 2, 0), ValueError, "expected jump_n_sample of at least 1, got 0"),
        (lambda: repaint_schedule(0, 1, 1), ValueError, "expected num_steps of at least 1, got 0"),
        (lambda: repaint_schedule(10, 2.0, 2), TypeError, "expected jump_length to be an int, got 2.0"),
        (lambda: outpainting_canvas(X, [(1, 1), (1, 1)]), ValueError, "outpainting_canvas: expected padding as 1 to 1 pairs"),
        (lambda: outpainting_canvas(X, [(1, -1)]), ValueError, "ints of at least 0"),
        (lambda: outpainting_canvas(X, [(1, 1.5)]), ValueError, "ints of at least 0"),
        (lambda: sdedit(MODEL, SHORT, X, TIMES, 1.1), ValueError, r"sdedit: expected a strength between 0 .* got 1.1"),
        (lambda: sdedit(MODEL, SHORT, X, TIMES, math.nan), ValueError, "got nan"),
        (lambda: sdedit(MODEL, SHORT, X, TIMES, 0.5), ValueError, "sdedit: fresh noise is drawn 2 times"),
        (lambda: sdedit(MODEL, SHORT, X, [3, 7], 0.5), ValueError, "strictly decreasing times"),
        (lambda: Inversion("middle"), ValueError, "unknown asked_at 'middle'; choose from start, end"),
        (lambda: Inversion(corrections=-1), ValueError, "corrections of at least 0, got -1"),
        (lambda: ddim_inversion(MODEL, SHORT, X, [3, 7]), ValueError, "strictly decreasing times"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    """Each by name, before the first step."""
    with pytest.raises(error, match=message):
        make()


def test_any_sampler_inpaints_without_jumps():
    """Also one that remembers; then replacement just follows each step."""
    known = points()
    result = inpaint(MIXTURE.model(SHORT), SHORT, points(), TIMES, known, [0, 1], Remembers(), generator=Generator(0))
    np.testing.assert_array_equal(result[:, 1], known[:, 1])
