"""The door of this room: one function that takes whatever names a set of images and gives a `Dataset`.

The forms it knows have a module each: `idx_folder`, `image_folder`, `npz`; the embedded set is a folder of IDX files
inside the package.
"""

import os
from pathlib import Path

from minidiff.data.dataset import Dataset
from minidiff.data.errors import DataError
from minidiff.data.idx_folder import is_idx_folder, read_idx_folder
from minidiff.data.image_folder import read_image_folder
from minidiff.data.npz import read_npz

EMBEDDED = {"fashion-mnist-mini": Path(__file__).parent / "fashion_mnist_mini"}
SPLITS = ("train", "test")
FORMS = ("a data source is the name fashion-mnist-mini, a folder of IDX files (train-images-idx3-ubyte.gz, ...), "
         "a folder of images with one sub-folder for each class, or an .npz file with the arrays images and labels")


def load(source: str | os.PathLike, split: str = "train") -> Dataset:
    """The images and labels of one split of a data source.

    source: "fashion-mnist-mini" (inside the package: 6,000 training and 1,000 test images of 28 x 28, 10 classes), a
    folder of IDX files, a folder of images, or an .npz file. split: "train" or "test".
    Raises FileNotFoundError for a source or a part of it that does not exist, ValueError for one of another form or
    without that split, DataError (a ValueError) for damaged or contradictory files. Each message names the file.
    """
    if split not in SPLITS:
        raise ValueError(f"load: split must be one of {', '.join(SPLITS)}, got {split!r}")
    path = EMBEDDED.get(os.fspath(source)) or Path(source)
    read = _reader(path)
    images, labels, class_names = read(path, split)
    try:
        return Dataset(images, labels, class_names)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _reader(path: Path):
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; {FORMS}")
    if path.is_dir():
        return read_idx_folder if is_idx_folder(path) else read_image_folder
    if path.suffix == ".npz":
        return read_npz
    raise ValueError(f"{path}: not a data source; {FORMS}")
