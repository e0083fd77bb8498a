"""Makes the embedded set "emoji" from its two source files: `python -m minidiff.data.embed_emoji IMAGES CAPTIONS TARGET`.

IMAGES is an `.npz` file with the array `images`, (N, 32, 32, 3) uint8; CAPTIONS a JSON list of one object an image with `name`,
`group` and `keywords`. Run once, by hand; kept so that the set inside the package can be made again and checked.

Many emoji are variants of another one: a man, a woman and a person at the same work, a hand from the left and from the right,
a clock at every hour. A test set that holds the variant of a training image measures memory, so variants stay together.
"""

import hashlib
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

TEST_SIZE = 200
NEAR = 20.0                 # root mean square of the differences of all pixels, each in [0, 255]
LARGEST_TEST_FAMILY = 6     # a larger one (all families of people, all hours of a clock) would fill the test set with one picture

PEOPLE = re.compile(r"\b(person|people|(wo)?m[ae]n( and man)?)\b")
OTHER_PEOPLE = {"merman": "merperson", "mermaid": "merperson", "princess": "prince", "boy": "child", "girl": "child",
                "old man": "older person", "old woman": "older person", "Mrs. Claus": "Santa Claus", "Mx Claus": "Santa Claus"}


def base_name(name: str) -> str:
    """The name up to a colon, without words for people: "teacher" of "woman teacher", "kiss" of "kiss: woman, man"."""
    return " ".join(PEOPLE.sub("", OTHER_PEOPLE.get(name, name).partition(":")[0]).split())


def distances(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Root mean square difference of the pixels of each of the images and each of the others: (n, ...), (m, ...) -> (n, m)."""
    x, y = (array.reshape(len(array), -1).astype(np.float64) for array in (images, others))
    squares = (x**2).sum(axis=1)[:, np.newaxis] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.sqrt(squares.clip(0) / x.shape[1])


def families(images: np.ndarray, names: list[str]) -> np.ndarray:
    """A number for each image, equal for variants of one emoji: (N, H, W, C) -> (N,).

    Two are variants if they have one base name, if they differ by less than NEAR, as they are or one of them mirrored, or if there
    is a chain of variants between them.
    """
    base = np.array([base_name(name) for name in names])
    nearest = np.minimum(distances(images, images), distances(images, images[:, :, ::-1]))
    return connected_components((base[:, np.newaxis] == base) | (nearest < NEAR))[1]


def choose_test(family: np.ndarray, group: np.ndarray, names: list[str]) -> np.ndarray:
    """Whether each image belongs to the test set: (N,) bool, about TEST_SIZE of them.

    Of each group its share, in whole families, chosen in the order of the SHA-256 of the name of their first emoji: as good as
    random, and the same for ever. A family that is too large, or does not fit any more, is for training.
    """
    test = np.zeros(len(names), bool)
    members = [np.flatnonzero(family == number) for number in range(family.max() + 1)]
    for in_order in sorted(members, key=lambda of_family: _digest(names[of_family[0]])):
        same_group = group == group[in_order[0]]
        share = round(TEST_SIZE * same_group.sum() / len(names))
        if len(in_order) <= LARGEST_TEST_FAMILY and test[same_group].sum() + len(in_order) <= share:
            test[in_order] = True
    return test


def captions_in_lines(entry: dict) -> str:
    """The name, then the keywords that are not the name, a line each."""
    return "\n".join([entry["name"], *(word for word in dict.fromkeys(entry["keywords"]) if word != entry["name"])])


def embed_emoji(images: str | Path, captions: str | Path, target: str | Path) -> Path:
    """Write the set as one `.npz` file, in the order of the SHA-256 of the captions, so that any stretch of it is mixed.

    (By the names, by whose order the test set is chosen, families would be torn: their first emoji at one end of the set, the others
    all over it.) The arrays are compressed with LZMA, a quarter smaller than what NumPy itself writes, and `numpy.load` reads them.
    Returns the file. Raises ValueError if there are not as many entries as images.
    """
    with np.load(images, allow_pickle=False) as archive:
        pixels = archive["images"]
    entries = json.loads(Path(captions).read_text(encoding="utf-8"))
    if len(entries) != len(pixels):
        raise ValueError(f"{len(pixels)} images in {images}, but {len(entries)} entries in {captions}")
    names = [entry["name"] for entry in entries]
    class_names = list(dict.fromkeys(entry["group"] for entry in entries))
    labels = np.array([class_names.index(entry["group"]) for entry in entries], np.uint8)
    lines = [captions_in_lines(entry) for entry in entries]
    test = choose_test(families(pixels, names), labels, names)
    mixed = np.array(sorted(range(len(names)), key=lambda i: _digest(lines[i])))
    arrays = {"class_names": np.array(class_names)}
    for split, chosen in (("train", mixed[~test[mixed]]), ("test", mixed[test[mixed]])):
        arrays |= {f"{split}_images": pixels[chosen], f"{split}_labels": labels[chosen], f"{split}_captions": np.array(lines)[chosen]}
    return _write(Path(target), arrays)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    os.replace(part, path)
    return path


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m minidiff.data.embed_emoji IMAGES CAPTIONS TARGET")
    path = embed_emoji(*sys.argv[1:])
    print(f"| `{path.name}` | {path.stat().st_size:,} | `{hashlib.sha256(path.read_bytes()).hexdigest()}` |")
