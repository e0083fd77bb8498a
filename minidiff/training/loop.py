from __future__ import annotations
from collections.abc import Callable
from dataclasses import dataclass
from minidiff.training.run import Run
from minidiff.training.trainer import Trainer

class TrainingDiverged(RuntimeError):
    """The loss, a gradient or a weight became NaN or infinite. The last good checkpoint is kept."""

@dataclass(frozen=True)
class Progress:
    """Where a run is: step and total_steps (None: not known), fraction done in [0, 1], the last loss (mean of the last
    steps), images_per_second of this session, seconds_left (None: not known yet)."""
    step: int
    total_steps: int | None
    fraction: float
    loss: float
    images_per_second: float
    seconds_left: float | None

@dataclass(frozen=True)
class Summary:
    """How a session of `train` ended. loss: mean of the last 100 steps (None if none was taken in this session).
    interrupted: True after Ctrl-C or SIGTERM; a checkpoint has been saved then too."""
    step: int
    epoch: int
    loss: float | None
    seconds: float
    images_per_second: float
    interrupted: bool

class Bar:
    """A progress bar on stderr: `train(run, trainer, progress=Bar())`. Closed by train."""
    def __call__(self, progress: Progress) -> None: ...
    def close(self) -> None: ...

def train(run: Run, trainer: Trainer, *, steps: int | None = None, epochs: float | None = None, minutes: float | None = None,
          progress: Callable[[Progress], None] | None = None, checkpoint_steps: int | None = None,
          checkpoint_seconds: float = 60.0, log_every: int = 10) -> Summary:
    """Train until `steps` steps or `epochs` passes have been done since the run began, or for `minutes` from now.
    At most one of the three; none: config.total_steps (ValueError if that is None too)."""
