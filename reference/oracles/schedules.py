"""Schedules, lists of times and of sigmas, from the papers' formulas in 50 digits and in fractions.

The posterior's tables come from conditioning one of two Gaussian variables on the other, not from the formulas in which they are
usually written.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from mpmath import acos, cos, exp, findroot, log, mpf, pi, sqrt

from reference.oracles.oracle import Oracle


def evenly(first, last, count):
    """count numbers from first to last."""
    return [first + (last - first) * mpf(i) / max(count - 1, 1) for i in range(count)]


def betas_of(settings):
    """beta_0 ... beta_{T-1}, from the definitions: Ho et al. 2020, Rombach et al. 2022, Nichol & Dhariwal 2021, Xu et al. 2022."""
    name, count = settings["beta_schedule"], settings["num_train_timesteps"]
    if name == "squaredcos_cap_v2":
        level = [cos((mpf(i) / count + mpf("0.008")) / mpf("1.008") * pi / 2) ** 2 for i in range(count + 1)]
        betas = [min(1 - after / before, mpf(settings["max_beta"])) for before, after in pairwise(level)]
    else:
        first, last = mpf(settings["beta_start"]), mpf(settings["beta_end"])
        betas = {
            "linear": lambda: evenly(first, last, count),
            "scaled_linear": lambda: [root ** 2 for root in evenly(sqrt(first), sqrt(last), count)],
            "sigmoid": lambda: [first + (last - first) / (1 + exp(-z)) for z in evenly(mpf(-6), mpf(6), count)],
        }[name]()
    return rescaled(betas) if settings["rescale_betas_zero_snr"] else betas


def rescaled(betas):
    """Lin et al. 2023, Algorithm 1, line by line."""
    roots = [sqrt(abar) for abar in products(betas)]
    first, last = roots[0], roots[-1]
    roots = [(root - last) * first / (first - last) for root in roots]
    levels = [root ** 2 for root in roots]
    return [1 - after / before for before, after in zip([mpf(1), *levels], levels)]


def products(betas):
    """abar_t: the product of the first t + 1 of (1 - beta)."""
    total, out = mpf(1), []
    for beta in betas:
        total *= 1 - beta
        out.append(total)
    return out


def posterior(betas, t):
    """(variance, factor of x_0, factor of x_t) of x_{t-1} given x_t and x_0.

    Given x_0, x_{t-1} has the mean sqrt(abar_{t-1}) x_0 and a variance; x_t is sqrt(alpha_t) x_{t-1} and noise; so both are jointly normal,
    and conditioning on the second takes covariance / variance of its surprise.
    """
    levels = [mpf(1), *products(betas)]
    mean, spread = sqrt(levels[t]), 1 - levels[t]
    factor = sqrt(1 - betas[t])
    covariance, total = factor * spread, factor ** 2 * spread + betas[t]
    gain = covariance / total
    return spread - gain * covariance, mean - gain * factor * mean, gain


def make_schedule(inputs, settings):
    """betas and abar at the times asked for."""
    betas = betas_of(settings)
    levels = products(betas)
    return {"betas": [betas[t] for t in settings["times"]], "alphas_cumprod": [levels[t] for t in settings["times"]]}


def schedule_tables(inputs, settings):
    """Each table by its definition from the betas."""
    betas = betas_of(settings)
    levels = products(betas)
    before = [mpf(1), *levels]
    formulas = {
        "alphas": lambda t: 1 - betas[t],
        "sqrt_alphas": lambda t: sqrt(1 - betas[t]),
        "sqrt_betas": lambda t: sqrt(betas[t]),
        "alphas_cumprod_prev": lambda t: before[t],
        "one_minus_alphas_cumprod": lambda t: 1 - levels[t],
        "sqrt_alphas_cumprod": lambda t: sqrt(levels[t]),
        "sqrt_one_minus_alphas_cumprod": lambda t: sqrt(1 - levels[t]),
        "log_alphas_cumprod": lambda t: sum(log(1 - beta) for beta in betas[:t + 1]),
        "log_one_minus_alphas_cumprod": lambda t: log(1 - levels[t]),
        "snr": lambda t: levels[t] / (1 - levels[t]),
        "log_snrs": lambda t: log(levels[t]) - log(1 - levels[t]),
    }
    return {name: [formula(t) for t in settings["times"]] for name, formula in formulas.items()}


def posterior_tables(inputs, settings):
    """Variance, factors and log variance of the step back."""
    betas = betas_of(settings)
    found = [posterior(betas, t) for t in settings["times"]]
    return {
        "posterior_variance": [variance for variance, _, _ in found],
        "posterior_mean_coef1": [of_start for _, of_start, _ in found],
        "posterior_mean_coef2": [of_x_t for _, _, of_x_t in found],
        "posterior_log_variance": [log_variance(betas, t, settings["min_variance"]) for t in settings["times"]],
    }


def log_variance(betas, t, least):
    """The logarithm of the posterior's variance, at t = 0 that of t = 1, or of `least`."""
    if least is not None:
        return log(max(posterior(betas, t)[0], mpf(least)))
    if len(betas) == 1:
        return log(betas[0])
    return log(posterior(betas, max(t, 1))[0])


def of_levels(levels):
    """(betas, posterior variances) of a process with these abar."""
    betas = [1 - after / before for before, after in zip([mpf(1), *levels], levels)]
    return {"betas": betas, "posterior_variance": [posterior(betas, t)[0] for t in range(len(betas))]}


def respace(inputs, settings):
    """The process of the kept times: its abar are those."""
    levels = products(betas_of(settings))
    kept = [levels[t] for t in sorted(settings["timesteps"])]
    return of_levels(kept) | {"alphas_cumprod": kept}


def from_betas(inputs, settings):
    """abar and 1 - abar."""
    levels = products(list(inputs["betas"]))
    return {"alphas_cumprod": levels, "one_minus_alphas_cumprod": [1 - level for level in levels]}


def from_alphas_cumprod(inputs, settings):
    """betas and posterior variances."""
    return of_levels(list(inputs["alphas_cumprod"]))


def timesteps(inputs, settings):
    """Lin et al. 2023, Table 2, in fractions: `round` takes ties to the even number."""
    total, count = settings["num_train_timesteps"], settings["num_inference_steps"]
    formulas = {
        "leading": lambda i: i * (total // count) + settings["steps_offset"],
        "trailing": lambda i: round(total - Fraction(total, count) * (count - 1 - i)) - 1,
        "linspace": lambda i: round(Fraction((total - 1) * i, count - 1)) if count > 1 else total - 1,
    }
    return {"output": [formulas[settings["timestep_spacing"]](i) for i in reversed(range(count))]}


def sigmas(there, back):
    """Sigmas evenly spaced in there(sigma, settings), and 0."""

    def values(inputs, settings):
        ends = [there(mpf(settings[name]), settings) for name in ("sigma_max", "sigma_min")]
        return {"output": [*(back(x, settings) for x in evenly(*ends, settings["n"])), mpf(0)]}

    return values


def discrete_sigmas(settings):
    """sigma / alpha of each time."""
    return [sqrt((1 - level) / level) for level in products(betas_of(settings))]


def continuous_sigma(settings, t):
    """sigma / alpha of a continuous process: Song et al. 2021, Appendix C; Nichol & Dhariwal 2021, Eq. 17."""
    told = settings["process"]
    if told["name"] == "VariancePreserving":
        low, high = mpf(told["beta_min"]), mpf(told["beta_max"])
        return sqrt(exp(low * t + (high - low) * t * t / 2) - 1)
    s = mpf(told["s"])
    return sqrt((cos(s / (1 + s) * pi / 2) / cos((t + s) / (1 + s) * pi / 2)) ** 2 - 1)


def sigma_range(inputs, settings):
    """The first and the last of them."""
    levels = discrete_sigmas(settings)
    return {"sigma_min": levels[0], "sigma_max": levels[-1]}


def times_of_sigmas(inputs, settings):
    """The time at which sigma / alpha is sigma: between the steps of a list, or a root."""
    wanted = [mpf(sigma) for sigma in settings["sigmas"] if sigma > 0]
    if "process" not in settings:
        levels = discrete_sigmas(settings)
        return {"output": [between(levels, sigma) for sigma in wanted]}
    guess = lambda sigma: 2 / pi * acos(1 / sqrt(1 + sigma ** 2))
    return {"output": [findroot(lambda t, sigma=sigma: log(continuous_sigma(settings, t) / sigma), (guess(sigma), guess(sigma) / 2))
                       for sigma in wanted]}


def between(levels, sigma):
    """The place in a growing list, by a straight line in log sigma."""
    t = max(i for i in range(len(levels) - 1) if levels[i] <= sigma)
    return t + log(sigma / levels[t]) / log(levels[t + 1] / levels[t])


def oracle(values):
    """An oracle of this kind."""
    return Oracle("mpmath, 50 digits, the papers' formulas", values)


CONDITIONED = "mpmath, 50 digits, products and the conditional of two Gaussian variables"

ORACLES = {
    "make_schedule": oracle(make_schedule),
    "schedule_tables": oracle(schedule_tables),
    "posterior_tables": Oracle(CONDITIONED, posterior_tables),
    "respace": Oracle(CONDITIONED, respace),
    "from_betas": oracle(from_betas),
    "from_alphas_cumprod": Oracle(CONDITIONED, from_alphas_cumprod),
    "timesteps": Oracle("exact fractions", timesteps),
    "karras_sigmas": oracle(sigmas(lambda x, s: x ** (1 / mpf(s["rho"])), lambda x, s: x ** mpf(s["rho"]))),
    "exponential_sigmas": oracle(sigmas(lambda x, s: log(x), lambda x, s: exp(x))),
    "uniform_sigmas": oracle(sigmas(lambda x, s: x, lambda x, s: x)),
    "sigma_range": oracle(sigma_range),
    "times_of_sigmas": Oracle("mpmath, 50 digits, roots of the papers' formulas", times_of_sigmas),
}
