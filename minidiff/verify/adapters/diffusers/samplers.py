"""Walks of diffusers' schedulers, as its pipelines walk: set the times, then a step for each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import diffusers
import numpy as np
import torch

from minidiff.verify.adapters.common import drawing, model_of, model_of_sigma, network_of, outputs, refuse
from minidiff.verify.adapters.diffusers.schedules import LIBRARY, PREDICTIONS, of_schedule
from minidiff.verify.adapters.minidiff.samplers import arrays, process_of
from minidiff.verify.implementation import Unsupported

Predict = Callable[[Any, Any], Any]


def steps(scheduler: Any, x: Any, predict: Predict, noise: Sequence[Any] = (), **options: Any) -> Iterator[tuple[int, Any, Any]]:
    """Yield (k, t, x) before the k-th call of the model, and x at last. predict is asked at what the scheduler scales the input to.

    Noise that it draws beyond what the case has, in a step that needs none, is the case's again, or ones.
    """
    place = sys.modules[type(scheduler).__module__]
    with drawing(noise or [torch.ones_like(x)], *[(place, "randn_tensor")] * hasattr(place, "randn_tensor")):
        for k, t in enumerate(scheduler.timesteps):
            yield k, t, x
            x = scheduler.step(predict(scheduler.scale_model_input(x, t), t), t, x, **options).prev_sample
    yield len(scheduler.timesteps), None, x


def walk(settings: Mapping[str, Any], begins: Callable[[int], bool], passed: Iterator[tuple[int, Any, Any]],
         seen: Callable[[Any, Any], Any]) -> Any:
    """The outputs of a walk. begins: whether the k-th call is the first of a step. seen: x of the case from the scheduler's, at t."""
    *calls, (_, _, end) = passed
    return outputs(settings, end, [seen(x, t) for k, t, x in calls if begins(k)])


def as_it_is(x: Any, t: Any) -> Any:
    return x


def each_call(k: int) -> bool:
    return True


def every_other(k: int) -> bool:
    """The first call and every second after it: two calls a step but for the last, which has one."""
    return k % 2 == 0


def listed(make: Callable[..., Any], times: Sequence[float]) -> Any:
    """A scheduler whose own list is that of the case, by one of its spacings. Raises Unsupported if there is none."""
    for spacing, offset in (("trailing", 0), ("leading", 0), ("leading", 1), ("linspace", 0)):
        scheduler = make(timestep_spacing=spacing, steps_offset=offset)
        scheduler.set_timesteps(len(times))
        own = list(dict.fromkeys(scheduler.timesteps.tolist()))
        found = own[::2] if type(scheduler).__name__.startswith("KDPM2") else own
        if len(found) == len(times) and np.allclose(found, times, rtol=0, atol=1e-6):
            return scheduler
    raise Unsupported(f"diffusers' {type(scheduler).__name__} has no list of these times")


def schedule_model(inputs: Mapping[str, Any], settings: Mapping[str, Any], prediction_types: Sequence[str] = PREDICTIONS) -> Predict:
    """The model of a case on a schedule, and no other process."""
    process, prediction_type = settings["process"], settings["prediction_type"]
    refuse(LIBRARY, {"scheduler that walks so in these sigmas": process["name"] != "Schedule",
                     f"scheduler for a model that predicts {prediction_type} here": prediction_type not in prediction_types})
    model = model_of(inputs, settings, process_of(process))
    return lambda x, t: model(x, float(t))


# -- walks in x --------------------------------------------------------------------------------------------------------


def ancestral(told: Mapping[str, Any], times: Sequence[int], eta: float, variance_type: str, clip: bool, to_data: bool,
              prediction_type: str = "epsilon", rederive: bool = True) -> tuple[Any, dict[str, Any]]:
    """The scheduler for DDPM, which takes any list, or for DDIM, which has its own; and the options of its steps."""
    options = {"clip_sample": clip, "prediction_type": prediction_type}
    if eta == 1 and to_data:
        scheduler = of_schedule(told, "DDPMScheduler", variance_type=variance_type, **options)
        scheduler.set_timesteps(timesteps=times)
        return scheduler, {}
    make = lambda **spacing: of_schedule(told, "DDIMScheduler", set_alpha_to_one=to_data, **options, **spacing)
    return listed(make, times), {"eta": eta, "use_clipped_model_output": rederive}


def ddpm(inputs, settings):
    predict = schedule_model(inputs, settings)
    refuse(LIBRARY, {"DDPM that ends at time 0 of a schedule": not settings["set_alpha_to_one"]})
    scheduler, options = ancestral(settings["process"], settings["times"], 1.0, settings["variance_type"], settings["clip_denoised"], True,
                                   settings["prediction_type"])
    return walk(settings, each_call, steps(scheduler, inputs["x"], predict, arrays(inputs, "noise"), **options), as_it_is)


def ddim(inputs, settings):
    predict = schedule_model(inputs, settings)
    options = {"clip_sample": settings["clip_denoised"], "prediction_type": settings["prediction_type"],
               "set_alpha_to_one": settings["set_alpha_to_one"]}
    scheduler = listed(lambda **spacing: of_schedule(settings["process"], **options, **spacing), settings["times"])
    passed = steps(scheduler, inputs["x"], predict, arrays(inputs, "noise"), eta=settings["eta"],
                   use_clipped_model_output=settings["rederive_epsilon"])
    return walk(settings, each_call, passed, as_it_is)


def multistep(inputs, settings, algorithm: str, solver_type: str, final_sigmas_type: str):
    """DPM-Solver. Its way to clip is dynamic thresholding with a largest value of 1."""
    predict, noise = schedule_model(inputs, settings), arrays(inputs, "noise")
    scheduler = of_schedule(
        settings["process"], "DPMSolverMultistepScheduler", algorithm_type=algorithm, solver_type=solver_type,
        solver_order=settings["order"], lower_order_final=settings["lower_order_final"], final_sigmas_type=final_sigmas_type,
        prediction_type=settings["prediction_type"], thresholding=settings["clip_denoised"], sample_max_value=1.0)
    scheduler.set_timesteps(timesteps=settings["times"])
    return walk(settings, each_call, steps(scheduler, inputs["x"], predict, noise), as_it_is)


def dpm_solver_multistep(inputs, settings):
    """Of its two ways to solve, heun has the slope's own integral. It cannot end at the data; the first noise level is its end."""
    return multistep(inputs, settings, "dpmsolver", "midpoint" if settings["solver_type"] == "midpoint" else "heun", "sigma_min")


def dpmpp_multistep(inputs, settings):
    refuse(LIBRARY, {f"DPM-Solver++ with eta = {settings['eta']}": settings["eta"] not in (0, 1)})
    algorithm = "sde-dpmsolver++" if settings["eta"] else "dpmsolver++"
    solver_type = "midpoint" if settings["solver_type"] == "midpoint" else "heun"
    if settings["process"]["name"] == "EDM":
        return edm_multistep(inputs, settings, algorithm, solver_type)
    return multistep(inputs, settings, algorithm, solver_type, "zero")


def edm_multistep(inputs, settings, algorithm: str, solver_type: str):
    """Its scheduler knows Karras's list alone, and asks a network within EDM's preconditioning."""
    refuse(LIBRARY, {"given answers between its coefficients": settings["model"]["kind"] == "given"})
    times = settings["times"]
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(
        times[-1], times[0], sigma_data_of(settings), algorithm_type=algorithm, solver_type=solver_type, solver_order=settings["order"],
        lower_order_final=settings["lower_order_final"])
    scheduler.set_timesteps(len(times))
    refuse(LIBRARY, {"list of these sigmas": not np.allclose(scheduler.sigmas[:-1].numpy(), times, rtol=1e-4)})
    predict = preconditioned(scheduler, inputs, settings)
    return walk(settings, each_call, steps(scheduler, inputs["x"], predict, arrays(inputs, "noise")), as_it_is)


def sigma_data_of(settings: Mapping[str, Any]) -> float:
    """That of the network, or EDM's own: an exact model has none."""
    return settings["model"].get("sigma_data", 0.5)


def preconditioned(scheduler: Any, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Predict:
    """What these schedulers ask: a network, around which they put EDM's preconditioning themselves."""
    if "sigma_data" in settings["model"]:
        return network_of(inputs, settings["model"])
    return within_preconditioning(scheduler, model_of_sigma(inputs, settings, "sample"))


def within_preconditioning(scheduler: Any, denoise: Predict) -> Predict:
    """The network F with c_skip x + c_out F(c_in x) = denoise(x), by the scheduler's own coefficients."""
    def network(scaled: Any, t: Any) -> Any:
        sigma = scheduler.sigmas[scheduler.step_index].to(scaled)
        one, zero = torch.ones_like(sigma), torch.zeros_like(sigma)
        x = scaled / scheduler.precondition_inputs(one, sigma)
        c_skip, c_out = scheduler.precondition_outputs(one, zero, sigma), scheduler.precondition_outputs(zero, one, sigma)
        return (denoise(x, float(sigma)) - c_skip * x) / c_out
    return network


def unipc(inputs, settings):
    predict = schedule_model(inputs, settings)
    refuse(LIBRARY, {"UniPC that sets no unknown to 1/2": settings["solver_type"] == "exact"})
    options = {"solver_order": settings["order"], "solver_type": settings["solver_type"], "predict_x0": settings["predicts"] == "sample",
               "lower_order_final": settings["lower_order_final"], "prediction_type": settings["prediction_type"]}
    make = lambda **spacing: of_schedule(settings["process"], "UniPCMultistepScheduler", **options, **spacing)
    scheduler = listed(make, settings["times"])
    return walk(settings, each_call, steps(scheduler, inputs["x"], predict), as_it_is)


def pndm(inputs, settings):
    """Runge-Kutta asks 4 times in each of its 3 steps; without it the first step asks twice."""
    predict = schedule_model(inputs, settings, ("epsilon", "v_prediction"))
    plms = settings["skip_prk_steps"]
    told = {key: value for key, value in settings["process"].items() if key != "rescale_betas_zero_snr"}
    options = {"set_alpha_to_one": settings["set_alpha_to_one"], "prediction_type": settings["prediction_type"]}
    scheduler = listed(lambda **spacing: of_schedule(told, "PNDMScheduler", skip_prk_steps=True, **options, **spacing), settings["times"])
    if not plms:
        scheduler = diffusers.PNDMScheduler.from_config(scheduler.config, skip_prk_steps=False)
        scheduler.set_timesteps(len(settings["times"]))
    begins = (lambda k: k != 1) if plms else (lambda k: k >= 12 or k % 4 == 0)
    return walk(settings, begins, steps(scheduler, inputs["x"], predict), as_it_is)


# -- walks in x / a ----------------------------------------------------------------------------------------------------


def in_sigma(inputs, settings, scheduler, begins, **options):
    """A walk in x^ = x / a of a scheduler that scales the input of the model back."""
    predict = schedule_model(inputs, settings)
    start = inputs["x"] * (scheduler.sigmas[0].to(inputs["x"]) ** 2 + 1).sqrt()
    return walk(settings, begins, steps(scheduler, start, predict, arrays(inputs, "noise"), **options), scheduler_scales(scheduler))


def scheduler_scales(scheduler: Any) -> Callable[[Any, Any], Any]:
    """x from x^ at a time of the schedule."""
    sigmas = dict(zip(scheduler.timesteps.tolist(), scheduler.sigmas.tolist()))
    return lambda x, t: x / (sigmas[float(t)] ** 2 + 1) ** 0.5


def churn_of(settings: Mapping[str, Any]) -> dict[str, float]:
    return {name: settings[name] for name in ("s_churn", "s_tmin", "s_tmax", "s_noise")}


def without_snr(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The schedule for the schedulers that do not rescale betas."""
    refuse(LIBRARY, {"rescaled betas in this scheduler": settings["process"].get("rescale_betas_zero_snr", False)})
    return {key: value for key, value in settings["process"].items() if key != "rescale_betas_zero_snr"}


def euler(inputs, settings):
    if settings["process"]["name"] == "Schedule":
        scheduler = of_schedule(settings["process"], "EulerDiscreteScheduler", prediction_type=settings["prediction_type"])
        scheduler.set_timesteps(timesteps=settings["times"])
        return in_sigma(inputs, settings, scheduler, each_call, **churn_of(settings))
    scheduler = diffusers.EulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[*settings["times"], 0.0])
    model, x, draws = model_of_sigma(inputs, settings, "epsilon"), inputs["x"], arrays(inputs, "noise")
    place, states = sys.modules[type(scheduler).__module__], []
    with drawing(draws or [torch.ones_like(x)], (place, "randn_tensor")):
        for t, sigma in zip(scheduler.timesteps, settings["times"]):
            states.append(x)
            scheduler.scale_model_input(x, t)
            x = scheduler.step(model(x, sigma), t, x, **churn_of(settings)).prev_sample
    return outputs(settings, x, states)


def heun(inputs, settings):
    refuse(LIBRARY, {"Heun on this list of sigmas": settings["process"]["name"] != "Schedule", "Heun with churn": settings["s_churn"] > 0})
    scheduler = of_schedule(without_snr(settings), "HeunDiscreteScheduler", prediction_type=settings["prediction_type"])
    scheduler.set_timesteps(timesteps=settings["times"])
    return in_sigma(inputs, settings, scheduler, every_other)


def dpm_solver_singlestep(inputs, settings):
    """What it calls KDPM2 is DPM-Solver-2 with the stage in the middle. Its other single-step solver lists its stages as times."""
    refuse(LIBRARY, {f"single-step solver with stages {settings['stages']}": settings["stages"] != [0.5],
                     "single-step solver on this list of sigmas": settings["process"]["name"] != "Schedule"})
    make = lambda **spacing: of_schedule(
        without_snr(settings), "KDPM2DiscreteScheduler", prediction_type=settings["prediction_type"], **spacing)
    scheduler = listed(make, settings["times"])
    return in_sigma(inputs, settings, scheduler, every_other)


def edm_sampler(inputs, settings):
    """Euler alone. The first x has the scheduler's own standard deviation, as in its pipelines."""
    refuse(LIBRARY, {"Heun for EDM": settings["order"] == 2 and settings["n"] > 1})
    scheduler = diffusers.EDMEulerScheduler(settings["sigma_min"], settings["sigma_max"], sigma_data_of(settings), rho=settings["rho"])
    scheduler.set_timesteps(settings["n"])
    predict = preconditioned(scheduler, inputs, {**settings, "process": {"name": "EDM"}})
    start = inputs["start_noise"] * scheduler.init_noise_sigma
    return walk(settings, each_call, steps(scheduler, start, predict, arrays(inputs, "noise"), **churn_of(settings)), as_it_is)


def flow_matching_euler(inputs, settings):
    from minidiff.diffusion import StraightLine

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=settings["times"])
    model, x = model_of(inputs, settings, StraightLine()), inputs["x"]
    for t, sigma in zip(scheduler.timesteps, settings["times"]):
        x = scheduler.step(model(x, sigma), t, x).prev_sample
    return x


def ddim_inversion(inputs, settings):
    refuse(LIBRARY, {"inversion in sigmas": settings["process"]["name"] != "Schedule",
                     "inversion with corrections": settings["corrections"] > 0})
    scheduler, x = listed_upwards(settings), inputs["x_start"]
    told = {**settings, "prediction_type": "epsilon", "model": {"kind": "gaussian", **settings["model"]}}
    model = model_of(inputs, told, process_of(settings["process"]))
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, float(t)), t, x).prev_sample
    return x


def listed_upwards(settings: Mapping[str, Any]) -> Any:
    """The scheduler that walks from the data up, by one of its spacings."""
    times = settings["times"][::-1]
    for spacing, offset in product(("trailing", "leading"), (0, 1)):
        scheduler = of_schedule(settings["process"], "DDIMInverseScheduler", timestep_spacing=spacing, steps_offset=offset,
                                clip_sample=False, set_alpha_to_one=settings["set_alpha_to_one"])
        scheduler.set_timesteps(len(times))
        if scheduler.timesteps.tolist() == times:
            return scheduler
    raise Unsupported("diffusers' DDIMInverseScheduler has no list of these times")


OPERATIONS = {
    "ddpm": ddpm,
    "ddim": ddim,
    "dpm_solver_multistep": dpm_solver_multistep,
    "dpmpp_multistep": dpmpp_multistep,
    "unipc": unipc,
    "pndm": pndm,
    "euler": euler,
    "heun": heun,
    "dpm_solver_singlestep": dpm_solver_singlestep,
    "edm_sampler": edm_sampler,
    "flow_matching_euler": flow_matching_euler,
    "ddim_inversion": ddim_inversion,
}
