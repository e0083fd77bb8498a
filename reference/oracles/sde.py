"""Stochastic differential equations and likelihoods, from their definitions in 50 digits.

Variance preserving processes are given by their coefficients: alpha and sigma come from integrating the equations of the moments,

    m' = f m,   v' = 2 f v + g^2     =>     alpha = exp(int f),   sigma^2 = int g^2 (alpha(t) / alpha(s))^2 ds

numerically. The others are given by alpha and sigma: f and g come from differentiating numerically. That the reverse equations and the flow
belong to the forward one is shown once by sympy, with Gaussian marginals in the Fokker-Planck equation. The likelihood along the flow of
one-dimensional data comes from quantiles, which a flow on a line keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import mpmath
import numpy as np
import sympy
from mpmath import cos, erfc, exp, log, mpf, pi, quad, sqrt

from reference.oracles.oracle import Oracle

KIND = "mpmath, 50 digits, from the definition"


# -- processes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """Functions of time: alpha, sigma, f = d log alpha / dt and g^2."""

    alpha: Callable
    sigma: Callable
    f: Callable
    g2: Callable


def by_coefficients(f, g2) -> Process:
    """alpha and sigma by quadrature of the equations of the moments, from clean data at t = 0."""
    gathered = cache(lambda t: quad(f, [0, t]))
    alpha = lambda t: exp(gathered(t))
    sigma = lambda t: sqrt(quad(lambda s: g2(s) * exp(2 * (gathered(t) - gathered(s))), [0, t]))
    return Process(alpha, sigma, f, g2)


def by_marginals(alpha, sigma) -> Process:
    """f and g^2 by numerical differentiation."""
    f = lambda t: mpmath.diff(lambda s: log(alpha(s)), t)
    g2 = lambda t: mpmath.diff(lambda s: sigma(s) ** 2, t) - 2 * f(t) * sigma(t) ** 2
    return Process(alpha, sigma, f, g2)


def process_of(settings) -> Process:
    """The process of the settings."""
    told = {key: value if isinstance(value, str) else mpf(value) for key, value in settings["process"].items()}
    name = told["name"]
    if name in ("VariancePreserving", "SubVariancePreserving"):
        first, last = told["beta_min"], told["beta_max"]
        beta = lambda t: first * (1 - t) + last * t
        if name == "VariancePreserving":
            return by_coefficients(lambda t: -beta(t) / 2, beta)
        gathered = cache(lambda t: quad(beta, [0, t]))
        return by_coefficients(lambda t: -beta(t) / 2, lambda t: beta(t) * (1 - exp(-2 * gathered(t))))
    if name == "VarianceExploding":
        return by_marginals(lambda t: mpf(1), lambda t: told["sigma_min"] ** (1 - t) * told["sigma_max"] ** t)
    if name == "Cosine":
        gone = lambda t: cos((t + told["s"]) / (1 + told["s"]) * pi / 2) ** 2
        return by_marginals(lambda t: sqrt(gone(t) / gone(mpf(0))), lambda t: sqrt(1 - gone(t) / gone(mpf(0))))
    if name == "StraightLine":
        return by_marginals(lambda t: 1 - t, lambda t: t)
    return by_marginals(lambda t: mpf(1), lambda t: t)


def each(function, values):
    """function of every element."""
    out = np.empty(values.shape, dtype=object)
    for index in np.ndindex(values.shape):
        out[index] = function(values[index])
    return out


def beside(factors, x):
    """(N,) factors as (N, 1, ..., 1)."""
    return factors.reshape(-1, *(1,) * (x.ndim - 1))


def level(inputs, settings):
    """alpha and sigma at the times."""
    process = process_of(settings)
    return {"alpha": each(process.alpha, inputs["t"]), "sigma": each(process.sigma, inputs["t"])}


def log_snr_at(process, t):
    """log(alpha^2 / sigma^2)."""
    return 2 * log(process.alpha(t) / process.sigma(t))


def log_snr(inputs, settings):
    """log(alpha^2 / sigma^2) at the times."""
    process = process_of(settings)
    return {"output": each(lambda t: log_snr_at(process, t), inputs["t"])}


def time_is_inverse(inputs, settings, expected):
    """d log-SNR / dt = -g^2 / sigma^2 turns what the log-SNR at the answer is off into what the time is off."""
    process = process_of(settings)
    for wanted, t in zip(inputs["log_snr"], expected["output"]):
        t = mpf(float(t))
        off = (log_snr_at(process, t) - wanted) / (process.g2(t) / process.sigma(t) ** 2)
        assert abs(off) < mpf(2) ** -24 * t / 1000, f"the log-SNR at {t} is not {wanted}: the time is off by {off}"
    return ("output",)


def step(inputs, settings):
    """Half the difference of the log-SNRs, in which solvers measure a step."""
    process = process_of(settings)
    pairs = [(log_snr_at(process, s) - log_snr_at(process, t)) / 2 for t, s in zip(inputs["t"], inputs["s"])]
    return {"output": np.array(pairs, dtype=object)}


def marginal_prob(inputs, settings):
    """Mean and standard deviation of x_t given x_0."""
    found, x = level(inputs, settings), inputs["x_start"]
    return {"mean": beside(found["alpha"], x) * x, "std": beside(found["sigma"], x)}


PATHS, STEPS, CONFIDENCE = 40_000, 200, 6.0
"""Random walks, steps of each, standard errors that an estimate may be off: by chance, in one of 10^9 runs."""


def simulated(inputs, settings, expected):
    """Random walks of the forward equation agree with the kernel: the moments within 6 standard errors and the error of the steps.

    Each walk takes the middle of its step for the coefficients, so that the variance is right to the square of the step.
    """
    process, generator = process_of(settings), np.random.default_rng(1)
    for row, t in enumerate(inputs["t"]):
        start, dt = float(inputs["x_start"][row].flat[0]), float(t) / STEPS
        x = start + np.zeros(PATHS) + float(process.sigma(mpf(0))) * generator.standard_normal(PATHS)
        for k in range(STEPS):
            f, g2 = (float(c(mpf((k + 0.5) * dt))) for c in (process.f, process.g2))
            x = x * (1 + f * dt + (f * dt) ** 2 / 2) + np.sqrt(g2 * dt) * (1 + f * dt / 2) * generator.standard_normal(PATHS)
        mean, std = float(expected["mean"][row].flat[0]), float(expected["std"][row].flat[0])
        assert abs(x.mean() - mean) < CONFIDENCE * std / np.sqrt(PATHS) + 1e-3 * abs(start), f"mean {x.mean()}, expected {mean}"
        assert abs(x.std() / std - 1) < CONFIDENCE / np.sqrt(2 * PATHS) + 1e-3, f"standard deviation {x.std()}, expected {std}"
    return ()


# -- equations -------------------------------------------------------------------------------------------------------------


@cache
def fokker_planck() -> None:
    """The reverse drift with any eta, and so the flow, moves N(m, v) with m' = f m, v' = 2 f v + g^2 as the forward equation does.

    dq/dt = -d/dx(drift q) + spread/2 d^2q/dx^2, spread = g^2 forwards; walked backwards with noise eta g it is -(eta g)^2.
    """
    x, t, eta = sympy.symbols("x t eta", real=True)
    f, g2 = sympy.Function("f")(t), sympy.Function("g2")(t)
    m, v = sympy.Function("m")(t), sympy.Function("v", positive=True)(t)
    q = sympy.exp(-(x - m) ** 2 / (2 * v)) / sympy.sqrt(2 * sympy.pi * v)
    moved = sympy.diff(q, t).subs({sympy.diff(m, t): f * m, sympy.diff(v, t): 2 * f * v + g2})
    score = sympy.diff(sympy.log(q), x)
    for drift, spread in ((f * x, g2), (f * x - (1 + eta ** 2) / 2 * g2 * score, -eta ** 2 * g2)):
        carried = -sympy.diff(drift * q, x) + spread / 2 * sympy.diff(q, x, 2)
        assert sympy.simplify((moved - carried) / q) == 0, f"the drift {drift} does not keep the marginals"


def in_the_fokker_planck_equation(inputs, settings, expected):
    """The law that all cases rely on; of their values nothing is settled here."""
    fokker_planck()
    return ()


def drift_and_diffusion(inputs, settings):
    """f x and g."""
    process, t, x = process_of(settings), inputs["t"], inputs["x"]
    return {"drift": beside(each(process.f, t), x) * x, "diffusion": beside(each(lambda s: sqrt(process.g2(s)), t), x)}


def moments_are_moved(inputs, settings, expected):
    """The expected coefficients solve m' = f m, v' = 2 f v + g^2 for the process's alpha and sigma, by finite differences of those."""
    process = process_of(settings)
    with mpmath.workdps(30):
        for row, t in enumerate(inputs["t"]):
            h = mpf(10) ** -6
            slope = lambda function, t=t, h=h: (function(t + h) - function(t - h)) / (2 * h)
            f, g = (float(expected[name][row].flat[0]) for name in ("drift", "diffusion"))
            f /= float(inputs["x"][row].flat[0])
            alpha, variance = process.alpha(t), process.sigma(t) ** 2
            assert abs(slope(process.alpha) - f * alpha) < 1e-8 * (1 + abs(f) * alpha), f"the mean does not move by f = {f} at {t}"
            of_variance = slope(lambda s: process.sigma(s) ** 2)
            assert abs(of_variance - 2 * f * variance - g * g) < 1e-8 * (1 + g * g), f"the variance does not move by g = {g} at {t}"
    return ()


def reverse_drift(inputs, settings):
    """f x - (1 + eta^2) / 2 g^2 score."""
    process, t, x, eta = process_of(settings), inputs["t"], inputs["x"], mpf(settings.get("eta", 0))
    f, g2 = each(process.f, t), each(process.g2, t)
    return {"output": beside(f, x) * x - (beside(g2, x) + eta ** 2 * beside(g2, x)) * inputs["score"] / 2}


def score_function(inputs, settings):
    """x_0 and eps solved for from two linear equations: x_t = alpha x_0 + sigma eps, and what the prediction is of the two."""
    found, x, prediction = level(inputs, settings), inputs["x"], inputs["model_output"]
    out = np.empty(x.shape, dtype=object)
    for index in np.ndindex(x.shape):
        alpha, sigma = found["alpha"][index[0]], found["sigma"][index[0]]
        of_start, of_noise = {"epsilon": (0, 1), "sample": (1, 0), "v_prediction": (-sigma, alpha), "score": (0, -1 / sigma),
                              "flow_prediction": (-1, 1)}[settings["prediction_type"]]
        _, noise = mpmath.lu_solve(mpmath.matrix([[alpha, sigma], [of_start, of_noise]]), mpmath.matrix([x[index], prediction[index]]))
        out[index] = -noise / sigma
    return {"output": out}


def prior_std(settings):
    """sigma at the end, or at the time that is given."""
    return process_of(settings).sigma(mpf(1) if settings["t"] is None else mpf(settings["t"]))


def prior_sampling(inputs, settings):
    """The prior's standard deviation times the noise."""
    return {"output": prior_std(settings) * inputs["noise"]}


def normal_density(x, mean, variance):
    """N(x; mean, variance)."""
    return exp(-(x - mean) ** 2 / (2 * variance)) / sqrt(2 * pi * variance)


def prior_logp(inputs, settings):
    """The logarithm of the product of the densities: no exponent is too large for mpmath."""
    variance = prior_std(settings) ** 2
    return {"output": np.array([log(mpmath.fprod(normal_density(z, 0, variance) for z in row.flat)) for row in inputs["z"]], dtype=object)}


# -- exactly known data ------------------------------------------------------------------------------------------------------


def components(inputs, settings):
    """[(weight, means, standard deviations)] of the data, in its own coordinates, each flat."""
    if "weights" in settings:
        means, stds = inputs["means"], inputs["stds"]
        spread = [np.broadcast_to(std, means.shape[1:]).ravel() for std in stds]
        return [(mpf(w), mean.ravel(), std) for w, mean, std in zip(settings["weights"], means, spread)]
    return [(mpf(1), np.asarray(inputs["mean"]).ravel(), np.asarray(inputs["std"]).ravel())]


def rotation_of(settings, size):
    """The rotation of the settings, or the identity."""
    rows = settings.get("rotation", np.eye(size))
    return np.array([[mpf(float(v)) for v in row] for row in rows], dtype=object)


def log_density(inputs, settings, alpha, sigma):
    """log q of alpha x_0 + sigma eps, a function of one flat x."""
    parts = components(inputs, settings)
    turn = rotation_of(settings, len(parts[0][1]))

    def at(x):
        y = turn.dot(x)
        return log(sum(w * mpmath.fprod(normal_density(v, alpha * m, (alpha * s) ** 2 + sigma ** 2) for v, m, s in zip(y, mean, std))
                       for w, mean, std in parts))

    return at


def score_at(inputs, settings, alpha, sigma):
    """The score of one flat x, by numerical differentiation of log q."""
    density = log_density(inputs, settings, alpha, sigma)
    h = mpf(10) ** -20

    def at(x):
        units = np.array([[h if i == j else mpf(0) for j in range(len(x))] for i in range(len(x))], dtype=object)
        return np.array([(density(x + unit) - density(x - unit)) / (2 * h) for unit in units], dtype=object)

    return at


def jacobian_of_score(inputs, settings, x):
    """The Hessian of log q at one flat x, by second differences."""
    density = log_density(inputs, settings, mpf(settings["alpha"]), mpf(settings["sigma"]))
    h, size = mpf(10) ** -12, len(x)
    units = np.array([[h if i == j else mpf(0) for j in range(size)] for i in range(size)], dtype=object)
    out = np.empty((size, size), dtype=object)
    for i in range(size):
        for j in range(size):
            corners = [(a, b, density(x + a * units[i] + b * units[j])) for a in (1, -1) for b in (1, -1)]
            out[i, j] = sum(a * b * value for a, b, value in corners) / (4 * h * h)
    return out


def divergence(inputs, settings):
    """The trace of the Jacobian, or its mean over the probes z^T J z."""
    out = []
    for n, x in enumerate(inputs["x"]):
        jacobian = jacobian_of_score(inputs, settings, x.ravel())
        if "probes" in inputs:
            probes = [probe[n].ravel() for probe in inputs["probes"]]
            out.append(sum(z.dot(jacobian).dot(z) for z in probes) / len(probes))
        else:
            out.append(sum(jacobian[i, i] for i in range(len(jacobian))))
    return {"output": np.array(out, dtype=object)}


def score_matching(inputs, settings):
    """The mean over the batch of tr J + |s|^2 / 2, or of v^T J v + |s|^2 / 2 or (v^T s)^2 / 2."""
    total, score = mpf(0), score_at(inputs, settings, mpf(settings["alpha"]), mpf(settings["sigma"]))
    for n, x in enumerate(inputs["x"]):
        jacobian, s = jacobian_of_score(inputs, settings, x.ravel()), score(x.ravel())
        if "v" not in inputs:
            total += sum(jacobian[i, i] for i in range(len(s))) + s.dot(s) / 2
        else:
            v = inputs["v"][n].ravel()
            total += v.dot(jacobian).dot(v) + (s.dot(s) if settings["variance_reduced"] else v.dot(s) ** 2) / 2
    return {"output": np.array(total / len(inputs["x"]), dtype=object)}


# -- steps -------------------------------------------------------------------------------------------------------------------


def euler_maruyama(inputs, settings):
    """x + f dt + g sqrt(dt) z from time to time, forwards, or the reverse equation with a share eta of the noise."""
    process, x, times = process_of(settings), inputs["x"], [mpf(t) for t in settings["times"]]
    backwards, eta = settings["direction"] == "backwards", mpf(settings["eta"])
    draws = iter(inputs.get("noise", ()))
    for k, (t, after) in enumerate(pairwise(times)):
        f, g = process.f(t), sqrt(process.g2(t))
        drift, spread = f * x, g
        if backwards:
            score = score_at(inputs, settings, process.alpha(t), process.sigma(t))
            drift = drift - (1 + eta ** 2) * g ** 2 / 2 * np.array([score(row) for row in x], dtype=object)
            spread = eta * g
        if spread == 0 or (settings["denoise"] and k == len(times) - 2):
            x = x + (after - t) * drift
        else:
            x = x + (after - t) * drift + sqrt(abs(after - t)) * spread * next(draws)
    return {"output": x}


def langevin_step(inputs, settings):
    """x + eps score + sqrt(2 eps) z."""
    eps = mpf(settings["step_size"])
    return {"output": inputs["x"] + eps * inputs["score"] + sqrt(2 * eps) * inputs["noise"]}


def norms(x, batch_mean):
    """Euclidean lengths of the batch, or their mean."""
    found = [sqrt(sum(v ** 2 for v in row.flat)) for row in x]
    return [sum(found) / len(found)] if batch_mean else found


def langevin_step_size(inputs, settings):
    """2 alpha (snr |z| / |score|)^2, Song et al. 2021, Algorithms 4 and 5."""
    score, noise, snr = inputs["score"], inputs["noise"], mpf(settings["snr"])
    pairs = zip(norms(noise, settings["batch_mean"]), norms(score, settings["batch_mean"]))
    return {"output": beside(np.array([2 * mpf(settings["alpha"]) * (snr * z / s) ** 2 for z, s in pairs], dtype=object), score)}


# -- likelihood --------------------------------------------------------------------------------------------------------------


def normal_cdf(x, mean, std):
    """The normal distribution function."""
    return erfc((mean - x) / (std * sqrt(2))) / 2


def carried(x, here, there, parts):
    """Where the flow takes a number x from one level to another: to the same quantile."""
    (alpha, sigma), (alpha_t, sigma_t) = here, there
    share = lambda x, alpha, sigma: sum(w * normal_cdf(x, alpha * m, sqrt((alpha * s) ** 2 + sigma ** 2)) for w, m, s in parts)
    wanted = share(x, alpha, sigma)
    middle = sum(w * m for w, m, _ in parts)
    spread = lambda alpha, sigma: sqrt(sum(w * ((alpha * s) ** 2 + sigma ** 2 + alpha ** 2 * (m - middle) ** 2) for w, m, s in parts))
    guess = alpha_t * middle + (x - alpha * middle) * spread(alpha_t, sigma_t) / spread(alpha, sigma)
    return mpmath.findroot(lambda y: share(y, alpha_t, sigma_t) - wanted, (guess, guess + spread(alpha_t, sigma_t) / 100))


def log_likelihood(inputs, settings):
    """A flow on a line keeps quantiles, F_T(x_T) = F_s(x_s), and so dx_T / dx_s = q_s / q_T; Gaussian coordinates flow each on its own.

    Then log p(x_s) = log prior(x_T) + log |dx_T / dx_s|. With probes z and Gaussian data the Jacobian of the flow's velocity is the same
    everywhere, and z^T log|dx_T / dx_s| z takes the place of the logarithm of the determinant.
    """
    process, parts = process_of(settings), components(inputs, settings)
    here, there = ((process.alpha(mpf(settings[t])), process.sigma(mpf(settings[t]))) for t in ("start", "end"))
    size = len(parts[0][1])
    turn, log_prob, latent = rotation_of(settings, size), [], np.empty(inputs["x"].shape, dtype=object)
    density = lambda x, of, alpha, sigma: sum(w * normal_density(x, alpha * m, (alpha * s) ** 2 + sigma ** 2) for w, m, s in of)
    for n, x in enumerate(inputs["x"]):
        y, ends, growths = turn.dot(x), [], []
        for d in range(size):
            of = [(w, mean[d], std[d]) for w, mean, std in parts]
            ends.append(carried(y[d], here, there, of))
            growths.append(log(density(y[d], of, *here) / density(ends[d], of, *there)))
        latent[n] = np.array(ends, dtype=object).dot(turn)
        volume = sum(growths)
        if "probes" in inputs:
            turned = [turn.dot(probe[n]) for probe in inputs["probes"]]
            volume = sum(sum(g * v ** 2 for g, v in zip(growths, z)) for z in turned) / len(turned)
        log_prob.append(sum(log(normal_density(v, 0, there[1] ** 2)) for v in latent[n]) + volume)
    return {"log_prob": np.array(log_prob, dtype=object), "latent": latent}


def uniform_dequantization(inputs, settings):
    """Integer k covers the k-th of 256 equal parts of [-1, 1)."""
    width, pixels = mpf(2) / 256, zip(inputs["images"].flat, inputs["noise"].flat)
    return {"output": np.array([-1 + width * int(k) + width * u for k, u in pixels], dtype=object)}


def bits_per_dim(inputs, settings):
    """An integer's probability is the density times the width, for each dimension; the rest is its logarithm."""
    width, dimensions = mpf(settings["width"]), settings["dimensions"]
    return {"output": each(lambda nats: -(nats / log(2) + dimensions * log(width, 2)) / dimensions, inputs["log_prob"])}


SAME_MARGINALS = f"{KIND}; sympy: solves the Fokker-Planck equation of Gaussian marginals"
ORACLES = {
    "process_level": Oracle("mpmath, 50 digits: the moments' equations integrated", level),
    "process_log_snr": Oracle("mpmath, 50 digits: the moments' equations integrated", log_snr),
    "process_time_of": Oracle("mpmath, 50 digits: the log-SNR at the time found", check=time_is_inverse),
    "process_step": Oracle("mpmath, 50 digits: the difference of the log-SNRs", step),
    "marginal_prob": Oracle("mpmath, 50 digits: the moments' equations integrated; 40,000 random walks, 6 standard errors", marginal_prob,
                            check=simulated),
    "drift_and_diffusion": Oracle(f"{KIND}, by differentiation; the moments' equations by finite differences", drift_and_diffusion,
                                  check=moments_are_moved),
    "reverse_drift": Oracle(SAME_MARGINALS, reverse_drift, check=in_the_fokker_planck_equation),
    "probability_flow_velocity": Oracle(SAME_MARGINALS, reverse_drift, check=in_the_fokker_planck_equation),
    "score_function": Oracle("mpmath, 50 digits: two linear equations solved", score_function),
    "prior_sampling": Oracle(KIND, prior_sampling),
    "prior_logp": Oracle("mpmath, 50 digits: the logarithm of a product of densities", prior_logp),
    "euler_maruyama": Oracle("mpmath, 50 digits, scores by differentiation of the log-density", euler_maruyama),
    "langevin_step": Oracle(KIND, langevin_step),
    "langevin_step_size": Oracle(KIND, langevin_step_size),
    "divergence": Oracle("mpmath, 50 digits: second differences of the log-density", divergence),
    "log_likelihood": Oracle("mpmath, 50 digits: the flow on a line keeps quantiles", log_likelihood),
    "uniform_dequantization": Oracle(KIND, uniform_dequantization),
    "bits_per_dim": Oracle(KIND, bits_per_dim),
    "implicit_score_matching": Oracle("mpmath, 50 digits: differences of the log-density", score_matching),
    "sliced_score_matching": Oracle("mpmath, 50 digits: differences of the log-density", score_matching),
}
