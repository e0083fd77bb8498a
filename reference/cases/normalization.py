"""Norms: where eps, the set of elements, the divisor of the variance and the way to it show.

What lies where is seen at inputs of ordinary size; eps at inputs of size 1e-3; the way to the variance at inputs around 1000.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minidiff import functional as F
from reference.case import Case, Mutant, Note, Operation, draw

CHAPTER = "docs/layers.md#2-norms"

AFFINE = {"weight": "(C,), one number a channel; if missing: ones", "bias": "(C,), one number a channel; if missing: zeros"}
RUNNING = {"running_mean": "(C,)", "running_var": "(C,)"}
NORMALIZED = {"weight": "of shape normalized_shape; if missing: ones", "bias": "of shape normalized_shape; if missing: zeros"}
SHAPE = "the sizes of the last dimensions of the input: those that are normalized over"

OPERATIONS = {
    "group_norm": Operation(
        equation="y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c]; mean and var of each sample over each of num_groups groups "
                 "of neighbouring channels and all positions; var is biased: divided by the number of elements",
        chapter=CHAPTER,
        inputs={"input": "(N, C, ...)", **AFFINE},
        settings={"num_groups": "how many groups the channels form, a divisor of C", "eps": "added to the variance"},
        outputs={"output": "like input"},
    ),
    "layer_norm": Operation(
        equation="y = (x - mean) / sqrt(var + eps) * weight + bias; mean and biased var over the last dimensions, those of "
                 "normalized_shape",
        chapter=CHAPTER,
        inputs={"input": "(..., *normalized_shape)", **NORMALIZED},
        settings={"normalized_shape": SHAPE, "eps": "added to the variance"},
        outputs={"output": "like input"},
    ),
    "instance_norm": Operation(
        equation="y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c]; mean and biased var of each channel of each sample over its "
                 "positions, or running_mean[c] and running_var[c]",
        chapter=CHAPTER,
        inputs={"input": "(N, C, L, ...)", **RUNNING, **AFFINE},
        settings={"use_input_stats": "true: mean and var are the input's; false: they are running_mean and running_var",
                  "eps": "added to the variance"},
        outputs={"output": "like input"},
    ),
    "batch_norm": Operation(
        equation="y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c]; mean and biased var of each channel over samples and positions, "
                 "or running_mean[c] and running_var[c]",
        chapter=CHAPTER,
        inputs={"input": "(N, C, ...)", **RUNNING, **AFFINE},
        settings={"training": "true: mean and var are the batch's; false: they are running_mean and running_var",
                  "eps": "added to the variance"},
        outputs={"output": "like input; what becomes of the running statistics is asked for by running_statistics"},
    ),
    "running_statistics": Operation(
        equation="running_mean' = (1 - momentum) running_mean + momentum mean, running_var' = (1 - momentum) running_var + momentum var; "
                 "mean and unbiased var (divided by the number less 1) of each channel",
        chapter=CHAPTER,
        inputs={"input": "(N, C, ...)", **RUNNING},
        settings={"momentum": "the part of the new statistics, 0 to 1",
                  "each_sample": "false, as batch_norm has it: mean and var over samples and positions; true, as instance_norm has it: "
                                 "over the positions of each sample, then the mean over the samples"},
        outputs={"running_mean": "(C,)", "running_var": "(C,)"},
    ),
    "rms_norm": Operation(
        equation="y = x / sqrt(mean(x^2) + eps) * weight; the mean over the last dimensions, those of normalized_shape",
        chapter=CHAPTER,
        inputs={"input": "(..., *normalized_shape)", "weight": NORMALIZED["weight"]},
        settings={"normalized_shape": SHAPE, "eps": "added to the mean of the squares"},
        outputs={"output": "like input"},
    ),
    "normalize": Operation(
        equation="y = x / max(||x||, eps), ||x|| = (sum |x_i|^p)^(1/p) along dim",
        chapter=CHAPTER,
        inputs={"input": "any shape"},
        settings={"p": "the exponent of the norm", "dim": "a dimension, or a list of them", "eps": "the least number to divide by"},
        outputs={"output": "like input"},
    ),
    "cosine_similarity": Operation(
        equation="y = sum_i x1_i x2_i / (max(||x1||, eps) max(||x2||, eps)) along dim; x1 and x2 broadcast to a common shape",
        chapter=CHAPTER,
        inputs={"x1": "any shape", "x2": "any shape that broadcasts with x1"},
        settings={"dim": "a dimension of the common shape", "eps": "the least length of a vector"},
        outputs={"output": "the common shape without dim"},
    ),
}

NOTES = {
    "norm-eps": Note(
        kind="default",
        about="eps is 1e-5 in PyTorch's norms, 1e-6 at some sites of a model, 1e-3 in Keras. Each site has its own; configurations say it.",
        effect="Invisible for activations of ordinary size; flat regions and small activations change contrast.",
        seen=("latent-diffusion: Normalize of ldm/modules/diffusionmodules/model.py (autoencoder) has 1e-6, GroupNorm32 of the U-Net 1e-5",
              "diffusers: UNet2DConditionModel has norm_eps=1e-5, its transformers' GroupNorm and AutoencoderKL 1e-6"),
    ),
    "norm-eps-place": Note(
        kind="formula",
        about="eps is added to the variance, under the square root; not to the standard deviation.",
        effect="As another eps: small activations change contrast.",
    ),
    "norm-variance": Note(
        kind="formula",
        about="Norms divide the squares by n, not by n - 1, which is the default of torch.var and torch.std but not of numpy.var.",
        effect="Contrast too low by 1/(2n): small at first sight, but it adds up over all the layers of a network.",
    ),
    "norm-one-pass": Note(
        kind="numerics",
        about="The variance as E x^2 - (E x)^2 loses twice the digits that the mean has before the deviation; subtract the mean first, or "
              "take Welford's algorithm.",
        effect="At a mean of 1000 and a deviation of 1 the variance is wrong by percents in float32; at 1/5 it may be negative: NaN.",
    ),
    "norm-groups": Note(
        kind="indexing",
        about="A group are C / num_groups neighbouring channels, reshape(N, num_groups, -1); num_groups is their number, not their size.",
        effect="Trained from scratch nothing shows; with loaded weights colours and contrast are wrong everywhere.",
    ),
    "norm-affine": Note(
        kind="convention",
        about="weight and bias of GroupNorm are one number a channel, not one a group, and follow the normalization.",
        effect="With loaded weights the shapes do not fit; trained from scratch a weaker network.",
        seen=("ONNX: GroupNormalization of opset 18 has scale and bias for each group, that of opset 21 for each channel",),
    ),
    "norm-dimensions": Note(
        kind="indexing",
        about="Which elements share a mean is what tells the norms apart: group, layer, instance and batch norm differ in nothing else.",
        effect="Samples of a batch depend on each other, or positions lose their contrast; loaded weights give washed out images.",
    ),
    "norm-statistics": Note(
        kind="convention",
        about="In training the batch's own statistics are used, in evaluation the running ones; running_var is a variance, no deviation.",
        effect="An image depends on the others in its batch, and a batch of one is wrong.",
    ),
    "norm-momentum": Note(
        kind="convention",
        about="momentum is the part of the new statistics in PyTorch (0.1), of the old ones in TensorFlow, Keras and Flax (0.9 or 0.99).",
        effect="The running statistics are nearly those of the last batch alone: evaluation is noisy and worse than training.",
        seen=("torch.nn.BatchNorm2d: momentum=0.1; keras.layers.BatchNormalization: momentum=0.99",),
    ),
    "norm-running-variance": Note(
        kind="convention",
        about="The variance that is kept is the unbiased one, though the batch is normalized by the biased one.",
        effect="In evaluation the contrast is off by 1/(2n): it matters for small batches of few positions.",
        seen=("torch.nn.BatchNorm2d keeps the unbiased variance, flax.linen.BatchNorm the biased one",),
    ),
    "rms-norm-mean": Note(
        kind="formula",
        about="RMSNorm subtracts no mean, and divides by the root of the mean of the squares: not by the deviation, not by the length.",
        effect="Loaded weights give noise; a length in place of a root mean square makes every token smaller by sqrt(size).",
    ),
    "rms-norm-weight": Note(
        kind="convention",
        about="The weight multiplies as it is; some models keep it less 1.",
        effect="Loaded weights scale every feature wrongly.",
        seen=("Gemma multiplies by 1 + weight",),
    ),
    "normalize-eps": Note(
        kind="convention",
        about="A vector shorter than eps is divided by eps. Adding eps to the length, or to the squares under the root, is something else.",
        effect="None but for vectors near zero; those differ, and a vector of zeros gives NaN where eps is forgotten.",
        seen=("tf.math.l2_normalize has its epsilon under the root, as the least sum of squares",),
    ),
    "normalize-root": Note(
        kind="formula",
        about="A vector is divided by its length, not by its length squared, and by the norm that is asked for.",
        effect="Similarities depend on the size of the features; contrastive training diverges.",
    ),
    "normalize-dim": Note(
        kind="indexing",
        about="dim is where the vectors lie. PyTorch's default is 1: the channels of (N, C, H, W), but the tokens of (N, L, features).",
        effect="Features are normalized over the tokens, or the batch: similarities look random.",
    ),
    "cosine-eps": Note(
        kind="convention",
        about="Each length is at least eps; earlier versions of PyTorch had eps as the least product of the two.",
        effect="None but for vectors near zero.",
        seen=("torch.nn.functional.cosine_similarity of version 1.10 clamps the product of the lengths",),
    ),
    "cosine-product": Note(
        kind="formula",
        about="Both vectors are normalized, and the result is a similarity, 1 for parallel vectors; a distance is 1 less that.",
        effect="The larger features win every comparison, or the loss is minimized with the wrong sign.",
    ),
}


# -- what is done wrong ----------------------------------------------------------------------------------------------


def _in_one_pass(x: Any, over: Sequence[int]) -> Any:
    """E x^2 - (E x)^2 of moments in float32, and not below 0. They are float64's, rounded: every dtype gives the same wrong digits."""
    x_wide = x.astype(np.float64)
    square, mean = (F.mean(y, over, keepdim=True).astype(np.float32) for y in (x_wide * x_wide, x_wide))
    return F.clamp(square - mean * mean, min=0.0).astype(x.dtype)


def _standardized(x: Any, over: Sequence[int], eps: float, *, correction: int = 0, outside: bool = False, one_pass: bool = False) -> Any:
    """(x - mean) / sqrt(var + eps) over these dimensions."""
    over = tuple(over)
    variance = _in_one_pass(x, over) if one_pass else F.var(x, over, correction=correction, keepdim=True)
    return (x - F.mean(x, over, keepdim=True)) / (F.sqrt(variance) + eps if outside else F.sqrt(variance + eps))


def _scaled(y: Any, inputs: Mapping[str, Any], shape: Sequence[int]) -> Any:
    """y weight + bias, both seen in this shape, if they are there."""
    for name, put in (("weight", F.mul), ("bias", F.add)):
        y = put(y, F.reshape(inputs[name], tuple(shape))) if name in inputs else y
    return y


def _channelwise(x: Any) -> tuple[int, ...]:
    return (-1, *(1,) * (len(x.shape) - 2))


def _groups(x: Any, settings: Mapping[str, Any]) -> tuple[int, ...]:
    return x.shape[0], settings["num_groups"], -1


def _in_groups(**wrong: Any) -> Callable[[Any, Any], Any]:
    """GroupNorm with these options of `_standardized`."""
    def compute(inputs, settings):
        x = inputs["input"]
        y = _standardized(F.reshape(x, _groups(x, settings)), (2,), settings["eps"], **wrong)
        return _scaled(F.reshape(y, x.shape), inputs, _channelwise(x))

    return compute


def _interleaved(inputs, settings):
    x = inputs["input"]
    apart = F.reshape(x, (x.shape[0], x.shape[1] // settings["num_groups"], settings["num_groups"], -1))
    return _scaled(F.reshape(_standardized(apart, (1, 3), settings["eps"]), x.shape), inputs, _channelwise(x))


def _affine_of_groups(inputs, settings):
    groups, channels = settings["num_groups"], inputs["input"].shape[1]
    of_groups = {name: F.repeat_interleave(inputs[name][:groups], channels // groups, dim=0) for name in ("weight", "bias")}
    return F.group_norm(inputs["input"], groups, of_groups["weight"], of_groups["bias"], settings["eps"])


def _affine_first(inputs, settings):
    x = _scaled(inputs["input"], inputs, _channelwise(inputs["input"]))
    return F.group_norm(x, settings["num_groups"], eps=settings["eps"])


def _over(choose: Callable[[int], Sequence[int]], **wrong: Any) -> Callable[[Any, Any], Any]:
    """A norm of channels over other dimensions, which `choose` gives for their number."""
    def compute(inputs, settings):
        x = inputs["input"]
        return _scaled(_standardized(x, choose(len(x.shape)), settings["eps"], **wrong), inputs, _channelwise(x))

    return compute


def _over_trailing(choose: Callable[[int, int], Sequence[int]], **wrong: Any) -> Callable[[Any, Any], Any]:
    """LayerNorm over other dimensions, which `choose` gives for the number of all and of the normalized ones."""
    def compute(inputs, settings):
        x, shape = inputs["input"], settings["normalized_shape"]
        return _scaled(_standardized(x, choose(len(x.shape), len(shape)), settings["eps"], **wrong), inputs, shape)

    return compute


LAST = lambda n, k: range(n - k, n)
POSITIONS = lambda n: range(2, n)
BATCH = lambda n: (0, *range(2, n))
SAMPLE = lambda n: range(1, n)
CHANNELS = lambda n: (1,)


def _eps(norm: str, eps: float) -> dict[str, Mutant]:
    text = f"1e{math.log10(eps):.0f}"
    return {f"eps-{text}": Mutant(f"your {norm} uses eps={text}", "norm-eps", settings={"eps": eps})}


def _variants(norm: str, over: Callable[..., Any]) -> dict[str, Mutant]:
    """The mistakes in a variance, for a norm that `over` makes from options of `_standardized`."""
    return {
        "unbiased": Mutant(f"your {norm} divides the squares by n - 1", "norm-variance", compute=over(correction=1)),
        "eps-outside": Mutant(f"your {norm} adds eps to the standard deviation", "norm-eps-place", compute=over(outside=True)),
        "one-pass": Mutant(f"your {norm} takes the variance as E x^2 - (E x)^2 in float32", "norm-one-pass", compute=over(one_pass=True)),
    }


GROUP = _variants("GroupNorm", _in_groups)
LAYER = _variants("LayerNorm", lambda **wrong: _over_trailing(LAST, **wrong))
INSTANCE = _variants("InstanceNorm", lambda **wrong: _over(POSITIONS, **wrong))
BATCHES = _variants("BatchNorm", lambda **wrong: _over(BATCH, **wrong))


def _elsewhere(norm: str, name: str, where: str, compute: Callable[[Any, Any], Any]) -> dict[str, Mutant]:
    return {name: Mutant(f"your {norm} takes mean and variance over {where}", "norm-dimensions", compute=compute)}


GROUP_INTERLEAVED = Mutant("your GroupNorm interleaves its groups: channel c belongs to group c mod num_groups", "norm-groups",
                           compute=_interleaved)
GROUP_OVER_BATCH = _elsewhere("GroupNorm", "over-batch", "the samples of the batch", _over(BATCH))


def _of_size(size: int) -> Mutant:
    """num_groups taken for the size of a group; size: the number of groups that follows."""
    return Mutant("your GroupNorm takes num_groups for the size of a group", "norm-groups", settings={"num_groups": size})


# -- mean and variance -----------------------------------------------------------------------------------------------


def _case(id: str, reason: str, settings: Mapping[str, Any], mutants: Mapping[str, Mutant], shape: tuple[int, ...],
          parameters: Sequence[int] = (), names: Sequence[str] = ("weight", "bias"), *, scale: float = 1.0, mean: float = 0.0,
          known: Mapping[str, np.ndarray] | None = None) -> Case:
    """parameters: the shape of weight and bias, if there are any. known: further inputs, whose gradients are not asked for."""
    inputs = {"input": draw(f"{id}:input", *shape, scale=scale, mean=mean)}
    if parameters:
        inputs |= {name: draw(f"{id}:{name}", *parameters, scale=0.5, mean=1.5 if name == "weight" else -0.75) for name in names}
    rest = {**(known or {}), "cotangent": draw(f"{id}:cotangent", *shape)}
    return Case(id, reason, {**inputs, **rest}, settings, tuple(inputs), mutants)


def _group_norm(name: str, reason: str, shape: tuple[int, ...], groups: int, mutants: Mapping[str, Mutant], *, eps: float = 1e-5,
                affine: bool = True, **sizes: Any) -> Case:
    return _case(f"group_norm/{name}", reason, {"num_groups": groups, "eps": eps}, mutants, shape, shape[1:2] if affine else (), **sizes)


def _group_norm_cases() -> Iterator[Case]:
    yield _group_norm("ordinary", "3 groups of 2 channels, 5 x 3 positions: which elements share a mean", (2, 6, 5, 3), 3, {
        "unbiased": GROUP["unbiased"], "interleaved": GROUP_INTERLEAVED, "group-size": _of_size(2), **GROUP_OVER_BATCH,
        "affine-of-groups": Mutant("your GroupNorm has weight and bias for each group", "norm-affine", compute=_affine_of_groups),
        "affine-first": Mutant("your GroupNorm applies weight and bias before it normalizes", "norm-affine", compute=_affine_first),
        **_elsewhere("GroupNorm", "over-channels", "the channels of each position", _over(CHANNELS))})
    yield _group_norm("tiny", "inputs of size 1e-3: eps=1e-5 is ten times their variance", (1, 6, 3, 5), 3, {
        **_eps("GroupNorm", 1e-6), **_eps("GroupNorm", 1e-3), "eps-outside": GROUP["eps-outside"]}, scale=1e-3)
    yield _group_norm("tiny-eps-1e-6", "the eps of latent diffusion's autoencoder, at inputs of size 1e-3", (2, 6, 5, 3), 2, {
        **_eps("GroupNorm", 1e-5), "eps-outside": GROUP["eps-outside"]}, eps=1e-6, scale=1e-3)
    yield _group_norm("mean-1000", "a mean of 1000 and a deviation of 1/2: one pass loses the variance", (2, 6, 5, 7), 3, {
        "one-pass": GROUP["one-pass"]}, scale=0.5, mean=1000.0)
    yield _group_norm("one-group", "num_groups = 1: the whole sample", (2, 5, 3, 7), 1, {
        "group-size": _of_size(5), **_elsewhere("GroupNorm", "over-channels", "the channels of each position", _over(CHANNELS)),
        **GROUP_OVER_BATCH})
    yield _group_norm("group-a-channel", "num_groups = C: each channel for itself", (2, 3, 5, 7), 3, {
        "group-size": _of_size(1), **GROUP_OVER_BATCH})
    yield _group_norm("sequence", "positions in one dimension, 4 neighbouring channels a group", (1, 12, 7), 3, {
        "interleaved": GROUP_INTERLEAVED, "group-size": _of_size(4)})
    yield _group_norm("volume", "positions in three dimensions", (2, 4, 3, 2, 5), 2, {
        "interleaved": GROUP_INTERLEAVED, "unbiased": GROUP["unbiased"]})
    yield _group_norm("no-positions", "(N, C) alone: 3 elements a group, where n - 1 is far from n", (3, 6), 2, {
        "unbiased": GROUP["unbiased"], "interleaved": GROUP_INTERLEAVED})
    yield _group_norm("32-groups", "32 groups, as U-Nets have it; 2 channels each, 3 x 1 positions", (1, 64, 3, 1), 32, {
        "interleaved": GROUP_INTERLEAVED, "group-size": _of_size(2)})
    yield _group_norm("without-affine", "no weight and no bias: ones and zeros", (2, 6, 3, 5), 2, {
        "interleaved": GROUP_INTERLEAVED, "unbiased": GROUP["unbiased"]}, affine=False)
    yield _group_norm("flat", "a deviation of 1e-4 around 1/2, as in a black image: eps alone decides", (1, 4, 3, 5), 2, {
        **_eps("GroupNorm", 1e-6), **_eps("GroupNorm", 1e-3), "eps-outside": GROUP["eps-outside"]}, scale=1e-4, mean=0.5)


def _layer_norm(name: str, reason: str, shape: tuple[int, ...], last: int, mutants: Mapping[str, Mutant], *, eps: float = 1e-5,
                affine: bool = True, **sizes: Any) -> Case:
    """last: how many dimensions are normalized."""
    normalized = shape[-last:]
    return _case(f"layer_norm/{name}", reason, {"normalized_shape": list(normalized), "eps": eps}, mutants, shape,
                 normalized if affine else (), **sizes)


LAYER_LAST_ONLY = _elsewhere("LayerNorm", "last-only", "the last dimension alone", _over_trailing(lambda n, k: (n - 1,)))
LAYER_OVER_TOKENS = _elsewhere("LayerNorm", "over-tokens", "the tokens", _over_trailing(lambda n, k: (n - 2,)))
LAYER_WHOLE = _elsewhere("LayerNorm", "whole-sample", "the whole sample", _over_trailing(lambda n, k: range(1, n)))


def _layer_norm_cases() -> Iterator[Case]:
    yield _layer_norm("ordinary", "the features of each token", (2, 5, 7), 1, {
        "unbiased": LAYER["unbiased"], **LAYER_OVER_TOKENS, **LAYER_WHOLE})
    yield _layer_norm("two-dimensions", "normalized over the last two dimensions, which weight and bias have too", (3, 5, 7), 2, {
        **LAYER_LAST_ONLY, "unbiased": LAYER["unbiased"]})
    yield _layer_norm("tiny", "inputs of size 1e-3: eps decides", (2, 3, 11), 1, {
        **_eps("LayerNorm", 1e-6), **_eps("LayerNorm", 1e-12), "eps-outside": LAYER["eps-outside"]}, scale=1e-3)
    yield _layer_norm("tiny-eps-1e-6", "eps=1e-6, no weight and no bias, as in diffusion transformers; inputs of size 1e-3", (1, 5, 7), 1, {
        **_eps("LayerNorm", 1e-5), "eps-outside": LAYER["eps-outside"]}, eps=1e-6, affine=False, scale=1e-3)
    yield _layer_norm("mean-1000", "a mean of 1000 and a deviation of 1/2: one pass loses the variance", (1, 3, 23), 1, {
        "one-pass": LAYER["one-pass"]}, scale=0.5, mean=1000.0)
    yield _layer_norm("image", "the channels of each position, moved to the end, of an image", (2, 3, 5, 7), 1, {
        **LAYER_WHOLE, **LAYER_OVER_TOKENS})


def _statistics(id: str, channels: int, *, variance: float = 1.0, mean: float = 0.0) -> dict[str, np.ndarray]:
    """Running statistics: variances between 1 and 2 times the given one, apart from 1."""
    above = np.float32(1.125) + np.abs(draw(f"{id}:running_var", channels)) % np.float32(0.75)
    return {"running_mean": draw(f"{id}:running_mean", channels, mean=mean), "running_var": np.float32(variance) * above}


def _instance_norm(name: str, reason: str, shape: tuple[int, ...], mutants: Mapping[str, Mutant], *, known: bool = False, eps: float = 1e-5,
                   affine: bool = True, **sizes: Any) -> Case:
    """known: by running statistics."""
    id = f"instance_norm/{name}"
    return _case(id, reason, {"use_input_stats": not known, "eps": eps}, mutants, shape, shape[1:2] if affine else (),
                 known=_statistics(id, shape[1]) if known else None, **sizes)


def _instance_norm_cases() -> Iterator[Case]:
    over_batch = _elsewhere("InstanceNorm", "over-batch", "the samples of the batch", _over(BATCH))
    yield _instance_norm("ordinary", "the positions of each channel of each sample", (2, 3, 5, 7), {
        "unbiased": INSTANCE["unbiased"], **over_batch, **_elsewhere("InstanceNorm", "over-sample", "all channels", _over(SAMPLE))})
    yield _instance_norm("tiny", "inputs of size 1e-3: eps decides", (1, 3, 5, 3), {
        **_eps("InstanceNorm", 1e-6), **_eps("InstanceNorm", 1e-3), "eps-outside": INSTANCE["eps-outside"]}, scale=1e-3)
    yield _instance_norm("sequence", "3 positions in one dimension, no weight and no bias", (2, 5, 3), {
        "unbiased": INSTANCE["unbiased"], **over_batch}, affine=False)
    yield _instance_norm("known-statistics", "by running_mean and running_var", (2, 3, 5), {
        "input-statistics": Mutant("your InstanceNorm uses the input's statistics where the running ones are asked for", "norm-statistics",
                                   settings={"use_input_stats": True})}, known=True)


def _batch_norm(name: str, reason: str, shape: tuple[int, ...], mutants: Mapping[str, Mutant], *, training: bool, eps: float = 1e-5,
                affine: bool = True, variance: float = 1.0, **sizes: Any) -> Case:
    id = f"batch_norm/{name}"
    return _case(id, reason, {"training": training, "eps": eps}, mutants, shape, shape[1:2] if affine else (),
                 known=_statistics(id, shape[1], variance=variance, mean=0.5), **sizes)


def _by_deviation(inputs, settings):
    return F.batch_norm(**{**inputs, "running_var": inputs["running_var"] * inputs["running_var"]}, **settings)


def _batch_norm_cases() -> Iterator[Case]:
    batch = Mutant("your BatchNorm uses the batch's statistics in evaluation", "norm-statistics", settings={"training": True})
    running = Mutant("your BatchNorm uses the running statistics in training", "norm-statistics", settings={"training": False})
    deviation = Mutant("your BatchNorm takes running_var for a standard deviation", "norm-statistics", compute=_by_deviation)
    yield _batch_norm("training", "each channel over samples and positions", (3, 5, 2, 7), {
        "running": running, "unbiased": BATCHES["unbiased"], **_elsewhere("BatchNorm", "each-sample", "each sample", _over(POSITIONS)),
        **_elsewhere("BatchNorm", "all-channels", "all channels", _over(lambda n: range(n)))}, training=True)
    yield _batch_norm("training-no-positions", "(N, C) alone: 5 elements a channel", (5, 3), {
        "unbiased": BATCHES["unbiased"], "running": running}, training=True)
    yield _batch_norm("training-tiny", "inputs of size 1e-3: eps decides", (3, 2, 5), {
        **_eps("BatchNorm", 1e-3), **_eps("BatchNorm", 1e-6), "eps-outside": BATCHES["eps-outside"]}, training=True, scale=1e-3)
    yield _batch_norm("training-mean-1000", "a mean of 1000 and a deviation of 1/2: one pass loses the variance", (2, 3, 5, 7), {
        "one-pass": BATCHES["one-pass"], "running": running}, training=True, scale=0.5, mean=1000.0, affine=False)
    yield _batch_norm("evaluation", "by the running statistics", (2, 3, 5, 7), {"batch": batch, "deviation": deviation}, training=False)
    yield _batch_norm("evaluation-tiny", "running variances of 1e-6: eps decides", (2, 3, 5), {
        **_eps("BatchNorm", 1e-3), **_eps("BatchNorm", 1e-6), "batch": batch}, training=False, variance=1e-6, scale=1e-3)


# -- running statistics ----------------------------------------------------------------------------------------------


def _biased(inputs, settings):
    """Running statistics with a variance that is divided by n: the unbiased one's share of it, less."""
    x = inputs["input"]
    n = x.shape[0] * math.prod(x.shape[2:])
    mean, var = F.running_statistics(**inputs, **settings)
    kept = (1.0 - settings["momentum"]) * inputs["running_var"]
    return {"running_mean": mean, "running_var": kept + (var - kept) * ((n - 1) / n)}


def _running_statistics(
    name: str, reason: str, shape: tuple[int, ...], momentum: float, each_sample: bool, mutants: Mapping[str, Mutant],
) -> Case:
    id = f"running_statistics/{name}"
    inputs = {"input": draw(f"{id}:input", *shape, mean=0.25), **_statistics(id, shape[1])}
    reverse = Mutant("your running statistics have momentum as the part of the old ones", "norm-momentum",
                     settings={"momentum": 1.0 - momentum})
    return Case(id, reason, inputs, {"momentum": momentum, "each_sample": each_sample}, (), {"momentum-of-old": reverse, **mutants})


def _running_statistics_cases() -> Iterator[Case]:
    biased = Mutant("your running variance is the biased one", "norm-running-variance", compute=_biased)
    pooled = Mutant("your running statistics are over all samples together", "norm-dimensions", settings={"each_sample": False})
    single = Mutant("your running statistics are the mean over the samples of theirs", "norm-dimensions", settings={"each_sample": True})
    yield _running_statistics("batch", "after a batch, as BatchNorm keeps them", (2, 3, 5), 0.1, False, {
        "biased": biased, "each-sample": single})
    yield _running_statistics("instance", "after a batch, as InstanceNorm keeps them", (3, 2, 5), 0.1, True, {"pooled": pooled})
    yield _running_statistics("no-positions", "(N, C) alone, momentum 1/4", (5, 3), 0.25, False, {"biased": biased})


# -- divided by a size -----------------------------------------------------------------------------------------------


def _rms(change: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """RMSNorm that divides by what `change` makes of the input, the dimensions and eps."""
    def compute(inputs, settings):
        x, shape = inputs["input"], settings["normalized_shape"]
        return _scaled(x / change(x, tuple(range(-len(shape), 0)), settings["eps"]), inputs, shape)

    return compute


RMS = {
    "subtracts-mean": Mutant("your RMSNorm subtracts the mean, as LayerNorm does", "rms-norm-mean", compute=_over_trailing(LAST)),
    "deviation": Mutant("your RMSNorm divides by the standard deviation", "rms-norm-mean", compute=_rms(
        lambda x, over, eps: F.sqrt(F.var(x, over, correction=0, keepdim=True) + eps))),
    "length": Mutant("your RMSNorm divides by the length: the sum of the squares, not their mean", "rms-norm-mean", compute=_rms(
        lambda x, over, eps: F.sqrt(F.sum(x * x, over, keepdim=True) + eps))),
    "eps-outside": Mutant("your RMSNorm adds eps to the root mean square", "norm-eps-place", compute=_rms(
        lambda x, over, eps: F.sqrt(F.mean(x * x, over, keepdim=True)) + eps)),
    "last-only": Mutant("your RMSNorm takes the mean over the last dimension alone", "norm-dimensions", compute=_rms(
        lambda x, over, eps: F.sqrt(F.mean(x * x, -1, keepdim=True) + eps))),
    "one-plus": Mutant("your RMSNorm multiplies by 1 + weight", "rms-norm-weight",
                       compute=lambda inputs, settings: F.rms_norm(inputs["input"], settings["normalized_shape"], 1.0 + inputs["weight"],
                                                                   settings["eps"])),
}


def _rms_norm(name: str, reason: str, shape: tuple[int, ...], last: int, mutants: Mapping[str, Mutant], *, eps: float = 1e-6,
              affine: bool = True, **sizes: Any) -> Case:
    normalized = shape[-last:]
    return _case(f"rms_norm/{name}", reason, {"normalized_shape": list(normalized), "eps": eps}, mutants, shape,
                 normalized if affine else (), ("weight",), **sizes)


def _rms_norm_cases() -> Iterator[Case]:
    yield _rms_norm("ordinary", "the features of each token, whose mean is not 0", (2, 5, 7), 1, {
        name: RMS[name] for name in ("subtracts-mean", "deviation", "length", "one-plus")}, mean=0.5)
    yield _rms_norm("tiny", "inputs of size 1e-3: eps decides", (2, 3, 11), 1, {
        **_eps("RMSNorm", 1e-5), **_eps("RMSNorm", 1e-8), "eps-outside": RMS["eps-outside"]}, scale=1e-3)
    yield _rms_norm("two-dimensions", "normalized over the last two dimensions, no weight", (2, 3, 5), 2, {
        "last-only": RMS["last-only"], "length": RMS["length"]}, affine=False)
    yield _rms_norm("mean-1000", "around 1000 the result is near 1, and its slope small", (1, 3, 7), 1, {
        "length": RMS["length"], "one-plus": RMS["one-plus"]}, mean=1000.0)


def _divided(size: Callable[[Any, Any, float], Any]) -> Callable[[Any, Any], Any]:
    """x / size(x, dim, eps)."""
    return lambda inputs, settings: inputs["input"] / size(inputs["input"], settings["dim"], settings["eps"])


EPS_ADDED = Mutant("your normalize adds eps to the length", "normalize-eps", compute=_divided(
    lambda x, dim, eps: F.norm(x, 2.0, dim, keepdim=True) + eps))
EPS_UNDER_ROOT = Mutant("your normalize adds the square of eps under the root", "normalize-eps", compute=_divided(
    lambda x, dim, eps: F.sqrt(F.sum(x * x, dim, keepdim=True) + eps * eps)))
LEAST_SQUARES = Mutant("your normalize has eps as the least sum of squares", "normalize-eps", compute=_divided(
    lambda x, dim, eps: F.sqrt(F.clamp(F.sum(x * x, dim, keepdim=True), min=eps))))
SQUARED = Mutant("your normalize divides by the square of the length", "normalize-root", compute=_divided(
    lambda x, dim, eps: F.sum(x * x, dim, keepdim=True)))


def _normalize(name: str, reason: str, shape: tuple[int, ...], mutants: Mapping[str, Mutant], *, p: float = 2.0, dim: int | list[int] = 1,
               eps: float = 1e-12, scale: float = 1.0, zero: bool = False) -> Case:
    """zero: the first vector of each sample is 0."""
    case = _case(f"normalize/{name}", reason, {"p": p, "dim": dim, "eps": eps}, mutants, shape, scale=scale)
    if zero:
        case.inputs["input"][:, 0] = 0.0
    return case


def _along(dim: int) -> Mutant:
    return Mutant(f"your normalize goes along dimension {dim}", "normalize-dim", settings={"dim": dim})


def _normalize_cases() -> Iterator[Case]:
    euclidean = Mutant("your normalize takes the Euclidean length, whatever p", "normalize-root", settings={"p": 2.0})
    yield _normalize("channels", "along the channels of an image", (2, 3, 5, 7), {"last": _along(-1), "squared": SQUARED})
    yield _normalize("tokens", "along the features of tokens", (2, 5, 7), {"tokens": _along(1), "squared": SQUARED}, dim=-1)
    yield _normalize("tiny", "inputs of size 1e-3, far above eps: eps does not show", (2, 7, 3), {
        "added": Mutant("your normalize adds 1e-5 to the length", "normalize-eps", compute=_divided(
            lambda x, dim, eps: F.norm(x, 2.0, dim, keepdim=True) + 1e-5))}, scale=1e-3)
    yield _normalize("short", "some vectors shorter than eps=2, some longer", (3, 5, 4), {
        "added": EPS_ADDED, "under-root": EPS_UNDER_ROOT, "least-squares": LEAST_SQUARES}, dim=-1, eps=2.0)
    yield _normalize("zero", "a vector of zeros: zeros, and a slope of 1 / eps, not NaN", (2, 3, 5), {
        "added": EPS_ADDED, "least-squares": LEAST_SQUARES}, dim=-1, eps=0.125, zero=True)
    yield _normalize("sum-of-absolutes", "p = 1", (2, 5, 3), {"euclidean": euclidean}, p=1.0)
    yield _normalize("cubes", "p = 3, of absolute values", (2, 5, 3), {"euclidean": euclidean}, p=3.0)
    yield _normalize("two-dimensions", "one length for channels and positions", (2, 3, 5), {"one": _along(1)}, dim=[1, 2])


def _cosine(change: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """What `change` makes of the product and both lengths, and eps."""
    def compute(inputs, settings):
        x1, x2, dim = inputs["x1"], inputs["x2"], settings["dim"]
        return change(F.sum(x1 * x2, dim), *(F.norm(x, 2.0, dim) for x in (x1, x2)), settings["eps"])

    return compute


def _cosine_similarity(name: str, reason: str, x1: tuple[int, ...], x2: tuple[int, ...], dim: int, mutants: Mapping[str, Mutant], *,
                       eps: float = 1e-8, scale: float = 1.0, gradients: bool = True) -> Case:
    """scale: of x1."""
    id = f"cosine_similarity/{name}"
    inputs = {"x1": draw(f"{id}:x1", *x1, scale=scale), "x2": draw(f"{id}:x2", *x2, scale=3.0, mean=0.5)}
    if gradients:
        common = list(np.broadcast_shapes(x1, x2))
        del common[dim]
        inputs["cotangent"] = draw(f"{id}:cotangent", *common)
    return Case(id, reason, inputs, {"dim": dim, "eps": eps}, ("x1", "x2") if gradients else (), mutants)


def _cosine_similarity_cases() -> Iterator[Case]:
    product = Mutant("your cosine similarity is the scalar product", "cosine-product", compute=_cosine(lambda dot, a, b, eps: dot))
    distance = Mutant("your cosine similarity is the distance, 1 less it", "cosine-product", compute=_cosine(
        lambda dot, a, b, eps: 1.0 - dot / (a * b)))
    one_side = Mutant("your cosine similarity normalizes x1 alone", "cosine-product", compute=_cosine(lambda dot, a, b, eps: dot / a))
    yield _cosine_similarity("channels", "along the channels, of which there are as many as positions", (2, 5, 5), (2, 5, 5), 1, {
        "product": product, "distance": distance, "one-side": one_side,
        "last": Mutant("your cosine similarity goes along the last dimension", "normalize-dim", settings={"dim": -1})})
    yield _cosine_similarity("pairs", "each of 3 with each of 5, by broadcasting", (3, 1, 7), (1, 5, 7), -1, {"one-side": one_side})
    yield _cosine_similarity("short", "x1 shorter than eps=8, x2 longer or shorter: each length is clamped", (5, 3), (5, 3), 1, {
        "product-clamped": Mutant("your cosine similarity clamps the product of the lengths", "cosine-eps", compute=_cosine(
            lambda dot, a, b, eps: dot / F.clamp(a * b, min=eps))),
        "added": Mutant("your cosine similarity adds eps to the product of the lengths", "cosine-eps", compute=_cosine(
            lambda dot, a, b, eps: dot / (a * b + eps)))}, eps=8.0, gradients=False)
    yield _cosine_similarity("tiny", "x1 of size 1e-3", (3, 5), (3, 5), -1, {
        "added": Mutant("your cosine similarity adds 1e-6 to the product of the lengths", "cosine-eps", compute=_cosine(
            lambda dot, a, b, eps: dot / (a * b + 1e-6)))}, scale=1e-3)


def cases() -> Iterator[Case]:
    """Norms by mean and variance, running statistics, and norms that divide by a size."""
    yield from _group_norm_cases()
    yield from _layer_norm_cases()
    yield from _instance_norm_cases()
    yield from _batch_norm_cases()
    yield from _running_statistics_cases()
    yield from _rms_norm_cases()
    yield from _normalize_cases()
    yield from _cosine_similarity_cases()
