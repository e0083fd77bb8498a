"""PNDM and PLMS: the classical methods of Runge and Kutta and of Adams, with DDIM's step in the place of the straight line.

DDIM's step is Euler's in x / alpha: stands on `karras`. Read `singlestep` next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidiff.diffusion.process import Level, Path
from minidiff.diffusion.samplers.karras import euler_row
from minidiff.diffusion.samplers.plan import Move, Plan

__all__ = ["PLMS", "PNDM", "Pseudo"]

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""The weights of the last 1, 2, 3, 4 slopes, the newest first, for steps of one length."""


@dataclass(frozen=True)
class Pseudo:
    """Pseudo numerical methods (Liu et al. 2022): a weighted mean e' of predictions eps, carried from t to s by DDIM's step.

        x_s = alpha_s / alpha_t x_t - alpha_s sigma_t / alpha_t (1 - exp(-h)) e',   h = lambda_s - lambda_t
        e' = (55 eps_k - 59 eps_{k-1} + 37 eps_{k-2} - 9 eps_{k-3}) / 24                 from the fourth step on

    skip_prk_steps (diffusers' name): how the first steps are done, before there are four predictions.
        False, PNDM: three steps of the pseudo Runge-Kutta method, of four calls each, e' = (e_1 + 2 e_2 + 2 e_3 + e_4) / 6.
        True, PLMS, the sampler of Stable Diffusion: one step with e' = (e_1 + e_2) / 2, e_2 asked at the end of DDIM's step (improved
        Euler), then Adams-Bashforth with two and three predictions.
    Runge-Kutta asks twice in the middle of a step, at the time halfway: a whole number where it is one, else a real time. The last step
    asks nothing but at its beginning: it is always Adams-Bashforth, with as many predictions as there are.

    How good is it? With sigma^ = sigma / alpha the step is x^_s = x^_t + (sigma^_s - sigma^_t) e', the truth the integral of eps dsigma^.
    The weights are those of steps of one length and of the mean over *time*, so what each step loses is the covariance of eps and
    dsigma^/dt over it, h^3 / 12 eps' sigma^'': the method is of order 2, whatever the weights (Liu et al. 2022 prove the same). The
    fourth order of its parts is reached only where sigma^ is linear along the list: `EDM` with equally spaced sigmas, on which PNDM is of
    order 4, and PLMS of order 3, for its first two steps leave errors h^3. Lists whose steps change little by little (uniform in lambda,
    quadratic) keep order 2, because "time" may be any smooth count; where neighbouring steps differ by a factor (a step of 1, one of
    3, ...) the mean is taken at the wrong place, and it is of order 1. `multistep` has weights for the steps there are. diffusers takes
    t - T // N for the previous time of a step, right only where that is the next entry of the list; here it is the next entry.
    """

    skip_prk_steps: bool = False

    def plan(self, path: Path) -> Plan:
        """One move a step, but four in the steps of Runge and Kutta, and two in the first of PLMS."""
        moves, starts, last = [], [], len(path) - 1  # starts: the indices, among all calls, of those at the beginnings of steps
        for k, (t, s, h) in enumerate(zip(path.levels, path.levels[1:], path.steps)):
            starts = [len(moves), *starts][:4]
            if k < min(3, last) and not self.skip_prk_steps:
                middle, half = halfway(path, t, s)
                to_middle, to_end = euler_row(t, middle, half), euler_row(t, s, h)
                moves += [Move(t, ahead=to_middle), Move(middle, ahead=to_middle), Move(middle, ahead=to_end),
                          Move(s, euler_row(t, s, h, (1 / 6, 1 / 3, 1 / 3, 1 / 6)), to=s)]
            elif k < min(1, last):
                moves += [Move(t, ahead=euler_row(t, s, h)), Move(s, euler_row(t, s, h, (0.5, 0.5)), to=s)]
            else:
                weights = [0.0] * (starts[0] - starts[-1] + 1)
                for call, weight in zip(starts, ADAMS_BASHFORTH[len(starts) - 1]):
                    weights[starts[0] - call] = weight
                moves.append(Move(t, euler_row(t, s, h, tuple(weights)), to=s))
        return Plan("epsilon", moves)


def halfway(path: Path, t: Level, s: Level) -> tuple[Level, float]:
    """The level at the time in the middle of two, and how far its lambda is from t's."""
    total = t.time + s.time
    middle = total // 2 if isinstance(total, int) and total % 2 == 0 else total / 2
    return path.process.level(middle), float(path.process.steps(np.array([t.time, middle]))[0])


PNDM = Pseudo()
PLMS = Pseudo(skip_prk_steps=True)
