"""Norms in 50 digits: the set of elements that belongs to each element is listed, and mean and variance are summed over it, one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
from mpmath import mpf, sqrt

from reference.oracles.oracle import Oracle


def mean_and_squares(values):
    """The mean, and the sum of the squared differences to it."""
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values)


def normalized(x, set_of, eps, factor):
    """(x - mean) / sqrt(var + eps) factor[0] + factor[1]; `set_of` an index names the set, `factor` gives weight and bias of it."""
    sets = {}
    for index in np.ndindex(x.shape):
        sets.setdefault(set_of(index), []).append(x[index])
    known = {}
    for name, values in sets.items():
        mean, squares = mean_and_squares(values)
        known[name] = mean, 1 / sqrt(squares / len(values) + mpf(eps))
    out = np.empty(x.shape, dtype=object)
    for index in np.ndindex(x.shape):
        mean, scale = known[set_of(index)]
        weight, bias = factor(index)
        out[index] = (x[index] - mean) * scale * weight + bias
    return out


def affine(inputs, place):
    """A function of an index that gives weight and bias, 1 and 0 if they are missing; `place`: where an index finds its own."""
    weight, bias = (inputs.get(name) for name in ("weight", "bias"))
    return lambda index: (mpf(1) if weight is None else weight[place(index)], mpf(0) if bias is None else bias[place(index)])


def channel(index):
    """The second number of an index."""
    return index[1]


def group_norm(inputs, settings):
    """A set: a sample's neighbouring channels."""
    size = inputs["input"].shape[1] // settings["num_groups"]
    return {"output": normalized(inputs["input"], lambda i: (i[0], i[1] // size), settings["eps"], affine(inputs, channel))}


def layer_norm(inputs, settings):
    """A set: all that lies in the normalized dimensions."""
    lead = inputs["input"].ndim - len(settings["normalized_shape"])
    return {"output": normalized(inputs["input"], lambda i: i[:lead], settings["eps"], affine(inputs, lambda i: i[lead:]))}


def by_running(inputs, settings):
    """With mean and variance that are given."""
    x, factor, out = inputs["input"], affine(inputs, channel), np.empty(inputs["input"].shape, dtype=object)
    for index in np.ndindex(x.shape):
        weight, bias = factor(index)
        mean, var = inputs["running_mean"][index[1]], inputs["running_var"][index[1]]
        out[index] = (x[index] - mean) / sqrt(var + mpf(settings["eps"])) * weight + bias
    return {"output": out}


def instance_norm(inputs, settings):
    """A set: a sample's channel."""
    if not settings["use_input_stats"]:
        return by_running(inputs, settings)
    return {"output": normalized(inputs["input"], lambda i: i[:2], settings["eps"], affine(inputs, channel))}


def batch_norm(inputs, settings):
    """A set: a channel of all samples."""
    if not settings["training"]:
        return by_running(inputs, settings)
    return {"output": normalized(inputs["input"], channel, settings["eps"], affine(inputs, channel))}


def running_statistics(inputs, settings):
    """Old and new mixed by the momentum; the new variance divides by n - 1, that of each sample is averaged."""
    x, momentum = inputs["input"], mpf(settings["momentum"])
    means, variances = [], []
    for c in range(x.shape[1]):
        sets = [x[n, c].ravel().tolist() for n in range(x.shape[0])] if settings["each_sample"] else [np.ravel(x[:, c]).tolist()]
        known = [(mean, squares / (len(values) - 1)) for values in sets for mean, squares in (mean_and_squares(values),)]
        for new, old, kept in ((0, "running_mean", means), (1, "running_var", variances)):
            kept.append((1 - momentum) * inputs[old][c] + momentum * sum(pair[new] for pair in known) / len(known))
    return {"running_mean": np.array(means, dtype=object), "running_var": np.array(variances, dtype=object)}


def rms_norm(inputs, settings):
    """x / sqrt(mean of squares + eps), times the weight."""
    x, lead = inputs["input"], inputs["input"].ndim - len(settings["normalized_shape"])
    factor, out = affine(inputs, lambda i: i[lead:]), np.empty(inputs["input"].shape, dtype=object)
    for outer in product(*map(range, x.shape[:lead])):
        values = np.ravel(x[outer])
        root = sqrt(sum(v * v for v in values) / len(values) + mpf(settings["eps"]))
        for inner in product(*map(range, x.shape[lead:])):
            out[outer + inner] = x[outer + inner] / root * factor(outer + inner)[0]
    return {"output": out}


def length(values, p):
    """The p-norm of a list."""
    return sum(abs(v) ** mpf(p) for v in values if v != 0) ** (1 / mpf(p))


def normalize(inputs, settings):
    """x divided by its length along the dimensions, at least eps."""
    x = inputs["input"]
    dims = settings["dim"] if isinstance(settings["dim"], list) else [settings["dim"]]
    dims = {d % x.ndim for d in dims}
    out = np.empty(x.shape, dtype=object)
    for index in np.ndindex(x.shape):
        vector = x[tuple(slice(None) if d in dims else i for d, i in enumerate(index))]
        out[index] = x[index] / max(length(np.ravel(vector), settings["p"]), mpf(settings["eps"]))
    return {"output": out}


def cosine_similarity(inputs, settings):
    """The product of the directions, each length at least eps."""
    a, b = np.broadcast_arrays(inputs["x1"], inputs["x2"])
    a, b = (np.moveaxis(x, settings["dim"], -1) for x in (a, b))
    out, eps = np.empty(a.shape[:-1], dtype=object), mpf(settings["eps"])
    for index in np.ndindex(out.shape):
        dot = sum(v * w for v, w in zip(a[index], b[index]))
        out[index] = dot / (max(length(a[index], 2), eps) * max(length(b[index], 2), eps))
    return {"output": out}


KIND = "mpmath, 50 digits, naive loops over the listed sets"

ORACLES = {function.__name__: Oracle(KIND, function) for function in (
    group_norm, layer_norm, instance_norm, batch_norm, running_statistics, rms_norm, normalize, cosine_similarity)}
