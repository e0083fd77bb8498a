"""A folder of IDX files under the names MNIST gave them, the way Fashion-MNIST, KMNIST and the embedded set come.

    train-images-idx3-ubyte  train-labels-idx1-ubyte  t10k-images-idx3-ubyte  t10k-labels-idx1-ubyte

each plain, .gz or .xz. A text file `class_names.txt` beside them, one name a line, names the classes; without it they
are called by their numbers. Stands on `minidiff.data.idx`.
"""

from pathlib import Path

import numpy as np

from minidiff.data.classes import numbered_class_names
from minidiff.data.errors import DataError
from minidiff.data.idx import SUFFIXES, read_idx

PREFIXES = {"train": "train", "test": "t10k"}
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
CLASS_NAMES = "class_names.txt"


def is_idx_folder(folder: Path) -> bool:
    """Whether at least one of the four files is there."""
    return any(_find(folder, f"{prefix}-{kind}") for prefix in PREFIXES.values() for kind in (IMAGES, LABELS))


def read_idx_folder(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 (N, 1, H, W), labels int64 (N,) and class names of one split, "train" or "test".

    Raises FileNotFoundError for a missing images or labels file, DataError for one that is damaged or has the wrong
    number of dimensions.
    """
    images = _read(folder, f"{PREFIXES[split]}-{IMAGES}", ndim=3)
    labels = _read(folder, f"{PREFIXES[split]}-{LABELS}", ndim=1)
    return images[:, np.newaxis], labels.astype(np.int64), _class_names(folder)


def _find(folder: Path, name: str) -> Path | None:
    return next((folder / (name + suffix) for suffix in SUFFIXES if (folder / (name + suffix)).is_file()), None)


def _read(folder: Path, name: str, ndim: int) -> np.ndarray:
    path = _find(folder, name)
    if path is None:
        raise FileNotFoundError(f"{folder}: no file {name} (nor .gz, nor .xz), but other IDX files; "
                                "a split needs its images and its labels")
    array = read_idx(path)
    if array.ndim != ndim:
        raise DataError(f"{path}: expected magic 0x000008{ndim:02x} ({ndim} dimensions), "
                        f"got 0x000008{array.ndim:02x} (shape {array.shape})")
    return array


def _class_names(folder: Path) -> tuple[str, ...]:
    path = folder / CLASS_NAMES
    if path.is_file():
        try:
            return tuple(path.read_text(encoding="utf-8").splitlines())
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error})") from error
    # over both splits: a class that one of them lacks must not change the number of classes
    names = [f"{prefix}-{LABELS}" for prefix in PREFIXES.values()]
    labels = [_read(folder, name, ndim=1) for name in names if _find(folder, name)]
    return numbered_class_names(np.concatenate(labels), folder)
