"""Points in the plane, so that one can see what diffusion does: a data set is a function (count, generator) -> (count, 2).

All of them have about the size of images in [-1, 1]: mean near 0, and hardly a coordinate beyond 1.2. Stands on
NumPy; the generator is `minidiff.random.Generator`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minidiff.data.errors import DataError

Toy = Callable[[int, Any], np.ndarray]


def swiss_roll(count: int, generator: Any) -> np.ndarray:
    """A spiral of one and a half turns and a little width, like the cake."""
    angle = 1.5 * math.pi * (1 + 2 * generator.random(count, "float64"))
    points = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / (4.5 * math.pi)
    return points + 0.02 * generator.standard_normal((count, 2), "float64")


def two_moons(count: int, generator: Any) -> np.ndarray:
    """Two half circles, each reaching into the other."""
    angle = math.pi * generator.random(count, "float64")
    upper = generator.random(count, "float64") < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle)) - 0.5
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle)) - 0.25
    return 0.75 * np.stack([x, y], axis=1) + 0.04 * generator.standard_normal((count, 2), "float64")


def spiral(count: int, generator: Any) -> np.ndarray:
    """Two thin arms, each the other turned by half a circle."""
    radius = np.sqrt(generator.random(count, "float64"))
    arm = np.where(generator.random(count, "float64") < 0.5, 0.0, math.pi)
    angle = 2 * math.pi * radius + arm
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points + 0.015 * generator.standard_normal((count, 2), "float64")


def checkerboard(count: int, generator: Any) -> np.ndarray:
    """The eight dark squares of a board of four by four, evenly filled."""
    row = generator.integers(0, 4, count)
    column = 2 * generator.integers(0, 2, count) + row % 2
    return (np.stack([column, row], axis=1) + generator.random((count, 2), "float64")) / 2 - 1


GAUSSIANS = 8
GAUSSIANS_RADIUS, GAUSSIANS_STD = 0.9, 0.06


def gaussian_means() -> np.ndarray:
    """The centres of `gaussians`: (8, 2)."""
    angle = 2 * math.pi * np.arange(GAUSSIANS) / GAUSSIANS
    return GAUSSIANS_RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def gaussians(count: int, generator: Any) -> np.ndarray:
    """A mixture of eight Gaussians on a circle, equally likely."""
    which = generator.integers(0, GAUSSIANS, count)
    return gaussian_means()[which] + GAUSSIANS_STD * generator.standard_normal((count, 2), "float64")


TOYS: dict[str, Toy] = {
    "swiss-roll": swiss_roll,
    "two-moons": two_moons,
    "spiral": spiral,
    "checkerboard": checkerboard,
    "gaussians": gaussians,
}
"""The data sets by name."""


def dark_pixels(path: str | Path) -> Toy:
    """A data set from a picture: points lie where it is dark, the darker the more.

    A pixel is chosen with a probability in proportion to its darkness, 0 where the picture is white or transparent, and the point lies
    anywhere in it. The longer side reaches from -1 to 1. Raises DataError for a file that is no picture or has no dark pixel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            picture = picture.convert("RGBA")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path}: not a picture that can be read ({error})") from None
    picture.thumbnail((512, 512))
    white = Image.new("RGBA", picture.size, "white")
    darkness = 1 - np.asarray(Image.alpha_composite(white, picture).convert("L"), np.float64) / 255
    if darkness.max() < 0.02:
        raise DataError(f"{path}: all white; points are put where a picture is dark")
    height, width = darkness.shape
    upto = np.cumsum(darkness.ravel())

    def draw(count: int, generator: Any) -> np.ndarray:
        pixel = np.searchsorted(upto, generator.random(count, "float64") * upto[-1], side="right").clip(0, upto.size - 1)
        y, x = np.divmod(pixel, width)
        inside = generator.random((count, 2), "float64")
        return np.stack([x + inside[:, 0] - width / 2, height / 2 - y - inside[:, 1]], axis=1) * (2 / max(width, height))

    return draw


def toy(name: str) -> Toy:
    """A data set by its name, or made of a picture's dark pixels by the picture's file name. Raises DataError for neither."""
    if name in TOYS:
        return TOYS[name]
    if not Path(name).is_file():
        raise DataError(f"no toy data {name!r}: choose from {', '.join(TOYS)}, or give the file of a picture")
    return dark_pixels(name)
