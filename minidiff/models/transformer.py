"""The transformer inside a U-Net: every pixel looks at all pixels, then at the tokens of a text (Rombach et al. 2022, Section 3.3).

Parameter names are those of diffusers' `Transformer2DModel`, so that its weights load by name. Read `context` next.
"""

from __future__ import annotations

from typing import Any

from minidiff import functional as F
from minidiff import nn
from minidiff.random import Generator

from .blocks import heads_of, in_heads


class Attention(nn.Module):
    """W_o attention(W_q x, W_k y, W_v y) + b_o: queries of x, keys and values of y                       Vaswani et al. 2017

    Self-attention with y = x, cross-attention with y the tokens of a text. context_features: how many numbers an entry of y has.
    """

    def __init__(self, features: int, context_features: int, heads: int, *, generator: Generator) -> None:
        self.heads = heads
        self.to_q = nn.Linear(features, features, bias=False, generator=generator)
        self.to_k = nn.Linear(context_features, features, bias=False, generator=generator)
        self.to_v = nn.Linear(context_features, features, bias=False, generator=generator)
        self.to_out = nn.ModuleList([nn.Linear(features, features, generator=generator)])

    def forward(self, x: Any, y: Any) -> Any:
        """(N, L, features), (N, S, context_features) -> (N, L, features)."""
        return self.to_out[0](in_heads(self.to_q(x), self.to_k(y), self.to_v(y), self.heads))


class GEGLU(nn.Module):
    """u gelu(v), (u, v) = W x + b                                                                         Shazeer 2020, Eq. 5"""

    def __init__(self, in_features: int, out_features: int, *, generator: Generator) -> None:
        self.proj = nn.Linear(in_features, 2 * out_features, generator=generator)

    def forward(self, x: Any) -> Any:
        """(..., in_features) -> (..., out_features)."""
        return F.geglu(self.proj(x))


class FeedForward(nn.Module):
    """W_2 geglu(W_1 x + b_1) + b_2, for each token by itself; between the two there are `mult` times as many features."""

    def __init__(self, features: int, mult: int = 4, *, generator: Generator) -> None:
        hidden = mult * features
        self.net = nn.Sequential(
            GEGLU(features, hidden, generator=generator),
            nn.Identity(),  # where diffusers has a dropout, which its U-Nets leave at 0
            nn.Linear(hidden, features, generator=generator))

    def forward(self, x: Any) -> Any:
        """(..., features) -> (..., features)."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, a network for each token, each normalized before and with a way around it.

        z = x + attn1(norm1(x), itself),   z <- z + attn2(norm2(z), tokens),   y = z + ff(norm3(z))
    """

    def __init__(self, features: int, context_features: int, heads: int, *, generator: Generator) -> None:
        self.norm1 = nn.LayerNorm(features)
        self.attn1 = Attention(features, features, heads, generator=generator)
        self.norm2 = nn.LayerNorm(features)
        self.attn2 = Attention(features, context_features, heads, generator=generator)
        self.norm3 = nn.LayerNorm(features)
        self.ff = FeedForward(features, generator=generator)

    def forward(self, x: Any, tokens: Any) -> Any:
        """(N, L, features), (N, S, context_features) -> (N, L, features)."""
        h = self.norm1(x)
        z = x + self.attn1(h, h)
        z = z + self.attn2(self.norm2(z), tokens)
        return z + self.ff(self.norm3(z))


class SpatialTransformer(nn.Module):
    """x + proj_out(block(proj_in(norm(x)), tokens)), every pixel a token of the image                Rombach et al. 2022, Table 15

    head_dim is the size of one head, as in `AttentionBlock`. The projections are convolutions of one pixel. The norms have diffusers'
    eps: 1e-6 here, 1e-5 in the block.
    """

    def __init__(self, channels: int, head_dim: int, context_features: int, *, groups: int, generator: Generator) -> None:
        heads = heads_of("SpatialTransformer", channels, head_dim)
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1, generator=generator)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context_features, heads, generator=generator)])
        self.proj_out = nn.Conv2d(channels, channels, 1, generator=generator)

    def forward(self, x: Any, tokens: Any) -> Any:
        """(N, C, H, W), (N, S, context_features) -> (N, C, H, W)."""
        h = F.rearrange(self.proj_in(self.norm(x)), "n c h w -> n (h w) c")
        for block in self.transformer_blocks:
            h = block(h, tokens)
        return x + self.proj_out(F.rearrange(h, "n (h w) c -> n c h w", h=x.shape[2]))
