"""Changing the resolution: pooling, nearest-neighbour upsampling, and `rearrange` (einops notation) for rearrange pooling."""

from __future__ import annotations

import math
import re

from minidiff import backend
from minidiff.autograd import composite, operation

from .convolution import per_dimension, windows
from .reduction import mean, sum
from .shape import flatten, gather, pad, permute, reshape

__all__ = ["avg_pool2d", "interpolate", "max_pool2d", "rearrange"]


def _fold(xp, input, *, kernel, stride, size):
    n, c, *rest = input.shape
    out = xp.zeros((n, c, *size), input.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows, columns = rest[:2]
            out[:, :, i:i + (rows - 1) * stride[0] + 1:stride[0], j:j + (columns - 1) * stride[1] + 1:stride[1]] += input[..., i, j]
    return out


unfolded = operation(lambda xp, input, *, kernel, stride: windows(xp, input, kernel, stride, (1, 1)),
                     input=lambda g, like_input, kernel, stride: folded(g, kernel=kernel, stride=stride, size=like_input.shape[2:]))

folded = operation(_fold,
                   input=lambda g, kernel, stride: unfolded(g, kernel=kernel, stride=stride))


def _geometry(name, input, kernel_size, stride, padding):
    """kernel, stride and padding as pairs, checked against the input."""
    kernel = per_dimension(kernel_size, 2, f"{name}: kernel_size", 1)
    stride = kernel if stride is None else per_dimension(stride, 2, f"{name}: stride", 1)
    padding = per_dimension(padding, 2, f"{name}: padding")
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"{name}: padding {padding} is more than half of the kernel {kernel}")
    if len(input.shape) != 4 or any(n + 2 * p < k for n, p, k in zip(input.shape[2:], padding, kernel)):
        raise ValueError(f"{name}: a {kernel} window does not fit an input of shape {tuple(input.shape)} with padding {padding}; "
                         "expected (N, C, H, W)")
    return {"kernel": kernel, "stride": stride, "padding": padding}


def _windowed(input, kernel, stride, padding, fill):
    """(N, C, H', W', kh kw): the windows to be pooled."""
    if any(padding):
        input = pad(input, (padding[1], padding[1], padding[0], padding[0]), value=fill)
    return flatten(unfolded(input, kernel=kernel, stride=stride), -2)


@composite
def pooled_max(input, *, kernel, stride, padding):
    """y[p] = x at the first largest element of window p: (N, C, H, W) -> (N, C, H', W')."""
    parts = _windowed(input, kernel, stride, padding, -math.inf)
    where = backend.to_array(parts).argmax(axis=-1)[..., None]
    return reshape(gather(parts, -1, where), parts.shape[:-1])


def max_pool2d(input, kernel_size, stride=None, padding=0):
    """y[p] = max over the window at stride p; the gradient goes to the first largest element, as in torch.

    Shapes: (N, C, H, W) -> (N, C, (H + 2 padding - kernel) // stride + 1, ...); stride None means kernel_size.
    Raises ValueError for windows that do not fit.
    """
    return pooled_max(input, **_geometry("max_pool2d", input, kernel_size, stride, padding))


def avg_pool2d(input, kernel_size, stride=None, padding=0):
    """y[p] = mean over the window at stride p, zeros of the padding included (torch's default).

    Shapes: (N, C, H, W) -> (N, C, (H + 2 padding - kernel) // stride + 1, ...); stride None means kernel_size.
    Raises ValueError for windows that do not fit.
    """
    return mean(_windowed(input, **_geometry("avg_pool2d", input, kernel_size, stride, padding), fill=0.0), -1)


def _repeat(xp, input, *, factors):
    for axis, factor in factors:
        input = xp.repeat(input, factor, axis=axis)
    return input


repeated = operation(_repeat,
                     input=lambda g, like_input, factors: _summed(g, like_input, factors))


def _summed(g, like, factors):
    """Undo the repetition: sum over the copies of each element."""
    by_axis = dict(factors)
    shape = [m for axis, n in enumerate(like.shape) for m in ((n, by_axis[axis]) if axis in by_axis else (n,))]
    copies = tuple(axis + i + 1 for i, (axis, _) in enumerate(factors))
    return sum(reshape(g, shape), copies)


def interpolate(input, size=None, scale_factor=None, mode: str = "nearest"):
    """Nearest-neighbour resizing: y[i] = x[floor(i H / H')], in both directions.

    Shapes: (N, C, H, W) -> (N, C, H', W'), given as `size` or as `scale_factor` times the input's (an int or a pair each).
    Only mode="nearest" and whole factors. Raises ValueError for anything else.
    """
    if mode != "nearest":
        raise ValueError(f"interpolate: mode {mode!r} is not offered; expected 'nearest'")
    if len(input.shape) != 4 or (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: expected an input (N, C, H, W), got shape {tuple(input.shape)}, and either size or scale_factor")
    if size is not None:
        size = per_dimension(size, 2, "interpolate: size", 1)
        factors = [new / old for new, old in zip(size, input.shape[2:])]
    else:
        factors = list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * 2
    if len(factors) != 2 or any(f != int(f) or f < 1 for f in factors):
        raise ValueError(f"interpolate: only whole factors are offered, got {factors} (input shape {tuple(input.shape)})")
    return repeated(input, factors=tuple((2 + i, int(f)) for i, f in enumerate(factors) if f != 1))


# -- rearrange -------------------------------------------------------------------------------------------------------


def _groups_of(side: str, pattern: str) -> list[list[str]]:
    """'b (h p) w' -> [['b'], ['h', 'p'], ['w']]; '1' and '()' become []."""
    tokens = re.findall(r"\(([^()]*)\)|([^\s()]+)", side)
    rest = re.sub(r"\([^()]*\)|[^\s()]+|\s", "", side)
    groups = [inner.split() if single == "" else ([] if single == "1" else [single]) for inner, single in tokens]
    names = [name for group in groups for name in group]
    if rest or not all(name.isidentifier() for name in names) or len(set(names)) != len(names):
        raise ValueError(f"rearrange: cannot read {side.strip()!r} in {pattern!r}; "
                         "expected different names, single or in brackets, such as 'b c (h p) w'")
    return groups


def rearrange(input, pattern: str, **sizes: int):
    """Reorder, split and merge dimensions by name, in einops notation (Rogozhnikov, ICLR 2022).

        rearrange(x, "b c (h p1) (w p2) -> b (c p1 p2) h w", p1=2, p2=2)          rearrange pooling: (N, C, H, W) -> (N, 4 C, H/2, W/2)

    In brackets the last name varies fastest: "(h p)" and "(p h)" differ. Sizes that the shape does not tell are given by
    name. Raises ValueError for a pattern that cannot be read, or that does not fit the shape.
    """
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ValueError(f"rearrange: expected one '->' in {pattern!r}")
    left, right = (_groups_of(side, pattern) for side in sides)
    names = [name for group in left for name in group]
    if sorted(names) != sorted(name for group in right for name in group):
        raise ValueError(f"rearrange: both sides of {pattern!r} must have the same names")
    if len(left) != len(input.shape):
        raise ValueError(f"rearrange: {pattern!r} describes {len(left)} dimensions, the input has shape {tuple(input.shape)}")
    if not set(sizes) <= set(names):
        raise ValueError(f"rearrange: sizes for {sorted(set(sizes) - set(names))}, which {pattern!r} does not have")
    known = dict(sizes)
    for group, n in zip(left, input.shape):
        missing = [name for name in group if name not in known]
        product = math.prod(known[name] for name in group if name in known)
        if len(missing) > 1 or product < 1 or n % product or (not missing and n != product):
            raise ValueError(f"rearrange: a dimension of size {n} does not split into ({' '.join(group)}) with {known} "
                             f"(input shape {tuple(input.shape)}, pattern {pattern!r})")
        if missing:
            known[missing[0]] = n // product
    order = [names.index(name) for group in right for name in group]
    split = reshape(input, [known[name] for name in names])
    return reshape(permute(split, order), [math.prod(known[name] for name in group) for group in right])


