"""`Learner`: what every training has, whatever is learned: one step, and the state between two steps.

A step is a batch, a loss, its gradient, clipping, AdamW and the moving average. What differs, the loss, is in `trainer.py`
(diffusion) and `contrastive.py` (CLIP). Every random number comes from a generator whose state is part of the state of
the learner, or from a generator that is made anew from the seed and a number, so a run that is stopped anywhere and resumed
computes the same bits. Read `trainer.py` next.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff.data import Dataset
from minidiff.random import Generator
from minidiff.training.checkpoint import GROUPS, Checkpoint, CheckpointError, check_same_config, check_tensors
from minidiff.training.config import LearnerConfig
from minidiff.training.ema import EMA
from minidiff.training.flat import FlatParameters
from minidiff.training.optimizer import AdamW, clip_grad_norm, learning_rate_at

# Streams of random numbers, each Generator((seed, stream)); from 1, because (seed, 0) is seed itself
WEIGHTS, ORDER, CHOICES, NOISE, DROPOUT = 1, 2, 3, 4, 5


class Learner:
    """A network in training: `step()` after `step()`. Sub-classes say what the loss is (`_loss`).

    config: what to compute. dataset: the images; their size, channels and class names must be those of the configuration
    (ValueError otherwise). device: "cpu", "cuda" (DeviceError).
    Attributes: config, dataset, device, model (with the raw weights), step_count (steps done so far).
    """

    def __init__(self, config: LearnerConfig, dataset: Dataset, device: str = "cpu") -> None:
        check_fits(config, dataset)
        backend.keep_freed_memory()
        self.config, self.dataset, self.device = config, dataset, device
        self.model = config.network(Generator((config.seed, WEIGHTS))).to(device, config.dtype)
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
        self.model.train()
        loss = self._loss(self._indices(self.step_count))
        loss.backward()
        gradient = self.parameters.take_gradient()
        length = clip_grad_norm(gradient, math.inf if self.config.clip_norm is None else self.config.clip_norm)
        self.optimizer.step(gradient, self.learning_rate())
        self._settle()
        self.ema.update(self.step_count)
        return loss.data, length

    def _loss(self, indices: np.ndarray) -> Any:
        """The loss, a 0-d Tensor, of the model (in training mode) on the images with these indices."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Bring the parameters back to where they may be, after a step of the optimizer has moved them. Most may be anywhere."""

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

    def _images(self, indices: np.ndarray) -> np.ndarray:
        """The images (B, C, H, W) as a network takes them, on the host, some of them mirrored."""
        images = self.dataset.floats(indices)
        mirrored = self.generators["choices"].random(len(indices)) < self.config.flip
        images[mirrored] = images[mirrored, :, :, ::-1]
        return images

    def ema_model(self) -> nn.Module:
        """A copy of the model with the averaged weights, in evaluation mode: the one to use."""
        model = self.config.network(Generator(0)).to(self.device, self.config.dtype)
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
        """Continue where `state` was taken, on this learner's device. where: what error messages call the checkpoint.

        Raises CheckpointError, and changes nothing, for another configuration (the differing settings are named), or for
        tensors or generators that are not those of this learner.
        """
        check_same_config(where, self.config.to_json(), checkpoint.config)
        if not checkpoint.group("model"):
            raise CheckpointError(f"{where} was exported: it has the averaged weights only, which can be used but not trained further")
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


def check_fits(config: LearnerConfig, dataset: Dataset) -> None:
    """Raise ValueError for a data set that is not the one of the configuration: other images, or other classes."""
    expected, got = config.image_shape, dataset.images.shape[1:]
    if got != expected:
        raise ValueError(f"{type(config).__name__}: it is for images (channels, height, width) = {expected}, the data has {got}; "
                         "give the data it was made for, or make another configuration (for_dataset)")
    if config.class_names and tuple(dataset.class_names) != config.class_names:
        raise ValueError(f"{type(config).__name__}: it is for the classes {', '.join(config.class_names)}; "
                         f"the data has {', '.join(dataset.class_names)}")


def _check_generators(where: str, checkpoint: Checkpoint, generators: dict[str, Generator]) -> None:
    if checkpoint.generators.keys() != generators.keys():
        raise CheckpointError(f"{where} holds the generators {', '.join(checkpoint.generators)}, expected {', '.join(generators)}")
    for name, state in checkpoint.generators.items():
        try:
            Generator(0).set_state(state)
        except ValueError as error:
            raise CheckpointError(f"{where}: the state of the generator {name!r} is damaged ({error})") from None
