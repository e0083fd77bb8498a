"""Implementations that ship: how the operations of the suite are called in minidiff itself and in other libraries.

Each is an `Implementation`, made by `adapter(name)`; the libraries are imported only then.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

ADAPTERS = {
    "minidiff": "minidiff on NumPy, or on another device with device=",
    "torch": "PyTorch: torch.nn.functional, torch.nn",
    "jax": "JAX: jax.nn, jax.lax, jax.numpy, jax.image",
    "diffusers": "diffusers: schedulers, the pieces of its networks, UNet2DModel, AutoencoderKL",
    "transformers": "transformers: the pieces of its CLIP, activations, learning rates",
    "k_diffusion": "k-diffusion: lists of sigmas, samplers",
    "denoising_diffusion_pytorch": "denoising-diffusion-pytorch: GaussianDiffusion, ElucidatedDiffusion",
}


def adapter(name: str, **options: Any) -> Any:
    """The adapter of this name. Raises ValueError for an unknown one, ImportError if its library is not installed."""
    if name not in ADAPTERS:
        raise ValueError(f"unknown adapter {name!r}; choose from {', '.join(ADAPTERS)}")
    return import_module(f"minidiff.verify.adapters.{name}").implementation(**options)


def by_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that is a function whose arguments are called as the inputs and settings are."""
    return lambda inputs, settings: function(**inputs, **settings)


def operations_of(package: str) -> dict[str, Any]:
    """The operations of all files of an adapter's package: each has OPERATIONS, functions of (inputs, settings), both by name."""
    found: dict[str, Any] = {}
    for file in sorted(iter_modules(import_module(package).__path__), key=lambda file: file.name):
        found |= import_module(f"{package}.{file.name}").OPERATIONS
    return found
