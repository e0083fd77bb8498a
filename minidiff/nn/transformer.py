"""Transformer layers: attention and a network for each token, each with a normalization and a way around it (Vaswani et al. 2017).

Masks, shapes and batch_first are those of `MultiheadAttention`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from minidiff import functional as F
from minidiff.random import Generator

from .attention import MultiheadAttention
from .containers import ModuleList
from .linear import Linear
from .module import Module, generator_or_fresh
from .normalization import LayerNorm
from .stateless import Dropout

__all__ = ["TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"]


class _TransformerLayer(Module):
    """What both layers share: the order of normalization and block, the block for each token."""

    def _prepare(self, activation: str | Callable[[Any], Any], norm_first: bool) -> None:
        if isinstance(activation, str) and activation not in ("relu", "gelu"):
            raise ValueError(f"{type(self).__name__}: activation={activation!r}; expected 'relu', 'gelu' or a function")
        self.activation = {"relu": F.relu, "gelu": F.gelu}[activation] if isinstance(activation, str) else activation
        self.norm_first = norm_first

    def _around(self, x: Any, norm: Module, block: Callable[[Any], Any]) -> Any:
        """norm(x + block(x)), or with norm_first x + block(norm(x))       Xiong et al. 2020, Fig. 1"""
        return x + block(norm(x)) if self.norm_first else norm(x + block(x))

    def _feed_forward(self, x: Any) -> Any:
        """W_2 act(W_1 x)                                                  Vaswani et al. 2017, Eq. 2"""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention, then a network for each token, each with a way around it (`_around`)."""

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: str | Callable[[Any], Any] = F.relu,
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:
        generator = generator_or_fresh(generator)
        self._prepare(activation, norm_first)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, generator=generator)
        self.linear1 = Linear(d_model, dim_feedforward, bias, generator=generator)
        self.dropout = Dropout(dropout, generator=generator)
        self.linear2 = Linear(dim_feedforward, d_model, bias, generator=generator)
        self.norm1, self.norm2 = (LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(2))
        self.dropout1, self.dropout2 = (Dropout(dropout, generator=generator) for _ in range(2))
        self.to(device, dtype)

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        """(N, L, d_model) -> the same shape (batch_first)."""
        def attend(x: Any) -> Any:
            return self.dropout1(self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0])

        x = self._around(src, self.norm1, attend)
        return self._around(x, self.norm2, lambda x: self.dropout2(self._feed_forward(x)))


class TransformerDecoderLayer(_TransformerLayer):
    """Self-attention, attention to what an encoder made (`memory`), a network for each token, each with a way around it."""

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: str | Callable[[Any], Any] = F.relu,
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:
        generator = generator_or_fresh(generator)
        self._prepare(activation, norm_first)
        self.self_attn, self.multihead_attn = (
            MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, generator=generator) for _ in range(2))
        self.linear1 = Linear(d_model, dim_feedforward, bias, generator=generator)
        self.dropout = Dropout(dropout, generator=generator)
        self.linear2 = Linear(dim_feedforward, d_model, bias, generator=generator)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(3))
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout, generator=generator) for _ in range(3))
        self.to(device, dtype)

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:
        """(N, L, d_model), (N, S, d_model) -> (N, L, d_model) (batch_first)."""
        def attend(x: Any) -> Any:
            return self.dropout1(self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0])

        def look_at_memory(x: Any) -> Any:
            return self.dropout2(self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask, is_causal=memory_is_causal)[0])

        x = self._around(tgt, self.norm1, attend)
        x = self._around(x, self.norm2, look_at_memory)
        return self._around(x, self.norm3, lambda x: self.dropout3(self._feed_forward(x)))


def copies(layer: Module, count: int) -> ModuleList:
    """Copies of a layer, with the same values; they go on drawing from the same generators, so that their dropout differs."""
    generators = {id(value): value for module in layer.modules() for value in vars(module).values() if isinstance(value, Generator)}
    return ModuleList(copy.deepcopy(layer, dict(generators)) for _ in range(count))


class TransformerEncoder(Module):
    """num_layers copies of an encoder layer, one after the other, then `norm`. They start from the same values, as in torch."""

    def __init__(self, encoder_layer: TransformerEncoderLayer, num_layers: int, norm: Module | None = None) -> None:
        self.layers, self.num_layers, self.norm = copies(encoder_layer, num_layers), num_layers, norm

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None) -> Any:
        """(N, L, d_model) -> the same shape (batch_first)."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """num_layers copies of a decoder layer, one after the other, then `norm`. They start from the same values, as in torch."""

    def __init__(self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Module | None = None) -> None:
        self.layers, self.num_layers, self.norm = copies(decoder_layer, num_layers), num_layers, norm

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Any:
        """(N, L, d_model), (N, S, d_model) -> (N, L, d_model) (batch_first)."""
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, bool(tgt_is_causal),
                        memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)
