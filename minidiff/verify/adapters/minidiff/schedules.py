"""The schedules, times and sigmas of the suite in minidiff."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from minidiff import backend
from minidiff import diffusion as D
from minidiff.diffusion.posterior import posterior_log_variance
from minidiff.verify.adapters.minidiff import sde

OF_SCHEDULES = ("beta_schedule", "num_train_timesteps", "beta_start", "beta_end", "max_beta", "rescale_betas_zero_snr")
FORWARD_TABLES = (
    "alphas", "sqrt_alphas", "sqrt_betas", "alphas_cumprod_prev", "one_minus_alphas_cumprod", "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod", "log_alphas_cumprod", "log_one_minus_alphas_cumprod", "snr", "log_snrs",
)
POSTERIOR_TABLES = ("posterior_variance", "posterior_mean_coef1", "posterior_mean_coef2")


def host(x: Any) -> np.ndarray:
    """The values of a Tensor on the host, floats as float64: what schedules and times are made of."""
    values = backend.to_numpy(backend.to_array(x))
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def schedule_of(settings: Mapping[str, Any]) -> D.Schedule:
    """The schedule that the settings of a case describe."""
    return _made(*((name, settings[name]) for name in OF_SCHEDULES if name in settings))


@cache
def _made(*options: tuple[str, Any]) -> D.Schedule:
    """Made once: its tables are read-only, and many cases share it."""
    return D.make_schedule(**dict(options))


def process_of(settings: Mapping[str, Any]) -> D.Process:
    """The process that the settings of a case describe: a schedule, or one in continuous time."""
    return sde.process_of(settings) if "process" in settings else schedule_of(settings)


def read_tables(names: tuple[str, ...], schedule: D.Schedule, times: Any) -> dict[str, np.ndarray]:
    """Tables of a schedule at some times."""
    return {name: getattr(schedule, name)[times] for name in names}


def make_schedule(schedule: D.Schedule, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The two tables that define a schedule."""
    return read_tables(("betas", "alphas_cumprod"), schedule, settings["times"])


def schedule_tables(schedule: D.Schedule, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What the forward process is computed with."""
    return read_tables(FORWARD_TABLES, schedule, settings["times"])


def posterior_tables(schedule: D.Schedule, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What a step back is computed with."""
    log_variance = posterior_log_variance(schedule, settings["min_variance"])[settings["times"]]
    return read_tables(POSTERIOR_TABLES, schedule, settings["times"]) | {"posterior_log_variance": log_variance}


def respace(schedule: D.Schedule, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The schedule that stops only at some times."""
    return read_tables(("betas", "alphas_cumprod", "posterior_variance"), D.respace(schedule, settings["timesteps"]), slice(None))


def sigma_range(process: D.Process, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The smallest and the largest sigma of a process."""
    low, high = D.sigma_range(process)
    return {"sigma_min": np.array(low), "sigma_max": np.array(high)}


def _of(make: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda inputs, settings: function(make(settings), settings)


OPERATIONS = {
    "make_schedule": _of(schedule_of, make_schedule),
    "schedule_tables": _of(schedule_of, schedule_tables),
    "posterior_tables": _of(schedule_of, posterior_tables),
    "respace": _of(schedule_of, respace),
    "from_betas": lambda inputs, settings: read_tables(
        ("alphas_cumprod", "one_minus_alphas_cumprod"), D.Schedule.from_betas(host(inputs["betas"])), slice(None)),
    "from_alphas_cumprod": lambda inputs, settings: read_tables(
        ("betas", "posterior_variance"), D.Schedule.from_alphas_cumprod(host(inputs["alphas_cumprod"])), slice(None)),
    "timesteps": lambda inputs, settings: D.timesteps(**settings),
    "karras_sigmas": lambda inputs, settings: D.karras_sigmas(**settings),
    "exponential_sigmas": lambda inputs, settings: D.exponential_sigmas(**settings),
    "uniform_sigmas": lambda inputs, settings: D.uniform_sigmas(**settings),
    "sigma_range": _of(process_of, sigma_range),
    "times_of_sigmas": _of(process_of, lambda process, settings: D.times_of_sigmas(process, settings["sigmas"])),
}
