"""The parts that a U-Net and an autoencoder are built of. Parameter names are those of diffusers, so that its weights load by name.

Every block is called as block(x, emb): x (N, C, H, W), emb (N, E) the embedding of time and condition, which some blocks ignore and
those of an autoencoder do not have. Read `unet` next.
"""

from __future__ import annotations

from typing import Any

from minidiff import functional as F
from minidiff import nn
from minidiff.random import Generator

ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu}


class ResnetBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x))) + W emb)))                     Ho et al. 2020, Appendix B; He et al. 2016

    conditioning: "add" adds W emb between the convolutions; "scale_shift" lets it scale and shift the second norm
    (adaptive group norm: norm(h) (1 + scale) + shift, Dhariwal & Nichol 2021, Eq. 6). A 1x1 convolution
    (conv_shortcut) takes x along when the number of channels changes. emb_channels None: a block that is told nothing, without W.
    """

    def __init__(
        self, in_channels: int, out_channels: int, emb_channels: int | None, *, groups: int, eps: float, activation: str,
        conditioning: str = "add", dropout: float = 0.0, generator: Generator,
    ) -> None:
        self.act = ACTIVATIONS[activation]
        self.scale_shift = conditioning == "scale_shift"
        self.norm1 = nn.GroupNorm(groups, in_channels, eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, generator=generator)
        self.time_emb_proj = None
        if emb_channels is not None:
            self.time_emb_proj = nn.Linear(emb_channels, out_channels * (2 if self.scale_shift else 1), generator=generator)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps)
        self.dropout = nn.Dropout(dropout, generator=generator)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, generator=generator)
        if in_channels != out_channels:
            self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1, generator=generator)
        else:
            self.conv_shortcut = None

    def forward(self, x: Any, emb: Any = None) -> Any:
        """(N, in_channels, H, W), (N, E) -> (N, out_channels, H, W)."""
        h = self._normed(self.conv1(self.act(self.norm1(x))), emb)
        h = self.conv2(self.dropout(self.act(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))

    def _normed(self, h: Any, emb: Any) -> Any:
        """The second norm, and what the embedding does to it."""
        if self.time_emb_proj is None:
            return self.norm2(h)
        e = self.time_emb_proj(self.act(emb))
        e = F.reshape(e, (*e.shape, 1, 1))
        if self.scale_shift:
            scale, shift = F.chunk(e, 2, dim=1)
            return self.norm2(h) * (scale + 1.0) + shift
        return self.norm2(h + e)


class ConvBlock(nn.Module):
    """act(norm(conv(x))): the plain block of the course's U-Net. The embedding is ignored."""

    def __init__(
        self, in_channels: int, out_channels: int, *, groups: int, eps: float, activation: str, generator: Generator,
    ) -> None:
        self.act = ACTIVATIONS[activation]
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, generator=generator)
        self.norm = nn.GroupNorm(groups, out_channels, eps)

    def forward(self, x: Any, emb: Any = None) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.act(self.norm(self.conv(x)))


class ResidualConvBlock(nn.Module):
    """y + block(y) with y = block(x): the first block of the course's U-Net."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        self.conv1 = ConvBlock(in_channels, out_channels, **options)
        self.conv2 = ConvBlock(out_channels, out_channels, **options)

    def forward(self, x: Any) -> Any:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        y = self.conv1(x)
        return y + self.conv2(y)


def heads_of(name: str, channels: int, head_dim: int) -> int:
    """How many heads of a size the channels make. Raises ValueError, with the name of the layer, if they do not divide."""
    if head_dim < 1 or channels % head_dim:
        raise ValueError(f"{name}: {channels} channels do not divide into heads of {head_dim}")
    return channels // head_dim


def in_heads(query: Any, key: Any, value: Any, heads: int) -> Any:
    """[head_1, ..., head_h], head_i the attention of the i-th part of the channels       Vaswani et al. 2017, Section 3.2.2

    (N, L, C), (N, S, C), (N, S, C) -> (N, L, C).
    """
    q, k, v = (F.rearrange(x, "n l (heads d) -> n heads l d", heads=heads) for x in (query, key, value))
    return F.rearrange(F.scaled_dot_product_attention(q, k, v), "n heads l d -> n l (heads d)")


class AttentionBlock(nn.Module):
    """x + W_o attention(W_q h, W_k h, W_v h), h = norm(x), every pixel a token          Vaswani et al. 2017; Ho et al. 2020

    head_dim is the size of one head; the channels are cut into channels / head_dim heads.
    """

    def __init__(self, channels: int, head_dim: int, *, groups: int, eps: float, generator: Generator) -> None:
        self.heads = heads_of("AttentionBlock", channels, head_dim)
        self.group_norm = nn.GroupNorm(groups, channels, eps)
        self.to_q = nn.Linear(channels, channels, generator=generator)
        self.to_k = nn.Linear(channels, channels, generator=generator)
        self.to_v = nn.Linear(channels, channels, generator=generator)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels, generator=generator)])

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, H, W)."""
        height, width = x.shape[2:]
        tokens = F.rearrange(self.group_norm(x), "n c h w -> n (h w) c")
        seen = in_heads(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), self.heads)
        return x + F.rearrange(self.to_out[0](seen), "n (h w) c -> n c h w", h=height, w=width)


class ResnetMiddle(nn.Module):
    """block, attention, block: the middle of a network, at its lowest resolution."""

    def __init__(self, first: nn.Module, attention: nn.Module | None, second: nn.Module) -> None:
        self.attentions = nn.ModuleList([attention] if attention is not None else [])
        self.resnets = nn.ModuleList([first, second])

    def forward(self, h: Any, emb: Any = None, *tokens: Any) -> Any:
        """(N, C, H, W) -> (N, C, H, W). tokens: those of a text, if the attention reads one."""
        h = self.resnets[0](h, emb)
        for attention in self.attentions:
            h = attention(h, *tokens)
        return self.resnets[1](h, emb)


class ConvDownsample(nn.Module):
    """Half the resolution by a 3x3 convolution of stride 2.

    padding 1 pads all sides; padding 0 pads only right and bottom, which is TensorFlow's SAME: the two differ by a shift of one pixel.
    """

    def __init__(self, channels: int, padding: int, *, generator: Generator) -> None:
        self.padding = padding
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding, generator=generator)

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2)) with padding 1, (N, C, floor(H/2), floor(W/2)) with padding 0."""
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.padding == 0 else x)


class RearrangePool(nn.Module):
    """Half the resolution without losing a number: each 2x2 patch becomes 4 channels, then a ConvBlock mixes them."""

    def __init__(self, channels: int, **options: Any) -> None:
        self.conv = ConvBlock(4 * channels, channels, **options)

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, H/2, W/2)."""
        return self.conv(F.rearrange(x, "n c (h p1) (w p2) -> n (c p1 p2) h w", p1=2, p2=2))


class NearestUpsample(nn.Module):
    """Twice the resolution: every pixel repeated, then a 3x3 convolution, which leaves no checkerboard."""

    def __init__(self, channels: int, *, generator: Generator) -> None:
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, generator=generator)

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) -> (N, C, 2 H, 2 W)."""
        return self.conv(F.interpolate(x, scale_factor=2))


class EmbedBlock(nn.Module):
    """W_2 gelu(W_1 x) as one number a channel, to multiply or add to an image: (N, in) -> (N, out, 1, 1)."""

    def __init__(self, in_features: int, out_features: int, *, generator: Generator) -> None:
        self.linear_1 = nn.Linear(in_features, out_features, generator=generator)
        self.linear_2 = nn.Linear(out_features, out_features, generator=generator)

    def forward(self, x: Any) -> Any:
        """(N, in_features) -> (N, out_features, 1, 1)."""
        e = self.linear_2(F.gelu(self.linear_1(x)))
        return F.reshape(e, (*e.shape, 1, 1))


class TimestepEmbedding(nn.Module):
    """W_2 act(W_1 x): what turns the sinusoids of a time, or a vector that says what to draw, into the embedding that the blocks read."""

    def __init__(self, in_features: int, out_features: int, activation: str, *, generator: Generator) -> None:
        self.act = ACTIVATIONS[activation]
        self.linear_1 = nn.Linear(in_features, out_features, generator=generator)
        self.linear_2 = nn.Linear(out_features, out_features, generator=generator)

    def forward(self, x: Any) -> Any:
        """(N, in_features) -> (N, out_features)."""
        return self.linear_2(self.act(self.linear_1(x)))
