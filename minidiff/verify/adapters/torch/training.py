"""What changes weights, in PyTorch: its optimizers, its average of weights, its clipping."""

from __future__ import annotations

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW
from torch.optim.swa_utils import get_ema_multi_avg_fn

from minidiff.verify.implementation import Unsupported


def stepped(kind):
    """The operation of an optimizer: a step for each of the gradients."""
    def operation(inputs, settings):
        parameter, after = torch.nn.Parameter(inputs["parameter"].detach().clone()), []
        optimizer = kind([parameter], **settings)
        for g in inputs["gradients"]:
            parameter.grad = g.clone()
            optimizer.step()
            after.append(parameter.detach().clone())
        state = {name: x for name, x in optimizer.state[parameter].items() if name != "step" and x is not None}
        return {"after_first": after[0], "after_last": after[-1], **state}

    return operation


def ema(inputs, settings):
    """`torch.optim.swa_utils`, whose decay is fixed."""
    decay, first = settings["decay"], settings["first_step"]
    if (1 + first) / (10 + first) < decay:
        raise Unsupported("PyTorch's average of weights has no warm-up")
    average, after = inputs["initial"].clone(), []
    for k, theta in enumerate(inputs["parameters"]):
        get_ema_multi_avg_fn(decay)([average], [theta], k)
        after.append(average.clone())
    return {"after_first": after[0], "after_last": after[-1]}


def clip(inputs, settings):
    """`clip_grad_norm_`."""
    parameters = [torch.nn.Parameter(g.clone()) for g in inputs.values()]
    for p in parameters:
        p.grad = p.detach().clone()
    norm = clip_grad_norm_(parameters, settings["max_norm"], float(settings["norm_type"]))
    return {"norm": norm, **{name.replace("gradient", "clipped"): p.grad for name, p in zip(inputs, parameters)}}


OPERATIONS = {"adamw": stepped(AdamW), "adam": stepped(Adam), "sgd": stepped(SGD), "ema": ema, "clip_grad_norm_": clip}
