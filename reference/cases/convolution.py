"""Convolution and its transpose, products of matrices, pooling, resampling: where padding, layouts and half pixels show.

Everything here is linear in each of its inputs (but for the maximum), so most mistakes are a wrong place: they are written as changed
inputs or settings of the right operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff.verify.adapters.minidiff.convolution import OPERATIONS as RIGHT
from reference.case import Case, Mutant, Note, Operation, draw

CHAPTER = "docs/layers.md#1-sums-over-windows"
SIZE = {1: "L", 2: "H, W", 3: "D, H, W"}


# -- the catalogue ----------------------------------------------------------------------------------------------------


def _conv(dims: int) -> Operation:
    return Operation(
        equation="y[n, k, p] = bias[k] + sum over c, i of weight[k, c, i] x[n, g C/groups + c, stride p + dilation i - padding], g the "
                 "group of k, zeros outside: a cross-correlation, the kernel is not flipped",
        chapter=CHAPTER,
        inputs={"input": f"x: (N, C, {SIZE[dims]})", "weight": "(K, C / groups, *kernel)",
                "bias": "(K,); if missing: zeros"},
        settings={
            "stride": "steps between windows, for each dimension",
            "padding": "zeros at both ends of each dimension; or \"same\": as many as keep the size at stride 1, where an odd number of "
                       "them has one more at the end",
            "dilation": "steps between the elements of a window, for each dimension",
            "groups": "the k-th of so many equal blocks of neighbouring output channels sees only the k-th block of input channels",
        },
        outputs={"output": "(N, K, ...), each size floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1"},
    )


def _conv_transpose(dims: int) -> Operation:
    return Operation(
        equation="the transpose of the convolution as a linear map: y[n, c, stride p + dilation i - padding] += weight[k, c, i] x[n, k, "
                 "p], then + bias[c]; what falls outside is dropped",
        chapter=CHAPTER,
        inputs={"input": f"x: (N, K, {SIZE[dims]})", "weight": "(K, C / groups, *kernel): input channels first, unlike a convolution's",
                "bias": "(C,); if missing: zeros"},
        settings={
            "stride": "steps between the places that neighbours of the input paint, for each dimension",
            "padding": "how much is cut off at both ends of each dimension",
            "output_padding": "how much longer each dimension is at its end; it is painted like the rest",
            "groups": "blocks of neighbouring channels that see only each other",
            "dilation": "steps between the elements of the kernel, for each dimension",
        },
        outputs={"output": "(N, C, ...), each size (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1"},
    )


WINDOWS = {
    "kernel_size": "[rows, columns] of a window", "stride": "[down, right] between windows; null: kernel_size",
    "padding": "[rows, columns] around the image at each side",
}
CEIL = "true: sizes are rounded up; a last window may reach over the end if it begins inside or in the padding before"

OPERATIONS = {
    **{f"conv{dims}d": _conv(dims) for dims in (1, 2, 3)},
    **{f"conv_transpose{dims}d": _conv_transpose(dims) for dims in (1, 2, 3)},
    "downsample_conv2d": Operation(
        equation="zeros around x, then a convolution without padding: y[n, k, p] = bias[k] + sum over c, i of weight[k, c, i] x[n, c, "
                 "stride p + i - (top, left)]",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, H, W)", "weight": "(K, C, kh, kw)", "bias": "(K,)"},
        settings={"stride": "[down, right]", "padding": "[left, right, top, bottom]: zeros at each side; [0, 1, 0, 1] is what "
                                                        "TensorFlow's SAME gives a 3x3 kernel of stride 2 at even sizes, and what Stable "
                                                        "Diffusion's VAE has at all sizes"},
        outputs={"output": "(N, K, H', W'), H' = floor((H + top + bottom - kh) / stride) + 1"},
    ),
    "upsample_conv2d": Operation(
        equation="every pixel repeated, x'[i, j] = x[floor(i / scale), floor(j / scale)], then a convolution of stride 1 with zeros around",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, H, W)", "weight": "(K, C, kh, kw)", "bias": "(K,)"},
        settings={"scale_factor": "[down, right], integers", "padding": "[rows, columns] of zeros at each side of the larger image"},
        outputs={"output": "(N, K, H', W')"},
    ),
    "unfold": Operation(
        equation="column[c kh kw + i kw + j, p W' + q] = x[c, stride p + dilation i - padding, stride q + dilation j - padding], zeros "
                 "outside",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, H, W)"},
        settings={"kernel_size": "[kh, kw]", "dilation": "between the elements of a window", "padding": "zeros at each side",
                  "stride": "between windows"},
        outputs={"output": "(N, C kh kw, H' W'), a window a column"},
    ),
    "fold": Operation(
        equation="x[c, stride p + dilation i - padding, stride q + dilation j - padding] += column[c kh kw + i kw + j, p W' + q]: the "
                 "transpose of unfold",
        chapter=CHAPTER,
        inputs={"input": "column: (N, C kh kw, H' W')"},
        settings={"output_size": "[H, W]", "kernel_size": "[kh, kw]", "dilation": "between the elements of a window",
                  "padding": "what is cut off at each side", "stride": "between windows"},
        outputs={"output": "(N, C, H, W)"},
    ),
    "linear": Operation(
        equation="y[..., i] = sum_j weight[i, j] x[..., j] + bias[i]",
        chapter=CHAPTER,
        inputs={"input": "x: (..., in)", "weight": "(out, in)", "bias": "(out,); if missing: zeros"},
        outputs={"output": "(..., out)"},
    ),
    "matmul": Operation(
        equation="y[..., i, j] = sum_k input[..., i, k] other[..., k, j]; leading dimensions broadcast; an input of one dimension is a "
                 "row, an other of one dimension a column, and that dimension is missing in y",
        chapter=CHAPTER,
        inputs={"input": "(..., n, k)", "other": "(..., k, m)"},
        outputs={"output": "(..., n, m)"},
    ),
    "einsum": Operation(
        equation="for each value of the letters after the arrow: the sum over all other letters of the product of the operands",
        chapter=CHAPTER,
        inputs={"first": "the operand before the first comma", "second": "the next", "third": "may be missing"},
        settings={"equation": "the letters of the operands' dimensions, an arrow, those of the result; a letter repeated in an operand "
                              "takes its diagonal"},
        outputs={"output": "the dimensions after the arrow"},
    ),
    "avg_pool2d": Operation(
        equation="y[p] = (1 / count) sum over i of x[stride p + i - padding], zeros outside",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, H, W)"},
        settings={**WINDOWS, "ceil_mode": CEIL,
                  "count_include_pad": "true: count is how many places of the window lie in the image or its padding; false: in the image",
                  "divisor_override": "this instead of count; null: count"},
        outputs={"output": "(N, C, H', W'), H' = (H + 2 padding - kernel) / stride + 1 rounded down"},
    ),
    "max_pool2d": Operation(
        equation="y[p] = max over i of x[stride p + dilation i - padding], only over what lies inside; the gradient goes to the first of "
                 "the largest",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, H, W)"},
        settings={**WINDOWS, "dilation": "[rows, columns] between the elements of a window", "ceil_mode": CEIL,
                  "return_indices": "true: also where each maximum stands"},
        outputs={"output": "(N, C, H', W')", "indices": "with return_indices: int64, like output: W row + column of the maximum in its "
                                                        "plane of the input; of equal ones the first in that order"},
    ),
    "adaptive_avg_pool2d": Operation(
        equation="y[i] = mean of x from floor(i size / output_size) to ceil((i + 1) size / output_size), the end excluded, for rows and "
                 "columns",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, H, W)"},
        settings={"output_size": "[rows, columns]; null keeps a size"},
        outputs={"output": "(N, C, rows, columns)"},
    ),
    "interpolate": Operation(
        equation="new pixel i lies at c = r (i + 1/2) - 1/2 among the old ones, r = 1 / scale_factor, or old / new for a size; with "
                 "align_corners at c = i (old - 1) / (new - 1). linear, bilinear, trilinear: sum_k max(1 - |k - c|, 0) x_k; bicubic: "
                 "Keys' cubic of slope -3/4 at 1; the image continues beyond its border with the border's pixels. nearest: x[floor(r i)]; "
                 "nearest-exact: x[floor(r (i + 1/2))]; area: the mean from floor(i old / new) to ceil((i + 1) old / new). antialias: for "
                 "r > 1 the filter is stretched by r; weights outside are 0 and the others are divided by their sum; bicubic then has "
                 "slope -1/2; lanczos: sinc(d) sinc(d / 3), |d| < 3. One dimension after the other",
        chapter=CHAPTER,
        inputs={"input": "(N, C, L), (N, C, H, W) or (N, C, D, H, W)"},
        settings={
            "size": "the new size, one number a dimension; null: floor(scale_factor size)",
            "scale_factor": "one number a dimension; null with size",
            "mode": "nearest, nearest-exact, linear, bilinear, trilinear, bicubic, area, lanczos",
            "align_corners": "true: the centres of the corner pixels stay; false: the corners of the image; null where it has no meaning",
            "recompute_scale_factor": "true: r is old / new although scale_factor was given",
            "antialias": "true: smoothed before it gets smaller",
        },
        outputs={"output": "(N, C, *new)"},
    ),
    "pixel_shuffle": Operation(
        equation="y[c, h r + p, w r + q] = x[c r^2 + p r + q, h, w]",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C r^2, H, W)"}, settings={"upscale_factor": "r"}, outputs={"output": "(N, C, H r, W r)"},
    ),
    "pixel_unshuffle": Operation(
        equation="y[c r^2 + p r + q, h, w] = x[c, h r + p, w r + q]",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, H r, W r)"}, settings={"downscale_factor": "r"}, outputs={"output": "(N, C r^2, H, W)"},
    ),
    "rearrange": Operation(
        equation="the dimensions of x have the names on the left of the pattern, those of y on the right; several in brackets form one "
                 "dimension, in which the last name runs fastest",
        chapter=CHAPTER,
        inputs={"input": "x"},
        settings={"pattern": "names, an arrow, the same names", "axes_lengths": "the sizes that the shape does not tell, by name"},
        outputs={"output": "y"},
    ),
    "pad": Operation(
        equation="y[i] = x[i - before] inside; outside: value (constant); x mirrored at its border pixel, which is not repeated "
                 "(reflect); the border pixel (replicate); x from its other end (circular)",
        chapter=CHAPTER,
        inputs={"input": "x: (N, C, ...)"},
        settings={"pad": "[before, after] of the last dimension, then of the one before it, ...: [left, right, top, bottom]; a negative "
                         "number crops",
                  "mode": "constant, reflect, replicate or circular", "value": "of mode constant; null is 0"},
        outputs={"output": "larger by the widths"},
    ),
}

NOTES = {
    "conv-kernel-flip": Note(
        "convention", "What networks call a convolution is a cross-correlation: the kernel is not flipped. Signal processing flips it.",
        "With loaded weights every edge detector looks the other way: noise. Trained from scratch nothing shows.",
        ("scipy.signal.convolve and numpy.convolve flip, on purpose",)),
    "conv-kernel-transposed": Note(
        "convention", "Rows before columns, in the kernel as in the image.",
        "With loaded weights horizontal and vertical edges are exchanged; square kernels hide it from every check of shapes."),
    "conv-weight-layout": Note(
        "convention", "The weight is (out, in / groups, kh, kw) in PyTorch, (kh, kw, in, out) in TensorFlow and JAX's Flax, (out, kh, kw, "
                      "in) in MLX.",
        "Loads without an error wherever the sizes agree, and gives noise."),
    "conv-bias": Note(
        "formula", "The bias is added once to every place of an output channel.", "Colours and contrast drift; deep networks saturate.",
        ("guided-diffusion initializes last convolutions to zero (zero_module), bias too: without trained weights a missing bias does not "
         "show",)),
    "conv-padding": Note(
        "convention", "A 3x3 convolution of stride 2 pads 1 at all sides (PyTorch's habit, OpenAI), or only right and bottom "
                      "(TensorFlow's SAME at even sizes; Ho's DDPM and the VAE of Stable Diffusion).",
        "The image shifts by a pixel at each level: smeared edges, blurred decodings with loaded weights.",
        ("stable-diffusion #355", "diffusers' Downsample2D pads (0, 1, 0, 1) where padding=0", "guided-diffusion pads 1")),
    "conv-padding-order": Note(
        "convention", "Padding widths are listed from the last dimension: left, right, top, bottom; NumPy and TensorFlow list from the "
                      "first.",
        "Padding above instead of at the left: images shift by a pixel in a wrong direction, or sizes do not fit."),
    "conv-padding-value": Note(
        "convention", "Outside there are zeros, unless a layer says otherwise.",
        "A frame of other brightness around the image, wider after each layer."),
    "conv-dilation": Note(
        "formula", "The elements of a dilated kernel are `dilation` steps apart in the input.",
        "The receptive field is too small; loaded weights give noise."),
    "conv-same-side": Note(
        "convention", "For an even kernel \"same\" needs an odd number of zeros: the one more is at the end (PyTorch, TensorFlow).",
        "A shift of one pixel a layer."),
    "conv-window-start": Note(
        "indexing", "The first window begins at the first padded element; what does not fill a last window is ignored at the end.",
        "Images shift by a fraction of the stride, only for sizes that the stride does not divide."),
    "conv-groups": Note(
        "convention", "Groups are blocks of neighbouring channels, of the input and of the output.",
        "Loads without an error; channels of other groups are mixed: wrong colours and textures.",
        ("ShuffleNet interleaves channels between grouped convolutions, on purpose",)),
    "conv-patch-order": Note(
        "convention", "A patch becomes numbers in the order channel, row, column, as the weight (K, C, kh, kw) lies in memory; code for "
                      "images (H, W, C) has the channel last.",
        "Vision transformers and CLIP see scrambled patches: embeddings are useless with loaded weights.",
        ("torch.nn.functional.unfold has (c p q), tf.image.extract_patches (p q c), on purpose",)),
    "conv-gradient": Note(
        "formula", "The gradient of the input is the transposed convolution of the incoming one (in a correlation's form: with flipped "
                   "kernel), that of the weight a correlation of input and incoming gradient, summed over batch and places.",
        "Training does not converge, or slowly; gradient guidance pushes images aside."),
    "conv-transpose-kernel": Note(
        "convention", "A transposed convolution paints the kernel as it is; written as a convolution of the stretched input it needs the "
                      "flipped kernel.",
        "With loaded weights: checkered, displaced images.",
        ("jax.lax.conv_transpose and flax's ConvTranspose flip only with transpose_kernel=True",)),
    "conv-transpose-layout": Note(
        "convention", "The weight of a transposed convolution has input channels first, (in, out / groups, kh, kw), since it is that of "
                      "the convolution whose transpose it is.",
        "With as many channels in as out it loads without an error and gives noise.",
        ("Keras' Conv2DTranspose has (kh, kw, out, in)",)),
    "conv-output-padding": Note(
        "indexing", "output_padding makes the output longer at its end, and what the kernel paints there is kept; nothing is appended.",
        "A shift of one pixel a level, or a frame of constant colour at the right and below."),
    "upsample-repeat": Note(
        "convention", "U-Nets and VAEs double the resolution by repeating pixels before the convolution; smoother ways and the other "
                      "order give other images.",
        "Blurred or blocky images with loaded weights."),
    "product-layout": Note(
        "convention", "A linear layer's weight is (out, in) in PyTorch, (in, out) in TensorFlow and JAX; square ones load either way.",
        "Noise with loaded weights, and no error where in equals out: in attention everywhere."),
    "product-gradient": Note(
        "formula", "The gradients of a product are products with the transposed factors, summed over everything that the factor was used "
                   "for.",
        "Training does not converge."),
    "product-axes": Note(
        "indexing", "Which index is summed, and which operand's comes first in the result.", "Noise, and no error if the sizes agree."),
    "pool-count": Note(
        "convention", "At the border an average counts the padding (PyTorch's default), or not (TensorFlow's SAME, "
                      "count_include_pad=False).",
        "Dark or bright borders; FID's features change: its Inception network averages without the padding.",
        ("pytorch-fid patches torchvision's Inception blocks with count_include_pad=False",)),
    "pool-divisor": Note(
        "formula", "An average is the sum over a window divided by the number of elements counted, or by divisor_override; it is no "
                   "maximum.", "Contrast changes."),
    "pool-outside": Note(
        "convention", "Outside there is nothing to be the largest: -infinity, not 0.",
        "Wrong at the borders wherever features are negative."),
    "pool-windows": Note(
        "indexing", "Windows begin every `stride` elements, which is the kernel's size unless it is given.",
        "Images shrink to a wrong size or shift."),
    "pool-indices": Note(
        "convention", "Indices count in the plane of the input, row by row; of equal elements the first one.",
        "Unpooling, and the gradient at ties, put values to wrong places."),
    "pool-adaptive": Note(
        "formula", "Adaptive windows overlap where the sizes do not divide: the end is rounded up.",
        "Nothing at 224 pixels, wrong features at other sizes."),
    "interpolate-align-corners": Note(
        "convention", "Corner pixels' centres stay in place (align_corners), or the image's corners do.",
        "A shift that grows to half a pixel of the smaller image at the borders; segmentation and guidance maps do not lie on their image.",
        ("PyTorch's default changed to align_corners=False in version 0.4",)),
    "interpolate-half-pixel": Note(
        "convention", "A pixel's centre is at i + 1/2: left out, everything shifts by up to half an old pixel. nearest leaves it out on "
                      "purpose, nearest-exact has it.",
        "Images shift up and to the left when they get smaller; masks do not fit their latents.",
        ("tf.compat.v1.image.resize has no half pixel; Pillow's NEAREST has it, torch's nearest has not",)),
    "interpolate-cubic": Note(
        "default", "The slope of the cubic is -3/4 in PyTorch and OpenCV, -1/2 in Pillow, and in PyTorch too with antialias.",
        "Slightly sharper or softer images; FID changes."),
    "interpolate-antialias": Note(
        "default", "Without antialias a smaller image takes only the pixels next to each new centre.",
        "Flicker and jagged edges in small images; FID differs between libraries more than between models.",
        ("Parmar et al. 2022, On Aliased Resizing (clean-fid)", "jax.image.resize smooths by default, torch's interpolate does not")),
    "interpolate-scale": Note(
        "convention", "With a scale_factor whose product with the size is no integer, the ratio is 1 / scale_factor, or old / new if it "
                      "is recomputed.",
        "Shifts by fractions of a pixel.",
        ("PyTorch's default changed in version 1.6: it recomputed before",)),
    "interpolate-border": Note(
        "convention", "Beyond the border the image continues with its border pixels; it does not end in zeros.", "Dark frames."),
    "interpolate-coordinates": Note(
        "numerics", "floor(i old / new) in integers: float32 rounds 26 / 22 down, and 11 times that is below 13.",
        "One row and one column are taken twice, and others are missing, at some sizes only.",
        ("torch.nn.functional.interpolate(mode='nearest') computes places in float32: from 26 to 22 pixels its place 11 is 12, not 13",)),
    "interpolate-axes": Note(
        "indexing", "Sizes and factors are listed in the order of the dimensions: rows, then columns.", "Stretched images."),
    "shuffle-order": Note(
        "convention", "Channels of a patch lie as (c p q): the channel, then row and column within the patch. TensorFlow's depth_to_space "
                      "and space_to_depth have (p q c).",
        "A fine checkerboard and wrong colours with loaded weights; nothing shows after training from scratch.",
        ("ONNX' DepthToSpace has both: CRD is (c p q), DCR (p q c)", "denoising-diffusion-pytorch's Downsample has (c p1 p2)")),
    "pad-mode": Note(
        "convention", "reflect does not repeat the border pixel (NumPy's \"symmetric\" does), replicate repeats only it, circular comes "
                      "from the other side.",
        "Seams at the border; panoramas and tiles do not close."),
    "pad-crop": Note("convention", "A negative width takes away.",
                     "Wrong sizes after transposed convolutions that are cropped by padding."),
    "fold-overlap": Note(
        "formula", "fold adds where windows overlap; it neither averages nor overwrites.",
        "Visible seams or wrong brightness in images computed tile by tile."),
}


# -- mistakes ---------------------------------------------------------------------------------------------------------
# Each is called as wrong(right, inputs, settings), right being the operation.


def _with(name: str, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The right operation with one input changed."""
    return lambda right, inputs, settings: right({**inputs, name: change(inputs[name])}, settings)


def _set(**changed: Any) -> Callable[..., Any]:
    """The right operation with other settings."""
    return lambda right, inputs, settings: right(inputs, {**settings, **changed})


def _flipped(weight: Any) -> Any:
    return F.flip(weight, tuple(range(2, len(weight.shape))))


def _kernel_transposed(weight: Any) -> Any:
    return F.swapaxes(weight, 2, 3)


def _first_two_exchanged(weight: Any) -> Any:
    """The numbers as they would be read if they lay in memory with the first two dimensions exchanged."""
    return F.swapaxes(F.reshape(weight, (weight.shape[1], weight.shape[0], *weight.shape[2:])), 0, 1)


def _last_dimension_second(weight: Any) -> Any:
    """(K, C, h, w) as it would be read if it lay in memory as (K, h, w, C)."""
    k, c, h, w = weight.shape
    return F.permute(F.reshape(weight, (k, h, w, c)), (0, 3, 1, 2))


def _nothing(x: Any) -> Any:
    return x * 0.0


def _interleaved(groups: int) -> Callable[[Any], Any]:
    """Channel i to group i modulo `groups`, instead of to a block of neighbours."""
    return lambda x: F.rearrange(x, "n (c g) ... -> n (g c) ...", g=groups)


def _first_group_for_all(right, inputs, settings):
    count = inputs["weight"].shape[1]
    x = inputs["input"]
    return right({**inputs, "input": F.cat([x[:, :count]] * settings["groups"], 1)}, settings)


def _without_dilation(right, inputs, settings):
    larger = right(inputs, {**settings, "dilation": [1] * len(settings["dilation"])})
    sizes = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(
        inputs["input"].shape[2:], settings["padding"], settings["dilation"], inputs["weight"].shape[2:], settings["stride"])]
    return larger[(..., *(slice(size) for size in sizes))]


def _padded_with(mode: str) -> Callable[..., Any]:
    def wrong(right, inputs, settings):
        padded = F.pad(inputs["input"], [p for p in reversed(settings["padding"]) for _ in range(2)], mode=mode)
        return right({**inputs, "input": padded}, {**settings, "padding": [0] * len(settings["padding"])})
    return wrong


def _shifted(*widths: int) -> Callable[..., Any]:
    """Zeros at these sides (left, right, ...) in the place of the padding."""
    return lambda right, inputs, settings: right({**inputs, "input": F.pad(inputs["input"], widths)},
                                                 {**settings, "padding": [0] * len(inputs["weight"].shape[2:])})


def _only_gradient(x: Any) -> Any:
    """Zero, with the gradients of x."""
    return x - x.detach()


def _input_gradient_unflipped(right, inputs, settings):
    """The rest has its right gradients."""
    wrong = right({"input": inputs["input"], "weight": _flipped(inputs["weight"].detach())}, settings)
    return right({**inputs, "input": inputs["input"].detach()}, settings) + _only_gradient(wrong)


def _gradient_scaled(name: str, factor: Callable[[Any], float]) -> Callable[..., Any]:
    """The right value; the gradient of one input times a factor, which is a function of the output's shape."""
    def wrong(right, inputs, settings):
        x = inputs[name]
        scale = factor(right(inputs, settings).shape)
        return right({**inputs, name: x.detach() + _only_gradient(x) * scale}, settings)
    return wrong


CONV = {
    "flipped": ("your convolution flips the kernel", "conv-kernel-flip", _with("weight", _flipped)),
    "kernel-transposed": ("your convolution exchanges rows and columns of the kernel", "conv-kernel-transposed",
                          _with("weight", _kernel_transposed)),
    "in-out": ("your convolution reads the weight as (in, out, ...)", "conv-weight-layout", _with("weight", _first_two_exchanged)),
    "channel-last": ("your convolution reads the weight as (out, kh, kw, in)", "conv-weight-layout",
                     _with("weight", _last_dimension_second)),
    "no-bias": ("your convolution leaves out the bias", "conv-bias", _with("bias", _nothing)),
    "bias-twice": ("your convolution adds the bias twice", "conv-bias", _with("bias", lambda bias: bias * 2.0)),
    "no-dilation": ("your convolution ignores the dilation", "conv-dilation", _without_dilation),
    "replicate": ("your convolution continues the image's border, instead of zeros", "conv-padding-value", _padded_with("replicate")),
    "reflect": ("your convolution mirrors the image at its border, instead of zeros", "conv-padding-value", _padded_with("reflect")),
    "circular": ("your convolution goes round to the other side of the image, instead of zeros", "conv-padding-value",
                 _padded_with("circular")),
    "same-before": ("your padding \"same\" puts the odd zero at the beginning", "conv-same-side", _shifted(2, 1)),
    "padded-after": ("your convolution pads only at the end, like TensorFlow's SAME", "conv-padding", _shifted(0, 1, 0, 1)),
    "windows-at-end": ("your windows end at the end of the image, instead of beginning at its beginning", "conv-window-start",
                       lambda right, inputs, settings: right({**inputs, "input": inputs["input"][:, :, 2:, 1:]}, settings)),
    "interleaved": ("your groups take every second channel of the input, instead of a block of neighbours", "conv-groups",
                    _with("input", _interleaved(2))),
    "output-interleaved": ("the channels of your output are interleaved: (K / groups, groups) instead of (groups, K / groups)",
                           "conv-groups", lambda right, inputs, settings: F.rearrange(right(inputs, settings), "n (g k) h w -> n (k g) h w",
                                                                       g=settings["groups"])),
    "first-group": ("all your groups see the first block of input channels", "conv-groups", _first_group_for_all),
    "channels-last-patch": ("your patches have the channel last: (p q c) instead of (c p q)", "conv-patch-order",
                            _with("weight", _last_dimension_second)),
    "gradient-unflipped": ("your input's gradient is computed with the kernel unflipped", "conv-gradient", _input_gradient_unflipped),
    "bias-gradient-mean": ("your bias' gradient is the mean over batch and places, instead of the sum", "conv-gradient",
                           _gradient_scaled("bias", lambda shape: 1 / (shape[0] * np.prod(shape[2:])))),
    "weight-gradient-mean": ("your weight's gradient is the mean over the batch, instead of the sum", "conv-gradient",
                             _gradient_scaled("weight", lambda shape: 1 / shape[0])),
}


def _extra_at_beginning(right, inputs, settings):
    """The full result begins output_padding later, and as much is cut off at its end."""
    extra, padding = settings["output_padding"], settings["padding"]
    full = right({name: x for name, x in inputs.items() if name != "bias"},
                 {**settings, "padding": [0] * len(padding), "output_padding": [0] * len(extra)})
    later = F.pad(full, [w for e in reversed(extra) for w in (e, 0)])
    kept = later[(..., *(slice(p, p + n) for p, n in zip(padding, right(inputs, settings).shape[2:])))]
    return kept + F.reshape(inputs["bias"], (-1, *[1] * len(extra)))


def _extra_appended(right, inputs, settings):
    """output_padding as rows and columns of nothing but the bias."""
    extra = settings["output_padding"]
    short = right({name: x for name, x in inputs.items() if name != "bias"}, {**settings, "output_padding": [0] * len(extra)})
    longer = F.pad(short, [w for e in reversed(extra) for w in (0, e)])
    return longer + F.reshape(inputs["bias"], (-1, *[1] * len(extra)))


def _bias_where_painted(right, inputs, settings):
    plain = {name: x for name, x in inputs.items() if name != "bias"}
    painted = right({"input": plain["input"] * 0.0 + 1.0, "weight": plain["weight"] * 0.0 + 1.0}, settings)
    return right(plain, settings) + F.where(painted.detach() > 0, F.reshape(inputs["bias"], (-1, 1, 1)), 0.0)


def _cut_at_end(right, inputs, settings):
    full = right(inputs, {**settings, "padding": [0] * len(settings["padding"])})
    return full[(..., *(slice(n) for n in right(inputs, settings).shape[2:]))]


TRANSPOSED = {
    "flipped": ("your transposed convolution flips the kernel", "conv-transpose-kernel", _with("weight", _flipped)),
    "kernel-transposed": ("your transposed convolution exchanges rows and columns of the kernel", "conv-kernel-transposed",
                          _with("weight", _kernel_transposed)),
    "out-in": ("your transposed convolution reads the weight as (out, in, ...), like a convolution's", "conv-transpose-layout",
               _with("weight", _first_two_exchanged)),
    "no-bias": ("your transposed convolution leaves out the bias", "conv-bias", _with("bias", _nothing)),
    "bias-where-painted": ("your transposed convolution adds the bias only where the kernel painted", "conv-bias",
                           _bias_where_painted),
    "output-padding-first": ("your output_padding is at the beginning, instead of at the end", "conv-output-padding", _extra_at_beginning),
    "output-padding-appended": ("your output_padding appends rows of bias, instead of keeping what the kernel paints there",
                                "conv-output-padding", _extra_appended),
    "interleaved": ("your groups take every second channel of the input, instead of a block of neighbours", "conv-groups",
                    _with("input", _interleaved(2))),
    "output-interleaved": ("the channels of your output are interleaved: (C / groups, groups) instead of (groups, C / groups)",
                           "conv-groups", lambda right, inputs, settings: F.rearrange(right(inputs, settings), "n (g k) h w -> n (k g) h w",
                                                                       g=settings["groups"])),
    "gradient-flipped": ("your input's gradient is computed with the kernel flipped", "conv-gradient", _input_gradient_unflipped),
    "shifted": ("your transposed convolution cuts off its padding only at the end", "conv-padding", _cut_at_end),
}


DOWN = {
    "all-sides": ("your strided convolution pads 1 at all sides, instead of 1 at the right and below", "conv-padding",
                  _set(padding=[1, 1, 1, 1])),
    "right-and-below": ("your strided convolution pads 1 only at the right and below (TensorFlow's SAME), instead of at all sides",
                        "conv-padding", _set(padding=[0, 1, 0, 1])),
    "left-and-above": ("your strided convolution pads at the left and above, instead of at the right and below", "conv-padding",
                       _set(padding=[1, 0, 1, 0])),
    "order": ("your padding is read as [top, bottom, left, right]", "conv-padding-order",
              lambda right, inputs, settings: right(inputs, {**settings, "padding": [*settings["padding"][2:], *settings["padding"][:2]]})),
    "pairs": ("your padding is read as [left, top, right, bottom]", "conv-padding-order",
              lambda right, inputs, settings: right(inputs, {**settings, "padding": [settings["padding"][i] for i in (0, 2, 1, 3)]})),
    "flipped": ("your convolution flips the kernel", "conv-kernel-flip", _with("weight", _flipped)),
    "replicate": ("your convolution continues the image's border, instead of zeros", "conv-padding-value",
                  lambda right, inputs, settings: right({**inputs, "input": F.pad(inputs["input"], settings["padding"], mode="replicate")},
                                                        {**settings, "padding": [0, 0, 0, 0]})),
    "no-bias": ("your convolution leaves out the bias", "conv-bias", _with("bias", _nothing)),
}


def _resized_before(mode: str) -> Callable[..., Any]:
    def wrong(right, inputs, settings):
        larger = F.interpolate(inputs["input"], scale_factor=settings["scale_factor"], mode=mode)
        return F.conv2d(larger, inputs["weight"], inputs["bias"], padding=settings["padding"])
    return wrong


def _convolved_first(right, inputs, settings):
    small = F.conv2d(inputs["input"], inputs["weight"], inputs["bias"], padding=settings["padding"])
    return F.interpolate(small, scale_factor=settings["scale_factor"], mode="nearest")


def _zeros_between(right, inputs, settings):
    rows, columns = settings["scale_factor"]
    n, c, h, w = inputs["input"].shape
    apart = F.pad(F.reshape(inputs["input"], (n, c, h, 1, w, 1)), [0, columns - 1, 0, 0, 0, rows - 1])
    return F.conv2d(F.reshape(apart, (n, c, h * rows, w * columns)), inputs["weight"], inputs["bias"], padding=settings["padding"])


def _tiled(right, inputs, settings):
    rows, columns = settings["scale_factor"]
    return F.conv2d(F.tile(inputs["input"], (1, 1, rows, columns)), inputs["weight"], inputs["bias"], padding=settings["padding"])


UP = {
    "bilinear": ("you interpolate bilinearly before the convolution, instead of repeating pixels", "upsample-repeat",
                 _resized_before("bilinear")),
    "convolved-first": ("you convolve before you repeat the pixels", "upsample-repeat", _convolved_first),
    "zeros-between": ("you put zeros between the pixels, instead of repeating them", "upsample-repeat", _zeros_between),
    "tiled": ("you repeat the whole image, instead of each pixel", "upsample-repeat", _tiled),
    "flipped": ("your convolution flips the kernel", "conv-kernel-flip", _with("weight", _flipped)),
}


def _rows_last(right, inputs, settings):
    """Columns whose rows are ordered (kh kw c)."""
    rows, columns = settings["kernel_size"]
    return F.rearrange(right(inputs, settings), "n (c i j) l -> n (i j c) l", i=rows, j=columns)


def _read_rows_last(right, inputs, settings):
    rows, columns = settings["kernel_size"]
    return right({"input": F.rearrange(inputs["input"], "n (i j c) l -> n (c i j) l", i=rows, j=columns)}, settings)


def _windows_by_column(right, inputs, settings):
    """Windows counted down the columns of the image, not along its rows."""
    return F.rearrange(right(inputs, settings), "n c (p q) -> n c (q p)", p=3)


def _averaged_overlap(right, inputs, settings):
    return right(inputs, settings) / right({"input": inputs["input"].detach() * 0.0 + 1.0}, settings)


FOLD = {
    "channel-last": ("your columns have the channel last: (kh kw c) instead of (c kh kw)", "conv-patch-order", _rows_last),
    "reads-channel-last": ("your fold reads columns with the channel last: (kh kw c) instead of (c kh kw)", "conv-patch-order",
                           _read_rows_last),
    "down-first": ("you count the windows down the columns of the image, instead of along its rows", "conv-patch-order",
                   _windows_by_column),
    "averaged": ("your fold averages where windows overlap, instead of adding", "fold-overlap", _averaged_overlap),
}


def _weight_gradient_transposed(right, inputs, settings):
    x, weight = inputs["input"], inputs["weight"]
    wrong = right({"input": x.detach(), "weight": F.swapaxes(weight, 0, 1)}, settings)
    return right({**inputs, "weight": weight.detach()}, settings) + _only_gradient(wrong)


def _input_gradient_untransposed(right, inputs, settings):
    """g W instead of g W^T."""
    x, other = inputs["input"], inputs["other"]
    wrong = right({"input": x, "other": F.swapaxes(other.detach(), -1, -2)}, settings)
    return right({**inputs, "input": x.detach()}, settings) + _only_gradient(wrong)


LINEAR = {
    "in-out": ("your linear layer reads the weight as (in, out)", "product-layout",
               _with("weight", lambda weight: F.swapaxes(F.reshape(weight, (weight.shape[1], weight.shape[0])), 0, 1))),
    "no-bias": ("your linear layer leaves out the bias", "conv-bias", _with("bias", _nothing)),
    "weight-gradient-mean": ("your weight's gradient is the mean over the rows of the input, instead of the sum", "product-gradient",
                             _gradient_scaled("weight", lambda shape: 1 / np.prod(shape[:-1]))),
    "weight-gradient-transposed": ("your weight's gradient is transposed", "product-gradient", _weight_gradient_transposed),
}

MATMUL = {
    "other-transposed": ("your product transposes the second matrix", "product-layout",
                         _with("other", lambda other: F.swapaxes(other, -1, -2))),
    "input-transposed": ("your product transposes the first matrix", "product-layout",
                         _with("input", lambda input: F.swapaxes(input, -1, -2))),
    "exchanged": ("your product exchanges its factors", "product-axes",
                  lambda right, inputs, settings: right({"input": inputs["other"], "other": inputs["input"]}, settings)),
    "input-gradient": ("your first factor's gradient is computed with the second untransposed", "product-gradient",
                       _input_gradient_untransposed),
    "batches-exchanged": ("your product pairs the matrices of the two batches in another order", "product-axes",
                          _with("other", lambda other: F.flip(other, (0,)))),
}


EINSUM = {
    "result-transposed": ("your einsum has the result's last two dimensions exchanged", "product-axes",
                          lambda right, inputs, settings: F.reshape(F.swapaxes(right(inputs, settings), -1, -2),
                                                                    right(inputs, settings).shape)),
    "keys-transposed": ("your einsum sums over the keys' positions, instead of over the features", "product-axes",
                        _set(equation="bhqd,bhdk->bhqk")),
    "bilinear-turned": ("your bilinear form has its two arguments exchanged", "product-axes", _set(equation="bi,oji,bj->bo")),
    "no-diagonal": ("your einsum sums a repeated letter over both dimensions, instead of along the diagonal", "product-axes",
                    lambda right, inputs, settings: F.sum(inputs["first"], (1, 2))),
}


AVERAGE = {
    "padding-not-counted": ("your average does not count the padding", "pool-count", _set(count_include_pad=False)),
    "padding-counted": ("your average counts the padding", "pool-count", _set(count_include_pad=True)),
    "divisor-ignored": ("your average ignores divisor_override", "pool-divisor", _set(divisor_override=None)),
    "whole-kernel": ("your average divides by the kernel's size also where a window reaches over the end", "pool-count",
                     _set(divisor_override=6)),
    "summed": ("your average is a sum", "pool-divisor", _set(divisor_override=1)),
    "maximum": ("your average is a maximum", "pool-divisor",
                lambda right, inputs, settings: F.max_pool2d(inputs["input"], settings["kernel_size"], settings["stride"],
                                                             settings["padding"])),
}


def _zeros_outside(right, inputs, settings):
    rows, columns = settings["padding"]
    return right({"input": F.pad(inputs["input"], [columns, columns, rows, rows])}, {**settings, "padding": [0, 0]})


def _indices_in_window(right, inputs, settings):
    found = right(inputs, settings)
    width, stride = inputs["input"].shape[3], settings["stride"] or settings["kernel_size"]
    rows, columns = found["indices"] // width, found["indices"] % width
    i, j = (np.arange(n) for n in found["indices"].shape[2:])
    first_row, first_column = i[:, None] * stride[0] - settings["padding"][0], j * stride[1] - settings["padding"][1]
    return {**found, "indices": (rows - first_row) * settings["kernel_size"][1] + columns - first_column}


def _last_of_equals(right, inputs, settings):
    found = right({"input": F.flip(inputs["input"], (2, 3))}, settings)
    height, width = inputs["input"].shape[2:]
    return {"output": F.flip(found["output"], (2, 3)), "indices": height * width - 1 - F.flip(found["indices"], (2, 3))}


def _gradient_of_average(right, inputs, settings):
    average = F.avg_pool2d(inputs["input"], settings["kernel_size"], settings["stride"], settings["padding"], count_include_pad=False)
    return right(inputs, settings).detach() + _only_gradient(average)


def _indices_by_column(right, inputs, settings):
    found, (height, width) = right(inputs, settings), inputs["input"].shape[2:]
    return {**found, "indices": found["indices"] % width * height + found["indices"] // width}


MAXIMUM = {
    "zeros-outside": ("your maximum takes the padding as zeros", "pool-outside", _zeros_outside),
    "stride-1": ("the windows of your maximum begin at every element", "pool-windows",
                 lambda right, inputs, settings: right(inputs, {**settings, "stride": [1, 1]})[:, :, :3, :2]),
    "no-dilation": ("your maximum ignores the dilation", "conv-dilation",
                    lambda right, inputs, settings: right(inputs, {**settings, "dilation": [1, 1]})[:, :, :3, :4]),
    "average": ("your maximum is an average", "pool-divisor",
                lambda right, inputs, settings: F.avg_pool2d(inputs["input"], settings["kernel_size"], settings["stride"],
                                                             settings["padding"])),
    "gradient-average": ("your maximum's gradient goes to all elements of a window", "pool-indices", _gradient_of_average),
    "in-window": ("your indices count within the window, instead of in the plane", "pool-indices", _indices_in_window),
    "last": ("of equal elements you take the last, instead of the first", "pool-indices", _last_of_equals),
    "transposed-indices": ("your indices are height column + row, instead of width row + column", "pool-indices",
                           _indices_by_column),
}


def _separate_windows(right, inputs, settings):
    """Windows that do not overlap: from floor(i n / m) to floor((i + 1) n / m)."""
    x, sizes = inputs["input"], settings["output_size"]
    for axis, m in zip((2, 3), sizes):
        n = x.shape[axis]
        pieces = [F.mean(x[(*[slice(None)] * axis, slice(i * n // m, (i + 1) * n // m))], axis, keepdim=True) for i in range(m)]
        x = F.cat(pieces, axis)
    return x


def _equal_windows(right, inputs, settings):
    """An ordinary average with stride floor(n / m) and kernel n - (m - 1) stride."""
    strides = [n // m for n, m in zip(inputs["input"].shape[2:], settings["output_size"])]
    kernel = [n - (m - 1) * s for n, m, s in zip(inputs["input"].shape[2:], settings["output_size"], strides)]
    return F.avg_pool2d(inputs["input"], kernel, strides)


ADAPTIVE = {
    "separate": ("your adaptive windows do not overlap: their ends are rounded down", "pool-adaptive", _separate_windows),
    "equal": ("your adaptive windows all have the same size: an ordinary average", "pool-adaptive", _equal_windows),
    "interpolated": ("your adaptive average interpolates bilinearly", "pool-adaptive",
                     lambda right, inputs, settings: F.interpolate(inputs["input"], right(inputs, settings).shape[2:], mode="bilinear")),
    "summed": ("your global average is a sum", "pool-divisor",
               lambda right, inputs, settings: F.sum(inputs["input"], (2, 3), keepdim=True)),
}


def _pixels_at(places: Callable[[int, int], Any]) -> Callable[..., Any]:
    """The pixels at places(old size, new size) of rows and columns."""
    def wrong(right, inputs, settings):
        x = inputs["input"]
        for axis, new in zip((2, 3), settings["size"]):
            x = F.index_select(x, axis, places(x.shape[axis], new))
        return x
    return wrong


def _rounded_places(old: int, new: int) -> Any:
    return np.minimum(np.floor(np.arange(new) * old / new + 0.5).astype(np.int64), old - 1)


def _float32_places(old: int, new: int) -> Any:
    """As torch computes them: the quotient, and its product with i, in float32."""
    return np.minimum(np.floor(np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))).astype(np.int64), old - 1)


def _cubic_of(a: float) -> Callable[..., Any]:
    """Bicubic interpolation to `size` by a cubic of this slope, as products with matrices."""
    def wrong(right, inputs, settings):
        x = inputs["input"]
        for axis, m in zip((2, 3), settings["size"]):
            x = F.swapaxes(F.matmul(F.swapaxes(x, axis, -1), _cubic_matrix(x.shape[axis], m, a, x)), axis, -1)
        return x
    return wrong


def _cubic_matrix(old: int, new: int, a: float, like: Any) -> Any:
    """(old, new): the weights of the old pixels in each new one (Keys 1981, Eq. 15)."""
    matrix = np.zeros((old, new))
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    for k in range(-2, old + 2):
        d = np.abs(k - centre)
        near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((d - 5) * d + 8) * d * a - 4 * a
        matrix[min(max(k, 0), old - 1)] += np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    return matrix.astype(like.dtype)


def _no_half_pixel(right, inputs, settings):
    """Bilinear at i old / new."""
    x = inputs["input"]
    for axis, m in zip((2, 3), settings["size"]):
        n = x.shape[axis]
        centre = np.arange(m) * n / m
        d = np.maximum(1 - np.abs(np.minimum(centre, n - 1) - np.arange(n)[:, None]), 0).astype(x.dtype)
        x = F.swapaxes(F.matmul(F.swapaxes(x, axis, -1), d), axis, -1)
    return x


def _zeros_around(right, inputs, settings):
    """Twice as large, from an image with a frame of zeros."""
    large = right({"input": F.pad(inputs["input"], [1, 1, 1, 1])}, {**settings, "size": [2 * (n + 2) for n in inputs["input"].shape[2:]]})
    return large[:, :, 2:-2, 2:-2]


INTERPOLATE = {
    "nearest-exact": ("your nearest takes the pixel nearest to the centre, as nearest-exact does", "interpolate-half-pixel",
                      _set(mode="nearest-exact")),
    "nearest": ("your nearest-exact leaves out the half pixel, as nearest does", "interpolate-half-pixel", _set(mode="nearest")),
    "rounded": ("your nearest rounds r i, instead of rounding it down", "interpolate-half-pixel",
                _pixels_at(_rounded_places)),
    "float32-places": ("your nearest computes places in float32, which misses a pixel at this size", "interpolate-coordinates",
                       _pixels_at(_float32_places)),
    "corners-aligned": ("you align the corner pixels' centres (align_corners)", "interpolate-align-corners", _set(align_corners=True)),
    "corners-not-aligned": ("you do not align the corner pixels' centres (align_corners)", "interpolate-align-corners",
                            _set(align_corners=False)),
    "no-half-pixel": ("your bilinear leaves out the half pixel: it reads at r i", "interpolate-half-pixel", _no_half_pixel),
    "zeros-around": ("your image ends in zeros, instead of continuing with its border", "interpolate-border", _zeros_around),
    "slope-half": ("your cubic has slope -1/2, Pillow's, instead of -3/4", "interpolate-cubic", _cubic_of(-0.5)),
    "slope-1": ("your cubic has slope -1, instead of -3/4", "interpolate-cubic", _cubic_of(-1.0)),
    "bilinear": ("your bicubic is bilinear", "interpolate-cubic", _set(mode="bilinear")),
    "aliased": ("you leave out antialias", "interpolate-antialias", _set(antialias=False)),
    "antialiased": ("you smooth before making it smaller (antialias), which is not asked for", "interpolate-antialias",
                    _set(antialias=True)),
    "recomputed": ("your ratio is recomputed from the sizes, instead of being 1 / scale_factor", "interpolate-scale",
                   _set(recompute_scale_factor=True)),
    "not-recomputed": ("your ratio is 1 / scale_factor, instead of being recomputed from the sizes", "interpolate-scale",
                       _set(recompute_scale_factor=False)),
    "adaptive-separate": ("your areas do not overlap: their ends are rounded down", "pool-adaptive",
                          lambda right, inputs, settings: _separate_windows(right, inputs, {"output_size": settings["size"]})),
    "axes-exchanged": ("your size is read as [columns, rows]", "interpolate-axes",
                       lambda right, inputs, settings: F.reshape(right(inputs, {**settings, "size": settings["size"][::-1]}),
                                                                 (*inputs["input"].shape[:2], *settings["size"]))),
}


def _moved(pattern: str, sizes: Callable[[Mapping[str, Any]], Mapping[str, int]]) -> Callable[..., Any]:
    return lambda right, inputs, settings: F.rearrange(inputs["input"], pattern, **sizes(settings))


UPSCALED = lambda settings: {"p": settings["upscale_factor"], "q": settings["upscale_factor"]}
DOWNSCALED = lambda settings: {"p": settings["downscale_factor"], "q": settings["downscale_factor"]}
PATCHES = lambda settings: settings["axes_lengths"]

SHUFFLE = {
    "channel-last": ("your channels are (p q c), TensorFlow's depth_to_space, instead of (c p q)", "shuffle-order",
                     _moved("n (p q c) h w -> n c (h p) (w q)", UPSCALED)),
    "columns-first": ("your channels are (c q p): columns and rows within a patch are exchanged", "shuffle-order",
                      _moved("n (c q p) h w -> n c (h p) (w q)", UPSCALED)),
    "blocks": ("your pixels of a channel form blocks, (p h) (q w), instead of lying side by side", "shuffle-order",
               _moved("n (c p q) h w -> n c (p h) (q w)", UPSCALED)),
}
UNSHUFFLE = {
    "channel-last": ("your channels are (p q c), TensorFlow's space_to_depth, instead of (c p q)", "shuffle-order",
                     _moved("n c (h p) (w q) -> n (p q c) h w", DOWNSCALED)),
    "columns-first": ("your channels are (c q p): columns and rows within a patch are exchanged", "shuffle-order",
                      _moved("n c (h p) (w q) -> n (c q p) h w", DOWNSCALED)),
    "blocks": ("your patches are blocks of the image, (p h) (q w), instead of neighbouring pixels", "shuffle-order",
               _moved("n c (p h) (q w) -> n (c p q) h w", DOWNSCALED)),
}
REARRANGE = {
    "channel-last": ("your patches' channels are (p q c), instead of (c p q)", "shuffle-order",
                     _moved("n c (h p) (w q) -> n (p q c) h w", PATCHES)),
    "columns-first": ("your patches' channels are (c q p), instead of (c p q)", "shuffle-order",
                      _moved("n c (h p) (w q) -> n (c q p) h w", PATCHES)),
    "blocks": ("your patches are blocks of the image, (p h) (q w), instead of neighbouring pixels", "shuffle-order",
               _moved("n c (p h) (q w) -> n (c p q) h w", PATCHES)),
    "tokens-channel-first": ("your tokens are (c p q), instead of (p q c)", "conv-patch-order",
                             _moved("n c (h p) (w q) -> n (h w) (c p q)", PATCHES)),
    "tokens-by-column": ("your tokens go down the columns of the image, instead of along its rows", "conv-patch-order",
                         _moved("n c (h p) (w q) -> n (w h) (p q c)", PATCHES)),
}


def _symmetric(right, inputs, settings):
    """Mirrored at the border pixel's outer edge, so that it is repeated."""
    x, widths = inputs["input"], settings["pad"]
    for axis, (a, b) in zip((3, 2), zip(widths[::2], widths[1::2])):
        n = x.shape[axis]
        i = np.arange(-a, n + b)
        x = F.index_select(x, axis, np.where(i < 0, -i - 1, np.where(i >= n, 2 * n - 1 - i, i)))
    return x


def _pairs_reversed(right, inputs, settings):
    widths = settings["pad"]
    return right(inputs, {**settings, "pad": [w for pair in list(zip(widths[::2], widths[1::2]))[::-1] for w in pair]})


PAD = {
    "sides-exchanged": ("your padding exchanges left and right, and above and below", "conv-padding-order",
                        lambda right, inputs, settings: right(inputs, {**settings, "pad": [
                            w for i in range(0, len(settings["pad"]), 2) for w in settings["pad"][i:i + 2][::-1]]})),
    "first-dimension-first": ("your padding reads its widths from the first dimension", "conv-padding-order", _pairs_reversed),
    "zeros": ("your padding is zeros", "pad-mode", _set(mode="constant", value=0.0)),
    "symmetric": ("your reflection repeats the border pixel", "pad-mode", _symmetric),
    "reflect": ("your padding mirrors the image", "pad-mode", _set(mode="reflect", value=None)),
    "replicate": ("your padding repeats the border pixel", "pad-mode", _set(mode="replicate", value=None)),
    "circular": ("your padding comes from the other side", "pad-mode", _set(mode="circular", value=None)),
    "other-end": ("you crop at the other end", "pad-crop",
                  lambda right, inputs, settings: right(inputs, {**settings, "pad": settings["pad"][:2] + settings["pad"][2:][::-1]})),
}

MISTAKES = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), CONV),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), TRANSPOSED),
    "downsample_conv2d": DOWN, "upsample_conv2d": UP, "unfold": FOLD, "fold": FOLD, "linear": LINEAR, "matmul": MATMUL, "einsum": EINSUM,
    "avg_pool2d": AVERAGE, "max_pool2d": MAXIMUM, "adaptive_avg_pool2d": ADAPTIVE, "interpolate": INTERPOLATE, "pixel_shuffle": SHUFFLE,
    "pixel_unshuffle": UNSHUFFLE, "rearrange": REARRANGE, "pad": PAD,
}


# -- cases ------------------------------------------------------------------------------------------------------------


def _case(id: str, reason: str, inputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], mistakes: str = "",
          flags: tuple[str, ...] = (), gradients: bool = True) -> Case:
    """mistakes: names in MISTAKES[operation], separated by spaces. The gradients of all inputs are asked for."""
    operation = id.partition("/")[0]
    if gradients:
        output = RIGHT[operation](inputs, settings)
        cotangent = {"cotangent": draw(f"{id}:cotangent", *output.shape)}
    return Case(id, reason, {**inputs, **(cotangent if gradients else {})}, settings, tuple(inputs) if gradients else (),
                {name: _mutant(operation, *MISTAKES[operation][name]) for name in mistakes.split()}, flags=flags)


def _mutant(operation: str, words: str, flag: str, wrong: Callable[..., Any]) -> Mutant:
    return Mutant(words, flag, compute=lambda inputs, settings: wrong(RIGHT[operation], inputs, settings))


def _layer(id: str, reason: str, input: tuple[int, ...], weight: tuple[int, ...], mistakes: str = "", *, bias: int | None = None,
           scale: float = 1.0, mean: float = 0.0, flags: tuple[str, ...] = (), **settings: Any) -> Case:
    """A case of an operation with input, weight and bias: shapes, and the number of biases (None: there is none)."""
    inputs = {"input": draw(f"{id}:input", *input, scale=scale, mean=mean), "weight": draw(f"{id}:weight", *weight, scale=0.5)}
    if bias is not None:
        inputs["bias"] = draw(f"{id}:bias", bias, scale=scale, mean=0.5 * scale)
    return _case(id, reason, inputs, settings, mistakes, flags)


def _plain(id: str, reason: str, input: tuple[int, ...], mistakes: str = "", *, scale: float = 1.0, mean: float = 0.0,
           flags: tuple[str, ...] = (), **settings: Any) -> Case:
    """A case of an operation with one input."""
    return _case(id, reason, {"input": draw(f"{id}:input", *input, scale=scale, mean=mean)}, settings, mistakes, flags)


def _conv1d() -> Iterator[Case]:
    plain = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1}
    yield _layer("conv1d/ordinary", "a sequence with zeros at both ends", (2, 3, 11), (5, 3, 3), "flipped in-out no-bias replicate", bias=5,
                 **plain)
    yield _layer("conv1d/strided-dilated", "an even kernel, stride 2, dilation 3", (2, 2, 17), (3, 2, 4), "flipped no-dilation", bias=3,
                 **{**plain, "stride": [2], "padding": [2], "dilation": [3]})
    yield _layer("conv1d/groups", "two groups", (1, 6, 7), (4, 3, 3), "interleaved first-group", bias=4, **{**plain, "groups": 2})
    yield _layer("conv1d/same-even", "an even kernel and padding \"same\": three zeros, one more at the end", (2, 3, 7), (2, 3, 4),
                 "same-before", bias=2, **{**plain, "padding": "same"})


def _conv2d() -> Iterator[Case]:
    plain = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
    none = {**plain, "padding": [0, 0]}
    yield _layer("conv2d/ordinary", "the 3x3 convolution of every block", (2, 3, 7, 5), (5, 3, 3, 3),
                 "flipped kernel-transposed in-out channel-last no-bias replicate circular", bias=5, **plain)
    yield _layer("conv2d/gradients", "a batch of three: what can be wrong in the backward pass alone", (3, 2, 5, 7), (5, 2, 3, 3),
                 "gradient-unflipped bias-gradient-mean weight-gradient-mean", bias=5, **plain)
    yield _layer("conv2d/1x1", "a product of matrices for each pixel: shortcuts and projections", (2, 7, 3, 5), (3, 7, 1, 1),
                 "in-out no-bias bias-twice", bias=3, **none)
    yield _layer("conv2d/no-bias", "without a bias: nothing is added", (1, 2, 5, 7), (3, 2, 3, 3), "flipped replicate", **plain)
    yield _layer("conv2d/asymmetric-kernel", "3x5 with padding (1, 2): rows and columns must not be exchanged", (2, 2, 7, 11), (3, 2, 3, 5),
                 "flipped in-out replicate", bias=3, **{**plain, "padding": [1, 2]})
    yield _layer("conv2d/asymmetric-stride", "stride (2, 1), padding (0, 2)", (1, 3, 7, 5), (2, 3, 2, 3), "flipped no-bias", bias=2,
                 **{**plain, "stride": [2, 1], "padding": [0, 2]})
    yield _layer("conv2d/stride-2-even", "stride 2 with padding 1 at an even size: padding only at the end gives the same shape",
                 (2, 3, 8, 6), (4, 3, 3, 3), "padded-after flipped", bias=4, **{**plain, "stride": [2, 2]})
    yield _layer("conv2d/stride-2-odd", "stride 2 with padding 1 at an odd size", (1, 3, 7, 11), (2, 3, 3, 3), "flipped reflect", bias=2,
                 **{**plain, "stride": [2, 2]})
    yield _layer("conv2d/4x4-stride-2", "an even kernel, as discriminators have it", (2, 3, 8, 6), (5, 3, 4, 4),
                 "flipped kernel-transposed replicate", bias=5, **{**plain, "stride": [2, 2]})
    yield _layer("conv2d/unused-rows", "windows of stride 3 that leave rows and a column unused: their gradient is 0", (2, 2, 8, 7),
                 (3, 2, 3, 3), "windows-at-end", bias=3, **{**none, "stride": [3, 3]})
    yield _layer("conv2d/dilated", "dilation 2 with as much padding", (2, 3, 7, 9), (2, 3, 3, 3), "no-dilation flipped circular", bias=2,
                 **{**plain, "padding": [2, 2], "dilation": [2, 2]})
    yield _layer("conv2d/asymmetric-dilation", "dilation (1, 3), kernel 2x3, no padding", (1, 2, 5, 11), (3, 2, 2, 3), "no-dilation",
                 bias=3, **{**none, "dilation": [1, 3]})
    yield _layer("conv2d/groups", "two groups of three input and two output channels", (2, 6, 5, 3), (4, 3, 3, 3),
                 "interleaved output-interleaved first-group flipped", bias=4, **{**plain, "groups": 2})
    yield _layer("conv2d/depthwise", "as many groups as channels", (2, 5, 7, 3), (5, 1, 3, 3), "first-group flipped kernel-transposed",
                 bias=5, **{**plain, "groups": 5})
    yield _layer("conv2d/depthwise-multiplied", "two outputs for each channel: output k belongs to channel floor(k / 2)", (1, 3, 5, 7),
                 (6, 1, 3, 3), "output-interleaved", bias=6, **{**plain, "groups": 3})
    yield _layer("conv2d/patches", "kernel and stride 4: the patch embedding of a vision transformer", (1, 3, 8, 12), (5, 3, 4, 4),
                 "channels-last-patch kernel-transposed", bias=5, **{**none, "stride": [4, 4]})
    yield _layer("conv2d/small-image", "an image smaller than its kernel: only padding makes it fit", (2, 3, 2, 1), (2, 3, 3, 3),
                 "flipped kernel-transposed", bias=2, **plain)
    yield _layer("conv2d/same", "padding \"same\" for a dilated kernel of uneven sizes", (1, 2, 5, 7), (3, 2, 3, 2), "flipped", bias=3,
                 **{**plain, "padding": "same", "dilation": [1, 2]})
    yield _layer("conv2d/large-mean", "a mean of 1000: zeros outside are an edge", (1, 3, 5, 7), (2, 3, 3, 3), "replicate flipped", bias=2,
                 mean=1000.0, **plain)
    yield _layer("conv2d/tiny", "inputs and biases of size 1e-3", (2, 3, 5, 3), (2, 3, 3, 3), "no-bias", bias=2, scale=1e-3, **plain)
    id = "conv2d/exact"
    integers = {name: np.round(4 * draw(f"{id}:{name}", *shape)).astype(np.float32) for name, shape in (
        ("input", (2, 3, 5, 7)), ("weight", (2, 3, 3, 3)), ("bias", (2,)))}
    yield _case(id, "small integers: float32 adds them without an error, in any order", integers, plain, "flipped kernel-transposed in-out")


def _other_convolutions() -> Iterator[Case]:
    yield _layer("conv3d/ordinary", "a kernel of three different sizes, for video", (1, 2, 3, 5, 4), (3, 2, 2, 3, 1),
                 "flipped in-out no-bias", bias=3, stride=[1, 2, 1], padding=[1, 1, 0], dilation=[1, 1, 1], groups=1)
    yield _layer("conv3d/groups-dilated", "two groups, dilation in time", (1, 4, 5, 3, 2), (2, 2, 2, 2, 2), "no-dilation interleaved",
                 bias=2, stride=[1, 1, 1], padding=[1, 0, 1], dilation=[2, 1, 1], groups=2)
    same, around = [0, 1, 0, 1], [1, 1, 1, 1]
    yield _layer("downsample_conv2d/same-even", "padding right and below, at an even size: as Stable Diffusion's VAE and Ho's DDPM",
                 (2, 3, 8, 6), (5, 3, 3, 3), "all-sides flipped replicate no-bias", bias=5, stride=[2, 2], padding=same)
    yield _layer("downsample_conv2d/same-odd", "padding right and below at odd sizes, where TensorFlow itself would pad all sides",
                 (1, 2, 7, 5), (3, 2, 3, 3), "left-and-above flipped", bias=3, flags=("conv-padding",), stride=[2, 2], padding=same)
    yield _layer("downsample_conv2d/all-sides", "padding 1 at all sides, at an even size: as OpenAI's U-Net", (1, 3, 6, 8), (2, 3, 3, 3),
                 "right-and-below flipped", bias=2, stride=[2, 2], padding=around)
    yield _layer("downsample_conv2d/four-widths", "four different widths: their order shows", (1, 2, 8, 7), (3, 2, 3, 3), "order pairs",
                 bias=3, stride=[2, 2], padding=[0, 3, 2, 1])
    yield _layer("upsample_conv2d/ordinary", "twice as large, then 3x3: U-Nets and VAEs", (2, 3, 3, 5), (2, 3, 3, 3),
                 "bilinear convolved-first zeros-between tiled flipped", bias=2, scale_factor=[2, 2], padding=[1, 1])
    yield _layer("upsample_conv2d/uneven", "factors 3 and 2, a kernel of 3x5", (1, 2, 2, 3), (3, 2, 3, 5), "bilinear tiled", bias=3,
                 scale_factor=[3, 2], padding=[1, 2])


def _conv_transpose() -> Iterator[Case]:
    one = {"stride": [2], "padding": [1], "output_padding": [1], "groups": 1, "dilation": [1]}
    yield _layer("conv_transpose1d/ordinary", "twice as long: stride 2, kernel 3", (2, 3, 7), (3, 5, 3),
                 "flipped out-in no-bias output-padding-first output-padding-appended", bias=5, **one)
    yield _layer("conv_transpose1d/dilated", "dilation 3, an even kernel", (1, 2, 5), (2, 3, 4), "flipped", bias=3,
                 **{**one, "dilation": [3], "output_padding": [2], "padding": [0]})
    plain = {"stride": [1, 1], "padding": [0, 0], "output_padding": [0, 0], "groups": 1, "dilation": [1, 1]}
    yield _layer("conv_transpose2d/stride-1", "without a stride it is a convolution with the kernel flipped", (2, 3, 5, 4), (3, 2, 3, 3),
                 "flipped kernel-transposed out-in", bias=2, **{**plain, "padding": [1, 1]})
    yield _layer("conv_transpose2d/gradients", "the gradient of the input is a convolution, its kernel not flipped", (1, 2, 4, 3),
                 (2, 5, 3, 3), "gradient-flipped", bias=5, **{**plain, "stride": [2, 2], "padding": [1, 1]})
    yield _layer("conv_transpose2d/2x2-stride-2", "every pixel paints a patch of its own: the upsampling of the course's U-Net",
                 (2, 5, 3, 4), (5, 3, 2, 2), "flipped kernel-transposed out-in no-bias", bias=3, **{**plain, "stride": [2, 2]})
    yield _layer("conv_transpose2d/4x4-stride-2", "a generator's layer: patches overlap evenly", (2, 3, 3, 5), (3, 2, 4, 4),
                 "flipped out-in shifted", bias=2, **{**plain, "stride": [2, 2], "padding": [1, 1]})
    yield _layer("conv_transpose2d/output-padding", "3x3 of stride 2: output_padding decides between two sizes", (2, 3, 4, 5), (3, 2, 3, 3),
                 "output-padding-first output-padding-appended flipped", bias=2,
                 **{**plain, "stride": [2, 2], "padding": [1, 1], "output_padding": [1, 1]})
    yield _layer("conv_transpose2d/output-padding-rows", "output_padding in one dimension, asymmetric kernel and stride", (1, 2, 3, 4),
                 (2, 3, 3, 5), "output-padding-first output-padding-appended out-in", bias=3,
                 **{**plain, "stride": [3, 2], "padding": [1, 2], "output_padding": [2, 0]})
    yield _layer("conv_transpose2d/gaps", "a stride above the kernel's size: only the bias reaches the gaps", (1, 2, 3, 2), (2, 3, 2, 2),
                 "flipped bias-where-painted", bias=3, **{**plain, "stride": [3, 3]})
    yield _layer("conv_transpose2d/groups", "two groups of two input and three output channels", (2, 4, 3, 2), (4, 3, 3, 3),
                 "interleaved output-interleaved flipped", bias=6, **{**plain, "stride": [2, 2], "padding": [1, 1], "groups": 2})
    yield _layer("conv_transpose2d/dilated", "dilation (2, 1)", (1, 3, 4, 3), (3, 2, 3, 2), "flipped", bias=2,
                 **{**plain, "stride": [1, 2], "padding": [2, 0], "dilation": [2, 1]})
    yield _layer("conv_transpose2d/no-bias", "without a bias, as many channels in as out: nothing but the values tells the layouts apart",
                 (1, 3, 4, 5), (3, 3, 3, 3), "out-in flipped", **{**plain, "stride": [2, 2], "padding": [1, 1]})
    yield _layer("conv_transpose3d/ordinary", "for video: twice as large in space, not in time", (1, 2, 3, 2, 2), (2, 3, 3, 2, 2),
                 "flipped out-in no-bias",
                 bias=3, stride=[1, 2, 2], padding=[1, 0, 0], output_padding=[0, 0, 0], groups=1, dilation=[1, 1, 1])


def _columns() -> Iterator[Case]:
    windows = {"kernel_size": [3, 2], "dilation": [1, 2], "padding": [1, 1], "stride": [2, 1]}
    yield _plain("unfold/ordinary", "windows as columns: the order of rows (c kh kw), of columns by rows of windows", (2, 3, 5, 4),
                 "channel-last down-first", **windows)
    yield _plain("fold/ordinary", "overlapping windows are added, with dilation, stride and padding", (2, 18, 12),
                 "reads-channel-last averaged", output_size=[5, 4], **windows)


def _products() -> Iterator[Case]:
    yield _layer("linear/ordinary", "two leading dimensions", (2, 5, 7), (3, 7), "in-out no-bias", bias=3)
    yield _layer("linear/square", "as many features in as out: nothing but the values tells the layouts apart", (3, 5), (5, 5),
                 "in-out", bias=5)
    yield _layer("linear/gradients", "what can be wrong in the backward pass alone", (2, 3, 7), (7, 7),
                 "weight-gradient-mean weight-gradient-transposed", bias=7)
    yield _layer("linear/no-bias", "without a bias, as queries and keys of Stable Diffusion have it", (2, 3, 5), (7, 5), "in-out")
    yield _layer("linear/large-mean", "inputs with mean 1000", (3, 11), (2, 11), "in-out", bias=2, mean=1000.0)
    yield _layer("linear/vector", "a single row, no leading dimension", (7,), (5, 7), "in-out no-bias", bias=5)

    def product(name: str, reason: str, first: tuple[int, ...], second: tuple[int, ...], mistakes: str = "") -> Case:
        id = f"matmul/{name}"
        return _case(id, reason, {"input": draw(f"{id}:input", *first), "other": draw(f"{id}:other", *second)}, {}, mistakes)

    yield product("matrices", "two square matrices: nothing but the values tells the sides apart", (5, 5), (5, 5),
                  "other-transposed input-transposed exchanged")
    yield product("gradients", "square matrices: what can be wrong in the backward pass alone", (2, 3, 3), (2, 3, 3), "input-gradient")
    yield product("rectangular", "sizes that differ all", (3, 7), (7, 2))
    yield product("broadcast", "batches that broadcast: the gradient of a shared factor is a sum", (2, 1, 3, 5), (4, 5, 7),
                  "batches-exchanged")
    yield product("vector", "a matrix times a vector", (2, 5, 5), (5,), "input-transposed")

    def einsum(name: str, reason: str, equation: str, mistakes: str, *shapes: tuple[int, ...]) -> Case:
        id = f"einsum/{name}"
        inputs = {operand: draw(f"{id}:{operand}", *shape) for operand, shape in zip(("first", "second", "third"), shapes)}
        return _case(id, reason, inputs, {"equation": equation}, mistakes)

    yield einsum("attention-scores", "queries times keys for each head", "bhqd,bhkd->bhqk", "result-transposed keys-transposed",
                 (2, 3, 5, 5), (2, 3, 5, 5))
    yield einsum("projection", "a 1x1 convolution", "nchw,kc->nkhw", "result-transposed", (2, 5, 3, 4), (2, 5))
    yield einsum("bilinear", "a bilinear form: three operands at once", "bi,oij,bj->bo", "bilinear-turned", (2, 3), (5, 3, 3), (2, 3))
    yield einsum("trace", "a repeated letter is a diagonal", "bii->b", "no-diagonal", (3, 5, 5))


def _pooling() -> Iterator[Case]:
    average = {"kernel_size": [2, 2], "stride": None, "padding": [0, 0], "ceil_mode": False, "count_include_pad": True,
               "divisor_override": None}
    yield _plain("avg_pool2d/ordinary", "2x2 at odd sizes: the last row is left out", (2, 3, 7, 5), "maximum summed", **average)
    padded = {**average, "kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1]}
    yield _plain("avg_pool2d/padding-counted", "padding counts: PyTorch's default", (2, 3, 7, 6), "padding-not-counted", mean=2.0, **padded)
    yield _plain("avg_pool2d/padding-not-counted", "only pixels count: as TensorFlow, and FID's Inception network", (1, 3, 5, 6),
                 "padding-counted", mean=2.0, **{**padded, "stride": [1, 1], "count_include_pad": False})
    yield _plain("avg_pool2d/ceil-mode", "a last window reaches over the end: it is divided by what it has", (1, 2, 6, 7), "whole-kernel",
                 **{**average, "kernel_size": [3, 2], "stride": [2, 2], "ceil_mode": True})
    yield _plain("avg_pool2d/divisor", "an explicit divisor", (1, 2, 5, 7), "divisor-ignored",
                 **{**average, "kernel_size": [2, 3], "stride": [1, 2], "divisor_override": 4})
    yield _plain("avg_pool2d/large-mean", "mean 1000", (1, 2, 4, 6), "summed", mean=1000.0, **average)

    largest = {"kernel_size": [2, 2], "stride": None, "padding": [0, 0], "dilation": [1, 1], "ceil_mode": False, "return_indices": False}
    yield _plain("max_pool2d/ordinary", "2x2 at odd sizes: the last row and column are left out", (2, 3, 7, 5), "average stride-1",
                 **largest)
    yield _plain("max_pool2d/gradients", "the gradient goes to one element of each window, and adds up where windows overlap", (1, 2, 5, 7),
                 "gradient-average", **{**largest, "kernel_size": [3, 3], "stride": [2, 2]})
    yield _plain("max_pool2d/negative-padded", "only negative numbers: zeros outside would win", (2, 2, 5, 7), "zeros-outside", mean=-5.0,
                 **{**largest, "kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1]})
    yield _plain("max_pool2d/dilated", "windows with gaps", (1, 3, 5, 6), "no-dilation",
                 **{**largest, "stride": [1, 1], "dilation": [2, 2]})
    yield _plain("max_pool2d/ceil-mode", "a last window that reaches over the end", (1, 2, 6, 7), "zeros-outside", mean=-3.0,
                 **{**largest, "kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1], "ceil_mode": True})
    id = "max_pool2d/ties"
    yield _case(id, "equal elements, and where the maximum stands", {"input": np.round(draw(f"{id}:input", 2, 2, 6, 9)).astype(np.float32)},
                {**largest, "kernel_size": [2, 3], "return_indices": True}, "in-window last transposed-indices", gradients=False)

    yield _plain("adaptive_avg_pool2d/overlapping", "7x5 to 4x3: windows overlap and have several sizes", (2, 3, 7, 5), "separate equal",
                 output_size=[4, 3])
    yield _plain("adaptive_avg_pool2d/larger", "to more pixels than there are, rows kept", (1, 2, 3, 4), "interpolated",
                 output_size=[None, 7])
    yield _plain("adaptive_avg_pool2d/global", "one average for each channel", (2, 5, 2, 3), "summed", output_size=[1, 1])


def _interpolation() -> Iterator[Case]:
    def resized(name: str, reason: str, input: tuple[int, ...], mode: str, mistakes: str, *, flags: tuple[str, ...] = (),
                **changed: Any) -> Case:
        settings = {"size": None, "scale_factor": None, "mode": mode, "recompute_scale_factor": None, "antialias": False,
                    "align_corners": False if "linear" in mode or mode == "bicubic" else None}
        return _plain(f"interpolate/{name}", reason, input, mistakes, flags=flags, **{**settings, **changed})

    yield resized("nearest-twice", "each pixel four times", (2, 3, 3, 5), "nearest", "", scale_factor=[2, 2])
    yield resized("nearest-larger", "5 to 7 rows, 3 to 8 columns: floor(i old / new)", (2, 2, 5, 3), "nearest",
                  "nearest-exact rounded axes-exchanged", size=[7, 8])
    yield resized("nearest-smaller", "masks to the size of latents, where sizes do not divide", (1, 2, 11, 7), "nearest", "nearest-exact",
                  size=[4, 3])
    yield resized("nearest-26-to-22", "a ratio that float32 rounds down: place 11 is 13 exactly", (1, 1, 26, 3), "nearest",
                  "float32-places nearest-exact", size=[22, 3])
    yield resized("nearest-exact", "the pixel that is nearest indeed", (1, 2, 7, 5), "nearest-exact", "nearest", size=[5, 8])
    yield resized("area", "means over overlapping areas", (1, 3, 7, 5), "area", "adaptive-separate", size=[3, 2])
    # from here on ratios that float32 holds: libraries compute places in float32, and that is no error of the interpolation
    yield resized("linear", "a sequence, 5 to 8", (2, 3, 5), "linear", "corners-aligned", size=[8])
    yield resized("bilinear-twice", "twice as large: weights 1/4 and 3/4, the border continues", (2, 3, 3, 5), "bilinear",
                  "corners-aligned zeros-around", size=[6, 10])
    yield resized("bilinear-smaller", "smaller without smoothing: most pixels do not count", (1, 3, 11, 7), "bilinear",
                  "corners-aligned no-half-pixel antialiased", size=[4, 2])
    yield resized("bilinear-aligned", "align_corners: the corner pixels stay", (2, 2, 4, 6), "bilinear", "corners-not-aligned",
                  align_corners=True, size=[5, 9])
    yield resized("bilinear-to-one", "align_corners to a single row: the first one", (1, 2, 5, 4), "bilinear", "corners-not-aligned",
                  align_corners=True, size=[1, 7])
    yield resized("bilinear-factor", "a factor whose product with the size is no integer", (1, 2, 3, 7), "bilinear",
                  "recomputed corners-aligned", scale_factor=[1.6, 1.6], recompute_scale_factor=False)
    yield resized("bilinear-recomputed", "the ratio of the sizes in the place of such a factor", (1, 2, 5, 7), "bilinear", "not-recomputed",
                  scale_factor=[1.7, 1.25], recompute_scale_factor=True)
    yield resized("bilinear-antialias", "smaller and smoothed", (2, 2, 11, 7), "bilinear", "aliased", antialias=True, size=[4, 2])
    yield resized("bicubic-larger", "the cubic of slope -3/4", (1, 2, 5, 3), "bicubic", "slope-half slope-1 bilinear corners-aligned",
                  size=[8, 4])
    yield resized("bicubic-aligned", "the same with align_corners", (1, 2, 4, 6), "bicubic", "corners-not-aligned", align_corners=True,
                  size=[5, 9])
    yield resized("bicubic-antialias", "smaller and smoothed, slope -1/2: as Pillow, and clean-fid", (1, 2, 10, 12), "bicubic", "aliased",
                  antialias=True, size=[5, 3])
    yield resized("lanczos-antialias", "smaller and smoothed by a windowed sinc, as Pillow's LANCZOS", (1, 2, 13, 9), "lanczos", "",
                  flags=("interpolate-antialias",), antialias=True, size=[4, 4])
    yield resized("trilinear", "a video, larger in time and space", (1, 2, 2, 3, 5), "trilinear", "corners-aligned", size=[4, 4, 8])


def _moves() -> Iterator[Case]:
    yield _plain("pixel_shuffle/2", "four channels become a patch", (2, 12, 3, 5), "channel-last columns-first blocks", upscale_factor=2)
    yield _plain("pixel_shuffle/3", "nine channels become a patch", (1, 18, 2, 3), "channel-last columns-first", upscale_factor=3)
    yield _plain("pixel_unshuffle/2", "a patch becomes four channels", (2, 3, 6, 10), "channel-last columns-first blocks",
                 downscale_factor=2)
    yield _plain("pixel_unshuffle/3", "a patch becomes nine channels", (1, 2, 6, 9), "channel-last columns-first", downscale_factor=3)
    yield _plain("rearrange/pooling", "2x2 patches become channels: the downsampling of the course's U-Net", (2, 3, 6, 10),
                 "channel-last columns-first blocks", pattern="n c (h p) (w q) -> n (c p q) h w", axes_lengths={"p": 2, "q": 2})
    yield _plain("rearrange/tokens", "patches become tokens with the channel last, as a vision transformer in JAX has them", (1, 3, 4, 9),
                 "tokens-channel-first tokens-by-column", pattern="n c (h p) (w q) -> n (h w) (p q c)", axes_lengths={"p": 2, "q": 3})
    pad = {"mode": "constant", "value": None}
    yield _plain("pad/four-widths", "left, right, top, bottom: all different", (1, 2, 5, 5), "sides-exchanged first-dimension-first",
                 **{**pad, "pad": [0, 3, 1, 2]})
    yield _plain("pad/value", "a constant that is not 0", (1, 2, 3, 4), "zeros replicate", **{**pad, "pad": [1, 2, 2, 1], "value": 0.5})
    yield _plain("pad/crop", "negative widths take away", (1, 2, 5, 7), "other-end", **{**pad, "pad": [2, 1, -2, 1]})
    yield _plain("pad/reflect", "mirrored; the border pixel is not repeated", (2, 2, 5, 4),
                 "symmetric replicate circular zeros sides-exchanged", pad=[2, 1, 1, 3], mode="reflect", value=None)
    yield _plain("pad/replicate", "the border pixel again and again", (1, 3, 4, 5), "reflect circular zeros", pad=[1, 3, 2, 1],
                 mode="replicate", value=None)
    yield _plain("pad/circular", "from the other side: tiles and panoramas", (1, 2, 4, 5), "reflect replicate sides-exchanged",
                 pad=[2, 3, 1, 2], mode="circular", value=None)


def cases() -> Iterator[Case]:
    """Convolutions, their transposes, products, pooling, resampling, moves."""
    for family in (_conv1d, _conv2d, _other_convolutions, _conv_transpose, _columns, _products, _pooling, _interpolation, _moves):
        yield from family()
