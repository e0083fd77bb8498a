"""Names for classes that came without."""

from pathlib import Path

import numpy as np

from minidiff.data.errors import DataError

MAX_CLASSES = 100_000
ONE_CLASS = ("image",)      # of a set that has captions and no labels


def numbered_class_names(labels: np.ndarray, path: Path) -> tuple[str, ...]:
    """("0", "1", ...) up to the largest of the labels. labels: integers (N,), in [0, 100,000), from the file `path`.

    Raises DataError beyond that range: labels number the classes, so a large one is no label but something else.
    """
    smallest, largest = int(labels.min(initial=0)), int(labels.max(initial=0))
    if smallest < 0 or largest >= MAX_CLASSES:
        raise DataError(f"{path}: labels from {smallest} to {largest}; classes are numbered from 0, "
                        f"at most {MAX_CLASSES} of them")
    return tuple(str(number) for number in range(largest + 1))
