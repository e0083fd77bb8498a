"""Operations of the suite that take several calls of functions with the names of `torch.nn.functional`: written once for all libraries that
have these, PyTorch and minidiff.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FACTORS = ("first", "second", "third")
"""The operands of einsum by name, in order."""


def factors(inputs: Mapping[str, Any]) -> list[Any]:
    """The operands of einsum, in order."""
    return [inputs[name] for name in FACTORS if name in inputs]


def resizing(F: Any) -> dict[str, Callable[..., Any]]:
    """The operations that make images smaller or larger and take more than one call. F: a module with the functions' names."""
    def downsample_conv2d(inputs, settings):
        padded = F.pad(inputs["input"], settings["padding"])
        return F.conv2d(padded, inputs["weight"], inputs["bias"], stride=settings["stride"])

    def upsample_conv2d(inputs, settings):
        larger = F.interpolate(inputs["input"], scale_factor=settings["scale_factor"], mode="nearest")
        return F.conv2d(larger, inputs["weight"], inputs["bias"], padding=settings["padding"])

    def max_pool2d(inputs, settings):
        found = F.max_pool2d(**inputs, **settings)
        return dict(zip(("output", "indices"), found)) if settings["return_indices"] else found

    return {function.__name__: function for function in (downsample_conv2d, upsample_conv2d, max_pool2d)}
