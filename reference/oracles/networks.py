"""Networks as sums over kernel taps and a recursion over the levels, in complex numbers: a complex step gives the derivative of anything.

Every function here is analytic in its arrays, or is continued to complex numbers with a vanishing imaginary part: a maximum is chosen, and
a relu cut, by the real part.
"""

from __future__ import annotations

import math

import numpy as np
from mpmath import mpf, sqrt

from reference.oracles.oracle import Oracle

# -- the operations ------------------------------------------------------------------------------------------------------


def conv(x, weight, bias, stride=1, pads=(1, 1, 1, 1)):
    """One tap of the kernel after the other. pads: left, right, top, bottom."""
    left, right, top, bottom = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows, columns = (x.shape[2] - weight.shape[2]) // stride + 1, (x.shape[3] - weight.shape[3]) // stride + 1
    out = bias[:, None, None]
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            tap = x[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
            out = out + np.einsum("nchw,oc->nohw", tap, weight[:, :, i, j])
    return out


def transposed(x, weight, bias):
    """Each pixel paints a 2x2 patch with the kernel; weight (in, out, 2, 2)."""
    n, _, h, w = x.shape
    out = np.zeros((n, weight.shape[1], 2 * h, 2 * w), np.result_type(x, weight))
    for i in range(2):
        for j in range(2):
            out[:, :, i::2, j::2] = np.einsum("nchw,co->nohw", x, weight[:, :, i, j])
    return out + bias[:, None, None]


def norm(x, weight, bias, groups, eps):
    """Group by group."""
    size, parts = x.shape[1] // groups, []
    for g in range(groups):
        part = x[:, g * size : (g + 1) * size]
        off = part - part.mean((1, 2, 3), keepdims=True)
        parts.append(off / np.sqrt((off * off).mean((1, 2, 3), keepdims=True) + eps))
    return np.concatenate(parts, 1) * weight[:, None, None] + bias[:, None, None]


def linear(x, weight, bias):
    return np.einsum("ni,oi->no", x, weight) + bias


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    """x Phi(x), with the error function continued by its tangent."""
    erf = np.vectorize(math.erf)(np.real(x) / math.sqrt(2))
    if np.iscomplexobj(x):
        erf = erf + 1j * np.imag(x) * math.sqrt(2 / math.pi) * np.exp(-np.real(x) ** 2 / 2)
    return x * (1 + erf) / 2


def relu(x):
    return np.where(np.real(x) > 0, x, 0)


ACTIVATIONS = {"silu": silu, "gelu": gelu, "relu": relu}


def pooled(x):
    """The largest of each 2x2 patch."""
    n, c, h, w = x.shape
    out = np.empty((n, c, h // 2, w // 2), x.dtype)
    for index in np.ndindex(out.shape):
        patch = x[index[0], index[1], 2 * index[2] : 2 * index[2] + 2, 2 * index[3] : 2 * index[3] + 2].ravel()
        out[index] = patch[np.argmax(np.real(patch))]
    return out


def unshuffled(x, p):
    """(n, c, h p, w q) -> (n, c p q, h, w): channel c p p + i p + j is pixel (i, j) of each patch of channel c."""
    n, c, h, w = x.shape
    out = np.empty((n, c * p * p, h // p, w // p), x.dtype)
    for channel in range(c):
        for i in range(p):
            for j in range(p):
                out[:, channel * p * p + i * p + j] = x[:, channel, i::p, j::p]
    return out


def shuffled(x, p):
    """The way back."""
    n, c, h, w = x.shape
    out = np.empty((n, c // p**2, h * p, w * p), x.dtype)
    for channel in range(c // p**2):
        for i in range(p):
            for j in range(p):
                out[:, channel, i::p, j::p] = x[:, channel * p * p + i * p + j]
    return out


def sinusoids(times, features, max_period=10000.0, cosines_first=True, shift=0.0):
    out = np.zeros((len(times), features))
    half = features // 2
    for n, t in enumerate(times):
        for i in range(half):
            angle = float(t) * max_period ** (-i / (half - shift))
            out[n, i], out[n, half + i] = (math.cos(angle), math.sin(angle)) if cosines_first else (math.sin(angle), math.cos(angle))
    return out


# -- the U-Net -----------------------------------------------------------------------------------------------------------


class Weights:
    """The parameters whose names begin with a prefix: w["conv1"] is the pair (weight, bias), w / "resnets.0" those below it."""

    def __init__(self, arrays, prefix="parameters."):
        self.arrays, self.prefix = arrays, prefix

    def __truediv__(self, name):
        return Weights(self.arrays, f"{self.prefix}{name}.")

    def __getitem__(self, name):
        return self.arrays[f"{self.prefix}{name}.weight"], self.arrays[f"{self.prefix}{name}.bias"]

    def __contains__(self, name):
        return any(key.startswith(f"{self.prefix}{name}.") for key in self.arrays)


class UNet:
    """A U-Net by its settings: each level has the next one inside."""

    def __init__(self, arrays, settings):
        self.w, self.c = Weights(arrays), settings
        self.act = ACTIVATIONS[settings["activation"]]
        self.norm = lambda x, pair: norm(x, *pair, settings["norm_num_groups"], settings["norm_eps"])

    def __call__(self, x, t, labels):
        c, w = self.c, self.w
        features = c["time_features"] or c["block_out_channels"][0]
        waves = sinusoids([c["time_scale"] * float(v) for v in t], features, c["max_period"], c["flip_sin_to_cos"], c["freq_shift"])
        self.emb, self.factors, self.shifts = None, {}, {}
        levels = len(c["block_out_channels"])
        if c["conditioning"] == "multiply_add":
            for level in range(levels):
                up = levels - 1 - level
                self.shifts[level] = self.embedded(waves, w / f"time_embeddings.{up}")
                if labels is not None:
                    hot = np.array([[float(label == k) for k in range(c["num_classes"])] for label in labels])
                    self.factors[level] = self.embedded(hot, w / f"class_embeddings.{up}")
        else:
            self.emb = linear(self.act(linear(waves, *w["time_embedding.linear_1"])), *w["time_embedding.linear_2"])
            if labels is not None:
                self.emb = self.emb + np.stack([w.arrays["parameters.class_embedding.weight"][int(label)] for label in labels])
        x = unshuffled(x, c["patch_size"])
        if c["block"] == "conv":
            first = self.plain(x, w / "conv_in.conv1")
            h = first + self.plain(first, w / "conv_in.conv2")
        else:
            h = conv(x, *w["conv_in"])
        entered, h = h, self.level(h, 0)
        if c["skips"] == "stage":
            h = conv(np.concatenate([h, entered], 1), *w["conv_merge"])
        return shuffled(conv(self.act(self.norm(h, w["conv_norm_out"])), *w["conv_out"]), c["patch_size"])

    def embedded(self, x, w):
        return linear(gelu(linear(x, *w["linear_1"])), *w["linear_2"])[:, :, None, None]

    def level(self, h, k):
        """Down through level k, all that is below, and up again."""
        c, by_stage = self.c, self.c["skips"] == "stage"
        below = len(c["block_out_channels"]) - 1 - k
        down, up = self.w / f"down_blocks.{k}", self.w / f"up_blocks.{below}"
        seen = [h]
        for i in range(c["layers_per_block"]):
            seen.append(self.attended(self.block(seen[-1], down / f"resnets.{i}"), down / f"attentions.{i}"))
        h = seen[-1]
        if by_stage or below:
            h = self.halved(h, down / "downsamplers.0")
        if by_stage:
            seen = [h]
        h = self.level(h, k + 1) if below else self.middle(h)
        h = h * self.factors.get(k, 1.0) + self.shifts.get(k, 0.0)
        if by_stage:
            h = transposed(np.concatenate([h, seen[0]], 1), *up["upsamplers.0"])
            for i in range(c["up_layers_per_block"] or c["layers_per_block"]):
                h = self.block(h, up / f"resnets.{i}")
            return h
        for i in range(c["layers_per_block"] + 1):
            h = self.attended(self.block(np.concatenate([h, seen.pop()], 1), up / f"resnets.{i}"), up / f"attentions.{i}")
        return self.doubled(h, up) if k else h

    def block(self, h, w):
        if self.c["block"] == "conv":
            return self.plain(h, w)
        e = linear(self.act(self.emb), *w["time_emb_proj"])[:, :, None, None]
        out = conv(self.act(self.norm(h, w["norm1"])), *w["conv1"])
        if self.c["conditioning"] == "scale_shift":
            count = out.shape[1]
            out = self.norm(out, w["norm2"]) * (1 + e[:, :count]) + e[:, count:]
        else:
            out = self.norm(out + e, w["norm2"])
        out = conv(self.act(out), *w["conv2"])
        return out + (conv(h, *w["conv_shortcut"], pads=(0, 0, 0, 0)) if "conv_shortcut" in w else h)

    def plain(self, h, w):
        return self.act(self.norm(conv(h, *w["conv"]), w["norm"]))

    def attended(self, h, w):
        """Self-attention over the pixels, one head after the other, if these weights exist."""
        if "group_norm" not in w:
            return h
        n, c, rows, columns = h.shape
        size = self.c["attention_head_dim"]
        tokens = self.norm(h, w["group_norm"]).reshape(n, c, rows * columns)
        q, k, v = (np.einsum("ncl,oc->nol", tokens, weight) + bias[:, None] for weight, bias in (w["to_q"], w["to_k"], w["to_v"]))
        parts = []
        for first in range(0, c, size):
            head = slice(first, first + size)
            scores = np.einsum("ncl,ncm->nlm", q[:, head], k[:, head]) / math.sqrt(size)
            powers = np.exp(scores - np.real(scores).max(2, keepdims=True))
            parts.append(np.einsum("nlm,ncm->ncl", powers / powers.sum(2, keepdims=True), v[:, head]))
        weight, bias = w["to_out.0"]
        return h + (np.einsum("ncl,oc->nol", np.concatenate(parts, 1), weight) + bias[:, None]).reshape(h.shape)

    def middle(self, h):
        w = self.w / "mid_block"
        if self.c["middle"] == "dense":
            flat = gelu(h.reshape(len(h), -1))
            for i in range(3):
                flat = relu(linear(flat, *w[f"linears.{i}"]))
            return self.plain(flat.reshape(h.shape), w / "conv")
        return self.block(self.attended(self.block(h, w / "resnets.0"), w / "attentions.0"), w / "resnets.1")

    def halved(self, h, w):
        if self.c["downsample"] == "rearrange":
            return self.plain(unshuffled(h, 2), w / "conv")
        return conv(h, *w["conv"], stride=2, pads=(1, 1, 1, 1) if self.c["downsample_padding"] else (0, 1, 0, 1))

    def doubled(self, h, w):
        if self.c["upsample"] == "transposed":
            return transposed(h, *w["upsamplers.0"])
        return conv(np.repeat(np.repeat(h, 2, 2), 2, 3), *w["upsamplers.0.conv"])


def unet(inputs, settings):
    return {"output": UNet(inputs, settings)(inputs["x"], inputs["t"], inputs.get("labels"))}


# -- the smaller ones ----------------------------------------------------------------------------------------------------


def mlp_of(arrays, settings, x, t):
    w = Weights(arrays)
    columns = [x]
    for period in settings["periods"]:
        columns += [np.sin(2 * math.pi * x / period), np.cos(2 * math.pi * x / period)]
    h = np.concatenate([*columns, sinusoids(t, settings["time_features"])], 1)
    for i in range(settings["depth"]):
        h = silu(linear(h, *w[f"hidden.{i}"]))
    return linear(h, *w["output"])


def mlp(inputs, settings):
    return {"output": mlp_of(inputs, settings, inputs["x"], inputs["t"])}


def classifier(inputs, settings):
    w, h = Weights(inputs), inputs["x"]
    for first in (0, 4):
        h = pooled(relu(norm(conv(h, *w[f"features.{first}"]), *w[f"features.{first + 1}"], 4, 1e-5)))
    return {"output": linear(relu(linear(h.reshape(len(h), -1), *w["hidden"])), *w["output"])}


# -- with diffusion around it --------------------------------------------------------------------------------------------


def network_of(arrays, network):
    """The function (x, t) -> prediction of a network's settings."""
    if network["kind"] == "mlp":
        return lambda x, t: mlp_of(arrays, network, x, t)
    return lambda x, t: UNet(arrays, network)(x, t, arrays.get("labels"))


def alphas_cumprod(settings):
    """What is left of the signal's variance after each step, as a running product."""
    count, start, end = settings["num_train_timesteps"], settings["beta_start"], settings["beta_end"]
    left, product = [], mpf(1)
    for t in range(count):
        share = mpf(t) / (count - 1)
        beta = (mpf(start) + (mpf(end) - mpf(start)) * share if settings["beta_schedule"] == "linear"
                else (sqrt(mpf(start)) + (sqrt(mpf(end)) - sqrt(mpf(start))) * share) ** 2)
        product *= 1 - beta
        left.append(product)
    return left


def small_unet_trajectory(inputs, settings):
    """x_0 = (x_t - sigma eps) / alpha; then the Gaussian of Song et al. 2021, Eq. 12, from one visited time to the next."""
    left, times = alphas_cumprod(settings), settings["timesteps"]
    network, x, states = network_of(inputs, settings["network"]), inputs["x"], []
    for step, t in enumerate(times):
        last = step + 1 == len(times)
        a = left[t]
        b = (mpf(1) if settings["set_alpha_to_one"] else left[0]) if last else left[times[step + 1]]
        epsilon = network(x, [t] * len(x))
        start = (x - float(sqrt(1 - a)) * epsilon) / float(sqrt(a))
        if settings["clip_denoised"]:
            start = np.clip(start, -1, 1)
            epsilon = (x - float(sqrt(a)) * start) / float(sqrt(1 - a))
        std = settings["eta"] * sqrt((1 - b) / (1 - a) * (1 - a / b))
        x = float(sqrt(b)) * start + float(sqrt(1 - b - std**2)) * epsilon
        if std:
            x = x + float(std) * inputs["noise"][step]
        states.append(x)
    return {"state": states[settings["state"]], "output": x}


def training_loss(inputs, settings):
    """The loss alone: its gradients are certified by complex steps, the new weights by `training_check`."""
    left = alphas_cumprod(settings)
    column = lambda values: np.array([float(v) for v in values]).reshape(-1, *[1] * (inputs["x_start"].ndim - 1))
    signal, spread = column(sqrt(left[t]) for t in inputs["t"]), column(sqrt(1 - left[t]) for t in inputs["t"])
    x_t = signal * inputs["x_start"] + spread * inputs["noise"]
    error = network_of(inputs, settings["network"])(x_t, inputs["t"]) - inputs["noise"]
    return {"loss": (error * error).sum() / error.size}


def training_check(inputs, settings, expected):
    """The clipped gradient and AdamW's step, number by number, from the expected gradients."""
    names = [name for name in inputs if name.startswith("parameters.")]
    length = sqrt(sum(mpf(float(g)) ** 2 for name in names for g in expected[f"grad.{name}"].flat))
    factor = min(mpf(1), settings["clip_norm"] / (length + mpf(1e-6)))
    assert abs(length - mpf(float(expected["norm"]))) < 1e-13 * length, "norm"
    k, lr, (beta1, beta2) = settings["step"], mpf(settings["learning_rate"]), map(mpf, settings["betas"])
    for name in names:
        for index in np.ndindex(inputs[name].shape):
            g = mpf(float(expected[f"grad.{name}"][index])) * factor
            m = beta1 * mpf(float(inputs[f"first_moment.{name}"][index])) + (1 - beta1) * g
            v = beta2 * mpf(float(inputs[f"second_moment.{name}"][index])) + (1 - beta2) * g * g
            new = mpf(float(inputs[name][index])) * (1 - lr * mpf(settings["weight_decay"]))
            new -= lr * (m / (1 - beta1**k)) / (sqrt(v / (1 - beta2**k)) + mpf(settings["eps"]))
            assert abs(new - mpf(float(expected[f"new.{name}"][index]))) < 1e-12, name
    return ("norm", *(f"new.{name}" for name in names))


KIND = "NumPy in complex numbers, kernel taps in loops, a recursion over the levels"
ORACLES = {
    "unet": Oracle(KIND, unet, "complex", exact=False),
    "mlp": Oracle("NumPy in complex numbers", mlp, "complex", exact=False),
    "classifier": Oracle("NumPy in complex numbers, kernel taps in loops", classifier, "complex", exact=False),
    "small_unet_trajectory": Oracle(f"{KIND}; the schedule in mpmath, 50 digits", small_unet_trajectory, exact=False),
    "training_step": Oracle(f"{KIND}; AdamW number by number in mpmath", training_loss, "complex", exact=False, check=training_check),
}
