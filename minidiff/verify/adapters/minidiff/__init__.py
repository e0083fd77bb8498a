"""minidiff as an implementation: each operation of the suite, as it is called here. One file for each family of operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import Tensor, gradient, tensor
from minidiff.verify.adapters import operations_of
from minidiff.verify.implementation import Differentiable


class Minidiff(Differentiable):
    """minidiff on a device, in float32 or float64."""

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.name = f"minidiff {dtype} on {device}"
        self.device, self.dtype = device, np.dtype(dtype)
        self.operations = operations_of(__name__)

    def array(self, values: np.ndarray, differentiate: bool) -> Tensor:
        """A Tensor on the device, in the dtype if it holds floats."""
        values = values.astype(self.dtype) if values.dtype.kind == "f" else values
        return tensor(values, device=self.device, requires_grad=differentiate)

    def gradients(self, outputs: Sequence[tuple[Any, Any]], inputs: Sequence[Any]) -> Sequence[Any]:
        """By a walk back through the graph."""
        results, cotangents = zip(*outputs)
        return gradient(results, list(inputs), cotangents)

    def numpy(self, array: Any) -> np.ndarray:
        """Its values on the host."""
        return backend.to_numpy(backend.to_array(array))


def implementation(device: str = "cpu", dtype: str = "float32") -> Minidiff:
    """minidiff on this device, computing in this dtype."""
    return Minidiff(device, dtype)
