"""Runs by name: models that come with the package, what kind of run a folder holds, and what is said of names that nobody has."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

from minidiff.random import Generator
from minidiff.training import ContrastiveConfig, Run, contexts_of, create_clip_run, draw, pretrained, read_embedder, train
from minidiff.training import run as module
from minidiff.training.contrastive import ENCODER, export_clip
from minidiff.training.run import find_run, kind_of


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder of pretrained models: "words", a U-Net of captions with its CLIP, and "garments", one of classes; exported, as float16."""
    runs, folder = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("pretrained")
    clip = create_clip_run(runs / "clip", tiny_runs.clip_config(), tiny_runs.tokenizer())
    train(clip, tiny_runs.clip_learner(), steps=1)
    for name, trainer in (("garments", tiny_runs.trainer()), ("words", None)):
        if trainer is None:
            trainer = tiny_runs.Trainer(tiny_runs.text_config("caption"), tiny_runs.squares(), embedder=read_embedder(clip.path))
        run = Run.create(runs / name, trainer.config)
        train(run, trainer, steps=1)
        run.export(folder / name, half=True,
                   fill=(lambda part: export_clip(clip.path, part / ENCODER, half=True)) if name == "words" else None)
    (folder / "README.md").write_text("what they are")
    return folder


@pytest.fixture
def names(shipped, monkeypatch, tmp_path):
    """The package has these models, and the current folder is an empty one."""
    monkeypatch.setattr(module, "PRETRAINED", shipped)
    monkeypatch.chdir(tmp_path)
    return shipped


def test_the_names_are_those_of_the_folders(names, monkeypatch):
    """In order; files among them are none; without the folder there are none."""
    assert pretrained() == ["garments", "words"]
    monkeypatch.setattr(module, "PRETRAINED", names / "nowhere")
    assert pretrained() == []


def test_a_name_finds_the_pretrained_model_unless_a_folder_is_called_so(names, tmp_path):
    """The current folder comes first, even if it is no run; a path is never a name."""
    assert find_run("garments") == names / "garments" and Run.open("garments").path == names / "garments"
    (tmp_path / "garments").mkdir()
    assert find_run("garments") == Path("garments") and find_run(tmp_path / "garments") == tmp_path / "garments"
    with pytest.raises(FileNotFoundError, match=r"garments: a folder without config\.json"):
        Run.open("garments")
    for path in ("a/words", f"words/{ENCODER}", "./garments/../words", "..", "README.md", "", str(tmp_path / "words")):
        assert find_run(path) == Path(path)


def test_a_pretrained_model_draws_what_its_own_clip_understands(names):
    """By their names alone; the weights were stored as float16 and are float32 again."""
    run, embedder = Run.open("words"), read_embedder("words")
    model = run.load_model()
    assert {array.dtype for array in model.state_dict().values()} == {np.dtype(np.float32)}
    assert embedder.clip.config == Run.open(names / "words" / ENCODER, ContrastiveConfig).config.clip
    context = contexts_of(run.config.unet, ["red", "a blue square"], embedder)
    images = draw(model, run.schedule(), context, generator=Generator(0), steps=2)
    assert images.shape == (2, 3, 8, 8) and np.isfinite(images).all()


def test_the_kind_of_a_run_is_that_of_its_network(names, tmp_path):
    """Of a folder and of a name."""
    assert kind_of("garments") == kind_of("words") == "unet" and kind_of(names / "words" / ENCODER) == "clip"
    assert kind_of(create_clip_run(tmp_path / "clip", tiny_runs.clip_config(), tiny_runs.tokenizer()).path) == "clip"


def test_a_name_that_nobody_has_is_answered_with_those_there_are(names):
    """By everything that opens a run."""
    for opening in (Run.open, kind_of, read_embedder, lambda name: Run.open(name, ContrastiveConfig)):
        with pytest.raises(FileNotFoundError, match=r"emojis: no such run folder; give .* or the name of a model that comes with minidiff: "
                                                    r"garments, words$"):
            opening("emojis")


def test_without_pretrained_models_none_are_offered(names, monkeypatch):
    """As long as the package has none."""
    monkeypatch.setattr(module, "PRETRAINED", names / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no such run folder; give the folder that `minidiff train` made$"):
        Run.open("words")


def test_a_run_of_another_kind_is_refused_by_the_command_that_made_it(names, tmp_path):
    """Both ways."""
    with pytest.raises(ValueError, match=r"config\.json: cannot be used: it is a run of `minidiff train`; give one that `minidiff clip"):
        Run.open("garments", ContrastiveConfig)
    with pytest.raises(ValueError, match=r"it is a run of `minidiff clip train`; give one that `minidiff train` made"):
        Run.open(names / "words" / ENCODER)


@pytest.mark.parametrize("content, says", [
    ("{", "Expecting"), ("[" * 100_000, "cannot be used"), ("[1]", r"expected a JSON object with the settings of a run, got \[1\]"),
    ('{"net": {}}', "the settings lack the network"), (b"\xff\xfe\x00", "cannot be used"),
])
def test_settings_that_are_damaged_are_named(content, says, tmp_path):
    """Whoever asks: what kind it is, or for the run."""
    (tmp_path / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    for opening in (kind_of, Run.open, read_embedder):
        with pytest.raises(ValueError, match=f"config.json: cannot be used: .*{says}" if says != "cannot be used" else says):
            opening(tmp_path)


def test_a_name_may_be_missing_from_old_settings(tmp_path):
    """A file that says only what differs from the defaults is read; one with a wrong kind of value is refused by name."""
    run = Run.create(tmp_path / "run", tiny_runs.config())
    settings = json.loads(run.config_path.read_text())
    for name, value in (("data", 5), ("class_names", "bag"), ("class_names", [1, 2, 3])):
        run.config_path.write_text(json.dumps({**settings, name: value}))
        with pytest.raises(ValueError, match=rf"config\.json: cannot be used: TrainConfig: {name}="):
            Run.open(run.path)
    del settings["seed"], settings["data"]
    run.config_path.write_text(json.dumps(settings))
    assert Run.open(run.path).config.seed == 0
