"""The byte-pair tokenizer: its words, its pairs, its numbers, its files. transformers is asked in `tests/peers/test_tokenizer.py`.

CLIP's own vocabulary does not come with minidiff. The tests that need it read it from the file that the environment variable
MINIDIFF_CLIP_MERGES names (OpenAI's bpe_simple_vocab_16e6.txt.gz, or merges.txt of a CLIP), and are skipped without.
"""

import gzip
import json
import os
import subprocess
import sys
import unicodedata
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidiff.models.tokenizer import Tokenizer, TruncationWarning, VocabularyError, files, tokenizer, unicode, words
from minidiff.models.tokenizer.pairs import join, learn, segment
from minidiff.models.tokenizer.words import BYTES, SYMBOLS, clean, read, spell

CAPTIONS = ["a red heart", "a broken heart", "two hearts", "red hair", "a grinning face with big eyes", "a face without eyes",
            "crying face", "I'm sure it's 42, isn't it?", "naïve café, Straße, 日本語 日本", "heart-eyes!", "eyes 👀 👩‍👩‍👧", "ΟΔΟΣ οδος"]
ENDINGS = ("re", "ve", "ll", "s", "t", "m", "d")
SPECIAL = ("<|startoftext|>", "<|endoftext|>")

texts = st.text(st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.characters(max_codepoint=127),
    st.sampled_from("'''srtvemld019<|> \t\n\x1c\u00a0\u0301\u0307\u0345\u200d\ufe0fIİıΣσςé²½Ⅷ٣Ǆﬁ"),
), max_size=40)
plain = texts.filter(lambda text: "<|" not in text)


@pytest.fixture(scope="module")
def trained():
    """A small vocabulary."""
    return Tokenizer.train(CAPTIONS, 640)


@pytest.fixture(scope="module")
def clip():
    """CLIP's vocabulary, if it is here."""
    path = os.environ.get("MINIDIFF_CLIP_MERGES")
    if not path:
        pytest.skip("needs CLIP's merges file: set MINIDIFF_CLIP_MERGES to its path")
    return Tokenizer.from_merges(path)


# -- words -----------------------------------------------------------------------------------------------------------


def words_by_hand(text):
    """Read from left to right, a character at a time, asking for each what it is."""
    kind = lambda char: " " if char == " " else unicodedata.category(char)[0] if unicodedata.category(char)[0] in "LN" else "?"
    found, i = [], 0
    while i < len(text):
        ending = next((ending for ending in ENDINGS if text[i:].startswith(f"'{ending}")), None)
        if text[i] == " ":
            i += 1
        elif ending:
            found.append(f"'{ending}")
            i += 1 + len(ending)
        else:
            stop = i + 1
            while kind(text[i]) != "N" and stop < len(text) and kind(text[stop]) == kind(text[i]):
                stop += 1
            found.append(text[i:stop])
            i = stop
    return found


@settings(max_examples=300)
@given(plain)
def test_words_are_endings_letters_single_digits_and_the_rest(text):
    """Against a reader that goes from character to character; characters that this Python does not know are left to the peers."""
    assume(all(unicodedata.category(char) not in ("Cn", "Cs") for char in clean(text)))
    assert words(text) == words_by_hand(clean(text))


@settings(max_examples=300)
@given(texts)
def test_words_lose_nothing_but_spaces(text):
    """Put together again they are the clean text without its spaces, and there is no white space in a word."""
    assert "".join(words(text)) == clean(text).replace(" ", "")
    assert not any(char.isspace() and char not in "\x1c\x1d\x1e\x1f" for word in words(text) for char in word)


@pytest.mark.parametrize("text, expected", [
    ("it's IT'S isn't they're I've I'm we'LL he'd", "it 's it 's isn 't they 're i 've i 'm we 'll he 'd"),
    ("'sleep !'s ''s don’t", "'s leep !' s '' s don ’ t"),          # an ending may begin a word; after a sign it is none
    ("12 3½²٣Ⅷ", "1 2 3 ½ ² ٣ ⅷ"),
    ("ΟΔΟΣ", "οδοσ"),                                               # str.lower would end with ς
    ("İstanbul", "i ̇ stanbul"),                                     # small, it is two characters, the second no letter
    ("e\u0301 E\u0301", "é é"),
    ("J\u030c j\u030c", "j \u030c ǰ"),                              # there is a small ǰ in one character, but no capital
    ("日本語 テスト", "日本語 テスト"),                                # no spaces around ideographs
    ("👩‍👩‍👧 ❤️", "👩‍👩‍👧 ❤️"),
    ("a\u00a0\u2003\u3000b\u200bc\ufeff", "a b \u200b c \ufeff"),     # spaces of all widths; of no width they are none
    ("a\x1cb\x00", "a \x1c b \x00"),                                # Python's \s takes \x1c for a space
    ("<|ENDOFTEXT|>! !<|ENDOFTEXT|>!", "<| endoftext |> ! !<| endoftext |>!"),
    ("", ""), (" \n ", ""),
])
def test_words_that_are_easily_cut_wrong(text, expected):
    """As transformers' CLIPTokenizer cuts them."""
    assert words(text) == expected.split(" ") if expected else words(text) == []


@given(texts)
def test_small_letters_do_not_depend_on_the_neighbours(text):
    """The whole as its characters one by one."""
    assert unicode.lower(text) == "".join(map(unicode.lower, text))


@settings(max_examples=300)
@given(texts)
def test_composing_is_nfc_where_no_later_mark_is(text):
    """Python's NFC; of marks that came after Unicode 9 nothing moves, and a text falls apart at them."""
    later = unicode._MARKS.search(text)
    if later:
        first = later.start()
        composed = unicode.compose(text[:first]) + text[first] + unicode.compose(text[first + 1:])
    else:
        composed = unicodedata.normalize("NFC", text)
    assert unicode.compose(text) == composed


def test_the_tables_of_later_characters_agree_with_python_where_it_knows_them():
    """Letters are letters, numbers numbers, small letters small; nothing among the later marks was there in Unicode 3.2 and joins."""
    category = unicodedata.category
    for spans, kind in ((unicode.LATER_LETTERS, "L"), (unicode.LATER_NUMBERS, "N")):
        assert {category(chr(code))[0] if category(chr(code)) != "Cn" else kind for span in spans for code in span} == {kind}
    for capital, small in unicode._SMALL.items():
        assert category(chr(capital)) == "Cn" or chr(capital).lower() == chr(small)
    old = unicodedata.ucd_3_2_0
    for span in unicode._ranges(unicode.LATER_MARKS):
        for char in map(chr, span):
            assert old.combining(char) == 0 and not old.decomposition(char)


def test_white_space_is_unicodes():
    """Python's, without the four separators of files and records."""
    import re

    python = {code for code in range(sys.maxunicode + 1) if chr(code).isspace()}
    assert {code for code in range(sys.maxunicode + 1) if re.fullmatch(unicode.SPACE, chr(code))} == python - set(range(0x1C, 0x20))


@given(texts)
def test_a_shape_is_ascii_and_as_long_as_its_text(text):
    """ASCII characters have their own shape."""
    shape = unicode.shape(text)
    assert shape.isascii() and len(shape) == len(text)
    assert all(mark == char for mark, char in zip(shape, text) if char.isascii())


def test_a_word_that_only_looks_like_a_special_token_is_none():
    """With a Cyrillic а or е in it: their shape is none of the letters that the pattern spells out."""
    for lookalike in ("endoftеxt", "stаrtoftext"):
        assert words(f"<|{lookalike}|>!") == ["<|", lookalike, "|>!"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_symbols_are_read_as_the_bytes_they_were_spelled_from(word):
    """A symbol a byte, the end marked; none of them a space or a control character."""
    symbols = spell(word)
    assert len(symbols) == len(word.encode()) and b"".join(map(read, symbols)) == word.encode() + b" "
    assert all(symbol.isprintable() and " " not in symbol for symbol in symbols)


def test_bytes_and_symbols_are_one_to_one():
    """256 of each; printable ASCII is itself, a space is Ġ."""
    assert len(SYMBOLS) == len(BYTES) == 256 and BYTES == {symbol: byte for byte, symbol in SYMBOLS.items()}
    assert all(SYMBOLS[code] == chr(code) for code in range(33, 127)) and SYMBOLS[32] == "Ġ"


@pytest.mark.parametrize("text, error, message", [
    (7, TypeError, "expected a text .str., got int"), (b"cat", TypeError, "got bytes"), (None, TypeError, "got NoneType"),
    ("a\ud83db", ValueError, r"character 1 of the text is '\\ud83d', half a character"),
])
def test_what_is_no_text_is_refused(text, error, message, trained):
    """By name, wherever a text goes in."""
    calls = [words, trained.encode, trained.tokens, lambda text: trained([text]), lambda text: Tokenizer.train([text], 600)]
    for call in calls if text == b"cat" else [*calls, trained]:      # a row of bytes is a row of numbers
        with pytest.raises(error, match=message):
            call(text)


# -- pairs -----------------------------------------------------------------------------------------------------------

symbols = st.lists(st.sampled_from("abc"), min_size=1, max_size=12).map(tuple)
corpora = st.dictionaries(symbols, st.integers(1, 4), max_size=8)


def learn_by_counting_all_again(counts, number):
    """Sennrich et al.'s Algorithm 1 as it stands in the paper, with our rule for ties."""
    vocabulary, chosen = dict(counts), []
    while len(chosen) < number:
        occurs = Counter()
        for word, count in vocabulary.items():
            for pair in pairwise(word):
                occurs[pair] += count
        most = max(occurs.values(), default=0)
        if most < 2:
            break
        chosen.append(min(pair for pair, count in occurs.items() if count == most))
        joined = Counter()
        for word, count in vocabulary.items():
            joined[join_by_text(word, chosen[-1])] += count
        vocabulary = joined
    return chosen


def join_by_text(word, pair):
    """Search and replace in "[a][b][c]", with other brackets."""
    text = "".join(f"\0{symbol}\1" for symbol in word).replace(f"\0{pair[0]}\1\0{pair[1]}\1", f"\0{''.join(pair)}\1")
    return tuple(text[1:-1].split("\1\0"))


@given(symbols, st.tuples(st.sampled_from("abc"), st.sampled_from("abc")))
def test_joining_is_search_and_replace_from_the_left(word, pair):
    """As str.replace does it."""
    assert join(word, pair) == join_by_text(word, pair)


@given(corpora, st.integers(0, 30))
def test_learning_chooses_what_counting_everything_again_chooses(counts, number):
    """Words of three letters, so that pairs overlap and tie."""
    assert learn(counts, number) == learn_by_counting_all_again(counts, number)


def test_learning_from_sentences_chooses_what_counting_everything_again_chooses():
    """The same, with words as they are."""
    counts = Counter(spell(word) for caption in CAPTIONS for word in words(caption))
    assert len(learn(counts, 1000)) > 30 and learn(counts, 1000) == learn_by_counting_all_again(counts, 1000)


@given(corpora)
def test_every_merge_makes_a_token_that_was_not_there(counts):
    """So the numbers of tokens have no gaps, and each part of a pair is a letter or was made before."""
    known = set("abc")
    for a, b in learn(counts, 100):
        assert a in known and b in known and a + b not in known
        known.add(a + b)


@given(corpora, symbols)
def test_segmenting_replays_what_was_learned(counts, word):
    """Take the learned pairs in order and join each everywhere: the same as joining, again and again, the neighbours learned first."""
    chosen = learn(counts, 100)
    replayed = word
    for pair in chosen:
        replayed = join(replayed, pair)
    assert segment(word, {pair: rank for rank, pair in enumerate(chosen)}) == replayed


@given(corpora)
def test_words_of_the_corpus_end_as_learning_left_them(counts):
    """When all pairs are learned that occur twice, a word that occurs twice is one token."""
    ranks = {pair: rank for rank, pair in enumerate(learn(counts, 10**6))}
    assert all(len(segment(word, ranks)) == 1 for word, count in counts.items() if count >= 2)


@given(st.permutations(CAPTIONS))
def test_the_order_of_the_captions_does_not_matter(captions):
    """Only counts do."""
    assert Tokenizer.train(captions, 640).merges == Tokenizer.train(CAPTIONS, 640).merges


def test_the_seed_of_pythons_hashes_does_not_matter(trained):
    """Sets of texts are walked in another order in every process."""
    code = f"from minidiff.models.tokenizer import Tokenizer; print(ascii(Tokenizer.train({CAPTIONS!a}, 640).merges))"
    for seed in ("1", "2"):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed})
        assert ran.stdout.strip() == ascii(trained.merges)


def test_the_example_in_the_paper():
    """Sennrich et al. 2016, the listing of Algorithm 1: low lower newest widest, with an end-of-word symbol of its own."""
    counts = {(*word, "</w>"): count for word, count in {"low": 5, "lower": 2, "newest": 6, "widest": 3}.items()}
    assert learn(counts, 5) == [("e", "s"), ("es", "t"), ("est", "</w>"), ("l", "o"), ("lo", "w")]
    assert segment((*"lowest", "</w>"), {pair: rank for rank, pair in enumerate(learn(counts, 5))}) == ("low", "est</w>")


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_are_in_clips_order(trained):
    """256 bytes, 256 bytes that end a word, the merges, start, end; ! is 0 as in CLIP, a is 64."""
    tokens = sorted(trained.ids, key=trained.ids.get)
    assert tokens[:256] == list(SYMBOLS.values()) and tokens[256:512] == [f"{symbol}</w>" for symbol in tokens[:256]]
    assert tokens[512:-2] == [a + b for a, b in trained.merges] and tuple(tokens[-2:]) == SPECIAL
    assert [trained.ids[token] for token in ("!", "a", "~", "¡", "ÿ", "Ā", "Ń", "!</w>")] == [0, 64, 93, 94, 187, 188, 255, 256]
    assert (trained.start, trained.end, trained.pad) == (len(trained) - 2, len(trained) - 1, len(trained) - 1)
    assert sorted(trained.ids.values()) == list(range(len(trained)))


@settings(max_examples=300)
@given(text=plain)
def test_decoding_gives_the_words_again(text, trained):
    """Any text of any language, as its words with a space between them."""
    assert trained.decode(trained.encode(text)) == " ".join(words(text))


def test_a_vocabulary_without_merges_has_bytes():
    """vocab_size 514: a number a byte."""
    bytes_only = Tokenizer.train(CAPTIONS, 514)
    assert len(bytes_only) == 514 and bytes_only.merges == []
    assert bytes_only.encode("cat") == [66, 64, 83 + 256]


def test_words_that_are_frequent_are_one_token(trained):
    """heart and face are, an unknown word is not, and is no error."""
    assert trained.tokens("heart face") == ["heart</w>", "face</w>"]
    assert len(trained.tokens("zyzzyva")) > 3


def test_training_ends_when_no_pair_occurs_twice():
    """The vocabulary is then smaller than was asked for."""
    assert Tokenizer.train(["ab ab", "cd"], 10_000).merges == [("a", "b</w>")]


def test_start_and_end_in_a_text_are_tokens(trained):
    """Spelled out exactly; what surrounds them is cut on its own. In capitals they are words like others."""
    a, b = trained.encode("a"), trained.encode("b")
    assert trained.encode("a<|endoftext|>b <|startoftext|>") == [*a, trained.end, *b, trained.start]
    assert trained.encode("<|ENDOFTEXT|>") == trained.encode("<| endoftext |>")
    assert trained.decode(trained.encode("a<|endoftext|>b")) == "a b"


def test_special_tokens_are_added_when_asked_for(trained):
    """Start before, end behind."""
    assert trained.encode("a heart", add_special_tokens=True) == [trained.start, *trained.encode("a heart"), trained.end]
    assert trained.encode("", add_special_tokens=True) == [trained.start, trained.end] and trained.encode("") == []


def test_what_encode_returned_may_be_changed(trained):
    """It is no part of what the tokenizer remembers."""
    first = trained.encode("hearts")
    first.append(0)
    assert trained.encode("hearts") == first[:-1]


def test_forgetting_words_changes_nothing(trained, monkeypatch):
    """With room for two words in memory."""
    monkeypatch.setattr(tokenizer, "CACHE", 2)
    forgetful = Tokenizer(trained.merges)
    assert [forgetful.encode(caption) for caption in CAPTIONS] == [trained.encode(caption) for caption in CAPTIONS]
    assert len(forgetful._cache) <= 2


def test_tokens_can_be_read(trained):
    """Whole characters as they are, single bytes with their number, the end of a word as </w>."""
    assert trained.tokens("Hearts Eye 日 文<|endoftext|>") == [
        "hear", "t", "s</w>", "ey", "e</w>", "\\xe6\\x97", "\\xa5</w>", "\\xe6", "\\x96", "\\x87</w>", "<|endoftext|>"]


@given(ids=st.lists(st.integers(0, 639)))
def test_any_numbers_can_be_decoded(ids, trained):
    """Halves of characters become U+FFFD: the bytes of all tokens, decoded at once."""
    tokens = sorted(trained.ids, key=trained.ids.get)
    ids = [i for i in ids if i < len(trained)]
    data = b"".join(read(tokens[i]) for i in ids if tokens[i] not in SPECIAL)
    text = data.decode("utf-8", "replace")
    assert trained.decode(ids) == trained.decode(np.array(ids, np.int64)) == (text[:-1] if text.endswith(" ") else text)


@pytest.mark.parametrize("ids", [[10**6], [-1], [0, 5, -7]])
def test_a_number_without_a_token_is_refused(ids, trained):
    """Below 0, too: it is no place from the end."""
    with pytest.raises(ValueError, match=f"no token has the number {ids[-1]}; the vocabulary has {len(trained)}, from 0 on"):
        trained.decode(ids)


@pytest.mark.parametrize("ids, found", [([1.0], r"float64 of shape \(1,\)"), ([[1, 2]], r"int64 of shape \(1, 2\)"), (3, r"of shape \(\)"),
                                        ("ab", "of shape"), ([True], "bool")])
def test_what_are_no_numbers_in_a_row_is_refused(ids, found, trained):
    """Reals, several rows, one number, a text."""
    with pytest.raises(TypeError, match=f"expected integers in a row, .L,., got .*{found}"):
        trained.decode(ids)


# -- rows ------------------------------------------------------------------------------------------------------------


@given(captions=st.lists(plain, max_size=4), length=st.integers(2, 30))
def test_rows_are_start_text_end_pad(captions, length, trained):
    """int64, one length; what does not fit is left out, and the end stays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        rows = trained(captions, context_length=length)
    assert rows.shape == (len(captions), length) and rows.dtype == np.int64
    for row, caption in zip(rows.tolist(), captions):
        ids = trained.encode(caption)[:length - 2]
        assert row == [trained.start, *ids, trained.end] + [trained.pad] * (length - len(ids) - 2)


def test_one_text_is_one_row(trained):
    """And the context is CLIP's, 77, if nothing is said."""
    assert np.array_equal(trained("a heart"), trained(["a heart"])) and trained("a heart").shape == (1, 77)


def test_a_row_may_be_padded_with_another_token(trained):
    """With !, number 0, as the second encoder of Stable Diffusion XL; an exclamation mark in a text then is that token."""
    xl = Tokenizer(trained.merges, pad="!")
    assert xl(["a!"], 6).tolist() == [[xl.start, *xl.encode("a"), 0, xl.end, 0, 0]] and trained.encode("!") == [256]
    assert xl.decode(xl("a heart")[0]) == "a heart"


def test_what_is_cut_off_is_said(trained):
    """The warning names the text, how long it is, the room, and what is lost; a text that just fits is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(["heart heart heart"], 5)
    with pytest.warns(TruncationWarning) as caught:
        rows = trained(["a", "heart heart heart face eyes"], 5)
    assert [str(warning.message) for warning in caught] == [
        "tokenizer: the text 'heart heart heart face eyes' has 5 tokens, a context of 5 has room for 3; cut off: 'face eyes'"]
    assert caught[0].filename == __file__
    assert trained.decode(rows[1]) == "heart heart heart"


def test_cutting_off_may_be_refused(trained):
    """truncate=False; the message says where it would be cut."""
    with pytest.raises(ValueError, match=r"^tokenizer: the text 'heart heart heart face eyes' has 5 tokens, a context of 5 has room for 3; "
                                         r"shorten it, or have it cut off before 'face eyes' \(truncate=True\)$"):
        trained(["a", "heart heart heart face eyes"], 5, truncate=False)
    assert trained(["heart heart heart"], 5, truncate=False).shape == (1, 5)


def test_long_texts_are_quoted_in_part(trained):
    """A message stays a line."""
    with pytest.warns(TruncationWarning) as caught:
        trained(["heart\n" * 10_000])
    assert len(str(caught[0].message)) < 250 and "heart he ...' has 10000 tokens" in str(caught[0].message)


@pytest.mark.parametrize("length", [1, 0, -3, 7.0, "77", None])
def test_a_context_without_room_is_refused(length, trained):
    """Start and end need two places."""
    with pytest.raises(ValueError, match=r"context_length .*, expected an integer of at least 2, for start and end"):
        trained(["a"], length)


# -- what does not fit together --------------------------------------------------------------------------------------


@pytest.mark.parametrize("merges, ids, pad, message", [
    ([("a", "b"), ("x", "yz")], None, "!", r"merge 2 joins 'x' and 'yz', but 'yz' is neither a byte nor made by an earlier merge"),
    ([("a", "b"), ("a", "b")], None, "!", r"merge 2 makes 'ab', which is there already"),
    ([("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc")], None, "!", r"merge 4 makes 'abc', which is there already"),
    ([("a", "</w>")], None, "!", r"'</w>' is neither a byte"),
    ([], None, "[PAD]", r"the pad '\[PAD\]' is not in the vocabulary; take '<\|endoftext\|>', or another token of it"),
    ([], {"a": 0}, "!", r"the vocabulary has no number for '!' \(513 tokens are missing\); it belongs to other merges"),
])
def test_merges_that_cannot_be_are_refused(merges, ids, pad, message):
    """A part that nothing makes, a token made twice, a pad or a number that is not there."""
    with pytest.raises(VocabularyError, match=message):
        Tokenizer(merges, ids, pad)


def test_numbers_that_cannot_be_are_refused(trained):
    """A token too much, a number twice, a gap. Any order is one."""
    with pytest.raises(VocabularyError, match=r"has 'cat-toy', which no merge makes \(1 such tokens\)"):
        Tokenizer(trained.merges, {**trained.ids, "cat-toy": len(trained)})
    for number in (5, len(trained) + 3):
        with pytest.raises(VocabularyError, match=f"the numbers of the {len(trained)} tokens are not 0 to {len(trained) - 1}, each once"):
            Tokenizer(trained.merges, {**trained.ids, "a": number})
    turned = Tokenizer(trained.merges, {token: len(trained) - 1 - number for token, number in trained.ids.items()})
    assert turned.encode("red hearts") == [len(trained) - 1 - number for number in trained.encode("red hearts")]
    assert turned.decode(turned.encode("red hearts")) == "red hearts" and turned.end == 0


@pytest.mark.parametrize("captions, size, error, message", [
    ("a red heart", 600, TypeError, "captions is one text, expected several"),
    (CAPTIONS, 513, ValueError, "vocab_size 513, expected an integer of at least 514"),
    (CAPTIONS, 600.0, ValueError, "vocab_size 600.0"), (CAPTIONS, "600", ValueError, "vocab_size '600'"),
])
def test_training_refuses(captions, size, error, message):
    """One text for several, and a vocabulary without room for the bytes."""
    with pytest.raises(error, match=message):
        Tokenizer.train(captions, size)


# -- files -----------------------------------------------------------------------------------------------------------


def same(a, b):
    """Two tokenizers are one."""
    return (a.merges, a.ids, a.pad) == (b.merges, b.ids, b.pad)


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_a_folder_gives_back_what_was_saved(trained, tmp_path, pad):
    """Merges, numbers, pad; saving again what is there already is no conflict; nothing else lies in the folder."""
    saved = Tokenizer(trained.merges, pad=pad)
    for _ in range(2):
        saved.save(tmp_path / "new" / "folder")
    assert same(Tokenizer.load(tmp_path / "new" / "folder"), saved)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["merges.txt", "tokenizer_config.json", "vocab.json"]


@pytest.mark.parametrize("name", ["merges.txt", "vocab.json", "tokenizer_config.json", "tokenizer.json"])
def test_another_vocabulary_is_not_overwritten(trained, tmp_path, name):
    """Not even in part: nothing is written if one of the files is another."""
    (tmp_path / name).write_text("something else")
    with pytest.raises(FileExistsError, match=f"{name}: another vocabulary is there.*nothing was written"):
        trained.save(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "something else")]


@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_disk_that_is_full_leaves_nothing_behind(trained, tmp_path, monkeypatch, good):
    """Whichever of the three files does not fit any more."""
    write, written = Path.write_bytes, []

    def full(path, data):
        written.append(path)
        write(path, data if len(written) <= good else data[:10])
        if len(written) > good:
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        trained.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def merges_text(tokenizer):
    return "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in tokenizer.merges)


def tokenizer_json(tokenizer, **changes):
    """As transformers writes it, in part."""
    merges = [list(pair) for pair in tokenizer.merges]
    return {"version": "1.0", "model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": tokenizer.ids, "merges": merges, **changes}}


@pytest.mark.parametrize("form", ["plain", "gz", "crlf", "no header", "byte order mark", "no last newline", "OpenAI's", "tokenizer.json",
                                  "older tokenizer.json"])
def test_merges_are_read_in_any_form(trained, tmp_path, form, monkeypatch):
    """The same tokenizer comes out."""
    text = merges_text(trained)
    if form == "OpenAI's":      # a quotation mark in the first line, and more pairs than are used, in whatever state
        monkeypatch.setattr(files, "OPENAI_USES", len(trained.merges))
        text = '"bpe_simple_vocab_16e6.txt' + text + "never used\nand broken\n"
    data = {
        "crlf": text.replace("\n", "\r\n"), "no header": text.partition("\n")[2], "byte order mark": "\ufeff" + text.partition("\n")[2],
        "no last newline": text[:-1], "tokenizer.json": json.dumps(tokenizer_json(trained)),
        "older tokenizer.json": "\n" + json.dumps(tokenizer_json(trained, merges=[" ".join(pair) for pair in trained.merges])),
    }.get(form, text).encode()
    (tmp_path / "file").write_bytes(gzip.compress(data) if form in ("gz", "OpenAI's") else data)
    assert same(Tokenizer.from_merges(tmp_path / "file"), trained)


def test_a_folder_of_transformers_5_has_one_file(trained, tmp_path):
    """tokenizer.json, and the pad in tokenizer_config.json, as a text or with its properties."""
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(trained)))
    assert same(Tokenizer.load(tmp_path), trained)
    for pad in ("!", {"__type": "AddedToken", "content": "!", "normalized": False}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": pad}))
        assert Tokenizer.load(tmp_path).pad == 0
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": None}))
    assert Tokenizer.load(tmp_path).pad == trained.end


@pytest.mark.parametrize("data, message", [
    (b"{", "not JSON, or cut short"), (b"[]", "not a tokenizer_config"), (b'{"pad_token": 7}', "not a tokenizer_config"),
    (b'{"pad_token": {"content": ["!"]}}', "not a tokenizer_config"),
    (b'{"pad_token": "[PAD]"}', r"the pad '\[PAD\]' is not in the vocabulary"),
])
def test_a_bad_pad_in_a_folder_is_refused(data, message, trained, tmp_path):
    """Of another kind, or a token that is not there."""
    trained.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_bytes(data)
    with pytest.raises(VocabularyError, match=message):
        Tokenizer.load(tmp_path)


def test_numbers_may_come_from_a_vocab_json(trained, tmp_path):
    """In any order; without it, they are in CLIP's."""
    turned = {token: len(trained) - 1 - number for token, number in trained.ids.items()}
    (tmp_path / "merges.txt").write_text(merges_text(trained), encoding="utf-8")
    assert same(Tokenizer.load(tmp_path), trained)
    (tmp_path / "vocab.json").write_text(json.dumps(turned))
    assert Tokenizer.load(tmp_path).ids == Tokenizer.from_merges(tmp_path / "merges.txt", tmp_path / "vocab.json").ids == turned


BAD = {
    "empty": (b"", "empty; get the file again"),
    "blank": (b" \n\n", "empty; get the file again"),
    "a picture": (b"\x89PNG\r\n\x1a\n", r"not a text in UTF-8 \(byte 0 is 0x89\)"),
    "half a gz": (gzip.compress(b"#version: 0.2\n" * 100)[:30], r"not a sound \.gz file"),
    "a line cut short": (b"#version: 0.2\na b\nab", "line 3 is 'ab', expected two symbols"),
    "a line too long": (b"#version: 0.2\na b c\n", "line 2 is 'a b c', expected two symbols"),
    "a line missing": (b"#version: 0.2\na b\nabc d\n", "merge 2 joins 'abc' and 'd', but 'abc' is neither a byte nor made by an earlier"),
    "a line twice": (b"a b\na b\n", "merge 2 makes 'ab', which is there already"),
    "a blank line": (b"#version: 0.2\na b\n\nab c\n", "line 3 is '', expected two symbols"),
    "GPT-2": ("#version: 0.2\nĠ t\nh e\n".encode(), "line 2: 'Ġ' has Ġ in it, a space: the layout of GPT-2"),
    "BERT": (b"[PAD]\n[UNK]\nthe\n##s\n", r"line 1 is '\[PAD\]', expected two symbols.*vocab\.txt"),
    "SentencePiece": ("▁t he\n".encode(), "line 1: '▁t' has '▁' in it, which stands for no byte: the layout of SentencePiece"),
    "letters": ("т о\n".encode(), "which stands for no byte"),
    "OpenAI's, cut short": (b'"bpe_simple_vocab_16e6.txt#version: 0.2\ni n\n', "cut short, 1 pairs, but CLIP has 48894"),
    "vocab.json": (b'{"!": 0, "a": 1}', "a vocab.json, which has the tokens but not the pairs; give merges.txt"),
    "config.json": (b'{"model_type": "clip"}', r'JSON, but not a tokenizer\.json'),
    "a list": (b'["a", "b"]', "merge 1 joins .* is neither a byte nor made by an earlier merge"),
    "JSON cut short": (b'{"model": {"type": "BPE", "voc', "not JSON, or cut short"),
    "deep JSON": (b'{"a":' * 100_000, "not JSON, or cut short"),
    "WordPiece": (b'{"model": {"type": "WordPiece", "vocab": {}}}', "of another kind, WordPiece; CLIP's is BPE"),
    "GPT-2's tokenizer.json": (b'{"model": {"type": "BPE", "end_of_word_suffix": "", "vocab": {}, "merges": []}}',
                               "BPE of another layout, GPT-2's or a later one: CLIP's tokens end words with </w>, these with ''"),
    "no vocabulary": (b'{"model": {"merges": [], "end_of_word_suffix": "</w>"}}', 'without a list "merges" or a map "vocab"'),
    "a merge of three": (b'{"model": {"merges": [["a", "b", "c"]], "end_of_word_suffix": "</w>", "vocab": {}}}', "merge 1 is 'a b c'"),
    "a merge of a number": (b'{"model": {"merges": [7], "end_of_word_suffix": "</w>", "vocab": {}}}', "merge 1 is '7'"),
    "a merge with nothing": (b'{"model": {"merges": [["a", ""]], "end_of_word_suffix": "</w>", "vocab": {}}}', "merge 1 is 'a '"),
    "merges of others": (b'{"model": {"merges": [], "end_of_word_suffix": "</w>", "vocab": {"a": 0}}}', "it belongs to other merges"),
}


@pytest.mark.parametrize("data, message", BAD.values(), ids=BAD.keys())
def test_bad_files_are_refused_by_name(data, message, tmp_path):
    """The file, the line, what was expected; for another layout, whose it is."""
    (tmp_path / "given").write_bytes(data)
    with pytest.raises(VocabularyError, match=message) as raised:
        Tokenizer.from_merges(tmp_path / "given")
    assert str(raised.value).startswith(str(tmp_path / "given")) and "\n" not in str(raised.value)


@pytest.mark.parametrize("data, message", [
    (b"#version: 0.2\na b\n", "not JSON, or cut short"), (b'{"a": "b"}', "expected token -> number"), (b'{"a": true}', "expected token"),
    (b"[]", "expected token"), (b'{"a": 0}', "the vocabulary has no number for '!'"),
])
def test_bad_vocabularies_are_refused_by_name(data, message, tmp_path, trained):
    """vocab.json of another kind, or of other merges."""
    (tmp_path / "merges.txt").write_text(merges_text(trained), encoding="utf-8")
    (tmp_path / "vocab.json").write_bytes(data)
    with pytest.raises(VocabularyError, match=message) as raised:
        Tokenizer.load(tmp_path)
    assert str(tmp_path / "vocab.json") in str(raised.value)


def test_what_is_not_there_is_named(tmp_path):
    """A folder, a file, a folder with other things; a folder where a file is expected."""
    for call in (Tokenizer.load, Tokenizer.from_merges):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            call(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"neither merges\.txt nor tokenizer\.json in it"):
        Tokenizer.load(tmp_path)
    with pytest.raises(OSError, match=str(tmp_path)):
        Tokenizer.from_merges(tmp_path)


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    """Nor unpacked: a kilobyte of gz can be a megabyte."""
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    (tmp_path / "file").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(VocabularyError, match="more than 1000 bytes"):
        Tokenizer.from_merges(tmp_path / "file")


@given(data=st.data())
def test_damaged_files_give_a_vocabulary_or_an_error_that_names_them(data, trained, tmp_path_factory):
    """Cut anywhere, or a byte changed anywhere: never another error, and never another kind of tokenizer."""
    form = data.draw(st.sampled_from(["txt", "gz", "json"]))
    text = json.dumps(tokenizer_json(trained)) if form == "json" else merges_text(trained)
    whole = gzip.compress(text.encode(), mtime=0) if form == "gz" else text.encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(st.sampled_from([whole[:place], whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1:]]))
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(damaged)
    try:
        found = Tokenizer.from_merges(path)
    except VocabularyError as error:
        assert str(path) in str(error)
    else:
        assert found.decode(found.encode("a red heart")) == "a red heart"


# -- CLIP's own ------------------------------------------------------------------------------------------------------


def test_clips_vocabulary_gives_the_numbers_that_everybody_knows(clip):
    """49,408 tokens; the examples in OpenAI's documentation and in many a tutorial."""
    assert (len(clip), clip.start, clip.end) == (49408, 49406, 49407)
    assert clip.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert clip.encode("hello world!") == [3306, 1002, 256]
    assert clip("a diagram", 6).tolist() == [[49406, 320, 22697, 49407, 49407, 49407]]


def test_clips_merges_are_those_of_a_learner(clip):
    """Taken in order they replay to what segmenting gives: with its vocabulary, too, the two ways to read the paper agree."""
    for word in ("astronaut", "photorealistic", "日本語", "isn", "straße"):
        replayed = spell(word)
        for pair in clip.merges:
            replayed = join(replayed, pair)
        assert [clip.ids[token] for token in replayed] == clip.encode(word)
