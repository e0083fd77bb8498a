"""The probability-flow ODE to a tolerance: against closed forms, against a plain solution in time t, and there and back."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from minidiff import tensor
from minidiff.diffusion import (
    EDM,
    SOLVERS,
    AngularFlow,
    Cosine,
    Gaussian,
    Mixture,
    StraightLine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    make_schedule,
    probability_flow,
    probability_flow_velocity,
    score_function,
)

DATA = Gaussian([0.3, -0.5], [0.5, 1.3])
MIXTURE = Mixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], [0.2, 0.4])
CASES = {
    #                  process                  start   end    the model's prediction
    "vp":             (VariancePreserving(),    1.0,    1e-5,  "epsilon"),
    "vp_to_the_data": (VariancePreserving(),    1.0,    0.0,   "v_prediction"),
    "sub_vp":         (SubVariancePreserving(), 1.0,    1e-3,  "score"),
    "ve":             (VarianceExploding(),     1.0,    0.0,   "epsilon"),
    "cosine":         (Cosine(),                1.0,    1e-4,  "sample"),
    "line":           (StraightLine(),          1.0,    0.0,   "flow_prediction"),
    "edm":            (EDM,                     80.0,   2e-3,  "sample"),
    "edm_to_0":       (EDM,                     80.0,   0.0,   "epsilon"),
    "schedule":       (make_schedule(),         999,    0,     "epsilon"),
}
cases = pytest.mark.parametrize("process, start, end, prediction_type", CASES.values(), ids=CASES)


def noise(*shape):
    return np.random.default_rng().standard_normal(shape)


@cases
def test_the_flow_of_gaussian_data_is_the_closed_form_to_the_tolerance(process, start, end, prediction_type):
    """Gaussian.flow, from end to end, also where alpha or sigma is 0; every call of the model is counted."""
    perfect, asked = DATA.model(process, prediction_type), []
    x = process.sigma(start) * noise(3, 2)

    def model(x, t):
        asked.append(float(t[0]))
        return perfect(x, t)

    for tolerance, factor in ((1e-4, 30), (1e-9, 300)):
        asked.clear()
        got = probability_flow(model, process, x, start, end, prediction_type=prediction_type, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(got.x, DATA.flow(x, process.level(start), process.level(end)), rtol=0, atol=factor * tolerance)
        assert got.calls == len(asked)
        assert min(asked) >= end * (1 - 1e-9) and max(asked) <= start * (1 + 1e-9)


@cases
def test_encoding_undoes_decoding(process, start, end, prediction_type):
    """There and back again, for data with two modes: the start returns, to the tolerance, times how far modes drive neighbours apart."""
    x = np.hypot(process.alpha(start), process.sigma(start)) * noise(3, 2)
    model, options = MIXTURE.model(process, prediction_type), dict(prediction_type=prediction_type, rtol=1e-9, atol=1e-9)
    there = probability_flow(model, process, x, start, end, **options).x
    back = probability_flow(model, process, there, end, start, **options).x
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-6 * float(process.sigma(start)))
    assert np.abs(there - x).max() > 1e-2


def test_every_process_is_the_same_flow_between_the_same_angles():
    """Equal log-SNRs at the ends: the same data come out of x / sqrt(alpha^2 + sigma^2), in as many calls of the model."""
    ends, y = (-8.0, 8.0), noise(4, 2)
    found = []
    for process in (VariancePreserving(), VarianceExploding(sigma_max=80.0, sigma_min=1e-3), Cosine(), StraightLine(), EDM):
        start, end = (float(process.time_of(l)) for l in ends)
        size = [np.hypot(process.alpha(t), process.sigma(t)) for t in (start, end)]
        got = probability_flow(MIXTURE.model(process), process, size[0] * y, start, end)
        found.append((got.x / size[1], got.calls))
    for x, calls in found[1:]:
        np.testing.assert_allclose(x, found[0][0], rtol=1e-6, atol=1e-7)
        assert calls == found[0][1]


def test_the_flow_is_that_of_f_and_g_in_time():
    """f x - g^2 / 2 score, integrated in t by scipy, for data with two modes."""
    for process in (VariancePreserving(), SubVariancePreserving(), VarianceExploding()):
        x, score = process.sigma(1.0) * noise(2, 2), score_function(MIXTURE.model(process), process)

        def velocity(t, x, process=process, score=score):
            x = x.reshape(2, 2)
            return probability_flow_velocity(process, x, t, score(x, t)).ravel()

        expected = solve_ivp(velocity, (1.0, 1e-3), x.ravel(), "DOP853", rtol=1e-9, atol=1e-10).y[:, -1].reshape(2, 2)
        got = probability_flow(MIXTURE.model(process), process, x, 1.0, 1e-3, rtol=1e-9, atol=1e-9).x
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", SOLVERS)
def test_all_of_scipy_s_solvers_arrive(method):
    """Explicit and implicit ones, at the same closed form."""
    process, x = VariancePreserving(), noise(2, 2)
    got = probability_flow(DATA.model(process), process, x, 1.0, 1e-3, method=method, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.x, DATA.flow(x, process.level(1.0), process.level(1e-3)), rtol=0, atol=3e-3)


def test_the_angular_velocity_is_v():
    """cos phi eps - sin phi x_0, whatever the process: with eps and x_0 from two models of the same data."""
    for process, t in ((EDM, 3.0), (VariancePreserving(), 0.4), (StraightLine(), 1.0)):
        y, size = noise(3, 2), np.hypot(process.alpha(t), process.sigma(t))
        flow = AngularFlow(DATA.model(process, "flow_prediction"), process, "flow_prediction")
        phi = flow.angle(t)
        start, eps = (DATA.model(process, kind)(size * y, t) for kind in ("sample", "epsilon"))
        np.testing.assert_allclose(flow.velocity(y, process.level(t)), np.cos(phi) * eps - np.sin(phi) * start, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(flow.level(phi), process.level(t), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["float32", "non-contiguous", "Tensor"])
def test_arrays_come_back_as_they_came(kind):
    """Library and dtype are x's; the model meets arrays like x; an image shape, and not a multiple of anything."""
    process, base, data = VariancePreserving(), noise(3, 1, 5, 2), Gaussian(0.2, 0.5)
    expected, met = data.flow(base, process.level(1.0), process.level(0.01)), []
    x = {"float32": base.astype(np.float32), "non-contiguous": np.asfortranarray(base), "Tensor": tensor(base.astype(np.float32))}[kind]
    model = data.model(process)

    def watched(x, t):
        met.append((type(x), x.dtype, x.shape))
        return model(x, t)

    got = probability_flow(watched, process, x, 1.0, 0.01).x
    assert {(type(got), got.dtype, got.shape)} == set(met) == {(type(x), x.dtype, x.shape)}
    np.testing.assert_allclose(got.numpy() if kind == "Tensor" else got, expected, atol=1e-3)


def test_a_schedule_is_asked_between_its_integers():
    """Real times, in float64, each within the schedule; both ends are visited."""
    schedule, asked = make_schedule("linear", 50), []
    perfect = DATA.model(schedule)

    def model(x, t):
        assert t.dtype == np.float64
        asked.append(t[0])
        return perfect(x, t)

    probability_flow(model, schedule, noise(1, 2), 49, 0)
    assert asked[0] == pytest.approx(49) and min(asked) == pytest.approx(0, abs=1e-9) and any(t % 1 > 0.1 for t in asked)


def test_bad_input_is_refused_by_name():
    """Each with the function's name; a bad answer of the model with the time."""
    process, x = VariancePreserving(), np.zeros((2, 2))
    model = DATA.model(process)
    for error, words, arguments in (
        (ValueError, "probability_flow: expected x of shape", (process, 1.0, 1.0, 0.1)),
        (TypeError, "expected x to be floating-point numbers, got dtype int64", (process, np.zeros((2, 2), int), 1.0, 0.1)),
        (ValueError, "outside the process", (process, x, 1.5, 0.1)),
        (ValueError, "probability_flow: expected end to be one finite time", (process, x, 1.0, np.nan)),
        (ValueError, "probability_flow: expected start to be one finite time", (EDM, x, np.inf, 0.1)),
        (ValueError, "probability_flow: expected start to be one finite time", (process, x, [1.0], 0.1)),
        (ValueError, "probability_flow: expected two different times, got 0.5 twice", (process, x, 0.5, 0.5)),
        (ValueError, "alpha is 0 at start = 1.0, where prediction_type 'epsilon' gives no velocity", (StraightLine(), x, 1.0, 0.1)),
    ):
        with pytest.raises(error, match=words):
            probability_flow(model, *arguments)
    for options, words in ((dict(prediction_type="eps"), "unknown prediction_type 'eps'"), (dict(method="Euler"), "unknown method 'Euler'"),
                           (dict(rtol=0.0), "expected 0 < rtol < 1 and atol > 0"), (dict(atol=-1.0), "expected 0 < rtol"),
                           (dict(prediction_type="sample"), "sigma is 0 at end = 0.0, where prediction_type 'sample'")):
        with pytest.raises(ValueError, match=words):
            probability_flow(model, process, x, 1.0, 0.0, **options)
    with pytest.raises(FloatingPointError, match=r"probability flow: at time 1 the model returned NaN"):
        probability_flow(lambda x, t: x * np.nan, process, x, 1.0, 0.1)
    with pytest.raises(ValueError, match=r"probability flow: at time 1: expected model_output to have the shape of x"):
        probability_flow(lambda x, t: x[:1], process, x, 1.0, 0.1)


def test_a_flow_that_cannot_be_followed_is_reported():
    """dy / dphi = -100 y^2 ends at infinity on the way; an answer that differs every time needs steps without end."""
    process, x, random = VariancePreserving(), np.ones((1, 2)), np.random.default_rng()
    with pytest.raises(RuntimeError, match="probability flow: RK45 failed at angle"):
        probability_flow(lambda x, t: -100 * x * x, process, x, 1.0, 0.1, prediction_type="v_prediction")
    with pytest.raises(RuntimeError, match=r"probability flow: 500 calls of the model have led to angle .*; allow larger rtol"):
        probability_flow(lambda x, t: random.standard_normal(x.shape), process, x, 1.0, 0.1, max_calls=500)
