"""What changes weights: AdamW, Adam, SGD and a moving average over ten steps, clipping, the learning rate.

Noise is told in units of each number's size, and ten steps round twenty times: so parameters stay a little below 2, where a rounding is
smallest beside them, gradients keep their signs but not their sizes, settings are exact in float32, and steps are long enough that no
rounding repeats itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff.training.ema import ema_decay_at
from minidiff.verify.adapters.minidiff.training import OPERATIONS as RIGHT
from reference.case import Case, Mutant, Note, Operation, draw

_CHAPTER = "docs/ddpm.md#7-training"
_STEPS = {"parameter": "(...), theta before the first step", "gradients": "(10, ...), g of each step"}
_AFTER = {"after_first": "theta after one step", "after_last": "theta after ten"}
_MOMENTS = {"exp_avg": "m after ten steps", "exp_avg_sq": "v after ten steps"}
_ADAM = {"lr": "the learning rate", "betas": "beta1, beta2", "eps": "added to the root of v^"}

OPERATIONS = {
    "adamw": Operation(
        "at step k = 1, 2, ...: theta <- theta (1 - lr wd); m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; "
        "theta <- theta - lr m^ / (sqrt(v^) + eps), m^ = m / (1 - beta1^k), v^ = v / (1 - beta2^k); m = v = 0 at first",
        _CHAPTER, _STEPS, {**_AFTER, **_MOMENTS}, {**_ADAM, "weight_decay": "wd, decoupled from the gradient"}),
    "adam": Operation(
        "at step k = 1, 2, ...: g <- g + wd theta; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; "
        "theta <- theta - lr m^ / (sqrt(v^) + eps), m^ = m / (1 - beta1^k), v^ = v / (1 - beta2^k); m = v = 0 at first",
        _CHAPTER, _STEPS, {**_AFTER, **_MOMENTS}, {**_ADAM, "weight_decay": "wd, added to the gradient"}),
    "sgd": Operation(
        "g <- g + wd theta; b <- g at the first step, then mu b + (1 - dampening) g; theta <- theta - lr b, or theta - lr (g + mu b) with "
        "nesterov, or theta - lr g without momentum",
        _CHAPTER, _STEPS, {**_AFTER, "momentum_buffer": "b after ten steps; absent without momentum"},
        {"lr": "the learning rate", "momentum": "mu", "dampening": "see the equation", "weight_decay": "wd, added to the gradient",
         "nesterov": "true or false"}),
    "ema": Operation(
        "a <- d_k a + (1 - d_k) theta_k,   d_k = min(decay, (1 + k) / (10 + k))", _CHAPTER,
        {"initial": "(...), a at first", "parameters": "(10, ...), theta after each step"},
        {"after_first": "a after one update", "after_last": "after ten"},
        {"decay": "the decay in the long run", "first_step": "k of the first update; 1 at the beginning of a training"}),
    "clip_grad_norm_": Operation(
        "c = g min(1, max_norm / (|g| + 1e-6)),   |g| = (sum of |g_i|^p over all arrays together)^(1/p)", _CHAPTER,
        {"gradient.I": "(...), the gradients of the parameters, I = 0, 1, ..."},
        {"norm": "(), |g| before clipping", "clipped.I": "(...), the gradients after it"},
        {"max_norm": "the greatest length", "norm_type": "p, or \"inf\": |g| is the largest |g_i|"}),
    "learning_rate_at": Operation(
        "lr min(1, k / W) f(u),   u = (k - 1 - W) / (total_steps - W), cut to [0, 1];   f = 1, 1 - u or (1 + cos(pi u)) / 2", _CHAPTER,
        {"step": "(K,) integers k, 1 for the first step"}, {"output": "(K,)"},
        {"learning_rate": "lr", "warmup_steps": "W", "lr_schedule": "f: \"constant\", \"linear\", \"cosine\"",
         "total_steps": "where f reaches 0; null for constant"}),
}

NOTES = {
    "adamw-decay": Note(
        "formula",
        "AdamW shrinks the weights by lr wd, apart from the gradient and before the step; Adam's L2 penalty goes through the moments.",
        "With L2 large gradients are hardly regularized; without the factor lr the weights vanish in a few hundred steps.",
        ("torch.optim.Adam's weight_decay is the L2 penalty, torch.optim.AdamW's is decoupled",)),
    "adam-eps": Note(
        "formula", "eps is added to the root of the corrected second moment: not under the root, and not before the correction.",
        "Only tiny gradients notice: they are stepped along more or less than elsewhere.",
        ("TensorFlow's Adam has the paper's other form, \"epsilon hat\", on purpose",)),
    "adam-correction": Note(
        "formula", "Both moments are divided by 1 - beta^k, k = 1 at the first step.",
        "The first steps are several times too long or too short."),
    "adam-moments": Note("formula", "beta1 is the first moment's, beta2 the second's, whose gradient is squared.", "Unstable training."),
    "sgd-momentum": Note(
        "convention", "torch's momentum adds the whole gradient, b <- mu b + g, begins with b = g, and looks ahead by g + mu b.",
        "A learning rate that is wrong by 1 / (1 - mu), or a slow start.",
        ("Sutskever et al. 2013 and TensorFlow keep the learning rate inside of b",)),
    "ema-warmup": Note(
        "indexing", "The decay warms up as (1 + k) / (10 + k), k = 1 at the first update, and never exceeds the given one, which stays.",
        "An average that forgets too slowly or too soon: early noise in samples, or none of the average's gain.",
        ("diffusers' EMAModel counts from 0: its first update copies the weights",)),
    "ema-sides": Note("formula", "The decay belongs to the average, 1 - decay to the new weights.", "The average is the last weights."),
    "clip-global": Note(
        "formula", "One length over all gradients, one factor for all; shorter ones stay, and 1e-6 is added to the length.",
        "Clipped one by one, or element by element, the direction of the step changes."),
    "lr-schedule": Note(
        "indexing", "Warm-up gives lr / W at the first step; the fall begins after it and ends at total_steps.",
        "A first step of length 0, or a training that ends before its learning rate does.",
        ("transformers and diffusers: get_linear_schedule_with_warmup and its like count the warm-up from 0",)),
    "lr-end": Note(
        "formula", "After total_steps the learning rate stays 0; half a wave that goes on rises again.",
        "Whoever trains on after the end destroys what the end has refined.",
        ("transformers and diffusers: get_cosine_schedule_with_warmup",)),
}


# -- Adam ----------------------------------------------------------------------------------------------------------------


def _adam(
    decay: str = "decoupled", eps: str = "outside", corrected: bool = True, late: int = 0, squared: bool = True, swapped: bool = False,
) -> Callable[..., Any]:
    """Adam with mistakes, on NumPy arrays.

    decay: "decoupled", "l2", "without lr", "after". eps: "outside", "inside" the root, "hat" (before the correction). late: added to k.
    """
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        lr, wd, (beta1, beta2), e = settings["lr"], settings["weight_decay"], settings["betas"], settings["eps"]
        beta1, beta2 = (beta2, beta1) if swapped else (beta1, beta2)
        theta, after = inputs["parameter"].numpy().copy(), []
        m, v = np.zeros_like(theta), np.zeros_like(theta)
        for k, g in enumerate(inputs["gradients"].numpy(), 1 + late):
            g = g + wd * theta if decay == "l2" else g
            theta = theta * (1 - {"decoupled": lr * wd, "without lr": wd}.get(decay, 0.0))
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * (g * g if squared else np.abs(g))
            first, second = (1 - beta1**k, 1 - beta2**k) if corrected else (1.0, 1.0)
            root = {"outside": np.sqrt(v / second) + e, "inside": np.sqrt(v / second + e), "hat": (np.sqrt(v) + e) / math.sqrt(second)}[eps]
            theta = theta - lr * m / first / root
            theta = theta * (1 - lr * wd) if decay == "after" else theta
            after.append(theta)
        return {"after_first": after[0], "after_last": after[-1], "exp_avg": m, "exp_avg_sq": v}

    return compute


L2 = Mutant("your weight decay is part of the gradient: that is Adam with an L2 penalty", "adamw-decay", compute=_adam("l2"))
WITHOUT_LR = Mutant("your weight decay is not multiplied by the learning rate", "adamw-decay", compute=_adam("without lr"))
AFTER = Mutant("your weight decay comes after the step", "adamw-decay", compute=_adam("after"))
HAT = Mutant("you add eps before the second moment is corrected", "adam-eps", compute=_adam(eps="hat"))
INSIDE = Mutant("your eps is inside the root", "adam-eps", compute=_adam(eps="inside"))
UNCORRECTED = Mutant("you do not correct the moments' bias", "adam-correction", compute=_adam(corrected=False))
LATE = Mutant("your first step has k = 2", "adam-correction", compute=_adam(late=1))
SWAPPED = Mutant("your betas are swapped", "adam-moments", compute=_adam(swapped=True))
NOT_SQUARED = Mutant("your second moment is of |g|, not of g^2", "adam-moments", compute=_adam(squared=False))


def _signs(*shape: int) -> np.ndarray:
    """+1 and -1, not in turn."""
    return np.where(np.arange(math.prod(shape)) % 3 == 1, -1, 1).astype(np.float32).reshape(shape)


def _steps(id: str, *shape: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """A parameter a little below 2, and gradients of five sizes, powers of ten apart, with the parameter's signs."""
    sizes = np.float32(scale) * (np.float32(10.0) ** -(np.arange(math.prod(shape)) % 5)).astype(np.float32).reshape(shape)
    gradients = sizes * _signs(*shape) * np.abs(draw(f"{id}:gradients", 10, *shape, mean=1.0, scale=0.3))
    parameter = _signs(*shape) * (np.float32(1.95) - np.abs(draw(f"{id}:parameter", *shape, scale=0.1)))
    return {"parameter": parameter, "gradients": gradients.astype(np.float32)}


def _steps_of(id: str, reason: str, inputs: Mapping[str, np.ndarray], mutants: Mapping[str, Mutant], lr: float = 2.0 ** -6,
              betas: tuple[float, float] = (0.875, 1 - 2.0 ** -10), eps: float = 1e-8, weight_decay: float = 2.0 ** -3) -> Case:
    """Ten steps of Adam or AdamW."""
    settings = {"lr": lr, "betas": list(betas), "eps": eps, "weight_decay": weight_decay}
    return Case(id, reason, inputs, settings, (), mutants, "relative")


def _adams() -> Iterator[Case]:
    """AdamW, and Adam with its penalty."""
    id = "adamw/ten-steps"
    yield _steps_of(id, "ten steps with settings that are nearly the usual ones", _steps(id, 3, 7), {
        "usual": Mutant("your betas are 0.9 and 0.999, whatever is asked for", "adam-moments", settings={"betas": [0.9, 0.999]}), "l2": L2,
        "without-lr": WITHOUT_LR, "uncorrected": UNCORRECTED, "late": LATE, "swapped": SWAPPED, "not-squared": NOT_SQUARED,
        "inside": INSIDE})
    id = "adamw/tiny-gradients"
    yield _steps_of(id, "gradients of size 1e-6 to 1e-10: eps decides", _steps(id, 2, 5, scale=1e-6), {
        "inside": INSIDE, "hat": HAT, "eps": Mutant("your eps is 1e-6", "adam-eps", settings={"eps": 1e-6})})
    id = "adamw/strong-decay"
    yield _steps_of(id, "a large learning rate and a strong decay: their order shows", _steps(id, 11), {
        "l2": L2, "without-lr": WITHOUT_LR, "after": AFTER}, lr=2.0 ** -5, weight_decay=0.5)
    id = "adamw/no-decay"
    yield _steps_of(id, "the usual settings, but no decay: Adam", _steps(id, 5), {
        "decays": Mutant("your weight decay is 0.01 where none is asked for", "adamw-decay", settings={"weight_decay": 0.01})},
        lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0)
    id = "adamw/other-betas"
    yield _steps_of(id, "betas of 0.5 and 0.75, eps of 2^-10: powers of two", _steps(id, 2, 3), {
        "swapped": SWAPPED, "uncorrected": UNCORRECTED, "hat": HAT},
        lr=2.0 ** -6, betas=(0.5, 0.75), eps=2.0 ** -10, weight_decay=2.0 ** -4)
    id = "adamw/zero-gradients"
    still = _steps(id, 2, 3)
    still["gradients"][:, 0] = 0
    still["gradients"][1:, 1] = 0
    yield _steps_of(id, "gradients that are zero always, or after the first step: decay and momentum go on", still, {
        "l2": L2, "without-lr": WITHOUT_LR})
    id = "adam/ten-steps"
    yield _steps_of(id, "ten steps without a penalty", _steps(id, 3, 5), {
        "uncorrected": Mutant(UNCORRECTED.words, UNCORRECTED.flag, compute=_adam("l2", corrected=False)),
        "late": Mutant(LATE.words, LATE.flag, compute=_adam("l2", late=1))}, weight_decay=0.0)
    id = "adam/l2"
    yield _steps_of(id, "a penalty on the weights, which goes through the moments", _steps(id, 7), {
        "decoupled": Mutant("your weight decay is decoupled from the gradient: that is AdamW", "adamw-decay", compute=_adam())},
        weight_decay=0.125)


# -- SGD -----------------------------------------------------------------------------------------------------------------


def _momentum(first: float = 1.0, share: float = 1.0, ahead: bool = False) -> Callable[..., Any]:
    """SGD with mistakes: the first buffer is `first` times the gradient, later ones take `share` of it; ahead: theta - lr (b + mu g)."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        lr, mu, wd = settings["lr"], settings["momentum"], settings["weight_decay"]
        theta, b, after = inputs["parameter"].numpy().copy(), None, []
        for g in inputs["gradients"].numpy():
            g = g + wd * theta
            b = first * g if b is None else mu * b + share * g
            theta = theta - lr * (b + mu * g if ahead else b)
            after.append(theta)
        return {"after_first": after[0], "after_last": after[-1], "momentum_buffer": b}

    return compute


def _sgd(name: str, reason: str, mutants: Mapping[str, Mutant], **settings: Any) -> Case:
    id = f"sgd/{name}"
    settings = {"lr": 2.0 ** -7, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, **settings}
    return Case(id, reason, _steps(id, 2, 5), settings, (), mutants, "relative")


def _sgds() -> Iterator[Case]:
    """With every option."""
    average = Mutant("your buffer is an average: it takes 1 - mu of the gradient", "sgd-momentum", compute=_momentum(0.125, 0.125))
    yield _sgd("plain", "nothing but the gradient, and a decay", {
        "no-decay": Mutant("you leave out the weight decay", "sgd-momentum", settings={"weight_decay": 0.0})}, weight_decay=0.125)
    yield _sgd("momentum", "a heavy ball", {
        "average": average, "nesterov": Mutant("you look ahead", "sgd-momentum", settings={"nesterov": True})}, momentum=0.875)
    yield _sgd("nesterov", "looking ahead, with a decay", {
        "heavy-ball": Mutant("you do not look ahead", "sgd-momentum", settings={"nesterov": False}),
        "ahead": Mutant("your look ahead is b + mu g, not g + mu b", "sgd-momentum", compute=_momentum(ahead=True))},
        momentum=0.875, weight_decay=0.0625, nesterov=True)
    yield _sgd("dampening", "the first gradient is not dampened", {
        "first": Mutant("you dampen the first gradient, too", "sgd-momentum", compute=_momentum(0.75, 0.75)),
        "undampened": Mutant("you do not dampen", "sgd-momentum", settings={"dampening": 0.0})}, momentum=0.75, dampening=0.25)


# -- the moving average --------------------------------------------------------------------------------------------------


def _moving(decay_at: Callable[[int, float], float]) -> Callable[..., Any]:
    """The average with decays of its own: decay_at(k, decay)."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        a, after = inputs["initial"], []
        for k, theta in enumerate(inputs["parameters"], settings["first_step"]):
            d = decay_at(k, settings["decay"])
            a = d * a + (1 - d) * theta
            after.append(a)
        return {"after_first": after[0], "after_last": after[-1]}

    return compute


def _from_zero(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return RIGHT["ema"]({**inputs, "initial": inputs["initial"] * 0.0}, settings)


OFF_BY_ONE = Mutant("your warm-up counts the first update as k = 0", "ema-warmup",
                    compute=_moving(lambda k, decay: ema_decay_at(k - 1, decay)))
COPIED = Mutant("your first update has decay 0 and copies the weights; after it k is one less", "ema-warmup",
                compute=_moving(lambda k, decay: 0.0 if k == 1 else ema_decay_at(k - 1, decay)))
OVERWRITTEN = Mutant("your warm-up overwrites its decay with that of the first update", "ema-warmup",
                     compute=_moving(lambda k, decay: ema_decay_at(1, decay)))
CONSTANT = Mutant("your decay does not warm up", "ema-warmup", compute=_moving(lambda k, decay: decay))
SIDES = Mutant("your decay multiplies the new weights, not the average", "ema-sides",
               compute=_moving(lambda k, decay: 1 - ema_decay_at(k, decay)))
FROM_ZERO = Mutant("your average begins at 0, not at the initial weights", "ema-sides", compute=_from_zero)


def _ema(name: str, reason: str, decay: float, first_step: int, mutants: Mapping[str, Mutant]) -> Case:
    id, shape = f"ema/{name}", (3, 5)
    walk = np.cumsum(draw(f"{id}:walk", 10, *shape, scale=0.1), 0)
    initial = _signs(*shape) * (1 + np.abs(draw(f"{id}:initial", *shape, scale=0.2)))
    return Case(id, reason, {"initial": initial, "parameters": ((initial + walk) * np.float32(1.25)).astype(np.float32)},
                {"decay": decay, "first_step": first_step}, (), mutants, "relative")


def _emas() -> Iterator[Case]:
    """With and without warm-up."""
    yield _ema("warm-up", "the first ten updates of a training", 0.9999, 1, {
        "off-by-one": OFF_BY_ONE, "copied": COPIED, "overwritten": OVERWRITTEN, "constant": CONSTANT, "sides": SIDES})
    yield _ema("end-of-warm-up", "the decay is reached at the fifth update", 0.375, 1, {
        "off-by-one": OFF_BY_ONE, "copied": COPIED, "overwritten": OVERWRITTEN, "constant": CONSTANT})
    yield _ema("constant", "late in a training: the decay alone", 0.9, 1000, {
        "sides": SIDES, "from-zero": FROM_ZERO, "overwritten": OVERWRITTEN})
    yield _ema("half", "decay of one half: exact but for the sums", 0.5, 50, {"from-zero": FROM_ZERO})


# -- clipping ------------------------------------------------------------------------------------------------------------


def _clipped(factors: Callable[..., list[Any]]) -> Callable[..., Any]:
    """Clipping with factors of its own: factors(arrays, settings), one for each array."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        arrays = {name: x.numpy() for name, x in inputs.items()}
        norm = RIGHT["clip_grad_norm_"](inputs, settings)["norm"]
        return {"norm": norm, **{name.replace("gradient", "clipped"): x * factor for (name, x), factor in zip(
            arrays.items(), factors(list(arrays.values()), float(norm.item()), settings["max_norm"]))}}

    return compute


ONE_BY_ONE = Mutant("you clip each array by its own length", "clip-global", compute=_clipped(
    lambda arrays, norm, longest: [min(1.0, longest / (math.sqrt((x * x).sum()) + 1e-6)) for x in arrays]))
BY_VALUE = Mutant("you clip each element", "clip-global", compute=_clipped(
    lambda arrays, norm, longest: [np.clip(x, -longest, longest) / x for x in arrays]))
ALWAYS = Mutant("you lengthen what is shorter", "clip-global", compute=_clipped(
    lambda arrays, norm, longest: [longest / norm] * len(arrays)))
WITHOUT = Mutant("you do not add 1e-6 to the length", "clip-global", compute=_clipped(
    lambda arrays, norm, longest: [min(1.0, longest / norm)] * len(arrays)))


def _clip(name: str, reason: str, max_norm: float, norm_type: Any, scale: float, mutants: Mapping[str, Mutant]) -> Case:
    id = f"clip_grad_norm_/{name}"
    inputs = {f"gradient.{i}": draw(f"{id}:{i}", *shape, scale=scale * 2**i, mean=scale)
              for i, shape in enumerate([(3, 5), (7,), (2, 1, 2)])}
    return Case(id, reason, inputs, {"max_norm": max_norm, "norm_type": norm_type}, (), mutants, "relative")


def _clips() -> Iterator[Case]:
    yield _clip("long", "a gradient that is too long", 1.0, 2.0, 1.0, {"one-by-one": ONE_BY_ONE, "by-value": BY_VALUE})
    yield _clip("short", "a gradient that is short enough", 100.0, 2.0, 0.5, {"always": ALWAYS})
    yield _clip("tiny", "lengths of 1e-2, where the 1e-6 shows", 0.0078125, 2.0, 1e-2, {"without": WITHOUT})
    yield _clip("largest", "the largest element is the length", 0.5, "inf", 1.0, {
        "two": Mutant("your length is the Euclidean one", "clip-global", settings={"norm_type": 2.0}), "by-value": BY_VALUE})
    yield _clip("sum", "the sum of all sizes is the length", 5.0, 1.0, 1.0, {
        "two": Mutant("your length is the Euclidean one", "clip-global", settings={"norm_type": 2.0})})


# -- the learning rate ---------------------------------------------------------------------------------------------------


def _from_step_zero(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    return RIGHT["learning_rate_at"]({"step": inputs["step"] - 1}, settings)


def _over_all(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """The fall counts from the first step, not from the end of the warm-up."""
    k = inputs["step"].numpy()
    warm = np.minimum(1.0, k / settings["warmup_steps"])
    done = np.minimum(1.0, (k - 1) / settings["total_steps"])
    share = {"linear": 1 - done, "cosine": (1 + np.cos(np.pi * done)) / 2}[settings["lr_schedule"]]
    return settings["learning_rate"] * warm * share


def _warm_from_zero(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """The warm-up alone counts from 0: the first step changes nothing, and the fall is where it should be."""
    k = inputs["step"].numpy()
    warm = np.minimum(1.0, (k - 1) / settings["warmup_steps"])
    return RIGHT["learning_rate_at"](inputs, settings) * warm / np.minimum(1.0, k / settings["warmup_steps"])


def _rising_again(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """The cosine goes on after the end."""
    u = (inputs["step"].numpy() - 1 - settings["warmup_steps"]) / (settings["total_steps"] - settings["warmup_steps"])
    return settings["learning_rate"] * (1 + np.cos(np.pi * u)) / 2


def _rate(name: str, reason: str, schedule: str, warmup_steps: int, total_steps: int | None, mutants: Mapping[str, Mutant]) -> Case:
    steps = np.array([1, 2, 3, 12, 13, 14, 15, 40, 99, 100], np.int64)
    settings = {"learning_rate": 0.001, "warmup_steps": warmup_steps, "lr_schedule": schedule, "total_steps": total_steps}
    return Case(f"learning_rate_at/{name}", reason, {"step": steps}, settings, (), mutants, "relative")


def _rates() -> Iterator[Case]:
    from_zero = Mutant("your first step has k = 0, and a learning rate of 0", "lr-schedule", compute=_from_step_zero)
    warm_from_zero = Mutant("your warm-up counts from 0: the first step has a learning rate of 0", "lr-schedule", compute=_warm_from_zero)
    over_all = Mutant("your learning rate falls from the first step on", "lr-schedule", compute=_over_all)
    straight = Mutant("your learning rate falls along a line", "lr-schedule", settings={"lr_schedule": "linear"})
    yield _rate("warm-up", "thirteen steps of warm-up, then constant", "constant", 13, None, {"from-zero": from_zero})
    yield _rate("linear", "a fall along a line, which ends beyond the last of these steps", "linear", 13, 107, {
        "from-zero": from_zero, "warm-up-from-zero": warm_from_zero, "over-all": over_all})
    yield _rate("cosine", "a fall along half a wave", "cosine", 13, 107, {
        "warm-up-from-zero": warm_from_zero, "over-all": over_all, "straight": straight})
    yield _rate("no-warm-up", "whole from the first step; the total is passed, and 0 stays 0", "cosine", 0, 90, {
        "straight": straight, "rises-again": Mutant("your cosine rises again after the end; the learning rate stays 0", "lr-end",
                                                    compute=_rising_again)})


def cases() -> Iterator[Case]:
    """Optimizers, the average, clipping, the learning rate."""
    yield from _adams()
    yield from _sgds()
    yield from _emas()
    yield from _clips()
    yield from _rates()
