"""Interpolation in all modes, and the pixel shuffles."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from .case import Call, Case, shapes, values

IMAGE = np.ones((1, 2, 4, 6))
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def for_each(draw, sizes):
    """A value for each dimension, as a tuple, a list, or one for all of them."""
    alike = len(set(sizes)) == 1
    return sizes[0] if alike and draw(st.booleans()) else draw(st.sampled_from([tuple, list]))(sizes)


@st.composite
def forms(draw, input, mode, target, **options):
    """The ways to write a call; target: (size, None) or (None, scale_factor)."""
    if mode == "nearest" and draw(st.booleans()):
        return Call((input, *target) if target[1] is not None else (input, target[0]), options)
    options["mode"] = mode
    if "align_corners" in options and draw(st.booleans()):
        return Call((input, *target, options.pop("mode"), options.pop("align_corners")), options)
    named = dict(zip(("size", "scale_factor"), target))
    named = {name: value for name, value in named.items() if value is not None or draw(st.booleans())}
    return Call((), {"input": input, **named, **options}) if draw(st.booleans()) else Call((input,), named | options)


@st.composite
def interpolations(draw, family, by_size, antialias=False):
    """Up and down, by any factor, in one, two or three dimensions."""
    dims = 2 if antialias or family in ("cubic", "lanczos") else draw(st.integers(1, 3))
    mode = {"linear": LINEAR[dims], "cubic": "bicubic"}.get(family, family)
    largest = 7 if dims < 3 else 4
    old = [draw(st.integers(1, largest)) for _ in range(dims)]
    options = {}
    if by_size:
        new = [draw(st.integers(1, largest + 3)) for _ in range(dims)]
        target = (for_each(draw, new), None)
    else:
        one = draw(st.booleans())
        factors = [draw(st.sampled_from([1, 2, 3, 1.5, 2.5, 2.2, 1.1, 0.5, 0.7, 1 / 3, 1.9]))] * (dims if one else 1)
        factors += [draw(st.floats(0.3, 2.6).map(lambda f: round(f, 2))) for _ in range(dims - len(factors))]
        new = [int(n * f) for n, f in zip(old, factors)]
        assume(min(new) > 0)
        target = (None, for_each(draw, factors))
        options["recompute_scale_factor"] = recompute = draw(st.sampled_from([None, False, True]))
        if recompute is None and draw(st.booleans()):
            del options["recompute_scale_factor"]
        if not recompute:
            # torch's results are not its own gradient's transpose there: see tests/functional/test_resampling.py
            assume(not (mode == "nearest" and dims != 2 and any(m in (n, 2 * n) and m != n * f for n, m, f in zip(old, new, factors))))
            assume(not (mode == "bicubic" and new == old and any(f != 1 for f in factors)))
            assume(not (antialias and any(m == n and f != 1 for n, m, f in zip(old, new, factors))))
    if antialias:
        options["antialias"] = True
        assume(new[1] > 1)  # torch 2.13 reads the first row for all of them when the result is one pixel wide
    if family in ("linear", "cubic") and draw(st.booleans()):
        options["align_corners"] = draw(st.booleans())
    input = draw(values())(draw(st.integers(0, 2)), draw(st.integers(1, 2)), *old)
    return draw(forms(input, mode, target, **options))


def refused(*arguments, input=IMAGE, **options):
    return Call((input, *arguments), options)


REFUSED = (
    refused(), refused(8, 2),
    refused(8, mode="cubic"), refused(8, mode="linear"), refused(8, mode="trilinear"), refused(8, mode="bilinear", input=IMAGE[0]),
    refused(8, mode="bicubic", input=IMAGE[0]), refused(8, input=IMAGE[0, 0]), refused(8, input=IMAGE[None, None]),
    refused((8,)), refused((8, 8, 8)), refused((8, 0)), refused((8, -1)), refused(8.0), refused((8.0, 8)),
    refused(None, 0.1), refused(None, -1), refused(None, (2,)), refused(None, (2, 2, 2)), refused(None, "2"),
    refused(8, align_corners=True), refused(8, align_corners=False), refused(8, mode="area", align_corners=False),
    refused(8, mode="nearest-exact", align_corners=True), refused(8, mode="bilinear", recompute_scale_factor=True),
    refused(8, antialias=True), refused(8, mode="area", antialias=True), refused(8, mode="linear", input=IMAGE[0], antialias=True),
    refused(8, mode="lanczos"), refused(8, mode="lanczos", antialias=True, align_corners=True),
    refused(8, input=IMAGE[:, :0]), refused(8, input=IMAGE[..., :0]), refused(8, mode="bilinear", input=IMAGE[:, :0]),
    refused(8, mode="bilinear", input=IMAGE.astype(np.int64)), refused(8, mode="area", input=IMAGE.astype(np.int64)),
)


@st.composite
def shuffles(draw, up):
    """(..., C r^2, H, W) and (..., C, H r, W r)."""
    r, c, h, w = (draw(st.integers(1, 3)) for _ in range(4))
    lead = draw(shapes(most=2, largest=2))  # torch's own fail on an empty batch, forwards or backwards
    input = draw(values())(*lead, *((c * r * r, h, w) if up else (c, h * r, w * r)))
    name = "upscale_factor" if up else "downscale_factor"
    return Call((input, r)) if draw(st.booleans()) else Call((), {"input": input, name: r})


CASES = [
    *(Case("interpolate", interpolations(family, by_size), label=f"{family} by {'size' if by_size else 'factor'}", examples=15,
           refused=REFUSED if family == "linear" and by_size else ())
      for family in ("nearest", "nearest-exact", "linear", "cubic", "area") for by_size in (True, False)),
    *(Case("interpolate", interpolations(family, by_size, antialias=True), examples=15,
           label=f"{family} antialiased by {'size' if by_size else 'factor'}")
      for family in ("linear", "cubic", "lanczos") for by_size in (True, False)),
    Case("pixel_shuffle", shuffles(True), refused=(
        Call((IMAGE, 2)), Call((IMAGE, 0)), Call((IMAGE, -1)), Call((IMAGE, 1.0)), Call((IMAGE[0, 0], 1)))),
    Case("pixel_unshuffle", shuffles(False), refused=(
        Call((IMAGE, 3)), Call((IMAGE, 4)), Call((IMAGE, 0)), Call((IMAGE, -1)), Call((IMAGE, 1.0)), Call((IMAGE[0, 0], 1)))),
]
