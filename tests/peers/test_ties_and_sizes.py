"""What the generated calls avoid: ties and corners, where the slope is a convention, and arrays as large as those of a network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import gradient, tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers


def compare(function, inputs, dtype=np.float64):
    """Value and gradients of function(F or torch's, *inputs): float64 to 1e-12 of the largest element; float32 to 2e-5, 200 roundings."""
    xs = [tensor(np.asarray(x, dtype), requires_grad=True) for x in inputs]
    ts = [torch.tensor(np.asarray(x, dtype), requires_grad=True) for x in inputs]
    ours, theirs = function(F, *xs), function(Peer, *ts)
    weights = np.cos(1.0 + np.arange(float(ours.data.size))).reshape(ours.shape).astype(dtype)
    pairs = [(ours, theirs), *zip(gradient(ours, xs, weights), torch.autograd.grad(theirs, ts, torch.tensor(weights)))]
    for x, t in pairs:
        t = t.detach().numpy()
        assert x.shape == t.shape and x.dtype == t.dtype
        np.testing.assert_allclose(x.numpy(), t, rtol=0, atol=(1e-12 if dtype == np.float64 else 2e-5) * max(1.0, np.abs(t).max()))


class _Peer:
    """torch.nn.functional and torch under one name, like `minidiff.functional`."""

    def __getattr__(self, name):
        return getattr(torch.nn.functional, name, None) or getattr(torch, name)


Peer = _Peer()
TIES = np.array([[0.0, 1.0, 1.0, -1.0], [2.0, 2.0, 2.0, 2.0], [-0.5, -0.5, 3.0, 0.5]])
AT_TIES = {
    "relu": lambda f, x: f.relu(x), "leaky_relu": lambda f, x: f.leaky_relu(x, 0.1), "abs": lambda f, x: f.abs(x),
    "clamp": lambda f, x: f.clamp(x, 0.0, 1.0), "clamp, one side": lambda f, x: f.clamp(x, max=1.0),
    "amax": lambda f, x: f.amax(x, 1), "amin": lambda f, x: f.amin(x, 1), "max of all": lambda f, x: f.max(x),
    "max along": lambda f, x: f.max(x, 1)[0], "min along": lambda f, x: f.min(x, 1)[0],
    "maximum": lambda f, x: f.maximum(x, f.flip(x, (0,))), "minimum": lambda f, x: f.minimum(x, f.flip(x, (0,))),
    "softplus": lambda f, x: f.softplus(x * 10, 2.0, 20.0), "max_pool1d": lambda f, x: f.max_pool1d(x, 2, 1),
    "l1_loss": lambda f, x: f.l1_loss(x, f.flip(x, (1,))), "huber_loss": lambda f, x: f.huber_loss(x, f.flip(x, (1,)), delta=0.5),
    "smooth_l1_loss": lambda f, x: f.smooth_l1_loss(x, f.flip(x, (1,))), "norm of zeros": lambda f, x: f.norm(x * 0.0, 2, 1),
    "std of equals": lambda f, x: f.std(x, 1)[1:2], "sqrt": lambda f, x: f.sqrt(f.abs(x) + 0.0)[1], "sign": lambda f, x: f.sign(x),
    "round": lambda f, x: f.round(x), "prod": lambda f, x: f.prod(x, 1), "cumprod": lambda f, x: f.cumprod(x, 1),
    "pow": lambda f, x: f.pow(x, 2.0), "pow 0": lambda f, x: f.pow(x, 0), "lerp": lambda f, x: f.lerp(x, f.flip(x, (0,)), 0.5),
}


@pytest.mark.parametrize("name", AT_TIES)
def test_slopes_at_ties_and_corners_are_pytorchs(name):
    """0 at the corner of relu and abs, shares at ties of maximum and amax, the first for max along a dimension, 1 at clamp's border ..."""
    compare(AT_TIES[name], [TIES])


SIZES = {  # (N, C): of a network's levels, where kernels, blocks and threads take over
    "conv2d 3x3": (lambda f, x, w: f.conv2d(x, w, padding=1), lambda n, c: [(n, c, 28, 28), (32, c, 3, 3)]),
    "conv2d strided": (lambda f, x, w: f.conv2d(x, w, stride=2, padding=1), lambda n, c: [(n, c, 28, 28), (16, c, 3, 3)]),
    "conv_transpose2d": (lambda f, x, w: f.conv_transpose2d(x, w, stride=2), lambda n, c: [(n, c, 14, 14), (c, 8, 2, 2)]),
    "group_norm": (lambda f, x, w: f.group_norm(x, 4, w), lambda n, c: [(n, c, 28, 28), (c,)]),
    "layer_norm": (lambda f, x, w: f.layer_norm(x, (x.shape[-1],), w), lambda n, c: [(n, 784, c), (c,)]),
    "batch_norm": (lambda f, x, w: f.batch_norm(x, None, None, w, training=True), lambda n, c: [(n, c, 28, 28), (c,)]),
    "silu": (lambda f, x: f.silu(x), lambda n, c: [(n, c, 28, 28)]),
    "gelu": (lambda f, x: f.gelu(x), lambda n, c: [(n, c, 28, 28)]),
    "attention": (lambda f, x, y: f.scaled_dot_product_attention(x, y, y), lambda n, c: [(n, 2, 196, c), (n, 2, 200, c)]),
    "causal attention": (lambda f, x: f.scaled_dot_product_attention(x, x, x, is_causal=True), lambda n, c: [(n, 2, 196, c)]),
    "max_pool2d": (lambda f, x: f.max_pool2d(x, 2), lambda n, c: [(n, c, 28, 28)]),
    "add": (lambda f, x, y: f.add(x, y), lambda n, c: [(8 * n, c, 56, 56)] * 2),
    "mul": (lambda f, x, y: f.mul(x, y), lambda n, c: [(8 * n, c, 56, 56)] * 2),
    "cat": (lambda f, x, y: f.cat([x, y], 1), lambda n, c: [(4 * n, c, 56, 56), (4 * n, c, 56, 56)]),
}


@settings(max_examples=3)
@given(n=st.integers(1, 3), c=st.sampled_from([16, 24]), dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("name", SIZES)
def test_operations_of_the_size_of_a_network(name, n, c, dtype, seed):
    """Values and gradients where the fast kernels compute them."""
    function, shapes = SIZES[name]
    draw = np.random.default_rng(seed)
    compare(function, [draw.normal(size=shape) for shape in shapes(n, c)], dtype)
