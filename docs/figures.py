"""Makes the figures of the chapters with the library itself: `python docs/figures.py` writes them to `docs/figures/`.

One function a figure. No network is trained: the models here are the perfect ones of `minidiff.diffusion.exact`, of a mixture of two
Gaussians and of a few hundred garments.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from minidiff.data import load, to_uint8
from minidiff.diffusion import DDIM, DDPM, Ancestral, Schedule, make_schedule, mixture_epsilon, q_sample, sample, timesteps
from minidiff.random import Generator
from minidiff.report import forward_strip, grid, reverse_strip

FOLDER = Path(__file__).parent / "figures"

WEIGHTS, MEANS, STDS = (0.3, 0.7), (-1.0, 0.8), (0.12, 0.25)    # data on a line: two bells
LINE = make_schedule("squaredcos_cap_v2", 400)                  # one column of a picture for each time
LOW, HIGH, ROWS = -3.0, 3.0, 200                                # the part of the line that is shown, from the bottom up
PAPER, INK, SIGNAL, NOISE = (255, 255, 255), (16, 42, 84), (31, 95, 180), (214, 219, 226)
PATHS = ((200, 60, 40), (20, 140, 90), (225, 150, 20), (130, 70, 170))
STARTS = (-1.5, -0.6, 0.3, 1.4)


def between(shares: np.ndarray, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """Colours from `low` (share 0) to `high` (share 1). shares: (H, W). Returns uint8 (3, H, W)."""
    low, high = (np.array(colour, float)[:, None, None] for colour in (low, high))
    return np.rint(low + (high - low) * shares.clip(0, 1)).astype(np.uint8)


def rows_of(x: np.ndarray) -> np.ndarray:
    """The row of the picture in which a point of the line lies, -1 or ROWS if it is not shown."""
    return np.floor((HIGH - x) / (HIGH - LOW) * ROWS).astype(int).clip(-1, ROWS)


def density(schedule: Schedule, t: int, x: np.ndarray) -> np.ndarray:
    """q(x_t) for the two bells: each stays a Gaussian, with mean sqrt(abar) m and variance abar s^2 + 1 - abar."""
    abar = schedule.alphas_cumprod[t]
    bells = [w / np.sqrt(2 * np.pi * v) * np.exp(-(x - np.sqrt(abar) * m) ** 2 / (2 * v))
             for w, m, v in ((w, m, abar * s**2 + 1 - abar) for w, m, s in zip(WEIGHTS, MEANS, STDS))]
    return np.sum(bells, axis=0)


def densities() -> np.ndarray:
    """q(x_t), a column for each time: (ROWS, T)."""
    x = HIGH - (np.arange(ROWS) + 0.5) / ROWS * (HIGH - LOW)
    return np.stack([density(LINE, t, x) for t in range(LINE.num_train_timesteps)], axis=1)


def walks(sampler: Ancestral, start: np.ndarray, generator: Generator) -> np.ndarray:
    """Walks of a sampler with the perfect model and all its steps. start: (N,), x at the end of the forward process. Returns (T, N)."""
    frames = np.empty((LINE.num_train_timesteps, len(start)))

    def keep(i: int, t: int, x: np.ndarray, x_start: np.ndarray) -> None:
        frames[t] = x[:, 0]

    model = mixture_epsilon(LINE, WEIGHTS, np.array(MEANS)[:, None], STDS)
    times = timesteps(LINE.num_train_timesteps, LINE.num_train_timesteps)
    sample(model, LINE, start[:, None], times, sampler, generator=generator, callback=keep)
    return frames


def schedules() -> Image.Image:
    """What is in x_t: the share abar_t of the variance that is signal, and the rest, for two schedules."""
    panels = []
    for name in ("linear", "squaredcos_cap_v2"):
        abar = make_schedule(name, 1000).alphas_cumprod[::3]
        from_the_bottom = 1 - (np.arange(150)[:, None] + 0.5) / 150
        panels.append(between((from_the_bottom < abar) * 1.0, NOISE, SIGNAL))
    return grid(np.stack(panels)[None], column_names=["linear", "squaredcos_cap_v2"], scale=1)


def forward() -> Image.Image:
    """Real garments on their way to noise."""
    dataset, schedule, generator = load("fashion-mnist-mini"), make_schedule(), Generator(0)
    x_start = dataset.floats([int(np.argmax(dataset.labels == label)) for label in (1, 7, 8, 9)])
    times = [19, 69, 139, 219, 299, 399, 549, 749, 999]
    noisy = [q_sample(schedule, x_start, t, generator.standard_normal(x_start.shape)) for t in times]
    return forward_strip(np.stack([to_uint8(x) for x in (x_start, *noisy)]), [None, *times], scale=2)


def there_and_back() -> Image.Image:
    """The density of x_t by its formula, and the histogram of 40,000 walks back: the same picture, made from left and from right."""
    there, generator = densities(), Generator(3)
    frames = walks(DDPM, generator.standard_normal(40_000, "float64"), generator)
    histogram = np.stack([np.bincount(rows_of(x) + 1, minlength=ROWS + 2)[1:-1] for x in frames], axis=1)
    back = histogram / (40_000 * (HIGH - LOW) / ROWS)
    # the square root shows the thin as well as the dense
    return grid(np.stack([between(np.sqrt(shares), PAPER, INK) for shares in (there, back)])[None],
                column_names=["forward: the density", "back: 40,000 walks"], scale=1)


def paths() -> Image.Image:
    """Four walks of DDPM and of DDIM from the same noise, over the density of x_t."""
    background = between(np.sqrt(densities()) * 0.45, PAPER, INK)
    panels = []
    for sampler in (DDPM, DDIM):
        panel = background.copy()
        for path, colour in zip(walks(sampler, np.array(STARTS), Generator(3)).T, PATHS):
            rows = rows_of(path)
            for t, row in enumerate(rows):
                until = rows[min(t + 1, len(rows) - 1)]
                panel[:, max(0, min(row, until) - 1):max(row, until) + 1, t] = np.array(colour)[:, None]
        panels.append(panel)
    return grid(np.stack(panels)[None], column_names=["DDPM", "DDIM"], scale=1)


def reverse() -> Image.Image:
    """Noise becoming garments, with the perfect model of 600 real ones: it can only remember."""
    dataset, schedule, generator = load("fashion-mnist-mini"), make_schedule(), Generator(5)
    images = dataset.floats(slice(600))
    model = mixture_epsilon(schedule, np.full(600, 1 / 600), images, np.full(600, 0.05))
    times = timesteps(1000, 50)
    shown, noisy, predicted = [0, 18, 24, 28, 31, 34, 37, 41, 49], [], []

    def keep(i: int, t: int, x: np.ndarray, x_start: np.ndarray) -> None:
        if i in shown:
            noisy.append(to_uint8(x))
            predicted.append(to_uint8(x_start))

    x = generator.standard_normal((3, *images.shape[1:]))
    sample(model, schedule, x, times, DDPM, generator=generator, callback=keep)
    return reverse_strip(np.stack(noisy), np.stack(predicted), [int(times[i]) for i in shown], scale=2)


FIGURES: dict[str, Callable[[], Image.Image]] = {
    "ddpm-schedules.png": schedules,
    "ddpm-forward.png": forward,
    "ddpm-there-and-back.png": there_and_back,
    "ddpm-paths.png": paths,
    "ddpm-reverse.png": reverse,
}


def main() -> None:
    """Write every figure."""
    FOLDER.mkdir(exist_ok=True)
    for name, figure in FIGURES.items():
        content = io.BytesIO()
        figure().save(content, format="PNG", optimize=True)
        (FOLDER / name).write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
