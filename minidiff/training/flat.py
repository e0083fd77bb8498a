"""All parameters of a model as one array, of which each parameter is a view.

An optimizer step, a moving average and a norm are then a few calls on one long array instead of a few for each of a hundred
short ones; on a GPU that is what they cost. On the CPU the array is worked through in blocks that stay in cache.
Stands on `backend` and `nn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidiff import backend
from minidiff.nn import Module

BLOCK = 2**16  # elements; the cut does not depend on the number of threads


class FlatParameters:
    """The parameters of a module, laid end to end in the order of `named_parameters`.

    data: (P,), the values. From now on each parameter's `data` is a view of it, so that writing here changes the model. What replaces the
    `data` of a parameter (`Module.load_state_dict`, `Module.to`) cuts that tie: do it before.
    names, shapes: of the parameters, in order. Raises ValueError for a module without parameters, or of mixed dtypes.
    """

    def __init__(self, module: Module) -> None:
        named = dict(module.named_parameters())
        kinds = {str(parameter.dtype) for parameter in named.values()}
        if len(kinds) != 1:
            raise ValueError(f"FlatParameters: expected parameters of one dtype, got {', '.join(sorted(kinds)) or 'no parameters'}")
        self.names = list(named)
        self.shapes = [parameter.shape for parameter in named.values()]
        self._parameters = list(named.values())
        xp = backend.array_module(*self._parameters)
        self._ends = np.cumsum([parameter.size for parameter in self._parameters]).tolist()
        self.data = xp.concatenate([parameter.data.reshape(-1) for parameter in self._parameters])
        self._gradient = xp.zeros_like(self.data)
        for parameter, view in zip(self._parameters, self.views(self.data).values()):
            parameter.data = view

    def views(self, flat: Any) -> dict[str, Any]:
        """name -> the part of a (P,) array that belongs to the parameter, in its shape."""
        starts = [0, *self._ends[:-1]]
        return {name: flat[start:end].reshape(shape)
                for name, shape, start, end in zip(self.names, self.shapes, starts, self._ends)}

    def take_gradient(self) -> Any:
        """The gradients that `backward` left, end to end: (P,), the same memory at each call. The parameters forget theirs.

        A parameter that the loss did not depend on counts as having gradient 0.
        """
        for parameter, place in zip(self._parameters, self.views(self._gradient).values()):
            place[...] = 0 if parameter.grad is None else parameter.grad.data
            parameter.grad = None
        return self._gradient


def block_count(array: Any) -> int:
    """How many blocks `by_blocks` cuts a (P,) array into."""
    return -(-array.size // BLOCK) if backend.array_module(array) is np else 1


def by_blocks(update: Callable[..., None], *arrays: Any) -> None:
    """Call update(index, scratch, *blocks), where the blocks are stretch number `index` of each of the (P,) arrays, for all stretches.

    scratch: an array like each block, for intermediate results. On the CPU the blocks are spread over the threads; on a GPU
    there is one.
    """
    first = arrays[0]
    xp = backend.array_module(*arrays)
    if xp is not np:
        update(0, xp.empty_like(first), *arrays)
        return

    def piece(index: int) -> None:
        blocks = [array[index * BLOCK : (index + 1) * BLOCK] for array in arrays]
        update(index, backend.scratch("by_blocks", blocks[0].shape, first.dtype), *blocks)

    backend.parallel(piece, block_count(first))
