"""Differentiable functions, with the names, argument names, order, defaults and semantics of `torch.nn.functional` (of `torch` for
tensor operations). One file a family; each function takes Tensors, or plain arrays and then returns plain arrays.

It stands on `minidiff.autograd`; layers that hold parameters are in `minidiff.nn`.
"""

from . import methods as _methods  # noqa: F401  the operators of Tensor
from .activation import gelu, log_softmax, relu, silu, softmax
from .attention import scaled_dot_product_attention
from .convolution import conv2d, conv_transpose2d
from .dropout import dropout
from .elementwise import abs, add, clamp, cos, div, erf, exp, log, maximum, minimum, mul, neg, pow, sigmoid, sin, sqrt, sub, tanh, where
from .embedding import embedding, one_hot, timestep_embedding
from .linear import linear, matmul
from .loss import cross_entropy, mse_loss
from .normalization import group_norm
from .reduction import amax, amin, argmax, logsumexp, mean, std, sum, var
from .resampling import avg_pool2d, interpolate, max_pool2d, rearrange
from .shape import (
    cat,
    chunk,
    expand,
    flatten,
    flip,
    gather,
    getitem,
    pad,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)

__all__ = [
    "abs", "add", "amax", "amin", "argmax", "avg_pool2d", "cat", "chunk", "clamp", "conv2d", "conv_transpose2d", "cos",
    "cross_entropy", "div", "dropout", "embedding", "erf", "exp", "expand", "flatten", "flip", "gather", "gelu", "getitem",
    "group_norm", "interpolate", "linear", "log", "log_softmax", "logsumexp", "matmul", "max_pool2d", "maximum", "mean", "minimum",
    "mse_loss", "mul", "neg", "one_hot", "pad", "permute", "pow", "rearrange", "relu", "reshape", "scaled_dot_product_attention",
    "sigmoid", "silu", "sin", "softmax", "split", "sqrt", "squeeze", "stack", "std", "sub", "sum", "tanh", "timestep_embedding",
    "transpose", "unsqueeze", "var", "where",
]
