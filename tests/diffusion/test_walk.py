"""The walk: what it hands to models and callers, what it takes back, and what it refuses; large arrays in one pass, bit for bit."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.autograd import Tensor
from minidiff.diffusion import (
    DDIM,
    DDPM,
    DDPM_LARGE,
    DPM_SOLVER_3,
    DPMPP_2M,
    DPMPP_2S_ANCESTRAL,
    DPMPP_3M,
    DPMPP_SDE,
    EDM,
    EULER,
    HEUN,
    PREDICTION_TYPES,
    Ancestral,
    Gaussian,
    Karras,
    Move,
    Plan,
    Row,
    StraightLine,
    arrays,
    make_schedule,
    path,
    predict_noise_from_start,
    q_posterior_mean_variance,
    respace,
    sample,
    timesteps,
    trajectory,
)
from minidiff.diffusion.samplers import pieces

# -- what models and callers see -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [DDPM, DDIM, HEUN, DPM_SOLVER_3, DPMPP_2S_ANCESTRAL], ids=str)
def test_all_prediction_types_walk_the_same_way(sampler):
    """The same knowledge told as epsilon, x_0, v, score or flow gives the same samples, in every family of rows."""
    schedule, times = make_schedule("linear", 40), timesteps(40, 13)
    rng = np.random.default_rng()
    x, noise = rng.standard_normal((3, 4)), rng.standard_normal((sampler.plan(path(schedule, times)).draws, 3, 4))
    data = Gaussian(0.3, 0.5)
    expected, *others = [
        sample(data.model(schedule, kind), schedule, x, times, sampler, prediction_type=kind, noise=noise) for kind in PREDICTION_TYPES
    ]
    for other in others:
        np.testing.assert_allclose(other, expected, rtol=1e-9, atol=1e-10)


def test_the_last_step_gives_the_predicted_data():
    """abar_prev = 1 after the last entry, and no noise: for every sampler and list the result is the last x_0."""
    schedule = make_schedule("linear", 50)
    rng, told = np.random.default_rng(), []
    for sampler in (DDPM, DDPM_LARGE, DDIM):
        for times in ([30], [49, 20, 3], [7, 0]):
            result = sample(
                Gaussian(0.0, 1.0).model(schedule),
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
    told = []
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
    chain = respace(schedule, [40, 20])
    np.testing.assert_allclose(told[1][2], q_posterior_mean_variance(chain, x_start, x, 1)[0], rtol=1e-12)
    assert np.abs(result).max() <= 1
    assert np.abs(sample(lambda x, t: 0.1 * x, schedule, x, [40, 20], DDIM)).max() > 1


def test_a_generator_draws_what_noise_would_give():
    """Noise drawn beforehand from a generator in the same state gives the same bits; the last step draws nothing."""
    schedule = make_schedule("linear", 50)
    model = Gaussian(0.0, 0.5).model(schedule)
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
    model = Gaussian(0.0, 0.5).model(schedule)
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
        Gaussian(0.0, 0.5).model(schedule),
        schedule,
        x,
        [40, 20, 5],
        sampler,
        generator=np.random.default_rng(),
        clip_denoised=clip_denoised,
        callback=lambda i, t, x, x_start: kinds.update([x.dtype, x_start.dtype]),
    )
    assert kinds == {np.dtype(dtype)} and result.dtype == dtype


def test_a_trajectory_is_the_walk_itself():
    """The states that are recorded lead to the same bits as `sample`, and begin with x itself; predictions belong to the times."""
    schedule, x = make_schedule("linear", 50), np.random.default_rng().standard_normal((2, 3), dtype=np.float32)
    arguments = (Gaussian(0.1, 0.5).model(schedule), schedule, x, [40, 20, 5])
    for sampler in (DDIM, HEUN, DPMPP_3M):
        record = trajectory(*arguments, sampler)
        assert record.states[0] is x and len(record.states) == 4 and len(record.predictions) == 3 and record.times == [40, 20, 5]
        np.testing.assert_array_equal(record.states[-1], sample(*arguments, sampler))


def test_arrived_may_replace_x_at_every_level():
    """Called with the step, the level reached and x; what it returns is what the model sees next."""
    schedule, seen, told = make_schedule("linear", 50), [], []

    def arrived(i, level, x):
        told.append((i, level.sigma))
        return np.full_like(x, i)

    result = sample(lambda x, t: seen.append(x) or x, schedule, np.ones((1, 2)), [40, 20, 5], DDIM, arrived=arrived)
    assert told == [(0, schedule.level(20).sigma), (1, schedule.level(5).sigma), (2, 0.0)]
    assert [x[0, 0] for x in seen] == [1, 0, 1] and result[0, 0] == 2


def test_shift_mean_takes_the_place_of_the_mean_and_keeps_the_noise():
    """It gets the mean, the variance of the noise, x_t and t; the noise is added to what it returns."""
    schedule, told = make_schedule("linear", 50), []
    x, z = np.random.default_rng().standard_normal((2, 4, 3))

    def shift(mean, variance, x_t, t):
        told.append((mean, variance, x_t, t))
        return mean + 2

    model = Gaussian(0.0, 0.5).model(schedule)
    with_noise = []
    sample(model, schedule, x, [30, 10], DDPM, noise=[z], shift_mean=shift, arrived=lambda i, level, x: with_noise.append(x) or x)
    row = DDPM.plan(path(schedule, [30, 10])).moves[0].settle
    x_start = Gaussian(0.0, 0.5).start(x, *schedule.level(30)[1:])
    np.testing.assert_allclose(told[0][0], row.x * x + row.predictions[0] * x_start, rtol=1e-12, atol=1e-14)
    assert told[0][1] == row.noise**2 and told[0][2] is x and told[0][3] == 30
    np.testing.assert_allclose(with_noise[0], told[0][0] + 2 + row.noise * z, rtol=1e-12, atol=1e-14)
    assert told[1][1] == 0


@pytest.mark.parametrize("sampler", [DDIM, EULER, DPMPP_2M], ids=str)
def test_keeping_epsilon_moves_x(sampler):
    """rederive_epsilon=False: the first step goes from alpha x_0' + sigma eps, x_0' clipped and eps as the model said."""
    schedule = make_schedule("linear", 50, beta_end=0.2)
    x = np.array([[-3.0, 0.1, 3.0]])
    eps = 0.1 * x
    t, s = schedule.level(40), schedule.level(20)
    x_start = ((x - t.sigma * eps) / t.alpha).clip(-1, 1)
    states = []
    sample(lambda x, t: 0.1 * x, schedule, x, [40, 20], sampler, clip_denoised=True, rederive_epsilon=False,
           arrived=lambda i, level, x: states.append(x) or x)
    np.testing.assert_allclose(states[0], s.alpha * x_start + s.sigma * eps, rtol=1e-12)


def test_clipping_holds_for_samplers_that_multiply_epsilon():
    """Heun's slopes after clipping: eps is what x and the clipped x_0 say, at both stages; written out."""
    schedule, x = make_schedule("linear", 50, beta_end=0.2), np.array([[-3.0, 0.1, 3.0]])
    t, s = schedule.level(40), schedule.level(20)

    def slope(x, level):
        start = ((x - level.sigma * 0.1 * x) / level.alpha).clip(-1, 1)
        return predict_noise_from_start(schedule, x, int(level.time), start)

    change = s.sigma / s.alpha - t.sigma / t.alpha
    first = slope(x, t)
    second = slope(s.alpha * (x / t.alpha + change * first), s)
    states = []
    sample(lambda x, t: 0.1 * x, schedule, x, [40, 20], HEUN, clip_denoised=True, arrived=lambda i, level, x: states.append(x) or x)
    np.testing.assert_allclose(states[0], s.alpha * (x / t.alpha + change * (first + second) / 2), rtol=1e-11)


def test_denoised_fn_comes_before_clipping():
    """x_0 -> denoised_fn -> clip: the last step shows the result."""
    schedule = make_schedule("linear", 50)
    result = sample(lambda x, t: 0 * x, schedule, np.array([[0.4, 0.9]]) * schedule.level(3).alpha, [3], DDIM, prediction_type="epsilon",
                    clip_denoised=True, denoised_fn=lambda x: 2 * x)
    np.testing.assert_allclose(result, [[0.8, 1.0]], rtol=1e-12)


@pytest.mark.parametrize("variance_type", ["learned", "learned_range"])
def test_a_model_may_say_the_variance_of_each_step(variance_type):
    """The answer that stands for beta, or beta~, gives DDPM_LARGE's noise, or DDPM's; the second half of the channels is that answer."""
    schedule, times = make_schedule("linear", 50), [40, 20, 5]
    rng = np.random.default_rng()
    x, noise = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 2, 3, 4))
    data = Gaussian(0.0, 0.5).model(schedule)
    sampler = Ancestral(1.0, variance_type)
    ranges = {move.level.time: move.log_variances for move in sampler.plan(path(schedule, times)).moves}
    for which, same in ((0, DDPM), (1, DDPM_LARGE)):
        def model(x, t, which=which):
            said = 2.0 * which - 1 if variance_type == "learned_range" else ranges[t[0]][which]
            return np.concatenate([data(x, t), np.full_like(x, said)], axis=1)

        got = sample(model, schedule, x, times, sampler, noise=noise)
        np.testing.assert_allclose(got, sample(data, schedule, x, times, same, noise=noise), rtol=1e-10)


@pytest.mark.parametrize("sampler", [DDIM, DDPM, HEUN, DPM_SOLVER_3, DPMPP_SDE, DPMPP_3M, Karras(2, s_churn=20.0)], ids=str)
def test_tensors_walk_as_arrays_do_and_carry_gradients(sampler):
    """The same values; and the gradient of the sum with respect to x_T is the difference quotient of the walk."""
    schedule, times = make_schedule("linear", 50), [40, 20, 5]
    rng = np.random.default_rng()
    noise = rng.standard_normal((sampler.plan(path(schedule, times)).draws, 1, 3))
    model = lambda x, t: 0.3 * x * x

    def walk(x):
        return sample(model, schedule, x, times, sampler, noise=[type(x)(z) if isinstance(x, Tensor) else z for z in noise])

    x = 0.1 * rng.standard_normal((1, 3))
    leaf = Tensor(x, requires_grad=True)
    out = walk(leaf)
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(out.data, walk(x), rtol=1e-12)
    out.sum().backward()
    step, direction = 1e-6, rng.standard_normal((1, 3))
    quotient = (walk(x + step * direction).sum() - walk(x - step * direction).sum()) / (2 * step)
    assert (leaf.grad.data * direction).sum() == pytest.approx(quotient, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("sampler", [DDIM, DDPM, HEUN, DPM_SOLVER_3, DPMPP_3M], ids=str)
def test_half_precision_stays_half_and_close(sampler):
    """float16 in, float16 out, within 100 roundings of the float64 walk."""
    schedule, times = make_schedule("linear", 50), [40, 20, 5]
    rng = np.random.default_rng()
    x, noise = rng.standard_normal((2, 3)), rng.standard_normal((sampler.plan(path(schedule, times)).draws, 2, 3))
    model = Gaussian(0.0, 0.5).model(schedule)
    got = sample(model, schedule, x.astype(np.float16), times, sampler, noise=noise.astype(np.float16))
    assert got.dtype == np.float16
    expected = sample(model, schedule, x.astype(np.float16).astype(float), times, sampler, noise=noise.astype(np.float16).astype(float))
    assert np.abs(got - expected).max() < 100 * 2.0**-11


def test_odd_layouts_walk_as_plain_ones():
    """Transposed, reversed and strided x, and a model that answers in another layout: the same numbers."""
    schedule, times, rng = make_schedule("linear", 50), [40, 20, 5], np.random.default_rng()
    x = rng.standard_normal((4, 6, 2))
    expected = sample(lambda x, t: 0.2 * x, schedule, x, times, DPM_SOLVER_3)
    for odd in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1].copy()[::-1]):
        for model in (lambda x, t: 0.2 * x, lambda x, t: np.asfortranarray(0.2 * x)):
            np.testing.assert_allclose(sample(model, schedule, odd, times, DPM_SOLVER_3), expected, rtol=1e-14)


# -- one pass over the memory ----------------------------------------------------------------------------------------

FAMILIES = [DDIM, DDPM, HEUN, Karras(2, s_churn=20.0), DPM_SOLVER_3, DPMPP_SDE, DPMPP_2M, DPMPP_3M]


@pytest.mark.parametrize("sampler", FAMILIES, ids=str)
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("clip_denoised", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pieces_give_the_bits_of_whole_arrays(monkeypatch, sampler, prediction_type, clip_denoised, dtype):
    """The readable walk and the one in pieces, with pieces of 16 elements of an array of 77: equal bits."""
    schedule, times = make_schedule("linear", 50), [40, 30, 20, 10, 5]
    rng = np.random.default_rng()
    x = rng.standard_normal((7, 11)).astype(dtype)
    noise = [z.astype(dtype) for z in rng.standard_normal((sampler.plan(path(schedule, times)).draws, 7, 11))]
    model = Gaussian(0.3, 0.5).model(schedule, prediction_type)
    options = dict(noise=noise, prediction_type=prediction_type, clip_denoised=clip_denoised)
    whole = sample(model, schedule, x, times, sampler, **options)
    calls = []
    monkeypatch.setattr(arrays, "BLOCK", 16)
    counted = pieces.add_up
    monkeypatch.setattr(pieces, "add_up", lambda *arguments: calls.append(1) or counted(*arguments))
    np.testing.assert_array_equal(sample(model, schedule, x, times, sampler, **options), whole)
    assert calls


@given(st.integers(1, 200), st.integers(1, 64), st.lists(st.sampled_from([0.0, 1.0, -0.3, 2.5]), min_size=3, max_size=3), st.booleans())
@settings(max_examples=50)
def test_one_pass_is_the_formula(size, block, factors, wanted):
    """Readings, clip and sum written with whole float64 arrays, for any size of array and piece; an array to spare is written over."""
    rng = np.random.default_rng()
    x, answer, earlier = rng.standard_normal((3, size))
    spare = [np.full(size, np.nan)]
    before, arrays.BLOCK = arrays.BLOCK, min(block, size - 1) or 1
    try:
        if size == 1:
            return
        terms = [(factors[0], x), (factors[1], pieces.NEWEST), (factors[2], earlier)]
        readings = [pieces.Reading(0.5, -1.5, True), pieces.Reading(0.3, 0.7)]
        prediction, total = pieces.read_and_combine("here", readings, x, answer, terms, wanted, spare)
    finally:
        arrays.BLOCK = before
    expected = 0.3 * x + 0.7 * (0.5 * x - 1.5 * answer).clip(-1, 1)
    np.testing.assert_allclose(total, factors[0] * x + factors[1] * expected + factors[2] * earlier, rtol=1e-13, atol=1e-13)
    if wanted:
        np.testing.assert_allclose(prediction, expected, rtol=1e-13, atol=1e-13)
    assert (prediction is not None) == wanted == (not spare)


def test_large_walks_write_into_nothing_of_the_caller(monkeypatch):
    """x, the noise and the model's own buffer are read-only or checked; a model may answer with one buffer again and again."""
    monkeypatch.setattr(arrays, "BLOCK", 16)
    schedule, times, rng = make_schedule("linear", 50), [40, 30, 20, 10, 5], np.random.default_rng()
    for sampler in FAMILIES:
        x, *noise = rng.standard_normal((1 + sampler.plan(path(schedule, times)).draws, 7, 11))
        for array in (x, *noise):
            array.setflags(write=False)
        buffer, seen = np.empty_like(x), []

        def model(x, t, buffer=buffer, seen=seen):
            seen.append((x, x.copy()))
            return np.multiply(x, 0.2, out=buffer)

        got = sample(model, schedule, x, times, sampler, noise=noise)
        np.testing.assert_array_equal(got, sample(lambda x, t: 0.2 * x, schedule, x, times, sampler, noise=noise))
        assert all((now == then).all() for now, then in seen)


def test_nan_in_any_piece_is_named_with_its_step(monkeypatch):
    """The last element of the last piece, in a walk in pieces."""
    monkeypatch.setattr(arrays, "BLOCK", 16)

    def model(x, t):
        out = 0.1 * x
        out[-1, -1] = np.nan if t[0] == 20 else 0
        return out

    with pytest.raises(FloatingPointError, match=r"sample: step 1 \(time 20\): the model returned NaN or infinity"):
        sample(model, make_schedule("linear", 50), np.zeros((7, 11)), [40, 20, 5], DDIM)
    huge = np.full((7, 11), 1e200)  # finite, though the sum of squares is not
    assert np.isfinite(sample(lambda x, t: x, EDM, huge, [1.0], DDIM, prediction_type="sample")).all()


# -- refusals --------------------------------------------------------------------------------------------------------

SCHEDULE = make_schedule("linear", 50)
X = np.zeros((2, 3))


def identity(x, t):
    return x


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(times=[3, 5]), ValueError, "strictly decreasing times, the noisiest first, got 3 before 5"),
        (dict(times=[5, 5]), ValueError, "got 5 before 5"),
        (dict(times=[5, -1]), ValueError, "-1 is outside the process, expected 0 ... 49"),
        (dict(times=[50, 3]), ValueError, "50 is outside the process"),
        (dict(times=[]), ValueError, "expected a list of at least one"),
        (dict(times=["5", "3"]), TypeError, "times: expected numbers"),
        (dict(x=np.zeros((2, 3), np.int64)), TypeError, "x to be floating-point numbers, got dtype int64"),
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
            "sample: fresh noise is drawn 2 times; give a generator, or the arrays as noise",
        ),
        (
            dict(sampler=DDPM, noise=[X]),
            ValueError,
            "expected 2 arrays of noise, one for each draw, got 1",
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
    arguments = dict(x=X, times=[40, 20, 5], sampler=DDIM) | arguments
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


ZERO_TERMINAL = make_schedule("linear", 50, rescale_betas_zero_snr=True)


@pytest.mark.parametrize("kind", ["epsilon", "score"])
def test_epsilon_at_zero_terminal_snr_is_refused_by_name(kind):
    """Where nothing of the data is left, x_0 cannot be told from eps; v and sample can, and walk on."""
    with pytest.raises(ValueError, match=rf"at time 49 nothing is left of the data .*, so prediction_type '{kind}' cannot"):
        sample(identity, ZERO_TERMINAL, X, [49, 20], DDIM, prediction_type=kind)
    for told in ("v_prediction", "sample", "flow_prediction"):
        model = Gaussian(0.5, 0.0).model(ZERO_TERMINAL, told)
        for sampler in (DDIM, DDPM, DPMPP_2M, DPMPP_2S_ANCESTRAL):
            result = sample(model, ZERO_TERMINAL, X, [49, 20], sampler, prediction_type=told, generator=np.random.default_rng())
            np.testing.assert_allclose(result, 0.5, rtol=1e-12)


@pytest.mark.parametrize("sampler", [EULER, HEUN, DPM_SOLVER_3], ids=str)
def test_samplers_that_divide_by_alpha_refuse_pure_noise(sampler):
    """In the coordinate x / alpha there is no such place."""
    with pytest.raises(ValueError, match=r"divides by alpha = 0 at time 49 \(zero terminal SNR\); choose one that works in x_0"):
        sample(identity, ZERO_TERMINAL, X, [49, 20], sampler, prediction_type="v_prediction")


@pytest.mark.parametrize(
    "sampler, options, message",
    [
        (HEUN, dict(clip_denoised=True, rederive_epsilon=False), "rederive_epsilon=False moves x_t, but this sampler asks"),
        (HEUN, dict(shift_mean=lambda mean, variance, x_t, t: mean), "shift_mean shifts the mean of a step that ends with noise"),
        (Karras(1, s_churn=40.0), dict(shift_mean=lambda mean, variance, x_t, t: mean), "or adds noise within the step"),
    ],
)
def test_options_that_mean_nothing_for_a_sampler_are_refused(sampler, options, message):
    """Before the first step."""
    with pytest.raises(ValueError, match=message):
        sample(identity, SCHEDULE, X, [40, 20], sampler, noise=[X] * sampler.plan(path(SCHEDULE, [40, 20])).draws, **options)


@pytest.mark.parametrize("name", ["arrived", "shift_mean", "denoised_fn"])
def test_a_caller_s_function_must_answer_with_an_array_alike(name):
    """None is what a forgotten return gives."""
    with pytest.raises((ValueError, TypeError), match=rf"{name}.*expected its_result"):
        sample(identity, SCHEDULE, X, [40, 20], DDPM, noise=[X], **{name: lambda *args, **named: None})


def test_a_plan_may_look_ahead_from_a_base_that_it_has_just_settled():
    """A row `ahead` after a `settle` in one move may use the newest prediction, and the last noise once more."""
    level = EDM.level(1.0)

    @dataclass(frozen=True)
    class Leaper:
        def plan(self, path):
            first = Move(level, settle=Row(1.0, (1.0,), 2.0), ahead=Row(1.0, (10.0,), 0.0, 100.0), to=level)
            return Plan("sample", [first, Move(level, settle=Row(1.0, (1.0,)), to=level)])

    seen = []
    result = sample(lambda x, t: seen.append(x) or 0 * x + 3, EDM, np.zeros((1, 1)), [1.0], Leaper(), noise=[np.ones((1, 1))],
                    prediction_type="sample")
    assert [x[0, 0] for x in seen] == [0, 3 + 2 + 30 + 100] and result[0, 0] == 3 + 2 + 3


def test_continuous_times_reach_the_model_as_floats():
    """float64 on the host, one for each of the batch."""
    seen = []
    sample(lambda x, t: seen.append(t) or x, StraightLine(), np.zeros((3, 1), np.float32), [0.9, 0.5], DDIM, prediction_type="sample")
    assert [t.tolist() for t in seen] == [[0.9] * 3, [0.5] * 3] and all(t.dtype == np.float64 for t in seen)
