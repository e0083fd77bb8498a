"""Captions in a Dataset, and those made from the names of classes."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.data import DataError, Dataset, captions_of, class_captions, load

IMAGES = np.zeros((2, 1, 3, 3), np.uint8)
LABELS = np.array([1, 0])
NAMES = ("Bag", "Ankle boot")
CAPTIONS = (("a cat",), ("a dog", "un chien, très petit"))


def test_a_dataset_keeps_its_captions():
    """As given; a set without has None."""
    assert Dataset(IMAGES, LABELS, NAMES, CAPTIONS).captions == captions_of(Dataset(IMAGES, LABELS, NAMES, CAPTIONS)) == CAPTIONS
    assert Dataset(IMAGES, LABELS, NAMES).captions is None


@pytest.mark.parametrize(("captions", "message"), [
    (CAPTIONS[:1], "2 images but captions for 1"),
    ((*CAPTIONS, ("x",)), "2 images but captions for 3"),
    ((), "2 images but captions for 0"),
    ([("a",), ("b",)], "captions must be a tuple with a tuple of strings for each image, or None, got a list"),
    ("ab", "captions must be a tuple .* got a str"),
    (7, "captions must be a tuple .* got a int"),
    (("a cat", "a dog"), "the captions of image 0 must be a tuple of at least one string, got 'a cat'"),
    ((("a",), ["b"]), r"the captions of image 1 must be .* got \['b'\]"),
    ((("a",), ()), r"the captions of image 1 must be a tuple of at least one string, got \(\)"),
    ((("a",), None), "the captions of image 1 must be .* got None"),
    ((("a",), ("b", 3)), "a caption of image 1 must be a string that is not empty, got 3"),
    ((("a", b"b"), ("c",)), "a caption of image 0 must be a string .* got b'b'"),
    ((("a",), ("b", "")), "a caption of image 1 must be a string that is not empty, got ''"),
    ((("\n ",), ("b",)), "a caption of image 0 must be a string that is not empty"),
    ((("a",), ("\udc00",)), r"a caption of image 1 .* got '\\udc00'"),
])
def test_wrong_captions_are_refused(captions, message):
    """Number, kind, emptiness, and half of a character."""
    with pytest.raises(DataError, match=message):
        Dataset(IMAGES, LABELS, NAMES, captions)


def test_a_long_value_is_not_printed_whole():
    """A message of one line."""
    with pytest.raises(DataError) as caught:
        Dataset(IMAGES, LABELS, NAMES, (("a",), ["b" * 100_000]))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("name", "said"), [
    ("Bag", "a bag"), ("Ankle boot", "an ankle boot"), ("T-shirt/top", "a t-shirt or top"), ("sea_lion", "a sea lion"),
    ("  Ice  cream ", "an ice cream"), ("0", "the digit zero"), ("7", "the digit seven"), ("12", "the number 12"),
    ("07", "the number 07"), ("3D", "a 3d"), ("Umbrella", "an umbrella"),
])
def test_a_class_is_said_as_one_says_it(name, said):
    """Case, slash, underscore, article, numbers; in every sentence."""
    assert class_captions(name) == (f"a picture of {said}", f"a photo of {said}", f"an image of {said}", said)


def test_mnist_counts_to_nine():
    """Ten different words, each the digit's own (by the number of its letters, and the first of them)."""
    last_words = [class_captions(str(digit))[-1].split()[-1] for digit in range(10)]
    assert [len(word) for word in last_words] == [4, 3, 3, 5, 4, 4, 3, 5, 5, 4]
    assert "".join(word[0] for word in last_words) == "zottffssen"


def test_the_garments_have_captions():
    """Of each image those of its class, for both splits, in lower case."""
    for split in ("train", "test"):
        dataset = load("fashion-mnist-mini", split=split)
        captions = captions_of(dataset)
        assert len(captions) == len(dataset) and len(set(captions)) == 10
        for label, of_image in zip(dataset.labels, captions, strict=True):
            assert of_image == class_captions(dataset.class_names[label])
        assert {caption for of_image in captions for caption in of_image if caption != caption.lower()} == set()


@given(name=st.text(st.characters(exclude_categories=["Cs"])))
def test_made_captions_are_captions(name):
    """Of any name that says something: the Dataset takes them. A name of blanks and underscores is refused."""
    if not name.replace("_", " ").strip():
        with pytest.raises(DataError, match=f"class name {re.escape(repr(name))}; every class needs a name"):
            captions_of(Dataset(IMAGES, 0 * LABELS, (name,)))
        return
    made = captions_of(Dataset(IMAGES, 0 * LABELS, (name,)))
    assert Dataset(IMAGES, LABELS, NAMES, made).captions == made
