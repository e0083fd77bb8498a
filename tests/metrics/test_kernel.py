"""The kernel distance: loops, an explicit feature map, all subsets of a small population."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import backend
from minidiff.metrics import blocks, kernel_distance, polynomial_kernel

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def k(x, y):
    return (sum(a * b for a, b in zip(x.tolist(), y.tolist())) / len(x) + 1) ** 3


@given(seeds, st.integers(2, 7), st.integers(2, 7), st.integers(1, 4))
def test_it_is_the_mean_over_pairs_of_different_samples(rng, n, m, d):
    """Three double loops."""
    x, y = rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 2
    expected = (np.mean([k(x[i], x[j]) for i in range(n) for j in range(n) if i != j])
                + np.mean([k(y[i], y[j]) for i in range(m) for j in range(m) if i != j])
                - 2 * np.mean([k(a, b) for a in x for b in y]))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-9 * abs(expected) + 1e-12)
    assert kernel_distance(y, x) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(polynomial_kernel(x, y), [[k(a, b) for b in y] for a in x], rtol=1e-11, atol=1e-13)


def features(x):
    """phi with phi(x) . phi(y) = (x . y / D + 1)^3: all products of one, two and three coordinates."""
    n, d = x.shape
    pairs = np.einsum("na,nb->nab", x, x).reshape(n, -1)
    triples = np.einsum("na,nb,nc->nabc", x, x, x).reshape(n, -1)
    return np.concatenate([np.ones((n, 1)), np.sqrt(3 / d) * x, np.sqrt(3) / d * pairs, d**-1.5 * triples], axis=1)


@given(seeds, st.integers(1, 3))
def test_it_compares_means_covariances_and_third_moments(rng, d):
    """|E phi(x) - E phi(y)|^2 for the explicit feature map, with the pairs of a sample with itself taken out again."""
    x, y = rng.standard_normal((9, d)), rng.standard_normal((6, d)) + 0.5

    def without_own(z):
        sums, own = features(z).sum(axis=0), (features(z) ** 2).sum()
        return ((sums**2).sum() - own) / (len(z) * (len(z) - 1))

    expected = without_own(x) + without_own(y) - 2 * (features(x).mean(axis=0) * features(y).mean(axis=0)).sum()
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-11)


@given(seeds)
def test_any_number_of_samples_gives_the_same_on_average(rng):
    """All pairs and all triples out of five samples: the mean of their distances is that of the five. Few samples cost no bias."""
    x, y = rng.standard_normal((5, 2)), rng.standard_normal((4, 2))
    expected = kernel_distance(x, y)
    for size in (2, 3):
        found = [kernel_distance(x[list(chosen)], y) for chosen in combinations(range(5), size)]
        assert np.mean(found) == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_a_perfect_model_is_at_zero_on_average_and_another_is_not(rng):
    """400 pairs of sets of ten; and of sets that are one standard deviation apart."""
    drawn = np.array([kernel_distance(rng.standard_normal((10, 3)), rng.standard_normal((10, 3))) for _ in range(400)])
    assert abs(drawn.mean()) < 6 * drawn.std() / 20 and (drawn < 0).mean() > 0.2
    assert np.mean([kernel_distance(rng.standard_normal((10, 3)) + 1, rng.standard_normal((10, 3))) for _ in range(50)]) > 1


def test_blocks_and_threads_change_only_the_last_digits(rng, monkeypatch):
    """Blocks of one row; threads change nothing at all."""
    x, y = rng.standard_normal((50, 4)), rng.standard_normal((40, 4))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(blocks, "BLOCK", 64)
    results = []
    try:
        for threads in (1, 2, 3):
            backend.set_threads(threads)
            results.append(kernel_distance(x, y))
    finally:
        backend.set_threads(None)
    assert results[0] == results[1] == results[2] == pytest.approx(whole, rel=1e-10)
