"""A folder of IDX files, through `load`."""

import shutil

import numpy as np
import pytest

from minidiff.data import DataError, load, write_idx

TRAIN = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
TEST = TRAIN[:2] + 100


@pytest.fixture
def folder(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", TRAIN)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([0, 2, 1, 0, 4], np.uint8))
    write_idx(tmp_path / "t10k-images-idx3-ubyte.xz", TEST)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.array([5, 2], np.uint8))
    return tmp_path


@pytest.mark.parametrize(("split", "images", "labels"), [("train", TRAIN, [0, 2, 1, 0, 4]), ("test", TEST, [5, 2])])
def test_both_splits_are_read_in_any_compression(folder, split, images, labels):
    """Images get their channel axis; the classes count over both splits."""
    dataset = load(folder, split=split)
    np.testing.assert_array_equal(dataset.images, images[:, np.newaxis])
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.class_names == tuple("012345")


def test_a_text_file_names_the_classes(folder):
    """class_names.txt, one a line."""
    (folder / "class_names.txt").write_text("zéro\none\ntwo\nthree\nfour\nfive\n", encoding="utf-8")
    assert load(str(folder)).class_names == ("zéro", "one", "two", "three", "four", "five")
    (folder / "class_names.txt").write_text("zero\none\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"label 2 of image 1 is outside \[0, 2\)") as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    (folder / "class_names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"class_names.txt: not UTF-8"):
        load(folder)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"])
def test_images_and_labels_need_each_other(folder, name):
    """Either one taken away."""
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no file {name.removesuffix('.gz')}") as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def test_unequal_counts_are_refused(folder):
    """Five images, four labels."""
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    with pytest.raises(DataError, match="5 images but 4 labels") as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def test_images_in_the_place_of_labels_are_refused(folder):
    """The magic says three dimensions where one is due."""
    shutil.copy(folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz: expected magic 0x00000801 .* got 0x00000803"):
        load(folder)


def test_no_images_are_no_dataset(folder):
    """A sound file of zero images."""
    write_idx(folder / "train-images-idx3-ubyte.gz", TRAIN[:0])
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(0, np.uint8))
    with pytest.raises(DataError, match="at least one image"):
        load(folder)
