"""Noise schedules: how much noise each step of the forward process adds, and every table that follows from it.

A schedule is a list of variances beta_0 ... beta_{T-1}. All else (alpha-bar, the posterior's coefficients, the
signal-to-noise ratio) is computed from it once, in float64, on the host, and cast only when it meets data
(`lookup.extract`). The tables are built from log alpha, where products are sums: then neither 1 - abar near t = 0 nor
abar near t = T loses its digits. Stands on NumPy alone. Read `lookup` next.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any

import numpy as np


def _table(formula: Callable[[Schedule], np.ndarray]) -> cached_property:
    """A table of a schedule: computed at its first use, kept, and read-only."""

    @wraps(formula)
    def compute(self: Schedule) -> np.ndarray:
        return _frozen(formula(self))

    return cached_property(compute)


def _frozen(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


def _running_sum(terms: np.ndarray) -> np.ndarray:
    """Sums of the first 1, 2, ... terms, each with the rounding error of one addition (Neumaier 1974)."""
    total = lost = 0.0
    sums = []
    for term in terms.tolist():
        new = total + term
        lost += (total - new) + term if abs(total) >= abs(term) else (term - new) + total
        total = new
        sums.append(total + lost)
    return np.array(sums)


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A forward process of T steps, q(x_t | x_{t-1}) = N(sqrt(alpha_t) x_{t-1}, beta_t I), and its tables.

    Made by `Schedule.from_betas`, `Schedule.from_log_alphas` or `make_schedule`. Every table is a read-only float64
    NumPy array of shape (T,), indexed by the 0-based time t; alpha_t = 1 - beta_t and abar_t = alpha_0 alpha_1 ...
    alpha_t, with abar_{-1} = 1. Tables carry the names of OpenAI's code. Each is right to a few units in the last place
    of its value, alphas_cumprod to about 1 + |log abar_t| of them.
    """

    betas: np.ndarray
    alphas: np.ndarray
    log_alphas: np.ndarray

    @classmethod
    def from_betas(cls, betas: Any) -> Schedule:
        """The schedule with these variances. betas: (T,) numbers strictly between 0 and 1, T >= 1.

        Raises ValueError for another shape, a value that is not a number in (0, 1), or so much noise that abar_{T-1} is
        0 in float64.
        """
        betas = _checked("betas", betas, low=0.0, high=1.0)
        return cls(betas, _frozen(1 - betas), _frozen(np.log1p(-betas)))._checked_end()

    @classmethod
    def from_log_alphas(cls, log_alphas: Any) -> Schedule:
        """The schedule with log(1 - beta_t) = log_alphas, which keeps the digits of a beta_t close to 1.

        log_alphas: (T,) negative finite numbers, T >= 1. Raises ValueError as `from_betas` does.
        """
        log_alphas = _checked("log_alphas", log_alphas, low=-math.inf, high=0.0)
        return cls(_frozen(-np.expm1(log_alphas)), _frozen(np.exp(log_alphas)), log_alphas)._checked_end()

    def _checked_end(self) -> Schedule:
        if self.log_alphas_cumprod[-1] < math.log(np.finfo(np.float64).tiny):
            raise ValueError(
                f"Schedule: log alphas_cumprod falls to {self.log_alphas_cumprod[-1]:.4g}, below the smallest float64: "
                "no data is left at the end; use fewer steps or smaller betas"
            )
        return self

    def __repr__(self) -> str:
        return f"<Schedule: {self.num_train_timesteps} steps, betas {self.betas[0]:.4g} ... {self.betas[-1]:.4g}>"

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of steps of the forward process."""
        return len(self.betas)

    # -- the forward process -----------------------------------------------------------------------------------------

    @_table
    def log_alphas_cumprod(self) -> np.ndarray:
        """log abar_t = log alpha_0 + ... + log alpha_t."""
        return _running_sum(self.log_alphas)

    @_table
    def alphas_cumprod(self) -> np.ndarray:
        """abar_t = alpha_0 alpha_1 ... alpha_t: the share of x_0 in the variance of x_t. Ho et al. 2020, Eq. 4."""
        return np.exp(self.log_alphas_cumprod)

    @_table
    def alphas_cumprod_prev(self) -> np.ndarray:
        """abar_{t-1}; 1 at t = 0, where "the step before" is the data itself."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @_table
    def one_minus_alphas_cumprod(self) -> np.ndarray:
        """1 - abar_t: the variance of the noise in x_t."""
        # The subtraction loses every digit near t = 0, where abar is close to 1; expm1 of the summed logs keeps them.
        return -np.expm1(self.log_alphas_cumprod)

    @_table
    def one_minus_alphas_cumprod_prev(self) -> np.ndarray:
        """1 - abar_{t-1}; 0 at t = 0."""
        return np.append(0.0, self.one_minus_alphas_cumprod[:-1])

    @_table
    def sqrt_alphas(self) -> np.ndarray:
        """sqrt(alpha_t): what one step leaves of the signal."""
        return np.sqrt(self.alphas)

    @_table
    def sqrt_betas(self) -> np.ndarray:
        """sqrt(beta_t): the standard deviation of the noise that one step adds."""
        return np.sqrt(self.betas)

    @_table
    def sqrt_alphas_cumprod(self) -> np.ndarray:
        """sqrt(abar_t): the factor of x_0 in x_t."""
        return np.sqrt(self.alphas_cumprod)

    @_table
    def sqrt_alphas_cumprod_prev(self) -> np.ndarray:
        """sqrt(abar_{t-1}); 1 at t = 0."""
        return np.sqrt(self.alphas_cumprod_prev)

    @_table
    def sqrt_one_minus_alphas_cumprod(self) -> np.ndarray:
        """sqrt(1 - abar_t): the factor of the noise in x_t."""
        return np.sqrt(self.one_minus_alphas_cumprod)

    @_table
    def log_one_minus_alphas_cumprod(self) -> np.ndarray:
        """log(1 - abar_t): the log variance of q(x_t | x_0)."""
        return np.log(self.one_minus_alphas_cumprod)

    @_table
    def snr(self) -> np.ndarray:
        """abar_t / (1 - abar_t): the signal-to-noise ratio. Kingma et al. 2021, Eq. 2."""
        return self.alphas_cumprod / self.one_minus_alphas_cumprod

    # -- the posterior q(x_{t-1} | x_t, x_0) -------------------------------------------------------------------------

    @_table
    def posterior_variance(self) -> np.ndarray:
        """beta~_t = (1 - abar_{t-1}) / (1 - abar_t) beta_t; 0 at t = 0. Ho et al. 2020, Eq. 7."""
        return self.one_minus_alphas_cumprod_prev / self.one_minus_alphas_cumprod * self.betas

    @_table
    def posterior_log_variance_clipped(self) -> np.ndarray:
        """log beta~_t, where t = 0 repeats the value of t = 1, because beta~_0 is 0.

        OpenAI's convention, -9.82 at t = 0 for the schedule of Ho et al.; diffusers clips at log 1e-20 = -46.05
        instead. A schedule of a single step has no t = 1 and takes log beta_0.
        """
        after_first = self.posterior_variance[1:]
        return np.log(np.append(after_first[:1] if len(after_first) else self.betas[:1], after_first))

    @_table
    def posterior_mean_coef1(self) -> np.ndarray:
        """The weight of x_0 in the posterior mean, sqrt(abar_{t-1}) beta_t / (1 - abar_t). Ho et al. 2020, Eq. 7."""
        return self.sqrt_alphas_cumprod_prev * self.betas / self.one_minus_alphas_cumprod

    @_table
    def posterior_mean_coef2(self) -> np.ndarray:
        """The weight of x_t in the posterior mean, sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t). The same Eq. 7."""
        return self.sqrt_alphas * self.one_minus_alphas_cumprod_prev / self.one_minus_alphas_cumprod


def _checked(name: str, values: Any, low: float, high: float) -> np.ndarray:
    """A read-only float64 copy of `values`: 1-D, not empty, strictly between low and high."""
    try:
        values = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Schedule: expected {name} to be a list of real numbers, got {values!r}") from error
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"Schedule: expected {name} of shape (T,) with T >= 1, got shape {values.shape}")
    outside = ~((low < values) & (values < high))  # written so that NaN is outside
    if outside.any():
        t = int(np.argmax(outside))
        raise ValueError(
            f"Schedule: expected every one of {name} strictly between {low} and {high}, got {values[t]} at t = {t}"
        )
    return _frozen(values)


# -- the families ----------------------------------------------------------------------------------------------------


def linear_betas(num_train_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """T values evenly spaced from beta_start to beta_end, both included: (T,) float64.

        beta_t = beta_start + (beta_end - beta_start) t / (T - 1)                     Ho et al. 2020, Section 4

    The two ends are made for T = 1000 and are not rescaled for another T: a short schedule of this family does not
    reach pure noise (T = 10 leaves abar = 0.90). A single step takes beta_start. What CompVis calls "linear" is linear
    in sqrt(beta), diffusers' "scaled_linear", and another schedule.
    """
    return np.linspace(beta_start, beta_end, num_train_timesteps)


def squaredcos_cap_v2_betas(num_train_timesteps: int, max_beta: float = 0.999) -> np.ndarray:
    """The cosine schedule: abar falls like a squared cosine. (T,) float64.

        f(u) = cos((u + 0.008) / 1.008 * pi/2)^2
        beta_t = min(1 - f((t + 1)/T) / f(t/T), max_beta)               Nichol & Dhariwal 2021, Eq. 17

    abar_t = f((t + 1)/T) / f(0) for the 0-based t, until the cap, which keeps the last step from destroying all data.
    """
    u = np.arange(num_train_timesteps + 1) / num_train_timesteps
    angle = (u + 0.008) / 1.008 * (np.pi / 2)
    here, there = angle[:-1], angle[1:]
    # 1 - cos(b)^2 / cos(a)^2 = sin(b - a) sin(b + a) / cos(a)^2: no difference of two numbers close to 1.
    step = np.pi / 2 / (1.008 * num_train_timesteps)
    return np.minimum(np.sin(step) * np.sin(here + there) / np.cos(here) ** 2, max_beta)


BETA_SCHEDULES = {"linear": linear_betas, "squaredcos_cap_v2": squaredcos_cap_v2_betas}
"""The families of `make_schedule`, under diffusers' names."""


def make_schedule(beta_schedule: str = "linear", num_train_timesteps: int = 1000, **options: float) -> Schedule:
    """A named schedule of T = num_train_timesteps steps.

    beta_schedule: "linear" (options beta_start, 1e-4, and beta_end, 0.02) or "squaredcos_cap_v2" (max_beta, 0.999).
    Raises ValueError for an unknown name, an option that the family does not have, T < 1 or variances outside (0, 1);
    TypeError for a T that is not an int.
    """
    if beta_schedule not in BETA_SCHEDULES:
        raise ValueError(
            f"make_schedule: unknown beta_schedule {beta_schedule!r}; choose from {', '.join(BETA_SCHEDULES)}"
        )
    if not isinstance(num_train_timesteps, (int, np.integer)) or isinstance(num_train_timesteps, bool):
        raise TypeError(f"make_schedule: expected num_train_timesteps to be an int, got {num_train_timesteps!r}")
    if num_train_timesteps < 1:
        raise ValueError(f"make_schedule: expected num_train_timesteps of at least 1, got {num_train_timesteps}")
    family = BETA_SCHEDULES[beta_schedule]
    known = list(inspect.signature(family).parameters)[1:]
    for name in options:
        if name not in known:
            raise ValueError(f"make_schedule: {beta_schedule!r} has no option {name!r}; it has {', '.join(known)}")
    return Schedule.from_betas(family(num_train_timesteps, **options))
