"""Products of matrices against loops over single numbers, laws, dtypes, errors."""

import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operations.linear import equations, linears, matmuls
from operations.run import flat

from minidiff import functional as F
from minidiff.autograd import gradient, tensor


def einsum_by_loops(equation, operands):
    """The definition: for every assignment of numbers to letters, multiply one element of each operand and add to one of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    dots = max((x.ndim - len(text.replace(".", "")) for text, x in zip(texts, operands) if "..." in text), default=0)
    stands_for = lambda text, x: "0123456789"[dots - (x.ndim - len(text) + 3):dots]
    texts = [text.replace("...", stands_for(text, x)) if "..." in text else text for text, x in zip(texts, operands)]
    everything = "".join(texts)
    hidden = "0123456789"[:dots]
    if not arrow:
        right = hidden + "".join(sorted(c for c in set(everything) if everything.count(c) == 1 and c.isalpha()))
    right = right.replace("...", hidden)
    found = [(c, n) for text, x in zip(texts, operands) for c, n in zip(text, x.shape)]
    sizes = {c: 0 if (c, 0) in found else max(n for other, n in found if other == c) for c in everything}  # 1 broadcasts, to 0 as well
    letters = sorted(sizes)
    out = np.zeros([sizes[c] for c in right])
    for values in itertools.product(*(range(sizes[c]) for c in letters)):
        place = dict(zip(letters, values))
        term = 1.0
        for text, x in zip(texts, operands):
            term *= x[tuple(0 if x.shape[i] == 1 else place[c] for i, c in enumerate(text))]
        out[tuple(place[c] for c in right)] += term
    return out


@settings(max_examples=200)
@given(equations(most=4))
def test_einsum_is_the_sum_over_all_letters(call):
    """Every equation by loops over the values of its letters."""
    equation, *operands = call.args
    operands = flat(operands)
    np.testing.assert_allclose(F.einsum(equation, *operands), einsum_by_loops(equation, operands), rtol=1e-12, atol=1e-12)


@given(st.permutations(range(4)), st.permutations("abcd"))
def test_the_order_of_operands_and_of_letters_does_not_matter(order, letters):
    """A chain of four matrices, told in any order and with any letters, is their product."""
    chain = [np.random.default_rng().normal(size=shape) for shape in ((2, 7), (7, 3), (3, 5), (5, 4))]
    texts = ["xa", "ab", "bc", "cy"]
    renamed = {**dict(zip("abc", letters)), "x": "x", "y": "y"}
    texts = ["".join(renamed[c] for c in text) for text in texts]
    found = F.einsum(",".join(texts[i] for i in order) + "->xy", [chain[i] for i in order])
    np.testing.assert_allclose(found, chain[0] @ chain[1] @ chain[2] @ chain[3], rtol=1e-12, atol=1e-12)


def test_many_operands_cost_what_the_best_order_costs(monkeypatch):
    """A chain that ends in a vector takes a matrix times a vector at each step; vectors without a common letter are summed first."""
    multiplications = []
    family = sys.modules["minidiff.functional.linear"]
    product = family.product
    monkeypatch.setattr(family, "product", lambda a, b: multiplications.append(a.size * b.shape[-1]) or product(a, b))
    n = 100
    left, right, vector = np.ones((n, n)), np.ones((n, n)), np.ones(n)
    assert (F.einsum("ij,jk,k->i", left, right, vector) == n * n).all()
    assert (F.einsum("k,jk,ij->i", vector, right, left) == n * n).all()
    assert multiplications == [n * n] * 4
    assert F.einsum("i,j,k,l,m,n,o->", *[np.ones(40)] * 7) == 40.0**7


@settings(max_examples=100)
@given(matmuls())
def test_matmul_adds_up_products(call):
    """out[..., i, j] by loops over the definition, with broadcasting by np.ndindex."""
    a, b = [*call.args, *call.kwargs.values()]
    left, right = a if a.ndim > 1 else a[None, :], b if b.ndim > 1 else b[:, None]
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left, right = np.broadcast_to(left, lead + left.shape[-2:]), np.broadcast_to(right, lead + right.shape[-2:])
    expected = np.zeros((*lead, left.shape[-2], right.shape[-1]))
    for place in np.ndindex(expected.shape):
        *batch, i, j = place
        expected[place] = sum(left[(*batch, i, k)] * right[(*batch, k, j)] for k in range(left.shape[-1]))
    dropped = tuple(axis for axis, vector in ((-2, a.ndim == 1), (-1, b.ndim == 1)) if vector)
    found = F.matmul(a, b)
    np.testing.assert_allclose(found, expected.squeeze(dropped), rtol=1e-13, atol=1e-13)
    assert found.dtype == a.dtype
    if a.ndim == b.ndim == 2:
        np.testing.assert_array_equal(F.mm(a, b), found)
    if a.ndim == b.ndim == 3 and a.shape[0] == b.shape[0]:
        np.testing.assert_array_equal(F.bmm(a, b), found)
    if a.ndim == b.ndim == 1:
        np.testing.assert_array_equal(F.dot(a, b), found)
        np.testing.assert_array_equal(F.outer(a, b), [[x * y for y in b] for x in a] if len(a) else np.zeros((0, len(b))))


@given(linears())
def test_linear_is_a_sum_for_each_row(call):
    """y_o = sum_i W_oi x_i + b_o, each row by itself."""
    x, w, *bias = [*call.args, *call.kwargs.values()]
    found = F.linear(x, w, *bias)
    rows = w if w.ndim == 2 else w[None]
    b = bias[0].reshape(-1) if bias else np.zeros(len(rows))
    expected = np.zeros((*x.shape[:-1], len(rows)))
    for place in np.ndindex(x.shape[:-1]):
        expected[place] = [sum(rows[o, i] * x[(*place, i)] for i in range(x.shape[-1])) + b[o] for o in range(len(rows))]
    np.testing.assert_allclose(found, expected if w.ndim == 2 else expected[..., 0], rtol=1e-13, atol=1e-13)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_the_gradient_is_the_adjoint(n, k, m):
    """<A X, G> = <X, A^T G>: what backward does to G is the transpose of what forward does to X."""
    draw = np.random.default_rng()
    a, x, g = draw.normal(size=(n, k)), tensor(draw.normal(size=(k, m)), requires_grad=True), draw.normal(size=(n, m))
    back = gradient(F.matmul(a, x), x, tensor(g)).data
    np.testing.assert_allclose(back, a.T @ g, rtol=1e-12, atol=1e-12)


def test_float16_is_multiplied_in_float32():
    """A sum of 4096 products of ones would stop at 2048; results and gradients are float16."""
    ones = tensor(np.ones((2, 4096), np.float16), requires_grad=True)
    weight = np.ones((3, 4096), np.float16)
    for function in (lambda x: F.linear(x, weight), lambda x: F.matmul(x, weight.T), lambda x: F.einsum("ni,oi->no", x, weight)):
        out = function(ones)
        assert out.dtype == np.float16 and (out.data == 4096).all()
        assert gradient(F.mean(out), ones).dtype == np.float16
    assert F.einsum("ni->n", ones).data.tolist() == [4096, 4096]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda x: F.matmul(x, x), ValueError, "matmul: shapes (2, 3) and (2, 3) do not fit: 3 columns meet 2 rows"),
    (lambda x: F.matmul(x, x.T.astype(np.float32)), TypeError, "matmul: expected one dtype, got float64 and float32; convert one"),
    (lambda x: F.matmul(x, [1.0]), TypeError, "matmul: expected Tensors or arrays, got list"),
    (lambda x: F.matmul(x > 0, x.T > 0), TypeError, "matmul: expected numbers, got booleans"),
    (lambda x: F.matmul(np.ones((2, 2, 3)), np.ones((4, 3, 2))), ValueError, "matmul: the leading dimensions of shapes (2, 2, 3) and"),
    (lambda x: F.mm(x, x[0]), ValueError, "mm: expected 2-D and 2-D inputs, got shapes (2, 3) and (3,)"),
    (lambda x: F.bmm(np.ones((1, 2, 3)), np.ones((2, 3, 2))), ValueError, "bmm: 1 matrices meet 2"),
    (lambda x: F.linear(x, x.T), ValueError, "linear: an input of shape (2, 3) does not fit a weight of shape (3, 2)"),
    (lambda x: F.linear(x, x, np.ones(3)), ValueError, "linear: bias of shape (3,); the weight asks for (2,)"),
    (lambda x: F.einsum("ij,jk->ik", x, x), ValueError, "einsum: 'j' of 'ij,jk->ik' has the sizes 3 and 2; only 1 broadcasts"),
    (lambda x: F.einsum("i->i", x), ValueError, "einsum: 'i' of 'i->i' names 1 dimensions, the operand has shape (2, 3)"),
    (lambda x: F.einsum("ij->k", x), ValueError, "einsum: 'k' in the result of 'ij->k' must stand there once, and in an operand"),
    (lambda x: F.einsum("ij,jk", x), ValueError, "einsum: 'ij,jk' has 2 operands, got 1"),
    (lambda x: F.einsum("i1", x), ValueError, "einsum: 'i1' of 'i1'; expected letters and at most one '...'"),
    (lambda x: F.einsum("ii", x), ValueError, "einsum: 'i' is repeated, but its sizes are 2 and 3"),
    (lambda x: F.einsum(x, [0, 1]), TypeError, "einsum: expected an equation like 'ij,jk->ik' first, got ndarray"),
])
def test_bad_arguments_are_refused(call, error, message):
    """By name: what was expected, what came."""
    with pytest.raises(error, match=re.escape(message)):
        call(np.ones((2, 3)))
