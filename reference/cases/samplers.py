"""Samplers on data whose perfect model is known, and on answers that are given: where times, levels, orders and fresh noise show.

With a network they are in `walks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.diffusion import (
    CLEAN,
    DDIM,
    EDM,
    Ancestral,
    Gaussian,
    Karras,
    Level,
    Move,
    Multistep,
    Path,
    Plan,
    Pseudo,
    Row,
    Sampler,
    Schedule,
    UniPC,
    convert,
    edm_preconditioning,
    karras_sigmas,
    path,
    timesteps,
    trajectory,
)
from minidiff.diffusion.forward import transition
from minidiff.diffusion.samplers.karras import euler_row
from minidiff.diffusion.samplers.multistep import behind, exact_step, extrapolated, orders
from minidiff.verify.adapters.minidiff.samplers import OPERATIONS as RIGHT
from minidiff.verify.adapters.minidiff.samplers import arrays, edm_sampler, model_of, process_of, sampler_of, walk
from reference.case import Case, Mutant, Note, Operation, draw

# -- the operations ----------------------------------------------------------------------------------------------------

PROCESSES = (
    '{"name": "Schedule", ...}: x_t = a_t x_0 + s_t eps, a_t = sqrt(abar_t), s_t = sqrt(1 - abar_t), '
    "abar_t = (1 - beta_0) ... (1 - beta_t), t = 0 ... T - 1, T = num_train_timesteps. "
    "beta_schedule linear: beta_t = beta_start + (beta_end - beta_start) t / (T - 1); scaled_linear: the same for the square roots; "
    "squaredcos_cap_v2: beta_t = min(1 - f((t + 1) / T) / f(t / T), max_beta), f(u) = cos(pi / 2 (u + 0.008) / 1.008)^2. "
    "rescale_betas_zero_snr: sqrt(abar_t) becomes (sqrt(abar_t) - sqrt(abar_{T-1})) sqrt(abar_0) / (sqrt(abar_0) - sqrt(abar_{T-1})). "
    "Between integer times log(abar / (1 - abar)) is linear in t. Tables are computed in float64. "
    '{"name": "EDM"}: a = 1, s = t, the times are sigmas')
MODELS = (
    '{"kind": "gaussian", ...}: data N(mean, std^2), every element by itself: x_0 = mean + a std^2 / (a^2 std^2 + s^2) (x - a mean). '
    '{"kind": "mixture", ...}: data sum_k weights_k N(means_k, stds_k^2 I), means_k of the shape of a sample: '
    "x_0 = sum_k p_k (means_k + a stds_k^2 / v_k (x - a means_k)), v_k = a^2 stds_k^2 + s^2, "
    "p_k proportional to weights_k N(x; a means_k, v_k I), summing to 1. "
    '{"kind": "given"}: the answers to the calls, one after the other, are the input model_outputs. '
    '{"kind": "unet", ...}: the operation unet with these settings and the parameters among the inputs, asked at x and the time, which is '
    "a fraction for a level between two times of a schedule. With sigma_data, too, the model is the operation edm_precondition around the "
    "network: c_skip x + c_out unet(c_in x, log(s) / 4)")
WALK = (
    "Walk from x through the times, and at last to the data, a = 1 and s = 0. From t to the next, u, with x_0 the model's prediction at "
    "(x_t, t) and eps = (x_t - a_t x_0) / s_t:\n")

PARAMETERS = {"parameters.NAME": "of the network, named as in the operation unet; only for the model unet"}
INPUTS = {
    "x": "(N, ...): where the walk begins, at the first of the times",
    "noise": "(draws, N, ...): the fresh noise z of the whole walk in the order of use; absent if none is drawn",
    "model_outputs": "(calls, N, ...): the model's answers in the order of the calls; only for the model given",
    **PARAMETERS,
}
OUTPUTS = {
    "output": "like x: the end of the walk",
    "states": "(S + 1, N, ...), if asked for: x where the model is first asked in each of the S steps, and the end",
}
SETTINGS = {
    "process": PROCESSES,
    "times": "S times, the noisiest first: the model is asked at these",
    "model": MODELS,
    "prediction_type": "what the model answers: epsilon; sample, x_0; v_prediction, a eps - s x_0; score, -eps / s",
    "clip_denoised": "whether every predicted x_0 is clipped to [-1, 1], and eps computed again from it",
    "set_alpha_to_one": "true: the walk ends at the data; false: at time 0 of the schedule, where abar is abar_0",
    "states": "whether the states are an output",
}
CHURN = {
    "s_churn": "gamma = min(s_churn / S, sqrt(2) - 1) with S the number of steps", "s_tmin": "churn only where sigma is at least this",
    "s_tmax": "churn only where sigma is at most this (1e30: everywhere)", "s_noise": "factor of the churn's noise",
}
ORDER = {"order": "1, 2 or 3", "lower_order_final": "whether the last steps are of orders ..., 2, 1"}
STAGES = {"stages": "r_1, r_2 ..., where in the step, in units of h"}


def _walk(equation: str, chapter: str, own: Mapping[str, str], without: Sequence[str] = ()) -> Operation:
    """A family of samplers; `without`: common settings that it does not take."""
    settings = {name: text for name, text in SETTINGS.items() if name not in without}
    outputs = OUTPUTS if "states" in settings else {"output": OUTPUTS["output"]}
    return Operation(f"{WALK}{equation}\nThe model's formulas: see its setting.", f"docs/{chapter}", INPUTS, outputs, settings | own)


HEUN, SINGLE, MULTI = (f"samplers.md#{anchor}" for anchor in (
    "5-heun-look-where-the-step-leads", "6-dpm-solver-look-around-within-the-step", "7-multistep-remember"))
TWO_MORE, FRESH = (f"samplers.md#{anchor}" for anchor in ("8-unipc-pndm-and-plms-two-more-ways-to-use-answers", "9-fresh-noise"))
TO_THE_DATA = "\nThe step to the data gives x_0."
LAMBDA = "lambda = log(a / s), h = lambda_u - lambda_t.\n"
CHURNED = (
    "In x^ = x / a and sigma = s / a: up = sigma_t (1 + gamma), x^ <- x^ + sqrt(up^2 - sigma_t^2) s_noise z, z drawn where gamma > 0;\n"
    "then the model is asked at x^ and up (in x: at the level with s / a = up), and with its eps\n")
DOWN_AND_UP = (
    "In x^ = x / a and sigma = s / a: up = eta sigma_u sqrt(1 - sigma_u^2 / sigma_t^2), down = sqrt(sigma_u^2 - up^2).\n")
PARABOLA = (
    LAMBDA + "P_0, P_1, P_2: {} predicted at t and at the two times before; r_0, r_1: the lengths of the two steps before, in units of h.\n"
    "order 1: D1 = D2 = 0; order 2: D1 = (P_0 - P_1) / r_0, D2 = 0; order 3, with A = (P_0 - P_1) / r_0 and B = (P_1 - P_2) / r_1:\n"
    "D1 = A + r_0 / (r_0 + r_1) (A - B), D2 = (A - B) / (r_0 + r_1). The first steps have the order of the predictions there are.\n")
SOLVER_TYPE = (
    "exact: w = 2, the integral of the parabola; midpoint: at order 2 the factor of D1 is half of that of P_0; midpoint and heun: at order "
    "3 w = 1, as diffusers and k-diffusion have it")

OPERATIONS = {
    "ddpm": _walk(
        "alpha = abar_t / abar_u, beta = 1 - alpha: x_u = (x_t - beta / sqrt(1 - abar_t) eps) / sqrt(alpha) + std z, the same as\n"
        "x_u = sqrt(abar_u) beta / (1 - abar_t) x_0 + sqrt(alpha) (1 - abar_u) / (1 - abar_t) x_t + std z.\n"
        "EDM (Euler ancestral): x_u = x_t + (down - t) eps + up z, up^2 = u^2 (t^2 - u^2) / t^2, down^2 = u^2 - up^2.\n"
        "The step to the data adds no noise.", "ddpm.md#8-sampling", {
            "variance_type": "fixed_small: std^2 = beta~ = (1 - abar_u) / (1 - abar_t) beta; fixed_large: std^2 = beta. With given answers "
                             "of 2 C channels, of which the first C predict and the others, v, say the variance: learned: log std^2 = v; "
                             "learned_range: log std^2 = (v + 1) / 2 log beta + (1 - v) / 2 log beta~"}),
    "ddim": _walk(
        "std = eta sqrt((1 - abar_u) / (1 - abar_t)) sqrt(1 - abar_t / abar_u),\n"
        "x_u = sqrt(abar_u) x_0 + sqrt(1 - abar_u - std^2) eps + std z; z is drawn where std > 0.", "ddpm.md#9-fewer-steps-ddim", {
            "eta": "the share of fresh noise, 0 ... 1",
            "rederive_epsilon": "with clip_denoised: true computes eps again from the clipped x_0, false keeps the model's own"}),
    "flow_matching_euler": Operation(
        "x_t = (1 - t) x_0 + t eps, the model's velocity v = eps - x_0. From t to u: x_u = x_t + (u - t) v(x_t, t).\n"
        "The last step is to u = 0.", "docs/sde.md#6-one-flow-for-all-processes",
        {**{name: INPUTS[name] for name in ("x", "model_outputs")}, **PARAMETERS},
        {"output": OUTPUTS["output"]},
        {"times": "S times, from 1 (noise) down, without the 0 at the end", "model": MODELS + "; a = 1 - t, s = t",
         "prediction_type": "flow_prediction: the model answers v"}),
    "euler": _walk(f"{CHURNED}x^_u = x^ + (sigma_u - up) eps.", HEUN, CHURN),
    "heun": _walk(
        f"{CHURNED}x' = x^ + (sigma_u - up) eps,\nx^_u = x^ + (sigma_u - up) (eps + eps') / 2, eps' predicted at x' and sigma_u.\n"
        "The last step, to sigma = 0, is x' itself.", HEUN, CHURN),
    "edm_sampler": Operation(
        "sigma_i = (sigma_max^(1/rho) + i / (n - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, i = 0 ... n - 1, sigma_n = 0.\n"
        "x = sigma_0 start_noise. For i = 0 ... n - 1: up = sigma_i (1 + gamma), x <- x + sqrt(up^2 - sigma_i^2) s_noise z,\n"
        "d = (x - D(x, up)) / up, x' = x + (sigma_{i+1} - up) d,\n"
        "and for order 2, unless sigma_{i+1} = 0: x' = x + (sigma_{i+1} - up) (d + (x' - D(x', sigma_{i+1})) / sigma_{i+1}) / 2;\n"
        "x <- x'. D is the model's x_0. Karras et al. 2022, Algorithm 2.", "docs/samplers.md#10-which-levels-to-visit",
        {"start_noise": "(N, ...): standard normal, not yet scaled", "noise": INPUTS["noise"], **PARAMETERS},
        {"output": "like start_noise"},
        {"n": "number of steps", "sigma_min": "the last sigma before 0", "sigma_max": "the first", "rho": "the exponent of the spacing",
         "order": "1, Euler, or 2, Heun", **CHURN, "model": MODELS + "; a = 1, s = sigma",
         "prediction_type": "sample: the model answers D"}),
    "dpm_solver_singlestep": _walk(
        LAMBDA + "E(v, k) = a_v / a_t x_t - s_v (e^k - 1) eps: a step of order 1 to level v, k further on in lambda.\n"
        "Stage 1, at lambda_t + r_1 h: x_1 = E(1, r_1 h), D_1 = eps(x_1) - eps.\n"
        "Stage 2, at lambda_t + r_2 h: x_2 = E(2, r_2 h) - s_2 r_2 / r_1 ((e^(r_2 h) - 1) / (r_2 h) - 1) D_1, D_2 = eps(x_2) - eps.\n"
        "No stage: x_u = E(u, h). One: x_u = E(u, h) - s_u (e^h - 1) D_1 / (2 r_1).\n"
        "Two: x_u = E(u, h) - s_u ((e^h - 1) / h - 1) D_2 / r_2."
        + TO_THE_DATA, SINGLE, STAGES),
    "dpmpp_singlestep": _walk(
        LAMBDA + "E(v, k) = s_v / s_t x_t + a_v (1 - e^-k) x_0: a step of order 1 to level v, k further on in lambda.\n"
        "Stage 1, at lambda_t + r_1 h: x_1 = E(1, r_1 h), D_1 = x_0(x_1) - x_0.\n"
        "Stage 2, at lambda_t + r_2 h: x_2 = E(2, r_2 h) + a_2 r_2 / r_1 ((e^(-r_2 h) - 1) / (r_2 h) + 1) D_1, D_2 = x_0(x_2) - x_0.\n"
        "One stage: x_u = E(u, h) + a_u (1 - e^-h) D_1 / (2 r_1). Two: x_u = E(u, h) + a_u ((e^-h - 1) / h + 1) D_2 / r_2."
        + TO_THE_DATA, SINGLE, STAGES),
    "ancestral_singlestep": _walk(
        DOWN_AND_UP + "The stage is at middle = sigma_t^(1 - r) down^r; h = log(sigma_t / down).\n"
        "epsilon: x^_1 = x^_t + (middle - sigma_t) eps, x^_u = x^_t + (down - sigma_t) (eps + (eps_1 - eps) / (2 r)) + up z.\n"
        "sample: x^_1 = middle / sigma_t x^_t + (1 - e^(-r h)) x_0,\n"
        "x^_u = down / sigma_t x^_t + (1 - e^-h) (x_0 + (x_0_1 - x_0) / (2 r)) + up z." + TO_THE_DATA, FRESH,
        {"stages": "[r]", "predicts": "epsilon or sample", "eta": "share of fresh noise, above 0"}),
    "dpmpp_sde": _walk(
        DOWN_AND_UP + "middle = sigma_t^(1 - r) sigma_u^r; up', down': the same as up, down with middle in the place of sigma_u.\n"
        "x^_1 = down' / sigma_t x^_t + (1 - down' / sigma_t) x_0 + up' z_1; the model is asked at x^_1 and middle: x_0_1.\n"
        "x^_u = down / sigma_t x^_t + (1 - down / sigma_t) (x_0 + (x_0_1 - x_0) / (2 r)) + up w, w = c z_1 + sqrt(1 - c^2) z_2,\n"
        "c^2 = (sigma_t - middle) / (sigma_t - sigma_u): z_1 and w are of one Brownian motion whose time is sigma." + TO_THE_DATA,
        FRESH, {"stages": "[r]", "eta": "share of fresh noise, above 0"}),
    "dpm_solver_multistep": _walk(
        PARABOLA.format("eps") + "x_u = a_u / a_t x_t - s_u ((e^h - 1) P_0 + ((e^h - 1) / h - 1) D1 + w ((e^h - 1 - h) / h^2 - 1/2) D2)."
        + TO_THE_DATA, MULTI, {**ORDER, "solver_type": SOLVER_TYPE}),
    "dpmpp_multistep": _walk(
        PARABOLA.format("x_0") + "z = (1 + eta) h, m = 1 - (1 - e^-z) / z:\n"
        "x_u = s_u / s_t e^(-eta h) x_t + a_u ((1 - e^-z) P_0 + m D1 + w (1/2 - m / z) D2) + s_u sqrt(1 - e^(-2 eta h)) noise."
        + TO_THE_DATA, MULTI, {
            **ORDER, "eta": "0: no noise; 1: the reverse SDE; drawn in every step but the last", "solver_type": SOLVER_TYPE}),
    "unipc": _walk(
        LAMBDA + "P_0, P_1 ...: predicted at t and at the times before; D_i = (P_i - P_0) / r_i, r_i = (lambda_i - lambda_t) / h < 0,\n"
        "i = 1 ... order - 1; the first steps have the order of the predictions there are.\n"
        "sample: g = -h, k = a_u, b = s_u / s_t; epsilon: g = h, k = s_u, b = a_u / a_t. B = e^g - 1, or g for bh1.\n"
        "x_u = b x_t - k ((e^g - 1) P_0 + B sum_i rho_i D_i), where rho solves, for i = 1, 2 ...,\n"
        "sum_j r_j^(i-1) rho_j = i! g phi_{i+1} / B, phi_2 = ((e^g - 1) / g - 1) / g, phi_{i+1} = (phi_i - 1 / i!) / g;\n"
        "a single rho is 1/2, but for exact.\n"
        "The model is asked at this x_u, and the step is done again, with r = 1, D = P_new - P_0 as one more: the corrected x_u,\n"
        "from which the next step goes (without asking again; the states have the x_u at which the model is asked).\n"
        "The last step is not corrected; it gives x_0, or for epsilon\n"
        "(x_t - s_t eps) / a_t.",
        TWO_MORE, {**ORDER, "predicts": "sample or epsilon: what P is", "solver_type": "bh1, bh2 or exact"}),
    "pndm": _walk(
        "phi(x, e, t, u) = sqrt(abar_u / abar_t) x\n"
        "  - (abar_u - abar_t) / (sqrt(abar_t) (sqrt((1 - abar_u) abar_t) + sqrt((1 - abar_t) abar_u))) e,  x_u = phi(x_t, e', t, u).\n"
        "e' is made of the eps at the beginnings of steps, e_0 the newest: (55 e_0 - 59 e_1 + 37 e_2 - 9 e_3) / 24,\n"
        "with fewer (23 e_0 - 16 e_1 + 5 e_2) / 12, (3 e_0 - e_1) / 2, e_0. So always in the last step of the walk, and in others but:\n"
        "PNDM, in each of the first three steps, with m = (t + u) / 2: E_2 = eps(phi(x, e_0, t, m), m), E_3 = eps(phi(x, E_2, t, m), m),\n"
        "  E_4 = eps(phi(x, E_3, t, u), u), e' = (e_0 + 2 E_2 + 2 E_3 + E_4) / 6;\n"
        "PLMS, in the first step: e' = (e_0 + eps(phi(x, e_0, t, u), u)) / 2.", TWO_MORE, {"skip_prk_steps": "false: PNDM; true: PLMS"}),
    "annealed_langevin": _walk(
        "at each of the times, `steps` times: x <- x + c / 2 score + sqrt(c) z, c = step_size s_t^2 / s_last^2,\n"
        "score = (a_t x_0 - x) / s_t^2; x is kept between times (a = 1). Song & Ermon 2019, Algorithm 1.",
        "sde.md#9-langevin-dynamics-staying-at-a-level",
        {"step_size": "epsilon", "steps": "at each level", "denoise": "true: the end is x_0 at the last level; false: x"},
        without=("clip_denoised", "set_alpha_to_one", "states")),
    "langevin_dynamics": Operation(
        "`steps` times: x <- x + step_size score + sqrt(2 step_size) z, score = (a x_0 - x) / s^2 with the model's x_0, at one time.",
        "docs/sde.md#9-langevin-dynamics-staying-at-a-level", {"x": "(N, ...)", "noise": "(steps, N, ...): z", **PARAMETERS},
        {"output": "like x"},
        {"process": PROCESSES, "time": "where on the process", "model": MODELS, "prediction_type": SETTINGS["prediction_type"],
         "step_size": "epsilon", "steps": "how many"}),
    "predictor_corrector": Operation(
        "From t to the next time, u: the predictor; then, unless u is the data, `steps` times x <- x + c score + sqrt(2 c) z at u,\n"
        "c = 2 alpha (snr |z| / |score|)^2, alpha = (a_u / a_w)^2 with w the time after u (the data after the last).\n"
        "Predictor reverse_diffusion: beta = 1 - abar_t / abar_u, x_u = (2 - sqrt(1 - beta)) x_t + beta score + sqrt(beta) z,\n"
        "EDM: x_u = x_t + beta score + sqrt(beta) z, beta = t^2 - u^2; without z in the step to the data.\n"
        "Predictors ddpm (fixed_small) and ddim (eta = 0): as in these operations. score = (a x_0 - x) / s^2.\n"
        "Song et al. 2021, Algorithms 1 to 5.",
        "docs/sde.md#predictor-and-corrector",
        {**INPUTS, "corrector_noise": "(draws, N, ...): the z of the corrector in the order of use"}, {"output": OUTPUTS["output"]},
        {**{name: SETTINGS[name] for name in ("process", "times", "model", "prediction_type", "set_alpha_to_one")},
         "predictor": "reverse_diffusion, ddpm or ddim", "snr": "signal to noise ratio", "steps": "of the corrector at each level",
         "batch_mean": "false: |.| of each sample by itself; true: means of the norms over the batch"}),
}

# -- the mistakes ------------------------------------------------------------------------------------------------------

NOTES = {
    "sampler-previous-timestep": Note(
        "indexing", "The previous time is computed as t - T // N, not read from the list of the N times that are visited.",
        "The model is told one noise level and gets another: too smooth or noisy images for most step counts.",
        ("diffusers DDIMScheduler.step: issues 9261, 11347, 12633",)),
    "sampler-last-alpha": Note(
        "convention", "The walk ends at abar = 1, the data, or at abar_0, with a little noise left (diffusers' set_alpha_to_one).",
        "A fine grain; visible in comparisons more than in images.", ("diffusers: issues 465, 6068; Stable Diffusion ends at abar_0",)),
    "sampler-off-by-one": Note(
        "indexing", "The times are shifted by one: 1-based times of the papers used with 0-based tables, or a missing steps_offset.",
        "Slightly too much or too little noise is removed in every step.", ("CompVis stable-diffusion issue 342",)),
    "sampler-index-for-time": Note(
        "indexing", "The model is told the position in the list of visited times where it expects the time of training.",
        "The model believes that there is hardly any noise: images stay noise."),
    "sampler-noise-at-last-step": Note(
        "formula", "Fresh noise is added in the last step, too, which leads to the data.",
        "Grain on every image, the worse the fewer the steps.", ("teaching code of Ho et al.'s Algorithm 2 without its 'if t > 1'",
                                                                "diffusers DDPM with lists that do not end at time 0")),
    "sampler-variance": Note(
        "convention", "The variance of the fresh noise: beta~ (fixed_small), beta (fixed_large), or said by the model as a log variance.",
        "With few steps beta is far too much: grain; the square root forgotten: blur."),
    "sampler-beta-bar": Note(
        "formula", "sqrt(1 - alpha_t) where sqrt(1 - abar_t) must stand in the mean of the step.",
        "Each step removes too much: washed out.",
        ("teaching slides and tutorials",)),
    "sampler-eta": Note("formula", "eta is ignored, so that DDIM with noise is DDIM without.",
                        "Less variety; other images for the same seed."),
    "sampler-clipping": Note(
        "convention", "After x_0 is clipped eps is computed again (GLIDE, lucidrains) or kept as it was (diffusers' default).",
        "Saturated images differ, above all with much guidance.", ("diffusers use_clipped_model_output",)),
    "sampler-list-cut-off": Note(
        "numerics", "Trailing times are rounded to the nearest integer; cut off, some of them are one less.",
        "None in an image; comparisons fail.", ("denoising-diffusion-pytorch: ddim_sample, which also clips x_0 in every step",)),
    "sampler-clipped-end": Note(
        "convention", "The finished sample is clipped to [-1, 1], the range of images, within the sampler; here it is left as it is.",
        "None in an image, which is clipped when it is shown; data of another range is cut.",
        ("denoising-diffusion-pytorch: ElucidatedDiffusion.sample",)),
    "sampler-states": Note(
        "convention", "UniPC has two x at each time: the predicted one, at which the model is asked, and the corrected one, from which the "
                      "next step goes.",
        "None in an image: the end is the same."),
    "sampler-prediction-type": Note(
        "convention", "The model's answer is read as another kind of prediction: epsilon, x_0, v.", "Noise, or colours that run away."),
    "sampler-schedule": Note(
        "default", "Another schedule: linear in beta or in its square root (which CompVis calls linear), cosine, zero terminal SNR or not.",
        "The model is told a noise level that it does not get: wrong contrast, no very dark or bright images.",
        ("CompVis 'linear' is diffusers' 'scaled_linear'", "arXiv 2305.08891")),
    "sampler-float32-tables": Note(
        "numerics", "abar is computed and kept in float32, and 1 - abar by subtraction, which loses its digits near t = 0.",
        "None in an image; the last steps differ from every other implementation in the fourth digit.", ("diffusers: issues 3005, 10660",)),
    "sampler-churn-order": Note(
        "formula", "EDM's churn noise is added after the model was asked, or the model is told the level before it.",
        "Part of the noise is never taken away: grain.", ("diffusers EulerDiscreteScheduler, EDMEulerScheduler",)),
    "sampler-churn-size": Note("formula", "Churn without its bounds: sqrt(2) - 1 for gamma, s_tmin and s_tmax; or without s_noise.",
                               "More noise than the model can handle in a step."),
    "sampler-initial-sigma": Note(
        "formula", "EDM's walk begins at sigma_max times noise; sqrt(sigma_max^2 + 1) belongs to scaled variance preserving models.",
        "Invisible at sigma_max = 80; too much contrast for a small sigma_max.", ("diffusers init_noise_sigma of the sigma schedulers",)),
    "sampler-sigma-spacing": Note("default", "Another spacing of the sigmas: rho, the ends, or n where n - 1 should divide.",
                                  "Steps where they are not needed: less detail for the same calls."),
    "sampler-no-correction": Note("formula", "A step of second order or a correction is left out, so that the method is of lower order.",
                                  "Smoother and less accurate images at the same number of steps."),
    "sampler-last-sigma": Note(
        "formula", "The last sigma is listed twice instead of followed by 0: the last step does nothing.",
        "The noise of sigma_min is left.",
        ("diffusers: issues 5689, 6477",)),
    "sampler-ancestral-noise": Note(
        "formula", "Fresh noise is added without going further down first (sigma_down), so that the levels do not fit.",
        "Too much noise at every level: grain."),
    "sampler-brownian": Note(
        "formula", "The noise of a stage and that of its step are drawn independently, not from one Brownian motion.",
        "The variance of images converges slowly, as with Euler.", ("diffusers DPMSolverSinglestepScheduler with sde-dpmsolver++",)),
    "sampler-half-curvature": Note(
        "formula", "At order 3 the second divided difference is used as a second derivative: half of the curvature is counted.",
        "A method of order 2 at the price of three.", ("diffusers DPMSolverMultistepScheduler, k-diffusion sample_dpmpp_3m_sde",)),
    "sampler-curvature-sign": Note(
        "formula", "The curvature of the third-order step with noise has the wrong sign.", "Worse than order 2.",
        ("diffusers DPMSolverMultistepScheduler, sde-dpmsolver++ of order 3",)),
    "sampler-solver-type": Note(
        "convention", "At second order the slope counts half of the constant's integral (midpoint, as published) or its own (heun, exact).",
        "Small; images differ slightly with few steps."),
    "sampler-lower-order-final": Note(
        "convention", "Whether the last steps are of lower order; diffusers does so below 15 steps.",
        "With few steps the last one is unstable without.",
        ("diffusers lower_order_final, euler_at_final",)),
    "sampler-log-snr": Note("formula", "h is a difference of log(a^2 / s^2) where lambda is log(a / s): twice too long.",
                            "Overshooting: noise and colours."),
    "sampler-uneven-steps": Note(
        "formula", "The last steps' lengths are not looked at: weights for steps of one length on an uneven list.",
        "Order 1 in the place of 2: less accurate images."),
    "sampler-predicts": Note("convention", "The polynomial is put through the predicted noise in the place of x_0, or the other way round.",
                             "Other images with few steps; unstable with much guidance."),
    "sampler-stage": Note("formula", "A stage lies elsewhere in the step than its weights say.", "The method loses its order."),
    "sampler-plms-start": Note("convention", "The steps before there are four predictions: Runge-Kutta (PNDM), improved Euler (PLMS).",
                               "Other images for the same seed; the first large step is inaccurate."),
    "sampler-bh": Note("convention", "UniPC's B(h) is e^h - 1 (bh2) or h (bh1), and where a single unknown is solved for, or 1/2.",
                       "Small; images differ slightly with few steps."),
    "langevin-step": Note(
        "convention", "A Langevin step of eps has noise sqrt(2 eps), one of alpha / 2 has sqrt(alpha): the two conventions mixed.",
        "Too little or too much noise: the temperature is wrong.", ("Song & Ermon 2019 and Song et al. 2021 differ",)),
    "langevin-denoise": Note("convention", "Whether the walk ends with the noise of the last level in x or with the predicted x_0.",
                             "A fine grain is left.", ("arXiv 2009.05475",)),
    "corrector-norms": Note("convention", "The norms in the corrector's step are each sample's, or means over the batch (Song's code).",
                            "An image depends on its companions in the batch."),
    "corrector-predictor": Note("convention", "The predictor is the reverse diffusion step of Song et al., or DDPM's ancestral step.",
                                "Small with many steps."),
    "corrector-steps": Note("default", "How many Langevin steps correct each level.", "Less is corrected than was asked for."),
    "flow-time": Note("convention", "Time runs from noise to data, or is shifted twice: the velocity belongs to another time.",
                      "Blurred or overexposed images.", ("diffusers issue 13243",)),
}

Rule = Callable[[Sampler, Path], Plan]


@dataclass(frozen=True)
class _Wrong:
    """A sampler with a mistake in it."""

    sampler: Sampler
    rule: Rule

    def plan(self, path: Path) -> Plan:
        return self.rule(self.sampler, path)


def _fitted(inputs: Mapping[str, Any], settings: Mapping[str, Any], sampler: Sampler) -> dict[str, Any]:
    """The inputs with as many noises, and answers, as this sampler needs: fewer, or the first ones again, as the adapters draw."""
    plan = sampler.plan(path(process_of(settings["process"]), settings["times"], settings.get("set_alpha_to_one", True)))
    fit = lambda found, count: [found[i % len(found)] for i in range(count)]
    fitted = dict(inputs)
    for name, count in (("noise", plan.draws), ("model_outputs", len(plan.moves))):
        if name in inputs:
            fitted[name] = fit(arrays(inputs, name), count)
    return fitted


def _walked(words: str, flag: str, make: Callable[[dict[str, Any]], tuple[dict[str, Any], Sampler]]) -> Mutant:
    def compute(inputs, settings):
        settings, sampler = make(settings)
        return walk(_fitted(inputs, settings, sampler), settings, sampler)

    return Mutant(words, flag, compute=compute)


def reset(operation: str, words: str, flag: str, **changes: Any) -> Mutant:
    """Other settings, or another operation's sampler with them."""
    def make(settings):
        settings = {**settings, **changes}
        return settings, sampler_of(operation, settings)

    return _walked(words, flag, make)


def ruled(operation: str, words: str, flag: str, rule: Rule, **changes: Any) -> Mutant:
    """The operation's sampler with its plan made otherwise; changes: of the settings, beside it."""
    def make(settings):
        settings = {**settings, **changes}
        return settings, _Wrong(sampler_of(operation, settings), rule)

    return _walked(words, flag, make)


def each_move(change: Callable[[int, Move, Path], Move]) -> Rule:
    """A rule that changes each move by itself."""
    def rule(sampler, path):
        plan = sampler.plan(path)
        return replace(plan, moves=[change(i, move, path) for i, move in enumerate(plan.moves)])

    return rule


def _settled(change: Callable[[Row], Row]) -> Rule:
    """A rule that changes the row of each step."""
    return each_move(lambda i, move, path: move if move.settle is None else move._replace(settle=change(move.settle)))


def strided(sampler: Ancestral, path: Path) -> Plan:
    stride, moves = path.process.num_train_timesteps // len(path), []
    for t in path.levels[:-1]:
        s = path.process.level(t.time - stride) if t.time >= stride else CLEAN
        moves.append(Move(t, sampler.row(t, s, s.half_log_snr - t.half_log_snr), to=s))
    return Plan("sample", moves)


def noise_at_the_end(sampler: Sampler, path: Path) -> Plan:
    plan, std = sampler.plan(path), float(transition(path.levels[-1], path.levels[-2], path.steps[-1])[1])
    *moves, last = plan.moves
    return replace(plan, moves=[*moves, last._replace(settle=last.settle._replace(noise=std))])


def noise_at_the_end_as_learned(sampler: Ancestral, path: Path) -> Plan:
    """The last step, whose beta~ is 0, adds noise of a variance between 1e-20 and beta."""
    plan = sampler.plan(path)
    *moves, last = plan.moves
    noisy = last._replace(settle=last.settle._replace(noise=1.0), log_variances=(math.log(1e-20), last.log_variances[1]))
    return replace(plan, moves=[*moves, noisy])


def strided_pseudo(sampler: Pseudo, path: Path) -> Plan:
    """diffusers' PNDM and PLMS: steps of T // N, and in the middle of a Runge-Kutta step half of that, wherever the list says to go."""
    stride = path.process.num_train_timesteps // len(path)
    at = lambda time: path.process.level(time) if time >= 0 else path.levels[-1]
    times, moves = [level.time for level in path.levels[:-1]], []

    def carried(row: Row, t: Level, s: Level) -> Row:
        return euler_row(t, s, s.half_log_snr - t.half_log_snr, tuple(c / sum(row.predictions) for c in row.predictions))

    for i, move in enumerate(sampler.plan(path).moves):
        if sampler.skip_prk_steps and i < 2:
            t, s = (at(times[0]), at(times[0] - stride)) if i == 0 else (at(times[1] + stride), at(times[1]))
            moves.append(Move(move.level, move.settle and carried(move.settle, t, s), move.ahead and carried(move.ahead, t, s), move.to))
        elif not sampler.skip_prk_steps and i < 12:
            t, s = at(times[i // 4]), at(times[i // 4 + 1])
            middle = at(s.time + stride // 2)
            asked = (t, middle, middle, s)[i % 4]
            leads = (at(t.time - stride // 2), middle, s, s)[i % 4]
            moves.append(Move(asked, move.settle and carried(move.settle, t, leads), move.ahead and carried(move.ahead, t, leads), move.to))
        else:
            moves.append(move._replace(settle=carried(move.settle, move.level, at(move.level.time - stride))))
    return Plan("epsilon", moves)


def newest_alone_at_the_end(sampler: Pseudo, path: Path) -> Plan:
    plan = sampler.plan(path)
    *moves, last = plan.moves
    return replace(plan, moves=[*moves, last._replace(settle=last.settle._replace(predictions=(sum(last.settle.predictions),)))])


def beta_without_bar(sampler: Ancestral, path: Path) -> Plan:
    moves = []
    for t, s, h in zip(path.levels, path.levels[1:], path.steps):
        alpha = (t.alpha / s.alpha) ** 2
        moves.append(Move(t, Row(alpha ** -0.5, (-((1 - alpha) / alpha) ** 0.5,), sampler.row(t, s, h).noise), to=s))
    return Plan("epsilon", moves)


def noise_on_top(sampler: Ancestral, path: Path) -> Plan:
    steps = zip(path.levels, path.levels[1:], path.steps)
    return Plan("sample", [Move(t, Ancestral(0.0).row(t, s, h)._replace(noise=sampler.row(t, s, h).noise), to=s) for t, s, h in steps])


def churned_late(sampler: Karras, path: Path) -> Plan:
    moves = []
    for t, s in zip(path.levels, path.levels[1:]):
        up, churn, _ = sampler.churn(path, t)
        slope = s.alpha * (s.sigma / s.alpha - up.sigma / up.alpha)
        moves.append(Move(t, Row(s.alpha / t.alpha, (slope,), s.alpha / up.alpha * churn.noise if churn else 0.0), to=s))
    return Plan("epsilon", moves)


def asked_before_churn(operation: str, calls: int) -> Mutant:
    """calls: of the model in a step."""
    return ruled(operation, "your model is told the level before churn", "sampler-churn-order", each_move(
        lambda i, move, path: move if move.churn is None else move._replace(level=path.levels[(i + calls - 1) // calls])))


def doubled(sampler: Sampler, path: Path) -> Plan:
    return sampler.plan(replace(path, steps=tuple(2 * h for h in path.steps)))


def even(sampler: Multistep, path: Path) -> Plan:
    moves = []
    for t, s, h, order in zip(path.levels, path.levels[1:], path.steps, orders(path, sampler.order, sampler.lower_order_final)):
        step = exact_step(t, s, h, sampler.predicts)
        weights = extrapolated(sampler.moments(step, order), [float(i) for i in range(order)])
        moves.append(Move(t, Row(step.x, tuple(step.scale * w for w in weights)), to=s))
    return Plan(sampler.predicts, moves)


def independent(sampler: Sampler, path: Path) -> Plan:
    return _settled(lambda row: row._replace(noise=float(np.hypot(row.noise, row.last_noise)), last_noise=0.0))(sampler, path)


@dataclass(frozen=True)
class _Uncorrected(UniPC):
    def correction(self, step, nodes, predictor):
        return []


@dataclass(frozen=True)
class _WrongSign(Multistep):
    def moments(self, step, order):
        moments = super().moments(step, order)
        return [*moments[:2], -moments[2]] if order == 3 else moments


@dataclass(frozen=True)
class _Unlimited(Karras):
    def churn(self, path, t):
        gamma = self.s_churn / len(path)
        up = path.between(t.half_log_snr - float(np.log1p(gamma)))
        return up, Row(1.0, noise=self.s_noise * float(np.sqrt(up.sigma ** 2 - t.sigma ** 2))), t.half_log_snr - up.half_log_snr


def told_index(operation: str) -> Mutant:
    change = lambda i, move, path: move._replace(level=move.level._replace(time=len(path) - 1 - i))
    return ruled(operation, "you give your model the position in the list of visited times, not the time", "sampler-index-for-time",
                 each_move(change))


def off_by_one(operation: str, times: Sequence[int], by: int) -> Mutant:
    return reset(operation, f"your times are {'one more' if by > 0 else 'one less'} than the list says", "sampler-off-by-one",
                 times=[t + by for t in times])


def last_alpha(operation: str, ends_at_one: bool) -> Mutant:
    words = "the step after your last time ends at abar_0, not at 1" if ends_at_one else "your last step ends at abar = 1, not at abar_0"
    return reset(operation, words, "sampler-last-alpha", set_alpha_to_one=not ends_at_one)


def read_as(operation: str, prediction_type: str) -> Mutant:
    return reset(operation, f"you read the model's answer as {prediction_type}", "sampler-prediction-type", prediction_type=prediction_type)


def stays(operation: str) -> Mutant:
    def compute(inputs, settings):
        return {"output": walk(inputs, {**settings, "states": True}, sampler_of(operation, settings))["states"][-2]}

    return Mutant("your last step does nothing: the last sigma is repeated, not followed by 0", "sampler-last-sigma", compute=compute)


STRIDED = "your DDIM steps to t - T // N instead of the next time of its list"
AT_THE_END = "you add fresh noise in the last step, too"

# -- the cases ---------------------------------------------------------------------------------------------------------


def schedule(beta_schedule: str = "linear", num_train_timesteps: int = 1000, zero_snr: bool = False, **options: float) -> dict[str, Any]:
    """A schedule as a setting."""
    defaults = {"max_beta": 0.999} if beta_schedule == "squaredcos_cap_v2" else {"beta_start": 1e-4, "beta_end": 0.02}
    return {"name": "Schedule", "beta_schedule": beta_schedule, "num_train_timesteps": num_train_timesteps,
            "rescale_betas_zero_snr": zero_snr, **defaults, **options}


LINEAR = schedule()
STABLE = schedule("scaled_linear", beta_start=0.00085, beta_end=0.012)
COSINE = schedule("squaredcos_cap_v2")
SHORT = schedule(num_train_timesteps=20, beta_start=0.02, beta_end=0.4)
SIGMAS = {"name": "EDM"}

GAUSSIAN = {"kind": "gaussian", "mean": 0.3, "std": 0.5}
WIDE = {"kind": "gaussian", "mean": 0.75, "std": 0.5}
GIVEN = {"kind": "given"}
MIXTURE = {"kind": "mixture", "weights": [0.25, 0.75], "means": [[-0.75, 0.5, 0.25], [0.625, -0.25, 0.875]], "stds": [0.25, 0.375]}

THIRTEEN = timesteps(1000, 13).tolist()
LEADING = timesteps(1000, 13, "leading", 1).tolist()
SIX, SEVENTH = timesteps(1000, 6).tolist(), timesteps(1000, 7).tolist()
UNEVEN = [999, 731, 402, 399, 57, 3]
SEVEN = karras_sigmas(7, 0.05, 12.0, 7.0)[:-1].tolist()
FIVE = [10.0, 4.5, 2.0, 0.75, 0.1]


def case(
    id: str, reason: str, process: Mapping[str, Any], times: Sequence[float], own: Mapping[str, Any], mutants: Mapping[str, Mutant], *,
    model: Mapping[str, Any] = GAUSSIAN, prediction_type: str = "epsilon", clip_denoised: bool = False, set_alpha_to_one: bool = True,
    states: bool = False, gradients: tuple[str, ...] = (), shape: tuple[int, ...] = (2, 3, 5), channels: int = 1,
) -> Case:
    """A walk. channels: how many times as many the given answers have; for a mixture a sample has the shape of its means."""
    operation = id.partition("/")[0]
    settings = {"process": dict(process), "times": list(times), "model": dict(model), "prediction_type": prediction_type,
                "clip_denoised": clip_denoised, "set_alpha_to_one": set_alpha_to_one, "states": states, **own}
    settings = {name: value for name, value in settings.items() if name in OPERATIONS[operation].settings}
    shape = (5, 3) if model["kind"] == "mixture" else shape
    plan = sampler_of(operation, settings).plan(path(process_of(process), times, set_alpha_to_one))
    inputs = {"x": draw(f"{id}:x", *shape, scale=times[0] if process["name"] == "EDM" else 1.0)}
    if plan.draws:
        inputs["noise"] = draw(f"{id}:noise", plan.draws, *shape)
    if model["kind"] == "given":
        inputs["model_outputs"] = draw(f"{id}:model_outputs", len(plan.moves), shape[0], channels * shape[1], *shape[2:], scale=0.75)
    if gradients:
        inputs["cotangent"] = draw(f"{id}:cotangent", *shape)
    return Case(id, reason, inputs, settings, gradients, mutants)


def _ddpm() -> Iterator[Case]:
    small, large = {"variance_type": "fixed_small"}, {"variance_type": "fixed_large"}
    beta = reset("ddpm", "your noise has variance beta instead of beta~", "sampler-variance", **large)
    tilde = reset("ddpm", "your noise has variance beta~ instead of beta", "sampler-variance", **small)
    ends = ruled("ddpm", AT_THE_END, "sampler-noise-at-last-step", noise_at_the_end)
    squared = ruled("ddpm", "you multiply the noise by its variance, not its standard deviation", "sampler-variance",
                    _settled(lambda row: row._replace(noise=row.noise ** 2)))
    bar = ruled("ddpm", "your mean has sqrt(1 - alpha_t) where sqrt(1 - abar_t) must stand", "sampler-beta-bar", beta_without_bar)
    yield case("ddpm/thirteen-of-1000", "13 does not divide 1000: betas must be those of the visited times", LINEAR, THIRTEEN, small, {
        "fixed-large": beta, "noise-at-last-step": ends, "times-less-one": off_by_one("ddpm", THIRTEEN, -1),
        "told-index": told_index("ddpm"), "variance-for-std": squared, "no-bar": bar}, states=True)
    yield case("ddpm/every-step", "S = T: Algorithm 2 as printed, x at every step", SHORT, range(19, -1, -1), small, {
        "fixed-large": beta, "noise-at-last-step": ends, "no-bar": bar}, states=True)
    yield case("ddpm/one-step", "S = 1: the end is the predicted x_0, without noise", LINEAR, [999], small, {
        "time-less-one": off_by_one("ddpm", [999], -1), "read-as-v": read_as("ddpm", "v_prediction")}, model=GIVEN)
    yield case("ddpm/uneven-large", "an uneven list, with the variance beta of its own steps", LINEAR, UNEVEN, large, {
        "fixed-small": tilde, "told-index": told_index("ddpm"), "noise-at-last-step": ends})
    unclipped = reset("ddpm", "you do not clip the predicted x_0", "sampler-clipping", clip_denoised=False)
    yield case("ddpm/clipped", "data beyond [-1, 1]: every predicted x_0 is clipped before the posterior's mean", LINEAR, THIRTEEN,
               small, {"not-clipped": unclipped}, model=WIDE, clip_denoised=True)
    yield case("ddpm/v-of-a-mixture", "a model of v on the cosine schedule, two modes to decide between", COSINE, SEVENTH,
               small, {"fixed-large": beta, "linear-schedule": reset("ddpm", "your schedule is linear, not cosine", "sampler-schedule",
                                                                      process=LINEAR)}, model=MIXTURE, prediction_type="v_prediction")
    yield case("ddpm/abar-0", "the walk ends at time 0, where a little noise is left and fresh noise is drawn", LINEAR, THIRTEEN, small, {
        "abar-1": last_alpha("ddpm", False)}, set_alpha_to_one=False)
    yield case("ddpm/given-epsilon", "two steps of given answers, no model needed: the states show each step", LINEAR, [700, 230], small, {
        "fixed-large": beta, "read-as-x0": read_as("ddpm", "sample"), "read-as-v": read_as("ddpm", "v_prediction"), "no-bar": bar},
        model=GIVEN, states=True, shape=(1, 2, 3, 5))
    swapped = lambda words, factor: Mutant(words, "sampler-variance", compute=lambda inputs, settings: walk(
        {**inputs, "model_outputs": [_second_half(x, factor) for x in arrays(inputs, "model_outputs")]}, settings,
        sampler_of("ddpm", settings)))
    yield case("ddpm/learned-range", "twice the channels: the second half lies between log beta~ and log beta", LINEAR, [700, 650, 90],
               {"variance_type": "learned_range"}, {
                    "noise-at-last-step": ruled("ddpm", f"{AT_THE_END}, of a variance between 1e-20 and beta",
                                                "sampler-noise-at-last-step", noise_at_the_end_as_learned),
                    "ends-swapped": swapped("v = 1 is your log beta~ and v = -1 your log beta", -1.0),
                    "read-as-log-variance": reset("ddpm", "you read the second half as the log variance itself", "sampler-variance",
                                                  variance_type="learned")}, model=GIVEN, channels=2, states=True)
    yield case("ddpm/learned", "twice the channels: the second half is the log variance", LINEAR, [700, 650, 90],
               {"variance_type": "learned"}, {
                    "root-of-log": Mutant("you take the root of the second half, a log variance, and NaN where it is negative",
                                          "sampler-variance", compute=_root_of_second_half),
                    "std-for-variance": swapped("your noise has the learned variance as its standard deviation", 2.0),
                    "read-as-range": reset("ddpm", "you read the second half as a share between log beta~ and log beta", "sampler-variance",
                                           variance_type="learned_range")}, model=GIVEN, channels=2, states=True)
    yield case("ddpm/euler-ancestral", "the same sampler in sigmas: k-diffusion's Euler ancestral", SIGMAS, SEVEN, small, {
        "no-sigma-down": ruled("ddpm", "you step to sigma_u itself, and add the noise on top", "sampler-ancestral-noise", noise_on_top),
        "noise-at-last-step": ends, "last-sigma-twice": stays("ddpm")})


def _root_of_second_half(inputs, settings):
    """The second half as a variance, in every step: NaN from a step on where it is negative."""
    halves = [np.split(x.numpy(), 2, axis=1) for x in arrays(inputs, "model_outputs")]
    logs = [F.cat([x[:, :len(v[0])], np.log(np.abs(v))], dim=1) for x, (_, v) in zip(arrays(inputs, "model_outputs"), halves)]
    sampler = _Wrong(sampler_of("ddpm", settings), noise_at_the_end_as_learned)
    right = walk(_fitted({**inputs, "model_outputs": logs}, settings, sampler), settings, sampler)
    lost = np.cumsum([np.zeros_like(halves[0][1]), *(v < 0 for _, v in halves)], axis=0) > 0
    states = np.where(lost, np.nan, right["states"].numpy())
    return {"output": states[-1], "states": states}


def _second_half(answer: Any, factor: float) -> Any:
    channels = answer.shape[1] // 2
    return F.cat([answer[:, :channels], factor * answer[:, channels:]], dim=1)


def _ddim() -> Iterator[Case]:
    own = {"eta": 0.0, "rederive_epsilon": True}
    stride = ruled("ddim", STRIDED, "sampler-previous-timestep", strided)

    def clips(times: Sequence[int], clip: str = ", and you clip every predicted x_0") -> dict[str, Mutant]:
        """The list of denoising-diffusion-pytorch: trailing, cut off; it always clips, and computes eps again."""
        own_list = [1000 * (len(times) - i) // len(times) - 1 for i in range(len(times))]
        return {"cut-off": reset("ddim", f"your times are cut off, not rounded{clip}", "sampler-list-cut-off", times=own_list,
                                 clip_denoised=True, rederive_epsilon=True)}

    yield case("ddim/thirteen-of-1000", "13 does not divide 1000: the next time is the next of the list", LINEAR, THIRTEEN, own, {
        "strided": stride, "abar-0": last_alpha("ddim", True), "times-less-one": off_by_one("ddim", THIRTEEN, -1),
        "told-index": told_index("ddim"), **clips(THIRTEEN)}, states=True)
    yield case("ddim/leading-abar-0", "Stable Diffusion's list and end: leading with offset 1, abar_0 at the end", STABLE, LEADING, own, {
        "abar-1": last_alpha("ddim", False), "no-offset": off_by_one("ddim", LEADING, -1),
        "linear-schedule": reset("ddim", "your schedule is linear in beta, not in its square root", "sampler-schedule",
                                 process={**STABLE, "beta_schedule": "linear"})}, set_alpha_to_one=False)
    yield case("ddim/uneven", "an uneven list that ends at 3", LINEAR, UNEVEN, own, {
        "strided": stride, "abar-0": last_alpha("ddim", True), "told-index": told_index("ddim")})
    yield case("ddim/eta-half", "half of the noise is fresh", LINEAR, THIRTEEN, {**own, "eta": 0.5}, {
        "eta-ignored": reset("ddim", "you ignore eta", "sampler-eta", eta=0.0), "strided": stride,
        "eta-squared": reset("ddim", "you multiply the variance by eta, where eta multiplies its root", "sampler-eta", eta=0.5 ** 0.5),
        **clips(THIRTEEN)}, states=True)
    yield case("ddim/eta-1-uneven", "eta = 1 is DDPM's step over any list", LINEAR, UNEVEN, {**own, "eta": 1.0}, {
        "eta-ignored": reset("ddim", "you ignore eta", "sampler-eta", eta=0.0),
        "noise-at-last-step": ruled("ddim", AT_THE_END, "sampler-noise-at-last-step", noise_at_the_end)})
    yield case("ddim/one-step", "S = 1: the predicted x_0 at the first time", LINEAR, [999], own, {
        "abar-0": last_alpha("ddim", True), "time-less-one": off_by_one("ddim", [999], -1), "clipped": reset(
            "ddim", "you clip the predicted x_0", "sampler-clipping", clip_denoised=True)}, model=GIVEN)
    yield case("ddim/every-step", "S = T, x at every step", SHORT, range(19, -1, -1), own, {
        "abar-0": reset("ddim", "your walk ends at abar_0, which is time 0 again", "sampler-last-alpha", set_alpha_to_one=False),
        "told-next": ruled("ddim", "your model is told the time that the step leads to", "sampler-off-by-one", each_move(
            lambda i, move, path: move._replace(level=move.level._replace(time=max(move.level.time - 1, 0)))))}, states=True)
    keeps = reset("ddim", "you keep the model's eps when x_0 is clipped", "sampler-clipping", rederive_epsilon=False)
    again = reset("ddim", "you compute eps again when x_0 is clipped", "sampler-clipping", rederive_epsilon=True)
    unclipped = reset("ddim", "you do not clip the predicted x_0", "sampler-clipping", clip_denoised=False, rederive_epsilon=True)
    yield case("ddim/clipped", "data beyond [-1, 1]: x_0 is clipped and eps computed again", LINEAR, THIRTEEN, own, {
        "keeps-epsilon": keeps, "not-clipped": unclipped, "strided": stride, **clips(THIRTEEN, "")}, model=WIDE, clip_denoised=True,
        states=True)
    yield case("ddim/clipped-keeps-epsilon", "x_0 is clipped, eps is not computed again: diffusers' default", LINEAR, THIRTEEN,
               {**own, "rederive_epsilon": False}, {
                   "rederives-epsilon": again, "not-clipped": unclipped, "strided": stride,
                   **clips(THIRTEEN, ", and you compute eps again when x_0 is clipped")}, model=WIDE, clip_denoised=True, states=True)
    yield case("ddim/v-of-a-mixture", "a model of v, two modes to decide between", STABLE, SEVENTH, own, {
        "strided": stride, "abar-0": last_alpha("ddim", True)}, model=MIXTURE, prediction_type="v_prediction")
    yield case("ddim/x0-cosine", "a model of x_0 on the cosine schedule", COSINE, THIRTEEN, own, {
        "strided": stride, "linear-schedule": reset("ddim", "your schedule is linear, not cosine", "sampler-schedule", process=LINEAR),
        **clips(THIRTEEN)}, prediction_type="sample")
    plain = reset("ddim", "your schedule is not rescaled to zero terminal SNR", "sampler-schedule", process=LINEAR)
    yield case("ddim/zero-terminal-snr", "nothing but noise at the first time: v serves, epsilon would divide by 0",
               schedule(zero_snr=True), THIRTEEN, own, {"not-rescaled": plain, "strided": stride},
               prediction_type="v_prediction", states=True)
    near = {"model": {"kind": "gaussian", "mean": 0.3, "std": 0.05}}
    tables = Mutant("your tables are float32", "sampler-float32-tables", compute=_float32_tables)
    yield case("ddim/last-four-times", "times 3 ... 0, where 1 - abar has few digits in float32", LINEAR, [3, 2, 1, 0], own, {
        "float32-tables": tables, "abar-0": last_alpha("ddim", True)}, **near, states=True)
    for kind, others in (("epsilon", ("sample", "v_prediction")), ("sample", ("epsilon",)), ("v_prediction", ("epsilon", "sample")),
                         ("score", ("epsilon",))):
        yield case(f"ddim/given-{kind}", f"two steps of given answers that are {kind}: no model needed", LINEAR, [700, 230], own,
                   {f"read-as-{other}": read_as("ddim", other) for other in others}, model=GIVEN, prediction_type=kind, states=True,
                   shape=(1, 2, 3, 5))
    yield case("ddim/gradient", "the gradient of the end with respect to the beginning, through the model", LINEAR, SIX, own,
               {"strided": stride, **clips(SIX)}, model=MIXTURE, gradients=("x",))


def _float32_tables(inputs, settings):
    process, told = process_of(settings["process"]), settings["model"]
    rough = Schedule.from_alphas_cumprod(np.cumprod(1 - process.betas.astype(np.float32), dtype=np.float32).astype(np.float64))
    states = trajectory(Gaussian(told["mean"], told["std"]).model(process), rough, inputs["x"], settings["times"], DDIM).states
    return {"output": states[-1], "states": F.stack(states)}


def _flow() -> Iterator[Case]:
    for name, reason, times, model in (
        ("uniform", "five equal steps, the last to the data", [1.0, 0.8, 0.6, 0.4, 0.2], GAUSSIAN),
        ("shifted", "times shifted towards the noise, t -> 3 t / (1 + 2 t)", [1.0, 0.9230769230769231, 0.75, 0.5, 0.25], MIXTURE),
        ("given", "two steps of given velocities", [0.7, 0.3], GIVEN),
    ):
        id = f"flow_matching_euler/{name}"
        shape = (5, 3) if model is MIXTURE else (2, 3, 5)
        inputs = {"x": draw(f"{id}:x", *shape)}
        if model is GIVEN:
            inputs["model_outputs"] = draw(f"{id}:model_outputs", len(times), *shape)
        shifted = [3 * t / (1 + 2 * t) for t in times]
        mutants = {"shifted": Mutant("your times are shifted once more", "flow-time", settings={"times": shifted})}
        yield Case(id, reason, inputs, {"times": times, "model": dict(model), "prediction_type": "flow_prediction"}, (), mutants)


NO_CHURN = {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": 1e30, "s_noise": 1.0}


def _euler_and_heun() -> Iterator[Case]:
    churn = {"s_churn": 2.0, "s_tmin": 0.5, "s_tmax": 8.0, "s_noise": 1.25}
    late = ruled("euler", "you add churn's noise after the model has been asked", "sampler-churn-order", churned_late)
    unbounded = lambda operation: reset(operation, "you ignore s_tmin and s_tmax", "sampler-churn-size", s_tmin=0.0, s_tmax=1e30)
    loud = lambda operation: reset(operation, "you ignore s_noise", "sampler-churn-size", s_noise=1.0)
    only = reset("euler", "your Heun is Euler: it does not look where the step leads", "sampler-no-correction")
    yield case("euler/sigmas", "seven of Karras's sigmas, a mixture", SIGMAS, SEVEN, NO_CHURN, {"last-sigma-twice": stays("euler")},
               model=MIXTURE, prediction_type="sample")
    yield case("euler/schedule", "a schedule walked in x / a", LINEAR, THIRTEEN, NO_CHURN, {
        "times-less-one": off_by_one("euler", THIRTEEN, -1), "abar-0": last_alpha("euler", True)}, states=True)
    yield case("euler/churn", "noise before the model is asked, between two bounds", SIGMAS, FIVE, churn, {
        "late": late, "level-before": asked_before_churn("euler", 1), "no-bounds": unbounded("euler"), "no-s-noise": loud("euler")})
    yield case("heun/sigmas", "seven of Karras's sigmas, a mixture; the last step is Euler's", SIGMAS, SEVEN, NO_CHURN, {
        "euler": only, "last-sigma-twice": stays("heun")}, model=MIXTURE, prediction_type="sample")
    yield case("heun/schedule", "a schedule walked in x / a", STABLE, THIRTEEN, NO_CHURN, {
        "euler": only, "times-less-one": off_by_one("heun", THIRTEEN, -1)}, states=True)
    yield case("heun/churn", "noise before the model is asked; the correction starts from the raised x", SIGMAS, FIVE, churn, {
        "euler": only, "level-before": asked_before_churn("heun", 2),
        "no-bounds": unbounded("heun"), "no-s-noise": loud("heun")})
    yield case("heun/one-step", "S = 1: Euler's step to the data", SIGMAS, [5.0], NO_CHURN, {"last-sigma-twice": stays("heun")})
    yield case("heun/given", "three answers for two steps", SIGMAS, [3.0, 1.25], NO_CHURN, {
        "euler": only, "read-as-x0": read_as("heun", "sample")}, model=GIVEN, states=True)


def _edm() -> Iterator[Case]:
    start = lambda settings: float(np.sqrt(settings["sigma_max"] ** 2 + 1) / settings["sigma_max"])
    louder = Mutant("your walk begins with sqrt(sigma_max^2 + 1) times the noise", "sampler-initial-sigma",
                    compute=lambda inputs, settings: edm_sampler(
                        {**inputs, "start_noise": start(settings) * inputs["start_noise"]}, settings))

    def walked(words: str, flag: str, change: Callable[[Mapping[str, Any]], Sampler]) -> Mutant:
        def compute(inputs, settings):
            sigmas = karras_sigmas(settings["n"], settings["sigma_min"], settings["sigma_max"], settings["rho"])
            told = {**settings, "process": SIGMAS, "times": sigmas[:-1].tolist()}
            return walk(_fitted({**inputs, "x": float(sigmas[0]) * inputs["start_noise"]}, told, change(settings)), told, change(settings))
        return Mutant(words, flag, compute=compute)

    churn = lambda settings: [settings[name] for name in CHURN]
    late = walked("you add churn's noise after the model has been asked", "sampler-churn-order",
                  lambda settings: _Wrong(Karras(settings["order"], *churn(settings)), churned_late))
    raised = Mutant("you add churn's noise after the network has been asked, and read its answer as one about the raised x",
                    "sampler-churn-order", compute=_read_as_raised)
    clipped = {"clipped-end": Mutant("you clip the finished sample to [-1, 1]", "sampler-clipped-end",
                                     compute=lambda inputs, settings: F.clamp(edm_sampler(inputs, settings), -1.0, 1.0))}
    unlimited = walked("your gamma is not limited to sqrt(2) - 1", "sampler-churn-size",
                       lambda settings: _Unlimited(settings["order"], *churn(settings)))
    euler = walked("your Heun is Euler: it does not look where the step leads", "sampler-no-correction",
                   lambda settings: Karras(1, *churn(settings)))
    quiet = Mutant("you ignore s_noise", "sampler-churn-size", settings={"s_noise": 1.0})
    rho = Mutant("your sigmas are evenly spaced, rho = 1", "sampler-sigma-spacing", settings={"rho": 1.0})
    shorter = Mutant("your sigma_min is 0.02", "sampler-sigma-spacing", settings={"sigma_min": 0.02})
    for name, reason, own, model, mutants in (
        ("small-sigma-max", "sigma_max = 3 shows what x is multiplied by at the start", {"sigma_max": 3.0}, GAUSSIAN,
         {"sqrt-sigma-squared-plus-one": louder, "rho-1": rho, "euler": euler, **clipped}),
        ("defaults", "EDM's own sigmas, 0.002 ... 80 and rho 7, a mixture", {"n": 5}, MIXTURE,
         {"sigma-min": shorter, "rho-1": rho, "euler": euler, **clipped}),
        ("churn", "Algorithm 2 with churn: S_churn 40, S_tmin 0.05, S_tmax 50, S_noise 1.003, gamma at its limit",
         {"n": 5, "s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.003}, GAUSSIAN,
         {"unlimited": unlimited, "no-s-noise": quiet, "euler": euler, **clipped}),
        ("euler-churn", "order 1, churn below its limit", {"n": 7, "order": 1, "s_churn": 1.5}, GAUSSIAN, {
            "late": late, "read-as-raised": raised}),
        ("one-step", "n = 1: one call at sigma_max", {"n": 1, "sigma_max": 2.0}, GAUSSIAN, {"sqrt-sigma-squared-plus-one": louder}),
    ):
        id = f"edm_sampler/{name}"
        settings = {"n": 7, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0, "order": 2, **NO_CHURN, "model": dict(model),
                    "prediction_type": "sample", **own}
        sigmas = karras_sigmas(settings["n"], settings["sigma_min"], settings["sigma_max"], settings["rho"])[:-1]
        draws = Karras(settings["order"], *churn(settings)).plan(path(EDM, sigmas)).draws
        shape = (5, 3) if model is MIXTURE else (2, 3, 5)
        inputs = {"start_noise": draw(f"{id}:start_noise", *shape)} | ({"noise": draw(f"{id}:noise", draws, *shape)} if draws else {})
        yield Case(id, reason, inputs, settings, (), mutants)


def _read_as_raised(inputs, settings):
    """Euler with the network F, x_0 = c_skip x + c_out F(c_in x), asked before churn and read after it; sigma_data 0.5."""
    sigmas = karras_sigmas(settings["n"], settings["sigma_min"], settings["sigma_max"], settings["rho"]).tolist()
    denoise, noise = model_of(inputs, settings, EDM), arrays(inputs, "noise")
    x, gamma = sigmas[0] * inputs["start_noise"], min(settings["s_churn"] / settings["n"], 2 ** 0.5 - 1)
    for sigma, after, z in zip(sigmas, sigmas[1:], noise):
        before, up = (edm_preconditioning(level, 0.5) for level in (sigma, sigma * (1 + gamma)))
        network = (denoise(x, sigma) - before.c_skip * x) / before.c_out
        x = x + sigma * (gamma * (2 + gamma)) ** 0.5 * settings["s_noise"] * z
        d = (x - up.c_skip * x - up.c_out * network) / (sigma * (1 + gamma))
        x = x + (after - sigma * (1 + gamma)) * d
    return x


def of_order(operation: str, order: int) -> Mutant:
    return reset(operation, f"your steps are of order {order}", "sampler-no-correction", order=order)


def log_snr(operation: str) -> Mutant:
    return ruled(operation, "your lambda is the log-SNR, twice too much", "sampler-log-snr", doubled)


def held(operation: str, **settings: Any) -> Mutant:
    """The sampler of the other prediction."""
    which = "eps" if operation.startswith("dpm_solver") else "x_0"
    return reset(operation, f"it is {which} that you hold, or put your polynomial through", "sampler-predicts", **settings)


def _singlestep() -> Iterator[Case]:
    eps, start, ancestral, sde = "dpm_solver_singlestep", "dpmpp_singlestep", "ancestral_singlestep", "dpmpp_sde"
    first = lambda op: reset(op, "your stages are not used: the step is of order 1", "sampler-no-correction", stages=[])
    moved = lambda op, *stages: reset(op, f"your first stage lies at {stages[0]:.2g} of the step", "sampler-stage", stages=list(stages))
    still = lambda op: reset("dpmpp_singlestep", "you ignore eta", "sampler-eta")
    half, two = {"stages": [0.5]}, {"stages": [1 / 3, 2 / 3]}
    five = timesteps(1000, 5).tolist()
    yield case(f"{eps}/order-1", "no stage: DDIM, computed in lambda", LINEAR, THIRTEEN, {"stages": []}, {
        "log-snr": log_snr(eps), "times-less-one": off_by_one(eps, THIRTEEN, -1)})
    yield case(f"{eps}/order-2", "the middle in lambda, between the integer times of the schedule", LINEAR, THIRTEEN, half, {
        "order-1": first(eps), "holds-x0": held(start), "log-snr": log_snr(eps)}, states=True)
    yield case(f"{eps}/order-2-at-a-third", "a stage that is not in the middle: its weight is 1 / (2 r)", SIGMAS, FIVE,
               {"stages": [0.3125]}, {
        "middle": moved(eps, 0.5), "order-1": first(eps)}, model=MIXTURE)
    yield case(f"{eps}/order-3", "two stages, at 1/3 and 2/3", LINEAR, five, two, {
        "order-2": moved(eps, 1 / 3), "stage-1": moved(eps, 0.5, 2 / 3)}, model=MIXTURE)
    yield case(f"{start}/2s", "DPM-Solver++(2S) on an uneven list", STABLE, UNEVEN, half, {
        "order-1": first(start), "holds-epsilon": held(eps), "log-snr": log_snr(start)}, states=True)
    yield case(f"{start}/3s", "two stages, on Karras's sigmas", SIGMAS, SEVEN, two, {
        "order-2": moved(start, 1 / 3), "last-sigma-twice": stays(start)}, model=MIXTURE)
    yield case(f"{start}/given", "three answers for two steps", LINEAR, [700, 230], half, {
        "order-1": first(start), "holds-epsilon": held(eps), "read-as-v": read_as(start, "v_prediction")}, model=GIVEN, states=True)
    yield case(f"{ancestral}/dpm-2", "k-diffusion's: the stage lies in the middle of the way down to sigma_down", SIGMAS, FIVE,
               {**half, "predicts": "epsilon", "eta": 1.0}, {"order-1": first(ancestral), "eta-ignored": still(ancestral)})
    yield case(f"{ancestral}/dpmpp-2s", "k-diffusion's, on a schedule, eta = 0.75", LINEAR, five,
               {**half, "predicts": "sample", "eta": 0.75}, {
        "order-1": first(ancestral), "eta-1": reset(ancestral, "your eta is 1 whatever is asked for", "sampler-eta", eta=1.0)})
    yield case(f"{sde}/sigmas", "k-diffusion's: noise at the stage and at the end, of one Brownian motion", SIGMAS, FIVE,
               {**half, "eta": 1.0}, {
        "independent": ruled(sde, "your stage and your step draw independent noise", "sampler-brownian", independent),
        "quiet-stage": reset(ancestral, "your stage draws no noise", "sampler-brownian", predicts="sample")})


def _multistep() -> Iterator[Case]:
    eps, start = "dpm_solver_multistep", "dpmpp_multistep"
    own = {"order": 2, "solver_type": "midpoint", "lower_order_final": False}
    exact, third = {**own, "solver_type": "exact"}, {**own, "order": 3, "solver_type": "exact"}
    still, fresh = {"eta": 0.0}, {"eta": 1.0}
    typed = lambda op, solver_type: reset(op, f"your solver type is {solver_type}", "sampler-solver-type", solver_type=solver_type)
    half = lambda op: reset(op, "you count half of the curvature: the second derivative is twice the second divided difference",
                            "sampler-half-curvature", solver_type="heun")
    whole = reset(start, "you count the whole curvature, where diffusers and k-diffusion count half", "sampler-half-curvature",
                  solver_type="exact")
    flat = lambda op: ruled(op, "you take the steps to be of one length", "sampler-uneven-steps", even)
    higher = reset(start, "your last steps are not of lower order", "sampler-lower-order-final", lower_order_final=False)
    sign = _walked("your curvature has the wrong sign", "sampler-curvature-sign", lambda settings: (
        settings, _WrongSign(settings["order"], "sample", settings["eta"], settings["solver_type"], settings["lower_order_final"])))
    quiet = reset(start, "you ignore eta", "sampler-eta", **still)
    yield case(f"{start}/2m", "DPM-Solver++(2M) as published, 13 of 1000", LINEAR, THIRTEEN, own | still, {
        "order-1": of_order(start, 1), "solver-type": typed(start, "heun"), "holds-epsilon": held(eps), "log-snr": log_snr(start),
        "times-less-one": off_by_one(start, THIRTEEN, -1)}, states=True)
    yield case(f"{start}/2m-karras", "2M on Karras's sigmas, a mixture", SIGMAS, SEVEN, own | still, {
        "order-1": of_order(start, 1), "solver-type": typed(start, "heun"), "last-sigma-twice": stays(start), "even": flat(start),
        "log-snr": log_snr(start)}, model=MIXTURE, prediction_type="sample")
    yield case(f"{start}/2m-uneven", "steps whose lengths differ by factors: r must be theirs", STABLE, UNEVEN, own | still, {
        "even": flat(start), "order-1": of_order(start, 1), "log-snr": log_snr(start)})
    yield case(f"{start}/2m-heun", "the slope with its own integral: diffusers' heun", LINEAR, THIRTEEN,
               {**own, **still, "solver_type": "heun"}, {
                   "solver-type": typed(start, "midpoint"), "order-1": of_order(start, 1), "log-snr": log_snr(start)})
    yield case(f"{start}/3m", "order 3 with the whole curvature", SIGMAS, SEVEN, third | still, {
        "half": half(start), "order-2": of_order(start, 2), "sign": sign, "log-snr": log_snr(start)}, model=MIXTURE)
    yield case(f"{start}/3m-heun", "order 3 with half of the curvature, as diffusers has it", SIGMAS, SEVEN,
               {**third, **still, "solver_type": "heun"}, {
                   "whole": whole, "order-2": of_order(start, 2), "log-snr": log_snr(start)}, model=MIXTURE)
    yield case(f"{start}/3m-lower-order-final", "the last steps of orders 2 and 1", LINEAR, THIRTEEN,
               {**third, **still, "lower_order_final": True}, {
                   "higher": higher, "half": half(start), "log-snr": log_snr(start), "half-and-higher": reset(
                       start, "you count half of the curvature, and your last steps are not of lower order", "sampler-half-curvature",
                       solver_type="heun", lower_order_final=False)}, states=True)
    yield case(f"{start}/2m-sde", "k-diffusion's 2M SDE", SIGMAS, SEVEN, own | fresh, {
        "eta-ignored": quiet, "order-1": of_order(start, 1), "solver-type": typed(start, "heun"), "log-snr": log_snr(start),
        "noise-at-last-step": ruled(start, AT_THE_END, "sampler-noise-at-last-step", noise_at_the_end)})
    yield case(f"{start}/2m-sde-eta-half", "less fresh noise, on a schedule", LINEAR, THIRTEEN, {**own, "eta": 0.5}, {
        "eta-ignored": quiet, "eta-1": reset(start, "your eta is 1 whatever is asked for", "sampler-eta", **fresh),
        "log-snr": log_snr(start)}, states=True)
    yield case(f"{start}/3m-sde", "order 3 with fresh noise and the whole curvature", SIGMAS, SEVEN, third | fresh, {
        "half": half(start), "sign": sign, "order-2": of_order(start, 2), "log-snr": log_snr(start)}, model=MIXTURE)
    yield case(f"{start}/one-step", "S = 1: the predicted x_0", LINEAR, [999], own | still, {
        "time-less-one": off_by_one(start, [999], -1)}, model=GIVEN)
    yield case(f"{start}/clipped", "the predictions that are remembered are the clipped ones", LINEAR, THIRTEEN, own | still, {
        "not-clipped": reset(start, "you do not clip the predicted x_0", "sampler-clipping", clip_denoised=False),
        "log-snr": log_snr(start)},
        model=WIDE, clip_denoised=True)
    yield case(f"{start}/given", "four steps of given answers", LINEAR, [900, 700, 230, 90], third | still, {
        "half": half(start), "order-2": of_order(start, 2), "read-as-v": read_as(start, "v_prediction"), "log-snr": log_snr(start)},
        model=GIVEN, states=True)
    yield case(f"{eps}/2m", "the noise extrapolated, midpoint", LINEAR, THIRTEEN, own, {
        "order-1": of_order(eps, 1), "holds-x0": held(start, **still), "solver-type": typed(eps, "heun"), "log-snr": log_snr(eps),
        "abar-0": last_alpha(eps, True)}, states=True)
    yield case(f"{eps}/2m-exact-uneven", "the slope's own integral, uneven steps", STABLE, UNEVEN, exact, {
        "solver-type": typed(eps, "midpoint"), "even": flat(eps), "log-snr": log_snr(eps), "abar-0": last_alpha(eps, True)})
    yield case(f"{eps}/3m", "the noise extrapolated by a parabola", SIGMAS, SEVEN, third, {
        "half": half(eps), "order-2": of_order(eps, 2), "log-snr": log_snr(eps)}, model=MIXTURE)


def _unipc() -> Iterator[Case]:
    own = {"order": 2, "predicts": "sample", "solver_type": "bh2", "lower_order_final": True}
    plain = _walked("your UniPC never corrects: it is DPM-Solver++(2M)", "sampler-no-correction", lambda settings: (
        settings, Multistep(settings["order"], settings["predicts"], 0.0, "midpoint" if settings["order"] == 2 else "exact",
                            settings["lower_order_final"])))
    uncorrected = _walked("your UniPC never corrects", "sampler-no-correction", lambda settings: (
        settings, _Uncorrected(settings["order"], settings["predicts"], settings["solver_type"], settings["lower_order_final"])))
    corrected = Mutant("your states are the corrected x; the model is asked at the predicted one", "sampler-states",
                       compute=_corrected_states)
    infinite = Mutant("you divide by B(h) = h in the step to the data, where h is infinite: NaN", "sampler-bh",
                      compute=lambda inputs, settings: {"output": inputs["x"] * np.nan})
    bh = lambda solver_type: reset("unipc", f"your B(h) is that of {solver_type}", "sampler-bh", solver_type=solver_type)
    final = lambda value: reset("unipc", "your last steps are of lower order" if value else "your last steps are not of lower order",
                                "sampler-lower-order-final", lower_order_final=value)
    other = lambda predicts: reset("unipc", f"you put your polynomial through {predicts}", "sampler-predicts", predicts=predicts)
    yield case("unipc/order-2", "diffusers' default, 13 of 1000", LINEAR, THIRTEEN, own, {
        "no-corrector": plain, "bh1": bh("bh1"), "log-snr": log_snr("unipc"), "times-less-one": off_by_one("unipc", THIRTEEN, -1),
        "corrected-states": corrected}, states=True)
    yield case("unipc/order-1", "DDIM, corrected", LINEAR, THIRTEEN, {**own, "order": 1}, {
        "no-corrector": plain, "exact": bh("exact"), "corrected-states": corrected}, states=True)
    yield case("unipc/order-3", "three unknowns in the corrector", SIGMAS, SEVEN, {**own, "order": 3}, {
        "no-corrector": plain, "order-2": of_order("unipc", 2), "not-lower": final(False)}, model=MIXTURE)
    yield case("unipc/bh1", "B(h) = h", LINEAR, THIRTEEN, {**own, "solver_type": "bh1"}, {
        "bh2": bh("bh2"), "no-corrector": plain, "infinite": infinite})
    yield case("unipc/exact", "no unknown is set to 1/2", SIGMAS, SEVEN, {**own, "solver_type": "exact"}, {
        "bh2": bh("bh2"), "no-corrector": uncorrected})
    yield case("unipc/epsilon", "the noise in the polynomial, uneven steps", STABLE, UNEVEN, {**own, "predicts": "epsilon"}, {
        "predicts-x0": other("sample"), "no-corrector": plain})
    yield case("unipc/epsilon-bh1-order-3", "the noise, order 3, to the end", LINEAR, SEVENTH,
               {**own, "order": 3, "predicts": "epsilon", "solver_type": "bh1", "lower_order_final": False},
               {"lower": final(True), "order-2": of_order("unipc", 2), "no-corrector": uncorrected}, model=MIXTURE)
    yield case("unipc/given", "five steps of given answers", LINEAR, [900, 800, 700, 230, 90], {**own, "order": 3}, {
        "no-corrector": plain, "order-2": of_order("unipc", 2), "read-as-v": read_as("unipc", "v_prediction"),
        "corrected-states": corrected}, model=GIVEN, states=True)


def _corrected_states(inputs, settings):
    """The states of a walk in which every x at which the model is asked has been corrected; its end is the right one."""
    process, right = process_of(settings["process"]), walk(inputs, settings, sampler_of("unipc", settings))
    way = path(process, settings["times"], settings["set_alpha_to_one"])
    sampler, model = sampler_of("unipc", settings), model_of(inputs, settings, process)
    states, predictions, correction = [right["states"][i] for i in range(len(way) + 1)], [], []
    for k, (t, s, order) in enumerate(zip(way.levels, way.levels[1:], orders(way, sampler.order, sampler.lower_order_final))):
        answer = model(states[k], t.time)
        predictions.insert(0, convert(answer, states[k], process, t.time, settings["prediction_type"], sampler.predicts))
        states[k] = states[k] + sum(c * prediction for c, prediction in zip(correction, predictions))
        step, nodes = exact_step(t, s, way.steps[k], sampler.predicts), behind(way, k, order)
        correction = sampler.correction(step, nodes, [step.scale * w for w in sampler.predictor(step, nodes)]) if k + 1 < len(way) else []
    return {"output": right["output"], "states": F.stack(states)}


def _pndm() -> Iterator[Case]:
    pndm, plms = {"skip_prk_steps": False}, {"skip_prk_steps": True}
    skips = reset("pndm", "you begin as PLMS does, without Runge-Kutta", "sampler-plms-start", **plms)
    prk = reset("pndm", "you begin with Runge-Kutta, as PNDM does", "sampler-plms-start", **pndm)

    def without_second_call(sampler, path):
        plan = sampler.plan(path)
        first, second, *rest = plan.moves
        once = first._replace(settle=first.ahead, ahead=None, to=second.to)
        # what the plan remembers of the second call is weighted 0, but it stands in the list: take its place out
        cut = lambda weights, k: (*weights[:k], *weights[k + 1:])
        moves = [move._replace(settle=move.settle._replace(predictions=cut(move.settle.predictions, i + 1))) for i, move in enumerate(rest)]
        return replace(plan, moves=[once, *moves])

    once = ruled("pndm", "your first step asks once: it is DDIM's", "sampler-plms-start", without_second_call)
    alone = {"newest-alone": ruled("pndm", "your last step uses the newest prediction alone", "sampler-no-correction",
                                   newest_alone_at_the_end)}
    stride = {"strided": ruled("pndm", "your steps are T // N long, whatever the list says", "sampler-previous-timestep", strided_pseudo)}
    yield case("pndm/pndm", "three steps of Runge-Kutta, at half times too, then Adams-Bashforth", LINEAR, SIX, pndm, {
        "plms": skips, "times-less-one": off_by_one("pndm", SIX, -1), **alone, **stride}, states=True)
    yield case("pndm/plms", "Stable Diffusion's: its schedule, list and end", STABLE, LEADING, plms, {
        "prk": prk, "once": once, "abar-1": last_alpha("pndm", False), "no-offset": off_by_one("pndm", LEADING, -1), **alone},
        states=True, set_alpha_to_one=False)
    yield case("pndm/plms-mixture", "PLMS, two modes to decide between", LINEAR, SEVENTH, plms, {
        "prk": prk, "once": once, **alone, **stride}, model=MIXTURE)
    yield case("pndm/plms-two-steps", "S = 2: improved Euler, then two predictions", LINEAR, [700, 230], plms, {
        "times-plus-one": off_by_one("pndm", [700, 230], 1), "once": once, **alone})
    yield case("pndm/pndm-three-steps", "S = 3: the last step is never Runge-Kutta's", LINEAR, [900, 500, 120], pndm, {
        "plms": skips, **alone}, states=True)
    yield case("pndm/given", "seven answers for six steps", LINEAR, UNEVEN, plms, {
        "once": once, "read-as-v": read_as("pndm", "v_prediction"), **alone}, model=GIVEN, states=True)


def _langevin() -> Iterator[Case]:
    own = {"step_size": 0.02, "steps": 3, "denoise": True}
    noisy = reset("annealed_langevin", "you leave the noise of the last level in x", "langevin-denoise", denoise=False)
    clean = reset("annealed_langevin", "you denoise at the end, which the paper's algorithm does not", "langevin-denoise", denoise=True)
    full = lambda words, row: ruled("annealed_langevin", words, "langevin-step", _settled(row))
    doubled_pull = full("your step is alpha times the score, where alpha / 2 belongs to the noise sqrt(alpha)",
                        lambda row: row._replace(predictions=tuple(2 * c for c in row.predictions)) if row.noise else row)
    doubled_noise = full("your noise is sqrt(2 alpha), where sqrt(alpha) belongs to a step of alpha / 2",
                         lambda row: row._replace(noise=2 ** 0.5 * row.noise))
    ladder = [3.0, 1.5, 0.6, 0.25]
    yield case("annealed_langevin/denoised", "three steps at each of four levels, and the mean of x_0 at the end", SIGMAS, ladder, own, {
        "noisy": noisy, "doubled-pull": doubled_pull, "doubled-noise": doubled_noise}, model=MIXTURE, prediction_type="score")
    yield case("annealed_langevin/as-published", "Algorithm 1: x itself at the end", SIGMAS, ladder, {**own, "denoise": False}, {
        "denoised": clean, "doubled-noise": doubled_noise})
    for name, reason, model, process, time in (
        ("schedule", "a step at a time of a schedule", GAUSSIAN, LINEAR, 300), ("mixture", "two modes, in sigmas", MIXTURE, SIGMAS, 0.5)):
        id = f"langevin_dynamics/{name}"
        shape = (5, 3) if model is MIXTURE else (2, 3, 5)
        settings = {"process": process, "time": time, "model": model, "prediction_type": "epsilon", "step_size": 0.0625, "steps": 5}
        yield Case(id, reason, {"x": draw(f"{id}:x", *shape), "noise": draw(f"{id}:noise", 5, *shape)}, settings, (), {
            "half": Mutant("your step is eps / 2 with noise sqrt(eps)", "langevin-step", settings={"step_size": 0.03125}),
            "one-root": Mutant("your noise is sqrt(eps), where sqrt(2 eps) belongs to a step of eps", "langevin-step", compute=_one_root)})


def _one_root(inputs, settings):
    return RIGHT["langevin_dynamics"]({**inputs, "noise": inputs["noise"] * 0.5 ** 0.5}, settings)


def _corrected_once(inputs, settings):
    first = arrays(inputs, "corrector_noise")[::settings["steps"]]
    return RIGHT["predictor_corrector"]({**inputs, "corrector_noise": first}, {**settings, "steps": 1})


def _predictor_corrector() -> Iterator[Case]:
    own = {"predictor": "reverse_diffusion", "snr": 0.16, "steps": 1, "batch_mean": False}
    mean = lambda value: Mutant(f"your norms are {'means over the batch' if value else 'of each sample by itself'}", "corrector-norms",
                                settings={"batch_mean": value})
    ancestral = Mutant("your predictor is the ancestral step, DDPM's", "corrector-predictor", settings={"predictor": "ddpm"})
    once = Mutant("you correct once at each level", "corrector-steps", compute=_corrected_once)
    snr = Mutant("your step is (snr |z| / |score|)^2, without the 2", "langevin-step", settings={"snr": 0.16 * 0.5 ** 0.5})
    for name, reason, process, times, changes, mutants in (
        ("sigmas", "variance exploding: Algorithm 4, norms of each sample", SIGMAS, SEVEN, {},
         {"batch-mean": mean(True), "ddpm": ancestral, "no-2": snr}),
        ("schedule", "variance preserving: Algorithm 5, alpha = 1 - beta in the step", LINEAR, THIRTEEN, {},
         {"ddpm": ancestral, "no-2": snr}),
        ("batch-mean", "norms that are means over the batch, two steps at each level", SIGMAS, FIVE, {"steps": 2, "batch_mean": True},
         {"each": mean(False), "once": once}),
        ("ddpm-abar-0", "DDPM corrected, down to time 0, where it is corrected too", LINEAR, UNEVEN, {"predictor": "ddpm"}, {
            "reverse-diffusion": Mutant("your predictor is the reverse diffusion step", "corrector-predictor",
                                        settings={"predictor": "reverse_diffusion"}), "batch-mean": mean(True)}),
    ):
        id, ends = f"predictor_corrector/{name}", name != "ddpm-abar-0"
        settings = {"process": process, "times": times, "model": GAUSSIAN, "prediction_type": "epsilon", "set_alpha_to_one": ends,
                    **own, **changes}
        draws = len(times) - ends
        shape = (2, 3, 5)
        inputs = {"x": draw(f"{id}:x", *shape, scale=times[0] if process is SIGMAS else 1.0), "noise": draw(f"{id}:noise", draws, *shape),
                  "corrector_noise": draw(f"{id}:corrector_noise", draws * settings["steps"], *shape)}
        yield Case(id, reason, inputs, settings, (), mutants)


def cases() -> Iterator[Case]:
    """Whole walks, each family of samplers with every way in which it is known to go wrong."""
    for family in (_ddpm, _ddim, _flow, _euler_and_heun, _edm, _singlestep, _multistep, _unipc, _pndm, _langevin, _predictor_corrector):
        yield from family()
