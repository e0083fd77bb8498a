"""Whole networks, and what is done with them: U-Nets of both presets, a walk through one, a step of training one.

They are as small as they can be and still have everything: two levels, four and six channels, images that are not square. The parameters
are inputs, none of them symmetrical. A mutant is a changed network, changed parameters where that comes to the same, or changed settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.diffusion import extract
from minidiff.models import Classifier, preset
from minidiff.models.blocks import AttentionBlock, NearestUpsample, RearrangePool, ResnetBlock
from minidiff.verify.adapters.minidiff.networks import OPERATIONS as RIGHT
from minidiff.verify.adapters.minidiff.networks import empty_network, network_of, schedule_of
from reference.case import Case, Mutant, Note, Operation, draw

_NETWORK = {
    "sample_size": "height and width that the network is made for; only middle=\"dense\" needs images of just that size",
    "in_channels": "C_in", "out_channels": "C_out",
    "patch_size": "p: p x p pixels become p^2 channels at the entrance, channel c p^2 + i p + j being pixel (i, j) of each patch of "
                  "channel c, and pixels again at the exit",
    "num_classes": "K, or null for a network without classes; label K means that there is none",
    "block_out_channels": "channels of each level; the resolution halves from level to level",
    "layers_per_block": "L, blocks of a level on the way down; on the way up L + 1 with skips=\"block\"",
    "up_layers_per_block": "blocks of a level on the way up with skips=\"stage\"; null: L",
    "block": "\"resnet\" or \"conv\"",
    "conditioning": "\"add\" or \"scale_shift\", inside resnet blocks; \"multiply_add\", before each level of the way up",
    "activation": "act: \"silu\", \"gelu\" (with erf) or \"relu\"", "norm_num_groups": "groups of every GroupNorm",
    "norm_eps": "eps of every GroupNorm",
    "attention_levels": "levels whose blocks are each followed by attention, on the way down and, with skips=\"block\", up; 0: the finest",
    "attention_head_dim": "channels of one head; C / that many heads",
    "downsample": "\"conv\" (3x3, stride 2) or \"rearrange\" (2x2 pixels to channels, ordered as in patch_size, then a conv block)",
    "downsample_padding": "1: zeros on all sides; 0: zeros on the right and at the bottom only",
    "upsample": "\"nearest\" (each pixel 2x2 times, then conv 3x3) or \"transposed\" (kernel 2, stride 2)",
    "skips": "\"block\": every block on the way up sees one tensor of the way down; \"stage\": every level does",
    "middle": "\"resnet\" or \"dense\"", "middle_attention": "whether there is attention between the two blocks of the middle",
    "hidden_features": "size of the vector in the middle, with middle=\"dense\"",
    "time_features": "size of the sinusoids of t; null: the channels of the first level", "time_scale": "multiplies t before all else",
    "flip_sin_to_cos": "true: cosines first, then sines", "freq_shift": "s: frequencies max_period^(-i / (size / 2 - s))",
    "max_period": "see freq_shift", "dropout": "0: none",
}
_MLP = {
    "dimensions": "D", "width": "size of the hidden layers", "depth": "how many hidden layers",
    "time_features": "size of the sinusoids of t", "periods": "periods of the waves of the coordinates",
}
_SCHEDULE = {
    "num_train_timesteps": "T", "beta_start": "beta of the first time", "beta_end": "of the last",
    "beta_schedule": "\"linear\": beta_t is linear in t from beta_start to beta_end, both reached; \"scaled_linear\": sqrt(beta_t) is",
}
_UNET = (
    "A stack of skips: h = conv_in(patches of x) is pushed. Down, level by level: each block (then attention) gives h, pushed; between "
    "levels the resolution halves, pushed. Middle. Up, from the deepest level: each of L + 1 blocks sees cat[h, popped] (then attention); "
    "between levels the resolution doubles. Out: conv_out(act(norm(h))), patches undone. "
    "resnet block: x + conv2(act(norm2(conv1(act(norm1(x))) + time_emb_proj(act(emb))))), scale_shift: norm2(conv1(...)) (1 + scale) + "
    "shift with [scale, shift] = time_emb_proj(act(emb)); conv_shortcut (1x1) on x if the channels change. "
    "emb = linear_2(act(linear_1(waves(time_scale t)))) + class_embedding[label], of size 4 block_out_channels[0]; waves: see "
    "timestep_embedding. attention: x + to_out(softmax(q k^T / sqrt(d)) v), q, k, v linear in norm(x), tokens are pixels, the first d "
    "channels are the first head. conv block: act(norm(conv(x))). resnet middle: block, attention, block. "
    "skips=\"stage\": per level the blocks, then halving (also at the last level), whose result is pushed; up: doubling(cat[h, popped]), "
    "then the blocks; at the end conv_merge(cat[h, conv_in's]). With conv blocks conv_in is y + conv2(y), y = conv1(x). multiply_add: "
    "before each level of the way up h times linear_2(gelu(linear_1(onehot(label)))) plus the same of the waves; no class is the zero "
    "vector. dense middle: h = gelu(flat), three times relu(linear), then a conv block. gelu has erf."
)
_PARAMETERS = {
    "parameters.NAME": "the parameters; weights (out, in, ...), of transposed convolutions (in, out, ...); a U-Net's are named as in "
                       "diffusers' UNet2DModel, as far as it has them"}
_NETWORKS, _DDIM, _TRAINING = "docs/layers.md#7-networks", "docs/ddpm.md#9-fewer-steps-ddim", "docs/ddpm.md#7-training"

OPERATIONS = {
    "unet": Operation(
        _UNET, _NETWORKS,
        {"x": "(N, C_in, H, W)", "t": "(N,) integers, the first time is 0", "labels": "(N,) integers; absent for a network without classes",
         **_PARAMETERS},
        {"output": "(N, C_out, H, W)"}, _NETWORK),
    "mlp": Operation(
        "h = [x, then for each period P: sin(2 pi x / P), cos(2 pi x / P), then the sinusoids of t, cosines first, frequencies "
        "10000^(-2 i / time_features)]; h = silu(hidden.i h) for each hidden layer; output h", _NETWORKS,
        {"x": "(N, D)", "t": "(N,) integers", **_PARAMETERS}, {"output": "(N, D)"}, _MLP),
    "classifier": Operation(
        "conv 3x3, GroupNorm (4 groups, eps 1e-5), relu, max pooling 2x2, twice (features.0, .1, .4, .5); flat in the order (C, H, W); "
        "relu(hidden); output. The dropout of training is not there.", _NETWORKS,
        {"x": "(N, in_channels, sample_size, sample_size)", **_PARAMETERS}, {"output": "(N, num_classes)"},
        {"num_classes": "K", "in_channels": "of the images", "sample_size": "height and width",
         "width": "channels of the first convolution; the second has twice as many"}),
    "small_unet_trajectory": Operation(
        "from x at the first of the times to the data: eps = unet(x, t); x_0 = (x - sqrt(1 - abar_t) eps) / sqrt(abar_t), clipped, then "
        "eps again from x and x_0; x <- sqrt(abar_s) x_0 + sqrt(1 - abar_s - v^2) eps + v z, s the next of the times, "
        "v^2 = eta^2 (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s)", _DDIM,
        {"x": "(N, C, H, W), where the walk begins",
         "noise": "(S - 1, N, C, H, W), z of each step but the last, which has v = 0; absent if eta = 0", **_PARAMETERS},
        {"state": "x after step number `state`", "output": "x at the end"},
        {**_SCHEDULE, "timesteps": "the S times visited, the noisiest first; the first time of the schedule is 0",
         "eta": "0: DDIM, 1: DDPM's posterior between the times visited", "clip_denoised": "whether every x_0 is clipped to [-1, 1]",
         "set_alpha_to_one": "abar after the last step: 1, or that of time 0", "state": "number of a step, from 0",
         "network": "of the U-Net: kind \"unet\", and the settings of that operation"}),
    "training_step": Operation(
        "x_t = sqrt(abar_t) x_start + sqrt(1 - abar_t) noise; loss = mean over all elements of (network(x_t, t) - noise)^2; norm = |g| "
        "over the gradients g of all parameters; g <- g min(1, clip_norm / (norm + 1e-6)); then step k of AdamW: "
        "theta <- theta (1 - lr wd); m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; "
        "theta <- theta - lr m^ / (sqrt(v^) + eps), m^ = m / (1 - beta1^k), v^ = v / (1 - beta2^k)", _TRAINING,
        {"x_start": "(N, ...), clean data", "t": "(N,) integers in [0, T)", "noise": "like x_start", **_PARAMETERS,
         "first_moment.parameters.NAME": "m before the step", "second_moment.parameters.NAME": "v before the step"},
        {"loss": "()", "norm": "(), before clipping", "new.parameters.NAME": "the parameters after the step"},
        {**_SCHEDULE, "prediction_type": "what the network answers: \"epsilon\", the noise",
         "clip_norm": "length above which g is shortened", "learning_rate": "lr", "betas": "beta1, beta2",
         "eps": "of AdamW, outside of the root", "weight_decay": "wd, of all parameters", "step": "k, 1 for the first",
         "network": "kind \"unet\" or \"mlp\", and the settings of that operation"}),
}

NOTES = {
    "unet-skips": Note(
        "convention",
        "On the way up the skip is appended behind the channels of h; it is what a block and its attention gave, the last first.",
        "With loaded weights noise comes out; a network trained that way is as good, but its weights fit nowhere else."),
    "unet-time-embedding": Note(
        "convention",
        "Sinusoids: cosines first, exponents divided by half the size (OpenAI), or sines first, divided by half - 1 (Ho).",
        "With loaded weights the network misreads the noise level: too smooth or too noisy images.",
        ("diffusers #3981", "Ho's TensorFlow code and OpenAI's guided-diffusion differ on purpose")),
    "unet-time-base": Note(
        "indexing", "The papers count times from 1, code counts from 0.",
        "Each step removes the noise of its neighbour: slightly grainy images."),
    "unet-time-scale": Note(
        "convention", "Some networks get t / T or t / 1000 instead of t.", "The network sees (almost) always the same time."),
    "unet-time-activation": Note(
        "formula", "Each block applies the activation to the embedding before its projection.",
        "Weights from elsewhere give wrong images."),
    "unet-activation": Note(
        "convention", "The setting holds for every activation, also in the time embedding and before the last convolution.",
        "Weights from elsewhere give slightly wrong images.",
        ("diffusers' UNet2DModel: act_fn is that of the blocks, while time_embedding and conv_act stay SiLU",)),
    "unet-attention-heads": Note(
        "convention",
        "Number of heads or size of a head: diffusers' attention_head_dim of UNet2DModel is the size; elsewhere it is the number.",
        "Shapes fit with either; with loaded weights structure over long distances is lost."),
    "unet-attention": Note(
        "formula", "Self-attention: tokens are all pixels, scores are scaled by 1/sqrt(size of a head), q, k and v come in this order.",
        "Blurred or repeated structure with loaded weights; training hides it."),
    "unet-downsample-padding": Note(
        "convention", "A stride-2 convolution pads all sides (PyTorch) or only right and bottom (TensorFlow's SAME).",
        "Everything shifts by a pixel at each level: smeared edges.", ("stable-diffusion #355",)),
    "unet-norm-eps": Note(
        "default", "eps of the norms is 1e-5 or 1e-6.", "Visible only where activations are small: flat regions change contrast."),
    "unet-classes": Note(
        "formula", "The class's embedding is added once, to the time's, after its second layer; the last row of the table is for no class.",
        "Too strong or no guidance: images of a wrong class."),
    "unet-scale-shift": Note(
        "convention", "The first half of the projection is the scale, the second the shift, and the factor is 1 + scale.",
        "Weights from elsewhere give wrong images."),
    "unet-patches": Note(
        "convention", "Pixels of a patch to channels: (c p q), as pixel_unshuffle has it, or (p q c), as TensorFlow's space_to_depth.",
        "A fine checkerboard."),
    "unet-gelu": Note("default", "GELU with erf, or its tanh approximation, 4.7e-4 away.", "Images change a little; comparisons fail."),
    "unet-resample": Note(
        "convention", "Resolution doubles by repeating pixels, not by interpolation; a transposed convolution does not flip its kernel.",
        "Smooth or checkered images with loaded weights."),
    "unet-stage-conditioning": Note(
        "convention", "In the course's U-Net the class multiplies and the time adds.", "Images ignore the class or the time."),
    "network-flat-order": Note(
        "convention", "Flattening is (C, H, W); where images are (N, H, W, C) the order is another.", "Scrambled middle, wrong classes."),
    "mlp-waves": Note(
        "formula", "Angles are 2 pi x / period, and columns are grouped by period, not by kind of wave.", "The points do not sharpen."),
    "classifier-inference": Note(
        "formula", "Dropout's factor belongs to training: nothing is scaled at inference.",
        "Scores too small: wrong confidence, weak guidance."),
    "trajectory-times": Note(
        "indexing", "The next time of a step is the next entry of the list, not t - T // S.", "Noise left in images, or too smooth ones.",
        ("diffusers #9261", "diffusers #11347", "diffusers #12633")),
    "trajectory-last": Note(
        "default", "abar after the last step is 1, or that of time 0.", "A little noise is left in the image.",
        ("diffusers #465", "diffusers #6068")),
    "trajectory-clipping": Note(
        "convention", "After clipping x_0 the noise is computed again from x_t and x_0, or the old one is kept.",
        "Washed-out or oversaturated images.",
        ("GLIDE and denoising-diffusion-pytorch compute it again; diffusers' DDIM does not unless told to",)),
    "trajectory-noise": Note(
        "formula", "Each step but the last adds fresh noise, of the variance that eta gives it.",
        "Too smooth images, or noise that repeats as a texture."),
    "trajectory-schedule": Note(
        "convention", "CompVis' \"linear\" is linear in sqrt(beta), diffusers' scaled_linear.",
        "Wrong noise level at every step: flat or grainy images.", ("CompVis' stable-diffusion and diffusers use the name differently",)),
    "training-noising": Note(
        "formula", "x_t is made with abar, the product, and its square roots.",
        "The network learns other noise levels than the sampler asks for."),
    "training-loss": Note(
        "formula", "The loss is the mean, over the batch and all elements, of the squared error in the noise.",
        "The network learns something else, or at a learning rate that is wrong by the size of an image."),
    "training-update": Note(
        "formula", "AdamW: bias correction by the number of the step, decay apart from the gradient, clipping before both.",
        "Slower or unstable training."),
}

SIZES = {"in_channels": 3, "out_channels": 2, "block_out_channels": (4, 6), "layers_per_block": 1, "norm_num_groups": 2}


def _config(name: str, **changes: Any) -> dict[str, Any]:
    """A preset with some settings changed, in JSON values."""
    settings = preset(name, **SIZES, **changes).to_json()
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


DDPM = _config("ddpm", sample_size=6, attention_head_dim=2)
COURSE = _config("course", sample_size=8, up_layers_per_block=2, hidden_features=7)
SOME = ("x", "parameters.conv_in.weight", "parameters.time_embedding.linear_1.weight", "parameters.down_blocks.0.resnets.0.conv1.weight",
        "parameters.mid_block.resnets.0.time_emb_proj.weight", "parameters.up_blocks.1.resnets.0.conv_shortcut.weight",
        "parameters.conv_out.bias")
ATTENTION = tuple(f"parameters.mid_block.attentions.0.{name}"
                  for name in ("group_norm.weight", "to_q.weight", "to_k.bias", "to_out.0.weight"))
SOME_COURSE = ("x", "parameters.conv_in.conv1.conv.weight", "parameters.time_embeddings.0.linear_1.weight",
               "parameters.down_blocks.0.downsamplers.0.conv.conv.weight", "parameters.mid_block.linears.1.weight",
               "parameters.up_blocks.0.upsamplers.0.weight", "parameters.conv_merge.weight", "parameters.conv_out.bias")


def parameters(id: str, network: Any) -> dict[str, np.ndarray]:
    """Numbers for all parameters: weights that keep the size of what they see, norms away from (1, 0), no bias of zero."""
    drawn = {}
    for name, array in network.state_dict().items():
        kind = f"parameters.{name}"
        if array.ndim == 1:
            drawn[kind] = draw(f"{id}:{kind}", *array.shape, scale=0.3, mean=1.3 if name.endswith("weight") else 0.1)
        else:
            drawn[kind] = draw(f"{id}:{kind}", *array.shape, scale=1.2 / math.sqrt(math.prod(array.shape[1:])))
    return drawn


# -- mistakes ------------------------------------------------------------------------------------------------------------


def _modules(network: Any, kind: type) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, kind)]


def _changed(change: Callable[[Any], None]) -> Callable[..., Any]:
    """The U-Net after `change` has been at it."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        network = network_of(inputs, {"kind": "unet", **settings})
        change(network)
        return network(inputs["x"], inputs["t"], inputs.get("labels"))

    return compute


def _otherwise(operation: str, change: Callable[[Any, Any], Mapping[str, Any]]) -> Callable[..., Any]:
    """The operation with other inputs: change(inputs, settings) are those that differ."""
    return lambda inputs, settings: RIGHT[operation]({**inputs, **change(inputs, settings)}, settings)


def _forward(kind: type, forward: Callable[..., Any]) -> Callable[..., Any]:
    """The U-Net whose modules of a kind compute forward(module, ...)."""
    def change(network: Any) -> None:
        for module in _modules(network, kind):
            vars(module)["forward"] = lambda *inputs, module=module: forward(module, *inputs)

    return _changed(change)


def _attended(stage: Any, i: int, h: Any) -> Any:
    return stage.attentions[i](h) if len(stage.attentions) else h


def _skips_in_front(network: Any) -> None:
    def forward(stage: Any, h: Any, skips: list[Any], emb: Any) -> Any:
        for i, block in enumerate(stage.resnets):
            h = _attended(stage, i, block(F.cat([skips.pop(), h], dim=1), emb))
        return stage.upsamplers[0](h) if len(stage.upsamplers) else h

    for stage in network.up_blocks:
        vars(stage)["forward"] = lambda h, skips, emb, stage=stage: forward(stage, h, skips, emb)


def _skips_before_attention(network: Any) -> None:
    def forward(stage: Any, h: Any, emb: Any) -> Any:
        kept = []
        for i, block in enumerate(stage.resnets):
            h = block(h, emb)
            kept.append(h)
            h = _attended(stage, i, h)
        for downsample in stage.downsamplers:
            h = downsample(h)
            kept.append(h)
        return h, kept

    for stage in network.down_blocks:
        vars(stage)["forward"] = lambda h, emb, stage=stage: forward(stage, h, emb)


def _swap(first: str, second: str) -> Callable[..., Any]:
    """Two projections of every attention change places."""
    def change(network: Any) -> None:
        for block in _modules(network, AttentionBlock):
            own = vars(block)
            own[first], own[second] = own[second], own[first]

    return _changed(change)


def _attend(block: Any, tokens: Any, scale: float) -> Any:
    q, k, v = (F.rearrange(to(tokens), "n l (heads d) -> n heads l d", heads=block.heads) for to in (block.to_q, block.to_k, block.to_v))
    return block.to_out[0](F.rearrange(F.scaled_dot_product_attention(q * scale, k, v), "n heads l d -> n l (heads d)"))


def _unscaled(block: Any, x: Any) -> Any:
    tokens = F.rearrange(block.group_norm(x), "n c h w -> n (h w) c")
    return x + F.rearrange(_attend(block, tokens, math.sqrt(x.shape[1] // block.heads)), "n (h w) c -> n c h w", h=x.shape[2])


def _along_rows(block: Any, x: Any) -> Any:
    tokens = F.rearrange(block.group_norm(x), "n c h w -> (n h) w c")
    return x + F.rearrange(_attend(block, tokens, 1.0), "(n h) w c -> n c h w", h=x.shape[2])


def _class_twice(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"parameters.class_embedding.weight": inputs["parameters.class_embedding.weight"] * 2.0}


def _null_is_nothing(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    table = inputs["parameters.class_embedding.weight"]
    return {"parameters.class_embedding.weight": F.cat([table[:-1], table[-1:] * 0.0])}


def _halves(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: F.cat(list(F.chunk(x, 2))[::-1]) for name, x in inputs.items() if ".time_emb_proj." in name}


def _no_one(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    biases = {name: x for name, x in inputs.items() if name.endswith(".time_emb_proj.bias")}
    return {name: x - np.repeat([1.0, 0.0], x.shape[0] // 2).astype(x.dtype) for name, x in biases.items()}


def _order(channels: int, p: int) -> np.ndarray:
    """Place (c, i, j) of a patch holds what belongs to (i, j, c)."""
    return np.arange(channels * p * p).reshape(p, p, channels).transpose(2, 0, 1).ravel()


def _patches(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    p = settings["patch_size"]
    entrance, leaving = _order(settings["in_channels"], p), _order(settings["out_channels"], p)
    weight, bias = inputs["parameters.conv_out.weight"], inputs["parameters.conv_out.bias"]
    return {"parameters.conv_in.weight": inputs["parameters.conv_in.weight"][:, entrance],
            "parameters.conv_out.weight": weight[leaving], "parameters.conv_out.bias": bias[leaving]}


def _rearranged(block: Any, x: Any) -> Any:
    return block.conv(F.rearrange(x, "n c (h p1) (w p2) -> n (p1 p2 c) h w", p1=2, p2=2))


def _flipped(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: F.flip(x, (2, 3)) for name, x in inputs.items() if name.endswith(".upsamplers.0.weight")}


def _smooth(block: Any, x: Any) -> Any:
    return block.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


def _tanh_gelu(network: Any) -> None:
    for module in network.modules():
        if "act" in vars(module):
            vars(module)["act"] = lambda x: F.gelu(x, approximate="tanh")


def _silu_outside_of_blocks(network: Any) -> None:
    vars(network.time_embedding)["act"] = F.silu
    vars(network)["config"] = replace(network.config, activation="silu")


def _embedding_not_activated(network: Any) -> None:
    for block in _modules(network, ResnetBlock):
        vars(block)["act"] = lambda x, act=block.act: act(x) if x.ndim == 4 else x


def _class_adds(network: Any) -> None:
    right = network._by_stage
    vars(network)["_by_stage"] = lambda waves, labels: [(shift, factor) for factor, shift in right(waves, labels)]


def _flat_hwc(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    first, last = "parameters.mid_block.linears.0.weight", "parameters.mid_block.linears.2"
    order = np.arange(inputs[first].shape[1]).reshape(-1, settings["block_out_channels"][-1]).T.ravel()
    return {first: inputs[first][:, order], **{name: inputs[name][order] for name in (f"{last}.weight", f"{last}.bias")}}


def _times_from_one(operation: str) -> Mutant:
    return Mutant("your times are one too high: the first time is 0 here", "unet-time-base",
                  compute=_otherwise(operation, lambda inputs, settings: {"t": inputs["t"] + 1}))


SINES_FIRST = Mutant("your time embedding has the sines first", "unet-time-embedding", settings={"flip_sin_to_cos": False})
HALF_MINUS_ONE = Mutant("your time embedding divides the frequencies' exponent by half - 1", "unet-time-embedding",
                        settings={"freq_shift": 1.0})
NOT_ACTIVATED = Mutant("your blocks project the time embedding without the activation before", "unet-time-activation",
                       compute=_changed(_embedding_not_activated))
SKIPS_IN_FRONT = Mutant("you put the skip before h, not behind", "unet-skips", compute=_changed(_skips_in_front))
UNSCALED = Mutant("your attention does not scale its scores by 1/sqrt(size of a head)", "unet-attention",
                  compute=_forward(AttentionBlock, _unscaled))
EPS = Mutant("your norms use eps=1e-6", "unet-norm-eps", settings={"norm_eps": 1e-6})
TANH_GELU = Mutant("your gelu is the tanh approximation", "unet-gelu", compute=_changed(_tanh_gelu))
SILU_ELSEWHERE = Mutant("your time embedding and your exit have silu, whatever the activation of the blocks", "unet-activation",
                        compute=_changed(_silu_outside_of_blocks))
FLIPPED = Mutant("your transposed convolution flips its kernel", "unet-resample", compute=_otherwise("unet", _flipped))
UNSCALED_TIME = Mutant("you do not multiply t by time_scale", "unet-time-scale", settings={"time_scale": 1.0})
P_Q_C = Mutant("your channels of a patch are ordered (p, q, c)", "unet-patches", compute=_forward(RearrangePool, _rearranged))
TWICE = Mutant("you add the class's embedding twice", "unet-classes", compute=_otherwise("unet", _class_twice))


# -- U-Nets --------------------------------------------------------------------------------------------------------------


def _unet(name: str, reason: str, config: Mapping[str, Any], shape: tuple[int, ...], t: tuple[int, ...], gradients: tuple[str, ...],
          mutants: Mapping[str, Mutant], labels: tuple[int, ...] = (), scale: float = 1.0) -> Case:
    """A U-Net on images of a shape. gradients: names of inputs; () for all. scale: of the images and of the first convolution's bias."""
    id = f"unet/{name}"
    inputs = {"x": draw(f"{id}:x", *shape, scale=scale), "t": np.array(t, np.int64)}
    inputs |= {"labels": np.array(labels, np.int64)} if labels else {}
    weights = parameters(id, empty_network({"kind": "unet", **config}))
    if scale != 1:
        weights["parameters.conv_in.bias"] *= np.float32(scale)
    cotangent = draw(f"{id}:cotangent", shape[0], config["out_channels"], *shape[2:])
    return Case(id, reason, {**inputs, **weights, "cotangent": cotangent}, config, gradients or ("x", *weights), mutants)


def _of_ddpm() -> Iterator[Case]:
    """The architecture of DDPM."""
    yield _unet("ddpm", "everything at once, with the gradients of all parameters", DDPM, (2, 3, 6, 10), (0, 741), (), {
        "skips-in-front": SKIPS_IN_FRONT, "sines-first": SINES_FIRST, "half-minus-one": HALF_MINUS_ONE, "not-activated": NOT_ACTIVATED,
        "times-from-one": _times_from_one("unet"), "unscaled": UNSCALED,
        "heads": Mutant("you read attention_head_dim as the number of heads", "unet-attention-heads", settings={"attention_head_dim": 3})})
    yield _unet("ddpm-batch-1", "a batch of one, at the last time", DDPM, (1, 3, 10, 6), (999,), SOME, {
        "sines-first": SINES_FIRST, "half-minus-one": HALF_MINUS_ONE,
        "time-scaled": Mutant("you divide t by 1000", "unet-time-scale", settings={"time_scale": 1e-3})})
    yield _unet("attention", "attention at both levels and in the middle", {**DDPM, "attention_levels": [0, 1]}, (1, 3, 6, 10), (17,), (
        "x", *ATTENTION, "parameters.down_blocks.0.attentions.0.to_v.weight"), {
        "q-and-k": Mutant("you take q for k and k for q", "unet-attention", compute=_swap("to_q", "to_k")),
        "k-and-v": Mutant("you take k for v and v for k", "unet-attention", compute=_swap("to_k", "to_v")),
        "rows": Mutant("your attention sees only the pixels of its row", "unet-attention", compute=_forward(AttentionBlock, _along_rows)),
        "skips-before": Mutant("your skips are what the blocks gave, before attention", "unet-skips",
                               compute=_changed(_skips_before_attention)),
        "unscaled": UNSCALED})
    yield _unet("one-head", "one head of six channels", {**DDPM, "attention_levels": [], "attention_head_dim": 6}, (2, 3, 4, 6), (3, 500), (
        "x", *ATTENTION), {
        "six-heads": Mutant("you read attention_head_dim as the number of heads", "unet-attention-heads",
                            settings={"attention_head_dim": 1})})
    plain = {**DDPM, "attention_levels": [], "middle_attention": False}
    yield _unet("no-attention", "convolutions alone", plain, (2, 3, 6, 10), (12, 13), SOME, {
        "skips-in-front": SKIPS_IN_FRONT,
        "bilinear": Mutant("you double the resolution by interpolation", "unet-resample", compute=_forward(NearestUpsample, _smooth))})
    yield _unet("three-levels", "three levels with two blocks each, down to 2x3 pixels", {
        **plain, "sample_size": 8, "block_out_channels": [4, 6, 8], "layers_per_block": 2}, (1, 3, 8, 12), (250,), (
        "x", "parameters.conv_in.bias"), {"skips-in-front": SKIPS_IN_FRONT})
    yield _unet("padding-0", "downsampling that pads only right and bottom: TensorFlow's SAME", {**plain, "downsample_padding": 0},
                (1, 3, 6, 10), (99,), (*SOME, "parameters.down_blocks.0.downsamplers.0.conv.weight"), {
        "all-sides": Mutant("your downsampling pads all sides", "unet-downsample-padding", settings={"downsample_padding": 1})})
    yield _unet("padding-1", "downsampling that pads all sides", plain, (1, 3, 6, 10), (99,), ("x",), {
        "right": Mutant("your downsampling pads only right and bottom", "unet-downsample-padding", settings={"downsample_padding": 0})})
    yield _unet("ho-embedding", "sines first, divided by half - 1: the embedding of Ho et al.'s code", {
        **plain, "flip_sin_to_cos": False, "freq_shift": 1.0}, (2, 3, 4, 6), (1, 640), SOME, {
        "cosines-first": Mutant("your time embedding has the cosines first", "unet-time-embedding", settings={"flip_sin_to_cos": True}),
        "half": Mutant("your time embedding divides the frequencies' exponent by half", "unet-time-embedding",
                       settings={"freq_shift": 0.0})})
    yield _unet("odd-embedding", "an odd number of time features, another longest period, a scaled time", {
        **plain, "time_features": 7, "max_period": 100.0, "time_scale": 0.03125}, (2, 3, 4, 6), (5, 320), (
        "x", "parameters.time_embedding.linear_1.weight"), {"unscaled": UNSCALED_TIME})
    yield _unet("scale-shift", "the embedding scales and shifts the second norm", {**plain, "conditioning": "scale_shift"},
                (2, 3, 4, 6), (7, 900), (*SOME, "parameters.up_blocks.0.resnets.0.time_emb_proj.bias"), {
        "halves": Mutant("your first half is the shift", "unet-scale-shift", compute=_otherwise("unet", _halves)),
        "no-one": Mutant("you multiply by scale, not by 1 + scale", "unet-scale-shift", compute=_otherwise("unet", _no_one)),
        "not-activated": NOT_ACTIVATED})
    classes = {**plain, "num_classes": 5}
    yield _unet("classes", "two classes, none, and the first again", classes, (4, 3, 4, 6), (100, 100, 100, 411), (
        "x", "parameters.class_embedding.weight"), {
        "twice": TWICE,
        "null": Mutant("you add nothing where there is no class: that has a row of its own", "unet-classes",
                       compute=_otherwise("unet", _null_is_nothing))}, labels=(3, 0, 5, 3))
    yield _unet("classes-scale-shift", "a class, with scale and shift", {**classes, "conditioning": "scale_shift"}, (1, 3, 4, 6), (998,), (
        "x", "parameters.class_embedding.weight"), {"twice": TWICE}, labels=(4,))
    yield _unet("patches", "2x2 pixels to channels and back", {**plain, "sample_size": 12, "patch_size": 2}, (1, 3, 8, 12), (33,), SOME, {
        "p-q-c": Mutant("your channels of a patch are ordered (p, q, c)", "unet-patches", compute=_otherwise("unet", _patches))})
    yield _unet("small-activations", "images and the first convolution's bias of size 1e-3: the first norm's eps decides", plain,
                (1, 3, 4, 6), (20,), ("x",), {"eps-1e-6": EPS}, scale=1e-3)
    yield _unet("gelu", "gelu in the place of silu", {**plain, "activation": "gelu"}, (1, 3, 4, 6), (64,), SOME, {
        "tanh": TANH_GELU, "silu-elsewhere": SILU_ELSEWHERE})
    yield _unet("relu", "relu in the place of silu", {**plain, "activation": "relu"}, (2, 3, 4, 6), (64, 65), SOME, {
        "not-activated": NOT_ACTIVATED, "silu-elsewhere": SILU_ELSEWHERE})
    yield _unet("rearrange-transposed", "resnet blocks between rearranging and transposed convolutions", {
        **plain, "downsample": "rearrange", "upsample": "transposed"}, (1, 3, 6, 10), (404,), (
        "x", "parameters.down_blocks.0.downsamplers.0.conv.conv.weight", "parameters.up_blocks.0.upsamplers.0.weight"), {
        "p-q-c": P_Q_C, "flipped": FLIPPED})
    yield _unet("stages", "resnet blocks, but one skip a level, as in the course's U-Net", {
        **plain, "sample_size": 4, "skips": "stage", "upsample": "transposed", "up_layers_per_block": 2}, (1, 3, 8, 12), (5,), (
        "x", "parameters.conv_merge.weight", "parameters.up_blocks.1.upsamplers.0.bias"), {"flipped": FLIPPED})


def _of_course() -> Iterator[Case]:
    """The architecture of the course."""
    yield _unet("course", "everything at once, with the gradients of all parameters", COURSE, (2, 3, 8, 8), (0, 149), (), {
        "unscaled": UNSCALED_TIME, "sines-first": SINES_FIRST, "tanh": TANH_GELU, "flipped": FLIPPED, "p-q-c": P_Q_C,
        "flat": Mutant("you flatten the middle in the order (H, W, C)", "network-flat-order", compute=_otherwise("unet", _flat_hwc))})
    yield _unet("course-classes", "a class, none, and another: none is the zero vector", {**COURSE, "num_classes": 5}, (3, 3, 8, 8),
                (40, 41, 999), (*SOME_COURSE, "parameters.class_embeddings.1.linear_1.weight"), {
        "class-adds": Mutant("your class adds and your time multiplies", "unet-stage-conditioning", compute=_changed(_class_adds))},
        labels=(2, 5, 4))
    yield _unet("course-batch-1", "a batch of one, silu, times as they are, three blocks a level on the way up", {
        **COURSE, "up_layers_per_block": 3, "activation": "silu", "time_scale": 1.0}, (1, 3, 8, 8), (77,), SOME_COURSE, {
        "half-minus-one": HALF_MINUS_ONE})


# -- points, and the judge of pictures -----------------------------------------------------------------------------------


def _waves_by_kind(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """All sines before all cosines: the same as weights that expect the columns of the waves in another order."""
    d, periods, weight = settings["dimensions"], len(settings["periods"]), inputs["parameters.hidden.0.weight"]
    order = np.arange(weight.shape[1])
    order[d : d * (1 + 2 * periods)] = d + np.arange(2 * d * periods).reshape(2, periods, d).transpose(1, 0, 2).ravel()
    return {"parameters.hidden.0.weight": weight[:, order]}


def _sines_of_time_first(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    weight, half = inputs["parameters.hidden.0.weight"], settings["time_features"] // 2
    rest, cosines, sines = weight[:, : -2 * half], weight[:, -2 * half : -half], weight[:, -half:]
    return {"parameters.hidden.0.weight": F.cat([rest, sines, cosines], dim=1)}


def _mlp(name: str, reason: str, settings: Mapping[str, Any], t: tuple[int, ...]) -> Case:
    id, shape = f"mlp/{name}", (len(t), settings["dimensions"])
    weights = parameters(id, empty_network({"kind": "mlp", **settings}))
    inputs = {"x": draw(f"{id}:x", *shape), "t": np.array(t, np.int64), **weights, "cotangent": draw(f"{id}:cotangent", *shape)}
    return Case(id, reason, inputs, settings, ("x", *weights), {
        "by-kind": Mutant("your waves are all sines, then all cosines", "mlp-waves", compute=_otherwise("mlp", _waves_by_kind)),
        "no-2-pi": Mutant("your angles lack the 2 pi", "mlp-waves", settings={"periods": [2 * math.pi * p for p in settings["periods"]]}),
        "sines-first": Mutant("your time embedding has the sines first", "unet-time-embedding",
                              compute=_otherwise("mlp", _sines_of_time_first)),
        "times-from-one": _times_from_one("mlp")})


def _scaled_by_dropout(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"parameters.output.weight": inputs["parameters.output.weight"] * 0.7}


def _hidden_hwc(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    weight = inputs["parameters.hidden.weight"]
    return {"parameters.hidden.weight": weight[:, np.arange(weight.shape[1]).reshape(-1, 2 * settings["width"]).T.ravel()]}


def _classifier(name: str, reason: str, settings: Mapping[str, Any], count: int) -> Case:
    id, size = f"classifier/{name}", settings["sample_size"]
    weights = parameters(id, Classifier(**settings))
    inputs = {"x": draw(f"{id}:x", count, settings["in_channels"], size, size), **weights,
              "cotangent": draw(f"{id}:cotangent", count, settings["num_classes"])}
    some = ("x", "parameters.features.0.weight", "parameters.features.5.weight", "parameters.hidden.bias")
    return Case(id, reason, inputs, settings, some, {
        "scaled": Mutant("you multiply by dropout's 1 - p at inference", "classifier-inference",
                         compute=_otherwise("classifier", _scaled_by_dropout)),
        "flat": Mutant("you flatten in the order (H, W, C)", "network-flat-order", compute=_otherwise("classifier", _hidden_hwc))})


# -- walks ---------------------------------------------------------------------------------------------------------------

SCHEDULE = {"beta_schedule": "linear", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}
SMALL = {"kind": "unet", **DDPM, "out_channels": 3, "attention_levels": [], "middle_attention": False}
SCALED_LINEAR = Mutant("your schedule is linear in sqrt(beta)", "trajectory-schedule", settings={"beta_schedule": "scaled_linear"})
LAST = Mutant("your last step goes to the abar of time 0, not to 1", "trajectory-last", settings={"set_alpha_to_one": False})


def _ddim(previous: Callable[[int, Any], int], rederive: bool) -> Callable[..., Any]:
    """DDIM that goes from t to previous(t, settings), below 0 to the data, and may keep the noise from before clipping."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        network, left, x, states = network_of(inputs, settings["network"]), schedule_of(settings).alphas_cumprod, inputs["x"], []
        for t in settings["timesteps"]:
            a, s = float(left[t]), previous(t, settings)
            b = float(left[s]) if s >= 0 else 1.0
            epsilon = network(x, t)
            start = (x - math.sqrt(1 - a) * epsilon) / math.sqrt(a)
            if settings["clip_denoised"]:
                start = start.clip(-1, 1)
                epsilon = (x - math.sqrt(a) * start) / math.sqrt(1 - a) if rederive else epsilon
            x = math.sqrt(b) * start + math.sqrt(1 - b) * epsilon
            states.append(x)
        return {"state": states[settings["state"]], "output": x}

    return compute


def _next_of_list(t: int, settings: Mapping[str, Any]) -> int:
    return [*settings["timesteps"], -1][settings["timesteps"].index(t) + 1]


def _by_stride(t: int, settings: Mapping[str, Any]) -> int:
    return t - settings["num_train_timesteps"] // len(settings["timesteps"])


KEPT = Mutant("you keep the noise from before x_0 was clipped", "trajectory-clipping", compute=_ddim(_next_of_list, False))
STRIDE = Mutant("your next time is t - T // S, not the next of the list", "trajectory-times", compute=_ddim(_by_stride, True))


def _one_later(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    last = settings["num_train_timesteps"] - 1
    return RIGHT["small_unet_trajectory"](inputs, {**settings, "timesteps": [min(t + 1, last) for t in settings["timesteps"]]})


def _noiseless(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return RIGHT["small_unet_trajectory"]({name: x for name, x in inputs.items() if name != "noise"}, {**settings, "eta": 0.0})


LATE = Mutant("your times are one too high: the first time is 0 here", "unet-time-base", compute=_one_later)
NOISELESS = Mutant("you add no noise: that is DDIM", "trajectory-noise", compute=_noiseless)
REPEATED = Mutant("you use the first noise at every step", "trajectory-noise", compute=_otherwise(
    "small_unet_trajectory", lambda inputs, settings: {"noise": F.stack([inputs["noise"][0]] * inputs["noise"].shape[0])}))


def _trajectory(name: str, reason: str, times: list[int], mutants: Mapping[str, Mutant], shape: tuple[int, ...] = (2, 3, 4, 6),
                **settings: Any) -> Case:
    id = f"small_unet_trajectory/{name}"
    settings = {**SCHEDULE, "timesteps": times, "eta": 0.0, "clip_denoised": True, "set_alpha_to_one": True, "state": 1, "network": SMALL,
                **settings}
    inputs = {"x": draw(f"{id}:x", *shape)}
    if settings["eta"]:
        inputs["noise"] = draw(f"{id}:noise", len(times) - 1, *shape)
    return Case(id, reason, {**inputs, **parameters(id, empty_network(settings["network"]))}, settings, (), mutants)


def _trajectories() -> Iterator[Case]:
    """DDIM and DDPM."""
    yield _trajectory("ddim", "seven steps of 1000, which they do not divide, with clipping", [999, 856, 713, 570, 428, 285, 142], {
        "stride": STRIDE, "kept": KEPT, "scaled-linear": SCALED_LINEAR, "last": LAST, "times-from-one": LATE})
    yield _trajectory("ddim-leading", "times that end at 0, and a last step to the data", [750, 500, 250, 0], {"last": LAST})
    yield _trajectory("ddim-to-time-0", "times from 1, and a last step that ends at the noise of time 0", [751, 501, 251, 1], {
        "last": Mutant("your last step goes to abar = 1, not to that of time 0", "trajectory-last", settings={"set_alpha_to_one": True})},
        set_alpha_to_one=False)
    yield _trajectory("ddim-unclipped", "from the middle of the schedule, without clipping", [420, 300, 180, 60], {
        "stride": STRIDE, "scaled-linear": SCALED_LINEAR, "clipped": Mutant(
            "you clip x_0", "trajectory-clipping", settings={"clip_denoised": True})}, clip_denoised=False)
    yield _trajectory("ddpm", "fresh noise, clipping, and a batch of one", [999, 799, 599, 400, 200], {
        "repeated": REPEATED, "noiseless": NOISELESS}, (1, 3, 6, 4), eta=1.0, state=2)
    yield _trajectory("every-step", "S = T: a schedule of eight, all of it", [7, 6, 5, 4, 3, 2, 1, 0], {
        "scaled-linear": SCALED_LINEAR, "repeated": REPEATED}, num_train_timesteps=8, beta_start=0.05, beta_end=0.6, eta=1.0, state=3)
    yield _trajectory("one-step", "S = 1: the first prediction is the answer", [999], {
        "scaled-linear": SCALED_LINEAR}, (1, 3, 4, 6), clip_denoised=False, state=0)
    yield _trajectory("half-way", "eta = 0.5, between DDIM and DDPM", [900, 600, 300], {
        "eta-1": Mutant("your eta is 1", "trajectory-noise", settings={"eta": 1.0})}, eta=0.5)


# -- training ------------------------------------------------------------------------------------------------------------

POINTS = {"kind": "mlp", "dimensions": 3, "width": 7, "depth": 2, "time_features": 6, "periods": [4.0, 2.0]}
TINY = {**SMALL, "block_out_channels": [4], "norm_num_groups": 2}


def _l2(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Decay as part of the gradient, in one step of Adam."""
    out = RIGHT["training_step"](inputs, settings)
    (beta1, beta2), k, lr = settings["betas"], settings["step"], settings["learning_rate"]
    factor = (settings["clip_norm"] / (out["norm"] + 1e-6)).clip(None, 1.0)
    for name in (name for name in inputs if name.startswith("parameters.")):
        theta, first, second = (inputs[kind + name].data for kind in ("", "first_moment.", "second_moment."))
        g = out[f"grad.{name}"].data * factor + settings["weight_decay"] * theta
        m, v = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g * g
        out[f"new.{name}"] = theta - lr * m / (1 - beta1**k) / (np.sqrt(v / (1 - beta2**k)) + settings["eps"])
    return out


def _one_step_of_noise(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """x_t by alpha_t instead of abar_t: the loss sees x_t only through the model, so x_start is chosen to make that x_t."""
    schedule, t = schedule_of(settings), inputs["t"].numpy()
    column = lambda table: extract(table, t, like=inputs["noise"])
    wrong = column(schedule.sqrt_alphas) * inputs["x_start"] + column(schedule.sqrt_betas) * inputs["noise"]
    spread = column(schedule.sqrt_one_minus_alphas_cumprod) * inputs["noise"]
    return {"x_start": (wrong - spread) / column(schedule.sqrt_alphas_cumprod)}


def _sum(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A sum in the place of the mean: clipping or Adam hide it in the weights, the loss and the gradients show it."""
    out, size = RIGHT["training_step"](inputs, settings), inputs["noise"].size
    return {name: x * size if name in ("loss", "norm") or name.startswith("grad.") else x for name, x in out.items()}


TRAINING_MUTANTS = {
    "alpha": Mutant("you make x_t with alpha_t, not with abar_t", "training-noising",
                    compute=_otherwise("training_step", _one_step_of_noise)),
    "times-from-one": Mutant("your times are one too high: the first time is 0 here", "unet-time-base", compute=_otherwise(
        "training_step", lambda inputs, settings: {"t": inputs["t"] + 1})),
    "scaled-linear": SCALED_LINEAR,
    "start": Mutant("your target is x_start, not the noise", "training-loss", settings={"prediction_type": "sample"}),
    "sum": Mutant("your loss is a sum, not a mean", "training-loss", compute=_sum),
    "l2": Mutant("your weight decay is part of the gradient: that is Adam with L2", "training-update", compute=_l2),
    "unclipped": Mutant("you do not clip the gradient", "training-update", settings={"clip_norm": 1e9}),
    "eps": Mutant("your eps of AdamW is 1e-3", "training-update", settings={"eps": 1e-3}),
}


def _training_step(name: str, reason: str, network: Mapping[str, Any], shape: tuple[int, ...], t: tuple[int, ...], step: int,
                   mutants: Mapping[str, Mutant], clip_norm: float) -> Case:
    """Step number `step` of a training: with moments of zero at the first, else with some."""
    id = f"training_step/{name}"
    settings = {**SCHEDULE, "prediction_type": "epsilon", "clip_norm": clip_norm, "learning_rate": 2.0 ** -7, "betas": [0.9, 0.999],
                "eps": 1e-8, "weight_decay": 0.125, "step": step, "network": dict(network)}
    weights = parameters(id, empty_network(network))
    inputs = {"x_start": draw(f"{id}:x_start", *shape), "t": np.array(t, np.int64), "noise": draw(f"{id}:noise", *shape), **weights}
    for key, x in weights.items():
        inputs[f"first_moment.{key}"] = draw(f"{id}:first:{key}", *x.shape, scale=0.02) * np.float32(step > 1)
        inputs[f"second_moment.{key}"] = (0.01 * np.abs(draw(f"{id}:second:{key}", *x.shape, mean=0.03, scale=0.01))).astype(
            np.float32) * np.float32(step > 1)
    inputs["cotangent.loss"] = np.ones((), np.float32)
    return Case(id, reason, inputs, settings, tuple(weights), mutants)


def _training() -> Iterator[Case]:
    """First and later steps."""
    first = {name: mutant for name, mutant in TRAINING_MUTANTS.items() if name != "unclipped"}
    later = {**TRAINING_MUTANTS, "uncorrected": Mutant("you correct the moments' bias as if this were the first step", "training-update",
                                                       settings={"step": 1})}
    yield _training_step("mlp-first", "the first step of all: moments of zero, a gradient that is not clipped", POINTS, (5, 3),
                         (0, 17, 250, 500, 998), 1, first, 100.0)
    yield _training_step("mlp-later", "step 7, with moments and clipping", POINTS, (3, 3), (31, 700, 4), 7, later, 0.5)
    some = {name: later[name] for name in ("alpha", "l2")}
    yield _training_step("unet-later", "a small U-Net at step 100, with moments and clipping", TINY, (2, 3, 4, 6), (60, 830), 100, some,
                         0.25)


def cases() -> Iterator[Case]:
    """U-Nets, the smaller networks, walks, steps of training."""
    yield from _of_ddpm()
    yield from _of_course()
    yield _mlp("points", "points in space, two hidden layers", {
        "dimensions": 3, "width": 7, "depth": 2, "time_features": 6, "periods": [4.0, 2.0, 1.0, 0.5, 0.25]}, (0, 13, 999))
    yield _mlp("one-layer", "one coordinate, one hidden layer, a batch of one", {
        "dimensions": 1, "width": 5, "depth": 1, "time_features": 4, "periods": [4.0, 2.0, 1.0]}, (500,))
    yield _classifier("grey", "grey images, more classes than channels", {
        "num_classes": 11, "in_channels": 1, "sample_size": 8, "width": 4}, 3)
    yield _classifier("colour", "colour images, a batch of one", {"num_classes": 5, "in_channels": 3, "sample_size": 12, "width": 8}, 1)
    yield from _trajectories()
    yield from _training()
