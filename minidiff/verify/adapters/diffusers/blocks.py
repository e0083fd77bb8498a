"""The pieces of diffusers' networks. Parameters go in by the names that the modules themselves give them."""

from __future__ import annotations

import sys

from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import LabelEmbedding, TimestepEmbedding, get_timestep_embedding
from diffusers.models.normalization import RMSNorm
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

from minidiff.verify.adapters.common import called, drawing, refuse
from minidiff.verify.adapters.diffusers.schedules import LIBRARY


def timestep_embedding(inputs, settings):
    """`get_timestep_embedding`."""
    names = ("flip_sin_to_cos", "downscale_freq_shift", "scale", "max_period")
    return get_timestep_embedding(inputs["timesteps"], settings["dim"], **{name: settings[name] for name in names})


def time_embedding(inputs, settings):
    """`TimestepEmbedding`."""
    dim, channels = inputs["linear_1.weight"].shape
    return called(TimestepEmbedding(channels, dim, act_fn=settings["activation"]), inputs, inputs["sinusoids"])


def class_embedding(inputs, settings):
    """`LabelEmbedding`, told which labels to drop, added to the time's."""
    module = LabelEmbedding(settings["num_classes"], inputs["emb"].shape[1], dropout_prob=0.1)
    table = {"embedding_table.weight": inputs["class_embedding.weight"]}
    return inputs["emb"] + called(module, table, inputs["labels"], force_drop_ids=inputs["drop"])


def resnet_block(inputs, settings):
    """`ResnetBlock2D`."""
    channels, in_channels = inputs["conv1.weight"].shape[:2]
    module = ResnetBlock2D(
        in_channels=in_channels, out_channels=channels, temb_channels=inputs["emb"].shape[1], groups=settings["groups"],
        eps=settings["eps"], non_linearity=settings["activation"],
        time_embedding_norm={"add": "default"}.get(settings["conditioning"], settings["conditioning"]))
    return called(module, inputs, inputs["x"], inputs["emb"])


def attention_block(inputs, settings):
    """`Attention` with its norm and its residual connection."""
    channels, size = inputs["x"].shape[1], settings["head_dim"]
    module = Attention(channels, heads=channels // size, dim_head=size, norm_num_groups=settings["groups"], eps=settings["eps"], bias=True,
                       residual_connection=True)
    return called(module, inputs, inputs["x"])


def cross_attention(inputs, settings):
    """`Attention`."""
    refuse(LIBRARY, {"causal attention in this module": settings["is_causal"]})
    x, context, inner = inputs["hidden_states"], inputs.get("encoder_hidden_states"), len(inputs["to_q.weight"])
    module = Attention(x.shape[-1], cross_attention_dim=None if context is None else context.shape[-1], heads=settings["heads"],
                       dim_head=inner // settings["heads"], bias="to_q.bias" in inputs)
    return called(module, inputs, x, context)


def downsample(inputs, settings):
    """`Downsample2D` with a convolution."""
    module = Downsample2D(inputs["x"].shape[1], use_conv=True, padding=settings["padding"], name="op")
    return called(module, inputs, inputs["x"])


def upsample(inputs, settings):
    """`Upsample2D` with a convolution."""
    return called(Upsample2D(inputs["x"].shape[1], use_conv=True), inputs, inputs["x"])


def feed_forward(inputs, settings):
    """`FeedForward`."""
    refuse(LIBRARY, {"feed-forward with quick_gelu": settings["activation_fn"] == "quick_gelu"})
    inner, dim = inputs["net.2.weight"].shape[::-1]
    return called(FeedForward(dim, inner_dim=inner, activation_fn=settings["activation_fn"]), inputs, inputs["x"])


def transformer_block(inputs, settings):
    """`BasicTransformerBlock`."""
    x, context, heads = inputs["hidden_states"], inputs["encoder_hidden_states"], settings["heads"]
    module = BasicTransformerBlock(
        x.shape[-1], heads, x.shape[-1] // heads, cross_attention_dim=context.shape[-1], activation_fn="geglu", norm_eps=settings["eps"],
        ff_inner_dim=inputs["ff.net.2.weight"].shape[1])
    return called(module, inputs, x, encoder_hidden_states=context)


def diagonal_gaussian_sample(inputs, settings):
    """`DiagonalGaussianDistribution.sample`, its noise given."""
    place = sys.modules[DiagonalGaussianDistribution.__module__]
    with drawing([inputs["noise"]], (place, "randn_tensor")):
        return DiagonalGaussianDistribution(inputs["parameters"]).sample()


def diagonal_gaussian_kl(inputs, settings):
    """`DiagonalGaussianDistribution.kl`, which sums."""
    refuse(LIBRARY, {f"divergence with reduction {settings['reduction']}": settings["reduction"] != "sum"})
    return DiagonalGaussianDistribution(inputs["parameters"]).kl()


def rms_norm(inputs, settings):
    """`RMSNorm`."""
    module = RMSNorm(settings["normalized_shape"], settings["eps"], elementwise_affine="weight" in inputs)
    return called(module, inputs, inputs["input"])


OPERATIONS = {
    "timestep_embedding": timestep_embedding,
    "time_embedding": time_embedding,
    "class_embedding": class_embedding,
    "resnet_block": resnet_block,
    "attention_block": attention_block,
    "cross_attention": cross_attention,
    "downsample": downsample,
    "upsample": upsample,
    "feed_forward": feed_forward,
    "transformer_block": transformer_block,
    "diagonal_gaussian_sample": diagonal_gaussian_sample,
    "diagonal_gaussian_kl": diagonal_gaussian_kl,
    "rms_norm": rms_norm,
}
