"""CLIP in training: it learns, resumes bit for bit, keeps its temperature in bounds, and never parts from its tokenizer."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tiny_runs
from safetensors.numpy import load_file

from minidiff.data import Dataset
from minidiff.models import CLIP
from minidiff.models.tokenizer import Tokenizer
from minidiff.random import Generator
from minidiff.training import (
    ContrastiveConfig,
    ContrastiveLearner,
    Embedder,
    Run,
    create_clip_run,
    read_embedder,
    train,
    train_tokenizer,
)
from minidiff.training.contrastive import export_clip, shifted, small_clip


def test_six_squares_and_their_names_are_learned_by_heart():
    """The loss falls from about log 6 to nearly 0, and each of twelve squares, six of which it has not seen, finds its sentence and is
    found by it, whatever the sentence says besides."""
    learner = tiny_runs.clip_learner(**tiny_runs.BY_HEART)
    losses = [float(learner.step()[0]) for _ in range(tiny_runs.BY_HEART["total_steps"])]
    assert np.mean(losses[:3]) > 1.2 and np.mean(losses[-10:]) < 0.1
    embedder = Embedder(learner.ema_model(), learner.tokenizer)
    images = embedder.images(tiny_runs.squares(12).images)
    for sentence in ("{}", "a {} square", "a {} square, {}"):
        texts = embedder.texts([sentence.format(name, name) for name in tiny_runs.COLOURS])
        cosines = np.array([[float(np.dot(image, text)) for text in texts] for image in images])
        assert cosines.argmax(axis=1).tolist() == [*range(6), *range(6)]
        assert (cosines.argmax(axis=0) % 6).tolist() == list(range(6))


def test_directions_have_length_1_and_do_not_depend_on_the_batch(monkeypatch):
    """All together or one by one."""
    embedder, images, texts = tiny_runs.embedder(), tiny_runs.squares().images, ["a red square", "black", ""]
    for encode, inputs in ((embedder.images, images), (embedder.texts, texts)):
        together = encode(inputs)
        np.testing.assert_allclose((together**2).sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(np.concatenate([encode(inputs[i : i + 1]) for i in range(len(inputs))]), together, atol=1e-5)
        monkeypatch.setattr("minidiff.training.embedder.BATCH_SIZE", 2)
        np.testing.assert_allclose(encode(inputs), together, atol=1e-5)
        monkeypatch.undo()


def test_the_direction_of_a_text_is_read_from_its_tokens():
    """`tokens` at the end of the text, projected and brought to length 1 by hand, is `texts`."""
    embedder, texts = tiny_runs.embedder(), ["a red square", "black", ""]
    tokens = embedder.tokens(texts)
    assert tokens.shape == (3, 12, 16)
    ends = [row.tolist().index(embedder.tokenizer.end) for row in embedder.tokenizer(texts, 12)]
    vectors = tokens[np.arange(3), ends] @ embedder.clip.text_projection.weight.data.T
    np.testing.assert_allclose(vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True)), embedder.texts(texts), atol=1e-5)


@pytest.mark.parametrize("wrong, message", [
    (lambda e: e.texts([]), "at least one text"), (lambda e: e.texts("red"), "a list of at least one text, got 'red'"),
    (lambda e: e.tokens([]), "at least one text"), (lambda e: e.images(np.zeros((0, 3, 8, 8), np.uint8)), "at least one picture"),
    (lambda e: e.images(np.zeros((1, 3, 16, 16), np.uint8)), r"expected images \(N, 3, 8, 8\)"),
    (lambda e: e.images(np.zeros((1, 3, 8, 8), np.float32)), "uint8"),
])
def test_what_has_no_place_among_texts_and_pictures_is_refused(wrong, message):
    """No text, one text that is no list, no picture, another size, another dtype."""
    with pytest.raises(ValueError, match=message):
        wrong(tiny_runs.embedder())


# -- the run ---------------------------------------------------------------------------------------------------------


def resumed(path):
    """A run in a folder and a learner where it stopped, with the tokenizer that lies there."""
    run = Run.open(path, ContrastiveConfig)
    learner = ContrastiveLearner(run.config, tiny_runs.squares(), Tokenizer.load(run.path / "tokenizer"))
    run.restore(learner)
    return run, learner


def test_a_contrastive_run_that_is_resumed_ends_with_the_same_bytes(tmp_path):
    """Twelve steps at once; and with two breaks, once after a log that ran ahead of its checkpoint."""
    unbroken = create_clip_run(tmp_path / "unbroken", tiny_runs.clip_config(flip=0.5), tiny_runs.tokenizer())
    train(unbroken, tiny_runs.clip_learner(flip=0.5))
    broken = create_clip_run(tmp_path / "broken", tiny_runs.clip_config(flip=0.5), tiny_runs.tokenizer())
    train(broken, tiny_runs.clip_learner(flip=0.5), steps=5)
    with open(broken.metrics_path, "ab") as log:
        log.write(b'{"step": 6, "loss": 0.1}\n{"step": 7, "lo')
    train(*resumed(broken.path), steps=8)
    train(*resumed(broken.path))
    for name in ("metrics.jsonl", "model.safetensors", "config.json"):
        assert (broken.path / name).read_bytes() == (unbroken.path / name).read_bytes()
    assert len(unbroken.metrics()) == 12


def test_another_seed_trains_another_clip():
    """And the same seed the same."""
    one, same, other = (tiny_runs.clip_learner(seed=seed) for seed in (1, 1, 2))
    for learner in (one, same, other):
        learner.step()
    np.testing.assert_array_equal(one.parameters.data, same.parameters.data)
    assert not np.array_equal(one.parameters.data, other.parameters.data)


def test_the_scale_never_exceeds_its_bound():
    """A bound of 2.1, just above the 2 it starts at: it is reached, and kept after every step, in the weights and in their average; and
    nothing else is held."""
    config = tiny_runs.clip_config(learning_rate=1e-2, lr_schedule="constant")
    config = dataclasses.replace(config, clip=dataclasses.replace(config.clip, temperature=0.5, max_scale=2.1))
    learner = ContrastiveLearner(config, tiny_runs.squares(), tiny_runs.tokenizer())
    before, scales = learner.parameters.data.copy(), []
    for _ in range(40):
        learner.step()
        averaged = float(learner.parameters.views(learner.ema.data)["logit_scale"])
        scales.append(math.exp(float(learner.model.logit_scale.data)))
        assert max(scales[-1], math.exp(averaged)) <= 2.1 * (1 + 1e-6)
        assert float(learner.parameters.views(learner.parameters.data)["logit_scale"]) == float(learner.model.logit_scale.data)
    assert max(scales) > 2.0999
    assert (learner.parameters.data != before).mean() > 0.5     # most tokens of the vocabulary never occur


def test_the_tokenizer_travels_with_the_run_and_its_export(tmp_path):
    """What is read back from a folder of each kind embeds as the original, to float16's rounding if half, and tokenizes the same."""
    learner = tiny_runs.clip_learner()
    run = create_clip_run(tmp_path / "run", learner.config, learner.tokenizer)
    train(run, learner, steps=3)
    expected = Embedder(learner.ema_model(), learner.tokenizer)
    export_clip(run.path, tmp_path / "exported")
    export_clip(run.path, tmp_path / "half", half=True)
    texts = ["a red square", "blue, a blue square", ""]
    for name, digits in (("run", 0), ("exported", 0), ("half", 0.01)):
        embedder = read_embedder(tmp_path / name)
        assert embedder.tokenizer.merges == learner.tokenizer.merges
        np.testing.assert_allclose(embedder.texts(texts), expected.texts(texts), atol=digits)
        np.testing.assert_allclose(embedder.tokens(texts), expected.tokens(texts), atol=10 * digits)
        np.testing.assert_allclose(embedder.images(tiny_runs.squares().images), expected.images(tiny_runs.squares().images), atol=digits)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("run", "exported", "half")]
    assert sizes[0] > 3 * sizes[1] > 5 * sizes[2]
    assert {array.dtype for array in load_file(tmp_path / "half" / "model.safetensors").values()} == {np.dtype(np.float16)}


def test_a_tokenizer_of_another_vocabulary_is_refused():
    """In training and in use: it would give the words other numbers."""
    other = train_tokenizer(tiny_runs.squares(), 520)
    with pytest.raises(ValueError, match=r"the tokenizer has 520 tokens .* the CLIP knows 539 .* do not belong together"):
        ContrastiveLearner(tiny_runs.clip_config(), tiny_runs.squares(), other)
    with pytest.raises(ValueError, match="do not belong together"):
        Embedder(tiny_runs.clip_learner().model, other)
    swapped = dict(tiny_runs.tokenizer().ids)
    swapped["<|startoftext|>"], swapped["<|endoftext|>"] = swapped["<|endoftext|>"], swapped["<|startoftext|>"]
    with pytest.raises(ValueError, match="ends a text with number 537, the CLIP knows 539 and ends with 538"):
        Embedder(tiny_runs.clip_learner().model, Tokenizer(tiny_runs.tokenizer().merges, swapped))


def test_a_tokenizer_that_is_missing_or_anothers_is_noticed_when_a_run_is_read(tmp_path):
    """The folder is gone; another vocabulary lies there."""
    run = create_clip_run(tmp_path / "run", tiny_runs.clip_config(), tiny_runs.tokenizer())
    train(run, tiny_runs.clip_learner(), steps=1)
    (run.path / "tokenizer").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match=r"tokenizer: neither merges\.txt"):
        read_embedder(run.path)
    train_tokenizer(tiny_runs.squares(), 520).save(run.path / "tokenizer")
    with pytest.raises(ValueError, match="do not belong together"):
        read_embedder(run.path)


# -- what a step sees ------------------------------------------------------------------------------------------------


def test_a_step_compares_the_pictures_with_words_that_are_said_of_them(monkeypatch):
    """What reaches the network: the pictures of the batch, mirrored since flip is 1, and for each tokens that read as its own captions."""
    learner, seen = tiny_runs.clip_learner(flip=1.0, shift=0), []
    data, forward = tiny_runs.squares(), CLIP.forward
    monkeypatch.setattr(CLIP, "forward", lambda self, images, tokens: seen.append((images, tokens)) or forward(self, images, tokens))
    for step in range(4):
        learner.step()
        images, tokens = seen[-1]
        for i, image, row in zip(learner._indices(step), images, tokens, strict=True):
            np.testing.assert_array_equal(image, data.floats([i])[0, :, :, ::-1])
            colour, square = data.captions[i]
            assert learner.tokenizer.decode(row) in (colour, square, f"{colour} , {square}", f"{square} , {colour}")


def test_moved_pictures_are_those_of_a_plain_loop():
    """Pixel by pixel, with the moves that the generator draws: content goes down and right, the edge is repeated."""
    random = np.random.default_rng()
    images = random.normal(size=(7, 2, 5, 6)).astype(np.float32)
    seed = int(random.integers(2**32))
    moved = shifted(images, 3, Generator(seed))
    down, right = Generator(seed).integers(-3, 4, (2, 7))
    for n in range(7):
        for c in range(2):
            for i in range(5):
                for j in range(6):
                    row, column = min(max(i - down[n], 0), 4), min(max(j - right[n], 0), 5)
                    assert moved[n, c, i, j] == images[n, c, row, column]
    np.testing.assert_array_equal(shifted(images, 0, Generator(seed)), images)


def test_every_move_is_equally_likely():
    """A dot in the middle of 5,000 pictures, moved by up to 2: each of the 25 places within 6 standard deviations of its share (false
    alarm 5e-8), and no other."""
    images = np.zeros((5000, 1, 9, 9))
    images[:, :, 4, 4] = 1
    counts = shifted(images, 2, Generator(int(np.random.default_rng().integers(2**32)))).sum(axis=(0, 1))
    assert counts.sum() == 5000 and counts[2:7, 2:7].sum() == 5000
    assert (abs(counts[2:7, 2:7] - 200) < 6 * math.sqrt(5000 * 0.04 * 0.96)).all()


# -- the configuration -----------------------------------------------------------------------------------------------


def test_a_contrastive_configuration_survives_json():
    """Through text and back."""
    config = tiny_runs.clip_config(seed=9, shift=3, learning_rate=0.5, clip_norm=None)
    assert ContrastiveConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_data_and_the_tokenizer_decide_what_a_clip_takes():
    """Size and channels of pictures, number of tokens, number of the end; the rest is the caller's."""
    images = np.zeros((2, 1, 16, 16), np.uint8)
    config = ContrastiveConfig.for_dataset(Dataset(images, np.zeros(2, np.int64), ("bag",)), small_clip("conv"), tiny_runs.tokenizer())
    assert config.image_shape == (1, 16, 16) and config.clip.image.channels == small_clip("conv").image.channels
    assert (config.clip.text.vocab_size, config.clip.text.eos_token_id) == (539, tiny_runs.tokenizer().ids["<|endoftext|>"])
    with pytest.raises(ValueError, match="16 x 12"):
        ContrastiveConfig.for_dataset(Dataset(images[..., :12], np.zeros(2, np.int64), ("bag",)), small_clip("conv"), tiny_runs.tokenizer())


@pytest.mark.parametrize("change, message", [
    ({"shift": -1}, "shift=-1"), ({"shift": 8}, "shift=8"), ({"shift": 0.5}, "shift=0.5"), ({"colour": "red"}, "unknown settings: colour"),
    ({"clip": {"text": {"depth": 3}}}, "unknown text settings: depth"), ({"clip": {"image": {"kind": "net"}}}, "kind 'net'"),
    ({"class_names": 5}, "class_names=5; expected a list of strings"), ({"class_names": "bag"}, "class_names"), ({"data": 7}, "data=7"),
])
def test_settings_that_cannot_be_are_named(change, message):
    """One at a time."""
    with pytest.raises(ValueError, match=message):
        ContrastiveConfig.from_json({**tiny_runs.clip_config().to_json(), **change})


def test_pictures_of_another_size_are_refused():
    """The message has both sizes."""
    with pytest.raises(ValueError, match=r"ContrastiveConfig: it is for images .* = \(3, 8, 8\), the data has \(3, 16, 16\)"):
        ContrastiveLearner(tiny_runs.clip_config(), tiny_runs.squares(size=16), tiny_runs.tokenizer())


@pytest.mark.parametrize("image", ["conv", "vit"])
def test_the_small_clip_has_about_a_million_parameters(image):
    """With the vocabulary of 2,000 tokens that the command learns, for pictures of 32 x 32."""
    clip = small_clip(image)
    clip = dataclasses.replace(clip, text=dataclasses.replace(clip.text, vocab_size=2000, eos_token_id=1999),
                               image=dataclasses.replace(clip.image, image_size=32, in_channels=3))
    assert 5e5 < CLIP(clip, generator=Generator(0)).count_parameters() < 2e6


def test_a_vocabulary_is_learned_from_all_captions():
    """Also from those that are made of class names; every word that occurs twice becomes one token."""
    dataset = Dataset(np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1]), ("Bag", "Ankle boot"))
    tokenizer = train_tokenizer(dataset, 700)
    assert tokenizer.tokens("a photo of an ankle boot") == [f"{word}</w>" for word in ("a", "photo", "of", "an", "ankle", "boot")]
    assert tiny_runs.tokenizer().tokens("a yellow square") == ["a</w>", "yellow</w>", "square</w>"]
