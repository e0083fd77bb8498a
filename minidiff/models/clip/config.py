"""`CLIPConfig`: what a CLIP is made of. The defaults are OpenAI's ViT-B/32. Read `transformer.py` next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class TextConfig:
    """The text encoder: a causal transformer.

    vocab_size: how many tokens there are. context_length: how many a text may have at most, the ends included.
    width: numbers for each token; layers, heads: of the transformer (heads divide the width); mlp_width: of the networks for each
    token, None for 4 width. activation: "quick_gelu" (OpenAI) or "gelu" (OpenCLIP, mostly).
    eos_token_id: the end-of-text token, at whose first place the text is read; None: the token with the largest id, OpenAI's rule.
    Raises ValueError for values that do not exist or do not go together.
    """

    vocab_size: int = 49408
    context_length: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8
    mlp_width: int | None = None
    activation: str = "quick_gelu"
    eos_token_id: int | None = 49407

    def __post_init__(self) -> None:
        _check_counts(self, "vocab_size", "context_length")
        _check_transformer(self)
        if self.eos_token_id is not None and not (_is_count(self.eos_token_id, 0) and self.eos_token_id < self.vocab_size):
            raise ValueError(f"TextConfig: eos_token_id={self.eos_token_id!r}; expected one of the tokens 0 to {self.vocab_size - 1} "
                             "(vocab_size - 1), or None: the largest id of each text")


@dataclass(frozen=True)
class ViTConfig:
    """The image encoder as a vision transformer: patches are its tokens (Dosovitskiy et al. 2021).

    image_size: height and width of the images. patch_size divides it. in_channels: 3 for colours. The others as in `TextConfig`.
    Raises ValueError for values that do not exist or do not go together.
    """

    image_size: int = 224
    patch_size: int = 32
    in_channels: int = 3
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int | None = None
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        _check_counts(self, "image_size", "patch_size", "in_channels")
        _check_transformer(self)
        if self.image_size % self.patch_size:
            raise ValueError(f"ViTConfig: images of {self.image_size} x {self.image_size} cannot be cut into patches of "
                             f"{self.patch_size} x {self.patch_size}")


@dataclass(frozen=True)
class ConvConfig:
    """The image encoder as a convolutional network, for small images and few of them.

    image_size: height and width of the images. in_channels: 1 for grey. channels: at each level; the resolution halves from level to
    level. norm_num_groups: groups of every norm; it divides the channels. Raises ValueError for values that do not go together.
    """

    image_size: int = 28
    in_channels: int = 1
    channels: tuple[int, ...] = (32, 64, 128)
    norm_num_groups: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.channels, (tuple, list)) or not self.channels or not all(_is_count(n, 1) for n in self.channels):
            raise ValueError(f"ConvConfig: channels={self.channels!r}; expected whole numbers of at least 1, one for each level")
        object.__setattr__(self, "channels", tuple(self.channels))
        _check_counts(self, "image_size", "in_channels", "norm_num_groups")
        wrong = [n for n in self.channels if n % self.norm_num_groups]
        if wrong:
            raise ValueError(f"ConvConfig: norm_num_groups={self.norm_num_groups} does not divide the channels {wrong}")
        if self.image_size < 2 ** (len(self.channels) - 1):
            raise ValueError(f"ConvConfig: images of {self.image_size} x {self.image_size} cannot be halved {len(self.channels) - 1} times")

    @property
    def width(self) -> int:
        """How many numbers the encoder gives for an image."""
        return self.channels[-1]


IMAGE_KINDS = {"vit": ViTConfig, "conv": ConvConfig}


@dataclass(frozen=True)
class CLIPConfig:
    """What a `CLIP` is made of. Everything is JSON: `to_json`, `from_json`.

    text, image: the encoders. embed_dim: numbers in the vectors that are compared.
    temperature: tau at the start; what is learned is log(1 / tau). max_scale: 1 / tau is at most this (`CLIP.bound_temperature`);
    OpenAI's numbers are 0.07 and 100 (Radford et al. 2021, Sec. 2.5).
    Raises ValueError for values that do not exist or do not go together.
    """

    text: TextConfig = field(default_factory=TextConfig)
    image: ViTConfig | ConvConfig = field(default_factory=ViTConfig)
    embed_dim: int = 512
    temperature: float = 0.07
    max_scale: float = 100.0

    def __post_init__(self) -> None:
        if not isinstance(self.text, TextConfig) or not isinstance(self.image, tuple(IMAGE_KINDS.values())):
            raise ValueError(f"CLIPConfig: text is a {type(self.text).__name__}, image a {type(self.image).__name__}; expected a "
                             "TextConfig and a ViTConfig or ConvConfig (CLIPConfig.from_json makes them of JSON)")
        _check_counts(self, "embed_dim")
        for name in ("temperature", "max_scale"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
                raise ValueError(f"CLIPConfig: {name}={value!r}; expected a finite number above 0")
        if self.max_scale * self.temperature < 1:
            raise ValueError(f"CLIPConfig: temperature={self.temperature} starts at the scale {1 / self.temperature:g}, above "
                             f"max_scale={self.max_scale}")

    def to_json(self) -> dict[str, Any]:
        """The settings as a dictionary of JSON values; image has its kind, "vit" or "conv", among them."""
        settings = asdict(self)
        (kind,) = (kind for kind, config in IMAGE_KINDS.items() if isinstance(self.image, config))
        image = {name: list(value) if isinstance(value, tuple) else value for name, value in settings["image"].items()}
        return {**settings, "image": {"kind": kind, **image}}

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> CLIPConfig:
        """The configuration that `to_json` wrote. Raises ValueError that names unknown and wrong settings."""
        settings = _known("settings", settings, cls)
        if "text" in settings:
            settings["text"] = TextConfig(**_known("text settings", settings["text"], TextConfig))
        if "image" in settings:
            image = settings["image"]
            kind = image.get("kind") if isinstance(image, Mapping) else image
            if not isinstance(kind, str) or kind not in IMAGE_KINDS:
                raise ValueError(f"CLIPConfig: an image encoder of kind {kind!r}; expected one of {', '.join(IMAGE_KINDS)}")
            image = {name: value for name, value in image.items() if name != "kind"}
            settings["image"] = IMAGE_KINDS[kind](**_known("image settings", image, IMAGE_KINDS[kind]))
        return cls(**settings)


def _known(what: str, settings: Any, kind: type) -> dict[str, Any]:
    """The settings as a dictionary, if all of them are fields of the dataclass `kind`."""
    if not isinstance(settings, Mapping):
        raise ValueError(f"CLIPConfig: expected the {what} as a JSON object, got {settings!r}")
    names = [each.name for each in fields(kind)]
    unknown = [name for name in settings if name not in names]
    if unknown:
        raise ValueError(f"CLIPConfig: unknown {what}: {', '.join(map(str, unknown))}; known are {', '.join(names)}")
    return dict(settings)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_counts(config: Any, *names: str) -> None:
    for name in names:
        if not _is_count(getattr(config, name), 1):
            raise ValueError(f"{type(config).__name__}: {name}={getattr(config, name)!r}; expected a whole number of at least 1")


def _check_transformer(config: TextConfig | ViTConfig) -> None:
    """The settings that both transformers have; mlp_width None becomes 4 width."""
    _check_counts(config, "width", "layers", "heads")
    if config.mlp_width is None:
        object.__setattr__(config, "mlp_width", 4 * config.width)
    _check_counts(config, "mlp_width")
    kind = type(config).__name__
    if config.width % config.heads:
        raise ValueError(f"{kind}: a width of {config.width} does not divide into {config.heads} heads")
    if config.activation not in ACTIVATIONS:
        raise ValueError(f"{kind}: activation={config.activation!r}; expected one of {', '.join(ACTIVATIONS)}")
