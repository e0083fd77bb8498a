"""Classifier-free guidance: dropping the context in training, enlarging its effect in sampling; guidance in an interval."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from minidiff.autograd import Tensor, gradient
from minidiff.diffusion import (
    DDIM,
    EDM,
    HEUN,
    PREDICTION_TYPES,
    Gaussian,
    Mixture,
    StraightLine,
    bernoulli_drop,
    classifier_free_guidance,
    guidance_interval,
    guidance_scale_from_weight,
    make_schedule,
    rescale_guidance,
    sample,
)

CONTEXT = np.array([2, 0, 1])
NULL = 9
T = np.array([4, 4, 7])


def model(x, t, context):
    """Not linear in anything, and different for each row."""
    return np.tanh(x * (1 + context.reshape(-1, 1))) + 0.1 * t.reshape(-1, 1)


def data(dtype=np.float64):
    return np.random.default_rng().standard_normal((3, 5)).astype(dtype)


def unconditional(x):
    return model(x, T, np.full(3, NULL))


def test_scale_one_is_conditional_and_scale_zero_unconditional():
    """The two ends, by calling the model directly."""
    x = data()
    np.testing.assert_allclose(
        classifier_free_guidance(model, CONTEXT, 1.0, NULL)(x, T), model(x, T, CONTEXT), atol=1e-15
    )
    np.testing.assert_array_equal(classifier_free_guidance(model, CONTEXT, 0.0, NULL)(x, T), unconditional(x))


@given(st.floats(-5, 20))
def test_guidance_is_the_paper_s_with_s_one_more_than_w(scale):
    """(1 + w) e_c - w e_u, Ho & Salimans 2022, Eq. 6."""
    x, w = data(), scale - 1
    np.testing.assert_allclose(
        classifier_free_guidance(model, CONTEXT, scale, NULL)(x, T),
        (1 + w) * model(x, T, CONTEXT) - w * unconditional(x),
        rtol=1e-12,
        atol=1e-12,
    )


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 1))
def test_guidance_is_linear_in_the_scale(a, b, share):
    """A scale between two scales gives what lies between their answers."""
    x = data()
    at = {s: classifier_free_guidance(model, CONTEXT, s, NULL)(x, T) for s in (a, b, share * a + (1 - share) * b)}
    np.testing.assert_allclose(at[share * a + (1 - share) * b], share * at[a] + (1 - share) * at[b], atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_answers_come_from_one_call(dtype):
    """One call with 2N rows, the unconditional half first; inputs untouched, dtype kept."""
    calls = []

    def recorded(x, t, context):
        calls.append((x, t, context))
        return model(x, t, context).astype(x.dtype)

    x = data(dtype)
    x.setflags(write=False)
    result = classifier_free_guidance(recorded, CONTEXT, 3.0, NULL)(x, T)
    assert result.dtype == dtype and result.shape == x.shape
    ((twice, times, context),) = calls
    np.testing.assert_array_equal(twice, np.concatenate([x, x]))
    assert times.tolist() == [4, 4, 7, 4, 4, 7] and times.dtype == np.int64
    assert context.tolist() == [9, 9, 9, 2, 0, 1] and context.dtype == CONTEXT.dtype


def test_contexts_may_be_embeddings():
    """Floats of any shape; the null context one embedding, or one for each."""
    embeddings, null = np.random.default_rng().standard_normal((3, 5)), np.zeros(5)

    def by_embedding(x, t, context):
        return x * context

    x = data()
    expected = x * null + 2.0 * (x * embeddings - x * null)
    for null_context in (null, np.zeros((3, 5)), [0.0] * 5):
        got = classifier_free_guidance(by_embedding, embeddings, 2.0, null_context)(x, T)
        np.testing.assert_array_equal(got, expected)


def test_guided_sampling_of_gaussians_moves_away_from_the_unconditional():
    """Data N(+1, s^2) with and N(0, s^2) without the context: guidance s > 1 moves the samples' mean beyond +1."""
    schedule = make_schedule("linear", 100, beta_end=0.2)

    def by_label(x, t, context):
        return sum((context == k) * Gaussian(k, 0.5).model(schedule)(x, t) for k in (0, 1))

    x = np.zeros(4)
    means = [
        sample(classifier_free_guidance(by_label, np.ones(4, np.int64), s, 0), schedule, x, range(99, -1, -1), DDIM)
        for s in (0.0, 1.0, 3.0)
    ]
    # The exact answer is affine in its mean, so guiding N(0) towards N(1) by s is the exact model of N(s).
    np.testing.assert_allclose(means[1] - means[0], 1.0, atol=0.02)
    np.testing.assert_allclose(means[2] - means[0], 3 * (means[1] - means[0]), rtol=1e-9)


# -- what guidance stands for: mixtures, whose conditional and unconditional scores are known --------------------------

MIXTURE = Mixture([0.2, 0.5, 0.3], [[-1.0, 0.5], [0.8, 0.0], [0.1, -1.2]], [0.4, 0.3, 0.6])
COMPONENTS = [Gaussian(mean, std) for mean, std in zip(MIXTURE.means, np.broadcast_to(MIXTURE.stds, MIXTURE.means.shape))]
PROCESS = make_schedule("linear", 50, beta_end=0.2)


def knows_components(process, prediction_type):
    """A network's stand-in: context k is the perfect model of component k, context -1 that of the whole mixture."""

    def model(x, t, context):
        known = [MIXTURE if k == -1 else COMPONENTS[k] for k in context]
        return np.concatenate([data.model(process, prediction_type)(x[i:i + 1], t[i:i + 1]) for i, data in enumerate(known)])

    return model


def slopes(function, x, step=1e-5):
    """Central differences of a function (N, D) -> (N,)."""
    sides = [[function(x + sign * step * unit) for sign in (1, -1)] for unit in np.eye(x.shape[1])]
    return np.stack([(above - below) / (2 * step) for above, below in sides], axis=1)


@settings(max_examples=25)
@given(st.floats(-2, 8), st.integers(0, 49), st.integers(0, 2))
def test_guidance_follows_the_score_of_the_sharpened_product(scale, time, component):
    """e is the score of p(x_t) p(k | x_t)^s, for every s: finite differences of log-densities that know no model."""
    x, t = np.random.default_rng().standard_normal((4, 2)), np.full(4, time)
    alpha, sigma = float(PROCESS.alpha(time)), float(PROCESS.sigma(time))
    guided = classifier_free_guidance(knows_components(PROCESS, "score"), np.full(4, component), scale, -1)

    def log_density(x):
        return MIXTURE.log_prob(x, alpha, sigma) + scale * MIXTURE.log_responsibilities(x, alpha, sigma)[:, component]

    np.testing.assert_allclose(guided(x, t), slopes(log_density, x), rtol=1e-5, atol=1e-5 * (1 + abs(scale)) / sigma**2)


@pytest.mark.parametrize("sampler", [DDIM, HEUN], ids=["ddim", "heun"])
def test_guided_samples_do_not_depend_on_the_prediction_type(sampler):
    """The same walk with five kinds of model."""
    x = np.random.default_rng().standard_normal((3, 2))
    guided = [classifier_free_guidance(knows_components(PROCESS, kind), np.array([0, 1, 2]), 2.5, -1) for kind in PREDICTION_TYPES]
    samples = [sample(model, PROCESS, x, range(49, -1, -7), sampler, prediction_type=kind) for model, kind in zip(guided, PREDICTION_TYPES)]
    for other in samples[1:]:
        np.testing.assert_allclose(other, samples[0], rtol=1e-9, atol=1e-9)


def test_the_paper_s_weight_is_one_less_than_the_scale():
    """Both conventions on the same two answers."""
    x, w = data(), 2.5
    guided = classifier_free_guidance(model, CONTEXT, guidance_scale_from_weight(w), NULL)(x, T)
    np.testing.assert_allclose(guided, (1 + w) * model(x, T, CONTEXT) - w * unconditional(x), rtol=1e-13, atol=1e-13)


def test_a_guided_model_of_tensors_can_be_differentiated():
    """Gradient of a guided answer with respect to x, against finite differences: no part of the graph is lost."""
    context, null = np.array([[2.0], [0.5]]), np.array([-1.0])

    def smooth(x, t, context):
        return (x * context).tanh() * x if isinstance(x, Tensor) else np.tanh(x * context) * x

    guided = classifier_free_guidance(smooth, context, 3.0, null, guidance_rescale=0.6)
    x = np.random.default_rng().standard_normal((2, 3))
    leaf = Tensor(x, requires_grad=True)
    slope = gradient(guided(leaf, T[:2]).sum(), leaf)
    np.testing.assert_allclose(slope.data, slopes(lambda x: guided(x, T[:2]).sum(axis=1), x), rtol=1e-6, atol=1e-7)


def test_guided_samples_lie_beyond_the_sharpened_distribution():
    """Two bells, the right one asked for: s = 1 draws from it; s = 4 goes further than the mean of p(x_0) p(k | x_0)^4, by quadrature."""
    data, grid = Mixture([0.5, 0.5], [[-1.0], [1.0]], [0.6, 0.6]), np.linspace(-6, 8, 10_001)
    right = Gaussian(1.0, 0.6)

    def model(x, t, context):
        return np.concatenate([one.model(EDM)(x[context == k], t[context == k]) for k, one in enumerate((data, right))])

    quantiles = 40 * stats.norm.ppf((np.arange(400) + 0.5) / 400)[:, None]
    for scale, beyond in ((1, 0.0), (4, 0.65)):
        drawn = sample(classifier_free_guidance(model, np.ones(400, int), scale, 0), EDM, quantiles, np.geomspace(40, 0.01, 100), HEUN)
        weights = np.exp(data.log_prob(grid[:, None], 1.0, 0.0) + scale * data.log_responsibilities(grid[:, None], 1.0, 0.0)[:, 1])
        assert drawn.mean() - np.average(grid, weights=weights) == pytest.approx(beyond, abs=0.03)


# -- rescaling ---------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(1, 15))
def test_rescaling_mixes_standard_deviations(phi, scale):
    """The result's standard deviation is phi std(e_c) + (1 - phi) std(e), sample by sample, by numpy.std."""
    x = data()
    conditional, plain = model(x, T, CONTEXT), classifier_free_guidance(model, CONTEXT, scale, NULL)(x, T)
    rescaled = classifier_free_guidance(model, CONTEXT, scale, NULL, guidance_rescale=phi)(x, T)
    expected = phi * conditional.std(axis=1) + (1 - phi) * plain.std(axis=1)
    np.testing.assert_allclose(rescaled.std(axis=1), expected, rtol=1e-12)
    np.testing.assert_allclose(rescaled, plain * (expected / plain.std(axis=1))[:, None], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rescaling_takes_each_image_s_own_standard_deviation(dtype):
    """(N, C, H, W), not contiguous; the quotient with n - 1 in both is the same."""
    guided, conditional = (np.random.default_rng().normal(0, std, (3, 2, 4, 5)).astype(dtype)[:, :, ::-1] for std in (4, 1))
    rescaled = rescale_guidance(guided, conditional, 1.0)
    assert rescaled.dtype == dtype and rescaled.shape == guided.shape
    for one, before, other in zip(rescaled, guided, conditional):
        assert one.std(ddof=1) == pytest.approx(other.std(ddof=1), rel=1e-5)
        np.testing.assert_allclose(one, before * (other.std(ddof=1) / before.std(ddof=1)), rtol=1e-5)


@pytest.mark.parametrize("phi", [-0.1, 1.1, math.nan])
def test_rescaling_by_no_share_is_refused(phi):
    """phi is a share; and a single number has no standard deviation."""
    for refused in (lambda: rescale_guidance(data(), data(), phi), lambda: classifier_free_guidance(model, CONTEXT, 1.0, NULL, phi)):
        with pytest.raises(ValueError, match="expected guidance_rescale between 0 and 1, got"):
            refused()
    with pytest.raises(ValueError, match=r"rescale_guidance: expected several elements a sample.* got \(3, 1\)"):
        rescale_guidance(np.ones((3, 1)), np.ones((3, 1)), 0.5)


# -- intervals ---------------------------------------------------------------------------------------------------------


def counted(answer, calls):
    """A model that answers with one number, and writes down its times."""

    def counting(x, t):
        calls.append(t.tolist())
        return np.full_like(x, answer)

    return counting


DISCRETE = make_schedule("linear", 20, beta_end=0.3)


@pytest.mark.parametrize("process, times", [(EDM, [9.0, 3.0, 1.0, 0.5, 0.1]), (DISCRETE, range(19, -1, -1))])
def test_an_interval_calls_only_the_model_that_is_needed(process, times):
    """A walk, and which of the two was called at which time; the lower end is open, the upper end closed."""
    low, high = 0.5, 3.0
    guided, plain = [], []
    both = guidance_interval(counted(0.0, guided), counted(0.0, plain), process, low, high)
    sample(both, process, np.ones((2, 3)), times, DDIM)
    noise = {t: float(process.sigma(t)) / float(process.alpha(t)) for t in times}
    assert [t for t, _ in guided] == [t for t in times if low < noise[t] <= high]
    assert [t for t, _ in plain] == [t for t in times if not low < noise[t] <= high]
    assert guided and plain


def test_a_batch_on_both_sides_of_an_end_gets_both():
    """Times inside and outside in one batch, for images in float32."""
    both = guidance_interval(counted(1.0, []), counted(-1.0, []), EDM, 1.0, 2.0)
    answer = both(np.zeros((4, 1, 2, 2), np.float32), np.array([0.5, 1.0, 2.0, 3.0]))
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer[:, 0, 0, 0], [-1, -1, 1, -1])


def test_zero_to_infinity_guides_everywhere():
    """Pure noise, where sigma / alpha is infinite, included."""
    both = guidance_interval(counted(1.0, []), counted(-1.0, []), StraightLine(), 0.0, math.inf)
    assert (both(np.zeros((2, 1)), np.array([1.0, 1e-9])) == 1).all()


@pytest.mark.parametrize("low, high", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)])
def test_an_interval_that_is_none_is_refused(low, high):
    """0 <= low < high."""
    with pytest.raises(ValueError, match="guidance_interval: expected 0 <= sigma_low < sigma_high, got"):
        guidance_interval(None, None, EDM, low, high)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: classifier_free_guidance(model, CONTEXT, float("nan"), NULL), "finite guidance_scale, got nan"),
        (lambda: classifier_free_guidance(model, 3, 1.0, NULL), r"a context of shape \(N, ...\), got a single number"),
        (
            lambda: classifier_free_guidance(model, CONTEXT, 1.0, [9, 9]),
            r"a null_context of shape \(\) or \(3,\), got \(2,\)",
        ),
        (
            lambda: classifier_free_guidance(model, CONTEXT, 1.0, NULL)(np.zeros((2, 5)), T[:2]),
            "batch of 3, one for each context, got 2",
        ),
        (
            lambda: classifier_free_guidance(lambda x, t, c: x[:3], CONTEXT, 1.0, NULL)(np.zeros((3, 5)), T),
            r"model_output to have the shape of x_twice, \(6, 5\), got \(3, 5\)",
        ),
    ],
)
def test_contexts_that_do_not_fit_are_refused(make, message):
    """Shapes and scale are checked where they are given."""
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_are_dropped_as_often_as_asked():
    """The number dropped of 100,000 is binomial: exact quantiles, false alarm 1e-7."""
    labels, probability = np.arange(100_000) % 7, 0.15
    dropped = bernoulli_drop(labels, 7, probability, np.random.default_rng())
    count = int((dropped == 7).sum())
    low, high = stats.binom.ppf([5e-8, 1 - 5e-8], len(labels), probability)
    assert low <= count <= high
    np.testing.assert_array_equal(dropped[dropped != 7], labels[dropped != 7])


def test_labels_are_dropped_where_the_uniform_is_below_the_probability():
    """One uniform a label, in order; a new array of the labels' dtype, the old one untouched."""

    class Fixed:
        def random(self, size):
            assert size == (4,)
            return np.array([0.0, 0.29, 0.3, 0.9])

    labels = np.array([1, 2, 3, 4], np.int32)
    labels.setflags(write=False)
    dropped = bernoulli_drop(labels, 0, 0.3, Fixed())
    assert dropped.tolist() == [0, 0, 3, 4] and dropped.dtype == np.int32


def test_never_and_always():
    """Probability 0 drops none, 1 drops all."""
    labels = np.arange(1000)
    assert bernoulli_drop(labels, -1, 0, np.random.default_rng()).tolist() == labels.tolist()
    assert set(bernoulli_drop(labels, -1, 1, np.random.default_rng()).tolist()) == {-1}


@pytest.mark.parametrize(
    "labels, probability, error, message",
    [
        ([1, 2], -0.1, ValueError, "probability between 0 and 1, got -0.1"),
        ([1, 2], 1.5, ValueError, "got 1.5"),
        ([1, 2], float("nan"), ValueError, "got nan"),
        ([1.0, 2.0], 0.1, TypeError, "integer labels, got dtype float64"),
        ([[1, 2]], 0.1, ValueError, r"labels of shape \(N,\), got \(1, 2\)"),
    ],
)
def test_bad_drops_are_refused(labels, probability, error, message):
    """Probabilities are probabilities, labels are a list of integers."""
    with pytest.raises(error, match=message):
        bernoulli_drop(labels, 0, probability, np.random.default_rng())
