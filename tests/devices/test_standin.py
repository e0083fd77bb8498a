"""The stand-in for CuPy is as strict as CuPy: what would fail or wait on a GPU fails or is counted here."""

import inspect
import re

import numpy as np
import pytest
import standin as xp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

CUPY = "14"  # the version whose signatures the stand-in has


def device_array(shape=(2, 3)):
    return xp.asarray(np.arange(float(np.prod(shape))).reshape(shape))


X = device_array()
HOST = np.ones((2, 3))


def add_in_place(x, y):
    x += y


def assign(x, y):
    x[:] = y


REFUSED = {
    "a ufunc": lambda: np.exp(X),
    "a ufunc of two": lambda: np.add(X, X),
    "a reduction": lambda: np.sum(X),
    "a method by the back door": lambda: np.mean(X),
    "a function": lambda: np.concatenate([X, X]),
    "asarray": lambda: np.asarray(X),
    "an array of arrays": lambda: np.array([X, X]),
    "a NumPy scalar": lambda: np.float32(X[0, 0]),
    "host + device": lambda: HOST + X,
    "device + host": lambda: X + HOST,
    "device + host, no dimensions": lambda: X + np.array(1.0),
    "device += host": lambda: add_in_place(device_array(), HOST),
    "host += device": lambda: add_in_place(HOST.copy(), X),
    "device[:] = host": lambda: assign(device_array(), HOST),
    "host[:] = device": lambda: assign(HOST.copy(), X),
    "device < host": lambda: X < HOST,
    "a list": lambda: X * [1.0, 2.0, 3.0],
    "a host array for a function": lambda: xp.exp(HOST),
    "a host array first": lambda: xp.sum(HOST),
    "a host array second": lambda: xp.tensordot(X, HOST, 2),
    "a list for a function": lambda: xp.where([True, False, True], X, X),
    "a host array in a list": lambda: xp.concatenate([X, HOST]),
    "an argument that CuPy's function does not have": lambda: xp.max(X, initial=0.0),
    "an argument that CuPy's method does not have": lambda: X.max(initial=0.0),
    "item with an index": lambda: X.item(0),
    "as an index": lambda: range(3)[xp.asarray(1)],
    "casting": lambda: X.astype(np.float32, casting="unsafe"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_mixes_with_numpy(name, transfers):
    """Every way round that NumPy offers is a TypeError, and nothing came to the host on the way."""
    with pytest.raises(TypeError):
        REFUSED[name]()
    assert transfers == []


def test_what_cupy_does_not_have_is_missing():
    """The message of the AttributeError names it; arrays have none of NumPy's own attributes either."""
    with pytest.raises(AttributeError, match="'vecdot'"):
        xp.vecdot  # noqa: B018
    for name in ("ctypes", "setflags", "itemset", "__array_interface__", "ptp_"):
        assert not hasattr(X, name)


@pytest.mark.parametrize(
    "number", [2, 2.0, True, np.float32(2), np.float64(2), np.int64(2)], ids=lambda n: type(n).__name__
)
def test_numbers_mix_as_in_numpy(number):
    """From both sides; Python's take the array's dtype, NumPy's bring their own."""
    x = X.astype(np.float32)
    for result, expected in (
        (x * number, x.get() * number),
        (number - x, number - x.get()),
        (xp.maximum(x, number), np.maximum(x.get(), number)),
    ):
        assert isinstance(result, xp.ndarray) and result.dtype == expected.dtype
        np.testing.assert_array_equal(result.get(), expected)


@pytest.mark.parametrize("result", [
    lambda: X.sum(), lambda: X.max(), lambda: X.argmax(), lambda: X.mean(), lambda: xp.sum(X), lambda: X[0, 0],
    lambda: X[1, 2] > 3, lambda: xp.exp(1.0), lambda: xp.asarray(3.0), lambda: xp.allclose(X, X), lambda: X.any(),
    lambda: xp.asarray([1, 2])[xp.asarray(0)],
])  # fmt: skip
def test_a_single_number_stays_on_the_device(result, transfers):
    """NumPy would return a scalar; here it is an array without dimensions, and the host has not seen it."""
    value = result()
    assert isinstance(value, xp.ndarray) and value.shape == () and transfers == []


SEEN_BY_THE_HOST = {
    "float(x)": lambda x: float(x.sum()), "int(x)": lambda x: int(x.sum()), "bool(x)": lambda x: bool(x.any()),
    "item()": lambda x: x.sum().item(), "get()": lambda x: x.get(), "tolist()": lambda x: x.tolist(),
    "repr(x)": repr, "str(x)": str, "nonzero": lambda x: x.nonzero(), "where": lambda x: xp.where(x > 1),
    "unique": lambda x: xp.unique(x), "x[mask]": lambda x: x[x > 1],
    "x[mask] at": lambda x: x.__setitem__(x > 1, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("what", SEEN_BY_THE_HOST)
def test_what_the_host_sees_is_written_down(what, transfers):
    """One entry, with the file and the line that asked."""
    SEEN_BY_THE_HOST[what](device_array())
    (entry,) = transfers
    assert entry.startswith(what) and "test_standin.py:" in entry


def test_work_on_the_device_is_not_seen(transfers):
    """Arithmetic, views, reductions, indices, masks in where, and the way to the device."""
    x = xp.asarray(HOST)
    x[xp.asarray([0, 1])] = 2.0
    y = xp.where(x > 1, xp.tensordot(x, x.T, 1).sum(), 0.0)
    y[0] += y.max(axis=0)
    assert transfers == []
    assert y.tolist() == [[96.0] * 3, [48.0] * 3]


arrays = hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0), elements=st.floats(-9, 9))


@given(st.data())
def test_indexing_is_numpys_and_views_are_views(data):
    """Random slices, ints, None and ...; writing into what was picked, even one element, writes into the array."""
    host = data.draw(arrays)
    index = data.draw(hnp.basic_indices(host.shape, allow_newaxis=True))
    x = xp.asarray(host)
    picked, expected = x[index], host[index]
    np.testing.assert_array_equal(picked.get(), expected, strict=False)
    picked += 1.0
    changed = host.copy()
    changed[index] += 1.0
    np.testing.assert_array_equal(x.get(), changed)


@given(st.data())
def test_an_index_may_be_an_array_of_either_side(data):
    """Integers from the device, from the host and in a list, as in CuPy."""
    host = data.draw(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3), elements=st.floats(-9, 9)))
    index = data.draw(
        hnp.arrays(np.int64, hnp.array_shapes(max_dims=2), elements=st.integers(-len(host), len(host) - 1))
    )
    x = xp.asarray(host)
    for form in (xp.asarray(index), index, index.tolist()):
        np.testing.assert_array_equal(x[form].get(), host[index])


def test_duplicate_indices_are_refused_in_assignments_and_add_up_in_add_at():
    """On a GPU `a[i] = v` with duplicates gives any of the values; one number for all is no question."""
    index = xp.asarray(np.array([0, 1, 1]))
    x = xp.zeros(3)
    x[xp.asarray(np.array([0, 2]))] = 1.0
    with pytest.raises(IndexError, match="occurs twice"):
        x[index] = xp.ones(3)
    x[index] = 1.0
    with pytest.raises(IndexError, match="occurs twice"):
        x[index] += 1.0
    xp.add.at(x, index, xp.ones(3))
    assert x.tolist() == [2.0, 3.0, 1.0]
    with pytest.raises(TypeError, match="only supports"):
        xp.add.at(xp.zeros(3, np.int64), index, 1)


def test_a_strided_view_stays_within_its_array():
    """Windows that fit, and one element further."""
    x = xp.arange(6)
    windows = xp.lib.stride_tricks.as_strided
    assert windows(x, (4, 3), (8, 8)).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    with pytest.raises(IndexError, match="leaves the memory"):
        windows(x, (5, 3), (8, 8))


def test_arrays_of_two_devices_do_not_mix():
    """Each belongs to the device that was current; work on it needs that device to be current again, `get` does not."""
    with xp.cuda.Device(1):
        other = xp.ones(3)
        assert other.device.id == 1 and (other + other).get().sum() == 6.0
    assert xp.ones(3).device.id == 0
    for mixed in (lambda: xp.ones(3) + other, lambda: xp.exp(other), lambda: other.sum(), lambda: other[0]):
        with pytest.raises(ValueError, match="different from the current device"):
            mixed()
    assert other.get().sum() == 3.0


# -- against CuPy itself, where it is installed (a GPU is not needed for that) ---------------------------------------


def parameters(signature):
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def test_the_functions_have_cupys_signatures():
    """Name by name: parameters, order, defaults; for CuPy's compiled functions those of the docstring."""
    cupy = pytest.importorskip("cupy", minversion=CUPY)
    for name, function in xp.FUNCTIONS.items():
        theirs = getattr(cupy, name)  # AttributeError: the stand-in has what CuPy has not
        if isinstance(theirs, cupy.ufunc):
            described = re.search(r"\((.*?)\)\n", theirs.__doc__).group(1).replace("\\", "")
            assert parameters(function.__signature__) == parameters(
                inspect.signature(eval(f"lambda {described}: None"))
            ), name
        elif name not in xp.FROM_NUMPY:
            assert parameters(inspect.signature(function)) == parameters(inspect.signature(theirs)), name
        else:
            assert theirs is getattr(np, name), name
    as_strided = [library.lib.stride_tricks.as_strided for library in (xp, cupy)]
    assert parameters(inspect.signature(as_strided[0])) == parameters(inspect.signature(as_strided[1]))


def test_the_methods_have_cupys_signatures():
    """CuPy's methods are compiled; what they take stands in the first line of the docstring."""
    cupy = pytest.importorskip("cupy", minversion=CUPY)
    for name in dir(xp.ndarray):
        if not name.startswith("_"):
            ours, theirs = (
                getattr(xp.ndarray, name),
                getattr(cupy.ndarray, name),
            )  # AttributeError: CuPy does not have it
            if callable(ours):
                assert [p for p in parameters(inspect.signature(ours)) if p[0] != "self"] == described(theirs), name


def described(method):
    """The parameters after self."""
    found = re.match(r"\w+\.\w+\((.*?)\)( -> \w+)?\n?", method.__doc__ or "")
    text = found.group(1) if found else str(inspect.signature(method))[1:-1]
    text = re.sub(r"\b(int|Py_ssize_t|_ndarray_base) (?=\w)", "", text)
    return parameters(inspect.signature(eval(f"lambda {text}: None")))[1:]
