"""The classifier that judges."""

import numpy as np
import pytest
from tiny_runs import stripes

from minidiff import functional as F
from minidiff.data import Dataset
from minidiff.diffusion import make_schedule, q_sample
from minidiff.models import Classifier
from minidiff.random import Generator
from minidiff.training import accuracy, accuracy_per_class, predict, train_classifier
from minidiff.training.judge import embed


@pytest.fixture(scope="module")
def judge():
    """Trained on 320 images."""
    return train_classifier(stripes(320, 0), epochs=3)


def test_the_judge_learns_to_tell_patterns_apart(judge):
    """At least 95 % of images that it has not seen; guessing gives 33 %."""
    data = stripes(300, 1)
    assert accuracy(judge, data.floats(slice(None)), data.labels) >= 0.95
    assert not judge.training


def test_accuracy_is_the_share_of_right_answers(judge):
    """Counted by hand, for all and for each class; a class without images has none."""
    data = stripes(40, 2)
    images = data.floats(slice(None))
    seen = predict(judge, images, batch_size=7)
    np.testing.assert_array_equal(seen, predict(judge, images))
    labels = seen.copy()
    labels[:10] = (labels[:10] + 1) % 3
    assert accuracy(judge, images, labels) == 0.75
    two = np.where(labels == 2, 1, labels)
    per_class = accuracy_per_class(judge, images, two)
    assert np.isnan(per_class[2])
    for label in (0, 1):
        mine = [one == label for one, truth in zip(seen, two) if truth == label]
        assert per_class[label] == sum(mine) / len(mine)


def test_what_it_says_before_it_decides_is_what_it_decides_by(judge):
    """`embed` through the last layer by hand gives `predict`; 128 numbers, none negative, whatever the batches."""
    images = stripes(40, 5).floats(slice(None))
    features = embed(judge, images, batch_size=7)
    assert features.shape == (40, 128) and features.min() == 0
    np.testing.assert_allclose(features, embed(judge, images), atol=1e-5)
    scores = features @ judge.output.weight.data.T + judge.output.bias.data
    np.testing.assert_array_equal(scores.argmax(axis=1), predict(judge, images))


def test_the_same_seed_trains_the_same_judge():
    """And another seed another; progress ends at 1."""
    data, fractions = stripes(64, 3), []
    one, same, other = (train_classifier(data, seed, 1, progress=fractions.append) for seed in (1, 1, 2))
    assert fractions[-1] == 1.0 and fractions[: len(fractions) // 3] == sorted(fractions[: len(fractions) // 3])
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, same.state_dict()[name])
    assert not np.array_equal(one.hidden.weight.data, other.hidden.weight.data)


def test_a_judge_of_noisy_images_knows_the_time():
    """It recognizes what has little noise. In pure noise nobody can, and it says so: a cross-entropy near log 3 = 1.1, where a judge of
    clean images is sure of itself and wrong (3.8 and more). Its answer to one image depends on the time."""
    schedule, data = make_schedule("squaredcos_cap_v2", 100), stripes(300, 1)
    noisy = train_classifier(stripes(320, 0), epochs=6, schedule=schedule)
    x = data.floats(slice(None))
    at = lambda t: q_sample(schedule, x, np.full(300, t), Generator(2).standard_normal(x.shape))
    assert (noisy(at(3), 3).numpy().argmax(1) == data.labels).mean() >= 0.9
    assert (noisy(at(99), 99).numpy().argmax(1) == data.labels).mean() <= 0.5  # a third is chance, half is 6 standard errors above
    assert F.cross_entropy(noisy(at(99), 99), data.labels).item() < 2
    assert abs(noisy(x[:5], 0).numpy() - noisy(x[:5], np.full(5, 80)).numpy()).max() > 1e-3
    np.testing.assert_array_equal(noisy(x[:5], 80).numpy(), noisy(x[:5], np.full(5, 80)).numpy())


def test_a_judge_is_asked_as_it_was_trained(judge):
    """With a time for noisy images, without for clean ones."""
    x = stripes(4, 1).floats(slice(None))
    with pytest.raises(ValueError, match=r"of clean images \(time_features=0\) as classifier\(x\)"):
        judge(x, 3)
    with pytest.raises(ValueError, match=r"of noisy images is called as classifier\(x, t\)"):
        Classifier(3, 1, 12, time_features=8)(x)


def test_images_it_cannot_take_are_refused():
    """Not square; no epoch."""
    data = stripes(8, 4)
    with pytest.raises(ValueError, match="12 x 8"):
        train_classifier(Dataset(data.images[..., :8], data.labels, data.class_names))
    with pytest.raises(ValueError, match="epochs=0"):
        train_classifier(data, epochs=0)
