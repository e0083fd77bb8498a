"""Which times a sampler visits, and the shorter process that they form.

A sampler that skips times is a sampler of another forward process, whose steps are the products of the skipped ones.
`timesteps` chooses the times, `respace` builds that process; everything known about a full schedule then holds for it.
Stands on `schedules`. Read `samplers` next.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff.diffusion.schedules import Schedule

SPACINGS = ("leading", "trailing", "linspace")
"""The values of `timestep_spacing`, diffusers' names."""


def _divide_to_nearest(numerator: np.ndarray, denominator: int) -> np.ndarray:
    """numerator / denominator rounded to the nearest integer, ties to the even one, in integer arithmetic."""
    quotient, remainder = np.divmod(numerator, denominator)
    up = (2 * remainder > denominator) | ((2 * remainder == denominator) & (quotient % 2 == 1))
    return quotient + up


def timesteps(num_train_timesteps: int, num_inference_steps: int, timestep_spacing: str = "trailing") -> np.ndarray:
    """N times out of T to sample at, the noisiest first: (N,) int64, strictly decreasing, in [0, T).

        leading:   i * floor(T / N)                     i = N-1, ..., 0
        trailing:  round(T (N - i) / N) - 1             i = 0, ..., N-1
        linspace:  round((T - 1) i / (N - 1))           i = N-1, ..., 0    Lin et al. 2023 (arXiv 2305.08891), Table 2

    Rounded to the nearest integer, ties to even. All N from 1 to T give exactly N different times, because nothing is
    computed in floating point. "trailing" and "linspace" begin at T - 1, where sampling from pure noise should;
    "leading" does not reach it (T = 1000, N = 600 begins at 599) and is here to compare with others. A single step of
    "linspace" is at T - 1. These are the times of diffusers' schedulers (steps_offset = 0), except that diffusers'
    linspace with N = 1 is [0]; that its trailing, from a floating-point arange, has N + 1 entries, the last of them
    -1, for 62 values of N (61, 103, 121, ... of T = 1000); and that an exact half may have fallen to either side there.
    Raises ValueError for an unknown spacing, T < 1, or N outside 1 ... T; TypeError if one of them is not an int.
    """
    T, N = num_train_timesteps, num_inference_steps
    for name, count in {"num_train_timesteps": T, "num_inference_steps": N}.items():
        if not isinstance(count, (int, np.integer)) or isinstance(count, bool):
            raise TypeError(f"timesteps: expected {name} to be an int, got {count!r}")
    if T < 1 or not 1 <= N <= T:
        raise ValueError(f"timesteps: expected 1 <= num_inference_steps <= num_train_timesteps, got {N} and {T}")
    descending = np.arange(N - 1, -1, -1, dtype=np.int64)
    if timestep_spacing == "leading":
        return descending * (T // N)
    if timestep_spacing == "trailing":
        return _divide_to_nearest(T * (descending + 1), N) - 1
    if timestep_spacing == "linspace":
        return _divide_to_nearest((T - 1) * descending, N - 1) if N > 1 else np.array([T - 1], dtype=np.int64)
    raise ValueError(f"timesteps: unknown timestep_spacing {timestep_spacing!r}; choose from {', '.join(SPACINGS)}")


def check_timesteps(times: Any, num_train_timesteps: int) -> np.ndarray:
    """A list of times to visit as (S,) int64: strictly decreasing, in [0, num_train_timesteps), not empty.

    Raises TypeError if they are not integers, ValueError, with the first offending time or pair, if otherwise wrong.
    """
    times = np.asarray(times)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"timesteps: expected a list of at least one time, got shape {times.shape}")
    if times.dtype.kind not in "iu":
        raise TypeError(f"timesteps: expected integers, got dtype {times.dtype}")
    outside = (times < 0) | (times >= num_train_timesteps)
    if outside.any():
        raise ValueError(
            f"timesteps: {times[outside][0]} is outside the schedule, expected 0 ... {num_train_timesteps - 1}"
        )
    times = times.astype(np.int64)
    wrong = np.flatnonzero(np.diff(times) >= 0)
    if wrong.size:
        a, b = times[wrong[0]], times[wrong[0] + 1]
        raise ValueError(
            f"timesteps: expected strictly decreasing times, the noisiest first, got {a} before {b}; "
            "sort them in descending order, each time once"
        )
    return times


def respace(schedule: Schedule, times: Any) -> Schedule:
    """The forward process that stops only at the given times: a schedule of S steps.

        alpha'_k = abar_{tau_k} / abar_{tau_{k-1}},   abar'_k = abar_{tau_k},   abar_{tau_{-1}} = 1

    where tau_0 < ... < tau_{S-1} are the times in ascending order. Its posterior is the one to sample with when only
    these times are visited (Nichol & Dhariwal 2021, Eq. 19); its step k belongs to the time tau_k of the full process.
    times: (S,) integers, strictly decreasing, in [0, T), as `timesteps` gives them. Raises as `check_timesteps` does.
    """
    ascending = check_timesteps(times, schedule.num_train_timesteps)[::-1]
    log_alphas = schedule.log_alphas.tolist()
    ends = (ascending + 1).tolist()
    # A sum of the logs in between, because the quotient of two products would lose the digits of a small beta'.
    return Schedule.from_log_alphas([math.fsum(log_alphas[a:b]) for a, b in zip([0, *ends], ends)])
