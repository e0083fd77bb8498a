"""With which words an image is shown: all captions, alone and together, as often as they should."""

import math
from collections import Counter

import numpy as np
import pytest

from minidiff.data import Dataset, class_captions
from minidiff.random import Generator
from minidiff.training.captions import Wording

CAPTIONS = (("heart", "red", "love", "emotion"), ("cat", "smiling"), ("rocket",))
TEXTS = 12000


def drawn(wording, image, count=TEXTS):
    """Many texts for one image."""
    return wording.draw(np.full(count, image), Generator(int(np.random.default_rng().integers(2**32))))


def assert_shares(counts, shares):
    """Each count within 6 standard deviations of its share (false alarm 2e-9 each), and nothing else was counted."""
    assert counts.keys() <= shares.keys()
    total = sum(counts.values())
    for name, share in shares.items():
        assert abs(counts[name] - share * total) <= 6 * math.sqrt(total * share * (1 - share)), name


@pytest.fixture
def wording():
    """Of three images with four captions, two, and one."""
    return Wording(Dataset(np.zeros((3, 1, 8, 8), np.uint8), np.zeros(3, np.int64), ("image",), CAPTIONS))


def test_one_two_or_three_captions_stand_together_equally_often_and_none_twice(wording):
    """Of an image with four."""
    texts = [text.split(", ") for text in drawn(wording, 0)]
    assert_shares(Counter(map(len, texts)), {1: 1 / 3, 2: 1 / 3, 3: 1 / 3})
    assert all(len(set(text)) == len(text) and set(text) <= set(CAPTIONS[0]) for text in texts)


def test_every_choice_and_order_of_captions_is_equally_likely(wording):
    """Of four captions there are 4 texts of one, 12 of two and 24 of three, each kind a third of all."""
    texts = drawn(wording, 0)
    shares = {}
    for a in CAPTIONS[0]:
        shares[a] = 1 / 3 / 4
        for b in set(CAPTIONS[0]) - {a}:
            shares[f"{a}, {b}"] = 1 / 3 / 12
            for c in set(CAPTIONS[0]) - {a, b}:
                shares[f"{a}, {b}, {c}"] = 1 / 3 / 24
    assert len(shares) == 40
    assert_shares(Counter(texts), shares)


def test_an_image_with_fewer_captions_says_all_it_has(wording):
    """Two: one alone in a third of the texts, both in two thirds; one: always that."""
    assert_shares(Counter(drawn(wording, 1)), {"cat": 1 / 6, "smiling": 1 / 6, "cat, smiling": 1 / 3, "smiling, cat": 1 / 3})
    assert set(drawn(wording, 2, 50)) == {"rocket"}


def test_prompts_of_class_names_are_never_joined():
    """Each of the four sentences a quarter of the time."""
    dataset = Dataset(np.zeros((2, 1, 8, 8), np.uint8), np.array([1, 0]), ("Bag", "Ankle boot"))
    for image, name in ((0, "Ankle boot"), (1, "Bag")):
        assert_shares(Counter(drawn(Wording(dataset), image, 4000)), {caption: 1 / 4 for caption in class_captions(name)})


def test_every_image_gets_words_of_its_own_and_the_same_generator_the_same(wording):
    """In the order of the indices, with repetitions."""
    indices = np.array([2, 0, 1, 1, 0, 2] * 20)
    seed = int(np.random.default_rng().integers(2**32))
    texts = wording.draw(indices, Generator(seed))
    assert texts == wording.draw(indices, Generator(seed))
    for i, text in zip(indices, texts, strict=True):
        assert set(text.split(", ")) <= set(CAPTIONS[i])
