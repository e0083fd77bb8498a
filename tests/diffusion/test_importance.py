"""Any probabilities of times, with their weights, give the same expected loss; a history of losses says which do it with least noise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.autograd import tensor
from minidiff.diffusion import (
    LossHistory,
    draw_times,
    importance_weights,
    make_schedule,
    simple_loss,
    training_losses,
    uniform_probabilities,
)
from minidiff.random import Generator


@st.composite
def probabilities(draw, smallest=0.0):
    """Distributions over 1 to 12 times."""
    p = np.array(draw(st.lists(st.floats(smallest, 1), min_size=1, max_size=12)))
    p[p < 1e-9] = 0
    return p / p.sum() if p.sum() > 1e-3 else np.full(len(p), 1 / len(p))


class Given:
    """A generator that answers with given uniforms."""

    def __init__(self, uniforms):
        self.uniforms = np.asarray(uniforms, dtype=np.float64)

    def random(self, shape, dtype):
        assert shape == self.uniforms.shape and dtype == "float64"
        return self.uniforms


@given(probabilities(smallest=1e-3), st.data())
def test_the_weighted_loss_is_unbiased(p, data):
    """Enumerate the times: sum_t p_t w_t L_t is the plain mean of L_t, for any p."""
    losses = np.array([data.draw(st.floats(-10, 10)) for _ in p])
    weights = importance_weights(p, np.arange(len(p)))
    assert (p * weights * losses).sum() == pytest.approx(losses.mean(), rel=1e-12, abs=1e-12)


@given(probabilities())
def test_times_are_drawn_with_their_probabilities(p):
    """A grid of 10,000 uniforms: every time appears p_t of them, to one; those of probability 0 never, at the edges of [0, 1) either."""
    grid = (np.arange(10_000) + 0.5) / 10_000
    times, weights = draw_times(p, 10_000, Given(grid))
    assert times.dtype == np.int64 and weights.dtype == np.float64
    counts = np.bincount(times, minlength=len(p))
    assert (abs(counts - 10_000 * p) <= 1.0001).all() and (counts[p == 0] == 0).all()
    np.testing.assert_allclose(weights, 1 / (len(p) * p[times]), rtol=1e-12)
    edges, _ = draw_times(p, 2, Given([0.0, 1 - 2**-53]))
    assert (p[edges] > 0).all()


def test_the_same_seed_draws_the_same_times():
    """And a fresh seed draws uniformly: chi-squared with 19 degrees of freedom exceeds 67 with probability 3e-7."""
    p = uniform_probabilities(20)
    assert p.tolist() == [0.05] * 20
    one, two = (draw_times(p, 2000, Generator(5))[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    times, weights = draw_times(p, 20_000, Generator(int(np.random.default_rng().integers(2**31))))
    counts = np.bincount(times, minlength=20)
    assert ((counts - 1000) ** 2 / 1000).sum() < 67
    np.testing.assert_allclose(weights, 1, rtol=1e-12)


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=8), st.data())
def test_no_probabilities_have_less_variance_than_the_root_of_the_second_moment(sizes, data):
    """E[(w L)^2] = sum_t E[L_t^2] / (T^2 p_t), enumerated, is least for the history's p (without its uniform share)."""
    sizes = np.array(sizes)
    history = LossHistory(np.outer(sizes, [1, -1, 1, -1]), np.full(len(sizes), 4))
    best = history.probabilities(uniform_prob=0.0)
    other = np.array([data.draw(st.floats(0.01, 1)) for _ in sizes])
    moment = lambda p: (sizes**2 / (len(p) ** 2 * p)).sum()
    assert moment(best) <= moment(other / other.sum()) * (1 + 1e-12)
    assert moment(best) == pytest.approx(sizes.mean() ** 2, rel=1e-12)  # a constant loss L_t: nothing is left of its variance


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 5)), max_size=6), max_size=12))
def test_the_history_keeps_the_latest_losses(batches):
    """A list for each time, written naively: the last H; probabilities uniform until all lists are full."""
    history, lists = LossHistory.empty(3, 4), [[], [], []]
    for batch in batches:
        before = history.losses.copy(), history.counts.copy()
        new = history.updated(np.array([t for t, _ in batch], dtype=np.int64), [loss for _, loss in batch])
        np.testing.assert_array_equal(history.losses, before[0])  # arrays are values
        np.testing.assert_array_equal(history.counts, before[1])
        history = new
        for t, loss in batch:
            lists[t] = [*lists[t], loss][-4:]
    assert history.counts.tolist() == [len(one) for one in lists]
    for row, one in zip(history.losses, lists, strict=True):
        assert row[4 - len(one) :].tolist() == one
    p = history.probabilities()
    moments = [math.sqrt(sum(loss**2 for loss in one) / 4) for one in lists]
    if min(len(one) for one in lists) < 4 or sum(moments) == 0:
        assert p.tolist() == [1 / 3] * 3
    else:
        expected = [0.999 * m / sum(moments) + 0.001 / 3 for m in moments]
        np.testing.assert_allclose(p, expected, rtol=1e-12)
        assert p.sum() == pytest.approx(1, rel=1e-14) and p.min() >= 0.001 / 3


def test_a_history_is_two_arrays():
    """Saved and made again, it goes on as before."""
    history = LossHistory.empty(5).updated([0, 4, 4], [1.0, 2.0, 3.0])
    assert history.losses.shape == (5, 10) and history.losses.dtype == np.float64 and history.counts.tolist() == [1, 0, 0, 0, 2]
    again = LossHistory(losses=history.losses.copy(), counts=history.counts.copy())
    for one in (history, again):
        assert one.updated([4], tensor([7.0])).losses[4, -3:].tolist() == [2.0, 3.0, 7.0]


def test_training_with_drawn_times_estimates_the_loss_over_all_times():
    """simple_loss with the weights of draw_times, over a grid of uniforms that visits every time in proportion: the mean over all times."""
    schedule, rng = make_schedule("linear", 4), np.random.default_rng()
    p = np.array([0.125, 0.5, 0.25, 0.125])
    times, weights = draw_times(p, 8, Given((np.arange(8) + 0.5) / 8))
    assert times.tolist() == [0, 1, 1, 1, 1, 2, 2, 3]
    x_start, noise = np.tile(rng.standard_normal((1, 2)), (8, 1)), np.tile(rng.standard_normal((1, 2)), (8, 1))
    model = lambda x, t: 0.5 * x
    every = training_losses(model, schedule, x_start[:4], [0, 1, 2, 3], noise[:4])
    assert simple_loss(model, schedule, x_start, times, noise, weight=weights) == pytest.approx(every.mean(), rel=1e-12)


def test_bad_probabilities_and_losses_are_refused():
    """What does not sum to 1, is negative or NaN; losses that are not numbers, or not as many as times."""
    for p in ([0.5, 0.4], [1.5, -0.5], [[0.5, 0.5]], [], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="draw_times: expected probabilities"):
            draw_times(p, 3, Generator(0))
    with pytest.raises(ValueError, match="importance_weights: expected probabilities"):
        importance_weights([0.5, 0.4], 0)
    with pytest.raises(ValueError, match="importance_weights: a time of probability 0 is never drawn"):
        importance_weights([0.0, 1.0], [1, 0])
    with pytest.raises(ValueError, match="time 2 is outside the schedule"):
        importance_weights([0.5, 0.5], 2)
    history = LossHistory.empty(3)
    with pytest.raises(ValueError, match=r"LossHistory.updated: expected one loss for each of 2 times, got shape \(1,\)"):
        history.updated([0, 1], [1.0])
    with pytest.raises(ValueError, match=r"LossHistory.updated: a loss is NaN or infinite"):
        history.updated([0, 1], [1.0, math.nan])
    with pytest.raises(ValueError, match=r"LossHistory: expected losses \(T, H\) and counts \(T,\), got shapes \(3, 4\) and \(2,\)"):
        LossHistory(np.zeros((3, 4)), np.zeros(2))
