"""When operations are recorded: `no_grad`, `enable_grad`, nested, as decorators, through errors and in threads."""

import threading

import pytest

from minidiff.autograd import enable_grad, gradient, is_grad_enabled, no_grad, tensor


@pytest.fixture
def x():
    return tensor(2.0, requires_grad=True)


def test_nothing_is_recorded_inside_no_grad(x):
    """The value is the same; there is no graph."""
    with no_grad():
        y = x * x
        assert not is_grad_enabled()
    assert is_grad_enabled()
    assert y.item() == 4.0 and not y.requires_grad and y.node is None
    assert gradient(x * y, x).item() == 4.0  # y is a constant


def test_modes_nest_and_come_back(x):
    """no_grad in enable_grad in no_grad, each undone at its end."""
    with no_grad():
        with enable_grad():
            assert (x * x).requires_grad
            with no_grad():
                assert not (x * x).requires_grad
            assert (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad


def test_an_error_inside_restores_the_mode(x):
    """Also when it passes through a decorated function."""
    @no_grad()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_grad_enabled()


def test_modes_decorate_functions(x):
    """A decorated function can be called many times, and recursively."""
    @no_grad()
    def power(x, n):
        assert not is_grad_enabled()
        return x if n == 1 else x * power(x, n - 1)

    @enable_grad()
    def square(x):
        return x * x

    for _ in range(2):
        assert power(x, 3).item() == 8.0 and not power(x, 3).requires_grad
        assert is_grad_enabled()
    with no_grad():
        assert square(x).requires_grad


def test_each_thread_has_its_own_mode(x):
    """no_grad here does not stop recording there."""
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * x).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_walk_records_only_with_create_graph_whatever_the_mode(x):
    """Inside no_grad a graph made before can be walked, and with create_graph the walk is recorded all the same."""
    y = x * x * x
    with no_grad():
        g = gradient(y, x, create_graph=True)
        assert g.requires_grad and not is_grad_enabled()
    assert gradient(g, x).item() == 12.0


def test_detach_cuts(x):
    """x * detach(x) has the derivative x, not 2 x; values are shared, not copied."""
    d = x.detach()
    assert d.data is x.data and not d.requires_grad
    assert gradient(x * d, x).item() == 2.0
