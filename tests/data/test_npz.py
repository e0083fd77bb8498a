"""Images and labels in an `.npz` file, through `load`."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidiff.data import DataError, load

GREY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def save(folder, **named):
    path = Path(folder) / "set.npz"
    np.savez_compressed(path, **named)
    return path


@given(images=arrays(np.uint8, st.sampled_from([(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 3), (1, 1, 1)])),
       dtype=st.sampled_from([np.uint8, np.int32, np.int64, np.uint64]))
def test_saved_images_come_back_channels_first(images, dtype):
    """Pixel by pixel, through the index rather than a transposition."""
    labels = np.arange(len(images)).astype(dtype)
    with tempfile.TemporaryDirectory() as folder:
        dataset = load(save(folder, images=images, labels=labels))
    assert dataset.images.flags.c_contiguous
    pixels = images if images.ndim == 4 else images[..., np.newaxis]
    for n, h, w, c in np.ndindex(pixels.shape):
        assert dataset.images[n, c, h, w] == pixels[n, h, w, c]
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.class_names == tuple(str(i) for i in range(len(images)))


def test_two_splits_and_class_names(tmp_path):
    """The names given, or numbers that count over both splits."""
    splits = {"train_images": GREY, "train_labels": np.array([0, 1]),
              "test_images": GREY[:1] + 100, "test_labels": np.array([2])}
    path = save(tmp_path, **splits)
    assert load(path).class_names == load(path, split="test").class_names == ("0", "1", "2")
    path = save(tmp_path, **splits, class_names=np.array(["a", "b", "c"]), train_filenames=np.array(["1", "2"]))
    train, test = load(path), load(path, split="test")
    assert train.class_names == test.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(train.images[:, 0], GREY)
    np.testing.assert_array_equal(test.images[:, 0], GREY[:1] + 100)
    assert test.labels.tolist() == [2]


@pytest.mark.parametrize(("named", "message"), [
    ({}, "no array images; there are none"),
    ({"images": GREY, "x": GREY}, "no array labels; there are images, x"),
    ({"labels": np.array([0])}, "no array images; there are labels"),
    ({"test_images": GREY, "test_labels": np.array([0, 1])}, "no array train_images"),
    ({"images": GREY, "labels": np.array([0])}, "2 images but 1 labels"),
    ({"images": GREY / 255, "labels": np.array([0, 1])}, "images must be uint8, 0 to 255, got float64"),
    ({"images": GREY[0], "labels": np.array([0, 1])}, r"images must have shape .*, got \(3, 4\)"),
    ({"images": GREY[np.newaxis], "labels": np.array([0])}, r"images must have shape .*, got \(1, 2, 3, 4\)"),
    ({"images": GREY, "labels": np.array([0.0, 1.0])}, r"labels must be integers \(N,\), got float64"),
    ({"images": GREY, "labels": np.array(["0", "1"])}, r"labels must be integers"),
    ({"images": GREY, "labels": np.array([[0, 1]])}, r"labels must be integers \(N,\), got int64 \(1, 2\)"),
    ({"images": GREY, "labels": np.array([0, -1])}, "labels from -1 to 0"),
    ({"images": GREY, "labels": np.array([0, 10**12])}, "labels from 0 to 1000000000000"),
    ({"images": GREY, "labels": np.array([0, 2**64 - 1], np.uint64)}, "labels from -1 to 0"),
    ({"images": GREY, "labels": np.array([0, 1]), "class_names": np.array(["a"])}, r"label 1 .* outside \[0, 1\)"),
    ({"images": GREY, "labels": np.array([0, 1]), "class_names": np.array([1, 2])}, r"class_names must be strings"),
    ({"images": GREY[:0], "labels": np.array([], int)}, "at least one image"),
])
def test_wrong_arrays_are_refused(named, message, tmp_path):
    """Each message names the file."""
    path = save(tmp_path, **named)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), min_size=1).filter(str.strip)


@given(captions=st.lists(st.lists(LINES, min_size=1, max_size=3), min_size=1, max_size=4), labelled=st.booleans())
def test_captions_come_back_a_tuple_an_image(captions, labelled):
    """Any text without line ends, several an image; with labels both, without them one class."""
    images, labels = np.zeros((len(captions), 2, 2), np.uint8), np.arange(len(captions))
    with tempfile.TemporaryDirectory() as folder:
        lines = ["\n".join(of_image) for of_image in captions]
        dataset = load(save(folder, images=images, captions=lines, **({"labels": labels} if labelled else {})))
    assert dataset.captions == tuple(map(tuple, captions))
    assert dataset.labels.tolist() == (labels if labelled else 0 * labels).tolist()
    assert dataset.class_names == (tuple(map(str, labels)) if labelled else ("image",))


def test_each_split_has_its_captions(tmp_path):
    """With labels, with names of classes, and with neither."""
    captions = {"train_images": GREY, "train_captions": ["a", "b"], "test_images": GREY[:1], "test_captions": ["c\nd"]}
    labels = {"train_labels": [1, 0], "test_labels": [2]}
    for named, labels_of_train, class_names in (
        (captions, [0, 0], ("image",)),
        (captions | labels, [1, 0], ("0", "1", "2")),
        (captions | labels | {"class_names": ["x", "y", "z"]}, [1, 0], ("x", "y", "z")),
    ):
        path = save(tmp_path, **named)
        train, test = load(path), load(path, split="test")
        assert train.captions == (("a",), ("b",)) and test.captions == (("c", "d"),)
        assert train.labels.tolist() == labels_of_train and train.class_names == test.class_names == class_names
    assert load(save(tmp_path, images=GREY, labels=[0, 1])).captions is None


@pytest.mark.parametrize(("named", "message"), [
    ({"images": GREY, "captions": ["a"]}, "2 images but captions for 1"),
    ({"images": GREY, "captions": ["a", ""]}, "a caption of image 1 must be a string that is not empty, got ''"),
    ({"images": GREY, "captions": ["a\n", "b"]}, "a caption of image 0 must be a string that is not empty"),
    ({"images": GREY, "captions": ["a", " \t"]}, r"a caption of image 1 must be .* got ' \\t'"),
    ({"images": GREY, "captions": ["a", "\ud83d"]}, r"a caption of image 1 must be .* got '\\ud83d'"),
    ({"images": GREY, "captions": [1, 2]}, r"captions must be strings \(N,\), got int64 \(2,\)"),
    ({"images": GREY, "captions": [b"a", b"b"]}, r"captions must be strings \(N,\), got \|S1 \(2,\)"),
    ({"images": GREY, "captions": [["a", "b"], ["c", "d"]]}, r"captions must be strings \(N,\), got <U1 \(2, 2\)"),
    ({"images": GREY, "captions": np.array([1114112, 97], np.uint32).view("<U1")}, "captions cannot be read"),
    ({"images": GREY, "captions": np.array(["a", "b"], object)}, "array captions cannot be read .*allow_pickle=False"),
    ({"captions": ["a", "b"]}, "no array images; there are captions"),
    ({"images": GREY, "captions": ["a", "b"], "class_names": ["x"]}, "no array labels; there are .* in the place of labels"),
    ({"images": GREY, "captions": ["a", "b"], "labels": [0]}, "2 images but 1 labels"),
    ({"images": GREY, "train_captions": ["a", "b"]}, "no array train_images"),
    ({"train_images": GREY, "train_labels": [0, 1], "captions": ["a", "b"]}, "captions must be there for each array of images or for none"),
    ({"train_images": GREY, "train_captions": ["a", "b"], "test_images": GREY, "test_labels": [0, 1]}, "for each array of images or"),
    ({"train_images": GREY, "train_labels": [0, 1], "test_images": GREY, "test_captions": ["a", "b"]}, "for each array of images or"),
    ({"train_images": GREY, "train_captions": ["a", "b"], "test_images": GREY, "test_captions": ["a", "b"], "test_labels": [0, 1]},
     "no array train_labels"),
])
def test_wrong_captions_are_refused(named, message, tmp_path):
    """Each message names the file."""
    path = tmp_path / "set.npz"
    np.savez(path, **named)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_without_test_arrays_there_is_no_test_split(tmp_path):
    """images and labels alone are a training set."""
    path = save(tmp_path, images=GREY, labels=np.array([0, 1]))
    with pytest.raises(ValueError, match=r"set.npz: no test split; .* this one has images, labels"):
        load(path, split="test")


class Bait:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_nothing_is_unpickled(tmp_path):
    """An array of objects is refused, and its code does not run."""
    trace = tmp_path / "trace"
    path = save(tmp_path, images=np.array([Bait(trace)]), labels=np.array([0]))
    with pytest.raises(DataError, match=r"set.npz: array images cannot be read .*allow_pickle=False"):
        load(path)
    assert not trace.exists()
    np.load(path, allow_pickle=True)["images"]
    assert trace.exists(), "the bait does not work"


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    """2^60 bytes in the header of the array, 8 in the file."""
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2**10, 2**10)}
    np.lib.format.write_array_header_1_0(stream, header)
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", stream.getvalue() + bytes(8))
    with pytest.raises(DataError, match=r"set.npz: array images cannot be read"):
        load(path)


def test_what_is_no_archive_is_refused(tmp_path):
    """Text, and an archive of something else."""
    path = tmp_path / "set.npz"
    path.write_text("images")
    with pytest.raises(DataError, match=r"set.npz: not an .npz file, or a truncated one"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", "not an array")
    with pytest.raises(DataError, match=r"set.npz: images is not an array"):
        load(path)


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_archive_is_read_or_named(position, flip):
    """Cut at any place (flip 0) or with any byte changed: a set, or a DataError with the file's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = save(folder, images=GREY, labels=np.array([0, 1]))
        damaged = bytearray(path.read_bytes())
        place = int(position * len(damaged))
        damaged[place] ^= flip
        path.write_bytes(damaged if flip else damaged[:place])
        try:
            assert load(path).images.dtype == np.uint8
        except DataError as error:
            assert str(path) in str(error)
