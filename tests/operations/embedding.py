"""Rows of a table, and one-hot vectors."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, shapes, values


@st.composite
def lookups(draw):
    """Without a row for padding among the indices, whose gradient is not the derivative: tests/functional/test_embedding.py has it."""
    source, rows, shape = draw(values()), draw(st.integers(1, 5)), draw(shapes(most=3, smallest=0))
    index, table = source.integers(0, rows, shape), source(rows + 1, draw(st.integers(0, 4)))
    padding = draw(st.sampled_from([None, rows, -1]))
    return draw(st.sampled_from([Call((index, table, padding)), Call((index,), {"weight": table, "padding_idx": padding}),
                                 Call((index, table))]))


@st.composite
def classes(draw):
    source, shape, most = draw(values()), draw(shapes(most=3, smallest=0)), draw(st.integers(1, 5))
    index = np.asarray(source.integers(0, most, shape))
    count = most + draw(st.integers(0, 2))
    inferred = [Call((index,)), Call((index, -1))] if index.size else []
    return draw(st.sampled_from([Call((index, count)), Call((index,), {"num_classes": count}), *inferred]))


TABLE, INDEX = np.ones((3, 2)), np.array([0, 2])

CASES = [
    Case("embedding", lookups(), refused=(
        Call((np.array([3]), TABLE)), Call((np.array([-1]), TABLE)), Call((np.array([0.5]), TABLE)), Call((INDEX, TABLE[0])),
        Call((INDEX, TABLE, 3)), Call((INDEX, TABLE, -4)))),
    Case("one_hot", classes(), order=0, waits=True, refused=(
        Call((INDEX, 2)), Call((np.array([-1]),)), Call((np.array([-1]), 3)), Call((np.array([0.5]), 3)), Call((np.array([], np.int64),)),
        Call((INDEX, 0)), Call((INDEX, -2)), Call((np.array([], np.int64), 0)))),
]
