"""The figures of docs/quality.md, for `python docs/figures.py`: models with one fault each, and what the number of samples does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from minidiff.metrics import count_within, frechet_curve, radii
from minidiff.random import Generator
from minidiff.report import plots

CENTRES = np.array([[0.6, -0.7], [-1.4, -0.7], [-0.4, 0.9]])
RED = "#c83c28"


def bells(count: int, seed: int, std: float = 0.3, bells: int = 3) -> np.ndarray:
    """Points of three bells in the plane, or of two: (count, 2)."""
    generator = Generator((5, seed))
    return CENTRES[generator.integers(0, bells, count)] + std * generator.standard_normal((count, 2), "float64")


def with_balls(axes: Any, points: np.ndarray, centres: np.ndarray, inside: str, ball: str) -> float:
    """Draw balls around centres, and points within and without them. Returns the share within: precision, or recall."""
    sizes = radii(centres, 3)
    for centre, radius in zip(centres, sizes):
        axes.add_patch(plots.pyplot().Circle(centre, radius, color=ball, alpha=0.16, lw=0))
    held = count_within(points, centres, sizes)[0] > 0
    axes.plot(*points[held].T, "o", color=inside, ms=3.2)
    axes.plot(*points[~held].T, "o", color=RED, ms=3.2)
    axes.set(xlim=(-2.9, 2.1), ylim=(-2.2, 2.4), xticks=[], yticks=[], aspect="equal")
    return float(held.mean())


def models() -> Image.Image:
    """Above: samples, in the balls of real points or not (precision). Below: real points, in the balls of samples or not (recall)."""
    real = bells(90, 2)
    drawn = {"perfect": bells(90, 3), "timid": bells(90, 4, std=0.1), "forgetful": bells(90, 5, bells=2), "blurred": bells(90, 6, std=0.5)}
    figure, rows = plots.pyplot().subplots(2, 4, figsize=(9.6, 4.9), layout="constrained")
    for name, samples, above, below in zip(drawn, drawn.values(), *rows):
        precision = with_balls(above, samples, real, plots.ORANGE, plots.BLUE)
        recall = with_balls(below, real, samples, plots.BLUE, plots.ORANGE)
        above.set_title(f"{name}: precision {precision:.2f}")
        below.set_title(f"recall {recall:.2f}")
    return plots.frame(figure).quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def bias() -> Image.Image:
    """The distance of samples of 16 features against 1/N, ten subsets at each count, with straight lines through them; exact: diamonds."""
    counts, generator = [80, 100, 130, 180, 280, 500, 1000, 2000] * 10, Generator(11)
    inverse = 1 / np.array(counts)
    real = generator.standard_normal((2000, 16), "float64")
    figure, axes = plots.pyplot().subplots(figsize=(7.2, 3.6), layout="constrained")
    for name, scale, colour in (("too narrow by 10 %", 0.9, plots.ORANGE), ("perfect", 1.0, plots.BLUE)):
        samples = scale * generator.standard_normal((2000, 16), "float64")
        distances = frechet_curve(samples, real, counts, generator)
        axes.plot(inverse, distances, "o", color=colour, ms=3, alpha=0.5, mew=0)
        slope, at_zero = np.polyfit(inverse, distances, 1)
        axes.plot([0, 1 / 75], [at_zero, at_zero + slope / 75], color=colour, lw=1, label=f"{name}: {at_zero:.2f} + {slope:.0f} / N")
        axes.plot(0, 16 * (1 - scale) ** 2, "D", color=colour, ms=7, clip_on=False, zorder=3)
    places = [80, 100, 180, 500, 1000]
    axes.set_xticks([0, *(1 / n for n in places)], ["∞", *map(str, places)])
    axes.set(xlabel="samples, and as many real images (the axis is 1/N)", ylabel="Fréchet distance", xlim=(0, 1 / 75), ylim=(0, 2.6))
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return plots.frame(figure).quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


FIGURES: dict[str, Callable[[], Image.Image]] = {"quality-models.png": models, "quality-bias.png": bias}
