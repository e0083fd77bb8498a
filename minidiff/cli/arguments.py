"""Kinds of option values, with messages that say what is expected; and the options for how long to train."""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any


def count(text: str) -> int:
    """A whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def seed(text: str) -> int:
    """A whole number in [0, 2^32)."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text!r}")
    return value


def amount(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def place_of(run: Path, what: str) -> Path:
    """Where the samples or figures of a run go if nobody says: RUN/samples; NAME-samples here for a pretrained model, found by its name.

    With -2, -3, ... at the end, where there is something already.
    """
    from minidiff.report import free_name

    return free_name(run / what if run.is_dir() else Path(f"{run.name}-{what}"))


def add_length(parser: argparse.ArgumentParser) -> None:
    """The options that say how long to train."""
    long = parser.add_argument_group("how long (one of them; a run that is resumed knows it, unless it had --minutes)")
    long = long.add_mutually_exclusive_group()
    long.add_argument("--epochs", type=amount, metavar="N", help="times through the data, since the run began")
    long.add_argument("--steps", type=count, metavar="N", help="steps, since the run began")
    long.add_argument("--minutes", type=amount, metavar="M", help="minutes from now")


def with_length(a: argparse.Namespace, config: Any, images: int) -> Any:
    """The configuration of a new run with the number of steps that was asked for. images: in the data. ValueError if nothing was asked."""
    if a.epochs is not None:
        return dataclasses.replace(config, total_steps=math.ceil(a.epochs * images / config.batch_size))
    if a.steps is not None:
        return dataclasses.replace(config, total_steps=a.steps)
    if a.minutes is not None and config.lr_schedule != "constant":
        raise ValueError(f"minidiff {a.command} --minutes: the learning rate falls to 0 at the last step (lr_schedule="
                         f"{config.lr_schedule!r}), which must be known then; give --epochs or --steps")
    if a.minutes is None and config.total_steps is None:
        raise ValueError(f"minidiff {a.command}: how long? Give --epochs, --steps or --minutes")
    return config
