"""`detect_anomaly`: the first NaN or infinity is named with where it came from."""

import gc
import inspect
import warnings
import weakref

import numpy as np
import pytest

from minidiff import functional as F
from minidiff import nn
from minidiff.autograd import check_gradients, checkpoint, composite, detect_anomaly, enable_grad, gradient, no_grad, operation, tensor
from minidiff.models import UNet, UNetConfig
from minidiff.random import Generator

X = np.array([[0.5, 2.0, 0.0], [1.0, 0.25, 3.0]])
HERE = inspect.getfile(inspect.currentframe())


def leaf(x, dtype=np.float64):
    return tensor(np.array(x, dtype), requires_grad=True)


def caught(function):
    """The report of what `function` computes, after a look that it names a line of this file with its text."""
    with pytest.raises(FloatingPointError) as error, detect_anomaly():
        function()
    report = str(error.value)
    head, line = report.split("\n  ")
    file, number, text = line.split(":", 2)
    assert file == HERE and open(HERE, encoding="utf-8").read().splitlines()[int(number) - 1].strip() == text.strip()
    return head, text.strip()


# -- forward ---------------------------------------------------------------------------------------------------------


def test_the_logarithm_of_zero():
    """-inf is made by log; how many, where, in which shape and dtype, on which line."""
    def compute():
        y = leaf(X) * 1.0
        return F.log(y)

    assert caught(compute) == ("forward: -inf in 1 of 6 elements, the first at (0, 2), shape (2, 3), float64, in the result of log; "
                               "made here: all inputs are finite", "return F.log(y)")


def test_zero_divided_by_zero():
    """NaN, by the operator; with plain arrays and without a graph as well."""
    for zero in (leaf(0.0 * X), tensor(0.0 * X)):
        head, text = caught(lambda zero=zero: zero / zero)
        assert head == ("forward: NaN in 6 of 6 elements, the first at (0, 0), shape (2, 3), float64, in the result of div; "
                        "made here: all inputs are finite")
        assert text.endswith("zero=zero: zero / zero)")
    assert "in the result of div" in caught(lambda: F.div(0.0 * X, 0.0 * X))[0]


def test_overflow():
    """exp(100) in float32, and float16 beyond 65504; the same numbers in float64 pass."""
    big = np.array([1.0, 100.0])
    assert "inf in 1 of 2 elements, the first at (1,), shape (2,), float32, in the result of exp" in caught(
        lambda: F.exp(leaf(big, np.float32)))[0]
    assert "in the result of mul" in caught(lambda: leaf([300.0], np.float16) * tensor(np.array([300.0], np.float16)))[0]
    with detect_anomaly():
        F.exp(leaf(big))


def test_a_nan_that_was_there_is_said_to_have_been_there():
    """By the name of the input: data, a weight, a number."""
    spoiled = np.where(X == 0, np.nan, X)
    assert caught(lambda: F.exp(leaf(spoiled)))[0].endswith("in the result of exp; input had NaN already")
    assert caught(lambda: F.mul(X, leaf(spoiled)))[0].endswith("other had NaN already")
    assert caught(lambda: leaf(X) * float("nan"))[0].endswith("other had NaN already")
    assert "[1] had NaN already" in caught(lambda: F.cat([leaf(X), leaf(spoiled)]))[0]


def test_an_infinite_weight_is_found_and_an_infinite_mask_is_meant():
    """A leaf that requires a gradient may not be infinite; what it makes of a NaN is said to come from infinities."""
    weight = leaf([1.0, np.inf, 2.0])
    head = caught(lambda: F.mul(X + 1.0, weight))[0]
    assert head.endswith("in the result of mul; other, a leaf that requires a gradient, had infinities already")
    assert caught(lambda: F.mul(X, np.array([1.0, 2.0, np.inf])))[0].endswith("made here from infinities in other")
    with detect_anomaly():
        F.softmax(leaf(X) + np.array([0.0, -np.inf, -np.inf]), -1)


def test_infinity_beside_a_meant_one_is_found():
    """exp of (-inf, 1000): the place that was finite before is the one that is reported."""
    head, _ = caught(lambda: F.exp(tensor(np.array([-np.inf, 1000.0, 1.0]))))
    assert head.endswith("in the result of exp; made here, where all inputs are finite")
    with detect_anomaly():
        assert F.exp(tensor(np.array([-np.inf, np.inf]))).data.tolist() == [0.0, np.inf]


def test_masked_attention_is_no_anomaly():
    """-inf inside, finite outside: booleans and numbers, with the kernel and without, forward and backward, twice."""
    q, k, v = (leaf(Generator(n).standard_normal((2, 4, 3), "float64")) for n in range(3))
    mask = np.tril(np.ones((4, 4), bool))
    with detect_anomaly():
        for given in (mask, np.where(mask, 0.0, -np.inf)):
            for attention in (F.scaled_dot_product_attention, checkpoint_of(F.scaled_dot_product_attention)):
                y = attention(q, k, v, given)
                g = gradient((y * y).sum(), [q, k, v], create_graph=True)
                gradient(sum((x * x).sum() for x in g), [q, k, v])


def test_a_row_without_anything_to_attend_to_is_found():
    """softmax of nothing but -inf is 0 / 0: a NaN that infinities made, inside a function."""
    head, text = caught(lambda: F.softmax(leaf(X) + np.array([[-np.inf], [0.0]]), -1))
    assert head.startswith("forward: NaN in 3 of 6 elements") and " softmax" in head
    assert text.startswith("head, text = caught(lambda: F.softmax(")


def checkpoint_of(function):
    return lambda *args: checkpoint(function, *args)


def inside_functional(body):
    """A function called `own`, as if it stood in a file of `functional`."""
    namespace = {"clamp": F.clamp, "log": F.log}
    exec(compile(f"def own(x):\n    return ({body})(x)\n", inspect.getfile(F.gelu), "exec"), namespace)
    return namespace["own"]


def test_what_a_function_cuts_off_inside_is_its_own_affair():
    """A function of `functional` that makes -inf and cuts it off passes; one that lets it out is named, with its operation."""
    cut, uncut = inside_functional("lambda x: clamp(log(x), -100.0, 0.0)"), inside_functional("lambda x: log(x) * 2.0")
    with detect_anomaly():
        y = cut(leaf(X * 0.3))
        (y * 2.0).sum()
    for then in (lambda y: y * 2.0, lambda y: y, lambda y: y.backward(np.ones(X.shape))):
        def compute(then=then):
            y = uncut(leaf(X))
            return then(y)

        head, text = caught(compute)
        assert head.startswith("forward: -inf in 1 of 6 elements, the first at (0, 2)") and text == "y = uncut(leaf(X))"
        assert "in the result of log, called through own; made here" in head


def test_an_unfinished_function_does_not_hide_an_error():
    """An exception inside the context passes as it is, and the context can be entered again."""
    with pytest.raises(KeyError), detect_anomaly():
        raise KeyError
    with detect_anomaly():
        F.exp(leaf(X))


# -- backward --------------------------------------------------------------------------------------------------------


def test_the_slope_of_the_root_at_zero():
    """The value is fine, the gradient is infinite; the line is that of the forward call."""
    def compute():
        x = leaf(X)
        y = F.sqrt(x)
        z = y.sum()
        z.backward()

    assert caught(compute) == (
        "backward: inf in 1 of 6 elements, the first at (0, 2), shape (2, 3), float64, in the gradient of input in sqrt; "
        "made here: the gradient of its result is finite", "y = F.sqrt(x)")


def test_nan_in_a_second_derivative():
    """sqrt(x^2)' is 0 / 0 at zero; recorded or not, the operation is the root, the line its own."""
    for create_graph in (False, True):
        def compute(create_graph=create_graph):
            x = leaf([0.0, 1.0])
            y = F.sqrt(x * x)
            return gradient(y.sum(), x, create_graph=create_graph)

        head, text = caught(compute)
        assert "in sqrt" in head and text == "y = F.sqrt(x * x)"

    def penalty():
        x = leaf([0.0, 1.0])
        y = F.sqrt(x + 1e-300)
        slope = gradient(y.sum(), x, create_graph=True)
        return gradient((slope * slope).sum(), x)

    head, text = caught(penalty)
    assert head.startswith("backward: -inf") and "called through sqrt" in head and text == "y = F.sqrt(x + 1e-300)"


def test_a_bad_seed_is_said_to_be_bad():
    """The gradient that came was not finite."""
    x = leaf(X)
    head, _ = caught(lambda: gradient(x * 2.0, x, np.full(X.shape, np.nan)))
    assert "in the gradient of input in mul; the gradient of its result had NaN in 6 of 6" in head


def test_an_operation_from_before_is_called_so():
    """Its line is not known."""
    x = leaf(X)
    y = F.sqrt(x).sum()
    with pytest.raises(FloatingPointError, match=r"in sqrt; made here.*\n  an operation from before detect"), detect_anomaly():
        y.backward()


def test_a_rule_is_judged_by_what_leaves_it():
    """log(0) inside a rule that is masked there does not count; what a rule of one's own lets out does, with its name."""
    def masked(g, x):
        return F.where(x > 0, g * (F.log(x) + 1.0), 0.0)

    entropy = operation(lambda xp, x: xp.where(x > 0, x * xp.log(xp.where(x > 0, x, 1.0)), 0.0), x=masked)
    entropy.__name__ = "entropy"
    x = leaf(X)
    with detect_anomaly():
        y = entropy(x).sum()
        y.backward()
    bad = operation(lambda xp, x: x * 2.0, x=lambda g: g / 0.0)
    bad.__name__ = "bad"
    assert "in the gradient of x in bad; made here" in caught(lambda: gradient(bad(x).sum(), x))[0]


def test_inside_a_checkpoint_the_line_is_the_functions():
    """Forward, and when it is computed again."""
    def block(x):
        y = x * 1.0
        return F.sqrt(y)

    for call in (lambda x: checkpoint(block, x), lambda x: checkpoint(lambda u: checkpoint(block, u), x)):
        head, text = caught(lambda call=call: call(leaf(X)).sum().backward())
        assert "in sqrt" in head and text == "return F.sqrt(y)"
    head, text = caught(lambda: checkpoint(block, leaf(-X)))
    assert "NaN" in head and text == "return F.sqrt(y)"


# -- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:invalid value")  # of other threads
def test_a_bad_weight_deep_in_a_unet_is_found():
    """The path of modules leads to it; the line is the call of the model."""
    model = small_unet()
    x, t = Generator(1).standard_normal((2, 1, 8, 8)), np.array([3, 7])
    with detect_anomaly():
        y = model(x, t)
        (y * y).mean().backward()
    middle = next(p for n, p in model.named_parameters() if n.endswith("weight") and p.ndim == 4 and "mid" in n)
    for value, word in ((np.nan, "weight had NaN already"), (np.inf, "weight")):
        good, middle.data = middle.data, middle.data.copy()
        middle.data[0, 0, 0, 0] = value
        head, text = caught(lambda: model(x, t))
        assert word in head and "called through UNet > " in head and "conv" in head and text.endswith("model(x, t))")
        middle.data = good


def small_unet():
    config = UNetConfig(sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, attention_levels=(1,))
    return UNet(config, generator=Generator(0))


class Net(nn.Module):
    """A module of one's own: its lines are the program's."""

    def __init__(self):
        self.linear = nn.Linear(3, 3, generator=Generator(0))

    def forward(self, x):
        h = self.linear(x)
        return F.log(h - h)


def test_in_a_module_of_ones_own_the_line_is_in_its_forward():
    """Not the line that calls the module."""
    head, text = caught(lambda: Net()(X.astype(np.float32)))
    assert text == "return F.log(h - h)" and "through" not in head


def test_decorators_are_not_the_program():
    """no_grad and enable_grad as decorators lie between, also inside the package."""
    @no_grad()
    @enable_grad()
    def compute():
        return F.log(leaf(0 * X))

    assert caught(compute)[1] == "return F.log(leaf(0 * X))"
    own = no_grad()(inside_functional("lambda x: log(x) * 2.0"))
    assert caught(lambda: own(leaf(0 * X)))[1].startswith("assert caught(lambda: own(")


# -- when off, and on --------------------------------------------------------------------------------------------------


def test_values_are_what_they_are_without():
    """The same bits inside, no warnings of NumPy, and nothing is kept alive or watched afterwards."""
    model = small_unet()
    x, t = Generator(1).standard_normal((2, 1, 8, 8)), np.array([3, 7])
    expected = model(x, t).data
    with detect_anomaly():
        y = model(x, t)
        np.testing.assert_array_equal(y.data, expected)
    node = weakref.ref(y.node)
    del y
    gc.collect()
    assert node() is None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(FloatingPointError), detect_anomaly():
            F.log(0 * X)
    assert not seen
    with np.errstate(all="ignore"):
        F.log(leaf(0 * X))


def test_composites_are_named():
    """With a kernel the composite is the operation; without, it is on the way."""
    @composite
    def inverse(x):
        return F.div(1.0, x)

    head, text = caught(lambda: inverse(leaf(X)))
    assert "in the result of div" in head and text == "return F.div(1.0, x)"

    class Kernel:
        forward = staticmethod(lambda x: (1.0 / x, x))
        backward = staticmethod(lambda g, x, needs: [-g / (x * x)])

    inverse.kernel = Kernel
    head, text = caught(lambda: inverse(leaf(X)))
    assert "in the result of inverse; made here" in head and "inverse(leaf(X))" in text
    check_gradients(inverse, [X + 1.0])
