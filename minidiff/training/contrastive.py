"""`ContrastiveLearner`: a `Learner` that learns which sentence belongs to which picture: the training of a CLIP.

Read `condition.py` next: what a U-Net makes of it.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.data import Dataset, captions_of
from minidiff.models.clip import CLIP, CLIPConfig, ConvConfig, TextConfig, ViTConfig, clip_loss
from minidiff.models.tokenizer import Tokenizer
from minidiff.random import Generator
from minidiff.training.captions import Wording
from minidiff.training.condition import reads_words
from minidiff.training.config import LearnerConfig, square_images
from minidiff.training.embedder import TOKENIZER, Embedder, check_tokenizer, read_tokenizer
from minidiff.training.learner import Learner
from minidiff.training.run import Run, find_run, kind_of

ENCODER = "encoder"  # the folder of a CLIP, in that of a U-Net's run that is told what the CLIP makes of texts or pictures
SMALL = {"batch_size": 128, "weight_decay": 0.1, "ema_decay": 0.99}
"""Settings of `ContrastiveConfig` for a thousand pictures and more."""


def small_clip(image: str) -> CLIPConfig:
    """A CLIP for small pictures, of about a million parameters. image: "conv" or "vit". The rest comes from the data (`for_dataset`)."""
    text = TextConfig(context_length=24, width=128, layers=3, heads=4, activation="gelu")
    if image == "conv":
        return CLIPConfig(text=text, image=ConvConfig(channels=(16, 32, 64, 128)), embed_dim=128)
    patches = ViTConfig(image_size=32, patch_size=4, width=128, layers=4, heads=4, activation="gelu")
    return CLIPConfig(text=text, image=patches, embed_dim=128)


def train_tokenizer(dataset: Dataset, vocab_size: int) -> Tokenizer:
    """A vocabulary from all captions of a data set; smaller than vocab_size where no pair of tokens is left that occurs twice."""
    return Tokenizer.train([caption for captions in captions_of(dataset) for caption in captions], vocab_size)


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(LearnerConfig):
    """The settings of the training of a CLIP: those of `LearnerConfig`, and

    clip: the network. shift: pictures are moved by up to so many pixels in each direction, their edge repeated.
    Raises ValueError for a value that does not exist.
    """

    NETWORK = ("clip", CLIPConfig)

    clip: CLIPConfig
    shift: int = 2

    @classmethod
    def for_dataset(cls, dataset: Dataset, clip: CLIPConfig, tokenizer: Tokenizer, **settings: Any) -> ContrastiveConfig:
        """The configuration for a data set and a tokenizer: size and channels of the pictures are the data's, the vocabulary is the
        tokenizer's. settings: any other fields. Raises ValueError for images that are not square."""
        channels, size = square_images(dataset)
        text = dataclasses.replace(clip.text, vocab_size=len(tokenizer), eos_token_id=tokenizer.end)
        image = dataclasses.replace(clip.image, image_size=size, in_channels=channels)
        return cls(clip=dataclasses.replace(clip, text=text, image=image), **settings)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        image = self.clip.image
        return (image.in_channels, image.image_size, image.image_size)

    def network(self, generator: Generator) -> CLIP:
        """The CLIP, with fresh weights."""
        return CLIP(self.clip, generator=generator)

    @classmethod
    def _network_from_json(cls, settings: Any) -> CLIPConfig:
        return CLIPConfig.from_json(settings)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_integer("shift", 0, self.clip.image.image_size - 1)


class ContrastiveLearner(Learner):
    """A CLIP in training. tokenizer: the one of the configuration (ValueError for another).

    Has also: tokenizer; wording, the texts the pictures are shown with. The rest: see `Learner`.
    """

    config: ContrastiveConfig

    def __init__(self, config: ContrastiveConfig, dataset: Dataset, tokenizer: Tokenizer, device: str = "cpu") -> None:
        check_tokenizer(config.clip, tokenizer)
        super().__init__(config, dataset, device)
        self.tokenizer, self.wording = tokenizer, Wording(dataset)

    def _loss(self, indices: np.ndarray) -> Any:
        """`clip_loss` of a batch: the texts of the other pictures are the wrong answers."""
        images = shifted(self._images(indices), self.config.shift, self.generators["choices"])
        tokens = self.tokenizer(self.wording.draw(indices, self.generators["choices"]), self.config.clip.text.context_length)
        logits, _ = self.model(backend.asarray(images, self.device, self.config.dtype), tokens)
        return clip_loss(logits)

    def _settle(self) -> None:
        self.model.bound_temperature()


def shifted(images: np.ndarray, shift: int, choices: Generator) -> np.ndarray:
    """Each picture moved by up to `shift` pixels down or up, right or left, all moves equally likely; what comes in repeats the edge.

    images: (N, C, H, W). choices: on the host.
    """
    n, _, height, width = images.shape
    down, right = choices.integers(-shift, shift + 1, (2, n))
    rows = np.clip(np.arange(height) - down[:, None], 0, height - 1)
    columns = np.clip(np.arange(width) - right[:, None], 0, width - 1)
    return images[np.arange(n)[:, None, None, None], np.arange(images.shape[1])[:, None, None],
                  rows[:, None, :, None], columns[:, None, None, :]]


def create_clip_run(path: str | os.PathLike, config: ContrastiveConfig, tokenizer: Tokenizer) -> Run:
    """The new folder of a CLIP's run, with its tokenizer. Raises what `Run.create` raises."""
    return Run.create(path, config, lambda folder: tokenizer.save(folder / TOKENIZER))


def _open(path: str | os.PathLike) -> Run:
    """The run of a CLIP: in that folder, or in its sub-folder ENCODER."""
    path = find_run(path)
    if (path / ENCODER).is_dir():
        return Run.open(path / ENCODER, ContrastiveConfig)
    if path.is_dir() and kind_of(path) == "unet" and reads_words(Run.open(path).config.unet):
        raise FileNotFoundError(f"{path / ENCODER}: no such folder; it held the CLIP that tells this U-Net what to draw: take a copy of "
                                "it, if there is one, or train again")
    return Run.open(path, ContrastiveConfig)


def read_embedder(path: str | os.PathLike, device: str = "cpu") -> Embedder:
    """The CLIP in the folder of a run, ready for use; of the run of a U-Net, the CLIP that tells it what to draw.

    path: a folder, or the name of a pretrained model. Raises what `Run.open`, `Run.load_model` and `Tokenizer.load` raise, and
    FileNotFoundError for a U-Net that has lost its CLIP.
    """
    run = _open(path)
    return Embedder(run.load_model(device), read_tokenizer(run.path))


def export_clip(path: str | os.PathLike, to: str | os.PathLike, half: bool = False) -> Run:
    """`Run.export` of a CLIP, with its tokenizer. path: as for `read_embedder`."""
    run = _open(path)
    tokenizer = read_tokenizer(run.path)
    return run.export(to, half, lambda folder: tokenizer.save(folder / TOKENIZER))
