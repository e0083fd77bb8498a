"""Schedules, times, lists of sigmas and the forward process, as diffusers' schedulers have them."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_ddpm import betas_for_alpha_bar

from minidiff.verify.adapters.common import refuse

LIBRARY = "diffusers"
PREDICTIONS = ("epsilon", "sample", "v_prediction")


def betas_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a scheduler for the schedule that a case describes."""
    told = {name: settings[name] for name in ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "rescale_betas_zero_snr")
            if name in settings}
    if settings.get("max_beta", 0.999) != 0.999:
        told["trained_betas"] = betas_for_alpha_bar(settings["num_train_timesteps"], settings["max_beta"]).numpy()
    return told


def of_schedule(settings: Mapping[str, Any], name: str = "DDIMScheduler", **options: Any) -> Any:
    """A scheduler of the schedule that a case describes."""
    return getattr(diffusers, name)(**betas_of(settings), **options)


def make_schedule(inputs, settings):
    """The tables of `DDPMScheduler`, at the times asked for."""
    scheduler, times = of_schedule(settings, "DDPMScheduler"), settings["times"]
    return {"betas": scheduler.betas[times], "alphas_cumprod": scheduler.alphas_cumprod[times]}


def from_betas(inputs, settings):
    """1 - abar is no table there: its steps compute it from abar."""
    scheduler = diffusers.DDIMScheduler(len(inputs["betas"]), trained_betas=inputs["betas"].tolist())
    return {"alphas_cumprod": scheduler.alphas_cumprod, "one_minus_alphas_cumprod": 1 - scheduler.alphas_cumprod}


def timesteps(inputs, settings):
    """The list that `DDIMScheduler.set_timesteps` makes."""
    spacing = {name: settings[name] for name in ("num_train_timesteps", "timestep_spacing", "steps_offset")}
    scheduler = diffusers.DDIMScheduler(**spacing)
    scheduler.set_timesteps(settings["num_inference_steps"])
    return scheduler.timesteps


def sigmas_of_edm(sigma_schedule: str):
    """The list of EDMEulerScheduler."""
    def sigmas(inputs, settings):
        scheduler = diffusers.EDMEulerScheduler(
            settings["sigma_min"], settings["sigma_max"], sigma_schedule=sigma_schedule, rho=settings.get("rho", 7.0))
        scheduler.set_timesteps(settings["n"])
        return scheduler.sigmas
    return sigmas


def sigma_range(inputs, settings):
    """The ends of the list of `EulerDiscreteScheduler`, all times taken."""
    scheduler = of_schedule(settings, "EulerDiscreteScheduler")
    scheduler.set_timesteps(settings["num_train_timesteps"])
    return {"sigma_min": scheduler.sigmas[-2], "sigma_max": scheduler.sigmas[0]}


def times_of_sigmas(inputs, settings):
    """The times that `EulerDiscreteScheduler` gives to sigmas."""
    refuse(LIBRARY, {"times of this process": "process" in settings})
    scheduler = of_schedule(settings, "EulerDiscreteScheduler")
    scheduler.set_timesteps(sigmas=settings["sigmas"])
    return scheduler.timesteps


# -- forward -----------------------------------------------------------------------------------------------------------


def q_sample(inputs, settings):
    """A scheduler's `add_noise`."""
    return of_schedule(settings).add_noise(inputs["x_start"], inputs["noise"], inputs["t"])


def predict_v(inputs, settings):
    """A scheduler's `get_velocity`."""
    refuse(LIBRARY, {f"target {settings.get('prediction_type')}": settings.get("prediction_type", "v_prediction") != "v_prediction"})
    return of_schedule(settings).get_velocity(inputs["x_start"], inputs["noise"], inputs["t"])


def start_of(settings: Mapping[str, Any], model_output: Any, x: Any, t: Any, **options: Any) -> Any:
    """The x_0 that DDIM's step predicts; a step has one time, so the batch is taken apart."""
    scheduler = of_schedule(settings, **{"clip_sample": False, **options})
    scheduler.set_timesteps(settings["num_train_timesteps"])
    steps = [scheduler.step(output[None], int(time), state[None]) for output, time, state in zip(model_output, t, x)]
    return torch.cat([step.pred_original_sample for step in steps])


def predict_start(prediction: str, prediction_type: str):
    """The operation that finds x_0 from a prediction, an input of this name."""
    return lambda inputs, settings: start_of(settings, inputs[prediction], inputs["x_t"], inputs["t"], prediction_type=prediction_type)


def convert(inputs, settings):
    """To x_0, the only kind that a step shows."""
    given, asked = settings["from_type"], settings["to_type"]
    refuse(LIBRARY, {f"conversion from {given} to {asked}": asked != "sample" or given not in PREDICTIONS})
    return start_of(settings, inputs["prediction"], inputs["x_t"], inputs["t"], prediction_type=given)


def threshold(inputs, **options):
    """What a step makes of a predicted x_0."""
    x = inputs["x_start"]
    settings = {"num_train_timesteps": 1000}
    return start_of(settings, x, x, [500] * len(x), prediction_type="sample", **options)


def dynamic_threshold(inputs, settings):
    """The thresholding of a step; a limit that no image reaches stands for none."""
    limit = 1e30 if settings["max_value"] is None else settings["max_value"]
    return threshold(inputs, thresholding=True, dynamic_thresholding_ratio=settings["ratio"], sample_max_value=limit)


def edm_preconditioning(inputs, settings):
    """The coefficients of `EDMEulerScheduler`: what it makes of 1 and 0."""
    sigma, scheduler = inputs["sigma"], diffusers.EDMEulerScheduler(sigma_data=settings["sigma_data"])
    one, zero = torch.ones_like(sigma), torch.zeros_like(sigma)
    return {"c_skip": scheduler.precondition_outputs(one, zero, sigma), "c_out": scheduler.precondition_outputs(zero, one, sigma),
            "c_in": scheduler.precondition_inputs(one, sigma), "c_noise": scheduler.precondition_noise(sigma)}


def edm_precondition(inputs, settings):
    """What `EDMEulerScheduler` puts in, and what it makes of the answer."""
    x, scheduler = inputs["x"], diffusers.EDMEulerScheduler(sigma_data=settings["sigma_data"])
    sigma = inputs["sigma"].reshape(-1, *[1] * (x.ndim - 1))
    return {"network_input": scheduler.precondition_inputs(x, sigma), "c_noise": scheduler.precondition_noise(inputs["sigma"]),
            "output": scheduler.precondition_outputs(x, inputs["network_output"], sigma)}


# -- guidance and editing ----------------------------------------------------------------------------------------------


def classifier_free_guidance(inputs, settings):
    """`ClassifierFreeGuidance`, one of the guiders."""
    guider = diffusers.ClassifierFreeGuidance(settings["guidance_scale"], settings["guidance_rescale"])
    return guider.forward(inputs["conditional"], inputs["unconditional"]).pred


def rescale_guidance(inputs, settings):
    """`rescale_noise_cfg` of the pipelines."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    return rescale_noise_cfg(inputs["guided"], inputs["conditional"], settings["guidance_rescale"])


def sdedit_times(inputs, settings):
    """What its image-to-image pipelines keep of the times."""
    from diffusers import StableDiffusionImg2ImgPipeline

    times = inputs["times"]
    pipeline = SimpleNamespace(scheduler=SimpleNamespace(timesteps=times, order=1))
    return StableDiffusionImg2ImgPipeline.get_timesteps(pipeline, len(times), settings["strength"], times.device)[0]


OPERATIONS = {
    "make_schedule": make_schedule,
    "from_betas": from_betas,
    "timesteps": timesteps,
    "karras_sigmas": sigmas_of_edm("karras"),
    "exponential_sigmas": sigmas_of_edm("exponential"),
    "sigma_range": sigma_range,
    "times_of_sigmas": times_of_sigmas,
    "q_sample": q_sample,
    "predict_v": predict_v,
    "training_target": predict_v,
    "predict_start_from_noise": predict_start("noise", "epsilon"),
    "predict_start_from_v": predict_start("v", "v_prediction"),
    "convert": convert,
    "static_threshold": lambda inputs, settings: threshold(inputs, clip_sample=True, clip_sample_range=settings["max_value"]),
    "dynamic_threshold": dynamic_threshold,
    "edm_preconditioning": edm_preconditioning,
    "edm_precondition": edm_precondition,
    "classifier_free_guidance": classifier_free_guidance,
    "rescale_guidance": rescale_guidance,
    "sdedit_times": sdedit_times,
}
