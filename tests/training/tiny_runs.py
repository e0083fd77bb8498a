"""A data set, a network and a configuration so small that a step takes a few milliseconds.

As a script, `python tiny_runs.py FOLDER STEPS CHECKPOINT_STEPS THREADS`, it trains or resumes such a run: the process that the
tests kill.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from minidiff import backend
from minidiff.data import Dataset
from minidiff.models import UNetConfig
from minidiff.training import Run, TrainConfig, Trainer, train


def dataset(count=24, size=8, class_names=("dots", "bars", "rings")) -> Dataset:
    """Random pixels: nothing to learn but by heart."""
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (count, 1, size, size), dtype=np.uint8)
    return Dataset(images, np.arange(count, dtype=np.int64) % len(class_names), class_names)


def config(**settings) -> TrainConfig:
    """Two levels, 8 and 16 channels, dropout: about 40,000 parameters, fifty time steps."""
    unet = UNetConfig(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, dropout=0.1)
    defaults = {"num_train_timesteps": 50, "batch_size": 10, "total_steps": 18, "warmup_steps": 5, "lr_schedule": "cosine", "flip": 0.5}
    return TrainConfig.for_dataset(dataset(), unet, **{**defaults, **settings})


def trainer(**settings) -> Trainer:
    """A trainer at step 0."""
    return Trainer(config(**settings), dataset())


def command(folder, steps, checkpoint_steps, threads=1) -> dict:
    """Arguments of `subprocess.run` or `Popen` for this script, with the modules that this process has."""
    return {"args": [sys.executable, __file__, *map(str, (folder, steps, checkpoint_steps, threads))],
            "env": {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, "stdout": subprocess.PIPE, "text": True}


def main(folder: str, steps: str, checkpoint_steps: str, threads: str) -> None:
    backend.set_threads(int(threads))
    run = Run.open(folder) if Path(folder).exists() else Run.create(folder, config())
    trainer = Trainer(run.config, dataset())
    run.restore(trainer)
    print("ready", flush=True)
    summary = train(run, trainer, steps=int(steps), checkpoint_steps=int(checkpoint_steps), log_every=2)
    print("interrupted" if summary.interrupted else "done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
