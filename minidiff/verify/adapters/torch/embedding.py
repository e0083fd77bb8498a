"""Embeddings of the suite in PyTorch."""

from __future__ import annotations

from torch import cat
from torch.nn import functional as F


def token_position_embedding(inputs, settings):
    """`F.embedding` plus the first rows of the positions."""
    ids = inputs["input_ids"]
    return F.embedding(ids, inputs["token_embedding.weight"]) + inputs["position_embedding.weight"][:ids.shape[1]]


def patch_position_embedding(inputs, settings):
    """A convolution whose stride is its kernel, the class in front, plus the positions."""
    weight, first = inputs["patch_embedding.weight"], inputs["class_embedding"]
    patches = F.conv2d(inputs["pixel_values"], weight, stride=weight.shape[2]).flatten(2).transpose(1, 2)
    return cat([first.expand(len(patches), 1, -1), patches], dim=1) + inputs["position_embedding.weight"]


def class_embedding(inputs, settings):
    """`F.embedding`, with the label after the last for what is dropped."""
    labels = inputs["labels"].masked_fill(inputs["drop"] == 1, settings["num_classes"])
    return inputs["emb"] + F.embedding(labels, inputs["class_embedding.weight"])


OPERATIONS = {
    "embedding": lambda inputs, settings: F.embedding(**inputs, **settings),
    "one_hot": lambda inputs, settings: F.one_hot(inputs["input"], **settings),
    "token_position_embedding": token_position_embedding,
    "patch_position_embedding": patch_position_embedding,
    "class_embedding": class_embedding,
}
