"""Points in the plane: each set has the shape that its name says."""

import math
import secrets

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from minidiff.data import TOYS, DataError, dark_pixels, toy
from minidiff.data.toys import GAUSSIANS_STD, gaussian_means
from minidiff.random import Generator

FALSE_ALARM = 1e-7


@pytest.mark.parametrize("name", TOYS)
def test_every_set_has_about_the_size_of_images_and_follows_its_generator(name):
    """Bounds; the same seed gives the same points, another one others; any number of points."""
    draw = toy(name)
    points = draw(2000, Generator(0))
    assert points.shape == (2000, 2) and points.dtype == np.float64
    assert np.abs(points).max() < 1.4 and (points.std(axis=0) > 0.3).all() and (np.abs(points.mean(axis=0)) < 0.25).all()
    assert (draw(2000, Generator(0)) == points).all() and (draw(2000, Generator(1)) != points).any()
    assert draw(0, Generator(0)).shape == (0, 2)


def test_the_checkerboard_fills_its_dark_squares_evenly_and_no_others():
    """A chi-square test of the counts in the 4 x 4 squares; false alarm 1e-7."""
    points = TOYS["checkerboard"](8000, Generator(secrets.randbits(32)))
    column, row = np.floor((points + 1) * 2).astype(int).T
    counts = np.bincount(4 * row + column, minlength=16).reshape(4, 4)
    dark = (np.add.outer(np.arange(4), np.arange(4)) % 2) == 0
    assert (counts[~dark] == 0).all()
    assert stats.chisquare(counts[dark]).pvalue > FALSE_ALARM


def test_the_gaussians_are_the_mixture_that_the_exact_model_knows():
    """Distances from the nearest centre are Rayleigh distributed (Kolmogorov-Smirnov, false alarm 1e-7)."""
    points = TOYS["gaussians"](4000, Generator(secrets.randbits(32)))
    distance = np.linalg.norm(points[:, None] - gaussian_means(), axis=2).min(axis=1)
    assert stats.kstest(distance / GAUSSIANS_STD, "rayleigh").pvalue > FALSE_ALARM


def test_the_spiral_and_the_roll_lie_on_their_curves():
    """Radius and angle of a point belong together, up to the width of the curve."""
    x, y = TOYS["spiral"](3000, Generator(secrets.randbits(32))).T
    off = np.hypot(x, y) * 2 * math.pi - np.arctan2(y, x)               # a multiple of pi on either arm
    away = np.abs(np.sin(off)) * np.hypot(x, y)
    assert np.quantile(away, 0.99) < 0.4
    x, y = TOYS["swiss-roll"](3000, Generator(secrets.randbits(32))).T
    turns = (np.hypot(x, y) * 4.5 * math.pi - np.arctan2(y, x)) / (2 * math.pi)
    assert np.quantile(np.abs(turns - np.round(turns)), 0.95) < 0.15


def test_the_points_of_a_picture_lie_where_it_is_dark(tmp_path):
    """Left half black, lower right quarter grey, the rest white: shares 2/3 and 1/3 x its darkness; the longer side is [-1, 1]."""
    picture = np.full((40, 80), 255, np.uint8)
    picture[:, :40] = 0
    picture[20:, 40:] = 127
    Image.fromarray(picture).save(tmp_path / "p.png")
    x, y = dark_pixels(tmp_path / "p.png")(20_000, Generator(secrets.randbits(32))).T
    assert -1 <= x.min() < -0.99 and 0.99 < x.max() <= 1 and -0.5 <= y.min() and y.max() <= 0.5
    assert not ((x > 0) & (y > 0)).any()
    grey = 0.5 * (128 / 255)
    assert stats.binomtest(int((x > 0).sum()), 20_000, grey / (grey + 1)).pvalue > FALSE_ALARM


def test_what_is_no_set_is_refused_by_name(tmp_path):
    """An unknown name, a file that is no picture, a white picture."""
    with pytest.raises(DataError, match="swiss-roll, two-moons"):
        toy("swissroll")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png: not a picture"):
        toy(str(tmp_path / "text.png"))
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    with pytest.raises(DataError, match="all white"):
        toy(str(tmp_path / "clear.png"))
