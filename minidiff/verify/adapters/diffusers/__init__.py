"""diffusers as an implementation: its schedulers, the pieces of its networks, `UNet2DModel`, `AutoencoderKL`. One file for each family.

Everything is called as its pipelines and training scripts call it, with its own float32 tables. Where a scheduler cannot be set to what a
case asks, it runs as near to it as it can be set; what it does not have at all is skipped.
"""

from __future__ import annotations

import diffusers

from minidiff.verify.adapters import operations_of
from minidiff.verify.adapters.torch import Torch


class Diffusers(Torch):
    """diffusers on a device, in float32 or float64."""

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(device, dtype)
        self.name, self.operations = f"diffusers {diffusers.__version__} {dtype} on {device}", operations_of(__name__)


def implementation(device: str = "cpu", dtype: str = "float32") -> Diffusers:
    """diffusers on this device, computing in this dtype."""
    return Diffusers(device, dtype)
