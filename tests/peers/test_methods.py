"""Methods of `Tensor` in PyTorch's words against PyTorch: the same expressions on both, values, shapes, dtypes and gradients."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operations.case import Values, shapes, values
from operations.indexing import indices
from operations.run import flat

import minidiff
from minidiff.autograd import Tensor, gradient, tensor
from minidiff.functional import methods

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
ALL = slice(None)

# x has shape (2, 3, 4), i the integers of x, m the mask x > 0, index (2, 3, 4) integers below 3; lib is minidiff or torch
EXPRESSIONS = """
x.sum(1, True)                  x.sum(dim=(0, 2), keepdim=True)     x.mean(-1, keepdim=True)        x.mean(dim=(0, 1))
x.var(1, unbiased=False)        x.var(dim=1)                        x.std(dim=-1, keepdim=True)
x.var(dim=(0, 2), correction=0)
x.var(unbiased=True)            x.std(correction=1)                 x.var(0, keepdim=True)          x.std(dim=None, correction=2)
x.max()                         x.max(dim=1)                        x.max(1, True)                  x.min(dim=-1, keepdim=True)
x.max(-x)                       x.min(other=-x)                     x.amax(1)                       x.amin((0, 1), keepdim=True)
x.argmax()                      x.argmax(1, True)                   x.argmin(dim=-1)                x.argmax(dim=0, keepdim=True)
x.prod(1)                       x.prod(dim=-1, keepdim=True)        x.cumsum(1)                     x.cumsum(dim=-1)
x.all()                         m.all(1)                            m.any(dim=(0, 1))               m.any(-1, keepdim=True)
x.norm()                        x.norm(2, dim=1)                    x.norm(p=1, dim=(0, 2))         x.logsumexp(1)
x.softmax(1)                    x.softmax(dim=-1)                   x.log_softmax(dim=1)            x.sigmoid()
x.sort(dim=1)                   x.sort(dim=-1, descending=True)     x.argsort(1)                    x.topk(2, dim=1)
x.relu()                        x.tanh()                            x.exp()                         x.abs().log()
x.abs().sqrt()                  x.square()                          x.abs().rsqrt()                 x.reciprocal()
x.clamp(-0.1, 0.2)              x.clamp(min=0)                      x.clip(0, 1)                    x.clamp(max=-x)
x.add(2)                        x.sub(x, alpha=2)                   x.mul(x)                        x.div(2.0)
x.pow(2)                        x.neg()                             x.sign()                        x.floor()
x.eq(x)                         x.ne(0)                             x.lt(-x)                        x.ge(0.1)
x.view(6, 4)                    x.view(-1, 2)                       x.view((3, 8))                  x.reshape(4, -1)
x.reshape((24,))                x.flatten()                         x.flatten(1)                    x.flatten(start_dim=0, end_dim=1)
x.unflatten(2, (2, 2))          x.ravel()                           x.view_as(x.T)                  x[0].t()
x.permute(2, 0, 1)              x.permute((0, 2, 1))                x.permute(dims=(1, 0, 2))       x.transpose(0, 1)
x.transpose(-1, -2)             x.transpose(dim0=0, dim1=2)         x.mT                            x[0].T
x.swapaxes(0, 1)                x.movedim(0, -1)                    x.movedim((0, 1), (2, 0))       x.contiguous()
x.unsqueeze(0)                  x.unsqueeze(-1).squeeze(-1)         x[:1].squeeze()                 x[:1].squeeze(0)
x.squeeze(1)                    x[None, :1].squeeze((0, 1))         x[:1].expand(5, -1, -1)         x[:1].expand((2, 2, 3, 4))
x[:1].expand_as(x)              x.repeat(2, 1, 3)                   x.repeat(2, 1, 1, 2)            x.repeat((2, 1, 1))
x.tile(2)                       x.tile((2, 1))                      x.repeat_interleave(2)          x.repeat_interleave(2, dim=1)
x.chunk(2)                      x.chunk(3, dim=-1)                  x.split(2, dim=1)               x.split([1, 3], 2)
x.split(split_size=1, dim=0)    x.unbind()                          x.unbind(1)                     x.unbind(dim=-1)
x.roll(1)                       x.roll(-2, 1)                       x.roll((1, 2), (0, 1))          x.roll(shifts=1, dims=2)
x.flip(0)                       x.flip(0, 1)                        x.flip((1, -1))                 x.flip(dims=(2,))
x.tril()                        x.triu(1)                           x.diagonal()                    x.diagonal(1, dim1=1, dim2=2)
x.gather(1, index)              x.gather(dim=1, index=index)        x.index_select(1, index[0, 0])  x.take_along_dim(index, dim=1)
x.masked_fill(m, -1e9)          x.masked_fill(~m, float("-inf"))    x.masked_select(m)              x.take(index[0])
x.scatter_add(1, index, x)      x.scatter(1, index, 2.0)            x.nonzero(as_tuple=True)        x.argwhere()
x.where(m, -x)                  x.where(m, 0.0)                     x.matmul(x.mT)                  x[0].mm(x[1].T)
x.bmm(x.mT)                     x[0, 0].dot(x[0, 1])                x[0, 0].outer(x[0, 1])          x @ x[0].T
x.to(lib.float64).double()      x.float()                           x.half()                        x.long()
x.int()                         x.bool()                            x.to(lib.int64)                 x.to("cpu")
x.to("cpu", lib.float32)        x.to(x.half())                      x.type(lib.float32)             x.type_as(i)
x.to(dtype=lib.float16)         x.clone()                           x.detach()                      x.cpu()
x.new_zeros(2, 3)               x.new_zeros((2,))                   x.new_ones(2, dtype=lib.int32)  x.new_full((2, 2), 3)
x.new_tensor([1, 2])            lib.zeros_like(x)                   lib.ones(2, 3, dtype=lib.long)  lib.full((2,), 3)
lib.arange(5)                   lib.arange(1, 2, 0.25)              lib.linspace(-1, 1, 5)          lib.eye(2, 3)
lib.cat([x, x], dim=1)          lib.stack((x, x), -1)               lib.where(m, x, -x)             lib.tensor([[1, 2.5]])
x + 1                           2 - x                               x * x[0]                        1 / x
x.detach() // 0.3               x % 0.3                             2 ** x                          abs(x) ** x
-x                              +x                                  x.abs() ** 0.5                  x ** 3
i // 2                          i % 3                               i & 1                           i | 2
i ^ 3                           ~i                                  ~m                              m & (x < 0.3)
x > 0                           x == x[0]                           0.1 <= x                        i + x.float()
i * 2.5                         i / 2                               i + m                           m * x
x[0]                            x[:, -1]                            x[..., None]                    x[m]
x[:, [0, 2]]                    x[x[..., 0] > 0]                    x[index[0, 0]]                  x[:, None, ::2]
i.sum()                         m.sum()                             i.max(dim=1)                    i.float().mean()
len(x)                          x.dim()                             x.numel()                       x.nelement()
x.size()                        x.size(0)                           x.size(-1)                      x.shape
x.ndim                          x.is_floating_point()               i.is_floating_point()           x[0, 0, 0].item()
x.tolist()                      x.requires_grad                     x.is_leaf                       float(x[0, 0, 0])
int(i[0, 0, 0])                 bool(x[0, 0, 0])                    f"{x[0, 0, 0]:.3f}"             x == None
"""
LINES = re.split(r"\s{2,}|\n", EXPRESSIONS.strip())


def evaluated(expression, lib, make, source):
    x = make(source(2, 3, 4))
    x.requires_grad_()
    index = make(np.random.default_rng(7).permuted(np.tile(np.arange(3)[:, None], (2, 1, 4)), axis=1))
    names = {"lib": lib, "x": x, "i": (x.detach() * 9).long(), "m": x > 0, "index": index}
    return x, flat(eval(expression, names))


@pytest.mark.parametrize("expression", LINES)
def test_an_expression_means_what_it_means_in_pytorch(expression):
    """Values, shapes, dtypes; and gradients, where there are any."""
    with np.errstate(all="ignore"):
        x, ours = evaluated(expression, minidiff, tensor, Values(5))
    t, theirs = evaluated(expression, torch, torch.from_numpy, Values(5))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        if not isinstance(b, torch.Tensor):
            assert a == pytest.approx(b) if isinstance(b, float) else a == b
            continue
        assert isinstance(a, Tensor) and a.shape == tuple(b.shape)
        assert str(a.dtype) == str(b.dtype).removeprefix("torch.")
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12 if a.dtype == np.float64 else 1e-5, atol=1e-14)
        assert a.requires_grad == b.requires_grad
        if b.requires_grad and b.dtype == torch.float64:
            (expected,) = torch.autograd.grad(b.sum(), t, retain_graph=True)
            np.testing.assert_allclose(gradient(a.sum(), x, retain_graph=True).numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)


def test_the_names_of_methods_are_pytorchs_or_numpys():
    """No name is our own."""
    names = {name for name in vars(Tensor) if not name.startswith("_")} - {"node"}
    assert names <= {*dir(torch.Tensor), *dir(np.ndarray)}
    assert set(methods._OWN) <= set(vars(Tensor))


@settings(max_examples=300)
@given(values(), shapes(least=2, most=4, smallest=2).flatmap(lambda shape: st.tuples(st.just(shape), indices(shape, backwards=False))))
def test_an_index_means_what_it_means_in_pytorch_or_is_refused(source, example):
    """It is refused where the two differ, and only there."""
    shape, index = example
    x = source(*shape)
    parts = index if isinstance(index, tuple) else (index,)
    theirs = torch.from_numpy(x)[tuple(torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in parts)].numpy()
    try:
        found = tensor(x)[index].numpy()
    except TypeError as error:
        assert "stand apart for NumPy" in str(error)
        by_chance = theirs.size == 0 or 1 in theirs.shape  # then dimensions may stand elsewhere and look the same
        assert by_chance or x[index].shape != theirs.shape or not np.array_equal(x[index], theirs)
        return
    np.testing.assert_array_equal(found, theirs, strict=True)


@pytest.mark.parametrize(("index", "refused"), [
    ((0, ALL, [1, 2]), True), ((ALL, 0, ALL, [1, 2]), True), ((0, None, [1, 2]), True), ((None, 0, ..., [1, 2]), True),
    ((ALL, ALL, [0, 1], ..., [0, 1]), True), ((ALL, 0, ALL, [True, False] * 2 + [True]), True),
    (([0, 1], ALL, 0), False), (([0, 1], ALL, 0, [0, 1]), False), ((ALL, 0, [1, 2]), False), ((0, [1, 2]), False),
    ((..., 0, [1, 2]), False), (([0, 1], ALL, [0, 1]), False), ((ALL, [0, 1], ALL, [0, 1]), False), ((0, ..., 1), False),
    ((None, [0, 1], 0), False), ((ALL, [1, 2], 0), False), (([0, 1], None, ALL, 0), False), ((0, [True, False, True], ALL, 1), False),
], ids=str)
def test_an_index_is_refused_where_numpy_and_pytorch_order_dimensions_differently(index, refused):
    """And nowhere else: dimensions of different sizes, so nothing is the same by chance."""
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    theirs = torch.from_numpy(x)[index].numpy()
    assert refused == (theirs.shape != x[index].shape)
    if refused:
        with pytest.raises(TypeError, match="stand apart for NumPy"):
            tensor(x)[index]
    else:
        np.testing.assert_array_equal(tensor(x)[index].numpy(), theirs)


@given(st.sampled_from(["zeros", "ones", "rand", "randn"]), st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_sizes_are_given_as_in_pytorch(name, sizes):
    """As numbers, as a tuple, as a list."""
    options = {"generator": minidiff.Generator(0)} if name.startswith("rand") else {}
    for arguments in (sizes, (tuple(sizes),), (sizes,)):
        assert getattr(minidiff, name)(*arguments, **options).shape == tuple(getattr(torch, name)(*arguments).shape)


def test_dtypes_at_the_top_have_pytorchs_names():
    """Each of minidiff's is torch's of that name."""
    for name, dtype in minidiff._DTYPES.items():
        assert str(getattr(torch, name)) == f"torch.{dtype}" and getattr(minidiff, name) == np.dtype(dtype)
