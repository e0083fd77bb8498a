"""Differentiable functions, with the names, argument names, order, defaults and semantics of `torch.nn.functional` (of `torch` for
tensor operations). One file a family; each function takes Tensors, or plain arrays and then returns plain arrays.

It stands on `minidiff.autograd`; layers that hold parameters are in `minidiff.nn`. What each file offers is its `__all__`.
"""

from types import FunctionType as _FunctionType

from minidiff.autograd.operation import name_operations as _name_operations

from . import (
    activation,
    attention,
    convolution,
    creation,
    dropout,
    einops,
    elementwise,
    embedding,
    indexing,
    linear,
    loss,
    methods,
    normalization,
    order,
    padding,
    pooling,
    reduction,
    resampling,
    shape,
    unfolding,
)
from .door import explaining_no_arrays as _explaining_no_arrays

_FAMILIES = (
    elementwise, reduction, order, shape, indexing, einops, padding, linear, unfolding, convolution, pooling, resampling, normalization,
    activation, attention, embedding, dropout, loss,
)
__all__ = [_name for _family in _FAMILIES for _name in _family.__all__]

for _family in (*_FAMILIES, creation, methods):
    _name_operations(vars(_family))

from .activation import *
from .attention import *
from .convolution import *
from .dropout import *
from .einops import *
from .elementwise import *
from .embedding import *
from .indexing import *
from .linear import *
from .loss import *
from .normalization import *
from .order import *
from .padding import *
from .pooling import *
from .reduction import *
from .resampling import *
from .shape import *
from .unfolding import *

for _name in __all__:
    if isinstance(globals()[_name], _FunctionType):
        globals()[_name] = _explaining_no_arrays(globals()[_name], __name__)
