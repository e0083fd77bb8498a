from __future__ import annotations
from collections.abc import Callable, Sequence
from typing import Any
import numpy as np
from minidiff.diffusion import Schedule
from minidiff.models import UNet
from minidiff.random import Generator

def draw(model: UNet, schedule: Schedule, labels: Sequence[int] | np.ndarray | None, *, generator: Generator, count: int | None = None,
         sampler: str = "ddpm", steps: int | None = None, eta: float | None = None, guidance: float = 1.0,
         prediction_type: str = "epsilon", batch_size: int = 100, clip: bool = True, timestep_spacing: str = "trailing",
         callback: Callable[[int, int, Any, Any], None] | None = None) -> np.ndarray:
    """Images of the given classes (N,) labels -> float (N, C, H, W) in [-1, 1], NumPy. labels None: `count` images without class.
    sampler: "ddpm" (eta 1, default steps T) or "ddim" (eta 0, default steps min(50, T)). guidance: scale s; 1 is plain conditional.
    callback(i, t, x_t, x_start) after each prediction, arrays of the whole batch on the device."""

def labels_of(classes: Sequence[str | int], class_names: Sequence[str]) -> np.ndarray:
    """Class numbers (int64) from names or numbers (also as strings: "3", "bag"). ValueError that lists the classes."""
