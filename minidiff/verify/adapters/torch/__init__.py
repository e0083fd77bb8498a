"""PyTorch as an implementation: each operation of the suite, as it is called there. One file for each family of operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from minidiff.verify.adapters import operations_of
from minidiff.verify.implementation import Differentiable


class Torch(Differentiable):
    """PyTorch on a device, in float32 or float64."""

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.name = f"torch {torch.__version__} {dtype} on {device}"
        self.device, self.dtype = device, getattr(torch, dtype)
        self.operations = operations_of(__name__)

    def array(self, values: np.ndarray, differentiate: bool) -> torch.Tensor:
        """A tensor on the device, in the dtype if it holds floats."""
        dtype = self.dtype if values.dtype.kind == "f" else torch.int64
        return torch.tensor(values, dtype=dtype, device=self.device, requires_grad=differentiate)

    def gradients(self, outputs: Sequence[tuple[Any, Any]], inputs: Sequence[Any]) -> Sequence[Any]:
        """By torch.autograd."""
        results, cotangents = zip(*outputs)
        return torch.autograd.grad(results, list(inputs), cotangents)

    def numpy(self, array: Any) -> np.ndarray:
        """Its values on the host; floats as float64, which holds them all."""
        return array.detach().cpu().double().numpy() if array.is_floating_point() else array.cpu().numpy()


def implementation(device: str = "cpu", dtype: str = "float32") -> Torch:
    """PyTorch on this device, computing in this dtype."""
    return Torch(device, dtype)
