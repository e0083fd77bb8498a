"""minidiff: diffusion models from scratch, on NumPy and CuPy.

The names that `torch` has at its top level are here, so that `import minidiff as torch` serves a model written for PyTorch: functions,
Tensors made from sizes (what is random takes a `generator`), dtypes, `nn`, `optim`, `autograd`. What differs on purpose is in
docs/functional.md.
"""

from math import inf, nan, pi

import numpy as _numpy
from numpy import finfo, iinfo

from . import autograd, backend, functional, kernels, nn, optim  # noqa: F401  (kernels: tells the functions about their fast versions)
from .autograd import Tensor, backward, enable_grad, gradient, is_grad_enabled, no_grad, set_grad_enabled, tensor
from .autograd.tensor import from_dlpack
from .functional import *  # noqa: F403
from .functional.creation import *  # noqa: F403
from .random import Generator
from .version import __version__

_DTYPES = {
    "uint8": "uint8", "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64", "float16": "float16", "float32": "float32",
    "float64": "float64", "bool": "bool", "short": "int16", "int": "int32", "long": "int64", "half": "float16", "float": "float32",
    "double": "float64",
}
globals().update({_name: _numpy.dtype(_dtype) for _name, _dtype in _DTYPES.items()})


clip, concat, inference_mode = clamp, cat, no_grad  # noqa: F405  torch's other names


class cuda:
    """What a program asks of `torch.cuda` before it chooses a device."""

    @staticmethod
    def is_available():
        """Whether device "cuda" can be used: CuPy is installed and finds a GPU."""
        try:
            backend.get_library("cuda")
        except backend.DeviceError:
            return False
        return True


def device(type):
    """The device of this name, "cpu" or "cuda", which is this name. Raises DeviceError for one that is not there."""
    backend.get_library(type)
    return type


def is_tensor(obj):
    """Whether this is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input):
    """Whether the elements are floating-point numbers."""
    return input.dtype.kind == "f"


def numel(input):
    """How many elements there are."""
    return input.data.size if is_tensor(input) else input.size


def equal(input, other):
    """Whether shapes and all elements are the same, as Python's True or False."""
    return tuple(input.shape) == tuple(other.shape) and functional.all(functional.eq(input, other)).item()


def __getattr__(name):
    """Names of torch that are missing on purpose."""
    if name in ("manual_seed", "seed", "get_rng_state", "set_rng_state"):
        raise AttributeError(f"minidiff has no {name}: there is no global random state; pass generator=minidiff.Generator(seed) to what "
                             "draws")
    raise AttributeError(f"module 'minidiff' has no attribute {name!r}")


__all__ = [
    "Generator", "Tensor", "__version__", "autograd", "backward", "clip", "concat", "cuda", "device", "enable_grad", "equal", "finfo",
    "from_dlpack", "functional", "gradient", "iinfo", "inf", "inference_mode", "is_floating_point", "is_grad_enabled", "is_tensor", "nan",
    "nn", "no_grad", "numel", "optim", "pi", "set_grad_enabled", "tensor", *_DTYPES, *functional.__all__, *functional.creation.__all__,
]
