"""What the graph keeps in memory, and for how long. Garbage collection is off: reference counts alone must free everything."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

from minidiff import functional as F
from minidiff.autograd import Tensor, gradient, tensor


class Watched(np.ndarray):
    """An array that weak references can watch."""


@pytest.fixture(autouse=True)
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def watched(*shape):
    return np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape).view(Watched)


def test_a_dropped_graph_dies_at_once():
    """No reference cycles: neither after recording, nor after a walk, nor after a recorded walk, nor after an error."""
    x = tensor(np.ones((2, 3)), requires_grad=True)
    weight = tensor(np.ones((4, 3)), requires_grad=True)

    def graph():
        h = F.softmax(F.linear(x, weight), 1)
        y = F.mse_loss(F.group_norm(F.cat([h, h], 1), 2), np.zeros((2, 8)))
        return y, weakref.ref(h.node), weakref.ref(y.node)

    y, *nodes = graph()
    del y
    assert [node() for node in nodes] == [None, None]

    y, *nodes = graph()
    gradient(y, x)
    assert nodes[0]() is None  # a freed node dies while the output lives
    del y
    assert nodes[1]() is None

    y, *nodes = graph()
    g = gradient(y, x, create_graph=True)
    second = weakref.ref(g.node)
    del y, g
    assert [node() for node in (*nodes, second)] == [None, None, None]


@pytest.mark.parametrize(("function", "kept"), [
    (lambda h: h + 1.0, False), (lambda h: h * 3.0, False), (lambda h: -h, False), (lambda h: F.exp(h), False),
    (lambda h: F.tanh(h), False), (lambda h: F.sum(h), False), (lambda h: F.relu(h), False), (lambda h: h * h, True),
    (lambda h: F.sin(h), True), (lambda h: F.cat([h, h], 0), False),
])
def test_only_what_a_rule_names_is_kept(function, kept):
    """The input of an addition is free to go once computed, that of a product is not."""
    x = tensor(np.ones((2, 3)), requires_grad=True)
    h = x * 1.0
    h.data = watched(2, 3)
    watch = weakref.ref(h.data)
    y = function(h)
    del h
    assert (watch() is not None) == kept
    del y
    assert watch() is None


def test_the_walk_frees_what_it_has_used():
    """Twenty squarings of a 1 MB array: while the last rules run, the arrays of the first ones are gone."""
    x = tensor(np.full(2**17, 0.999), requires_grad=True)
    y = x
    watches = []
    for _ in range(20):
        y = y * y
        y.data = y.data.view(Watched)
        watches.append(weakref.ref(y.data))
    y = y.sum()
    assert sum(watch() is not None for watch in watches[:-1]) == 19
    tracemalloc.start()
    try:
        gradient(y, x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not any(watch() is not None for watch in watches)
    assert peak < 6 * 2**20  # a few gradients of one layer, not those of twenty


def test_retained_graphs_keep_their_arrays():
    """The counterpart: with retain_graph nothing is freed."""
    x = tensor(np.ones(3), requires_grad=True)
    h = x * 2.0
    h.data = watched(3)
    watch = weakref.ref(h.data)
    y = (h * h).sum()
    del h
    gradient(y, x, retain_graph=True)
    assert watch() is not None
    gradient(y, x)
    assert watch() is None


def test_nothing_is_kept_without_a_graph():
    """Constants have no nodes, so their inputs go."""
    h = Tensor(watched(3))
    watch = weakref.ref(h.data)
    y = h * h
    del h
    assert watch() is None and y.node is None
