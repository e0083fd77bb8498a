"""What a sampler itself costs: `python docs/sampler_overhead.py` prints the tables of docs/performance.md.

The model is free (it returns the same array every time) and the noise is given: what is left is the sampler. One call of the model and what
follows it is compared with one pass over the memory, y = x * 1.5, in turns. The second table (alone with the argument `blas`) says why a
sampler does not take SciPy's axpy: its threads and those of NumPy's BLAS are in each other's way.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.diffusion import SAMPLERS, make_schedule, path, sample, timesteps

SHOWN = ("ddim", "ddpm", "heun", "dpm_solver_2", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "plms")
SIZES = (1_000, 30_000, 300_000, 1_000_000, 4_000_000, 16_000_000)
TURNS = 7


def seconds(step: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def overhead(name: str, size: int) -> tuple[float, float]:
    """(seconds of a sampler for each call of the model, the same in passes)."""
    schedule, sampler = make_schedule(), SAMPLERS[name]
    times = timesteps(schedule.num_train_timesteps, 20 if size <= 1_000_000 else 8)
    plan = sampler.plan(path(schedule, times))
    x = np.random.default_rng(0).standard_normal((1, size), np.float32)
    answer, noise = 0.1 * x, [x] * plan.draws
    model = lambda x, t: answer
    walks, passes = [], []
    for _ in range(TURNS):
        walks.append(seconds(lambda: sample(model, schedule, x, times, sampler, noise=noise)) / len(plan.moves))
        passes += [seconds(lambda: x * 1.5) for _ in range(10)]
    call = statistics.median(walks)
    return call, call / statistics.median(passes)


def beside_each_other(turns: int = 200) -> dict[str, float]:
    """Median seconds of y + c x of 300,000 numbers, by NumPy and by SciPy's axpy, and of a product of matrices: alone, and in turns."""
    from scipy.linalg.blas import saxpy

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 300_000), np.float32)
    a, b = rng.standard_normal((2, 400, 400), np.float32)
    axpy, product = (lambda: saxpy(x, y, a=1e-3)), (lambda: a @ b)

    def median(step: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> float:
        found = []
        for _ in range(turns):
            before()
            found.append(seconds(step))
        return statistics.median(found)

    return {
        "y + c x by NumPy": median(lambda: y + 1e-3 * x),
        "axpy alone": median(axpy), "axpy after a product": median(axpy, product),
        "product alone": median(product), "product after axpy": median(product, axpy),
    }


def print_beside_each_other() -> None:
    """The second table."""
    print("| | ms |\n|---|---:|")
    for name, found in beside_each_other().items():
        print(f"| {name} | {found * 1e3:.3f} |")


def print_overheads() -> None:
    """The first table."""
    backend.keep_freed_memory()
    print("| sampler | " + " | ".join(f"{size:,}" for size in SIZES) + " |\n|---" + "|---:" * len(SIZES) + "|")
    for name in SHOWN:
        cells = [f"{call * 1e6:,.0f} us, {passes:.1f}" for call, passes in (overhead(name, size) for size in SIZES)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] != ["blas"]:
        print_overheads()
        print()
    print_beside_each_other()
