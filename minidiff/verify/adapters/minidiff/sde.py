"""The stochastic differential equations and likelihoods of the suite in minidiff."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff import backend
from minidiff.diffusion import continuous, likelihood, score_matching, sde
from minidiff.diffusion.exact import ExactData, Gaussian, Mixture, Rotated
from minidiff.diffusion.process import Process
from minidiff.diffusion.samplers import langevin

PROCESSES = {
    "VariancePreserving": continuous.VariancePreserving, "SubVariancePreserving": continuous.SubVariancePreserving,
    "VarianceExploding": continuous.VarianceExploding, "Cosine": continuous.Cosine, "StraightLine": continuous.StraightLine,
    "EDM": continuous.SigmaProcess,
}


def numbers(x: Any) -> np.ndarray:
    """An input as numbers on the host in float64: times, levels, what data is made of."""
    return backend.to_numpy(backend.to_array(x)).astype(np.float64)


def process_of(settings: dict[str, Any]) -> Process:
    """The process that the settings describe."""
    told = dict(settings["process"])
    return PROCESSES[told.pop("name")](**told)


def data_of(inputs: dict[str, Any], settings: dict[str, Any]) -> ExactData:
    """The exactly known data that inputs and settings describe: a mixture if it has weights, turned if there is a rotation."""
    if "weights" in settings:
        return Mixture(settings["weights"], numbers(inputs["means"]), numbers(inputs["stds"]))
    data = Gaussian(numbers(inputs["mean"]), numbers(inputs["std"]))
    return Rotated(data, settings["rotation"]) if "rotation" in settings else data


def each(x: Any) -> list[Any]:
    """An input as a list, along its first dimension."""
    return [x[k] for k in range(x.shape[0])]


def _level(inputs, settings):
    process, t = process_of(settings), numbers(inputs["t"])
    return {"alpha": process.alpha(t), "sigma": process.sigma(t)}


def _marginal_prob(inputs, settings):
    mean, std = sde.marginal_prob(process_of(settings), inputs["x_start"], numbers(inputs["t"]))
    return {"mean": mean, "std": std}


def _drift_and_diffusion(inputs, settings):
    drift, diffusion = sde.drift_and_diffusion(process_of(settings), inputs["x"], numbers(inputs["t"]))
    return {"drift": drift, "diffusion": diffusion}


def _score_function(inputs, settings):
    score = sde.score_function(lambda x, t: inputs["model_output"], process_of(settings), settings["prediction_type"])
    return score(inputs["x"], numbers(inputs["t"]))


def _euler_maruyama(inputs, settings):
    process = process_of(settings)
    if settings["direction"] == "backwards":
        equation = sde.reverse_sde(data_of(inputs, settings).model(process), process, eta=settings["eta"])
    else:
        equation = sde.forward_sde(process)
    noise = each(inputs["noise"]) if "noise" in inputs else None
    return sde.euler_maruyama(equation, inputs["x"], settings["times"], noise=noise, denoise=settings["denoise"])


def _langevin_step_size(inputs, settings):
    return langevin.langevin_step_size(inputs["score"], inputs["noise"], settings["snr"], settings["alpha"], settings["batch_mean"])


def _divergence(inputs, settings):
    data, probes = data_of(inputs, settings), each(inputs["probes"]) if "probes" in inputs else None
    _, found = likelihood.divergence(lambda x: data.score(x, settings["alpha"], settings["sigma"]), inputs["x"], probes)
    return found


def _log_likelihood(inputs, settings):
    process = process_of(settings)
    x, probes = numbers(inputs["x"]), list(numbers(inputs["probes"])) if "probes" in inputs else None
    found = likelihood.log_likelihood(data_of(inputs, settings).model(process), process, x, settings["start"], settings["end"],
                                      probes=probes, method="DOP853", rtol=1e-11, atol=1e-12)
    return {"log_prob": found.log_prob, "latent": found.latent}


def _sliced_score_matching(inputs, settings):
    data = data_of(inputs, settings)
    return score_matching.sliced_score_matching(lambda x: data.score(x, settings["alpha"], settings["sigma"]), inputs["x"], inputs["v"],
                                                settings["variance_reduced"])


def _implicit_score_matching(inputs, settings):
    data = data_of(inputs, settings)
    return score_matching.implicit_score_matching(lambda x: data.score(x, settings["alpha"], settings["sigma"]), inputs["x"])


OPERATIONS = {
    "process_level": _level,
    "process_log_snr": lambda inputs, settings: process_of(settings).log_snr(numbers(inputs["t"])),
    "process_time_of": lambda inputs, settings: process_of(settings).time_of(numbers(inputs["log_snr"])),
    "process_step": lambda inputs, settings: process_of(settings).step(numbers(inputs["t"]), numbers(inputs["s"])),
    "marginal_prob": _marginal_prob,
    "drift_and_diffusion": _drift_and_diffusion,
    "reverse_drift": lambda inputs, settings: sde.reverse_drift(
        process_of(settings), inputs["x"], numbers(inputs["t"]), inputs["score"], settings["eta"]),
    "probability_flow_velocity": lambda inputs, settings: sde.probability_flow_velocity(
        process_of(settings), inputs["x"], numbers(inputs["t"]), inputs["score"]),
    "score_function": _score_function,
    "prior_sampling": lambda inputs, settings: sde.prior_sampling(process_of(settings), inputs["noise"], settings["t"]),
    "prior_logp": lambda inputs, settings: sde.prior_logp(process_of(settings), inputs["z"], settings["t"]),
    "euler_maruyama": _euler_maruyama,
    "langevin_step": lambda inputs, settings: langevin.langevin_step(inputs["x"], inputs["score"], settings["step_size"], inputs["noise"]),
    "langevin_step_size": _langevin_step_size,
    "divergence": _divergence,
    "log_likelihood": _log_likelihood,
    "uniform_dequantization": lambda inputs, settings: likelihood.uniform_dequantization(
        backend.to_numpy(backend.to_array(inputs["images"])), inputs["noise"]),
    "bits_per_dim": lambda inputs, settings: likelihood.bits_per_dim(inputs["log_prob"], settings["dimensions"], settings["width"]),
    "implicit_score_matching": _implicit_score_matching,
    "sliced_score_matching": _sliced_score_matching,
}
