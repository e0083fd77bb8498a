"""The autoencoder once more: sums over kernel taps, attention pixel by pixel, in complex numbers, so that a complex step differentiates.

Every function is analytic in its arrays: squares are products, and what is clamped is chosen by its real part.
"""

from __future__ import annotations

import numpy as np

from reference.oracles.oracle import Oracle

EPS = 1e-6
"""Added to the variance in every norm."""


def silu(h):
    """h sigmoid(h)."""
    return h / (1 + np.exp(-h))


class Network:
    """The parameters below a prefix, and what they do; its settings."""

    def __init__(self, arrays, settings, prefix="parameters."):
        self.arrays, self.settings, self.prefix = arrays, settings, prefix

    def below(self, path):
        """The same for what lies deeper."""
        return Network(self.arrays, self.settings, f"{self.prefix}{path}.")

    def has(self, name):
        """Whether there is a layer of this name."""
        return f"{self.prefix}{name}.weight" in self.arrays

    def pair(self, name):
        """A layer's weight and bias."""
        return self.arrays[f"{self.prefix}{name}.weight"], self.arrays[f"{self.prefix}{name}.bias"]

    def conv(self, h, name, step=1, before=1, after=1):
        """before, after: rows and columns of zeros; the kernel's taps one by one."""
        weight, bias = self.pair(name)
        h = np.pad(h, ((0, 0), (0, 0), (before, after), (before, after)))
        k = weight.shape[-1]
        rows, columns = ((size - k) // step + 1 for size in h.shape[2:])
        total = np.zeros((len(h), len(weight), rows, columns), np.result_type(h, weight, bias)) + bias[:, None, None]
        for i in range(k):
            for j in range(k):
                seen = h[:, :, i:i + step * (rows - 1) + 1:step, j:j + step * (columns - 1) + 1:step]
                total += np.einsum("nirc,oi->norc", seen, weight[:, :, i, j])
        return total

    def pointwise(self, h, name):
        """A convolution of one pixel, if there is one."""
        return self.conv(h, name, before=0, after=0) if self.has(name) else h

    def norm(self, h, name):
        """Each group of channels of each sample by itself."""
        weight, bias = self.pair(name)
        out, size = np.empty(h.shape, h.dtype), h.shape[1] // self.settings["norm_num_groups"]
        for n in range(len(h)):
            for first in range(0, h.shape[1], size):
                group = h[n, first:first + size]
                off = group - group.sum() / group.size
                out[n, first:first + size] = off / np.sqrt((off * off).sum() / group.size + EPS)
        return out * weight[:, None, None] + bias[:, None, None]

    def block(self, h):
        """A residual block."""
        inner = self.conv(silu(self.norm(h, "norm1")), "conv1")
        return self.pointwise(h, "conv_shortcut") + self.conv(silu(self.norm(inner, "norm2")), "conv2")

    def attended(self, h):
        """Every pixel looks at every pixel."""
        c, rows, columns = h.shape[1:]
        normed = self.norm(h, "group_norm")
        line = lambda x, name: np.einsum("ni,oi->no", x, self.pair(name)[0]) + self.pair(name)[1]
        places = [(i, j) for i in range(rows) for j in range(columns)]
        keys, values = ([line(normed[:, :, i, j], name) for i, j in places] for name in ("to_k", "to_v"))
        seen = []
        for i, j in places:
            query = line(normed[:, :, i, j], "to_q")
            scores = np.stack([(query * key).sum(axis=1) / np.sqrt(c) for key in keys], axis=1)
            powers = np.exp(scores - np.real(scores).max(axis=1, keepdims=True))
            shares = powers / powers.sum(axis=1, keepdims=True)
            seen.append(line(sum(shares[:, k, None] * value for k, value in enumerate(values)), "to_out.0"))
        return h + np.stack(seen, axis=2).reshape(h.shape[0], c, rows, columns)

    def middle(self, h):
        """Block, attention if there is one, block."""
        h = self.below("mid_block.resnets.0").block(h)
        if self.settings["middle_attention"]:
            h = self.below("mid_block.attentions.0").attended(h)
        return self.below("mid_block.resnets.1").block(h)

    def out(self, h):
        """What encoder and decoder end with."""
        return self.conv(silu(self.norm(h, "conv_norm_out")), "conv_out")

    def encoded(self, x):
        """(mean, log variance), the second clamped."""
        half = self.below("encoder")
        h, levels = half.conv(x, "conv_in"), len(self.settings["block_out_channels"])
        for level in range(levels):
            for layer in range(self.settings["layers_per_block"]):
                h = half.below(f"down_blocks.{level}.resnets.{layer}").block(h)
            if level + 1 < levels:
                h = half.conv(h, f"down_blocks.{level}.downsamplers.0.conv", step=2, before=0, after=1)
        moments = self.pointwise(half.out(half.middle(h)), "quant_conv")
        mean, logvar = moments[:, :self.settings["latent_channels"]], moments[:, self.settings["latent_channels"]:]
        return mean, np.where(np.real(logvar) < -30, -30, np.where(np.real(logvar) > 20, 20, logvar))

    def decoded(self, z):
        """The image of latents that are not scaled."""
        half = self.below("decoder")
        h = half.middle(half.conv(self.pointwise(z, "post_quant_conv"), "conv_in"))
        levels = len(self.settings["block_out_channels"])
        for level in range(levels):
            for layer in range(self.settings["layers_per_block"] + 1):
                h = half.below(f"up_blocks.{level}.resnets.{layer}").block(h)
            if level + 1 < levels:
                large = np.empty((*h.shape[:2], 2 * h.shape[2], 2 * h.shape[3]), h.dtype)
                for i in range(2):
                    for j in range(2):
                        large[:, :, i::2, j::2] = h
                h = half.conv(large, f"up_blocks.{level}.upsamplers.0.conv")
        return half.out(h)


def autoencoder_kl_encode(inputs, settings):
    """The Gaussian, and a scaled sample of it."""
    mean, logvar = Network(inputs, settings).encoded(inputs["x"])
    z = mean + np.sqrt(np.exp(logvar)) * inputs["noise"]
    return {"mean": mean, "log_variance": logvar,
            "latents": settings["scaling_factor"] * z - settings["scaling_factor"] * settings["shift_factor"]}


def autoencoder_kl_decode(inputs, settings):
    """The image of scaled latents."""
    return {"output": Network(inputs, settings).decoded(inputs["latents"] / settings["scaling_factor"] + settings["shift_factor"])}


def autoencoder_kl_loss(inputs, settings):
    """Half of the squared error, and the divergence, sample by sample."""
    network = Network(inputs, settings)
    mean, logvar = network.encoded(inputs["x"])
    image = network.decoded(mean + np.sqrt(np.exp(logvar)) * inputs["noise"])
    kl = np.array([(m * m + np.exp(l) - 1 - l).sum() / 2 for m, l in zip(mean, logvar)])
    squares = np.array([(off * off).sum() / 2 for off in image - inputs["x"]])
    return {"loss": (squares + settings["kl_weight"] * kl).sum() / len(kl), "kl": kl, "image": image}


KIND = "NumPy in complex numbers, kernel taps and pixels in loops; gradients by complex steps"
ORACLES = {function.__name__: Oracle(KIND, function, "complex", exact=False) for function in (
    autoencoder_kl_encode, autoencoder_kl_decode, autoencoder_kl_loss)}
