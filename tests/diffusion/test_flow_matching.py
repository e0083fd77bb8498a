"""Velocities of paths: derivatives against differences, the loss against those of v and epsilon, and the flow of Gaussian data."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.autograd import tensor
from minidiff.diffusion import (
    EDM,
    PREDICTION_TYPES,
    Cosine,
    Gaussian,
    StraightLine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    conditional_velocity,
    convert,
    flow_matching_loss,
    make_schedule,
    path_derivatives,
    q_sample,
    simple_loss,
    velocity_weight,
)

LINE = StraightLine()
PROCESSES = {"line": LINE, "cosine": Cosine(), "cosine without offset": Cosine(0.0), "vp": VariancePreserving(),
             "sub-vp": SubVariancePreserving(), "ve": VarianceExploding(), "edm": EDM}
EXACT = {  # alpha, sigma once more, for mpmath
    "line": (lambda t: 1 - t, lambda t: t),
    "cosine without offset": (lambda t: mpmath.cos(mpmath.pi * t / 2), lambda t: mpmath.sin(mpmath.pi * t / 2)),
    "vp": (lambda t: mpmath.exp(-(0.1 * t + 19.9 * t**2 / 2) / 2), lambda t: mpmath.sqrt(1 - mpmath.exp(-(0.1 * t + 19.9 * t**2 / 2)))),
    "ve": (lambda t: mpmath.mpf(1), lambda t: 0.01 * mpmath.mpf(5000) ** t),
    "edm": (lambda t: mpmath.mpf(1), lambda t: t),
}
inside = st.floats(0.02, 0.98)
rng = np.random.default_rng()


@pytest.mark.parametrize("name", EXACT)
@given(inside)
def test_path_derivatives_are_the_derivatives_of_alpha_and_sigma(name, t):
    """mpmath's numerical derivative of the formulas of the papers, 40 digits."""
    with mpmath.workdps(40):
        expected = [float(mpmath.diff(f, mpmath.mpf(t))) for f in EXACT[name]]
    got = path_derivatives(PROCESSES[name], t)
    assert got == pytest.approx(expected, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("name", PROCESSES)
def test_path_derivatives_are_slopes(name):
    """Central differences of the process's own alpha and sigma, for each of several times."""
    process, t, h = PROCESSES[name], np.array([0.1, 0.5, 0.9]), 1e-5
    for got, of in zip(path_derivatives(process, t), (process.alpha, process.sigma), strict=True):
        assert got.shape == (3,)
        np.testing.assert_allclose(got, (of(t + h) - of(t - h)) / (2 * h), rtol=1e-6, atol=1e-8)


def test_the_straight_line_is_eps_minus_data_from_end_to_end():
    """At t = 0 and t = 1 too; the loss is that of flow_prediction, to the last bit."""
    x_start, noise = rng.standard_normal((2, 4, 3, 2))
    t = [0.0, 0.3, 0.7, 1.0]
    np.testing.assert_array_equal(conditional_velocity(LINE, x_start, t, noise), noise - x_start)
    model = lambda x, times: 0.3 * x + times.reshape(-1, 1, 1)
    assert flow_matching_loss(model, x_start, t, noise) == simple_loss(model, LINE, x_start, t, noise, "flow_prediction")
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    assert flow_matching_loss(model, x_start, t, noise, weight=weight) == simple_loss(
        model, LINE, x_start, t, noise, "flow_prediction", weight)


@given(st.floats(0.001, 0.999))
def test_on_a_quarter_circle_the_velocity_is_v_times_the_rate_of_the_angle(t):
    """alpha = cos, sigma = sin of pi t / 2: u = pi/2 v, so the loss is (pi/2)^2 that of v."""
    x_start, noise = np.array([[0.7, -0.2]]), np.array([[-0.4, 1.1]])
    process = Cosine(0.0)
    guess = np.array([[0.3, 0.2]])
    loss = flow_matching_loss(lambda x, t: math.pi / 2 * guess, x_start, t, noise, process)
    assert loss == pytest.approx((math.pi / 2) ** 2 * simple_loss(lambda x, t: guess, process, x_start, t, noise, "v_prediction"), rel=1e-9)
    assert velocity_weight(process, t, "v_prediction") == pytest.approx((math.pi / 2) ** 2, rel=1e-10)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_flow_matching_is_a_weighted_loss_of_any_prediction(name, prediction_type):
    """A model wrong about x_0, asked for the velocity (of its own x_0 and eps) or for any other prediction with `velocity_weight`."""
    process, t = PROCESSES[name], np.array([0.1, 0.5, 0.9])
    x_start, noise = rng.standard_normal((2, 3, 2, 4))
    x_t = q_sample(process, x_start, t, noise)
    guess = x_start + 0.1 * rng.standard_normal(x_start.shape)
    velocity = conditional_velocity(process, guess, t, convert(guess, x_t, process, t, "sample", "epsilon"))
    said = convert(guess, x_t, process, t, "sample", prediction_type)
    loss = simple_loss(lambda x, t: said, process, x_start, t, noise, prediction_type, velocity_weight(process, t, prediction_type))
    assert loss == pytest.approx(flow_matching_loss(lambda x, t: velocity, x_start, t, noise, process), rel=1e-8)


@pytest.mark.parametrize("name", PROCESSES)
@given(inside, st.floats(-1, 1), st.floats(0.2, 2), st.floats(-2, 2))
def test_the_mean_velocity_carries_gaussian_data(name, t, mean, std, z):
    """The best model, E[u | x_t], is d/dt of the map z -> alpha mean + sqrt(alpha^2 std^2 + sigma^2) z: central differences."""
    process, data = PROCESSES[name], Gaussian(mean, std)

    def carried(time):
        alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
        return alpha * mean + math.hypot(alpha * std, sigma) * z

    x = np.array([[carried(t)]])
    velocity = conditional_velocity(process, data.model(process, "sample")(x, t), t, data.model(process, "epsilon")(x, t)).item()
    h = 1e-6
    assert velocity == pytest.approx((carried(t + h) - carried(t - h)) / (2 * h), rel=1e-6, abs=1e-6)


def test_the_loss_of_a_tensor_model_has_the_closed_form_gradient():
    """For the model k x: 2 mean((k x_t - u) x_t); float32 stays float32."""
    x_start, noise, t = *rng.standard_normal((2, 4, 3)), np.array([0.1, 0.5, 0.9, 0.3])
    x_t, u = q_sample(LINE, x_start, t, noise), noise - x_start
    k = tensor(np.array(0.3), requires_grad=True)
    flow_matching_loss(lambda x, times: k * tensor(x), x_start, t, noise).backward()
    assert k.grad.item() == pytest.approx(2 * ((0.3 * x_t - u) * x_t).mean(), rel=1e-12)
    assert flow_matching_loss(lambda x, t: x, x_start.astype(np.float32), t, noise.astype(np.float32)).dtype == np.float32


def test_bad_velocities_are_refused():
    """A process of steps, times at which the SDE does not tell the velocity, answers that are not like x."""
    x = np.zeros((2, 3))
    for where, call, why in (("path_derivatives", path_derivatives, "at time 0.0, where alpha or sigma is 0, the velocity cannot be had"),
                             ("velocity_weight", velocity_weight, "expected times inside of the process, where the velocity is finite")):
        with pytest.raises(TypeError, match=f"{where}: expected a continuous process, got a Schedule"):
            call(make_schedule("linear", 4), 1)
        with pytest.raises(ValueError, match=f"{where}: {why}"):
            call(VariancePreserving(), [0.5, 0.0])
    with pytest.raises(ValueError, match="flow_matching_loss: expected model_output to have the shape of x_t"):
        flow_matching_loss(lambda x, t: x[:, :1], x, 0.5, x)
    with pytest.raises(ValueError, match="conditional_velocity: expected noise to have the shape of x_start"):
        conditional_velocity(LINE, x, 0.5, x[:, :1])
    with pytest.raises(ValueError, match="outside the process"):
        flow_matching_loss(lambda x, t: x, x, 1.5, x)
