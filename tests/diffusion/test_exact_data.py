"""The perfect models of Gaussian data, against the normal equations and the score of the density."""

import numpy as np
import pytest
from diffusion_laws import schedules
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from minidiff.diffusion import (
    DDIM,
    gaussian_denoiser,
    gaussian_epsilon,
    gaussian_marginal,
    make_schedule,
    mixture_epsilon,
    predict_noise_from_start,
    q_sample,
    sample,
)

ONE, ZERO = np.ones(1), np.zeros(1)
numbers = st.floats(-3, 3)
MIXTURE = dict(
    weights=[0.2, 0.5, 0.3], means=[[-1.0, 0.5, 0.1], [0.3, 0.2, 0.0], [1.0, -1.0, 0.4]], stds=[0.4, 0.3, 0.7]
)


@given(schedules(), numbers, st.floats(0, 2), st.data())
def test_marginal_is_that_of_noised_data(schedule, mean, std, data):
    """q_sample is linear: push the mean, the data's spread and the noise through it one by one."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    got_mean, got_variance = gaussian_marginal(schedule, mean, std, t)
    assert got_mean == pytest.approx(q_sample(schedule, mean * ONE, t, ZERO)[0], rel=1e-12)
    spread, noise = q_sample(schedule, std * ONE, t, ZERO)[0], q_sample(schedule, ZERO, t, ONE)[0]
    assert got_variance == pytest.approx(spread**2 + noise**2, rel=1e-12)


@given(schedules(max_beta=0.9, max_steps=15), numbers, st.floats(0.1, 2), st.data())
def test_perfect_answers_are_the_regression_on_x_t(schedule, mean, std, data):
    """The best linear prediction is mean + Cov/Var (x - mean); covariances from q_sample's factors."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x = np.array([data.draw(numbers)])
    signal, noise = q_sample(schedule, ONE, t, ZERO)[0], q_sample(schedule, ZERO, t, ONE)[0]
    variance = signal**2 * std**2 + noise**2
    x_start = gaussian_denoiser(schedule, mean, std)(x, t)
    epsilon = gaussian_epsilon(schedule, mean, std)(x, t)
    assert x_start[0] == pytest.approx(mean + signal * std**2 / variance * (x[0] - signal * mean), rel=1e-11, abs=1e-11)
    assert epsilon[0] == pytest.approx(noise / variance * (x[0] - signal * mean), rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(q_sample(schedule, x_start, t, epsilon), x, rtol=1e-12, atol=1e-12)


@given(schedules(), numbers, st.data())
def test_the_perfect_epsilon_of_standard_normal_data(schedule, x, data):
    """The one-line oracle: sqrt(1 - abar) x."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    got = gaussian_epsilon(schedule, 0.0, 1.0)(np.array([x]), t)[0]
    assert got == pytest.approx(np.sqrt(-np.expm1(np.log1p(-schedule.betas[: t + 1]).sum())) * x, rel=1e-12)


def test_data_without_spread_is_its_mean():
    """std = 0: the denoiser always answers the one image there is, and DDIM arrives at it."""
    schedule, image = make_schedule("linear", 20), np.array([[0.5, -0.25]])
    x = np.random.default_rng().standard_normal((3, 2))
    np.testing.assert_array_equal(gaussian_denoiser(schedule, image, 0.0)(x, [0, 5, 19]), np.repeat(image, 3, 0))
    result = sample(gaussian_epsilon(schedule, image, 0.0), schedule, x, [19, 3], DDIM)
    np.testing.assert_allclose(result, np.repeat(image, 3, 0), atol=1e-12)


@given(schedules(max_beta=0.9, max_steps=10), st.data())
def test_mixture_epsilon_is_the_score(schedule, data):
    """-sqrt(1 - abar) grad log q(x_t): the density summed up plainly, differentiated by central differences."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x = np.array([data.draw(st.tuples(*[st.floats(-1.5, 1.5)] * 3))])
    abar = float(np.prod(1 - schedule.betas[: t + 1]))

    def log_density(point):
        v = [abar * s**2 + 1 - abar for s in MIXTURE["stds"]]
        return np.log(
            sum(
                w * vk**-1.5 * np.exp(-((point - np.sqrt(abar) * np.array(m)) ** 2).sum() / (2 * vk))
                for w, m, vk in zip(MIXTURE["weights"], MIXTURE["means"], v)
            )
        )

    h = 1e-5
    score = np.array([(log_density(x[0] + h * e) - log_density(x[0] - h * e)) / (2 * h) for e in np.eye(3)])
    np.testing.assert_allclose(
        mixture_epsilon(schedule, **MIXTURE)(x, t)[0], -np.sqrt(1 - abar) * score, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mixture_of_one_is_a_gaussian(dtype):
    """K = 1, for a time each and images of any shape; dtype kept; far out in the tails too."""
    schedule, image = make_schedule("linear", 20), np.random.default_rng().standard_normal((2, 3))
    x = (100 * np.random.default_rng().standard_normal((4, 2, 3))).astype(dtype)
    one = mixture_epsilon(schedule, [1.0], image[None], [0.3])(x, [0, 3, 9, 19])
    expected = gaussian_epsilon(schedule, image, 0.3)(x.astype(np.float64), [0, 3, 9, 19])
    assert one.dtype == dtype
    np.testing.assert_allclose(one, expected, rtol=1e-12 if dtype == np.float64 else 1e-6)


def test_equal_components_are_one_component():
    """Splitting a component in two changes nothing."""
    schedule, x = make_schedule("linear", 20), np.random.default_rng().standard_normal((4, 2))
    split = mixture_epsilon(schedule, [0.4, 0.6], [[1.0, 2.0]] * 2, [0.5, 0.5])(x, 7)
    np.testing.assert_allclose(split, gaussian_epsilon(schedule, np.array([1.0, 2.0]), 0.5)(x, 7), rtol=1e-12)


def test_ddim_finds_the_components_in_their_proportions():
    """The flow on a line keeps order: of an even grid of normal quantiles, the share w_k arrives at component k."""
    schedule = make_schedule("linear", 1000)
    x = norm.ppf((np.arange(1000) + 0.5) / 1000).reshape(-1, 1)
    result = sample(
        mixture_epsilon(schedule, [0.3, 0.7], [[-1.0], [1.0]], [0.05, 0.05]), schedule, x, range(999, -1, -5), DDIM
    )
    assert (np.abs(np.abs(result) - 1) < 0.4).mean() > 0.99
    assert (result < 0).mean() == pytest.approx(0.3, abs=0.01)


def test_perfect_models_agree_with_each_other():
    """epsilon from the denoiser's x_0 is epsilon."""
    schedule, x = make_schedule("squaredcos_cap_v2", 30), np.random.default_rng().standard_normal((5, 3))
    for t in (0, 15, 29):
        np.testing.assert_allclose(
            predict_noise_from_start(schedule, x, t, gaussian_denoiser(schedule, 0.2, 0.7)(x, t)),
            gaussian_epsilon(schedule, 0.2, 0.7)(x, t),
            rtol=1e-9,
            atol=1e-9,
        )


@pytest.mark.parametrize(
    "weights, means, stds, message",
    [
        ([0.5, 0.5], [[1.0]], [0.1, 0.1], r"got shapes \(2,\), \(1, 1\), \(2,\)"),
        (1.0, [[1.0]], [0.1], r"got shapes \(\), \(1, 1\), \(1,\)"),
        ([0.5, 0.4], [[1.0], [2.0]], [0.1, 0.1], r"positive weights that sum to 1, got \[0.5, 0.4\]"),
        ([1.5, -0.5], [[1.0], [2.0]], [0.1, 0.1], "positive weights"),
    ],
)
def test_bad_mixtures_are_refused(weights, means, stds, message):
    """Shapes that do not belong together, and weights that are no probabilities."""
    with pytest.raises(ValueError, match=message):
        mixture_epsilon(make_schedule("linear", 5), weights, means, stds)


def test_a_mixture_refuses_other_data():
    """x must have the shape of the means."""
    model = mixture_epsilon(make_schedule("linear", 5), [1.0], [[1.0, 2.0]], [0.1])
    with pytest.raises(ValueError, match=r"the data has shape \(2,\), got x of shape \(4, 3\)"):
        model(np.zeros((4, 3)), 0)
