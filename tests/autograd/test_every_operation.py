"""Checkpoints and the debug mode over every operation's generated calls."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from operations import CASES
from operations.run import converted, flat, weights

from minidiff import functional as F
from minidiff.autograd import Tensor, checkpoint, detect_anomaly, gradient, tensor
from minidiff.random.replay import noted, replayed

DIFFERENTIABLE = [case for case in CASES if case.order]


def derived(case, call, function):
    """Values, gradients and, where there are, gradients of gradients, as arrays."""
    leaves = []

    def one(x, wanted):
        leaf = tensor(x, requires_grad=wanted)
        leaves.extend([leaf] * wanted)
        return leaf

    args, kwargs = converted(call, one)
    outputs = [out for out in flat(function(*args, **kwargs)) if isinstance(out, Tensor)]
    stages, current = list(outputs), [out for out in outputs if out.requires_grad]
    for order in range(min(case.order, 2)):
        if current:
            total = sum((out * tensor(weights(out.shape, out.dtype))).sum() for out in current)
            found = [g for g in gradient(total, leaves, create_graph=order + 1 < case.order, allow_unused=True) if g is not None]
            stages, current = stages + found, [g for g in found if g.requires_grad]
    return [x.data for x in stages]


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_computing_again_changes_no_bit(case):
    """Values and derivatives of both orders of the operation under a checkpoint; the same random numbers where there are any."""
    function = getattr(F, case.name)

    @settings(max_examples=case.share(5))
    @given(call=case.calls)
    def run(call):
        with noted() as draws:
            expected = derived(case, call, function)
        with replayed(draws):
            found = derived(case, call, lambda *args, **kwargs: checkpoint(function, *args, **kwargs))
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)

    run()


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_the_debug_mode_neither_cries_wolf_nor_sleeps(case):
    """No error where all values and derivatives are finite; an error where one is NaN. (NaN inside, of empty arrays, may go either way.)"""
    function = getattr(F, case.name)

    @settings(max_examples=case.share(5))
    @given(call=case.calls)
    def run(call):
        with noted() as draws, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            arrays = [x for x in derived(case, call, function) if x.dtype.kind == "f"]
        try:
            with replayed(draws), detect_anomaly():
                derived(case, call, function)
        except FloatingPointError as error:
            assert not all(np.isfinite(x).all() and x.size for x in arrays), error
        else:
            assert not any(np.isnan(x).any() for x in arrays)

    run()
