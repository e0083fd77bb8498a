"""`TrainConfig`: everything that decides what a training run computes, and nothing else.

Two runs with equal configurations, data and device give the same bits. Where files lie, how long to train and how often to
save are not in it. As JSON it is the `config.json` of a run folder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minidiff.data import Dataset
from minidiff.diffusion import BETA_SCHEDULES, PREDICTION_TYPES, Schedule, make_schedule
from minidiff.models import UNetConfig
from minidiff.training.optimizer import LR_SCHEDULES

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run. Everything is JSON: `to_json`, `from_json`.

    unet: the network. data: the name or path that `minidiff.data.load` was given; class_names: its classes, () if the model
    has none.
    beta_schedule, num_train_timesteps: see `diffusion.make_schedule`. prediction_type: "epsilon", "sample", "v_prediction".
    batch_size: images a step. learning_rate, warmup_steps, lr_schedule ("constant", "linear", "cosine"), total_steps: see
    `learning_rate_at`; total_steps is also how long to train when nothing else is said, None when that is not known.
    weight_decay, clip_norm (None: no clipping): see `AdamW`, `clip_grad_norm`. ema_decay: see `EMA`.
    context_dropout: probability in [0, 1] that a label is replaced by "no class", so that guidance is possible.
    flip: probability in [0, 1] that an image is mirrored left to right.
    seed: in [0, 2^32). dtype: of weights and arithmetic, "float32" or "float64".
    Raises ValueError for a value that does not exist or does not go with the others.
    """

    unet: UNetConfig
    data: str = "fashion-mnist-mini"
    class_names: tuple[str, ...] = ()
    beta_schedule: str = "linear"
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    lr_schedule: str = "constant"
    total_steps: int | None = None
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    ema_decay: float = 0.995
    context_dropout: float = 0.1
    flip: float = 0.0
    seed: int = 0
    dtype: str = "float32"

    @classmethod
    def for_dataset(cls, dataset: Dataset, unet: UNetConfig, **settings: Any) -> TrainConfig:
        """The configuration for a data set: image size, channels and classes of `unet` are taken from the data.

        settings: any other fields. Raises ValueError for images that are not square, or whose size the network cannot halve.
        """
        _, channels, height, width = dataset.images.shape
        if height != width:
            raise ValueError(f"the images are {height} x {width}; the network needs square ones: crop or pad them first")
        unet = dataclasses.replace(unet, sample_size=height, in_channels=channels, out_channels=channels,
                                   num_classes=len(dataset.class_names))
        return cls(unet=unet, class_names=tuple(dataset.class_names), **settings)

    def schedule(self) -> Schedule:
        """The forward process that is trained on."""
        return make_schedule(self.beta_schedule, self.num_train_timesteps)

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary of JSON values; `from_json` reads it back."""
        return _as_json(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> TrainConfig:
        """The configuration that `to_json` wrote. Raises ValueError that names unknown, missing and wrong settings."""
        settings = _known("settings", settings, cls)
        if "unet" not in settings:
            raise ValueError("TrainConfig: the settings lack unet, the network")
        try:
            unet = UNetConfig(**_known("unet settings", settings["unet"], UNetConfig))
        except TypeError as error:  # a list where a number belongs
            raise ValueError(f"TrainConfig: wrong kind of value in the unet settings ({error})") from None
        return cls(**{**settings, "unet": unet})

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if len(self.class_names) != (self.unet.num_classes or 0):
            raise ValueError(f"TrainConfig: {len(self.class_names)} class names, but the network has "
                             f"num_classes={self.unet.num_classes}")
        _check_choice("beta_schedule", self.beta_schedule, BETA_SCHEDULES)
        _check_choice("prediction_type", self.prediction_type, PREDICTION_TYPES)
        _check_choice("lr_schedule", self.lr_schedule, LR_SCHEDULES)
        _check_choice("dtype", self.dtype, DTYPES)
        _check_integer("num_train_timesteps", self.num_train_timesteps, 1)
        _check_integer("batch_size", self.batch_size, 1)
        _check_integer("warmup_steps", self.warmup_steps, 0)
        _check_integer("seed", self.seed, 0, 2**32 - 1)
        if self.total_steps is not None:
            _check_integer("total_steps", self.total_steps, 1)
        elif self.lr_schedule != "constant":
            raise ValueError(f"TrainConfig: lr_schedule={self.lr_schedule!r} falls to 0 at total_steps, which is not set; "
                             "set it, or choose 'constant'")
        _check_number("learning_rate", self.learning_rate, above=0)
        _check_number("weight_decay", self.weight_decay)
        if self.clip_norm is not None:
            _check_number("clip_norm", self.clip_norm, above=0)
        for name in ("ema_decay", "context_dropout", "flip"):
            _check_number(name, getattr(self, name), most=1)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _known(what: str, settings: Any, kind: type) -> dict[str, Any]:
    """The settings as a dictionary, if all of them are fields of the dataclass `kind`."""
    if not isinstance(settings, Mapping):
        raise ValueError(f"TrainConfig: expected the {what} as a JSON object, got {settings!r}")
    names = [field.name for field in dataclasses.fields(kind)]
    unknown = [name for name in settings if name not in names]
    if unknown:
        raise ValueError(f"TrainConfig: unknown {what}: {', '.join(map(str, unknown))}; known are {', '.join(names)}")
    return dict(settings)


def _check_choice(name: str, value: Any, choices: Any) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"TrainConfig: {name}={value!r}; expected one of {', '.join(choices)}")


def _check_integer(name: str, value: Any, least: int, most: float = math.inf) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        upper = "" if most == math.inf else f" and at most {most}"
        raise ValueError(f"TrainConfig: {name}={value!r}; expected a whole number of at least {least}{upper}")


def _check_number(name: str, value: Any, above: float | None = None, most: float = math.inf) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not (value >= 0 if above is None else value > above) or value > most:
        lower = "of at least 0" if above is None else f"above {above}"
        upper = "" if most == math.inf else f" and at most {most}"
        raise ValueError(f"TrainConfig: {name}={value!r}; expected a number {lower}{upper}")
