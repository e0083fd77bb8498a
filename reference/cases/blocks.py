"""Layers made of layers: the blocks of a U-Net, a VAE and a CLIP, with all their parameters as inputs.

Parameters have the names of diffusers and transformers. What single layers may get wrong is told apart by their own cases; here it is how
they are put together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.verify.adapters.minidiff.blocks import OPERATIONS as RIGHT
from reference.case import Case, Mutant, Note, Operation, draw

CHAPTER = "docs/layers.md#6-blocks"
KL_CHAPTER = "docs/noise.md#12-from-the-bound-to-a-weighted-squared-error"

_NORM = {"groups": "groups of every GroupNorm", "eps": "added to the variance in every GroupNorm"}
_ACT = {"activation": "act: silu, gelu (with erf) or relu"}
_LINEAR = {"linear_1.weight": "(F, D)", "linear_1.bias": "(F,)", "linear_2.weight": "(F, F)", "linear_2.bias": "(F,)"}
_CONV_BLOCK = {"conv.weight": "(C_out, C_in, 3, 3), zeros at the edges, size kept", "conv.bias": "(C_out,)", "norm.weight": "(C_out,)",
               "norm.bias": "(C_out,)"}
_BOUNDS = {"min_log_variance": "the log-variance is clamped to at least this", "max_log_variance": "and at most this"}
_PARAMETERS = "(N, 2 C, H, W): the mean in the first C channels, the log-variance in the others"
_CLIP = {"image_embeds": "(N, E), not normalized", "text_embeds": "(M, E), not normalized",
         "logit_scale": "(1,), the logarithm of the scale: log(1 / 0.07) at the start of training"}
_MAX_SCALE = {"max_scale": "the scale is at most this, which then has no gradient; null: unbounded"}

OPERATIONS = {
    "time_embedding": Operation(
        equation="y = W_2 act(W_1 x + b_1) + b_2", chapter=CHAPTER,
        inputs={"sinusoids": "x: (N, D), of a time", **_LINEAR}, settings=_ACT, outputs={"output": "(N, F)"},
    ),
    "embed_block": Operation(
        equation="y = W_2 gelu(W_1 x + b_1) + b_2 as one number a channel; gelu with erf", chapter=CHAPTER,
        inputs={"x": "(N, D), sinusoids of a time or a one-hot class", **_LINEAR}, outputs={"output": "(N, F, 1, 1)"},
    ),
    "resnet_block": Operation(
        equation="y = shortcut(x) + conv2(act(h)); with e = time_emb_proj(act(emb)): add: h = norm2(conv1(act(norm1(x))) + e); "
                 "scale_shift: h = norm2(conv1(act(norm1(x)))) (1 + scale) + shift, (scale, shift) = the first and the second half of e",
        chapter=CHAPTER,
        inputs={
            "x": "(N, C_in, H, W)", "emb": "(N, E)", "norm1.weight": "(C_in,)", "norm1.bias": "(C_in,)",
            "conv1.weight": "(C_out, C_in, 3, 3), zeros at the edges, size kept", "conv1.bias": "(C_out,)",
            "time_emb_proj.weight": "(C_out, E), or (2 C_out, E) for scale_shift", "time_emb_proj.bias": "(C_out,), or (2 C_out,)",
            "norm2.weight": "(C_out,)", "norm2.bias": "(C_out,)", "conv2.weight": "(C_out, C_out, 3, 3)", "conv2.bias": "(C_out,)",
            "conv_shortcut.weight": "(C_out, C_in, 1, 1); missing if C_in = C_out: then shortcut(x) = x", "conv_shortcut.bias": "(C_out,)",
        },
        settings={**_NORM, **_ACT, "conditioning": "add or scale_shift"},
        outputs={"output": "(N, C_out, H, W)"},
    ),
    "residual_conv_block": Operation(
        equation="y = conv1(x) + conv2(conv1(x)), each of them act(norm(conv(x)))", chapter=CHAPTER,
        inputs={"x": "(N, C_in, H, W)", **{f"conv1.{name}": shape for name, shape in _CONV_BLOCK.items()},
                **{f"conv2.{name}": shape.replace("C_in", "C_out") for name, shape in _CONV_BLOCK.items()}},
        settings={**_NORM, **_ACT}, outputs={"output": "(N, C_out, H, W)"},
    ),
    "attention_block": Operation(
        equation="y = x + W_o attention(W_q h + b_q, W_k h + b_k, W_v h + b_v) + b_o, h = group_norm(x), every pixel a token; C / head_dim "
                 "heads of neighbouring channels; scores scaled by 1 / sqrt(head_dim)",
        chapter=CHAPTER,
        inputs={"x": "(N, C, H, W)", "group_norm.weight": "(C,)", "group_norm.bias": "(C,)",
                **{f"{name}.weight": "(C, C)" for name in ("to_q", "to_k", "to_v", "to_out.0")},
                **{f"{name}.bias": "(C,)" for name in ("to_q", "to_k", "to_v", "to_out.0")}},
        settings={**_NORM, "head_dim": "size of one head, not their number"},
        outputs={"output": "(N, C, H, W)"},
    ),
    "downsample": Operation(
        equation="a 3x3 convolution of stride 2, after zeros at the edges", chapter=CHAPTER,
        inputs={"x": "(N, C, H, W)", "conv.weight": "(C, C, 3, 3)", "conv.bias": "(C,)"},
        settings={"padding": "1: a row or column of zeros on each of the four sides; 0: only on the right and at the bottom, as "
                             "TensorFlow's SAME has it for even sizes"},
        outputs={"output": "(N, C, ceil(H/2), ceil(W/2)) with padding 1, (N, C, floor(H/2), floor(W/2)) with 0"},
    ),
    "rearrange_pool": Operation(
        equation="y = act(norm(conv(z))), z[4 c + 2 i + j, h, w] = x[c, 2 h + i, 2 w + j]", chapter=CHAPTER,
        inputs={"x": "(N, C, H, W), H and W even",
                **{f"conv.{name}": shape.replace("C_in", "4 C").replace("C_out", "C") for name, shape in _CONV_BLOCK.items()}},
        settings={**_NORM, **_ACT}, outputs={"output": "(N, C, H/2, W/2)"},
    ),
    "upsample": Operation(
        equation="y = conv(z), z[h, w] = x[floor(h/2), floor(w/2)], size kept by zeros at the edges", chapter=CHAPTER,
        inputs={"x": "(N, C, H, W)", "conv.weight": "(C, C, 3, 3)", "conv.bias": "(C,)"}, outputs={"output": "(N, C, 2 H, 2 W)"},
    ),
    "feed_forward": Operation(
        equation="y = W_2 h + b_2; h = act(W_1 x + b_1), or for geglu h = u gelu(g), (u, g) = the first and the second half of W_1 x + b_1",
        chapter=CHAPTER,
        inputs={"x": "(N, L, C)", "net.0.proj.weight": "(F, C), or (2 F, C) for geglu", "net.0.proj.bias": "(F,), or (2 F,)",
                "net.2.weight": "(C, F)", "net.2.bias": "(C,)"},
        settings={"activation_fn": "geglu; gelu: with erf; gelu-approximate: with tanh; quick_gelu: x sigmoid(1.702 x)"},
        outputs={"output": "(N, L, C)"},
    ),
    "transformer_encoder_layer": Operation(
        equation="norm_first: z = x + attention(layer_norm1(x)), y = z + fc2(act(fc1(layer_norm2(z)))); else "
                 "z = layer_norm1(x + attention(x)), y = layer_norm2(z + fc2(act(fc1(z))))",
        chapter=CHAPTER,
        inputs={"hidden_states": "x: (N, L, C)", "layer_norm1.weight": "(C,)", "layer_norm1.bias": "(C,)",
                **{f"self_attn.{name}_proj.{x}": "(C, C)" if x == "weight" else "(C,)"
                   for name in ("q", "k", "v", "out") for x in ("weight", "bias")},
                "layer_norm2.weight": "(C,)", "layer_norm2.bias": "(C,)", "mlp.fc1.weight": "(F, C)", "mlp.fc1.bias": "(F,)",
                "mlp.fc2.weight": "(C, F)", "mlp.fc2.bias": "(C,)"},
        settings={"num_attention_heads": "heads of neighbouring features; scores scaled by 1 / sqrt(C / heads)",
                  "hidden_act": "act: quick_gelu (x sigmoid(1.702 x)), gelu (with erf) or relu",
                  "layer_norm_eps": "added to the variances", "norm_first": "see the equation",
                  "is_causal": "true: token i sees the tokens 0 to i"},
        outputs={"output": "(N, L, C)"},
    ),
    "transformer_block": Operation(
        equation="z = x + attn1(norm1(x)); z = z + attn2(norm2(z), context); y = z + ff(norm3(z)); attention as in cross_attention, ff as "
                 "in feed_forward with geglu",
        chapter=CHAPTER,
        inputs={"hidden_states": "x: (N, L, C)", "encoder_hidden_states": "context: (N, S, D)",
                **{f"norm{i}.{x}": "(C,)" for i in (1, 2, 3) for x in ("weight", "bias")},
                **{f"{name}.{x}.weight": shape for name, wide in (("attn1", "C"), ("attn2", "D"))
                   for x, shape in (("to_q", "(C, C)"), ("to_k", f"(C, {wide})"), ("to_v", f"(C, {wide})"), ("to_out.0", "(C, C)"))},
                "attn1.to_out.0.bias": "(C,)", "attn2.to_out.0.bias": "(C,)",
                "ff.net.0.proj.weight": "(2 F, C)", "ff.net.0.proj.bias": "(2 F,)", "ff.net.2.weight": "(C, F)", "ff.net.2.bias": "(C,)"},
        settings={"heads": "their number, in both attentions", "eps": "added to the variances"},
        outputs={"output": "(N, L, C)"},
    ),
    "diagonal_gaussian_sample": Operation(
        equation="z = mean + exp(log_variance / 2) noise, log_variance clamped", chapter=KL_CHAPTER,
        inputs={"parameters": _PARAMETERS, "noise": "(N, C, H, W)"}, settings=_BOUNDS, outputs={"output": "(N, C, H, W)"},
    ),
    "diagonal_gaussian_kl": Operation(
        equation="KL(N(mean, exp(log_variance)) || N(0, 1)) = (mean^2 + exp(log_variance) - 1 - log_variance) / 2 for each number, "
                 "log_variance clamped",
        chapter=KL_CHAPTER,
        inputs={"parameters": _PARAMETERS},
        settings={**_BOUNDS, "reduction": "sum: over C, H, W of each sample; mean: over everything"},
        outputs={"output": "(N,) for sum, () for mean"},
    ),
    "latent_scaling": Operation(
        equation="encode: y = (x - shift_factor) scaling_factor; decode: y = x / scaling_factor + shift_factor", chapter=CHAPTER,
        inputs={"latents": "x: (N, C, H, W)"},
        settings={"direction": "encode: from the encoder to diffusion; decode: from diffusion to the decoder",
                  "scaling_factor": "1 / (standard deviation of the latents)",
                  "shift_factor": "their mean; 0 for Stable Diffusion 1 and 2"},
        outputs={"output": "like latents"},
    ),
    "clip_pooling": Operation(
        equation="y[n] = last_hidden_state[n, l], l the place of the end-of-text token in input_ids[n]", chapter=CHAPTER,
        inputs={"last_hidden_state": "(N, L, C)", "input_ids": "(N, L) int64"},
        settings={"eos_token_id": "the token that ends a text: its first occurrence counts; null: it is the one with the largest id, the "
                                  "first of these"},
        outputs={"output": "(N, C)"},
    ),
    "clip_projection": Operation(
        equation="y = p / |p|, p = W x, no bias, |p| the Euclidean length", chapter=CHAPTER,
        inputs={"pooled": "x: (N, C)", "projection.weight": "(E, C)"}, outputs={"output": "(N, E)"},
    ),
    "clip_logits": Operation(
        equation="logits[n, m] = exp(logit_scale) <image_n, text_m> / (|image_n| |text_m|)", chapter=CHAPTER,
        inputs=_CLIP, settings=_MAX_SCALE, outputs={"output": "(N, M), a row for each image"},
    ),
    "clip_loss": Operation(
        equation="(mean over n of -log softmax_m(logits[n, m])[n] + mean over m of -log softmax_n(logits[n, m])[m]) / 2, logits as in "
                 "clip_logits; image n belongs to text n",
        chapter=CHAPTER,
        inputs=_CLIP, settings=_MAX_SCALE, outputs={"output": "()"},
    ),
}

NOTES = {
    "block-norm-eps": Note(
        kind="default",
        about="eps of GroupNorm is 1e-5 in the blocks of the U-Nets of Ho et al. and Stable Diffusion, 1e-6 in its VAE and before its "
              "transformers; LayerNorm's in CLIP is 1e-5.",
        effect="Invisible for activations of ordinary size; flat regions and small activations change contrast.",
        seen=("diffusers: norm_eps of UNet2DConditionModel is 1e-5, Transformer2DModel and AutoencoderKL pass 1e-6",),
    ),
    "block-activation": Note(
        kind="formula",
        about="The activation stands between norm and convolution, between both linear layers, and before the projection of the time.",
        effect="With loaded weights noise; trained from scratch a network without the first one learns only a little worse.",
    ),
    "block-conditioning": Note(
        kind="formula",
        about="The time is added between the first convolution and the second norm; or it scales and shifts after that norm, by 1 + scale, "
              "scale before shift.",
        effect="Without the 1 a new network's blocks output nothing. The other differences are broken images with loaded weights.",
        seen=("guided-diffusion/unet.py: ResBlock, use_scale_shift_norm",),
    ),
    "block-residual": Note(
        kind="formula",
        about="What goes around a block is its input, not the normalized input; the sum is not divided by sqrt(2) here.",
        effect="With loaded weights contrast drifts from block to block; deep networks train worse.",
        seen=("score_sde_pytorch: skip_rescale divides by sqrt(2); NVIDIA's EDM: skip_scale = sqrt(0.5)",),
    ),
    "block-heads": Note(
        kind="convention",
        about="head_dim is the size of a head; a head is a block of neighbouring channels.",
        effect="Loads without an error and gives texture without structure.",
        seen=("diffusers: attention_head_dim is the size of a head in UNet2DModel, the number of heads in UNet2DConditionModel",),
    ),
    "block-downsample-padding": Note(
        kind="convention",
        about="A convolution of stride 2 with zeros on all sides (1), or right and below only (TensorFlow's SAME; Ho et al., the encoder "
              "of Stable Diffusion's VAE).",
        effect="All that is decoded shifts by a pixel for each halving, and edges fray.",
        seen=("CompVis stable-diffusion #355", "diffusers: Downsample2D(padding=0)"),
    ),
    "block-pixel-order": Note(
        kind="convention",
        about="Patches become channels as (channel, row, column), as in pixel_unshuffle; some code has (row, column, channel).",
        effect="Loads without an error and gives a pattern of dots.",
    ),
    "block-upsample": Note(
        kind="convention",
        about="Pixels are repeated (nearest), not interpolated, before the convolution.",
        effect="Loaded weights give blurred images.",
    ),
    "block-gelu": Note(
        kind="default",
        about="GELU with erf, with tanh (at most 4.8e-4 away), or x sigmoid(1.702 x) (2e-2 away; OpenAI's CLIP). OpenCLIP has erf.",
        effect="Text embeddings that are nearly right: the composition of images changes with the same seed.",
        seen=("transformers: hidden_act of CLIPTextConfig is quick_gelu, gelu for OpenCLIP's weights",),
    ),
    "block-gate": Note(
        kind="convention",
        about="GEGLU: the first half is multiplied by the GELU of the second.",
        effect="With loaded weights noise.",
        seen=("diffusers: GEGLU, hidden_states, gate = chunk(2); Shazeer 2020 writes GELU(x W) times x V",),
    ),
    "block-norm-place": Note(
        kind="convention",
        about="CLIP and Stable Diffusion normalize before each part (pre-norm), Vaswani et al. after the sum.",
        effect="With loaded weights features of another size: noise.",
    ),
    "block-causal": Note(
        kind="convention",
        about="CLIP's text tower is causal, its image tower is not.",
        effect="Text embeddings that have seen the future: prompts are followed half.",
    ),
    "block-context": Note(
        kind="indexing",
        about="The second attention of a transformer block reads the text, the first the image.",
        effect="The prompt has no effect.",
    ),
    "vae-variance": Note(
        kind="formula",
        about="The encoder's second half is the log-variance: the standard deviation is exp of half of it, clamped to [-30, 20] before.",
        effect="Latents too noisy or too smooth; without the clamp one bad batch makes them infinite.",
        seen=("latent-diffusion: ldm/modules/distributions/distributions.py",),
    ),
    "vae-halves": Note(
        kind="convention",
        about="The mean comes first, then the log-variance.",
        effect="Grey latents, or NaN.",
    ),
    "vae-kl": Note(
        kind="formula",
        about="(mean^2 + variance - 1 - log variance) / 2: all four terms, and the half.",
        effect="A prior that pulls to another width, or not at all; a negative KL shows it.",
    ),
    "vae-reduction": Note(
        kind="convention",
        about="The KL is summed over a sample in latent diffusion (weight 1e-6); tutorials take the mean over all numbers.",
        effect="A weight that is thousands of times too large or too small: posterior collapse, or latents without a prior.",
    ),
    "latent-scale": Note(
        kind="convention",
        about="Latents are multiplied by 1/std (0.18215 for Stable Diffusion 1 and 2) before diffusion and divided by it before decoding; "
              "with a shift, that is subtracted first.",
        effect="Forgotten on the way in: noise levels do not fit, grey or burnt images. Forgotten on the way out: pale images.",
        seen=("latent-diffusion: scale_factor; diffusers: vae.config.scaling_factor, shift_factor",),
    ),
    "clip-pooling": Note(
        kind="indexing",
        about="The pooled text is the state at the end-of-text token: OpenAI's code finds it as the largest id; padding may be that token "
              "too, then the first counts.",
        effect="The state of the padding, or of the first token, which is the same for all texts.",
        seen=("transformers: CLIPTextTransformer has both ways, chosen by eos_token_id == 2",),
    ),
    "clip-normalize": Note(
        kind="formula",
        about="Images and texts are both divided by their lengths, after the projection.",
        effect="Long vectors win: some texts match everything.",
    ),
    "clip-scale": Note(
        kind="convention",
        about="The parameter is the logarithm of the scale, log(1/0.07) at first; the scale is at most 100.",
        effect="With 0.07 taken as the parameter the logits are nearly equal and training starts slowly; without the bound it may diverge.",
        seen=("OpenAI's CLIP: model.py, logit_scale; the bound is in the paper, Section 2.5",),
    ),
    "clip-loss": Note(
        kind="formula",
        about="Both directions count, image to text and text to image, with one half each.",
        effect="Retrieval works in one direction only; or the learning rate is doubled in effect.",
    ),
}


def _draw(id: str, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, tuple[float, float]]) -> dict[str, np.ndarray]:
    """Numbers for all inputs. sizes: (mean, scale) of some; norms are around 1.5, other parameters smaller than activations."""
    def size(name: str) -> tuple[float, float]:
        if name in sizes:
            return sizes[name]
        if "norm" in name and name.endswith("weight"):
            return 1.5, 0.5
        return (0.0, 0.5) if name.endswith(("weight", "bias")) else (0.0, 1.0)

    return {name: draw(f"{id}:{name}", *shape, mean=size(name)[0], scale=size(name)[1]) for name, shape in shapes.items()}


def _case(
    id: str, reason: str, shapes: Mapping[str, tuple[int, ...]], output: tuple[int, ...], settings: Mapping[str, Any],
    mutants: Mapping[str, Mutant], sizes: Mapping[str, tuple[float, float]] | None = None, given: Mapping[str, np.ndarray] | None = None,
    flags: tuple[str, ...] = (),
) -> Case:
    """shapes: of the inputs that are drawn and have gradients; given: further inputs."""
    inputs = _draw(id, shapes, sizes or {})
    return Case(id, reason, {**inputs, **(given or {}), "cotangent": np.array(draw(f"{id}:cotangent", *output))}, settings, tuple(inputs),
                mutants, flags=flags)


def _wrong(words: str, flag: str, operation: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Mutant:
    """The operation done right on changed inputs."""
    return Mutant(words, flag, compute=lambda inputs, settings: RIGHT[operation]({**inputs, **change(inputs)}, settings))


def _after(words: str, flag: str, operation: str, change: Callable[[Any, Mapping[str, Any]], Any]) -> Mutant:
    """The operation done right, and then changed: change(output, inputs)."""
    return Mutant(words, flag, compute=lambda inputs, settings: change(RIGHT[operation](inputs, settings), inputs))


# -- of the U-Net ----------------------------------------------------------------------------------------------------


def _two_layers(activation: Callable[[Any], Any], name: str) -> Callable[[Any, Any], Any]:
    """The network of an embedding with another activation."""
    def compute(inputs, settings):
        hidden = activation(F.linear(inputs[name], inputs["linear_1.weight"], inputs["linear_1.bias"]))
        out = F.linear(hidden, inputs["linear_2.weight"], inputs["linear_2.bias"])
        return out if settings else F.reshape(out, (*out.shape, 1, 1))

    return compute


def _embedding_cases() -> Iterator[Case]:
    linears = {"linear_1.weight": (7, 6), "linear_1.bias": (7,), "linear_2.weight": (7, 7), "linear_2.bias": (7,)}
    silu = {"activation": "silu"}
    yield _case("time_embedding/silu", "two layers with SiLU between them", {"sinusoids": (2, 6), **linears}, (2, 7), silu, {
        "none": Mutant("your time embedding has no activation between its layers", "block-activation", compute=_two_layers(
            lambda x: x * 1.0, "sinusoids")),
        "gelu": Mutant("your time embedding has GELU between its layers", "block-activation", settings={"activation": "gelu"})})
    yield _case("embed_block/gelu", "two layers with GELU, as an image of one pixel", {"x": (2, 6), **linears}, (2, 7, 1, 1), {}, {
        "none": Mutant("your embedding has no activation between its layers", "block-activation", compute=_two_layers(
            lambda x: x * 1.0, "x")),
        "tanh": Mutant("your embedding has GELU with tanh", "block-gelu", compute=_two_layers(
            lambda x: F.gelu(x, approximate="tanh"), "x"))})


def _resnet(*, embed=F.silu, source=None, late: bool = False, plus: float = 1.0) -> Callable[[Any, Any], Any]:
    """The block with one part changed. embed: of the time. source: what goes around, of (x, norm1(x)). late: added after the norm."""
    def compute(inputs, settings):
        def norm(x, name):
            return F.group_norm(x, settings["groups"], inputs[f"{name}.weight"], inputs[f"{name}.bias"], settings["eps"])

        x = inputs["x"]
        normed = norm(x, "norm1")
        h = F.conv2d(F.silu(normed), inputs["conv1.weight"], inputs["conv1.bias"], padding=1)
        e = F.linear(embed(inputs["emb"]), inputs["time_emb_proj.weight"], inputs["time_emb_proj.bias"])
        e = F.reshape(e, (*e.shape, 1, 1))
        if settings["conditioning"] == "scale_shift":
            scale, shift = F.chunk(e, 2, dim=1)
            h = norm(h, "norm2") * (scale + plus) + shift
        else:
            h = norm(h, "norm2") + e if late else norm(h + e, "norm2")
        h = F.conv2d(F.silu(h), inputs["conv2.weight"], inputs["conv2.bias"], padding=1)
        around = x if source is None else source(x, normed)
        if "conv_shortcut.weight" in inputs:
            around = F.conv2d(around, inputs["conv_shortcut.weight"], inputs["conv_shortcut.bias"])
        return h + around

    return compute


def _swapped(inputs):
    """Both halves of the time's projection exchanged."""
    return {name: F.cat(F.chunk(inputs[name], 2)[::-1]) for name in ("time_emb_proj.weight", "time_emb_proj.bias")}


RAW_TIME = Mutant("your residual block projects the time without an activation before", "block-activation", compute=_resnet(
    embed=lambda x: x * 1.0))
LATE_TIME = Mutant("your residual block adds the time after its second norm", "block-conditioning", compute=_resnet(late=True))
NORMED_AROUND = Mutant("your residual block sends its normalized input around", "block-residual", compute=_resnet(
    source=lambda x, normed: normed))
RESCALED = _after("your residual block divides the sum by sqrt(2)", "block-residual", "resnet_block", lambda y, inputs: y / math.sqrt(2))
NO_AROUND = _after("your residual block has no way around", "block-residual", "resnet_block", lambda y, inputs: y - inputs["x"])
BLOCK_EPS = Mutant("your GroupNorm uses eps=1e-6", "block-norm-eps", settings={"eps": 1e-6})
VAE_EPS = Mutant("your GroupNorm uses eps=1e-5", "block-norm-eps", settings={"eps": 1e-5})
ONE_GROUP = Mutant("your GroupNorm has one group", "block-norm-eps", settings={"groups": 1})
NO_ONE = Mutant("your residual block scales by scale, not by 1 + scale", "block-conditioning", compute=_resnet(plus=0.0))
SHIFT_FIRST = _wrong("your residual block reads (shift, scale)", "block-conditioning", "resnet_block", _swapped)


def _resnet_case(
    name: str, reason: str, channels: tuple[int, int], mutants: Mapping[str, Mutant], *, conditioning: str = "add",
    activation: str = "silu", batch: int = 2, eps: float = 1e-5, x: tuple[float, float] = (0.0, 1.0),
) -> Case:
    """channels: in and out; x: mean and scale of the input."""
    c_in, c_out = channels
    e = c_out * (2 if conditioning == "scale_shift" else 1)
    shapes = {
        "x": (batch, c_in, 5, 3), "emb": (batch, 7), "norm1.weight": (c_in,), "norm1.bias": (c_in,), "conv1.weight": (c_out, c_in, 3, 3),
        "conv1.bias": (c_out,), "time_emb_proj.weight": (e, 7), "time_emb_proj.bias": (e,),
        "norm2.weight": (c_out,), "norm2.bias": (c_out,), "conv2.weight": (c_out, c_out, 3, 3), "conv2.bias": (c_out,)}
    if c_in != c_out:
        shapes |= {"conv_shortcut.weight": (c_out, c_in, 1, 1), "conv_shortcut.bias": (c_out,)}
    settings = {"groups": 3, "eps": eps, "activation": activation, "conditioning": conditioning}
    return _case(f"resnet_block/{name}", reason, shapes, (batch, c_out, 5, 3), settings, mutants, {
        "x": x, "conv1.weight": (0.0, 0.25), "conv2.weight": (0.0, 0.25)})


def _resnet_cases() -> Iterator[Case]:
    yield _resnet_case("add", "the time is added; as many channels out as in", (6, 6), {
        "raw-time": RAW_TIME, "late-time": LATE_TIME, "normed-around": NORMED_AROUND, "rescaled": RESCALED, "no-around": NO_AROUND,
        "one-group": ONE_GROUP})
    yield _resnet_case("add-shortcut", "another number of channels: a 1x1 convolution goes around", (6, 9), {
        "raw-time": RAW_TIME, "late-time": LATE_TIME, "normed-around": NORMED_AROUND, "rescaled": RESCALED})
    yield _resnet_case("fewer-channels", "fewer channels out than in, a batch of one", (9, 3), {
        "normed-around": NORMED_AROUND, "rescaled": RESCALED}, batch=1)
    yield _resnet_case("scale-shift", "the time scales and shifts", (6, 6), {
        "without-one": NO_ONE, "shift-first": SHIFT_FIRST, "raw-time": RAW_TIME, "normed-around": NORMED_AROUND},
        conditioning="scale_shift")
    yield _resnet_case("scale-shift-shortcut", "both", (6, 9), {
        "without-one": NO_ONE, "shift-first": SHIFT_FIRST, "rescaled": RESCALED}, conditioning="scale_shift", batch=1)
    yield _resnet_case("gelu", "another activation", (6, 6), {
        "silu": Mutant("your residual block uses SiLU", "block-activation", settings={"activation": "silu"})}, activation="gelu")
    yield _resnet_case("tiny", "an input of size 1e-3: eps of the first norm decides", (6, 6), {
        "eps-1e-6": BLOCK_EPS}, x=(0.0, 1e-3))
    yield _resnet_case("large-mean", "an input with mean 1000", (6, 6), {"normed-around": NORMED_AROUND, "raw-time": RAW_TIME},
                       x=(1000.0, 1.0), batch=1)
    yield _resnet_case("vae", "eps 1e-6, as in Stable Diffusion's VAE", (6, 9), {"eps-1e-5": VAE_EPS}, eps=1e-6, x=(0.0, 1e-3))


def _conv_shapes(prefix: str, c_in: int, c_out: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.conv.weight": (c_out, c_in, 3, 3), f"{prefix}.conv.bias": (c_out,), f"{prefix}.norm.weight": (c_out,),
            f"{prefix}.norm.bias": (c_out,)}


def _second_only(inputs, settings):
    """Without the first block's output beside the second's."""
    first = _conv_norm_act(inputs["x"], inputs, "conv1", settings)
    return _conv_norm_act(first, inputs, "conv2", settings)


def _conv_norm_act(x, inputs, name, settings, before: bool = False):
    act = F.gelu if settings["activation"] == "gelu" else F.relu
    h = F.conv2d(x, inputs[f"{name}.conv.weight"], inputs[f"{name}.conv.bias"], padding=1)
    norm = lambda h: F.group_norm(h, settings["groups"], inputs[f"{name}.norm.weight"], inputs[f"{name}.norm.bias"], settings["eps"])
    return norm(act(h)) if before else act(norm(h))


def _activated_first(inputs, settings):
    first = _conv_norm_act(inputs["x"], inputs, "conv1", settings, before=True)
    return first + _conv_norm_act(first, inputs, "conv2", settings, before=True)


def _column_first(inputs):
    """The weights with which rows and columns within a patch are exchanged."""
    return {"conv.conv.weight": F.rearrange(inputs["conv.conv.weight"], "o (c i j) h w -> o (c j i) h w", i=2, j=2)}


def _channel_last(inputs):
    """The weights with which the channel is the last index within a patch."""
    return {"conv.conv.weight": F.rearrange(inputs["conv.conv.weight"], "o (i j c) h w -> o (c i j) h w", i=2, j=2)}


def _conv_cases() -> Iterator[Case]:
    settings = {"groups": 3, "eps": 1e-5, "activation": "gelu"}
    yield _case("residual_conv_block/gelu", "two blocks, the first one's output goes around the second", {
        "x": (2, 2, 5, 3), **_conv_shapes("conv1", 2, 6), **_conv_shapes("conv2", 6, 6)}, (2, 6, 5, 3), settings, {
        "second-only": Mutant("your block has no way around", "block-residual", compute=_second_only),
        "activated-first": Mutant("your block has its norm after its activation", "block-activation", compute=_activated_first)})
    shapes = {"x": (2, 3, 4, 6), **_conv_shapes("conv", 12, 3)}
    yield _case("rearrange_pool/gelu", "patches of 2x2 become channels", shapes, (2, 3, 2, 3), settings, {
        "column-first": _wrong("your patches are (channel, column, row)", "block-pixel-order", "rearrange_pool", _column_first),
        "channel-last": _wrong("your patches are (row, column, channel)", "block-pixel-order", "rearrange_pool", _channel_last)})


def _attention_block_interleaved(inputs):
    heads = 3
    changed = {f"{name}.{x}": F.rearrange(inputs[f"{name}.{x}"], "(d h) e -> (h d) e" if x == "weight" else "(d h) -> (h d)", h=heads)
               for name in ("to_q", "to_k", "to_v") for x in ("weight", "bias")}
    return {**changed, "to_out.0.weight": F.rearrange(inputs["to_out.0.weight"], "e (d h) -> e (h d)", h=heads)}


def _normed_residual(y, inputs, groups: int, eps: float):
    return y - inputs["x"] + F.group_norm(inputs["x"], groups, inputs["group_norm.weight"], inputs["group_norm.bias"], eps)


def _attention_case(
    name: str, reason: str, head_dim: int, mutants: Mapping[str, Mutant], groups: int = 3, eps: float = 1e-5,
    x: tuple[float, float] = (0.0, 1.0),
) -> Case:
    linears = {f"{to}.{x}": (6, 6) if x == "weight" else (6,) for to in ("to_q", "to_k", "to_v", "to_out.0") for x in ("weight", "bias")}
    shapes = {"x": (2, 6, 5, 3), "group_norm.weight": (6,), "group_norm.bias": (6,), **linears}
    return _case(f"attention_block/{name}", reason, shapes, (2, 6, 5, 3), {"head_dim": head_dim, "groups": groups, "eps": eps}, mutants, {
        "x": x})


def _attention_cases() -> Iterator[Case]:
    normed = _after("your attention block sends its normalized input around", "block-residual", "attention_block",
                    lambda y, inputs: _normed_residual(y, inputs, 3, 1e-5))
    scale = _wrong("your attention block scales by 1 / sqrt(channels)", "block-heads", "attention_block", lambda inputs: {
        f"to_q.{x}": inputs[f"to_q.{x}"] / math.sqrt(3) for x in ("weight", "bias")})
    yield _attention_case("heads", "3 heads of 2 channels", 2, {
        "head-count": Mutant("your attention block takes head_dim for the number of heads", "block-heads", settings={"head_dim": 3}),
        "interleaved": _wrong("your attention block interleaves its heads", "block-heads", "attention_block", _attention_block_interleaved),
        "no-around": _after("your attention block has no way around", "block-residual", "attention_block",
                            lambda y, inputs: y - inputs["x"]),
        "rescaled": _after("your attention block divides the sum by sqrt(2)", "block-residual", "attention_block",
                           lambda y, inputs: y / math.sqrt(2)),
        "normed-around": normed, "scale-width": scale})
    yield _attention_case("one-head", "one head of all channels, eps 1e-6: the middle of Stable Diffusion's VAE", 6, {
        "eps-1e-5": VAE_EPS, "head-count": Mutant("your attention block takes head_dim for the number of heads", "block-heads",
                                                  settings={"head_dim": 1})}, groups=2, eps=1e-6, x=(0.0, 1e-3))
    yield _attention_case("large-mean", "an input with mean 1000", 3, {"head-count": Mutant(
        "your attention block takes head_dim for the number of heads", "block-heads", settings={"head_dim": 2})}, x=(1000.0, 1.0))


def _padded_left(inputs, settings):
    return F.conv2d(F.pad(inputs["x"], (1, 0, 1, 0)), inputs["conv.weight"], inputs["conv.bias"], stride=2)


def _interpolated(inputs, settings):
    large = F.interpolate(inputs["x"], scale_factor=2, mode="bilinear", align_corners=False)
    return F.conv2d(large, inputs["conv.weight"], inputs["conv.bias"], padding=1)


def _down_case(name: str, reason: str, size: tuple[int, int], padding: int) -> Case:
    out = tuple((n + 1) // 2 if padding == 1 else n // 2 for n in size)
    mutants = {}
    if size[0] % 2 == 0:  # of an odd size the output would have another shape, which nobody overlooks
        mutants["other-padding"] = Mutant(
            f"your downsampling has its zeros {'on the right and below only' if padding else 'on all sides'}", "block-downsample-padding",
            settings={"padding": 1 - padding})
    elif padding == 0:
        mutants["left"] = Mutant("your downsampling has its zeros on the left and above", "block-downsample-padding", compute=_padded_left)
    shapes = {"x": (2, 3, *size), "conv.weight": (3, 3, 3, 3), "conv.bias": (3,)}
    return _case(f"downsample/{name}", reason, shapes, (2, 3, *out), {"padding": padding}, mutants, flags=("block-downsample-padding",))


def _resampling_cases() -> Iterator[Case]:
    yield _down_case("all-sides", "zeros on all sides, even size", (6, 4), 1)
    yield _down_case("all-sides-odd", "zeros on all sides, odd size", (7, 5), 1)
    yield _down_case("vae-encoder", "zeros on the right and below: (0, 1, 0, 1) for Stable Diffusion's encoder", (6, 4), 0)
    yield _down_case("right-and-below-odd", "zeros on the right and below, odd size: one pixel less", (7, 5), 0)
    shapes = {"x": (2, 3, 4, 5), "conv.weight": (3, 3, 3, 3), "conv.bias": (3,)}
    yield _case("upsample/nearest", "repeated pixels, then a convolution", shapes, (2, 3, 8, 10), {}, {
        "bilinear": Mutant("your upsampling interpolates between pixels", "block-upsample", compute=_interpolated)})


# -- transformers ----------------------------------------------------------------------------------------------------


def _other_activation(setting: str, value: str) -> dict[str, Mutant]:
    told = {"gelu": "GELU with erf", "gelu-approximate": "GELU with tanh", "quick_gelu": "x sigmoid(1.702 x)", "relu": "ReLU"}[value]
    return {value: Mutant(f"your feed-forward uses {told}", "block-gelu", settings={setting: value})}


def _feed_forward_case(name: str, reason: str, mutants: Mapping[str, Mutant]) -> Case:
    f = 14 if name == "geglu" else 7
    shapes = {"x": (2, 3, 5), "net.0.proj.weight": (f, 5), "net.0.proj.bias": (f,), "net.2.weight": (5, 7), "net.2.bias": (5,)}
    return _case(f"feed_forward/{name}", reason, shapes, (2, 3, 5), {"activation_fn": name}, mutants)


def _gelu_of_gate(approximate: bool):
    def compute(inputs, settings):
        values, gates = F.chunk(F.linear(inputs["x"], inputs["net.0.proj.weight"], inputs["net.0.proj.bias"]), 2, dim=-1)
        hidden = values * (F.gelu(gates, approximate="tanh") if approximate else F.sigmoid(gates))
        return F.linear(hidden, inputs["net.2.weight"], inputs["net.2.bias"])

    return compute


def _layer_case(
    name: str, reason: str, mutants: Mapping[str, Mutant], *, act: str = "quick_gelu", norm_first: bool = True, causal: bool = True,
    x: tuple[float, float] = (0.0, 1.0),
) -> Case:
    matrices = {**{f"self_attn.{p}_proj": (6, 6) for p in ("q", "k", "v", "out")}, "mlp.fc1": (7, 6), "mlp.fc2": (6, 7)}
    shapes = {"hidden_states": (2, 5, 6)} | {f"layer_norm{i}.{x}": (6,) for i in (1, 2) for x in ("weight", "bias")}
    shapes |= {f"{path}.{x}": shape if x == "weight" else shape[:1] for path, shape in matrices.items() for x in ("weight", "bias")}
    settings = {"num_attention_heads": 3, "hidden_act": act, "layer_norm_eps": 1e-5, "norm_first": norm_first, "is_causal": causal}
    return _case(f"transformer_encoder_layer/{name}", reason, shapes, (2, 5, 6), settings, mutants, {"hidden_states": x})


def _transformer_cases() -> Iterator[Case]:
    yield _feed_forward_case("geglu", "half of the features gate the other half", {
        "gate-first": _wrong("your GEGLU gates with the first half", "block-gate", "feed_forward", lambda inputs: {
            name: F.cat(F.chunk(inputs[name], 2)[::-1]) for name in ("net.0.proj.weight", "net.0.proj.bias")}),
        "tanh": Mutant("your GEGLU's GELU is the one with tanh", "block-gelu", compute=_gelu_of_gate(True)),
        "sigmoid": Mutant("your GEGLU gates with a sigmoid", "block-gate", compute=_gelu_of_gate(False))})
    yield _feed_forward_case("gelu", "GELU with erf", {
        **_other_activation("activation_fn", "gelu-approximate"), **_other_activation("activation_fn", "quick_gelu")})
    yield _feed_forward_case("gelu-approximate", "GELU with tanh", {
        **_other_activation("activation_fn", "gelu"), **_other_activation("activation_fn", "quick_gelu")})
    yield _feed_forward_case("quick_gelu", "CLIP's GELU", _other_activation("activation_fn", "gelu"))
    post = {"post-norm": Mutant("your layer normalizes after the sum", "block-norm-place", settings={"norm_first": False})}
    heads = {"head-size": Mutant("your layer takes the number of heads for the size of one", "block-heads", settings={
        "num_attention_heads": 2})}
    yield _layer_case("clip-text", "CLIP's text tower: norm first, quick GELU, causal", {
        **_other_activation("hidden_act", "gelu"), **post, **heads,
        "not-causal": Mutant("your text tower is not causal", "block-causal", settings={"is_causal": False})})
    yield _layer_case("clip-image", "CLIP's image tower: every token sees every token", {
        "causal": Mutant("your image tower is causal", "block-causal", settings={"is_causal": True}), **post}, causal=False)
    yield _layer_case("openclip-text", "OpenCLIP's: GELU with erf", _other_activation("hidden_act", "quick_gelu"), act="gelu")
    yield _layer_case("tiny", "an input of size 1e-3: eps of the first norm decides", {
        "eps-1e-6": Mutant("your LayerNorm uses eps=1e-6", "block-norm-eps", settings={"layer_norm_eps": 1e-6})}, x=(0.0, 1e-3))
    yield _layer_case("post-norm", "as Vaswani et al. 2017 have it: norm after the sum, ReLU", {
        "norm-first": Mutant("your layer normalizes before each part", "block-norm-place", settings={"norm_first": True})},
        act="relu", norm_first=False, causal=False)
    linears = {f"{name}.{to}.weight": (6, wide if to in ("to_k", "to_v") else 6) for name, wide in (("attn1", 6), ("attn2", 5))
               for to in ("to_q", "to_k", "to_v", "to_out.0")}
    shapes = {"hidden_states": (2, 5, 6), "encoder_hidden_states": (2, 7, 5), **linears, "attn1.to_out.0.bias": (6,),
              "attn2.to_out.0.bias": (6,), **{f"norm{i}.{x}": (6,) for i in (1, 2, 3) for x in ("weight", "bias")},
              "ff.net.0.proj.weight": (14, 6), "ff.net.0.proj.bias": (14,), "ff.net.2.weight": (6, 7), "ff.net.2.bias": (6,)}
    yield _case("transformer_block/text", "self-attention, attention to a text, GEGLU", shapes, (2, 5, 6), {"heads": 3, "eps": 1e-5}, {
        "head-size": Mutant("your transformer block takes the number of heads for the size of one", "block-heads", settings={"heads": 2}),
        "other-text": _wrong("your transformer block reads the text of another sample", "block-context", "transformer_block",
                             lambda inputs: {"encoder_hidden_states": F.roll(inputs["encoder_hidden_states"], 1, 0)}),
        "no-text": _wrong("your transformer block does not read the text", "block-context", "transformer_block", lambda inputs: {
            "attn2.to_v.weight": inputs["attn2.to_v.weight"] * 0.0}),
        "gate-first": _wrong("your GEGLU gates with the first half", "block-gate", "transformer_block", lambda inputs: {
            name: F.cat(F.chunk(inputs[name], 2)[::-1]) for name in ("ff.net.0.proj.weight", "ff.net.0.proj.bias")})})


# -- of the VAE ------------------------------------------------------------------------------------------------------

BOUNDS = {"min_log_variance": -30.0, "max_log_variance": 20.0}


def _halves_swapped(operation: str) -> Mutant:
    return _wrong("your latent distribution has its log-variance first", "vae-halves", operation, lambda inputs: {
        "parameters": F.cat(F.chunk(inputs["parameters"], 2, dim=1)[::-1], dim=1)})


def _log_deviation(operation: str) -> Mutant:
    def change(inputs):
        mean, log_variance = F.chunk(inputs["parameters"], 2, dim=1)
        return {"parameters": F.cat([mean, log_variance * 2.0], dim=1)}

    return _wrong("your log-variance is read as the logarithm of the standard deviation", "vae-variance", operation, change)


def _far_log_variances(id: str) -> np.ndarray:
    """Parameters with log-variances beyond both bounds."""
    x = draw(f"{id}:parameters", 1, 4, 3, 2)
    x[:, 2:] = np.array([[[-36.5, 0.5], [21.25, -3.0], [1.5, 18.0]], [[-29.0, 2.0], [-31.0, 23.5], [-0.5, 0.25]]], np.float32)
    return x


def _kl_without(term: Callable[[Any, Any], Any]):
    """The KL plus what was forgotten: term(mean, log_variance), summed."""
    def compute(inputs, settings):
        mean, log_variance = F.chunk(inputs["parameters"], 2, dim=1)
        return RIGHT["diagonal_gaussian_kl"](inputs, settings) + F.sum(term(mean, log_variance), dim=(1, 2, 3))

    return compute


def _vae_cases() -> Iterator[Case]:
    operation, shapes = "diagonal_gaussian_sample", {"parameters": (2, 6, 5, 2), "noise": (2, 3, 5, 2)}
    yield _case(f"{operation}/ordinary", "a sample from given noise", shapes, (2, 3, 5, 2), BOUNDS, {
        "log-deviation": _log_deviation(operation), "halves-swapped": _halves_swapped(operation),
        "mean-only": _wrong("your encoder takes the mean, not a sample", "vae-variance", operation, lambda inputs: {
            "noise": inputs["noise"] * 0.0})})
    unbounded = {"unbounded": Mutant("your log-variance is not clamped", "vae-variance", settings={
        "min_log_variance": -1000.0, "max_log_variance": 1000.0})}
    id = f"{operation}/clamped"
    noise = {"noise": draw(f"{id}:noise", 1, 2, 3, 2), "cotangent": draw(f"{id}:cotangent", 1, 2, 3, 2)}
    yield Case(id, "log-variances beyond [-30, 20], which then have no gradient", {"parameters": _far_log_variances(id), **noise}, BOUNDS,
               ("parameters", "noise"), unbounded)
    operation, shapes = "diagonal_gaussian_kl", {"parameters": (2, 6, 5, 2)}
    yield _case(f"{operation}/sum", "summed over each sample", shapes, (2,), {**BOUNDS, "reduction": "sum"}, {
        "mean": _after("your KL is the mean over a sample, not the sum", "vae-reduction", operation, lambda y, inputs: y / 30),
        "halves-swapped": _halves_swapped(operation),
        "log-deviation": _log_deviation(operation),
        "no-half": _after("your KL lacks the half", "vae-kl", operation, lambda y, inputs: 2 * y),
        "no-one": Mutant("your KL lacks the -1", "vae-kl", compute=_kl_without(lambda mean, log_variance: mean * 0.0 + 0.5)),
        "no-mean": Mutant("your KL lacks the squared mean", "vae-kl", compute=_kl_without(
            lambda mean, log_variance: -0.5 * mean * mean)),
        "log-sign": Mutant("your KL adds the log-variance", "vae-kl", compute=_kl_without(lambda mean, log_variance: log_variance))})
    yield _case(f"{operation}/mean", "the mean over everything", shapes, (), {**BOUNDS, "reduction": "mean"}, {
        "halves-swapped": _halves_swapped(operation),
        "sum": _after("your KL is the sum over a sample, not the mean", "vae-reduction", operation, lambda y, inputs: y * 30)})
    id = f"{operation}/clamped"
    given = {"parameters": _far_log_variances(id), "cotangent": draw(f"{id}:cotangent", 1)}
    yield Case(id, "log-variances beyond [-30, 20], which then have no gradient", given, {**BOUNDS, "reduction": "sum"},
               ("parameters",), unbounded)
    yield from _latent_cases()


def _latent_cases() -> Iterator[Case]:
    undone = {"undone": Mutant("you multiply by the scaling factor where you should divide, or the other way round", "latent-scale",
                               compute=_inverted_scale)}
    none = {"not-scaled": Mutant("you do not scale the latents", "latent-scale", settings={"scaling_factor": 1.0})}
    shift_last = {"shift-last": Mutant("you shift the latents on the wrong side of the scale", "latent-scale", compute=_shifted_outside)}
    stable = {"scaling_factor": 0.18215, "shift_factor": 0.0}
    shifted = {"scaling_factor": 1.5305, "shift_factor": 0.0609}
    for name, reason, direction, settings, mutants in (
            ("encode", "Stable Diffusion's factor on the way in", "encode", stable, none),
            ("decode", "and on the way out", "decode", stable, {**undone, **none}),
            ("encode-shifted", "Stable Diffusion 3's factor and shift", "encode", shifted, {**undone, **shift_last}),
            ("decode-shifted", "and their undoing", "decode", shifted, {**undone, **shift_last})):
        shape = (1, 3, 5, 2)
        yield _case(f"latent_scaling/{name}", reason, {"latents": shape}, shape, {"direction": direction, **settings}, mutants, {
            "latents": (0.5, 5.0)})


def _inverted_scale(inputs, settings):
    return RIGHT["latent_scaling"](inputs, {**settings, "scaling_factor": 1 / settings["scaling_factor"]})


def _shifted_outside(inputs, settings):
    x, scale, shift = inputs["latents"], settings["scaling_factor"], settings["shift_factor"]
    return x * scale - shift if settings["direction"] == "encode" else (x + shift) / scale


# -- of CLIP ---------------------------------------------------------------------------------------------------------


def _state_at(index: Callable[[np.ndarray], Any]) -> Callable[[Any, Any], Any]:
    """The state at another place, as a function of the token ids."""
    def compute(inputs, settings):
        ids = inputs["input_ids"].numpy()
        return inputs["last_hidden_state"][np.arange(len(ids)), index(ids)]

    return compute


def _pooling_cases() -> Iterator[Case]:
    last = {"last": Mutant("you pool at the last place", "clip-pooling", compute=_state_at(lambda ids: ids.shape[1] - 1)),
            "first": Mutant("you pool at the first place", "clip-pooling", compute=_state_at(lambda ids: 0))}
    before = {"before": Mutant("you pool at the token before the end-of-text token", "clip-pooling", compute=_state_at(
        lambda ids: ids.argmax(1) - 1))}
    texts = np.array([[90, 3, 17, 99, 0, 0, 0], [90, 5, 99, 0, 0, 0, 0], [90, 41, 2, 8, 60, 12, 99]])
    padded = np.where(texts == 0, 99, texts)
    tokens = np.array([[1, 40, 9, 2, 0, 0], [1, 2, 0, 0, 0, 0]])
    for name, reason, ids, eos, mutants in (
            ("largest-id", "OpenAI's: the end of the text has the largest id; padded with 0", texts, None, {**last, **before}),
            ("padded-with-end", "padded with the end-of-text token, as for Stable Diffusion: the first one counts", padded, None, {
                **last, **before}),
            ("given-id", "an end-of-text token that is not the largest id", tokens, 2, {
                **last, "largest": Mutant("you pool at the largest id, which is not the end-of-text token here", "clip-pooling",
                                          settings={"eos_token_id": None})})):
        yield _case(f"clip_pooling/{name}", reason, {"last_hidden_state": (*ids.shape, 5)}, (len(ids), 5), {"eos_token_id": eos}, mutants,
                    given={"input_ids": ids})


def _one_side(name: str):
    """One side's vectors stay as long as they are."""
    def compute(inputs, settings):
        vectors = {x: inputs[x] if x == name else F.normalize(inputs[x], dim=-1) for x in ("image_embeds", "text_embeds")}
        return F.exp(inputs["logit_scale"]) * F.matmul(vectors["image_embeds"], F.transpose(vectors["text_embeds"], 0, 1))

    return compute


def _directions(images: float, texts: float):
    """The loss with other weights for image to text and text to image."""
    def compute(inputs, settings):
        logits = RIGHT["clip_logits"](inputs, settings)
        labels = np.arange(logits.shape[0])
        return images * F.cross_entropy(logits, labels) + texts * F.cross_entropy(F.transpose(logits, 0, 1), labels)

    return compute


def _clip_case(
    operation: str, name: str, reason: str, texts: int, scale: float, max_scale: float | None, mutants: Mapping[str, Mutant],
) -> Case:
    shapes = {"image_embeds": (3, 5), "text_embeds": (texts, 5), "logit_scale": (1,)}
    output = (3, texts) if operation == "clip_logits" else ()
    return _case(f"{operation}/{name}", reason, shapes, output, {"max_scale": max_scale}, mutants, {"logit_scale": (scale, 0.0)})


def _clip_cases() -> Iterator[Case]:
    yield from _pooling_cases()
    yield _case("clip_projection/unit", "projected, then of length 1", {"pooled": (3, 7), "projection.weight": (5, 7)}, (3, 5), {}, {
        "not-normalized": Mutant("your projection is not normalized", "clip-normalize", compute=lambda inputs, settings: F.linear(
            inputs["pooled"], inputs["projection.weight"])),
        "normalized-before": Mutant("you normalize before the projection", "clip-normalize", compute=lambda inputs, settings: F.linear(
            F.normalize(inputs["pooled"], dim=-1), inputs["projection.weight"])),
        "over-batch": Mutant("you normalize over the batch", "clip-normalize", compute=lambda inputs, settings: F.normalize(F.linear(
            inputs["pooled"], inputs["projection.weight"]), dim=0))})
    start, beyond = math.log(1 / 0.07), 5.0
    not_log = _wrong("your scale is logit_scale itself, not exp of it", "clip-scale", "clip_logits", lambda inputs: {
        "logit_scale": F.log(inputs["logit_scale"])})
    temperature = _wrong("you divide by exp(logit_scale)", "clip-scale", "clip_logits", lambda inputs: {
        "logit_scale": -inputs["logit_scale"]})
    unbounded = {"unbounded": Mutant("your scale is not bounded by 100", "clip-scale", settings={"max_scale": None})}
    sides = {f"{name}-as-is": Mutant(f"your {name} embeddings are not normalized", "clip-normalize", compute=_one_side(f"{name}_embeds"))
             for name in ("image", "text")}
    yield _clip_case("clip_logits", "start", "the scale 1 / 0.07", 4, start, 100.0, {
        **sides, "not-log": not_log, "temperature": temperature})
    yield _clip_case("clip_logits", "bounded", "a scale of 148, bounded by 100: no gradient", 4, beyond, 100.0, unbounded)
    yield _clip_case("clip_logits", "unbounded", "a scale of 148 as it is", 4, beyond, None, {
        "bounded": Mutant("your scale is bounded by 100", "clip-scale", settings={"max_scale": 100.0})})
    losses = {"images-only": Mutant("your loss asks for the text of each image only", "clip-loss", compute=_directions(1.0, 0.0)),
              "texts-only": Mutant("your loss asks for the image of each text only", "clip-loss", compute=_directions(0.0, 1.0)),
              "sum": Mutant("your loss is the sum of both directions", "clip-loss", compute=_directions(1.0, 1.0))}
    yield _clip_case("clip_loss", "start", "both directions, the scale 1 / 0.07", 3, start, 100.0, losses)
    yield _clip_case("clip_loss", "bounded", "a scale of 148, bounded by 100", 3, beyond, 100.0, {"sum": losses["sum"], **unbounded})


def cases() -> Iterator[Case]:
    """The blocks of a U-Net, of a transformer, of a VAE, of CLIP."""
    yield from _embedding_cases()
    yield from _resnet_cases()
    yield from _conv_cases()
    yield from _attention_cases()
    yield from _resampling_cases()
    yield from _transformer_cases()
    yield from _vae_cases()
    yield from _clip_cases()
