"""Words to numbers: a byte-pair tokenizer that trains its own vocabulary, and reads CLIP's.

In reading order: `unicode` (letters, numbers, spaces, accents), `words` (a text to words, a word to symbols), `pairs` (learning pairs,
joining them), `tokenizer` (numbers), `files` (the files in which vocabularies travel).
"""

from .files import VocabularyError
from .tokenizer import Tokenizer, TruncationWarning
from .words import words

__all__ = ["Tokenizer", "TruncationWarning", "VocabularyError", "words"]
