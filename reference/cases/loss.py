"""Losses: what the sum is divided by, the scale of the robust ones, label smoothing, weights, and the directions of a divergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.verify.adapters.minidiff.loss import OPERATIONS as RIGHT
from reference.case import Case, Mutant, Note, Operation, draw

CHAPTER = "docs/layers.md#8-losses"

REDUCTION = '"none": one loss each; "sum": of all; "mean": their sum divided by their number'
DIVIDED = f"{REDUCTION}, or by the sum of their weights"
LOSS = {"output": "the loss: a single number, shape (), unless reduction is none"}
PAIR = {"input": "x, any shape", "target": "y, like input"}
WEIGHT = "may be missing; like input, a factor for each loss"
CLASSES = {
    "target": "(N, ...), int64: the class y of each, 0 to C - 1",
    "weight": "may be missing; (C,), a factor for the losses of each class",
}
IGNORED = "targets of this value count neither in the sum nor in what it is divided by"


def _of_pair(equation: str, weight: str | None = None, reduction: str = REDUCTION, **settings: str) -> Operation:
    return Operation(equation, CHAPTER, {**PAIR, **({"weight": weight} if weight else {})}, LOSS, {"reduction": reduction, **settings})


OPERATIONS = {
    "mse_loss": _of_pair("loss = weight (x - y)^2", WEIGHT, DIVIDED),
    "l1_loss": _of_pair("loss = weight |x - y|", WEIGHT, DIVIDED),
    "smooth_l1_loss": _of_pair("d = x - y; loss = d^2 / (2 beta) where |d| < beta, else |d| - beta / 2",
                               beta="where the parabola ends; 0 makes it |d|"),
    "huber_loss": _of_pair("d = x - y; loss = weight d^2 / 2 where |d| < delta, else weight delta (|d| - delta / 2)", WEIGHT,
                           f"{REDUCTION}, with a weight too", delta="where the parabola ends"),
    "cross_entropy": Operation(
        equation="loss = -sum_c q_c weight_c log softmax(x)_c over the classes c; q is 1 at class y and 0 elsewhere, or given; with label "
                 "smoothing s it becomes (1 - s) q + s / C",
        chapter=CHAPTER,
        inputs={"input": "x, (N, C, ...): numbers whose softmax along dimension 1 are the probabilities",
                "target": f"{CLASSES['target']}; or like input, floating point: the probabilities q", "weight": CLASSES["weight"]},
        settings={"reduction": '"none"; "sum"; "mean": the sum divided by the sum of weight_y, for given q by the number of losses',
                  "label_smoothing": "s, 0 to 1", "ignore_index": IGNORED},
        outputs=LOSS,
    ),
    "nll_loss": Operation(
        equation="loss = -weight_y x_y",
        chapter=CHAPTER,
        inputs={"input": "x, (N, C, ...): log-probabilities of the classes", **CLASSES},
        settings={"reduction": '"none"; "sum"; "mean": the sum divided by the sum of weight_y', "ignore_index": IGNORED},
        outputs=LOSS,
    ),
    "binary_cross_entropy": Operation(
        equation="loss = -weight (y log x + (1 - y) log(1 - x)), each logarithm at least -100",
        chapter=CHAPTER,
        inputs={"input": "x, probabilities", "target": "y, like input, 0 to 1", "weight": "may be missing; broadcasts to input"},
        settings={"reduction": f"{REDUCTION}, with a weight too"},
        outputs=LOSS,
    ),
    "binary_cross_entropy_with_logits": Operation(
        equation="loss = weight (pos_weight y log(1 + exp(-x)) + (1 - y) log(1 + exp(x)))",
        chapter=CHAPTER,
        inputs={"input": "x, any shape: numbers whose sigmoid are the probabilities", "target": "y, like input, 0 to 1",
                "weight": "may be missing; broadcasts to input", "pos_weight": "may be missing; broadcasts to input"},
        settings={"reduction": f"{REDUCTION}, with a weight too"},
        outputs=LOSS,
    ),
    "kl_div": Operation(
        equation="loss = y (log y - x), 0 where y is 0; with log_target exp(y) (y - x)",
        chapter=CHAPTER,
        inputs={"input": "x, any shape: log-probabilities", "target": "y, like input: probabilities, or with log_target their logarithms"},
        settings={"reduction": f'{REDUCTION}; "batchmean": their sum divided by the first size of input', "log_target": "true or false"},
        outputs=LOSS,
    ),
}

NOTES = {
    "loss-reduction": Note(
        kind="convention",
        about="The mean is over all elements: channels and positions too, not the batch alone. A sum over them is another scale.",
        effect="The gradients, and with them the learning rate (but for Adam), their clipping and the balance with other losses, are off "
               "by the number of elements of a sample.",
        seen=("score_sde_pytorch, losses.py: half the sum over a sample unless reduce_mean; guided-diffusion: the mean",),
    ),
    "loss-half": Note(
        kind="convention",
        about="mse_loss has no factor 1/2; the quadratic part of huber_loss has.",
        effect="Losses and gradients are half, or twice, what others report.",
        seen=("optax.l2_loss has the factor 1/2",),
    ),
    "loss-formula": Note(
        kind="formula",
        about="Squares for mse_loss, absolute values for l1_loss, no root over the mean; binary_cross_entropy takes the prediction first.",
        effect="L1 gives sharper, L2 smoother images; a root makes the gradient larger where the loss is small.",
    ),
    "loss-weighted-mean": Note(
        kind="convention",
        about="A weighted mean is divided by the sum of the weights; PyTorch's huber_loss and binary cross-entropies divide by the number.",
        effect="The size of the weights becomes a learning rate.",
    ),
    "loss-huber": Note(
        kind="convention",
        about="huber_loss is delta times smooth_l1_loss with beta = delta; pseudo-Huber, delta (sqrt(d^2 + delta^2) - delta), a third one.",
        effect="The loss changes its scale with delta, or its form: training is steered by outliers as it should not.",
        seen=("diffusers' training scripts call 2 c (sqrt(d^2 + c^2) - c) huber",),
    ),
    "cross-entropy-logits": Note(
        kind="convention",
        about="cross_entropy takes numbers before the softmax, nll_loss their log_softmax, binary_cross_entropy probabilities, and "
              "binary_cross_entropy_with_logits numbers before the sigmoid.",
        effect="The loss does not fall below a bound, since probabilities between 0 and 1 are taken for logits; training is slow.",
        seen=("keras.losses.CategoricalCrossentropy has from_logits=False as its default",),
    ),
    "cross-entropy-underflow": Note(
        kind="numerics",
        about="exp overflows above 88 in float32, and softmax is 0 at a class 104 below the largest: x - logsumexp(x) has neither.",
        effect="An infinite loss, or NaN, at the first sample that is classified wrongly with confidence.",
    ),
    "cross-entropy-smoothing": Note(
        kind="convention",
        about="Label smoothing spreads s over all C classes: the right one gets 1 - s + s / C. Others spread it over the C - 1 wrong ones.",
        effect="A slightly stronger smoothing, and losses that cannot be compared.",
        seen=("The Annotated Transformer: LabelSmoothing leaves the right class 1 - s",),
    ),
    "cross-entropy-weight": Note(
        kind="convention",
        about="The mean of losses with class weights is divided by the sum of the weights of the targets, not by their number.",
        effect="Rare classes change the size of the gradient of a whole batch.",
    ),
    "cross-entropy-ignored": Note(
        kind="convention",
        about="A target of ignore_index, -100, counts neither in the sum nor in the number; as an index it would be some class.",
        effect="Padding is learned, or weakens the gradient.",
    ),
    "cross-entropy-dim": Note(
        kind="indexing",
        about="The classes are in dimension 1 of (N, C, ...), not in the last one, which most other libraries have.",
        effect="Shapes fit only by chance; then the loss compares pixels in the place of classes.",
        seen=("optax.softmax_cross_entropy has the classes last",),
    ),
    "loss-sign": Note(
        kind="formula",
        about="A negative log-likelihood has a minus, is to the base e, and picks the target's class.",
        effect="Training runs away from the data.",
    ),
    "bce-logarithm": Note(
        kind="numerics",
        about="log 0 is cut off at -100; others clamp probabilities at 1e-7, and so the loss at 16. From logits nothing needs to be cut.",
        effect="Samples that are wrong with confidence have no gradient, or an infinite one.",
        seen=("keras.backend.epsilon() is 1e-7",),
    ),
    "bce-positive-weight": Note(
        kind="formula",
        about="pos_weight is a factor of the term with y alone; weight is one of both terms.",
        effect="Rare positives are not balanced: only the learning rate changes.",
    ),
    "kl-direction": Note(
        kind="formula",
        about="kl_div(x, y) is the divergence of y from exp(x): input holds logarithms, target probabilities, which are the weights.",
        effect="The other direction looks for one mode in the place of all: distilled models lose variety.",
    ),
    "kl-batchmean": Note(
        kind="convention",
        about="The divergence is a sum over the classes: its mean over the batch is called batchmean; mean divides by the classes too.",
        effect="The term is weaker by the number of classes or latent elements.",
        seen=("torch.nn.functional.kl_div warns of its own default",),
    ),
}


# -- what is done wrong ----------------------------------------------------------------------------------------------


def _changed(operation: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Callable[[Any, Any], Any]:
    """The operation, done right on inputs that are wrong."""
    return lambda inputs, settings: RIGHT[operation]({**inputs, **change(inputs)}, settings)


def _times(operation: str, factor: float) -> Callable[[Any, Any], Any]:
    """The right loss, times a factor."""
    return lambda inputs, settings: RIGHT[operation](inputs, settings) * factor


def _called(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Another loss of the same inputs, with the same settings."""
    return lambda inputs, settings: function(**inputs, **settings)


def _divided(operation: str, number: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """The sum divided by a number, which `number` makes of the inputs."""
    return lambda inputs, settings: RIGHT[operation](inputs, {**settings, "reduction": "sum"}) / number(inputs)


def _sizes(operation: str) -> dict[str, Mutant]:
    """Other divisors of a mean over all elements."""
    return {
        "sum": Mutant(f"your {operation} is the sum over all elements", "loss-reduction", settings={"reduction": "sum"}),
        "batch": Mutant(f"your {operation} sums over all but the batch, and divides by its size", "loss-reduction", compute=_divided(
            operation, lambda inputs: inputs["input"].shape[0])),
    }


def _by_count(operation: str, flag: str = "loss-weighted-mean") -> Mutant:
    return Mutant(f"your weighted {operation} is divided by the number of losses", flag, compute=_divided(
        operation, lambda inputs: math.prod(inputs["target"].shape)))


def _by_weights(operation: str) -> Mutant:
    return Mutant(f"your weighted {operation} is divided by the sum of the weights", "loss-weighted-mean", compute=_divided(
        operation, lambda inputs: F.sum(F.broadcast_to(inputs["weight"], inputs["input"].shape))))


def _unweighted(operation: str, flag: str = "loss-weighted-mean") -> Mutant:
    return Mutant(f"your {operation} ignores its weight", flag, compute=_changed(operation, lambda inputs: {"weight": None}))


def _of_each(words: str, flag: str, loss: Callable[..., Any]) -> Mutant:
    """The mean of another loss of each element, which `loss` makes of input, target and settings."""
    return Mutant(words, flag, compute=lambda inputs, settings: F.mean(loss(inputs["input"], inputs["target"], settings)))


def _case(id: str, reason: str, inputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], mutants: Mapping[str, Mutant], *,
          gradients: tuple[str, ...] = ("input",), shape: tuple[int, ...] = (), flags: tuple[str, ...] = ()) -> Case:
    """shape: of the loss."""
    cotangent = {"cotangent": np.asarray(draw(f"{id}:cotangent", *shape))} if gradients else {}
    return Case(id, reason, {**inputs, **cotangent}, settings, gradients, mutants, flags=flags)


def _weights(id: str, *shape: int) -> np.ndarray:
    """Positive numbers, whose mean is not 1."""
    return np.abs(draw(f"{id}:weight", *shape)) + np.float32(0.25)


# -- numbers against numbers -----------------------------------------------------------------------------------------


def _pair_case(operation: str, name: str, reason: str, mutants: Mapping[str, Mutant], *, shape: tuple[int, ...] = (2, 3, 5),
               weighted: bool = False, gradients: tuple[str, ...] = ("input", "target"), mean: float = 0.0, scale: float = 1.0,
               **settings: Any) -> Case:
    """mean: of both; scale: of their difference."""
    id = f"{operation}/{name}"
    target = draw(f"{id}:target", *shape, mean=mean)
    inputs = {"input": target + draw(f"{id}:input", *shape, scale=scale, mean=0.25 * scale), "target": target}
    inputs |= {"weight": _weights(id, *shape)} if weighted else {}
    settings = {"reduction": "mean", **settings}
    return _case(id, reason, inputs, settings, mutants, gradients=gradients, shape=shape if settings["reduction"] == "none" else ())


def _mse_cases() -> Iterator[Case]:
    half = Mutant("your mse_loss has a factor 1/2", "loss-half", compute=_times("mse_loss", 0.5))
    absolute = Mutant("your mse_loss is the absolute difference", "loss-formula", compute=_called(F.l1_loss))
    root = Mutant("your mse_loss has a root over the mean", "loss-formula", compute=_called(lambda **given: F.sqrt(F.mse_loss(**given))))
    mean = Mutant("your mse_loss with reduction sum is the mean", "loss-reduction", settings={"reduction": "mean"})
    batch = Mutant("your mse_loss with reduction sum is the mean over the batch", "loss-reduction", compute=_times("mse_loss", 1 / 3))
    yield _pair_case("mse_loss", "mean", "over samples, channels and positions", {
        **_sizes("mse_loss"), "half": half, "absolute": absolute, "root": root}, shape=(2, 3, 5, 7))
    yield _pair_case("mse_loss", "sum", "no division", {"mean": mean, "batch-mean": batch, "half": half}, shape=(3, 2, 5), reduction="sum")
    yield _pair_case("mse_loss", "none", "one number an element", {"half": half, "absolute": absolute}, reduction="none")
    yield _pair_case("mse_loss", "weighted", "a factor for each element, as masks and loss weights are", {
        "by-count": _by_count("mse_loss"), "unweighted": _unweighted("mse_loss")}, weighted=True)
    yield _pair_case("mse_loss", "close", "around 1000, 1e-2 apart: the squares of the difference, not a difference of squares", {
        "half": half, "expanded": Mutant("your mse_loss takes x^2 - 2 x y + y^2, in float32", "loss-formula", compute=_expanded)},
        mean=1000.0, scale=1e-2)


def _expanded(inputs, settings):
    x, y = (inputs[name].astype(np.float64) for name in ("input", "target"))
    rounded = lambda z: z.astype(np.float32).astype(np.float64)
    return F.mean(rounded(x * x) - rounded(2.0 * x * y) + rounded(y * y)).astype(inputs["input"].dtype)


def _l1_cases() -> Iterator[Case]:
    square = Mutant("your l1_loss is the square of the difference", "loss-formula", compute=_called(F.mse_loss))
    yield _pair_case("l1_loss", "mean", "absolute differences", {**_sizes("l1_loss"), "square": square})
    yield _pair_case("l1_loss", "weighted", "a factor for each element", {
        "by-count": _by_count("l1_loss"), "unweighted": _unweighted("l1_loss")}, weighted=True)


def _pseudo_huber(scale: float) -> Callable[..., Any]:
    return lambda x, y, settings: scale * settings["delta"] * (F.sqrt((x - y) * (x - y) + settings["delta"] ** 2) - settings["delta"])


def _huber_cases() -> Iterator[Case]:
    huber = Mutant("your smooth_l1_loss is huber_loss: beta times as large", "loss-huber", compute=_called(
        lambda beta, **given: F.huber_loss(delta=beta, **given)))
    smooth = Mutant("your huber_loss is smooth_l1_loss: 1 / delta times as large", "loss-huber", compute=_called(
        lambda delta, **given: F.smooth_l1_loss(beta=delta, **given)))
    ignores = lambda name, setting: Mutant(f"your {name} ignores {setting}, and takes 1", "loss-huber", settings={setting: 1.0})
    double = Mutant("your huber_loss has no factor 1/2", "loss-half", compute=_times("huber_loss", 2.0))
    pseudo = {f"pseudo-{scale:g}": _of_each(f"your huber_loss is {words}", "loss-huber", _pseudo_huber(scale)) for scale, words in (
        (1.0, "pseudo-Huber, delta (sqrt(d^2 + delta^2) - delta)"), (2.0, "pseudo-Huber, 2 delta (sqrt(d^2 + delta^2) - delta)"))}
    joined = _of_each("your smooth_l1_loss does not subtract beta / 2: it jumps at beta", "loss-huber", lambda x, y, settings: F.where(
        F.lt(F.abs(x - y), settings["beta"]), 0.5 * (x - y) * (x - y) / settings["beta"], F.abs(x - y)))
    absolute = _of_each("your smooth_l1_loss is the absolute difference", "loss-huber", lambda x, y, settings: F.abs(x - y))
    yield _pair_case("smooth_l1_loss", "beta-1", "both parts", {**_sizes("smooth_l1_loss"), "jump": joined, "absolute": absolute}, beta=1.0)
    yield _pair_case("smooth_l1_loss", "beta-0.25", "a narrow parabola", {
        "huber": huber, "beta-1": ignores("smooth_l1_loss", "beta"), "jump": joined}, beta=0.25)
    yield _pair_case("smooth_l1_loss", "none", "one number an element", {"huber": huber}, beta=0.5, reduction="none")
    yield _pair_case("huber_loss", "delta-1", "both parts", {**_sizes("huber_loss"), **pseudo, "double": double}, delta=1.0)
    yield _pair_case("huber_loss", "delta-0.25", "a narrow parabola", {
        "smooth-l1": smooth, "delta-1": ignores("huber_loss", "delta"), **pseudo}, delta=0.25)
    yield _pair_case("huber_loss", "weighted", "a factor for each element; the divisor stays their number, as in PyTorch", {
        "by-weights": _by_weights("huber_loss"), "unweighted": _unweighted("huber_loss")}, weighted=True, delta=0.5)


# -- classes ---------------------------------------------------------------------------------------------------------


def _classes(id: str, classes: int, *shape: int) -> np.ndarray:
    """Targets of all classes, in no order."""
    return (np.argsort(draw(f"{id}:target", *shape), axis=None).reshape(shape) * 2 + 1) % classes


def _probabilities(id: str, *shape: int) -> np.ndarray:
    """Probabilities along dimension 1, as float32 holds them: they sum to 1 to rounding."""
    powers = np.exp(draw(f"{id}:target", *shape).astype(np.float64))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _one_hot(inputs: Mapping[str, Any]) -> Any:
    """1 at the class of each sample, of input (N, C)."""
    x = inputs["input"]
    return F.one_hot(inputs["target"], x.shape[1]).astype(x.dtype)


def _with_probabilities(q: Callable[[Any, float, int], Any]) -> Callable[[Any, Any], Any]:
    """Cross-entropy with probabilities, which `q` makes of the one-hot targets, the smoothing and the number of classes."""
    def compute(inputs, settings):
        target = q(_one_hot(inputs), settings["label_smoothing"], inputs["input"].shape[1])
        return RIGHT["cross_entropy"]({**inputs, "target": target}, {**settings, "label_smoothing": 0.0})

    return compute


def _class_case(operation: str, name: str, reason: str, mutants: Mapping[str, Mutant], *, shape: tuple[int, ...] = (5, 3),
                weighted: bool = False, given: bool = False, ignored: int = 0, scale: float = 2.0, mean: float = 0.0,
                flags: tuple[str, ...] = (), **settings: Any) -> Case:
    """given: probabilities as target. ignored: how many of the first targets are."""
    id = f"{operation}/{name}"
    outer = (shape[0], *shape[2:])
    target = _probabilities(id, *shape) if given else _classes(id, shape[1], *outer)
    target.reshape(-1)[:ignored] = -100
    inputs = {"input": draw(f"{id}:input", *shape, scale=scale, mean=mean), "target": target}
    inputs |= {"weight": _weights(id, shape[1])} if weighted else {}
    defaults = {"reduction": "mean", "label_smoothing": 0.0, "ignore_index": -100}
    settings = {key: settings.get(key, x) for key, x in defaults.items() if operation == "cross_entropy" or key != "label_smoothing"}
    return _case(id, reason, inputs, settings, mutants, gradients=("input", "target") if given else ("input",),
                 shape=outer if settings["reduction"] == "none" else (), flags=flags)


def _most_probable(q: Any) -> Any:
    """1 at the largest of the probabilities (N, C) and 0 elsewhere; 0 q, since the gradient for q is asked for."""
    return F.one_hot(F.argmax(q, 1), q.shape[1]).astype(q.dtype) + 0.0 * q


def _along_last(inputs, settings):
    return F.nll_loss(F.log_softmax(inputs["input"], -1), inputs["target"])


def _counted(operation: str) -> Mutant:
    return Mutant(f"your {operation} counts the ignored targets in the mean", "cross-entropy-ignored", compute=_divided(
        operation, lambda inputs: math.prod(inputs["target"].shape)))


def _cross_entropy_cases() -> Iterator[Case]:
    name = "cross_entropy"
    twice = Mutant("your cross_entropy takes a softmax of probabilities: twice in all", "cross-entropy-logits", compute=_changed(
        name, lambda inputs: {"input": F.softmax(inputs["input"], 1)}))
    no_softmax = Mutant("your cross_entropy takes its input for log-probabilities", "cross-entropy-logits", compute=_called(
        lambda label_smoothing, **given: F.nll_loss(**given)))
    total = Mutant("your cross_entropy is the sum", "loss-reduction", settings={"reduction": "sum"})
    base = Mutant("your cross_entropy is in bits: its logarithm is to base 2", "loss-sign", compute=_times(name, 1 / math.log(2.0)))
    wrong_only = Mutant("your label smoothing spreads s over the C - 1 wrong classes", "cross-entropy-smoothing",
                        compute=_with_probabilities(lambda q, s, c: (1.0 - s) * q + s / (c - 1) * (1.0 - q)))
    too_little = Mutant("your label smoothing gives the right class 1 - s, and each wrong one s / C", "cross-entropy-smoothing",
                        compute=_with_probabilities(lambda q, s, c: (1.0 - s) * q + s / c * (1.0 - q)))
    unsmoothed = Mutant("your cross_entropy ignores label smoothing", "cross-entropy-smoothing", settings={"label_smoothing": 0.0})
    by_count, unweighted = _by_count(name, "cross-entropy-weight"), _unweighted(name, "cross-entropy-weight")
    batch = Mutant("your cross_entropy sums over the positions, and divides by the size of the batch", "loss-reduction", compute=_divided(
        name, lambda inputs: inputs["input"].shape[0]))
    last = Mutant("your cross_entropy has its classes in the last dimension", "cross-entropy-dim", compute=_along_last)
    as_class = Mutant("your cross_entropy takes ignored targets for class 0", "cross-entropy-ignored", compute=_changed(
        name, lambda inputs: {"target": F.clamp(inputs["target"], min=0)}))
    averaged = Mutant("your cross_entropy of probabilities is divided by the number of classes too", "loss-reduction",
                      compute=_times(name, 1 / 7))
    hardened = Mutant("your cross_entropy takes the most probable class", "cross-entropy-logits", compute=_changed(
        name, lambda inputs: {"target": _most_probable(inputs["target"])}))
    yield _class_case(name, "mean", "classes as integers", {"twice": twice, "no-softmax": no_softmax, "sum": total, "bits": base})
    yield _class_case(name, "sum", "no division", {"twice": twice, "mean": Mutant(
        "your cross_entropy with reduction sum is the mean", "loss-reduction", settings={"reduction": "mean"})}, reduction="sum")
    yield _class_case(name, "none", "one number a sample", {"twice": twice, "no-softmax": no_softmax}, reduction="none")
    yield _class_case(name, "label-smoothing", "s = 0.1 over 3 classes", {
        "wrong-only": wrong_only, "too-little": too_little, "unsmoothed": unsmoothed}, label_smoothing=0.1)
    yield _class_case(name, "weighted", "a weight for each class", {"by-count": by_count, "unweighted": unweighted}, weighted=True)
    yield _class_case(name, "weighted-smoothing", "weights and label smoothing: every class's term has its own weight", {
        "by-count": by_count, "unweighted": unweighted, "unsmoothed": unsmoothed, "weight-of-target": Mutant(
            "your cross_entropy weights all terms of a smoothed loss with the target's weight", "cross-entropy-weight",
            compute=_weight_of_target)}, weighted=True, label_smoothing=0.25)
    yield _class_case(name, "image", "a class for each pixel; 5 classes, 5 columns", {"last": last, "batch": batch}, shape=(2, 5, 5, 5))
    yield _class_case(name, "ignored", "two of seven targets are -100", {
        "counted": _counted(name), "as-class": as_class}, shape=(7, 3), ignored=2)
    yield _class_case(name, "probabilities", "targets that are probabilities, which have gradients too", {
        "twice": twice, "classes": averaged, "hardened": hardened}, shape=(2, 7), given=True)
    yield _class_case(name, "probabilities-smoothing", "targets that are probabilities, smoothed", {
        "unsmoothed": unsmoothed, "classes": averaged}, shape=(2, 7), given=True, label_smoothing=0.25)
    yield _class_case(name, "large-logits", "around 100 and 150 apart: exp overflows, and probabilities underflow", {
        "sum": total, "bits": base}, shape=(3, 5), scale=60.0, mean=100.0, flags=("cross-entropy-underflow",))


def _weight_of_target(inputs, settings):
    smoothed = RIGHT["cross_entropy"]({name: inputs[name] for name in ("input", "target")}, {**settings, "reduction": "none"})
    weight = F.sum(_one_hot(inputs) * inputs["weight"], 1)
    return F.sum(smoothed * weight) / F.sum(weight)


def _nll_cases() -> Iterator[Case]:
    name = "nll_loss"
    again = Mutant("your nll_loss takes a log_softmax of its input", "cross-entropy-logits", compute=_changed(
        name, lambda inputs: {"input": F.log_softmax(inputs["input"], 1)}))
    no_minus = Mutant("your nll_loss has no minus", "loss-sign", compute=_times(name, -1.0))
    yield _class_case(name, "mean", "picks, and has no softmax", {"log-softmax": again, "no-minus": no_minus, "sum": Mutant(
        "your nll_loss is the sum", "loss-reduction", settings={"reduction": "sum"})})
    yield _class_case(name, "weighted", "a weight for each class", {
        "by-count": _by_count(name, "cross-entropy-weight"), "unweighted": _unweighted(name, "cross-entropy-weight")}, weighted=True)
    yield _class_case(name, "image", "a class for each pixel, two of them ignored", {"counted": _counted(name), "log-softmax": again},
                      shape=(2, 3, 2, 5), ignored=2)


# -- probabilities ---------------------------------------------------------------------------------------------------


def _surprise(x: Any, y: Any) -> Any:
    return -(y * F.log(x) + (1.0 - y) * F.log(1.0 - x))


def _binary_case(operation: str, name: str, reason: str, mutants: Mapping[str, Mutant], given: np.ndarray | None = None, *,
                 shape: tuple[int, ...] = (3, 5), more: Mapping[str, tuple[int, ...]] | None = None,
                 gradients: tuple[str, ...] = ("input",), reduction: str = "mean") -> Case:
    """given: the input, if it is not drawn. more: the shapes of weight and pos_weight."""
    id = f"{operation}/{name}"
    middle = lambda x: (0.5 + 0.5 * np.tanh(x.astype(np.float64))).astype(np.float32)
    logits = draw(f"{id}:input", *shape, scale=2.0)
    inputs = {"input": given if given is not None else logits if operation.endswith("logits") else middle(0.5 * logits),
              "target": middle(draw(f"{id}:target", *shape))}
    inputs |= {x: _weights(f"{id}:{x}", *size) for x, size in (more or {}).items()}
    return _case(id, reason, inputs, {"reduction": reduction}, mutants, gradients=gradients, shape=shape if reduction == "none" else ())


def _binary_cases() -> Iterator[Case]:
    name = "binary_cross_entropy"
    one_term = _of_each("your binary_cross_entropy has the term with y alone", "loss-sign", lambda x, y, settings: -y * F.log(x))
    logits = Mutant("your binary_cross_entropy takes its input for logits", "cross-entropy-logits", compute=_called(
        F.binary_cross_entropy_with_logits))
    swapped = Mutant("your binary_cross_entropy exchanges input and target", "loss-formula", compute=_changed(
        name, lambda inputs: {"input": inputs["target"], "target": inputs["input"]}))
    least, most = float(np.float32(1e-7)), float(np.float32(1.0 - 1e-7))
    clamped = _of_each("your binary_cross_entropy clamps probabilities at 1e-7", "bce-logarithm", lambda x, y, settings: _surprise(
        F.clamp(x, least, most), y))
    certain = np.array([[0.0, 1.0, 0.25], [1.0, 0.0, 0.5]], np.float32)
    yield _binary_case(name, "mean", "targets between 0 and 1", {
        **_sizes(name), "one-term": one_term, "logits": logits, "exchanged": swapped}, gradients=("input", "target"))
    yield _binary_case(name, "weighted", "a weight that broadcasts; the divisor stays the number", {
        "by-weights": _by_weights(name), "unweighted": _unweighted(name)}, more={"weight": (5,)})
    yield _binary_case(name, "certain", "probabilities of 0 and 1: logarithms are cut off at -100", {"clamped": clamped}, certain,
                       shape=(2, 3), gradients=())


def _binary_logit_cases() -> Iterator[Case]:
    name = "binary_cross_entropy_with_logits"
    probabilities = _of_each(f"your {name} takes a sigmoid of its input before", "cross-entropy-logits", lambda x, y, settings:
                             F.binary_cross_entropy_with_logits(F.sigmoid(x), y, reduction="none"))
    both = Mutant(f"your {name} has pos_weight in both terms", "bce-positive-weight", compute=lambda inputs, settings:
                  F.binary_cross_entropy_with_logits(inputs["input"], inputs["target"], weight=inputs["pos_weight"], **settings))
    other = Mutant(f"your {name} has pos_weight in the term with 1 - y", "bce-positive-weight", compute=_changed(
        name, lambda inputs: {"input": -inputs["input"], "target": 1.0 - inputs["target"]}))
    far = draw(f"{name}/confident:input", 3, 5)
    far = np.sign(far) * (np.float32(11.0) + np.abs(far))
    yield _binary_case(name, "mean", "targets between 0 and 1", {
        **_sizes(name), "probabilities": probabilities}, gradients=("input", "target"))
    yield _binary_case(name, "pos-weight", "a factor of the positive term, for each column", {
        "both": both, "other": other}, more={"pos_weight": (5,)})
    yield _binary_case(name, "weighted", "weight and pos_weight, of other shapes", {
        "by-weights": _by_weights(name), "unweighted": _unweighted(name), "other": other}, more={"weight": (3, 1), "pos_weight": (5,)})
    yield _binary_case(name, "confident", "logits of size 12: 1 - sigmoid(x) has two digits left in float32", {
        "naive": Mutant(f"your {name} takes logarithms of the sigmoid in float32", "bce-logarithm", compute=_naive)}, far, reduction="none")


def _naive(inputs, settings):
    p = F.sigmoid(inputs["input"].astype(np.float64)).astype(np.float32).astype(np.float64)
    return _surprise(p, inputs["target"]).astype(inputs["input"].dtype)


def _kl_case(name: str, reason: str, mutants: Mapping[str, Mutant], *, reduction: str = "batchmean", log_target: bool = False,
             zeros: bool = False) -> Case:
    """zeros: some probabilities of the target are 0."""
    id = f"kl_div/{name}"
    shape = (3, 5)
    target = _probabilities(id, *shape)
    if zeros:
        target[0, 1] = target[2, 3] = 0.0
    x = np.log(_probabilities(f"{id}:input", *shape)).astype(np.float32)
    inputs = {"input": x, "target": np.log(target) if log_target else target}
    return _case(id, reason, inputs, {"reduction": reduction, "log_target": log_target}, mutants,
                 gradients=("input",) if zeros else ("input", "target"), shape=shape if reduction == "none" else ())


def _kl_cases() -> Iterator[Case]:
    mean = Mutant("your kl_div with reduction batchmean divides by the number of elements", "kl-batchmean", settings={"reduction": "mean"})
    swapped = Mutant("your kl_div is the divergence of the input from the target", "kl-direction", compute=_changed(
        "kl_div", lambda inputs: {"input": F.log(inputs["target"]), "target": F.exp(inputs["input"])}))
    swapped_logs = Mutant("your kl_div is the divergence of the input from the target", "kl-direction", compute=_changed(
        "kl_div", lambda inputs: {"input": inputs["target"], "target": inputs["input"]}))
    no_entropy = Mutant("your kl_div is the cross-entropy: it lacks the term y log y", "kl-direction", compute=lambda inputs, settings:
                        -F.sum(inputs["target"] * inputs["input"]) / inputs["input"].shape[0])
    probabilities = Mutant("your kl_div takes its input for probabilities", "cross-entropy-logits", compute=_changed(
        "kl_div", lambda inputs: {"input": F.log(-inputs["input"])}))
    unlogged = Mutant("your kl_div ignores log_target, and lets log(y) be log |y|", "kl-direction", compute=lambda inputs, settings: F.sum(
        inputs["target"] * (F.log(F.abs(inputs["target"])) - inputs["input"])) / inputs["input"].shape[0])
    yield _kl_case("batchmean", "the divergence, a mean over the batch", {"mean": mean, "direction": swapped, "cross-entropy": no_entropy})
    yield _kl_case("mean", "over all elements, as PyTorch has it by default", {"batchmean": Mutant(
        "your kl_div with reduction mean divides by the size of the batch", "kl-batchmean", settings={"reduction": "batchmean"}),
        "direction": swapped}, reduction="mean")
    yield _kl_case("log-target", "both are logarithms", {"direction": swapped_logs, "not-logarithms": unlogged}, log_target=True)
    yield _kl_case("none", "one number an element", {"direction": swapped, "not-logarithms": probabilities}, reduction="none")
    yield _kl_case("zero", "probabilities of 0: 0 log 0 is 0, not NaN", {"mean": mean, "cross-entropy": no_entropy}, zeros=True)


def cases() -> Iterator[Case]:
    """Losses of numbers, of classes, and of probabilities."""
    yield from _mse_cases()
    yield from _l1_cases()
    yield from _huber_cases()
    yield from _cross_entropy_cases()
    yield from _nll_cases()
    yield from _binary_cases()
    yield from _binary_logit_cases()
    yield from _kl_cases()
