"""EDM's denoiser: a network between four coefficients, so that it sees and is asked for numbers of size 1 at every noise level.

What is trained is F; what samplers call is D(x, sigma), a model of prediction_type "sample" for the process `EDM`. Stands on
`lookup`. Read `losses` next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minidiff.backend import to_numpy
from minidiff.diffusion.arrays import check_alike, check_counts, check_generator, check_numbers
from minidiff.diffusion.lookup import model_times, to_multiply
from minidiff.diffusion.weighting import check_sigma_data

__all__ = ["Preconditioning", "edm_precondition", "edm_preconditioning", "lognormal_sigmas"]


class Preconditioning(NamedTuple):
    """D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)."""

    c_skip: Any
    c_out: Any
    c_in: Any
    c_noise: Any


def edm_preconditioning(sigma: Any, sigma_data: float = 0.5) -> Preconditioning:
    """The four coefficients at a noise level.

        c_skip = sd^2 / (sigma^2 + sd^2)                the regression of x_0 on x: F has to know only what is left
        c_out  = sigma sd / sqrt(sigma^2 + sd^2)        the spread of what is left
        c_in   = 1 / sqrt(sigma^2 + sd^2)               one over the spread of x
        c_noise = ln(sigma) / 4                                                                Karras et al. 2022, Table 1

    sigma: positive numbers, one or an array; sd = sigma_data: the standard deviation of the data. Returns float64 numbers or arrays.
    Raises ValueError for a sigma that is not positive (at clean data nothing is asked) or not finite, and for such a sigma_data.
    """
    check_sigma_data("edm_preconditioning", sigma_data)
    sigma = np.asarray(sigma, dtype=np.float64)
    if not ((sigma > 0) & (sigma < np.inf)).all():
        raise ValueError(f"edm_preconditioning: expected sigma > 0, got {sigma.min()} ... {sigma.max()}")
    spread = np.hypot(sigma, sigma_data)
    return Preconditioning((sigma_data / spread) ** 2, sigma * (sigma_data / spread), 1 / spread, np.log(sigma) / 4)


def edm_precondition(network: Callable[[Any, Any], Any], sigma_data: float = 0.5) -> Callable[[Any, Any], Any]:
    """The denoiser D(x, sigma) around a network F(x, c_noise): a model of prediction_type "sample" for the process `EDM`.

    network: called with x (N, ...) times c_in, and c_noise (N,) as a model is called with times (`Model`). Train it with
    simple_loss(D, EDM, x_start, sigmas, noise, "sample", weight=edm_weight(EDM, sigmas, "sample", sigma_data)) at `lognormal_sigmas`:
    then every noise level asks F for a target of variance 1, with weight 1 (Karras et al. 2022, Eq. 8).
    Raises as `edm_preconditioning`; the denoiser ValueError or TypeError for an answer that is not like x.
    """

    check_sigma_data("edm_precondition", sigma_data)

    def denoiser(x: Any, sigma: Any) -> Any:
        c_skip, c_out, c_in, c_noise = edm_preconditioning(to_numpy(sigma), sigma_data)
        asked = to_multiply(c_in, x) * x
        answer = network(asked, model_times(c_noise, asked))
        check_alike("edm_precondition", x=asked, its_answer=answer)
        return to_multiply(c_skip, x) * x + to_multiply(c_out, x) * answer

    return denoiser


def lognormal_sigmas(count: int, generator: Any, P_mean: float = -1.2, P_std: float = 1.2) -> np.ndarray:
    """The noise levels that EDM trains at: ln(sigma) ~ N(P_mean, P_std^2). Karras et al. 2022, Table 1.

    Low noise cannot be told from the data's details, high noise drowns it: most is learned in between. generator: has
    standard_normal(shape, dtype). Returns (count,) float64 on the host. Raises TypeError or ValueError for a count that is no int of at
    least 0, what is no generator, and spreads that are no numbers.
    """
    check_counts("lognormal_sigmas", 0, count=count)
    check_numbers("lognormal_sigmas", P_mean=P_mean, P_std=P_std)
    check_generator("lognormal_sigmas", generator)
    return np.exp(P_mean + P_std * to_numpy(generator.standard_normal((count,), "float64")))
