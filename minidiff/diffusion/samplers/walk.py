"""The walk: any sampler, any process, any model, from noise back to data.

`sample` asks the model at each level of a plan, turns its answer into what the plan multiplies, and adds up.
`trajectory` keeps everything it passes. Stands on `plan` and `parameterization`. Read `pieces` next: the same, faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minidiff.backend import to_array
from minidiff.diffusion.arrays import apply, check_alike, check_batch, combine, fits, fresh_noise, is_tensor
from minidiff.diffusion.lookup import model_times
from minidiff.diffusion.parameterization import check_prediction_type, weights_of_noise, weights_of_start
from minidiff.diffusion.process import Level, Process, path
from minidiff.diffusion.samplers.ancestral import DDPM
from minidiff.diffusion.samplers.pieces import NEWEST, Reading, check_finite, read_and_combine
from minidiff.diffusion.samplers.plan import Move, Plan, Row, Sampler, plan_of
from minidiff.diffusion.variance import learned_log_variance, split_learned

__all__ = ["Model", "Trajectory", "sample", "trajectory"]

Model = Callable[[Any, Any], Any]
"""A model: called with x_t (N, ...) and times (N,), it returns an array like x_t."""


def sample(
    model: Model,
    process: Process,
    x: Any,
    times: Sequence[float],
    sampler: Sampler = DDPM,
    *,
    generator: Any = None,
    noise: Sequence[Any] | None = None,
    prediction_type: str = "epsilon",
    clip_denoised: bool = False,
    denoised_fn: Callable[[Any], Any] | None = None,
    rederive_epsilon: bool = True,
    set_alpha_to_one: bool = True,
    shift_mean: Callable[..., Any] | None = None,
    callback: Callable[[int, float, Any, Any], None] | None = None,
    arrived: Callable[[int, Level, Any], Any] | None = None,
) -> Any:
    """Walk from noise to data.

    model: called at every level with x_t and the time, (N,) on the host (in x's own library for PyTorch and JAX): int64 at the integer
        times of a `Schedule`, else floats. It answers in the manner of prediction_type, an array or Tensor like x_t. (With networks of
        minidiff, call under `no_grad`.)
    process: a `Schedule`, or a continuous process; `EDM`, whose times are sigmas, for models D(x, sigma).
    x: (N, ...), floats of any library: where the walk begins, alpha x_0 + sigma eps at the first time. It is not written to.
    times: S times, strictly decreasing: integers in [0, T) for a Schedule, as `timesteps` gives them, real times for another process.
    sampler: DDPM, DDIM, HEUN ..., a member of one of the families in `samplers`.
    generator: draws the fresh noise, by its method standard_normal(shape, dtype); or
    noise: the arrays of fresh noise themselves, each like x, in the order of the walk: `sampler.plan(path(process, times)).draws` of them.
    clip_denoised: clip every predicted x_0 to [-1, 1], the range of images. denoised_fn: applied to every predicted x_0, before that.
    rederive_epsilon: after either, compute eps again, so that both still agree with x_t (so does GLIDE). False keeps the old eps, and so
        moves x_t by alpha (new x_0 - old x_0), as diffusers' DDIM does unless told otherwise; only for samplers that ask at x_t alone.
    set_alpha_to_one: see `path`.
    shift_mean: called as shift_mean(mean, variance, x_t=x_t, t=t) before a step adds its noise of that variance; what it returns takes the
        place of the mean (classifier guidance). Only for samplers that ask once a step, and then add noise.
    callback: called after the first prediction of each step as callback(i, t, x_t, x_start), i = 0 ... counting the steps; t is the time
        of that prediction.
    arrived: called at the end of each step as arrived(i, level, x); what it returns takes the place of x.

    Returns x_0, like x. "The previous time" of a step is always the next entry of `times`, and after the last it is the data itself.
    Raises, before the first step, ValueError or TypeError for a bad list of times, x or noise of a wrong shape or dtype, an unknown
    prediction_type or one that this process or sampler cannot serve, options that do not go with the sampler, missing or double noise; at a
    step, ValueError, TypeError or FloatingPointError, with the step and its time, for a model that answers with another shape, another
    dtype, or NaN or infinity.
    """
    check_prediction_type("sample", prediction_type)
    check_batch("sample", x)
    plan = plan_of("sample", sampler, path(process, times, set_alpha_to_one))
    read = _Reader(plan, prediction_type, denoised_fn, clip_denoised, rederive_epsilon)
    _check_plan(plan, prediction_type)
    _check_options(plan, keeps_epsilon=read.keeps_epsilon, shifts=shift_mean is not None)
    wanted_later, longest = _wanted_later(plan)
    rows = _Rows(read, longest, fresh_noise("sample", x, plan.draws, generator, noise))
    plain = not (callback or denoised_fn or shift_mean or plan.learns or read.keeps_epsilon)

    base = at = x  # from where the rows go, and where the model is asked
    step, begins = 0, True
    for move, wanted in zip(plan.moves, wanted_later):
        level, row = move.level, move.ahead if move.settle is None else move.settle
        where = f"sample: step {step} (time {level.time})"
        if move.churn is not None:
            base = at = rows.follow(move.churn, base)
        output, std = _ask(where, model, at, move, plan.learns)

        if plain and fits(at, base, output):
            result = rows.in_one_pass(where, row, level, base, at, output, wanted)
        else:
            check_finite(where, output)
            prediction, start, moved = read(at, output, level, begins and callback is not None, wanted)
            if begins and callback is not None:
                callback(step, level.time, at, start)
            if moved is not None:
                base = base + moved
            terms = rows.terms(row, level, base, at, output, prediction)
            result = _add_up(where, row, terms, std, shift_mean and partial(shift_mean, x_t=at, t=level.time))
            rows.remember(prediction)

        if move.settle is None:  # a stage within the step
            at, begins = result, False
            continue
        base = at = result
        begins = move.to is not None
        if begins:
            if arrived is not None:
                base = at = _replaced(f"{where}: arrived", base, arrived(step, move.to, base))
            step += 1
        if move.ahead is not None:
            at = rows.follow(move.ahead, base)
    return base


@dataclass
class _Rows:
    """Follows rows: has the predictions that were made, and the noise that comes next.

    predictions: at most `longest`, the newest first; None for one that no later row wants. spare: predictions that no row wants any more;
    written over in one pass, where nobody else has seen them.
    """

    read: _Reader
    longest: int
    fresh: Iterator[Any]
    last_noise: Any = None
    predictions: list[Any] = field(default_factory=list)
    spare: list[Any] = field(default_factory=list)

    def follow(self, row: Row, base: Any) -> Any:
        """A row of nothing but what is known: x, earlier predictions, noise."""
        return combine((row.x, base), *zip(row.predictions, self.predictions), *self.noise(row))

    def noise(self, row: Row) -> list[tuple[float, Any]]:
        """The noise in a row: (factor, array) of each term, the fresh one last."""
        terms = []
        if row.last_noise != 0:
            terms.append((row.last_noise, self.last_noise))
        if row.noise != 0:
            self.last_noise = next(self.fresh)
            terms.append((row.noise, self.last_noise))
        return terms

    def terms(self, row: Row, level: Level, base: Any, at: Any, output: Any, prediction: Any) -> list[tuple[float, Any]]:
        """(factor, array) of each term of a row with the newest prediction; if that is None, with the answer that it is made of."""
        newest = [(row.x, base), *zip(row.predictions[:1], [prediction])]
        if prediction is None:
            newest = self.read.directly(row, base, at, output, level)
        return [*newest, *zip(row.predictions[1:], self.predictions), *self.noise(row)]

    def remember(self, prediction: Any) -> None:
        """The newest prediction, for later rows."""
        predictions = [prediction, *self.predictions]
        self.spare += [gone for gone in predictions[self.longest:] if gone is not None]
        self.predictions = predictions[:self.longest]

    def in_one_pass(self, where: str, row: Row, level: Level, base: Any, at: Any, output: Any, wanted: bool) -> Any:
        """Read the answer, follow the row and remember the prediction, as `sample` does array by array: see `pieces`."""
        readings = self.read.readings(level, wanted)
        terms = self.terms(row, level, base, at, output, NEWEST if readings else None)
        prediction, result = read_and_combine(where, readings, at, output, terms, wanted, self.spare)
        self.remember(prediction)
        return result


def _add_up(where: str, row: Row, terms: list[tuple[float, Any]], std: Any, shift: Callable[[Any, Any], Any] | None) -> Any:
    """The sum of a row's terms; if it ends with noise, its standard deviation may be the model's, and its mean may be shifted before."""
    if std is None and shift is None:
        return combine(*terms)
    std, noise = (row.noise if std is None else std), (terms.pop()[1] if row.noise != 0 else None)
    mean = combine(*terms)
    if shift is not None:
        mean = _replaced(f"{where}: shift_mean", mean, shift(mean, std * std))
    return mean if noise is None else mean + std * noise


def _replaced(where: str, old: Any, new: Any) -> Any:
    """What a caller's function gave in the place of an array, if it is alike."""
    new = new if is_tensor(old) else to_array(new)
    check_alike(where, x=old, its_result=new)
    return new


def _ask(where: str, model: Model, x: Any, move: Move, learns: str | None) -> tuple[Any, Any]:
    """(the model's prediction, the standard deviation that it has learned or None)."""
    output = model(x, model_times(move.level.time, x))
    output = output if is_tensor(x) else to_array(output)
    if learns is None:
        check_alike(where, x=x, model_output=output)
        return output, None
    output, learned = split_learned(where, output, x)
    check_alike(where, x=x, model_output=output)
    check_finite(where, learned)
    return output, apply("exp", learned_log_variance(learns, learned, *move.log_variances) / 2)


@dataclass(frozen=True)
class _Reader:
    """Turns a model's answer into the plan's kind of prediction."""

    plan: Plan
    prediction_type: str
    denoised_fn: Callable[[Any], Any] | None
    clip_denoised: bool
    rederive_epsilon: bool

    @property
    def changes_start(self) -> bool:
        """Whether the predicted x_0 may be replaced by another."""
        return self.clip_denoised or self.denoised_fn is not None

    @property
    def keeps_epsilon(self) -> bool:
        """Whether the predicted eps stays when x_0 is replaced."""
        return self.changes_start and not self.rederive_epsilon

    def weights(self, level: Level) -> tuple[float, float]:
        """(a, b) of the prediction a x + b answer, if x_0 is left as it is."""
        weights = weights_of_start if self.plan.predicts == "sample" else weights_of_noise
        return weights(self.prediction_type, level.alpha, level.sigma)

    def directly(self, row: Row, base: Any, at: Any, output: Any, level: Level) -> list[tuple[float, Any]]:
        """The first two terms of a row, x and the newest prediction, as terms in the arrays that the prediction is made of."""
        a, b = self.weights(level)
        newest = row.predictions[0] if row.predictions else 0.0
        if base is at:
            return [(row.x + newest * a, at), (newest * b, output)]
        return [(row.x, base), (newest * a, at), (newest * b, output)]

    def readings(self, level: Level, wanted: bool) -> list[Reading]:
        """From the answer to the prediction, where only clipping may come between; none if nobody needs the prediction itself."""
        if not (wanted or self.changes_start):
            return []
        if not self.clip_denoised:
            return [Reading(*self.weights(level))]
        start = Reading(*weights_of_start(self.prediction_type, level.alpha, level.sigma), clip=True)
        return [start] if self.plan.predicts == "sample" else [start, Reading(*weights_of_noise("sample", level.alpha, level.sigma))]

    def __call__(self, x: Any, output: Any, level: Level, wants_start: bool, wanted: bool) -> tuple[Any, Any, Any]:
        """(what the rows multiply, the predicted x_0, what keeping the old eps adds to x); None for what nobody needs.

        wanted: whether a later row multiplies the prediction; this one can be written with the answer, unless x_0 was replaced.
        """
        start = moved = None
        if self.changes_start or wants_start:
            a, b = weights_of_start(self.prediction_type, level.alpha, level.sigma)
            start = predicted = combine((a, x), (b, output))
            if self.denoised_fn is not None:
                start = _replaced("sample: denoised_fn", start, self.denoised_fn(start))
            if self.clip_denoised:
                start = start.clip(-1, 1)
            if self.keeps_epsilon:
                moved = level.alpha * (start - predicted)
        if not (wanted or self.changes_start):
            return None, start, moved
        if not self.changes_start or (self.keeps_epsilon and self.plan.predicts == "epsilon"):
            a, b = self.weights(level)
            return combine((a, x), (b, output)), start, moved
        if self.plan.predicts == "epsilon":
            a, b = weights_of_noise("sample", level.alpha, level.sigma)
            return combine((a, x), (b, start)), start, moved
        return start, start, moved


@dataclass
class Trajectory:
    """What a walk passed: at each step the time, x_t and the predicted x_0; at the end x. Filled by `trajectory`."""

    times: list[float] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)

    def __call__(self, step: int, t: float, x: Any, x_start: Any) -> None:
        """Keep a step."""
        self.times.append(t)
        self.states.append(x)
        self.predictions.append(x_start)


def trajectory(*arguments: Any, **options: Any) -> Trajectory:
    """`sample`, with a record of the way: S times and predictions, and S + 1 states, of which the last is the result.

    Takes what `sample` takes, but no callback. Raises as `sample`.
    """
    record = Trajectory()
    record.states.append(sample(*arguments, **options, callback=record))
    return record


def _check_plan(plan: Plan, prediction_type: str) -> None:
    """Refuse a prediction that says nothing at some level of the walk, and factors that are not finite."""
    for move in plan.moves:
        if move.level.alpha == 0 and prediction_type in ("epsilon", "score"):
            raise ValueError(
                f"sample: at time {move.level.time} nothing is left of the data (zero terminal SNR), so prediction_type "
                f"{prediction_type!r} cannot give x_0 there; use a model of v_prediction or sample, or begin at a smaller time"
            )
        if not all(math.isfinite(c) for row in move.rows for c in (row.x, *row.predictions, row.noise, row.last_noise)):
            raise ValueError(
                f"sample: this sampler divides by alpha = 0 at time {move.level.time} (zero terminal SNR); "
                "choose one that works in x_0 (DDIM, DDPM, DPM-Solver++), or begin at a smaller time"
            )


def _check_options(plan: Plan, keeps_epsilon: bool, shifts: bool) -> None:
    """Refuse options that mean something only where x_t is asked about and then left."""
    several = any(move.ahead is not None for move in plan.moves)
    if keeps_epsilon and several:
        raise ValueError(
            "sample: rederive_epsilon=False moves x_t, but this sampler asks the model elsewhere too; leave rederive_epsilon=True, "
            "or choose a sampler that asks once a step (DDIM, DDPM, DPM-Solver++(2M))"
        )
    if shifts and (several or any(move.churn is not None for move in plan.moves)):
        raise ValueError(
            "sample: shift_mean shifts the mean of a step that ends with noise, but this sampler asks the model or adds noise within the "
            "step too; choose one that asks once a step (DDPM, DPM-Solver++(2M) SDE), or guide the model's prediction instead"
        )


def _wanted_later(plan: Plan) -> tuple[list[bool], int]:
    """Whether a later row multiplies the prediction of this move, for each; and how many earlier predictions a row may look back on."""
    wanted, longest = [False] * len(plan.moves), 0
    for i, move in enumerate(plan.moves):
        first, *second = [row for row in (move.settle, move.ahead) if row is not None]
        for row in (first, *second):
            for back, c in enumerate(row.predictions):
                if c != 0 and (back > 0 or row in second):
                    wanted[i - back] = True
                    longest = max(longest, back + len(second))
    return wanted, longest
