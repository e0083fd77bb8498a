"""The autoencoder of latent diffusion: what encodes, what decodes, and the loss of both.

As in the family of networks, they are as small as they can be and still have everything: two or three levels of four and six channels,
images that are not square. The parameters are inputs. A mutant is a changed network, or changed settings. Its blocks and its Gaussian have
cases of their own in the family of blocks; here it is how they are put together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.models import AutoencoderKL, DiagonalGaussian
from minidiff.models.blocks import AttentionBlock, ConvDownsample, NearestUpsample
from minidiff.nn import GroupNorm
from minidiff.verify.adapters.minidiff.autoencoder import CALLS, empty_network, network_of
from reference.case import Case, Mutant, Note, Operation, draw
from reference.cases.networks import parameters

CHAPTER = "docs/layers.md#the-autoencoder"
LEAST, MOST = -30.0, 20.0

_NETWORK = {
    "in_channels": "C, of the images", "latent_channels": "L, of the latents",
    "block_out_channels": "channels of each level; the resolution halves from level to level",
    "layers_per_block": "residual blocks of a level of the encoder; the decoder's have one more",
    "norm_num_groups": "groups of every GroupNorm", "middle_attention": "whether there is attention between the two blocks of the middle",
}
_QUANT = {"use_quant_conv": "whether quant_conv (1x1) ends the encoder"}
_POST = {"use_post_quant_conv": "whether post_quant_conv (1x1) begins the decoder"}
_SCALE = {"scaling_factor": "1 / (standard deviation of the latents); 0.18215 for Stable Diffusion 1 and 2",
          "shift_factor": "their mean; 0 for Stable Diffusion 1 and 2"}
_PARAMETERS = {"parameters.NAME": "the parameters, weights (out, in, ...), named as in diffusers' AutoencoderKL"}
_NOISE = {"noise": "eps, (N, L, h, w), of the latents' size"}
_BLOCKS = (
    "Blocks, all with eps 1e-6: R(h) = shortcut(h) + conv2(silu(norm2(conv1(silu(norm1(h)))))), convolutions of 3x3 with zeros at the "
    "edges, shortcut conv_shortcut (1x1) if the channels change, else h; A(h) = attention_block with one head of all channels; middle: "
    "resnets.0, attentions.0 if middle_attention, resnets.1; end(h) = conv_out(silu(conv_norm_out(h))).\n")
_ENCODER = (
    "h = conv_in(x); for each level: its R (resnets), then, but for the last level, a 3x3 convolution of stride 2 after one row of zeros "
    "below and one column on the right (downsamplers.0); middle; moments = quant_conv(end(h)).\n"
    "mean = the first L channels of moments, log_variance = the other L, clamped to [-30, 20].\n")
_DECODER = (
    "h = conv_in(post_quant_conv(z)); middle; for each level, the deepest first (up_blocks.0): its R, then, but for the last, every pixel "
    "2x2 times and a 3x3 convolution (upsamplers.0); D(z) = end(h).\n")

OPERATIONS = {
    "autoencoder_kl_encode": Operation(
        f"{_BLOCKS}{_ENCODER}latents = (mean + exp(log_variance / 2) noise - shift_factor) scaling_factor", CHAPTER,
        {"x": "(N, C, H, W), H and W divisible by 2 for every level but one", **_NOISE, **_PARAMETERS},
        {"mean": "(N, L, h, w), h = H / 2^(levels - 1), w in the same way", "log_variance": "like mean", "latents": "like mean"},
        {**_NETWORK, **_QUANT, **_SCALE}),
    "autoencoder_kl_decode": Operation(
        f"{_BLOCKS}{_DECODER}output = D(latents / scaling_factor + shift_factor)", CHAPTER,
        {"latents": "(N, L, h, w), as diffusion sees them", **_PARAMETERS}, {"output": "(N, C, H, W), H = h 2^(levels - 1)"},
        {**_NETWORK, **_POST, **_SCALE}),
    "autoencoder_kl_loss": Operation(
        f"{_BLOCKS}{_ENCODER}{_DECODER}image = D(mean + exp(log_variance / 2) noise), nothing scaled;\n"
        "kl = the sum over L, h, w of (mean^2 + exp(log_variance) - 1 - log_variance) / 2;\n"
        "loss = the mean over the batch of |x - image|^2 / 2 + kl_weight kl, |.|^2 a sum over C, H, W", CHAPTER,
        {"x": "(N, C, H, W), as for autoencoder_kl_encode", **_NOISE, **_PARAMETERS},
        {"loss": "()", "kl": "(N,), in nats", "image": "like x"},
        {**_NETWORK, **_QUANT, **_POST,
         "kl_weight": "1: the negative evidence lower bound of a decoder N(image, I); latent diffusion: 1e-6"}),
}

NOTES = {
    "vae-quant-conv": Note(
        "convention",
        "A convolution of one pixel, quant_conv, stands between encoder and moments, and post_quant_conv between latents and decoder: "
        "weights of their own, outside of encoder and decoder. The autoencoders of Stable Diffusion 3 and Flux have neither.",
        "Wrong colours and contrast with loaded weights; the structure of the picture is right.",
        ("diffusers: AutoencoderKL, use_quant_conv, use_post_quant_conv",)),
    "vae-attention": Note(
        "formula",
        "Attention in the middle has one head of all channels, scores scaled by 1 / sqrt(channels), and its input goes around it.",
        "Textures that do not fit together across the picture.",
        ("diffusers: attention_head_dim of the middle block is its number of channels",)),
    "vae-exit": Note(
        "formula", "Encoder and decoder end with norm, silu, convolution; the decoder's image is not squashed or clipped.",
        "Flat contrast, or gradients that vanish where pixels leave the range.",
        ("pipelines clip the image after decoding, not within",)),
    "vae-reconstruction": Note(
        "convention", "The squared error is halved and summed over a picture, as the divergence is; means weigh the two differently.",
        "Another weight of the divergence: blurred pictures, or latents that diffusion cannot learn."),
    "vae-sample": Note(
        "formula", "The decoder is trained on a sample of the latents, mean + std eps, not on their mean.",
        "Latents between those of the data decode to nothing.", ()),
}

SMALL = {"in_channels": 3, "latent_channels": 2, "block_out_channels": [4, 6], "layers_per_block": 1, "norm_num_groups": 2,
         "middle_attention": True, "use_quant_conv": True, "use_post_quant_conv": True, "scaling_factor": 0.18215, "shift_factor": 0.0,
         "kl_weight": 1.0}
DEEP = {**SMALL, "in_channels": 1, "latent_channels": 3, "block_out_channels": [4, 6, 4], "layers_per_block": 2, "use_quant_conv": False,
        "use_post_quant_conv": False, "scaling_factor": 1.5305, "shift_factor": 0.0609}
"""As Stable Diffusion 3's: no convolutions of one pixel, a shift."""

# -- mistakes ------------------------------------------------------------------------------------------------------------


def _of(change: Callable[[AutoencoderKL], None], operation: str) -> Callable[..., Any]:
    """The operation with a network that has been changed."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        network = network_of(operation, inputs, settings)
        change(network)
        return CALLS[operation](network, inputs, settings)

    return compute


def _forward(kind: type, forward: Callable[..., Any]) -> Callable[[AutoencoderKL], None]:
    """Modules of a kind compute forward(module, h)."""
    def change(network: AutoencoderKL) -> None:
        for module in network.modules():
            if isinstance(module, kind):
                vars(module)["forward"] = lambda *inputs, module=module: forward(module, *inputs)

    return change


def _eps(network: AutoencoderKL) -> None:
    for module in network.modules():
        if isinstance(module, GroupNorm):
            module.eps = 1e-5


def _attended(scores: Callable[[int], float] = lambda c: 1.0, around: float = 1.0, turned: bool = False) -> Callable[..., Any]:
    """Attention with scores times scores(C), `around` times its input, its pixels in columns."""
    def forward(block: AttentionBlock, h: Any) -> Any:
        tokens = F.rearrange(block.group_norm(h), "n c h w -> n (h w) c")
        seen = F.scaled_dot_product_attention(block.to_q(tokens) * scores(h.shape[1]), block.to_k(tokens), block.to_v(tokens))
        image = F.rearrange(block.to_out[0](seen), "n (w h) c -> n c h w" if turned else "n (h w) c -> n c h w", h=h.shape[2])
        return around * h + image

    return forward


def _halved(down: ConvDownsample, h: Any) -> Any:
    """The convolution of stride 2 after zeros on all sides; an even size hides those on the right and below."""
    return F.conv2d(h, down.conv.weight, down.conv.bias, stride=2, padding=1)


def _bilinear(up: NearestUpsample, h: Any) -> Any:
    return up.conv(F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False))


def _no_quant(name: str) -> Callable[[AutoencoderKL], None]:
    def change(network: AutoencoderKL) -> None:
        setattr(network, name, None)

    return change


def _end(half: str, end: Callable[[Any, Any], Any]) -> Callable[[AutoencoderKL], None]:
    """encoder or decoder ends with end(half, h)."""
    def change(network: AutoencoderKL) -> None:
        part = getattr(network, half)
        vars(part)["end"] = lambda h: end(part, h)

    return change


def _plain_end(half: Any, h: Any) -> Any:
    return half.conv_out(half.conv_norm_out(h))


def _squashed(half: Any, h: Any) -> Any:
    return F.tanh(type(half).end(half, h))


def _clipped(half: Any, h: Any) -> Any:
    return F.clamp(type(half).end(half, h), -1.0, 1.0)


def _moments(change: Callable[[Any], Any]) -> Callable[[AutoencoderKL], None]:
    """What comes out of the encoder is changed before it is read."""
    def changed(network: AutoencoderKL) -> None:
        quant = network.quant_conv
        vars(network)["quant_conv"] = lambda h: change(h if quant is None else quant(h))

    return changed


def _gaussian(kind: Callable[[Any, Any], DiagonalGaussian]) -> Callable[[AutoencoderKL], None]:
    """The Gaussian is another one: kind(mean, log_variance), the second not yet clamped."""
    def change(network: AutoencoderKL) -> None:
        quant = network.quant_conv

        def encode(x: Any) -> DiagonalGaussian:
            moments = network.encoder(x)
            return kind(*F.chunk(moments if quant is None else quant(moments), 2, dim=1))

        vars(network)["encode"] = encode

    return change


def _clamped(logvar: Any) -> Any:
    return F.clamp(logvar, LEAST, MOST)


@dataclass(frozen=True)
class _Wrong(DiagonalGaussian):
    """A Gaussian that is sampled with another standard deviation: of(log_variance)."""

    of_logvar: Callable[[Any], Any] = F.exp

    @property
    def std(self) -> Any:
        return self.of_logvar(self.logvar)


def _deviation(of_logvar: Callable[[Any], Any]) -> Callable[[AutoencoderKL], None]:
    return _gaussian(lambda mean, logvar: _Wrong(mean, _clamped(logvar), of_logvar))


def _swapped(moments: Any) -> Any:
    return F.cat(F.chunk(moments, 2, dim=1)[::-1], dim=1)


def _interleaved(moments: Any) -> Any:
    """Mean and log variance in turn."""
    return F.rearrange(moments, "n (c two) h w -> n (two c) h w", two=2)


def _upside_down(network: AutoencoderKL) -> None:
    """Each level doubles the resolution first."""
    for stage in network.decoder.up_blocks:
        def forward(h: Any, stage: Any = stage) -> Any:
            for layer in (*stage.upsamplers, *stage.resnets):
                h = layer(h)
            return h

        vars(stage)["forward"] = forward


ENCODER = {
    "symmetric-padding": ("your encoder's downsampling has its zeros on all sides", "block-downsample-padding",
                          _forward(ConvDownsample, _halved)),
    "no-quant-conv": ("you leave quant_conv out", "vae-quant-conv", _no_quant("quant_conv")),
    "halves-swapped": ("your moments are the log variance and then the mean", "vae-halves", _moments(_swapped)),
    "interleaved": ("your moments are mean and log variance in turn, channel by channel", "vae-halves", _moments(_interleaved)),
    "variance-for-deviation": ("your noise is multiplied by exp(log variance), the variance, not by its root", "vae-variance",
                               _deviation(F.exp)),
    "log-variance-for-deviation": ("your noise is multiplied by the log variance itself", "vae-variance",
                                   _deviation(lambda logvar: logvar)),
    "unbounded": ("your log variance is not clamped", "vae-variance", _gaussian(DiagonalGaussian)),
    "no-silu": ("your encoder ends without silu", "vae-exit", _end("encoder", _plain_end)),
}
DECODER = {
    "no-post-quant-conv": ("you leave post_quant_conv out", "vae-quant-conv", _no_quant("post_quant_conv")),
    "bilinear": ("your upsampling interpolates between pixels", "block-upsample", _forward(NearestUpsample, _bilinear)),
    "doubled-first": ("each level of your decoder doubles the resolution before its blocks, not after", "block-upsample", _upside_down),
    "no-silu": ("your decoder ends without silu", "vae-exit", _end("decoder", _plain_end)),
    "tanh": ("your decoder ends with tanh", "vae-exit", _end("decoder", _squashed)),
    "clipped": ("your decoder clips its image to [-1, 1]", "vae-exit", _end("decoder", _clipped)),
}
BOTH = {
    "eps-1e-5": ("your GroupNorm uses eps=1e-5", "block-norm-eps", _eps),
    "no-attention": ("you leave the attention of the middle out", "vae-attention", _forward(AttentionBlock, lambda block, h: h)),
    "unscaled": ("your attention does not scale its scores by 1 / sqrt(channels)", "vae-attention",
                 _forward(AttentionBlock, _attended(lambda c: math.sqrt(c)))),
    "by-channels": ("your attention scales its scores by 1 / channels, without the root", "vae-attention",
                    _forward(AttentionBlock, _attended(lambda c: 1 / math.sqrt(c)))),
    "attention-alone": ("the input of your attention does not go around it", "vae-attention",
                        _forward(AttentionBlock, _attended(around=0.0))),
    "pixels-in-columns": ("your attention's pixels come back in columns, not in rows", "vae-attention",
                          _forward(AttentionBlock, _attended(turned=True))),
}


def _mutants(operation: str, *names: str) -> dict[str, Mutant]:
    """Those of these names for an operation; of the two halves for the loss."""
    known = {"autoencoder_kl_encode": ENCODER | BOTH, "autoencoder_kl_decode": DECODER | BOTH,
             "autoencoder_kl_loss": DECODER | ENCODER | BOTH}[operation]
    return {name: Mutant(words, flag, compute=_of(change, operation)) for name in names for words, flag, change in [known[name]]}


def _rescaled(operation: str, *names: str) -> dict[str, Mutant]:
    """Mistakes about the scale of the latents."""
    def with_scale(wrong: Callable[[Any, float, float], Any], name: str) -> Callable[[AutoencoderKL], None]:
        def change(network: AutoencoderKL) -> None:
            c = network.config
            vars(network)[name] = lambda z: wrong(z, c.scaling_factor, c.shift_factor)

        return change

    encodes = operation.endswith("encode")
    known = {
        "inverted": (f"you {'divide' if encodes else 'multiply'} by the scaling factor where you should "
                     f"{'multiply' if encodes else 'divide'}",
                     lambda z, scale, shift: (z - shift) / scale if encodes else z * scale + shift),
        "not-scaled": ("you do not scale the latents", lambda z, scale, shift: z),
        "shift-outside": ("you shift the latents on the wrong side of the scale",
                          lambda z, scale, shift: z * scale - shift if encodes else (z + shift) / scale),
        "no-shift": ("you forget shift_factor", lambda z, scale, shift: z * scale if encodes else z / scale),
    }
    name_of = "scale" if encodes else "unscale"
    return {name: Mutant(words, "latent-scale", compute=_of(with_scale(wrong, name_of), operation))
            for name in names for words, wrong in [known[name]]}


def _summed(words: str, flag: str, total: Callable[..., Any]) -> Mutant:
    """Another loss of the same parts: total(off, kl, kl_weight), off = image - x."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        network = network_of("autoencoder_kl_loss", inputs, settings)
        found = CALLS["autoencoder_kl_loss"](network, inputs, settings)
        return {**found, "loss": total(found["image"] - inputs["x"], found["kl"], settings["kl_weight"])}

    return Mutant(words, flag, compute=compute)


def _half_squares(off: Any) -> Any:
    return F.sum(off * off, dim=(1, 2, 3)) / 2


def _of_the_mean(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    network = network_of("autoencoder_kl_loss", inputs, settings)
    return CALLS["autoencoder_kl_loss"](network, {**inputs, "noise": inputs["noise"] * 0.0}, settings)


LATENTS = 2 * 2 * 3
"""How many numbers the latents of one picture are, in the cases of the loss."""

LOSSES = {
    "kl-mean": _summed("your KL is the mean over the latents, not their sum", "vae-reduction", lambda off, kl, w: F.mean(
        _half_squares(off) + w * kl / LATENTS)),
    "error-mean": _summed("your squared error is the mean over the picture, not half of the sum", "vae-reconstruction",
                          lambda off, kl, w: F.mean(off * off) + w * F.mean(kl)),
    "no-half": _summed("your squared error is not halved", "vae-reconstruction", lambda off, kl, w: F.mean(
        2 * _half_squares(off) + w * kl)),
    "absolute": _summed("your reconstruction is judged by |x - image|", "vae-reconstruction", lambda off, kl, w: F.mean(
        F.sum(abs(off), dim=(1, 2, 3)) + w * kl)),
    "batch-sum": _summed("your loss is the sum over the batch, not the mean", "loss-mean", lambda off, kl, w: F.sum(
        _half_squares(off) + w * kl)),
    "no-kl": _summed("your loss lacks the KL", "vae-kl", lambda off, kl, w: F.mean(_half_squares(off))),
    "minus-kl": _summed("your KL is subtracted", "vae-kl", lambda off, kl, w: F.mean(_half_squares(off) - w * kl)),
    "weight-1": _summed("your kl_weight is 1, whatever is asked for", "vae-reduction", lambda off, kl, w: F.mean(_half_squares(off) + kl)),
    "mean-decoded": Mutant("you decode the mean of the latents, not a sample", "vae-sample", compute=_of_the_mean),
}

# -- the cases -----------------------------------------------------------------------------------------------------------

SOME = {
    "autoencoder_kl_encode": (
        "x", "noise", "parameters.encoder.conv_in.weight", "parameters.encoder.down_blocks.0.resnets.0.norm1.weight",
        "parameters.encoder.down_blocks.0.downsamplers.0.conv.weight", "parameters.encoder.mid_block.resnets.1.conv2.bias",
        "parameters.encoder.conv_out.weight"),
    "autoencoder_kl_decode": (
        "latents", "parameters.decoder.conv_in.weight", "parameters.decoder.mid_block.resnets.0.conv1.weight",
        "parameters.decoder.up_blocks.0.upsamplers.0.conv.weight", "parameters.decoder.up_blocks.1.resnets.0.conv_shortcut.weight",
        "parameters.decoder.conv_norm_out.weight", "parameters.decoder.conv_out.bias"),
}
"""Inputs whose gradients are asked for; of the loss all are."""


def _case(
    id: str, reason: str, config: Mapping[str, Any], mutants: Mapping[str, Mutant], *, rows: int = 2, columns: int = 3, batch: int = 2,
    change: Callable[[dict[str, np.ndarray]], None] | None = None,
) -> Case:
    """rows, columns: of the latents. change: what is special about the inputs."""
    operation = id.partition("/")[0]
    settings = {name: config[name] for name in OPERATIONS[operation].settings}
    network = empty_network(operation, settings)
    patch, c = network.config.patch, network.config
    latents, image = (batch, c.latent_channels, rows, columns), (batch, c.in_channels, rows * patch, columns * patch)
    shapes = {"latents": latents} if operation == "autoencoder_kl_decode" else {"x": image, "noise": latents}
    inputs = {name: draw(f"{id}:{name}", *shape) for name, shape in shapes.items()} | parameters(id, network)
    if change is not None:
        change(inputs)
    outputs = {"autoencoder_kl_encode": {"mean": latents, "latents": latents}, "autoencoder_kl_decode": {"output": image},
               "autoencoder_kl_loss": {"loss": ()}}[operation]
    wanted = SOME.get(operation, tuple(inputs))
    for name, shape in outputs.items():
        key = "cotangent" if name == "output" else f"cotangent.{name}"
        inputs[key] = np.array(draw(f"{id}:{key}", *shape))
    return Case(id, reason, inputs, settings, tuple(name for name in wanted if name in inputs), mutants)


def _faint(half: str) -> Callable[[dict[str, np.ndarray]], None]:
    """What the first block sees is of size 1e-3."""
    def change(inputs: dict[str, np.ndarray]) -> None:
        for name in (f"parameters.{half}.conv_in.weight", f"parameters.{half}.conv_in.bias"):
            inputs[name] = inputs[name] * np.float32(2.0 ** -10)

    return change


def _far(inputs: dict[str, np.ndarray]) -> None:
    """Log variances around -36 and 24, beyond both bounds."""
    inputs["parameters.quant_conv.bias"] = inputs["parameters.quant_conv.bias"] + np.array([0, 0, -36, 24], np.float32)


def _encoders() -> Iterator[Case]:
    name = "autoencoder_kl_encode"
    yield _case(f"{name}/stable-diffusion", "two levels, the factor of Stable Diffusion, images that are not square", SMALL, {
        **_mutants(name, "symmetric-padding", "no-quant-conv", "halves-swapped", "interleaved", "variance-for-deviation",
                   "log-variance-for-deviation", "no-silu", "no-attention", "unscaled", "by-channels", "attention-alone",
                   "pixels-in-columns"),
        **_rescaled(name, "inverted", "not-scaled")})
    yield _case(f"{name}/no-quant-conv", "three levels of two blocks, no convolution of one pixel, a shift: Stable Diffusion 3", DEEP, {
        **_mutants(name, "symmetric-padding", "halves-swapped", "no-attention"),
        **_rescaled(name, "inverted", "shift-outside", "no-shift")}, rows=3, columns=2, batch=1)
    yield _case(f"{name}/clamped", "log variances beyond [-30, 20], which then have no gradient", SMALL, _mutants(name, "unbounded"),
                change=_far, batch=1)
    yield _case(f"{name}/faint", "activations of size 1e-3 at the entrance: eps of the first norm decides", SMALL, _mutants(
        name, "eps-1e-5"), change=_faint("encoder"), batch=1)
    yield _case(f"{name}/no-attention", "nothing between the two blocks of the middle, one group", {
        **SMALL, "middle_attention": False, "norm_num_groups": 1}, _mutants(name, "symmetric-padding", "no-silu"), batch=1)


def _decoders() -> Iterator[Case]:
    name = "autoencoder_kl_decode"
    yield _case(f"{name}/stable-diffusion", "two levels, the factor of Stable Diffusion, images that are not square", SMALL, {
        **_mutants(name, "no-post-quant-conv", "bilinear", "doubled-first", "no-silu", "tanh", "clipped", "no-attention", "unscaled",
                   "by-channels", "attention-alone", "pixels-in-columns"),
        **_rescaled(name, "inverted", "not-scaled")})
    yield _case(f"{name}/no-post-quant-conv", "three levels of three blocks, no convolution of one pixel, a shift: Stable Diffusion 3",
                DEEP, {**_mutants(name, "bilinear", "no-silu", "no-attention"),
                       **_rescaled(name, "inverted", "shift-outside", "no-shift")}, rows=3, columns=2, batch=1)
    yield _case(f"{name}/faint", "activations of size 1e-3 at the entrance: eps of the first norm decides", SMALL, _mutants(
        name, "eps-1e-5"), change=_faint("decoder"), batch=1)
    yield _case(f"{name}/no-attention", "nothing between the two blocks of the middle, one group", {
        **SMALL, "middle_attention": False, "norm_num_groups": 1}, _mutants(name, "bilinear", "no-silu"), batch=1)


def _losses() -> Iterator[Case]:
    name = "autoencoder_kl_loss"
    some = lambda *names: {key: LOSSES[key] for key in names}
    yield _case(f"{name}/bound", "the negative evidence lower bound, with the gradients of all parameters", SMALL, {
        **some("kl-mean", "error-mean", "no-half", "absolute", "batch-sum", "no-kl", "minus-kl", "mean-decoded"),
        **_mutants(name, "halves-swapped", "variance-for-deviation", "symmetric-padding", "bilinear")})
    yield _case(f"{name}/latent-diffusion", "a weight of 1e-6: the divergence hardly counts", {**SMALL, "kl_weight": 1e-6}, {
        **some("weight-1", "error-mean", "absolute", "mean-decoded")}, batch=1)


def cases() -> Iterator[Case]:
    """Encoding, decoding, the loss."""
    yield from _encoders()
    yield from _decoders()
    yield from _losses()
