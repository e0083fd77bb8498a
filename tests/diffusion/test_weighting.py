"""A weight on x_0, converted: the weights of the papers are the divergences of their Gaussians, the same for every prediction type."""

import itertools

import numpy as np
import pytest
from diffusion_laws import MP, bayes, exact_alphas, exact_alphas_cumprod, schedules, schedules_to_pure_noise, ulps
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import (
    EDM,
    PREDICTION_TYPES,
    Cosine,
    StraightLine,
    VariancePreserving,
    convert,
    edm_weight,
    kl_weight,
    make_schedule,
    min_snr_weight,
    p2_weight,
    q_sample,
    same_loss_weight,
    simple_loss,
    snr_difference_weight,
    training_losses,
    truncated_snr_weight,
    vb_terms_bpd,
    weight_from_start,
)

pytestmark = pytest.mark.filterwarnings("error")  # a limit is reached without 0/0 or an overflow on the way
SCHEDULE = make_schedule("linear", 20)
PROCESSES = {"schedule": (SCHEDULE, [4, 0, 19]), "edm": (EDM, [0.5, 1e-3, 80.0]), "straight": (StraightLine(), [0.5, 0.001, 0.999]),
             "cosine": (Cosine(), [0.5, 0.001, 0.999])}
WEIGHTINGS = {
    "kl": lambda process, t, p: kl_weight(process, t, p, "fixed_large"),
    "min_snr": min_snr_weight,
    "truncated_snr": truncated_snr_weight,
    "p2": p2_weight,
    "edm": edm_weight,
    "epsilon": lambda process, t, p: same_loss_weight(process, t, "epsilon", p),
    "v": lambda process, t, p: same_loss_weight(process, t, "v_prediction", p),
    "constant": lambda process, t, p: weight_from_start(1.0, process, t, p),
}
rng = np.random.default_rng()


def other_start(prediction_type, x_start, x_t, error, alpha, sigma):
    """The x_0 of a prediction that is off by `error`: the two equations for x_0 and eps solved anew, 50 digits."""
    eps = (x_t - alpha * x_start) / sigma
    if prediction_type == "epsilon":
        return (x_t - sigma * (eps + error)) / alpha
    if prediction_type == "sample":
        return x_start + error
    if prediction_type == "v_prediction":  # x_0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2)
        return (alpha * x_t - sigma * (alpha * eps - sigma * x_start + error)) / (alpha**2 + sigma**2)
    if prediction_type == "score":  # Tweedie: x_0 = (x_t + sigma^2 s) / alpha
        return (x_t + sigma**2 * (-eps / sigma + error)) / alpha
    return (x_t - sigma * (eps - x_start + error)) / (alpha + sigma)


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@given(schedules(max_steps=8, max_beta=0.9), st.data())
def test_the_kl_weight_is_the_divergence_of_the_gaussians(prediction_type, variance_type, schedule, data):
    """Two posteriors by Bayes' rule, of x_0 and of a wrong x_0: (mean - mean')^2 / (2 variance), 50 digits."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x_start, x_t, error = (MP.mpf(data.draw(st.floats(0.1, 3))) for _ in range(3))
    abar = [MP.mpf(1), *exact_alphas_cumprod(schedule)]
    min_variance = data.draw(st.sampled_from([None, 1e-20]))
    if t == 0 and min_variance is not None:
        variance = MP.mpf(1e-20)
    elif t == 0:  # the posterior is x_0 itself, and the variance a convention
        abar_1 = abar[2] if len(abar) > 2 else None
        variance = bayes(0, 0, abar[1], abar_1)[1] if abar_1 is not None else 1 - abar[1]
    else:
        variance = bayes(0, 0, abar[t], abar[t + 1])[1]
    if variance_type == "fixed_large" and (t > 0 or min_variance is not None):
        variance = 1 - exact_alphas(schedule)[t]
    alpha, sigma = MP.sqrt(abar[t + 1]), MP.sqrt(1 - abar[t + 1])
    wrong = other_start(prediction_type, x_start, x_t, error, alpha, sigma)
    mean, wrong_mean = (x if t == 0 else bayes(x, x_t, abar[t], abar[t + 1])[0] for x in (x_start, wrong))
    divergence = (mean - wrong_mean) ** 2 / (2 * variance)
    assert ulps(kl_weight(schedule, t, prediction_type, variance_type, min_variance), [divergence / error**2]) < 200


@given(schedules(max_steps=8, max_beta=0.9), st.data())
def test_the_kl_weight_is_that_of_ho_et_al(schedule, data):
    """Eq. 12 as printed, and 1/2 (SNR_{t-1} - SNR_t) as a plain difference, 50 digits."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    alpha, abar = exact_alphas(schedule)[t], exact_alphas_cumprod(schedule)
    beta = 1 - alpha
    printed = beta**2 / (2 * beta * alpha * (1 - abar[t]))
    assert ulps(kl_weight(schedule, t, "epsilon", "fixed_large", min_variance=1e-20), [printed]) < 100
    if t > 0:
        snr = [a / (1 - a) for a in abar]
        assert ulps(kl_weight(schedule, t, "sample"), [(snr[t - 1] - snr[t]) / 2]) < 100
        assert ulps(snr_difference_weight(schedule, t, t - 1, "sample"), [(snr[t - 1] - snr[t]) / 2]) < 200


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_weighted_loss_is_the_bound_up_to_a_constant(prediction_type, variance_type):
    """vb_terms_bpd of a model minus that of one without error is kl_weight times the sum of its squared errors, at every t."""
    x_start, noise = rng.standard_normal((2, 4, 3, 2)) / 2
    for t, min_variance in itertools.product((0, 1, [0, 1, 10, 19]), (None, 1e-5)):
        def terms(model_output, t=t, min_variance=min_variance):
            return vb_terms_bpd(SCHEDULE, model_output, x_start, q_sample(SCHEDULE, x_start, t, noise), t, prediction_type, variance_type,
                                min_variance=min_variance, decoder="gaussian")

        x_t = q_sample(SCHEDULE, x_start, t, noise)
        right = convert(x_start, x_t, SCHEDULE, t, "sample", prediction_type)
        wrong = right + 0.1 * rng.standard_normal(right.shape)
        losses = training_losses(lambda x, t, wrong=wrong: wrong, SCHEDULE, x_start, t, noise, prediction_type)  # means over 6 elements
        weight = kl_weight(SCHEDULE, t, prediction_type, variance_type, min_variance)
        got = (terms(wrong) - terms(right)) * np.log(2)
        np.testing.assert_allclose(got, weight * losses, rtol=1e-9, atol=1e-13 * abs(terms(wrong)).max())


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("process, a, b", [(VariancePreserving(), 0.3, 0.31), (StraightLine(), 0.2, 0.9), (EDM, 0.5, 0.5001),
                                           (Cosine(), 1e-4, 0.999), (SCHEDULE, 3, 17)])
def test_the_difference_of_snr_is_the_divergence_in_any_process(process, a, b, prediction_type):
    """q(x_s | x_t, x_0) from the joint Gaussian of (x_s, x_t) given x_0, conditioned in 50 digits from the process's alpha and sigma."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = ((MP.mpf(float(process.alpha(t))), MP.mpf(float(process.sigma(t)))) for t in (a, b))
    covariance = alpha_t / alpha_s * sigma_s**2
    slope = covariance / sigma_t**2
    variance = sigma_s**2 - slope * covariance
    x_start, x_t, error = MP.mpf("0.7"), MP.mpf("-0.4"), MP.mpf("0.25")
    wrong = other_start(prediction_type, x_start, x_t, error, alpha_t, sigma_t)
    mean, wrong_mean = (alpha_s * x + slope * (x_t - alpha_t * x) for x in (x_start, wrong))
    divergence = (mean - wrong_mean) ** 2 / (2 * variance)
    expected = float(divergence / error**2)
    assert snr_difference_weight(process, b, a, prediction_type) == pytest.approx(expected, rel=1e-10)
    pair = snr_difference_weight(process, [b, b], [a, a], prediction_type)
    assert pair.shape == (2,) and pair[0] == pair[1] == snr_difference_weight(process, b, a, prediction_type)


@pytest.mark.parametrize("weighting, process", [(w, p) for w in WEIGHTINGS for p in PROCESSES if w != "kl" or p == "schedule"])
def test_a_weighted_loss_is_the_same_whatever_the_model_predicts(weighting, process):
    """One model, wrong about x_0, speaks in each of the five types: the weighted loss does not notice."""
    process, times = PROCESSES[process]
    x_start, noise = rng.standard_normal((2, 3, 2, 4))
    x_t = q_sample(process, x_start, times, noise)
    guess = x_start + 0.1 * rng.standard_normal(x_start.shape)
    weigh = WEIGHTINGS[weighting]
    expected = simple_loss(lambda x, t: guess, process, x_start, times, noise, "sample", weigh(process, times, "sample"))
    for prediction_type in PREDICTION_TYPES:
        said = convert(guess, x_t, process, times, "sample", prediction_type)
        loss = simple_loss(lambda x, t, said=said: said, process, x_start, times, noise, prediction_type,
                           weigh(process, times, prediction_type))
        assert loss == pytest.approx(expected, rel=1e-6)


@given(schedules(), st.floats(0.01, 100), st.data())
def test_min_snr_is_as_published_for_each_type(schedule, gamma, data):
    """Hang et al.: min(SNR, g) / SNR, min(SNR, g), and for v min(SNR, g) / (SNR + 1); over SNR it would not agree with the others."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    abar = exact_alphas_cumprod(schedule)[t]
    snr = abar / (1 - abar)
    least = min(snr, MP.mpf(gamma))
    for prediction_type, weight in {"epsilon": least / snr, "sample": least, "v_prediction": least / (snr + 1)}.items():
        assert ulps(min_snr_weight(schedule, t, prediction_type, gamma), [weight]) < 100


@given(schedules(), st.floats(0, 2), st.floats(0.1, 10), st.data())
def test_p2_is_as_published(schedule, gamma, k, data):
    """Choi et al.: 1 / (k + SNR)^gamma on epsilon; gamma = 0 is the simple loss."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    abar = exact_alphas_cumprod(schedule)[t]
    snr = abar / (1 - abar)
    assert ulps(p2_weight(schedule, t, "epsilon", gamma, k), [(k + snr) ** -MP.mpf(gamma)]) < 1000
    assert p2_weight(schedule, t, "epsilon", 0.0, k) == pytest.approx(1, rel=1e-14)


@given(st.floats(1e-3, 1e3), st.floats(0.1, 2))
def test_edms_weight_is_as_published(sigma, sigma_data):
    """(sigma^2 + sd^2) / (sigma sd)^2, at the sigmas themselves; where alpha is not 1, at sigma / alpha."""
    expected = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    assert edm_weight(EDM, sigma, sigma_data=sigma_data) == pytest.approx(expected, rel=1e-13, abs=0)
    line = StraightLine()
    assert edm_weight(line, sigma / (1 + sigma), sigma_data=sigma_data) == pytest.approx(expected, rel=1e-11, abs=0)


@given(schedules(), st.data())
def test_truncated_snr_is_the_larger_of_two_losses(schedule, data):
    """max of the weights of the loss in x_0 and of that in eps, for a model of any type."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    for p in PREDICTION_TYPES:
        larger = max(same_loss_weight(schedule, t, "sample", p), same_loss_weight(schedule, t, "epsilon", p))
        assert truncated_snr_weight(schedule, t, p) == pytest.approx(larger, rel=1e-12, abs=0)


def test_the_loss_in_v_is_snr_plus_one_on_x_start_and_alpha_squared_of_it_the_loss_in_epsilon():
    """The known factors, for a variance preserving process."""
    abar = np.cumprod(1 - SCHEDULE.betas)
    t = list(range(20))
    np.testing.assert_allclose(same_loss_weight(SCHEDULE, t, "v_prediction", "sample"), 1 / (1 - abar), rtol=1e-10)
    np.testing.assert_allclose(same_loss_weight(SCHEDULE, t, "epsilon", "v_prediction"), abar, rtol=1e-10)
    np.testing.assert_allclose(same_loss_weight(SCHEDULE, t, "epsilon", "sample"), abar / (1 - abar), rtol=1e-10)
    for p in PREDICTION_TYPES:
        np.testing.assert_allclose(same_loss_weight(SCHEDULE, t, p, p), 1, rtol=1e-14)


@given(schedules_to_pure_noise(max_steps=5))
def test_at_pure_noise_a_weight_is_its_limit(schedule):
    """SNR = 0: min-SNR is 1 on epsilon (0/0 in the formula) and 0 on x_0 and v; P2 is 1 / k^gamma; so at clean data, SNR infinite."""
    T = schedule.last_time
    assert min_snr_weight(schedule, T, "epsilon") == pytest.approx(1, rel=1e-14)
    assert min_snr_weight(schedule, T, "sample") == min_snr_weight(schedule, T, "v_prediction") == pytest.approx(0, abs=1e-290)
    assert p2_weight(schedule, T, "epsilon", k=4.0) == pytest.approx(1 / 4, rel=1e-14)
    weight = kl_weight(schedule, T, "sample", "fixed_large", min_variance=1e-20)
    assert weight == pytest.approx(schedule.alphas_cumprod_prev[T] / 2, rel=1e-12, abs=0)
    assert snr_difference_weight(schedule, T, T - 1, "sample") == pytest.approx(schedule.snr[T - 1] / 2, rel=1e-12, abs=0)
    line = StraightLine()
    assert p2_weight(line, 0.0, "epsilon", gamma=2.0) == 0
    assert min_snr_weight(line, 0.0, "epsilon") == pytest.approx(0, abs=1e-290) and min_snr_weight(line, 0.0, "sample") == 5
    np.testing.assert_allclose(same_loss_weight(line, [0.0, 1.0], "flow_prediction", "v_prediction"), 1, rtol=1e-12)


def test_weights_of_one_time_and_of_many():
    """A number for a number, (N,) for (N,), float64; the entries agree."""
    for weigh in WEIGHTINGS.values():
        many = weigh(SCHEDULE, [3, 7, 3], "epsilon")
        assert many.shape == (3,) and many.dtype == np.float64 and many[0] == many[2] == weigh(SCHEDULE, 3, "epsilon")
        assert np.ndim(weigh(SCHEDULE, 3, "epsilon")) == 0


def test_bad_weights_are_refused():
    """Unknown types, times outside, a variance that is not fixed, steps that do not go back."""
    with pytest.raises(ValueError, match="unknown prediction_type 'eps'"):
        min_snr_weight(SCHEDULE, 3, "eps")
    for kinds in (("eps", "sample"), ("sample", "eps")):
        with pytest.raises(ValueError, match="same_loss_weight: unknown prediction_type 'eps'"):
            same_loss_weight(SCHEDULE, 3, *kinds)
    with pytest.raises(ValueError, match="time 20 is outside the"):
        p2_weight(SCHEDULE, 20)
    with pytest.raises(TypeError, match="integer dtype"):
        kl_weight(SCHEDULE, 0.5)
    with pytest.raises(ValueError, match="kl_weight: expected a fixed variance_type, fixed_small or fixed_large, got 'learned'"):
        kl_weight(SCHEDULE, 3, variance_type="learned")
    with pytest.raises(ValueError, match="snr_difference_weight: expected s < t"):
        snr_difference_weight(SCHEDULE, 3, 3)
    with pytest.raises(ValueError, match=r"snr_difference_weight: at clean data \(sigma = 0\) the weight is infinite"):
        snr_difference_weight(StraightLine(), 0.5, 0.0)
