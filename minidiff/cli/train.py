"""`minidiff train`: train a model on images, or go on with a run."""

import argparse
import dataclasses
import math
import os
import shlex
import warnings
from pathlib import Path

from .arguments import amount, count, seed

SUMMARY = "train a model on images, or go on with a run"
EXAMPLES = """\
  minidiff train --data fashion-mnist-mini --out runs/mini --minutes 10
  minidiff train --data photos --out runs/photos --preset course --epochs 20 --device cuda
  minidiff train --resume runs/mini --minutes 10
"""
# Options that are fields of TrainConfig; a run that is resumed keeps its own
SETTINGS = ("batch_size", "learning_rate", "seed")
PRESET = "ddpm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `minidiff train`."""
    parser.description += (
        "\n\nWrites a new run folder: config.json, metrics.jsonl (a line a step) and model.safetensors (a\n"
        "checkpoint, saved every minute). Ctrl-C saves one too and says how to go on. A run that was stopped\n"
        "and resumed ends like one that was not, bit for bit.")
    what = parser.add_argument_group("what to train")
    what.add_argument("--data", metavar="SRC",
                      help="fashion-mnist-mini (comes with minidiff), a folder of IDX files, a folder with a sub-folder of "
                           "images for each class, or an .npz file")
    what.add_argument("--out", metavar="RUN", type=Path, help="the new run folder")
    what.add_argument("--resume", metavar="RUN", type=Path, help="go on with this run instead; --data only if its data has moved")
    what.add_argument("--preset", metavar="NAME", help=f"the network: ddpm or course (default: {PRESET})")
    what.add_argument("--batch-size", type=count, metavar="N", help="images a step (default: 64)")
    what.add_argument("--learning-rate", type=amount, metavar="R", help="of AdamW (default: 0.001)")
    what.add_argument("--seed", type=seed, metavar="N", help="of all random numbers (default: 0)")
    long = parser.add_argument_group("how long (one of them; a run that is resumed knows it, unless it had --minutes)")
    long = long.add_mutually_exclusive_group()
    long.add_argument("--epochs", type=amount, metavar="N", help="times through the data, since the run began")
    long.add_argument("--steps", type=count, metavar="N", help="steps, since the run began")
    long.add_argument("--minutes", type=amount, metavar="M", help="minutes from now")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out."""
    from minidiff.training import Bar, train

    a = arguments
    training, trainer = resumed(a) if a.resume is not None else begun(a)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # overflow: TrainingDiverged says it once, with the step
        summary = train(training, trainer, steps=a.steps, epochs=a.epochs, minutes=a.minutes, progress=Bar())
    loss = "" if summary.loss is None else f", loss {summary.loss:.4f}"
    print(f"{training.path}: step {summary.step}{loss}, checkpoint saved in {training.checkpoint_path}")
    if summary.interrupted:
        print(f"stopped; go on with:\n  {command_to_go_on(a, training.path, summary.seconds)}")
        return 130
    print(f"draw from it with:\n  minidiff sample {shlex.quote(str(training.path))}")
    return 0


def begun(a: argparse.Namespace):
    """A new run and its trainer."""
    from minidiff.data import load
    from minidiff.data.source import EMBEDDED
    from minidiff.models import preset
    from minidiff.training import Run, TrainConfig, Trainer

    if a.data is None or a.out is None:
        raise ValueError("minidiff train needs --data SRC and --out RUN, or --resume RUN")
    if a.epochs is None and a.steps is None and a.minutes is None:
        raise ValueError("minidiff train: how long? Give --epochs, --steps or --minutes")
    dataset = load(a.data)
    settings = {name: getattr(a, name) for name in SETTINGS if getattr(a, name) is not None}
    config = TrainConfig.for_dataset(dataset, preset(a.preset or PRESET),
                                     data=a.data if a.data in EMBEDDED else os.path.abspath(a.data), **settings)
    if a.steps is not None:
        config = dataclasses.replace(config, total_steps=a.steps)
    if a.epochs is not None:
        config = dataclasses.replace(config, total_steps=math.ceil(a.epochs * len(dataset) / config.batch_size))
    trainer = Trainer(config, dataset, a.device)
    return Run.create(a.out, config), trainer


def resumed(a: argparse.Namespace):
    """A run that exists, and its trainer where the last checkpoint was taken."""
    from minidiff.data import load
    from minidiff.training import Run, Trainer

    fixed = [option for option in ("out", "preset", *SETTINGS) if getattr(a, option) is not None]
    if fixed:
        raise ValueError(f"--{fixed[0].replace('_', '-')} cannot be changed in a run that is resumed; begin another one with --out")
    training = Run.open(a.resume)
    trainer = Trainer(training.config, load(a.data or training.config.data), a.device)
    training.restore(trainer)
    return training, trainer


def command_to_go_on(a: argparse.Namespace, path: Path, seconds: float) -> str:
    """The command line that does what is left of this one. seconds: how long it has trained."""
    words = ["minidiff", "train", "--resume", str(path)]
    if a.resume is not None and a.data is not None:
        words += ["--data", a.data]
    if a.epochs is not None:
        words += ["--epochs", f"{a.epochs:g}"]
    if a.steps is not None:
        words += ["--steps", str(a.steps)]
    if a.minutes is not None:
        words += ["--minutes", f"{max(a.minutes - seconds / 60, 0.1):.1f}"]
    if a.device != "cpu":
        words += ["--device", a.device]
    return shlex.join(words)
