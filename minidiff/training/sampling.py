"""`draw`: images of the wanted classes from a trained U-Net.

It brings together what `minidiff.diffusion` keeps apart: the times to visit, the sampler, guidance, the model in batches.
Read `judge.py` next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.autograd import no_grad
from minidiff.diffusion import Ancestral, Schedule, classifier_free_guidance, member, sample, timesteps
from minidiff.models import UNet
from minidiff.random import Generator

FAST_STEPS = 50  # of every sampler but ddpm, unless asked otherwise


def draw(
    model: UNet, schedule: Schedule, labels: Sequence[int] | np.ndarray | None, *, generator: Generator, count: int | None = None,
    sampler: str = "ddpm", steps: int | None = None, eta: float | None = None, guidance: float = 1.0, prediction_type: str = "epsilon",
    batch_size: int = 100, clip: bool = True, timestep_spacing: str = "trailing",
    callback: Callable[[int, int, Any, Any], None] | None = None,
) -> np.ndarray:
    """Draw images of the given classes: (N, C, H, W) floats in the model's dtype, on the host; in [-1, 1] if `clip`.

    model: in training or evaluation; it is left so. schedule, prediction_type: those it was trained with.
    labels: (N,) integers in [0, num_classes); or None for `count` images of no class.
    generator: on the model's device; draws the noise of all images at once, at each step, so that an image does not depend
        on batch_size (but for rounding), which is how many images go through the network together.
    sampler: a name of `diffusion.SAMPLERS`: "ddpm" takes all T steps, the others 50, where `steps`, 1 to T, may say otherwise. eta: 0 to 1,
        for "ddpm" (1) and "ddim" (0) only, the share of fresh noise.
    guidance: classifier-free, see `diffusion.classifier_free_guidance`; 1 is the plain conditional model, one evaluation a step
        instead of two. clip: clip each predicted x_0 to [-1, 1].
    callback: called after each prediction as callback(i, t, x_t, x_start) with the whole (N, C, H, W), on the device.

    Raises ValueError for a class that does not exist, an unknown sampler, steps, eta or guidance out of range; TypeError for labels that
    are no integers; FloatingPointError for a model that answers with NaN.
    """
    backend.keep_freed_memory()
    c = model.config
    chosen = member(sampler)
    if eta is not None and not isinstance(chosen, Ancestral):
        raise ValueError(f"draw: eta={eta} with sampler={sampler!r}; eta belongs to ddpm and ddim")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"draw: batch_size={batch_size!r}; expected a whole number of at least 1")
    T = schedule.num_train_timesteps
    if steps is None:
        steps = default_steps(sampler, T)
    times = timesteps(T, steps, timestep_spacing)
    chosen = chosen if eta is None else Ancestral(eta=eta)
    labels, guidance = _labels_and_guidance(c.num_classes, labels, count, guidance)

    def network(x: Any, t: np.ndarray, context: np.ndarray | None) -> Any:
        """The model, batch after batch."""
        xp = backend.array_module(x)
        parts = [slice(start, start + batch_size) for start in range(0, len(t), batch_size)]
        return xp.concatenate([backend.to_array(model(x[part], t[part], None if context is None else context[part])) for part in parts])

    if guidance == 1.0:
        guided = lambda x, t: network(x, t, labels)
    else:
        guided = classifier_free_guidance(network, labels, guidance, c.null_label)
    weight = model.conv_out.weight
    number = count if labels is None else len(labels)
    x = generator.standard_normal((number, c.in_channels, c.sample_size, c.sample_size), weight.dtype)
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            x = sample(guided, schedule, x, times, chosen, generator=generator, prediction_type=prediction_type, clip_denoised=clip,
                       callback=callback)
    finally:
        model.train(was_training)
    return backend.to_numpy(x)


def default_steps(sampler: str, num_train_timesteps: int) -> int:
    """How many steps a sampler takes if nobody says."""
    return num_train_timesteps if sampler == "ddpm" else min(FAST_STEPS, num_train_timesteps)


def _labels_and_guidance(
    num_classes: int | None, labels: Sequence[int] | np.ndarray | None, count: int | None, guidance: float,
) -> tuple[np.ndarray | None, float]:
    """The labels, checked, and the guidance that is left to do: none where there is nothing to lean towards."""
    if labels is None:
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"draw: without labels, count says how many images, at least 1; got {count!r}")
        return None, 1.0
    labels = np.asarray(labels)
    if count is not None and count != labels.size:
        raise ValueError(f"draw: {labels.size} labels, but count={count}; give one of them")
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"draw: expected labels of shape (N,), N >= 1, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"draw: expected integer labels, got {labels.dtype}")
    if num_classes is None:
        raise ValueError("draw: labels were given, but this model has no classes; give labels=None and count")
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if outside.size:
        raise ValueError(f"draw: class {outside[0]} does not exist; the classes are 0 to {num_classes - 1}")
    return labels.astype(np.int64), guidance


def labels_of(classes: Sequence[str | int], class_names: Sequence[str]) -> np.ndarray:
    """The labels (N,) of classes that are given by name (whatever the case) or number: "bag", "8", 8.

    A name comes before a number, where classes are called by numbers. Raises ValueError that lists the classes for one that does not exist.
    """
    by_name = {name.casefold(): label for label, name in reversed(list(enumerate(class_names)))}
    by_number = {str(label): label for label in range(len(class_names))}
    labels = []
    for wanted in classes:
        key = str(wanted).strip().casefold()
        label = by_name.get(key, by_number.get(key))
        if label is None:
            known = ", ".join(f"{label} {name}" for label, name in enumerate(class_names)) or "none: this model has no classes"
            raise ValueError(f"class {wanted!r} does not exist; the classes are {known}")
        labels.append(label)
    return np.array(labels, dtype=np.int64)
