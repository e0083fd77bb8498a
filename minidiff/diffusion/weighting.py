"""How much the errors of each time count: the weights of a loss, whatever the model predicts.

At a fixed x_t = alpha x_0 + sigma eps, a prediction of x_0 that is off by e makes one of eps off by -(alpha / sigma) e: the
predictions share one error, in different units. So a weighting is one function of the signal-to-noise ratio, the weight of a
squared error in x_0, and `weight_from_start` is the one place where it is converted to what the model predicts. Weights are
float64 numbers on the host; give them to `simple_loss`. Stands on `parameterization` and `backward`. Read `preconditioning` next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_numbers
from minidiff.diffusion.backward import fixed_log_variance
from minidiff.diffusion.forward import levels_and_step
from minidiff.diffusion.lookup import check_times, times_within
from minidiff.diffusion.parameterization import check_prediction_type, weights_between, weights_of_start
from minidiff.diffusion.process import Process
from minidiff.diffusion.schedules import Schedule, check_schedule

__all__ = [
    "edm_weight", "kl_weight", "min_snr_weight", "p2_weight", "same_loss_weight", "snr_difference_weight", "truncated_snr_weight",
    "weight_from_start",
]

SMALLEST = 1e-150
"""Stands for alpha = 0 and sigma = 0: its square is still a float64, and so what would be 0/0 there becomes its limit."""


def weight_from_start(weight: Any, process: Process, t: Any, prediction_type: str) -> Any:
    """The weight of a squared error in the prediction that does what `weight` does to the squared error in x_0.

        w ||x_0 - x_0'||^2 = w b^2 ||prediction - prediction'||^2,   b = -sigma / (alpha q - sigma p)

    because x_0 = a x_t + b prediction at a fixed x_t (`weights_of_start`). b^2 is 1/SNR for epsilon, 1 for sample, 1/(SNR + 1) for
    v_prediction where alpha^2 + sigma^2 = 1, sigma^4 / alpha^2 for score and sigma^2 / (alpha + sigma)^2 for flow_prediction.
    weight: a number or (N,) numbers. t: a number or (N,) host numbers, times of the process. Returns a float64 number, or (N,) of them.
    At pure noise and at clean data it is the limit. Raises ValueError or TypeError for bad times and an unknown prediction_type.
    """
    check_prediction_type("weight_from_start", prediction_type)
    alpha, sigma = _signal_and_noise(process, t)
    _, b = weights_of_start(prediction_type, alpha, sigma)
    return weight * b * b


def min_snr_weight(process: Process, t: Any, prediction_type: str = "epsilon", gamma: float = 5.0) -> Any:
    """Min-SNR-gamma: the weight of x_0 does not grow beyond gamma, so that the almost clean times do not outweigh the rest.

        sample: min(SNR, gamma)    epsilon: min(SNR, gamma) / SNR    v_prediction: min(SNR, gamma) / (SNR + 1)     Hang et al. 2023

    The weight for v divides by SNR + 1, not by SNR: with SNR it would weight x_0 by min(SNR, gamma) (1 + 1/SNR), without bound at the
    noisy end. gamma > 0. t: a number or (N,) host numbers. Returns and raises as `weight_from_start`.
    """
    check_numbers("min_snr_weight", gamma=gamma)
    if not gamma > 0:
        raise ValueError(f"min_snr_weight: expected gamma above 0, got {gamma}")
    return _weight(process, t, prediction_type, lambda snr: np.minimum(snr, gamma))


def truncated_snr_weight(process: Process, t: Any, prediction_type: str = "epsilon") -> Any:
    """Truncated SNR: the loss in x_0 or in eps, whichever is larger.

        sample: max(SNR, 1)    epsilon: max(1, 1 / SNR)                                         Salimans & Ho 2022, Section 4

    t: a number or (N,) host numbers. Returns and raises as `weight_from_start`.
    """
    return _weight(process, t, prediction_type, lambda snr: np.maximum(snr, 1.0))


def p2_weight(process: Process, t: Any, prediction_type: str = "epsilon", gamma: float = 1.0, k: float = 1.0) -> Any:
    """P2: less for the times that only remove imperceptible noise.

        epsilon: 1 / (k + SNR)^gamma    sample: SNR / (k + SNR)^gamma                           Choi et al. 2022

    gamma = 0 is L_simple. k = 1 and gamma = 1 is min-SNR's gentle cousin, alpha^2 on x_0 for a variance preserving process.
    t: a number or (N,) host numbers. Returns and raises as `weight_from_start`.
    """
    check_numbers("p2_weight", gamma=gamma, k=k)
    if not (0 <= gamma < np.inf and 0 < k < np.inf):
        raise ValueError(f"p2_weight: expected gamma of at least 0 and k above 0, got {gamma} and {k}")
    return _weight(process, t, prediction_type, lambda snr: snr * (k + snr) ** -gamma)


def edm_weight(process: Process, t: Any, prediction_type: str = "sample", sigma_data: float = 0.5) -> Any:
    """EDM's lambda: with it the network inside `edm_precondition` is trained on targets of variance 1 with weight 1.

        sample: (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 = SNR + 1 / sigma_data^2       Karras et al. 2022, Table 1

    In a process where alpha is not 1, EDM's sigma is sigma / alpha. t: a number or (N,) host numbers: the sigmas themselves, for `EDM`.
    Returns and raises as `weight_from_start`.
    """
    check_sigma_data("edm_weight", sigma_data)
    return _weight(process, t, prediction_type, lambda snr: snr + sigma_data**-2)


def check_sigma_data(where: str, sigma_data: float) -> None:
    """Raise TypeError or ValueError unless the spread of the data is a finite number above 0; `where` begins the message."""
    check_numbers(where, sigma_data=sigma_data)
    if not 0 < sigma_data < np.inf:
        raise ValueError(f"{where}: expected sigma_data above 0, got {sigma_data}")


def same_loss_weight(process: Process, t: Any, loss_type: str, prediction_type: str) -> Any:
    """The weight with which a model of prediction_type is trained on the loss of another: L_simple of loss_type.

        ||error in loss_type||^2 = b^2 ||error in prediction||^2,   b of `weights_between`

    same_loss_weight(process, t, "epsilon", "v_prediction") is alpha^2 where alpha^2 + sigma^2 = 1. t: a number or (N,) host numbers.
    Returns and raises as `weight_from_start`.
    """
    for kind in (loss_type, prediction_type):
        check_prediction_type("same_loss_weight", kind)
    alpha, sigma = _signal_and_noise(process, t)
    _, b = weights_between(prediction_type, loss_type, alpha, sigma)
    return b * b * np.ones_like(alpha)


def snr_difference_weight(process: Process, t: Any, s: Any, prediction_type: str = "epsilon") -> Any:
    """The weight that the variational bound gives to the step from time t back to time s, in any process.

        KL(q(x_s | x_t, x_0) || q(x_s | x_t, x_0')) = 1/2 (SNR_s - SNR_t) ||x_0 - x_0'||^2      Kingma et al. 2021, Section 4

    t, s: numbers, or (N,) host numbers, both alike, s < t. Returns and raises as `weight_from_start`; ValueError for an s that is not
    before t, or has no noise: at clean data everything is known, and the weight is infinite.
    """
    s, t, h = levels_and_step("snr_difference_weight", process, s, t)
    if (s.sigma == 0).any():
        raise ValueError("snr_difference_weight: at clean data (sigma = 0) the weight is infinite; give an s with noise")
    snr = (s.alpha / s.sigma) ** 2  # of which 1 - exp(-2 h) is lost on the way to t: all of it at pure noise
    return weight_from_start(snr * -np.expm1(-2 * h) / 2, process, t.time, prediction_type)


def kl_weight(
    schedule: Schedule, t: Any, prediction_type: str = "epsilon", variance_type: str = "fixed_small", min_variance: float | None = None
) -> Any:
    """The weight of L_{t-1} in the variational bound: what `simple_loss` leaves out.

        KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) = w ||error||^2 + what does not depend on the prediction
        epsilon:  w = beta_t^2 / (2 sigma_t^2 alpha_t (1 - abar_t))                              Ho et al. 2020, Eq. 12
        sample:   w = abar_{t-1} beta_t^2 / (2 sigma_t^2 (1 - abar_t)^2) = 1/2 (SNR_{t-1} - SNR_t)  for sigma_t^2 = beta~_t

    in nats, for the sum (not the mean) of the squared errors over the dimensions. At t = 0 it is the weight of -log N(x_0; mu, sigma_0^2).
    variance_type: "fixed_small", sigma_t^2 = beta~_t, or "fixed_large", beta_t; at t = 0 min_variance has a say, as in `p_mean_variance`.
    t: an int, or (N,) host integers, in [0, T). Returns and raises as `weight_from_start`; ValueError for another variance_type.
    """
    if variance_type not in ("fixed_small", "fixed_large"):
        raise ValueError(f"kl_weight: expected a fixed variance_type, fixed_small or fixed_large, got {variance_type!r}")
    check_schedule("kl_weight", schedule)
    variance = np.exp(fixed_log_variance(schedule, variance_type, min_variance))
    t = check_times(t, schedule.num_train_timesteps)
    return weight_from_start(schedule.posterior_mean_coef1[t] ** 2 / (2 * variance[t]), schedule, t, prediction_type)


def _weight(process: Process, t: Any, prediction_type: str, weight_on_start: Callable[[Any], Any]) -> Any:
    """weight_on_start(SNR), converted."""
    alpha, sigma = _signal_and_noise(process, t)
    return weight_from_start(weight_on_start((alpha / sigma) ** 2), process, t, prediction_type)


def _signal_and_noise(process: Process, t: Any) -> tuple[Any, Any]:
    times = times_within(process, t)
    return np.maximum(process.alpha(times), SMALLEST), np.maximum(process.sigma(times), SMALLEST)
