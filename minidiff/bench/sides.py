"""The two libraries that are compared, behind one face: `minidiff.functional` has torch's names, so an item is written once."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import minidiff
from minidiff import functional
from minidiff.kernels.layout import channels_first, channels_last


class Ours:
    """minidiff."""

    name = "minidiff"
    root, functional = minidiff, functional

    def tensor(self, array: np.ndarray) -> Any:
        """An array as a tensor."""
        return minidiff.tensor(array)

    def images(self, array: np.ndarray) -> Any:
        """(N, C, H, W) images in this library's own memory layout, channels last, as they come between the layers of a network."""
        return minidiff.tensor(channels_first(channels_last(array)))

    def swap(self, x: Any, i: int, j: int) -> Any:
        """The tensor with two dimensions swapped."""
        return functional.transpose(x, i, j)

    def no_grad(self) -> Any:
        """A context in which nothing is recorded."""
        return minidiff.no_grad()


class Torch:
    """PyTorch."""

    name = "PyTorch"

    def __init__(self) -> None:
        import torch

        self.root = torch
        self.functional = torch.nn.functional

    def tensor(self, array: np.ndarray) -> Any:
        """An array as a tensor."""
        return self.root.from_numpy(array)

    def images(self, array: np.ndarray) -> Any:
        """(N, C, H, W) images in this library's own memory layout, channels first."""
        return self.root.from_numpy(array)

    def swap(self, x: Any, i: int, j: int) -> Any:
        """The tensor with two dimensions swapped."""
        return x.transpose(i, j)

    def no_grad(self) -> Any:
        """A context in which nothing is recorded."""
        return self.root.no_grad()


SIDES = {side.name: side for side in (Ours, Torch)}


def available_sides() -> list[str]:
    """The names of the sides that are installed, minidiff first."""
    return [Ours.name] + [Torch.name] * (importlib.util.find_spec("torch") is not None)


@contextlib.contextmanager
def same_threads(count: int, sides: list[str]) -> Iterator[None]:
    """PyTorch, and the BLAS that NumPy uses, on as many threads as minidiff."""
    with threadpool_limits(limits=count, user_api="blas"):
        if Torch.name not in sides:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
