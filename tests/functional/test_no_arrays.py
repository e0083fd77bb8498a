"""What is no array is refused by the function it was given to: lists, and the arrays of libraries that minidiff does not compute with."""

import inspect
import pickle

import numpy as np
import pytest

from minidiff import functional as F
from minidiff import ones


class Foreign:
    """As another library's tensor looks: it has a shape and a dtype, but not NumPy's."""

    shape, ndim, dtype = (2, 3), 2, "foreign.float32"


IMAGE, KERNEL, ROWS, SQUARE, VECTOR = ones(1, 2, 4, 4), ones(2, 2, 3, 3), ones(2, 3), ones(2, 2), ones(3)
PLACES, NO_ARRAY = np.zeros((2, 3), int), [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], Foreign()]
BINARY = ("add allclose atan2 bitwise_and bitwise_or bitwise_xor cosine_similarity div dot eq floor_divide fmod ge gt isclose le linear "
          "logaddexp logical_and logical_or logical_xor lt matmul maximum minimum mul ne outer pow remainder sub "
          "binary_cross_entropy binary_cross_entropy_with_logits huber_loss kl_div l1_loss mse_loss smooth_l1_loss embedding").split()

# What follows the first argument; for the other functions, what their signatures ask for: nothing, or a dimension
REST = {
    **dict.fromkeys(BINARY, (ROWS,)), "where": (ROWS, ROWS), "lerp": (ROWS, 0.5), "clamp": (0.0, 1.0), "topk": (1, 0), "bmm": (IMAGE[0],),
    "mm": (SQUARE,), "broadcast_to": ((4, 2, 3),), "expand": ((4, 2, 3),), "reshape": ((6,),), "chunk": (2,), "flip": ((0,),),
    "movedim": (0, 1), "permute": ((1, 0),), "swapaxes": (0, 1), "transpose": (0, 1), "repeat_interleave": (2,), "roll": (1,),
    "split": (1,), "tile": ((2, 2),), "unflatten": (1, (3, 1)), "gather": (0, PLACES), "index_select": (0, PLACES[0]),
    "take_along_dim": (PLACES, 0), "scatter": (0, PLACES, ROWS), "scatter_add": (0, PLACES, ROWS), "getitem": (0,),
    "masked_fill": (ROWS > 0, 0.0), "masked_select": (ROWS > 0,), "rearrange": ("a b -> b a",), "reduce": ("a b -> a", "sum"),
    "repeat": ("a b -> a b 2",), "pad": ((1, 1),), "unfold": (2,), "fold": ((4, 4), 2), "interpolate": (2,), "pixel_shuffle": (2,),
    "pixel_unshuffle": (2,), "group_norm": (1,), "layer_norm": ((3,),), "rms_norm": ((3,),), "batch_norm": (VECTOR, VECTOR),
    "running_statistics": (VECTOR, VECTOR), "scaled_dot_product_attention": (ROWS, ROWS), "cross_entropy": (ROWS,),
    "nll_loss": (PLACES[0],),
    **{f"conv{kind}{d}d": (ones(2, 2, *(3,) * d),) for kind in ("", "_transpose") for d in (1, 2, 3)},
    **{f"{kind}_pool{d}d": (2,) for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)},
}
OTHERS = {
    "conv2d weight": lambda x: F.conv2d(IMAGE, x),
    "conv_transpose1d bias": lambda x: F.conv_transpose1d(ones(1, 2, 4), ones(2, 2, 3), x),
    "matmul other": lambda x: F.matmul(ROWS, x),
    "mse_loss target": lambda x: F.mse_loss(ROWS, x),
    "cross_entropy target": lambda x: F.cross_entropy(ROWS, x),
    "nll_loss target": lambda x: F.nll_loss(ROWS, x),
    "layer_norm weight": lambda x: F.layer_norm(ROWS, (3,), weight=x),
    "scatter_add src": lambda x: F.scatter_add(ROWS, 0, PLACES, src=x),
    "cat tensors": lambda x: F.cat([ROWS, x]),
    "stack tensors": lambda x: F.stack([ROWS, x]),
    "einsum operands": lambda x: F.einsum("ij,kj->ik", x, ROWS),
}
ELSEWHERE = {"cat", "stack", "einsum"}  # whose first argument is no array
COMPUTED = {"timestep_embedding"}  # of numbers that may stand in a list
NAMED = {"allclose": "(all|is)close"}


def call(name, given):
    """A call with this first argument."""
    rest = REST.get(name)
    if rest is None:
        parameters = list(inspect.signature(getattr(F, name)).parameters.values())[1:]
        rest = (0,) * sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    return getattr(F, name)(given, *rest)


@pytest.mark.parametrize("name", sorted(set(F.__all__) - ELSEWHERE - COMPUTED))
@pytest.mark.parametrize("given", NO_ARRAY, ids=["list", "foreign"])
def test_what_is_no_array_is_refused_by_name(name, given):
    """Every function: the message begins with its name and says what it got."""
    kind = "list|float" if isinstance(given, list) else "[Ff]oreign"
    with pytest.raises(TypeError, match=rf"^{NAMED.get(name, name)}: .* got .*({kind})"):
        call(name, given)


@pytest.mark.parametrize("argument", OTHERS)
@pytest.mark.parametrize("given", NO_ARRAY, ids=["list", "foreign"])
def test_what_is_no_array_is_refused_where_it_is_not_first(argument, given):
    """Likewise."""
    with pytest.raises(TypeError, match=rf"^{argument.split()[0]}: .* got .*({type(given).__name__})"):
        OTHERS[argument](given)


def test_errors_of_another_kind_stay_what_they_are():
    """A reduction of the caller's that has a mistake; wrong arguments; a dtype that is none."""
    with pytest.raises(AttributeError, match="no attribute 'mistake'"):
        F.reduce(ROWS, "a b -> a", lambda x, dim: x.mistake)
    with pytest.raises(TypeError, match="unexpected keyword argument 'axis'"):
        F.mean([1.0], axis=0)
    with pytest.raises(TypeError, match="data type"):
        F.sum(ROWS, dtype="number")


def test_functions_are_those_of_their_families():
    """Name, documentation, signature and source are the family's; a function can be pickled by its name."""
    for function in (F.mean, F.reshape, F.group_norm):
        family = next(vars(part)[function.__name__] for part in F._FAMILIES if function.__name__ in part.__all__)
        assert function.__doc__ == family.__doc__ and inspect.signature(function) == inspect.signature(family)
        assert inspect.getsource(function) == inspect.getsource(family) and pickle.loads(pickle.dumps(function)) is function
