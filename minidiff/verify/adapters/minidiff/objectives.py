"""Losses, their weights, and the variational bound in minidiff.

A function without a docstring calls the function of its name in `minidiff.diffusion` with what the case gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidiff import diffusion as D
from minidiff import functional as F
from minidiff.verify.adapters.minidiff.schedules import host, process_of, schedule_of


def times(inputs: Mapping[str, Any], name: str = "t") -> Any:
    """The times of a case, on the host."""
    return host(inputs[name])


def weight_of(inputs: Mapping[str, Any]) -> Any:
    """The weights of a batch, if the case has them."""
    return host(inputs["weight"]) if "weight" in inputs else None


def answering(output: Any) -> Callable[[Any, Any], Any]:
    """A model that always says this."""
    return lambda x, t: output


# -- weights -----------------------------------------------------------------------------------------------------------


def min_snr_weight(process, inputs, settings):
    return D.min_snr_weight(process, times(inputs), settings["prediction_type"], settings["gamma"])


def truncated_snr_weight(process, inputs, settings):
    return D.truncated_snr_weight(process, times(inputs), settings["prediction_type"])


def p2_weight(process, inputs, settings):
    return D.p2_weight(process, times(inputs), settings["prediction_type"], settings["gamma"], settings["k"])


def edm_weight(process, inputs, settings):
    return D.edm_weight(process, times(inputs), settings["prediction_type"], settings["sigma_data"])


def same_loss_weight(process, inputs, settings):
    return D.same_loss_weight(process, times(inputs), settings["loss_type"], settings["prediction_type"])


def snr_difference_weight(process, inputs, settings):
    return D.snr_difference_weight(process, times(inputs), times(inputs, "s"), settings["prediction_type"])


def kl_weight(schedule, inputs, settings):
    return D.kl_weight(schedule, times(inputs), settings["prediction_type"], settings["variance_type"], settings["min_variance"])


def velocity_weight(process, inputs, settings):
    return D.velocity_weight(process, times(inputs), settings["prediction_type"])


def loss_history_probabilities(inputs, settings):
    """`LossHistory.probabilities`, of a history that is full."""
    losses = host(inputs["losses"])
    return D.LossHistory(losses, np.full(len(losses), losses.shape[1])).probabilities(settings["uniform_prob"])


# -- losses ------------------------------------------------------------------------------------------------------------


def simple_loss(process, inputs, settings):
    return D.simple_loss(answering(inputs["model_output"]), process, inputs["x_start"], times(inputs), inputs["noise"],
                         settings["prediction_type"], weight_of(inputs))


def training_losses(process, inputs, settings):
    return D.training_losses(answering(inputs["model_output"]), process, inputs["x_start"], times(inputs), inputs["noise"],
                             settings["prediction_type"])


def hybrid_loss(schedule, inputs, settings):
    return D.hybrid_loss(
        answering(inputs["model_output"]), schedule, inputs["x_start"], times(inputs), inputs["noise"], settings["prediction_type"],
        settings["variance_type"], vlb_weight=settings["vlb_weight"], vlb=settings["vlb"], weight=weight_of(inputs),
        min_variance=settings["min_variance"], decoder=settings["decoder"])


def vb_terms_bpd(schedule, inputs, settings):
    return D.vb_terms_bpd(
        schedule, inputs["model_output"], inputs["x_start"], inputs["x_t"], times(inputs), settings["prediction_type"],
        settings["variance_type"], clip_denoised=settings["clip_denoised"], min_variance=settings["min_variance"],
        decoder=settings["decoder"])


def calc_bpd_loop(schedule, inputs, settings):
    return D.calc_bpd_loop(
        lambda x, t: inputs["model_output"][int(t[0])], schedule, inputs["x_start"], noise=list(inputs["noise"]),
        prediction_type=settings["prediction_type"], variance_type=settings["variance_type"], clip_denoised=settings["clip_denoised"],
        min_variance=settings["min_variance"], decoder=settings["decoder"])._asdict()


def prior_kl(process, inputs, settings):
    return D.prior_kl(process, inputs["x_start"])


def denoising_score_matching(process, inputs, settings):
    return D.denoising_score_matching(answering(inputs["score"]), process, inputs["x_start"], times(inputs), inputs["noise"],
                                      weight_of(inputs))


def score_matching_loss(inputs, settings):
    """The losses of a score with parameters, weight tanh(x) + bias."""
    score = lambda x: F.linear(F.tanh(x), inputs["weight"], inputs["bias"])
    if settings["method"] == "implicit":
        return D.implicit_score_matching(score, inputs["x"])
    return D.sliced_score_matching(score, inputs["x"], inputs["v"], variance_reduced=settings["method"] == "sliced_variance_reduced")


def conditional_velocity(process, inputs, settings):
    return D.conditional_velocity(process, inputs["x_start"], times(inputs), inputs["noise"])


def flow_matching_loss(process, inputs, settings):
    return D.flow_matching_loss(answering(inputs["model_output"]), inputs["x_start"], times(inputs), inputs["noise"], process,
                                weight_of(inputs))


def _of(make: Callable[..., Any], *functions: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Operations by the names of functions of (process, inputs, settings)."""
    return {function.__name__: lambda inputs, settings, function=function: function(make(settings), inputs, settings)
            for function in functions}


OPERATIONS = {
    **_of(process_of, min_snr_weight, truncated_snr_weight, p2_weight, edm_weight, same_loss_weight, snr_difference_weight, velocity_weight,
          simple_loss, training_losses, prior_kl, denoising_score_matching, conditional_velocity, flow_matching_loss),
    **_of(schedule_of, kl_weight, hybrid_loss, vb_terms_bpd, calc_bpd_loop),
    "loss_history_probabilities": loss_history_probabilities,
    "importance_weights": lambda inputs, settings: D.importance_weights(host(inputs["probabilities"]), times(inputs)),
    "normal_kl": lambda inputs, settings: D.normal_kl(**inputs),
    "normal_log_prob": lambda inputs, settings: D.normal_log_prob(**inputs),
    "discretized_gaussian_log_likelihood": lambda inputs, settings: D.discretized_gaussian_log_likelihood(**inputs, **settings),
    "score_matching_loss": score_matching_loss,
}
