"""The files in which vocabularies travel, read with suspicion and written whole.

    merges.txt              a line "#version: 0.2", then a pair a line, the most important first
    vocab.json              token -> number
    tokenizer.json          both in one (transformers since 5 writes only this one)
    tokenizer_config.json   which token fills up a row

OpenAI publishes `bpe_simple_vocab_16e6.txt.gz`: like merges.txt, with more pairs than CLIP has.
"""

import gzip
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .pairs import Pair
from .words import BYTES, END, END_OF_WORD, START, SYMBOLS

MERGES, VOCABULARY, BOTH, CONFIG = "merges.txt", "vocab.json", "tokenizer.json", "tokenizer_config.json"
OPENAI, OPENAI_USES = "bpe_simple_vocab_16e6", 49152 - 256 - 2     # its file has 262,144 pairs; its code reads that many
MAX_BYTES = 2**26           # 64 MiB: 20 times OpenAI's file unpacked
SPACE_IN_WORD = SYMBOLS[ord(" ")]                                  # "Ġ", in GPT-2's tokens; a word of CLIP's has no space in it


class VocabularyError(ValueError):
    """A vocabulary that cannot be used: its file is damaged or of another layout, or its parts do not fit together."""


def read_merges(path: str | os.PathLike) -> tuple[list[Pair], dict[str, int] | None]:
    """The pairs in a merges file (plain or .gz), or the pairs and the numbers in a tokenizer.json.

    Raises OSError for a file that cannot be read, VocabularyError for one that is damaged or of another layout, and says which.
    """
    text = _read_text(path)
    if text.lstrip().startswith("{"):
        return _pairs_of_json(path, _read_json(path, text))
    lines = text.rstrip().split("\n")
    head = lines.pop(0) if "#version" in lines[0] else ""
    if OPENAI in head:
        if len(lines) < OPENAI_USES:
            raise VocabularyError(f"{path}: cut short, {len(lines)} pairs, but CLIP has {OPENAI_USES}; get the file again")
        del lines[OPENAI_USES:]
    first = 2 if head else 1
    return [_pair(f"{path}: line {first + n}", line.split()) for n, line in enumerate(lines)], None


def read_vocabulary(path: str | os.PathLike) -> dict[str, int]:
    """The numbers of the tokens in a vocab.json. Raises OSError, and VocabularyError for a file of another kind."""
    content = _read_json(path, _read_text(path))
    if not _is_vocabulary(content):
        raise VocabularyError(f"{path}: not a vocab.json, expected token -> number and nothing else")
    return content


def read_pad(path: Path) -> str:
    """The token that fills up a row, from a tokenizer_config.json; the end of the text if it does not say, or is not there.

    Raises OSError, and VocabularyError for a file of another kind.
    """
    content = _read_json(path, _read_text(path)) if path.exists() else {}
    pad = content.get("pad_token") if isinstance(content, dict) else content
    pad = pad.get("content") if isinstance(pad, dict) else pad         # a text, or a text with its properties
    if pad is not None and not isinstance(pad, str):
        raise VocabularyError(f"{path}: not a tokenizer_config.json, whose \"pad_token\" is a text")
    return END if pad is None else pad


def write_files(folder: Path, pairs: list[Pair], ids: Mapping[str, int], pad: str) -> None:
    """Write merges.txt, vocab.json and tokenizer_config.json: first under other names, then, when all are whole, under their own.

    Raises FileExistsError, before anything is written, if another vocabulary is in the folder: some model was trained with it.
    """
    config = {"tokenizer_class": "CLIPTokenizer", "bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    contents = {
        MERGES: "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs),
        VOCABULARY: json.dumps(ids, ensure_ascii=False, indent=0) + "\n",
        CONFIG: json.dumps(config, ensure_ascii=False, indent=2) + "\n",
    }
    data = {folder / name: content.encode("utf-8") for name, content in contents.items()}
    for path in (*data, folder / BOTH):
        if path.exists() and path.read_bytes() != data.get(path):
            raise FileExistsError(f"{path}: another vocabulary is there, and the model trained with it needs it; "
                                  "nothing was written, choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    parts = {path: path.with_name(f"{path.name}.part") for path in data}
    try:
        for path, part in parts.items():
            part.write_bytes(data[path])
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _read_text(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as file:
                data = file.read(MAX_BYTES + 1)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise VocabularyError(f"{path}: not a sound .gz file ({error}); get the file again") from None
    if len(data) > MAX_BYTES:
        raise VocabularyError(f"{path}: more than {MAX_BYTES} bytes; no vocabulary is that large")
    if not data.strip():
        raise VocabularyError(f"{path}: empty; get the file again")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: not a text in UTF-8 (byte {error.start} is {data[error.start]:#04x}); damaged, or another kind "
                              "of file") from None


def _read_json(path: str | os.PathLike, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VocabularyError(f"{path}: not JSON, or cut short ({error})") from None


def _is_vocabulary(content: Any) -> bool:
    return isinstance(content, dict) and all(type(number) is int for number in content.values())


def _pairs_of_json(path: str | os.PathLike, content: Any) -> tuple[list[Pair], dict[str, int]]:
    if _is_vocabulary(content):
        raise VocabularyError(f"{path}: a vocab.json, which has the tokens but not the pairs; give {MERGES}, and this file beside it")
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise VocabularyError(f"{path}: JSON, but not a {BOTH} (it has no \"model\"); give {MERGES} or {BOTH}")
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise VocabularyError(f"{path}: a {BOTH} of another kind, {kind}; CLIP's is BPE")
    if model.get("end_of_word_suffix") != END_OF_WORD:
        raise VocabularyError(f"{path}: BPE of another layout, GPT-2's or a later one: CLIP's tokens end words with {END_OF_WORD}, these "
                              f"with {model.get('end_of_word_suffix')!r}")
    pairs, ids = model.get("merges"), model.get("vocab")
    if not isinstance(pairs, list) or not _is_vocabulary(ids):
        raise VocabularyError(f"{path}: a {BOTH} without a list \"merges\" or a map \"vocab\" from tokens to numbers; get the file again")
    return [_pair(f"{path}: merge {n + 1}", pair.split() if isinstance(pair, str) else pair) for n, pair in enumerate(pairs)], ids


def _pair(where: str, symbols: Any) -> Pair:
    """Two symbols made of bytes, or an error that says whose layout it is instead."""
    if not isinstance(symbols, list) or len(symbols) != 2 or not all(isinstance(symbol, str) and symbol for symbol in symbols):
        found = " ".join(map(str, symbols))[:40] if isinstance(symbols, list) else str(symbols)[:40]
        raise VocabularyError(f"{where} is {found!r}, expected two symbols, the pair to join; cut short, or another kind of file "
                              "(a list of tokens, as BERT's vocab.txt, has no pairs)")
    for symbol in symbols:
        if SPACE_IN_WORD in symbol:
            raise VocabularyError(f"{where}: {symbol!r} has {SPACE_IN_WORD} in it, a space: the layout of GPT-2; CLIP's tokens have no "
                                  f"spaces, they end words with {END_OF_WORD}")
        strange = next((char for char in symbol.removesuffix(END_OF_WORD) if char not in BYTES), None)
        if strange is not None:
            raise VocabularyError(f"{where}: {symbol!r} has {strange!r} in it, which stands for no byte: the layout of SentencePiece, or a "
                                  "vocabulary of letters; CLIP's is one of bytes")
    return tuple(symbols)
