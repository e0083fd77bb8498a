"""The transformer of both encoders: attention and a network for each token, each after a norm and with a way around it.

It is GPT-2's (Radford et al. 2019): pre-norm, biases everywhere. Read `text.py` and `image.py` next.
"""

from __future__ import annotations

from typing import Any

from minidiff import functional as F
from minidiff import nn
from minidiff.random import Generator

from .config import TextConfig, ViTConfig

ACTIVATIONS = {"quick_gelu": F.quick_gelu, "gelu": F.gelu}


def linear(in_features: int, out_features: int, std: float, generator: Generator, *, bias: bool = True) -> nn.Linear:
    """A linear layer that starts from N(0, std^2), with a bias of 0."""
    layer = nn.Linear(in_features, out_features, bias, generator=generator)
    nn.init.normal_(layer.weight, std=std, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class SelfAttention(nn.Module):
    """W_o [head_1, ..., head_h] + b_o, head_i = attention(W_q,i x, W_k,i x, W_v,i x)         Vaswani et al. 2017, Sec. 3.2.2

    is_causal: a token sees itself and those before it.
    """

    def __init__(self, width: int, heads: int, is_causal: bool, stds: tuple[float, float], generator: Generator) -> None:
        std, std_out = stds
        self.heads, self.is_causal = heads, is_causal
        self.q_proj, self.k_proj, self.v_proj = (linear(width, width, std, generator) for _ in range(3))
        self.out_proj = linear(width, width, std_out, generator)

    def forward(self, x: Any) -> Any:
        """(N, L, width) -> (N, L, width)."""
        q, k, v = (F.rearrange(project(x), "n l (heads d) -> n heads l d", heads=self.heads)
                   for project in (self.q_proj, self.k_proj, self.v_proj))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
        return self.out_proj(F.rearrange(seen, "n heads l d -> n l (heads d)"))


class MLP(nn.Module):
    """W_2 act(W_1 x): a network for each token alone                                          Vaswani et al. 2017, Eq. 2"""

    def __init__(self, width: int, hidden: int, activation: str, stds: tuple[float, float], generator: Generator) -> None:
        std, std_out = stds
        self.act = ACTIVATIONS[activation]
        self.fc1, self.fc2 = linear(width, hidden, std, generator), linear(hidden, width, std_out, generator)

    def forward(self, x: Any) -> Any:
        """(..., width) -> (..., width)."""
        return self.fc2(self.act(self.fc1(x)))


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): pre-norm                                 Xiong et al. 2020, Fig. 1b

    Weights start so that what all layers add to x together does not grow with their number: those that write into x from
    N(0, 1 / (2 layers width)), the attention's others from N(0, 1 / width), the mlp's first from N(0, 1 / (2 width)), as in OpenAI's
    CLIP.
    """

    def __init__(self, config: TextConfig | ViTConfig, is_causal: bool, generator: Generator) -> None:
        c = config
        std_out = (2 * c.layers * c.width) ** -0.5
        self.layer_norm1 = nn.LayerNorm(c.width)
        self.self_attn = SelfAttention(c.width, c.heads, is_causal, (c.width**-0.5, std_out), generator)
        self.layer_norm2 = nn.LayerNorm(c.width)
        self.mlp = MLP(c.width, c.mlp_width, c.activation, ((2 * c.width) ** -0.5, std_out), generator)

    def forward(self, x: Any) -> Any:
        """(N, L, width) -> (N, L, width)."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """`config.layers` layers, one after the other."""

    def __init__(self, config: TextConfig | ViTConfig, *, is_causal: bool, generator: Generator) -> None:
        self.layers = nn.ModuleList([EncoderLayer(config, is_causal, generator) for _ in range(config.layers)])

    def forward(self, x: Any) -> Any:
        """(N, L, width) -> (N, L, width)."""
        for layer in self.layers:
            x = layer(x)
        return x
