"""Attention of the suite in minidiff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minidiff import functional as F
from minidiff import nn


def with_parameters(module: nn.Module, tensors: Mapping[str, Any]) -> nn.Module:
    """The module with these tensors in the place of its parameters, by path, so that gradients flow to them."""
    for path, value in tensors.items():
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, None)  # a place that is empty may be filled with any tensor
        setattr(module.get_submodule(owner), name, value)
    return module


def as_mask(mask: Any) -> Any:
    """Integers 0 and 1 as booleans; numbers that are added as they are."""
    return mask if mask is None or mask.dtype.kind == "f" else mask != 0


def scaled_dot_product_attention(inputs, settings):
    """`F.scaled_dot_product_attention`; a mask of integers as booleans."""
    return F.scaled_dot_product_attention(
        inputs["query"], inputs["key"], inputs["value"], as_mask(inputs.get("attn_mask")), **settings)


def multi_head_attention(inputs, settings):
    """`nn.MultiheadAttention`."""
    named = ("query", "key", "value", "key_padding_mask", "attn_mask")
    query, key, value, key_padding_mask, attn_mask = (inputs.get(name) for name in named)
    key, value = (query if x is None else x for x in (key, value))
    module = nn.MultiheadAttention(
        query.shape[-1], settings["num_heads"], bias="in_proj_bias" in inputs, kdim=key.shape[-1], vdim=value.shape[-1],
        batch_first=settings["batch_first"])
    module = with_parameters(module, {name: x for name, x in inputs.items() if name not in named})
    output, weights = module(query, key, value, as_mask(key_padding_mask), settings["need_weights"], as_mask(attn_mask),
                             settings["average_attn_weights"])
    return {"output": output, "weights": weights} if settings["need_weights"] else output


def cross_attention(inputs, settings):
    """What the blocks do: `F.linear` for each matrix, heads by `F.rearrange`, `F.scaled_dot_product_attention`."""
    x = inputs["hidden_states"]
    context = inputs.get("encoder_hidden_states", x)
    q, k, v = (F.rearrange(F.linear(y, inputs[f"{name}.weight"], inputs.get(f"{name}.bias")), "n l (h d) -> n h l d", h=settings["heads"])
               for y, name in ((x, "to_q"), (context, "to_k"), (context, "to_v")))
    seen = F.scaled_dot_product_attention(q, k, v, is_causal=settings["is_causal"])
    return F.linear(F.rearrange(seen, "n h l d -> n l (h d)"), inputs["to_out.0.weight"], inputs["to_out.0.bias"])


def qkv_attention(inputs, settings):
    """OpenAI's attention, whose channels are in one of two orders."""
    pattern = "n (three h d) l -> three n h l d" if settings["use_new_attention_order"] else "n (h three d) l -> three n h l d"
    seen = F.scaled_dot_product_attention(*F.rearrange(inputs["qkv"], pattern, three=3, h=settings["num_heads"]))
    return F.rearrange(seen, "n h l d -> n (h d) l")


OPERATIONS = {function.__name__: function
              for function in (scaled_dot_product_attention, multi_head_attention, cross_attention, qkv_attention)}
