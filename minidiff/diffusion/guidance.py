"""Guidance: steering a sampler by a condition.

Classifier-free guidance needs one network that knows both the conditional and the unconditional answer. In training its
context is dropped now and then (`bernoulli_drop`); in sampling both answers are asked for and their difference is
enlarged (`classifier_free_guidance`). Stands on `minidiff.backend`; its result is a model for `samplers.sample`. Read
`exact` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.backend import array_module, asarray, device_of, to_array, to_numpy
from minidiff.diffusion.lookup import check_alike
from minidiff.diffusion.losses import Model


def bernoulli_drop(labels: Any, null_label: int, probability: float, generator: Any) -> np.ndarray:
    """Replace each label by the null label with the given probability, independently.

        label_n <- null_label if u_n < probability else label_n,   u_n ~ U[0, 1)         Ho & Salimans 2022, Algorithm 1

    labels: (N,) integers on the host. null_label: an int, the label that means "no condition". probability: in [0, 1],
    usually 0.1 to 0.2. generator: has random(size), uniform in [0, 1). Returns a new (N,) array of labels; N numbers
    are drawn whatever the probability.
    Raises ValueError for a probability outside [0, 1], or labels that are not 1-D;
    TypeError for labels that are not integers.
    """
    labels = np.asarray(labels)
    if not 0 <= probability <= 1:
        raise ValueError(f"bernoulli_drop: expected a probability between 0 and 1, got {probability}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"bernoulli_drop: expected integer labels, got dtype {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"bernoulli_drop: expected labels of shape (N,), got {labels.shape}")
    dropped = to_numpy(generator.random(labels.shape)) < probability
    return np.where(dropped, null_label, labels).astype(labels.dtype)


def classifier_free_guidance(
    model: Callable[[Any, np.ndarray, Any], Any], context: Any, guidance_scale: float, null_context: Any
) -> Model:
    """A model (x, t) -> array that leans towards a context, from a model (x, t, context) -> array.

        e = e_u + s (e_c - e_u),   e_c = model(x, t, context),   e_u = model(x, t, null_context)

    s = guidance_scale: 0 is unconditional, 1 conditional, more than 1 exaggerates the condition. Ho & Salimans 2022,
    Eq. 6, write (1 + w) e_c - w e_u, the same with s = 1 + w. Both answers come from one call with a batch of 2N,
    unconditional half first. Guiding epsilon, x_0 or v is the same: each is an affine function of the others at x_t.

    context: (N, ...), one entry for each of the batch (labels: host integers; embeddings: floats). null_context: one
    entry, of shape context.shape[1:] (an int for labels), or (N, ...). Raises ValueError for a null_context or a scale
    that does not fit, and, when called, for a batch that is not N and for an answer that is not (2N, ...).
    """
    if not math.isfinite(guidance_scale):
        raise ValueError(f"classifier_free_guidance: expected a finite guidance_scale, got {guidance_scale}")
    context = asarray(context)
    if context.ndim == 0:
        raise ValueError("classifier_free_guidance: expected a context of shape (N, ...), got a single number")
    null_context = asarray(null_context, device=device_of(context), dtype=context.dtype)
    if null_context.shape not in (context.shape, context.shape[1:]):
        raise ValueError(
            f"classifier_free_guidance: expected a null_context of shape {context.shape[1:]} or {context.shape}, "
            f"got {null_context.shape}"
        )
    xp = array_module(context)
    both_contexts = xp.concatenate([xp.broadcast_to(null_context, context.shape), context])

    def guided(x: Any, t: np.ndarray) -> Any:
        x = to_array(x)
        n = x.shape[0]
        if n != context.shape[0]:
            raise ValueError(
                f"classifier_free_guidance: expected a batch of {context.shape[0]}, one for each context, got {n}"
            )
        twice = array_module(x).concatenate([x, x])
        output = to_array(model(twice, np.concatenate([t, t]), both_contexts))
        check_alike("classifier_free_guidance", x_twice=twice, model_output=output)
        unconditional, conditional = output[:n], output[n:]
        return unconditional + guidance_scale * (conditional - unconditional)

    return guided
