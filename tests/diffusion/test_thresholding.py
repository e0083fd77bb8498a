"""Keeping predictions in range, against NumPy's quantile and the published description."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidiff.autograd import check_gradients, tensor
from minidiff.diffusion import DDIM, dynamic_threshold, make_schedule, p_mean_variance, sample, static_threshold

images = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6)), elements=st.floats(-8, 8))


@given(images, st.floats(0, 1), st.floats(1, 10) | st.just(math.inf))
def test_dynamic_thresholding_is_clip_and_divide(x, ratio, max_value):
    """One sample at a time, with numpy.quantile and numpy.clip."""
    found = dynamic_threshold(x, ratio, max_value)
    for one, result in zip(x, found):
        s = min(max(np.quantile(abs(one), ratio), 1.0), max_value)
        np.testing.assert_allclose(result, np.clip(one, -s, s) / s, rtol=1e-12, atol=1e-12)


@given(images)
def test_the_result_is_in_range_and_what_is_in_range_stays(x):
    """In [-1, 1]; a sample already there is left alone, bit for bit; signs and order are kept."""
    found = dynamic_threshold(x)
    assert (abs(found) <= 1).all() and (found * x >= 0).all()
    calm = x / 8
    np.testing.assert_array_equal(dynamic_threshold(calm), calm)
    order = np.argsort(x.reshape(len(x), -1), axis=1)
    assert (np.diff(np.take_along_axis(found.reshape(len(x), -1), order, 1), axis=1) >= 0).all()


def test_a_maximum_of_one_leaves_clipping():
    """diffusers' default sample_max_value."""
    x = 3 * np.random.default_rng().standard_normal((2, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(dynamic_threshold(x, max_value=1.0), np.clip(x, -1, 1))
    np.testing.assert_array_equal(static_threshold(x), np.clip(x, -1, 1))
    np.testing.assert_array_equal(static_threshold(x, 2.0), np.clip(x, -2, 2))
    assert dynamic_threshold(x).dtype == static_threshold(x).dtype == np.float32


def test_it_is_a_denoised_fn():
    """In a walk and in a step, as it is and with options."""
    schedule, rng = make_schedule("linear", 10), np.random.default_rng()
    x = 3 * rng.standard_normal((2, 3, 4))
    seen = []

    def watched(start):
        seen.append(dynamic_threshold(start))
        return seen[-1]

    walked = sample(lambda x, t: 0 * x, schedule, x, [9, 4], DDIM, denoised_fn=watched)
    np.testing.assert_array_equal(walked, seen[-1])
    step = p_mean_variance(schedule, x, x, 3, "sample", denoised_fn=partial(dynamic_threshold, ratio=0.5))
    np.testing.assert_array_equal(step.pred_xstart, dynamic_threshold(x, 0.5))


def test_gradients_flow_through_the_quantile():
    """Finite differences, where no two elements are equal in size."""
    x = np.random.default_rng().permutation(np.linspace(-4, 3.3, 24)).reshape(2, 3, 4)
    check_gradients(lambda x: dynamic_threshold(x, 0.7), [x])
    assert dynamic_threshold(tensor(x)).dtype == np.float64


def test_bad_options_are_refused():
    """A ratio that is none, a maximum that would empty the range, samples without elements."""
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"dynamic_threshold: expected a ratio between 0 and 1, got 99\.5"):
        dynamic_threshold(x, 99.5)
    with pytest.raises(ValueError, match=r"dynamic_threshold: expected a max_value of at least 1, got 0\.5"):
        dynamic_threshold(x, max_value=0.5)
    with pytest.raises(ValueError, match=r"dynamic_threshold: expected samples that are not empty, got shape \(2, 0\)"):
        dynamic_threshold(x[:, :0])
