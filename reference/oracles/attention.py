"""Attention, one query and one key after the other, in 50 digits: no largest score is subtracted, since nothing overflows there."""

from __future__ import annotations

import numpy as np
from mpmath import exp, mpf, sqrt

from reference.oracles.oracle import Oracle


def one_head(q, k, v, scale, mask):
    """(L, Ev) and the weights (L, S), of q (L, E), k (S, E), v (S, Ev). mask[i, j]: a number to add, or None: not seen."""
    out, weights = np.full((len(q), v.shape[1]), mpf(0), dtype=object), np.full((len(q), len(k)), mpf(0), dtype=object)
    for i in range(len(q)):
        powers = [exp(scale * sum(a * b for a, b in zip(q[i], k[j])) + mask[i, j]) if mask[i, j] is not None else mpf(0)
                  for j in range(len(k))]
        total = sum(powers)
        for j, power in enumerate(powers):
            if total > 0:
                weights[i, j] = power / total
                out[i] += weights[i, j] * v[j]
    return out, weights


def causal(l, s):
    """None above the diagonal, else 0."""
    return np.array([[mpf(0) if j <= i else None for j in range(s)] for i in range(l)], dtype=object)


def scaled_dot_product_attention(inputs, settings):
    """Each head by itself, with the mask as numbers to add; keys and values are shared by blocks of heads where there are fewer."""
    q, k, v, given = (inputs.get(name) for name in ("query", "key", "value", "attn_mask"))
    scale = 1 / sqrt(mpf(q.shape[-1])) if settings["scale"] is None else mpf(settings["scale"])
    if settings["enable_gqa"]:
        served = [h * k.shape[-3] // q.shape[-3] for h in range(q.shape[-3])]
        k, v = k[..., served, :, :], v[..., served, :, :]
    lead, l, s = np.broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2]
    mask = causal(l, s) if settings["is_causal"] else np.full((l, s), mpf(0), dtype=object) if given is None else given
    if mask.dtype != object:
        mask = np.where(mask == 1, np.full(mask.shape, mpf(0), dtype=object), None)
    q, k, v, mask = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v, np.broadcast_to(mask, (*mask.shape[:-2], l, s))))
    out = np.empty((*lead, l, v.shape[-1]), dtype=object)
    for index in np.ndindex(lead):
        out[index] = one_head(q[index], k[index], v[index], scale, mask[index])[0]
    return {"output": out}


def projected(x, weight, bias):
    """W x + b for each row of x (length, features)."""
    return np.array([[sum(a * b for a, b in zip(row, w)) + (0 if bias is None else bias[i]) for i, w in enumerate(weight)] for row in x],
                    dtype=object)


def heads_of(q, k, v, heads, masks):
    """The heads side by side (L, heads d), and the weights of each; every head reads its block of features."""
    d = q.shape[1] // heads
    results = [one_head(*(x[:, h * d:(h + 1) * d] for x in (q, k, v)), 1 / sqrt(mpf(d)), masks[h]) for h in range(heads)]
    return np.concatenate([out for out, _ in results], axis=1), np.array([weights for _, weights in results], dtype=object)


def multi_head_attention(inputs, settings):
    """Projections, heads side by side, the projection back; the weights of the heads, or their mean."""
    query = inputs["query"]
    sequences = [inputs.get(name, query) for name in ("query", "key", "value")]
    if not settings["batch_first"]:
        sequences = [x.swapaxes(0, 1) for x in sequences]
    e, heads = query.shape[-1], settings["num_heads"]
    if "in_proj_weight" in inputs:
        matrices = [inputs["in_proj_weight"][i * e:(i + 1) * e] for i in range(3)]
    else:
        matrices = [inputs[f"{x}_proj_weight"] for x in "qkv"]
    biases = [inputs["in_proj_bias"][i * e:(i + 1) * e] if "in_proj_bias" in inputs else None for i in range(3)]
    outputs, seen = [], []
    for n in range(len(sequences[0])):
        q, k, v = (projected(x[n], w, b) for x, w, b in zip(sequences, matrices, biases))
        merged, weights = heads_of(q, k, v, heads, [_mask(inputs, n, h, heads, len(q), len(k)) for h in range(heads)])
        outputs.append(projected(merged, inputs["out_proj.weight"], inputs.get("out_proj.bias")))
        seen.append(weights.sum(axis=0) / heads if settings["average_attn_weights"] else weights)
    output = np.array(outputs, dtype=object)
    output = output if settings["batch_first"] else output.swapaxes(0, 1)
    return {"output": output, "weights": np.array(seen, dtype=object)} if settings["need_weights"] else {"output": output}


def _mask(inputs, n, h, heads, l, s):
    """What is added to the scores of head h of sample n; None where either mask hides the key."""
    given, padding = inputs.get("attn_mask"), inputs.get("key_padding_mask")
    given = given[n * heads + h] if given is not None and given.ndim == 3 else given
    mask = np.full((l, s), mpf(0), dtype=object)
    for i, j in np.ndindex(l, s):
        if given is not None:
            mask[i, j] = given[i, j] if given.dtype == object else None if given[i, j] == 1 else mpf(0)
        if padding is not None and padding[n, j] == 1:
            mask[i, j] = None
    return mask


def cross_attention(inputs, settings):
    """The same with separate matrices: queries from x, keys and values from the context."""
    x = inputs["hidden_states"]
    context = inputs.get("encoder_hidden_states", x)
    l, s = x.shape[1], context.shape[1]
    mask = causal(l, s) if settings["is_causal"] else np.full((l, s), mpf(0), dtype=object)
    outputs = []
    for n in range(len(x)):
        q, k, v = (projected(y[n], inputs[f"{name}.weight"], inputs.get(f"{name}.bias"))
                   for y, name in ((x, "to_q"), (context, "to_k"), (context, "to_v")))
        merged, _ = heads_of(q, k, v, settings["heads"], [mask] * settings["heads"])
        outputs.append(projected(merged, inputs["to_out.0.weight"], inputs["to_out.0.bias"]))
    return {"output": np.array(outputs, dtype=object)}


def qkv_attention(inputs, settings):
    """OpenAI's two orders of the channels: q, k, v of all heads, or of each head in turn."""
    qkv, heads = inputs["qkv"], settings["num_heads"]
    n_all, c, l = qkv.shape[0], qkv.shape[1] // 3, qkv.shape[2]
    d = c // heads
    start = (lambda part, h: part * c + h * d) if settings["use_new_attention_order"] else (lambda part, h: (3 * h + part) * d)
    mask = np.full((l, l), mpf(0), dtype=object)
    out = np.empty((n_all, c, l), dtype=object)
    for n in range(n_all):
        for h in range(heads):
            q, k, v = (qkv[n, start(part, h):start(part, h) + d].T for part in range(3))
            out[n, h * d:(h + 1) * d] = one_head(q, k, v, 1 / sqrt(mpf(d)), mask)[0].T
    return {"output": out}


KIND = "mpmath, 50 digits, naive loops"
ORACLES = {function.__name__: Oracle(KIND, function)
           for function in (scaled_dot_product_attention, multi_head_attention, cross_attention, qkv_attention)}
