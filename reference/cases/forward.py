"""Adding noise, one step back, and the names of predictions: where square roots, indices and conventions show.

Times at both ends of a schedule, batches whose times differ, and data of size 1e-3 beside noise of size 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import diffusion as D
from minidiff import functional as F
from minidiff.verify.adapters.minidiff import forward as right
from minidiff.verify.adapters.minidiff.schedules import host, schedule_of
from reference.case import Case, Mutant, Note, Operation, draw
from reference.cases.schedules import COSINE, LINEAR, RESCALED, SCALED_LINEAR, SCHEDULE, float32_tables, noise_of_one_step

SHAPE = (2, 3, 5)
T = "(N,) int64, one time for each of the batch, in [0, T)"
MOMENTS = {"mean": "like x_t", "variance": "in the shape of x_t", "log_variance": "in the shape of x_t"}
TYPES = "epsilon: eps; sample: x_0; v_prediction: alpha eps - sigma x_0; score: -eps / sigma; flow_prediction: eps - x_0"
LEAST = ("null: at t = 0, where the posterior's variance is 0, its logarithm is that of t = 1. A number: log max(variance, number). "
         "The variance itself stays 0")

OPERATIONS = {
    "q_step": Operation(
        equation="x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps",
        chapter="docs/ddpm.md#1-one-step-forward",
        inputs={"x_prev": "x_{t-1}, (N, ...)", "t": T, "noise": "eps, like x_prev"}, settings=SCHEDULE, outputs={"output": "x_t"},
    ),
    "q_sample": Operation(
        equation="x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps",
        chapter="docs/ddpm.md#2-all-steps-at-once",
        inputs={"x_start": "x_0, (N, ...)", "t": T, "noise": "eps, like x_start"}, settings=SCHEDULE, outputs={"output": "x_t"},
    ),
    "q_mean_variance": Operation(
        equation="q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I)",
        chapter="docs/ddpm.md#2-all-steps-at-once",
        inputs={"x_start": "x_0, (N, ...)", "t": T}, settings=SCHEDULE, outputs=MOMENTS,
    ),
    "q_sample_between": Operation(
        equation="x_t = sqrt(abar_t / abar_s) x_s + sqrt(1 - abar_t / abar_s) eps, s < t",
        chapter="docs/noise.md#1-signal-and-noise",
        inputs={"x_s": "(N, ...)", "s": T, "t": T, "noise": "eps, like x_s"}, settings=SCHEDULE, outputs={"output": "x_t"},
    ),
    "q_mean_variance_between": Operation(
        equation="q(x_t | x_s) = N(sqrt(abar_t / abar_s) x_s, (1 - abar_t / abar_s) I), s < t",
        chapter="docs/noise.md#1-signal-and-noise",
        inputs={"x_s": "(N, ...)", "s": T, "t": T}, settings=SCHEDULE, outputs=MOMENTS,
    ),
    "q_posterior_mean_variance": Operation(
        equation="q(x_{t-1} | x_t, x_0) = N(sqrt(abar_{t-1}) beta_t / (1 - abar_t) x_0 + sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t) "
                 "x_t, (1 - abar_{t-1}) / (1 - abar_t) beta_t I), abar_{-1} = 1",
        chapter="docs/ddpm.md#4-one-step-back-if-somebody-told-us-the-picture",
        inputs={"x_start": "x_0, (N, ...)", "x_t": "like x_start", "t": T}, settings=SCHEDULE | {"min_variance": LEAST}, outputs=MOMENTS,
    ),
    "q_posterior_mean_variance_between": Operation(
        equation="x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s - v) eps + sqrt(v) z, eps = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t), "
                 "v = eta^2 (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s), s < t",
        chapter="docs/noise.md#8-the-posterior-between-any-two-levels",
        inputs={"x_start": "x_0, (N, ...)", "x_t": "like x_start", "t": T, "s": T},
        settings=SCHEDULE | {"eta": "1 the posterior of the forward process (DDPM), 0 no fresh noise (DDIM)"},
        outputs={"mean": "like x_t", "variance": "v, in the shape of x_t"},
    ),
    "q_posterior_mean_from_epsilon": Operation(
        equation="(x_t - beta_t / sqrt(1 - abar_t) eps) / sqrt(alpha_t)",
        chapter="docs/ddpm.md#5-the-same-mean-told-with-the-noise",
        inputs={"x_t": "(N, ...)", "t": T, "noise": "eps, like x_t"}, settings=SCHEDULE, outputs={"output": "the posterior's mean"},
    ),
    "predict_start_from_noise": Operation(
        equation="x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)",
        chapter="docs/ddpm.md#5-the-same-mean-told-with-the-noise",
        inputs={"x_t": "(N, ...)", "t": T, "noise": "eps, like x_t"}, settings=SCHEDULE, outputs={"output": "x_0"},
    ),
    "predict_noise_from_start": Operation(
        equation="eps = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t)",
        chapter="docs/noise.md#10-five-names-for-one-answer",
        inputs={"x_t": "(N, ...)", "t": T, "x_start": "x_0, like x_t"}, settings=SCHEDULE, outputs={"output": "eps"},
    ),
    "predict_v": Operation(
        equation="v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0",
        chapter="docs/noise.md#10-five-names-for-one-answer",
        inputs={"x_start": "x_0, (N, ...)", "t": T, "noise": "eps, like x_start"}, settings=SCHEDULE, outputs={"output": "v"},
    ),
    "predict_start_from_v": Operation(
        equation="x_0 = sqrt(abar_t) x_t - sqrt(1 - abar_t) v",
        chapter="docs/noise.md#10-five-names-for-one-answer",
        inputs={"x_t": "(N, ...)", "t": T, "v": "like x_t"}, settings=SCHEDULE, outputs={"output": "x_0"},
    ),
    "predict_noise_from_v": Operation(
        equation="eps = sqrt(1 - abar_t) x_t + sqrt(abar_t) v",
        chapter="docs/noise.md#10-five-names-for-one-answer",
        inputs={"x_t": "(N, ...)", "t": T, "v": "like x_t"}, settings=SCHEDULE, outputs={"output": "eps"},
    ),
    "convert": Operation(
        equation="prediction = p x_0 + q eps and x_t = alpha x_0 + sigma eps are solved for x_0 and eps; p' x_0 + q' eps is the answer; "
                 "alpha = sqrt(abar_t), sigma = sqrt(1 - abar_t)",
        chapter="docs/noise.md#10-five-names-for-one-answer",
        inputs={"prediction": "(N, ...)", "x_t": "like prediction", "t": T},
        settings=SCHEDULE | {"from_type": f"what the prediction is. {TYPES}", "to_type": "what is asked for, the same names"},
        outputs={"output": "like prediction"},
    ),
    "training_target": Operation(
        equation="p x_0 + q eps, what a model of this type should say about x_t; alpha = sqrt(abar_t), sigma = sqrt(1 - abar_t)",
        chapter="docs/noise.md#10-five-names-for-one-answer",
        inputs={"x_start": "x_0, (N, ...)", "noise": "eps, like x_start", "t": T},
        settings=SCHEDULE | {"prediction_type": TYPES}, outputs={"output": "like x_start"},
    ),
    "p_mean_variance": Operation(
        equation="p(x_{t-1} | x_t) = N(mean, variance I): the posterior's mean (see q_posterior_mean_variance) with the predicted x_0",
        chapter="docs/noise.md#9-the-variance-of-a-step",
        inputs={"model_output": "like x_t, or (N, 2C, ...): the prediction, then what says the variance", "x_t": "(N, C, ...)", "t": T},
        settings=SCHEDULE | {
            "prediction_type": TYPES,
            "variance_type": "fixed_small: the posterior's variance beta~_t; its logarithm as min_variance says. fixed_large: beta_t; at "
                             "t = 0 with min_variance null both variance and logarithm are those of beta~_1. learned: the second half of "
                             "the channels is the log variance. learned_range: log variance = u log beta_t + (1 - u) log beta~_t, "
                             "u = (second half + 1) / 2, log beta~_t as min_variance says. For both learned ones the variance is the "
                             "exponential of that",
            "clip_denoised": "whether the predicted x_0 is clipped to [-1, 1] before the mean is taken", "min_variance": LEAST,
        },
        outputs={**MOMENTS, "pred_xstart": "the predicted x_0, clipped if it is clipped"},
    ),
    "static_threshold": Operation(
        equation="clip(x_0, -max_value, max_value)",
        chapter="docs/noise.md#11-keeping-the-picture-in-range",
        inputs={"x_start": "(N, ...)"}, settings={"max_value": "the bound"}, outputs={"output": "like x_start"},
    ),
    "dynamic_threshold": Operation(
        equation="s = the quantile `ratio` of |x_0| over one sample, at least 1, at most max_value; clip(x_0, -s, s) / s",
        chapter="docs/noise.md#11-keeping-the-picture-in-range",
        inputs={"x_start": "(N, ...)"},
        settings={"ratio": "the quantile's; at the place ratio (n - 1) of the n sorted values, straight lines between them",
                  "max_value": "the largest s; null for none"},
        outputs={"output": "like x_start, in [-1, 1]"},
    ),
    "edm_preconditioning": Operation(
        equation="c_skip = sd^2 / (sigma^2 + sd^2), c_out = sigma sd / sqrt(sigma^2 + sd^2), c_in = 1 / sqrt(sigma^2 + sd^2), "
                 "c_noise = ln(sigma) / 4",
        chapter="docs/noise.md#14-the-network-between-four-coefficients",
        inputs={"sigma": "(N,), noise levels"}, settings={"sigma_data": "sd, the standard deviation of the data"},
        outputs={name: "(N,)" for name in ("c_skip", "c_out", "c_in", "c_noise")},
    ),
    "edm_precondition": Operation(
        equation="D(x, sigma) = c_skip x + c_out F(c_in x, c_noise), the coefficients of edm_preconditioning; whatever the network F is "
                 "asked, its answer is network_output",
        chapter="docs/noise.md#14-the-network-between-four-coefficients",
        inputs={"x": "x_0 + sigma eps, (N, ...)", "sigma": "(N,), noise levels", "network_output": "like x"},
        settings={"sigma_data": "the standard deviation of the data"},
        outputs={"network_input": "c_in x", "c_noise": "(N,), what F is told of the noise level", "output": "D"},
    ),
}

NOTES = {
    "forward-variance": Note(
        "formula", "The noise is multiplied by a standard deviation: sqrt(beta_t) for one step, sqrt(1 - abar_t) for all; tutorials print "
                   "beta_t or 1 - abar_t.",
        "x_t has another variance than the model is told: training works on too little noise, samples stay noisy.",
        ("printed in many tutorials and slides",)),
    "forward-cumulative": Note(
        "formula", "alpha_t belongs to one step, abar_t to all steps from the data, abar_t / abar_s to those between.",
        "Noise levels are off by orders of magnitude: nothing is learned of large structures."),
    "posterior-beta": Note(
        "convention", "The posterior's variance is beta~_t; beta_t is the upper end (fixed_large).",
        "More noise in each step; with few steps samples become grainy."),
    "posterior-eta": Note(
        "formula", "DDIM's noise has the standard deviation eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s); the rest of "
                   "the variance 1 - abar_s comes from the predicted noise.",
        "Too much or too little noise is left at each step; grainy or blurred samples."),
    "posterior-neighbour": Note(
        "indexing", "A sampler that skips times goes to the next visited time, not to t - 1.",
        "The model is told more or less noise than there is: grain or blur.", ("diffusers #9261, #11347, #12633",)),
    "prediction-sign": Note(
        "convention", "v = alpha eps - sigma x_0, flow velocity = eps - x_0, score = -eps / sigma: signs that some texts turn round.",
        "Predictions point away from the data: noise for ever.",
        ("Lipman et al. 2023 count time from noise to data, so their velocity is x_0 - eps",)),
    "prediction-scale": Note(
        "formula", "The score is -eps / sigma, the noise divided by its standard deviation.",
        "Wrong by 1 / sigma: worst at small noise, where details are made."),
    "prediction-type": Note(
        "convention", "A model's answer is read as what it was trained to predict.",
        "Grey or saturated nonsense; a model of v read as epsilon still draws something, with washed-out colours."),
    "prediction-swapped": Note(
        "formula", "x_t = alpha x_0 + sigma eps: alpha belongs to the data and sigma to the noise, in every conversion.",
        "Right at alpha = sigma only."),
    "variance-learned": Note(
        "convention", "A learned variance is predicted as a logarithm (learned) or as a place between two logarithms (learned_range, from "
                      "-1 to 1), by the second half of the channels.",
        "Far too much noise in each step, or NaN where the square root of a negative number is taken.",
        ("diffusers #14569", "diffusers' DDPMScheduler reads \"learned\" as a variance")),
    "variance-log": Note(
        "numerics", "fixed_small_log means exp(log variance / 2) as the standard deviation; the square root of a logarithm is NaN.",
        "NaN, black images.", ("diffusers #14569",)),
    "clip-mean": Note(
        "formula", "Clipping changes the predicted x_0, and the mean must be computed from the clipped one; Ho et al.'s Eq. 11 with eps "
                   "passes it by. Where eps is used afterwards it has to be derived from the clipped x_0 again, or knowingly not.",
        "Saturated colours that grow from step to step.",
        ("denoising-diffusion-pytorch #47, #135", "GLIDE and denoising-diffusion-pytorch re-derive eps, diffusers does not by default")),
    "threshold-quantile": Note(
        "formula", "The threshold is one for each sample, the interpolated quantile of the absolute values, and never below 1.",
        "Pictures of little contrast are stretched; one picture changes another of its batch."),
    "threshold-scale": Note(
        "formula", "After clipping to s the sample is divided by s.",
        "Without the division the picture leaves [-1, 1] and saturates; with max_value = 1, diffusers' default, the method only clips.",
        ("diffusers, sample_max_value",)),
    "edm-noise-label": Note(
        "convention", "c_noise = ln(sigma) / 4 in EDM; consistency models tell their network 1000 times that, others sigma itself.",
        "The network is asked at a time it has never seen.",
        ("openai/consistency_models, karras_diffusion.py: 1000 * 0.25 * log(sigma + 1e-44)",)),
    "edm-coefficients": Note(
        "formula", "c_out and c_in hold a square root, c_skip does not; all three hold sigma_data, 0.5 in EDM.",
        "The network sees and answers numbers whose size depends on the noise level: worse training, washed-out samples."),
}

Compute = Callable[..., Any]


def _inputs(id: str, t: list[int], *names: str, shape: tuple[int, ...] = SHAPE, **scales: float) -> dict[str, np.ndarray]:
    """Arrays of this case, drawn; the times. scales: of some of them, 1 for the others."""
    shape = (len(t), *shape[1:])
    return {name: draw(f"{id}:{name}", *shape, scale=scales.get(name, 1.0)) for name in names} | {"t": np.array(t, np.int64)}


def _on(change: Callable[[D.Schedule], D.Schedule], function: Compute) -> Compute:
    """The operation on another schedule."""
    return lambda inputs, settings: function(change(schedule_of(settings)), inputs, settings)


def _instead(function: Compute) -> Compute:
    """A formula of (schedule, inputs, times) in the place of the operation."""
    return lambda inputs, settings: function(schedule_of(settings), inputs, right.times(inputs))


def _moved(by: int, function: Compute) -> Compute:
    """The operation at another time."""
    return lambda inputs, settings: function(schedule_of(settings), {**inputs, "t": inputs["t"] + by}, settings)


def _with(function: Compute, **changes: Callable[[Mapping[str, Any]], Any]) -> Compute:
    """The operation with other inputs, each of them computed from the right ones."""
    return lambda inputs, settings: function(schedule_of(settings), {**inputs, **{k: f(inputs) for k, f in changes.items()}}, settings)


def _one_step(function: Compute) -> Mutant:
    return Mutant("you take 1 - alpha_t for 1 - abar_t", "tables-one-step", compute=_on(noise_of_one_step, function))


def _float32(function: Compute) -> Mutant:
    return Mutant("your tables are computed in float32; compute them in float64 and round at the end", "tables-float32",
                  compute=_on(float32_tables, function))


def _later(function: Compute) -> Mutant:
    return Mutant("you look up t + 1; times begin at 0", "schedule-index", compute=_moved(1, function))


def _earlier(function: Compute) -> Mutant:
    return Mutant("you look up t - 1; times begin at 0", "schedule-index", compute=_moved(-1, function))


def _with_earlier(function: Compute) -> Mutant:
    """The time before, where there is one."""
    return Mutant("you look up t - 1, or 0 where there is none; times begin at 0", "schedule-index",
                  compute=_with(function, t=lambda inputs: np.maximum(host(inputs["t"]) - 1, 0)))


def _forward() -> Iterator[Case]:
    def no_root(schedule, inputs, t):
        x = inputs["x_prev"]
        return D.extract(schedule.sqrt_alphas, t, x) * x + D.extract(schedule.betas, t, x) * inputs["noise"]

    def all_steps(schedule, inputs, t):
        return D.q_sample(schedule, inputs["x_prev"], t, inputs["noise"])

    for name, reason, t, settings in (
        ("linear", "one step at three times of a batch", [0, 13, 999], LINEAR),
        ("cosine", "the last step almost destroys the data", [998, 999], COSINE),
    ):
        id = f"q_step/{name}"
        yield Case(id, reason, _inputs(id, t, "x_prev", "noise"), settings, (), {
            "variance": Mutant("you multiply the noise by beta_t, its variance", "forward-variance", compute=_instead(no_root)),
            "all-steps": Mutant("you take abar_t, all steps at once, for one step", "forward-cumulative", compute=_instead(all_steps))})

    function = right.q_sample

    def variances(schedule, inputs, t):
        x = inputs["x_start"]
        return D.extract(schedule.alphas_cumprod, t, x) * x + D.extract(schedule.one_minus_alphas_cumprod, t, x) * inputs["noise"]

    def swapped(inputs, settings):
        return function(schedule_of(settings), {**inputs, "x_start": inputs["noise"], "noise": inputs["x_start"]}, settings)

    variance = Mutant("you multiply by abar_t and 1 - abar_t, not by their roots", "forward-variance", compute=_instead(variances))
    swap = Mutant("your factors of data and noise are swapped", "prediction-swapped", compute=swapped)
    one_step = _one_step(function)
    for name, reason, t, settings, mutants in (
        ("first-time", "t = 0: one step has been taken", [0, 0], LINEAR, {"variance": variance, "later": _later(function)}),
        ("last-time", "t = T - 1: all but nothing is left", [999, 999], LINEAR, {"one-step": one_step, "swapped": swap}),
        ("batch", "each of a batch has its own time", [700, 3, 250], LINEAR, {
            "one-step": one_step, "variance": variance, "later": _later(function), "earlier": _earlier(function),
            "first-for-all": Mutant("you take the first time for the whole batch", "schedule-index",
                                    compute=_with(function, t=lambda inputs: np.full(3, 700)))}),
        ("cosine", "both ends of the cosine schedule", [0, 500, 999], COSINE, {"one-step": one_step, "variance": variance}),
        ("scaled-linear", "Stable Diffusion's noise", [1, 981], SCALED_LINEAR, {"one-step": one_step, "variance": variance}),
        ("zero-snr", "the last x_t is the noise, exactly", [998, 999], RESCALED, {
            "not-rescaled": Mutant("your schedule is not rescaled to zero terminal SNR", "schedule-zero-snr",
                                   settings={"rescale_betas_zero_snr": False})}),
    ):
        id = f"q_sample/{name}"
        yield Case(id, reason, _inputs(id, t, "x_start", "noise"), settings, (), mutants)
    id = "q_sample/small-data"
    inputs = _inputs(id, [0, 1], "x_start", "noise", x_start=1e-4)
    yield Case(id, "data of size 1e-4 at small t: the digits of sqrt(1 - abar_t) show", inputs, LINEAR, (), {
        "float32": _float32(function), "later": _later(function)})
    id = "q_sample/images"
    yield Case(id, "four dimensions, numbers of mean 1000", _inputs(id, [31, 640], "noise", shape=(2, 3, 5, 2)) | {
        "x_start": draw(f"{id}:x_start", 2, 3, 5, 2, mean=1000.0)}, LINEAR, (), {"one-step": one_step, "earlier": _earlier(function)})

    def deviation(schedule, inputs, t):
        mean, variance, log_variance = D.q_mean_variance(schedule, inputs["x_start"], t)
        return right.moments(inputs["x_start"], (mean, np.sqrt(variance), log_variance))

    id = "q_mean_variance/linear"
    yield Case(id, "mean, variance and its logarithm at three times", _inputs(id, [0, 100, 999], "x_start"), LINEAR, (), {
        "one-step": _one_step(right.q_mean_variance),
        "deviation": Mutant("your variance is a standard deviation", "forward-variance", compute=_instead(deviation))})


def _between() -> Iterator[Case]:
    def alone(schedule, inputs, t):
        return D.q_step(schedule, inputs["x_s"], t, inputs["noise"])

    def from_data(schedule, inputs, t):
        return D.q_sample(schedule, inputs["x_s"], t, inputs["noise"])

    for name, reason, s, t, settings in (
        ("jump", "RePaint's jump back, by 10 and by 77 steps", [239, 12], [249, 89], LINEAR),
        ("to-the-end", "from the data's side to the last time", [0, 998], [999, 999], COSINE),
    ):
        id = f"q_sample_between/{name}"
        yield Case(id, reason, _inputs(id, t, "x_s", "noise") | {"s": np.array(s, np.int64)}, settings, (), {
            "one-step": Mutant("you take the single step t, whatever s", "forward-cumulative", compute=_instead(alone)),
            "from-data": Mutant("you add noise as if x_s were clean", "forward-cumulative", compute=_instead(from_data))})

    def of_data(schedule, inputs, t):
        return right.moments(inputs["x_s"], D.q_mean_variance(schedule, inputs["x_s"], t))

    id = "q_mean_variance_between/neighbours"
    yield Case(id, "neighbouring times: the variance is beta_t", _inputs(id, [1, 500], "x_s") | {"s": np.array([0, 499])}, LINEAR, (), {
        "from-data": Mutant("your mean and variance are those of a clean x_s", "forward-cumulative", compute=_instead(of_data))})
    function = right.q_posterior_mean_variance_between

    def to_neighbour(inputs, settings):
        return function(schedule_of(settings), {**inputs, "s": inputs["t"] - 1}, settings)

    neighbour = Mutant("you step to t - 1, not to s", "posterior-neighbour", compute=to_neighbour)

    def case(name, reason, eta, mutants, settings=LINEAR):
        id = f"q_posterior_mean_variance_between/{name}"
        inputs = _inputs(id, [999, 230], "x_start", "x_t") | {"s": np.array([922, 153])}
        return Case(id, reason, inputs, {**settings, "eta": eta}, (), mutants)

    def mean_of_ddpm(inputs, settings):
        schedule = schedule_of(settings)
        return function(schedule, inputs, settings) | {"mean": function(schedule, inputs, {**settings, "eta": 1.0})["mean"]}

    def of_variance(inputs, settings):
        return function(schedule_of(settings), inputs, {**settings, "eta": settings["eta"] ** 0.5})

    yield case("ddpm", "eta = 1 over 77 steps: Bayes' rule", 1.0, {
        "neighbour": neighbour, "ddim": Mutant("your step adds no noise: eta is 0", "posterior-eta", settings={"eta": 0.0})})
    yield case("ddim", "eta = 0 over 77 steps: deterministic", 0.0, {
        "ddpm": Mutant("your mean is DDPM's: it keeps too little of the predicted noise", "posterior-eta", compute=mean_of_ddpm)})
    yield case("partly", "eta = 0.3: a share of the noise is fresh", 0.3, {
        "of-variance": Mutant("your eta multiplies the variance; it multiplies the standard deviation", "posterior-eta",
                              compute=of_variance)}, COSINE)


def _posteriors() -> Iterator[Case]:
    function = right.q_posterior_mean_variance

    def changed(change):
        def compute(schedule, inputs, t):
            x = inputs["x_t"]
            return right.moments(x, change(schedule, inputs, t, D.q_posterior_mean_variance(schedule, inputs["x_start"], x, t)))
        return _instead(compute)

    def beta(schedule, inputs, t, found):
        return found[0], D.extract(schedule.betas, t, inputs["x_t"]), D.extract(np.log(schedule.betas), t, inputs["x_t"])

    def swapped(schedule, inputs, t, found):
        return D.q_posterior_mean_variance(schedule, inputs["x_t"], inputs["x_start"], t)

    one_step = Mutant("your posterior divides by 1 - alpha_t", "posterior-one-step", compute=_on(noise_of_one_step, function))
    mutants = {
        "one-step": one_step, "beta": Mutant("your variance is beta_t, not beta~_t", "posterior-beta", compute=changed(beta)),
        "swapped": Mutant("your coefficients of x_0 and x_t are swapped", "posterior-swapped", compute=changed(swapped)),
        "later": _later(function), "earlier": _with_earlier(function),
    }
    clipped = Mutant("your log variance at t = 0 is log 1e-20; here it is that of t = 1", "posterior-log-variance",
                     settings={"min_variance": 1e-20})
    unclipped = Mutant("your log variance at t = 0 is that of t = 1; here it is log 1e-20", "posterior-log-variance",
                       settings={"min_variance": None})
    for name, reason, t, settings, least, these in (
        ("first-time", "t = 0: the mean is x_0, the variance 0", [0, 1], LINEAR, None, {
            "min-variance": clipped, "later": _later(function), "earlier": _with_earlier(function)}),
        ("first-time-min-variance", "t = 0 with diffusers' convention", [0, 1], LINEAR, 1e-20, {
            "next": unclipped, "earlier": _with_earlier(function)}),
        ("batch", "each of a batch has its own time", [1, 300, 998], LINEAR, None, mutants),
        ("cosine", "the last step of the cosine schedule", [500, 999], COSINE, None, {
            name: mutants[name] for name in ("one-step", "swapped", "earlier")}),
        ("zero-snr", "from pure noise: x_t has no weight", [999, 998], RESCALED, None, {
            name: mutants[name] for name in ("swapped", "earlier")}),
    ):
        id = f"q_posterior_mean_variance/{name}"
        yield Case(id, reason, _inputs(id, t, "x_start", "x_t"), {**settings, "min_variance": least}, (), these)

    function = right.q_posterior_mean_from_epsilon

    def no_root(schedule, inputs, t):
        x = inputs["x_t"]
        weight = D.extract(schedule.betas / schedule.one_minus_alphas_cumprod, t, x)
        return (x - weight * inputs["noise"]) / D.extract(schedule.sqrt_alphas, t, x)

    id = "q_posterior_mean_from_epsilon/batch"
    yield Case(id, "the mean as Algorithm 2 has it", _inputs(id, [0, 77, 999], "x_t", "noise"), LINEAR, (), {
        "one-step": _one_step(function), "later": _with_later(function), "earlier": _with_earlier(function), "no-root": Mutant(
            "you divide the noise by 1 - abar_t, not by its root", "forward-variance", compute=_instead(no_root))})


def _with_later(function: Compute) -> Mutant:
    """The next time where there is one."""
    return Mutant("you look up t + 1; times begin at 0", "schedule-index",
                  compute=_with(function, t=lambda inputs: np.minimum(host(inputs["t"]) + 1, 999)))


def _predictions() -> Iterator[Case]:
    def alphas_swapped(schedule):
        return D.Schedule(*(np.array(table) for table in (
            schedule.betas, schedule.alphas, schedule.one_minus_alphas_cumprod, schedule.alphas_cumprod)))

    def swap(function):
        return Mutant("your factors of data and noise are swapped", "prediction-swapped", compute=_on(alphas_swapped, function))

    def case(name, reason, function, t, names, settings, mutants):
        id = f"{function.__name__}/{name}"
        one_step = {"one-step": _one_step(function)} if t != [0] else {}  # all steps are one at t = 0
        return Case(id, reason, _inputs(id, t, *names), settings, (), {"swapped": swap(function), **one_step, **mutants})

    minus_v = Mutant("your v has the other sign", "prediction-sign",
                     compute=_with(right.predict_start_from_v, v=lambda inputs: -inputs["v"]))
    minus_v_too = Mutant("your v has the other sign", "prediction-sign",
                         compute=_with(right.predict_noise_from_v, v=lambda inputs: -inputs["v"]))
    minus = Mutant("your v has the other sign", "prediction-sign",
                   compute=lambda inputs, settings: -right.predict_v(schedule_of(settings), inputs, settings))
    yield case("batch", "data from noise", right.predict_start_from_noise, [2, 640], ("x_t", "noise"), LINEAR, {
        "later": _later(right.predict_start_from_noise)})
    yield case("last-time", "at T - 1 errors are multiplied by 157", right.predict_start_from_noise, [999], ("x_t", "noise"), LINEAR, {})
    yield case("batch", "noise from data", right.predict_noise_from_start, [2, 640], ("x_t", "x_start"), LINEAR, {
        "later": _later(right.predict_noise_from_start)})
    yield case("first-time", "at t = 0 errors are multiplied by 100", right.predict_noise_from_start, [0], ("x_t", "x_start"), LINEAR, {
        "float32": _float32(right.predict_noise_from_start)})
    yield case("batch", "the velocity of Salimans and Ho", right.predict_v, [0, 333, 999], ("x_start", "noise"), LINEAR, {"sign": minus})
    yield case("batch", "a turn back, at every noise level", right.predict_start_from_v, [0, 333, 999], ("x_t", "v"), LINEAR, {
        "sign": minus_v})
    yield case("zero-snr", "from pure noise, where epsilon says nothing", right.predict_start_from_v, [998, 999], ("x_t", "v"), RESCALED, {
        "sign": minus_v})
    yield case("batch", "the noise from v", right.predict_noise_from_v, [0, 333, 999], ("x_t", "v"), LINEAR, {"sign": minus_v_too})
    for kind in ("v_prediction", "score", "flow_prediction"):
        id = f"training_target/{kind}"
        yield Case(id, f"what a model of {kind} is trained on", _inputs(id, [5, 400, 990], "x_start", "noise"), {
            **LINEAR, "prediction_type": kind}, (), _turned("output", kind, right.training_target))


def _turned(which: str, kind: str, function: Compute) -> dict[str, Mutant]:
    """Mistakes about a type: of the output, or of the input `which`."""
    def applied(change):
        if which == "output":
            return lambda inputs, settings: change(function(schedule_of(settings), inputs, settings), inputs, settings)
        return lambda inputs, settings: function(
            schedule_of(settings), {**inputs, which: change(inputs[which], inputs, settings)}, settings)

    def rescaled(y, inputs, settings):
        sigma = D.extract(schedule_of(settings).sqrt_one_minus_alphas_cumprod, right.times(inputs), y)
        return y * sigma if which == "output" else y / sigma

    name = {"v_prediction": "v", "score": "score", "flow_prediction": "flow velocity"}[kind]
    minus = applied(lambda y, inputs, settings: -y)
    mutants = {f"{kind}-sign": Mutant(f"your {name} has the other sign", "prediction-sign", compute=minus)}
    if kind == "score":
        mutants["score-scale"] = Mutant("your score is -eps, not divided by sigma", "prediction-scale", compute=applied(rescaled))
    return mutants


def _conversions() -> Iterator[Case]:
    for one in D.PREDICTION_TYPES:
        for other in D.PREDICTION_TYPES:
            if one == other:
                continue
            id = f"convert/{one}-to-{other}"
            mutants = {"one-step": _one_step(right.convert)}
            if one not in ("epsilon", "sample"):
                mutants |= _turned("prediction", one, right.convert)
            if other not in ("epsilon", "sample"):
                mutants |= _turned("output", other, right.convert)
            if one == "v_prediction" and other != "epsilon":
                mutants["as-epsilon"] = Mutant("you read v as epsilon", "prediction-type", settings={"from_type": "epsilon"})
            inputs = _inputs(id, [120, 700], "prediction", "x_t", shape=(2, 2, 3))
            yield Case(id, f"{one} as {other}, at little and at much noise", inputs, {
                **LINEAR, "from_type": one, "to_type": other}, (), mutants)


def _steps_back() -> Iterator[Case]:
    function = right.p_mean_variance
    plain = {"prediction_type": "epsilon", "variance_type": "fixed_small", "clip_denoised": False, "min_variance": None}

    def case(name, reason, t, mutants, schedule=LINEAR, shape=SHAPE, **settings):
        id = f"p_mean_variance/{name}"
        settings = {**schedule, **plain, **settings}
        inputs = _inputs(id, t, "x_t", shape=shape)
        channels = shape[1] * (2 if settings["variance_type"].startswith("learned") else 1)
        inputs["model_output"] = draw(f"{id}:model_output", len(t), channels, *shape[2:])
        return Case(id, reason, inputs, settings, (), mutants)

    def after(change):
        return lambda inputs, settings: change(function(schedule_of(settings), inputs, settings), inputs, settings)

    def unclipped_mean(found, inputs, settings):
        mean = D.q_posterior_mean_from_epsilon(schedule_of(settings), inputs["x_t"], right.times(inputs), inputs["model_output"])
        return {**found, "mean": mean}

    def with_log(found, log_variance):
        return {**found, "log_variance": log_variance, "variance": F.exp(log_variance)}

    def as_variance(found, inputs, settings):
        variance = inputs["model_output"][:, inputs["x_t"].shape[1]:]
        return {**found, "variance": variance, "log_variance": F.log(abs(variance))}

    def range_of_variances(found, inputs, settings):
        small, large = (function(schedule_of(settings), {**inputs, "model_output": inputs["model_output"][:, :3]},
                                 {**settings, "variance_type": kind}) for kind in ("fixed_small", "fixed_large"))
        u = (inputs["model_output"][:, 3:] + 1) / 2
        variance = u * large["variance"] + (1 - u) * small["variance"]
        return {**found, "variance": variance, "log_variance": F.log(abs(variance))}

    def from_0_to_1(found, inputs, settings):
        doubled = F.cat([inputs["model_output"][:, :3], 2 * inputs["model_output"][:, 3:] - 1], 1)
        return function(schedule_of(settings), {**inputs, "model_output": doubled}, settings)

    def turned_range(found, inputs, settings):
        turned = F.cat([inputs["model_output"][:, :3], -inputs["model_output"][:, 3:]], 1)
        return function(schedule_of(settings), {**inputs, "model_output": turned}, settings)

    def halves_swapped(found, inputs, settings):
        swapped = F.cat([inputs["model_output"][:, 3:], inputs["model_output"][:, :3]], 1)
        return function(schedule_of(settings), {**inputs, "model_output": swapped}, settings)

    def deviation(found, inputs, settings):
        return with_log(found, found["log_variance"] / 2)

    large = Mutant("your variance is beta_t: fixed_large", "posterior-beta", settings={"variance_type": "fixed_large"})
    small = Mutant("your variance is beta~_t: fixed_small", "posterior-beta", settings={"variance_type": "fixed_small"})
    clipped = Mutant("your log variance at t = 0 is log 1e-20", "posterior-log-variance", settings={"min_variance": 1e-20})
    yield case("fixed-small", "the posterior's variance", [1, 500, 998], {
        "fixed-large": large, "later": _later(function), "earlier": _with_earlier(function), "deviation": Mutant(
            "your log variance is that of the standard deviation", "variance-log", compute=after(deviation)),
        "as-v": Mutant("you read epsilon as v", "prediction-type", settings={"prediction_type": "v_prediction"})})
    yield case("fixed-small-first-time", "t = 0: the variance is 0, its logarithm that of t = 1", [0, 0], {"min-variance": clipped})
    yield case("fixed-small-min-variance", "t = 0 with diffusers' convention", [0, 3], {
        "next": Mutant("your log variance at t = 0 is that of t = 1", "posterior-log-variance", settings={"min_variance": None})},
        min_variance=1e-20)
    yield case("fixed-large", "beta_t; at t = 0 that of beta~_1, as in OpenAI's code", [0, 1, 998], {
        "fixed-small": small, "min-variance": Mutant("at t = 0 your variance is beta_0", "posterior-log-variance",
                                                     settings={"min_variance": 1e-20})}, variance_type="fixed_large")
    yield case("learned", "the second half of the channels is the log variance", [3, 600], {
        "as-variance": Mutant("you read the learned log variance as a variance", "variance-learned", compute=after(as_variance)),
        "range": Mutant("you read the learned log variance as a place in a range", "variance-learned",
                        settings={"variance_type": "learned_range"}),
        "halves": Mutant("you take the halves of the channels the other way round", "variance-learned", compute=after(halves_swapped))},
        variance_type="learned")
    yield case("learned-range", "a place between log beta~_t and log beta_t; also at t = 0", [0, 1, 600], {
        "of-variances": Mutant("you interpolate between variances, not between their logarithms", "variance-learned",
                               compute=after(range_of_variances)),
        "from-0-to-1": Mutant("your place runs from 0 to 1; the model's answer runs from -1 to 1", "variance-learned",
                              compute=after(from_0_to_1)),
        "turned": Mutant("your -1 means beta_t and your 1 beta~_t", "variance-learned", compute=after(turned_range)),
        "as-log-variance": Mutant("you read the place in the range as the log variance", "variance-learned",
                                  settings={"variance_type": "learned"}),
        "min-variance": Mutant("at t = 0 your log beta~ is log 1e-20; here it is that of t = 1", "posterior-log-variance",
                               settings={"min_variance": 1e-20})}, variance_type="learned_range")
    yield case("clipped", "x_0 is clipped before the mean is taken", [40, 800], {
        "unclipped": Mutant("you do not clip", "clip-mean", settings={"clip_denoised": False}),
        "unclipped-mean": Mutant("you clip x_0 but take the mean from epsilon", "clip-mean", compute=after(unclipped_mean))},
        clip_denoised=True)
    yield case("v-zero-snr", "v-prediction from pure noise", [999, 998], {
        "as-sample": Mutant("you read v as x_0", "prediction-type", settings={"prediction_type": "sample"})}, RESCALED,
        prediction_type="v_prediction")
    yield case("sample-images", "x_0 itself is predicted; four dimensions", [12, 950], {
        "as-epsilon": Mutant("you read x_0 as epsilon", "prediction-type", settings={"prediction_type": "epsilon"})},
        COSINE, (2, 3, 5, 2), prediction_type="sample", clip_denoised=True)


def _thresholds() -> Iterator[Case]:
    def quantiles(change):
        def compute(inputs, settings):
            x = inputs["x_start"]
            s = change(np.abs(host(x)), settings).reshape(-1, *[1] * (len(x.shape) - 1))
            return F.clamp(x / s, -1.0, 1.0)
        return compute

    def flat(x):
        return x.reshape(len(x), -1)

    nearest = quantiles(lambda x, s: np.maximum(np.quantile(flat(x), s["ratio"], axis=1, method="lower"), 1))
    together = quantiles(lambda x, s: np.maximum(np.quantile(x, s["ratio"]), 1).reshape(1))
    stretched = quantiles(lambda x, s: np.quantile(flat(x), s["ratio"], axis=1))
    id = "dynamic_threshold/three-samples"
    x = draw(f"{id}:x_start", 3, 2, 3, 5) * np.array([2.5, 0.2, 1.2], np.float32).reshape(3, 1, 1, 1)
    yield Case(id, "a loud sample, a faint one that must not be stretched, and one in between; the place of the quantile is 26.1 of 29",
               {"x_start": x}, {"ratio": 0.9, "max_value": None}, (), {
                   "nearest": Mutant("your quantile takes the lower entry, no line between two", "threshold-quantile", compute=nearest),
                   "together": Mutant("your quantile is one for the whole batch", "threshold-quantile", compute=together),
                   "stretched": Mutant("your threshold goes below 1 and stretches faint samples", "threshold-quantile", compute=stretched),
                   "undivided": Mutant("you clip to s and do not divide by it", "threshold-scale", compute=lambda i, s: F.clamp(
                       i["x_start"], *[sign * np.maximum(np.quantile(flat(np.abs(host(i["x_start"]))), s["ratio"], axis=1), 1).reshape(
                           -1, 1, 1, 1) for sign in (-1, 1)])),
                   "max-value-1": Mutant("your s is at most 1: you only clip", "threshold-scale", settings={"max_value": 1.0})})
    id = "dynamic_threshold/max-value"
    x = draw(f"{id}:x_start", 2, 3, 7, scale=4.0)
    yield Case(id, "the threshold has an upper bound", {"x_start": x}, {"ratio": 0.995, "max_value": 1.5}, (), {
        "unbounded": Mutant("you ignore max_value", "threshold-scale", settings={"max_value": None})})
    id = "static_threshold/two"
    yield Case(id, "a bound that is not 1", {"x_start": draw(f"{id}:x_start", 2, 3, 5, scale=2.0)}, {"max_value": 1.25}, (), {
        "one": Mutant("you clip to [-1, 1], whatever max_value is", "threshold-scale", settings={"max_value": 1.0})})


def _preconditioning() -> Iterator[Case]:
    function = D.edm_preconditioning

    def changed(change):
        def compute(inputs, settings):
            sigma = host(inputs["sigma"])
            return {**function(sigma, settings["sigma_data"])._asdict(), **change(sigma, settings["sigma_data"])}
        return compute

    mutants = {
        "consistency": Mutant("your c_noise is 250 ln(sigma), the consistency models'", "edm-noise-label",
                              compute=changed(lambda sigma, sd: {"c_noise": 250 * np.log(sigma + 1e-44)})),
        "sigma": Mutant("your c_noise is sigma", "edm-noise-label", compute=changed(lambda sigma, sd: {"c_noise": sigma})),
        "half-log": Mutant("your c_noise is ln(sigma) / 2", "edm-noise-label",
                           compute=changed(lambda sigma, sd: {"c_noise": np.log(sigma) / 2})),
        "no-root": Mutant("your c_out and c_in lack the square root", "edm-coefficients", compute=changed(
            lambda sigma, sd: {"c_out": sigma * sd / (sigma ** 2 + sd ** 2), "c_in": 1 / (sigma ** 2 + sd ** 2)})),
        "sigma-data-1": Mutant("your sigma_data is 1", "edm-coefficients", settings={"sigma_data": 1.0}),
    }
    levels = np.array([0.002, 0.0625, 0.5, 1.7, 14.6, 80.0, 5000.0], np.float32)
    yield Case("edm_preconditioning/levels", "from EDM's smallest noise to far beyond its largest", {"sigma": levels}, {
        "sigma_data": 0.5}, (), mutants, "relative")
    other = Mutant("your sigma_data is 0.5, whatever was asked", "edm-coefficients", settings={"sigma_data": 0.5})
    yield Case("edm_preconditioning/latents", "another spread of the data, as for latents", {"sigma": levels[1:6]}, {
        "sigma_data": 1.25}, (), {"sigma-data": other}, "relative")
    id = "edm_precondition/batch"
    sigma = np.array([0.03, 2.5, 40.0], np.float32)
    x = draw(f"{id}:x", *(3, 2, 5)) * np.array([0.5, 2.5, 40.0], np.float32).reshape(3, 1, 1)

    def straight(inputs, settings):
        return {**right.edm_precondition(inputs, settings), "network_input": inputs["x"]}

    def residual(inputs, settings):
        right_one = right.edm_precondition(inputs, settings)
        skip = D.edm_preconditioning(host(inputs["sigma"]), settings["sigma_data"]).c_skip.reshape(-1, 1, 1)
        return {**right_one, "output": right_one["output"] + (1 - skip) * inputs["x"]}

    yield Case(id, "what the network is asked, and what becomes of its answer", {
        "x": x, "sigma": sigma, "network_output": draw(f"{id}:network_output", 3, 2, 5)}, {"sigma_data": 0.5}, (), {
            "unscaled": Mutant("your network sees x, not c_in x", "edm-coefficients", compute=straight),
            "whole-skip": Mutant("you add x, not c_skip x", "edm-coefficients", compute=residual),
            "sigma-data-1": mutants["sigma-data-1"]})


def cases() -> Iterator[Case]:
    """From data to noise, one step back, and every way to say a prediction."""
    for some in (_forward, _between, _posteriors, _predictions, _conversions, _steps_back, _thresholds, _preconditioning):
        yield from some()
