"""The U-Net: what a diffusion model learns with.

One skeleton: an image goes down through stages of falling resolution, through a middle, and up again; on the way up each
stage also sees what its counterpart on the way down saw (a skip connection). `UNetConfig` chooses the parts, which are in `blocks.py` and
`transformer.py`, and what the network is told to draw, which is read by `context.py`.
Two presets show the range: `ddpm` (residual blocks and self-attention; it is diffusers' `UNet2DModel`, parameter names
included) and `course` (plain convolution blocks, rearrange pooling, transposed convolutions, a dense bottleneck; the U-Net of
NVIDIA's course "Generative AI with Diffusion Models").
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff import functional as F
from minidiff.random import Generator

from .blocks import (
    ACTIVATIONS,
    AttentionBlock,
    ConvBlock,
    ConvDownsample,
    EmbedBlock,
    NearestUpsample,
    RearrangePool,
    ResidualConvBlock,
    ResnetBlock,
    ResnetMiddle,
    TimestepEmbedding,
)
from .context import check_conditions, read_context
from .transformer import SpatialTransformer

_CHOICES = {
    "block": ("resnet", "conv"),
    "activation": tuple(ACTIVATIONS),
    "conditioning": ("add", "scale_shift", "multiply_add"),
    "downsample": ("conv", "rearrange"),
    "upsample": ("nearest", "transposed"),
    "skips": ("block", "stage"),
    "middle": ("resnet", "dense"),
}
_LATER = ("context_features", "cross_attention_dim")  # settings that the first files of configurations do not have


@dataclass(frozen=True)
class UNetConfig:
    """What a `UNet` is made of. Everything is JSON; `UNetConfig(**json)` reads it back.

    sample_size: height and width of the images. in_channels, out_channels: their channels.
    patch_size: p x p pixels become p^2 channels at the entrance and pixels again at the exit, so that the network works at 1/p of the
    resolution (Luhman & Luhman 2022, "Improving Diffusion Model Efficiency Through Patching").
    num_classes, context_features, cross_attention_dim: what it can be told to draw; at most one of the three, None for the others. One of
    num_classes classes (label num_classes means "none"); a vector of context_features numbers, such as an embedding of CLIP (zeros mean
    "none"); the tokens of a text, each of cross_attention_dim numbers (needs resnet blocks and an attention). See `context`.
    block_out_channels: channels at each level; the resolution halves from level to level. layers_per_block: blocks a level.
    block: "resnet" or "conv". conditioning: how time, class and vector enter: "add" or "scale_shift" inside resnet
    blocks; "multiply_add" multiplies the class's or the vector's and adds the time's embedding before each stage of the way up.
    attention_levels: levels with self-attention (needs resnet blocks); with cross_attention_dim all attention is that of
    `SpatialTransformer`. attention_head_dim: size of a head (diffusers' `UNet2DConditionModel` calls the number of heads by this name).
    downsample: "conv" (stride 2) or "rearrange" (2x2 patches to channels). upsample: "nearest" (then a convolution) or "transposed".
    skips: what the way up sees: the result of every "block", or of every "stage". middle: "resnet" (with attention between two
    blocks, if middle_attention) or "dense" (through one vector of hidden_features; needs sample_size).
    flip_sin_to_cos, freq_shift, max_period: of `timestep_embedding`. time_scale multiplies the time steps first.
    Raises ValueError for values that do not exist or do not go together.
    """

    sample_size: int = 28
    in_channels: int = 1
    out_channels: int = 1
    patch_size: int = 1
    num_classes: int | None = None
    context_features: int | None = None
    cross_attention_dim: int | None = None
    block_out_channels: tuple[int, ...] = (32, 64, 128)
    layers_per_block: int = 2
    up_layers_per_block: int | None = None
    block: str = "resnet"
    conditioning: str = "add"
    activation: str = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    attention_levels: tuple[int, ...] = ()
    attention_head_dim: int = 8
    downsample: str = "conv"
    downsample_padding: int = 1
    upsample: str = "nearest"
    skips: str = "block"
    middle: str = "resnet"
    middle_attention: bool = True
    hidden_features: int = 64
    time_features: int | None = None
    time_scale: float = 1.0
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0
    max_period: float = 10000.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_out_channels", tuple(self.block_out_channels))
        object.__setattr__(self, "attention_levels", tuple(self.attention_levels))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"UNetConfig: {name}={getattr(self, name)!r}; expected one of {', '.join(choices)}")
        levels = len(self.block_out_channels)
        if levels < 1 or self.layers_per_block < 1:
            raise ValueError("UNetConfig: block_out_channels and layers_per_block need at least one level and one layer")
        if self.norm_num_groups < 1:
            raise ValueError(f"UNetConfig: norm_num_groups={self.norm_num_groups}; expected at least 1")
        wrong = [c for c in self.block_out_channels if c % self.norm_num_groups]
        if wrong:
            raise ValueError(f"UNetConfig: norm_num_groups={self.norm_num_groups} does not divide the channels {wrong}")
        if any(not 0 <= level < levels for level in self.attention_levels):
            raise ValueError(f"UNetConfig: attention_levels {self.attention_levels}; the levels are 0 to {levels - 1}")
        if self.block == "conv" and (self.attention_levels or self.conditioning != "multiply_add"):
            raise ValueError("UNetConfig: conv blocks have no attention and know of time only by conditioning='multiply_add'")
        if self.block == "resnet" and self.conditioning == "multiply_add":
            raise ValueError("UNetConfig: resnet blocks are told the time inside; conditioning is 'add' or 'scale_shift'")
        check_conditions(self)
        halvings = levels if self.skips == "stage" else levels - 1
        if self.patch_size < 1 or self.sample_size % (self.patch_size * 2 ** halvings):
            raise ValueError(f"UNetConfig: sample_size {self.sample_size} cannot be cut into patches of {self.patch_size} and "
                             f"then halved {halvings} times")

    @property
    def null_label(self) -> int:
        """The label that means "no class": what classifier-free guidance asks for as the unconditional answer."""
        if self.num_classes is None:
            raise ValueError("this model has no classes (num_classes=None)")
        return self.num_classes

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary of JSON values. Later ones (`_LATER`) only where they are set: a network's old files stay equal."""
        return {name: value for name, value in asdict(self).items() if name not in _LATER or value is not None}


class _Down(nn.Module):
    """A stage of the way down: blocks, then half the resolution. tokens, here and below: those of a text, if the attentions read one."""

    def __init__(self, blocks: Any, attentions: Any, downsampler: nn.Module | None, keep_blocks: bool) -> None:
        self.resnets = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)
        self.downsamplers = nn.ModuleList([downsampler] if downsampler is not None else [])
        self.keep_blocks = keep_blocks

    def forward(self, h: Any, emb: Any, *tokens: Any) -> tuple[Any, list[Any]]:
        """h -> (h, what the way up will see)."""
        kept = []
        attentions = list(self.attentions) or [None] * len(self.resnets)
        for block, attention in zip(self.resnets, attentions):
            h = block(h, emb)
            h = h if attention is None else attention(h, *tokens)
            if self.keep_blocks:
                kept.append(h)
        for downsample in self.downsamplers:
            h = downsample(h)
            kept.append(h)
        return h, kept


class _UpByBlock(nn.Module):
    """A stage of the way up in which every block sees one skip; then twice the resolution."""

    def __init__(self, blocks: Any, attentions: Any, upsampler: nn.Module | None) -> None:
        self.resnets = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)
        self.upsamplers = nn.ModuleList([upsampler] if upsampler is not None else [])

    def forward(self, h: Any, skips: list[Any], emb: Any, *tokens: Any) -> Any:
        """h and the skips, the last first -> h."""
        attentions = list(self.attentions) or [None] * len(self.resnets)
        for block, attention in zip(self.resnets, attentions):
            h = block(F.cat([h, skips.pop()], dim=1), emb)
            h = h if attention is None else attention(h, *tokens)
        for upsample in self.upsamplers:
            h = upsample(h)
        return h


class _UpByStage(nn.Module):
    """A stage of the way up that sees one skip, first doubles the resolution and then has its blocks."""

    def __init__(self, upsampler: nn.Module, blocks: Any) -> None:
        self.upsamplers = nn.ModuleList([upsampler])
        self.resnets = nn.ModuleList(blocks)

    def forward(self, h: Any, skips: list[Any], emb: Any, *tokens: Any) -> Any:
        """h and the skips, the last first -> h."""
        h = self.upsamplers[0](F.cat([h, skips.pop()], dim=1))
        for block in self.resnets:
            h = block(h, emb)
        return h


class _DenseMiddle(nn.Module):
    """The whole image through one small vector and back: linear, relu, three times; then a ConvBlock."""

    def __init__(self, channels: int, size: int, hidden: int, block: nn.Module, *, generator: Generator) -> None:
        features = channels * size * size
        self.shape = (channels, size, size)
        self.linears = nn.ModuleList([
            nn.Linear(features, hidden, generator=generator), nn.Linear(hidden, hidden, generator=generator),
            nn.Linear(hidden, features, generator=generator)])
        self.conv = block

    def forward(self, h: Any, emb: Any, *tokens: Any) -> Any:
        """(N, C, size, size) -> (N, C, size, size)."""
        h = F.gelu(F.flatten(h, 1))
        for linear in self.linears:
            h = F.relu(linear(h))
        return self.conv(F.reshape(h, (len(h), *self.shape)), emb)


class UNet(nn.Module):
    """eps(x_t, t, c): a `UNetConfig` come to life. Called as unet(x, t, context), context the condition c."""

    def __init__(self, config: UNetConfig, *, generator: Generator | None = None) -> None:
        generator = nn.generator_or_fresh(generator)
        self.config = config
        c = config
        channels = c.block_out_channels
        self.time_features = c.time_features or channels[0]
        emb = 4 * channels[0]
        norm = {"groups": c.norm_num_groups, "eps": c.norm_eps, "generator": generator}
        conv = {**norm, "activation": c.activation}

        def block(n_in: int, n_out: int) -> nn.Module:
            if c.block == "conv":
                return ConvBlock(n_in, n_out, **conv)
            return ResnetBlock(n_in, n_out, emb, conditioning=c.conditioning, dropout=c.dropout, **conv)

        def attention(n: int) -> nn.Module:
            if c.cross_attention_dim is None:
                return AttentionBlock(n, c.attention_head_dim, **norm)
            return SpatialTransformer(n, c.attention_head_dim, c.cross_attention_dim, groups=c.norm_num_groups, generator=generator)

        def attentions(level: int, count: int) -> list[nn.Module]:
            return [attention(channels[level]) for _ in range(count if level in c.attention_levels else 0)]

        def halve(n: int) -> nn.Module:
            return RearrangePool(n, **conv) if c.downsample == "rearrange" else ConvDownsample(n, c.downsample_padding, generator=generator)

        by_stage = c.skips == "stage"
        last = len(channels) - 1
        n_in, n_out = c.in_channels * c.patch_size ** 2, c.out_channels * c.patch_size ** 2
        self.conv_in = (ResidualConvBlock(n_in, channels[0], **conv) if c.block == "conv"
                        else nn.Conv2d(n_in, channels[0], 3, padding=1, generator=generator))
        self._embeddings(emb, generator)

        self.down_blocks = nn.ModuleList()
        skips = [channels[0]]  # how many channels each skip has
        n = channels[0]
        for level, width in enumerate(channels):
            blocks = [block(n if i == 0 else width, width) for i in range(c.layers_per_block)]
            n = width
            down = halve(n) if by_stage or level < last else None
            self.down_blocks.append(_Down(blocks, attentions(level, c.layers_per_block), down, keep_blocks=not by_stage))
            skips += [n] * (c.layers_per_block * (not by_stage) + (down is not None))

        self.mid_block = self._middle(n, block, attention, conv)

        self.up_blocks = nn.ModuleList()
        for level in reversed(range(len(channels))):
            if by_stage:
                width = channels[max(level - 1, 0)]
                up = self._double(n + skips.pop(), width, generator)
                layers = c.up_layers_per_block or c.layers_per_block
                self.up_blocks.append(_UpByStage(up, [block(width, width) for _ in range(layers)]))
            else:
                width = channels[level]
                layers = c.layers_per_block + 1
                blocks = [block((n if i == 0 else width) + skips.pop(), width) for i in range(layers)]
                up = self._double(width, width, generator) if level > 0 else None
                self.up_blocks.append(_UpByBlock(blocks, attentions(level, layers), up))
            n = width

        if by_stage:
            self.conv_merge = nn.Conv2d(n + skips.pop(), n, 3, padding=1, generator=generator)
        self.conv_norm_out = nn.GroupNorm(c.norm_num_groups, n, c.norm_eps)
        self.conv_out = nn.Conv2d(n, n_out, 3, padding=1, generator=generator)

    def _embeddings(self, emb: int, generator: Generator) -> None:
        """What turns time and class, or vector, into numbers that the blocks can use."""
        c = self.config
        if c.conditioning == "multiply_add":
            channels = c.block_out_channels  # below: how many channels enter each stage of the way up
            widths = list(reversed(channels if c.skips == "stage" else (*channels[1:], channels[-1])))
            self.time_embeddings = nn.ModuleList(EmbedBlock(self.time_features, n, generator=generator) for n in widths)
            features = c.context_features if c.num_classes is None else c.num_classes
            self.class_embeddings = nn.ModuleList(EmbedBlock(features, n, generator=generator) for n in widths if features is not None)
        else:
            self.time_embedding = TimestepEmbedding(self.time_features, emb, c.activation, generator=generator)
            if c.num_classes is not None:
                self.class_embedding = nn.Embedding(c.num_classes + 1, emb, generator=generator)
            elif c.context_features is not None:
                self.class_embedding = TimestepEmbedding(c.context_features, emb, c.activation, generator=generator)

    def _middle(self, n: int, block: Any, attention: Any, conv: dict[str, Any]) -> nn.Module:
        c = self.config
        if c.middle == "dense":
            halvings = len(c.block_out_channels) - (c.skips != "stage")
            size = c.sample_size // c.patch_size // 2 ** halvings
            return _DenseMiddle(n, size, c.hidden_features, ConvBlock(n, n, **conv), generator=conv["generator"])
        between = attention(n) if c.middle_attention else None
        return ResnetMiddle(block(n, n), between, block(n, n))

    def _double(self, n_in: int, n_out: int, generator: Generator) -> nn.Module:
        if self.config.upsample == "transposed":
            return nn.ConvTranspose2d(n_in, n_out, 2, stride=2, generator=generator)
        if n_in != n_out:
            raise ValueError("UNetConfig: skips='stage' needs upsample='transposed', which can change the number of channels")
        return NearestUpsample(n_in, generator=generator)

    def forward(self, x: Any, t: Any, context: Any = None) -> Any:
        """The network's prediction for noisy images.

        x: (N, in_channels, H, W), H and W divisible by patch_size and by 2 for every halving. t: an int or (N,) integers, 0-based.
        context: (N,) labels, num_classes (or None for all) where there is no class; or (N, context_features) vectors, zeros (or None)
        for nothing; or (N, L, cross_attention_dim) tokens. Vectors and tokens, arrays or Tensors, have the network's dtype and device.
        Returns (N, out_channels, H, W). Raises ValueError for shapes, labels or dtypes that do not fit.
        """
        c = self.config
        if len(x.shape) != 4 or x.shape[1] != c.in_channels:
            raise ValueError(f"UNet: expected an input (N, {c.in_channels}, H, W), got shape {tuple(x.shape)}")
        weight = self.conv_out.weight
        times = np.broadcast_to(np.asarray(backend.to_numpy(t)), (x.shape[0],))
        sinusoids = F.timestep_embedding(times * c.time_scale, self.time_features, c.max_period, c.flip_sin_to_cos, c.freq_shift)
        sinusoids = backend.asarray(sinusoids.astype(weight.dtype), weight.device)
        condition, tokens = read_context(c, context, x.shape[0], weight)

        emb, stage_embeddings = None, [(None, None)] * len(self.up_blocks)
        if c.conditioning == "multiply_add":
            stage_embeddings = self._by_stage(sinusoids, condition)
        else:
            emb = self.time_embedding(sinusoids)
            emb = emb if condition is None else emb + self.class_embedding(condition)

        if c.patch_size > 1:
            x = F.rearrange(x, "n c (h p) (w q) -> n (c p q) h w", p=c.patch_size, q=c.patch_size)
        h = self.conv_in(x)
        skips = [h]
        for stage in self.down_blocks:
            h, kept = stage(h, emb, *tokens)
            skips += kept
        h = self.mid_block(h, emb, *tokens)
        for stage, (factor, shift) in zip(self.up_blocks, stage_embeddings):
            h = h if factor is None else h * factor
            h = h if shift is None else h + shift
            h = stage(h, skips, emb, *tokens)
        if c.skips == "stage":
            h = self.conv_merge(F.cat([h, skips.pop()], dim=1))
        h = self.conv_out(ACTIVATIONS[c.activation](self.conv_norm_out(h)))
        if c.patch_size > 1:
            h = F.rearrange(h, "n (c p q) h w -> n c (h p) (w q)", p=c.patch_size, q=c.patch_size)
        return h

    def _by_stage(self, sinusoids: Any, vectors: Any) -> list[tuple[Any, Any]]:
        """(factor, shift) for each stage of the way up: the class (one-hot) or the vector multiplies, the time adds."""
        shifts = [embed(sinusoids) for embed in self.time_embeddings]
        factors = [None] * len(shifts) if vectors is None else [embed(vectors) for embed in self.class_embeddings]
        return list(zip(factors, shifts))


PRESETS = {
    "ddpm": UNetConfig(attention_levels=(1,)),
    "course": UNetConfig(
        block_out_channels=(64, 128), layers_per_block=2, up_layers_per_block=4, block="conv", conditioning="multiply_add",
        activation="gelu", norm_num_groups=8, downsample="rearrange", upsample="transposed", skips="stage", middle="dense",
        hidden_features=64, time_features=8, time_scale=1e-3),
}


def preset(name: str, **changes: Any) -> UNetConfig:
    """The configuration called `name` ("ddpm" or "course"), with some settings changed. ValueError for an unknown name."""
    if name not in PRESETS:
        raise ValueError(f"unknown U-Net preset {name!r}; expected one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)
