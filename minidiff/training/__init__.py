"""Training: from a `Dataset` and a `TrainConfig` to a run folder with weights, log and settings; and pictures back out of it.

    config.py      `TrainConfig`: everything that decides what a run computes
    flat.py        all parameters of a model as one array
    optimizer.py   AdamW, gradient clipping, the learning rate of a step
    ema.py         the moving average of the weights, which is what one samples with
    trainer.py     `Trainer`: one step, and the state between two of them
    checkpoint.py  that state in a file that is whole or not there
    run.py         `Run`: the folder of a run
    loop.py        `train`: steps until it is time to stop; log, checkpoints, Ctrl-C
    sampling.py    `draw`: images from a trained model
    toy.py         the whole of training in one short loop, for points in the plane
    judge.py       a classifier trained on the real images says what it sees in the drawn ones

Stands on `minidiff.diffusion`, `minidiff.models` and `minidiff.data`. Read `trainer.py` first.

    config = TrainConfig.for_dataset(dataset, preset("ddpm"), data="fashion-mnist-mini", total_steps=2000)
    run = Run.create("runs/garments", config)
    train(run, Trainer(config, dataset), progress=Bar())
    images = draw(run.load_model(), run.schedule(), labels, generator=Generator(0))
"""

from minidiff.training.checkpoint import Checkpoint, CheckpointError, read_checkpoint, write_checkpoint
from minidiff.training.config import TrainConfig
from minidiff.training.ema import EMA
from minidiff.training.flat import FlatParameters
from minidiff.training.judge import accuracy, accuracy_per_class, predict, train_classifier
from minidiff.training.loop import Bar, Progress, Summary, TrainingDiverged, train
from minidiff.training.optimizer import AdamW, clip_grad_norm, learning_rate_at
from minidiff.training.run import Run
from minidiff.training.sampling import draw, labels_of
from minidiff.training.toy import train_toy
from minidiff.training.trainer import Trainer

__all__ = [
    "EMA", "AdamW", "Bar", "Checkpoint", "CheckpointError", "FlatParameters", "Progress", "Run", "Summary", "TrainConfig",
    "Trainer", "TrainingDiverged", "accuracy", "accuracy_per_class", "clip_grad_norm", "draw", "labels_of", "learning_rate_at",
    "predict", "read_checkpoint", "train", "train_classifier", "train_toy",
    "write_checkpoint",
]
