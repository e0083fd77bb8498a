"""Images with labels, captions or both in one NumPy `.npz` file, nothing pickled.

    images, labels, captions                                    all of it is the training split
    train_images, train_labels, train_captions, test_images ... two splits
    class_names                                                 strings, may be missing

Images are uint8, channels last, as most tools write them: (N, H, W), (N, H, W, 1) or (N, H, W, 3). Labels are integers (N,).
Captions are strings (N,), several of one image with line ends between them. They may be missing; so may labels and class
names where captions are, and then all images are of one class, "image".
"""

import zipfile
from pathlib import Path

import numpy as np

from minidiff.data.classes import ONE_CLASS, numbered_class_names
from minidiff.data.dataset import Captions
from minidiff.data.errors import DataError

PREFIXES = ("", "train_", "test_")
SPLIT_ARRAYS = {prefix + kind for prefix in PREFIXES[1:] for kind in ("images", "labels", "captions")}


def read_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], Captions | None]:
    """Images uint8 (N, C, H, W), labels int64 (N,), class names and captions of one split, "train" or "test".

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


def _read_split(archive, path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], Captions | None]:
    has_splits = not SPLIT_ARRAYS.isdisjoint(archive.files)
    if split == "test" and not has_splits:
        raise ValueError(f"{path}: no test split; an .npz file has one if it has the arrays test_images and "
                         f"test_labels, this one has {_names(archive)}")
    prefix = f"{split}_" if has_splits else ""
    images = _channels_first(_read(archive, path, f"{prefix}images"), path)
    captions = _read_captions(archive, path, prefix)
    all_labels = [f"{each}labels" for each in _prefixes_of("labels", archive)]
    if captions is not None and not all_labels and "class_names" not in archive.files:
        return images, np.zeros(len(images), np.int64), ONE_CLASS, captions
    labels = _read_labels(archive, path, f"{prefix}labels")
    if "class_names" in archive.files:
        return images, labels, _read_strings(archive, path, "class_names", "K"), captions
    # over both splits: a class that one of them lacks must not change the number of classes
    return images, labels, numbered_class_names(
        np.concatenate([_read_labels(archive, path, name) for name in all_labels]), path), captions


def _prefixes_of(kind: str, archive) -> list[str]:
    return [prefix for prefix in PREFIXES if prefix + kind in archive.files]


def _names(archive) -> str:
    return ", ".join(sorted(archive.files)) or "none"


def _read(archive, path: Path, name: str) -> np.ndarray:
    if name not in archive.files:
        raise DataError(f"{path}: no array {name}; there are {_names(archive)}. Expected images and labels, or "
                        "train_images, train_labels, test_images and test_labels; captions may stand in the place of labels")
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


def _read_captions(archive, path: Path, prefix: str) -> Captions | None:
    with_captions = _prefixes_of("captions", archive)
    if not with_captions:
        return None
    if with_captions != _prefixes_of("images", archive):
        raise DataError(f"{path}: captions must be there for each array of images or for none (captions for images, train_captions for "
                        f"train_images, test_captions for test_images); there are {_names(archive)}")
    return tuple(tuple(text.split("\n")) for text in _read_strings(archive, path, f"{prefix}captions", "N"))


def _read_strings(archive, path: Path, name: str, size: str) -> tuple[str, ...]:
    strings = _read(archive, path, name)
    if strings.dtype.kind != "U" or strings.ndim != 1:
        raise DataError(f"{path}: {name} must be strings ({size},), got {strings.dtype} {strings.shape}")
    try:
        return tuple(strings.tolist())
    except (ValueError, SystemError) as error:      # a number that is no character
        raise DataError(f"{path}: {name} cannot be read ({error})") from error
