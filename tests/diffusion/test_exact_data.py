"""Exactly known data: densities, scores and perfect denoisers against 50-digit sums, quadrature and automatic derivatives."""

import math
import tracemalloc

import numpy as np
import pytest
from diffusion_laws import MP, schedules
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, ortho_group

from minidiff import diffusion
from minidiff.autograd import gradient, tensor
from minidiff.diffusion import MIXTURES, PREDICTION_TYPES, Gaussian, Mixture, Points, Rotated, make_schedule
from minidiff.random import Generator

RNG = np.random.default_rng()
numbers = st.floats(-3, 3)
alphas, sigmas = st.floats(0.01, 1), st.floats(0.05, 3)

# Two-dimensional data of every kind, with the same data once more as a list of components: weight, mean (2,), std (2,).
KINDS = {
    "gaussian": (Gaussian([0.3, -1.0], [0.5, 1.2]), [(1.0, [0.3, -1.0], [0.5, 1.2])]),
    "mixture": (
        Mixture([0.2, 0.5, 0.3], [[-1.0, 0.5], [0.3, 0.2], [1.0, -1.0]], [0.4, 0.3, 0.7]),
        [(0.2, [-1.0, 0.5], [0.4] * 2), (0.5, [0.3, 0.2], [0.3] * 2), (0.3, [1.0, -1.0], [0.7] * 2)],
    ),
    "a width for each coordinate": (
        Mixture([0.4, 0.6], [[0.0, 1.0], [2.0, -1.0]], [[0.1, 0.9], [0.5, 0.0]]),
        [(0.4, [0.0, 1.0], [0.1, 0.9]), (0.6, [2.0, -1.0], [0.5, 0.0])],
    ),
    "points": (Points([[0.1, 0.2], [1.0, -1.0], [1.0, -1.0]]), [(1 / 3, p, [0.0] * 2) for p in ([0.1, 0.2], [1.0, -1.0], [1.0, -1.0])]),
}
every_kind = pytest.mark.parametrize("kind", KINDS)

# The same on a line, where integrals are cheap.
LINE = {
    "gaussian": Gaussian([0.4], [0.6]),
    "mixture": Mixture([0.3, 0.7], [[-1.0], [1.0]], [0.2, 0.5]),
    "points": Points([[-0.5], [0.25], [2.0]]),
}


def log_density(components, x, alpha, sigma):
    """log sum_k w_k prod_d N(x_d; alpha m_kd, alpha^2 s_kd^2 + sigma^2), 50 digits, summed up as it stands."""
    alpha, sigma = MP.mpf(alpha), MP.mpf(sigma)
    total = MP.mpf(0)
    for weight, mean, std in components:
        product = MP.mpf(weight)
        for x_d, m, s in zip(x, mean, std, strict=True):
            v = (alpha * MP.mpf(s)) ** 2 + sigma**2
            product *= MP.exp(-((x_d - alpha * MP.mpf(m)) ** 2) / (2 * v)) / MP.sqrt(2 * MP.pi * v)
        total += product
    return MP.log(total)


def close(got, expected, rtol=1e-11, atol=1e-11):
    np.testing.assert_allclose(np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64), rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", LINE)
@pytest.mark.parametrize("alpha, sigma", [(1.0, 0.1), (0.6, 0.8), (0.0, 1.0), (1.0, 5.0)])
def test_the_density_integrates_to_one(kind, alpha, sigma):
    """Adaptive quadrature over the line, cut at the components, where the density has its peaks."""
    def density(x):
        return math.exp(LINE[kind].log_prob(np.array([[x]]), alpha, sigma)[0])

    total, _ = quad(density, -60, 60, points=[alpha * m for m in (-1, -0.5, 0.25, 0.4, 1, 2)], limit=500, epsabs=1e-12)
    assert total == pytest.approx(1, abs=1e-9)


@every_kind
@given(st.tuples(numbers, numbers), alphas, sigmas)
def test_density_and_score_are_those_of_the_sum(kind, point, alpha, sigma):
    """The density summed up in 50 digits; its gradient by numerical differentiation there."""
    data, components = KINDS[kind]
    x = np.array([point])
    close(data.log_prob(x, alpha, sigma)[0], log_density(components, point, alpha, sigma))
    slope = [MP.diff(lambda *p: log_density(components, p, alpha, sigma), point, order) for order in ((1, 0), (0, 1))]
    close(data.score(x, alpha, sigma)[0], slope, rtol=1e-10, atol=1e-10)


@every_kind
@given(st.tuples(numbers, numbers), alphas, sigmas)
def test_the_denoiser_is_the_score_by_tweedie_s_formula(kind, point, alpha, sigma):
    """E[x_0 | x] = (x + sigma^2 score) / alpha."""
    data, x = KINDS[kind][0], np.array([point])
    tweedie = (x + sigma**2 * data.score(x, alpha, sigma)) / alpha
    close(data.start(x, alpha, sigma), tweedie, rtol=1e-9, atol=1e-13 * (1 + sigma**2) / alpha / min(sigma, 1))


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
@given(numbers, alphas, st.floats(0.2, 3))
def test_the_denoiser_is_the_mean_of_the_clean_data(kind, point, alpha, sigma):
    """Bayes by brute force: the average of x_0, weighted by q(x_0) q(x | x_0), on a fine grid (exponentially exact for these)."""
    data, x = LINE[kind], np.array([[point]])
    grid = np.linspace(-8, 8, 4001)
    prior = data.log_prob(grid[:, None], 1.0, 0.0)
    joint = np.exp(prior - (point - alpha * grid) ** 2 / (2 * sigma**2))
    close(data.start(x, alpha, sigma)[0, 0], (joint * grid).sum() / joint.sum(), rtol=1e-8, atol=1e-8)


@every_kind
@given(alphas, sigmas)
def test_the_score_is_the_derivative_and_can_be_differentiated(kind, alpha, sigma):
    """Automatic differentiation of log_prob gives the score; of the score, what finite differences give; start likewise."""
    data, point, h = KINDS[kind][0], RNG.uniform(-2, 2, (3, 2)), 1e-5
    x = tensor(point, requires_grad=True)
    close(gradient(data.log_prob(x, alpha, sigma).sum(), x).numpy(), data.score(point, alpha, sigma), rtol=1e-9, atol=1e-9)
    for formula in (data.score, data.start):
        second = gradient((formula(x, alpha, sigma) * np.array([1.0, 2.0])).sum(), x).numpy()
        for d, e in enumerate(np.eye(2)):
            slope = (formula(point + h * e, alpha, sigma) - formula(point - h * e, alpha, sigma)) @ [1.0, 2.0] / (2 * h)
            scale = abs(second).max() + 1
            close(second[:, d] / scale, slope / scale, rtol=1e-3, atol=1e-4 / min(sigma, 1) ** 2)


def test_the_hessian_of_the_density_is_the_derivative_of_the_score():
    """Twice through the graph of log_prob, for the mixture and the points: the logarithm's maximum must not disturb it."""
    for data in (KINDS["mixture"][0], KINDS["points"][0]):
        x = tensor(RNG.uniform(-1, 1, (4, 2)), requires_grad=True)
        first = gradient(data.log_prob(x, 0.8, 0.6).sum(), x, create_graph=True)
        twice = gradient((first * np.array([1.0, -2.0])).sum(), x).numpy()
        close(twice, gradient((data.score(x, 0.8, 0.6) * np.array([1.0, -2.0])).sum(), x).numpy(), rtol=1e-9, atol=1e-9)


@every_kind
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_model_predicts_what_it_is_asked_for(kind, prediction_type):
    """p E[x_0 | x] + q E[eps | x], with E[eps | x] = (x - alpha E[x_0 | x]) / sigma; one time, and a time for each."""
    data, schedule, x = KINDS[kind][0], make_schedule("linear", 20), RNG.standard_normal((3, 2))
    for t in (7, np.array([3, 19, 3])):
        alpha, sigma = np.reshape(schedule.alpha(t), (-1, 1)), np.reshape(schedule.sigma(t), (-1, 1))
        start = data.start(x, alpha, sigma)
        p, q = MIXTURES[prediction_type](alpha, sigma)
        close(data.model(schedule, prediction_type)(x, t), p * start + q * (x - alpha * start) / sigma, rtol=1e-9, atol=1e-9)


@given(schedules(), numbers, st.data())
def test_the_perfect_epsilon_of_standard_normal_data(schedule, x, data):
    """The one-line oracle: sqrt(1 - abar) x."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    got = Gaussian().model(schedule)(np.array([x]), t)[0]
    assert got == pytest.approx(np.sqrt(-np.expm1(np.log1p(-schedule.betas[: t + 1]).sum())) * x, rel=1e-12)


# -- which component? ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mixture", "a width for each coordinate", "points"])
@given(st.tuples(numbers, numbers), alphas, st.floats(0.3, 3))
def test_responsibilities_are_bayes_rule(kind, point, alpha, sigma):
    """One component's density over that of all, in 50 digits."""
    data, components = KINDS[kind]
    total = log_density(components, point, alpha, sigma)
    close(
        data.log_responsibilities(np.array([point]), alpha, sigma)[0],
        [log_density([one], point, alpha, sigma) - total for one in components],
    )


@given(st.floats(0.1, 1), st.floats(0.1, 3))
def test_the_exact_classifier_guides_to_the_component(alpha, sigma):
    """grad log p(k | x) = score of component k - score of the mixture: what classifier guidance relies on."""
    data, components = KINDS["mixture"]
    point = RNG.uniform(-2, 2, (3, 2))
    x = tensor(point, requires_grad=True)
    for k, (_, mean, std) in enumerate(components):
        slope = gradient(data.log_responsibilities(x, alpha, sigma)[:, k].sum(), x).numpy()
        close(slope, Gaussian(mean, std).score(point, alpha, sigma) - data.score(point, alpha, sigma), rtol=1e-8, atol=1e-8)


# -- the kinds are limits of each other ------------------------------------------------------------------------------


def answers(data, x, alpha, sigma):
    return [f(x, alpha, sigma) for f in (data.start, data.score, data.log_prob)]


def test_a_mixture_of_one_is_a_gaussian():
    """K = 1, images of any shape, a level for each."""
    image, x = RNG.standard_normal((2, 3)), 10 * RNG.standard_normal((4, 2, 3))
    alpha, sigma = RNG.uniform(0, 1, (2, 4, 1, 1))
    for one, other in zip(answers(Mixture([1.0], image[None], [0.3]), x, alpha, sigma), answers(Gaussian(image, 0.3), x, alpha, sigma)):
        close(one, other, rtol=1e-12)


def test_points_are_a_mixture_without_width():
    """std 0 exactly, and the approach to it: the error falls with std^2."""
    images, x = RNG.standard_normal((5, 2, 3)), RNG.standard_normal((4, 2, 3))
    alpha, sigma = RNG.uniform(0.3, 1, (2, 4, 1, 1))
    points = Points(images)
    for level in ((alpha, sigma), (0.7, 0.4)):
        for one, other in zip(answers(points, x, *level), answers(Mixture([0.2] * 5, images, 0.0), x, *level)):
            close(one, other, rtol=1e-10)
        errors = [abs(Mixture([0.2] * 5, images, s).log_prob(x, *level) - points.log_prob(x, *level)).max() for s in (1e-2, 1e-3)]
        assert 80 < errors[0] / errors[1] < 120


def test_splitting_a_component_or_repeating_a_point_in_proportion_changes_nothing():
    """[0.4, 0.6] of the same component are one; every point twice are the same points."""
    x = RNG.standard_normal((4, 2))
    split = Mixture([0.4, 0.6], [[1.0, 2.0]] * 2, [0.5, 0.5])
    for one, other in zip(answers(split, x, 0.7, 0.5), answers(Gaussian([1.0, 2.0], 0.5), x, 0.7, 0.5)):
        close(one, other, rtol=1e-12)
    images = RNG.standard_normal((3, 2))
    for one, other in zip(answers(Points(np.repeat(images, 2, 0)), x, 0.7, 0.5), answers(Points(images), x, 0.7, 0.5)):
        close(one, other, rtol=1e-12)


def test_independent_halves_add_up():
    """The product of a mixture and a Gaussian, in two coordinates, is a mixture: log densities add, scores stand side by side."""
    x = RNG.standard_normal((6, 2))
    both = Mixture([0.3, 0.7], [[-1.0, 0.4], [1.0, 0.4]], [[0.2, 0.6], [0.5, 0.6]])
    a, b = LINE["mixture"], LINE["gaussian"]
    close(both.log_prob(x, 0.8, 0.3), a.log_prob(x[:, :1], 0.8, 0.3) + b.log_prob(x[:, 1:], 0.8, 0.3))
    close(both.score(x, 0.8, 0.3), np.hstack([a.score(x[:, :1], 0.8, 0.3), b.score(x[:, 1:], 0.8, 0.3)]))


def test_turned_data_is_a_gaussian_with_a_covariance():
    """Against scipy's multivariate normal, the normal equations with the full matrix, and the model of both."""
    rotation, std, x = ortho_group.rvs(4), np.array([0.1, 0.5, 1.0, 2.0]), RNG.standard_normal((5, 4))
    data = Rotated(Gaussian(np.zeros(4), std), rotation)
    covariance = rotation.T @ np.diag(std**2) @ rotation
    alpha, sigma = 0.8, 0.5
    total = alpha**2 * covariance + sigma**2 * np.eye(4)
    close(data.log_prob(x, alpha, sigma), multivariate_normal(np.zeros(4), total).logpdf(x))
    close(data.score(x, alpha, sigma), -np.linalg.solve(total, x.T).T)
    close(data.start(x, alpha, sigma), alpha * x @ np.linalg.solve(total, covariance))
    drawn = data.sample(20_000, Generator(int(RNG.integers(2**63))))
    white = drawn @ rotation.T / std  # independent standard normals: each second moment is off by at most 7 standard errors
    assert (abs(white.T @ white / 20_000 - np.eye(4)) < 7 * math.sqrt(2 / 20_000)).all()


# -- extremes --------------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("far", [1e3, 1e6, -1e9])
def test_far_away_the_answers_stay_finite_and_right(kind, far):
    """A million standard deviations out, no exponential underflows to 0 / 0: against 50 digits, without a single term lost."""
    data, components = KINDS[kind]
    x, alpha, sigma = np.array([[far, far / 2]]), 0.9, 0.3
    close(data.log_prob(x, alpha, sigma)[0], log_density(components, x[0].tolist(), alpha, sigma), rtol=1e-12)
    slope = [MP.diff(lambda *p: log_density(components, p, alpha, sigma), x[0].tolist(), order) for order in ((1, 0), (0, 1))]
    close(data.score(x, alpha, sigma)[0], slope, rtol=1e-9)
    assert np.isfinite(data.start(x, alpha, sigma)).all()


@pytest.mark.parametrize("data, components", [
    (Mixture([0.4, 0.6], [[-1.0, 0.5], [1.0, -0.5]], 0.5), [(0.4, [-1.0, 0.5], 0.5), (0.6, [1.0, -0.5], 0.5)]),
    (Points([[-1.0, 0.5], [1.0, -0.5]]), [(0.5, [-1.0, 0.5], 0.0), (0.5, [1.0, -0.5], 0.0)])], ids=["mixture", "points"])
def test_far_away_in_float32_the_shares_sum_to_one(data, components):
    """Where the density is e^-50,000. The denoiser against 50 digits: off by what rounding the exponents does to the shares, not more.

    An exponent of -50,000 has two decimal places in float32; shares that did not sum to 1 would scale the answer, which is far out, too.
    """
    alpha, sigma, u = MP.mpf(0.8), MP.mpf(0.6), 2.0**-24
    x = (RNG.uniform(-100, 100, (40, 1)) * [1.0, 2.0] + RNG.normal(size=(40, 2))).astype(np.float32)  # between the two, where both count
    shares = np.exp(data.log_responsibilities(x, 0.8, 0.6))
    assert shares.dtype == np.float32 and abs(shares.sum(axis=1) - 1).max() < 8 * u
    for point, got in zip(x.tolist(), data.start(x, 0.8, 0.6)):
        variances = [(alpha * MP.mpf(s)) ** 2 + sigma**2 for _, _, s in components]
        exponents = [MP.log(w) - sum((p - alpha * m) ** 2 for p, m in zip(point, mean)) / (2 * v)
                     for (w, mean, _), v in zip(components, variances)]
        total = MP.log(sum(MP.exp(e) for e in exponents))
        off = 16 * u * max(map(abs, exponents))  # of the difference of two exponents; p (1 - p) <= 1/4 of it reaches a share p
        for d in range(2):
            answers = [mean[d] + alpha * MP.mpf(s) ** 2 / v * (point[d] - alpha * mean[d])
                       for (_, mean, s), v in zip(components, variances)]
            right = sum(MP.exp(e - total) * answer for e, answer in zip(exponents, answers))
            assert abs(got[d] - right) < abs(answers[0] - answers[1]) * off / 4 + 8 * u * (abs(right) + 1)


@every_kind
def test_almost_no_noise_and_almost_nothing_but_noise(kind):
    """sigma = 1e-8 beside the data, and alpha = 1e-8: against 50 digits."""
    data, components = KINDS[kind]
    for alpha, sigma, point in ((1.0, 1e-8, [1.0 + 3e-8, -1.0 - 1e-8]), (1e-8, 1.0, [0.3, 0.7]), (0.0, 1.0, [0.3, 0.7])):
        x = np.array([point])
        close(data.log_prob(x, alpha, sigma)[0], log_density(components, point, alpha, sigma), rtol=1e-7)
        assert np.isfinite(data.score(x, alpha, sigma)).all() and np.isfinite(data.start(x, alpha, sigma)).all()
    mean = sum(w * np.array(m) for w, m, _ in components)
    close(data.start(np.array([[0.3, 0.7]]), 0.0, 1.0)[0], mean)


def test_tiny_weights_are_no_zeros():
    """A component of weight 1e-300 decides where no other reaches, and log p(k | x) says how little it counts elsewhere."""
    data = Mixture([1 - 1e-300, 1e-300], [[0.0], [100.0]], [0.5, 0.5])
    close(data.log_responsibilities(np.array([[100.0]]), 1.0, 0.1)[0, 1], 0.0)
    close(data.start(np.array([[100.0]]), 1.0, 0.1), [[100.0]])
    got = data.log_responsibilities(np.array([[0.0]]), 1.0, 0.1)[0, 1]
    close(got, math.log(1e-300) - 100.0**2 / (2 * 0.26), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@every_kind
def test_a_model_answers_in_the_dtype_of_the_question_as_exactly_as_it_can(kind, prediction_type, dtype):
    """The answer to float32 data is the float64 answer, rounded once; input that is not contiguous, and an empty batch, serve too."""
    data, schedule = KINDS[kind][0], make_schedule("linear", 20)
    x = RNG.standard_normal((2, 8)).astype(dtype)[:, ::3].T[:, ::-1]
    for t in (3, [0, 3, 19]):
        got = data.model(schedule, prediction_type)(x, t)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, data.model(schedule, prediction_type)(x.astype(np.float64).copy(), t).astype(dtype))
    assert data.model(schedule, prediction_type)(x[:0], 3).shape == (0, 2)


@every_kind
def test_plain_formulas_keep_float32(kind):
    """Also for levels that are NumPy numbers, which would upcast."""
    data, x = KINDS[kind][0], RNG.standard_normal((3, 2)).astype(np.float32)
    for level in ((0.8, 0.6), (np.float64(0.8), np.array(0.6)), tuple(np.full((2, 3, 1), 0.7, np.float32))):
        for formula in (data.start, data.score, data.log_prob):
            assert formula(x, *level).dtype == np.float32


def test_points_in_blocks_are_points(monkeypatch):
    """Blocks of one point give the bits of one block, and 2,000 images never stand side by side with all of the batch."""
    points, x = Points(RNG.standard_normal((7, 2, 3))), RNG.standard_normal((4, 2, 3))
    whole = answers(points, x, 0.8, 0.3)
    monkeypatch.setattr(diffusion.exact.points, "BLOCK", 1)
    for one, other in zip(answers(points, x, 0.8, 0.3), whole):
        np.testing.assert_array_equal(one, other)
    monkeypatch.undo()
    images, batch = Points(RNG.random((2000, 28, 28))), RNG.standard_normal((16, 28, 28))
    tracemalloc.start()
    images.start(batch, 0.8, 0.3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * images.data.nbytes < 16 * images.data.nbytes


# -- draws -----------------------------------------------------------------------------------------------------------


def test_points_are_drawn_evenly():
    """Binomial counts: each within 7 standard deviations (false alarm 1e-11)."""
    drawn = Points(np.arange(5.0)).sample(50_000, Generator(int(RNG.integers(2**63))))
    counts = np.array([(drawn == k).sum() for k in range(5)])
    assert counts.sum() == 50_000 and (abs(counts - 10_000) < 7 * math.sqrt(50_000 * 0.2 * 0.8)).all()


def test_draws_have_the_shape_of_the_data():
    """Numbers, rows and images; standard deviations that broadcast."""
    generator = Generator(int(RNG.integers(2**63)))
    for data, shape in (
        (Gaussian(), ()), (Gaussian(np.zeros((2, 3)), [1.0, 2.0, 0.0]), (2, 3)), (Points(np.zeros((4, 1, 2))), (1, 2)),
        (Mixture([0.5, 0.5], np.zeros((2, 1, 2)), [1.0, 2.0]), (1, 2)), (Mixture([0.5, 0.5], np.zeros((2, 3)), [[1.0], [2.0]]), (3,)),
        (Mixture([0.5, 0.5], [1.0, 2.0], 0.1), ()),
    ):
        drawn = data.sample(6, generator)
        assert drawn.shape == (6, *shape) and drawn.dtype == np.float64
        assert data.log_prob(drawn, 0.5, 0.5).shape == (6,) and data.score(drawn, 0.5, 0.5).shape == drawn.shape


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights, means, stds, message",
    [
        ([0.5, 0.5], [[1.0]], [0.1, 0.1], r"Mixture: .* got shapes \(2,\), \(1, 1\), \(2,\)"),
        (1.0, [[1.0]], [0.1], r"got shapes \(\), \(1, 1\), \(1,\)"),
        ([0.5, 0.5], [[1.0], [2.0]], [0.1, 0.1, 0.1], r"got shapes \(2,\), \(2, 1\), \(3,\)"),
        ([0.5, 0.4], [[1.0], [2.0]], [0.1, 0.1], r"positive weights that sum to 1, got \[0.5, 0.4\]"),
        ([1.5, -0.5], [[1.0], [2.0]], [0.1, 0.1], "positive weights"),
        ([np.nan, 0.5], [[1.0], [2.0]], [0.1, 0.1], "positive weights"),
        ([0.5, 0.5], [[1.0], [2.0]], [0.1, -0.1], "stds of at least 0, got -0.1"),
    ],
)
def test_bad_mixtures_are_refused(weights, means, stds, message):
    """Shapes that do not belong together, weights that are no probabilities, negative widths."""
    with pytest.raises(ValueError, match=message):
        Mixture(weights, means, stds)


def test_other_bad_data_is_refused():
    """Negative and missing stds, no points, a matrix that is no rotation."""
    with pytest.raises(ValueError, match="Gaussian: expected a std of at least 0, got -1"):
        Gaussian(0.0, [1.0, -1.0])
    for data in (3.0, np.zeros((0, 2))):
        with pytest.raises(ValueError, match="Points: expected data of shape"):
            Points(data)
    for matrix in (np.ones((2, 2)), np.eye(3)[:2], 1.0):
        with pytest.raises(ValueError, match="Rotated: expected an orthogonal matrix"):
            Rotated(Gaussian(), matrix)


@pytest.mark.parametrize("data", [Mixture([1.0], [[1.0, 2.0]], [0.1]), Points([[1.0, 2.0]])])
def test_other_shapes_are_refused(data):
    """x must have the shape of the data."""
    with pytest.raises(ValueError, match=r"the data has shape \(2,\), got x of shape \(4, 3\)"):
        data.model(make_schedule("linear", 5))(np.zeros((4, 3)), 0)


@pytest.mark.parametrize("data", [Gaussian([1.0, 0.0], [0.0, 1.0]), Mixture([0.5, 0.5], np.eye(2), [0.1, 0.0]), Points(np.eye(2))])
@pytest.mark.parametrize("sigma", [0.0, np.array([[0.0], [0.1], [1.0]])], ids=["one", "each"])
def test_without_noise_and_without_width_there_is_no_density(data, sigma):
    """Refused with a sentence, not answered with NaN."""
    for formula in (data.start, data.score, data.log_prob):
        with pytest.raises(ValueError, match=r"at sigma = 0, data of std 0 has no density; expected sigma > 0, got sigma = 0\.0"):
            formula(np.zeros((3, 2)), 1.0, sigma)


def test_an_unknown_prediction_type_is_refused():
    """When the model is made, not when it is asked."""
    with pytest.raises(ValueError, match="unknown prediction_type 'noise'"):
        Gaussian().model(make_schedule("linear", 5), "noise")
