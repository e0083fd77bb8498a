"""The two libraries that are compared, behind one face: `minidiff.functional` has torch's names, so an item is written once."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import minidiff
from minidiff import backend, functional
from minidiff.kernels.layout import channels_first, channels_last


class Ours:
    """minidiff. Image batches come in its own memory layout, channels last, as they do between the layers of a network."""

    name = "minidiff"
    functional = functional

    def tensor(self, array: np.ndarray) -> Any:
        """An array as a tensor whose gradient is wanted."""
        return minidiff.tensor(channels_first(channels_last(array)) if array.ndim == 4 else array, requires_grad=True)

    def gradient(self, array: np.ndarray) -> Any:
        """An array as the gradient of a result."""
        return self.tensor(array).detach()

    def no_grad(self) -> Any:
        """A context in which nothing is recorded."""
        return minidiff.no_grad()


class Torch:
    """PyTorch. Image batches come in its own memory layout, channels first."""

    name = "PyTorch"

    def __init__(self) -> None:
        import torch

        self.torch, self.functional = torch, torch.nn.functional

    def tensor(self, array: np.ndarray) -> Any:
        """An array as a tensor whose gradient is wanted."""
        return self.gradient(array).requires_grad_()

    def gradient(self, array: np.ndarray) -> Any:
        """An array as the gradient of a result."""
        return self.torch.from_numpy(array)

    def no_grad(self) -> Any:
        """A context in which nothing is recorded."""
        return self.torch.no_grad()


SIDES = {side.name: side for side in (Ours, Torch)}


def available_sides() -> list[str]:
    """The names of the sides that are installed, minidiff first."""
    return [Ours.name] + [Torch.name] * (importlib.util.find_spec("torch") is not None)


def use_threads(count: int, sides: list[str]) -> None:
    """Both libraries, and the BLAS that NumPy uses, on so many threads from now on."""
    backend.set_threads(count)
    threadpool_limits(limits=count, user_api="blas")
    if Torch.name in sides:
        import torch

        torch.set_num_threads(count)
