"""Forward processes in continuous time: alpha(t), sigma(t) in closed form, and the SDE that each of them is.

Every Gaussian process x_t = alpha(t) x_0 + sigma(t) eps is the solution of one linear stochastic differential equation,

    dx = f(t) x dt + g(t) dw,    f = d log alpha / dt,    g^2 = d sigma^2 / dt - 2 f sigma^2,

so a process here knows four things about a time: alpha, sigma, f (`drift_rate`) and g^2 (`diffusion_squared`). All are
right to a few units in the last place, also at both ends of time, where signal or noise vanish and some are infinite;
log-SNR, which passes through 0, to a few units of max(1, |log-SNR|). Stands on `process`. Read `lookup` next.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff.diffusion.arrays import check_numbers
from minidiff.diffusion.process import Process

__all__ = ["EDM", "ContinuousProcess", "Cosine", "StraightLine", "SubVariancePreserving", "VarianceExploding", "VariancePreserving"]

infinite_at_the_ends = np.errstate(divide="ignore", over="ignore")
"""Infinity is the right answer at an end of time: no warning for 1 / 0, log 0 and the exp of much."""


class ContinuousProcess(Process):
    """A process whose times are real numbers, with the coefficients of its SDE and its steps in closed form."""

    first_time = 0.0
    last_time = 1.0

    @abstractmethod
    def drift_rate(self, t: Any) -> Any:
        """f(t) = d log alpha / dt: not positive; -inf where alpha reaches 0."""

    @abstractmethod
    def diffusion_squared(self, t: Any) -> Any:
        """g(t)^2 = d sigma^2 / dt - 2 f sigma^2: not negative; inf where alpha reaches 0."""

    @abstractmethod
    def step(self, t: Any, s: Any) -> Any:
        """lambda(s) - lambda(t) for times s < t, lambda = log(alpha / sigma): all the digits that the difference would lose."""

    def steps(self, times: np.ndarray) -> np.ndarray:
        """lambda_{k+1} - lambda_k between consecutive times: (S - 1,), positive."""
        return self.step(times[:-1], times[1:])

    def _within(self, t: Any) -> Any:
        """What `time_of` answers: first_time or last_time where rounding, or a log-SNR that is never reached, would lead beyond."""
        return np.clip(t, self.first_time, self.last_time)


@dataclass(frozen=True)
class _Diffusing(ContinuousProcess):
    """What the processes with Song et al.'s noise rate share: beta(t) = beta_min + t (beta_max - beta_min), f = -beta / 2.

    beta_min, beta_max: 0 < beta_min <= beta_max, finite. Raises ValueError otherwise.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, beta_min=self.beta_min, beta_max=self.beta_max)
        if not 0 < self.beta_min <= self.beta_max < math.inf:
            raise ValueError(f"{type(self).__name__}: expected 0 < beta_min <= beta_max, got {self.beta_min} and {self.beta_max}")

    def beta(self, t: Any) -> Any:
        """beta_min + t (beta_max - beta_min): the rate at which noise is added."""
        return self.beta_min + _floats(t) * (self.beta_max - self.beta_min)

    def beta_integral(self, t: Any, since: Any = 0.0) -> Any:
        """B = the integral of beta from `since` to t: (t - since) (beta_min + (beta_max - beta_min) (t + since) / 2)."""
        t, since = _floats(t), _floats(since)
        return (t - since) * (self.beta_min + (self.beta_max - self.beta_min) * ((t + since) / 2))

    def time_of_integral(self, integral: Any) -> Any:
        """The time at which B = integral: the root of B's parabola, t = 2 B / (beta_min + sqrt(beta_min^2 + 2 (beta_max - beta_min) B))."""
        integral = np.minimum(integral, self.beta_integral(self.last_time))
        root = np.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integral)
        return self._within(2 * (integral / (self.beta_min + root)))

    def alpha(self, t: Any) -> Any:
        """exp(-B / 2). An ulp of B is B / 2 ulps of alpha, so this is right to 1 + B ulps."""
        return np.exp(-self.beta_integral(t) / 2)

    def drift_rate(self, t: Any) -> Any:
        """-beta(t) / 2."""
        return -self.beta(t) / 2


class VariancePreserving(_Diffusing):
    """DDPM in continuous time: dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw.          Song et al. 2021, Eq. 11 and Appendix C

        alpha = exp(-B / 2),   sigma^2 = 1 - exp(-B),   B = the integral of beta from 0 to t

    alpha^2 + sigma^2 = 1: data of unit variance keeps it. Ho et al.'s linear betas are this process in T = 1000 steps,
    beta_t = beta(t / (T - 1)) / T with beta_min = 0.1 and beta_max = 20; abar_t is about alpha((t + 1) / T)^2. Times: [0, 1].
    """

    def sigma(self, t: Any) -> Any:
        """sqrt(1 - exp(-B))."""
        return np.sqrt(-np.expm1(-self.beta_integral(t)))

    @infinite_at_the_ends
    def log_snr(self, t: Any) -> Any:
        """-log(exp(B) - 1)."""
        integral = self.beta_integral(t)
        return -integral - np.log(-np.expm1(-integral))

    def time_of(self, log_snr: Any) -> Any:
        """B = log(1 + exp(-log_snr))."""
        return self.time_of_integral(np.logaddexp(0, -_floats(log_snr)))

    @infinite_at_the_ends
    def step(self, t: Any, s: Any) -> Any:
        """1/2 log((exp(B_t) - 1) / (exp(B_s) - 1)) = 1/2 log(1 + (exp(B_t - B_s) - 1) / (1 - exp(-B_s)))."""
        return np.log1p(np.expm1(self.beta_integral(t, since=s)) / -np.expm1(-self.beta_integral(s))) / 2

    def diffusion_squared(self, t: Any) -> Any:
        """beta(t)."""
        return self.beta(t)


class SubVariancePreserving(_Diffusing):
    """The VP process with less noise: dx = -beta x / 2 dt + sqrt(beta (1 - exp(-2 B))) dw.   Song et al. 2021, Eq. 12 and Appendix C

        alpha = exp(-B / 2),   sigma = 1 - exp(-B)

    Here sigma is what VP's sigma^2 is, so alpha^2 + sigma^2 < 1 between the ends, and alpha / sigma = 1 / (2 sinh(B / 2)).
    Times: [0, 1].
    """

    def sigma(self, t: Any) -> Any:
        """1 - exp(-B)."""
        return -np.expm1(-self.beta_integral(t))

    @infinite_at_the_ends
    def log_snr(self, t: Any) -> Any:
        """-2 log(2 sinh(B / 2)) = -B - 2 log(1 - exp(-B))."""
        integral = self.beta_integral(t)
        return -integral - 2 * np.log(-np.expm1(-integral))

    @infinite_at_the_ends
    def time_of(self, log_snr: Any) -> Any:
        """B = 2 arsinh(exp(-log_snr / 2) / 2)."""
        return self.time_of_integral(2 * np.arcsinh(np.exp(-_floats(log_snr) / 2) / 2))

    @infinite_at_the_ends
    def step(self, t: Any, s: Any) -> Any:
        """log(sinh(B_t / 2) / sinh(B_s / 2)) = log(1 + 2 cosh((B_t + B_s) / 4) sinh((B_t - B_s) / 4) / sinh(B_s / 2))."""
        b_s, difference = self.beta_integral(s), self.beta_integral(t, since=s)
        return np.log1p(2 * np.cosh((2 * b_s + difference) / 4) * np.sinh(difference / 4) / np.sinh(b_s / 2))

    def diffusion_squared(self, t: Any) -> Any:
        """beta(t) (1 - exp(-2 B))."""
        return self.beta(t) * -np.expm1(-2 * self.beta_integral(t))


@dataclass(frozen=True)
class VarianceExploding(ContinuousProcess):
    """Score matching with Langevin dynamics in continuous time: dx = g dw.              Song et al. 2021, Eq. 9 and Appendix C

        alpha = 1,   sigma = sigma_min (sigma_max / sigma_min)^t

    At t = 0 the noise is sigma_min, not 0: the SDE begins at data that already carries it. Started at x(0) itself, the
    SDE gives the variance sigma(t)^2 - sigma_min^2 (Eq. 29); Song's code and Appendix C leave the sigma_min^2 out, and so
    does this. Times: [0, 1]. Raises ValueError unless 0 < sigma_min < sigma_max, finite.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        check_numbers("VarianceExploding", sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(f"VarianceExploding: expected 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Any) -> Any:
        """1."""
        return np.ones_like(_floats(t))

    def sigma(self, t: Any) -> Any:
        """sigma_min (sigma_max / sigma_min)^t."""
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** _floats(t)

    def log_snr(self, t: Any) -> Any:
        """-2 log sigma."""
        return -2 * np.log(self.sigma(t))

    def time_of(self, log_snr: Any) -> Any:
        """(-log_snr / 2 - log sigma_min) / log(sigma_max / sigma_min)."""
        return self._within((-_floats(log_snr) / 2 - math.log(self.sigma_min)) / self._log_ratio)

    def step(self, t: Any, s: Any) -> Any:
        """(t - s) log(sigma_max / sigma_min)."""
        return (_floats(t) - _floats(s)) * self._log_ratio

    def drift_rate(self, t: Any) -> Any:
        """0."""
        return np.zeros_like(_floats(t))

    def diffusion_squared(self, t: Any) -> Any:
        """d sigma^2 / dt = 2 sigma^2 log(sigma_max / sigma_min)."""
        return 2 * self.sigma(t) ** 2 * self._log_ratio


@dataclass(frozen=True)
class Cosine(ContinuousProcess):
    """The cosine schedule without steps or a cap, variance preserving.               Nichol & Dhariwal 2021, Eq. 17

        alpha = cos(theta) / cos(theta_0),   theta = (t + s) / (1 + s) pi/2,   theta_0 its value at t = 0
        sigma^2 = 1 - alpha^2 = sin(theta - theta_0) sin(theta + theta_0) / cos(theta_0)^2

    The discrete "squaredcos_cap_v2" has abar_t = alpha((t + 1) / T)^2 until its cap. s = 0 gives alpha = cos(pi t / 2),
    sigma = sin(pi t / 2). Times: [0, 1]; at t = 1 nothing is left of the data, and the SDE's coefficients are infinite.
    Raises ValueError for an s that is negative or not finite.
    """

    s: float = 0.008

    def __post_init__(self) -> None:
        check_numbers("Cosine", s=self.s)
        if not 0 <= self.s < math.inf:
            raise ValueError(f"Cosine: expected s of at least 0, got {self.s}")

    @property
    def _rate(self) -> float:
        """d theta / dt."""
        return math.pi / 2 / (1 + self.s)

    def _cos_theta(self, t: Any) -> Any:
        """cos(theta) as the sine of what is missing to a right angle, which is exactly 0 at t = 1."""
        return np.sin(self._rate * (1 - _floats(t)))

    def _noise(self, t: Any) -> Any:
        """sin(theta - theta_0) sin(theta + theta_0) = cos(theta_0)^2 - cos(theta)^2."""
        t = _floats(t)
        return np.sin(self._rate * t) * np.sin(self._rate * (t + 2 * self.s))

    def alpha(self, t: Any) -> Any:
        """cos(theta) / cos(theta_0)."""
        return self._cos_theta(t) / self._cos_theta(0.0)

    def sigma(self, t: Any) -> Any:
        """sqrt(sin(theta - theta_0) sin(theta + theta_0)) / cos(theta_0)."""
        return np.sqrt(self._noise(t)) / self._cos_theta(0.0)

    @infinite_at_the_ends
    def log_snr(self, t: Any) -> Any:
        """log(cos(theta)^2 / (sin(theta - theta_0) sin(theta + theta_0)))."""
        return 2 * np.log(self._cos_theta(t)) - np.log(self._noise(t))

    @infinite_at_the_ends
    def time_of(self, log_snr: Any) -> Any:
        """theta - theta_0 from its sine and cosine, with alpha^2 = 1 / (1 + exp(-log_snr)) and sigma^2 = 1 / (1 + exp(log_snr)):

            cos(theta) = alpha cos(theta_0),   noise = sigma^2 cos(theta_0)^2,   sin(theta)^2 = sin(theta_0)^2 + noise
            sin(theta - theta_0) = noise / (sin(theta) cos(theta_0) + cos(theta) sin(theta_0))
        """
        log_snr, cos_0, sin_0 = _floats(log_snr), math.sin(self._rate), math.sin(self._rate * self.s)
        cos = cos_0 / np.sqrt(1 + np.exp(-log_snr))
        noise = cos_0**2 / (1 + np.exp(log_snr))
        sin = np.sqrt(sin_0**2 + noise)
        of_sum = np.maximum(sin * cos_0 + cos * sin_0, np.finfo(np.float64).tiny)  # 0 when nothing is to be divided: s = 0 at the data
        return self._within(np.arctan2(noise / of_sum, cos * cos_0 + sin * sin_0) / self._rate)

    @infinite_at_the_ends
    def step(self, t: Any, s: Any) -> Any:
        """log(cos(theta_s) / cos(theta_t)) + 1/2 log(noise_t / noise_s), each a log of 1 + something positive:

            cos(theta_s) - cos(theta_t) = 2 sin((theta_t + theta_s) / 2) sin((theta_t - theta_s) / 2)
            noise_t - noise_s = sin(theta_t + theta_s) sin(theta_t - theta_s)
        """
        t, s = _floats(t), _floats(s)
        total, difference = self._rate * (t + s + 2 * self.s), self._rate * (t - s)
        of_signal = 2 * np.sin(total / 2) * np.sin(difference / 2) / self._cos_theta(t)
        of_noise = np.sin(total) * np.sin(difference) / self._noise(s)
        return np.log1p(of_signal) + np.log1p(of_noise) / 2

    @infinite_at_the_ends
    def drift_rate(self, t: Any) -> Any:
        """-(d theta / dt) tan(theta)."""
        return -self._rate * np.sin(self._rate * (_floats(t) + self.s)) / self._cos_theta(t)

    def diffusion_squared(self, t: Any) -> Any:
        """-2 f, as in every variance preserving process, where sigma^2 = 1 - alpha^2."""
        return -2 * self.drift_rate(t)


@dataclass(frozen=True)
class StraightLine(ContinuousProcess):
    """x_t = (1 - t) x_0 + t eps: flow matching (Lipman et al. 2023), rectified flow (Liu et al. 2023).

    Time runs from data to noise, as everywhere here; Lipman et al. count it the other way. Times: [0, 1]; at t = 1 the
    SDE's coefficients are infinite.
    """

    def alpha(self, t: Any) -> Any:
        """1 - t."""
        return 1 - _floats(t)

    def sigma(self, t: Any) -> Any:
        """t."""
        return _floats(t)

    @infinite_at_the_ends
    def log_snr(self, t: Any) -> Any:
        """2 log((1 - t) / t)."""
        return 2 * (np.log1p(-_floats(t)) - np.log(_floats(t)))

    @infinite_at_the_ends
    def time_of(self, log_snr: Any) -> Any:
        """1 / (1 + exp(log_snr / 2))."""
        return 1 / (1 + np.exp(_floats(log_snr) / 2))

    @infinite_at_the_ends
    def step(self, t: Any, s: Any) -> Any:
        """log((1 - s) / (1 - t)) + log(t / s)."""
        t, s = _floats(t), _floats(s)
        return np.log1p((t - s) / (1 - t)) + np.log1p((t - s) / s)

    @infinite_at_the_ends
    def drift_rate(self, t: Any) -> Any:
        """-1 / (1 - t)."""
        return -1 / (1 - _floats(t))

    @infinite_at_the_ends
    def diffusion_squared(self, t: Any) -> Any:
        """2 t + 2 t^2 / (1 - t) = 2 t / (1 - t)."""
        return 2 * _floats(t) / (1 - _floats(t))


@dataclass(frozen=True)
class SigmaProcess(ContinuousProcess):
    """x = x_0 + sigma eps, the time being sigma itself: alpha(t) = 1, sigma(t) = t. Karras et al. 2022 (EDM), Table 1.

    The process of k-diffusion and of every sampler that walks a list of `sigmas`. Times: any sigma >= 0.
    """

    last_time = math.inf

    def alpha(self, t: Any) -> Any:
        """1."""
        return np.ones_like(_floats(t))

    def sigma(self, t: Any) -> Any:
        """t."""
        return _floats(t)

    @infinite_at_the_ends
    def log_snr(self, t: Any) -> Any:
        """-2 log t."""
        return -2 * np.log(_floats(t))

    @infinite_at_the_ends
    def time_of(self, log_snr: Any) -> Any:
        """exp(-log_snr / 2)."""
        return np.exp(-_floats(log_snr) / 2)

    @infinite_at_the_ends
    def step(self, t: Any, s: Any) -> Any:
        """log(t / s)."""
        return np.log1p((_floats(t) - s) / s)

    def drift_rate(self, t: Any) -> Any:
        """0."""
        return np.zeros_like(_floats(t))

    def diffusion_squared(self, t: Any) -> Any:
        """d t^2 / dt = 2 t."""
        return 2 * _floats(t)


EDM = SigmaProcess()
"""The process whose times are sigmas."""


def _floats(t: Any) -> Any:
    return np.asarray(t, dtype=np.float64)
