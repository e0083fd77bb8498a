"""The variational autoencoder of latent diffusion: from images to a few numbers for each patch, and back.

Diffusion then works on those latents, at an eighth of the resolution (Rombach et al. 2022). The encoder answers with a Gaussian for each
latent number, the decoder with an image; the two are trained together as Kingma & Welling 2014 have it:

    z = mean(x) + std(x) eps,    loss = |x - decode(z)|^2 / 2 + kl_weight KL(N(mean, std^2) || N(0, I))

`AutoencoderKL` is diffusers' network of that name, parameter names included. Stands on `blocks.py` and on the Gaussians of
`minidiff.diffusion`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minidiff import functional as F
from minidiff import nn
from minidiff.diffusion.arrays import fresh_noise
from minidiff.diffusion.gaussians import normal_kl, sum_flat
from minidiff.random import Generator

from .blocks import AttentionBlock, ConvDownsample, NearestUpsample, ResnetBlock, ResnetMiddle

NORM_EPS = 1e-6
"""Added to the variance in every norm of an autoencoder; the U-Nets of diffusion have 1e-5."""

LOG_VARIANCES = (-30.0, 20.0)
"""What log variances are clamped to, so that neither a bad batch nor exp overflows."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """What an `AutoencoderKL` is made of. Everything is JSON; `AutoencoderConfig(**json)` reads it back.

    in_channels: of the images. latent_channels: of the latents. block_out_channels: channels at each level; the resolution halves from
    level to level. layers_per_block: residual blocks a level on the way down; the way up has one more. norm_num_groups: groups of every
    norm. middle_attention: whether self-attention with one head stands between the two middle blocks.
    use_quant_conv, use_post_quant_conv: whether a convolution of one pixel ends the encoder and begins the decoder.
    scaling_factor, shift_factor: see `AutoencoderKL.scale`; 1 / std and mean of the latents of the data.
    Raises ValueError for values that cannot be.
    """

    in_channels: int = 1
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (32, 64)
    layers_per_block: int = 1
    norm_num_groups: int = 32
    middle_attention: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    scaling_factor: float = 1.0
    shift_factor: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.block_out_channels, Sequence) or isinstance(self.block_out_channels, str) or not self.block_out_channels:
            raise ValueError(f"AutoencoderConfig: block_out_channels={self.block_out_channels!r}; expected the channels of each level")
        object.__setattr__(self, "block_out_channels", tuple(self.block_out_channels))
        for name in ("in_channels", "latent_channels", "layers_per_block", "norm_num_groups", "block_out_channels"):
            value = getattr(self, name)
            for count in value if name == "block_out_channels" else (value,):
                if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                    raise ValueError(f"AutoencoderConfig: {name}={value!r}; expected whole numbers of at least 1")
        wrong = [c for c in self.block_out_channels if c % self.norm_num_groups]
        if wrong:
            raise ValueError(f"AutoencoderConfig: norm_num_groups={self.norm_num_groups} does not divide the channels {wrong}")
        for name in ("middle_attention", "use_quant_conv", "use_post_quant_conv"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"AutoencoderConfig: {name}={getattr(self, name)!r}; expected true or false")
        for name in ("scaling_factor", "shift_factor"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
                raise ValueError(f"AutoencoderConfig: {name}={value!r}; expected a finite number")
        if self.scaling_factor <= 0:
            raise ValueError(f"AutoencoderConfig: scaling_factor={self.scaling_factor!r}; expected a number above 0, to divide by")

    @property
    def patch(self) -> int:
        """Height and width of the image that belongs to one latent pixel."""
        return 2 ** (len(self.block_out_channels) - 1)

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary of JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, exp(logvar)), every number by itself: what an encoder knows of an image's latents.

    mean, logvar: (N, C, H, W).
    """

    mean: Any
    logvar: Any

    @classmethod
    def of(cls, moments: Any) -> DiagonalGaussian:
        """From the 2 C channels of an encoder: the means first, then the log variances, which are clamped to LOG_VARIANCES."""
        mean, logvar = F.chunk(moments, 2, dim=1)
        return cls(mean, F.clamp(logvar, *LOG_VARIANCES))

    @property
    def std(self) -> Any:
        """exp(logvar / 2)."""
        return F.exp(0.5 * self.logvar)

    def mode(self) -> Any:
        """Where the density is greatest: the mean."""
        return self.mean

    def sample(self, noise: Any = None, *, generator: Any = None) -> Any:
        """z = mean + std eps, so that gradients reach both                          Kingma & Welling 2014, Section 2.4

        noise: eps, standard normal, like mean; or generator: draws it, by its method standard_normal(shape, dtype).
        Raises ValueError for neither or both, ValueError or TypeError for noise that is not like mean.
        """
        given = None if noise is None else [noise]
        return self.mean + self.std * next(fresh_noise("DiagonalGaussian.sample", self.mean, 1, generator, given))

    def kl(self) -> Any:
        """KL(N(mean, std^2) || N(0, I)) = sum (mean^2 + std^2 - 1 - logvar) / 2        Kingma & Welling 2014, Appendix B

        Returns (N,), in nats, summed over each of the batch.
        """
        return sum_flat(normal_kl(self.mean, self.logvar, 0.0, 0.0))


def _block(n_in: int, n_out: int, norm: dict[str, Any]) -> ResnetBlock:
    """A residual block that is told nothing."""
    return ResnetBlock(n_in, n_out, None, activation="silu", **norm)


def _middle(n: int, attention: bool, norm: dict[str, Any]) -> ResnetMiddle:
    """block, attention with one head of all channels, block."""
    return ResnetMiddle(_block(n, n, norm), AttentionBlock(n, n, **norm) if attention else None, _block(n, n, norm))


class _Stage(nn.Module):
    """Blocks at one resolution, then the step to the next one, if there is one."""

    def __init__(self, blocks: Any, *, downsamplers: Any = (), upsamplers: Any = ()) -> None:
        self.resnets, self.downsamplers, self.upsamplers = map(nn.ModuleList, (blocks, downsamplers, upsamplers))

    def forward(self, h: Any) -> Any:
        """(N, C_in, H, W) -> (N, C_out, H, W), or with half or twice H and W."""
        for layer in (*self.resnets, *self.downsamplers, *self.upsamplers):
            h = layer(h)
        return h


class _Ends(nn.Module):
    """What encoder and decoder begin and end with: conv, and norm, silu, conv. channels: (from, first, last, to)."""

    def __init__(self, channels: tuple[int, int, int, int], norm: dict[str, Any]) -> None:
        n_in, first, last, n_out = channels
        self.conv_in = nn.Conv2d(n_in, first, 3, padding=1, generator=norm["generator"])
        self.conv_norm_out = nn.GroupNorm(norm["groups"], last, norm["eps"])
        self.conv_out = nn.Conv2d(last, n_out, 3, padding=1, generator=norm["generator"])

    def end(self, h: Any) -> Any:
        """(N, last, H, W) -> (N, to, H, W)."""
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class Encoder(_Ends):
    """Images to means and log variances: stages of falling resolution, then the middle.

    Halving pads on the right and below only, as the published weights have it.
    """

    def __init__(self, config: AutoencoderConfig, norm: dict[str, Any]) -> None:
        c, n = config, config.block_out_channels[0]
        super().__init__((c.in_channels, n, c.block_out_channels[-1], 2 * c.latent_channels), norm)
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(c.block_out_channels, 1):
            blocks = [_block(n if i == 0 else width, width, norm) for i in range(c.layers_per_block)]
            halves = [ConvDownsample(width, 0, generator=norm["generator"])] if level < len(c.block_out_channels) else []
            self.down_blocks.append(_Stage(blocks, downsamplers=halves))
            n = width
        self.mid_block = _middle(n, c.middle_attention, norm)

    def forward(self, x: Any) -> Any:
        """(N, in_channels, H, W) -> (N, 2 latent_channels, H / patch, W / patch)."""
        h = self.conv_in(x)
        for stage in self.down_blocks:
            h = stage(h)
        return self.end(self.mid_block(h))


class Decoder(_Ends):
    """Latents to images: the middle, then stages of rising resolution, each with one block more than the encoder's."""

    def __init__(self, config: AutoencoderConfig, norm: dict[str, Any]) -> None:
        c, n = config, config.block_out_channels[-1]
        super().__init__((c.latent_channels, n, c.block_out_channels[0], c.in_channels), norm)
        self.mid_block = _middle(n, c.middle_attention, norm)
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(len(c.block_out_channels))):
            width = c.block_out_channels[level]
            blocks = [_block(n if i == 0 else width, width, norm) for i in range(c.layers_per_block + 1)]
            doubles = [NearestUpsample(width, generator=norm["generator"])] if level > 0 else []
            self.up_blocks.append(_Stage(blocks, upsamplers=doubles))
            n = width

    def forward(self, z: Any) -> Any:
        """(N, latent_channels, h, w) -> (N, in_channels, h patch, w patch)."""
        h = self.mid_block(self.conv_in(z))
        for stage in self.up_blocks:
            h = stage(h)
        return self.end(h)


class AutoencoderKL(nn.Module):
    """Images to latents and back: an `AutoencoderConfig` come to life. Called as autoencoder(x, noise)."""

    def __init__(self, config: AutoencoderConfig, *, generator: Generator | None = None) -> None:
        generator = nn.generator_or_fresh(generator)
        self.config = config
        norm = {"groups": config.norm_num_groups, "eps": NORM_EPS, "generator": generator}
        n = config.latent_channels
        self.encoder = Encoder(config, norm)
        self.decoder = Decoder(config, norm)
        self.quant_conv = nn.Conv2d(2 * n, 2 * n, 1, generator=generator) if config.use_quant_conv else None
        self.post_quant_conv = nn.Conv2d(n, n, 1, generator=generator) if config.use_post_quant_conv else None

    def encode(self, x: Any) -> DiagonalGaussian:
        """The Gaussian of the latents of images x, not yet scaled: (N, latent_channels, H / patch, W / patch).

        x: (N, in_channels, H, W), H and W divisible by `config.patch`. Raises ValueError for another shape.
        """
        patch = self.config.patch
        self._check("encode", x, self.config.in_channels)
        if any(size % patch for size in x.shape[2:]):
            raise ValueError(f"AutoencoderKL.encode: height and width {tuple(x.shape[2:])} are not divisible by {patch}; pad or crop them")
        moments = self.encoder(x)
        return DiagonalGaussian.of(moments if self.quant_conv is None else self.quant_conv(moments))

    def decode(self, z: Any) -> Any:
        """Images from latents z, not scaled or no longer: (N, in_channels, h patch, w patch).

        z: (N, latent_channels, h, w). Raises ValueError for another shape.
        """
        self._check("decode", z, self.config.latent_channels)
        return self.decoder(z if self.post_quant_conv is None else self.post_quant_conv(z))

    def _check(self, where: str, x: Any, channels: int) -> None:
        if len(x.shape) != 4 or x.shape[1] != channels or 0 in x.shape[2:]:
            raise ValueError(f"AutoencoderKL.{where}: expected an input (N, {channels}, H, W), got shape {tuple(x.shape)}")

    def forward(self, x: Any, noise: Any = None, *, generator: Any = None) -> tuple[Any, DiagonalGaussian]:
        """(the image that comes out, the Gaussian of its latents).

        x: as in `encode`. noise or generator: see `DiagonalGaussian.sample`; without either the latents are the means.
        """
        posterior = self.encode(x)
        z = posterior.mode() if noise is None and generator is None else posterior.sample(noise, generator=generator)
        return self.decode(z), posterior

    def loss(self, x: Any, noise: Any = None, *, generator: Any = None, kl_weight: float = 1.0) -> Any:
        """The mean over the batch of |x - x'|^2 / 2 + kl_weight KL(q(z | x) || N(0, I)), x' the image that comes out.

        With kl_weight 1 it is the negative evidence lower bound of a decoder N(x', I), but for a constant (Kingma & Welling 2014, Eq. 10);
        kl_weight s^2 makes it s^2 times that of a decoder N(x', s^2 I) (beta-VAE, Higgins et al. 2017). Latent diffusion has 1e-6.
        Arguments as in `forward`, but z is always drawn. Returns a number.
        """
        posterior = self.encode(x)
        off = x - self.decode(posterior.sample(noise, generator=generator))
        return F.mean(sum_flat(off * off) / 2 + kl_weight * posterior.kl())

    def scale(self, z: Any) -> Any:
        """The latents as diffusion sees them, of mean 0 and variance near 1: (z - shift_factor) scaling_factor.

        Rombach et al. 2022, Appendix G. Stable Diffusion 1 and 2 have 0.18215 and no shift.
        """
        return (z - self.config.shift_factor) * self.config.scaling_factor

    def unscale(self, z: Any) -> Any:
        """Back from diffusion's latents, before they are decoded: z / scaling_factor + shift_factor."""
        return z / self.config.scaling_factor + self.config.shift_factor
