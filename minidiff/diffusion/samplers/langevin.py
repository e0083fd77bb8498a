"""Langevin dynamics: small steps uphill with noise, alone, down a ladder of noise levels, or as corrector of another sampler.

Where the samplers of the other files carry x from one level to the next, Langevin dynamics stays at a level and brings x closer to its
distribution, knowing only the score. Two conventions for its step are in use, and differ by a factor of 2: x + eps s + sqrt(2 eps) z here
and in Song et al. 2021, x + alpha / 2 s + sqrt(alpha) z in Song & Ermon 2019 (and there alone, for `AnnealedLangevin`). Stands on `plan`,
`walk` and `sde`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minidiff.backend import to_array
from minidiff.diffusion.arrays import all_finite, apply, check_alike, check_batch, check_counts, check_numbers, fresh_noise
from minidiff.diffusion.forward import transition
from minidiff.diffusion.process import Level, Path, Process, path
from minidiff.diffusion.samplers.karras import euler_row
from minidiff.diffusion.samplers.plan import Move, Plan, Row, Sampler
from minidiff.diffusion.samplers.walk import sample
from minidiff.diffusion.sde import score_function

__all__ = [
    "REVERSE_DIFFUSION", "AnnealedLangevin", "LangevinCorrector", "ReverseDiffusion", "langevin_dynamics", "langevin_step",
    "langevin_step_size", "predictor_corrector",
]


def langevin_step(x: Any, score: Any, step_size: Any, noise: Any) -> Any:
    """One step of unadjusted Langevin dynamics: x + eps score + sqrt(2 eps) z.

    x, score, noise (z): (N, ...), alike. step_size: eps, a float >= 0, or an array (N, 1, ..., 1) beside x. Returns an array like x.
    Raises ValueError or TypeError for arrays that are not alike and for a step_size that is negative or not finite.
    """
    check_alike("langevin_step", x=x, score=score, noise=noise)
    if not hasattr(step_size, "shape"):
        check_numbers("langevin_step", step_size=step_size)
        if not 0 <= step_size < math.inf:
            raise ValueError(f"langevin_step: expected a finite step_size of at least 0, got {step_size}")
    spread = math.sqrt(2 * step_size) if isinstance(step_size, (int, float)) else apply("sqrt", 2 * step_size)
    return x + step_size * score + spread * noise


def langevin_dynamics(
    score: Callable[[Any], Any],
    x: Any,
    step_size: float,
    steps: int,
    *,
    generator: Any = None,
    noise: Sequence[Any] | None = None,
    callback: Callable[[int, Any], None] | None = None,
) -> Any:
    """Steps of Langevin dynamics towards the distribution with this score.

    "Unadjusted": no step is ever rejected, so what it settles on is a little off. For N(m, V) it settles on N(m, V / (1 - eps / (2 V)))
    from anywhere, in about V / eps steps, and runs away if eps >= 2 V.
    score: the gradient of log p, a function of x. x: (N, ...), where to begin. step_size: eps > 0. generator: draws the noise, by its
    method standard_normal(shape, dtype); or noise: `steps` arrays like x. callback: called before each step as callback(k, x).
    Returns an array like x. Raises ValueError for a step_size or number of steps that is not positive, missing or double noise;
    FloatingPointError, with the step, for a score with NaN or infinity.
    """
    check_batch("langevin_dynamics", x)
    check_numbers("langevin_dynamics", step_size=step_size)
    check_counts("langevin_dynamics", steps=steps)
    if not 0 < step_size < math.inf:
        raise ValueError(f"langevin_dynamics: expected a finite step_size > 0, got {step_size}")
    for k, z in enumerate(fresh_noise("langevin_dynamics", x, steps, generator, noise)):
        if callback is not None:
            callback(k, x)
        slope = score(x)
        check_alike("langevin_dynamics", x=x, score=slope)
        if not all_finite(slope):
            raise FloatingPointError(f"langevin_dynamics: the score is NaN or infinite at step {k}; is the step_size too large?")
        x = langevin_step(x, slope, float(step_size), z)
    return x


@dataclass(frozen=True)
class AnnealedLangevin:
    """Langevin dynamics down a ladder of noise levels: Song & Ermon 2019, Algorithm 1, as a sampler.

        at each level i, `steps` times:   x <- x + alpha_i / 2 score + sqrt(alpha_i) z,     alpha_i = step_size sigma_i^2 / sigma_L^2

    sigma_L is the last level of the path that is not clean. The paper's levels have alpha = 1 (`EDM`, `VarianceExploding`); for other
    processes this is the same walk in x / alpha, sigma / alpha. Between levels x is kept as it is (multiplied by the quotient of the
    alphas). A walk cannot begin where alpha = 0: nothing but noise has no x / alpha.
    step_size: "epsilon" of the paper; 2e-5 with sigma_L = 0.01, steps = 100 is theirs. Each step keeps 1 - alpha_i / (2 sigma_i^2)
    of the distance to a single image, so step_size / sigma_L^2 >= 4 runs away.
    denoise: go from the last level to the end of the path by the model's prediction of x_0 (Jolicoeur-Martineau et al. 2021), else keep x,
    with the noise of sigma_L in it, as Algorithm 1 does.
    Raises ValueError for a step_size or number of steps that is not positive; when planning, for one that runs away.
    """

    step_size: float = 2e-5
    steps: int = 100
    denoise: bool = True

    def __post_init__(self) -> None:
        check_numbers("AnnealedLangevin", step_size=self.step_size)
        check_counts("AnnealedLangevin", steps=self.steps)
        if not 0 < self.step_size < math.inf:
            raise ValueError(f"AnnealedLangevin: expected a finite step_size > 0, got {self.step_size}")

    def plan(self, path: Path) -> Plan:
        """`steps` moves at each level, the last of which also goes on to the next level; and one to the end."""
        *levels, end = path.levels
        last = levels[-1]
        rate = self.step_size * (last.alpha / last.sigma) ** 2  # alpha_i / sigma_i^2
        if not rate < 4:
            raise ValueError(
                f"AnnealedLangevin: step_size {self.step_size} is {rate:.4g} times sigma^2 of the last level, sigma / alpha = "
                f"{last.sigma / last.alpha:.4g}; with 4 or more the walk runs away"
            )
        moves = []
        for level, following in zip(levels, [*levels[1:], last]):
            pull, spread = -rate * level.sigma / 2, math.sqrt(rate) * level.sigma  # score = -eps / sigma
            kept = following.alpha / level.alpha if level.alpha > 0 else math.inf
            moves += [Move(level, Row(1.0, (pull,), spread))] * (self.steps - 1)
            moves.append(Move(level, Row(kept, (kept * pull,), kept * spread), to=following))
        leave = euler_row(last, end, path.steps[-1]) if self.denoise else Row(end.alpha / last.alpha)
        return Plan("epsilon", [*moves, Move(last, leave, to=end)])


# -- predictor and corrector -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReverseDiffusion:
    """The predictor of Song et al. 2021 (Appendix E): the forward step from s to t, x_t = a x_s + b z, turned round.

        x_s = (2 - a) x_t + b^2 score + b z,     a = alpha_t / alpha_s,   b^2 = sigma_t^2 - a^2 sigma_s^2

    An Euler-Maruyama step of the reverse SDE whose coefficients are those of the whole step. `DDPM`, the "ancestral" predictor, is the step
    that Bayes' rule gives; the two agree to first order in b^2. eta = 0 halves the pull and leaves the noise out: a step of the
    probability-flow ODE. A step that ends at the data adds no noise (x_mean in Song's code).
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        check_numbers("ReverseDiffusion", eta=self.eta)
        if not 0 <= self.eta < math.inf:
            raise ValueError(f"ReverseDiffusion: expected eta >= 0, got {self.eta}")

    def row(self, t: Level, s: Level, h: float) -> Row:
        """The step from level t to level s, h = lambda_s - lambda_t apart, as factors of x_t, eps and z: score = -eps / sigma_t."""
        a, b = transition(s, t, h)
        pull = (1 + self.eta**2) / 2 * b * b / t.sigma
        return Row(2 - a, (-float(pull),), self.eta * float(b) if s.sigma > 0 else 0.0)

    def plan(self, path: Path) -> Plan:
        """One move a step."""
        return Plan("epsilon", [Move(t, self.row(t, s, h), to=s) for t, s, h in zip(path.levels, path.levels[1:], path.steps)])


REVERSE_DIFFUSION = ReverseDiffusion()


def langevin_step_size(score: Any, noise: Any, snr: float, alpha: float = 1.0, batch_mean: bool = False) -> Any:
    """The step that makes the pull of the score and the noise stand in a given ratio.

        eps = 2 alpha (snr |z| / |score|)^2                                          Song et al. 2021, Algorithms 4 and 5

    then |eps score| = snr sqrt(alpha) |sqrt(2 eps) z|. score, noise (z): (N, ...), alike. alpha: see `LangevinCorrector`. batch_mean:
    whether |z| and |score| are means over the batch, as in Song's code, where the result for a sample depends on its companions.
    Returns (N, 1, ..., 1), or (1, 1, ..., 1), beside score. Raises FloatingPointError where the score is 0 (no step is large enough).
    """
    check_batch("langevin_step_size", score, "score")
    check_alike("langevin_step_size", score=score, noise=noise)
    check_numbers("langevin_step_size", snr=snr, alpha=alpha)
    if not (0 < snr < math.inf and 0 < alpha < math.inf):
        raise ValueError(f"langevin_step_size: expected finite snr > 0 and alpha > 0, got {snr} and {alpha}")
    score_norm = _norm(score, batch_mean)
    if not bool((to_array(score_norm) > 0).all()):  # false for NaN too
        raise FloatingPointError("langevin_step_size: the score of a sample is 0 or NaN, so no step has this ratio")
    ratio = snr * _norm(noise, batch_mean) / score_norm
    return 2 * alpha * ratio * ratio


def _norm(x: Any, batch_mean: bool) -> Any:
    norms = apply("sqrt", (x * x).reshape(x.shape[0], math.prod(x.shape[1:])).sum(axis=1))
    norms = norms.reshape((-1,) + (1,) * (len(x.shape) - 1))
    return norms.mean().reshape((1,) * len(x.shape)) if batch_mean and x.shape[0] else norms


@dataclass(frozen=True)
class LangevinCorrector:
    """Some steps of Langevin dynamics at one noise level, their size chosen by `langevin_step_size`.

    snr: the ratio r of Song et al.; 0.16 for variance exploding and 0.05 ... 0.2 for variance preserving processes in their code.
    steps: how many. batch_mean: see `langevin_step_size`. Raises ValueError for an snr that is not positive, a number of steps below 1.
    """

    snr: float = 0.16
    steps: int = 1
    batch_mean: bool = False

    def __post_init__(self) -> None:
        check_numbers("LangevinCorrector", snr=self.snr)
        check_counts("LangevinCorrector", steps=self.steps)
        if not 0 < self.snr < math.inf:
            raise ValueError(f"LangevinCorrector: expected a finite snr > 0, got {self.snr}")

    def __call__(self, score: Callable[[Any], Any], x: Any, fresh: Iterator[Any], alpha: float = 1.0) -> Any:
        """x after the steps. score: a function of x. fresh: gives `steps` arrays of noise. alpha: the factor of the step size."""
        for _ in range(self.steps):
            slope, z = score(x), next(fresh)
            x = langevin_step(x, slope, langevin_step_size(slope, z, self.snr, alpha, self.batch_mean), z)
        return x


def predictor_corrector(
    model: Callable[[Any, Any], Any],
    process: Process,
    x: Any,
    times: Sequence[float],
    predictor: Sampler = REVERSE_DIFFUSION,
    corrector: LangevinCorrector = LangevinCorrector(),
    *,
    generator: Any = None,
    noise: Sequence[Any] | None = None,
    corrector_noise: Sequence[Any] | None = None,
    prediction_type: str = "epsilon",
    set_alpha_to_one: bool = True,
    **options: Any,
) -> Any:
    """A sampler whose every step is followed by Langevin steps at the level it reached: Song et al. 2021, Algorithms 1, 2 and 3.

    predictor: any sampler of one call a step that keeps no memory: REVERSE_DIFFUSION, DDPM, DDIM ... corrector: how it is corrected. Where
    the walk arrives at the data, sigma = 0, nothing is corrected. The step size of the corrector has the factor alpha_i = (alpha(t) /
    alpha(s))^2, s the time after t: 1 - beta of the step for variance preserving processes (Algorithm 5), 1 for variance exploding ones
    (Algorithm 4). As in the paper, the predictor is the first to move; in Song's code the corrector is, which adds a correction at the
    first time, where x is drawn from the prior anyway.
    x, times, prediction_type, set_alpha_to_one, and options (callback, clip_denoised ...): as for `sample`; clipping is the predictor's
    alone.
    generator: draws the noise of both in the order of the walk; or noise for the predictor and corrector_noise for the corrector, arrays
    like x: `corrector.steps` for each level that is corrected.
    Returns x_0, like x. Raises as `sample` and `score_function`; ValueError for noise of the one without the other.
    """
    check_batch("predictor_corrector", x)
    way = path(process, times, set_alpha_to_one)
    corrected = sum(level.sigma > 0 for level in way.levels[1:])
    fresh = fresh_noise("predictor_corrector: corrector", x, corrected * corrector.steps, generator, corrector_noise)
    score = score_function(model, process, prediction_type)

    def correct(step: int, level: Level, x: Any) -> Any:
        if level.sigma == 0:
            return x
        following = way.levels[step + 2].alpha if step + 2 < len(way.levels) else 1.0
        return corrector(lambda x: score(x, level.time), x, fresh, (level.alpha / following) ** 2)

    return sample(model, process, x, times, predictor, generator=generator, noise=noise, prediction_type=prediction_type,
                  set_alpha_to_one=set_alpha_to_one, arrived=correct, **options)
