"""DPM-Solver's multistep family: what the model said before, drawn on into the step that comes.

Between two noise levels the way of x is known exactly, but for one integral over the model's prediction (variation of constants). Put a
polynomial through the last predictions in its place and integrate that exactly: an Adams-Bashforth method for lambda = log(alpha / sigma).
One call of the model a step, at any order. Stands on `plan`. Read `unipc` next, which takes the next prediction into the polynomial too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from minidiff.diffusion.arrays import check_numbers
from minidiff.diffusion.process import Level, Path
from minidiff.diffusion.samplers.plan import Move, Plan, Row

__all__ = [
    "DPMPP_2M", "DPMPP_2M_SDE", "DPMPP_3M", "DPMPP_3M_SDE", "DPM_SOLVER_2M", "DPM_SOLVER_3M", "SOLVER_TYPES", "Multistep",
]

SOLVER_TYPES = ("exact", "midpoint", "heun")
"""How `Multistep` integrates its polynomial: exactly, or as published, under diffusers' names."""


@dataclass(frozen=True)
class Multistep:
    """DPM-Solver (predicts "epsilon"), DPM-Solver++ ("sample") and its SDE (eta > 0), multistep, from level t to level s.

        x_s = sigma_s / sigma_t exp(-eta h) x_t + alpha_s int_0^1 z exp(-z (1 - tau)) x_0(tau) dtau + sigma_s sqrt(1 - exp(-2 eta h)) noise
        x_s = alpha_s / alpha_t x_t - alpha_s sigma_t / alpha_t int_0^1 h exp(-h tau) eps(tau) dtau

        h = lambda_s - lambda_t,   lambda = log(alpha / sigma) = lambda_t + tau h,   z = (1 + eta) h

    with the polynomial through the last `order` predictions, of degree order - 1, in the place of x_0(tau) or eps(tau) (Lu et al. 2022a,
    Eq. 3.4; Lu et al. 2022b, Proposition 4.1). The steps may be of any lengths.

    order: of the method, 1, 2 or 3. The first steps have fewer predictions behind them and are of order 1, 2, ...; a step out of pure noise
    or to the data, h = inf, is of order 1, because no polynomial reaches that far (to the data the step gives the predicted x_0 itself),
    and the history begins anew behind pure noise. eta: how much fresh noise, as k-diffusion means it: 0 is the probability-flow ODE, 1 the
    reverse SDE, where order 1 is DDPM's step (eta = 0: DDIM's); every eta keeps the marginals when the prediction is right. Only for
    "sample": held constant, a predicted eps would keep them for eta = 0 only. lower_order_final: the last steps are of orders ..., 2, 1
    (diffusers does so in walks of less than 15 steps).

    solver_type: "exact" is the integral above. At order 2, DPM-Solver++ as published (Lu et al. 2022b, Algorithm 2; k-diffusion's
    `sample_dpmpp_2m`; diffusers' default) is "midpoint": the slope of the line counts half of the constant's integral. diffusers' "heun"
    (the authors' "taylor") is then the exact one. At order 3 diffusers and k-diffusion give the curvature half of its weight, with either
    type: their D2 is a second divided difference, half of a second derivative, but used as if it were the whole. That is a method of order
    2; "midpoint" and "heun" do the same here, for comparison.

    Order of convergence: 1 and 2; 3 for order 3 up to the error h^2 of its first step, which is of order 1. From sigma^ = 80 none is seen
    of that, because the prediction hardly changes there; from sigma^ = 2 it is all one sees, unless the first step is a short one. With
    eta > 0 the distribution of x converges with order 2 at most: each step has one number of fresh noise. At eta = 1 its mean is exact at
    every order, because E[x_0 | x] is a martingale along the reverse SDE and so constant on average. The step to the data leaves
    x_0's own error, about sigma^2 / (2 std^2) of the last level asked at: without short last steps nothing is of a higher order than that.

    Raises ValueError for another order, prediction or solver_type, a negative eta, and an eta with "epsilon".
    """

    order: int = 2
    predicts: str = "sample"
    eta: float = 0.0
    solver_type: str = "exact"
    lower_order_final: bool = False

    def __post_init__(self) -> None:
        check_choices("Multistep", self.order, self.predicts, self.solver_type, SOLVER_TYPES)
        check_numbers("Multistep", eta=self.eta)
        if not 0 <= self.eta < math.inf:
            raise ValueError(f"Multistep: expected eta of at least 0 (0: no noise, 1: the reverse SDE), got {self.eta}")
        if self.eta > 0 and self.predicts == "epsilon":
            raise ValueError(f"Multistep: eta = {self.eta} goes with predicts 'sample' only (SDE-DPM-Solver++); choose that, or eta = 0")

    def plan(self, path: Path) -> Plan:
        """One move a step."""
        moves = []
        for k, (t, s, order) in enumerate(zip(path.levels, path.levels[1:], orders(path, self.order, self.lower_order_final))):
            h = path.steps[k]
            step = exact_step(t, s, h, self.predicts, self.eta * h if self.eta > 0 else 0.0)  # h may be infinite
            weights = extrapolated(self.moments(step, order), behind(path, k, order))
            moves.append(Move(t, Row(step.x, tuple(step.scale * w for w in weights), step.noise), to=s))
        return Plan(self.predicts, moves)

    def moments(self, step: ExactStep, order: int) -> list[float]:
        """The integrals of 1, tau, tau^2, of which a polynomial's is made; or what was published in their place."""
        integrals = [step.moment(n) for n in range(order)]
        if self.solver_type == "midpoint" and order == 2:
            integrals[1] = integrals[0] / 2
        if self.solver_type != "exact" and order == 3:
            integrals[2] /= 2
        return integrals


def check_choices(who: str, order: int, predicts: str, solver_type: str, solver_types: Sequence[str]) -> None:
    """Refuse settings that a multistep sampler does not know."""
    for name, value, choices in (("order", order, (1, 2, 3)), ("predicts", predicts, ("sample", "epsilon")),
                                 ("solver_type", solver_type, solver_types)):
        if value not in choices:
            raise ValueError(f"{who}: unknown {name} {value!r}; choose from {', '.join(map(str, choices))}")


# -- a step, but for the polynomial ----------------------------------------------------------------------------------


class ExactStep(NamedTuple):
    """x_s = x * x_t + scale * (the weighted mean of the prediction) + noise * z, the weight at tau being rate exp(-rate (1 - tau)).

    For eps the weight falls instead, rate exp(-rate tau).
    """

    x: float
    scale: float
    noise: float
    rate: float
    falls: bool

    def moment(self, n: int, m: int = 0) -> float:
        """The weighted integral of tau^n (1 - tau)^m, 0 <= tau <= 1."""
        return moment(self.rate, m, n) if self.falls else moment(self.rate, n, m)

    @property
    def end(self) -> float:
        """The weight at the end of the step, tau = 1."""
        return self.rate * math.exp(-self.rate) if self.falls else self.rate


def exact_step(t: Level, s: Level, h: float, predicts: str, g: float = 0.0) -> ExactStep:
    """The step from level t to level s, h apart in lambda, that goes g further down than s and comes back up with fresh noise.

        x_s = sigma_s / sigma_t exp(-g) x_t + alpha_s int_0^1 z exp(-z (1 - tau)) x_0(tau) dtau + sigma_s sqrt(1 - exp(-2 g)) noise
        x_s = alpha_s / alpha_t x_t - alpha_s sigma_t / alpha_t int_0^1 z exp(-z tau) eps(tau) dtau + the same noise,     z = h + g
    """
    noise = s.sigma * math.sqrt(-math.expm1(-2 * g))
    if predicts == "sample":
        return ExactStep(s.sigma / t.sigma * math.exp(-g), s.alpha, noise, h + g, falls=False)
    ratio = s.alpha / t.alpha if t.alpha > 0 else math.inf
    return ExactStep(ratio, -ratio * t.sigma, noise, h + g, falls=True)


@lru_cache(maxsize=4096)  # a walk asks for the same integral several times, and the next walk for all of them again
def moment(z: float, n: int, m: int = 0) -> float:
    """The integral over 0 <= tau <= 1 of z exp(-z (1 - tau)) tau^n (1 - tau)^m, for z >= 0, inf too.

        = n! z phi_{n+1}(-z) for m = 0, with the phi functions of exponential integrators

    Small z: Kummer's series z exp(-z) sum_k B(n + k + 1, m + 1) z^k / k!, whose terms are all positive, where recurrences in phi lose all
    digits. Large z: integration by parts. Right to about 10 + z units in the last place, at most 100 of them, for n + m <= 4.
    """
    if n == m == 0:
        return -math.expm1(-z)
    if z > 50:
        at_the_ends = float(m == 0) - (math.exp(-z) if n == 0 else 0.0)
        return at_the_ends - (n / z * moment(z, n - 1, m) if n else 0.0) + (m / z * moment(z, n, m - 1) if m else 0.0)
    total, k = 0.0, 0
    term = z * math.exp(-z) / ((n + m + 1) * math.comb(n + m, n))
    while term > total * 1e-17:
        total += term
        term *= z / (k + 1) * (n + k + 1) / (n + m + k + 2)
        k += 1
    return total


# -- the polynomial --------------------------------------------------------------------------------------------------


def orders(path: Path, order: int, lower_order_final: bool) -> Iterator[int]:
    """The order of each step: as many predictions as there are, at most `order`; see `Multistep`."""
    history = 0
    for k, h in enumerate(path.steps):
        history += 1
        regular = 0 < h < math.inf
        yield min(order, history, len(path) - k if lower_order_final else order) if regular else 1
        if not regular:
            history = 0


def behind(path: Path, k: int, count: int) -> list[float]:
    """How far the last predictions lie behind step k, in units of it: 0, h_{k-1} / h_k, (h_{k-1} + h_{k-2}) / h_k, ..."""
    h = path.steps[k]
    return [0.0, *(distance / h for distance in accumulate(path.steps[k - i] for i in range(1, count)))]


def fitted(moments: Sequence[float], nodes: Sequence[float], j: int) -> float:
    """The integral of the polynomial that is 1 at node j and 0 at the others (Lagrange); node i is at tau = -nodes[i].

        l_j(tau) = prod_{i != j} (tau + r_i) / (r_i - r_j)

    moments: the integrals of 1, tau, tau^2, .... The products have positive coefficients if all other nodes are behind: nothing cancels.
    """
    others = [*nodes[:j], *nodes[j + 1:]]
    coefficients = [1.0]  # of prod (tau + r_i), the constant first
    for r in others:
        coefficients = [r * c + below for c, below in zip([*coefficients, 0.0], [0.0, *coefficients])]
    return sum(c * moment for c, moment in zip(coefficients, moments, strict=True)) / math.prod(r - nodes[j] for r in others)


def extrapolated(moments: Sequence[float], nodes: Sequence[float]) -> list[float]:
    """The weights of the last predictions, the newest first, in the integral of the polynomial through them: Adams-Bashforth."""
    return [fitted(moments, nodes, j) for j in range(len(nodes))]


#                          order  predicts              solver_type                     the member
DPM_SOLVER_2M = Multistep(order=2, predicts="epsilon", solver_type="midpoint")        # as published; diffusers' "dpmsolver"
DPM_SOLVER_3M = Multistep(order=3, predicts="epsilon")
DPMPP_2M = Multistep(order=2, solver_type="midpoint")                                 # Lu et al. 2022b, Algorithm 2; k-diffusion's
DPMPP_3M = Multistep(order=3)
DPMPP_2M_SDE = Multistep(order=2, eta=1.0, solver_type="midpoint")                    # Lu et al. 2022b; k-diffusion's
DPMPP_3M_SDE = Multistep(order=3, eta=1.0)                                            # k-diffusion's has solver_type="heun"
