"""`checkpoint`: the same numbers for less memory."""

import tracemalloc

import numpy as np
import pytest

from minidiff import functional as F
from minidiff import nn
from minidiff.autograd import Tensor, check_gradients, checkpoint, gradient, no_grad, tensor
from minidiff.random import Generator

X = np.array([[0.4, -1.2, 0.9], [1.7, 0.3, -0.6]])


def leaf(x):
    return tensor(x, requires_grad=True)


def mlp(width=8, depth=3, p=0.0):
    """Linear, GELU, perhaps dropout, several times."""
    layers = []
    for k in range(depth):
        layers += [nn.Linear(width, width, generator=Generator((3, k + 1))), nn.Function(F.gelu)]
        layers += [nn.Dropout(p, generator=Generator((4, k + 1)))] if p else []
    return nn.Sequential(*layers)


def run(model, x, call):
    """Value, gradients of the input and of all parameters."""
    model.zero_grad()
    x = leaf(x)
    y = call(model, x)
    (y * y).sum().backward()
    return [y.data, x.grad.data, *(p.grad.data for p in model.parameters())]


def same_bits(a, b):
    assert len(a) == len(b)
    for left, right in zip(a, b):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


plain = lambda model, x: model(x)
whole = lambda model, x: checkpoint(model, x)


def by_layer(model, x):
    for layer in model:
        x = checkpoint(layer, x)
    return x


def nested(model, x):
    return checkpoint(lambda z: by_layer(model, checkpoint(lambda u: u * 1.0, z)), x)


@pytest.mark.parametrize("call", [whole, by_layer, nested])
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_values_and_gradients_are_the_same_bits(call, p):
    """Of the input and of the parameters that the function finds for itself; with dropout by the module's own generators."""
    x = Generator(5).standard_normal((16, 8))
    expected, found = run(mlp(p=p), x, plain), run(mlp(p=p), x, call)
    same_bits(found, expected)


def test_generators_stand_where_a_plain_call_leaves_them():
    """After the forward pass and after the backward pass, in which they were set back and drew again; also draws on the host."""
    generator, twin = Generator(1), Generator(1)

    def noisy(x, generator):
        return x * generator.standard_normal(3, "float64") * float(generator.integers(1, 9, 1)[0])

    x = leaf(X)
    y = checkpoint(noisy, x, generator)
    expected = noisy(X, twin)
    np.testing.assert_array_equal(y.data, expected)
    assert generator.get_state() == twin.get_state()
    generator.random(5)
    twin.random(5)
    np.testing.assert_array_equal(gradient(y.sum(), x).data, expected / X)
    assert generator.get_state() == twin.get_state()


def test_running_statistics_follow_a_batch_once():
    """The buffers of batch normalization are what they are after a plain call, also nested."""
    def buffers(call):
        model = nn.Sequential(nn.Linear(8, 8, generator=Generator(3)), nn.BatchNorm1d(8), nn.Linear(8, 8, generator=Generator(4)))
        results = run(model, Generator(5).standard_normal((16, 8)), call)
        return [*results, model[1].running_mean, model[1].running_var, model[1].num_batches_tracked]

    for call in (whole, by_layer, nested):
        for a, b in zip(buffers(call), buffers(plain)):
            np.testing.assert_array_equal(getattr(a, "data", a), getattr(b, "data", b))


def test_memory_falls_to_one_block():
    """Eight blocks of 1 MB arrays: what is held after the forward pass, and the peak of both passes."""
    blocks = [lambda x, k=k: F.sin(F.tanh(F.exp(F.sin(x * (1.0 + k)) * 0.1)) * 2.0) + x for k in range(8)]
    x = leaf(np.linspace(-1.0, 1.0, 2**17))

    def measured(call):
        tracemalloc.start()
        try:
            y = x
            for block in blocks:
                y = call(block, y)
            y = y.sum()
            held = tracemalloc.get_traced_memory()[0]
            g = gradient(y, x)
            return held / 2**20, tracemalloc.get_traced_memory()[1] / 2**20, g.data
        finally:
            tracemalloc.stop()

    held, peak, expected = measured(lambda block, y: block(y))
    held_now, peak_now, found = measured(checkpoint)
    np.testing.assert_array_equal(found, expected)
    assert held > 30 and held_now < 10  # 8 blocks of 4 or more arrays against 8 inputs
    assert peak_now < peak / 2


def test_any_order_goes_through():
    """Against finite differences to order three, with a closed-over value and several outputs; a graph is kept and walked again."""
    def two(x, y):
        return F.sin(x * y), F.exp(x) * y

    def function(x, y):
        z = x * 2.0
        a, b = checkpoint(lambda u: two(u, z), y)
        return a * b + z

    check_gradients(function, [X[0], X[1]], order=3)
    check_gradients(lambda x: checkpoint(lambda u: checkpoint(F.exp, u * u), x), [X], order=3)


def test_gradients_reach_what_the_function_closes_over():
    """A leaf, a value computed before, and a leaf that feeds both: partial derivatives, each once."""
    x, w = leaf(X), leaf(X[0])
    h = w * w
    y = checkpoint(lambda u: u * h * w, x).sum()
    gx, gw, gh = gradient(y, [x, w, h], retain_graph=True)
    np.testing.assert_allclose(gx.data, np.broadcast_to(X[0] ** 3, X.shape), rtol=1e-14)
    np.testing.assert_allclose(gh.data, X.sum(0) * X[0], rtol=1e-14)
    np.testing.assert_allclose(gw.data, 3 * X.sum(0) * X[0] ** 2, rtol=1e-14)
    y.backward()
    np.testing.assert_allclose(w.grad.data, gw.data, rtol=1e-14)


def test_several_outputs_of_which_some_are_used():
    """One used, all used, one used twice; an output that is an argument, a constant, an array or None."""
    def function(x):
        return x * 2.0, F.exp(x), x, Tensor(np.ones(3)), np.ones(3), None

    for weights in ((1, 0, 0), (0, 1, 0), (1, 1, 1), (2, -1, 3)):
        x = leaf(X)
        double, e, itself, constant, array, none = checkpoint(function, x)
        assert itself is x and not constant.requires_grad and type(array) is np.ndarray and none is None
        total = sum((part * w for part, w in zip((double, e, itself), weights) if w), start=Tensor(0 * X))
        np.testing.assert_allclose(gradient(total.sum(), x).data, weights[0] * 2.0 + weights[1] * np.exp(X) + weights[2], rtol=1e-14)


def test_a_checkpoint_is_walked_once_unless_it_is_retained():
    """Like every node; retained, it can be walked again, with the same bits."""
    x = leaf(X)
    y = checkpoint(lambda u: F.exp(u * u), x).sum()
    first = gradient(y, x, retain_graph=True)
    np.testing.assert_array_equal(gradient(y, x).data, first.data)
    with pytest.raises(RuntimeError, match="walked before and freed"):
        gradient(y, x)


def test_nothing_is_added_where_nothing_is_recorded():
    """Arrays give arrays, constants give constants, no_grad records nothing; keyword arguments are handed on."""
    scaled = lambda x, *, by: x * by
    assert type(checkpoint(scaled, X, by=2.0)) is np.ndarray
    assert not checkpoint(scaled, Tensor(X), by=2.0).requires_grad
    with no_grad():
        assert not checkpoint(scaled, leaf(X), by=2.0).requires_grad
    x = leaf(X)
    assert gradient(checkpoint(scaled, x, by=3.0).sum(), x).data[0, 0] == 3.0


def test_a_second_computation_that_differs_is_refused():
    """Randomness from elsewhere, a weight changed in between, another number of results, other Tensors."""
    rng, x = np.random.default_rng(), leaf(X)
    y = checkpoint(lambda u: u * (rng.random(u.shape) < 0.5), leaf(np.ones(1000)))
    with pytest.raises(RuntimeError, match=r"^checkpoint: result 0 was another when it was computed again"):
        y.sum().backward()
    weight = leaf(X[0])
    y = checkpoint(lambda u: u * weight, x).sum()
    weight.data = weight.data * 1.01
    with pytest.raises(RuntimeError, match="was another"):
        y.backward()
    counts = iter([1, 2])
    y = checkpoint(lambda u: [u * 1.0] * next(counts), x)[0].sum()
    with pytest.raises(RuntimeError, match="gave 1 results, and 2"):
        y.backward()
    values = iter([x * 1.0 for _ in range(2)])
    y = checkpoint(lambda u: u * next(values), x).sum()
    with pytest.raises(RuntimeError, match="used other Tensors"):
        y.backward()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2000,), (3, 4, 5, 70), (1001,)])
def test_another_mask_is_seen_and_another_rounding_is_not(dtype, shape):
    """Half of ones, at other places: 17 equal counts of 100 come about less than once in 10^12. Rounded a little otherwise: the same."""
    noise = Generator(0).standard_normal(shape).astype(dtype)
    wobble = iter([1.0, 1.0 + 2 * float(np.finfo(dtype).eps)])
    x = leaf(np.ones(shape, dtype))
    checkpoint(lambda u: u * noise * dtype(next(wobble)), x).sum().backward()
    rng = np.random.default_rng()
    with pytest.raises(RuntimeError, match="was another"):
        checkpoint(lambda u: u * (rng.random(shape) < 0.5).astype(dtype), x).sum().backward()


def test_nan_results_do_not_count_as_different():
    """What was NaN and is NaN again is not the checkpoint's error to report."""
    x = leaf(np.array([1.0, np.nan]))
    assert np.isnan(gradient(checkpoint(lambda u: u * u, x).sum(), x).data).tolist() == [False, True]


def test_results_of_other_kinds_are_refused():
    """A dict of Tensors would keep its graph."""
    with pytest.raises(TypeError, match=r"^checkpoint: the function must return a Tensor or a tuple of Tensors, got dict"):
        checkpoint(lambda u: {"y": u * 2.0}, leaf(X))
