"""Epsilon, x_0 and v are one prediction; the loss is the mean squared error of any of them."""

import math

import numpy as np
import pytest
from diffusion_laws import schedules
from hypothesis import given
from hypothesis import strategies as st

from minidiff.autograd import tensor
from minidiff.diffusion import (
    PREDICTION_TYPES,
    make_schedule,
    predict_noise_from_start,
    predict_noise_from_v,
    predict_start_and_noise,
    predict_start_from_noise,
    predict_start_from_v,
    predict_v,
    q_sample,
    simple_loss,
    training_target,
)

numbers = st.floats(-3, 3)
SCHEDULE = make_schedule("linear", 20)


@given(schedules(max_steps=10, max_beta=0.9), numbers, numbers, st.data())
def test_conversions_undo_each_other(schedule, x_start, noise, data):
    """Make x_t and v from (x_0, eps); every way back gives them again, up to the division by a small factor."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x_start, noise = np.array([x_start]), np.array([noise])
    x_t = q_sample(schedule, x_start, t, noise)
    v = predict_v(schedule, x_start, t, noise)
    near = dict(rtol=0, atol=1e-14)
    near_start = dict(rtol=0, atol=1e-14 / schedule.sqrt_alphas_cumprod[t])
    near_noise = dict(rtol=0, atol=1e-14 / schedule.sqrt_one_minus_alphas_cumprod[t])
    np.testing.assert_allclose(predict_start_from_noise(schedule, x_t, t, noise), x_start, **near_start)
    np.testing.assert_allclose(predict_noise_from_start(schedule, x_t, t, x_start), noise, **near_noise)
    np.testing.assert_allclose(predict_start_from_v(schedule, x_t, t, v), x_start, **near)
    np.testing.assert_allclose(predict_noise_from_v(schedule, x_t, t, v), noise, **near)


@given(schedules(), numbers, numbers, st.data())
def test_v_is_a_quarter_turn_from_x_t(schedule, x_start, noise, data):
    """(x_t, v) is (x_0, eps) turned by the angle phi, cos phi = sqrt(abar): complex multiplication by exp(i phi)."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    phi = math.atan2(schedule.sqrt_one_minus_alphas_cumprod[t], schedule.sqrt_alphas_cumprod[t])
    # x_t + i v = x_0 exp(-i phi) + eps (sin phi + i cos phi), and the second factor is i exp(-i phi)
    turned = complex(x_start, noise) * complex(math.cos(phi), -math.sin(phi))
    x_start, noise = np.array([x_start]), np.array([noise])
    assert q_sample(schedule, x_start, t, noise)[0] == pytest.approx(turned.real, abs=1e-13)
    assert predict_v(schedule, x_start, t, noise)[0] == pytest.approx(turned.imag, abs=1e-13)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@given(schedules(max_steps=10, max_beta=0.9), numbers, numbers, st.data())
def test_a_perfect_answer_gives_back_data_and_noise(prediction_type, schedule, x_start, noise, data):
    """The target of training, taken as the model's answer, is turned into (x_0, eps) again, whatever its type."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x_start, noise = np.array([x_start]), np.array([noise])
    x_t = q_sample(schedule, x_start, t, noise)
    answer = training_target(schedule, prediction_type, x_start, noise, t)
    got_start, got_noise = predict_start_and_noise(schedule, prediction_type, answer, x_t, t)
    np.testing.assert_allclose(got_start, x_start, rtol=0, atol=1e-14 / schedule.sqrt_alphas_cumprod[t])
    np.testing.assert_allclose(got_noise, noise, rtol=0, atol=1e-14 / schedule.sqrt_one_minus_alphas_cumprod[t])


def test_targets_are_noise_data_and_v():
    """Each prediction_type names its target."""
    x_start, noise = np.array([[1.0, 2.0]]), np.array([[0.5, -1.0]])
    assert training_target(SCHEDULE, "epsilon", x_start, noise, 3) is noise
    assert training_target(SCHEDULE, "sample", x_start, noise, 3) is x_start
    abar = np.prod(1 - SCHEDULE.betas[:4])
    np.testing.assert_allclose(
        training_target(SCHEDULE, "v_prediction", x_start, noise, 3),
        np.sqrt(abar) * noise - np.sqrt(1 - abar) * x_start,
        rtol=1e-12,
    )


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("t", [4, [4, 0, 19]], ids=["one", "each"])
def test_simple_loss_is_the_mean_squared_error(prediction_type, t):
    """A loop over all elements in Python floats; the model sees x_t and (N,) int64 times."""
    rng = np.random.default_rng()
    x_start, noise = rng.standard_normal((2, 3, 2, 5))
    seen = []

    def model(x, times):
        seen.append((x, times))
        return 0.3 * x + times.reshape(-1, 1, 1)

    loss = simple_loss(model, SCHEDULE, x_start, t, noise, prediction_type)
    times = [t] * 3 if isinstance(t, int) else t
    total = 0.0
    for i, time in enumerate(times):
        abar = float(np.prod(1 - SCHEDULE.betas[: time + 1]))
        a, b = math.sqrt(abar), math.sqrt(1 - abar)
        for clean, eps in zip(x_start[i].ravel().tolist(), noise[i].ravel().tolist(), strict=True):
            target = {"epsilon": eps, "sample": clean, "v_prediction": a * eps - b * clean}[prediction_type]
            total += (0.3 * (a * clean + b * eps) + time - target) ** 2
    assert loss == pytest.approx(total / x_start.size, rel=1e-11)
    ((x_t, model_t),) = seen
    assert model_t.dtype == np.int64 and model_t.tolist() == times
    np.testing.assert_array_equal(x_t, q_sample(SCHEDULE, x_start, t, noise))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_simple_loss_of_a_perfect_model_is_zero_and_keeps_the_dtype(dtype):
    """A model that knows the noise has no loss."""
    x_start, noise = np.random.default_rng().standard_normal((2, 4, 3)).astype(dtype)
    loss = simple_loss(lambda x, t: noise, SCHEDULE, x_start, [0, 1, 2, 3], noise)
    assert loss == 0 and loss.dtype == dtype


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("t", [4, [4, 0, 19]], ids=["one", "each"])
def test_the_loss_of_a_tensor_model_has_the_closed_form_gradient(prediction_type, t):
    """For the model w x the gradient is 2 mean((w x_t - target) x_t); data as arrays and as Tensors alike."""
    x_start, noise = np.random.default_rng().standard_normal((2, 3, 2, 5))
    x_t = q_sample(SCHEDULE, x_start, t, noise)
    target = training_target(SCHEDULE, prediction_type, x_start, noise, t)
    expected = 2 * ((0.3 * x_t - target) * x_t).mean()
    for kind in (np.asarray, tensor):
        w = tensor(np.array(0.3), requires_grad=True)
        loss = simple_loss(lambda x, times, w=w: w * x, SCHEDULE, kind(x_start), t, kind(noise), prediction_type)
        loss.backward()
        assert w.grad.item() == pytest.approx(expected, rel=1e-12)


def test_bad_predictions_are_refused():
    """Unknown types list the known ones; a model's answer that would broadcast is an error."""
    x = np.zeros((4, 3))
    for call in (
        lambda: training_target(SCHEDULE, "eps", x, x, 0),
        lambda: predict_start_and_noise(SCHEDULE, "eps", x, x, 0),
        lambda: simple_loss(lambda x, t: x, SCHEDULE, x, 0, x, "eps"),
    ):
        with pytest.raises(
            ValueError, match="unknown prediction_type 'eps'; choose from epsilon, sample, v_prediction"
        ):
            call()
    with pytest.raises(
        ValueError, match=r"simple_loss: expected model_output to have the shape of x_t, \(4, 3\), got \(4, 1\)"
    ):
        simple_loss(lambda x, t: x[:, :1], SCHEDULE, x, 0, x)
    with pytest.raises(TypeError, match="model_output to have the dtype of x_t, float64, got float32"):
        simple_loss(lambda x, t: x.astype(np.float32), SCHEDULE, x, 0, x)
    with pytest.raises(ValueError, match="time 20 is outside the schedule"):
        simple_loss(lambda x, t: x, SCHEDULE, x, 20, x)
