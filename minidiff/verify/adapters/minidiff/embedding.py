"""Embeddings of the suite in minidiff."""

from __future__ import annotations

import numpy as np

from minidiff import backend
from minidiff import functional as F


def timestep_embedding(inputs, settings):
    """On the host, in float64. The product by the scale is one of tensors, so that its rounding is seen: that of an angle in float32."""
    timesteps = inputs["timesteps"].astype(np.float64) * settings.pop("scale")
    return F.timestep_embedding(backend.to_numpy(timesteps), **settings)


def token_position_embedding(inputs, settings):
    """`F.embedding` plus the first rows of the positions."""
    ids = inputs["input_ids"]
    return F.embedding(ids, inputs["token_embedding.weight"]) + inputs["position_embedding.weight"][:ids.shape[1]]


def patch_position_embedding(inputs, settings):
    """A convolution whose stride is its kernel, the class in front, plus the positions."""
    weight, first = inputs["patch_embedding.weight"], inputs["class_embedding"]
    patches = F.rearrange(F.conv2d(inputs["pixel_values"], weight, stride=weight.shape[2]), "n d h w -> n (h w) d")
    tokens = F.cat([F.expand(first, (len(patches), 1, len(first))), patches], dim=1)
    return tokens + inputs["position_embedding.weight"]


def class_embedding(inputs, settings):
    """`F.embedding`, with the label after the last for what is dropped."""
    labels = F.where(inputs["drop"] == 1, settings["num_classes"], inputs["labels"])
    return inputs["emb"] + F.embedding(labels, inputs["class_embedding.weight"])


OPERATIONS = {
    "embedding": lambda inputs, settings: F.embedding(**inputs, **settings),
    "one_hot": lambda inputs, settings: F.one_hot(**inputs, **settings),
    "timestep_embedding": timestep_embedding,
    "token_position_embedding": token_position_embedding,
    "patch_position_embedding": patch_position_embedding,
    "class_embedding": class_embedding,
}
