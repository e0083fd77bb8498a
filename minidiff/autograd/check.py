"""`check_gradients`: derivatives by the graph against derivatives by finite differences.

The second route to every gradient rule. In float64 a central difference with step 1e-6 leaves an error of about 1e-9 of the
function's scale, so a wrong rule cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidiff import backend

from .tensor import Tensor, tensor
from .walk import grad


def _weights(shape: tuple[int, ...], like: Any) -> Any:
    """Fixed numbers without symmetry, to make one number of an output: sum(weights * output)."""
    values = np.cos(1.0 + 1.7 * np.arange(int(np.prod(shape)))).reshape(shape)
    return backend.asarray(values, backend.device_of(like))


def check_gradients(
    fn: Callable[..., Any], inputs: Sequence[Any], order: int = 2, step: float = 1e-6, tolerance: float = 1e-6,
) -> None:
    """Assert that the derivatives of `fn`, up to `order`, equal central finite differences.

        dL/dx_i = (L(x + h e_i) - L(x - h e_i)) / 2h + O(h^2),     L = sum(fixed weights * fn(x))

    fn: takes Tensors, gives a Tensor or several. inputs: float64 arrays or Tensors; every one is differentiated, and
    every element of it moved, so keep them small. order 2 checks the gradient of the gradient the same way.
    tolerance: relative to the largest derivative of the input, at least 1. Raises AssertionError that names the order, the
    input, the element and both values; TypeError for inputs that are not float64.
    """
    inputs = [tensor(x).detach().requires_grad_() for x in inputs]
    for i, x in enumerate(inputs):
        if x.dtype != np.float64:
            raise TypeError(f"check_gradients: input {i} is {x.dtype}; finite differences need float64")

    def total(*xs: Tensor) -> Tensor:
        outputs = fn(*xs)
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        return sum((out * _weights(out.shape, out.data)).sum() for out in outputs)

    def derivatives(*xs: Tensor) -> list[Tensor]:
        found = grad(total(*xs), xs, create_graph=order > 1, allow_unused=True)
        return [x * 0.0 if g is None else g for x, g in zip(xs, found)]

    _compare(total, inputs, derivatives(*inputs), step, tolerance)
    if order > 1:
        try:
            check_gradients(_tied(derivatives), [x.data for x in inputs], order - 1, step, tolerance)
        except AssertionError as error:
            raise AssertionError(f"derivative of the derivative: {error}") from None


def _tied(derivatives: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """The derivatives as a function to be checked in turn; constants (of linear functions) are tied to the inputs by + 0 x."""
    return lambda *xs: [d + sum((x * 0.0).sum() for x in xs) for d in derivatives(*xs)]


def _compare(total: Callable[..., Tensor], inputs: list[Tensor], found: list[Tensor], step: float, tolerance: float) -> None:
    for number, (x, g) in enumerate(zip(inputs, found)):
        values, slopes = backend.to_numpy(x.data), backend.to_numpy(g.data)
        expected = np.empty_like(values)
        for index in np.ndindex(values.shape):
            ends = []
            for sign in (1, -1):
                moved = values.copy()
                moved[index] += sign * step
                arguments = list(inputs)
                arguments[number] = tensor(backend.asarray(moved, x.device)).requires_grad_()
                ends.append(total(*arguments).item())
            expected[index] = (ends[0] - ends[1]) / (2 * step)
        off = np.abs(slopes - expected)
        limit = tolerance * max(1.0, np.abs(expected).max(initial=0.0))
        if not (off <= limit).all():
            worst = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
            raise AssertionError(
                f"input {number} (shape {values.shape}), element {tuple(int(i) for i in worst)}: gradient {slopes[worst]:.10g}, "
                f"finite difference {expected[worst]:.10g}; {int((~(off <= limit)).sum())} of {off.size} elements are off"
            )
