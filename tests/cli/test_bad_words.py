"""Bad input to the commands for words, and settings in a file that cannot be used: one clear line, and nothing is written."""

import errno
import importlib.util
import json
import os
import shutil

import numpy as np
import pytest
from tiny_sets import TINY

from minidiff.cli import main
from minidiff.training import Run
from minidiff.training import run as runs
from minidiff.training.contrastive import export_clip

TRAIN = ["train", "--data", "COLOURS", "--out", "RUN", "--steps", "1"]
NEGATIVE = "so it needs words, a --prompt and a --guidance other than 1"
SEARCH = ["clip", "search", "red", "--data", "COLOURS", "--out", "OUT"]


@pytest.fixture(scope="module")
def places(data, colours, trained, clip, tiny):
    """What the words in capitals stand for."""
    return {"DATA": data, "COLOURS": colours, "TRAINED": trained, "CLIP": clip, "TINY": tiny}


@pytest.mark.parametrize(("words", "says"), [
    (["clip"], "COMMAND"),
    (["clip", "paint"], "'paint'"),
    (["clip", "train"], "--data SRC and --out RUN, or --resume RUN"),
    (["clip", "train", "--data", "COLOURS", "--out", "RUN"], "how long? Give --epochs, --steps or --minutes"),
    (["clip", "train", "--data", "no-such-place", "--out", "RUN", "--steps", "1"], "no-such-place"),
    (["clip", "train", "--data", "COLOURS", "--out", "RUN", "--steps", "1", "--vocabulary", "10"], "at least 514"),
    (["clip", "train", "--data", "COLOURS", "--out", "RUN", "--steps", "1", "--image", "net"], "'net'"),
    (["clip", "train", "--data", "COLOURS", "--out", "RUN", "--steps", "1", "--device", "abacus"], "abacus"),
    (["clip", "train", "--data", "COLOURS", "--out", "CLIP", "--steps", "1"], "exists already; choose another name, or go on"),
    (["clip", "train", "--resume", "CLIP", "--image", "vit"], "--image cannot be changed"),
    (["clip", "train", "--resume", "CLIP", "--batch-size", "3"], "--batch-size cannot be changed"),
    (["clip", "train", "--resume", "CLIP", "--steps", "9"], "total_steps=2, so further steps would change nothing"),
    (["clip", "train", "--resume", "CLIP", "--data", "DATA"], "it is for images (channels, height, width) = (3, 8, 8), the data has (1,"),
    (["clip", "train", "--resume", "TRAINED"], "it is a run of `minidiff train`; give one that `minidiff clip train` made"),
    (["clip", "train", "--resume", "RUN"], "no such run folder"),
    ([*SEARCH, "--clip", "TRAINED"], "it is a run of `minidiff train`; give one that `minidiff clip train` made"),
    ([*SEARCH, "--clip", "nobody"], "nobody: no such run folder"),
    ([*SEARCH, "--clip", "CLIP", "--split", "dev"], "split must be one of train, test, got 'dev'"),
    ([*SEARCH, "--clip", "CLIP", "--n", "0"], "--n"),
    ([*SEARCH, "--clip", "CLIP", "--data", "DATA"], "expected images (N, 3, 8, 8), got shape (30, 1, 8, 8)"),
    ([*SEARCH, "--clip", "CLIP", "--out", "COLOURS"], "exists already, and nothing is overwritten"),
    (["clip", "search", " ", "--clip", "CLIP", "--data", "COLOURS", "--out", "OUT"], "an empty text says nothing"),
    (["clip", "embed", "--clip", "CLIP", "--out", "OUT"], "Give --text, --data, or both"),
    (["clip", "embed", "--clip", "CLIP", "--text", "red"], "--out"),
    (["clip", "embed", "--clip", "CLIP", "--text", "red", "--out", "COLOURS"], "exists already, and nothing is overwritten"),
    (["clip", "embed", "--clip", "CLIP", "--text", "\udcff", "--out", "OUT"], "half a character"),
    ([*TRAIN, "--condition", "caption"], "embeddings and captions need a CLIP: give --clip RUN"),
    ([*TRAIN, "--condition", "embedding"], "embeddings and captions need a CLIP: give --clip RUN"),
    ([*TRAIN, "--condition", "class", "--clip", "CLIP"], "classes need no --clip"),
    ([*TRAIN, "--condition", "sentence"], "'sentence'"),
    ([*TRAIN, "--clip", "TRAINED"], "it is a run of `minidiff train`; give one that `minidiff clip train` made"),
    ([*TRAIN, "--clip", "nobody"], "nobody: no such run folder"),
    ([*TRAIN, "--clip", "CLIP", "--preset", "course"], "cross_attention_dim needs block='resnet'"),
    ([*TRAIN, "--clip", "CLIP", "--data", "DATA", "--condition", "embedding"], "expected images (N, 3, 8, 8), got shape"),
    ([*TRAIN, "--config", "missing.json"], "missing.json: No such file or directory"),
    ([*TRAIN, "--config", "DATA"], "tiny.npz: cannot be used"),
    ([*TRAIN, "--config", "TINY", "--preset", "huge"], "ddpm, course"),
    ([*TRAIN, "--out", "TRAINED"], "exists already; choose another name, or go on"),
    (["train", "--resume", "TRAINED", "--clip", "CLIP"], "--clip cannot be changed"),
    (["train", "--resume", "TRAINED", "--condition", "caption"], "--condition cannot be changed"),
    (["train", "--resume", "TRAINED", "--config", "TINY"], "--config cannot be changed"),
    (["train", "--resume", "CLIP"], "it is a run of `minidiff clip train`; give one that `minidiff train` made"),
    (["sample", "CLIP", "--out", "OUT"], "it is a run of `minidiff clip train`; give one that `minidiff train` made"),
    (["sample", "TRAINED", "--prompt", "red", "--out", "OUT"],
     "does not understand words; choose with --classes from Bag, T-shirt/top, Ankle boot"),
    (["sample", "TRAINED", "--negative", "red", "--out", "OUT"], "--negative: "),
    (["sample", "TRAINED", "--out", "COLOURS"], "exists already, and nothing is overwritten"),
    (["evaluate", "RUN"], "no such run folder; give the folder that `minidiff train` or `minidiff clip train`"),
    (["evaluate", "TRAINED", "--n", "9", "--out", "OUT"], "9 samples; the intervals need at least 10"),
    (["evaluate", "TRAINED", "--n", "few", "--out", "OUT"], "--n"),
    (["evaluate", "TRAINED", "--judge", "CLIP", "--out", "OUT"], "was not told any words"),
    (["evaluate", "TRAINED", "--data", "COLOURS", "--out", "OUT"],
     "TrainConfig: it is for images (channels, height, width) = (1, 8, 8), the data has (3, 8, 8)"),
    (["evaluate", "TRAINED", "--sampler", "walk", "--out", "OUT"], "unknown sampler 'walk'"),
    (["evaluate", "TRAINED", "--steps", "1001", "--out", "OUT"], "1001"),
    (["evaluate", "TRAINED", "--guidance", "nan", "--out", "OUT"], "guidance"),
    (["evaluate", "TRAINED", "--out", "CLIP"], "exists already, and nothing is overwritten"),
    (["evaluate", "CLIP", "--data", "DATA", "--out", "OUT"], "ContrastiveConfig: it is for images"),
])
def test_bad_words_are_refused_with_what_is_wrong(words, says, places, tmp_path, refused):
    """Each command line has one fault; the message names it."""
    places = {**places, "RUN": tmp_path / "run", "OUT": tmp_path / "out"}
    assert says in refused(*(places.get(word, word) for word in words))


@pytest.mark.parametrize(("words", "says"), [
    (["sample", "READER", "--classes", "Bag"], "has no classes; say with --prompt what to draw"),
    (["sample", "READER", "--prompt", ""], "an empty prompt says nothing; leave it out"),
    (["sample", "READER", "--prompt", "red", "--prompt", " \n"], "an empty prompt says nothing"),
    (["sample", "READER", "--prompt", "\udcff"], "half a character"),
    (["sample", "READER", "--negative", "red"], NEGATIVE),
    (["sample", "READER", "--prompt", "red", "--negative", "blue", "--guidance", "1"], NEGATIVE),
    (["sample", "READER", "--prompt", "red", "--negative", ""], NEGATIVE),
    (["sample", "READER", "--prompt", "red", "--guidance", "inf"], "guidance"),
    (["evaluate", "READER", "--judge", "TRAINED"], "it is a run of `minidiff train`; give one that `minidiff clip train` made"),
    (["evaluate", "READER", "--judge", "GREY"], "expected images (N, 1, 8, 8), got shape (1, 3, 8, 8)"),
])
def test_a_model_of_words_refuses_what_it_cannot_draw(words, says, reader, trained, data, tmp_path_factory, tmp_path, refused):
    """Classes, empty prompts, a negative prompt without effect, a judge that is none."""
    places = {"READER": reader, "TRAINED": trained}
    if "GREY" in words:
        places["GREY"] = tmp_path_factory.mktemp("runs") / "grey"
        assert main(["clip", "train", "--data", str(data), "--out", str(places["GREY"]), "--steps", "1", "--batch-size", "2"]) == 0
    assert says in refused(*(places.get(word, word) for word in words), "--out", tmp_path / "out")


# -- --config --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "says"), [
    ("{", "Expecting property name"), ("[1]", "expected a JSON object with settings"), ('{"unet": 7}', "expected a JSON object"),
    (b"\xff\xfe", "codec"), ("[" * 100_000, "recursion"), ('{"colour": 1}', "unknown settings: colour; known are data"),
    ('{"unet": {"depth": 3}}', "unknown unet settings: depth"), ('{"clip": {}, "shift": 2}', "unknown settings: clip, shift"),
    ('{"batch_size": "many"}', "batch_size='many'; expected a whole number"), ('{"learning_rate": null}', "learning_rate=None"),
    ('{"flip": 2}', "flip=2"), ('{"unet": {"block_out_channels": 5}}', "wrong kind of value in the unet settings"),
    ('{"unet": {"block": "net"}}', "block='net'"), ('{"unet": {"block_out_channels": [32, 32, 32, 32, 32]}}', "cannot be cut"),
])
def test_settings_that_cannot_be_used_are_refused_with_the_name_of_their_file(content, says, places, tmp_path, refused):
    """Broken JSON, no object, unknown settings, wrong values, a network that the data is too small for."""
    path = tmp_path / "mine.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused("train", "--data", places["DATA"], "--config", path, "--out", tmp_path / "run", "--steps", "1")
    assert line.startswith(f"minidiff: error: {path}: cannot be used: ") and says in line


def test_a_learning_rate_that_falls_needs_an_end(places, tmp_path, refused):
    """With --steps or --epochs it has one; by the clock it has none, and so it is refused before a run is made."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**TINY, "lr_schedule": "cosine"}))
    words = ["train", "--data", places["DATA"], "--config", path, "--out", tmp_path / "run"]
    assert "lr_schedule='cosine' falls to 0 at total_steps, which is not set" in refused(*words)
    path.write_text(json.dumps({**TINY, "lr_schedule": "cosine", "total_steps": 9}))
    assert "--minutes: the learning rate falls to 0 at the last step" in refused(*words, "--minutes", "1")
    path.write_text(json.dumps({**TINY, "lr_schedule": "cosine"}))
    assert main([str(word) for word in [*words, "--epochs", "0.1"]]) == 0
    assert Run.open(tmp_path / "run").config.total_steps == 1


def test_mirrored_pictures_have_no_embedding(places, tmp_path, refused):
    """flip may be in the file; then --condition embedding cannot be."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**TINY, "flip": 0.5}))
    assert "flip=0.5, but a mirrored picture has another embedding" in refused(
        "train", "--data", places["COLOURS"], "--clip", places["CLIP"], "--condition", "embedding", "--config", path,
        "--out", tmp_path / "run", "--steps", "1")


# -- runs that are broken --------------------------------------------------------------------------------------------


def without_its_clip(run, clip):
    """Its folder was lost."""
    shutil.rmtree(run / "encoder")
    return "encoder: no such folder; it held the CLIP that tells this U-Net what to draw"


def without_a_tokenizer(run, clip):
    """That of the CLIP was lost."""
    shutil.rmtree(run / "encoder" / "tokenizer")
    return "tokenizer: neither merges.txt nor tokenizer.json in it"


def with_settings_of_its_own_for_its_clip(run, clip):
    """They are those of the U-Net."""
    shutil.copyfile(run / "config.json", run / "encoder" / "config.json")
    return "it is a run of `minidiff train`; give one that `minidiff clip train` made"


def with_another_vocabulary(run, clip):
    """Shorter by the last merge."""
    merges = run / "encoder" / "tokenizer" / "merges.txt"
    merges.write_text("\n".join(merges.read_text().splitlines()[:-1]) + "\n")
    return "vocabulary"


def with_a_cut_clip(run, clip):
    """Half of its weights are gone."""
    path = run / "encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "cut short"


@pytest.mark.parametrize("damage", [without_its_clip, without_a_tokenizer, with_settings_of_its_own_for_its_clip, with_another_vocabulary,
                                    with_a_cut_clip])
def test_a_model_that_has_lost_its_words_says_so(damage, reader, clip, tmp_path, refused):
    """Drawing, evaluating and going on are refused with what is missing; the run stays as it is."""
    run = tmp_path / "run"
    shutil.copytree(reader, run)
    says = damage(run, clip)
    for words in (["sample", run, "--prompt", "red"], ["evaluate", run, "--n", "10"], ["train", "--resume", run, "--steps", "3"],
                  ["clip", "search", "red", "--clip", run]):
        assert says in refused(*words)


def test_a_clip_without_its_tokenizer_is_not_trained_further(clip, tmp_path, refused):
    """Nor evaluated, nor used."""
    run = tmp_path / "run"
    shutil.copytree(clip, run)
    shutil.rmtree(run / "tokenizer")
    for words in (["clip", "train", "--resume", run], ["evaluate", run],
                  ["clip", "embed", "--clip", run, "--text", "red", "--out", tmp_path / "out"]):
        assert "tokenizer: neither merges.txt nor tokenizer.json in it" in refused(*words)


def test_an_exported_clip_is_used_but_not_trained_further(clip, tmp_path, refused):
    """It has the averaged weights only."""
    export_clip(clip, tmp_path / "run")
    assert "was exported: it has the averaged weights only" in refused("clip", "train", "--resume", tmp_path / "run")


@pytest.mark.parametrize("splits, says", [
    ({"images": 20}, "no test split"), ({"train_images": 20, "test_images": 18}, "18 test images; the intervals need at least 19"),
])
def test_an_evaluation_needs_test_images(splits, says, reader, tmp_path, refused):
    """And enough of them."""
    np.savez(tmp_path / "data.npz", **{name: np.zeros((count, 8, 8, 3), np.uint8) for name, count in splits.items()},
             **{name.replace("images", "captions"): ["red"] * count for name, count in splits.items()})
    assert says in refused("evaluate", reader, "--data", tmp_path / "data.npz", "--n", "10")


def test_classes_of_other_names_are_not_evaluated(trained, data, tmp_path, refused):
    """They would count as wrong whatever is drawn."""
    arrays = {**np.load(data), "class_names": np.array(["Hat", "Sock", "Glove"])}
    np.savez(tmp_path / "data.npz", **arrays)
    assert "it is for the classes Bag, T-shirt/top, Ankle boot; the data has Hat, Sock, Glove" in refused(
        "evaluate", trained, "--data", tmp_path / "data.npz", "--n", "10")


def test_names_that_nobody_has_are_answered_with_those_there_are(trained, clip, tmp_path, tmp_path_factory, monkeypatch, refused):
    """Everywhere where a pretrained model may be given."""
    folder = tmp_path_factory.mktemp("pretrained")
    Run.open(trained).export(folder / "garments")
    export_clip(clip, folder / "emoji")
    monkeypatch.setattr(runs, "PRETRAINED", folder)
    monkeypatch.chdir(tmp_path)
    for words in (["sample", "emojis"], ["evaluate", "emojis"], ["clip", "search", "red", "--clip", "emojis"],
                  ["train", "--data", "emoji", "--clip", "emojis", "--out", "run", "--steps", "1"]):
        assert refused(*words).endswith("or the name of a model that comes with minidiff: emoji, garments")
    assert "give one that `minidiff clip train` made" in refused("clip", "search", "red", "--clip", "garments")
    assert "give one that `minidiff train` made" in refused("sample", "emoji")


# -- the outer world -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed here")
@pytest.mark.parametrize("command", [["clip", "train", "--data", "COLOURS", "--out", "OUT", "--steps", "1"], [*SEARCH, "--clip", "CLIP"],
                                     ["evaluate", "TRAINED", "--out", "OUT"], ["evaluate", "CLIP", "--out", "OUT"]])
def test_a_gpu_without_cupy_says_what_to_install(command, places, tmp_path, refused):
    """The message has the extra of pip."""
    places = {**places, "OUT": tmp_path / "out"}
    assert "minidiff[gpu]" in refused(*(places.get(word, word) for word in command), "--device", "cuda")


@pytest.mark.parametrize("words", [
    ["evaluate", "CLIP"], ["clip", "train", "--data", "COLOURS", "--steps", "1"],
    ["clip", "search", "red", "--clip", "CLIP", "--data", "COLOURS"], ["clip", "embed", "--clip", "CLIP", "--text", "red"],
    ["train", "--data", "COLOURS", "--clip", "CLIP", "--config", "TINY", "--steps", "1"],
], ids=lambda words: " ".join(words[:2]))
def test_a_full_disk_leaves_nothing_half_made(words, places, tmp_path, capfd, monkeypatch):
    """fsync fails as on a full disk at the first file."""
    def full_disk(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    assert main([str(places.get(word, word)) for word in words] + ["--out", str(tmp_path / "out")]) == 2
    assert capfd.readouterr().err.endswith("minidiff: error: No space left on device\n")
    assert list(tmp_path.iterdir()) == []
