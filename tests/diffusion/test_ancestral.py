"""DDPM, DDIM and what lies between: rows of coefficients against Bayes' rule and the printed equations, in 50 digits.

Fed with the perfect model of Gaussian data, the samplers are affine maps of (x_T, z_1, z_2, ...). So the distribution
of their output is known exactly, without drawing: one row of the batch for each of these inputs measures its factor.
"""

from itertools import pairwise

import numpy as np
import pytest
from convergence import slope, weak_errors
from diffusion_laws import MP, bayes, exact_alphas_cumprod, schedules, song_step, walks
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minidiff.diffusion import (
    DDIM,
    DDPM,
    DDPM_LARGE,
    EDM,
    EULER,
    SPACINGS,
    Ancestral,
    Gaussian,
    StraightLine,
    make_schedule,
    path,
    q_posterior_mean_from_epsilon,
    q_posterior_mean_variance,
    q_sample,
    sample,
    timesteps,
)

FALSE_ALARM = 1e-7
etas = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


def rows(sampler, schedule, times):
    """(t, s, row) of each step of a walk, levels t and s."""
    way = path(schedule, times)
    return [(t, s, sampler.row(t, s, h)) for t, s, h in zip(way.levels, way.levels[1:], way.steps)]


def factors(sampler, schedule, times):
    """What each step multiplies x_0, eps and z by: x_t = alpha_t x_0 + sigma_t eps put into its row."""
    return [(row.x * t.alpha + row.predictions[0], row.x * t.sigma, row.noise) for t, s, row in rows(sampler, schedule, times)]


def walk_factors(sampler, schedule, times, std, **options):
    """The factors of x_T and of each z in the sampler's output, for the perfect model of N(0, std^2)."""
    draws = len(times) - 1 if sampler.eta > 0 else 0
    inputs = np.eye(1 + draws)
    model = Gaussian(0.0, std).model(schedule)
    return sample(model, schedule, inputs[0], times, sampler, noise=list(inputs[1:]), **options)


# -- one step --------------------------------------------------------------------------------------------------------


@given(schedules(), etas, st.data())
def test_a_step_is_song_s_equation_for_the_next_entry_of_the_list(schedule, eta, data):
    """Eq. 12 and 16 as printed, in 50 digits; s is the next visited time, and abar_s = 1 after the last."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    for i, (t, s) in enumerate(pairwise([*times, None])):
        abar_s = MP.mpf(1) if s is None else abars[s]
        exact = song_step(MP.mpf(eta), abar_s, abars[t])
        got = factors(Ancestral(eta), schedule, times)[i]
        np.testing.assert_allclose(got, [float(factor) for factor in exact], rtol=1e-12, atol=1e-150)


@given(schedules(), etas, st.data())
def test_every_factor_of_a_row_is_right_to_the_last_digits(schedule, eta, data):
    """x_t, x_0 and z in Song's equation, solved for in 50 digits: within 60 units in the last place, also where steps are short."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    for i, (t, s) in enumerate(pairwise([*times, None])):
        abar_s = MP.mpf(1) if s is None else abars[s]
        of_start, of_epsilon, of_noise = song_step(MP.mpf(eta), abar_s, abars[t])
        x = of_epsilon / MP.sqrt(1 - abars[t])
        row = rows(Ancestral(eta), schedule, times)[i][2]
        exact = [x, of_start - x * MP.sqrt(abars[t]), of_noise]
        got = [row.x, row.predictions[0], row.noise]
        np.testing.assert_allclose(got, [float(value) for value in exact], rtol=60 * 2.0**-52, atol=1e-150)


@given(schedules(), etas, st.data())
def test_every_eta_keeps_the_marginals(schedule, eta, data):
    """Put x_0 and eps of variance 1 through a step: mean and variance of q(x_s | x_0) come out, whatever the eta."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    for i, (of_start, of_epsilon, of_noise) in enumerate(factors(Ancestral(eta), schedule, times)):
        abar_s = abars[times[i + 1]] if i + 1 < len(times) else MP.mpf(1)
        assert of_start == pytest.approx(float(MP.sqrt(abar_s)), rel=1e-12)
        assert of_epsilon**2 + of_noise**2 == pytest.approx(float(1 - abar_s), rel=1e-13)


@given(schedules(max_beta=0.9, max_steps=10), st.floats(-3, 3), st.floats(-3, 3), st.data())
def test_eta_one_is_the_posterior_of_the_visited_times(schedule, x_start, noise, data):
    """Bayes' rule between two entries of any list, in 50 digits: the same mean, and its standard deviation."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    for (t, s), (_, _, row) in zip(pairwise(times), rows(DDPM, schedule, times)):
        x_t = MP.sqrt(abars[t]) * x_start + MP.sqrt(1 - abars[t]) * noise
        mean, variance = bayes(x_start, x_t, abars[s], abars[t])
        assert row.x * float(x_t) + row.predictions[0] * x_start == pytest.approx(float(mean), rel=1e-12, abs=1e-12)
        assert row.noise == pytest.approx(float(MP.sqrt(variance)), rel=1e-13)


def test_ddim_with_eta_one_and_all_steps_is_ddpm():
    """With every time visited, v^2 is the posterior variance of the full schedule, and the mean is its mean."""
    schedule = make_schedule("squaredcos_cap_v2", 40)
    x_start, noise = np.random.default_rng().standard_normal((2, 6))
    for t, (_, _, row) in zip(range(39, -1, -1), rows(DDPM, schedule, range(39, -1, -1))):
        assert row.noise**2 == pytest.approx(schedule.posterior_variance[t], rel=1e-13)
        x_t = q_sample(schedule, x_start, t, noise)
        mean = q_posterior_mean_variance(schedule, x_start, x_t, t)[0]
        np.testing.assert_allclose(row.x * x_t + row.predictions[0] * x_start, mean, rtol=1e-11, atol=1e-12)


@given(schedules(), st.data())
def test_fixed_large_adds_the_variance_of_the_step(schedule, data):
    """The mean of eta = 1 with noise of variance 1 - abar_t / abar_s, more than the posterior's; none at the end."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    large, small = rows(DDPM_LARGE, schedule, times), rows(DDPM, schedule, times)
    for (t, s), (_, _, row) in zip(pairwise(times), large):
        assert row.noise**2 == pytest.approx(float(1 - abars[t] / abars[s]), rel=1e-13)
    assert large[-1][2].noise == 0
    assert all(a.noise >= b.noise * (1 - 1e-15) and a[:2] == b[:2] for (_, _, a), (_, _, b) in zip(large, small))


@given(st.sets(st.floats(0.001, 0.999), min_size=1, max_size=20))
def test_ddim_is_euler_s_method_in_x_over_alpha(times):
    """x^_s = x^_t + (sigma^_s - sigma^_t) eps has the same factors of x_0 and eps: alpha_s and sigma_s."""
    way = path(StraightLine(), sorted(times, reverse=True))
    for t, s, h, euler in zip(way.levels, way.levels[1:], way.steps, EULER.plan(way).moves):
        ddim = DDIM.row(t, s, h)
        of_euler = (euler.settle.x * t.alpha, euler.settle.x * t.sigma + euler.settle.predictions[0])
        of_ddim = (ddim.x * t.alpha + ddim.predictions[0], ddim.x * t.sigma)
        # sigma_s is what two terms of the size of sigma_t / alpha_t leave
        np.testing.assert_allclose(of_euler, (s.alpha, s.sigma), rtol=1e-12, atol=2e-15 / t.alpha)
        np.testing.assert_allclose(of_ddim, (s.alpha, s.sigma), rtol=1e-12, atol=1e-15)


# -- walks -----------------------------------------------------------------------------------------------------------


def test_ddpm_is_algorithm_2():
    """Ho et al. 2020, Algorithm 2, written out with the epsilon form of the mean, for a model that is not linear."""
    schedule = make_schedule("linear", 30)

    def model(x, t):
        return np.tanh(x) * (1 + t.reshape(-1, 1) / 30)

    rng = np.random.default_rng()
    x, noise = rng.standard_normal((5, 7)), rng.standard_normal((29, 5, 7))
    expected = x
    for i, t in enumerate(range(29, -1, -1)):
        z = noise[i] if t > 0 else 0
        mean = q_posterior_mean_from_epsilon(schedule, expected, t, model(expected, np.full(5, t)))
        expected = mean + np.sqrt(schedule.posterior_variance[t]) * z
    got = sample(model, schedule, x, timesteps(30, 30), DDPM, noise=noise)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 13, 50])
def test_ddim_on_gaussian_data_is_the_known_affine_map(spacing, steps):
    """Step by step: x_s - m_s = c (x_t - m_t) with c in closed form, for lists that do not divide T too."""
    schedule, mean, std = make_schedule("linear", 200), 0.7, 0.4
    times = timesteps(200, steps, spacing)
    seen = []
    result = sample(
        Gaussian(mean, std).model(schedule),
        schedule,
        np.array([-1.5, 0.0, 2.0]),
        times,
        DDIM,
        callback=lambda i, t, x, x_start: seen.append((i, t, x)),
    )
    assert [(i, t) for i, t, _ in seen] == list(enumerate(times.tolist()))
    abars = exact_alphas_cumprod(schedule)
    for i, t in enumerate(times.tolist()):
        after, abar_s = (seen[i + 1][2], abars[times[i + 1]]) if i + 1 < steps else (result, MP.mpf(1))
        c = (MP.sqrt(abar_s * abars[t]) * std**2 + MP.sqrt((1 - abar_s) * (1 - abars[t]))) / (
            abars[t] * std**2 + 1 - abars[t]
        )
        expected = float(MP.sqrt(abar_s)) * mean + float(c) * (seen[i][2] - float(MP.sqrt(abars[t])) * mean)
        np.testing.assert_allclose(after, expected, rtol=1e-11, atol=1e-12)


def test_ddim_converges_to_the_probability_flow():
    """The limit maps quantiles to quantiles, (x - m)/sd unchanged; ten times the steps, about a tenth of the error."""
    schedule, mean, std = make_schedule("linear", 1000), -0.3, 0.5
    level = schedule.level(999)
    start_mean, start_variance = level.alpha * mean, level.alpha**2 * std**2 + level.sigma**2
    expected = mean + std * (np.array([-2.0, 1.0]) - start_mean) / np.sqrt(start_variance)
    errors = [
        np.abs(
            sample(
                Gaussian(mean, std).model(schedule),
                schedule,
                np.array([-2.0, 1.0]),
                timesteps(1000, steps, "linspace"),
                DDIM,
            )
            - expected
        ).max()
        for steps in (10, 100, 1000)
    ]
    assert errors[1] < errors[0] / 5 and errors[2] < errors[1] / 5 and errors[2] < 5e-3


@pytest.mark.parametrize("name", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("steps, spacing", [(1, "trailing"), (7, "trailing"), (13, "linspace"), (60, "leading")])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_output_variance_is_that_of_the_recursion(name, steps, spacing, eta):
    """Var_s = (a g + b h)^2 Var_t + sigma^2 in 50 digits, g, h the perfect model's gains; against measured factors."""
    schedule, std = make_schedule(name, 60), 0.6
    times = timesteps(60, steps, spacing)
    abars = exact_alphas_cumprod(schedule)
    variance = MP.mpf(1)
    for i, t in enumerate(times.tolist()):
        abar_t, abar_s = abars[t], abars[times[i + 1]] if i + 1 < steps else MP.mpf(1)
        a, b, sigma = song_step(MP.mpf(eta), abar_s, abar_t)
        total = abar_t * MP.mpf(std) ** 2 + 1 - abar_t
        step = a * MP.sqrt(abar_t) * MP.mpf(std) ** 2 / total + b * MP.sqrt(1 - abar_t) / total
        variance = step**2 * variance + sigma**2
    got = walk_factors(Ancestral(eta), schedule, times, std)
    assert (got**2).sum() == pytest.approx(float(variance), rel=1e-10)


def test_more_steps_come_closer_to_the_data():
    """The exact output variance of DDPM on Gaussian data approaches the data's as the list grows."""
    schedule, std = make_schedule("linear", 1000), 0.5
    errors = [
        abs((walk_factors(DDPM, schedule, timesteps(1000, steps), std) ** 2).sum() / std**2 - 1)
        for steps in (10, 50, 250, 1000)
    ]
    assert all(fine < coarse / 2.5 for coarse, fine in pairwise(errors)) and errors[-1] < 0.02


@pytest.mark.parametrize("sampler", [DDPM, DDPM_LARGE, Ancestral(0.4), DDIM], ids=str)
def test_samples_have_the_mean_and_variance_of_the_recursion(sampler):
    """20,000 fresh draws: mean (normal) and variance (chi-square) within quantiles of false alarm 1e-7 each."""
    schedule, mean, std, count = make_schedule("linear", 100, beta_end=0.1), 0.5, 0.4, 20_000
    times = timesteps(100, 12)
    rng = np.random.default_rng()
    x = sample(
        Gaussian(mean, std).model(schedule), schedule, rng.standard_normal(count), times, sampler, generator=rng
    )
    variance = (walk_factors(sampler, schedule, times, std) ** 2).sum()
    silence = [np.zeros(1)] * (len(times) - 1 if sampler.eta > 0 else 0)  # an affine map of the mean noise is the mean
    center = sample(Gaussian(mean, std).model(schedule), schedule, np.zeros(1), times, sampler, noise=silence)[0]
    z = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(x.mean() - center) <= z * np.sqrt(variance / count)
    low, high = stats.chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], count - 1) / (count - 1)
    assert low <= x.var(ddof=1) / variance <= high


@pytest.mark.parametrize("process, first, last", [(EDM, 80.0, 0.02), (StraightLine(), 0.98, 0.02)], ids=["edm", "line"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_mean_and_variance_converge_with_order_one(process, first, last, eta):
    """Exact moments on Gaussian data, without drawing: the error halves with the step. Weak order 1 for every eta."""
    counts = [80, 160, 320]
    errors = weak_errors(Ancestral(eta), Gaussian(0.3, 0.5), process, first, last, counts)
    assert 0.9 < slope(counts, errors) < 1.1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(eta=-0.1), r"eta between 0 \(DDIM\) and 1 \(DDPM\), got -0.1"),
        (dict(eta=1.1), "got 1.1"),
        (dict(eta=float("nan")), "got nan"),
        (
            dict(eta=1.0, variance_type="large"),
            "unknown variance_type 'large'; choose from fixed_small, fixed_large",
        ),
        (dict(eta=0.5, variance_type="fixed_large"), "'fixed_large' belongs to DDPM, eta = 1; got eta = 0.5"),
    ],
)
def test_bad_samplers_are_refused(arguments, message):
    """The family is 0 <= eta <= 1; outside, 1 - abar_s - v^2 could be negative."""
    with pytest.raises(ValueError, match=message):
        Ancestral(**arguments)
