"""Classifier-free guidance: one network that knows the conditional and the unconditional answer.

In training its context is dropped now and then (`bernoulli_drop`); in sampling both answers are asked for and their
difference is enlarged (`classifier_free_guidance`). Stands on `arrays`; the result is a model for `samplers.sample`.
Read `classifier` next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff.backend import asarray, device_of, is_foreign, to_array, to_numpy
from minidiff.diffusion.arrays import apply, check_alike, check_batch, check_generator, check_numbers, concatenate, is_tensor, namespace
from minidiff.diffusion.samplers.walk import Model

__all__ = ["bernoulli_drop", "classifier_free_guidance", "guidance_scale_from_weight", "rescale_guidance"]


def bernoulli_drop(labels: Any, null_label: int, probability: float, generator: Any) -> np.ndarray:
    """Replace each label by the null label with the given probability, independently.

        label_n <- null_label if u_n < probability else label_n,   u_n ~ U[0, 1)         Ho & Salimans 2022, Algorithm 1

    labels: (N,) integers on the host. null_label: an int, the label that means "no condition". probability: in [0, 1],
    usually 0.1 to 0.2. generator: has random(size), uniform in [0, 1). Returns a new (N,) array of labels; N numbers
    are drawn whatever the probability.
    Raises ValueError for a probability outside [0, 1], labels that are not 1-D, or a null_label that their dtype cannot hold;
    TypeError for labels or a null_label that are not integers.
    """
    labels = np.asarray(labels)
    check_numbers("bernoulli_drop", probability=probability)
    if not 0 <= probability <= 1:
        raise ValueError(f"bernoulli_drop: expected a probability between 0 and 1, got {probability}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"bernoulli_drop: expected integer labels, got dtype {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"bernoulli_drop: expected labels of shape (N,), got {labels.shape}")
    _check_null_label("bernoulli_drop", null_label, labels.dtype)
    check_generator("bernoulli_drop", generator, "random")
    dropped = to_numpy(generator.random(labels.shape)) < probability
    return np.where(dropped, null_label, labels).astype(labels.dtype)


def guidance_scale_from_weight(weight: float) -> float:
    """s = 1 + w, from the paper's w to the scale of everybody's code.

        (1 + w) e_c - w e_u  =  e_u + s (e_c - e_u)                                      Ho & Salimans 2022, Eq. 6

    w = 0 is the plain conditional model. The w of Imagen and of EDM2 is already s. Raises TypeError for what is no number.
    """
    check_numbers("guidance_scale_from_weight", weight=weight)
    return 1 + weight


def rescale_guidance(guided: Any, conditional: Any, guidance_rescale: float) -> Any:
    """Give a guided answer back, wholly or in part, the contrast of the conditional one.

        e' = phi (std(e_c) / std(e)) e + (1 - phi) e                                     Lin et al. 2023, Section 3.4

    The standard deviations are each sample's own, over all its elements; whether they divide by n or by n - 1 does not
    matter to their ratio. phi = guidance_rescale, in [0, 1]; the paper takes 0.7. guided, conditional: (N, ...), alike, more than
    one element a sample. Returns an array like guided. Raises ValueError for another phi, or for samples of a single element.
    """
    check_numbers("rescale_guidance", guidance_rescale=guidance_rescale)
    check_batch("rescale_guidance", guided, "guided")
    if not 0 <= guidance_rescale <= 1:
        raise ValueError(f"rescale_guidance: expected guidance_rescale between 0 and 1, got {guidance_rescale}")
    check_alike("rescale_guidance", guided=guided, conditional=conditional)
    if math.prod(guided.shape[1:]) < 2:
        raise ValueError(f"rescale_guidance: expected several elements a sample, to take a standard deviation; got {tuple(guided.shape)}")
    ratio = _std_of_each(conditional) / _std_of_each(guided)
    return guided * (guidance_rescale * ratio + (1 - guidance_rescale))


def _std_of_each(x: Any) -> Any:
    """The standard deviation of each sample's elements: (N, 1, ..., 1)."""
    flat = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    centred = flat - flat.mean(axis=1, keepdims=True)
    return apply("sqrt", (centred * centred).mean(axis=1)).reshape((x.shape[0],) + (1,) * (len(x.shape) - 1))


def classifier_free_guidance(
    model: Callable[[Any, Any, Any], Any], context: Any, guidance_scale: float, null_context: Any, guidance_rescale: float = 0.0
) -> Model:
    """A model (x, t) -> array that leans towards a context, from a model (x, t, context) -> array.

        e = e_u + s (e_c - e_u),   e_c = model(x, t, context),   e_u = model(x, t, null_context)

    s = guidance_scale: 0 is unconditional, 1 conditional, more than 1 exaggerates the condition. Ho & Salimans 2022,
    Eq. 6, write (1 + w) e_c - w e_u, the same with s = 1 + w (`guidance_scale_from_weight`). Both answers come from one call with a
    batch of 2N, unconditional half first. Guiding epsilon, x_0, v or the score is the same: each is an affine function of the
    others at x_t. Where the two scores are those of p(x_t) and p(x_t | c), e stands for the score of p(x_t) p(c | x_t)^s; in general
    these are not the noised versions of one distribution, so samples drawn with s > 1 do not follow p(x_0) p(c | x_0)^s.

    context: (N, ...), one entry for each of the batch (labels: host integers; embeddings: floats; arrays of the model's library).
    null_context: one entry, of shape context.shape[1:] (an int for labels), or (N, ...). A negative prompt is a null_context.
    guidance_rescale: see `rescale_guidance`. It is applied to what the model answers with, and so, alone of all this, has another effect
    on epsilon than on v (which is what Lin et al. rescale) or x_0.
    Raises ValueError for a null_context or a scale that does not fit, and, when called, for a batch that is not N and for an answer that
    is not (2N, ...).
    """
    check_numbers("classifier_free_guidance", guidance_scale=guidance_scale, guidance_rescale=guidance_rescale)
    if not math.isfinite(guidance_scale):
        raise ValueError(f"classifier_free_guidance: expected a finite guidance_scale, got {guidance_scale}")
    if not 0 <= guidance_rescale <= 1:
        raise ValueError(f"classifier_free_guidance: expected guidance_rescale between 0 and 1, got {guidance_rescale}")
    both_contexts = _both(context, null_context)
    count = both_contexts.shape[0] // 2

    def guided(x: Any, t: Any) -> Any:
        check_batch("classifier_free_guidance", x)
        n = x.shape[0]
        if n != count:
            raise ValueError(f"classifier_free_guidance: expected a batch of {count}, one for each context, got {n}")
        twice = _tiled_twice(x)
        if tuple(getattr(t, "shape", np.shape(t))) != (n,):
            raise ValueError(f"classifier_free_guidance: expected times of shape ({n},), one for each of the batch, got {t!r}")
        output = model(twice, concatenate([t, t]), both_contexts)
        output = output if is_tensor(x) else to_array(output)
        check_alike("classifier_free_guidance", x_twice=twice, model_output=output)
        unconditional, conditional = output[:n], output[n:]
        answer = unconditional + guidance_scale * (conditional - unconditional)
        return rescale_guidance(answer, conditional, guidance_rescale) if guidance_rescale else answer

    return guided


def _check_null_label(where: str, null_label: Any, dtype: np.dtype) -> None:
    """Refuse a null label that becomes another one in the labels' dtype."""
    if not isinstance(null_label, (int, np.integer)) or isinstance(null_label, bool):
        raise TypeError(f"{where}: expected the null label to be an int, as the labels are, got {null_label!r}")
    if not np.iinfo(dtype).min <= null_label <= np.iinfo(dtype).max:
        raise ValueError(f"{where}: the labels are {dtype}, which cannot hold the null label {null_label}; convert them to int64")


def _both(context: Any, null_context: Any) -> Any:
    """(2N, ...): the null context for each of the batch, then the contexts, in the contexts' library and dtype."""
    foreign = is_foreign(context)
    context = context if foreign else asarray(context)
    if context.ndim == 0:
        raise ValueError("classifier_free_guidance: expected a context of shape (N, ...), got a single number")
    xp = namespace(context)
    if "int" in str(context.dtype) and np.ndim(null_context) == 0 and not hasattr(null_context, "shape"):
        _check_null_label("classifier_free_guidance", null_context, np.dtype(str(context.dtype).rpartition(".")[2]))
    make = xp.asarray if foreign else asarray
    # What jax.jit traces is nowhere yet.
    null_context = make(null_context, device=getattr(context, "device", None) if foreign else device_of(context), dtype=context.dtype)
    if null_context.shape not in (context.shape, context.shape[1:]):
        raise ValueError(
            f"classifier_free_guidance: expected a null_context of shape {tuple(context.shape[1:])} or {tuple(context.shape)}, "
            f"got {tuple(null_context.shape)}"
        )
    return concatenate([xp.broadcast_to(null_context, context.shape), context])


def _tiled_twice(x: Any) -> Any:
    """The batch, and the batch again; a Tensor stays a Tensor, so that guided models can be differentiated."""
    repeats = (2,) + (1,) * (len(x.shape) - 1)
    return x.tile(repeats) if is_tensor(x) else namespace(x).tile(x, repeats)
