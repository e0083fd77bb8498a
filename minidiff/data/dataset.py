"""A labelled set of images in memory, and the map between its bytes and the numbers a network sees.

Pixels are uint8 in files and in a `Dataset`, float32 in [-1, 1] for the network. Both directions of that map stand
here and nowhere else. Stands on NumPy alone; `minidiff.data.source` fills a `Dataset` from files.
"""

from dataclasses import dataclass

import numpy as np

from minidiff.data.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with one label each.

    images: uint8 (N, C, H, W), N >= 1. labels: int64 (N,), in [0, len(class_names)). class_names: one name a class.
    Raises DataError for a wrong dtype, for shapes that do not agree and for a label that has no class name.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

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

    def __len__(self) -> int:
        return len(self.images)

    def floats(self, index) -> np.ndarray:
        """The chosen images as a network takes them.

            x = pixel / 127.5 - 1                                       Ho et al. 2020, Section 3.3

        index: whatever NumPy takes for the first axis (a slice, (n,) integers, ...). Returns float32 in [-1, 1],
        (n, C, H, W). Raises IndexError for an image that is not there.
        """
        return self.images[index].astype(np.float32) / 127.5 - 1


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Float images as pixels, the inverse of `Dataset.floats`; values outside [-1, 1] are clipped.

        pixel = round((clip(x, -1, 1) + 1) * 127.5)

    x: floating (N, C, H, W). Returns uint8, the same shape. Raises ValueError for another shape, dtype, or a NaN.
    """
    if x.ndim != 4 or not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"to_uint8: expected floating images (N, C, H, W), got {x.dtype} {x.shape}")
    if np.isnan(x).any():
        raise ValueError(f"to_uint8: {np.isnan(x).sum()} of {x.size} values are NaN, which no pixel can show; "
                         "the model or the sampler that made them has diverged")
    return np.rint((np.clip(x, -1, 1) + 1) * 127.5).astype(np.uint8)
