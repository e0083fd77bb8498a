"""What changes weights, in minidiff: optimizers, the moving average, clipping, the learning rate."""

from __future__ import annotations

import numpy as np

from minidiff import backend
from minidiff.nn import Module, Parameter
from minidiff.nn.utils import clip_grad_norm_
from minidiff.optim import SGD, Adam, AdamW
from minidiff.training import EMA, FlatParameters, learning_rate_at


def stepped(kind):
    """The operation of an optimizer: a step for each of the gradients."""
    def operation(inputs, settings):
        parameter, after = Parameter(inputs["parameter"].data), []
        optimizer = kind([parameter], **settings)
        for g in inputs["gradients"]:
            parameter.grad = g
            optimizer.step()
            after.append(parameter.data)
        state = {name: x for name, x in optimizer.state.get(0, {}).items() if name != "step"}
        return {"after_first": after[0], "after_last": after[-1], **state}

    return operation


class _One(Module):
    """A module of one parameter."""

    def __init__(self, values):
        self.parameter = Parameter(values)


def ema(inputs, settings):
    """`EMA`, over the weights of a module as one array."""
    parameters = FlatParameters(_One(inputs["initial"].data))
    average, after = EMA(parameters, settings["decay"]), []
    for k, theta in enumerate(inputs["parameters"], settings["first_step"]):
        parameters.data[...] = theta.data.reshape(-1)
        average.update(k)
        after.append(average.data.reshape(theta.shape).copy())
    return {"after_first": after[0], "after_last": after[-1]}


def clip(inputs, settings):
    """`clip_grad_norm_` of `nn.utils`."""
    parameters = []
    for g in inputs.values():
        parameters.append(Parameter(g.data))
        parameters[-1].grad = g.clone()
    norm = clip_grad_norm_(parameters, settings["max_norm"], float(settings["norm_type"]))
    return {"norm": norm, **{name.replace("gradient", "clipped"): p.grad for name, p in zip(inputs, parameters)}}


def learning_rate(inputs, settings):
    """`learning_rate_at` of the training loop."""
    return np.array([learning_rate_at(int(k), **settings) for k in backend.to_numpy(inputs["step"])])


OPERATIONS = {
    "adamw": stepped(AdamW),
    "adam": stepped(Adam),
    "sgd": stepped(SGD),
    "ema": ema,
    "clip_grad_norm_": clip,
    "learning_rate_at": learning_rate,
}
