"""A session of training on the command line: a bar, then where the run is now and what to do next."""

import argparse
import shlex
import warnings
from pathlib import Path


def session(a: argparse.Namespace, command: str, run, learner, then: str) -> int:
    """Train as long as the options say. command: "train" or "clip train". then: what to do with the run next. Returns the exit status."""
    from minidiff.training import Bar, train

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # overflow: TrainingDiverged says it once, with the step
        summary = train(run, learner, steps=a.steps, epochs=a.epochs, minutes=a.minutes, progress=Bar())
    loss = "" if summary.loss is None else f", loss {summary.loss:.4f}"
    print(f"{run.path}: step {summary.step}{loss}, checkpoint saved in {run.checkpoint_path}")
    if summary.interrupted:
        print(f"stopped; go on with:\n  {command_to_go_on(a, command, run.path, summary.seconds)}")
        return 130
    print(then)
    return 0


def command_to_go_on(a: argparse.Namespace, command: str, path: Path, seconds: float) -> str:
    """The command line that does what is left of this one. command: "train" or "clip train". seconds: how long it has trained."""
    words = ["minidiff", *command.split(), "--resume", str(path)]
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


def check_fixed(a: argparse.Namespace, *options: str) -> None:
    """Refuse options that a run which is resumed has already: ValueError for the first that was given."""
    fixed = [option for option in options if getattr(a, option) is not None]
    if fixed:
        raise ValueError(f"--{fixed[0].replace('_', '-')} cannot be changed in a run that is resumed; begin another one with --out")
