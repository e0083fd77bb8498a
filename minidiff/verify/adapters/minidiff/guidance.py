"""The guidance and the edits of the suite in minidiff, on data whose perfect model is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.backend import to_array, to_numpy
from minidiff.diffusion import (
    DDIM,
    DDPM,
    DDPM_LARGE,
    Gaussian,
    Mixture,
    bernoulli_drop,
    classifier_free_guidance,
    classifier_guidance,
    counterfactual,
    ddim_inversion,
    guidance_interval,
    inpaint,
    log_prob_of_start,
    repaint_schedule,
    rescale_guidance,
    sample,
    sdedit,
    sdedit_times,
    shifted_mean,
    signal_and_noise,
)
from minidiff.verify.adapters.minidiff.samplers import arrays, process_of

SAMPLERS = {"ddpm": DDPM, "ddpm_large": DDPM_LARGE, "ddim": DDIM}


def data_model(settings: Mapping[str, Any], name: str = "model") -> Callable[[Any, Any], Any]:
    """The perfect model of the data that a setting describes."""
    told = settings[name]
    data = (Mixture if "weights" in told else Gaussian)(**told)
    return data.model(process_of(settings["process"]), settings.get("prediction_type", "epsilon"))


def host(times: Any) -> np.ndarray:
    """Times as minidiff takes them."""
    return to_numpy(to_array(times))


def both(unconditional: Callable[[Any], Any], conditional: Callable[[Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """A network with two answers, as `classifier_free_guidance` asks it: the unconditional half of the batch first."""
    return lambda x, t, context: F.cat([unconditional(x[:len(x) // 2], t[:len(t) // 2]), conditional(x[len(x) // 2:], t[len(t) // 2:])])


def guided_by(model: Callable[[Any, Any, Any], Any], count: int, settings: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    """The guided model for a batch of `count`; the context is 1, no context is 0."""
    return classifier_free_guidance(model, np.ones(count, dtype=np.int64), settings["guidance_scale"], 0, settings["guidance_rescale"])


def _classifier_free_guidance(inputs, settings):
    told = both(lambda x, t: inputs["unconditional"], lambda x, t: inputs["conditional"])
    count = len(inputs["conditional"])
    return guided_by(told, count, settings)(inputs["conditional"], np.zeros(count, dtype=np.int64))


def classifier_free_ddim(inputs, settings):
    """DDIM with a model that is guided inside the interval."""
    process = process_of(settings["process"])
    unconditional, conditional = data_model(settings, "unconditional"), data_model(settings, "conditional")
    guided = guided_by(both(unconditional, conditional), len(inputs["x"]), settings)
    model = guidance_interval(guided, conditional, process, settings["sigma_low"], settings["sigma_high"])
    return sample(model, process, inputs["x"], settings["times"], DDIM, prediction_type=settings["prediction_type"])


def _guidance_interval(inputs, settings):
    model = guidance_interval(lambda x, t: inputs["guided"], lambda x, t: inputs["unguided"], process_of(settings["process"]),
                              settings["sigma_low"], settings["sigma_high"])
    return model(inputs["guided"], host(inputs["t"]))


def _classifier_guidance(inputs, settings):
    guided = classifier_guidance(lambda x, t: inputs["model_output"], process_of(settings["process"]), lambda x, t: inputs["gradient"],
                                 settings["scale"], settings["prediction_type"])
    return guided(inputs["model_output"], host(inputs["t"]))


def label_gradient(settings: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
    """The gradient of log p(y | x_t) = -(x_t - alpha_t target)^2 / (2 width^2)."""
    process, target, width = process_of(settings["process"]), settings["classifier"]["target"], settings["classifier"]["width"]
    return lambda x, t: (signal_and_noise(process, t[0], x)[0] * target - x) / width**2


def classifier_guided_ddim(inputs, settings):
    """DDIM with a model that the classifier's gradient guides."""
    process = process_of(settings["process"])
    guided = classifier_guidance(data_model(settings), process, label_gradient(settings), settings["scale"], settings["prediction_type"])
    return sample(guided, process, inputs["x"], settings["times"], DDIM, prediction_type=settings["prediction_type"])


def _shifted_mean(inputs, settings):
    shift = shifted_mean(label_gradient(settings), settings["scale"], settings["gradient_at"], settings["times"])
    return sample(data_model(settings), process_of(settings["process"]), inputs["x"], settings["times"], DDPM,
                  noise=arrays(inputs, "noise"), shift_mean=shift)


def _log_prob_of_start(inputs, settings):
    measured = lambda start: -F.sum((inputs["y"] - start) ** 2, dim=(1, 2)) / (2 * settings["width"] ** 2)
    log_prob = log_prob_of_start(measured, data_model(settings), process_of(settings["process"]))
    return log_prob(inputs["x"], np.full(len(inputs["x"]), settings["time"]))


def inpainted(inputs, settings, **noise):
    """`inpaint`, its noise given or drawn."""
    return inpaint(
        data_model(settings), process_of(settings["process"]), inputs["x"], settings["times"], inputs["known"], inputs["mask"],
        SAMPLERS[settings["sampler"]], jump_length=settings["jump_length"], jump_n_sample=settings["jump_n_sample"],
        set_alpha_to_one=settings["set_alpha_to_one"], **noise)


def edited(inputs, settings, **noise):
    """`sdedit`, its noise given or drawn."""
    return sdedit(data_model(settings), process_of(settings["process"]), inputs["x_start"], settings["times"], settings["strength"],
                  SAMPLERS[settings["sampler"]], set_alpha_to_one=settings["set_alpha_to_one"], **noise)


def inverted(inputs, settings):
    return ddim_inversion(data_model(settings), process_of(settings["process"]), inputs["x_start"], settings["times"],
                          asked_at=settings["asked_at"], corrections=settings["corrections"], set_alpha_to_one=settings["set_alpha_to_one"])


def _counterfactual(inputs, settings):
    return counterfactual(data_model(settings), data_model(settings, "other_model"), process_of(settings["process"]), inputs["x_start"],
                          settings["times"], asked_at=settings["asked_at"], corrections=settings["corrections"])


class _Drawn:
    """Uniform numbers that are given."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def random(self, size: Any, dtype: Any = None) -> Any:
        return self.numbers


def _bernoulli_drop(inputs, settings):
    return bernoulli_drop(host(inputs["labels"]), settings["null_label"], settings["probability"], _Drawn(host(inputs["uniform"])))


OPERATIONS = {
    "classifier_free_guidance": _classifier_free_guidance,
    "rescale_guidance": lambda inputs, settings: rescale_guidance(inputs["guided"], inputs["conditional"], settings["guidance_rescale"]),
    "bernoulli_drop": _bernoulli_drop,
    "guidance_interval": _guidance_interval,
    "classifier_free_ddim": classifier_free_ddim,
    "classifier_guidance": _classifier_guidance,
    "classifier_guided_ddim": classifier_guided_ddim,
    "shifted_mean": _shifted_mean,
    "log_prob_of_start": _log_prob_of_start,
    "inpaint": lambda inputs, settings: inpainted(inputs, settings, noise=arrays(inputs, "noise")),
    "repaint_schedule": lambda inputs, settings: np.array(repaint_schedule(**settings)),
    "sdedit": lambda inputs, settings: edited(inputs, settings, noise=arrays(inputs, "noise")),
    "sdedit_times": lambda inputs, settings: sdedit_times(host(inputs["times"]), settings["strength"]),
    "ddim_inversion": inverted,
    "counterfactual": _counterfactual,
}
