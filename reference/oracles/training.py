"""What changes weights, number by number in 50 digits, from the papers' algorithms."""

from __future__ import annotations

import numpy as np
from mpmath import cos, mpf, nthroot, pi, sqrt

from reference.oracles.oracle import Oracle


def _each(inputs, trace, names):
    """trace(theta, gradients) -> a tuple of numbers for one parameter; here for all of them, as arrays by name."""
    theta, gradients = inputs["parameter"], inputs["gradients"]
    found = {name: np.empty(theta.shape, dtype=object) for name in names}
    for index in np.ndindex(theta.shape):
        for name, value in zip(names, trace(theta[index], gradients[(slice(None), *index)])):
            found[name][index] = value
    return found


def _adam(inputs, settings, decoupled):
    """Kingma & Ba 2015, Algorithm 1; with decoupled decay Loshchilov & Hutter 2019, Algorithm 2, whose lambda is lr * weight_decay."""
    beta1, beta2 = map(mpf, settings["betas"])
    lr, eps, decay = (mpf(settings[name]) for name in ("lr", "eps", "weight_decay"))

    def trace(theta, gradients):
        m = v = mpf(0)
        after = []
        for k, g in enumerate(gradients, 1):
            g = g if decoupled else g + decay * theta
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            m_hat, v_hat = m / (1 - beta1**k), v / (1 - beta2**k)
            theta = theta - lr * (m_hat / (sqrt(v_hat) + eps) + (decay * theta if decoupled else 0))
            after.append(theta)
        return after[0], after[-1], m, v

    return _each(inputs, trace, ("after_first", "after_last", "exp_avg", "exp_avg_sq"))


def sgd(inputs, settings):
    """Polyak's momentum as torch has it: the first buffer is the gradient."""
    lr, mu, dampening, decay = (mpf(settings[name]) for name in ("lr", "momentum", "dampening", "weight_decay"))

    def trace(theta, gradients):
        after, buffer = [], None
        for g in gradients:
            g = g + decay * theta
            buffer = g if buffer is None else mu * buffer + (1 - dampening) * g
            theta = theta - lr * (g + mu * buffer if settings["nesterov"] else buffer if mu else g)
            after.append(theta)
        return after[0], after[-1], buffer

    found = _each(inputs, trace, ("after_first", "after_last", "momentum_buffer"))
    return found if mu else {name: found[name] for name in ("after_first", "after_last")}


def ema(inputs, settings):
    """The average unrolled: theta_j counts (1 - d_j) times the product of the later decays, the beginning the product of all."""
    first, count = settings["first_step"], len(inputs["parameters"])
    decays = [min(mpf(settings["decay"]), mpf(1 + k) / (10 + k)) for k in range(first, first + count)]

    def average(n):
        shares, left = [], mpf(1)
        for d in reversed(decays[:n]):
            shares.append(left * (1 - d))
            left *= d
        return sum((share * theta for share, theta in zip(reversed(shares), inputs["parameters"])), left * inputs["initial"])

    return {"after_first": average(1), "after_last": average(count)}


def clip_grad_norm_(inputs, settings):
    """The norm of all gradients together; each scaled by max_norm / (norm + 1e-6), at most by 1."""
    names = sorted(name for name in inputs if name.startswith("gradient."))
    sizes = [abs(g) for name in names for g in inputs[name].flat]
    p = settings["norm_type"]
    norm = max(sizes) if p == "inf" else nthroot(sum(size ** int(p) for size in sizes), int(p))
    factor = mpf(settings["max_norm"]) / (norm + mpf(1e-6))
    clipped = {name.replace("gradient", "clipped"): inputs[name] * min(factor, mpf(1)) for name in names}
    return {"norm": np.array(norm, dtype=object), **clipped}


def learning_rate_at(inputs, settings):
    """A straight warm-up, then constant, straight to 0, or along half a cosine."""
    lr, w, total = mpf(settings["learning_rate"]), settings["warmup_steps"], settings["total_steps"]
    out = np.empty(inputs["step"].shape, dtype=object)
    for index, k in np.ndenumerate(inputs["step"]):
        k = int(k)
        rate = lr * k / w if k < w else lr
        done = 0 if total is None or k <= w else min(mpf(1), mpf(k - 1 - w) / (total - w))
        share = {"constant": 1, "linear": 1 - done, "cosine": (1 + cos(pi * done)) / 2}[settings["lr_schedule"]]
        out[index] = rate * share
    return {"output": out}


KIND = "mpmath, 50 digits, number by number"
ORACLES = {
    "adamw": Oracle(KIND, lambda inputs, settings: _adam(inputs, settings, True)),
    "adam": Oracle(KIND, lambda inputs, settings: _adam(inputs, settings, False)),
    "sgd": Oracle(KIND, sgd),
    "ema": Oracle("mpmath, 50 digits, the average unrolled to a weighted sum", ema),
    "clip_grad_norm_": Oracle(KIND, clip_grad_norm_),
    "learning_rate_at": Oracle(KIND, learning_rate_at),
}
