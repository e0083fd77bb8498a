"""Every function against PyTorch's of the same name: values, and gradients of every input, over generated arguments."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import functional as F
from minidiff.autograd import grad, tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))
dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25)


def compare(ours, theirs, inputs, dtype=np.float64, second=False):
    """Values and gradients (with `second` also gradients of gradients) of ours(*inputs) and theirs(*inputs).

    float64 to 1e-10 of the largest element; float32 to 2e-5 of it, 200 roundings: the two sum in different orders.
    """
    xs = [tensor(np.asarray(x, dtype), requires_grad=True) for x in inputs]
    ts = [torch.tensor(np.asarray(x, dtype), requires_grad=True) for x in inputs]
    a, b = ours(*xs), theirs(*ts)
    a, b = (list(y) if isinstance(y, (tuple, list)) else [y] for y in (a, b))
    weights = [np.cos(1.0 + np.arange(y.size)).reshape(y.shape).astype(dtype) for y in a]
    assert [y.shape for y in a] == [tuple(y.shape) for y in b]
    pairs_to_compare = list(zip(a, b))
    if inputs:
        first = grad(a, xs, weights, create_graph=second, allow_unused=True)
        theirs_first = torch.autograd.grad(b, ts, [torch.tensor(w) for w in weights], create_graph=second, allow_unused=True)
        pairs_to_compare += zip(first, theirs_first)
    if second:
        tied = sum((x * 0.0).sum() for x in xs), sum((t * 0.0).sum() for t in ts)  # the slope of a bias is constant: 0, not "unused"
        pairs_to_compare += zip(grad(sum((g * g).sum() for g in first) + tied[0], xs),
                                torch.autograd.grad(sum((g * g).sum() for g in theirs_first) + tied[1], ts))
    tolerance = 1e-10 if dtype == np.float64 else 2e-5
    for x, t in pairs_to_compare:
        assert (x is None) == (t is None)
        if x is not None:
            t = t.detach().numpy()
            assert x.shape == t.shape and x.dtype == t.dtype
            np.testing.assert_allclose(x.data, t, rtol=0, atol=tolerance * max(1.0, np.abs(t).max(initial=0.0)))


def normal(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


# -- elementwise -----------------------------------------------------------------------------------------------------

NAMED = ["relu", "silu", "sigmoid", "tanh", "exp", "sin", "cos", "erf", "abs", "neg", "add", "sub", "mul", "div", "maximum", "minimum"]
OF_TWO = {"add", "sub", "mul", "div", "maximum", "minimum"}
BY_ONE_CALL = {name: (getattr(F, name), getattr(torch, name, None) or getattr(torch.nn.functional, name)) for name in NAMED} | {
    "log": (lambda x: F.log(F.abs(x)), lambda x: torch.log(torch.abs(x))),
    "sqrt": (lambda x: F.sqrt(F.abs(x)), lambda x: torch.sqrt(torch.abs(x))),
    "gelu": (F.gelu, torch.nn.functional.gelu),
    "gelu-tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    "pow": (lambda x: F.pow(x, 3), lambda x: torch.pow(x, 3)),
    "pow-of-positive": (lambda x: F.pow(F.abs(x), 1.5), lambda x: torch.pow(torch.abs(x), 1.5)),
    "clamp": (lambda x: F.clamp(x, -0.5, 0.8), lambda x: torch.clamp(x, -0.5, 0.8)),
    "clamp-min": (lambda x: F.clamp(x, min=0.1), lambda x: torch.clamp(x, min=0.1)),
    "where": (lambda x, y: F.where(x > y, x, y * 2.0), lambda x, y: torch.where(x > y, x, y * 2.0)),
    "softmax": (lambda x: F.softmax(x, -1), lambda x: torch.softmax(x, -1)),
    "softmax-over-the-first": (lambda x: F.softmax(x, 0), lambda x: torch.softmax(x, 0)),
    "log_softmax": (lambda x: F.log_softmax(x, -1), lambda x: torch.log_softmax(x, -1)),
    "logsumexp": (lambda x: F.logsumexp(x, (0, -1), True), lambda x: torch.logsumexp(x, (0, -1), True)),
    "sum": (lambda x: F.sum(x, (0, 2), True), lambda x: torch.sum(x, (0, 2), True)),
    "mean": (lambda x: F.mean(x, 1), lambda x: torch.mean(x, 1)),
    "var": (lambda x: F.var(x, (0, 1)), lambda x: torch.var(x, (0, 1))),
    "var-biased": (lambda x: F.var(x, 2, correction=0, keepdim=True), lambda x: torch.var(x, 2, correction=0, keepdim=True)),
    "std": (lambda x: F.std(x, (0, 2)), lambda x: torch.std(x, (0, 2))),
    "amax": (lambda x: F.amax(x, (0, 1)), lambda x: torch.amax(x, (0, 1))),
    "amin": (lambda x: F.amin(x, 2, True), lambda x: torch.amin(x, 2, True)),
}


@settings(max_examples=6)
@given(data=st.data(), shape=st.tuples(*[st.integers(2, 4)] * 3), dtype=dtypes, seed=seeds)
@pytest.mark.parametrize("name", BY_ONE_CALL)
def test_functions_of_elements_and_lines(name, data, shape, dtype, seed):
    """Values and gradients; two-argument functions with broadcasting."""
    ours, theirs = BY_ONE_CALL[name]
    other = tuple(1 if data.draw(st.booleans()) else n for n in shape)[data.draw(st.integers(0, 2)):]
    compare(ours, theirs, normal(seed, shape, other) if name in OF_TWO or name == "where" else normal(seed, shape), dtype)


TIES = np.array([[0.0, 1.0, 1.0, -1.0], [2.0, 2.0, 2.0, 2.0]])


@pytest.mark.parametrize("name", ["relu", "abs", "clamp", "amax", "amin", "maximum", "minimum", "clamp-one"])
def test_gradients_at_kinks_and_ties(name):
    """The convention is torch's: 0 for relu and abs at 0, shares at ties, 1 at the border of clamp."""
    functions = {
        "clamp": (lambda x: F.clamp(x, 0.0, 1.0), lambda x: torch.clamp(x, 0.0, 1.0)),
        "clamp-one": (lambda x: F.clamp(x, max=1.0), lambda x: torch.clamp(x, max=1.0)),
        "amax": (lambda x: F.amax(x, 1), lambda x: torch.amax(x, 1)), "amin": (lambda x: F.amin(x, 1), lambda x: torch.amin(x, 1)),
        "maximum": (lambda x: F.maximum(x, TIES[::-1].copy()), lambda x: torch.maximum(x, torch.tensor(TIES[::-1].copy()))),
        "minimum": (lambda x: F.minimum(x, TIES[::-1].copy()), lambda x: torch.minimum(x, torch.tensor(TIES[::-1].copy()))),
    }
    compare(*functions.get(name) or BY_ONE_CALL[name], [TIES])


# -- shapes ----------------------------------------------------------------------------------------------------------

INDEX = np.array([[2, 0, 1, 1], [0, 0, 2, 1]])
MOVES = {
    "reshape": (lambda f, x: f.reshape(x, (4, -1))), "flatten": (lambda f, x: f.flatten(x, 1, 2)),
    "permute": (lambda f, x: f.permute(x, (2, 0, 1))), "transpose": (lambda f, x: f.transpose(x, 0, -1)),
    "squeeze": (lambda f, x: f.squeeze(f.unsqueeze(x, 1))), "squeeze-dim": (lambda f, x: f.squeeze(f.unsqueeze(x, -2), -2)),
    "cat": (lambda f, x: f.cat([x, x * 2.0], 1)), "stack": (lambda f, x: f.stack([x, x * 2.0], -1)),
    "split": (lambda f, x: f.split(x, 3, 2)),
    "split-sizes": (lambda f, x: f.split(x, [1, 3], 2)), "chunk": (lambda f, x: f.chunk(x, 3, 2)),
    "chunk-few": (lambda f, x: f.chunk(x, 9, 1)),
    "flip": (lambda f, x: f.flip(x, [0, -1])),
    "getitem": (lambda f, x: x[:, 1:, ::2]), "getitem-ints": (lambda f, x: x[[1, 0, 1], :, [0, 3, 0]]), "expand": None, "pad": None,
    "gather": None,
    "pad-crop": None,
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_of_elements(name):
    """The same expression in both libraries."""
    x = normal(1, (2, 3, 4))
    special = {
        "expand": (lambda x: F.expand(F.unsqueeze(x, 1), (5, 2, 6, 3, -1)), lambda x: x.unsqueeze(1).expand(5, 2, 6, 3, -1)),
        "pad": (lambda x: F.pad(x, (1, 2, 0, 1), value=3.0), lambda x: torch.nn.functional.pad(x, (1, 2, 0, 1), value=3.0)),
        "pad-crop": (lambda x: F.pad(x, (-1, 2, 1, -2)), lambda x: torch.nn.functional.pad(x, (-1, 2, 1, -2))),
        "gather": (lambda x: F.gather(x, 1, INDEX[:, None, :3]), lambda x: torch.gather(x, 1, torch.tensor(INDEX[:, None, :3]))),
    }
    ours, theirs = special.get(name) or ((lambda x: MOVES[name](F, x)), (lambda x: MOVES[name](torch, x)))
    compare(ours, theirs, x)


def test_indices_of_maxima():
    """argmax without ties (torch does not say which it takes), one_hot."""
    x = normal(2, (3, 5))[0]
    for dim in (None, 0, -1):
        np.testing.assert_array_equal(F.argmax(x, dim), torch.argmax(torch.tensor(x), dim).numpy())
    hot = torch.nn.functional.one_hot(torch.tensor(INDEX), 4).numpy()
    found = F.one_hot(INDEX, 4)
    assert found.dtype == hot.dtype
    np.testing.assert_array_equal(found, hot)


# -- products, attention ---------------------------------------------------------------------------------------------


@few
@given(st.sampled_from([((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((4, 1, 2, 3), (5, 3, 2)), ((2, 2, 3), (3, 4)),
                        ((0, 2, 3), (3, 1))]), dtypes, seeds)
def test_matmul(shapes, dtype, seed):
    """Vectors, matrices, batches, none."""
    compare(F.matmul, torch.matmul, normal(seed, *shapes), dtype)


@few
@given(st.sampled_from([(3,), (2, 3), (2, 4, 3), (0, 3), (2, 0, 3)]), st.booleans(), dtypes, seeds)
def test_linear(shape, bias, dtype, seed):
    """Any leading dimensions, with and without bias."""
    compare(F.linear, torch.nn.functional.linear, normal(seed, shape, (5, 3), *[(5,)] * bias), dtype)


@few
@given(st.sampled_from([(), (2,), (2, 3)]), st.tuples(*[st.integers(1, 5)] * 4), st.sampled_from(["none", "bool", "added"]),
       st.sampled_from([None, 0.5]), dtypes, seeds)
def test_scaled_dot_product_attention(lead, sizes, kind, scale, dtype, seed):
    """With and without masks of either kind (each query keeps a key)."""
    length, source, e, ev = sizes
    arrays = normal(seed, (*lead, length, e), (*lead, source, e), (*lead, source, ev))
    mask = normal(seed + 1, (length, source))[0]
    mask = None if kind == "none" else (mask > 0) | (np.arange(source) == 0) if kind == "bool" else mask.astype(dtype)
    compare(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale),
            lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(
                q, k, v, attn_mask=None if mask is None else torch.tensor(mask), scale=scale), arrays, dtype)


# -- convolution, pooling --------------------------------------------------------------------------------------------


@st.composite
def convolutions(draw):
    groups, kernel = draw(st.integers(1, 3)), draw(pairs(1, 3))
    stride, padding, dilation = draw(pairs(1, 3)), draw(pairs(0, 3)), draw(pairs(1, 3))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    size = [draw(st.integers(max(1, s - 2 * p), max(1, s - 2 * p) + 6)) for s, p in zip(spans, padding)]
    n, c, k = draw(st.integers(0, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4)) * groups
    return [(n, c * groups, *size), (k, c, *kernel), *[(k,)] * draw(st.booleans())], dict(stride=stride, padding=padding,
                                                                                          dilation=dilation, groups=groups)


@settings(max_examples=100)
@given(convolutions(), dtypes, seeds)
def test_conv2d(example, dtype, seed):
    """Any stride, padding, dilation and groups, from no image to three."""
    shapes, options = example
    compare(lambda *xs: F.conv2d(*xs, **options), lambda *xs: torch.nn.functional.conv2d(*xs, **options), normal(seed, *shapes), dtype)


@settings(max_examples=10)
@given(st.sampled_from([(1, 16, 32), (2, 32, 16), (3, 8, 8)]), st.sampled_from([1, 3]), st.sampled_from([1, 2]), dtypes, seeds)
def test_conv2d_of_the_sizes_of_a_network(sizes, kernel, stride, dtype, seed):
    """28x28 images with many channels: where fast kernels take over."""
    n, c, k = sizes
    compare(lambda *xs: F.conv2d(*xs, stride=stride, padding=kernel // 2),
            lambda *xs: torch.nn.functional.conv2d(*xs, stride=stride, padding=kernel // 2),
            normal(seed, (n, c, 28, 28), (k, c, kernel, kernel), (k,)), dtype)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), pairs(1, 3), pairs(1, 3), pairs(1, 3), pairs(1, 4), dtypes, seeds)
def test_conv_transpose2d(data, groups, kernel, stride, dilation, size, dtype, seed):
    """Any stride, padding, output_padding, groups and dilation."""
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    full = [(n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(size, stride, dilation, kernel, extra)]
    padding = tuple(data.draw(st.integers(0, min(2, (n - 1) // 2))) for n in full)
    n, c, k = data.draw(st.integers(0, 2)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)) * groups
    shapes = [(n, k, *size), (k, c, *kernel), *[(c * groups,)] * data.draw(st.booleans())]
    options = dict(stride=stride, padding=padding, output_padding=extra, groups=groups, dilation=dilation)
    compare(lambda *xs: F.conv_transpose2d(*xs, **options), lambda *xs: torch.nn.functional.conv_transpose2d(*xs, **options),
            normal(seed, *shapes), dtype)


@few
@given(st.data(), pairs(1, 4), pairs(1, 3), st.booleans(), dtypes, seeds)
def test_pooling(data, kernel, stride, default, dtype, seed):
    """max and avg, with padding, and windows as strides."""
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    size = [data.draw(st.integers(max(1, k - 2 * p), 7)) for k, p in zip(kernel, padding)]
    options = dict(stride=None if default else stride, padding=padding)
    for ours, theirs in ((F.max_pool2d, torch.nn.functional.max_pool2d), (F.avg_pool2d, torch.nn.functional.avg_pool2d)):
        image = normal(seed, (2, 3, *size))
        compare(partial(ours, kernel_size=kernel, **options), partial(theirs, kernel_size=kernel, **options), image, dtype)


def test_pooling_of_equal_elements():
    """The first of equal maxima gets the gradient."""
    compare(lambda x: F.max_pool2d(x, 3, 1, 1), lambda x: torch.nn.functional.max_pool2d(x, 3, 1, 1), [np.ones((1, 2, 4, 5))])


@few
@given(pairs(1, 3), pairs(1, 4), st.booleans(), dtypes, seeds)
def test_interpolate(factors, size, by_size, dtype, seed):
    """Nearest, by size or by factor."""
    options = dict(size=tuple(n * f for n, f in zip(size, factors))) if by_size else dict(scale_factor=tuple(map(float, factors)))
    compare(lambda x: F.interpolate(x, **options), lambda x: torch.nn.functional.interpolate(x, **options),
            normal(seed, (2, 3, *size)), dtype)


# -- normalization, losses, tables -----------------------------------------------------------------------------------


@few
@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from([(3,), (4, 5), (2, 3, 2)]), st.integers(0, 2),
       st.sampled_from([1e-5, 1e-3]), dtypes, seeds)
def test_group_norm(groups, each, positions, affine, eps, dtype, seed):
    """With and without weight and bias."""
    c = groups * each
    compare(lambda x, *wb: F.group_norm(x, groups, *wb, eps=eps), lambda x, *wb: torch.nn.functional.group_norm(x, groups, *wb, eps=eps),
            normal(seed, (2, c, *positions), *[(c,)] * affine), dtype)


@few
@given(st.sampled_from(["mean", "sum", "none"]), st.integers(1, 5), st.integers(1, 6), dtypes, seeds)
def test_losses(reduction, n, classes, dtype, seed):
    """cross_entropy and mse_loss in each reduction."""
    x, y = normal(seed, (n, classes), (n, classes))
    labels = np.random.default_rng(seed).integers(classes, size=n)
    compare(lambda x: F.cross_entropy(x, labels, reduction=reduction),
            lambda x: torch.nn.functional.cross_entropy(x, torch.tensor(labels), reduction=reduction), [10 * x], dtype)
    compare(lambda x, y: F.mse_loss(x, y, reduction=reduction), lambda x,
            y: torch.nn.functional.mse_loss(x, y, reduction=reduction), [x, y], dtype)


def test_embedding():
    """Rows asked for twice."""
    compare(lambda w: F.embedding(INDEX, w), lambda w: torch.nn.functional.embedding(torch.tensor(INDEX), w), normal(3, (4, 5)))


# -- gradients of gradients ------------------------------------------------------------------------------------------

TWICE = {
    "conv2d": (lambda f, *xs: f.conv2d(*xs, stride=(2, 1), padding=(1, 2), groups=2), [(2, 4, 5, 4), (6, 2, 3, 3), (6,)]),
    "conv_transpose2d": (lambda f, *xs: f.conv_transpose2d(*xs, stride=2, padding=1, output_padding=1), [(2, 4, 3, 3), (4, 2, 3, 3), (2,)]),
    "group_norm": (lambda f, x, w, b: f.group_norm(x, 2, w, b), [(2, 4, 3, 3), (4,), (4,)]),
    "gelu": (lambda f, x: f.gelu(x), [(3, 4)]), "gelu-tanh": (lambda f, x: f.gelu(x, approximate="tanh"), [(3, 4)]),
    "silu": (lambda f, x: f.silu(x), [(3, 4)]), "softmax": (lambda f, x: f.softmax(x, 1), [(3, 4)]),
    "attention": (lambda f, *qkv: f.scaled_dot_product_attention(*qkv), [(2, 3, 4), (2, 5, 4), (2, 5, 3)]),
    "max_pool2d": (lambda f, x: f.max_pool2d(x, 2) ** 2, [(2, 3, 4, 4)]),
}


@settings(max_examples=4)
@given(dtype=dtypes, seed=seeds)
@pytest.mark.parametrize("name", TWICE)
def test_gradients_of_gradients(name, dtype, seed):
    """Through the gradient of the sum of squares of the gradients."""
    function, shapes = TWICE[name]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # the only one that torch differentiates twice
        compare(lambda *xs: function(F, *xs), lambda *xs: function(torch.nn.functional, *xs), normal(seed, *shapes), dtype, second=True)
