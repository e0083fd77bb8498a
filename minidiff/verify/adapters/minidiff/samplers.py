"""The samplers of the suite in minidiff: on data whose perfect model is known, with a network, or with the model's answers given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from minidiff import functional as F
from minidiff.diffusion import (
    DDIM,
    DDPM,
    EDM,
    REVERSE_DIFFUSION,
    Ancestral,
    AnnealedLangevin,
    Gaussian,
    Karras,
    LangevinCorrector,
    Mixture,
    Multistep,
    Process,
    Pseudo,
    Sampler,
    SingleStep,
    StraightLine,
    UniPC,
    edm_precondition,
    karras_sigmas,
    langevin_dynamics,
    make_schedule,
    predictor_corrector,
    sample,
    score_function,
    trajectory,
)
from minidiff.verify.adapters.minidiff.networks import network_of

OPTIONS = ("prediction_type", "clip_denoised", "rederive_epsilon", "set_alpha_to_one")
PREDICTORS = {"reverse_diffusion": REVERSE_DIFFUSION, "ddpm": DDPM, "ddim": DDIM}


def process_of(told: Mapping[str, Any]) -> Process:
    """The process that a setting describes."""
    return _process(json.dumps(told))


@lru_cache(maxsize=16)
def _process(told: str) -> Process:
    options = json.loads(told)
    name = options.pop("name")
    return EDM if name == "EDM" else make_schedule(**options)


def model_of(inputs: Mapping[str, Any], settings: Mapping[str, Any], process: Process) -> Callable[[Any, Any], Any]:
    """The model that a setting describes: perfect for known data, a network, or one whose answers are an input."""
    options = dict(settings["model"])
    kind = options.pop("kind")
    if kind == "unet":
        sigma_data = options.pop("sigma_data", None)
        network = network_of(inputs, {"kind": kind, **options})
        return network if sigma_data is None else edm_precondition(network, sigma_data)
    if kind == "given":
        answers = iter(arrays(inputs, "model_outputs"))
        return lambda x, t: next(answers)
    return {"gaussian": Gaussian, "mixture": Mixture}[kind](**options).model(process, settings["prediction_type"])


def arrays(inputs: Mapping[str, Any], name: str) -> list[Any]:
    """The arrays that are stacked in an input; none, if it is not there."""
    return [inputs[name][i] for i in range(len(inputs[name]))] if name in inputs else []


def walk(inputs: Mapping[str, Any], settings: Mapping[str, Any], sampler: Sampler) -> dict[str, Any]:
    """A whole walk of a sampler: the end, and every x on the way if they are asked for."""
    process = process_of(settings["process"])
    arguments = (model_of(inputs, settings, process), process, inputs["x"], settings["times"], sampler)
    options = {name: settings[name] for name in OPTIONS if name in settings}
    options["noise"] = arrays(inputs, "noise")
    if not settings.get("states"):
        return {"output": sample(*arguments, **options)}
    states = trajectory(*arguments, **options).states
    return {"output": states[-1], "states": F.stack(states)}


def sampler_of(operation: str, settings: Mapping[str, Any]) -> Sampler:
    """The sampler of an operation in FAMILIES."""
    make, names = FAMILIES[operation]
    return make(**{name: tuple(settings[name]) if isinstance(settings[name], list) else settings[name] for name in names})


def flow_matching_euler(inputs, settings):
    process = StraightLine()
    model = model_of(inputs, settings, process)
    return sample(model, process, inputs["x"], settings["times"], DDIM, prediction_type=settings["prediction_type"])


def edm_sampler(inputs, settings):
    sigmas = karras_sigmas(**{name: settings[name] for name in ("n", "sigma_min", "sigma_max", "rho")})
    sampler = Karras(**{name: settings[name] for name in ("order", "s_churn", "s_tmin", "s_tmax", "s_noise")})
    model = model_of(inputs, settings, EDM)
    return sample(model, EDM, float(sigmas[0]) * inputs["start_noise"], sigmas[:-1], sampler,
                  prediction_type=settings["prediction_type"], noise=arrays(inputs, "noise"))


def _langevin_dynamics(inputs, settings):
    process = process_of(settings["process"])
    score = score_function(model_of(inputs, settings, process), process, settings["prediction_type"])
    return langevin_dynamics(lambda x: score(x, settings["time"]), inputs["x"], settings["step_size"], settings["steps"],
                             noise=arrays(inputs, "noise"))


def _predictor_corrector(inputs, settings):
    process = process_of(settings["process"])
    corrector = LangevinCorrector(settings["snr"], settings["steps"], settings["batch_mean"])
    return predictor_corrector(
        model_of(inputs, settings, process), process, inputs["x"], settings["times"], PREDICTORS[settings["predictor"]], corrector,
        noise=arrays(inputs, "noise"), corrector_noise=arrays(inputs, "corrector_noise"), prediction_type=settings["prediction_type"],
        set_alpha_to_one=settings["set_alpha_to_one"])


CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")

FAMILIES = {
    "ddpm": (partial(Ancestral, 1.0), ("variance_type",)),
    "ddim": (Ancestral, ("eta",)),
    "euler": (partial(Karras, 1), CHURN),
    "heun": (partial(Karras, 2), CHURN),
    "dpm_solver_singlestep": (partial(SingleStep, predicts="epsilon"), ("stages",)),
    "dpmpp_singlestep": (SingleStep, ("stages",)),
    "ancestral_singlestep": (SingleStep, ("stages", "predicts", "eta")),
    "dpmpp_sde": (partial(SingleStep, noisy_stages=True), ("stages", "eta")),
    "dpm_solver_multistep": (partial(Multistep, predicts="epsilon"), ("order", "solver_type", "lower_order_final")),
    "dpmpp_multistep": (Multistep, ("order", "eta", "solver_type", "lower_order_final")),
    "unipc": (UniPC, ("order", "predicts", "solver_type", "lower_order_final")),
    "pndm": (Pseudo, ("skip_prk_steps",)),
    "annealed_langevin": (AnnealedLangevin, ("step_size", "steps", "denoise")),
}
"""How the sampler of an operation is made, and of which settings."""

OPERATIONS = {
    **{name: lambda inputs, settings, name=name: walk(inputs, settings, sampler_of(name, settings)) for name in FAMILIES},
    "flow_matching_euler": flow_matching_euler,
    "edm_sampler": edm_sampler,
    "langevin_dynamics": _langevin_dynamics,
    "predictor_corrector": _predictor_corrector,
}
