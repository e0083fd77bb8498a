"""The variance of the way back, and the step back as a model takes it."""

import math

import numpy as np
import pytest
from diffusion_laws import MP, exact_alphas_cumprod, schedules
from hypothesis import assume, given
from hypothesis import strategies as st

from minidiff.autograd import check_gradients
from minidiff.diffusion import (
    DDPM,
    DDPM_LARGE,
    PREDICTION_TYPES,
    VARIANCE_TYPES,
    Ancestral,
    Schedule,
    learned_log_variance,
    make_schedule,
    normal_kl,
    p_mean_variance,
    path,
    q_posterior_mean_variance,
    q_sample,
    sample,
    training_target,
)
from minidiff.diffusion.variance import log_variance_range

HO = make_schedule("linear", 1000)
FIXED = ("fixed_small", "fixed_large")


@given(schedules(max_beta=0.9), st.data())
def test_the_two_ends_of_the_range_have_all_digits(schedule, data):
    """beta and beta~ between any two visited times, from abar by plain differences in 50 digits."""
    assume(schedule.num_train_timesteps > 1)
    times = st.integers(0, schedule.num_train_timesteps - 1)
    s, t = sorted(data.draw(st.lists(times, min_size=2, max_size=2, unique=True)))
    walk, abars = path(schedule, [t, s]), exact_alphas_cumprod(schedule)
    small, large = log_variance_range(walk.levels[0], walk.levels[1], walk.steps[0])
    beta = 1 - abars[t] / abars[s]
    assert large == pytest.approx(float(MP.log(beta)), rel=1e-14, abs=1e-14)
    assert small == pytest.approx(float(MP.log(beta * (1 - abars[s]) / (1 - abars[t]))), rel=1e-14, abs=1e-14)


def test_the_model_s_output_goes_from_one_end_to_the_other():
    """-1 is beta~, 1 is beta, 0 their geometric mean; "learned" is the log variance itself, never the variance."""
    assert learned_log_variance("learned_range", -1.0, -5.0, -3.0) == -5
    assert learned_log_variance("learned_range", 1.0, -5.0, -3.0) == -3
    assert learned_log_variance("learned_range", 0.0, -5.0, -3.0) == -4
    assert learned_log_variance("learned", -4.2, -5.0, -3.0) == -4.2


@pytest.mark.parametrize("variance_type", VARIANCE_TYPES)
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("t", [0, 1, 700, [700, 0, 1]], ids=["first", "second", "later", "each"])
def test_a_step_back_is_the_posterior_of_the_predicted_data(t, prediction_type, variance_type):
    """Made from a known x_0: mean and pred_xstart; the variance against the tables of OpenAI's code, written out once more."""
    rng = np.random.default_rng()
    x_start, noise, said = rng.standard_normal((3, 3, 2, 4))
    x_t = q_sample(HO, x_start, t, noise)
    output = training_target(HO, prediction_type, x_start, noise, t)
    learned = variance_type not in FIXED
    step = p_mean_variance(HO, np.concatenate([output, said], axis=1) if learned else output, x_t, t, prediction_type, variance_type)
    np.testing.assert_allclose(step.pred_xstart, x_start, rtol=0, atol=1e-12)
    mean, _, _ = q_posterior_mean_variance(HO, x_start, x_t, t)
    np.testing.assert_allclose(step.mean, mean, rtol=0, atol=1e-12)

    posterior = HO.posterior_variance
    small, large = np.append(posterior[1], posterior[1:]), HO.betas
    if variance_type == "fixed_large":
        table = np.append(posterior[1], HO.betas[1:])
        variance, log_variance = table[t], np.log(table[t])
    elif variance_type == "fixed_small":
        variance, log_variance = posterior[t], np.log(small[t])
    elif variance_type == "learned":
        variance, log_variance = np.exp(said), said
    else:
        column = (lambda table: table[t].reshape(-1, 1, 1)) if isinstance(t, list) else lambda table: table[t]
        log_variance = (said + 1) / 2 * np.log(column(large)) + (1 - said) / 2 * np.log(column(small))
        variance = np.exp(log_variance)
    for found, expected in ((step.variance, variance), (step.log_variance, log_variance)):
        expected = np.asarray(expected)
        np.testing.assert_allclose(found, expected.reshape(-1, 1, 1) if expected.ndim == 1 else expected, rtol=1e-12)


def test_the_variance_of_the_last_step_is_a_convention():
    """OpenAI's by default, diffusers' by min_variance; away from t = 0 they are the same."""
    x = np.zeros((1, 2, 3))
    for variance_type, openai, diffusers in (("fixed_small", -9.8167, math.log(1e-20)), ("fixed_large", -9.8167, math.log(1e-4))):
        assert p_mean_variance(HO, x, x, 0, "sample", variance_type).log_variance == pytest.approx(openai, abs=1e-4)
        assert p_mean_variance(HO, x, x, 0, "sample", variance_type, min_variance=1e-20).log_variance == pytest.approx(diffusers, rel=1e-12)
        here, there = (p_mean_variance(HO, x, x, 5, "sample", variance_type, min_variance=m) for m in (None, 1e-20))
        assert here.log_variance == pytest.approx(there.log_variance, rel=1e-14)
    both = np.concatenate([x, 0 * x - 1], axis=1)
    for minimum, expected in ((None, -9.8167), (1e-20, math.log(1e-20))):
        step = p_mean_variance(HO, both, x, 0, "sample", "learned_range", min_variance=minimum)
        np.testing.assert_allclose(step.log_variance, expected, rtol=1e-5)


@pytest.mark.parametrize("sampler", [DDPM, DDPM_LARGE, Ancestral(1.0, "learned"), Ancestral(1.0, "learned_range")],
                         ids=lambda sampler: sampler.variance_type)
def test_a_walk_is_made_of_such_steps(sampler):
    """Algorithm 2 as a loop over p_mean_variance, no noise at t = 0, against the sampler's rows of coefficients."""
    schedule, rng = make_schedule("squaredcos_cap_v2", 12), np.random.default_rng()
    x, *noise = rng.standard_normal((12, 2, 2, 3))
    learned = sampler.variance_type not in FIXED

    def model(x, t):
        output = np.tanh(x + t.reshape(-1, 1, 1))
        return np.concatenate([output, 0.3 * output], axis=1) if learned else output

    walked = sample(model, schedule, x, range(11, -1, -1), sampler, noise=noise, prediction_type="v_prediction", clip_denoised=True)
    for t in range(11, -1, -1):
        step = p_mean_variance(schedule, model(x, np.array([t, t])), x, t, "v_prediction", sampler.variance_type, clip_denoised=True)
        x = step.mean if t == 0 else step.mean + np.exp(step.log_variance / 2) * noise[11 - t]
    np.testing.assert_allclose(walked, x, rtol=0, atol=1e-11)


def test_a_perfect_prediction_has_no_divergence_from_the_posterior():
    """KL(q(x_{t-1} | x_t, x_0) || p) = 0 at every time: what the bound adds up."""
    x_start, noise = np.random.default_rng().standard_normal((2, 2, 1, 3))
    for t in (1, 20, 999):
        x_t = q_sample(HO, x_start, t, noise)
        mean, _, log_variance = q_posterior_mean_variance(HO, x_start, x_t, t)
        step = p_mean_variance(HO, noise, x_t, t)
        np.testing.assert_allclose(normal_kl(mean, log_variance, step.mean, step.log_variance), 0, atol=1e-15)


def test_changes_of_the_predicted_data_come_in_order():
    """denoised_fn first, then clipping; the mean follows from what is left."""
    x = np.random.default_rng().standard_normal((2, 2, 3))
    step = p_mean_variance(HO, x, x, 7, "sample", denoised_fn=lambda start: 4 * start, clip_denoised=True)
    np.testing.assert_array_equal(step.pred_xstart, np.clip(4 * x, -1, 1))
    np.testing.assert_array_equal(step.mean, q_posterior_mean_variance(HO, step.pred_xstart, x, 7)[0])


@pytest.mark.parametrize("variance_type", VARIANCE_TYPES)
def test_the_dtype_is_kept(variance_type):
    """float32 for one time and for a time each; numbers stay Python floats, which upcast nothing."""
    x = np.random.default_rng().standard_normal((3, 2, 4)).astype(np.float32)
    output = x if variance_type in FIXED else np.concatenate([x, x], axis=1)
    for t in (0, [0, 5, 999]):
        for value in p_mean_variance(HO, output, x, t, "epsilon", variance_type):
            assert type(value) is float or value.dtype == np.float32


def test_gradients_reach_the_learned_variance():
    """Finite differences of mean and log variance in the model's output."""
    x = np.random.default_rng().standard_normal((2, 1, 3))
    output = np.random.default_rng().standard_normal((2, 2, 3))
    for part in (0, 1, 2):
        check_gradients(lambda o, part=part: p_mean_variance(HO, o, x, [3, 800], "v_prediction", "learned_range")[part], [output])


def test_a_schedule_of_one_step_steps_back():
    """Its only time is the first, where the log variance repeats what is not there: log beta."""
    schedule, x = Schedule.from_betas([0.3]), np.ones((1, 2))
    for variance_type in FIXED:
        step = p_mean_variance(schedule, x, x, 0, "sample", variance_type)
        np.testing.assert_array_equal(step.mean, x)
        assert step.log_variance == pytest.approx(math.log(0.3))


def test_bad_answers_are_refused():
    """Unknown types, too few channels, noise where nothing is left of the data, a denoised_fn that broadcasts."""
    x = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="p_mean_variance: unknown variance_type 'large'; choose from fixed_small, fixed_large, learned"):
        p_mean_variance(HO, x, x, 0, variance_type="large")
    with pytest.raises(ValueError, match=r"p_mean_variance: a model that learns its variance answers with twice the channels.*\(2, 6, 4\)"):
        p_mean_variance(HO, x, x, 0, variance_type="learned")
    with pytest.raises(ValueError, match="at time 1 nothing is left of the data"):
        p_mean_variance(Schedule.from_betas([0.5, 1.0]), x, x, 1)
    with pytest.raises(ValueError, match="p_mean_variance: denoised_fn: expected its_result to have the shape"):
        p_mean_variance(HO, x, x, 0, denoised_fn=lambda start: start[:1])
