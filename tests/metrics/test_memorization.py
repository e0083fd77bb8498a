"""Copies are found, new images are not; the figures of a perfect model are those of geometry."""

import math

import numpy as np
import pytest
from hypothesis import given
from metric_sets import point_sets

from minidiff.metrics import authenticity, closer_share, nearest
from minidiff.random import Generator


def to_training(images, training):
    return nearest(images, training).distances[:, 0]


# -- closer than real images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantile, m", [(0.05, 19), (0.1, 19), (0.5, 11)])
def test_real_images_are_closer_with_the_probability_of_the_quantile(quantile, m, rng):
    """1,000 small test sets, and 30 more real images beside each: on average the share below Q is q, though Q is off by much each time."""
    found = [closer_share(rng.exponential(size=30), rng.exponential(size=m), rng, quantile).value for _ in range(1000)]
    assert abs(np.mean(found) - quantile) < 6 * np.std(found) / math.sqrt(1000)


def test_a_perfect_model_has_the_quantile_and_its_interval_holds_it(rng):
    """Sixty experiments in the plane: on average 0.1; the interval holds it at least 46 times (if 95 in 100 do, fewer do once in 10^6)."""
    found = []
    for _ in range(60):
        training, test, samples = rng.standard_normal((3, 150, 2))
        found.append(closer_share(to_training(samples, training), to_training(test, training), rng, 0.1))
    values = [one.value for one in found]
    assert abs(np.mean(values) - 0.1) < 6 * np.std(values) / math.sqrt(60)
    assert sum(one.low <= 0.1 <= one.high for one in found) >= 46
    assert found[0].count == found[0].against == 150


def test_copies_are_counted(rng):
    """Three of ten samples are training images with a little noise: 0.3 + 0.7 q."""
    training, test, samples = rng.standard_normal((3, 1000, 8))
    samples[:300] = training[:300] + 1e-3
    found = closer_share(to_training(samples, training), to_training(test, training), rng)
    assert found.low > 0.25 and abs(found.value - (0.3 + 0.7 * 0.05)) < 0.06


def test_bad_distances_are_refused():
    """Too few test images for the quantile, and what are no distances."""
    x = np.arange(30.0)
    with pytest.raises(ValueError, match=r"closer_share: 15 test images say nothing about their 0\.05-quantile; give at least 19"):
        closer_share(x, x[:15], Generator(0))
    with pytest.raises(ValueError, match="closer_share: expected quantile between 0 and 1, got 5"):
        closer_share(x, x, Generator(0), 5)
    with pytest.raises(ValueError, match=r"closer_share: expected test_distances of shape \(N,\)"):
        closer_share(x, x[:, None], Generator(0))


# -- authenticity ----------------------------------------------------------------------------------------------------


@given(point_sets(smallest=2))
def test_authenticity_is_what_its_words_say(sets):
    """For each sample its nearest training image, and that one's nearest other: loops."""
    samples, training = sets
    further = []
    for x in samples:
        distances = [np.sqrt(((x.astype(np.float64) - y) ** 2).sum()) for y in training]
        i = int(np.argmin(distances))
        others = [np.sqrt(((training[i].astype(np.float64) - y) ** 2).sum()) for j, y in enumerate(training) if j != i]
        further.append(distances[i] > min(others))
    found = authenticity(samples, training)
    assert found.value == np.mean(further) and found.count == len(samples)


@pytest.mark.parametrize("d, expected", [
    (1, 1 / 3),                                                             # two balls of radius r at distance r: 2 of 3 r
    (2, 1 - 6 * math.pi / (8 * math.pi + 3 * math.sqrt(3))),
    (3, 1 - 16 / 27),
])
def test_a_perfect_model_is_as_authentic_as_geometry_says(d, expected, rng):
    """The probability that two nearest neighbours are each other's, |ball| / |union of two balls|, for points without edges: a cube whose
    border is left out."""
    training, samples = rng.random((4000, d)), rng.random((20_000, d))
    inner = samples[(abs(samples - 0.5) < 0.38).all(axis=1)]
    found = authenticity(inner, training)
    assert abs(found.value - expected) < 6 * math.sqrt(0.25 / 2000)         # samples that share a training image are not independent


def test_copies_are_not_authentic_and_strangers_are(rng):
    """0 for the training set itself with a little noise, 1 far away."""
    training = rng.standard_normal((100, 4))
    assert authenticity(training + 1e-9, training).value == 0
    assert authenticity(training + 100, training).value > 0.98
