"""Samplers as their papers list them, step by step in 50 digits: alpha-bars, sigmas and slopes, and no plan of coefficients.

The perfect models are Bayes' rule written out; a network is that of its own oracle, in float64. Where a sampler lives in the coordinate
x / alpha (EDM, k-diffusion's ancestral methods), so does the oracle.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import mpmath
import numpy as np
from mpmath import cos, exp, expm1, log, mpf, pi, sqrt

from reference.oracles.networks import network_of
from reference.oracles.oracle import Oracle

# -- processes ---------------------------------------------------------------------------------------------------------


class Level(NamedTuple):
    a: mpf
    s: mpf

    @property
    def hat(self):
        return self.s / self.a

    @property
    def lam(self):
        return log(self.a / self.s)

    @property
    def abar(self):
        return self.a ** 2


END = Level(mpf(1), mpf(0))


@lru_cache(maxsize=32)
def alpha_bars(told: str):
    told = json.loads(told)
    count = told["num_train_timesteps"]
    first, last = mpf(told.get("beta_start", 1e-4)), mpf(told.get("beta_end", 0.02))
    part = lambda i: mpf(i) / (count - 1) if count > 1 else mpf(0)
    if told["beta_schedule"] == "linear":
        betas = [first + (last - first) * part(i) for i in range(count)]
    elif told["beta_schedule"] == "scaled_linear":
        betas = [(sqrt(first) + (sqrt(last) - sqrt(first)) * part(i)) ** 2 for i in range(count)]
    else:
        f = lambda u: cos((u + mpf("0.008")) / mpf("1.008") * pi / 2) ** 2
        betas = [min(1 - f(mpf(i + 1) / count) / f(mpf(i) / count), mpf(told["max_beta"])) for i in range(count)]
    found = []
    for beta in betas:
        found.append((found[-1] if found else mpf(1)) * (1 - beta))
    if told["rescale_betas_zero_snr"]:
        roots = [sqrt(abar) for abar in found]
        found = [((root - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2 for root in roots]
    return found


def level_of(process, t):
    if process["name"] == "EDM":
        return Level(mpf(1), mpf(t))
    if process["name"] == "StraightLine":
        return Level(1 - mpf(t), mpf(t))
    abar = alpha_bars(json.dumps(process))
    if t == int(t):
        return Level(sqrt(abar[int(t)]), sqrt(1 - abar[int(t)]))
    low, share = int(t), mpf(t) - int(t)
    below, above = (log(abar[i] / (1 - abar[i])) for i in (low, low + 1))
    return with_hat(process, exp(-((1 - share) * below + share * above) / 2))


def with_hat(process, hat):
    """The level with this sigma / alpha."""
    return Level(mpf(1), hat) if process["name"] == "EDM" else Level(1 / sqrt(1 + hat ** 2), hat / sqrt(1 + hat ** 2))


def time_of(process, level):
    """The time of a level: sigma, or for a schedule where log(abar / (1 - abar)), linear between the integers, is the level's."""
    if process["name"] != "Schedule":
        return level.s
    bars, abar = alpha_bars(json.dumps(process)), level.abar
    low = max((i for i in range(len(bars) - 1) if bars[i] >= abar), default=0)
    below, above = (log(abar / (1 - abar)) for abar in bars[low:low + 2])
    return low + (below - 2 * level.lam) / (below - above)


def way(settings):
    levels = [level_of(settings["process"], t) for t in settings["times"]]
    return [*levels, END if settings.get("set_alpha_to_one", True) else level_of(settings["process"], 0)]


# -- models ------------------------------------------------------------------------------------------------------------


def filled(function, *arrays):
    out = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = function(*(x[index] for x in arrays))
    return out


def gaussian_start(told, x, level):
    """Two Gaussian opinions of x_0, the data's and that of x / alpha, weighted by their precisions."""
    mean, prior, seen = mpf(told["mean"]), 1 / mpf(told["std"]) ** 2, (level.a / level.s) ** 2
    return filled(lambda v: (mean * prior + v * level.a / level.s ** 2) / (prior + seen), x)


def mixture_start(told, x, level):
    out = np.empty(x.shape, dtype=object)
    for n in range(len(x)):
        sample, answers, shares = list(x[n].flat), [], []
        for weight, means, std in zip(told["weights"], told["means"], told["stds"]):
            means, std = [mpf(m) for m in np.ravel(means).tolist()], mpf(std)
            variance = level.a ** 2 * std ** 2 + level.s ** 2
            density = mpf(weight)
            for v, m in zip(sample, means):
                density *= exp(-(v - level.a * m) ** 2 / (2 * variance)) / sqrt(variance)
            shares.append(density)
            answers.append([(m * level.s ** 2 + v * level.a * std ** 2) / variance for v, m in zip(sample, means)])
        out[n] = np.array([sum(p * answer[d] for p, answer in zip(shares, answers)) / sum(shares) for d in range(len(sample))],
                          dtype=object).reshape(x.shape[1:])
    return out


def network_answers(told, inputs, process):
    """The function (x, level) -> what a network answers; with sigma_data Karras et al. 2022, Eq. 7 and Table 1, around it."""
    arrays = {name: array.astype(float) for name, array in inputs.items() if name.startswith("parameters.")}
    network = network_of(arrays, {name: value for name, value in told.items() if name != "sigma_data"})

    def answer(x, level):
        if "sigma_data" not in told:
            return exact(network(x.astype(float), [float(time_of(process, level))] * len(x)))
        data, sigma = mpf(told["sigma_data"]), level.s
        total = sigma ** 2 + data ** 2
        said = exact(network((x / sqrt(total)).astype(float), [float(log(sigma) / 4)] * len(x)))
        return data ** 2 / total * x + sigma * data / sqrt(total) * said

    return answer


def exact(values):
    return filled(lambda v: mpf(float(v)), values)


def start_of(prediction_type, said, x, level):
    a, s = level
    if prediction_type == "epsilon":
        return (x - s * said) / a
    if prediction_type == "v_prediction":
        return (a * x - s * said) / (a ** 2 + s ** 2)
    if prediction_type == "score":
        return (x + s ** 2 * said) / a
    if prediction_type == "flow_prediction":
        return (x - s * said) / (a + s)
    return said


class Asked:
    """The model of a case: (x_0, eps) at x and a level, clipped if the case says so."""

    def __init__(self, inputs, settings):
        self.settings, self.told = settings, settings["model"]
        if self.told["kind"] == "given":
            answers = iter(inputs["model_outputs"])
            self.answer = lambda x, level: next(answers)
        elif self.told["kind"] == "unet":
            self.answer = network_answers(self.told, inputs, settings["process"])

    def said(self, x, level):
        """(x_0, the model's second half of channels or None)"""
        perfect = {"gaussian": gaussian_start, "mixture": mixture_start}.get(self.told["kind"])
        if perfect:
            return perfect(self.told, x, level), None
        answer, channels = self.answer(x, level), x.shape[1]
        second = answer[:, channels:] if answer.shape[1] > channels else None
        return start_of(self.settings["prediction_type"], answer[:, :channels], x, level), second

    def learned(self, x, level):
        start, second = self.said(x, level)
        eps = (x - level.a * start) / level.s
        if self.settings.get("clip_denoised"):
            start = filled(lambda v: min(max(v, mpf(-1)), mpf(1)), start)
            if self.settings.get("rederive_epsilon", True):
                eps = (x - level.a * start) / level.s
        return start, eps, second

    def __call__(self, x, level):
        return self.learned(x, level)[:2]


def walked(step):
    """An oracle of a walk from a step(x, k, levels, ask, noise, settings, memory) -> x."""
    def values(inputs, settings):
        levels, ask, x = way(settings), Asked(inputs, settings), inputs["x"]
        noise, memory, states = iter(inputs.get("noise", ())), {}, [inputs["x"]]
        for k in range(len(levels) - 1):
            x = step(x, k, levels, ask, noise, settings, memory)
            states.append(x)
        return {"output": x} | ({"states": np.array(states, dtype=object)} if settings["states"] else {})
    return values


# -- the samplers ------------------------------------------------------------------------------------------------------


def ddpm(x, k, levels, ask, noise, settings, memory):
    """Ho et al. 2020, Algorithm 2, with the alphas and betas of the process that stops at the visited times only."""
    t, s = levels[k:k + 2]
    if settings["process"]["name"] == "EDM":
        return euler_ancestral(x, t, s, ask, noise)
    _, eps, second = ask.learned(x, t)
    alpha = t.abar / s.abar
    beta, small = 1 - alpha, (1 - s.abar) / (1 - t.abar) * (1 - alpha)
    mean = (x - beta / sqrt(1 - t.abar) * eps) / sqrt(alpha)
    if s.s == 0:
        return mean
    if second is None:
        return mean + sqrt({"fixed_small": small, "fixed_large": beta}[settings["variance_type"]]) * next(noise)
    z = next(noise)
    if settings["variance_type"] == "learned":
        return mean + filled(lambda v: exp(v / 2), second) * z
    return mean + filled(lambda v: sqrt(beta ** ((v + 1) / 2) * small ** ((1 - v) / 2)), second) * z


def euler_ancestral(x, t, s, ask, noise):
    """k-diffusion's sample_euler_ancestral."""
    start, _ = ask(x, t)
    up = sqrt(s.s ** 2 * (t.s ** 2 - s.s ** 2) / t.s ** 2)
    down = sqrt(s.s ** 2 - up ** 2)
    x = x + (x - start) / t.s * (down - t.s)
    return x + up * next(noise) if s.s > 0 else x


def ddim(x, k, levels, ask, noise, settings, memory):
    """Song et al. 2021, Eq. 12, with sigma of Eq. 16."""
    t, s = levels[k:k + 2]
    start, eps = ask(x, t)
    if settings["process"]["name"] == "EDM":
        return start + s.s / t.s * (x - start)
    sigma = mpf(settings["eta"]) * sqrt((1 - s.abar) / (1 - t.abar)) * sqrt(1 - t.abar / s.abar)
    x = sqrt(s.abar) * start + sqrt(1 - s.abar - sigma ** 2) * eps
    return x + sigma * next(noise) if sigma > 0 else x


def flow_matching_euler(inputs, settings):
    """dx / dt = v, from t = 1 down to 0."""
    x, ask = inputs["x"], Asked(inputs, {**settings, "process": {"name": "StraightLine"}})
    times = [mpf(t) for t in settings["times"]]
    for t, s in zip(times, [*times[1:], mpf(0)]):
        start, eps = ask(x, Level(1 - t, t))
        x = x + (s - t) * (eps - start)
    return {"output": x}


def edm_step(hat, t, s, count, ask, noise, settings, order):
    """Karras et al. 2022, Algorithm 2, lines 4 to 11: from x^ at sigma^_t to x^ at sigma^_s."""
    sigma, gamma = t.hat, mpf(0)
    if mpf(settings["s_tmin"]) <= sigma <= mpf(settings["s_tmax"]):
        gamma = min(mpf(settings["s_churn"]) / count, sqrt(mpf(2)) - 1)
    raised = sigma + gamma * sigma
    if gamma > 0:
        hat = hat + sqrt(raised ** 2 - sigma ** 2) * mpf(settings["s_noise"]) * next(noise)
        t = with_hat(settings["process"], raised)
    slope = lambda x, level: (x - ask(level.a * x, level)[0]) / level.hat
    first = slope(hat, t)
    euler = hat + (s.hat - raised) * first
    if order == 1 or s.s == 0:
        return euler
    return hat + (s.hat - raised) * (first / 2 + slope(euler, s) / 2)


def edm_walk(order):
    def step(x, k, levels, ask, noise, settings, memory):
        t, s = levels[k:k + 2]
        return s.a * edm_step(x / t.a, t, s, len(levels) - 1, ask, noise, settings, order)
    return step


def edm_sampler(inputs, settings):
    """Karras et al. 2022, Algorithm 2 with the sigmas of Eq. 5."""
    n, rho = settings["n"], mpf(settings["rho"])
    first, last = mpf(settings["sigma_max"]) ** (1 / rho), mpf(settings["sigma_min"]) ** (1 / rho)
    sigmas = [(first + mpf(i) / (n - 1) * (last - first)) ** rho if n > 1 else mpf(settings["sigma_max"]) for i in range(n)] + [mpf(0)]
    levels, told = [Level(mpf(1), sigma) for sigma in sigmas], {**settings, "process": {"name": "EDM"}}
    ask, noise, x = Asked(inputs, told), iter(inputs.get("noise", ())), sigmas[0] * inputs["start_noise"]
    for t, s in pairwise(levels):
        x = edm_step(x, t, s, n, ask, noise, told, settings["order"])
    return {"output": x}


def singlestep(step, in_hats=False):
    """A walk of steps within which the model is asked more than once; the step to the data is the predicted x_0."""
    def one(x, k, levels, ask, noise, settings, memory):
        t, s = levels[k:k + 2]
        if s.s == 0:
            return ask(x, t)[0]
        if in_hats:
            return s.a * step(x / t.a, t, s, ask, noise, settings)
        return step(x, t, s, [mpf(r) for r in settings["stages"]], ask, settings)
    return one


def stage_at(settings, lam):
    return with_hat(settings["process"], exp(-lam))


def dpm_solver(x, t, s, stages, ask, settings):
    """Lu et al. 2022a, DPM-Solver-1 (Eq. 3.7), -2 (Algorithm 1), -3 (Algorithm 2)."""
    h, eps = s.lam - t.lam, ask(x, t)[1]
    whole = s.a / t.a * x - s.s * expm1(h) * eps
    if not stages:
        return whole
    r1 = stages[0]
    one = stage_at(settings, t.lam + r1 * h)
    d1 = ask(one.a / t.a * x - one.s * expm1(r1 * h) * eps, one)[1] - eps
    if len(stages) == 1:
        return whole - s.s / (2 * r1) * expm1(h) * d1
    r2 = stages[1]
    two = stage_at(settings, t.lam + r2 * h)
    u = two.a / t.a * x - two.s * expm1(r2 * h) * eps - two.s * r2 / r1 * (expm1(r2 * h) / (r2 * h) - 1) * d1
    return whole - s.s / r2 * (expm1(h) / h - 1) * (ask(u, two)[1] - eps)


def dpm_solver_pp(x, t, s, stages, ask, settings):
    """Lu et al. 2022b, Algorithm 1 (2S), and the third order of the authors' code."""
    h, start = s.lam - t.lam, ask(x, t)[0]
    whole = s.s / t.s * x - s.a * expm1(-h) * start
    if not stages:
        return whole
    r1 = stages[0]
    one = stage_at(settings, t.lam + r1 * h)
    d1 = ask(one.s / t.s * x - one.a * expm1(-r1 * h) * start, one)[0] - start
    if len(stages) == 1:
        return s.s / t.s * x - s.a * expm1(-h) * ((1 - 1 / (2 * r1)) * start + (d1 + start) / (2 * r1))
    r2 = stages[1]
    two = stage_at(settings, t.lam + r2 * h)
    u = two.s / t.s * x - two.a * expm1(-r2 * h) * start + two.a * r2 / r1 * (expm1(-r2 * h) / (r2 * h) + 1) * d1
    return whole + s.a / r2 * (expm1(-h) / h + 1) * (ask(u, two)[0] - start)


def ancestral_step(sigma, sigma_to, eta):
    """k-diffusion's get_ancestral_step: (sigma_down, sigma_up)."""
    up = eta * sqrt(sigma_to ** 2 * (sigma ** 2 - sigma_to ** 2) / sigma ** 2)
    return sqrt(sigma_to ** 2 - up ** 2), up


def second_order_ancestral(hat, t, s, ask, noise, settings):
    """k-diffusion's sample_dpm_2_ancestral ("epsilon") and sample_dpmpp_2s_ancestral ("sample"), with a stage anywhere."""
    r = mpf(settings["stages"][0])
    down, up = ancestral_step(t.hat, s.hat, mpf(settings["eta"]))
    middle = with_hat(settings["process"], exp((1 - r) * log(t.hat) + r * log(down)))
    start, eps = ask(t.a * hat, t)
    if settings["predicts"] == "epsilon":
        _, slope = ask(middle.a * (hat + (middle.hat - t.hat) * eps), middle)
        return hat + (down - t.hat) * (eps + (slope - eps) / (2 * r)) + up * next(noise)
    h = log(t.hat / down)
    there, _ = ask(middle.a * (middle.hat / t.hat * hat - expm1(-h * r) * start), middle)
    return down / t.hat * hat - expm1(-h) * (start + (there - start) / (2 * r)) + up * next(noise)


def dpmpp_sde(hat, t, s, ask, noise, settings):
    """k-diffusion's sample_dpmpp_sde; its noise is a Brownian motion W whose time is sigma^."""
    r, eta = mpf(settings["stages"][0]), mpf(settings["eta"])
    middle = with_hat(settings["process"], exp((1 - r) * log(t.hat) + r * log(s.hat)))
    to_middle = sqrt(t.hat - middle.hat) * next(noise)
    to_end = to_middle + sqrt(middle.hat - s.hat) * next(noise)
    start, _ = ask(t.a * hat, t)
    down, up = ancestral_step(t.hat, middle.hat, eta)
    u = down / t.hat * hat - expm1(log(down / t.hat)) * start + up * to_middle / sqrt(t.hat - middle.hat)
    there, _ = ask(middle.a * u, middle)
    down, up = ancestral_step(t.hat, s.hat, eta)
    mixed = (1 - 1 / (2 * r)) * start + there / (2 * r)
    return down / t.hat * hat - expm1(log(down / t.hat)) * mixed + up * to_end / sqrt(t.hat - s.hat)


def order_of(k, steps, settings):
    """As many predictions as there are, at most `order`; fewer at the end if the settings say so."""
    return min(settings["order"], k + 1, steps - k if settings["lower_order_final"] else settings["order"])


def divided(said, levels, k, order, h):
    """D1 and D2 of diffusers and k-diffusion: the slope at t and the second divided difference, of the last predictions."""
    lam = [level.lam for level in levels[:k + 1]][::-1]
    if order == 1:
        return 0 * said[0], 0 * said[0]
    r0 = (lam[0] - lam[1]) / h
    d1 = (said[0] - said[1]) / r0
    if order == 2:
        return d1, 0 * d1
    r1 = (lam[1] - lam[2]) / h
    before = (said[1] - said[2]) / r1
    return d1 + r0 / (r0 + r1) * (d1 - before), (d1 - before) / (r0 + r1)


def halved(settings, order):
    return settings["solver_type"] == "midpoint" and order == 2


def counted(settings):
    """A second derivative is twice a second divided difference; diffusers and k-diffusion count it once."""
    return 2 if settings["solver_type"] == "exact" else 1


def dpm_solver_multistep(x, k, levels, ask, noise, settings, memory):
    """diffusers' dpm_solver_*_update of algorithm_type dpmsolver."""
    (t, s), (start, eps) = levels[k:k + 2], ask(x, levels[k])
    said = memory.setdefault("said", [])
    said.insert(0, eps)
    if s.s == 0:
        return start
    order, h = order_of(k, len(levels) - 1, settings), s.lam - t.lam
    d1, d2 = divided(said, levels, k, order, h)
    slope = expm1(h) / 2 if halved(settings, order) else expm1(h) / h - 1
    return s.a / t.a * x - s.s * (expm1(h) * eps + slope * d1 + counted(settings) * ((expm1(h) - h) / h ** 2 - mpf(1) / 2) * d2)


def dpmpp_multistep(x, k, levels, ask, noise, settings, memory):
    """k-diffusion's sample_dpmpp_2m, _2m_sde and _3m_sde, with alpha."""
    (t, s), (start, _) = levels[k:k + 2], ask(x, levels[k])
    said = memory.setdefault("said", [])
    said.insert(0, start)
    if s.s == 0:
        return start
    order, h, eta = order_of(k, len(levels) - 1, settings), s.lam - t.lam, mpf(settings["eta"])
    d1, d2 = divided(said, levels, k, order, h)
    z = (1 + eta) * h
    phi_2 = expm1(-z) / z + 1
    phi_3 = phi_2 / z - mpf(1) / 2
    slope = -expm1(-z) / 2 if halved(settings, order) else phi_2
    x = s.s / t.s * exp(-eta * h) * x + s.a * (-expm1(-z) * start + slope * d1 - counted(settings) * phi_3 * d2)
    return x + s.s * sqrt(-expm1(-2 * eta * h)) * next(noise) if eta > 0 else x


def unipc(x, k, levels, ask, noise, settings, memory):
    """Zhao et al. 2023, Algorithms 5 to 8, as in diffusers: the systems R rho = b are solved. x: predicted; the base is corrected."""
    t, s = levels[k:k + 2]
    start, eps = ask(x, t)
    new = start if settings["predicts"] == "sample" else eps
    said, base = memory.setdefault("said", []), x
    if k > 0:
        base = unified(memory["base"], levels, k - 1, memory["order"], [new, *said], settings, corrects=True)
    said.insert(0, new)
    memory["base"], memory["order"] = base, order_of(k, len(levels) - 1, settings)
    if s.s == 0:
        return new if settings["predicts"] == "sample" else (base - t.s * new) / t.a
    return unified(base, levels, k, memory["order"], said, settings, corrects=False)


def unified(x, levels, k, order, said, settings, corrects):
    t, s = levels[k:k + 2]
    h = s.lam - t.lam
    new, said = (said[0], said[1:]) if corrects else (None, said)
    ratios = [(levels[k - i].lam - t.lam) / h for i in range(1, order)]
    differences = [(said[i] - said[0]) / r for i, r in zip(range(1, order), ratios)]
    if corrects:
        ratios, differences = [*ratios, mpf(1)], [*differences, new - said[0]]
    hh = -h if settings["predicts"] == "sample" else h
    b_h = expm1(hh) if settings["solver_type"] != "bh1" else hh
    rho = []
    if len(ratios) == 1 and settings["solver_type"] != "exact":
        rho = [mpf(1) / 2]
    elif ratios:
        b, phi = [], expm1(hh) / hh - 1
        for i in range(1, len(ratios) + 1):
            b.append(phi * mpmath.factorial(i) / b_h)
            phi = phi / hh - 1 / mpmath.factorial(i + 1)
        rho = list(mpmath.lu_solve(mpmath.matrix([[r ** i for r in ratios] for i in range(len(ratios))]), mpmath.matrix(b)))
    change = sum((p * d for p, d in zip(rho, differences)), 0 * x)
    if settings["predicts"] == "sample":
        return s.s / t.s * x - s.a * expm1(hh) * said[0] - s.a * b_h * change
    return s.a / t.a * x - s.s * expm1(hh) * said[0] - s.s * b_h * change


def transfer(x, eps, t, s):
    """Liu et al. 2022, Eq. 9: phi(x_t, eps, t, t - delta)."""
    old, new = t.abar, s.abar
    return sqrt(new / old) * x - (new - old) / (sqrt(old) * (sqrt((1 - new) * old) + sqrt((1 - old) * new))) * eps


def pndm(x, k, levels, ask, noise, settings, memory):
    """Liu et al. 2022, Algorithm 2 (PNDM), or its multistep part alone with improved Euler for the first step (PLMS)."""
    t, s = levels[k:k + 2]
    slopes, last = memory.setdefault("slopes", []), len(levels) - 2
    eps = lambda x, level: ask(x, level)[1]
    e1 = eps(x, t)
    slopes.insert(0, e1)
    if k < min(3, last) and not settings["skip_prk_steps"]:
        middle = level_of(settings["process"], mpf(settings["times"][k] + settings["times"][k + 1]) / 2)
        e2 = eps(transfer(x, e1, t, middle), middle)
        e3 = eps(transfer(x, e2, t, middle), middle)
        e4 = eps(transfer(x, e3, t, s), s)
        mean = (e1 + 2 * e2 + 2 * e3 + e4) / 6
    elif k < min(1, last):
        mean = (e1 + eps(transfer(x, e1, t, s), s)) / 2
    elif len(slopes) == 1:
        mean = e1
    elif len(slopes) == 2:
        mean = (3 * e1 - slopes[1]) / 2
    elif len(slopes) == 3:
        mean = (23 * e1 - 16 * slopes[1] + 5 * slopes[2]) / 12
    else:
        mean = (55 * e1 - 59 * slopes[1] + 37 * slopes[2] - 9 * slopes[3]) / 24
    return transfer(x, mean, t, s)


# -- Langevin dynamics -------------------------------------------------------------------------------------------------


def score_of(ask, x, level):
    return (level.a * ask(x, level)[0] - x) / level.s ** 2


def annealed_langevin(inputs, settings):
    """Song & Ermon 2019, Algorithm 1; then, if asked for, the mean of x_0 given x."""
    *levels, _ = way(settings)
    ask, noise, x, states = Asked(inputs, settings), iter(inputs["noise"]), inputs["x"], []
    for level in levels:
        size = mpf(settings["step_size"]) * level.s ** 2 / levels[-1].s ** 2
        states.append(x)
        for _ in range(settings["steps"]):
            x = x + size / 2 * score_of(ask, x, level) + sqrt(size) * next(noise)
    x = ask(x, levels[-1])[0] if settings["denoise"] else x
    return {"output": x}


def langevin_dynamics(inputs, settings):
    """x + eps score + sqrt(2 eps) z"""
    level, size, x = level_of(settings["process"], settings["time"]), mpf(settings["step_size"]), inputs["x"]
    ask = Asked(inputs, settings)
    for z in inputs["noise"]:
        x = x + size * score_of(ask, x, level) + sqrt(2 * size) * z
    return {"output": x}


def norms(x, batch_mean):
    found = [sqrt(sum(v ** 2 for v in sample.flat)) for sample in x]
    return [sum(found) / len(found)] * len(found) if batch_mean else found


def predictor_corrector(inputs, settings):
    """Song et al. 2021, Algorithms 1 to 5: the predictor of a level, then `steps` Langevin steps at the level reached."""
    levels, ask, x = way(settings), Asked(inputs, settings), inputs["x"]
    noise, corrector_noise = iter(inputs.get("noise", ())), iter(inputs.get("corrector_noise", ()))
    steps = {"reverse_diffusion": reverse_diffusion, "ddpm": ddpm, "ddim": ddim}
    told = {**settings, "variance_type": "fixed_small", "eta": 0}
    for k in range(len(levels) - 1):
        x = steps[settings["predictor"]](x, k, levels, ask, noise, told, {})
        here, following = levels[k + 1], [*levels, END][k + 2]
        for _ in range(settings["steps"] if here.s > 0 else 0):
            score, z = score_of(ask, x, here), next(corrector_noise)
            alpha = here.abar / following.abar
            for n, (g, w) in enumerate(zip(norms(score, settings["batch_mean"]), norms(z, settings["batch_mean"]))):
                size = 2 * alpha * (mpf(settings["snr"]) * w / g) ** 2
                x[n] = x[n] + size * score[n] + sqrt(2 * size) * z[n]
    return {"output": x}


def reverse_diffusion(x, k, levels, ask, noise, settings, memory):
    """Song et al. 2021, Eq. 46: x_i = (2 - sqrt(1 - beta)) x_{i+1} + beta score + sqrt(beta) z, and in sigmas Algorithm 2."""
    t, s = levels[k:k + 2]
    beta = t.s ** 2 - s.s ** 2 if settings["process"]["name"] == "EDM" else 1 - t.abar / s.abar
    kept = mpf(1) if settings["process"]["name"] == "EDM" else sqrt(1 - beta)
    x = (2 - kept) * x + beta * score_of(ask, x, t)
    return x + sqrt(beta) * next(noise) if s.s > 0 else x


LISTED = "mpmath, 50 digits, the published listing step by step; networks in float64"

ORACLES = {
    **{name: Oracle(LISTED, walked(step)) for name, step in {
        "ddpm": ddpm, "ddim": ddim, "euler": edm_walk(1), "heun": edm_walk(2), "unipc": unipc, "pndm": pndm,
        "dpm_solver_singlestep": singlestep(dpm_solver), "dpmpp_singlestep": singlestep(dpm_solver_pp),
        "ancestral_singlestep": singlestep(second_order_ancestral, in_hats=True), "dpmpp_sde": singlestep(dpmpp_sde, in_hats=True),
        "dpm_solver_multistep": dpm_solver_multistep, "dpmpp_multistep": dpmpp_multistep,
    }.items()},
    **{name: Oracle(LISTED, values) for name, values in {
        "flow_matching_euler": flow_matching_euler, "edm_sampler": edm_sampler, "annealed_langevin": annealed_langevin,
        "langevin_dynamics": langevin_dynamics, "predictor_corrector": predictor_corrector,
    }.items()},
}
