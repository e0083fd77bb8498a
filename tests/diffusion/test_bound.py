"""The variational bound against what it bounds: for Gaussian data everything in it is known in closed form.

Each term is a polynomial of degree 2 in the data and in the noise, so data at mean +- std and noise at +-1 give the exact
expectations over Gaussians. No test here draws a random number for an expectation.
"""

import math

import numpy as np
import pytest
from diffusion_laws import schedules, schedules_to_pure_noise
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfc
from scipy.stats import norm

from minidiff.autograd import tensor
from minidiff.diffusion import (
    Gaussian,
    calc_bpd_loop,
    convert,
    make_schedule,
    p_mean_variance,
    q_sample,
    respace,
    vb_terms_bpd,
)
from minidiff.random import Generator

rng = np.random.default_rng()
LOG2 = math.log(2)


def reverse_variances(schedule, std):
    """Var(x_{t-1} | x_t) of data with this std, by conditioning the joint Gaussian of neighbours; (T,)."""
    before = np.append(std**2, schedule.alphas_cumprod[:-1] * std**2 + schedule.one_minus_alphas_cumprod[:-1])
    after = schedule.alphas_cumprod * std**2 + schedule.one_minus_alphas_cumprod
    return before * schedule.betas / after  # of x_t = sqrt(a) x_{t-1} + sqrt(b) eps: v_{t-1} - a v_{t-1}^2 / v_t = v_{t-1} b / v_t


def perfect_model(schedule, mean, std, prediction_type):
    """The best prediction, and as its learned output the log of the true variance of the way back."""
    predict = Gaussian(mean, std).model(schedule, prediction_type)
    log_variances = np.log(reverse_variances(schedule, std))
    return lambda x, t: np.concatenate([predict(x, t), 0 * x + log_variances[t].reshape(-1, 1)], axis=1)


def expected_bound(model, schedule, x_start, **options):
    """The expectation of the bound over the noise, in nats: the mean of noise +1 everywhere and noise -1 everywhere."""
    one = np.ones_like(x_start)
    bounds = [calc_bpd_loop(model, schedule, x_start, noise=[noise] * schedule.num_train_timesteps, decoder="gaussian", **options)
              for noise in (one, -one)]
    return (bounds[0].total_bpd + bounds[1].total_bpd) / 2 * LOG2


@given(schedules_to_pure_noise(max_steps=8), st.floats(-1, 1), st.floats(0.2, 2))
def test_with_the_true_way_back_the_bound_is_the_likelihood(schedule, mean, std):
    """Perfect mean and variance, an end that is pure noise: the bound is -log q(x_0), for each x_0 and any number of steps."""
    x_start = np.array([[-1.3], [0.0], [0.4], [2.0]])
    for prediction_type in ("sample", "v_prediction"):
        model = perfect_model(schedule, mean, std, prediction_type)
        bound = expected_bound(model, schedule, x_start, prediction_type=prediction_type, variance_type="learned")
        np.testing.assert_allclose(bound, -norm.logpdf(x_start[:, 0], mean, std), rtol=1e-6, atol=1e-6)


@given(schedules(max_steps=8, max_beta=0.9), st.floats(-1, 1), st.floats(0.2, 2))
def test_what_is_left_of_the_data_at_the_end_is_the_only_loss_of_a_perfect_model(schedule, mean, std):
    """In the mean over data the bound is the entropy plus KL(q(x_T) || N(0, 1)), when sampling starts from N(0, 1) instead of q(x_T)."""
    model = perfect_model(schedule, mean, std, "sample")
    x_start = np.array([[mean + std], [mean - std]])
    bound = expected_bound(model, schedule, x_start, prediction_type="sample", variance_type="learned").mean()
    entropy = math.log(2 * math.pi * math.e * std**2) / 2
    abar = schedule.alphas_cumprod[-1]
    variance = abar * std**2 + 1 - abar
    start = (variance - 1 - math.log(variance) + abar * mean**2) / 2
    assert bound == pytest.approx(entropy + start, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
@given(schedules(max_steps=8, max_beta=0.9), st.floats(0.2, 2))
def test_a_wrong_variance_costs_its_divergence_at_every_step(variance_type, schedule, std):
    """With perfect means the gap is sum_t 1/2 (v/s - 1 - log(v/s)), v the true variance of the way back and s the fixed one."""
    model = Gaussian(0.0, std).model(schedule)
    bound = expected_bound(model, schedule, np.array([[std], [-std]]), variance_type=variance_type).mean()
    fixed = schedule.posterior_variance.copy() if variance_type == "fixed_small" else schedule.betas.copy()
    fixed[0] = schedule.posterior_variance[1] if len(fixed) > 1 else schedule.betas[0]
    ratio = reverse_variances(schedule, std) / fixed
    gap = ((ratio - 1 - np.log(ratio)) / 2).sum()
    abar = schedule.alphas_cumprod[-1]
    variance = abar * std**2 + 1 - abar
    tight = math.log(2 * math.pi * math.e * std**2) / 2 + (variance - 1 - math.log(variance)) / 2
    assert bound == pytest.approx(tight + gap, rel=1e-6, abs=1e-6)


def test_with_many_steps_a_fixed_variance_costs_little():
    """The gap of fixed_large above the entropy falls as 1/T: Ho et al.'s schedule and its subdivisions, betas scaled to the same end."""
    std, gaps = 0.5, []
    for T in (60, 120, 240, 480):
        schedule = make_schedule("linear", T, beta_start=0.1 / T, beta_end=20 / T)
        model = Gaussian(0.0, std).model(schedule)
        bound = expected_bound(model, schedule, np.array([[std], [-std]]), variance_type="fixed_large", min_variance=1e-30).mean()
        gaps.append(bound - math.log(2 * math.pi * math.e * std**2) / 2)
    ratios = np.array(gaps[:-1]) / np.array(gaps[1:])
    assert gaps[0] < 0.02 and ratios == pytest.approx([2, 2, 2], abs=0.02)


# -- term by term ----------------------------------------------------------------------------------------------------


def naive_term(schedule, output, x_start, x_t, t, variance_type):
    """L_t of one element as in the papers, epsilon prediction, in nats: Python floats, abar by a product, the bin by erfc."""
    betas = schedule.betas.tolist()
    abar, before = math.prod(1 - b for b in betas[: t + 1]), math.prod(1 - b for b in betas[:t])
    beta, alpha = betas[t], 1 - betas[t]
    prediction, learned = output

    def mean_of(x):
        return math.sqrt(before) * beta / (1 - abar) * x + math.sqrt(alpha) * (1 - before) / (1 - abar) * x_t

    small = (1 - before) / (1 - abar) * beta
    if t == 0:
        abar_1 = math.prod(1 - b for b in betas[:2])
        small = (1 - abar) / (1 - abar_1) * betas[1]
    mean = mean_of((x_t - math.sqrt(1 - abar) * prediction) / math.sqrt(abar))
    variance = {"fixed_small": small, "fixed_large": beta if t else small, "learned": math.exp(learned),
                "learned_range": beta ** ((learned + 1) / 2) * small ** ((1 - learned) / 2)}[variance_type]
    if t > 0:
        return math.log(variance / small) / 2 + (small + (mean_of(x_start) - mean) ** 2) / (2 * variance) - 0.5
    above, below = ((x_start + s / 255 - mean) / math.sqrt(2 * variance) for s in (1, -1))
    if x_start < -0.999:
        return -math.log(erfc(-above) / 2)
    if x_start > 0.999:
        return -math.log(erfc(below) / 2)
    return -math.log((erfc(below) - erfc(above)) / 2 if below > 0 else (erfc(-above) - erfc(-below)) / 2)


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large", "learned", "learned_range"])
@pytest.mark.parametrize("t", [0, 7, [0, 1, 9]], ids=["decoder", "divergence", "both"])
def test_a_term_is_the_mean_of_its_elements(variance_type, t):
    """A loop in Python floats over every pixel, in bits, learned variances too; strided data."""
    schedule = make_schedule("linear", 10, beta_start=0.01, beta_end=0.3)
    x_start = (rng.integers(0, 256, (3, 2, 4)) / 127.5 - 1)[..., ::2]
    x_start[0, 0] = [-1.0, 1.0]
    noise = rng.standard_normal(x_start.shape)
    x_t = q_sample(schedule, x_start, t, noise)
    prediction, learned = noise + 0.1 * rng.standard_normal(noise.shape), rng.uniform(-1, 1, noise.shape)
    if variance_type == "learned":
        learned = learned - 4
    output = prediction if variance_type.startswith("fixed") else np.concatenate([prediction, learned], axis=1)
    got = vb_terms_bpd(schedule, output, x_start, x_t, t, "epsilon", variance_type)
    assert got.shape == (3,)
    for i, time in enumerate([t] * 3 if isinstance(t, int) else t):
        elements = zip(*(a[i].ravel().tolist() for a in (prediction, learned, x_start, x_t)), strict=True)
        terms = [naive_term(schedule, (p, v), x, y, time, variance_type) for p, v, x, y in elements]
        assert got[i] == pytest.approx(np.mean(terms) / LOG2, rel=1e-8)


def test_the_loop_is_the_sum_of_its_terms_and_reports_the_errors():
    """Column t is vb_terms_bpd at t; mse is that of eps, xstart_mse that of x_0; the prior adds up to the total."""
    schedule = make_schedule("linear", 6)
    x_start, noise = rng.standard_normal((3, 2, 5)), rng.standard_normal((6, 3, 2, 5))
    asked = []

    def model(x, t):
        asked.append(int(t[0]))
        return 0.9 * x

    bound = calc_bpd_loop(model, schedule, x_start, noise=noise, prediction_type="v_prediction")
    assert bound.vb.shape == bound.mse.shape == bound.xstart_mse.shape == (3, 6) and sorted(asked) == list(range(6))
    for t in range(6):
        x_t = q_sample(schedule, x_start, t, noise[t])
        np.testing.assert_allclose(bound.vb[:, t], vb_terms_bpd(schedule, 0.9 * x_t, x_start, x_t, t, "v_prediction"), rtol=1e-13)
        for kind, truth, errors in (("sample", x_start, bound.xstart_mse), ("epsilon", noise[t], bound.mse)):
            said = convert(0.9 * x_t, x_t, schedule, t, "v_prediction", kind)
            np.testing.assert_allclose(errors[:, t], ((said - truth) ** 2).mean(axis=(1, 2)), rtol=1e-10)
    abar = np.prod(1 - schedule.betas)
    prior = (-np.log(1 - abar) - abar + abar * x_start**2).mean(axis=(1, 2)) / 2 / LOG2
    np.testing.assert_allclose(bound.prior_bpd, prior, rtol=1e-9)
    np.testing.assert_allclose(bound.total_bpd, prior + bound.vb.sum(axis=1), rtol=1e-12)


def test_the_generator_draws_the_noise_from_the_last_time_to_the_first():
    """The same bound with the generator's own numbers given as noise; float32 stays float32."""
    schedule, x_start = make_schedule("linear", 4), rng.standard_normal((2, 1, 3)).astype(np.float32)
    drawn = Generator(3)
    noise = [drawn.standard_normal(x_start.shape, x_start.dtype) for _ in range(4)][::-1]
    model = lambda x, t: x
    one, two = (calc_bpd_loop(model, schedule, x_start, **source) for source in ({"generator": Generator(3)}, {"noise": noise}))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float32


def test_the_bound_of_fewer_steps_is_that_of_the_respaced_process():
    """A perfect model is not tighter with less steps when the variance is fixed, and equally tight when it is right."""
    schedule, std = make_schedule("linear", 100, beta_start=1e-3, beta_end=0.2), 0.5
    x_start = np.array([[std], [-std]])
    short = respace(schedule, [99, 60, 30, 10, 0])
    entropy = math.log(2 * math.pi * math.e * std**2) / 2
    totals = {}
    for name, process in {"all": schedule, "few": short}.items():
        for kind, model in (("learned", perfect_model(process, 0.0, std, "epsilon")), ("fixed_large", Gaussian(0.0, std).model(process))):
            totals[name, kind] = expected_bound(model, process, x_start, variance_type=kind).mean()
    assert totals["few", "learned"] == pytest.approx(totals["all", "learned"], rel=1e-9)
    assert entropy < totals["all", "learned"] < totals["all", "fixed_large"] < totals["few", "fixed_large"]


# -- the decoder's variance, a convention ----------------------------------------------------------------------------


def test_the_variance_of_the_last_step_decides_what_a_pixel_costs():
    """Ho et al.'s schedule, t = 0. A perfect prediction costs 1.30 bits with OpenAI's variance and nothing with diffusers' 1e-20; one that
    is a grey level off costs 2.05 bits with the former and, with the latter, all that the decoder can charge: log2(1e12) = 39.86 bits in
    OpenAI's form, and 10^15 in exact arithmetic. Half a grey level off is between two bins: one bit, with no variance at all."""
    schedule = make_schedule("linear", 1000)
    x_start = np.full((1, 1, 3), 100 / 127.5 - 1)
    x_t = q_sample(schedule, x_start, 0, np.zeros_like(x_start))

    def cost(off, min_variance, decoder="discretized_gaussian"):
        return vb_terms_bpd(schedule, x_start + off, x_start, x_t, 0, "sample", min_variance=min_variance, decoder=decoder)[0]

    abar_0, beta_1 = 1 - 1e-4, 1e-4 + (0.02 - 1e-4) / 999
    std = math.sqrt(1e-4 / (1 - abar_0 * (1 - beta_1)) * beta_1)  # of the posterior at t = 1
    half, level = 1 / 255 / std, 2 / 255 / std
    for off, z in ((0.0, 0.0), (2 / 255, level)):
        openai = -math.log2(norm.cdf(z + half) - norm.cdf(z - half))
        assert cost(off, None) == pytest.approx(openai, rel=1e-9)
        assert cost(off, None, "discretized_gaussian_approximate") == pytest.approx(openai, abs=2e-2)
    assert cost(0.0, None) == pytest.approx(1.3054, abs=1e-4)
    assert cost(2 / 255, None) == pytest.approx(2.0462, abs=1e-4)
    assert cost(1 / 255, 1e-20) == pytest.approx(1, abs=1e-5)
    assert cost(0.0, 1e-20) == cost(0.49 * 2 / 255, 1e-20) == 0
    assert cost(2 / 255, 1e-20, "discretized_gaussian_approximate") == pytest.approx(12 * math.log2(10), rel=1e-12)
    assert cost(2 / 255, 1e-20) > 1e14


def test_clipping_helps_a_prediction_outside_the_range():
    """x_0 = 254 / 127.5 - 1, predicted as 3: clipped, the term is that of a prediction of 1."""
    schedule, x_start = make_schedule("linear", 10), np.full((2, 1, 2), 254 / 127.5 - 1)
    x_t = q_sample(schedule, x_start, [0, 5], 0 * x_start)
    got = [vb_terms_bpd(schedule, out, x_start, x_t, [0, 5], "sample", clip_denoised=clip) for out, clip in
           ((3 + 0 * x_start, True), (1 + 0 * x_start, False), (3 + 0 * x_start, False))]
    np.testing.assert_array_equal(got[0], got[1])
    assert (got[2] > got[1]).all()


def test_a_term_is_differentiable():
    """The gradient with respect to a factor in the model, by finite differences, with decoder and divergences in one batch."""
    schedule, t = make_schedule("linear", 10), [0, 1, 9]
    x_start, noise = rng.integers(0, 256, (3, 1, 4)) / 127.5 - 1, rng.standard_normal((3, 1, 4))
    x_t = q_sample(schedule, x_start, t, noise)

    def loss(k):
        return vb_terms_bpd(schedule, k * tensor(x_t) if not isinstance(k, float) else k * x_t, x_start, x_t, t, "v_prediction").mean()

    k, h = tensor(np.array(-0.2), requires_grad=True), 1e-6
    loss(k).backward()
    assert k.grad.item() == pytest.approx((loss(-0.2 + h) - loss(-0.2 - h)) / (2 * h), rel=1e-6)


def test_the_step_back_of_the_bound_is_the_one_that_is_sampled():
    """The mean at which a term is 0 but for its variances is that of `p_mean_variance` for the true x_0."""
    schedule, t = make_schedule("linear", 10), 4
    x_start, noise = rng.standard_normal((2, 2, 1, 3))
    x_t = q_sample(schedule, x_start, t, noise)
    step = p_mean_variance(schedule, noise, x_t, t)
    np.testing.assert_allclose(step.pred_xstart, x_start, atol=1e-12)
    np.testing.assert_allclose(vb_terms_bpd(schedule, noise, x_start, x_t, t), 0, atol=1e-20)


def test_bad_bounds_are_refused():
    """Unknown decoders and types, missing, double or too little noise, arrays that are not alike."""
    schedule, x = make_schedule("linear", 4), np.zeros((2, 1, 3))
    with pytest.raises(ValueError, match="vb_terms_bpd: unknown decoder 'bins'; choose from discretized_gaussian, "):
        vb_terms_bpd(schedule, x, x, x, 0, decoder="bins")
    with pytest.raises(ValueError, match="unknown variance_type 'fixed'"):
        vb_terms_bpd(schedule, x, x, x, 0, variance_type="fixed")
    with pytest.raises(ValueError, match="vb_terms_bpd: expected x_start to have the shape of x_t"):
        vb_terms_bpd(schedule, x, x[:, :, :1], x, 0)
    for noise in ({}, {"noise": [x] * 4, "generator": Generator(0)}):
        with pytest.raises(ValueError, match=r"calc_bpd_loop: (fresh noise is drawn 4 times|expected either)"):
            calc_bpd_loop(lambda x, t: x, schedule, x, **noise)
    with pytest.raises(ValueError, match="calc_bpd_loop: expected 4 arrays of noise, one for each draw, got 3"):
        calc_bpd_loop(lambda x, t: x, schedule, x, noise=[x] * 3)
