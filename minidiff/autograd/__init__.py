"""Tensors that remember how they were made, and the walk back through what they remember.

    tensor.py     `Tensor`: an array, perhaps with a place in a graph
    operation.py  how an operation and its gradient rules are declared; what is recorded when it is called
    walk.py       `backward`, `grad`: gradients by walking the graph from the last node to the first
    check.py      `check_gradients`: first and second derivatives against finite differences

It stands on `minidiff.backend` alone and knows no layer and no image. The operations are in `minidiff.functional`.
"""

from .check import check_gradients
from .composite import composite
from .mode import enable_grad, is_grad_enabled, no_grad
from .operation import elementwise, operation
from .tensor import Tensor, tensor
from .walk import backward, grad

__all__ = [
    "Tensor", "backward", "check_gradients", "composite", "elementwise", "enable_grad", "grad", "is_grad_enabled", "no_grad",
    "operation", "tensor",
]
