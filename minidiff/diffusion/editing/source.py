"""Where edits get their noise: all of it from one generator, or all of it from one list of arrays, in the order of use.

Stands on `arrays`. Read `inpainting` next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from minidiff.diffusion.arrays import fresh_noise


class Given:
    """Arrays of noise that are handed out in order, as a generator would draw them."""

    def __init__(self, noise: Iterator[Any]) -> None:
        self._rest = noise

    def standard_normal(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """The next array."""
        return next(self._rest)


def noise_source(where: str, x: Any, draws: int, generator: Any, noise: Sequence[Any] | None) -> Any:
    """Something with standard_normal(shape, dtype), for `draws` arrays like x: the generator, or the arrays. Raises as `fresh_noise`."""
    fresh = fresh_noise(where, x, draws, generator, noise)
    return generator if noise is None else Given(fresh)
