"""Attention of the suite in PyTorch."""

from __future__ import annotations

from typing import Any

from torch.nn import functional as F


def as_mask(mask: Any) -> Any:
    """Integers 0 and 1 as booleans; numbers that are added as they are."""
    return mask if mask is None or mask.is_floating_point() else mask != 0


def scaled_dot_product_attention(inputs, settings):
    """`F.scaled_dot_product_attention`; a mask of integers as booleans."""
    return F.scaled_dot_product_attention(
        inputs["query"], inputs["key"], inputs["value"], as_mask(inputs.get("attn_mask")), **settings)


def multi_head_attention(inputs, settings):
    """`F.multi_head_attention_forward`, which wants the positions first."""
    query = inputs["query"]
    sequences = [inputs.get(name, query) for name in ("query", "key", "value")]
    if settings["batch_first"]:
        sequences = [x.transpose(0, 1) for x in sequences]
    output, weights = F.multi_head_attention_forward(
        *sequences, query.shape[-1], settings["num_heads"], inputs.get("in_proj_weight"), inputs.get("in_proj_bias"), None, None, False,
        0.0, inputs["out_proj.weight"], inputs.get("out_proj.bias"), False, as_mask(inputs.get("key_padding_mask")),
        settings["need_weights"], as_mask(inputs.get("attn_mask")), "in_proj_weight" not in inputs,
        *(inputs.get(f"{x}_proj_weight") for x in "qkv"), average_attn_weights=settings["average_attn_weights"])
    output = output.transpose(0, 1) if settings["batch_first"] else output
    return {"output": output, "weights": weights} if settings["need_weights"] else output


def cross_attention(inputs, settings):
    """`F.linear` for each matrix, heads by `unflatten`, `F.scaled_dot_product_attention`."""
    x = inputs["hidden_states"]
    context = inputs.get("encoder_hidden_states", x)
    q, k, v = (F.linear(y, inputs[f"{name}.weight"], inputs.get(f"{name}.bias")).unflatten(-1, (settings["heads"], -1)).transpose(1, 2)
               for y, name in ((x, "to_q"), (context, "to_k"), (context, "to_v")))
    seen = F.scaled_dot_product_attention(q, k, v, is_causal=settings["is_causal"])
    return F.linear(seen.transpose(1, 2).flatten(2), inputs["to_out.0.weight"], inputs["to_out.0.bias"])


OPERATIONS = {function.__name__: function for function in (scaled_dot_product_attention, multi_head_attention, cross_attention)}
