"""Methods of `Tensor`: each against its function over generated calls, NumPy's words against NumPy, what has two meanings refused."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from operations import CASES
from operations.run import converted, flat

import minidiff
from minidiff import functional as F
from minidiff.autograd import Tensor, gradient, tensor
from minidiff.functional import methods

A = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])
TWO_MEANINGS = {"max", "min", "nonzero", "sort", "std", "var", "where"}  # not always the function: below, one by one
NAMES = {name for name, _ in methods._SAME} | {"split"}
METHODS = [case for case in CASES if case.name in NAMES - TWO_MEANINGS]
NUMPYS_WORDS = {"dim": "axis", "keepdim": "keepdims", "dim1": "axis1", "dim2": "axis2"}
numbers = arrays(np.float64, array_shapes(min_dims=0, max_dims=3, max_side=4), elements=st.integers(-8, 8).map(lambda n: n / 4))
matrices = arrays(np.float64, array_shapes(min_dims=2, max_dims=3, max_side=4), elements=st.integers(-8, 8).map(lambda n: n / 4))


def same(found, expected):
    found, expected = flat(found), flat(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        if isinstance(b, Tensor):
            assert type(a) is Tensor and a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        else:
            assert a == b


@pytest.mark.parametrize("case", METHODS, ids=str)
def test_a_method_is_its_function(case):
    """x.f(...) = f(x, ...), with a dimension also in NumPy's words."""
    parameters = inspect.signature(getattr(F, case.name)).parameters

    @settings(max_examples=8)
    @given(case.calls)
    def run(call):
        args, options = converted(call, lambda x, wanted: tensor(x))
        if not args or not isinstance(args[0], Tensor):
            return
        expected = getattr(F, case.name)(*args, **options)
        if case.name == "split":
            options = {{"split_size_or_sections": "split_size"}.get(key, key): value for key, value in options.items()}
        same(getattr(args[0], case.name)(*args[1:], **options), expected)
        if {"dim", "dim1"} & parameters.keys() and case.name not in ("squeeze", "transpose"):
            same(getattr(args[0], case.name)(*args[1:], **{NUMPYS_WORDS.get(key, key): value for key, value in options.items()}), expected)

    run()


def test_every_function_with_one_tensor_first_is_a_method():
    """Of arithmetic, reductions, shapes, indices. What is not: joins of several, and names that torch does not have as methods."""
    without = {name for family in (methods.e, methods.reduction, methods.shape, methods.indexing) for name in family.__all__
               if not hasattr(Tensor, name)}
    assert without == methods._NO_METHODS


LIKE_NUMPY = {
    "sum": lambda x: x.sum(), "sum keepdims": lambda x: x.sum(axis=tuple(range(x.ndim)), keepdims=True),
    "sum dtype": lambda x: x.sum(dtype=np.float64), "prod": lambda x: x.prod(), "mean": lambda x: x.mean(), "max": lambda x: x.max(),
    "min keepdims": lambda x: x.min(keepdims=True), "var ddof": lambda x: x.var(ddof=0),
    "var axis": lambda x: x.var(axis=None, keepdims=True), "std": lambda x: x.std(ddof=0), "argmax": lambda x: x.argmax(),
    "argmin keepdims": lambda x: x.argmin(keepdims=True), "all": lambda x: x.all(), "any": lambda x: x.any(),
    "cumsum": lambda x: x.cumsum(), "cumprod": lambda x: x.cumprod(), "round": lambda x: x.round(),
    "round decimals": lambda x: x.round(1), "clip": lambda x: x.clip(-1, 1), "clip min": lambda x: x.clip(min=0.5),
    "reshape": lambda x: x.reshape(-1), "reshape tuple": lambda x: x.reshape((1, x.size)), "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(), "transpose": lambda x: x.transpose(), "T": lambda x: x.T, "astype": lambda x: x.astype(np.float32),
    "astype int": lambda x: x.astype("int64"), "squeeze": lambda x: x.squeeze(), "copy": lambda x: x.copy(),
    "repeat": lambda x: x.ravel().repeat(2, axis=0), "take": lambda x: x.take([0, -1]), "size": lambda x: np.asarray(x.size),
    "ndim": lambda x: np.asarray(x.ndim), "len": lambda x: np.asarray(len(x.ravel())), "tolist": lambda x: np.asarray(x.tolist()),
    "abs": lambda x: abs(x), "neg": lambda x: -x, "pos": lambda x: +x, "pow": lambda x: x**2, "newaxis": lambda x: x[None, ..., None],
}
ALONG_LIKE_NUMPY = {
    "sum": lambda x, a: x.sum(axis=a), "sum positional": lambda x, a: x.sum(a), "mean": lambda x, a: x.mean(axis=a, keepdims=True),
    "max": lambda x, a: x.max(axis=a), "max keepdims": lambda x, a: x.max(a, keepdims=True),
    "min": lambda x, a: x.min(axis=a, keepdims=True), "var": lambda x, a: x.var(axis=a), "var ddof": lambda x, a: x.var(a, ddof=0.5),
    "std": lambda x, a: x.std(axis=a, keepdims=True), "argmax": lambda x, a: x.argmax(axis=a), "argmin": lambda x, a: x.argmin(a),
    "cumsum": lambda x, a: x.cumsum(axis=a), "cumprod": lambda x, a: x.cumprod(a), "prod": lambda x, a: x.prod(a),
    "prod axis": lambda x, a: x.prod(axis=a, keepdims=True), "all": lambda x, a: x.all(axis=a),
    "any": lambda x, a: x.any(a, keepdims=True), "swapaxes": lambda x, a: x.swapaxes(a, 0),
    "diagonal": lambda x, a: x.diagonal(1, axis1=0, axis2=1), "repeat": lambda x, a: x.repeat(2, axis=a),
    "repeats": lambda x, a: x.repeat(repeats=3, axis=a), "repeat each": lambda x, a: x.repeat([2] * x.shape[a], axis=a),
    "take": lambda x, a: x.take([[0], [-1]], axis=a), "transpose axes": lambda x, a: x.transpose(tuple(range(x.ndim))[::-1]),
    "transpose all": lambda x, a: x.transpose(1, 2, 0) if x.ndim == 3 else x, "squeeze": lambda x, a: x[None].squeeze(axis=0),
    "argsort": lambda x, a: (x * 1000 + np.arange(x.shape[-1])).argsort(axis=-1), "row": lambda x, a: x[-1],
    "slice": lambda x, a: x[:, ::-2], "pick": lambda x, a: x[[0, -1], ..., 0], "matmul": lambda x, a: x @ x.swapaxes(-1, -2),
}


def compare(method, x):
    found, expected = method(tensor(x)), method(x)
    for a, b in zip(flat(found), flat(expected), strict=True):
        b = np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("method", LIKE_NUMPY.values(), ids=LIKE_NUMPY)
def test_methods_are_numpys(method):
    """The same expression on the Tensor and on its array: shape, dtype, values."""
    settings(max_examples=15)(given(numbers)(lambda x: compare(method, x)))()


@pytest.mark.parametrize("method", ALONG_LIKE_NUMPY.values(), ids=ALONG_LIKE_NUMPY)
def test_methods_along_a_dimension_are_numpys(method):
    """The same expression on the Tensor and on its array, for any dimension, from either end."""

    @settings(max_examples=15)
    @given(matrices, st.data())
    def run(x, data):
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        compare(lambda y: method(y, axis), x)

    run()


X = tensor(A)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: X.std(), TypeError, r"std: NumPy divides by n here, PyTorch by n - 1; say which: std\(ddof=0\) or std\(correction=1\)"),
    (lambda: X.var(0), TypeError, "var: NumPy divides by n here"),
    (lambda: X.var(axis=0, keepdim=True), TypeError, "var: NumPy divides by n here"),
    (lambda: X.var(False), TypeError, "var: expected a dimension first, got False; write unbiased=False"),
    (lambda: X.var(ddof=0, correction=0), TypeError, "var: ddof, correction and unbiased say the same"),
    (lambda: X.var(axis=0, dim=0), TypeError, "var: axis and dim say the same"),
    (lambda: X.max(1), TypeError, r"max: along a dimension NumPy returns the values, .*; write max\(axis=1\) or max\(dim=1\)"),
    (lambda: X.min(-1), TypeError, r"min: along a dimension .* write min\(axis=-1\) or min\(dim=-1\)"),
    (lambda: X.repeat(2), TypeError, r"repeat: NumPy repeats each element, PyTorch the whole; write repeat\(n, axis"),
    (lambda: X.repeat(2, 1), TypeError, "repeat: NumPy repeats each element"),
    (lambda: X.repeat((2, 1)), TypeError, "repeat: NumPy repeats each element"),
    (lambda: tensor([1, 2, 3]).repeat([1, 2, 3]), TypeError, "repeat: NumPy repeats each element"),
    (lambda: X[None, None].repeat(1, 2, 3), ValueError, "repeat: 3 numbers for an input with 4 dimensions"),
    (lambda: X.nonzero(), TypeError, r"nonzero: .* write nonzero\(as_tuple=True\) for NumPy's or argwhere\(\)"),
    (lambda: X.sort(), TypeError, r"sort: NumPy's sorts in place, .*; write sort\(dim=-1\)"),
    (lambda: X.sum(0, np.float32), TypeError, "sum: positional argument 2 is keepdim, True or False; got"),
    (lambda: X.sum(axis=0, dim=0), TypeError, "sum: axis and dim say the same"),
    (lambda: X.squeeze(axis=0), ValueError, r"squeeze: axis 0 of shape \(2, 3\) is not of size 1"),
    (lambda: X.view(np.int64), TypeError, "view: expected sizes"),
    (lambda: X[None][0, :, [1, 2]], TypeError, r"x\[index\] with arrays that stand apart for NumPy, which puts"),
    (lambda: X[None][:, [0], ..., [0]], TypeError, r"x\[index\] with arrays that stand apart for NumPy, which puts"),
    (lambda: X.sum(out=A), TypeError, "out"),
    (lambda: X.to("tpu"), RuntimeError, "unknown device 'tpu'"),
])
def test_what_has_two_meanings_is_refused(call, error, message):
    """NumPy and PyTorch differ, and nothing says whose words they are; or both are said."""
    with pytest.raises(error, match=message):
        call()


def test_the_keyword_says_whose_words_they_are():
    """var, std, max, min, repeat, transpose, nonzero in both meanings."""
    assert np.isclose(X.var(dim=None).item(), A.var(ddof=1)) and np.isclose(X.var(axis=None).item(), A.var())
    assert np.isclose(X.std(correction=0).item(), A.std()) and np.isclose(X.std(unbiased=True).item(), A.std(ddof=1))
    assert np.isclose(X.var(1, keepdim=True).data, A.var(1, ddof=1, keepdims=True)).all()
    assert np.isclose(X.var(1, keepdims=True).data, A.var(1, keepdims=True)).all()
    assert X.max(dim=1).values.tolist() == [1.5, 3.0] and X.max(dim=1).indices.tolist() == [0, 0]
    assert X.min(1, True)[1].tolist() == [[1], [2]] and X.min(1, keepdim=True)[0].shape == (2, 1)
    assert X.max(axis=1).tolist() == [1.5, 3.0] and X.max(1, keepdims=True).shape == (2, 1)
    assert X.max(tensor(0.5)).tolist() == np.maximum(A, 0.5).tolist()
    assert X.repeat(2, 1, 1).tolist() == np.tile(A, (2, 1, 1)).tolist() and X.repeat((3, 1, 2)).shape == (3, 2, 6)
    assert X[None].repeat(1, 2, 3).tolist() == np.tile(A[None], (1, 2, 3)).tolist()
    assert X.transpose(0, 1).shape == X.transpose().shape == X.transpose(dim0=1, dim1=0).shape == (3, 2)
    assert X[None].transpose(1, 2).shape == (1, 3, 2) and X[None].transpose(2, 0, 1).shape == (3, 1, 2)
    assert [i.tolist() for i in X.nonzero(as_tuple=True)] == [i.tolist() for i in A.nonzero()]
    assert X.nonzero(as_tuple=False).tolist() == X.argwhere().tolist() == np.argwhere(A).tolist()
    values, indices = X.sort(dim=-1, descending=True)
    assert values[0].tolist() == [1.5, 0.5, -2.0] and indices[0].tolist() == [0, 2, 1]
    assert X.squeeze(0).shape == (2, 3)  # PyTorch's: nothing to drop
    assert X.where(X > 0, 0.0).tolist() == np.where(A > 0, A, 0.0).tolist()


def test_conversions_keep_the_graph_and_what_does_not_change_stays_itself():
    """float(), half() ..., to() in all its forms, type(), astype(), cpu()."""
    x = tensor(A, requires_grad=True)
    for name, dtype in methods._DTYPES.items():
        assert getattr(x, name)().dtype == dtype == getattr(minidiff, {"char": "int8", "byte": "uint8"}.get(name, name))
    for y in (x.float(), x.to("float32"), x.to(np.float32), x.to(minidiff.float32), x.to("cpu", np.float32),
              x.to(dtype=np.float32, device="cpu"), x.to(tensor(1.0)), x.type(np.float32), x.astype("float32"), x.type_as(tensor(1.0))):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(gradient(y.sum(), x).data, np.ones((2, 3)))
    assert x.to(np.float64) is x.double() is x.cpu() is x.to("cpu") is x.contiguous() is x
    assert x.clone() is not x and x.clone().data is x.data and gradient(x.clone().sum(), x).shape == (2, 3)
    assert x.is_floating_point() and not x.long().is_floating_point() and not x.is_cuda


def test_new_tensors_take_dtype_and_device():
    """new_zeros and its kind; sizes as numbers or as a tuple."""
    for y in (X.new_zeros(2, 3), X.new_ones((2, 3)), X.new_full((2, 3), 7), X.new_tensor([[1, 2, 3]] * 2)):
        assert y.dtype == np.float64 and y.shape == (2, 3)
    assert X.new_zeros(2, dtype=np.int64).dtype == np.int64 and X.new_ones(2, requires_grad=True).requires_grad


def test_questions_of_size():
    """dim, numel, nelement, size in both ways; view and expand by example."""
    assert X.dim() == X.ndim == 2 and X.numel() == X.nelement() == X.size == 6 and X.size() == X.shape == (2, 3)
    assert X.view(3, -1).shape == X.view((3, 2)).shape == (3, 2) and X.view_as(X.T).shape == (3, 2) and X[:1].expand_as(X).shape == (2, 3)
    assert X.mT.shape == (3, 2) and X[None].mT.shape == (1, 3, 2)


def test_methods_help_as_their_functions_do():
    """Signature and documentation."""
    assert inspect.signature(Tensor.gather).parameters.keys() >= {"dim", "index"} and Tensor.gather.__doc__ == F.gather.__doc__
    assert Tensor.masked_fill.__doc__ == F.masked_fill.__doc__ and Tensor.exp.__doc__ == F.exp.__doc__
