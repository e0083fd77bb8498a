"""Diffusion in continuous time: marginals, drifts, steps of the equations, Langevin dynamics, likelihoods."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from minidiff.verify.adapters.minidiff.sde import OPERATIONS as RIGHT
from minidiff.verify.adapters.minidiff.sde import data_of, numbers, process_of
from reference.case import Case, Mutant, Note, Operation, draw

VP = {"name": "VariancePreserving", "beta_min": 0.1, "beta_max": 20.0}
SUB_VP = {"name": "SubVariancePreserving", "beta_min": 0.1, "beta_max": 20.0}
VE = {"name": "VarianceExploding", "sigma_min": 0.01, "sigma_max": 50.0}
COSINE = {"name": "Cosine", "s": 0.008}
LINE = {"name": "StraightLine"}
EDM = {"name": "EDM"}

PROCESS = (
    "x_t = alpha(t) x_0 + sigma(t) eps, time grows with the noise. name: VariancePreserving (beta(t) = beta_min + t (beta_max - beta_min), "
    "B its integral from 0 to t, alpha = exp(-B/2), sigma^2 = 1 - exp(-B)), SubVariancePreserving (the same alpha, sigma = 1 - exp(-B)), "
    "VarianceExploding (alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t), Cosine (alpha = cos(theta) / cos(theta_0), "
    "theta = (t + s) / (1 + s) pi/2, theta_0 its value at t = 0, sigma^2 = 1 - alpha^2), StraightLine (alpha = 1 - t, sigma = t), "
    "EDM (alpha = 1, sigma = t)"
)
COEFFICIENTS = "f = d log alpha / dt, g^2 = d sigma^2 / dt - 2 f sigma^2"
T = "(N,), a time of the process for each of the batch"
GAUSSIAN = {"mean": "(D,), of the Gaussian data, whose coordinates are independent", "std": "(D,), of the data"}
MIXTURE = {"means": "(K, D), of the components of the data, a mixture of Gaussians with independent coordinates",
           "stds": "(K, D), of the components"}
WEIGHTS = "K numbers that sum to 1: the probabilities of the components"
ROTATION = "R, (D, D) orthogonal: the data is y R with y ~ N(mean, diag(std^2)); absent: not turned"
CONTINUOUS = "docs/noise.md#6-continuous-time"

OPERATIONS = {
    "process_level": Operation(
        equation="alpha(t), sigma(t), computed in float64", chapter=CONTINUOUS, inputs={"t": "(K,), times"}, settings={"process": PROCESS},
        outputs={"alpha": "(K,), the factor of x_0", "sigma": "(K,), the standard deviation of the noise"}),
    "process_log_snr": Operation(
        equation="log(alpha(t)^2 / sigma(t)^2), computed in float64", chapter="docs/noise.md#2-only-the-signal-to-noise-ratio-matters",
        inputs={"t": "(K,), times"}, settings={"process": PROCESS}, outputs={"output": "(K,)"}),
    "process_time_of": Operation(
        equation="the t with log(alpha(t)^2 / sigma(t)^2) = log_snr, computed in float64",
        chapter="docs/noise.md#2-only-the-signal-to-noise-ratio-matters",
        inputs={"log_snr": "(K,)"}, settings={"process": PROCESS}, outputs={"output": "(K,), times"}),
    "process_step": Operation(
        equation="h = lambda(s) - lambda(t), lambda = log(alpha / sigma), computed in float64",
        chapter="docs/samplers.md#3-between-two-noise-levels-what-is-known-exactly",
        inputs={"t": "(K,), times", "s": "(K,), times before those of t"}, settings={"process": PROCESS},
        outputs={"output": "(K,), h > 0"}),
    "marginal_prob": Operation(
        equation="p(x_t | x_0) = N(mean, std^2 I): mean = alpha(t) x_0, std = sigma(t)",
        chapter="docs/sde.md#2-what-the-equation-knows-mean-and-variance",
        inputs={"x_start": "(N, ...), x_0", "t": T}, settings={"process": PROCESS},
        outputs={"mean": "like x_start", "std": "(N, 1, ..., 1)"}),
    "drift_and_diffusion": Operation(
        equation=f"dx = drift dt + diffusion dw: drift = f(t) x, diffusion = g(t), {COEFFICIENTS}",
        chapter="docs/sde.md#1-from-steps-to-an-equation", inputs={"x": "(N, ...)", "t": T}, settings={"process": PROCESS},
        outputs={"drift": "like x", "diffusion": "(N, 1, ..., 1), g and not its square"}),
    "reverse_drift": Operation(
        equation=f"f x - (1 + eta^2) / 2 g^2 score, the drift of dx = drift dt + eta g dw for dt < 0; {COEFFICIENTS}",
        chapter="docs/sde.md#4-the-ways-back", inputs={"x": "(N, ...)", "t": T, "score": "like x, the gradient of log p_t(x)"},
        settings={"process": PROCESS, "eta": "how much noise: 1 the reverse-time SDE, 0 the probability-flow ODE"},
        outputs={"output": "like x"}),
    "probability_flow_velocity": Operation(
        equation=f"dx/dt = f x - g^2 / 2 score; {COEFFICIENTS}", chapter="docs/sde.md#4-the-ways-back",
        inputs={"x": "(N, ...)", "t": T, "score": "like x, the gradient of log p_t(x)"}, settings={"process": PROCESS},
        outputs={"output": "like x"}),
    "score_function": Operation(
        equation="score = -eps / sigma(t), eps from the model's prediction and x = alpha x_0 + sigma eps",
        chapter="docs/sde.md#5-the-score-is-the-noise",
        inputs={"x": "(N, ...)", "t": T, "model_output": "like x, what the model predicts of x at t"},
        settings={"process": PROCESS, "prediction_type": "epsilon (eps), sample (x_0), v_prediction (alpha eps - sigma x_0), score, or "
                                                         "flow_prediction (eps - x_0)"},
        outputs={"output": "like x"}),
    "prior_sampling": Operation(
        equation="sigma(T) noise", chapter="docs/sde.md#4-the-ways-back", inputs={"noise": "(N, ...), standard normal"},
        settings={"process": PROCESS, "t": "T, the time at which the walk begins; null: the process's last, 1"},
        outputs={"output": "like noise"}),
    "prior_logp": Operation(
        equation="log N(z; 0, sigma(T)^2 I) in nats, summed over the dimensions", chapter="docs/sde.md#8-how-probable-is-a-picture",
        inputs={"z": "(N, ...)"}, settings={"process": PROCESS, "t": "T; null: the process's last, 1"}, outputs={"output": "(N,)"}),
    "euler_maruyama": Operation(
        equation="x_{k+1} = x_k + (t_{k+1} - t_k) drift(x_k, t_k) + sqrt(|t_{k+1} - t_k|) spread(t_k) z_k. forwards: drift = f x, "
                 "spread = g. backwards: drift = f x - (1 + eta^2) / 2 g^2 score, spread = eta g, with the exact score of the data at t_k. "
                 f"{COEFFICIENTS}",
        chapter="docs/sde.md#2-what-the-equation-knows-mean-and-variance",
        inputs={"x": "(N, D), at the first time", "noise": "(Z, N, D), the z_k of the steps that have one; absent where none has",
                **GAUSSIAN},
        settings={"process": PROCESS, "direction": "forwards (data to noise) or backwards", "eta": "as in reverse_drift; not used forwards",
                  "times": "t_0, t_1, ...", "denoise": "whether the last step leaves its noise out"},
        outputs={"output": "(N, D), at the last time"}),
    "langevin_step": Operation(
        equation="x + eps score + sqrt(2 eps) z", chapter="docs/sde.md#9-langevin-dynamics-staying-at-a-level",
        inputs={"x": "(N, ...)", "score": "like x", "noise": "z, like x"}, settings={"step_size": "eps"}, outputs={"output": "like x"}),
    "langevin_step_size": Operation(
        equation="eps = 2 alpha (snr |z| / |score|)^2, | | the Euclidean norm of one sample", chapter="docs/sde.md#predictor-and-corrector",
        inputs={"score": "(N, ...)", "noise": "z, like score"},
        settings={"snr": "the ratio of Song et al. 2021", "alpha": "1 - beta of the step for VP, 1 for VE",
                  "batch_mean": "whether each norm is the mean over the batch"},
        outputs={"output": "(N, 1, ..., 1), or (1, 1, ..., 1) with batch_mean"}),
    "divergence": Operation(
        equation="the trace of the Jacobian J of a function; with probes z: the mean over them of z^T J z. The function is the exact "
                 "score of alpha x_0 + sigma eps", chapter="docs/sde.md#the-trace-without-the-matrix",
        inputs={"x": "(N, D)", "probes": "(P, N, D); absent: the exact trace", **MIXTURE},
        settings={"weights": WEIGHTS, "alpha": "of the level", "sigma": "of the level"}, outputs={"output": "(N,)"}),
    "log_likelihood": Operation(
        equation="log p(x) = log N(x_T; 0, sigma(T)^2 I) + the integral of div u from start to T along dx/dt = u = f x - g^2 / 2 score, "
                 f"from x to x_T; {COEFFICIENTS}. The score is the data's exact one. The solver's error is to be below the tolerance of "
                 "the case: solve in float64 with a relative tolerance of 1e-9 or better. With probes, z^T J z in the place of div u, the "
                 "same z for the whole way",
        chapter="docs/sde.md#8-how-probable-is-a-picture",
        inputs={"x": "(N, D), at the time start", "probes": "(P, N, D); absent: the exact divergence", **GAUSSIAN, **MIXTURE},
        settings={"process": PROCESS, "start": "the time of the data", "end": "T", "weights": WEIGHTS + "; absent: Gaussian data",
                  "rotation": ROTATION},
        outputs={"log_prob": "(N,), in nats, summed over the dimensions", "latent": "(N, D), x_T"}),
    "uniform_dequantization": Operation(
        equation="x = 2 (k + u) / 256 - 1", chapter="docs/sde.md#bits-per-dimension",
        inputs={"images": "k, (N, ...), integers 0 ... 255", "noise": "u in [0, 1), like images"},
        outputs={"output": "like noise, in [-1, 1)"}),
    "bits_per_dim": Operation(
        equation="-log_prob / (D log 2) - log2(width)", chapter="docs/sde.md#bits-per-dimension",
        inputs={"log_prob": "(N,), in nats, summed over the dimensions"},
        settings={"dimensions": "D", "width": "of the interval that an integer stands for: 2/256 for pixels in [-1, 1], 1/256 in [0, 1]"},
        outputs={"output": "(N,)"}),
    "implicit_score_matching": Operation(
        equation="the mean over the batch of 1/2 |s(x)|^2 + tr(ds/dx), s the exact score of alpha x_0 + sigma eps",
        chapter="docs/noise.md#17-score-matching-the-same-loss-from-another-side", inputs={"x": "(N, D)", **MIXTURE},
        settings={"weights": WEIGHTS, "alpha": "of the level", "sigma": "of the level"}, outputs={"output": "(), a number"}),
    "sliced_score_matching": Operation(
        equation="the mean over the batch of v^T (ds/dx) v + 1/2 |s(x)|^2, or without variance_reduced + 1/2 (v^T s(x))^2",
        chapter="docs/noise.md#17-score-matching-the-same-loss-from-another-side", inputs={"x": "(N, D)", "v": "like x", **MIXTURE},
        settings={"weights": WEIGHTS, "alpha": "of the level", "sigma": "of the level",
                  "variance_reduced": "whether the norm is taken exactly"},
        outputs={"output": "(), a number"}),
}

NOTES = {
    "sde-beta-integral": Note(
        "formula", "alpha = exp(-B/2) needs the integral B = t beta_min + t^2 (beta_max - beta_min) / 2, not t beta(t); and the half.",
        "The process is twice as fast as the model was trained for: pictures stay noisy or flat."),
    "sde-alpha-bar": Note(
        "convention", "alpha here is the factor of x_0, the square root of what DDPM calls alpha-bar.",
        "The signal fades too early: washed-out pictures, a loss that looks normal."),
    "sde-small-times": Note(
        "numerics", "1 - exp(-B) loses its digits where B is small; -expm1(-B) keeps them.",
        "The last steps, where details are made, are taken at a wrong noise level."),
    "sde-sub-vp": Note(
        "formula",
        "Sub-VP's standard deviation is 1 - exp(-B), without a root: what VP has for its variance. Its g^2 has exp(-2 B).",
        "More noise is expected than there is: smooth pictures, wrong likelihoods."),
    "sde-sigma-min": Note(
        "convention",
        "VE's sigma(t) = sigma_min (sigma_max / sigma_min)^t is sigma_min at t = 0; Song et al.'s Eq. 29 subtracts sigma_min^2, which "
        "their code and Appendix C leave out.",
        "Visible at the last noise levels only: a division by sigma(0) = 0.", ("score_sde: VESDE.marginal_prob",)),
    "sde-sigma-spacing": Note(
        "formula", "VE's sigma grows by equal factors in equal times, not by equal amounts.", "Nearly all times are spent at pure noise."),
    "sde-cosine": Note(
        "formula", "The cosine schedule: abar = cos^2(theta) / cos^2(theta_0) with the offset s; alpha is its root.",
        "With alpha = cos^2 the signal fades too early; without the division alpha(0) is not 1; without s the first noise is too small."),
    "sde-time-direction": Note(
        "convention", "Time grows with the noise, alpha = 1 - t. Lipman et al. 2023 count it the other way.",
        "The walk begins at the wrong end: noise."),
    "sde-edm-time": Note(
        "convention",
        "EDM's time is sigma itself, and x is not scaled; VE in the table of Karras et al. has sigma = sqrt(t), scalings like VP's divide "
        "by sqrt(1 + sigma^2).",
        "A model that is told the wrong noise level."),
    "sde-half-log-snr": Note(
        "convention", "The log-SNR is log(alpha^2 / sigma^2), twice lambda = log(alpha / sigma) of the DPM-Solvers.",
        "Embeddings, weights and steps on the wrong scale."),
    "sde-drift": Note(
        "formula", "The forward drift of VP is -beta x / 2, the diffusion sqrt(beta); each confused with its square or its half.",
        "Variance is not preserved: too dark or too noisy, often only after many steps."),
    "sde-ve-diffusion": Note(
        "formula", "VE's g = sigma sqrt(2 log(sigma_max / sigma_min)), the root of d sigma^2 / dt, with the 2 and the natural logarithm.",
        "Walks that add less noise than the model takes away."),
    "sde-reverse-drift": Note(
        "formula", "The reverse SDE pulls with g^2 score, the flow with half of it: the factor (1 + eta^2) / 2, and the sign.",
        "Half the pull with noise ends in noise; the whole pull without noise collapses to the mean."),
    "sde-score-sigma": Note(
        "formula", "score = -eps / sigma: divided by sigma, not multiplied, and with a minus.",
        "The pull is too weak where sigma is small, just where details are made: too wide, grainy."),
    "sde-prediction-type": Note(
        "convention", "A model of v or of x_0 - eps read as if it predicted eps, or with the sign of another library.",
        "Colours wash out, or noise everywhere."),
    "sde-prior": Note(
        "formula", "VE begins at N(0, sigma_max^2), not N(0, 1), and so does its prior's density.",
        "The flow keeps the error: results 50 times too narrow, grey pictures; likelihoods off by 5.6 bits a dimension."),
    "sde-log-density": Note(
        "formula", "log N = -(log 2 pi + log sigma^2 + z^2 / sigma^2) / 2 for each dimension, summed.",
        "Likelihoods wrong by a constant, or by a factor of the number of dimensions."),
    "sde-sqrt-dt": Note(
        "formula", "The noise of a step is sqrt(|dt|) g z.", "With dt the noise vanishes for small steps, and walks collapse."),
    "sde-last-noise": Note(
        "convention", "Whether the last step adds its noise (x) or leaves it out (x_mean in Song's code).",
        "A film of noise on every picture, or a small bias towards smoothness.", ("score_sde: sampling.noise_removal",)),
    "sde-ode-drift-with-noise": Note(
        "formula", "The flow's drift, half the pull, together with the noise of the SDE.", "Far too wide: noise in the place of pictures."),
    "sde-langevin-step": Note(
        "convention",
        "x + eps s + sqrt(2 eps) z (Song et al. 2021) or x + a/2 s + sqrt(a) z (Song & Ermon 2019): a = 2 eps. Mixing the two is wrong.",
        "Half the variance, or twice: too smooth, or grainy."),
    "sde-langevin-norms": Note(
        "convention", "Norms of each sample (the paper), or means over the batch (Song's code, where a sample depends on its companions).",
        "The same seed gives other pictures in another batch.", ("score_sde: sampling.LangevinCorrector",)),
    "sde-langevin-step-size": Note(
        "formula", "eps = 2 alpha (snr |z| / |score|)^2: the 2, the square.", "A corrector that does nothing, or that runs away."),
    "likelihood-sign": Note(
        "formula", "The divergence of dx/dt is added on the way from the data to the noise.",
        "Likelihoods that improve when the model gets worse."),
    "likelihood-half": Note(
        "formula", "The flow's drift has half of g^2 score; so does its divergence.",
        "Latents that are not N(0, 1), meaningless likelihoods."),
    "likelihood-prior": Note(
        "formula", "The latent's density is N(0, sigma(T)^2 I), for VE with sigma(T) = sigma_max.", "5.6 bits a dimension off for VE."),
    "likelihood-weights": Note(
        "formula", "The weights of a mixture belong to its score at every noise level.", "Modes that are too probable, or not enough."),
    "likelihood-probes": Note(
        "formula", "Hutchinson's estimate is the mean over probes of z^T J z: not their sum; and one probe is not the exact trace.",
        "Wrong on average, and not only noisy."),
    "bits-offset": Note(
        "convention", "Pixels in [-1, 1] have bins of 2/256: 7 bits; in [0, 1] of 1/256: 8 bits.",
        "One bit a dimension too many or too few; without the offset, seven."),
    "bits-base": Note("convention", "Bits are logarithms to base 2, nats to base e.", "Numbers that are 0.69 of the others'."),
    "dequantization": Note(
        "convention", "(k + u) / 256 spreads 256 intervals over [0, 1); dividing by 255 or 127.5 is for pixels without noise.",
        "The density is off by 0.4 % a dimension, and values lie above 1."),
    "score-matching-half": Note(
        "formula", "The norm has a factor 1/2, the trace has none.", "The minimum is at half the score."),
}


def _scaled(operation, factor, offset=0.0):
    """The right answer times a factor, plus an offset."""
    return lambda inputs, settings: RIGHT[operation](inputs, settings) * factor + offset


def _column(values, x):
    return values.reshape(-1, *(1,) * (len(x.shape) - 1))


def _f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


# -- processes -------------------------------------------------------------------------------------------------------------


def _marginals(alpha, sigma):
    """A mutant's alpha and sigma, as functions of (t, the process's settings)."""
    return lambda inputs, settings: {"alpha": alpha(numbers(inputs["t"]), settings["process"]),
                                     "sigma": sigma(numbers(inputs["t"]), settings["process"])}


def _integral(t, p):
    return t * (p["beta_min"] + (p["beta_max"] - p["beta_min"]) * t / 2)


def _not_integrated(t, p):
    return t * (p["beta_min"] + (p["beta_max"] - p["beta_min"]) * t)


def _vp_alpha(t, p):
    return np.exp(-_integral(t, p) / 2)


def _vp_sigma(t, p):
    return np.sqrt(-np.expm1(-_integral(t, p)))


def _in_float32(t, p):
    return np.sqrt(np.float32(1) - np.exp(-_integral(t, p).astype(np.float32))).astype(np.float64)


def _ve_sigma(t, p):
    return p["sigma_min"] * (p["sigma_max"] / p["sigma_min"]) ** t


def _theta(t, s):
    return (t + s) / (1 + s) * math.pi / 2


def _cosine(alpha):
    return _marginals(alpha, lambda t, p: np.sqrt(1 - alpha(t, p) ** 2))


def _levels() -> Iterator[Case]:
    one = lambda t, p: np.ones_like(t)
    make = lambda name, reason, process, t, mutants: Case(
        f"process_level/{name}", reason, {"t": _f32(*t)}, {"process": process}, mutants=mutants, noise="relative")
    yield make("vp", "the integral of beta, and its half", VP, (0.03, 0.11, 0.37, 0.71, 1.0), {
        "not-integrated": Mutant("your B is t beta(t), not the integral of beta", "sde-beta-integral", compute=_marginals(
            lambda t, p: np.exp(-_not_integrated(t, p) / 2), lambda t, p: np.sqrt(-np.expm1(-_not_integrated(t, p))))),
        "alpha-bar": Mutant("your alpha is exp(-B), which is alpha squared", "sde-alpha-bar", compute=_marginals(
            lambda t, p: np.exp(-_integral(t, p)), _vp_sigma)),
        "variance": Mutant("your sigma is the variance 1 - exp(-B), not its root", "sde-sub-vp", compute=_marginals(
            _vp_alpha, lambda t, p: -np.expm1(-_integral(t, p)))),
    })
    yield make("vp-small-times", "B is 1e-5 and less: 1 - exp(-B) has no digits in float32", VP, (1e-5, 3e-5, 1e-4), {
        "cancelled": Mutant("your sigma is sqrt(1 - exp(-B)) in float32; use expm1", "sde-small-times", compute=_marginals(
            _vp_alpha, _in_float32)),
    })
    yield make("sub-vp", "the standard deviation has no root", SUB_VP, (0.05, 0.13, 0.31, 0.59), {
        "vp": Mutant("your sigma is sqrt(1 - exp(-B)), that of VP", "sde-sub-vp", settings={"process": VP}),
    })
    yield make("ve", "sigma(0) is sigma_min; equal factors in equal times", VE, (0.0, 0.17, 0.5, 0.83, 1.0), {
        "from-zero": Mutant("your sigma is sqrt(sigma^2 - sigma_min^2), 0 at t = 0", "sde-sigma-min", compute=_marginals(
            one, lambda t, p: np.sqrt(_ve_sigma(t, p) ** 2 - p["sigma_min"] ** 2))),
        "linear": Mutant("your sigma grows linearly in t, not geometrically", "sde-sigma-spacing", compute=_marginals(
            one, lambda t, p: p["sigma_min"] + t * (p["sigma_max"] - p["sigma_min"]))),
    })
    yield make("cosine", "the offset s, the root and the value at t = 0", COSINE, (0.007, 0.19, 0.53, 0.89, 0.997), {
        "alpha-bar": Mutant("your alpha is cos^2, which is alpha squared", "sde-cosine", compute=_cosine(
            lambda t, p: (np.cos(_theta(t, p["s"])) / np.cos(_theta(0, p["s"]))) ** 2)),
        "not-divided": Mutant("your alpha is not divided by its value at t = 0", "sde-cosine", compute=_cosine(
            lambda t, p: np.cos(_theta(t, p["s"])))),
        "no-offset": Mutant("your cosine has no offset s", "sde-cosine", settings={"process": {"name": "Cosine", "s": 0.0}}),
    })
    yield make("straight-line", "from data to noise", LINE, (0.0625, 0.3125, 0.875), {
        "reversed": Mutant("your time runs from noise to data", "sde-time-direction", compute=_marginals(
            lambda t, p: t, lambda t, p: 1 - t)),
    })
    yield make("edm", "the time is sigma, of any size", EDM, (0.002, 0.5, 17.0, 80.0), {
        "root": Mutant("your sigma is sqrt(t); in EDM the time is sigma", "sde-edm-time", compute=_marginals(one, lambda t, p: np.sqrt(t))),
        "scaled": Mutant("your x is divided by sqrt(1 + sigma^2)", "sde-edm-time", compute=_marginals(
            lambda t, p: 1 / np.sqrt(1 + t * t), lambda t, p: t / np.sqrt(1 + t * t))),
    })


def _log_snrs() -> Iterator[Case]:
    half = Mutant("your log-SNR is log(alpha / sigma), half of it", "sde-half-log-snr", compute=_scaled("process_log_snr", 0.5))
    noise = Mutant("your log-SNR is that of the noise: the sign", "sde-half-log-snr", compute=_scaled("process_log_snr", -1.0))
    for name, reason, process, t in (
        ("vp", "from nearly clean to pure noise", VP, (1e-3, 0.05, 0.5, 0.75, 1.0)),
        ("sub-vp", "the same signal, less noise", SUB_VP, (0.01, 0.1, 0.5, 0.97)),
        ("ve", "a straight line in t", VE, (0.0, 0.25, 0.8, 1.0)),
        ("cosine", "both ends, where cos or sin is small", COSINE, (0.003, 0.2, 0.8, 0.999)),
        ("straight-line", "both ends", LINE, (0.001, 0.25, 0.8, 0.996)),
    ):
        yield Case(f"process_log_snr/{name}", reason, {"t": _f32(*t)}, {"process": process},
                   mutants={"half": half, "sign": noise}, noise="relative")


def _times_of() -> Iterator[Case]:
    half = Mutant("you read the log-SNR as lambda = log(alpha / sigma)", "sde-half-log-snr", compute=lambda inputs, settings: (
        RIGHT["process_time_of"]({"log_snr": inputs["log_snr"] * 2}, settings)))
    for name, reason, process, log_snr in (
        ("vp", "the root of a parabola", VP, (5.5, 2.0, -1.0, -7.5)),
        ("sub-vp", "less noise than VP: another parabola", SUB_VP, (6.5, 1.5, -2.0, -5.5)),
        ("cosine", "an angle from its cosine", COSINE, (6.0, 1.0, -1.5, -6.5)),
        ("edm", "sigma from the log-SNR", EDM, (7.0, 1.0, -2.5, -7.5)),
    ):
        vp = {"vp": Mutant("you invert the log-SNR of VP", "sde-sub-vp", settings={"process": VP})} if name == "sub-vp" else {}
        yield Case(f"process_time_of/{name}", reason, {"log_snr": _f32(*log_snr)}, {"process": process},
                   mutants={"half": half, **vp}, noise="relative")


def _steps() -> Iterator[Case]:
    def in_float32(inputs, settings):
        at = lambda name: process_of(settings).log_snr(numbers(inputs[name])).astype(np.float32) / 2
        return (at("s") - at("t")).astype(np.float64)

    yield Case("process_step/close-times", "thousandths apart: the difference of two log-SNRs has few digits in float32",
               {"t": _f32(0.9, 0.5, 0.125), "s": _f32(0.899, 0.49951171875, 0.124)}, {"process": VP}, mutants={
        "difference": Mutant("you subtract two log-SNRs in float32", "sde-small-times", compute=in_float32),
        "log-snr": Mutant("your step is in the log-SNR, twice lambda", "sde-half-log-snr", compute=_scaled("process_step", 2.0)),
    }, noise="relative")


# -- kernels and equations ----------------------------------------------------------------------------------------------------


def _marginal_probs() -> Iterator[Case]:
    def with_std(std, of_mean=lambda alpha: alpha):
        def compute(inputs, settings):
            t, x, process = numbers(inputs["t"]), inputs["x_start"], process_of(settings)
            return {"mean": _column(of_mean(process.alpha(t)), x) * x, "std": _column(std(process.sigma(t), settings["process"]), x)}
        return compute

    id = "marginal_prob/vp"
    yield Case(id, "a time for each of the batch", {"x_start": draw(f"{id}:x", 3, 2, 5), "t": _f32(0.11, 0.37, 0.73)},
               {"process": VP}, mutants={
        "variance": Mutant("your std is the variance", "sde-sub-vp", compute=with_std(lambda sigma, p: sigma ** 2)),
        "alpha-bar": Mutant("your mean has alpha^2 (alpha-bar) for alpha", "sde-alpha-bar", compute=with_std(
            lambda sigma, p: sigma, lambda alpha: alpha ** 2)),
    })
    id = "marginal_prob/sub-vp"
    yield Case(id, "less noise than VP", {"x_start": draw(f"{id}:x", 2, 3, mean=1.0), "t": _f32(0.23, 0.41)}, {"process": SUB_VP}, mutants={
        "vp": Mutant("your std is sqrt(1 - exp(-B)), that of VP", "sde-sub-vp", settings={"process": VP})})
    id = "marginal_prob/ve"
    yield Case(id, "x_0 of mean 1000 stays as it is, early times", {"x_start": draw(f"{id}:x", 2, 3, mean=1000.0), "t": _f32(0.02, 0.05)},
               {"process": VE}, mutants={
        "from-zero": Mutant("your std is sqrt(sigma^2 - sigma_min^2), 0 at t = 0", "sde-sigma-min", compute=with_std(
            lambda sigma, p: np.sqrt(sigma ** 2 - p["sigma_min"] ** 2)))})


def _equations() -> Iterator[Case]:
    def with_rates(f, g):
        """(f, g) of the mutant from the right ones, the times and the process's settings."""
        def compute(inputs, settings):
            x, t, process = inputs["x"], numbers(inputs["t"]), process_of(settings)
            rates = process.drift_rate(t), np.sqrt(process.diffusion_squared(t)), t, settings["process"]
            return {"drift": _column(f(*rates), x) * x, "diffusion": _column(g(*rates), x)}
        return compute

    right_f, right_g = lambda f, g, t, p: f, lambda f, g, t, p: g
    squared = Mutant("your diffusion is g^2; dw is multiplied by g", "sde-drift", compute=with_rates(right_f, lambda f, g, t, p: g * g))

    def make(name, reason, process, t, mutants):
        id = f"drift_and_diffusion/{name}"
        inputs = {"x": draw(f"{id}:x", len(t), 3, 2), "t": _f32(*t)}
        return Case(id, reason, inputs, {"process": process}, mutants={"g-squared": squared, **mutants})

    yield make("vp", "the half in the drift", VP, (0.13, 0.47, 0.94), {
        "whole": Mutant("your drift is -beta x, without the half", "sde-drift", compute=with_rates(lambda f, g, t, p: 2 * f, right_g)),
        "root": Mutant("your diffusion is g = sqrt(beta / 2)", "sde-drift", compute=with_rates(right_f, lambda f, g, t, p: g / np.sqrt(2))),
    })
    yield make("sub-vp", "exp(-2 B) in the diffusion", SUB_VP, (0.09, 0.22, 0.38), {
        "vp": Mutant("your diffusion is sqrt(beta), that of VP", "sde-sub-vp", settings={"process": VP}),
        "one-b": Mutant("your g^2 has exp(-B) for exp(-2 B)", "sde-sub-vp", compute=with_rates(
            right_f, lambda f, g, t, p: np.sqrt(-2 * f * -np.expm1(-_integral(t, p))))),
    })
    yield make("ve", "no drift; the 2 and the logarithm in g", VE, (0.55, 0.61, 0.67), {
        "one": Mutant("your g^2 is sigma^2 log(sigma_max / sigma_min), without the 2", "sde-ve-diffusion", compute=with_rates(
            right_f, lambda f, g, t, p: g / np.sqrt(2))),
        "base-10": Mutant("your logarithm is to base 10", "sde-ve-diffusion", compute=with_rates(
            right_f, lambda f, g, t, p: g / np.sqrt(math.log(10)))),
    })
    yield make("cosine", "the derivative of log cos", COSINE, (0.21, 0.57, 0.83), {
        "no-offset": Mutant("your cosine has no offset s", "sde-cosine", settings={"process": {"name": "Cosine", "s": 0.0}}),
        "whole": Mutant("your drift is g^2 x, without the half", "sde-drift", compute=with_rates(lambda f, g, t, p: 2 * f, right_g)),
    })
    yield make("straight-line", "g^2 = 2 t / (1 - t)", LINE, (0.19, 0.53, 0.78), {
        "of-sigma": Mutant("your g^2 is d sigma^2 / dt = 2 t, without -2 f sigma^2", "sde-drift", compute=with_rates(
            right_f, lambda f, g, t, p: np.sqrt(2 * t))),
    })


def _reverse_drifts() -> Iterator[Case]:
    def with_pull(pull):
        """f x - pull(g^2, eta) score."""
        def compute(inputs, settings):
            x, t, process = inputs["x"], numbers(inputs["t"]), process_of(settings)
            return _column(process.drift_rate(t), x) * x - _column(
                pull(process.diffusion_squared(t), settings.get("eta", 0.0)), x) * inputs["score"]
        return compute

    def inputs(id, t):
        return {"x": draw(f"{id}:x", len(t), 2, 3), "t": _f32(*t), "score": draw(f"{id}:score", len(t), 2, 3)}

    root = Mutant("you multiply the score by g, not by g^2", "sde-reverse-drift", compute=with_pull(
        lambda g2, eta: (1 + eta ** 2) / 2 * np.sqrt(g2)))
    sign = Mutant("your pull has the wrong sign: away from the data", "sde-reverse-drift", compute=with_pull(
        lambda g2, eta: -(1 + eta ** 2) / 2 * g2))
    half = Mutant("your drift has half the pull, that of the flow", "sde-ode-drift-with-noise", compute=with_pull(lambda g2, eta: g2 / 2))
    for name, reason, process, t, eta, more in (
        ("sde", "the reverse-time SDE: the whole pull", VP, (0.17, 0.52, 0.91), 1.0, {"half": half}),
        ("some-noise", "eta between: its square", VE, (0.43, 0.47), 0.5, {"eta": Mutant(
            "your factor is (1 + eta) / 2, without the square", "sde-reverse-drift", compute=with_pull(
                lambda g2, eta: (1 + eta) / 2 * g2))}),
        ("more-noise", "eta above 1", COSINE, (0.33, 0.77), 1.5, {"half": half}),
    ):
        id = f"reverse_drift/{name}"
        yield Case(id, reason, inputs(id, t), {"process": process, "eta": eta}, mutants={"g": root, "sign": sign, **more})

    whole = Mutant("your flow has the whole pull, without the factor 1/2", "sde-reverse-drift", compute=with_pull(lambda g2, eta: g2))
    for name, reason, process, t in (
        ("vp", "half the pull", VP, (0.19, 0.58, 0.93)), ("sub-vp", "its own g", SUB_VP, (0.14, 0.36)),
        ("straight-line", "flow matching's velocity from a score", LINE, (0.27, 0.81)),
    ):
        id = f"probability_flow_velocity/{name}"
        more = {"vp": Mutant("your g is that of VP", "sde-sub-vp", settings={"process": VP})} if name == "sub-vp" else {}
        yield Case(id, reason, inputs(id, t), {"process": process}, mutants={"whole": whole, "g": root, "sign": sign, **more})


def _scores() -> Iterator[Case]:
    def score(of):
        """A mutant's score, of (x, prediction, alpha, sigma)."""
        def compute(inputs, settings):
            x, t, process = inputs["x"], numbers(inputs["t"]), process_of(settings)
            return of(x, inputs["model_output"], _column(process.alpha(t), x), _column(process.sigma(t), x))
        return compute

    as_noise = Mutant("you read the prediction as eps", "sde-prediction-type", settings={"prediction_type": "epsilon"})
    for name, process, t, reason, mutants in (
        ("epsilon", VP, (0.04, 0.31, 0.66), "divided by sigma", {
            "times": Mutant("you multiply by sigma instead of dividing", "sde-score-sigma", compute=score(lambda x, p, a, s: -p * s)),
            "forgotten": Mutant("your score is -eps, sigma forgotten", "sde-score-sigma", compute=score(lambda x, p, a, s: -p)),
            "sign": Mutant("your score has the sign of eps", "sde-score-sigma", compute=score(lambda x, p, a, s: p / s)),
            "variance": Mutant("you divide by sigma^2", "sde-score-sigma", compute=score(lambda x, p, a, s: -p / (s * s)))}),
        ("v_prediction", COSINE, (0.12, 0.45, 0.88), "eps = alpha v + sigma x", {
            "as-epsilon": as_noise,
            "sign": Mutant("your v has the other sign: eps = sigma x - alpha v", "sde-prediction-type", compute=score(
                lambda x, p, a, s: -(s * x - a * p) / s))}),
        ("sample", VE, (0.37, 0.41), "a denoiser: (x_0 - x) / sigma^2", {
            "sigma": Mutant("you divide by sigma, not by its square", "sde-score-sigma", compute=score(lambda x, p, a, s: (p - x) / s))}),
        ("score", SUB_VP, (0.16, 0.44), "the prediction itself", {"as-epsilon": as_noise}),
        ("flow_prediction", LINE, (0.24, 0.69), "eps = x + (1 - t) (eps - x_0)", {
            "as-epsilon": as_noise,
            "sign": Mutant("your velocity points to the data, x_0 - eps", "sde-time-direction", compute=score(
                lambda x, p, a, s: -(x - a * p) / s))}),
    ):
        id = f"score_function/{name}"
        shape = (len(t), 2, 3)
        yield Case(id, reason, {"x": draw(f"{id}:x", *shape), "t": _f32(*t), "model_output": draw(f"{id}:output", *shape)},
                   {"process": process, "prediction_type": name}, mutants=mutants)


def _priors() -> Iterator[Case]:
    for name, reason, process, t in (("ve", "N(0, sigma_max^2)", VE, None), ("edm", "a T of the caller's", EDM, 80.0)):
        id = f"prior_sampling/{name}"
        yield Case(id, reason, {"noise": draw(f"{id}:noise", 2, 3, 5)}, {"process": process, "t": t}, mutants={
            "unit": Mutant("you begin at N(0, 1)", "sde-prior", compute=lambda inputs, settings: inputs["noise"] * 1.0)})

    def formula(by, reduce=np.sum):
        """-by(z^2, sigma), over the dimensions."""
        def compute(inputs, settings):
            terms = by(numbers(inputs["z"]) ** 2, float(process_of(settings).sigma(settings["t"] or 1.0)))
            return -reduce(terms.reshape(len(terms), -1), axis=1)
        return compute

    mutants = {
        "mean": Mutant("you take the mean over the dimensions, not the sum", "sde-log-density", compute=formula(
            lambda z2, s: (math.log(2 * math.pi * s * s) + z2 / s ** 2) / 2, np.mean)),
        "two-pi": Mutant("log 2 pi is missing", "sde-log-density", compute=formula(lambda z2, s: (2 * math.log(s) + z2 / s ** 2) / 2)),
    }
    for name, reason, process, t, scale, more in (
        ("vp", "before the end, where sigma is not 1", VP, 0.5, 1.0, {}),
        ("ve", "sigma_max is part of the density", VE, None, 50.0, {
            "unit": Mutant("your prior is N(0, 1)", "sde-prior", compute=formula(lambda z2, s: (math.log(2 * math.pi) + z2) / 2)),
            "log-variance": Mutant("your log-determinant has log sigma / 2 for log sigma", "sde-log-density", compute=formula(
                lambda z2, s: (math.log(2 * math.pi * s) + z2 / s ** 2) / 2))}),
    ):
        id = f"prior_logp/{name}"
        yield Case(id, reason, {"z": draw(f"{id}:z", 2, 3, 5, scale=scale)}, {"process": process, "t": t}, mutants={**mutants, **more})


# -- steps -------------------------------------------------------------------------------------------------------------------


def _walk(drift, spread):
    """Euler-Maruyama with a mutant's drift(f x, g^2 score, eta) and spread(g, dt, eta)."""
    def compute(inputs, settings):
        process, data, x = process_of(settings), data_of(inputs, settings), numbers(inputs["x"])
        noise, times, eta = iter(numbers(inputs["noise"]) if "noise" in inputs else ()), settings["times"], settings["eta"]
        for t, s in pairwise(times):
            f, g2 = process.drift_rate(t), process.diffusion_squared(t)
            pull = g2 * data.score(x, float(process.alpha(t)), float(process.sigma(t)))
            x = x + (s - t) * drift(f * x, pull, eta) + spread(math.sqrt(g2), abs(s - t), eta) * next(noise, 0.0)
        return x
    return compute


def _walks() -> Iterator[Case]:
    def inputs(id, draws, shape, scale=1.0):
        noise = {"noise": draw(f"{id}:noise", draws, *shape)} if draws else {}
        return {"x": draw(f"{id}:x", *shape, scale=scale), **noise, "mean": _f32(0.75, -1.25, 2.0), "std": _f32(0.5, 1.5, 0.25)}

    forwards = lambda f, pull, eta: f
    backwards = lambda f, pull, eta: f - (1 + eta ** 2) / 2 * pull
    by_root = lambda g, dt, eta: math.sqrt(dt) * g * eta
    id = "euler_maruyama/forwards"
    yield Case(id, "from data to noise, steps of different lengths", inputs(id, 3, (2, 3)), {
        "process": VP, "direction": "forwards", "eta": 1.0, "times": [0.0, 0.125, 0.375, 0.5], "denoise": False}, mutants={
        "dt": Mutant("your noise has dt for sqrt(dt)", "sde-sqrt-dt", compute=_walk(forwards, lambda g, dt, eta: dt * g)),
        "squared": Mutant("your noise has g^2 for g", "sde-drift", compute=_walk(forwards, lambda g, dt, eta: math.sqrt(dt) * g * g)),
    })
    id = "euler_maruyama/backwards"
    yield Case(id, "the reverse SDE with an exact score", inputs(id, 3, (2, 3)), {
        "process": VP, "direction": "backwards", "eta": 1.0, "times": [0.9, 0.7, 0.55, 0.3], "denoise": False}, mutants={
        "half": Mutant("your walk has the flow's drift and the SDE's noise", "sde-ode-drift-with-noise", compute=_walk(
            lambda f, pull, eta: f - pull / 2, by_root)),
        "dt": Mutant("your noise has dt for sqrt(dt)", "sde-sqrt-dt", compute=_walk(backwards, lambda g, dt, eta: dt * g)),
        "denoise": Mutant("you leave the noise of the last step out", "sde-last-noise", compute=lambda inputs, settings: (
            RIGHT["euler_maruyama"]({**inputs, "noise": inputs["noise"][:2]}, {**settings, "denoise": True}))),
    })
    id = "euler_maruyama/denoised"
    yield Case(id, "VE; the last step without its noise, eta between", inputs(id, 2, (2, 3), 3.0), {
        "process": VE, "direction": "backwards", "eta": 0.5, "times": [0.75, 0.625, 0.5, 0.25], "denoise": True}, mutants={
        "eta": Mutant("your pull has the factor (1 + eta) / 2, without the square", "sde-reverse-drift", compute=_walk(
            lambda f, pull, eta: f - (1 + eta) / 2 * pull, by_root)),
        "whole-noise": Mutant("your noise has g, without eta", "sde-reverse-drift", compute=_walk(
            backwards, lambda g, dt, eta: math.sqrt(dt) * g)),
    })
    id = "euler_maruyama/flow"
    yield Case(id, "eta = 0: Euler's steps of the flow, no noise", inputs(id, 0, (1, 3)), {
        "process": COSINE, "direction": "backwards", "eta": 0.0, "times": [0.8, 0.6, 0.25], "denoise": False}, mutants={
        "whole": Mutant("your flow has the whole pull, without the factor 1/2", "sde-reverse-drift", compute=_walk(
            lambda f, pull, eta: f - pull, lambda g, dt, eta: 0.0))})


def _langevin() -> Iterator[Case]:
    with_step = lambda of_score, of_noise: lambda inputs, settings: (
        inputs["x"] + of_score(settings["step_size"]) * inputs["score"] + of_noise(settings["step_size"]) * inputs["noise"])
    id = "langevin_step/ordinary"
    arrays = {name: draw(f"{id}:{name}", 2, 3, 5) for name in ("x", "score", "noise")}
    yield Case(id, "eps and the root of 2 eps", arrays, {"step_size": 0.03}, mutants={
        "mixed": Mutant("you mix two conventions: eps with sqrt(eps)", "sde-langevin-step", compute=with_step(lambda e: e, math.sqrt)),
        "2019": Mutant("your step is a/2 and sqrt(a), with a = eps", "sde-langevin-step", compute=with_step(lambda e: e / 2, math.sqrt)),
        "sign": Mutant("you walk against the score", "sde-langevin-step", compute=with_step(lambda e: -e, lambda e: math.sqrt(2 * e)))})

    for name, batch_mean, alpha, reason in (("each", False, 0.98, "samples of different norms"), ("batch-mean", True, 1.0, "Song's code")):
        id = f"langevin_step_size/{name}"
        sizes = np.array([0.5, 2.0, 7.0], dtype=np.float32).reshape(3, 1, 1)
        other = Mutant(f"your norms are {'those of each sample' if batch_mean else 'means over the batch'}", "sde-langevin-norms",
                       settings={"batch_mean": not batch_mean})
        unsquared = lambda inputs, settings: RIGHT["langevin_step_size"](inputs, {**settings, "snr": math.sqrt(settings["snr"])})
        yield Case(id, reason, {"score": draw(f"{id}:score", 3, 2, 5) * sizes, "noise": draw(f"{id}:noise", 3, 2, 5)},
                   {"snr": 0.16, "alpha": alpha, "batch_mean": batch_mean}, mutants={
            "norms": other,
            "once": Mutant("your step has no factor 2", "sde-langevin-step-size", compute=_scaled("langevin_step_size", 0.5)),
            "snr": Mutant("your snr is not squared", "sde-langevin-step-size", compute=unsquared)})


# -- likelihood --------------------------------------------------------------------------------------------------------------


def _mixture(id, batch):
    return {"x": draw(f"{id}:x", batch, 3), "means": draw(f"{id}:means", 2, 3, scale=1.5),
            "stds": np.array([[0.5, 0.75, 1.25], [1.0, 0.25, 0.625]], dtype=np.float32)}


def _signs(id, *shape):
    return np.where(draw(id, *shape) > 0, 1, -1).astype(np.float32)


LEVEL = {"weights": [0.3125, 0.6875], "alpha": 0.8, "sigma": 0.6}


def _divergences() -> Iterator[Case]:
    id = "divergence/exact"
    sign = Mutant("your divergence has the wrong sign", "likelihood-sign", compute=_scaled("divergence", -1.0))
    yield Case(id, "the trace, of a Jacobian that depends on x", _mixture(id, 2), LEVEL, mutants={
        "sign": sign,
        "mean": Mutant("you take the mean of the diagonal, not its sum", "likelihood-probes", compute=_scaled("divergence", 1 / 3))})
    id = "divergence/signs"
    whole = lambda inputs, settings: RIGHT["divergence"]({name: x for name, x in inputs.items() if name != "probes"}, settings)
    yield Case(id, "Hutchinson's estimate with one probe of signs", {**_mixture(id, 2), "probes": _signs(f"{id}:probes", 1, 2, 3)}, LEVEL,
               mutants={
        "sign": sign, "exact": Mutant("you take the exact trace, not z^T J z", "likelihood-probes", compute=whole)})
    id = "divergence/normal"
    yield Case(id, "the mean over three normal probes", {**_mixture(id, 2), "probes": draw(f"{id}:probes", 3, 2, 3)}, LEVEL, mutants={
        "sum": Mutant("you add the probes up instead of taking their mean", "likelihood-probes", compute=_scaled("divergence", 3.0)),
        "one": Mutant("you use the first probe only", "likelihood-probes", compute=lambda inputs, settings: RIGHT["divergence"](
            {**inputs, "probes": inputs["probes"][:1]}, settings))})
    id = "implicit_score_matching/mixture"
    yield Case(id, "the trace and half the norm", _mixture(id, 2), LEVEL, mutants={
        "whole-norm": Mutant("your norm has no factor 1/2", "score-matching-half", compute=_whole_norm)})
    for name, reduced in (("variance-reduced", True), ("slices", False)):
        id = f"sliced_score_matching/{name}"
        yield Case(id, "the norm exactly" if reduced else "the norm along v", {**_mixture(id, 2), "v": draw(f"{id}:v", 2, 3)},
                   {**LEVEL, "variance_reduced": reduced}, mutants={
            "other-norm": Mutant(f"your norm is {'taken along v' if reduced else 'that of all of s'}", "score-matching-half",
                                 settings={"variance_reduced": not reduced})})


def _whole_norm(inputs, settings):
    score = data_of(inputs, settings).score(numbers(inputs["x"]), settings["alpha"], settings["sigma"])
    return RIGHT["implicit_score_matching"](inputs, settings) + float((score ** 2).sum()) / 2 / len(score)


def _likelihoods() -> Iterator[Case]:
    def altered(of):
        """log p as of(log prior, volume, log N(0, 1) of the latent)."""
        def compute(inputs, settings):
            right = RIGHT["log_likelihood"](inputs, settings)
            end = float(process_of(settings).sigma(settings["end"]))
            squares, size = (right["latent"] ** 2).sum(axis=1), right["latent"].shape[1]
            prior = -(size * math.log(2 * math.pi * end ** 2) + squares / end ** 2) / 2
            unit = -(size * math.log(2 * math.pi) + squares) / 2
            return {**right, "log_prob": of(prior, right["log_prob"] - prior, unit)}
        return compute

    sign = Mutant("your divergence has the wrong sign", "likelihood-sign", compute=altered(lambda prior, volume, unit: prior - volume))
    forgotten = Mutant("you took the latent's density for the data's", "likelihood-sign", compute=altered(
        lambda prior, volume, unit: prior))
    half = Mutant("your flow has the whole pull, without the factor 1/2, and so has its divergence", "likelihood-half", compute=_whole_pull)
    id = "log_likelihood/gaussian"
    mean, std = {"mean": _f32(0.5, -1.25, 0.25)}, {"std": _f32(0.5, 1.5, 0.25)}
    yield Case(id, "the flow has a closed form", {"x": draw(f"{id}:x", 2, 3), **mean, **std}, {"process": VP, "start": 0.001, "end": 1.0},
               mutants={"sign": sign, "half": half, "forgotten": forgotten}, noise="relative")
    id = "log_likelihood/ve"
    yield Case(id, "the density of the prior has sigma_max", {"x": draw(f"{id}:x", 2, 2), "mean": mean["mean"][:2], "std": std["std"][:2]},
               {"process": VE, "start": 0.01, "end": 1.0}, mutants={
        "sign": sign, "unit-prior": Mutant("your prior is N(0, 1)", "likelihood-prior", compute=altered(
            lambda prior, volume, unit: unit + volume))}, noise="relative")
    id = "log_likelihood/two-bells"
    yield Case(id, "a velocity that is not linear", {"x": _f32(-1.25, 0.125, 1.5)[:, None], "means": _f32(-1.0, 0.75)[:, None],
                                                     "stds": _f32(0.25, 0.5)[:, None]},
               {"process": VP, "start": 0.01, "end": 1.0, "weights": [0.3125, 0.6875]}, mutants={
        "sign": sign, "forgotten": forgotten,
        "weights": Mutant("your components are equally likely", "likelihood-weights", settings={"weights": [0.5, 0.5]})}, noise="relative")
    id = "log_likelihood/hutchinson"
    turn = (np.array([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3).tolist()
    exact = lambda inputs, settings: RIGHT["log_likelihood"]({name: x for name, x in inputs.items() if name != "probes"}, settings)
    arrays = {"x": draw(f"{id}:x", 2, 3), "probes": _signs(f"{id}:probes", 2, 2, 3), **mean, **std}
    yield Case(id, "two probes, correlated coordinates", arrays, {"process": VP, "start": 0.001, "end": 1.0, "rotation": turn}, mutants={
        "sign": sign, "exact": Mutant("you take the exact divergence, not z^T J z", "likelihood-probes", compute=exact)}, noise="relative")


def _whole_pull(inputs, settings):
    """Along dx/dt = f x - g^2 score of Gaussian data, x - alpha m grows by (v_T / v_s) (alpha_s / alpha_T), v the variance of x_t."""
    process, data = process_of(settings), data_of(inputs, settings)
    here, there = (process.level(settings[name]) for name in ("start", "end"))
    variance, variance_there = ((level.alpha * data.std) ** 2 + level.sigma ** 2 for level in (here, there))
    growth = variance_there / variance * here.alpha / there.alpha
    latent = there.alpha * data.mean + growth * (numbers(inputs["x"]) - here.alpha * data.mean)
    return {"log_prob": RIGHT["prior_logp"]({"z": latent}, {**settings, "t": settings["end"]}) + np.log(growth).sum(), "latent": latent}


def _bits() -> Iterator[Case]:
    id = "uniform_dequantization/bytes"
    images = np.array([0, 1, 37, 127, 128, 200, 254, 255], dtype=np.int64).reshape(2, 1, 2, 2)
    noise = (np.modf(np.abs(draw(f"{id}:noise", 2, 1, 2, 2)))[0] * np.float32(0.96)).astype(np.float32)
    spread = lambda by, offset: lambda inputs, settings: (numbers(inputs["images"]) + numbers(inputs["noise"])) / by - offset
    yield Case(id, "all ends of the range", {"images": images, "noise": noise}, mutants={
        "half-of-255": Mutant("you divide by 127.5; 256 intervals need 128", "dequantization", compute=spread(127.5, 1.0)),
        "unit": Mutant("your pixels are in [0, 1)", "dequantization", compute=spread(256.0, 0.0)),
        "centred": Mutant("your noise is centred, u - 1/2", "dequantization", compute=spread(128.0, 1 + 1 / 256))})
    for name, width, right, other in (("minus-one-to-one", 2 / 256, 7.0, 8.0), ("zero-to-one", 1 / 256, 8.0, 7.0)):
        id = f"bits_per_dim/{name}"
        in_nats = lambda inputs, settings: -inputs["log_prob"] / settings["dimensions"] - math.log(settings["width"])
        mixed = lambda inputs, settings: -inputs["log_prob"] / settings["dimensions"] - math.log2(settings["width"])
        yield Case(id, f"{right:.0f} bits for the width", {"log_prob": _f32(7654.25, 8123.5, -431.75)},
                   {"dimensions": 3072, "width": width}, mutants={
            "nats": Mutant("your result is in nats", "bits-base", compute=in_nats),
            "mixed": Mutant("your density is in nats, the offset in bits", "bits-base", compute=mixed),
            "none": Mutant("the width of a pixel's interval is missing", "bits-offset", compute=_scaled("bits_per_dim", 1.0, -right)),
            "other": Mutant(f"your offset is {other:.0f} bits; here it is {right:.0f}", "bits-offset", compute=_scaled(
                "bits_per_dim", 1.0, other - right)),
        })


def cases() -> Iterator[Case]:
    """Processes, their equations, steps of those, likelihoods."""
    for family in (_levels, _log_snrs, _times_of, _steps, _marginal_probs, _equations, _reverse_drifts, _scores, _priors, _walks, _langevin,
                   _divergences, _likelihoods, _bits):
        yield from family()
