"""Losses: hand values, loops, 50-digit arithmetic at extremes, laws, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from mpmath import exp, log, mp, mpf

from minidiff import functional as F
from minidiff.autograd import gradient, tensor


@given(arrays(np.float64, (4, 5), elements=st.floats(-30, 30)), st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_cross_entropy_is_minus_the_log_of_the_right_probability(x, labels):
    """By math, row by row; its gradient is (softmax - one_hot) / N."""
    y = np.array(labels)
    rows = [math.log(math.fsum(math.exp(v - row[label]) for v in row)) for row, label in zip(x.tolist(), labels)]
    np.testing.assert_allclose(F.cross_entropy(x, y, reduction="none"), rows, rtol=1e-10, atol=1e-13)
    assert float(F.cross_entropy(x, y)) == pytest.approx(math.fsum(rows) / 4, abs=1e-13)
    assert float(F.cross_entropy(x, y, reduction="sum")) == pytest.approx(math.fsum(rows), abs=1e-13)
    t = tensor(x, requires_grad=True)
    np.testing.assert_allclose(gradient(F.cross_entropy(t, tensor(y)), t).data, (F.softmax(x, 1) - F.one_hot(y, 5)) / 4, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_is_safe_at_ten_thousand(dtype):
    """Sure and right costs 0, sure and wrong 2e4, without a warning."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        x = tensor(np.array([[1e4, -1e4], [1e4, -1e4]], dtype), requires_grad=True)
        losses = F.cross_entropy(x, np.array([0, 1]), reduction="none")
        assert losses.data.tolist() == [0.0, 2e4]
        assert gradient(losses.sum(), x).data.tolist() == [[0, 0], [1, -1]]


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    """log 10 for ten classes."""
    assert float(F.cross_entropy(np.zeros((3, 10)), np.array([0, 5, 9]))) == pytest.approx(math.log(10))


@given(array_shapes(max_dims=3, max_side=4))
def test_mean_squared_error_is_a_mean_of_squares(shape):
    """By math.fsum; symmetric; zero only at equality; gradient 2 (x - y) / n."""
    x = np.sin(np.arange(1.0, 1 + np.prod(shape))).reshape(shape)
    y = np.cos(2.0 * x)
    squares = [(a - b) ** 2 for a, b in zip(x.ravel().tolist(), y.ravel().tolist())]
    assert float(F.mse_loss(x, y)) == pytest.approx(math.fsum(squares) / x.size, rel=1e-13)
    assert float(F.mse_loss(x, y, reduction="sum")) == pytest.approx(math.fsum(squares), rel=1e-13)
    assert F.mse_loss(x, y) == F.mse_loss(y, x) > 0 == F.mse_loss(x, x)
    t = tensor(x, requires_grad=True)
    np.testing.assert_allclose(gradient(F.mse_loss(t, y), t).data, 2 * (x - y) / x.size, rtol=1e-13)


def loops_cross_entropy(x, q, weight):
    """-sum_c q[c] w[c] log softmax(x)[c] for each sample and position, by math. x, q: (N, C, positions)."""
    out = np.zeros((x.shape[0], x.shape[2]))
    for n, d in np.ndindex(out.shape):
        row = x[n, :, d].tolist()
        peak = max(row)
        whole = peak + math.log(math.fsum(math.exp(v - peak) for v in row))
        out[n, d] = math.fsum(q[n, c, d] * weight[c] * (whole - v) for c, v in enumerate(row))
    return out


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 2**32))
def test_cross_entropy_is_its_definition(n, c, positions, smoothing, seed):
    """Class weights, smoothing, ignored targets, given probabilities: by loops, every reduction with its own denominator."""
    rng = np.random.default_rng(seed)
    x, weight = 3 * rng.normal(size=(n, c, positions)), rng.uniform(0.1, 2, c)
    labels = rng.integers(0, c, (n, positions))
    counted = rng.random((n, positions)) < 0.7
    counted[0, 0] = True
    hot = np.moveaxis(np.eye(c)[labels], 2, 1)
    losses = loops_cross_entropy(x, (1 - smoothing) * hot + smoothing / c, weight) * counted
    found = lambda target, **options: F.cross_entropy(x, target, weight, label_smoothing=smoothing, **options)
    target = np.where(counted, labels, -7)
    for name, expected in [("none", losses), ("sum", losses.sum()), ("mean", losses.sum() / (weight[labels] * counted).sum())]:
        np.testing.assert_allclose(found(target, ignore_index=-7, reduction=name), expected, rtol=1e-11, atol=1e-13)
    q = rng.dirichlet(np.ones(c), (n, positions)).transpose(0, 2, 1)
    losses = loops_cross_entropy(x, (1 - smoothing) * q + smoothing / c, weight)
    for name, expected in [("none", losses), ("sum", losses.sum()), ("mean", losses.mean())]:
        np.testing.assert_allclose(found(q, reduction=name), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found(hot, reduction="sum"), found(labels, reduction="sum"), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(F.nll_loss(F.log_softmax(x, 1), labels, weight), F.cross_entropy(x, labels, weight), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("x", [-1e4, -745.2, -104.0, -30.0, -1e-8, 0.0, 1e-8, 30.0, 90.0, 1e4])
def test_binary_cross_entropy_of_logits_is_exact_at_extremes(x, dtype):
    """In 50 digits, with its gradient, and without a warning: targets 0, 1 and between, a weight on the positive ones."""
    logit, eps = np.array([x], dtype), float(np.finfo(dtype).eps)
    with mp.workdps(50), np.errstate(over="raise", invalid="raise", divide="raise"):
        s = 1 / (1 + exp(-mpf(float(logit[0]))))
        other = 1 / (1 + exp(mpf(float(logit[0]))))  # 1 - s, to 50 digits where s rounds to 1
        for y, pos in [(0.0, 1.0), (1.0, 1.0), (0.25, 3.0)]:
            t = tensor(logit, requires_grad=True)
            loss = F.binary_cross_entropy_with_logits(t, np.array([y], dtype), pos_weight=np.array([pos], dtype))
            exact, slope = -(pos * y * log(s) + (1 - y) * log(other)), (1 - y) * s - pos * y * other
            assert float(loss.data) == pytest.approx(float(exact), rel=4 * eps, abs=1e-44)
            assert float(gradient(loss, t).data[0]) == pytest.approx(float(slope), rel=8 * eps, abs=1e-44 if y in (0, 1) else 4 * eps)


@given(arrays(np.float64, 5, elements=st.floats(-30, 30)), arrays(np.float64, 5, elements=st.floats(0, 1)))
def test_the_two_binary_cross_entropies_agree(x, y):
    """One of logits, one of probabilities; a probability of 0 or 1 that is wrong costs 100, one that is right nothing."""
    both = F.binary_cross_entropy(F.sigmoid(x), y, reduction="none"), F.binary_cross_entropy_with_logits(x, y, reduction="none")
    assert np.abs(both[0] - both[1]).max() < 1e-2  # 1 - sigmoid(30) has three digits left
    sure = F.binary_cross_entropy(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]), reduction="none")
    np.testing.assert_array_equal(sure, [0, 0, 100, 100])


@given(st.floats(1e-300, 1e-3), st.floats(0, 1))
def test_binary_cross_entropy_keeps_the_digits_of_small_probabilities(x, y):
    """log(1 - x) near x = 0, by Python's log1p."""
    found = F.binary_cross_entropy(np.array([x]), np.array([y])).item()
    assert found == pytest.approx(-y * max(math.log(x), -100.0) - (1 - y) * math.log1p(-x), rel=1e-14)


def test_the_gradient_of_a_sure_mistake_is_large_but_finite():
    """At probability 0: torch's -1e12."""
    x = tensor(np.array([0.0, 1.0]), requires_grad=True)
    assert gradient(F.binary_cross_entropy(x, np.array([1.0, 0.0]), reduction="sum"), x).data.tolist() == [-1e12, 1e12]


@given(arrays(np.float64, 7, elements=st.floats(-5, 5)), st.sampled_from([0.25, 1.0, 3.0]))
def test_huber_and_smooth_l1_are_parabolas_with_straight_arms(d, delta):
    """By cases; smooth L1 is Huber / beta; the value and the slope do not jump at the seam; curvature 1 also at 0."""
    expected = [e * e / 2 if abs(e) < delta else delta * (abs(e) - delta / 2) for e in d.tolist()]
    np.testing.assert_allclose(F.huber_loss(d, 0 * d, "none", delta), expected, rtol=1e-12, atol=1e-300)
    smooth = F.smooth_l1_loss(d, 0 * d, reduction="none", beta=delta)
    np.testing.assert_allclose(smooth, np.divide(expected, delta), rtol=1e-12, atol=1e-300)
    t = tensor(np.array([0.0, delta, -delta, 9 * delta, -9 * delta]), requires_grad=True)
    slope = gradient(F.huber_loss(t, np.zeros(5), "sum", delta), t, create_graph=True)
    assert slope.data.tolist() == [0.0, delta, -delta, delta, -delta]
    assert gradient(slope[0], t).data[0] == 1.0


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
def test_the_kullback_leibler_divergence_of_distributions(n, c, seed):
    """By math, positive, zero of itself, the same from log-probabilities; a class of probability 0 counts nothing."""
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(c), (2, n))
    q[0, 0] = 0.0
    expected = math.fsum(b * math.log(b / a) for a, b in zip(p.ravel().tolist(), q.ravel().tolist()) if b) / n
    assert float(F.kl_div(np.log(p), q, reduction="batchmean")) == pytest.approx(expected, abs=1e-12)
    assert float(F.kl_div(np.log(p), np.log(p), reduction="batchmean", log_target=True)) == 0.0
    q = rng.dirichlet(np.ones(c), n)
    both = F.kl_div(np.log(p), q, reduction="sum"), F.kl_div(np.log(p), np.log(q), reduction="sum", log_target=True)
    assert float(both[0]) == pytest.approx(float(both[1]), abs=1e-12) and both[0] >= -1e-12


def test_weights_of_elements_and_their_means():
    """[1, 2] from 0 with weights 1 and 3: squares 13 / 4, sizes 7 / 4, Huber 5 / 2 (its mean is over the number, as in torch)."""
    x, zero, w = np.array([1.0, 2.0]), np.zeros(2), np.array([1.0, 3.0])
    found = [f(x, zero, weight=w) for f in (F.mse_loss, F.l1_loss, F.huber_loss)]
    np.testing.assert_allclose(found, [13 / 4, 7 / 4, 5 / 2], rtol=1e-15)


EVERY = {
    "mse": lambda x, y: F.mse_loss(x, y), "l1": lambda x, y: F.l1_loss(x, y), "huber": lambda x, y: F.huber_loss(x, y),
    "smooth l1": lambda x, y: F.smooth_l1_loss(x, y), "cross entropy": lambda x, y: F.cross_entropy(x, y),
    "by index": lambda x, y: F.cross_entropy(x, np.zeros(x.shape[0], int)), "logits": lambda x, y: F.binary_cross_entropy_with_logits(x, y),
    "binary": lambda x, y: F.binary_cross_entropy(x, y), "kl": lambda x, y: F.kl_div(x, y),
}


@pytest.mark.parametrize("loss", EVERY.values(), ids=EVERY)
def test_nothing_has_no_mean_and_float16_is_summed_in_float32(loss):
    """An empty batch: NaN, without a warning, as in torch. 2048 numbers in float16: as good as float64, rounded once."""
    with np.errstate(all="raise"):
        assert np.isnan(loss(np.ones((0, 3)), np.ones((0, 3))))
    x, y = np.random.default_rng().uniform(0.05, 0.95, size=(2, 512, 4)).astype(np.float16)
    found = loss(x, y)
    assert found.dtype == np.float16
    assert float(found) == pytest.approx(float(loss(x.astype(np.float64), y.astype(np.float64))), rel=2e-3)


def test_when_all_targets_are_ignored_there_is_no_mean():
    """NaN as in torch; the sum is 0, and so are its gradients."""
    x = tensor(np.ones((2, 3)), requires_grad=True)
    target = np.array([-100, -100])
    assert np.isnan(F.cross_entropy(x, target).data)
    total = F.cross_entropy(x, target, reduction="sum")
    assert total.data == 0 and not gradient(total, x).data.any()


X = np.zeros((2, 3))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.mse_loss(X, X[0]), ValueError, r"input has shape \(2, 3\), target \(3,\); they must be the same"),
    (lambda: F.mse_loss(X, X, reduction="average"), ValueError, "reduction='average'; expected 'mean', 'sum' or 'none'"),
    (lambda: F.cross_entropy(X, np.array([0])), ValueError,
     r"input of shape \(2, 3\) and target of shape \(1,\); expected a target \(2,\)"),
    (lambda: F.cross_entropy(X, X[:, :2]), ValueError, r"input has shape \(2, 3\), target \(2, 2\); they must be the same"),
    (lambda: F.cross_entropy(X, X, ignore_index=1), ValueError, "ignore_index=1 means nothing for a target of probabilities"),
    (lambda: F.cross_entropy(X, np.array([0, 1]), np.ones(2)), ValueError, r"weight of shape \(2,\).* each of 3 classes"),
    (lambda: F.cross_entropy(X, np.array([0, 1]), label_smoothing=-0.1), ValueError, "label_smoothing=-0.1; expected 0 to 1"),
    (lambda: F.mse_loss(X, X, True), TypeError, "mse_loss: size_average=True is deprecated .* say reduction="),
    (lambda: F.kl_div(X, X, reduce=False), TypeError, "kl_div: reduce=False is deprecated"),
    (lambda: F.binary_cross_entropy(X - 1, X), ValueError, "input from -1.0 to -1.0; expected probabilities"),
    (lambda: F.huber_loss(X, X, delta=0.0), ValueError, "delta=0.0; expected a positive number"),
    (lambda: F.mse_loss(X.astype(int), X.astype(int)), TypeError, "expected floating-point numbers"),
    (lambda: F.cross_entropy(X, np.array([0.0, 1.0])), TypeError, "expected integer classes, got float64"),
    (lambda: F.cross_entropy(X, np.array([0, 3])), IndexError, "classes from 0 to 3; the input has classes 0 to 2"),
    (lambda: F.cross_entropy(X, np.array([0, -1])), IndexError, "classes from -1 to 0"),
    (lambda: F.cross_entropy(X, np.array([0, 1]), reduction=None), ValueError, "reduction=None"),
])
def test_what_does_not_fit_is_refused(call, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        call()
