"""Modules: functions that own parameters, each thin over `minidiff.functional`. Names, arguments, parameters, layouts and initial values
are those of `torch.nn`; `generator=` draws initial values and dropout, and without one they differ from run to run.

    module.py          `Module`, `Parameter`: what is owned, and by which names it is found
    containers.py      modules in a row, by name, beside a shortcut
    init.py            initial values
    linear.py, convolution.py, normalization.py     layers with parameters
    stateless.py       layers without: activations, pooling, padding, losses ... as a table; dropout
    attention.py, transformer.py
    summary.py         `summary`: what a network is made of, and what it costs
    utils.py           the length of all gradients together
"""

from types import FunctionType as _FunctionType

from . import functional, init, utils
from .attention import *
from .containers import ModuleDict, ModuleList, ResidualBlock, Sequential
from .convolution import *
from .linear import *
from .module import Module, Parameter, generator_or_fresh
from .normalization import *
from .stateless import *
from .summary import summary
from .transformer import *

from . import attention, convolution, linear, normalization, stateless, transformer  # isort: skip


def _own_copy(function: _FunctionType, qualname: str) -> _FunctionType:
    """The same function under another name."""
    copied = _FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    copied.__kwdefaults__, copied.__annotations__, copied.__doc__ = function.__kwdefaults__, function.__annotations__, function.__doc__
    copied.__qualname__, copied.__module__ = qualname, function.__module__
    return copied


__all__ = [
    "Module", "ModuleDict", "ModuleList", "Parameter", "ResidualBlock", "Sequential", "functional", "generator_or_fresh", "init", "summary",
    "utils",
]
for _file in (attention, convolution, linear, normalization, stateless, transformer):
    __all__ += _file.__all__
    for _layer in map(globals().get, _file.__all__):
        if _layer.__init__.__qualname__.startswith("_"):  # what several share: Python's messages about arguments name the layer
            _layer.__init__ = _own_copy(_layer.__init__, f"{_layer.__name__}.__init__")
