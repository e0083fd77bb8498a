"""minidiff: diffusion models from scratch, on NumPy and CuPy.

The names that `torch` has at its top level are here, so that `import minidiff as torch` serves a model written for PyTorch: functions,
Tensors made from sizes (what is random takes a `generator`), dtypes, `nn`, `optim`, `autograd`. What differs on purpose is in
docs/functional.md.
"""

import numpy as _numpy
from numpy import finfo, iinfo

from . import autograd, backend, functional, kernels, nn, optim  # noqa: F401  (kernels: tells the functions about their fast versions)
from .autograd import Tensor, backward, enable_grad, gradient, is_grad_enabled, no_grad, tensor
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


def device(type):
    """The device of this name, "cpu" or "cuda", which is this name. Raises DeviceError for one that is not there."""
    backend.get_library(type)
    return type


def is_tensor(obj):
    """Whether this is a Tensor."""
    return isinstance(obj, Tensor)


__all__ = [
    "Generator", "Tensor", "__version__", "autograd", "backward", "device", "enable_grad", "finfo", "from_dlpack", "functional", "gradient",
    "iinfo", "is_grad_enabled", "is_tensor", "nn", "no_grad", "optim", "tensor", *_DTYPES, *functional.__all__,
    *functional.creation.__all__,
]
