"""Noise schedules: how much noise each step of the forward process adds, and every table that follows from it.

A schedule is a list of variances beta_0 ... beta_{T-1}. All else (alpha-bar, the posterior's coefficients, the
signal-to-noise ratio) is computed from it once, in float64, on the host, and cast only when it meets data
(`lookup.extract`). abar and 1 - abar are both kept: near t = 0 the digits are in 1 - abar, near t = T in abar, and no
table subtracts one from 1. Stands on `process`. Read `betas` next: the schedules that people use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import cached_property, wraps
from typing import Any

import numpy as np

from minidiff.diffusion.process import Process

__all__ = ["Schedule", "respace"]

_LOG_TINY = math.log(np.finfo(np.float64).tiny)


def _table(formula: Callable[[Schedule], np.ndarray]) -> cached_property:
    """A table of a schedule: computed at its first use, kept, and read-only."""

    @wraps(formula)
    def compute(self: Schedule) -> np.ndarray:
        return _frozen(formula(self))

    return cached_property(compute)


def _frozen(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


def _compose(betas: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """(4, T): abar and 1 - abar after each step, what is left of the data and what is lost, and what rounding took off each of the two.

        abar_t = abar_{t-1} alpha_t,   1 - abar_t = (1 - abar_{t-1}) + abar_{t-1} beta_t

    In 40 decimal digits, so that even 10,000 roundings do not show: each result is the float64 nearest to the exact one. Of beta_t and
    alpha_t the smaller is taken at its word, because 1 - it in float64 has fewer digits of it.
    """
    with localcontext(Context(prec=40)):
        kept, lost = Decimal(1), Decimal(0)
        products = []
        for beta, alpha in zip(betas.tolist(), alphas.tolist()):
            alpha = 1 - Decimal(beta) if beta < alpha else Decimal(alpha)
            beta = Decimal(beta) if beta < alpha else 1 - alpha
            kept, lost = kept * alpha, lost + kept * beta
            rounded = float(kept), float(lost)
            products.append((*rounded, float(kept - Decimal(rounded[0])), float(lost - Decimal(rounded[1]))))
    return np.array(products).T.copy()


def _log(x: np.ndarray, one_minus_x: np.ndarray) -> np.ndarray:
    """log x from x and 1 - x, of which the smaller has all digits of the answer; -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.where(one_minus_x < 0.5, np.log1p(-np.minimum(one_minus_x, 0.5)), np.log(x))


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Process):
    """A forward process of T steps, q(x_t | x_{t-1}) = N(sqrt(alpha_t) x_{t-1}, beta_t I), and its tables.

    Made by `Schedule.from_betas`, `from_alphas_cumprod`, `from_log_alphas` or `make_schedule`. Every table is a read-only float64
    NumPy array of shape (T,), indexed by the 0-based time t; alpha_t = 1 - beta_t and abar_t = alpha_0 alpha_1 ...
    alpha_t, with abar_{-1} = 1. Tables carry the names of OpenAI's code. Each is right to 4 units in the last place of
    its value (log_snrs, which pass through 0: of max(1, |value|)), whatever T.
    """

    betas: np.ndarray
    alphas: np.ndarray
    alphas_cumprod: np.ndarray
    """abar_t = alpha_0 alpha_1 ... alpha_t: the share of x_0 in the variance of x_t. Ho et al. 2020, Eq. 4."""
    one_minus_alphas_cumprod: np.ndarray
    """1 - abar_t: the variance of the noise in x_t. Never by subtraction, which loses every digit near t = 0."""

    def __post_init__(self) -> None:
        for table in (self.betas, self.alphas, self.alphas_cumprod, self.one_minus_alphas_cumprod):
            _frozen(table)
        if self.alphas_cumprod[-1] < np.finfo(np.float64).tiny and self.alphas[-1] > 0:
            raise ValueError(
                f"Schedule: alphas_cumprod falls to {self.alphas_cumprod[-1]:.4g}, below the smallest normal float64: "
                "no data is left at the end; use fewer steps or smaller betas, or let only the last beta be 1"
            )

    @classmethod
    def from_betas(cls, betas: Any) -> Schedule:
        """The schedule with these variances. betas: (T,) numbers strictly between 0 and 1, T >= 1; the last may be 1.

        A last beta of 1 leaves nothing of the data, "zero terminal SNR" (Lin et al. 2023): abar_{T-1} = 0.
        Raises ValueError for another shape, a value that is not such a number, or so much noise that abar_{T-1} is 0 in float64 though no
        beta is 1.
        """
        betas = _checked("betas", betas, low=0.0, high=1.0, last=1.0)
        return cls._from_steps(betas, 1 - betas)

    @classmethod
    def from_log_alphas(cls, log_alphas: Any) -> Schedule:
        """The schedule with log(1 - beta_t) = log_alphas, which keeps the digits of an alpha_t close to 0 and of a beta_t close to 0.

        log_alphas: (T,) negative numbers above log(2^-1022) = -708.4, T >= 1; the last may be -inf. Raises ValueError as `from_betas` does.
        """
        log_alphas = _checked("log_alphas", log_alphas, low=_LOG_TINY, high=0.0, last=-math.inf)
        return cls._from_steps(-np.expm1(log_alphas), np.exp(log_alphas))

    @classmethod
    def _from_steps(cls, betas: np.ndarray, alphas: np.ndarray) -> Schedule:
        return cls(betas, alphas, *_compose(betas, alphas)[:2])

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod: Any) -> Schedule:
        """The schedule with abar_t = alphas_cumprod[t], however it was made; the table has exactly these values.

            beta_t = (abar_{t-1} - abar_t) / abar_{t-1},   abar_{-1} = 1

        The betas are those of the numbers as given: where a table near 1 has been rounded, to float32 say, its betas were rounded with it.
        alphas_cumprod: (T,) numbers strictly between 0 and 1, strictly decreasing, T >= 1; the last may be 0. Raises ValueError otherwise.
        """
        abar = _checked("alphas_cumprod", alphas_cumprod, low=0.0, high=1.0, last=0.0)
        before = np.append(1.0, abar[:-1])
        wrong = np.flatnonzero(abar >= before)
        if wrong.size:
            t = int(wrong[0])
            raise ValueError(f"Schedule: expected strictly decreasing alphas_cumprod, got {before[t]} and then {abar[t]} at t = {t}")
        return cls((before - abar) / before, abar / before, abar, 1 - abar)

    # -- as a process: levels at integer times, and between them ---------------------------------------------------------

    first_time = 0

    @property
    def last_time(self) -> int:
        """T - 1."""
        return self.num_train_timesteps - 1

    def alpha(self, t: Any) -> Any:
        """sqrt(abar_t); between the integers sqrt(1 / (1 + exp(-log_snr))), which is as good as `log_snr` there. So for `sigma`."""
        return self._at(t, self.sqrt_alphas_cumprod, lambda t: 1 / np.sqrt(1 + np.exp(-self._log_snr_between(t))))

    def sigma(self, t: Any) -> Any:
        """sqrt(1 - abar_t)."""
        return self._at(t, self.sqrt_one_minus_alphas_cumprod, lambda t: 1 / np.sqrt(1 + np.exp(self._log_snr_between(t))))

    def log_snr(self, t: Any) -> Any:
        """log(abar_t / (1 - abar_t)); between the integers linear in t, as in k-diffusion.

        No line leads to the -inf of zero terminal SNR: there, between T - 2 and T - 1, alpha is linear in t. Between the integers it is
        right to 8 units of rounding of the larger of 1 and its two neighbours in the table.
        """
        return self._at(t, self.log_snrs, self._log_snr_between)

    def _at(self, t: Any, table: np.ndarray, between: Callable[[np.ndarray], np.ndarray]) -> Any:
        """The table at whole numbers t, integers or floats, and a function of t elsewhere."""
        t = np.asarray(t)
        if t.dtype.kind in "iu":
            return table[t]
        nearest = np.rint(t).astype(np.int64)
        with np.errstate(divide="ignore", over="ignore"):
            return np.where(t == nearest, table[nearest], between(t))

    @cached_property
    def _times(self) -> np.ndarray:
        return _frozen(np.arange(float(len(self.betas))))

    @cached_property
    def _finite_log_snrs(self) -> np.ndarray:
        return _frozen(np.nan_to_num(self.log_snrs))

    def _log_snr_between(self, t: np.ndarray) -> np.ndarray:
        line = np.interp(t, self._times, self._finite_log_snrs)
        if self.alphas[-1] > 0:
            return line
        alpha, sigma_squared = self._last_fall(t)
        return np.where(t > self.last_time - 1, 2 * np.log(alpha) - np.log(sigma_squared), line)

    def _last_fall(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(alpha, sigma^2) between T - 2 and T - 1 for zero terminal SNR, where u = T - 1 - t falls from 1 to 0.

            alpha = u sqrt(abar_{T-2}),   sigma^2 = 1 - alpha^2 = (1 - abar_{T-2}) + abar_{T-2} (1 - u) (1 + u)
        """
        u, one_minus_u = np.clip(self.last_time - t, 0, 1), np.clip(t - (self.last_time - 1), 0, 1)
        abar = self.alphas_cumprod_prev[-1]
        return u * math.sqrt(abar), self.one_minus_alphas_cumprod_prev[-1] + abar * one_minus_u * (1 + u)

    def time_of(self, log_snr: Any) -> Any:
        """The real time with this log-SNR; outside the schedule, its first or last time."""
        log_snr = np.asarray(log_snr, dtype=np.float64)
        line = np.interp(-log_snr, -self._finite_log_snrs, self._times)
        if self.alphas[-1] > 0:
            return line
        abar, lost = self.alphas_cumprod_prev[-1], self.one_minus_alphas_cumprod_prev[-1]
        with np.errstate(over="ignore"):
            sigma_squared, u = 1 / (1 + np.exp(log_snr)), 1 / np.sqrt((1 + np.exp(-log_snr)) * abar)
        one_minus_u = (sigma_squared - lost) / (abar * (1 + u))  # `_last_fall`, solved for u and for 1 - u
        fall = np.where(u < 0.5, self.last_time - u, self.last_time - 1 + one_minus_u)
        return np.where(one_minus_u > 0, np.maximum(fall, 0), line)

    def check_times(self, times: Any) -> np.ndarray:
        """Integer times (S,) int64, or real times (S,) float64, as `Process.check_times`."""
        checked = super().check_times(times)
        return checked.astype(np.int64) if np.asarray(times).dtype.kind in "iu" else checked

    def steps(self, times: np.ndarray) -> np.ndarray:
        """lambda_{k+1} - lambda_k with all its digits: for integer times from the betas of the process that stops only there,

            h = -1/2 log(1 - beta' / (1 - abar_t)),   1 - beta' = abar_t / abar_s

        and for real times as the sum of the pieces between integers.
        """
        if times.dtype.kind not in "iu":
            return self._real_steps(times)
        chain = respace(self, times)
        lost = chain.betas / chain.one_minus_alphas_cumprod
        kept = chain.alphas * chain.one_minus_alphas_cumprod_prev / chain.one_minus_alphas_cumprod
        return -_log(kept, lost)[:0:-1] / 2

    @cached_property
    def _composed(self) -> np.ndarray:
        return _frozen(_compose(self.betas, self.alphas))

    def _real_steps(self, times: np.ndarray) -> np.ndarray:
        points = np.union1d(times, np.arange(np.ceil(times[-1]), times[0]))
        left, right = points[:-1], points[1:]
        slopes = self.steps(np.arange(len(self.betas))[::-1])[::-1]
        pieces = (right - left) * slopes[left.astype(np.int64)]
        if self.alphas[-1] == 0:
            u_left, u_right, abar = self.last_time - left, self.last_time - right, self.alphas_cumprod_prev[-1]
            with np.errstate(divide="ignore"):
                fall = (np.log1p((right - left) / u_right)
                        + np.log1p(abar * (right - left) * (u_left + u_right) / self._last_fall(left)[1]) / 2)
            pieces = np.where(left >= self.last_time - 1, fall, pieces)
        return np.add.reduceat(pieces, np.searchsorted(points, times[:0:-1]))[::-1]

    def __repr__(self) -> str:
        return f"<Schedule: {self.num_train_timesteps} steps, betas {self.betas[0]:.4g} ... {self.betas[-1]:.4g}>"

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of steps of the forward process."""
        return len(self.betas)

    # -- the forward process -----------------------------------------------------------------------------------------

    @_table
    def log_alphas(self) -> np.ndarray:
        """log(1 - beta_t)."""
        return _log(self.alphas, self.betas)

    @_table
    def log_alphas_cumprod(self) -> np.ndarray:
        """log abar_t = log alpha_0 + ... + log alpha_t."""
        return _log(self.alphas_cumprod, self.one_minus_alphas_cumprod)

    @_table
    def alphas_cumprod_prev(self) -> np.ndarray:
        """abar_{t-1}; 1 at t = 0, where "the step before" is the data itself."""
        return np.append(1.0, self.alphas_cumprod[:-1])

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
        return _log(self.one_minus_alphas_cumprod, self.alphas_cumprod)

    @_table
    def snr(self) -> np.ndarray:
        """abar_t / (1 - abar_t): the signal-to-noise ratio. Kingma et al. 2021, Eq. 2."""
        return self.alphas_cumprod / self.one_minus_alphas_cumprod

    @_table
    def log_snrs(self) -> np.ndarray:
        """log(abar_t / (1 - abar_t)), the logarithm of `snr`; -inf where no data is left."""
        with np.errstate(divide="ignore"):
            return np.log(self.snr)

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
        kept, lost = self.alphas * self.one_minus_alphas_cumprod_prev, self.alphas_cumprod_prev * self.betas
        logs = _log(self.posterior_variance, (kept + lost) / self.one_minus_alphas_cumprod)  # 1 - beta~_t, a sum of positive numbers
        logs[0] = logs[1] if len(logs) > 1 else np.log(self.betas[0])
        return logs

    @_table
    def posterior_mean_coef1(self) -> np.ndarray:
        """The weight of x_0 in the posterior mean, sqrt(abar_{t-1}) beta_t / (1 - abar_t). Ho et al. 2020, Eq. 7."""
        return self.sqrt_alphas_cumprod_prev * self.betas / self.one_minus_alphas_cumprod

    @_table
    def posterior_mean_coef2(self) -> np.ndarray:
        """The weight of x_t in the posterior mean, sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t). The same Eq. 7."""
        return self.sqrt_alphas * self.one_minus_alphas_cumprod_prev / self.one_minus_alphas_cumprod


def check_schedule(where: str, schedule: Any) -> None:
    """Raise TypeError, which begins with `where`, for what is no `Schedule`: a continuous process, betas, None ..."""
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"{where}: expected a Schedule, the process with steps (make_schedule(), Schedule.from_betas(betas)), got a "
            f"{type(schedule).__module__}.{type(schedule).__name__}"
        )


def _checked(name: str, values: Any, low: float, high: float, last: float) -> np.ndarray:
    """A read-only float64 copy of `values`: 1-D, not empty, strictly between low and high, but that the last may also be `last`."""
    try:
        values = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Schedule: expected {name} to be a list of real numbers, got {values!r}") from error
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"Schedule: expected {name} of shape (T,) with T >= 1, got shape {values.shape}")
    outside = ~((low < values) & (values < high))  # written so that NaN is outside
    outside[-1] &= values[-1] != last
    if outside.any():
        t = int(np.argmax(outside))
        raise ValueError(
            f"Schedule: expected every one of {name} strictly between {low} and {high}, got {values[t]} at t = {t}"
        )
    return _frozen(values)


# -- the process that visits only some times -------------------------------------------------------------------------


def respace(schedule: Schedule, times: Any) -> Schedule:
    """The forward process that stops only at the given times: a schedule of S steps.

        alpha'_k = abar_{tau_k} / abar_{tau_{k-1}},   abar'_k = abar_{tau_k},   abar_{tau_{-1}} = 1

    where tau_0 < ... < tau_{S-1} are the times in ascending order. Its posterior is the one to sample with when only
    these times are visited (Nichol & Dhariwal 2021, Eq. 19); its step k belongs to the time tau_k of the full process.
    times: (S,) integers, strictly decreasing, in [0, T), as `timesteps` gives them. Raises TypeError for times that are not
    integers, ValueError for times that are otherwise wrong.
    """
    check_schedule("respace", schedule)
    ascending = schedule.check_times(times)[::-1]
    if ascending.dtype.kind != "i":
        raise TypeError(f"respace: expected integer times, got dtype {ascending.dtype}")
    kept, lost, kept_low, lost_low = schedule._composed[:, ascending]
    before = np.column_stack([[1.0, 0.0, 0.0, 0.0], schedule._composed[:, ascending[:-1]]])
    # beta' = (abar_s - abar_t) / abar_s, from whichever of abar and 1 - abar is smaller, with the digits that rounding took off them.
    falls = np.where(before[0] < 0.5, (before[0] - kept) + (before[2] - kept_low), (lost - before[1]) + (lost_low - before[3]))
    return Schedule(falls / before[0], kept / before[0], schedule.alphas_cumprod[ascending], schedule.one_minus_alphas_cumprod[ascending])
