"""PNDM and PLMS: the algorithms written out on numbers, and the orders that fixed weights have on different lists of times."""

import math
from fractions import Fraction

import numpy as np
import pytest
from convergence import global_errors, slope
from hypothesis import given
from hypothesis import strategies as st

from minidiff.diffusion import (
    EDM,
    EULER,
    PLMS,
    PNDM,
    Gaussian,
    Schedule,
    VariancePreserving,
    make_schedule,
    path,
    sample,
    timesteps,
)
from minidiff.diffusion.samplers.pseudo import ADAMS_BASHFORTH

VP = VariancePreserving()
PAIR = Gaussian([0.3, -0.2], [0.5, 1.2])


def bumpy(x, t):
    """A model that is not linear in anything."""
    return np.tanh(x) + 0.3 * np.sin(t / 7 + 2 * x)


def transfer(x, epsilon, abar_t, abar_s):
    """The paper's phi, with its own denominator: Liu et al. 2022."""
    below = math.sqrt(abar_t) * (math.sqrt((1 - abar_s) * abar_t) + math.sqrt((1 - abar_t) * abar_s))
    return math.sqrt(abar_s / abar_t) * x - (abar_s - abar_t) / below * epsilon


def liu(schedule, x, times, runge_kutta):
    """The paper's algorithm (runge_kutta) and Stable Diffusion's, to the data; times halfway must be whole numbers."""
    def abar(t):
        return 1.0 if t is None else float(schedule.alphas_cumprod[t])

    past = []
    for k, (t, s) in enumerate(zip(times, [*times[1:], None])):
        first = bumpy(x, t)
        past = [first, *past][:4]
        if s is not None and k < 3 and runge_kutta:
            middle = (t + s) // 2
            second = bumpy(transfer(x, first, abar(t), abar(middle)), middle)
            third = bumpy(transfer(x, second, abar(t), abar(middle)), middle)
            fourth = bumpy(transfer(x, third, abar(t), abar(s)), s)
            mean = (first + 2 * second + 2 * third + fourth) / 6
        elif s is not None and k == 0:
            mean = (first + bumpy(transfer(x, first, abar(t), abar(s)), s)) / 2
        elif len(past) == 1:
            mean = first
        elif len(past) == 2:
            mean = (3 * past[0] - past[1]) / 2
        elif len(past) == 3:
            mean = (23 * past[0] - 16 * past[1] + 5 * past[2]) / 12
        else:
            mean = (55 * past[0] - 59 * past[1] + 37 * past[2] - 9 * past[3]) / 24
        x = transfer(x, mean, abar(t), abar(s))
    return x


@pytest.mark.parametrize("sampler", [PNDM, PLMS], ids=["PNDM", "PLMS"])
@given(times=st.sets(st.integers(0, 49), min_size=1, max_size=12), x=st.floats(-3, 3))
def test_the_walk_is_the_published_algorithm(sampler, times, x):
    """The loop as published, on numbers, for walks of any length and a model that is linear in nothing."""
    schedule, times = make_schedule("linear", 100), sorted((2 * t for t in times), reverse=True)
    got = sample(lambda y, t: bumpy(y, t[0]), schedule, np.full((1, 1), x), times, sampler)
    assert got[0, 0] == pytest.approx(liu(schedule, x, times, sampler is PNDM), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_weights_are_those_of_adams_and_bashforth(count):
    """Exact for the integral of 1, t, ... t^(count - 1) over a step, from its values at 0, -1, -2, ...: in fractions."""
    weights = [Fraction(weight).limit_denominator(24) for weight in ADAMS_BASHFORTH[count - 1]]
    assert [float(weight) for weight in weights] == list(ADAMS_BASHFORTH[count - 1])
    for n in range(count):
        assert sum(weight * Fraction(-i) ** n for i, weight in enumerate(weights)) == Fraction(1, n + 1)


@pytest.mark.parametrize(("sampler", "calls"), [(PNDM, [1, 5, 9, 13, 14, 15]), (PLMS, [1, 3, 4, 5, 6, 7])], ids=["PNDM", "PLMS"])
def test_calls_and_callbacks(sampler, calls):
    """How many times the model is asked in walks of 1 ... 6 steps; the callback comes once a step, at the step's time."""
    schedule, data = make_schedule("linear", 60), Gaussian(0.2, 0.5)
    for steps, expected in enumerate(calls, start=1):
        asked, told = [], []
        times = timesteps(60, steps, "linspace").tolist()

        def model(x, t, asked=asked):
            asked.append(t[0])
            return data.model(schedule)(x, t)

        sample(model, schedule, np.ones((1, 1)), times, sampler, callback=lambda i, t, x, x_start, told=told: told.append((i, t)))
        assert len(asked) == expected == len(sampler.plan(path(schedule, times)).moves)
        assert told == list(enumerate(times))


def test_halfway_is_a_whole_number_where_there_is_one():
    """Times 40, 30, 23: Runge-Kutta asks at 35, an integer, and at 26.5, a real time."""
    asked = []
    model = Gaussian(0.2, 0.5).model(make_schedule("linear", 60))
    sample(lambda x, t: asked.append(t) or model(x, t), make_schedule("linear", 60), np.ones((1, 1)), [40, 30, 23, 9], PNDM)
    assert [t[0] for t in asked] == [40, 35, 35, 30, 30, 26.5, 26.5, 23, 23, 16, 16, 9, 9]
    assert [t.dtype.kind for t in asked[:6]] == ["i"] * 5 + ["f"]


def test_a_constant_slope_is_followed_exactly():
    """All weights sum to 1: for predictions that never change both are Euler's method in sigma / alpha."""
    schedule, times = make_schedule("linear", 60), timesteps(60, 9, "linspace")
    x = np.random.default_rng().standard_normal((3, 2))
    expected = sample(lambda y, t: np.full_like(y, 0.7), schedule, x, times, EULER)
    for sampler in (PNDM, PLMS):
        np.testing.assert_allclose(sample(lambda y, t: np.full_like(y, 0.7), schedule, x, times, sampler), expected, rtol=1e-12)


# -- orders of convergence -------------------------------------------------------------------------------------------


def uniform(process, first, last, steps):
    return np.linspace(first, last, steps + 1)


def quadratic(process, first, last, steps):
    return np.linspace(math.sqrt(first), math.sqrt(last), steps + 1) ** 2


def uneven(process, first, last, steps):
    """Steps of 1, 3, 1, 3, ...."""
    way = np.cumsum([0.0, *np.where(np.arange(steps) % 2 == 0, 1.0, 3.0)])
    return first + (last - first) * way / way[-1]


@pytest.mark.parametrize("sampler", [PNDM, PLMS], ids=["PNDM", "PLMS"])
@pytest.mark.parametrize(("times", "order"), [(uniform, 2), (quadratic, 2), (uneven, 1)])
def test_order_on_lists_of_times_of_the_vp_process(sampler, times, order):
    """2, not 4, on smooth lists: sigma / alpha is not linear in the times. 1 where neighbouring steps differ by a factor."""
    counts, x = (40, 80, 160), np.array([[1.0, -2.0], [-0.5, 0.3]])
    errors = global_errors(sampler, PAIR, VP, 0.9, 0.1, counts, x, times=times)
    assert slope(counts, errors) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("sampler", "order", "counts"), [(PNDM, 4, (20, 40, 80)), (PLMS, 3, (640, 1280, 2560))], ids=["PNDM", "PLMS"])
def test_order_on_equally_spaced_sigmas(sampler, order, counts):
    """The full order of the parts: 4, and 3 with the warm-up of PLMS, whose errors h^3 show only once those of h^4 are gone."""
    x = np.array([[2.0, -5.0], [-1.5, 1.3]])
    errors = global_errors(sampler, PAIR, EDM, 3.0, 1.0, counts, x, times=uniform)
    assert slope(counts, errors) == pytest.approx(order, abs=0.2)


# -- the door --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [PNDM, PLMS], ids=["PNDM", "PLMS"])
def test_pure_noise_is_refused(sampler):
    """alpha = 0 at the beginning: sigma / alpha is infinite there."""
    schedule = Schedule.from_alphas_cumprod([0.9, 0.6, 0.3, 0.1, 0.0])
    with pytest.raises(ValueError, match="zero terminal SNR"):
        sample(PAIR.model(schedule, "v_prediction"), schedule, np.ones((1, 2)), [4, 2, 0], sampler, prediction_type="v_prediction")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_for_any_layout(dtype):
    """A transposed batch of odd shape, both dtypes."""
    x = np.random.default_rng().standard_normal((3, 5, 2)).astype(dtype).transpose(1, 2, 0)
    for sampler in (PNDM, PLMS):
        result = sample(Gaussian(0.1, 0.5).model(VP), VP, x, np.linspace(1, 0.1, 7), sampler)
        assert result.dtype == dtype and result.shape == x.shape
