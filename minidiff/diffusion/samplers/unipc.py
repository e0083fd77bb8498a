"""UniPC: a step of `multistep`, corrected once the model has spoken at its end, at no further call.

Stands on `multistep`. Read `pseudo` next: where multistep methods for diffusion began.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from minidiff.diffusion.process import Path
from minidiff.diffusion.samplers.multistep import ExactStep, behind, check_choices, exact_step, extrapolated, fitted, orders
from minidiff.diffusion.samplers.plan import Move, Plan, Row

__all__ = ["UNIPC", "UniPC"]

SOLVER_TYPES = ("bh2", "bh1", "exact")


@dataclass(frozen=True)
class UniPC:
    """UniPC-p (Zhao et al. 2023): predict x_s with the last p predictions, ask the model there, correct x_s with that prediction as well.

    Predictor and corrector integrate as `Multistep` does, the predictor (UniP-p, Adams-Bashforth) a polynomial through the last p
    predictions, the corrector (UniC-p, Adams-Moulton) through the new one too. The paper writes both as B(h) sum_m rho_m D_m / r_m with rho
    from a linear system R rho = b / B(h). Its matrix is Vandermonde's and its solution Lagrange's polynomials, so nothing is solved here,
    and B(h) divides out. It stays only where the paper and its code put rho_1 = 1/2 instead of solving for a single unknown, in UniP-2
    and UniC-1:

        int tau  ->  B / 2,      B = the integral of 1 ("bh2"),  the weight at the end of the step ("bh1")

    "exact" solves there, too. UniP-1 is DDIM, UniP-2 with bh2 is DPM-Solver++(2M) as published, UniP-3 is `Multistep(3)`.

    order: p, 1, 2 or 3. Order of convergence p + 1 for p = 1 and 2; 3 for p = 3, because the first step, of order 1 corrected to 2, leaves
    an error h^3 (from sigma^ = 80 too small to be seen: then 4). predicts: "sample" (diffusers' default) or "epsilon". lower_order_final:
    the last steps are of orders ..., 2, 1, as published; in a walk that ends in noise, the last, of order 1 and not corrected, leaves an
    error h^2. A step to the data or out of pure noise is of order 1 and not corrected.

    The corrected x_s is not asked about again: it is the base of the next step only. So a correction is a row of the same kind as a step,
    added to it, and the walk passes the predicted x, which the model was asked about. Raises ValueError for another order, prediction or
    solver_type.
    """

    order: int = 2
    predicts: str = "sample"
    solver_type: str = "bh2"
    lower_order_final: bool = True

    def __post_init__(self) -> None:
        check_choices("UniPC", self.order, self.predicts, self.solver_type, SOLVER_TYPES)

    def plan(self, path: Path) -> Plan:
        """One move a step: correct the step before, x + correction, and predict the next from there."""
        moves, correction = [], []
        for k, (t, s, order) in enumerate(zip(path.levels, path.levels[1:], orders(path, self.order, self.lower_order_final))):
            step, nodes = exact_step(t, s, path.steps[k], self.predicts), behind(path, k, order)
            predictor = [step.scale * w for w in self.predictor(step, nodes)]
            weights = [step.x * c + p for c, p in zip_longest(correction, predictor, fillvalue=0.0)]
            moves.append(Move(t, Row(step.x, tuple(weights)), to=s))
            correction = self.correction(step, nodes, predictor) if 0 < path.steps[k] < math.inf else []
        return Plan(self.predicts, moves)

    def correction(self, step: ExactStep, nodes: Sequence[float], predictor: Sequence[float]) -> list[float]:
        """What the corrector adds to the predicted x_s: the difference of their weights, that of the newest prediction first."""
        new, *old = (step.scale * w for w in self.corrector(step, nodes))
        return [new, *(c - p for c, p in zip(old, predictor))]

    def predictor(self, step: ExactStep, nodes: Sequence[float]) -> list[float]:
        """UniP: the weights of the last predictions, the newest first."""
        moments = [step.moment(n) for n in range(len(nodes))]
        if len(nodes) == 2 and self.solver_type != "exact":
            moments[1] = self.half(step)
        return extrapolated(moments, nodes)

    def corrector(self, step: ExactStep, nodes: Sequence[float]) -> list[float]:
        """UniC: the weights of the prediction at the end of the step, at node -1, and of those that the predictor had.

        The others' polynomials have a factor 1 - tau, taken into the moments, so that here, too, nothing cancels.
        """
        p = len(nodes)
        rising, falling = [step.moment(n) for n in range(p + 1)], [step.moment(n, 1) for n in range(p)]
        if p == 1 and self.solver_type != "exact":
            rising[1] = self.half(step)
            falling[0] = rising[0] - rising[1]
        return [fitted(rising, [-1.0, *nodes], 0), *(fitted(falling, nodes, j) / (1 + r) for j, r in enumerate(nodes))]

    def half(self, step: ExactStep) -> float:
        """B(h) / 2 in the place of the integral of tau."""
        return (step.moment(0) if self.solver_type == "bh2" else step.end) / 2


UNIPC = UniPC(order=2)      # diffusers' default
