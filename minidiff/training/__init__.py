"""Training: from a `Dataset` and a `TrainConfig` to a run folder with weights, log and settings; and pictures back out of it.

    config.py       `TrainConfig`: everything that decides what a run computes
    flat.py         all parameters of a model as one array
    optimizer.py    AdamW, gradient clipping, the learning rate of a step
    ema.py          the moving average of the weights, which is what one samples with
    learner.py      `Learner`: one step, and the state between two of them
    captions.py     with which words an image is shown
    embedder.py     `Embedder`: a trained CLIP with its tokenizer
    condition.py    what a U-Net is told: classes, embeddings, captions
    trainer.py      `Trainer`: a `Learner` of diffusion
    contrastive.py  `ContrastiveLearner`: a `Learner` of CLIP
    prior.py        `PriorLearner`: a `Learner` of the step from a sentence's embedding to a picture's
    checkpoint.py   the state between two steps in a file that is whole or not there
    run.py          `Run`: the folder of a run
    loop.py         `train`: steps until it is time to stop; log, checkpoints, Ctrl-C
    sampling.py     `draw`: images from a trained model
    toy.py          the whole of training in one short loop, for points in the plane
    judge.py        a classifier trained on the real images says what it sees in the drawn ones
    bag_of_words.py what a CLIP is compared with
    evaluation.py   what a model is worth, in figures

Stands on `minidiff.diffusion`, `minidiff.models` and `minidiff.data`. Read `learner.py` and `trainer.py` first.

    config = TrainConfig.for_dataset(dataset, preset("ddpm"), data="fashion-mnist-mini", total_steps=2000)
    run = Run.create("runs/garments", config)
    train(run, Trainer(config, dataset), progress=Bar())
    images = draw(run.load_model(), run.schedule(), labels, generator=Generator(0))
"""

from minidiff.training.bag_of_words import BagOfWords
from minidiff.training.checkpoint import Checkpoint, CheckpointError, read_checkpoint, write_checkpoint
from minidiff.training.condition import contexts_of
from minidiff.training.config import LearnerConfig, TrainConfig
from minidiff.training.contrastive import ContrastiveConfig, ContrastiveLearner, create_clip_run, read_embedder, train_tokenizer
from minidiff.training.ema import EMA
from minidiff.training.embedder import Embedder
from minidiff.training.flat import FlatParameters
from minidiff.training.judge import accuracy, accuracy_per_class, predict, train_classifier
from minidiff.training.learner import Learner
from minidiff.training.loop import Bar, Progress, Summary, TrainingDiverged, train
from minidiff.training.optimizer import AdamW, clip_grad_norm, learning_rate_at
from minidiff.training.prior import PriorLearner, PriorTrainConfig, imagine
from minidiff.training.run import Run, pretrained
from minidiff.training.sampling import draw, labels_of
from minidiff.training.toy import train_toy
from minidiff.training.trainer import Trainer

__all__ = [
    "EMA", "AdamW", "BagOfWords", "Bar", "Checkpoint", "CheckpointError", "ContrastiveConfig", "ContrastiveLearner", "Embedder",
    "FlatParameters", "Learner", "LearnerConfig", "PriorLearner", "PriorTrainConfig", "Progress", "Run", "Summary", "TrainConfig",
    "Trainer", "TrainingDiverged", "accuracy", "accuracy_per_class", "clip_grad_norm", "contexts_of", "create_clip_run", "draw",
    "imagine", "labels_of", "learning_rate_at", "predict", "pretrained", "read_checkpoint", "read_embedder", "train",
    "train_classifier", "train_tokenizer", "train_toy", "write_checkpoint",
]
