"""Guidance and edits on data whose perfect model is known: where scales, signs, masks, levels and counts show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.diffusion import DDPM, Move, Path, Plan, Row, path, sample, sdedit_times, shifted_mean
from minidiff.verify.adapters.minidiff.guidance import OPERATIONS as RIGHT
from minidiff.verify.adapters.minidiff.guidance import SAMPLERS, data_model, edited, inpainted, inverted, label_gradient
from minidiff.verify.adapters.minidiff.samplers import arrays, process_of
from reference.case import Case, Mutant, Note, Operation, draw
from reference.cases.samplers import FIVE, LINEAR, MIXTURE, PROCESSES, SIGMAS, SIX, THIRTEEN

# -- the operations ----------------------------------------------------------------------------------------------------

DATA = ("{mean, std}, no kind: data N(mean, std^2), every element by itself, whose perfect model is "
        "eps = s (x - a mean) / (a^2 std^2 + s^2), x_0 = (x - s eps) / a")
BELLS_DATA = ("{weights, means, stds}, no kind: data sum_k w_k N(m_k, s_k^2 I), in which the elements of a sample know of each other: "
              "eps = s sum_k p_k (x - a m_k) / v_k, v_k = a^2 s_k^2 + s^2, p_k proportional to w_k N(x; a m_k, v_k I), "
              "x_0 = (x - s eps) / a")
DDIM = "DDIM from t to the next time u: x_u = a_u x_0 + s_u eps, x_0 = (x_t - s_t eps) / a_t; the walk ends at the data, a = 1, s = 0"
DDPM_STEP = ("DDPM's step from t to u: alpha = abar_t / abar_u, x_u = (x_t - (1 - alpha) / s_t eps) / sqrt(alpha) + sqrt(Sigma) z, "
             "Sigma = (1 - alpha) (1 - abar_u) / (1 - abar_t); the last, to the data, draws nothing")
PROCESS = {"process": PROCESSES}
WALK = {"process": PROCESSES, "times": "S times, the noisiest first"}
ENDS = {"set_alpha_to_one": "true: the walk ends at the data; false: at time 0 of the schedule"}
X = {"x": "(N, ...): where the walk begins, at the first of the times"}
NOISE = {"noise": "(draws, N, ...): the fresh noise of the walk in the order of use; absent if none is drawn"}
LABEL = "{target, width}: log p(y | x_t) = -(x_t - a_t target)^2 / (2 width^2), summed over the elements"
SAMPLER = {"sampler": "ddim; ddpm; ddpm_large, DDPM with Sigma = 1 - alpha, and nothing drawn in the last step"}
SCALES = {"guidance_scale": "s; 0 is unconditional, 1 conditional",
          "guidance_rescale": "phi in [0, 1]: the answer e becomes phi std(e_c) / std(e) e + (1 - phi) e, the standard deviations over all "
                              "elements of each sample"}
OUTPUT = {"output": "like x"}
INVERSION = {
    "asked_at": "start: eps at the level where the step begins (the first, at the data, where no model can be asked: at the last of the "
                "times); end: at the level where it ends",
    "corrections": "how often the step is taken again, from its beginning, with eps at the x and level where it ended"}
UPWARDS = ("from the data up through the times, the last of them first: x_t = a_t (x_u - s_u eps) / a_u + s_t eps")

OPERATIONS = {
    "classifier_free_guidance": Operation(
        "e = e_u + s (e_c - e_u), then rescaled", "docs/guidance.md#5-classifier-free-guidance",
        {"unconditional": "e_u, (N, ...): what the model says without the condition", "conditional": "e_c, with it"},
        {"output": "like conditional"}, SCALES),
    "rescale_guidance": Operation(
        "phi std(e_c) / std(e) e + (1 - phi) e, the standard deviations (about the mean) over all elements of each sample",
        "docs/guidance.md#7-less-of-it-rescaling-and-intervals", {"guided": "e, (N, ...)", "conditional": "e_c, like guided"},
        {"output": "like guided"}, {"guidance_rescale": "phi in [0, 1]"}),
    "bernoulli_drop": Operation(
        "label_n <- null_label if u_n < probability, else label_n", "docs/ddpm.md#10-telling-it-what-to-draw",
        {"labels": "(N,) int64", "uniform": "(N,): u, uniform in [0, 1)"}, {"output": "(N,) int64"},
        {"null_label": "stands for no condition", "probability": "of dropping"}),
    "guidance_interval": Operation(
        "guided where sigma_low < s_t / a_t <= sigma_high, else unguided; each sample has a time of its own",
        "docs/guidance.md#7-less-of-it-rescaling-and-intervals",
        {"guided": "(N, ...): the guided model's answer", "unguided": "the other's", "t": "(N,) int64: times"}, {"output": "like guided"},
        {**PROCESS, "sigma_low": "in units of the data", "sigma_high": "the same"}),
    "classifier_free_ddim": Operation(
        f"{DDIM}.\nThe model's answer is e = e_u + s (e_c - e_u), rescaled, where sigma_low < s_t / a_t <= sigma_high, elsewhere e_c;\n"
        "e stands for eps, or for v = a eps - s x_0.", "docs/guidance.md#5-classifier-free-guidance", X, OUTPUT,
        {**WALK, "conditional": DATA, "unconditional": DATA, "prediction_type": "epsilon or v_prediction: what is guided and rescaled",
         **SCALES, "sigma_low": "guidance only above", "sigma_high": "and up to this s / a (1e30: everywhere)"}),
    "classifier_guidance": Operation(
        "score' = score + scale gradient, that is eps' = eps - scale s_t gradient,\n"
        "x_0' = x_0 + scale s_t^2 / a_t gradient, v' = v - scale s_t / a_t gradient",
        "docs/guidance.md#2-classifier-guidance-another-epsilon",
        {"model_output": "(N, ...)", "gradient": "of log p(y | x_t), like model_output", "t": "(N,) int64: the time of each sample"},
        {"output": "like model_output"},
        {**PROCESS, "scale": "of the gradient", "prediction_type": "what model_output is: epsilon, sample, v_prediction or score"}),
    "classifier_guided_ddim": Operation(
        f"{DDIM}.\neps = the model's eps - scale s_t grad log p(y | x_t). Dhariwal & Nichol 2021, Algorithm 2.",
        "docs/guidance.md#2-classifier-guidance-another-epsilon", X, OUTPUT,
        {**WALK, "model": DATA, "prediction_type": "what is asked of the model", "classifier": LABEL, "scale": "of the gradient"}),
    "shifted_mean": Operation(
        f"{DDPM_STEP}.\nTo its mean is added scale Sigma grad log p(y | .). Dhariwal & Nichol 2021, Algorithm 1.",
        "docs/guidance.md#3-classifier-guidance-another-mean", X | NOISE, OUTPUT,
        {**WALK, "model": DATA, "classifier": LABEL, "scale": "of the gradient",
         "gradient_at": "x_t: at x_t and time t, as in OpenAI's code; mean: at the mean and time u, as in the paper's derivation"}),
    "log_prob_of_start": Operation(
        "-|y - x_0|^2 / (2 width^2) with the x_0 that the model predicts from x at a time; its gradient with respect to x goes through the "
        "model. Chung et al. 2023 (DPS).", "docs/guidance.md#4-energies-and-guidance-by-what-is-said-of-clean-data",
        {"x": "(N, C, L), noisy", "y": "like x, what was measured", "cotangent": "(N,)"}, {"output": "(N,)"},
        {**PROCESS, "model": DATA, "time": "of x", "width": "of the measurement's noise"}),
    "inpaint": Operation(
        f"{DDIM}.\n{DDPM_STEP}.\nAfter each step, at u: x <- mask (a_u known + s_u z) + (1 - mask) x, at the data without z.\n"
        "The walk visits the levels of repaint_schedule; a jump up from u to t is x <- a_t / a_u x + sqrt(s_t^2 - (a_t / a_u)^2 s_u^2) z,\n"
        "one draw for all its levels. Order of the draws: the step's, that of the known part, that of the jump.",
        "docs/guidance.md#9-repaint-go-over-it-again",
        {**X, **NOISE, "known": "like x: data",
         "mask": "broadcasts to x: int64, 1 where known and 0 where to paint, or floats between"}, OUTPUT,
        {**WALK, "model": BELLS_DATA, **SAMPLER, "jump_length": "levels of a jump",
         "jump_n_sample": "how often each stretch is walked; 1: no jumps", **ENDS}),
    "repaint_schedule": Operation(
        "Positions in the list of times, 0 the noisiest, num_steps the data, in steps of 1 down from 0.\n"
        "On arriving at num_steps - 1, num_steps - 1 - jump_length, ... (none before position jump_length) the walk goes back\n"
        "by jump_length positions, one by one, jump_n_sample - 1 times at each, and comes down again.",
        "docs/guidance.md#9-repaint-go-over-it-again", {}, {"output": "int64: the positions"},
        {"num_steps": "S", "jump_length": "levels of a jump", "jump_n_sample": "how often each stretch is walked"}),
    "sdedit_times": Operation(
        "the last floor(strength S) of the times; strength S is exact: 0.29 of 100 are 29",
        "docs/guidance.md#10-sdedit-part-of-the-way-back",
        {"times": "(S,) int64"}, {"output": "int64"}, {"strength": "0: nothing changes; 1: all times"}),
    "sdedit": Operation(
        f"x = a_t x_start + s_t z at the first t of sdedit_times, then the walk through them.\n{DDIM}.\n{DDPM_STEP}.",
        "docs/guidance.md#10-sdedit-part-of-the-way-back",
        {"x_start": "(N, ...): data", "noise": "(draws, N, ...): first z, then the walk's"}, {"output": "like x_start"},
        {**WALK, "model": DATA, "strength": "the share of the times that is walked, rounded down", **SAMPLER, **ENDS}),
    "ddim_inversion": Operation(
        f"DDIM {UPWARDS}", "docs/guidance.md#11-inversion-which-noise-would-have-made-this", {"x_start": "(N, ...): data"},
        {"output": "like x_start: x at the first of the times"}, {**WALK, "model": DATA, **INVERSION, **ENDS}),
    "counterfactual": Operation(
        f"With the model, {UPWARDS}; then with the other model down again. {DDIM}.",
        "docs/guidance.md#12-counterfactuals-the-same-as-another-kind", {"x_start": "(N, ...): data"}, {"output": "like x_start"},
        {**WALK, "model": DATA, "other_model": DATA, **INVERSION}),
}

# -- the mistakes ------------------------------------------------------------------------------------------------------

NOTES = {
    "guidance-scale": Note(
        "convention", "The paper's w and everybody's scale s = 1 + w are taken for one another: (1 + w) e_c - w e_u = e_u + s (e_c - e_u).",
        "One more or less guidance than was meant; w = 0 becomes unconditional.",
        ("Ho & Salimans 2022, Eq. 6, against diffusers' guidance_scale",)),
    "guidance-order": Note(
        "convention", "The two halves of the batch, unconditional and conditional, are taken in the wrong order.",
        "Images of anything but what was asked for.",
        ("OpenAI's GLIDE has the conditional half first, Stable Diffusion the unconditional",)),
    "guidance-rescale": Note(
        "formula", "The standard deviations are over the whole batch, over channels, or about 0; or phi is the wrong way round.",
        "Images depend on their companions, or lose their colour balance.", ("Lin et al. 2023, Section 3.4",)),
    "guidance-rescale-of": Note(
        "convention", "Rescaling acts on epsilon or on v, and has another effect on each.", "On epsilon almost none in the strong noise.",
        ("Lin et al. 2023 rescale v",)),
    "guidance-dropping": Note("convention", "Labels are kept, not dropped, with the probability; or the null label is another one.",
                              "The model hardly learns the condition."),
    "guidance-interval": Note(
        "convention", "The ends of the interval: in s or in s / a, swapped, or the interval left out.",
        "Guidance where it harms: oversaturated.",
        ("Kynkaanniemi et al. 2024 give sigmas of EDM, s / a",)),
    "classifier-sigma": Note("formula", "The gradient is added without sigma_t, or with its square.",
                             "Too weak in the noise, where the class is decided, and too strong near the data."),
    "classifier-sign": Note("formula", "The gradient has the wrong sign (an energy is minus a log-probability).", "Away from the class."),
    "classifier-prediction-type": Note("convention", "The gradient is added to v or x_0 as if it were epsilon.",
                                       "Guidance of another strength and sign."),
    "classifier-gradient-at": Note(
        "convention", "The gradient is taken at x_t (OpenAI's code) or at the mean and the time it belongs to (the paper's derivation).",
        "Small with many steps.", ("guided-diffusion, condition_mean; Dhariwal & Nichol 2021, Algorithm 1",)),
    "classifier-variance": Note("formula", "The mean is shifted by the standard deviation times the gradient, not by the variance.",
                                "Each small step is shifted far too much, the smaller the more."),
    "classifier-scale": Note("default", "The scale of the classifier is left out.", "Less guidance than was asked for."),
    "reconstruction-at": Note("formula", "The measurement is compared with x_t, not with the x_0 predicted from it.",
                              "In the noise all is pushed towards small signals."),
    "inpaint-mask": Note(
        "convention", "The mask is 1 where the data is known (RePaint) or where it shall be painted (Stable Diffusion's pipelines).",
        "The wrong part is painted over.", ("RePaint against diffusers' inpainting pipelines",)),
    "inpaint-noise": Note(
        "formula", "The known part gets noise of standard deviation s^2, not s: Algorithm 1, line 5, lacks a square root; Eq. 8a is right.",
        "A seam: the known part is too clean at every level.", ("Lugmayr et al. 2022, Algorithm 1; diffusers issue 10644",)),
    "inpaint-level": Note("indexing", "The known part is noised to the level before the step, not to the one that it reached.",
                          "A seam: the known part is noisier than the rest."),
    "inpaint-jumps": Note("indexing", "The number of jumps is jump_n_sample, where it is one less, or there are none.",
                          "Another number of calls; less harmony between the parts."),
    "inpaint-variance": Note("convention", "RePaint with the variance beta~ or beta.",
                             "With beta~ and many repetitions the result is too narrow."),
    "sdedit-strength": Note(
        "convention", "The strength is the share that is walked, not the share that is kept, rounded down; but int(0.29 * 100) is 28.",
        "One step less or more, or the opposite strength.", ("diffusers get_timesteps of the image-to-image pipelines",)),
    "sdedit-noise": Note("formula", "The image is noised by the variance, or to the level of another time than the walk begins at.",
                         "Details are lost that should stay, or grain is left."),
    "inversion-asked-at": Note(
        "convention", "On the way up the model is asked at the level where the step begins, or at the one where it ends.",
        "The reconstruction differs in its details.", ("diffusers DDIMInverseScheduler; OpenAI's ddim_reverse_sample asks at the start",)),
    "inversion-start": Note(
        "convention", "The walk up begins at the data, or takes the data for x at time 0.", "None that is seen; a different latent.",
        ("guided-diffusion, ddim_reverse_sample",)),
    "inversion-previous-timestep": Note(
        "indexing", "A step up begins at the time before in the list, not at t - T // N.",
        "The latent is one of other noise levels: the way back misses the picture.", ("diffusers DDIMInverseScheduler.step",)),
    "inversion-corrections": Note("default", "The step up is not corrected.", "The way back does not lead to the same image."),
}


class _Endless:
    """Noise that is given, again from the beginning when it is used up; it counts what was drawn."""

    def __init__(self, given: Any) -> None:
        self.given, self.draws = cycle(given), 0

    def standard_normal(self, shape: Any, dtype: Any) -> Any:
        self.draws += 1
        return next(self.given)


def _said(words: str, flag: str, **settings: Any) -> Mutant:
    return Mutant(words, flag, settings=settings)


def _other(words: str, flag: str, function: Callable[..., Any], **changes: Callable[[Mapping[str, Any]], Any]) -> Mutant:
    """The right function of other inputs: each change makes one of all inputs."""
    return Mutant(words, flag, compute=lambda inputs, settings: function(
        {**inputs, **{name: change(inputs) for name, change in changes.items()}}, settings))


def _draw(id: str, *shape: int, **names: float) -> dict[str, np.ndarray]:
    """Arrays of one shape by name, each with its size."""
    return {name: draw(f"{id}:{name}", *shape, scale=scale) for name, scale in names.items()}


# -- the cases ---------------------------------------------------------------------------------------------------------

SHAPE = (2, 3, 5)
JOINT = (5, 3)
BELLS = {name: MIXTURE[name] for name in ("weights", "means", "stds")}
ONE = {"mean": 0.3, "std": 0.5}
OTHER = {"mean": -0.4, "std": 0.75}
PAIR = {"conditional": ONE, "unconditional": OTHER}
CLASSIFIER = {"target": 0.6, "width": 0.75}
ALWAYS = {"sigma_low": 0.0, "sigma_high": 1e30}


def _rescaled_otherwise(spread: Callable[[Any], Any]) -> Callable[..., Any]:
    """Rescaling with another idea of what a standard deviation is taken over."""
    def compute(inputs, settings):
        if "guided" in inputs:
            guided = inputs["guided"]
        else:
            guided = inputs["unconditional"] + settings["guidance_scale"] * (inputs["conditional"] - inputs["unconditional"])
        phi = settings["guidance_rescale"]
        return guided * (phi * spread(inputs["conditional"]) / spread(guided) + (1 - phi))

    return compute


def _spread(*dims: int) -> Callable[[Any], Any]:
    return lambda x: F.sqrt(F.var(x, dims, correction=0, keepdim=True))


def _classifier_free() -> Iterator[Case]:
    function = RIGHT["classifier_free_guidance"]
    swapped = _other("your conditional and unconditional halves are swapped", "guidance-order", function,
                     conditional=lambda inputs: inputs["unconditional"], unconditional=lambda inputs: inputs["conditional"])
    batch = Mutant("your standard deviations are over the whole batch", "guidance-rescale", compute=_rescaled_otherwise(_spread(0, 1, 2)))
    channels = Mutant("your standard deviations are those of each channel", "guidance-rescale", compute=_rescaled_otherwise(_spread(2)))
    root = Mutant("your standard deviations are about 0, not about the mean", "guidance-rescale", compute=_rescaled_otherwise(
        lambda x: F.sqrt(F.mean(x * x, (1, 2), keepdim=True))))
    weight = lambda scale: _said("your scale is the paper's w, one less", "guidance-scale", guidance_scale=scale + 1)
    other_way = _said("your phi and 1 - phi are swapped", "guidance-rescale", guidance_rescale=0.3)
    for name, reason, scale, rescale, mutants in (
        ("ordinary", "Stable Diffusion's scale", 7.5, 0.0, {"paper-w": weight(7.5), "swapped": swapped}),
        ("conditional", "s = 1 is the conditional answer; w = 1 is not", 1.0, 0.0, {"paper-w": weight(1.0), "swapped": swapped}),
        ("unconditional", "s = 0 is the unconditional answer", 0.0, 0.0, {"swapped": swapped}),
        ("away", "a negative scale leads away from the condition", -2.5, 0.0, {"paper-w": weight(-2.5), "swapped": swapped}),
        ("rescaled", "the contrast given back in part, each sample its own", 7.5, 0.7, {
            "not-rescaled": _said("you ignore guidance_rescale", "guidance-rescale", guidance_rescale=0.0), "batch": batch,
            "channels": channels, "about-0": root, "other-way": other_way}),
    ):
        id = f"classifier_free_guidance/{name}"
        inputs = {"unconditional": draw(f"{id}:u", *SHAPE, mean=0.5), "conditional": draw(f"{id}:c", *SHAPE, scale=0.75, mean=1.0)}
        yield Case(id, reason, inputs, {"guidance_scale": scale, "guidance_rescale": rescale}, (), mutants)
    for name, reason, phi, mean, mutants in (
        ("whole", "phi = 1: exactly the conditional contrast", 1.0, 0.5, {"batch": batch, "channels": channels, "about-0": root}),
        ("large-mean", "phi = 0.7 and a mean of 100: the mean is scaled too, the spread is taken about it", 0.7, 100.0, {
            "batch": batch, "about-0": root, "other-way": other_way})):
        id = f"rescale_guidance/{name}"
        inputs = {"guided": draw(f"{id}:guided", *SHAPE, scale=3.0, mean=mean), "conditional": draw(f"{id}:conditional", *SHAPE, mean=mean)}
        yield Case(id, reason, inputs, {"guidance_rescale": phi}, (), mutants)
    id, labels = "bernoulli_drop/tenth", np.arange(1, 30, dtype=np.int64)
    uniform = np.random.Generator(np.random.Philox(key=29)).random(29).astype(np.float32)
    function = RIGHT["bernoulli_drop"]
    yield Case(id, "labels are dropped where u is below the probability", {"labels": labels, "uniform": uniform},
               {"null_label": 0, "probability": 0.2}, (), {
                   "kept": _other("you keep labels with the probability, where you should drop them", "guidance-dropping", function,
                                  uniform=lambda inputs: 1 - inputs["uniform"]),
                   "null-1000": _said("your null label is another one", "guidance-dropping", null_label=1000)})


def _interval() -> Iterator[Case]:
    function = RIGHT["guidance_interval"]
    id, times = "guidance_interval/each-its-own-time", np.array([999, 0, 420, 77, 610], dtype=np.int64)
    inputs = _draw(id, 5, 2, 3, guided=2.0, unguided=1.0) | {"t": times}
    settings = {"process": LINEAR, "sigma_low": 0.15, "sigma_high": 3.0}
    yield Case(id, "a batch whose times lie on both sides of both ends", inputs, settings, (), {
        "swapped": _other("you guide outside of the interval", "guidance-interval", function, guided=lambda inputs: inputs["unguided"],
                          unguided=lambda inputs: inputs["guided"]),
        "sigma-of-x": _said("your interval is in s, not in s / a: nothing is above 1", "guidance-interval", sigma_high=1e30),
        "no-low-end": _said("you ignore sigma_low", "guidance-interval", sigma_low=0.0)})
    walk = {"process": LINEAR, "times": THIRTEEN, **PAIR, "prediction_type": "epsilon", "guidance_scale": 3.0,
            "guidance_rescale": 0.0, **ALWAYS}
    weight = _said("your scale is the paper's w, one less", "guidance-scale", guidance_scale=4.0)
    swapped = _said("your conditional and unconditional halves are swapped", "guidance-order", conditional=OTHER, unconditional=ONE)
    everywhere = _said("you guide at every level", "guidance-interval", **ALWAYS)
    none = _said("you ignore guidance_rescale", "guidance-rescale", guidance_rescale=0.0)
    for name, reason, changes, mutants in (
        ("epsilon", "DDIM with guidance at every step", {}, {"paper-w": weight, "swapped": swapped}),
        ("interval", "guidance between two noise levels only", {"sigma_low": 0.28, "sigma_high": 5.42},
         {"everywhere": everywhere, "swapped": swapped}),
        ("rescaled-v", "v guided and rescaled, as in Lin et al.", {"prediction_type": "v_prediction", "guidance_rescale": 0.7}, {
            "not-rescaled": none,
            "rescaled-epsilon": _said("you rescale epsilon, not v", "guidance-rescale-of", prediction_type="epsilon")}),
    ):
        id = f"classifier_free_ddim/{name}"
        yield Case(id, reason, _draw(id, *SHAPE, x=1.0), {**walk, **changes}, (), mutants)


def _classifier() -> Iterator[Case]:
    function = RIGHT["classifier_guidance"]
    away = _other("your gradient has the wrong sign", "classifier-sign", function, gradient=lambda inputs: -inputs["gradient"])
    bare = Mutant("you add the gradient without sigma_t", "classifier-sigma",
                  compute=lambda inputs, settings: inputs["model_output"] - settings["scale"] * inputs["gradient"])
    first = _said("your scale is 1", "classifier-scale", scale=1.0)
    for kind in ("epsilon", "sample", "v_prediction", "score"):
        id = f"classifier_guidance/{kind}"
        inputs = _draw(id, 4, 2, 3, model_output=1.0, gradient=1.0) | {"t": np.array([900, 3, 250, 611], dtype=np.int64)}
        mutants = {"wrong-sign": away, "scale-1": first}
        if kind == "epsilon":
            mutants["no-sigma"] = bare
        else:
            mutants["as-epsilon"] = _said("you move this prediction as if it were epsilon", "classifier-prediction-type",
                                          prediction_type="epsilon")
        yield Case(id, f"the model answers {kind}; each sample has a time of its own", inputs,
                   {"process": LINEAR, "scale": 2.5, "prediction_type": kind}, (), mutants)
    walk = {"process": LINEAR, "times": THIRTEEN, "model": ONE, "classifier": CLASSIFIER, "scale": 2.0}
    one = _said("your scale is 1", "classifier-scale", scale=1.0)
    back = _said("your gradient has the wrong sign", "classifier-sign", scale=-2.0)
    for kind in ("epsilon", "v_prediction"):
        id = f"classifier_guided_ddim/{kind}"
        yield Case(id, "Algorithm 2: another eps at each step of DDIM, whatever the model answers", _draw(id, *SHAPE, x=1.0),
                   {**walk, "prediction_type": kind}, (), {"scale-1": one, "wrong-sign": back})
    std = Mutant("you shift the mean by the standard deviation times the gradient", "classifier-variance", compute=_shifted_by_std)
    for at, other, words in (("x_t", "mean", "the mean"), ("mean", "x_t", "x_t")):
        id = f"shifted_mean/at-{at.replace('_', '-')}"
        inputs = _draw(id, *SHAPE, x=1.0) | {"noise": draw(f"{id}:noise", len(THIRTEEN) - 1, *SHAPE)}
        yield Case(id, f"Algorithm 1: DDPM with its means shifted, the gradient at {at}", inputs, {**walk, "gradient_at": at}, (), {
            "other": _said(f"your gradient is taken at {words}", "classifier-gradient-at", gradient_at=other),
            "scale-1": one, "wrong-sign": back, "std": std})
    for name, time in (("middle", 400), ("late", 40)):
        id = f"log_prob_of_start/{name}"
        inputs = _draw(id, *SHAPE, x=1.0, y=0.5) | {"cotangent": draw(f"{id}:cotangent", 2)}
        yield Case(id, f"reconstruction guidance at time {time}: the gradient goes through the model", inputs,
                   {"process": LINEAR, "model": ONE, "time": time, "width": 0.5}, ("x",), {"of-x": Mutant(
                       "you compare the measurement with x_t, not with the predicted x_0", "reconstruction-at", compute=_of_noisy)})


def _of_noisy(inputs, settings):
    return -F.sum((inputs["y"] - inputs["x"]) ** 2, dim=(1, 2)) / (2 * settings["width"] ** 2)


def _shifted_by_std(inputs, settings):
    right = shifted_mean(label_gradient(settings), settings["scale"], settings["gradient_at"], settings["times"])
    shift = lambda mean, variance, **at: right(mean, variance ** 0.5, **at)
    return sample(data_model(settings), process_of(settings["process"]), inputs["x"], settings["times"], DDPM,
                  noise=arrays(inputs, "noise"), shift_mean=shift)


def _replaced_otherwise(at: Callable[[Any, int], tuple[float, float]]) -> Callable[..., Any]:
    """Inpainting without jumps whose known part has the signal and noise at(way, step) instead of those of the level reached."""
    def compute(inputs, settings):
        process, source = process_of(settings["process"]), _Endless(arrays(inputs, "noise"))
        way = path(process, settings["times"], settings["set_alpha_to_one"])

        def arrived(step, level, x):
            signal, std = at(way, step) if level.sigma > 0 else (1.0, 0.0)
            known = signal * inputs["known"] + (std * source.standard_normal(None, None) if level.sigma > 0 else 0)
            return inputs["mask"] * known + (1 - inputs["mask"]) * x

        return sample(data_model(settings), process, inputs["x"], settings["times"], SAMPLERS[settings["sampler"]], generator=source,
                      arrived=arrived, set_alpha_to_one=settings["set_alpha_to_one"])

    return compute


def _inpaint() -> Iterator[Case]:
    endless = lambda inputs, settings: inpainted(inputs, settings, generator=_Endless(arrays(inputs, "noise")))
    inverted_mask = _other("your mask is 1 where to paint", "inpaint-mask", endless, mask=lambda inputs: 1 - inputs["mask"])
    variance = Mutant("your known part has noise of standard deviation s^2: the missing root of Algorithm 1, line 5", "inpaint-noise",
                      compute=_replaced_otherwise(lambda way, k: (way.levels[k + 1].alpha, way.levels[k + 1].sigma ** 2)))
    before = Mutant("your known part is noised to the level before the step", "inpaint-level",
                    compute=_replaced_otherwise(lambda way, k: way.levels[k][1:]))

    def otherwise(words: str, flag: str, **changes: Any) -> Mutant:
        return Mutant(words, flag, compute=lambda inputs, settings: endless(inputs, {**settings, **changes}))

    small = otherwise("your DDPM has the variance beta~, not beta", "inpaint-variance", sampler="ddpm")
    once = otherwise("you never jump back", "inpaint-jumps", jump_n_sample=1)
    more = otherwise("you jump jump_n_sample times, where it is one less", "inpaint-jumps", jump_n_sample=4)
    further = otherwise("your jumps are one level longer", "inpaint-jumps", jump_length=3)
    base = {"process": LINEAR, "times": SIX, "model": BELLS, "sampler": "ddpm", "jump_length": 1, "jump_n_sample": 1,
            "set_alpha_to_one": True}
    for name, reason, changes, soft, mutants in (
        ("replacement", "DDPM; after each step the known part with the noise of the level reached", {}, False,
         {"mask-inverted": inverted_mask, "variance-for-std": variance, "level-before": before}),
        ("soft-mask", "a mask between 0 and 1 mixes", {}, True, {"mask-inverted": inverted_mask, "variance-for-std": variance}),
        ("ddim", "no noise but the known part's", {"sampler": "ddim"}, False,
         {"mask-inverted": inverted_mask, "variance-for-std": variance}),
        ("abar-0", "the walk ends at time 0, the known part too has a little noise", {"set_alpha_to_one": False}, False,
         {"mask-inverted": inverted_mask, "abar-1": otherwise("your walk ends at the data", "inpaint-level", set_alpha_to_one=True)}),
        ("sigmas", "in sigmas, where the known part keeps its size", {"process": SIGMAS, "times": FIVE, "sampler": "ddim"}, False,
         {"mask-inverted": inverted_mask, "variance-for-std": variance, "level-before": before}),
        ("repaint", "jumps of two levels, each stretch three times", {"jump_length": 2, "jump_n_sample": 3}, False,
         {"no-jumps": once, "one-more": more, "longer": further}),
        ("repaint-large", "jumps, and DDPM with the variance beta", {"sampler": "ddpm_large", "jump_n_sample": 2}, False,
         {"no-jumps": once, "small-variance": small}),
    ):
        id = f"inpaint/{name}"
        settings = {**base, **changes}
        mask = np.array([0.75, 0.25, 0.5], dtype=np.float32) if soft else np.array([1, 0, 0], dtype=np.int64)
        inputs = _draw(id, *JOINT, x=settings["times"][0] if settings["process"] is SIGMAS else 1.0, known=0.5)
        inputs["mask"] = mask.reshape(1, 3)
        counting = _Endless([np.zeros(JOINT, dtype=np.float32)])
        inpainted(inputs, settings, generator=counting)
        yield Case(id, reason, inputs | {"noise": draw(f"{id}:noise", counting.draws, *JOINT)}, settings, (), mutants)
    for name, reason, steps, length, times, mutants in (
        ("paper", "RePaint's own: jumps of 10, ten times", 50, 10, 10, {
            "one-more": _said("you jump jump_n_sample times, where it is one less", "inpaint-jumps", jump_n_sample=11)}),
        ("not-a-divisor", "a jump length that does not divide the number of steps", 13, 3, 2, {
            "longer": _said("your jumps are one level longer", "inpaint-jumps", jump_length=4)}),
        ("none", "jump_n_sample = 1: straight down", 7, 2, 1, {
            "one": _said("you jump jump_n_sample times, where it is one less", "inpaint-jumps", jump_n_sample=2)}),
    ):
        yield Case(f"repaint_schedule/{name}", reason, {}, {"num_steps": steps, "jump_length": length, "jump_n_sample": times}, (), mutants)


def _edits() -> Iterator[Case]:
    hundred = np.arange(99, -1, -1, dtype=np.int64) * 10
    short = Mutant("your count is int(strength * S), of a product that is rounded down", "sdedit-strength", compute=_truncated)
    for name, reason, times, strength, mutants in (
        ("float-product", "0.29 * 100 is 28.999999999999996 in floats", hundred, 0.29, {"truncated": short}),
        ("thirteen", "0.6 of 13 are 7", np.array(THIRTEEN, dtype=np.int64), 0.6, {
            "kept": _said("your strength is the share that is kept", "sdedit-strength", strength=0.4)})):
        yield Case(f"sdedit_times/{name}", reason, {"times": times}, {"strength": strength}, (), mutants)

    endless = lambda inputs, settings: edited(inputs, settings, generator=_Endless(arrays(inputs, "noise")))
    kept = Mutant("your strength is the share that is kept", "sdedit-strength", compute=lambda inputs, settings: endless(
        inputs, {**settings, "strength": 1 - settings["strength"]}))
    rounded = Mutant("you round strength S up", "sdedit-strength", compute=lambda inputs, settings: endless(
        inputs, {**settings, "strength": settings["strength"] + 1 / len(settings["times"])}))
    for sampler in ("ddim", "ddpm"):
        id = f"sdedit/{sampler}"
        settings = {"process": LINEAR, "times": THIRTEEN, "model": ONE, "strength": 0.6, "sampler": sampler, "set_alpha_to_one": True}
        count = len(sdedit_times(THIRTEEN, 0.6)) if sampler == "ddpm" else 1
        yield Case(id, f"noise to the level of the seventh time from the end, then {sampler.upper()}",
                   _draw(id, *SHAPE, x_start=0.5) | {"noise": draw(f"{id}:noise", count, *SHAPE)}, settings, (), {
                       "kept": kept, "rounded-up": rounded,
                       "variance-for-std": Mutant("you noise the image by its variance, not its standard deviation", "sdedit-noise",
                                                  compute=_noised_by_variance)})
    base = {"process": LINEAR, "times": THIRTEEN, "model": ONE, "asked_at": "start", "corrections": 0, "set_alpha_to_one": True}
    start, end = (_said(f"you ask the model at the level where the step {what}", "inversion-asked-at", asked_at=at)
                  for at, what in (("start", "begins"), ("end", "ends")))
    none = _said("you do not correct the step up", "inversion-corrections", corrections=0)
    less = Mutant("your times are one less than the list says", "inversion-start", compute=lambda inputs, settings: inverted(
        inputs, {**settings, "times": [t - 1 for t in settings["times"]]}))
    strided = Mutant("you step up from t - T // N, not from the time before in the list, and ask the model where the step ends",
                     "inversion-previous-timestep", compute=_strided_upwards)
    for name, reason, changes, mutants in (
        ("start", "the model is asked where the step begins", {}, {
            "asked-at-end": end, "times-less-one": less, "strided": strided}),
        ("end", "the model is asked for the level where the step ends: diffusers' inverse scheduler", {"asked_at": "end"},
         {"asked-at-start": start, "strided": strided}),
        ("corrected", "each step is solved by two more calls", {"corrections": 2}, {"not-corrected": none}),
        ("abar-0", "the data is taken for x at time 0, as in OpenAI's code", {"set_alpha_to_one": False}, {
            "begins-at-data": _said("your walk begins at the data, abar = 1", "inversion-start", set_alpha_to_one=True),
            "strided": strided}),
        ("sigmas", "up to sigma = 10", {"process": SIGMAS, "times": FIVE}, {"asked-at-end": end}),
    ):
        id = f"ddim_inversion/{name}"
        yield Case(id, reason, _draw(id, *SHAPE, x_start=0.5), {**base, **changes}, (), mutants)
    id = "counterfactual/gaussians"
    settings = {name: value for name, value in base.items() if name != "set_alpha_to_one"} | {"other_model": OTHER, "corrections": 1}
    yield Case(id, "up under one model, down under another", _draw(id, *SHAPE, x_start=0.5), settings, (), {
        "not-corrected": none, "asked-at-end": _said("you do not correct, and ask where the step ends", "inversion-asked-at", corrections=0,
                                                     asked_at="end")})


class _StridedUpwards:
    """DDIM upwards by steps of T // N, whatever the list says."""

    def plan(self, path: Path) -> Plan:
        stride, moves = path.process.num_train_timesteps // len(path), []
        for t in path.levels[-2::-1]:
            s = path.process.level(t.time - stride) if t.time >= stride else path.levels[-1]
            h = s.half_log_snr - t.half_log_snr
            moves.append(Move(t, settle=Row(t.alpha / s.alpha, (-t.sigma * float(np.expm1(-h)),)), to=t))
        return Plan("epsilon", moves)


def _strided_upwards(inputs, settings):
    return sample(data_model(settings), process_of(settings["process"]), inputs["x_start"], settings["times"], _StridedUpwards(),
                  set_alpha_to_one=settings["set_alpha_to_one"])


def _truncated(inputs, settings):
    count = len(inputs["times"])
    return inputs["times"][count - int(settings["strength"] * count):]


def _noised_by_variance(inputs, settings):
    process = process_of(settings["process"])
    first = float(process.sigma(sdedit_times(settings["times"], settings["strength"])[0]))
    z, *rest = arrays(inputs, "noise")
    return edited(inputs, settings, noise=[first * z, *rest])


def cases() -> Iterator[Case]:
    """Classifier-free guidance, classifiers, inpainting, and the other edits."""
    for family in (_classifier_free, _interval, _classifier, _inpaint, _edits):
        yield from family()
