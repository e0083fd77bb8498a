"""Densities, divergences and bins of Gaussians, against integrals and 50-digit arithmetic."""

import math

import mpmath
import numpy as np
import pytest
from diffusion_laws import MP, processes_at
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from minidiff.autograd import check_gradients, tensor
from minidiff.diffusion import (
    EDM,
    discretized_gaussian_log_likelihood,
    make_schedule,
    nats_to_bits_per_dim,
    normal_kl,
    normal_log_prob,
    path,
    prior_kl,
    q_mean_variance,
    q_mean_variance_between,
    q_posterior_mean_variance_between,
    sum_flat,
)
from minidiff.diffusion.gaussians import erfcx, exp_beyond_tangent, log_upper_tail

numbers, logs = st.floats(-3, 3), st.floats(-6, 6)
LEVELS = np.arange(256) / 127.5 - 1


def above_tangent(d):
    """exp(d) - 1 - d in 50 digits."""
    d = MP.mpf(d)
    return MP.exp(d) - 1 - d if abs(d) > 1e-10 else d * d / 2 * (1 + d / 3 + d * d / 12)


# -- densities -------------------------------------------------------------------------------------------------------


@given(numbers, numbers, logs)
def test_log_density_is_scipy_s(x, mean, log_variance):
    """Another library's formula, elementwise and with a number for the log variance."""
    found = normal_log_prob(np.array([x]), mean, log_variance)[0]
    assert found == pytest.approx(norm.logpdf(x, mean, math.exp(log_variance / 2)), rel=1e-12, abs=1e-12)


@given(processes_at(2), numbers, numbers, st.floats(0.3, 1))
def test_densities_of_the_forward_process_integrate_to_one(at, x_start, x_t, eta):
    """q(x_t | x_0), q(x_t | x_s) and the posterior: numerical integration over ten standard deviations each way."""
    process, (s, t) = at
    a, b = np.array([x_start]), np.array([x_t])
    for mean, variance, log_variance in (q_mean_variance(process, a, t), q_mean_variance_between(process, a, s, t),
                                         q_posterior_mean_variance_between(process, a, b, t, s, eta)):
        std = math.sqrt(variance)
        if std < 1e-100 or std < 1e-6 * abs(mean[0]):
            continue  # two times so close that few numbers lie between the ends of the interval
        total, _ = quad(lambda z, m=mean, std=std, lv=log_variance: std * math.exp(normal_log_prob(m + z * std, m, lv)[0]), -10, 10)
        assert total == pytest.approx(1, rel=1e-9)


@given(processes_at(2), numbers, numbers, numbers)
def test_densities_obey_bayes_rule(at, x_start, x_s, x_t):
    """log q(x_s|x_t,x_0) + log q(x_t|x_0) = log q(x_t|x_s) + log q(x_s|x_0)."""
    process, (s, t) = at
    x_start, x_s, x_t = (np.array([x]) for x in (x_start, x_s, x_t))
    assume(q_mean_variance_between(process, x_s, s, t)[1] > 1e-100)

    def log_prob(x, distribution):
        mean, _, log_variance = distribution
        return normal_log_prob(x, mean, log_variance)[0]

    terms = (log_prob(x_s, q_posterior_mean_variance_between(process, x_start, x_t, t, s)),
             log_prob(x_t, q_mean_variance(process, x_start, t)),
             log_prob(x_t, q_mean_variance_between(process, x_s, s, t)),
             log_prob(x_s, q_mean_variance(process, x_start, s)))
    if not all(abs(term) < 1e6 for term in terms):
        return  # far tails, where rounding of the distance decides
    assert terms[0] + terms[1] == pytest.approx(terms[2] + terms[3], rel=1e-8, abs=1e-8)


# -- divergences -----------------------------------------------------------------------------------------------------


@given(numbers, st.floats(-2, 2), numbers, st.floats(-2, 2))
def test_divergence_is_the_expected_difference_of_log_densities(mean1, logvar1, mean2, logvar2):
    """Its definition, integrated numerically."""
    std = math.exp(logvar1 / 2)

    def difference(z):
        x = np.array([mean1 + std * z])
        gap = normal_log_prob(x, mean1, logvar1) - normal_log_prob(x, mean2, logvar2)
        return norm.pdf(z) * gap[0]

    expected, _ = quad(difference, -12, 12, epsabs=1e-12)
    assert normal_kl(mean1, logvar1, mean2, logvar2) == pytest.approx(expected, rel=1e-8, abs=1e-9)


@given(numbers, logs, numbers, logs | st.floats(-1e-3, 1e-3))
def test_divergence_has_all_digits_and_is_never_negative(mean1, logvar1, mean2, gap):
    """50 digits, with log variances as close as they may be."""
    logvar2 = logvar1 + gap
    d = MP.mpf(logvar1) - MP.mpf(logvar2)
    exact = (above_tangent(d) + (MP.mpf(mean1) - MP.mpf(mean2)) ** 2 * MP.exp(-MP.mpf(logvar2))) / 2
    found = normal_kl(np.array([mean1]), np.array([logvar1]), np.array([mean2]), np.array([logvar2]))[0]
    assert found >= 0 and found == pytest.approx(float(exact), rel=2e-14, abs=1e-300)
    assert normal_kl(mean1, logvar1, mean2, logvar2) == pytest.approx(found, rel=1e-14)


@given(st.floats(-1e-9, 1e-9) | st.floats(-0.2, 0.2) | st.floats(-50, 50))
def test_the_exponential_above_its_tangent(d):
    """50 digits, near 0 and far; a number, an array and float32."""
    assert exp_beyond_tangent(d) == pytest.approx(float(above_tangent(d)), rel=1e-14, abs=1e-300)
    single = np.float32(d)
    if abs(single) > 1e-15:  # whose square is a float32
        found = exp_beyond_tangent(np.array([single]))
        assert found.dtype == np.float32
        assert found[0] == pytest.approx(float(above_tangent(float(single))), rel=6e-6, abs=1e-37)


@given(numbers, logs, numbers, logs, st.floats(0.1, 10))
def test_units_do_not_matter(mean1, logvar1, mean2, logvar2, c):
    """In units c times as small the divergence is the same, and the log density less by log c."""
    more = 2 * math.log(c)
    kl = normal_kl(mean1, logvar1, mean2, logvar2)
    assert normal_kl(c * mean1, logvar1 + more, c * mean2, logvar2 + more) == pytest.approx(kl, rel=1e-9, abs=1e-12)
    density = normal_log_prob(mean2, mean1, logvar1)
    assert normal_log_prob(c * mean2, c * mean1, logvar1 + more) == pytest.approx(density - math.log(c), rel=1e-9, abs=1e-9)


def test_divergence_from_the_prior_in_bits():
    """Loops over the elements of each image; the schedule of Ho et al. leaves about 1e-5 bits per dimension."""
    schedule, x = make_schedule("linear", 1000), np.random.default_rng().uniform(-1, 1, (3, 2, 4, 5))
    found = prior_kl(schedule, x)
    abar = mpmath.fprod(1 - mpmath.mpf(float(beta)) for beta in schedule.betas)
    for one, nats in zip(x, found):
        expected = sum((1 - abar) - 1 - mpmath.log(1 - abar) + abar * mpmath.mpf(v) ** 2 for v in one.ravel().tolist()) / 2
        assert nats == pytest.approx(float(expected), rel=1e-9, abs=0)
    assert found.shape == (3,) and (0 < nats_to_bits_per_dim(found, 40)).all() and (nats_to_bits_per_dim(found, 40) < 5e-5).all()
    np.testing.assert_allclose(2 ** (nats_to_bits_per_dim(found, 40) * 40), np.exp(found))
    np.testing.assert_allclose(prior_kl(schedule, x, 500), sum_flat(normal_kl(*q_mean_variance(schedule, x, 500)[::2], 0.0, 0.0)))
    assert prior_kl(schedule, x.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="prior_kl: this process has no last time; give the time t"):
        prior_kl(EDM, x)
    assert prior_kl(EDM, 0 * x, 1.0) == pytest.approx(0)  # N(0, I) is where it is


# -- bins of pixels ---------------------------------------------------------------------------------------------------


def exact_bin(x, mean, log_scale):
    """log of the mass of a bin, differences of tails in 50 digits, on the side where they are small."""
    x, mean, std, half = MP.mpf(float(x)), MP.mpf(float(mean)), MP.exp(MP.mpf(float(log_scale))), MP.mpf(1) / 255

    def tail(z):
        return MP.erfc(z / MP.sqrt(2)) / 2

    below, above = (x - half - mean) / std, (x + half - mean) / std
    if x < -0.999:
        return MP.log(tail(-above))
    if x > 0.999:
        return MP.log(tail(below))
    return MP.log(tail(below) - tail(above) if below > 0 else tail(-above) - tail(-below) if above < 0 else 1 - tail(-below) - tail(above))


@given(st.integers(0, 255), st.floats(-1.5, 1.5), st.floats(-9, 1))
def test_the_mass_of_a_bin_has_its_digits_however_far_out(level, mean, log_scale):
    """Ho et al. Eq. 13 in 50 digits; from the middle of a bin to log-probabilities of -1e8. Of a large scale a bin is a small part."""
    x, exact = LEVELS[level], float(exact_bin(LEVELS[level], mean, log_scale))
    found = discretized_gaussian_log_likelihood(np.array([[x]]), np.array([[mean]]), log_scale)[0, 0]
    assert found == pytest.approx(exact, rel=1e-13, abs=3e-14 * max(1, 255 * math.exp(log_scale)))
    single = [np.array([[v]], np.float32) for v in (x, mean, log_scale)]
    exact = float(exact_bin(*(v[0, 0] for v in single)))
    found = discretized_gaussian_log_likelihood(*single)
    assert found.dtype == np.float32
    assert found[0, 0] == pytest.approx(exact, rel=3e-6, abs=1e-5 * max(1, math.exp(log_scale) * 20))


@given(st.floats(-1.5, 1.5), st.floats(-9, 1))
def test_the_bins_of_all_grey_levels_add_up_to_one(mean, log_scale):
    """The outermost are open, the others meet."""
    found = discretized_gaussian_log_likelihood(LEVELS[:, None], np.full((256, 1), mean), log_scale)
    assert np.exp(found).sum() == pytest.approx(1, rel=1e-11)


@given(st.integers(1, 254), st.floats(-1, 1), st.floats(-5, 0))
def test_a_bin_is_the_integral_of_the_density(level, mean, log_scale):
    """Numerical integration between its edges."""
    x, std = LEVELS[level], math.exp(log_scale)
    if abs(x - mean) / std > 20:
        return
    edges = x - 1 / 255, x + 1 / 255
    expected, _ = quad(lambda z: norm.pdf(z, mean, std), *edges, epsabs=0, epsrel=1e-10, points=[x, np.clip(mean, *edges)])
    found = discretized_gaussian_log_likelihood(np.array([[x]]), np.array([[mean]]), log_scale)[0, 0]
    assert found == pytest.approx(math.log(expected), rel=1e-8, abs=1e-8)


def test_the_approximate_form_is_openai_s():
    """Their formula written out: near the exact one in the bulk, and never below log 1e-12."""
    rng = np.random.default_rng()
    x, means = LEVELS[rng.integers(0, 256, (4, 50))], rng.uniform(-1, 1, (4, 50))
    log_scales = rng.uniform(-5, 0, (4, 50))

    def phi(z):
        return 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))

    plus, minus = phi(np.exp(-log_scales) * (x - means + 1 / 255)), phi(np.exp(-log_scales) * (x - means - 1 / 255))
    expected = np.where(x < -0.999, np.log(np.maximum(plus, 1e-12)),
                        np.where(x > 0.999, np.log(np.maximum(1 - minus, 1e-12)), np.log(np.maximum(plus - minus, 1e-12))))
    found = discretized_gaussian_log_likelihood(x, means, log_scales, approximate=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    exact = discretized_gaussian_log_likelihood(x, means, log_scales)
    near = exact > -5
    np.testing.assert_allclose(np.exp(found[near]), np.exp(exact[near]), atol=6e-4)
    assert found.min() >= math.log(1e-12) - 1e-9


@given(st.floats(0, 30) | st.floats(0, 1e6))
def test_erfcx_has_its_digits(x):
    """50 digits, where mpmath has them; 1 / (x sqrt pi) with its first correction beyond."""
    exact = float(MP.erfc(x) * MP.exp(MP.mpf(x) ** 2)) if x < 1e3 else (1 - 0.5 / x**2) / (x * math.sqrt(math.pi))
    assert erfcx(np.array([x]))[0] == pytest.approx(exact, rel=1.2e-14)


@given(st.floats(-40, 40))
def test_log_of_the_upper_tail(z):
    """50 digits, on both sides; below the mean an error of z^2 / 2 is one of its exponential."""
    exact = float(MP.log(MP.erfc(MP.mpf(z) / MP.sqrt(2)) / 2))
    assert log_upper_tail(np.array([z]))[0] == pytest.approx(exact, rel=2e-14 + 3e-16 * z * z)


def test_gradients_of_divergences_and_bins():
    """Finite differences; inside and outside of bins, at their edges, in the open ones and at the mean itself."""
    rng = np.random.default_rng()
    means, log_scales = rng.uniform(-1, 1, (2, 6)), rng.uniform(-3, 0, (2, 6))
    x = LEVELS[np.array([[0, 3, 100, 128, 200, 255], [255, 0, 50, 127, 127, 130]])]
    means[1, 3] = x[1, 3] + 1e-3
    check_gradients(lambda m, s: discretized_gaussian_log_likelihood(x, m, s), [means, log_scales])
    check_gradients(normal_kl, [means, log_scales, means[::-1].copy(), 0.5 * log_scales[::-1]])
    check_gradients(normal_log_prob, [x, means, log_scales])
    at_the_mean = tensor(x, requires_grad=True)
    scale = tensor(np.full(x.shape, -40.0), requires_grad=True)  # so sharp that everything overflows that can
    discretized_gaussian_log_likelihood(x, at_the_mean, scale).sum().backward()
    assert np.isfinite(at_the_mean.grad.numpy()).all() and np.isfinite(scale.grad.numpy()).all()


def test_arrays_that_are_not_alike_are_refused():
    """A mean that would broadcast."""
    with pytest.raises(ValueError, match=r"discretized_gaussian_log_likelihood: expected means to have the shape of x, \(2, 3\)"):
        discretized_gaussian_log_likelihood(np.zeros((2, 3)), np.zeros((2, 1)), 0.0)


def test_levels_of_a_walk_have_densities_too():
    """The mean of log q(x_t | x_0) over 10^5 draws is minus the entropy, to 9 standard errors: false alarms below 1e-15."""
    schedule, rng = make_schedule("linear", 50), np.random.default_rng()
    z = rng.standard_normal(100_000)
    for level in path(schedule, [49, 20, 0]).levels[:-1]:
        mean, variance, log_variance = q_mean_variance(schedule, np.array([0.3]), int(level.time))
        found = normal_log_prob(mean[0] + math.sqrt(variance) * z, mean[0], log_variance).mean()
        assert abs(found + (math.log(2 * math.pi * variance) + 1) / 2) < 9 * math.sqrt(0.5 / z.size)
