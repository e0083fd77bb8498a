"""The two U-Net presets in PyTorch, written with torch's own modules: what `minidiff bench` measures ours against.

Each takes a `UNetConfig` and names its parameters as `minidiff.models.UNet` does, so weights travel by name. The tests of the
extra `peers` hold them to ours. Needs PyTorch; nothing but the benchmark and those tests imports this file.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from minidiff.models import UNetConfig


def torch_unet(config: UNetConfig) -> nn.Module:
    """The PyTorch twin of `UNet(config)`, called as model(x, t, labels): tensors (N, C, H, W), (N,) and (N,) integers.

    Offered for the families of the two presets: resnet blocks with skips from every block (any attention, time by "add" or
    "scale_shift"), and conv blocks with skips from every stage, told classes or nothing. Raises ValueError for another mixture.
    """
    c = config
    if c.context_features is not None or c.cross_attention_dim is not None:
        raise ValueError("torch_unet: only networks with classes or without any condition have a twin")
    family = (c.block, c.downsample, c.upsample, c.skips, c.middle, c.activation)
    if family == ("resnet", "conv", "nearest", "block", "resnet", "silu"):
        return TorchDDPM(c)
    if family == ("conv", "rearrange", "transposed", "stage", "dense", "gelu"):
        return TorchCourse(c)
    raise ValueError(f"torch_unet: only the families of the presets 'ddpm' and 'course' have a twin, not {config}")


def sinusoids(t: torch.Tensor, features: int, config: UNetConfig, dtype: torch.dtype) -> torch.Tensor:
    """(N,) times -> (N, features), computed in float64."""
    half = features // 2
    frequencies = torch.logspace(0, -half / (half - config.freq_shift), half + 1, base=config.max_period, dtype=torch.float64)[:half]
    angles = torch.outer(t.double() * config.time_scale, frequencies)
    waves = [angles.cos(), angles.sin()] if config.flip_sin_to_cos else [angles.sin(), angles.cos()]
    return torch.cat(waves, dim=1).to(dtype)


def conv3(n_in: int, n_out: int, **options: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(n_in, n_out, 3, **{"padding": 1, **options})


# -- ddpm ------------------------------------------------------------------------------------------------------------


class _Resnet(nn.Module):
    def __init__(self, n_in: int, n_out: int, emb: int, c: UNetConfig) -> None:
        super().__init__()
        self.scale_shift = c.conditioning == "scale_shift"
        self.norm1, self.conv1 = nn.GroupNorm(c.norm_num_groups, n_in, c.norm_eps), conv3(n_in, n_out)
        self.time_emb_proj = nn.Linear(emb, n_out * (1 + self.scale_shift))
        self.norm2, self.conv2 = nn.GroupNorm(c.norm_num_groups, n_out, c.norm_eps), conv3(n_out, n_out)
        self.dropout = nn.Dropout(c.dropout)
        self.conv_shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        e = self.time_emb_proj(F.silu(emb))[..., None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        else:
            h = self.norm2(h + e)
        return self.conv_shortcut(x) + self.conv2(self.dropout(F.silu(h)))


class _Attention(nn.Module):
    def __init__(self, channels: int, c: UNetConfig) -> None:
        super().__init__()
        self.heads = channels // c.attention_head_dim
        self.group_norm = nn.GroupNorm(c.norm_num_groups, channels, c.norm_eps)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.group_norm(x).flatten(2).mT
        q, k, v = (to(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.to_out[0](seen).mT.unflatten(2, x.shape[2:])


class _Downsample(nn.Module):
    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1) if padding == 0 else 0)
        self.conv = conv3(channels, channels, stride=2, padding=padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.pad(x))


class _Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class _Stage(nn.Module):
    """Blocks, each perhaps with attention behind it, and what changes the resolution at the end."""

    def __init__(self, widths: list[tuple[int, int]], emb: int, c: UNetConfig, attention: bool, **ends: nn.Module) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Resnet(n_in, n_out, emb, c) for n_in, n_out in widths)
        self.attentions = nn.ModuleList(_Attention(n_out, c) for _, n_out in widths if attention)
        for name, end in ends.items():
            setattr(self, name, nn.ModuleList([end]))

    def block(self, i: int, h: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        h = self.resnets[i](h, emb)
        return self.attentions[i](h) if self.attentions else h


class TorchDDPM(nn.Module):
    """The U-Net of Ho et al. 2020 (Appendix B)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = c = config
        channels, layers = c.block_out_channels, c.layers_per_block
        emb = 4 * channels[0]
        self.conv_in = conv3(c.in_channels * c.patch_size**2, channels[0])
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(c.time_features or channels[0], emb), "linear_2": nn.Linear(emb, emb)})
        if c.num_classes is not None:
            self.class_embedding = nn.Embedding(c.num_classes + 1, emb)

        self.down_blocks, skips, n = nn.ModuleList(), [channels[0]], channels[0]
        for level, width in enumerate(channels):
            ends = {"downsamplers": _Downsample(width, c.downsample_padding)} if level < len(channels) - 1 else {}
            self.down_blocks.append(_Stage([(n, width)] + [(width, width)] * (layers - 1), emb, c, level in c.attention_levels, **ends))
            skips += [width] * (layers + len(ends))
            n = width

        self.mid_block = nn.ModuleDict({
            "attentions": nn.ModuleList([_Attention(n, c)] if c.middle_attention else []),
            "resnets": nn.ModuleList([_Resnet(n, n, emb, c), _Resnet(n, n, emb, c)])})

        self.up_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(channels))):
            widths = [((n if i == 0 else width) + skips.pop(), width) for i in range(layers + 1)]
            ends = {"upsamplers": _Upsample(width)} if level > 0 else {}
            self.up_blocks.append(_Stage(widths, emb, c, level in c.attention_levels, **ends))
            n = width
        self.conv_norm_out, self.conv_out = nn.GroupNorm(c.norm_num_groups, n, c.norm_eps), conv3(n, c.out_channels * c.patch_size**2)

    def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        time = self.time_embedding
        emb = time.linear_2(F.silu(time.linear_1(sinusoids(t, time.linear_1.in_features, self.config, x.dtype))))
        if labels is not None:
            emb = emb + self.class_embedding(labels)
        h = self.conv_in(F.pixel_unshuffle(x, self.config.patch_size))
        skips = [h]
        for stage in self.down_blocks:
            for i in range(len(stage.resnets)):
                h = stage.block(i, h, emb)
                skips.append(h)
            for downsample in getattr(stage, "downsamplers", ()):
                h = downsample(h)
                skips.append(h)
        h = self.mid_block.resnets[0](h, emb)
        for attention in self.mid_block.attentions:
            h = attention(h)
        h = self.mid_block.resnets[1](h, emb)
        for stage in self.up_blocks:
            for i in range(len(stage.resnets)):
                h = stage.block(i, torch.cat([h, skips.pop()], dim=1), emb)
            for upsample in getattr(stage, "upsamplers", ()):
                h = upsample(h)
        return F.pixel_shuffle(self.conv_out(F.silu(self.conv_norm_out(h))), self.config.patch_size)


# -- course ----------------------------------------------------------------------------------------------------------


class _Conv(nn.Module):
    """A convolution, its norm and GELU, in that order."""

    def __init__(self, n_in: int, n_out: int, c: UNetConfig) -> None:
        super().__init__()
        self.conv, self.norm = conv3(n_in, n_out), nn.GroupNorm(c.norm_num_groups, n_out, c.norm_eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.norm(self.conv(x)))


class _Embed(nn.Sequential):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear_1, self.act, self.linear_2 = nn.Linear(n_in, n_out), nn.GELU(), nn.Linear(n_out, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[..., None, None]


class TorchCourse(nn.Module):
    """The U-Net of NVIDIA's course "Generative AI with Diffusion Models"."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = c = config
        channels = c.block_out_channels
        entries = [*reversed(channels)]  # the channels at the entrance of each stage of the way up
        self.conv_in = nn.ModuleDict({
            "conv1": _Conv(c.in_channels * c.patch_size**2, channels[0], c), "conv2": _Conv(channels[0], channels[0], c)})
        self.time_embeddings = nn.ModuleList(_Embed(c.time_features or channels[0], n) for n in entries)
        if c.num_classes is not None:
            self.class_embeddings = nn.ModuleList(_Embed(c.num_classes, n) for n in entries)

        self.down_blocks = nn.ModuleList()
        for n_in, n in zip((channels[0], *channels), channels):
            resnets = [_Conv(n_in if i == 0 else n, n, c) for i in range(c.layers_per_block)]
            self.down_blocks.append(nn.ModuleDict({
                "resnets": nn.ModuleList(resnets),
                "downsamplers": nn.ModuleList([nn.ModuleDict({"conv": _Conv(4 * n, n, c)})])}))

        size = c.sample_size // c.patch_size // 2 ** len(channels)
        self.size, features, hidden = size, channels[-1] * size**2, c.hidden_features
        self.mid_block = nn.ModuleDict({
            "linears": nn.ModuleList([nn.Linear(features, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, features)]),
            "conv": _Conv(channels[-1], channels[-1], c)})

        self.up_blocks = nn.ModuleList()
        for n, n_out in zip(entries, [*entries[1:], channels[0]]):
            self.up_blocks.append(nn.ModuleDict({
                "upsamplers": nn.ModuleList([nn.ConvTranspose2d(2 * n, n_out, 2, stride=2)]),
                "resnets": nn.ModuleList(_Conv(n_out, n_out, c) for _ in range(c.up_layers_per_block or c.layers_per_block))}))
        self.conv_merge = conv3(2 * channels[0], channels[0])
        self.conv_norm_out = nn.GroupNorm(c.norm_num_groups, channels[0], c.norm_eps)
        self.conv_out = conv3(channels[0], c.out_channels * c.patch_size**2)

    def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        c = self.config
        time = sinusoids(t, self.time_embeddings[0].linear_1.in_features, c, x.dtype)
        h = self.conv_in.conv1(F.pixel_unshuffle(x, c.patch_size))
        h = h + self.conv_in.conv2(h)
        skips = [h]
        for stage in self.down_blocks:
            for block in stage.resnets:
                h = block(h)
            h = stage.downsamplers[0].conv(F.pixel_unshuffle(h, 2))
            skips.append(h)
        first, second, third = self.mid_block.linears
        dense = third(second(first(F.gelu(h.flatten(1))).relu()).relu()).relu()
        h = self.mid_block.conv(dense.unflatten(1, (-1, self.size, self.size)))
        hot = None if labels is None else F.one_hot(labels, c.num_classes + 1)[:, :-1].to(x.dtype)  # "no class" is all zeros
        for i, stage in enumerate(self.up_blocks):
            h = h if hot is None else h * self.class_embeddings[i](hot)
            h = stage.upsamplers[0](torch.cat([h + self.time_embeddings[i](time), skips.pop()], dim=1))
            for block in stage.resnets:
                h = block(h)
        h = self.conv_merge(torch.cat([h, skips.pop()], dim=1))
        return F.pixel_shuffle(self.conv_out(F.gelu(self.conv_norm_out(h))), c.patch_size)

