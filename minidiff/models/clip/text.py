"""The text encoder: from tokens to what each of them means after those before it, and to one vector for the text.

Read `image.py` next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidiff import backend, nn
from minidiff.random import Generator

from .config import TextConfig
from .transformer import Encoder


def end_of_text(tokens: np.ndarray, eos_token_id: int | None) -> np.ndarray:
    """The place of the end-of-text token in each text, the first if there are several: (N, L) -> (N,).

    eos_token_id None: the token with the largest id. This is OpenAI's rule, which serves where the end of text was the last token to
    get a number, as in their vocabulary. transformers follows it when its configuration says eos_token_id = 2, the wrong number that
    OpenAI's checkpoints came with for years, and the other rule for all other numbers (its #24773).
    """
    return tokens.argmax(axis=1) if eos_token_id is None else (tokens == eos_token_id).argmax(axis=1)


class TextEmbeddings(nn.Module):
    """A vector for the token plus a vector for the place where it stands."""

    def __init__(self, config: TextConfig, generator: Generator) -> None:
        self.token_embedding = nn.Embedding(config.vocab_size, config.width, generator=generator)
        self.position_embedding = nn.Embedding(config.context_length, config.width, generator=generator)
        nn.init.normal_(self.token_embedding.weight, std=0.02, generator=generator)
        nn.init.normal_(self.position_embedding.weight, std=0.01, generator=generator)

    def forward(self, tokens: np.ndarray) -> Any:
        """(N, L) integers -> (N, L, width)."""
        return self.token_embedding(tokens) + self.position_embedding.weight[:tokens.shape[1]]


class TextTransformer(nn.Module):
    """norm(transformer(tokens + places)), causal: what a token becomes depends on nothing after it.

    So whatever fills a text up behind its end changes nothing, and no mask for the filling is needed.
    """

    def __init__(self, config: TextConfig, generator: Generator) -> None:
        self.config = config
        self.embeddings = TextEmbeddings(config, generator)
        self.encoder = Encoder(config, is_causal=True, generator=generator)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Any) -> Any:
        """A vector for each token: (N, L) integers in [0, vocab_size), L at most context_length -> (N, L, width).

        Raises ValueError for tokens of another shape, kind or range.
        """
        return self.final_layer_norm(self.encoder(self.embeddings(self._checked(tokens))))

    def pooled(self, tokens: Any) -> Any:
        """A vector for each text, the one of its end-of-text token, which has seen all of it: (N, L) -> (N, width).

        Raises ValueError as `forward`, and for a text without an end-of-text token.
        """
        tokens, eos = self._checked(tokens), self.config.eos_token_id
        endless = [] if eos is None else np.flatnonzero((tokens != eos).all(axis=1))
        if len(endless):
            raise ValueError(f"CLIP: {len(endless)} of {len(tokens)} texts have no end-of-text token ({eos}), the first is text "
                             f"{endless[0]}; cut long texts before their end, and let that token be the last")
        return self.forward(tokens)[np.arange(len(tokens)), end_of_text(tokens, eos)]

    def _checked(self, tokens: Any) -> np.ndarray:
        """The tokens as integers on the host."""
        c = self.config
        try:
            tokens = backend.to_numpy(tokens)
        except ValueError:
            raise ValueError("CLIP: the texts have different lengths; fill the shorter ones up behind their end, with any tokens") from None
        if tokens.ndim != 2 or not tokens.size or tokens.dtype.kind not in "iu":
            raise ValueError(f"CLIP: expected tokens as integers (N, L), a row for each text, got {tokens.dtype} of shape {tokens.shape}")
        if tokens.shape[1] > c.context_length:
            raise ValueError(f"CLIP: texts of {tokens.shape[1]} tokens; this model reads at most {c.context_length} (context_length)")
        if not (0 <= tokens.min() and tokens.max() < c.vocab_size):
            raise ValueError(f"CLIP: tokens from {tokens.min()} to {tokens.max()}; this model knows 0 to {c.vocab_size - 1}; "
                             "they come from the tokenizer of another model")
        return tokens
