"""A data set, a network and a configuration so small that a step takes a few milliseconds.

As a script, `python tiny_runs.py FOLDER STEPS CHECKPOINT_STEPS THREADS`, it trains or resumes such a run: the process that the
tests kill.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from minidiff import backend
from minidiff.data import Dataset
from minidiff.models import CLIPConfig, UNetConfig
from minidiff.models.clip import ConvConfig, TextConfig
from minidiff.models.tokenizer import Tokenizer
from minidiff.training import ContrastiveConfig, ContrastiveLearner, Embedder, Run, TrainConfig, Trainer, train, train_tokenizer


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


COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (240, 240, 240), "black": (20, 20, 20),
           "yellow": (230, 220, 30)}


def squares(count=6, size=8) -> Dataset:
    """Squares of one colour each, with a little noise, and two captions: "red", "a red square"."""
    names = [list(COLOURS)[i % len(COLOURS)] for i in range(count)]
    noise = np.random.default_rng(6).integers(-15, 16, (count, 3, size, size))
    images = np.array([COLOURS[name] for name in names])[:, :, None, None] + noise
    return Dataset(images.clip(0, 255).astype(np.uint8), np.zeros(count, np.int64), ("image",),
                   tuple((name, f"a {name} square") for name in names))


@functools.cache
def tokenizer() -> Tokenizer:
    """With it every word of the captions is one token."""
    return train_tokenizer(squares(), 600)


BY_HEART = {"learning_rate": 3e-3, "total_steps": 80, "ema_decay": 0.8}     # settings that suffice for that


def clip_config(**settings) -> ContrastiveConfig:
    """About 15,000 parameters; contexts of 12 tokens, so that no text is cut off."""
    clip = CLIPConfig(text=TextConfig(context_length=12, width=16, layers=1, heads=2, activation="gelu"),
                      image=ConvConfig(channels=(8, 16), norm_num_groups=4), embed_dim=16)
    defaults = {"batch_size": 6, "total_steps": 12, "warmup_steps": 4, "lr_schedule": "cosine", "shift": 1}
    return ContrastiveConfig.for_dataset(squares(), clip, tokenizer(), **{**defaults, **settings})


def clip_learner(**settings) -> ContrastiveLearner:
    """A CLIP at step 0."""
    return ContrastiveLearner(clip_config(**settings), squares(), tokenizer())


@functools.cache
def embedder() -> Embedder:
    """A CLIP that knows the six squares by heart (`test_contrastive` sees to it)."""
    learner = clip_learner(**BY_HEART)
    for _ in range(BY_HEART["total_steps"]):
        learner.step()
    return Embedder(learner.ema_model(), tokenizer())


def text_config(told: str, **settings) -> TrainConfig:
    """A U-Net that is told embeddings ("embedding") or captions ("caption") of the CLIP above."""
    size = {"embedding": {"context_features": 16}, "caption": {"cross_attention_dim": 16}}[told]
    unet = UNetConfig(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, **size)
    return TrainConfig.for_dataset(squares(), unet, **{"num_train_timesteps": 50, "batch_size": 6, "total_steps": 10, **settings})


def stripes(count, seed) -> Dataset:
    """Noisy images of 12 x 12 with dark rows (0), dark columns (1) or a dark middle (2)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    pattern = np.zeros((3, 12, 12))
    pattern[0, ::3] = pattern[1, :, ::3] = pattern[2, 3:9, 3:9] = 1
    images = 120 + 60 * pattern[labels] + random.normal(0, 30, (count, 12, 12))
    return Dataset(np.clip(images, 0, 255).astype(np.uint8)[:, None], labels, ("rows", "columns", "middle"))


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
