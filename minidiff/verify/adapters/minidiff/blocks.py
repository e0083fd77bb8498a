"""Composite layers of the suite in minidiff: its modules with the inputs in the place of their parameters, or a few calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff import backend, nn, ones
from minidiff import functional as F
from minidiff.diffusion.gaussians import normal_kl
from minidiff.models import DiagonalGaussian, blocks, clip
from minidiff.models.clip.text import end_of_text
from minidiff.random import Generator
from minidiff.verify.adapters.minidiff.attention import cross_attention, with_parameters

ACTIVATIONS = {"gelu": F.gelu, "gelu-approximate": lambda x: F.gelu(x, approximate="tanh"), "quick_gelu": F.quick_gelu, "relu": F.relu}


def by_module(module_of: Callable[..., nn.Module], *forward: str) -> Callable[..., Any]:
    """The operation that a module computes. forward: the inputs that are no parameters. module_of: called with inputs and settings."""
    def compute(inputs, settings):
        module = module_of(inputs, settings)
        return with_parameters(module, {name: x for name, x in inputs.items() if name not in forward})(*(inputs[x] for x in forward))

    return compute


def initial() -> Generator:
    """For the values of parameters that are replaced."""
    return Generator(0)


def resnet_block(inputs, settings):
    out_channels, in_channels = inputs["conv1.weight"].shape[:2]
    return blocks.ResnetBlock(in_channels, out_channels, inputs["emb"].shape[1], dropout=0.0, generator=initial(), **settings)


def residual_conv_block(inputs, settings):
    out_channels, in_channels = inputs["conv1.conv.weight"].shape[:2]
    return blocks.ResidualConvBlock(in_channels, out_channels, generator=initial(), **settings)


def embed_block(inputs, settings):
    return blocks.EmbedBlock(*inputs["linear_1.weight"].shape[::-1], generator=initial())


def time_embedding(inputs, settings):
    return blocks.TimestepEmbedding(*inputs["linear_1.weight"].shape[::-1], generator=initial(), **settings)


def of_channels(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A module that keeps the number of channels."""
    return lambda inputs, settings: kind(inputs["x"].shape[1], generator=initial(), **settings)


def feed_forward(inputs, settings):
    hidden = F.linear(inputs["x"], inputs["net.0.proj.weight"], inputs["net.0.proj.bias"])
    if settings["activation_fn"] == "geglu":
        values, gates = F.chunk(hidden, 2, dim=-1)
        hidden = values * F.gelu(gates)
    else:
        hidden = ACTIVATIONS[settings["activation_fn"]](hidden)
    return F.linear(hidden, inputs["net.2.weight"], inputs["net.2.bias"])


def transformer_encoder_layer(inputs, settings):
    renamed = {"self_attn.out_proj": "self_attn.out_proj", "layer_norm1": "norm1", "layer_norm2": "norm2", "mlp.fc1": "linear1",
               "mlp.fc2": "linear2"}
    parameters = {f"{new}.{x}": inputs[f"{old}.{x}"] for old, new in renamed.items() for x in ("weight", "bias")}
    parameters |= {f"self_attn.in_proj_{x}": F.cat([inputs[f"self_attn.{p}_proj.{x}"] for p in "qkv"]) for x in ("weight", "bias")}
    x = inputs["hidden_states"]
    layer = nn.TransformerEncoderLayer(
        x.shape[2], settings["num_attention_heads"], len(inputs["mlp.fc1.bias"]), 0.0, ACTIVATIONS[settings["hidden_act"]],
        settings["layer_norm_eps"], batch_first=True, norm_first=settings["norm_first"])
    later = F.triu(ones(x.shape[1], x.shape[1], device=x.device), 1)
    return with_parameters(layer, parameters)(x, later == 1 if settings["is_causal"] else None)


def transformer_block(inputs, settings):
    def part(name: str) -> dict[str, Any]:
        return {path.removeprefix(f"{name}."): x for path, x in inputs.items() if path.startswith(f"{name}.")}

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, x.shape[-1:], **part(name), eps=settings["eps"])

    x, context, of = inputs["hidden_states"], inputs["encoder_hidden_states"], {"heads": settings["heads"], "is_causal": False}
    x = x + cross_attention({"hidden_states": norm(x, "norm1"), **part("attn1")}, of)
    x = x + cross_attention({"hidden_states": norm(x, "norm2"), "encoder_hidden_states": context, **part("attn2")}, of)
    return x + feed_forward({"x": norm(x, "norm3"), **part("ff")}, {"activation_fn": "geglu"})


def gaussian_of(inputs, settings):
    """Both halves of an encoder's channels, the second within its bounds."""
    mean, log_variance = F.chunk(inputs["parameters"], 2, dim=1)
    return DiagonalGaussian(mean, F.clamp(log_variance, settings["min_log_variance"], settings["max_log_variance"]))


def diagonal_gaussian_sample(inputs, settings):
    return gaussian_of(inputs, settings).sample(inputs["noise"])


def diagonal_gaussian_kl(inputs, settings):
    gaussian = gaussian_of(inputs, settings)
    return F.mean(normal_kl(gaussian.mean, gaussian.logvar, 0.0, 0.0)) if settings["reduction"] == "mean" else gaussian.kl()


def latent_scaling(inputs, settings):
    x, scale, shift = inputs["latents"], settings["scaling_factor"], settings["shift_factor"]
    return (x - shift) * scale if settings["direction"] == "encode" else x / scale + shift


def clip_pooling(inputs, settings):
    ids = backend.to_numpy(inputs["input_ids"])
    return inputs["last_hidden_state"][np.arange(len(ids)), end_of_text(ids, settings["eos_token_id"])]


def clip_projection(inputs, settings):
    return F.normalize(F.linear(inputs["pooled"], inputs["projection.weight"]), dim=-1)


def clip_logits(inputs, settings):
    scale = inputs["logit_scale"]
    scale = scale if settings["max_scale"] is None else F.clamp(scale, max=math.log(settings["max_scale"]))
    return clip.clip_logits(inputs["image_embeds"], inputs["text_embeds"], scale)


def clip_loss(inputs, settings):
    return clip.clip_loss(clip_logits(inputs, settings))


OPERATIONS = {
    "time_embedding": by_module(time_embedding, "sinusoids"),
    "embed_block": by_module(embed_block, "x"),
    "resnet_block": by_module(resnet_block, "x", "emb"),
    "residual_conv_block": by_module(residual_conv_block, "x"),
    "attention_block": by_module(of_channels(blocks.AttentionBlock), "x"),
    "downsample": by_module(of_channels(blocks.ConvDownsample), "x"),
    "rearrange_pool": by_module(of_channels(blocks.RearrangePool), "x"),
    "upsample": by_module(of_channels(blocks.NearestUpsample), "x"),
    **{function.__name__: function for function in (
        feed_forward, transformer_encoder_layer, transformer_block, diagonal_gaussian_sample, diagonal_gaussian_kl, latent_scaling,
        clip_pooling, clip_projection, clip_logits, clip_loss)},
}
