"""How fast a sampler's error falls: the same walk with more and more steps, and the slope of log error against log steps.

The walks begin and end at fixed noise levels, in steps of equal length in lambda = log(alpha / sigma), unless the test makes its own list
of times. They end away from the data: a last step to sigma = 0 is infinitely long in lambda and obeys no order. What a sampler ought to
find is the solution of the probability-flow ODE, in closed form for Gaussian data, integrated finely for any other. For samplers that add
noise there is `moments`: on Gaussian data the end is an affine map of (x_T, z_1, z_2, ...), so mean and variance are exact numbers.
"""

import numpy as np
from scipy.integrate import solve_ivp

from minidiff.diffusion import Gaussian, path, sample


def uniform_in_lambda(process, first, last, steps):
    """steps + 1 times from `first` (the noisier) to `last`, equally far apart in lambda."""
    ends = np.asarray(process.log_snr(np.array([first, last], dtype=np.float64)))
    times = np.asarray(process.time_of(np.linspace(*ends, steps + 1)), dtype=np.float64)
    times[0], times[-1] = first, last
    return times


def state_at_last_time(sampler, data, process, times, x, noise=(), **options):
    """Where the walk through `times` stands when it reaches the last of them; the step from there to the data is not looked at.

    noise: as `sample` takes it, in the order of the walk; padded with zeros for the draws of the last step.
    """
    states = []
    draws = sampler.plan(path(process, times)).draws
    noise = [*noise, *[np.zeros_like(x)] * (draws - len(noise))]
    sample(data.model(process), process, x, times, sampler, noise=noise, arrived=lambda i, level, x: states.append(x) or x, **options)
    return states[len(times) - 2]


def flow(data, process, first, last, x):
    """The exact end at time `last` of the probability-flow ODE from x at time `first`: dx^/dlambda = -sigma^ eps(x), x^ = x / alpha."""
    t, s = process.level(first), process.level(last)
    if isinstance(data, Gaussian):
        (m_t, v_t), (m_s, v_s) = (data.marginal(level.alpha, level.sigma, x) for level in (t, s))
        return m_s + np.sqrt(v_s / v_t) * (x - m_t)
    model = data.model(process)

    def slope(half_log_snr, flat):
        level = process.level(float(process.time_of(2 * half_log_snr)))
        return -level.sigma / level.alpha * model(level.alpha * flat.reshape(x.shape), level.time).ravel()

    way = solve_ivp(slope, (t.half_log_snr, s.half_log_snr), x.ravel() / t.alpha, "DOP853", rtol=1e-13, atol=1e-13)
    return s.alpha * way.y[:, -1].reshape(x.shape)


def global_errors(sampler, data, process, first, last, counts, x, times=uniform_in_lambda, **options):
    """The largest error at time `last`, once for each number of steps. times: called as times(process, first, last, steps)."""
    exact = flow(data, process, first, last, x)
    return np.array([
        np.abs(state_at_last_time(sampler, data, process, times(process, first, last, n), x, **options) - exact).max() for n in counts
    ])


def slope(counts, errors):
    """The order that the errors show: minus the slope of the straight line through (log steps, log error)."""
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


def moments(sampler, data, process, times, **options):
    """(mean, variance) at the last of the times, exactly, for one-dimensional Gaussian data and x_T from the exact marginal.

    One row of the batch for each independent standard normal number that the walk is made of: x_T's own and each draw of noise.
    """
    draws = sampler.plan(path(process, times)).draws
    level = process.level(times[0])
    mean, variance = (float(number) for number in data.marginal(level.alpha, level.sigma, np.zeros(1)))
    rows = np.eye(2 + draws)[:, :, None]  # a walk of all zeros, of x_T alone, of each draw alone
    x = mean + np.sqrt(variance) * rows[1]
    end = state_at_last_time(sampler, data, process, times, x, noise=list(rows[2:]), **options)
    factors = end[1:] - end[0]
    return float(end[0, 0]), float((factors**2).sum())


def weak_errors(sampler, data, process, first, last, counts, times=uniform_in_lambda, **options):
    """The relative error of the variance at time `last`, or that of the mean in standard deviations if it is larger, for each count."""
    level = process.level(last)
    mean, variance = (float(number) for number in data.marginal(level.alpha, level.sigma, np.zeros(1)))
    errors = []
    for n in counts:
        got_mean, got_variance = moments(sampler, data, process, times(process, first, last, n), **options)
        errors.append(max(abs(got_variance / variance - 1), abs(got_mean - mean) / np.sqrt(variance)))
    return np.array(errors)
