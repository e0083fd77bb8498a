"""A picture as OpenAI's vision transformers want it: square, and with the mean and the spread of the pictures they have seen."""

from __future__ import annotations

from typing import Any

import numpy as np

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Means of red, green and blue in [0, 1] over OpenAI's training pictures."""

CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Their standard deviations."""


def clip_pixels(image: Any, size: int = 224) -> np.ndarray:
    """A picture to RGB, its short side to `size`, the square in its middle, and (x / 255 - CLIP_MEAN) / CLIP_STD.

    The long side becomes floor(size long / short), by bicubic interpolation; the square leaves floor of half of the rest at the left or
    top. transformers' `CLIPImageProcessor` gives the same, to rounding; OpenAI's code rounds that half to the nearest even number, and so
    is one pixel further right or down for one picture in four.
    image: a `PIL.Image.Image`; transparency is dropped. Returns (3, size, size) float32. Raises TypeError for anything else.
    """
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise TypeError(f"clip_pixels: expected a picture of Pillow (PIL.Image.open), got {type(image).__name__}")
    if not isinstance(size, int) or size < 1 or not min(image.size):
        raise ValueError(f"clip_pixels: a picture of {image.width} x {image.height} to size={size!r}; expected at least one pixel")
    width, height = (size * side // min(image.size) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized.crop((left, top, left + size, top + size)), np.float64)
    return ((pixels / 255 - CLIP_MEAN) / CLIP_STD).transpose(2, 0, 1).astype(np.float32, order="C")
