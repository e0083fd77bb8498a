"""Three losses with one minimum: their differences are the constants of the theory, their derivatives those of finite differences.

For a linear score and Gaussian data every loss is a polynomial of degree 2 in what is random, so points at mean +- std (and noise
at +-1), all combinations of signs, give the exact expectations.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.autograd import check_gradients, tensor
from minidiff.diffusion import (
    EDM,
    Gaussian,
    StraightLine,
    denoising_score_matching,
    implicit_score_matching,
    make_schedule,
    q_sample,
    simple_loss,
    sliced_score_matching,
)

SCHEDULE = make_schedule("linear", 20)
numbers = st.floats(-2, 2)
rng = np.random.default_rng()


def signs(dimensions):
    """All vectors of +-1: (2^D, D)."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=dimensions)))


def crooked(x, w=None):
    """A nonlinear score in three dimensions whose coordinates mix: tanh(x W) - x^3 / 5, arrays or Tensors."""
    w = tensor(np.array([[0.5, -0.3, 0.1], [0.2, 0.4, -0.7], [0.6, 0.1, 0.3]])) if w is None else w
    return (tensor(x) if isinstance(x, np.ndarray) else x).reshape(-1, 3).matmul(w).tanh() - x * x * x / 5


def differences(score, x, v):
    """(score(x), v^T J) with J by central differences: a vjp that knows no autograd."""
    h, J = 1e-5, []
    for unit in np.eye(x.shape[1]):
        J.append((score(x + h * unit) - score(x - h * unit)) / (2 * h))
    return score(x), np.einsum("ni,jni->nj", v, np.stack(J))


@given(numbers, numbers, st.floats(0.3, 2), numbers, st.integers(1, 4))
def test_implicit_score_matching_is_the_fisher_divergence_up_to_its_constant(k, shift, std, mean, dimensions):
    """E 1/2 ||s - grad log q||^2 - E 1/2 ||grad log q||^2 for Gaussian q and s = k x + shift: Hyvarinen's theorem."""
    x = mean + std * signs(dimensions)
    s, truth = k * x + shift, -(x - mean) / std**2
    divergence, constant = (((s - truth) ** 2).sum(axis=1).mean() / 2, (truth**2).sum(axis=1).mean() / 2)
    loss = implicit_score_matching(lambda x: k * x + shift, x).item()
    assert loss == pytest.approx(divergence - constant, rel=1e-10, abs=1e-10)


@given(numbers, numbers, st.floats(0.3, 2), numbers, st.integers(0, 19), st.integers(1, 3))
def test_denoising_score_matching_is_the_fisher_divergence_up_to_its_constant(k, shift, std, mean, t, dimensions):
    """Vincent's theorem: the loss against the score given x_0, minus the loss against the score of q(x_t), is
    E 1/2 ||grad log q(x_t | x_0)||^2 - E 1/2 ||grad log q(x_t)||^2 = D/2 (1 / sigma^2 - 1 / (alpha^2 std^2 + sigma^2)).

    And implicit score matching of the same noised points has the same difference to the Fisher divergence as always."""
    points = signs(2 * dimensions)
    x_start, noise = mean + std * points[:, :dimensions], points[:, dimensions:]
    alpha, sigma = SCHEDULE.sqrt_alphas_cumprod[t], SCHEDULE.sqrt_one_minus_alphas_cumprod[t]
    x_t, variance = q_sample(SCHEDULE, x_start, t, noise), alpha**2 * std**2 + sigma**2
    truth = -(x_t - alpha * mean) / variance
    fisher = ((k * x_t + shift - truth) ** 2).sum(axis=1).mean() / 2
    denoising = denoising_score_matching(lambda x, t: k * x + shift, SCHEDULE, x_start, t, noise, weight=1.0)
    implicit = implicit_score_matching(lambda x: k * x + shift, x_t).item()
    constant = dimensions / 2 * (1 / sigma**2 - 1 / variance)
    assert denoising == pytest.approx(fisher + constant, rel=1e-9)
    assert denoising == pytest.approx(implicit + dimensions / (2 * sigma**2), rel=1e-9)


@pytest.mark.parametrize("process, t", [(SCHEDULE, [0, 7, 19]), (EDM, [0.01, 1.0, 80.0]), (StraightLine(), [0.1, 0.5, 1.0])])
def test_denoising_score_matching_weighted_with_sigma_squared_is_the_simple_loss(process, t):
    """eps' = -sigma s: half of L_simple in epsilon, times the number of dimensions; the weight is sigma^2 by default."""
    x_start, noise = rng.standard_normal((2, 3, 2, 4))
    said = rng.standard_normal((3, 2, 4))
    sigma = np.asarray(process.sigma(np.array(t))).reshape(-1, 1, 1)
    got = denoising_score_matching(lambda x, t: -said / sigma, process, x_start, t, noise)
    assert got == pytest.approx(8 / 2 * simple_loss(lambda x, t: said, process, x_start, t, noise), rel=1e-11)
    weighted = denoising_score_matching(lambda x, t: -said / sigma, process, x_start, t, noise, weight=sigma.ravel() ** 2)
    assert got == pytest.approx(weighted, rel=1e-13)


@given(st.floats(0.3, 2), numbers, st.integers(0, 19))
def test_the_score_of_the_noised_data_is_where_all_three_are_least(std, mean, t):
    """For s = -k (x - m) with Gaussian data the gradients with respect to k and m vanish at the true ones."""
    points = signs(4)
    x_start, noise = mean + std * points[:, :2], points[:, 2:]
    alpha, sigma = SCHEDULE.sqrt_alphas_cumprod[t], SCHEDULE.sqrt_one_minus_alphas_cumprod[t]
    best = alpha**2 * std**2 + sigma**2
    x_t = q_sample(SCHEDULE, x_start, t, noise)
    k, m = (tensor(np.array(v), requires_grad=True) for v in (1 / best, alpha * mean))
    score = lambda x, t=None: -k * (x - m)
    directions = np.tile(signs(2), (4, 1))  # each point of x meets one sign; the trace of -k 1 does not care
    for loss in (denoising_score_matching(score, SCHEDULE, x_start, t, noise, 1.0), implicit_score_matching(score, x_t),
                 sliced_score_matching(score, x_t, directions)):
        k.grad = m.grad = None
        loss.backward()
        assert abs(k.grad.item()) < 1e-9 * best and abs(m.grad.item()) < 1e-9 / best


@pytest.mark.parametrize("variance_reduced", [True, False])
def test_the_mean_over_directions_is_the_exact_trace(variance_reduced):
    """All 8 vectors of +-1 have E[v v^T] = 1, as do sqrt(3) times the 3 unit vectors: the mean of the sliced losses is the implicit one."""
    x = rng.standard_normal((5, 3))
    expected = implicit_score_matching(crooked, x).item()
    for directions in (signs(3), np.sqrt(3) * np.eye(3)):
        losses = [sliced_score_matching(crooked, x, np.tile(v, (5, 1)), variance_reduced).item() for v in directions]
        assert np.mean(losses) == pytest.approx(expected, rel=1e-12)
        assert np.std(losses) > 1e-3


def test_every_one_of_the_batch_has_its_own_direction():
    """The loss of a batch is the mean of the losses of each alone."""
    x, v = rng.standard_normal((2, 4, 3))
    for reduced in (True, False):
        alone = [sliced_score_matching(crooked, x[i : i + 1], v[i : i + 1], reduced).item() for i in range(4)]
        assert sliced_score_matching(crooked, x, v, reduced).item() == pytest.approx(np.mean(alone), rel=1e-12)
    alone = [implicit_score_matching(crooked, x[i : i + 1]).item() for i in range(4)]
    assert implicit_score_matching(crooked, x).item() == pytest.approx(np.mean(alone), rel=1e-12)


def test_the_derivatives_are_those_of_finite_differences():
    """The Jacobian by central differences given as vjp: plain NumPy scores, the same losses."""
    score = lambda x: crooked(x).numpy()
    x, v = rng.standard_normal((2, 4, 3))
    s = score(x)
    trace = sum(((score(x + 1e-5 * e) - score(x - 1e-5 * e)) / 2e-5)[:, i] for i, e in enumerate(np.eye(3)))
    expected = ((s * s).sum(axis=1) / 2 + trace).mean()
    assert implicit_score_matching(crooked, x).item() == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert implicit_score_matching(score, x, vjp=differences) == pytest.approx(expected, rel=1e-8, abs=1e-8)
    along = np.array([v[i] @ np.column_stack([(score(x + 1e-5 * e) - score(x - 1e-5 * e))[i] / 2e-5 for e in np.eye(3)]) @ v[i]
                      for i in range(4)])
    for reduced, norms in {True: (s * s).sum(axis=1), False: (s * v).sum(axis=1) ** 2}.items():
        expected = (along + norms / 2).mean()
        assert sliced_score_matching(crooked, x, v, reduced).item() == pytest.approx(expected, rel=1e-7, abs=1e-7)
        assert sliced_score_matching(score, x, v, reduced, vjp=differences) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_the_losses_can_be_trained_and_differentiated_twice():
    """Gradients and gradients of gradients with respect to the score's parameters and to x, against finite differences."""
    x, v = rng.standard_normal((2, 2, 3))
    w = rng.standard_normal((3, 3)) / 2
    check_gradients(lambda w: implicit_score_matching(lambda x: crooked(x, w), x), [w], tolerance=1e-5)
    for reduced in (True, False):
        check_gradients(lambda w, reduced=reduced: sliced_score_matching(lambda x: crooked(x, w), x, v, reduced), [w], tolerance=1e-5)
        check_gradients(lambda x, reduced=reduced: sliced_score_matching(crooked, x, tensor(v), reduced), [x], tolerance=1e-5)


def test_the_exact_score_of_gaussian_data_in_an_odd_shape():
    """tr(ds/dx) = -D / v for the score of N(m, v): images of any rank, Tensors and strided arrays, one number or another dtype."""
    data = Gaussian(0.2, 0.7)
    x = np.repeat(rng.standard_normal((3, 2, 1, 2)), 2, axis=-1)[..., ::2]
    score = lambda x: data.score(x, 1.0, 0.5)
    variance = 0.7**2 + 0.25
    expected = (((x - 0.2) / variance) ** 2).sum(axis=(1, 2, 3)).mean() / 2 - 4 / variance
    v = np.where(rng.random(x.shape) < 0.5, 1.0, -1.0)
    for given_x in (x, tensor(x)):
        assert implicit_score_matching(score, given_x).item() == pytest.approx(expected, rel=1e-12)
        directions = v if given_x is x else tensor(v)
        assert sliced_score_matching(score, given_x, directions).item() == pytest.approx(expected, rel=1e-12)
    assert implicit_score_matching(score, x.astype(np.float32)).dtype == np.float32


def test_bad_scores_are_refused():
    """Answers and directions that are not like x."""
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"implicit_score_matching: expected its_score to have the shape of x, \(2, 3\), got \(2, 1\)"):
        implicit_score_matching(lambda x: x[:, :1], x)
    with pytest.raises(ValueError, match=r"sliced_score_matching: expected v to have the shape of x, \(2, 3\), got \(2, 1\)"):
        sliced_score_matching(lambda x: x, x, x[:, :1])
    with pytest.raises(TypeError, match="sliced_score_matching: expected v to have the dtype of x, float64, got float32"):
        sliced_score_matching(lambda x: x, x, x.astype(np.float32))
    with pytest.raises(ValueError, match="training_losses: expected model_output to have the shape of x_t"):
        denoising_score_matching(lambda x, t: x[:, :1], SCHEDULE, x, 3, x)
