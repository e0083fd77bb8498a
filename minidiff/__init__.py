"""minidiff: diffusion models from scratch, on NumPy and CuPy."""

from . import functional, kernels  # noqa: F401  kernels: tells the functions about their fast versions
from .autograd import Tensor, enable_grad, grad, no_grad, tensor
from .version import __version__

__all__ = ["Tensor", "__version__", "enable_grad", "functional", "grad", "no_grad", "tensor"]
