"""A labelled set of images in memory, perhaps with captions, and the map between its bytes and the numbers a network sees.

Pixels are uint8 in files and in a `Dataset`, float32 in [-1, 1] for the network. Both directions of that map stand
here and nowhere else. Stands on NumPy alone; `minidiff.data.source` fills a `Dataset` from files.
"""

from dataclasses import dataclass

import numpy as np

from minidiff.data.errors import DataError

Captions = tuple[tuple[str, ...], ...]      # of each image, one or more


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with one label each, and perhaps captions.

    images: uint8 (N, C, H, W), N >= 1. labels: int64 (N,), in [0, len(class_names)). class_names: one name a class.
    captions: of each image a tuple of one or more strings; None for a set without (`captions_of` makes some).
    Raises DataError for a wrong dtype, for shapes that do not agree, for a label that has no class name, for an image without
    captions and for a caption that says nothing.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    captions: Captions | None = None

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
            raise DataError(f"images must be uint8 (N, C, H, W) with at least one image and one pixel, "
                            f"got {images.dtype} {images.shape}")
        if labels.dtype != np.int64 or labels.ndim != 1:
            raise DataError(f"labels must be int64 (N,), got {labels.dtype} {labels.shape}")
        if len(images) != len(labels):
            raise DataError(f"{len(images)} images but {len(labels)} labels; there must be one label an image")
        outside = (labels < 0) | (labels >= len(self.class_names))
        if outside.any():
            first = int(np.argmax(outside))
            raise DataError(f"label {labels[first]} of image {first} is outside [0, {len(self.class_names)}), "
                            f"the range of the {len(self.class_names)} class names")
        if self.captions is not None:
            _check_captions(self.captions, len(images))

    def __len__(self) -> int:
        return len(self.images)

    def floats(self, index) -> np.ndarray:
        """The chosen images as a network takes them, `to_floats`.

        index: whatever NumPy takes for the first axis (a slice, (n,) integers, ...). Returns float32 in [-1, 1],
        (n, C, H, W). Raises IndexError for an image that is not there.
        """
        return to_floats(self.images[index])


def is_caption(value: object) -> bool:
    """Whether it is a string that says something: with more than blanks, and of whole characters.

    Half a character (a lone surrogate, left where a text was cut) can be written in JSON, but no file and no tokenizer takes it.
    """
    return isinstance(value, str) and bool(value.strip()) and value.encode(errors="ignore").decode() == value


def _check_captions(captions: object, count: int) -> None:
    if not isinstance(captions, tuple):
        raise DataError(f"captions must be a tuple with a tuple of strings for each image, or None, got a {type(captions).__name__}")
    if len(captions) != count:
        raise DataError(f"{count} images but captions for {len(captions)}; there must be some for each image")
    for image, of_image in enumerate(captions):
        if not isinstance(of_image, tuple) or not of_image:
            raise DataError(f"the captions of image {image} must be a tuple of at least one string, got {of_image!r:.80}")
        for caption in of_image:
            if not is_caption(caption):
                raise DataError(f"a caption of image {image} must be a string that is not empty, got {caption!r:.80}")


def to_floats(pixels: np.ndarray) -> np.ndarray:
    """Pixels as a network takes them.

        x = pixel / 127.5 - 1                                           Ho et al. 2020, Section 3.3

    pixels: uint8, any shape. Returns float32 in [-1, 1], the same shape. Raises ValueError for another dtype.
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"to_floats: expected pixels as uint8, 0 to 255, got {pixels.dtype} of shape {pixels.shape}")
    return pixels.astype(np.float32) / 127.5 - 1


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Float images as pixels, the inverse of `to_floats`; values outside [-1, 1] are clipped.

        pixel = round((clip(x, -1, 1) + 1) * 127.5)

    x: floating (N, C, H, W). Returns uint8, the same shape. Raises ValueError for another shape, dtype, or a NaN.
    """
    if x.ndim != 4 or not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"to_uint8: expected floating images (N, C, H, W), got {x.dtype} {x.shape}")
    if np.isnan(x).any():
        raise ValueError(f"to_uint8: {np.isnan(x).sum()} of {x.size} values are NaN, which no pixel can show; "
                         "the model or the sampler that made them has diverged")
    return np.rint((np.clip(x, -1, 1) + 1) * 127.5).astype(np.uint8)
