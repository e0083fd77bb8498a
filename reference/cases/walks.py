"""Samplers with a small U-Net as their model: whether the two fit together, above all in what the network is told of the time.

Every operation of `samplers` has a case here, and every named member of minidiff's samplers. The network is as small as one can be that
other libraries have, too, and is not trained: its answers depend on every pixel and on the time, and that is enough. Few steps show what
many would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minidiff import functional as F
from minidiff.diffusion import EDM, Karras, Level, Multistep, Path, Plan, Row, Sampler, karras_sigmas, path, timesteps
from minidiff.verify.adapters.minidiff.networks import empty_network
from minidiff.verify.adapters.minidiff.samplers import OPERATIONS as RIGHT
from minidiff.verify.adapters.minidiff.samplers import arrays
from reference.case import Case, Mutant, Note, draw
from reference.cases import forward, networks, samplers
from reference.cases.networks import DDPM, parameters
from reference.cases.samplers import (
    LINEAR,
    NO_CHURN,
    SHORT,
    SIGMAS,
    STABLE,
    asked_before_churn,
    case,
    churned_late,
    each_move,
    even,
    held,
    independent,
    last_alpha,
    log_snr,
    noise_at_the_end,
    of_order,
    reset,
    ruled,
    told_index,
)

OPERATIONS = samplers.OPERATIONS

NOTES = {
    **samplers.NOTES,
    **{name: networks.NOTES[name] for name in ("unet-time-base", "unet-time-scale", "trajectory-noise")},
    **{name: forward.NOTES[name] for name in ("edm-noise-label", "edm-coefficients")},
    "sampler-time-between": Note(
        "convention", "A level between two times of a schedule is asked for at a time between them, or at the nearest of the two.",
        "A network that was trained on whole times alone may prefer the nearest; the method loses its order.",
        ("k-diffusion: quantize of its wrappers", "networks that make an integer of their time: a float given to diffusers' UNet2DModel")),
    "sampler-sigma-for-time": Note(
        "convention", "A sampler in sigmas hands its sigma to a network that was trained on times.",
        "The model believes that there is hardly any noise: images stay noise."),
    "sampler-combined-answers": Note(
        "formula", "Where eps of several times are combined, each answer of v becomes eps at its own time, before; not the combination.",
        "Noise in the place of images: v of another time is another direction.",
        ("diffusers PNDMScheduler with prediction_type v_prediction",)),
    "sampler-history": Note(
        "indexing", "Earlier predictions are kept in a list, and read from the wrong end.",
        "The slope points the wrong way: worse than order 1, the more so the fewer the steps."),
}

SHAPE = (2, 2, 3, 5)
UNET = {"kind": "unet", **DDPM, "sample_size": 4, "in_channels": 2, "out_channels": 2, "block_out_channels": [4], "attention_levels": [],
        "middle_attention": False, "time_scale": 0.0625}
"""Its waves are so slow that a time between two whole ones may be a float32: the digits that it lacks do not show, half a time does."""
DENOISER = {**UNET, "time_scale": 1.0, "sigma_data": 0.5}
"""The same in EDM's preconditioning, which tells it log(sigma) / 4."""

THREE, FOUR = (timesteps(1000, count).tolist() for count in (3, 4))
APART = [940, 610, 390, 80]
"""Steps of different lengths."""
THREE_SIGMAS = karras_sigmas(3, 0.1, 10.0, 7.0)[:-1].tolist()


def with_network(id: str, reason: str, process: Mapping[str, Any], times: Sequence[float], own: Mapping[str, Any],
                 mutants: Mapping[str, Mutant], **options: Any) -> Case:
    """A walk of `samplers` with a network, whose parameters are inputs; options: of `samplers.case`, where they are not the usual."""
    usual = {"model": UNET, "prediction_type": "v_prediction", "states": True, "shape": SHAPE}
    return parametrized(case(id, reason, process, times, own, mutants, **{**usual, **options}))


def parametrized(walk: Case) -> Case:
    """The case with numbers for the parameters of its network."""
    network = empty_network({name: value for name, value in walk.settings["model"].items() if name != "sigma_data"})
    return replace(walk, inputs={**walk.inputs, **parameters(walk.id, network)})


# -- mistakes ----------------------------------------------------------------------------------------------------------


def told(operation: str, words: str, flag: str, time: Callable[[Level], float]) -> Mutant:
    """The model is told time(level) in the place of the level's time; the weights are right."""
    return ruled(operation, words, flag, each_move(lambda i, move, path: move._replace(level=move.level._replace(time=time(move.level)))))


def one_late(operation: str) -> Mutant:
    return told(operation, "the times that your model is told are one too high: the first time is 0", "unet-time-base",
                lambda level: level.time + 1)


def to_nearest(operation: str) -> Mutant:
    return told(operation, "between two times of the schedule your model is told the nearest", "sampler-time-between",
                lambda level: round(level.time))


def sigma_for_time(operation: str) -> Mutant:
    return told(operation, "your model is told sigma where it expects the time", "sampler-sigma-for-time",
                lambda level: level.sigma / level.alpha)


def noise_again(operation: str) -> Mutant:
    """Only for walks that draw more than once."""
    def compute(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        noise = arrays(inputs, "noise")
        return RIGHT[operation]({**inputs, "noise": F.stack([noise[0]] * len(noise))}, settings)

    return Mutant("you use the first noise in every step", "trajectory-noise", compute=compute)


def upside_down(operation: str) -> Mutant:
    return ruled(operation, "you take your oldest prediction for the newest", "sampler-history", each_move(
        lambda i, move, path: move._replace(settle=move.settle and move.settle._replace(predictions=move.settle.predictions[::-1]))))


@dataclass(frozen=True)
class _HalfSubtracted(Multistep):
    """The factor of the curvature is 1/2 - m / z, here -1/2 - m / z."""

    def moments(self, step, order):
        moments = super().moments(step, order)
        return [*moments[:2], moments[2] - 1] if order == 3 else moments


def half_subtracted(sampler: Multistep, path: Path) -> Plan:
    return _HalfSubtracted(**vars(sampler)).plan(path)


def of_answers(sampler: Sampler, path: Path) -> Plan:
    """For PLMS, whose model is said to predict epsilon where it answers v: eps = a_t v + s_t x at the beginning of the step, of the sum."""
    def change(i, move, path):
        t = path.levels[max(i - 1, 0)]
        combined = lambda row: row and Row(row.x + t.sigma * sum(row.predictions), tuple(t.alpha * w for w in row.predictions))
        return move._replace(ahead=combined(move.ahead), settle=combined(move.settle))

    return each_move(change)(sampler, path)


def unfinished(operation: str) -> Mutant:
    def change(i, move, path):
        return move if move.to != path.levels[-1] else move._replace(settle=Row(1.0, (0.0,)))

    return ruled(operation, "your last step does nothing: the last sigma is repeated, not followed by 0", "sampler-last-sigma",
                 each_move(change))


NOT_PRECONDITIONED = Mutant("your network is asked as it is, without c_skip, c_out and c_in, and told sigma", "edm-coefficients",
                            settings={"model": {**UNET, "time_scale": 1.0}})
LABELLED = Mutant("your network is told 250 log(sigma), as in consistency models, not log(sigma) / 4", "edm-noise-label",
                  settings={"model": {**DENOISER, "time_scale": 1000.0}})
SPREAD = Mutant("your sigma_data is 1", "edm-coefficients", settings={"model": {**DENOISER, "sigma_data": 1.0}})

# -- the cases ---------------------------------------------------------------------------------------------------------


def _ancestral() -> Iterator[Case]:
    """DDPM and DDIM."""
    small, large = {"variance_type": "fixed_small"}, {"variance_type": "fixed_large"}
    ends = ruled("ddpm", samplers.AT_THE_END, "sampler-noise-at-last-step", noise_at_the_end)
    yield with_network("ddpm/unet", "DDPM over four times of a network of v", LINEAR, FOUR, small, {
        "fixed-large": reset("ddpm", "your noise has variance beta instead of beta~", "sampler-variance", **large),
        "time-one-late": one_late("ddpm"), "noise-again": noise_again("ddpm"), "noise-at-last-step": ends})
    yield with_network("ddpm/unet-large", "the larger variance, a network of eps, uneven times", LINEAR, [700, 300, 0], large, {
        "fixed-small": reset("ddpm", "your noise has variance beta~ instead of beta", "sampler-variance", **small),
        "time-one-late": one_late("ddpm")}, prediction_type="epsilon")
    learned = {**UNET, "out_channels": 4}
    yield with_network("ddpm/unet-learned-range", "a network that answers eps in its first channels and a variance in the others", SHORT,
                       [14, 6, 0], {"variance_type": "learned_range"}, {
        "read-as-log-variance": reset("ddpm", "you read the second half as the log variance itself", "sampler-variance",
                                      variance_type="learned"),
        "halves": Mutant("you take the second half of the channels for the prediction", "sampler-variance", compute=_halves)},
        model=learned, prediction_type="epsilon")
    yield with_network("ddim/unet", "a network of v, clipping", LINEAR, FOUR, {"eta": 0.0, "rederive_epsilon": True}, {
        "keeps-epsilon": reset("ddim", "you keep the model's eps when x_0 is clipped", "sampler-clipping", rederive_epsilon=False),
        "time-one-late": one_late("ddim"), "told-index": told_index("ddim")}, clip_denoised=True)


def _halves(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    last = {name: F.cat(list(F.chunk(x, 2))[::-1]) for name, x in inputs.items() if name.startswith("parameters.conv_out.")}
    return RIGHT["ddpm"]({**inputs, **last}, settings)


def _euler_and_heun() -> Iterator[Case]:
    churn = {"s_churn": 1.0, "s_tmin": 0.0, "s_tmax": 1e30, "s_noise": 1.25}
    yield with_network("euler/unet", "a sampler in sigmas around a network that knows times", STABLE, THREE, NO_CHURN, {
        "sigma-for-time": sigma_for_time("euler"), "time-one-late": one_late("euler"), "abar-0": last_alpha("euler", True)})
    yield with_network("euler/unet-churn", "churn raises the level to one between two times of the schedule", LINEAR, [800, 300], churn, {
        "nearest-time": to_nearest("euler"), "level-before": asked_before_churn("euler", 1),
        "late": ruled("euler", "you add churn's noise after the model has been asked", "sampler-churn-order", churned_late)},
        prediction_type="epsilon", states=False)
    yield with_network("heun/unet", "the correction asks at the time that the step leads to", LINEAR, THREE, NO_CHURN, {
        "euler": reset("euler", "your Heun is Euler: it does not look where the step leads", "sampler-no-correction"),
        "same-time": ruled("heun", "your correction asks at the time of the beginning of the step", "sampler-stage", each_move(
            lambda i, move, path: move._replace(level=move.level._replace(time=path.levels[i // 2].time)))),
        "sigma-for-time": sigma_for_time("heun")})


def _edm() -> Iterator[Case]:
    id, settings = "edm_sampler/unet", {
        "n": 3, "sigma_min": 0.1, "sigma_max": 10.0, "rho": 7.0, "order": 2, **NO_CHURN, "s_churn": 0.75, "model": DENOISER,
        "prediction_type": "sample"}
    sigmas = karras_sigmas(*(settings[name] for name in ("n", "sigma_min", "sigma_max", "rho")))[:-1]
    draws = Karras(2, *(settings[name] for name in samplers.CHURN)).plan(path(EDM, sigmas)).draws
    yield parametrized(Case(
        id, "Algorithm 2 around EDM's preconditioning, Heun, with churn",
        {"start_noise": draw(f"{id}:start_noise", *SHAPE), "noise": draw(f"{id}:noise", draws, *SHAPE)}, settings, (), {
            "rho-1": Mutant("your sigmas are evenly spaced, rho = 1", "sampler-sigma-spacing", settings={"rho": 1.0}),
            "not-preconditioned": NOT_PRECONDITIONED, "label": LABELLED, "sigma-data": SPREAD}))


def _singlestep() -> Iterator[Case]:
    eps, start, ancestral, sde = "dpm_solver_singlestep", "dpmpp_singlestep", "ancestral_singlestep", "dpmpp_sde"
    first = lambda op: reset(op, "your stages are not used: the step is of order 1", "sampler-no-correction", stages=[])
    moved = lambda op, *stages: reset(op, f"your first stage lies at {stages[0]:.2g} of the step", "sampler-stage", stages=list(stages))
    half, two, fresh = {"stages": [0.5]}, {"stages": [1 / 3, 2 / 3]}, {"eta": 1.0}
    yield with_network(f"{eps}/unet-1", "DDIM, computed in lambda", LINEAR, THREE, {"stages": []}, {
        "log-snr": log_snr(eps), "time-one-late": one_late(eps)})
    yield with_network(f"{eps}/unet-2", "the stage lies between two times of the schedule", LINEAR, THREE, half, {
        "nearest-time": to_nearest(eps), "order-1": first(eps), "holds-x0": held(start)})
    yield with_network(f"{eps}/unet-3", "two stages, both between times", LINEAR, [850, 250], two, {
        "nearest-time": to_nearest(eps), "order-2": moved(eps, 1 / 3), "stage-1": moved(eps, 0.5, 2 / 3)})
    yield with_network(f"{start}/unet-2s", "DPM-Solver++(2S)", STABLE, THREE, half, {
        "nearest-time": to_nearest(start), "order-1": first(start), "holds-epsilon": held(eps)})
    yield with_network(f"{start}/unet-3s", "two stages, both between times", LINEAR, [850, 250], two, {
        "nearest-time": to_nearest(start), "order-2": moved(start, 1 / 3)})
    yield with_network(f"{ancestral}/unet-dpm-2", "k-diffusion's, and a network of eps", LINEAR, [700, 250],
                       {**half, **fresh, "predicts": "epsilon"}, {
        "time-one-late": one_late(ancestral), "order-1": first(ancestral),
        "eta-ignored": reset(eps, "you ignore eta", "sampler-eta")}, prediction_type="epsilon")
    yield with_network(f"{ancestral}/unet-dpmpp-2s", "k-diffusion's, and a network of v", LINEAR, [500, 300],
                       {**half, **fresh, "predicts": "sample"}, {
        "time-one-late": one_late(ancestral), "order-1": first(ancestral),
        "eta-ignored": reset(start, "you ignore eta", "sampler-eta")})
    yield with_network(f"{sde}/unet", "noise at the stage, too, and a time between", LINEAR, [850, 400, 150], {**half, **fresh}, {
        "nearest-time": to_nearest(sde), "noise-again": noise_again(sde),
        "independent": ruled(sde, "your stage and your step draw independent noise", "sampler-brownian", independent)})


def _multistep() -> Iterator[Case]:
    eps, start = "dpm_solver_multistep", "dpmpp_multistep"
    second = {"order": 2, "solver_type": "midpoint", "lower_order_final": False}
    third = {"order": 3, "solver_type": "exact", "lower_order_final": False}
    still, fresh = {"eta": 0.0}, {"eta": 1.0}
    half = lambda op: reset(op, "you count half of the curvature: the second derivative is twice the second divided difference",
                            "sampler-half-curvature", solver_type="heun")
    flat = lambda op: ruled(op, "you take the steps to be of one length", "sampler-uneven-steps", even)
    wrong = lambda op: {"upside-down": upside_down(op), "time-one-late": one_late(op)}
    yield with_network(f"{eps}/unet-2m", "the noise extrapolated", LINEAR, APART, second, {
        **wrong(eps), "even": flat(eps), "holds-x0": held(start, **still), "abar-0": last_alpha(eps, True)})
    yield with_network(f"{eps}/unet-3m", "the noise extrapolated by a parabola", LINEAR, APART, third, {
        **wrong(eps), "order-2": of_order(eps, 2), "half": half(eps)})
    yield with_network(f"{start}/unet-2m", "DPM-Solver++(2M)", LINEAR, APART, second | still, {
        **wrong(start), "even": flat(start), "holds-epsilon": held(eps), "log-snr": log_snr(start)})
    yield with_network(f"{start}/unet-2m-karras", "2M on Karras's sigmas, around EDM's preconditioning", SIGMAS, THREE_SIGMAS,
                       second | still, {
        "not-preconditioned": NOT_PRECONDITIONED, "label": LABELLED, "sigma-data": SPREAD, "unfinished": unfinished(start)},
        model=DENOISER, prediction_type="sample")
    yield with_network(f"{start}/unet-3m", "order 3 with the whole curvature", LINEAR, APART, third | still, {
        **wrong(start), "half": half(start), "order-2": of_order(start, 2)})
    yield with_network(f"{start}/unet-2m-sde", "with fresh noise", LINEAR, APART, second | fresh, {
        **wrong(start), "eta-ignored": reset(start, "you ignore eta", "sampler-eta", **still), "noise-again": noise_again(start)})
    yield with_network(f"{start}/unet-3m-sde", "order 3 with fresh noise", LINEAR, APART, third | fresh, {
        **wrong(start), "half": half(start), "noise-again": noise_again(start),
        "sign": ruled(start, "the 1/2 in the factor of your curvature has the wrong sign, and you count half of the curvature",
                      "sampler-curvature-sign", half_subtracted, solver_type="heun")})


def _others() -> Iterator[Case]:
    """UniPC, PNDM, PLMS, flow matching."""
    yield with_network("unipc/unet", "the corrector uses the network's next answer", LINEAR, FOUR, {
        "order": 2, "predicts": "sample", "solver_type": "bh2", "lower_order_final": True}, {
        "bh1": reset("unipc", "your B(h) is that of bh1", "sampler-bh", solver_type="bh1"), "time-one-late": one_late("unipc"),
        "predicts-epsilon": reset("unipc", "you put your polynomial through epsilon", "sampler-predicts", predicts="epsilon")})
    prk = {"skip_prk_steps": False}
    yield with_network("pndm/unet-pndm", "Runge-Kutta, at a time between two of the schedule, too", LINEAR, [850, 251], prk, {
        "nearest-time": to_nearest("pndm"), "time-one-late": one_late("pndm"),
        "plms": reset("pndm", "you begin as PLMS does, without Runge-Kutta", "sampler-plms-start", skip_prk_steps=True)})
    yield with_network("pndm/unet-plms", "a network of v: what is combined is the eps of each answer, at its own time", STABLE, FOUR,
                       {"skip_prk_steps": True}, {
        "v-combined": ruled("pndm", "you combine the model's answers themselves, v, and make eps of the result",
                            "sampler-combined-answers", of_answers, prediction_type="epsilon"),
        "upside-down": upside_down("pndm"), "time-one-late": one_late("pndm"),
        "prk": reset("pndm", "you begin with Runge-Kutta, as PNDM does", "sampler-plms-start", **prk)})
    id, times = "flow_matching_euler/unet", [0.875, 0.625, 0.25]
    network = {**UNET, "time_scale": 1000.0}
    yield parametrized(Case(
        id, "a network that is told 1000 t", {"x": draw(f"{id}:x", *SHAPE)},
        {"times": times, "model": network, "prediction_type": "flow_prediction"}, (), {
            "unscaled": Mutant("you do not multiply t by time_scale", "unet-time-scale", settings={"model": {**UNET, "time_scale": 1.0}}),
            "shifted": Mutant("your times are shifted once more", "flow-time", settings={"times": [3 * t / (1 + 2 * t) for t in times]})}))


def _langevin() -> Iterator[Case]:
    id = "annealed_langevin"
    spread = lambda row: row._replace(noise=2 ** 0.5 * row.noise)
    yield parametrized(case(
        f"{id}/unet", "two steps at each of two levels, and the mean of x_0 at the end; a network in EDM's preconditioning", SIGMAS,
        [1.5, 0.5], {"step_size": 0.125, "steps": 2, "denoise": True}, {
            "noisy": reset(id, "you leave the noise of the last level in x", "langevin-denoise", denoise=False),
            "doubled-noise": ruled(id, "your noise is sqrt(2 alpha), where sqrt(alpha) belongs to a step of alpha / 2", "langevin-step",
                                   each_move(lambda i, move, path: move._replace(settle=spread(move.settle)))),
            "label": LABELLED, "noise-again": noise_again(id)}, model=DENOISER, prediction_type="sample", shape=SHAPE))
    id, steps = "langevin_dynamics/unet", 3
    settings = {"process": LINEAR, "time": 300, "model": UNET, "prediction_type": "epsilon", "step_size": 0.0625, "steps": steps}
    inputs = {"x": draw(f"{id}:x", *SHAPE), "noise": draw(f"{id}:noise", steps, *SHAPE)}
    yield parametrized(Case(id, "three steps at a time of a schedule", inputs, settings, (), {
        "half": Mutant("your step is eps / 2 with noise sqrt(eps)", "langevin-step", settings={"step_size": 0.03125}),
        "time-plus-one": Mutant("your time is one more than the setting says", "sampler-off-by-one", settings={"time": 301}),
        "noise-again": noise_again("langevin_dynamics")}))
    id, own = "predictor_corrector/unet", {"predictor": "reverse_diffusion", "snr": 0.16, "steps": 1, "batch_mean": False}
    times = [800, 500, 150]
    settings = {"process": LINEAR, "times": times, "model": UNET, "prediction_type": "epsilon", "set_alpha_to_one": True, **own}
    noises = {name: draw(f"{id}:{name}", len(times) - 1, *SHAPE) for name in ("noise", "corrector_noise")}
    changed = lambda words, flag, **changes: Mutant(words, flag, settings=changes)
    yield parametrized(Case(
        id, "the corrector asks at the level that the predictor reached", {"x": draw(f"{id}:x", *SHAPE), **noises}, settings, (), {
            "ddpm": changed("your predictor is the ancestral step, DDPM's", "corrector-predictor", predictor="ddpm"),
            "batch-mean": changed("your norms are means over the batch", "corrector-norms", batch_mean=True),
            "no-2": changed("your step is (snr |z| / |score|)^2, without the 2", "langevin-step", snr=0.16 * 0.5 ** 0.5)}))


def cases() -> Iterator[Case]:
    """Walks with a network, every sampler."""
    for family in (_ancestral, _euler_and_heun, _edm, _singlestep, _multistep, _others, _langevin):
        yield from family()
