"""Activations: of one element, and along a dimension."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, shapes, values


def of_one(*options, scale=1.0):
    """Calls f(input, *some of the options), positional or by name. options: (name, strategy)."""

    @st.composite
    def calls(draw):
        x = np.asarray(scale * draw(values())(*draw(shapes(smallest=0))))
        count = draw(st.integers(0, len(options)))
        given = [(name, draw(strategy)) for name, strategy in options]
        return Call((x, *(value for _, value in given[:count])), dict(given[count:]) if draw(st.booleans()) else {})

    return calls()


@st.composite
def along(draw):
    shape = draw(shapes(least=1, smallest=0, largest=5))
    x, dim = 4.0 * draw(values())(*shape), draw(st.integers(-len(shape), len(shape) - 1))
    return Call((x, dim)) if draw(st.booleans()) else Call((x,), {"dim": dim})


@st.composite
def halved(draw):
    shape = draw(shapes(least=1, smallest=0))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    shape = (*shape[:dim % len(shape)], 2 * draw(st.integers(1, 3)), *shape[dim % len(shape) + 1:])
    x = 3.0 * draw(values())(*shape)
    if dim in (-1, len(shape) - 1) and draw(st.booleans()):
        return Call((x,))
    return Call((x, dim)) if draw(st.booleans()) else Call((x,), {"dim": dim})


def torch_geglu(torch):
    def geglu(input, dim=-1):
        first, second = input.split(input.shape[dim] // 2, dim)
        return first * torch.nn.functional.gelu(second)

    return geglu


X = np.ones((2, 3))
INTEGERS = np.ones((2, 3), np.int64)
ONCE = {"examples": 10}

CASES = [
    Case("relu", of_one(), **ONCE),
    Case("leaky_relu", of_one(("negative_slope", st.sampled_from([0.0, 0.01, 0.2, 1.5, -0.5]))), refused=(Call((INTEGERS,)),), **ONCE),
    Case("silu", of_one(scale=4.0), **ONCE),
    Case("gelu", of_one(scale=3.0), tolerance=1e-11, **ONCE),
    Case("gelu", of_one(scale=3.0).flatmap(lambda call: st.sampled_from([
        Call((*call.args,), {"approximate": kind}) for kind in ("none", "tanh")])), label="approximate", tolerance=1e-11,
        refused=(Call((X,), {"approximate": "erf"}), Call((INTEGERS,)))),
    Case("quick_gelu", of_one(scale=3.0), theirs=lambda torch: lambda input: input * torch.sigmoid(1.702 * input), **ONCE),
    Case("geglu", halved(), theirs=torch_geglu, tolerance=1e-11, refused=(Call((X,)), Call((X, 2)), Call((INTEGERS, 0))), **ONCE),
    Case("softplus", of_one(("beta", st.sampled_from([1, 1.0, 0.5, 3.0, -1.0])), ("threshold", st.sampled_from([20.0, 20, 1.0, 100.0])),
                            scale=4.0), refused=(Call((INTEGERS,)),)),
    Case("logsigmoid", of_one(scale=4.0), refused=(Call((INTEGERS,)),), **ONCE),
    Case("softmax", along(), refused=(
        Call((X, 2)), Call((X, -3)), Call((X, "rows")), Call((INTEGERS, 0)))),
    Case("log_softmax", along(), refused=(Call((X, 2)), Call((INTEGERS, 0)))),
]
