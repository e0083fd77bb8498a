"""The captions of a folder of pictures: the file `metadata.jsonl`, as Hugging Face's ImageFolder reads it.

    {"file_name": "1.png", "text": "a cat on a sofa"}
    {"file_name": "dogs/2.png", "text": ["a dog", "a dog runs after its ball"]}

One JSON object a line. `file_name` is a path below the folder, `text` (or `captions`) one caption or a list of them; other
keys and empty lines are passed over. The convention: https://huggingface.co/docs/datasets/image_dataset
"""

import json
import os
from pathlib import Path, PurePosixPath

from minidiff.data.dataset import is_caption
from minidiff.data.errors import DataError

METADATA = "metadata.jsonl"
CAPTION_KEYS = ("text", "captions")
EXAMPLE = 'a line is like {"file_name": "1.png", "text": "a cat"}'


def read_metadata(folder: Path) -> dict[str, tuple[str, ...]]:
    """File name -> captions, in the order of the lines. The names are paths from `folder`, with "/".

    Raises DataError for a line that is not such an object, has no caption or an empty one, or repeats a file, and
    FileNotFoundError for a file that is not there. Each message names the file and the line.
    """
    path = folder / METADATA
    captions: dict[str, tuple[str, ...]] = {}
    line_of: dict[str, int] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        entry = _parse(line, place)
        name = _file_name(entry, folder, place)
        if name in line_of:
            raise DataError(f"{place}: {name} stands in line {line_of[name]} already; several captions of an image are a list "
                            "in one line")
        line_of[name] = number
        captions[name] = _captions(entry, place)
    if not captions:
        raise DataError(f"{path}: no lines; there must be one for each image, {EXAMPLE}")
    return captions


def _parse(line: bytes, place: str) -> dict:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({error}); {EXAMPLE}") from None
    if not isinstance(entry, dict):
        raise DataError(f"{place}: not a JSON object; {EXAMPLE}")
    return entry


def _file_name(entry: dict, folder: Path, place: str) -> str:
    name = entry.get("file_name")
    if not isinstance(name, str):
        raise DataError(f'{place}: no string "file_name"; there are {_keys(entry)}; {EXAMPLE}')
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{place}: file_name {name} leads out of the folder; it must be a path below {folder}")
    if not os.path.isfile(folder / path):       # Path.is_file raises for names that no file can have
        raise FileNotFoundError(f"{place}: no such file, {str(folder / path)!r}")
    return str(path)


def _captions(entry: dict, place: str) -> tuple[str, ...]:
    there = [key for key in CAPTION_KEYS if key in entry]
    if len(there) != 1:
        raise DataError(f'{place}: expected one of "text" and "captions"; there are {_keys(entry)}; {EXAMPLE}')
    value = entry[there[0]]
    captions = tuple(value) if isinstance(value, list) else (value,)
    if not captions or not all(map(is_caption, captions)):
        raise DataError(f"{place}: {there[0]} must be a caption or a list of captions, strings that are not empty, got {value!r:.80}")
    return captions


def _keys(entry: dict) -> str:
    return ", ".join(sorted(entry)) or "none"
