"""Run folders, and `train`: killed, interrupted, diverging, resumed."""

import functools
import json
import os
import random
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
import tiny_runs
from safetensors.numpy import load_file

from minidiff.training import Bar, CheckpointError, Run, Trainer, TrainingDiverged, read_checkpoint, train, write_checkpoint


def resume(path):
    """The run in a folder, and a trainer where it stopped."""
    run = Run.open(path)
    trainer = Trainer(run.config, tiny_runs.dataset())
    run.restore(trainer)
    return run, trainer


def assert_same_run(one, two):
    """The same log and the same bytes of the checkpoint."""
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    first, second = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """18 steps without a break."""
    run = Run.create(tmp_path_factory.mktemp("runs") / "unbroken", tiny_runs.config())
    train(run, tiny_runs.trainer())
    return run


# -- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", range(2))
def test_a_run_killed_at_any_moment_and_resumed_ends_with_the_same_bytes(tmp_path, unbroken, attempt):
    """SIGKILL three times, each after a time drawn at random, with a checkpoint every third step; then left to end.

    Where the kills fall differs from test to test; the law does not depend on it. One process has two threads.
    """
    folder = tmp_path / "run"
    for kill in range(3):
        process = subprocess.Popen(**tiny_runs.command(folder, 18, 3, threads=1 + kill % 2))
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.SystemRandom().uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert subprocess.run(**tiny_runs.command(folder, 18, 3), check=True).stdout == "ready\ndone\n"
    assert_same_run(folder, unbroken.path)
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("moment, count", [("fsync", 1), ("fsync", 2), ("replace", 1), ("fsync", 5), ("fsync", 6), ("replace", 3)])
def test_a_kill_within_the_saving_of_a_checkpoint_is_survived(tmp_path, unbroken, monkeypatch, moment, count):
    """Killed at the count-th fsync or rename: before the first checkpoint, between log and checkpoint, before and after the rename."""
    run = Run.create(tmp_path / "run", tiny_runs.config())
    calls = 0
    real = getattr(os, moment)

    def deadly(*args):
        nonlocal calls
        calls += 1
        if calls == count:
            raise Killed
        return real(*args)

    monkeypatch.setattr(os, moment, deadly)
    with pytest.raises(Killed):
        train(run, tiny_runs.trainer(), checkpoint_steps=4, log_every=3)
    monkeypatch.undo()
    train(*resume(run.path))
    assert_same_run(run.path, unbroken.path)


def test_a_log_that_ran_ahead_of_its_checkpoint_is_cut_back(tmp_path, unbroken):
    """Also in the middle of a line."""
    run = Run.create(tmp_path / "run", tiny_runs.config())
    train(run, tiny_runs.trainer(), steps=12)
    with open(run.metrics_path, "ab") as log:
        log.write(b'{"step": 13, "loss": 0.1}\n{"step": 14, "lo')
    train(*resume(run.path))
    assert_same_run(run.path, unbroken.path)


# -- asked to stop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_session_with_a_checkpoint_and_the_run_can_go_on(tmp_path, unbroken, number):
    """Sent by the progress callback at step 7; the handlers of before are back; the resumed run ends with the same bytes."""
    run = Run.create(tmp_path / "run", tiny_runs.config())
    before = signal.getsignal(number)
    signals = [number]
    send = lambda progress: progress.step == 7 and signals and os.kill(os.getpid(), signals.pop())
    summary = train(run, tiny_runs.trainer(), log_every=7, progress=send)
    assert summary.interrupted and summary.step == 7
    assert read_checkpoint(run.checkpoint_path).step == 7 and len(run.metrics()) == 7
    assert signal.getsignal(number) == before
    summary = train(*resume(run.path))
    assert not summary.interrupted and summary.step == 18
    assert_same_run(run.path, unbroken.path)


def test_steps_that_would_change_nothing_are_refused(tmp_path):
    """A falling learning rate is 0 after total_steps: neither more steps nor minutes are taken, and the bar is closed."""
    config = tiny_runs.config(lr_schedule="cosine", total_steps=4)
    run = Run.create(tmp_path / "run", config)
    trainer = Trainer(config, tiny_runs.dataset())
    assert train(run, trainer).step == 4
    for limit in ({"steps": 5}, {"minutes": 1}):
        with pytest.raises(ValueError, match="has fallen to 0 after its total_steps=4"):
            train(run, trainer, **limit)
    assert train(run, trainer).step == 4


def test_the_second_ctrl_c_does_not_wait(tmp_path, request):
    """It is Python's own KeyboardInterrupt; the checkpoint of step 0 remains."""
    request.addfinalizer(functools.partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores the signal
    run = Run.create(tmp_path / "run", tiny_runs.config())

    def twice(progress):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        train(run, tiny_runs.trainer(), log_every=2, progress=twice)
    assert read_checkpoint(run.checkpoint_path).step == 0
    resume(run.path)


def test_training_runs_in_any_thread(tmp_path):
    """Where no signal can be caught."""
    run = Run.create(tmp_path / "run", tiny_runs.config())
    thread = threading.Thread(target=lambda: train(run, tiny_runs.trainer(), steps=2))
    thread.start()
    thread.join()
    assert len(run.metrics()) == 2


# -- diverging -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_diverging_run_stops_at_its_step_and_keeps_the_last_good_checkpoint(tmp_path):
    """Weights become NaN after step 5, so step 6 has no loss; step 5 is in the log, the checkpoint of step 4 stays."""
    run, trainer = Run.create(tmp_path / "run", tiny_runs.config()), tiny_runs.trainer()

    def spoil(progress):
        if progress.step == 5:
            trainer.parameters.data[3] = np.nan

    with pytest.raises(TrainingDiverged, match=r"step 6: loss nan.*model\.safetensors.*lower learning rate"):
        train(run, trainer, log_every=1, checkpoint_steps=2, progress=spoil)
    assert read_checkpoint(run.checkpoint_path).step == 4
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4, 5]
    run, trainer = resume(run.path)
    assert trainer.step_count == 4 and train(run, trainer).step == 18


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """Spoiled between the last look at the loss and the checkpoint."""
    run, trainer = Run.create(tmp_path / "run", tiny_runs.config()), tiny_runs.trainer()

    def spoil(progress):
        trainer.ema.data[3] = np.inf

    with pytest.raises(TrainingDiverged, match=r"step 3: .*not saved.*NaN or infinity"):
        train(run, trainer, steps=3, log_every=3, progress=spoil)
    assert read_checkpoint(run.checkpoint_path).step == 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_learning_rate_far_too_high_is_noticed(tmp_path):
    """For real: 1e30."""
    config = tiny_runs.config(learning_rate=1e30, warmup_steps=0)
    run = Run.create(tmp_path / "run", config)
    with pytest.raises(TrainingDiverged, match=r"step [1-5]"):
        train(run, Trainer(config, tiny_runs.dataset()))


# -- limits, log, progress -------------------------------------------------------------------------------------------


def test_the_log_has_a_line_a_step_and_nothing_of_the_clock(unbroken):
    """Steps 1 to 18 with epoch, loss, learning rate (warm-up, then cosine) and gradient norm."""
    lines = unbroken.metrics()
    assert [line["step"] for line in lines] == list(range(1, 19))
    assert all(line.keys() == {"step", "epoch", "loss", "learning_rate", "grad_norm"} for line in lines)
    assert [line["epoch"] for line in lines[:6]] == [0, 0, 0, 1, 1, 2]
    assert lines[0]["learning_rate"] == pytest.approx(1e-3 / 5) and max(line["learning_rate"] for line in lines) == pytest.approx(1e-3)
    (session,) = unbroken.timing()
    assert (session["from_step"], session["to_step"], session["device"]) == (0, 18, "cpu")
    assert session["images_per_second"] == pytest.approx(180 / session["seconds"], rel=0.01)


def test_steps_and_epochs_count_from_the_beginning_of_the_run(tmp_path):
    """2 epochs of 24 images are 5 steps of 10; then 3 more to step 8; then none, since 8 is done."""
    run, trainer = Run.create(tmp_path / "run", tiny_runs.config()), tiny_runs.trainer()
    assert train(run, trainer, epochs=2).step == 5
    assert train(run, trainer, steps=8).step == 8
    summary = train(*resume(run.path), steps=8)
    assert (summary.step, summary.epoch, summary.loss) == (8, 3, None)
    assert [(s["from_step"], s["to_step"]) for s in run.timing()] == [(0, 5), (5, 8)]


def test_minutes_end_a_session_by_the_clock(tmp_path):
    """A hundredth of a minute: some steps, about 0.6 seconds, and the fraction grows to 1."""
    run, fractions = Run.create(tmp_path / "run", tiny_runs.config(lr_schedule="constant", total_steps=None)), []
    trainer = Trainer(run.config, tiny_runs.dataset())
    summary = train(run, trainer, minutes=0.01, log_every=1, progress=lambda p: fractions.append(p.fraction))
    assert summary.step >= 1 and summary.seconds >= 0.6
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert read_checkpoint(run.checkpoint_path).step == summary.step == len(run.metrics())


@pytest.mark.parametrize("limits, message", [
    ({"steps": 3, "minutes": 1}, "steps and minutes"), ({"steps": 0}, "steps=0"), ({"epochs": -1}, "epochs=-1"),
    ({"minutes": float("nan")}, "minutes=nan"), ({"log_every": 0}, "log_every=0"), ({"checkpoint_steps": -2}, "checkpoint_steps=-2"),
])
def test_limits_without_meaning_are_refused(tmp_path, limits, message):
    """Before anything is written."""
    run = Run.create(tmp_path / "run", tiny_runs.config())
    with pytest.raises(ValueError, match=message):
        train(run, tiny_runs.trainer(), **limits)
    assert os.listdir(run.path) == ["config.json"]


def test_a_run_must_know_when_to_end(tmp_path):
    """No total_steps, nothing else said."""
    config = tiny_runs.config(lr_schedule="constant", total_steps=None)
    with pytest.raises(ValueError, match="how long"):
        train(Run.create(tmp_path / "run", config), Trainer(config, tiny_runs.dataset()))


def test_a_trainer_that_was_not_restored_is_refused(unbroken):
    """It would write a second step 1 into the log."""
    with pytest.raises(ValueError, match="restore"):
        train(unbroken, tiny_runs.trainer())


def test_checkpoints_come_by_the_clock_too(tmp_path):
    """Every 0 seconds: after every step."""
    run, seen = Run.create(tmp_path / "run", tiny_runs.config()), []
    train(run, tiny_runs.trainer(), steps=4, log_every=1, checkpoint_seconds=0,
          progress=lambda p: seen.append((p.step, read_checkpoint(run.checkpoint_path).step)))
    assert seen[:4] == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_the_bar_shows_loss_speed_and_time_left(tmp_path, capsys):
    """The last line it wrote."""
    train(Run.create(tmp_path / "run", tiny_runs.config()), tiny_runs.trainer(), steps=4, log_every=2, progress=Bar())
    shown = capsys.readouterr().err
    assert "100%" in shown and "step 4/4  loss 0." in shown.replace("loss 1.", "loss 0.") and "images/s" in shown and "0:00 left" in shown


# -- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_that_exists_is_never_written_into(tmp_path):
    """A file or folder of that name stays as it is; nothing appears beside it."""
    for path in (tmp_path / "folder", tmp_path / "file"):
        path.mkdir() if path.name == "folder" else path.write_text("mine")
        with pytest.raises(FileExistsError, match=r"exists already; choose another name.*--resume"):
            Run.create(path, tiny_runs.config())
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"] and os.listdir(tmp_path / "folder") == []


def test_a_run_is_opened_as_it_was_created(tmp_path):
    """In a folder within folders that did not exist."""
    config = tiny_runs.config(seed=4)
    created = Run.create(tmp_path / "a" / "b" / "run", config)
    opened = Run.open(str(created.path))
    assert opened.config == config and opened.class_names == ("dots", "bars", "rings")
    assert opened.schedule().num_train_timesteps == 50
    assert opened.metrics() == opened.timing() == []


def test_what_is_no_run_is_not_opened(tmp_path):
    """No folder, an empty one, broken JSON, unknown settings: each names the path."""
    with pytest.raises(FileNotFoundError, match="no such run folder"):
        Run.open(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"without config\.json"):
        Run.open(tmp_path)
    for content in ("{", '"text"', json.dumps({**tiny_runs.config().to_json(), "colour": 1}), b"\xff\xfe".decode("latin1")):
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"config\.json: cannot be used"):
            Run.open(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"config\.json: cannot be used"):
        Run.open(tmp_path)


def test_a_run_gives_back_its_model(unbroken):
    """Averaged weights, or the raw ones, in evaluation mode."""
    checkpoint = read_checkpoint(unbroken.checkpoint_path)
    for ema, group in ((True, "ema"), (False, "model")):
        model = unbroken.load_model(ema=ema)
        assert not model.training
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, checkpoint.tensors[f"{group}.{name}"])


def test_a_model_of_another_configuration_is_not_given_back(tmp_path, unbroken):
    """The settings were edited by hand; or there is no checkpoint yet."""
    other = Run.create(tmp_path / "run", tiny_runs.config(num_train_timesteps=60))
    with pytest.raises(FileNotFoundError, match="go on training"):
        other.load_model()
    other.checkpoint_path.write_bytes(unbroken.checkpoint_path.read_bytes())
    with pytest.raises(CheckpointError, match="num_train_timesteps: 50, here 60"):
        other.load_model()
    with pytest.raises(CheckpointError, match="num_train_timesteps: 50, here 60"):
        resume(other.path)


# -- exported --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_an_exported_run_draws_like_the_run_and_takes_a_fraction_of_the_room(tmp_path, unbroken, half):
    """The averaged weights, to float16's rounding if half; the rest of the checkpoint is gone."""
    exported = unbroken.export(tmp_path / "exported", half=half)
    assert exported.checkpoint_path.stat().st_size < unbroken.checkpoint_path.stat().st_size / (6 if half else 3)
    ours, theirs = unbroken.load_model().state_dict(), Run.open(exported.path).load_model().state_dict()
    for name, array in ours.items():
        assert theirs[name].dtype == array.dtype
        np.testing.assert_allclose(theirs[name], array, rtol=2**-11 if half else 0, atol=2**-25 if half else 0)


def test_what_an_exported_run_lacks_is_said(tmp_path, unbroken):
    """It cannot be trained further, and has no raw weights; nor is anything exported over what is there."""
    exported = unbroken.export(tmp_path / "exported")
    with pytest.raises(CheckpointError, match="exported: it has the averaged weights only"):
        exported.restore(tiny_runs.trainer())
    with pytest.raises(CheckpointError, match="missing"):
        exported.load_model(ema=False)
    with pytest.raises(FileExistsError, match="exists already"):
        unbroken.export(exported.path)


def test_weights_too_large_for_float16_are_not_exported_as_such(tmp_path):
    """70,000 is above its largest number."""
    trainer = tiny_runs.trainer()
    run = Run.create(tmp_path / "run", trainer.config)
    trainer.ema.data[3] = 70000.0
    write_checkpoint(run.checkpoint_path, trainer.state())
    with pytest.raises(ValueError, match="70000, more than float16 holds"):
        run.export(tmp_path / "exported", half=True)
    assert not (tmp_path / "exported").exists()


def test_whatever_else_a_run_needs_is_there_from_its_first_moment_or_no_run_is_there(tmp_path):
    """`fill` writes into the folder before it gets its name; if it fails, nothing is left."""
    run = Run.create(tmp_path / "run", tiny_runs.config(), lambda folder: (folder / "words.txt").write_text("red heart"))
    assert (run.path / "words.txt").read_text() == "red heart"

    def fail(folder):
        (folder / "half").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Run.create(tmp_path / "other", tiny_runs.config(), fail)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
