"""`LearnerConfig`, `TrainConfig`: everything that decides what a training run computes, and nothing else.

Two runs with equal configurations, data and device give the same bits. Where files lie, how long to train and how often to
save are not in it. As JSON it is the `config.json` of a run folder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from minidiff.data import Dataset
from minidiff.diffusion import BETA_SCHEDULES, PREDICTION_TYPES, Schedule, make_schedule
from minidiff.models import UNet, UNetConfig
from minidiff.nn import Module
from minidiff.random import Generator
from minidiff.training.optimizer import LR_SCHEDULES

DTYPES = ("float32", "float64")
MADE_BY = {"unet": "minidiff train", "clip": "minidiff clip train", "prior": "minidiff clip prior"}
"""The command that makes a run, by its network."""


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """The settings that every training has. Everything is JSON: `to_json`, `from_json`. Sub-classes add the network (NETWORK).

    data: the name or path that `minidiff.data.load` was given; class_names: its classes, () if the model does not know them.
    batch_size: images a step. learning_rate, warmup_steps, lr_schedule ("constant", "linear", "cosine"), total_steps: see
    `learning_rate_at`; total_steps is also how long to train when nothing else is said, None when that is not known.
    weight_decay, clip_norm (None: no clipping): see `AdamW`, `clip_grad_norm`. ema_decay: see `EMA`.
    flip: probability in [0, 1] that an image is mirrored left to right.
    seed: in [0, 2^32). dtype: of weights and arithmetic, "float32" or "float64".
    Raises ValueError for a value that does not exist or does not go with the others.
    """

    NETWORK: ClassVar[tuple[str, type]]  # the field with the settings of the network, and their class

    data: str = "fashion-mnist-mini"
    class_names: tuple[str, ...] = ()
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    lr_schedule: str = "constant"
    total_steps: int | None = None
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    ema_decay: float = 0.995
    flip: float = 0.0
    seed: int = 0
    dtype: str = "float32"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        raise NotImplementedError

    def network(self, generator: Generator) -> Module:
        """The network, with fresh weights."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary of JSON values; `from_json` reads it back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return _as_json({**fields, self.NETWORK[0]: getattr(self, self.NETWORK[0]).to_json()})

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> LearnerConfig:
        """The configuration that `to_json` wrote. Raises ValueError that names unknown, missing and wrong settings."""
        name = cls.NETWORK[0]
        settings = cls._known("settings", settings, cls)
        if name not in settings:
            raise ValueError(f"{cls.__name__}: the settings lack {name}, the network")
        try:
            network = cls._network_from_json(settings[name])
        except (TypeError, ArithmeticError) as error:  # a list or a 0 where a number belongs
            raise ValueError(f"{cls.__name__}: wrong kind of value in the {name} settings ({error})") from None
        return cls(**{**settings, name: network})

    @classmethod
    def _network_from_json(cls, settings: Any) -> Any:
        name, kind = cls.NETWORK
        settings = cls._known(f"{name} settings", settings, kind)
        for field in dataclasses.fields(kind):
            if field.name in settings and not any(_is_a(of, settings[field.name]) for of in str(field.type).split(" | ")):
                raise ValueError(f"{cls.__name__}: wrong kind of value in the {name} settings: {field.name}={settings[field.name]!r:.80}; "
                                 f"expected {field.type}")
        return kind(**settings)

    @classmethod
    def _known(cls, what: str, settings: Any, kind: type) -> dict[str, Any]:
        """The settings as a dictionary, if all of them are fields of the dataclass `kind`."""
        if not isinstance(settings, Mapping):
            raise ValueError(f"{cls.__name__}: expected the {what} as a JSON object, got {settings!r}")
        names = [field.name for field in dataclasses.fields(kind)]
        unknown = [name for name in settings if name not in names]
        if unknown:
            raise ValueError(f"{cls.__name__}: unknown {what}: {', '.join(map(str, unknown))}; known are {', '.join(names)}")
        return dict(settings)

    def __post_init__(self) -> None:
        if not isinstance(self.class_names, (tuple, list)) or not all(isinstance(name, str) for name in self.class_names):
            raise ValueError(f"{type(self).__name__}: class_names={self.class_names!r:.80}; expected a list of strings")
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if not isinstance(self.data, str):
            raise ValueError(f"{type(self).__name__}: data={self.data!r:.80}; expected a name or a path, a string")
        self._check_choice("lr_schedule", LR_SCHEDULES)
        self._check_choice("dtype", DTYPES)
        self._check_integer("batch_size", 1)
        self._check_integer("warmup_steps", 0)
        self._check_integer("seed", 0, 2**32 - 1)
        if self.total_steps is not None:
            self._check_integer("total_steps", 1)
        elif self.lr_schedule != "constant":
            raise ValueError(f"{type(self).__name__}: lr_schedule={self.lr_schedule!r} falls to 0 at total_steps, which is not set; "
                             "set it, or choose 'constant'")
        self._check_number("learning_rate", above=0)
        self._check_number("weight_decay")
        if self.clip_norm is not None:
            self._check_number("clip_norm", above=0)
        for name in ("ema_decay", "flip"):
            self._check_number(name, most=1)

    def _check_choice(self, name: str, choices: Any) -> None:
        value = getattr(self, name)
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{type(self).__name__}: {name}={value!r}; expected one of {', '.join(choices)}")

    def _check_integer(self, name: str, least: int, most: float = math.inf) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            upper = "" if most == math.inf else f" and at most {most}"
            raise ValueError(f"{type(self).__name__}: {name}={value!r}; expected a whole number of at least {least}{upper}")

    def _check_number(self, name: str, above: float | None = None, most: float = math.inf) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not (value >= 0 if above is None else value > above) or value > most:
            lower = "of at least 0" if above is None else f"above {above}"
            upper = "" if most == math.inf else f" and at most {most}"
            raise ValueError(f"{type(self).__name__}: {name}={value!r}; expected a number {lower}{upper}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LearnerConfig):
    """The settings of the training of a diffusion model: those of `LearnerConfig`, and

    unet: the network; what it can be told (classes, embeddings, captions) is what training tells it. class_names: () without classes.
    beta_schedule, num_train_timesteps: see `diffusion.make_schedule`. prediction_type: "epsilon", "sample", "v_prediction".
    context_dropout: probability in [0, 1] that the condition of an image is replaced by "none", so that guidance is possible.
    """

    NETWORK = ("unet", UNetConfig)

    unet: UNetConfig
    beta_schedule: str = "linear"
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    context_dropout: float = 0.1

    @classmethod
    def for_dataset(cls, dataset: Dataset, unet: UNetConfig, **settings: Any) -> TrainConfig:
        """The configuration for a data set: image size, channels and classes of `unet` are taken from the data.

        A `unet` that is told embeddings (context_features) or captions (cross_attention_dim) is not told classes. settings: any
        other fields. Raises ValueError for images that are not square, or whose size the network cannot halve.
        """
        channels, size = square_images(dataset)
        told_classes = unet.context_features is None and unet.cross_attention_dim is None
        class_names = tuple(dataset.class_names) if told_classes else ()
        unet = dataclasses.replace(unet, sample_size=size, in_channels=channels, out_channels=channels,
                                   num_classes=len(class_names) if told_classes else None)
        return cls(unet=unet, class_names=class_names, **settings)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return (self.unet.in_channels, self.unet.sample_size, self.unet.sample_size)

    def network(self, generator: Generator) -> UNet:
        """The U-Net, with fresh weights."""
        return UNet(self.unet, generator=generator)

    def schedule(self) -> Schedule:
        """The forward process that is trained on."""
        return make_schedule(self.beta_schedule, self.num_train_timesteps)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.class_names) != (self.unet.num_classes or 0):
            raise ValueError(f"TrainConfig: {len(self.class_names)} class names, but the network has "
                             f"num_classes={self.unet.num_classes}")
        self._check_choice("beta_schedule", BETA_SCHEDULES)
        self._check_choice("prediction_type", PREDICTION_TYPES)
        self._check_integer("num_train_timesteps", 1)
        self._check_number("context_dropout", most=1)


def square_images(dataset: Dataset) -> tuple[int, int]:
    """(channels, side) of the images of a data set. Raises ValueError for images that are not square."""
    _, channels, height, width = dataset.images.shape
    if height != width:
        raise ValueError(f"the images are {height} x {width}; the network needs square ones: crop or pad them first")
    return channels, height


def _is_a(kind: str, value: Any) -> bool:
    """Whether a JSON value is what the type of a field says: one of the kinds of which networks' settings are. Any other kind is not known
    here, and so is left to the network."""
    if kind in ("int", "float"):
        return isinstance(value, (int,) if kind == "int" else (int, float)) and not isinstance(value, bool)
    if kind == "tuple[int, ...]":
        return isinstance(value, (list, tuple)) and all(_is_a("int", part) for part in value)
    return {"str": isinstance(value, str), "bool": isinstance(value, bool), "None": value is None}.get(kind, True)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    return list(value) if isinstance(value, tuple) else value
