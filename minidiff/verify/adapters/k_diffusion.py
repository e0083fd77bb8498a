"""k-diffusion as an implementation: its lists of sigmas and its samplers, around its own wrappers of models with a schedule.

Its samplers walk in x^ = x / a and sigma = s / a. A schedule is walked as its users walk one: the model wrapped in
`DiscreteEpsDDPMDenoiser` or `DiscreteVDDPMDenoiser`, the sigmas those of the times. Only its files of samplers and of wrappers are read:
the package as a whole imports what its training and its image metrics need, which is more than runs everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import torch

from minidiff.verify.adapters.common import alone, drawing, model_of, model_of_sigma, outputs, refuse
from minidiff.verify.adapters.minidiff.samplers import arrays, process_of
from minidiff.verify.adapters.minidiff.schedules import schedule_of
from minidiff.verify.adapters.torch import Torch

LIBRARY = "k-diffusion"


UTILITIES = {"append_dims": lambda x, ndim: x.reshape(*x.shape, *[1] * (ndim - x.ndim))}
"""The one helper that the two files call."""


@cache
def load(name: str) -> Any:
    """The module `k_diffusion.<name>`, sampling or external; its ODE solver and its Brownian tree are empty: nothing here calls them."""
    return alone("k_diffusion", name, {"k_diffusion.utils": UTILITIES, "torchdiffeq": {"odeint": None}, "torchsde": {}})


# -- sigmas ------------------------------------------------------------------------------------------------------------


def discrete(process: Any, model: Callable[..., Any] | None = None, prediction_type: str = "epsilon", dtype: Any = torch.float32) -> Any:
    """Its wrapper of a model with a schedule, in whose sigmas it walks; times between those of the schedule are left as they are."""
    wrappers = {"epsilon": "DiscreteEpsDDPMDenoiser", "v_prediction": "DiscreteVDDPMDenoiser"}
    refuse(LIBRARY, {f"wrapper of a schedule's model that predicts {prediction_type}": prediction_type not in wrappers})
    table = torch.tensor(process.alphas_cumprod, dtype=dtype)
    return getattr(load("external"), wrappers[prediction_type])(model, table, quantize=False)


def sigma_range(inputs, settings):
    """The ends of the wrapper's list."""
    sigmas = discrete(schedule_of(settings))
    return {"sigma_min": sigmas.sigma_min, "sigma_max": sigmas.sigma_max}


def times_of_sigmas(inputs, settings):
    """The wrapper's `sigma_to_t`."""
    refuse(LIBRARY, {"times of this process": "process" in settings})
    return discrete(schedule_of(settings)).sigma_to_t(torch.tensor(settings["sigmas"][:-1]))


# -- walks -------------------------------------------------------------------------------------------------------------


class Walk:
    """What a case of a sampler gives, as k-diffusion takes it: a denoiser, x^, sigmas with a 0 at the end, and the noise."""

    def __init__(self, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        refuse(LIBRARY, {"clipping of the predicted x_0": settings.get("clip_denoised", False),
                         "walk that ends at time 0 of a schedule": not settings.get("set_alpha_to_one", True)})
        process, x = settings["process"], inputs["x"]
        self.settings, self.noise, self.states = settings, arrays(inputs, "noise"), []
        times = torch.tensor(settings["times"], dtype=x.dtype, device=x.device)
        if process["name"] == "EDM":
            predict = model_of_sigma(inputs, settings, "sample")
            self.denoise = lambda x, sigma: predict(x, float(sigma.flatten()[0]))
            self.scales, sigmas = torch.ones_like(times), times
        else:
            schedule = process_of(process)
            last = process["num_train_timesteps"] - 1
            refuse(LIBRARY, {"walk from an infinite sigma": process.get("rescale_betas_zero_snr", False) and last in settings["times"]})
            model = model_of(inputs, settings, schedule)
            self.denoise = discrete(schedule, model, settings["prediction_type"], x.dtype).to(x.device)
            sigmas = self.denoise.t_to_sigma(times).to(x)
            self.scales = 1 / (1 + sigmas**2).sqrt()
        self.sigmas = torch.cat([sigmas, sigmas.new_zeros(1)])
        self.x = x / self.scales[0]

    def __call__(self, sampler: str, **options: Any) -> dict[str, Any]:
        """The walk of one of its samplers."""
        keep = lambda told: self.states.append(self.scales[told["i"]] * told["x"])
        end = getattr(load("sampling"), sampler)(self.denoise, self.x, self.sigmas, disable=True, callback=keep, **options)
        return outputs(self.settings, end, self.states)

    def with_noise(self, sampler: str, **options: Any) -> dict[str, Any]:
        """The same with fresh noise; a sampler asks for it where none is added, too."""
        draws = iter(self.noise)
        return self(sampler, noise_sampler=lambda sigma, sigma_next: next(draws) if self.noise else 0.0, **options)


def churned(sampler: str) -> Callable[..., Any]:
    """Euler and Heun: it draws from `randn_like` in every step, and uses it where there is churn."""
    def run(inputs, settings):
        walk = Walk(inputs, settings)
        churn = {name: settings[name] for name in ("s_churn", "s_tmin", "s_tmax", "s_noise")}
        used = [bool(churn["s_churn"]) and churn["s_tmin"] <= sigma <= churn["s_tmax"] for sigma in walk.sigmas[:-1]]
        draws = iter(walk.noise)
        every = [next(draws) if use else torch.zeros_like(walk.x) for use in used]
        with drawing(every, (torch, "randn_like")):
            return walk(sampler, **churn)
    return run


def edm_sampler(inputs, settings):
    """Algorithm 2 of Karras et al. is its sample_heun, with its own list of sigmas."""
    sigmas = load("sampling").get_sigmas_karras(*(settings[name] for name in ("n", "sigma_min", "sigma_max", "rho")))
    told = {**settings, "process": {"name": "EDM"}, "times": sigmas[:-1].tolist()}
    start = {**inputs, "x": sigmas[0] * inputs["start_noise"]}
    return churned({1: "sample_euler", 2: "sample_heun"}[settings["order"]])(start, told)


def ddpm(inputs, settings):
    """DDPM with the posterior's variance is its Euler ancestral."""
    refuse(LIBRARY, {f"variance {settings['variance_type']}": settings["variance_type"] != "fixed_small"})
    return Walk(inputs, settings).with_noise("sample_euler_ancestral")


def ddim(inputs, settings):
    """DDIM is its Euler; with eta, its Euler ancestral."""
    walk = Walk(inputs, settings)
    return walk.with_noise("sample_euler_ancestral", eta=settings["eta"]) if settings["eta"] else walk("sample_euler")


def dpm_solver_singlestep(inputs, settings):
    """Its class for DPM-Solver-1, -2 and -3, a step at a time; t is -log(sigma). The step to the data is the denoiser."""
    walk, stages = Walk(inputs, settings), settings["stages"]
    solver = load("sampling").DPMSolver(walk.denoise)
    step = getattr(solver, f"dpm_solver_{len(stages) + 1}_step")
    x = walk.x
    for scale, (t, t_next) in zip(walk.scales, pairwise(-walk.sigmas[:-1].log())):
        walk.states.append(scale * x)
        x, _ = step(x, t, t_next, **dict(zip(("r1", "r2"), stages)))
    walk.states.append(walk.scales[-1] * x)
    return outputs(settings, walk.denoise(x, walk.sigmas[-2] * x.new_ones(len(x))), walk.states)


def at_the_middle(walk: Walk) -> Walk:
    """The walk, if its stage is in the middle, where the samplers with one stage have theirs."""
    refuse(LIBRARY, {f"stages {walk.settings['stages']}": walk.settings["stages"] != [0.5]})
    return walk


def dpmpp_singlestep(inputs, settings):
    """Its sample_dpmpp_2s_ancestral without noise."""
    return at_the_middle(Walk(inputs, settings)).with_noise("sample_dpmpp_2s_ancestral", eta=0.0)


def ancestral_singlestep(inputs, settings):
    """Its sample_dpm_2_ancestral or sample_dpmpp_2s_ancestral."""
    sampler = {"epsilon": "sample_dpm_2_ancestral", "sample": "sample_dpmpp_2s_ancestral"}[settings["predicts"]]
    return at_the_middle(Walk(inputs, settings)).with_noise(sampler, eta=settings["eta"])


def unit_increments(noise: Iterable[torch.Tensor]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The noise sampler of `sample_dpmpp_sde` from independent draws, two a step.

    It is asked for increments of one Brownian motion, made unit: first from the start of a step to its middle, then to its end.
    """
    draws, last = iter(noise), []

    def increment(sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        if not last:
            last.append((sigma, sigma_next, next(draws)))
            return last[0][2]
        start, middle, z = last.pop()
        shared = (start - middle) / (sigma - sigma_next)
        return shared.sqrt() * z + (1 - shared).sqrt() * next(draws)

    return increment


def dpmpp_sde(inputs, settings):
    """Its sample_dpmpp_sde, with the noise of a case as increments of a Brownian motion."""
    walk = Walk(inputs, settings)
    return walk("sample_dpmpp_sde", eta=settings["eta"], r=settings["stages"][0], noise_sampler=unit_increments(walk.noise))


def dpmpp_multistep(inputs, settings):
    """Of order 3 it has one formula, of order 2 two; it has no list whose last steps are of lower order."""
    walk, order, eta, solver_type = Walk(inputs, settings), settings["order"], settings["eta"], settings["solver_type"]
    refuse(LIBRARY, {f"order {order}": order not in (2, 3)})
    if order == 3:
        return walk.with_noise("sample_dpmpp_3m_sde", eta=eta)
    if eta == 0 and solver_type == "midpoint":
        return walk("sample_dpmpp_2m")
    return walk.with_noise("sample_dpmpp_2m_sde", eta=eta, solver_type="midpoint" if solver_type == "midpoint" else "heun")


OPERATIONS = {
    "karras_sigmas": lambda inputs, settings: load("sampling").get_sigmas_karras(**settings),
    "exponential_sigmas": lambda inputs, settings: load("sampling").get_sigmas_exponential(**settings),
    "sigma_range": sigma_range,
    "times_of_sigmas": times_of_sigmas,
    "euler": churned("sample_euler"),
    "heun": churned("sample_heun"),
    "edm_sampler": edm_sampler,
    "ddpm": ddpm,
    "ddim": ddim,
    "dpm_solver_singlestep": dpm_solver_singlestep,
    "dpmpp_singlestep": dpmpp_singlestep,
    "ancestral_singlestep": ancestral_singlestep,
    "dpmpp_sde": dpmpp_sde,
    "dpmpp_multistep": dpmpp_multistep,
}


class KDiffusion(Torch):
    """k-diffusion on a device, in float32 or float64."""

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(device, dtype)
        load("sampling")
        self.name, self.operations = f"k-diffusion {version('k-diffusion')} {dtype} on {device}", OPERATIONS

    def gradients(self, outputs: Sequence[tuple[Any, Any]], inputs: Sequence[Any]) -> Sequence[Any]:
        """None: its samplers do not record them."""
        return []


def implementation(device: str = "cpu", dtype: str = "float32") -> KDiffusion:
    """k-diffusion on this device, computing in this dtype."""
    return KDiffusion(device, dtype)
