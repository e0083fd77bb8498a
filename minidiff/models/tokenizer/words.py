"""From a text to words, and from a word to its symbols: all that happens before a pair is joined, in the order in which it happens.

    "I've  12 CAFÉS!"  --words-->  i 've 1 2 cafés !        "cafés"  --spell-->  c a f Ã © s</w>

The rules are those of CLIP (Radford et al. 2021), as transformers' CLIPTokenizer has them. Read `pairs.py` next.
"""

import re
from typing import Any

from .unicode import SPACE, compose, lower, shape

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"

# Of the text's shape, in which z stands for any letter and 0 for any number. A number is one digit.
WORD = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^ a-z0-9]+")
SPACES = re.compile(f"{SPACE}+")

# A byte that can be printed is the character with its number. The others, in order, are the characters from 256 on.
PRINTABLE = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
HIDDEN = tuple(byte for byte in range(256) if byte not in PRINTABLE)
SYMBOLS = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + n) for n, byte in enumerate(HIDDEN)}     # in CLIP's order
BYTES = {symbol: byte for byte, symbol in SYMBOLS.items()}


def clean(text: str) -> str:
    """Accents joined to their letters (NFC), any run of white space one space, small letters."""
    return lower(SPACES.sub(" ", compose(text)))


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, single digits, English endings ('s 't 're 've 'm 'll 'd), and runs of anything else but spaces.

    "I've 12 CAFÉS!" -> i 've 1 2 cafés !. Raises TypeError for what is no text, ValueError for one with half a character in it.
    """
    check_text(text)
    text = clean(text)
    found = []
    for match in WORD.finditer(shape(text)):
        word = text[match.start():match.end()]
        # Only a special token in capitals comes here; transformers cuts it again, with a pattern that does not know it
        found += ["<|", word[2:-2], "|>"] if word in (START, END) else [word]
    return found


def spell(word: str) -> tuple[str, ...]:
    """A word as symbols: the bytes of its UTF-8, each written as a character, the last one marked as the end of a word."""
    symbols = [SYMBOLS[byte] for byte in word.encode("utf-8")]
    return (*symbols[:-1], symbols[-1] + END_OF_WORD)


def read(token: str) -> bytes:
    """The bytes that a token stands for, with a space at the end of a word: the other way round."""
    return bytes(BYTES[symbol] for symbol in token.removesuffix(END_OF_WORD)) + b" " * token.endswith(END_OF_WORD)


def check_text(text: Any) -> None:
    """Raise TypeError unless this is a text, ValueError if it cannot be written in UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"tokenizer: expected a text (str), got {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"tokenizer: character {error.start} of the text is {text[error.start]!a}, half a character (a surrogate), "
                         "which UTF-8 cannot write; was it read with the wrong encoding?") from None
