"""Parameter names, order, kinds and defaults of every function against PyTorch's, as far as offered; likewise initializers and optimizers.

Where PyTorch's function is compiled, its signature is in the schemas of its operators. Layers: see `test_nn.py`.
"""

import inspect

import pytest

from minidiff import functional as F
from minidiff import nn, optim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

EMPTY = inspect.Parameter.empty
ADDED = {"generator"}  # randomness is an argument here
PASSED_OVER = {"inplace", "_stacklevel"}  # arrays are values; a private parameter

# What differs on purpose, and our signature of it
DIFFERENT = {
    # PyTorch has several functions of one name; ours has their parameters together
    "max": "(input, dim=None, keepdim=False, *, other=None)",
    "min": "(input, dim=None, keepdim=False, *, other=None)",
    "std": "(input, dim=None, unbiased=None, keepdim=False, *, correction=None)",
    "var": "(input, dim=None, unbiased=None, keepdim=False, *, correction=None)",
    "var_mean": "(input, dim=None, unbiased=None, keepdim=False, *, correction=None)",
    "scatter": "(input, dim, index, src=None, *, value=None)",
    "sort": "(input, dim=-1, descending=False, *, stable=False)",
    "argsort": "(input, dim=-1, descending=False, *, stable=False)",
    "nonzero": "(input, *, as_tuple=False)",
    "round": "(input, *, decimals=0)",
    "einsum": "(equation, *operands)",
    # PyTorch guesses, and warns
    "meshgrid": "(*tensors, indexing='ij')",
    "softmax": "(input, dim, *, dtype=None)",
    "log_softmax": "(input, dim, *, dtype=None)",
}
OURS = {"expand", "geglu", "getitem", "quick_gelu", "rearrange", "reduce", "repeat", "running_statistics", "timestep_embedding"}


def parameters(function):
    """name -> (whether it can be given by position, default)."""
    return {name: (p.kind is not p.KEYWORD_ONLY, p.default) for name, p in inspect.signature(function).parameters.items()}


def offered(name):
    """PyTorch's signatures of a function: one, or those of its overloads."""
    theirs = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    theirs = getattr(torch.nn.functional, f"_{name}", theirs) if list(parameters_or_none(theirs) or ()) == ["args", "kwargs"] else theirs
    if parameters_or_none(theirs) is not None:
        return [parameters(theirs)]
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{'log_sigmoid' if name == 'logsigmoid' else name}")
    return [{"input" if a.name == "self" else a.name: (not a.kwarg_only, a.default_value if a.has_default_value() else EMPTY)
             for a in schema.arguments} for schema in schemas]


def parameters_or_none(function):
    try:
        return parameters(function)
    except ValueError:
        return None


def plain(default):
    """A default as one writes it: PyTorch's schemas have one number a dimension, and no numbers for None."""
    if isinstance(default, (list, tuple)):
        return None if not default else default[0] if len(set(default)) == 1 else default
    return default


def is_part_of(ours, overloads):
    """Whether what can be given by position comes in the order of one of PyTorch's overloads, the rest by its names, with its defaults.

    None may stand for an argument that another overload does without.
    """
    return any(is_part_of_one(ours, theirs, {name for other in overloads for name in theirs.keys() - other.keys()}) for theirs in overloads)


def is_part_of_one(ours, theirs, optional):
    ours = {name: p for name, p in ours.items() if name not in ADDED | PASSED_OVER}
    theirs = {name: p for name, p in theirs.items() if name not in PASSED_OVER}
    by_position = [name for name, (position, _) in ours.items() if position]
    missing = [name for name, (_, default) in theirs.items() if default is EMPTY and name not in ours]
    return (by_position == [name for name, (position, _) in theirs.items() if position][:len(by_position)] and not missing
            and all(name in theirs and same(default, theirs[name][1], name in optional) for name, (_, default) in ours.items()))


def same(ours, theirs, optional):
    if ours is EMPTY or theirs is EMPTY:
        return ours is theirs or (optional and ours is None)
    return plain(ours) == plain(theirs)


def written(function):
    """A signature without annotations."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=EMPTY) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=EMPTY))


@pytest.mark.parametrize("name", sorted(set(F.__all__) - OURS))
def test_functions_take_the_arguments_of_torchs_in_their_order(name):
    """Names, order, kinds and defaults; what is left out stands at the end."""
    ours = getattr(F, name)
    if name in DIFFERENT:
        assert written(ours) == DIFFERENT[name]
    else:
        assert is_part_of(parameters(ours), offered(name)), (written(ours), offered(name))


def test_what_is_only_ours_is_not_torchs():
    """The list of exceptions is not longer than it must be."""
    assert not [name for name in OURS if hasattr(torch, name) or hasattr(torch.nn.functional, name)]
    assert not [name for name in DIFFERENT if is_part_of(parameters(getattr(F, name)), offered(name))]


@pytest.mark.parametrize(("ours", "theirs"), [
    *((getattr(nn.init, name), getattr(torch.nn.init, name)) for name in nn.init.__all__),
    *((getattr(optim, name), getattr(torch.optim, name)) for name in optim.__all__),
    (nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_norm_),
], ids=lambda value: value.__name__)
def test_initializers_and_optimizers_take_the_arguments_of_torchs(ours, theirs):
    """Likewise."""
    assert is_part_of(parameters(ours), [parameters(theirs)]), (written(ours), written(theirs))
