"""Drawing from a run: with a bar that shows how far it is, and into a folder of PNGs.

Stands on `minidiff.training.draw`; `pictures.py` lays the images side by side.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minidiff.data import to_uint8
from minidiff.models import UNet
from minidiff.random import Generator
from minidiff.training import Run, draw
from minidiff.training.sampling import default_steps

from .files import check_free, new_folder
from .pictures import enlarged, grid, save_png


@dataclass(frozen=True, eq=False)
class Row:
    """One thing to draw. context: what the model is told, for one image. name: as the picture shows it. stem: how its files begin."""

    context: Any = None
    name: str = ""
    stem: str = "sample"


def draw_with_bar(run: Run, model: UNet, context: Any, name: str, *, sampler: str = "ddpm", steps: int | None = None,
                  watch: Callable[[int, int, Any, Any], None] | None = None, progress: bool = True, **options: Any) -> np.ndarray:
    """`training.draw` from a run's model, with a bar on stderr: uint8 images (N, C, H, W).

    name: what the bar says. watch: the callback of `draw`. progress: whether there is a bar. context and the rest: as `draw` takes
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

        return to_uint8(draw(model, schedule, context, sampler=sampler, steps=steps, callback=step,
                             prediction_type=run.config.prediction_type, **options))


def write_samples(run: Run, model: UNet, rows: Sequence[Row], n: int, folder: str | Path, *, generator: Generator,
                  progress: bool = True, **options: Any) -> Path:
    """Draw n images for each row and write them to a new folder: one PNG for each, and all of them in grid.png.

    rows: what to draw (`class_rows`, `prompt_rows`); one Row() for images of nothing in particular. options: those of
    `training.draw` (sampler, steps, eta, guidance, null_context).
    Returns the folder. It appears when all of it is there; nothing is left of one that failed.
    Raises FileExistsError if it exists, ValueError for n < 1, and what `draw` raises.
    """
    check_free(folder)
    if n < 1:
        raise ValueError(f"expected at least 1 image for each row, got {n}")
    told = rows[0].context is not None
    context = np.repeat(np.stack([row.context for row in rows]), n, axis=0) if told else None
    images = draw_with_bar(run, model, context, "drawing", count=None if told else n, generator=generator, progress=progress, **options)
    images = images.reshape(len(rows), n, *images.shape[1:])
    with new_folder(folder) as part:
        for row, of_row in zip(rows, images):
            for i, image in enumerate(of_row):
                save_png(enlarged(image, 1), part / f"{row.stem}-{i:03d}.png")
        save_png(grid(images, [row.name for row in rows] if told else []), part / "grid.png")
    return Path(folder)


def class_rows(classes: np.ndarray, class_names: Sequence[str]) -> list[Row]:
    """A row for each class. classes: numbers, (K,). Raises ValueError for one that is asked for twice."""
    if len(set(classes.tolist())) < len(classes):
        raise ValueError(f"a class is asked for twice in {', '.join(str(k) for k in classes)}; name each once, "
                         "n says how many images")
    return [Row(np.asarray(k), class_names[k], f"{k}-{_file_name(class_names[k])}") for k in classes.tolist()]


def prompt_rows(prompts: Sequence[str], contexts: np.ndarray) -> list[Row]:
    """A row for each sentence and what the model is told for it (`training.contexts_of`). Raises ValueError for an empty sentence."""
    if not all(prompt.strip() for prompt in prompts):
        raise ValueError("an empty prompt says nothing; leave it out to draw nothing in particular")
    return [Row(context, prompt, f"{i}-{_file_name(prompt)}") for i, (prompt, context) in enumerate(zip(prompts, contexts))]


def _file_name(name: str) -> str:
    """A name as a part of a file name: whatever is not a letter or digit becomes a hyphen."""
    return re.sub(r"\W+", "-", name).strip("-")[:60] or "image"
