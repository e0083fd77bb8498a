"""Every operation against PyTorch over generated calls (`tests/operations`): values, gradients, gradients of gradients, refusals.

float64 agrees to 1e-12 of the scale of the result, float32 to rounding.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import CASES
from operations.run import as_dtype, converted, flat, weights

from minidiff import functional as F
from minidiff.autograd import Tensor, gradient, tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
PEERS = [case for case in CASES if not case.no_peer]


def peer(case):
    """The function that ours is compared with."""
    if case.theirs is not None:
        try:
            return case.theirs(torch)
        except ModuleNotFoundError as missing:
            pytest.skip(f"needs {missing.name}: pip install 'minidiff[peers]'")
    return getattr(torch.nn.functional, case.name, None) or getattr(torch, case.name)


def run_ours(case, call, order):
    leaves = []

    def one(x, wanted):
        leaf = tensor(x, requires_grad=wanted)
        leaves.extend([leaf] * wanted)
        return leaf

    args, kwargs = converted(call, one)
    outputs = flat(getattr(F, case.name)(*args, **kwargs))
    stages = [[out.numpy() for out in outputs]]
    current = [out for out in outputs if isinstance(out, Tensor) and out.requires_grad]
    for n in range(order):
        if not current or not leaves:
            break
        total = sum((out * weights(out.shape, out.dtype)).sum() for out in current)
        gradients = gradient(total, leaves, create_graph=n + 1 < order, allow_unused=True)
        stages.append([np.zeros(x.shape, x.dtype) if g is None else g.numpy() for x, g in zip(leaves, gradients)])
        current = [g for g in gradients if g is not None and g.requires_grad]
    return stages


def run_torch(case, call, order):
    leaves = []

    def one(x, wanted):
        leaf = torch.from_numpy(np.array(x)).requires_grad_(wanted)
        leaves.extend([leaf] * wanted)
        return leaf

    args, kwargs = converted(call, one)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        outputs = flat(peer(case)(*args, **kwargs))
    stages = [[out.detach().numpy() for out in outputs]]
    current = [out for out in outputs if out.requires_grad]
    for n in range(order):
        if not current or not leaves:
            break
        total = sum((out * torch.from_numpy(weights(out.shape, out.detach().numpy().dtype))).sum() for out in current)
        gradients = torch.autograd.grad(total, leaves, create_graph=n + 1 < order, allow_unused=True)
        stages.append([np.zeros(tuple(x.shape), x.detach().numpy().dtype) if g is None else g.detach().numpy()
                       for x, g in zip(leaves, gradients)])
        current = [g for g in gradients if g is not None and g.requires_grad]
    return stages


@pytest.mark.parametrize("case", PEERS, ids=str)
def test_the_same_as_in_pytorch(case):
    """Shapes, dtypes, values, first and second derivatives."""

    @settings(max_examples=case.share(1))
    @given(call=case.calls, dtype=st.sampled_from([np.float64, np.float32]))
    def run(call, dtype):
        call = as_dtype(call, dtype)
        order = min(case.order, case.peer_order)
        tolerance = case.tolerance if dtype is np.float64 else 2e-5
        ours, theirs = run_ours(case, call, order), run_torch(case, call, order)
        for n in range(max(len(ours), len(theirs))):
            found, expected = (stages[n] if n < len(stages) else None for stages in (ours, theirs))
            found = [np.zeros_like(x) for x in expected] if found is None else found  # a constant gradient may have no graph
            expected = [np.zeros_like(x) for x in found] if expected is None else expected
            assert len(found) == len(expected)
            for a, b in zip(found, expected):
                assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, b.shape, a.dtype, b.dtype)
                scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0)) if b.dtype.kind == "f" else 1.0
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale if b.dtype.kind == "f" else 0, err_msg=f"order {n}")

    run()


@pytest.mark.parametrize(("case", "number"), [(case, i) for case in PEERS for i in range(len(case.refused))],
                         ids=lambda value: str(value))
def test_pytorch_refuses_it_too(case, number):
    """The refusals are PyTorch's."""
    args, kwargs = converted(case.refused[number], lambda x, wanted: torch.from_numpy(np.array(x)))
    with pytest.raises((ValueError, TypeError, IndexError, RuntimeError, NotImplementedError, AssertionError)):
        peer(case)(*args, **kwargs)
