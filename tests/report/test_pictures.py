"""Grids and strips: every image whole, in its place, enlarged without a blur; names beside them; files whole or not there."""

import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidiff.report import files, pictures, text

WHITE = (255, 255, 255)


def blocks(rows, columns, height=3, width=4):
    """RGB images of one colour each, all different: (rows, columns, 3, height, width) and the colour of each."""
    colours = np.array([[(40 + r, 60 + c, 200) for c in range(columns)] for r in range(rows)], np.uint8)
    return np.broadcast_to(colours[..., None, None], (rows, columns, 3, height, width)).copy(), colours


def box(picture, colour):
    """(top, left, bottom, right) of all pixels of a colour, and how many there are."""
    y, x = np.nonzero((np.asarray(picture) == colour).all(axis=-1))
    return (y.min(), x.min(), y.max() + 1, x.max() + 1), len(y)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_every_image_is_a_solid_rectangle_of_its_size_and_none_overlap(rows, columns, scale, named):
    """Images of one colour each: as many pixels as the rectangle around them has, of the enlarged size, so nothing covers them."""
    images, colours = blocks(rows, columns)
    names = [f"row {r}" for r in range(rows)] if named else ()
    picture = pictures.grid(images, names, scale=scale)
    for colour in colours.reshape(-1, 3):
        (top, left, bottom, right), count = box(picture, colour)
        assert (bottom - top, right - left) == (3 * scale, 4 * scale)
        assert count == 12 * scale**2


def test_rows_go_down_and_columns_go_right():
    """The corners of the images rise with row and column, and are the same along each."""
    images, colours = blocks(3, 4)
    corners = np.array([[box(pictures.grid(images), colour)[0][:2] for colour in row] for row in colours])
    assert (np.diff(corners[..., 0], axis=0) > 0).all() and (np.diff(corners[..., 0], axis=1) == 0).all()
    assert (np.diff(corners[..., 1], axis=1) > 0).all() and (np.diff(corners[..., 1], axis=0) == 0).all()


def test_groups_are_set_apart_by_wider_gaps():
    """Columns under two names: the gap between the groups is wider than the gap inside one; the same for rows that go together."""
    images, colours = blocks(4, 4)
    picture = pictures.grid(images, column_names=["a", "b"], rows_together=2)
    left = np.array([box(picture, colour)[0][1] for colour in colours[0]])
    top = np.array([box(picture, colour)[0][0] for colour in colours[:, 0]])
    for places in (left, top):
        inside, between, inside_too = np.diff(places)
        assert inside == inside_too < between


@given(st.integers(1, 5))
def test_enlarging_repeats_every_pixel(scale):
    """Taking every scale-th pixel of the enlarged image, from any offset, gives the image back."""
    image = np.random.default_rng().integers(0, 256, (3, 4, 5), dtype=np.uint8)
    large = np.asarray(pictures.enlarged(image, scale))
    for offset in range(scale):
        assert (large[offset::scale, offset::scale] == np.moveaxis(image, 0, -1)).all()


@given(st.integers(1, 11), st.integers(1, 5))
def test_captioned_images_stand_in_rows_each_below_its_caption(count, columns):
    """Images of one colour each: row by row from left to right, all of them whole; and ink above those that have a caption, only there."""
    images, colours = blocks(1, count, height=20, width=60)
    picture = pictures.captioned(images[0], ["0.31" if i % 2 else "" for i in range(count)], columns)
    ink = np.asarray(picture).sum(axis=-1) < 250
    places = [box(picture, colour)[0] for colour in colours[0]]
    assert all((bottom - top) % 20 == 0 and (right - left) == 3 * (bottom - top) for top, left, bottom, right in places)
    for i, (top, left, _, right) in enumerate(places):
        row, column = divmod(i, columns)
        assert left == places[column][1] and top == places[row * columns][0] and (row == 0 or top > places[i - columns][2])
        assert ink[top - pictures.TEXT - 6 : top, left:right].any() == (i % 2 == 1)


@pytest.mark.parametrize("images, captions", [(np.zeros((2, 1, 4, 4), np.uint8), ["one"]), (np.zeros((0, 1, 4, 4), np.uint8), [])])
def test_every_captioned_image_has_one_caption(images, captions):
    """And there is at least one."""
    with pytest.raises(ValueError, match=r"captions for \d images; expected one for each"):
        pictures.captioned(images, captions)


def test_grey_images_stay_grey_of_the_same_value():
    """One channel becomes three equal ones."""
    picture = pictures.grid(np.full((1, 1, 1, 4, 4), 77, np.uint8), scale=2)
    assert box(picture, (77, 77, 77))[1] == 64


def test_names_are_written_at_the_left_of_their_row_and_above_their_columns():
    """Only a row or column that has a name has ink beside its images."""
    images, colours = blocks(2, 2, height=20, width=60)
    picture = pictures.grid(images, ["", "Ankle boot"], ["", "DDIM"], scale=2)
    ink = (np.asarray(picture).sum(axis=-1) < 250)
    (top, left, *_), _ = box(picture, colours[0, 0])
    (lower, right, *_), _ = box(picture, colours[1, 1])
    assert not ink[:lower, :left].any() and ink[lower:, :left].sum() > 50
    assert not ink[:top, :right].any() and ink[:top, right:].sum() > 30
    without = np.asarray(pictures.grid(images, scale=2))
    assert (without.sum(axis=-1) >= 250).all()


def test_the_forward_strip_has_a_row_for_each_image_and_a_column_for_each_time():
    """Frames come as (times, images); in the picture time runs to the right."""
    frames, colours = blocks(5, 2)
    picture = pictures.forward_strip(frames, [None, 1, 10, 100, 999])
    corners = np.array([[box(picture, colour)[0][:2] for colour in row] for row in colours])
    assert (np.diff(corners[..., 1], axis=0) > 0).all() and (np.diff(corners[..., 0], axis=1) > 0).all()
    assert (np.diff(corners[..., 0], axis=0) == 0).all()


def test_the_reverse_strip_has_each_prediction_right_below_its_image():
    """The prediction of frame s of image n is in the same column and in the next row, before the next image."""
    noisy, above = blocks(3, 2)
    predicted, below = noisy + np.uint8(100), above + np.uint8(100)
    picture = pictures.reverse_strip(noisy, predicted, [999, 500, 0])
    for s in range(3):
        rows = []
        for n in range(2):
            upper, lower = box(picture, above[s, n])[0], box(picture, below[s, n])[0]
            assert upper[1] == lower[1] and upper[2] < lower[0]
            rows += [upper[0], lower[0]]
        assert rows == sorted(rows)


@pytest.mark.parametrize("call", [
    lambda images: pictures.grid(images.astype(np.float32)),
    lambda images: pictures.grid(images[0]),
    lambda images: pictures.grid(images[:, :, :2]),
    lambda images: pictures.grid(images[:0]),
    lambda images: pictures.grid(images, ["only one"]),
    lambda images: pictures.grid(images, column_names=["a", "b"]),
    lambda images: pictures.forward_strip(images, [1]),
    lambda images: pictures.reverse_strip(images, images[:, :1], [2, 1]),
])
def test_what_does_not_fit_is_refused(call):
    """Wrong dtype, shape, or number of names or times."""
    with pytest.raises(ValueError, match=r"grid|forward_strip|reverse_strip"):
        call(blocks(2, 3)[0])


@given(st.text(max_size=60), st.integers(8, 30))
def test_every_name_becomes_printable_and_short_enough(name, size):
    """Whatever a class is called, what is written is ASCII and not wider than the limit."""
    written = text.legible(name, size)
    assert written.isascii() and (written.isprintable() or not written)
    assert text.width(written, size) <= text.MAX_WIDTH_IN_SIZES * size


def test_accents_fall_away_and_plain_names_stay():
    """Café loses its accent, a name in ASCII loses nothing, what the font lacks is a question mark."""
    assert text.legible("Café", 15) == "Cafe"
    assert text.legible("T-shirt/top", 15) == "T-shirt/top"
    assert text.legible("靴 x", 15) == "? x"


def test_a_saved_png_has_the_pixels_and_is_alone_in_its_folder(tmp_path):
    """Read it back; no temporary file stays."""
    picture = pictures.grid(blocks(1, 2)[0])
    pictures.save_png(picture, tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]
    assert (np.asarray(Image.open(tmp_path / "a.png")) == np.asarray(picture)).all()


def test_a_file_that_exists_is_not_overwritten(tmp_path):
    """FileExistsError, and its content stays."""
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(FileExistsError, match=r"a\.png"):
        pictures.save_png(pictures.grid(blocks(1, 1)[0]), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "mine"


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    """fsync fails as on a full disk: the error comes through, the folder is empty."""
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_new(tmp_path / "a.png", b"content")
    assert os.listdir(tmp_path) == []


def test_a_folder_is_whole_or_not_there(tmp_path):
    """It gets its name, and its parents, at the end; nothing is left of one that failed; one that exists stays."""
    with files.new_folder(tmp_path / "a" / "b") as part:
        (part / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert os.listdir(tmp_path / "a") == ["b"] and os.listdir(tmp_path / "a" / "b") == ["x"]
    with pytest.raises(RuntimeError, match="half"), files.new_folder(tmp_path / "a" / "c") as part:
        (part / "x").write_text("1")
        raise RuntimeError("half of the work is done")
    assert os.listdir(tmp_path / "a") == ["b"]
    with pytest.raises(FileExistsError, match=r"a: exists already, and nothing is overwritten"), files.new_folder(tmp_path / "a"):
        raise AssertionError("the work began")


def test_a_free_name_is_one_where_nothing_is(tmp_path):
    """demo, then demo-2, then demo-3, as the ones before are taken; a picture keeps its ending."""
    for expected in ("demo", "demo-2", "demo-3"):
        found = files.free_name(tmp_path / "demo")
        assert found == tmp_path / expected
        found.mkdir()
    (tmp_path / "search.png").touch()
    assert files.free_name(tmp_path / "search.png") == tmp_path / "search-2.png"
