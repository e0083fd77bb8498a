"""rearrange, reduce, repeat: element by element over generated patterns, the worked numbers of the course, errors."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from operations.einops import UNFIT, UNREADABLE, examples

from minidiff import functional as F
from minidiff.autograd import check_gradients, gradient, tensor

pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))


def place(dimensions, at, sizes):
    """The index of an element whose place on each axis is `at`: in a dimension of several axes the last varies fastest."""
    index = []
    for axes in dimensions:
        number = 0
        for axis in axes:
            number = number * sizes[axis] + at[axis]
        index.append(number)
    return tuple(index)


def elements(example):
    """(place on the left, place on the right) for every combination of places on the axes."""
    for numbers in itertools.product(*(range(n) for n in example.sizes.values())):
        at = dict(zip(example.sizes, numbers))
        yield place(example.left, at, example.sizes), place(example.right, at, example.sizes)


def counting(shape):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@given(st.sampled_from(["rearrange", "repeat"]).flatmap(lambda name: st.tuples(st.just(name), examples(name))))
def test_every_element_goes_where_its_axes_say(case):
    """One element after the other; the gradient comes back from where they went."""
    name, example = case
    x = tensor(counting(example.shape), requires_grad=True)
    y = getattr(F, name)(x, example.pattern, **example.given)
    assert y.shape == tuple(int(np.prod([example.sizes[axis] for axis in axes])) for axes in example.right)
    weights, sums, seen = np.cos(counting(y.shape)), np.zeros(x.shape), 0
    for old, new in elements(example):
        assert y.data[new] == x.data[old]
        sums[old] += weights[new]
        seen += 1
    assert seen == y.data.size
    np.testing.assert_allclose(gradient(y, x, weights).data, sums, atol=1e-13)


@given(examples("reduce", smallest=1))
def test_every_reduction_collects_what_shares_its_place(example):
    """The elements of each place on the right, gathered one by one, then put together by NumPy."""
    x = np.cos(counting(example.shape))
    collected = {}
    for old, new in elements(example):
        collected.setdefault(new, []).append(x[old])
    for name in ("sum", "mean", "max", "min", "prod", "any", "all"):
        y = F.reduce(x, example.pattern, name, **example.given)
        assert y.size == len(collected)
        if example.gone or name not in ("any", "all"):  # einops leaves the elements as they are when nothing goes
            for new, values in collected.items():
                assert y[new] == pytest.approx(getattr(np, name)(values), rel=1e-12, abs=1e-12)


@given(examples("rearrange"))
def test_the_pattern_turned_round_goes_back(example):
    """With the size of every name."""
    left, right = example.pattern.split("->")
    assume(not re.search(r"\([^)]*\.\.\.", right))
    names = {axis: n for axis, n in example.sizes.items() if not axis.startswith("hidden")}
    x = counting(example.shape)
    there = F.rearrange(x, example.pattern, **example.given)
    np.testing.assert_array_equal(F.rearrange(there, f"{right} -> {left}", **names), x)


# -- the course ------------------------------------------------------------------------------------------------------

SIXTEEN = np.arange(1.0, 17.0).reshape(1, 4, 4)


def test_the_worked_rearrange_pooling_of_the_course():
    """1..16 in a square become four channels of neighbours' places."""
    y = F.rearrange(SIXTEEN, "c (h p1) (w p2) -> (c p1 p2) h w", p1=2, p2=2)
    assert y.reshape(4, 4).tolist() == [[1, 3, 9, 11], [2, 4, 10, 12], [5, 7, 13, 15], [6, 8, 14, 16]]


def test_the_order_in_brackets_matters():
    """(h p1) takes neighbours, (p1 h) takes halves."""
    neighbours = F.rearrange(SIXTEEN, "c (h p1) w -> p1 c h w", p1=2)
    halves = F.rearrange(SIXTEEN, "c (p1 h) w -> p1 c h w", p1=2)
    np.testing.assert_array_equal(neighbours[0, 0], SIXTEEN[0, ::2])
    np.testing.assert_array_equal(halves[0, 0], SIXTEEN[0, :2])


@given(pairs(1, 3), pairs(1, 3), st.integers(1, 3), st.integers(0, 2))
def test_rearrange_pooling_moves_each_pixel_where_it_says(patches, cells, channels, batch):
    """Pixel by pixel; and back by the pattern turned round."""
    (p1, p2), (h, w) = patches, cells
    x = np.arange(1.0 * batch * channels * h * p1 * w * p2).reshape(batch, channels, h * p1, w * p2)
    there = F.rearrange(x, "b c (h p1) (w p2) -> b (c p1 p2) h w", p1=p1, p2=p2)
    for b, c, i, u, j, v in np.ndindex(batch, channels, h, p1, w, p2):
        assert there[b, (c * p1 + u) * p2 + v, i, j] == x[b, c, i * p1 + u, j * p2 + v]
    back = F.rearrange(there, "b (c p1 p2) h w -> b c (h p1) (w p2)", p1=p1, p2=p2, c=channels)
    np.testing.assert_array_equal(back, x)


# -- forms -----------------------------------------------------------------------------------------------------------


def test_a_list_gets_a_new_first_dimension():
    """Of arrays and of tensors, with gradients for each."""
    rows = [tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True), tensor(np.array([4.0, 5.0, 6.0]), requires_grad=True)]
    y = F.rearrange(rows, "row column -> column row")
    assert y.data.tolist() == [[1, 4], [2, 5], [3, 6]]
    for x, expected in zip(rows, gradient((y * np.array([[1.0, 2.0]])).sum(), rows)):
        assert expected.data.tolist() == [1.0 + (x is rows[1])] * 3
    assert F.reduce([np.ones(3), np.zeros(3)], "n ... -> ...", "sum").tolist() == [1, 1, 1]


def test_names_of_arguments_are_names_of_axes_too_where_they_need_no_size():
    """einops' own argument names; a size may be a NumPy integer."""
    x = counting((2, 6))
    np.testing.assert_array_equal(F.rearrange(tensor=x, pattern="tensor pattern -> pattern tensor"), x.T)
    np.testing.assert_array_equal(F.reduce(x, "a (b c) -> a b", reduction="max", c=np.int64(2)), x[:, 1::2])


def test_a_reduction_may_be_a_function():
    """Of the array with its axes split, and of the dimensions that go."""
    x = tensor(counting((2, 6)), requires_grad=True)
    y = F.reduce(x, "a (b c) -> b a", lambda x, dims: F.logsumexp(x, dims), c=2)
    np.testing.assert_allclose(y.data, np.log(np.exp(x.data.reshape(2, 3, 2)).sum(2)).T)
    check_gradients(lambda x: F.reduce(x, "a (b c) -> b a", lambda x, dims: F.logsumexp(x, dims), c=2), [np.cos(counting((2, 6)))])


@pytest.mark.parametrize(("name", "expected"), [("mean", np.mean), ("sum", np.sum)])
def test_float16_is_put_together_in_float32(name, expected):
    """4096 ones: their sum in float16 itself stays at 2048."""
    x = np.ones((4096, 2), np.float16)
    y = F.reduce(x, "n c -> c", name)
    assert y.dtype == np.float16 and y.tolist() == [expected(np.ones(4096))] * 2


def test_global_pooling_and_upsampling_are_one_line():
    """The patterns in the docstrings."""
    x = np.cos(counting((2, 3, 4, 6)))
    np.testing.assert_allclose(F.reduce(x, "b c h w -> b c () ()", "mean"), x.mean((2, 3), keepdims=True))
    np.testing.assert_array_equal(F.reduce(x, "b c (h p) (w q) -> b c h w", "max", p=2, q=2), F.max_pool2d(x, 2))
    np.testing.assert_array_equal(F.repeat(x, "b c h w -> b c (h 2) (w 2)"), F.interpolate(x, scale_factor=2))
    assert F.repeat(np.array([1.0, 2.0]), "c -> b c", b=3).tolist() == [[1, 2]] * 3


# -- errors ----------------------------------------------------------------------------------------------------------

X = np.ones((1, 2, 4, 6))


@pytest.mark.parametrize("pattern", [p if isinstance(p, tuple) else (p, {}) for p in (*UNREADABLE, *UNFIT)], ids=str)
def test_what_cannot_be_read_is_refused_by_all_three(pattern):
    """One parser: the same message with another name."""
    text, sizes = pattern
    messages = []
    for name, more in (("rearrange", ()), ("reduce", ("sum",)), ("repeat", ())):
        with pytest.raises(ValueError) as error:
            getattr(F, name)(np.ones((2, 3, 4)), text, *more, **sizes)
        assert str(error.value).startswith(f"{name}: ")
        messages.append(str(error.value).removeprefix(name))
    assert len(set(messages)) == 1 or "one side only" in messages[0] + messages[1] + messages[2]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: F.rearrange(X, "b c h w"), "expected one '->'"),
    (lambda: F.rearrange(X, "b c h w -> b c h"), r"\['w'\] may not stand on one side only"),
    (lambda: F.rearrange(X, "b c h -> b c h"), r"for an input of shape \(1, 2, 4, 6\): the left describes 3 dimensions"),
    (lambda: F.rearrange(X, "b c d h w ... -> b c d h w ..."), "the left describes 5 dimensions or more"),
    (lambda: F.rearrange(X, "b c h h -> b c h h"), "'h' stands twice on the left"),
    (lambda: F.rearrange(X, "b c (h -> b c h"), "brackets must open and close"),
    (lambda: F.rearrange(X, "b c (h ...) -> b c h ..."), "'...' may stand in brackets on the right only"),
    (lambda: F.rearrange(X, "b c h w -> ... b c h w"), "'...' stands on the right only"),
    (lambda: F.rearrange(X, "b... c h w -> b c h w"), "'...' stands by itself, and once on a side"),
    (lambda: F.rearrange(X, "b c h w_ -> b c h w_"), "'w_' is no name"),
    (lambda: F.rearrange(X, "b c h (w p) -> b c h w p"), r"size 6 does not tell the sizes of \(w p\); give w or p by name"),
    (lambda: F.rearrange(X, "b c h (w p) -> b c h w p", p=4), r"a dimension of size 6 does not split into \(w p\) with"),
    (lambda: F.rearrange(X, "b c h (w p) -> b c h w p", p=2, w=2), "does not split"),
    (lambda: F.rearrange(X[..., :0], "b c h (w p) -> b c h w p", p=0), "does not tell the sizes"),
    (lambda: F.rearrange(X, "b c h w -> b c h w", p=2), r"sizes are given for \['p'\], which it does not have"),
    (lambda: F.rearrange(X, "b c h (w p) -> b c h w p", p=-2), "sizes are whole numbers, 0 or more, got {'p': -2}"),
    (lambda: F.rearrange([], "a -> a"), r"a list needs at least one array, and all of one shape, got \[\]"),
    (lambda: F.reduce(X, "b c h w -> b d", "sum", d=3), r"^reduce: .*\['d'\] may not stand on one side only"),
    (lambda: F.reduce(X, "b c h w -> b", "median"), r"^reduce: reduction 'median' is not offered; expected one of sum, mean, max"),
    (lambda: F.repeat(X, "b c h w -> b c h"), r"^repeat: .*\['w'\] may not stand on one side only"),
    (lambda: F.repeat(X, "b c h w -> b c h w n"), r"^repeat: .*give the sizes of the new axes \['n'\] by name"),
    (lambda: F.repeat(X, "b c h w -> b c h w n", n=-1), "^repeat: sizes are whole numbers"),
])
def test_what_does_not_fit_is_refused(call, message):
    """One clear ValueError, which says the pattern and the shape."""
    with pytest.raises(ValueError, match=message):
        call()


def test_the_mean_of_integers_is_refused():
    """As in einops: it has no dtype of its own."""
    with pytest.raises(TypeError, match=r"^reduce: expected floating-point numbers, got tensor of int64"):
        F.reduce(np.ones((2, 3), np.int64), "a b -> a", "mean")
