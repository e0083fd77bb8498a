"""Bad input: one clear line, exit status 2, no traceback, nothing written and nothing changed."""

import errno
import importlib.util
import json
import os
import shutil

import numpy as np
import pytest

from minidiff.cli import main
from minidiff.cli import train as train_command


@pytest.mark.parametrize(("words", "says"), [
    (["paint"], "'paint'"),
    (["demo", "--fast"], "--fast"),
    (["train"], "--data"),
    (["train", "--data", "fashion-mnist-mini", "--out", "RUN"], "--minutes"),
    (["train", "--data", "no-such-place", "--out", "RUN", "--steps", "1"], "no-such-place"),
    (["train", "--data", "DATA", "--out", "RUN", "--steps", "0"], "--steps"),
    (["train", "--data", "DATA", "--out", "RUN", "--steps", "1", "--epochs", "1"], "not allowed with"),
    (["train", "--data", "DATA", "--out", "RUN", "--minutes", "nan"], "--minutes"),
    (["train", "--data", "DATA", "--out", "RUN", "--minutes", "soon"], "'soon'"),
    (["train", "--data", "DATA", "--out", "RUN", "--steps", "1", "--batch-size", "-3"], "--batch-size"),
    (["train", "--data", "DATA", "--out", "RUN", "--steps", "1", "--seed", "-1"], "--seed"),
    (["train", "--data", "DATA", "--out", "RUN", "--steps", "1", "--preset", "huge"], "ddpm, course"),
    (["train", "--data", "DATA", "--out", "RUN", "--steps", "1", "--device", "abacus"], "abacus"),
    (["train", "--resume", "RUN", "--steps", "1"], "no such run"),
    (["train", "--resume", "TRAINED", "--seed", "1"], "--seed"),
    (["train", "--resume", "TRAINED", "--out", "RUN"], "--out"),
    (["sample", "RUN"], "no such run"),
    (["sample", "TRAINED", "--classes", "Hat", "--out", "OUT"], "0 Bag, 1 T-shirt/top, 2 Ankle boot"),
    (["sample", "TRAINED", "--classes", "3", "--out", "OUT"], "0 Bag, 1 T-shirt/top, 2 Ankle boot"),
    (["sample", "TRAINED", "--classes", "bag,0", "--out", "OUT"], "twice"),
    (["sample", "TRAINED", "--eta", "1.5", "--steps", "2", "--out", "OUT"], "eta"),
    (["sample", "TRAINED", "--steps", "1001", "--out", "OUT"], "1001"),
    (["sample", "TRAINED", "--steps", "0", "--out", "OUT"], "--steps"),
    (["sample", "TRAINED", "--guidance", "inf", "--steps", "2", "--out", "OUT"], "guidance"),
    (["sample", "TRAINED", "--sampler", "walk", "--out", "OUT"], "unknown sampler 'walk'; choose from ddpm"),
    (["sample", "TRAINED", "--n", "0", "--out", "OUT"], "--n"),
    (["data", "imagenet", "OUT"], "fashion-mnist"),
    (["info", "more"], "more"),
])
def test_bad_words_are_refused_with_what_is_wrong(words, says, data, trained, tmp_path, refused):
    """Each command line has one fault; the message names it."""
    places = {"DATA": data, "TRAINED": trained, "RUN": tmp_path / "run", "OUT": tmp_path / "out"}
    assert says in refused(*(places.get(word, word) for word in words))


@pytest.mark.parametrize("words", [["demo"], ["train", "--data", "DATA", "--steps", "1"]])
def test_a_run_folder_that_exists_is_left_alone(words, data, tmp_path, refused):
    """It holds somebody's work."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "diary.txt").write_text("mine")
    assert "exists" in refused(*(data if word == "DATA" else word for word in words), "--out", tmp_path / "run")


def test_samples_are_not_written_over_a_folder_that_exists(trained, tmp_path, refused):
    """Nor into it."""
    (tmp_path / "out").mkdir()
    assert "exists" in refused("sample", trained, "--steps", "1", "--out", tmp_path / "out")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed here")
@pytest.mark.parametrize("command", [["train", "--data", "DATA", "--steps", "1", "--out", "OUT"], ["sample", "TRAINED", "--out", "OUT"],
                                     ["demo", "--out", "OUT"]], ids=lambda command: command[0])
def test_a_gpu_without_cupy_says_what_to_install(command, data, trained, tmp_path, refused):
    """The message has the extra of pip."""
    places = {"DATA": data, "TRAINED": trained, "OUT": tmp_path / "out"}
    assert "minidiff[gpu]" in refused(*(places.get(word, word) for word in command), "--device", "cuda")


def test_damaged_data_is_refused(data, tmp_path, refused):
    """An .npz file cut short; a class folder with something that is no image."""
    (tmp_path / "short.npz").write_bytes(data.read_bytes()[:-200])
    assert "short.npz" in refused("train", "--data", tmp_path / "short.npz", "--out", tmp_path / "run", "--steps", "1")
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "cats" / "1.png").write_text("not an image")
    assert "1.png" in refused("train", "--data", tmp_path / "photos", "--out", tmp_path / "run", "--steps", "1")


def cut_short(run):
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def with_a_nan(run):
    """The last four bytes of the file belong to some tensor."""
    path = run / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-4] + np.float32(np.nan).tobytes())


def from_another_configuration(run):
    settings = json.loads((run / "config.json").read_text())
    settings["unet"]["block_out_channels"] = [32, 32, 64]
    (run / "config.json").write_text(json.dumps(settings))


def without_a_setting(run):
    (run / "config.json").write_text("{}")


@pytest.mark.parametrize("damage", [cut_short, with_a_nan, from_another_configuration, without_a_setting])
@pytest.mark.parametrize("command", ["sample", "resume"])
def test_a_broken_run_is_refused_and_stays_as_it_is(damage, command, trained, tmp_path, refused):
    """Damage a copy of a run in each way; neither drawing nor training touches it."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    damage(run)
    words = ["sample", run, "--steps", "1"] if command == "sample" else ["train", "--resume", run, "--steps", "3"]
    assert str(run) in refused(*words)


def test_a_full_disk_leaves_no_half_made_samples(trained, tmp_path, capfd, monkeypatch):
    """fsync fails as on a full disk while the PNGs are written."""
    monkeypatch.setattr(os, "fsync", full_disk)
    assert main(["sample", str(trained), "--steps", "1", "--n", "1", "--out", str(tmp_path / "out")]) == 2
    assert capfd.readouterr().err.endswith("minidiff: error: No space left on device\n")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_training_keeps_the_old_checkpoint(trained, tmp_path, capfd, monkeypatch):
    """The run goes on, the disk fills up, the checkpoint has the bytes that it had."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = (run / "model.safetensors").read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    assert main(["train", "--resume", str(run), "--steps", "3"]) == 2
    assert "minidiff: error: No space left on device" in capfd.readouterr().err
    assert (run / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_no_number_stops_and_says_at_which_step(data, tmp_path, capfd):
    """A learning rate beyond all measure: the weights explode, the last good checkpoint stays and can be read."""
    run = tmp_path / "run"
    words = ["train", "--data", str(data), "--out", str(run), "--steps", "200", "--batch-size", "4", "--learning-rate", "1e30"]
    assert main(words) == 2
    error = capfd.readouterr().err
    assert "minidiff: error: step " in error and "Traceback" not in error
    assert main(["sample", str(run), "--steps", "1", "--n", "1"]) == 0


def test_a_defect_of_minidiff_still_shows_where_it_is(monkeypatch):
    """A TypeError from inside is nobody's bad input: it is not caught."""
    def broken(arguments):
        raise TypeError("a defect")

    monkeypatch.setattr(train_command, "run", broken)
    with pytest.raises(TypeError, match="a defect"):
        main(["train"])


def full_disk(descriptor):
    """os.fsync on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")
