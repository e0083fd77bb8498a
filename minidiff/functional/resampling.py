"""Changing the resolution: `interpolate`, and the pixel shuffles, which exchange channels for places.

Every way of interpolating is linear and goes one axis after the other: along an axis, each new place is a weighted sum of a few old
ones. So a mode is a table of places and weights (`axismap.py`), made on the host in float64; the gradient is the transposed table.
"""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Integral, Real

import numpy as np

from .axismap import AxisMap, mapped
from .door import must_be_real
from .einops import rearrange

__all__ = ["interpolate", "pixel_shuffle", "pixel_unshuffle"]


# -- the weight of a pixel at distance d from the place that is asked for; 0 outside the radius ----------------------


def _triangle(d):
    """The weights of linear interpolation."""
    return np.maximum(1 - np.abs(d), 0)


def _cubic(a):
    """The piecewise cubic that interpolates and has a continuous slope; a: its slope at 1 (Keys 1981, Eq. 15)."""

    def weight(d):
        d = np.abs(d)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((d - 5) * d + 8) * d * a - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    return weight


def _lanczos(d):
    """sinc windowed by a sinc of three times the width."""
    return np.where(np.abs(d) < 3, np.sinc(d) * np.sinc(d / 3), 0.0)


# (weight, radius); smoothed downwards, torch's bicubic takes Keys' own a = -1/2, otherwise -3/4
_LINEAR, _CUBIC, _SMOOTH_CUBIC, _LANCZOS = (_triangle, 1), (_cubic(-0.75), 2), (_cubic(-0.5), 2), (_lanczos, 3)
_FILTERS = {
    ("linear", False): _LINEAR, ("bilinear", False): _LINEAR, ("trilinear", False): _LINEAR, ("bicubic", False): _CUBIC,
    ("bilinear", True): _LINEAR, ("bicubic", True): _SMOOTH_CUBIC, ("lanczos", True): _LANCZOS,
}

# mode: the dimensions of the inputs that it takes
_MODES = {
    "nearest": (3, 4, 5), "nearest-exact": (3, 4, 5), "area": (3, 4, 5),
    "linear": (3,), "bilinear": (4,), "trilinear": (5,), "bicubic": (4,), "lanczos": (4,),
}


# -- one axis --------------------------------------------------------------------------------------------------------


def _nearest(old, new, ratio, offset):
    """The pixel in which the place ratio (i + offset) lies; nine decimals, since 7 / 0.7 is 10 and not 9.999."""
    places = np.floor(np.round((np.arange(new) + offset) * ratio, 9)).astype(np.int64)
    return np.arange(new), np.minimum(places, old - 1), np.ones(new)


def _area(old, new):
    """The mean from floor(i old / new) to ceil((i + 1) old / new)."""
    i = np.arange(new)
    first, count = i * old // new, -(-(i + 1) * old // new) - i * old // new
    inside = np.arange(count.max()) < count[:, None]
    sources = first[:, None] + np.arange(count.max())
    return np.repeat(i, count), sources[inside], np.repeat(1 / count, count)


def _filtered(old, new, ratio, align_corners, weight, radius, antialias):
    """y_i = sum_k weight(k - c_i) x_k around the centre c_i, where x continues beyond its borders with the border's value.

    antialias: the filter is stretched over the old pixels that make a new one, and only pixels that exist count.
    """
    stretch = max(ratio, 1.0) if antialias else 1.0
    shift = 0.0 if align_corners and not antialias else 0.5
    centre = (np.arange(new) + shift) * ratio - shift
    reach = math.ceil(radius * stretch)
    places = np.floor(centre).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
    weights = weight((places - centre[:, None]) / stretch)
    if antialias:
        weights = np.where((places >= 0) & (places < old), weights, 0.0)
        weights /= weights.sum(1, keepdims=True)
    used = weights != 0
    return np.nonzero(used)[0], np.clip(places, 0, old - 1)[used], weights[used]


@lru_cache(maxsize=512)
def axis_map(axis: int, old: int, new: int, factor: float | None, mode: str, align_corners: bool, antialias: bool) -> AxisMap:
    """How `interpolate` goes from `old` to `new` pixels along an axis; factor: the scale_factor that counts, None for new / old."""
    # as in torch, where the size stays (except in two modes), or doubles with nearest, the factor does not count
    stays = (new == old and mode != "nearest-exact" and (mode != "bicubic" or antialias)) or (new == 2 * old and mode == "nearest")
    if align_corners and not mode.startswith("nearest"):
        ratio = (old - 1) / (new - 1) if new > 1 else 0.0
    else:
        ratio = old / new if factor is None or stays else 1.0 / factor
    if mode == "area":
        targets, sources, weights = _area(old, new)
    elif (mode, antialias) in _FILTERS:
        targets, sources, weights = _filtered(old, new, ratio, align_corners, *_FILTERS[mode, antialias], antialias)
    else:
        targets, sources, weights = _nearest(old, new, ratio, 0.5 if mode == "nearest-exact" else 0.0)
    return AxisMap(axis, new, old, targets, sources, None if (weights == 1).all() else weights)


# -- interpolate -----------------------------------------------------------------------------------------------------


def _for_each_axis(value, dims, name, kind, what):
    """A number, or one for each spatial dimension, all above 0, as a tuple."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    if len(values) != dims or not all(isinstance(v, kind) and v > 0 for v in values):
        raise ValueError(f"interpolate: {name}: expected {what} above 0, or {dims} of them, got {value!r}")
    return values


def interpolate(
    input, size=None, scale_factor=None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
):
    """Resize: (N, C, L), (N, C, H, W) or (N, C, D, H, W) to `size`, or to floor(scale_factor times the input's size).

    New pixel i lies at r (i + 1/2) - 1/2 among the old ones, r = 1 / scale_factor (old / new for a `size`, or with recompute_scale_factor);
    with align_corners, at i (old - 1) / (new - 1). There the value is, from one axis to the next,

        linear, bilinear, trilinear   the line between the two neighbours
        bicubic                       the cubic through four, of slope parameter -3/4 (Keys 1981)
        nearest                       x[floor(r i)]; nearest-exact: x[floor(r (i + 1/2))], the nearest indeed
        area                          the mean over the pixels that i covers, at least partly
        lanczos                       sinc windowed by a sinc, radius 3; only with antialias

    antialias (bilinear, bicubic, lanczos): downwards, the filter is stretched by r, so that every old pixel counts. size,
    scale_factor: a number, or one for each spatial dimension. Raises ValueError or TypeError for what does not go together.
    """
    shape = tuple(input.shape)
    dims = len(shape) - 2
    if mode not in _MODES:
        raise ValueError(f"interpolate: mode {mode!r} is not offered; expected one of {', '.join(_MODES)}")
    if len(shape) not in _MODES[mode]:
        raise ValueError(f"interpolate: mode {mode!r} takes inputs of {' or '.join(map(str, _MODES[mode]))} dimensions, got shape {shape}; "
                         "linear, bilinear, trilinear are one mode for (N, C, L), (N, C, H, W), (N, C, D, H, W)")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(f"interpolate: align_corners={align_corners} has no meaning with mode {mode!r}; leave it out")
    if antialias and (mode, True) not in _FILTERS:
        raise ValueError(f"interpolate: antialias is offered for bilinear, bicubic and lanczos, got mode {mode!r}")
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("interpolate: mode 'lanczos' needs antialias=True and takes no align_corners")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: expected either size or scale_factor, got size={size!r}, scale_factor={scale_factor!r}")
    if size is not None and recompute_scale_factor:
        raise ValueError("interpolate: recompute_scale_factor has no meaning with a size; leave it out")
    if not mode.startswith("nearest"):
        must_be_real("interpolate", input=input)
    if size is not None:
        new = _for_each_axis(size, dims, "size", Integral, "an int")
        factors = (None,) * dims
    else:
        factors = _for_each_axis(scale_factor, dims, "scale_factor", Real, "a number")
        new = tuple(int(n * float(factor)) for n, factor in zip(shape[2:], factors))
        factors = (None,) * dims if recompute_scale_factor or mode == "area" else tuple(map(float, factors))
    if min(*shape[1:], *new) < 1:
        raise ValueError(f"interpolate: from shape {shape} to spatial size {new}: only the batch may be empty")
    maps = [axis_map(2 + i, n, int(m), factor, mode, bool(align_corners), bool(antialias))
            for i, (n, m, factor) in enumerate(zip(shape[2:], new, factors))]
    smallest_first = sorted(reversed(maps), key=lambda line: line.length / line.width)
    return mapped(input, maps=tuple(line for line in smallest_first if not line.changes_nothing))


# -- pixel shuffles --------------------------------------------------------------------------------------------------


def _checked_shuffle(name, input, factor, factor_name):
    """TypeError for a factor that is no int, ValueError for one below 1 or for an input without (C, H, W)."""
    if not isinstance(factor, Integral):
        raise TypeError(f"{name}: {factor_name}: expected an int, got {factor!r}")
    if factor < 1 or len(input.shape) < 3:
        raise ValueError(f"{name}: expected an input (..., C, H, W) and {factor_name} of at least 1, "
                         f"got shape {tuple(input.shape)} and {factor}")


def pixel_shuffle(input, upscale_factor: int):
    """Channels become places: (..., C r^2, H, W) -> (..., C, H r, W r) for r = upscale_factor (Shi et al. 2016, Eq. 4).

    Raises ValueError when the channels do not divide by r^2.
    """
    _checked_shuffle("pixel_shuffle", input, upscale_factor, "upscale_factor")
    if input.shape[-3] % upscale_factor**2:
        raise ValueError(f"pixel_shuffle: {input.shape[-3]} channels do not divide by upscale_factor^2 = {upscale_factor**2} "
                         f"(input shape {tuple(input.shape)})")
    return rearrange(input, "... (c p q) h w -> ... c (h p) (w q)", p=upscale_factor, q=upscale_factor)


def pixel_unshuffle(input, downscale_factor: int):
    """Places become channels: (..., C, H r, W r) -> (..., C r^2, H, W) for r = downscale_factor; the inverse of `pixel_shuffle`.

    Raises ValueError when height or width do not divide by r.
    """
    _checked_shuffle("pixel_unshuffle", input, downscale_factor, "downscale_factor")
    if any(n % downscale_factor for n in input.shape[-2:]):
        raise ValueError(f"pixel_unshuffle: height and width do not divide by downscale_factor = {downscale_factor} "
                         f"(input shape {tuple(input.shape)})")
    return rearrange(input, "... c (h p) (w q) -> ... (c p q) h w", p=downscale_factor, q=downscale_factor)
