"""DDPM and DDIM on any list of times: against Bayes' rule, the printed equations, and data with a perfect model.

Fed with the perfect model of Gaussian data, the samplers are affine maps of (x_T, z_1, z_2, ...). So the distribution
of their output is known exactly, without drawing: one row of the batch for each of these inputs measures its factor.
"""

from itertools import pairwise

import numpy as np
import pytest
from diffusion_laws import MP, bayes, exact_alphas_cumprod, schedules, song_step, walks
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minidiff.diffusion import (
    DDIM,
    DDPM,
    DDPM_LARGE,
    PREDICTION_TYPES,
    SPACINGS,
    Ancestral,
    gaussian_denoiser,
    gaussian_epsilon,
    gaussian_marginal,
    make_schedule,
    predict_noise_from_start,
    predict_v,
    q_posterior_mean_from_epsilon,
    q_posterior_mean_variance,
    q_sample,
    respace,
    sample,
    timesteps,
)

ONE, ZERO = np.ones(1), np.zeros(1)
FALSE_ALARM = 1e-7
etas = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


def factors(sampler, chain, k):
    """What a step multiplies x_0, eps and z by."""
    return (
        sampler.step(chain, k, ONE, ZERO, ZERO)[0],
        sampler.step(chain, k, ZERO, ONE, ZERO)[0],
        sampler.step(chain, k, ZERO, ZERO, ONE)[0],
    )


def walk_factors(sampler, schedule, times, std, **options):
    """The factors of x_T and of each z in the sampler's output, for the perfect model of N(0, std^2)."""
    draws = len(times) - 1 if sampler.eta > 0 else 0
    rows = np.eye(1 + draws)
    model = gaussian_epsilon(schedule, 0.0, std)
    return sample(model, schedule, rows[0], times, sampler, noise=list(rows[1:]), **options)


# -- one step --------------------------------------------------------------------------------------------------------


@given(schedules(), etas, st.data())
def test_a_step_is_song_s_equation_for_the_next_entry_of_the_list(schedule, eta, data):
    """Eq. 12 and 16 as printed, in 50 digits; s is the next visited time, and abar_s = 1 after the last."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    chain = respace(schedule, times)
    for i, t in enumerate(times):
        abar_s = abars[times[i + 1]] if i + 1 < len(times) else MP.mpf(1)
        exact = song_step(MP.mpf(eta), abar_s, abars[t])
        np.testing.assert_allclose(
            factors(Ancestral(eta), chain, len(times) - 1 - i),
            [float(factor) for factor in exact],
            rtol=1e-12,
            atol=1e-150,
        )


@given(schedules(), etas, st.data())
def test_every_eta_keeps_the_marginals(schedule, eta, data):
    """Put x_0 and eps of variance 1 through a step: mean and variance of q(x_s | x_0) come out, whatever the eta."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    chain = respace(schedule, times)
    for i in range(len(times)):
        abar_s = abars[times[i + 1]] if i + 1 < len(times) else MP.mpf(1)
        of_start, of_epsilon, of_noise = factors(Ancestral(eta), chain, len(times) - 1 - i)
        assert of_start == pytest.approx(float(MP.sqrt(abar_s)), rel=1e-12)
        assert of_epsilon**2 + of_noise**2 == pytest.approx(float(1 - abar_s), rel=1e-13)


@given(schedules(max_beta=0.9, max_steps=10), st.floats(-3, 3), st.floats(-3, 3), st.data())
def test_eta_one_is_the_posterior_of_the_visited_times(schedule, x_start, noise, data):
    """Bayes' rule between two entries of any list, in 50 digits: the same mean, and sigma its standard deviation."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    chain = respace(schedule, times)
    for i, (t, s) in enumerate(pairwise(times)):
        k = len(times) - 1 - i
        x_t = MP.sqrt(abars[t]) * x_start + MP.sqrt(1 - abars[t]) * noise
        mean, variance = bayes(x_start, x_t, abars[s], abars[t])
        got = DDPM.step(chain, k, np.array([x_start]), np.array([noise]), ZERO)[0]
        assert got == pytest.approx(float(mean), rel=1e-12, abs=1e-12)
        assert factors(DDPM, chain, k)[2] == pytest.approx(float(MP.sqrt(variance)), rel=1e-13)


def test_ddim_with_eta_one_and_all_steps_is_ddpm():
    """With every time visited, sigma^2 is the posterior variance of the full schedule, and the mean is its mean."""
    schedule = make_schedule("squaredcos_cap_v2", 40)
    chain = respace(schedule, range(39, -1, -1))
    np.testing.assert_allclose(DDPM.sigma(chain) ** 2, schedule.posterior_variance, rtol=1e-13)
    x_start, noise = np.random.default_rng().standard_normal((2, 6))
    for t in range(40):
        x_t = q_sample(schedule, x_start, t, noise)
        np.testing.assert_allclose(
            DDPM.step(chain, t, x_start, noise, None),
            q_posterior_mean_variance(schedule, x_start, x_t, t)[0],
            rtol=1e-11,
            atol=1e-12,
        )


@given(schedules(), st.data())
def test_fixed_large_adds_the_variance_of_the_step(schedule, data):
    """The mean of eta = 1 with noise of variance 1 - abar_t / abar_s, more than the posterior's; none at the end."""
    times = data.draw(walks(schedule.num_train_timesteps))
    abars = exact_alphas_cumprod(schedule)
    chain = respace(schedule, times)
    sigma = DDPM_LARGE.sigma(chain)[::-1]
    for i, (t, s) in enumerate(pairwise(times)):
        assert sigma[i] ** 2 == pytest.approx(float(1 - abars[t] / abars[s]), rel=1e-13)
    assert sigma[-1] == 0
    assert (DDPM_LARGE.sigma(chain) >= DDPM.sigma(chain) * (1 - 1e-15)).all()
    np.testing.assert_array_equal(DDPM_LARGE.direction(chain), DDPM.direction(chain))


# -- the walk --------------------------------------------------------------------------------------------------------


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
        gaussian_epsilon(schedule, mean, std),
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
    start_mean, start_variance = gaussian_marginal(schedule, mean, std, 999)
    expected = mean + std * (np.array([-2.0, 1.0]) - start_mean) / np.sqrt(start_variance)
    errors = [
        np.abs(
            sample(
                gaussian_epsilon(schedule, mean, std),
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
        gaussian_epsilon(schedule, mean, std), schedule, rng.standard_normal(count), times, sampler, generator=rng
    )
    variance = (walk_factors(sampler, schedule, times, std) ** 2).sum()
    silence = [ZERO] * (len(times) - 1 if sampler.eta > 0 else 0)  # an affine map of the mean noise is the mean
    center = sample(gaussian_epsilon(schedule, mean, std), schedule, ZERO, times, sampler, noise=silence)[0]
    z = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(x.mean() - center) <= z * np.sqrt(variance / count)
    low, high = stats.chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], count - 1) / (count - 1)
    assert low <= x.var(ddof=1) / variance <= high


@pytest.mark.parametrize("sampler", [DDPM, DDIM], ids=str)
def test_all_prediction_types_walk_the_same_way(sampler):
    """The same knowledge told as epsilon, x_0 or v gives the same samples."""
    schedule = make_schedule("linear", 40)
    denoise = gaussian_denoiser(schedule, 0.3, 0.5)

    def velocity(x, t):
        x_start = denoise(x, t)
        return predict_v(schedule, x_start, t, predict_noise_from_start(schedule, x, t, x_start))

    models = {"epsilon": gaussian_epsilon(schedule, 0.3, 0.5), "sample": denoise, "v_prediction": velocity}
    rng = np.random.default_rng()
    x, noise = rng.standard_normal((3, 4)), rng.standard_normal((12, 3, 4))
    results = [
        sample(
            models[kind],
            schedule,
            x,
            timesteps(40, 13),
            sampler,
            prediction_type=kind,
            noise=noise if sampler.eta else None,
        )
        for kind in PREDICTION_TYPES
    ]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-9, atol=1e-10)


def test_the_last_step_gives_the_predicted_data():
    """abar_prev = 1 after the last entry, and no noise: for every sampler and list the result is the last x_0."""
    schedule = make_schedule("linear", 50)
    rng, told = np.random.default_rng(), []
    for sampler in (DDPM, DDPM_LARGE, DDIM):
        for times in ([30], [49, 20, 3], [7, 0]):
            result = sample(
                gaussian_epsilon(schedule, 0.0, 1.0),
                schedule,
                rng.standard_normal((2, 3)),
                times,
                sampler,
                generator=rng,
                callback=lambda *news: told.append(news),
            )
            i, t, _, x_start = told[-1]
            assert (i, t) == (len(times) - 1, times[-1])
            np.testing.assert_array_equal(result, x_start)


def test_the_model_sees_the_times_of_the_list():
    """(N,) int64 on the host, at each step an entry of the list; the callback sees the step, the time and its x_t."""
    schedule, seen, told = make_schedule("linear", 50), [], []

    def model(x, t):
        seen.append((x, t))
        return 0.1 * x

    x = np.ones((3, 2), np.float32)
    sample(model, schedule, x, [40, 17, 2], DDIM, callback=lambda *news: told.append(news))
    assert [t.tolist() for _, t in seen] == [[40] * 3, [17] * 3, [2] * 3]
    assert all(type(t) is np.ndarray and t.dtype == np.int64 for _, t in seen)
    assert [(i, t) for i, t, _, _ in told] == [(0, 40), (1, 17), (2, 2)]
    assert all(
        from_callback is from_model for (_, _, from_callback, _), (from_model, _) in zip(told, seen, strict=True)
    )


def test_clipping_x_0_derives_epsilon_again():
    """With clip_denoised the DDPM mean is the posterior mean of the clipped x_0; the model's epsilon is not used."""
    schedule = make_schedule("linear", 50, beta_end=0.2)
    chain, told = respace(schedule, [40, 20]), []
    x = np.array([-3.0, 0.1, 3.0])
    result = sample(
        lambda x, t: 0.1 * x,
        schedule,
        x,
        [40, 20],
        DDPM,
        noise=[np.zeros(3)],
        clip_denoised=True,
        callback=lambda *news: told.append(news),
    )
    x_start = told[0][3]
    assert x_start[0] == -1 and x_start[2] == 1 and -1 < x_start[1] < 1
    np.testing.assert_allclose(told[1][2], q_posterior_mean_variance(chain, x_start, x, 1)[0], rtol=1e-12)
    assert np.abs(result).max() <= 1
    assert np.abs(sample(lambda x, t: 0.1 * x, schedule, x, [40, 20], DDIM)).max() > 1


def test_a_generator_draws_what_noise_would_give():
    """Noise drawn beforehand from a generator in the same state gives the same bits; the last step draws nothing."""
    schedule = make_schedule("linear", 50)
    model = gaussian_epsilon(schedule, 0.0, 0.5)
    x = np.random.default_rng().standard_normal((2, 3), dtype=np.float32)
    seed = np.random.default_rng().integers(2**62)
    first, second = np.random.default_rng(seed), np.random.default_rng(seed)
    drawn = sample(model, schedule, x, [40, 20, 5], DDPM, generator=first)
    given_noise = sample(
        model, schedule, x, [40, 20, 5], DDPM, noise=[second.standard_normal((2, 3), np.float32) for _ in range(2)]
    )
    np.testing.assert_array_equal(drawn, given_noise)
    assert first.random() == second.random()


def test_ddim_draws_nothing():
    """eta = 0: the generator is not touched, and none is needed."""
    schedule = make_schedule("linear", 50)
    x = np.ones((2, 3))
    model = gaussian_epsilon(schedule, 0.0, 0.5)
    np.testing.assert_array_equal(
        sample(model, schedule, x, [40, 20, 5], DDIM, generator=object()),
        sample(model, schedule, x, [40, 20, 5], DDIM, noise=[]),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sampler", [DDPM, DDPM_LARGE, Ancestral(0.5), DDIM], ids=str)
@pytest.mark.parametrize("clip_denoised", [False, True])
def test_sampling_keeps_the_dtype_and_does_not_write_into_x(dtype, sampler, clip_denoised):
    """float32 all the way, or float64 all the way; x may be read-only."""
    schedule, kinds = make_schedule("linear", 50), set()
    x = np.random.default_rng().standard_normal((2, 3)).astype(dtype)
    x.setflags(write=False)
    result = sample(
        gaussian_epsilon(schedule, 0.0, 0.5),
        schedule,
        x,
        [40, 20, 5],
        sampler,
        generator=np.random.default_rng(),
        clip_denoised=clip_denoised,
        callback=lambda i, t, x, x_start: kinds.update([x.dtype, x_start.dtype]),
    )
    assert kinds == {np.dtype(dtype)} and result.dtype == dtype


# -- refusals --------------------------------------------------------------------------------------------------------

SCHEDULE = make_schedule("linear", 50)
X = np.zeros((2, 3))


def identity(x, t):
    return x


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(timesteps=[3, 5]), ValueError, "strictly decreasing times, the noisiest first, got 3 before 5"),
        (dict(timesteps=[5, 5]), ValueError, "got 5 before 5"),
        (dict(timesteps=[5, -1]), ValueError, "-1 is outside the schedule, expected 0 ... 49"),
        (dict(timesteps=[50, 3]), ValueError, "50 is outside the schedule"),
        (dict(timesteps=[]), ValueError, "at least one time"),
        (dict(timesteps=[5.0, 3.0]), TypeError, "expected integers"),
        (dict(x=np.zeros((2, 3), np.int64)), TypeError, "x to be floating-point noise, got dtype int64"),
        (dict(x=np.float64(0)), ValueError, r"expected x of shape \(N, ...\)"),
        (dict(x=1.0), ValueError, r"expected x of shape \(N, ...\), got 1.0"),
        (
            dict(prediction_type="noise"),
            ValueError,
            "sample: unknown prediction_type 'noise'; choose from epsilon, sample",
        ),
        (
            dict(sampler=DDPM),
            ValueError,
            "eta > 0 adds fresh noise at 2 steps; give a generator, or the arrays as noise",
        ),
        (
            dict(sampler=DDPM, noise=[X]),
            ValueError,
            r"expected 2 arrays of noise, one for each step but the last .*, got 1",
        ),
        (dict(noise=[X, X]), ValueError, "expected 0 arrays of noise"),
        (
            dict(sampler=DDPM, noise=[X, X], generator=np.random.default_rng()),
            ValueError,
            "either a generator or noise, got both",
        ),
        (
            dict(sampler=DDPM, noise=[X, X[:1]]),
            ValueError,
            r"expected noise to have the shape of x, \(2, 3\), got \(1, 3\)",
        ),
        (
            dict(sampler=DDPM, noise=[X, X.astype(np.float32)]),
            TypeError,
            "noise to have the dtype of x, float64, got float32",
        ),
    ],
)
def test_bad_walks_are_refused_before_the_first_step(arguments, error, message):
    """One clear message; the model has not been called."""
    calls = []
    arguments = dict(x=X, timesteps=[40, 20, 5], sampler=DDIM) | arguments
    with pytest.raises(error, match=message):
        sample(lambda x, t: calls.append(t) or x, SCHEDULE, **arguments)
    assert calls == []


@pytest.mark.parametrize(
    "answer, error, message",
    [
        (
            lambda x: x[:, :1],
            ValueError,
            r"step 1 \(time 20\): expected model_output to have the shape of x, \(2, 3\), got \(2, 1\)",
        ),
        (
            lambda x: x.astype(np.float32),
            TypeError,
            r"step 1 \(time 20\): expected model_output to have the dtype of x",
        ),
        (
            lambda x: x + [[0, np.nan, 0]] * 2,
            FloatingPointError,
            r"step 1 \(time 20\): the model returned NaN or infinity",
        ),
        (
            lambda x: x - [[0, 0, np.inf], [0, 0, 0]],
            FloatingPointError,
            r"step 1 \(time 20\): the model returned NaN or infinity",
        ),
    ],
)
def test_a_model_that_goes_wrong_is_named_with_its_step(answer, error, message):
    """The error says at which step and time the answer was no answer."""
    with pytest.raises(error, match=message):
        sample(lambda x, t: answer(x) if t[0] == 20 else x, SCHEDULE, X, [40, 20, 5], DDIM)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(eta=-0.1), r"eta between 0 \(DDIM\) and 1 \(DDPM\), got -0.1"),
        (dict(eta=1.1), "got 1.1"),
        (dict(eta=float("nan")), "got nan"),
        (
            dict(eta=1.0, variance_type="learned"),
            "unknown variance_type 'learned'; choose from fixed_small, fixed_large",
        ),
        (dict(eta=0.5, variance_type="fixed_large"), "'fixed_large' belongs to DDPM, eta = 1; got eta = 0.5"),
    ],
)
def test_bad_samplers_are_refused(arguments, message):
    """The family is 0 <= eta <= 1; outside, 1 - abar_s - sigma^2 could be negative."""
    with pytest.raises(ValueError, match=message):
        Ancestral(**arguments)
