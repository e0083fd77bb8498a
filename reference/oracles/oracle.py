"""What an oracle is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Oracle:
    """How an operation is certified. kind: a few words for the manifest, "mpmath, 50 digits, naive loops".

    values: called as values(inputs, settings) -> outputs by name, in arrays of mpf, Fractions, float64 ...; those that it returns are
    compared. The inputs are object arrays of mpf (exact: False gives float64 arrays), integers stay NumPy arrays.
    gradients: "difference": by central differences of `values` in 50 digits; "values": the oracle returns them under their names;
    "complex": by complex steps through `values`, which then takes complex128 arrays (and exact is False).
    check: called as check(inputs, settings, expected) in the place of, or besides, `values`; asserts a property (adjointness, an estimate
    within its confidence, an identity) and returns the names of the outputs that it settles.
    """

    kind: str
    values: Callable[..., Mapping[str, Any]] | None = None
    gradients: str = "difference"
    exact: bool = True
    check: Callable[..., tuple[str, ...]] | None = None
