"""Every operation on the stand-in for CuPy, over generated calls: the CPU's results and gradients, without bringing a value to the host."""

import itertools

import numpy as np
import pytest
import standin
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import CASES
from operations.run import as_dtype, converted, differentiated, flat, weights

from minidiff import backend
from minidiff import functional as F
from minidiff.autograd import Tensor, gradient, tensor


def run_on(device, case, call, second):
    """Values and gradients, as NumPy arrays."""
    leaves = []

    def one(x, wanted):
        leaf = tensor(x, device=device, requires_grad=wanted)
        leaves.extend([leaf] * wanted)
        return leaf

    args, kwargs = converted(call, one)
    standin.transfers.clear()
    outputs = flat(getattr(F, case.name)(*args, **kwargs))
    assert all(out.device == device for out in outputs if isinstance(out, Tensor))
    stages = list(outputs)
    current = [out for out in outputs if isinstance(out, Tensor) and out.requires_grad]
    for n in range(1 + second):
        if current:
            total = sum((out * tensor(weights(out.shape, out.dtype), device=device)).sum() for out in current)
            gradients = [g for g in gradient(total, leaves, create_graph=n < second, allow_unused=True) if g is not None]
            assert all(g.device == device for g in gradients)
            stages += gradients
            current = [g for g in gradients if g.requires_grad]
    assert case.waits or device == "cpu" or not standin.transfers, standin.transfers
    return [x.numpy() for x in stages]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_as_on_the_cpu(case):
    """Values, gradients and gradients of gradients."""

    @settings(max_examples=case.share(3))
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


@pytest.mark.parametrize("case", CASES, ids=str)
def test_arrays_of_two_devices_are_refused(case):
    """One input is left on the CPU: the error is ours and says what to do, from the depths of any function."""

    @settings(max_examples=3)
    @given(call=case.calls)
    def run(call):
        count = len(differentiated(call))
        if count < 2:
            return
        numbers = itertools.count()
        place = lambda wanted: "cpu" if wanted and next(numbers) == count - 1 else standin.LIBRARY.name
        args, kwargs = converted(call, lambda x, wanted: tensor(x, device=place(wanted)))
        with pytest.raises(backend.DeviceError, match="two devices in one operation"):
            getattr(F, case.name)(*args, **kwargs)

    run()
