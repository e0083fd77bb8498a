"""Data so small that commands take a second, and settings of a network that is as small."""

import numpy as np

CLASS_NAMES = ("Bag", "T-shirt/top", "Ankle boot")


def write_data(path):
    """30 training and 21 test images of 8 x 8 in three classes, noise of different brightness."""
    rng = np.random.default_rng(5)
    splits = {}
    for split, count in (("train", 30), ("test", 21)):
        labels = np.arange(count) % 3
        splits[f"{split}_images"] = (rng.integers(0, 80, (count, 8, 8)) + 80 * labels[:, None, None]).astype(np.uint8)
        splits[f"{split}_labels"] = labels
    np.savez(path, class_names=np.array(CLASS_NAMES), **splits)
    return path


COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (240, 240, 240)}
TINY = {"unet": {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4, "attention_levels": [3]}, "batch_size": 4}
"""Settings for --config: four levels, which the default size of 28 x 28 could not be halved for."""


def write_colours(path):
    """24 training and 20 test squares of 8 x 8 in one of four colours, with a little noise, and two captions each."""
    rng, splits = np.random.default_rng(6), {}
    for split, count in (("train", 24), ("test", 20)):
        names = [list(COLOURS)[i % 4] for i in range(count)]
        pixels = np.array([COLOURS[name] for name in names])[:, None, None, :] + rng.integers(-15, 16, (count, 8, 8, 3))
        splits[f"{split}_images"] = pixels.clip(0, 255).astype(np.uint8)
        splits[f"{split}_captions"] = [f"{name}\na {name} square" for name in names]
    np.savez(path, **splits)
    return path


def contents(folder):
    """Every file under a folder, hidden ones too: name -> bytes; folders -> None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
