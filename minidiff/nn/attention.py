"""`MultiheadAttention`: several attentions side by side, each in its own part of the features.

Masks say True where a key is NOT to be seen, as in torch (in `functional.scaled_dot_product_attention` True is seen).
"""

from __future__ import annotations

import math
from typing import Any

from minidiff import backend
from minidiff import functional as F
from minidiff.functional.attention import attention_weights
from minidiff.random import Generator

from . import init
from .linear import Linear, empty
from .module import Module, generator_or_fresh

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """W_o [head_1, ..., head_h] + b_o, head_i = attention(W_q,i q, W_k,i k, W_v,i v)     Vaswani et al. 2017, Sec. 3.2.2

    in_proj_weight (3 embed_dim, embed_dim): W_q, W_k, W_v, one above the other; with kdim or vdim, features of key and value, they are
    q_proj_weight, k_proj_weight and v_proj_weight. in_proj_bias (3 embed_dim,), out_proj a Linear. dropout: of the weights, while
    training, by `generator`. batch_first: shapes are (N, L, E) instead of (L, N, E). add_bias_kv and add_zero_attn are not offered.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False, device: Any = None,
        dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:
        for name, value in {"add_bias_kv": add_bias_kv, "add_zero_attn": add_zero_attn}.items():
            if value:
                raise ValueError(f"MultiheadAttention: {name}={value} is not offered; leave it out")
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: embed_dim={embed_dim} does not divide into num_heads={num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        packed = self.kdim == self.vdim == embed_dim
        self.in_proj_weight = empty(3 * embed_dim, embed_dim) if packed else None
        self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = (
            None if packed else empty(embed_dim, features) for features in (embed_dim, self.kdim, self.vdim))
        self.in_proj_bias = empty(3 * embed_dim) if bias else None
        self.generator = generator = generator_or_fresh(generator)
        self.out_proj = Linear(embed_dim, embed_dim, bias, generator=generator)
        self.reset_parameters(generator)
        self.to(device, dtype)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """New initial values: `init.xavier_uniform_` for the projections, 0 for the biases; out_proj.weight stays."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight, generator=generator)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
        average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """What each query sees, and how much of each key: (output, weights), or (output, None) without need_weights.

        Shapes (batch_first): query (N, L, embed_dim), key (N, S, kdim), value (N, S, vdim) -> (N, L, embed_dim) and, averaged over the
        heads, (N, L, S), else (N, heads, L, S); N may be missing everywhere. key_padding_mask (N, S); attn_mask (L, S) or
        (N heads, L, S): booleans, True is not seen, or numbers that are added. is_causal says that attn_mask is the causal one: nothing
        follows from it here. A query that may see no key gets the bias of out_proj. Raises ValueError when the shapes do not fit.
        """
        if is_causal and attn_mask is None:
            raise ValueError("MultiheadAttention: is_causal=True says what attn_mask is; give the mask too")
        batched = len(query.shape) == 3
        if len(query.shape) not in (2, 3) or not len(query.shape) == len(key.shape) == len(value.shape):
            raise ValueError(f"MultiheadAttention: expected query, key and value of 3 dimensions, or of 2 without a batch; got shapes "
                             f"{tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}")
        same = query is key and key is value
        query, key, value = (self._batch_first(x, batched) for x in (query, key, value))
        self._check(query, key, value)
        q, k, v = (F.rearrange(x, "n l (heads d) -> n heads l d", heads=self.num_heads) for x in self._projected(query, key, value, same))
        mask = self._mask(q, k, attn_mask, key_padding_mask)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            weights = F.dropout(attention_weights(q, k, mask, 1.0 / math.sqrt(q.shape[-1])), dropout, generator=self.generator)
            seen = F.matmul(weights, v)
            weights = F.mean(weights, 1) if average_attn_weights else weights
            weights = weights if batched else F.squeeze(weights, 0)
        else:
            seen = F.scaled_dot_product_attention(q, k, v, mask, dropout, generator=self.generator)
        output = self.out_proj(F.rearrange(seen, "n heads l d -> n l (heads d)"))
        if not batched:
            return F.squeeze(output, 0), weights
        return output if self.batch_first else F.transpose(output, 0, 1), weights

    def _batch_first(self, x: Any, batched: bool) -> Any:
        if not batched:
            return F.unsqueeze(x, 0)
        return x if self.batch_first else F.transpose(x, 0, 1)

    def _check(self, query: Any, key: Any, value: Any) -> None:
        expected = {"query": (query, self.embed_dim), "key": (key, self.kdim), "value": (value, self.vdim)}
        for name, (x, features) in expected.items():
            if x.shape[2] != features:
                raise ValueError(f"MultiheadAttention: {name} has {x.shape[2]} features, expected {features}")
        if key.shape[:2] != value.shape[:2] or query.shape[0] != key.shape[0]:
            raise ValueError(f"MultiheadAttention: (batch, length) of query, key and value are {tuple(query.shape[:2])}, "
                             f"{tuple(key.shape[:2])}, {tuple(value.shape[:2])}; expected one batch, and key and value of one length")

    def _projected(self, query: Any, key: Any, value: Any, same: bool) -> Any:
        """W_q q, W_k k, W_v v; for self-attention in one product."""
        if same and self.in_proj_weight is not None:
            return F.chunk(F.linear(query, self.in_proj_weight, self.in_proj_bias), 3, -1)
        if self.in_proj_weight is not None:
            weights = F.chunk(self.in_proj_weight, 3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if self.in_proj_bias is None else F.chunk(self.in_proj_bias, 3)
        return [F.linear(x, weight, bias) for x, weight, bias in zip((query, key, value), weights, biases)]

    def _mask(self, q: Any, k: Any, attn_mask: Any, key_padding_mask: Any) -> Any:
        """Both masks as one, as `scaled_dot_product_attention` wants it: booleans if both are, else numbers to add; or None."""
        n, heads, l, s = *q.shape[:3], k.shape[2]
        allowed = {"attn_mask": (attn_mask, {(l, s): (1, 1, l, s), (n * heads, l, s): (n, heads, l, s)}),
                   "key_padding_mask": (key_padding_mask, {(n, s): (n, 1, 1, s)} | ({(s,): (1, 1, 1, s)} if n == 1 else {}))}
        masks = []
        for name, (mask, shapes) in allowed.items():
            if mask is not None:
                if tuple(mask.shape) not in shapes:
                    raise ValueError(f"MultiheadAttention: {name} of shape {tuple(mask.shape)}; expected {' or '.join(map(str, shapes))}")
                if mask.dtype.kind not in "bf":
                    raise TypeError(f"MultiheadAttention: {name} is {mask.dtype}; expected booleans or floating-point numbers")
                masks.append(F.reshape(mask, shapes[tuple(mask.shape)]))
        if all(mask.dtype.kind == "b" for mask in masks):
            hidden = [backend.to_array(mask) for mask in masks]
            return None if not hidden else ~hidden[0] if len(hidden) == 1 else ~(hidden[0] | hidden[1])
        xp = backend.array_module(*masks)
        added = [xp.where(backend.to_array(mask), -math.inf, 0.0).astype(q.dtype) if mask.dtype.kind == "b" else mask for mask in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, dropout={self.dropout}, batch_first={self.batch_first}"
