"""Exactly known data by Bayes' rule in 50 digits: densities multiplied and added as they are, for mpmath's exponents do not overflow.

The best guess of x_0 is a mean of the components' posterior means, each in the form of precisions; the score follows from it by Tweedie's
formula. Laws of samplers and of reverse equations come from recursions and integrals of the variance.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import mpmath
import numpy as np
from mpmath import cos, exp, fprod, log, mpf, pi, quad, sqrt

from reference.oracles.oracle import Oracle


class Process(NamedTuple):
    """alpha and sigma as functions of time."""

    alpha: Callable
    sigma: Callable


def process_of(settings) -> Process:
    """The process of the settings, from its closed form."""
    told = {key: value if isinstance(value, str) else mpf(value) for key, value in settings["process"].items()}
    name = told["name"]
    if name in ("VariancePreserving", "SubVariancePreserving"):
        gathered = lambda t: told["beta_min"] * t + (told["beta_max"] - told["beta_min"]) * t ** 2 / 2
        variance = lambda t: 1 - exp(-gathered(t))
        return Process(lambda t: exp(-gathered(t) / 2), variance if name.startswith("Sub") else lambda t: sqrt(variance(t)))
    if name == "VarianceExploding":
        return Process(lambda t: mpf(1), lambda t: told["sigma_min"] * (told["sigma_max"] / told["sigma_min"]) ** t)
    if name == "Cosine":
        angle = lambda t: (t + told["s"]) / (1 + told["s"]) * pi / 2
        return Process(lambda t: cos(angle(t)) / cos(angle(0)), lambda t: sqrt(1 - (cos(angle(t)) / cos(angle(0))) ** 2))
    if name == "StraightLine":
        return Process(lambda t: 1 - t, lambda t: t)
    return Process(lambda t: mpf(1), lambda t: t)


class Component(NamedTuple):
    """A Gaussian of the data, its numbers flat: weight, mean, standard deviation."""

    weight: mpf
    mean: np.ndarray
    std: np.ndarray


def components(inputs, settings) -> list[Component]:
    """Of the data in its own coordinates, flat."""
    if "data" in inputs:
        count = len(inputs["data"])
        return [Component(mpf(1) / count, point.ravel(), np.array([mpf(0)] * point.size, dtype=object)) for point in inputs["data"]]
    if "weights" in settings:
        return [Component(mpf(w), mean.ravel(), std.ravel()) for w, mean, std in zip(settings["weights"], inputs["means"], inputs["stds"])]
    return [Component(mpf(1), inputs["mean"].ravel(), inputs["std"].ravel())]


def density(x, mean, variance):
    """N(x; mean, variance)."""
    return exp(-(x - mean) ** 2 / (2 * variance)) / sqrt(2 * pi * variance)


def joint(x, part, alpha, sigma):
    """w N(x; alpha m, alpha^2 s^2 + sigma^2)."""
    return part.weight * fprod(density(v, alpha * m, (alpha * s) ** 2 + sigma ** 2) for v, m, s in zip(x, part.mean, part.std))


def guess(x, part, alpha, sigma):
    """E[x_0 | x] of one component: prior and observation weighed by their precisions."""
    return np.array([m if s == 0 else (m / s ** 2 + alpha * v / sigma ** 2) / (1 / s ** 2 + alpha ** 2 / sigma ** 2)
                     for v, m, s in zip(x, part.mean, part.std)], dtype=object)


def start_of(x, parts, alpha, sigma):
    """E[x_0 | x] of one flat x."""
    shares = [joint(x, part, alpha, sigma) for part in parts]
    return sum(share / sum(shares) * guess(x, part, alpha, sigma) for share, part in zip(shares, parts))


def rows(inputs, settings, function):
    """function(flat x, parts, alpha, sigma) of each of the batch, in the data's own coordinates, and turned back."""
    parts, out = components(inputs, settings), []
    for n, x in enumerate(inputs["x"]):
        alpha, sigma = inputs["alpha"][n], inputs["sigma"][n]
        if "rotation" in settings:
            turn = np.array([[mpf(v) for v in row] for row in settings["rotation"]], dtype=object)
            found = function(turn.dot(x), parts, alpha, sigma)
            found = found.dot(turn) if isinstance(found, np.ndarray) else found
        else:
            found = function(x.ravel(), parts, alpha, sigma)
        out.append(found.reshape(x.shape) if isinstance(found, np.ndarray) and found.size == x.size else found)
    return {"output": np.array(out, dtype=object)}


def start(inputs, settings):
    """E[x_0 | x] of each of the batch."""
    return rows(inputs, settings, start_of)


def score(inputs, settings):
    """(alpha E[x_0 | x] - x) / sigma^2, Tweedie's formula."""
    return rows(inputs, settings, lambda x, parts, alpha, sigma: (alpha * start_of(x, parts, alpha, sigma) - x) / sigma ** 2)


def log_prob(inputs, settings):
    """The logarithm of the sum of the components' densities."""
    return rows(inputs, settings, lambda x, parts, alpha, sigma: log(sum(joint(x, part, alpha, sigma) for part in parts)))


def log_responsibilities(inputs, settings):
    """log p(k | x), each component's share of the sum."""
    def of(x, parts, alpha, sigma):
        shares = [joint(x, part, alpha, sigma) for part in parts]
        return [log(share / sum(shares)) for share in shares]

    return rows(inputs, settings, of)


def model(inputs, settings):
    """The prediction from E[x_0 | x] and E[eps | x] = (x - alpha E[x_0 | x]) / sigma."""
    process, parts, out = process_of(settings), components(inputs, settings), []
    for x, t in zip(inputs["x"], inputs["t"]):
        alpha, sigma = process.alpha(t), process.sigma(t)
        clean = start_of(x, parts, alpha, sigma)
        noise = (x - alpha * clean) / sigma
        out.append({"epsilon": noise, "sample": clean, "v_prediction": alpha * noise - sigma * clean, "score": -noise / sigma,
                    "flow_prediction": noise - clean}[settings["prediction_type"]])
    return {"output": np.array(out, dtype=object)}


# -- reverse equations ---------------------------------------------------------------------------------------------------------


def coefficients(settings):
    """f and g^2 of the two processes that are integrated here."""
    told = settings["process"]
    if told["name"] == "EDM":
        return (lambda t: mpf(0)), (lambda t: 2 * t)
    assert told["name"] == "VariancePreserving", told
    beta = lambda t: mpf(told["beta_min"]) + (mpf(told["beta_max"]) - mpf(told["beta_min"])) * t
    return (lambda t: -beta(t) / 2), beta


def transport(inputs, settings):
    """The moments of dx = [f x + (1 + eta^2) / 2 g^2 (x - alpha m) / v] dt + eta g dw, integrated numerically from t down to s.

    The distance to alpha m grows at the rate a = f + (1 + eta^2) / 2 g^2 / v of time, and shrinks backwards by exp(-int a).
    """
    process, (f, g2) = process_of(settings), coefficients(settings)
    t, s, eta = mpf(settings["t"]), mpf(settings["s"]), mpf(settings["eta"])
    means, variances = [], []
    with mpmath.workdps(20):
        for x, spread, m, std in zip(inputs["x_mean"], inputs["x_variance"], inputs["mean"], inputs["std"]):
            v = lambda at, std=std: (process.alpha(at) * std) ** 2 + process.sigma(at) ** 2
            rate = lambda at, v=v: f(at) + (1 + eta ** 2) / 2 * g2(at) / v(at)
            shrunk = lambda at, rate=rate: exp(-quad(rate, [s, at]))
            means.append(process.alpha(s) * m + shrunk(t) * (x - process.alpha(t) * m))
            added = quad(lambda at, shrunk=shrunk: eta ** 2 * g2(at) * shrunk(at) ** 2, [s, t]) if eta > 0 else mpf(0)
            variances.append(shrunk(t) ** 2 * spread + added)
    return {"mean": np.array(means, dtype=object), "variance": np.array(variances, dtype=object)}


def standard_deviations(inputs, settings, time):
    """sqrt(alpha^2 s^2 + sigma^2) of each number of x, at a time."""
    process, at = process_of(settings), mpf(settings[time])
    return [sqrt((process.alpha(at) * std) ** 2 + process.sigma(at) ** 2) for std in inputs["std"]]


def flow(inputs, settings):
    """A flow keeps how many standard deviations x is from the mean."""
    process, means = process_of(settings), inputs["mean"]
    wide, narrow = (standard_deviations(inputs, settings, time) for time in ("t", "s"))
    (before, after) = (process.alpha(mpf(settings[time])) for time in ("t", "s"))
    return {"output": np.array([[after * m + b * (v - before * m) / a for v, m, a, b in zip(x, means, wide, narrow)] for x in inputs["x"]],
                               dtype=object)}


def flow_log_determinant(inputs, settings):
    """The logarithm of what the flow does to a volume: the quotient of the products of standard deviations."""
    wide, narrow = (standard_deviations(inputs, settings, time) for time in ("t", "s"))
    return {"output": np.array(log(fprod(narrow) / fprod(wide)), dtype=object)}


# -- laws ------------------------------------------------------------------------------------------------------------------------


def sampler_law(inputs, settings):
    """The variance of x - alpha m, step by step: the perfect guess of x_0 - m is k (x - alpha m) with k = alpha std^2 / v."""
    process = process_of(settings)
    levels = [(process.alpha(mpf(t)), process.sigma(mpf(t))) for t in settings["times"]] + [(mpf(1), mpf(0))]
    stds = []
    for std in inputs["std"]:
        gain = lambda alpha, sigma, std=std: alpha * std ** 2 / ((alpha * std) ** 2 + sigma ** 2)
        variance = (levels[0][0] * std) ** 2 + levels[0][1] ** 2
        for (alpha, sigma), (alpha_s, sigma_s) in pairwise(levels):
            k, added = gain(alpha, sigma), mpf(0)
            if settings["sampler"] == "DDIM":
                factor = alpha_s * k + sigma_s * (1 - alpha * k) / sigma
            elif settings["sampler"] == "DDPM":
                a = alpha / alpha_s
                fresh = sigma ** 2 - a ** 2 * sigma_s ** 2
                factor = a * sigma_s ** 2 / sigma ** 2 + alpha_s * fresh / sigma ** 2 * k
                added = fresh * sigma_s ** 2 / sigma ** 2
            else:
                slope, length = (1 - k) / sigma, sigma_s - sigma
                euler = 1 + length * slope
                factor = euler if sigma_s == 0 else 1 + length * (slope + (1 - gain(alpha_s, sigma_s)) / sigma_s * euler) / 2
            variance = factor ** 2 * variance + added
        stds.append(sqrt(variance))
    return {"mean": inputs["mean"], "std": np.array(stds, dtype=object)}


def wasserstein(inputs, settings):
    """The cost E|x' - x|^2 of the optimal map, which keeps quantiles: x = m + s z goes to x' = m' + s' z, with z standard normal."""
    def cost(mean, std, mean_to, std_to):
        return quad(lambda z: density(z, 0, 1) * (mean_to + std_to * z - mean - std * z) ** 2, [-40, -8, -2, 0, 2, 8, 40])

    costs = [cost(*pair) for pair in zip(inputs["x_mean"], inputs["x_std"], inputs["mean"], inputs["std"])]
    return {"output": np.array(sqrt(sum(costs) / len(costs)), dtype=object)}


BAYES = "mpmath, 50 digits: Bayes' rule"
ORACLES = {
    **{f"{data}_{name}": Oracle(BAYES, function)
       for data in ("gaussian", "mixture", "points", "rotated")
       for name, function in {"start": start, "score": score, "log_prob": log_prob}.items()},
    "mixture_log_responsibilities": Oracle(BAYES, log_responsibilities),
    "points_log_responsibilities": Oracle(BAYES, log_responsibilities),
    "mixture_model": Oracle(BAYES, model),
    "gaussian_transport": Oracle("mpmath, 20 digits: the moments of the reverse equation integrated", transport),
    "gaussian_flow": Oracle("mpmath, 50 digits: a flow keeps standard deviations", flow),
    "gaussian_flow_log_determinant": Oracle("mpmath, 50 digits: a flow keeps standard deviations", flow_log_determinant),
    "sampler_law": Oracle("mpmath, 50 digits: the variance step by step", sampler_law),
    "wasserstein": Oracle("mpmath, 50 digits: the cost of the optimal map integrated", wasserstein),
}
