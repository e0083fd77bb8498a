"""`Tensor`: its ways in and out, its operators and NumPy methods against NumPy's own."""

import operator

import numpy as np
import pytest

from minidiff.autograd import Tensor, grad, tensor

A = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])
B = np.array([2.0, -0.5, 4.0])
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("op", OPERATORS + COMPARISONS)
@pytest.mark.parametrize("other", [B, 2.0, 3, np.float64(2.0), np.array(0.5)], ids=repr)
def test_operators_are_numpys_from_both_sides(op, other):
    """Tensor op array, array op Tensor, Tensor op Tensor, Tensor op number: always one Tensor with NumPy's values."""
    pairs = [(Tensor(A), other, op(A, other)), (other, Tensor(A), op(other, A)), (Tensor(A), Tensor(other), op(A, other))]
    for left, right, expected in pairs:
        found = op(left, right)
        assert type(found) is Tensor and found.dtype == expected.dtype
        np.testing.assert_array_equal(found.data, expected)


def test_matrix_products_are_numpys_from_both_sides():
    """@, also with vectors."""
    for left, right in [(A, A.T), (A, B), (A.T @ A, B), (B, A.T)]:
        for l, r in [(Tensor(left), right), (left, Tensor(right)), (Tensor(left), Tensor(right))]:
            found = l @ r
            assert type(found) is Tensor
            np.testing.assert_allclose(found.data, left @ right, rtol=1e-15)


@pytest.mark.parametrize("op", OPERATORS)
def test_gradients_flow_from_both_sides(op):
    """d/dx of a op x and x op a, by the rules of school."""
    slopes = {operator.add: (1, 1), operator.sub: (1, -1), operator.mul: (B, B), operator.truediv: (1 / B, -B / A**2)}
    for number, function in enumerate([lambda x: op(x, B), lambda x: op(B, x)]):
        x = tensor(A, requires_grad=True)
        np.testing.assert_allclose(grad(function(x).sum(), x).data, np.broadcast_to(slopes[op][number], A.shape), rtol=1e-15)


METHODS = {
    "sum": lambda x: x.sum(), "sum-axis": lambda x: x.sum(axis=1), "sum-keep": lambda x: x.sum(axis=(0, 1), keepdims=True),
    "mean": lambda x: x.mean(axis=-1), "max": lambda x: x.max(axis=0), "min": lambda x: x.min(),
    "var": lambda x: x.var(axis=1), "var-ddof": lambda x: x.var(ddof=1), "std": lambda x: x.std(axis=0, keepdims=True),
    "argmax": lambda x: x.argmax(), "argmax-axis": lambda x: x.argmax(axis=1), "reshape": lambda x: x.reshape(3, -1),
    "reshape-tuple": lambda x: x.reshape((6,)), "transpose": lambda x: x.transpose(), "transpose-axes": lambda x: x.transpose(1, 0),
    "T": lambda x: x.T, "squeeze": lambda x: x[None].squeeze(), "squeeze-axis": lambda x: x[None].squeeze(axis=0),
    "clip": lambda x: x.clip(-1.0, 2.0), "astype": lambda x: x.astype(np.float32), "abs": lambda x: abs(x), "neg": lambda x: -x,
    "pow": lambda x: x**2, "row": lambda x: x[1], "slice": lambda x: x[:, ::-2], "mask": lambda x: x[A > 0],
    "pick": lambda x: x[[0, 0], [1, 2]],
}


@pytest.mark.parametrize("method", list(METHODS.values()), ids=list(METHODS))
def test_methods_are_numpys(method):
    """The same expression on the Tensor and on its array: shape, dtype, values."""
    found, expected = method(Tensor(A)), np.asarray(method(A))
    assert type(found) is Tensor and found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found.data, expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_python_scalars_do_not_change_the_dtype(dtype):
    """float32 stays float32 beside 2, 2.0 and under every operator, both ways."""
    x = tensor(A.astype(dtype), requires_grad=True)
    for op in OPERATORS:
        for scalar in (2, 2.0):
            for y in (op(x, scalar), op(scalar, x)):
                assert y.dtype == dtype
                assert grad(y.sum(), x).dtype == dtype
    for y in (x**2, (x * x)**0.5, x**-1, -x, abs(x), x.mean(), x.var(), x.std(axis=0), x.max(), x.clip(0, 1)):
        assert y.dtype == dtype


def test_attributes_are_the_arrays():
    """shape, ndim, size, dtype, len, device."""
    x = Tensor(A)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x), x.device) == ((2, 3), 2, 6, np.float64, 2, "cpu")
    assert x.numpy() is A
    assert [row.shape for row in x] == [(3,), (3,)]


def test_one_element_is_a_number():
    """item, float, bool; several elements are refused."""
    assert Tensor(np.array([2.5])).item() == 2.5 and float(tensor(2.5)) == 2.5
    assert bool(tensor(1)) and not bool(tensor(0))
    for ask in (lambda x: x.item(), bool):
        with pytest.raises(ValueError):
            ask(Tensor(A))


def test_python_floats_become_float32_and_arrays_stay():
    """Lists and numbers follow the library's default, arrays their own dtype."""
    assert tensor([1.0, 2.0]).dtype == tensor(1.5).dtype == np.float32
    assert tensor([1, 2]).dtype == np.int64
    assert tensor(A).dtype == np.float64 and tensor(A).data is A
    assert tensor(A, dtype=np.float32).dtype == np.float32 and tensor([1, 2], dtype=np.float64).dtype == np.float64
    assert tensor(tensor(A)).data is A
    with pytest.raises(TypeError, match="expected numbers"):
        tensor(["a"])


def test_repr_shows_what_is_unusual():
    """dtype and requires_grad only when they are not the default."""
    assert repr(tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(tensor(B, requires_grad=True)) == "tensor([ 2. , -0.5,  4. ], float64, requires_grad=True)"


def test_tensors_can_be_keys():
    """Hash is identity, although == is elementwise."""
    x, y = tensor(1.0), tensor(1.0)
    assert {x: 1, y: 2}[x] == 1
