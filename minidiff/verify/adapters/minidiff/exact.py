"""The exactly known data of the suite in minidiff: perfect denoisers and scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff.diffusion import exact, samplers

from .sde import data_of, numbers, process_of

SAMPLERS = {"DDIM": samplers.DDIM, "DDPM": samplers.DDPM, "HEUN": samplers.HEUN}


def _points(inputs, settings):
    return exact.Points(numbers(inputs["data"]))


def _at_level(data, method):
    """A method of exact data as an operation: x at the levels alpha and sigma, one for each of the batch."""
    def operation(inputs, settings):
        x = inputs["x"]
        alpha, sigma = (inputs[name].reshape(x.shape[0], *(1,) * (len(x.shape) - 1)) for name in ("alpha", "sigma"))
        return getattr(data(inputs, settings), method)(x, alpha, sigma)

    return operation


def _model(data):
    return lambda inputs, settings: data(inputs, settings).model(process_of(settings), settings["prediction_type"])(
        inputs["x"], numbers(inputs["t"]))


def _levels(settings: dict[str, Any]) -> tuple[Any, Any]:
    process = process_of(settings)
    return process.level(settings["t"]), process.level(settings["s"])


def _transport(inputs, settings):
    mean, variance = data_of(inputs, settings).transport(inputs["x_mean"], inputs["x_variance"], *_levels(settings), settings["eta"])
    return {"mean": mean, "variance": variance}


def _sampler_law(inputs, settings):
    mean, std = exact.sampler_law(SAMPLERS[settings["sampler"]], process_of(settings), settings["times"], data_of(inputs, settings))
    return {"mean": mean, "std": std}


OPERATIONS = {
    **{f"{name}_{method}": _at_level(data, method)
       for name, data in {"gaussian": data_of, "mixture": data_of, "points": _points, "rotated": data_of}.items()
       for method in ("start", "score", "log_prob")},
    "mixture_log_responsibilities": _at_level(data_of, "log_responsibilities"),
    "points_log_responsibilities": _at_level(_points, "log_responsibilities"),
    "mixture_model": _model(data_of),
    "gaussian_transport": _transport,
    "gaussian_flow": lambda inputs, settings: data_of(inputs, settings).flow(inputs["x"], *_levels(settings)),
    "gaussian_flow_log_determinant": lambda inputs, settings: np.array(
        data_of(inputs, settings).flow_log_determinant(tuple(settings["shape"]), *_levels(settings))),
    "sampler_law": _sampler_law,
    "wasserstein": lambda inputs, settings: np.array(
        exact.wasserstein(numbers(inputs["x_mean"]), numbers(inputs["x_std"]), data_of(inputs, settings))),
}
