"""Do the samplers draw from the right distribution? With perfect models the law of their output is known, so tests can be exact.

For Gaussian data every walk is affine in its starting noise and its fresh noise, so what arrives is Gaussian with moments that the papers'
own step formulas give (the sampler's discretisation error included). On a line, the law of any chain is its transition densities, summed
over a grid. Each comparison has a false-alarm probability of at most 1e-9, and all of this file less than 1e-6: seeds are not fixed.
"""

import math
import secrets
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2, norm

from minidiff import diffusion
from minidiff.diffusion import (
    DDIM,
    DDPM,
    DDPM_LARGE,
    EDM,
    EULER,
    HEUN,
    Ancestral,
    Gaussian,
    Karras,
    Mixture,
    Points,
    Rotated,
    make_schedule,
    path,
    sample,
    sampler_law,
    timesteps,
    wasserstein,
)
from minidiff.random import Generator

ALARM = 1e-9
"""The probability that a test of this file raises a false alarm, for each comparison."""

COUNT = 20_000
SCHEDULE = make_schedule("linear", 1000)
TIMES = timesteps(1000, 10, "trailing")
SIGMAS = [80.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03]


def generator():
    return Generator(secrets.randbits(64))


def assert_distributed(values, cdf):
    """Kolmogorov's distance, against the bound of Dvoretzky, Kiefer, Wolfowitz and Massart: P(sup |F_n - F| > d) <= 2 exp(-2 n d^2)."""
    values = np.sort(np.ravel(values))
    n, expected = len(values), cdf(np.sort(np.ravel(values)))
    steps = np.arange(n + 1) / n
    distance = max((steps[1:] - expected).max(), (expected - steps[:-1]).max())
    assert distance <= math.sqrt(math.log(2 / ALARM) / (2 * n)), f"distance {distance} of {n} draws"


def assert_standard_normal(z):
    """(N, D) independent standard normals: each coordinate's law; the sum of all squares, chi-square; no correlation of coordinates."""
    n, d = z.shape
    for k in range(d):
        assert_distributed(z[:, k], norm.cdf)
    total = (z**2).sum()
    assert chi2.ppf(ALARM / 2, n * d) < total < chi2.isf(ALARM / 2, n * d)
    assert chi2.sf(n * (z.mean(axis=0) ** 2).sum(), d) > ALARM
    for j in range(d):
        for k in range(j):
            # sum z_j z_k = (sum (z_j + z_k)^2 - sum (z_j - z_k)^2) / 4, two independent chi-squares of n degrees, times 2
            for sign in (1, -1):
                half = ((z[:, j] + sign * z[:, k]) ** 2).sum() / 2
                assert chi2.ppf(ALARM / 4, n) < half < chi2.isf(ALARM / 4, n)


# -- Gaussian data: the moments by the formulas of the papers ----------------------------------------------------------


def ddpm(denoise, mean, variance, abar_t, abar_s, large):
    """Ho et al. 2020, Eq. 7 with the betas of the visited times; sigma^2 = beta~ or beta."""
    alpha = abar_t / abar_s
    on_x, on_start = math.sqrt(alpha) * (1 - abar_s) / (1 - abar_t), math.sqrt(abar_s) * (1 - alpha) / (1 - abar_t)
    a, b = denoise(math.sqrt(abar_t), math.sqrt(1 - abar_t))
    noise = (1 - alpha) * (1 if large and abar_s < 1 else (1 - abar_s) / (1 - abar_t))
    return on_x * mean + on_start * (a * mean + b), (on_x + on_start * a) ** 2 * variance + noise


def song(denoise, mean, variance, abar_t, abar_s, eta):
    """Song et al. 2021, Eq. 12 and 16."""
    a, b = denoise(math.sqrt(abar_t), math.sqrt(1 - abar_t))
    v = eta * math.sqrt((1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s))
    on_noise = math.sqrt(max(1 - abar_s - v**2, 0)) / math.sqrt(1 - abar_t)
    factor = math.sqrt(abar_s) * a + on_noise * (1 - math.sqrt(abar_t) * a)
    return factor * mean + (math.sqrt(abar_s) - on_noise * math.sqrt(abar_t)) * b, factor**2 * variance + v**2


CHURN = dict(s_churn=3.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.007)


def karras(denoise, mean, variance, sigma, sigma_next, option):
    """Karras et al. 2022, Algorithm 2, on x = mean and on a deviation of 1; Euler's method for order 1."""
    order, churn = option
    if churn and churn["s_tmin"] <= sigma <= churn["s_tmax"]:
        raised = sigma * (1 + min(churn["s_churn"] / len(SIGMAS), math.sqrt(2) - 1))
        variance = variance + (raised**2 - sigma**2) * churn["s_noise"] ** 2
        sigma = raised

    def step(x, shifted):
        def slope(x, sigma):
            a, b = denoise(1.0, sigma)
            return (x - a * x - (b if shifted else 0)) / sigma

        d = slope(x, sigma)
        x_next = x + (sigma_next - sigma) * d
        if order == 2 and sigma_next > 0:
            x_next = x + (sigma_next - sigma) * (d + slope(x_next, sigma_next)) / 2
        return x_next

    return step(mean, True), step(1.0, False) ** 2 * variance


ON_SCHEDULE = {
    "DDPM": (DDPM, ddpm, False),
    "DDPM_LARGE": (DDPM_LARGE, ddpm, True),
    "DDIM": (DDIM, song, 0.0),
    "eta = 0.5": (Ancestral(0.5), song, 0.5),
    "eta = 1": (Ancestral(1.0), song, 1.0),
}
ON_SIGMAS = {
    "EULER": (EULER, karras, (1, {})),
    "HEUN": (HEUN, karras, (2, {})),
    "EULER with churn": (Karras(order=1, **CHURN), karras, (1, CHURN)),
    "HEUN with churn": (Karras(order=2, **CHURN), karras, (2, CHURN)),
}


def denoiser(mean, std):
    """(a, b) of E[x_0 | x] = a x + b."""
    def coefficients(alpha, sigma):
        a = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        return a, mean - a * alpha * mean

    return coefficients


def predicted_moments(formula, option, noise_levels, mean, std, start_variance, start_mean=0.0):
    """Carry N(start_mean, start_variance) along the levels, to the data."""
    m, v = start_mean, start_variance
    for level, following in pairwise(noise_levels):
        m, v = formula(denoiser(mean, std), m, v, level, following, option)
    return m, v


def law_of(sampler, mean, std, process, times, start_std=1.0):
    """Mean and std of what arrives: the walk is affine, so it is asked where 0 goes, and how far each unit of noise moves it."""
    draws = sampler.plan(path(process, times)).draws
    units = np.vstack([np.zeros(1 + draws), np.eye(1 + draws)])  # a row for nothing, for x_T, and for each draw
    model, start, *noise = Gaussian(mean, std).model(process), *(one[:, None].copy() for one in units.T)
    arrived = sample(model, process, start_std * start, times, sampler, noise=noise)[:, 0]
    return arrived[0], math.sqrt(((arrived[1:] - arrived[0]) ** 2).sum())


@pytest.mark.parametrize("name", [*ON_SCHEDULE, *ON_SIGMAS])
def test_the_law_of_a_walk_is_that_of_the_papers(name):
    """Mean and std to ten digits, without a draw: unit noises sent through the walk, moments sent through the papers' formulas."""
    sampler, formula, option = {**ON_SCHEDULE, **ON_SIGMAS}[name]
    process, times, levels, start = SCHEDULE, TIMES, np.append(np.cumprod(1 - SCHEDULE.betas)[TIMES], 1.0), 1.0
    if name in ON_SIGMAS:
        process, times, levels, start = EDM, SIGMAS, [*SIGMAS, 0.0], SIGMAS[0]
    mean, variance = predicted_moments(formula, option, levels, 0.5, 0.3, start**2)
    assert law_of(sampler, 0.5, 0.3, process, times, start) == pytest.approx((mean, math.sqrt(variance)), rel=1e-10)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ON_SCHEDULE)
def test_gaussian_data_arrives_with_the_law_of_the_papers(name, prediction_type):
    """Ten steps from N(0, I): each coordinate has its own mean and std, and its own exactly predicted error."""
    sampler, formula, option = ON_SCHEDULE[name]
    mean, std = np.array([0.5, -1.0, 0.0]), np.array([0.3, 1.0, 0.05])
    abar = np.append(np.cumprod(1 - SCHEDULE.betas)[TIMES], 1.0)
    moments = np.array([predicted_moments(formula, option, abar, m, s, 1.0) for m, s in zip(mean, std)])
    g = generator()
    model = Gaussian(mean, std).model(SCHEDULE, prediction_type)
    x = sample(
        model, SCHEDULE, g.standard_normal((COUNT, 3), "float64"), TIMES, sampler, generator=g, prediction_type=prediction_type
    )
    assert_standard_normal((x - moments[:, 0]) / np.sqrt(moments[:, 1]))


@pytest.mark.parametrize("name", ON_SIGMAS)
def test_gaussian_data_arrives_with_the_law_of_edm(name):
    """Eight sigmas from N(0, 80^2): the same for the solvers of the ODE in sigma."""
    sampler, formula, option = ON_SIGMAS[name]
    mean, std = np.array([0.5, -1.0]), np.array([0.3, 1.0])
    moments = np.array([predicted_moments(formula, option, [*SIGMAS, 0.0], m, s, SIGMAS[0] ** 2) for m, s in zip(mean, std)])
    g = generator()
    x = SIGMAS[0] * g.standard_normal((COUNT, 2), "float64")
    x = sample(Gaussian(mean, std).model(EDM, "sample"), EDM, x, SIGMAS, sampler, prediction_type="sample", generator=g)
    assert_standard_normal((x - moments[:, 0]) / np.sqrt(moments[:, 1]))


@pytest.mark.parametrize("name", ["DDPM", "DDIM", "eta = 0.5"])
def test_the_predicted_error_vanishes_with_the_steps(name):
    """The laws above approach N(mean, std^2), and `transport` of N(0, 1), which is within e^-5 of it: no draw is needed."""
    _, formula, option = ON_SCHEDULE[name]
    errors = []
    for steps in (10, 100, 1000):
        abar = np.append(np.cumprod(1 - SCHEDULE.betas)[timesteps(1000, steps, "trailing")], 1.0)
        m, v = predicted_moments(formula, option, abar, 0.5, 0.3, 1.0)
        errors.append(abs(m - 0.5) / 0.3 + abs(math.sqrt(v) / 0.3 - 1))
    assert errors[0] > 3 * errors[1] > 9 * errors[2] and errors[2] < 0.03


def test_correlated_gaussian_data_keeps_its_covariance():
    """Turned data, whitened with the exact covariance of DDPM's law: the sampler knows no axes."""
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    std = np.array([1.0, 0.2])
    abar = np.append(np.cumprod(1 - SCHEDULE.betas)[TIMES], 1.0)
    moments = np.array([predicted_moments(ddpm, False, abar, 0.0, s, 1.0) for s in std])
    model, g = Rotated(Gaussian(np.zeros(2), std), turn).model(SCHEDULE), generator()
    x = sample(model, SCHEDULE, g.standard_normal((COUNT, 2), "float64"), TIMES, DDPM, generator=g)
    assert_standard_normal(x @ turn.T / np.sqrt(moments[:, 1]))


@pytest.mark.parametrize("name", ON_SCHEDULE)
def test_sampler_law_is_that_of_the_papers(name):
    """The library's own account of a walk that begins at the true q(x_T), coordinate by coordinate; and its distance from the data."""
    sampler, formula, option = ON_SCHEDULE[name]
    mean, std, times = np.array([0.5, -1.0]), np.array([0.3, 1.0]), timesteps(1000, 5, "leading")
    abar = np.append(np.cumprod(1 - SCHEDULE.betas)[times], 1.0)
    moments = np.array([
        predicted_moments(formula, option, abar, m, s, abar[0] * s**2 + 1 - abar[0], math.sqrt(abar[0]) * m) for m, s in zip(mean, std)
    ])
    got = sampler_law(sampler, SCHEDULE, times, Gaussian(mean, std))
    np.testing.assert_allclose(got, [moments[:, 0], np.sqrt(moments[:, 1])], rtol=1e-10)
    # in one dimension the 2-Wasserstein distance is that between quantile functions
    u = (np.arange(200_000) + 0.5) / 200_000
    apart = [((norm.ppf(u, m, s) - norm.ppf(u, *at)) ** 2).mean() for m, s, at in zip(mean, std, zip(*got))]
    assert wasserstein(*got, Gaussian(mean, std)) == pytest.approx(math.sqrt(np.mean(apart)), rel=1e-3)


# -- every sampler there is ------------------------------------------------------------------------------------------

EVERY = {
    name: member
    for name, member in ((name, getattr(diffusion, name)) for name in diffusion.__all__)
    if hasattr(member, "plan") and not isinstance(member, type)
}


@pytest.mark.parametrize("name", EVERY)
def test_every_sampler_converges_to_gaussian_data(name):
    """250 steps: the law of what arrives is that of the data, the mean to 1 % of the std, the std to 6 % (DDPM); no draw is needed."""
    mean, std = law_of(EVERY[name], 0.5, 0.3, SCHEDULE, timesteps(1000, 250, "trailing"))
    assert mean == pytest.approx(0.5, abs=0.003)
    assert std == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize("name", EVERY)
def test_every_sampler_draws_fresh_independent_noise(name):
    """20 steps from a generator have the law that unit noises add up to: no draw is used twice, forgotten, or of another size."""
    times, g = timesteps(1000, 20, "trailing"), generator()
    mean, std = law_of(EVERY[name], 0.5, 0.3, SCHEDULE, times)
    x = sample(Gaussian(0.5, 0.3).model(SCHEDULE), SCHEDULE, g.standard_normal((COUNT, 2), "float64"), times, EVERY[name], generator=g)
    assert_standard_normal((x - mean) / std)


# -- a mixture on a line: the law of the chain, by its transition densities ---------------------------------------------

WEIGHTS, MEANS, STDS = np.array([0.3, 0.5, 0.2]), np.array([-1.0, 0.5, 1.5]), np.array([0.2, 0.4, 0.1])
MIXTURE = Mixture(WEIGHTS, MEANS[:, None], STDS)


def mixture_cdf(x):
    return sum(w * norm.cdf(x, m, s) for w, m, s in zip(WEIGHTS, MEANS, STDS))


def mean_of_clean(x, alpha, sigma):
    """E[x_0 | x] of the mixture by brute force: the integral of Bayes' rule on a grid."""
    clean = np.linspace(-4, 4, 801)
    prior = sum(w * norm.pdf(clean, m, s) for w, m, s in zip(WEIGHTS, MEANS, STDS))
    exponent = -((x[:, None] - alpha * clean) ** 2) / (2 * sigma**2)
    joint = prior * np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return joint @ clean / joint.sum(axis=1)


@pytest.mark.parametrize("eta", [0.6, 1.0])
def test_a_chain_on_a_line_has_the_law_of_its_transitions(eta):
    """Chapman-Kolmogorov on a grid, from N(0, 1) to the last step, which adds no noise; the walk of 20 steps against it."""
    times = timesteps(1000, 20, "trailing")
    abar = np.cumprod(1 - SCHEDULE.betas)[times]
    grid = np.linspace(-7, 7, 1001)
    width = grid[1] - grid[0]
    law = norm.pdf(grid)
    for now, following in pairwise(abar):
        start = mean_of_clean(grid, math.sqrt(now), math.sqrt(1 - now))
        noise = (grid - math.sqrt(now) * start) / math.sqrt(1 - now)
        v = eta * math.sqrt((1 - following) / (1 - now) * (1 - now / following))
        center = math.sqrt(following) * start + math.sqrt(1 - following - v**2) * noise
        law = norm.pdf(grid[:, None], center, v) @ law * width
    assert law.sum() * width == pytest.approx(1, abs=1e-6)
    last = mean_of_clean(grid, math.sqrt(abar[-1]), math.sqrt(1 - abar[-1]))
    assert (np.diff(last) > 0).all()  # so the last step only relabels the axis
    cumulative = (np.cumsum(law) - law / 2) * width

    g = generator()
    x = sample(MIXTURE.model(SCHEDULE), SCHEDULE, g.standard_normal((COUNT, 1), "float64"), times, Ancestral(eta), generator=g)
    assert_distributed(x, lambda y: np.interp(y, last, cumulative))
    assert abs(np.interp(grid, last, cumulative) - mixture_cdf(grid)).max() < 0.06  # and the chain itself is not far from the data


@pytest.mark.parametrize("sampler", [EULER, HEUN], ids=["EULER", "HEUN"])
def test_many_steps_draw_the_mixture(sampler):
    """120 sigmas: the ODE's own error is below 0.01 in distribution (the flow keeps order, so quantiles say how far it is off)."""
    sigmas = np.geomspace(80, 0.002, 120)
    model = MIXTURE.model(EDM, "sample")
    quantiles = (np.arange(2000) + 0.5) / 2000
    arrived = sample(model, EDM, 80 * norm.ppf(quantiles)[:, None], sigmas, sampler, prediction_type="sample")[:, 0]
    assert (np.diff(arrived) > 0).all()
    assert abs(mixture_cdf(arrived) - quantiles).max() < 0.01
    x = sample(model, EDM, 80 * generator().standard_normal((COUNT, 1), "float64"), sigmas, sampler, prediction_type="sample")
    assert_distributed(x, lambda y: np.interp(y, arrived, quantiles))


def test_components_come_in_their_proportions():
    """DDPM, 200 steps, a mixture in two dimensions, far apart: counts by chi-square, with the weights of the data."""
    weights, means = np.array([0.1, 0.2, 0.3, 0.4]), np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    data, g, count = Mixture(weights, means, 0.1), generator(), 5000
    times = timesteps(1000, 200, "trailing")
    x = sample(data.model(SCHEDULE), SCHEDULE, g.standard_normal((count, 2), "float64"), times, DDPM, generator=g)
    component = data.log_responsibilities(x, 1.0, 0.0).argmax(axis=1)
    counts = np.bincount(component, minlength=4)
    assert chi2.sf(((counts - count * weights) ** 2 / (count * weights)).sum(), 3) > ALARM
    assert (abs(x - means[component]) < 0.1 * 7).all()  # no draw lies between the components


@pytest.mark.parametrize("sampler", [DDPM, DDIM, HEUN], ids=["DDPM", "DDIM", "HEUN"])
def test_a_walk_with_perfect_knowledge_of_the_data_set_ends_in_the_data_set(sampler):
    """Memorization: every sample is one of the training points, and each about as often: 1000 +- 250, ten standard deviations."""
    data, g = Points([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]]), generator()
    times = timesteps(1000, 100, "trailing")
    x = sample(data.model(SCHEDULE), SCHEDULE, g.standard_normal((3000, 2), "float64"), times, sampler, generator=g)
    distances = np.linalg.norm(x[:, None] - data.data, axis=2)
    assert distances.min(axis=1).max() < 1e-3
    assert (abs(np.bincount(distances.argmin(axis=1)) - 1000) < 250).all()


def test_the_draws_of_the_data_are_its_density():
    """`sample` of the data itself: Gaussian whitened, mixture by its distribution function."""
    mean, std = np.array([0.5, -1.0]), np.array([0.3, 2.0])
    assert_standard_normal((Gaussian(mean, std).sample(COUNT, generator()) - mean) / std)
    assert_distributed(MIXTURE.sample(COUNT, generator()), mixture_cdf)
    wide = Mixture(WEIGHTS, np.stack([MEANS, -MEANS], axis=1), np.stack([STDS, 3 * STDS], axis=1)).sample(COUNT, generator())
    assert_distributed(wide[:, 0], mixture_cdf)
    assert_distributed(wide[:, 1], lambda x: sum(w * norm.cdf(x, -m, 3 * s) for w, m, s in zip(WEIGHTS, MEANS, STDS)))
