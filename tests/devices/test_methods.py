"""Tensors on a device: made there, moved there and back, indexed, printed; nothing comes to the host unasked."""

import numpy as np
import pytest
import standin

import minidiff
from minidiff.autograd import gradient, tensor

DEVICE = standin.LIBRARY.name
A = np.arange(6.0).reshape(2, 3)


def test_tensors_are_made_on_the_device_that_is_asked_for():
    """The values of the CPU; random numbers too."""
    g = lambda: minidiff.Generator(3)
    for make in (
        lambda **o: minidiff.zeros(2, 3, **o), lambda **o: minidiff.full((2,), 7, **o), lambda **o: minidiff.arange(5, **o),
        lambda **o: minidiff.linspace(0, 1, 4, **o), lambda **o: minidiff.eye(2, 3, **o), lambda **o: minidiff.rand(4, generator=g(), **o),
        lambda **o: minidiff.randn(4, generator=g(), dtype="float16", **o), lambda **o: minidiff.randint(9, (4,), generator=g(), **o),
        lambda **o: minidiff.randperm(5, generator=g(), **o), lambda **o: minidiff.as_tensor(A, **o),
    ):
        there, here = make(device=DEVICE), make()
        assert there.device == DEVICE and there.dtype == here.dtype
        np.testing.assert_array_equal(there.numpy(), here.numpy())
    x = tensor(A, device=DEVICE)
    for like in (minidiff.ones_like(x), minidiff.rand_like(x, generator=g()), minidiff.bernoulli(x / 9, generator=g()), x.new_zeros(2)):
        assert like.device == DEVICE and like.dtype == x.dtype


def test_gradients_come_back_from_a_device():
    """to() is differentiable: the gradient arrives where the leaf is."""
    x = tensor(A, requires_grad=True)
    there = x.to(DEVICE)
    assert there.device == DEVICE and there.to(x).device == "cpu" and there.to(there) is there
    (g,) = gradient((there * there).sum(), [x], create_graph=True)
    assert g.device == "cpu" and (g.numpy() == 2 * A).all()
    assert (gradient(g.sum(), x).numpy() == 2).all()


def test_nothing_comes_to_the_host_unasked():
    """Methods, shapes, indices from the host and masks that fill are answered on the device."""
    x, index = tensor(A, device=DEVICE), tensor([[2, 0, 1]], device=DEVICE)
    standin.transfers.clear()
    for y in (
        x[0], x[:, ::-1], x[[1, 0]], x[..., None, np.array([0, 2])], x.gather(1, index), x.scatter_add(1, index, x[:1]), x.tile(2),
        x.roll(1), x.masked_fill(x > 2, -1.0), x.scatter(1, index, 0.0), x.max(dim=1)[0], x.var(ddof=0), x.cumsum(), x.sort(dim=1)[1],
        x.half(), x.T, x.repeat(2, axis=0), x.flip(0), x.tril(), x.take_along_dim(index, 1), x.index_select(1, index[0]),
        minidiff.cat([x, x.float()]),
    ):
        assert y.device == DEVICE
    assert not standin.transfers


def test_lists_of_tensors_of_a_device_stay_there():
    """And do not mix devices."""
    x = tensor(A, device=DEVICE)
    assert tensor([x[0], x[1]]).device == DEVICE and tensor([x[0], x[1]], device="cpu").device == "cpu"
    with pytest.raises(RuntimeError, match="arrays on two devices"):
        tensor([x[0], tensor(A[0])])
    with pytest.raises(RuntimeError, match="arrays on two devices"):
        tensor(A)[tensor([0], device=DEVICE)]


def test_a_tensor_says_where_it_is_and_does_not_become_a_numpy_array_unasked():
    """In print; np.asarray is refused and says what to write."""
    x = tensor([1.0, 2.0], device=DEVICE)
    assert repr(x) == f"tensor([1., 2.], device='{DEVICE}')" and x.tolist() == [1, 2] and f"{x[0]:.1f}" == "1.0"
    with pytest.raises(TypeError, match=r"does not become a NumPy array unasked: x.numpy\(\) copies it to the host"):
        np.asarray(x)
