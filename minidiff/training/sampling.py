"""`draw`: images from a trained U-Net, of what it is told.

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
from minidiff.models import UNet, UNetConfig
from minidiff.random import Generator

FAST_STEPS = 50  # of every sampler but ddpm, unless asked otherwise


def draw(
    model: UNet, schedule: Schedule, context: Any, *, generator: Generator, count: int | None = None, null_context: Any = None,
    sampler: str = "ddpm", steps: int | None = None, eta: float | None = None, guidance: float = 1.0, prediction_type: str = "epsilon",
    batch_size: int = 100, clip: bool = True, timestep_spacing: str = "trailing",
    callback: Callable[[int, int, Any, Any], None] | None = None,
) -> np.ndarray:
    """Draw an image for each context: (N, C, H, W) floats in the model's dtype, on the host; in [-1, 1] if `clip`.

    model: in training or evaluation; it is left so. schedule, prediction_type: those it was trained with.
    context: what the model is told: labels, (N,) integers in [0, num_classes); embeddings (N, E); or tokens (N, L, D) (`contexts_of`). None
        for `count` images of nothing in particular; a model of texts needs null_context for it.
    null_context: what guidance leads away from, one for all (E,) or (L, D), or (N, ...): a negative prompt. None: no class, the zero
        vector; a model of texts needs one, the tokens of the empty text.
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
    context, null_context, number = _contexts(model, context, null_context, count, guidance)

    def network(x: Any, t: np.ndarray, context: Any) -> Any:
        """The model, batch after batch."""
        xp = backend.array_module(x)
        parts = [slice(start, start + batch_size) for start in range(0, len(t), batch_size)]
        return xp.concatenate([backend.to_array(model(x[part], t[part], None if context is None else context[part])) for part in parts])

    if null_context is None or guidance == 1.0:
        guided = lambda x, t: network(x, t, context)
    else:
        guided = classifier_free_guidance(network, context, guidance, null_context)
    x = generator.standard_normal((number, c.in_channels, c.sample_size, c.sample_size), model.conv_out.weight.dtype)
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


def _contexts(model: UNet, context: Any, null_context: Any, count: int | None, guidance: float) -> tuple[Any, Any, int]:
    """(context, null_context, number of images), checked; vectors and tokens on the model's device. A null_context of None: no guidance."""
    c, weight = model.config, model.conv_out.weight
    of_texts = c.cross_attention_dim is not None
    if of_texts and null_context is None and (context is None or guidance != 1.0):
        raise ValueError("draw: a model of texts has to be told what nothing is; give null_context, the tokens of the empty text")
    if context is None:
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"draw: without a context, count says how many images, at least 1; got {count!r}")
        if not of_texts:
            return None, None, count  # the network knows by itself what nothing is
        nothing = backend.to_numpy(null_context)
        context, null_context = (nothing if nothing.ndim == 3 else np.repeat(nothing[np.newaxis], count, axis=0)), None
    if c.num_classes is not None:
        context, nothing = _labels(c.num_classes, context), c.null_label
    else:
        context = backend.asarray(_vectors(c, context), weight.device, weight.dtype)
        nothing = None if of_texts else np.zeros(c.context_features)
    if count is not None and count != len(context):
        raise ValueError(f"draw: {len(context)} contexts, but count={count}; give one of them")
    return context, nothing if null_context is None else null_context, len(context)


def _labels(num_classes: int, labels: Any) -> np.ndarray:
    """Labels, checked: (N,) int64."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"draw: expected labels of shape (N,), N >= 1, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"draw: expected integer labels, got {labels.dtype}")
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if outside.size:
        raise ValueError(f"draw: class {outside[0]} does not exist; the classes are 0 to {num_classes - 1}")
    return labels.astype(np.int64)


def _vectors(config: UNetConfig, context: Any) -> np.ndarray:
    """Embeddings or tokens, checked, on the host."""
    if config.context_features is None and config.cross_attention_dim is None:
        raise ValueError("draw: labels were given, but this model has no classes; give None and count")
    dims, size = (2, config.context_features) if config.context_features is not None else (3, config.cross_attention_dim)
    context = backend.to_numpy(context)
    if context.ndim != dims or context.shape[-1] != size or not context.size or context.dtype.kind != "f":
        raise ValueError(f"draw: expected {'embeddings (N, ' if dims == 2 else 'tokens (N, L, '}{size}) of floats, got {context.dtype} "
                         f"of shape {context.shape}")
    return context


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
