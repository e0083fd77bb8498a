"""transformers as an implementation: the pieces of its CLIP, its activations and its learning rates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch.func import functional_call
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig
from transformers.activations import ACT2FN
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer, CLIPTextEmbeddings, CLIPVisionEmbeddings

from minidiff.verify.adapters.common import called, learning_rates, refuse
from minidiff.verify.adapters.torch import Torch

LIBRARY = "transformers"


def text_config(**options: Any) -> CLIPTextConfig:
    """A configuration whose attention is the one written out in its file."""
    config = CLIPTextConfig(**options)
    config._attn_implementation = "eager"
    return config


def activation(name: str):
    """The operation of an activation by its name there."""
    return lambda inputs, settings: ACT2FN[name](inputs["input"])


def gelu(inputs, settings):
    """`gelu`, or `gelu_pytorch_tanh`."""
    return ACT2FN[{"none": "gelu", "tanh": "gelu_pytorch_tanh"}[settings["approximate"]]](inputs["input"])


def causal_mask(x: torch.Tensor) -> torch.Tensor:
    """Added to the scores: no token sees those after it."""
    return x.new_full((x.shape[1], x.shape[1]), -torch.inf).triu(1)


def transformer_encoder_layer(inputs, settings):
    """`CLIPEncoderLayer`."""
    refuse(LIBRARY, {"CLIP with its norms after the attention": not settings["norm_first"]})
    x = inputs["hidden_states"]
    config = text_config(hidden_size=x.shape[-1], intermediate_size=len(inputs["mlp.fc1.bias"]), hidden_act=settings["hidden_act"],
                         num_attention_heads=settings["num_attention_heads"], layer_norm_eps=settings["layer_norm_eps"])
    return called(CLIPEncoderLayer(config), inputs, x, causal_mask(x) if settings["is_causal"] else None)


def cross_attention(inputs, settings):
    """`CLIPAttention`, which attends to itself."""
    x = inputs["hidden_states"]
    refuse(LIBRARY, {"attention to a context in CLIP": "encoder_hidden_states" in inputs, "CLIP without biases": "to_q.bias" not in inputs})
    names = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out.0"}
    parameters = {f"{own}.{kind}": inputs[f"{name}.{kind}"] for own, name in names.items() for kind in ("weight", "bias")}
    module = CLIPAttention(text_config(hidden_size=x.shape[-1], num_attention_heads=settings["heads"]))
    return called(module, parameters, x, causal_mask(x) if settings["is_causal"] else None)[0]


def token_position_embedding(inputs, settings):
    """`CLIPTextEmbeddings`."""
    (tokens, width), positions = inputs["token_embedding.weight"].shape, len(inputs["position_embedding.weight"])
    config = text_config(hidden_size=width, num_attention_heads=1, vocab_size=tokens, max_position_embeddings=positions)
    return called(CLIPTextEmbeddings(config), inputs, inputs["input_ids"])


def patch_position_embedding(inputs, settings):
    """`CLIPVisionEmbeddings`."""
    x, patch = inputs["pixel_values"], inputs["patch_embedding.weight"]
    refuse(LIBRARY, {"CLIP for pictures that are not square": x.shape[2] != x.shape[3]})
    config = CLIPVisionConfig(hidden_size=len(patch), num_channels=x.shape[1], image_size=x.shape[2], patch_size=patch.shape[2])
    return called(CLIPVisionEmbeddings(config), inputs, x)


def clip_pooling(inputs, settings):
    """The text model with nothing before its pooling. In its words eos_token_id = 2 stands for the largest id (its #24773)."""
    width = inputs["last_hidden_state"].shape[-1]
    given = settings["eos_token_id"]
    model = CLIPTextModel(text_config(hidden_size=width, intermediate_size=width, num_hidden_layers=1, num_attention_heads=1, vocab_size=2,
                                      eos_token_id=2 if given is None else given))
    model.embeddings = as_module(lambda **told: inputs["last_hidden_state"])
    model.encoder = as_module(lambda **told: SimpleNamespace(last_hidden_state=inputs["last_hidden_state"]))
    model.final_layer_norm = torch.nn.Identity()
    return model(inputs["input_ids"]).pooler_output


def as_module(function) -> torch.nn.Module:
    """A module that is this function."""
    module = torch.nn.Module()
    module.forward = function
    return module


def clip_model(image_embeds: torch.Tensor, text_embeds: torch.Tensor, parameters: dict[str, Any]) -> Any:
    """What `CLIPModel` gives for these projected pictures and texts."""
    tiny = {"hidden_size": 1, "intermediate_size": 1, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = CLIPModel(CLIPConfig(text_config={**tiny, "vocab_size": 2}, vision_config=tiny, projection_dim=1)).eval()
    model.get_image_features = lambda **told: SimpleNamespace(pooler_output=image_embeds)
    model.get_text_features = lambda **told: SimpleNamespace(pooler_output=text_embeds)
    return functional_call(model, parameters, (), {"return_loss": len(image_embeds) == len(text_embeds)})


def clip_projection(inputs, settings):
    """Its projection, a linear layer, is `torch.nn`'s; the length is taken away by the whole model."""
    projected = torch.nn.functional.linear(inputs["pooled"], inputs["projection.weight"])
    return clip_model(projected, projected, {}).text_embeds


def clip_of(inputs):
    """What `CLIPModel` gives for the pictures and texts of a case."""
    return clip_model(inputs["image_embeds"], inputs["text_embeds"], {"logit_scale": inputs["logit_scale"]})


OPERATIONS = {
    **{name: activation(name) for name in ("relu", "silu", "sigmoid", "tanh", "quick_gelu")},
    "gelu": gelu,
    "transformer_encoder_layer": transformer_encoder_layer,
    "cross_attention": cross_attention,
    "token_position_embedding": token_position_embedding,
    "patch_position_embedding": patch_position_embedding,
    "clip_pooling": clip_pooling,
    "clip_projection": clip_projection,
    "clip_logits": lambda inputs, settings: clip_of(inputs).logits_per_image,
    "clip_loss": lambda inputs, settings: clip_of(inputs).loss,
    "learning_rate_at": learning_rates(transformers.get_scheduler),
}


class Transformers(Torch):
    """transformers on a device, in float32 or float64."""

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(device, dtype)
        self.name, self.operations = f"transformers {transformers.__version__} {dtype} on {device}", OPERATIONS


def implementation(device: str = "cpu", dtype: str = "float32") -> Transformers:
    """transformers on this device, computing in this dtype."""
    return Transformers(device, dtype)
