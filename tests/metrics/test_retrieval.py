"""Retrieval by sorting, ties by trying all orders, chance by enumeration, scores by the angle."""

import math
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.metrics import bootstrap, chance_of_recall_at_k, clip_scores, cosine_similarity, recall_at_k, zero_shot_accuracy
from minidiff.random import Generator

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def tables(draw, largest=5):
    """Similarities with many ties, and matches with at least one in each row."""
    rng, n, m = draw(seeds), draw(st.integers(1, 4)), draw(st.integers(1, largest))
    matches = rng.random((n, m)) < 0.4
    matches[np.arange(n), rng.integers(0, m, n)] = True
    return rng.integers(0, 3, (n, m)).astype(float), matches


@given(tables(), st.data())
def test_ties_are_broken_by_lot(table, data):
    """Try every order of the columns with a stable sort: the mean over all orders."""
    similarity, matches = table
    m = similarity.shape[1]
    k = data.draw(st.integers(1, m))
    found = []
    for order in map(list, permutations(range(m))):
        first = np.argsort(-similarity[:, order], axis=1, kind="stable")[:, :k]
        found.append(np.take_along_axis(matches[:, order], first, axis=1).any(axis=1))
    expected = np.mean(found)
    assert recall_at_k(similarity, matches, k).value == pytest.approx(expected, abs=1e-12)


@given(seeds, st.integers(1, 8), st.data())
def test_without_ties_it_is_sorting(rng, n, data):
    """The matches of a shuffled diagonal among the first k of each row, and of each column for the other direction."""
    k, similarity, matches = data.draw(st.integers(1, n)), rng.standard_normal((n, n)), np.eye(n, dtype=bool)[rng.permutation(n)]
    for table, right in ((similarity, matches), (similarity.T, matches.T)):
        hits = [right[i][np.argsort(-table[i])[:k]].any() for i in range(n)]
        found = recall_at_k(table, right, k)
        assert found.value == pytest.approx(np.mean(hits), abs=1e-12) and found.count == n


@given(tables(8), st.data())
def test_chance_is_the_share_of_choices_with_a_match(table, data):
    """All choices of k candidates; and what a model gets to which all are equal."""
    _, matches = table
    m = matches.shape[1]
    k = data.draw(st.integers(1, m))
    chosen = [np.isin(np.arange(m), choice) for choice in combinations(range(m), k)]
    expected = np.mean([[(row & choice).any() for choice in chosen] for row in matches])
    assert chance_of_recall_at_k(matches, k) == pytest.approx(expected, abs=1e-12)
    assert recall_at_k(np.full(matches.shape, 0.3), matches, k).value == pytest.approx(expected, abs=1e-12)


def test_chance_with_one_match_each_is_k_over_m():
    """Also for a thousand candidates, where binomial coefficients are astronomical; of all candidates the match is one."""
    matches = np.eye(1000, dtype=bool)
    for k in (1, 5, 999, 1000):
        assert chance_of_recall_at_k(matches, k) == pytest.approx(k / 1000, rel=1e-9)
    assert chance_of_recall_at_k(np.ones((2, 700), dtype=bool)) == 1


@given(tables(), st.data())
def test_more_candidates_are_never_worse(table, data):
    """Recall grows with k, to 1; the estimate is a share with Wilson's interval."""
    similarity, matches = table
    found = [recall_at_k(similarity, matches, k) for k in range(1, similarity.shape[1] + 1)]
    assert all(one.value <= two.value + 1e-12 for one, two in pairwise(found)) and found[-1].value == pytest.approx(1, abs=1e-12)
    assert all(0 <= one.low <= one.value + 1e-15 and one.value - 1e-15 <= one.high <= 1 for one in found)


def test_zero_shot_accuracy_is_the_largest_similarity(rng):
    """argmax; a class that is as similar as another counts half; k = 5 among the five largest."""
    similarity, labels = rng.standard_normal((200, 10)), rng.integers(0, 10, 200)
    assert zero_shot_accuracy(similarity, labels).value == pytest.approx((similarity.argmax(axis=1) == labels).mean(), abs=1e-12)
    five = [label in np.argsort(-row)[:5] for row, label in zip(similarity, labels)]
    assert zero_shot_accuracy(similarity, labels, 5).value == pytest.approx(np.mean(five), abs=1e-12)
    assert zero_shot_accuracy(np.array([[1.0, 1.0, 0.0]]), np.array([1])).value == 0.5


@given(seeds, st.integers(1, 6))
def test_similarity_is_the_cosine_of_the_angle(rng, d):
    """Known angles; lengths do not matter, not even 1e-40 and 1e40; never outside [-1, 1]."""
    x, y = rng.standard_normal((5, d)), rng.standard_normal((3, d))
    expected = [[math.fsum(a * b) / math.sqrt(math.fsum(a * a) * math.fsum(b * b)) for b in y] for a in x]
    np.testing.assert_allclose(cosine_similarity(1e-40 * x, 1e40 * y), expected, rtol=1e-10, atol=1e-12)
    assert abs(cosine_similarity(x, x)).max() <= 1
    np.testing.assert_allclose(np.diag(cosine_similarity(x, x)), 1, rtol=1e-14)
    angle = np.deg2rad(60)
    assert cosine_similarity(np.array([[2.0, 0.0]]), np.array([[np.cos(angle), np.sin(angle)]]))[0, 0] == pytest.approx(0.5)


def test_the_clip_score_is_two_and_a_half_cosines_and_never_negative(rng):
    """0, 60, 90 and 120 degrees; w = 100 as others have it; pairs, not the table; the mean with its interval."""
    texts = np.array([[math.cos(a), math.sin(a)] for a in np.deg2rad([0, 60, 90, 120])])
    images = np.tile([[3.0, 0.0]], (4, 1))
    np.testing.assert_allclose(clip_scores(images, texts), [2.5, 1.25, 0, 0], atol=1e-15)
    np.testing.assert_allclose(clip_scores(images, texts, 100), [100, 50, 0, 0], atol=1e-13)
    x, y = rng.standard_normal((2, 30, 8))
    np.testing.assert_allclose(clip_scores(x, y), 2.5 * np.diag(cosine_similarity(x, y)).clip(0), rtol=1e-12, atol=1e-15)
    estimate = bootstrap(clip_scores(x, y), Generator(0), resamples=200)
    assert estimate.count == 30 and estimate.low < estimate.value < estimate.high


def test_bad_arguments_are_refused():
    """Tables, matches, labels, embeddings without direction."""
    table, matches = np.zeros((2, 3)), np.ones((2, 3), dtype=bool)
    with pytest.raises(ValueError, match=r"recall_at_k: expected matches like similarity, \(2, 3\), got \(3, 2\)"):
        recall_at_k(table, matches.T)
    with pytest.raises(ValueError, match="recall_at_k: query 1 has no match"):
        recall_at_k(table, np.array([[True, False, False], [False] * 3]))
    with pytest.raises(TypeError, match=r"recall_at_k: expected matches as booleans \(N, M\), a row a query, got int64"):
        recall_at_k(table, np.ones((2, 3), np.int64))
    with pytest.raises(ValueError, match="recall_at_k: expected k from 1 to 3, got 4; there are 3 candidates"):
        recall_at_k(table, matches, 4)
    with pytest.raises(ValueError, match="chance_of_recall_at_k: expected k from 1 to 3, got 0"):
        chance_of_recall_at_k(matches, 0)
    with pytest.raises(ValueError, match="recall_at_k: 1 rows of similarity are not finite"):
        recall_at_k(np.array([[0.0, np.nan, 0.0], [0.0] * 3]), matches)
    for labels in ([0, 3], [0, -1], [0], [0.0, 1.0]):
        with pytest.raises(ValueError, match="zero_shot_accuracy: expected for each of 2 images an integer below 3"):
            zero_shot_accuracy(table, np.array(labels))
    with pytest.raises(ValueError, match="cosine_similarity: row 1 of texts is zero and has no direction"):
        cosine_similarity(np.ones((1, 2)), np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="clip_scores: expected one text for each image, got 2 images and 3 texts"):
        clip_scores(np.ones((2, 2)), np.ones((3, 2)))
