"""DDPM, DDIM and what lies between: one step, with more or less fresh noise.

Known elsewhere under other names: in the coordinate x / alpha DDIM is Euler's method for the probability-flow ODE
(k-diffusion's `sample_euler`) and DDPM is Euler's ancestral method (`sample_euler_ancestral`). Stands on `plan`. Read
`karras` next.
"""

from __future__ import annotations

from dataclasses import dataclass

from minidiff.diffusion.arrays import check_numbers
from minidiff.diffusion.forward import transition
from minidiff.diffusion.posterior import posterior_weights
from minidiff.diffusion.process import Level, Path
from minidiff.diffusion.samplers.plan import Move, Plan, Row
from minidiff.diffusion.variance import LEARNED, VARIANCE_TYPES, log_variance_range

__all__ = ["DDIM", "DDPM", "DDPM_LARGE", "Ancestral"]


@dataclass(frozen=True)
class Ancestral:
    """The samplers that go from (x_0, eps) at time t to the next time s of the walk with fresh noise of variance v^2.

        x_s = alpha_s x_0 + sqrt(sigma_s^2 - v^2) eps + v z                                   Song et al. 2021, Eq. 12
        v = eta sigma_s sqrt(kappa),   kappa = 1 - (alpha_t sigma_s / (alpha_s sigma_t))^2    Song et al. 2021, Eq. 16

    For every eta the marginals q(x_s | x_0) are those of the forward process. eta = 0 adds no noise (DDIM): the same
    x_T gives the same image. eta = 1 is the forward process posterior of the visited times, so DDPM's ancestral step
    (Ho et al. 2020, Algorithm 2), in which v^2 = beta~. variance_type "fixed_large" keeps the mean of eta = 1 and
    adds noise of the variance of the step forward, sigma_t^2 kappa (1 - abar_t / abar_s; Ho et al.'s other choice, sigma-hat in
    Song et al., Section 5), except at a step that ends at the data, which adds none. With "learned" and "learned_range"
    (Nichol & Dhariwal 2021) the model says the variance too, see `variance`.

    eta: in [0, 1]. Raises ValueError for another eta, an unknown variance_type, or one that is not "fixed_small" with eta other than 1.
    """

    eta: float
    variance_type: str = "fixed_small"

    def __post_init__(self) -> None:
        check_numbers("Ancestral", eta=self.eta)
        if not 0 <= self.eta <= 1:
            raise ValueError(f"Ancestral: expected eta between 0 (DDIM) and 1 (DDPM), got {self.eta}")
        if self.variance_type not in VARIANCE_TYPES:
            raise ValueError(
                f"Ancestral: unknown variance_type {self.variance_type!r}; choose from {', '.join(VARIANCE_TYPES)}"
            )
        if self.variance_type != "fixed_small" and self.eta != 1:
            raise ValueError(f"Ancestral: variance_type {self.variance_type!r} belongs to DDPM, eta = 1; got eta = {self.eta}")

    def row(self, t: Level, s: Level, h: float) -> Row:
        """The step from level t to level s, h = lambda_s - lambda_t apart: x_s = a x_t + b x_0 + v z, see `posterior_weights`."""
        a, b, v = posterior_weights(s, t, h, self.eta)
        if self.variance_type == "fixed_large" and s.sigma > 0:
            _, v = transition(s, t, h)
        return Row(float(a), (float(b),), float(v))

    def plan(self, path: Path) -> Plan:
        """One move a step."""
        steps = zip(path.levels, path.levels[1:], path.steps)
        if self.variance_type not in LEARNED:
            return Plan("sample", [Move(t, self.row(t, s, h), to=s) for t, s, h in steps])
        moves = [Move(t, self.row(t, s, h), to=s, log_variances=log_variance_range(t, s, h)) for t, s, h in steps]
        return Plan("sample", moves, learns=self.variance_type)


#                      eta    noise                              the member
DDPM = Ancestral(eta=1.0)                                      # Ho et al. 2020, Algorithm 2, v^2 = beta~
DDPM_LARGE = Ancestral(eta=1.0, variance_type="fixed_large")   # the same with v^2 = beta
DDIM = Ancestral(eta=0.0)                                      # Song et al. 2021, Eq. 12: deterministic
