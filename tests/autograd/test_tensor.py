"""`Tensor`: its ways in and out, its operators against NumPy's own. The methods are in tests/functional/test_methods.py."""

import copy
import operator

import numpy as np
import pytest

from minidiff.autograd import Tensor, gradient, tensor
from minidiff.autograd.tensor import from_dlpack
from minidiff.backend import DeviceError

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
        np.testing.assert_allclose(gradient(function(x).sum(), x).data, np.broadcast_to(slopes[op][number], A.shape), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_python_scalars_do_not_change_the_dtype(dtype):
    """float32 stays float32 beside 2, 2.0 and under every operator, both ways."""
    x = tensor(A.astype(dtype), requires_grad=True)
    for op in OPERATORS:
        for scalar in (2, 2.0):
            for y in (op(x, scalar), op(scalar, x)):
                assert y.dtype == dtype
                assert gradient(y.sum(), x).dtype == dtype
    for y in (x**2, (x * x)**0.5, x**-1, -x, abs(x), x.mean(), x.var(ddof=0), x.std(axis=0), x.max(), x.clip(0, 1)):
        assert y.dtype == dtype


def test_attributes_are_the_arrays():
    """shape, ndim, size, dtype, len, device."""
    x = Tensor(A)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x), x.device) == ((2, 3), 2, 6, np.float64, 2, "cpu")
    assert x.numpy() is A
    assert [row.shape for row in x] == [(3,), (3,)]


def test_one_element_is_a_number():
    """item, float, int, bool, an index, in a format; several elements, or none, are refused."""
    assert Tensor(np.array([2.5])).item() == 2.5 and float(tensor(2.5)) == 2.5 and int(tensor([2.5])) == 2
    assert bool(tensor(1)) and not bool(tensor([[0]]))
    assert range(5)[tensor([3])] == 3 and [0, 1, 2][tensor(1):] == [1, 2]
    assert f"{tensor(2.5):.2f} {tensor([3]):03d}" == "2.50 003" and f"{tensor(2.5)}" == "tensor(2.5)"
    for ask in (Tensor.item, bool, float, int):
        for x in (Tensor(A), Tensor(np.zeros(0))):
            with pytest.raises(ValueError, match=r"item: expected one element|bool: a Tensor of shape"):
                ask(x)
    with pytest.raises(ValueError, match=r"bool: a Tensor of shape .* is neither true nor false"):
        bool(Tensor(A))
    for x in (tensor(1.0), tensor([1, 2])):
        with pytest.raises(TypeError, match="only a Tensor of one integer is an index"):
            operator.index(x)


def test_nothing_that_is_no_number_is_an_operand():
    """== and != are Python's then, the others a TypeError that names both types; a complex number is no real one."""
    x = tensor([1.0, 2.0])
    assert (x == None) is False and (x != "a") is True  # noqa: E711
    for op in (*OPERATORS, operator.lt, operator.pow, operator.and_, operator.matmul):
        for other in (None, "a", [1, 2], 1j):
            with pytest.raises(TypeError, match="Tensor"):
                op(x, other)


INTEGERS = np.array([[5, -3, 2], [7, 0, -8]])


@pytest.mark.parametrize("op", [operator.floordiv, operator.mod, operator.pow], ids=lambda op: op.__name__)
def test_division_with_rest_and_powers_are_numpys_from_both_sides(op):
    """Also of Tensors by Tensors, with gradients; negative numbers round down."""
    for left, right in [(A, B), (np.abs(A), B), (A, 2), (3.0, np.abs(A)), (INTEGERS, np.array([2, 3, 4])), (INTEGERS, 3)]:
        with np.errstate(invalid="ignore"):
            expected = op(left, right)
            pairs = [(Tensor(left), right), (left, Tensor(right)), (Tensor(left), Tensor(right))]
            for found in (op(*pair) for pair in pairs if any(isinstance(x, Tensor) and x.ndim for x in pair)):
                assert type(found) is Tensor and found.dtype == expected.dtype
                np.testing.assert_allclose(found.data, expected, rtol=1e-15)
    x = tensor(np.abs(A), requires_grad=True)
    np.testing.assert_allclose(gradient((2.0**x).sum(), x).data, np.log(2) * 2.0**np.abs(A))


@pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor], ids=lambda op: op.__name__)
def test_bits_are_numpys_from_both_sides(op):
    """Of booleans and integers; ~ as well."""
    for left, right in [(INTEGERS, 3), (INTEGERS, INTEGERS[::-1]), (A > 0, B > 0), (A > 0, True)]:
        for found in (op(Tensor(left), right), op(left, Tensor(right)), op(Tensor(left), Tensor(right))):
            np.testing.assert_array_equal(found.data, op(left, right))
        np.testing.assert_array_equal((~Tensor(left)).data, ~left)


def test_rebinding_is_not_writing():
    """x += 1 makes a new Tensor. What would write is refused, with what to write instead."""
    x = first = tensor(A)
    x += 1
    x *= tensor(B)
    assert x is not first and first.data is A
    array = A.copy()
    with pytest.raises(TypeError, match="Tensor"):
        array += x
    assert (array == A).all()
    with pytest.raises(TypeError, match="Tensors are values, nothing is written in place"):
        x[0] = 1.0
    with pytest.raises(AttributeError, match=r"Tensor has no add_: Tensors are values, .*; write x = x.add\(...\)"):
        x.add_(1)
    with pytest.raises(AttributeError, match=r"Tensor has no normal_: .*; write an expression"):
        x.normal_()
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'conjugate'"):
        x.conjugate()
    assert not hasattr(x, "zero_") and hasattr(x, "requires_grad_")


def test_membership_asks_every_element():
    """As in NumPy and PyTorch."""
    assert 3.0 in tensor(A) and 7 not in tensor(A) and tensor(0.25) in tensor(A)


def test_gradients_can_be_switched_on_and_off_at_leaves():
    """requires_grad_(False) freezes a leaf; for a result there is detach."""
    x = tensor(A).requires_grad_()
    assert x.requires_grad and x.is_leaf and not (x * 2).is_leaf and not x.requires_grad_(False).requires_grad
    y = tensor(A, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="requires_grad_: this is the result of an operation"):
        y.requires_grad_(False)
    assert y.detach().is_leaf and not y.detach().requires_grad


def test_copies_of_leaves_are_leaves():
    """copy.deepcopy, as for a moving average of weights: other memory, the same values."""
    x = tensor(A, requires_grad=True)
    y = copy.deepcopy(x)
    assert y.requires_grad and y.data is not x.data and (y.data == x.data).all()


def test_python_floats_become_float32_and_arrays_stay():
    """Lists and numbers follow the library's default, arrays their own dtype; Tensor() is as tensor(), but leaves lists of ints to it."""
    for make in (tensor, Tensor):
        assert make([1.0, 2.0]).dtype == make(1.5).dtype == make([]).dtype == make([1, 2.5]).dtype == np.float32
        assert make(range(3)).dtype == np.int64
        assert make([True]).dtype == np.bool_
        assert make(A).dtype == np.float64 and make(A).data is A
        assert make(np.float64(2.0)).dtype == np.float64 and make([np.float64(2.0)]).dtype == np.float64
        assert make(tensor(A)).data is A
    assert tensor([1, 2]).dtype == tensor([True, 2]).dtype == np.int64
    assert tensor(A, dtype=np.float32).dtype == np.float32 and tensor([1, 2], dtype=np.float64).dtype == np.float64


def test_lists_of_tensors_and_arrays_are_stacked():
    """Nested, beside numbers, in the dtype in which they meet; the result is a leaf."""
    rows = [tensor(A[0], requires_grad=True), A[1]]
    np.testing.assert_array_equal(tensor(rows).data, A)
    np.testing.assert_array_equal(tensor([[rows[0], rows[1]], (A[0], A[1])]).data, np.stack([A, A]))
    assert tensor(rows).is_leaf and not tensor(rows).requires_grad
    assert tensor([tensor(1), 2.5]).dtype == np.float32 and tensor([tensor(1.0), 2.5]).tolist() == [1.0, 2.5]
    assert tensor([np.float32(1), np.float64(2)]).dtype == np.float64
    assert tensor([np.ones(2, np.float16), np.ones(2, int)]).dtype == np.float16


@pytest.mark.parametrize(("data", "error", "message"), [
    ("a", TypeError, "tensor: expected numbers, got elements of type <U1"), (["a"], TypeError, "tensor: expected .* got str"),
    ([None], TypeError, "tensor: expected .* got NoneType"), ([[1], [1, 2]], ValueError, "tensor: the parts of a list must have one shape"),
    ([np.ones(2), np.ones(3)], ValueError, "tensor: the parts of a list must have one shape"), (1j, TypeError, "tensor: expected numbers"),
    (np.array([1j]), TypeError, "tensor: expected numbers, got elements of type complex128"), (None, TypeError, "tensor: expected numbers"),
    ({"a": 1}, TypeError, "tensor: expected numbers"),
])
def test_what_is_no_number_makes_no_tensor(data, error, message):
    """One clear error each."""
    with pytest.raises(error, match=message):
        tensor(data)


def test_numpys_scalars_count_as_pythons_from_both_sides():
    """np.float64(2) * x stays float32, as 2.0 * x does."""
    x = tensor([1.0, 2.0])
    for scalar in (np.float64(2), np.float32(2), np.int64(2), np.bool_(True)):
        for y in (scalar * x, x * scalar, scalar + x, x - scalar):
            assert type(y) is Tensor and y.dtype == np.float32


def test_sizes_are_a_number_and_a_function():
    """NumPy's x.size, PyTorch's x.size() and x.size(0)."""
    x = tensor(A)
    assert x.size == 6 and x.size / 2 == 3 and isinstance(x.size, int) and f"{x.size}" == "6"
    assert x.size() == (2, 3) and x.size(0) == 2 and x.size(dim=-1) == 3
    with pytest.raises(IndexError, match=r"size: dimension 2 of shape \(2, 3\)"):
        x.size(2)


def test_a_number_has_no_length():
    """Nor rows."""
    for ask in (len, iter, list):
        with pytest.raises(TypeError, match="without dimensions"):
            ask(tensor(1.0))


def test_numpy_takes_the_array_itself():
    """np.asarray without a copy, with one where dtype or the caller ask for it."""
    x = tensor(A, requires_grad=True)
    assert np.asarray(x) is A and np.asarray(x, dtype=np.float32).dtype == np.float32
    assert np.array(x) is not A and (np.array(x) == A).all()
    assert np.stack([x, x]).shape == (2, 2, 3)
    assert np.sum(x).item() == A.sum() and np.mean(x, axis=0).shape == (3,)  # NumPy calls the method
    with pytest.raises(ValueError, match="only by a copy"):
        x.__array__(np.float32, copy=False)


class Foreign:
    """An array of another library: it offers DLPack and nothing else."""

    def __init__(self, array, device=(1, 0), requires_grad=False):
        self.array, self.device, self.requires_grad, self.dtype = array, device, requires_grad, "a dtype of its own"

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"])
@pytest.mark.parametrize("layout", [lambda x: x, lambda x: x[::2], lambda x: x.T, lambda x: x[:0], lambda x: x[0, 0, ...]],
                         ids=["dense", "strided", "transposed", "empty", "number"])
def test_memory_is_shared_with_other_libraries_both_ways(dtype, layout):
    """By DLPack, in every layout: what is written on one side is seen on the other."""
    source = layout(np.ones((4, 3), dtype))
    for make in (from_dlpack, tensor, Tensor):
        x = make(Foreign(np.asarray(source)))
        assert x.dtype == source.dtype and x.shape == source.shape
        assert not x.size or np.shares_memory(x.data, source)
    array = np.asarray(layout(np.ones((4, 3), dtype)))
    back = np.from_dlpack(Tensor(array))
    assert back.dtype == array.dtype and back.shape == array.shape and (not back.size or np.shares_memory(back, array))
    if array.ndim and array.size:
        array[...] = 0
        assert not back.any()


def test_memory_that_is_read_only_stays_so():
    """It can be shared, not written (NumPy before 2.1 copies); memory that runs backwards, which others do not take, is copied."""
    array = np.ones(3)
    array.flags.writeable = False
    for found in (tensor(Foreign(tensor(array))).data, np.from_dlpack(tensor(array))):
        assert (found == 1).all()
        assert np.lib.NumpyVersion(np.__version__) < "2.1.0" or (np.shares_memory(found, array) and not found.flags.writeable)
    given = np.from_dlpack(Tensor(A[::-1]))
    assert (given == A[::-1]).all() and min(given.strides) > 0


def test_what_cannot_be_shared_is_refused():
    """A graph, a device without a library, elements without a dtype, what offers nothing."""
    with pytest.raises(BufferError, match=r"give x.detach\(\)"):
        np.from_dlpack(tensor(A, requires_grad=True))
    assert (np.from_dlpack(tensor(A, requires_grad=True).detach()) == A).all()
    with pytest.raises(TypeError, match=r"Foreign that requires gradients in its own library: detach it first"):
        tensor(Foreign(A, requires_grad=True))
    with pytest.raises(DeviceError, match="neither a CPU nor an NVIDIA GPU"):
        tensor(Foreign(A, device=(8, 0)))
    with pytest.raises(TypeError, match="Foreign of a dtype of its own cannot be shared"):
        tensor(Foreign(np.array(["a"])))
    with pytest.raises(TypeError, match="from_dlpack: expected an array that offers __dlpack__, got list"):
        from_dlpack([1.0])


def test_printing_shows_what_is_unusual():
    """dtype and device only when they are not the default; where it came from; long arrays shortened; an empty one with its shape."""
    assert repr(tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(tensor([1, 2])) == "tensor([1, 2])" and repr(tensor([True])) == "tensor([ True])"
    x = tensor(B, requires_grad=True)
    assert repr(x) == "tensor([ 2. , -0.5,  4. ], dtype=float64, requires_grad=True)"
    assert repr(x * 2) == "tensor([ 4., -1.,  8.], dtype=float64, made_by=mul)"
    assert repr(tensor(A)) == "tensor([[ 1.5 , -2.  ,  0.5 ],\n        [ 3.  ,  0.25, -1.  ]], dtype=float64)"
    assert repr(tensor(np.zeros((0, 3)))) == "tensor([], shape=(0, 3), dtype=float64)"
    assert "..." in repr(tensor(np.zeros(2000))) and len(repr(tensor(np.zeros(2000)))) < 100
    assert str(tensor(2.5)) == "tensor(2.5)"


def test_tensors_can_be_keys():
    """Hash is identity, although == is elementwise."""
    x, y = tensor(1.0), tensor(1.0)
    assert {x: 1, y: 2}[x] == 1
