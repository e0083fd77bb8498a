"""Arrays from PyTorch and to it: by DLPack, without a copy, without importing it."""

import subprocess
import sys

import numpy as np
import pytest

import minidiff
from minidiff import backend, nn
from minidiff.autograd import Tensor, tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
LAYOUTS = {
    "dense": lambda t: t, "strided": lambda t: t[:, ::2], "transposed": lambda t: t.T, "offset": lambda t: t[1:, 1:],
    "repeated": lambda t: t[:1].expand(5, 4),
    "empty": lambda t: t[:0], "number": lambda t: t[1, 2],
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "uint8", "bool"])
def test_a_torch_tensor_becomes_a_tensor_in_the_same_memory(dtype, layout):
    """Whatever its layout; what PyTorch writes is seen."""
    t = torch.zeros(3, 4, dtype=getattr(torch, dtype))
    for make in (minidiff.from_dlpack, tensor, Tensor, minidiff.as_tensor):
        t.zero_()
        x = make(layout(t))
        assert x.dtype == np.dtype(dtype) and x.shape == tuple(layout(t).shape) and x.device == "cpu"
        t.fill_(1)
        assert (x.numpy() == 1).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_a_tensor_becomes_a_torch_tensor_in_the_same_memory(dtype):
    """What NumPy writes is seen; memory that runs backwards or is read-only comes over as well."""
    array = np.zeros((3, 4), dtype)
    x = tensor(array)
    given = [torch.from_dlpack(y) for y in (x, x.T, x[1:, ::2], x.reshape(2, 6))]
    array[...] = 1
    assert all((t == 1).all() for t in given)
    values = tensor(np.arange(6).astype(dtype))
    assert torch.from_dlpack(values.flip(0)).tolist() == values.tolist()[::-1]
    assert torch.from_dlpack(values[:1].expand(4)).tolist() == values.tolist()[:1] * 4


def test_what_cannot_be_shared_is_refused():
    """A graph on either side; elements that NumPy does not have."""
    with pytest.raises(TypeError, match=r"torch.Tensor that requires gradients in its own library: detach it first, x.detach\(\)"):
        tensor(torch.zeros(2, requires_grad=True))
    with pytest.raises(BufferError, match=r"give x.detach\(\)"):
        torch.from_dlpack(tensor([1.0], requires_grad=True))
    with pytest.raises(TypeError, match=r"torch.Tensor of torch.bfloat16 cannot be shared .*: convert it to float16, float32"):
        minidiff.from_dlpack(torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="tensor: expected numbers, got elements of type complex64"):
        tensor(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(backend.DeviceError, match="neither a CPU nor an NVIDIA GPU"):
        tensor(type("Far", (), {"__dlpack__": None, "__dlpack_device__": lambda self: (15, 0), "dtype": "float32"})())


def test_torch_tensors_serve_wherever_arrays_do():
    """In lists, as an index, as a gradient, with another dtype, as weights."""
    t = torch.tensor([1.0, 2.0])
    assert tensor([t, [3.0, 4.0]]).tolist() == [[1, 2], [3, 4]]
    assert tensor([5.0, 6.0, 7.0])[torch.tensor([2, 0])].tolist() == [7, 5]
    assert tensor(t, dtype=np.float64).dtype == np.float64 and tensor(torch.nn.Parameter(t).detach()).tolist() == [1, 2]
    x = tensor([1.0, 1.0], requires_grad=True)
    (x * 3).backward(tensor(t))
    assert x.grad.tolist() == [3, 6]
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    rows = np.ones((4, 3), np.float32)
    np.testing.assert_allclose(ours(tensor(rows)).detach().numpy(), theirs(torch.from_numpy(rows)).detach().numpy(), rtol=1e-6)
    assert backend.to_numpy(theirs.weight.detach()).shape == (2, 3)


def test_importing_minidiff_imports_neither_torch_nor_scipy():
    """Nor does sharing memory import anything."""
    code = "import sys, minidiff, numpy; minidiff.from_dlpack(numpy.ones(3)); print('torch' in sys.modules, 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["False", "False"]
