"""The door of this room: one function that takes whatever names a set of images and gives a `Dataset`.

The forms it knows have a module each: `idx_folder`, `image_folder`, `npz`; the embedded sets are a folder of IDX files
and an `.npz` file inside the package.
"""

import os
from pathlib import Path

from minidiff.data.dataset import Dataset
from minidiff.data.errors import DataError
from minidiff.data.idx_folder import is_idx_folder, read_idx_folder
from minidiff.data.image_folder import read_image_folder
from minidiff.data.npz import read_npz

EMBEDDED = {"fashion-mnist-mini": Path(__file__).parent / "fashion_mnist_mini",
            "emoji": Path(__file__).parent / "emoji" / "emoji.npz"}
SPLITS = ("train", "test")
FORMS = (f"a data source is the name {' or '.join(EMBEDDED)}, a folder of IDX files (train-images-idx3-ubyte.gz, ...), "
         "a folder of images with one sub-folder for each class or with captions in a metadata.jsonl, "
         "or an .npz file with the arrays images and labels, captions or both")


def load(source: str | os.PathLike, split: str = "train") -> Dataset:
    """The images of one split of a data source, with their labels and, if it has any, captions.

    source: a folder of IDX files, a folder of images, an .npz file, or the name of a set inside the package:
    "fashion-mnist-mini" (6,000 training and 1,000 test images of 28 x 28, grey, 10 classes) or "emoji" (1,432 training and 200
    test images of 32 x 32, colour, 9 classes, captions). split: "train" or "test".
    Raises FileNotFoundError for a source or a part of it that does not exist, ValueError for one of another form or
    without that split, DataError (a ValueError) for damaged or contradictory files. Each message names the file.
    """
    if split not in SPLITS:
        raise ValueError(f"load: split must be one of {', '.join(SPLITS)}, got {split!r}")
    path = EMBEDDED.get(os.fspath(source)) or Path(source)
    read = _reader(path)
    parts = read(path, split)
    try:
        return Dataset(*parts)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def source_name(source: str | os.PathLike) -> str:
    """What to call a source so that `load` finds it from any folder: the name of an embedded set, else the absolute path."""
    return os.fspath(source) if os.fspath(source) in EMBEDDED else os.path.abspath(source)


def _reader(path: Path):
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; {FORMS}")
    if path.is_dir():
        return read_idx_folder if is_idx_folder(path) else read_image_folder
    if path.suffix == ".npz":
        return read_npz
    raise ValueError(f"{path}: not a data source; {FORMS}")
