"""What a U-Net is told of an image, and what it draws for words: classes, embeddings, captions, and nothing."""

import dataclasses
import math

import numpy as np
import pytest
import tiny_runs

from minidiff.data import Dataset
from minidiff.models import CLIP
from minidiff.random import Generator
from minidiff.training import Embedder, Run, Trainer, contexts_of, create_clip_run, draw, read_embedder, train
from minidiff.training.condition import condition, null_context_of, reads_words
from minidiff.training.contrastive import ENCODER, export_clip

TOLD = ("class", "embedding", "caption")


def condition_of(told, **settings):
    """(the condition, the configuration) of the tiny U-Net that is told that."""
    if told == "class":
        config = tiny_runs.config(**settings)
        return condition(config, tiny_runs.dataset(), None), config
    config = tiny_runs.text_config(told, **settings)
    return condition(config, tiny_runs.squares(), tiny_runs.embedder()), config


def fresh():
    """A generator with a seed that is new in every test."""
    return Generator(int(np.random.default_rng().integers(2**32)))


# -- nothing ---------------------------------------------------------------------------------------------------------


def test_nothing_is_the_label_after_the_last_the_zero_vector_or_the_tokens_of_the_empty_text():
    """Of each kind of U-Net; and that is what guidance leads away from."""
    assert condition_of("class")[0].nothing == 3
    embedder = tiny_runs.embedder()
    for told, nothing in (("embedding", np.zeros(16)), ("caption", embedder.tokens([""])[0])):
        told_nothing, config = condition_of(told)
        np.testing.assert_array_equal(told_nothing.nothing, nothing)
        np.testing.assert_array_equal(null_context_of(config.unet, embedder), nothing)


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_conditions_are_replaced_by_nothing_as_often_as_asked(told, probability):
    """3,000 images, within 6 standard deviations; what is not replaced is as without dropout."""
    told_all, _ = condition_of(told, context_dropout=probability)
    indices = np.arange(3000) % 6
    batch = told_all.batch(indices, fresh())
    gone = np.array([np.allclose(context, told_all.nothing, atol=1e-5) for context in batch])
    assert abs(gone.sum() - 3000 * probability) <= 6 * math.sqrt(3000 * probability * (1 - probability))
    if told == "class":
        np.testing.assert_array_equal(batch[~gone], tiny_runs.dataset().labels[indices][~gone])
    if told == "embedding":
        np.testing.assert_array_equal(batch[~gone], condition_of(told)[0].vectors[indices][~gone])


# -- what they are ---------------------------------------------------------------------------------------------------


def test_embeddings_are_the_pictures_directions_at_length_sqrt_e():
    """So that a number in them is about 1 on average; sentences are told at the same length."""
    told, config = condition_of("embedding", context_dropout=0.0)
    embedder = tiny_runs.embedder()
    batch = told.batch(np.array([4, 1, 1]), fresh())
    np.testing.assert_allclose(batch, 4 * embedder.images(tiny_runs.squares().images)[[4, 1, 1]], atol=1e-5)
    assert np.allclose((batch**2).mean(axis=1), 1, atol=1e-4)
    sentences = contexts_of(config.unet, ["a red square", "blue"], embedder)
    np.testing.assert_allclose(sentences, 4 * embedder.texts(["a red square", "blue"]), atol=1e-5)


def test_captions_are_the_tokens_of_the_words_said_of_the_picture():
    """Each context is that of one of the texts that can be made of the captions of its own image; and several of them occur."""
    told, config = condition_of("caption", context_dropout=0.0)
    embedder, captions = tiny_runs.embedder(), tiny_runs.squares().captions
    for image in (0, 5):
        one, two = captions[image]
        texts = [one, two, f"{one}, {two}", f"{two}, {one}"]
        possible = contexts_of(config.unet, texts, embedder)
        np.testing.assert_allclose(possible, embedder.tokens(texts))
        batch = told.batch(np.full(60, image), fresh())
        assert batch.shape == (60, 12, 16)
        distances = abs(batch[:, None] - possible).max(axis=(2, 3))
        assert (distances.min(axis=1) < 1e-5).all() and set(distances.argmin(axis=1)) == {0, 1, 2, 3}


def test_whether_a_unet_reads_words():
    """Embeddings and captions do, classes and nothing do not."""
    unet = tiny_runs.config().unet
    assert [reads_words(tiny_runs.text_config(told).unet) for told in TOLD[1:]] == [True, True]
    assert not reads_words(unet) and not reads_words(dataclasses.replace(unet, num_classes=None))
    nothing = dataclasses.replace(tiny_runs.config(), unet=dataclasses.replace(unet, num_classes=None), class_names=())
    assert condition(nothing, tiny_runs.dataset(), None) is None


def test_a_unet_that_is_told_words_is_not_told_classes():
    """The data's classes neither reach its configuration nor are they asked for."""
    for told in TOLD[1:]:
        config = tiny_runs.text_config(told)
        assert config.class_names == () and config.unet.num_classes is None and config.image_shape == (3, 8, 8)
        squares = tiny_runs.squares()
        Trainer(config, Dataset(squares.images, squares.labels, ("anything",), squares.captions), embedder=tiny_runs.embedder())


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told, got", [("embedding", 16), ("caption", 16)])
def test_a_clip_that_is_missing_or_anothers_is_refused(told, got):
    """By the trainer and before drawing; the message says what to give."""
    config = tiny_runs.text_config(told)
    with pytest.raises(ValueError, match="told what a CLIP makes of pictures or texts; give the CLIP it goes with"):
        Trainer(config, tiny_runs.squares())
    size = {"embedding": "context_features", "caption": "cross_attention_dim"}[told]
    other = dataclasses.replace(config, unet=dataclasses.replace(config.unet, **{size: 24}))
    for wrong in (lambda: Trainer(other, tiny_runs.squares(), embedder=tiny_runs.embedder()),
                  lambda: contexts_of(other.unet, ["red"], tiny_runs.embedder()),
                  lambda: null_context_of(other.unet, tiny_runs.embedder())):
        with pytest.raises(ValueError, match=f"told vectors of 24 numbers, the CLIP's have {got}; give the CLIP it was made for"):
            wrong()


def test_a_clip_for_pictures_of_another_size_is_refused():
    """It cannot embed the training images."""
    clip = dataclasses.replace(tiny_runs.clip_config().clip, image=dataclasses.replace(tiny_runs.clip_config().clip.image, image_size=16))
    with pytest.raises(ValueError, match=r"expected images \(N, 3, 16, 16\)"):
        Trainer(tiny_runs.text_config("embedding"), tiny_runs.squares(), embedder=Embedder(CLIP(clip), tiny_runs.tokenizer()))


def test_pictures_are_not_mirrored_where_they_are_told_by_their_embedding():
    """A mirrored one has another; with captions it may be."""
    with pytest.raises(ValueError, match=r"flip=0\.5, but a mirrored picture has another embedding; train with flip=0"):
        Trainer(tiny_runs.text_config("embedding", flip=0.5), tiny_runs.squares(), embedder=tiny_runs.embedder())
    Trainer(tiny_runs.text_config("caption", flip=0.5), tiny_runs.squares(), embedder=tiny_runs.embedder())


# -- trained ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["embedding", "caption"])
def test_a_model_of_words_draws_the_colour_that_it_is_asked_for(told):
    """Three squares, 100 steps: at least 70 % of 30 pictures are closest to the colour of their prompt; lots would give 33 %."""
    config = tiny_runs.text_config(told, prediction_type="sample", beta_schedule="squaredcos_cap_v2", learning_rate=1e-2, total_steps=100,
                                   batch_size=12, ema_decay=0.9)
    embedder, colours = tiny_runs.embedder(), list(tiny_runs.COLOURS)[:3]
    trainer = Trainer(config, tiny_runs.squares(3), embedder=embedder)
    for _ in range(100):
        trainer.step()
    context = contexts_of(config.unet, [f"a {colour} square" for colour in colours], embedder)
    images = draw(trainer.ema_model(), trainer.schedule, np.repeat(context, 10, axis=0), generator=fresh(), sampler="ddim", steps=10,
                  guidance=2.0, prediction_type="sample", null_context=null_context_of(config.unet, embedder))
    wanted = np.array([tiny_runs.COLOURS[colour] for colour in colours]) / 127.5 - 1
    seen = np.linalg.norm(images.mean(axis=(2, 3))[:, None] - wanted, axis=2).argmin(axis=1)
    assert (seen == np.repeat([0, 1, 2], 10)).mean() >= 0.7


@pytest.mark.parametrize("told", ["embedding", "caption"])
def test_a_run_of_words_that_is_resumed_with_its_clip_ends_with_the_same_bytes(told, tmp_path):
    """The CLIP is read from the run's own folder, where it was exported to."""
    clip = create_clip_run(tmp_path / "clip", tiny_runs.clip_config(), tiny_runs.tokenizer())
    train(clip, tiny_runs.clip_learner(), steps=2)
    config = tiny_runs.text_config(told, lr_schedule="cosine")
    runs = [Run.create(tmp_path / name, config, lambda folder: export_clip(clip.path, folder / ENCODER)) for name in ("one", "two")]
    train(runs[0], Trainer(config, tiny_runs.squares(), embedder=read_embedder(clip.path)))
    for steps in (4, 7, None):
        run = Run.open(tmp_path / "two")
        trainer = Trainer(run.config, tiny_runs.squares(), embedder=read_embedder(run.path))
        run.restore(trainer)
        train(run, trainer, steps=steps)
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (runs[0].path / name).read_bytes() == (runs[1].path / name).read_bytes()


def test_a_run_of_words_without_its_clip_says_what_is_missing(tmp_path):
    """Its folder `encoder` is gone; a run of classes never had one."""
    for told in ("embedding", "caption"):
        run = Run.create(tmp_path / told, tiny_runs.text_config(told))
        with pytest.raises(FileNotFoundError, match=f"{told}/encoder: no such folder; it held the CLIP that tells this U-Net what to draw"):
            read_embedder(run.path)
    with pytest.raises(ValueError, match="it is a run of `minidiff train`; give one that `minidiff clip train` made"):
        read_embedder(Run.create(tmp_path / "class", tiny_runs.config()).path)
