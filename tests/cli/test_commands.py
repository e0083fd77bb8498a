"""Each command does what its help says, and begins without loading what it does not need."""

import dataclasses
import json
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from minidiff.cli import main
from minidiff.cli.main import COMMANDS, make_parser, one_line
from minidiff.models import preset
from minidiff.training import Run, read_checkpoint


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_a_summary_and_examples_that_parse(command, capsys):
    """Every example line in it is a command line that the parser takes."""
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: minidiff {command}") and COMMANDS[command].SUMMARY[1:] in text
    examples = [line for line in text.partition("examples:\n")[2].splitlines() if line.strip()]
    assert examples
    for line in examples:
        words = shlex.split(re.split(r"\s{3,}", line.strip())[0])     # what is set apart is a remark
        make_parser().parse_args(words[words.index("minidiff") + 1 :])


def test_without_a_command_the_help_is_shown(capsys):
    """It names all commands."""
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(re.search(f"\n    {command}\\s", text) for command in COMMANDS)


def test_the_help_loads_neither_scipy_nor_the_rooms_behind_it():
    """A fresh Python prints the help as `python -m minidiff` and has not imported them."""
    code = ("import sys, runpy\nsys.argv = ['minidiff', '--help']\ntry:\n    runpy.run_module('minidiff', run_name='__main__')\n"
            "except SystemExit:\n    print([name for name in sys.modules if name.startswith(('scipy', 'PIL', 'minidiff.training', "
            "'minidiff.report', 'minidiff.data'))])")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("usage: minidiff") and result.stdout.rstrip().endswith("[]"), result.stdout + result.stderr


def test_the_version_is_the_packages(capsys):
    """minidiff --version."""
    with pytest.raises(SystemExit):
        main(["--version"])
    from minidiff import __version__

    assert capsys.readouterr().out == f"minidiff {__version__}\n"


def test_info_shows_versions_devices_and_threads(capsys):
    """NumPy's version stands beside its name."""
    assert main(["info"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["numpy"] == np.__version__ and "threads" in rows["device"]


def test_data_downloads_into_the_folder_and_says_what_it_did(tmp_path, capsys, monkeypatch):
    """The download itself is tested in tests/data; here it is replaced."""
    monkeypatch.setattr("minidiff.data.download_fashion_mnist", lambda folder: {"a.gz": "kept", "b.gz": "downloaded"})
    assert main(["data", "fashion-mnist", str(tmp_path)]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["kept", str(tmp_path / "a.gz")], ["downloaded", str(tmp_path / "b.gz")]]


def test_training_takes_its_settings_from_the_command_line(data, tmp_path):
    """Batch size, learning rate, seed and preset are in config.json; half an epoch of 30 images is 3 steps of 5."""
    run = tmp_path / "run"
    assert main(["train", "--data", str(data), "--out", str(run), "--epochs", "0.5", "--batch-size", "5", "--learning-rate", "0.01",
                 "--seed", "9"]) == 0
    config = Run.open(run).config
    assert (config.batch_size, config.learning_rate, config.seed, config.total_steps) == (5, 0.01, 9, 3)
    assert config.unet.block_out_channels == preset("ddpm").block_out_channels and config.class_names[2] == "Ankle boot"
    assert [line["step"] for line in Run.open(run).metrics()] == [1, 2, 3]


def test_a_run_is_resumed_from_any_folder(data, tmp_path, monkeypatch, capsys):
    """It was begun with a relative path to its data; now another folder is the current one, and it goes on for two steps."""
    monkeypatch.chdir(data.parent)
    assert main(["train", "--data", data.name, "--out", str(tmp_path / "run"), "--steps", "1", "--batch-size", "4"]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume", "run", "--steps", "3"]) == 0
    assert [line["step"] for line in Run.open("run").metrics()] == [1, 2, 3]
    assert "minidiff sample run" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint_and_the_printed_command_goes_on(number, data, tmp_path):
    """Stop a training process after its first log lines; its status is 130; what it prints resumes at the step it stopped at."""
    run = tmp_path / "my run"
    process = subprocess.Popen(
        [sys.executable, "-m", "minidiff", "train", "--data", str(data), "--out", str(run), "--steps", "100000", "--batch-size", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    step = len(Run.open(run).metrics())
    assert step >= 1 and read_checkpoint(run / "model.safetensors")
    command = out.strip().splitlines()[-1].strip()
    assert shlex.split(command) == ["minidiff", "train", "--resume", str(run), "--steps", "100000"]
    assert main([*shlex.split(command)[1:-1], str(step + 1)]) == 0
    assert [line["step"] for line in Run.open(run).metrics()] == list(range(1, step + 2))


def test_samples_are_a_png_each_and_a_grid(trained, tmp_path, capsys):
    """Two classes in the order asked for, three images each, at the size of the data, and the grid shows the same pixels."""
    out = tmp_path / "out"
    assert main(["sample", str(trained), "--classes", "ankle boot,1", "--n", "3", "--steps", "2", "--out", str(out)]) == 0
    names = [f"{stem}-{i:03d}.png" for stem in ("1-T-shirt-top", "2-Ankle-boot") for i in range(3)]
    assert sorted(file.name for file in out.iterdir()) == [*names, "grid.png"]
    grid = np.asarray(Image.open(out / "grid.png"))[..., 0]
    for name in names:
        image = Image.open(out / name)
        assert image.size == (8, 8) and image.mode == "L"
        tile = np.asarray(image).repeat(7, axis=0).repeat(7, axis=1)
        assert (np.lib.stride_tricks.sliding_window_view(grid, tile.shape) == tile).all(axis=(2, 3)).sum() == 1
    assert f"6 images and grid.png in {out}" in capsys.readouterr().out


def test_the_same_seed_draws_the_same_and_another_seed_another(trained, tmp_path):
    """The grids of three calls, byte for byte; DDIM, whose only noise is the first."""
    grids = []
    for i, seed in enumerate(["5", "5", "6"]):
        words = ["sample", str(trained), "--sampler", "ddim", "--steps", "2", "--n", "1", "--seed", seed, "--out", str(tmp_path / str(i))]
        assert main(words) == 0
        grids.append((tmp_path / str(i) / "grid.png").read_bytes())
    assert grids[0] == grids[1] != grids[2]


def test_the_demo_goes_the_whole_way(data, tmp_path, capsys, monkeypatch):
    """With a network and data that are tiny: every file is written, the page shows the pictures, the verdict comes last."""
    from minidiff.report import demo

    tiny = dataclasses.replace(
        demo.DEMO, data=str(data), unet=preset("ddpm", block_out_channels=(8, 8), attention_levels=(), norm_num_groups=4),
        training={"total_steps": 12, "batch_size": 4},
        samplers={"DDPM": {"sampler": "ddpm", "steps": 11}, "DDIM": {"sampler": "ddim", "steps": 3}},
        judged=3, shown=2, classifier_epochs=1)
    monkeypatch.setattr(demo, "DEMO", tiny)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--seed", "3"]) == 0
    run = tmp_path / "runs" / "demo"
    files = {"config.json", "metrics.jsonl", "model.safetensors", "timing.jsonl", "samples.png", "forward.png", "reverse.png", "loss.png",
             "report.html"}
    assert {file.name for file in run.iterdir()} == files
    assert json.loads((run / "config.json").read_text())["seed"] == 3
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and all(name in page for name in ("T-shirt/top", "minidiff sample runs/demo"))
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.count("%") == 3 and "held-out real images" in last and "DDPM samples" in last and "DDIM samples" in last
    assert main(["demo"]) == 0 and (tmp_path / "runs" / "demo-2" / "report.html").exists()
    assert main(["train", "--resume", "runs/demo", "--steps", "13"]) == 0


def test_a_demo_that_is_interrupted_says_how_to_go_on(data, tmp_path, capsys, monkeypatch):
    """Training reports an interruption; status 130, and a command that can be parsed."""
    from minidiff.report import demo

    monkeypatch.setattr(demo, "run_demo", lambda *arguments, **options: None)
    assert main(["demo", "--out", str(tmp_path / "run")]) == 130
    make_parser().parse_args(shlex.split(capsys.readouterr().out.strip().splitlines()[-1])[1:])


def test_ctrl_c_elsewhere_ends_with_status_130(monkeypatch, capsys):
    """Without a traceback."""
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["info"], "run", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "minidiff: interrupted\n"


@pytest.mark.parametrize(("error", "line"), [
    (ValueError("first\n  second"), "first second"),
    (FileNotFoundError(2, "No such file or directory", "x.npz"), "x.npz: No such file or directory"),
    (OSError("only words"), "only words"),
    (ValueError(), "ValueError"),
])
def test_every_error_fits_on_one_line(error, line):
    """Line breaks become spaces, an error of the system loses its number, one without words has its name."""
    assert one_line(error) == line
