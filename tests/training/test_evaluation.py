"""Figures of samples, prompts and CLIPs that are perfect, copied, or nonsense: what they must then be."""

import numpy as np
import pytest
import tiny_runs

from minidiff.data import Dataset
from minidiff.random import Generator
from minidiff.training import predict, train_classifier
from minidiff.training.evaluation import evaluate_clip, evaluate_images, evaluate_prompts

TRAIN, TEST = tiny_runs.stripes(120, 0), tiny_runs.stripes(60, 1)
CLOSER = "closer to a training image than 95 % of test images"


@pytest.fixture(scope="module")
def classifier():
    """Knows rows from columns from middles."""
    return train_classifier(TRAIN, epochs=3)


def evaluate(classifier, samples, labels=None, **options):
    return evaluate_images(samples, labels, TRAIN, TEST, classifier, Generator(0), **options)


# -- images ----------------------------------------------------------------------------------------------------------


def test_test_images_as_samples_are_perfect(classifier):
    """They are recognized as often as the test images, have no distance to them, and are as new as they are."""
    table, nearest = evaluate(classifier, TEST.images, TEST.labels)
    assert table["recognized"]["samples"] == table["recognized"]["test images"]
    assert table["recognized"]["samples"].value >= 0.9
    assert abs(table["frechet_distance"]["samples"].value) < 1e-3 < table["frechet_distance"]["training images"].value
    assert [table[figure]["samples"].value for figure in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert table["authenticity"]["samples"] == table["authenticity"]["test images"]
    assert table[CLOSER]["samples"].value <= 0.05
    assert nearest.distances.min() > 0


def test_copies_of_training_images_are_found_as_such(classifier):
    """Thirty of them, out of order: the nearest image is the one copied, at distance 0, and none is authentic."""
    copied = np.random.default_rng().permutation(len(TRAIN))[:30]
    table, nearest = evaluate(classifier, TRAIN.images[copied], TRAIN.labels[copied])
    assert nearest.indices.tolist() == copied.tolist() and (nearest.distances == 0).all()
    assert table["authenticity"]["samples"].value == 0 < table["authenticity"]["test images"].value
    assert table[CLOSER]["samples"].value == 1


def test_nonsense_is_told_from_images(classifier):
    """Noise is recognized by luck only, far from real images, and covers none of them."""
    noise = np.random.default_rng(3).integers(0, 256, (60, 1, 12, 12), dtype=np.uint8)
    table, _ = evaluate(classifier, noise, np.arange(60) % 3)
    assert table["recognized"]["samples"].value < 0.7
    assert table["frechet_distance"]["samples"].value > 5 * table["frechet_distance"]["training images"].value
    assert table["coverage"]["samples"].value < table["coverage"]["training images"].value


def test_distances_are_root_mean_squares_of_pixels_in_minus_1_to_1(classifier):
    """Against a loop over all training images; black and white images are 2 apart."""
    samples = np.random.default_rng().integers(0, 256, (12, 1, 12, 12), dtype=np.uint8)
    _, nearest = evaluate(classifier, samples)
    for sample, distance, index in zip(samples, nearest.distances, nearest.indices, strict=True):
        all_distances = [np.sqrt(((sample / 127.5 - image / 127.5) ** 2).mean()) for image in TRAIN.images]
        assert distance == pytest.approx(min(all_distances), abs=1e-6) and index == np.argmin(all_distances)
    black = Dataset(np.zeros((120, 1, 12, 12), np.uint8), TRAIN.labels, TRAIN.class_names)
    _, nearest = evaluate_images(np.full((12, 1, 12, 12), 255, np.uint8), None, black, TEST, classifier, Generator(0))
    np.testing.assert_allclose(nearest.distances, 2)


def test_recognition_is_counted_for_the_classes_that_were_asked_for(classifier):
    """By hand: some labels are changed. Without labels nothing is said of it."""
    labels = predict(classifier, TEST.floats(slice(None)))
    labels[:15] = (labels[:15] + 1) % 3
    table, _ = evaluate(classifier, TEST.images, labels)
    assert table["recognized"]["samples"].value == 0.75
    without, _ = evaluate(classifier, TEST.images)
    assert "recognized" not in without and without.keys() == table.keys() - {"recognized"}


def test_real_training_images_stand_beside_the_samples_as_many_as_these(classifier):
    """The figures of sets depend on their sizes, so each has both columns with the same counts."""
    table, _ = evaluate(classifier, TEST.images[:25], TEST.labels[:25])
    for figure in ("recognized", "frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"):
        assert table[figure]["samples"].count == table[figure]["training images"].count == 25
    assert table["recognized"]["test images"].count == 60
    assert all(value.low <= value.value <= value.high for values in table.values() for value in values.values())


def test_the_same_generator_gives_the_same_figures(classifier):
    """And progress goes up to 1."""
    fractions = []
    one, two = (evaluate(classifier, TEST.images[:20], progress=fractions.append)[0] for _ in range(2))
    assert one == two
    first = fractions[: len(fractions) // 2]
    assert first == sorted(first) and first[-1] == 1.0 and 0 < first[0] < 0.1


@pytest.mark.parametrize("change, message", [
    ({"samples": TEST.images[:9]}, "9 samples; the intervals need at least 10"),
    ({"train": tiny_runs.stripes(9, 0)}, "9 training images; the intervals need at least 10"),
    ({"test": tiny_runs.stripes(18, 0)}, "18 test images; the intervals need at least 19"),
    ({"samples": TEST.images[:, :, :8, :8]}, r"the samples are \(1, 8, 8\), the test images \(1, 12, 12\)"),
    ({"labels": np.zeros(3, np.int64)}, r"labels of shape \(3,\) for 60 samples"),
    ({"test": Dataset(TEST.images[..., :10], TEST.labels, TEST.class_names)}, "12 x 10; the classifier needs square ones"),
    ({"test": Dataset(TEST.images[..., :10, :10], TEST.labels, TEST.class_names)}, "10 x 10; .* divisible by 4"),
])
def test_sets_that_no_figure_can_be_made_of_are_refused(classifier, change, message):
    """Too few, or of other shapes; before anything is computed."""
    arguments = {"samples": TEST.images, "labels": None, "train": TRAIN, "test": TEST, **change}
    with pytest.raises(ValueError, match=message):
        evaluate_images(**arguments, classifier=classifier, generator=None)


def test_the_fewest_that_are_allowed_do(classifier):
    """10 samples, 10 training images, 19 test images."""
    table, _ = evaluate_images(TEST.images[:10], None, tiny_runs.stripes(10, 2), tiny_runs.stripes(19, 3), classifier, Generator(0))
    assert np.isfinite([value.value for values in table.values() for value in values.values()]).all()


# -- words -----------------------------------------------------------------------------------------------------------


class Oracle:
    """A CLIP that sees which of the six colours a picture has and which colour's name stands in a text; `mistakes` of them it confuses."""

    def __init__(self, mistakes=0):
        self.mistakes = mistakes
        self.asked = []

    def images(self, images):
        colours = np.array(list(tiny_runs.COLOURS.values()))
        seen = np.linalg.norm(images.mean(axis=(2, 3))[:, None] - colours, axis=2).argmin(axis=1)
        return np.eye(6)[np.where(seen < self.mistakes, (seen + 1) % 6, seen)] + 0.1

    def texts(self, texts):
        self.asked += texts
        return np.eye(6)[[next(i for i, name in enumerate(tiny_runs.COLOURS) if name in text) for text in texts]] + 0.1


def test_pictures_that_show_what_was_asked_for_have_the_score_of_their_cosine():
    """All prompts are found; CLIP's score is 2.5 cos; lots find one of two right prompts among twelve in 1/6 of the draws."""
    squares = tiny_runs.squares(12)
    prompts = [f"a {captions[0]} square" for captions in squares.captions]
    table = evaluate_prompts(squares.images, prompts, Oracle(), Generator(0), squares.images)
    assert table["CLIP score"]["samples"] == table["CLIP score"]["real images"]
    assert table["CLIP score"]["samples"].value == pytest.approx(2.5)
    for k, chance in ((1, 2 / 12), (5, 1 - 7 * 6 / 12 / 11), (10, 1 - 2 / 12 / 11)):
        figure = table[f"prompt found, first {k}"]
        assert figure["samples"].value == figure["real images"].value == 1
        assert figure["chance"] == pytest.approx(chance)
    assert "real images" not in evaluate_prompts(squares.images, prompts, Oracle(), Generator(0))["CLIP score"]


def test_pictures_of_something_else_are_not_found():
    """Each picture shows the colour of its neighbour: no prompt is first, and the score is what 0.1 in common makes of it."""
    squares = tiny_runs.squares()
    prompts = [captions[0] for captions in squares.captions]
    table = evaluate_prompts(np.roll(squares.images, 1, axis=0), prompts, Oracle(), Generator(0), squares.images)
    first = table["prompt found, first 1"]
    assert first["samples"].value == 0 and first["real images"].value == 1 and first["chance"] == pytest.approx(1 / 6)
    assert "prompt found, first 10" not in table
    assert table["CLIP score"]["samples"].value == pytest.approx(2.5 * (2 * 1.1 * 0.1 + 4 * 0.01) / (1.1**2 + 5 * 0.01))


def test_a_clip_that_sees_right_finds_every_caption_and_every_picture():
    """And one that confuses two of six colours finds four; by first captions; beside them words and chance."""
    squares = tiny_runs.squares()
    for mistakes in (0, 2):
        oracle = Oracle(mistakes)
        table = evaluate_clip(oracle, tiny_runs.squares(12), squares)
        assert oracle.asked == list(tiny_runs.COLOURS)
        for what in ("caption", "picture"):
            assert table[f"{what} found, first 5"]["chance"] == pytest.approx(5 / 6)
            assert table[f"{what} found, first 1"]["chance"] == pytest.approx(1 / 6)
            assert table[f"{what} found, first 1"]["bag of words"].value == 1     # colours are all there is to know
        assert table["caption found, first 1"]["CLIP"].value == pytest.approx(1 - mistakes / 6, abs=0.01)


def test_a_caption_is_looked_for_by_its_picture_and_a_picture_by_its_caption():
    """The CLIP sees red as green, and greener than green. One of six pictures finds another's caption; two of six captions find another's
    picture."""
    class Confuses(Oracle):
        def images(self, images):
            seen = super().images(images)
            seen[0, 0], seen[1] = 0.05, seen[1] + 0.2
            return seen

    table = evaluate_clip(Confuses(1), tiny_runs.squares(12), tiny_runs.squares())
    assert table["caption found, first 1"]["CLIP"].value == pytest.approx(5 / 6)
    assert table["picture found, first 1"]["CLIP"].value == pytest.approx(4 / 6)


def test_a_class_is_the_mean_of_what_is_said_of_it():
    """One sentence in four is misread; the mean of the directions is still closest to the class."""
    class Misreads(Oracle):
        def texts(self, texts):
            right = super().texts(texts)
            return np.where([[text.startswith("a picture")] for text in texts], np.roll(right, 1, axis=1), right)

    classes = Dataset(tiny_runs.squares().images, np.arange(6), tuple(tiny_runs.COLOURS))
    assert evaluate_clip(Misreads(), classes, classes)["zero-shot accuracy"]["CLIP"].value == 1


def test_a_caption_that_two_pictures_share_is_right_for_both():
    """Twelve squares, six texts: whichever of the two is found counts."""
    table = evaluate_clip(Oracle(), tiny_runs.squares(12), tiny_runs.squares(12))
    assert table["caption found, first 1"]["CLIP"].value == table["picture found, first 1"]["CLIP"].value == 1
    assert table["picture found, first 1"]["chance"] == pytest.approx(2 / 12)


def test_pictures_with_classes_are_classified_by_their_names():
    """Zero-shot: sentences of all templates are asked for each class; chance is one in as many as there are."""
    squares, names = tiny_runs.squares(12), tuple(tiny_runs.COLOURS)
    classes = Dataset(squares.images, np.arange(12) % 6, names)
    oracle = Oracle()
    table = evaluate_clip(oracle, classes, classes)
    assert list(table) == ["zero-shot accuracy"]
    assert table["zero-shot accuracy"]["CLIP"].value == table["zero-shot accuracy"]["bag of words"].value == 1
    assert table["zero-shot accuracy"]["chance"] == pytest.approx(1 / 6)
    assert "a photo of a red" in oracle.asked and len(oracle.asked) == 24
    assert evaluate_clip(Oracle(3), classes, classes)["zero-shot accuracy"]["CLIP"].value == 0.5


def test_a_clip_that_was_trained_is_no_oracle_but_close():
    """The embedder that learned the squares by heart, on others of the same colours."""
    table = evaluate_clip(tiny_runs.embedder(), tiny_runs.squares(), tiny_runs.squares(12))
    assert table["caption found, first 1"]["CLIP"].value >= 0.8
    prompts = [captions[1] for captions in tiny_runs.squares().captions]
    table = evaluate_prompts(tiny_runs.squares().images, prompts, tiny_runs.embedder(), Generator(0))
    assert table["prompt found, first 1"]["samples"].value >= 0.8
