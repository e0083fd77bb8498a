"""The networks of the suite in minidiff: alone, in a sampler, and in a step of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minidiff import backend
from minidiff.autograd import gradient
from minidiff.diffusion import Ancestral, make_schedule, simple_loss, trajectory
from minidiff.models import MLP, Classifier, UNet, UNetConfig
from minidiff.nn import Module
from minidiff.random import Generator
from minidiff.training import AdamW, FlatParameters, clip_grad_norm

PREFIX = "parameters."


def with_parameters(module: Module, inputs: Mapping[str, Any]) -> Module:
    """The module with these Tensors in the places of its parameters, so that gradients reach them; in evaluation mode."""
    for name, _ in list(module.named_parameters()):
        path, _, leaf = name.rpartition(".")
        vars(module.get_submodule(path))[leaf] = inputs[PREFIX + name]
    return module.eval()


def empty_network(settings: Mapping[str, Any]) -> Module:
    """The module of a network's settings, with parameters that nobody needs. kind: "unet" or "mlp", with the settings of that operation."""
    settings, generator = dict(settings), Generator(0)
    if settings.pop("kind") == "unet":
        return UNet(UNetConfig(**settings), generator=generator)
    fixed = {"TIME_FEATURES": settings.pop("time_features"), "PERIODS": tuple(settings.pop("periods"))}
    return type("MLP", (MLP,), fixed)(**settings, generator=generator)


def network_of(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Module:
    """The network of these settings with the parameters among the inputs."""
    return with_parameters(empty_network(settings), inputs)


def unet(inputs, settings):
    """`UNet`."""
    return network_of(inputs, {"kind": "unet", **settings})(inputs["x"], inputs["t"], inputs.get("labels"))


def mlp(inputs, settings):
    """`MLP`."""
    return network_of(inputs, {"kind": "mlp", **settings})(inputs["x"], inputs["t"])


def classifier(inputs, settings):
    """`Classifier`."""
    return with_parameters(Classifier(**settings, generator=Generator(0)), inputs)(inputs["x"])


def schedule_of(settings):
    """The schedule of the settings."""
    names = ("beta_schedule", "num_train_timesteps", "beta_start", "beta_end")
    return make_schedule(**{name: settings[name] for name in names})


def small_unet_trajectory(inputs, settings):
    """x after the step `state`, and at the end."""
    passed = trajectory(
        network_of(inputs, settings["network"]), schedule_of(settings), inputs["x"], settings["timesteps"], Ancestral(eta=settings["eta"]),
        noise=list(inputs["noise"]) if "noise" in inputs else None, clip_denoised=settings["clip_denoised"],
        set_alpha_to_one=settings["set_alpha_to_one"])
    return {"state": passed.states[settings["state"] + 1], "output": passed.states[-1]}


def training_step(inputs, settings):
    """The loss, its gradients, their length, and the weights after AdamW has stepped."""
    module = empty_network(settings["network"]).to(inputs["x_start"].device, inputs["x_start"].dtype)
    names = list(module.state_dict())
    module.load_state_dict({name: inputs[PREFIX + name] for name in names})
    parameters = FlatParameters(module)
    loss = simple_loss(module, schedule_of(settings), inputs["x_start"], backend.to_numpy(inputs["t"]), inputs["noise"],
                       settings["prediction_type"])
    gradients = gradient(loss, list(module.parameters()), create_graph=True)
    for parameter, g in zip(module.parameters(), gradients):
        parameter.grad = g
    flat = parameters.take_gradient()
    norm = clip_grad_norm(flat, settings["clip_norm"])
    optimizer = AdamW(parameters, settings["learning_rate"], tuple(settings["betas"]), settings["eps"], settings["weight_decay"])
    for kind, moment in {"first": optimizer.first_moment, "second": optimizer.second_moment}.items():
        for name, place in parameters.views(moment).items():
            place[...] = inputs[f"{kind}_moment.{PREFIX}{name}"].data
    optimizer.step_count = settings["step"] - 1
    optimizer.step(flat)
    return {"loss": loss, "norm": norm, **{f"grad.{PREFIX}{name}": g for name, g in zip(names, gradients)},
            **{f"new.{PREFIX}{name}": value for name, value in parameters.views(parameters.data).items()}}


OPERATIONS = {
    "unet": unet,
    "mlp": mlp,
    "classifier": classifier,
    "small_unet_trajectory": small_unet_trajectory,
    "training_step": training_step,
}
