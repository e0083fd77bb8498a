"""The Dataset's checks, and the map between pixels and [-1, 1]."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.data import DataError, Dataset, to_uint8

ALL_PIXELS = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
LABELS = np.array([0, 1, 2, 1])
NAMES = ("a", "b", "c")


def test_every_pixel_survives_the_way_to_floats_and_back():
    """All 256 values; the ends are exactly -1 and 1."""
    x = Dataset(ALL_PIXELS, LABELS, NAMES).floats(slice(None))
    assert x.dtype == np.float32 and x.min() == -1 and x.max() == 1
    np.testing.assert_array_equal(to_uint8(x), ALL_PIXELS)


def test_floats_are_the_formula_in_exact_arithmetic():
    """2 p / 255 - 1 as a fraction: three roundings of float32, each of values below 2, are at most 3 * 2^-24 off."""
    x = Dataset(ALL_PIXELS, LABELS, NAMES).floats(slice(None)).ravel()
    for pixel, value in enumerate(x):
        assert abs(Fraction(float(value)) - (Fraction(2 * pixel, 255) - 1)) <= 3 * Fraction(1, 2**24)


@given(st.lists(st.integers(-4, 3), max_size=6))
def test_floats_of_an_index_are_those_of_its_images(index):
    """Any list of images, with repetitions, against one at a time."""
    dataset = Dataset(ALL_PIXELS, LABELS, NAMES)
    x = dataset.floats(np.array(index, dtype=np.int64))
    assert x.shape == (len(index), 1, 8, 8)
    for row, i in zip(x, index, strict=True):
        np.testing.assert_array_equal(row, dataset.floats(slice(i, i + 1 or None))[0])


@given(st.floats(allow_nan=False), st.sampled_from([np.float32, np.float64]))
def test_a_pixel_is_the_nearest_one(value, dtype):
    """Against a search through all 256 pixels in exact arithmetic; infinities and values outside are clipped."""
    with np.errstate(over="ignore"):
        x = np.full((1, 1, 1, 1), value, dtype)
    pixel = int(to_uint8(x)[0, 0, 0, 0])
    clipped = Fraction(float(np.clip(x, -1, 1)[0, 0, 0, 0]))
    distances = [abs(Fraction(2 * p, 255) - 1 - clipped) for p in range(256)]
    assert distances[pixel] <= min(distances) + Fraction(1, 2**24)


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((3, 8, 8), np.float32), r"expected floating images \(N, C, H, W\), got float32 \(3, 8, 8\)"),
    (np.zeros((1, 3, 8, 8), np.uint8), "got uint8"),
    (np.array([[[[0.0, np.nan, np.nan]]]]), "2 of 3 values are NaN"),
])
def test_what_is_no_image_gets_no_pixels(x, message):
    """Three dimensions, pixels already, NaN."""
    with pytest.raises(ValueError, match=message):
        to_uint8(x)


@pytest.mark.parametrize(("images", "labels", "message"), [
    (ALL_PIXELS[:0], LABELS[:0], "at least one image"),
    (ALL_PIXELS[:, 0], LABELS, r"got uint8 \(4, 8, 8\)"),
    (ALL_PIXELS.astype(np.float32), LABELS, "got float32"),
    (ALL_PIXELS, LABELS[:3], "4 images but 3 labels"),
    (ALL_PIXELS, LABELS[:, np.newaxis], r"labels must be int64 \(N,\), got int64 \(4, 1\)"),
    (ALL_PIXELS, LABELS.astype(np.uint8), "got uint8"),
    (ALL_PIXELS, np.array([0, 1, 3, 9]), r"label 3 of image 2 is outside \[0, 3\)"),
    (ALL_PIXELS, np.array([0, -1, 1, 0]), "label -1 of image 1 is outside"),
])
def test_a_contradictory_dataset_is_refused(images, labels, message):
    """Each check of the constructor."""
    with pytest.raises(DataError, match=message):
        Dataset(images, labels, NAMES)


def test_the_length_is_the_number_of_images():
    """Four images."""
    assert len(Dataset(ALL_PIXELS, LABELS, NAMES)) == 4
