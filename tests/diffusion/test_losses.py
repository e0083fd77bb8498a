"""The loss is the mean squared error of what a model predicts, in any process; the hybrid loss adds a term that trains the variance."""

import math

import numpy as np
import pytest

from minidiff.autograd import tensor
from minidiff.diffusion import (
    EDM,
    PREDICTION_TYPES,
    Cosine,
    Gaussian,
    StraightLine,
    calc_bpd_loop,
    hybrid_loss,
    hybrid_terms,
    make_schedule,
    q_sample,
    simple_loss,
    training_losses,
    training_target,
)

SCHEDULE = make_schedule("linear", 20)
PROCESSES = {"schedule": (SCHEDULE, [4, 0, 19]), "edm": (EDM, [0.5, 1e-3, 80.0]), "straight": (StraightLine(), [0.5, 0.001, 0.999]),
             "cosine": (Cosine(), [0.5, 0.001, 0.999])}
rng = np.random.default_rng()


def target_of(prediction_type, alpha, sigma, clean, eps):
    """What the papers call it, for one element."""
    return {"epsilon": eps, "sample": clean, "v_prediction": alpha * eps - sigma * clean, "score": -eps / sigma,
            "flow_prediction": eps - clean}[prediction_type]


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("each", [False, True], ids=["one", "each"])
@pytest.mark.parametrize("process, times", PROCESSES.values(), ids=PROCESSES)
def test_simple_loss_is_the_mean_squared_error(prediction_type, each, process, times):
    """A loop over all elements in Python floats; the model sees x_t and (N,) times."""
    x_start, noise = rng.standard_normal((2, 3, 2, 5))
    seen = []

    def model(x, t):
        seen.append((x, t))
        return 0.3 * x + t.reshape(-1, 1, 1)

    t = times if each else times[0]
    loss = simple_loss(model, process, x_start, t, noise, prediction_type)
    times = times if each else times[:1] * 3
    total = 0.0
    for i, time in enumerate(times):
        alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
        for clean, eps in zip(x_start[i].ravel().tolist(), noise[i].ravel().tolist(), strict=True):
            total += (0.3 * (alpha * clean + sigma * eps) + time - target_of(prediction_type, alpha, sigma, clean, eps)) ** 2
    assert loss == pytest.approx(total / x_start.size, rel=1e-11)
    ((x_t, model_t),) = seen
    assert model_t.dtype == (np.int64 if process is SCHEDULE else np.float64) and model_t.tolist() == times
    np.testing.assert_array_equal(x_t, q_sample(process, x_start, t, noise))


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2, 0, 1)[:2], (3, 2, 1, 4, 3)])
def test_the_losses_of_each_have_the_simple_loss_as_their_mean(shape):
    """(N,) means over all else, for data of any rank, strided too; weights multiply them."""
    x_start, noise = np.repeat(rng.standard_normal((2, *shape)), 2, axis=-1)[..., ::2]
    t, weight = [4, 0, 19], np.array([0.5, 2.0, 7.0])
    model = lambda x, t: 0.3 * x + 1
    losses = training_losses(model, SCHEDULE, x_start, t, noise)
    assert losses.shape == (3,)
    for i in range(3):
        alone = simple_loss(model, SCHEDULE, x_start[i : i + 1], t[i], noise[i : i + 1])
        assert losses[i] == pytest.approx(alone, rel=1e-13)
    assert simple_loss(model, SCHEDULE, x_start, t, noise) == pytest.approx(losses.mean(), rel=1e-13)
    assert simple_loss(model, SCHEDULE, x_start, t, noise, weight=weight) == pytest.approx((weight * losses).mean(), rel=1e-13)
    assert simple_loss(model, SCHEDULE, x_start, 4, noise, weight=np.float64(3)) == pytest.approx(
        3 * simple_loss(model, SCHEDULE, x_start, 4, noise), rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_simple_loss_of_a_perfect_model_is_zero_and_keeps_the_dtype(dtype):
    """A model that knows the noise has no loss, whatever the weight."""
    x_start, noise = rng.standard_normal((2, 4, 3)).astype(dtype)
    for weight in (None, 2.0, np.float64(2), np.arange(4.0)):
        loss = simple_loss(lambda x, t: noise, SCHEDULE, x_start, [0, 1, 2, 3], noise, weight=weight)
        assert loss == 0 and loss.dtype == dtype
    assert training_losses(lambda x, t: x, SCHEDULE, x_start, 3, noise).dtype == dtype


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("t", [4, [4, 0, 19]], ids=["one", "each"])
def test_the_loss_of_a_tensor_model_has_the_closed_form_gradient(prediction_type, t):
    """For the model k x the gradient is 2 mean(w (k x_t - target) x_t); data as arrays and as Tensors alike."""
    x_start, noise = rng.standard_normal((2, 3, 2, 5))
    x_t = q_sample(SCHEDULE, x_start, t, noise)
    target = training_target(SCHEDULE, prediction_type, x_start, noise, t)
    weight = 2.5 if t == 4 else np.array([2.5, 1.0, 0.3])
    expected = 2 * (np.reshape(weight, (-1, 1, 1)) * (0.3 * x_t - target) * x_t).mean()
    for kind in (np.asarray, tensor):
        k = tensor(np.array(0.3), requires_grad=True)
        loss = simple_loss(lambda x, times, k=k: k * x, SCHEDULE, kind(x_start), t, kind(noise), prediction_type, weight)
        loss.backward()
        assert k.grad.item() == pytest.approx(expected, rel=1e-12)


def test_the_perfect_model_leaves_the_variance_of_what_cannot_be_known():
    """Gaussian data: the loss in eps is Var(eps | x_t) = alpha^2 std^2 / (alpha^2 std^2 + sigma^2), and no model does better.

    Data and noise at +-std and +-1 have the moments of the Gaussians up to the second, and the loss asks no more.
    """
    std = 0.7
    x_start, noise = std * np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([[1.0], [-1.0], [1.0], [-1.0]])
    perfect = Gaussian(0.0, std).model(SCHEDULE)
    for t in range(20):
        alpha, sigma = SCHEDULE.sqrt_alphas_cumprod[t], SCHEDULE.sqrt_one_minus_alphas_cumprod[t]
        least = (alpha * std) ** 2 / ((alpha * std) ** 2 + sigma**2)
        assert simple_loss(perfect, SCHEDULE, x_start, t, noise) == pytest.approx(least, rel=1e-11)
        for off in (0.99, 1.01):
            assert simple_loss(lambda x, times, off=off: off * perfect(x, times), SCHEDULE, x_start, t, noise) > least


# -- the hybrid loss -------------------------------------------------------------------------------------------------


def pixels(*shape):
    """Random grey levels."""
    return rng.integers(0, 256, shape) / 127.5 - 1


@pytest.mark.parametrize("variance_type", ["learned", "learned_range"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_the_hybrid_loss_over_all_times_is_the_simple_loss_and_the_whole_bound(variance_type, prediction_type):
    """The mean over every t of the "sum" loss holds lambda times the sum of the terms of `calc_bpd_loop`; "term" holds it divided by T."""
    schedule, T = make_schedule("linear", 5), 5
    x_start, noise = pixels(2, 2, 3), rng.standard_normal((T, 2, 2, 3))

    def model(x, t):
        learned = 0.2 * np.tanh(x) if variance_type == "learned_range" else np.log(schedule.betas)[t].reshape(-1, 1, 1) + 0.1 * np.tanh(x)
        return np.concatenate([0.4 * x, learned], axis=1)

    bound = calc_bpd_loop(model, schedule, x_start, noise=noise, prediction_type=prediction_type, variance_type=variance_type)
    simple = np.mean([simple_loss(lambda x, t: 0.4 * x, schedule, x_start, t, noise[t], prediction_type) for t in range(T)])
    for vlb, factor in {"sum": 1, "term": 1 / T}.items():
        losses = [hybrid_loss(model, schedule, x_start, t, noise[t], prediction_type, variance_type, vlb_weight=0.02, vlb=vlb)
                  for t in range(T)]
        assert np.mean(losses) == pytest.approx(simple + 0.02 * factor * bound.vb.sum(axis=1).mean(), rel=1e-11)


def test_the_hybrid_loss_by_default_is_openais_and_a_thousandth_of_the_term_on_request():
    """vb times T / 1000, or times 0.001; weights apply to both parts."""
    x_start, noise, t, weight = pixels(3, 2, 4), rng.standard_normal((3, 2, 4)), [4, 0, 19], np.array([0.5, 2.0, 7.0])
    model = lambda x, t: np.concatenate([0.4 * x, 0.1 * x], axis=1)
    mse, vb = hybrid_terms(model, SCHEDULE, x_start, t, noise)
    assert mse.shape == vb.shape == (3,)
    assert hybrid_loss(model, SCHEDULE, x_start, t, noise) == pytest.approx((mse + 20 / 1000 * vb).mean(), rel=1e-13)
    assert hybrid_loss(model, SCHEDULE, x_start, t, noise, vlb="term") == pytest.approx((mse + 0.001 * vb).mean(), rel=1e-13)
    assert hybrid_loss(model, SCHEDULE, x_start, t, noise, weight=weight) == pytest.approx((weight * (mse + 0.02 * vb)).mean(), rel=1e-13)


@pytest.mark.parametrize("variance_type", ["learned", "learned_range"])
def test_the_bound_trains_the_variance_alone(variance_type):
    """d/da is that of the simple loss, although the bound depends on a; d/db is that of the whole, by finite differences."""
    x_start, noise, t = pixels(4, 2, 3), rng.standard_normal((4, 2, 3)), [4, 0, 19, 1]

    def model(a, b, kind):
        def answer(x, times):
            learned = b * kind(np.tanh(to_numpy(x)))
            x = kind(to_numpy(x))
            return join(a * x, learned if variance_type == "learned_range" else learned - 4.0)
        return answer

    def to_numpy(x):
        return np.asarray(getattr(x, "data", x))

    def join(x, y):
        if isinstance(x, np.ndarray):
            return np.concatenate([x, y], axis=1)
        eye = np.eye(2 * x.shape[1])
        return tensor(eye[:, : x.shape[1]]) @ x + tensor(eye[:, x.shape[1]:]) @ y

    def loss(a, b, kind=np.asarray):
        return hybrid_loss(model(a, b, kind), SCHEDULE, x_start, t, noise, variance_type=variance_type, vlb_weight=1.0)

    a, b = (tensor(np.array(v), requires_grad=True) for v in (0.4, 0.3))
    loss(a, b, tensor).backward()
    h = 1e-5
    simple = [simple_loss(lambda x, t, k=k: k * x, SCHEDULE, x_start, t, noise) for k in (0.4 + h, 0.4 - h)]
    assert a.grad.item() == pytest.approx((simple[0] - simple[1]) / (2 * h), rel=1e-7)
    assert abs((loss(0.4 + h, 0.3) - loss(0.4 - h, 0.3)) / (2 * h) - a.grad.item()) > 1e-4  # what the bound alone would add
    assert b.grad.item() == pytest.approx((loss(0.4, 0.3 + h) - loss(0.4, 0.3 - h)) / (2 * h), rel=1e-6)
    assert loss(a, b, tensor).item() == pytest.approx(loss(0.4, 0.3), rel=1e-13)


def test_the_best_learned_variance_of_the_hybrid_loss_is_that_of_the_way_back():
    """Gaussian data, perfect mean: the gradient of the vb term with respect to log Sigma vanishes at Var(x_{t-1} | x_t), t > 0."""
    std, schedule = 0.6, make_schedule("linear", 30)
    x_start, noise = std * np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([[1.0], [-1.0], [1.0], [-1.0]])
    perfect = Gaussian(0.0, std).model(schedule)
    for t in (1, 7, 29):
        left = std**2 * schedule.one_minus_alphas_cumprod[t] / (std**2 * schedule.alphas_cumprod[t] + schedule.one_minus_alphas_cumprod[t])
        best = math.log(schedule.posterior_variance[t] + schedule.posterior_mean_coef1[t] ** 2 * left)
        log_variance = tensor(np.array(best), requires_grad=True)
        pad = tensor(np.array([[1.0, 0.0], [0.0, 1.0]]))

        def model(x, times, log_variance=log_variance, pad=pad):
            return tensor(perfect(x, times)) @ pad[:1] + (0 * tensor(x) + log_variance) @ pad[1:]

        _, vb = hybrid_terms(model, schedule, x_start, t, noise, variance_type="learned")
        vb.mean().backward()
        assert abs(log_variance.grad.item()) < 1e-12


def test_bad_predictions_are_refused():
    """Unknown types list the known ones; a model's answer that would broadcast is an error."""
    x = np.zeros((4, 3))
    for call in (
        lambda: training_losses(lambda x, t: x, SCHEDULE, x, 0, x, "eps"),
        lambda: simple_loss(lambda x, t: x, SCHEDULE, x, 0, x, "eps"),
    ):
        with pytest.raises(ValueError, match="unknown prediction_type 'eps'; choose from epsilon, sample, v_prediction"):
            call()
    with pytest.raises(ValueError, match=r"simple_loss: expected model_output to have the shape of x_t, \(4, 3\), got \(4, 1\)"):
        simple_loss(lambda x, t: x[:, :1], SCHEDULE, x, 0, x)
    with pytest.raises(ValueError, match=r"training_losses: expected model_output to have the shape of x_t, \(4, 3\), got \(4, 1\)"):
        training_losses(lambda x, t: x[:, :1], SCHEDULE, x, 0, x)
    with pytest.raises(TypeError, match="model_output to have the dtype of x_t, float64, got float32"):
        simple_loss(lambda x, t: x.astype(np.float32), SCHEDULE, x, 0, x)
    with pytest.raises(ValueError, match="time 20 is outside the process"):
        simple_loss(lambda x, t: x, SCHEDULE, x, 20, x)
    with pytest.raises(ValueError, match="got 2 times for data of shape"):
        simple_loss(lambda x, t: x, SCHEDULE, x, 2, x, weight=[1.0, 2.0])


def test_bad_hybrid_losses_are_refused():
    """A variance that is not learned, a model without one, an unknown way to count the term."""
    x = np.zeros((4, 3))
    twice = lambda x, t: np.concatenate([x, x], axis=1)
    with pytest.raises(ValueError, match="hybrid_terms: expected a learned variance_type, learned or learned_range, got 'fixed_small'"):
        hybrid_loss(twice, SCHEDULE, x, 0, x, variance_type="fixed_small")
    with pytest.raises(ValueError, match=r"hybrid_terms: a model that learns its variance answers with twice the channels of x, \(4, 6\)"):
        hybrid_loss(lambda x, t: x, SCHEDULE, x, 0, x)
    with pytest.raises(ValueError, match="hybrid_loss: unknown vlb 'mean'; choose from sum, term"):
        hybrid_loss(twice, SCHEDULE, x, 0, x, vlb="mean")
    with pytest.raises(ValueError, match="unknown decoder 'bins'"):
        hybrid_loss(twice, SCHEDULE, x, 0, x, decoder="bins")
