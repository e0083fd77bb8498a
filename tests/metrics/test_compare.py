"""All figures together: each is that of its own function, each interval is from both sets."""

from dataclasses import replace

import numpy as np
import pytest

from minidiff.metrics import (
    Estimate,
    compare,
    density_and_coverage,
    frechet_distance,
    jackknife,
    kernel_distance,
    precision,
    recall,
    wilson,
)
from minidiff.random import Generator


def test_every_figure_is_that_of_its_own_function(rng):
    """The names, the values, the counts, and the same interval from the same generator."""
    samples, real = 0.9 * rng.standard_normal((60, 3)), rng.standard_normal((80, 3))
    found = compare(samples, real, Generator(7))
    density, coverage = density_and_coverage(samples, real)
    expected = {"frechet_distance": frechet_distance(samples, real), "kernel_distance": kernel_distance(samples, real),
                "precision": precision(samples, real), "recall": recall(samples, real), "density": density, "coverage": coverage}
    assert list(found) == ["frechet_distance", "frechet_distance_infinite", "kernel_distance", "precision", "recall", "density", "coverage"]
    assert {name: found[name].value for name in expected} == expected
    assert all(isinstance(one, Estimate) and (one.count, one.against) == (60, 80) for one in found.values())
    alone = jackknife(lambda x, y: {"d": frechet_distance(x, y)}, samples, real, Generator(7))["d"]
    assert found["frechet_distance"] == replace(alone.estimate(), low=max(0.0, alone.estimate().low))
    assert found["frechet_distance_infinite"] == alone.unbiased()
    assert compare(samples, real, Generator(7)) == found


def test_shares_are_never_certain(rng):
    """A set against itself: precision, recall and coverage are 1 and stay so without a tenth; Wilson's interval of the right number."""
    points = rng.standard_normal((50, 1))
    samples = np.concatenate([points, points[:20]])
    found = compare(samples, points, Generator(0))
    for name, tries in {"precision": 70, "recall": 50, "coverage": 50}.items():
        assert found[name].value == found[name].high == 1 and found[name].low <= wilson(1.0, tries)[0]


def test_what_is_never_negative_has_no_negative_interval(rng):
    """Perfect models: the distance's interval ends at 0, the extrapolated and the kernel's go below."""
    found = [compare(*rng.standard_normal((2, 40, 2)), rng) for _ in range(8)]
    assert min(one["frechet_distance"].low for one in found) == 0 and min(one["density"].low for one in found) >= 0
    assert min(one["frechet_distance_infinite"].low for one in found) < 0 > min(one["kernel_distance"].low for one in found)


def test_no_extrapolation_from_too_few_samples(rng):
    """Fewer than 2 rows a feature, of either set; progress ends at 1; the confidence is that which was asked."""
    x, y = rng.standard_normal((2, 40, 9))
    told = []
    assert "frechet_distance_infinite" in compare(x[:18], y, Generator(0), 0.5, told.append)
    assert told[-1] == 1 and len(told) == 21
    for samples, real in ((x[:17], y), (x, y[:17])):
        found = compare(samples, real, Generator(0), confidence=0.5)
        assert "frechet_distance_infinite" not in found and found["recall"].confidence == 0.5


def test_bad_arguments_are_refused_before_anything_is_computed(rng):
    """The generator and the confidence, too."""
    x = rng.standard_normal((12, 2))
    with pytest.raises(ValueError, match="compare: expected confidence between 0 and 1, got 95"):
        compare(x, x, Generator(0), 95)
    with pytest.raises(TypeError, match="compare: expected a generator with the method permutation"):
        compare(x, x, 0)
    assert set(compare(x[:10], x[:10], Generator(0))) >= {"density"}        # the smallest sets that are taken
