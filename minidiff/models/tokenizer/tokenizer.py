"""The tokenizer: a text becomes numbers, numbers become a text, captions become a vocabulary.

    "Seahorses" -> words -> seahorses -> spell -> s e a h o r s e s</w> -> segment -> sea horses</w> -> 5970 8809

Stands on `words.py` (what a word is) and `pairs.py` (what is joined). Read `files.py` next.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from . import files
from .files import VocabularyError
from .pairs import Pair, learn, segment
from .words import END, END_OF_WORD, START, SYMBOLS, check_text, read, spell, words

SINGLE = (*SYMBOLS.values(), *(symbol + END_OF_WORD for symbol in SYMBOLS.values()))      # 256 bytes, and 256 at the end of a word
SMALLEST = len(SINGLE) + 2                                                                # with start and end: no pair at all
CACHE = 2**16                                                                             # words whose tokens are remembered


class TruncationWarning(UserWarning):
    """A text did not fit into the context, and its end was cut off."""


class Tokenizer:
    """Byte-pair encoding as in CLIP (Sennrich et al. 2016; Radford et al. 2021): the tokens that transformers' CLIPTokenizer gives.

    merges: the pairs to join, the most important first; each makes a token of two that are bytes or were made before it. ids: token
    -> number; None counts in CLIP's order: 256 bytes, the same at the end of a word, a token a merge, start, end. pad: the token that
    fills up a row (the end of the text; `"!"`, number 0, in the second text encoder of Stable Diffusion XL).

    Start, end and pad are found in a text where they are spelled out, and are then one token; so does transformers, and with pad `"!"`
    an exclamation mark is number 0.

    Raises VocabularyError for merges, numbers or a pad that do not fit together.
    """

    def __init__(self, merges: Iterable[Pair], ids: Mapping[str, int] | None = None, pad: str = END) -> None:
        self.merges = [tuple(pair) for pair in merges]
        tokens = _tokens(self.merges)
        self.ids = dict(ids) if ids is not None else {token: number for number, token in enumerate(tokens)}
        _check_ids(self.ids, tokens)
        if pad not in self.ids:
            raise VocabularyError(f"the pad {pad!r} is not in the vocabulary; take {END!r}, or another token of it")
        self.start, self.end, self.pad = self.ids[START], self.ids[END], self.ids[pad]
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._tokens = sorted(self.ids, key=self.ids.__getitem__)
        self._special = re.compile("(" + "|".join(map(re.escape, sorted({START, END, pad}, key=len, reverse=True))) + ")")
        self._cache: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """How many tokens the vocabulary has: the rows of an embedding."""
        return len(self.ids)

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int, pad: str = END) -> Tokenizer:
        """A vocabulary of (at most) vocab_size tokens in which these captions are short: `learn`, on their words.

        Raises TypeError for captions that are no texts, ValueError for a vocab_size below 514: 512 for bytes, one for the start, one for
        the end. The vocabulary is smaller if no pair is left that occurs twice.
        """
        if isinstance(captions, str):
            raise TypeError("Tokenizer.train: captions is one text, expected several (a list of str)")
        if not isinstance(vocab_size, (int, np.integer)) or vocab_size < SMALLEST:
            raise ValueError(f"Tokenizer.train: vocab_size {vocab_size!r}, expected an integer of at least {SMALLEST}: "
                             f"{len(SINGLE)} for bytes, and start and end")
        counts = Counter(word for caption in captions for word in words(caption))
        return cls(learn({spell(word): count for word, count in counts.items()}, vocab_size - SMALLEST), pad=pad)

    @classmethod
    def from_merges(cls, path: str | os.PathLike, vocabulary: str | os.PathLike | None = None, pad: str = END) -> Tokenizer:
        """The tokenizer in a merges.txt, OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or a tokenizer.json of transformers.

        vocabulary: a vocab.json with the numbers of the tokens, where they are not in CLIP's order. Raises OSError for a file that cannot
        be read, VocabularyError for one that is damaged or of another layout, and says which.
        """
        merges, ids = files.read_merges(path)
        if vocabulary is not None:
            ids = files.read_vocabulary(vocabulary)
        try:
            return cls(merges, ids, pad)
        except VocabularyError as error:
            raise VocabularyError(f"{path}{'' if vocabulary is None else f' and {vocabulary}'}: {error}") from None

    def save(self, folder: str | os.PathLike) -> None:
        """Write the vocabulary into a folder, so that `load` and transformers' CLIPTokenizer.from_pretrained read it.

        Raises FileExistsError, before anything is written, if another vocabulary is there.
        """
        files.write_files(Path(folder), self.merges, self.ids, self._tokens[self.pad])

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Tokenizer:
        """The tokenizer in a folder that `save`, transformers or diffusers wrote. Raises OSError and VocabularyError as `from_merges`."""
        merges, vocabulary, both = (Path(folder) / name for name in (files.MERGES, files.VOCABULARY, files.BOTH))
        pad = files.read_pad(Path(folder) / files.CONFIG)
        if merges.exists():
            return cls.from_merges(merges, vocabulary if vocabulary.exists() else None, pad)
        if both.exists():
            return cls.from_merges(both, pad=pad)
        raise FileNotFoundError(f"{folder}: neither {files.MERGES} nor {files.BOTH} in it; give a folder that Tokenizer.save or "
                                "transformers wrote, or a file to Tokenizer.from_merges")

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """The numbers of a text, of any length; with add_special_tokens between start and end. Raises as `words`."""
        check_text(text)
        found = []
        for n, part in enumerate(self._special.split(text)):
            if n % 2:                                   # what the pattern finds stands between what it does not
                found.append(self.ids[part])
            else:
                for word in words(part):
                    found += self._encode_word(word)
        return [self.start, *found, self.end] if add_special_tokens else found

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cache:
            if len(self._cache) == CACHE:
                self._cache.clear()
            self._cache[word] = [self.ids[token] for token in segment(spell(word), self._ranks)]
        return self._cache[word]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some numbers, its words with a space between them; start, end and pad say nothing.

        ids: (L,) integers. A character of which bytes are missing becomes U+FFFD. Raises TypeError for what are no integers in a row,
        ValueError for a number that the vocabulary does not have.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise TypeError(f"tokenizer: expected integers in a row, (L,), got {ids.dtype} of shape {ids.shape}")
        strange = [i for i in ids.tolist() if not 0 <= i < len(self)]
        if strange:
            raise ValueError(f"tokenizer: no token has the number {strange[0]}; the vocabulary has {len(self)}, from 0 on")
        silent = (self.start, self.end, self.pad)
        return b"".join(read(self._tokens[i]) for i in ids.tolist() if i not in silent).decode("utf-8", "replace").removesuffix(" ")

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text, to be looked at: bytes that are no whole character as \\x.., the space at the end of a word as </w>."""
        def readable(token: str) -> str:
            if token in (START, END):
                return token
            return read(token.removesuffix(END_OF_WORD)).decode("utf-8", "backslashreplace") + END_OF_WORD * token.endswith(END_OF_WORD)

        return [readable(self._tokens[i]) for i in self.encode(text)]

    def __call__(self, texts: str | Sequence[str], context_length: int = 77, *, truncate: bool = True) -> np.ndarray:
        """Texts as rows for a network: start, the numbers of the text, end, and pad up to context_length.

        texts: N texts, or one. Returns int64 (N, context_length). A text that does not fit loses its end, and a TruncationWarning says
        what is lost; with truncate=False it raises ValueError. Raises TypeError for what is no text, ValueError for a context_length
        below 2.
        """
        texts = [texts] if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
        if not isinstance(context_length, (int, np.integer)) or context_length < 2:
            raise ValueError(f"tokenizer: context_length {context_length!r}, expected an integer of at least 2, for start and end")
        rows = np.full((len(texts), context_length), self.pad, np.int64)
        room = context_length - 2
        for row, text in zip(rows, texts):
            ids = self.encode(text)
            if len(ids) > room:
                too_long = f"tokenizer: the text {_short(text)} has {len(ids)} tokens, a context of {context_length} has room for {room}"
                if not truncate:
                    raise ValueError(f"{too_long}; shorten it, or have it cut off before {_short(self.decode(ids[room:]))} (truncate=True)")
                warnings.warn(f"{too_long}; cut off: {_short(self.decode(ids[room:]))}", TruncationWarning, stacklevel=2)
            row[:len(ids) + 2] = [self.start, *ids[:room], self.end]
        return rows


def _tokens(merges: Sequence[Pair]) -> list[str]:
    """All tokens in CLIP's order. Raises VocabularyError for a merge of unknown tokens, and for a token that is made twice."""
    tokens = dict.fromkeys(SINGLE)
    for n, (a, b) in enumerate(merges, 1):
        for part in (a, b):
            if part not in tokens:
                raise VocabularyError(f"merge {n} joins {a!r} and {b!r}, but {part!r} is neither a byte nor made by an earlier merge; "
                                      "lines are missing or out of order")
        if a + b in tokens:
            raise VocabularyError(f"merge {n} makes {a + b!r}, which is there already; lines are repeated or out of order")
        tokens[a + b] = None
    return [*tokens, START, END]


def _check_ids(ids: Mapping[str, int], tokens: Sequence[str]) -> None:
    """Raise VocabularyError unless exactly these tokens have the numbers 0, 1, 2 ..."""
    missing, extra = [token for token in tokens if token not in ids], ids.keys() - set(tokens)
    if missing:
        raise VocabularyError(f"the vocabulary has no number for {missing[0]!r} ({len(missing)} tokens are missing); it belongs "
                              "to other merges")
    if extra:
        raise VocabularyError(f"the vocabulary has {min(extra)!r}, which no merge makes ({len(extra)} such tokens); it belongs "
                              "to other merges")
    if sorted(ids.values()) != list(range(len(ids))):
        raise VocabularyError(f"the numbers of the {len(ids)} tokens are not 0 to {len(ids) - 1}, each once")


def _short(text: str, length: int = 60) -> str:
    """A text for a message."""
    text = " ".join(text.split())
    return repr(text if len(text) <= length else f"{text[:length - 4]} ...")
