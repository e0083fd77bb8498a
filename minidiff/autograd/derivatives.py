"""Derivatives of functions: products with the Jacobian from either side, the Jacobian, the Hessian and its products.

Names, arguments and results are those of `torch.autograd.functional`. `func` takes Tensors and gives a Tensor or a tuple of them; `inputs`
is a Tensor (or array) or a tuple of them, and what is returned has the same form. What an output does not depend on has the derivative 0.
Without `create_graph` the results are constants; with it they can be differentiated again, with respect to the inputs and to `v`.
All stand on `gradient` alone, so they hold on every device, and one may stand inside another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from minidiff.backend import array_module

from .mode import enable_grad
from .operation import identity, name_operations, operation
from .tensor import Tensor, tensor
from .walk import gradient

stacked = operation(lambda xp, *rows: xp.stack(rows), "The rows, one after the other along a new first dimension.", rows=lambda g, i: g[i])
name_operations(globals())


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), v^T J): the row vector v times the Jacobian J_ij = d output_i / d input_j, by one walk back.

    v: of the outputs' shapes; None means 1, for an output of one element. Raises TypeError for what is no Tensor, ValueError for
    shapes or numbers that do not fit.
    """
    with enable_grad():
        xs, ys, outputs = _applied("vjp", func, inputs, create_graph)
        products = _derivatives(ys, xs, _vector("vjp", v, ys, "output"), create_graph)
    return outputs, _like(inputs, _results(products, create_graph))


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), J v): the Jacobian times the column vector v, the change of the outputs when the inputs move along v.

    By walking back twice: u^T J is linear in u, and its derivative with respect to u, in the direction v, is J v.
    v: of the inputs' shapes; None means 1, for an input of one element. Raises as `vjp`.
    """
    with enable_grad():
        xs, ys, outputs = _applied("jvp", func, inputs, create_graph)
        vs = _vector("jvp", v, xs, "input")
        us = [_zeros(y).requires_grad_() for y in ys]
        rows = _derivatives(ys, xs, us, True)
        products = _derivatives(rows, us, vs, create_graph)
    return outputs, _like(outputs, _results(products, create_graph))


def hessian_vector_product(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(inputs), H v) for a function of one element, H_ij = d2 func / d input_i d input_j; torch's `hvp`.

    H v = d/dx (v . d func/dx), the derivative of a derivative: it costs a few times what func costs, and H is never made.
    v: of the inputs' shapes; None means 1, for an input of one element. Raises as `vjp`, and ValueError for several outputs or elements.
    """
    with enable_grad():
        xs, ys, outputs = _applied("hessian_vector_product", func, inputs, create_graph)
        vs = _vector("hessian_vector_product", v, xs, "input")
        slopes = _slopes("hessian_vector_product", ys, xs)
        products = _derivatives(slopes, xs, vs, create_graph)
    return outputs, _like(inputs, _results(products, create_graph))


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """J_ij = d output_i / d input_j, of the output's shape followed by the input's; one walk back for each element of the outputs.

    For tuples, one tuple over the outputs of tuples over the inputs (only the one that is a tuple). Raises TypeError for what is no Tensor.
    """
    with enable_grad():
        xs, ys, outputs = _applied("jacobian", func, inputs, create_graph)
        blocks = [_like(inputs, _results(_rows(y, xs, create_graph), create_graph)) for y in ys]
    return _like(outputs, blocks)


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """H_ij = d2 func / d input_i d input_j for a function of one element: the Jacobian of the gradient; for a tuple, a tuple of tuples."""
    def slopes(*xs: Tensor) -> Any:
        return _like(inputs, _slopes("hessian", _tensors("hessian", func(*xs)), xs))

    return jacobian(slopes, inputs, create_graph)


def _like(given: Any, values: Any) -> Any:
    """A tuple where a tuple was given, else the one value."""
    return tuple(values) if isinstance(given, (tuple, list)) else values[0]


def _given(values: Any) -> list[Tensor]:
    return [x if isinstance(x, Tensor) else tensor(x) for x in (values if isinstance(values, (tuple, list)) else [values])]


def _results(values: list[Tensor], create_graph: bool) -> list[Tensor]:
    return values if create_graph else [value.detach() for value in values]


def _zeros(x: Tensor) -> Tensor:
    return Tensor(array_module(x.data).zeros_like(x.data))


def _tensors(name: str, outputs: Any) -> list[Tensor]:
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    for output in outputs:
        if not isinstance(output, Tensor):
            raise TypeError(f"{name}: func must return a Tensor or a tuple of Tensors, got {type(output).__name__}")
    return outputs


def _applied(name: str, func: Callable[..., Any], inputs: Any, create_graph: bool) -> tuple[list[Tensor], list[Tensor], Any]:
    """The inputs as places of their own, the outputs as a list, and as they are returned."""
    xs = [identity(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in _given(inputs)]
    outputs = func(*xs)
    ys = _tensors(name, outputs)
    return xs, ys, _like(outputs, _results(ys, create_graph))


def _vector(name: str, v: Any, like: list[Tensor], what: str) -> list[Tensor]:
    """`v` as a list of Tensors, checked against what it goes with."""
    if v is None:
        if len(like) != 1 or like[0].size != 1:
            raise ValueError(f"{name}: v can be left out only for one {what} of one element, not for shapes {[x.shape for x in like]}")
        return [_zeros(like[0]) + 1.0]
    vs = _given(v)
    if [x.shape for x in vs] != [x.shape for x in like]:
        raise ValueError(f"{name}: v has shapes {[x.shape for x in vs]}, expected those of the {what}s, {[x.shape for x in like]}")
    return vs


def _derivatives(
    ys: list[Tensor], xs: list[Tensor], vs: list[Tensor], create_graph: bool, retain_graph: bool | None = None,
) -> list[Tensor]:
    """sum_i v_i d y_i / d x for every x, 0 where nothing depends on it."""
    used = [(y, v) for y, v in zip(ys, vs) if y.requires_grad]
    found = gradient([y for y, _ in used], xs, [v for _, v in used], create_graph=create_graph, retain_graph=retain_graph,
                 allow_unused=True) if used else [None] * len(xs)
    return [_zeros(x) if g is None else g for x, g in zip(xs, found)]


def _slopes(name: str, ys: list[Tensor], xs: list[Tensor]) -> list[Tensor]:
    """d y / d x, recorded, for the one element that y must have."""
    if len(ys) != 1 or ys[0].size != 1:
        raise ValueError(f"{name}: func must return one number, got shapes {[y.shape for y in ys]}")
    return _derivatives(ys, xs, [_zeros(ys[0]) + 1.0], True)


def _rows(y: Tensor, xs: list[Tensor], create_graph: bool) -> list[Tensor]:
    """d y / d x for every x: the walk from each element of y in turn, stacked."""
    if y.size == 0:
        return [Tensor(array_module(x.data).zeros(y.shape + x.shape, x.dtype)) for x in xs]
    rows = []
    for index in itertools.product(*map(range, y.shape)):
        unit = _zeros(y)
        unit.data[index] = 1.0
        rows.append(_derivatives([y], xs, [unit], create_graph, retain_graph=True))
    return [stacked(*column).reshape(y.shape + x.shape) for x, column in zip(xs, zip(*rows))]
