"""`composite`: a function written in operations that may have a kernel of its own.

The function is the readable twin of its kernel, which computes value and first gradients in one go. Derivatives of a higher order go
through the function, so a kernel needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .mode import enable_grad, mode, observers, watched
from .operation import Node, attached, bound, identity, named
from .tensor import Tensor, of_array


class _CompositeNode(Node):
    __slots__ = ("composite", "inputs", "options", "saved")

    def __init__(self, composite: Composite, parents: list[Any], inputs: list[Any], options: dict[str, Any], saved: Any, out: Any) -> None:
        self.composite, self.inputs, self.options, self.saved = composite, inputs, options, saved
        Node.__init__(self, parents, out)

    @property
    def name(self) -> str:
        return self.composite.__name__

    def pull(self, g: Any, create_graph: bool) -> list[tuple[Any, Any]]:
        needs = [parent is not None for parent in self.parents]
        if create_graph:
            return self._pull_recorded(g, needs)
        gradients = self.composite.kernel.backward(g, self.saved, needs, **self.options)
        return [(parent, gradient) for parent, gradient in zip(self.parents, gradients) if parent is not None]

    def _pull_recorded(self, g: Any, needs: list[bool]) -> list[tuple[Any, Any]]:
        """Differentiate the readable twin instead of the kernel, so that the result can be differentiated again."""
        from .walk import gradient

        with enable_grad():
            # `identity` makes each input a place of its own: only the partial derivatives are wanted here
            inputs = [identity(attached(x, parent)) if need else x
                      for x, parent, need in zip(self.inputs, self.parents, needs)]
            out = self.composite.function(*inputs, **self.options)
            wanted = [x for x, need in zip(inputs, needs) if need]
            gradients = iter(gradient(out, wanted, g, create_graph=True))
        return [(parent, next(gradients)) for parent in self.parents if parent is not None]

    def release(self) -> None:
        self.parents = self.inputs = self.saved = self.options = None


class Composite:
    """A function of operations with an optional kernel; see `composite`.

    kernel: an object with `forward(*arrays, **options) -> (out, saved) | NotImplemented` and
    `backward(g, saved, needs, **options) -> one array an input (None where needs is False)`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        named(self, function)
        self.function = function
        self.kernel: Any = None
        self.__doc__ = function.__doc__
        parameters = self.__signature__.parameters.values()
        self.inputs = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.options = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def __repr__(self) -> str:
        return f"<composite {self.__name__}{self.__signature__}>"

    def __copy__(self) -> Composite:
        """Itself, as a function is: a copied model computes with the same functions."""
        return self

    def __deepcopy__(self, memo: dict) -> Composite:
        return self

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method of Tensor: the tensor is the first input."""
        return self if instance is None else lambda *others, **options: self(instance, *others, **options)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if len(inputs) != len(self.inputs) or not self.options.issuperset(options):
            inputs, options = bound(self, inputs, options)
        if self.kernel is None:
            return self.function(*inputs, **options)
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        compute = lambda: self.kernel.forward(*arrays, **options)
        computed = watched("forward", self, inputs, options, compute) if observers else compute()
        if computed is NotImplemented:
            return self.function(*inputs, **options)
        out, saved = computed
        if not any(isinstance(x, Tensor) for x in inputs):
            return out
        result = of_array(out)
        if mode.recording:
            parents = [(x.node or x) if isinstance(x, Tensor) and x.requires_grad else None for x in inputs]
            if any(parent is not None for parent in parents):
                result.node = _CompositeNode(self, parents, arrays, options, saved, out)
                result.requires_grad = True
        return result


def composite(function: Callable[..., Any]) -> Composite:
    """Declare that `function(*inputs, **options)`, written in operations, may have a kernel in `minidiff.kernels`.

    Without a kernel for the given arrays the function itself runs; with one, it is still what second derivatives use.
    """
    return Composite(function)
