"""Composite layers once more, in plain NumPy: convolutions tap by tap, attention head by head, derivatives by complex steps.

All is analytic, so that x + i h v gives the derivative along v in its imaginary part, without a difference: squares are products, not
absolute values, and bounds look at the real part.
"""

from __future__ import annotations

import math

import numpy as np

from reference.oracles.oracle import Oracle


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    """x Phi(x); a complex step takes the density as Phi's derivative."""
    real = np.real(x)
    phi = 0.5 * np.array([math.erfc(-v / math.sqrt(2)) for v in real.flat]).reshape(real.shape)
    if np.iscomplexobj(x):
        phi = phi + 1j * np.imag(x) * np.exp(-real * real / 2) / math.sqrt(2 * math.pi)
    return x * phi


ACTIVATIONS = {
    "silu": lambda x: x * sigmoid(x), "gelu": gelu, "quick_gelu": lambda x: x * sigmoid(1.702 * x), "relu": lambda x: x * (np.real(x) > 0),
    "gelu-approximate": lambda x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)),
}


def linear(x, inputs, name):
    """W x + b; a layer without a bias has none among the inputs."""
    y = np.einsum("...i,oi->...o", x, inputs[f"{name}.weight"])
    return y + inputs[f"{name}.bias"] if f"{name}.bias" in inputs else y


def convolution(x, inputs, name, stride=1, margins=None):
    """Tap by tap. margins: zeros at (top, bottom, left, right); None: as many as keep the size."""
    weight, bias = inputs[f"{name}.weight"], inputs[f"{name}.bias"]
    k = weight.shape[2]
    top, bottom, left, right = margins if margins is not None else (k // 2,) * 4
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    height, width = ((n - k) // stride + 1 for n in x.shape[2:])
    out = bias[None, :, None, None]
    for u in range(k):
        for v in range(k):
            seen = x[:, :, u:u + stride * height:stride, v:v + stride * width:stride][:, :, :height, :width]
            out = out + np.einsum("nchw,oc->nohw", seen, weight[:, :, u, v])
    return out


def standardized(x, eps):
    centered = x - sum(x) / len(x)
    return centered / np.sqrt(sum(centered * centered) / len(x) + eps)


def group_norm(x, inputs, name, groups, eps):
    """Each group of each sample as one list of numbers."""
    n, c = x.shape[:2]
    rows = x.reshape(n * groups, -1)
    y = np.array([standardized(row, eps) for row in rows]).reshape(x.shape)
    shape = (1, c, *(1,) * (x.ndim - 2))
    return y * inputs[f"{name}.weight"].reshape(shape) + inputs[f"{name}.bias"].reshape(shape)


def layer_norm(x, inputs, name, eps):
    y = np.array([standardized(row, eps) for row in x.reshape(-1, x.shape[-1])]).reshape(x.shape)
    return y * inputs[f"{name}.weight"] + inputs[f"{name}.bias"]


def softmax(scores):
    """Over the last dimension."""
    powers = np.exp(scores - np.real(scores).max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention(q, k, v, heads, causal=False):
    """(N, L, C), (N, S, C), (N, S, C): head by head, each with its block of channels."""
    d, outputs = q.shape[-1] // heads, []
    for h in range(heads):
        own = slice(h * d, (h + 1) * d)
        scores = np.einsum("nld,nsd->nls", q[..., own], k[..., own]) / math.sqrt(d)
        if causal:
            scores = scores + np.triu(np.full(scores.shape[1:], -1e300), 1)
        outputs.append(np.einsum("nls,nsd->nld", softmax(scores), v[..., own]))
    return np.concatenate(outputs, axis=-1)


def at(path, inputs):
    """The inputs below a path."""
    return {name[len(path) + 1:]: x for name, x in inputs.items() if name.startswith(f"{path}.")}


# -- of the U-Net ----------------------------------------------------------------------------------------------------


def time_embedding(inputs, settings):
    return {"output": linear(ACTIVATIONS[settings["activation"]](linear(inputs["sinusoids"], inputs, "linear_1")), inputs, "linear_2")}


def embed_block(inputs, settings):
    return {"output": linear(gelu(linear(inputs["x"], inputs, "linear_1")), inputs, "linear_2")[:, :, None, None]}


def resnet_block(inputs, settings):
    x, act, norm = inputs["x"], ACTIVATIONS[settings["activation"]], (settings["groups"], settings["eps"])
    h = convolution(act(group_norm(x, inputs, "norm1", *norm)), inputs, "conv1")
    e = linear(act(inputs["emb"]), inputs, "time_emb_proj")[:, :, None, None]
    c = h.shape[1]
    if settings["conditioning"] == "scale_shift":
        h = group_norm(h, inputs, "norm2", *norm) * (1 + e[:, :c]) + e[:, c:]
    else:
        h = group_norm(h + e, inputs, "norm2", *norm)
    h = convolution(act(h), inputs, "conv2")
    return {"output": h + (convolution(x, inputs, "conv_shortcut") if "conv_shortcut.weight" in inputs else x)}


def conv_block(x, inputs, settings):
    h = group_norm(convolution(x, inputs, "conv"), inputs, "norm", settings["groups"], settings["eps"])
    return ACTIVATIONS[settings["activation"]](h)


def residual_conv_block(inputs, settings):
    first = conv_block(inputs["x"], at("conv1", inputs), settings)
    return {"output": first + conv_block(first, at("conv2", inputs), settings)}


def attention_block(inputs, settings):
    x = inputs["x"]
    c, height, width = x.shape[1:]
    normed = group_norm(x, inputs, "group_norm", settings["groups"], settings["eps"])
    tokens = np.stack([normed[:, :, i, j] for i in range(height) for j in range(width)], axis=1)
    seen = attention(*(linear(tokens, inputs, name) for name in ("to_q", "to_k", "to_v")), c // settings["head_dim"])
    out = linear(seen, inputs, "to_out.0")
    image = np.stack([np.stack([out[:, i * width + j] for j in range(width)], axis=-1) for i in range(height)], axis=-2)
    return {"output": x + image}


def downsample(inputs, settings):
    margins = (1, 1, 1, 1) if settings["padding"] == 1 else (0, 1, 0, 1)
    return {"output": convolution(inputs["x"], inputs, "conv", 2, margins)}


def rearrange_pool(inputs, settings):
    x = inputs["x"]
    patches = [x[:, c, i::2, j::2] for c in range(x.shape[1]) for i in range(2) for j in range(2)]
    return {"output": conv_block(np.stack(patches, axis=1), at("conv", inputs), settings)}


def upsample(inputs, settings):
    x = inputs["x"]
    large = np.empty((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]), x.dtype)
    for i in range(2):
        for j in range(2):
            large[:, :, i::2, j::2] = x
    return {"output": convolution(large, inputs, "conv")}


# -- transformers ----------------------------------------------------------------------------------------------------


def of_tokens(x, inputs, activation):
    """The network for each token."""
    hidden = linear(x, inputs, "net.0.proj")
    half = hidden.shape[-1] // 2
    hidden = hidden[..., :half] * gelu(hidden[..., half:]) if activation == "geglu" else ACTIVATIONS[activation](hidden)
    return linear(hidden, inputs, "net.2")


def feed_forward(inputs, settings):
    return {"output": of_tokens(inputs["x"], inputs, settings["activation_fn"])}


def transformer_encoder_layer(inputs, settings):
    def attend(x):
        q, k, v = (linear(x, inputs, f"self_attn.{name}_proj") for name in "qkv")
        return linear(attention(q, k, v, settings["num_attention_heads"], settings["is_causal"]), inputs, "self_attn.out_proj")

    def network(x):
        return linear(ACTIVATIONS[settings["hidden_act"]](linear(x, inputs, "mlp.fc1")), inputs, "mlp.fc2")

    x = inputs["hidden_states"]
    for block, name in ((attend, "layer_norm1"), (network, "layer_norm2")):
        norm = lambda y, name=name: layer_norm(y, inputs, name, settings["layer_norm_eps"])
        x = x + block(norm(x)) if settings["norm_first"] else norm(x + block(x))
    return {"output": x}


def transformer_block(inputs, settings):
    def attend(x, context, name):
        q, k, v = (linear(y, inputs, f"{name}.{to}") for y, to in ((x, "to_q"), (context, "to_k"), (context, "to_v")))
        return linear(attention(q, k, v, settings["heads"]), inputs, f"{name}.to_out.0")

    x = inputs["hidden_states"]
    normed = layer_norm(x, inputs, "norm1", settings["eps"])
    x = x + attend(normed, normed, "attn1")
    x = x + attend(layer_norm(x, inputs, "norm2", settings["eps"]), inputs["encoder_hidden_states"], "attn2")
    return {"output": x + of_tokens(layer_norm(x, inputs, "norm3", settings["eps"]), at("ff", inputs), "geglu")}


# -- of the VAE ------------------------------------------------------------------------------------------------------


def bounded(inputs, settings):
    half = inputs["parameters"].shape[1] // 2
    mean, log_variance = inputs["parameters"][:, :half], inputs["parameters"][:, half:]
    low, high, real = settings["min_log_variance"], settings["max_log_variance"], np.real(log_variance)
    return mean, np.where(real < low, low, np.where(real > high, high, log_variance))


def diagonal_gaussian_sample(inputs, settings):
    mean, log_variance = bounded(inputs, settings)
    return {"output": mean + np.sqrt(np.exp(log_variance)) * inputs["noise"]}


def diagonal_gaussian_kl(inputs, settings):
    mean, log_variance = bounded(inputs, settings)
    kl = 0.5 * (mean * mean + np.exp(log_variance) - 1 - log_variance)
    return {"output": kl.sum() / kl.size if settings["reduction"] == "mean" else np.array([sample.sum() for sample in kl])}


def latent_scaling(inputs, settings):
    x, scale, shift = inputs["latents"], settings["scaling_factor"], settings["shift_factor"]
    return {"output": scale * x - scale * shift if settings["direction"] == "encode" else x / scale + shift}


# -- of CLIP ---------------------------------------------------------------------------------------------------------


def clip_pooling(inputs, settings):
    rows = []
    for hidden, ids in zip(inputs["last_hidden_state"], inputs["input_ids"].tolist()):
        rows.append(hidden[ids.index(max(ids) if settings["eos_token_id"] is None else settings["eos_token_id"])])
    return {"output": np.array(rows)}


def unit(x):
    return np.array([row / np.sqrt(sum(row * row)) for row in x])


def clip_projection(inputs, settings):
    return {"output": unit(linear(inputs["pooled"], inputs, "projection"))}


def clip_logits(inputs, settings):
    scale = np.exp(inputs["logit_scale"])
    if settings["max_scale"] is not None and np.real(scale) > settings["max_scale"]:
        scale = settings["max_scale"]
    return {"output": scale * np.array([[sum(a * b) for b in unit(inputs["text_embeds"])] for a in unit(inputs["image_embeds"])])}


def clip_loss(inputs, settings):
    logits = clip_logits(inputs, settings)["output"]
    right = [np.log(softmax(x)[i, i]) for x in (logits, logits.T) for i in range(len(logits))]
    return {"output": -sum(right) / len(right)}


KIND = "NumPy, float64, composed anew; gradients by complex steps"
ORACLES = {function.__name__: Oracle(KIND, function, gradients="complex", exact=False) for function in (
    time_embedding, embed_block, resnet_block, residual_conv_block, attention_block, downsample, rearrange_pool, upsample, feed_forward,
    transformer_encoder_layer, transformer_block, diagonal_gaussian_sample, diagonal_gaussian_kl, latent_scaling, clip_pooling,
    clip_projection, clip_logits, clip_loss)}
