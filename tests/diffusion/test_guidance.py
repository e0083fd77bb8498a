"""Classifier-free guidance: dropping the context in training, enlarging its effect in sampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minidiff.diffusion import DDIM, bernoulli_drop, classifier_free_guidance, gaussian_epsilon, make_schedule, sample

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
        return gaussian_epsilon(schedule, context.astype(x.dtype), 0.5)(x, t)

    x = np.zeros(4)
    means = [
        sample(classifier_free_guidance(by_label, np.ones(4, np.int64), s, 0), schedule, x, range(99, -1, -1), DDIM)
        for s in (0.0, 1.0, 3.0)
    ]
    # The exact answer is affine in its mean, so guiding N(0) towards N(1) by s is the exact model of N(s).
    np.testing.assert_allclose(means[1] - means[0], 1.0, atol=0.02)
    np.testing.assert_allclose(means[2] - means[0], 3 * (means[1] - means[0]), rtol=1e-9)


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
