"""The families of noise schedules that people train with, under diffusers' names.

Each is one function from the number of steps T to the variances beta_0 ... beta_{T-1}; `make_schedule` chooses by name.
Stands on `schedules`. Read `continuous` next.
"""

from __future__ import annotations

import inspect
from decimal import Context, Decimal, localcontext
from itertools import accumulate

import numpy as np

from minidiff.diffusion.arrays import check_counts, check_numbers
from minidiff.diffusion.schedules import Schedule, check_schedule

__all__ = ["BETA_SCHEDULES", "make_schedule", "rescale_zero_terminal_snr"]


def linear_betas(num_train_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """T values evenly spaced from beta_start to beta_end, both included: (T,) float64.

        beta_t = beta_start + (beta_end - beta_start) t / (T - 1)                     Ho et al. 2020, Section 4

    The two ends are made for T = 1000 and are not rescaled for another T: a short schedule of this family does not
    reach pure noise (T = 10 leaves abar = 0.90). A single step takes beta_start. What CompVis calls "linear" is linear
    in sqrt(beta), diffusers' "scaled_linear", and another schedule.
    """
    return np.linspace(beta_start, beta_end, num_train_timesteps)


def scaled_linear_betas(num_train_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """T values whose square roots are evenly spaced: (T,) float64.

        sqrt(beta_t) = sqrt(beta_start) + (sqrt(beta_end) - sqrt(beta_start)) t / (T - 1)

    Ho et al.'s code calls this formula "quad", `make_schedule` also "quadratic"; CompVis, confusingly, "linear". Stable
    Diffusion is trained with beta_start = 0.00085 and beta_end = 0.012.
    """
    if not min(beta_start, beta_end) > 0:
        raise ValueError(f"scaled_linear: expected beta_start and beta_end above 0, got {beta_start} and {beta_end}")
    return np.linspace(np.sqrt(beta_start), np.sqrt(beta_end), num_train_timesteps) ** 2


def sigmoid_betas(num_train_timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> np.ndarray:
    """T values that rise like a sigmoid seen from -6 to 6: (T,) float64. From GeoDiff (Xu et al. 2022), in diffusers.

        beta_t = beta_start + (beta_end - beta_start) / (1 + exp(-z_t)),   z_t evenly spaced from -6 to 6

    The ends are approached, not reached: 1 / (1 + exp(6)) = 0.0025 of the way is missing at each. Not the sigmoid of
    Jabri et al. 2022, which is one of abar and not of beta.
    """
    z = np.linspace(-6, 6, num_train_timesteps)
    return beta_start + (beta_end - beta_start) / (1 + np.exp(-z))


def squaredcos_cap_v2_betas(num_train_timesteps: int, max_beta: float = 0.999) -> np.ndarray:
    """The cosine schedule: abar falls like a squared cosine. (T,) float64.

        f(u) = cos((u + 0.008) / 1.008 * pi/2)^2
        beta_t = min(1 - f((t + 1)/T) / f(t/T), max_beta)               Nichol & Dhariwal 2021, Eq. 17

    abar_t = f((t + 1)/T) / f(0) for the 0-based t, until the cap, which keeps the last step from destroying all data.
    """
    steps = np.arange(num_train_timesteps)
    per_step = np.pi / 2 / (1.008 * num_train_timesteps)
    # 1 - cos(b)^2 / cos(a)^2 = sin(b - a) sin(b + a) / cos(a)^2: no difference of two numbers close to 1. Near the end, where cos(a) and
    # sin(b + a) are small, they are sines of what is missing to pi/2 and to pi.
    to_end = num_train_timesteps - steps
    total = np.minimum(2 * steps + 1 + 0.016 * num_train_timesteps, 2 * to_end - 1)
    return np.minimum(np.sin(per_step) * np.sin(per_step * total) / np.sin(per_step * to_end) ** 2, max_beta)


BETA_SCHEDULES = {
    "linear": linear_betas,                        # Ho et al. 2020
    "scaled_linear": scaled_linear_betas,          # Rombach et al. 2022: latent diffusion
    "quadratic": scaled_linear_betas,              # the same, by the name in Ho et al.'s code
    "squaredcos_cap_v2": squaredcos_cap_v2_betas,  # Nichol & Dhariwal 2021
    "sigmoid": sigmoid_betas,                      # Xu et al. 2022
}
"""The families of `make_schedule`, under diffusers' names."""


def make_schedule(
    beta_schedule: str = "linear", num_train_timesteps: int = 1000, *, rescale_betas_zero_snr: bool = False, **options: float
) -> Schedule:
    """A named schedule of T = num_train_timesteps steps.

    beta_schedule: "linear", "scaled_linear" (also "quadratic") or "sigmoid" (options beta_start, 1e-4, and beta_end, 0.02), or
    "squaredcos_cap_v2" (max_beta, 0.999). rescale_betas_zero_snr: let the last step destroy the data, `rescale_zero_terminal_snr`.
    Raises ValueError for an unknown name, an option that the family does not have, T < 1 or variances outside (0, 1);
    TypeError for a T that is not an int.
    """
    if beta_schedule not in tuple(BETA_SCHEDULES):
        raise ValueError(
            f"make_schedule: unknown beta_schedule {beta_schedule!r}; choose from {', '.join(BETA_SCHEDULES)}"
        )
    check_counts("make_schedule", num_train_timesteps=num_train_timesteps)
    check_numbers("make_schedule", **options)
    family = BETA_SCHEDULES[beta_schedule]
    known = list(inspect.signature(family).parameters)[1:]
    for name in options:
        if name not in known:
            raise ValueError(f"make_schedule: {beta_schedule!r} has no option {name!r}; it has {', '.join(known)}")
    schedule = Schedule.from_betas(family(num_train_timesteps, **options))
    return rescale_zero_terminal_snr(schedule) if rescale_betas_zero_snr else schedule


def rescale_zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The schedule shifted and scaled so that its last time is pure noise and its first is what it was.

        sqrt(abar'_t) = (sqrt(abar_t) - sqrt(abar_{T-1})) sqrt(abar_0) / (sqrt(abar_0) - sqrt(abar_{T-1}))

    Lin et al. 2023 (arXiv 2305.08891), Algorithm 1. A schedule that leaves some signal at its end (`linear` with T = 1000: abar = 4e-5)
    has never shown the model pure noise, which is what sampling begins with. At T - 1 epsilon says nothing about the data any more:
    train and sample with v_prediction or sample, and begin sampling there (spacing "trailing" or "linspace").
    A schedule with zero terminal SNR comes back as it is. Raises ValueError for a schedule of one step, whose first time is its last.
    """
    check_schedule("rescale_zero_terminal_snr", schedule)
    if schedule.num_train_timesteps == 1:
        raise ValueError("rescale_zero_terminal_snr: expected at least 2 steps, got 1, whose abar cannot be both kept and made 0")
    if schedule.alphas_cumprod[-1] == 0:
        return schedule
    # sqrt(abar_{t-1}) - sqrt(abar_t), written without the difference; all differences of the formula are sums of these.
    drops = schedule.sqrt_alphas_cumprod_prev * schedule.betas / (1 + schedule.sqrt_alphas)
    above = _sums(drops[:0:-1])[::-1]  # above[t] = sqrt(abar_t) - sqrt(abar_{T-1})
    below = _sums(drops[1:])  # below[t] = sqrt(abar_0) - sqrt(abar_t)
    first, lost = schedule.alphas_cumprod[0], schedule.one_minus_alphas_cumprod[0]
    kept = above / above[0]
    fallen = drops[1:] / above[:-1]
    return Schedule(
        betas=np.append(schedule.betas[0], fallen * (1 + above[1:] / above[:-1])),
        alphas=np.append(schedule.alphas[0], (above[1:] / above[:-1]) ** 2),
        alphas_cumprod=first * kept**2,
        one_minus_alphas_cumprod=lost + first * (below / above[0]) * (1 + kept),
    )


def _sums(terms: np.ndarray) -> np.ndarray:
    """The sums of the first 0, 1, 2, ... terms, added in 40 digits."""
    with localcontext(Context(prec=40)):
        return np.array([0.0, *map(float, accumulate(map(Decimal, terms.tolist())))])
