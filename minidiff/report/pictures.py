"""Many small images as one picture: samples, a row a class; images that dissolve into noise; noise that becomes images.

All three are one `grid` with names at its rows and above its columns. Stands on Pillow. `loss_curve.py` draws the loss.
"""

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .files import write_new
from .text import font, legible, width

BACKGROUND, INK = "#ffffff", "#1c2430"
THIN, WIDE = 2, 10          # gaps between images, and between groups of them; in pixels, like all that follows
MARGIN = 12
TEXT = 15
SHOWN = 56                  # images are enlarged by the whole number that brings them closest to this height


def grid(images: np.ndarray, row_names: Sequence[str] = (), column_names: Sequence[str] = (), *,
         rows_together: int = 1, scale: int | None = None) -> Image.Image:
    """Images in rows and columns, nearest-neighbour enlarged, so that every pixel stays a square.

    images: uint8 (rows, columns, C, H, W), C = 1 (grey) or 3 (RGB). row_names: one for each row, written at its left.
    column_names: one for each column or for each group of columns of equal size, written above. rows_together: so many
    rows stand close together, then follows a wider gap. scale: how often a pixel is repeated each way; None chooses.
    Returns an RGB picture. Raises ValueError for another shape or dtype, or for names that do not fit the rows and columns.
    """
    if images.dtype != np.uint8 or images.ndim != 5 or images.size == 0 or images.shape[2] not in (1, 3):
        raise ValueError(f"grid: expected uint8 images (rows, columns, 1 or 3, H, W), got {images.dtype} {images.shape}")
    rows, columns, _, height, breadth = images.shape
    if row_names and len(row_names) != rows:
        raise ValueError(f"grid: {len(row_names)} row names for {rows} rows")
    if column_names and columns % len(column_names):
        raise ValueError(f"grid: {len(column_names)} column names do not divide {columns} columns")
    scale = scale or max(1, round(SHOWN / height))
    row_names = [legible(name, TEXT) for name in row_names]
    column_names = [legible(name, TEXT) for name in column_names]
    columns_together = columns // len(column_names) if column_names else columns
    left = MARGIN + (max(width(name, TEXT) for name in row_names) + MARGIN if row_names else 0)
    top = MARGIN + (TEXT + MARGIN // 2 if column_names else 0)
    x = _places(left, columns, breadth * scale, columns_together)
    y = _places(top, rows, height * scale, rows_together)

    picture = Image.new("RGB", (x[-1] + breadth * scale + MARGIN, y[-1] + height * scale + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for name, at in zip(row_names, y):
        draw.text((left - MARGIN, at + height * scale / 2), name, INK, font(TEXT), anchor="rm")
    for name, first, last in zip(column_names, x[::columns_together], x[columns_together - 1 :: columns_together]):
        draw.text(((first + last + breadth * scale) / 2, MARGIN + 0.8 * TEXT), name, INK, font(TEXT), anchor="ms")
    for r in range(rows):
        for c in range(columns):
            picture.paste(enlarged(images[r, c], scale), (x[c], y[r]))
    return picture


def captioned(images: np.ndarray, captions: Sequence[str], columns: int = 8) -> Image.Image:
    """Images in rows of `columns`, each with a caption of its own above.

    images: uint8 (N, C, H, W), N at least 1. Raises ValueError for another shape or dtype, or another number of captions.
    """
    if not len(images) or len(captions) != len(images):
        raise ValueError(f"captioned: {len(captions)} captions for {len(images)} images; expected one for each of at least one image")
    rows = [slice(start, start + columns) for start in range(0, len(images), columns)]
    strips = [grid(images[np.newaxis, row], column_names=captions[row]) for row in rows]
    picture = Image.new("RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), BACKGROUND)
    for strip, top in zip(strips, np.cumsum([0, *(strip.height for strip in strips)]).tolist()):
        picture.paste(strip, (0, top))
    return picture


def _places(start: int, count: int, size: int, together: int) -> list[int]:
    """Where `count` things of one size begin, with a thin gap after each and a wide one after each group."""
    return [start + i * (size + THIN) + i // together * (WIDE - THIN) * (together > 1) for i in range(count)]


def enlarged(image: np.ndarray, scale: int) -> Image.Image:
    """One image, uint8 (C, H, W), as a picture in which every pixel is a square of scale x scale."""
    array = image.repeat(scale, axis=1).repeat(scale, axis=2)
    return Image.fromarray(array[0] if len(array) == 1 else np.moveaxis(array, 0, -1))


def forward_strip(frames: np.ndarray, times: Sequence[int], scale: int | None = None) -> Image.Image:
    """Images dissolving into noise, from left to right. frames: uint8 (S, N, C, H, W), x_t at each of the S times.

    times: the S time steps, written above; None stands for the clean image. Returns a picture with a row for each of
    the N images. Raises ValueError for shapes that do not fit.
    """
    _check_times("forward_strip", times, frames)
    return grid(frames.swapaxes(0, 1), column_names=_time_names(times), scale=scale)


def reverse_strip(noisy: np.ndarray, predicted: np.ndarray, times: Sequence[int], scale: int | None = None) -> Image.Image:
    """Noise becoming images, from left to right, and below each x_t the x_0 that the network then believed in.

    noisy, predicted: uint8 (S, N, C, H, W). times: the S time steps, written above. Returns a picture with two rows for
    each of the N images. Raises ValueError for shapes that do not fit.
    """
    _check_times("reverse_strip", times, noisy)
    if predicted.shape != noisy.shape:
        raise ValueError(f"reverse_strip: noisy has shape {noisy.shape}, predicted {predicted.shape}; they must be the same")
    n = noisy.shape[1]
    pairs = np.stack([noisy, predicted], axis=2)                        # (S, N, 2, C, H, W)
    rows = np.moveaxis(pairs, 0, 2).reshape(2 * n, len(times), *noisy.shape[2:])
    return grid(rows, ["x at time t", "predicted x0"] * n, _time_names(times), rows_together=2, scale=scale)


def _time_names(times: Sequence[int | None]) -> list[str]:
    return ["data" if t is None else f"t = {t}" for t in times]


def _check_times(name: str, times: Sequence, frames: np.ndarray) -> None:
    if len(times) != len(frames):
        raise ValueError(f"{name}: {len(times)} times for {len(frames)} frames")


def png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def save_png(picture: Image.Image, path: str | os.PathLike) -> None:
    """Write a PNG, whole or not at all. Raises FileExistsError if there is a file already, OSError if it cannot be written."""
    write_new(path, png(picture))
