"""Every operation on the stand-in for CuPy, over generated calls: the results and gradients of the CPU, nothing left on the host."""

import numpy as np
import pytest
import standin
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import CASES
from operations.run import as_dtype, converted, flat

from minidiff import functional as F
from minidiff.autograd import Tensor, grad, tensor


def run_on(device, case, call, second):
    """Values and gradients, as NumPy arrays."""
    leaves = []

    def one(x, wanted):
        leaf = tensor(x, device=device, requires_grad=wanted)
        leaves.extend([leaf] * wanted)
        return leaf

    args, kwargs = converted(call, one)
    outputs = flat(getattr(F, case.name)(*args, **kwargs))
    assert all(out.device == device for out in outputs if isinstance(out, Tensor))
    stages = list(outputs)
    current = [out for out in outputs if isinstance(out, Tensor) and out.requires_grad]
    for n in range(1 + second):
        if current:
            gradients = [g for g in grad(sum((out * out).sum() for out in current), leaves, create_graph=n < second, allow_unused=True)
                         if g is not None]
            assert all(g.device == device for g in gradients)
            stages += gradients
            current = [g for g in gradients if g.requires_grad]
    return [x.numpy() for x in stages]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_as_on_the_cpu(case):
    """Values, gradients and gradients of gradients."""

    @settings(max_examples=max(3, case.examples // 3))
    @given(call=case.calls, dtype=st.sampled_from([np.float64, np.float32]), second=st.booleans())
    def run(call, dtype, second):
        call, second = as_dtype(call, dtype), second and case.order > 1
        found, expected = (run_on(device, case, call, second) for device in (standin.LIBRARY.name, "cpu"))
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert a.shape == b.shape and a.dtype == b.dtype
            if b.dtype.kind == "f":
                scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0))
                np.testing.assert_allclose(a, b, rtol=0, atol=scale * (1e-12 if b.dtype == np.float64 else 1e-5))
            else:
                np.testing.assert_array_equal(a, b)

    run()
