"""Products of matrices: `matmul`, `linear`. Names and arguments are `torch`'s."""

from __future__ import annotations

from minidiff.autograd import operation

from .shape import permute, reshape, unsqueeze

__all__ = ["linear", "matmul"]

product = operation(lambda xp, input, other: xp.matmul(input, other),
                    input=lambda g, other: product(g, _turned(other)),
                    other=lambda g, input: product(_turned(input), g))


def _turned(x):
    """Swap the last two dimensions."""
    n = len(x.shape)
    return permute(x, (*range(n - 2), n - 1, n - 2))


def matmul(input, other):
    """out[..., i, j] = sum_k input[..., i, k] other[..., k, j], leading dimensions broadcast; a 1-D argument is a vector.

    Shapes: (..., n, k), (..., k, m) -> (..., n, m). Raises ValueError when the inner sizes differ.
    """
    a, b = len(input.shape), len(other.shape)
    if a == 0 or b == 0:
        raise ValueError(f"matmul: expected arrays of at least one dimension, got shapes {tuple(input.shape)} and {tuple(other.shape)}")
    if input.shape[-1] != other.shape[-2 if b > 1 else 0]:
        raise ValueError(f"matmul: shapes {tuple(input.shape)} and {tuple(other.shape)} do not fit: "
                         f"{input.shape[-1]} columns meet {other.shape[-2 if b > 1 else 0]} rows")
    left = unsqueeze(input, 0) if a == 1 else input
    right = unsqueeze(other, 1) if b == 1 else other
    out = product(left, right)
    if a == 1:
        out = reshape(out, (*out.shape[:-2], out.shape[-1]))
    return reshape(out, out.shape[:-1]) if b == 1 else out


def linear(input, weight, bias=None):
    """y = x W^T + b.

    Shapes: input (..., in), weight (out, in), bias (out,) -> (..., out). Raises ValueError when they do not fit.
    """
    if len(weight.shape) != 2 or input.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: input of shape {tuple(input.shape)} has {input.shape[-1]} features, "
                         f"weight of shape {tuple(weight.shape)} expects (out, in) with in = {input.shape[-1]}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"linear: bias of shape {tuple(bias.shape)}; the weight asks for ({weight.shape[0]},)")
    rows = reshape(input, (-1, input.shape[-1])) if len(input.shape) != 2 and 0 not in input.shape else input
    out = product(rows, _turned(weight))
    out = out if bias is None else out + bias
    return out if rows is input else reshape(out, (*input.shape[:-1], weight.shape[0]))
