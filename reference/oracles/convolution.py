"""Convolution, products, pooling, resampling, element by element from the definitions.

What only multiplies and adds is done in fractions, exactly; a transposed convolution is proven by adjointness as well. Interpolation is
a sum over a rectangle of pixels in 50 digits, in all dimensions at once.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from mpmath import fsum, libmp, mpf, pi, sin

from reference.oracles.oracle import Oracle

# -- fractions --------------------------------------------------------------------------------------------------------


def fractions(x):
    """An array of mpf as fractions, exactly: an mpf is an integer times a power of two."""
    out = np.empty(x.shape, dtype=object)
    for index in np.ndindex(x.shape):
        out[index] = Fraction(*map(int, libmp.to_rational(x[index]._mpf_)))
    return out


def decimals(x):
    """Fractions as mpf."""
    out = np.empty(x.shape, dtype=object)
    for index in np.ndindex(x.shape):
        out[index] = mpf(x[index].numerator) / x[index].denominator
    return out


def zeros(*shape):
    """Exact zeros."""
    return np.full(shape, Fraction(0), dtype=object)


# -- convolution ------------------------------------------------------------------------------------------------------


def convolved(x, weight, bias, stride, pads, dilation, groups):
    """y[n, k, p] = b[k] + sum_{c, i} w[k, c, i] x[n, g C/groups + c, stride p + dilation i - before], g the group of k.

    pads: (before, after) for each dimension.
    """
    count, kernel, members = weight.shape[0], weight.shape[2:], weight.shape[1]
    size = [(n + a + b - d * (k - 1) - 1) // s + 1 for n, (a, b), d, k, s in zip(x.shape[2:], pads, dilation, kernel, stride)]
    out = zeros(x.shape[0], count, *size)
    for p in np.ndindex(*size):
        for i in np.ndindex(*kernel):
            q = tuple(s * at + d * tap - a for s, at, d, tap, (a, _) in zip(stride, p, dilation, i, pads))
            if all(0 <= at < n for at, n in zip(q, x.shape[2:])):
                for n, k, c in np.ndindex(x.shape[0], count, members):
                    out[(n, k, *p)] += weight[(k, c, *i)] * x[(n, k * groups // count * members + c, *q)]
    if bias is not None:
        for k in range(count):
            out[:, k] += bias[k]
    return out


def with_padding(padding, kernel, dilation):
    """(before, after) for each dimension: an odd total of "same" puts one more after."""
    if padding != "same":
        return [(p, p) for p in padding]
    return [(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for d, k in zip(dilation, kernel)]


def parameters(inputs):
    """input, weight and bias as fractions; no bias: None."""
    return (fractions(inputs[name]) if name in inputs else None for name in ("input", "weight", "bias"))


def conv(inputs, settings):
    """The convolution by its definition, in any number of dimensions."""
    x, weight, bias = parameters(inputs)
    pads = with_padding(settings["padding"], weight.shape[2:], settings["dilation"])
    return {"output": decimals(convolved(x, weight, bias, settings["stride"], pads, settings["dilation"], settings["groups"]))}


def downsample_conv2d(inputs, settings):
    """The convolution with four widths of padding, given as left, right, top, bottom."""
    x, weight, bias = parameters(inputs)
    left, right, top, bottom = settings["padding"]
    return {"output": decimals(convolved(x, weight, bias, settings["stride"], [(top, bottom), (left, right)], (1, 1), 1))}


def upsample_conv2d(inputs, settings):
    """Each pixel repeated, then the convolution."""
    x, weight, bias = parameters(inputs)
    rows, columns = settings["scale_factor"]
    larger = zeros(*x.shape[:2], x.shape[2] * rows, x.shape[3] * columns)
    for i, j in np.ndindex(*larger.shape[2:]):
        larger[:, :, i, j] = x[:, :, i // rows, j // columns]
    return {"output": decimals(convolved(larger, weight, bias, (1, 1), [(p, p) for p in settings["padding"]], (1, 1), 1))}


def conv_transpose(inputs, settings):
    """Each number of the input paints the kernel, weighted, into the output; then `padding` is cut off at each side."""
    x, weight, bias = parameters(inputs)
    stride, padding, dilation = (settings[name] for name in ("stride", "padding", "dilation"))
    members, kernel = weight.shape[1], weight.shape[2:]
    size = [(n - 1) * s - 2 * p + d * (k - 1) + extra + 1
            for n, s, p, d, k, extra in zip(x.shape[2:], stride, padding, dilation, kernel, settings["output_padding"])]
    out = zeros(x.shape[0], members * settings["groups"], *size)
    for n, k, *q in np.ndindex(*x.shape):
        first = k * settings["groups"] // x.shape[1] * members
        for c, *i in np.ndindex(*weight.shape[1:]):
            at = tuple(s * place + d * tap - p for s, place, d, tap, p in zip(stride, q, dilation, i, padding))
            if all(0 <= place < m for place, m in zip(at, size)):
                out[(n, first + c, *at)] += x[(n, k, *q)] * weight[(k, c, *i)]
    if bias is not None:
        for c in range(out.shape[1]):
            out[:, c] += bias[c]
    return {"output": decimals(out)}


def adjoint(inputs, settings, expected):
    """<conv_transpose(x), y> = <x, conv(y)> for random y of small integers, by the convolution's definition."""
    x, weight, bias = parameters(inputs)
    generator = np.random.default_rng(x.size)
    y = zeros(*expected["output"].shape)
    for index in np.ndindex(*y.shape):
        y[index] = Fraction(int(generator.integers(-9, 10)))
    turned = convolved(y, weight, None, settings["stride"], [(p, p) for p in settings["padding"]], settings["dilation"], settings["groups"])
    turned = turned[tuple(slice(n) for n in x.shape)]  # output_padding can make room for one more window
    right = np.sum(x * turned)
    constant = 0 if bias is None else sum(bias[c] * np.sum(y[:, c]) for c in range(y.shape[1]))
    terms = [Fraction(float(a)) * b for a, b in zip(expected["output"].flat, y.flat)]
    assert abs(sum(terms) - constant - right) <= Fraction(1, 10 ** 12) * sum(map(abs, terms)), "not the adjoint of the convolution"
    return ("output",)


# -- columns ----------------------------------------------------------------------------------------------------------


def windows(size, settings):
    """(how many, (window, tap row, tap column, image row, image column) of every place that lies inside)."""
    kernel, dilation, padding, stride = (settings[name] for name in ("kernel_size", "dilation", "padding", "stride"))
    count = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, padding, dilation, kernel, stride)]
    places = []
    for window, (p, q) in enumerate(np.ndindex(*count)):
        for i, j in np.ndindex(*kernel):
            row, column = p * stride[0] + i * dilation[0] - padding[0], q * stride[1] + j * dilation[1] - padding[1]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                places.append((window, i, j, row, column))
    return math.prod(count), places


def unfold(inputs, settings):
    """Every tap of every window, to its place in a column."""
    x, (rows, columns) = fractions(inputs["input"]), settings["kernel_size"]
    count, places = windows(x.shape[2:], settings)
    out = zeros(x.shape[0], x.shape[1] * rows * columns, count)
    for n, c in np.ndindex(*x.shape[:2]):
        for window, i, j, row, column in places:
            out[n, (c * rows + i) * columns + j, window] = x[n, c, row, column]
    return {"output": decimals(out)}


def fold(inputs, settings):
    """The other way: every number of a column is added to the pixel that it came from."""
    x, (rows, columns), size = fractions(inputs["input"]), settings["kernel_size"], settings["output_size"]
    out = zeros(x.shape[0], x.shape[1] // (rows * columns), *size)
    for n, c in np.ndindex(*out.shape[:2]):
        for window, i, j, row, column in windows(size, settings)[1]:
            out[n, c, row, column] += x[n, (c * rows + i) * columns + j, window]
    return {"output": decimals(out)}


# -- products ---------------------------------------------------------------------------------------------------------


def summed_products(equation, operands):
    """The sum over all letters that the result lacks; a letter has one size everywhere."""
    terms, result = equation.replace(" ", "").split("->")
    terms = terms.split(",")
    sizes = {letter: n for term, x in zip(terms, operands) for letter, n in zip(term, x.shape)}
    letters = list(sizes)
    out = zeros(*(sizes[letter] for letter in result))
    for values in np.ndindex(*sizes.values()):
        at = dict(zip(letters, values))
        product = Fraction(1)
        for term, x in zip(terms, operands):
            product *= x[tuple(at[letter] for letter in term)]
        out[tuple(at[letter] for letter in result)] += product
    return decimals(out)


def einsum(inputs, settings):
    """The sum of products over the letters that the result lacks."""
    operands = [fractions(inputs[name]) for name in ("first", "second", "third") if name in inputs]
    return {"output": summed_products(settings["equation"], operands)}


def matmul(inputs, settings):
    """Row by row and column by column, leading dimensions broadcast; a vector is a row on the left and a column on the right."""
    a, b = fractions(inputs["input"]), fractions(inputs["other"])
    left, right = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    out = zeros(*lead, left.shape[-2], right.shape[-1])
    left, right = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (left, right))
    for *n, i, j in np.ndindex(*out.shape):
        out[(*n, i, j)] = sum(left[(*n, i, k)] * right[(*n, k, j)] for k in range(left.shape[-1]))
    out = out[..., 0] if b.ndim == 1 else out
    return {"output": decimals(out[0] if a.ndim == 1 else out)}


def linear(inputs, settings):
    """W x + b, a sum for each number."""
    x, weight, bias = parameters(inputs)
    out = zeros(*x.shape[:-1], len(weight))
    for *n, i in np.ndindex(*out.shape):
        out[(*n, i)] = sum(x[(*n, j)] * weight[i, j] for j in range(x.shape[-1])) + (0 if bias is None else bias[i])
    return {"output": decimals(out)}


# -- pooling ----------------------------------------------------------------------------------------------------------


def pooling_windows(n, kernel, stride, padding, dilation, ceil_mode):
    """The places of each window along an axis, outside ones too; with ceil_mode a last one that begins before the padding after."""
    stops = n + 2 * padding - dilation * (kernel - 1)
    starts = [start for start in range(0, n + 2 * padding, stride) if start < stops or (
        ceil_mode and start < n + padding and start - stride < stops - 1)]
    return [[start + dilation * i - padding for i in range(kernel)] for start in starts]


def per_axis(x, settings, dilation=(1, 1)):
    """The windows of the rows and those of the columns."""
    stride = settings["stride"] or settings["kernel_size"]
    return [pooling_windows(n, k, s, p, d, settings["ceil_mode"])
            for n, k, s, p, d in zip(x.shape[2:], settings["kernel_size"], stride, settings["padding"], dilation)]


def avg_pool2d(inputs, settings):
    """The mean of each window's pixels, over as many as count: with the padding or without, or as many as is said."""
    x = fractions(inputs["input"])
    rows, columns = per_axis(x, settings)
    height, width = x.shape[2:]
    margin = settings["padding"] if settings["count_include_pad"] else (0, 0)
    out = zeros(*x.shape[:2], len(rows), len(columns))
    for i, j in np.ndindex(*out.shape[2:]):
        places = [(r, c) for r in rows[i] for c in columns[j]]
        counted = sum(-margin[0] <= r < height + margin[0] and -margin[1] <= c < width + margin[1] for r, c in places)
        inside = [x[:, :, r, c] for r, c in places if 0 <= r < height and 0 <= c < width]
        out[:, :, i, j] = sum(inside) / Fraction(settings["divisor_override"] or counted)
    return {"output": decimals(out)}


def max_pool2d(inputs, settings):
    """The first of the largest, row by row; its place counted in the whole plane."""
    x = inputs["input"]
    rows, columns = per_axis(x, settings, settings["dilation"])
    height, width = x.shape[2:]
    out, indices = (np.empty((*x.shape[:2], len(rows), len(columns)), dtype=dtype) for dtype in (object, int))
    for n, c, i, j in np.ndindex(*out.shape):
        places = [(r, s) for r in rows[i] for s in columns[j] if 0 <= r < height and 0 <= s < width]
        best = max(x[n, c, r, s] for r, s in places)
        row, column = next((r, s) for r, s in places if x[n, c, r, s] == best)
        out[n, c, i, j], indices[n, c, i, j] = best, row * width + column
    return {"output": out, "indices": indices}


def adaptive_avg_pool2d(inputs, settings):
    """Window i is every pixel that the i-th of `size` equal parts of the axis touches."""
    x = fractions(inputs["input"])
    touched = [[[k for k in range(n) if k < Fraction(n * (i + 1), size) and k + 1 > Fraction(n * i, size)] for i in range(size)]
               for n, size in zip(x.shape[2:], [m or n for m, n in zip(settings["output_size"], x.shape[2:])])]
    out = zeros(*x.shape[:2], *map(len, touched))
    for i, j in np.ndindex(*out.shape[2:]):
        pixels = [x[:, :, r, c] for r in touched[0][i] for c in touched[1][j]]
        out[:, :, i, j] = sum(pixels) / len(pixels)
    return {"output": decimals(out)}


# -- resampling -------------------------------------------------------------------------------------------------------


def keys(a):
    """Keys' cubic in powers of the distance, from its four conditions at 1 and 2."""
    return lambda d: 1 - (a + 3) * d ** 2 + (a + 2) * d ** 3 if d <= 1 else a * (d ** 3 - 5 * d ** 2 + 8 * d - 4) if d < 2 else mpf(0)


def lanczos(d):
    """sinc(d) sinc(d / 3) up to 3."""
    return mpf(1) if d == 0 else 3 * sin(pi * d) * sin(pi * d / 3) / (pi * d) ** 2 if d < 3 else mpf(0)


def triangle(d):
    """1 - d up to 1."""
    return max(1 - d, mpf(0))


#           filter (of the distance), its radius
FILTERS = {"linear": (triangle, 1), "bilinear": (triangle, 1), "trilinear": (triangle, 1), "bicubic": (keys(mpf(-3) / 4), 2)}
SMOOTH = {"bilinear": (triangle, 1), "bicubic": (keys(mpf(-1) / 2), 2), "lanczos": (lanczos, 3)}


def new_pixel(i, old, new, ratio, settings):
    """{old place: weight} of the new pixel i along an axis. ratio: old pixels for a new one, a Fraction."""
    mode = settings["mode"]
    if mode == "nearest":
        return {min(math.floor(i * ratio), old - 1): mpf(1)}
    if mode == "nearest-exact":
        return {min(math.floor((i + Fraction(1, 2)) * ratio), old - 1): mpf(1)}
    if mode == "area":
        places = range(i * old // new, math.ceil(Fraction((i + 1) * old, new)))
        return {k: mpf(1) / len(places) for k in places}
    if settings["antialias"]:  # as in Pillow: the filter spans the old pixels under the new one, and is cut off at the border
        kernel, radius = SMOOTH[mode]
        centre, stretch = (i + Fraction(1, 2)) * ratio, max(ratio, Fraction(1))
        support = radius * stretch
        places = range(max(math.floor(centre - support), 0), min(math.ceil(centre + support), old))
        weights = [kernel(number(abs(k + Fraction(1, 2) - centre) / stretch)) for k in places]
        return {k: w / sum(weights) for k, w in zip(places, weights)}
    kernel, radius = FILTERS[mode]
    aligned = Fraction(i * (old - 1), max(new - 1, 1))
    centre = aligned if settings["align_corners"] else (i + Fraction(1, 2)) * ratio - Fraction(1, 2)
    weights = {}
    for k in range(math.floor(centre) - radius, math.floor(centre) + radius + 2):
        inside = min(max(k, 0), old - 1)  # beyond the border the image continues with it
        weights[inside] = weights.get(inside, mpf(0)) + kernel(number(abs(k - centre)))
    return weights


def number(x):
    """A fraction as mpf."""
    return mpf(x.numerator) / x.denominator


def interpolate(inputs, settings):
    """Each new pixel: the weighted sum over the old ones, the weights of a place the product of those along the axes."""
    x = inputs["input"]
    old, dims = x.shape[2:], x.ndim - 2
    factors = [Fraction(str(f)) for f in settings["scale_factor"]] if settings["scale_factor"] else [None] * dims
    new = settings["size"] or [math.floor(n * f) for n, f in zip(old, factors)]
    ratios = [Fraction(n, m) if f is None or settings["recompute_scale_factor"] else 1 / f for n, m, f in zip(old, new, factors)]
    weights = [[new_pixel(i, n, m, r, settings) for i in range(m)] for n, m, r in zip(old, new, ratios)]
    out = np.empty((*x.shape[:2], *new), dtype=object)
    for place in np.ndindex(*new):
        axes = [list(weights[axis][i].items()) for axis, i in enumerate(place)]
        terms = []
        for chosen in np.ndindex(*map(len, axes)):
            at, shares = zip(*(axes[axis][k] for axis, k in enumerate(chosen)))
            terms.append((at, math.prod(shares, start=mpf(1))))
        for n, c in np.ndindex(*x.shape[:2]):
            out[(n, c, *place)] = fsum(share * x[(n, c, *at)] for at, share in terms)
    return {"output": out}


# -- moves ------------------------------------------------------------------------------------------------------------


def pixel_shuffle(inputs, settings):
    """Where each new pixel comes from: r * r channels make a block of r times r."""
    x, r = inputs["input"], settings["upscale_factor"]
    out = np.empty((*x.shape[:-3], x.shape[-3] // r ** 2, x.shape[-2] * r, x.shape[-1] * r), dtype=object)
    for c, i, j in np.ndindex(*out.shape[-3:]):
        out[..., c, i, j] = x[..., c * r * r + (i % r) * r + j % r, i // r, j // r]
    return {"output": out}


def pixel_unshuffle(inputs, settings):
    """Where each old pixel goes: a block of r times r makes r * r channels."""
    x, r = inputs["input"], settings["downscale_factor"]
    out = np.empty((*x.shape[:-3], x.shape[-3] * r ** 2, x.shape[-2] // r, x.shape[-1] // r), dtype=object)
    for c, i, j in np.ndindex(*x.shape[-3:]):
        out[..., c * r * r + (i % r) * r + j % r, i // r, j // r] = x[..., c, i, j]
    return {"output": out}


def groups_of(side):
    """["n"], ["c"], ["h", "p"], ... of "n c (h p) ..."."""
    return [part.strip(" ()").split() for part in side.replace("(", "|(").replace(")", ")|").split("|") for part in (
        [part] if "(" in part else part.split())]


def merged(names, at, sizes):
    """The place along a dimension that several names form: the last one runs fastest."""
    place = 0
    for name in names:
        place = place * sizes[name] + at[name]
    return place


def rearrange(inputs, settings):
    """Each element from the place that the left side gives it to the one of the right side."""
    x, sizes = inputs["input"], dict(settings["axes_lengths"])
    before, after = map(groups_of, settings["pattern"].split("->"))
    for names, n in zip(before, x.shape):
        for name in names:
            sizes.setdefault(name, n // math.prod(sizes[other] for other in names if other != name))
    out = np.empty([math.prod(sizes[name] for name in names) for names in after], dtype=object)
    for values in np.ndindex(*sizes.values()):
        at = dict(zip(sizes, values))
        out[tuple(merged(names, at, sizes) for names in after)] = x[tuple(merged(names, at, sizes) for names in before)]
    return {"output": out}


def neighbour(i, n, mode):
    """The place that stands at i of an axis of n, or None for the constant; one step at a time until it lies inside."""
    while not 0 <= i < n:
        if mode == "constant":
            return None
        outside_left = i < 0
        i = {"replicate": i + 1 if outside_left else i - 1, "circular": i + n if outside_left else i - n,
             "reflect": -i if outside_left else 2 * (n - 1) - i}[mode]
    return i


def pad(inputs, settings):
    """Each new element from the one that stands there: itself, its mirror image, the nearest, the one from around; else the value."""
    x, widths = inputs["input"], settings["pad"]
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2) + list(zip(widths[::2], widths[1::2]))[::-1]
    out = np.full([n + a + b for n, (a, b) in zip(x.shape, pairs)], mpf(settings["value"] or 0), dtype=object)
    for index in np.ndindex(*out.shape):
        source = tuple(neighbour(i - a, n, settings["mode"]) for i, (a, _), n in zip(index, pairs, x.shape))
        if None not in source:
            out[index] = x[source]
    return {"output": out}


EXACT = "exact fractions, naive loops"
MPMATH = "mpmath, 50 digits, naive loops"
MOVED = "every element by the formula of its place"

CONV = Oracle(EXACT, conv)
TRANSPOSED = Oracle("exact fractions, each input paints the kernel; adjointness to the convolution", conv_transpose, check=adjoint)

ORACLES = {
    "conv1d": CONV, "conv2d": CONV, "conv3d": CONV,
    "conv_transpose1d": TRANSPOSED, "conv_transpose2d": TRANSPOSED, "conv_transpose3d": TRANSPOSED,
    "downsample_conv2d": Oracle(EXACT, downsample_conv2d),
    "upsample_conv2d": Oracle(EXACT, upsample_conv2d),
    "unfold": Oracle(MOVED, unfold),
    "fold": Oracle(EXACT, fold),
    "linear": Oracle(EXACT, linear),
    "matmul": Oracle(EXACT, matmul),
    "einsum": Oracle(EXACT, einsum),
    "avg_pool2d": Oracle(EXACT, avg_pool2d),
    "max_pool2d": Oracle("the first of the largest, naive loops", max_pool2d),
    "adaptive_avg_pool2d": Oracle(EXACT, adaptive_avg_pool2d),
    "interpolate": Oracle(MPMATH, interpolate),
    "pixel_shuffle": Oracle(MOVED, pixel_shuffle),
    "pixel_unshuffle": Oracle(MOVED, pixel_unshuffle),
    "rearrange": Oracle(MOVED, rearrange),
    "pad": Oracle(MOVED, pad),
}
