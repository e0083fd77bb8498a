"""Drawing from a run: with a bar that shows how far it is, and into a folder of PNGs.

Stands on `minidiff.training.draw`; `pictures.py` lays the images side by side.
"""

import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minidiff.data import to_uint8
from minidiff.models import UNet
from minidiff.random import Generator
from minidiff.training import Run, draw
from minidiff.training.sampling import default_steps

from .pictures import enlarged, grid, save_png


def draw_with_bar(run: Run, model: UNet, labels: np.ndarray | None, name: str, *, sampler: str = "ddpm", steps: int | None = None,
                  watch: Callable[[int, int, Any, Any], None] | None = None, progress: bool = True, **options: Any) -> np.ndarray:
    """`training.draw` from a run's model, with a bar on stderr: uint8 images (N, C, H, W).

    name: what the bar says. watch: the callback of `draw`. progress: whether there is a bar. labels and the rest: as `draw` takes
    them. Raises what `draw` raises.
    """
    schedule = run.schedule()
    if steps is None:
        steps = default_steps(sampler, schedule.num_train_timesteps)
    # The delay keeps the bar from showing before the first step: an error that `draw` raises at its door stands alone
    with tqdm(desc=name, total=steps, unit="step", disable=not progress, dynamic_ncols=True, delay=1e-3) as bar:
        def step(i: int, t: int, x: Any, x_start: Any) -> None:
            bar.update()
            if watch is not None:
                watch(i, t, x, x_start)

        return to_uint8(draw(model, schedule, labels, sampler=sampler, steps=steps, callback=step,
                             prediction_type=run.config.prediction_type, **options))


def write_samples(run: Run, model: UNet, classes: np.ndarray | None, n: int, folder: str | Path, *, generator: Generator,
                  progress: bool = True, **options: Any) -> Path:
    """Draw n images of each class and write them to a new folder: one PNG for each, and all of them in grid.png.

    classes: class numbers, (K,); None for a model without classes. options: those of `training.draw` (sampler, steps, eta, guidance).
    Returns the folder. It appears when all of it is there; nothing is left of one that failed.
    Raises FileExistsError if it exists, ValueError for n < 1, and what `draw` raises.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder}: exists already, and nothing is overwritten; choose another folder")
    if n < 1:
        raise ValueError(f"expected at least 1 image for each class, got {n}")
    if classes is not None and len(set(classes.tolist())) < len(classes):
        raise ValueError(f"a class is asked for twice in {', '.join(str(k) for k in classes)}; name each once, "
                         "n says how many images")
    labels = None if classes is None else np.repeat(classes, n)
    images = draw_with_bar(run, model, labels, "drawing", count=n if classes is None else None, generator=generator,
                           progress=progress, **options)
    names = [run.class_names[k] for k in classes] if classes is not None else []
    rows = images.reshape(-1, n, *images.shape[1:])
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        for r, row in enumerate(rows):
            stem = f"{classes[r]}-{_file_name(names[r])}" if names else "sample"
            for i, image in enumerate(row):
                save_png(enlarged(image, 1), part / f"{stem}-{i:03d}.png")
        save_png(grid(rows, names), part / "grid.png")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _file_name(name: str) -> str:
    """A class name as a part of a file name: whatever is not a letter or digit becomes a hyphen."""
    return re.sub(r"\W+", "-", name).strip("-")[:60] or "class"
