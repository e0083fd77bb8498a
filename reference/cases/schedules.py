"""Schedules, the times that samplers visit, and lists of sigmas: where tables are off by one, by a root, or by float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import diffusion as D
from minidiff.verify.adapters.minidiff import schedules as right
from reference.case import Case, Mutant, Note, Operation, draw
from reference.cases.sde import COSINE as COSINE_PROCESS
from reference.cases.sde import PROCESS, VP

# -- what other families use too --------------------------------------------------------------------------------------

LINEAR = {"beta_schedule": "linear", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "rescale_betas_zero_snr": False}
SCALED_LINEAR = {**LINEAR, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COSINE = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000, "max_beta": 0.999, "rescale_betas_zero_snr": False}
SIGMOID = {**LINEAR, "beta_schedule": "sigmoid"}
RESCALED = {**SCALED_LINEAR, "rescale_betas_zero_snr": True}

SCHEDULE = {
    "beta_schedule": "linear: beta_t = beta_start + (beta_end - beta_start) t / (T - 1). scaled_linear: the same for the square roots. "
                     "sigmoid: beta_start + (beta_end - beta_start) / (1 + exp(-z)), z = -6 + 12 t / (T - 1). squaredcos_cap_v2: "
                     "beta_t = min(1 - f((t + 1)/T) / f(t/T), max_beta), f(u) = cos((u + 0.008) / 1.008 pi/2)^2",
    "num_train_timesteps": "T; times are 0 ... T - 1",
    "beta_start": "the first beta; not for squaredcos_cap_v2",
    "beta_end": "the last beta; not for squaredcos_cap_v2",
    "max_beta": "the largest beta, for squaredcos_cap_v2 alone",
    "rescale_betas_zero_snr": "whether sqrt(abar) is then shifted so that the last is 0, and scaled so that the first is what it was; "
                              "beta_t = 1 - abar_t / abar_{t-1} then",
}
"""The settings of which a schedule is made, explained. abar_t = (1 - beta_0) ... (1 - beta_t), abar_{-1} = 1."""


def float32_tables(schedule: D.Schedule) -> D.Schedule:
    """The schedule as it comes out when everything is computed in float32."""
    betas = schedule.betas.astype(np.float32)
    alphas = 1 - betas
    levels = np.cumprod(alphas, dtype=np.float32)
    return D.Schedule(*(table.astype(np.float64) for table in (betas, alphas, levels, 1 - levels)))


def noise_of_one_step(schedule: D.Schedule) -> D.Schedule:
    """The schedule of someone who writes 1 - alpha_t where 1 - abar_t is meant."""
    return D.Schedule(np.array(schedule.betas), np.array(schedule.alphas), np.array(schedule.alphas_cumprod), np.array(schedule.betas))


# -- this family -------------------------------------------------------------------------------------------------------

TIMES = {"times": "the times whose entries are asked for"}
TABLES = "at the times asked for, one number each"

OPERATIONS = {
    "make_schedule": Operation(
        equation="beta_t of a named schedule; abar_t = (1 - beta_0) (1 - beta_1) ... (1 - beta_t)",
        chapter="docs/noise.md#3-schedules-of-t-steps",
        inputs={}, settings=SCHEDULE | TIMES,
        outputs={"betas": f"beta_t {TABLES}", "alphas_cumprod": f"abar_t {TABLES}"},
    ),
    "schedule_tables": Operation(
        equation="alpha_t = 1 - beta_t, abar_t = alpha_0 ... alpha_t, SNR_t = abar_t / (1 - abar_t)",
        chapter="docs/noise.md#4-where-the-digits-go",
        inputs={}, settings=SCHEDULE | TIMES,
        outputs={
            "alphas": "1 - beta_t", "sqrt_alphas": "sqrt(1 - beta_t)", "sqrt_betas": "sqrt(beta_t)",
            "alphas_cumprod_prev": "abar_{t-1}, which is 1 at t = 0", "one_minus_alphas_cumprod": "1 - abar_t",
            "sqrt_alphas_cumprod": "sqrt(abar_t), the factor of x_0 in x_t",
            "sqrt_one_minus_alphas_cumprod": "sqrt(1 - abar_t), the factor of the noise in x_t",
            "log_alphas_cumprod": "log abar_t", "log_one_minus_alphas_cumprod": "log(1 - abar_t)", "snr": "abar_t / (1 - abar_t)",
            "log_snrs": "log(abar_t / (1 - abar_t))",
        },
    ),
    "posterior_tables": Operation(
        equation="q(x_{t-1} | x_t, x_0) = N(c1 x_0 + c2 x_t, v I); c1 = sqrt(abar_{t-1}) beta_t / (1 - abar_t), "
                 "c2 = sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t), v = (1 - abar_{t-1}) / (1 - abar_t) beta_t",
        chapter="docs/ddpm.md#4-one-step-back-if-somebody-told-us-the-picture",
        inputs={},
        settings=SCHEDULE | TIMES | {
            "min_variance": "null: t = 0, where v = 0, takes the log variance of t = 1 (of beta_0, if T = 1). A number: log max(v, it)"},
        outputs={"posterior_variance": "v", "posterior_mean_coef1": "c1", "posterior_mean_coef2": "c2",
                 "posterior_log_variance": "log v, with the convention of min_variance"},
    ),
    "respace": Operation(
        equation="abar'_k = abar_{tau_k}, beta'_k = 1 - abar_{tau_k} / abar_{tau_{k-1}}, abar_{tau_{-1}} = 1, for the visited times tau "
                 "in ascending order; posterior variance (1 - abar'_{k-1}) / (1 - abar'_k) beta'_k",
        chapter="docs/ddpm.md#9-fewer-steps-ddim",
        inputs={}, settings=SCHEDULE | {"timesteps": "the visited times, in descending order"},
        outputs={"betas": "beta'_k, k = 0 for the smallest time", "alphas_cumprod": "abar'_k", "posterior_variance": "of each k"},
    ),
    "from_betas": Operation(
        equation="abar_t = (1 - beta_0) ... (1 - beta_t)",
        chapter="docs/noise.md#4-where-the-digits-go",
        inputs={"betas": "(T,), exactly these numbers; to be computed with in float64"},
        outputs={"alphas_cumprod": "abar_t, (T,)", "one_minus_alphas_cumprod": "1 - abar_t, (T,), with as many digits"},
    ),
    "from_alphas_cumprod": Operation(
        equation="beta_t = 1 - abar_t / abar_{t-1}, abar_{-1} = 1",
        chapter="docs/noise.md#3-schedules-of-t-steps",
        inputs={"alphas_cumprod": "abar_t, (T,), exactly these numbers; to be computed with in float64"},
        outputs={"betas": "(T,)", "posterior_variance": "(1 - abar_{t-1}) / (1 - abar_t) beta_t, (T,)"},
    ),
    "timesteps": Operation(
        equation="leading: i floor(T/N) + steps_offset, i = N-1 ... 0; trailing: round(T (N - i)/N) - 1, i = 0 ... N-1; "
                 "linspace: round((T - 1) i/(N - 1)), i = N-1 ... 0, T - 1 if N = 1; ties are rounded to the even number",
        chapter="docs/noise.md#7-where-to-stop-on-the-way-back",
        inputs={},
        settings={
            "num_train_timesteps": "T", "num_inference_steps": "N", "timestep_spacing": "leading, trailing or linspace",
            "steps_offset": "added to every time, for leading; 0 for the others",
        },
        outputs={"output": "(N,) int64, descending, in [0, T)"},
    ),
    "karras_sigmas": Operation(
        equation="sigma_i = (sigma_max^(1/rho) + i/(n - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, i = 0 ... n-1, and sigma_n = 0",
        chapter="docs/noise.md#7-where-to-stop-on-the-way-back",
        inputs={},
        settings={"n": "how many without the 0", "sigma_min": "the last before the 0", "sigma_max": "the first", "rho": "the exponent"},
        outputs={"output": "(n + 1,), descending; sigma_max alone and 0 if n = 1"},
    ),
    "exponential_sigmas": Operation(
        equation="sigma_i = sigma_max (sigma_min / sigma_max)^(i / (n - 1)), i = 0 ... n-1, and sigma_n = 0",
        chapter="docs/noise.md#7-where-to-stop-on-the-way-back",
        inputs={}, settings={"n": "how many without the 0", "sigma_min": "the last before the 0", "sigma_max": "the first"},
        outputs={"output": "(n + 1,), descending"},
    ),
    "uniform_sigmas": Operation(
        equation="sigma_i = sigma_max + i / (n - 1) (sigma_min - sigma_max), i = 0 ... n-1, and sigma_n = 0",
        chapter="docs/noise.md#7-where-to-stop-on-the-way-back",
        inputs={}, settings={"n": "how many without the 0", "sigma_min": "the last before the 0", "sigma_max": "the first"},
        outputs={"output": "(n + 1,), descending"},
    ),
    "sigma_range": Operation(
        equation="sigma_min = sqrt((1 - abar_0) / abar_0), sigma_max = sqrt((1 - abar_{T-1}) / abar_{T-1})",
        chapter="docs/noise.md#7-where-to-stop-on-the-way-back",
        inputs={}, settings=SCHEDULE, outputs={"sigma_min": "a number", "sigma_max": "a number"},
    ),
    "times_of_sigmas": Operation(
        equation="the t with sigma(t) / alpha(t) = sigma. Of a schedule of T steps, where that is sqrt((1 - abar_t) / abar_t), log sigma "
                 "is linear between the integers",
        chapter="docs/noise.md#7-where-to-stop-on-the-way-back",
        inputs={},
        settings=SCHEDULE | {
            "process": f"in the place of a schedule of T steps: {PROCESS}",
            "sigmas": "the sigmas, descending, with a 0 at the end that has no time",
        },
        outputs={"output": "the times, real numbers, without one for the 0"},
    ),
}

NOTES = {
    "schedule-scaled-linear": Note(
        "convention", "The schedule that CompVis's configurations call \"linear\" is linear in sqrt(beta): diffusers' \"scaled_linear\".",
        "A Stable Diffusion model is asked at noise levels it was not trained for: washed out or overdone contrast.",
        ("CompVis/stable-diffusion, ldm/modules/diffusionmodules/util.py, make_beta_schedule",)),
    "schedule-cosine": Note(
        "formula", "The cosine schedule takes ratios of f at T + 1 points, with betas of at most 0.999. T points, another cap, "
                   "or abar as it is before the cap are other schedules.",
        "The first and the last steps carry another amount of noise than the model was trained with; fine texture suffers first.",
        ("diffusers #12771",)),
    "schedule-sigmoid": Note(
        "convention", "Two schedules are called sigmoid: betas that rise like one (Xu et al. 2022; diffusers), and abar that falls like "
                      "one (Jabri et al. 2022; denoising-diffusion-pytorch).",
        "Another amount of noise at every time."),
    "schedule-index": Note(
        "indexing", "Times are 0 ... T - 1 here and in most code, 1 ... T in the papers: abar_t is the product of t + 1 factors.",
        "Every noise level is one step off; most visible at the clean end, where a step is a large share of the noise."),
    "schedule-zero-snr": Note(
        "formula", "Zero terminal SNR shifts and scales sqrt(abar), not abar or beta, and makes the last abar exactly 0.",
        "Sampling begins with noise of a strength that the model was not trained with; very dark or bright pictures stay out of reach.",
        ("arXiv 2305.08891, Algorithm 1", "diffusers #3851", "diffusers' Euler schedulers put 2^-24 in the place of the last abar")),
    "schedule-ends": Note(
        "formula", "Betas are evenly spaced with both ends included: T - 1 intervals, not T.",
        "Slightly too little noise everywhere."),
    "schedule-adapted-ends": Note(
        "convention", "The ends of the linear schedule are given for any T; some code multiplies them by 1000 / T, so that the last abar "
                      "stays near that of T = 1000. Below T = 21 that makes betas above 1.",
        "Another amount of noise for every T but 1000; NaN for a small T.",
        ("denoising-diffusion-pytorch: linear_beta_schedule", "guided-diffusion: get_named_beta_schedule")),
    "tables-float32": Note(
        "numerics", "1 - abar_t from a float32 product has few digits near t = 0.",
        "sigma_0 is off by 8e-5 of itself; derived tables (posterior, SNR, log SNR) and weights lose more.",
        ("diffusers #3005", "diffusers #10660")),
    "tables-one-step": Note(
        "formula", "The noise in x_t has the variance 1 - abar_t, the product's; 1 - alpha_t is one step's.",
        "Almost no noise is added in training; sampling from pure noise then fails altogether.",
        ("printed in many tutorials and slides",)),
    "tables-root": Note(
        "formula", "Signal and noise are multiplied by square roots: of abar_t and of 1 - abar_t.",
        "x_t does not have the variance that the model is told; samples diverge or stay noisy."),
    "posterior-log-variance": Note(
        "convention", "The posterior's variance is 0 at t = 0. Its logarithm there is that of t = 1 in OpenAI's code (-9.82 for the linear "
                      "schedule), log 1e-20 = -46.05 in diffusers and denoising-diffusion-pytorch.",
        "Samples do not change; the decoder's term of the likelihood does, from 2.23 to 0.29 bits per dimension.",
        ("guided-diffusion, gaussian_diffusion.py", "diffusers, DDPMScheduler._get_variance",
         "denoising-diffusion-pytorch, posterior_log_variance_clipped")),
    "posterior-one-step": Note(
        "formula", "The posterior's mean divides by 1 - abar_t; with 1 - alpha_t its weights do not add up.",
        "Samples explode.", ("printed in tutorials and slides",)),
    "posterior-swapped": Note(
        "formula", "coef1 belongs to x_0 and coef2 to x_t.", "Each step jumps to the predicted picture: samples turn blurred or grey."),
    "posterior-previous": Note(
        "indexing", "abar_{t-1} is 1 at t = 0, not abar_0, and never abar of the wrapped index -1.",
        "Noise is left in the finished picture, or the last step is wrong altogether.",
        ("diffusers' set_alpha_to_one=False takes abar_0 on purpose: #465, #6068",)),
    "timesteps-spacing": Note(
        "convention", "leading begins far below T - 1 when N does not divide T, trailing and linspace begin there.",
        "Sampling begins with pure noise at a time whose data still shows: pictures of medium brightness, less contrast.",
        ("arXiv 2305.08891, Table 2", "diffusers #2585")),
    "timesteps-float": Note(
        "numerics", "trailing from arange(T, 0, -T/N) has N + 1 entries for 62 values of N at T = 1000 (61, 103, 121 ...), the last is -1.",
        "The wrapped index -1 is pure noise: the last step destroys the sample.", ("diffusers' schedulers with \"trailing\"",)),
    "timesteps-out-of-range": Note(
        "indexing", "range(0, T, T // N) has more than N entries when N does not divide T, and + 1 leads to T itself.",
        "An index error, or one more step than asked for.", ("CompVis/stable-diffusion #342",)),
    "timesteps-offset": Note(
        "convention", "Stable Diffusion's leading times are shifted by steps_offset = 1; trailing ends with - 1 because times begin at 0.",
        "Every step is at a neighbouring noise level; the last one leaves or removes too much noise."),
    "timesteps-rounding": Note(
        "numerics", "Times are rounded to the nearest integer, ties to even as NumPy and IEEE do; cutting off or ties upwards give others.",
        "Another list; an integer cannot be a rounding error.", ("denoising-diffusion-pytorch: ddim_sample cuts off",)),
    "respace-betas": Note(
        "formula", "A process that skips times has betas of its own, 1 - abar_t / abar_s with s the previous visited time; the full "
                   "schedule's betas are those of single steps.",
        "Steps remove far too little noise: samples stay noisy.", ("compare diffusers #9261, #11347, #12633",)),
    "sigmas-karras": Note(
        "formula", "Karras' sigmas are evenly spaced in sigma^(1/rho), with i / (n - 1), and end with a 0 of their own.",
        "Steps are spent at the wrong noise levels; without the 0 the sample keeps noise of sigma_min.",
        ("diffusers #5689, #6477: a repeated last sigma",)),
    "sigmas-one": Note(
        "numerics", "A list of one sigma is sigma_max: i / (n - 1) is not to be computed for n = 1.",
        "NaN from the first step on.", ("denoising-diffusion-pytorch: ElucidatedDiffusion.sample_schedule(1)",)),
    "sigmas-scale": Note(
        "convention", "k-diffusion's sigma is noise against signal, sqrt((1 - abar) / abar), not sqrt(1 - abar).",
        "Most wrong at much noise, where one is 14.6 and the other 0.998."),
    "sigmas-times": Note(
        "formula", "The time of a sigma between two entries of a table is interpolated in log sigma; it is not rounded.",
        "The model is told a neighbouring noise level."),
}


def _tables(betas: np.ndarray, levels: np.ndarray, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {"betas": betas[settings["times"]], "alphas_cumprod": levels[settings["times"]]}


def _betas(formula: Callable[[Mapping[str, Any]], np.ndarray]) -> Callable[..., Any]:
    """A mutant's schedule from its betas."""
    def compute(inputs, settings):
        betas = formula(settings)
        return _tables(betas, np.cumprod(1 - betas), settings)
    return compute


def _levels(formula: Callable[[Mapping[str, Any]], np.ndarray]) -> Callable[..., Any]:
    """A mutant's schedule from its abar."""
    def compute(inputs, settings):
        levels = formula(settings)
        return _tables(1 - levels / np.append(1.0, levels[:-1]), levels, settings)
    return compute


def _on_schedule(change: Callable[[D.Schedule], D.Schedule], function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda inputs, settings: function(change(right.schedule_of(settings)), settings)


def _cosine_level(u: np.ndarray) -> np.ndarray:
    return np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2


def _cosine_of_T_points(settings):
    levels = _cosine_level(np.linspace(0, 1, settings["num_train_timesteps"]))
    return np.clip(1 - levels / np.append(levels[0], levels[:-1]), 0, 0.999)


def _cosine_clipped_otherwise(settings):
    levels = _cosine_level(np.linspace(0, 1, settings["num_train_timesteps"] + 1))
    return np.clip(1 - levels[1:] / levels[:-1], 0.0001, 0.9999)


def _cosine_of_T_levels(settings):
    levels = _cosine_level(np.linspace(0, 1, settings["num_train_timesteps"]))
    return np.maximum(levels / levels[0], 1e-30)


def _sigmoid_levels(settings):
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    levels = sigmoid(3 - 6 * np.linspace(0, 1, settings["num_train_timesteps"] + 1))
    levels = (levels - levels[-1]) / (levels[0] - levels[-1])
    return np.cumprod(1 - np.clip(1 - levels[1:] / levels[:-1], 0, 0.999))


def _without_last(settings):
    return np.linspace(settings["beta_start"], settings["beta_end"], settings["num_train_timesteps"], endpoint=False)


def _adapted_ends(settings):
    T = settings["num_train_timesteps"]
    return np.linspace(settings["beta_start"], settings["beta_end"], T) * 1000 / T


def _shifted(levels_of: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Any]:
    """A mutant of zero terminal SNR: another formula for abar, from the abar of the schedule before."""
    return _levels(lambda settings: levels_of(right.schedule_of({**settings, "rescale_betas_zero_snr": False}).alphas_cumprod))


def _next_time(inputs, settings):
    return right.make_schedule(right.schedule_of(settings), {**settings, "times": [max(t - 1, 0) for t in settings["times"]]})


LINEAR_FOR_SCALED = Mutant("your betas are linear; this schedule is linear in sqrt(beta)", "schedule-scaled-linear",
                           settings={"beta_schedule": "linear"})
SCALED_FOR_LINEAR = Mutant("your betas are linear in sqrt(beta); this schedule is linear in beta", "schedule-scaled-linear",
                           settings={"beta_schedule": "scaled_linear"})
ONE_EARLIER = Mutant("your tables count times from 1: you read the entry before", "schedule-index", compute=_next_time)
ADAPTED = Mutant("you multiply the ends of the schedule by 1000 / T", "schedule-adapted-ends", compute=_betas(_adapted_ends))
OPEN_END = Mutant("your linspace leaves the last beta out", "schedule-ends", compute=_betas(_without_last))
COSINE_MUTANTS = {
    "T-points": Mutant("your cosine schedule has T points, not T + 1", "schedule-cosine", compute=_betas(_cosine_of_T_points)),
    "T-levels": Mutant("your abar is the cosine at T points from 0 to 1; it begins with 1 and has no cap", "schedule-cosine",
                       compute=_levels(_cosine_of_T_levels)),
    "clipped-otherwise": Mutant("your betas are clipped to 0.0001 ... 0.9999; the cap is 0.999, and there is none below",
                                "schedule-cosine", compute=_betas(_cosine_clipped_otherwise)),
}
ABAR_SIGMOID = Mutant("your sigmoid is one of abar (Jabri et al.); this one is of beta", "schedule-sigmoid",
                      compute=_levels(_sigmoid_levels))
ZERO_SNR_MUTANTS = {
    "not-rescaled": Mutant("you do not rescale", "schedule-zero-snr", settings={"rescale_betas_zero_snr": False}),
    "shifted-only": Mutant("you shift sqrt(abar) and do not scale it back", "schedule-zero-snr",
                           compute=_shifted(lambda abar: (np.sqrt(abar) - np.sqrt(abar[-1])) ** 2)),
    "of-abar": Mutant("you shift and scale abar, not sqrt(abar)", "schedule-zero-snr",
                      compute=_shifted(lambda abar: (abar - abar[-1]) * abar[0] / (abar[0] - abar[-1]))),
}

SOME = [0, 1, 2, 13, 99, 250, 499, 500, 751, 998, 999]
ENDS = [0, 1, 2, 500, 998, 999]


def _schedules() -> Iterator[Case]:
    def case(name, reason, settings, times, mutants):
        return Case(f"make_schedule/{name}", reason, {}, {**settings, "times": times}, (), mutants, "relative")

    ten = {"num_train_timesteps": 10}
    every = list(range(10))
    yield case("linear-10", "ten numbers to look at; the ends are not adapted to T", LINEAR | ten, every, {
        "open-end": OPEN_END, "adapted-ends": ADAPTED})
    yield case("linear-1000", "Ho et al.'s schedule", LINEAR, SOME, {
        "scaled-linear": SCALED_FOR_LINEAR, "one-earlier": ONE_EARLIER, "open-end": OPEN_END})
    yield case("linear-1", "one step takes beta_start", LINEAR | {"num_train_timesteps": 1}, [0], {
        "last": Mutant("your only beta is beta_end", "schedule-ends", settings={"beta_start": 0.02}), "adapted-ends": ADAPTED})
    yield case("scaled-linear-10", "ten numbers to look at", SCALED_LINEAR | ten, every, {"linear": LINEAR_FOR_SCALED})
    yield case("scaled-linear-1000", "Stable Diffusion's schedule", SCALED_LINEAR, SOME, {
        "linear": LINEAR_FOR_SCALED, "one-earlier": ONE_EARLIER})
    yield case("cosine-10", "ten numbers to look at; the cap is a tenth of the way", COSINE | ten, every, {
        name: COSINE_MUTANTS[name] for name in ("T-points", "clipped-otherwise")})
    yield case("cosine-1000", "Nichol and Dhariwal's schedule: small betas, and one at the cap", COSINE, SOME, COSINE_MUTANTS)
    half = {"num_train_timesteps": 997, "max_beta": 0.5}
    yield case("cosine-997-other-cap", "another cap, which several steps reach; T a prime", COSINE | half, [0, 1, 500, 990, 995, 996], {
        "default-cap": Mutant("you cap at 0.999, whatever max_beta is", "schedule-cosine", settings={"max_beta": 0.999})})
    yield case("sigmoid-10", "ten numbers to look at", SIGMOID | ten, every, {"abar": ABAR_SIGMOID})
    yield case("sigmoid-1000", "the ends are approached, not reached", SIGMOID, SOME, {"abar": ABAR_SIGMOID})
    five = {"num_train_timesteps": 5, "rescale_betas_zero_snr": True}
    yield case("zero-snr-5", "the last abar is exactly 0", LINEAR | five, list(range(5)), ZERO_SNR_MUTANTS)
    yield case("zero-snr-1000", "Stable Diffusion's schedule with zero terminal SNR; near the end differences of close numbers", RESCALED,
               SOME, {**ZERO_SNR_MUTANTS, "almost-zero": Mutant(
                   "your last abar is 2^-24, not 0", "schedule-zero-snr",
                   compute=_levels(lambda s: np.append(right.schedule_of(s).alphas_cumprod[:-1], 2.0 ** -24)))})


def _forward_tables() -> Iterator[Case]:
    function = right.schedule_tables
    float32 = Mutant("your tables are computed in float32; compute them in float64 and round at the end", "tables-float32",
                     compute=_on_schedule(float32_tables, function))
    one_step = Mutant("your 1 - abar_t is 1 - alpha_t", "tables-one-step", compute=_on_schedule(noise_of_one_step, function))

    def no_root(inputs, settings):
        tables = function(right.schedule_of(settings), settings)
        return tables | {"sqrt_one_minus_alphas_cumprod": tables["one_minus_alphas_cumprod"]}

    mutants = {"float32": float32, "one-step": one_step,
               "no-root": Mutant("you multiply the noise by its variance, 1 - abar_t", "tables-root", compute=no_root)}
    for name, settings, reason in (
        ("linear-1000", LINEAR, "every table of the schedule most used"),
        ("scaled-linear-1000", SCALED_LINEAR, "Stable Diffusion's"),
        ("cosine-1000", COSINE, "digits at both ends: beta_0 is 4e-5 and the last abar 2e-9"),
        ("linear-4001", LINEAR | {"num_train_timesteps": 4001, "beta_start": 2.5e-5, "beta_end": 0.005}, "many roundings, small betas"),
    ):
        last = settings["num_train_timesteps"] - 1
        times = [0, 1, 2, last // 2, last - 1, last]
        yield Case(f"schedule_tables/{name}", reason, {}, {**settings, "times": times}, (), mutants, "relative")


def _posterior_tables() -> Iterator[Case]:
    function = right.posterior_tables

    def swapped(inputs, settings):
        tables = function(right.schedule_of(settings), settings)
        return tables | {"posterior_mean_coef1": tables["posterior_mean_coef2"], "posterior_mean_coef2": tables["posterior_mean_coef1"]}

    def wrapped(inputs, settings):
        schedule, tables = right.schedule_of(settings), function(right.schedule_of(settings), settings)
        before = schedule.alphas_cumprod[np.maximum(np.array(settings["times"]) - 1, 0)]
        lost, betas = schedule.one_minus_alphas_cumprod[settings["times"]], schedule.betas[settings["times"]]
        return tables | {
            "posterior_variance": (1 - before) / lost * betas, "posterior_mean_coef1": np.sqrt(before) * betas / lost,
            "posterior_mean_coef2": np.sqrt(1 - betas) * (1 - before) / lost,
        }

    def adapted(inputs, settings):
        """Betas above 1 leave roots of negative numbers."""
        betas, times = _adapted_ends(settings), settings["times"]
        levels = np.cumprod(1 - betas)
        before, lost = np.append(1.0, levels[:-1]), 1 - levels
        variance = (1 - before) / lost * betas
        with np.errstate(invalid="ignore"):
            return {name: table[times] for name, table in {
                "posterior_variance": variance, "posterior_mean_coef1": np.sqrt(before) * betas / lost,
                "posterior_mean_coef2": np.sqrt(1 - betas) * (1 - before) / lost,
                "posterior_log_variance": np.log(np.maximum(variance, 1e-20))}.items()}

    small = Mutant("your log variance at t = 0 is log 1e-20; here it is that of t = 1", "posterior-log-variance",
                   settings={"min_variance": 1e-20})
    mutants = {
        "min-variance": small,
        "one-step": Mutant("your posterior divides by 1 - alpha_t", "posterior-one-step",
                           compute=_on_schedule(noise_of_one_step, function)),
        "swapped": Mutant("your coefficients of x_0 and x_t are swapped", "posterior-swapped", compute=swapped),
        "previous": Mutant("your abar before the first step is abar_0, not 1", "posterior-previous", compute=wrapped),
        "float32": Mutant("your tables are computed in float32", "tables-float32", compute=_on_schedule(float32_tables, function)),
    }

    def case(name, reason, settings, times, mutants, least=None):
        return Case(f"posterior_tables/{name}", reason, {}, {**settings, "min_variance": least, "times": times}, (), mutants, "relative")

    yield case("linear-1000", "OpenAI's convention at t = 0", LINEAR, ENDS, mutants)
    yield case("linear-1000-min-variance", "diffusers' convention at t = 0", LINEAR, ENDS, {
        "next": Mutant("your log variance at t = 0 is that of t = 1; here it is log 1e-20", "posterior-log-variance",
                       settings={"min_variance": None}),
        "log-0": Mutant("your lower bound is 1e-12", "posterior-log-variance", settings={"min_variance": 1e-12})}, 1e-20)
    yield case("cosine-1000", "a last step whose beta is 0.999", COSINE, ENDS, {
        "min-variance": small, "one-step": mutants["one-step"]})
    yield case("linear-5", "few numbers to look at", LINEAR | {"num_train_timesteps": 5}, list(range(5)), {
        "one-step": mutants["one-step"], "adapted-ends": Mutant(ADAPTED.words, ADAPTED.flag, compute=adapted)})
    yield case("zero-snr-1000", "towards zero terminal SNR the betas grow to 0.75", RESCALED, [0, 1, 2, 500, 997, 998], {
        "swapped": mutants["swapped"]})
    yield case("linear-1", "one step: no t = 1 to take the log variance from", LINEAR | {"num_train_timesteps": 1}, [0], {
        "min-variance": small})


def _given() -> Iterator[Case]:
    id = "from_betas/irregular"
    betas = np.abs(draw(f"{id}:betas", 11, scale=0.05)) + np.float32(1e-3)

    def summed(inputs, settings):
        total = np.cumsum(right.host(inputs["betas"]))
        return {"alphas_cumprod": 1 - total, "one_minus_alphas_cumprod": total}

    def in_float32(inputs, settings):
        schedule = float32_tables(D.Schedule.from_betas(right.host(inputs["betas"])))
        return right.read_tables(("alphas_cumprod", "one_minus_alphas_cumprod"), schedule, slice(None))

    yield Case(id, "betas of no family, in no order", {"betas": betas}, {}, (), {
        "summed": Mutant("your 1 - abar_t is the sum of the betas", "tables-root", compute=summed)}, "relative")
    id = "from_betas/tiny"
    betas = np.array([3e-7, 5e-7, 2e-6, 7e-6, 1e-5, 3e-4, 2e-3], np.float32)
    yield Case(id, "1 - abar_t is far below float32's rounding of abar_t", {"betas": betas}, {}, (), {
        "float32": Mutant("your 1 - abar_t is a difference in float32", "tables-float32", compute=in_float32)}, "relative")
    betas = np.array([0.125, 0.25, 0.5, 1.0], np.float32)
    yield Case("from_betas/last-one", "a last beta of 1 leaves nothing: zero terminal SNR by hand", {"betas": betas}, {}, (), {
        "summed": Mutant("your 1 - abar_t is the sum of the betas", "tables-root", compute=summed)}, "relative")

    def one_level(inputs, settings):
        levels = right.host(inputs["alphas_cumprod"])
        return {"betas": 1 - levels, "posterior_variance": 1 - levels}

    def capped(inputs, settings):
        schedule = D.Schedule.from_alphas_cumprod(right.host(inputs["alphas_cumprod"]))
        return right.read_tables(("betas", "posterior_variance"), D.Schedule.from_betas(np.minimum(schedule.betas, 0.999)), slice(None))

    levels = np.array([0.9990234375, 0.96875, 0.8125, 0.5, 0.15625, 0.0078125, 0.0], np.float32)
    yield Case("from_alphas_cumprod/zero-snr", "any falling abar is a schedule, the last may be 0", {"alphas_cumprod": levels}, {}, (), {
        "levels": Mutant("your betas are 1 - abar_t; they are 1 - abar_t / abar_{t-1}", "respace-betas", compute=one_level),
        "capped": Mutant("you cap the betas at 0.999; a given schedule has no cap", "schedule-cosine", compute=capped)}, "relative")


def _respaced() -> Iterator[Case]:
    function = right.respace

    def picked(inputs, settings):
        schedule, times = right.schedule_of(settings), sorted(settings["timesteps"])
        return right.read_tables(("betas", "alphas_cumprod", "posterior_variance"), schedule, times)

    mutants = {"picked": Mutant("your betas are those of single steps; a longer step has its own", "respace-betas", compute=picked)}
    for name, reason, settings, times in (
        ("linear-13-trailing", "13 of 1000, which does not divide", LINEAR, D.timesteps(1000, 13)),
        ("cosine-7-leading", "the smallest time is 0, so the first beta is the schedule's own", COSINE, D.timesteps(1000, 7, "leading")),
        ("neighbours", "steps of 1 and of 996: close numbers whose difference is a beta", LINEAR, np.array([999, 998, 2, 1])),
        ("zero-snr-5-linspace", "the last beta is 1", RESCALED, D.timesteps(1000, 5, "linspace")),
    ):
        yield Case(f"respace/{name}", reason, {}, {**settings, "timesteps": times.tolist()}, (), mutants, "relative")
    small = LINEAR | {"num_train_timesteps": 5, "timesteps": [4, 3, 2, 1, 0]}
    shifted = lambda inputs, settings: function(right.schedule_of(settings), {**settings, "timesteps": [4, 3, 2, 1]})
    yield Case("respace/all", "all times: the schedule itself", {}, small, (), {
        "without-first": Mutant("your process leaves the time 0 out", "posterior-previous", compute=shifted)}, "relative")


def _timesteps() -> Iterator[Case]:
    def case(name, reason, T, N, spacing, mutants, offset=0):
        settings = {"num_train_timesteps": T, "num_inference_steps": N, "timestep_spacing": spacing, "steps_offset": offset}
        return Case(f"timesteps/{name}", reason, {}, settings, (), mutants)

    leading, trailing, linspace = (
        Mutant(f"your times are \"{spacing}\"; these are not", "timesteps-spacing",
               settings={"timestep_spacing": spacing, "steps_offset": 0}) for spacing in D.SPACINGS)
    answered = right.OPERATIONS["timesteps"]
    no_offset = Mutant("you forget steps_offset", "timesteps-offset", settings={"steps_offset": 0})
    every = Mutant("your range(0, T, T // N) + 1 has too many entries", "timesteps-out-of-range", compute=lambda i, s: (
        np.arange(0, s["num_train_timesteps"], s["num_train_timesteps"] // s["num_inference_steps"])[::-1] + 1))
    to_T = Mutant("your times begin at T, which the schedule does not have", "timesteps-out-of-range",
                  compute=lambda i, s: answered(i, s) + 1)
    of_floats = Mutant("your times come from a floating-point arange, which ends at -1", "timesteps-float", compute=lambda i, s: (
        np.append(answered(i, s), -1)))
    not_minus_1 = Mutant("your trailing times lack the - 1", "timesteps-offset", compute=lambda i, s: answered(i, s) + 1)
    ascending = Mutant("your times ascend; a sampler begins with the noisiest", "schedule-index",
                       compute=lambda i, s: answered(i, s)[::-1])

    def cut_off(inputs, settings):
        T, N = settings["num_train_timesteps"], settings["num_inference_steps"]
        exact = T * np.arange(N, 0, -1) / N if settings["timestep_spacing"] == "trailing" else np.linspace(T - 1, 0, N)
        return np.floor(exact).astype(np.int64) - (settings["timestep_spacing"] == "trailing")

    def half_up(inputs, settings):
        T, N = settings["num_train_timesteps"], settings["num_inference_steps"]
        exact = T * np.arange(N, 0, -1) / N if settings["timestep_spacing"] == "trailing" else np.linspace(T - 1, 0, N)
        return np.floor(exact + 0.5).astype(np.int64) - (settings["timestep_spacing"] == "trailing")

    floor = Mutant("your times are cut off, not rounded", "timesteps-rounding", compute=cut_off)
    upwards = Mutant("you round halves up; here they go to the even number", "timesteps-rounding", compute=half_up)
    yield case("leading-13", "13 does not divide 1000: begins at 912", 1000, 13, "leading", {
        "trailing": trailing, "linspace": linspace, "every": every})
    yield case("leading-13-offset-1", "Stable Diffusion's offset", 1000, 13, "leading", {"no-offset": no_offset, "every": every}, 1)
    yield case("leading-50-offset-1", "Stable Diffusion's fifty steps, from 981 to 1", 1000, 50, "leading", {
        "no-offset": no_offset, "trailing": trailing}, 1)
    yield case("leading-3-offset-1", "three steps, which lead others to T itself", 1000, 3, "leading", {"every": every}, 1)
    yield case("leading-600", "more than half of T: begins at 599", 1000, 600, "leading", {"trailing": trailing})
    yield case("leading-all", "as many steps as times", 10, 10, "leading", {"to-T": to_T})
    yield case("leading-1", "one step of leading is at time 0", 1000, 1, "leading", {"trailing": trailing})
    yield case("trailing-13", "begins at 999 whatever N", 1000, 13, "trailing", {
        "leading": leading, "linspace": linspace, "cut-off": floor, "not-minus-1": not_minus_1, "ascending": ascending})
    yield case("trailing-61", "the first count that a floating-point arange gets wrong", 1000, 61, "trailing", {
        "float": of_floats, "cut-off": floor})
    yield case("trailing-103", "the second", 1000, 103, "trailing", {"float": of_floats, "cut-off": floor})
    yield case("trailing-16", "halves: 62.5 is rounded to 62", 1000, 16, "trailing", {"half-up": upwards, "cut-off": floor})
    yield case("trailing-1", "one step, at T - 1", 1000, 1, "trailing", {"leading": leading})
    yield case("trailing-all", "as many steps as times", 10, 10, "trailing", {"not-minus-1": not_minus_1})
    yield case("linspace-13", "both ends, and what is between is rounded", 1000, 13, "linspace", {
        "leading": leading, "trailing": trailing, "cut-off": floor})
    yield case("linspace-3-of-10", "a half: 4.5 is rounded to 4", 10, 3, "linspace", {"half-up": upwards})
    yield case("linspace-1", "one step, at T - 1: sampling begins with noise", 1000, 1, "linspace", {
        "zero": Mutant("your single step is at time 0", "timesteps-spacing", compute=lambda i, s: np.zeros(1, np.int64))})
    yield case("linspace-all", "as many steps as times", 10, 10, "linspace", {"to-T": to_T})


def _sigmas() -> Iterator[Case]:
    sigmas = right.OPERATIONS["karras_sigmas"]
    without_0 = lambda inputs, settings: sigmas(inputs, settings)[:-1]
    by_n = lambda inputs, settings: np.append(sigmas(inputs, {**settings, "n": settings["n"] + 1})[:-2], 0.0)
    repeated = lambda inputs, settings: np.append(sigmas(inputs, settings)[:-1], settings["sigma_min"])
    upside_down = lambda inputs, settings: np.append(sigmas(inputs, settings)[-2::-1], 0.0)
    mutants = {
        "without-0": Mutant("your list lacks the 0 at its end", "sigmas-karras", compute=without_0),
        "by-n": Mutant("you divide i by n, not by n - 1: sigma_min is not reached", "sigmas-karras", compute=by_n),
        "repeated": Mutant("your list repeats sigma_min at its end, in the place of 0", "sigmas-karras", compute=repeated),
        "rho-1": Mutant("your sigmas are evenly spaced: rho is 1", "sigmas-karras", settings={"rho": 1.0}),
    }
    edm = {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0}
    yield Case("karras_sigmas/edm-18", "EDM's list for CIFAR-10", {}, {"n": 18, **edm}, (), mutants, "relative")
    yield Case("karras_sigmas/stable-diffusion-13", "the range of Stable Diffusion", {},
               {"n": 13, "sigma_min": 0.0291675, "sigma_max": 14.614642, "rho": 7.0}, (), mutants, "relative")
    yield Case("karras_sigmas/rho-3", "another rho, no whole number of steps in common", {}, {"n": 11, **edm, "rho": 3.5}, (), {
        "rho-7": Mutant("your rho is 7, whatever was asked", "sigmas-karras", settings={"rho": 7.0})}, "relative")
    yield Case("karras_sigmas/two", "both ends alone", {}, {"n": 2, **edm}, (), {
        "ascending": Mutant("your sigmas ascend", "sigmas-karras", compute=upside_down)}, "relative")
    yield Case("karras_sigmas/one", "one step, at sigma_max, without a division by 0", {}, {"n": 1, **edm}, (), {
        "least": Mutant("your only sigma is sigma_min", "sigmas-karras", compute=lambda i, s: np.array([s["sigma_min"], 0.0])),
        "nan": Mutant("your only sigma is NaN: i / (n - 1) is 0 / 0 for n = 1", "sigmas-one",
                      compute=lambda i, s: np.array([np.nan, 0.0]))}, "relative")
    ends = {"sigma_min": 0.002, "sigma_max": 80.0}
    as_karras = Mutant("your sigmas are Karras' with rho = 7", "sigmas-karras", compute=lambda i, s: D.karras_sigmas(**s))
    yield Case("exponential_sigmas/13", "each the same multiple of the one before", {}, {"n": 13, **ends}, (), {
        "karras": as_karras}, "relative")
    yield Case("uniform_sigmas/13", "evenly spaced", {}, {"n": 13, **ends}, (), {"karras": as_karras}, "relative")


def _sigma_of_noise(inputs, settings):
    schedule = right.schedule_of(settings)
    low, high = schedule.sqrt_one_minus_alphas_cumprod[[0, -1]]
    return {"sigma_min": low, "sigma_max": high}


def _float32_sigmas(settings):
    """sigma of every time, from abar in float32."""
    levels = float32_tables(right.schedule_of(settings)).alphas_cumprod
    return np.sqrt((1 - levels) / levels)


def _times_of_sigmas() -> Iterator[Case]:
    function = right.OPERATIONS["times_of_sigmas"]
    float32 = "your sigmas come from float32 tables; compute them in float64 and round at the end"
    yield Case("sigma_range/stable-diffusion", "0.0292 and 14.6, known from k-diffusion", {}, SCALED_LINEAR, (), {
        "of-noise": Mutant("your sigmas are sqrt(1 - abar)", "sigmas-scale", compute=_sigma_of_noise),
        "float32": Mutant(float32, "tables-float32", compute=lambda i, s: dict(zip(
            ("sigma_min", "sigma_max"), _float32_sigmas(s)[[0, -1]])))}, "relative")

    def linear_in_sigma(inputs, settings):
        table = np.sqrt(1 / right.schedule_of(settings).snr)
        return np.interp(settings["sigmas"][:-1], table, np.arange(len(table)))

    def of_noise(inputs, settings):
        sigmas = np.array(settings["sigmas"][:-1])
        return np.interp(sigmas / np.sqrt(1 + sigmas ** 2), np.sqrt(1 / right.schedule_of(settings).snr), np.arange(1000.0))

    mutants = {
        "nearest": Mutant("your times are rounded to integers", "sigmas-times", compute=lambda i, s: np.rint(function(i, s))),
        "linear": Mutant("you interpolate in sigma, not in its logarithm", "sigmas-times", compute=linear_in_sigma),
        "of-noise": Mutant("you look up sqrt(1 - abar) for sigma", "sigmas-scale", compute=of_noise),
    }
    rough = Mutant(float32, "tables-float32", compute=lambda i, s: np.interp(
        np.log(s["sigmas"][:-1]), np.log(_float32_sigmas(s)), np.arange(float(s["num_train_timesteps"]))))
    for name, settings, reason, high, more in (
        ("stable-diffusion-11", SCALED_LINEAR, "Karras' sigmas as times of Stable Diffusion's model", 14.6, {"float32": rough}),
        ("linear-11", LINEAR, "Karras' sigmas as times of Ho et al.'s schedule", 157.0, {}),
    ):
        sigmas = np.round(D.karras_sigmas(11, 0.03, high), 6).tolist()
        yield Case(f"times_of_sigmas/{name}", reason, {}, {**settings, "sigmas": sigmas}, (), mutants | more, "relative")
    doubled = Mutant("you solve for the variance sigma(t)^2 in the place of sigma / alpha", "sigmas-scale",
                     compute=lambda i, s: function(i, {**s, "sigmas": np.sqrt(s["sigmas"]).tolist()}))
    sigmas = [80.0, 13.0, 3.0, 0.7, 0.11, 0.02, 0.0]
    yield Case("times_of_sigmas/variance-preserving", "a process in continuous time, without a table", {}, {
        "process": VP, "sigmas": sigmas}, (), {"variance": doubled}, "relative")
    yield Case("times_of_sigmas/cosine", "the cosine process in continuous time", {}, {
        "process": COSINE_PROCESS, "sigmas": sigmas}, (), {"variance": doubled}, "relative")


def cases() -> Iterator[Case]:
    """Schedules and their tables, lists of times, lists of sigmas."""
    for some in (_schedules, _forward_tables, _posterior_tables, _given, _respaced, _timesteps, _sigmas, _times_of_sigmas):
        yield from some()
