"""The forward process, the posterior and the names of predictions in minidiff.

A function without a docstring calls the function of its name in `minidiff.diffusion` with what the case gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minidiff import diffusion as D
from minidiff.verify.adapters.minidiff.schedules import host, process_of, schedule_of


def full(x: Any, *values: Any) -> tuple[Any, ...]:
    """Numbers, or one for each of a batch, in the shape of the batch x."""
    return tuple(0 * x + value for value in values)


def moments(x: Any, found: tuple[Any, Any, Any]) -> dict[str, Any]:
    """(mean, variance, log variance) by name, all like x."""
    mean, variance, log_variance = found
    return dict(zip(("mean", "variance", "log_variance"), (mean, *full(x, variance, log_variance))))


def times(inputs: dict[str, Any], name: str = "t") -> Any:
    """The times of a case, on the host."""
    return host(inputs[name])


def q_step(schedule, inputs, settings):
    return D.q_step(schedule, inputs["x_prev"], times(inputs), inputs["noise"])


def q_sample(process, inputs, settings):
    return D.q_sample(process, inputs["x_start"], times(inputs), inputs["noise"])


def q_mean_variance(process, inputs, settings):
    return moments(inputs["x_start"], D.q_mean_variance(process, inputs["x_start"], times(inputs)))


def q_sample_between(process, inputs, settings):
    return D.q_sample_between(process, inputs["x_s"], times(inputs, "s"), times(inputs), inputs["noise"])


def q_mean_variance_between(process, inputs, settings):
    return moments(inputs["x_s"], D.q_mean_variance_between(process, inputs["x_s"], times(inputs, "s"), times(inputs)))


def q_posterior_mean_variance(schedule, inputs, settings):
    x_t = inputs["x_t"]
    return moments(x_t, D.q_posterior_mean_variance(schedule, inputs["x_start"], x_t, times(inputs), settings["min_variance"]))


def q_posterior_mean_variance_between(process, inputs, settings):
    x_t = inputs["x_t"]
    mean, variance, _ = D.q_posterior_mean_variance_between(
        process, inputs["x_start"], x_t, times(inputs), times(inputs, "s"), settings["eta"])
    return {"mean": mean, "variance": full(x_t, variance)[0]}


def q_posterior_mean_from_epsilon(schedule, inputs, settings):
    return D.q_posterior_mean_from_epsilon(schedule, inputs["x_t"], times(inputs), inputs["noise"])


def predict_start_from_noise(schedule, inputs, settings):
    return D.predict_start_from_noise(schedule, inputs["x_t"], times(inputs), inputs["noise"])


def predict_noise_from_start(schedule, inputs, settings):
    return D.predict_noise_from_start(schedule, inputs["x_t"], times(inputs), inputs["x_start"])


def predict_v(schedule, inputs, settings):
    return D.predict_v(schedule, inputs["x_start"], times(inputs), inputs["noise"])


def predict_start_from_v(schedule, inputs, settings):
    return D.predict_start_from_v(schedule, inputs["x_t"], times(inputs), inputs["v"])


def predict_noise_from_v(schedule, inputs, settings):
    return D.predict_noise_from_v(schedule, inputs["x_t"], times(inputs), inputs["v"])


def convert(process, inputs, settings):
    return D.convert(inputs["prediction"], inputs["x_t"], process, times(inputs), settings["from_type"], settings["to_type"])


def training_target(process, inputs, settings):
    return D.training_target(process, settings["prediction_type"], inputs["x_start"], inputs["noise"], times(inputs))


def p_mean_variance(schedule, inputs, settings):
    x_t = inputs["x_t"]
    step = D.p_mean_variance(
        schedule, inputs["model_output"], x_t, times(inputs), settings["prediction_type"], settings["variance_type"],
        clip_denoised=settings["clip_denoised"], min_variance=settings["min_variance"])
    return moments(x_t, step[:3]) | {"pred_xstart": step.pred_xstart}


def dynamic_threshold(inputs, settings):
    """Without a largest value there is none."""
    limit = settings["max_value"]
    return D.dynamic_threshold(inputs["x_start"], settings["ratio"], math.inf if limit is None else limit)


def edm_precondition(inputs, settings):
    """The denoiser, and what its network is asked."""
    asked = {}

    def network(x, c_noise):
        asked.update(network_input=x, c_noise=c_noise)
        return inputs["network_output"]

    output = D.edm_precondition(network, settings["sigma_data"])(inputs["x"], host(inputs["sigma"]))
    return {"output": output, **asked}


def _of(make: Callable[..., Any], *functions: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Operations by the names of functions of (process, inputs, settings)."""
    return {function.__name__: lambda inputs, settings, function=function: function(make(settings), inputs, settings)
            for function in functions}


OPERATIONS = {
    **_of(process_of, q_sample, q_mean_variance, q_sample_between, q_mean_variance_between, q_posterior_mean_variance_between, convert,
          training_target),
    **_of(schedule_of, q_step, q_posterior_mean_variance, q_posterior_mean_from_epsilon, predict_start_from_noise,
          predict_noise_from_start, predict_v, predict_start_from_v, predict_noise_from_v, p_mean_variance),
    "static_threshold": lambda inputs, settings: D.static_threshold(inputs["x_start"], settings["max_value"]),
    "dynamic_threshold": dynamic_threshold,
    "edm_preconditioning": lambda inputs, settings: D.edm_preconditioning(host(inputs["sigma"]), settings["sigma_data"])._asdict(),
    "edm_precondition": edm_precondition,
}
