"""Modules: functions that own parameters. `module.py` has `Module`, `layers.py` the layers, each thin over `minidiff.functional`."""

from .layers import Conv2d, ConvTranspose2d, Dropout, Embedding, Function, GroupNorm, Linear
from .module import Module, ModuleList, Parameter, Sequential, generator_or_fresh

__all__ = [
    "Conv2d", "ConvTranspose2d", "Dropout", "Embedding", "Function", "GroupNorm", "Linear", "Module", "ModuleList", "Parameter",
    "Sequential", "generator_or_fresh",
]
