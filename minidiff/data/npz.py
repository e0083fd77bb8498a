"""Images and labels in one NumPy `.npz` file, nothing pickled.

    images, labels                                              all of it is the training split
    train_images, train_labels, test_images, test_labels        two splits
    class_names                                                 strings, may be missing

Images are uint8, channels last, as most tools write them: (N, H, W), (N, H, W, 1) or (N, H, W, 3).
"""

import zipfile
from pathlib import Path

import numpy as np

from minidiff.data.classes import numbered_class_names
from minidiff.data.errors import DataError

SPLIT_ARRAYS = {"train_images", "train_labels", "test_images", "test_labels"}


def read_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 (N, C, H, W), labels int64 (N,) and class names of one split, "train" or "test".

    Raises DataError for a damaged file, a missing array, a wrong dtype or shape; ValueError for a split that is not
    there.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not an .npz file, or a truncated one (no complete ZIP archive)")
    with open(path, "rb") as file:      # opened here, because np.load leaves it open when the archive is damaged
        try:
            archive = np.load(file, allow_pickle=False)
        except Exception as error:      # a damaged directory raises whatever zipfile stumbles over
            raise DataError(f"{path}: not an .npz file ({error})") from error
        return _read_split(archive, path, split)


def _read_split(archive, path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    has_splits = not SPLIT_ARRAYS.isdisjoint(archive.files)
    if split == "test" and not has_splits:
        raise ValueError(f"{path}: no test split; an .npz file has one if it has the arrays test_images and "
                         f"test_labels, this one has {_names(archive)}")
    prefix = f"{split}_" if has_splits else ""
    images = _channels_first(_read(archive, path, f"{prefix}images"), path)
    labels = _read_labels(archive, path, f"{prefix}labels")
    if "class_names" in archive.files:
        return images, labels, _read_class_names(archive, path)
    # over both splits: a class that one of them lacks must not change the number of classes
    all_labels = [name for name in ("labels", "train_labels", "test_labels") if name in archive.files]
    return images, labels, numbered_class_names(
        np.concatenate([_read_labels(archive, path, name) for name in all_labels]), path)


def _names(archive) -> str:
    return ", ".join(sorted(archive.files)) or "none"


def _read(archive, path: Path, name: str) -> np.ndarray:
    if name not in archive.files:
        raise DataError(f"{path}: no array {name}; there are {_names(archive)}. Expected images and labels, or "
                        "train_images, train_labels, test_images and test_labels")
    try:
        array = archive[name]
    except Exception as error:          # zipfile, zlib and NumPy's header parser each have their own
        raise DataError(f"{path}: array {name} cannot be read ({error})") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {name} is not an array in NumPy's format")
    return array


def _channels_first(images: np.ndarray, path: Path) -> np.ndarray:
    if images.dtype != np.uint8:
        raise DataError(f"{path}: images must be uint8, 0 to 255, got {images.dtype}")
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return np.ascontiguousarray(np.moveaxis(images, 3, 1))
    raise DataError(f"{path}: images must have shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), got {images.shape}")


def _read_labels(archive, path: Path, name: str) -> np.ndarray:
    labels = _read(archive, path, name)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"{path}: {name} must be integers (N,), got {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


def _read_class_names(archive, path: Path) -> tuple[str, ...]:
    names = _read(archive, path, "class_names")
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(f"{path}: class_names must be strings (K,), got {names.dtype} {names.shape}")
    return tuple(names.tolist())
