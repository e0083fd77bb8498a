"""`check_gradients`: derivatives by the graph against derivatives by finite differences.

The second route to every gradient rule. In float64 a central difference with step 1e-6 leaves an error of about 1e-9 of the
function's scale, so a wrong rule cannot hide. At a kink there is no derivative to compare with; it is reported as what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidiff import backend

from .tensor import Tensor, tensor
from .walk import gradient

# Slopes to the left and to the right differ by step * curvature. What is less than this many tolerances is not looked at again.
_CURVED = 30
# So many times wider are the looks that follow. Curvature makes the slopes differ so many times more, and a kink does not; one that lies
# beside the point, within the step, can look like curvature to one of the two.
_WIDER = (8, 2)


class KinkError(AssertionError):
    """The function has no derivative at a point where `check_gradients` was asked to compare: move the point."""


def check_gradients(
    fn: Callable[..., Any], inputs: Sequence[Any], order: int = 2, step: float = 1e-6, tolerance: float = 1e-6,
) -> None:
    """Assert that the derivatives of `fn`, up to `order`, equal central finite differences.

        dL/dx_i = (L(x + h e_i) - L(x - h e_i)) / 2h + O(h^2),     L = sum(fixed weights * fn(x))

    fn: takes Tensors, gives a Tensor or several. inputs: float64 arrays or Tensors; every one is differentiated, and
    every element of it moved, so keep them small. order 2 checks the gradient of the gradient the same way.
    tolerance: relative to the largest derivative of the input, at least 1.

    Raises AssertionError that names the order, the input, the element and both values; KinkError, which is one too, where the slope to the
    left is not the slope to the right, even if the gradient is one of them or their mean: there is nothing to be right or wrong about.
    TypeError for inputs and outputs that are not float64 (outputs of integers are left out), ValueError for an order below 1.
    """
    if order < 1:
        raise ValueError(f"check_gradients: order {order}; expected 1 or more")
    for i, x in enumerate(inputs):
        if getattr(x, "dtype", None) != np.float64:
            raise TypeError(f"check_gradients: input {i} is {getattr(x, 'dtype', type(x).__name__)}; finite differences need float64")
    inputs = [tensor(x).detach().requires_grad_() for x in inputs]

    def total(*xs: Tensor) -> Tensor:
        return sum((out * _weights(out.shape, out.data)).sum() for out in _float_outputs(fn(*xs)))

    def derivatives(*xs: Tensor) -> list[Tensor]:
        found = gradient(total(*xs), xs, create_graph=order > 1, allow_unused=True)
        return [x * 0.0 if g is None else g for x, g in zip(xs, found)]

    for number, slopes in enumerate(derivatives(*inputs)):
        _compare(total, inputs, number, backend.to_numpy(slopes.data), step, tolerance)
    if order > 1:
        try:
            check_gradients(_tied(derivatives), [x.data for x in inputs], order - 1, step, tolerance)
        except AssertionError as error:
            raise type(error)(f"derivative of the derivative: {error}") from None


def _weights(shape: tuple[int, ...], like: Any) -> Any:
    """Fixed numbers without symmetry, to make one number of an output: sum(weights * output)."""
    values = np.cos(1.0 + 1.7 * np.arange(int(np.prod(shape)))).reshape(shape)
    return backend.asarray(values, backend.device_of(like))


def _float_outputs(outputs: Any) -> list[Tensor]:
    outputs = [outputs] if isinstance(outputs, Tensor) or hasattr(outputs, "dtype") else list(outputs)
    for i, out in enumerate(outputs):
        if not isinstance(out, Tensor):
            raise TypeError(f"check_gradients: output {i} is a {type(out).__name__}, not a Tensor: the function left the graph")
        if out.dtype.kind == "f" and out.dtype != np.float64:
            raise TypeError(f"check_gradients: output {i} is {out.dtype}; finite differences need float64 all the way")
    outputs = [out for out in outputs if out.dtype.kind == "f"]
    if not outputs:
        raise TypeError("check_gradients: no output is float64, so there is nothing to differentiate")
    return outputs


def _tied(derivatives: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """The derivatives as a function to be checked in turn; constants (of linear functions) are tied to the inputs by + 0 x."""
    return lambda *xs: [d + sum((x * 0.0).sum() for x in xs) for d in derivatives(*xs)]


def _compare(total: Callable[..., Tensor], inputs: list[Tensor], number: int, slopes: np.ndarray, step: float, tolerance: float) -> None:
    """The gradient of one input against the differences, element by element."""
    values = backend.to_numpy(inputs[number].data)

    def at(index: tuple[int, ...], shift: float) -> float:
        """The function with one element moved."""
        moved = values.copy(order="K")
        moved[index] += shift
        arguments = [*inputs[:number], tensor(backend.asarray(moved, inputs[number].device)).requires_grad_(), *inputs[number + 1:]]
        return total(*arguments).item()

    def sides(index: tuple[int, ...], step: float) -> tuple[float, float]:
        """The slopes to the left and to the right."""
        return (here - at(index, -step)) / step, (at(index, step) - here) / step

    here = total(*inputs).item()
    left, right = np.empty_like(slopes), np.empty_like(slopes)
    for index in np.ndindex(values.shape):
        left[index], right[index] = sides(index, step)
    expected = (left + right) / 2
    limit = tolerance * max(1.0, np.abs(expected).max(initial=0.0))
    for index in map(tuple, np.argwhere(np.abs(right - left) > _CURVED * limit)):
        for wider in _WIDER:
            far_left, far_right = sides(index, wider * step)
            if abs((far_right - far_left) / (right[index] - left[index]) - wider) > wider / 4:
                raise KinkError(
                    f"kink at input {number} (shape {values.shape}), element {tuple(int(i) for i in index)}: "
                    f"left slope {left[index]:.10g}, right slope {right[index]:.10g}, gradient {slopes[index]:.10g}; "
                    "there is no derivative here, move the point"
                )
    off = np.abs(slopes - expected)
    if not (off <= limit).all():
        worst = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
        raise AssertionError(
            f"input {number} (shape {values.shape}), element {tuple(int(i) for i in worst)}: gradient {slopes[worst]:.10g}, "
            f"finite difference {expected[worst]:.10g}; {int((~(off <= limit)).sum())} of {off.size} elements are off"
        )
