"""`train`: step after step until it is time to stop, with a log, checkpoints, and an ear for Ctrl-C.

The log gets a line a step, written every few steps, and always before a checkpoint: what a checkpoint knows is in the log. A
checkpoint is only taken of a run that is sound. Read `sampling.py` next.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minidiff import backend
from minidiff.training.checkpoint import CheckpointError, write_checkpoint
from minidiff.training.learner import Learner
from minidiff.training.run import Run

RECENT = 100  # steps over which the loss that is shown is averaged


class TrainingDiverged(RuntimeError):
    """The loss, a gradient or a weight became NaN or infinite. The last good checkpoint is kept."""


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    step: steps done since the run began; total_steps: how many there will be, None if the clock decides. fraction: what is done of
    this session, in [0, 1]. loss: mean over the last 100 steps. images_per_second: of this session. seconds_left: an estimate.
    """

    step: int
    total_steps: int | None
    fraction: float
    loss: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Summary:
    """How a session of `train` ended, always with a checkpoint.

    step, epoch: of the run. loss: mean over the last 100 steps, None if this session took no step. seconds, images_per_second: of this
    session. interrupted: by Ctrl-C or SIGTERM.
    """

    step: int
    epoch: int
    loss: float | None
    seconds: float
    images_per_second: float
    interrupted: bool


class Bar:
    """A progress bar on stderr with loss, images per second and time left: `train(run, trainer, progress=Bar())`."""

    def __init__(self) -> None:
        # The delay keeps it from showing before the first step: an error that `train` raises at its door stands alone
        self._bar = tqdm(total=1.0, bar_format="{percentage:3.0f}%|{bar}| {desc}", file=sys.stderr, dynamic_ncols=True, delay=1e-3)

    def __call__(self, progress: Progress) -> None:
        of = "" if progress.total_steps is None else f"/{progress.total_steps}"
        minutes, seconds = divmod(math.ceil(progress.seconds_left), 60)
        self._bar.set_description_str(f"step {progress.step}{of}  loss {progress.loss:.4f}  {progress.images_per_second:.0f} images/s  "
                                      f"{minutes}:{seconds:02d} left", refresh=False)
        self._bar.update(progress.fraction - self._bar.n)
        if progress.fraction >= 1.0:
            self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands; further output begins on a new line."""
        self._bar.close()


def train(
    run: Run, trainer: Learner, *, steps: int | None = None, epochs: float | None = None, minutes: float | None = None,
    progress: Callable[[Progress], None] | None = None, checkpoint_steps: int | None = None, checkpoint_seconds: float = 60.0,
    log_every: int = 10,
) -> Summary:
    """Train until `steps` steps or `epochs` passes over the data have been done since the run began, or for `minutes` from now.

    At most one of the three; without any, until config.total_steps. To resume, call `run.restore(trainer)` first.
    progress: called after the first step, every log_every steps and at the end; what has a `close` is closed at the end.
    log_every: steps between two looks at the results, which is when a GPU is waited for.
    A checkpoint is written before the first step of a run, after every checkpoint_steps steps and checkpoint_seconds seconds, and
    at the end. The first Ctrl-C or SIGTERM ends the session after the present step, the second at once, without a checkpoint.
    Raises ValueError for limits that are no limits and for a trainer that is not where the run is, TrainingDiverged for NaN or
    infinity, OSError for a full disk. The last good checkpoint is there after each of them.
    """
    try:
        last_step = _last_step(trainer, steps, epochs, minutes)
        for name, every in {"checkpoint_steps": checkpoint_steps, "log_every": log_every}.items():
            if every is not None and every < 1:
                raise ValueError(f"train: {name}={every}; expected at least 1")
        _check_learning_rate(trainer, last_step)
        logged = len(run.metrics())
        if logged != trainer.step_count:
            raise ValueError(f"train: {run.metrics_path} has {logged} steps, the trainer is at step {trainer.step_count}; "
                             "call run.restore(trainer) first")
        session = _Session(run, trainer, last_step, math.inf if minutes is None else 60.0 * minutes)
        with _ask_to_stop() as asked, open(run.metrics_path, "ab") as session.log:
            if not run.checkpoint_path.exists():
                session.save()
            while not asked.is_set() and trainer.step_count < last_step and session.seconds() < session.limit:
                session.step()
                if trainer.step_count % log_every == 0 or session.steps() == 1:
                    session.look()
                    if progress is not None:
                        progress(session.progress())
                due = checkpoint_steps is not None and trainer.step_count % checkpoint_steps == 0
                if due or session.seconds_unsaved() >= checkpoint_seconds:
                    session.save()
            session.save()
            if progress is not None and session.steps():
                progress(session.progress())
    finally:
        if hasattr(progress, "close"):
            progress.close()
    return session.summary(interrupted=asked.is_set() and trainer.step_count < last_step)


def _last_step(trainer: Learner, steps: int | None, epochs: float | None, minutes: float | None) -> float:
    """The step after which to stop: infinity if the clock decides."""
    given = {name: limit for name, limit in {"steps": steps, "epochs": epochs, "minutes": minutes}.items() if limit is not None}
    if len(given) > 1:
        raise ValueError(f"train: expected one of steps, epochs and minutes, got {' and '.join(given)}")
    for name, limit in given.items():
        if not 0 < limit < math.inf:
            raise ValueError(f"train: {name}={limit}; expected a finite number above 0")
    if steps is not None:
        return steps
    if epochs is not None:
        return math.ceil(epochs * trainer.steps_per_epoch)
    if minutes is not None:
        return math.inf
    if trainer.config.total_steps is None:
        raise ValueError("train: how long? Give steps, epochs or minutes, since the configuration has no total_steps")
    return trainer.config.total_steps


def _check_learning_rate(trainer: Learner, last_step: float) -> None:
    """Refuse steps that would change nothing."""
    c = trainer.config
    if c.lr_schedule != "constant" and last_step > c.total_steps:
        raise ValueError(f"train: the learning rate of this run has fallen to 0 after its total_steps={c.total_steps}, so further steps "
                         "would change nothing; begin a new run that is longer, or one with a constant rate")


@contextlib.contextmanager
def _ask_to_stop() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, so that a step is never cut in two. The second acts as it always did."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # which alone receives signals
        yield asked
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: Any) -> None:
        asked.set()
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()


class _Session:
    """One call of `train`: what has been computed, what of it is in the log and in the checkpoint, and the clock."""

    def __init__(self, run: Run, trainer: Learner, last_step: float, limit: float) -> None:
        self.run, self.trainer, self.last_step, self.limit = run, trainer, last_step, limit
        self.log: Any = None
        self.first_step = trainer.step_count
        self.began = self.saved = time.monotonic()
        self.saved_step: int | None = None
        self.waiting: list[tuple[dict[str, Any], Any, Any]] = []  # lines whose loss and gradient norm may still be on the way
        self.losses: deque[float] = deque(maxlen=RECENT)

    def steps(self) -> int:
        return self.trainer.step_count - self.first_step

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def seconds_unsaved(self) -> float:
        return time.monotonic() - self.saved

    def images_per_second(self) -> float:
        return self.steps() * self.trainer.config.batch_size / max(self.seconds(), 1e-9)

    def step(self) -> None:
        trainer = self.trainer
        line = {"step": trainer.step_count + 1, "epoch": trainer.epoch, "learning_rate": trainer.learning_rate()}
        loss, length = trainer.step()
        self.waiting.append((line, loss, length))

    def look(self) -> None:
        """Write the waiting lines to the log; stop if one of them is not finite."""
        lines = []
        for line, loss, length in self.waiting:
            loss, length = float(loss), float(length)
            if not (math.isfinite(loss) and math.isfinite(length)):
                self.waiting = []
                self._write(lines)
                raise TrainingDiverged(
                    f"step {line['step']}: loss {loss}, gradient norm {length}; stopped. The last good checkpoint is kept in "
                    f"{self.run.checkpoint_path}: train a new run with a lower learning rate than {self.trainer.config.learning_rate}")
            self.losses.append(loss)
            lines.append({"step": line["step"], "epoch": line["epoch"], "loss": loss, "learning_rate": line["learning_rate"],
                          "grad_norm": length})
        self.waiting = []
        self._write(lines)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        self.log.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        self.log.flush()

    def save(self) -> None:
        """Write a checkpoint, and before it the log up to here."""
        if self.saved_step == self.trainer.step_count:
            return
        self.look()
        os.fsync(self.log.fileno())
        try:
            write_checkpoint(self.run.checkpoint_path, self.trainer.state())
        except CheckpointError as error:
            raise TrainingDiverged(f"step {self.trainer.step_count}: {error}") from error
        self.saved, self.saved_step = time.monotonic(), self.trainer.step_count

    def progress(self) -> Progress:
        total = None if self.last_step == math.inf else int(self.last_step)
        if total is None:
            fraction = self.seconds() / self.limit
        else:
            fraction = self.steps() / max(1, total - self.first_step)
        fraction = min(1.0, fraction)
        return Progress(self.trainer.step_count, total, fraction, self._recent_loss(), self.images_per_second(),
                        self.seconds() * (1 - fraction) / fraction)

    def _recent_loss(self) -> float:
        return sum(self.losses) / len(self.losses)

    def summary(self, interrupted: bool) -> Summary:
        seconds = self.seconds()
        if self.steps():
            _append_line(self.run.timing_path, {
                "from_step": self.first_step, "to_step": self.trainer.step_count, "seconds": round(seconds, 3),
                "images_per_second": round(self.images_per_second(), 1), "device": self.trainer.device, "threads": backend.get_threads()})
        return Summary(self.trainer.step_count, self.trainer.epoch, self._recent_loss() if self.losses else None, seconds,
                       self.images_per_second(), interrupted)


def _append_line(path: Path, line: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
