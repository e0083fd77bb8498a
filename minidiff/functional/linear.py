"""Products of matrices: `matmul`, `linear`, `einsum` and their relatives. Names and arguments are `torch`'s.

All of them are one operation, `product`, between moves of dimensions. float16 is multiplied and added up in float32.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence

import numpy as np

from minidiff.autograd import operation

from .door import must_be_arrays
from .elementwise import mul
from .reduction import sum
from .shape import diagonal, expand, permute, permuted, reshape, unsqueeze

__all__ = ["bmm", "dot", "einsum", "linear", "matmul", "mm", "outer"]


def _product(xp, input, other):
    if input.dtype == np.float16:
        return xp.matmul(input.astype(np.float32), other.astype(np.float32)).astype(np.float16)
    return xp.matmul(input, other)


product = operation(_product, "out[..., i, j] = sum_k input[..., i, k] other[..., k, j]",
                    input=lambda g, other: product(g, _turned(other)),
                    other=lambda g, input: product(_turned(input), g))


def _turned(x):
    """Swap the last two dimensions."""
    n = len(x.shape)
    return permuted(x, dims=(*range(n - 2), n - 1, n - 2))


def _must_meet(name: str, *inputs) -> None:
    """TypeError unless all are arrays or Tensors of numbers, of one dtype: float32 times float64 is rarely meant."""
    for x in inputs:
        if not isinstance(getattr(x, "dtype", None), np.dtype):
            raise TypeError(f"{name}: expected Tensors or arrays, got {type(x).__name__}; minidiff.tensor(...) makes one of lists and of "
                            "other libraries' arrays")
    if any(x.dtype != inputs[0].dtype for x in inputs):
        raise TypeError(f"{name}: expected one dtype, got {' and '.join(str(x.dtype) for x in inputs)}; convert one of them with astype")
    if inputs[0].dtype == bool:
        raise TypeError(f"{name}: expected numbers, got booleans; convert them with astype")


def _must_have(name: str, *dimensions: tuple) -> None:
    """ValueError unless every array has its number of dimensions."""
    if any(len(x.shape) != n for x, n in dimensions):
        raise ValueError(f"{name}: expected {' and '.join(f'{n}-D' for _, n in dimensions)} inputs, "
                         f"got shapes {' and '.join(str(tuple(x.shape)) for x, _ in dimensions)}")


def matmul(input, other):
    """out[..., i, j] = sum_k input[..., i, k] other[..., k, j], leading dimensions broadcast; a 1-D argument is a vector.

    Shapes: (..., n, k), (..., k, m) -> (..., n, m). Raises ValueError when they do not fit, TypeError unless both have one dtype.
    """
    return _matmul("matmul", input, other)


def _matmul(name, input, other):
    _must_meet(name, input, other)
    a, b = len(input.shape), len(other.shape)
    shapes = f"{tuple(input.shape)} and {tuple(other.shape)}"
    if a == 0 or b == 0:
        raise ValueError(f"{name}: expected arrays of at least one dimension, got shapes {shapes}")
    k = other.shape[-2 if b > 1 else 0]
    if input.shape[-1] != k:
        raise ValueError(f"{name}: shapes {shapes} do not fit: {input.shape[-1]} columns meet {k} rows")
    if a > 2 and b > 2:
        try:
            np.broadcast_shapes(tuple(input.shape[:-2]), tuple(other.shape[:-2]))
        except ValueError:
            raise ValueError(f"{name}: the leading dimensions of shapes {shapes} do not broadcast") from None
    right = unsqueeze(other, 1) if b == 1 else other
    if b <= 2:  # all rows of all matrices at once
        left = input if a == 2 else reshape(input, (math.prod(input.shape[:-1]), k))
        shape = (*input.shape[:-1], *other.shape[1:])
    else:
        left = unsqueeze(input, 0) if a == 1 else input
        shape = None
    out = product(left, right)
    if shape is None:
        shape = out.shape if a > 1 else (*out.shape[:-2], out.shape[-1])
    return out if tuple(out.shape) == shape else reshape(out, shape)


def mm(input, mat2):
    """The product of two matrices: shapes (n, k), (k, m) -> (n, m); nothing broadcasts. Raises as `matmul` does."""
    _must_have("mm", (input, 2), (mat2, 2))
    return _matmul("mm", input, mat2)


def bmm(input, mat2):
    """The products of matrices in pairs: shapes (N, n, k), (N, k, m) -> (N, n, m); nothing broadcasts. Raises as `matmul` does."""
    _must_have("bmm", (input, 3), (mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm: {input.shape[0]} matrices meet {mat2.shape[0]} (shapes {tuple(input.shape)} and {tuple(mat2.shape)})")
    return _matmul("bmm", input, mat2)


def dot(input, tensor):
    """sum_i x_i y_i of two vectors of one length: shapes (n,), (n,) -> (). Raises as `matmul` does."""
    _must_have("dot", (input, 1), (tensor, 1))
    return _matmul("dot", input, tensor)


def outer(input, vec2):
    """out[i, j] = x_i y_j: shapes (n,), (m,) -> (n, m). Raises ValueError unless both are vectors."""
    _must_have("outer", (input, 1), (vec2, 1))
    return mul(unsqueeze(input, 1), vec2)


def linear(input, weight, bias=None):
    """y = x W^T + b.

    Shapes: input (..., in), weight (out, in), bias (out,) -> (..., out); a weight (in,) with a bias () gives (...).
    Raises ValueError when they do not fit, TypeError unless all have one dtype.
    """
    _must_meet("linear", input, weight, *(() if bias is None else (bias,)))
    if not 1 <= len(weight.shape) <= 2 or not input.shape or input.shape[-1] != weight.shape[-1]:
        raise ValueError(f"linear: an input of shape {tuple(input.shape)} does not fit a weight of shape {tuple(weight.shape)}; "
                         "expected (..., in) and (out, in)")
    if bias is not None and tuple(bias.shape) != tuple(weight.shape[:-1]):
        raise ValueError(f"linear: bias of shape {tuple(bias.shape)}; the weight asks for {tuple(weight.shape[:-1])}")
    out = _matmul("linear", input, _turned(weight) if len(weight.shape) == 2 else weight)
    return out if bias is None else out + bias


# -- einsum ----------------------------------------------------------------------------------------------------------


def einsum(equation: str, *operands):
    """The sum of products that the equation says: einsum("bhqd,bhkd->bhqk", q, k) is q k^T for each b and h.

    Every dimension of every operand has a letter. A letter that stands in several places names one size (or 1, which broadcasts) and runs
    through all of them together; what is not in the result is summed over. "..." stands for any further dimensions, which broadcast. A
    repeated letter takes a diagonal. Without "->" the result has the letters that occur once, in order. Operands may come as a list.
    Two at a time are multiplied, as matrices; of many, those first that leave the smallest result.
    Raises ValueError when the equation and the shapes do not fit, TypeError unless all operands have one dtype.
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not isinstance(equation, str):
        raise TypeError(f"einsum: expected an equation like 'ij,jk->ik' first, got {type(equation).__name__}")
    for x in operands:
        must_be_arrays("einsum", operands=x)
    labels, result = _parsed(equation, [tuple(x.shape) for x in operands])
    if any(x.dtype != operands[0].dtype for x in operands):
        _must_meet("einsum", *operands)
    terms = [_diagonals(x, own) for x, own in zip(operands, labels)]
    sizes = _sizes(equation, terms)
    terms = [(expand(x, tuple(sizes[label] for label in own)), own) for x, own in terms]
    while len(terms) > 1:
        one, two = _cheapest_pair(terms, result, sizes)
        rest = [term for i, term in enumerate(terms) if i not in (one, two)]
        terms = [*rest, _contracted(terms[one], terms[two], _needed(rest, result), sizes)]
    x, own = _summed(*terms[0], set(result))
    return permute(x, [own.index(label) for label in result])


def _parsed(equation: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[list[Hashable]], list[Hashable]]:
    """The labels of each operand and of the result: letters, and for the dimensions under "..." the numbers ..., -2, -1."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(shapes):
        raise ValueError(f"einsum: {equation!r} has {len(texts)} operands, got {len(shapes)}")
    labels: list[list[Hashable]] = []
    for text, shape in zip(texts, shapes):
        head, dots, tail = _letters(equation, text)
        more = len(shape) - len(head + tail)
        if more < 0 or (more and not dots):
            raise ValueError(f"einsum: {text!r} of {equation!r} names {len(head + tail)} dimensions, the operand has shape {shape}")
        labels.append([*head, *range(-more, 0), *tail])
    several = sorted({label for own in labels for label in own if isinstance(label, int)})
    if not arrow:
        letters = [letter for text in texts for letter in text.replace(".", "")]
        return labels, [*several, *sorted(letter for letter in letters if letters.count(letter) == 1)]
    head, dots, tail = _letters(equation, right)
    for letter in head + tail:
        if (head + tail).count(letter) > 1 or all(letter not in own for own in labels):
            raise ValueError(f"einsum: {letter!r} in the result of {equation!r} must stand there once, and in an operand")
    return labels, [*head, *(several if dots else []), *tail]


def _letters(equation: str, text: str) -> tuple[str, str, str]:
    """What stands before "...", "..." or nothing, and what stands after it."""
    head, dots, tail = text.partition("...")
    if any(not (letter.isascii() and letter.isalpha()) for letter in head + tail):
        raise ValueError(f"einsum: {text!r} of {equation!r}; expected letters and at most one '...', as in 'b...i,ij->b...j'")
    return head, dots, tail


def _diagonals(x, own):
    """The diagonal of dimensions with the same label, which then has one."""
    for label in [label for i, label in enumerate(own) if label in own[:i]]:
        first = own.index(label)
        second = own.index(label, first + 1)
        if x.shape[first] != x.shape[second]:
            raise ValueError(f"einsum: {label!r} is repeated, but its sizes are {x.shape[first]} and {x.shape[second]}")
        x = diagonal(x, 0, first, second)
        own = [*(other for i, other in enumerate(own) if i not in (first, second)), label]
    return x, own


def _sizes(equation, terms):
    """The size of each label; sizes of 1 broadcast."""
    sizes: dict[Hashable, int] = {}
    for x, own in terms:
        for label, n in zip(own, x.shape):
            if sizes.setdefault(label, n) != n:
                if 1 not in (n, sizes[label]):
                    name = label if isinstance(label, str) else "..."
                    raise ValueError(f"einsum: {name!r} of {equation!r} has the sizes {sizes[label]} and {n}; only 1 broadcasts")
                sizes[label] = n if sizes[label] == 1 else sizes[label]
    return sizes


def _needed(terms, result):
    """The labels in the result or in one of these operands."""
    return {*result, *(label for _, own in terms for label in own)}


def _cheapest_pair(terms, result, sizes):
    """The two operands whose product is smallest, compared with the two; of equals, those that take fewer multiplications."""
    def growth(pair):
        needed = _needed([term for i, term in enumerate(terms) if i not in pair], result)
        (_, one), (_, two) = (terms[i] for i in pair)
        size = lambda labels: math.prod(sizes[label] for label in labels)
        return size({*one, *two} & needed) - size(one) - size(two), size({*one, *two})

    return min(itertools.combinations(range(len(terms)), 2), key=growth) if len(terms) > 2 else (0, 1)


def _summed(x, own, needed):
    """Sum over the labels that nothing needs any more."""
    over = tuple(i for i, label in enumerate(own) if label not in needed)
    return (sum(x, over), [label for label in own if label in needed]) if over else (x, own)


def _contracted(one, two, needed, sizes):
    """The product of two operands, with only the needed labels: a matrix product for each label in both that is needed."""
    (a, in_a), (b, in_b) = _summed(*one, {*two[1], *needed}), _summed(*two, {*one[1], *needed})
    rows, columns = ([label for label in own if label not in other] for own, other in ((in_a, in_b), (in_b, in_a)))
    each = [label for label in in_a if label in in_b and label in needed]
    over = [label for label in in_a if label in in_b and label not in needed]
    size = lambda labels: tuple(sizes[label] for label in labels)
    arranged = lambda x, own, *parts: permute(x, [own.index(label) for part in parts for label in part])
    if not over:
        a = reshape(arranged(a, in_a, each, rows), (*size(each), *size(rows), *(1,) * len(columns)))
        b = reshape(arranged(b, in_b, each, columns), (*size(each), *(1,) * len(rows), *size(columns)))
        return mul(a, b), [*each, *rows, *columns]
    n, m, k, batch = (math.prod(size(labels)) for labels in (rows, columns, over, each))
    a = reshape(arranged(a, in_a, each, rows, over), (batch, n, k) if each else (n, k))
    b = reshape(arranged(b, in_b, each, over, columns), (batch, k, m) if each else (k, m))
    return reshape(product(a, b), (*size(each), *size(rows), *size(columns))), [*each, *rows, *columns]
