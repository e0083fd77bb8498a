"""The two layouts in which CLIPs travel: how each names the weights, what its configuration means, and how other files are told apart.

    transformers'     the names of `CLIPModel`, which are minidiff's; a config.json beside the weights, in its words
    OpenAI's          the names of OpenAI's code, also OpenCLIP's; the three projections of attention in one, the last two projections
                      transposed; no configuration: sizes follow from shapes

Read `files.py` next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .config import CLIPConfig, TextConfig, ViTConfig

HEAD_WIDTH = 64
"""Of every CLIP that OpenAI has published: where no configuration says how many heads there are, there are width / 64."""


@dataclass(frozen=True)
class Place:
    """Where a file has the values of a parameter: the tensor `name`, or of its rows third number `third`, transposed or not."""

    name: str
    third: int | None = None
    transposed: bool = False

    def shape(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The parameter's shape, from those of the file's tensors."""
        shape = shapes[self.name]
        if self.third is not None and shape and shape[0] % 3 == 0:
            shape = (shape[0] // 3, *shape[1:])
        return shape[::-1] if self.transposed else shape


@dataclass(frozen=True)
class Layout:
    """A way to name the weights. place: parameter -> `Place`. has: names that only its files have. ignored: buffers without weights."""

    owner: str
    place: Callable[[str], Place]
    has: tuple[str, ...]
    ignored: re.Pattern[str]


# -- names -----------------------------------------------------------------------------------------------------------

_OPENAI = {
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.encoder.layers": "transformer.resblocks",
    "text_model.final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "vision_model.post_layernorm": "visual.ln_post",
    "visual_projection.weight": "visual.proj",
    ".self_attn.": ".attn.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}
_THIRDS = {".q_proj.": 0, ".k_proj.": 1, ".v_proj.": 2}


def _openai_place(parameter: str) -> Place:
    name = parameter
    for ours, theirs in _OPENAI.items():
        name = name.replace(ours, theirs)
    for projection, third in _THIRDS.items():
        if projection in name:
            return Place(name.replace(projection, ".in_proj_"), third=third)
    return Place(name, transposed=parameter in ("text_projection.weight", "visual_projection.weight"))


TRANSFORMERS = Layout("transformers", Place, has=("text_model.embeddings.token_embedding.weight", "visual_projection.weight"),
                      ignored=re.compile(r".*\.position_ids"))
OPENAI = Layout("OpenAI", _openai_place, has=("token_embedding.weight", "visual.proj"),
                ignored=re.compile(r"input_resolution|context_length|vocab_size|attn_mask"))

_FOREIGN = {  # what a name begins with or is, and whose it is
    r"visual\.attnpool\.": "an OpenAI CLIP with a ResNet for the images; give one with a vision transformer (ViT)",
    r"visual\.trunk\.|text\.": "an OpenCLIP in its newer layout (visual.trunk, text.); only the layout of OpenAI's code is read",
    r"logit_bias$|vision_model\.head\.": "a SigLIP, which has another loss and other encoders",
    r"(.*\.)?embeddings\.word_embeddings\.": "a BERT or another text encoder of its kind",
    r"(.*\.)?(down_blocks|input_blocks)\.": "a U-Net of a diffusion model, or holds one",
    r"(.*\.)?lora_|.*\.lora_": "changes for a model (LoRA), not a model",
    r"(model|ema)\.(conv_in|text_model|vision_model)\.": "a checkpoint of a training run",
}
_TOWERS = {
    r"(text_model\.)?embeddings\.token_embedding\.|token_embedding\.": "text",
    r"(vision_model\.)?embeddings\.patch_embedding\.|visual\.conv1\.": "image",
}


def recognized(names: Collection[str]) -> Layout:
    """Whose layout these names are of. Raises ValueError that says what else they are."""
    for layout in (TRANSFORMERS, OPENAI):
        if all(name in names for name in layout.has):
            return layout
    for pattern, what in _FOREIGN.items():
        if any(re.match(pattern, name) for name in names):
            raise ValueError(f"is {what}")
    towers = [tower for pattern, tower in _TOWERS.items() if any(re.match(pattern, name) for name in names)]
    if len(towers) == 1:
        raise ValueError(f"is the {towers[0]} encoder of a CLIP alone; give the file that has both encoders")
    shown = ", ".join(sorted(names)[:4]) or "none"
    raise ValueError(f"is no CLIP in transformers' or OpenAI's layout; its first names are {shown}, and those of a CLIP begin with "
                     "text_model. and vision_model., or with transformer. and visual.")


# -- configurations --------------------------------------------------------------------------------------------------


def config_from_shapes(layout: Layout, shapes: Mapping[str, tuple[int, ...]]) -> CLIPConfig:
    """The configuration of a file that has none: sizes from its shapes, and what shapes do not tell as in OpenAI's CLIPs.

    That is: heads 64 wide, quick_gelu, the end of text at the largest id. Raises KeyError with the name of a tensor that is missing,
    ValueError for shapes that are not those of a CLIP with a vision transformer.
    """
    def shape(parameter: str, dimensions: int) -> tuple[int, ...]:
        place = layout.place(parameter)
        found = shapes[place.name]
        if len(found) != dimensions:
            raise ValueError(f"{place.name} has shape {found}, expected {dimensions} dimensions")
        return place.shape(shapes)

    def transformer(model: str, width: int) -> dict[str, int]:
        if width % HEAD_WIDTH:
            raise ValueError(f"{model} is {width} wide, which is no multiple of {HEAD_WIDTH}: how many heads it has cannot be told; "
                             "put its config.json beside the file, or give config=CLIPConfig(...)")
        layers = 0
        while layout.place(f"{model}.encoder.layers.{layers}.mlp.fc1.weight").name in shapes:
            layers += 1
        return {"width": width, "layers": layers, "heads": width // HEAD_WIDTH,
                "mlp_width": shape(f"{model}.encoder.layers.0.mlp.fc1.weight", 2)[0]}

    vocab_size, text_width = shape("text_model.embeddings.token_embedding.weight", 2)
    image_width, in_channels, patch_size, _ = shape("vision_model.embeddings.patch_embedding.weight", 4)
    places, _ = shape("vision_model.embeddings.position_embedding.weight", 2)
    return CLIPConfig(
        TextConfig(vocab_size, shape("text_model.embeddings.position_embedding.weight", 2)[0], **transformer("text_model", text_width),
                   eos_token_id=None),
        ViTConfig(patch_size * round((places - 1) ** 0.5), patch_size, in_channels, **transformer("vision_model", image_width)),
        embed_dim=shape("text_projection.weight", 2)[0])


_SIZES = {"hidden_size": "width", "num_hidden_layers": "layers", "num_attention_heads": "heads", "intermediate_size": "mlp_width",
          "hidden_act": "activation"}
_TEXT = {**_SIZES, "vocab_size": "vocab_size", "max_position_embeddings": "context_length", "eos_token_id": "eos_token_id"}
_IMAGE = {**_SIZES, "image_size": "image_size", "patch_size": "patch_size", "num_channels": "in_channels"}
_FIXED = {"layer_norm_eps": 1e-5, "attention_dropout": 0.0, "dropout": 0.0}
_LEFT_OUT = {  # what transformers' configurations mean where they do not say it: ViT-B/32
    "text": {"intermediate_size": 2048},
    "vision": {"intermediate_size": 3072},
}


def config_from_transformers(settings: Any) -> CLIPConfig:
    """The configuration that a config.json of transformers' `CLIPModel` stands for; what it leaves out has transformers' defaults.

    eos_token_id = 2 stands for None (`text.end_of_text`). Raises ValueError that names what is no CLIP's or is not offered.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"expected a JSON object, got a {type(settings).__name__}")
    kind = settings.get("model_type", "clip")
    if kind != "clip":
        raise ValueError(f"is of a model of type {kind!r}, not of a clip")
    text, vision = (_part(settings, part) for part in ("text", "vision"))
    text = {name: text[theirs] for theirs, name in _TEXT.items() if theirs in text}
    vision = {name: vision[theirs] for theirs, name in _IMAGE.items() if theirs in vision}
    if text.get("eos_token_id") == 2:
        text["eos_token_id"] = None
    for name in ("image_size", "patch_size"):
        sides = vision.get(name)
        if isinstance(sides, list) and len(sides) == 2 and sides[0] == sides[1]:
            vision[name] = sides[0]
    return CLIPConfig(TextConfig(**text), ViTConfig(**vision), embed_dim=settings.get("projection_dim", 512))


def _part(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The settings of one encoder; old files have them twice, and then `..._config_dict` is the one that counts, as in transformers."""
    given = settings.get(f"{part}_config_dict")
    given = settings.get(f"{part}_config") if given is None else given
    if not isinstance(given, Mapping | None):
        raise ValueError(f"{part}_config is a {type(given).__name__}, expected a JSON object")
    given = {**_LEFT_OUT[part], **(given or {})}
    for name, value in _FIXED.items():
        if given.get(name, value) != value:
            raise ValueError(f"{part}_config: {name}={given[name]!r} is not offered, only {value!r}")
    return given
