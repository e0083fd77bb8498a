"""The autoencoder of the suite in minidiff: its half that encodes, its half that decodes, its loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from minidiff.models import AutoencoderConfig, AutoencoderKL
from minidiff.random import Generator
from minidiff.verify.adapters.minidiff.networks import with_parameters

UNUSED = {"autoencoder_kl_encode": ("decoder", "post_quant_conv"), "autoencoder_kl_decode": ("encoder", "quant_conv"),
          "autoencoder_kl_loss": ()}
"""What an operation does not need of the network, and has no parameters for."""


def empty_network(operation: str, settings: Mapping[str, Any]) -> AutoencoderKL:
    """As much of the autoencoder as the operation needs, with parameters that nobody needs."""
    names = {field.name for field in fields(AutoencoderConfig)}
    network = AutoencoderKL(AutoencoderConfig(**{name: x for name, x in settings.items() if name in names}), generator=Generator(0))
    for part in UNUSED[operation]:
        setattr(network, part, None)
    return network


def network_of(operation: str, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> AutoencoderKL:
    """The same with the parameters among the inputs."""
    return with_parameters(empty_network(operation, settings), inputs)


def encode(network, inputs, settings):
    """The Gaussian of the latents, and a sample of it as diffusion sees it."""
    gaussian = network.encode(inputs["x"])
    return {"mean": gaussian.mean, "log_variance": gaussian.logvar, "latents": network.scale(gaussian.sample(inputs["noise"]))}


def decode(network, inputs, settings):
    """The image of latents as diffusion sees them."""
    return network.decode(network.unscale(inputs["latents"]))


def loss(network, inputs, settings):
    """The loss, and its parts: the divergences, and the image that comes out."""
    image, gaussian = network(inputs["x"], inputs["noise"])
    return {"loss": network.loss(inputs["x"], inputs["noise"], kl_weight=settings["kl_weight"]), "kl": gaussian.kl(), "image": image}


CALLS = {"autoencoder_kl_encode": encode, "autoencoder_kl_decode": decode, "autoencoder_kl_loss": loss}

OPERATIONS = {
    name: lambda inputs, settings, name=name: CALLS[name](network_of(name, inputs, settings), inputs, settings) for name in CALLS}
