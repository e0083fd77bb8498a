"""The forward process and its posteriors, against composition and Bayes' rule in 50 digits."""

import numpy as np
import pytest
from diffusion_laws import (
    MP,
    bayes,
    exact_alphas,
    exact_alphas_cumprod,
    exact_level,
    processes_at,
    schedules,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from minidiff.diffusion import (
    EDM,
    Schedule,
    StraightLine,
    VariancePreserving,
    make_schedule,
    path,
    posterior_weights,
    q_mean_variance,
    q_mean_variance_between,
    q_posterior_mean_from_epsilon,
    q_posterior_mean_variance,
    q_posterior_mean_variance_between,
    q_sample,
    q_sample_between,
    q_step,
    transition,
)

ONE, ZERO = np.ones(1), np.zeros(1)
numbers = st.floats(-3, 3, allow_subnormal=False)  # a product with a subnormal number has no digits left to compare
shares = st.floats(0, 1)


def of_forward(process, t):
    """(factor of x_0, variance) of q(x_t | x_0)."""
    mean, variance, _ = q_mean_variance(process, ONE, t)
    return mean[0], variance


def of_jump(process, s, t):
    """(factor of x_s, variance) of q(x_t | x_s)."""
    mean, variance, _ = q_mean_variance_between(process, ONE, s, t)
    return mean[0], variance


def of_posterior(process, t, s, eta):
    """(factor of x_t, factor of x_0, variance) of q_eta(x_s | x_t, x_0)."""
    of_x_t, variance, _ = q_posterior_mean_variance_between(process, ZERO, ONE, t, s, eta)
    of_start, _, _ = q_posterior_mean_variance_between(process, ONE, ZERO, t, s, eta)
    return of_x_t[0], of_start[0], variance


@given(schedules(), st.data())
def test_skipping_ahead_equals_taking_every_step(schedule, data):
    """Compose t+1 single Gaussian steps in 50 digits; compare the factor of x_0 and the variance of the noise."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    factor, variance = MP.mpf(1), MP.mpf(0)
    for alpha in exact_alphas(schedule)[: t + 1]:
        factor, variance = MP.sqrt(alpha) * factor, alpha * variance + (1 - alpha)
    assert q_sample(schedule, ONE, t, ZERO)[0] == pytest.approx(float(factor), rel=1e-12, abs=0)
    assert q_sample(schedule, ZERO, t, ONE)[0] ** 2 == pytest.approx(float(variance), rel=1e-14, abs=0)
    mean, got_variance, log_variance = q_mean_variance(schedule, 2 * ONE, t)
    assert mean[0] == pytest.approx(2 * float(factor), rel=1e-12, abs=0)
    assert got_variance == pytest.approx(float(variance), rel=1e-14, abs=0)
    assert log_variance == pytest.approx(float(MP.log(variance)), rel=1e-14, abs=1e-14)


@given(schedules(max_steps=20), st.data())
def test_single_steps_add_up_to_the_jump(schedule, data):
    """Walk with q_step, the noise of step j only: the squares of what arrives add up to the variance of q_sample."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    steps = t + 1
    x = np.append(1.0, np.zeros(steps))  # first the signal, then one row for each step's noise
    for j in range(steps):
        x = q_step(schedule, x, j, np.eye(steps + 1)[j + 1])
    assert x[0] == pytest.approx(q_sample(schedule, ONE, t, ZERO)[0], rel=1e-12, abs=0)
    assert (x[1:] ** 2).sum() == pytest.approx(q_mean_variance(schedule, ONE, t)[1], rel=1e-12, abs=0)


@given(schedules(), numbers, st.data())
def test_a_step_has_the_variance_beta(schedule, x, data):
    """Ho et al. Eq. 2, with sqrt(beta), not beta, before the noise."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    beta = float(schedule.betas[t])
    there = q_step(schedule, np.array([x]), t, ZERO)[0]
    assert there**2 == pytest.approx((1 - beta) * x * x, rel=1e-12, abs=1e-300) and there * x >= 0
    assert q_step(schedule, ZERO, t, ONE)[0] ** 2 == pytest.approx(beta, rel=1e-14, abs=0)


@given(schedules(max_beta=0.9), numbers, numbers, st.data())
def test_posterior_is_bayes_rule(schedule, x_start, x_t, data):
    """Add the precisions of prior and likelihood in 50 digits."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    mean, variance, log_variance = q_posterior_mean_variance(schedule, np.array([x_start]), np.array([x_t]), t)
    if t == 0:
        assert variance == 0 and mean[0] == pytest.approx(x_start, rel=1e-14, abs=0)
        return
    abars = exact_alphas_cumprod(schedule)
    exact_mean, exact_variance = bayes(x_start, x_t, abars[t - 1], abars[t])
    assert mean[0] == pytest.approx(float(exact_mean), rel=1e-12, abs=1e-12 * (abs(x_start) + abs(x_t)))
    assert variance == pytest.approx(float(exact_variance), rel=1e-14, abs=0)
    assert log_variance == pytest.approx(float(MP.log(exact_variance)), rel=1e-13, abs=1e-13)


def test_posterior_is_the_normalized_product_of_densities():
    """Brute force: multiply the two densities on a grid and measure mean and variance of the product."""
    schedule = Schedule.from_betas([0.1, 0.25, 0.4])
    x_start, x_t, t = 0.7, -0.4, 2
    grid = np.linspace(-8, 8, 20001)
    prior = np.exp(-((grid - np.sqrt(0.9 * 0.75) * x_start) ** 2) / (2 * (1 - 0.9 * 0.75)))
    likelihood = np.exp(-((x_t - np.sqrt(0.6) * grid) ** 2) / (2 * 0.4))
    weight = prior * likelihood / (prior * likelihood).sum()
    mean, variance, _ = q_posterior_mean_variance(schedule, np.array([x_start]), np.array([x_t]), t)
    assert mean[0] == pytest.approx((weight * grid).sum(), rel=1e-10, abs=1e-12)
    assert variance == pytest.approx((weight * (grid - mean[0]) ** 2).sum(), rel=1e-10, abs=0)


@given(schedules(max_beta=0.9, max_steps=10), numbers, numbers, st.data())
def test_both_forms_of_the_posterior_mean_agree(schedule, x_start, noise, data):
    """With x_t made from x_0 and eps, the mean through x_0 (Eq. 7) is the mean through eps (Eq. 11)."""
    t = data.draw(st.integers(0, schedule.num_train_timesteps - 1))
    x_start, noise = np.array([x_start]), np.array([noise])
    x_t = q_sample(schedule, x_start, t, noise)
    through_start = q_posterior_mean_variance(schedule, x_start, x_t, t)[0]
    through_noise = q_posterior_mean_from_epsilon(schedule, x_t, t, noise)
    np.testing.assert_allclose(through_noise, through_start, rtol=1e-11, atol=1e-11)


def test_noising_then_stepping_back_keeps_the_distribution():
    """Marginalize the posterior over q(x_t | x_0), in closed form: what results is q(x_{t-1} | x_0)."""
    schedule = make_schedule("squaredcos_cap_v2", 50)
    for t in range(1, 50):
        of_start = q_posterior_mean_variance(schedule, ONE, ZERO, t)[0][0]
        of_x_t = q_posterior_mean_variance(schedule, ZERO, ONE, t)[0][0]
        mean, variance, _ = q_mean_variance(schedule, ONE, t)
        before, before_variance, _ = q_mean_variance(schedule, ONE, t - 1)
        assert of_start + of_x_t * mean[0] == pytest.approx(before[0], rel=1e-12, abs=0)
        assert of_x_t**2 * variance + schedule.posterior_variance[t] == pytest.approx(before_variance, rel=1e-12, abs=0)


def test_times_of_a_batch_give_variances_of_its_shape():
    """With (N,) times, variance and log variance are (N, 1, ..., 1) and broadcast to the mean."""
    schedule, x = make_schedule("linear", 10), np.ones((3, 2, 4), np.float32)
    for mean, variance, log_variance in (
        q_mean_variance(schedule, x, [0, 4, 9]),
        q_posterior_mean_variance(schedule, x, x, [0, 4, 9]),
    ):
        assert mean.shape == (3, 2, 4)
        assert variance.shape == log_variance.shape == (3, 1, 1)
        assert mean.dtype == variance.dtype == log_variance.dtype == np.float32


# -- any process, any two levels -------------------------------------------------------------------------------------


@given(processes_at(2))
def test_going_on_from_a_noisy_level_ends_where_the_jump_from_the_data_does(at):
    """q(x_s | x_0) then q(x_t | x_s): factors multiply, variances add up after scaling. For every process."""
    process, (s, t) = at
    (first, first_variance), (then, then_variance) = of_forward(process, s), of_jump(process, s, t)
    factor, variance = of_forward(process, t)
    assert first * then == pytest.approx(factor, rel=1e-12, abs=0)
    assert then**2 * first_variance + then_variance == pytest.approx(variance, rel=1e-12, abs=0)


@given(processes_at(3))
def test_two_jumps_are_one(at):
    """q(x_s | x_r) then q(x_t | x_s) is q(x_t | x_r)."""
    process, (r, s, t) = at
    (first, first_variance), (then, then_variance) = of_jump(process, r, s), of_jump(process, s, t)
    factor, variance = of_jump(process, r, t)
    assert first * then == pytest.approx(factor, rel=1e-12, abs=0)
    assert then**2 * first_variance + then_variance == pytest.approx(variance, rel=1e-11, abs=0)


@given(schedules(max_steps=8), st.data())
def test_the_jump_between_neighbours_is_a_step(schedule, data):
    """Factor sqrt(alpha_t) and variance beta_t, all digits."""
    assume(schedule.num_train_timesteps > 1)
    t = data.draw(st.integers(1, schedule.num_train_timesteps - 1))
    x, noise = np.array([data.draw(numbers)]), np.array([data.draw(numbers)])
    found, expected = q_sample_between(schedule, x, t - 1, t, noise), q_step(schedule, x, t, noise)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    assert of_jump(schedule, t - 1, t)[1] == pytest.approx(schedule.betas[t], rel=1e-14, abs=0)


@st.composite
def exactly_known(draw):
    """A process whose levels have 50 digits, and two times of it."""
    process = draw(schedules(max_steps=12, max_beta=0.9) | st.sampled_from([EDM, StraightLine(), VariancePreserving()]))
    if isinstance(process, Schedule):
        assume(process.num_train_timesteps > 1)
        times = st.integers(0, process.num_train_timesteps - 1)
    else:
        times = st.floats(1e-3, 0.999)
    s, t = sorted(draw(st.lists(times, min_size=2, max_size=2, unique=True)))
    return process, s, t


@given(exactly_known(), shares)
def test_coefficients_between_levels_have_all_digits(known, eta):
    """The subtractions of the papers in 50 digits: Kingma et al.'s variance of a jump, Song et al.'s Eq. 7 and 16."""
    process, s, t = known
    (alpha_s, var_s), (alpha_t, var_t) = exact_level(process, s), exact_level(process, t)
    factor, variance = of_jump(process, s, t)
    ratio = alpha_t / alpha_s
    few = 1e-13 if isinstance(process, VariancePreserving) else 3e-15  # its integral B, up to 10, stands in an exponent
    exact_variance = var_t - ratio**2 * var_s
    assert factor == pytest.approx(float(ratio), rel=few)
    assert variance == pytest.approx(float(exact_variance), rel=few)

    v2 = MP.mpf(eta) ** 2 * var_s / var_t * exact_variance
    of_noise = MP.sqrt(var_s - v2) / MP.sqrt(var_t)
    of_x_t, of_start, posterior_variance = of_posterior(process, t, s, eta)
    assert of_x_t == pytest.approx(float(of_noise), rel=few)
    assert of_start == pytest.approx(float(alpha_s - alpha_t * of_noise), rel=few)
    assert posterior_variance == pytest.approx(float(v2), rel=few, abs=1e-300)


@given(processes_at(2), shares)
def test_every_posterior_keeps_the_marginals(at, eta):
    """Integrate q_eta(x_s | x_t, x_0) over q(x_t | x_0), in closed form: q(x_s | x_0), whatever the share of fresh noise."""
    process, (s, t) = at
    of_x_t, of_start, variance = of_posterior(process, t, s, eta)
    (alpha_t, var_t), (alpha_s, var_s) = of_forward(process, t), of_forward(process, s)
    assert of_start + of_x_t * alpha_t == pytest.approx(alpha_s, rel=1e-12, abs=0)
    assert of_x_t**2 * var_t + variance == pytest.approx(var_s, rel=1e-12, abs=0)


@given(processes_at(2), numbers, numbers)
def test_with_all_noise_fresh_it_is_bayes_rule(at, x_start, x_t):
    """eta = 1 between any two levels of any process: add the precisions of q(x_s | x_0) and q(x_t | x_s)."""
    process, (s, t) = at
    (alpha_s, var_s), (ratio, jump) = of_forward(process, s), of_jump(process, s, t)
    assume(var_s > 1e-200 and jump > 1e-200)
    posterior = 1 / (1 / var_s + ratio**2 / jump)
    expected = posterior * (alpha_s * x_start / var_s + ratio * x_t / jump)
    mean, variance, log_variance = q_posterior_mean_variance_between(process, np.array([x_start]), np.array([x_t]), t, s)
    assert mean[0] == pytest.approx(expected, rel=1e-11, abs=1e-11 * (abs(x_start) + abs(x_t)))
    assert variance == pytest.approx(posterior, rel=1e-12, abs=0)
    assert log_variance == pytest.approx(np.log(posterior), rel=1e-12, abs=1e-12)


def test_between_neighbours_it_is_the_posterior_of_the_schedule():
    """The tables of Eq. 7 and the weights of any two levels, at every time."""
    schedule, rng = make_schedule("linear", 1000), np.random.default_rng()
    x_start, x_t = rng.standard_normal((2, 3, 4))
    for t in (1, 2, 10, 500, 999):
        for found, expected in zip(q_posterior_mean_variance_between(schedule, x_start, x_t, t, t - 1),
                                   q_posterior_mean_variance(schedule, x_start, x_t, t)):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_without_fresh_noise_the_predicted_noise_is_kept():
    """eta = 0: x_s = alpha_s x_0 + sigma_s eps with the same eps, and variance 0."""
    rng, process = np.random.default_rng(), StraightLine()
    x_start, noise = rng.standard_normal((2, 3, 4))
    x_t = q_sample(process, x_start, 0.8, noise)
    mean, variance, log_variance = q_posterior_mean_variance_between(process, x_start, x_t, 0.8, 0.3, eta=0.0)
    np.testing.assert_allclose(mean, q_sample(process, x_start, 0.3, noise), rtol=0, atol=1e-14)
    assert variance == 0 and log_variance == -np.inf


def test_between_the_ends_of_time():
    """From pure noise (alpha = 0) and to clean data (sigma = 0): nothing is divided by zero."""
    process, x, y = StraightLine(), np.array([[0.3]]), np.array([[-1.1]])
    assert q_sample_between(process, x, 0.0, 0.25, y) == pytest.approx(q_sample(process, x, 0.25, y), rel=1e-15, abs=0)
    assert q_sample_between(process, x, 0.25, 1.0, y) == pytest.approx(y, rel=1e-15, abs=0)
    mean, variance, _ = q_posterior_mean_variance_between(process, x, y, 1.0, 0.25)
    assert mean == pytest.approx(0.75 * x) and variance == pytest.approx(0.25**2)
    mean, variance, _ = q_posterior_mean_variance_between(process, x, y, 0.25, 0.0)
    assert mean == pytest.approx(x) and variance == 0


@given(st.floats(0.1, 10), st.floats(0.1, 5), st.floats(0.01, 5), shares, numbers, numbers)
def test_a_scaled_problem_scales(c, s, more, eta, a, b):
    """Where the time is sigma, data and noise c times as large give means c times and variances c^2 times as large."""
    a, b, t = np.array([a]), np.array([b]), s + more
    np.testing.assert_allclose(q_sample(EDM, c * a, c * t, b), c * q_sample(EDM, a, t, b), rtol=1e-12, atol=1e-12)
    for function in (lambda c: q_mean_variance_between(EDM, c * a, c * s, c * t),
                     lambda c: q_posterior_mean_variance_between(EDM, c * a, c * b, c * t, c * s, eta)):
        (scaled_mean, scaled_variance, _), (mean, variance, _) = function(c), function(1.0)
        np.testing.assert_allclose(scaled_mean, c * mean, rtol=1e-11, atol=1e-11)
        assert scaled_variance == pytest.approx(c**2 * variance, rel=1e-11, abs=0)


@given(processes_at(3), shares, st.data())
def test_between_levels_a_batch_is_its_items(at, eta, data):
    """Each of a batch with its own two times, in float32: the same bits as alone."""
    process, (r, s, t) = at
    early, late = np.array([r, s, r]), np.array([s, t, t])
    a, b = np.random.default_rng(data.draw(st.integers(0, 2**32))).standard_normal((2, 3, 2, 1)).astype(np.float32)

    def both(a, b, early, late):
        return [q_sample_between(process, a, early, late, b), *q_mean_variance_between(process, a, early, late),
                *q_posterior_mean_variance_between(process, a, b, late, early, eta)]

    whole = both(a, b, early, late)
    for i in range(3):
        alone = both(a[i:i + 1], b[i:i + 1], early[i].item(), late[i].item())
        for x, y in zip(whole, alone):
            assert x.dtype == np.float32
            np.testing.assert_array_equal(x[i].ravel(), np.asarray(y, np.float32).ravel())


def test_rows_of_a_walk_are_made_of_the_same_weights():
    """`transition` and `posterior_weights` take the levels and steps of a path, its end at the data too."""
    walk = path(make_schedule("linear", 50), [40, 12, 3])
    for t, s, h in zip(walk.levels, walk.levels[1:], walk.steps):
        factor, std = transition(s, t, h)
        assert factor * s.alpha == pytest.approx(t.alpha) and (factor * s.sigma) ** 2 + std**2 == pytest.approx(t.sigma**2)
        of_x_t, of_start, v = posterior_weights(s, t, h, 0.5)
        assert of_x_t * t.alpha + of_start == pytest.approx(s.alpha)
        assert (of_x_t * t.sigma) ** 2 + v**2 == pytest.approx(s.sigma**2)


def test_the_log_variance_at_the_first_step_is_a_convention():
    """OpenAI repeats the next entry, diffusers takes log 1e-20; nothing else differs."""
    schedule, x = make_schedule("linear", 1000), np.zeros((1, 1))
    for t in (0, 1, 999):
        mean, variance, log_variance = q_posterior_mean_variance(schedule, x, x, t)
        floored = q_posterior_mean_variance(schedule, x, x, t, min_variance=1e-20)
        assert floored[:2] == (mean, variance)
        if t:
            assert floored[2] == pytest.approx(log_variance, rel=1e-15, abs=0)
        else:
            assert (round(log_variance, 2), round(floored[2], 2)) == (-9.82, -46.05)


def test_bad_levels_and_shares_are_refused():
    """Times in the wrong order, outside the process, an eta that is none, the noise where it says nothing."""
    schedule, x = make_schedule("linear", 10), np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"^q_sample_between: expected s < t, from less noise to more; got s = 5 and t = 5"):
        q_sample_between(schedule, x, [1, 5], 5, x)
    with pytest.raises(ValueError, match=r"^q_posterior_mean_variance_between: expected s < t.*got s = 6 and t = 5"):
        q_posterior_mean_variance_between(schedule, x, x, 5, 6)
    with pytest.raises(ValueError, match="time 10 is outside the process"):
        q_mean_variance_between(schedule, x, 5, 10)
    with pytest.raises(ValueError, match="expected eta between 0"):
        q_posterior_mean_variance_between(schedule, x, x, 5, 3, eta=1.5)
    with pytest.raises(ValueError, match="noise to have the shape of x_s"):
        q_sample_between(schedule, x, 3, 5, x[:1])
    with pytest.raises(ValueError, match=r"q_posterior_mean_from_epsilon: alpha_t = 0 at time 1 \(zero terminal SNR\)"):
        q_posterior_mean_from_epsilon(Schedule.from_betas([0.5, 1.0]), x, [0, 1], x)
