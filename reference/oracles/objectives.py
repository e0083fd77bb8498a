"""Losses, weights and bounds in 50 digits: sums written out, densities integrated numerically, weights from what an error does.

The weight of a squared error is found by making the error: a unit step in the prediction at a fixed x_t, what it does to x_0, and what
that does to the mean of the step back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mpmath import cos, diff, erfc, exp, inf, log, lu_solve, matrix, mpf, pi, quad, sech, sqrt, tanh

from reference.oracles.oracle import Oracle

# -- processes ---------------------------------------------------------------------------------------------------------


class Known(NamedTuple):
    """alpha and sigma as functions of time; betas, if it goes in steps."""

    alpha: Callable
    sigma: Callable
    betas: list | None = None


def process_of(settings):
    """The process of the settings: steps, or a closed form in continuous time."""
    if "beta_schedule" in settings:
        return stepwise(settings)
    told = settings["process"]
    if told["name"] == "EDM":
        return Known(lambda t: mpf(1), lambda t: t)
    if told["name"] == "StraightLine":
        return Known(lambda t: 1 - t, lambda t: t)
    if told["name"] == "Cosine":
        angle = lambda t: (t + mpf(told["s"])) / (1 + mpf(told["s"])) * pi / 2
        alpha = lambda t: cos(angle(t)) / cos(angle(mpf(0)))
        return Known(alpha, lambda t: sqrt(1 - alpha(t) ** 2))
    low, high = mpf(told["beta_min"]), mpf(told["beta_max"])
    gathered = lambda t: t * low + t * t * (high - low) / 2
    return Known(lambda t: exp(-gathered(t) / 2), lambda t: sqrt(1 - exp(-gathered(t))))


def stepwise(settings):
    """Evenly spaced betas, Ho et al. 2020."""
    count, first, last = settings["num_train_timesteps"], mpf(settings["beta_start"]), mpf(settings["beta_end"])
    betas = [first + (last - first) * t / (count - 1) for t in range(count)]
    left = [mpf(1)]
    for beta in betas:
        left.append(left[-1] * (1 - beta))
    return Known(lambda t: sqrt(left[int(t) + 1]), lambda t: sqrt(1 - left[int(t) + 1]), betas)


def mixture(kind, alpha, sigma):
    """(p, q): a model of this kind predicts p x_0 + q eps."""
    return {"epsilon": (0, 1), "sample": (1, 0), "v_prediction": (-sigma, alpha), "score": (0, -1 / sigma),
            "flow_prediction": (-1, 1)}[kind]


def effect(kind, alpha, sigma):
    """(change of x_0, change of eps) when the prediction changes by 1 and x_t does not."""
    return lu_solve(matrix([[alpha, sigma], list(mixture(kind, alpha, sigma))]), matrix([0, 1]))


def back(process, s, t):
    """(factor of x_0 in the mean of x_s given x_t and x_0, variance): by conditioning. s may be -1, the data."""
    alpha_s, sigma_s = (mpf(1), mpf(0)) if s == -1 else (process.alpha(s), process.sigma(s))
    alpha, variance_t = process.alpha(t), process.sigma(t) ** 2
    covariance = alpha / alpha_s * sigma_s ** 2
    return alpha_s - covariance / variance_t * alpha, sigma_s ** 2 - covariance ** 2 / variance_t


def log_fixed(process, kind, t, least):
    """The log variance of a step back that no model says."""
    small = log(back(process, max(t, 1) - 1, max(t, 1))[1]) if least is None else log(max(back(process, t - 1, t)[1], mpf(least)))
    if kind == "fixed_small" or (t == 0 and least is None):
        return small
    return log(process.betas[t])


# -- weights -----------------------------------------------------------------------------------------------------------


def weight_on_start(formula):
    """values of a weight that is formula(SNR, settings) for the squared error of x_0."""

    def values(inputs, settings):
        process = process_of(settings)
        levels = [(process.alpha(t), process.sigma(t)) for t in inputs["t"]]
        return {"output": [formula((alpha / sigma) ** 2, settings) * effect(settings["prediction_type"], alpha, sigma)[0] ** 2
                           for alpha, sigma in levels]}

    return values


def same_loss_weight(inputs, settings):
    """The square of what a unit error does to the prediction whose loss is meant."""
    process, out = process_of(settings), []
    for t in inputs["t"]:
        alpha, sigma = process.alpha(t), process.sigma(t)
        start, noise = effect(settings["prediction_type"], alpha, sigma)
        p, q = mixture(settings["loss_type"], alpha, sigma)
        out.append((p * start + q * noise) ** 2)
    return {"output": out}


def of_step(process, s, t, kind, variance):
    """1/2 (change of the mean of the step back)^2 / variance, for a change of the prediction by 1."""
    start, _ = effect(kind, process.alpha(t), process.sigma(t))
    return (back(process, s, t)[0] * start) ** 2 / variance / 2


def snr_difference_weight(inputs, settings):
    """Of the step from t back to s, with the posterior's variance."""
    process, kind = process_of(settings), settings["prediction_type"]
    return {"output": [of_step(process, s, t, kind, back(process, s, t)[1]) for s, t in zip(inputs["s"], inputs["t"])]}


def kl_weight(inputs, settings):
    """Of the step from t back to t - 1, with the model's variance."""
    process, kind = process_of(settings), settings["prediction_type"]
    variance = lambda t: exp(log_fixed(process, settings["variance_type"], t, settings["min_variance"]))
    return {"output": [of_step(process, t - 1, t, kind, variance(t)) for t in inputs["t"].tolist()]}


def velocity_weight(inputs, settings):
    """The square of what a unit error does to the velocity alpha' x_0 + sigma' eps."""
    process, out = process_of(settings), []
    for t in inputs["t"]:
        start, noise = effect(settings["prediction_type"], process.alpha(t), process.sigma(t))
        out.append((diff(process.alpha, t) * start + diff(process.sigma, t) * noise) ** 2)
    return {"output": out}


def importance_weights(inputs, settings):
    """1 / (T p_t)."""
    p = inputs["probabilities"]
    return {"output": [1 / (len(p) * p[t]) for t in inputs["t"]]}


def loss_history_probabilities(inputs, settings):
    """In proportion to the root mean square of each time's losses, mixed with a uniform share."""
    sizes = [sqrt(sum(loss ** 2 for loss in row) / len(row)) for row in inputs["losses"]]
    share = mpf(settings["uniform_prob"])
    return {"output": [(1 - share) * size / sum(sizes) + share / len(sizes) for size in sizes]}


# -- squared errors ----------------------------------------------------------------------------------------------------


def squares(inputs, settings, target):
    """For each of the batch the list of its squared errors; target(t, x_0, eps) is what the model should say."""
    found = zip(inputs["model_output"], inputs["x_start"], inputs["noise"], inputs["t"])
    return [[(said - target(t, start, noise)) ** 2 for said, start, noise in zip(output.flat, x.flat, eps.flat)]
            for output, x, eps, t in found]


def predicted(settings):
    """What a model of the settings' kind should say, as a function of (t, x_0, eps)."""
    process = process_of(settings)

    def target(t, start, noise):
        p, q = mixture(settings["prediction_type"], process.alpha(t), process.sigma(t))
        return p * start + q * noise

    return target


def weighted(errors, inputs):
    """The mean of all squared errors, each sample's times its weight."""
    weights = inputs.get("weight", [mpf(1)] * len(errors))
    return sum(w * sum(row) for w, row in zip(weights, errors)) / sum(len(row) for row in errors)


def simple_loss(inputs, settings):
    """The mean over all of the batch."""
    return {"output": weighted(squares(inputs, settings, predicted(settings)), inputs)}


def training_losses(inputs, settings):
    """The mean for each of the batch."""
    return {"output": [sum(row) / len(row) for row in squares(inputs, settings, predicted(settings))]}


def velocity(settings):
    """alpha' x_0 + sigma' eps as a function of (t, x_0, eps), by numerical derivatives."""
    process = process_of(settings)
    return lambda t, start, noise: diff(process.alpha, t) * start + diff(process.sigma, t) * noise


def conditional_velocity(inputs, settings):
    """The velocity of the path from x_0 to eps."""
    found = velocity(settings)
    return {"output": [found(t, x, eps) for t, x, eps in zip(inputs["t"], inputs["x_start"], inputs["noise"])]}


def flow_matching_loss(inputs, settings):
    """The mean squared error of a velocity."""
    return {"output": weighted(squares(inputs, settings, velocity(settings)), inputs)}


def denoising_score_matching(inputs, settings):
    """1/2 lambda |s + eps / sigma|^2, lambda = sigma^2 unless a weight is given."""
    process, total = process_of(settings), mpf(0)
    for n, t in enumerate(inputs["t"]):
        sigma = process.sigma(t)
        weight = inputs["weight"][n] if "weight" in inputs else sigma ** 2
        total += weight / 2 * sum((s + eps / sigma) ** 2 for s, eps in zip(inputs["score"][n].flat, inputs["noise"][n].flat))
    return {"output": total / len(inputs["t"])}


def score_and_slopes(inputs, x):
    """(score, its Jacobian) at one x: weight tanh(x) + bias."""
    weight, size = inputs["weight"], len(x)
    score = [sum(weight[i, j] * tanh(x[j]) for j in range(size)) + inputs["bias"][i] for i in range(size)]
    return score, [[weight[i, j] * sech(x[j]) ** 2 for j in range(size)] for i in range(size)]


def score_matching_loss(inputs, settings):
    """tr J + |s|^2 / 2; sliced v^T J v + (v^T s)^2 / 2, or with less variance v^T J v + |s|^2 / 2."""
    total = mpf(0)
    for n, x in enumerate(inputs["x"]):
        score, slopes = score_and_slopes(inputs, x)
        places = range(len(x))
        if settings["method"] == "implicit":
            total += sum(slopes[i][i] for i in places) + sum(s * s for s in score) / 2
            continue
        v = inputs["v"][n]
        along = sum(s * r for s, r in zip(score, v)) ** 2 if settings["method"] == "sliced" else sum(s * s for s in score)
        total += sum(v[i] * slopes[i][j] * v[j] for i in places for j in places) + along / 2
    return {"output": total / len(inputs["x"])}


# -- Gaussians, bins and the bound -------------------------------------------------------------------------------------


def everywhere(function, *arrays):
    """function(...) of the arrays' elements, broadcast."""
    return np.vectorize(function, otypes=[object])(*arrays)


def log_density(x, mean, log_variance):
    """log N(x; mean, exp(log_variance))."""
    return -(x - mean) ** 2 / (2 * exp(log_variance)) - log(sqrt(2 * pi * exp(log_variance)))


def divergence(mean1, logvar1, mean2, logvar2):
    """The integral of q log(q / p), numerically, over 16 standard deviations to each side of q's mean."""
    spread = exp(logvar1 / 2)
    integrand = lambda z: exp(-z * z / 2) / sqrt(2 * pi) * (
        log_density(mean1 + spread * z, mean1, logvar1) - log_density(mean1 + spread * z, mean2, logvar2))
    return quad(integrand, [-16, 0, 16])


def known_divergence(mean1, logvar1, mean2, logvar2):
    """The same in closed form, for whole bounds."""
    return (logvar2 - logvar1) / 2 + (exp(logvar1) + (mean1 - mean2) ** 2) / (2 * exp(logvar2)) - mpf(1) / 2


def edges(x, mean, log_scale):
    """The bin of a grey level in standard deviations from the mean; the outermost are open."""
    below, above = ((x + side * mpf(1) / 255 - mean) / exp(log_scale) for side in (-1, 1))
    return -inf if x < -0.999 else below, inf if x > 0.999 else above


def log_mass(x, mean, log_scale):
    """log of the normal density's integral over the bin, numerically; the density's largest value is taken out first."""
    low, high = edges(x, mean, log_scale)
    peak = low if low > 0 else high if high < 0 else mpf(0)
    places = sorted({low, high, *(peak + step for step in (-20, -6, -1, 0, 1, 6, 20) if low < peak + step < high)})
    return log(quad(lambda z: exp((peak - z) * (peak + z) / 2), places)) - peak ** 2 / 2 - log(2 * pi) / 2


def log_tails(x, mean, log_scale):
    """The same from the complementary error function, on the side where it is small, for whole bounds."""
    low, high = edges(x, mean, log_scale)
    low, high = (low, high) if low + high > 0 else (-high, -low)
    return log((erfc(low / sqrt(2)) - (erfc(high / sqrt(2)) if high < inf else 0)) / 2)


def log_approximate(x, mean, log_scale):
    """guided-diffusion, losses.py: a tanh for the distribution function, and no probability below 1e-12."""
    below, above = ((x + side * mpf(1) / 255 - mean) / exp(log_scale) for side in (-1, 1))
    phi = lambda z: (1 + tanh(sqrt(2 / pi) * (z + mpf(0.044715) * z ** 3))) / 2
    mass = phi(above) if x < -0.999 else 1 - phi(below) if x > 0.999 else phi(above) - phi(below)
    return log(max(mass, mpf(1e-12)))


DECODERS = {
    "discretized_gaussian": lambda x, mean, log_variance: log_tails(x, mean, log_variance / 2),
    "discretized_gaussian_approximate": lambda x, mean, log_variance: log_approximate(x, mean, log_variance / 2),
    "gaussian": log_density,
}


def discretized_gaussian_log_likelihood(inputs, settings):
    """The logarithm of a bin's probability, integrated; or guided-diffusion's approximation."""
    formula = log_approximate if settings["approximate"] else log_mass
    return {"output": everywhere(formula, inputs["x"], inputs["means"], inputs["log_scales"])}


def prior_kl(inputs, settings):
    """KL(q(x_T | x_0) || N(0, 1)), summed over the numbers of x."""
    process = process_of(settings)
    t = settings["num_train_timesteps"] - 1
    return {"output": [sum(divergence(process.alpha(t) * v, 2 * log(process.sigma(t)), mpf(0), mpf(0)) for v in x.flat)
                       for x in inputs["x_start"]]}


def bound_term(process, t, start, x_t, output, settings, held=None):
    """One term of the bound for one of the batch, in bits per dimension. held: a prediction to take in the place of the output's."""
    kind, said = settings["variance_type"], output[:len(start)]
    log_variance = everywhere(lambda _: log_fixed(process, kind, t, settings["min_variance"]), said)
    if kind == "learned":
        log_variance = output[len(start):]
    elif kind == "learned_range":
        u = (output[len(start):] + 1) / 2
        small = log_fixed(process, "fixed_small", t, settings["min_variance"])
        log_variance = u * log(process.betas[t]) + (1 - u) * small
    said = said if held is None else held
    alpha, sigma = process.alpha(t), process.sigma(t)
    p, q = mixture(settings["prediction_type"], alpha, sigma)
    guess = everywhere(lambda x, y: lu_solve(matrix([[alpha, sigma], [p, q]]), matrix([x, y]))[0], x_t, said)
    if settings.get("clip_denoised"):
        guess = everywhere(lambda v: min(max(v, mpf(-1)), mpf(1)), guess)
    of_start, variance = back(process, t - 1, t)
    difference = of_start * (guess - start)
    if t == 0:
        nats = -everywhere(DECODERS[settings["decoder"]], start, start + difference, log_variance)
    else:
        nats = everywhere(known_divergence, 0 * difference, 0 * difference + log(variance), difference, log_variance)
    return np.sum(nats) / nats.size / log(2)


def vb_terms_bpd(inputs, settings):
    """The term of the bound at each sample's time."""
    process = process_of(settings)
    found = zip(inputs["t"].tolist(), inputs["x_start"], inputs["x_t"], inputs["model_output"])
    return {"output": [bound_term(process, t, start, x_t, output, settings) for t, start, x_t, output in found]}


def calc_bpd_loop(inputs, settings):
    """All terms of the bound, the errors of eps and x_0, the prior's term and the sum."""
    process, starts = process_of(settings), inputs["x_start"]
    vb, of_start, of_noise = (np.empty((len(starts), settings["num_train_timesteps"]), dtype=object) for _ in range(3))
    for n, t in np.ndindex(vb.shape):
        start, noise, output = starts[n], inputs["noise"][t, n], inputs["model_output"][t, n]
        x_t = process.alpha(t) * start + process.sigma(t) * noise
        vb[n, t] = bound_term(process, t, start, x_t, output, settings)
        of_noise[n, t] = np.sum((output - noise) ** 2) / noise.size
        of_start[n, t] = np.sum(((x_t - process.sigma(t) * output) / process.alpha(t) - start) ** 2) / noise.size
    prior = [total / starts[0].size / log(2) for total in prior_kl(inputs, settings)["output"]]
    return {"total_bpd": np.sum(vb, axis=1) + prior, "prior_bpd": prior, "vb": vb, "xstart_mse": of_start, "mse": of_noise}


def hybrid(inputs, settings, outputs, held):
    """L_simple of the outputs and the bound with the predictions `held`, which have no share in its derivative."""
    process = process_of(settings)
    weights = inputs.get("weight", [mpf(1)] * len(outputs))
    factor = mpf(settings["vlb_weight"]) * (settings["num_train_timesteps"] if settings["vlb"] == "sum" else 1)
    total = mpf(0)
    for n, t in enumerate(inputs["t"].tolist()):
        start, noise, output = inputs["x_start"][n], inputs["noise"][n], outputs[n]
        x_t = process.alpha(t) * start + process.sigma(t) * noise
        p, q = mixture(settings["prediction_type"], process.alpha(t), process.sigma(t))
        error = output[:len(start)] - p * start - q * noise
        bound = bound_term(process, t, start, x_t, output, settings, held[n][:len(start)])
        total += weights[n] * (np.sum(error ** 2) / error.size + factor * bound)
    return total / len(outputs)


def check_hybrid_loss(inputs, settings, expected):
    """The value, and every element of the gradient by a central difference in 50 digits with the held predictions at rest."""
    outputs = inputs["model_output"]
    value = hybrid(inputs, settings, outputs, outputs)
    assert abs(value - mpf(float(expected["output"]))) < mpf(10) ** -13 * abs(value), value
    if "grad.model_output" not in expected:
        return ("output",)
    gradient, step = expected["grad.model_output"], mpf(10) ** -15
    for index in np.ndindex(outputs.shape):
        moved = [np.array(outputs), np.array(outputs)]
        moved[0][index] += step
        moved[1][index] -= step
        slope = (hybrid(inputs, settings, moved[0], outputs) - hybrid(inputs, settings, moved[1], outputs)) / (2 * step)
        slope *= inputs["cotangent"].item()
        assert abs(slope - mpf(float(gradient[index]))) < mpf(10) ** -12 * np.abs(gradient).max(), (index, slope)
    return "output", "grad.model_output"


WRITTEN_OUT = "mpmath, 50 digits, sums written out"
BY_EFFECT = "mpmath, 50 digits, the effect of an error in the prediction"
INTEGRATED = "mpmath, 50 digits, numerical integration"

ORACLES = {
    "min_snr_weight": Oracle(BY_EFFECT, weight_on_start(lambda snr, s: min(snr, mpf(s["gamma"])))),
    "truncated_snr_weight": Oracle(BY_EFFECT, weight_on_start(lambda snr, s: max(snr, mpf(1)))),
    "p2_weight": Oracle(BY_EFFECT, weight_on_start(lambda snr, s: snr / (mpf(s["k"]) + snr) ** mpf(s["gamma"]))),
    "edm_weight": Oracle(BY_EFFECT, weight_on_start(
        lambda snr, s: (1 / snr + mpf(s["sigma_data"]) ** 2) / (mpf(s["sigma_data"]) / sqrt(snr)) ** 2)),
    "same_loss_weight": Oracle(BY_EFFECT, same_loss_weight),
    "snr_difference_weight": Oracle(BY_EFFECT, snr_difference_weight),
    "kl_weight": Oracle(BY_EFFECT, kl_weight),
    "velocity_weight": Oracle("mpmath, 50 digits, numerical derivatives", velocity_weight),
    "importance_weights": Oracle(WRITTEN_OUT, importance_weights),
    "loss_history_probabilities": Oracle(WRITTEN_OUT, loss_history_probabilities),
    "simple_loss": Oracle(WRITTEN_OUT, simple_loss),
    "training_losses": Oracle(WRITTEN_OUT, training_losses),
    "denoising_score_matching": Oracle(WRITTEN_OUT, denoising_score_matching),
    "score_matching_loss": Oracle(WRITTEN_OUT, score_matching_loss),
    "conditional_velocity": Oracle("mpmath, 50 digits, numerical derivatives", conditional_velocity),
    "flow_matching_loss": Oracle("mpmath, 50 digits, numerical derivatives", flow_matching_loss),
    "normal_log_prob": Oracle(WRITTEN_OUT, lambda inputs, settings: {
        "output": everywhere(log_density, inputs["x"], inputs["mean"], inputs["log_variance"])}),
    "normal_kl": Oracle(INTEGRATED, lambda inputs, settings: {
        "output": everywhere(divergence, inputs["mean1"], inputs["logvar1"], inputs["mean2"], inputs["logvar2"])}),
    "discretized_gaussian_log_likelihood": Oracle(INTEGRATED, discretized_gaussian_log_likelihood),
    "prior_kl": Oracle(INTEGRATED, prior_kl),
    "vb_terms_bpd": Oracle(WRITTEN_OUT, vb_terms_bpd),
    "calc_bpd_loop": Oracle("mpmath, 50 digits, sums written out; the prior's term by numerical integration", calc_bpd_loop),
    "hybrid_loss": Oracle("mpmath, 50 digits, central differences of every element", check=check_hybrid_loss),
}
