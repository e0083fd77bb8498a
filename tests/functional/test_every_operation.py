"""What holds for every operation of `minidiff.functional`, over generated calls (`tests/operations`)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import CASES
from operations.run import LAYOUTS, as_dtype, converted, differentiated, flat, laid_out, with_inputs

from minidiff import functional as F
from minidiff.autograd import Tensor, check_gradients, grad, tensor

every_case = pytest.mark.parametrize("case", CASES, ids=str)
layouts = st.lists(st.sampled_from(LAYOUTS), min_size=6, max_size=6)


def float_outputs(result):
    return [out for out in flat(result) if isinstance(out, Tensor) and out.dtype.kind == "f"]


def check(case, call, order, inputs=None):
    """Finite differences of the call, at the values of its own arrays or at others of the same shapes."""
    inputs = differentiated(call) if inputs is None else inputs

    def function(*xs):
        args, kwargs = with_inputs(call, xs)
        return float_outputs(getattr(F, case.name)(*args, **kwargs))

    check_gradients(function, inputs, order=order)


@every_case
def test_derivatives_are_finite_differences(case):
    """First and second derivatives, whatever the layout of inputs in memory (also rows that are repeated: broadcast inputs)."""

    @settings(max_examples=max(2, case.examples // 4))
    @given(call=case.calls, layout=layouts)
    def run(call, layout):
        if case.order and differentiated(call):
            check(case, call, case.order, [laid_out(x, kind) for x, kind in zip(differentiated(call), layout * 9) if kind != "repeated"]
                  if "repeated" not in layout else [laid_out(x, "strided") for x in differentiated(call)])

    run()


@every_case
def test_arrays_give_what_tensors_give_and_nothing_is_modified(case):
    """Plain arrays in, plain arrays out, the same values; the arrays are what they were; float32 stays float32."""

    @settings(max_examples=case.examples)
    @given(call=case.calls, layout=layouts, dtype=st.sampled_from([np.float64, np.float32]))
    def run(call, layout, dtype):
        kinds = iter(layout * 9)
        made = []

        def lay(x, wanted):
            made.append(laid_out(x, next(kinds)))
            made[-1].flags.writeable = False
            return made[-1]

        args, kwargs = converted(as_dtype(call, dtype), lay)
        before = [x.copy() for x in made]
        arrays = flat(getattr(F, case.name)(*args, **kwargs))
        wrapped = iter(made)
        t_args, t_kwargs = converted(call, lambda x, wanted: tensor(next(wrapped), requires_grad=wanted))
        tensors = flat(getattr(F, case.name)(*t_args, **t_kwargs))
        assert len(arrays) == len(tensors)
        for a, t in zip(arrays, tensors):
            assert isinstance(t, Tensor) and not isinstance(a, Tensor)
            assert a.dtype == t.dtype and (a.dtype.kind != "f" or a.dtype == dtype)
            np.testing.assert_array_equal(a, t.numpy())
        outputs = float_outputs(tensors)
        inputs = [x for x in flat([*t_args, *t_kwargs.values()]) if isinstance(x, Tensor) and x.requires_grad]
        if case.order and inputs and outputs:
            seeds = [laid_out(np.ones(out.shape, dtype), "transposed") for out in outputs]
            for x, g in zip(inputs, grad(outputs, inputs, seeds, allow_unused=True)):
                assert g is None or (g.shape == x.shape and g.dtype == dtype)
        for x, was in zip(made, before):
            np.testing.assert_array_equal(x, was)

    run()


@every_case
def test_one_tensor_in_two_places_collects_both_gradients(case):
    """f(x, x): the gradient is the sum of what the two places get."""

    @settings(max_examples=4)
    @given(call=case.calls)
    def run(call):
        inputs = differentiated(call)
        pairs = [(i, j) for i in range(len(inputs)) for j in range(i) if inputs[i].shape == inputs[j].shape]
        if not case.order or not pairs:
            return
        i, j = pairs[0]

        def gradients(places):
            args, kwargs = with_inputs(call, places)
            outputs = float_outputs(getattr(F, case.name)(*args, **kwargs))
            return sum((out * np.cos(np.arange(float(out.data.size))).reshape(out.shape)).sum() for out in outputs)

        apart = [tensor(inputs[j] if k == i else x, requires_grad=True) for k, x in enumerate(inputs)]
        together = list(apart)
        together[i] = together[j] = tensor(inputs[j], requires_grad=True)
        first, second = grad(gradients(apart), [apart[i], apart[j]])
        np.testing.assert_allclose(grad(gradients(together), together[i]).numpy(), first.numpy() + second.numpy(), rtol=1e-12, atol=1e-12)

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


# Random, or without a tensor among the arguments: tested by name in the file of their family.
WITHOUT_CASES = {"timestep_embedding"}
