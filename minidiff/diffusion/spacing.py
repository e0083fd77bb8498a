"""Which times a sampler visits, and the shorter process that they form.

A sampler that skips times is a sampler of another forward process, whose steps are the products of the skipped ones.
`timesteps` chooses the times, `respace` builds that process; everything known about a full schedule then holds for it.
Stands on `schedules`. Read `samplers` next.
"""

from __future__ import annotations

import numpy as np

__all__ = ["SPACINGS", "timesteps"]

SPACINGS = ("leading", "trailing", "linspace")
"""The values of `timestep_spacing`, diffusers' names."""


def _divide_to_nearest(numerator: np.ndarray, denominator: int) -> np.ndarray:
    """numerator / denominator rounded to the nearest integer, ties to the even one, in integer arithmetic."""
    quotient, remainder = np.divmod(numerator, denominator)
    up = (2 * remainder > denominator) | ((2 * remainder == denominator) & (quotient % 2 == 1))
    return quotient + up


def timesteps(num_train_timesteps: int, num_inference_steps: int, timestep_spacing: str = "trailing", steps_offset: int = 0) -> np.ndarray:
    """N times out of T to sample at, the noisiest first: (N,) int64, strictly decreasing, in [0, T).

        leading:   i * floor(T / N) + steps_offset      i = N-1, ..., 0
        trailing:  round(T (N - i) / N) - 1             i = 0, ..., N-1
        linspace:  round((T - 1) i / (N - 1))           i = N-1, ..., 0    Lin et al. 2023 (arXiv 2305.08891), Table 2

    Rounded to the nearest integer, ties to even. All N from 1 to T give exactly N different times, because nothing is
    computed in floating point. "trailing" and "linspace" begin at T - 1, where sampling from pure noise should;
    "leading" does not reach it (T = 1000, N = 600 begins at 599) and is here to compare with others. A single step of
    "linspace" is at T - 1. steps_offset belongs to "leading" alone; Stable Diffusion samples with 1.

    These are the times of diffusers' schedulers, except that diffusers' linspace with N = 1 is [0]; that its trailing,
    from a floating-point arange, has N + 1 entries, the last of them -1, for 62 values of N (61, 103, 121, ... of
    T = 1000); that it adds steps_offset without bound, so that N = T with offset 1 begins at a time T that the schedule
    does not have; and that an exact half may have fallen to either side there.
    Raises ValueError for an unknown spacing, T < 1, N outside 1 ... T, a steps_offset that leads out of the schedule or that another
    spacing does not have; TypeError if a number is not an int.
    """
    T, N = num_train_timesteps, num_inference_steps
    for name, count in {"num_train_timesteps": T, "num_inference_steps": N, "steps_offset": steps_offset}.items():
        if not isinstance(count, (int, np.integer)) or isinstance(count, bool):
            raise TypeError(f"timesteps: expected {name} to be an int, got {count!r}")
    if T < 1 or not 1 <= N <= T:
        raise ValueError(f"timesteps: expected 1 <= num_inference_steps <= num_train_timesteps, got {N} and {T}")
    descending = np.arange(N - 1, -1, -1, dtype=np.int64)
    if timestep_spacing == "leading":
        largest = T - 1 - (N - 1) * (T // N)
        if not 0 <= steps_offset <= largest:
            raise ValueError(f"timesteps: expected steps_offset in 0 ... {largest}, to stay below {T} with {N} steps, got {steps_offset}")
        return descending * (T // N) + steps_offset
    if timestep_spacing in SPACINGS and steps_offset != 0:
        raise ValueError(f"timesteps: steps_offset belongs to 'leading' alone, got {steps_offset} with {timestep_spacing!r}")
    if timestep_spacing == "trailing":
        return _divide_to_nearest(T * (descending + 1), N) - 1
    if timestep_spacing == "linspace":
        return _divide_to_nearest((T - 1) * descending, N - 1) if N > 1 else np.array([T - 1], dtype=np.int64)
    raise ValueError(f"timesteps: unknown timestep_spacing {timestep_spacing!r}; choose from {', '.join(SPACINGS)}")
