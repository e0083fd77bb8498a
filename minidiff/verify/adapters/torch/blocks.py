"""Composite layers of the suite in PyTorch, where it takes a few lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from minidiff.verify.adapters.torch.attention import cross_attention

ACTIVATIONS = {
    "silu": F.silu, "gelu": F.gelu, "gelu-approximate": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


def at(path: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs below a path."""
    return {name.removeprefix(f"{path}."): x for name, x in inputs.items() if name.startswith(f"{path}.")}


def linear(x, inputs, name):
    """`F.linear` with the parameters of this name."""
    return F.linear(x, **at(name, inputs))


def time_embedding(inputs, settings):
    """Linear, activation, linear."""
    return linear(ACTIVATIONS[settings["activation"]](linear(inputs["sinusoids"], inputs, "linear_1")), inputs, "linear_2")


def embed_block(inputs, settings):
    """Linear, GELU, linear, as a picture of one pixel."""
    return linear(F.gelu(linear(inputs["x"], inputs, "linear_1")), inputs, "linear_2")[..., None, None]


def resnet_block(inputs, settings):
    """Norm, activation, convolution, twice, the time in between, and the way past it."""
    x, act, groups, eps = inputs["x"], ACTIVATIONS[settings["activation"]], settings["groups"], settings["eps"]
    h = F.conv2d(act(F.group_norm(x, groups, **at("norm1", inputs), eps=eps)), **at("conv1", inputs), padding=1)
    e = linear(act(inputs["emb"]), inputs, "time_emb_proj")[..., None, None]
    if settings["conditioning"] == "scale_shift":
        scale, shift = e.chunk(2, dim=1)
        h = F.group_norm(h, groups, **at("norm2", inputs), eps=eps) * (1 + scale) + shift
    else:
        h = F.group_norm(h + e, groups, **at("norm2", inputs), eps=eps)
    h = F.conv2d(act(h), **at("conv2", inputs), padding=1)
    return h + (F.conv2d(x, **at("conv_shortcut", inputs)) if "conv_shortcut.weight" in inputs else x)


def conv_block(x, inputs, settings):
    """Convolution, norm, activation."""
    h = F.conv2d(x, **at("conv", inputs), padding=1)
    return ACTIVATIONS[settings["activation"]](F.group_norm(h, settings["groups"], **at("norm", inputs), eps=settings["eps"]))


def residual_conv_block(inputs, settings):
    """A block, plus another one of it."""
    first = conv_block(inputs["x"], at("conv1", inputs), settings)
    return first + conv_block(first, at("conv2", inputs), settings)


def attention_block(inputs, settings):
    """Attention of the pixels to each other, and the way past it."""
    x = inputs["x"]
    tokens = F.group_norm(x, settings["groups"], **at("group_norm", inputs), eps=settings["eps"]).flatten(2).transpose(1, 2)
    seen = cross_attention({"hidden_states": tokens, **inputs}, {"heads": x.shape[1] // settings["head_dim"], "is_causal": False})
    return x + seen.transpose(1, 2).unflatten(2, x.shape[2:])


def downsample(inputs, settings):
    """A convolution of stride 2; with padding 0 the last row and column are padded."""
    x = F.pad(inputs["x"], (0, 1, 0, 1)) if settings["padding"] == 0 else inputs["x"]
    return F.conv2d(x, **at("conv", inputs), stride=2, padding=settings["padding"])


def rearrange_pool(inputs, settings):
    """`F.pixel_unshuffle`, then a block."""
    return conv_block(F.pixel_unshuffle(inputs["x"], 2), at("conv", inputs), settings)


def upsample(inputs, settings):
    """`F.interpolate`, then a convolution."""
    return F.conv2d(F.interpolate(inputs["x"], scale_factor=2), **at("conv", inputs), padding=1)


def feed_forward(inputs, settings):
    """Linear, activation or GEGLU, linear."""
    hidden = linear(inputs["x"], inputs, "net.0.proj")
    if settings["activation_fn"] == "geglu":
        values, gates = hidden.chunk(2, dim=-1)
        return linear(values * F.gelu(gates), inputs, "net.2")
    return linear(ACTIVATIONS[settings["activation_fn"]](hidden), inputs, "net.2")


def transformer_encoder_layer(inputs, settings):
    """`nn.TransformerEncoderLayer`, whose three projections are one matrix."""
    renamed = {"self_attn.out_proj": "self_attn.out_proj", "layer_norm1": "norm1", "layer_norm2": "norm2", "mlp.fc1": "linear1",
               "mlp.fc2": "linear2"}
    parameters = {f"{new}.{x}": inputs[f"{old}.{x}"] for old, new in renamed.items() for x in ("weight", "bias")}
    parameters |= {f"self_attn.in_proj_{x}": torch.cat([inputs[f"self_attn.{p}_proj.{x}"] for p in "qkv"]) for x in ("weight", "bias")}
    x = inputs["hidden_states"]
    layer = nn.TransformerEncoderLayer(
        x.shape[2], settings["num_attention_heads"], len(inputs["mlp.fc1.bias"]), 0.0, ACTIVATIONS[settings["hidden_act"]],
        settings["layer_norm_eps"], batch_first=True, norm_first=settings["norm_first"], device=x.device, dtype=x.dtype)
    mask = ~torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril() if settings["is_causal"] else None
    return torch.func.functional_call(layer, parameters, (x, mask))


def transformer_block(inputs, settings):
    """Attention to itself, to the context, and feed-forward, each after a norm and with a way past it."""
    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, x.shape[-1:], **at(name, inputs), eps=settings["eps"])

    x, context, of = inputs["hidden_states"], inputs["encoder_hidden_states"], {"heads": settings["heads"], "is_causal": False}
    x = x + cross_attention({"hidden_states": norm(x, "norm1"), **at("attn1", inputs)}, of)
    x = x + cross_attention({"hidden_states": norm(x, "norm2"), "encoder_hidden_states": context, **at("attn2", inputs)}, of)
    return x + feed_forward({"x": norm(x, "norm3"), **at("ff", inputs)}, {"activation_fn": "geglu"})


def clip_projection(inputs, settings):
    """A linear layer, then length 1."""
    return F.normalize(linear(inputs["pooled"], inputs, "projection"), dim=-1)


def clip_logits(inputs, settings):
    """exp(scale) times the cosine of each picture with each text."""
    scale = inputs["logit_scale"]
    scale = scale if settings["max_scale"] is None else scale.clamp(max=math.log(settings["max_scale"]))
    return scale.exp() * F.normalize(inputs["image_embeds"], dim=-1) @ F.normalize(inputs["text_embeds"], dim=-1).T


def clip_loss(inputs, settings):
    """The mean of the cross-entropies of rows and columns."""
    logits = clip_logits(inputs, settings)
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


OPERATIONS = {function.__name__: function for function in (
    time_embedding, embed_block, resnet_block, residual_conv_block, attention_block, downsample, rearrange_pool, upsample, feed_forward,
    transformer_encoder_layer, transformer_block, clip_projection, clip_logits, clip_loss)}
