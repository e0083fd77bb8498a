"""Makes the embedded set from the full Fashion-MNIST: `python -m minidiff.data.embed SOURCE TARGET`.

The first images of every class, in the order of the original files, so that any stretch of the small set is as mixed
as the large one. Run once, by hand; kept so that the set inside the package can be made again and checked.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

from minidiff.data.download import FASHION_MNIST_CLASSES
from minidiff.data.idx import write_idx
from minidiff.data.idx_folder import CLASS_NAMES, IMAGES, LABELS, PREFIXES
from minidiff.data.source import load

PER_CLASS = {"train": 600, "test": 100}


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Where the first `count` images of every class stand, in their order. labels: (N,). Returns (K * count,)."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def embed(source: str | Path, target: str | Path) -> list[Path]:
    """Write the small set as xz-compressed IDX files. source: the folder of the four official files; target: a folder.

    Returns the files written. Raises what `load` raises for the source.
    """
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for split, count in PER_CLASS.items():
        full = load(source, split)
        chosen = first_of_each_class(full.labels, count)
        for kind, array in ((IMAGES, full.images[chosen, 0]), (LABELS, full.labels[chosen].astype(np.uint8))):
            path = target / f"{PREFIXES[split]}-{kind}.xz"
            write_idx(path, array)
            written.append(path)
    names = target / CLASS_NAMES
    names.write_text("\n".join(FASHION_MNIST_CLASSES) + "\n", encoding="utf-8")
    return [*written, names]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m minidiff.data.embed SOURCE TARGET")
    for path in embed(*sys.argv[1:]):
        print(f"| `{path.name}` | {path.stat().st_size:,} | `{hashlib.sha256(path.read_bytes()).hexdigest()}` |")
