"""The images inside the package, against what their README says and, where it is at hand, the original."""

import gzip
import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest

import minidiff.data
from minidiff.data import load
from minidiff.data.embed import embed

FOLDER = Path(minidiff.data.__file__).parent / "fashion_mnist_mini"
SHARED = Path(os.environ.get("MINIDIFF_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "fashion-mnist"
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
needs_original = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the full Fashion-MNIST is not in {SHARED}")


@pytest.mark.parametrize(("split", "per_class"), [("train", 600), ("test", 100)])
def test_every_class_has_its_share(split, per_class):
    """28 x 28, grey, ten classes of equal size, called by their names."""
    dataset = load("fashion-mnist-mini", split=split)
    assert dataset.images.shape == (10 * per_class, 1, 28, 28)
    assert np.bincount(dataset.labels).tolist() == [per_class] * 10
    assert dataset.class_names == tuple(NAMES)


@pytest.mark.parametrize(("split", "first"), [("train", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
                                              ("test", [9, 2, 1, 1, 6, 1, 4, 6, 5, 7])])
def test_it_begins_like_the_original(split, first):
    """The published first labels of Fashion-MNIST."""
    assert load("fashion-mnist-mini", split=split).labels[:10].tolist() == first


def test_labels_belong_to_their_images():
    """The nearest of the ten classes' mean training images is the right one for more than 60 % of the test images.

    It is 67 %; with labels at random it would be 10 %, and 600 right of 1,000 have a probability below 1e-300.
    """
    train, test = load("fashion-mnist-mini"), load("fashion-mnist-mini", split="test")
    means = np.stack([train.floats(train.labels == label).mean(axis=0).ravel() for label in range(10)])
    x = test.floats(slice(None)).reshape(len(test), -1)
    nearest = np.argmin(((x[:, np.newaxis] - means) ** 2).sum(axis=2), axis=1)
    assert (nearest == test.labels).mean() > 0.6


def test_train_and_test_share_no_image():
    """Compared as bytes."""
    train, test = ({image.tobytes() for image in load("fashion-mnist-mini", split=s).images} for s in ("train", "test"))
    assert not train & test


def test_the_folder_has_its_licence_and_its_true_checksums():
    """Every data file stands in the README with its size and SHA-256; all of it is at most 3 MB."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| ([\d,]+) \| `(\w{64})` \|$", readme, re.MULTILINE)
    stated = {name: (int(size.replace(",", "")), digest) for name, size, digest in rows}
    there = {path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
             for path in FOLDER.iterdir() if path.name not in ("README.md", "LICENSE")}
    assert there == stated and len(there) == 5
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith("The MIT License (MIT) Copyright © 2017 Zalando SE")
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 3_000_000


@needs_original
@pytest.mark.parametrize(("split", "prefix", "per_class"), [("train", "train", 600), ("test", "t10k", 100)])
def test_it_is_the_beginning_of_each_class_of_the_original(split, prefix, per_class):
    """A walk through the official files, header skipped by hand: an image is in if its class is not yet full."""
    with gzip.open(SHARED / f"{prefix}-labels-idx1-ubyte.gz") as stream:
        labels = stream.read()[8:]
    with gzip.open(SHARED / f"{prefix}-images-idx3-ubyte.gz") as stream:
        pixels = stream.read()[16:]
    seen, chosen = [0] * 10, []
    for place, label in enumerate(labels):
        seen[label] += 1
        if seen[label] <= per_class:
            chosen.append(place)
    dataset = load("fashion-mnist-mini", split=split)
    assert dataset.labels.tolist() == [labels[place] for place in chosen]
    assert dataset.images.tobytes() == b"".join(pixels[784 * place:784 * (place + 1)] for place in chosen)


@needs_original
def test_it_can_be_made_again(tmp_path):
    """The script's result holds the same arrays; the bytes may differ with the version of liblzma."""
    names = {path.name for path in embed(SHARED, tmp_path)}
    assert names == {path.name for path in FOLDER.iterdir()} - {"README.md", "LICENSE"}
    for split in ("train", "test"):
        ours, again = load("fashion-mnist-mini", split=split), load(tmp_path, split=split)
        np.testing.assert_array_equal(ours.images, again.images)
        np.testing.assert_array_equal(ours.labels, again.labels)
        assert ours.class_names == again.class_names
