"""Epsilon, sample, v_prediction, score and flow_prediction are one prediction, for every process."""

import itertools
import math

import numpy as np
import pytest
from diffusion_laws import MP, exact_level, processes_at, schedules
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.diffusion import (
    EDM,
    MIXTURES,
    PREDICTION_TYPES,
    Schedule,
    StraightLine,
    convert,
    make_schedule,
    predict_noise_from_start,
    predict_noise_from_v,
    predict_start_and_noise,
    predict_start_from_noise,
    predict_start_from_v,
    predict_v,
    q_sample,
    training_target,
    weights_between,
    weights_of_noise,
    weights_of_start,
)

numbers = st.floats(-3, 3)
SCHEDULE = make_schedule("linear", 20)
PAIRS = list(itertools.product(PREDICTION_TYPES, repeat=2))


def level(process, t):
    return float(process.alpha(np.asarray(t))), float(process.sigma(np.asarray(t)))


# -- the classic formulas --------------------------------------------------------------------------------------------


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


@given(schedules(max_steps=10, max_beta=0.9), numbers, numbers, st.data())
def test_the_classic_names_are_conversions(schedule, x_t, prediction, data):
    """Each named formula against `convert`, which solves two equations."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x_t, prediction = np.array([x_t]), np.array([prediction])
    for classic, start, end in ((predict_start_from_noise, "epsilon", "sample"), (predict_noise_from_start, "sample", "epsilon"),
                                (predict_start_from_v, "v_prediction", "sample"), (predict_noise_from_v, "v_prediction", "epsilon")):
        found, expected = classic(schedule, x_t, t, prediction), convert(prediction, x_t, schedule, t, start, end)
        scale = 1 / min(level(schedule, t))
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-14 * scale)
    np.testing.assert_array_equal(predict_v(schedule, x_t, t, prediction),
                                  training_target(schedule, "v_prediction", x_t, prediction, t))


# -- all types, all pairs, all processes -----------------------------------------------------------------------------


@pytest.mark.parametrize("start, end", PAIRS)
@settings(max_examples=15)  # for each of 25 pairs
@given(processes_at(1), numbers, numbers)
def test_every_type_becomes_every_other(start, end, at, x_start, noise):
    """The right answer of one type, converted, is the right answer of the other: both made from the same x_0 and eps."""
    process, (t,) = at
    x_start, noise = np.array([x_start]), np.array([noise])
    x_t = q_sample(process, x_start, t, noise)
    said = training_target(process, start, x_start, noise, t)
    found = convert(said, x_t, process, t, start, end)
    alpha, sigma = level(process, t)
    a, b = weights_between(start, end, alpha, sigma)
    sizes = [abs(p * x_start) + abs(q * noise) for p, q in (MIXTURES[name](alpha, sigma) for name in (start, end))]
    rounding = abs(a) * (abs(alpha * x_start) + abs(sigma * noise)) + abs(b) * sizes[0] + sizes[1]  # what has been added up, in size
    np.testing.assert_array_less(abs(found - training_target(process, end, x_start, noise, t)), 1e-14 * rounding + 1e-300)


@pytest.mark.parametrize("start, end", PAIRS)
@settings(max_examples=15)  # for each of 25 pairs
@given(processes_at(1))
def test_conversions_are_inverse_to_each_other(start, end, at):
    """There and back: the weights as 2 x 2 matrices acting on (x_t, prediction) multiply to the identity."""
    process, (t,) = at
    there, back = (np.array([[1, 0], weights_between(*pair, *level(process, t))]) for pair in ((start, end), (end, start)))
    size = np.abs(back) @ np.abs(there)
    assert (abs(back @ there - np.eye(2)) <= 1e-14 * size).all()


@pytest.mark.parametrize("start, end", PAIRS)
@settings(max_examples=15)  # for each of 25 pairs
@given(schedules(max_steps=10, max_beta=0.9), st.data())
def test_weights_solve_the_two_equations(start, end, schedule, data):
    """Cramer's rule in 50 digits, the mixtures written out once more."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    alpha, variance = exact_level(schedule, t)
    sigma = MP.sqrt(variance)
    mixtures = {"epsilon": (0, 1), "sample": (1, 0), "v_prediction": (-sigma, alpha), "score": (0, -1 / sigma), "flow_prediction": (-1, 1)}
    inverse = MP.inverse(MP.matrix([[alpha, sigma], mixtures[start]]))
    exact = MP.matrix([mixtures[end]]) * inverse
    (p, q), (p_to, q_to) = mixtures[start], mixtures[end]
    determinant = abs(alpha * q - sigma * p)
    # Each weight is a difference of two products over the determinant: as many digits as the products have.
    sizes = (abs(p_to * q) + abs(q_to * p)) / determinant, (abs(alpha * q_to) + abs(sigma * p_to)) / determinant
    for found, value, size in zip(weights_between(start, end, float(alpha), float(sigma)), exact, sizes):
        assert abs(found - value) <= 2e-15 * size


def test_weights_of_data_and_noise_are_two_of_them():
    """The names that samplers use."""
    for name in MIXTURES:
        assert weights_of_start(name, 0.6, 0.8) == weights_between(name, "sample", 0.6, 0.8)
        assert weights_of_noise(name, 0.6, 0.8) == weights_between(name, "epsilon", 0.6, 0.8)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@given(processes_at(1), numbers, numbers)
def test_a_perfect_answer_gives_back_data_and_noise(prediction_type, at, x_start, noise):
    """The target of training, taken as the model's answer, is turned into (x_0, eps) again, whatever its type."""
    process, (t,) = at
    x_start, noise = np.array([x_start]), np.array([noise])
    x_t = q_sample(process, x_start, t, noise)
    answer = training_target(process, prediction_type, x_start, noise, t)
    got_start, got_noise = predict_start_and_noise(process, prediction_type, answer, x_t, t)
    alpha, sigma = level(process, t)
    size = 1e-14 * (alpha * abs(x_start) + sigma * abs(noise) + 1e-300) * (1 + max(alpha, sigma) / min(alpha, sigma))
    np.testing.assert_array_less(abs(got_start - x_start), size / alpha * 2)
    np.testing.assert_array_less(abs(got_noise - noise), size / sigma * 2)


def test_targets_are_what_their_names_say():
    """Each prediction_type written out; epsilon and sample are the arrays themselves."""
    x_start, noise = np.array([[1.0, 2.0]]), np.array([[0.5, -1.0]])
    assert training_target(SCHEDULE, "epsilon", x_start, noise, 3) is noise
    assert training_target(SCHEDULE, "sample", x_start, noise, 3) is x_start
    abar = np.prod(1 - SCHEDULE.betas[:4])
    for name, expected in {"v_prediction": np.sqrt(abar) * noise - np.sqrt(1 - abar) * x_start,
                           "score": -noise / np.sqrt(1 - abar),
                           "flow_prediction": noise - x_start}.items():
        np.testing.assert_allclose(training_target(SCHEDULE, name, x_start, noise, 3), expected, rtol=1e-12)


def test_the_score_is_the_gradient_of_the_log_density():
    """Finite differences of log q(x_t | x_0)."""
    x_start, noise, process, t, step = 0.7, -0.4, StraightLine(), 0.3, 1e-4
    x_t = q_sample(process, np.array([x_start]), t, np.array([noise]))[0]

    def log_density(x):
        return -((x - 0.7 * x_start) ** 2) / (2 * 0.3**2)

    slope = (log_density(x_t + step) - log_density(x_t - step)) / (2 * step)
    assert training_target(process, "score", np.array([x_start]), np.array([noise]), t)[0] == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("start, end", PAIRS)
def test_a_batch_is_its_items_in_its_dtype(start, end):
    """One time for all, a time for each, and one by one: the same bits, float32, and nothing is written to."""
    x_t, said = np.random.default_rng().standard_normal((2, 3, 2, 5)).astype(np.float32)
    x_t.setflags(write=False)
    said.setflags(write=False)
    times = [4, 0, 19]
    whole = convert(said, x_t, SCHEDULE, times, start, end)
    assert whole.dtype == np.float32 and whole.shape == x_t.shape
    for i, t in enumerate(times):
        np.testing.assert_array_equal(whole[i], convert(said[i:i + 1], x_t[i:i + 1], SCHEDULE, t, start, end)[0])


# -- where there is no answer ----------------------------------------------------------------------------------------

ENDED = Schedule.from_betas([0.3, 0.5, 1.0])
NOISE_ONLY = ("epsilon", "score")


@pytest.mark.parametrize("start, end", PAIRS)
@pytest.mark.parametrize("process, t", [(ENDED, 2), (ENDED, [0, 2]), (StraightLine(), 1.0)], ids=["one", "each", "line"])
def test_where_no_data_is_left_its_noise_says_nothing(process, t, start, end):
    """alpha = 0: epsilon and score are refused by name, all other types are converted, as are these two into each other."""
    x_start, noise = np.random.default_rng().standard_normal((2, 2, 3))
    x_t = q_sample(process, x_start, t, noise)
    said = training_target(process, start, x_start, noise, t)
    if start in NOISE_ONLY and end not in NOISE_ONLY:
        last = 1.0 if process is not ENDED else 2
        message = rf"convert: at time {last} nothing is left of the data \(alpha = 0, zero terminal SNR\).*use a model of v_prediction"
        with pytest.raises(ValueError, match=message):
            convert(said, x_t, process, t, start, end)
    else:
        np.testing.assert_allclose(convert(said, x_t, process, t, start, end), training_target(process, end, x_start, noise, t), atol=1e-14)


@pytest.mark.parametrize("start, end", PAIRS)
def test_where_there_is_no_noise_there_is_no_score(start, end):
    """sigma = 0: a sample does not give the noise, and the score is infinite."""
    x_start, noise = np.random.default_rng().standard_normal((2, 2, 3))
    for process in (EDM, StraightLine()):
        if "score" in (start, end) or start == "sample":
            if start == end:
                continue
            with pytest.raises(ValueError, match=r"convert: at time 0.0 there is no noise \(sigma = 0\).*use a larger time"):
                convert(x_start, x_start, process, 0.0, start, end)
        else:
            said = training_target(process, start, x_start, noise, 0.0)
            np.testing.assert_allclose(convert(said, x_start, process, 0.0, start, end), training_target(process, end, x_start, noise, 0.0),
                                       atol=1e-15)
    with pytest.raises(ValueError, match=r"training_target: at time 0.0 there is no noise \(sigma = 0\), so there the score is infinite"):
        training_target(EDM, "score", x_start, noise, [0.0, 1.0])


def test_bad_predictions_are_refused():
    """Unknown types list the known ones; the other functions refuse by their own name."""
    x = np.zeros((4, 3))
    unknown = "unknown prediction_type 'eps'; choose from epsilon, sample, v_prediction"
    for call in (
        lambda: training_target(SCHEDULE, "eps", x, x, 0),
        lambda: predict_start_and_noise(SCHEDULE, "eps", x, x, 0),
        lambda: convert(x, x, SCHEDULE, 0, "eps", "sample"),
        lambda: convert(x, x, SCHEDULE, 0, "sample", "eps"),
    ):
        with pytest.raises(ValueError, match=unknown):
            call()
    with pytest.raises(ValueError, match=r"convert: expected prediction to have the shape of x_t, \(4, 3\), got \(4, 1\)"):
        convert(x[:, :1], x, SCHEDULE, 0, "epsilon", "sample")
    with pytest.raises(ValueError, match="time 20 is outside the process"):
        convert(x, x, SCHEDULE, 20, "epsilon", "epsilon")
    with pytest.raises(ValueError, match="predict_start_from_noise: at time 2 nothing is left of the data"):
        predict_start_from_noise(ENDED, x, 2, x)
    with pytest.raises(ValueError, match="predict_start_and_noise: at time 2 nothing is left of the data"):
        predict_start_and_noise(ENDED, "epsilon", x, x, 2)
