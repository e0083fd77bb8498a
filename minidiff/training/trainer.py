"""`Trainer`: one step of training, and the state between two steps.

The step is Algorithm 1 of Ho et al. 2020 with classes that are dropped now and then (Ho & Salimans 2022, Algorithm 1); around
it stand clipping, AdamW and the moving average. Every random number comes from a generator whose state is part of the state
of the trainer, or from a generator that is made anew from the seed and a number, so a run that is stopped anywhere and resumed
computes the same bits. Read `checkpoint.py` next.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff.data import Dataset
from minidiff.diffusion import bernoulli_drop, simple_loss
from minidiff.models import UNet
from minidiff.random import Generator
from minidiff.training.checkpoint import GROUPS, Checkpoint, CheckpointError, check_same_config, check_tensors
from minidiff.training.config import TrainConfig
from minidiff.training.ema import EMA
from minidiff.training.flat import FlatParameters
from minidiff.training.optimizer import AdamW, clip_grad_norm, learning_rate_at

# Streams of random numbers, each Generator((seed, stream)); from 1, because (seed, 0) is seed itself
WEIGHTS, ORDER, CHOICES, NOISE, DROPOUT = 1, 2, 3, 4, 5


class Trainer:
    """A model in training: `step()` after `step()`.

    config: what to compute. dataset: the images; their size, channels and class names must be those of the configuration
    (ValueError otherwise). device: "cpu", "cuda" (DeviceError).
    Attributes: config, dataset, device, schedule, model (the UNet with the raw weights), step_count (steps done so far).
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, device: str = "cpu") -> None:
        _check_fits(config, dataset)
        backend.keep_freed_memory()
        self.config, self.dataset, self.device = config, dataset, device
        self.schedule = config.schedule()
        self.model = UNet(config.unet, generator=Generator((config.seed, WEIGHTS))).to(device, config.dtype)
        self.parameters = FlatParameters(self.model)
        self.optimizer = AdamW(self.parameters, config.learning_rate, weight_decay=config.weight_decay)
        self.ema = EMA(self.parameters, config.ema_decay)
        self.generators = {
            "choices": Generator((config.seed, CHOICES)),            # on the host, as times, labels and images are
            "noise": Generator((config.seed, NOISE), device),
            "dropout": Generator((config.seed, DROPOUT), device),
        }
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.generator = self.generators["dropout"]
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))  # (epoch, its permutation)

    @property
    def step_count(self) -> int:
        """How many steps have been done."""
        return self.optimizer.step_count

    @property
    def steps_per_epoch(self) -> float:
        """How many steps it takes to see every image once."""
        return len(self.dataset) / self.config.batch_size

    @property
    def epoch(self) -> int:
        """How many times every image has been seen."""
        return self.step_count * self.config.batch_size // len(self.dataset)

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        c = self.config
        return learning_rate_at(self.step_count + 1, c.learning_rate, c.warmup_steps, c.lr_schedule, c.total_steps)

    def step(self) -> tuple[Any, Any]:
        """Take one step. Returns (loss, length of the gradient before clipping), 0-d arrays on the device.

        Nothing in it waits for a GPU; float() of a result does.
        """
        x_start, labels = self._batch(self._indices(self.step_count))
        t = self.generators["choices"].integers(0, self.schedule.num_train_timesteps, len(x_start))
        noise = self.generators["noise"].standard_normal(x_start.shape, self.config.dtype)
        self.model.train()
        loss = simple_loss(lambda x, t: self.model(x, t, labels), self.schedule, x_start, t, noise, self.config.prediction_type)
        loss.backward()
        gradient = self.parameters.take_gradient()
        length = clip_grad_norm(gradient, math.inf if self.config.clip_norm is None else self.config.clip_norm)
        self.optimizer.step(gradient, self.learning_rate())
        self.ema.update(self.step_count)
        return loss.data, length

    def _indices(self, step: int) -> np.ndarray:
        """Which images step number `step` (from 0) sees: the next batch_size ones of all epochs' orders, end to end.

        So every epoch shows every image once, also where an epoch ends within a batch.
        """
        n, size = len(self.dataset), self.config.batch_size
        places = np.arange(step * size, (step + 1) * size)
        return np.concatenate([self._permutation(int(epoch))[places[places // n == epoch] % n] for epoch in np.unique(places // n)])

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            self._order = (epoch, Generator((self.config.seed, ORDER, epoch + 1)).permutation(len(self.dataset)))
        return self._order[1]

    def _batch(self, indices: np.ndarray) -> tuple[Any, np.ndarray | None]:
        """Images (B, C, H, W) on the device, some mirrored, and their labels on the host, some dropped; None without classes."""
        choices = self.generators["choices"]
        images = self.dataset.floats(indices)
        mirrored = choices.random(len(indices)) < self.config.flip
        images[mirrored] = images[mirrored, :, :, ::-1]
        x_start = backend.asarray(images, self.device, self.config.dtype)
        if self.config.unet.num_classes is None:
            return x_start, None
        labels = self.dataset.labels[indices]
        return x_start, bernoulli_drop(labels, self.config.unet.null_label, self.config.context_dropout, choices)

    def ema_model(self) -> UNet:
        """A copy of the model with the averaged weights, in evaluation mode: what to sample with."""
        model = UNet(self.config.unet, generator=Generator(0)).to(self.device, self.config.dtype)
        model.load_state_dict(self.parameters.views(self.ema.data))
        return model.eval()

    def _flat_groups(self) -> dict[str, Any]:
        values = (self.parameters.data, self.ema.data, self.optimizer.first_moment, self.optimizer.second_moment)
        return dict(zip(GROUPS, values))

    def state(self) -> Checkpoint:
        """Everything that the next step depends on, and the averaged weights: copies, on the host."""
        tensors = {}
        for group, flat in self._flat_groups().items():
            views = self.parameters.views(np.array(backend.to_numpy(flat)))
            tensors.update({f"{group}.{name}": view for name, view in views.items()})
        generators = {name: generator.get_state() for name, generator in self.generators.items()}
        return Checkpoint(self.step_count, self.config.to_json(), generators, tensors)

    def load_state(self, checkpoint: Checkpoint, where: str = "the checkpoint") -> None:
        """Continue where `state` was taken, on this trainer's device. where: what error messages call the checkpoint.

        Raises CheckpointError, and changes nothing, for another configuration (the differing settings are named), or for
        tensors or generators that are not those of this trainer.
        """
        check_same_config(where, self.config.to_json(), checkpoint.config)
        groups = self._flat_groups()
        shapes = {f"{group}.{name}": shape for group in groups for name, shape in zip(self.parameters.names, self.parameters.shapes)}
        check_tensors(where, checkpoint.tensors, shapes, np.dtype(self.config.dtype))
        _check_generators(where, checkpoint, self.generators)
        for group, flat in groups.items():
            values = checkpoint.group(group)
            joined = np.concatenate([values[name].reshape(-1) for name in self.parameters.names])
            flat[...] = backend.asarray(joined, self.device)
        for name, generator in self.generators.items():
            generator.set_state(checkpoint.generators[name])
        self.optimizer.step_count = checkpoint.step


def _check_fits(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse a data set that is not the one of the configuration."""
    unet = config.unet
    expected, got = (unet.in_channels, unet.sample_size, unet.sample_size), dataset.images.shape[1:]
    if got != expected:
        raise ValueError(f"Trainer: the configuration is for images (channels, height, width) = {expected}, the data has {got}; "
                         "give the data it was made for, or make another configuration (TrainConfig.for_dataset)")
    if unet.num_classes is not None and tuple(dataset.class_names) != config.class_names:
        raise ValueError(f"Trainer: the configuration is for the classes {', '.join(config.class_names)}; "
                         f"the data has {', '.join(dataset.class_names)}")


def _check_generators(where: str, checkpoint: Checkpoint, generators: dict[str, Generator]) -> None:
    if checkpoint.generators.keys() != generators.keys():
        raise CheckpointError(f"{where} holds the generators {', '.join(checkpoint.generators)}, expected {', '.join(generators)}")
    for name, state in checkpoint.generators.items():
        try:
            Generator(0).set_state(state)
        except ValueError as error:
            raise CheckpointError(f"{where}: the state of the generator {name!r} is damaged ({error})") from None
