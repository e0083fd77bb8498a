"""Losses. Names, arguments and reductions are `torch.nn.functional`'s.

PyTorch's deprecated `size_average` and `reduce` keep their places among the arguments, and are refused. Input and target must have the
same shape: PyTorch broadcasts them, with a warning.
"""

from __future__ import annotations

import math

import numpy as np

from minidiff import backend
from minidiff.autograd import operation
from minidiff.autograd.operation import elementwise
from minidiff.autograd.promotion import result_type

from .activation import log1pexp, log_softmax
from .door import must_be_arrays, must_be_real
from .elementwise import abs, clamp, eq, exp, log, log1p, maximum, where
from .indexing import gather
from .precision import narrow, wide
from .reduction import mean, sum
from .shape import reshape, squeeze

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "kl_div", "l1_loss", "mse_loss", "nll_loss",
    "smooth_l1_loss",
]


def _must_be_unset(name, size_average, reduce):
    if size_average is not None or reduce is not None:
        given = f"size_average={size_average!r}" if size_average is not None else f"reduce={reduce!r}"
        raise TypeError(f"{name}: {given} is deprecated in PyTorch and not offered; say reduction='mean', 'sum' or 'none'")


def _reduced(name, losses, reduction, dtype, weight=None):
    """The losses, their sum, or their mean: the sum divided by their number, or by the sum of the `weight` that is in them already."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction={reduction!r}; expected 'mean', 'sum' or 'none'")
    if reduction == "mean" and weight is not None:
        whole = sum(weight)
        losses = sum(losses) / where(eq(whole, 0.0), math.nan, whole)  # of nothing: NaN, without NumPy's warning
    elif reduction != "none":
        losses = mean(losses) if reduction == "mean" else sum(losses)
    return narrow(losses, dtype)


def _floating_pair(name, input, target):
    """Input and target, at least float32, and the dtype of the result. Raises ValueError unless their shapes are the same."""
    must_be_arrays(name, input=input, target=target)
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(f"{name}: input has shape {tuple(input.shape)}, target {tuple(target.shape)}; they must be the same")
    dtype = result_type(input, target)
    if dtype.kind != "f":
        must_be_real(name, input=input)
    return wide(narrow(input, dtype)), wide(narrow(target, dtype)), dtype


# -- numbers against numbers -----------------------------------------------------------------------------------------


def _of_difference(name, loss, input, target, reduction, weight=None, weighted_mean=True):
    """loss(input - target), times the weight if there is one; in a weighted mean they are divided by the sum of the weights."""
    input, target, dtype = _floating_pair(name, input, target)
    losses = loss(input - target)
    if weight is not None:
        if tuple(weight.shape) != tuple(input.shape):
            raise ValueError(f"{name}: weight has shape {tuple(weight.shape)}, input {tuple(input.shape)}; they must be the same")
        losses = losses * wide(weight)
    return _reduced(name, losses, reduction, dtype, wide(weight) if weighted_mean and weight is not None else None)


def _huber(xp, input, *, delta):
    size = xp.abs(input)
    near = xp.minimum(size, delta)
    return near * (size - 0.5 * near)


huber = operation(_huber, "d^2 / 2 where |d| < delta, else delta (|d| - delta / 2).",
                  input=lambda g, input, delta: g * clamp(input, -delta, delta))


def mse_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None):
    """(x - y)^2, averaged over all elements (or "sum", "none").

    weight: a factor for each element; the mean is then divided by their sum. input, target, weight: the same shape; ValueError otherwise.
    """
    _must_be_unset("mse_loss", size_average, reduce)
    return _of_difference("mse_loss", lambda d: d * d, input, target, reduction, weight)


def l1_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None):
    """|x - y|, with the options of `mse_loss`."""
    _must_be_unset("l1_loss", size_average, reduce)
    return _of_difference("l1_loss", abs, input, target, reduction, weight)


def huber_loss(input, target, reduction: str = "mean", delta: float = 1.0, weight=None):
    """d^2 / 2 where |d| < delta, else delta (|d| - delta / 2), d = x - y          Huber 1964

    The other options as in `mse_loss`, but the mean is divided by the number of elements, with a weight too, as in torch.
    Raises ValueError unless delta is positive.
    """
    if delta <= 0.0:
        raise ValueError(f"huber_loss: delta={delta}; expected a positive number")
    return _of_difference("huber_loss", lambda d: huber(d, delta=delta), input, target, reduction, weight, weighted_mean=False)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", beta: float = 1.0):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, d = x - y             Girshick 2015, Eq. 3. beta 0 is `l1_loss`.

    Raises ValueError for a negative beta.
    """
    _must_be_unset("smooth_l1_loss", size_average, reduce)
    if beta < 0.0:
        raise ValueError(f"smooth_l1_loss: beta={beta}; expected at least 0")
    loss = abs if beta == 0.0 else lambda d: huber(d, delta=beta) * (1.0 / beta)
    return _of_difference("smooth_l1_loss", loss, input, target, reduction)


# -- classes ---------------------------------------------------------------------------------------------------------


def _class_weight(name, input, weight, dim):
    """Weights of the classes in the shape in which they meet the input, (C, 1, ...); None stays None."""
    if weight is None:
        return None
    if tuple(weight.shape) != (input.shape[dim],):
        raise ValueError(f"{name}: weight of shape {tuple(weight.shape)}; an input of shape {tuple(input.shape)} "
                         f"asks for one number for each of {input.shape[dim]} classes")
    return reshape(wide(weight), (-1, *(1,) * (len(input.shape) - dim - 1)))


def _class_dimension(name, input, target):
    """0 for one sample, else 1; TypeError or ValueError for what has no classes."""
    must_be_arrays(name, target=target)
    must_be_real(name, input=input)
    if not input.shape:
        raise ValueError(f"{name}: expected an input (N, classes, ...) or (classes,), got one number")
    return 0 if len(input.shape) == 1 else 1


def _by_class(name, log_probabilities, target, weight, ignore_index, reduction, dtype, smoothing=0.0):
    """-log p of each target's class, times the class's weight; 0 where the target is `ignore_index`.

    smoothing: this part of each loss is the mean over all classes of -log p times weight. The mean is divided by the sum of the weights
    of the targets that are not ignored.
    """
    dim = _class_dimension(name, log_probabilities, target)
    per_class = _class_weight(name, log_probabilities, weight, dim)
    labels, shape = backend.to_array(target), tuple(log_probabilities.shape)
    expected, classes = shape[:dim] + shape[dim + 1:], shape[dim]
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer classes, got {labels.dtype}")
    if tuple(labels.shape) != expected:
        raise ValueError(f"{name}: input of shape {shape} and target of shape {tuple(labels.shape)}; expected a target {expected}")
    labels = backend.asarray(labels, backend.device_of(log_probabilities))
    counted = labels != ignore_index
    if isinstance(labels, np.ndarray) and counted.any():
        least, most = labels[counted].min(), labels[counted].max()
        if not (0 <= least and most < classes):
            raise IndexError(f"{name}: classes from {least} to {most}; the input has classes 0 to {classes - 1}")
    labels = labels * counted
    picked = squeeze(gather(log_probabilities, dim, labels[(slice(None),) * dim + (None,)]), dim)
    counted = counted.astype(log_probabilities.dtype)
    share = counted if weight is None else wide(weight)[labels] * counted
    losses = where(eq(counted, 0.0), 0.0, -picked * share)
    if smoothing:
        everywhere = sum(log_probabilities if per_class is None else log_probabilities * per_class, dim)
        losses = (1.0 - smoothing) * losses - (smoothing / classes) * where(eq(counted, 0.0), 0.0, everywhere)
    return _reduced(name, losses, reduction, dtype, share)


def nll_loss(input, target, weight=None, size_average=None, ignore_index: int = -100, reduce=None, reduction: str = "mean"):
    """-weight[y] x[y], the negative log-likelihood of the classes y given their log-probabilities x.

    The mean is divided by the sum of weight[y]. A target of ignore_index counts nowhere.
    Shapes: input (N, C, ...) or (C,), target (N, ...) or () of integers in [0, C), weight (C,).
    Raises ValueError when the shapes do not fit, IndexError for a class out of range, TypeError unless targets are integers.
    """
    _must_be_unset("nll_loss", size_average, reduce)
    _class_dimension("nll_loss", input, target)
    return _by_class("nll_loss", wide(input), target, weight, ignore_index, reduction, input.dtype)


def cross_entropy(
    input, target, weight=None, size_average=None, ignore_index: int = -100, reduce=None, reduction: str = "mean",
    label_smoothing: float = 0.0,
):
    """-sum_c q[c] weight[c] log softmax(x)[c], for q = 1 at the right class and 0 elsewhere, or for given probabilities q.

    label_smoothing s: q becomes (1 - s) q + s / C (Szegedy et al. 2016, Sec. 7). reduction: the mean is divided by the sum of
    weight[y] over the samples' classes y, for given probabilities by the number of samples. A target of ignore_index counts nowhere.
    Shapes: input (N, C, ...) or (C,) of unnormalized log-probabilities; target (N, ...) or () of integers in [0, C), or like the input
    of probabilities; weight (C,). Raises ValueError when the shapes do not fit or for an option out of range, IndexError for a class out
    of range, TypeError unless targets are integers or probabilities.
    """
    name = "cross_entropy"
    _must_be_unset(name, size_average, reduce)
    dim = _class_dimension(name, input, target)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{name}: label_smoothing={label_smoothing}; expected 0 to 1")
    logits = log_softmax(wide(input), dim)
    if target.dtype.kind != "f" or tuple(target.shape) == tuple(input.shape[:dim] + input.shape[dim + 1:]):
        return _by_class(name, logits, target, weight, ignore_index, reduction, input.dtype, label_smoothing)
    _, q, dtype = _floating_pair(name, input, target)
    if ignore_index >= 0:
        raise ValueError(f"{name}: ignore_index={ignore_index} means nothing for a target of probabilities; leave it out")
    q = q if label_smoothing == 0.0 else q * (1.0 - label_smoothing) + label_smoothing / input.shape[dim]
    per_class = _class_weight(name, input, weight, dim)
    return _reduced(name, -sum(q * logits if per_class is None else q * logits * per_class, dim), reduction, dtype)


# -- probabilities ---------------------------------------------------------------------------------------------------


def _must_broadcast(name, input, **factors):
    for what, x in factors.items():
        if x is not None:
            sizes = tuple(input.shape[len(input.shape) - len(x.shape):])
            if len(x.shape) > len(input.shape) or any(n not in (1, m) for n, m in zip(x.shape, sizes)):
                raise ValueError(f"{name}: {what} of shape {tuple(x.shape)} does not broadcast to the input's {tuple(input.shape)}")


def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean", pos_weight=None,
):
    """-(pos_weight y log sigmoid(x) + (1 - y) log(1 - sigmoid(x))) weight, whose logarithms are -log(1 + exp(-x)) and -log(1 + exp(x)).

    No term cancels another, so it is exact to rounding at any x.
    The mean is over all elements. Shapes: target like input; weight and pos_weight broadcast to it. Raises ValueError otherwise,
    TypeError unless all are floating point.
    """
    name = "binary_cross_entropy_with_logits"
    _must_be_unset(name, size_average, reduce)
    must_be_real(name, input=input, target=target)
    x, y, dtype = _floating_pair(name, input, target)
    _must_broadcast(name, input, weight=weight, pos_weight=pos_weight)
    positive = y if pos_weight is None else y * wide(pos_weight)
    losses = positive * log1pexp(-x) + (1.0 - y) * log1pexp(x)
    return _reduced(name, losses if weight is None else losses * wide(weight), reduction, dtype)


def _surprise(xp, input, target):
    log_one = xp.maximum(xp.log(xp.maximum(input, np.finfo(input.dtype).smallest_subnormal)), -100.0)
    certain = input == 1.0
    log_zero = xp.where(certain, -100.0, xp.log1p(-xp.where(certain, 0.0, input)))
    return -(target * log_one + (1.0 - target) * log_zero)


surprise = elementwise(_surprise, "-(y log x + (1 - y) log(1 - x)), logarithms at least -100, as in torch.",
                       input=lambda g, input, target: g * (input - target) / maximum(input * (1.0 - input), 1e-12),
                       target=lambda g, input: g * (log1p(-input) - log(input)))


def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean"):
    """-(y log x + (1 - y) log(1 - x)) weight, logarithms cut off at -100 as in torch. `binary_cross_entropy_with_logits` is safer.

    The mean is over all elements. Shapes: target like input; weight broadcasts to it. Raises ValueError otherwise, or for
    an input or target outside [0, 1] (on the host), TypeError unless all are floating point.
    """
    name = "binary_cross_entropy"
    _must_be_unset(name, size_average, reduce)
    must_be_real(name, input=input, target=target)
    x, y, dtype = _floating_pair(name, input, target)
    _must_broadcast(name, input, weight=weight)
    for what, values in (("input", backend.to_array(input)), ("target", backend.to_array(target))):
        if isinstance(values, np.ndarray) and values.size and not (0.0 <= values.min() and values.max() <= 1.0):
            raise ValueError(f"{name}: {what} from {values.min()} to {values.max()}; expected probabilities, 0 to 1")
    losses = surprise(x, y)
    return _reduced(name, losses if weight is None else losses * wide(weight), reduction, dtype)


def kl_div(input, target, size_average=None, reduce=None, reduction: str = "mean", log_target: bool = False):
    """y (log y - x), the terms of the Kullback-Leibler divergence of y from exp(x): input holds log-probabilities, target probabilities.

    log_target: the target holds log-probabilities too. reduction: "mean" is over all elements; "batchmean" is the sum divided by the
    size of the first dimension, which is the divergence. input, target: the same shape; ValueError otherwise.
    """
    _must_be_unset("kl_div", size_average, reduce)
    x, y, dtype = _floating_pair("kl_div", input, target)
    losses = exp(y) * (y - x) if log_target else y * log(where(eq(y, 0.0), 1.0, y)) - y * x
    if reduction != "batchmean":
        return _reduced("kl_div", losses, reduction, dtype)
    samples = input.shape[0] if input.shape else 1
    return narrow(sum(losses) * (1.0 / samples if samples else math.nan), dtype)
