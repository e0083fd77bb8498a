"""Tensors that remember how they were made, and the walk back through what they remember.

    tensor.py       `Tensor`: an array, perhaps with a place in a graph
    promotion.py    the dtype in which several inputs meet
    mode.py         when operations are recorded, and who watches them
    operation.py    how an operation and its gradient rules are declared; what is recorded when it is called
    composite.py    functions of operations that may have a kernel
    walk.py         `backward`, `gradient`, `grad`: by walking the graph from the last node to the first
    derivatives.py  `vjp`, `jvp`, `hessian_vector_product`, `jacobian`, `hessian` of functions
    checkpoint.py   `checkpoint`: compute again instead of remembering
    check.py        `check_gradients`: derivatives to any order against finite differences
    anomaly.py      `detect_anomaly`: where the first NaN or infinity came from
    profile.py      `profile`: where the time goes
    draw.py         `draw`: a graph as a picture

It stands on `minidiff.backend` and `minidiff.random` alone and knows no layer and no image. The operations are in `minidiff.functional`.
"""

from .anomaly import detect_anomaly
from .check import KinkError, check_gradients
from .checkpoint import checkpoint
from .composite import composite
from .derivatives import hessian, hessian_vector_product, jacobian, jvp, vjp
from .draw import draw
from .mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .operation import elementwise, operation
from .profile import profile
from .tensor import Tensor, tensor
from .walk import backward, grad, gradient

__all__ = [
    "KinkError", "Tensor", "backward", "check_gradients", "checkpoint", "composite", "detect_anomaly", "draw", "elementwise",
    "enable_grad", "grad", "gradient", "hessian", "hessian_vector_product", "is_grad_enabled", "jacobian", "jvp", "no_grad", "operation",
    "profile", "set_grad_enabled", "tensor", "vjp",
]
