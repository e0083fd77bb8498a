"""The bag of words: a ridge regression, against least squares of the system it stands for."""

import math
import re

import numpy as np
import pytest
import tiny_runs
from hypothesis import given
from hypothesis import strategies as st

from minidiff.data import Dataset
from minidiff.training import BagOfWords
from minidiff.training.bag_of_words import words

CAPTIONS = (("Red heart", "love"), ("a red, red rose",), ("blue heart!", "SAD"), ("rocket",), ("the sea is blue",))


def dataset(height=17, width=24):
    """Five pictures in colour, whose sides 8 does or does not divide."""
    images = np.random.default_rng().integers(0, 256, (5, 3, height, width), dtype=np.uint8)
    return Dataset(images, np.zeros(5, np.int64), ("image",), CAPTIONS)


def by_hand(data):
    """(pixels x of a function, words, bags y): means over blocks by a loop, counts by a loop, straight from the docstring."""
    def pixels(image):
        h, w = image.shape[1] // 8, image.shape[2] // 8
        small = [image[c, h * i : h * (i + 1), w * j : w * (j + 1)].mean() / 127.5 - 1
                 for c in range(3) for i in range(8) for j in range(8)]
        return [*small, 1.0]

    bags = [set(re.findall(r"[a-z]+", " ".join(captions).lower())) for captions in data.captions]
    known = sorted(set.union(*bags))
    y = [[math.log(5 / sum(word in other for other in bags)) if word in bag else 0 for word in known] for bag in bags]
    return pixels, known, np.array(y)


@pytest.mark.parametrize("size", [(8, 8), (17, 24), (16, 16)])
def test_its_weights_solve_the_ridge_regression(size):
    """Least squares of [x; sqrt(lambda) 1] W = [y; 0], lambda = N / 100, is the same problem, solved by another method."""
    data = dataset(*size)
    pixels, known, y = by_hand(data)
    x = np.array([pixels(image) for image in data.images])
    augmented = np.concatenate([x, math.sqrt(0.01 * 5) * np.eye(x.shape[1])])
    expected = np.linalg.lstsq(augmented, np.concatenate([y, np.zeros((x.shape[1], len(known)))]))[0]
    model = BagOfWords(data)
    assert list(model.places) == known
    np.testing.assert_allclose(model.weight, expected, atol=1e-5)


def test_a_score_is_the_cosine_between_what_is_predicted_and_what_is_said():
    """By numpy's own dot products, for texts of known, unknown and mixed words."""
    data = dataset()
    model, (pixels, known, _) = BagOfWords(data), by_hand(data)
    texts = ["red heart", "a blue unicorn", "rocket rocket", "the sad sea"]
    scores = model.similarity(data.images, texts)
    assert scores.shape == (5, 4) and abs(scores).max() <= 1 + 1e-12
    bags = [set(text.split()) for text in texts]
    rarity = dict(zip(model.places, model.rarity))
    for n, image in enumerate(data.images):
        predicted = np.array(pixels(image)) @ model.weight
        for m, bag in enumerate(bags):
            said = np.array([rarity[word] if word in bag else 0 for word in known])
            assert scores[n, m] == pytest.approx(predicted @ said / np.linalg.norm(predicted) / np.linalg.norm(said), abs=1e-5)


@given(st.permutations(["red", "heart", "blue", "sea", "unicorn"]))
def test_the_order_of_words_and_their_number_do_not_matter(order):
    """Nor do marks and case."""
    expected = MODEL.similarity(DATA.images, ["red heart blue sea unicorn"])
    texts = [" ".join(order), ", ".join(order).upper() + "!", " ".join([*order, *order[:2]])]
    np.testing.assert_allclose(MODEL.similarity(DATA.images, texts), np.repeat(expected, 3, axis=1), atol=1e-12)


def test_a_text_without_a_known_word_fits_nothing():
    """0, whatever the picture; the empty text, too."""
    assert (MODEL.similarity(DATA.images, ["unicorn", "", "?!"]) == 0).all()


def test_a_word_that_stands_everywhere_says_nothing():
    """Its number is log(N / N) = 0."""
    data = dataset()
    everywhere = Dataset(data.images, data.labels, data.class_names, tuple((*captions, "picture") for captions in CAPTIONS))
    np.testing.assert_allclose(BagOfWords(everywhere).similarity(data.images, ["red picture", "picture"]),
                               np.concatenate([BagOfWords(data).similarity(data.images, ["red"]), np.zeros((5, 1))], axis=1), atol=1e-9)


def test_it_names_the_colours_of_squares():
    """What can be learned from pixels alone: each of twelve squares is closest to its own name."""
    names = list(tiny_runs.COLOURS)
    scores = BagOfWords(tiny_runs.squares(12)).similarity(tiny_runs.squares(12).images, names)
    assert scores.argmax(axis=1).tolist() == [*range(6), *range(6)]


def test_classes_are_learned_by_their_names():
    """Two classes of garments without captions of their own."""
    images = np.stack([np.full((1, 8, 8), 40 + 160 * (i % 2), np.uint8) for i in range(6)])
    model = BagOfWords(Dataset(images, np.arange(6) % 2, ("Bag", "Ankle boot")))
    assert model.similarity(images, ["a bag", "an ankle boot"]).argmax(axis=1).tolist() == [0, 1] * 3


def test_pictures_smaller_than_8_pixels_are_refused():
    """It has nothing to look at."""
    with pytest.raises(ValueError, match="7 x 9; it looks at 8 x 8 pixels"):
        BagOfWords(dataset(7, 9))


@pytest.mark.parametrize("text, expected", [
    ("A Red, red-ish rose!", ["a", "red", "red", "ish", "rose"]), ("", []), ("Straße 7", ["strasse", "7"]), ("été — 夏", ["été", "夏"]),
])
def test_words_are_letters_and_digits_that_stand_together(text, expected):
    """In one case, of any script."""
    assert words(text) == expected


DATA = dataset()
MODEL = BagOfWords(DATA)
