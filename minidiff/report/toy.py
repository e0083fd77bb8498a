"""Diffusion in the plane, to be watched: where the points go, and which way the score points.

A toy has the perfect model of its data, or a small network trained for a few seconds; the pictures show a walk of any
sampler with it. Stands on `plots`, `data.toys`, `training.toy` and `diffusion`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minidiff.autograd import no_grad
from minidiff.data import toy
from minidiff.data.toys import GAUSSIANS, GAUSSIANS_STD, gaussian_means
from minidiff.diffusion import Mixture, Sampler, Trajectory, make_schedule, q_sample, score_function, timesteps, trajectory
from minidiff.random import Generator
from minidiff.training.toy import PREDICTION_TYPE, train_toy

from .files import write_new
from .plots import BLUE, INK, ORANGE, PALE, frame, png, pyplot

SCHEDULE = make_schedule("squaredcos_cap_v2", 1000)
KERNEL = 0.02                   # the width that the perfect model gives to each point of data that has no formula
KNOWN = 1500                    # how many points it knows
EXTENT = 2.2                    # what is shown: [-EXTENT, EXTENT] in both directions
MOMENTS = (1000, 500, 250, 120, 50)     # times of a walk that are shown, or the nearest ones that it visits; and its end
WAYS = 16                       # particles whose way is drawn
FIELD_TIMES = (600, 250, 100, 30)
FIELD_EXTENT = 1.5
FRAMES, FRAME_MS, REST_MS = 60, 60, 1500
DATA, MODEL, NOISE = 1, 2, 3    # streams of random numbers


@dataclass(frozen=True)
class Toy:
    """A data set in the plane and a model of it. data: (K, 2) points to show. model: predicts `PREDICTION_TYPE` at SCHEDULE's times."""

    name: str
    data: np.ndarray
    model: Callable[[Any, Any], Any]

    def score(self, x: np.ndarray, t: int) -> np.ndarray:
        """The score that the model believes in: (N, 2) -> (N, 2)."""
        return score_function(self.model, SCHEDULE, PREDICTION_TYPE)(x, t)


def exact_toy(name: str, seed: int) -> Toy:
    """A toy with the perfect model: of the mixture itself for "gaussians", else of a narrow Gaussian (KERNEL) around each drawn point."""
    data = toy(name)(KNOWN, Generator((seed, DATA)))
    if name == "gaussians":
        exact = Mixture(np.full(GAUSSIANS, 1 / GAUSSIANS), gaussian_means(), GAUSSIANS_STD)
    else:
        exact = Mixture(np.full(KNOWN, 1 / KNOWN), data, KERNEL)
    return Toy(name, data, exact.model(SCHEDULE, PREDICTION_TYPE))


def trained_toy(name: str, seed: int) -> Toy:
    """A toy whose model is an MLP that has seen drawn points only; a bar on stderr shows its training."""
    points = toy(name)
    with tqdm(desc="training", total=100, unit="%", dynamic_ncols=True, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}") as bar:
        network = train_toy(points, SCHEDULE, generator=Generator((seed, MODEL)),
                            progress=lambda done, loss: bar.update(100 * done - bar.n))

    def model(x: Any, t: Any) -> Any:
        with no_grad():
            return network(np.asarray(x, np.float32), t).numpy().astype(x.dtype)

    return Toy(name, points(KNOWN, Generator((seed, DATA))), model)


def walk(a_toy: Toy, sampler: Sampler, steps: int, particles: int, seed: int) -> Trajectory:
    """A walk of particles from noise to data, recorded."""
    generator = Generator((seed, NOISE))
    x = generator.standard_normal((particles, 2), "float64")
    times = timesteps(SCHEDULE.num_train_timesteps, steps)
    return trajectory(a_toy.model, SCHEDULE, x, times, sampler, generator=generator, prediction_type=PREDICTION_TYPE)


def _square(axes: Any, extent: float = EXTENT) -> None:
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[], aspect="equal")


def _moment(record: Trajectory, i: int) -> str:
    return "x_0" if i == len(record.times) else f"t = {record.times[i]:.0f}"


def draw_walk(a_toy: Toy, record: Trajectory) -> bytes:
    """The particles at some moments side by side, the ways of a few of them, and the data: a PNG."""
    plt = pyplot()
    moments = [int(np.argmin(np.abs(np.array(record.times) - t))) for t in MOMENTS] + [len(record.times)]
    figure, panels = plt.subplots(1, len(moments) + 2, figsize=(2.3 * (len(moments) + 2), 2.6))
    for axes, i in zip(panels, moments):
        axes.scatter(*record.states[i].T, s=1.5, color=BLUE, linewidths=0)
        axes.set_title(_moment(record, i))
    ways = np.stack([state[:WAYS] for state in record.states])
    for n in range(ways.shape[1]):
        panels[-2].plot(*ways[:, n].T, color=BLUE, linewidth=0.6, alpha=0.7)
    panels[-2].scatter(*ways[-1].T, s=6, color=ORANGE, zorder=3, linewidths=0)
    panels[-2].set_title(f"the way of {ways.shape[1]}")
    panels[-1].scatter(*a_toy.data.T, s=1.5, color=INK, linewidths=0)
    panels[-1].set_title("the data")
    for axes in panels:
        _square(axes)
    return png(figure)


def draw_score(a_toy: Toy) -> bytes:
    """The score at several times, as arrows of equal length coloured by their size, over noisy data: a PNG."""
    plt = pyplot()
    figure, panels = plt.subplots(1, len(FIELD_TIMES), figsize=(3.4 * len(FIELD_TIMES), 3.6))
    line = np.linspace(-FIELD_EXTENT, FIELD_EXTENT, 25)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    noise = Generator((0, NOISE)).standard_normal(a_toy.data.shape, "float64")
    for axes, t in zip(panels, FIELD_TIMES):
        axes.scatter(*q_sample(SCHEDULE, a_toy.data, t, noise).T, s=2, color=PALE, linewidths=0)
        score = a_toy.score(grid, t)
        size = np.linalg.norm(score, axis=1, keepdims=True)
        arrows = score / np.maximum(size, 1e-12)
        axes.quiver(*grid.T, *arrows.T, np.log10(size[:, 0] + 1e-3), cmap="viridis", scale=32, width=0.004)
        axes.set_title(f"t = {t}, sigma = {SCHEDULE.sigma(t):.2f}")
        _square(axes, FIELD_EXTENT)
    return png(figure)


def draw_animation(a_toy: Toy, record: Trajectory) -> bytes:
    """The walk as an animated GIF, the data beside it."""
    plt = pyplot()
    last = len(record.states) - 1
    frames = []
    for i in np.linspace(0, last, min(FRAMES, last + 1)).round().astype(int):
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4))
        left.scatter(*record.states[i].T, s=2, color=BLUE, linewidths=0)
        left.set_title(_moment(record, i))
        right.scatter(*a_toy.data.T, s=2, color=INK, linewidths=0)
        right.set_title("the data")
        _square(left)
        _square(right)
        frames.append(frame(figure).quantize(32))
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], loop=0,
                   duration=[FRAME_MS] * (len(frames) - 1) + [REST_MS])
    return content.getvalue()


def write_toy(folder: str | os.PathLike, a_toy: Toy, record: Trajectory) -> list[Path]:
    """walk.png, score.png and walk.gif in a new folder; returns their paths. Raises FileExistsError if the folder exists."""
    drawn = {"walk.png": draw_walk(a_toy, record), "score.png": draw_score(a_toy), "walk.gif": draw_animation(a_toy, record)}
    folder = Path(folder)
    folder.mkdir(parents=True)
    for name, content in drawn.items():
        write_new(folder / name, content)
    return [folder / name for name in drawn]
