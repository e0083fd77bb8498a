"""Our tokens are those of transformers' CLIPTokenizer: for every character of Unicode, and for thousands of texts made of them.

The vocabulary is trained here, by us, on words of many scripts, and read by transformers from the folder that we save. With the
environment variable MINIDIFF_CLIP_MERGES (see `tests/models/test_tokenizer.py`) everything is done again with CLIP's own.
"""

import json
import os
import sys
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.models.tokenizer import Tokenizer, TruncationWarning, words
from minidiff.models.tokenizer.words import END, START, SYMBOLS

transformers = pytest.importorskip("transformers", minversion="5", reason="needs transformers 5, whose CLIPTokenizer is the fast one")
pytestmark = pytest.mark.peers

# What normal forms move, and what has been cut wrong by somebody
MARKS = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))]
TRAPS = [
    "'s", "'T", "'re", "'ve", "'m", "'ll", "'D", "'", "’", "<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "<|endoftext", "|>", "</w>",
    "Ġ", "!", "\0", "\x1c", "\x1f", "\x85", "\u00a0", "\u2003", "\u200b", "\u200d", "\ufe0f", "\ufeff", "👩", "🏽", "İ", "ı", "ΑΣ", "ς",
    "ẞ", "Ǆ", "ﬁ", "²", "½", "Ⅷ", "٣", "é", "e", "\u0323", "\u0301", "\u0345", "가", "\u1100", "\u1161", "\u11a8", "\U00011935",
    "\U00011930", "\U000105d2", "\u0307", "\ua7cb", "\U00016ea0", "\U000323af",
]
pieces = st.one_of(
    st.text(st.characters(max_codepoint=127), max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.text(st.characters(min_codepoint=0x7FD, max_codepoint=0x1E6F5, exclude_categories=["Cs"]), max_size=8),
    st.text(st.sampled_from(MARKS), max_size=5),
    st.sampled_from(TRAPS),
)
texts = st.lists(pieces, max_size=8).map("".join)


def corpus():
    """Names of characters, and runs of characters of every script, so that merges join parts of characters, too."""
    named = [char for char in map(chr, range(0x30000)) if unicodedata.category(char)[0] in "LNPS"][::7]
    names = [unicodedata.name(char, "").replace("-", "'s ") for char in named]
    return names + ["".join(named[start : start + 5]) * 2 for start in range(0, len(named), 5)]


@pytest.fixture(scope="module", params=["trained here", "CLIP's"])
def ours(request):
    """A tokenizer of ours."""
    if request.param == "trained here":
        return Tokenizer.train(corpus(), 4000)
    if not os.environ.get("MINIDIFF_CLIP_MERGES"):
        pytest.skip("needs CLIP's merges file: set MINIDIFF_CLIP_MERGES to its path")
    return Tokenizer.from_merges(os.environ["MINIDIFF_CLIP_MERGES"])


@pytest.fixture(scope="module")
def theirs(ours, tmp_path_factory):
    """The same vocabulary, read by transformers."""
    folder = tmp_path_factory.mktemp("vocabulary")
    ours.save(folder)
    found = transformers.CLIPTokenizer.from_pretrained(folder)
    assert len(found) == len(ours) and found.get_vocab() == ours.ids
    return found


@pytest.fixture(scope="module")
def padded(ours, tmp_path_factory):
    """Both, with another pad."""
    folder, changed = tmp_path_factory.mktemp("padded"), Tokenizer(ours.merges, pad="!")
    changed.save(folder)
    return changed, transformers.CLIPTokenizer.from_pretrained(folder)


@settings(max_examples=150)
@given(batch=st.lists(texts, min_size=20, max_size=40))
def test_any_text_has_their_tokens(batch, ours, theirs):
    """Some 4,500 texts: numbers with start and end, and the text decoded from them."""
    for text, ids in zip(batch, theirs(batch)["input_ids"]):
        assert ours.encode(text, add_special_tokens=True) == ids, ascii(text)
        assert ours.decode(ids).strip() == theirs.decode(ids, skip_special_tokens=True).strip()


def test_every_character_is_cut_as_by_them():
    """Each beside a letter, beside itself, beside a number, and between an accent above and one below it; of the planes that are empty or
    private, every 61st."""
    backend = transformers.CLIPTokenizer().backend_tokenizer
    codes = [*range(0xD800), *range(0xE000, 0x32400), *range(0x32400, sys.maxunicode + 1, 61)]

    def differ(codes):
        text = "".join(f"b{chr(code)}{chr(code)}1a\u0345{chr(code)}\u0334\n" for code in codes)
        found = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        return [word for word, _ in found] != ["".join(SYMBOLS[byte] for byte in word.encode()) for word in words(text)]

    parts = [codes[start : start + 4096] for start in range(0, len(codes), 4096)]
    assert [f"U+{code:04X}" for part in parts if differ(part) for code in part if differ([code])] == []


@settings(max_examples=60)
@given(captions=st.lists(texts, min_size=1, max_size=5), length=st.integers(3, 40))
def test_rows_are_theirs(captions, length, ours, theirs):
    """Cut and padded to one length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        rows = ours(captions, length)
    expected = theirs(captions, padding="max_length", truncation=True, max_length=length, return_tensors="np")["input_ids"]
    assert rows.dtype == expected.dtype and np.array_equal(rows, expected)


@settings(max_examples=60)
@given(ids=st.lists(st.integers(0, 3999), max_size=30))
def test_any_numbers_are_decoded_as_by_them(ids, ours, theirs):
    """Halves of characters become U+FFFD, in the same places."""
    assert ours.decode(ids).strip() == theirs.decode(ids, skip_special_tokens=True).strip()


@settings(max_examples=60)
@given(text=texts)
def test_a_pad_is_a_token_in_a_text_too(text, padded):
    """As for the second encoder of Stable Diffusion XL, where "!" fills up rows: an exclamation mark in a text is then number 0."""
    ours, theirs = padded
    assert ours.encode(f"{text}!", add_special_tokens=True) == theirs(f"{text}!")["input_ids"]
    assert np.array_equal(ours([text], 200), theirs([text], padding="max_length", max_length=200, return_tensors="np")["input_ids"])


def test_what_they_save_is_read(ours, padded, theirs, tmp_path):
    """transformers 5 writes tokenizer.json and tokenizer_config.json."""
    for expected, saved in ((ours, theirs), padded):
        folder = tmp_path / str(expected.pad)
        saved.save_pretrained(folder)
        found = Tokenizer.load(folder)
        assert (found.merges, found.ids, found.pad) == (expected.merges, expected.ids, expected.pad)


def test_folders_of_published_models_find_special_tokens_in_capitals(ours, tmp_path):
    """The one known difference: where tokenizer_config.json says "normalized", theirs looks for special tokens in small letters, too."""
    ours.save(tmp_path)
    special = {name: {"__type": "AddedToken", "content": token, "normalized": True, "lstrip": False, "rstrip": False, "single_word": False}
               for name, token in (("bos_token", START), ("eos_token", END), ("unk_token", END))}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**special, "pad_token": "!", "tokenizer_class": "CLIPTokenizer"}))
    theirs, found = transformers.CLIPTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path)
    assert theirs.encode("a <|ENDOFTEXT|> b", add_special_tokens=False) == found.encode("a <|endoftext|> b")
    assert found.encode("a <|ENDOFTEXT|> b") == found.encode("a <| endoftext |> b") != found.encode("a <|endoftext|> b")
    assert theirs.encode("A <|endoftext|> Straße!", add_special_tokens=False) == found.encode("A <|endoftext|> Straße!")
