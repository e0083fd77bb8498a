"""DPM-Solver's single-step family: a step that looks around before it goes.

A step of order 2 or 3 asks the model at one or two more levels within the step, as Runge-Kutta methods do, and forgets all of it when the
step is done. Like `multistep` it integrates along lambda = log(alpha / sigma), where all but the model's prediction is known exactly.
Stands on `plan` and on the integrals of `multistep`. Read `karras` for the same in the coordinate sigma / alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minidiff.diffusion.arrays import check_numbers
from minidiff.diffusion.process import Level, Path
from minidiff.diffusion.samplers.multistep import ExactStep, exact_step
from minidiff.diffusion.samplers.plan import Move, Plan, Row

__all__ = [
    "DPMPP_2S", "DPMPP_2S_ANCESTRAL", "DPMPP_3S", "DPMPP_SDE", "DPM_2_ANCESTRAL", "DPM_SOLVER_1", "DPM_SOLVER_2", "DPM_SOLVER_3",
    "SingleStep",
]


@dataclass(frozen=True)
class SingleStep:
    """DPM-Solver-1, -2, -3 (predicts "epsilon"), DPM-Solver++(2S) ("sample"), and their ancestral forms (eta > 0).

    From level t to level s, h = lambda_s - lambda_t, with D_t, D_1, D_2 what the model predicts at t and at the stages lambda_t + r_i h:

        order 1     x_s = c x_t + w int 1  D_t + v z                                        Lu et al. 2022a, DPM-Solver-1
        order 2     x_s = c x_t + w int 1 (D_t + (D_1 - D_t) / (2 r_1)) + v z               DPM-Solver-2; Lu et al. 2022b, DPM-Solver++(2S)
        order 3     x_s = c x_t + w int 1  D_t + w int tau (D_2 - D_t) / r_2                Lu et al. 2022a, DPM-Solver-3

    The integrals, c and w are those of `multistep`. Stage 1 is a step of order 1 from t, stage 2 one with the slope (D_1 - D_t) / r_1.

    stages: (r_1, ...), where in the step, as fractions of it in lambda; as many as the order less one. (1/2,) makes order 2 the midpoint
    method: with "epsilon" it is k-diffusion's `sample_dpm_2`, whose middle is the geometric mean of the sigmas. r_2 must be 2/3, without
    which the order is 2.
    eta: as for `Ancestral`, the share of fresh noise. The step goes further down than s, to sigma_s sqrt(1 - eta^2 kappa) in the coordinate
    x / alpha, and noise leads back up to s (k-diffusion's `sample_*_ancestral`). eta = 1 goes twice as far down as the step is long.
    noisy_stages: a stage too goes further down than where it lies, and noise leads back up (k-diffusion's `sample_dpmpp_sde`). Its noise
    and that of the step are those of one Brownian motion in sigma / alpha, at two times: they are correlated. Drawn independently they
    would make the variance of the samples converge with order 1 only, no better than `Ancestral` at half the calls.

    A step to the data and one out of pure noise are infinitely long in lambda, and no stage lies within: these two are of order 1, all
    others of full order. Order 1 is `Ancestral(eta)`.
    Raises ValueError for another prediction, stages outside (0, 1], more than two of them, r_2 other than 2/3, an eta outside [0, 1]; with
    eta > 0, for two stages, and for one beyond 1/2 that is not noisy (it could lie beyond the end of the process); for noisy_stages with
    eta = 0 or without stages.
    """

    stages: tuple[float, ...] = (1 / 2,)
    predicts: str = "sample"
    eta: float = 0.0
    noisy_stages: bool = False

    def __post_init__(self) -> None:
        if self.predicts not in ("sample", "epsilon"):
            raise ValueError(f"SingleStep: unknown predicts {self.predicts!r}; choose from sample, epsilon")
        check_numbers("SingleStep", eta=self.eta)
        if not isinstance(self.stages, tuple):
            raise TypeError(f"SingleStep: expected stages as a tuple, such as (1/2,), got {self.stages!r}")
        check_numbers("SingleStep", **{f"stage {k + 1}": r for k, r in enumerate(self.stages)})
        if len(self.stages) > 2 or not all(0 < r <= 1 for r in self.stages):
            raise ValueError(f"SingleStep: expected no, one or two stages, each in (0, 1], got {self.stages}")
        if len(self.stages) == 2 and not math.isclose(self.stages[1], 2 / 3):
            raise ValueError(f"SingleStep: expected the second stage at 2/3, without which the order is 2, got {self.stages[1]}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"SingleStep: expected eta between 0 (no noise) and 1, got {self.eta}")
        if self.eta > 0 and (len(self.stages) == 2 or (any(r > 1 / 2 for r in self.stages) and not self.noisy_stages)):
            raise ValueError(f"SingleStep: with eta > 0 expected one stage, up to 1/2 if it is not noisy, got {self.stages}")
        if self.noisy_stages and (self.eta == 0 or not self.stages):
            raise ValueError("SingleStep: noisy_stages go with eta > 0 and a stage")

    @property
    def order(self) -> int:
        """The order of convergence, and the calls of the model in a step."""
        return 1 + len(self.stages)

    def plan(self, path: Path) -> Plan:
        """As many moves a step as its order."""
        steps = zip(path.levels, path.levels[1:], path.steps)
        return Plan(self.predicts, [move for t, s, h in steps for move in self.step(path, t, s, h)])

    def step(self, path: Path, t: Level, s: Level, h: float) -> list[Move]:
        """The moves from level t to level s, h = lambda_s - lambda_t apart."""
        whole = exact_step(t, s, h, self.predicts, further_down(h, self.eta))
        if not self.stages or h == 0 or math.isinf(h):
            return [Move(t, settle=order_1(whole), to=s)]
        length, eta = (h, self.eta) if self.noisy_stages else (whole.rate, 0.0)
        stages = [s if r * length == h else path.between(t.half_log_snr + r * length) for r in self.stages]
        parts = [exact_step(t, stage, r * length, self.predicts, further_down(r * length, eta)) for r, stage in zip(self.stages, stages)]
        first = Move(t, ahead=order_1(parts[0]))
        r_1, *r_2 = self.stages
        if not r_2:
            row = sloped(whole, whole.moment(0) / (2 * r_1))
            if self.noisy_stages:
                shared = math.sqrt(math.expm1(-r_1 * h) / math.expm1(-h))  # the correlation of W(stage) - W(t) and W(s) - W(t)
                row = row._replace(noise=row.noise * math.sqrt(1 - shared * shared), last_noise=row.noise * shared)
            return [first, Move(stages[0], settle=row, to=s)]
        return [
            first,
            Move(stages[0], ahead=sloped(parts[1], parts[1].moment(1) * r_2[0] / r_1)),
            Move(stages[1], settle=sloped(whole, whole.moment(1) / r_2[0], between=1), to=s),
        ]


def further_down(h: float, eta: float) -> float:
    """How much further down in lambda than its end a step of length h goes, for the noise to have Song's variance eta^2 sigma_s^2 kappa.

        exp(-2 g) = 1 - eta^2 kappa,   kappa = 1 - exp(-2 h)
    """
    return h if eta == 1 else -math.log1p(eta * eta * math.expm1(-2 * h)) / 2


def order_1(step: ExactStep) -> Row:
    """What the model says at t, held constant."""
    return Row(step.x, (step.scale * step.moment(0),), step.noise)


def sloped(step: ExactStep, slope: float, between: int = 0) -> Row:
    """What the model says at t, and `slope` times the difference of the newest to it; `between`: how many predictions came in between."""
    at_t = step.scale * (step.moment(0) - slope)
    return Row(step.x, (step.scale * slope, *[0.0] * between, at_t), step.noise)


#                               stages               predicts            eta                            the member
DPM_SOLVER_1 = SingleStep(      (),                  predicts="epsilon")                              # Lu et al. 2022a: DDIM
DPM_SOLVER_2 = SingleStep(      (1 / 2,),            predicts="epsilon")                              # k-diffusion's dpm_2
DPM_SOLVER_3 = SingleStep(      (1 / 3, 2 / 3),      predicts="epsilon")
DPMPP_2S = SingleStep(          (1 / 2,))                                                             # Lu et al. 2022b, Algorithm 1
DPMPP_3S = SingleStep(          (1 / 3, 2 / 3))
DPM_2_ANCESTRAL = SingleStep(   (1 / 2,),            predicts="epsilon", eta=1.0)                     # k-diffusion's, as the next two
DPMPP_2S_ANCESTRAL = SingleStep((1 / 2,),            eta=1.0)
DPMPP_SDE = SingleStep(         (1 / 2,),            eta=1.0, noisy_stages=True)
