"""What the tests of this room share: random schedules, and the same quantities once more in 50-digit arithmetic.

Everything here is computed from the betas alone, by another route than the library takes: products instead of sums of
logarithms, Bayes' rule by adding precisions, and plain differences, because with 50 digits nothing cancels.
"""

import mpmath
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minidiff.diffusion import (
    EDM,
    Cosine,
    Schedule,
    StraightLine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
)

MP = mpmath.MPContext()
MP.dps = 50
ULP = 2.0**-52


@st.composite
def schedules(draw, max_steps=50, max_beta=0.999):
    """Schedules of 1 to max_steps steps, betas spread over all sizes from 1e-8 on, in any order."""
    exponents = st.floats(-8, float(np.log10(max_beta)))
    return Schedule.from_betas([10.0**e for e in draw(st.lists(exponents, min_size=1, max_size=max_steps))])


@st.composite
def walks(draw, num_train_timesteps):
    """Strictly decreasing lists of times, of any length."""
    times = draw(st.sets(st.integers(0, num_train_timesteps - 1), min_size=1, max_size=min(num_train_timesteps, 30)))
    return sorted(times, reverse=True)


def exact_alphas(schedule):
    """[1 - beta_t], 50 digits."""
    return [1 - MP.mpf(float(beta)) for beta in schedule.betas]


def exact_alphas_cumprod(schedule):
    """[abar_t], 50 digits; a plain running product."""
    products, product = [], MP.mpf(1)
    for alpha in exact_alphas(schedule):
        product *= alpha
        products.append(product)
    return products


def bayes(x_start, x_t, abar_s, abar_t):
    """Mean and variance of q(x_s | x_t, x_0), s before t: q(x_s | x_0) times q(x_t | x_s), adding their precisions."""
    alpha = abar_t / abar_s
    prior_precision = 1 / (1 - abar_s)
    likelihood_precision = alpha / (1 - alpha)
    precision = prior_precision + likelihood_precision
    mean = (prior_precision * MP.sqrt(abar_s) * x_start + likelihood_precision * x_t / MP.sqrt(alpha)) / precision
    return mean, 1 / precision


def song_step(eta, abar_s, abar_t):
    """The factors of x_0, eps and z in a step from t to s: Song et al. 2021, Eq. 12 and 16, as printed."""
    sigma = eta * MP.sqrt((1 - abar_s) / (1 - abar_t)) * MP.sqrt(1 - abar_t / abar_s)
    return MP.sqrt(abar_s), MP.sqrt(1 - abar_s - sigma**2), sigma


def ulps(values, exact):
    """The largest distance of float64 values from exact ones, in units of rounding (2^-52 relative)."""
    worst = 0.0
    for value, truth in zip(np.asarray(values, dtype=np.float64).ravel().tolist(), exact, strict=True):
        if truth == 0 or MP.isinf(truth):
            assert value == truth
        else:
            worst = max(worst, float(abs(MP.mpf(value) / truth - 1)) / ULP)
    return worst


def ulps_near_zero(values, exact):
    """The same for values that pass through 0: in units of rounding of max(1, |exact|)."""
    worst = 0.0
    for value, truth in zip(np.asarray(values, dtype=np.float64).ravel().tolist(), exact, strict=True):
        if MP.isinf(truth):
            assert value == truth
        else:
            worst = max(worst, float(abs(MP.mpf(value) - truth) / max(1, abs(truth))) / ULP)
    return worst


def regression(abar_s, abar_t):
    """(factor of x_0, factor of x_t, variance) of q(x_s | x_t, x_0), by regression of x_s on x_t; also for abar_t = 0 and abar_s = 1."""
    alpha = abar_t / abar_s
    covariance, variance = MP.sqrt(alpha) * (1 - abar_s), alpha * (1 - abar_s) + (1 - alpha)
    slope = covariance / variance
    return MP.sqrt(abar_s) - slope * MP.sqrt(abar_t), slope, (1 - abar_s) - slope * covariance


@st.composite
def schedules_to_pure_noise(draw, max_steps=20):
    """Schedules with zero terminal SNR: the last beta is 1."""
    betas = draw(schedules(max_steps)).betas
    return Schedule.from_betas([*betas, 1.0])


CONTINUOUS = (EDM, StraightLine(), VariancePreserving(), SubVariancePreserving(), VarianceExploding(), Cosine())


@st.composite
def processes_at(draw, count):
    """A process of any kind and `count` of its times, strictly increasing, none where the data or the noise is gone."""
    kind = draw(st.sampled_from(("schedule", "schedule between its steps", *CONTINUOUS)))
    if isinstance(kind, str):
        exponents = st.floats(-6, -0.5)
        schedule = Schedule.from_betas([10.0**e for e in draw(st.lists(exponents, min_size=max(count, 2), max_size=20))])
        last = schedule.num_train_timesteps - 1
        times = st.integers(0, last) if kind == "schedule" else st.floats(0, last)
        return schedule, sorted(draw(st.lists(times, min_size=count, max_size=count, unique=True)))
    times = sorted(draw(st.lists(st.floats(0.01, 0.99), min_size=count, max_size=count, unique=True)))
    times = [10.0 ** (4 * t - 2) for t in times] if kind is EDM else times
    assume(len(set(times)) == count)
    return kind, times


def exact_level(process, t):
    """(alpha, sigma^2) at a time, 50 digits, straight from the definition of the process; t: an int for a Schedule."""
    if isinstance(process, Schedule):
        abar = exact_alphas_cumprod(process)[t]
        return MP.sqrt(abar), 1 - abar
    t = MP.mpf(t)
    if process is EDM:
        return MP.mpf(1), t * t
    if isinstance(process, StraightLine):
        return 1 - t, t * t
    b = t * (MP.mpf(process.beta_min) + (MP.mpf(process.beta_max) - MP.mpf(process.beta_min)) * t / 2)  # VariancePreserving
    return MP.exp(-b / 2), 1 - MP.exp(-b)
