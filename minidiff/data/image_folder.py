"""A folder of pictures, one sub-folder a class: `flowers/daisy/1.png`, `flowers/rose/7.jpg`, ...

Or with captions in the place of classes, in a file `metadata.jsonl` (`minidiff.data.metadata` reads it). With `train/`
and `test/` sub-folders that hold the class folders or a `metadata.jsonl` each, it has these two splits; otherwise all of it
is the training split. Every header is looked at before the first picture is decoded, so that a wrong size is found at once
and the memory is taken once. Stands on Pillow.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from minidiff.data.classes import ONE_CLASS
from minidiff.data.dataset import Captions
from minidiff.data.errors import DataError
from minidiff.data.metadata import METADATA, read_metadata

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP",
           ".tif": "TIFF", ".tiff": "TIFF", ".pgm": "PPM", ".ppm": "PPM"}
GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")    # more than 8 bits: Pillow would clip them, not scale them
MAX_PIXELS = 4096 * 4096


def read_image_folder(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], Captions | None]:
    """Images uint8 (N, C, H, W), labels int64 (N,) and class names (the sub-folders', sorted), images sorted by name.

    With captions: the images in the order of `metadata.jsonl`, one class "image", and the captions; sub-folders are no
    classes then. C is 1 if every file is grey, else 3. Transparent pictures are laid on white; of an animation the first picture is
    taken; EXIF rotation is not applied. Files that are no pictures by their names are passed over.
    Raises FileNotFoundError for a folder without classes or a class without pictures, ValueError for a split that is
    not there, DataError for a picture that is damaged, deeper than 8 bits, has more than 4096 x 4096 pixels or another
    size than the first; with captions also what `read_metadata` raises, and DataError for a picture without any.
    """
    if _is_dir(folder / "train") and _is_dir(folder / "test"):
        _check_splits_are_alike(folder)
        folder = folder / split
    elif split == "test":
        raise ValueError(f"{folder}: no test split; a folder of images has one if it has the sub-folders train and "
                         f"test with the class folders, or a {METADATA} each, in them")
    return _read_captioned(folder) if _has_captions(folder) else _read_classes(folder)


def _check_splits_are_alike(folder: Path) -> None:
    train, test = folder / "train", folder / "test"
    with_captions = [place for place in (folder, train, test) if _has_captions(place)]
    if with_captions not in ([], [train, test]):
        raise DataError(f"{folder}: with the sub-folders train and test, captions are in a {METADATA} in each of the two; there is one "
                        f"in {', '.join(map(str, with_captions))}")
    if not with_captions and _sub_folders(train) != _sub_folders(test):
        raise DataError(f"{folder}: train and test have different class folders, only one of them has "
                        f"{', '.join(sorted(set(_sub_folders(train)) ^ set(_sub_folders(test))))}")


def _has_captions(folder: Path) -> bool:
    return (folder / METADATA).is_file()


def _read_classes(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], Captions | None]:
    class_names = _sub_folders(folder)
    if not class_names:
        raise FileNotFoundError(f"{folder}: no IDX files and no sub-folders; expected one sub-folder of images "
                                f"for each class (for a single class, one sub-folder), or a {METADATA} with captions")
    stray = next((folder / name for name in class_names if _has_captions(folder / name)), None)
    if stray is not None:
        raise DataError(f"{stray / METADATA}: captions in the folder of a class; for a set with captions the file must be in {folder} "
                        f"itself, or {stray} be the data source")
    paths = [_pictures(folder / name) for name in class_names]
    labels = np.repeat(np.arange(len(class_names), dtype=np.int64), [len(of_class) for of_class in paths])
    return _decode([path for of_class in paths for path in of_class]), labels, class_names, None


def _read_captioned(folder: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], Captions | None]:
    captions = read_metadata(folder)
    pictures = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if _is_picture(path, folder)}
    without = sorted(pictures - set(captions))
    if without:
        raise DataError(f"{folder / METADATA}: {len(without)} of the images below its folder have no line in it: {', '.join(without[:3])}"
                        f"{', ...' if len(without) > 3 else ''}; write their captions, or move them away")
    images = _decode([folder / name for name in captions])
    return images, np.zeros(len(images), np.int64), ONE_CLASS, tuple(captions.values())


def _is_dir(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _sub_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if _is_dir(path)))


def _is_picture(path: Path, folder: Path) -> bool:
    """By its name, and neither hidden nor, from `folder` on, in a hidden folder."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in FORMATS and path.is_file() and not hidden


def _pictures(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if _is_picture(path, folder))
    if not paths:
        raise FileNotFoundError(f"{folder}: no images in this class folder; expected files named {' '.join(FORMATS)}")
    return paths


def _decode(paths: list[Path]) -> np.ndarray:
    modes, size = set(), None
    for path in paths:
        with _open(path) as image:
            _check(image, path)
            size = size or image.size
            if image.size != size:
                raise DataError(f"images of different sizes: {paths[0]} is {_by(size)}, {path} is {_by(image.size)}; "
                                "bring all of them to one size")
            modes.add(image.mode)
    grey = modes.issubset(GREY_MODES)
    width, height = size
    images = np.empty((len(paths), 1 if grey else 3, height, width), np.uint8)
    for slot, path in zip(images, paths, strict=True):
        with _open(path) as image:
            slot[:] = np.moveaxis(_pixels(image, grey, path).reshape(height, width, -1), -1, 0)
    return images


def _open(path: Path) -> Image.Image:
    """The picture's header. Only the formats of the table are tried: none of Pillow's rare decoders meets the bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(path, formats=list(set(FORMATS.values())))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: too large for a training image, at most {MAX_PIXELS} pixels ({error})") from error
        except Exception as error:      # decoders meet damage with exceptions of every kind
            raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _check(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{path}: too large for a training image, {_by(image.size)}; at most {MAX_PIXELS} pixels")
    if image.mode in DEEP_MODES:
        raise DataError(f"{path}: more than 8 bits a channel (mode {image.mode}); save it with 8")


def _pixels(image: Image.Image, grey: bool, path: Path) -> np.ndarray:
    try:
        if image.has_transparency_data:
            picture = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return np.asarray(image.convert("L" if grey else "RGB"))
    except Exception as error:
        raise DataError(f"{path}: damaged image ({error})") from error


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
