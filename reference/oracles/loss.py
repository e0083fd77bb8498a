"""Losses in 50 digits: each sample's loss from the definition, one after the other, with logarithms of the probabilities themselves."""

from __future__ import annotations

import numpy as np
from mpmath import exp, log, mpf

from reference.oracles.oracle import Oracle


def reduced(losses, reduction, divisor=None):
    """The losses; their sum; or that divided by `divisor`, which is their number unless it is given."""
    if reduction == "none":
        return {"output": losses}
    total = sum(losses.flat, mpf(0))
    return {"output": np.array(total if reduction == "sum" else total / (losses.size if divisor is None else divisor), dtype=object)}


def of_each(loss, arrays):
    """loss(...) of the arrays' elements at each index."""
    out = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = loss(*(x[index] for x in arrays))
    return out


def of_difference(loss, weighted_mean):
    """A loss of (x - y, settings), times the weight if there is one, by whose sum a weighted mean is divided."""
    def values(inputs, settings):
        x, y, weight = (inputs.get(name) for name in ("input", "target", "weight"))
        losses = of_each(lambda a, b: loss(a - b, settings), (x, y))
        if weight is not None:
            losses = of_each(lambda a, w: a * w, (losses, weight))
        return reduced(losses, settings["reduction"], sum(weight.flat) if weight is not None and weighted_mean else None)

    return values


def smooth_l1(d, settings):
    """d^2 / (2 beta) below beta, |d| - beta / 2 beyond."""
    beta = mpf(settings["beta"])
    return d * d / (2 * beta) if abs(d) < beta else abs(d) - beta / 2


def huber(d, settings):
    """d^2 / 2 below delta, delta (|d| - delta / 2) beyond."""
    delta = mpf(settings["delta"])
    return d * d / 2 if abs(d) < delta else delta * (abs(d) - delta / 2)


def samples(inputs):
    """(index of the loss, its line of classes, its target) for each."""
    x, y = np.moveaxis(inputs["input"], 1, -1), inputs["target"]
    y = np.moveaxis(y, 1, -1) if y.ndim == x.ndim else y
    for index in np.ndindex(x.shape[:-1]):
        yield index, x[index], y[index]


def cross_entropy(inputs, settings):
    """-sum_c q_c w_c log p_c, q the target smoothed; the mean is divided by the weights of the targets."""
    shape = inputs["input"].shape
    classes, s = shape[1], mpf(settings["label_smoothing"])
    weight = inputs.get("weight", np.full(classes, mpf(1), dtype=object))
    losses, divisor = np.full((shape[0], *shape[2:]), mpf(0), dtype=object), mpf(0)
    for index, x, y in samples(inputs):
        given = np.ndim(y) == 1
        if not given and y == settings["ignore_index"]:
            continue
        divisor += 1 if given else weight[y]
        total = sum(exp(v) for v in x)
        for c in range(classes):
            q = y[c] if given else mpf(int(c == y))
            losses[index] -= ((1 - s) * q + s / classes) * weight[c] * log(exp(x[c]) / total)
    return reduced(losses, settings["reduction"], divisor)


def nll_loss(inputs, settings):
    """Minus the number of the target's class, times its weight."""
    shape = inputs["input"].shape
    weight = inputs.get("weight", np.full(shape[1], mpf(1), dtype=object))
    losses, divisor = np.full((shape[0], *shape[2:]), mpf(0), dtype=object), mpf(0)
    for index, x, y in samples(inputs):
        if y != settings["ignore_index"]:
            losses[index] = -weight[y] * x[y]
            divisor += weight[y]
    return reduced(losses, settings["reduction"], divisor)


def factor(inputs, name):
    """weight or pos_weight, of the shape of the input; ones if it is missing."""
    return np.broadcast_to(inputs.get(name, np.array(mpf(1), dtype=object)), inputs["input"].shape)


def cut_log(p):
    """log p, at least -100, as torch has it."""
    return max(log(p), mpf(-100)) if p > 0 else mpf(-100)


def binary_cross_entropy(inputs, settings):
    """-w (y log x + (1 - y) log(1 - x))."""
    losses = of_each(lambda x, y, w: -w * (y * cut_log(x) + (1 - y) * cut_log(1 - x)), (
        inputs["input"], inputs["target"], factor(inputs, "weight")))
    return reduced(losses, settings["reduction"])


def binary_cross_entropy_with_logits(inputs, settings):
    """The same of p = 1 / (1 + exp(-x)), ones counted by pos_weight."""
    def loss(x, y, w, positive):
        p = 1 / (1 + exp(-x))
        return -w * (positive * y * log(p) + (1 - y) * log(1 - p))

    return reduced(of_each(loss, (inputs["input"], inputs["target"], factor(inputs, "weight"), factor(inputs, "pos_weight"))),
                   settings["reduction"])


def kl_div(inputs, settings):
    """q log(q / p), p = exp(input), 0 where q is."""
    def loss(x, y):
        q = exp(y) if settings["log_target"] else y
        return q * log(q / exp(x)) if q != 0 else mpf(0)

    losses = of_each(loss, (inputs["input"], inputs["target"]))
    return reduced(losses, settings["reduction"], losses.shape[0] if settings["reduction"] == "batchmean" else None)


KIND = "mpmath, 50 digits, naive loops"

ORACLES = {function.__name__: Oracle(KIND, function) for function in (
    cross_entropy, nll_loss, binary_cross_entropy, binary_cross_entropy_with_logits, kl_div)}
ORACLES |= {name: Oracle(KIND, of_difference(loss, weighted_mean)) for name, loss, weighted_mean in (
    ("mse_loss", lambda d, settings: d * d, True), ("l1_loss", lambda d, settings: abs(d), True),
    ("smooth_l1_loss", smooth_l1, False), ("huber_loss", huber, False))}
