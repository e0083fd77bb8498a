"""denoising-diffusion-pytorch as an implementation: GaussianDiffusion, LearnedGaussianDiffusion and ElucidatedDiffusion.

They sample with a network of their own; here it is one whose answers are given, or known. Their files import what training needs (images,
averages, metrics): where that is not installed, nothing stands in its place, for nothing here calls it. What they cannot be set to: their
schedules have fixed ends, adapted to T; their samplers always clip; DDIM has one list of times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from minidiff.verify.adapters.common import alone, drawing, model_of, model_of_sigma, outputs, refuse
from minidiff.verify.adapters.minidiff.samplers import arrays, process_of
from minidiff.verify.adapters.torch import Torch

LIBRARY = "denoising-diffusion-pytorch"
PACKAGE = "denoising_diffusion_pytorch"
OBJECTIVES = {"epsilon": "pred_noise", "sample": "pred_x0", "v_prediction": "pred_v"}
SCHEDULES = {"linear": "linear", "squaredcos_cap_v2": "cosine", "sigmoid": "sigmoid"}
FIXED = {"beta_start": 1e-4, "beta_end": 0.02, "max_beta": 0.999, "rescale_betas_zero_snr": False}
"""What its schedules cannot be set to otherwise."""


@cache
def load(name: str) -> Any:
    """One of its files, without its progress bars."""
    module = alone(PACKAGE, name, {
        "torchvision": {"transforms": None, "utils": None}, "ema_pytorch": {"EMA": None}, "accelerate": {"Accelerator": None}})
    module.tqdm = lambda steps, **told: steps
    return module


class Answering(torch.nn.Module):
    """A network for it: a function of (x, t) that is not trained."""

    channels = 1
    self_condition = False

    def __init__(self, function: Callable[[Any, Any], Any], learned: bool = False) -> None:
        super().__init__()
        self.function, self.out_dim, self.random_or_learned_sinusoidal_cond = function, 1 + learned, False
        self.place = torch.nn.Parameter(torch.zeros(()))  # its device is asked for

    def forward(self, x: Any, t: Any, condition: Any = None) -> Any:
        return self.function(x, t)


def silent(x: Any, t: Any) -> Any:
    raise AssertionError("a table does not ask the network")


def diffusion(settings: Mapping[str, Any], function: Callable[[Any, Any], Any] = silent, objective: str = "epsilon", learned: bool = False,
              **options: Any) -> Any:
    """The GaussianDiffusion of the schedule that a case describes, around this network."""
    name = settings["beta_schedule"]
    refuse(LIBRARY, {f"schedule {name}": name not in SCHEDULES, f"model that predicts {objective}": objective not in OBJECTIVES}
           | {f"{key} of {settings.get(key)}": settings.get(key, value) != value for key, value in FIXED.items()})
    kind = load("learned_gaussian_diffusion").LearnedGaussianDiffusion if learned else load(PACKAGE).GaussianDiffusion
    return kind(Answering(function, learned), image_size=1, timesteps=settings["num_train_timesteps"], beta_schedule=SCHEDULES[name],
                objective=OBJECTIVES[objective], auto_normalize=False, **options)


# -- tables and formulas -----------------------------------------------------------------------------------------------


def make_schedule(inputs, settings):
    tables, times = diffusion(settings), settings["times"]
    return {"betas": tables.betas[times], "alphas_cumprod": tables.alphas_cumprod[times]}


def posterior_tables(inputs, settings):
    tables, times = diffusion(settings), settings["times"]
    return {"posterior_log_variance": tables.posterior_log_variance_clipped[times],
            **{name: getattr(tables, name)[times] for name in ("posterior_variance", "posterior_mean_coef1", "posterior_mean_coef2")}}


def formula(method: str, *names: str) -> Callable[..., Any]:
    """One of its methods of arrays."""
    return lambda inputs, settings: getattr(diffusion(settings), method)(*(inputs[name] for name in names))


def moments(x: Any, found: Any) -> dict[str, Any]:
    """(mean, variance, log variance), all of the shape of x."""
    return {name: values.expand_as(x) for name, values in zip(("mean", "variance", "log_variance"), found)}


def q_posterior_mean_variance(inputs, settings):
    return moments(inputs["x_t"], diffusion(settings).q_posterior(inputs["x_start"], inputs["x_t"], inputs["t"]))


def p_mean_variance(inputs, settings):
    kind, x = settings["variance_type"], inputs["x_t"]
    refuse(LIBRARY, {f"variance {kind}": kind not in ("fixed_small", "learned_range")})
    own = diffusion(settings, lambda x, t: inputs["model_output"], settings["prediction_type"], learned=kind == "learned_range")
    *found, start = own.p_mean_variance(x=x, t=inputs["t"], clip_denoised=settings["clip_denoised"])
    return moments(x, found) | {"pred_xstart": start}


def min_snr_weight(inputs, settings):
    own = diffusion(settings, objective=settings["prediction_type"], min_snr_loss_weight=True, min_snr_gamma=settings["gamma"])
    return own.loss_weight[inputs["t"]]


def p_losses(inputs, settings, loss_reduction: str):
    """It takes images; the last dimension here is one of size 1."""
    refuse(LIBRARY, {"loss of a continuous process": "process" in settings, "loss with a weight that is given": "weight" in inputs})
    own = diffusion(settings, lambda x, t: inputs["model_output"][..., None], settings["prediction_type"])
    return own.p_losses(inputs["x_start"][..., None], inputs["t"], inputs["noise"][..., None], loss_reduction=loss_reduction)


def discretized_gaussian_log_likelihood(inputs, settings):
    """With the approximate distribution function alone."""
    refuse(LIBRARY, {"exact distribution function of the decoder": not settings["approximate"]})
    names = ("means", "log_scales")
    return load("learned_gaussian_diffusion").discretized_gaussian_log_likelihood(inputs["x"], **{name: inputs[name] for name in names})


def timestep_embedding(inputs, settings):
    told = {"flip_sin_to_cos": False, "downscale_freq_shift": 1.0, "scale": 1.0}
    refuse(LIBRARY, {f"embedding with {name} {settings[name]}": settings[name] != value for name, value in told.items()})
    return load(PACKAGE).SinusoidalPosEmb(settings["dim"], settings["max_period"])(inputs["timesteps"])


# -- walks -------------------------------------------------------------------------------------------------------------


@contextmanager
def starting(x: Any, noise: list[Any]) -> Iterator[None]:
    """It draws the first x itself, and noise in every step, used or not."""
    with drawing([x], (torch, "randn")), drawing(noise or [torch.zeros_like(x)], (torch, "randn_like")):
        yield


def ddim_times(T: int, S: int) -> list[int]:
    """The times of its DDIM, told by whom it asks."""
    asked = []
    settings = {"beta_schedule": "linear", "num_train_timesteps": T}
    own = diffusion(settings, lambda x, t: asked.append(int(t[0])) or x, sampling_timesteps=S)
    own.ddim_sample((1, 1, 1, 1))
    return asked


def timesteps(inputs, settings):
    refuse(LIBRARY, {f"spacing {settings['timestep_spacing']}": settings["timestep_spacing"] != "trailing"})
    return torch.tensor(ddim_times(settings["num_train_timesteps"], settings["num_inference_steps"]))


def ddim(inputs, settings):
    """Its list is trailing, cut off instead of rounded; a case whose list is another is not its."""
    process, times = settings["process"], settings["times"]
    refuse(LIBRARY, {"walk in sigmas": process["name"] != "Schedule", "walk that ends at time 0": not settings["set_alpha_to_one"]})
    T, S = process["num_train_timesteps"], len(times)
    found = model_of(inputs, settings, process_of(process))
    own = diffusion(process, lambda x, t: found(x, int(t[0])), settings["prediction_type"], sampling_timesteps=S,
                    ddim_sampling_eta=settings["eta"])
    refuse(LIBRARY, {"DDIM on this list of times": max(abs(a - b) for a, b in zip(ddim_times(T, S), times)) > 1})
    x = inputs["x"]
    with starting(x, arrays(inputs, "noise")):
        states = own.ddim_sample(tuple(x.shape), return_all_timesteps=True)
    return outputs(settings, states[:, -1], list(states[:, :-1].unbind(1)))


# -- EDM ---------------------------------------------------------------------------------------------------------------


def elucidated(function: Callable[[Any, Any], Any] = silent, **options: Any) -> Any:
    """The ElucidatedDiffusion around this network."""
    network = Answering(function)
    network.random_or_learned_sinusoidal_cond = True
    return load("elucidated_diffusion").ElucidatedDiffusion(network, image_size=1, **options)


def karras_sigmas(inputs, settings):
    return elucidated(**{name: settings[name] for name in ("sigma_min", "sigma_max", "rho")}).sample_schedule(settings["n"])


def edm_preconditioning(inputs, settings):
    own = elucidated(sigma_data=settings["sigma_data"])
    return {name: getattr(own, name)(inputs["sigma"]) for name in ("c_skip", "c_out", "c_in", "c_noise")}


def edm_precondition(inputs, settings):
    """It takes images."""
    asked, shape = {}, inputs["x"].shape
    as_image = lambda x: x.reshape(len(x), -1, 1, 1)

    def network(x: Any, c_noise: Any) -> Any:
        asked.update(network_input=x.reshape(shape), c_noise=c_noise)
        return as_image(inputs["network_output"])

    own = elucidated(network, sigma_data=settings["sigma_data"])
    return {"output": own.preconditioned_network_forward(as_image(inputs["x"]), inputs["sigma"]).reshape(shape), **asked}


def edm_weight(inputs, settings):
    refuse(LIBRARY, {"this weight for another prediction than x_0": settings["prediction_type"] != "sample",
                     "this weight for a process with signal": settings["process"]["name"] != "EDM"})
    return elucidated(sigma_data=settings["sigma_data"]).loss_weight(inputs["t"])


def edm_sampler(inputs, settings):
    """Heun, with s_churn in every case; samples are clipped and moved to [0, 1] at the end, which is undone here."""
    refuse(LIBRARY, {"Euler for EDM": settings["order"] == 1, "sigma for a single step but NaN": settings["n"] == 1})
    x = inputs["start_noise"]
    image = (len(x), x[0].numel(), 1, 1)
    denoise = model_of_sigma(inputs, {**settings, "process": {"name": "EDM"}}, "sample")
    churn = {f"S_{name}": settings[f"s_{name}"] for name in ("churn", "tmin", "tmax", "noise")}

    def network(scaled: Any, c_noise: Any) -> Any:
        sigma = (4 * c_noise.double()).exp()[0].to(scaled)
        noisy = scaled / own.c_in(sigma)
        start = denoise(noisy.reshape(x.shape), float(sigma)).reshape(image)
        return (start - own.c_skip(sigma) * noisy) / own.c_out(sigma)

    own = elucidated(network, channels=image[1], **churn, **{name: settings[name] for name in ("sigma_min", "sigma_max", "rho")})
    sigmas = own.sample_schedule(settings["n"])[:-1].tolist()
    churned = iter(arrays(inputs, "noise"))
    used = [settings["s_churn"] > 0 and settings["s_tmin"] <= sigma <= settings["s_tmax"] for sigma in sigmas]
    noise = [next(churned).reshape(image) if use else torch.zeros(image) for use in used]
    with drawing([x.reshape(image), *noise], (torch, "randn")):
        return 2 * own.sample(len(x), settings["n"], clamp=False).reshape(x.shape) - 1


OPERATIONS = {
    "make_schedule": make_schedule,
    "posterior_tables": posterior_tables,
    "timesteps": timesteps,
    "q_sample": formula("q_sample", "x_start", "t", "noise"),
    "predict_start_from_noise": formula("predict_start_from_noise", "x_t", "t", "noise"),
    "predict_noise_from_start": formula("predict_noise_from_start", "x_t", "t", "x_start"),
    "predict_v": formula("predict_v", "x_start", "t", "noise"),
    "predict_start_from_v": formula("predict_start_from_v", "x_t", "t", "v"),
    "q_posterior_mean_variance": q_posterior_mean_variance,
    "p_mean_variance": p_mean_variance,
    "min_snr_weight": min_snr_weight,
    "simple_loss": lambda inputs, settings: p_losses(inputs, settings, "mean"),
    "training_losses": lambda inputs, settings: p_losses(inputs, settings, "none"),
    "normal_kl": lambda inputs, settings: load("learned_gaussian_diffusion").normal_kl(**inputs),
    "discretized_gaussian_log_likelihood": discretized_gaussian_log_likelihood,
    "timestep_embedding": timestep_embedding,
    "ddim": ddim,
    "karras_sigmas": karras_sigmas,
    "edm_preconditioning": edm_preconditioning,
    "edm_precondition": edm_precondition,
    "edm_weight": edm_weight,
    "edm_sampler": edm_sampler,
}


class DenoisingDiffusion(Torch):
    """denoising-diffusion-pytorch on the CPU; its tables are float32."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__("cpu", dtype)
        load(PACKAGE)
        self.name, self.operations = f"{LIBRARY} {version(LIBRARY)} {dtype}", OPERATIONS

    def gradients(self, outputs: Any, inputs: Any) -> Any:
        """Those of its losses; none of its samplers, which do not record them."""
        return super().gradients(outputs, inputs) if all(output.requires_grad for output, _ in outputs) else []


def implementation(dtype: str = "float32") -> DenoisingDiffusion:
    """denoising-diffusion-pytorch, computing in this dtype."""
    return DenoisingDiffusion(dtype)
