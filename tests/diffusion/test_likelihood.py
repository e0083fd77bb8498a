"""log p(x) along the flow: against densities in closed form; the estimator of the divergence by enumerating all its probes."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm, ortho_group

from minidiff import tensor
from minidiff.diffusion import (
    EDM,
    Cosine,
    Gaussian,
    Mixture,
    Rotated,
    StraightLine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    bits_per_dim,
    divergence,
    hutchinson_probes,
    log_likelihood,
    make_schedule,
    prior_logp,
    uniform_dequantization,
)
from minidiff.random import Generator

MIXTURE = Mixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], [0.3, 0.5])
CASES = {
    #            process                  start  end   the model's prediction
    "vp":       (VariancePreserving(),    1e-5,  1.0,  "epsilon"),
    "sub_vp":   (SubVariancePreserving(), 1e-3,  1.0,  "score"),
    "ve":       (VarianceExploding(),     0.0,   1.0,  "epsilon"),
    "cosine":   (Cosine(),                1e-4,  0.99, "v_prediction"),
    "line":     (StraightLine(),          0.0,   1.0,  "flow_prediction"),
    "edm":      (EDM,                     2e-3,  80.0, "sample"),
    "schedule": (make_schedule(),         0,     999,  "epsilon"),
}
cases = pytest.mark.parametrize("process, start, end, prediction_type", CASES.values(), ids=CASES)
TIGHT = dict(rtol=1e-10, atol=1e-10)


def factors(process, t):
    return float(process.alpha(t)), float(process.sigma(t))


def at(data, process, t):
    """The log density of the noised data at a time, in closed form."""
    return lambda x: data.log_prob(x, *factors(process, t))


# -- densities -------------------------------------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("data", [Gaussian([0.3, -0.5], [0.5, 1.3]), MIXTURE], ids=["gaussian", "mixture"])
def test_the_likelihood_is_the_density_at_the_start(process, start, end, prediction_type, data):
    """With the true density of the latent as prior: equal to the closed form in at least six digits, for every process alike."""
    x = np.random.default_rng().standard_normal((4, 2))
    got = log_likelihood(data.model(process, prediction_type), process, x, start, end, prediction_type=prediction_type,
                         prior=at(data, process, end), **TIGHT)
    np.testing.assert_allclose(got.log_prob, at(data, process, start)(x), rtol=1e-6, atol=1e-6)
    assert got.log_prob.dtype == np.float64 and got.log_prob.shape == (4,)
    if isinstance(data, Gaussian):
        back = data.flow(got.latent, process.level(end), process.level(start))
        np.testing.assert_allclose(back, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("process, start, end", [(VariancePreserving(), 1e-5, 1.0), (EDM, 1e-3, 80.0)], ids=["vp", "edm"])
def test_the_prior_enters_as_the_density_of_the_latent(process, start, end):
    """N(0, sigma(T)^2) in place of the true p_T changes log p by just the difference of the two at the latent."""
    data, x = Gaussian([3.0, -0.5], [0.5, 1.3]), np.random.default_rng().standard_normal((3, 2))
    got = log_likelihood(data.model(process), process, x, start, end, **TIGHT)
    change = prior_logp(process, got.latent, end) - at(data, process, end)(got.latent)
    np.testing.assert_allclose(got.log_prob, at(data, process, start)(x) + change, rtol=1e-7, atol=1e-7)
    assert np.abs(change).max() > 1e-5


def test_the_truncation_is_that_of_the_data_s_noise():
    """One-dimensional data spread over a line in the plane: log p_start grows like -log sigma, for every tenth of sigma by log 10."""
    data, x = Gaussian(0.0, [1.0, 0.0]), np.array([[0.4, 0.0]])
    got = [log_likelihood(data.model(EDM), EDM, x, s, 80.0, prior=at(data, EDM, 80.0), **TIGHT).log_prob[0] for s in (1e-2, 1e-3, 1e-4)]
    np.testing.assert_allclose(np.diff(got), np.log(10), rtol=1e-4)


@pytest.mark.parametrize("kind", ["float32", "Tensor", "image"])
def test_arrays_of_all_kinds_are_served(kind):
    """The latent comes back like x, log_prob on the host; a model that was asked in float32 answers to four digits."""
    process, shape = VariancePreserving(), (3, 1, 2, 3) if kind == "image" else (3, 2)
    data, x = Gaussian(0.2, 0.6), np.random.default_rng().standard_normal(shape)
    exact = at(data, process, 1e-3)(x)
    x = {"float32": x.astype(np.float32), "Tensor": tensor(x.astype(np.float32)), "image": np.asfortranarray(x)}[kind]
    got = log_likelihood(data.model(process), process, x, 1e-3, 1.0, prior=at(data, process, 1.0))
    assert (type(got.latent), got.latent.dtype, got.latent.shape) == (type(x), x.dtype, x.shape)
    np.testing.assert_allclose(got.log_prob, exact, rtol=1e-4, atol=1e-3)


# -- the divergence --------------------------------------------------------------------------------------------------


def quadratic(x):
    """A function with an unsymmetric Jacobian that changes from sample to sample."""
    return (x @ tensor(np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 0.3], [0.7, 0.1, 2.0]]))) * x


def test_the_exact_divergence_is_the_trace():
    """Central differences, exact for a quadratic function."""
    x, step = np.random.default_rng().standard_normal((4, 3)), 1e-3
    values, found = divergence(quadratic, x)
    f = lambda x: quadratic(tensor(x)).numpy()
    trace = sum((f(x + step * e) - f(x - step * e))[:, i] / (2 * step) for i, e in enumerate(np.eye(3)))
    np.testing.assert_allclose(found, trace, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(values, f(x), rtol=1e-12)


def test_hutchinson_s_estimator_is_unbiased():
    """The mean over all eight vectors of signs in three dimensions, and over the 27 nodes of a Gauss-Hermite rule, is the trace."""
    x = np.random.default_rng().standard_normal((4, 3))
    exact = divergence(quadratic, x)[1]
    signs = [np.tile(z, (4, 1)) for z in product([-1.0, 1.0], repeat=3)]
    np.testing.assert_allclose(divergence(quadratic, x, signs)[1], exact, rtol=1e-12, atol=1e-12)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    each = [divergence(quadratic, x, [np.tile(nodes[list(i)], (4, 1))])[1] for i in product(range(3), repeat=3)]
    shares = [np.prod(weights[list(i)]) / weights.sum() ** 3 for i in product(range(3), repeat=3)]
    np.testing.assert_allclose(np.dot(shares, each), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_the_estimated_likelihood_has_the_known_mean_and_variance(kind):
    """Correlated Gaussian data: log p is a quadratic form of the probe, z^T M z. All probes (all signs; Gauss-Hermite nodes) give its exact
    mean, log p, and variance: twice the sum of the squares of M, for signs without its diagonal. M = Q diag(log growth of y) Q^T."""
    process, start, end = SubVariancePreserving(), 1e-3, 1.0
    std, rotation = np.array([0.2, 0.8, 2.0]), ortho_group.rvs(3)
    data = Rotated(Gaussian(std=std), rotation)
    x = np.random.default_rng().standard_normal((1, 3))
    if kind == "rademacher":
        probes, shares = list(product([-1.0, 1.0], repeat=3)), np.full(8, 1 / 8)
    else:
        nodes, weights = np.polynomial.hermite_e.hermegauss(3)
        probes = list(product(nodes, repeat=3))
        shares = np.array([np.prod(w) for w in product(weights, repeat=3)]) / weights.sum() ** 3
    each = log_likelihood(data.model(process), process, np.tile(x, (len(probes), 1)), start, end, probes=[np.array(probes)],
                          prior=at(data, process, end), **TIGHT).log_prob
    mean = shares @ each
    assert mean == pytest.approx(at(data, process, start)(x)[0], rel=1e-6, abs=1e-6)

    (a, s), (b, t) = factors(process, start), factors(process, end)
    growth = np.log(((b * std) ** 2 + t**2) / ((a * std) ** 2 + s**2) * (a**2 + s**2) / (b**2 + t**2)) / 2
    matrix = rotation.T @ np.diag(growth) @ rotation
    squares = matrix**2 if kind == "gaussian" else matrix**2 - np.diag(np.diag(matrix) ** 2)
    assert shares @ (each - mean) ** 2 == pytest.approx(2 * squares.sum(), rel=1e-4)


def test_several_probes_are_averaged():
    """The likelihood of two probes is the mean of those of each."""
    process, data = VariancePreserving(), Rotated(Gaussian(std=[0.3, 1.5]), ortho_group.rvs(2))
    x = np.random.default_rng().standard_normal((3, 2))
    probes = hutchinson_probes(x, 2, Generator(3), "gaussian")
    ask = lambda probes: log_likelihood(data.model(process), process, x, 1e-3, 1.0, probes=probes, **TIGHT).log_prob
    np.testing.assert_allclose(ask(probes), (ask(probes[:1]) + ask(probes[1:])) / 2, rtol=1e-7, atol=1e-7)
    assert np.abs(ask(probes[:1]) - ask(probes[1:])).max() > 1e-3


def test_probes_have_their_law():
    """Signs of +1 and -1 alone, with a binomial number of each; normals by their mean square; alarms once in 10^7."""
    x, count = np.zeros((50, 7, 1), np.float32), 10
    signs = np.stack(hutchinson_probes(x, count, Generator(np.random.SeedSequence().entropy)))
    assert signs.shape == (10, 50, 7, 1) and signs.dtype == np.float32 and set(np.unique(signs)) == {-1.0, 1.0}
    limit = norm.isf(0.5e-7)
    assert abs(signs.sum()) < limit * np.sqrt(signs.size) * 1.01
    normals = np.stack(hutchinson_probes(x, count, Generator(np.random.SeedSequence().entropy), "gaussian")).astype(np.float64)
    assert abs((normals**2).sum() - normals.size) < limit * np.sqrt(2 * normals.size) * 1.1 and len(np.unique(normals)) > 3000


# -- images of 8 bits ------------------------------------------------------------------------------------------------


def test_dequantization_spreads_each_integer_over_its_interval():
    """Lowest and highest u of neighbours meet, 0 begins at -1 and 255 ends at 1; the integer is recovered; dtype is the noise's."""
    images = np.arange(256, dtype=np.uint8).reshape(2, 128)
    low, high = uniform_dequantization(images, np.zeros((2, 128))), uniform_dequantization(images, np.full((2, 128), 1 - 2.0**-53))
    assert low.min() == -1 and high.max() == pytest.approx(1)
    np.testing.assert_allclose(low.ravel()[1:], high.ravel()[:-1], atol=1e-15)
    got = uniform_dequantization(images, np.random.default_rng().random((2, 128), np.float32))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(np.floor((got.astype(np.float64) + 1) * 128).clip(0, 255), images)


def test_bits_per_dim_of_uniform_pixels_are_eight():
    """The density 1/2 on [-1, 1], or 1 on [0, 1], gives each of 256 integers the probability 1/256: an offset of 7 or 8 bits."""
    dimensions = 3 * 5 * 5
    log_prob = np.array([dimensions * np.log(0.5), 0.0])
    np.testing.assert_allclose(bits_per_dim(log_prob, dimensions), [8, 7], rtol=1e-15)
    np.testing.assert_allclose(bits_per_dim(log_prob, dimensions, width=1 / 256), [9, 8], rtol=1e-15)
    np.testing.assert_allclose(bits_per_dim(log_prob, dimensions, width=1), [1, 0], rtol=1e-15)


def test_dequantized_bits_bound_the_discrete_ones():
    """E[log p(x)] + D log(width) <= log P(k): for a Gaussian density, with the mean over u by a fine midpoint rule."""
    k, u = np.full(1000, 140), (np.arange(1000) + 0.5) / 1000
    x = uniform_dequantization(k, u)
    discrete = -np.log2(norm.cdf(2 * 141 / 256 - 1, 0.1, 0.01) - norm.cdf(2 * 140 / 256 - 1, 0.1, 0.01))
    bound = bits_per_dim(norm.logpdf(x, 0.1, 0.01), 1).mean()
    assert discrete < bound < discrete + 0.2


def test_bad_input_is_refused_by_name():
    """Each with the function's name and what was expected."""
    process, x = VariancePreserving(), np.zeros((2, 3))
    model = Gaussian().model(process)
    for words, arguments, options in (
        ("log_likelihood: expected start, the time of the data, before end", (1.0, 1e-3), {}),
        ("log_likelihood: expected two different times", (0.5, 0.5), {}),
        ("log_likelihood: expected probe to have the shape of x", (1e-3, 1.0), dict(probes=[np.zeros((2, 2))])),
        ("log_likelihood: sigma is 0 at start", (0.0, 1.0), dict(prediction_type="score")),
        ("log_likelihood: unknown prediction_type", (0.0, 1.0), dict(prediction_type="x")),
    ):
        with pytest.raises(ValueError, match=words):
            log_likelihood(model, process, x, *arguments, **options)
    with pytest.raises(FloatingPointError, match="the model returned NaN"):
        log_likelihood(lambda x, t: x * np.nan, process, x, 1e-3, 1.0)
    with pytest.raises(RuntimeError, match="20 calls of the model"):
        log_likelihood(model, process, x, 1e-3, 1.0, max_calls=20, **TIGHT)
    with pytest.raises(ValueError, match=r"hutchinson_probes: unknown kind 'signs'; choose from rademacher, gaussian"):
        hutchinson_probes(x, 1, Generator(0), "signs")
    with pytest.raises(ValueError, match="hutchinson_probes: expected count of at least 1, got 0"):
        hutchinson_probes(x, 0, Generator(0))
    for error, words, images, noise in ((TypeError, "expected integers 0 ... 255, got dtype float64", x, x),
                                        (ValueError, r"expected noise of the shape of the images, \(2,\), got \(2, 3\)", [1, 2], x),
                                        (ValueError, "expected integers 0 ... 255, got 0 ... 256", [0, 256], np.zeros(2)),
                                        (ValueError, r"expected noise in \[0, 1\)", [0, 1], np.ones(2))):
        with pytest.raises(error, match="uniform_dequantization: " + words):
            uniform_dequantization(images, noise)
    for dimensions, width in ((0, 1.0), (3, 0.0)):
        with pytest.raises(ValueError, match="bits_per_dim: expected"):
            bits_per_dim(0.0, dimensions, width)
