"""Where the float64 tables meet the data: shapes, dtypes, times, and anything that has arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import diffusion
from minidiff.diffusion import extract, make_schedule, signal_and_noise
from minidiff.diffusion.lookup import model_times

TABLE = np.array([0.1, 1 / 3, 0.7])
SCHEDULE = make_schedule("linear", 20)

# Every formula (schedule, a, b, t) of two arrays, in one list, so that no property forgets one.
FORMULAS = {
    "q_sample": lambda s, a, b, t: diffusion.q_sample(s, a, t, b),
    "q_step": lambda s, a, b, t: diffusion.q_step(s, a, t, b),
    "q_posterior_mean_variance": lambda s, a, b, t: diffusion.q_posterior_mean_variance(s, a, b, t)[0],
    "q_posterior_mean_from_epsilon": lambda s, a, b, t: diffusion.q_posterior_mean_from_epsilon(s, a, t, b),
    "predict_start_from_noise": lambda s, a, b, t: diffusion.predict_start_from_noise(s, a, t, b),
    "predict_noise_from_start": lambda s, a, b, t: diffusion.predict_noise_from_start(s, a, t, b),
    "predict_v": lambda s, a, b, t: diffusion.predict_v(s, a, t, b),
    "predict_start_from_v": lambda s, a, b, t: diffusion.predict_start_from_v(s, a, t, b),
    "predict_noise_from_v": lambda s, a, b, t: diffusion.predict_noise_from_v(s, a, t, b),
    "training_target": lambda s, a, b, t: diffusion.training_target(s, "v_prediction", a, b, t),
}


class OnlyArithmetic:
    """A stand-in for another framework's tensor: floats with a shape and a dtype that know + - * / and nothing else."""

    __array_ufunc__ = None

    def __init__(self, values):
        self._values = values

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)

    def _with(self, operation, other):
        other = other._values if isinstance(other, OnlyArithmetic) else other
        return OnlyArithmetic(operation(self._values, other))

    def __add__(self, other):
        return self._with(lambda a, b: a + b, other)

    def __radd__(self, other):
        return self._with(lambda a, b: b + a, other)

    def __sub__(self, other):
        return self._with(lambda a, b: a - b, other)

    def __rsub__(self, other):
        return self._with(lambda a, b: b - a, other)

    def __mul__(self, other):
        return self._with(lambda a, b: a * b, other)

    def __rmul__(self, other):
        return self._with(lambda a, b: b * a, other)

    def __truediv__(self, other):
        return self._with(lambda a, b: a / b, other)


def two_arrays(dtype, shape=(3, 2, 5)):
    rng = np.random.default_rng()
    return rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(times=st.lists(st.integers(0, 2), min_size=1, max_size=4), extra=st.integers(0, 3))
def test_extract_gives_a_column_of_the_table_in_the_data_s_dtype(dtype, times, extra):
    """(N,) times give (N, 1, ..., 1), each entry the cast of its table entry."""
    like = np.zeros((len(times), *range(2, 2 + extra)), dtype)
    for t in (times, tuple(times), np.array(times), np.array(times, np.uint8)):
        column = extract(TABLE, t, like)
        assert column.dtype == dtype and column.shape == (len(times),) + (1,) * extra
        assert column.ravel().tolist() == [dtype(TABLE[one]) for one in times]


def test_extract_gives_a_python_float_for_one_time():
    """Any spelling of one integer; a Python float multiplies float32 data without changing its dtype."""
    for t in (1, np.int64(1), np.uint8(1), np.array(1)):
        value = extract(TABLE, t, np.zeros(4, np.float32))
        assert type(value) is float and value == TABLE[1]


@pytest.mark.parametrize(
    "t, error, message",
    [
        (3, ValueError, "time 3 is outside the schedule: expected 0 ... 2"),
        (-1, ValueError, "time -1 is outside"),
        ([0, 3], ValueError, "time 3 is outside"),
        ([0, -1], ValueError, "time -1 is outside"),
        (1.0, TypeError, "expected an integer dtype, got float64"),
        (True, TypeError, "expected a number or a NumPy array, got builtins.bool"),
        (np.array([0.0, 1.0]), TypeError, "expected an integer dtype, got float64"),
        (np.array([True, False]), TypeError, "expected an integer dtype, got bool"),
        (OnlyArithmetic(np.array([0, 1])), TypeError, "times live on the host"),
        ([[0, 1]], ValueError, r"got shape \(1, 2\)"),
        ([0, 1, 2], ValueError, r"got 3 times for data of shape \(2, 4\)"),
        ([0], ValueError, r"got 1 times for data of shape \(2, 4\)"),
    ],
)
def test_bad_times_are_refused(t, error, message):
    """No time wraps around, is rounded, or broadcasts."""
    with pytest.raises(error, match=message):
        extract(TABLE, t, np.zeros((2, 4)))


def test_integer_images_are_refused():
    """A table cast to uint8 would be all zeros."""
    with pytest.raises(TypeError, match="floating-point data, got dtype uint8"):
        extract(TABLE, [0, 1], np.zeros((2, 4), np.uint8))
    with pytest.raises(TypeError, match="floating-point data, got dtype uint8"):
        diffusion.q_sample(SCHEDULE, np.zeros((2, 4), np.uint8), 3, np.zeros((2, 4), np.uint8))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("t", [0, 7, np.array([0, 19, 4])], ids=["first", "one", "each"])
def test_formulas_keep_the_dtype_and_never_write_into_their_input(name, dtype, t):
    """float32 in, float32 out; float64 in, float64 out; read-only input is enough."""
    a, b = two_arrays(dtype)
    a.setflags(write=False)
    b.setflags(write=False)
    result = FORMULAS[name](SCHEDULE, a, b, t)
    assert result.dtype == dtype and result.shape == a.shape


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_time_and_a_time_for_each_give_the_same_bits(name, dtype):
    """An int t is the same as that t repeated, and a batch with its own times the same as its items one by one."""
    a, b = two_arrays(dtype)
    for t in range(SCHEDULE.num_train_timesteps):
        np.testing.assert_array_equal(FORMULAS[name](SCHEDULE, a, b, t), FORMULAS[name](SCHEDULE, a, b, np.full(3, t)))
    mixed = FORMULAS[name](SCHEDULE, a, b, [4, 0, 19])
    for i, t in enumerate([4, 0, 19]):
        np.testing.assert_array_equal(mixed[i], FORMULAS[name](SCHEDULE, a[i : i + 1], b[i : i + 1], t)[0])


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_need_nothing_but_arithmetic(name):
    """A type with + - * / only gets the same bits as a NumPy array, for an int time and for a time each."""
    a, b = two_arrays(np.float32)
    for t in (5, np.array([5, 0, 12])):
        got = FORMULAS[name](SCHEDULE, OnlyArithmetic(a), OnlyArithmetic(b), t)
        assert isinstance(got, OnlyArithmetic)
        np.testing.assert_array_equal(got._values, FORMULAS[name](SCHEDULE, a, b, t))


@pytest.mark.parametrize("name", FORMULAS)
def test_arrays_that_are_not_alike_are_refused(name):
    """A noise that would broadcast, or upcast, is an error that says which and what."""
    a, b = two_arrays(np.float32)
    with pytest.raises(
        ValueError,
        match=r"to have the shape of \w+, \(3, 2, 5\), got \(1, 2, 5\)|"
        r"to have the shape of \w+, \(1, 2, 5\), got \(3, 2, 5\)",
    ):
        FORMULAS[name](SCHEDULE, a, b[:1], 3)
    with pytest.raises(TypeError, match=r"to have the dtype of \w+, float(32|64), got float(32|64)"):
        FORMULAS[name](SCHEDULE, a, b.astype(np.float64), 3)


CONTINUOUS = [diffusion.EDM, diffusion.StraightLine(), diffusion.VariancePreserving(), SCHEDULE]


@pytest.mark.parametrize("process", CONTINUOUS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_signal_and_noise_are_factors_of_the_batch(process, dtype):
    """One time gives two Python floats, a time each two columns in the data's dtype; both are the process's alpha and sigma, cast."""
    like = np.zeros((3, 2, 5), dtype)
    times = np.array([0.25, 0.0, 1.0])
    for t in times:
        factors = signal_and_noise(process, t, like)
        assert [type(f) for f in factors] == [float, float]
        assert factors == (float(process.alpha(t)), float(process.sigma(t)))
    for factors, table in zip(signal_and_noise(process, times, like), (process.alpha(times), process.sigma(times)), strict=True):
        assert factors.shape == (3, 1, 1) and factors.dtype == dtype
        np.testing.assert_array_equal(factors.ravel(), table.astype(dtype))


def test_integer_times_of_a_schedule_are_table_entries():
    """signal_and_noise and extract agree to the last bit."""
    like = np.zeros((2, 3), np.float64)
    for t in (7, [0, 19]):
        for got, table in zip(signal_and_noise(SCHEDULE, t, like),
                              (SCHEDULE.sqrt_alphas_cumprod, SCHEDULE.sqrt_one_minus_alphas_cumprod), strict=True):
            np.testing.assert_array_equal(got, extract(table, t, like))


@pytest.mark.parametrize(
    "process, t, error, message",
    [
        (SCHEDULE, 20, ValueError, r"time 20 is outside the process: expected 0 \.\.\. 19"),
        (SCHEDULE, [0.5, -0.5], ValueError, "time -0.5 is outside"),
        (SCHEDULE, 19.5, ValueError, "time 19.5 is outside"),
        (diffusion.StraightLine(), 1.5, ValueError, r"time 1.5 is outside the process: expected 0.0 \.\.\. 1.0"),
        (diffusion.EDM, [1.0, math.nan], ValueError, "time nan is outside"),
        (diffusion.EDM, math.inf, ValueError, "time inf is outside"),
        (diffusion.EDM, np.array(["a", "b"]), TypeError, "times are numbers: expected integers or floats"),
        (diffusion.EDM, OnlyArithmetic(np.array([1.0, 1.0])), TypeError, "times live on the host"),
        (diffusion.EDM, [[1.0]], ValueError, r"got shape \(1, 1\)"),
        (diffusion.EDM, [1.0, 2.0, 3.0], ValueError, "got 3 times for data of shape"),
    ],
)
def test_times_outside_a_process_are_refused(process, t, error, message):
    """Beyond its ends, NaN, not numbers, not on the host, not one for each."""
    with pytest.raises(error, match=message):
        signal_and_noise(process, t, np.zeros((2, 4)))


def test_a_model_gets_one_time_for_each_of_the_batch():
    """(N,) int64 for integers, float64 for reals, whatever was given; a time each stays as it is."""
    x = np.zeros((3, 2), np.float32)
    for t, dtype in ((5, np.int64), (np.uint8(5), np.int64), (5.0, np.float64), (np.float32(0.5), np.float64)):
        times = model_times(t, x)
        assert times.dtype == dtype and times.tolist() == [t] * 3
    assert model_times([1, 2, 3], x).tolist() == [1, 2, 3]
