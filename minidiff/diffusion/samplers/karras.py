"""Euler's and Heun's method in the coordinate x / alpha, with churn: EDM's Algorithm 2.

With hats for the coordinate in which nothing shrinks, x^ = x / alpha and sigma^ = sigma / alpha, the probability-flow
ODE is dx^/dsigma^ = eps: the slope is the predicted noise. Stands on `plan`. Read `multistep` next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minidiff.diffusion.arrays import check_numbers
from minidiff.diffusion.forward import transition
from minidiff.diffusion.process import Level, Path
from minidiff.diffusion.samplers.plan import Move, Plan, Row

__all__ = ["EULER", "HEUN", "Karras"]


@dataclass(frozen=True)
class Karras:
    """EDM's sampler (Karras et al. 2022, Algorithm 2): add a little noise, then take a step of Euler's or Heun's method.

        sigma^_up = (1 + gamma) sigma^_t,   gamma = min(s_churn / N, sqrt(2) - 1) if s_tmin <= sigma^_t <= s_tmax, else 0
        x^_up     = x^_t + sqrt(sigma^_up^2 - sigma^_t^2) s_noise z
        x^_s      = x^_up + (sigma^_s - sigma^_up) eps(x_up)                                 order 1: Euler
        x^_s      = x^_up + (sigma^_s - sigma^_up) (eps(x_up) + eps(x_s of Euler)) / 2       order 2: Heun

    with N the number of steps. The noise comes before the model is asked, which is told the raised level (some code adds it afterwards, and
    asks at sigma_t). A process that has no such level is raised to its last time. For `EDM`, where x^ = x and times are sigmas, this is the
    paper line by line; the walk begins with sigma_max z (some code multiplies z by sqrt(sigma_max^2 + 1)). The step to sigma = 0 is
    Euler's, which ends at the predicted x_0. A walk cannot begin where alpha = 0: nothing but noise has no x^.

    order: 1 or 2. s_churn: at least 0; 0 is deterministic. s_tmin, s_tmax: sigma^ between which there is churn. s_noise: at least 0; a
    little more than 1 makes up for models that take away too much. Raises ValueError for other values.
    """

    order: int = 2
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"Karras: expected order 1 (Euler) or 2 (Heun), got {self.order}")
        check_numbers("Karras", s_churn=self.s_churn, s_tmin=self.s_tmin, s_tmax=self.s_tmax, s_noise=self.s_noise)
        if not 0 <= self.s_churn < math.inf:
            raise ValueError(f"Karras: expected s_churn of at least 0, got {self.s_churn}")
        if not 0 <= self.s_noise < math.inf:
            raise ValueError(f"Karras: expected s_noise of at least 0, got {self.s_noise}")
        if not 0 <= self.s_tmin <= self.s_tmax:
            raise ValueError(f"Karras: expected 0 <= s_tmin <= s_tmax, got {self.s_tmin} and {self.s_tmax}")

    def plan(self, path: Path) -> Plan:
        """Two calls of the model a step for Heun, but one at the last, where sigma is 0."""
        moves = []
        for t, s, h in zip(path.levels, path.levels[1:], path.steps):
            up, churn, rise = self.churn(path, t)
            if self.order == 1 or s.sigma == 0:
                moves.append(Move(up, settle=euler_row(up, s, h + rise), to=s, churn=churn))
            else:
                moves += [Move(up, ahead=euler_row(up, s, h + rise), churn=churn),
                          Move(s, settle=euler_row(up, s, h + rise, (0.5, 0.5)), to=s)]
        return Plan("epsilon", moves)

    def churn(self, path: Path, t: Level) -> tuple[Level, Row | None, float]:
        """(the raised level, the row that leads to it, how far below t it is in lambda); (t, None, 0) without churn."""
        gamma = min(self.s_churn / len(path), math.sqrt(2) - 1)
        if gamma == 0 or t.alpha == 0 or not self.s_tmin <= t.sigma / t.alpha <= self.s_tmax:
            return t, None, 0.0
        up = path.between(t.half_log_snr - math.log1p(gamma))
        rise = t.half_log_snr - up.half_log_snr
        if not 0 < rise < math.inf:
            return t, None, 0.0
        factor, std = transition(t, up, rise)
        return up, Row(factor, noise=self.s_noise * float(std)), rise


def euler_row(t: Level, s: Level, h: float, slopes: tuple[float, ...] = (1.0,)) -> Row:
    """From level t to level s, h = lambda_s - lambda_t apart, along a weighted mean of slopes, the newest first.

        x^_s = x^_t + (sigma^_s - sigma^_t) (w_1 eps_1 + w_2 eps_2 + ...)              Karras et al. 2022, Algorithm 1

    sigma^_s - sigma^_t = sigma^_t (exp(-h) - 1), so that short steps keep their digits.
    """
    ratio = s.alpha / t.alpha if t.alpha > 0 else math.inf
    change = ratio * t.sigma * math.expm1(-h)
    return Row(ratio, tuple(change * w for w in slopes))


EULER = Karras(order=1)
HEUN = Karras(order=2)
