"""The loss curve: every step's loss, thin, and its running mean, bold.

Drawn with Pillow at several times its size and scaled down, which makes the lines smooth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .pictures import BACKGROUND, INK
from .text import font, width

FINE = 3                                    # how much larger it is drawn than delivered
SIZE = (1440, 640)
TEXT = 22
LEFT, TOP, RIGHT, BOTTOM = 110, 56, 36, 84  # room around the axes
GRID, RAW, MEAN = "#e3e7ec", "#a9c3e6", "#1f5fb4"
LOGARITHMIC_FROM = 5                        # largest over smallest running mean: from here on the axis is logarithmic


@dataclass(frozen=True)
class Axis:
    """A map from values to pixels: `low` ... `high` to `start` ... `end`, through log10 or through nothing."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Where values lie, in pixels; what is beyond the ends is put on them."""
        through: Callable = np.log10 if self.logarithmic else np.asarray
        low, high = through(self.low), through(self.high)
        part = (through(np.clip(values, self.low, self.high)) - low) / (high - low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values to write at the axis: about five, or on a logarithmic axis 1, 2 and 5 of each power of ten."""
        if not self.logarithmic:
            return round_values(self.low, self.high)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        fine = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
        coarse = [float(f"1e{power}") for power in powers]
        return [tick for tick in (fine if len(powers) <= 4 else coarse) if self.low <= tick <= self.high]


def round_values(low: float, high: float, about: int = 5) -> list[float]:
    """The multiples of 1, 2 or 5 times a power of ten in [low, high], with the step that gives nearest to `about` of them."""
    ideal = (high - low) / about
    power = math.floor(math.log10(ideal))
    steps = [digit * 10.0**exponent for exponent in (power, power + 1) for digit in (1, 2, 5)]
    step = min(steps, key=lambda step: abs(math.log(step / ideal)))
    return [float(f"{i * step:.12g}") for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of up to `window` values around each value; at the ends, of those that are there. (n,) -> (n,)."""
    before, after = (window - 1) // 2, window // 2
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    n = len(values)
    first = np.maximum(np.arange(n) - before, 0)
    last = np.minimum(np.arange(n) + after + 1, n)
    return (sums[last] - sums[first]) / (last - first)


def curve(steps: Sequence[int], losses: Sequence[float]) -> Image.Image:
    """The loss over the training steps, the y axis logarithmic where the loss falls by more than a factor of five.

    steps: increasing numbers, steps[i] belongs to losses[i]; at least two. losses: finite.
    Returns an RGB picture of 1440 x 640. Raises ValueError for lengths that differ, nothing to draw, or a loss that is not finite.
    """
    steps, losses = np.asarray(steps, np.float64), np.asarray(losses, np.float64)
    if steps.ndim != 1 or steps.shape != losses.shape or len(steps) < 2:
        raise ValueError(f"curve: expected as many steps as losses, at least two; got {steps.shape} and {losses.shape}")
    if not np.isfinite(losses).all():
        raise ValueError(f"curve: the loss of step {steps[np.argmin(np.isfinite(losses))]:g} is not finite")
    window = max(3, len(losses) // 40)
    mean = running_mean(losses, window)
    x, y = _axes(steps, losses, mean)

    picture = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    _draw_axes(draw, x, y)
    for values, colour, thickness in ((losses, RAW, FINE), (mean, MEAN, 4 * FINE)):
        draw.line(list(zip(x(steps).tolist(), y(values).tolist())), colour, thickness, joint="curve")
    _draw_legend(draw, "loss", f"mean of {window} steps")
    return picture.resize(SIZE, Image.Resampling.LANCZOS)


def _axes(steps: np.ndarray, losses: np.ndarray, mean: np.ndarray) -> tuple[Axis, Axis]:
    logarithmic = losses.min() > 0 and mean.max() > LOGARITHMIC_FROM * mean.min()
    low = min(np.quantile(losses, 0.01), mean.min())     # single outliers may not squeeze the rest
    high = max(np.quantile(losses, 0.99), mean.max())
    margin = 0.05 * (high - low) or abs(high) or 1.0
    low, high = (low / 1.1, high * 1.1) if logarithmic else (max(0.0, low - margin) if low >= 0 else low - margin, high + margin)
    return (Axis(steps[0], steps[-1], LEFT * FINE, (SIZE[0] - RIGHT) * FINE),
            Axis(low, high, (SIZE[1] - BOTTOM) * FINE, TOP * FINE, logarithmic))


def _draw_axes(draw: ImageDraw.ImageDraw, x: Axis, y: Axis) -> None:
    letters = font(TEXT * FINE)
    for tick in y.ticks():
        at = float(y(tick))
        draw.line([(x.start, at), (x.end, at)], GRID, FINE)
        draw.text((x.start - 14 * FINE, at), f"{tick:g}", INK, letters, anchor="rm")
    for tick in filter(float.is_integer, x.ticks()):
        at = float(x(tick))
        draw.line([(at, y.start), (at, y.start + 8 * FINE)], INK, FINE)
        draw.text((at, y.start + 34 * FINE), f"{tick:,.6g}".replace(",", " "), INK, letters, anchor="ms")
    draw.line([(x.start, y.start), (x.end, y.start)], INK, 2 * FINE)
    draw.text(((x.start + x.end) / 2, y.start + 68 * FINE), "training step", INK, letters, anchor="ms")


def _draw_legend(draw: ImageDraw.ImageDraw, raw: str, mean: str) -> None:
    """In the upper right corner above the axes, from right to left."""
    right, baseline = (SIZE[0] - RIGHT) * FINE, 32 * FINE
    for name, colour, thickness in ((mean, MEAN, 4 * FINE), (raw, RAW, FINE)):
        draw.text((right, baseline), name, INK, font(TEXT * FINE), anchor="rs")
        right -= width(name, TEXT * FINE) + 12 * FINE
        draw.line([(right - 44 * FINE, baseline - 7 * FINE), (right, baseline - 7 * FINE)], colour, thickness)
        right -= 80 * FINE

