"""Lists of noise levels to visit, as k-diffusion and EDM give them: sigmas, and the times of a process that they stand for.

A sigma is noise measured against signal, sigma / alpha: the standard deviation of the noise in x / alpha. A list of n
sigmas falls from sigma_max to sigma_min and ends with one more entry, 0: it names the ends of the n steps, and the last
step ends at the data. `times_of_sigmas` turns it into the n times at which the model is asked; the walk of `path` adds the data
by itself. Stands on `process`. Read `samplers` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_counts, check_numbers
from minidiff.diffusion.process import Process, check_decreasing, check_process

__all__ = ["SIGMAS", "exponential_sigmas", "karras_sigmas", "sigma_range", "times_of_sigmas", "uniform_sigmas"]


def karras_sigmas(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> np.ndarray:
    """n sigmas evenly spaced in sigma^(1/rho), and 0: (n + 1,) float64.                Karras et al. 2022 (EDM), Eq. 5

        sigma_i = (sigma_max^(1/rho) + i / (n - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho,   i = 0 ... n - 1;   sigma_n = 0

    The larger rho, the more of the steps are at little noise; 7 is EDM's choice. One step (n = 1) is at sigma_max.
    Every sigma is the float64 nearest to the formula (a root and a power in float64 would lose rho times as much as they round).
    Raises ValueError or TypeError unless n >= 1 is an int, 0 < sigma_min < sigma_max (for n = 1 also equal), rho > 0, all finite.
    """
    check_numbers("karras_sigmas", rho=rho)
    if not 0 < rho < math.inf:
        raise ValueError(f"karras_sigmas: expected rho above 0, got {rho}; for its limit, infinity, use exponential_sigmas")
    power = Decimal(float(rho))
    return _evenly("karras_sigmas", n, sigma_min, sigma_max, lambda sigma: sigma ** (1 / power), lambda root: root**power)


def exponential_sigmas(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0) -> np.ndarray:
    """n sigmas evenly spaced in log sigma, each the same multiple of the one before, and 0: (n + 1,) float64.

        sigma_i = sigma_max (sigma_min / sigma_max)^(i / (n - 1))

    Steps of equal size in log-SNR; the limit of `karras_sigmas` for large rho. Raises as `karras_sigmas`.
    """
    return _evenly("exponential_sigmas", n, sigma_min, sigma_max, Decimal.ln, Decimal.exp)


def uniform_sigmas(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0) -> np.ndarray:
    """n sigmas evenly spaced, and 0: (n + 1,) float64. `karras_sigmas` with rho = 1. Raises as `karras_sigmas`.

        sigma_i = sigma_max + i / (n - 1) (sigma_min - sigma_max)
    """
    return _evenly("uniform_sigmas", n, sigma_min, sigma_max, Decimal, Decimal)


SIGMAS = {"karras": karras_sigmas, "exponential": exponential_sigmas, "uniform": uniform_sigmas}
"""The spacings of sigmas by name."""


def _evenly(
    where: str, n: int, sigma_min: float, sigma_max: float, there: Callable[[Decimal], Decimal], back: Callable[[Decimal], Decimal]
) -> np.ndarray:
    """n sigmas from sigma_max to sigma_min, evenly spaced in there(sigma), and 0; back undoes there. In 30 digits, then rounded."""
    check_counts(where, n=n)
    check_numbers(where, sigma_min=sigma_min, sigma_max=sigma_max)
    if not (0 < sigma_min < sigma_max < math.inf or (n == 1 and 0 < sigma_min == sigma_max < math.inf)):
        raise ValueError(f"{where}: expected 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}")
    with localcontext(Context(prec=30)):
        first, last = there(Decimal(float(sigma_max))), there(Decimal(float(sigma_min)))
        steps = max(int(n) - 1, 1)
        sigmas = [float(back(((steps - i) * first + i * last) / steps)) for i in range(int(n))]
    return np.array([*sigmas, 0.0])


def sigma_range(process: Process) -> tuple[float, float]:
    """(sigma_min, sigma_max) of a process, sigma / alpha at its first and its last time: what to give `karras_sigmas`.

    sigma_max is infinite for a process that ends in pure noise (zero terminal SNR), sigma_min is 0 for one that begins at the data.
    Raises TypeError for what is no process.
    """
    check_process("sigma_range", process)
    return tuple(_sigma(process, t) for t in (process.first_time, process.last_time))


def _sigma(process: Process, t: float) -> float:
    if math.isinf(t):  # EDM has no last time
        return math.inf
    _, alpha, sigma = process.level(t)
    return sigma / alpha if alpha > 0 else math.inf


def times_of_sigmas(process: Process, sigmas: Any) -> np.ndarray:
    """The times of a process at which sigma(t) / alpha(t) is each of these sigmas: (n,) float64, ready for `sample`.

        log_snr(t) = -2 log sigma

    sigmas: (n + 1,) with the 0 of the data at their end, or (n,) without it; strictly decreasing, within `sigma_range` of the process. For
    a `Schedule` the times lie between the integers, as in k-diffusion; for `EDM` sigmas[:-1] are its times already. The x of k-diffusion,
    x_0 + sigma eps, is x / alpha here: a walk begins at alpha times it.
    Raises ValueError for sigmas that are not strictly decreasing, or so small or large that the process never has them (k-diffusion takes
    its first or last time for all of those, and stands still); TypeError if they are not numbers.
    """
    sigmas = check_decreasing(sigmas, 0.0, math.inf, what="sigmas")
    sigmas = sigmas[:-1] if sigmas[-1] == 0 else sigmas
    low, high = sigma_range(process)
    outside = (sigmas < low * (1 - _ROUNDING)) | (sigmas > high * (1 + _ROUNDING))
    if outside.any() or not sigmas.size:
        got = f"{sigmas[outside][0]:.6g}" if sigmas.size else "only 0"
        raise ValueError(f"times_of_sigmas: expected sigmas from {high:.12g} down to {low:.12g}, which this process has, got {got}")
    return np.asarray(process.time_of(-2 * np.log(sigmas)), dtype=np.float64)


_ROUNDING = 1e-12
"""How far beyond its range a sigma may be and still mean the end of the range: formulas round."""
