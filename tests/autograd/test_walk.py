"""`backward` and `grad`: the walk through the graph, against derivatives known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from minidiff import functional as F
from minidiff.autograd import Tensor, backward, grad, gradient, operation, tensor

FREED = "walked before and freed"


def leaf(values, dtype=np.float64):
    return tensor(np.array(values, dtype), requires_grad=True)


# -- graphs ----------------------------------------------------------------------------------------------------------


def test_a_chain_of_100_000_additions_needs_no_recursion():
    """Value and gradient in closed form; the graph is also dropped without having been walked, which must not recurse either."""
    x = leaf([0.5, 2.0])
    y = x
    for _ in range(100_000):
        y = y + x
    np.testing.assert_allclose(y.data, 100_001 * x.data, rtol=1e-12)
    g = gradient(y, x, np.array([1.0, -2.0]), retain_graph=True)
    np.testing.assert_array_equal(g.data, [100_001.0, -200_002.0])
    del y
    y = leaf(1.0)
    for _ in range(100_000):
        y = y + 1.0
    y.backward()


@pytest.mark.parametrize(("function", "derivative"), [
    (lambda x: x * x + x, lambda x: 2 * x + 1),
    (lambda x: x + x, lambda x: 2 + 0 * x),
    (lambda x: x - x, lambda x: 0 * x),
    (lambda x: x / x, lambda x: 0 * x),
    (lambda x: (x * 2.0) * (x * 3.0), lambda x: 12 * x),
    (lambda x: (lambda h: h * h + F.sin(h))(x * x), lambda x: 4 * x**3 + 2 * x * np.cos(x * x)),
    (lambda x: F.cat([x, x * x, x], 0).sum(), lambda x: 2 + 2 * x),
])
def test_a_value_that_is_used_several_times_adds_up_its_shares(function, derivative):
    """Reused leaves and nodes and diamonds, against the derivative by hand."""
    x = leaf([0.3, -1.7, 2.0])
    y = function(x)
    np.testing.assert_allclose(gradient(y.sum(), x).data, derivative(x.data), rtol=1e-14, atol=1e-14)


def test_a_ladder_of_diamonds_is_walked_once_a_node():
    """h -> h + h, 60 times, has 2^60 paths; the derivative is 2^60, and the walk still ends."""
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    assert gradient(y, x).item() == 2.0**60


def test_a_shared_parameter_collects_from_every_use():
    """w is used in two layers and at two places of one layer: d/dw w2 (w1 x) with w1 = w2 = w."""
    w, x = leaf([[0.5, -1.0], [2.0, 0.25]]), np.array([1.0, -3.0])
    u = np.array([0.7, -0.2])
    g = gradient((F.matmul(w, F.matmul(w, x)) * u).sum(), w)
    expected = np.outer(u, w.data @ x) + np.outer(w.data.T @ u, x)
    np.testing.assert_allclose(g.data, expected, rtol=1e-14)


@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0))
def test_broadcasting_is_undone_by_summing_over_the_copies(shapes):
    """d/dx sum(w * (x + y)) is the sum of w over all places that one element of x reached, counted place by place."""
    (a, b), out = shapes.input_shapes, shapes.result_shape
    w = np.cos(np.arange(int(np.prod(out)), dtype=np.float64)).reshape(out)
    x, y = leaf(np.ones(a)), leaf(np.ones(b))
    found = gradient(x + y, [x, y], w)
    for shape, g in ((a, found[0]), (b, found[1])):
        expected = np.zeros(shape)
        for place in np.ndindex(out):
            own = place[len(place) - len(shape):]
            expected[tuple(0 if n == 1 else i for i, n in zip(own, shape))] += w[place]
        assert g.shape == shape
        np.testing.assert_allclose(g.data, expected, rtol=1e-13, atol=1e-13)


def test_broadcasting_of_float16_is_undone_in_float32():
    """5000 rows and one vector: float16 alone stops counting at 2048."""
    x, g = tensor(np.zeros(3, np.float16), requires_grad=True), np.ones((5000, 3), np.float16)
    for y in (x + np.zeros((5000, 3), np.float16), F.expand(x, (5000, 3))):
        found = gradient(y, x, g)
        assert found.dtype == np.float16 and found.data.tolist() == [5000] * 3


def test_scalars_and_vectors_broadcast_in_products_too():
    """(1, 3) * (2, 1) * () against the derivative by hand."""
    a, b, c = leaf([[1.0, 2.0, 3.0]]), leaf([[4.0], [5.0]]), leaf(0.5)
    found = gradient((a * b * c).sum(), [a, b, c])
    np.testing.assert_allclose(found[0].data, np.full((1, 3), 4.5))
    np.testing.assert_allclose(found[1].data, np.full((2, 1), 3.0))
    np.testing.assert_allclose(found[2].data, 54.0)


# -- backward --------------------------------------------------------------------------------------------------------


def test_backward_adds_to_what_is_there():
    """Two passes double the gradient of one; a leaf that was not used keeps None."""
    x, unused = leaf([1.0, -2.0]), leaf([1.0])
    for factor in (1, 2):
        (x * x).sum().backward()
        np.testing.assert_array_equal(x.grad.data, factor * 2 * x.data)
    assert unused.grad is None
    assert x.grad.node is None and not x.grad.requires_grad


def test_every_leaf_has_a_gradient_of_its_own():
    """x + y hands one and the same gradient to both; changing what is in one `.grad` leaves the other."""
    for create_graph in (False, True):
        x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
        ((x + y) * np.array([5.0, 7.0])).sum().backward(create_graph=create_graph)
        x.grad.data = x.grad.data * 0.0
        assert y.grad.data.tolist() == [5.0, 7.0]


def test_backward_with_a_gradient_is_a_vector_jacobian_product():
    """J^T v for y = A x, with v as a Tensor and as an array."""
    a, x, v = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), leaf([1.0, 1.0]), np.array([1.0, 0.0, -1.0])
    F.matmul(a, x).backward(Tensor(v))
    np.testing.assert_array_equal(x.grad.data, a.T @ v)
    backward(F.matmul(a, x), v)
    np.testing.assert_array_equal(x.grad.data, 2 * a.T @ v)


def test_backward_from_a_leaf_is_one():
    """dx/dx = 1."""
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1.0


# -- grad ------------------------------------------------------------------------------------------------------------


def test_grad_leaves_grad_alone():
    """`.grad` is neither made nor changed."""
    x, y = leaf(2.0), leaf(3.0)
    x.grad = tensor(7.0)
    assert gradient(x * y, x).item() == 3.0
    assert x.grad.item() == 7.0 and y.grad is None


def test_grad_takes_intermediate_values_as_targets():
    """d/dh of sin(h) * x, where h = x^2, holds x fixed; the target's own gradient is complete when several nodes use it."""
    x = leaf(0.7)
    h = x * x
    y = F.sin(h) * x + h * h
    gh, gx = gradient(y, [h, x], retain_graph=True)
    assert gh.item() == pytest.approx(np.cos(0.49) * 0.7 + 2 * 0.49)
    assert gx.item() == pytest.approx((np.cos(0.49) * 0.7 + 2 * 0.49) * 1.4 + np.sin(0.49))
    assert gradient(y, h, retain_graph=True).item() == gh.item()
    assert gradient(y, y).item() == 1.0


def test_grad_of_several_outputs_adds_them():
    """d(2 a + 3 b) with a = x^2, b = x^3; an output that is itself a target, and one that is a leaf, count too."""
    x = leaf(2.0)
    a, b = x * x, x * x * x
    assert gradient([a, b], x, [np.array(2.0), np.array(3.0)], retain_graph=True).item() == 2 * 4 + 3 * 12
    ga, gx = gradient([a, a * 5.0, x], [a, x], retain_graph=True)
    assert (ga.item(), gx.item()) == (6.0, 6.0 * 4 + 1.0)


def test_unused_inputs_are_refused_or_none():
    """An error that names the input; None with allow_unused."""
    x, unused = leaf(1.0), leaf(2.0)
    y = x * 2.0
    with pytest.raises(RuntimeError, match=r"inputs \[1\] were not used.*allow_unused"):
        gradient(y, [x, unused], retain_graph=True)
    gx, none = gradient(y, [x, unused], allow_unused=True)
    assert gx.item() == 2.0 and none is None


def test_a_target_above_the_others_is_still_reached():
    """The earliest of several targets decides how far the walk goes; later uses of it count."""
    x = leaf(3.0)
    early = x * 2.0
    late = early * early
    y = late * early
    g_late, g_early = gradient(y, [late, early])
    assert (g_late.item(), g_early.item()) == (6.0, 3 * 36.0)


# -- walking twice ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [lambda y, x: y.backward(), lambda y, x: gradient(y, x)])
def test_a_graph_is_walked_once_unless_it_is_retained(again):
    """The second walk says what to do; with retain_graph it gives the same numbers."""
    x = leaf([1.0, 2.0])
    y = (x * x * x).sum()
    first = gradient(y, x, retain_graph=True)
    np.testing.assert_array_equal(gradient(y, x).data, first.data)
    with pytest.raises(RuntimeError, match=FREED):
        again(y, x)


def test_a_freed_part_is_refused_from_a_new_head_too():
    """h = x^2 was freed by the first backward; a new function of h must not silently lose x."""
    x = leaf(2.0)
    h = x * x
    (h * 3.0).backward()
    with pytest.raises(RuntimeError, match=FREED):
        (h * 5.0).backward()
    with pytest.raises(RuntimeError, match=FREED):
        gradient(h * 5.0, x)


def test_create_graph_retains():
    """Differentiating the gradient walks the first graph again."""
    x = leaf(2.0)
    y = x * x * x
    y.backward(create_graph=True)
    assert x.grad.requires_grad
    assert gradient(x.grad, x).item() == 12.0


def test_gradients_of_gradients_of_gradients():
    """x^5: 5 x^4, 20 x^3, 60 x^2, with x^5 as a power and as products."""
    for power in (lambda x: x**5, lambda x: x * x * x * x * x):
        x = leaf([1.5, -0.5])
        g = power(x)
        for expected in (5 * x.data**4, 20 * x.data**3, 60 * x.data**2):
            g = gradient(g.sum(), x, create_graph=True)
            np.testing.assert_allclose(g.data, expected, rtol=1e-13)


def test_mixed_derivatives_do_not_depend_on_the_order():
    """d2/dxdy of sin(x y) is cos(xy) - xy sin(xy), both ways round."""
    x, y = leaf(0.8), leaf(1.3)
    z = F.sin(x * y)
    gx, gy = gradient(z, [x, y], create_graph=True)
    expected = np.cos(1.04) - 1.04 * np.sin(1.04)
    assert gradient(gx, y, retain_graph=True).item() == pytest.approx(expected)
    assert gradient(gy, x).item() == pytest.approx(expected)


def test_a_gradient_penalty_can_be_trained():
    """d/dw |d/dx (w x^2)|^2 = d/dw (2 w x)^2 = 8 w x^2: backward through grad."""
    x, w = leaf(3.0), leaf(0.5)
    g = gradient(w * x * x, x, create_graph=True)
    (g * g).backward()
    assert w.grad.item() == pytest.approx(8 * 0.5 * 9)


def test_the_seed_can_be_differentiated():
    """Forward mode by double backward: d/dv (J^T v) recovers J."""
    x, v = leaf([1.0, 2.0]), leaf([1.0, 1.0])
    g = gradient(x * x, x, v, create_graph=True)
    np.testing.assert_array_equal(gradient(g, v, np.array([1.0, 0.0])).data, [2.0, 0.0])


def test_plain_gradients_are_not_recorded():
    """Without create_graph the result is a constant."""
    x = leaf(2.0)
    assert not gradient(x * x, x).requires_grad


# -- dtype and device ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_has_the_dtype_of_its_leaf(dtype):
    """Also where float32 and float64 meet, and where the seed has another dtype; the device is the leaf's."""
    x, other = leaf([1.0, 2.0], dtype), leaf([3.0, 4.0], np.float64)
    (2.5 * x * other + x / 3.0).sum().backward()
    assert x.grad.dtype == dtype and other.grad.dtype == np.float64
    g = gradient(x * 2.0, x, np.ones(2, np.float64))
    assert g.dtype == dtype and g.device == x.device == "cpu"
    g = gradient((x * x).sum(), x, create_graph=True)
    assert g.dtype == dtype and gradient(g.sum(), x).dtype == dtype


# -- errors ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_differentiated_is_refused():
    """Each at the door, with what to do."""
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"shape \(2,\) is not one number; give its gradient, or sum it"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), the output \(2,\)"):
        (x * 2.0).backward(np.ones(3))
    with pytest.raises(RuntimeError, match="does not depend on anything that requires gradients"):
        tensor([1.0]).backward()
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        gradient(x.sum(), tensor([1.0]))
    with pytest.raises(ValueError, match="1 outputs, but 2 grad_outputs"):
        gradient(x.sum(), x, [np.ones(()), np.ones(())])
    for integers in (np.array([1, 2]), np.array([True])):
        with pytest.raises(TypeError, match=f"{integers.dtype}: convert it first"):
            tensor(integers, requires_grad=True)


def test_integer_inputs_get_no_gradient_and_do_not_stop_one():
    """An integer factor is a constant."""
    x = leaf([1.0, 2.0])
    y = x * tensor(np.array([3, 4]))
    np.testing.assert_array_equal(gradient(y.sum(), x).data, [3.0, 4.0])


def test_an_input_without_a_rule_passes_nothing():
    """Step functions are constants to the walk."""
    step = operation(lambda xp, x: (x > 0).astype(x.dtype))
    x = leaf([1.0, -1.0])
    assert not step(x).requires_grad
    np.testing.assert_array_equal(gradient((x * step(x)).sum(), x).data, [1.0, 0.0])


def test_the_sum_over_many_copies_keeps_its_digits():
    """A bias added to a million rows, in float32 and float16: its gradient is the number of rows times g.

    Added one after the other it would be 1 % off, and 2048.
    """
    for dtype, rows, value, tolerance in ((np.float32, 1_000_000, 0.1, 5e-6), (np.float16, 5000, 1.0, 1e-3)):
        bias = leaf([0.0, 0.0, 0.0], dtype)
        (tensor(np.zeros((rows, 3), dtype)) + bias).backward(np.full((rows, 3), value, dtype))
        expected = rows * float(dtype(value))
        np.testing.assert_allclose(bias.grad.numpy().astype(np.float64), expected, rtol=tolerance)


def test_grad_is_torchs_form_of_gradient():
    """Always a tuple, so that `[0]` is the gradient and not its first row; zeros on request for what was not used."""
    x, w = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf([1.0, 1.0])
    found = grad((x * x).sum(), x, create_graph=True)
    assert isinstance(found, tuple) and len(found) == 1 and found[0].shape == x.shape and found[0].requires_grad
    np.testing.assert_array_equal(found[0].numpy(), gradient((x * x).sum(), x).numpy())
    first, second = grad((x * 3.0).sum(), [x, w], materialize_grads=True)
    assert (first.numpy() == 3.0).all() and (second.numpy() == 0.0).all()
    assert grad((x * 3.0).sum(), (x, w), allow_unused=True)[1] is None
    for options, message in (({}, "inputs .1. were not used"), ({"materialize_grads": True, "allow_unused": False}, "give one of them"),
                             ({"only_inputs": False}, "only_inputs=False is not offered")):
        with pytest.raises((RuntimeError, ValueError), match=message):
            grad((x * 3.0).sum(), [x, w], **options)
