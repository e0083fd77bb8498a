"""Activations: the approximations that go by one name, the dimension of a softmax, and both tails.

Values lie between -8 and 8 where the shape of a curve matters, near zero and far from it where digits are lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import functional as F
from reference.case import Case, Mutant, Note, Operation, draw

CHAPTER = "docs/layers.md#3-activations"


def _elementwise(equation: str, **settings: str) -> Operation:
    return Operation(equation, CHAPTER, {"input": "x, any shape"}, {"output": "y, like input"}, settings)


def _along(equation: str, **settings: str) -> Operation:
    return Operation(equation, CHAPTER, {"input": "x, any shape"}, {"output": "y, like input"}, {
        "dim": "the dimension that i and j run along; negative ones count from the last", **settings})


OPERATIONS = {
    "relu": _elementwise("y = max(x, 0)"),
    "leaky_relu": _elementwise("y = x where x > 0, else negative_slope x", negative_slope="a number"),
    "silu": _elementwise("y = x / (1 + exp(-x)), also called swish"),
    "gelu": _elementwise(
        "y = x/2 (1 + erf(x / sqrt(2))); with tanh: y = x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))",
        approximate='"none" is the one with erf, "tanh" the other'),
    "quick_gelu": _elementwise("y = x / (1 + exp(-1.702 x))"),
    "sigmoid": _elementwise("y = 1 / (1 + exp(-x))"),
    "tanh": _elementwise("y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))"),
    "softplus": _elementwise("y = log(1 + exp(beta x)) / beta where beta x <= threshold, else x", beta="a positive number",
                             threshold="of beta x, above which y is x"),
    "logsigmoid": _elementwise("y = -log(1 + exp(-x))"),
    "softmax": _along("y_i = exp(x_i) / sum_j exp(x_j)"),
    "log_softmax": _along("y_i = x_i - log sum_j exp(x_j)"),
    "logsumexp": Operation(
        equation="y = log sum_i exp(x_i)",
        chapter=CHAPTER,
        inputs={"input": "x, any shape"},
        settings={"dim": "the dimension that i runs along, or a list of them", "keepdim": "true: the dimensions stay, with size 1"},
        outputs={"output": "y, like input without these dimensions, or with size 1 there"},
    ),
}

NOTES = {
    "gelu-variant": Note(
        kind="convention",
        about="Three functions are called GELU: x Phi(x) with erf, an approximation of it with tanh (up to 4.7e-4 away), and "
              "x sigmoid(1.702 x) (up to 2e-2 away). Weights belong to one of them.",
        effect="Text embeddings drift a little in each of CLIP's layers: prompts are followed less well. Nobody sees an error.",
        seen=("OpenAI's CLIP has QuickGELU, x sigmoid(1.702 x); OpenCLIP's other models, one of which Stable Diffusion 2 has, have erf",
              "jax.nn.gelu has approximate=True as its default, torch.nn.functional.gelu approximate='none'"),
    ),
    "silu-variant": Note(
        kind="formula",
        about="SiLU, or swish, is x sigmoid(x): not the sigmoid alone, not a GELU, not the piecewise hard-swish.",
        effect="With loaded weights images are washed out or noise; trained from scratch nothing shows.",
    ),
    "relu-slope": Note(
        kind="default",
        about="The slope on the negative side is 0 for ReLU, 0.01 for PyTorch's leaky ReLU, 0.2 in most discriminators and 0.3 in Keras.",
        effect="Loaded weights give an image with other contrast; a discriminator trains otherwise.",
    ),
    "sigmoid-variant": Note(
        kind="formula",
        about="sigmoid and tanh are related by tanh(x) = 2 sigmoid(2 x) - 1; neither is the piecewise linear hard variant.",
        effect="Gates open too early or never.",
    ),
    "activation-cancellation": Note(
        kind="numerics",
        about="1 + exp(x), sigmoid(x) near 1 and 2 sigmoid(2 x) - 1 near 0 have no digits left for what is small; log1p and tanh have.",
        effect="Gradients of certain samples are 0, or a loss is infinite: training stalls or stops with NaN.",
    ),
    "activation-overflow": Note(
        kind="numerics",
        about="exp(x) is infinite above 88 in float32, above 11 in float16: subtract the largest element first, or take exp(-|x|).",
        effect="NaN for a few samples, or in half precision only.",
    ),
    "softplus-beta": Note(
        kind="formula",
        about="beta multiplies x, and its inverse the logarithm; threshold is compared with beta x.",
        effect="A variance that is a softplus comes out too large by the factor beta, or jumps.",
    ),
    "softmax-dim": Note(
        kind="indexing",
        about="The dimension of a softmax is where the classes, or keys, lie.",
        effect="Probabilities of a sample do not sum to 1; gradients mix the samples of a batch.",
    ),
    "softmax-base": Note(
        kind="formula",
        about="exp is to the base e. GPU kernels have exp2 and need the factor log2(e).",
        effect="Attention is too flat, with a temperature of 1.44.",
    ),
    "softmax-log": Note(
        kind="numerics",
        about="log(softmax(x)) is log 0 where a probability underflows: below -103 in float32.",
        effect="An infinite loss at the first sample that is classified wrongly with confidence.",
    ),
    "logsumexp-formula": Note(
        kind="formula",
        about="The logarithm of a sum, not of a mean: they differ by log n. The largest element that was subtracted is added again.",
        effect="Likelihoods are off by a constant, importance weighted bounds by log of the number of samples.",
    ),
}


# -- element by element ----------------------------------------------------------------------------------------------


def _instead(words: str, flag: str, function: Callable[..., Any]) -> Mutant:
    """Another function of the input."""
    return Mutant(words, flag, compute=lambda inputs, settings: function(inputs["input"]))


def _rounded(x: Any) -> Any:
    """In float32, and back in float64."""
    return x.astype(np.float32).astype(np.float64)


def _in_float32(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that rounds what it says, whatever the dtype that everything else is computed in."""
    return lambda x: function(x.astype(np.float64)).astype(x.dtype)


def _elementwise_case(id: str, reason: str, mutants: Mapping[str, Mutant], *, scale: float = 2.0, mean: float = 0.0,
                      shape: tuple[int, ...] = (2, 5, 7), flags: tuple[str, ...] = (), **settings: Any) -> Case:
    inputs = {"input": draw(f"{id}:input", *shape, scale=scale, mean=mean), "cotangent": draw(f"{id}:cotangent", *shape)}
    return Case(id, reason, inputs, settings, ("input",), mutants, flags=flags)


def _slope(slope: float, words: str) -> Mutant:
    return Mutant(f"your leaky ReLU has {words}", "relu-slope", settings={"negative_slope": slope})


def _gelus(own: str, *others: str) -> dict[str, Mutant]:
    """The functions that this one is taken for."""
    known = {"erf": (F.gelu, "the exact GELU, x Phi(x)"),
             "tanh": (lambda x: F.gelu(x, approximate="tanh"), "GELU's approximation with tanh"),
             "quick": (F.quick_gelu, "x sigmoid(1.702 x), CLIP's quick GELU"), "silu": (F.silu, "SiLU, x sigmoid(x)")}
    flag = "silu-variant" if own == "SiLU" else "gelu-variant"
    return {name: _instead(f"your {own} is {known[name][1]}", flag, known[name][0]) for name in others}


def _rectifier_cases() -> Iterator[Case]:
    yield _elementwise_case("relu/ordinary", "both sides, and values above 6", {
        "leaky": _instead("your ReLU has a slope of 0.01 on the negative side", "relu-slope", F.leaky_relu),
        "relu6": _instead("your ReLU ends at 6", "relu-slope", lambda x: F.clamp(x, 0.0, 6.0)),
        "absolute": _instead("your ReLU mirrors the negative side", "relu-slope", F.abs)}, scale=4.0)
    yield _elementwise_case("leaky_relu/ordinary", "the slope that PyTorch has by default", {
        "slope-0-2": _slope(0.2, "a slope of 0.2"), "slope-0": _slope(0.0, "no slope on the negative side")}, negative_slope=0.01)
    yield _elementwise_case("leaky_relu/discriminator", "a slope of 0.2", {
        "slope-0-01": _slope(0.01, "a slope of 0.01"), "slope-0-3": _slope(0.3, "a slope of 0.3"),
        "positive": _instead("your leaky ReLU has its slope on the positive side", "relu-slope", lambda x: -F.leaky_relu(-x, 0.2)),
    }, negative_slope=0.2)


def _gelu_cases() -> Iterator[Case]:
    alone = _instead("your SiLU is the sigmoid alone", "silu-variant", F.sigmoid)
    hard = _instead("your SiLU is hard-swish, x clamp(x + 3, 0, 6) / 6", "silu-variant", lambda x: x * F.clamp(x + 3.0, 0.0, 6.0) / 6.0)
    yield _elementwise_case("silu/ordinary", "both sides", {**_gelus("SiLU", "erf", "quick"), "sigmoid": alone, "hard": hard})
    yield _elementwise_case("silu/near-zero", "inputs of size 1e-3: y = x/2 + x^2/4", {
        **_gelus("SiLU", "erf", "quick"), "hard": hard}, scale=1e-3)
    yield _elementwise_case("silu/tails", "inputs to 150: exp overflows in float32, y does not", {"hard": hard}, scale=60.0,
                            flags=("activation-overflow",))
    yield _elementwise_case("gelu/erf", "the exact one: both approximations are told apart", _gelus("GELU", "tanh", "quick", "silu"),
                            approximate="none")
    yield _elementwise_case("gelu/erf-near-zero", "inputs of size 1e-2: y = x/2 + x^2 / sqrt(2 pi)", _gelus("GELU", "quick", "silu"),
                            scale=1e-2, approximate="none")
    yield _elementwise_case("gelu/erf-tails", "inputs to 25: y is x, or 0", _gelus("GELU", "quick", "silu"), scale=10.0,
                            approximate="none")
    yield _elementwise_case("gelu/tanh", "the approximation with tanh", {
        **_gelus("GELU", "erf", "quick", "silu"),
        "no-cube": _instead("your GELU with tanh has no cubic term", "gelu-variant",
                            lambda x: 0.5 * x * (1.0 + F.tanh(math.sqrt(2.0 / math.pi) * x))),
    }, approximate="tanh")
    yield _elementwise_case("gelu/tanh-tails", "inputs to 25: the cube is 15,000, and y is x, or 0", _gelus("GELU", "quick", "silu"),
                            scale=10.0, approximate="tanh")
    yield _elementwise_case("quick_gelu/ordinary", "CLIP's", {
        **_gelus("quick GELU", "erf", "tanh", "silu"),
        "factor-1-7": _instead("your quick GELU has 1.7 in the place of 1.702", "gelu-variant", lambda x: x * F.sigmoid(1.7 * x))})
    yield _elementwise_case("quick_gelu/tails", "inputs to 150: exp overflows in float32, y does not", _gelus("quick GELU", "silu"),
                            scale=60.0, flags=("activation-overflow",))


def _sigmoid_cases() -> Iterator[Case]:
    hard = _instead("your sigmoid is piecewise linear, clamp(x / 6 + 1/2, 0, 1)", "sigmoid-variant",
                    lambda x: F.clamp(x / 6.0 + 0.5, 0.0, 1.0))
    as_tanh = _instead("your sigmoid is tanh", "sigmoid-variant", F.tanh)
    yield _elementwise_case("sigmoid/ordinary", "both sides", {
        "hard": hard, "tanh": as_tanh, "double": _instead("your sigmoid is that of 2 x", "sigmoid-variant", lambda x: F.sigmoid(2.0 * x))})
    yield _elementwise_case("sigmoid/tails", "inputs to 150: exp overflows in float32, y does not", {"hard": hard, "tanh": as_tanh},
                            scale=60.0, flags=("activation-overflow",))
    yield _elementwise_case("sigmoid/negative", "around -12: y is exp(x), with all its digits", {
        "from-tanh": _instead("your sigmoid is (1 + tanh(x / 2)) / 2 in float32", "activation-cancellation", _in_float32(
            lambda x: 0.5 * (1.0 + _rounded(F.tanh(0.5 * x)))))}, mean=-12.0, scale=0.25)
    yield _elementwise_case("tanh/ordinary", "both sides", {
        "half": _instead("your tanh is that of x / 2", "sigmoid-variant", lambda x: F.tanh(0.5 * x)),
        "sigmoid": _instead("your tanh is the sigmoid", "sigmoid-variant", F.sigmoid),
        "hard": _instead("your tanh is piecewise linear, clamp(x, -1, 1)", "sigmoid-variant", lambda x: F.clamp(x, -1.0, 1.0))}, scale=1.0)
    yield _elementwise_case("tanh/near-zero", "inputs of size 1e-3: y is x, with all its digits", {
        "from-sigmoid": _instead("your tanh is 2 sigmoid(2 x) - 1 in float32", "activation-cancellation", _in_float32(
            lambda x: 2.0 * _rounded(F.sigmoid(2.0 * x)) - 1.0))}, scale=1e-3)


def _softplus_cases() -> Iterator[Case]:
    naive = _instead("your softplus takes log(1 + exp(x)) in float32", "activation-cancellation", _in_float32(
        lambda x: F.log(_rounded(1.0 + F.exp(x)))))
    undivided = Mutant("your softplus does not divide by beta", "softplus-beta", compute=lambda inputs, settings: F.softplus(
        settings["beta"] * inputs["input"]))
    of_x = Mutant("your softplus compares threshold with x, not with beta x", "softplus-beta", compute=lambda inputs, settings: F.softplus(
        inputs["input"], settings["beta"], settings["threshold"] * settings["beta"]))
    ignored = Mutant("your softplus ignores threshold", "softplus-beta", settings={"threshold": 20.0})
    no_beta = Mutant("your softplus ignores beta", "softplus-beta", settings={"beta": 1.0})
    mirrored = _instead("your logsigmoid is that of -x", "sigmoid-variant", lambda x: F.logsigmoid(-x))
    yield _elementwise_case("softplus/ordinary", "PyTorch's defaults", {
        "relu": _instead("your softplus is ReLU", "softplus-beta", F.relu),
        "base-2": _instead("your softplus has its logarithm to base 2", "softplus-beta", lambda x: F.softplus(x) / math.log(2.0)),
    }, beta=1.0, threshold=20.0)
    yield _elementwise_case("softplus/beta", "beta = 3: a sharper corner", {"undivided": undivided, "no-beta": no_beta}, beta=3.0,
                            threshold=20.0)
    yield _elementwise_case("softplus/threshold", "beta = 3/4, and y = x where beta x > 1", {
        "threshold-of-x": of_x, "no-threshold": ignored, "no-beta": no_beta}, beta=0.75, threshold=1.0)
    yield _elementwise_case("softplus/negative", "around -12: y is exp(x), with all its digits", {"naive": naive}, mean=-12.0, scale=0.25,
                            beta=1.0, threshold=20.0)
    yield _elementwise_case("logsigmoid/ordinary", "both sides", {
        "softplus": _instead("your logsigmoid is log(1 + exp(-x)), with the wrong sign", "sigmoid-variant", lambda x: F.softplus(-x)),
        "mirrored": mirrored,
        "base-2": _instead("your logsigmoid has its logarithm to base 2", "softmax-base", lambda x: F.logsigmoid(x) / math.log(2.0))})
    yield _elementwise_case("logsigmoid/positive", "around 12: y is -exp(-x), with all its digits", {
        "naive": _instead("your logsigmoid is the logarithm of the sigmoid in float32", "activation-cancellation", _in_float32(
            lambda x: F.log(_rounded(F.sigmoid(x)))))}, mean=12.0, scale=0.25)
    yield _elementwise_case("logsigmoid/tails", "inputs to 150: the sigmoid underflows in float32, its logarithm is x", {
        "mirrored": mirrored}, scale=60.0, flags=("activation-overflow",))


# -- along a dimension -----------------------------------------------------------------------------------------------


def _over(words: str, dim: int) -> Mutant:
    return Mutant(f"your {words}", "softmax-dim", settings={"dim": dim})


def _in_base_2(function: Callable[[Any, int], Any], name: str) -> Mutant:
    return Mutant(f"your {name} takes powers of 2, not of e", "softmax-base", compute=lambda inputs, settings: function(
        inputs["input"] * math.log(2.0), settings["dim"]))


def _along_case(id: str, reason: str, shape: tuple[int, ...], dim: int, mutants: Mapping[str, Mutant], **options: Any) -> Case:
    return _elementwise_case(id, reason, mutants, shape=shape, dim=dim, **options)


PLACES = (("dimension 1", 1), ("the last dimension", -1), ("the batch", 0))


def _softmax_cases() -> Iterator[Case]:
    base = _in_base_2(F.softmax, "softmax")
    middle, last, first = (_over(f"softmax goes along {where}", dim) for where, dim in PLACES)
    whole = _instead("your softmax is over all elements of the input", "softmax-dim", lambda x: F.exp(x) / F.sum(F.exp(x)))
    yield _along_case("softmax/last", "the last of three dimensions", (2, 3, 5), -1, {
        "dim-1": middle, "batch": first, "base-2": base, "whole": whole})
    yield _along_case("softmax/channels", "dimension 1 of an image", (2, 5, 3, 7), 1, {"last": last, "batch": first})
    yield _along_case("softmax/first", "dimension 0, the batch", (3, 5), 0, {"last": last})
    yield _along_case("softmax/large-logits", "logits around 1000: exp overflows in every precision", (2, 3, 7), -1, {
        "dim-1": middle, "base-2": base}, mean=1000.0, flags=("activation-overflow",))
    yield _along_case("softmax/small-logits", "logits of size 1e-3: nearly 1/5, whose small part carries the gradients", (2, 3, 5), -1, {
        "base-2": base, "dim-1": middle}, scale=1e-3)


def _log_softmax_cases() -> Iterator[Case]:
    base = _in_base_2(F.log_softmax, "log_softmax")
    middle, last, first = (_over(f"log_softmax goes along {where}", dim) for where, dim in PLACES)
    yield _along_case("log_softmax/last", "the last of three dimensions", (2, 3, 5), -1, {
        "dim-1": middle, "base-2": base,
        "softmax": Mutant("your log_softmax is softmax", "softmax-log", compute=lambda inputs, settings: F.softmax(**inputs, **settings))})
    yield _along_case("log_softmax/channels", "dimension 1 of an image", (2, 5, 3, 7), 1, {"last": last, "batch": first})
    yield _along_case("log_softmax/large-logits", "logits around 1000 and 150 apart: probabilities underflow in float32", (3, 2, 7), -1, {
        "dim-1": middle, "base-2": base}, mean=1000.0, scale=60.0, flags=("activation-overflow", "softmax-log"))


def _logsumexp_case(
    name: str, reason: str, shape: tuple[int, ...], dim: int | list[int], result: tuple[int, ...], mutants: Mapping[str, Mutant], *,
    keepdim: bool = False, scale: float = 2.0, mean: float = 0.0, flags: tuple[str, ...] = (),
) -> Case:
    """result: the shape of the output, for the gradients; () asks for none."""
    id = f"logsumexp/{name}"
    inputs = {"input": draw(f"{id}:input", *shape, scale=scale, mean=mean)}
    if result:
        inputs["cotangent"] = draw(f"{id}:cotangent", *result)
    return Case(id, reason, inputs, {"dim": dim, "keepdim": keepdim}, ("input",) if result else (), mutants, flags=flags)


def _log_mean_exp(inputs, settings):
    y = F.logsumexp(**inputs, **settings)
    return y - math.log(math.prod(inputs["input"].shape) / math.prod(y.shape))


def _logsumexp_cases() -> Iterator[Case]:
    mean = Mutant("your logsumexp is the logarithm of the mean", "logsumexp-formula", compute=_log_mean_exp)
    of_rows = Mutant("your logsumexp adds up those of the rows", "logsumexp-formula", compute=lambda inputs, settings: F.sum(
        F.logsumexp(inputs["input"], -1, True), 1, keepdim=True))
    yield _logsumexp_case("last", "the last dimension", (2, 5, 5), -1, (2, 5), {
        "mean": mean, "dim-1": _over("logsumexp goes along dimension 1", 1),
        "largest": Mutant("your logsumexp is the maximum", "logsumexp-formula", compute=lambda inputs, settings: F.amax(
            inputs["input"], settings["dim"]))})
    yield _logsumexp_case("several", "over two dimensions that stay, with size 1", (3, 5, 7), [1, 2], (3, 1, 1), {
        "mean": mean, "sum-of-rows": of_rows}, keepdim=True)
    yield _logsumexp_case("small", "inputs of size 1e-3: log of their number, and a small part", (3, 7), 1, (3,), {
        "mean": mean}, scale=1e-3)
    yield _logsumexp_case("large", "around 1000: exp overflows in every precision", (7, 3), 0, (), {
        "mean": mean}, mean=1000.0, flags=("activation-overflow",))


def cases() -> Iterator[Case]:
    """Functions of one element, and softmax and its kin."""
    yield from _rectifier_cases()
    yield from _gelu_cases()
    yield from _sigmoid_cases()
    yield from _softplus_cases()
    yield from _softmax_cases()
    yield from _log_softmax_cases()
    yield from _logsumexp_cases()
