"""Single operations: what both libraries compute under the same name, so that it is written once.

The first table is what a U-Net spends its time in, at the three sizes of its levels; the second is everything else, at one size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .item import Item, Step
from .sides import SIDES

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Operation:
    """A function that both libraries have. call: (side, *inputs), the first an image batch or made of one.

    inputs: the shape of the images -> the shapes of all inputs. flop: of the forward, from the shape of the images; None: bound by
    memory. moves: whether the forward then goes through memory twice (read x, write y) and the backward three times (read x and g,
    write dx), as where the result is as large as the images.
    """

    call: Callable[..., Any]
    inputs: Callable[[Shape], list[tuple[int, ...]]] = lambda shape: [shape]
    flop: Callable[[Shape], float] | None = None
    moves: bool = True


def _attention(side: Any, *tokens: Any) -> Any:
    """Of tokens as a network has them, (N, pixels, heads, 64) in memory."""
    return side.functional.scaled_dot_product_attention(*(side.swap(x, 1, 2) for x in tokens))


def _tokens(shape: Shape) -> list[tuple[int, ...]]:
    """Query, key and value of an image, in heads of 64."""
    n, c, height, width = shape
    return [(n, height * width, -(-c // 64), min(c, 64))] * 3


def _words(shape: Shape) -> tuple[int, int, int]:
    """(N, pixels, C): the pixels of the images as a sequence."""
    n, c, height, width = shape
    return n, height * width, c


IN_EVERY_SIZE = {
    "conv2d 3x3": Operation(
        lambda side, x, w, b: side.functional.conv2d(x, w, b, padding=1), lambda s: [s, (s[1], s[1], 3, 3), (s[1],)],
        flop=lambda s: 2 * 9 * s[0] * s[1] ** 2 * s[2] * s[3]),
    "group_norm": Operation(
        lambda side, x, w, b: side.functional.group_norm(x, 8, w, b), lambda s: [s, (s[1],), (s[1],)]),
    "gelu": Operation(lambda side, x: side.functional.gelu(x)),
    "gelu tanh": Operation(lambda side, x: side.functional.gelu(x, approximate="tanh")),
    "silu": Operation(lambda side, x: side.functional.silu(x)),
    "attention": Operation(_attention, _tokens, flop=lambda s: 4 * s[0] * s[1] * (s[2] * s[3]) ** 2),
}

IN_ONE_SIZE = {
    "conv1d 3": Operation(
        lambda side, x, w, b: side.functional.conv1d(x, w, b, padding=1),
        lambda s: [(s[0], s[1], s[2] * s[3]), (s[1], s[1], 3), (s[1],)], flop=lambda s: 2 * 3 * s[0] * s[1] ** 2 * s[2] * s[3]),
    "conv3d 3x3x3": Operation(
        lambda side, x, w, b: side.functional.conv3d(x, w, b, padding=1),
        lambda s: [(s[0], s[1] // 4, 4, s[2], s[3]), (s[1] // 4, s[1] // 4, 3, 3, 3), (s[1] // 4,)],
        flop=lambda s: 2 * 27 * s[0] * (s[1] // 4) ** 2 * 4 * s[2] * s[3]),
    "conv2d depthwise 3x3": Operation(
        lambda side, x, w, b: side.functional.conv2d(x, w, b, padding=1, groups=x.shape[1]),
        lambda s: [s, (s[1], 1, 3, 3), (s[1],)], flop=lambda s: 2 * 9 * math.prod(s)),
    "conv_transpose2d 2x2 stride 2": Operation(
        lambda side, x, w, b: side.functional.conv_transpose2d(x, w, b, stride=2), lambda s: [s, (s[1], s[1] // 2, 2, 2), (s[1] // 2,)],
        flop=lambda s: 2 * 4 * s[0] * s[1] * (s[1] // 2) * s[2] * s[3]),
    "linear": Operation(
        lambda side, x, w, b: side.functional.linear(x, w, b), lambda s: [_words(s), (4 * s[1], s[1]), (4 * s[1],)],
        flop=lambda s: 2 * s[0] * s[2] * s[3] * 4 * s[1] ** 2),
    "einsum": Operation(
        lambda side, x, y: side.root.einsum("nlhd,nmhd->nhlm", x, y), lambda s: _tokens(s)[:2],
        flop=lambda s: 2 * s[0] * (s[2] * s[3]) ** 2 * -(-s[1] // 64) * min(s[1], 64)),
    "layer_norm": Operation(
        lambda side, x, w, b: side.functional.layer_norm(x, (x.shape[-1],), w, b), lambda s: [_words(s), (s[1],), (s[1],)]),
    "batch_norm": Operation(
        lambda side, x, w, b: side.functional.batch_norm(x, None, None, w, b, training=True), lambda s: [s, (s[1],), (s[1],)]),
    "rms_norm": Operation(lambda side, x, w: side.functional.rms_norm(x, (x.shape[-1],), w), lambda s: [_words(s), (s[1],)]),
    "relu": Operation(lambda side, x: side.functional.relu(x)),
    "softmax": Operation(lambda side, x: side.functional.softmax(x, dim=-1), lambda s: [_words(s)]),
    "max_pool2d": Operation(lambda side, x: side.functional.max_pool2d(x, 2), moves=False),
    "avg_pool2d": Operation(lambda side, x: side.functional.avg_pool2d(x, 2), moves=False),
    "interpolate nearest": Operation(lambda side, x: side.functional.interpolate(x, scale_factor=2), moves=False),
    "interpolate bilinear": Operation(lambda side, x: side.functional.interpolate(x, scale_factor=2, mode="bilinear"), moves=False),
    "interpolate bicubic": Operation(lambda side, x: side.functional.interpolate(x, scale_factor=0.5, mode="bicubic"), moves=False),
    "pad reflect": Operation(lambda side, x: side.functional.pad(x, (1, 1, 1, 1), mode="reflect")),
    "pixel_shuffle": Operation(lambda side, x: side.functional.pixel_shuffle(x, 2)),
    "unfold": Operation(lambda side, x: side.functional.unfold(x, 3, padding=1), moves=False),
    "cross_entropy": Operation(
        lambda side, x, y: side.functional.cross_entropy(x, side.functional.softmax(y, dim=1)), lambda s: [s, s], moves=False),
    "mse_loss": Operation(lambda side, x, y: side.functional.mse_loss(x, y), lambda s: [s, s], moves=False),
    "sum": Operation(lambda side, x: side.root.sum(x, dim=(0, 2, 3)), moves=False),
    "var": Operation(lambda side, x: side.root.var(x, dim=(2, 3)), moves=False),
    "cat": Operation(lambda side, x, y: side.root.cat([x, y], dim=1), lambda s: [s, s], moves=False),
    "exp": Operation(lambda side, x: side.root.exp(x)),
}

OPERATIONS = IN_EVERY_SIZE | IN_ONE_SIZE


def _operation_step(operation: Operation, image: tuple[int, int, int], backward: bool) -> Callable[[str, int], Step]:
    def build(side_name: str, batch: int) -> Step:
        side = SIDES[side_name]()
        draw = np.random.default_rng(0)
        shape = (batch, *image)

        def drawn(size: tuple[int, ...]) -> Any:
            return (side.images if size == shape else side.tensor)(draw.standard_normal(size, np.float32))

        inputs = [drawn(size).requires_grad_() for size in operation.inputs(shape)]

        def forward() -> Any:
            with side.no_grad():
                return operation.call(side, *inputs)

        g = drawn(tuple(forward().shape))

        def forward_and_backward() -> None:
            for x in inputs:
                x.grad = None
            operation.call(side, *inputs).backward(g)

        return forward_and_backward if backward else forward

    return build


def operation_item(name: str, shape: Shape, backward: bool, memory: bool) -> Item:
    """The item of one operation on images of a shape: forward (nothing recorded), or forward and backward (gradients of all inputs)."""
    operation = OPERATIONS[name]
    flop = operation.flop(shape) if operation.flop is not None else None
    return Item(
        f"{name} {'forward + backward' if backward else 'forward'} {shape}", _operation_step(operation, shape[1:], backward),
        batch=shape[0], memory=memory, flop=None if flop is None else flop * (3 if backward else 1),
        bytes=4.0 * math.prod(shape) * (5 if backward else 2) if flop is None and operation.moves else None)
