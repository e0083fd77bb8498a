"""What holds for every operation of `minidiff.functional`, over generated calls (`tests/operations`)."""

import contextlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import CASES
from operations.run import LAYOUTS, as_dtype, converted, differentiated, flat, laid_out, weights, with_inputs

from minidiff import backend
from minidiff import functional as F
from minidiff.autograd import Tensor, check_gradients, gradient, tensor

every_case = pytest.mark.parametrize("case", CASES, ids=str)
layouts = st.lists(st.sampled_from(LAYOUTS), min_size=6, max_size=6)
distinct_layouts = st.lists(st.sampled_from([kind for kind in LAYOUTS if kind != "repeated"]), min_size=6, max_size=6)


def float_outputs(result):
    """The results that can be differentiated."""
    return [out for out in flat(result) if isinstance(out, Tensor) and out.dtype.kind == "f"]


def laid(arrays, kinds):
    """The arrays, each in a layout of its own."""
    return [laid_out(x, kinds[i % len(kinds)]) for i, x in enumerate(arrays)]


@every_case
def test_derivatives_are_finite_differences(case):
    """First and second derivatives, whatever the layout of the inputs in memory."""

    @settings(max_examples=case.share(4))
    @given(call=case.calls, kinds=distinct_layouts)
    def run(call, kinds):
        def function(*xs):
            args, kwargs = with_inputs(call, xs)
            return float_outputs(getattr(F, case.name)(*args, **kwargs))

        if case.order and differentiated(call):
            check_gradients(function, laid(differentiated(call), kinds), order=case.order)

    run()


@every_case
def test_arrays_give_what_tensors_give_and_nothing_is_modified(case):
    """Plain arrays in, plain arrays out, the same values; the arrays are what they were; float32 stays float32."""

    @settings(max_examples=case.share(1))
    @given(call=case.calls, kinds=layouts, dtype=st.sampled_from([np.float64, np.float32]))
    def run(call, kinds, dtype):
        made = []

        def lay(x, wanted):
            kind = kinds[len(made) % len(kinds)]
            made.append(laid_out(x, "strided" if kind == "repeated" and not wanted else kind))  # indices and masks keep their values
            made[-1].flags.writeable = False
            return made[-1]

        args, kwargs = converted(as_dtype(call, dtype), lay)
        before = [x.copy() for x in made]
        arrays = flat(getattr(F, case.name)(*args, **kwargs))
        again = iter(made)
        args, kwargs = converted(call, lambda x, wanted: tensor(next(again), requires_grad=wanted))
        tensors = flat(getattr(F, case.name)(*args, **kwargs))
        assert len(arrays) == len(tensors)
        for a, t in zip(arrays, tensors):
            assert isinstance(t, Tensor) and not isinstance(a, Tensor)
            assert a.dtype == t.dtype and (a.dtype.kind != "f" or a.dtype == dtype)
            np.testing.assert_array_equal(a, t.numpy())
        for x, was in zip(made, before):
            np.testing.assert_array_equal(x, was)

    run()


@every_case
def test_gradients_do_not_depend_on_layout_or_route(case):
    """Inputs and the gradient of the result may lie in memory in any order; the walk that can be differentiated again gives the same.

    Nothing is modified by it, neither inputs nor results nor their gradients, and the dtype stays.
    """

    @settings(max_examples=case.share(3))
    @given(call=case.calls, kinds=distinct_layouts, seed_kind=st.sampled_from(LAYOUTS), dtype=st.sampled_from([np.float64, np.float32]))
    def run(call, kinds, seed_kind, dtype):
        call = as_dtype(call, dtype)
        inputs = differentiated(call)
        if not case.order or not inputs:
            return

        def gradients(inputs, lay, **options):
            leaves = [tensor(x, requires_grad=True) for x in inputs]
            args, kwargs = with_inputs(call, leaves)
            outputs = [out for out in float_outputs(getattr(F, case.name)(*args, **kwargs)) if out.requires_grad]
            if not outputs:
                return []
            values = "repeated" if seed_kind == "repeated" else "dense"
            seeds = [lay(laid_out(weights(out.shape, dtype), values)) for out in outputs]
            arrays = [*inputs, *seeds, *(out.data for out in outputs)]
            before = [x.copy() for x in arrays]
            found = gradient(outputs, leaves, seeds, allow_unused=True, **options)
            for x, was in zip(arrays, before):
                np.testing.assert_array_equal(x, was)
            assert all(g is None or (g.dtype == dtype and g.shape == x.shape) for g, x in zip(found, leaves))
            return found

        expected = gradients(inputs, np.array)
        for found in (gradients(laid(inputs, kinds), lambda seed: laid_out(seed, seed_kind)),
                      gradients(inputs, np.array, create_graph=True) if case.order > 1 else expected):
            for a, b in zip(found, expected):
                assert (a is None) == (b is None)
                if b is not None:
                    scale = max(1.0, np.abs(b.numpy()).max(initial=0.0))
                    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=scale * (1e-12 if dtype is np.float64 else 2e-5))

    run()


@pytest.fixture
def forget_kernels():
    """A context in which the readable functions run alone: every operation and composite forgets its kernel."""

    @contextlib.contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            for module in [m for name, m in sys.modules.items() if name.startswith("minidiff.functional.")]:
                for thing in vars(module).values():
                    if getattr(thing, "kernel", None) is not None:
                        patch.setattr(thing, "kernel", None)
            yield

    return context


@every_case
def test_readable_twins_give_what_kernels_give(case, forget_kernels):
    """Values and gradients of the functions as one reads them, and as they run."""

    @settings(max_examples=case.share(4))
    @given(call=case.calls)
    def run(call):
        def results():
            leaves = [tensor(x, requires_grad=True) for x in differentiated(call)]
            args, kwargs = with_inputs(call, leaves)
            tensors = flat(getattr(F, case.name)(*args, **kwargs))
            outputs = [out for out in float_outputs(tensors) if out.requires_grad]
            gradients = gradient(outputs, leaves, [weights(out.shape) for out in outputs], allow_unused=True) if outputs and leaves else []
            return [backend.to_numpy(x) for x in [*tensors, *(g for g in gradients if g is not None)]]

        found = results()
        with forget_kernels():
            expected = results()
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0)))

    run()


@every_case
def test_one_tensor_in_two_places_collects_both_gradients(case):
    """f(x, x): the gradient is the sum of what the two places get."""

    @settings(max_examples=case.share(4))
    @given(call=case.calls)
    def run(call):
        inputs = differentiated(call)
        pairs = [(i, j) for i in range(len(inputs)) for j in range(i) if inputs[i].shape == inputs[j].shape]
        if not case.order or not pairs:
            return
        i, j = pairs[0]

        def total(places):
            args, kwargs = with_inputs(call, places)
            outputs = float_outputs(getattr(F, case.name)(*args, **kwargs))
            return sum((out * weights(out.shape)).sum() for out in outputs)

        apart = [tensor(inputs[j] if k == i else x, requires_grad=True) for k, x in enumerate(inputs)]
        together = list(apart)
        together[i] = together[j] = tensor(inputs[j], requires_grad=True)
        value = lambda g: np.zeros(inputs[j].shape) if g is None else g.numpy()
        shares = gradient(total(apart), [apart[i], apart[j]], allow_unused=True)
        both = gradient(total(together), together[i], allow_unused=True)
        np.testing.assert_allclose(value(both), sum(map(value, shares)), rtol=1e-11, atol=1e-11)

    run()


@pytest.mark.parametrize(("case", "number"), [(case, i) for case in CASES for i in range(len(case.refused))],
                         ids=lambda value: str(value))
def test_what_does_not_fit_is_refused_at_the_door(case, number):
    """One clear error, which begins with the name of the function."""
    args, kwargs = converted(case.refused[number], lambda x, wanted: tensor(x))
    with pytest.raises((ValueError, TypeError, IndexError), match=rf"^{case.name}\b"):
        getattr(F, case.name)(*args, **kwargs)


def test_every_function_has_a_case():
    """A function without generated calls would be one that nothing here proves."""
    assert {case.name for case in CASES} == set(F.__all__) - WITHOUT_CASES


# Random, or without a tensor among the arguments or results: tested by name in the file of their family.
WITHOUT_CASES = {"allclose", "timestep_embedding", "dropout", "dropout1d", "dropout2d", "dropout3d"}
