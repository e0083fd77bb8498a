"""Guidance and edits in scalars of 50 digits, from the papers' equations: one number of one sample after the other."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from mpmath import exp, mpf, sqrt

from reference.oracles.oracle import Oracle


def elementwise(function, *arrays):
    """function(...) of the arrays' elements at each index."""
    out = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = function(*(x[index] for x in arrays))
    return out


# -- levels: (alpha, sigma) --------------------------------------------------------------------------------------------


def abar(told, t):
    """The product of (1 - beta) up to t, for evenly spaced betas."""
    first, last, count = mpf(told["beta_start"]), mpf(told["beta_end"]), told["num_train_timesteps"]
    product = mpf(1)
    for i in range(int(t) + 1):
        product *= 1 - (first + (last - first) * i / (count - 1))
    return product


def level(told, t):
    """(alpha, sigma) of a time."""
    if told["name"] == "EDM":
        return mpf(1), mpf(t)
    kept = abar(told, t)
    return sqrt(kept), sqrt(1 - kept)


def visited(settings):
    """The levels of the walk, and the data at its end."""
    told = settings["process"]
    return [level(told, t) for t in settings["times"]] + [(mpf(1), mpf(0)) if settings.get("set_alpha_to_one", True) else level(told, 0)]


def epsilon(data, x, at):
    """E[eps | x]; for data N(mean, std^2) the share of the noise in what x has too much."""
    if "weights" in data:
        return np.array([bells_epsilon(data, sample, *at) for sample in x], dtype=object)
    (a, s), mean, std = at, mpf(data["mean"]), mpf(data["std"])
    return elementwise(lambda v: s * (v - a * mean) / ((a * std) ** 2 + s ** 2), x)


def bells_epsilon(data, sample, a, s):
    """-sigma times the score of a mixture, of one sample (D,)."""
    density, slope = mpf(0), [mpf(0)] * len(sample)
    for weight, means, std in zip(data["weights"], data["means"], data["stds"]):
        variance = (a * mpf(std)) ** 2 + s ** 2
        away = [v - a * mpf(m) for v, m in zip(sample, means)]
        here = mpf(weight) * exp(-sum(d ** 2 for d in away) / (2 * variance)) / sqrt(variance) ** len(sample)
        density, slope = density + here, [g - here * d / variance for g, d in zip(slope, away)]
    return [-s * g / density for g in slope]


def down(x, eps, t, s):
    """DDIM: to the predicted x_0, and back up with the same noise."""
    return s[0] * (x - t[1] * eps) / t[0] + s[1] * eps


# -- classifier-free guidance ------------------------------------------------------------------------------------------


def spread(values):
    """The standard deviation of a list."""
    mean = sum(values) / len(values)
    return sqrt(sum((v - mean) ** 2 for v in values) / len(values))


def rescaled(guided, conditional, phi):
    """Lin et al. 2023, Eq. 15 and 16: each sample with the spread of the conditional prediction, mixed by phi."""
    out = guided.copy()
    for n in range(len(out)):
        wanted = spread(list(conditional[n].flat)) / spread(list(guided[n].flat)) * guided[n]
        out[n] = mpf(phi) * wanted + (1 - mpf(phi)) * guided[n]
    return out


def paper_guided(unconditional, conditional, settings):
    """Ho & Salimans 2022, Eq. 6, with w = s - 1."""
    w = mpf(settings["guidance_scale"]) - 1
    guided = (1 + w) * conditional - w * unconditional
    return rescaled(guided, conditional, settings["guidance_rescale"]) if settings["guidance_rescale"] else guided


def classifier_free_guidance(inputs, settings):
    """Of two predictions."""
    return {"output": paper_guided(inputs["unconditional"], inputs["conditional"], settings)}


def rescale_guidance(inputs, settings):
    """The guided prediction with the spread of the conditional one."""
    return {"output": rescaled(inputs["guided"], inputs["conditional"], settings["guidance_rescale"])}


def within(settings, at):
    """Whether sigma / alpha lies in the interval where guidance acts."""
    return mpf(settings["sigma_low"]) < at[1] / at[0] <= mpf(settings["sigma_high"])


def classifier_free_ddim(inputs, settings):
    """DDIM's walk with the guided prediction, outside the interval with the conditional one."""
    x, levels, v = inputs["x"], visited(settings), settings["prediction_type"] == "v_prediction"
    for t, s in pairwise(levels):
        wrong, right = (epsilon(settings[name], x, t) for name in ("unconditional", "conditional"))
        if v:  # v = (eps - sigma x) / alpha for alpha^2 + sigma^2 = 1
            wrong, right = ((eps - t[1] * x) / t[0] for eps in (wrong, right))
        said = paper_guided(wrong, right, settings) if within(settings, t) else right
        x = down(x, t[0] * said + t[1] * x if v else said, t, s)
    return {"output": x}


def guidance_interval(inputs, settings):
    """The guided prediction inside the interval, the other outside."""
    out = inputs["unguided"].copy()
    for n, t in enumerate(inputs["t"]):
        if within(settings, level(settings["process"], t)):
            out[n] = inputs["guided"][n]
    return {"output": out}


def bernoulli_drop(inputs, settings):
    """The null label where the uniform number is below the probability."""
    limit = Fraction(settings["probability"])
    return {"output": np.array([settings["null_label"] if Fraction(float(u)) < limit else int(label)
                                for label, u in zip(inputs["labels"], inputs["uniform"])])}


# -- classifier guidance -----------------------------------------------------------------------------------------------


def classifier_guidance(inputs, settings):
    """Through the score: what the model says becomes a score (at x = 0, where all is linear), the gradient is added, and back."""
    out, kind = inputs["model_output"].copy(), settings["prediction_type"]
    for n, t in enumerate(inputs["t"]):
        (a, s), said = level(settings["process"], t), out[n]
        score = {"epsilon": -said / s, "score": said, "sample": a * said / s ** 2, "v_prediction": -a * said / s}[kind]
        score = score + mpf(settings["scale"]) * inputs["gradient"][n]
        out[n] = {"epsilon": -s * score, "score": score, "sample": s ** 2 * score / a, "v_prediction": -s / a * score}[kind]
    return {"output": out}


def label_gradient(settings, x, at):
    """The gradient of log p(y | x_t), a Gaussian around alpha times the target."""
    target, width = mpf(settings["classifier"]["target"]), mpf(settings["classifier"]["width"])
    return elementwise(lambda v: (at[0] * target - v) / width ** 2, x)


def classifier_guided_ddim(inputs, settings):
    """Dhariwal & Nichol 2021, Algorithm 2."""
    x, levels = inputs["x"], visited(settings)
    for t, s in pairwise(levels):
        hat = epsilon(settings["model"], x, t) - mpf(settings["scale"]) * t[1] * label_gradient(settings, x, t)
        x = down(x, hat, t, s)
    return {"output": x}


def shifted_mean(inputs, settings):
    """Dhariwal & Nichol 2021, Algorithm 1, with the betas of the visited times."""
    x, levels, noise = inputs["x"], visited(settings), iter(inputs["noise"])
    for t, s in pairwise(levels):
        mean, variance = posterior(settings, x, t, s)
        if s[1] == 0:
            return {"output": mean}
        gradient = label_gradient(settings, x, t) if settings["gradient_at"] == "x_t" else label_gradient(settings, mean, s)
        x = mean + mpf(settings["scale"]) * variance * gradient + sqrt(variance) * next(noise)
    return {"output": x}


def posterior(settings, x, t, s, large=False):
    """Mean and variance of DDPM's step: Ho et al. 2020, Eq. 11 and Section 3.2."""
    kept = t[0] ** 2 / s[0] ** 2
    mean = (x - (1 - kept) / t[1] * epsilon(settings["model"], x, t)) / sqrt(kept)
    return mean, (1 - kept) * (1 if large else (s[1] / t[1]) ** 2)


def log_prob_of_start(inputs, settings):
    """log p(y | x_0) but for a constant, of the x_0 that the model says."""
    at, x = level(settings["process"], settings["time"]), inputs["x"]
    start = (x - at[1] * epsilon(settings["model"], x, at)) / at[0]
    return {"output": np.array([-sum((y - v) ** 2 for y, v in zip(inputs["y"][n].flat, start[n].flat)) / (2 * mpf(settings["width"]) ** 2)
                                for n in range(len(x))])}


# -- inpainting --------------------------------------------------------------------------------------------------------


def repaint_times(count, jump_length, jump_n_sample):
    """The paper's code, get_schedule_jump: times that count down to -1."""
    jumps = {j: jump_n_sample - 1 for j in range(0, count - jump_length, jump_length)}
    t, times = count, []
    while t >= 1:
        t -= 1
        times.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            for _ in range(jump_length):
                t += 1
                times.append(t)
    return [*times, -1]


def repaint_schedule(inputs, settings):
    """The paper's times as positions in the list, 0 the noisiest."""
    count = settings["num_steps"]
    return {"output": np.array([count - 1 - t for t in repaint_times(count, settings["jump_length"], settings["jump_n_sample"])])}


def inpaint(inputs, settings):
    """Lugmayr et al. 2022, Algorithm 1 with Eq. 8: along the paper's times, down by a step and a replacement, up by noise.

    A jump is one draw for all the steps that it goes up.
    """
    levels, noise, x, mask = visited(settings), iter(inputs.get("noise", ())), inputs["x"], inputs["mask"]
    times = repaint_times(len(levels) - 1, settings["jump_length"], settings["jump_n_sample"])
    at = [levels[len(levels) - 2 - t] for t in times]
    k = 0
    while k + 1 < len(times):
        if times[k + 1] < times[k]:
            x = one_step(settings, x, at[k], at[k + 1], noise)
            a, s = at[k + 1]
            known = a * inputs["known"] + (s * next(noise) if s > 0 else 0)
            x, k = mask * known + (1 - mask) * x, k + 1
            continue
        top = k
        while times[top + 1] > times[top]:
            top += 1
        (a, s), (b, r) = at[k], at[top]
        x, k = b / a * x + sqrt(r ** 2 - (b / a * s) ** 2) * next(noise), top
    return {"output": x}


def one_step(settings, x, t, s, noise):
    """A step of DDIM, or of DDPM with the small or the large variance."""
    if settings["sampler"] == "ddim":
        return down(x, epsilon(settings["model"], x, t), t, s)
    mean, variance = posterior(settings, x, t, s, settings["sampler"] == "ddpm_large")
    return mean + sqrt(variance) * next(noise) if s[1] > 0 else mean


# -- the other edits ---------------------------------------------------------------------------------------------------


def share(times, strength):
    """The last floor(strength S): the strength as it is written, in decimals."""
    return len(times) - int(Fraction(str(strength)) * len(times))


def sdedit_times(inputs, settings):
    """The last floor(strength S) of the times."""
    return {"output": inputs["times"][share(inputs["times"], settings["strength"]):]}


def sdedit(inputs, settings):
    """Noise to the first of these times, and the walk from there."""
    levels, noise = visited(settings)[share(settings["times"], settings["strength"]):], iter(inputs["noise"])
    (a, s), x = levels[0], inputs["x_start"]
    x = a * x + s * next(noise)
    for t, s in pairwise(levels):
        x = one_step(settings, x, t, s, noise)
    return {"output": x}


def upwards(settings, x):
    """DDIM's step solved for the noisier end: x_t = alpha_t (x_s - sigma_s eps) / alpha_s + sigma_t eps."""
    levels = visited(settings)
    for s, t in zip(levels[::-1], levels[-2::-1]):
        asked = t if settings["asked_at"] == "end" or s[1] == 0 else s
        there = down(x, epsilon(settings["model"], x, asked), s, t)
        for _ in range(settings["corrections"]):
            there = down(x, epsilon(settings["model"], there, t), s, t)
        x = there
    return x


def ddim_inversion(inputs, settings):
    """From the data up to the first time."""
    return {"output": upwards(settings, inputs["x_start"])}


def counterfactual(inputs, settings):
    """Up with one model, and down again with another."""
    x, levels = upwards(settings, inputs["x_start"]), visited(settings)
    for t, s in pairwise(levels):
        x = down(x, epsilon(settings["other_model"], x, t), t, s)
    return {"output": x}


SCALARS = "mpmath, 50 digits, the papers' equations in scalars"

ORACLES = {
    **{name: Oracle(SCALARS, values) for name, values in {
        "classifier_free_guidance": classifier_free_guidance, "rescale_guidance": rescale_guidance,
        "classifier_free_ddim": classifier_free_ddim, "guidance_interval": guidance_interval, "classifier_guidance": classifier_guidance,
        "classifier_guided_ddim": classifier_guided_ddim, "shifted_mean": shifted_mean, "log_prob_of_start": log_prob_of_start,
        "inpaint": inpaint, "sdedit": sdedit, "ddim_inversion": ddim_inversion, "counterfactual": counterfactual,
    }.items()},
    "repaint_schedule": Oracle("integers, the paper's published loop", repaint_schedule),
    "sdedit_times": Oracle("exact fractions", sdedit_times),
    "bernoulli_drop": Oracle("exact fractions", bernoulli_drop),
}
