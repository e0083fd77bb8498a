"""The commands for words: train a CLIP, search and embed with it, train a model that is told captions, draw prompts, evaluate."""

import json
import os
import shlex
import shutil
import signal

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tiny_sets import COLOURS, TINY, contents

from minidiff.cli import main
from minidiff.cli.main import SAID, make_parser
from minidiff.data import load
from minidiff.models import preset
from minidiff.training import Bar, ContrastiveConfig, Run, read_embedder
from minidiff.training import run as runs
from minidiff.training.contrastive import ENCODER, export_clip


def run(*words):
    """A command line that must be carried out."""
    assert main([str(word) for word in words]) == 0


# -- clip ------------------------------------------------------------------------------------------------------------


def test_a_clip_takes_its_settings_from_the_command_line(colours, tmp_path, capsys):
    """They are in config.json; half an epoch of 24 pictures is 3 steps of 4; the line that it prints at the end is a command."""
    run("clip", "train", "--data", colours, "--out", tmp_path / "my run", "--epochs", "0.5", "--batch-size", "4", "--learning-rate", "0.01",
        "--seed", "9", "--image", "vit", "--vocabulary", "530")
    config = Run.open(tmp_path / "my run", ContrastiveConfig).config
    assert (config.batch_size, config.learning_rate, config.seed, config.total_steps, config.lr_schedule) == (4, 0.01, 9, 3, "cosine")
    assert config.clip.to_json()["image"]["kind"] == "vit" and config.image_shape == (3, 8, 8) and config.clip.text.vocab_size == 530
    assert config.data == str(colours) and len(Run.open(tmp_path / "my run", ContrastiveConfig).metrics()) == 3
    line = capsys.readouterr().out.strip().splitlines()[-1]
    search = make_parser().parse_args(shlex.split(line)[1:])
    assert (search.way, search.clip, search.data) == ("search", str(tmp_path / "my run"), str(colours))


def test_a_clip_that_is_trained_by_the_clock_keeps_its_learning_rate(colours, tmp_path):
    """Where it ends is not known."""
    run("clip", "train", "--data", colours, "--out", tmp_path / "run", "--minutes", "0.0001", "--batch-size", "4")
    config = Run.open(tmp_path / "run", ContrastiveConfig).config
    assert (config.total_steps, config.lr_schedule) == (None, "constant")


@pytest.mark.parametrize("length", [["--steps", "4"], ["--minutes", "5"]], ids=["steps", "minutes"])
def test_a_clip_that_is_stopped_prints_the_command_that_goes_on(length, colours, tmp_path, monkeypatch, capsys):
    """Ctrl-C after the first step: status 130; what it prints trains for the rest, and ends with the bytes of an unbroken run."""
    words = ["clip", "train", "--data", str(colours), "--batch-size", "4", *length, "--out"]
    signals = [signal.SIGINT]
    monkeypatch.setattr(Bar, "__call__", lambda self, progress: signals and os.kill(os.getpid(), signals.pop()))
    assert main([*words, str(tmp_path / "broken")]) == 130
    monkeypatch.undo()
    command = shlex.split(capsys.readouterr().out.strip().splitlines()[-1])
    assert command[:5] == ["minidiff", "clip", "train", "--resume", str(tmp_path / "broken")] and command[5:] == (
        ["--steps", "4"] if length[0] == "--steps" else ["--minutes", "5.0"])
    if length[0] == "--steps":
        run(*command[1:])
        run(*words, tmp_path / "unbroken")
        broken, unbroken = (contents(tmp_path / name) for name in ("broken", "unbroken"))
        assert [broken[name] == unbroken[name] for name in ("config.json", "metrics.jsonl", "model.safetensors")] == [True] * 3


def test_search_draws_and_lists_the_pictures_that_fit_best(clip, colours, tmp_path, monkeypatch, capsys):
    """The cosines, computed here, in order; as many as asked for; a new picture each time."""
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    run("clip", "search", "a red square", "--clip", clip, "--data", colours, "--split", "test", "--n", "7")
    lines = capsys.readouterr().out.splitlines()
    embedder, test = read_embedder(clip), load(colours, "test")
    scores = embedder.images(test.images) @ embedder.texts(["a red square"])[0]
    best = np.argsort(-scores)[:7]
    assert [float(line.split()[0]) for line in lines[:-1]] == pytest.approx(scores[best], abs=6e-4)
    assert sorted(line.split()[1] for line in lines[:-1]) == sorted(test.captions[i][0] for i in best)
    assert lines[-1] == "drawn in search.png"
    drawn = np.asarray(Image.open("search.png"))
    for i in best:
        tile = np.moveaxis(test.images[i], 0, -1).repeat(7, axis=0).repeat(7, axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(drawn, tile.shape)[:, :, 0]
        assert (windows[..., 0, 0, :] == tile[0, 0]).all(axis=-1).any()
        assert (windows == tile).all(axis=(2, 3, 4)).sum() == 1
    run("clip", "search", "a red square", "--clip", clip, "--data", colours)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["search-2.png", "search.png"]


def test_embed_writes_the_vectors_of_sentences_and_pictures(clip, colours, tmp_path, capsys):
    """Those of the CLIP, row by row; either may be left out."""
    embedder, train = read_embedder(clip), load(colours)
    run("clip", "embed", "--clip", clip, "--text", "red", "--text", "a blue square", "--data", colours,
        "--out", tmp_path / "both.safetensors")
    both = load_file(tmp_path / "both.safetensors")
    np.testing.assert_allclose(both["text"], embedder.texts(["red", "a blue square"]), atol=1e-6)
    np.testing.assert_allclose(both["image"], embedder.images(train.images), atol=1e-6)
    assert "2 of texts, 24 of images, 128 numbers each" in capsys.readouterr().out
    run("clip", "embed", "--clip", clip, "--text", "red", "--out", tmp_path / "text.safetensors")
    assert load_file(tmp_path / "text.safetensors").keys() == {"text"}


# -- a model of words ------------------------------------------------------------------------------------------------


def test_a_model_of_words_has_its_clip_in_its_folder(reader, clip):
    """As large as the CLIP's vectors; no classes; the CLIP is exported with its tokenizer and understands the same."""
    config = Run.open(reader).config
    size = {"caption": "cross_attention_dim", "embedding": "context_features"}[reader.name]
    assert getattr(config.unet, size) == 128 and config.unet.num_classes is None and config.class_names == ()
    assert config.unet.block_out_channels == (8, 8, 8, 8) and config.batch_size == 4
    np.testing.assert_array_equal(read_embedder(reader).texts(["red"]), read_embedder(clip).texts(["red"]))
    assert sorted(path.name for path in (reader / ENCODER).iterdir()) == ["config.json", "model.safetensors", "tokenizer"]


def test_with_a_clip_captions_are_the_condition_unless_said_otherwise(reader, colours, tiny, tmp_path):
    """--condition may be left out; --clip may be a model of words, whose CLIP is then taken."""
    run("train", "--data", colours, "--clip", reader, "--config", tiny, "--out", tmp_path / "run", "--steps", "1")
    assert Run.open(tmp_path / "run").config.unet.cross_attention_dim == 128
    assert read_embedder(tmp_path / "run").tokenizer.merges == read_embedder(reader).tokenizer.merges


def test_a_model_of_words_goes_on_where_it_stopped(reader, tmp_path):
    """With the CLIP in its folder."""
    shutil.copytree(reader, tmp_path / "run")
    run("train", "--resume", tmp_path / "run", "--steps", "4")
    assert [line["step"] for line in Run.open(tmp_path / "run").metrics()] == [1, 2, 3, 4]


def test_prompts_are_drawn_a_row_each(reader, tmp_path, capsys):
    """Two prompts, three pictures each, in the order asked for; the same seed draws the same, another negative prompt something else."""
    words = ["sample", reader, "--prompt", "a red square", "--prompt", "blue", "--n", "3", "--sampler", "ddim", "--steps", "2"]
    run(*words, "--out", tmp_path / "one")
    names = [f"{stem}-{i:03d}.png" for stem in ("0-a-red-square", "1-blue") for i in range(3)]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [*names, "grid.png"]
    assert f"6 images and grid.png in {tmp_path / 'one'}" in capsys.readouterr().out
    run(*words, "--out", tmp_path / "same")
    run(*words, "--negative", "white", "--out", tmp_path / "negative")
    run(*words, "--guidance", "1", "--out", tmp_path / "plain")
    grids = [(tmp_path / name / "grid.png").read_bytes() for name in ("one", "same", "negative", "plain")]
    assert grids[0] == grids[1] and len({*grids}) == 3


def test_without_a_prompt_nothing_in_particular_is_drawn(reader, tmp_path):
    """n pictures, in one row."""
    run("sample", reader, "--n", "2", "--steps", "1", "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["grid.png", "sample-000.png", "sample-001.png"]


def test_a_prompt_that_is_cut_off_is_said_on_one_line(clip, reader, colours, tmp_path, capsys):
    """What is lost, without the name of a Python file; of very many the first ones, and how many there are."""
    def said(*words):
        capsys.readouterr()
        run(*words)
        return [line for line in capsys.readouterr().err.splitlines() if "tokenizer" in line or "more of this kind" in line]

    long = " ".join(["square"] * 23 + ["red"])
    (line,) = said("sample", reader, "--prompt", long, "--n", "1", "--steps", "1", "--out", tmp_path / "out")
    assert line.startswith("minidiff: warning: tokenizer: the text 'square square") and line.endswith("cut off: 'square red'")
    assert ".py" not in line
    assert said("clip", "search", long, "--clip", clip, "--data", colours, "--out", tmp_path / "found.png") == [line]
    texts = [word for i in range(SAID + 4) for word in ("--text", f"{i} {long}")]
    lines = said("clip", "embed", "--clip", clip, *texts, "--out", tmp_path / "vectors.safetensors")
    assert len(lines) == SAID + 1 and lines[-1] == "minidiff: warning: 4 more of this kind"


# -- settings in a file ----------------------------------------------------------------------------------------------


def test_the_settings_of_another_run_train_the_same_run(data, tmp_path):
    """The whole config.json of a run with many settings of its own: equal settings, the same log and weights."""
    (tmp_path / "mine.json").write_text(json.dumps({
        **TINY, "learning_rate": 0.02, "lr_schedule": "cosine", "seed": 7, "prediction_type": "v_prediction", "flip": 0.5,
        "clip_norm": None, "beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 30}))
    run("train", "--data", data, "--config", tmp_path / "mine.json", "--out", tmp_path / "one", "--steps", "3")
    run("train", "--data", data, "--config", tmp_path / "one" / "config.json", "--out", tmp_path / "two")
    one, two = (contents(tmp_path / name) for name in ("one", "two"))
    assert [one[name] == two[name] for name in ("config.json", "metrics.jsonl", "model.safetensors")] == [True] * 3
    config = Run.open(tmp_path / "two").config
    assert (config.total_steps, config.lr_schedule, config.seed, config.clip_norm) == (3, "cosine", 7, None)
    assert config.unet.block_out_channels == (8, 8, 8, 8) and config.unet.num_classes == 3


def test_options_come_before_the_file_and_the_file_before_the_preset(data, tmp_path):
    """The seed is in both, the rest in one of them."""
    (tmp_path / "some.json").write_text(json.dumps({"seed": 7, "batch_size": 5, "unet": {"hidden_features": 16}}))
    run("train", "--data", data, "--preset", "course", "--config", tmp_path / "some.json", "--seed", "8", "--out", tmp_path / "run",
        "--steps", "1")
    config = Run.open(tmp_path / "run").config
    assert (config.seed, config.batch_size, config.unet.hidden_features, config.learning_rate) == (8, 5, 16, 1e-3)
    assert config.unet.block_out_channels == preset("course").block_out_channels


def test_what_the_data_decides_is_not_taken_from_the_file(colours, data, clip, tmp_path, trained):
    """Settings of a run with three classes of grey pictures serve for colours, with or without a CLIP; "unet" alone is enough."""
    settings = json.loads((trained / "config.json").read_text())
    (tmp_path / "unet.json").write_text(json.dumps({"unet": {**settings["unet"], **TINY["unet"], "sample_size": 64}, "batch_size": 4}))
    run("train", "--data", colours, "--config", tmp_path / "unet.json", "--out", tmp_path / "classes", "--steps", "1")
    run("train", "--data", colours, "--clip", clip, "--config", tmp_path / "unet.json", "--out", tmp_path / "words", "--steps", "1")
    config = Run.open(tmp_path / "classes").config
    assert (config.image_shape, config.class_names, config.data) == ((3, 8, 8), ("image",), str(colours))
    run("train", "--data", data, "--config", tmp_path / "words" / "config.json", "--out", tmp_path / "back", "--steps", "1")
    assert Run.open(tmp_path / "back").config.class_names == ("Bag", "T-shirt/top", "Ankle boot")


# -- evaluate --------------------------------------------------------------------------------------------------------

FEW = ["--n", "10", "--steps", "1", "--epochs", "1"]


def test_a_model_of_classes_is_evaluated(trained, data, tmp_path, capsys):
    """What the table shows is in evaluation.json, with what was done; beside it two pictures."""
    capsys.readouterr()
    run("evaluate", trained, *FEW, "--out", tmp_path / "out", "--seed", "4")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["evaluation.json", "nearest.png", "samples.png"]
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (content["run"], content["data"], content["samples"], content["test_images"], content["seed"]) == (
        str(trained), str(data), 10, 21, 4)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:-1]] == list(content["figures"])
    assert lines[0].split("  ")[-1].strip() == "training images" and lines[-1] == f"written to {tmp_path / 'out'}"
    assert content["figures"]["recognized"]["samples"]["count"] == 10 and "frechet_distance" in content["figures"]


def test_a_model_of_words_is_evaluated_and_judged_by_another_clip(reader, clip, tmp_path):
    """With --judge there is a CLIP score, and how often the prompt is found; without there is not."""
    run("evaluate", reader, *FEW, "--judge", clip, "--out", tmp_path / "judged", "--guidance", "2")
    run("evaluate", reader, *FEW, "--out", tmp_path / "plain")
    judged, plain = (json.loads((tmp_path / name / "evaluation.json").read_text())["figures"] for name in ("judged", "plain"))
    assert judged.keys() - plain.keys() == {"CLIP score", *(f"prompt found, first {k}" for k in (1, 5, 10))}
    assert judged["CLIP score"]["samples"]["count"] == judged["CLIP score"]["real images"]["count"] == 10
    assert "recognized" not in plain and "authenticity" in plain


def test_more_pictures_than_test_images_are_judged_as_far_as_these_go(reader, clip, tmp_path):
    """25 drawn for 20 captions, each in turn: 20 of them have a real picture beside them."""
    run("evaluate", reader, "--n", "25", "--steps", "1", "--epochs", "1", "--judge", clip, "--out", tmp_path / "out")
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())["figures"]
    assert figures["CLIP score"]["samples"]["count"] == figures["CLIP score"]["real images"]["count"] == 20
    assert figures["authenticity"]["samples"]["count"] == 25


def test_a_clip_is_evaluated(clip, tmp_path, capsys):
    """Retrieval both ways, beside a bag of words and chance."""
    run("evaluate", clip, "--out", tmp_path / "out")
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())["figures"]
    assert figures.keys() == {f"{what} found, first {k}" for what in ("caption", "picture") for k in (1, 5, 10)}
    assert all(values.keys() == {"CLIP", "bag of words", "chance"} for values in figures.values())
    assert figures["caption found, first 1"]["chance"] == pytest.approx(1 / len(COLOURS))
    assert "bag of words" in capsys.readouterr().out


# -- by name ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(reader, clip, tmp_path, monkeypatch):
    """A pretrained model of words, "words", and a CLIP, "clip"; the current folder is empty."""
    folder = tmp_path / "pretrained"
    Run.open(reader).export(folder / "words", fill=lambda part: export_clip(reader, part / ENCODER))
    export_clip(clip, folder / "clip")
    monkeypatch.setattr(runs, "PRETRAINED", folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_a_pretrained_model_draws_into_the_current_folder(shipped, tmp_path):
    """NAME-samples, NAME-samples-2, NAME-evaluation; a run given by its folder keeps them in there. Nothing is written to the package."""
    before = contents(shipped)
    draw = ["--prompt", "red", "--n", "1", "--steps", "1"]
    run("sample", "words", *draw)
    run("sample", "words", *draw)
    run("evaluate", "words", *FEW, "--judge", "clip")
    run("evaluate", "clip")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "clip-evaluation", "words-evaluation", "words-samples", "words-samples-2"]
    assert contents(shipped) == before
    shutil.copytree(shipped / "words", "mine")
    run("sample", "mine", *draw)
    run("evaluate", "mine", *FEW)
    run("evaluate", "mine", *FEW)
    assert {"samples", "evaluation", "evaluation-2"} <= {path.name for path in (tmp_path / "here" / "mine").iterdir()}
    assert json.loads((tmp_path / "here" / "words-evaluation" / "evaluation.json").read_text())["run"] == "words"


def test_a_pretrained_clip_searches_and_tells_a_new_model(shipped, colours, tiny):
    """By its name, or by that of the model of words that has it."""
    for name in ("clip", "words"):
        run("clip", "search", "red", "--clip", name, "--data", colours, "--n", "1", "--out", f"{name}.png")
        run("train", "--data", colours, "--clip", name, "--config", tiny, "--out", f"by-{name}", "--steps", "1")
        assert read_embedder(f"by-{name}").features == 128
