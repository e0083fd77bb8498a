"""A folder of pictures, through `load`."""

import io
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from minidiff.data import DataError, load


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)


def grey(value, height=4, width=6):
    return np.full((height, width), value, np.uint8)


def colour(*values):
    return np.broadcast_to(np.array(values, np.uint8), (4, 6, len(values))).copy()


@given(images=st.lists(arrays(np.uint8, (5, 3, 3)), min_size=1, max_size=5))
def test_saved_pictures_come_back_pixel_for_pixel(images):
    """PNG is lossless: channels first, sorted by class and by name."""
    with tempfile.TemporaryDirectory() as folder:
        for number, image in enumerate(images):
            save(Path(folder) / "ab"[number % 2] / f"{number}.png", image)
        dataset = load(folder)
    order = [*range(0, len(images), 2), *range(1, len(images), 2)]
    np.testing.assert_array_equal(dataset.images, np.stack([images[i].transpose(2, 0, 1) for i in order]))
    np.testing.assert_array_equal(dataset.labels, [i % 2 for i in order])
    assert dataset.class_names == ("a", "b")[:len(images)]


def test_grey_pictures_stay_grey_until_one_has_colour(tmp_path):
    """One channel, then three equal ones beside the coloured picture."""
    save(tmp_path / "x" / "0.png", grey(7))
    Image.fromarray(grey(255)).convert("1").save(tmp_path / "x" / "1.bmp")
    dataset = load(tmp_path)
    assert dataset.images.shape == (2, 1, 4, 6)
    assert np.unique(dataset.images[0]) == 7 and np.unique(dataset.images[1]) == 255
    save(tmp_path / "y" / "2.png", colour(1, 2, 3))
    dataset = load(tmp_path)
    assert dataset.images.shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(dataset.images[:, :, 0, 0], [[7] * 3, [255] * 3, [1, 2, 3]])


def test_transparent_pictures_lie_on_white(tmp_path):
    """alpha 0: white, whatever colour hides below; alpha 255: the colour itself. Grey with alpha stays grey."""
    save(tmp_path / "x" / "0.png", colour(9, 9, 9, 0))
    save(tmp_path / "x" / "1.png", colour(9, 8, 7, 255))
    np.testing.assert_array_equal(load(tmp_path).images[:, :, 0, 0], [[255] * 3, [9, 8, 7]])
    save(tmp_path / "grey" / "x" / "0.png", colour(9, 0))
    assert load(tmp_path / "grey").images[0, :, 0, 0].tolist() == [255]


@pytest.mark.parametrize(("name", "tolerance"), [("p.jpg", 3), ("p.JPEG", 3), ("p.bmp", 0), ("p.gif", 0), ("p.webp", 3),
                                                 ("p.tif", 0), ("p.tiff", 0), ("p.ppm", 0)])
def test_common_formats_are_read(name, tolerance, tmp_path):
    """One flat colour; the lossy formats move it by their rounding at most."""
    save(tmp_path / "x" / name, colour(200, 100, 50))
    difference = load(tmp_path).images[0].astype(int) - np.array([200, 100, 50]).reshape(3, 1, 1)
    assert np.abs(difference).max() <= tolerance


def test_other_files_are_passed_over(tmp_path):
    """Notes, hidden files and hidden folders are neither pictures nor classes."""
    save(tmp_path / "x" / "0.png", grey(1))
    save(tmp_path / ".cache" / "0.png", grey(2))
    save(tmp_path / "x" / ".0.png", grey(3))
    (tmp_path / "x" / "notes.txt").write_text("taken in June")
    (tmp_path / "README.txt").write_text("my pictures")
    dataset = load(tmp_path)
    assert len(dataset) == 1 and dataset.class_names == ("x",)


def test_train_and_test_sub_folders_are_splits(tmp_path):
    """Each split has its own pictures and the same classes."""
    for split, value in (("train", 1), ("test", 2)):
        for name in ("cat", "dog"):
            save(tmp_path / split / name / "0.png", grey(value))
    for split, value in (("train", 1), ("test", 2)):
        dataset = load(tmp_path, split=split)
        assert dataset.class_names == ("cat", "dog") and dataset.labels.tolist() == [0, 1]
        assert np.unique(dataset.images) == value
    save(tmp_path / "test" / "eel" / "0.png", grey(2))
    with pytest.raises(DataError, match="different class folders, only one of them has eel"):
        load(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    """Without a sub-folder test, train is a class like another, and there is no test split."""
    save(tmp_path / "plane" / "0.png", grey(1))
    save(tmp_path / "train" / "0.png", grey(1))
    assert load(tmp_path).class_names == ("plane", "train")
    with pytest.raises(ValueError, match="no test split; a folder of images has one if") as caught:
        load(tmp_path, split="test")
    assert str(tmp_path) in str(caught.value)


def test_different_sizes_are_refused(tmp_path):
    """Two files and their sizes are named, width first as picture viewers have it."""
    save(tmp_path / "x" / "0.png", grey(1))
    save(tmp_path / "y" / "1.png", grey(1, height=9, width=8))
    with pytest.raises(DataError, match=r"different sizes: .*0.png is 6 x 4, .*1.png is 8 x 9"):
        load(tmp_path)


@pytest.mark.parametrize("empty", ["", "x"])
def test_an_empty_folder_is_refused(empty, tmp_path):
    """No classes, or a class without pictures."""
    (tmp_path / empty).mkdir(exist_ok=True)
    message = "no IDX files and no sub-folders|no images in this class folder"
    with pytest.raises(FileNotFoundError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path / empty) in str(caught.value)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pictures_deeper_than_8_bits_are_refused(mode, tmp_path):
    """Pillow would clip all of their values to white."""
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    save(tmp_path / "x" / "deep.tif", np.full((4, 6), 1000, dtype))
    with pytest.raises(DataError, match=r"deep.tif: more than 8 bits"):
        load(tmp_path)


def png_header(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
            + struct.pack(">I", 1000) + b"IDAT")


@pytest.mark.parametrize("side", [4097, 12_000, 100_000])
def test_a_huge_picture_is_refused_by_its_header(side, tmp_path, recwarn):
    """Above our limit, above the size Pillow warns of, above the size Pillow refuses; the pixels are not even there."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "huge.png").write_bytes(png_header(side, side))
    with pytest.raises(DataError, match=r"huge.png: too large for a training image"):
        load(tmp_path)
    assert not recwarn.list, "an error, not a warning beside it"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")      # Pillow's remarks on damaged TIFF tags
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_picture_is_read_or_named(format, position, flip):
    """Cut at any place (flip 0) or with any byte changed: an image, or a DataError with the file's name."""
    stream = io.BytesIO()
    Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)).save(stream, format)
    damaged = bytearray(stream.getvalue())
    place = int(position * len(damaged))
    damaged[place] ^= flip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x" / f"picture.{format.lower()}"
        path.parent.mkdir()
        path.write_bytes(damaged if flip else damaged[:place])
        try:
            assert load(folder).images.dtype == np.uint8
        except DataError as error:
            assert str(path) in str(error)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    """Text under a picture's name, and a picture cut in its pixels."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "text.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"text.png: cannot be read as an image"):
        load(tmp_path)
    save(tmp_path / "x" / "text.png", np.random.default_rng().integers(0, 256, (64, 64), np.uint8))
    whole = (tmp_path / "x" / "text.png").read_bytes()
    (tmp_path / "x" / "text.png").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(DataError, match=r"text.png: damaged image .*truncated"):
        load(tmp_path)
