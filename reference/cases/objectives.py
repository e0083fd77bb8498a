"""What models are trained on and judged by: weights, losses with their gradients, the variational bound, likelihoods of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import diffusion as D
from minidiff import functional as F
from minidiff.verify.adapters.minidiff import objectives as right
from minidiff.verify.adapters.minidiff.schedules import host, process_of, schedule_of
from reference.case import Case, Mutant, Note, Operation, draw
from reference.cases.forward import LEAST, TYPES, T
from reference.cases.schedules import LINEAR, SCHEDULE
from reference.cases.sde import COSINE, EDM, LINE, PROCESS, VP

SHORT = {**LINEAR, "num_train_timesteps": 11, "beta_start": 0.01, "beta_end": 0.3}
"""Eleven large steps: no term of the bound is smaller than what float32 leaves of a sum."""

PROCESSES = SCHEDULE | {"process": f"in the place of a schedule of T steps: {PROCESS}"}
PREDICTED = {"prediction_type": TYPES}
TIMES = "(N,) times: int64 in [0, T) for a schedule, otherwise float"
BATCH = {"x_start": "x_0, (N, ...)", "noise": "eps, like x_start", "t": TIMES}
WEIGHT = {"weight": "(N,), what the squared errors of each of the batch are multiplied with; absent: 1"}
SAID = {"model_output": "what the model says about x_t, like x_start"}
SNR = "SNR = alpha^2 / sigma^2; abar / (1 - abar) for a schedule"
A_WEIGHT = {"output": "(N,)"}
DECODER = {
    "discretized_gaussian": "the mass of the normal density on the 8-bit grey level's bin, see discretized_gaussian_log_likelihood with "
                            "approximate false",
    "discretized_gaussian_approximate": "the same with approximate true", "gaussian": "the normal density itself",
}
OF_BOUND = PREDICTED | {
    "variance_type": "as in p_mean_variance: fixed_small, fixed_large, learned, learned_range", "min_variance": LEAST,
    "decoder": "; ".join(f"{name}: {text}" for name, text in DECODER.items()),
}
CLIPPED = {"clip_denoised": "whether the predicted x_0 is clipped to [-1, 1]"}

OPERATIONS = {
    "min_snr_weight": Operation(
        equation="the weight of a squared error: x_0: min(SNR, gamma); epsilon: min(SNR, gamma) / SNR; v: min(SNR, gamma) / (SNR + 1). "
                 f"{SNR}",
        chapter="docs/noise.md#13-weights", inputs={"t": TIMES}, settings=PROCESSES | PREDICTED | {"gamma": "the largest weight of x_0"},
        outputs=A_WEIGHT,
    ),
    "truncated_snr_weight": Operation(
        equation=f"x_0: max(SNR, 1); epsilon: max(SNR, 1) / SNR; v: max(SNR, 1) / (SNR + 1). {SNR}",
        chapter="docs/noise.md#13-weights", inputs={"t": TIMES}, settings=PROCESSES | PREDICTED, outputs=A_WEIGHT,
    ),
    "p2_weight": Operation(
        equation=f"epsilon: 1 / (k + SNR)^gamma; x_0: SNR / (k + SNR)^gamma; v: SNR / ((SNR + 1) (k + SNR)^gamma). {SNR}",
        chapter="docs/noise.md#13-weights", inputs={"t": TIMES}, settings=PROCESSES | PREDICTED | {
            "gamma": "the exponent", "k": "what is added to the SNR"},
        outputs=A_WEIGHT,
    ),
    "edm_weight": Operation(
        equation="x_0: (sigma^2 + sd^2) / (sigma sd)^2, sigma the noise against the signal; another prediction: times (error of x_0 / its "
                 "error)^2",
        chapter="docs/noise.md#13-weights", inputs={"t": TIMES}, settings=PROCESSES | PREDICTED | {"sigma_data": "sd"}, outputs=A_WEIGHT,
    ),
    "same_loss_weight": Operation(
        equation="(error in loss_type / error in prediction_type)^2 at a fixed x_t = alpha x_0 + sigma eps; alpha^2 for the loss of "
                 "epsilon and a model of v",
        chapter="docs/noise.md#13-weights", inputs={"t": TIMES},
        settings=PROCESSES | PREDICTED | {"loss_type": "the names of prediction_type"}, outputs=A_WEIGHT,
    ),
    "snr_difference_weight": Operation(
        equation=f"1/2 (SNR_s - SNR_t) for x_0, s < t; another prediction: times (error of x_0 / its error)^2. {SNR}",
        chapter="docs/noise.md#12-from-the-bound-to-a-weighted-squared-error", inputs={"t": TIMES, "s": TIMES},
        settings=PROCESSES | PREDICTED, outputs=A_WEIGHT,
    ),
    "kl_weight": Operation(
        equation="epsilon: beta_t^2 / (2 v alpha_t (1 - abar_t)); x_0: abar_{t-1} beta_t^2 / (2 v (1 - abar_t)^2); v_prediction: that "
                 "of x_0 times 1 - abar_t; v is the variance of the step",
        chapter="docs/noise.md#12-from-the-bound-to-a-weighted-squared-error", inputs={"t": TIMES},
        settings=SCHEDULE | PREDICTED | {
            "variance_type": "fixed_small: v = beta~_t; fixed_large: v = beta_t; at t = 0 as in p_mean_variance", "min_variance": LEAST},
        outputs=A_WEIGHT,
    ),
    "velocity_weight": Operation(
        equation="(error in alpha' x_0 + sigma' eps / error in the prediction)^2 at a fixed x_t = alpha x_0 + sigma eps",
        chapter="docs/noise.md#18-flow-matching-the-same-loss-from-a-third-side", inputs={"t": TIMES}, settings=PROCESSES | PREDICTED,
        outputs=A_WEIGHT,
    ),
    "importance_weights": Operation(
        equation="1 / (T p_t)", chapter="docs/noise.md#16-training-the-variance-and-which-times-to-draw",
        inputs={"probabilities": "p, (T,)", "t": "(N,) int64"}, outputs=A_WEIGHT,
    ),
    "loss_history_probabilities": Operation(
        equation="p_t = (1 - u) sqrt(mean of L_t^2) / (its sum over t) + u / T",
        chapter="docs/noise.md#16-training-the-variance-and-which-times-to-draw",
        inputs={"losses": "(T, H), the latest H losses of each time"}, settings={"uniform_prob": "u"}, outputs={"output": "p, (T,)"},
    ),
    "simple_loss": Operation(
        equation="the mean over batch and elements of w (model_output - target)^2; target: eps, x_0, v ... by prediction_type, of "
                 "x_t = alpha x_0 + sigma eps",
        chapter="docs/ddpm.md#6-the-loss", inputs=SAID | BATCH | WEIGHT, settings=PROCESSES | PREDICTED, outputs={"output": "a number"},
    ),
    "training_losses": Operation(
        equation="the mean over the elements of (model_output - target)^2, for each of the batch",
        chapter="docs/ddpm.md#6-the-loss", inputs=SAID | BATCH, settings=PROCESSES | PREDICTED, outputs={"output": "(N,)"},
    ),
    "hybrid_loss": Operation(
        equation="mean over the batch of w (mean of (prediction - target)^2 + vlb_weight c L_t), L_t the term of vb_terms_bpd at x_t = "
                 "sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, in which the prediction is held constant: the gradient of L_t reaches the "
                 "second half of the channels alone",
        chapter="docs/noise.md#16-training-the-variance-and-which-times-to-draw",
        inputs={"model_output": "(N, 2C, ...): the prediction, then what says the variance"} | BATCH | WEIGHT,
        settings=SCHEDULE | OF_BOUND | {
            "vlb_weight": "the factor of c L_t", "vlb": "sum: c = T, the drawn term stands for the sum over all times; term: c = 1"},
        outputs={"output": "a number"},
    ),
    "vb_terms_bpd": Operation(
        equation="t > 0: KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)); t = 0: -log p(x_0 | x_t), by the decoder; summed over the D "
                 "elements of each of the batch, divided by D log 2. Both distributions: q_posterior_mean_variance, p_mean_variance",
        chapter="docs/noise.md#15-the-bound-in-bits-per-dimension",
        inputs={"model_output": "like x_t, or with twice the channels if the variance is learned", "x_start": "(N, C, ...)",
                "x_t": "like x_start", "t": T},
        settings=SCHEDULE | OF_BOUND | CLIPPED, outputs={"output": "(N,), bits per dimension"},
    ),
    "calc_bpd_loop": Operation(
        equation="vb_terms_bpd at every time t, with x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise[t] and the answer model_output[t]; "
                 "prior_kl in bits per dimension; their sum; mean squared errors of x_0 and of eps",
        chapter="docs/noise.md#15-the-bound-in-bits-per-dimension",
        inputs={"x_start": "(N, C, ...)", "noise": "(T, N, C, ...)", "model_output": "like noise"},
        settings=SCHEDULE | OF_BOUND | CLIPPED,
        outputs={"total_bpd": "(N,)", "prior_bpd": "(N,)", "vb": "(N, T), column t of time t", "xstart_mse": "(N, T)", "mse": "(N, T)"},
    ),
    "prior_kl": Operation(
        equation="KL(N(sqrt(abar) x_0, (1 - abar) I) || N(0, I)) with abar = abar_{T-1}, summed over the elements of each; in nats",
        chapter="docs/noise.md#15-the-bound-in-bits-per-dimension", inputs={"x_start": "(N, ...)"}, settings=SCHEDULE,
        outputs={"output": "(N,)"},
    ),
    "normal_kl": Operation(
        equation="KL(N(mean1, exp(logvar1)) || N(mean2, exp(logvar2))) = (logvar2 - logvar1 + exp(logvar1 - logvar2) "
                 "+ (mean1 - mean2)^2 exp(-logvar2) - 1) / 2, elementwise, in nats",
        chapter="docs/noise.md#12-from-the-bound-to-a-weighted-squared-error",
        inputs={"mean1": "any shape", "logvar1": "log variances, like mean1", "mean2": "like mean1", "logvar2": "like mean1"},
        outputs={"output": "like mean1"},
    ),
    "normal_log_prob": Operation(
        equation="log N(x; mean, exp(log_variance)) = -(log 2 pi + log_variance + (x - mean)^2 exp(-log_variance)) / 2, elementwise; nats",
        chapter="docs/noise.md#15-the-bound-in-bits-per-dimension",
        inputs={"x": "any shape", "mean": "like x", "log_variance": "like x"}, outputs={"output": "like x"},
    ),
    "discretized_gaussian_log_likelihood": Operation(
        equation="log(Phi((x + 1/255 - mean) / s) - Phi((x - 1/255 - mean) / s)), s = exp(log_scale); for x = -1 the lower edge is "
                 "-infinity, for x = 1 the upper is infinity; elementwise, in nats",
        chapter="docs/noise.md#15-the-bound-in-bits-per-dimension",
        inputs={"x": "grey levels k / 127.5 - 1", "means": "like x", "log_scales": "log standard deviations, like x"},
        settings={"approximate": "false: Phi is the normal distribution function. true: Phi(z) = (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) "
                                 "/ 2 and no probability is below 1e-12"},
        outputs={"output": "like x"},
    ),
    "denoising_score_matching": Operation(
        equation="the mean over the batch of w / 2 times the sum over the elements of (score + eps / sigma)^2, w = sigma(t)^2 unless given",
        chapter="docs/noise.md#17-score-matching-the-same-loss-from-another-side",
        inputs={"score": "what the model says about x_t, like x_start"} | BATCH | {"weight": "w, (N,); absent: sigma(t)^2"},
        settings=PROCESSES, outputs={"output": "a number"},
    ),
    "score_matching_loss": Operation(
        equation="with s(x) = weight tanh(x) + bias and its Jacobian J, the mean over the batch of: implicit: trace(J) + |s|^2 / 2; "
                 "sliced: v^T J v + (v^T s)^2 / 2; sliced_variance_reduced: v^T J v + |s|^2 / 2",
        chapter="docs/noise.md#17-score-matching-the-same-loss-from-another-side",
        inputs={"x": "(N, D)", "v": "random directions, like x; not for implicit", "weight": "(D, D), a row for each element of s",
                "bias": "(D,)"},
        settings={"method": "implicit, sliced, sliced_variance_reduced"}, outputs={"output": "a number"},
    ),
    "conditional_velocity": Operation(
        equation="alpha'(t) x_0 + sigma'(t) eps; time grows with the noise",
        chapter="docs/noise.md#18-flow-matching-the-same-loss-from-a-third-side", inputs=BATCH, settings={"process": PROCESS},
        outputs={"output": "like x_start"},
    ),
    "flow_matching_loss": Operation(
        equation="the mean over batch and elements of w (model_output - alpha'(t) x_0 - sigma'(t) eps)^2; time grows with the noise",
        chapter="docs/noise.md#18-flow-matching-the-same-loss-from-a-third-side", inputs=SAID | BATCH | WEIGHT,
        settings={"process": PROCESS}, outputs={"output": "a number"},
    ),
}

NOTES = {
    "weight-min-snr-v": Note(
        "formula", "The min-SNR weight of a model of v is min(SNR, gamma) / (SNR + 1); with / SNR, made for epsilon, the noisy times weigh "
                   "without bound.",
        "Training is dominated by times at which nothing can be seen; slow learning of details.", ("diffusers #5654",)),
    "weight-prediction": Note(
        "formula", "A weight belongs to what is predicted: errors of eps, x_0 and v at one x_t differ by powers of alpha / sigma.",
        "Some times are not learned at all, others alone."),
    "weight-snr": Note(
        "formula", "SNR is abar / (1 - abar), a ratio of variances; its root and 1 - abar alone are other things.",
        "The clean times get too much or too little weight."),
    "weight-importance": Note(
        "formula", "A time drawn with probability p_t is weighted by 1 / (T p_t), so that the expected loss stays what it was; times are "
                   "drawn by the root of the mean square of their losses, and each with a small share for all.",
        "The loss is another one, or some times are never trained."),
    "loss-mean": Note(
        "convention", "Losses are means over all elements; a sum is larger by the number of elements.",
        "Another learning rate, in effect."),
    "loss-target": Note(
        "formula", "The target is what the model is said to predict, v = alpha eps - sigma x_0 with its sign.",
        "The model learns something else than what the sampler reads from it."),
    "loss-snr": Note(
        "convention", "The squared error in what is predicted is not weighted unless a weight is asked for; SNR for x_0 and "
                      "SNR / (SNR + 1) for v turn it into the loss of epsilon.",
        "Noisy times count less: slower learning of what is large.", ("denoising-diffusion-pytorch: loss_weight, even without min-SNR",)),
    "loss-weight-normalized": Note(
        "convention", "Weights multiply; they are not divided by their sum.", "The weighting of a batch depends on its other members."),
    "hybrid-factor": Note(
        "convention", "One drawn term stands for the sum of all T: lambda times T, OpenAI's T / 1000. Without the T it is T times less.",
        "The variance is hardly trained: log-likelihood stays poor, samples with few steps too.",
        ("denoising-diffusion-pytorch, learned_gaussian_diffusion.py: 0.001 for each term",)),
    "hybrid-held": Note(
        "formula", "The bound trains the variance alone; the prediction in it is detached.",
        "The mean is pulled by a noisy loss: worse samples.", ("improved-diffusion, gaussian_diffusion.py: frozen_out",)),
    "bound-bits": Note(
        "convention", "Bits per dimension: nats divided by log 2 and by the number of elements.",
        "Figures 1.44 or thousands of times off."),
    "bound-kl-order": Note(
        "formula", "KL(q || p): the forward process's posterior first, the model second.", "Variances are learned too wide or too narrow."),
    "bound-decoder": Note(
        "convention", "At t = 0 the term is the decoder's -log p(x_0 | x_1): the mass of the pixel's bin, or a density. Its spread depends "
                      "on the convention for the log variance at t = 0.",
        "Bits per dimension that cannot be compared: 2.23 or 0.29 for the same model.",
        ("guided-diffusion and diffusers differ in the log variance at t = 0",)),
    "bound-prior": Note(
        "formula", "The bound contains what the last x_t still knows of the data, at the last time.",
        "Too small a figure, most for short schedules."),
    "kl-variance": Note(
        "convention", "logvar is the logarithm of a variance, log_scale of a standard deviation.", "Widths off by a square root."),
    "bin-open": Note(
        "formula", "The outermost bins reach to infinity, so that all 256 probabilities add up to 1.",
        "Black and white pixels cost too much."),
    "bin-width": Note(
        "formula", "A bin reaches 1/255 to each side in [-1, 1], half the distance of two grey levels.", "Every pixel is off by log 2."),
    "bin-approximate": Note(
        "numerics", "OpenAI's code has a tanh for the normal distribution function, and no probability below 1e-12.",
        "Likelihoods off by up to 1.8e-4, and bounded where a pixel is badly wrong.", ("guided-diffusion, losses.py",)),
    "bin-underflow": Note(
        "numerics", "Far from the mean both distribution functions are 0 or 1 to all digits: the logarithm of their difference has to be "
                    "formed from the ratio of the tails.",
        "An infinite loss for one bad pixel, and NaN in the weights after it."),
    "score-sign": Note(
        "formula", "The score of noised data given the data is -eps / sigma.", "The model points away from the data."),
    "score-half": Note(
        "formula", "The squared norm has the factor 1/2, the trace has none: integration by parts leaves 1.",
        "A score of half or twice the size."),
    "score-weight": Note(
        "convention", "Denoising score matching is weighted by the variance sigma^2, which makes every level count alike.",
        "Small noise outweighs everything."),
    "flow-sign": Note(
        "convention", "Time runs from data to noise here, the velocity of a straight line is eps - x_0; Lipman et al. 2023 turn it round.",
        "Sampling runs away from the data."),
    "flow-curved": Note(
        "formula", "The velocity is alpha' x_0 + sigma' eps; eps - x_0 is the straight line's alone.", "Wrong speed on every other path."),
}

Compute = Callable[..., Any]
CONTINUOUS = {"process": VP}


def _of_schedule(function: Compute) -> Compute:
    """A formula of (process, inputs, settings) in the place of the operation."""
    return lambda inputs, settings: function(process_of(settings), inputs, settings)


def _with(name: str, **changes: Callable[[Mapping[str, Any]], Any]) -> Compute:
    """The operation with other inputs, each of them computed from the right ones."""
    return lambda inputs, settings: right.OPERATIONS[name]({**inputs, **{key: f(inputs) for key, f in changes.items()}}, settings)


def _times(name: str, factor: Callable[..., Any]) -> Compute:
    """The answer times factor(inputs, settings)."""
    return lambda inputs, settings: right.OPERATIONS[name](inputs, settings) * factor(inputs, settings)


# -- weights -----------------------------------------------------------------------------------------------------------


SEVERAL = np.array([0, 1, 13, 250, 600, 999], np.int64)


def _weights() -> Iterator[Case]:
    def snr(inputs, settings):
        process, t = process_of(settings), host(inputs["t"])
        return np.exp(process.log_snr(t))

    def case(name, reason, settings, mutants, t=SEVERAL, process=LINEAR, **inputs):
        return Case(name, reason, {"t": t, **inputs}, {**process, **settings}, (), mutants, "relative")

    as_type = lambda kind, words: Mutant(words, "weight-prediction", settings={"prediction_type": kind})
    v = {"prediction_type": "v_prediction"}
    epsilon, sample = ({"prediction_type": kind} for kind in ("epsilon", "sample"))
    root = Mutant("your SNR is alpha / sigma, not its square", "weight-snr", compute=lambda i, s: (
        np.minimum(np.sqrt(snr(i, s)), s["gamma"]) / np.sqrt(snr(i, s))))
    inverted = Mutant("your weight is min(1 / SNR, gamma)", "weight-snr", compute=lambda i, s: np.minimum(1 / snr(i, s), s["gamma"]))
    yield case("min_snr_weight/epsilon", "the weight of the usual loss, at both sides of gamma", {**epsilon, "gamma": 5.0}, {
        "sample": as_type("sample", "your weight is that of x_0"), "root": root, "inverted": inverted,
        "v": as_type("v_prediction", "you divide by SNR + 1, as for v")})
    yield case("min_snr_weight/v", "the weight of v divides by SNR + 1", {**v, "gamma": 5.0}, {
        "epsilon": Mutant("you divide by SNR, as for epsilon; for v it is SNR + 1", "weight-min-snr-v", settings=epsilon),
        "sample": as_type("sample", "your weight is that of x_0")})
    yield case("min_snr_weight/sample", "the weight of x_0 itself", {**sample, "gamma": 5.0}, {
        "epsilon": as_type("epsilon", "your weight is that of epsilon")})
    yield case("min_snr_weight/gamma-1", "another gamma", {**epsilon, "gamma": 1.0}, {
        "gamma-5": Mutant("your gamma is 5, whatever was asked", "weight-snr", settings={"gamma": 5.0})})
    for kind in ("epsilon", "sample", "v_prediction"):
        other = "sample" if kind != "sample" else "epsilon"
        yield case(f"truncated_snr_weight/{kind}", "never less than the loss in x_0, nor in eps", {"prediction_type": kind}, {
            "other": as_type(other, f"your weight is that of {other}"),
            "untruncated": Mutant("you do not truncate: SNR in the place of max(SNR, 1)", "weight-snr", compute=lambda i, s: (
                D.weight_from_start(snr(i, s), process_of(s), host(i["t"]), s["prediction_type"])))})
    yield case("p2_weight/epsilon", "gamma and k of the paper", {**epsilon, "gamma": 1.0, "k": 1.0}, {
        "sample": as_type("sample", "your weight is that of x_0"),
        "simple": Mutant("you leave the weight out", "weight-prediction", settings={"gamma": 0.0})})
    yield case("p2_weight/gamma-and-k", "gamma and k that are not 1", {**epsilon, "gamma": 0.5, "k": 3.0}, {
        "one": Mutant("your gamma is 1", "weight-prediction", settings={"gamma": 1.0}),
        "k-1": Mutant("your k is 1", "weight-prediction", settings={"k": 1.0})})
    sigmas = np.array([0.0025, 0.3, 0.5, 1.75, 80.0], np.float32)
    yield case("edm_weight/edm", "EDM's lambda", {**sample, "sigma_data": 0.5}, {
        "sum": Mutant("you divide by (sigma + sd)^2; it is (sigma sd)^2", "weight-snr", compute=lambda i, s: (
            (host(i["t"]) ** 2 + 0.25) / (host(i["t"]) + 0.5) ** 2)),
        "sigma-data-1": Mutant("your sigma_data is 1", "edm-coefficients", settings={"sigma_data": 1.0})}, sigmas, {"process": EDM})
    yield case("edm_weight/variance-preserving", "where alpha is not 1, sigma is noise against signal", {**epsilon, "sigma_data": 0.5}, {
        "sample": as_type("sample", "your weight is that of x_0")}, np.array([0.05, 0.5, 0.9], np.float32), CONTINUOUS)
    yield case("same_loss_weight/epsilon-of-v", "a model of v, trained on the loss of epsilon", {"loss_type": "epsilon", **v}, {
        "turned": Mutant("your weight is for a model of epsilon, trained on the loss of v", "weight-prediction",
                         settings={"loss_type": "v_prediction", "prediction_type": "epsilon"})})
    score = {"loss_type": "sample", "prediction_type": "score"}
    yield case("same_loss_weight/sample-of-score", "a score, trained on the loss of x_0", score, {
        "epsilon": as_type("epsilon", "your weight is that of epsilon; the score is divided by sigma")})
    for name, settings, t, s, process in (
        ("sample-steps", sample, [1, 13, 999], [0, 3, 998], LINEAR), ("epsilon-steps", epsilon, [1, 13, 999], [0, 3, 998], LINEAR),
        ("v-continuous", v, [0.25, 0.75], [0.125, 0.0625], CONTINUOUS),
    ):
        kind = np.float32 if process is CONTINUOUS else np.int64
        yield case(f"snr_difference_weight/{name}", "the bound's weight of a step of any length", settings, {
            "whole": Mutant("you forget the 1/2", "weight-snr", compute=_times("snr_difference_weight", lambda i, s: 2.0)),
            "other": as_type("epsilon" if settings is sample else "sample", "your weight is that of another prediction")},
            np.array(t, kind), process, s=np.array(s, kind))
    kl = {"variance_type": "fixed_small", "min_variance": None}
    large = Mutant("your variance is beta_t", "posterior-beta", settings={"variance_type": "fixed_large"})
    yield case("kl_weight/fixed-small", "Ho et al., Eq. 12, with the posterior's variance", {**epsilon, **kl}, {"fixed-large": large})
    yield case("kl_weight/fixed-large", "the same with beta_t", {**sample, **kl, "variance_type": "fixed_large"}, {
        "fixed-small": Mutant("your variance is beta~_t", "posterior-beta", settings={"variance_type": "fixed_small"})})
    yield case("kl_weight/min-variance", "at t = 0 diffusers' convention decides", {**v, **kl, "min_variance": 1e-20}, {
        "next": Mutant("your variance at t = 0 is that of t = 1", "posterior-log-variance", settings={"min_variance": None})})
    line = {"process": LINE}
    t = np.array([0.0625, 0.3, 0.875], np.float32)
    yield case("velocity_weight/line-epsilon", "1 / (1 - t)^2 on a straight line", epsilon, {
        "sample": as_type("sample", "your weight is that of x_0")}, t, line)
    yield case("velocity_weight/variance-preserving-sample", "on a curved path", sample, {
        "line": Mutant("your path is a straight line", "flow-curved", settings=line)}, t, CONTINUOUS)

    p = np.array([0.25, 0.03125, 0.5, 0.125, 0.09375], np.float32)
    inputs = {"probabilities": p, "t": np.array([1, 4, 4, 2])}
    yield Case("importance_weights/five", "probabilities that are exact in float32", inputs, {}, (), {
        "without-T": Mutant("your weights are 1 / p_t: T times too large", "weight-importance",
                            compute=_times("importance_weights", lambda i, s: 5.0)),
        "probability": Mutant("you multiply by T p_t", "weight-importance",
                              compute=lambda i, s: 1 / right.OPERATIONS["importance_weights"](i, s))}, "relative")
    id = "loss_history_probabilities/seven-times"
    losses = np.abs(draw(f"{id}:losses", 7, 10)) * np.linspace(0.05, 3, 7, dtype=np.float32)[:, None]
    size = lambda i, power: (np.mean(host(i["losses"]) ** power, axis=1) ** (1 / power))
    yield Case(id, "ten losses of each of seven times", {"losses": losses}, {"uniform_prob": 0.001}, (), {
        "without-share": Mutant("no time gets the share that all have", "weight-importance", settings={"uniform_prob": 0.0}),
        "mean": Mutant("you take the mean loss, not the root of the mean square", "weight-importance",
                       compute=lambda i, s: 0.999 * size(i, 1) / size(i, 1).sum() + 0.001 / 7),
        "square": Mutant("you take the mean square, not its root", "weight-importance",
                         compute=lambda i, s: 0.999 * size(i, 2) ** 2 / (size(i, 2) ** 2).sum() + 0.001 / 7)}, "relative")


# -- squared errors ----------------------------------------------------------------------------------------------------


SHAPE = (3, 2, 5)


def _batch(id: str, t: Any, said: str = "model_output", shape: tuple[int, ...] = SHAPE) -> dict[str, np.ndarray]:
    return {name: draw(f"{id}:{name}", *shape) for name in (said, "x_start", "noise")} | {"t": np.array(t)}


def _squared() -> Iterator[Case]:
    def as_type(kind):
        return Mutant(f"your target is that of {kind}", "loss-target", settings={"prediction_type": kind})

    def minus_v(name):
        return Mutant("your v has the other sign", "loss-target", compute=_with(
            name, x_start=lambda i: -i["x_start"], noise=lambda i: -i["noise"]))

    def case(name, reason, prediction_type, mutants, weight=None, t=(3, 500, 999), process=LINEAR):
        inputs = _batch(name, list(t) if process is LINEAR else np.array(t, np.float32))
        inputs |= {} if weight is None else {"weight": np.array(weight, np.float32)}
        inputs["cotangent"] = draw(f"{name}:cotangent") if name.startswith("simple") else draw(f"{name}:cotangent", 3)
        return Case(name, reason, inputs, {**process, "prediction_type": prediction_type}, ("model_output",), mutants)

    total = Mutant("your loss is a sum over the elements", "loss-mean", compute=_times("simple_loss", lambda i, s: 30.0))
    root = Mutant("your loss is the root of the mean square", "loss-mean",
                  compute=lambda i, s: F.sqrt(right.OPERATIONS["simple_loss"](i, s)))
    absolute = Mutant("your loss is the mean absolute error", "loss-mean",
                      compute=lambda i, s: F.mean(abs(i["model_output"] - i["noise"])))
    def as_epsilon(name, words):
        """Weighted so that the error is that of epsilon: SNR for x_0, SNR / (SNR + 1) for v."""
        def compute(inputs, settings):
            snr = np.exp(process_of(settings).log_snr(host(inputs["t"])))
            weight = {"sample": snr, "v_prediction": snr / (snr + 1)}[settings["prediction_type"]]
            if name == "simple_loss":
                return right.OPERATIONS[name]({**inputs, "weight": weight}, settings)
            return right.OPERATIONS[name](inputs, settings) * weight

        return Mutant(words, "loss-snr", compute=compute)

    snr_v = "you weight the loss of v by SNR / (SNR + 1), which nobody asked for"
    yield case("simple_loss/epsilon", "the loss of Ho et al.", "epsilon", {
        "sum": total, "root": root, "absolute": absolute, "half": Mutant(
            "you halve the squared error", "loss-mean", compute=_times("simple_loss", lambda i, s: 0.5))})
    yield case("simple_loss/v", "the target depends on the time", "v_prediction", {
        "epsilon": as_type("epsilon"), "sign": minus_v("simple_loss"), "sum": total, "snr": as_epsilon("simple_loss", snr_v)})
    yield case("simple_loss/sample", "x_0 itself is predicted", "sample", {
        "epsilon": as_type("epsilon"), "snr": as_epsilon("simple_loss", "you weight the loss of x_0 by SNR, which nobody asked for")})
    normalized = Mutant("you divide the weights by their mean", "loss-weight-normalized", compute=_with(
        "simple_loss", weight=lambda i: host(i["weight"]) / host(i["weight"]).mean()))
    inside = Mutant("you weight the error before it is squared", "loss-weight-normalized", compute=_with(
        "simple_loss", weight=lambda i: host(i["weight"]) ** 2))
    reversed_ = Mutant("your weights go to the wrong samples", "loss-weight-normalized", compute=_with(
        "simple_loss", weight=lambda i: host(i["weight"])[::-1].copy()))
    yield case("simple_loss/weighted", "a weight for each of the batch", "epsilon", {
        "normalized": normalized, "inside": inside, "reversed": reversed_}, weight=[0.25, 1.0, 4.5])
    yield case("simple_loss/flow-continuous", "a straight line in continuous time", "flow_prediction", {
        "epsilon": as_type("epsilon")}, t=(0.1, 0.5, 0.95), process={"process": LINE})
    yield case("training_losses/v", "one loss for each of the batch", "v_prediction", {
        "epsilon": as_type("epsilon"), "sign": minus_v("training_losses"), "snr": as_epsilon("training_losses", snr_v), "sum": Mutant(
            "your losses are sums over the elements", "loss-mean", compute=_times("training_losses", lambda i, s: 10.0))})
    yield case("training_losses/score", "the target is -eps / sigma", "score", {"epsilon": as_type("epsilon")}, t=(40, 500, 999))


# -- the bound ---------------------------------------------------------------------------------------------------------


FIXED = {"prediction_type": "epsilon", "variance_type": "fixed_large", "min_variance": None, "decoder": "discretized_gaussian"}


def _pixels(id: str, *shape: int) -> np.ndarray:
    """Grey levels k / 127.5 - 1, among them black and white."""
    levels = np.random.default_rng(len(id)).integers(0, 256, shape)
    levels.flat[0], levels.flat[-1] = 0, 255
    return (levels / 127.5 - 1).astype(np.float32)


def _near(id: str, start: np.ndarray, t: list[int], settings: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(x_t, a model's epsilon that is not far off)."""
    noise = draw(f"{id}:noise", *start.shape)
    x_t = D.q_sample(schedule_of(settings), start.astype(np.float64), np.array(t), noise.astype(np.float64)).astype(np.float32)
    return x_t, noise + draw(f"{id}:error", *start.shape, scale=0.8)


def _bound() -> Iterator[Case]:
    nats = Mutant("your answer is in nats", "bound-bits", compute=_times("vb_terms_bpd", lambda i, s: math.log(2)))
    total = Mutant("your answer is for all dimensions together", "bound-bits",
                   compute=_times("vb_terms_bpd", lambda i, s: float(math.prod(i["x_start"].shape[1:]))))

    def two_steps(schedule, inputs, settings):
        """(mean, log variance) of the posterior and of the model's step."""
        x_t, t = inputs["x_t"], host(inputs["t"])
        step = D.p_mean_variance(schedule, inputs["model_output"], x_t, t, settings["prediction_type"], settings["variance_type"])
        mean, _, log_variance = D.q_posterior_mean_variance(schedule, inputs["x_start"], x_t, t)
        return (mean, log_variance), (step.mean, step.log_variance)

    def kl_turned(schedule, inputs, settings):
        posterior, step = two_steps(schedule, inputs, settings)
        return D.nats_to_bits_per_dim(D.sum_flat(D.normal_kl(*step, *posterior)), math.prod(inputs["x_start"].shape[1:]))

    def no_decoder(schedule, inputs, settings):
        posterior, step = two_steps(schedule, inputs, settings)
        return D.nats_to_bits_per_dim(D.sum_flat(D.normal_kl(*posterior, *step)), math.prod(inputs["x_start"].shape[1:]))

    turned = Mutant("your divergence is KL(p || q)", "bound-kl-order", compute=_of_schedule(kl_turned))
    undecoded = Mutant("your term at t = 0 is a divergence; it is the decoder's", "bound-decoder", compute=_of_schedule(no_decoder))
    least = Mutant("your log variance at t = 0 is log 1e-20", "bound-decoder", settings={"min_variance": 1e-20})
    approximate = Mutant("your bins are OpenAI's approximation", "bin-approximate",
                         settings={"decoder": "discretized_gaussian_approximate"})
    density = Mutant("your decoder is a density, not the mass of a bin", "bound-decoder", settings={"decoder": "gaussian"})

    def case(name, reason, t, mutants, **settings):
        id = f"vb_terms_bpd/{name}"
        settings = {**SHORT, **FIXED, "clip_denoised": False, **settings}
        start = _pixels(id, len(t), 3, 5)
        x_t, said = _near(id, start, t, settings)
        if settings["variance_type"].startswith("learned"):
            low, high = (-1.0, 1.0) if settings["variance_type"] == "learned_range" else (-4.0, -2.0)
            share = np.random.default_rng(len(id)).uniform(low, high, said.shape)
            said = np.concatenate([said, share.astype(np.float32)], axis=1)
        inputs = {"model_output": said, "x_start": start, "x_t": x_t, "t": np.array(t), "cotangent": draw(f"{id}:cotangent", len(t))}
        return Case(id, reason, inputs, settings, ("model_output",), mutants)

    yield case("fixed-large", "a divergence between different variances", [1, 6, 10], {"nats": nats, "total": total, "turned": turned})
    large = Mutant("your variance is beta_t", "posterior-beta", settings={"variance_type": "fixed_large"})
    yield case("fixed-small", "equal variances: the squared distance of the means alone", [2, 9], {"fixed-large": large},
               variance_type="fixed_small")
    yield case("decoder", "t = 0 beside another time", [0, 4, 0], {
        "no-decoder": undecoded, "min-variance": least, "approximate": approximate, "gaussian": density, "nats": nats})
    exact = {"decoder": "discretized_gaussian"}
    yield case("decoder-approximate", "OpenAI's approximation of the bins", [0, 7], {
        "exact": Mutant("your bins are exact; these are OpenAI's approximation", "bin-approximate", settings=exact)},
        decoder="discretized_gaussian_approximate")
    yield case("decoder-density", "a density, for data that is not pixels", [0, 5], {
        "mass": Mutant("your decoder is the mass of a bin", "bound-decoder", settings=exact)}, decoder="gaussian")
    yield case("learned-range", "a learned variance, at t = 0 too", [0, 3, 8], {
        "learned": Mutant("you read the place in the range as the log variance", "variance-learned",
                          settings={"variance_type": "learned"}),
        "turned": turned, "min-variance": least}, variance_type="learned_range")
    yield case("learned", "a learned log variance", [1, 8], {
        "range": Mutant("you read the log variance as a place in a range", "variance-learned",
                        settings={"variance_type": "learned_range"})}, variance_type="learned")

    def hybrid(name, reason, t, mutants, weight=None, **settings):
        id = f"hybrid_loss/{name}"
        settings = {**SHORT, **FIXED, "variance_type": "learned_range", "vlb_weight": 0.001, "vlb": "sum", **settings}
        start = _pixels(id, len(t), 2, 3)
        noise = draw(f"{id}:noise", *start.shape)
        said = noise + draw(f"{id}:error", *start.shape, scale=0.8)
        said = np.concatenate([said, np.tanh(draw(f"{id}:share", *start.shape))], axis=1)
        inputs = {"model_output": said, "x_start": start, "noise": noise, "t": np.array(t), "cotangent": draw(f"{id}:cotangent")}
        inputs |= {} if weight is None else {"weight": np.array(weight, np.float32)}
        return Case(id, reason, inputs, settings, ("model_output",), mutants)

    def not_held(schedule, inputs, settings):
        output, start, t = inputs["model_output"], inputs["x_start"], host(inputs["t"])
        x_t = D.q_sample(schedule, start, t, inputs["noise"])
        bound = D.vb_terms_bpd(schedule, output, start, x_t, t, settings["prediction_type"], settings["variance_type"])
        error = output[:, :start.shape[1]] - inputs["noise"]
        return F.mean(error * error) + settings["vlb_weight"] * settings["num_train_timesteps"] * F.mean(bound)

    term = Mutant("you add 0.001 times the drawn term; it stands for T of them", "hybrid-factor", settings={"vlb": "term"})
    held = Mutant("your bound trains the mean too; detach the prediction in it", "hybrid-held", compute=_of_schedule(not_held))
    hundred = Mutant("your vlb_weight is 1", "hybrid-factor", settings={"vlb_weight": 1.0})
    yield hybrid("sum", "OpenAI's factor, T / 1000", [0, 4, 10], {"term": term, "not-held": held, "weight-1": hundred})
    yield hybrid("term", "the drawn term alone, as in denoising-diffusion-pytorch", [2, 9], {
        "sum": Mutant("you multiply the term by T", "hybrid-factor", settings={"vlb": "sum"})}, vlb="term")
    yield hybrid("weighted-v", "weights, and a prediction of v", [1, 7], {
        "epsilon": Mutant("your target is epsilon", "loss-target", settings={"prediction_type": "epsilon"}), "term": term,
        "unweighted": Mutant("your weights do not reach the loss", "loss-weight-normalized",
                             compute=_with("hybrid_loss", weight=lambda i: np.ones(2)))}, [0.5, 3.0], prediction_type="v_prediction")

    id = "calc_bpd_loop/five-steps"
    settings = {**SHORT, "num_train_timesteps": 5, **FIXED, "clip_denoised": False}
    start = _pixels(id, 2, 3, 2)
    noise = draw(f"{id}:noise", 5, *start.shape)
    said = noise + draw(f"{id}:error", *noise.shape, scale=0.3)

    def without(change):
        return lambda inputs, settings: {**(found := right.OPERATIONS["calc_bpd_loop"](inputs, settings)), **change(found)}

    yield Case(id, "the whole bound of two small images", {"x_start": start, "noise": noise, "model_output": said}, settings, (), {
        "no-prior": Mutant("your total lacks the prior's term", "bound-prior",
                           compute=without(lambda f: {"total_bpd": f["vb"].sum(axis=1)})),
        "mean": Mutant("your total is the mean of the terms; it is their sum", "bound-bits",
                       compute=without(lambda f: {"total_bpd": f["vb"].mean(axis=1) + f["prior_bpd"]})),
        "upside-down": Mutant("your columns begin with the last time", "schedule-index",
                              compute=without(lambda f: {name: f[name][:, ::-1] for name in ("vb", "mse", "xstart_mse")})),
        "min-variance": least})
    id = "prior_kl/hundred-steps"
    yield Case(id, "a schedule that leaves a third of the signal", {"x_start": draw(f"{id}:x_start", 2, 3, 5)},
               LINEAR | {"num_train_timesteps": 100}, (), {
                   "bits": Mutant("your answer is in bits", "bound-bits", compute=_times("prior_kl", lambda i, s: 1 / math.log(2))),
                   "mean": Mutant("your answer is a mean over the elements", "bound-bits", compute=_times("prior_kl", lambda i, s: 1 / 15)),
                   "earlier": Mutant("your last time is T - 2", "bound-prior",
                                     compute=lambda i, s: D.prior_kl(schedule_of(s), i["x_start"], s["num_train_timesteps"] - 2))})


# -- Gaussians ---------------------------------------------------------------------------------------------------------


def _gaussians() -> Iterator[Case]:
    def arguments(id, shape, **told):
        """name=(mean, scale) for each input, and a cotangent."""
        return {name: draw(f"{id}:{name}", *shape, mean=mean, scale=scale) for name, (mean, scale) in told.items()} | {
            "cotangent": draw(f"{id}:cotangent", *shape)}

    names = ("mean1", "logvar1", "mean2", "logvar2")
    turned = Mutant("your divergence is KL(second || first)", "bound-kl-order", compute=lambda i, s: D.normal_kl(
        i["mean2"], i["logvar2"], i["mean1"], i["logvar1"]))
    deviations = Mutant("you take log variances for log standard deviations", "kl-variance", compute=lambda i, s: D.normal_kl(
        i["mean1"], 2 * i["logvar1"], i["mean2"], 2 * i["logvar2"]))
    bits = Mutant("your answer is in bits", "bound-bits", compute=_times("normal_kl", lambda i, s: 1 / math.log(2)))
    id = "normal_kl/apart"
    inputs = arguments(id, (3,), mean1=(0, 1), logvar1=(-1, 1), mean2=(0, 1), logvar2=(0.5, 1))
    yield Case(id, "means and variances well apart", inputs, {}, names, {"turned": turned, "deviations": deviations, "bits": bits})
    id = "normal_kl/one-variance"
    inputs = arguments(id, (5,), mean1=(0.5, 1), logvar1=(-3, 1), mean2=(0, 1))
    inputs |= {"logvar2": inputs["logvar1"]}
    yield Case(id, "equal variances: half of the squared distance", inputs, {}, ("mean1", "mean2", "logvar2"), {
        "deviations": deviations, "bits": bits})

    id = "normal_log_prob/six"
    yield Case(id, "a log density and its slopes", arguments(id, (2, 3), x=(0, 1), mean=(0.5, 1), log_variance=(-1, 1)), {},
               ("x", "mean", "log_variance"), {
                   "deviation": Mutant("you take the log variance for a log standard deviation", "kl-variance", compute=lambda i, s: (
                       D.normal_log_prob(i["x"], i["mean"], 2 * i["log_variance"]))),
                   "no-constant": Mutant("you leave log(2 pi) / 2 out", "kl-variance", compute=lambda i, s: (
                       right.OPERATIONS["normal_log_prob"](i, s) + math.log(2 * math.pi) / 2))})

    def bin_of(half=1 / 255, closed=False):
        """The mass of a bin by a plain difference, in float64."""
        def compute(inputs, settings):
            from scipy.special import ndtr

            x, mean, scale = host(inputs["x"]), host(inputs["means"]), np.exp(host(inputs["log_scales"]))
            above, below = ndtr((x + half - mean) / scale), ndtr((x - half - mean) / scale)
            mass = above - below if closed else np.where(x < -0.999, above, np.where(x > 0.999, 1 - below, above - below))
            return inputs["means"] * 0 + inputs["log_scales"] * 0 + np.log(mass)
        return compute

    def underflowing(inputs, settings):
        """In float32, where the distribution function is 0 or 1 from 14 deviations on."""
        with np.errstate(divide="ignore"):
            mass = np.exp(bin_of()(inputs, settings).numpy()).astype(np.float32)
            return inputs["means"] * 0 + inputs["log_scales"] * 0 + np.log(np.where(mass < 1e-38, 0, mass)).astype(np.float64)

    def case(name, reason, levels, offsets, log_scales, mutants, approximate=False):
        id = f"discretized_gaussian_log_likelihood/{name}"
        x = (np.array(levels) / 127.5 - 1).astype(np.float32)
        inputs = {"x": x, "means": (x + np.array(offsets)).astype(np.float32), "log_scales": np.array(log_scales, np.float32),
                  "cotangent": draw(f"{id}:cotangent", len(levels))}
        return Case(id, reason, inputs, {"approximate": approximate}, ("means", "log_scales"), mutants)

    narrow = Mutant("your bins are twice as wide", "bin-width", compute=bin_of(half=1 / 127.5))
    scales = Mutant("you take log_scales for log variances", "kl-variance", compute=lambda i, s: D.discretized_gaussian_log_likelihood(
        i["x"], i["means"], i["log_scales"] / 2, **s))
    closed = Mutant("your outermost bins are closed", "bin-open", compute=bin_of(closed=True))
    approximate = Mutant("you use OpenAI's approximation", "bin-approximate", settings={"approximate": True})
    yield case("ordinary", "means within a few bins, spreads of a bin and more", [37, 100, 128, 129, 200, 251],
               [0.001, -0.006, 0.013, 0.021, -0.002, 0.009], [-4.75, -5.5, -4.0, -4.5, -5.0, -3.75], {
                   "wide": narrow, "scales": scales, "approximate": approximate})
    yield case("edges", "black and white, the mean inside and outside of [-1, 1]", [0, 0, 0, 255, 255, 1, 254], [
        0.012, -0.03, 0.004, 0.011, -0.013, -0.011, 0.015], [-4.5, -4.0, -5.0, -4.75, -4.25, -4.25, -4.0], {
            "closed": closed, "wide": narrow})
    yield case("far", "the mean up to 44 deviations away: both distribution functions are 0 or 1 to all digits", [10, 128, 250, 0], [
        0.4, 0.8, -0.7, 0.5], [-4.0, -4.0, -3.0, -3.5], {
            "clamped": Mutant("your probability is a difference of two, and at least 1e-12, as in OpenAI's code", "bin-approximate",
                              settings={"approximate": True}),
            "underflow": Mutant("your probability is a difference of two that underflows to 0, and its logarithm is -inf", "bin-underflow",
                                compute=underflowing)})
    yield case("approximate", "OpenAI's formula, wherever it is above its bound", [37, 128, 0, 255, 200], [
        0.004, -0.01, 0.02, -0.02, 0.015], [-4.75, -4.0, -4.0, -4.5, -5.0], {
            "exact": Mutant("you use the normal distribution function, not OpenAI's approximation", "bin-approximate",
                            settings={"approximate": False})}, True)


# -- scores and velocities ---------------------------------------------------------------------------------------------


def _scores() -> Iterator[Case]:
    name = "denoising_score_matching"

    def case(id, reason, t, process, mutants, weight=None):
        id = f"{name}/{id}"
        inputs = _batch(id, t, "score") | {"cotangent": draw(f"{id}:cotangent")}
        inputs |= {} if weight is None else {"weight": np.array(weight, np.float32)}
        return Case(id, reason, inputs, process, ("score",), mutants)

    sign = Mutant("your target is eps / sigma; the score points back, -eps / sigma", "score-sign",
                  compute=_with(name, noise=lambda i: -i["noise"]))
    unscaled = Mutant("your target is -eps, not divided by sigma", "score-sign", compute=lambda i, s: right.OPERATIONS[name](
        {**i, "noise": D.extract(schedule_of(s).sqrt_one_minus_alphas_cumprod, host(i["t"]), i["noise"]) * i["noise"]}, s))
    half = Mutant("you forget the 1/2", "score-half", compute=_times(name, lambda i, s: 2.0))
    mean = Mutant("you take the mean over the elements; it is a sum", "loss-mean", compute=_times(name, lambda i, s: 0.1))
    unweighted = Mutant("you leave the weight sigma^2 out", "score-weight", compute=_with(name, weight=lambda i: np.ones(3)))
    by_sigma = Mutant("your weight is sigma, not sigma^2", "score-weight", compute=lambda i, s: right.OPERATIONS[name](
        {**i, "weight": process_of(s).sigma(host(i["t"]))}, s))
    yield case("linear-1000", "the default weight", [40, 500, 999], LINEAR, {
        "sign": sign, "half": half, "mean": mean, "unweighted": unweighted})
    yield case("exploding", "EDM's process: times are sigmas", np.array([0.25, 1.5, 7.0], np.float32), {"process": EDM}, {
        "sign": sign, "unweighted": unweighted, "by-sigma": by_sigma})
    yield case("weighted", "weights of one's own", [40, 500, 999], LINEAR, {
        "default": Mutant("your weight is sigma^2, whatever was given", "score-weight", compute=lambda i, s: right.OPERATIONS[name](
            {key: x for key, x in i.items() if key != "weight"}, s)), "unscaled": unscaled}, [0.5, 2.0, 1.25])

    name_of_losses = "score_matching_loss"

    def loss(method, reason, mutants):
        id = f"{name_of_losses}/{method}"
        inputs = {"x": draw(f"{id}:x", 3, 5), "weight": draw(f"{id}:weight", 5, 5, scale=0.7), "bias": draw(f"{id}:bias", 5),
                  "cotangent": draw(f"{id}:cotangent")}
        inputs |= {} if method == "implicit" else {"v": np.sign(draw(f"{id}:v", 3, 5))}
        return Case(id, reason, inputs, {"method": method}, ("weight", "bias"), mutants)

    def norm(inputs):
        score = F.linear(F.tanh(inputs["x"]), inputs["weight"], inputs["bias"])
        return F.sum(score * score) / 3

    no_trace = Mutant("you leave the trace out", "score-half", compute=lambda i, s: norm(i) / 2)
    whole = Mutant("you forget the 1/2 of the squared norm", "score-half",
                   compute=lambda i, s: right.OPERATIONS[name_of_losses](i, s) + norm(i) / 2)
    reduced = Mutant("you take the whole norm of the score; here it is taken along v", "score-half",
                     settings={"method": "sliced_variance_reduced"})
    plain = Mutant("you take the norm along v; here the whole norm is taken", "score-half", settings={"method": "sliced"})
    yield loss("implicit", "Hyvarinen's loss, differentiated once more", {"no-trace": no_trace, "no-half": whole})
    yield loss("sliced", "along random signs", {"variance-reduced": reduced, "no-trace": no_trace})
    yield loss("sliced_variance_reduced", "along random signs, with the norm exactly", {"sliced": plain, "no-half": whole})


def _velocities() -> Iterator[Case]:
    t = np.array([0.0625, 0.4, 0.96875], np.float32)
    line = Mutant("your velocity is eps - x_0, a straight line's", "flow-curved", settings={"process": LINE})
    for name, process, mutants in (("line", LINE, {}), ("variance-preserving", VP, {"line": line}), ("cosine", COSINE, {"line": line})):
        id = f"conditional_velocity/{name}"
        inputs = {key: x for key, x in _batch(id, t).items() if key != "model_output"}
        minus = Mutant("your velocity has the other sign", "flow-sign",
                       compute=_times("conditional_velocity", lambda i, s: -1.0))
        yield Case(id, "the velocity of one pair of data and noise", inputs, {"process": process}, (), {"sign": minus, **mutants})

    def case(name, process, mutants, weight=None):
        id = f"flow_matching_loss/{name}"
        inputs = _batch(id, t) | {"cotangent": draw(f"{id}:cotangent")}
        inputs |= {} if weight is None else {"weight": np.array(weight, np.float32)}
        return Case(id, "conditional flow matching", inputs, {"process": process}, ("model_output",), mutants)

    sign = Mutant("your target is x_0 - eps", "flow-sign",
                  compute=_with("flow_matching_loss", x_start=lambda i: i["noise"], noise=lambda i: i["x_start"]))
    yield case("line", LINE, {"sign": sign, "epsilon": Mutant("your target is eps", "loss-target", compute=_with(
        "flow_matching_loss", x_start=lambda i: 0 * i["x_start"]))})
    yield case("variance-preserving-weighted", VP, {"line": line, "unweighted": Mutant(
        "your weights do not reach the loss", "loss-weight-normalized", compute=_with("flow_matching_loss", weight=lambda i: np.ones(3)))},
        [0.5, 2.0, 1.25])


def cases() -> Iterator[Case]:
    """Weights, squared errors, the bound, Gaussians, scores and velocities."""
    for some in (_weights, _squared, _bound, _gaussians, _scores, _velocities):
        yield from some()
