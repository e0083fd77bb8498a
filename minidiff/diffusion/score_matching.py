"""Fitting a score without knowing the density: three losses with the same minimum, grad log q.

The Fisher divergence E 1/2 ||s(x) - grad log q(x)||^2 needs the score that is sought. Integrated by parts it does not, but takes
the trace of the Jacobian of s (`implicit_score_matching`); the trace is a mean of v^T J v over random directions
(`sliced_score_matching`); and of noised data the score, given the clean data, is known (`denoising_score_matching`), which is
L_simple by another name. Stands on `autograd` for the derivatives and on `losses`. Read `flow_matching` next.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minidiff import autograd
from minidiff.diffusion.arrays import check_alike, check_batch, like
from minidiff.diffusion.lookup import times_within
from minidiff.diffusion.losses import Model, training_losses, weighted_mean
from minidiff.diffusion.process import Process

__all__ = ["denoising_score_matching", "implicit_score_matching", "sliced_score_matching"]

Score = Callable[[Any], Any]
"""A score: x (N, ...) -> like x, where the answer for one of the batch does not depend on the others."""
VectorJacobianProduct = Callable[[Score, Any, Any], tuple[Any, Any]]
"""(score, x, v) -> (score(x), v^T J): the signature of `autograd.vjp` and of `torch.autograd.functional.vjp`."""

VJP = partial(autograd.vjp, create_graph=True)


def denoising_score_matching(score: Model, process: Process, x_start: Any, t: Any, noise: Any, weight: Any = None) -> Any:
    """The distance to the score of the noised data given the clean data, which is known.

        E 1/2 w ||s(x_t, t) - grad log q(x_t | x_0)||^2,   grad log q(x_t | x_0) = -eps / sigma        Vincent 2011

    It differs from the distance to the score of q(x_t) by a constant, so it has the same minimum. weight: numbers, one or (N,); None is
    sigma^2 (Song & Ermon 2019), which makes it 1/2 ||eps' - eps||^2 for eps' = -sigma s: half of L_simple, summed over the dimensions.
    score: called as a model is. Otherwise as `simple_loss`. Returns a scalar: the mean over the batch of sums over the dimensions.
    Raises as `simple_loss`.
    """
    check_batch("denoising_score_matching", x_start, "x_start", of_something=True)
    if weight is None:
        times = times_within(process, t)
        weight = np.asarray(process.sigma(times)) ** 2
    losses = training_losses(score, process, x_start, t, noise, "score")
    return weighted_mean(losses, weight) * (_dimensions(x_start) / 2)


def implicit_score_matching(score: Score, x: Any, vjp: VectorJacobianProduct = VJP) -> Any:
    """Score matching with the trace of the Jacobian, exactly: one walk back for each dimension, so for few of them.

        E[ 1/2 ||s(x)||^2 + tr(ds/dx) ] = E 1/2 ||s - grad log q||^2 - E 1/2 ||grad log q||^2          Hyvarinen 2005, Theorem 1

    score: x (N, ...) -> like x. x: an array or a Tensor. The result can be differentiated with respect to what the score is made of. vjp:
    how derivatives are taken, for scores of another library: torch.autograd.functional.vjp with create_graph=True serves.
    Returns a scalar, the mean over the batch. Raises ValueError or TypeError for a score whose answer is not like x.
    """
    check_batch("implicit_score_matching", x, of_something=True)
    total = None
    for direction in np.eye(_dimensions(x)):
        v = like(np.broadcast_to(direction.reshape(x.shape[1:]), x.shape), x)
        s, product = _score_and_product("implicit_score_matching", score, x, v, vjp)
        total = (s * s).sum() / 2 + (product * v).sum() if total is None else total + (product * v).sum()
    return total / x.shape[0]


def sliced_score_matching(score: Score, x: Any, v: Any, variance_reduced: bool = True, vjp: VectorJacobianProduct = VJP) -> Any:
    """Score matching along random directions v: one walk back, whatever the number of dimensions.

        E[ v^T (ds/dx) v + 1/2 ||s||^2 ]         variance_reduced: the norm is taken exactly       Song et al. 2019
        E[ v^T (ds/dx) v + 1/2 (v^T s)^2 ]       otherwise                                         Song et al. 2019

    v: like x, independent of x with E[v v^T] = 1: signs of +-1, or standard normal. For every such v the expectation is that of
    `implicit_score_matching`. score, x, vjp: as there. Returns a scalar, the mean over the batch.
    Raises ValueError or TypeError for a v or a score's answer that is not like x.
    """
    check_batch("sliced_score_matching", x, of_something=True)
    check_alike("sliced_score_matching", x=x, v=v)
    s, product = _score_and_product("sliced_score_matching", score, x, v, vjp)
    along = (product * v).sum()
    if variance_reduced:
        return (along + (s * s).sum() / 2) / x.shape[0]
    slices = (s * v).reshape(x.shape[0], -1).sum(axis=1)
    return (along + (slices * slices).sum() / 2) / x.shape[0]


def _score_and_product(where: str, score: Score, x: Any, v: Any, vjp: VectorJacobianProduct) -> tuple[Any, Any]:
    def checked(x: Any) -> Any:
        s = score(x)
        check_alike(where, x=x, its_score=s)
        return s

    return vjp(checked, x, v)


def _dimensions(x: Any) -> int:
    return int(np.prod(x.shape[1:]))
