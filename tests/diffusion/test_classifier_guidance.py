"""Classifier guidance: the gradient of log p(y | x_t) as a change of the prediction, and as a shift of the mean."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.autograd import Tensor, no_grad
from minidiff.diffusion import (
    DDIM,
    DDPM,
    EDM,
    HEUN,
    MIXTURES,
    PREDICTION_TYPES,
    Gaussian,
    Mixture,
    Schedule,
    StraightLine,
    classifier_guidance,
    log_prob_gradient,
    log_prob_of_start,
    make_schedule,
    path,
    sample,
    shifted_mean,
    weight_of_score,
)

MIXTURE = Mixture([0.2, 0.5, 0.3], [[-1.0, 0.5], [0.8, 0.0], [0.1, -1.2]], [0.4, 0.3, 0.6])
COMPONENTS = [Gaussian(mean, std) for mean, std in zip(MIXTURE.means, np.broadcast_to(MIXTURE.stds, MIXTURE.means.shape))]
DISCRETE = make_schedule("linear", 50, beta_end=0.2)
PROCESSES = {"discrete": (DISCRETE, range(49, -1, -7)), "edm": (EDM, [8.0, 2.0, 0.5, 0.1]), "line": (StraightLine(), [0.9, 0.6, 0.3, 0.1])}
processes = pytest.mark.parametrize("process, times", PROCESSES.values(), ids=PROCESSES)


def bayes_gradient(process, k):
    """grad log p(k | x_t), by Bayes' rule: the component's score less the mixture's."""

    def cond_fn(x, t):
        t = t[0]
        alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
        return COMPONENTS[k].score(x, alpha, sigma) - MIXTURE.score(x, alpha, sigma)

    return cond_fn


def classifier(process, k):
    """The exact classifier of noisy data, of Tensors."""
    return lambda x, t: MIXTURE.log_responsibilities(x, float(process.alpha(t[0])), float(process.sigma(t[0])))[:, k]


def points(dtype=np.float64):
    return np.random.default_rng().standard_normal((4, 2)).astype(dtype)


# -- the change of the prediction --------------------------------------------------------------------------------------


@processes
@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_exact_classifier_makes_the_exact_conditional_model(process, times, kind, k):
    """Unconditional mixture + gradient of log p(k | x_t) by autograd = the perfect model of component k, for every prediction type."""
    guided = classifier_guidance(MIXTURE.model(process, kind), process, log_prob_gradient(classifier(process, k)), 1.0, kind)
    exact = COMPONENTS[k].model(process, kind)
    for time in times:
        x, t = points(), np.full(4, time)
        np.testing.assert_allclose(guided(x, t), exact(x, t), rtol=1e-9, atol=1e-9)


@processes
@pytest.mark.parametrize("sampler", [DDIM, HEUN], ids=["ddim", "heun"])
def test_guided_samples_do_not_depend_on_the_prediction_type(process, times, sampler):
    """The same walk with five kinds of model, at a scale that is not 1."""
    x = points()
    cond_fn = bayes_gradient(process, 1)
    guided = [classifier_guidance(MIXTURE.model(process, kind), process, cond_fn, 2.5, kind) for kind in PREDICTION_TYPES]
    first, *others = [sample(one, process, x, times, sampler, prediction_type=kind) for one, kind in zip(guided, PREDICTION_TYPES)]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-8, atol=1e-8)


def test_epsilon_moves_by_sigma_times_the_gradient():
    """Algorithm 2 as printed, one time a row: eps - s sqrt(1 - abar_t) g."""
    x, t, slope = points(), np.array([0, 9, 30, 49]), points()
    guided = classifier_guidance(lambda x, t: 3 * x, DISCRETE, lambda x, t: slope, 1.7)(x, t)
    np.testing.assert_allclose(guided, 3 * x - 1.7 * np.sqrt(1 - DISCRETE.alphas_cumprod[t])[:, None] * slope, rtol=1e-12)


@given(st.floats(0.01, 1), st.floats(0.01, 10), st.sampled_from(PREDICTION_TYPES))
def test_the_weight_is_the_slope_of_the_prediction_in_the_score(alpha, sigma, kind):
    """A Gaussian's perfect prediction moves with its score: two data distributions, the difference of the one by that of the other."""
    x, (p, q) = np.array([[0.3]]), MIXTURES[kind](alpha, sigma)
    a, b = Gaussian(0.0, 0.5), Gaussian(1.0, 2.0)
    scores = [data.score(x, alpha, sigma).item() for data in (a, b)]
    predictions = [p * data.start(x, alpha, sigma).item() - q * sigma * score for data, score in zip((a, b), scores)]
    scale = max(map(abs, [*predictions, *scores])) * (1 + abs(weight_of_score(kind, alpha, sigma)))
    moved = weight_of_score(kind, alpha, sigma) * (scores[1] - scores[0])
    assert predictions[1] - predictions[0] == pytest.approx(moved, abs=1e-12 * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_the_dtype_is_kept(dtype, kind):
    """Images, not contiguous, one time or several; the model is one of Tensors."""
    x = np.random.default_rng().standard_normal((2, 3, 4, 4)).astype(dtype)[:, :, ::-1]
    guided = classifier_guidance(lambda x, t: Tensor(x) * 2, DISCRETE, lambda x, t: x, 2.0, kind)
    for t in (np.array([3, 3]), np.array([3, 7])):
        answer = guided(x, t)
        assert answer.dtype == dtype and answer.shape == x.shape and isinstance(answer, np.ndarray)


# -- the shift of the mean ---------------------------------------------------------------------------------------------


def first_shift(times, gradient_at=None):
    """What guidance adds to x in the first step of a DDPM walk: by the mean, or, without gradient_at, by epsilon."""
    x, noise = np.array([[0.4, -0.7]]), [np.ones((1, 2))] * (len(times) - 1)
    model, cond_fn = MIXTURE.model(EDM, "epsilon"), bayes_gradient(EDM, 0)
    arrivals = {}

    def walk(name, model, **options):
        sample(model, EDM, x, times, DDPM, noise=noise, arrived=lambda step, level, x: arrivals.setdefault((name, step), x), **options)

    walk("plain", model)
    if gradient_at is None:
        walk("guided", classifier_guidance(model, EDM, cond_fn, 1.5))
    else:
        walk("guided", model, shift_mean=shifted_mean(cond_fn, 1.5, gradient_at, times))
    return arrivals["guided", 0] - arrivals["plain", 0]


@pytest.mark.parametrize("gradient_at", ["x_t", "mean"])
def test_the_two_ways_agree_to_first_order(gradient_at):
    """One step from sigma = 1 to exp(-h): the shifts differ by a fraction that halves when h halves."""
    errors = []
    for h in (0.08, 0.04, 0.02, 0.01):
        times = [1.0, math.exp(-h)]
        by_epsilon, by_mean = first_shift(times), first_shift(times, gradient_at)
        errors.append(np.abs(by_mean / by_epsilon - 1).max())
    assert 0.001 < errors[-1] < 0.1
    np.testing.assert_allclose([a / b for a, b in pairwise(errors)], 2, rtol=0.1)


def test_whole_walks_of_the_two_ways_agree_in_the_limit():
    """The same noise through S steps from sigma 5 to 0.05: the samples' distance falls at least as 1 / S, but for the last step."""
    distances = []
    for steps in (100, 200, 400):
        times = np.geomspace(5, 0.05, steps)
        generator = np.random.default_rng(7)
        fine = generator.standard_normal((400, 4, 2))
        noise = [part.sum(axis=0) / math.sqrt(400 // steps) for part in np.split(fine, steps)][:steps - 1]
        x, model, cond_fn = 5 * fine[0], MIXTURE.model(EDM), bayes_gradient(EDM, 1)
        ends = [[], []]
        for end, chosen, shift in zip(ends, (classifier_guidance(model, EDM, cond_fn), model), (None, shifted_mean(cond_fn))):
            sample(chosen, EDM, x, times, DDPM, noise=noise, shift_mean=shift, arrived=lambda step, level, x, end=end: end.append(x) or x)
        distances.append(np.abs(ends[0][-2] - ends[1][-2]).max())
    assert distances[2] < distances[1] < distances[0]
    assert distances[0] / distances[2] > 3


@pytest.mark.parametrize("gradient_at", ["x_t", "mean"])
def test_the_gradient_is_asked_where_it_should_be(gradient_at):
    """At x_t and t, or at the unshifted mean and the next time; never where a step adds no noise; the shift is s Sigma g."""
    asked, times, slope = [], [40, 20, 5], np.ones((4, 2))

    def cond_fn(x, t):
        asked.append((x, t.tolist()))
        return slope

    states, means, x = [], [], points()
    shift = shifted_mean(cond_fn, 0.5, gradient_at, times)

    def shift_mean(mean, variance, **at):
        means.append((mean, variance, shift(mean, variance, **at)))
        return means[-1][2]

    sample(MIXTURE.model(DISCRETE), DISCRETE, x, times, DDPM, generator=np.random.default_rng(), shift_mean=shift_mean,
           callback=lambda step, t, x, start: states.append(x))
    at_mean = gradient_at == "mean"
    assert [t for _, t in asked] == ([[20] * 4, [5] * 4] if at_mean else [[40] * 4, [20] * 4])
    for (where, _), state, (mean, variance, shifted) in zip(asked, states, means):
        np.testing.assert_array_equal(where, mean if at_mean else state)
        np.testing.assert_allclose(shifted, mean + 0.5 * variance * slope, rtol=1e-14)
    assert means[-1][1] == 0 and means[-1][2] is means[-1][0]
    kappas = [-math.expm1(-2 * h) for h in path(DISCRETE, times).steps]
    assert [v for _, v, _ in means] == pytest.approx([DISCRETE.one_minus_alphas_cumprod[20] * kappas[0],
                                                      DISCRETE.one_minus_alphas_cumprod[5] * kappas[1], 0])


# -- gradients ---------------------------------------------------------------------------------------------------------


def test_the_gradient_of_a_log_probability_is_exact():
    """Autograd through the mixture's own classifier against Bayes' rule; for arrays and Tensors, also under no_grad."""
    x, t = points(), np.full(4, 12)
    cond_fn = log_prob_gradient(classifier(DISCRETE, 2))
    with no_grad():
        slope, of_tensor = cond_fn(x, t), cond_fn(Tensor(x), t)
    assert isinstance(slope, np.ndarray) and isinstance(of_tensor, Tensor)
    np.testing.assert_allclose(slope, bayes_gradient(DISCRETE, 2)(x, t), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(of_tensor.data, slope)
    assert log_prob_gradient(lambda x, t: -(x * x).sum() / 2)(points(np.float32), t).dtype == np.float32


@settings(max_examples=20)
@given(st.integers(0, 49), st.sampled_from(["epsilon", "sample", "v_prediction"]))
def test_reconstruction_guidance_goes_through_the_model(time, kind):
    """Gaussian data and a measurement y = x_0 + r z: grad of -(y - E[x_0 | x_t])^2 / 2 r^2 has a closed form."""
    std, r, y, data = 0.7, 0.5, 1.2, Gaussian(0.3, 0.7)
    log_prob = log_prob_of_start(lambda start: -((y - start) * (y - start)).sum() / (2 * r * r), data.model(DISCRETE, kind), DISCRETE, kind)
    x = points()
    alpha, sigma = float(DISCRETE.alpha(time)), float(DISCRETE.sigma(time))
    slope = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
    expected = (y - data.start(x, alpha, sigma)) / r**2 * slope
    np.testing.assert_allclose(log_prob_gradient(log_prob)(x, np.full(4, time)), expected, rtol=1e-8, atol=1e-8)


def test_reconstruction_guidance_is_exact_where_the_start_is_certain():
    """p(y | x_t) of Gaussian data has the noise r^2 + var(x_0 | x_t), which tends to r^2: the gradients meet at the rate sigma^2."""
    std, r, y, data = 0.7, 0.5, 1.2, Gaussian(0.3, 0.7)
    guess = log_prob_gradient(log_prob_of_start(lambda start: -((y - start) * (y - start)).sum() / (2 * r * r), data.model(EDM), EDM))
    x, errors = np.full((1, 1), 0.1), []
    for sigma in (0.1, 0.05, 0.025):
        spread = std**2 * sigma**2 / (std**2 + sigma**2)
        exact = (y - data.start(x, 1.0, sigma)) / (r**2 + spread) * std**2 / (std**2 + sigma**2)
        errors.append((guess(x, np.array([sigma])) / exact - 1).item())
    assert errors[0] > 0
    np.testing.assert_allclose([a / b for a, b in pairwise(errors)], 4, rtol=0.02)


# -- errors ------------------------------------------------------------------------------------------------------------


def pure_noise(kind):
    process = Schedule.from_betas([0.1, 0.5, 1.0])
    return classifier_guidance(lambda x, t: x, process, lambda x, t: x, 1.0, kind)(points(), np.full(4, 2))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: classifier_guidance(None, EDM, None, math.inf), ValueError, "classifier_guidance: expected a finite scale, got inf"),
        (lambda: classifier_guidance(None, EDM, None, 1.0, "noise"), ValueError, "classifier_guidance: unknown prediction_type 'noise'"),
        (lambda: log_prob_of_start(None, None, EDM, "noise"), ValueError, "log_prob_of_start: unknown prediction_type 'noise'"),
        (lambda: shifted_mean(None, math.nan), ValueError, "shifted_mean: expected a finite scale, got nan"),
        (lambda: shifted_mean(None, 1.0, "start"), ValueError, "unknown gradient_at 'start'; choose from x_t, mean"),
        (lambda: shifted_mean(None, 1.0, "mean"), ValueError, "the mean belongs to the next time of the walk; give the list of times"),
        (lambda: classifier_guidance(lambda x, t: x, EDM, lambda x, t: x[:, :1])(points(), np.ones(4)), ValueError,
         r"gradient to have the shape of x, \(4, 2\), got \(4, 1\)"),
        (lambda: classifier_guidance(lambda x, t: x, EDM, lambda x, t: x.astype(np.float32))(points(), np.ones(4)), TypeError,
         "gradient to have the dtype of x, float64, got float32"),
        (lambda: shifted_mean(lambda x, t: x[:1])(points(), 0.5, x_t=points(), t=3), ValueError, r"shifted_mean: .*gradient to have"),
        (lambda: pure_noise("v_prediction"), ValueError, r"nothing is left of the data \(zero terminal SNR\).*'v_prediction'"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    """Each by name."""
    with pytest.raises(error, match=message):
        make()


def test_epsilon_and_score_are_guided_in_pure_noise_too():
    """Their weights, -sigma and 1, do not divide by alpha."""
    assert np.isfinite(pure_noise("epsilon")).all() and np.isfinite(pure_noise("score")).all()
