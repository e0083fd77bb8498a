"""`AutoencoderKL`, its latents scaled as diffusers' pipelines scale them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch.func import functional_call
from torch.nn import functional as F

from minidiff.verify.adapters.common import drawing
from minidiff.verify.adapters.torch.networks import weights

NAMES = {"middle_attention": "mid_block_add_attention"}
"""Settings that are called otherwise there."""
SAME = ("in_channels", "latent_channels", "block_out_channels", "layers_per_block", "norm_num_groups", "use_quant_conv",
        "use_post_quant_conv", "scaling_factor", "shift_factor")


class Asked(torch.nn.Module):
    """An autoencoder that is asked something else than its `forward`: ask(autoencoder, inputs)."""

    def __init__(self, autoencoder: torch.nn.Module, ask: Callable[..., Any]) -> None:
        super().__init__()
        self.autoencoder, self.ask = autoencoder, ask

    def forward(self, inputs: Mapping[str, Any]) -> Any:
        return self.ask(self.autoencoder, inputs)


def asked(ask: Callable[..., Any], inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """What the autoencoder of these settings answers, with the parameters among the inputs; half of them may be missing."""
    levels = len(settings["block_out_channels"])
    options = {name: settings[name] for name in SAME if name in settings}
    options |= {there: settings[here] for here, there in NAMES.items()}
    network = diffusers.AutoencoderKL(
        out_channels=settings["in_channels"], down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, **options).eval()
    parameters = {f"autoencoder.{name}": x for name, x in weights(inputs).items()}
    return functional_call(Asked(network, ask), parameters, (inputs,))


def sampled(gaussian: DiagonalGaussianDistribution, noise: torch.Tensor) -> torch.Tensor:
    """A sample made of this noise."""
    with drawing([noise], (sys.modules[DiagonalGaussianDistribution.__module__], "randn_tensor")):
        return gaussian.sample()


def encoded(autoencoder, inputs):
    """The Gaussian of the latents, and a sample scaled for diffusion."""
    gaussian = autoencoder.encode(inputs["x"]).latent_dist
    latents = (sampled(gaussian, inputs["noise"]) - autoencoder.config.shift_factor) * autoencoder.config.scaling_factor
    return {"mean": gaussian.mean, "log_variance": gaussian.logvar, "latents": latents}


def decoded(autoencoder, inputs):
    """The image of latents as diffusion sees them."""
    return autoencoder.decode(inputs["latents"] / autoencoder.config.scaling_factor + autoencoder.config.shift_factor).sample


def there_and_back(autoencoder, inputs):
    """What the loss is made of."""
    gaussian = autoencoder.encode(inputs["x"]).latent_dist
    return {"kl": gaussian.kl(), "image": autoencoder.decode(sampled(gaussian, inputs["noise"])).sample}


def autoencoder_kl_loss(inputs, settings):
    """Its parts are the autoencoder's; what is added up is the script's that trains it."""
    found, x = asked(there_and_back, inputs, settings), inputs["x"]
    squares = F.mse_loss(found["image"], x, reduction="sum") / len(x)
    return {**found, "loss": squares / 2 + settings["kl_weight"] * found["kl"].mean()}


OPERATIONS = {
    "autoencoder_kl_encode": lambda inputs, settings: asked(encoded, inputs, settings),
    "autoencoder_kl_decode": lambda inputs, settings: asked(decoded, inputs, settings),
    "autoencoder_kl_loss": autoencoder_kl_loss,
}
