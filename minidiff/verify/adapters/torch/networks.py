"""The networks of the suite that are a few layers, in PyTorch. The U-Net is not among them: diffusers has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.func import functional_call
from torch.nn import functional as F

from minidiff.verify.implementation import Unsupported

PREFIX = "parameters."


def weights(inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The parameters among the inputs, by their names."""
    return {name.removeprefix(PREFIX): x for name, x in inputs.items() if name.startswith(PREFIX)}


def sinusoids(t: torch.Tensor, features: int) -> torch.Tensor:
    """Cosines, then sines, in float64."""
    half = features // 2
    angles = t[:, None] * torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device, dtype=torch.float64) / half)
    return torch.cat([angles.cos(), angles.sin()], 1)


def mlp_of(parameters: Mapping[str, torch.Tensor], settings: Mapping[str, Any], x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The network for points, from its parameters."""
    angles = [2 * math.pi / period * x for period in settings["periods"]]
    waves = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    h = torch.cat([x, *waves, sinusoids(t, settings["time_features"]).to(x.dtype)], 1)
    for i in range(settings["depth"]):
        h = F.silu(F.linear(h, parameters[f"hidden.{i}.weight"], parameters[f"hidden.{i}.bias"]))
    return F.linear(h, parameters["output.weight"], parameters["output.bias"])


def mlp(inputs, settings):
    """The network for points."""
    return mlp_of(weights(inputs), settings, inputs["x"], inputs["t"])


class Classifier(torch.nn.Module):
    """Twice a convolution, a norm, relu and pooling; two linear layers."""

    def __init__(self, num_classes: int, in_channels: int, sample_size: int, width: int) -> None:
        super().__init__()
        block = lambda first, second: [
            torch.nn.Conv2d(first, second, 3, padding=1), torch.nn.GroupNorm(4, second), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        self.features = torch.nn.Sequential(*block(in_channels, width), *block(width, 2 * width))
        self.hidden = torch.nn.Linear(2 * width * (sample_size // 4) ** 2, 128)
        self.output = torch.nn.Linear(128, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits of images."""
        return self.output(F.relu(self.hidden(self.features(x).flatten(1))))


def classifier(inputs, settings):
    """The network that judges pictures."""
    return functional_call(Classifier(**settings), weights(inputs), inputs["x"])


def training_step(inputs, settings):
    """`F.mse_loss`, `clip_grad_norm_` and `AdamW`, with moments as they are given."""
    network = settings["network"]
    if network["kind"] != "mlp":
        raise Unsupported("PyTorch has no U-Net")
    steps = torch.linspace(settings["beta_start"], settings["beta_end"], settings["num_train_timesteps"], dtype=torch.float64)
    left = torch.cumprod(1 - steps, 0)[inputs["t"].cpu()][:, None]
    x_start, noise = inputs["x_start"], inputs["noise"]
    signal, spread = (root.sqrt().to(x_start) for root in (left, 1 - left))

    own = {name: torch.nn.Parameter(x.detach().clone()) for name, x in weights(inputs).items()}
    loss = F.mse_loss(mlp_of(own, network, signal * x_start + spread * noise, inputs["t"]), noise)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in own.items()}
    norm = torch.nn.utils.clip_grad_norm_(list(own.values()), settings["clip_norm"])
    optimizer = torch.optim.AdamW(list(own.values()), settings["learning_rate"], tuple(settings["betas"]), settings["eps"],
                                  settings["weight_decay"])
    for name, p in own.items():
        moments = (inputs[f"{kind}_moment.{PREFIX}{name}"].detach().clone() for kind in ("first", "second"))
        optimizer.state[p] = {"step": torch.tensor(settings["step"] - 1.0), **dict(zip(("exp_avg", "exp_avg_sq"), moments))}
    optimizer.step()
    return {"loss": loss, "norm": norm, **{f"grad.{PREFIX}{name}": g for name, g in gradients.items()},
            **{f"new.{PREFIX}{name}": p for name, p in own.items()}}


OPERATIONS = {"mlp": mlp, "classifier": classifier, "training_step": training_step}
