"""The forward process and a step back, in 50 digits: from the definitions, step by step, and by conditioning Gaussian variables."""

from __future__ import annotations

from itertools import accumulate, pairwise
from operator import mul

import numpy as np
from mpmath import cos, exp, log, lu_solve, matrix, mpf, pi, sqrt

from reference.oracles.oracle import Oracle


def betas_of(settings):
    """beta_0 ... beta_{T-1} from the definitions."""
    count = settings["num_train_timesteps"]
    if settings["beta_schedule"] == "squaredcos_cap_v2":
        level = [cos((mpf(i) / count + mpf("0.008")) / mpf("1.008") * pi / 2) ** 2 for i in range(count + 1)]
        return [min(1 - after / before, mpf(settings["max_beta"])) for before, after in pairwise(level)]
    first, last = mpf(settings["beta_start"]), mpf(settings["beta_end"])
    if settings["beta_schedule"] == "scaled_linear":
        betas = [(sqrt(first) + (sqrt(last) - sqrt(first)) * t / (count - 1)) ** 2 for t in range(count)]
    else:
        betas = [first + (last - first) * t / (count - 1) for t in range(count)]
    return with_zero_snr(betas) if settings["rescale_betas_zero_snr"] else betas


def with_zero_snr(betas):
    """Lin et al. 2023, Algorithm 1."""
    roots = list(accumulate((sqrt(1 - beta) for beta in betas), mul))
    shifted = [(root - roots[-1]) * roots[0] / (roots[0] - roots[-1]) for root in roots]
    return [1 - (after / before) ** 2 for before, after in pairwise([mpf(1), *shifted])]


def walked(betas, start, stop):
    """(factor, variance) of x after the steps start ... stop - 1, each x <- sqrt(1 - beta) x + sqrt(beta) eps, one at a time."""
    factor, variance = mpf(1), mpf(0)
    for beta in betas[start:stop]:
        factor, variance = factor * sqrt(1 - beta), variance * (1 - beta) + beta
    return factor, variance


def each(function):
    """values(inputs, settings) from a function of one of the batch, (betas, t, its inputs, settings) -> outputs by name."""

    def values(inputs, settings):
        betas = betas_of(settings)
        found = [function(betas, int(inputs["t"][n]), {name: x[n] for name, x in inputs.items()}, settings)
                 for n in range(len(inputs["t"]))]
        return {name: np.array([one[name] for one in found], dtype=object) for name in found[0]}

    return values


def alike(x, value):
    """One number in the shape of x."""
    return np.full(x.shape, value, dtype=object)


def gaussian(x, mean, variance):
    """Mean, variance and its logarithm as outputs."""
    return {"mean": mean, "variance": alike(x, variance), "log_variance": alike(x, log(variance))}


def q_step(betas, t, x, settings):
    """One step of the chain, Ho et al. 2020, Eq. 2."""
    return {"output": sqrt(1 - betas[t]) * x["x_prev"] + sqrt(betas[t]) * x["noise"]}


def q_sample(betas, t, x, settings):
    """x_t as all the steps together make it."""
    factor, variance = walked(betas, 0, t + 1)
    return {"output": factor * x["x_start"] + sqrt(variance) * x["noise"]}


def q_mean_variance(betas, t, x, settings):
    """The Gaussian of x_t given x_0, from all the steps."""
    factor, variance = walked(betas, 0, t + 1)
    return gaussian(x["x_start"], factor * x["x_start"], variance)


def q_sample_between(betas, t, x, settings):
    """x_t as the steps after s make it of x_s."""
    factor, variance = walked(betas, int(x["s"]) + 1, t + 1)
    return {"output": factor * x["x_s"] + sqrt(variance) * x["noise"]}


def q_mean_variance_between(betas, t, x, settings):
    """The Gaussian of x_t given x_s, from the steps between."""
    factor, variance = walked(betas, int(x["s"]) + 1, t + 1)
    return gaussian(x["x_s"], factor * x["x_s"], variance)


def conditioned(betas, s, t, start, x_t):
    """(mean, variance) of x_s given x_t and x_0: two jointly normal variables, conditioned. s = -1 is the data."""
    factor_s, variance_s = walked(betas, 0, s + 1)
    factor, fresh = walked(betas, s + 1, t + 1)
    covariance, variance_t = factor * variance_s, factor ** 2 * variance_s + fresh
    surprise = x_t - factor * factor_s * start
    return factor_s * start + covariance / variance_t * surprise, variance_s - covariance ** 2 / variance_t


def log_small(betas, t, least):
    """log of the posterior's variance, which does not depend on the data."""
    zero = np.zeros((), dtype=object)
    if least is None:
        return log(conditioned(betas, max(t, 1) - 1, max(t, 1), zero, zero)[1])
    return log(max(conditioned(betas, t - 1, t, zero, zero)[1], mpf(least)))


def q_posterior_mean_variance(betas, t, x, settings):
    """x_{t-1} given x_t and x_0, by conditioning."""
    mean, variance = conditioned(betas, t - 1, t, x["x_start"], x["x_t"])
    return {"mean": mean, "variance": alike(mean, variance), "log_variance": alike(mean, log_small(betas, t, settings["min_variance"]))}


def q_posterior_mean_variance_between(betas, t, x, settings):
    """x_s given x_t and x_0, by conditioning; with eta other than 1 the variance is DDIM's."""
    s, eta = int(x["s"]), mpf(settings["eta"])
    if eta == 1:
        mean, variance = conditioned(betas, s, t, x["x_start"], x["x_t"])
    else:  # Song et al. 2021 (DDIM), Eq. 7 and 16
        (factor_s, variance_s), (factor_t, variance_t) = walked(betas, 0, s + 1), walked(betas, 0, t + 1)
        variance = eta ** 2 * variance_s / variance_t * (1 - factor_t ** 2 / factor_s ** 2)
        mean = factor_s * x["x_start"] + sqrt(variance_s - variance) * (x["x_t"] - factor_t * x["x_start"]) / sqrt(variance_t)
    return {"mean": mean, "variance": alike(mean, variance)}


def mixture(kind, factor, deviation):
    """(p, q): what a model of this kind predicts is p x_0 + q eps."""
    return {"epsilon": (0, 1), "sample": (1, 0), "v_prediction": (-deviation, factor), "score": (0, -1 / deviation),
            "flow_prediction": (-1, 1)}[kind]


def solved(kind, betas, t, x_t, prediction):
    """(x_0, eps), element by element: the solution of two equations, by elimination."""
    factor, variance = walked(betas, 0, t + 1)
    p, q = mixture(kind, factor, sqrt(variance))
    start, noise = np.empty(x_t.shape, dtype=object), np.empty(x_t.shape, dtype=object)
    for index in np.ndindex(x_t.shape):
        if kind == "sample":
            start[index], noise[index] = prediction[index], (x_t[index] - factor * prediction[index]) / sqrt(variance)
        else:
            start[index], noise[index] = lu_solve(matrix([[factor, sqrt(variance)], [p, q]]), matrix([x_t[index], prediction[index]]))
    return start, noise


def target(kind, betas, t, start, noise):
    """p x_0 + q eps, what a model of this kind should say."""
    factor, variance = walked(betas, 0, t + 1)
    p, q = mixture(kind, factor, sqrt(variance))
    return {"output": p * start + q * noise}


def from_type(kind, output):
    """The oracle of a function that turns one prediction, named in the inputs, into x_0 ("sample") or eps ("epsilon")."""
    return each(lambda betas, t, x, settings: {"output": solved(
        kind, betas, t, x["x_t"], x[{"epsilon": "noise", "sample": "x_start", "v_prediction": "v"}[kind]])[output == "epsilon"]})


def convert(betas, t, x, settings):
    """A prediction of one kind as one of another: solved for x_0 and eps, and put together again."""
    return target(settings["to_type"], betas, t, *solved(settings["from_type"], betas, t, x["x_t"], x["prediction"]))


def training_target(betas, t, x, settings):
    """What the model should say, from x_0 and eps."""
    return target(settings["prediction_type"], betas, t, x["x_start"], x["noise"])


def mean_from_epsilon(betas, t, x, settings):
    """The posterior's mean with the x_0 that the noise says."""
    start, _ = solved("epsilon", betas, t, x["x_t"], x["noise"])
    return {"output": conditioned(betas, t - 1, t, start, x["x_t"])[0]}


def p_mean_variance(betas, t, x, settings):
    """The model's step back: the x_0 that it says, clipped, conditioned on; and the variance of each kind."""
    x_t, kind, least = x["x_t"], settings["variance_type"], settings["min_variance"]
    said, of_variance = x["model_output"], None
    if kind.startswith("learned"):
        said, of_variance = said[:len(x_t)], said[len(x_t):]
    start, _ = solved(settings["prediction_type"], betas, t, x_t, said)
    if settings["clip_denoised"]:
        start = np.vectorize(lambda v: min(max(v, mpf(-1)), mpf(1)), otypes=[object])(start)
    mean, variance = conditioned(betas, t - 1, t, start, x_t)
    variance, small, large = alike(x_t, variance), alike(x_t, log_small(betas, t, least)), alike(x_t, log(betas[t]))
    every = np.vectorize(exp, otypes=[object])
    if kind == "fixed_small":
        log_variance = small
    elif kind == "fixed_large":
        log_variance = small if t == 0 and least is None else large
    else:
        log_variance = of_variance if kind == "learned" else small + (of_variance + 1) / 2 * (large - small)
    return {"mean": mean, "variance": variance if kind == "fixed_small" else every(log_variance), "log_variance": log_variance,
            "pred_xstart": start}


def quantile(values, ratio):
    """By the definition: the value at the place ratio (n - 1) of the sorted list, on straight lines between its entries."""
    ordered = sorted(values)
    place = mpf(ratio) * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] * (1 - (place - below)) + ordered[above] * (place - below)


def dynamic_threshold(inputs, settings):
    """Saharia et al. 2022: cut at a quantile of |x|, at least 1, and divided by it."""
    x, out = inputs["x_start"], np.empty(inputs["x_start"].shape, dtype=object)
    for n in range(len(x)):
        limit = max(quantile([abs(v) for v in x[n].flat], settings["ratio"]), mpf(1))
        limit = limit if settings["max_value"] is None else min(limit, mpf(settings["max_value"]))
        for index in np.ndindex(x[n].shape):
            out[(n, *index)] = min(max(x[n][index], -limit), limit) / limit
    return {"output": out}


def static_threshold(inputs, settings):
    """Cut to [-max_value, max_value]."""
    limit = mpf(settings["max_value"])
    return {"output": np.vectorize(lambda v: min(max(v, -limit), limit), otypes=[object])(inputs["x_start"])}


def coefficients(sigma, spread):
    """Derived as in Karras et al. 2022, Appendix B.6: c_in and c_out make variances 1, c_skip makes c_out smallest.

    With x = x_0 + sigma eps, x_0 of variance spread^2: c_skip is the regression of x_0 on x, covariance / variance.
    """
    variance = spread ** 2 + sigma ** 2
    c_skip = spread ** 2 / variance
    left = (1 - c_skip) ** 2 * spread ** 2 + c_skip ** 2 * sigma ** 2  # the variance of x_0 - c_skip x
    return c_skip, sqrt(left), 1 / sqrt(variance), log(sigma) / 4


def edm_preconditioning(inputs, settings):
    """The four coefficients of each sigma."""
    found = [coefficients(sigma, mpf(settings["sigma_data"])) for sigma in inputs["sigma"]]
    return dict(zip(("c_skip", "c_out", "c_in", "c_noise"), zip(*found)))


def edm_precondition(inputs, settings):
    """What the network gets, and what is made of its answer."""
    x, answer = inputs["x"], inputs["network_output"]
    found = [coefficients(sigma, mpf(settings["sigma_data"])) for sigma in inputs["sigma"]]
    return {
        "network_input": np.array([c_in * one for one, (_, _, c_in, _) in zip(x, found)], dtype=object),
        "c_noise": [c_noise for _, _, _, c_noise in found],
        "output": np.array([c_skip * one + c_out * said for one, said, (c_skip, c_out, _, _) in zip(x, answer, found)], dtype=object),
    }


WALKED = "mpmath, 50 digits, step by step from the definition"
CONDITIONED = "mpmath, 50 digits, one Gaussian variable conditioned on another"
SOLVED = "mpmath, 50 digits, linear equations solved"

ORACLES = {
    **{function.__name__: Oracle(WALKED, each(function))
       for function in (q_step, q_sample, q_mean_variance, q_sample_between, q_mean_variance_between)},
    **{function.__name__: Oracle(CONDITIONED, each(function))
       for function in (q_posterior_mean_variance, q_posterior_mean_variance_between, p_mean_variance)},
    "q_posterior_mean_from_epsilon": Oracle(CONDITIONED, each(mean_from_epsilon)),
    "predict_start_from_noise": Oracle(SOLVED, from_type("epsilon", "sample")),
    "predict_noise_from_start": Oracle(SOLVED, from_type("sample", "epsilon")),
    "predict_start_from_v": Oracle(SOLVED, from_type("v_prediction", "sample")),
    "predict_noise_from_v": Oracle(SOLVED, from_type("v_prediction", "epsilon")),
    "predict_v": Oracle(WALKED, each(lambda betas, t, x, settings: target("v_prediction", betas, t, x["x_start"], x["noise"]))),
    "convert": Oracle(SOLVED, each(convert)),
    "training_target": Oracle(WALKED, each(training_target)),
    "static_threshold": Oracle("mpmath, 50 digits, naive loops", static_threshold),
    "dynamic_threshold": Oracle("mpmath, 50 digits, naive loops", dynamic_threshold),
    "edm_preconditioning": Oracle("mpmath, 50 digits, variances as in the paper's derivation", edm_preconditioning),
    "edm_precondition": Oracle("mpmath, 50 digits, variances as in the paper's derivation", edm_precondition),
}
