"""What is measured. An item builds, for one side and a batch size, a function to be timed; both sides do the same work.

Read `sides.py` first. `items()` is the list.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff import no_grad, tensor
from minidiff.diffusion import DDIM, classifier_free_guidance, make_schedule, sample
from minidiff.models import UNet, UNetConfig, preset
from minidiff.training.flat import FlatParameters
from minidiff.training.optimizer import AdamW

from .sides import SIDES, Ours, Torch

Step = Callable[[], Any]


def wall_clock(step: Step) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def own_clock(step: Step) -> float:
    """Seconds that the call itself reports."""
    return step()


@dataclass(frozen=True)
class Item:
    """One row of the table.

    build: (name of a side, batch) -> the step to be timed. Both sides compute the same; nothing that is not needed at every step
    is done in it. batch: of the full measurement. parts: how many equal parts a step has, the time is that of one.
    flop, bytes: floating-point operations, or bytes that must go through memory at least, in a step of the full batch.
    memory: whether peak memory is measured too. sides: which libraries have this item. clock: seconds of a step.
    """

    name: str
    build: Callable[[str, int], Step]
    batch: int = 1
    parts: int = 1
    flop: float | None = None
    bytes: float | None = None
    images: int | None = None
    memory: bool = False
    sides: tuple[str, ...] = (Ours.name, Torch.name)
    clock: Callable[[Step], float] = wall_clock


# -- single operations -----------------------------------------------------------------------------------------------

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Operation:
    """A function that both libraries have. call: (side, *inputs), the first an image batch or made of one.

    inputs: the shape of the images -> the shapes of all inputs. flop: of the forward, from the shape of the images; None: bound by
    memory, through which the forward goes twice (read x, write y) and the backward three times (read x and g, write dx).
    """

    call: Callable[..., Any]
    inputs: Callable[[Shape], list[tuple[int, ...]]] = lambda shape: [shape]
    flop: Callable[[Shape], float] | None = None


def _attention(side: Any, *tokens: Any) -> Any:
    """Of tokens as a network has them, (N, pixels, heads, 64) in memory."""
    return side.functional.scaled_dot_product_attention(*(side.swap(x, 1, 2) for x in tokens))


def _tokens(shape: Shape) -> list[tuple[int, ...]]:
    """Query, key and value of an image, in heads of 64."""
    n, c, height, width = shape
    return [(n, height * width, -(-c // 64), min(c, 64))] * 3


OPERATIONS = {
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
        bytes=4.0 * math.prod(shape) * (5 if backward else 2) if flop is None else None)


# -- networks --------------------------------------------------------------------------------------------------------


def _images(config: UNetConfig, batch: int) -> tuple[np.ndarray, ...]:
    """x_t, t, labels, noise."""
    draw = np.random.default_rng(0)
    shape = (batch, config.in_channels, config.sample_size, config.sample_size)
    return (draw.standard_normal(shape, np.float32), draw.integers(0, 1000, batch), draw.integers(0, config.null_label + 1, batch),
            draw.standard_normal(shape, np.float32))


def _training_step(config: UNetConfig) -> Callable[[str, int], Step]:
    """Forward, mean squared error, backward, AdamW."""
    def build(side_name: str, batch: int) -> Step:
        if side_name == Ours.name:
            model = UNet(config).train()
            parameters = FlatParameters(model)
            optimizer = AdamW(parameters, 1e-4)
            x, t, labels, noise = _images(config, batch)
            x, noise = tensor(x), tensor(noise)

            def step() -> None:
                F.mse_loss(model(x, t, labels), noise).backward()
                optimizer.step(parameters.take_gradient())

            return step

        import torch

        from .torch_unet import torch_unet

        peer = torch_unet(config).train()
        peer_optimizer = torch.optim.AdamW(peer.parameters(), 1e-4, fused=True)  # its fastest
        tensors = [torch.from_numpy(array) for array in _images(config, batch)]

        def peer_step() -> None:
            peer_optimizer.zero_grad()
            torch.nn.functional.mse_loss(peer(*tensors[:3]), tensors[3]).backward()
            peer_optimizer.step()

        return peer_step

    return build


def _sampling_step(config: UNetConfig, guidance_scale: float = 3.0, t: int = 500) -> Callable[[str, int], Step]:
    """A step of DDIM with classifier-free guidance: the network sees a batch of 2N. Nothing is recorded."""
    schedule = make_schedule("linear", 1000)

    def build(side_name: str, batch: int) -> Step:
        x, _, _, _ = _images(config, batch)
        labels = np.arange(batch) % config.null_label
        if side_name == Ours.name:
            model = UNet(config).eval()
            guided = classifier_free_guidance(model, labels, guidance_scale, config.null_label)

            def step() -> Any:
                with no_grad():
                    return sample(guided, schedule, x, [t], DDIM)

            return step

        import torch

        from .torch_unet import torch_unet

        peer = torch_unet(config).eval()
        image = torch.from_numpy(x)
        both = torch.from_numpy(np.concatenate([np.full_like(labels, config.null_label), labels]))
        signal, noise = float(schedule.sqrt_alphas_cumprod[t]), float(schedule.sqrt_one_minus_alphas_cumprod[t])

        @torch.no_grad()
        def peer_step() -> Any:
            times = torch.full((2 * batch,), t)
            unconditional, conditional = peer(torch.cat([image, image]), times, both).chunk(2)
            epsilon = unconditional + guidance_scale * (conditional - unconditional)
            start = (image - noise * epsilon) / signal
            return 1.0 * start + 0.0 * epsilon

        return peer_step

    return build


# -- the graph, the import -------------------------------------------------------------------------------------------


def _chain(nodes: int) -> Callable[[str, int], Step]:
    """h + 1 on 4 numbers, again and again, and back: what a node costs when the arithmetic costs nothing."""
    def build(side_name: str, batch: int) -> Step:
        x = SIDES[side_name]().tensor(np.zeros(4, np.float32)).requires_grad_()

        def step() -> None:
            h = x
            for _ in range(nodes):
                h = h + 1.0
            x.grad = None
            h.sum().backward()

        return step

    return build


def _import(modules: dict[str, str]) -> Callable[[str, int], Step]:
    """Seconds that the first import takes in a fresh process."""
    def build(side_name: str, batch: int) -> Step:
        program = f"import time; start = time.perf_counter(); import {modules[side_name]}; print(time.perf_counter() - start)"
        return lambda: float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)

    return build


# -- the list --------------------------------------------------------------------------------------------------------


def items(quick: bool = False) -> list[Item]:
    """All items; quick: the same at sizes that only show that everything works."""
    shapes: list[Shape] = [(2, 8, 8, 8)] if quick else [(64, 64, 28, 28), (64, 128, 14, 14), (64, 256, 7, 7)]
    batch = 2 if quick else 64
    found = [operation_item("conv2d 3x3", shape, backward=False, memory=False) for shape in shapes]
    found += [operation_item(name, shape, backward=True, memory=not quick) for name in OPERATIONS for shape in shapes]
    for name in ("ddpm", "course"):
        small = {"sample_size": 8, "block_out_channels": (8, 16), "norm_num_groups": 4} if quick else {}
        config = preset(name, num_classes=10, **small)
        described = f"{name}, batch {batch}, {config.sample_size}x{config.sample_size}"
        found += [Item(f"training step {described}", _training_step(config), batch, images=batch, memory=True),
                  Item(f"sampling step {described}", _sampling_step(config), batch, images=batch, memory=not quick)]
    nodes = 20 if quick else 1000
    found.append(Item(f"node in a chain of {nodes} additions", _chain(nodes), parts=nodes))
    found.append(Item("import", _import({Ours.name: "minidiff", Torch.name: "torch"}), clock=own_clock))
    found.append(Item("import numpy", _import({Ours.name: "numpy"}), sides=(Ours.name,), clock=own_clock))
    return found


def chosen(only: str | None, quick: bool) -> list[Item]:
    """The items whose name begins with `only` (all for None). Raises ValueError that lists the beginnings if there is none."""
    every = items(quick)
    found = [item for item in every if only is None or item.name.startswith(only)]
    if not found:
        beginnings = dict.fromkeys([*OPERATIONS, "training step", "sampling step", "node", "import"])
        raise ValueError(f"bench: no item begins with {only!r}; the items begin with {', '.join(beginnings)}")
    return found
