"""All that is measured. An item builds, for one side and a batch size, a function to be timed; both sides do the same work.

Read `sides.py` and `operations.py` first. `items()` is the list.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff import functional as F
from minidiff import no_grad, tensor
from minidiff.diffusion import DDIM, classifier_free_guidance, make_schedule, sample
from minidiff.models import UNet, UNetConfig, preset
from minidiff.training.flat import FlatParameters
from minidiff.training.optimizer import AdamW

from .item import Item, Step, own_clock
from .operations import IN_EVERY_SIZE, OPERATIONS, Shape, operation_item
from .sides import SIDES, Ours, Torch

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
    """Seconds that the first import takes in a fresh process, from compiled files, which is what pip leaves behind."""
    def build(side_name: str, batch: int) -> Step:
        program = f"import time; start = time.perf_counter(); import {modules[side_name]}; print(time.perf_counter() - start)"
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        return lambda: float(
            subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout)

    return build


# -- the list --------------------------------------------------------------------------------------------------------


def items(quick: bool = False) -> list[Item]:
    """All items; quick: the same at sizes that only show that everything works."""
    shapes: list[Shape] = [(2, 8, 8, 8)] if quick else [(64, 64, 28, 28), (64, 128, 14, 14), (64, 256, 7, 7)]
    batch = 2 if quick else 64
    found = [operation_item("conv2d 3x3", shape, backward=False, memory=False) for shape in shapes]
    found += [operation_item(name, shape, backward=True, memory=not quick)
              for name in OPERATIONS for shape in (shapes if name in IN_EVERY_SIZE else shapes[:1])]
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
