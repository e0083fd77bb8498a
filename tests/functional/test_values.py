"""Values by NumPy, SciPy or `math` where that is one line, and the law of batches.

    CASES[name] = [Case(call, inputs, expected), ...]

`call` takes the inputs, floating-point arrays; everything else stands inside it. What holds for every function, whatever its value, is in
`test_every_operation.py`; the brute-force values of the other families are in the file of the family.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.special

from minidiff import functional as F
from minidiff.autograd import tensor
from minidiff.random import Generator


class Case(NamedTuple):
    call: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    expected: Callable[..., Any] | None = None
    batched: int = 1  # so many of the inputs, from the first, have a batch as dimension 0, like the result; 0: there is no batch


def values(*shape, low=-2.0, high=2.0):
    """Distinct numbers without order, away from each other: no ties, no kinks near a finite difference."""
    n = math.prod(shape)
    return np.random.default_rng().permutation(np.linspace(low, high, n) if n > 1 else np.array([0.7 * high])).reshape(shape)


X, Y = values(3, 4, high=1.9), values(3, 4, low=-1.7)
P = values(3, 4, low=0.3)  # positive
IMAGE, KERNEL = values(2, 4, 5, 4), values(6, 2, 3, 2)
ROWS, COLUMNS = np.array([2, 0, 2]), np.array([[1, 3], [0, 0], [2, 1]])
MASK = np.arange(12).reshape(3, 4) % 3 > 0


def numpy_gelu(x):
    return x * scipy.special.ndtr(x)


CASES = {
    # arithmetic and functions of one element
    "add": [Case(F.add, (X, Y), np.add, 2), Case(F.add, (X, Y[0]), np.add), Case(lambda x: F.add(x, 1.5), (X,), lambda x: x + 1.5)],
    "sub": [Case(F.sub, (X, Y), np.subtract, 2), Case(lambda y, x: F.sub(x, y), (X, Y[:, :1]), lambda y, x: x - y, 2)],
    "mul": [Case(F.mul, (X, Y), np.multiply, 2), Case(F.mul, (X[:, None], Y[0]), np.multiply)],
    "div": [Case(F.div, (X, P), np.divide, 2), Case(lambda x: F.div(2.0, x), (P,), lambda x: 2.0 / x)],
    "neg": [Case(F.neg, (X,), np.negative)],
    "pow": [Case(lambda x: F.pow(x, 3), (X,), lambda x: x**3), Case(lambda x: F.pow(x, -1.5), (P,), lambda x: x**-1.5),
            Case(lambda x: F.pow(x, 2), (X,), np.square), Case(lambda x: F.pow(x, 1), (X,), np.copy),
            Case(lambda x: F.pow(x, 0), (X,), np.ones_like)],
    "exp": [Case(F.exp, (X,), np.exp)],
    "log": [Case(F.log, (P,), np.log)],
    "sqrt": [Case(F.sqrt, (P,), np.sqrt)],
    "sin": [Case(F.sin, (X,), np.sin)],
    "cos": [Case(F.cos, (X,), np.cos)],
    "tanh": [Case(F.tanh, (X,), np.tanh)],
    "erf": [Case(F.erf, (X,), np.vectorize(math.erf))],
    "sigmoid": [Case(F.sigmoid, (X,), scipy.special.expit)],
    "abs": [Case(F.abs, (X,), np.abs)],
    "where": [Case(lambda x, y: F.where(MASK, x, y), (X, Y), lambda x, y: np.where(MASK, x, y), batched=0),
              Case(lambda x: F.where(MASK[0], x, 0.5), (X,), lambda x: np.where(MASK[0], x, 0.5))],
    "maximum": [Case(F.maximum, (X, Y), np.maximum, 2)],
    "minimum": [Case(F.minimum, (X, Y), np.minimum, 2)],
    "clamp": [Case(lambda x: F.clamp(x, -1.0, 0.95), (X,), lambda x: np.clip(x, -1.0, 0.95)),
              Case(lambda x: F.clamp(x, min=0.1), (X,), lambda x: np.maximum(x, 0.1)),
              Case(lambda x: F.clamp(x, max=0.1), (X,), lambda x: np.minimum(x, 0.1))],
    # activations
    "relu": [Case(F.relu, (X,), lambda x: np.maximum(x, 0))],
    "silu": [Case(F.silu, (X,), lambda x: x * scipy.special.expit(x))],
    "gelu": [Case(F.gelu, (X,), numpy_gelu), Case(lambda x: F.gelu(x, approximate="tanh"), (X,))],
    "softmax": [Case(lambda x: F.softmax(x, 1), (X,), lambda x: scipy.special.softmax(x, 1)),
                Case(lambda x: F.softmax(x, -2), (IMAGE,), lambda x: scipy.special.softmax(x, -2))],
    "log_softmax": [Case(lambda x: F.log_softmax(x, 1), (X,), lambda x: scipy.special.log_softmax(x, 1))],
    # reductions
    "sum": [Case(F.sum, (X,), np.sum, batched=0),
            Case(lambda x: F.sum(x, (1, -1), True), (IMAGE,), lambda x: x.sum((1, -1), keepdims=True))],
    "mean": [Case(F.mean, (X,), np.mean, batched=0), Case(lambda x: F.mean(x, -1), (X,), lambda x: x.mean(-1))],
    "var": [Case(F.var, (X,), lambda x: x.var(ddof=1), batched=0),
            Case(lambda x: F.var(x, 1, correction=0, keepdim=True), (X,), lambda x: x.var(1, keepdims=True))],
    "std": [Case(F.std, (X,), lambda x: x.std(ddof=1), batched=0),
            Case(lambda x: F.std(x, 1, correction=0.5), (X,), lambda x: x.std(1, ddof=0.5))],
    "amax": [Case(F.amax, (X,), np.max, batched=0), Case(lambda x: F.amax(x, (1, 3)), (IMAGE,), lambda x: x.max((1, 3)))],
    "amin": [Case(F.amin, (X,), np.min, batched=0), Case(lambda x: F.amin(x, 1, True), (X,), lambda x: x.min(1, keepdims=True))],
    "argmax": [Case(lambda x: F.argmax(x, 1), (X,), lambda x: x.argmax(1)), Case(F.argmax, (X,), np.argmax, batched=0)],
    "logsumexp": [Case(lambda x: F.logsumexp(x, 1), (X,), lambda x: scipy.special.logsumexp(x, 1)),
                  Case(lambda x: F.logsumexp(x, (1, 2), True), (IMAGE,), lambda x: scipy.special.logsumexp(x, (1, 2), keepdims=True))],
    # shapes
    "reshape": [Case(lambda x: F.reshape(x, (2, -1)), (X,), lambda x: x.reshape(2, 6), batched=0)],
    "flatten": [Case(lambda x: F.flatten(x, 1), (IMAGE,), lambda x: x.reshape(-1, 80)), Case(F.flatten, (X,), np.ravel, batched=0)],
    "permute": [Case(lambda x: F.permute(x, (0, 3, 1, -2)), (IMAGE,), lambda x: x.transpose(0, 3, 1, 2))],
    "transpose": [Case(lambda x: F.transpose(x, 1, -1), (IMAGE,), lambda x: x.swapaxes(1, -1))],
    "expand": [Case(lambda x: F.expand(x, (-1, 4, 3)), (X[:, None, :3],), lambda x: np.repeat(x, 4, 1)),
               Case(lambda x: F.expand(x, (2, 3, 4)), (X,), lambda x: np.stack([x, x]), batched=0)],
    "squeeze": [Case(lambda x: F.squeeze(x, 1), (X[:, None],), lambda x: x[:, 0]),
                Case(F.squeeze, (X[None, :, None],), np.squeeze, batched=0)],
    "unsqueeze": [Case(lambda x: F.unsqueeze(x, -1), (X,), lambda x: x[..., None])],
    "getitem": [Case(lambda x: F.getitem(x, (slice(None), slice(None, None, -2))), (X,), lambda x: x[:, ::-2]),
                Case(lambda x: F.getitem(x, ROWS), (X,), lambda x: x[ROWS], batched=0),
                Case(lambda x: F.getitem(x, (ROWS, ..., None, [1, 1, 3])), (X,), lambda x: x[ROWS, ..., None, [1, 1, 3]], batched=0),
                Case(lambda x: F.getitem(x, MASK), (X,), lambda x: x[MASK], batched=0)],
    "gather": [Case(lambda x: F.gather(x, 1, COLUMNS), (X,), lambda x: np.take_along_axis(x, COLUMNS, 1), batched=0)],
    "cat": [Case(lambda x, y: F.cat([x, y], 1), (X, Y[:, :2]), lambda x, y: np.concatenate([x, y], 1), 2),
            Case(lambda x: F.cat([x, x], -1), (X,), lambda x: np.concatenate([x, x], 1))],
    "stack": [Case(lambda x, y: F.stack([x, y], 1), (X, Y), lambda x, y: np.stack([x, y], 1), 2),
              Case(lambda x, y: F.stack([x, y], -1), (X, Y), lambda x, y: np.stack([x, y], -1), 2)],
    "split": [Case(lambda x: F.split(x, 3, 1), (X,), lambda x: np.split(x, [3], 1)),
              Case(lambda x: F.split(x, [1, 2, 1], -1), (X,), lambda x: np.split(x, [1, 3], 1))],
    "chunk": [Case(lambda x: F.chunk(x, 3, 1), (X,), lambda x: np.split(x, [2], 1))],
    "pad": [Case(lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), (IMAGE,),
                 lambda x: np.pad(x, ((0, 0), (0, 0), (0, 3), (1, 2)), constant_values=0.5)),
            Case(lambda x: F.pad(x, (-1, 1)), (X,), lambda x: np.pad(x[:, 1:], ((0, 0), (0, 1))))],
    "flip": [Case(lambda x: F.flip(x, (1, -1)), (IMAGE,), lambda x: x[:, ::-1, :, ::-1])],
    # matrices
    "matmul": [Case(F.matmul, (X, Y.T), np.matmul), Case(F.matmul, (values(3, 1, 2, 4), values(5, 4, 3)), np.matmul),
               Case(F.matmul, (X, Y[0]), np.matmul), Case(F.matmul, (Y[0], X.T), np.matmul, 0), Case(F.matmul, (X[0], Y[0]), np.matmul, 0)],
    "linear": [Case(F.linear, (X, values(2, 4), values(2)), lambda x, w, b: x @ w.T + b),
               Case(F.linear, (values(2, 3, 4), values(2, 4)), lambda x, w: x @ w.T)],
    # convolution and resampling; values in test_convolution.py and test_resampling.py
    "conv2d": [Case(lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2), (IMAGE, KERNEL, values(6))),
               Case(F.conv2d, (IMAGE, values(3, 4, 1, 1)))],
    "conv_transpose2d": [Case(lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 3), (1, 0), (1, 2), 2, (1, 2)),
                              (values(2, 4, 3, 2), values(4, 3, 3, 2), values(6))),
                         Case(lambda x, w: F.conv_transpose2d(x, w, None, 1, 0, (2, 1), 1, 3), (values(2, 2, 3, 2), values(2, 1, 1, 2)))],
    "max_pool2d": [Case(lambda x: F.max_pool2d(x, 2), (IMAGE,)), Case(lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1)), (IMAGE,))],
    "avg_pool2d": [Case(lambda x: F.avg_pool2d(x, 2), (IMAGE,)), Case(lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 1)), (IMAGE,))],
    "interpolate": [Case(lambda x: F.interpolate(x, scale_factor=2), (IMAGE,), lambda x: x.repeat(2, 2).repeat(2, 3)),
                    Case(lambda x: F.interpolate(x, (5, 12)), (IMAGE,), lambda x: x.repeat(3, 3))],
    "rearrange": [Case(lambda x: F.rearrange(x, "b c h (w p) -> b (p c) h w", p=2), (IMAGE,))],
    # normalization, attention, losses
    "group_norm": [Case(lambda x, w, b: F.group_norm(x, 2, w, b), (IMAGE, values(4), values(4))),
                   Case(lambda x: F.group_norm(x, 4), (IMAGE,)),
                   Case(lambda x: F.group_norm(x, 2, eps=0.1), (values(3, 4),))],
    "scaled_dot_product_attention": [Case(F.scaled_dot_product_attention, (values(2, 3, 5), values(2, 4, 5), values(2, 4, 3)), batched=3),
                                     Case(lambda q: F.scaled_dot_product_attention(q, q, q, attn_mask=MASK[:, :3], scale=0.3),
                                          (values(2, 3, 4),))],
    "mse_loss": [Case(F.mse_loss, (X, Y), lambda x, y: np.square(x - y).mean(), batched=0),
                 Case(lambda x, y: F.mse_loss(x, y, reduction="none"), (X, Y), lambda x, y: np.square(x - y), 2),
                 Case(lambda x, y: F.mse_loss(x, y, reduction="sum"), (X, Y), lambda x, y: np.square(x - y).sum(), batched=0)],
    "cross_entropy": [Case(lambda x: F.cross_entropy(x, ROWS), (X,),
                           lambda x: -scipy.special.log_softmax(x, 1)[range(3), ROWS].mean(), batched=0),
                      Case(lambda x: F.cross_entropy(x, ROWS, reduction="none"), (X,),
                           lambda x: -scipy.special.log_softmax(x, 1)[range(3), ROWS], batched=0)],
    # tables and chance
    "embedding": [Case(lambda w: F.embedding(COLUMNS, w), (values(4, 3),), lambda w: w[COLUMNS], batched=0)],
    "one_hot": [Case(lambda: F.one_hot(COLUMNS, 5), (), lambda: np.eye(5, dtype=np.int64)[COLUMNS], batched=0)],
    "timestep_embedding": [Case(lambda: F.timestep_embedding(ROWS, 6), (), batched=0)],
    "dropout": [Case(lambda x: F.dropout(x, 0.4, generator=Generator(7)), (X,), batched=0),
                Case(lambda x: F.dropout(x, 0.4, training=False), (X,), np.copy)],
}
ALL = [pytest.param(case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)]


def outputs_of(result):
    """The result of a call as a list of its outputs."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


@pytest.mark.parametrize("case", [p for p in ALL if p.values[0].expected])
def test_values_are_those_of_numpy(case):
    """To the last digits in float64."""
    found, expected = outputs_of(case.call(*case.inputs)), outputs_of(case.expected(*case.inputs))
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("case", [p for p in ALL if p.values[0].batched])
@pytest.mark.parametrize("size", [0, 1])
def test_a_batch_is_its_samples_side_by_side(case, size):
    """The first `size` samples alone (none, or one) give the first `size` results."""
    whole = outputs_of(case.call(*case.inputs))
    inputs = [tensor(x[:size] if i < case.batched else x, requires_grad=True) for i, x in enumerate(case.inputs)]
    for a, b in zip(outputs_of(case.call(*inputs)), whole):
        assert a.shape == (size, *b.shape[1:])
        np.testing.assert_allclose(a.data, b[:size], rtol=1e-12, atol=1e-14)
