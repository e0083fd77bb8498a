"""Interpolation: pixel by pixel from the definition of each mode, and the laws of resampling. Pixel shuffles. Errors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operations.resampling import interpolations

from minidiff import functional as F
from minidiff.autograd import gradient, tensor
from minidiff.functional.resampling import axis_map

LINEAR = ("linear", "bilinear", "trilinear")
FAMILIES = [(family, False) for family in ("nearest", "nearest-exact", "linear", "cubic", "area")]
FAMILIES += [("linear", True), ("cubic", True), ("lanczos", True)]
KINDS = [(family, by_size, antialias) for family, antialias in FAMILIES for by_size in (True, False)]


# -- one new pixel on one axis, as a sum of old ones -----------------------------------------------------------------


def tent(d):
    return max(0.0, 1 - abs(d))


def cubic(d, a):
    d = abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def lanczos(d):
    sinc = lambda t: math.sin(math.pi * t) / (math.pi * t) if t else 1.0
    return sinc(d) * sinc(d / 3) if abs(d) < 3 else 0.0


def shares(i, old, new, factor, mode, align_corners, antialias):
    """{old pixel: weight} of new pixel i."""
    if mode == "area":
        covered = range(math.floor(i * old / new), math.ceil((i + 1) * old / new))
        return {k: 1 / len(covered) for k in covered}
    ratio = old / new if factor is None else 1 / factor
    if (new == old and (mode in (*LINEAR, "nearest") or antialias)) or (new == 2 * old and mode == "nearest"):
        ratio = old / new
    if mode.startswith("nearest"):
        return {min(int(i * ratio + 1e-7 if mode == "nearest" else (i + 0.5) * ratio + 1e-7), old - 1): 1.0}
    if align_corners:
        ratio = (old - 1) / (new - 1) if new > 1 else 0.0
    if antialias:
        stretch = max(1.0, ratio)
        weight = {"bilinear": tent, "bicubic": lambda d: cubic(d, -0.5), "lanczos": lanczos}[mode]
        found = {k: weight((k + 0.5 - ratio * (i + 0.5)) / stretch) for k in range(old)}
        return {k: w / sum(found.values()) for k, w in found.items()}
    centre = i * ratio if align_corners else (i + 0.5) * ratio - 0.5
    found = dict.fromkeys(range(old), 0.0)
    for k in range(math.floor(centre) - 3, math.floor(centre) + 4):
        found[min(max(k, 0), old - 1)] += tent(k - centre) if mode in LINEAR else cubic(k - centre, -0.75)
    return found


def read(call):
    """(input, new sizes, factors that count, mode, align_corners, antialias), whichever way the call is written."""
    names = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    options = dict(zip(names, call.args)) | call.kwargs
    x, size, factor = options["input"], options.get("size"), options.get("scale_factor")
    each = lambda value: tuple(value) if isinstance(value, (tuple, list)) else (value,) * (x.ndim - 2)
    new = each(size) if size is not None else tuple(int(n * f) for n, f in zip(x.shape[2:], each(factor)))
    counts = each(None) if size is not None or options.get("recompute_scale_factor") else each(factor)
    return x, new, counts, options.get("mode", "nearest"), bool(options.get("align_corners")), options.get("antialias", False)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=15)
@given(data=st.data())
def test_every_new_pixel_is_the_sum_that_its_mode_says(kind, data):
    """Pixel by pixel, axis by axis in plain Python; the gradient goes back along the same weights."""
    call = data.draw(interpolations(*kind))
    x, new, factors, mode, align_corners, antialias = read(call)
    weights = [[shares(i, old, n, factor, mode, align_corners, antialias) for i in range(n)]
               for old, n, factor in zip(x.shape[2:], new, factors)]
    leaf = tensor(x, requires_grad=True)
    y = F.interpolate(*(leaf if a is x else a for a in call.args), **{k: leaf if v is x else v for k, v in call.kwargs.items()})
    assert y.shape == (*x.shape[:2], *new)
    seed = np.cos(np.arange(y.data.size)).reshape(y.shape)
    back = np.zeros(x.shape)
    for place in itertools.product(*map(range, new)):
        value = np.zeros(x.shape[:2])
        for sources in itertools.product(*(weights[axis][i].items() for axis, i in enumerate(place))):
            weight = math.prod(w for _, w in sources)
            source = (..., *(k for k, _ in sources))
            value += weight * x[source]
            back[source] += weight * seed[(..., *place)]
        np.testing.assert_allclose(y.data[(..., *place)], value, atol=1e-11)
    np.testing.assert_allclose(gradient(y, leaf, seed).data, back, atol=1e-11)


# -- laws ------------------------------------------------------------------------------------------------------------

axes = st.tuples(st.integers(1, 12), st.one_of(st.integers(1, 30), st.floats(0.1, 4))).map(  # (old, new, factor or None)
    lambda pair: (*pair, None) if isinstance(pair[1], int) else (pair[0], max(1, int(pair[0] * pair[1])), max(pair[1], 1 / pair[0])))
MODES = [("nearest", False), ("nearest-exact", False), ("area", False), ("linear", False), ("bicubic", False), ("bilinear", True),
         ("bicubic", True), ("lanczos", True)]


def matrix(mode, antialias, old, new, factor=None, align_corners=False):
    """The map along one axis, as a dense matrix."""
    line = axis_map(0, old, new, factor, mode, align_corners, antialias)
    dense = np.zeros((new, old))
    np.add.at(dense, (line.targets, line.sources), 1.0 if line.weights is None else line.weights)
    return dense


@pytest.mark.parametrize(("mode", "antialias"), MODES)
@given(axis=axes, align_corners=st.booleans())
def test_weights_add_up_to_one(mode, antialias, axis, align_corners):
    """A constant image stays the same constant."""
    np.testing.assert_allclose(matrix(mode, antialias, *axis, align_corners).sum(1), 1.0, atol=1e-12)


@given(axis=axes, slope=st.floats(-3, 3), start=st.floats(-3, 3))
def test_linear_interpolation_keeps_straight_lines_straight(axis, slope, start):
    """With align_corners from the first pixel to the last; without, between the centres of the outer pixels."""
    old, new, _ = axis
    x = (start + slope * np.arange(old))[None, None]
    np.testing.assert_allclose(F.interpolate(x, size=new, mode="linear", align_corners=True)[0, 0],
                               np.linspace(x[0, 0, 0], x[0, 0, -1], new), atol=1e-12)
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    np.testing.assert_allclose(F.interpolate(x, size=new, mode="linear")[0, 0], start + slope * np.clip(centres, 0, old - 1), atol=1e-12)


@pytest.mark.parametrize(("mode", "antialias"), [m for m in MODES if not m[0].startswith("nearest")])
@given(axis=axes, align_corners=st.booleans())
def test_a_mirrored_image_gives_a_mirrored_result(mode, antialias, axis, align_corners):
    """No side is preferred, by any mode but the nearest, which rounds downwards."""
    old, new, _ = axis
    align_corners = align_corners and new > 1 and not antialias  # a single corner is the first; antialiased, torch does not align
    found = matrix(mode, antialias, old, new, None, align_corners)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-12)


@given(st.integers(2, 12), st.integers(1, 4), st.sampled_from([m for m in MODES if m[0] not in ("area", "nearest") and not m[1]]))
def test_interpolation_goes_through_the_old_pixels(old, whole, mode):
    """With corners aligned and a whole number of steps between, and at any odd factor without."""
    name, _ = mode
    if name in ("linear", "bicubic"):
        np.testing.assert_allclose(matrix(name, False, old, (old - 1) * whole + 1, None, True)[::whole], np.eye(old), atol=1e-12)
    odd = 2 * whole - 1
    np.testing.assert_allclose(matrix(name, False, old, odd * old)[whole - 1::odd], np.eye(old), atol=1e-12)


@pytest.mark.parametrize(("mode", "antialias"), MODES)
def test_the_same_size_changes_nothing(mode, antialias):
    """Exactly, except for the rounding of sin(pi k)."""
    for old in range(1, 9):
        np.testing.assert_allclose(matrix(mode, antialias, old, old), np.eye(old), atol=1e-15)


@given(st.integers(1, 60), st.integers(1, 130))
@example(2, 98)
@example(21, 77)
def test_nearest_neighbours_are_exact(old, new):
    """floor(i old / new) and floor((2 i + 1) old / (2 new)) in whole numbers; PyTorch's float32 misses a few, such as 20 of 2 -> 41."""
    for mode, places in (("nearest", [i * old // new for i in range(new)]),
                         ("nearest-exact", [(2 * i + 1) * old // (2 * new) for i in range(new)])):
        np.testing.assert_array_equal(axis_map(0, old, new, None, mode, False, False).sources, places)


def test_a_factor_that_keeps_or_doubles_the_size_does_that():
    """As in torch for images: 5 pixels by 1.1 stay these 5, 4 by 2.2 are each of them twice. nearest-exact follows the factor."""
    x = np.arange(20.0)[None, None, None]
    for old, factor in ((5, 1.1), (4, 2.2), (20, 1.04)):
        part, times = x[..., :old], int(factor)
        np.testing.assert_array_equal(F.interpolate(part, scale_factor=(1, factor)), part.repeat(times, -1))
        assert F.interpolate(part, scale_factor=(1, factor), recompute_scale_factor=True).tolist() == part.repeat(times, -1).tolist()
    assert F.interpolate(x, scale_factor=(1, 1.04), mode="nearest-exact")[..., -1] == 18
    np.testing.assert_array_equal(F.interpolate(x[:, 0, :, :5], scale_factor=1.1, mode="linear"), x[:, 0, :, :5])


def test_decimal_factors_meet_the_pixels_that_they_mean():
    """0.07 and 1 / 0.07 are no binary numbers, but 35 / 0.07 is pixel 500, not 499."""
    for factor, step in ((0.07, 7), (0.13, 13), (0.7, 7), (1 / 3, 1)):
        y = F.interpolate(np.arange(1000.0)[None, None], scale_factor=factor)[0, 0]
        np.testing.assert_array_equal(y[::step], np.round(np.arange(0, len(y), step) / factor))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_whole_factors_repeat_and_average(h, up, w, across):
    """nearest repeats each pixel; area takes the mean of them; one undoes the other."""
    x = np.sin(np.arange(2.0 * h * w)).reshape(1, 2, h, w)
    large = F.interpolate(x, scale_factor=(up, across))
    np.testing.assert_array_equal(large, x.repeat(up, 2).repeat(across, 3))
    np.testing.assert_allclose(F.interpolate(large, size=(h, w), mode="area"), x, atol=1e-15)
    np.testing.assert_array_equal(F.interpolate(large, size=(h, w)), x)


@given(interpolations("linear", True))
def test_interpolation_and_its_gradient_are_adjoint(call):
    """<A x, y> = <x, A^T y>; and A^T, itself differentiated, is A again."""
    x, new, *_ = read(call)
    leaf = tensor(x, requires_grad=True)
    up = F.interpolate(leaf, new, mode=LINEAR[x.ndim - 3])
    y = tensor(np.cos(np.arange(up.data.size)).reshape(up.shape), requires_grad=True)
    back = gradient(up, leaf, y, create_graph=True)
    assert np.vdot(up.data, y.data) == pytest.approx(np.vdot(x, back.data), rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(gradient(back, y, x).data, up.data, atol=1e-12)


@given(st.sampled_from(KINDS).flatmap(lambda kind: interpolations(*kind)))
def test_float16_is_computed_in_float32(call):
    """Rounded once, at the end: as float64 to half an ulp of float16 and what float32 lost before."""
    x, *_ = read(call)
    swapped = lambda dtype: ([a.astype(dtype) if a is x else a for a in call.args],
                             {k: v.astype(dtype) if v is x else v for k, v in call.kwargs.items()})
    run = lambda dtype: F.interpolate(*swapped(dtype)[0], **swapped(dtype)[1])
    half = run(np.float16)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.astype(np.float64), run(np.float64), rtol=2**-11 * 1.01, atol=1e-5)


def test_many_copies_add_up_in_float16():
    """The gradient of 3000 copies of one pixel: a sum in float16 itself would stay at 2048."""
    x = tensor(np.ones((1, 1, 1), np.float16), requires_grad=True)
    y = F.interpolate(x, 3000)
    assert gradient(y, x, np.ones(y.shape, np.float16)).data.item() == 3000


def test_nearest_takes_any_dtype():
    """Label maps and masks are resized, too."""
    for dtype in (np.uint8, np.int64, np.bool_):
        x = np.array([[[0, 1, 1]]]).astype(dtype)
        y = F.interpolate(x, size=6)
        assert y.dtype == dtype and y.tolist() == x.repeat(2, -1).tolist()


def test_infinity_stays_where_it_is():
    """A weight of 0 is no weight: a pixel that has no share leaves no NaN."""
    x = np.array([[[np.inf, 1.0, 2.0]]])
    assert F.interpolate(x, size=5, mode="linear", align_corners=True).tolist() == [[[np.inf, np.inf, 1.0, 1.5, 2.0]]]


# -- pixel shuffles --------------------------------------------------------------------------------------------------

counts = st.integers(1, 3)


@given(counts, counts, counts, counts, st.lists(st.integers(0, 2), max_size=2))
def test_the_pixel_shuffle_moves_channels_where_it_says(c, h, w, r, lead):
    """Pixel by pixel; the unshuffle moves them back."""
    x = np.arange(math.prod(lead) * c * r * r * h * w * 1.0).reshape(*lead, c * r * r, h, w)
    y = F.pixel_shuffle(x, r)
    assert y.shape == (*lead, c, h * r, w * r)
    for k, i, j in itertools.product(range(c), range(h * r), range(w * r)):
        np.testing.assert_array_equal(y[..., k, i, j], x[..., k * r * r + i % r * r + j % r, i // r, j // r])
    np.testing.assert_array_equal(F.pixel_unshuffle(y, r), x)


# -- errors ----------------------------------------------------------------------------------------------------------

X = np.ones((1, 2, 4, 6))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: F.interpolate(X, 8, mode="cubic"), ValueError, "interpolate: mode 'cubic' is not offered; expected one of nearest, "),
    (lambda: F.interpolate(X, 8, mode="linear"), ValueError, r"mode 'linear' takes inputs of 3 dimensions, got shape \(1, 2, 4, 6\)"),
    (lambda: F.interpolate(X[0, 0], 8), ValueError, "mode 'nearest' takes inputs of 3 or 4 or 5 dimensions"),
    (lambda: F.interpolate(X), ValueError, "expected either size or scale_factor, got size=None"),
    (lambda: F.interpolate(X, 8, 2), ValueError, "expected either size or scale_factor, got size=8, scale_factor=2"),
    (lambda: F.interpolate(X, 8.5), ValueError, "size: expected an int above 0, or 2 of them, got 8.5"),
    (lambda: F.interpolate(X, (8,)), ValueError, r"size: expected an int above 0, or 2 of them, got \(8,\)"),
    (lambda: F.interpolate(X, scale_factor=0), ValueError, "scale_factor: expected a number above 0, or 2 of them, got 0"),
    (lambda: F.interpolate(X, scale_factor=0.1), ValueError, r"from shape \(1, 2, 4, 6\) to spatial size \(0, 0\): only the batch"),
    (lambda: F.interpolate(X[:, :0], 8), ValueError, "only the batch may be empty"),
    (lambda: F.interpolate(X, 8, align_corners=True), ValueError, "align_corners=True has no meaning with mode 'nearest'"),
    (lambda: F.interpolate(X, 8, mode="area", antialias=True), ValueError, "antialias is offered for bilinear, bicubic and lanczos"),
    (lambda: F.interpolate(X, 8, mode="lanczos"), ValueError, "needs antialias=True"),
    (lambda: F.interpolate(X, 8, recompute_scale_factor=True), ValueError, "recompute_scale_factor has no meaning with a size"),
    (lambda: F.interpolate(X.astype(int), 8, mode="bilinear"), TypeError, "expected floating-point numbers, got input of int64"),
    (lambda: F.pixel_shuffle(X, 2), ValueError, r"pixel_shuffle: 2 channels do not divide by upscale_factor\^2 = 4"),
    (lambda: F.pixel_unshuffle(X, 4), ValueError, "pixel_unshuffle: height and width do not divide by downscale_factor = 4"),
    (lambda: F.pixel_unshuffle(X, 0), ValueError, "downscale_factor of at least 1"),
    (lambda: F.pixel_shuffle(X[0, 0], 1), ValueError, r"expected an input \(..., C, H, W\)"),
    (lambda: F.pixel_shuffle(X, 1.0), TypeError, "upscale_factor: expected an int, got 1.0"),
])
def test_what_does_not_go_together_is_refused(call, error, message):
    """One clear error."""
    with pytest.raises(error, match=message):
        call()
