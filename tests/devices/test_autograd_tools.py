"""Derivatives of functions, checkpoints, the debug mode, the profiler and the drawing on another device: the same as on the CPU."""

import numpy as np
import pytest
import standin

from minidiff import functional as F
from minidiff.autograd import (
    checkpoint,
    detect_anomaly,
    draw,
    gradient,
    hessian,
    hessian_vector_product,
    jacobian,
    jvp,
    profile,
    tensor,
    vjp,
)
from minidiff.random import Generator

DEVICES = ["standin", pytest.param("cuda", marks=pytest.mark.gpu)]

pytestmark = pytest.mark.parametrize("device", DEVICES)

X = np.array([[0.4, -1.2, 0.9], [1.7, 0.3, -0.6]])


def flat(results):
    return [x for result in results for x in flat(result)] if isinstance(results, tuple) else [results]


@pytest.mark.parametrize("derive", [
    lambda x: vjp(lambda u: F.exp(u) * u, x, F.sin(x)), lambda x: jvp(lambda u: F.softmax(u, -1), x, x),
    lambda x: hessian_vector_product(lambda u: (u * u * u).sum(), x, x), lambda x: jacobian(lambda u: (F.softmax(u, -1), u.sum()), (x,)),
    lambda x: hessian(lambda u: (u * u.sum()).sum(), x),
], ids=["vjp", "jvp", "hvp", "jacobian", "hessian"])
def test_derivatives_of_functions_are_those_of_the_cpu(derive, device):
    """And they stay where the inputs are."""
    found, expected = (flat(derive(tensor(X, device=where))) for where in (device, "cpu"))
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.device == device
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)


def test_a_checkpoint_waits_for_the_device_in_the_backward_pass_only(device):
    """The forward pass leaves its mark on the device; comparing it takes two numbers a result."""
    x, generator = tensor(X, requires_grad=True, device=device), Generator(1, device=device)
    standin.transfers.clear()
    y = checkpoint(lambda u: F.dropout(F.exp(u), 0.5, generator=generator), x).sum()
    assert not standin.transfers
    g = gradient(y, x)
    assert len(standin.transfers) == 2 * (device == "standin") and g.device == device
    kept = Generator(1).random(X.shape) >= 0.5
    np.testing.assert_allclose(g.numpy(), np.exp(X) * kept * 2.0, rtol=1e-6)


def test_anomalies_are_found_there_too(device):
    """Forward, backward, and what is meant."""
    x = tensor(np.maximum(X, 0.0), requires_grad=True, device=device)
    with pytest.raises(FloatingPointError, match=r"forward: -inf in 2 of 6 elements, the first at \(0, 1\)"), detect_anomaly():
        F.log(x)
    with pytest.raises(FloatingPointError, match=r"backward: inf in 2 of 6 .* in sqrt"), detect_anomaly():
        F.sqrt(x).sum().backward()
    with detect_anomaly():
        F.softmax(F.where(x > 0.0, x, -np.inf), -1).sum().backward()


def test_profile_and_drawing_do_not_look_at_values(device):
    """The same rows and the same picture as on the CPU, and nothing comes to the host."""
    rows, pictures = [], []
    for where in (device, "cpu"):
        x = tensor(X, requires_grad=True, device=where)
        standin.transfers.clear()
        with profile() as p:
            y = F.exp(x * x).sum()
            pictures.append(draw(y, {"x": x}))
            y.backward()
        rows.append(sorted((row.operation, row.part, row.calls, row.bytes) for row in p.rows))
        assert not standin.transfers
    assert rows[0] == rows[1] and pictures[0] == pictures[1]
