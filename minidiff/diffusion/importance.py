"""Which times to train at: any probabilities, and the weights that leave the expected loss as it is.

A loss is a mean over all times; drawing time t with probability p_t and weighting its loss by 1 / (T p_t) has the same
expectation for every p, and the least variance for p_t proportional to sqrt(E L_t^2). Stands on NumPy. Read `spacing` next, the first
half of sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff.backend import to_numpy
from minidiff.diffusion.arrays import check_counts, check_generator, check_numbers
from minidiff.diffusion.lookup import check_times

__all__ = ["LossHistory", "draw_times", "importance_weights", "uniform_probabilities"]


def uniform_probabilities(num_train_timesteps: int) -> np.ndarray:
    """p_t = 1 / T: (T,). Ho et al. 2020, Algorithm 1. Raises TypeError or ValueError unless T is an int of at least 1."""
    check_counts("uniform_probabilities", num_train_timesteps=num_train_timesteps)
    return np.full(num_train_timesteps, 1 / num_train_timesteps)


def importance_weights(probabilities: Any, t: Any) -> Any:
    """1 / (T p_t): with these weights the expected loss is the mean over all times, whatever the probabilities.

        E_{t ~ p}[L_t / (T p_t)] = 1/T sum_t L_t

    probabilities: (T,), not negative, with a sum of 1. t: an int, or (N,) host integers, in [0, T). Returns float64 like t.
    Raises ValueError for what are no probabilities, and for a time that has probability 0.
    """
    p = _checked("importance_weights", probabilities)
    drawn = p[check_times(t, len(p))]
    if (drawn == 0).any():
        raise ValueError("importance_weights: a time of probability 0 is never drawn, so no weight can make up for it")
    return 1 / (len(p) * drawn)


def draw_times(probabilities: Any, count: int, generator: Any) -> tuple[np.ndarray, np.ndarray]:
    """(times, weights): `count` independent times drawn with these probabilities, and their `importance_weights`.

    The time of a uniform u is the first t with u < p_0 + ... + p_t. generator: has random(shape, dtype), uniforms in [0, 1).
    Returns (N,) int64 and (N,) float64: the t and the weight of `simple_loss`.
    Raises ValueError for probabilities that are negative, not finite, or do not sum to 1.
    """
    p = _checked("draw_times", probabilities)
    check_counts("draw_times", 0, count=count)
    check_generator("draw_times", generator, "random")
    u = to_numpy(generator.random((count,), "float64"))
    times = np.searchsorted(np.cumsum(p), u, side="right")
    times = np.minimum(times, np.flatnonzero(p)[-1]).astype(np.int64)  # the rounded sum may fall short of the largest u
    return times, importance_weights(p, times)


@dataclass(frozen=True)
class LossHistory:
    """The latest losses at each time, from which Nichol & Dhariwal 2021 (Section 3.3) draw times: "loss second moment".

    losses: (T, H) float64, the newest last. counts: (T,) int64, how many of a row are filled. `LossHistory.empty` makes one, `updated` the
    next one; two plain arrays are the whole state, to be saved as they are.
    """

    losses: np.ndarray
    counts: np.ndarray

    def __post_init__(self) -> None:
        losses, counts = np.asarray(self.losses), np.asarray(self.counts)
        if losses.ndim != 2 or losses.size == 0 or counts.shape != losses.shape[:1]:
            raise ValueError(f"LossHistory: expected losses (T, H) and counts (T,), got shapes {losses.shape} and {counts.shape}")

    @classmethod
    def empty(cls, num_train_timesteps: int, history_per_term: int = 10) -> LossHistory:
        """No losses yet. Raises TypeError or ValueError for sizes that are no ints of at least 1."""
        check_counts("LossHistory.empty", num_train_timesteps=num_train_timesteps, history_per_term=history_per_term)
        return cls(np.zeros((num_train_timesteps, history_per_term)), np.zeros(num_train_timesteps, dtype=np.int64))

    def updated(self, t: Any, losses: Any) -> LossHistory:
        """With a batch of losses at the times t behind the others; the oldest fall out.

        t: (N,) host integers; losses: (N,) numbers, one for each, before weights (`training_losses`). Raises ValueError if they are not
        finite: they would be remembered.
        """
        times, new = np.atleast_1d(check_times(t, len(self.counts))), np.asarray(to_numpy(losses), dtype=np.float64)
        if new.shape != times.shape:
            raise ValueError(f"LossHistory.updated: expected one loss for each of {len(times)} times, got shape {new.shape}")
        if not np.isfinite(new).all():
            raise ValueError("LossHistory.updated: a loss is NaN or infinite; leave such a batch out")
        rows, counts = np.array(self.losses), np.array(self.counts)
        for time, loss in zip(times, new):
            rows[time, :-1] = rows[time, 1:]
            rows[time, -1] = loss
            counts[time] = min(counts[time] + 1, rows.shape[1])
        return LossHistory(rows, counts)

    def probabilities(self, uniform_prob: float = 0.001) -> np.ndarray:
        """p_t, for `draw_times`: uniform until every time has a full row of losses, then

            p_t = (1 - u) sqrt(E[L_t^2]) / sum + u / T         Nichol & Dhariwal 2021, Eq. 18, and a share u = uniform_prob for all

        so that no time is forgotten whose losses happened to be small. Raises ValueError for a uniform_prob outside [0, 1].
        """
        check_numbers("LossHistory.probabilities", uniform_prob=uniform_prob)
        if not 0 <= uniform_prob <= 1:
            raise ValueError(f"LossHistory.probabilities: expected uniform_prob between 0 and 1, got {uniform_prob}")
        T, H = self.losses.shape
        size = np.sqrt((self.losses**2).mean(axis=1))
        if (self.counts < H).any() or size.sum() == 0:
            return uniform_probabilities(T)
        return (1 - uniform_prob) * size / size.sum() + uniform_prob / T


def _checked(where: str, probabilities: Any) -> np.ndarray:
    """(T,) float64. Raises ValueError for what are no probabilities."""
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 1 or p.size == 0 or not (p >= 0).all() or not abs(p.sum() - 1) < 1e-9:
        raise ValueError(f"{where}: expected probabilities, (T,) numbers of at least 0 with a sum of 1, got shape {p.shape}, sum {p.sum()}")
    return p
